//! The duplicate window of `transport.md` 1.3.

use model::EventId;
use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

/// Ids remembered per source (1 M, 16 MB of ids): covers every redelivery that a sender makes within its own retry horizon at
/// usual rates, and is rebuilt at start by reading that much of the log's tail.
pub const WINDOW_IDS: usize = 1_000_000;

/// The ids of the newest events of one source. A hit is acknowledged, counted and not appended.
///
/// The host asks `contains` before append and calls `insert` only after the receipt: an id that was remembered but not stored
/// would turn the sender's honest retry into a loss.
#[derive(Debug)]
pub struct Window {
    known: HashSet<EventId, BuildHasherDefault<IdHasher>>,
    order: VecDeque<EventId>,
    capacity: usize,
}

impl Default for Window {
    fn default() -> Window {
        Window::new(WINDOW_IDS)
    }
}

impl Window {
    /// Memory grows with use, up to `capacity` ids.
    #[must_use]
    pub fn new(capacity: usize) -> Window {
        Window { known: HashSet::default(), order: VecDeque::new(), capacity: capacity.max(1) }
    }
    /// `false` for [`EventId::NONE`]: an event without an origin is never a duplicate.
    #[must_use]
    pub fn contains(&self, id: EventId) -> bool {
        !id.is_none() && self.known.contains(&id)
    }
    /// Remembers a stored event; the oldest is forgotten when the window is full.
    pub fn insert(&mut self, id: EventId) {
        if id.is_none() || !self.known.insert(id) {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > self.capacity
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

/// An id is a SHA-256 prefix already: its first eight bytes are as good as any hash of it.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            for (w, b) in word.iter_mut().zip(chunk) {
                *w = *b;
            }
            self.0 = self.0.rotate_left(5) ^ u64::from_le_bytes(word);
        }
    }
    fn write_usize(&mut self, _length: usize) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u32) -> EventId {
        EventId::of(&[&n.to_le_bytes()])
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let mut w = Window::new(3);
        for n in [1, 2, 2, 3, 4] {
            w.insert(id(n));
        }
        let known: Vec<bool> = (1..=4).map(|n| w.contains(id(n))).collect();
        assert_eq!(known, [false, true, true, true]);
        assert_eq!(w.len(), 3);
    }

    #[test]
    fn an_event_without_an_origin_is_never_a_duplicate() {
        let mut w = Window::new(3);
        w.insert(EventId::NONE);
        assert!(!w.contains(EventId::NONE));
        assert!(w.is_empty());
    }
}
