//! What can be done with a data folder. Each operation is plain arguments plus a function over a [`Node`]; the command line runs it
//! in process or sends it over the daemon's socket, and the web calls the same functions (N6). Rights and records of use are
//! checked here, once, below all faces.

pub mod admin;
pub mod controls;
pub mod doctor;
pub mod event;
pub mod findings;
pub mod pipeline;
pub mod rule;
pub mod search;
pub mod suppressions;
pub mod vault;

use crate::answer::Reply;
use crate::node::Node;
use serde::{Deserialize, Serialize};

/// Who asks: taken from the socket's peer credentials, the session, or the process itself, never from the request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Caller {
    /// `os:<user>`, `session:<name>`, `avouch` for ourselves.
    pub name: String,
    /// `cli`, `web`, `self`.
    pub by: String,
}

/// An operation as it travels over the socket.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    Search(search::Search),
    Sql(search::Sql),
    Event(event::Event),
    Findings(findings::Findings),
    Alerts(findings::Alerts),
    Controls(controls::Controls),
    Prove(controls::Prove),
    Proof(controls::ProofCmd),
    Vault(vault::VaultCmd),
    Rule(rule::Rule),
    Source(pipeline::Source),
    Sink(pipeline::Sink),
    Redrive(pipeline::Redrive),
    Status(pipeline::Status),
    Doctor(doctor::Doctor),
    Admin(admin::Admin),
}

impl Op {
    /// Paths in arguments made absolute, since the daemon works in another folder than the caller.
    pub fn made_absolute(mut self) -> Op {
        let full = |p: &mut std::path::PathBuf| {
            if let Ok(absolute) = std::path::absolute(&*p) {
                *p = absolute;
            }
        };
        match &mut self {
            Op::Controls(c) => match &mut c.what {
                controls::What::Lint(l) => l.paths.iter_mut().for_each(full),
                controls::What::Attest(a) => a.evidence.iter_mut().for_each(full),
                _ => {}
            },
            Op::Rule(r) => {
                r.rules.iter_mut().for_each(full);
                match &mut r.what {
                    rule::What::List(l) => l.paths.iter_mut().for_each(full),
                    rule::What::Test(t) => t.paths.iter_mut().for_each(full),
                    _ => {}
                }
            }
            _ => {}
        }
        self
    }
}

/// The answer of an operation that needs neither vault nor daemon; nothing for all others. Rules and control packs are in the
/// binary, so whoever writes one can try it on a machine where nothing was ever started.
pub fn alone(op: &Op, config: &crate::config::Config) -> Option<Reply> {
    match op {
        Op::Rule(a) => rule::alone(a, config),
        Op::Controls(a) => controls::alone(a, config),
        _ => None,
    }
}

/// Whether an operation names files of the caller's: the daemon runs as another user, who may not be able to read them.
pub fn reads_own_files(op: &Op) -> bool {
    match op {
        Op::Rule(r) => {
            !r.rules.is_empty()
                || match &r.what {
                    rule::What::List(l) => !l.paths.is_empty(),
                    rule::What::Test(t) => !t.paths.is_empty(),
                    rule::What::Explain(e) => std::path::Path::new(&e.event).is_file(),
                    rule::What::Show { .. } => false,
                }
        }
        Op::Controls(c) => matches!(&c.what, controls::What::Lint(l) if !l.paths.is_empty()),
        _ => false,
    }
}

pub async fn perform(op: &Op, node: &Node, caller: &Caller) -> Reply {
    match op {
        Op::Search(a) => search::search(a, node, caller).await,
        Op::Sql(a) => search::sql(a, node, caller).await,
        Op::Event(a) => event::event(a, node, caller).await,
        Op::Findings(a) => findings::findings(a, node, caller).await,
        Op::Alerts(a) => findings::alerts(a, node).await,
        Op::Controls(a) => controls::controls(a, node, caller).await,
        Op::Prove(a) => controls::prove(a, node, caller).await,
        Op::Proof(a) => controls::proof(a, node).await,
        Op::Vault(a) => vault::vault(a, node, caller).await,
        Op::Rule(a) => rule::rule(a, node).await,
        Op::Source(a) => pipeline::source(a, node, caller).await,
        Op::Sink(a) => pipeline::sink(a, node, caller).await,
        Op::Redrive(a) => pipeline::redrive(a, node, caller).await,
        Op::Status(a) => pipeline::status(a, node).await,
        Op::Doctor(a) => doctor::doctor(a, node).await,
        Op::Admin(a) => admin::admin(a, node, caller).await,
    }
}
