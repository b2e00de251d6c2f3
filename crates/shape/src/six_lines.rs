//! Who, what, when, where from, details, result: the six lines that a beginner reads (`needs.md` D-2, `interface.md` 2.2). A line
//! that the record does not answer says so; nothing is guessed from elsewhere.

use crate::dataset::{Outcome, Record, event_time_from};
use model::{Batch, Flags, Time};

/// What a line reads when the record is silent.
pub const NOT_IN_RECORD: &str = "not in this record";

/// Longest line; a request of a thousand parameters is read in the decoded fields.
const LINE_CHARS_MAX: usize = 400;

/// The six lines, in this order, and what is remarkable about the record.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct SixLines {
    pub who: String,
    pub what: String,
    pub when: String,
    pub where_from: String,
    pub details: String,
    pub result: String,
    pub notes: Vec<String>,
}

impl SixLines {
    /// Label and text, in order, for printing.
    #[must_use]
    pub fn lines(&self) -> [(&'static str, &str); 6] {
        [
            ("who", &self.who),
            ("what", &self.what),
            ("when", &self.when),
            ("where from", &self.where_from),
            ("details", &self.details),
            ("result", &self.result),
        ]
    }
}

/// What the envelope knows and the lines need.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub received: Time,
    pub event_time: Time,
    pub flags: Flags,
    pub source: &'a str,
    pub sender: Option<&'a str>,
}

impl<'a> Facts<'a> {
    /// Of one row of a batch; all empty when there is no such row.
    #[must_use]
    pub fn of(batch: &'a Batch, index: usize) -> Facts<'a> {
        let row = batch.rows.get(index);
        let provenance = batch.provenance_of(index);
        Facts {
            received: row.map_or(Time::NONE, |r| r.received),
            event_time: row.map_or(Time::NONE, |r| r.event_time),
            flags: row.map_or_else(Flags::default, |r| r.flags),
            source: &provenance.source,
            sender: provenance.sender.as_deref(),
        }
    }
}

/// The lines while a family fills them; starts from the common columns.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subject {
    pub who: Option<String>,
    pub what: Option<String>,
    pub where_from: Option<String>,
    pub details: Option<String>,
    pub result: Option<String>,
}

impl Subject {
    pub fn of(record: &Record<'_>) -> Subject {
        let what = match (&record.action, &record.service, &record.message) {
            (Some(action), Some(service), _) => Some(format!("{action} ({service})")),
            (Some(action), None, _) => Some(action.to_string()),
            (None, _, Some(message)) => Some(message.to_string()),
            (None, Some(service), None) => Some(service.to_string()),
            (None, None, None) => None,
        };
        let details = match (&record.action, record.resources.is_empty()) {
            (_, false) => Some(record.resources.join(", ")),
            // The message is already the `what` where there is no action.
            (Some(_), true) => record.message.as_ref().map(ToString::to_string),
            (None, true) => None,
        };
        Subject {
            who: record.actor.as_ref().map(ToString::to_string),
            what,
            where_from: record.src_ip.as_ref().map(ToString::to_string),
            details,
            result: result(record.outcome, record.error.as_deref(), None),
        }
    }

    pub fn lines(self, facts: &Facts<'_>, notes: Vec<String>) -> SixLines {
        let line = |l: Option<String>| match l {
            Some(l) if !l.is_empty() => shorten(l),
            _ => NOT_IN_RECORD.to_owned(),
        };
        SixLines {
            who: line(self.who),
            what: line(self.what),
            when: when(facts),
            where_from: line(self.where_from),
            details: line(self.details),
            result: line(self.result),
            notes,
        }
    }
}

/// `success`, `success: i-0abc`, `denied: AccessDenied`.
pub(crate) fn result(outcome: Option<Outcome>, error: Option<&str>, gained: Option<&str>) -> Option<String> {
    let word = outcome.map(Outcome::name);
    match (word, error.or(gained)) {
        (Some(word), Some(why)) => Some(format!("{word}: {why}")),
        (Some(word), None) => Some(word.to_owned()),
        (None, Some(why)) => Some(why.to_owned()),
        (None, None) => None,
    }
}

fn when(facts: &Facts<'_>) -> String {
    let skew = if facts.flags.has(Flags::CLOCK_SKEW) && !facts.received.is_none() {
        format!(" (received {})", facts.received)
    } else {
        String::new()
    };
    match event_time_from(facts.flags) {
        _ if facts.event_time.is_none() => NOT_IN_RECORD.to_owned(),
        "payload" => format!("{}{skew}", facts.event_time),
        "assumed_zone" => format!("{} (the record names no time zone){skew}", facts.event_time),
        "envelope" => format!("{} (by the transport){skew}", facts.event_time),
        _ => format!("{NOT_IN_RECORD}; received {}", facts.event_time),
    }
}

fn shorten(line: String) -> String {
    match line.char_indices().nth(LINE_CHARS_MAX) {
        Some((at, _)) => format!("{}…", line.get(..at).unwrap_or(&line)),
        None => line,
    }
}
