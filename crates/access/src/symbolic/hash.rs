//! Maps of the engine. It asks them thousands of times for small keys that it made itself, where the standard hash costs more than
//! the answer.
//!
//! The hash is one multiplication a word and has no secret. Keys are states, masks and patterns, each counted against a limit before
//! it is kept, so that a document made to collide costs time within those limits and nothing else. No result depends on an order of
//! these maps: they are only asked, never walked.

use std::hash::{BuildHasherDefault, Hash, Hasher};

pub(super) type Map<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<Folded>>;
pub(super) type Set<K> = std::collections::HashSet<K, BuildHasherDefault<Folded>>;

/// Multiply by an odd number with many bits, and fold the high half of the product into the low one.
#[derive(Clone, Copy, Default)]
pub(super) struct Folded(u64);

const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

impl Hasher for Folded {
    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word ^ FACTOR).wrapping_mul(u128::from(FACTOR | 1 << 63));
        #[expect(clippy::cast_possible_truncation, reason = "the two halves of 128 bits")]
        let (low, high) = (product as u64, (product >> 64) as u64);
        self.0 = low ^ high.rotate_left(23);
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.write_u64(n.into());
    }

    fn write_u32(&mut self, n: u32) {
        self.write_u64(n.into());
    }

    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }

    fn write_isize(&mut self, n: isize) {
        self.write_u64(n as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Entries up to which a list is searched: most sets here stay that small, and a hash would cost more.
const FEW: usize = 16;

/// A set of small keys.
pub(super) struct Few<K> {
    few: Vec<K>,
    many: Set<K>,
}

impl<K> Default for Few<K> {
    fn default() -> Few<K> {
        Few { few: Vec::new(), many: Set::default() }
    }
}

impl<K: Clone + Eq + Hash> Few<K> {
    /// Whether it was not there yet.
    pub(super) fn insert(&mut self, key: K) -> bool {
        if self.many.is_empty() {
            if self.few.contains(&key) {
                return false;
            }
            if self.few.len() < FEW {
                self.few.push(key);
                return true;
            }
            self.many.extend(self.few.iter().cloned());
        }
        self.many.insert(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_and_many() {
        let mut set = Few::default();
        for round in 0..2 {
            for n in 0..100u64 {
                assert_eq!(set.insert(n), round == 0, "{n}");
            }
        }
    }

    /// No two of many small keys that differ in a bit or a length meet in the low bits more often than chance has it.
    #[test]
    fn small_keys_are_spread() {
        let hash = |key: &[u64]| {
            let mut h = Folded::default();
            key.hash(&mut h);
            h.finish()
        };
        let mut low = std::collections::HashMap::new();
        let mut high = std::collections::HashMap::new();
        for n in 0..4_096u64 {
            for key in [vec![n], vec![n, 0], vec![0, n], vec![n << 40]] {
                *low.entry(hash(&key) & 0xFFF).or_insert(0) += 1;
                *high.entry(hash(&key) >> 57).or_insert(0) += 1;
            }
        }
        assert!(low.values().all(|n| *n < 30) && low.len() > 3_500, "{}", low.len());
        assert!(high.values().all(|n| *n < 400) && high.len() == 128);
    }
}
