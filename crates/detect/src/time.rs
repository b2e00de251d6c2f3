//! Event time: how far the past is complete.
//!
//! Per source the watermark is the highest event time minus the dataset's lateness; the engine's is the lowest of the *active*
//! sources, so that one silent source does not hold findings back for ever. It never goes back. Events behind it are late: they
//! are judged, counted and asked for again (`NeedRange`), never dropped.

use model::Time;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An event time this far ahead of the time of receipt is not believed.
pub const AHEAD_MAX: i64 = 24 * Time::HOUR;

/// How long events of a dataset may be under way. CloudTrail delivers within 15 minutes as a rule, flow logs within 10.
#[must_use]
pub fn lateness(dataset: &str) -> i64 {
    match dataset {
        "aws.cloudtrail" => 15 * Time::MINUTE,
        "aws.vpcflow" => 10 * Time::MINUTE,
        _ => 2 * Time::MINUTE,
    }
}

/// When the event happened: its own word, unless it says nothing or something impossible. `None` when nobody knows.
#[must_use]
pub fn effective(row: &model::Row) -> Option<Time> {
    match (row.event_time.known(), row.received.known()) {
        (Some(e), Some(r)) if e > r.plus(AHEAD_MAX) => Some(r),
        (Some(e), _) => Some(e),
        (None, r) => r,
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Source {
    highest: Time,
    /// Our own clock when it last said something.
    heard: Time,
    lateness: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Clock {
    /// By `source/dataset`.
    sources: BTreeMap<String, Source>,
    /// The latest time of receipt or tick.
    now: Time,
    watermark: Time,
}

impl Clock {
    #[must_use]
    pub fn new() -> Clock {
        Clock { sources: BTreeMap::new(), now: Time::NONE, watermark: Time::NONE }
    }
    #[must_use]
    pub fn watermark(&self) -> Time {
        self.watermark
    }

    /// Notes the highest event time of a source in a batch, and when that batch was received.
    pub fn observe(&mut self, source: &str, dataset: &str, lateness: i64, highest: Time, received: Time) {
        self.now = self.now.max(received);
        let (now, key) = (self.now, format!("{source}/{dataset}"));
        let s = self.sources.entry(key).or_insert(Source { highest, heard: now, lateness });
        s.highest = s.highest.max(highest);
        s.heard = now;
        s.lateness = lateness;
    }

    pub fn tick(&mut self, now: Time) {
        self.now = self.now.max(now);
    }

    /// Moves the watermark as far as the sources allow.
    pub fn advance(&mut self) -> Time {
        let now = self.now;
        let is_active = |s: &&Source| now.since(s.heard) <= s.lateness;
        let candidate =
            match self.sources.values().filter(is_active).map(|s| s.highest.plus(-s.lateness)).min() {
                Some(t) => t,
                // Everybody is silent: what has not come by now is late.
                None => self.sources.values().map(|s| now.plus(-s.lateness)).min().unwrap_or(Time::NONE),
            };
        self.watermark = self.watermark.max(candidate);
        self.watermark
    }

    pub fn end(&mut self) {
        self.watermark = Time(i64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> Time {
        Time(minutes * Time::MINUTE)
    }

    #[test]
    fn the_slowest_active_source_decides() {
        let mut c = Clock::new();
        c.observe("a", "syslog", 2 * Time::MINUTE, at(100), at(100));
        assert_eq!(c.advance(), at(98));
        c.observe("b", "syslog", 2 * Time::MINUTE, at(90), at(100));
        assert_eq!(c.advance(), at(98), "never back");
        c.observe("a", "syslog", 2 * Time::MINUTE, at(102), at(102));
        assert_eq!(c.advance(), at(98), "b was heard two minutes ago and still holds");
        c.observe("a", "syslog", 2 * Time::MINUTE, at(103), at(103));
        assert_eq!(c.advance(), at(101), "b is silent and holds no more");
    }

    #[test]
    fn a_tick_settles_a_quiet_stream() {
        let mut c = Clock::new();
        c.observe("a", "syslog", 2 * Time::MINUTE, at(100), at(100));
        c.tick(at(200));
        assert_eq!(c.advance(), at(198));
    }

    #[test]
    fn impossible_times_are_not_believed() {
        let mut b = model::Batch::builder();
        let row = b.push(b"x", 0, 0);
        row.received = at(100);
        row.event_time = at(100 + 25 * 60);
        let row = *row;
        assert_eq!(effective(&row), Some(at(100)));
        assert_eq!(effective(&model::Row { event_time: at(99), ..row }), Some(at(99)));
        assert_eq!(effective(&model::Row { event_time: Time::NONE, ..row }), Some(at(100)));
        assert_eq!(effective(&model::Row { event_time: Time::NONE, received: Time::NONE, ..row }), None);
    }
}
