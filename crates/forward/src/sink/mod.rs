//! Targets, one per file. A sink sends one batch once and says what became of each item; it never retries by itself.

mod elasticsearch;
mod file;
mod syslog;

use crate::{Error, Render, Secrets, SinkConfig};
use async_trait::async_trait;
use model::Batch;
use std::sync::Arc;

/// Bytes kept of a target's own words.
pub(crate) const TEXT_BYTES_MAX: usize = 1_024;

/// One event to send.
#[derive(Clone, Debug)]
pub struct Item {
    pub batch: Arc<Batch>,
    pub row: usize,
    pub seq: u64,
}

impl Item {
    /// Bytes of its record.
    #[must_use]
    pub fn raw_len(&self) -> usize {
        self.batch.rows.get(self.row).map_or(0, |r| r.raw.len())
    }
}

/// Why the target does not want an item, in its own words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// Status or kind, such as `400`, `too_large`.
    pub class: String,
    /// The target's type, such as `mapper_parsing_exception`.
    pub code: String,
    pub text: String,
    /// SHA-256 of the document, hex.
    pub item_sha256: String,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ItemResult {
    Done,
    /// It was there already.
    Duplicate,
    Retry(String),
    /// Like [`Failure::Hold`], for one item.
    Hold(String),
    Dead(Refusal),
}

/// Why a whole request gave no answer per item.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// Later. `after` (µs) where the target said so.
    Retry { reason: String, after: Option<i64>, is_throttle: bool },
    /// Only a person can help: credentials, identity, a missing index.
    Hold { reason: String },
    /// Too large, or refused without saying which item: send halves, until one item is left, which is refused like this.
    Split(Refusal),
}

/// What became of one request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// One result per item, in order.
    Items(Vec<ItemResult>),
    Failed(Failure),
}

/// A request and its outcome.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sent {
    pub outcome: Outcome,
    /// SHA-256 of the request, hex.
    pub sha256: String,
    pub bytes: usize,
    /// The target's status line, or what went wrong.
    pub status: String,
    /// The target's own id for the request, where it gives one.
    pub ack: Option<String>,
}

impl Sent {
    pub(crate) fn failed(failure: Failure, sha256: String, bytes: usize) -> Sent {
        let status = match &failure {
            Failure::Retry { reason, .. } | Failure::Hold { reason } => reason.clone(),
            Failure::Split(r) => format!("{} {} {}", r.class, r.code, r.text),
        };
        Sent { outcome: Outcome::Failed(failure), sha256, bytes, status, ack: None }
    }
}

#[async_trait]
pub trait Sink: Send + Sync {
    fn kind(&self) -> &'static str;
    /// Whether a resend of an item that arrived adds nothing.
    fn is_idempotent(&self) -> bool;
    /// Requests that make sense at a time.
    fn concurrency_max(&self) -> usize;
    /// Sends `items` once.
    async fn send(&self, items: &[Item]) -> Sent;
    /// Puts down what is written, at the end.
    async fn close(&self) {}
}

/// Opens the sink `name` as configured. `render` makes the documents (JSON sinks only).
///
/// # Errors
/// Settings that [`SinkConfig::check`] refuses, secrets that cannot be read, certificates that cannot be used.
pub fn open_sink(
    name: &str,
    config: &SinkConfig,
    render: Arc<dyn Render>,
    secrets: &Secrets,
) -> Result<Arc<dyn Sink>, Error> {
    if let Some(problem) = config.check(name).into_iter().next() {
        return Err(Error::Config { sink: name.to_owned(), why: problem.problem });
    }
    match (&config.elasticsearch, &config.syslog, &config.file) {
        (Some(c), None, None) => Ok(Arc::new(elasticsearch::Elasticsearch::open(name, c, render, secrets)?)),
        (None, Some(c), None) => Ok(Arc::new(syslog::Syslog::open(name, c, secrets)?)),
        (None, None, Some(c)) => Ok(Arc::new(file::File::open(name, c, render)?)),
        _ => Err(Error::Config {
            sink: name.to_owned(),
            why: "it needs exactly one of elasticsearch, syslog, file".to_owned(),
        }),
    }
}

/// At most 1 KiB, cut at a character.
pub(crate) fn cut(text: &str) -> String {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}
