//! Durations, sizes and address ranges as people write them in `avouch.yaml`.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A text that is not the unit it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read `{text}` as {what}")]
pub struct UnitError {
    pub text: String,
    pub what: &'static str,
    pub hint: &'static str,
}

impl UnitError {
    #[must_use]
    pub fn code(&self) -> &'static str {
        "config.bad_unit"
    }
    #[must_use]
    pub fn hint(&self) -> &'static str {
        self.hint
    }
}

/// A length of time: a whole number and `ms`, `s`, `m`, `h` or `d`, as in `250ms` or `5m`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Span(pub std::time::Duration);

const SPAN_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Span {
    #[must_use]
    pub const fn secs(s: u64) -> Span {
        Span(std::time::Duration::from_secs(s))
    }
}

impl FromStr for Span {
    type Err = UnitError;
    fn from_str(s: &str) -> Result<Span, UnitError> {
        let bad = || UnitError {
            text: s.to_owned(),
            what: "a duration",
            hint: "write a whole number and a unit without a space: `250ms`, `30s`, `5m`, `2h`, `7d`",
        };
        let (number, unit) = split_number(s).ok_or_else(bad)?;
        let (_, ms) = SPAN_UNITS.iter().find(|(u, _)| *u == unit).ok_or_else(bad)?;
        Ok(Span(std::time::Duration::from_millis(number.checked_mul(*ms).ok_or_else(bad)?)))
    }
}

/// In the largest unit that loses nothing.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let (unit, factor) = SPAN_UNITS
            .into_iter()
            .find(|(_, factor)| ms >= *factor && ms.is_multiple_of(*factor))
            .unwrap_or(("s", 1_000));
        write!(f, "{}{unit}", ms / factor)
    }
}

/// A number of bytes: `65536`, `64KiB`, `10MiB`, `1GiB`; `KB`, `MB`, `GB` are thousands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Size(pub u64);

const SIZE_UNITS: [(&str, u64); 7] = [
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
    pub const fn kib(n: u64) -> Size {
        Size(n << 10)
    }
    #[must_use]
    pub const fn mib(n: u64) -> Size {
        Size(n << 20)
    }
    #[must_use]
    pub fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for Size {
    type Err = UnitError;
    fn from_str(s: &str) -> Result<Size, UnitError> {
        let bad = || UnitError {
            text: s.to_owned(),
            what: "a size",
            hint: "write a whole number and a unit without a space: `64KiB`, `10MiB`, `1GiB`",
        };
        let (number, unit) = split_number(s).ok_or_else(bad)?;
        let (_, factor) = SIZE_UNITS.iter().find(|(u, _)| *u == unit).ok_or_else(bad)?;
        Ok(Size(number.checked_mul(*factor).ok_or_else(bad)?))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = SIZE_UNITS
            .into_iter()
            .find(|(u, factor)| {
                (u.contains('i') || *factor == 1) && self.0 >= *factor && self.0.is_multiple_of(*factor)
            })
            .unwrap_or(("", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

/// Digits, then the rest.
fn split_number(s: &str) -> Option<(u64, &str)> {
    let end = s.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(s.len());
    let (number, unit) = (s.get(..end)?, s.get(end..)?);
    Some((number.parse().ok()?, unit))
}

/// A range of addresses, `10.20.0.0/16` or one address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cidr {
    pub base: IpAddr,
    pub prefix: u8,
}

impl Cidr {
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.base.to_canonical(), ip.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let keep = u32::MAX.checked_shl(u32::from(32_u8.saturating_sub(self.prefix))).unwrap_or(0);
                u32::from(a) & keep == u32::from(b) & keep
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let keep = u128::MAX.checked_shl(u32::from(128_u8.saturating_sub(self.prefix))).unwrap_or(0);
                u128::from(a) & keep == u128::from(b) & keep
            }
            _ => false,
        }
    }
}

impl FromStr for Cidr {
    type Err = UnitError;
    fn from_str(s: &str) -> Result<Cidr, UnitError> {
        let bad = || UnitError {
            text: s.to_owned(),
            what: "an address range",
            hint: "write an address and a prefix length, such as `10.20.0.0/16` or `fd00::/8`, or one address",
        };
        let (base, prefix) = s.split_once('/').map_or((s, None), |(b, p)| (b, Some(p)));
        let base: IpAddr = base.parse().map_err(|_| bad())?;
        let most = if base.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => most,
            Some(p) => p.parse().ok().filter(|p| *p <= most).ok_or_else(bad)?,
        };
        Ok(Cidr { base, prefix })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

/// Serde and schema for a type that is written as text; a bare number is accepted too, so that `limit: 65536` works.
macro_rules! as_text {
    ($name:ident, $title:literal, $pattern:literal, $example:literal) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<$name, D::Error> {
                struct Visitor;
                impl serde::de::Visitor<'_> for Visitor {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!("text such as `", $example, "`"))
                    }
                    fn visit_str<E: serde::de::Error>(self, s: &str) -> Result<$name, E> {
                        s.parse().map_err(|e: UnitError| E::custom(format!("{e}; {}", e.hint)))
                    }
                    fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<$name, E> {
                        self.visit_str(&n.to_string())
                    }
                }
                d.deserialize_any(Visitor)
            }
        }
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                $title.into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": ["string", "integer"], "pattern": $pattern, "examples": [$example] })
            }
        }
    };
}

as_text!(Span, "Duration", "^[0-9]+(ms|s|m|h|d)$", "5m");
as_text!(Size, "Size", "^[0-9]+([KMG]i?B)?$", "256KiB");
as_text!(Cidr, "AddressRange", "^[0-9a-fA-F.:]+(/[0-9]{1,3})?$", "10.20.0.0/16");

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check<T: FromStr<Err = UnitError> + fmt::Display>(text: &str, expect: &str) {
        let got = text.parse::<T>().map_or_else(|e| e.to_string(), |v| v.to_string());
        assert_eq!(got, expect);
    }

    #[test]
    fn durations() {
        check::<Span>("250ms", "250ms");
        check::<Span>("90s", "90s");
        check::<Span>("120s", "2m");
        check::<Span>("24h", "1d");
        check::<Span>("0s", "0s");
        for bad in ["7 day", "5", "m", "", "-1s", "1.5s", "99999999999999999999d", "18446744073709551615d"] {
            check::<Span>(bad, &format!("cannot read `{bad}` as a duration"));
        }
    }

    #[test]
    fn sizes() {
        check::<Size>("256KiB", "256KiB");
        check::<Size>("1024KiB", "1MiB");
        check::<Size>("65536", "64KiB");
        check::<Size>("10MB", "10000000");
        check::<Size>("1500", "1500");
        for bad in ["10 MiB", "1K", "B", "GiB", "", "18446744073709551615GiB"] {
            check::<Size>(bad, &format!("cannot read `{bad}` as a size"));
        }
    }

    #[test]
    fn address_ranges() {
        let contains = |c: &str, ip: &str| c.parse::<Cidr>().unwrap().contains(ip.parse().unwrap());
        assert!(contains("10.20.0.0/16", "10.20.255.1"));
        assert!(!contains("10.20.0.0/16", "10.21.0.1"));
        assert!(contains("0.0.0.0/0", "1.2.3.4"));
        assert!(!contains("0.0.0.0/0", "::1"));
        assert!(contains("::/0", "::1"));
        assert!(contains("10.0.0.1", "::ffff:10.0.0.1"));
        assert!(contains("fd00::/8", "fdab::1"));
        for bad in ["10.0.0.0/33", "10.0.0/8", "x", "::/129", "1.2.3.4/"] {
            check::<Cidr>(bad, &format!("cannot read `{bad}` as an address range"));
        }
    }

    #[test]
    fn in_config_text_and_numbers() {
        assert_eq!(
            serde_json::from_str::<Size>("\"64KiB\"").unwrap(),
            serde_json::from_str("65536").unwrap()
        );
        let e = serde_json::from_str::<Span>("\"7 day\"").unwrap_err().to_string();
        assert!(e.contains("cannot read `7 day` as a duration; write a whole number"), "{e}");
    }
}
