//! Sinks at work: crate `forward`'s engine over this vault's reader, cursors in the state file, dead letters and receipts in the
//! vault.

use super::pipeline::unknown;
use crate::files;
use crate::node::{Node, now, own_batch};
use crate::problem::Problem;
use async_trait::async_trait;
use forward::{
    Cursors, DeadLetter, DeadLetters, DeliveryReceipt, Document, Expired, Handle, Parts, Read, Receipts,
    RunState, SinkConfig, SinkEvent, Source, StoreError, StoredCursor, open_sink,
};
use model::Time;
use prove::drill::Trouble;
use prove::drill::canary::Delivered;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use vault::{Reader, Selection, Vault};

/// Where file sinks write, so that a drill can read back what arrived.
type Files = BTreeMap<String, PathBuf>;

pub struct Sinks {
    handles: BTreeMap<String, Handle>,
    parts: BTreeMap<String, RedriveParts>,
    files: Files,
}

/// What sending dead letters again needs of a sink: the same connection, secrets and rendering as its loop.
pub struct RedriveParts {
    pub sink: Arc<dyn forward::Sink>,
    pub dead_letters: Arc<dyn DeadLetters>,
    pub host: Arc<dyn forward::Host>,
}

/// How a sink stands.
#[derive(Clone, Debug, Serialize)]
pub struct SinkState {
    pub name: String,
    pub kind: String,
    /// `running`, `paused`, `held` or `stopped`.
    pub state: String,
    /// Selected events not finished yet.
    pub waiting: u64,
    /// The sink has them, those it had already included.
    pub done: u64,
    /// Of `done`: sent again after an answer was lost, and found there.
    pub duplicate: u64,
    pub dead: u64,
    pub why: String,
    pub oldest: Option<Time>,
    pub last_success: Option<Time>,
}

pub struct Lag {
    pub age_us: i64,
    pub is_held: bool,
}

struct Log {
    vault: Vault,
    datasets: Vec<String>,
    /// Kept between reads while the engine reads on; a jump makes a new one.
    reader: tokio::sync::Mutex<Option<Reader>>,
}

fn lost(e: impl std::fmt::Display) -> StoreError {
    StoreError(e.to_string())
}

#[async_trait]
impl Source for Log {
    async fn next(&self, from: u64, max_bytes: usize, wait: Duration) -> Result<Read, StoreError> {
        let mut slot = self.reader.lock().await;
        let mut reader = match slot.take() {
            Some(r) if r.position() == from => r,
            _ => self.vault.reader(Selection { datasets: self.datasets.clone(), from }),
        };
        let batches = reader.next(max_bytes, wait).await.map_err(lost)?;
        let read = Read { batches, next: reader.position(), gaps: reader.take_gaps() };
        *slot = Some(reader);
        Ok(read)
    }
    fn head(&self) -> u64 {
        self.vault.end_seq()
    }
}

struct Store {
    state: crate::state::State,
    vault: Vault,
}

#[async_trait]
impl Cursors for Store {
    async fn load(&self, sink: &str, shard: u32) -> Result<Option<StoredCursor>, StoreError> {
        self.state.get_json("sink.cursor", &format!("{sink}/{shard}")).await.map_err(lost)
    }
    async fn store(&self, sink: &str, shard: u32, cursor: StoredCursor) -> Result<(), StoreError> {
        self.state.put_json("sink.cursor", &format!("{sink}/{shard}"), &cursor).await.map_err(lost)
    }
}

#[async_trait]
impl DeadLetters for Store {
    async fn write(&self, letters: Vec<DeadLetter>) -> Result<(), StoreError> {
        let events: Vec<serde_json::Value> =
            letters.iter().filter_map(|l| serde_json::to_value(l).ok()).collect();
        self.vault.append(own_batch(forward::DEAD_LETTER_DATASET, &events)).await.map(drop).map_err(lost)
    }
}

#[async_trait]
impl Receipts for Store {
    async fn delivered(&self, receipt: DeliveryReceipt) -> Result<(), StoreError> {
        let event = serde_json::to_value(&receipt).map_err(lost)?;
        self.vault.append(own_batch(forward::DELIVERY_DATASET, &[event])).await.map(drop).map_err(lost)
    }
    async fn expired(&self, expired: Expired) -> Result<(), StoreError> {
        let event = serde_json::to_value(&expired).map_err(lost)?;
        self.vault.append(own_batch(forward::DELIVERY_DATASET, &[event])).await.map(drop).map_err(lost)
    }
}

struct Ears(Weak<Node>);

impl forward::Host for Ears {
    fn now(&self) -> Time {
        now()
    }
    fn random(&self, max: i64) -> i64 {
        super::alerting::random(max)
    }
    fn notify(&self, event: SinkEvent) {
        let Some(node) = self.0.upgrade() else { return };
        let (kind, rule, title, why, sink) = match &event {
            SinkEvent::Held { sink, reason } => (
                "Policy:Sink/Held",
                "sink_held",
                format!("Sink {sink} is held"),
                format!("It waits for a person: {reason}"),
                sink.clone(),
            ),
            SinkEvent::Dead { sink, events, class, code } => (
                "Policy:Sink/Refused",
                "sink_refused",
                format!("Sink {sink} refused {events} events for their content"),
                format!("{class} {code}: they are dead letters now; see `avouch redrive list --sink {sink}`"),
                sink.clone(),
            ),
            SinkEvent::Expired { sink, from, to } => (
                "Policy:Sink/Expired",
                "sink_expired",
                format!("Events expired before they reached sink {sink}"),
                format!("positions 0:{from} to 0:{to} went with their retention"),
                sink.clone(),
            ),
            SinkEvent::Released { sink } => {
                let id = model::Occurrence::identity("Policy:Sink/Held", None, None, Some(sink), &[]);
                tokio::spawn(async move {
                    let by = findings::By {
                        who: "forward".to_owned(),
                        at: now(),
                        why: "the sink takes events again".to_owned(),
                    };
                    let command = findings::Command::Judge { id, verdict: findings::Verdict::Pass };
                    if let Err(p) = node.hub.run(&node, &command, &by).await {
                        tracing::warn!(problem = %p, "a released sink could not be noted");
                    }
                });
                return;
            }
        };
        let o = super::alerting::own_finding(
            kind,
            rule,
            &title,
            &why,
            "Look at `avouch sink list`; correct the cause on the other side or in `sinks:`.",
            model::Severity::HIGH,
            &sink,
        );
        tokio::spawn(async move {
            if let Err(p) = node.hub.ingest(&node, vec![o], "forward").await {
                tracing::warn!(problem = %p, "a sink's trouble could not be recorded");
            }
        });
    }
}

impl Sinks {
    /// # Errors
    /// A sink's settings cannot work.
    pub async fn start(
        node: &Arc<Node>,
        _stop: &watch::Receiver<bool>,
        tasks: &mut JoinSet<()>,
    ) -> Result<Sinks, Problem> {
        let (mut handles, mut files, mut again) = (BTreeMap::new(), Files::new(), BTreeMap::new());
        let vault = node.vault()?.clone();
        let store = Arc::new(Store { state: node.state.clone(), vault: vault.clone() });
        let secrets: forward::Secrets =
            Arc::new(|r: &forward::SecretRef| super::alerting::resolve(&r.0).map(forward::Secret::new));
        for (name, config) in &node.config.sinks {
            let mut config: SinkConfig = config.clone();
            if let Some(file) = &mut config.file {
                if file.path.is_relative() {
                    file.path = node.data.join(&file.path);
                }
                files.insert(name.clone(), file.path.clone());
            }
            let problem = |e: &forward::Error| Problem::new(e.code(), e.to_string()).hint(e.hint());
            let original = config.file.as_ref().is_some_and(|f| f.original)
                || config.elasticsearch.as_ref().is_some_and(|e| e.original);
            let document = Arc::new(Document { shard: 0, original });
            let sink = open_sink(name, &config, document, &secrets).map_err(|e| problem(&e))?;
            let mut datasets = config.datasets.clone();
            if !datasets.iter().any(|d| d.starts_with("avouch.")) {
                // Our own doings leave only when they are named.
                datasets.push("!avouch.*".to_owned());
            }
            let source =
                Arc::new(Log { vault: vault.clone(), datasets, reader: tokio::sync::Mutex::new(None) });
            let host: Arc<dyn forward::Host> = Arc::new(Ears(Arc::downgrade(node)));
            let for_letters = RedriveParts {
                sink: Arc::clone(&sink),
                dead_letters: Arc::clone(&store) as _,
                host: Arc::clone(&host),
            };
            again.insert(name.clone(), for_letters);
            let parts = Parts {
                name: name.clone(),
                shard: 0,
                config,
                sink,
                source,
                cursors: Arc::clone(&store) as _,
                dead_letters: Arc::clone(&store) as _,
                receipts: Arc::clone(&store) as _,
                host,
            };
            let (handle, running) = forward::start(parts);
            tasks.spawn(running);
            handles.insert(name.clone(), handle);
        }
        Ok(Sinks { handles, parts: again, files })
    }

    pub fn names(&self) -> Vec<String> {
        self.handles.keys().cloned().collect()
    }

    pub fn parts(&self, sink: &str) -> Option<&RedriveParts> {
        self.parts.get(sink)
    }

    pub fn states(&self) -> Vec<SinkState> {
        self.handles
            .values()
            .map(|h| {
                let s = h.status();
                let state = match s.state {
                    RunState::Running => "running",
                    RunState::Paused => "paused",
                    RunState::Held => "held",
                    RunState::Stopped => "stopped",
                };
                let why =
                    s.held.as_ref().map(|h| h.reason.clone()).or(s.last_error.clone()).unwrap_or_default();
                SinkState {
                    name: s.name,
                    kind: s.kind,
                    state: state.to_owned(),
                    waiting: s.unfinished,
                    done: s.done.saturating_add(s.duplicate),
                    duplicate: s.duplicate,
                    dead: s.dead,
                    why,
                    oldest: s.oldest_received,
                    last_success: s.last_success,
                }
            })
            .collect()
    }

    /// Everything below this is done or dead.
    pub fn cursor(&self, sink: &str) -> Option<u64> {
        self.handles.get(sink).map(|h| h.status().cursor)
    }

    pub fn lag(&self, sink: &str) -> Option<Lag> {
        let s = self.handles.get(sink)?.status();
        Some(Lag {
            age_us: i64::try_from(s.lag_seconds).unwrap_or(i64::MAX).saturating_mul(Time::SECOND),
            is_held: s.held.is_some(),
        })
    }

    /// Every sink has read to the end and finished what it read.
    pub fn settled(&self) -> bool {
        self.handles.values().all(|h| {
            let s = h.status();
            s.unfinished == 0 && s.lag_events < 64
        })
    }

    /// # Errors
    /// No such sink, or its cursor cannot be stored.
    pub async fn switch(&self, name: &str, pause: bool) -> Result<(), Problem> {
        let known: Vec<&str> = self.handles.keys().map(String::as_str).collect();
        let Some(handle) = self.handles.get(name) else { return Err(unknown("sink", name, &known)) };
        let done = if pause { handle.pause().await } else { handle.resume().await };
        done.map_err(|e| Problem::new(e.code(), e.to_string()).hint(e.hint()))
    }

    pub async fn stop(&self, grace: Duration) {
        for handle in self.handles.values() {
            handle.stop(grace).await;
        }
    }

    /// Reads back what arrived at a sink, through the sink's own files and not through the writer's answer.
    ///
    /// # Errors
    /// The sink cannot be read back from here.
    pub async fn find(&self, sink: &str, token: &str) -> Result<Vec<Delivered>, Trouble> {
        let Some(path) = self.files.get(sink).cloned() else {
            return Err(Trouble::Missing(format!(
                "credential: sink `{sink}` cannot be read back by this build; its own word is all there is"
            )));
        };
        let token = token.to_owned();
        let found = tokio::task::spawn_blocking(move || read_back(&path, &token))
            .await
            .map_err(|e| Trouble::Missing(e.to_string()))?;
        found.map_err(|e| Trouble::Missing(format!("the sink's file cannot be read: {e}")))
    }
}

/// A line that a drill reads back: its canary is a short event, and a sink's file may hold anything.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Lines of an NDJSON file, rotated siblings included, that hold the token, with the original record where it is kept.
fn read_back(path: &std::path::Path, token: &str) -> std::io::Result<Vec<Delivered>> {
    let (dir, stem) = (
        path.parent().unwrap_or(std::path::Path::new(".")),
        path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
    );
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)?
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(&stem)))
        .collect();
    files.sort();
    let mut out = Vec::new();
    for file in files {
        let passed = files::lines(&file, LINE_BYTES_MAX, |line| {
            let Some(line) = std::str::from_utf8(line).ok().filter(|l| l.contains(token)) else { return };
            let doc: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
            let raw = ["/event/original", "/message"]
                .iter()
                .find_map(|p| doc.pointer(p)?.as_str())
                .map(|s| s.as_bytes().to_vec());
            out.push(Delivered {
                raw,
                place: file.display().to_string(),
                answer: line.chars().take(300).collect(),
            });
        })?;
        if passed > 0 {
            tracing::debug!(file = %file.display(), lines = passed, "lines too long for a canary were passed over");
        }
    }
    Ok(out)
}
