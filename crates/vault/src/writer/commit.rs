//! The preparer gives seqs, writes envelopes and hashes; the encoder compresses and encrypts. No allocation per event.

use super::Ack;
use super::blocks::FileBytes;
use super::core::Shared;
use super::pool::Pooled;
use super::queue::{Item, Pending, Reply, Work};
use super::rows::frames_of;
use crate::disk::{DiskFile, replace_file_durable};
use crate::error::VaultError;
use crate::format::envelope::Pieces;
use crate::format::event::{Salter, sha256};
use crate::format::paths;
use crate::format::wal::{
    Commit, Effort, FRAME_HEAD_BYTES, FrameHead, FrameKey, FrameWriter, Header, Kind, MAC_BYTES,
};
use crate::merkle::Hash;
use crate::read::{CommitEntry, Facts, FrameEntry, WalTail, WalTrees, wal_segment};
use bytes::Bytes;
use model::{Batch, SourcePosition};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A commit up to this size is encoded by the preparer itself when nothing is ahead of it: handing it on costs more than it saves.
const INLINE_BYTES: usize = 64 << 10;

/// A WAL file is closed at this many rows or commits as well: what is kept in memory about it (a leaf hash per row, an index
/// entry per commit) then stays below about 100 MB whatever the length of events.
const WAL_ROWS_MAX: u64 = 1 << 21;
const WAL_COMMITS_MAX: u64 = 1 << 17;

/// How long to wait between looks at a disk that is full.
pub(crate) const FULL_WAIT: Duration = Duration::from_millis(50);

/// What the encoder gets.
pub(crate) enum Draft {
    Commit(Box<DraftCommit>),
    Close(Option<Arc<WalTail>>, Option<Reply<()>>),
}

/// A commit whose events have their seqs, envelopes and hashes.
pub(crate) struct DraftCommit {
    wal: Arc<Mutex<WalEnd>>,
    frames: Vec<DraftFrame>,
    first_seq: u64,
    commit: Commit,
    waiters: Vec<(Pending, Ack)>,
    foreign_rows: u64,
}

struct DraftFrame {
    dataset: Arc<str>,
    /// Its arena is the frame's payload.
    batch: Batch,
    leaves: Vec<Hash>,
}

/// What the syncer gets.
pub(crate) enum Prepared {
    Commit(Box<PreparedCommit>),
    /// The WAL is finished: seal it, then answer.
    Close(Option<Arc<WalTail>>, Option<Reply<()>>),
}

pub(crate) struct PreparedCommit {
    pub file: Arc<dyn DiskFile>,
    pub tail: Arc<WalTail>,
    pub offset: u64,
    pub bytes: FileBytes,
    pub entry: Arc<CommitEntry>,
    pub waiters: Vec<(Pending, Ack)>,
    pub foreign_rows: u64,
}

/// A WAL file that is being filled, as the preparer knows it.
struct OpenWal {
    tail: Arc<WalTail>,
    end: Arc<Mutex<WalEnd>>,
    trees: WalTrees,
    salters: BTreeMap<Arc<str>, Salter>,
}

/// Where the file ends: what changes with every frame. Locked by whoever encodes; never by two at a time.
pub(crate) struct WalEnd {
    tail: Arc<WalTail>,
    file: Arc<dyn DiskFile>,
    writer: FrameWriter,
    offset: u64,
    /// SHA-256 of the last commit frame.
    last_commit: Hash,
    rows: u64,
    commits: u64,
    /// It was asked to be sealed for its size.
    is_full: bool,
}

/// Where the next WAL goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    pub wal: u64,
    pub seq: u64,
    pub previous: Hash,
}

pub(crate) struct Preparer {
    shared: Arc<Shared>,
    next: Start,
    wal: Option<OpenWal>,
    /// The file before, whose last commit the next header names.
    before: Option<Arc<Mutex<WalEnd>>>,
}

impl Preparer {
    pub(crate) fn new(shared: Arc<Shared>, start: Start) -> Preparer {
        Preparer { shared, next: start, wal: None, before: None }
    }

    pub(crate) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        loop {
            match shared.queue.take_work(shared.settings.commit_bytes, shared.settings.commit_wait) {
                Work::Stop => return,
                Work::Seal(reply) => self.close_wal(reply),
                Work::Commit(group, is_idle) => self.commit(group, is_idle),
            }
            if let Some(error) = shared.poisoned() {
                refuse(shared.queue.drain(), &error);
            }
        }
    }

    fn close_wal(&mut self, reply: Option<Reply<()>>) {
        let closed = self.wal.take();
        self.shared.facts.wal_since.store(0, Ordering::Release);
        let tail = closed.as_ref().map(|w| Arc::clone(&w.tail));
        self.before = closed.map(|w| w.end).or(self.before.take());
        self.shared.queue.offer_draft(Draft::Close(tail, reply));
    }

    fn commit(&mut self, group: Vec<Pending>, is_idle: bool) {
        if let Some(error) = self.shared.poisoned() {
            return refuse(group.into_iter().map(Item::Append).collect(), &error);
        }
        if self.wal.is_none() {
            match self.open_wal() {
                Ok(Some(wal)) => self.wal = Some(wal),
                // Stopping while the disk is full: the appenders are told by their dropped replies.
                Ok(None) => return,
                Err(error) => return refuse(group.into_iter().map(Item::Append).collect(), &error),
            }
        }
        let Some(wal) = &mut self.wal else { return };
        let bytes: usize = group.iter().map(|p| p.bytes).sum();
        match draft(&self.shared, wal, &mut self.next, group) {
            Some(draft) if is_idle && bytes <= INLINE_BYTES => encode(&self.shared, draft),
            Some(draft) => self.shared.queue.offer_draft(Draft::Commit(Box::new(draft))),
            // Trees have moved: going on would commit to events that are not there.
            None => self.shared.poison(format!("a row could not be written to WAL {}", wal.tail.number())),
        }
    }

    /// A new file with a new key. On a full disk it waits; `None` when the vault stops meanwhile.
    fn open_wal(&mut self) -> Result<Option<OpenWal>, VaultError> {
        loop {
            match self.create_wal() {
                Err(CreateError::Full) => {
                    self.shared.facts.is_full.store(true, Ordering::Release);
                    if !self.shared.queue.pause(FULL_WAIT) {
                        return Ok(None);
                    }
                }
                Err(CreateError::Other(e)) => return Err(e),
                Ok(wal) => return Ok(Some(wal)),
            }
        }
    }

    fn create_wal(&mut self) -> Result<OpenWal, CreateError> {
        let shared = &self.shared;
        if !has_room(shared, 0) {
            return Err(CreateError::Full);
        }
        if let Some(before) = &self.before {
            shared.queue.wait_encoded();
            self.next.previous = lock(before).last_commit;
        }
        let number = self.next.wal;
        let mut id = [0u8; 16];
        shared.host.random.fill(&mut id).map_err(VaultError::from)?;
        let context = shared.keys.context("", &wal_segment(number));
        let (dek, wrap) = shared.host.keys.generate(&context).map_err(VaultError::from)?;
        let disk = shared.host.disk.as_ref();
        let wrap_path = shared.dir.join(paths::wrap(&id));
        replace_file_durable(disk, &shared.dir, &wrap_path, &wrap)
            .map_err(|e| CreateError::new("write", &wrap_path, &e))?;
        let header = Header {
            vault: shared.id,
            shard: shared.settings.shard,
            wal: number,
            first_seq: self.next.seq,
            created: shared.now(),
            previous: self.next.previous,
            dek: id,
            key_block: Vec::new(),
        };
        let bytes = header.encode();
        let (_, length, crc) = Header::decode(&bytes)
            .map_err(|e| CreateError::Other(VaultError::corrupt(&shared.dir, e.to_string())))?;
        let path = shared.dir.join(paths::wal(number));
        let wal_folder = shared.dir.join(paths::WAL);
        let create = || -> std::io::Result<(Arc<dyn DiskFile>, std::fs::File, FrameWriter)> {
            let file = disk.create(&path)?;
            file.write_at(&bytes, 0)?;
            file.sync_data()?;
            // Else a crash could lose the name of a file that holds acknowledged events (V2).
            disk.sync_folder(&wal_folder)?;
            let writer = FrameWriter::new(FrameKey::new(&dek, crc, number))?;
            Ok((Arc::from(file), std::fs::File::open(&path)?, writer))
        };
        let (file, reading, writer) = create().map_err(|e| CreateError::new("create", &path, &e))?;
        shared.keys.keep(id, dek.clone());
        let key = FrameKey::new(&dek, crc, number);
        let tail = Arc::new(WalTail::new(header, path, reading, key, dek));
        self.next.wal += 1;
        shared.facts.wal_since.store(tail.header.created.0, Ordering::Release);
        let (offset, last_commit) = (length as u64, self.next.previous);
        let end = WalEnd {
            tail: Arc::clone(&tail),
            file,
            writer,
            offset,
            last_commit,
            rows: 0,
            commits: 0,
            is_full: false,
        };
        let end = Arc::new(Mutex::new(end));
        Ok(OpenWal { tail, end, trees: WalTrees::default(), salters: BTreeMap::new() })
    }
}

enum CreateError {
    Full,
    Other(VaultError),
}

impl CreateError {
    fn new(what: &'static str, path: &std::path::Path, e: &std::io::Error) -> CreateError {
        if e.kind() == std::io::ErrorKind::StorageFull {
            CreateError::Full
        } else {
            VaultError::io(what, path, e).into()
        }
    }
}

impl From<VaultError> for CreateError {
    fn from(e: VaultError) -> CreateError {
        CreateError::Other(e)
    }
}

/// Whether `bytes` can be written without touching the reserve.
pub(crate) fn has_room(shared: &Shared, bytes: u64) -> bool {
    // A disk that cannot say is asked by writing to it.
    let Ok(space) = shared.host.disk.space(&shared.dir) else { return true };
    space.free >= reserve(shared, space.total).saturating_add(bytes)
}

pub(crate) fn reserve(shared: &Shared, total: u64) -> u64 {
    let share = total / 100 * u64::from(shared.settings.reserve_percent);
    shared.settings.reserve_bytes.max(share)
}

pub(crate) fn refuse(items: Vec<Item>, error: &VaultError) {
    for item in items {
        match item {
            Item::Append(Pending { reply: Some(reply), .. }) => drop(reply.send(Err(error.clone()))),
            Item::Seal(Some(reply)) => drop(reply.send(Err(error.clone()))),
            Item::Append(_) | Item::Seal(None) => {}
        }
    }
}

/// Later values of a key replace earlier ones; order by key (O1).
fn positions_of(group: &[Pending]) -> Vec<SourcePosition> {
    let mut out: BTreeMap<&Arc<str>, &SourcePosition> = BTreeMap::new();
    for p in group.iter().flat_map(|p| p.batch.positions.iter()) {
        out.insert(&p.key, p);
    }
    out.into_values().cloned().collect()
}

/// Gives seqs and hashes to a group; `None` when a row cannot be written.
fn draft(shared: &Shared, wal: &mut OpenWal, next: &mut Start, group: Vec<Pending>) -> Option<DraftCommit> {
    let first_seq = next.seq;
    let mut seq = first_seq;
    let (rows_of, acks) = frames_of(shared, &wal.tail, &mut wal.salters, &mut seq, &group)?;
    let (mut frames, mut foreign_rows) = (Vec::with_capacity(rows_of.len()), 0);
    for frame in rows_of {
        let dataset = frame.dataset;
        if !dataset.starts_with("avouch.") {
            foreign_rows += frame.rows.len() as u64;
        }
        wal.trees.extend(&dataset, &frame.leaves);
        let batch = Batch {
            arena: Bytes::from_owner(Pooled::new(frame.payload, &shared.pool)),
            rows: Arc::new(frame.rows),
            provenances: Arc::new(frame.provenances),
            datasets: Arc::new(vec![Arc::clone(&dataset)]),
            positions: Arc::default(),
        };
        frames.push(DraftFrame { dataset, batch, leaves: frame.leaves });
    }
    let commit =
        Commit { end_seq: seq, positions: positions_of(&group), root: wal.trees.root(), mac: [0; MAC_BYTES] };
    next.seq = seq;
    let waiters = group.into_iter().zip(acks).collect();
    Some(DraftCommit { wal: Arc::clone(&wal.end), frames, first_seq, commit, waiters, foreign_rows })
}

/// The encoder's thread.
pub(crate) fn run_encoder(shared: &Shared) {
    while let Some(draft) = shared.queue.take_draft() {
        match draft {
            Draft::Commit(draft) => encode(shared, *draft),
            Draft::Close(tail, reply) => {
                shared.facts.wal_bytes.store(0, Ordering::Release);
                shared.queue.offer(Prepared::Close(tail, reply));
            }
        }
    }
}

/// Makes the bytes of a commit and hands it to the syncer.
fn encode(shared: &Shared, draft: DraftCommit) {
    let DraftCommit { wal, frames, first_seq, commit, waiters, foreign_rows } = draft;
    let mut wal = lock(&wal);
    let payload = frames.iter().map(|f| f.batch.arena.len()).sum();
    let effort = shared.queue.effort(payload);
    match frame_bytes(shared, &mut wal, effort, frames, first_seq, commit) {
        Ok((bytes, entry)) => {
            let offset = wal.offset;
            wal.offset = entry.end_offset;
            wal.last_commit = entry.hash;
            shared.facts.wal_bytes.store(wal.offset, Ordering::Release);
            wal.rows += entry.end_seq - entry.first_seq;
            wal.commits += 1;
            let is_full = wal.offset >= shared.settings.seal_bytes
                || wal.rows >= WAL_ROWS_MAX
                || wal.commits >= WAL_COMMITS_MAX;
            if is_full && !wal.is_full {
                wal.is_full = true;
                shared.queue.push_seal(None);
            }
            let (file, tail) = (Arc::clone(&wal.file), Arc::clone(&wal.tail));
            let entry = Arc::new(entry);
            let prepared = PreparedCommit { file, tail, offset, bytes, entry, waiters, foreign_rows };
            shared.queue.offer(Prepared::Commit(Box::new(prepared)));
        }
        Err(e) => {
            // Frame numbers have moved: going on could repeat a nonce.
            shared.poison(format!("cannot encode a commit of `{}`: {e}", wal.tail.path.display()));
            if let Some(error) = shared.poisoned() {
                refuse(waiters.into_iter().map(|(p, _)| Item::Append(p)).collect(), &error);
            }
        }
    }
}

fn frame_bytes(
    shared: &Shared,
    wal: &mut WalEnd,
    effort: Effort,
    frames: Vec<DraftFrame>,
    first_seq: u64,
    commit: Commit,
) -> std::io::Result<(FileBytes, CommitEntry)> {
    let malformed = || std::io::Error::other("a frame is malformed");
    wal.writer.set_effort(effort)?;
    let payload: usize = frames.iter().map(|f| f.batch.arena.len()).sum();
    let commit_frame = commit.encode();
    // With checksums and heads; compressed logs are less than half.
    let stored = if effort == Effort::None { payload + payload / 1024 } else { payload / 2 };
    let buffer = shared.pool.take(FileBytes::room(stored + commit_frame.len() + 1024));
    let mut bytes = FileBytes::new(buffer, wal.offset);
    let (mut entries, mut rows) = (Vec::with_capacity(frames.len()), 0u32);
    for DraftFrame { dataset, batch, leaves } in frames {
        let Some(low) = batch.rows.first().map(|r| r.seq) else { continue };
        let n = u32::try_from(batch.len()).map_err(|_| malformed())?;
        rows = rows.checked_add(n).ok_or_else(malformed)?;
        let (at, number, start) = (wal.offset + bytes.len() as u64, wal.writer.number(), bytes.len());
        wal.writer.write(Kind::Batch, low, n, &batch.arena, bytes.end())?;
        let head = bytes.bytes().get(start..).and_then(<[u8]>::first_chunk::<FRAME_HEAD_BYTES>);
        let head = head.and_then(|h| FrameHead::decode(h).ok().flatten()).ok_or_else(malformed)?;
        let entry = FrameEntry::new(dataset, at, number, head, Facts::of(&batch));
        entry.cache(batch, leaves);
        entries.push(entry);
    }
    let start = bytes.len();
    wal.writer.write(Kind::Commit, first_seq, rows, &commit_frame, bytes.end())?;
    let entry = CommitEntry {
        first_seq,
        end_seq: commit.end_seq,
        frames: entries,
        hash: sha256(bytes.bytes().get(start..).unwrap_or_default()),
        positions: commit.positions,
        root: commit.root,
        mac: commit.mac,
        end_offset: wal.offset + bytes.len() as u64,
    };
    Ok((bytes, entry))
}

fn lock(wal: &Mutex<WalEnd>) -> MutexGuard<'_, WalEnd> {
    wal.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What `append` checks before anything is queued: the whole batch is refused or taken. Gives its bytes with envelopes.
pub(crate) fn check(shared: &Shared, batch: &Batch) -> Result<usize, VaultError> {
    for (index, p) in batch.provenances.iter().enumerate() {
        if let Some(origin) = &p.origin {
            // The envelope takes it over without parsing, so it must be canonical here.
            let value: Option<serde_json::Value> = serde_json::from_str(origin).ok();
            let canonical =
                value.filter(serde_json::Value::is_object).and_then(|v| model::canonical::to_vec(&v).ok());
            if canonical.as_deref() != Some(origin.as_bytes()) {
                return Err(VaultError::BadOrigin { index });
            }
        }
    }
    let envelopes: Vec<usize> =
        batch.provenances.iter().map(|p| Pieces::new(p, "").len_max() + 130).collect();
    let mut bytes = 0usize;
    let mut good = None;
    for (index, row) in batch.rows.iter().enumerate() {
        let n = batch.bytes(row.raw).len();
        if n > shared.settings.event_bytes_max {
            return Err(VaultError::EventTooLarge { index, bytes: n, max: shared.settings.event_bytes_max });
        }
        if good != Some(row.dataset) {
            let name = batch.datasets.get(usize::from(row.dataset)).map_or("", |d| d);
            if !paths::is_dataset(name) {
                return Err(VaultError::BadDataset { index, name: name.to_owned() });
            }
            good = Some(row.dataset);
        }
        let envelope = envelopes.get(row.provenance as usize).copied().unwrap_or(256);
        bytes = bytes.saturating_add(n + envelope + row.natural_key.len() + 32);
    }
    let max = super::settings::BATCH_BYTES_MAX;
    if bytes > max { Err(VaultError::BatchTooLarge { bytes, max }) } else { Ok(bytes) }
}
