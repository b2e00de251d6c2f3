use crate::merkle::{Hash, hex, parse_hex};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// SHA-256 output; lower-case hex as text and in JSON.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Digest(pub Hash);

impl Digest {
    #[must_use]
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(model::sha256(&[bytes]))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Digest, D::Error> {
        let text = String::deserialize(d)?;
        parse_hex(&text)
            .map(Digest)
            .ok_or_else(|| serde::de::Error::custom(format!("`{text}` is no SHA-256 in lower-case hex")))
    }
}

/// 16 bytes as 32 lower-case hex digits: vault ids and data key ids.
#[must_use]
pub fn parse_hex16(text: &str) -> Option<[u8; 16]> {
    let padded = format!("{text}{}", "0".repeat(32));
    let hash = parse_hex(&padded).filter(|_| text.len() == 32)?;
    hash.first_chunk::<16>().copied()
}
