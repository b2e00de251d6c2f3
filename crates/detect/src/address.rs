//! Addresses as CloudTrail really writes them, and networks over them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address in `text`. Octets with leading zeros (`075.050.255.67`, common in anonymised logs) are decimal, never octal, and
/// an IPv4 address mapped into IPv6 is IPv4: one machine must not have two names. Anything else is no address.
#[must_use]
pub fn parse(text: &str) -> Option<IpAddr> {
    if let Some(v4) = parse_v4(text) {
        return Some(IpAddr::V4(v4));
    }
    if !text.contains(':') {
        return None;
    }
    let v6: Ipv6Addr = text.parse().ok()?;
    Some(v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4))
}

fn parse_v4(text: &str) -> Option<Ipv4Addr> {
    // Three digits four times and three dots.
    if text.len() > 15 {
        return None;
    }
    let mut octets = [0_u8; 4];
    let mut parts = text.split('.');
    for o in &mut octets {
        let part = parts.next()?;
        if part.is_empty() || part.len() > 3 || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *o = part.parse().ok()?;
    }
    parts.next().is_none().then(|| Ipv4Addr::from(octets))
}

/// Whether the text of an IPv4 address is the one that it has in canonical form.
#[must_use]
pub fn is_plain_v4(text: &str) -> bool {
    !text.contains(':') && text.split('.').all(|part| part.len() == 1 || !part.starts_with('0'))
}

/// An address as one number: IPv4 sits in its mapped range of IPv6, so that one comparison serves both.
#[must_use]
pub fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => u128::from(v4.to_ipv6_mapped()),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// A network. Host bits are cleared.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Cidr {
    /// Number of leading bits that count, over 128.
    pub length: u8,
    pub network: u128,
}

impl Cidr {
    /// `address/length`, or one address.
    #[must_use]
    pub fn parse(text: &str) -> Option<Cidr> {
        let (address, length) = match text.split_once('/') {
            Some((a, l)) if !l.is_empty() && l.len() <= 3 && l.bytes().all(|b| b.is_ascii_digit()) => {
                (a, Some(l.parse::<u8>().ok()?))
            }
            Some(_) => return None,
            None => (text, None),
        };
        // `::ffff:10.0.0.0/104` counts its bits over IPv6, although the address itself is IPv4.
        let is_v4 = !address.contains(':');
        let ip = parse(address)?;
        let (max, offset) = if is_v4 { (32, 96) } else { (128, 0) };
        let length = length.unwrap_or(max);
        if length > max {
            return None;
        }
        let length = length + offset;
        Some(Cidr { length, network: bits(ip) & mask(length) })
    }
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        bits(ip) & mask(self.length) == self.network
    }
}

/// The highest `length` bits.
#[must_use]
pub fn mask(length: u8) -> u128 {
    u128::MAX.checked_shl(128_u32.saturating_sub(u32::from(length))).unwrap_or(0)
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v6 = Ipv6Addr::from(self.network);
        match v6.to_ipv4_mapped() {
            Some(v4) if self.length >= 96 => write!(f, "{v4}/{}", self.length.saturating_sub(96)),
            _ => write!(f, "{v6}/{}", self.length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_they_come() {
        let p = |t: &str| parse(t).map(|i| i.to_string()).unwrap_or_default();
        assert_eq!(p("075.050.255.67"), "75.50.255.67");
        assert_eq!(p("008.8.8.8"), "8.8.8.8");
        assert_eq!(p("::ffff:10.0.0.1"), "10.0.0.1");
        assert_eq!(p("2001:DB8::1"), "2001:db8::1");
        for bad in [
            "",
            "1.2.3",
            "1.2.3.4.5",
            "256.1.1.1",
            "0001.1.1.1",
            "1.2.3.4 ",
            "cloudtrail.amazonaws.com",
            "AWS Internal",
        ] {
            assert_eq!(p(bad), "", "{bad}");
        }
    }

    #[track_caller]
    fn check(net: &str, yes: &[&str], no: &[&str]) {
        let c = Cidr::parse(net).unwrap();
        for a in yes {
            assert!(c.contains(parse(a).unwrap()), "{a} in {net}");
        }
        for a in no {
            assert!(!c.contains(parse(a).unwrap()), "{a} not in {net}");
        }
    }

    #[test]
    fn networks() {
        check(
            "10.0.0.0/8",
            &["10.1.2.3", "010.001.2.3", "::ffff:10.0.0.1"],
            &["11.0.0.1", "2001:db8::a00:1"],
        );
        check("0.0.0.0/0", &["1.2.3.4"], &["2001:db8::1"]);
        check("2001:db8::/32", &["2001:db8:1::"], &["2001:db9::", "32.1.13.184"]);
        check("::1/128", &["::1"], &["::2"]);
        check("192.168.1.7", &["192.168.1.7"], &["192.168.1.8"]);
        for bad in ["10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/", "10.0.0.0/x", "10.0.0.0/+8"] {
            assert!(Cidr::parse(bad).is_none(), "{bad}");
        }
        assert_eq!(Cidr::parse("10.1.2.3/8").unwrap().to_string(), "10.0.0.0/8");
        assert_eq!(Cidr::parse("2001:db8::1/32").unwrap().to_string(), "2001:db8::/32");
    }
}
