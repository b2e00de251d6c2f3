//! A [`Console`] goes in; pages for people and an API for machines come out.
//!
//! Four ideas:
//!
//! - **Everything the web may do is a trait** ([`Console`]). The host implements it with the functions that the command line
//!   calls, so a button without a command cannot exist (N6). Each method takes the [`Caller`], so rights are checked below all
//!   faces, and once more here by the route's [`Action`].
//! - **One route table** ([`ROUTES`]: method, path, action) builds the router and is walked by a test. One handler answers a page,
//!   a fragment for htmx and JSON: it asks the console for a view model and draws it only when a person will read it.
//! - **Every page is whole without JavaScript.** Filters are GET forms, writes are POST forms, panels and sort orders are
//!   addresses. The script adds keys, copying, local times and the hint that something changed.
//! - **A value has a state** ([`value::Value`]). A number that nobody looked for is never drawn as zero, and a sum with an unknown
//!   part never as a number.
//!
//! Truths: N6 (above), F1 (`unknown` names what is missing, in [`value`] and in every list), F3 (a suppression needs owner, reason
//! and end; refusals are told to the console, which records them), O1 (addresses are canonical, only `run` differs between two
//! answers over the same state), O2 (everything is in the binary, the policy forbids the rest; there is no password; a listener
//! beyond loopback without TLS is refused).
//!
//! What stands between a stranger and a write, in the order of `gate`: the `Host` must be ours (DNS rebinding), the session must
//! live, the role may, the browser says that our own page sent it, and the form carries a token that only this session can have.
//! No answer leaves without the content policy, so text from an attacker that slipped through escaping could still not run.
//!
//! It does not store anything, decide rights about datasets, know the vault, or speak TLS itself.
//!
//! ```
//! use web::{Action, Role, ROUTES, may};
//! // Every write is closed to viewers.
//! assert!(ROUTES.iter().filter(|r| matches!(r.action, Action::Triage | Action::Prove)).all(|r| !may(Role::Viewer, r.action)));
//! ```
//!
//! Rejected: a JavaScript application (a second build, and nothing to read without it), templates as files (checked at run time),
//! a cookie per form (breaks two tabs), and hashes in the policy for inline styles (one forgotten hash is a broken page).

mod action;
mod ask;
mod asset;
mod cli;
mod console;
mod gate;
mod limit;
mod page;
mod problem;
mod route;
mod server;
mod token;
pub mod url;
pub mod value;
pub mod view;
pub mod words;

pub use action::{Action, Role, may};
pub use ask::Settings;
pub use console::{Caller, Change, Console, NewSession, Peer, Refused, Secret};
pub use gate::CONTENT_SECURITY_POLICY;
pub use problem::{ConsoleError, Extra, Problem};
pub use route::{API, Method, ROUTES, Route};
pub use server::{ServeError, serve};
