use crate::format::Digest;
use model::{Time, escape_controls};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// Faults that a report carries. Whoever destroys a vault must not also fill the disk or the screen of the person who looks;
/// the count of the rest is always said.
pub const FAULTS_MAX: usize = 10_000;

/// What kind of fault. The text form is stable: scripts look for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultCode {
    /// `vault.json` is missing, malformed, or says something else than the log.
    VaultJson,
    CheckpointMissing,
    /// The checkpoint is malformed, of another log, or its signature does not fit.
    CheckpointBad,
    /// A checkpoint that was kept in the vault is malformed, misnamed or not signed by the log.
    KeptCheckpointBad,
    /// A checkpoint given by the person who verifies is not signed by the log's key.
    KnownCheckpointBad,
    /// A signed checkpoint (kept or known) does not lie on the way to the present tree.
    Inconsistent,
    /// A signed checkpoint is larger than the log: its end is gone.
    Truncated,
    /// The entries do not hash to the root of the checkpoint.
    RootMismatch,
    EntriesMissing,
    EntryDamaged,
    TileMissing,
    TileDamaged,
    /// The log says that it is signed with another key than the one that verifies it.
    LogKey,
    /// A leaf does not follow the grammar.
    LeafMalformed,
    /// A leaf is older than the one before it (V3).
    TimeWentBack,
    /// Not all parts of a WAL are in the log, or they contradict each other.
    PartsIncomplete,
    /// The rows of a WAL's parts do not give the WAL root that its leaves state.
    WalRootMismatch,
    SeqGap,
    SeqOverlap,
    /// A segment was expired before its policy allows.
    EarlyExpiry,
    /// A file that should be gone is still there.
    ExpiredPresent,
    /// A leaf names a segment that does not exist.
    BadReference,
    FileMissing,
    FileDamaged,
    SideMissing,
    SideDamaged,
    /// The side file is the one in the leaf, and what it says about the events is wrong.
    SideWrong,
    KeyMissing,
    KeyDamaged,
    /// A file that no leaf names.
    ForeignFile,
    /// The events do not hash to the event root of their leaf.
    EventRootMismatch,
    RecordAltered,
    RecordMissing,
    RecordInserted,
    DatasetRootMismatch,
    /// A stored derived column differs from what its parser makes of raw today.
    ColumnMismatch,
    WalMissing,
    WalDamaged,
    /// The WAL is readable and is not what a heartbeat said about it.
    WalMismatch,
}

impl FaultCode {
    /// All codes, for the generated reference.
    pub const ALL: [FaultCode; 39] = [
        FaultCode::VaultJson,
        FaultCode::CheckpointMissing,
        FaultCode::CheckpointBad,
        FaultCode::KeptCheckpointBad,
        FaultCode::KnownCheckpointBad,
        FaultCode::Inconsistent,
        FaultCode::Truncated,
        FaultCode::RootMismatch,
        FaultCode::EntriesMissing,
        FaultCode::EntryDamaged,
        FaultCode::TileMissing,
        FaultCode::TileDamaged,
        FaultCode::LogKey,
        FaultCode::LeafMalformed,
        FaultCode::TimeWentBack,
        FaultCode::PartsIncomplete,
        FaultCode::WalRootMismatch,
        FaultCode::SeqGap,
        FaultCode::SeqOverlap,
        FaultCode::EarlyExpiry,
        FaultCode::ExpiredPresent,
        FaultCode::BadReference,
        FaultCode::FileMissing,
        FaultCode::FileDamaged,
        FaultCode::SideMissing,
        FaultCode::SideDamaged,
        FaultCode::SideWrong,
        FaultCode::KeyMissing,
        FaultCode::KeyDamaged,
        FaultCode::ForeignFile,
        FaultCode::EventRootMismatch,
        FaultCode::RecordAltered,
        FaultCode::RecordMissing,
        FaultCode::RecordInserted,
        FaultCode::DatasetRootMismatch,
        FaultCode::ColumnMismatch,
        FaultCode::WalMissing,
        FaultCode::WalDamaged,
        FaultCode::WalMismatch,
    ];

    /// Stable code, `verify.reason`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            FaultCode::VaultJson => "verify.vault_json",
            FaultCode::CheckpointMissing => "verify.checkpoint_missing",
            FaultCode::CheckpointBad => "verify.checkpoint_bad",
            FaultCode::KeptCheckpointBad => "verify.kept_checkpoint_bad",
            FaultCode::KnownCheckpointBad => "verify.known_checkpoint_bad",
            FaultCode::Inconsistent => "verify.inconsistent",
            FaultCode::Truncated => "verify.truncated",
            FaultCode::RootMismatch => "verify.root_mismatch",
            FaultCode::EntriesMissing => "verify.entries_missing",
            FaultCode::EntryDamaged => "verify.entry_damaged",
            FaultCode::TileMissing => "verify.tile_missing",
            FaultCode::TileDamaged => "verify.tile_damaged",
            FaultCode::LogKey => "verify.log_key",
            FaultCode::LeafMalformed => "verify.leaf_malformed",
            FaultCode::TimeWentBack => "verify.time_went_back",
            FaultCode::PartsIncomplete => "verify.parts_incomplete",
            FaultCode::WalRootMismatch => "verify.wal_root_mismatch",
            FaultCode::SeqGap => "verify.seq_gap",
            FaultCode::SeqOverlap => "verify.seq_overlap",
            FaultCode::EarlyExpiry => "verify.early_expiry",
            FaultCode::ExpiredPresent => "verify.expired_present",
            FaultCode::BadReference => "verify.bad_reference",
            FaultCode::FileMissing => "verify.file_missing",
            FaultCode::FileDamaged => "verify.file_damaged",
            FaultCode::SideMissing => "verify.side_missing",
            FaultCode::SideDamaged => "verify.side_damaged",
            FaultCode::SideWrong => "verify.side_wrong",
            FaultCode::KeyMissing => "verify.key_missing",
            FaultCode::KeyDamaged => "verify.key_damaged",
            FaultCode::ForeignFile => "verify.foreign_file",
            FaultCode::EventRootMismatch => "verify.event_root_mismatch",
            FaultCode::RecordAltered => "verify.record_altered",
            FaultCode::RecordMissing => "verify.record_missing",
            FaultCode::RecordInserted => "verify.record_inserted",
            FaultCode::DatasetRootMismatch => "verify.dataset_root_mismatch",
            FaultCode::ColumnMismatch => "verify.column_mismatch",
            FaultCode::WalMissing => "verify.wal_missing",
            FaultCode::WalDamaged => "verify.wal_damaged",
            FaultCode::WalMismatch => "verify.wal_mismatch",
        }
    }
}

fn code_text<S: serde::Serializer>(code: &FaultCode, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(code.as_str())
}

/// One thing that is wrong, and where. Ranges are half-open.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Fault {
    /// The leaf that tells how it should be; faults without one (of the log itself) come first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaf: Option<u64>,
    /// Path inside the vault folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<(u64, u64)>,
    #[serde(serialize_with = "code_text")]
    pub code: FaultCode,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row_group: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<(u64, u64)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<(Time, Time)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// One sentence for a person.
    pub detail: String,
}

impl Fault {
    pub(super) fn new(code: FaultCode, detail: impl Into<String>) -> Fault {
        Fault {
            leaf: None,
            file: None,
            bytes: None,
            code,
            row_group: None,
            column: None,
            page: None,
            seq: None,
            time: None,
            expected: None,
            found: None,
            detail: detail.into(),
        }
    }
    pub(super) fn leaf(mut self, leaf: u64) -> Fault {
        self.leaf = Some(leaf);
        self
    }
    pub(super) fn file(mut self, file: impl Into<String>) -> Fault {
        self.file = Some(file.into());
        self
    }
    pub(super) fn bytes(mut self, from: u64, to: u64) -> Fault {
        self.bytes = Some((from, to));
        self
    }
    pub(super) fn seq(mut self, from: u64, to: u64) -> Fault {
        self.seq = Some((from, to));
        self
    }
    pub(super) fn time(mut self, from: Time, to: Time) -> Fault {
        self.time = Some((from, to));
        self
    }
    pub(super) fn differs(mut self, expected: impl fmt::Display, found: impl fmt::Display) -> Fault {
        self.expected = Some(expected.to_string());
        self.found = Some(found.to_string());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), escape_controls(&self.detail))?;
        if let Some(leaf) = self.leaf {
            write!(f, "\n  leaf      {leaf}")?;
        }
        if let Some(file) = &self.file {
            write!(f, "\n  file      {}", escape_controls(file))?;
        }
        if let Some((from, to)) = self.bytes {
            write!(f, "\n  bytes     [{from}, {to})")?;
        }
        if let Some(group) = self.row_group {
            write!(f, "\n  row group {group}")?;
        }
        if let Some(column) = &self.column {
            write!(f, "\n  column    {}", escape_controls(column))?;
        }
        if let Some(page) = self.page {
            write!(f, "\n  page      {page}")?;
        }
        if let Some((from, to)) = self.seq {
            write!(f, "\n  seq       [{from}, {to})")?;
        }
        if let Some((from, to)) = self.time {
            write!(f, "\n  received  {from} to {to}")?;
        }
        if let Some(expected) = &self.expected {
            write!(f, "\n  expected  {}", escape_controls(expected))?;
        }
        if let Some(found) = &self.found {
            write!(f, "\n  found     {}", escape_controls(found))?;
        }
        Ok(())
    }
}

/// How deep to look.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Log,
    Files,
    Events,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Log => "log",
            Level::Files => "files",
            Level::Events => "events",
        })
    }
}

/// What a verification comes to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything that was asked for was checked and is as the log says.
    Proven,
    /// Nothing wrong was found, but not everything could be looked at.
    Incomplete,
    /// Damage or dishonesty.
    Damaged,
}

/// How much was looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Counts {
    pub leaves: u64,
    pub segments: u64,
    /// Segments whose leaf is followed by an expire leaf.
    pub expired: u64,
    pub heartbeats: u64,
    pub kept_checkpoints: u64,
    pub known_checkpoints: u64,
    pub files: u64,
    pub file_bytes: u64,
    /// Events re-hashed (`events` only).
    pub events: u64,
    pub event_bytes: u64,
    pub wal_files: u64,
}

/// The result of a verification.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub verdict: Verdict,
    pub level: Level,
    /// Vault id; empty when `vault.json` is unreadable.
    pub vault: String,
    pub origin: String,
    pub size: u64,
    pub root: Digest,
    /// Time of the last leaf, by the vault's own clock.
    pub until: Time,
    pub checked: Counts,
    /// Known checkpoints that the log was shown to continue: size and root.
    pub anchors: Vec<String>,
    /// By leaf index, then by file.
    pub faults: Vec<Fault>,
    /// Faults beyond [`FAULTS_MAX`], counted only.
    pub more_faults: u64,
    /// What a person must know to read the result rightly, by code.
    pub notes: BTreeMap<&'static str, Vec<String>>,
    /// Why the check is not complete; empty when it is.
    pub unchecked: Vec<String>,
}

impl Report {
    /// 0 proven, 4 damage or dishonesty, 3 not all could be checked. (2, wrong usage, never comes to a report.)
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.verdict {
            Verdict::Proven => 0,
            Verdict::Incomplete => 3,
            Verdict::Damaged => 4,
        }
    }
}

/// For a person. The same vault gives the same text, whatever the number of jobs (O1).
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = &self.checked;
        writeln!(f, "vault     {}", escape_controls(&self.vault))?;
        writeln!(f, "origin    {}", escape_controls(&self.origin))?;
        writeln!(f, "log       {} leaves, root {}, until {}", self.size, self.root, self.until)?;
        writeln!(
            f,
            "checked   level {}: {} leaves ({} segments, {} expired, {} heartbeats), {} kept checkpoints, {} WAL files",
            self.level, c.leaves, c.segments, c.expired, c.heartbeats, c.kept_checkpoints, c.wal_files
        )?;
        if self.level >= Level::Files {
            writeln!(f, "          {} files, {} bytes hashed", c.files, c.file_bytes)?;
        }
        if self.level >= Level::Events {
            writeln!(f, "          {} events, {} raw bytes re-hashed", c.events, c.event_bytes)?;
        }
        for anchor in &self.anchors {
            writeln!(f, "anchor    {}", escape_controls(anchor))?;
        }
        for fault in &self.faults {
            writeln!(f, "\n{fault}")?;
        }
        if self.more_faults > 0 {
            writeln!(f, "\nand {} more faults", self.more_faults)?;
        }
        if !self.faults.is_empty() {
            writeln!(f)?;
        }
        for text in self.notes.values().flatten() {
            writeln!(f, "note      {}", escape_controls(text))?;
        }
        for text in &self.unchecked {
            writeln!(f, "unchecked {}", escape_controls(text))?;
        }
        match self.verdict {
            Verdict::Proven => write!(f, "proven"),
            Verdict::Incomplete => {
                write!(f, "incomplete: nothing wrong was found, not everything could be checked")
            }
            Verdict::Damaged => {
                write!(f, "damaged: {} faults", self.faults.len() as u64 + self.more_faults)
            }
        }
    }
}

/// Collects what the checks find. One per task, merged in task order, so that the number of jobs never shows.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub faults: Vec<Fault>,
    pub dropped: u64,
    pub notes: BTreeMap<&'static str, Vec<String>>,
    pub unchecked: Vec<String>,
    pub checked: Counts,
}

impl Findings {
    pub fn fault(&mut self, fault: Fault) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault);
        } else {
            self.dropped += 1;
        }
    }
    pub fn note(&mut self, code: &'static str, text: impl Into<String>) {
        self.notes.entry(code).or_default().push(text.into());
    }
    pub fn merge(&mut self, other: Findings) {
        for fault in other.faults {
            self.fault(fault);
        }
        self.dropped += other.dropped;
        for (code, mut texts) in other.notes {
            self.notes.entry(code).or_default().append(&mut texts);
        }
        self.unchecked.extend(other.unchecked);
        let (to, from) = (&mut self.checked, other.checked);
        to.leaves += from.leaves;
        to.segments += from.segments;
        to.expired += from.expired;
        to.heartbeats += from.heartbeats;
        to.kept_checkpoints += from.kept_checkpoints;
        to.known_checkpoints += from.known_checkpoints;
        to.files += from.files;
        to.file_bytes += from.file_bytes;
        to.events += from.events;
        to.event_bytes += from.event_bytes;
        to.wal_files += from.wal_files;
    }
}
