//! The engine: batches in, occurrences out. Holds one program per dataset and the windows of every correlation.

use crate::compile::kept::Reader;
pub use crate::compile::run::Hit;
use crate::compile::run::{Counts, Runner};
use crate::compile::{CompileError, Program, Routed};
use crate::occurrence::{Maker, Plan, about, evidence, identity_name, shown};
use crate::outbox::Outbox;
use crate::route::{Route, Target, target};
use crate::sigma::Rules;
use crate::sigma::correlation::{Correlation, Counted};
use crate::sigma::rule::{Head, Path};
use crate::time::{Clock, effective, lateness};
use crate::window::{Entry, NeedRange, Report, Saved, Shape, Windows};
use model::{About, Batch, Columns, EventId, Occurrence, Subject, Time};
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

/// Makes the columns of a batch for whose names it is told yes.
pub type Derive<'a> = dyn Fn(&Batch, &dyn Fn(&str) -> bool) -> Columns + 'a;

impl Default for Settings {
    fn default() -> Settings {
        Settings { routing: true, routes: Vec::new(), lateness: BTreeMap::new(), groups_max: 1_000_000 }
    }
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
    /// For datasets that are not CloudTrail, and for CloudTrail; without routing one program serves both.
    plans: [Plans; 2],
}

/// What to read from the events of each rule.
#[derive(Default)]
struct Plans {
    /// By rule, where it alerts on its own.
    alerts: Vec<Option<Plan>>,
    /// By correlation and base rule.
    feeds: BTreeMap<(usize, u32), Plan>,
}

/// One correlation at work.
struct Counting {
    windows: Windows,
    about: Arc<About>,
    rank: u32,
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
    /// Rule → place of its name among all names.
    ranks: Vec<u32>,
    counting: Vec<Counting>,
    clock: Clock,
    maker: Maker,
    outbox: Outbox,
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
        let rule_names = rules.rules.iter().map(|r| r.head.name.as_str());
        let names: BTreeSet<&str> =
            rule_names.clone().chain(rules.correlations.iter().map(|c| c.head.name.as_str())).collect();
        let names: BTreeMap<&str, u32> = names.into_iter().zip(0..).collect();
        let rank = |name: &str| names.get(name).copied().unwrap_or(u32::MAX);
        let ranks: Vec<u32> = rule_names.map(rank).collect();
        let counting = rules.correlations.iter().map(|c| Counting {
            windows: Windows::new(shape(c), settings.groups_max),
            about: Arc::new(about(&c.head)),
            rank: rank(&c.head.name),
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
            ranks,
            clock: Clock::new(),
            maker: Maker::default(),
            outbox: Outbox::default(),
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
        let indices: Vec<u32> = routed.iter().map(|r| r.index).collect();
        let own = [is_cloudtrail(dataset)];
        let kinds: &[bool] = if routing { &own } else { &[false, true] };
        let mut wanted = Vec::new();
        for is_cloudtrail in kinds {
            self.each_plan(&indices, |head, _, extra, _| wanted.extend(shown(head, extra, *is_cloudtrail)));
        }
        wanted.sort();
        wanted.dedup();
        let program = Program::new(&routed, &wanted, !routing || is_cloudtrail(dataset))?;
        let mut plans = [Plans::default(), Plans::default()];
        for is_cloudtrail in kinds {
            let Some(plans) = plans.get_mut(usize::from(*is_cloudtrail)) else { continue };
            plans.alerts.resize_with(self.rules.rules.len(), || None);
            let mut tag = 0;
            self.each_plan(&indices, |head, decisive, extra, whose| {
                let plan = Plan::new(head, decisive, extra, *is_cloudtrail, |p| program.field(p)).tagged(tag);
                tag += 1;
                match whose {
                    (None, rule) => {
                        if let Some(slot) = plans.alerts.get_mut(rule as usize) {
                            *slot = Some(plan);
                        }
                    }
                    (Some(correlation), rule) => {
                        plans.feeds.insert((correlation, rule), plan);
                    }
                }
            });
        }
        let runner = Runner::new(&program);
        Ok(Some(Compiled { program, runner, plans }))
    }

    /// Calls `f` with everything that is made of the hits of `rules`: whose words, decisive fields, extra fields, and for which
    /// correlation and rule.
    fn each_plan(&self, rules: &[u32], mut f: impl FnMut(&Head, &[&Path], &[&Path], (Option<usize>, u32))) {
        for index in rules {
            let at = *index as usize;
            let Some(rule) = self.rules.rules.get(at) else { continue };
            if self.alerts.get(at) == Some(&true) {
                f(&rule.head, &rule.fields(), &[], (None, *index));
            }
            for c in self.feeds.get(at).map_or(&[][..], Vec::as_slice) {
                let Some(correlation) = self.rules.correlations.get(*c) else { continue };
                let reference = correlation.rules.iter().position(|r| *r == at);
                let reference =
                    reference.and_then(|i| correlation.references.get(i)).map_or("", String::as_str);
                let mut extra: Vec<&Path> =
                    correlation.group_by.iter().map(|p| correlation.field_in(p, reference)).collect();
                if let Counted::Values(p) = &correlation.counted {
                    extra.push(correlation.field_in(p, reference));
                }
                f(&correlation.head, &rule.fields(), &extra, (Some(*c), *index));
            }
        }
    }

    /// The program of the batch's dataset, taken out so that it can work beside the rest of the engine.
    fn program(&mut self, batch: &Batch) -> Option<(Arc<str>, Compiled)> {
        let dataset: Arc<str> = if self.settings.routing { batch.dataset_of(0).into() } else { "".into() };
        if !self.programs.contains_key(&dataset) {
            let compiled = self.compile(&dataset).unwrap_or_else(|e| {
                self.blind.insert(dataset.to_string(), e.to_string());
                None
            });
            self.programs.insert(Arc::clone(&dataset), compiled);
        }
        let compiled = self.programs.get_mut(&dataset)?.take()?;
        Some((dataset, compiled))
    }

    /// Every (row, rule) that holds, sorted. `batch` holds one dataset.
    pub fn hits(&mut self, batch: &Batch, columns: Option<&Columns>) -> Vec<Hit> {
        let mut out = Vec::new();
        if let Some((dataset, mut c)) = self.program(batch) {
            c.runner.batch(&c.program, batch, columns, |hits, _| out.extend_from_slice(hits));
            self.programs.insert(dataset, Some(c));
        }
        out
    }

    /// Judges a batch of one dataset. Occurrences are in the order (event time, event id, rule).
    pub fn events(&mut self, batch: &Batch, columns: Option<&Columns>) -> Vec<Occurrence> {
        let mut out = std::mem::take(&mut self.outbox);
        self.tell(batch, columns, &mut out);
        self.end_batch(batch, out)
    }

    /// [`Engine::events`] for a dataset of text, whose columns are made as far as they are needed: those that a rule asks about for
    /// every row, all of them for the rows that a rule holds for, which are few.
    pub fn judge(&mut self, batch: &Batch, derive: &Derive<'_>) -> Vec<Occurrence> {
        let mut rows = Vec::new();
        let mut out = std::mem::take(&mut self.outbox);
        if let Some((dataset, mut c)) = self.program(batch) {
            let columns = derive(batch, &|name| c.program.asks(name));
            let hit = |hits: &[Hit], _: &mut Reader<'_>| rows.extend(hits.iter().map(|h| h.row));
            c.runner.batch(&c.program, batch, Some(&columns), hit);
            rows.dedup();
            let counts = c.runner.counts;
            self.programs.insert(Arc::clone(&dataset), Some(c));
            if !rows.is_empty() {
                let few = batch.with_rows(rows.iter().filter_map(|r| batch.rows.get(*r).copied()).collect());
                self.tell(&few, Some(&derive(&few, &|_| true)), &mut out);
                // They are counted already.
                if let Some(Some(c)) = self.programs.get_mut(&dataset) {
                    c.runner.counts = counts;
                }
            }
        }
        self.end_batch(batch, out)
    }

    /// Makes of the rows for which a rule holds what there is to say about them.
    fn tell(&mut self, batch: &Batch, columns: Option<&Columns>, out: &mut Outbox) {
        out.occurrences.reserve(out.expected.min(batch.len()));
        let Some((dataset, mut c)) = self.program(batch) else { return };
        if let Some(plans) = c.plans.get_mut(usize::from(is_cloudtrail(batch.dataset_of(0)))) {
            c.runner.batch(&c.program, batch, columns, |hits, reader| {
                hits.iter().for_each(|hit| self.hit(*hit, plans, batch, reader, out));
                out.finish(&self.maker.facts.block());
            });
        }
        self.programs.insert(dataset, Some(c));
    }

    fn end_batch(&mut self, batch: &Batch, mut out: Outbox) -> Vec<Occurrence> {
        self.observe(batch);
        self.settle(&mut out);
        let found = out.in_order();
        self.outbox = out;
        found
    }

    fn hit(&mut self, hit: Hit, plans: &mut Plans, batch: &Batch, reader: &mut Reader<'_>, out: &mut Outbox) {
        let Hit { row, rule } = hit;
        let index = rule as usize;
        if let Some(n) = self.hits.get_mut(index) {
            *n += 1;
        }
        if let Some(Some(plan)) = plans.alerts.get_mut(index) {
            let rank = self.ranks.get(index).copied().unwrap_or(u32::MAX);
            let (occurrence, draft) = plan.occurrence(batch, row, reader, &mut self.maker);
            out.drafts.push((out.occurrences.len(), draft));
            out.add(rank, occurrence);
        }
        let n_feeds = self.feeds.get(index).map_or(0, Vec::len);
        for i in 0..n_feeds {
            let Some(c) = self.feeds.get(index).and_then(|f| f.get(i)).copied() else { continue };
            if let Some(plan) = plans.feeds.get_mut(&(c, rule)) {
                self.feed(c, plan, batch, row, reader, out);
            }
        }
    }

    /// Gives the event in `row` to correlation `c`.
    fn feed(
        &mut self,
        c: usize,
        plan: &mut Plan,
        batch: &Batch,
        row: usize,
        reader: &mut Reader<'_>,
        out: &mut Outbox,
    ) {
        let (Some(correlation), Some(counting)) = (self.rules.correlations.get(c), self.counting.get_mut(c))
        else {
            return;
        };
        let Some(time) = batch.rows.get(row).and_then(effective) else {
            self.no_time += 1;
            return;
        };
        let names = plan.facts(row, reader, &mut self.maker);
        let Some(mut wanted) = plan.wanted(&mut self.maker) else {
            counting.n_missing += 1;
            return;
        };
        let value = if matches!(correlation.counted, Counted::Values(_)) {
            wanted.pop().unwrap_or_default()
        } else {
            String::new()
        };
        // A drill must not push a real attacker over the threshold, nor hide in his finding.
        let provenance = batch.provenance_of(row);
        wanted.push(provenance.canary.as_deref().unwrap_or_default().to_owned());
        let (account, region) = plan.place(&mut self.maker, provenance);
        // Entries stay for as long as their window: each has a block of its own.
        let facts = self.maker.facts.alone(&names);
        let evidence = evidence(facts, batch, row);
        let id = event_key(batch, row, account.as_deref(), is_cloudtrail(batch.dataset_of(row)));
        let entry = Entry { time, id, value, evidence, account, region };
        let mut reports = Vec::new();
        let late = counting.windows.add(&wanted, entry, self.clock.watermark(), &mut reports);
        reports.into_iter().for_each(|r| out.add(counting.rank, correlated(correlation, &counting.about, r)));
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

    fn settle(&mut self, out: &mut Outbox) {
        let watermark = self.clock.advance();
        for (counting, correlation) in self.counting.iter_mut().zip(&self.rules.correlations) {
            let mut reports = Vec::new();
            counting.windows.settle(watermark, &mut reports);
            reports
                .into_iter()
                .for_each(|r| out.add(counting.rank, correlated(correlation, &counting.about, r)));
        }
    }

    /// Time passes on our own clock, so that a quiet stream settles.
    pub fn tick(&mut self, now: Time) -> Vec<Occurrence> {
        self.clock.tick(now);
        let mut out = Outbox::default();
        self.settle(&mut out);
        out.in_order()
    }

    /// No more events: everything settles. A backtest ends with it.
    pub fn end(&mut self) -> Vec<Occurrence> {
        self.clock.end();
        let mut out = Outbox::default();
        self.settle(&mut out);
        out.in_order()
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

fn correlated(c: &Correlation, about: &Arc<About>, r: Report) -> Occurrence {
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
    let subject = Subject { account: common(|e| &e.account), region: common(|e| &e.region), resource, key };
    Occurrence {
        id,
        about: Arc::clone(about),
        subject: Arc::new(subject),
        time: r.episode.last,
        evidence: r.episode.entries.iter().map(|e| e.evidence.clone()).collect(),
        evidence_total: r.episode.total,
        is_settled: r.is_settled,
        drill,
    }
}
