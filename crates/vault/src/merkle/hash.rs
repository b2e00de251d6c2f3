use crate::sha256::{Start, digests_of};
use sha2::{Digest as _, Sha256};

/// SHA-256 output.
pub type Hash = [u8; 32];

/// Root of the tree without leaves: SHA-256 of nothing (RFC 6962 2.1).
pub const EMPTY_ROOT: Hash = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
    0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

pub(crate) const LEAF: u8 = 0;
const NODE: u8 = 1;

/// SHA-256(0x00 ‖ entry). The prefix keeps leaves and nodes apart: without it an inner node could be presented as a leaf.
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Sha256::new_with_prefix([LEAF]).chain_update(entry).finalize().into()
}

/// SHA-256(0x01 ‖ left ‖ right).
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Start::EMPTY.digest(&node_message(left, right))
}

fn node_message(left: &Hash, right: &Hash) -> [u8; 65] {
    let mut message = [NODE; 65];
    let (to_left, to_right) = message.split_at_mut(33);
    to_left.split_at_mut(1).1.copy_from_slice(left);
    to_right.copy_from_slice(right);
    message
}

/// The nodes above `level`, two hashes each. A lone last one has no node.
pub(crate) fn nodes_above(level: &[Hash]) -> Vec<Hash> {
    let (pairs, _) = level.as_chunks::<2>();
    let mut out = Vec::with_capacity(pairs.len());
    digests_of(&Start::EMPTY, pairs.iter().map(|[left, right]| node_message(left, right)), &mut out);
    out
}

/// Lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|b| [b >> 4, b & 15])
        .map(|d| DIGITS.get(usize::from(d)).map_or('0', |c| char::from(*c)))
        .collect()
}

/// A hash from exactly 64 lower-case hex digits. Upper case is refused: one value has one text.
#[must_use]
pub fn parse_hex(text: &str) -> Option<Hash> {
    let mut out = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (o, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let [high, low] = *pair else { return None };
        *o = digit(high)? << 4 | digit(low)?;
    }
    Some(out)
}

fn digit(c: u8) -> Option<u8> {
    match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_and_back() {
        assert_eq!(parse_hex(&hex(&EMPTY_ROOT)), Some(EMPTY_ROOT));
        assert_eq!(EMPTY_ROOT, model::sha256(&[]));
        for bad in ["", "e3", &"E".repeat(64), &"g".repeat(64), &"é".repeat(32)] {
            assert_eq!(parse_hex(bad), None, "{bad}");
        }
    }

    /// RFC 6962 by hand, through another implementation of SHA-256.
    #[test]
    fn leaf_and_node_have_their_prefixes() {
        let a = model::sha256(&[&[0], b"a"]);
        let b = model::sha256(&[&[0]]);
        let ab = model::sha256(&[&[1], &a, &b]);
        assert_eq!((leaf_hash(b"a"), leaf_hash(b""), node_hash(&a, &b)), (a, b, ab));
    }
}
