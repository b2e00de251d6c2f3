use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;
use std::fmt;
use std::str::FromStr;

/// SHA-256 of `parts` put one after the other.
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut ctx = ring::digest::Context::new(&ring::digest::SHA256);
    for p in parts {
        ctx.update(p);
    }
    let mut out = [0; 32];
    out.copy_from_slice(ctx.finish().as_ref());
    out
}

/// Lower-case hex of SHA-256 over `bytes`.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    sha256(&[bytes]).iter().map(|b| format!("{b:02x}")).collect()
}

/// First 16 bytes of SHA-256 over a domain string and length-prefixed parts (u32 LE). The prefix keeps ("ab","c") and ("a","bc")
/// apart.
fn hash16(domain: &str, parts: &[&[u8]]) -> [u8; 16] {
    // `sha2` and not `ring` here: every event gets an id, its parts are short, and `ring` needs half as long again for those.
    let mut hash = sha2::Sha256::new_with_prefix(domain);
    for p in parts {
        hash.update(u32::try_from(p.len()).unwrap_or(u32::MAX).to_le_bytes());
        hash.update(p);
    }
    let mut out = [0; 16];
    for (o, b) in out.iter_mut().zip(hash.finalize()) {
        *o = b;
    }
    out
}

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an id (22 characters, base64url without padding)")]
pub struct ParseIdError(pub String);

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $domain:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// What is hashed before the parts.
            pub const DOMAIN: &str = $domain;
            /// "Not given yet".
            pub const NONE: $name = $name([0; 16]);
            #[must_use]
            pub fn of(parts: &[&[u8]]) -> $name {
                $name(hash16($domain, parts))
            }
            #[must_use]
            pub fn is_none(self) -> bool {
                self == Self::NONE
            }
        }
        /// base64url without padding, 22 characters.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }
        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(s: &str) -> Result<$name, ParseIdError> {
                let bad = || ParseIdError(s.to_owned());
                let bytes = URL_SAFE_NO_PAD.decode(s).map_err(|_| bad())?;
                Ok($name(bytes.try_into().map_err(|_| bad())?))
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<$name, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(
    /// Identity of an event: a hash of its origin parts as listed in `transport.md` 1.3. Events without an origin get
    /// theirs from vault id, shard and sequence number when they are appended.
    EventId,
    "avouch/event/1"
);
id!(
    /// Identity of a finding (F2): a hash of (rule or type, account, region, resource, key). No time in it.
    FindingId,
    "avouch/finding/1"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cannot_run_into_each_other() {
        assert_ne!(EventId::of(&[b"ab", b"c"]), EventId::of(&[b"a", b"bc"]));
        assert_ne!(EventId::of(&[b"a"]).0, FindingId::of(&[b"a"]).0);
    }

    #[test]
    fn text_and_back() {
        let id = EventId::of(&[b"file", b"host", b"fp", b"0", b"42"]);
        assert_eq!(id.to_string().len(), 22);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("short".parse::<EventId>().is_err());
    }

    /// Frozen (`vault.md` 1): a later version must give the same ids.
    #[test]
    fn golden_ids() {
        expect_test::expect!["h3JCcjQXbRiM2RPKGEaHNQ"]
            .assert_eq(&EventId::of(&[b"kinesis", b"arn", b"1"]).to_string());
    }
}
