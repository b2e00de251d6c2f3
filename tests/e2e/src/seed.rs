//! Random choices that can be repeated.

use std::time::{SystemTime, UNIX_EPOCH};

/// SplitMix64: small, and good enough for choosing places.
pub struct Random {
    pub seed: u64,
    state: u64,
}

impl Default for Random {
    fn default() -> Random {
        Random::new()
    }
}

impl Random {
    /// From `AVOUCH_E2E_SEED`, else from the clock.
    pub fn new() -> Random {
        let given = std::env::var("AVOUCH_E2E_SEED").ok().and_then(|s| s.parse().ok());
        let seed = given.unwrap_or_else(|| {
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |d| d.subsec_nanos().into())
        });
        Random::of(seed)
    }
    pub fn of(seed: u64) -> Random {
        Random { seed, state: seed }
    }
    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// In `from..to`.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        assert!(from < to, "nothing between {from} and {to}");
        from + self.draw() % (to - from)
    }
    pub fn one_of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[usize::try_from(self.between(0, list.len() as u64)).expect("an index")]
    }
}
