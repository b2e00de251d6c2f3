//! Control → Proof: the register of what an organisation claims, and the drills that exercise it.
//!
//! In go control files, what was observed, proofs and confirmations, and the time; out come, for every control, three columns that
//! are never merged (*configured*, *effective*, *last proven*) and one headline. The world is reached through traits that the host
//! implements: [`Look`] reads, [`drill::canary::World`] and [`drill::tamper::Tamper`] act. Everything else here is a pure function.
//!
//! Four ideas carry it:
//!
//! - **A control is data.** `controls/*.yaml` holds every claim of five real systems and our own ([`Register::built_in`]); the loader
//!   refuses what it does not know, with the place and the nearest name, and [`lint()`] names what cannot be false.
//! - **A headline is derived, never set.** [`state()`] walks a fixed list, worst first; the first that fits wins.
//! - **A proof is promised before it is made.** The plan publishes SHA-256 of a nonce under a checkpoint; canary tokens are MACs
//!   under that nonce; the proof reveals it. So a proof cannot be written afterwards, nor picked from several tries, and
//!   [`check_proof`] recomputes all of it from the records alone.
//! - **A drill that cannot fail proves nothing.** Each drill has sabotage tests, one per way to fail.
//!
//! Truths. C1: only `state::headline` says proven, and only over a live passing run of this version over this path; `drill::Run`
//! publishes plan and checkpoint before anything is sent. F1: a probe, drill or scope that cannot look is `unknown` and names what is
//! missing ([`missing_component`]). V4: [`check_proof`] needs records only. O1: rows, instances, steps and problems have one order.
//!
//! It does not schedule, store, deliver findings or check signatures: the host does, with this crate's answers. In this build the
//! drills `canary` and `tamper` run; every other drill, and every probe without a source, answers `unknown` and says so.
//!
//! ```
//! use prove::{Context, Register, evaluate};
//! use std::collections::BTreeMap;
//!
//! let register = Register::built_in()?;
//! let now = model::Time::from_secs(1_767_225_600);
//! // Nothing is connected, so nothing is claimed: the register says what is missing instead.
//! let rows = evaluate(&register, &BTreeMap::new(), &[], &[], &Context::at(now));
//! let row = rows.iter().find(|r| r.entry.control.id == "m02.firewall-logs-reach-siem").ok_or("gone")?;
//! let (headline, why) = prove::words(row.decided_by().ok_or("no instance")?, now);
//! assert_eq!(headline, "Can't tell");
//! assert!(why.contains("route(source,sink).enabled"), "{why}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Rejected: CEL for probe expectations (a loop in a claim hides what it claims; the small part in [`expr`] is a subset of CEL, so
//! texts stay valid); a state machine per control (history would decide what observations say); marking proofs renewed by an
//! inconclusive run (a sink that cannot be read would then look healthy for ever).

mod attest;
mod check;
pub mod coverage;
pub mod drill;
pub mod duration;
pub mod expr;
mod file;
mod lint;
mod load;
mod look;
mod packs;
mod problem;
mod read;
pub mod record;
mod register;
mod state;
pub mod token;
pub mod view;

pub use attest::{
    AttestError, REMINDER_DAYS, STATEMENT_CHARS_MAX, Signer, Statement, attest, ceiling, reminder_due,
};
pub use check::{Bundle, Checked, Held, Report, check_proof};
pub use expr::Fact;
pub use file::schema;
pub use lint::{LintContext, lint};
pub use load::{DRILLS, Entry, FRAMEWORKS, OnFail, PROBES, Register, VALID_FOR_MAX, core_json};
pub use look::{
    INSTANCES_MAX, Look, NotConnected, Seen, Subjects, judge, look, missing_component, observation,
    path_fingerprint,
};
pub use packs::{PACKS, RETIRED};
pub use problem::{Level, Place, Problem, Refused};
pub use read::parse_date;
pub use register::{Row, due_by_change, evaluate, inconclusive_in_a_row};
pub use state::{Ceiling, Context, DRILLS_BUILT, FAILURES_SHOWN, Standing, state};
pub use view::{cells, counts_words, item, items, summary, unknown_words, words};
