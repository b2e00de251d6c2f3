//! Sets of rows of one chunk.

/// Rows that are judged together, at most 64 words of 64 bits, so that one more word can say which of them are not zero. What was
/// read of the rows is read again for their candidates and their occurrences: half a megabyte of records is then still near. Less
/// would only pay more often for looking at the rules.
pub const ROWS: usize = 512;
const WORDS: usize = ROWS / 64;

/// A set of rows. `summary` has a bit for every word that is not zero: a rule that concerns three rows of a chunk touches three
/// words, not all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bits {
    summary: u64,
    words: [u64; WORDS],
}

impl Default for Bits {
    fn default() -> Bits {
        Bits { summary: 0, words: [0; WORDS] }
    }
}

impl Bits {
    /// The first `n` rows.
    #[must_use]
    pub fn first(n: usize) -> Bits {
        let mut out = Bits::default();
        for (i, w) in out.words.iter_mut().enumerate() {
            let left = n.saturating_sub(i * 64);
            if left > 0 {
                *w = if left >= 64 { u64::MAX } else { (1 << left) - 1 };
                out.summary |= 1 << i;
            }
        }
        out
    }
    pub fn set(&mut self, row: usize) {
        if let Some(w) = self.words.get_mut(row >> 6) {
            *w |= 1 << (row & 63);
            self.summary |= 1 << (row >> 6);
        }
    }
    #[must_use]
    pub fn has(&self, row: usize) -> bool {
        self.words.get(row >> 6).is_some_and(|w| w >> (row & 63) & 1 == 1)
    }
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.summary == 0
    }
    pub fn clear(&mut self) {
        let mut left = std::mem::take(&mut self.summary);
        while left != 0 {
            if let Some(w) = self.words.get_mut(left.trailing_zeros() as usize) {
                *w = 0;
            }
            left &= left - 1;
        }
    }
    fn word(&self, i: usize) -> u64 {
        self.words.get(i).copied().unwrap_or(0)
    }
    /// Applies `f(mine, theirs)` to the words named by `which`.
    fn zip(&mut self, other: &Bits, which: u64, f: impl Fn(u64, u64) -> u64) {
        let mut left = which;
        while left != 0 {
            let i = left.trailing_zeros() as usize;
            left &= left - 1;
            if let Some(w) = self.words.get_mut(i) {
                *w = f(*w, other.word(i));
                let bit = 1 << i;
                self.summary = if *w == 0 { self.summary & !bit } else { self.summary | bit };
            }
        }
    }
    pub fn keep(&mut self, other: &Bits) {
        self.zip(other, self.summary, |a, b| a & b);
    }
    pub fn add(&mut self, other: &Bits) {
        self.zip(other, other.summary, |a, b| a | b);
    }
    pub fn remove(&mut self, other: &Bits) {
        self.zip(other, self.summary & other.summary, |a, b| a & !b);
    }
    /// Rows in order.
    pub fn rows(&self) -> impl Iterator<Item = usize> + '_ {
        let mut words = self.summary;
        let mut base = 0;
        let mut current = 0;
        std::iter::from_fn(move || {
            while current == 0 {
                if words == 0 {
                    return None;
                }
                let i = words.trailing_zeros() as usize;
                words &= words - 1;
                base = i * 64;
                current = self.word(i);
            }
            let row = base + current.trailing_zeros() as usize;
            current &= current - 1;
            Some(row)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn bits(rows: &BTreeSet<usize>) -> Bits {
        let mut b = Bits::default();
        rows.iter().for_each(|r| b.set(*r));
        b
    }

    proptest! {
        #[test]
        fn they_are_sets(a in proptest::collection::btree_set(0..ROWS, 0..50), b in proptest::collection::btree_set(0..ROWS, 0..50), n in 0..=ROWS) {
            let (x, y) = (bits(&a), bits(&b));
            let check = |f: fn(&mut Bits, &Bits), want: BTreeSet<usize>| {
                let mut z = x.clone();
                f(&mut z, &y);
                (z.rows().collect::<BTreeSet<_>>() == want) && z.is_empty() == want.is_empty()
            };
            prop_assert!(check(Bits::keep, a.intersection(&b).copied().collect()));
            prop_assert!(check(Bits::add, a.union(&b).copied().collect()));
            prop_assert!(check(Bits::remove, a.difference(&b).copied().collect()));
            prop_assert_eq!(Bits::first(n).rows().count(), n);
            let mut z = x.clone();
            z.clear();
            prop_assert_eq!(z, Bits::default());
        }
    }
}
