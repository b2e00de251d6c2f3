//! The control register at work: what probes see of this installation, proofs and confirmations from the vault, and the drills'
//! hands in the world.

use super::facts::{self, Facts};
use super::gather::{self, Gathered};
use super::rules::RuleBook;
use crate::config::Config;
use crate::files;
use crate::node::{Node, now};
use crate::problem::Problem;
use crate::state::State;
use model::{Attestation, Control, Instance, Observation, Probe, Proof, Severity, Time};
use prove::record::Record;
use prove::{Context, Entry, Look, Register, Seen, Subjects};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

pub struct Book {
    pub register: Register,
    proofs: RwLock<Vec<Proof>>,
    attestations: RwLock<Vec<Attestation>>,
    gathered: RwLock<Arc<Gathered>>,
    /// Of the rules in force, once their tests have run: rules do not change while a process lives.
    failing_tests: OnceLock<usize>,
    rules: OnceLock<BTreeMap<String, (Severity, String)>>,
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
        let proofs = state.list_json("proof").await?.into_iter().map(|(_, p)| p).collect();
        let attestations = state.list_json("attestation").await?.into_iter().map(|(_, a)| a).collect();
        Ok(Book {
            register,
            proofs: RwLock::new(proofs),
            attestations: RwLock::new(attestations),
            gathered: RwLock::default(),
            failing_tests: OnceLock::new(),
            rules: OnceLock::new(),
        })
    }

    /// What was gathered last for the facts.
    pub fn gathered(&self) -> Arc<Gathered> {
        Arc::clone(&self.gathered.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn failing_tests(&self) -> Option<usize> {
        self.failing_tests.get().copied()
    }

    pub fn note_failing_tests(&self, n: usize) {
        let _ = self.failing_tests.set(n);
    }

    /// Severity and finding type of a rule in force.
    pub fn rule(&self, rules: &RuleBook, name: &str) -> Option<(Severity, String)> {
        self.rules.get_or_init(|| facts::rule_table(&rules.files)).get(name).cloned()
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

/// Reads anew what facts about this installation rest on. Commands do it before they answer, the daemon every few seconds.
pub async fn refresh(node: &Node) {
    let fresh = gather::gather(node).await;
    *node.book.gathered.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
}

/// Plans of the last day whose time is over and that have no proof: runs that were cut short. Read from the vault, since only it
/// still knows what a process that died had begun.
pub fn open_plans(snapshot: &vault::Snapshot, at: Time) -> Option<usize> {
    const PROOFS: &str = "avouch.proof";
    let (mut begun, mut ended) = (BTreeSet::new(), BTreeSet::new());
    let mut each = |batch: &model::Batch| {
        for (i, _) in batch.rows.iter().enumerate().filter(|(_, r)| at.since(r.received) <= Time::DAY) {
            match Record::from_bytes(batch.raw(i)) {
                Ok(Record::Plan(p)) if p.deadline < at => drop(begun.insert(p.run.to_string())),
                Ok(Record::Proof(p)) => drop(ended.insert(p.run)),
                _ => {}
            }
        }
    };
    for meta in snapshot.segments_of(PROOFS) {
        if at.since(meta.received.1) > Time::DAY {
            continue;
        }
        for batch in snapshot.open_segment(&meta, 0).ok()? {
            each(&batch.ok()?);
        }
    }
    for batch in snapshot.tail(PROOFS).ok()? {
        each(&batch);
    }
    Some(begun.difference(&ended).count())
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
        .map(|p| {
            Ok((p.display().to_string(), files::read_text(&p, files::TEXT_BYTES_MAX).map_err(|e| bad(&e))?))
        })
        .collect()
}

/// What can be seen of this installation without changing anything.
pub struct Eyes<'a> {
    node: &'a Node,
    at: Time,
    gathered: Arc<Gathered>,
}

impl<'a> Eyes<'a> {
    pub fn of(node: &'a Node) -> Eyes<'a> {
        Eyes { node, at: now(), gathered: node.book.gathered() }
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
            other => {
                Subjects::Unknown(format!("component: this build does not list {}", other.replace('_', " ")))
            }
        }
    }

    // F1: a probe without a source here answers what is missing, never yes or no.
    fn observe(&self, control: &Control, instance: &Instance, probe: &Probe) -> Observation {
        let facts = Facts::new(self.node, &self.gathered, self.at, instance);
        let mut seen = match probe.probe.as_str() {
            "self" | "flow" | "host" => {
                prove::judge(probe, &probe.probe, self.at, |path| (facts.get(path), None))
            }
            _ => prove::observation::unknown(prove::missing_component(probe), &probe.probe, self.at),
        };
        // Whoever reads "this build has no …" wants to know when it will: the needs it belongs to.
        if let Some(missing) = seen.missing.as_mut().filter(|m| m.starts_with("component: ")) {
            missing.push_str(&format!("; see {} in docs/coverage.md", control.answers.join(", ")));
        }
        seen
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
