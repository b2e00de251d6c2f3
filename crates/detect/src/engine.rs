//! The engine: batches in, occurrences out. Holds one program per dataset and the windows of every correlation.

use crate::compile::run::{Counts, Runner};
use crate::compile::{CompileError, Program, Routed};
use crate::json::Walker;
use crate::occurrence::{Plan, blank, identity_name};
use crate::route::{Route, Target, target};
use crate::sigma::Rules;
use crate::sigma::correlation::{Correlation, Counted};
use crate::sigma::rule::Path;
use crate::time::{Clock, effective, lateness};
use crate::window::{Entry, NeedRange, Report, Saved, Shape, Windows};
use model::{Batch, Columns, EventId, Occurrence, Time};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What the host may decide.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Send each rule to the datasets of its `logsource`. Off, every rule meets every event: for tests and benches.
    pub routing: bool,
    /// Lines that come before the built-in routing table.
    pub routes: Vec<Route>,
    /// Lateness of datasets that differs from the built-in one, in microseconds.
    pub lateness: BTreeMap<String, i64>,
    /// Most groups of one correlation.
    pub groups_max: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { routing: true, routes: Vec::new(), lateness: BTreeMap::new(), groups_max: 1_000_000 }
    }
}

/// A rule that holds for an event, by index into [`Rules::rules`] and into the batch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Hit {
    pub row: usize,
    pub rule: u32,
}

/// What an operator must know before he trusts silence.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Health {
    pub events: u64,
    pub malformed_json: u64,
    pub duplicate_keys: u64,
    pub not_utf8: u64,
    /// Events without any time; they take no part in correlations.
    pub no_time: u64,
    /// Rule → number of hits.
    pub hits: BTreeMap<String, u64>,
    /// Correlation → events that lacked a `group-by` field, or the counted one.
    pub group_field_missing: BTreeMap<String, u64>,
    /// Correlation → groups given up at the cap; such a rule is degraded.
    pub evicted: BTreeMap<String, u64>,
    /// Correlation → events that came behind the watermark.
    pub late: BTreeMap<String, u64>,
    /// Correlation → events that found their group full.
    pub overflow: BTreeMap<String, u64>,
    /// Rules that run on no dataset, because their `logsource` says nothing.
    pub unrouted: Vec<String>,
    /// Datasets whose rules could not be compiled, with the reason: blind, not silent.
    pub blind: BTreeMap<String, String>,
    pub watermark: Option<Time>,
}

/// Why saved state was not taken.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("the saved state of detection cannot be read: {0}")]
    Unreadable(String),
    #[error("the saved state of detection has version {0}, this engine reads version {VERSION}")]
    Version(u32),
}

impl StateError {
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            StateError::Unreadable(_) => "detect.state_unreadable",
            StateError::Version(_) => "detect.state_version",
        }
    }
    #[must_use]
    pub fn hint(&self) -> &'static str {
        "start with empty windows and read the longest timespan of the vault again"
    }
}

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct State<W> {
    version: u32,
    clock: Clock,
    /// Rule name, rule hash, windows.
    windows: Vec<(String, String, W)>,
}

struct Compiled {
    program: Program,
    runner: Runner,
}

/// One correlation at work.
struct Counting {
    windows: Windows,
    /// Per base rule, in the order of [`Correlation::rules`]: what to read from its events.
    plans: BTreeMap<(u32, bool), Plan>,
    n_missing: u64,
}

pub struct Engine {
    rules: Arc<Rules>,
    settings: Settings,
    targets: Vec<Target>,
    programs: BTreeMap<Arc<str>, Option<Compiled>>,
    /// Rules that alert on their own.
    alerts: Vec<bool>,
    /// Rule → correlations over it.
    feeds: Vec<Vec<usize>>,
    plans: BTreeMap<(u32, bool), Plan>,
    counting: Vec<Counting>,
    clock: Clock,
    walker: Walker,
    requests: BTreeSet<NeedRange>,
    hits: Vec<u64>,
    no_time: u64,
    blind: BTreeMap<String, String>,
}

impl Engine {
    /// # Errors
    /// The rules exceed a limit.
    pub fn new(rules: Rules, settings: Settings) -> Result<Engine, CompileError> {
        let targets: Vec<Target> =
            rules.rules.iter().map(|r| target(&r.logsource, &settings.routes)).collect();
        let mut feeds = vec![Vec::new(); rules.rules.len()];
        let mut alerts: Vec<bool> = rules.rules.iter().map(|r| !r.head.own.is_signal).collect();
        for (i, c) in rules.correlations.iter().enumerate() {
            for r in &c.rules {
                if let Some(f) = feeds.get_mut(*r) {
                    f.push(i);
                }
            }
        }
        // Base rules are silent unless a correlation over them says otherwise.
        for (alert, feeds) in alerts.iter_mut().zip(&feeds) {
            *alert &= feeds.is_empty()
                || feeds.iter().any(|c| rules.correlations.get(*c).is_some_and(|c| c.generate));
        }
        let counting = rules.correlations.iter().map(|c| Counting {
            windows: Windows::new(shape(c), settings.groups_max),
            plans: BTreeMap::new(),
            n_missing: 0,
        });
        let mut engine = Engine {
            counting: counting.collect(),
            hits: vec![0; rules.rules.len()],
            rules: Arc::new(rules),
            targets,
            programs: BTreeMap::new(),
            alerts,
            feeds,
            plans: BTreeMap::new(),
            clock: Clock::new(),
            walker: Walker::default(),
            requests: BTreeSet::new(),
            no_time: 0,
            blind: BTreeMap::new(),
            settings,
        };
        // Every dataset that is named in full is compiled now, so that a set that does not fit is refused at load.
        let named: BTreeSet<String> =
            engine.targets.iter().flat_map(|t| t.datasets.clone()).filter(|d| !d.ends_with('*')).collect();
        for d in if engine.settings.routing { named } else { BTreeSet::from([String::new()]) } {
            let compiled = engine.compile(&d)?;
            engine.programs.insert(d.into(), compiled);
        }
        Ok(engine)
    }

    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Where rule `index` runs.
    #[must_use]
    pub fn target(&self, index: usize) -> Option<&Target> {
        self.targets.get(index)
    }

    fn compile(&self, dataset: &str) -> Result<Option<Compiled>, CompileError> {
        let routing = self.settings.routing;
        let routed: Vec<Routed<'_>> = self
            .rules
            .rules
            .iter()
            .zip(&self.targets)
            .enumerate()
            .filter(|(_, (_, t))| !routing || t.takes(dataset))
            .map(|(i, (rule, t))| Routed {
                index: u32::try_from(i).unwrap_or(u32::MAX),
                rule,
                guard: t.guard.as_ref().filter(|_| routing),
            })
            .collect();
        if routed.is_empty() {
            return Ok(None);
        }
        let program = Program::new(&routed, !routing || is_cloudtrail(dataset))?;
        let runner = Runner::new(&program);
        Ok(Some(Compiled { program, runner }))
    }

    /// The program for the dataset of `batch`, compiled when it is first met.
    fn program(&mut self, batch: &Batch) -> Option<&mut Compiled> {
        let dataset = if self.settings.routing { batch.dataset_of(0) } else { "" };
        if !self.programs.contains_key(dataset) {
            let compiled = self.compile(dataset).unwrap_or_else(|e| {
                self.blind.insert(dataset.to_owned(), e.to_string());
                None
            });
            self.programs.insert(dataset.into(), compiled);
        }
        self.programs.get_mut(dataset)?.as_mut()
    }

    /// Every (row, rule) that holds, sorted. `batch` holds one dataset.
    pub fn hits(&mut self, batch: &Batch, columns: Option<&Columns>) -> Vec<Hit> {
        let mut out = Vec::new();
        if let Some(c) = self.program(batch) {
            c.runner.batch(&c.program, batch, columns, |rule, row| out.push(Hit { row, rule }));
        }
        out.sort_unstable();
        out
    }

    /// [`Engine::events`] for a dataset of text, whose columns are made as far as they are needed: those that a rule looks at for
    /// every row, all of them for the few rows that a rule holds for. `derive` makes the columns of a batch for whose names it is
    /// told yes.
    pub fn judge(
        &mut self,
        batch: &Batch,
        derive: impl Fn(&Batch, &dyn Fn(&str) -> bool) -> Columns,
    ) -> Vec<Occurrence> {
        let mut hits = Vec::new();
        if let Some(c) = self.program(batch) {
            let asked = |name: &str| c.program.fields.paths.iter().any(|p| p.as_str() == name);
            let columns = derive(batch, &asked);
            c.runner.batch(&c.program, batch, Some(&columns), |rule, row| hits.push(Hit { row, rule }));
        }
        hits.sort_unstable();
        let mut rows = Vec::new();
        for hit in &mut hits {
            if rows.last() != Some(&hit.row) {
                rows.push(hit.row);
            }
            hit.row = rows.len() - 1;
        }
        let mut out = Vec::new();
        if !rows.is_empty() {
            let rows = rows.iter().filter_map(|r| batch.rows.get(*r).copied()).collect();
            let few = Batch { rows: Arc::new(rows), ..batch.clone() };
            out = self.tell(hits, &few, Some(&derive(&few, &|_| true)));
        }
        self.observe(batch);
        self.settle(&mut out);
        in_order(out)
    }

    /// Judges a batch of one dataset. Occurrences are in the order (event time, event id, rule).
    pub fn events(&mut self, batch: &Batch, columns: Option<&Columns>) -> Vec<Occurrence> {
        let hits = self.hits(batch, columns);
        let mut out = self.tell(hits, batch, columns);
        self.observe(batch);
        self.settle(&mut out);
        in_order(out)
    }

    /// What `hits` mean: occurrences of rules that alert by themselves, and entries in windows.
    fn tell(&mut self, hits: Vec<Hit>, batch: &Batch, columns: Option<&Columns>) -> Vec<Occurrence> {
        let is_cloudtrail = is_cloudtrail(batch.dataset_of(0));
        let rules = Arc::clone(&self.rules);
        let mut out = Vec::new();
        for Hit { row, rule } in hits {
            let index = rule as usize;
            if let Some(n) = self.hits.get_mut(index) {
                *n += 1;
            }
            let Some(r) = rules.rules.get(index) else { continue };
            if self.alerts.get(index) == Some(&true) {
                let plan = self
                    .plans
                    .entry((rule, is_cloudtrail))
                    .or_insert_with(|| Plan::new(&r.head, &r.fields(), &[], is_cloudtrail));
                let facts = plan.facts(batch, row, columns, &mut self.walker);
                out.push(plan.occurrence(&r.head, &facts, batch, row));
            }
            for c in self.feeds.get(index).cloned().unwrap_or_default() {
                self.feed(c, rule, batch, row, columns, &mut out);
            }
        }
        out
    }

    /// Gives the event in `row` to correlation `c`.
    fn feed(
        &mut self,
        c: usize,
        rule: u32,
        batch: &Batch,
        row: usize,
        columns: Option<&Columns>,
        out: &mut Vec<Occurrence>,
    ) {
        let rules = Arc::clone(&self.rules);
        let (Some(correlation), Some(counting)) = (rules.correlations.get(c), self.counting.get_mut(c))
        else {
            return;
        };
        let Some(base) = rules.rules.get(rule as usize) else { return };
        let Some(time) = batch.rows.get(row).and_then(effective) else {
            self.no_time += 1;
            return;
        };
        let is_cloudtrail = is_cloudtrail(batch.dataset_of(row));
        let plan = counting.plans.entry((rule, is_cloudtrail)).or_insert_with(|| {
            let reference = correlation.rules.iter().position(|r| *r == rule as usize);
            let reference = reference.and_then(|i| correlation.references.get(i)).map_or("", String::as_str);
            let mut extra: Vec<&Path> =
                correlation.group_by.iter().map(|p| correlation.field_in(p, reference)).collect();
            if let Counted::Values(p) = &correlation.counted {
                extra.push(correlation.field_in(p, reference));
            }
            Plan::new(&correlation.head, &base.fields(), &extra, is_cloudtrail)
        });
        let facts = plan.facts(batch, row, columns, &mut self.walker);
        let mut wanted: Vec<String> = Vec::with_capacity(plan.extra.len());
        for i in &plan.extra {
            match facts.first(*i) {
                Some(v) => wanted.push(v.to_owned()),
                None => {
                    counting.n_missing += 1;
                    return;
                }
            }
        }
        let value = if matches!(correlation.counted, Counted::Values(_)) {
            wanted.pop().unwrap_or_default()
        } else {
            String::new()
        };
        // A drill must not push a real attacker over the threshold, nor hide in his finding.
        wanted.push(batch.provenance_of(row).canary.as_deref().unwrap_or_default().to_owned());
        let (account, region) = plan.place(&facts, batch, row);
        let evidence = plan.evidence(&facts, batch, row);
        let id = event_key(batch, row, account.as_deref(), is_cloudtrail);
        let entry = Entry { time, id, value, evidence, account, region };
        let mut reports = Vec::new();
        let late = counting.windows.add(&wanted, entry, self.clock.watermark(), &mut reports);
        out.extend(reports.into_iter().map(|r| correlated(correlation, r)));
        if let Some((from, to)) = late {
            self.requests.insert(NeedRange { rule: correlation.head.name.clone(), key: wanted, from, to });
        }
    }

    fn observe(&mut self, batch: &Batch) {
        let mut seen: BTreeMap<u32, (Time, Time)> = BTreeMap::new();
        for row in batch.rows.iter() {
            let Some(t) = effective(row) else { continue };
            let (high, received) = seen.entry(row.provenance).or_insert((t, t));
            *high = (*high).max(t);
            // Without a time of receipt (tests, rule files) events are received when they happen.
            *received = (*received).max(row.received.known().unwrap_or(t));
        }
        let dataset = batch.dataset_of(0);
        let late = self.settings.lateness.get(dataset).copied().unwrap_or_else(|| lateness(dataset));
        for (p, (high, received)) in seen {
            let source = batch.provenances.get(p as usize).map_or("", |p| &p.source);
            self.clock.observe(source, dataset, late, high, received);
        }
    }

    fn settle(&mut self, out: &mut Vec<Occurrence>) {
        let watermark = self.clock.advance();
        for (counting, correlation) in self.counting.iter_mut().zip(&self.rules.correlations) {
            let mut reports = Vec::new();
            counting.windows.settle(watermark, &mut reports);
            out.extend(reports.into_iter().map(|r| correlated(correlation, r)));
        }
    }

    /// Time passes on our own clock, so that a quiet stream settles.
    pub fn tick(&mut self, now: Time) -> Vec<Occurrence> {
        self.clock.tick(now);
        let mut out = Vec::new();
        self.settle(&mut out);
        in_order(out)
    }

    /// No more events: everything settles. A backtest ends with it.
    pub fn end(&mut self) -> Vec<Occurrence> {
        self.clock.end();
        let mut out = Vec::new();
        self.settle(&mut out);
        in_order(out)
    }

    /// Ranges that must be read again because events came late. Taking them empties the list.
    pub fn requests(&mut self) -> Vec<NeedRange> {
        std::mem::take(&mut self.requests).into_iter().collect()
    }

    /// Everything that the future depends on.
    #[must_use]
    pub fn state(&self) -> Vec<u8> {
        let windows = self.counting.iter().zip(&self.rules.correlations);
        let state = State {
            version: VERSION,
            clock: self.clock.clone(),
            windows: windows
                .map(|(w, c)| (c.head.name.clone(), c.head.hash.clone(), w.windows.save()))
                .collect(),
        };
        serde_json::to_vec(&state).unwrap_or_default()
    }

    /// Takes up where [`Engine::state`] was written. A correlation that is new or has changed starts with empty windows and asks
    /// for one timespan.
    ///
    /// # Errors
    /// The bytes are no state of this engine.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let unreadable = |e: serde_json::Error| StateError::Unreadable(e.to_string());
        let v: Version = serde_json::from_slice(bytes).map_err(unreadable)?;
        if v.version != VERSION {
            return Err(StateError::Version(v.version));
        }
        let state: State<Saved> = serde_json::from_slice(bytes).map_err(unreadable)?;
        self.clock = state.clock;
        let mut saved: BTreeMap<(String, String), Saved> =
            state.windows.into_iter().map(|(name, hash, w)| ((name, hash), w)).collect();
        for (counting, c) in self.counting.iter_mut().zip(&self.rules.correlations) {
            counting.windows = Windows::new(shape(c), self.settings.groups_max);
            match saved.remove(&(c.head.name.clone(), c.head.hash.clone())) {
                Some(w) => counting.windows.restore(w),
                None if self.clock.watermark().is_none() => {}
                None => {
                    let to = self.clock.watermark();
                    let from = to.plus(-c.timespan_micros);
                    self.requests.insert(NeedRange { rule: c.head.name.clone(), key: Vec::new(), from, to });
                }
            }
        }
        Ok(())
    }

    #[must_use]
    pub fn health(&self) -> Health {
        let mut counts = Counts::default();
        for c in self.programs.values().flatten() {
            let n = c.runner.counts;
            counts.events += n.events;
            counts.malformed_json += n.malformed_json;
            counts.duplicate_keys += n.duplicate_keys;
            counts.not_utf8 += n.not_utf8;
        }
        let per = |f: &dyn Fn(&Counting) -> u64| {
            let all = self.counting.iter().zip(&self.rules.correlations);
            all.map(|(w, c)| (c.head.name.clone(), f(w))).filter(|(_, n)| *n > 0).collect()
        };
        let named = self.rules.rules.iter().zip(&self.hits).filter(|(_, n)| **n > 0);
        let unrouted = self.rules.rules.iter().zip(&self.targets).filter(|(_, t)| t.datasets.is_empty());
        Health {
            events: counts.events,
            malformed_json: counts.malformed_json,
            duplicate_keys: counts.duplicate_keys,
            not_utf8: counts.not_utf8,
            no_time: self.no_time,
            hits: named.map(|(r, n)| (r.head.name.clone(), *n)).collect(),
            group_field_missing: per(&|w| w.n_missing),
            evicted: per(&|w| w.windows.n_evicted),
            late: per(&|w| w.windows.n_late),
            overflow: per(&|w| w.windows.n_overflow),
            unrouted: unrouted.map(|(r, _)| r.head.name.clone()).collect(),
            blind: self.blind.clone(),
            watermark: self.clock.watermark().known(),
        }
    }
}

fn shape(c: &Correlation) -> Shape {
    Shape {
        span: c.timespan_micros,
        at_least: c.at_least,
        is_distinct: matches!(c.counted, Counted::Values(_)),
    }
}

#[must_use]
pub fn is_cloudtrail(dataset: &str) -> bool {
    dataset == "aws.cloudtrail"
}

/// Several trails deliver one CloudTrail record several times; its `eventID` within the receiving account is one event. Everywhere
/// else the vault's id of the row is the event: a key that a sender may choose must not hide his other events.
fn event_key(batch: &Batch, row: usize, account: Option<&str>, is_cloudtrail: bool) -> EventId {
    let natural = batch.natural_key(row);
    match batch.rows.get(row) {
        Some(_) if is_cloudtrail && !natural.is_empty() => {
            EventId::of(&[b"cloudtrail", natural, account.unwrap_or_default().as_bytes()])
        }
        Some(r) if !r.id.is_none() => r.id,
        Some(r) => {
            EventId::of(&[b"row", &r.seq.to_le_bytes(), &r.event_time.0.to_le_bytes(), batch.raw(row)])
        }
        None => EventId::NONE,
    }
}

fn correlated(c: &Correlation, r: Report) -> Occurrence {
    let mut values = r.key;
    let drill = values.pop().filter(|v| !v.is_empty());
    let key: Vec<(String, String)> = c.group_by.iter().map(|p| p.as_str().to_owned()).zip(values).collect();
    // No account or region goes into the identity unless the rule groups by it: the first events of an attack over several
    // accounts must not decide its name (F2).
    let id = Occurrence::identity(identity_name(&c.head), None, None, None, &key);
    let common = |f: fn(&Entry) -> &Option<String>| {
        let first = r.episode.entries.first().and_then(|e| f(e).clone());
        first.filter(|v| r.episode.entries.iter().all(|e| f(e).as_deref() == Some(v)))
    };
    let resource = c
        .head
        .own
        .resource
        .iter()
        .find_map(|p| key.iter().find(|(k, _)| k == p.as_str()).map(|(_, v)| v.clone()));
    Occurrence {
        id,
        account: common(|e| &e.account),
        region: common(|e| &e.region),
        resource,
        key,
        time: r.episode.last,
        evidence: r.episode.entries.iter().map(|e| e.evidence.clone()).collect(),
        evidence_total: r.episode.total,
        is_settled: r.is_settled,
        drill,
        ..blank(&c.head)
    }
}

/// O1: event time, event id, rule; then provisional before settled.
fn in_order(mut out: Vec<Occurrence>) -> Vec<Occurrence> {
    out.sort_by(|a, b| {
        let key = |o: &Occurrence| (o.time, o.evidence.first().map(|e| e.event_id));
        key(a)
            .cmp(&key(b))
            .then_with(|| a.rule.name.cmp(&b.rule.name))
            .then_with(|| a.id.cmp(&b.id))
            .then_with(|| a.is_settled.cmp(&b.is_settled))
    });
    out
}
