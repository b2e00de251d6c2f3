//! Alerts at work: the outbox in the state file, receipts in the vault, secrets resolved, and findings about ourselves.

use super::pipeline::notice;
use crate::config::Config;
use crate::files;
use crate::node::{Node, now, own_batch};
use crate::problem::Problem;
use crate::state::State;
use alert::{
    Alerts, Book, Channel, Delta, DrillBudget, Outbox, OutboxError, Parcel, Secret, SecretRef, Stored, Storm,
    Told, open_channel,
};
use async_trait::async_trait;
use model::{About, EvidenceList, FindingId, FindingSource, Occurrence, RuleRef, Severity, Subject, Time};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, Weak};
use tokio::sync::watch;
use vault::Vault;

/// Dataset of receipts: what a receiver answered, as an event.
const RECEIPTS: &str = "avouch.delivery";
/// Kinds of the state file: what waits or went out, what was told of which finding, and the brakes.
const PARCELS: &str = "alert";
const TOLD: &str = "alert.told";
const STORMS: &str = "alert.storm";
const DRILLS: &str = "alert.drill";

struct StateOutbox {
    state: State,
    vault: Vault,
}

fn lost(e: impl std::fmt::Display) -> OutboxError {
    OutboxError(e.to_string())
}

/// Every parcel of the outbox, finished ones included.
///
/// # Errors
/// The state file cannot be read.
pub async fn parcels(state: &State) -> Result<Vec<Parcel>, Problem> {
    values(state, PARCELS).await
}

async fn values<T: serde::de::DeserializeOwned>(state: &State, kind: &str) -> Result<Vec<T>, Problem> {
    Ok(state.list_json(kind).await?.into_iter().map(|(_, value)| value).collect())
}

#[async_trait]
impl Outbox for StateOutbox {
    async fn load(&self) -> Result<Stored, OutboxError> {
        let told: Vec<Told> = values(&self.state, TOLD).await.map_err(lost)?;
        let storms: Vec<Storm> = values(&self.state, STORMS).await.map_err(lost)?;
        let drills: Vec<DrillBudget> = values(&self.state, DRILLS).await.map_err(lost)?;
        let parcels = parcels(&self.state).await.map_err(lost)?;
        Ok(Stored {
            book: Book::new(told, storms, drills),
            parcels: parcels.into_iter().filter(|p| !p.is_finished()).collect(),
        })
    }

    async fn save(&self, delta: &Delta) -> Result<(), OutboxError> {
        if !delta.receipts.is_empty() {
            let events: Vec<serde_json::Value> =
                delta.receipts.iter().filter_map(|r| serde_json::to_value(r).ok()).collect();
            self.vault.append(own_batch(RECEIPTS, &events)).await.map_err(lost)?;
        }
        let mut rows: Vec<(&str, String, Option<Vec<u8>>)> = Vec::new();
        let key = |route: &str, id: FindingId| format!("{route}/{id}");
        for (route, id) in &delta.forgotten {
            rows.push((TOLD, key(route, *id), None));
        }
        for t in &delta.told {
            rows.push((TOLD, key(&t.route, t.finding), serde_json::to_vec(t).ok()));
        }
        for s in &delta.storms {
            rows.push((STORMS, s.route.clone(), serde_json::to_vec(s).ok()));
        }
        for d in &delta.drills {
            rows.push((DRILLS, d.channel.clone(), serde_json::to_vec(d).ok()));
        }
        for p in &delta.parcels {
            rows.push((PARCELS, p.id.clone(), serde_json::to_vec(p).ok()));
        }
        let changes: Vec<(&str, &str, Option<&[u8]>)> =
            rows.iter().map(|(k, n, v)| (*k, n.as_str(), v.as_deref())).collect();
        self.state.put_many(&changes).await.map_err(lost)
    }

    async fn find(&self, alert: &str) -> Result<Vec<Parcel>, OutboxError> {
        let parcels = parcels(&self.state).await.map_err(lost)?;
        Ok(parcels.into_iter().filter(|p| p.alerts.iter().any(|a| a.id == alert)).collect())
    }
}

struct Surroundings(Weak<Node>);

impl alert::Host for Surroundings {
    fn now(&self) -> Time {
        now()
    }
    fn random(&self, max: i64) -> i64 {
        random(max)
    }
    fn is_hidden(&self, finding: FindingId) -> bool {
        let Some(node) = self.0.upgrade() else { return false };
        let state = node.hub.state();
        state.get(finding).is_some_and(|e| state.hidden_by(e, now()).is_some())
    }
    fn undelivered(&self, occurrence: Occurrence) {
        let Some(node) = self.0.upgrade() else { return };
        tokio::spawn(async move {
            if let Err(p) = node.hub.ingest(&node, vec![occurrence], "alert").await {
                tracing::error!(problem = %p, "an alert could not be delivered, and that could not be recorded");
            }
        });
    }
}

/// Uniform in `0..=max`, for waits between retries.
pub fn random(max: i64) -> i64 {
    use ring::rand::SecureRandom as _;
    let mut b = [0u8; 8];
    if max <= 0 || ring::rand::SystemRandom::new().fill(&mut b).is_err() {
        return max.max(0);
    }
    i64::from_le_bytes(b).rem_euclid(max.saturating_add(1))
}

/// The bytes behind `env:NAME`, `file:PATH` or `exec:COMMAND`.
///
/// # Errors
/// Why they cannot be had; never the secret itself.
pub fn resolve(text: &str) -> Result<Vec<u8>, String> {
    if let Some(name) = text.strip_prefix("env:") {
        return std::env::var(name)
            .map(String::into_bytes)
            .map_err(|_| format!("the environment has no `{name}`"));
    }
    if let Some(path) = text.strip_prefix("file:") {
        return files::read(std::path::Path::new(path), files::TEXT_BYTES_MAX)
            .map_err(|e| format!("cannot read `{path}`: {e}"));
    }
    if let Some(command) = text.strip_prefix("exec:") {
        let out = std::process::Command::new("sh")
            .args(["-c", command])
            .output()
            .map_err(|e| format!("cannot run it: {e}"))?;
        return if out.status.success() {
            Ok(out.stdout)
        } else {
            Err(format!("`{command}` ended with {}", out.status))
        };
    }
    Err("a secret must be a reference: file:PATH, env:NAME or exec:COMMAND".to_owned())
}

fn secret(reference: &SecretRef) -> Result<Secret, String> {
    resolve(&reference.0).map(Secret::new)
}

pub async fn open(node: &Arc<Node>) -> Result<Alerts, Problem> {
    let channels = channels(&node.config, &node.data)?;
    let outbox = Arc::new(StateOutbox { state: node.state.clone(), vault: node.vault()?.clone() });
    Alerts::open(node.config.alerts.clone(), channels, outbox, Arc::new(Surroundings(Arc::downgrade(node))))
        .await
        .map_err(|e| Problem::new(e.code(), e.to_string()).hint(e.hint()))
}

fn channels(config: &Config, data: &std::path::Path) -> Result<BTreeMap<String, Arc<dyn Channel>>, Problem> {
    let mut out: BTreeMap<String, Arc<dyn Channel>> = BTreeMap::new();
    for (name, channel) in &config.alerts.channels {
        let mut channel = channel.clone();
        if let Some(file) = &mut channel.file
            && file.path.is_relative()
        {
            // Files without a folder lie in the data folder, wherever the daemon was started.
            file.path = data.join(&file.path);
        }
        let opened = open_channel(name, &channel, &secret)
            .map_err(|e| Problem::new(e.code(), e.to_string()).hint(e.hint()))?;
        out.insert(name.clone(), opened);
    }
    Ok(out)
}

/// Takes notices from the hub, delivers, and marks findings as told.
pub async fn run(node: Arc<Node>, alerts: Arc<Alerts>, stop: watch::Receiver<bool>) {
    let waiting = node.hub.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(mut waiting) = waiting else { return };
    let (told, mut told_waiting) = tokio::sync::mpsc::unbounded_channel::<Vec<FindingId>>();
    let delivering = alerts.run(stop.clone(), move |ids| {
        let _ = told.send(ids);
    });
    let taking = async {
        let mut stop = stop.clone();
        loop {
            tokio::select! {
                _ = stop.changed() => break,
                n = waiting.recv() => {
                    let Some(first) = n else { break };
                    let mut batch = vec![first];
                    while let Ok(more) = waiting.try_recv() {
                        batch.push(more);
                    }
                    let state = node.hub.state();
                    let notices: Vec<alert::Notice> = batch.iter().filter_map(|n| notice(&state, n)).collect();
                    if let Err(e) = alerts.take(&notices).await {
                        tracing::error!(code = e.code(), error = %e, "alerts could not be stored");
                    }
                }
                ids = told_waiting.recv() => for id in ids.into_iter().flatten() {
                    let by = findings::By { who: "alert".to_owned(), at: now(), why: "a receiver took the alert".to_owned() };
                    if let Err(p) = node.hub.run(&node, &findings::Command::Notify { id }, &by).await {
                        tracing::warn!(problem = %p, "a delivered alert could not be noted on its finding");
                    }
                },
            }
        }
    };
    tokio::join!(delivering, taking);
}

/// A finding about ourselves or our sources.
pub fn own_finding(
    kind: &str,
    rule: &str,
    title: &str,
    why: &str,
    fix: &str,
    severity: Severity,
    resource: &str,
) -> Occurrence {
    let about = About {
        source: FindingSource::Avouch,
        finding_type: kind.to_owned(),
        rule: RuleRef { name: rule.to_owned(), title: title.to_owned(), ..RuleRef::default() },
        title: title.to_owned(),
        why: why.to_owned(),
        fix: fix.to_owned(),
        severity,
        tags: Vec::new(),
        attributes: model::Attributes::new(),
    };
    Occurrence {
        id: Occurrence::identity(kind, None, None, Some(resource), &[]),
        about: Arc::new(about),
        subject: Arc::new(Subject { resource: Some(resource.to_owned()), ..Subject::default() }),
        time: now(),
        evidence: EvidenceList::default(),
        evidence_total: 0,
        is_settled: true,
        drill: None,
    }
}
