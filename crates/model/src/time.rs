use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A moment in microseconds since 1970-01-01T00:00:00Z, without leap seconds. Microseconds and not nanoseconds, because Delta,
/// Spark and Trino have none (`vault.md` 4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Time(pub i64);

impl Time {
    /// "No time known". Chosen as the minimum so that a missing time sorts first and never looks recent.
    pub const NONE: Time = Time(i64::MIN);
    pub const SECOND: i64 = 1_000_000;
    pub const MINUTE: i64 = 60 * Self::SECOND;
    pub const HOUR: i64 = 60 * Self::MINUTE;
    pub const DAY: i64 = 24 * Self::HOUR;

    #[must_use]
    pub fn from_millis(ms: i64) -> Time {
        Time(ms.saturating_mul(1_000))
    }
    #[must_use]
    pub fn from_secs(s: i64) -> Time {
        Time(s.saturating_mul(Self::SECOND))
    }
    #[must_use]
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }
    #[inline]
    #[must_use]
    pub fn known(self) -> Option<Time> {
        if self.is_none() { None } else { Some(self) }
    }
    #[must_use]
    pub fn millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }
    #[must_use]
    pub fn secs(self) -> i64 {
        self.0.div_euclid(Self::SECOND)
    }
    /// This moment moved by `micros`, saturating at both ends.
    #[inline]
    #[must_use]
    pub fn plus(self, micros: i64) -> Time {
        Time(self.0.saturating_add(micros))
    }
    /// Microseconds from `earlier` to `self`, saturating.
    #[inline]
    #[must_use]
    pub fn since(self, earlier: Time) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
    /// Days since 1970-01-01, floored.
    #[must_use]
    pub fn day_number(self) -> i64 {
        self.0.div_euclid(Self::DAY)
    }
    /// `2025-03-14`, the UTC day.
    #[must_use]
    pub fn day(self) -> String {
        let (y, m, d) = civil(self.day_number());
        format!("{y:04}-{m:02}-{d:02}")
    }
    /// Year, month, day, hour, minute, second, microsecond in UTC.
    #[inline]
    #[must_use]
    pub fn parts(self) -> (i64, u32, u32, u32, u32, u32, u32) {
        let (y, m, d) = civil(self.day_number());
        let rest = self.0.rem_euclid(Self::DAY);
        let us = u32::try_from(rest % Self::SECOND).unwrap_or(0);
        let s = u32::try_from(rest / Self::SECOND).unwrap_or(0);
        (y, m, d, s / 3600, s / 60 % 60, s % 60, us)
    }
    /// From civil UTC parts; `None` when a part is out of range (a 60th second is accepted and becomes the next minute).
    #[inline]
    #[must_use]
    pub fn from_parts(y: i64, m: u32, d: u32, h: u32, min: u32, s: u32, us: u32) -> Option<Time> {
        if !(1..=12).contains(&m)
            || d < 1
            || d > days_in_month(y, m)
            || h > 23
            || min > 59
            || s > 60
            || us > 999_999
            || !(-9999..=9999).contains(&y)
        {
            return None;
        }
        let secs = i64::from(h) * 3600 + i64::from(min) * 60 + i64::from(s);
        Some(Time(days_from_civil(y, m, d) * Self::DAY + secs * Self::SECOND + i64::from(us)))
    }

    /// RFC 3339 with any number of fraction digits (those beyond the sixth are cut), `T`, `t` or a space between date and time,
    /// `Z` or a numeric offset. Bytes, not text, because it runs on the intake path before UTF-8 is known.
    #[must_use]
    pub fn parse_rfc3339(b: &[u8]) -> Option<Time> {
        let num = |from: usize, n: usize| -> Option<u32> {
            b.get(from..from + n)?
                .iter()
                .try_fold(0u32, |acc, c| c.is_ascii_digit().then(|| acc * 10 + u32::from(c - b'0')))
        };
        let is = |i: usize, set: &[u8]| b.get(i).is_some_and(|c| set.contains(c));
        if !(is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":")) {
            return None;
        }
        let (y, m, d) = (i64::from(num(0, 4)?), num(5, 2)?, num(8, 2)?);
        let (h, min, s) = (num(11, 2)?, num(14, 2)?, num(17, 2)?);
        let mut i = 19;
        let mut us = 0;
        if is(i, b".,") {
            i += 1;
            let (from, mut scale) = (i, 100_000);
            while let Some(c) = b.get(i).filter(|c| c.is_ascii_digit()) {
                us += u32::from(c - b'0') * scale;
                scale /= 10;
                i += 1;
            }
            if i == from {
                return None;
            }
        }
        let t = Time::from_parts(y, m, d, h, min, s, us)?;
        match b.get(i)? {
            b'Z' | b'z' if b.len() == i + 1 => Some(t),
            sign @ (b'+' | b'-') => {
                let (oh, om) = if is(i + 3, b":") {
                    (num(i + 1, 2)?, num(i + 4, 2).filter(|_| b.len() == i + 6)?)
                } else {
                    (num(i + 1, 2)?, num(i + 3, 2).filter(|_| b.len() == i + 5)?)
                };
                if oh > 23 || om > 59 {
                    return None;
                }
                let off = (i64::from(oh) * 60 + i64::from(om)) * Self::MINUTE;
                Some(t.plus(if *sign == b'+' { -off } else { off }))
            }
            _ => None,
        }
    }

    /// RFC 3339 UTC with exactly six fraction digits and `Z`: the form inside canonical envelopes and leaves, so its bytes are
    /// frozen.
    #[must_use]
    pub fn to_rfc3339_micros(self) -> String {
        let (y, m, d, h, min, s, us) = self.parts();
        format!("{y:04}-{m:02}-{d:02}T{h:02}:{min:02}:{s:02}.{us:06}Z")
    }
}

/// RFC 3339 UTC with `Z`; fraction only when there is one (3 or 6 digits).
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_none() {
            return f.write_str("-");
        }
        let (y, m, d, h, min, s, us) = self.parts();
        write!(f, "{y:04}-{m:02}-{d:02}T{h:02}:{min:02}:{s:02}")?;
        match us {
            0 => {}
            us if us % 1_000 == 0 => write!(f, ".{:03}", us / 1_000)?,
            us => write!(f, ".{us:06}")?,
        }
        f.write_str("Z")
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if self.is_none() { s.serialize_none() } else { s.collect_str(self) }
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Time, D::Error> {
        match Option::<String>::deserialize(d)? {
            None => Ok(Time::NONE),
            Some(s) => Time::parse_rfc3339(s.as_bytes())
                .ok_or_else(|| serde::de::Error::custom(format!("cannot read `{s}` as an RFC 3339 time"))),
        }
    }
}

/// Half-open `[from, to)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TimeRange {
    pub from: Time,
    pub to: Time,
}

impl TimeRange {
    pub const ALL: TimeRange = TimeRange { from: Time(i64::MIN), to: Time(i64::MAX) };
    #[must_use]
    pub fn contains(&self, t: Time) -> bool {
        self.from <= t && t < self.to
    }
}

/// Days since the epoch to (year, month, day); H. Hinnant, "chrono-compatible low-level date algorithms".
fn civil(days: i64) -> (i64, u32, u32) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let d = u32::try_from(doy - (153 * mp + 2) / 5 + 1).unwrap_or(1);
    let m = u32::try_from(if mp < 10 { mp + 3 } else { mp - 9 }).unwrap_or(1);
    (yoe + era * 400 + i64::from(m <= 2), m, d)
}

fn days_from_civil(y: i64, m: u32, d: u32) -> i64 {
    let y = if m <= 2 { y - 1 } else { y };
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let mp = (i64::from(m) + 9) % 12;
    let doy = (153 * mp + 2) / 5 + i64::from(d) - 1;
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
}

fn days_in_month(y: i64, m: u32) -> u32 {
    match m {
        4 | 6 | 9 | 11 => 30,
        2 if y % 4 == 0 && (y % 100 != 0 || y % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, expect: Option<&str>) {
        let got = Time::parse_rfc3339(text.as_bytes()).map(|t| t.to_string());
        assert_eq!(got.as_deref(), expect, "{text}");
    }

    #[test]
    fn rfc3339_in_utc_out() {
        check("2026-01-27T10:30:00Z", Some("2026-01-27T10:30:00Z"));
        check("2026-01-27t10:30:00.5z", Some("2026-01-27T10:30:00.500Z"));
        check("2026-01-27 10:30:00.123456789+01:00", Some("2026-01-27T09:30:00.123456Z"));
        check("2024-02-29T23:59:59-0030", Some("2024-03-01T00:29:59Z"));
        check("2016-12-31T23:59:60Z", Some("2017-01-01T00:00:00Z"));
        for bad in [
            "2023-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.Z",
            "",
            "x",
        ] {
            check(bad, None);
        }
    }

    proptest! {
        #[test]
        fn a_time_survives_its_own_text(us in -62_135_596_800_000_000i64..253_402_300_799_999_999) {
            let t = Time(us);
            prop_assert_eq!(Time::parse_rfc3339(t.to_rfc3339_micros().as_bytes()), Some(t));
            prop_assert_eq!(Time::parse_rfc3339(t.to_string().as_bytes()), Some(t));
        }
        #[test]
        fn any_bytes_never_panic(b in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = Time::parse_rfc3339(&b);
        }
    }
}
