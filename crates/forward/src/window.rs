//! The items of a sink between "read" and "finished": one flat state machine, and the cursor under it.

use model::Time;
use std::collections::{BTreeSet, VecDeque};

/// Names an item of a [`Window`]; stays valid (and harmless) after the item is finished or the window was reset.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(u64);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Pending,
    InFlight,
    /// To be tried again at this time.
    Again(Time),
    Finished,
}

#[derive(Debug)]
struct Slot<T> {
    seq: u64,
    bytes: usize,
    state: State,
    attempts: u32,
    first_try: Time,
    /// Dropped as soon as the item is finished, so that memory follows what is unfinished.
    item: Option<T>,
}

/// Items in seq order. The cursor is the first unfinished item's seq: everything below it is done or dead.
#[derive(Debug)]
pub struct Window<T> {
    /// Number of the item at the front, counted from the beginning of the window's life.
    base: u64,
    slots: VecDeque<Slot<T>>,
    pending: VecDeque<u64>,
    again: BTreeSet<(Time, u64)>,
    in_flight: usize,
    unfinished_bytes: usize,
    pending_bytes: usize,
    read_to: u64,
}

impl<T> Window<T> {
    /// An empty window at `cursor`.
    #[must_use]
    pub fn new(cursor: u64) -> Window<T> {
        Window {
            base: 0,
            slots: VecDeque::new(),
            pending: VecDeque::new(),
            again: BTreeSet::new(),
            in_flight: 0,
            unfinished_bytes: 0,
            pending_bytes: 0,
            read_to: cursor,
        }
    }

    /// Everything below is done or dead (or was never selected).
    #[must_use]
    pub fn cursor(&self) -> u64 {
        self.slots.front().map_or(self.read_to, |s| s.seq)
    }
    #[must_use]
    pub fn read_to(&self) -> u64 {
        self.read_to
    }
    /// Width of the bitmap: items from the oldest unfinished one on.
    #[must_use]
    pub fn width(&self) -> usize {
        self.slots.len()
    }
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.unfinished_bytes
    }
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.pending.len() + self.again.len() + self.in_flight
    }
    #[must_use]
    pub fn pending(&self) -> (usize, usize) {
        (self.pending.len(), self.pending_bytes)
    }
    /// When the next item that waits is due.
    #[must_use]
    pub fn due(&self) -> Option<Time> {
        self.again.first().map(|(t, _)| *t)
    }
    /// The oldest unfinished item.
    #[must_use]
    pub fn oldest(&self) -> Option<&T> {
        self.slots.front().and_then(|s| s.item.as_ref())
    }

    /// Adds an item; false (and nothing added) when its seq is not above all that were read: the same event twice would be sent twice.
    pub fn push(&mut self, seq: u64, bytes: usize, item: T) -> bool {
        if seq < self.read_to {
            return false;
        }
        self.read_to = seq.saturating_add(1);
        self.pending.push_back(self.base + self.slots.len() as u64);
        self.slots.push_back(Slot {
            seq,
            bytes,
            state: State::Pending,
            attempts: 0,
            first_try: Time::NONE,
            item: Some(item),
        });
        self.unfinished_bytes += bytes;
        self.pending_bytes += bytes;
        true
    }

    /// Everything selected below `to` has been pushed.
    pub fn advance(&mut self, to: u64) {
        self.read_to = self.read_to.max(to);
    }

    fn slot(&mut self, t: Ticket) -> Option<&mut Slot<T>> {
        let at = usize::try_from(t.0.checked_sub(self.base)?).ok()?;
        self.slots.get_mut(at)
    }

    /// Takes up to `events` items and about `bytes` (at least one item), in the order of the log: those due again first. With
    /// `ordered`, nothing leaves while something is in flight or waits, so that nothing overtakes.
    pub fn take(&mut self, now: Time, events: usize, bytes: usize, ordered: bool) -> Vec<Ticket> {
        if ordered && (self.in_flight > 0 || self.again.last().is_some_and(|(t, _)| *t > now)) {
            return Vec::new();
        }
        // By number where order matters; else by when they became due.
        let mut in_order: Vec<(Time, u64)> =
            if ordered { self.again.iter().copied().collect() } else { Vec::new() };
        in_order.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        let mut chosen = Vec::new();
        let mut size = 0;
        while chosen.len() < events {
            let due =
                if ordered { in_order.pop() } else { self.again.first().copied().filter(|(t, _)| *t <= now) };
            let Some(n) = due.map(|(_, n)| n).or_else(|| self.pending.front().copied()) else { break };
            let item_bytes = self.slot(Ticket(n)).map_or(0, |s| s.bytes);
            if !chosen.is_empty() && size + item_bytes > bytes {
                break;
            }
            match due {
                Some(key) => {
                    self.again.remove(&key);
                }
                None => {
                    self.pending.pop_front();
                    self.pending_bytes = self.pending_bytes.saturating_sub(item_bytes);
                }
            }
            size += item_bytes;
            chosen.push(n);
        }
        chosen.sort_unstable();
        for n in &chosen {
            if let Some(s) = self.slot(Ticket(*n)) {
                s.state = State::InFlight;
                s.attempts = s.attempts.saturating_add(1);
                if s.first_try.is_none() {
                    s.first_try = now;
                }
            }
        }
        self.in_flight += chosen.len();
        chosen.into_iter().map(Ticket).collect()
    }

    /// The item, while it is unfinished.
    pub fn get(&mut self, t: Ticket) -> Option<(u64, &T)> {
        self.slot(t).and_then(|s| s.item.as_ref().map(|i| (s.seq, i)))
    }
    /// (attempts, time of the first).
    pub fn tries(&mut self, t: Ticket) -> (u32, Time) {
        self.slot(t).map_or((0, Time::NONE), |s| (s.attempts, s.first_try))
    }
    pub fn bytes_of(&mut self, t: Ticket) -> usize {
        self.slot(t).map_or(0, |s| s.bytes)
    }

    /// In flight → done or dead. Anything else is left alone (the window was skipped or reset meanwhile).
    pub fn finish(&mut self, t: Ticket) {
        let Some(s) = self.slot(t).filter(|s| s.state == State::InFlight) else { return };
        s.state = State::Finished;
        s.item = None;
        let bytes = s.bytes;
        self.in_flight -= 1;
        self.unfinished_bytes = self.unfinished_bytes.saturating_sub(bytes);
        self.drop_front();
    }

    /// In flight → to be tried again at `at`.
    pub fn retry(&mut self, t: Ticket, at: Time) {
        let Some(s) = self.slot(t).filter(|s| s.state == State::InFlight) else { return };
        s.state = State::Again(at);
        self.again.insert((at, t.0));
        self.in_flight -= 1;
    }

    /// A person skips everything below `to`: finished without having been sent. Answers that come later are ignored.
    pub fn skip(&mut self, to: u64) -> u64 {
        let mut skipped = 0;
        for at in 0..self.slots.len() {
            let n = self.base + at as u64;
            let Some(s) = self.slots.get_mut(at).filter(|s| s.seq < to && s.state != State::Finished) else {
                continue;
            };
            match s.state {
                State::Pending => {
                    self.pending_bytes = self.pending_bytes.saturating_sub(s.bytes);
                    self.pending.retain(|p| *p != n);
                }
                State::Again(t) => {
                    self.again.remove(&(t, n));
                }
                State::InFlight => self.in_flight -= 1,
                State::Finished => {}
            }
            s.state = State::Finished;
            s.item = None;
            self.unfinished_bytes = self.unfinished_bytes.saturating_sub(s.bytes);
            skipped += 1;
        }
        self.read_to = self.read_to.max(to);
        self.drop_front();
        skipped
    }

    /// Starts over at `cursor`. Tickets given out before name nothing any more.
    pub fn reset(&mut self, cursor: u64) {
        let base = self.base + self.slots.len() as u64;
        *self = Window { base, ..Window::new(cursor) };
    }

    fn drop_front(&mut self) {
        while self.slots.front().is_some_and(|s| s.state == State::Finished) {
            self.slots.pop_front();
            self.base += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Clone, Debug)]
    enum Op {
        Push(u64),
        Advance(u64),
        Take { events: usize, ordered: bool },
        Finish(usize),
        Retry(usize, i64),
        Tick(i64),
        Skip(u64),
        Reset(u64),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            6 => (0u64..4).prop_map(Op::Push),
            2 => (0u64..4).prop_map(Op::Advance),
            5 => (1usize..5, any::<bool>()).prop_map(|(events, ordered)| Op::Take { events, ordered }),
            6 => (0usize..9).prop_map(Op::Finish),
            3 => (0usize..9, 0i64..6).prop_map(|(i, t)| Op::Retry(i, t)),
            2 => (0i64..6).prop_map(Op::Tick),
            1 => (0u64..6).prop_map(Op::Skip),
            1 => (0u64..3).prop_map(Op::Reset),
        ]
    }

    /// The slow obvious model: every seq that was pushed since the last reset, with its state.
    #[derive(Default)]
    struct Model {
        items: BTreeMap<u64, Option<&'static str>>,
        read_to: u64,
    }

    impl Model {
        fn cursor(&self) -> u64 {
            self.items.iter().find(|(_, s)| s.is_some()).map_or(self.read_to, |(seq, _)| *seq)
        }
        fn count(&self, state: &str) -> usize {
            self.items.values().filter(|s| **s == Some(state)).count()
        }
    }

    proptest! {
        /// Nothing is lost, nothing leaves twice at a time, and the cursor never passes an unfinished item.
        #[test]
        fn agrees_with_a_simple_model(ops in proptest::collection::vec(op(), 0..120)) {
            let mut w: Window<u64> = Window::new(0);
            let mut m = Model::default();
            let mut out: Vec<(Ticket, u64)> = Vec::new();
            let mut due: BTreeMap<u64, i64> = BTreeMap::new();
            let mut now = 0;
            for op in ops {
                match op {
                    Op::Push(gap) => {
                        let seq = m.read_to + gap;
                        prop_assert!(w.push(seq, 1, seq));
                        prop_assert!(!w.push(seq, 1, seq), "the same seq twice");
                        m.items.insert(seq, Some("pending"));
                        m.read_to = seq + 1;
                    }
                    Op::Advance(by) => {
                        m.read_to += by;
                        w.advance(w.read_to() + by);
                    }
                    Op::Take { events, ordered } => {
                        let before_flight = m.count("flying");
                        let taken = w.take(Time(now), events, usize::MAX, ordered);
                        prop_assert!(taken.len() <= events);
                        if ordered && !taken.is_empty() {
                            prop_assert_eq!(before_flight, 0);
                        }
                        let mut seqs = Vec::new();
                        for t in taken {
                            let (seq, item) = w.get(t).unwrap();
                            prop_assert_eq!(seq, *item);
                            let state = m.items[&seq];
                            prop_assert!(state == Some("pending") || (state == Some("again") && due[&seq] <= now));
                            m.items.insert(seq, Some("flying"));
                            out.push((t, seq));
                            seqs.push(seq);
                        }
                        prop_assert!(seqs.is_sorted());
                        if ordered && !seqs.is_empty() {
                            let oldest = m.items.iter().find(|(_, s)| s.is_some()).map(|(q, _)| *q);
                            prop_assert_eq!(seqs.first().copied(), oldest);
                        }
                        if !ordered && seqs.is_empty() {
                            prop_assert_eq!(m.count("pending"), 0, "it must not sit on something to send");
                        }
                    }
                    Op::Finish(i) if i < out.len() => {
                        let (t, seq) = out.swap_remove(i);
                        w.finish(t);
                        w.finish(t);
                        if m.items.get(&seq) == Some(&Some("flying")) && !out.iter().any(|(_, s)| *s == seq) {
                            m.items.insert(seq, None);
                        }
                    }
                    Op::Retry(i, wait) if i < out.len() => {
                        let (t, seq) = out.swap_remove(i);
                        w.retry(t, Time(now + wait));
                        if m.items.get(&seq) == Some(&Some("flying")) {
                            m.items.insert(seq, Some("again"));
                            due.insert(seq, now + wait);
                        }
                    }
                    Op::Tick(by) => now += by,
                    Op::Skip(by) => {
                        let to = m.cursor() + by;
                        w.skip(to);
                        for (seq, s) in &mut m.items {
                            if *seq < to {
                                *s = None;
                            }
                        }
                        m.read_to = m.read_to.max(to);
                        out.retain(|(_, seq)| *seq >= to);
                    }
                    Op::Reset(to) => {
                        w.reset(to);
                        // Old answers still come in and must change nothing.
                        for (t, _) in out.drain(..) {
                            w.finish(t);
                            w.retry(t, Time(now));
                        }
                        m = Model { items: BTreeMap::new(), read_to: to };
                    }
                    Op::Finish(_) | Op::Retry(..) => {}
                }
                prop_assert_eq!(w.cursor(), m.cursor());
                prop_assert_eq!(w.in_flight(), m.count("flying"));
                prop_assert_eq!(w.pending().0, m.count("pending"));
                let unfinished = m.items.values().filter(|s| s.is_some()).count();
                prop_assert_eq!((w.unfinished(), w.bytes()), (unfinished, unfinished));
            }
        }
    }

    #[test]
    fn a_batch_is_closed_by_bytes_but_never_empty() {
        let mut w = Window::new(0);
        for seq in 0..4 {
            w.push(seq, 40, ());
        }
        assert_eq!(w.take(Time(0), 10, 100, false).len(), 2);
        assert_eq!(w.take(Time(0), 10, 1, false).len(), 1, "an item above the limit goes alone");
    }
}
