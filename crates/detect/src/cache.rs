//! Log values repeat, so what is known about a value is kept: value → predicates that hold, one cache per field; and who and
//! what → the subject of an occurrence.
//!
//! The cache is set-associative, like a processor's: a value has four places, and a fifth value evicts one of them. So it is
//! bounded, never rehashes under load, needs no random seed (N3), and an attacker who makes values collide only gets them
//! evaluated each time, as if there were no cache.

/// Places of one value.
const WAYS: usize = 4;
/// Sets at the start; most fields have few values.
const SETS_MIN: usize = 16;
/// Most sets of one field: 65,536 values, about 10 MiB. Beyond, values hardly repeat and the memory is better left to others.
pub const SETS_MAX: usize = 16_384;
/// Longest value that is kept. Longer ones are rarely equal to another, and comparing them costs as much as matching.
pub const VALUE_BYTES_MAX: usize = 1_024;

/// Lookups after which a cache asks itself whether it helps.
const TRIAL: u32 = 1_024;
/// Found of them that make it worth while. Below, most lookups also pay for an insertion, into memory that is in no processor's
/// cache.
const FOUND_MIN: u32 = TRIAL / 2;
/// Lookups during which a cache that did not help stands aside.
const PAUSE: u32 = 8_192;

#[derive(Default, Clone)]
struct Slot<V> {
    key: String,
    known: V,
}

pub struct Cache<V> {
    /// Hashes apart from the values, four in one line of memory; 0 = empty.
    tags: Vec<[u64; WAYS]>,
    slots: Vec<Slot<V>>,
    sets_max: usize,
    /// Turns with every insertion and picks the victim.
    hand: usize,
    n_inserted: usize,
    seed: u64,
    n_lookups: u32,
    n_found: u32,
    pause: u32,
}

impl<V: Clone + Default> Cache<V> {
    #[must_use]
    pub fn new(seed: u64, sets_max: usize) -> Cache<V> {
        Cache {
            sets_max,
            tags: vec![[0; WAYS]; SETS_MIN],
            slots: vec![Slot::default(); SETS_MIN * WAYS],
            hand: 0,
            n_inserted: 0,
            seed,
            n_lookups: 0,
            n_found: 0,
            pause: 0,
        }
    }

    /// Never 0.
    #[must_use]
    pub fn hash(&self, value: &str) -> u64 {
        hash(self.seed, value.as_bytes()) | 1
    }

    /// Whether it is worth asking at all: a field whose every value is new pays for a cache and gets nothing.
    pub fn is_helpful(&mut self) -> bool {
        if self.pause > 0 {
            self.pause -= 1;
            return false;
        }
        self.n_lookups += 1;
        if self.n_lookups >= TRIAL {
            if self.n_found < FOUND_MIN {
                self.pause = PAUSE;
            }
            (self.n_lookups, self.n_found) = (0, 0);
        }
        true
    }

    #[must_use]
    pub fn get(&mut self, hash: u64, value: &str) -> Option<&V> {
        let set = self.set(hash);
        for way in 0..WAYS {
            if self.tags.get(set)?.get(way) == Some(&hash) {
                let slot = self.slots.get(set * WAYS + way)?;
                if slot.key == value {
                    self.n_found += 1;
                    return Some(&slot.known);
                }
            }
        }
        None
    }

    fn set(&self, hash: u64) -> usize {
        // The high half, because the lowest bit is always set.
        (hash >> 32) as usize & (self.tags.len() - 1)
    }

    /// Keeps what `fill` makes of the place that the value gets.
    pub fn insert(&mut self, hash: u64, value: &str, fill: impl FnOnce(&mut V)) {
        self.n_inserted += 1;
        if self.n_inserted > self.slots.len() && self.tags.len() < self.sets_max {
            self.grow();
        }
        let set = self.set(hash);
        self.hand = (self.hand + 1) % WAYS;
        let Some(tags) = self.tags.get_mut(set) else { return };
        let way = tags.iter().position(|t| *t == 0).unwrap_or(self.hand);
        if let (Some(t), Some(s)) = (tags.get_mut(way), self.slots.get_mut(set * WAYS + way)) {
            *t = hash;
            s.key.clear();
            s.key.push_str(value);
            fill(&mut s.known);
        }
    }

    /// Four times the sets. None of the values is lost, because a set is spread over four.
    fn grow(&mut self) {
        self.n_inserted = 0;
        let sets = self.tags.len() * 4;
        let tags = std::mem::replace(&mut self.tags, vec![[0; WAYS]; sets]);
        let slots = std::mem::replace(&mut self.slots, vec![Slot::default(); sets * WAYS]);
        for (tag, slot) in tags.into_iter().flatten().zip(slots).filter(|(t, _)| *t != 0) {
            let set = self.set(tag);
            let free = self.tags.get(set).and_then(|t| t.iter().position(|t| *t == 0));
            if let Some(way) = free
                && let Some(t) = self.tags.get_mut(set).and_then(|t| t.get_mut(way))
                && let Some(s) = self.slots.get_mut(set * WAYS + way)
            {
                *t = tag;
                *s = slot;
            }
        }
    }
}

/// Multiply-and-fold over eight bytes at a time. Fast on short keys, which field values are; not meant to resist collisions.
#[must_use]
pub fn hash(seed: u64, bytes: &[u8]) -> u64 {
    const K: u64 = 0x9e37_79b9_7f4a_7c15;
    let fold = |a: u64, b: u64| {
        let wide = u128::from(a).wrapping_mul(u128::from(b));
        #[expect(clippy::cast_possible_truncation, reason = "the two halves are what is wanted")]
        let (low, high) = (wide as u64, (wide >> 64) as u64);
        low ^ high
    };
    let mut h = seed ^ K ^ (bytes.len() as u64).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let mut chunks = bytes.chunks_exact(8);
    for c in &mut chunks {
        let word = c.try_into().map_or(0, u64::from_le_bytes);
        h = fold(h ^ word, K);
    }
    let mut tail = [0_u8; 8];
    for (t, b) in tail.iter_mut().zip(chunks.remainder()) {
        *t = *b;
    }
    fold(h ^ u64::from_le_bytes(tail), 0xd6e8_feb8_6659_fd93)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(seed: u64) -> Cache<Vec<u32>> {
        Cache::new(seed, SETS_MAX)
    }

    #[test]
    fn values_are_found_again_and_memory_is_bounded() {
        let mut c = cache(7);
        for i in 0..200_000_u32 {
            let v = format!("value-{i}");
            let h = c.hash(&v);
            assert!(c.get(h, &v).is_none());
            c.insert(h, &v, |k| *k = vec![i]);
            assert_eq!(c.get(h, &v), Some(&vec![i]));
        }
        assert_eq!(c.slots.len(), SETS_MAX * WAYS);
    }

    #[test]
    fn few_values_stay() {
        let mut c = cache(0);
        let values: Vec<String> = (0..1_000).map(|i| format!("v{i}")).collect();
        for _ in 0..4 {
            for v in &values {
                let h = c.hash(v);
                if c.get(h, v).is_none() {
                    c.insert(h, v, |k| *k = vec![1]);
                }
            }
        }
        let kept = values
            .iter()
            .filter(|v| {
                let h = c.hash(v);
                c.get(h, v).is_some()
            })
            .count();
        assert!(kept > 950, "{kept}");
    }

    #[test]
    fn a_cache_that_never_helps_stands_aside() {
        let mut c = cache(0);
        let mut asked = 0;
        for i in 0..100_000 {
            let v = i.to_string();
            if c.is_helpful() {
                asked += 1;
                let h = c.hash(&v);
                assert!(c.get(h, &v).is_none());
                c.insert(h, &v, |_| ());
            }
        }
        assert!((1..15_000).contains(&asked), "{asked}");
    }

    #[test]
    fn equal_hashes_do_not_mix_values_up() {
        let mut c = cache(0);
        for v in ["a", "b", "c", "d", "e", "f"] {
            c.insert(99, v, |k| *k = vec![u32::from(v.as_bytes()[0])]);
            assert_eq!(c.get(99, v), Some(&vec![u32::from(v.as_bytes()[0])]));
        }
        assert_eq!(c.get(99, "b"), None, "a set holds four");
    }
}
