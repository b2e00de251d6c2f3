//! Durations, sizes and rates as people write them.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// A length of time in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Span(pub i64);

const SPANS: [(&str, i64); 5] =
    [("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000)];

impl Span {
    #[must_use]
    pub const fn secs(s: i64) -> Span {
        Span(s * 1_000_000)
    }
    #[must_use]
    pub const fn millis(ms: i64) -> Span {
        Span(ms * 1_000)
    }
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_micros(u64::try_from(self.0).unwrap_or(0))
    }
    fn parse(text: &str) -> Option<Span> {
        let (number, unit) = split(text)?;
        let (_, scale) = SPANS.iter().find(|(u, _)| *u == unit)?;
        i64::try_from(number).ok()?.checked_mul(*scale).map(Span)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, scale) =
            SPANS.into_iter().find(|(_, s)| self.0 >= *s && self.0 % s == 0).unwrap_or(("ms", 1_000));
        write!(f, "{}{unit}", self.0 / scale)
    }
}

/// A number of bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Size(pub u64);

const SIZES: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("", 1),
];

impl Size {
    #[must_use]
    pub const fn mib(n: u64) -> Size {
        Size(n << 20)
    }
    #[must_use]
    pub fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
    fn parse(text: &str) -> Option<Size> {
        let (number, unit) = split(text)?;
        let (_, scale) = SIZES.iter().find(|(u, _)| *u == unit)?;
        number.checked_mul(*scale).map(Size)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, scale) = SIZES
            .into_iter()
            .find(|(u, s)| (u.contains('i') || *s == 1) && self.0 >= *s && self.0.is_multiple_of(*s))
            .unwrap_or(("", 1));
        write!(f, "{}{unit}", self.0 / scale)
    }
}

/// So much per second: `40MiB/s`, `5000/s`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Rate(pub u64);

impl Rate {
    fn parse(text: &str) -> Option<Rate> {
        Size::parse(text.strip_suffix("/s")?).map(|s| Rate(s.0)).filter(|r| r.0 > 0)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", Size(self.0))
    }
}

fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit))
}

macro_rules! as_text {
    ($name:ident, $title:literal, $what:literal, $hint:literal, $pattern:literal, $example:literal) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<$name, D::Error> {
                let text = String::deserialize(d)?;
                $name::parse(&text).ok_or_else(|| {
                    serde::de::Error::custom(format!(concat!("cannot read `{}` as ", $what, "; write ", $hint), text))
                })
            }
        }
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                $title.into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "examples": [$example] })
            }
        }
    };
}

as_text!(
    Span,
    "Duration",
    "a duration",
    "a whole number and a unit: `500ms`, `30s`, `5m`, `2h`, `7d`",
    "^[0-9]+(ms|s|m|h|d)$",
    "30s"
);
as_text!(
    Size,
    "Size",
    "a size",
    "a whole number and a unit: `64KiB`, `8MiB`, `1GiB`",
    "^[0-9]+([KMG]i?B)?$",
    "8MiB"
);
as_text!(
    Rate,
    "Rate",
    "a rate",
    "so much per second: `40MiB/s`, `5000/s`",
    "^[0-9]+([KMG]i?B)?/s$",
    "40MiB/s"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check<T: for<'a> Deserialize<'a> + fmt::Display>(text: &str, expect: &str) {
        let got = serde_json::from_value::<T>(text.into()).map_or_else(|e| e.to_string(), |v| v.to_string());
        assert!(got.starts_with(expect), "{text}: {got}");
    }

    #[test]
    fn units() {
        check::<Span>("500ms", "500ms");
        check::<Span>("120s", "2m");
        check::<Span>("0s", "0ms");
        check::<Span>("5", "cannot read `5` as a duration; write a whole number");
        check::<Size>("8MiB", "8MiB");
        check::<Size>("1500", "1500");
        check::<Size>("8 MiB", "cannot read `8 MiB` as a size");
        check::<Rate>("40MiB/s", "40MiB/s");
        check::<Rate>("5000/s", "5000/s");
        check::<Rate>("40MiB", "cannot read `40MiB` as a rate");
        check::<Rate>("0/s", "cannot read `0/s` as a rate");
        check::<Size>("99999999999999999999GiB", "cannot read");
    }
}
