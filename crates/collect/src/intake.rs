//! The way out of this crate: batches go in, one receipt per event comes back.

use async_trait::async_trait;
use model::{Batch, EventId};
use serde::Serialize;
use std::time::Duration;

/// Takes batches and makes them durable; `avouch` implements it as shape-then-vault.
///
/// V2: an implementation resolves only when the events are durable (or are known not to become so). Not resolving is the
/// back-pressure: TCP stops reading, HTTP answers 503, file offsets stand still.
#[async_trait]
pub trait Intake: Send + Sync {
    /// One receipt per row of `batch`, in row order. The batch's positions are committed together with its events, and also
    /// when it has no rows (a file that was read to its end and held nothing).
    ///
    /// Batches of one source become durable in the order in which their futures were first polled.
    async fn append(&self, batch: Batch) -> Result<Vec<Receipt>, IntakeError>;

    /// The newest durable value of a source position.
    fn position(&self, key: &str) -> Option<String>;
}

/// What became of one event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Receipt {
    /// It is on disk under this position.
    Durable { shard: u32, seq: u64 },
    /// The same origin was taken before; nothing was stored.
    Duplicate { of: EventId },
    /// It will never be stored by sending it again.
    Refused { reason: Refused },
}

/// Why an event was refused. Closed, because it is a metric label.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Refused {
    /// Above `model::EVENT_BYTES_MAX`.
    TooLarge,
    /// The key or the owner may not write to that dataset.
    NotAllowed,
    /// It passed through this product too often (a forwarding loop).
    Loop,
}

/// A batch was not taken; nothing in it may be acknowledged. Sending it again is always right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntakeError {
    #[error("the vault cannot append: {why}")]
    Unavailable { why: String, retry_after: Duration },
    #[error("the vault is closing")]
    Closed,
    /// The default when something drops a receipt is failed, never delivered (vector #12217).
    #[error("the vault answered {got} receipts for {want} events")]
    ReceiptsMissing { want: usize, got: usize },
}

impl IntakeError {
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            IntakeError::Unavailable { .. } => "intake.unavailable",
            IntakeError::Closed => "intake.closed",
            IntakeError::ReceiptsMissing { .. } => "intake.receipts_missing",
        }
    }
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            IntakeError::Unavailable { .. } => "look at `avouch doctor`: a full disk is the usual cause",
            IntakeError::Closed => "nothing to do: what is unfinished is sent again after the start",
            IntakeError::ReceiptsMissing { .. } => "this is a defect: report it with the log around it",
        }
    }
    /// How long a polite sender waits.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        match self {
            IntakeError::Unavailable { retry_after, .. } => *retry_after,
            _ => Duration::from_secs(5),
        }
    }
}

/// Bytes that a decoder could not turn into events. Durable in dataset `avouch.dead_letter` before the source moves on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeadLetter {
    /// Always `decode` here; `forward` writes the other kind.
    pub stage: &'static str,
    pub source: String,
    /// The chain that was tried, e.g. `gzip, cloudwatch`.
    pub decoder: String,
    pub reason: String,
    /// Where in the (decompressed) input decoding stopped.
    pub offset: u64,
    /// What the input was, in the words of its origin (path, key id); a fact of the transport, never of the payload.
    pub origin: String,
    /// The undecodable bytes as received, cut at [`DEAD_LETTER_BYTES_MAX`].
    pub bytes: bytes::Bytes,
}

/// Bytes kept of one dead letter (1 MiB): enough to see and to decode again what is usual, bounded against a flood of junk.
pub const DEAD_LETTER_BYTES_MAX: usize = 1 << 20;

/// Where dead letters go; `avouch` writes them to dataset `avouch.dead_letter`.
#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// Resolves when the letter is durable.
    async fn write(&self, letter: DeadLetter) -> Result<(), IntakeError>;
}
