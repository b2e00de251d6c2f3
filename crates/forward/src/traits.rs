//! What the engine needs from its surroundings. `avouch` implements all of it over vault and state store.

use crate::record::{DeadLetter, DeliveryReceipt, Expired};
use async_trait::async_trait;
use model::{Batch, Time};
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// What one read gave.
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// One dataset each, rows with seqs. Batches may interleave in seq.
    pub batches: Vec<Batch>,
    /// Everything selected below this seq has been given: where to read on. Moves past events that were not selected.
    pub next: u64,
    /// Half-open ranges that retention or damage took before they could be read.
    pub gaps: Vec<(u64, u64)>,
}

/// The vault's log, read forward.
#[async_trait]
pub trait Source: Send + Sync {
    /// Events with seq at or above `from`, about `max_bytes` of raw; waits up to `wait` for the first. Never dropped half-way by the
    /// engine, so it need not be cancel-safe (except at the end of the process).
    async fn next(&self, from: u64, max_bytes: usize, wait: Duration) -> Result<Read, StoreError>;
    /// The seq that the next event will get.
    fn head(&self) -> u64;
}

/// How far a sink is, as stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct StoredCursor {
    /// Everything below is done or dead.
    pub next: u64,
    pub is_paused: bool,
}

#[async_trait]
pub trait Cursors: Send + Sync {
    async fn load(&self, sink: &str, shard: u32) -> Result<Option<StoredCursor>, StoreError>;
    /// Durable when it returns.
    async fn store(&self, sink: &str, shard: u32, cursor: StoredCursor) -> Result<(), StoreError>;
}

#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// Durable when it returns: only then do the events count as dead.
    async fn write(&self, letters: Vec<DeadLetter>) -> Result<(), StoreError>;
}

#[async_trait]
pub trait Receipts: Send + Sync {
    async fn delivered(&self, receipt: DeliveryReceipt) -> Result<(), StoreError>;
    /// Durable when it returns: only then does the engine move on.
    async fn expired(&self, expired: Expired) -> Result<(), StoreError>;
}

/// Facts that somebody outside may want to act on (health, a finding, a metric).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SinkEvent {
    /// The sink waits for a person: credentials, identity or index.
    Held { sink: String, reason: String },
    /// It goes on.
    Released { sink: String },
    /// Events became dead letters.
    Dead { sink: String, events: u64, class: String, code: String },
    /// Events expired before they were sent.
    Expired { sink: String, from: u64, to: u64 },
}

/// Clock, chance and ears.
pub trait Host: Send + Sync {
    fn now(&self) -> Time;
    /// Uniform in `0..=max`.
    fn random(&self, max: i64) -> i64;
    fn notify(&self, event: SinkEvent);
}
