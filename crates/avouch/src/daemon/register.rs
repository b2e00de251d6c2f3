//! The control register at work: what probes see of this installation, proofs and confirmations from the vault, and the drills'
//! hands in the world.

use crate::config::Config;
use crate::node::{Node, Store, now};
use crate::problem::Problem;
use crate::state::State;
use model::{Attestation, Control, Instance, Observation, Probe, Proof, Time};
use prove::{Context, Entry, Fact, Look, Register, Seen, Subjects};
use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

pub struct Book {
    pub register: Register,
    proofs: RwLock<Vec<Proof>>,
    attestations: RwLock<Vec<Attestation>>,
}

/// Proofs kept per control in memory: the newest decide, older ones are in the vault.
const PROOFS_KEPT: usize = 50;

impl Book {
    pub async fn load(config: &Config, state: &State) -> Result<Book, Problem> {
        let mut files: Vec<(String, String)> = prove::PACKS
            .iter()
            .filter(|(name, _)| config.controls.packs.iter().any(|p| stem(name) == p))
            .map(|(n, t)| ((*n).to_owned(), (*t).to_owned()))
            .collect();
        for path in &config.controls.paths {
            files.extend(read(path)?);
        }
        let register = Register::load(&files).map_err(|refused| control_problem(&refused))?;
        let proofs = state
            .list("proof")
            .await?
            .into_iter()
            .filter_map(|(_, v)| serde_json::from_slice(&v).ok())
            .collect();
        let attestations = state
            .list("attestation")
            .await?
            .into_iter()
            .filter_map(|(_, v)| serde_json::from_slice(&v).ok())
            .collect();
        Ok(Book { register, proofs: RwLock::new(proofs), attestations: RwLock::new(attestations) })
    }

    pub fn proofs(&self) -> Vec<Proof> {
        self.proofs.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn attestations(&self) -> Vec<Attestation> {
        self.attestations.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps a finished run. Its records are in the vault already; this is the index over them.
    pub async fn add_proof(&self, state: &State, proof: Proof) -> Result<(), Problem> {
        state.put_json("proof", &proof.run, &proof).await?;
        let mut proofs = self.proofs.write().unwrap_or_else(PoisonError::into_inner);
        proofs.push(proof.clone());
        let of_control = proofs.iter().filter(|p| p.control == proof.control).count();
        if of_control > PROOFS_KEPT
            && let Some(oldest) = proofs.iter().position(|p| p.control == proof.control)
        {
            proofs.remove(oldest);
        }
        Ok(())
    }

    pub async fn add_attestation(&self, state: &State, a: Attestation) -> Result<(), Problem> {
        state.put_json("attestation", &format!("{}/{}", a.control, a.at), &a).await?;
        self.attestations.write().unwrap_or_else(PoisonError::into_inner).push(a);
        Ok(())
    }
}

fn stem(name: &str) -> &str {
    let base = name.rsplit('/').next().unwrap_or(name);
    base.strip_suffix(".yaml").unwrap_or(base)
}

pub fn control_problem(refused: &prove::Refused) -> Problem {
    let text = refused.to_string();
    let mut lines = text.lines();
    let first = lines.next().unwrap_or("the control files cannot be used").to_owned();
    Problem::new("control.refused", first)
        .hint("`avouch controls lint FILE` shows every problem with its place")
}

/// Control files below a path.
pub fn read(path: &std::path::Path) -> Result<Vec<(String, String)>, Problem> {
    let bad = |e: &std::io::Error| {
        Problem::new("control.unreadable", format!("cannot read controls from `{}`", path.display()))
            .because(e)
            .hint("name a YAML file or a folder of them")
    };
    let meta = std::fs::metadata(path).map_err(|e| bad(&e))?;
    let mut names = vec![path.to_path_buf()];
    if meta.is_dir() {
        names = std::fs::read_dir(path)
            .map_err(|e| bad(&e))?
            .flatten()
            .map(|e| e.path())
            .filter(|p| p.extension().is_some_and(|e| e == "yaml"))
            .collect();
        names.sort();
    }
    names
        .into_iter()
        .map(|p| Ok((p.display().to_string(), std::fs::read_to_string(&p).map_err(|e| bad(&e))?)))
        .collect()
}

/// What can be seen of this installation without changing anything.
pub struct Eyes<'a> {
    node: &'a Node,
    at: Time,
}

impl<'a> Eyes<'a> {
    pub fn of(node: &'a Node) -> Eyes<'a> {
        Eyes { node, at: now() }
    }

    /// The value of a dotted path in a probe's expectation, with `source` and `sink` bound to the instance's.
    fn fact(&self, path: &str, instance: &Instance) -> Fact {
        let node = self.node;
        let source = instance.0.get("source").cloned().unwrap_or_default();
        let sink = instance.0.get("sink").cloned().unwrap_or_default();
        let micros = |m: i64| Fact::Duration(m);
        match path {
            "route(source,sink).enabled" => {
                let routed =
                    node.config.sources.contains_key(&source) && node.config.sinks.contains_key(&sink);
                Fact::Bool(routed)
            }
            "source.enabled" | "source.configured" => Fact::Bool(node.config.sources.contains_key(&source)),
            "sink.enabled" | "sink.configured" => Fact::Bool(node.config.sinks.contains_key(&sink)),
            "source.last_event_age" | "sink.lag" | "sink.held" => match node.pipeline.get() {
                None => Fact::Missing(
                    "component: the daemon is not running, so nothing flows: avouch serve".to_owned(),
                ),
                Some(p) if path == "source.last_event_age" => {
                    match p.sources().into_iter().find(|s| s.name == source) {
                        None => Fact::Missing(format!("log source: no source `{source}` is configured")),
                        Some(s) => match s.counters.last_event.known() {
                            None => Fact::Missing(format!("log source: `{source}` has sent nothing yet")),
                            Some(t) => micros(self.at.since(t).max(0)),
                        },
                    }
                }
                Some(p) => match p.sinks.lag(&sink) {
                    None => Fact::Missing(format!("component: no sink `{sink}` is configured")),
                    Some(lag) if path == "sink.lag" => micros(lag.age_us),
                    Some(lag) => Fact::Bool(lag.is_held),
                },
            },
            "vault.encrypted" => Fact::Bool(
                node.config.datasets.values().all(|d| d.encryption != Some(crate::config::Encryption::Sse)),
            ),
            "source.decoder_root_is_own" | "vault.checkpoints_on" => Fact::Bool(true),
            "vault.raw_mismatches" | "vault.verify_exit" | "vault.verify_age" => match node.last_check() {
                None => Fact::Missing(
                    "window: the vault was not verified since the start: avouch prove self.tampering-is-seen"
                        .to_owned(),
                ),
                Some((at, exit)) => match path {
                    "vault.verify_age" => micros(self.at.since(at).max(0)),
                    _ => Fact::Number(i64::from(exit)),
                },
            },
            "source.kernel_drops" | "source.backlog_files" => {
                match node.pipeline.get().and_then(|p| p.sources().into_iter().find(|s| s.name == source)) {
                    None => Fact::Missing(format!("log source: no source `{source}` runs")),
                    Some(_) if path == "source.backlog_files" => {
                        Fact::Missing("component: nothing here counts unread files yet".to_owned())
                    }
                    Some(s) => Fact::Number(i64::try_from(s.counters.kernel_drops).unwrap_or(i64::MAX)),
                }
            }
            "rules.enabled" => Fact::Number(i64::try_from(node.rules.files.len()).unwrap_or(i64::MAX)),
            "vault.lock_held" => Fact::Bool(!node.is_read_only()),
            "access.events_on" => Fact::Bool(true),
            "vault.healthy" => match &node.store {
                Store::Open(v) => Fact::Bool(v.status().poisoned.is_none()),
                Store::Files(_) => Fact::Missing("component: another process writes this vault".to_owned()),
            },
            "vault.checkpoint_age" => match &node.store {
                Store::Open(v) => match v.status().checkpoint_time {
                    Some(t) => micros(self.at.since(t).max(0)),
                    None => Fact::Missing("window: no checkpoint has been published yet".to_owned()),
                },
                Store::Files(_) => Fact::Missing("component: another process writes this vault".to_owned()),
            },
            "server.loopback" => Fact::Bool(node.config.server.listen.ip().is_loopback()),
            "drills.enabled" => Fact::Bool(node.config.controls.drills),
            other => Fact::Missing(format!("component: nothing here answers `{other}` yet")),
        }
    }
}

impl Look for Eyes<'_> {
    fn now(&self) -> Time {
        self.at
    }

    fn subjects(&self, selector: &str, wanted: &str) -> Subjects {
        let names = |all: Vec<String>| {
            let fit = all.into_iter().filter(|n| wanted == "all" || vault::read::glob(wanted, n)).collect();
            Subjects::Found(fit)
        };
        match selector {
            "sources" => names(self.node.config.sources.keys().cloned().collect()),
            "sinks" => names(self.node.config.sinks.keys().cloned().collect()),
            "datasets" => names(self.node.snapshot().datasets().iter().map(ToString::to_string).collect()),
            "channels" => names(self.node.config.alerts.channels.keys().cloned().collect()),
            other => Subjects::Unknown(format!("component: this build does not list {other}")),
        }
    }

    // F1: a probe without a source here answers what is missing, never yes or no.
    fn observe(&self, _: &Control, instance: &Instance, probe: &Probe) -> Observation {
        match probe.probe.as_str() {
            "self" | "flow" => {
                prove::judge(probe, &probe.probe, self.at, |path| (self.fact(path, instance), None))
            }
            _ => prove::observation::unknown(prove::missing_component(probe), &probe.probe, self.at),
        }
    }
}

/// What a proof of this instance goes through: when any of it changes, the proof is stale.
pub fn path_parts(node: &Node, instance: &Instance) -> BTreeMap<String, String> {
    let mut parts = BTreeMap::new();
    let hash = |v: serde_json::Value| model::sha256_hex(v.to_string().as_bytes());
    if let Some(s) = instance.0.get("source") {
        parts.insert(
            format!("source {s}"),
            hash(serde_json::to_value(node.config.sources.get(s)).unwrap_or_default()),
        );
    }
    if let Some(s) = instance.0.get("sink") {
        parts.insert(
            format!("sink {s}"),
            hash(serde_json::to_value(node.config.sinks.get(s)).unwrap_or_default()),
        );
    }
    parts.insert("avouch".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    parts
}

pub fn seen(node: &Node, entry: &Entry) -> Vec<Seen> {
    prove::look(entry, &Eyes::of(node), &|_, instance| path_parts(node, instance))
}

/// Everything that the register says now, evaluated.
pub fn with_rows<T>(node: &Node, f: impl FnOnce(&[prove::Row<'_>], Time) -> T) -> T {
    let at = now();
    let all: BTreeMap<String, Vec<Seen>> =
        node.book.register.entries.iter().map(|e| (e.control.id.clone(), seen(node, e))).collect();
    let rows = prove::evaluate(
        &node.book.register,
        &all,
        &node.book.proofs(),
        &node.book.attestations(),
        &Context::at(at),
    );
    f(&rows, at)
}
