use super::{ControlCounts, ControlRow};
use crate::value::Value;
use model::Time;
use serde::Serialize;

/// What changed, and what needs a person now.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Overview {
    pub changes: Changes,
    /// Worst first; each is something that a person has to decide or repair.
    pub attention: Vec<Attention>,
    pub controls: ControlCounts,
    /// Controls that are set up and do not work, or the reverse.
    pub disagreements: Vec<ControlRow>,
    /// One per band, most severe first.
    pub findings: Vec<SeverityCount>,
    /// Deliberately hidden; never left out of the counts.
    pub suppressed: u64,
    /// Findings first seen per day, oldest first.
    pub days: Vec<DayCount>,
    pub alerts: AlertHealth,
    pub sources: Vec<SourceHealth>,
    pub sinks: Vec<SinkHealth>,
    pub vault: VaultBrief,
}

/// What happened since the caller was last here.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Changes {
    /// None on the first visit.
    pub since: Option<Time>,
    pub findings_new: u64,
    pub findings_resolved: u64,
    pub controls_worse: u64,
    pub controls_better: u64,
    pub events: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Urgent,
    Soon,
    Look,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Attention {
    pub level: Level,
    /// One sentence.
    pub text: String,
    /// What it rests on, or what to do.
    pub why: String,
    /// Local address of the list or thing behind it.
    pub href: String,
    pub since: Option<Time>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SeverityCount {
    /// `critical`, `high`, `medium`, `low`, `info`.
    pub band: &'static str,
    pub open: Value,
    pub oldest: Option<Time>,
}

/// `None` where nobody looked on that day.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct DayCount {
    pub day: Time,
    /// Critical, high, medium, low, info.
    pub counts: Option<[u64; 5]>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct AlertHealth {
    pub not_delivered: Value,
    pub not_acknowledged: Value,
    pub last_delivered: Option<Time>,
    pub routes: u64,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SourceHealth {
    pub name: String,
    /// `syslog`, `https`, `file`.
    pub kind: String,
    /// Events of the last hour, with the state of the source.
    pub events: Value,
    pub last_seen: Option<Time>,
    /// Events per minute, oldest first; `None` where the source was not running.
    pub per_minute: Vec<Option<u64>>,
    pub rejected: u64,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SinkHealth {
    pub name: String,
    pub kind: String,
    /// Events waiting to be sent (cursor lag).
    pub waiting: Value,
    pub oldest_waiting: Option<Time>,
    /// Events that could not be sent (dead letters).
    pub dead: Value,
    pub delivered: u64,
    pub last_ok: Option<Time>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct VaultBrief {
    pub seal: super::SealState,
    pub checked_at: Option<Time>,
    pub events: u64,
    pub segments: u64,
    pub bytes: u64,
}
