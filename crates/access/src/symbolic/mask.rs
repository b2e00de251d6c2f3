//! A set of statements.

/// One bit per statement, of at most `64 * W`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct Mask<const W: usize>([u64; W]);

impl<const W: usize> Mask<W> {
    pub(super) const NONE: Mask<W> = Mask([0; W]);
    pub(super) const ALL: Mask<W> = Mask([u64::MAX; W]);

    pub(super) fn insert(&mut self, at: usize) {
        if let Some(word) = self.0.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
    }

    pub(super) fn remove(&mut self, at: usize) {
        if let Some(word) = self.0.get_mut(at / 64) {
            *word &= !(1 << (at % 64));
        }
    }

    pub(super) fn has(&self, at: usize) -> bool {
        self.0.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    pub(super) fn word(&self, at: usize) -> u64 {
        self.0.get(at).copied().unwrap_or(0)
    }

    pub(super) fn and(mut self, other: Mask<W>) -> Mask<W> {
        for (a, b) in self.0.iter_mut().zip(other.0) {
            *a &= b;
        }
        self
    }

    pub(super) fn or(mut self, other: Mask<W>) -> Mask<W> {
        for (a, b) in self.0.iter_mut().zip(other.0) {
            *a |= b;
        }
        self
    }

    /// One statement.
    pub(super) fn of(at: usize) -> Mask<W> {
        let mut out = Mask::NONE;
        out.insert(at);
        out
    }

    pub(super) fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    pub(super) fn bits(self) -> impl Iterator<Item = usize> {
        (0..64 * W).filter(move |at| self.has(*at))
    }

    pub(super) fn meets(&self, other: &Mask<W>) -> bool {
        self.0.iter().zip(other.0).any(|(a, b)| a & b != 0)
    }
}
