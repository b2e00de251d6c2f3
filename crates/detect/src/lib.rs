//! Event → Finding: events and rules in, [`model::Occurrence`]s out.
//!
//! The rules are Sigma 2.1 files ([`Rules::load`]); what cannot be honoured is a [`Refusal`] with file, line, column, construct and
//! reason. The [`Engine`] takes [`model::Batch`]es of one dataset, with the columns that `shape` derived for text, and answers what
//! it found. The same engine runs the live stream, a backtest, the tests inside rule files ([`run_tests`]) and [`explain`]; there is
//! no second evaluator in the product.
//!
//! Three ideas carry the speed, so that the number of rules hardly matters:
//!
//! - **Pay per value, not per event.** Log values repeat. What all rules ask of one field is one index ([`compile`]), and what is
//!   known about a value is kept.
//! - **Pay per question, not per rule.** Equal questions of different rules are one predicate, equal sub-conditions one node; a
//!   rule whose rarest necessary question met nothing in a chunk of 512 events is not looked at.
//! - **Read only what is asked for.** One pass over each JSON text, led by a trie of the needed paths; no tree, no allocation per
//!   event ([`json`]).
//!
//! Where the truths are upheld: D1, findings are a function of the events and not of their arrival, in [`window`] and [`time`]. F1,
//! what could not be looked at is counted and named, in [`Health`] and by refusals. F2, a finding's identity has no time and no
//! count in it, in [`occurrence`]. E1, a payload cannot speak under the name `avouch.`, in [`cloudtrail`] and `compile::fields`. O1,
//! occurrences leave in a defined order. Drills (C1) are told apart by the provenance's canary and never counted together with
//! real events.
//!
//! What it does not do: no file, no clock, no network, no randomness, no thread (N3). It does not aggregate repeats (`findings`), nor
//! deliver (`alert`). Not built yet, and refused by name: Sigma filters, correlations other than `event_count` and `value_count`.
//!
//! ```
//! use detect::{Engine, Rules, Settings};
//! let rule = "
//! title: Trail stopped
//! logsource: {product: aws, service: cloudtrail}
//! detection:
//!   call: {eventSource: cloudtrail.amazonaws.com, avouch.api: StopLogging, avouch.outcome: success}
//!   condition: call
//! level: low
//! ";
//! let (rules, refused) = Rules::load([("trail-stopped.yml", rule)]);
//! assert!(refused.is_empty());
//! let mut engine = Engine::new(rules, Settings::default())?;
//!
//! let mut batch = model::Batch::builder();
//! let (source, dataset) = (batch.provenance(model::Provenance::new("trail")), batch.dataset("aws.cloudtrail"));
//! batch.push(br#"{"eventSource":"cloudtrail.amazonaws.com","eventName":"StopLogging"}"#, source, dataset);
//! batch.push(br#"{"eventSource":"cloudtrail.amazonaws.com","eventName":"StopLogging","errorCode":"AccessDenied"}"#, source, dataset);
//! let found = engine.events(&batch.finish(), None);
//! assert_eq!(found.len(), 1);
//! assert_eq!(found[0].about.title, "Trail stopped");
//! # Ok::<(), detect::CompileError>(())
//! ```
//!
//! Rejected: counting and BE-tree indexes over whole rules (they pay per event, and log conditions share predicates rather than
//! shapes); Rete (its memories grow with the stream); a `serde_json::Value` per event (its allocations alone cost more than all
//! rules together); a seeded hash map as value cache (a collision attack or a random seed, against N3).

pub mod address;
mod cache;
pub mod cloudtrail;
pub mod compile;
mod engine;
mod explain;
pub mod fold;
pub mod json;
pub mod occurrence;
mod outbox;
pub mod route;
pub mod sigma;
mod testing;
pub mod time;
pub mod window;

pub use compile::CompileError;
pub use engine::{Derive, Engine, Health, Hit, Settings, StateError};
pub use explain::{ExplainedItem, ExplainedSelection, Explanation, explain};
pub use sigma::{Known, Lint, Refusal, Rules};
pub use testing::{TestReport, TestResult, run_tests};
pub use window::NeedRange;
