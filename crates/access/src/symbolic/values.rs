//! Values of a key that are no strings: numbers, dates, addresses. Between two ends of intervals all values are alike, so the ends
//! and one value of each gap stand for all.

use crate::policy::{Base, Compare};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Values that stand for all values of a key, for conditions of one kind with these texts.
pub(super) fn representatives(base: Base, texts: &[&str]) -> Vec<String> {
    match base {
        Base::Numeric(_) => numbers(texts),
        Base::Date(_) => dates(texts),
        Base::IpAddress => addresses(texts),
        _ => Vec::new(),
    }
}

/// A text as an operator reads it.
#[derive(Clone, Copy)]
pub(super) enum Point {
    /// Also a moment.
    Number(i128),
    Network(Network),
}

impl Point {
    pub(super) fn read(base: Base, text: &str) -> Option<Point> {
        match base {
            Base::Numeric(_) => number(text).map(Point::Number),
            Base::Date(_) => moment(text).map(Point::Number),
            Base::IpAddress => network(text).map(Point::Network),
            _ => None,
        }
    }

    /// Whether this value meets a text of a condition.
    pub(super) fn meets(&self, base: Base, text: &Point) -> bool {
        match (base, self, text) {
            (Base::Numeric(compare) | Base::Date(compare), Point::Number(value), Point::Number(text)) => {
                ordered(compare, *value, *text)
            }
            (Base::IpAddress, Point::Network(one), Point::Network(net)) => {
                net.is_v6 == one.is_v6 && net.first <= one.first && one.last <= net.last
            }
            _ => false,
        }
    }
}

fn ordered(compare: Compare, value: i128, text: i128) -> bool {
    match compare {
        Compare::Equals => value == text,
        Compare::LessThan => value < text,
        Compare::LessThanEquals => value <= text,
        Compare::GreaterThan => value > text,
        Compare::GreaterThanEquals => value >= text,
    }
}

const UNIT: i128 = 1_000_000_000;

/// A decimal in billionths.
fn number(text: &str) -> Option<i128> {
    let text = text.trim();
    let digits = text.trim_start_matches('-');
    if digits.is_empty() || text.len() - digits.len() > 1 || digits.len() > 30 {
        return None;
    }
    if digits.split('.').next().is_some_and(|whole| whole.len() > 20) {
        return None;
    }
    let (mut value, mut scale, mut places) = (0i128, 1i128, None);
    for c in digits.chars() {
        match (c, places) {
            ('.', None) if value > 0 || digits.starts_with('0') => places = Some(0),
            ('0'..='9', _) => {
                if let Some(n) = &mut places {
                    *n += 1;
                    if *n > 9 {
                        return None;
                    }
                    scale = scale.checked_mul(10)?;
                }
                value = value.checked_mul(10)?.checked_add(i128::from(u32::from(c) - u32::from('0')))?;
            }
            _ => return None,
        }
    }
    let value = value.checked_mul(UNIT)? / scale;
    Some(if digits.len() == text.len() { value } else { -value })
}

fn number_text(value: i128) -> String {
    let (sign, value) = if value < 0 { ("-", -value) } else { ("", value) };
    let fraction = format!("{:09}", value % UNIT);
    let fraction = fraction.trim_end_matches('0');
    let dot = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{}{dot}{fraction}", value / UNIT)
}

/// The ends, and one value below, between and above them.
fn with_gaps(mut ends: Vec<i128>, step: i128) -> Vec<i128> {
    ends.sort_unstable();
    ends.dedup();
    let mut out = Vec::with_capacity(ends.len() * 2 + 1);
    out.extend(ends.first().map(|first| first - step));
    for (at, end) in ends.iter().enumerate() {
        out.push(*end);
        let next = ends.get(at + 1).copied();
        let gap = next.map_or(Some(end + step), |next| (next - end > 1).then(|| end + (next - end) / 2));
        out.extend(gap);
    }
    if out.is_empty() {
        out.push(step);
    }
    out
}

fn numbers(texts: &[&str]) -> Vec<String> {
    let ends = texts.iter().filter_map(|t| number(t)).collect();
    with_gaps(ends, UNIT).into_iter().map(number_text).collect()
}

/// Billionths of a second since 1970.
fn moment(text: &str) -> Option<i128> {
    if let Some(seconds) = number(text) {
        return Some(seconds);
    }
    let day = format!("{text}T00:00:00Z");
    let full = if text.len() == 10 { day.as_str() } else { text };
    model::Time::parse_rfc3339(full.as_bytes()).map(|t| i128::from(t.0) * 1_000)
}

fn dates(texts: &[&str]) -> Vec<String> {
    let ends = texts.iter().filter_map(|t| moment(t)).collect();
    with_gaps(ends, UNIT).into_iter().map(number_text).collect()
}

#[derive(Clone, Copy)]
pub(super) struct Network {
    is_v6: bool,
    first: u128,
    last: u128,
}

fn network(text: &str) -> Option<Network> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse::<u32>().ok()?)),
        None => (text, None),
    };
    let (is_v6, width, base) = match address.parse::<IpAddr>().ok()? {
        IpAddr::V4(a) => (false, 32, u128::from(a.to_bits())),
        IpAddr::V6(a) => (true, 128, a.to_bits()),
    };
    let free = width - bits.filter(|b| *b <= width).or(bits.is_none().then_some(width))?;
    let mask = 1u128.checked_shl(free).map_or(u128::MAX, |size| size - 1);
    Some(Network { is_v6, first: base & !mask, last: base | mask })
}

/// Ends of networks and their neighbours, and one address of each family.
fn addresses(texts: &[&str]) -> Vec<String> {
    let mut out = vec!["198.51.100.7".to_owned(), "2001:db8::7".to_owned()];
    let mut points: Vec<(bool, u128)> = Vec::new();
    for net in texts.iter().filter_map(|t| network(t)) {
        let top = if net.is_v6 { u128::MAX } else { u128::from(u32::MAX) };
        points.extend(
            [Some(net.first), Some(net.last), net.first.checked_sub(1)]
                .into_iter()
                .flatten()
                .map(|p| (net.is_v6, p)),
        );
        if net.last < top {
            points.push((net.is_v6, net.last + 1));
        }
    }
    points.sort_unstable();
    points.dedup();
    out.extend(points.into_iter().filter_map(|(is_v6, p)| {
        let v4 = || u32::try_from(p).ok().map(|p| Ipv4Addr::from_bits(p).to_string());
        if is_v6 { Some(Ipv6Addr::from_bits(p).to_string()) } else { v4() }
    }));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_and_ends() {
        assert_eq!(numbers(&["3", "4", "x"]), ["2", "3", "3.5", "4", "5"]);
        assert_eq!(numbers(&[]), ["1"]);
        assert_eq!(number_text(number("-0.25").unwrap()), "-0.25");
        assert_eq!(number("1e3"), None);
        assert_eq!(dates(&["1970-01-01T00:00:10Z"]), ["9", "10", "11"]);
        let found = addresses(&["10.0.0.0/8"]);
        for a in ["9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"] {
            assert!(found.iter().any(|f| f == a), "{a}");
        }
        assert!(addresses(&["::/0", "0.0.0.0/0"]).len() >= 4);
    }

    #[test]
    fn networks() {
        let meets = |value, text| {
            let read = |text| Point::read(Base::IpAddress, text);
            read(value).zip(read(text)).is_some_and(|(value, text)| value.meets(Base::IpAddress, &text))
        };
        assert!(meets("10.1.2.3", "10.9.9.9/8") && meets("10.1.2.3", "10.1.2.3"));
        assert!(
            !meets("10.1.2.3", "10.1.2.4") && !meets("10.1.2.3", "::/0") && !meets("10.1.2.3", "10.0.0.0/33")
        );
        assert!(meets("::1", "::/0") && meets("255.255.255.255", "0.0.0.0/0"));
    }
}
