//! Ways to reach people or systems, one per file.

mod file;
mod smtp;
mod webhook;

use crate::{ChannelConfig, Error, Parcel, Secrets};
use async_trait::async_trait;
use model::Time;
use std::sync::Arc;

/// Bytes kept of a receiver's answer.
pub(crate) const ANSWER_BYTES_MAX: usize = 1_024;

/// What became of one attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The receiving machine took it.
    Delivered,
    /// Try again; not before `after` microseconds where the receiver said so.
    Retry { after: Option<i64> },
    /// Trying again cannot help.
    Refused,
}

/// The receiver's own answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    pub verdict: Verdict,
    /// At most 1 KiB, controls made visible.
    pub text: String,
    /// SHA-256 of the body sent, hex; empty when nothing was sent.
    pub body_sha256: String,
}

impl Answer {
    pub(crate) fn new(verdict: Verdict, text: &str, body: &[u8]) -> Answer {
        let mut end = text.len().min(ANSWER_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let text = model::escape_controls(text.get(..end).unwrap_or_default());
        Answer { verdict, text, body_sha256: model::sha256_hex(body) }
    }
    pub(crate) fn retry(text: &str, body: &[u8]) -> Answer {
        Answer::new(Verdict::Retry { after: None }, text, body)
    }
}

/// One way out. Implementations hold what they need (connections, secrets) and never retry by themselves.
#[async_trait]
pub trait Channel: Send + Sync {
    async fn send(&self, parcel: &Parcel, now: Time) -> Answer;
}

/// Opens the channel `name` as configured, with its secrets resolved.
///
/// # Errors
/// Secrets that cannot be read, certificates that cannot be used, settings that [`crate::AlertsConfig::check`] refuses.
pub fn open_channel(
    name: &str,
    config: &ChannelConfig,
    secrets: Secrets<'_>,
) -> Result<Arc<dyn Channel>, Error> {
    match (&config.webhook, &config.smtp, &config.file) {
        (Some(c), None, None) => Ok(Arc::new(webhook::Webhook::open(name, c, secrets)?)),
        (None, Some(c), None) => Ok(Arc::new(smtp::Smtp::open(name, c, secrets)?)),
        (None, None, Some(c)) => Ok(Arc::new(file::File::open(name, c)?)),
        _ => Err(Error::Channel {
            channel: name.to_owned(),
            why: "it needs exactly one of webhook, smtp, file".to_owned(),
        }),
    }
}

pub(crate) fn secret(
    channel: &str,
    reference: Option<&crate::SecretRef>,
    secrets: Secrets<'_>,
) -> Result<Option<crate::Secret>, Error> {
    let Some(r) = reference else { return Ok(None) };
    let bad = |why| Error::Secret { channel: channel.to_owned(), reference: r.to_string(), why };
    secrets(r).map(Some).map_err(bad)
}
