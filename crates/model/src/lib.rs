//! The nouns of Avouch as plain data: Event (as rows of a [`Batch`]), [`Finding`], [`Alert`], [`Control`], [`Proof`] and
//! [`Resource`], with the
//! few value types they share (ids, [`Severity`], [`Time`], canonical JSON).
//!
//! Nothing comes in and nothing goes out: this crate has no IO, no clock, no randomness and no async (N1). Times, ids and random
//! bytes are values that the caller brings.
//!
//! Three ideas carry the rest of the workspace:
//!
//! - **A batch is one arena.** Raw bytes are received once into [`bytes::Bytes`]; an event is a [`Row`] that points into them.
//!   No heap object exists per event between the socket and the log, and no crate copies a message to hand it on.
//! - **The envelope stands beside the payload (E1).** What the transport proved is a [`Provenance`], interned per batch; a row
//!   names it by index. Nothing in this crate can write a payload field into it.
//! - **An id is a hash of where something came from.** [`EventId`] hashes origin parts, [`FindingId`] hashes the parts of
//!   identity (F2): the same input gives the same id on every machine, in any order, in any run.
//!
//! ```
//! use model::{Batch, Provenance};
//! let mut batch = Batch::builder();
//! let who = batch.provenance(Provenance::new("edge-syslog").sender("10.0.0.7:514"));
//! let dataset = batch.dataset("syslog");
//! batch.push(b"<13>hello", who, dataset);
//! let batch = batch.finish();
//! assert_eq!(batch.raw(0), b"<13>hello");
//! assert_eq!(batch.provenance_of(0).source.as_ref(), "edge-syslog");
//! ```
//!
//! Rejected: `arrow` as the in-memory batch (its build would sit under every crate, N2), a struct with owned fields per event
//! (an allocation per field per event), and a `HashMap` envelope (a sender-chosen key could then shadow ours).

mod batch;
pub mod canonical;
mod columns;
mod control;
mod evidence;
mod facts;
mod finding;
mod id;
mod resource;
mod severity;
mod text;
mod time;

pub use batch::{
    Batch, BatchBuilder, EVENT_BYTES_MAX, Flags, Provenance, Row, SEQ_NONE, SourcePosition, Span,
};
pub use columns::{Column, ColumnKind, ColumnSpec, Columns, TextColumn, TextListColumn};
pub use control::{
    Attestation, Configured, Control, ControlKind, ControlState, DrillPlan, Effective, Exception, Instance,
    LastProven, Mapping, Observation, Owner, Planned, Probe, Proof, ProofOutcome, ProofStep,
};
pub use evidence::EvidenceList;
pub use facts::{Facts, FactsBuilder, FactsDraft};
pub use finding::{
    About, Alert, Attributes, Delivery, DeliveryState, Evidence, Finding, FindingSource, Occurrence, RuleRef,
    Subject,
};
pub use id::{EventId, FindingId, ParseIdError, sha256, sha256_hex};
pub use resource::{Account, CallError, Organization, OrganizationPolicy, Resource};
pub use severity::Severity;
pub use text::{escape_controls, glob, nearest};
pub use time::{Time, TimeRange};
