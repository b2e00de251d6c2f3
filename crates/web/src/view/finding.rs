use super::Facet;
use model::{Alert, Finding, FindingId, FindingSource, Severity, Time};
use serde::{Deserialize, Serialize};

/// Where a finding stands. `Suppressed` is derived: the stored state lies under it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingState {
    New,
    /// A person was told.
    Notified,
    Resolved,
    Suppressed,
}

impl FindingState {
    #[must_use]
    pub fn term(self) -> &'static str {
        match self {
            FindingState::New => "new",
            FindingState::Notified => "notified",
            FindingState::Resolved => "resolved",
            FindingState::Suppressed => "suppressed",
        }
    }
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            FindingState::New => "Open",
            FindingState::Notified => "Open, somebody was told",
            FindingState::Resolved => "Resolved",
            FindingState::Suppressed => "Deliberately hidden",
        }
    }
}

/// F3: an owner, a reason and an end.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Suppression {
    pub owner: String,
    pub reason: String,
    pub until: Time,
    pub by: String,
    pub at: Time,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct FindingList {
    /// Rows that match, on all pages.
    pub total: u64,
    /// Of the matching ones, deliberately hidden.
    pub suppressed: u64,
    pub facets: Vec<Facet>,
    pub items: Vec<FindingRow>,
    /// Cursor of the next page.
    pub next: Option<String>,
    pub complete: bool,
    /// What could not be looked at (F1).
    pub unknown: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct FindingRow {
    pub id: FindingId,
    pub title: String,
    pub severity: Severity,
    pub state: FindingState,
    pub source: FindingSource,
    #[serde(rename = "type")]
    pub finding_type: String,
    pub rule: String,
    pub account: Option<String>,
    pub region: Option<String>,
    pub resource: Option<String>,
    pub count: u64,
    pub first_seen: Time,
    pub last_seen: Time,
    pub suppression: Option<Suppression>,
    /// Run id when our own test made it.
    pub drill: Option<String>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct FindingDetail {
    pub finding: Finding,
    pub state: FindingState,
    /// Grows with every change; a write names the one it read.
    pub version: u64,
    pub suppression: Option<Suppression>,
    /// Newest first.
    pub history: Vec<HistoryEntry>,
    pub alerts: Vec<Alert>,
    pub related: Vec<FindingRow>,
    /// Controls that this finding contradicts: (id, claim).
    pub controls: Vec<(String, String)>,
    /// Checks that the evidence is in the vault unchanged.
    pub verify_command: Option<String>,
}

/// F3: who, when, what and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct HistoryEntry {
    pub at: Time,
    pub who: String,
    pub what: String,
    pub why: String,
}

/// A person's change to a finding.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "action")]
pub enum FindingAction {
    Suppress {
        owner: String,
        reason: String,
        until: Time,
        /// The access that the finding reports is meant to be there.
        #[serde(default)]
        intended: bool,
        /// A second person, who agrees: asked for where it is critical.
        #[serde(default)]
        approver: Option<String>,
    },
    Resolve {
        reason: String,
    },
    Reopen {
        reason: String,
    },
    Note {
        text: String,
    },
}

impl FindingAction {
    #[must_use]
    pub fn verb(&self) -> &'static str {
        match self {
            FindingAction::Suppress { .. } => "suppress",
            FindingAction::Resolve { .. } => "resolve",
            FindingAction::Reopen { .. } => "reopen",
            FindingAction::Note { .. } => "note",
        }
    }
}
