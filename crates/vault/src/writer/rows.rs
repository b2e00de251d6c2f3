//! Rows of a commit: seqs, envelopes, leaves. The innermost loop of append.

use super::Ack;
use super::core::Shared;
use super::queue::Pending;
use crate::format::envelope::{Pieces, Received, write_row};
use crate::format::event::Salter;
use crate::format::wal::{begin_batch, push_row};
use crate::merkle::Hash;
use crate::read::WalTail;
use crate::sha256::{BATCH, Start, digests, digests_of};
use model::{Batch, EventId, Provenance, Row, Span};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The rows of one dataset in one commit. The payload becomes the arena of the batch that readers get: one copy in all.
pub(super) struct FrameRows {
    pub(super) dataset: Arc<str>,
    pub(super) payload: Vec<u8>,
    pub(super) rows: Vec<Row>,
    pub(super) leaves: Vec<Hash>,
    pub(super) provenances: Vec<Arc<Provenance>>,
    pieces: Vec<Pieces>,
    received: Received,
    salter: Salter,
    open: Open,
}

/// Rows whose leaves are to be made, together.
#[derive(Default)]
struct Open {
    seqs: Vec<u64>,
    envelopes: Vec<Span>,
    envelope_hashes: Vec<Hash>,
    raw_hashes: Vec<Hash>,
}

impl FrameRows {
    fn new(dataset: &Arc<str>, salter: Salter, mut payload: Vec<u8>, rows: usize) -> FrameRows {
        begin_batch(dataset, &mut payload);
        FrameRows {
            dataset: Arc::clone(dataset),
            payload,
            rows: Vec::with_capacity(rows),
            leaves: Vec::with_capacity(rows),
            provenances: Vec::new(),
            pieces: Vec::new(),
            received: Received::default(),
            salter,
            open: Open::default(),
        }
    }

    fn provenance(&mut self, p: &Arc<Provenance>) -> u32 {
        // Batches of one source follow each other with the same provenance; within a batch the caller keeps a table.
        let known = self.provenances.iter().rev().take(8).position(|q| Arc::ptr_eq(p, q) || p == q);
        let index = match known {
            Some(back) => self.provenances.len() - 1 - back,
            None => {
                self.pieces.push(Pieces::new(p, &self.dataset));
                self.provenances.push(Arc::clone(p));
                self.provenances.len() - 1
            }
        };
        u32::try_from(index).unwrap_or(u32::MAX)
    }

    fn push(&mut self, mut row: Row, natural_key: &[u8], raw: &[u8], raw_hash: &Hash) -> Option<()> {
        let pieces = self.pieces.get(row.provenance as usize)?;
        let received = &mut self.received;
        let envelope = |out: &mut Vec<u8>| write_row(pieces, &row, received, out);
        let spans = push_row(&mut self.payload, row.event_time, natural_key, raw, envelope)?;
        self.open.seqs.push(row.seq);
        self.open.envelopes.push(spans.envelope);
        self.open.raw_hashes.push(*raw_hash);
        row.raw = spans.raw;
        row.natural_key = if natural_key.is_empty() { Span::EMPTY } else { spans.natural_key };
        row.dataset = 0;
        self.rows.push(row);
        if self.open.seqs.len() >= BATCH {
            self.hash();
        }
        Some(())
    }

    /// Makes the leaves that are still open.
    fn hash(&mut self) {
        let Open { seqs, envelopes, envelope_hashes, raw_hashes } = &mut self.open;
        let text = |span: &Span| self.payload.get(span.start as usize..span.end as usize).unwrap_or_default();
        digests(envelopes.iter().map(text), envelope_hashes);
        self.salter.leaves(seqs, envelope_hashes, raw_hashes, &mut self.leaves);
        seqs.clear();
        envelopes.clear();
        envelope_hashes.clear();
        raw_hashes.clear();
    }
}

/// Key for joins is text, or it is none: the column has no place for other bytes.
fn natural_key(batch: &Batch, row: &Row) -> Span {
    let key = batch.bytes(row.natural_key);
    let is_text = key.len() <= usize::from(u16::MAX) && std::str::from_utf8(key).is_ok();
    if is_text { row.natural_key } else { Span::EMPTY }
}

/// Frames and provenances of one batch, so that a row costs a look and no comparison.
struct Table<'a> {
    batch: &'a Batch,
    /// Dataset of the batch, its frame, and the batch's provenances as those of the frame.
    known: Vec<(u16, usize, Vec<u32>)>,
    /// Entry of the row before.
    last: usize,
}

impl Table<'_> {
    fn entry(&mut self, dataset: u16, frame: impl FnOnce() -> Option<usize>) -> Option<usize> {
        if self.known.get(self.last).is_none_or(|(d, _, _)| *d != dataset) {
            self.last = match self.known.iter().position(|(d, _, _)| *d == dataset) {
                Some(at) => at,
                None => {
                    let unknown = vec![u32::MAX; self.batch.provenances.len().max(1)];
                    self.known.push((dataset, frame()?, unknown));
                    self.known.len() - 1
                }
            };
        }
        self.known.get(self.last).map(|(_, frame, _)| *frame)
    }

    fn provenance(&mut self, row: &Row, frame: &mut FrameRows) -> Option<u32> {
        static NOBODY: std::sync::LazyLock<Arc<Provenance>> = std::sync::LazyLock::new(Arc::default);
        let (_, _, table) = self.known.get_mut(self.last)?;
        let Some(slot) = table.get_mut(row.provenance as usize) else {
            return Some(frame.provenance(&NOBODY));
        };
        if *slot == u32::MAX {
            *slot = frame.provenance(self.batch.provenances.get(row.provenance as usize).unwrap_or(&NOBODY));
        }
        Some(*slot)
    }
}

/// Rows and about how many bytes of payload a group has in each dataset.
fn sizes(group: &[Pending]) -> BTreeMap<&Arc<str>, (usize, usize)> {
    let mut out = BTreeMap::new();
    for pending in group {
        let batch = &pending.batch;
        let around = pending.bytes.saturating_sub(batch.raw_bytes()) / batch.len().max(1) + 1;
        let mut of: Vec<(usize, usize)> = vec![(0, 0); batch.datasets.len()];
        for row in batch.rows.iter() {
            if let Some((rows, bytes)) = of.get_mut(usize::from(row.dataset)) {
                *rows += 1;
                *bytes += row.raw.len() + around;
            }
        }
        for (dataset, (rows, bytes)) in batch.datasets.iter().zip(of) {
            let sum: &mut (usize, usize) = out.entry(dataset).or_insert((0, 2 + dataset.len()));
            sum.0 += rows;
            sum.1 += bytes;
        }
    }
    out
}

/// The rows of a group by dataset in order of name, and what to answer; `None` when a row cannot be written.
pub(super) fn frames_of(
    shared: &Shared,
    tail: &WalTail,
    salters: &mut BTreeMap<Arc<str>, Salter>,
    next_seq: &mut u64,
    group: &[Pending],
) -> Option<(Vec<FrameRows>, Vec<Ack>)> {
    let sizes = sizes(group);
    let mut frames: Vec<FrameRows> = Vec::with_capacity(sizes.len());
    let mut acks = Vec::with_capacity(group.len());
    for pending in group {
        let batch = &pending.batch;
        let received = shared.now();
        let first_seq = *next_seq;
        let mut table = Table { batch, known: Vec::new(), last: 0 };
        let mut ids = own_ids(shared, batch, first_seq)?.into_iter();
        for (row, raw_hash) in batch.rows.iter().zip(&pending.raw_hashes) {
            let at = table.entry(row.dataset, || {
                let dataset = batch.datasets.get(usize::from(row.dataset))?;
                if let Some(at) = frames.iter().position(|f| f.dataset == *dataset) {
                    return Some(at);
                }
                let salter =
                    salters.entry(Arc::clone(dataset)).or_insert_with(|| Salter::new(&tail.seed(dataset)));
                let (rows, bytes) = sizes.get(dataset).copied().unwrap_or_default();
                frames.push(FrameRows::new(dataset, salter.clone(), shared.pool.take(bytes), rows));
                Some(frames.len() - 1)
            })?;
            let frame = frames.get_mut(at)?;
            let provenance = table.provenance(row, frame)?;
            let seq = *next_seq;
            *next_seq = next_seq.checked_add(1)?;
            let id = if row.id.is_none() { ids.next()? } else { row.id };
            let key = batch.bytes(natural_key(batch, row));
            frame.push(Row { seq, received, id, provenance, ..*row }, key, batch.bytes(row.raw), raw_hash)?;
        }
        let rows = *next_seq - first_seq;
        let last_seq = next_seq.saturating_sub(1).max(first_seq);
        acks.push(Ack { shard: shared.settings.shard, first_seq, last_seq, rows });
    }
    frames.iter_mut().for_each(FrameRows::hash);
    frames.sort_by(|a, b| a.dataset.cmp(&b.dataset));
    Some((frames, acks))
}

/// Ids of those rows that come without one, in order. Frozen: `EventId::of` of vault id, shard (u32 LE) and seq (u64 LE).
fn own_ids(shared: &Shared, batch: &Batch, first_seq: u64) -> Option<Vec<EventId>> {
    let mut before = EventId::DOMAIN.as_bytes().to_vec();
    for part in [&shared.id[..], &shared.settings.shard.to_le_bytes()] {
        before.extend_from_slice(&u32::try_from(part.len()).ok()?.to_le_bytes());
        before.extend_from_slice(part);
    }
    before.extend_from_slice(&8u32.to_le_bytes());
    let before: [u8; OWN_ID_BYTES - 8] = before.try_into().ok()?;
    let own = (first_seq..).zip(batch.rows.iter()).filter(|(_, row)| row.id.is_none());
    let message = |seq: u64| {
        let mut message = [0; OWN_ID_BYTES];
        let (to_before, to_seq) = message.split_at_mut(before.len());
        to_before.copy_from_slice(&before);
        to_seq.copy_from_slice(&seq.to_le_bytes());
        message
    };
    let mut hashes = Vec::new();
    digests_of(&Start::EMPTY, own.map(|(seq, _)| message(seq)), &mut hashes);
    hashes.iter().map(|h| h.first_chunk().copied().map(EventId)).collect()
}

/// A domain of 14 bytes; 16 of the vault, 4 of the shard and 8 of the seq, each behind a length of 4.
const OWN_ID_BYTES: usize = 14 + 20 + 8 + 12;
