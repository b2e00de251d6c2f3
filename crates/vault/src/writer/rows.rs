//! Rows of a commit: seqs, envelopes, leaves. The innermost loop of append.

use super::Ack;
use super::core::Shared;
use super::queue::Pending;
use crate::format::envelope::{Pieces, write_row};
use crate::format::event::{Salter, event_leaf, sha256};
use crate::format::wal::{begin_batch, push_row};
use crate::merkle::Hash;
use crate::read::WalTail;
use model::{Batch, EventId, Provenance, Row, Span};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The rows of one dataset in one commit. The payload becomes the arena of the batch that readers get: one copy in all.
pub(super) struct FrameRows {
    dataset: Arc<str>,
    pub(super) payload: Vec<u8>,
    pub(super) rows: Vec<Row>,
    pub(super) leaves: Vec<Hash>,
    pub(super) provenances: Vec<Arc<Provenance>>,
    pieces: Vec<Pieces>,
    salter: Salter,
}

impl FrameRows {
    fn new(dataset: &Arc<str>, salter: Salter, bytes: usize) -> FrameRows {
        let mut payload = Vec::with_capacity(bytes);
        begin_batch(dataset, &mut payload);
        FrameRows {
            dataset: Arc::clone(dataset),
            payload,
            rows: Vec::new(),
            leaves: Vec::new(),
            provenances: Vec::new(),
            pieces: Vec::new(),
            salter,
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
        let spans =
            push_row(&mut self.payload, row.event_time, natural_key, raw, |o| write_row(pieces, &row, o))?;
        let envelope = self.payload.get(spans.envelope.start as usize..spans.envelope.end as usize)?;
        self.leaves.push(event_leaf(&self.salter.salt(row.seq), &sha256(envelope), raw_hash));
        row.raw = spans.raw;
        row.natural_key = if natural_key.is_empty() { Span::EMPTY } else { spans.natural_key };
        row.dataset = 0;
        self.rows.push(row);
        Some(())
    }
}

/// Key for joins is text, or it is none: the column has no place for other bytes.
fn natural_key(batch: &Batch, row: &Row) -> Span {
    let key = batch.bytes(row.natural_key);
    let is_text = key.len() <= usize::from(u16::MAX) && std::str::from_utf8(key).is_ok();
    if is_text { row.natural_key } else { Span::EMPTY }
}

/// Provenances of one batch as those of the frames: a table per dataset, so that a row costs a look and no comparison.
struct Table<'a> {
    batch: &'a Batch,
    known: Vec<(u16, Vec<u32>)>,
}

impl Table<'_> {
    fn index(&mut self, row: &Row, frame: &mut FrameRows) -> Option<u32> {
        let at = match self.known.iter().position(|(d, _)| *d == row.dataset) {
            Some(at) => at,
            None => {
                self.known.push((row.dataset, vec![u32::MAX; self.batch.provenances.len().max(1)]));
                self.known.len() - 1
            }
        };
        static NOBODY: std::sync::LazyLock<Arc<Provenance>> = std::sync::LazyLock::new(Arc::default);
        let (_, table) = self.known.get_mut(at)?;
        let Some(slot) = table.get_mut(row.provenance as usize) else {
            return Some(frame.provenance(&NOBODY));
        };
        if *slot == u32::MAX {
            *slot = frame.provenance(self.batch.provenances.get(row.provenance as usize).unwrap_or(&NOBODY));
        }
        Some(*slot)
    }
}

pub(super) type Rows = BTreeMap<Arc<str>, FrameRows>;

/// The rows of a group by dataset, and what to answer; `None` when a row cannot be written.
pub(super) fn frames_of(
    shared: &Shared,
    tail: &WalTail,
    salters: &mut BTreeMap<Arc<str>, Salter>,
    next_seq: &mut u64,
    group: &[Pending],
) -> Option<(Rows, Vec<Ack>)> {
    let mut frames = Rows::new();
    let mut acks = Vec::with_capacity(group.len());
    let bytes: usize = group.iter().map(|p| p.bytes).sum();
    for pending in group {
        let batch = &pending.batch;
        let received = shared.now();
        let first_seq = *next_seq;
        let mut table = Table { batch, known: Vec::new() };
        for (row, raw_hash) in batch.rows.iter().zip(&pending.raw_hashes) {
            let dataset = batch.datasets.get(usize::from(row.dataset))?;
            if !frames.contains_key(dataset) {
                let salter =
                    salters.entry(Arc::clone(dataset)).or_insert_with(|| Salter::new(&tail.seed(dataset)));
                frames.insert(Arc::clone(dataset), FrameRows::new(dataset, salter.clone(), bytes));
            }
            let frame = frames.get_mut(dataset)?;
            let provenance = table.index(row, frame)?;
            let seq = *next_seq;
            *next_seq = next_seq.checked_add(1)?;
            let id = if row.id.is_none() { own_id(shared, seq) } else { row.id };
            let key = batch.bytes(natural_key(batch, row));
            frame.push(Row { seq, received, id, provenance, ..*row }, key, batch.bytes(row.raw), raw_hash)?;
        }
        let rows = *next_seq - first_seq;
        let last_seq = next_seq.saturating_sub(1).max(first_seq);
        acks.push(Ack { shard: shared.settings.shard, first_seq, last_seq, rows });
    }
    Some((frames, acks))
}

/// Frozen: vault id ‖ shard (u32 LE) ‖ seq (u64 LE), each with its length before it.
fn own_id(shared: &Shared, seq: u64) -> EventId {
    EventId::of(&[&shared.id, &shared.settings.shard.to_le_bytes(), &seq.to_le_bytes()])
}
