//! The writer half: append, group commit, seal, publish, recover, retain.
//!
//! Threads: *prepare* turns waiting batches into one commit, *encode* compresses and encrypts it, *sync* makes it durable and
//! answers, *seal* turns closed WAL files into segments, *keep* drives the rhythm. They share [`core::Shared`] and nothing else.

mod blocks;
mod commit;
mod core;
mod log;
mod open;
mod pool;
mod queue;
mod recover;
mod retain;
mod rows;
mod seal;
mod segment_file;
mod settings;
mod status;
mod sync;
mod tick;

pub use open::Opened;
pub use recover::{Quarantined, RecoveredWal};
pub use retain::Expired;
pub use settings::{DatasetSettings, Settings};
pub use status::{DatasetStatus, Status};

use self::core::Shared;
use crate::error::VaultError;
use crate::format::Digest;

use crate::format::leaf::{Body, Config, Export, Hold, Policy};
use crate::merkle::Checkpoint;
use crate::read::{Reader, Selection, Snapshot, StoredEvent};
use crate::traits::Host;
use model::{Batch, EventId, Time};
use open::PERMIT_BYTES;
use queue::Pending;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// What an acknowledgement says: these events are on the disk (V2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ack {
    pub shard: u32,
    pub first_seq: u64,
    /// Inclusive; equal to `first_seq` when the batch had no rows.
    pub last_seq: u64,
    pub rows: u64,
}

/// A vault open for writing. Cheap to clone; the last one dropped ends its threads (without sealing: see [`Vault::close`]).
#[derive(Clone)]
pub struct Vault {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    last_expiry: AtomicI64,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").field("dir", &self.inner.shared.dir).finish_non_exhaustive()
    }
}

impl Vault {
    /// Opens the vault folder `dir`, making it on the first start and recovering it after a crash. Blocks.
    ///
    /// # Errors
    /// Another process has it open, a key is missing or wrong, the log does not fit its checkpoint, or the disk fails.
    pub fn open(dir: &Path, settings: Settings, host: Host) -> Result<(Vault, Opened), VaultError> {
        let (shared, threads, opened) = open::open(dir, settings, host)?;
        let inner = Inner { shared, threads: Mutex::new(threads), last_expiry: AtomicI64::new(0) };
        Ok((Vault { inner: Arc::new(inner) }, opened))
    }

    fn shared(&self) -> &Shared {
        &self.inner.shared
    }

    /// Makes the batch durable. Resolves only after `fdatasync` returned (V2); on a full disk it waits. The batch becomes one
    /// commit with its positions: all of it is stored, or nothing. A caller that drops the future has not taken the batch back.
    ///
    /// # Errors
    /// An event is too large or misnamed (nothing of the batch is taken), or the vault has stopped.
    pub async fn append(&self, batch: Batch) -> Result<Ack, VaultError> {
        let shared = self.shared();
        let bytes = self.admit(&batch)?;
        if batch.is_empty() && batch.positions.is_empty() {
            return Ok(self.nothing());
        }
        // The semaphore holds fewer permits than a huge batch has KiB: such a batch takes all of them.
        let all = shared.settings.queue_bytes.div_ceil(PERMIT_BYTES);
        let permits = u32::try_from(bytes.div_ceil(PERMIT_BYTES).clamp(1, all)).unwrap_or(u32::MAX);
        let room =
            Arc::clone(&shared.room).acquire_many_owned(permits).await.map_err(|_| VaultError::Closed)?;
        let answer = self.enqueue(batch, bytes, Some(room));
        answer.await.unwrap_or_else(|_| Err(self.why_not()))
    }

    /// [`Vault::append`] for callers without a runtime. Not bounded by the queue.
    ///
    /// # Errors
    /// As for [`Vault::append`].
    pub fn append_blocking(&self, batch: Batch) -> Result<Ack, VaultError> {
        let bytes = self.admit(&batch)?;
        if batch.is_empty() && batch.positions.is_empty() {
            return Ok(self.nothing());
        }
        self.enqueue(batch, bytes, None).blocking_recv().unwrap_or_else(|_| Err(self.why_not()))
    }

    fn admit(&self, batch: &Batch) -> Result<usize, VaultError> {
        match self.shared().poisoned() {
            Some(error) => Err(error),
            None => commit::check(self.shared(), batch),
        }
    }

    fn nothing(&self) -> Ack {
        let end = self.shared().live.end();
        Ack { shard: self.shared().settings.shard, first_seq: end, last_seq: end, rows: 0 }
    }

    fn enqueue(
        &self,
        batch: Batch,
        bytes: usize,
        room: Option<tokio::sync::OwnedSemaphorePermit>,
    ) -> oneshot::Receiver<Result<Ack, VaultError>> {
        // The bulk of hashing happens here, on the appender's thread: appenders run in parallel, commits do not.
        let raw_hashes = queue::raw_hashes(&batch);
        let (reply, answer) = oneshot::channel();
        self.shared().queue.push(Pending { batch, raw_hashes, bytes, reply: Some(reply), _room: room });
        answer
    }

    fn why_not(&self) -> VaultError {
        self.shared().poisoned().unwrap_or(VaultError::Closed)
    }

    /// Where a positioned source stands by the last durable commit.
    #[must_use]
    pub fn position(&self, key: &str) -> Option<String> {
        let positions = self.shared().positions.read().unwrap_or_else(PoisonError::into_inner);
        positions.get(key).map(ToString::to_string)
    }

    /// All positions that start with `prefix`, by key.
    #[must_use]
    pub fn positions(&self, prefix: &str) -> Vec<(String, String)> {
        let positions = self.shared().positions.read().unwrap_or_else(PoisonError::into_inner);
        let fitting = positions.iter().filter(|(k, _)| k.starts_with(prefix));
        fitting.map(|(k, v)| (k.to_string(), v.to_string())).collect()
    }

    /// A reader from a seq on, live events included.
    #[must_use]
    pub fn reader(&self, selection: Selection) -> Reader {
        Reader::new(&self.shared().live, selection)
    }

    /// The vault as it is now, for searches.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.shared().live.snapshot()
    }

    /// One past the last acknowledged seq.
    #[must_use]
    pub fn end_seq(&self) -> u64 {
        self.shared().live.end()
    }

    /// # Errors
    /// A file cannot be read.
    pub async fn find_event(&self, id: EventId) -> Result<Option<StoredEvent>, VaultError> {
        let snapshot = self.snapshot();
        blocking(move || snapshot.find_event(id)).await
    }

    /// # Errors
    /// A file cannot be read.
    pub async fn event_at(&self, seq: u64) -> Result<Option<StoredEvent>, VaultError> {
        let snapshot = self.snapshot();
        blocking(move || snapshot.event_at(seq)).await
    }

    /// Seals everything acknowledged so far and returns when it is sealed.
    ///
    /// # Errors
    /// Sealing failed; the WAL stays and is sealed later.
    pub async fn seal_now(&self) -> Result<(), VaultError> {
        let (reply, answer) = oneshot::channel();
        self.shared().queue.push_seal(Some(reply));
        answer.await.unwrap_or_else(|_| Err(self.why_not()))
    }

    /// A heartbeat and a checkpoint over everything acknowledged so far, for callers that must be under one before they act.
    ///
    /// # Errors
    /// The log cannot be written.
    pub async fn checkpoint_now(&self) -> Result<Option<Checkpoint>, VaultError> {
        let shared = Arc::clone(&self.inner.shared);
        blocking(move || {
            shared.heartbeat()?;
            let checkpoint = shared.log().checkpoint.clone();
            Ok(checkpoint)
        })
        .await
    }

    /// The vault in numbers.
    #[must_use]
    pub fn status(&self) -> Status {
        status::status(self.shared())
    }

    /// Expires every segment that is due at `now`.
    ///
    /// # Errors
    /// The log cannot be written, or a file cannot be removed (the next start removes it).
    pub async fn expire(&self, now: Time) -> Result<Expired, VaultError> {
        let shared = Arc::clone(&self.inner.shared);
        blocking(move || retain::expire(&shared, now)).await
    }

    /// What [`Vault::expire`] would do.
    #[must_use]
    pub fn expire_dry_run(&self, now: Time) -> Expired {
        retain::plan(&self.shared().log().state, now).0
    }

    /// Writes a `config` leaf, if the hash differs from the last one.
    ///
    /// # Errors
    /// The log cannot be written.
    pub async fn record_config(&self, sha256: Digest, by: String) -> Result<(), VaultError> {
        let shared = Arc::clone(&self.inner.shared);
        blocking(move || {
            if shared.log().state.config == Some(sha256) {
                return Ok(());
            }
            shared.publish(&by, vec![Body::Config(Config { sha256 })]).map(drop)
        })
        .await
    }

    /// Writes an `export` leaf, before the rows leave.
    ///
    /// # Errors
    /// The log cannot be written; nothing may then leave.
    pub async fn record_export(&self, export: Export, by: String) -> Result<u64, VaultError> {
        let shared = Arc::clone(&self.inner.shared);
        blocking(move || shared.publish(&by, vec![Body::Export(export)])).await
    }

    /// Writes a legal hold or its release.
    ///
    /// # Errors
    /// The log cannot be written.
    pub async fn hold(
        &self,
        dataset: String,
        hold: Hold,
        by: String,
        approvals: Vec<String>,
    ) -> Result<u64, VaultError> {
        let shared = Arc::clone(&self.inner.shared);
        blocking(move || {
            let from = shared.now();
            let (rule, clock) = ("hold".into(), "received".into());
            let policy = Policy { dataset, rule, max_age: None, clock, from, approvals, hold: Some(hold) };
            shared.publish(&by, vec![Body::Policy(policy)])
        })
        .await
    }

    /// Does whatever is due now: heartbeat, sealing by age, expiry. The background thread calls it; with
    /// [`Settings::background`] off, the test does.
    ///
    /// # Errors
    /// The log cannot be written.
    pub fn tick(&self) -> Result<(), VaultError> {
        tick::tick(self.shared(), &self.inner.last_expiry)
    }

    /// Takes nothing more, commits what is queued, seals everything, publishes a last heartbeat, and lets go of the folder.
    ///
    /// # Errors
    /// Sealing or the last heartbeat failed; what was acknowledged is safe in the WAL, and the next start seals it.
    pub async fn close(self) -> Result<(), VaultError> {
        self.shared().queue.close();
        let sealed = match self.shared().poisoned() {
            Some(error) => Err(error),
            None if self.shared().facts.is_full.load(Ordering::Acquire) => Ok(()),
            None => self.seal_now().await,
        };
        let beaten = match &sealed {
            Ok(()) => self.checkpoint_now().await.map(drop),
            Err(_) => Ok(()),
        };
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            inner.stop();
            Ok(())
        })
        .await?;
        sealed.and(beaten)
    }
}

impl Inner {
    fn stop(&self) {
        self.shared.facts.stop.store(true, Ordering::Release);
        self.shared.queue.stop();
        self.shared.seals.stop();
        self.shared.room.close();
        self.shared.live.close();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn blocking<T: Send + 'static>(
    f: impl FnOnce() -> Result<T, VaultError> + Send + 'static,
) -> Result<T, VaultError> {
    tokio::task::spawn_blocking(f).await.unwrap_or(Err(VaultError::Closed))
}
