//! The outside → Event. Listeners, files and pipes go in; [`model::Batch`]es come out through the trait [`Intake`], which the host
//! implements as shape-then-vault. This crate never sees the vault, and never reads what a message says: it finds where one event
//! ends and the next begins, and writes down what the transport proves about it.
//!
//! Four ideas carry it:
//!
//! - **One pass from socket to batch.** A read lands in one buffer; messages are spans into it ([`model::Batch::over`]). Between
//!   socket and intake there is no copy, no allocation, no lock and no metric lookup per event.
//! - **The envelope is built only from what the transport proves** (E1): listener, peer address, certificate, key id, file identity.
//!   No decoder has a way to put a payload field into a [`model::Provenance`] (`decode/mod.rs` tests the forgery).
//! - **A receipt is the only ground for an acknowledgement** (V2). HTTP answers 200 and files move their checkpoint from
//!   [`Receipt::Durable`] or [`Receipt::Duplicate`] and from nothing else (`feed.rs`, `source/https.rs`, `source/file.rs`). A missing
//!   receipt is a failure, never a delivery.
//! - **Back-pressure is `append` not resolving.** TCP then stops reading, HTTP answers 503, offsets stand still. Each source has its
//!   own share in flight ([`SHARE_BYTES`]), so a flood on one does not starve another. UDP alone drops, in the kernel, counted.
//!
//! Nothing is dropped in silence: junk is an event with flag `parse_error`, over-long is kept cut with its declared length,
//! undecodable bytes are a [`DeadLetter`], and what is put away on purpose has a reason in [`Discard`]. Every number is in
//! [`Counters`].
//!
//! It deliberately does not parse syslog headers, event times or natural keys (`shape` does), decide duplicates (the host asks a
//! [`Window`]), keep state of its own (positions travel in the batch and commit with its events), or know any cloud.
//!
//! ```
//! use collect::{SourceConfig, decode, decode::Envelope};
//! use model::Provenance;
//! // A source as it stands in the configuration, here as JSON:
//! let config: SourceConfig = serde_json::from_str(r#"{"syslog": {"listen": ["udp://127.0.0.1:0"]}}"#).unwrap();
//! assert!(config.problems("edge").is_empty());
//! // A posted body becomes events; what it claims about itself stays inside it:
//! let envelope = Envelope {
//!     dataset: "app".into(),
//!     provenance: Provenance::new("api").sender("key-1"),
//!     origin: serde_json::Map::new(),
//!     owners: Vec::new(),
//! };
//! let body = bytes::Bytes::from_static(br#"[{"source":"forged"}, {"n":2}]"#);
//! let events = decode::decode(&[], body, &envelope, 1 << 20, "application/json").batch;
//! assert_eq!(events.raw(0), br#"{"source":"forged"}"#);
//! assert_eq!(&*events.provenance_of(0).source, "api");
//! ```
//!
//! Rejected: a framework above hyper for two routes (N2); `serde_json::Value` for finding records (it re-serialises, and raw would
//! no longer be the bytes that were sent); a queue on disk between source and vault (a second thing to corrupt); following files by
//! inotify (it misses network folders and overflows; a poll each second misses nothing); `recvmmsg` and `SO_RXQ_OVFL` (no safe
//! form without a new dependency; `/proc/net/udp` has the same drop counter).

#[cfg(test)]
extern crate self as collect;

pub mod config;
mod counters;
pub mod decode;
mod feed;
mod ids;
mod intake;
mod keys;
mod running;
mod source;
#[cfg(test)]
mod testing;
pub mod units;
mod window;

pub use config::{ConfigProblem, Kind, SourceConfig, Transport};
pub use counters::{Counters, Discard, Snapshot};
pub use feed::{Mode, SHARE_BYTES, STOP_GRACE};
pub use intake::{DEAD_LETTER_BYTES_MAX, DeadLetter, DeadLetters, Intake, IntakeError, Receipt, Refused};
pub use keys::{Access, AccessLog, ApiKey, Grant, KeyRefusal, KeyRing, Keys};
pub use running::{Host, Running, StartError, start};
pub use source::cloudtrail_files::{Problem, Report, read_path};
pub use window::{WINDOW_IDS, Window};
