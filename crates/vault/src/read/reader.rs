//! Reading on from a seq, across segments and WAL files, without noticing the border.
//!
//! Events are handed out in *windows*: all selected events with seqs in `[a, b)`, one batch per dataset and window, each later
//! window above the earlier. In the WAL a window is a commit; in segments, which lie per dataset, it is the widest range that
//! the batches at hand cover.

use super::merge::between;
use super::segment::{self, SegmentBatches};
use super::{KeyRing, SegmentMeta, Selection, Snapshot, WalTail, decryption_properties};
use crate::error::VaultError;
use crate::traits::Derive;
use model::Batch;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;

/// What counts for an event beside its raw bytes when an answer is cut to size.
const ROW_BYTES: usize = 64;

/// The vault as readers follow it. The writer replaces the view and moves the end.
pub struct Live {
    view: RwLock<View>,
    end: watch::Sender<u64>,
    is_closed: AtomicBool,
    keys: Arc<KeyRing>,
    derive: Arc<dyn Derive>,
}

#[derive(Clone, Default)]
pub(crate) struct View {
    pub segments: Arc<Vec<Arc<SegmentMeta>>>,
    pub missing: Arc<Vec<Arc<SegmentMeta>>>,
    /// By WAL number; the last may still grow.
    pub tails: Vec<Arc<WalTail>>,
    pub tree_size: u64,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").field("end", &*self.end.borrow()).finish_non_exhaustive()
    }
}

impl Live {
    pub(crate) fn new(view: View, end: u64, keys: Arc<KeyRing>, derive: Arc<dyn Derive>) -> Live {
        Live {
            view: RwLock::new(view),
            end: watch::Sender::new(end),
            is_closed: AtomicBool::new(false),
            keys,
            derive,
        }
    }

    pub(crate) fn view(&self) -> View {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn change(&self, f: impl FnOnce(&mut View)) {
        f(&mut self.view.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Everything below `end` is durable and in the view (V2).
    pub(crate) fn advance(&self, end: u64) {
        self.end.send_if_modified(|e| {
            let is_later = end > *e;
            *e = (*e).max(end);
            is_later
        });
    }

    /// Nothing will follow: waiting readers are told.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.end.send_modify(|_| {});
    }

    #[must_use]
    pub fn end(&self) -> u64 {
        *self.end.borrow()
    }

    #[must_use]
    pub fn keys(&self) -> &Arc<KeyRing> {
        &self.keys
    }

    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let view = self.view();
        Snapshot {
            segments: view.segments,
            missing: view.missing,
            tails: view.tails.into_iter().map(|t| (Arc::clone(&t), t.commits())).collect(),
            tree_size: view.tree_size,
            keys: Arc::clone(&self.keys),
            derive: Arc::clone(&self.derive),
            notes: Arc::default(),
        }
    }
}

/// Follows a vault from a seq.
pub struct Reader {
    /// `None` only while a blocking read holds it.
    core: Option<Core>,
    end: watch::Receiver<u64>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("position", &self.position()).finish_non_exhaustive()
    }
}

impl Reader {
    #[must_use]
    pub fn new(live: &Arc<Live>, selection: Selection) -> Reader {
        let core =
            Core { next: selection.from, live: Arc::clone(live), selection, source: None, gaps: Vec::new() };
        Reader { core: Some(core), end: live.end.subscribe() }
    }

    /// The next events, in seq order, at most about `bytes_max` of raw (but at least one event); waits up to `wait` for the first.
    /// Empty when none came. Each batch holds one dataset; the batches of one answer cover one range of seqs, so that
    /// [`Reader::position`] is where to go on.
    ///
    /// # Errors
    /// A file cannot be read: calling again tries again. The vault is closed and everything in it was handed out.
    pub async fn next(&mut self, bytes_max: usize, wait: Duration) -> Result<Vec<Batch>, VaultError> {
        let deadline = tokio::time::Instant::now() + wait;
        loop {
            let end = *self.end.borrow_and_update();
            while self.position() < end {
                let got = self.read(bytes_max, end).await?;
                if !got.is_empty() {
                    return Ok(got);
                }
            }
            // Everything was read, so a caller that stops now has missed nothing.
            if self.core.as_ref().is_none_or(|c| c.live.is_closed.load(Ordering::Acquire)) {
                return Err(VaultError::Closed);
            }
            if tokio::time::timeout_at(deadline, self.end.changed()).await.is_err() {
                return Ok(Vec::new());
            }
        }
    }

    async fn read(&mut self, bytes_max: usize, end: u64) -> Result<Vec<Batch>, VaultError> {
        let Some(mut core) = self.core.take() else { return Err(VaultError::Closed) };
        if core.is_in_memory() {
            let got = core.read(bytes_max, end);
            self.core = Some(core);
            return got;
        }
        let work = tokio::task::spawn_blocking(move || {
            let got = core.read(bytes_max, end);
            (core, got)
        });
        let (core, got) = work.await.map_err(|_| VaultError::Closed)?;
        self.core = Some(core);
        got
    }

    /// Everything selected below this seq has been handed out: the cursor to store once it is acknowledged.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.core.as_ref().map_or(0, |c| c.next)
    }

    /// Ranges of seqs that were skipped because they had expired or were lost, since the last call.
    pub fn take_gaps(&mut self) -> Vec<(u64, u64)> {
        self.core.as_mut().map(|c| std::mem::take(&mut c.gaps)).unwrap_or_default()
    }
}

struct Core {
    live: Arc<Live>,
    selection: Selection,
    next: u64,
    source: Option<Source>,
    gaps: Vec<(u64, u64)>,
}

enum Source {
    Wal { tail: Arc<WalTail> },
    Sealed { end: u64, parts: Vec<Part> },
}

/// One segment of a sealed WAL, with the batch that is being handed out.
struct Part {
    rows: SegmentBatches,
    held: Batch,
}

impl Core {
    /// Whether the next commit can be handed out without touching the disk.
    fn is_in_memory(&self) -> bool {
        let tail = match &self.source {
            Some(Source::Wal { tail }) => Some(Arc::clone(tail)),
            Some(Source::Sealed { .. }) => None,
            None => self.live.view().tails.last().filter(|t| t.header.first_seq <= self.next).cloned(),
        };
        let commit = tail.and_then(|t| t.commit(t.commit_after(self.next)));
        commit.is_some_and(|c| c.frames.iter().all(|f| f.is_cached() || !self.selection.has(&f.dataset)))
    }

    /// At least one window below `end`, or nothing when the selection has nothing in what was looked at.
    fn read(&mut self, bytes_max: usize, end: u64) -> Result<Vec<Batch>, VaultError> {
        let mut out = Vec::new();
        let mut room = bytes_max.max(1);
        while self.next < end && room > 0 {
            match self.window(&mut room, end, &mut out) {
                Ok(true) => {}
                Ok(false) => break,
                // What was read before the error is handed out; the error comes again with the next call.
                Err(e) if out.is_empty() => return Err(e),
                Err(_) => break,
            }
        }
        Ok(out)
    }

    /// Moves over one window. False when it did not fit as a whole.
    fn window(&mut self, room: &mut usize, end: u64, out: &mut Vec<Batch>) -> Result<bool, VaultError> {
        let source = match self.source.take() {
            Some(source) => Some(source),
            None => self.locate(end)?,
        };
        let Some(mut source) = source else {
            // Nothing below `end` holds `next`: lost or expired up to there.
            self.skip_to(end);
            return Ok(true);
        };
        let (window, upto, is_done) = match &mut source {
            Source::Wal { tail } => self.wal_window(tail)?,
            Source::Sealed { end, parts } => self.sealed_window(*end, parts)?,
        };
        let cut = fit(&window, *room, upto);
        for batch in window {
            let batch = between(&batch, self.next, cut);
            *room = room.saturating_sub(size(&batch));
            if !batch.is_empty() {
                out.push(batch);
            }
        }
        self.next = self.next.max(cut);
        if cut < upto || !is_done {
            self.source = Some(source);
        }
        Ok(cut >= upto)
    }

    fn skip_to(&mut self, seq: u64) {
        if seq > self.next {
            self.gaps.push((self.next, seq));
            self.next = seq;
        }
    }

    /// The source that holds `next`, or the first one behind it.
    fn locate(&mut self, end: u64) -> Result<Option<Source>, VaultError> {
        let view = self.live.view();
        let sealed =
            view.segments.iter().filter(|s| s.info.range[1] > self.next).min_by_key(|s| s.info.range[0]);
        let tail = view.tails.iter().find(|t| t.end_seq() > self.next);
        let tail_start = tail.map_or(u64::MAX, |t| t.header.first_seq);
        if let Some(range) = sealed.map(|s| s.info.range).filter(|r| r[0] < tail_start) {
            self.skip_to(range[0].min(end));
            return self.open_sealed(&view, range).map(Some);
        }
        let Some(tail) = tail else { return Ok(None) };
        self.skip_to(tail_start.min(end));
        Ok(Some(Source::Wal { tail: Arc::clone(tail) }))
    }

    fn open_sealed(&self, view: &View, range: [u64; 2]) -> Result<Source, VaultError> {
        let mut parts = Vec::new();
        let wanted = view.segments.iter().filter(|s| s.info.range == range && s.seq.1 >= self.next);
        for meta in wanted.filter(|s| self.selection.has(&s.dataset)) {
            match segment::open(meta, decryption_properties(&self.live.keys, meta)?, self.next) {
                Ok(rows) => parts.push(Part { rows, held: Batch::default() }),
                // Expired since the view was taken: the next view does not have it.
                Err(_) if !self.live.view().segments.iter().any(|s| s.leaf == meta.leaf) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(Source::Sealed { end: range[1], parts })
    }

    /// The next commit's batches, where it ends, and whether it is the file's last so far.
    fn wal_window(&self, tail: &WalTail) -> Result<(Vec<Batch>, u64, bool), VaultError> {
        let at = tail.commit_after(self.next);
        let Some(entry) = tail.commit(at) else { return Ok((Vec::new(), self.next, true)) };
        let mut out = Vec::new();
        for frame in entry.frames.iter().filter(|f| self.selection.has(&f.dataset)) {
            out.push(between(&tail.batch(frame)?, self.next, u64::MAX));
        }
        out.sort_by_key(|b| b.rows.first().map_or(u64::MAX, |r| r.seq));
        Ok((out, entry.end_seq, at + 1 >= tail.commits()))
    }

    /// The widest window that the held batches cover.
    fn sealed_window(&self, end: u64, parts: &mut Vec<Part>) -> Result<(Vec<Batch>, u64, bool), VaultError> {
        let mut upto = end;
        for part in parts.iter_mut() {
            part.held = between(&part.held, self.next, u64::MAX);
            if part.held.is_empty() {
                part.held = part.rows.next().transpose()?.unwrap_or_default();
            }
            if let Some(last) = part.held.rows.last() {
                upto = upto.min(last.seq + 1);
            }
        }
        parts.retain(|p| !p.held.is_empty());
        let mut window: Vec<Batch> = parts.iter().map(|p| between(&p.held, self.next, upto)).collect();
        window.sort_by_key(|b| b.rows.first().map_or(u64::MAX, |r| r.seq));
        Ok((window, upto, upto == end))
    }
}

fn size(batch: &Batch) -> usize {
    batch.raw_bytes() + ROW_BYTES * batch.len()
}

/// The highest seq up to which the window fits into `room`, but past at least one event; `upto` when all of it does.
fn fit(window: &[Batch], room: usize, upto: u64) -> u64 {
    if window.iter().map(size).sum::<usize>() <= room {
        return upto;
    }
    let rows = window.iter().flat_map(|b| b.rows.iter());
    let mut rows: Vec<(u64, usize)> = rows.map(|r| (r.seq, r.raw.len() + ROW_BYTES)).collect();
    rows.sort_unstable();
    let (mut used, mut cut) = (0, 0);
    for (i, (seq, bytes)) in rows.into_iter().enumerate() {
        used += bytes;
        if i > 0 && used > room {
            return cut;
        }
        cut = seq + 1;
    }
    upto
}
