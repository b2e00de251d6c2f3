use super::Facet;
use model::{
    Configured, Control, ControlKind, ControlState, Effective, LastProven, Observation, Owner, Proof, Time,
};
use serde::Serialize;

/// Controls per exact state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct ControlCounts {
    pub failed: u64,
    pub unknown: u64,
    pub stale: u64,
    pub planned: u64,
    pub configured: u64,
    pub effective: u64,
    pub proven: u64,
    /// Of all of them, those where the three columns disagree.
    pub disagreeing: u64,
}

impl ControlCounts {
    pub fn add(&mut self, state: ControlState) {
        let slot = match state {
            ControlState::Failed => &mut self.failed,
            ControlState::Unknown => &mut self.unknown,
            ControlState::Stale => &mut self.stale,
            ControlState::Planned => &mut self.planned,
            ControlState::Configured => &mut self.configured,
            ControlState::Effective => &mut self.effective,
            ControlState::Proven => &mut self.proven,
        };
        *slot = slot.saturating_add(1);
    }
    /// What people read as "Not tested".
    #[must_use]
    pub fn not_tested(&self) -> u64 {
        [self.stale, self.planned, self.configured, self.effective]
            .iter()
            .fold(0, |a, b| a.saturating_add(*b))
    }
    #[must_use]
    pub fn total(&self) -> u64 {
        [self.failed, self.unknown, self.not_tested(), self.proven]
            .iter()
            .fold(0, |a, b| a.saturating_add(*b))
    }
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ControlList {
    /// Over all controls, whatever the filter.
    pub counts: ControlCounts,
    pub facets: Vec<Facet>,
    /// Rows that disagree first, then worst first, then by id.
    pub items: Vec<ControlRow>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ControlRow {
    pub id: String,
    pub claim: String,
    /// The pack, named after the kind of system.
    pub system: String,
    pub owner: Owner,
    pub kind: ControlKind,
    pub state: ControlState,
    /// What stands behind the result, for people: the measured figure, what does not hold, or what is missing.
    pub because: String,
    pub configured: Configured,
    pub effective: Effective,
    pub last_proven: LastProven,
    pub next_test: Option<Time>,
    pub n_instances: u64,
    /// The columns contradict each other: set up and not working, or working and failing its test.
    pub disagrees: bool,
    /// A drill exists and may be run now.
    pub can_prove: bool,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ControlDetail {
    pub row: ControlRow,
    pub control: Control,
    pub instances: Vec<InstanceState>,
    /// What the probes of "Set up?" answered, with source, time and last writer.
    pub configured: Vec<Observation>,
    pub effective: Vec<Observation>,
    /// Newest first.
    pub runs: Vec<Run>,
    /// The newest proof whole, with its steps.
    pub newest_proof: Option<Proof>,
    /// Newest first.
    pub history: Vec<StateChange>,
    /// What a test would do and touch, in order.
    pub drill_steps: Vec<String>,
    /// Why `Prove now` is not offered; none when it is.
    pub cannot_prove: Option<String>,
    pub verify_command: Option<String>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct InstanceState {
    /// `source=firewall-api sink=siem-main`.
    pub name: String,
    pub state: ControlState,
    pub configured: Configured,
    pub effective: Effective,
    pub last_proven: LastProven,
    pub because: String,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Run {
    pub run: String,
    pub outcome: model::ProofOutcome,
    pub figure: String,
    pub started: Time,
    pub finished: Time,
    pub actor: String,
    /// Step at which it failed.
    pub failed_step: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct StateChange {
    pub at: Time,
    pub from: Option<ControlState>,
    pub to: ControlState,
    pub why: String,
}
