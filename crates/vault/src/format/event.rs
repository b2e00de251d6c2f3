//! Event leaves and the roots above them (`vault.md` 5).
//!
//! leaf = SHA-256(0x00 ‖ salt ‖ SHA-256(envelope) ‖ SHA-256(raw)), salt = HMAC-SHA-256(seed, seq as u64 LE)[:16],
//! seed = HKDF-SHA-256(no salt, WAL data key, "avouch salt/1" ‖ dataset). The salt keeps the sibling hashes in a proof from
//! betraying what a neighbour said; once the data key is destroyed nobody can recompute it.

use crate::keys::Dek;
use crate::merkle::{Hash, LEAF, Tree, leaf_hash};
use crate::sha256::{Start, digests_of};
use ring::hkdf;
use std::fmt;
use zeroize::Zeroizing;

const SALT_INFO: &[u8] = b"avouch salt/1";
/// Bytes of a salt.
pub const SALT_BYTES: usize = 16;

/// What the salts of one dataset in one WAL come from. Stands in the Parquet footer, encrypted where the file is.
#[derive(Clone)]
pub struct Seed(Zeroizing<[u8; 32]>);

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

struct Bytes32;

impl hkdf::KeyType for Bytes32 {
    fn len(&self) -> usize {
        32
    }
}

impl Seed {
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Seed {
        Seed(Zeroizing::new(bytes))
    }

    /// The seed of `dataset` in the WAL that `dek` encrypts.
    #[must_use]
    pub fn derive(dek: &Dek, dataset: &str) -> Seed {
        let mut out = Zeroizing::new([0u8; 32]);
        let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(dek.bytes());
        // 32 bytes of an HKDF over SHA-256 cannot fail (the limit is 255 × 32).
        if let Ok(okm) = extracted.expand(&[SALT_INFO, dataset.as_bytes()], Bytes32) {
            let _ = okm.fill(&mut *out);
        }
        Seed(out)
    }

    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Makes salts from a seed: HMAC with both blocks of the key hashed once, so that a salt costs two blocks and not four.
#[derive(Clone)]
pub struct Salter {
    inner: Start,
    outer: Start,
}

impl fmt::Debug for Salter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salter(..)")
    }
}

impl Salter {
    #[must_use]
    pub fn new(seed: &Seed) -> Salter {
        let block = |pad: u8| {
            // RFC 2104: the key, filled up to a block of 64 bytes.
            let mut block = Zeroizing::new([pad; 64]);
            for (to, from) in block.iter_mut().zip(seed.bytes()) {
                *to ^= from;
            }
            Start::after(&block)
        };
        Salter { inner: block(0x36), outer: block(0x5c) }
    }

    #[must_use]
    pub fn salt(&self, seq: u64) -> [u8; SALT_BYTES] {
        salt_of(&self.outer.digest(&self.inner.digest(&seq.to_le_bytes())))
    }

    /// Appends the leaves of events to `out`, given by seq, hash of the envelope, and hash of raw; as many as there are of all three.
    pub fn leaves(&self, seqs: &[u64], envelopes: &[Hash], raws: &[Hash], out: &mut Vec<Hash>) {
        let (mut inner, mut tags) = (Vec::with_capacity(seqs.len()), Vec::with_capacity(seqs.len()));
        digests_of(&self.inner, seqs.iter().map(|seq| seq.to_le_bytes()), &mut inner);
        digests_of(&self.outer, inner.into_iter(), &mut tags);
        let parts = tags.iter().zip(envelopes).zip(raws);
        let messages = parts.map(|((tag, envelope), raw)| leaf_message(&salt_of(tag), envelope, raw));
        digests_of(&Start::EMPTY, messages, out);
    }

    /// The leaf of an event given by its canonical envelope and its raw bytes.
    #[must_use]
    pub fn leaf(&self, seq: u64, envelope: &[u8], raw: &[u8]) -> Hash {
        event_leaf(&self.salt(seq), &sha256(envelope), &sha256(raw))
    }
}

/// SHA-256.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Hash {
    Start::EMPTY.digest(bytes)
}

/// The leaf from its parts, as a proof carries them.
#[must_use]
pub fn event_leaf(salt: &[u8; SALT_BYTES], envelope: &Hash, raw: &Hash) -> Hash {
    Start::EMPTY.digest(&leaf_message(salt, envelope, raw))
}

fn salt_of(tag: &Hash) -> [u8; SALT_BYTES] {
    tag.first_chunk().copied().unwrap_or_default()
}

fn leaf_message(salt: &[u8; SALT_BYTES], envelope: &Hash, raw: &Hash) -> [u8; 1 + SALT_BYTES + 64] {
    let mut message = [LEAF; 1 + SALT_BYTES + 64];
    let (to_salt, rest) = message.split_at_mut(1 + SALT_BYTES);
    let (to_envelope, to_raw) = rest.split_at_mut(envelope.len());
    to_salt.split_at_mut(1).1.copy_from_slice(salt);
    to_envelope.copy_from_slice(envelope);
    to_raw.copy_from_slice(raw);
    message
}

/// What a WAL holds of one dataset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DatasetRoot<'a> {
    pub dataset: &'a str,
    pub root: Hash,
    pub rows: u64,
}

impl DatasetRoot<'_> {
    /// The row of the WAL tree: RFC 8785 {dataset, root, rows}.
    #[must_use]
    pub fn row(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        out.extend_from_slice(b"{\"dataset\":");
        model::canonical::write_string(self.dataset, &mut out);
        out.extend_from_slice(b",\"root\":\"");
        out.extend_from_slice(crate::merkle::hex(&self.root).as_bytes());
        out.extend_from_slice(b"\",\"rows\":");
        out.extend_from_slice(self.rows.to_string().as_bytes());
        out.push(b'}');
        out
    }
}

/// WAL root: RFC 6962 tree over one row per dataset. `rows` must come sorted by dataset name.
#[must_use]
pub fn wal_root<'a>(rows: impl IntoIterator<Item = DatasetRoot<'a>>) -> Hash {
    let mut tree = Tree::new();
    tree.extend(rows.into_iter().map(|r| leaf_hash(&r.row())));
    tree.root()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::hex;
    use sha2::{Digest as _, Sha256};

    /// Frozen (`vault.md` 1). Recomputed here with another implementation of each primitive.
    #[test]
    fn golden_leaf() {
        let dek = Dek::new([7; 32]);
        let seed = Seed::derive(&dek, "syslog");
        let salter = Salter::new(&seed);
        let leaf = salter.leaf(5, b"{}", b"raw");

        let hmac = |key: &[u8], parts: &[&[u8]]| -> [u8; 32] {
            let mut block = [0u8; 64];
            block[..key.len()].copy_from_slice(key);
            let inner = Sha256::digest([&block.map(|b| b ^ 0x36)[..], &parts.concat()].concat());
            Sha256::digest([&block.map(|b| b ^ 0x5c)[..], &inner].concat()).into()
        };
        let prk = hmac(&[0; 32], &[&[7; 32]]);
        let slow_seed = hmac(&prk, &[b"avouch salt/1", b"syslog", &[1]]);
        assert_eq!(&slow_seed, seed.bytes());
        let salt = &hmac(&slow_seed, &[&5u64.to_le_bytes()])[..16];
        let slow: Hash =
            Sha256::digest([&[0u8][..], salt, &Sha256::digest(b"{}"), &Sha256::digest(b"raw")].concat())
                .into();
        assert_eq!(slow, leaf);
        let (mut many, raw) = (Vec::new(), sha256(b"raw"));
        salter.leaves(&[4, 5, 6], &[sha256(b"{}"); 3], &[raw; 3], &mut many);
        assert_eq!(many, [4, 5, 6].map(|seq| salter.leaf(seq, b"{}", b"raw")));
        expect_test::expect!["030606c09b7cdbbb2bdf1dc016a3a3e7dbe9d945cbed950bd4af1fbbe8391ce5"]
            .assert_eq(&hex(&leaf));
    }

    #[test]
    fn golden_wal_root() {
        let a = DatasetRoot { dataset: "a.b", root: [1; 32], rows: 3 };
        expect_test::expect![[r#"{"dataset":"a.b","root":"0101010101010101010101010101010101010101010101010101010101010101","rows":3}"#]]
            .assert_eq(std::str::from_utf8(&a.row()).unwrap());
        assert_eq!(wal_root([a]), leaf_hash(&a.row()));
        assert_eq!(wal_root([]), crate::merkle::EMPTY_ROOT);
    }
}
