//! WAL files that are not sealed yet, as readers see them: an index of commits in memory, bytes on disk, and the newest
//! batches cached as they were appended.

use crate::error::VaultError;
use crate::format::event::{DatasetRoot, Salter, Seed, wal_root};
use crate::format::wal::{FrameHead, FrameKey, Header, MAC_BYTES, check_frame, decode_batch};
use crate::keys::Dek;
use crate::merkle::{Hash, Tree};
use crate::sha256::digests;
use model::{Batch, SourcePosition, Time};
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// An unsealed WAL file.
pub struct WalTail {
    pub header: Header,
    pub path: PathBuf,
    file: File,
    key: FrameKey,
    dek: Dek,
    commits: RwLock<Vec<Arc<CommitEntry>>>,
    /// Acknowledged seqs that damage has taken, half open.
    lost: Vec<[u64; 2]>,
    closed: AtomicBool,
}

impl std::fmt::Debug for WalTail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WalTail")
            .field("wal", &self.header.wal)
            .field("end", &self.end_seq())
            .finish_non_exhaustive()
    }
}

/// One commit.
#[derive(Debug)]
pub struct CommitEntry {
    pub first_seq: u64,
    pub end_seq: u64,
    pub frames: Vec<FrameEntry>,
    pub positions: Vec<SourcePosition>,
    /// WAL root of the file up to here.
    pub root: Hash,
    /// SHA-256 of the commit frame as stored.
    pub hash: Hash,
    pub mac: [u8; MAC_BYTES],
    /// Where the commit frame ends.
    pub end_offset: u64,
}

/// One batch frame of a commit.
#[derive(Debug)]
pub struct FrameEntry {
    pub dataset: Arc<str>,
    pub offset: u64,
    pub number: u64,
    pub head: FrameHead,
    pub facts: Facts,
    cached: Mutex<Cached>,
}

#[derive(Debug, Default)]
struct Cached {
    batch: Option<Batch>,
    leaves: Option<Arc<Vec<Hash>>>,
}

/// Bounds over the rows of a frame or segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Facts {
    pub rows: u64,
    pub raw_bytes: u64,
    /// Lowest and highest, inclusive.
    pub seq: (u64, u64),
    pub received: (Time, Time),
    pub event_time: Option<(Time, Time)>,
}

impl Facts {
    #[must_use]
    pub fn of(batch: &Batch) -> Facts {
        let mut f = Facts {
            rows: batch.len() as u64,
            raw_bytes: batch.raw_bytes() as u64,
            seq: (u64::MAX, 0),
            received: (Time(i64::MAX), Time::NONE),
            event_time: None,
        };
        for row in batch.rows.iter() {
            f.seq = (f.seq.0.min(row.seq), f.seq.1.max(row.seq));
            f.received = (f.received.0.min(row.received), f.received.1.max(row.received));
            if let Some(t) = row.event_time.known() {
                let (a, b) = f.event_time.unwrap_or((t, t));
                f.event_time = Some((a.min(t), b.max(t)));
            }
        }
        f
    }

    /// Bounds over both.
    #[must_use]
    pub fn and(self, other: Facts) -> Facts {
        let event_time = match (self.event_time, other.event_time) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (a, b) => a.or(b),
        };
        Facts {
            rows: self.rows + other.rows,
            raw_bytes: self.raw_bytes + other.raw_bytes,
            seq: (self.seq.0.min(other.seq.0), self.seq.1.max(other.seq.1)),
            received: (self.received.0.min(other.received.0), self.received.1.max(other.received.1)),
            event_time,
        }
    }
}

/// A frame's rows and, per row, the leaf that stands for it in the trees.
#[derive(Clone, Debug)]
pub struct Hashed {
    pub batch: Batch,
    pub leaves: Arc<Vec<Hash>>,
}

impl FrameEntry {
    #[must_use]
    pub fn new(dataset: Arc<str>, offset: u64, number: u64, head: FrameHead, facts: Facts) -> FrameEntry {
        FrameEntry { dataset, offset, number, head, facts, cached: Mutex::default() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cached> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what append had in its hands anyway.
    pub(crate) fn cache(&self, batch: Batch, leaves: Vec<Hash>) {
        *self.lock() = Cached { batch: Some(batch), leaves: Some(Arc::new(leaves)) };
    }

    /// Keeps leaves only, for a frame that was read back.
    pub(crate) fn keep_leaves(&self, leaves: Vec<Hash>) {
        self.lock().leaves = Some(Arc::new(leaves));
    }

    pub(crate) fn leaves(&self) -> Arc<Vec<Hash>> {
        self.lock().leaves.clone().unwrap_or_default()
    }

    /// Drops the batch, keeps the leaves.
    fn forget_batch(&self) {
        self.lock().batch = None;
    }

    #[must_use]
    pub fn is_cached(&self) -> bool {
        self.lock().batch.is_some()
    }
}

impl WalTail {
    #[must_use]
    pub fn new(header: Header, path: PathBuf, file: File, key: FrameKey, dek: Dek) -> WalTail {
        WalTail {
            header,
            path,
            file,
            key,
            dek,
            commits: RwLock::default(),
            lost: Vec::new(),
            closed: AtomicBool::new(false),
        }
    }

    pub(crate) fn with_commits(mut self, commits: Vec<CommitEntry>, lost: Vec<[u64; 2]>) -> WalTail {
        self.commits = RwLock::new(commits.into_iter().map(Arc::new).collect());
        self.lost = lost;
        self.closed = AtomicBool::new(true);
        self
    }

    #[must_use]
    pub fn number(&self) -> u64 {
        self.header.wal
    }
    #[must_use]
    pub fn lost(&self) -> &[[u64; 2]] {
        &self.lost
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Vec<Arc<CommitEntry>>> {
        self.commits.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a commit that is durable (V2: the caller has seen its fdatasync succeed).
    pub(crate) fn push(&self, commit: Arc<CommitEntry>) {
        self.commits.write().unwrap_or_else(PoisonError::into_inner).push(commit);
    }

    /// No commit will follow.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    #[must_use]
    pub fn commits(&self) -> usize {
        self.read().len()
    }
    #[must_use]
    pub fn commit(&self, index: usize) -> Option<Arc<CommitEntry>> {
        self.read().get(index).cloned()
    }
    #[must_use]
    pub fn last(&self) -> Option<Arc<CommitEntry>> {
        self.read().last().cloned()
    }
    /// Index of the first commit that ends after `seq`.
    #[must_use]
    pub fn commit_after(&self, seq: u64) -> usize {
        self.read().partition_point(|c| c.end_seq <= seq)
    }
    /// One past the last committed seq.
    #[must_use]
    pub fn end_seq(&self) -> u64 {
        self.read().last().map_or(self.header.first_seq, |c| c.end_seq)
    }
    /// The first `n` commits.
    #[must_use]
    pub fn first_commits(&self, n: usize) -> Vec<Arc<CommitEntry>> {
        self.read().iter().take(n).cloned().collect()
    }

    /// The seed of `dataset`'s salts in this WAL.
    #[must_use]
    pub fn seed(&self, dataset: &str) -> Seed {
        Seed::derive(&self.dek, dataset)
    }

    fn load(&self, frame: &FrameEntry) -> Result<crate::format::wal::DecodedBatch, VaultError> {
        let mut bytes = vec![0; frame.head.frame_bytes()];
        self.file
            .read_exact_at(&mut bytes, frame.offset)
            .map_err(|e| VaultError::io("read", &self.path, &e))?;
        let fault = |e| VaultError::corrupt(&self.path, format!("frame at byte {}: {e}", frame.offset));
        let stored = check_frame(&frame.head, &bytes).map_err(fault)?;
        let payload = self.key.open(frame.number, &frame.head, stored).map_err(fault)?;
        decode_batch(payload, frame.head.rows).map_err(fault)
    }

    /// The rows of a frame, from memory or from disk.
    ///
    /// # Errors
    /// The file cannot be read or was damaged after its recovery.
    pub fn batch(&self, frame: &FrameEntry) -> Result<Batch, VaultError> {
        let cached = frame.lock().batch.clone();
        match cached {
            Some(batch) => Ok(batch),
            None => Ok(self.load(frame)?.batch),
        }
    }

    /// The rows of a frame with their event leaves.
    ///
    /// # Errors
    /// As for [`WalTail::batch`].
    pub fn hashed(&self, frame: &FrameEntry, salter: &Salter) -> Result<Hashed, VaultError> {
        let (batch, leaves) = {
            let cached = frame.lock();
            (cached.batch.clone(), cached.leaves.clone())
        };
        if let (Some(batch), Some(leaves)) = (batch, leaves.clone()) {
            return Ok(Hashed { batch, leaves });
        }
        let decoded = self.load(frame)?;
        let leaves = leaves.unwrap_or_else(|| Arc::new(leaves_of(&decoded, salter)));
        Ok(Hashed { batch: decoded.batch, leaves })
    }
}

/// Event leaves of decoded rows.
pub(crate) fn leaves_of(decoded: &crate::format::wal::DecodedBatch, salter: &Salter) -> Vec<Hash> {
    let b = &decoded.batch;
    let n = b.rows.len();
    let (mut envelopes, mut raws, mut out) =
        (Vec::with_capacity(n), Vec::with_capacity(n), Vec::with_capacity(n));
    digests(decoded.envelopes.iter().map(|e| b.bytes(*e)), &mut envelopes);
    digests(b.rows.iter().map(|row| b.bytes(row.raw)), &mut raws);
    let seqs: Vec<u64> = b.rows.iter().map(|row| row.seq).collect();
    salter.leaves(&seqs, &envelopes, &raws, &mut out);
    out
}

/// Trees over the events of one WAL, one per dataset.
#[derive(Clone, Debug, Default)]
pub struct WalTrees {
    trees: BTreeMap<Arc<str>, Tree>,
}

impl WalTrees {
    pub fn extend(&mut self, dataset: &Arc<str>, leaves: &[Hash]) {
        match self.trees.get_mut(dataset) {
            Some(tree) => tree.extend_from(leaves),
            None => {
                let mut tree = Tree::new();
                tree.extend_from(leaves);
                self.trees.insert(Arc::clone(dataset), tree);
            }
        }
    }
    #[must_use]
    pub fn root(&self) -> Hash {
        wal_root(self.roots())
    }
    pub fn roots(&self) -> impl Iterator<Item = DatasetRoot<'_>> {
        self.trees.iter().map(|(d, t)| DatasetRoot { dataset: d, root: t.root(), rows: t.size() })
    }
}

/// Keeps the newest batches of the tail in memory, oldest out first.
#[derive(Debug)]
pub struct TailCache {
    bytes_max: u64,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    bytes: u64,
    /// WAL number and commit, oldest first.
    commits: VecDeque<(u64, Arc<CommitEntry>)>,
}

impl TailCache {
    #[must_use]
    pub fn new(bytes_max: u64) -> TailCache {
        TailCache { bytes_max, held: Mutex::default() }
    }

    fn bytes(commit: &CommitEntry) -> u64 {
        // The arena holds envelopes too: about as much again for short events.
        commit.frames.iter().map(|f| f.facts.raw_bytes + 512 * f.facts.rows).sum()
    }

    pub(crate) fn add(&self, wal: u64, commit: &Arc<CommitEntry>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.bytes += TailCache::bytes(commit);
        held.commits.push_back((wal, Arc::clone(commit)));
        while held.bytes > self.bytes_max {
            let Some((_, old)) = held.commits.pop_front() else { break };
            held.bytes = held.bytes.saturating_sub(TailCache::bytes(&old));
            old.frames.iter().for_each(FrameEntry::forget_batch);
        }
    }

    /// Lets go of a WAL that is sealed.
    pub(crate) fn forget(&self, wal: u64) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.commits.retain(|(w, _)| *w != wal);
        held.bytes = held.commits.iter().map(|(_, c)| TailCache::bytes(c)).sum();
    }
}
