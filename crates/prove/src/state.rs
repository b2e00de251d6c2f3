//! The heart of the register: `state(..)` reads three columns and one headline off what was seen. Pure; time is a value.
//!
//! The order of [`headline`] is the order of `needs.md` 4.2, first match wins. Where that text leaves a choice, this file takes the
//! one that says less:
//!
//! - A live proof outweighs a probe that cannot look just now (rule 2 asks for "no unexpired proof"), and the columns still show
//!   the gap. It does not outweigh a probe that says no.
//! - A conclusive run of an older version of the control makes it stale, whether that run passed or failed: rewording a claim
//!   must not wash a failure away.
//! - While a claim is declared `planned`, nothing in force is expected of it, so a missing effect is no failure until the date.
//! - A drill that this build cannot run was never run: the third column says `never`, and a control that is in force stays below
//!   proven with the missing drill named. What the probes read is not lost over it.

use crate::expr::Expr;
use crate::load::Entry;
use crate::look::{Seen, observation};
use crate::read::is_person_or_text;
use crate::record::{MATURING, missing_of};
use model::{
    Attestation, Configured, ControlKind, ControlState, DrillPlan, Effective, Instance, LastProven,
    Observation, Probe, Proof, ProofOutcome, Time,
};
use std::collections::BTreeSet;

/// Drills that this build can run.
pub const DRILLS_BUILT: [&str; 2] = ["canary", "tamper"];

/// Failures stay visible beside "proven" for this long.
pub const FAILURES_SHOWN: i64 = 30 * Time::DAY;

/// What the derivation needs beside the observations.
#[derive(Clone, Debug)]
pub struct Context {
    pub now: Time,
    pub drills: BTreeSet<String>,
    /// People who have left; an owner among them fails the control.
    pub departed: BTreeSet<String>,
}

impl Context {
    #[must_use]
    pub fn at(now: Time) -> Context {
        Context { now, drills: DRILLS_BUILT.map(str::to_owned).into(), departed: BTreeSet::new() }
    }
    /// Whether this build can run `drill`. The tamper drill copies the vault and nothing else.
    #[must_use]
    pub fn runs(&self, drill: &DrillPlan) -> bool {
        let copies = drill.parameters.get("copy").is_none_or(|c| c == "vault");
        self.drills.contains(&drill.kind) && (drill.kind != "tamper" || copies)
    }
}

/// Why `effective` is the ceiling.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ceiling {
    /// A signature is not a proof.
    Attested,
    /// Zero subjects.
    Vacuous,
}

/// How one instance stands.
#[derive(Clone, PartialEq, Debug, serde::Serialize)]
pub struct Standing {
    pub instance: Instance,
    pub configured: Configured,
    pub effective: Effective,
    pub last_proven: LastProven,
    pub state: ControlState,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<Ceiling>,
    /// What decided, in exact terms: what is missing, what does not hold, why it is stale.
    pub reason: String,
    /// The newest run, when it was inconclusive: it neither renews nor revokes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_attempt: Option<String>,
    /// Failed runs of the last 30 days, newest first: (time, step).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recent_failures: Vec<(Time, String)>,
    /// Owner and end of the exception that covers this instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excepted: Option<String>,
}

/// The three columns and the headline of one instance.
#[must_use]
pub fn state(
    entry: &Entry,
    seen: &Seen,
    proofs: &[&Proof],
    attestations: &[&Attestation],
    ctx: &Context,
) -> Standing {
    let control = &entry.control;
    let attested = control.kind == ControlKind::Attested;
    let signature = newest_attestation(entry, attestations, ctx.now);
    let history = History::of(entry, seen, proofs, ctx);
    let (configured, effective) = if attested {
        attested_columns(entry, seen, signature, ctx.now)
    } else {
        (configured(&control.configured, &seen.configured), effective(&seen.effective))
    };
    let last_proven = match signature {
        Some(a) if attested => LastProven::Attested { at: a.at, by: a.by.clone(), until: a.until },
        _ => history.column.clone(),
    };
    let v = View { entry, configured, effective, history, signature, ctx };
    let (state, ceiling, reason) = headline(&v);
    let View { configured, effective, history, .. } = v;
    Standing {
        instance: seen.instance.clone(),
        configured,
        effective,
        last_proven,
        state,
        ceiling,
        reason,
        last_attempt: history.last_attempt,
        recent_failures: history.recent_failures,
        excepted: None,
    }
}

struct View<'a> {
    entry: &'a Entry,
    configured: Configured,
    effective: Effective,
    history: History,
    signature: Option<&'a Attestation>,
    ctx: &'a Context,
}

impl View<'_> {
    /// The claim is not yet in force.
    fn is_ahead(&self) -> bool {
        self.entry.control.planned.as_ref().is_some_and(|p| self.ctx.now <= p.until)
    }
    /// What was planned stands: set up, and nothing says that it has no effect.
    fn is_done(&self) -> bool {
        matches!(self.configured, Configured::Yes { .. }) && !matches!(self.effective, Effective::No { .. })
    }
    fn signature_lives(&self) -> bool {
        self.signature.is_some_and(|a| self.ctx.now < a.until)
    }
    fn is_attested(&self) -> bool {
        self.entry.control.kind == ControlKind::Attested
    }
}

type Headline = (ControlState, Option<Ceiling>, String);

fn headline(v: &View<'_>) -> Headline {
    let plain = |s, reason: String| (s, None, reason);
    if let Some(reason) = failed(v) {
        return plain(ControlState::Failed, reason);
    }
    if let Some(missing) = unknown(v) {
        return plain(ControlState::Unknown, missing);
    }
    if let Some(reason) = stale(v) {
        return plain(ControlState::Stale, reason);
    }
    if let Some(p) = v.entry.control.planned.as_ref()
        && v.is_ahead()
        && !v.is_done()
    {
        return plain(ControlState::Planned, format!("planned until {} ({})", p.until.day(), p.ticket));
    }
    match &v.effective {
        Effective::NotRead { reason } => return plain(ControlState::Configured, reason.clone()),
        Effective::Vacuous => {
            let reason = "there is nothing it applies to".to_owned();
            return (ControlState::Effective, Some(Ceiling::Vacuous), reason);
        }
        _ => {}
    }
    if v.is_attested() {
        let by = v.signature.map_or("", |a| &a.by);
        return (ControlState::Effective, Some(Ceiling::Attested), format!("confirmed by {by}"));
    }
    // C1: this is the only place that says proven, and it needs a live passing run of this version over this path.
    match &v.history.proof {
        Life::Live { figure, .. } => plain(ControlState::Proven, figure.clone()),
        _ => plain(ControlState::Effective, never_reason(v)),
    }
}

fn never_reason(v: &View<'_>) -> String {
    match (&v.history.column, &v.entry.control.no_drill_because) {
        (LastProven::Maturing { until }, _) => format!("the first proof matures on {}", until.day()),
        (_, Some(why)) => format!("in force, not exercised: {why}"),
        _ => match not_built(v.entry, v.ctx) {
            Some(drill) => format!("in force, never exercised: this build has no {drill}"),
            None => "in force, never exercised".to_owned(),
        },
    }
}

/// The control's drill where this build cannot run it: `` `retain` drill ``.
fn not_built(entry: &Entry, ctx: &Context) -> Option<String> {
    let d = entry.control.drill.as_ref().filter(|d| d.kind != "attest" && !ctx.runs(d))?;
    let copy = d.parameters.get("copy").and_then(|v| v.as_str());
    Some(format!("`{}` drill{}", d.kind, copy.map_or_else(String::new, |c| format!(" of {c}"))))
}

/// Rule 1.
fn failed(v: &View<'_>) -> Option<String> {
    if let Life::Failed { step } = &v.history.proof {
        return Some(format!("the last run failed at `{step}`"));
    }
    if let Configured::Contended { values } = &v.configured {
        let who: Vec<String> = values.iter().map(|(value, who)| format!("{who} says {value}")).collect();
        return Some(format!("contended: {}", who.join("; ")));
    }
    // A planned claim that became real before its date is no longer a plan; one that did not is late.
    let c = &v.entry.control;
    if let Some(p) = c.planned.as_ref().filter(|_| !v.is_ahead() && !v.is_done()) {
        return Some(format!("planned until {}, and that has passed ({})", p.until.day(), p.ticket));
    }
    if !v.is_ahead() {
        if let Configured::No { value } = &v.configured {
            return Some(format!("not set up: {value}"));
        }
        if let Effective::No { value } = &v.effective {
            return Some(format!("not in force: {value}"));
        }
    }
    owner_problem(v)
}

fn owner_problem(v: &View<'_>) -> Option<String> {
    let o = &v.entry.control.owner;
    for (what, who) in [("owner", &o.person), ("owning team", &o.team)] {
        if !is_person_or_text(who) {
            return Some(format!("it has no {what}"));
        }
        if v.ctx.departed.contains(who) {
            return Some(format!("its {what} {who} has left"));
        }
    }
    None
}

/// Rule 2. Attested controls live by their signature: their probes read evidence that may contradict it, and a reader that is
/// missing contradicts nothing.
fn unknown(v: &View<'_>) -> Option<String> {
    if v.is_attested() {
        let is_planned = v.entry.control.planned.is_some() && v.is_ahead();
        return (v.signature.is_none() && !is_planned).then(|| no_signature(v.entry));
    }
    if matches!(v.history.proof, Life::Live { .. }) {
        return None;
    }
    if let Configured::Unknown { missing } = &v.configured {
        return Some(missing.clone());
    }
    let is_required = !(v.is_ahead() && matches!(v.configured, Configured::No { .. }));
    if is_required {
        if let Effective::Unknown { missing } = &v.effective {
            return Some(missing.clone());
        }
        if let LastProven::Unknown { missing } = &v.history.column
            && !matches!(v.history.proof, Life::Changed { .. })
        {
            return Some(missing.clone());
        }
    }
    None
}

fn no_signature(entry: &Entry) -> String {
    format!(
        "attestation: by {}, never given (avouch controls attest {})",
        entry.control.attested_by.join(" or "),
        entry.control.id
    )
}

/// Rule 3.
fn stale(v: &View<'_>) -> Option<String> {
    if v.is_attested() {
        let a = v.signature.filter(|_| !v.signature_lives())?;
        return Some(format!("the confirmation by {} expired {}", a.by, a.until.day()));
    }
    match &v.history.proof {
        Life::Expired { at } => Some(format!("the proof expired {}", at.day())),
        Life::Changed { reason } => Some(reason.clone()),
        _ => None,
    }
}

/// What the runs so far amount to.
enum Life {
    None,
    Live {
        figure: String,
    },
    Expired {
        at: Time,
    },
    /// The control or its path changed since.
    Changed {
        reason: String,
    },
    Failed {
        step: String,
    },
}

struct History {
    proof: Life,
    column: LastProven,
    last_attempt: Option<String>,
    recent_failures: Vec<(Time, String)>,
}

impl History {
    fn of(entry: &Entry, seen: &Seen, proofs: &[&Proof], ctx: &Context) -> History {
        let mut runs: Vec<&Proof> = proofs
            .iter()
            .copied()
            .filter(|p| p.control == entry.control.id && p.instance == seen.instance && p.finished <= ctx.now)
            .collect();
        runs.sort_by(|a, b| (a.finished, &a.run).cmp(&(b.finished, &b.run)));
        let recent_failures = runs
            .iter()
            .rev()
            .filter(|p| p.outcome == ProofOutcome::Failed && ctx.now.since(p.finished) <= FAILURES_SHOWN)
            .map(|p| (p.finished, failed_step(p)))
            .collect();
        let newest = runs.last().copied();
        let inconclusive = newest.filter(|p| p.outcome == ProofOutcome::Inconclusive);
        let last_attempt = inconclusive.map(|p| format!("{} inconclusive: {}", p.finished, missing_of(p)));
        let conclusive = runs.iter().rev().copied().find(|p| p.outcome != ProofOutcome::Inconclusive);
        let (proof, column) = match conclusive {
            Some(p) => conclusive_run(entry, seen, p, inconclusive, ctx.now),
            None => (Life::None, no_conclusive_run(inconclusive, ctx)),
        };
        History { proof, column, last_attempt, recent_failures }
    }
}

fn conclusive_run(
    entry: &Entry,
    seen: &Seen,
    p: &Proof,
    after: Option<&Proof>,
    now: Time,
) -> (Life, LastProven) {
    let on = LastProven::On { at: p.finished, figure: p.figure.clone(), run: p.run.clone() };
    let failed = LastProven::Failed { at: p.finished, step: failed_step(p), run: p.run.clone() };
    let is_this_version = p.control_hash == entry.hash;
    if p.outcome == ProofOutcome::Failed {
        return if is_this_version {
            (Life::Failed { step: failed_step(p) }, failed)
        } else {
            let reason = format!("the control changed since its run of {} failed", p.finished.day());
            (Life::Changed { reason }, failed)
        };
    }
    if !is_this_version {
        return (
            Life::Changed { reason: format!("the control changed since its proof of {}", p.finished.day()) },
            on,
        );
    }
    if p.path_fingerprint != seen.path {
        let reason = format!("the path it was proven over changed since {}", p.finished.day());
        return (Life::Changed { reason }, on);
    }
    if now < p.valid_until {
        return (Life::Live { figure: p.figure.clone() }, on);
    }
    match after {
        // An inconclusive run neither renews nor revokes; at expiry the honest word is unknown, not stale.
        Some(attempt) => (Life::None, LastProven::Unknown { missing: missing_of(attempt) }),
        None => (Life::Expired { at: p.valid_until }, LastProven::Expired { at: p.valid_until }),
    }
}

fn no_conclusive_run(inconclusive: Option<&Proof>, ctx: &Context) -> LastProven {
    if let Some(p) = inconclusive {
        let matures = p.steps.iter().rev().find_map(|s| s.evidence.get(MATURING));
        return match matures.and_then(|t| Time::parse_rfc3339(t.as_bytes())) {
            Some(until) if ctx.now < until => LastProven::Maturing { until },
            _ => LastProven::Unknown { missing: missing_of(p) },
        };
    }
    LastProven::Never
}

fn failed_step(p: &Proof) -> String {
    p.steps
        .iter()
        .find(|s| s.passed == Some(false))
        .map_or_else(|| "unnamed step".to_owned(), |s| s.name.clone())
}

/// The signature that counts: the newest that was given before `now`.
fn newest_attestation<'a>(entry: &Entry, all: &[&'a Attestation], now: Time) -> Option<&'a Attestation> {
    all.iter()
        .copied()
        .filter(|a| a.control == entry.control.id && a.at <= now)
        .max_by(|a, b| (a.at, a.until, &a.by).cmp(&(b.at, b.until, &b.by)))
}

fn attested_columns(
    entry: &Entry,
    seen: &Seen,
    signature: Option<&Attestation>,
    now: Time,
) -> (Configured, Effective) {
    // N-42: evidence that was parsed may contradict the statement.
    if let Some(no) = seen.configured.iter().chain(&seen.effective).find(|o| o.holds == Some(false)) {
        return (
            Configured::No { value: format!("the evidence contradicts it: {}", no.value) },
            Effective::No { value: no.value.clone() },
        );
    }
    match signature {
        Some(a) => {
            let value = if now < a.until { "confirmed" } else { "confirmation expired" };
            (
                Configured::Yes { source: "attestation".into() },
                Effective::Yes { at: a.at, value: value.into() },
            )
        }
        None if entry.control.planned.is_some() => (
            Configured::No { value: "nothing was attested".into() },
            Effective::NotRead { reason: "nothing was attested".into() },
        ),
        None => (
            Configured::Unknown { missing: no_signature(entry) },
            Effective::NotRead { reason: "nothing was attested".into() },
        ),
    }
}

/// `probes` and `seen` stand in the same order; a probe that saw several writers adds its further answers at the end.
fn configured(probes: &[Probe], seen: &[Observation]) -> Configured {
    let with_holds = |want: bool| -> Vec<(Option<&Probe>, &Observation)> {
        seen.iter()
            .enumerate()
            .filter(|(_, o)| o.holds == Some(want))
            .map(|(i, o)| (probes.get(i), o))
            .collect()
    };
    let (no, yes) = (with_holds(false), with_holds(true));
    if let Some((_, first)) = no.first() {
        // Two places decide and do not say the same: the next writer wins, so neither is the truth.
        let other =
            yes.iter().find(|y| no.iter().any(|n| n.1.source != y.1.source && is_one_setting(n.0, y.0)));
        let Some((_, other)) = other else {
            return Configured::No { value: first.value.clone() };
        };
        let mut values: Vec<(String, String)> = Vec::new();
        for o in no.iter().map(|(_, o)| *o).chain([*other]) {
            let who = o.by.as_ref().map_or_else(|| o.source.clone(), |by| format!("{} ({by})", o.source));
            if !values.contains(&(o.value.clone(), who.clone())) {
                values.push((o.value.clone(), who));
            }
        }
        return Configured::Contended { values };
    }
    if let Some(missing) = seen.iter().find_map(|o| o.missing.clone()) {
        return Configured::Unknown { missing };
    }
    let mut sources: Vec<&str> = yes.iter().map(|(_, o)| o.source.as_str()).collect();
    sources.dedup();
    match sources.is_empty() {
        // A control without a probe of intent: its words in the register are the intent.
        true => Configured::Yes { source: "register".into() },
        false => Configured::Yes { source: sources.join(", ") },
    }
}

/// The number in the document speaks of whatever is read beside it; other probes must ask for the same fact.
fn is_one_setting(a: Option<&Probe>, b: Option<&Probe>) -> bool {
    let (Some(a), Some(b)) = (a, b) else { return true };
    if a.probe == "policy" || b.probe == "policy" {
        return true;
    }
    let (Ok(x), Ok(y)) = (Expr::parse(&a.expect), Expr::parse(&b.expect)) else { return false };
    x.paths().iter().any(|p| y.paths().contains(p))
}

fn effective(seen: &[Observation]) -> Effective {
    if let Some(no) = seen.iter().find(|o| o.holds == Some(false)) {
        return Effective::No { value: no.value.clone() };
    }
    if let Some(missing) = seen.iter().find_map(|o| o.missing.clone()) {
        return Effective::Unknown { missing };
    }
    let not_read = seen.iter().find(|o| o.holds.is_none() && o.value != observation::VACUOUS);
    if let Some(o) = not_read {
        return Effective::NotRead { reason: o.value.clone() };
    }
    if seen.iter().any(|o| o.holds.is_none()) {
        return Effective::Vacuous;
    }
    // The oldest look: the whole is as fresh as its stalest part.
    match seen.iter().map(|o| o.at).min() {
        None => Effective::NotRead { reason: "nothing reads it".into() },
        Some(at) => {
            Effective::Yes { at, value: seen.iter().map(|o| o.value.as_str()).collect::<Vec<_>>().join(", ") }
        }
    }
}

#[cfg(test)]
mod tests;
