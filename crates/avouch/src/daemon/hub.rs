//! Findings at work: decisions are pure (`findings::decide`), this stores them, records each as an event (F3) and hands notices on.

use crate::node::{Node, now, own_batch, vault_problem};
use crate::ops::Caller;
use crate::problem::Problem;
use crate::state::State;
use findings::{By, Changes, Command};
use model::Occurrence;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::Mutex;

pub struct Hub {
    /// What pages and lists read: swapped as a whole, entries shared.
    shown: RwLock<Arc<findings::State>>,
    /// One change at a time.
    turn: Mutex<()>,
    notices: tokio::sync::mpsc::UnboundedSender<findings::Notice>,
    pub waiting: std::sync::Mutex<Option<tokio::sync::mpsc::UnboundedReceiver<findings::Notice>>>,
}

pub fn problem(e: &findings::Error) -> Problem {
    Problem::new(e.code(), e.to_string()).hint(e.hint())
}

impl Hub {
    pub async fn load(state: &State) -> Result<Hub, Problem> {
        let entries = state.list("finding").await?;
        let suppressions = state.list("suppression").await?;
        let loaded = findings::State::load(
            entries.iter().map(|(_, v)| v.as_slice()),
            suppressions.iter().map(|(_, v)| v.as_slice()),
        )
        .map_err(|e| problem(&e))?;
        let (notices, waiting) = tokio::sync::mpsc::unbounded_channel();
        Ok(Hub {
            shown: RwLock::new(Arc::new(loaded)),
            turn: Mutex::new(()),
            notices,
            waiting: std::sync::Mutex::new(Some(waiting)),
        })
    }

    pub fn state(&self) -> Arc<findings::State> {
        Arc::clone(&self.shown.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Decides, makes durable, shows. The order is the product: the event is in the vault before anybody sees the change.
    ///
    /// # Errors
    /// What `findings` refuses, or what cannot be stored.
    pub async fn run(&self, node: &Node, command: &Command, by: &By) -> Result<Changes, Problem> {
        let _turn = self.turn.lock().await;
        let state = self.state();
        let changes = findings::decide(&state, command, by).map_err(|e| problem(&e))?;
        if changes.is_empty() {
            return Ok(changes);
        }
        if !changes.events.is_empty() {
            let events: Vec<serde_json::Value> =
                changes.events.iter().filter_map(|e| serde_json::to_value(e).ok()).collect();
            // F3: recorded first; a crash after this line repeats the change, never hides it.
            node.vault()?
                .append(own_batch(findings::FINDING_DATASET, &events))
                .await
                .map_err(|e| vault_problem(&e))?;
        }
        let entries: Vec<(String, Vec<u8>)> = changes
            .entries
            .iter()
            .filter_map(|e| Some((e.id().to_string(), serde_json::to_vec(&**e).ok()?)))
            .collect();
        let suppressions: Vec<(String, Vec<u8>)> = changes
            .suppressions
            .iter()
            .filter_map(|s| Some((s.id.clone(), serde_json::to_vec(&**s).ok()?)))
            .collect();
        let rows: Vec<(&str, &str, Option<&[u8]>)> = entries
            .iter()
            .map(|(k, v)| ("finding", k.as_str(), Some(v.as_slice())))
            .chain(suppressions.iter().map(|(k, v)| ("suppression", k.as_str(), Some(v.as_slice()))))
            .collect();
        node.state.put_many(&rows).await?;
        let mut next = (*state).clone();
        next.apply(&changes);
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        for notice in &changes.notices {
            // Nobody listens in a command without a daemon: the alert loop starts from the outbox and the findings themselves.
            let _ = self.notices.send(notice.clone());
        }
        Ok(changes)
    }

    pub async fn ingest(
        &self,
        node: &Node,
        occurrences: Vec<Occurrence>,
        who: &str,
    ) -> Result<Changes, Problem> {
        if occurrences.is_empty() {
            return Ok(Changes::default());
        }
        let by = By { who: who.to_owned(), at: now(), why: String::new() };
        self.run(node, &Command::Ingest { occurrences }, &by).await
    }
}

pub fn by(caller: &Caller, why: &str) -> By {
    By { who: caller.name.clone(), at: now(), why: why.to_owned() }
}
