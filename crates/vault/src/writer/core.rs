use super::log::Log;
use super::pool::Pool;
use super::queue::Queue;
use super::seal::SealQueue;
use super::settings::Settings;
use crate::error::VaultError;
use crate::format::VaultJson;
use crate::read::{KeyRing, Live, TailCache};
use crate::traits::Host;
use model::{Batch, Provenance, Time};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use tokio::sync::Semaphore;

/// Dataset of the vault's own doings.
pub(crate) const OWN_DATASET: &str = "avouch.vault";
/// A backward step below this is the clock being disciplined, not an event.
const STEP_MICROS: i64 = Time::SECOND;

/// What the vault's threads share. Grouped by what guards it.
pub(crate) struct Shared {
    // Fixed at open.
    pub dir: PathBuf,
    pub settings: Settings,
    pub host: Host,
    pub json: VaultJson,
    pub id: [u8; 16],
    pub keys: Arc<KeyRing>,

    // Guarded by themselves.
    pub queue: Queue,
    pub pool: Arc<Pool>,
    /// One permit per KiB that waits for its commit.
    pub room: Arc<Semaphore>,
    pub live: Arc<Live>,
    pub cache: TailCache,
    pub seals: SealQueue,
    pub clock: MonotoneClock,
    pub facts: Facts,
    /// Set once: why nothing is taken any more.
    pub poison: OnceLock<String>,

    /// The outer log. Whoever publishes holds it from the first tile to the checkpoint.
    pub log: Mutex<Log>,
    pub positions: RwLock<BTreeMap<Arc<str>, Arc<str>>>,

    /// Holds the flock; released when the last thread is gone.
    pub _lock: File,
}

/// Counters and flags for status.
#[derive(Default)]
pub(crate) struct Facts {
    /// Rows of other people's datasets ever committed by this process: activity for the heartbeat.
    pub foreign_rows: AtomicU64,
    pub rows: AtomicU64,
    pub commits: AtomicU64,
    /// When the open WAL got its first commit; 0 without one.
    pub wal_since: AtomicI64,
    pub wal_bytes: AtomicU64,
    pub last_seal: AtomicI64,
    pub is_full: AtomicBool,
    pub unclean: AtomicBool,
    pub stop: AtomicBool,
    pub quarantined: AtomicU64,
    pub seal_error: Mutex<Option<String>>,
}

impl Facts {
    pub(crate) fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

/// A clock that never goes back (V3).
pub(crate) struct MonotoneClock {
    last: AtomicI64,
    /// Set while the machine's clock is behind: one event per step, not one per reading.
    behind: AtomicBool,
}

impl MonotoneClock {
    pub(crate) fn new(floor: Time) -> MonotoneClock {
        MonotoneClock { last: AtomicI64::new(floor.0.max(0)), behind: AtomicBool::new(false) }
    }

    /// The time now or the highest ever given. The second part is set once per backward step: (held, machine's).
    pub(crate) fn read(&self, now: Time) -> (Time, Option<(Time, Time)>) {
        let before = self.last.fetch_max(now.0, Ordering::AcqRel);
        let held = Time(before.max(now.0));
        if held.since(now) < STEP_MICROS {
            self.behind.store(false, Ordering::Release);
            return (held, None);
        }
        let is_new = !self.behind.swap(true, Ordering::AcqRel);
        (held, is_new.then_some((held, now)))
    }
}

impl Shared {
    pub(crate) fn now(&self) -> Time {
        let (now, step) = self.clock.read(self.host.clock.now());
        if let Some((held, machine)) = step {
            self.own_event("clock_back", &serde_json::json!({"held": held, "machine": machine}));
        }
        now
    }

    pub(crate) fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops taking events for good.
    pub(crate) fn poison(&self, why: String) {
        tracing::error!(why, "the vault has stopped taking events");
        let _ = self.poison.set(why);
        self.queue.wake();
    }

    pub(crate) fn poisoned(&self) -> Option<VaultError> {
        self.poison.get().map(|why| VaultError::Poisoned { why: why.clone() })
    }

    /// Puts a doing of the vault itself into its queue; nobody waits for it.
    pub(crate) fn own_event(&self, event: &str, facts: &serde_json::Value) {
        let mut value = facts.clone();
        if let Some(map) = value.as_object_mut() {
            map.insert("event".into(), event.into());
        }
        let Ok(raw) = model::canonical::to_vec(&value) else { return };
        let mut batch = Batch::builder();
        let provenance = batch.provenance(Provenance::new("avouch"));
        let dataset = batch.dataset(OWN_DATASET);
        batch.push(&raw, provenance, dataset).event_time = self.clock.read(self.host.clock.now()).0;
        self.queue.push_own(batch.finish());
    }
}
