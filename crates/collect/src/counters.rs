//! What a source counts. Relaxed atomics, registered once at start: nothing on the data path looks up a label or takes a lock.

use model::Time;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// Why something was put away on purpose. Closed, because it is a metric label; each is counted, none is silent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Discard {
    /// A CloudWatch reachability probe (`CONTROL_MESSAGE`).
    ControlMessage,
    /// The source was stopping and the vault did not take the batch within the grace period. Only sources that acknowledge
    /// nothing (syslog, stdin) can lose something here; the others keep it at the sender.
    Stopping,
}

impl Discard {
    pub const ALL: [Discard; 2] = [Discard::ControlMessage, Discard::Stopping];
    /// The label value.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Discard::ControlMessage => "control_message",
            Discard::Stopping => "stopping",
        }
    }
}

/// Counters of one source, shared between its tasks and whoever shows them.
#[derive(Debug, Default)]
pub struct Counters {
    events: AtomicU64,
    bytes: AtomicU64,
    parse_errors: AtomicU64,
    duplicates: AtomicU64,
    refused: AtomicU64,
    discarded: [AtomicU64; Discard::ALL.len()],
    truncated: AtomicU64,
    empty: AtomicU64,
    kernel_drops: AtomicU64,
    dead_letters: AtomicU64,
    framing_broken: AtomicU64,
    connections: AtomicU64,
    connections_refused: AtomicU64,
    append_failures: AtomicU64,
    /// Microseconds of our clock at the newest durable event; 0 is never.
    last_event: AtomicI64,
}

macro_rules! add {
    ($($(#[$doc:meta])* $name:ident => $field:ident;)*) => {
        $($(#[$doc])* pub fn $name(&self, n: u64) { self.$field.fetch_add(n, Relaxed); })*
    };
}

impl Counters {
    add! {
        /// Durable events.
        add_events => events;
        /// Raw bytes of durable events.
        add_bytes => bytes;
        /// Events kept with flag `parse_error`. Sources count the ones they see; the host adds those that `shape` finds.
        add_parse_errors => parse_errors;
        add_duplicates => duplicates;
        add_refused => refused;
        /// Over-long events, kept cut.
        add_truncated => truncated;
        /// Empty datagrams and blank lines, not stored.
        add_empty => empty;
        /// Datagrams that the kernel threw away before we could read them.
        add_kernel_drops => kernel_drops;
        add_dead_letters => dead_letters;
        /// Connections closed because octet counting broke.
        add_framing_broken => framing_broken;
        add_connections_refused => connections_refused;
        /// Appends that failed and were tried again.
        add_append_failures => append_failures;
    }
    pub fn add_discarded(&self, reason: Discard, n: u64) {
        for (r, counter) in Discard::ALL.iter().zip(&self.discarded) {
            if *r == reason {
                counter.fetch_add(n, Relaxed);
            }
        }
    }
    pub(crate) fn touched(&self, now: Time) {
        self.last_event.fetch_max(now.0, Relaxed);
    }
    pub(crate) fn connection_opened(&self) {
        self.connections.fetch_add(1, Relaxed);
    }
    pub(crate) fn connection_closed(&self) {
        self.connections.fetch_sub(1, Relaxed);
    }
    /// All values at one moment (each exact, together not a transaction).
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let get = |a: &AtomicU64| a.load(Relaxed);
        let last = self.last_event.load(Relaxed);
        Snapshot {
            events: get(&self.events),
            bytes: get(&self.bytes),
            parse_errors: get(&self.parse_errors),
            duplicates: get(&self.duplicates),
            refused: get(&self.refused),
            discarded: Discard::ALL.iter().zip(&self.discarded).map(|(r, c)| (r.name(), get(c))).collect(),
            truncated: get(&self.truncated),
            empty: get(&self.empty),
            kernel_drops: get(&self.kernel_drops),
            dead_letters: get(&self.dead_letters),
            framing_broken: get(&self.framing_broken),
            connections: get(&self.connections),
            connections_refused: get(&self.connections_refused),
            append_failures: get(&self.append_failures),
            last_event: if last == 0 { Time::NONE } else { Time(last) },
        }
    }
}

/// A reading of [`Counters`], for `/metrics` and `avouch status`. Metric names are `avouch_source_<field>_total` except
/// `avouch_udp_kernel_drops_total`, the gauge `connections`, and `last_event`
/// (`avouch_source_last_event_timestamp_seconds`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Snapshot {
    pub events: u64,
    pub bytes: u64,
    pub parse_errors: u64,
    pub duplicates: u64,
    pub refused: u64,
    pub discarded: BTreeMap<&'static str, u64>,
    pub truncated: u64,
    pub empty: u64,
    pub kernel_drops: u64,
    pub dead_letters: u64,
    pub framing_broken: u64,
    /// Open now.
    pub connections: u64,
    pub connections_refused: u64,
    pub append_failures: u64,
    /// Our clock at the newest durable event.
    pub last_event: Time,
}

/// Our clock. Only counters, access log and deadlines use it; an event's received time is the vault's.
pub(crate) fn now() -> Time {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Time(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_says_what_was_counted() {
        let c = Counters::default();
        assert_eq!(c.snapshot().last_event, Time::NONE);
        c.add_events(3);
        c.add_discarded(Discard::Stopping, 2);
        c.touched(Time(7));
        c.touched(Time(5));
        let s = c.snapshot();
        assert_eq!((s.events, s.discarded["stopping"], s.discarded["control_message"]), (3, 2, 0));
        assert_eq!(s.last_event, Time(7));
    }
}
