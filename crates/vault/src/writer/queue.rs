//! The way of an event to the disk: a queue, a preparer that turns what waits into one commit, an encoder that compresses and
//! encrypts it, a syncer that makes it durable.
//!
//! Three threads, so that one commit is hashed while the one before it is compressed and the one before that is being synced. The
//! sync is the gathering window: a lone appender never waits for company, a crowd gathers exactly as long as those ahead of it
//! are busy (or until the commit is full, or `commit_wait` has passed). Where a commit is large enough already, only the encoder is
//! waited for.

use super::Ack;
use super::commit::{Draft, Prepared};
use crate::error::VaultError;
use crate::format::wal::Effort;
use crate::merkle::Hash;
use crate::sha256::digests;
use model::Batch;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

pub(crate) type Reply<T> = oneshot::Sender<Result<T, VaultError>>;

/// A batch that waits for its commit.
pub(crate) struct Pending {
    pub batch: Batch,
    /// SHA-256 of each raw, computed by the appender: the one part of hashing that needs no seq.
    pub raw_hashes: Vec<Hash>,
    pub bytes: usize,
    /// `None` for the vault's own events.
    pub reply: Option<Reply<Ack>>,
    pub _room: Option<OwnedSemaphorePermit>,
}

/// SHA-256 of each raw.
pub(crate) fn raw_hashes(batch: &Batch) -> Vec<Hash> {
    let mut out = Vec::with_capacity(batch.len());
    digests(batch.rows.iter().map(|r| batch.bytes(r.raw)), &mut out);
    out
}

pub(crate) enum Item {
    Append(Pending),
    /// Close the open WAL and seal everything before it.
    Seal(Option<Reply<()>>),
}

/// What the preparer does next.
pub(crate) enum Work {
    /// The second part: nothing is on its way to the disk.
    Commit(Vec<Pending>, bool),
    Seal(Option<Reply<()>>),
    Stop,
}

/// What zstd compresses of log payloads in a microsecond at the levels of [`Effort::Full`] and [`Effort::Light`]. Rough figures do:
/// they decide between waiting and compressing.
const FULL_BYTES_PER_MICRO: usize = 400;
const LIGHT_BYTES_PER_MICRO: usize = 1_200;

/// From here on more company does not pay: hashing and encrypting so many bytes takes longer than a sync, and to gather on while the
/// encoder is free leaves a core idle. Where the disk is slower than that, the encoder is not free: its last commit still waits.
const ENOUGH_BYTES: usize = 1 << 20;

#[derive(Default)]
struct State {
    items: VecDeque<Item>,
    bytes: usize,
    since: Option<Instant>,
    /// Bytes that the preparer waits for while it need not wait for the encoder.
    wanted: usize,
    /// Commit that is ready for the encoder.
    draft: Option<Draft>,
    is_encoding: bool,
    /// Commit that is ready for the syncer.
    slot: Option<Prepared>,
    is_syncing: bool,
    /// How long the encoder waited for the disk with its last commit.
    waited: Duration,
    /// When a commit was last encoded with another one waiting.
    pressed: Option<Instant>,
    is_closed: bool,
    is_stopped: bool,
}

impl State {
    /// Nothing stands before the encoder.
    fn is_free(&self) -> bool {
        !self.is_encoding && self.slot.is_none()
    }

    /// Nothing is on its way to the disk.
    fn is_idle(&self) -> bool {
        self.is_free() && !self.is_syncing
    }

    /// How long the next commit may go on gathering; `None`: until something changes.
    fn time_to_gather(&self, bytes_max: usize, wait_max: Duration) -> Option<Duration> {
        let enough = if self.is_free() { bytes_max.min(ENOUGH_BYTES) } else { bytes_max };
        match self.items.front() {
            // One commit waits for the encoder at most: back pressure from the disk.
            _ if self.draft.is_some() => None,
            None => None,
            Some(Item::Seal(_)) => Some(Duration::ZERO),
            Some(Item::Append(_)) if self.is_idle() || self.bytes >= enough => Some(Duration::ZERO),
            Some(Item::Append(_)) => self.since.map(|s| wait_max.saturating_sub(s.elapsed())),
        }
    }
}

#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    /// What comes in, for the preparer alone: under load that is thousands of times a second.
    arrived: Condvar,
    changed: Condvar,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wake(&self) {
        self.arrived.notify_all();
        self.changed.notify_all();
    }

    /// How much time the encoding of the next commit, of `bytes` bytes, is worth. While the encoder stood waiting for the disk it
    /// could have compressed: a disk that is behind gets fewer bytes. Where the disk keeps up and another commit waits as well, so
    /// do its appenders, and time is what is short.
    pub(crate) fn effort(&self, bytes: usize) -> Effort {
        let mut state = self.lock();
        let is_backed_up = state.draft.is_some() || state.bytes >= state.wanted;
        if is_backed_up {
            state.pressed = Some(Instant::now());
        }
        let affords = |bytes_per_micro: usize| {
            state.waited >= Duration::from_micros((bytes / bytes_per_micro).try_into().unwrap_or(u64::MAX))
        };
        if affords(FULL_BYTES_PER_MICRO) {
            Effort::Full
        } else if affords(LIGHT_BYTES_PER_MICRO) || !is_backed_up {
            Effort::Light
        } else {
            Effort::None
        }
    }

    /// Whether a commit was encoded within `time` behind which another one waited.
    pub(crate) fn was_pressed_within(&self, time: Duration) -> bool {
        self.lock().pressed.is_some_and(|at| at.elapsed() < time)
    }

    /// Adds an append. When the vault is closed the reply is dropped, which tells the appender.
    pub(crate) fn push(&self, pending: Pending) {
        let mut state = self.lock();
        if state.is_closed || state.is_stopped {
            return;
        }
        state.bytes += pending.bytes;
        state.since.get_or_insert_with(Instant::now);
        state.items.push_back(Item::Append(pending));
        // In between, the preparer has what it needs to know: it looks again when its time is over.
        let matters = state.items.len() == 1 || state.bytes >= state.wanted;
        drop(state);
        if matters {
            self.arrived.notify_all();
        }
    }

    pub(crate) fn push_own(&self, batch: Batch) {
        let raw_hashes = raw_hashes(&batch);
        let bytes = batch.raw_bytes();
        self.push(Pending { batch, raw_hashes, bytes, reply: None, _room: None });
    }

    pub(crate) fn push_seal(&self, reply: Option<Reply<()>>) {
        let mut state = self.lock();
        if !state.is_stopped {
            state.items.push_back(Item::Seal(reply));
        }
        drop(state);
        self.arrived.notify_all();
    }

    /// No more appends; what is queued is still committed.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
    }

    /// Ends both threads. What is queued is dropped, and its appenders are told.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.is_stopped = true;
        state.items.clear();
        state.draft = None;
        state.slot = None;
        drop(state);
        self.wake();
    }

    /// Takes everything that waits, to refuse it.
    pub(crate) fn drain(&self) -> Vec<Item> {
        let mut state = self.lock();
        state.bytes = 0;
        state.since = None;
        state.items.drain(..).collect()
    }

    pub(crate) fn waiting_bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Blocks until there is a commit to make.
    pub(crate) fn take_work(&self, bytes_max: usize, wait_max: Duration) -> Work {
        let mut state = self.lock();
        state.wanted = bytes_max.min(ENOUGH_BYTES);
        loop {
            if state.is_stopped {
                return Work::Stop;
            }
            let left = state.time_to_gather(bytes_max, wait_max);
            state = match left {
                Some(Duration::ZERO) => {
                    let is_idle = state.is_idle();
                    return take(&mut state, bytes_max, is_idle);
                }
                Some(left) => {
                    self.arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Hands a commit to the encoder. Its place is empty: there is one preparer, and it looked.
    pub(crate) fn offer_draft(&self, draft: Draft) {
        let mut state = self.lock();
        if !state.is_stopped {
            state.draft = Some(draft);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Blocks until a commit is to be encoded; `None` at the end.
    pub(crate) fn take_draft(&self) -> Option<Draft> {
        let mut state = self.lock();
        state.is_encoding = false;
        self.wake();
        loop {
            if let Some(draft) = state.draft.take() {
                state.is_encoding = true;
                self.wake();
                return Some(draft);
            }
            if state.is_stopped {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Blocks until everything that was handed to the encoder is encoded.
    pub(crate) fn wait_encoded(&self) {
        let mut state = self.lock();
        while (state.draft.is_some() || state.is_encoding) && !state.is_stopped {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Hands an encoded commit to the syncer, once it has taken the one before.
    pub(crate) fn offer(&self, prepared: Prepared) {
        let mut state = self.lock();
        let from = Instant::now();
        while state.slot.is_some() && !state.is_stopped {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waited = from.elapsed();
        if !state.is_stopped {
            state.slot = Some(prepared);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Blocks until a commit is prepared; `None` at the end.
    pub(crate) fn take_prepared(&self) -> Option<Prepared> {
        let mut state = self.lock();
        state.is_syncing = false;
        self.wake();
        loop {
            if let Some(prepared) = state.slot.take() {
                state.is_syncing = true;
                self.wake();
                return Some(prepared);
            }
            if state.is_stopped {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits, for instance for free space, but not beyond `wait`. False when the vault is stopping.
    pub(crate) fn pause(&self, wait: Duration) -> bool {
        let state = self.lock();
        if state.is_stopped {
            return false;
        }
        let (state, _) = self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner);
        !state.is_stopped
    }
}

fn take(state: &mut State, bytes_max: usize, is_idle: bool) -> Work {
    if let Some(Item::Seal(_)) = state.items.front() {
        return match state.items.pop_front() {
            Some(Item::Seal(reply)) => Work::Seal(reply),
            _ => Work::Stop,
        };
    }
    let (mut group, mut bytes) = (Vec::new(), 0);
    while let Some(Item::Append(next)) = state.items.front() {
        if bytes > 0 && bytes + next.bytes > bytes_max {
            break;
        }
        bytes += next.bytes;
        if let Some(Item::Append(pending)) = state.items.pop_front() {
            group.push(pending);
        }
    }
    state.bytes = state.bytes.saturating_sub(bytes);
    state.since = state.items.front().map(|_| Instant::now());
    Work::Commit(group, is_idle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effort_follows_who_waits() {
        let queue = Queue::default();
        let set = |waited: u64, queued: usize| {
            let mut state = queue.lock();
            (state.waited, state.bytes, state.wanted) = (Duration::from_micros(waited), queued, 4096);
            drop(state);
            queue.effort(1_200_000)
        };
        assert_eq!(set(0, 0), Effort::Light, "an idle vault");
        assert_eq!(set(0, 4096), Effort::None, "the disk keeps up and the next commit waits for this one");
        assert_eq!(set(1_000, 4096), Effort::Light, "as much as the encoder stood idle");
        assert_eq!(set(3_000, 4096), Effort::Full, "the disk is behind: fewer bytes help");
        queue.offer_draft(Draft::Close(None, None));
        assert_eq!(set(0, 0), Effort::None);
    }

    #[test]
    fn a_crowd_gathers_while_those_ahead_are_busy() {
        const HOUR: Duration = Duration::from_secs(3600);
        let waits = |bytes: usize, is_encoding: bool, is_syncing: bool, has_slot: bool| {
            let batch = Batch::builder().finish();
            let first = Pending { batch, raw_hashes: Vec::new(), bytes, reply: None, _room: None };
            let state = State {
                items: VecDeque::from([Item::Append(first)]),
                bytes,
                since: Some(Instant::now()),
                slot: has_slot.then_some(Prepared::Close(None, None)),
                is_encoding,
                is_syncing,
                ..State::default()
            };
            state.time_to_gather(4 * ENOUGH_BYTES, HOUR) != Some(Duration::ZERO)
        };
        assert!(!waits(1, false, false, false), "a lone appender does not wait for company");
        assert!(waits(1, false, true, false) && waits(1, true, false, false) && waits(1, false, false, true));
        assert!(!waits(ENOUGH_BYTES, false, true, false), "enough, and the encoder is free");
        assert!(waits(ENOUGH_BYTES, true, true, false) && waits(ENOUGH_BYTES, false, true, true));
        assert!(!waits(4 * ENOUGH_BYTES, true, true, true), "the commit is full");
    }
}
