//! SQL and history search over the vault.
//!
//! A [`vault::Snapshot`] and a question come in, rows come out, together with what was read, what was passed over and why, and what
//! could not be looked at. Nothing is ever changed.
//!
//! Three ideas carry it:
//!
//! - **A dataset is a table**: sealed Parquet files and the unsealed tail under one schema, so an acknowledged event is found at
//!   once and the border between the two cannot be seen. Which files may matter comes from the log's leaves, not from the disk.
//! - **A search is an expression**: [`language`] parses `user = alice and event ~ Delete*`, [`Engine::search`] compiles it per
//!   dataset and keeps the newest rows in bounded memory, so a time box leaves a labelled partial answer instead of none.
//! - **Bounded**: memory, time and the number of questions at a time; a question that needs more fails alone.
//!
//! Truths. F1: a segment whose key or file is missing makes the answer incomplete and is named ([`ScanFacts::unknown`]). O1: newest
//! first, then by seq, whatever the threads did.
//!
//! It does not decide who may ask and does not record that somebody asked: the host does both, before the first row leaves.
//!
//! Rejected: DuckDB (a second Parquet reader that cannot take our keys with an AAD prefix); listing the partition folders (an
//! injected file would become a row).

mod compile;
mod engine;
mod functions;
pub mod language;
mod table;
mod tail;
mod value;

pub use compile::ValueError;
pub use engine::{Answer, Engine, Limits, QueryFailure, Request};
pub use table::ScanFacts;
