//! Finding → Finding: identity, lifecycle, suppression.
//!
//! In: [`model::Occurrence`]s (a rule held once) and [`Command`]s of people. Out: [`Changes`], which the host stores, appends to the
//! vault as events of dataset `avouch.finding`, and hands to the alert crate. `decide(&State, command, who) → Changes` is pure (N3);
//! `State::apply` is the only place where state moves. Nothing here reads a clock: time comes in with [`By`].
//!
//! Three ideas carry it:
//!
//! - **A sum over a set, not over a stream.** A finding is the sum of its occurrences: distinct events are counted by their ids
//!   in a set that is exact to 4,096 and a k-minimum-values estimate beyond, evidence is "the newest 200", times are minimum and
//!   maximum, prose comes from the newest occurrence. Every one of these is independent of order and unchanged by a repeat, so a
//!   detector that restarts and says everything again changes nothing (F2). A settled occurrence replaces provisional ones that
//!   lie not after it; later provisional ones show on top until they settle (D1).
//! - **Two owners of fields.** Producers own verdict, severity, prose, evidence, times and the record (`ACTIVE`, `ARCHIVED`); people
//!   own workflow, note, assignee, severity override and verification. Neither ever writes the other's half. The version that
//!   guards against stale writes therefore counts people's half only, else a busy finding could never be resolved.
//! - **Suppression is a view.** `SUPPRESSED` is never stored: it is computed at time `now` from selector, owner, reason and end date,
//!   and the stored workflow lies under it. Nothing is lost under a suppression, an undo re-exposes everything at once, and
//!   making, prolonging and expiring one is itself a finding that no suppression can hide (F3).
//!
//! Truths: F2 in `sum.rs` and `decide.rs` (drills get ids of their own, so that a drill can never pose as the real thing), F3 in
//! `event.rs` (who, when, why on every change) and `suppress.rs`, O1 in `list.rs` (every order ends with the id), N3 everywhere.
//!
//! ```
//! use findings::{By, Command, Filter, State, decide};
//! use model::{Time, TimeRange};
//! let mut state = State::default();
//! let ana = By { who: "ana".into(), at: Time::from_secs(1_750_000_000), why: "false alarm, ticket 7".into() };
//! let filter = Filter::parse([("severity", "high+"), ("state", "open")])?;
//! assert_eq!(state.list(&filter, ana.at)?.rows.len(), 0);
//! let unknown = decide(&state, &Command::Resolve { id: model::FindingId::of(&[b"x"]), version: None }, &ana);
//! assert_eq!(unknown.unwrap_err().code(), "finding.unknown");
//! # Ok::<(), findings::Error>(())
//! ```
//!
//! What it does not do: it keeps no prose table of its own, computes no scores yet, and does not write ASFF or OCSF yet.
//!
//! Rejected: a state that is folded from the vault's events alone (every count would have to be an event of its own; findings can be
//! recomputed from the events they rest on, people's moves cannot, and those are all in the vault); one version number for both
//! halves; storing `SUPPRESSED` (undo would have to guess what lay under it); a counter without a set (a replay would double it).

mod access;
mod decide;
mod distinct;
mod doc;
mod entry;
mod error;
mod event;
mod filter;
mod list;
mod sum;
mod suppress;

pub use decide::{ARCHIVE_AFTER, By, Changes, Command, NOTE_BYTES_MAX, Notice, Occasion, decide};
pub use distinct::DISTINCT_EXACT;
pub use doc::{Doc, Hidden};
pub use entry::{
    Entry, HISTORY_MAX, NOTES_MAX, Note, People, Record, State, Step, Verdict, Verification, Workflow,
};
pub use error::Error;
pub use event::{FINDING_DATASET, FindingEvent};
pub use filter::{Filter, GROUP_KEYS, KEYS, Key, Shown, Sort, SortKey};
pub use list::{Facets, LIST_MAX, List, Row, Totals};
pub use sum::{EVIDENCE_KEPT, PROVISIONAL_KEPT};
pub use suppress::{
    End, NewSuppression, Preview, SECOND_PERSON_ABOVE, SUPPRESSION_DAYS_MAX, Selector, Suppression,
    SuppressionKind,
};
