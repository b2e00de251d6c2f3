//! The reader half: opening a vault, its segments and its unsealed tail, and reading on from a seq. Never imports the writer (V4).

mod keyring;
pub(crate) mod merge;
pub(crate) mod reader;
mod scan;
pub mod segment;
mod select;
pub mod state;
mod tail;

pub use keyring::{KeyRing, dek_text, wal_segment};
pub use reader::{Live, Reader};
pub(crate) use scan::holds_whole_commit;
pub use scan::{Damage, Scan, scan};
pub use select::{Selection, closeness, glob};
pub use tail::{CommitEntry, Facts, FrameEntry, Hashed, TailCache, WalTail, WalTrees};

use crate::columns;
use crate::error::{KeyError, VaultError};
use crate::format::leaf::{Encryption, Segment};
use crate::format::{VaultJson, paths};
use crate::traits::{Derive, KeyProvider};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use model::{Batch, Columns, EventId, Time};
use parquet::encryption::decrypt::FileDecryptionProperties;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One sealed Parquet file.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentMeta {
    /// Index of its leaf in the log.
    pub leaf: u64,
    /// Time of that leaf.
    pub committed: Time,
    pub path: PathBuf,
    pub dataset: Arc<str>,
    /// UTC day of received time.
    pub day: Arc<str>,
    pub rows: u64,
    pub bytes: u64,
    /// Lowest and highest, inclusive.
    pub seq: (u64, u64),
    pub received: (Time, Time),
    pub event_time: Option<(Time, Time)>,
    pub encryption: Encryption,
    /// Everything else the leaf says.
    pub info: Arc<Segment>,
}

impl SegmentMeta {
    #[must_use]
    pub fn new(dir: &Path, leaf: u64, committed: Time, s: &Segment) -> SegmentMeta {
        SegmentMeta {
            leaf,
            committed,
            path: dir.join(&s.path),
            dataset: s.dataset.as_str().into(),
            day: s.day.as_str().into(),
            rows: s.rows,
            bytes: s.bytes,
            seq: s.seq.into(),
            received: s.received.into(),
            event_time: s.event_time.map(Into::into),
            encryption: s.encryption,
            info: Arc::new(s.clone()),
        }
    }

    /// `42-0`.
    #[must_use]
    pub fn name(&self) -> &str {
        paths::segment_of(&self.info.path)
    }
}

/// A vault at one moment: nothing in it changes. Cheap to clone.
#[derive(Clone)]
pub struct Snapshot {
    pub(crate) segments: Arc<Vec<Arc<SegmentMeta>>>,
    pub(crate) missing: Arc<Vec<Arc<SegmentMeta>>>,
    pub(crate) tails: Vec<(Arc<WalTail>, usize)>,
    pub(crate) tree_size: u64,
    pub(crate) keys: Arc<KeyRing>,
    pub(crate) derive: Arc<dyn Derive>,
    pub(crate) notes: Arc<Vec<String>>,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("segments", &self.segments.len())
            .field("tails", &self.tails.len())
            .field("end_seq", &self.end_seq())
            .finish_non_exhaustive()
    }
}

impl Snapshot {
    /// Sealed files, in the order of their leaves.
    #[must_use]
    pub fn segments(&self) -> &[Arc<SegmentMeta>] {
        &self.segments
    }
    /// Segments that the log names and the disk does not have: an answer over the rest is incomplete.
    #[must_use]
    pub fn missing(&self) -> &[Arc<SegmentMeta>] {
        &self.missing
    }
    /// What could not be looked at, one sentence each.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
    /// Leaves of the log that this view knows.
    #[must_use]
    pub fn tree_size(&self) -> u64 {
        self.tree_size
    }
    /// One past the last acknowledged seq.
    #[must_use]
    pub fn end_seq(&self) -> u64 {
        let sealed = self.segments.iter().map(|s| s.info.range[1]).max().unwrap_or(0);
        let tails = self.tails.iter().filter_map(|(t, n)| t.commit(n.checked_sub(1)?).map(|c| c.end_seq));
        tails.max().unwrap_or(0).max(sealed)
    }
    /// Names of all datasets with events, sorted.
    #[must_use]
    pub fn datasets(&self) -> Vec<Arc<str>> {
        let mut out: BTreeSet<Arc<str>> = self.segments.iter().map(|s| Arc::clone(&s.dataset)).collect();
        out.extend(self.frames().iter().filter_map(|f| f.entry().map(|e| Arc::clone(&e.dataset))));
        out.into_iter().collect()
    }
    /// Sealed files of one dataset, in the order of their leaves.
    #[must_use]
    pub fn segments_of(&self, dataset: &str) -> Vec<Arc<SegmentMeta>> {
        self.segments.iter().filter(|s| &*s.dataset == dataset).cloned().collect()
    }

    fn frames(&self) -> Vec<TailFrame> {
        let mut out = Vec::new();
        for (tail, n) in &self.tails {
            for commit in tail.first_commits(*n) {
                for index in 0..commit.frames.len() {
                    out.push(TailFrame { tail: Arc::clone(tail), commit: Arc::clone(&commit), index });
                }
            }
        }
        out
    }

    /// Bounds over the unsealed events of `dataset`; `None` when there are none.
    #[must_use]
    pub fn tail_facts(&self, dataset: &str) -> Option<Facts> {
        let frames = self.frames();
        let facts = frames.iter().filter_map(TailFrame::entry).filter(|f| &*f.dataset == dataset);
        facts.map(|f| f.facts).reduce(Facts::and)
    }

    /// The unsealed events of `dataset`, in seq order, small commits put together.
    ///
    /// # Errors
    /// A WAL file cannot be read back.
    pub fn tail(&self, dataset: &str) -> Result<Vec<Batch>, VaultError> {
        let (mut out, mut merger) = (Vec::new(), merge::Merger::default());
        for f in self.frames() {
            let Some(frame) = f.entry().filter(|e| &*e.dataset == dataset) else { continue };
            out.extend(merger.add(f.tail.batch(frame)?));
        }
        out.extend(merger.flush());
        Ok(out)
    }

    /// Schema of `dataset`'s files and of its tail.
    #[must_use]
    pub fn schema(&self, dataset: &str) -> SchemaRef {
        columns::schema_of(dataset, self.derive.as_ref())
    }

    /// The derived columns of a batch of `dataset`.
    #[must_use]
    pub fn derive(&self, dataset: &str, batch: &Batch) -> Columns {
        self.derive.derive(dataset, batch)
    }

    /// A batch of `dataset` with its columns as a record batch of [`Snapshot::schema`].
    ///
    /// # Errors
    /// More than 2 GiB in one column.
    pub fn to_arrow(
        &self,
        dataset: &str,
        batch: &Batch,
        columns: &Columns,
    ) -> Result<RecordBatch, VaultError> {
        columns::to_arrow(&self.schema(dataset), batch, Some(columns))
            .map_err(|e| VaultError::Corrupt { path: dataset.to_owned(), why: e.to_string() })
    }

    /// What a Parquet reader needs to open the segment; `None` for a plain file.
    ///
    /// # Errors
    /// The data key cannot be had.
    pub fn decryption_properties(
        &self,
        meta: &SegmentMeta,
    ) -> Result<Option<Arc<FileDecryptionProperties>>, VaultError> {
        decryption_properties(&self.keys, meta)
    }

    /// Batches of one segment, from the first row whose seq is at least `from`.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open_segment(&self, meta: &SegmentMeta, from: u64) -> Result<segment::SegmentBatches, VaultError> {
        segment::open(meta, self.decryption_properties(meta)?, from)
    }

    /// The event with this seq, alone in a batch, and the segment it is sealed in.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn event_at(&self, seq: u64) -> Result<Option<StoredEvent>, VaultError> {
        for f in self.frames() {
            if !(f.commit.first_seq..f.commit.end_seq).contains(&seq) {
                continue;
            }
            let Some(frame) = f.entry() else { continue };
            let batch = merge::between(&f.tail.batch(frame)?, seq, seq + 1);
            if !batch.is_empty() {
                return Ok(Some(StoredEvent { batch, segment: None }));
            }
        }
        for meta in self.segments.iter().filter(|s| (s.seq.0..=s.seq.1).contains(&seq)) {
            let first = self.open_segment(meta, seq)?.next().transpose()?;
            let batch = first.map(|b| merge::between(&b, seq, seq + 1)).unwrap_or_default();
            if !batch.is_empty() {
                return Ok(Some(StoredEvent { batch, segment: Some(Arc::clone(meta)) }));
            }
        }
        Ok(None)
    }

    /// The event with this id, newest first where an origin was delivered twice. Reads the id column of every segment until it is
    /// found: indexes come later.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn find_event(&self, id: EventId) -> Result<Option<StoredEvent>, VaultError> {
        for f in self.frames().into_iter().rev() {
            let Some(frame) = f.entry() else { continue };
            let batch = f.tail.batch(frame)?;
            if let Some(at) = batch.rows.iter().position(|r| r.id == id) {
                return Ok(Some(StoredEvent { batch: merge::slice(&batch, at, at + 1), segment: None }));
            }
        }
        for meta in self.segments.iter().rev() {
            if let Some(seq) = segment::find(meta, self.decryption_properties(meta)?, id)? {
                return self.event_at(seq);
            }
        }
        Ok(None)
    }
}

/// A frame of the unsealed tail.
struct TailFrame {
    tail: Arc<WalTail>,
    commit: Arc<CommitEntry>,
    index: usize,
}

impl TailFrame {
    fn entry(&self) -> Option<&FrameEntry> {
        self.commit.frames.get(self.index)
    }
}

/// An event that was asked for by seq or id.
#[derive(Clone, Debug)]
pub struct StoredEvent {
    /// One row.
    pub batch: Batch,
    /// `None` while it is not sealed.
    pub segment: Option<Arc<SegmentMeta>>,
}

/// What a Parquet reader needs to open the segment; `None` for a plain file.
///
/// # Errors
/// The data key cannot be had.
pub fn decryption_properties(
    keys: &KeyRing,
    meta: &SegmentMeta,
) -> Result<Option<Arc<FileDecryptionProperties>>, VaultError> {
    if meta.encryption == Encryption::Sse {
        return Ok(None);
    }
    let id = meta.info.dek.as_deref().and_then(crate::format::parse_hex16);
    let id = id.ok_or_else(|| VaultError::corrupt(&meta.path, "its leaf names no data key"))?;
    let dek = keys.dek(&id, &meta.dataset, meta.name())?;
    let aad = paths::aad_prefix(keys.vault(), &meta.dataset, meta.name());
    let properties =
        FileDecryptionProperties::builder(dek.bytes().to_vec()).with_aad_prefix(aad.into_bytes()).build();
    properties.map(Some).map_err(|e| VaultError::corrupt(&meta.path, e.to_string()))
}

/// Opens the vault folder `dir` for reading, beside a running daemon or without one. Without `keys` the encrypted parts stay
/// closed, and the snapshot's notes say so.
///
/// # Errors
/// `dir` is no vault, or its log cannot be read.
pub fn open(
    dir: &Path,
    keys: Option<Arc<dyn KeyProvider>>,
    derive: Arc<dyn Derive>,
) -> Result<Snapshot, VaultError> {
    let json =
        VaultJson::read(dir)?.ok_or_else(|| VaultError::NoVault { path: dir.display().to_string() })?;
    let keys = Arc::new(KeyRing::new(dir, &json.vault, keys));
    // WAL files first: one that is sealed and removed meanwhile is then found in the log, never lost between the two.
    let (mut tails, mut notes) = (Vec::new(), Vec::new());
    for path in wal_files(dir)? {
        match scan(&path, &keys) {
            Ok(Some(found)) if found.tail.commits() > 0 => tails.push(Arc::new(found.tail)),
            Ok(_) => {}
            Err(VaultError::Io { .. }) if !path.exists() => {}
            Err(VaultError::Key(e @ (KeyError::NotGiven { .. } | KeyError::Gone { .. }))) => {
                notes.push(format!("unsealed events are not shown: {e}"));
            }
            Err(e) => return Err(e),
        }
    }
    let size = state::read_checkpoint(dir, None)?.map_or(0, |c| c.size);
    let log = state::load(dir, size)?;
    tails.retain(|t| !log.sealed_wals.contains(&t.number()));
    let (segments, missing): (Vec<_>, Vec<_>) = log.live.into_values().partition(|s| s.path.is_file());
    Ok(Snapshot {
        segments: Arc::new(segments),
        missing: Arc::new(missing),
        tails: tails.into_iter().map(|t| (Arc::clone(&t), t.commits())).collect(),
        tree_size: size,
        keys,
        derive,
        notes: Arc::new(notes),
    })
}

/// WAL files of a vault, by number.
///
/// # Errors
/// The folder cannot be listed.
pub fn wal_files(dir: &Path) -> Result<Vec<PathBuf>, VaultError> {
    let folder = dir.join(paths::WAL);
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(VaultError::io("list", &folder, &e)),
    };
    let mut out = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| VaultError::io("list", &folder, &e))?;
        let number = entry.file_name().to_str().and_then(paths::wal_number);
        out.extend(number.map(|n| (n, entry.path())));
    }
    out.sort();
    Ok(out.into_iter().map(|(_, p)| p).collect())
}
