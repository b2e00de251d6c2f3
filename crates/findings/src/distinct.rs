use serde::{Deserialize, Serialize};

/// Distinct events are counted exactly up to here; beyond, the count is an estimate with about 1.6 % standard error. 4,096 keys
/// are 32 KiB in memory for the worst finding, and a person who reads "4,096" decides the same as one who reads "4,131".
pub const DISTINCT_EXACT: usize = 4_096;

/// The set of keys seen, cut to its smallest `DISTINCT_EXACT` members (k minimum values, Bar-Yossef et al., RANDOM 2002). Keys are
/// parts of SHA-256, so they are uniform and a sender cannot aim them. The state is a function of the *set* of keys put in: order
/// and repeats do not matter, which is what F2 needs of a count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Distinct(Vec<u64>);

/// What the set knows about a key that it was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Seen {
    New,
    Before,
    /// The set is cut below this key, so it cannot say.
    CannotTell,
}

impl Distinct {
    pub fn insert(&mut self, key: u64) -> Seen {
        let Err(at) = self.0.binary_search(&key) else { return Seen::Before };
        if at >= DISTINCT_EXACT {
            return Seen::CannotTell;
        }
        self.0.insert(at, key);
        self.0.truncate(DISTINCT_EXACT);
        Seen::New
    }

    pub fn count(&self) -> u64 {
        let kept = self.0.len() as u64;
        match self.0.last() {
            Some(kth) if self.0.len() >= DISTINCT_EXACT => {
                let estimate = (u128::from(kept - 1) << 64) / (u128::from(*kth) + 1);
                // Never below what was counted: exactly DISTINCT_EXACT keys must read DISTINCT_EXACT.
                u64::try_from(estimate).unwrap_or(u64::MAX).max(kept)
            }
            _ => kept,
        }
    }

    pub fn is_exact(&self) -> bool {
        self.0.len() < DISTINCT_EXACT
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(n: u64) -> u64 {
        let h = model::sha256(&[&n.to_le_bytes()]);
        u64::from_le_bytes(h[..8].try_into().unwrap())
    }

    #[test]
    fn exact_first_then_close() {
        for n in [0, 1, 300, 4_095] {
            let mut d = Distinct::default();
            (0..n).for_each(|i| assert_eq!(d.insert(key(i)), Seen::New));
            assert_eq!((d.count(), d.is_exact()), (n, true));
        }
        let mut d = Distinct::default();
        for i in 0..200_000 {
            d.insert(key(i));
        }
        let off = (d.count() as f64 / 200_000.0 - 1.0).abs();
        assert!(off < 0.06, "{} of 200000", d.count());
    }

    proptest! {
        #[test]
        fn order_and_repeats_do_not_matter(mut keys in proptest::collection::vec(0u64..9_000, 0..400), turn in 0usize..400) {
            // Small keys make the estimate meaningless but must not break the set.
            let fill = |keys: &[u64]| {
                let mut d = Distinct::default();
                for k in keys {
                    d.insert(*k);
                }
                d
            };
            let a = fill(&keys);
            let n = keys.len().max(1);
            keys.rotate_left(turn % n);
            keys.extend_from_within(..keys.len() / 2);
            prop_assert_eq!(fill(&keys), a);
        }
    }
}
