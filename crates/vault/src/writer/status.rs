use super::commit::reserve;
use super::core::Shared;
use crate::disk::Space;
use crate::merkle::Checkpoint;
use crate::read::Snapshot;
use model::Time;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

/// The vault in numbers.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    pub vault: String,
    pub origin: String,
    pub vkey: String,
    /// Why nothing is taken any more; `None` while healthy.
    pub poisoned: Option<String>,
    /// The disk is full: sources wait.
    pub is_full: bool,
    /// One past the last acknowledged seq.
    pub end_seq: u64,
    pub datasets: BTreeMap<String, DatasetStatus>,
    pub segments: u64,
    /// Bytes of Parquet and side files.
    pub sealed_bytes: u64,
    /// Bytes in the open WAL file.
    pub wal_bytes: u64,
    pub unsealed_rows: u64,
    /// WAL files waiting to be sealed.
    pub seals_waiting: u64,
    pub seal_error: Option<String>,
    pub last_seal: Option<Time>,
    /// Bytes of events waiting for their commit.
    pub queued_bytes: u64,
    /// Events and commits since this process started.
    pub rows_appended: u64,
    pub commits: u64,
    pub tree_size: u64,
    /// Root under the last checkpoint, hex.
    pub root: Option<String>,
    /// Time of the last leaf.
    pub checkpoint_time: Option<Time>,
    pub last_heartbeat: Option<Time>,
    pub free_bytes: Option<u64>,
    pub reserve_bytes: Option<u64>,
    /// Files put aside by the last start.
    pub quarantined: u64,
    /// Segments that the log names and the disk does not have.
    pub missing: Vec<String>,
}

/// One dataset in numbers. The oldest data is the actual retention, beside the configured one.
#[derive(Clone, Debug, Default, Serialize, PartialEq)]
pub struct DatasetStatus {
    pub rows: u64,
    /// Stored bytes of sealed files.
    pub sealed_bytes: u64,
    pub unsealed_rows: u64,
    pub unsealed_raw_bytes: u64,
    /// Received time of the oldest and the newest event.
    pub oldest: Option<Time>,
    pub newest: Option<Time>,
    /// Configured age, as in the newest policy leaf.
    pub max_age: Option<String>,
}

impl DatasetStatus {
    fn span(&mut self, (from, to): (Time, Time)) {
        self.oldest = Some(self.oldest.map_or(from, |t| t.min(from)));
        self.newest = Some(self.newest.map_or(to, |t| t.max(to)));
    }
}

/// Numbers by dataset of what a snapshot sees.
#[must_use]
pub(crate) fn datasets(snapshot: &Snapshot) -> BTreeMap<String, DatasetStatus> {
    let mut out: BTreeMap<String, DatasetStatus> = BTreeMap::new();
    for s in snapshot.segments() {
        let d = out.entry(s.dataset.to_string()).or_default();
        d.rows += s.rows;
        d.sealed_bytes += s.bytes + s.info.side_bytes;
        d.span(s.received);
    }
    for dataset in snapshot.datasets() {
        if let Some(f) = snapshot.tail_facts(&dataset) {
            let d = out.entry(dataset.to_string()).or_default();
            d.rows += f.rows;
            d.unsealed_rows += f.rows;
            d.unsealed_raw_bytes += f.raw_bytes;
            d.span(f.received);
        }
    }
    out
}

pub(crate) fn status(shared: &Shared) -> Status {
    let snapshot = shared.live.snapshot();
    let mut by_dataset = datasets(&snapshot);
    let space: Option<Space> = shared.host.disk.space(&shared.dir).ok();
    let log = shared.log();
    for (name, d) in &mut by_dataset {
        d.max_age = log.state.policy_for(name, u64::MAX).map(|(_, age)| age.to_string());
    }
    let facts = &shared.facts;
    let checkpoint: Option<&Checkpoint> = log.checkpoint.as_ref();
    let known = |t: i64| (t != 0).then_some(Time(t));
    Status {
        vault: shared.json.vault.clone(),
        origin: shared.json.origin.clone(),
        vkey: shared.json.vkey.clone(),
        poisoned: shared.poison.get().cloned(),
        is_full: facts.is_full.load(Ordering::Acquire),
        end_seq: shared.live.end(),
        segments: snapshot.segments().len() as u64,
        sealed_bytes: by_dataset.values().map(|d| d.sealed_bytes).sum(),
        wal_bytes: facts.wal_bytes.load(Ordering::Acquire),
        unsealed_rows: by_dataset.values().map(|d| d.unsealed_rows).sum(),
        datasets: by_dataset,
        seals_waiting: shared.seals.waiting() as u64,
        seal_error: facts.seal_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        last_seal: known(facts.last_seal.load(Ordering::Acquire)),
        queued_bytes: shared.queue.waiting_bytes() as u64,
        rows_appended: facts.rows.load(Ordering::Relaxed),
        commits: facts.commits.load(Ordering::Relaxed),
        tree_size: log.size(),
        root: checkpoint.map(|c| crate::merkle::hex(&c.root)),
        checkpoint_time: log.state.time.known().filter(|_| checkpoint.is_some()),
        last_heartbeat: log.last_beat.known(),
        free_bytes: space.map(|s| s.free),
        reserve_bytes: space.map(|s| reserve(shared, s.total)),
        quarantined: facts.quarantined.load(Ordering::Relaxed),
        missing: snapshot.missing().iter().map(|s| s.info.path.clone()).collect(),
    }
}
