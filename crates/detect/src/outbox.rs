//! The order of what the engine says. Occurrences are large and would be moved again and again: their places are sorted, and each
//! occurrence then moves once.

use model::{EventId, FactsDraft, FindingId, Occurrence, Time};
use std::sync::Arc;

/// Occurrences on their way out, each with its place in the order. The lists beside them are used again for the next batch.
#[derive(Default)]
pub struct Outbox {
    pub occurrences: Vec<Occurrence>,
    /// How many there were the last time.
    pub expected: usize,
    order: Vec<Place>,
    /// Of the occurrences whose evidence lacks its fields yet.
    pub drafts: Vec<(usize, FactsDraft)>,
}

/// O1: event time, event id, rule; then identity, provisional before settled, and what was said first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    time: Time,
    event: Option<EventId>,
    /// Of the rule's name among all names.
    rank: u32,
    id: FindingId,
    is_settled: bool,
    at: usize,
}

impl Outbox {
    /// `rank`: of the rule's name among all names.
    pub fn add(&mut self, rank: u32, o: Occurrence) {
        self.order.push(Place {
            time: o.time,
            event: o.evidence.first().map(|e| e.event_id),
            rank,
            id: o.id,
            is_settled: o.is_settled,
            at: self.occurrences.len(),
        });
        self.occurrences.push(o);
    }

    /// Gives the drafts their values, which lie in `block`.
    pub fn finish(&mut self, block: &Arc<[u8]>) {
        for (at, draft) in self.drafts.drain(..) {
            if let Some(e) = self.occurrences.get_mut(at).and_then(|o| o.evidence.first_mut()) {
                e.fields = draft.within(block);
            }
        }
    }

    /// Everything that was added, in order; empty afterwards.
    #[must_use]
    pub fn in_order(&mut self) -> Vec<Occurrence> {
        let mut out = std::mem::take(&mut self.occurrences);
        self.expected = out.len();
        if !self.order.is_sorted() {
            self.order.sort_unstable();
            // What belongs to place `i` was moved by the swaps of the places before it: follow it to where it is now.
            for i in 0..out.len() {
                let mut from = i;
                while let Some(p) = self.order.get(from) {
                    from = p.at;
                    if from >= i {
                        break;
                    }
                }
                if from < out.len() {
                    out.swap(i, from);
                }
            }
        }
        self.order.clear();
        self.drafts.clear();
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::occurrence::about;
    use crate::sigma::Rules;
    use model::{Evidence, Facts, Subject};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn places_and_occurrences_are_sorted_alike(keys in proptest::collection::vec((0i64..4, 0u8..3, 0u32..3, any::<bool>()), 0..40)) {
            let rule = "title: t\nlogsource: {product: app}\ndetection:\n  s: {a: b}\n  condition: s\n";
            let about = Arc::new(about(&Rules::load([("r.yml", rule)]).0.rules[0].head));
            let mut out = Outbox::default();
            let mut expect = Vec::new();
            for (i, (time, event, rank, is_settled)) in keys.into_iter().enumerate() {
                let evidence = Evidence {
                    shard: 0,
                    // Tells them apart.
                    seq: i as u64,
                    event_id: EventId([event; 16]),
                    event_time: Time(time),
                    dataset: "d".into(),
                    fields: Facts::default(),
                };
                let o = Occurrence {
                    id: FindingId::NONE,
                    about: Arc::clone(&about),
                    subject: Arc::new(Subject::default()),
                    time: Time(time),
                    evidence: evidence.into(),
                    evidence_total: 1,
                    is_settled,
                    drill: None,
                };
                expect.push(((Time(time), event, rank, is_settled, i), i as u64));
                out.add(rank, o);
            }
            expect.sort_unstable();
            let got: Vec<u64> = out.in_order().iter().map(|o| o.evidence[0].seq).collect();
            prop_assert_eq!(got, expect.into_iter().map(|e| e.1).collect::<Vec<_>>());
            prop_assert!(out.in_order().is_empty());
        }
    }
}
