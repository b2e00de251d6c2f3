//! Shaping at intake: dataset, event time, natural key, flags and tags for a batch, and not one byte of raw (E1).
//!
//! Decisions that rest on the envelope alone (which rules can match, the zone, the tags) are made once per sender and dataset;
//! what is left per event is one look at the bytes.

use crate::canary::{self, Mark, OpenRun};
use crate::content::Look;
use crate::dataset::{Examine, Examined, Family, family};
use crate::json::Scratch;
use crate::moment::{Stamp, Zone};
use crate::plan::Plan;
use model::{Batch, Flags, Provenance, Row, Span, Time};
use std::sync::Arc;

/// Event time and received time farther apart than this are a clock that is off (`transport.md` 1.2).
pub const CLOCK_SKEW_MIN: i64 = 15 * Time::MINUTE;

/// A shaped batch and what was noticed on the way.
#[derive(Clone, Debug, Default)]
pub struct Shaped {
    pub batch: Batch,
    /// Canaries and forgeries, in row order.
    pub canaries: Vec<Mark>,
    /// Rows with [`Flags::PARSE_ERROR`].
    pub unparsed: usize,
    /// Rows that no rule matched and whose source declares no dataset: they went to the default.
    pub unrouted: usize,
    /// Rows whose level no table knows, as far as a rule asked for the level (`needs.md` part 5, no. 17).
    pub unmapped_levels: usize,
}

/// Shapes `batch`. Pure: `now` is the received time as the host has it, `runs` are the drills that are open.
#[must_use]
pub fn intake(batch: &Batch, plan: &Plan, now: Time, runs: &[OpenRun]) -> Shaped {
    let mut work = Work {
        batch,
        plan,
        now,
        is_arena_utf8: simdutf8::basic::from_utf8(&batch.arena).is_ok(),
        scratch: Scratch::default(),
        choices: Vec::new(),
        datasets: batch.datasets.iter().map(|d| (Arc::clone(d), family(d))).collect(),
        provenances: batch.provenances.to_vec(),
        tagged: Vec::new(),
    };
    let mut out = Shaped::default();
    // One search of the arena instead of one per event: almost no batch has a canary.
    let has_canary = canary::may_occur(&batch.arena);
    let mut rows = Vec::with_capacity(batch.rows.len());
    for (index, row) in batch.rows.iter().enumerate() {
        let shaped = work.row(row, &mut out);
        if has_canary {
            let raw = batch.bytes(row.raw);
            let source = &batch.provenance_of(index).source;
            canary::judge(index, raw, source, runs, || Look::new(raw).body(), |m| out.canaries.push(m));
        }
        rows.push(shaped);
    }
    out.batch = Batch {
        rows: Arc::new(rows),
        provenances: Arc::new(work.provenances),
        datasets: Arc::new(work.datasets.into_iter().map(|(name, _)| name).collect()),
        ..batch.clone()
    };
    out
}

struct Work<'a> {
    batch: &'a Batch,
    plan: &'a Plan,
    now: Time,
    is_arena_utf8: bool,
    scratch: Scratch,
    /// By provenance and declared dataset; a batch has one or a few, so the list is searched from its end.
    choices: Vec<((u32, u16), Choice<'a>)>,
    datasets: Vec<(Arc<str>, &'static Family)>,
    provenances: Vec<Arc<Provenance>>,
    /// Provenance, declared and chosen dataset to the provenance with tags.
    tagged: Vec<((u32, u16, u16), u32)>,
}

/// What the envelope alone decides.
struct Choice<'a> {
    /// Rules that may match, with the index of their dataset.
    rules: Vec<(usize, u16)>,
    /// Where no rule matches.
    otherwise: u16,
    is_declared: bool,
    zone: Option<&'a Zone>,
}

impl Work<'_> {
    fn row(&mut self, row: &Row, out: &mut Shaped) -> Row {
        let raw = self.batch.bytes(row.raw);
        let look = Look::new(raw);
        let at = self.choice(row);
        let Some((_, choice)) = self.choices.get(at) else { return *row };
        let mut dataset = choice.otherwise;
        let mut is_routed = choice.is_declared;
        for (rule, target) in &choice.rules {
            let Some(rule) = self.plan.rules.get(*rule) else { continue };
            let hit = rule.narrows(&look);
            if rule.asks_for_level() && look.is_unmapped() {
                out.unmapped_levels += 1;
            }
            if hit {
                (dataset, is_routed) = (*target, true);
                break;
            }
        }
        out.unrouted += usize::from(!is_routed);
        let examined = match self.datasets.get(usize::from(dataset)).map(|(_, f)| f.examine()) {
            Some(Examine::View(examine)) => examine(look.view()),
            Some(Examine::Raw(examine)) => examine(raw, &mut self.scratch),
            None => Examined::default(),
        };
        let mut shaped = Row { dataset, ..*row };
        self.time(row, &examined, choice.zone, &mut shaped);
        if let Some(key) = examined.natural_key {
            shaped.natural_key = span_of(key, raw, row.raw);
        }
        if examined.problem.is_some() {
            shaped.flags.set(Flags::PARSE_ERROR);
        }
        if examined.duplicate_keys {
            shaped.flags.set(Flags::DUPLICATE_KEYS);
        }
        if !self.is_utf8(raw) {
            shaped.flags.set(Flags::NOT_UTF8);
        }
        out.unparsed += usize::from(shaped.flags.has(Flags::PARSE_ERROR));
        shaped.provenance = self.provenance(row, dataset);
        shaped
    }

    /// Payload with zone, payload in a configured zone, transport, payload in UTC, received: the first that there is.
    fn time(&self, row: &Row, examined: &Examined<'_>, zone: Option<&Zone>, shaped: &mut Row) {
        let by_transport = row.event_time.known().filter(|_| row.flags.has(Flags::TIME_FROM_ENVELOPE));
        let times = Flags::TIME_FROM_PAYLOAD.with(Flags::TIME_FROM_ENVELOPE).with(Flags::TIME_ASSUMED_ZONE);
        shaped.flags = Flags(shaped.flags.0 & !times.with(Flags::CLOCK_SKEW).0);
        let usable = examined
            .stamp
            .filter(|stamp| matches!(stamp, Stamp::Exact(_)) || zone.is_some() || by_transport.is_none());
        let of_payload = usable.and_then(|s| s.resolve(self.now, zone.unwrap_or(&Zone::UTC)));
        match (of_payload, by_transport) {
            (Some((time, is_assumed)), _) => {
                shaped.event_time = time;
                shaped.flags.set(Flags::TIME_FROM_PAYLOAD);
                if is_assumed {
                    shaped.flags.set(Flags::TIME_ASSUMED_ZONE);
                }
            }
            (None, Some(time)) => {
                shaped.event_time = time;
                shaped.flags.set(Flags::TIME_FROM_ENVELOPE);
            }
            (None, None) => shaped.event_time = self.now,
        }
        if shaped.event_time.since(self.now).unsigned_abs() > CLOCK_SKEW_MIN.unsigned_abs() {
            shaped.flags.set(Flags::CLOCK_SKEW);
        }
    }

    /// The arena is checked once; a row of a good arena can only be bad at its ends.
    fn is_utf8(&self, raw: &[u8]) -> bool {
        if !self.is_arena_utf8 {
            return simdutf8::basic::from_utf8(raw).is_ok();
        }
        let is_inner = |b: u8| b & 0xc0 == 0x80;
        match (raw.first(), raw.last()) {
            (Some(first), Some(last)) if !is_inner(*first) && last.is_ascii() => true,
            (None, _) => true,
            _ => simdutf8::basic::from_utf8(raw).is_ok(),
        }
    }

    fn choice(&mut self, row: &Row) -> usize {
        let key = (row.provenance, row.dataset);
        if let Some(at) = self.choices.iter().rposition(|(k, _)| *k == key) {
            return at;
        }
        let (batch, plan) = (self.batch, self.plan);
        let declared = batch.datasets.get(usize::from(row.dataset)).map_or("", |d| d);
        let nobody = Provenance::default();
        let provenance = batch.provenances.get(row.provenance as usize).map_or(&nobody, |p| p);
        let rules = plan
            .candidates(provenance, declared)
            .into_iter()
            .filter_map(|i| Some((i, self.dataset(&plan.rules.get(i)?.dataset))))
            .collect();
        let is_declared = !matches!(declared, "" | "auto" | crate::dataset::OTHER);
        let otherwise = if is_declared { row.dataset } else { self.dataset(&plan.fallback) };
        let zone = plan.zone(provenance, declared);
        self.choices.push((key, Choice { rules, otherwise, is_declared, zone }));
        self.choices.len() - 1
    }

    fn dataset(&mut self, name: &Arc<str>) -> u16 {
        let at = self.datasets.iter().position(|(d, _)| d == name).unwrap_or_else(|| {
            self.datasets.push((Arc::clone(name), family(name)));
            self.datasets.len() - 1
        });
        u16::try_from(at).unwrap_or(u16::MAX)
    }

    fn provenance(&mut self, row: &Row, dataset: u16) -> u32 {
        let key = (row.provenance, row.dataset, dataset);
        if let Some((_, p)) = self.tagged.iter().rfind(|(k, _)| *k == key) {
            return *p;
        }
        let declared = self.batch.datasets.get(usize::from(row.dataset)).map_or("", |d| d);
        let chosen = self.datasets.get(usize::from(dataset)).map_or("", |(d, _)| d);
        let tagged = self
            .batch
            .provenances
            .get(row.provenance as usize)
            .and_then(|p| self.plan.tagged(p, declared, chosen));
        let index = match tagged {
            None => row.provenance,
            Some(p) => {
                let at = self.provenances.iter().position(|q| **q == p).unwrap_or_else(|| {
                    self.provenances.push(Arc::new(p));
                    self.provenances.len() - 1
                });
                u32::try_from(at).unwrap_or(row.provenance)
            }
        };
        self.tagged.push((key, index));
        index
    }
}

/// The place of `part`, a slice of `raw`, in the arena where `raw` lies at `at`.
fn span_of(part: &[u8], raw: &[u8], at: Span) -> Span {
    let offset = (part.as_ptr() as usize).checked_sub(raw.as_ptr() as usize);
    let place = offset.filter(|o| o.saturating_add(part.len()) <= raw.len()).and_then(|o| {
        let start = at.start.checked_add(u32::try_from(o).ok()?)?;
        Some(Span { start, end: start.checked_add(u32::try_from(part.len()).ok()?)? })
    });
    place.unwrap_or(Span::EMPTY)
}

#[cfg(test)]
mod tests;
