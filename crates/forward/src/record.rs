//! What this crate writes into the vault: plain records, one JSON line each.

use model::{EventId, Time};
use serde::{Deserialize, Serialize};

pub const DEAD_LETTER_DATASET: &str = "avouch.dead_letter";
pub const DELIVERY_DATASET: &str = "avouch.delivery";

/// Where an event could not go on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    Decode,
    Forward,
}

/// An event that a sink refused for good. Points to the event; there is no second copy of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DeadLetter {
    /// `avouch.dead_letter/1`.
    pub schema: String,
    pub stage: Stage,
    pub sink: String,
    pub shard: u32,
    pub seq: u64,
    pub event_id: EventId,
    pub dataset: String,
    pub attempts: u32,
    pub first_at: Time,
    pub last_at: Time,
    /// Status or kind, such as `400`, `too_large`, `max_age`, `render`.
    pub class: String,
    /// The target's own type, such as `mapper_parsing_exception`.
    pub code: String,
    /// The target's own words, cut at 1 KiB.
    pub text: String,
    /// SHA-256 of the document as it was sent, hex; empty when it was not.
    pub item_sha256: String,
}

impl DeadLetter {
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What was delivered to a sink, merged to at most one per sink and second.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DeliveryReceipt {
    /// `avouch.delivery/1`.
    pub schema: String,
    pub sink: String,
    pub shard: u32,
    /// Seqs in it lie in `from..=to`; those of other datasets in between were not sent.
    pub from: u64,
    pub to: u64,
    pub done: u64,
    /// Already there.
    pub duplicate: u64,
    pub dead: u64,
    pub first_send: Time,
    pub last_answer: Time,
    /// At most [`DeliveryReceipt::REQUESTS_MAX`]; `n_requests` counts all.
    pub requests: Vec<Request>,
    pub n_requests: u64,
}

/// One request and its answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Request {
    pub from: u64,
    pub to: u64,
    pub events: u64,
    pub sha256: String,
    /// The target's status, such as `200 OK`.
    pub status: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ack: Option<String>,
    pub answered: Time,
}

impl DeliveryReceipt {
    /// Requests named in one receipt; the rest is counted.
    pub const REQUESTS_MAX: usize = 32;

    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Retention overtook a sink: these events were deleted before they were sent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Expired {
    /// `avouch.expired_undelivered/1`.
    pub schema: String,
    pub sink: String,
    pub shard: u32,
    /// Half open.
    pub from: u64,
    pub to: u64,
    pub at: Time,
}

impl Expired {
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResolutionState {
    /// It arrived.
    Resolved,
    RefusedAgain,
    /// A person decided that it need not arrive.
    Waived,
}

/// What became of a dead letter. States are a fold over these; nothing is edited.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Resolution {
    /// `avouch.redrive/1`.
    pub schema: String,
    pub sink: String,
    pub shard: u32,
    pub seq: u64,
    pub event_id: EventId,
    pub state: ResolutionState,
    pub who: String,
    pub at: Time,
    pub why: String,
    /// The target's answer, where there was one.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub answer: String,
}

impl Resolution {
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}
