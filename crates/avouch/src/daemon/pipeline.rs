//! What only a daemon has: sources that run, the door, sinks, alerts, and the loops behind them.

use super::door::Door;
use super::{socket, watch};
use crate::client;
use crate::node::{Node, now, own_batch, own_batch_from};
use crate::ops::Caller;
use crate::problem::Problem;
use crate::state::State;
use alert::{Alerts, Notice, Occasion};
use collect::{Access, AccessLog, ApiKey, Grant, KeyRefusal, KeyRing, Keys, Mode, Running};
use model::{Provenance, Time};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{mpsc, watch as signal};
use tokio::task::JoinSet;
use vault::Vault;

/// Access-log entries that may wait for the vault; beyond that they are counted as lost in one event rather than slow answers.
const ACCESS_WAITING_MAX: usize = 10_000;

pub struct Pipeline {
    pub door: Arc<Door>,
    sources: Mutex<BTreeMap<String, Running>>,
    pub keys: Arc<KeyBook>,
    pub alerts: Arc<Alerts>,
    pub sinks: super::sinks::Sinks,
    stop: signal::Sender<bool>,
    tasks: tokio::sync::Mutex<JoinSet<()>>,
    /// Where the pages are, once they are served.
    pub page: std::sync::OnceLock<std::net::SocketAddr>,
}

/// How a source stands.
#[derive(Clone, Debug, Serialize)]
pub struct SourceState {
    pub name: String,
    pub kind: &'static str,
    pub addresses: Vec<String>,
    pub is_paused: bool,
    pub counters: collect::Snapshot,
    /// `ok`, `quiet` (nothing yet), `silent` (longer than its `max_gap`), `paused`.
    pub state: &'static str,
    pub max_gap_s: Option<i64>,
}

/// Intake keys, as stored: never the key itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredKey {
    pub id: String,
    pub sha256: String,
    pub source: String,
    pub from: Vec<String>,
    pub rate: Option<u32>,
    pub expires: Time,
    pub created: Time,
    pub created_by: String,
    pub revoked: Option<Time>,
}

/// Every intake key, revoked ones included, by id.
///
/// # Errors
/// The state file cannot be read.
pub async fn stored_keys(state: &State) -> Result<Vec<StoredKey>, Problem> {
    Ok(state.list_json("key").await?.into_iter().map(|(_, key)| key).collect())
}

/// The keys in force, swapped when one is made or revoked.
#[derive(Default)]
pub struct KeyBook(RwLock<Keys>);

impl KeyBook {
    pub async fn reload(&self, node: &Node) -> Result<(), Problem> {
        let mut keys = Vec::new();
        for k in stored_keys(&node.state).await? {
            let Some(sha256) = prove::record::unhex(&k.sha256).and_then(|b| <[u8; 32]>::try_from(b).ok())
            else {
                continue;
            };
            keys.push(ApiKey {
                id: k.id.as_str().into(),
                sha256,
                sources: vec![k.source],
                datasets: Vec::new(),
                peers: k.from.iter().filter_map(|c| c.parse().ok()).collect(),
                rate: k.rate,
                expires: k.expires,
                is_revoked: k.revoked.is_some(),
            });
        }
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Keys(keys);
        Ok(())
    }
}

impl KeyRing for KeyBook {
    fn check(
        &self,
        presented: &[u8; 32],
        source: &str,
        peer: IpAddr,
        now: Time,
    ) -> Result<Grant, KeyRefusal> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).check(presented, source, peer, now)
    }
}

/// Writes the access log of the HTTP intake without slowing its answers.
struct AccessWriter {
    to: mpsc::Sender<(String, Access)>,
    lost: Arc<AtomicU64>,
}

impl AccessLog for AccessWriter {
    fn record(&self, source: &str, access: Access) {
        // A full queue means that the vault is behind. The requests themselves are events already; what the log misses is said.
        if self.to.try_send((source.to_owned(), access)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Pipeline {
    /// Starts everything of `node`'s configuration.
    ///
    /// # Errors
    /// A source, sink, channel or listener that cannot start.
    pub async fn start(node: &Arc<Node>) -> Result<Arc<Pipeline>, Problem> {
        let vault = node.vault()?.clone();
        let door = Arc::new(Door::new(vault.clone(), &node.config)?);
        let keys = Arc::new(KeyBook::default());
        keys.reload(node).await?;
        let (access, access_waiting) = mpsc::channel(ACCESS_WAITING_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let host = collect::Host {
            intake: Arc::clone(&door) as _,
            dead_letters: Arc::clone(&door) as _,
            keys: Arc::clone(&keys) as _,
            access_log: Arc::new(AccessWriter { to: access, lost: Arc::clone(&lost) }),
            host_id: host_id(node).await?.into(),
        };
        recall(node, &door).await?;
        let (stop, stopping) = signal::channel(false);
        let mut tasks = JoinSet::new();
        let alerts = Arc::new(super::alerting::open(node).await?);
        let sinks = super::sinks::Sinks::start(node, &stopping, &mut tasks).await?;
        let mut running = BTreeMap::new();
        for (name, source) in &node.config.sources {
            let started = collect::start(name, source, &host)
                .map_err(|e| Problem::new(e.code(), e.to_string()).hint(e.hint()))?;
            running.insert(name.clone(), started);
        }
        tasks.spawn(write_access(vault, access_waiting, lost));
        tasks.spawn(watch::run(Arc::clone(node), stopping.clone()));
        tasks.spawn(watch::housekeeping(Arc::clone(node), stopping.clone()));
        tasks.spawn(super::alerting::run(Arc::clone(node), Arc::clone(&alerts), stopping.clone()));
        tasks.spawn(silence(Arc::clone(node), stopping.clone()));
        tasks.spawn(super::access::run(Arc::clone(node), stopping.clone()));
        tasks.spawn(super::schedule::run(Arc::clone(node), stopping.clone()));
        let socket = client::socket_path(&node.data);
        let listener = socket::bind(&socket)?;
        tasks.spawn(socket::serve(listener, Arc::clone(node), stopping.clone()));
        let pipeline = Arc::new(Pipeline {
            door,
            sources: Mutex::new(running),
            keys,
            alerts,
            sinks,
            stop,
            tasks: tokio::sync::Mutex::new(tasks),
            page: std::sync::OnceLock::new(),
        });
        let _ = node.pipeline.set(Arc::clone(&pipeline));
        Ok(pipeline)
    }

    pub fn stopping(&self) -> signal::Receiver<bool> {
        self.stop.subscribe()
    }

    pub async fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().await.spawn(task);
    }

    pub fn sources(&self) -> Vec<SourceState> {
        let at = now();
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.values().map(|r| state_of(r, at, None)).collect()
    }

    pub fn source_states(&self, node: &Node) -> Vec<SourceState> {
        let at = now();
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let gap = |name: &str| {
            let silence = node.config.sources.get(name)?.silence.as_ref()?;
            let span = silence.max_gap.or(silence.min_events.map(|m| m.per))?;
            i64::try_from(span.0.as_micros()).ok()
        };
        sources
            .values()
            .map(|r| state_of(r, at.max(node.started), gap(&r.name).map(|g| (g, node.started))))
            .collect()
    }

    /// Address on which a source listens, by transport prefix (`tcp://`, `udp://`, `http://`).
    pub fn address(&self, source: &str, prefix: &str) -> Option<String> {
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.get(source)?.addresses.iter().find(|a| a.starts_with(prefix)).cloned()
    }

    /// The incident switch: recorded, visible, and never read as quiet.
    ///
    /// # Errors
    /// No such source, or the change could not be recorded.
    pub async fn switch_source(
        &self,
        node: &Node,
        name: &str,
        pause: bool,
        caller: &Caller,
        why: &str,
    ) -> Result<(), Problem> {
        {
            let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
            let known: Vec<&str> = sources.keys().map(String::as_str).collect();
            let Some(running) = sources.get(name) else { return Err(unknown("source", name, &known)) };
            if pause { running.pause() } else { running.resume() }
        }
        let what = if pause { "source paused" } else { "source resumed" };
        node.audit(caller, what, why, serde_json::json!({ "source": name })).await
    }

    /// Stops taking, drains what was read, stops the loops.
    pub async fn stop(&self) {
        let running: Vec<Running> = {
            let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *sources).into_values().collect()
        };
        let mut stops = JoinSet::new();
        for r in running {
            stops.spawn(r.stop());
        }
        while stops.join_next().await.is_some() {}
        self.sinks.stop(Duration::from_secs(10)).await;
        self.stop.send_replace(true);
        let mut tasks = self.tasks.lock().await;
        let grace = tokio::time::sleep(Duration::from_secs(20));
        tokio::pin!(grace);
        loop {
            tokio::select! {
                () = &mut grace => { tasks.abort_all(); break; }
                ended = tasks.join_next() => if ended.is_none() { break },
            }
        }
    }
}

pub fn unknown(what: &str, name: &str, known: &[&str]) -> Problem {
    let near = model::nearest(name, known.iter().copied());
    let hint = match (near.first(), known.is_empty()) {
        (Some(n), _) => format!("did you mean `{n}`?"),
        (None, true) => format!("the configuration has no {what}"),
        (None, false) => format!("there are {}", known.join(", ")),
    };
    Problem::new(format!("{what}.unknown"), format!("no {what} `{name}`")).hint(hint)
}

fn state_of(r: &Running, at: Time, gap: Option<(i64, Time)>) -> SourceState {
    let counters = r.counters.snapshot();
    let is_paused = r.mode() == Mode::Pause;
    let last = counters.last_event.known();
    let state = match (is_paused, last, gap) {
        (true, ..) => "paused",
        (_, last, Some((gap, started))) if at.since(last.unwrap_or(started)) > gap => "silent",
        (_, None, _) => "quiet",
        _ => "ok",
    };
    SourceState {
        name: r.name.clone(),
        kind: r.kind,
        addresses: r.addresses.clone(),
        is_paused,
        counters,
        state,
        max_gap_s: gap.map(|(g, _)| g / Time::SECOND),
    }
}

/// A stable name of this installation for ids of file events, made once.
async fn host_id(node: &Node) -> Result<String, Problem> {
    if let Some(bytes) = node.state.get("host", "id").await? {
        return Ok(String::from_utf8_lossy(&bytes).into_owned());
    }
    let id: String = model::sha256_hex(super::signin::token()?.as_bytes()).chars().take(16).collect();
    node.state.put("host", "id", id.as_bytes()).await?;
    Ok(id)
}

/// Rebuilds the windows of redeliveries from the newest events, as many as a window holds.
async fn recall(node: &Node, door: &Door) -> Result<(), Problem> {
    let with_ids: Vec<&String> = node
        .config
        .sources
        .iter()
        .filter(|(_, s)| s.syslog.is_none() && s.stdin.is_none())
        .map(|(n, _)| n)
        .collect();
    if with_ids.is_empty() {
        return Ok(());
    }
    let end = node.snapshot().end_seq();
    let from = end.saturating_sub(collect::WINDOW_IDS as u64);
    let Some(mut reader) = node.reader(vault::Selection { datasets: vec!["!avouch.*".to_owned()], from })
    else {
        return Ok(());
    };
    while reader.position() < end {
        let batches = reader
            .next(16 << 20, Duration::from_millis(1))
            .await
            .map_err(|e| crate::node::vault_problem(&e))?;
        if batches.is_empty() {
            break;
        }
        door.remember(&batches).await;
    }
    Ok(())
}

async fn write_access(vault: Vault, mut waiting: mpsc::Receiver<(String, Access)>, lost: Arc<AtomicU64>) {
    let mut entries = Vec::new();
    while waiting.recv_many(&mut entries, 512).await > 0 {
        // The record has the ten fields of P-5 and no more; which source was asked is a fact of the envelope (E1).
        let mut by_source: BTreeMap<String, Vec<serde_json::Value>> = BTreeMap::new();
        for (source, access) in entries.drain(..) {
            by_source.entry(source).or_default().extend(serde_json::to_value(access).ok());
        }
        for (source, events) in by_source {
            let from = Provenance::new("avouch").origin(&serde_json::json!({ "listener": source }));
            if vault.append(own_batch_from("avouch.http", &events, from)).await.is_err() {
                return;
            }
        }
        let missed = lost.swap(0, Ordering::Relaxed);
        if missed > 0 {
            let event = serde_json::json!({
                "schema": "avouch.audit/1", "time": now().to_string(), "who": "avouch",
                "what": "access log entries lost", "why": "requests came faster than their log could be stored", "detail": { "entries": missed },
            });
            if vault.append(own_batch("avouch.audit", &[event])).await.is_err() {
                return;
            }
        }
    }
}

/// Sources that went quiet against their own `silence` setting become findings, and recover by themselves.
async fn silence(node: Arc<Node>, mut stop: signal::Receiver<bool>) {
    let mut silent: BTreeMap<String, model::FindingId> = BTreeMap::new();
    loop {
        tokio::select! {
            _ = stop.changed() => break,
            () = tokio::time::sleep(Duration::from_secs(5)) => {}
        }
        let Some(p) = node.pipeline.get() else { continue };
        for s in p.source_states(&node) {
            let is_silent = s.state == "silent";
            match (is_silent, silent.get(&s.name).copied()) {
                (true, None) => {
                    let o = super::alerting::own_finding(
                        "Stealth:Source/WentQuiet",
                        "source_went_quiet",
                        &format!("Source {} is silent", s.name),
                        "Nothing arrives from it any more; a board without errors is green when nothing arrives.",
                        &format!(
                            "Look at the sender and the path to it. Last event: {}. `avouch source list`",
                            s.counters.last_event
                        ),
                        model::Severity::MEDIUM,
                        &s.name,
                    );
                    silent.insert(s.name.clone(), o.id);
                    if let Err(e) = node.hub.ingest(&node, vec![o], "avouch").await {
                        tracing::warn!(problem = %e, "a silent source could not be recorded");
                    }
                }
                (false, Some(id)) => {
                    silent.remove(&s.name);
                    let by = findings::By {
                        who: "avouch".to_owned(),
                        at: now(),
                        why: "events arrive again".to_owned(),
                    };
                    let command = findings::Command::Judge { id, verdict: findings::Verdict::Pass };
                    if let Err(e) = node.hub.run(&node, &command, &by).await {
                        tracing::warn!(problem = %e, "a recovered source could not be recorded");
                    }
                }
                _ => {}
            }
        }
        forged(&node, p).await;
    }
}

/// Tokens that looked like a drill's and were not: a finding, since a forged mark would be an attacker's cloak.
async fn forged(node: &Arc<Node>, p: &Pipeline) {
    let found = std::mem::take(&mut *p.door.forged.lock().unwrap_or_else(PoisonError::into_inner));
    let occurrences = found
        .into_iter()
        .map(|(source, reason)| {
            super::alerting::own_finding(
                "DefenseEvasion:Avouch/ForgedCanary",
                "forged_canary",
                &format!("A forged drill mark came through {source}"),
                &format!("An event carried a token in the form of our drills, but {reason}. It was treated as an ordinary event."),
                "Look at who can write to that source, and at what else it sent at that time.",
                model::Severity::HIGH,
                &source,
            )
        })
        .collect();
    if let Err(e) = node.hub.ingest(node, occurrences, "avouch").await {
        tracing::warn!(problem = %e, "a forged drill mark could not be recorded");
    }
}

/// What `findings` says, as what `alert` takes.
pub fn notice(state: &findings::State, n: &findings::Notice) -> Option<Notice> {
    let finding = state.get(n.finding)?.finding().clone();
    let occasion = match n.occasion {
        findings::Occasion::Opened => Occasion::Opened,
        findings::Occasion::Raised => Occasion::Raised,
        findings::Occasion::Repeated => Occasion::Repeated,
        findings::Occasion::Recovered => Occasion::Recovered,
    };
    (!n.is_suppressed).then(|| Notice::new(finding, occasion))
}

/// Kept for the error text of commands that need a daemon.
pub fn needs_daemon(node: &Node) -> Result<&Arc<Pipeline>, Problem> {
    node.pipeline.get().ok_or_else(|| {
        Problem::new("daemon.needed", "this needs the running daemon").hint(format!(
            "start it: {} serve --data-dir {}",
            crate::cli::program(),
            node.data.display()
        ))
    })
}
