//! Drills by themselves: each at its cadence, the vault verified twice a day, and the facts of the register gathered now and then.

use super::drills::{can_run, exercise};
use super::register;
use crate::node::{Node, now};
use model::Time;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A daemon that is started again and again must not drill again and again.
const FIRST_AFTER: Duration = Duration::from_secs(120);
/// How often the schedule is looked at. Between two looks, facts are gathered, so a page shows nothing older than this.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How often the daemon verifies its whole vault from the files (the claim of `self.vault-is-verified` is 24 h).
pub const VERIFY_EVERY: i64 = 12 * Time::HOUR;

/// Whether what the control's drill goes through is configured here, in a form that this build can send through.
pub fn is_connected(node: &Node, entry: &prove::Entry) -> bool {
    let config = &node.config;
    let here = |kind: &str, name: &str| match kind {
        "sources" => config.sources.get(name).is_some_and(|s| s.syslog.is_some() || s.https.is_some()),
        "sinks" => config.sinks.contains_key(name),
        _ => true,
    };
    entry.control.scope.iter().all(|(kind, names)| names.iter().all(|n| n == "all" || here(kind, n)))
}

/// Controls whose drills the daemon runs by itself.
pub fn scheduled(node: &Node) -> Vec<&prove::Entry> {
    let all = node.book.register.entries.iter();
    all.filter(|e| node.config.controls.drills && can_run(e) && is_connected(node, e)).collect()
}

/// Those of them whose newest run is older than twice their cadence, once the daemon has been up for so long.
pub fn overdue(node: &Node, at: Time) -> Vec<String> {
    let late = |e: &&prove::Entry| {
        let limit = e.control.every.saturating_mul(2);
        at.since(newest_run(node, &e.control.id).unwrap_or(node.started).max(node.started)) > limit
    };
    scheduled(node).into_iter().filter(late).map(|e| e.control.id.clone()).collect()
}

fn newest_run(node: &Node, id: &str) -> Option<Time> {
    node.book.proofs().iter().filter(|p| p.control == id).map(|p| p.finished).max()
}

/// Runs drills at their cadence and verifies the vault, until `stop`. With `controls.drills` off it only gathers facts.
pub async fn run(node: Arc<Node>, mut stop: tokio::sync::watch::Receiver<bool>) {
    let begin = tokio::time::Instant::now();
    let mut tried = BTreeMap::new();
    loop {
        register::refresh(&node).await;
        if begin.elapsed() >= FIRST_AFTER && node.config.controls.drills {
            tokio::select! {
                biased;
                // A drill that is cut short here leaves its plan without a proof, and the next start says so.
                _ = stop.changed() => return,
                () = due(&node, &mut tried) => {}
            }
        }
        tokio::select! {
            _ = stop.changed() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// `tried` holds when each was begun last: a drill that cannot be begun leaves no proof, and must not be tried at every look.
async fn due(node: &Node, tried: &mut BTreeMap<String, Time>) {
    let at = now();
    let last = |id: &str| newest_run(node, id).max(tried.get(id).copied());
    let ids: Vec<String> = scheduled(node)
        .iter()
        .filter(|e| last(&e.control.id).is_none_or(|t| at.since(t) >= e.control.every))
        .map(|e| e.control.id.clone())
        .collect();
    for id in ids {
        tried.insert(id.clone(), at);
        if let Err(p) = exercise(node, &id, "schedule", "avouch").await {
            tracing::warn!(control = id, problem = %p, "a drill could not be run");
        }
    }
    if node.last_check().is_none_or(|(t, _)| at.since(t) >= VERIFY_EVERY)
        && let Err(p) = crate::cmd::verify::whole(node, vault::verify::Level::Files).await
    {
        tracing::warn!(problem = %p, "the vault could not be verified");
    }
}
