//! Who outside can reach what: policies in, answers with requests that prove them out.
//!
//! Two promises (A1), and everything here serves them. "No access" is never wrong: where the engine cannot be exact it widens and
//! says so. "Access" comes with a concrete request that a separate, literal evaluator allows.
//!
//! - [`json`] and [`policy`] read what AWS ever accepted, with the place of everything, and list what is odd.
//! - [`reading`] lists what AWS's documentation leaves open; an answer that depends on it says so.
//! - [`eval`] is the specification: what one document says to one request.
//! - [`symbolic`] decides questions about all requests at once. It shares the parsed model with `eval` and no matching code, asks
//!   `eval` to confirm every request it shows, and is tested against it.
//! - [`holder`] and [`target`] gather what decides about one user or role and about one resource; [`reach`] says who can do what.
//! - [`external`] makes findings of what the engine says of a resource, and [`external::patch`] the edit that closes one;
//!   [`incremental`] keeps the analyses of an estate that changes.
//! - [`check`] answers what a pipeline asks of a policy file; [`validate`] says what is wrong in one; [`catalog`] is what AWS says of
//!   its services, and no verdict about access rests on it.
//!
//! Pure (N3): no files, no clock, no network. It knows no other analysis (N4).
//!
//! Rejected: an SMT solver (docs/decisions/0003-access-without-a-solver.md).

pub mod bundle;
pub mod canary;
pub mod catalog;
pub mod check;
pub mod estate;
pub mod eval;
pub mod external;
pub mod finding;
pub mod holder;
pub mod incremental;
pub mod json;
pub mod pattern;
pub mod policy;
pub mod reach;
pub mod reading;
pub mod request;
pub mod services;
pub mod symbolic;
pub mod target;
pub mod validate;
pub mod words;
pub mod world;

pub use request::{Context, Principal, Request};
