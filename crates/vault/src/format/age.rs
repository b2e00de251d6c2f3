use model::Time;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// How long a dataset is kept. Months and years are calendar units: 13 months after 31 January is the last day of February.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MaxAge {
    Forever,
    Seconds(u32),
    Days(u32),
    Months(u32),
}

impl MaxAge {
    /// When something of `start` may go; `None` for never.
    #[must_use]
    pub fn end(self, start: Time) -> Option<Time> {
        match self {
            MaxAge::Forever => None,
            MaxAge::Seconds(n) => Some(start.plus(i64::from(n) * Time::SECOND)),
            MaxAge::Days(n) => Some(start.plus(i64::from(n).saturating_mul(Time::DAY))),
            MaxAge::Months(n) => {
                let (y, m, d, h, min, s, us) = start.parts();
                let months = y.saturating_mul(12) + i64::from(m) - 1 + i64::from(n);
                let (year, month) =
                    (months.div_euclid(12), u32::try_from(months.rem_euclid(12) + 1).unwrap_or(1));
                // The day that exists: counting down from the one asked for takes at most three steps.
                let end = (28..=d.max(28))
                    .rev()
                    .find_map(|day| Time::from_parts(year, month, day.min(d), h, min, s, us));
                Some(end.unwrap_or(Time(i64::MAX)))
            }
        }
    }
}

impl fmt::Display for MaxAge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            MaxAge::Forever => f.write_str("forever"),
            MaxAge::Months(n) if n > 0 && n.is_multiple_of(12) => write!(f, "{}y", n / 12),
            MaxAge::Months(n) => write!(f, "{n}mo"),
            MaxAge::Days(n) => write!(f, "{n}d"),
            MaxAge::Seconds(n) if n > 0 && n.is_multiple_of(3600) => write!(f, "{}h", n / 3600),
            MaxAge::Seconds(n) if n > 0 && n.is_multiple_of(60) => write!(f, "{}m", n / 60),
            MaxAge::Seconds(n) => write!(f, "{n}s"),
        }
    }
}

impl FromStr for MaxAge {
    type Err = String;
    fn from_str(s: &str) -> Result<MaxAge, String> {
        if s == "forever" {
            return Ok(MaxAge::Forever);
        }
        let bad = || {
            format!(
                "cannot read `{s}` as an age: write `90d`, `13mo`, `2y`, `36h`, `15m`, `30s` or `forever`"
            )
        };
        let digits = s.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = s.split_at_checked(digits).ok_or_else(bad)?;
        let n: u32 = number.parse().map_err(|_| bad())?;
        let times = |k: u32| n.checked_mul(k).ok_or_else(bad);
        Ok(match unit {
            "s" => MaxAge::Seconds(n),
            "m" => MaxAge::Seconds(times(60)?),
            "h" => MaxAge::Seconds(times(3600)?),
            "d" => MaxAge::Days(n),
            "w" => MaxAge::Days(times(7)?),
            "mo" => MaxAge::Months(n),
            "y" => MaxAge::Months(times(12)?),
            _ => return Err(bad()),
        })
    }
}

impl Serialize for MaxAge {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MaxAge {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<MaxAge, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(age: &str, start: &str, expect: &str) {
        let start = Time::parse_rfc3339(start.as_bytes()).unwrap();
        let age: MaxAge = age.parse().unwrap();
        assert_eq!(age.end(start).map_or("never".into(), |t| t.to_string()), expect);
        assert_eq!(age.to_string().parse(), Ok(age));
    }

    #[test]
    fn calendar_units() {
        check("7d", "2025-03-14T12:00:00Z", "2025-03-21T12:00:00Z");
        check("13mo", "2024-01-31T01:02:03.5Z", "2025-02-28T01:02:03.500Z");
        check("1mo", "2024-01-30T00:00:00Z", "2024-02-29T00:00:00Z");
        check("2y", "2024-02-29T00:00:00Z", "2026-02-28T00:00:00Z");
        check("11mo", "2024-01-05T00:00:00Z", "2024-12-05T00:00:00Z");
        check("90m", "2024-12-31T23:00:00Z", "2025-01-01T00:30:00Z");
        check("forever", "2024-01-01T00:00:00Z", "never");
    }

    #[test]
    fn nonsense_is_named() {
        for bad in ["", "7", "d", "-1d", "7 d", "99999999999d", "1.5d", "7é"] {
            assert!(bad.parse::<MaxAge>().unwrap_err().contains("cannot read"), "{bad}");
        }
    }
}
