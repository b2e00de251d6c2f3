use model::{EventId, Time};
use serde::Serialize;

/// A question to the vault, as the address asks it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SearchRequest {
    /// Words and `field op value` in the search language.
    pub text: String,
    pub from: Time,
    pub to: Time,
    pub datasets: Vec<String>,
    pub limit: u64,
    pub cursor: Option<String>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SearchAnswer {
    pub request: SearchRequest,
    /// Names of the cells after time and dataset.
    pub columns: Vec<String>,
    pub items: Vec<SearchRow>,
    pub histogram: Vec<Bucket>,
    pub scanned: ScanFacts,
    /// False when a limit, a time box or a missing file cut the answer.
    pub complete: bool,
    /// Why it is not complete, each in words that can be acted on.
    pub unknown: Vec<String>,
    pub next: Option<String>,
    /// Datasets that exist, for the form.
    pub datasets: Vec<String>,
    /// Event that records this search; empty when the host could not write one and therefore gave no rows.
    pub recorded_as: Option<EventId>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SearchRow {
    pub id: EventId,
    pub time: Time,
    pub dataset: String,
    /// `None` where the record has no such field.
    pub cells: Vec<Option<String>>,
}

/// `None` where that stretch was not read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Bucket {
    pub from: Time,
    pub to: Time,
    pub count: Option<u64>,
}

/// What was read to give the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct ScanFacts {
    pub segments_read: u64,
    pub segments_skipped: u64,
    pub rows: u64,
    pub matched: u64,
    pub bytes: u64,
    pub millis: u64,
}
