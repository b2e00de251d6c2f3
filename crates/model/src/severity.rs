use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Severity in tenths, 0–100, written with one decimal (`8.0`). One type for every crate; thresholds compare tenths, never
/// words. Bands as GuardDuty's: informational below 10, low 10–39, medium 40–69, high 70–89, critical 90–100
/// (<https://docs.aws.amazon.com/guardduty/latest/ug/guardduty_findings-severity.html>).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Severity(u8);

impl Severity {
    pub const INFO: Severity = Severity(5);
    pub const LOW: Severity = Severity(20);
    pub const MEDIUM: Severity = Severity(50);
    pub const HIGH: Severity = Severity(80);
    pub const CRITICAL: Severity = Severity(90);

    /// Values above 100 become 100.
    #[must_use]
    pub fn from_tenths(tenths: u8) -> Severity {
        Severity(tenths.min(100))
    }
    #[must_use]
    pub fn tenths(self) -> u8 {
        self.0
    }
    /// The word for the band.
    #[must_use]
    pub fn band(self) -> &'static str {
        match self.0 {
            0..10 => "info",
            10..40 => "low",
            40..70 => "medium",
            70..90 => "high",
            _ => "critical",
        }
    }
    /// A word used as a threshold means the foot of its band.
    #[must_use]
    pub fn threshold(word_or_number: &str) -> Option<Severity> {
        Some(Severity(match word_or_number {
            "info" | "informational" => 0,
            "low" => 10,
            "medium" => 40,
            "high" => 70,
            "critical" => 90,
            n => return n.parse().ok(),
        }))
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 / 10, self.0 % 10)
    }
}

impl FromStr for Severity {
    type Err = String;
    /// A word of Sigma or of a route (`informational`, `low`, …), or a number `0.0`–`10.0` with at most one decimal.
    fn from_str(s: &str) -> Result<Severity, String> {
        let bad = || {
            format!(
                "`{s}` is no severity: write info, low, medium, high, critical or a number from 0.0 to 10.0"
            )
        };
        Ok(match s {
            "info" | "informational" => Severity::INFO,
            "low" => Severity::LOW,
            "medium" => Severity::MEDIUM,
            "high" => Severity::HIGH,
            "critical" => Severity::CRITICAL,
            n => {
                let (whole, tenth) = n.split_once('.').unwrap_or((n, "0"));
                let whole: u8 = whole.parse().map_err(|_| bad())?;
                let tenth: u8 =
                    if tenth.len() == 1 { tenth.parse().map_err(|_| bad())? } else { return Err(bad()) };
                let tenths = whole.checked_mul(10).and_then(|w| w.checked_add(tenth)).filter(|t| *t <= 100);
                Severity(tenths.ok_or_else(bad)?)
            }
        })
    }
}

impl Serialize for Severity {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_f64(f64::from(self.0) / 10.0)
    }
}

impl<'de> Deserialize<'de> for Severity {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Severity, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(f64),
            Word(String),
        }
        match Either::deserialize(d)? {
            Either::Word(w) => w.parse().map_err(serde::de::Error::custom),
            Either::Number(n) => format!("{n:.1}").parse().map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let got = text.parse::<Severity>().map_or_else(|e| e, |s| format!("{s} {}", s.band()));
        assert!(got.starts_with(expect), "{text}: {got}");
    }

    #[test]
    fn words_and_numbers() {
        check("informational", "0.5 info");
        check("high", "8.0 high");
        check("3.9", "3.9 low");
        check("8.9", "8.9 high");
        check("9", "9.0 critical");
        check("10.0", "10.0 critical");
        for bad in ["10.1", "11", "4.25", "-1", "severe", ""] {
            check(bad, &format!("`{bad}` is no severity"));
        }
    }

    #[test]
    fn a_word_as_threshold_is_the_foot_of_its_band() {
        assert_eq!(Severity::threshold("high"), Some(Severity::from_tenths(70)));
        assert!(Severity::HIGH >= Severity::threshold("high").unwrap());
    }
}
