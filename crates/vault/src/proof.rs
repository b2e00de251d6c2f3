//! The proof of one event: a `.tlog-proof` (https://c2sp.org/tlog-proof) of the leaf that covers it, whose `extra` leads from
//! that leaf down to the event.
//!
//! Two leaves can cover an event. Once it is sealed that is its *segment* leaf. Before, within one rhythm of its append, it is
//! a *heartbeat* leaf with the WAL root so far: an early receipt, which needs one more step (event → dataset root → WAL root).
//! Both verify for ever, whatever happens to other data: they carry hashes and this event's own envelope, nothing else.
//!
//! `extra` is outside the signature. Nothing in it is believed: every part is hashed up to the signed root.

use crate::error::VaultError;
use crate::format::envelope::{Pieces, Received, write_row};
use crate::format::event::{DatasetRoot, SALT_BYTES, Salter, event_leaf, sha256, wal_root};
use crate::format::leaf::{Body, Heartbeat, Leaf, LeafFault, Segment};
use crate::format::{Digest, paths};
use crate::merkle::{
    Checkpoint, Hash, MerkleError, NOTE_BYTES_MAX, Note, PROOF_LINES_MAX, TileReader, TlogProof, Vkey, hex,
    inclusion_path, inclusion_proof, leaf_hash, root_from_inclusion, root_of, verify_inclusion,
};
use crate::read::segment::SegmentSeed;
use crate::read::{SegmentMeta, Snapshot, WalTail};
use crate::sha256::{BATCH, digests};
use model::{Batch, Row, Time};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Version of the `extra` object.
const EXTRA_VERSION: u32 = 1;
/// Entries looked at, from the end of the log back, for a heartbeat that covers an unsealed event: with a segment leaf now and
/// then, an hour of heartbeats at the shortest rhythm.
const HEARTBEATS_BACK: u64 = 4_096;

/// Why there is no proof, or why it does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    #[error("there is no event with seq {seq}")]
    NoEvent { seq: u64 },
    #[error("event {seq} is not under a signed checkpoint yet")]
    NotYet { seq: u64 },
    #[error("the events of `{path}` do not hash to their leaf")]
    Damaged { path: String },
    #[error("the proof is malformed: {why}")]
    Malformed { why: String },
    #[error("the raw bytes are not those of the event: SHA-256 {found} instead of {expected}")]
    OtherRaw { expected: Digest, found: Digest },
    #[error("the checkpoint is of log `{found}`, the key of `{expected}`")]
    OtherLog { expected: String, found: String },
    #[error(transparent)]
    Merkle(#[from] MerkleError),
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl From<LeafFault> for ProofError {
    fn from(e: LeafFault) -> ProofError {
        ProofError::Malformed { why: e.to_string() }
    }
}

impl ProofError {
    /// Stable code, `area.reason`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            ProofError::NoEvent { .. } => "proof.no_event",
            ProofError::NotYet { .. } => "proof.not_yet",
            ProofError::Damaged { .. } => "proof.damaged",
            ProofError::Malformed { .. } => "proof.malformed",
            ProofError::OtherRaw { .. } => "proof.other_raw",
            ProofError::OtherLog { .. } => "proof.other_log",
            ProofError::Merkle(e) => e.code(),
            ProofError::Vault(e) => e.code(),
        }
    }

    /// What a person can do next.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            ProofError::NoEvent { .. } => "search for the event again; it may have expired".into(),
            ProofError::NotYet { .. } => {
                "ask again after the next heartbeat (`vault.rhythm.heartbeat`)".into()
            }
            ProofError::Damaged { .. } => {
                "run `avouch verify --level events` to see which events are affected".into()
            }
            ProofError::Malformed { .. } => "get the proof again from where it was issued".into(),
            ProofError::OtherRaw { .. } => {
                "give the event's bytes exactly as they were received, without an added newline".into()
            }
            ProofError::OtherLog { .. } => "give the key of the log that issued the proof".into(),
            ProofError::Merkle(e) => e.hint().to_owned(),
            ProofError::Vault(e) => e.hint(),
        }
    }
}

/// The object behind `extra`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Extra {
    v: u32,
    /// The leaf, as JSON: its canonical bytes are the log's entry.
    leaf: Value,
    event: EventPart,
    /// Early receipts only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    row: Option<RowPart>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventPart {
    index: u64,
    size: u64,
    path: Vec<Digest>,
    /// Hex.
    salt: String,
    envelope: Value,
    raw_sha256: Digest,
}

/// The row of the event's dataset in the WAL tree. Its name is the envelope's, its root and rows follow from the event.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RowPart {
    index: u64,
    size: u64,
    path: Vec<Digest>,
}

/// What a proof shows.
#[derive(Clone, PartialEq, Debug)]
pub struct Checked {
    /// Name of the log.
    pub origin: String,
    /// Leaves under the checkpoint, and its root.
    pub size: u64,
    pub root: Digest,
    /// The leaf that covers the event.
    pub leaf_index: u64,
    pub leaf_time: Time,
    pub covered_by: Covered,
    pub dataset: String,
    pub seq: u64,
    pub received: Time,
    pub raw_sha256: Digest,
    /// The event's envelope, every part of it proven.
    pub envelope: Value,
}

/// The leaf that covers an event.
#[derive(Clone, PartialEq, Debug)]
pub enum Covered {
    Segment(Box<Segment>),
    Heartbeat(Heartbeat),
}

/// Checks a proof with nothing but the event's bytes and the log's key.
///
/// # Errors
/// It does not prove that this log holds these bytes.
pub fn check(proof: &[u8], raw: &[u8], vkey: &Vkey) -> Result<Checked, ProofError> {
    let proof = TlogProof::parse(proof)?;
    let signed = Checkpoint::open(proof.checkpoint.as_bytes(), std::slice::from_ref(vkey))?.checkpoint;
    if signed.origin != vkey.name() {
        return Err(ProofError::OtherLog { expected: vkey.name().to_owned(), found: signed.origin });
    }
    let extra = read_extra(proof.extra.as_deref())?;
    let entry = canonical(&extra.leaf)?;
    verify_inclusion(&leaf_hash(&entry), proof.index, signed.size, &proof.path, &signed.root)?;
    let leaf = Leaf::decode(&entry)?;

    let found = Digest(sha256(raw));
    let event = &extra.event;
    if found != event.raw_sha256 {
        return Err(ProofError::OtherRaw { expected: event.raw_sha256, found });
    }
    let salt = read_salt(&event.salt)?;
    let hash = event_leaf(&salt, &sha256(&canonical(&event.envelope)?), &found.0);
    let text = |key: &str| event.envelope.get(key).and_then(Value::as_str);
    let dataset = text("dataset").ok_or_else(|| malformed("the envelope names no dataset"))?.to_owned();
    let seq = event
        .envelope
        .get("seq")
        .and_then(Value::as_u64)
        .ok_or_else(|| malformed("the envelope has no seq"))?;
    let received = text("received").and_then(|t| Time::parse_rfc3339(t.as_bytes()));
    let received = received.ok_or_else(|| malformed("the envelope has no received time"))?;
    let path: Vec<Hash> = event.path.iter().map(|d| d.0).collect();
    let covered_by = match (leaf.body, extra.row) {
        (Body::Segment(s), None) => {
            if s.rows != event.size || s.dataset != dataset || !(s.seq[0]..=s.seq[1]).contains(&seq) {
                return Err(malformed("the event does not fit the segment of its leaf"));
            }
            verify_inclusion(&hash, event.index, event.size, &path, &s.event_root.0)?;
            Covered::Segment(s)
        }
        (Body::Heartbeat(h), Some(row)) => {
            let root = h.wal_root.ok_or_else(|| malformed("the heartbeat states no WAL root"))?;
            if seq >= h.seq {
                return Err(malformed("the event is newer than the heartbeat"));
            }
            let dataset_root = root_from_inclusion(&hash, event.index, event.size, &path)?;
            let of = DatasetRoot { dataset: &dataset, root: dataset_root, rows: event.size };
            let path: Vec<Hash> = row.path.iter().map(|d| d.0).collect();
            verify_inclusion(&leaf_hash(&of.row()), row.index, row.size, &path, &root.0)?;
            Covered::Heartbeat(h)
        }
        _ => return Err(malformed("the leaf is neither a segment nor a heartbeat with its row")),
    };
    Ok(Checked {
        origin: signed.origin,
        size: signed.size,
        root: Digest(signed.root),
        leaf_index: proof.index,
        leaf_time: leaf.time,
        covered_by,
        dataset,
        seq,
        received,
        raw_sha256: found,
        envelope: extra.event.envelope,
    })
}

fn malformed(why: &str) -> ProofError {
    ProofError::Malformed { why: why.to_owned() }
}

fn canonical(value: &Value) -> Result<Vec<u8>, ProofError> {
    model::canonical::to_vec(value).map_err(|e| ProofError::Malformed { why: e.to_string() })
}

fn read_extra(bytes: Option<&[u8]>) -> Result<Extra, ProofError> {
    let bytes = bytes.ok_or_else(|| malformed("no extra line"))?;
    let value: Value =
        serde_json::from_slice(bytes).map_err(|e| ProofError::Malformed { why: e.to_string() })?;
    // One proof has one text: otherwise two readers could see two values under one key.
    if canonical(&value)? != bytes {
        return Err(malformed("extra is not in canonical form"));
    }
    let extra: Extra =
        serde_json::from_value(value).map_err(|e| ProofError::Malformed { why: e.to_string() })?;
    if extra.v != EXTRA_VERSION {
        return Err(ProofError::Malformed { why: format!("version {} is unknown", extra.v) });
    }
    let longest = extra.event.path.len().max(extra.row.as_ref().map_or(0, |r| r.path.len()));
    if longest > PROOF_LINES_MAX {
        return Err(malformed("a path of more than 63 hashes"));
    }
    Ok(extra)
}

fn read_salt(text: &str) -> Result<[u8; SALT_BYTES], ProofError> {
    crate::format::parse_hex16(text).ok_or_else(|| malformed("the salt is not 32 hex digits"))
}

/// Hashes rows into event leaves. Envelopes of one provenance share their constant parts.
#[derive(Debug)]
pub(crate) struct RowHasher {
    salters: Vec<(Range<u64>, Salter)>,
    envelopes: Vec<u8>,
}

impl RowHasher {
    pub(crate) fn new(seeds: &[SegmentSeed]) -> RowHasher {
        let salters = seeds.iter().map(|s| (s.from..s.to, Salter::new(&s.seed))).collect();
        RowHasher { salters, envelopes: Vec::new() }
    }

    fn salter(&self, seq: u64) -> Option<(&Range<u64>, &Salter)> {
        self.salters.iter().find(|(range, _)| range.contains(&seq)).map(|(range, salter)| (range, salter))
    }

    /// The leaves of all rows; `None` when a row has no seed.
    pub(crate) fn leaves(&mut self, batch: &Batch, out: &mut Vec<Hash>) -> Option<()> {
        let mut pieces: BTreeMap<(u32, u16), Pieces> = BTreeMap::new();
        let mut received = Received::default();
        let mut text = std::mem::take(&mut self.envelopes);
        let (mut envelopes, mut raws) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
        let mut first = 0;
        for rows in batch.rows.chunks(BATCH) {
            text.clear();
            envelopes.clear();
            raws.clear();
            let mut ends = Vec::with_capacity(BATCH);
            for (i, row) in rows.iter().enumerate() {
                let piece = pieces.entry((row.provenance, row.dataset)).or_insert_with(|| {
                    Pieces::new(batch.provenance_of(first + i), batch.dataset_of(first + i))
                });
                let start = text.len();
                write_row(piece, row, &mut received, &mut text);
                ends.push(start..text.len());
            }
            digests(ends.into_iter().map(|span| text.get(span).unwrap_or_default()), &mut envelopes);
            digests(rows.iter().map(|row| batch.bytes(row.raw)), &mut raws);
            self.salted(rows, &envelopes, &raws, out)?;
            first += rows.len();
        }
        self.envelopes = text;
        Some(())
    }

    /// Rows with the same salter follow each other, with few exceptions.
    fn salted(&self, rows: &[Row], envelopes: &[Hash], raws: &[Hash], out: &mut Vec<Hash>) -> Option<()> {
        let mut from = 0;
        while let Some(row) = rows.get(from) {
            let (range, salter) = self.salter(row.seq)?;
            let n = rows.iter().skip(from).take_while(|r| range.contains(&r.seq)).count();
            let seqs: Vec<u64> = rows.iter().skip(from).take(n).map(|r| r.seq).collect();
            salter.leaves(&seqs, envelopes.get(from..)?, raws.get(from..)?, out);
            from += n;
        }
        Some(())
    }
}

/// Proofs of events, each as the text of a `.tlog-proof` file, in the order asked for. All events of one segment cost one
/// reading of that segment.
///
/// # Errors
/// An event does not exist, is not under a checkpoint yet, or its segment is damaged.
pub fn make(dir: &Path, snapshot: &Snapshot, seqs: &[u64]) -> Result<Vec<String>, ProofError> {
    let log = Log::open(dir)?;
    let wanted: BTreeSet<u64> = seqs.iter().copied().collect();
    let mut proofs: BTreeMap<u64, String> = BTreeMap::new();
    for &seq in &wanted {
        if proofs.contains_key(&seq) {
            continue;
        }
        let stored = snapshot.event_at(seq)?.ok_or(ProofError::NoEvent { seq })?;
        match stored.segment {
            Some(meta) => sealed(&log, snapshot, &meta, &wanted, &mut proofs)?,
            None => {
                proofs.insert(seq, early(&log, snapshot, seq, &stored.batch)?);
            }
        }
    }
    let found = seqs.iter().map(|seq| proofs.get(seq).cloned().ok_or(ProofError::NoEvent { seq: *seq }));
    found.collect()
}

type DirTiles = Box<dyn Fn(&str) -> std::io::Result<Option<Vec<u8>>> + Send + Sync>;

/// The signed log.
struct Log {
    note: String,
    size: u64,
    root: Hash,
    tiles: TileReader<DirTiles>,
}

impl Log {
    fn open(dir: &Path) -> Result<Log, ProofError> {
        let path = dir.join(paths::CHECKPOINT);
        let bytes = std::fs::read(&path).map_err(|e| VaultError::io("read", &path, &e))?;
        if bytes.len() > NOTE_BYTES_MAX {
            return Err(VaultError::corrupt(&path, "larger than 1 MiB").into());
        }
        let note = Note::parse(&bytes)?;
        let checkpoint = Checkpoint::parse(&note.text)?;
        let folder = dir.join(paths::LOG);
        let read: DirTiles = Box::new(move |path| match std::fs::read(folder.join(path)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        });
        let tiles = TileReader::new(read, checkpoint.size);
        Ok(Log { note: note.to_string(), size: checkpoint.size, root: checkpoint.root, tiles })
    }

    /// The proof of entry `index` with `extra` under it. Checked before it is handed out: a proof that does not hold would be
    /// an accusation against ourselves.
    fn prove(
        &self,
        index: u64,
        entry: &[u8],
        event: EventPart,
        row: Option<RowPart>,
    ) -> Result<String, ProofError> {
        let path = inclusion_proof(&self.tiles, index, self.size)?;
        verify_inclusion(&leaf_hash(entry), index, self.size, &path, &self.root)?;
        let leaf = serde_json::from_slice(entry).map_err(|e| ProofError::Malformed { why: e.to_string() })?;
        let extra = Extra { v: EXTRA_VERSION, leaf, event, row };
        let value = serde_json::to_value(&extra).map_err(|e| ProofError::Malformed { why: e.to_string() })?;
        let proof = TlogProof { extra: Some(canonical(&value)?), index, path, checkpoint: self.note.clone() };
        Ok(proof.to_text())
    }
}

/// The part of a proof about row `i` of `batch`.
fn event_part(
    batch: &Batch,
    i: usize,
    salter: &Salter,
    leaves: &[Hash],
    index: usize,
) -> Result<EventPart, ProofError> {
    let row = batch.rows.get(i).ok_or_else(|| malformed("no such row"))?;
    let envelope = crate::format::envelope::of(batch, i);
    let path = inclusion_path(leaves, index as u64).ok_or_else(|| malformed("no such event"))?;
    Ok(EventPart {
        index: index as u64,
        size: leaves.len() as u64,
        path: path.into_iter().map(Digest).collect(),
        salt: hex(&salter.salt(row.seq)),
        envelope: serde_json::from_slice(&envelope)
            .map_err(|e| ProofError::Malformed { why: e.to_string() })?,
        raw_sha256: Digest(sha256(batch.raw(i))),
    })
}

fn sealed(
    log: &Log,
    snapshot: &Snapshot,
    meta: &SegmentMeta,
    wanted: &BTreeSet<u64>,
    proofs: &mut BTreeMap<u64, String>,
) -> Result<(), ProofError> {
    if meta.leaf >= log.size {
        let seq = wanted.range(meta.seq.0..).next().copied().unwrap_or(meta.seq.0);
        return Err(ProofError::NotYet { seq });
    }
    let entry = log.tiles.entry(meta.leaf)?;
    let batches = snapshot.open_segment(meta, 0)?;
    let mut hasher = RowHasher::new(&batches.seeds()?);
    let damaged = || ProofError::Damaged { path: meta.path.display().to_string() };
    let (mut leaves, mut held) = (Vec::new(), Vec::new());
    for batch in batches {
        let batch = batch?;
        for (i, row) in batch.rows.iter().enumerate() {
            if wanted.contains(&row.seq) {
                held.push((leaves.len() + i, i, batch.clone()));
            }
        }
        hasher.leaves(&batch, &mut leaves).ok_or_else(damaged)?;
    }
    if root_of(&leaves) != meta.info.event_root.0 {
        return Err(damaged());
    }
    for (index, i, batch) in held {
        let seq = batch.rows.get(i).map_or(0, |r| r.seq);
        let (_, salter) = hasher.salter(seq).ok_or_else(damaged)?;
        let event = event_part(&batch, i, salter, &leaves, index)?;
        proofs.insert(seq, log.prove(meta.leaf, &entry, event, None)?);
    }
    Ok(())
}

/// An early receipt: the newest heartbeat that covers the event.
fn early(log: &Log, snapshot: &Snapshot, seq: u64, batch: &Batch) -> Result<String, ProofError> {
    let dataset = batch.dataset_of(0);
    for tail in snapshot.tails.iter().map(|(t, _)| t) {
        if !(tail.header.first_seq..tail.end_seq()).contains(&seq) {
            continue;
        }
        let Some((index, entry, beat)) = covering_heartbeat(log, tail, seq)? else { break };
        let (of_dataset, roots, position) = wal_leaves(tail, &beat, dataset, seq)?;
        let rows: Vec<Hash> = roots
            .iter()
            .map(|(d, (root, rows))| leaf_hash(&DatasetRoot { dataset: d, root: *root, rows: *rows }.row()))
            .collect();
        let root = wal_root(roots.iter().map(|(d, (root, rows))| DatasetRoot {
            dataset: d,
            root: *root,
            rows: *rows,
        }));
        if beat.wal_root != Some(Digest(root)) {
            return Err(ProofError::Damaged { path: tail.path.display().to_string() });
        }
        let row_index = roots.keys().position(|d| **d == *dataset).ok_or(ProofError::NoEvent { seq })? as u64;
        let path = inclusion_path(&rows, row_index).ok_or(ProofError::NoEvent { seq })?;
        let row = RowPart {
            index: row_index,
            size: rows.len() as u64,
            path: path.into_iter().map(Digest).collect(),
        };
        let salter = Salter::new(&tail.seed(dataset));
        let event = event_part(batch, 0, &salter, &of_dataset, position)?;
        return log.prove(index, &entry, event, Some(row));
    }
    Err(ProofError::NotYet { seq })
}

fn covering_heartbeat(
    log: &Log,
    tail: &WalTail,
    seq: u64,
) -> Result<Option<(u64, Vec<u8>, Heartbeat)>, ProofError> {
    for index in (log.size.saturating_sub(HEARTBEATS_BACK)..log.size).rev() {
        let entry = log.tiles.entry(index)?;
        let Body::Heartbeat(beat) = Leaf::decode(&entry)?.body else { continue };
        if beat.seq <= seq {
            return Ok(None);
        }
        if beat.wal == Some(tail.number()) && beat.wal_root.is_some() {
            return Ok(Some((index, entry, beat)));
        }
    }
    Ok(None)
}

type Roots = BTreeMap<Arc<str>, (Hash, u64)>;

/// The leaves of `dataset` up to the heartbeat, the roots of all datasets, and where the event stands.
fn wal_leaves(
    tail: &WalTail,
    beat: &Heartbeat,
    dataset: &str,
    seq: u64,
) -> Result<(Vec<Hash>, Roots, usize), ProofError> {
    let mut all: BTreeMap<Arc<str>, Vec<Hash>> = BTreeMap::new();
    let mut position = None;
    for commit in tail.first_commits(tail.commits()) {
        if commit.end_seq > beat.seq {
            break;
        }
        for frame in &commit.frames {
            let salter = Salter::new(&tail.seed(&frame.dataset));
            let hashed = tail.hashed(frame, &salter)?;
            let leaves = all.entry(Arc::clone(&frame.dataset)).or_default();
            if *frame.dataset == *dataset
                && let Some(i) = hashed.batch.rows.iter().position(|r| r.seq == seq)
            {
                position = Some(leaves.len() + i);
            }
            leaves.extend(hashed.leaves.iter());
        }
    }
    let roots = all.iter().map(|(d, l)| (Arc::clone(d), (root_of(l), l.len() as u64))).collect();
    let of_dataset = all.remove(dataset).unwrap_or_default();
    Ok((of_dataset, roots, position.ok_or(ProofError::NotYet { seq })?))
}
