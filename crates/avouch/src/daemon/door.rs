//! The door: what `collect` hands over is shaped and appended, and only then receipted (V2). Redeliveries of events with an origin
//! are found here, drills are marked here, and undecodable bytes become dead letters here.

use crate::config::Config;
use crate::files;
use crate::node::{now, own_batch, vault_problem};
use crate::problem::Problem;
use async_trait::async_trait;
use base64::Engine as _;
use collect::{DeadLetter, DeadLetters, Intake, IntakeError, Receipt, Window};
use model::{Batch, Provenance, SEQ_NONE, Span};
use shape::{OpenRun, Plan};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use vault::{Vault, VaultError};

/// Room for everything in a dead letter but its bytes: reason, origin and names are bounded far below this.
const LETTER_ENVELOPE_BYTES: usize = 64 << 10;

/// A drill whose canaries may arrive, with the counters that were used.
struct Run {
    open: OpenRun,
    used: BTreeSet<u32>,
}

pub struct Door {
    vault: Vault,
    /// `vault.max_event`: what is longer becomes a dead letter here, since sending it again would never help.
    event_bytes_max: usize,
    plans: BTreeMap<String, Plan>,
    standard: Plan,
    /// Per source: ids of what it delivered lately. The lock is held over the append, so that a second copy is answered only when
    /// the first is durable.
    windows: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<Window>>>>,
    runs: RwLock<Vec<Run>>,
    /// Tokens that look like ours and are not: (time, source, reason), for the finding.
    pub forged: Mutex<Vec<(String, String)>>,
}

impl Door {
    /// # Errors
    /// A source's routing rules do not compile.
    pub fn new(vault: Vault, config: &Config) -> Result<Door, Problem> {
        let mut plans = BTreeMap::new();
        for (name, source) in &config.sources {
            plans.insert(name.clone(), plan(name, source)?);
        }
        Ok(Door {
            vault,
            event_bytes_max: config.vault.max_event.bytes(),
            plans,
            standard: Plan::default(),
            windows: Mutex::new(BTreeMap::new()),
            runs: RwLock::new(Vec::new()),
            forged: Mutex::new(Vec::new()),
        })
    }

    pub fn open_run(&self, open: OpenRun) {
        self.runs.write().unwrap_or_else(PoisonError::into_inner).push(Run { open, used: BTreeSet::new() });
    }

    pub fn close_run(&self, run: shape::RunId) {
        self.runs.write().unwrap_or_else(PoisonError::into_inner).retain(|r| r.open.run != run);
    }

    fn open_runs(&self) -> Vec<OpenRun> {
        self.runs.read().unwrap_or_else(PoisonError::into_inner).iter().map(|r| r.open.clone()).collect()
    }

    /// Marks the rows whose canary fits and whose counter is fresh; everything else that looks like one is noted as forged.
    fn mark(&self, shaped: shape::Shaped) -> Batch {
        if shaped.canaries.is_empty() {
            return shaped.batch;
        }
        let mut rows = shaped.batch.rows.to_vec();
        let mut provenances = shaped.batch.provenances.to_vec();
        let mut runs = self.runs.write().unwrap_or_else(PoisonError::into_inner);
        for mark in &shaped.canaries {
            let run = runs.iter_mut().find(|r| r.open.run == mark.run);
            let fresh = match (mark.verdict, run) {
                (shape::canary::Verdict::Fits, Some(run)) => run.used.insert(mark.counter),
                _ => false,
            };
            let Some(row) = rows.get_mut(mark.row) else { continue };
            let Some(p) = provenances.get(row.provenance as usize) else { continue };
            if fresh {
                let marked = Provenance { canary: Some(mark.run.to_string().into()), ..(**p).clone() };
                provenances.push(Arc::new(marked));
                row.provenance = u32::try_from(provenances.len() - 1).unwrap_or(u32::MAX);
            } else {
                let reason = match mark.verdict {
                    shape::canary::Verdict::Forged(f) => f.reason(),
                    shape::canary::Verdict::Fits => "its counter was used before",
                };
                self.forged
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push((p.source.to_string(), reason.to_owned()));
            }
        }
        Batch { rows: Arc::new(rows), provenances: Arc::new(provenances), ..shaped.batch }
    }

    fn window(&self, source: &str) -> Arc<tokio::sync::Mutex<Window>> {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(windows.entry(source.to_owned()).or_default())
    }

    /// Fills the window of redeliveries from what the vault's tail remembers, so that a restart keeps it.
    ///
    /// # Errors
    /// The tail cannot be read.
    pub async fn remember(&self, batches: &[Batch]) {
        for batch in batches {
            for (i, row) in batch.rows.iter().enumerate() {
                self.window(&batch.provenance_of(i).source).lock().await.insert(row.id);
            }
        }
    }

    /// Appends what the vault can take and buries what is too long for it, so that one event never holds up its source.
    async fn store(&self, batch: &Batch, ours: &Batch) -> Result<Vec<Receipt>, IntakeError> {
        let is_long = |row: &model::Row| row.raw.len() > self.event_bytes_max;
        if !batch.rows.iter().any(is_long) {
            return self.append_all(batch, ours).await;
        }
        for (i, row) in batch.rows.iter().enumerate().filter(|(_, r)| is_long(r)) {
            let p = batch.provenance_of(i);
            let letter = DeadLetter {
                stage: "decode",
                source: p.source.to_string(),
                decoder: String::new(),
                reason: format!(
                    "an event of {} bytes is above `vault.max_event` of {}",
                    row.raw.len(),
                    self.event_bytes_max
                ),
                offset: 0,
                origin: p.origin.as_deref().unwrap_or_default().to_owned(),
                bytes: bytes::Bytes::copy_from_slice(batch.bytes(row.raw)),
            };
            self.write(letter).await?;
        }
        let rows = batch.rows.iter().filter(|r| !is_long(r)).copied().collect();
        let mut stored = self.append_all(&batch.with_rows(rows), ours).await?.into_iter();
        let refused = Receipt::Refused { reason: collect::Refused::TooLarge };
        Ok(batch
            .rows
            .iter()
            .filter_map(|row| if is_long(row) { Some(refused) } else { stored.next() })
            .collect())
    }

    async fn append_all(&self, batch: &Batch, ours: &Batch) -> Result<Vec<Receipt>, IntakeError> {
        let source: Arc<str> = batch.provenances.first().map_or_else(|| "".into(), |p| Arc::clone(&p.source));
        let plan = self.plans.get(&*source).unwrap_or(&self.standard);
        let shaped = shape::intake(batch, plan, now(), &self.open_runs());
        let marked = self.mark(shaped);
        let commit = if ours.is_empty() { marked } else { joined(&marked, ours) };
        let ack = self.vault.append(commit).await.map_err(refused)?;
        Ok((0..batch.len() as u64)
            .map(|i| Receipt::Durable { shard: ack.shard, seq: ack.first_seq + i })
            .collect())
    }

    /// [`Intake::append`] with events of our own in the same commit: all of it is durable, or nothing.
    ///
    /// # Errors
    /// As for [`Intake::append`].
    pub async fn append_with(&self, batch: Batch, ours: &Batch) -> Result<Vec<Receipt>, IntakeError> {
        if batch.rows.iter().all(|r| r.id.is_none()) {
            return self.store(&batch, ours).await;
        }
        let source: Arc<str> = batch.provenances.first().map_or_else(|| "".into(), |p| Arc::clone(&p.source));
        let window = self.window(&source);
        let mut window = window.lock().await;
        let mut fresh = Vec::with_capacity(batch.len());
        let mut seen = BTreeSet::new();
        for row in batch.rows.iter() {
            fresh.push(!window.contains(row.id) && (row.id.is_none() || seen.insert(row.id)));
        }
        let rows: Vec<_> = batch.rows.iter().zip(&fresh).filter(|(_, f)| **f).map(|(r, _)| *r).collect();
        let mut stored = self.store(&batch.with_rows(rows), ours).await?.into_iter();
        let mut receipts = Vec::with_capacity(batch.len());
        for (row, is_fresh) in batch.rows.iter().zip(&fresh) {
            debug_assert_eq!(row.seq, SEQ_NONE);
            if *is_fresh {
                receipts.extend(stored.next());
                window.insert(row.id);
            } else {
                receipts.push(Receipt::Duplicate { of: row.id });
            }
        }
        Ok(receipts)
    }
}

/// One batch with the rows of both, in this order. Copied into a new arena: only what settles something goes this way.
fn joined(first: &Batch, second: &Batch) -> Batch {
    let mut out = Batch::builder();
    for batch in [first, second] {
        for (i, row) in batch.rows.iter().enumerate() {
            let provenance = out.provenance(batch.provenance_of(i).clone());
            let dataset = out.dataset(batch.dataset_of(i));
            let key = batch.natural_key(i);
            let natural_key = if key.is_empty() { Span::EMPTY } else { out.store(key) };
            let raw = out.store(batch.raw(i));
            out.push_row(model::Row { raw, natural_key, provenance, dataset, ..*row });
        }
        for p in batch.positions.iter() {
            out.position(&p.key, &p.value);
        }
    }
    out.finish()
}

fn refused(e: VaultError) -> IntakeError {
    match e {
        VaultError::Closed => IntakeError::Closed,
        e => IntakeError::Unavailable { why: e.to_string(), retry_after: Duration::from_secs(5) },
    }
}

#[async_trait]
impl Intake for Door {
    async fn append(&self, batch: Batch) -> Result<Vec<Receipt>, IntakeError> {
        self.append_with(batch, &Batch::default()).await
    }

    fn position(&self, key: &str) -> Option<String> {
        self.vault.position(key)
    }
}

#[async_trait]
impl DeadLetters for Door {
    async fn write(&self, letter: DeadLetter) -> Result<(), IntakeError> {
        // A letter is an event itself and must fit: its bytes are cut so that even as base64 they do.
        let room = self.event_bytes_max.saturating_sub(LETTER_ENVELOPE_BYTES) / 4 * 3;
        let kept = letter.bytes.get(..room).unwrap_or(&letter.bytes);
        let is_short = |t: &&str| serde_json::to_string(t).is_ok_and(|t| t.len() <= room / 3 * 4);
        let text = std::str::from_utf8(kept).ok().filter(is_short);
        let event = serde_json::json!({
            "schema": "avouch.dead_letter/1", "time": now().to_string(), "stage": letter.stage, "source": letter.source,
            "decoder": letter.decoder, "reason": letter.reason, "offset": letter.offset, "origin": letter.origin,
            "bytes": letter.bytes.len(), "kept": kept.len(), "text": text,
            "base64": text.is_none().then(|| base64::engine::general_purpose::STANDARD.encode(kept)),
        });
        self.vault.append(own_batch("avouch.dead_letter", &[event])).await.map(drop).map_err(refused)
    }
}

/// How one source's events are shaped.
fn plan(name: &str, source: &collect::SourceConfig) -> Result<Plan, Problem> {
    let mut value = serde_json::json!({ "datasets": [], "zones": [], "tags": [] });
    let mut rules = Vec::new();
    for rule in &source.datasets {
        rules.push(serde_json::json!({ "match": serde_json::to_value(&rule.matches).unwrap_or_default(), "dataset": rule.dataset }));
    }
    let bare = |m: &serde_json::Value| {
        m.get("match").and_then(|m| m.as_object()).is_some_and(serde_json::Map::is_empty)
    };
    let fallback = rules.iter().find(|r| bare(r)).and_then(|r| r.get("dataset").cloned());
    rules.retain(|r| !bare(r));
    if let Some(map) = value.as_object_mut() {
        map.insert("datasets".into(), rules.into());
        if let Some(name) = fallback.or_else(|| source.dataset.clone().map(Into::into)) {
            map.insert("default".into(), name);
        }
        if !source.tags.is_empty() {
            map.insert("tags".into(), serde_json::json!([{ "tags": source.tags }]));
        }
        let zones: Vec<_> = source
            .syslog
            .iter()
            .flat_map(|s| &s.zones)
            .map(|z| serde_json::json!({ "sender": z.senders.to_string(), "zone": z.zone }))
            .collect();
        map.insert("zones".into(), zones.into());
    }
    let bad = |why: String, hint: String| {
        Problem::new("config.routing", format!("source `{name}`: {why}")).hint(hint)
    };
    let config: shape::ShapeConfig = serde_json::from_value(value).map_err(|e| {
        bad(
            e.to_string(),
            "rules match source, declared, sender, account, origin, content, app, glob or level".to_owned(),
        )
    })?;
    Plan::compile(&config, &zone_file).map_err(|e| bad(e.to_string(), e.hint()))
}

/// The rules of a time zone from the system's database, as `shape` wants them: as bytes.
fn zone_file(name: &str) -> Option<Vec<u8>> {
    if name.contains("..") || name.starts_with('/') {
        return None;
    }
    files::read(&std::path::Path::new("/usr/share/zoneinfo").join(name), files::TEXT_BYTES_MAX).ok()
}

impl From<&VaultError> for Problem {
    fn from(e: &VaultError) -> Problem {
        vault_problem(e)
    }
}
