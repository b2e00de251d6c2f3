//! What the pages and the API show, as plain data. The host fills it; JSON prints it with exact terms; pages print it in words.

mod access;
mod control;
mod event;
mod finding;
mod overview;
mod search;
mod vault;

pub use self::access::{
    AccessClass, AccessCount, AccessGroup, AccessPage, AccessRow, AccessType, Analysed, Can, IntendedRule,
    WhoCan, WhoCanRow,
};
pub use self::vault::{
    AccessEntry, Checkpoint, Damage, DatasetState, Quarantined, SealState, VaultPage, Verification,
};
pub use control::{ControlCounts, ControlDetail, ControlList, ControlRow, InstanceState, Run, StateChange};
pub use event::{Act, EventDetail, Field, Forwarded, OtherQuestion, ProofView, RawPreview, SixLines};
pub use finding::{
    FindingAction, FindingDetail, FindingList, FindingRow, FindingState, HistoryEntry, Suppression,
};
pub use overview::{
    AlertHealth, Attention, Changes, DayCount, Level, Overview, SeverityCount, SinkHealth, SourceHealth,
    VaultBrief,
};
pub use search::{Bucket, ScanFacts, SearchAnswer, SearchRequest, SearchRow};

use serde::Serialize;

/// A group of choices beside a list. Each count ignores the choices of its own facet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Facet {
    /// Key of the URL.
    pub key: &'static str,
    pub title: String,
    pub values: Vec<FacetValue>,
    /// Values that exist beyond those listed.
    pub more: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct FacetValue {
    pub value: String,
    pub count: u64,
}
