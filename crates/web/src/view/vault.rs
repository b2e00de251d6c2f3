use model::{EventId, Time};
use serde::Serialize;

/// Whether evidence can be trusted, as far as it was checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SealState {
    /// Under a signed checkpoint, checked, nothing changed.
    Verified,
    /// Under a signed checkpoint, not checked since.
    Sealed,
    /// Durable, not yet under a checkpoint.
    Open,
    /// Evidence does not match what was committed.
    Damaged,
    /// Nobody could look (F1).
    Unknown,
}

impl SealState {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            SealState::Verified => "sealed, checked, nothing changed",
            SealState::Sealed => "sealed, not checked yet",
            SealState::Open => "kept, not sealed yet",
            SealState::Damaged => "damaged",
            SealState::Unknown => "can't tell",
        }
    }
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct VaultPage {
    pub datasets: Vec<DatasetState>,
    pub last: Option<Verification>,
    /// Newest first.
    pub checkpoints: Vec<Checkpoint>,
    pub quarantined: Vec<Quarantined>,
    /// Who read or exported raw logs, newest first.
    pub access: Vec<AccessEntry>,
    /// Public key to pin, `name+hash+base64`.
    pub public_key: String,
    pub is_encrypted: bool,
    /// Key file to back up, named once; none when the key is elsewhere.
    pub key_file: Option<String>,
    pub verify_command: String,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct DatasetState {
    pub name: String,
    pub seal: SealState,
    pub checked_at: Option<Time>,
    pub events: u64,
    pub events_open: u64,
    pub segments: u64,
    pub bytes: u64,
    pub oldest: Option<Time>,
    pub newest: Option<Time>,
    /// Retention in seconds; none keeps for ever.
    pub retention_s: Option<u64>,
    /// The last segment that was dropped under it, with its leaf.
    pub last_expired: Option<Time>,
    pub expired_segments: u64,
    /// Name of a hold that keeps it beyond its retention.
    pub hold: Option<String>,
    /// Set when damaged or unknown: what, where, which events.
    pub because: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Verification {
    pub at: Time,
    pub by: String,
    /// `Verified`, `Damaged` or `Unknown`.
    pub seal: SealState,
    pub files: u64,
    pub events: u64,
    pub bytes: u64,
    pub millis: u64,
    pub damages: Vec<Damage>,
    /// What this check cannot show, said plainly (`key not pinned`, `no witness`).
    pub limits: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Damage {
    pub file: String,
    /// `bytes 90112 to 155647`.
    pub place: String,
    /// `events 4201 to 4288`.
    pub events: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Checkpoint {
    pub at: Time,
    pub tree_size: u64,
    pub root: String,
    pub signed_by: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Quarantined {
    pub at: Time,
    pub what: String,
    pub bytes: u64,
    pub why: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct AccessEntry {
    pub id: EventId,
    pub at: Time,
    pub who: String,
    /// `search`, `sql`, `event`, `export`.
    pub how: String,
    pub what: String,
    pub rows: u64,
}
