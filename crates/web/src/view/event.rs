use super::FindingRow;
use model::{EventId, Time};
use serde::Serialize;

/// One thing that happened.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct EventDetail {
    pub id: EventId,
    pub dataset: String,
    pub six: SixLines,
    /// What the transport proved, beside the payload and never from it (E1): (name, value).
    pub envelope: Vec<(String, String)>,
    pub fields: Vec<Field>,
    pub raw: RawPreview,
    pub forwarded: Vec<Forwarded>,
    pub proof: ProofView,
    /// Acts of the same actor before and after, oldest first; this event among them.
    pub around: Vec<Act>,
    pub findings: Vec<FindingRow>,
    pub other_tools: Vec<OtherQuestion>,
}

/// The six lines a beginner reads. `None` = the record does not answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SixLines {
    pub who: Option<String>,
    pub what: Option<String>,
    pub when: Option<Time>,
    #[serde(rename = "where")]
    pub where_from: Option<String>,
    pub details: Option<String>,
    pub result: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Field {
    pub name: String,
    /// `None` when masked for this caller.
    pub value: Option<String>,
    /// `key` of the search language that finds the same value; empty when there is none.
    pub search: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RawPreview {
    /// As text, lossy; the exact bytes come from the command. `None` when the caller may not read raw.
    pub text: Option<String>,
    pub bytes_total: u64,
    pub bytes_shown: u64,
    pub is_utf8: bool,
    /// Prints the exact bytes.
    pub command: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Forwarded {
    pub sink: String,
    /// `delivered`, `waiting`, `dead`, `not_routed`.
    pub state: &'static str,
    pub at: Option<Time>,
    /// The receiver's own words.
    pub answer: String,
}

/// What ties the event to a published checkpoint.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ProofView {
    pub seal: super::SealState,
    pub checked_at: Option<Time>,
    pub shard: u32,
    pub seq: u64,
    /// Index in the log of leaves and the size of the tree it is proven in; none while unsealed.
    pub leaf: Option<u64>,
    pub tree_size: Option<u64>,
    pub root: Option<String>,
    /// The C2SP text form, to keep and to check elsewhere.
    pub text: Option<String>,
    pub verify_command: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Act {
    pub id: EventId,
    pub time: Time,
    pub what: String,
    pub result: String,
    pub is_this: bool,
}

/// The same question for a tool that the reader may have at hand.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct OtherQuestion {
    pub tool: String,
    pub query: String,
}
