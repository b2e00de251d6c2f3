//! Sliding windows over event time, per group: `event_count` and `value_count`.
//!
//! Definitions that do not mention arrival (D1): the condition *holds* at an entry of time t when at least `at_least` entries (or
//! distinct values) lie in `(t − timespan, t]`. An *episode* is a run of such moments in which none is further than one timespan
//! from the one before; its evidence is every entry from one timespan before the first to the last. One occurrence per episode.
//!
//! What is emitted at once when the condition first holds is *provisional*; when the watermark has passed the end of the episode
//! the same finding is emitted *settled*, with final evidence.
//!
//! Cost per event in time order is constant: two slides follow the entries, one at the newest entry (provisional), one at the
//! watermark (settled), each with a count per distinct value. A straggler is put in its place and the windows that it falls into
//! are counted again.

use model::{EventId, Evidence, Occurrence, Time};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};

/// Entries of one group beyond which a new one keeps its reference but not its fields: a flood must not fill memory with what
/// the first thousand already show. Far above the evidence of any episode that a rule of ordinary threshold starts.
const FIELDS_KEPT: usize = 20_000;
/// Most entries of one group (about 200 MiB). Beyond, events of the group are counted as overflow and no more.
const ENTRIES_MAX: usize = 1_000_000;

/// One event that took part.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Entry {
    pub time: Time,
    /// What makes two copies of one event equal.
    pub id: EventId,
    /// For `value_count`.
    pub value: String,
    pub evidence: Evidence,
    pub account: Option<String>,
    pub region: Option<String>,
}

/// A run in which the condition held.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Episode {
    pub first: Time,
    pub last: Time,
    /// The earliest ones, at most [`Occurrence::EVIDENCE_MAX`].
    pub entries: Vec<Entry>,
    pub total: u64,
}

impl Episode {
    fn add(&mut self, e: &Entry) {
        self.total += 1;
        if self.entries.len() < Occurrence::EVIDENCE_MAX {
            self.entries.push(e.clone());
        }
    }
}

/// A window that moves forward over sorted entries.
#[derive(Default)]
struct Slide {
    low: usize,
    high: usize,
    values: HashMap<String, u32>,
}

impl Slide {
    /// Counts `(t − span, t]`.
    fn count(&mut self, entries: &VecDeque<Entry>, t: Time, span: i64, is_distinct: bool) -> u64 {
        while let Some(e) = entries.get(self.high).filter(|e| e.time <= t) {
            if is_distinct {
                *self.values.entry(e.value.clone()).or_insert(0) += 1;
            }
            self.high += 1;
        }
        while let Some(e) = entries.get(self.low).filter(|e| self.low < self.high && t.since(e.time) >= span)
        {
            if is_distinct && let Some(n) = self.values.get_mut(&e.value) {
                *n -= 1;
                if *n == 0 {
                    self.values.remove(&e.value);
                }
            }
            self.low += 1;
        }
        let n = if is_distinct { self.values.len() } else { self.high.saturating_sub(self.low) };
        n as u64
    }

    fn inserted(&mut self, at: usize, value: &str, is_distinct: bool) {
        if at < self.low {
            self.low += 1;
            self.high += 1;
        } else if at < self.high {
            self.high += 1;
            if is_distinct {
                *self.values.entry(value.to_owned()).or_insert(0) += 1;
            }
        }
    }

    /// The first `n` entries are gone; all of them lay before the window.
    fn dropped(&mut self, n: usize) {
        self.low = self.low.saturating_sub(n);
        self.high = self.high.saturating_sub(n);
    }
}

/// What a correlation asks of each group.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Shape {
    pub span: i64,
    pub at_least: u64,
    pub is_distinct: bool,
}

#[derive(Default, Serialize, Deserialize)]
struct Group {
    entries: VecDeque<Entry>,
    open: Option<Episode>,
    /// Moments up to which the condition was already announced, as (first, last).
    announced: Vec<(Time, Time)>,
    /// Everything up to here has been judged for good.
    judged: Time,
    #[serde(skip)]
    live: Slide,
    #[serde(skip)]
    settled: Slide,
    #[serde(skip)]
    due: Option<Time>,
}

/// An event that came behind the watermark: the host reads the range again and the finding is settled anew.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct NeedRange {
    pub rule: String,
    pub key: Vec<String>,
    pub from: Time,
    pub to: Time,
}

/// Something that a window has to say.
pub struct Report {
    pub key: Vec<String>,
    pub episode: Episode,
    pub is_settled: bool,
}

/// All groups of one correlation.
pub struct Windows {
    shape: Shape,
    groups_max: usize,
    groups: BTreeMap<Vec<String>, Group>,
    due: BinaryHeap<Reverse<(Time, Vec<String>)>>,
    /// Groups that were given up at the cap; the rule is `degraded` from the first one on.
    pub n_evicted: u64,
    pub n_late: u64,
    /// Events that came to a group that was full.
    pub n_overflow: u64,
}

/// The part that outlives the process.
#[derive(Serialize, Deserialize, Default)]
pub struct Saved {
    groups: Vec<(Vec<String>, Group)>,
    n_evicted: u64,
    n_late: u64,
}

impl Windows {
    #[must_use]
    pub fn new(shape: Shape, groups_max: usize) -> Windows {
        Windows {
            shape,
            groups_max,
            groups: BTreeMap::new(),
            due: BinaryHeap::new(),
            n_evicted: 0,
            n_late: 0,
            n_overflow: 0,
        }
    }

    #[must_use]
    pub fn n_groups(&self) -> usize {
        self.groups.len()
    }

    /// Puts an entry into its group. Whoever must hear at once is in `out`; whether the entry came late is answered.
    pub fn add(
        &mut self,
        key: &[String],
        entry: Entry,
        watermark: Time,
        out: &mut Vec<Report>,
    ) -> Option<(Time, Time)> {
        if !self.groups.contains_key(key) {
            self.make_room();
            self.groups.insert(key.to_vec(), Group { judged: Time::NONE, ..Group::default() });
        }
        let group = self.groups.get_mut(key)?;
        let t = entry.time;
        let is_late = t <= watermark;
        let at = match group.entries.binary_search_by(|e| (e.time, e.id).cmp(&(t, entry.id))) {
            // The same event again.
            Ok(_) => return None,
            Err(at) => at,
        };
        if group.entries.len() >= ENTRIES_MAX {
            self.n_overflow += 1;
            return None;
        }
        let mut entry = entry;
        if group.entries.len() >= FIELDS_KEPT {
            entry.evidence.fields = model::Facts::default();
        }
        let shape = self.shape;
        group.live.inserted(at, &entry.value, shape.is_distinct);
        group.settled.inserted(at, &entry.value, shape.is_distinct);
        group.entries.insert(at, entry);
        self.n_late += u64::from(is_late);
        for hold in group.holds_around(at, shape) {
            if group.announce(hold, shape.span) {
                out.push(Report {
                    key: key.to_vec(),
                    episode: group.episode_at(hold, shape),
                    is_settled: false,
                });
            }
        }
        let due = group.next_due(shape.span);
        if due != group.due {
            group.due = due;
            self.due.extend(due.map(|d| Reverse((d, key.to_vec()))));
        }
        is_late.then(|| (t.plus(-shape.span), t.plus(shape.span)))
    }

    /// Everything up to `watermark` is complete.
    pub fn settle(&mut self, watermark: Time, out: &mut Vec<Report>) {
        while let Some(Reverse((due, _))) = self.due.peek() {
            if *due > watermark {
                return;
            }
            let Some(Reverse((due, key))) = self.due.pop() else { return };
            let Some(group) = self.groups.get_mut(&key).filter(|g| g.due == Some(due)) else { continue };
            group.settle(watermark, self.shape, |episode| {
                out.push(Report { key: key.clone(), episode, is_settled: true });
            });
            group.due = group.next_due(self.shape.span);
            match group.due {
                Some(d) => self.due.push(Reverse((d, key))),
                None => {
                    self.groups.remove(&key);
                }
            }
        }
    }

    /// At the cap, groups with the least progress leave, oldest first, but none that is beyond half its threshold: a flood of
    /// new keys must not push a slow attack out.
    fn make_room(&mut self) {
        if self.groups.len() < self.groups_max {
            return;
        }
        let at_least = self.shape.at_least;
        let mut idle: Vec<(u64, Time, Vec<String>)> = self
            .groups
            .iter()
            .filter(|(_, g)| g.open.is_none() && g.announced.is_empty())
            .map(|(k, g)| {
                (
                    g.progress(self.shape.is_distinct),
                    g.entries.back().map_or(Time::NONE, |e| e.time),
                    k.clone(),
                )
            })
            .filter(|(p, _, _)| p.saturating_mul(2) <= at_least)
            .collect();
        idle.sort();
        // A sixteenth at a time, so that the scan is paid for by many insertions.
        for (_, _, key) in idle.into_iter().take((self.groups_max / 16).max(1)) {
            self.groups.remove(&key);
            self.n_evicted += 1;
        }
    }

    #[must_use]
    pub fn save(&self) -> serde_json::Value {
        #[derive(Serialize)]
        struct Borrowed<'a> {
            groups: Vec<(&'a Vec<String>, &'a Group)>,
            n_evicted: u64,
            n_late: u64,
        }
        let b =
            Borrowed { groups: self.groups.iter().collect(), n_evicted: self.n_evicted, n_late: self.n_late };
        serde_json::to_value(b).unwrap_or_default()
    }

    pub fn restore(&mut self, saved: Saved) {
        self.n_evicted = saved.n_evicted;
        self.n_late = saved.n_late;
        for (key, mut group) in saved.groups {
            group.due = group.next_due(self.shape.span);
            self.due.extend(group.due.map(|d| Reverse((d, key.clone()))));
            self.groups.insert(key, group);
        }
    }
}

impl Group {
    fn progress(&self, is_distinct: bool) -> u64 {
        let n = if is_distinct {
            let mut values: Vec<&str> = self.entries.iter().map(|e| e.value.as_str()).collect();
            values.sort_unstable();
            values.dedup();
            values.len()
        } else {
            self.entries.len()
        };
        n as u64
    }

    /// Moments at which the condition holds and that the entry at `at` takes part in.
    fn holds_around(&mut self, at: usize, shape: Shape) -> Vec<Time> {
        let Some(t) = self.entries.get(at).map(|e| e.time) else { return Vec::new() };
        let newest = self.entries.back().map_or(t, |e| e.time);
        if t == newest {
            let n = self.live.count(&self.entries, t, shape.span, shape.is_distinct);
            return if n >= shape.at_least { vec![t] } else { Vec::new() };
        }
        // A straggler: count again, from one window before it to one window after it.
        let low = self.entries.partition_point(|e| t.since(e.time) >= shape.span);
        let mut slide = Slide { low, high: low, values: HashMap::new() };
        let mut out = Vec::new();
        for e in self.entries.iter().skip(at).take_while(|e| e.time.since(t) < shape.span) {
            if slide.count(&self.entries, e.time, shape.span, shape.is_distinct) >= shape.at_least
                && out.last() != Some(&e.time)
            {
                out.push(e.time);
            }
        }
        out
    }

    /// Notes that the condition holds at `t`; true when that belongs to no episode announced before.
    fn announce(&mut self, t: Time, span: i64) -> bool {
        let mut merged = (t, t);
        let before = self.announced.len();
        self.announced.retain(|(first, last)| {
            let is_near = first.since(t) <= span && t.since(*last) <= span;
            if is_near {
                merged = (merged.0.min(*first), merged.1.max(*last));
            }
            !is_near
        });
        let is_new = self.announced.len() == before;
        self.announced.push(merged);
        is_new
    }

    fn episode_at(&self, t: Time, shape: Shape) -> Episode {
        let mut episode = Episode { first: t, last: t, entries: Vec::new(), total: 0 };
        self.entries
            .iter()
            .filter(|e| e.time <= t && t.since(e.time) < shape.span)
            .for_each(|e| episode.add(e));
        episode
    }

    /// When something can be done for this group: an entry can leave, or an episode closes.
    fn next_due(&self, span: i64) -> Option<Time> {
        let front = self.entries.front().map(|e| e.time.plus(span));
        let open = self.open.as_ref().map(|o| o.last.plus(span));
        match (front, open) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    fn settle(&mut self, watermark: Time, shape: Shape, mut close: impl FnMut(Episode)) {
        let from = self.entries.partition_point(|e| e.time <= self.judged);
        let to = self.entries.partition_point(|e| e.time <= watermark);
        for i in from..to {
            let Some(t) = self.entries.get(i).map(|e| e.time) else { break };
            if self.settled.count(&self.entries, t, shape.span, shape.is_distinct) < shape.at_least {
                continue;
            }
            let from = match self.open.as_mut().filter(|o| t.since(o.last) <= shape.span) {
                Some(o) => std::mem::replace(&mut o.last, t).plus(1),
                None => {
                    self.open.take().into_iter().for_each(&mut close);
                    self.open = Some(Episode { first: t, last: t, entries: Vec::new(), total: 0 });
                    t.plus(-shape.span).plus(1)
                }
            };
            if let Some(o) = self.open.as_mut() {
                self.entries.iter().filter(|e| from <= e.time && e.time <= t).for_each(|e| o.add(e));
            }
        }
        self.judged = self.judged.max(watermark);
        if self.open.as_ref().is_some_and(|o| watermark.since(o.last) >= shape.span) {
            self.open.take().into_iter().for_each(&mut close);
        }
        let gone = self.entries.partition_point(|e| watermark.since(e.time) >= shape.span);
        // Both slides pass what leaves before its places are given away.
        let newest = self.entries.back().map_or(watermark, |e| e.time.max(watermark));
        self.live.count(&self.entries, newest, shape.span, shape.is_distinct);
        self.settled.count(&self.entries, watermark, shape.span, shape.is_distinct);
        self.entries.drain(..gone);
        self.live.dropped(gone);
        self.settled.dropped(gone);
        self.announced.retain(|(_, last)| watermark.since(*last) < shape.span);
    }
}
