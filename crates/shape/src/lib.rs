//! Event → Event: parse, tag, route; and columns from raw.
//!
//! In comes a [`model::Batch`] as `collect` made it, with the configuration as a [`Plan`], the received time and the open drills as
//! data. Out comes the same batch with dataset, event time, natural key, flags and tags, and the canaries that were seen
//! ([`intake`]). Later, from the same raw bytes, come the columns that search and detection work on ([`derive`]), the decoded fields
//! ([`parsed`]) and the six lines that a person reads first ([`six_lines`]).
//!
//! The ideas:
//!
//! - **Lazy.** Before an event is acknowledged, only what routing, event time and natural key need is read: one look at the bytes,
//!   by hand-written parsers, with no allocation per event for syslog and CloudTrail. Everything else is derived when it is asked for,
//!   and can be derived again.
//! - **One reading.** A family of datasets reads raw into one record; columns, six lines and notes are all made from it.
//! - **Nobody routes himself.** A rule rests on facts of the transport; content can only narrow it ([`PlanError::ContentAlone`]).
//! - **Junk is an event.** Every parser answers for any bytes, and says in a flag and in the `error` column what did not fit.
//!
//! Truths upheld here: **E1** ([`intake`] writes no byte of raw, payload keys stand under roots of their own and never reach the
//! envelope, constants never replace a fact of the transport); **D1** in its first half (event time is decided once, at intake, and
//! stored; columns depend on raw and that time alone); **O1** (equal input gives equal output: no clock, no hash order); **N3** (no
//! file, network, clock or randomness; time zone rules come in as bytes).
//!
//! Not here: masking and encryption at the outlets (later), splitting of deliveries into events (`collect`), whether a canary's
//! counter was used before (the host).
//!
//! ```
//! use model::{Batch, Column, Provenance, Time};
//! let mut batch = Batch::builder();
//! let who = batch.provenance(Provenance::new("edge").sender("192.0.2.1:514"));
//! let dataset = batch.dataset("syslog");
//! let line = b"<38>Mar 14 11:59:58 web1 sshd[7]: Failed password for root from 203.0.113.9 port 4242 ssh2";
//! batch.push(line, who, dataset);
//! let now = Time::parse_rfc3339(b"2025-03-14T12:00:00Z").unwrap();
//!
//! let shaped = shape::intake(&batch.finish(), &shape::Plan::default(), now, &[]);
//! assert_eq!(shaped.batch.rows[0].event_time.to_string(), "2025-03-14T11:59:58Z");
//! assert_eq!(shaped.batch.raw(0), line);
//!
//! let columns = shape::derive("syslog", &shaped.batch);
//! let text = |name| columns.text(name, 0).unwrap();
//! assert_eq!((text("action"), text("outcome"), text("src_ip")), ("ssh.login", "failure", "203.0.113.9"));
//!
//! let facts = shape::Facts::of(&shaped.batch, 0);
//! assert_eq!(shape::six_lines("syslog", line, &facts).who, "root");
//! ```
//!
//! Rejected: `serde_json::Value` per event (a tree per event for three fields of it), regular expressions for headers (slower than
//! the bytes they read, and no position for an error), a transform language (rules are data that can be checked), and columns made at
//! intake (the acknowledgement would wait for them).

mod addr;
pub mod canary;
mod config;
mod content;
mod dataset;
mod intake;
pub mod json;
pub mod level;
mod moment;
mod plan;
mod scan;
mod six_lines;
pub mod syslog;

pub use addr::{Cidr, ip, peer};
pub use canary::{Mark, OpenRun, Planned, RunId, token};
pub use config::{
    ContentList, DatasetRule, Match, OneOrMore, PlanError, RuleTest, ShapeConfig, TagRule, ZoneRule,
};
pub use content::Content;
pub use dataset::{
    Checksum, Dataset, OTHER, Outcome, checksum, datasets, derive, derive_some, event_time_from, notes,
    parsed, parser, six_lines, specs,
};
pub use intake::{CLOCK_SKEW_MIN, Shaped, intake};
pub use moment::{Civil, Stamp, Zone};
pub use plan::{Plan, TestFailure};
pub use six_lines::{Facts, NOT_IN_RECORD, SixLines};
