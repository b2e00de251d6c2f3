//! Vault cursor → SIEM.
//!
//! In: batches of the vault's log, read on from a seq through [`Source`]. Out: documents in a SIEM, and for every event one of two
//! outcomes: *done* (the target said so, for this item) or *dead* (a [`DeadLetter`] that is durable before it counts). Nothing else
//! moves the cursor.
//!
//! Four ideas carry it:
//!
//! - **The vault is the buffer.** A sink that is down costs lag, not memory and not a second queue on disk. Re-drive, replay and a
//!   new SIEM are all "a cursor elsewhere".
//! - **One flat state machine per sink.** An item is pending, in flight, waiting to be tried again, done or dead ([`Window`]); the
//!   cursor is the highest contiguous done or dead. There are no nested retry layers that could hide which item failed.
//! - **Held is not dead.** Refused credentials, a broken TLS identity or a missing index hold the *sink*: it says so, tries one
//!   event every 30 s and goes on by itself. A whole estate never turns into dead letters because a password expired.
//! - **Unclear is not done.** A connection that died after the request, a body that was cut, an answer with one item too few: all of
//!   it is sent again, and each sink's page says whether a resend can duplicate ([`Sink::is_idempotent`]).
//!
//! Truths: E1 (raw leaves byte-identical or, where JSON cannot carry it, beside its exact base64; our envelope stands under own roots
//! where no payload field can shadow it: `render.rs`), V2's mirror image in `engine.rs` (no cursor before every outcome under it is
//! durable), F3 (receipts and redrive outcomes carry who, when, why), O1 (items keep their order inside a batch).
//!
//! ```
//! use forward::{SinkConfig, index_name};
//! let sink: SinkConfig = serde_json::from_str(r#"{
//!     "elasticsearch": { "urls": [ "https://es1:9200" ], "index": "logs-{dataset}-prod" },
//!     "datasets": [ "aws.*" ] }"#).unwrap();
//! assert!(sink.selects("aws.cloudtrail"));
//! assert!(!sink.selects("avouch.finding"), "our own datasets leave only when named");
//! let at = model::Time::from_secs(1_750_000_000);
//! assert_eq!(index_name("logs-{dataset}-{date}", "aws.cloudtrail", at), "logs-aws.cloudtrail-2025.06.15");
//! ```
//!
//! What it does not do yet: Splunk HEC, Loki, Kafka, MongoDB, S3, Lumberjack and HTTP sinks; re-drive of stage `decode`; outlet
//! shapes (a [`Render`] of the host can mask); the stored intent for sinks whose batch borders matter (S3 only).
//!
//! Rejected: a retry service around each request (which items failed is then known to nobody); a queue on disk between vault and
//! sink (a second thing to corrupt); counting a 2xx as success for the whole request (bulk interfaces answer 200 to refused items).

mod config;
mod engine;
mod error;
mod http;
mod pace;
mod record;
mod redrive;
mod render;
mod secret;
pub mod sink;
mod status;
mod tls;
mod traits;
mod units;
mod window;

pub use config::{
    Auth, BatchConfig, ConfigProblem, DATASETS_OWN, ElasticsearchConfig, FileSinkConfig, LimitConfig,
    RetryConfig, SinkConfig, Start, SyslogFormat, SyslogSinkConfig, WindowConfig,
};
pub use engine::{Engine, Handle, Parts, start};
pub use error::Error;
pub use pace::{Bucket, CONCURRENCY_MAX, Pace, backoff};
pub use record::{
    DEAD_LETTER_DATASET, DELIVERY_DATASET, DeadLetter, DeliveryReceipt, Expired, Request, Resolution,
    ResolutionState, Stage,
};
pub use redrive::{
    Ask, Fetch, Group, LetterState, REDRIVE_TRIES, RedrivePlan, RedriveReport, Resolutions, plan_redrive,
    redrive, standing,
};
pub use render::{Document, Render, index_name};
pub use secret::{Secret, SecretRef, Secrets};
pub use sink::{Failure, Item, ItemResult, Outcome, Refusal, Sent, Sink, open_sink};
pub use status::{Held, RunState, SinkStatus};
pub use tls::TlsConfig;
pub use traits::{Cursors, DeadLetters, Host, Read, Receipts, SinkEvent, Source, StoreError, StoredCursor};
pub use units::{Rate, Size, Span};
pub use window::{Ticket, Window};
