//! The register as a whole: every control with its instances, exceptions applied, worst instance first.

use crate::load::{Entry, Register};
use crate::look::{NotConnected, Seen, look};
use crate::state::{Context, Standing, state};
use model::{Attestation, ControlState, Exception, Instance, Proof, ProofOutcome};
use std::collections::BTreeMap;

/// One control as it stands.
#[derive(Clone, PartialEq, Debug)]
pub struct Row<'a> {
    pub entry: &'a Entry,
    /// The worst of its instances that no live exception covers.
    pub state: ControlState,
    pub counts: BTreeMap<ControlState, usize>,
    /// In the order of instances; never empty.
    pub instances: Vec<Standing>,
    /// Index of the instance that decided.
    pub worst: usize,
}

impl Row<'_> {
    /// The instance that decided.
    #[must_use]
    pub fn decided_by(&self) -> Option<&Standing> {
        self.instances.get(self.worst).or_else(|| self.instances.first())
    }
}

/// Evaluates every control. `seen` holds what was looked at, by control id; a control that nobody looked at is answered as if
/// nothing were connected (F1).
#[must_use]
pub fn evaluate<'a>(
    register: &'a Register,
    seen: &BTreeMap<String, Vec<Seen>>,
    proofs: &[Proof],
    attestations: &[Attestation],
    ctx: &Context,
) -> Vec<Row<'a>> {
    let (mut by_proof, mut by_word) =
        (BTreeMap::<&str, Vec<&Proof>>::new(), BTreeMap::<&str, Vec<&Attestation>>::new());
    for p in proofs {
        by_proof.entry(&p.control).or_default().push(p);
    }
    for a in attestations {
        by_word.entry(&a.control).or_default().push(a);
    }
    let none = Vec::new();
    let standings = |entry: &Entry| -> Vec<Standing> {
        let id = entry.control.id.as_str();
        let (p, w) = (by_proof.get(id), by_word.get(id));
        let one = |s: &Seen| state(entry, s, p.unwrap_or(&Vec::new()), w.unwrap_or(&Vec::new()), ctx);
        let found = seen.get(id).unwrap_or(&none);
        if found.is_empty() {
            look(entry, &NotConnected(ctx.now), &|_, _| BTreeMap::new()).iter().map(one).collect()
        } else {
            found.iter().map(one).collect()
        }
    };
    let mut rows: Vec<Row<'a>> = register.entries.iter().map(|e| row(e, standings(e))).collect();
    // A compensating control must itself be alive, judged without its own exceptions: two dead ones cannot excuse each other.
    let alive: BTreeMap<&str, bool> =
        rows.iter().map(|r| (r.entry.control.id.as_str(), r.state >= ControlState::Effective)).collect();
    for r in &mut rows {
        for e in r.entry.control.exceptions.iter().filter(|e| ctx.now < e.until) {
            if !e.compensated_by.iter().all(|c| alive.get(c.as_str()) == Some(&true)) {
                continue;
            }
            for s in r.instances.iter_mut().filter(|s| covers(e, &s.instance)) {
                s.excepted = Some(format!("{} until {}: {}", e.owner, e.until.day(), e.reason));
            }
        }
        settle(r);
    }
    rows
}

fn row(entry: &Entry, instances: Vec<Standing>) -> Row<'_> {
    let mut r = Row { entry, state: ControlState::Unknown, counts: BTreeMap::new(), instances, worst: 0 };
    settle(&mut r);
    r
}

/// Worst instance and counts. When exceptions cover every instance the control still says how it stands.
fn settle(r: &mut Row<'_>) {
    let worst_of = |excepted_too: bool| {
        r.instances
            .iter()
            .enumerate()
            .filter(|(_, s)| excepted_too || s.excepted.is_none())
            .min_by_key(|(i, s)| (s.state, *i))
            .map(|(i, s)| (i, s.state))
    };
    if let Some((i, state)) = worst_of(false).or_else(|| worst_of(true)) {
        r.worst = i;
        r.state = state;
    }
    r.counts.clear();
    for s in &r.instances {
        *r.counts.entry(s.state).or_default() += 1;
    }
}

fn covers(e: &Exception, i: &Instance) -> bool {
    if e.instance == "*" {
        return true;
    }
    match e.instance.split_once('=') {
        Some((k, v)) => i.0.get(k.trim()).is_some_and(|have| have == v.trim()),
        None => i.0.values().any(|have| *have == e.instance),
    }
}

/// Controls whose path changed since their newest proof: their drills are due at once. Sorted.
#[must_use]
pub fn due_by_change(rows: &[Row<'_>]) -> Vec<(String, Instance)> {
    let mut out: Vec<(String, Instance)> = rows
        .iter()
        .flat_map(|r| r.instances.iter().map(move |s| (r, s)))
        .filter(|(_, s)| s.state == ControlState::Stale)
        .map(|(r, s)| (r.entry.control.id.clone(), s.instance.clone()))
        .collect();
    out.sort();
    out
}

/// Runs in a row, newest first, that could not be decided. From three on the host raises a finding: an attempt that never comes to
/// an end is a hole with a date on it.
#[must_use]
pub fn inconclusive_in_a_row(proofs: &[Proof], control: &str, instance: &Instance) -> usize {
    let mut runs: Vec<&Proof> =
        proofs.iter().filter(|p| p.control == control && p.instance == *instance).collect();
    runs.sort_by(|a, b| (b.finished, &b.run).cmp(&(a.finished, &a.run)));
    runs.iter().take_while(|p| p.outcome == ProofOutcome::Inconclusive).count()
}

#[cfg(test)]
mod tests;
