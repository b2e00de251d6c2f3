//! Control and Proof as data (`needs.md` 4). Deriving a state, running a drill and checking a proof are crate `prove`'s.

use crate::Time;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlKind {
    Technical,
    /// A person confirms it; its ceiling is `effective (attested)`.
    Attested,
}

/// A claim that can be false.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Control {
    pub id: String,
    /// File stem of the pack it stands in.
    pub pack: String,
    pub claim: String,
    /// Need ids of `needs.md`.
    pub answers: Vec<String>,
    pub kind: ControlKind,
    pub owner: Owner,
    /// Where the organisation claims it: document, section, quoted sentence.
    pub document: String,
    pub section: String,
    pub says: String,
    /// Selector → values; each combination that exists is an [`Instance`].
    pub scope: BTreeMap<String, Vec<String>>,
    pub configured: Vec<Probe>,
    pub effective: Vec<Probe>,
    pub drill: Option<DrillPlan>,
    /// Why there is no drill, where there is none.
    pub no_drill_because: Option<String>,
    /// Microseconds between runs and life of a proof.
    pub every: i64,
    pub valid_for: i64,
    pub planned: Option<Planned>,
    pub exceptions: Vec<Exception>,
    pub maps: Vec<Mapping>,
    /// Roles that may attest.
    pub attested_by: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, Default)]
pub struct Owner {
    pub person: String,
    pub team: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Planned {
    pub until: Time,
    pub ticket: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Exception {
    pub instance: String,
    pub reason: String,
    pub owner: String,
    pub until: Time,
    pub compensated_by: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Mapping {
    pub framework: String,
    pub version: String,
    pub requirement: String,
    /// `implements`, `supports` or `evidences`.
    pub relation: String,
}

/// A read-only look: at the intent (`configured`) or at what is in force (`effective`).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Probe {
    /// `self`, `aws`, `terraform`, `file`, `policy`, `flow`, `check`, `access` or `host`.
    pub probe: String,
    /// What is asked, in the probe's own terms, e.g. `sink.lag`.
    pub ask: String,
    /// What must hold of the answer, as text for people and for the probe.
    pub expect: String,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DrillPlan {
    /// `canary`, `tamper`, …; `attest` for a person.
    pub kind: String,
    pub parameters: BTreeMap<String, serde_json::Value>,
}

/// One subject of a control: its selector values, e.g. `source=firewall-api sink=siem-main`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, Default)]
pub struct Instance(pub BTreeMap<String, String>);

/// The answer of a probe: a value with its source, time and last writer, or what is missing to look (F1).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Observation {
    pub holds: Option<bool>,
    pub value: String,
    pub source: String,
    pub at: Time,
    /// Last writer, when it can be known.
    pub by: Option<String>,
    /// Set when it could not look: permission, log source, credential, component or window, in words that can be acted on.
    pub missing: Option<String>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Configured {
    Yes { source: String },
    No { value: String },
    Contended { values: Vec<(String, String)> },
    Unknown { missing: String },
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Effective {
    Yes {
        at: Time,
        value: String,
    },
    No {
        value: String,
    },
    /// Zero subjects: nothing to check.
    Vacuous,
    NotRead {
        reason: String,
    },
    Unknown {
        missing: String,
    },
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum LastProven {
    Never,
    On { at: Time, figure: String, run: String },
    Maturing { until: Time },
    Expired { at: Time },
    Failed { at: Time, step: String, run: String },
    Attested { at: Time, by: String, until: Time },
    Unknown { missing: String },
}

/// The one headline, worst first (`needs.md` 4.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlState {
    Failed,
    Unknown,
    Stale,
    Planned,
    Configured,
    Effective,
    Proven,
}

impl ControlState {
    pub const ALL: [ControlState; 7] = [
        ControlState::Failed,
        ControlState::Unknown,
        ControlState::Stale,
        ControlState::Planned,
        ControlState::Configured,
        ControlState::Effective,
        ControlState::Proven,
    ];
    /// The exact term, as in JSON.
    #[must_use]
    pub fn term(self) -> &'static str {
        match self {
            ControlState::Failed => "failed",
            ControlState::Unknown => "unknown",
            ControlState::Stale => "stale",
            ControlState::Planned => "planned",
            ControlState::Configured => "configured",
            ControlState::Effective => "effective",
            ControlState::Proven => "proven",
        }
    }
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Attestation {
    pub control: String,
    pub statement: String,
    pub by: String,
    pub at: Time,
    pub until: Time,
    /// (file name, SHA-256 hex).
    pub evidence: Vec<(String, String)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProofOutcome {
    Passed,
    Failed,
    /// It could not be decided: neither renews nor revokes.
    Inconclusive,
}

/// The dated outcome of exercising a control.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Proof {
    pub run: String,
    pub control: String,
    /// SHA-256 of the control as it stood.
    pub control_hash: String,
    pub instance: Instance,
    /// Hex; opens the commitment that the plan published before the first step.
    pub nonce: String,
    pub commitment: String,
    pub steps: Vec<ProofStep>,
    pub outcome: ProofOutcome,
    /// Measured figures for people, e.g. `3 of 3 in 3.1 s`.
    pub figure: String,
    pub path_fingerprint: String,
    pub binary_hash: String,
    pub started: Time,
    pub finished: Time,
    pub valid_until: Time,
    pub actor: String,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ProofStep {
    pub name: String,
    pub expected: String,
    pub got: String,
    pub at: Time,
    pub passed: Option<bool>,
    /// Kind of evidence → value (event position, leaf index, sink answer, refusal, exit code, file hash).
    pub evidence: BTreeMap<String, String>,
}
