//! Addresses as logs really write them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The canonical address of `text`: zero-padded octets are decimal (`075.050.255.67` is 75.50.255.67, never octal; anonymised
/// CloudTrail is full of them and `IpAddr` refuses them), v4-mapped v6 becomes v4. Anything else is no address.
#[must_use]
pub fn ip(text: &[u8]) -> Option<IpAddr> {
    let s = std::str::from_utf8(text).ok()?;
    match s.parse::<IpAddr>() {
        Ok(IpAddr::V6(v6)) => Some(v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)),
        Ok(v4) => Some(v4),
        Err(_) => padded(text).map(IpAddr::V4),
    }
}

/// The address of a peer as an envelope writes it: `10.0.0.7:514`, `[::1]:514`, or the address alone.
#[must_use]
pub fn peer(sender: &str) -> Option<IpAddr> {
    match sender.parse::<SocketAddr>() {
        Ok(a) => ip(a.ip().to_string().as_bytes()),
        Err(_) => ip(sender.as_bytes()),
    }
}

fn padded(text: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0u8; 4];
    let mut parts = text.split(|b| *b == b'.');
    for o in &mut octets {
        let part = parts.next().filter(|p| (1..=3).contains(&p.len()))?;
        *o = u8::try_from(crate::scan::number(part)?).ok()?;
    }
    parts.next().is_none().then(|| Ipv4Addr::from(octets))
}

/// A network, `10.0.0.0/8` or a single address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cidr {
    net: IpAddr,
    bits: u8,
}

impl Cidr {
    #[must_use]
    pub fn parse(text: &str) -> Option<Cidr> {
        let (net, bits) = match text.split_once('/') {
            Some((net, bits)) => (net, Some(bits.parse::<u8>().ok()?)),
            None => (text, None),
        };
        let net = ip(net.as_bytes())?;
        let most = if net.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        (bits <= most).then_some(Cidr { net, bits })
    }
    /// The address as it was written.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.net
    }
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.net, ip) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                (u32::from(a) ^ u32::from(b)) & mask == 0
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                (bits_of(a) ^ bits_of(b)) & mask == 0
            }
            _ => false,
        }
    }
}

fn bits_of(a: Ipv6Addr) -> u128 {
    u128::from(a)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        assert_eq!(ip(text.as_bytes()).map_or("none".to_owned(), |a| a.to_string()), expect, "{text}");
    }

    #[test]
    fn addresses() {
        check("075.050.255.67", "75.50.255.67");
        check("203.0.113.50", "203.0.113.50");
        check("::ffff:10.0.0.1", "10.0.0.1");
        check("2001:db8::1", "2001:db8::1");
        for bad in [
            "256.1.1.1",
            "1.2.3",
            "1.2.3.4.5",
            "0x7f.0.0.1",
            "1.2.3.0004",
            "cloudformation.amazonaws.com",
            "AWS Internal",
            "",
        ] {
            check(bad, "none");
        }
        assert_eq!(peer("[::1]:514"), Some("::1".parse().unwrap()));
        assert_eq!(peer("10.0.0.7:514"), Some("10.0.0.7".parse().unwrap()));
        assert_eq!(peer("CN=edge"), None);
    }

    #[test]
    fn networks() {
        for (net, address, expect) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("0.0.0.0/0", "::1", false),
        ] {
            let cidr = Cidr::parse(net).unwrap();
            assert_eq!(cidr.contains(address.parse().unwrap()), expect, "{net} {address}");
        }
        for bad in ["10.0.0.0/33", "::/129", "ten/8", "10.0.0.0/", ""] {
            assert_eq!(Cidr::parse(bad), None, "{bad}");
        }
    }
}
