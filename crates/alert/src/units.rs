//! Durations and severity thresholds as people write them.

use model::Severity;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// A length of time in microseconds, written as a whole number and `s`, `m`, `h` or `d`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Span(pub i64);

const UNITS: [(&str, i64); 4] =
    [("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000)];

impl Span {
    #[must_use]
    pub fn parse(text: &str) -> Option<Span> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at_checked(digits)?;
        let (_, scale) = UNITS.iter().find(|(u, _)| *u == unit)?;
        number.parse::<i64>().ok()?.checked_mul(*scale).map(Span)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, scale) =
            UNITS.into_iter().find(|(_, s)| self.0 >= *s && self.0 % s == 0).unwrap_or(("s", 1_000_000));
        write!(f, "{}{unit}", self.0 / scale)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Span, D::Error> {
        let text = String::deserialize(d)?;
        Span::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "cannot read `{text}` as a duration; write a whole number and a unit without a space: `30s`, `15m`, `6h`"
            ))
        })
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+(s|m|h|d)$", "examples": ["15m"] })
    }
}

/// "At or above": a number from 0.0 to 10.0, or a word for the foot of its band. Compared as a number: a list of values would miss
/// those between (8.95) and above (9.0).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Threshold(pub Severity);

impl Threshold {
    #[must_use]
    pub fn parse(text: &str) -> Option<Threshold> {
        let t = text.trim();
        let t = t.strip_prefix(">=").map_or(t, str::trim_start);
        Severity::threshold(t.strip_suffix('+').unwrap_or(t)).map(Threshold)
    }
}

impl Serialize for Threshold {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(s)
    }
}

impl<'de> Deserialize<'de> for Threshold {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Threshold, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(f64),
            Word(String),
        }
        let text = match Either::deserialize(d)? {
            Either::Word(w) => w,
            Either::Number(n) => format!("{n:?}"),
        };
        Threshold::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "`{text}` is no severity; write info, low, medium, high, critical or a number from 0.0 to 10.0 with one decimal"
            ))
        })
    }
}

impl JsonSchema for Threshold {
    fn schema_name() -> Cow<'static, str> {
        "SeverityThreshold".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number"], "minimum": 0, "maximum": 10, "examples": ["high", 4.0] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn threshold(json: &str, expect: &str) {
        let got = serde_json::from_str::<Threshold>(json).map_or_else(|e| e.to_string(), |t| t.0.to_string());
        assert!(got.starts_with(expect), "{json}: {got}");
    }

    #[test]
    fn thresholds() {
        threshold("\"high\"", "7.0");
        threshold("\"high+\"", "7.0");
        threshold("\">= 4.0\"", "4.0");
        threshold("4.0", "4.0");
        threshold("9", "9.0");
        threshold("8.95", "`8.95` is no severity");
        threshold("\"hgih\"", "`hgih` is no severity");
    }

    #[test]
    fn durations() {
        for (text, expect) in [("15m", "15m"), ("90s", "90s"), ("24h", "1d")] {
            assert_eq!(Span::parse(text).unwrap().to_string(), expect);
        }
        for bad in ["15", "m", "15 m", "1w", "-1m", "99999999999999999999d", "9223372036854775807d"] {
            assert_eq!(Span::parse(bad), None, "{bad}");
        }
    }
}
