//! Checks a proof from its records alone: no daemon, no database, no network (V4). Signatures and inclusion are the vault's to
//! check; this is the part that only the drill's own grammar can decide.

use crate::load::core_json;
use crate::record::{Record, StepRecord, commitment, outcome, unhex};
use crate::token;
use model::{Control, Proof};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A record as the vault holds it: its bytes and where it stands in the vault's order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Held {
    pub position: u64,
    pub record: String,
}

/// What `avouch proof export` packs, apart from the vault's own proofs of inclusion.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Bundle {
    pub control: Control,
    pub plan: Held,
    pub steps: Vec<Held>,
    pub proof: Held,
}

/// One thing that was checked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Checked {
    pub what: &'static str,
    /// `None`: it could not be checked; `note` says why.
    pub holds: Option<bool>,
    pub note: String,
}

/// Everything that was checked, in a fixed order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Report(pub Vec<Checked>);

impl Report {
    /// No check failed. What could not be checked is listed, not hidden.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.0.iter().all(|c| c.holds != Some(false))
    }
    /// 0, or 4 when evidence does not match what was committed.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if self.holds() { 0 } else { 4 }
    }
}

/// Recomputes everything that the records claim.
#[must_use]
pub fn check_proof(bundle: &Bundle) -> Report {
    let mut out = Vec::new();
    let parsed = (
        Record::from_bytes(bundle.plan.record.as_bytes()),
        Record::from_bytes(bundle.proof.record.as_bytes()),
        bundle.steps.iter().map(|s| Record::from_bytes(s.record.as_bytes())).collect::<Result<Vec<_>, _>>(),
    );
    let (plan, proof, steps) = match parsed {
        (Ok(Record::Plan(plan)), Ok(Record::Proof(proof)), Ok(steps)) => (plan, proof, steps),
        other => {
            let note =
                format!("{:?}", [other.0.err(), other.1.err(), other.2.err()].into_iter().flatten().next());
            out.push(Checked { what: "records", holds: Some(false), note });
            return Report(out);
        }
    };
    let steps: Vec<StepRecord> =
        steps.into_iter().filter_map(|r| if let Record::Step(s) = r { Some(s) } else { None }).collect();
    let mut say = |what, holds: bool, note: String| out.push(Checked { what, holds: Some(holds), note });

    say(
        "records",
        steps.len() == bundle.steps.len(),
        "plan, steps and proof read in their canonical form".into(),
    );
    let hash = model::sha256_hex(&core_json(&bundle.control));
    say(
        "control",
        hash == plan.control_hash
            && hash == proof.control_hash
            && bundle.control.id == plan.control
            && plan.control == proof.control,
        format!("control `{}` hashes to {hash}", bundle.control.id),
    );
    let same = plan.run.to_string() == proof.run
        && plan.instance == proof.instance
        && plan.path_fingerprint == proof.path_fingerprint
        && plan.binary_hash == proof.binary_hash
        && plan.actor == proof.actor
        && plan.at <= proof.started
        && proof.started <= proof.finished;
    say("run", same, "plan and proof name one run, instance, path and binary, in order of time".into());
    say(
        "order",
        in_order(bundle, &proof),
        "plan before every piece of evidence before the proof, by position in the vault".into(),
    );
    say(
        "steps",
        steps_match(&steps, &plan.run, &proof),
        "the steps published are the steps of the proof".into(),
    );
    let recomputed = outcome(&proof.steps);
    say("outcome", recomputed == proof.outcome, format!("the steps amount to {recomputed:?}"));
    planned_steps(&plan.steps, &proof, &mut out);
    opens(&plan.commitment, &plan.payloads, &proof, &mut out);
    Report(out)
}

fn in_order(bundle: &Bundle, proof: &Proof) -> bool {
    let mut last = bundle.plan.position;
    for s in &bundle.steps {
        if s.position <= last {
            return false;
        }
        last = s.position;
    }
    let evidence = proof.steps.iter().filter_map(|s| s.evidence.get("seq")).flat_map(|s| s.split(','));
    let mut seqs = evidence.map(str::parse::<u64>);
    last < bundle.proof.position
        && seqs.all(|s| s.is_ok_and(|s| bundle.plan.position < s && s < bundle.proof.position))
}

fn steps_match(steps: &[StepRecord], run: &crate::token::RunId, proof: &Proof) -> bool {
    steps.len() == proof.steps.len()
        && steps
            .iter()
            .zip(&proof.steps)
            .enumerate()
            .all(|(i, (s, p))| s.run == *run && s.number as usize == i && s.step == *p)
}

/// A run may stop early, but may neither add a step nor leave one out of the middle.
fn planned_steps(planned: &[String], proof: &Proof, out: &mut Vec<Checked>) {
    let done: Vec<&str> = proof.steps.iter().map(|s| s.name.as_str()).collect();
    let is_prefix = done.len() <= planned.len() && done.iter().zip(planned).all(|(d, p)| d == p);
    let is_whole = done.len() == planned.len();
    let passed = proof.outcome == model::ProofOutcome::Passed;
    out.push(Checked {
        what: "plan",
        holds: Some(is_prefix && (is_whole || !passed)),
        note: format!("{} of {} planned steps ran", done.len(), planned.len()),
    });
}

fn opens(committed: &str, payloads: &[String], proof: &Proof, out: &mut Vec<Checked>) {
    let Some(nonce) = unhex(&proof.nonce).and_then(|n| <[u8; 32]>::try_from(n).ok()) else {
        let cut = proof.nonce.is_empty() && proof.outcome == model::ProofOutcome::Inconclusive;
        let note = if cut {
            "the run was cut short and its nonce is lost"
        } else {
            "the nonce is not 32 bytes of hex"
        };
        out.push(Checked {
            what: "commitment",
            holds: if cut { None } else { Some(false) },
            note: note.into(),
        });
        return;
    };
    let fits = commitment(&nonce) == committed && proof.commitment == committed;
    out.push(Checked {
        what: "commitment",
        holds: Some(fits),
        note: "the revealed nonce opens what the plan published".into(),
    });
    if payloads.is_empty() {
        return;
    }
    let mut bad = Vec::new();
    let mut seen: BTreeMap<usize, ()> = BTreeMap::new();
    for step in proof.steps.iter().filter(|s| s.evidence.contains_key("token")) {
        let part = |k: &str| step.evidence.get(k).map_or("", String::as_str);
        let counter = part("counter").parse::<u32>().ok();
        let index = counter.map(|c| c as usize);
        let right = counter.map(|c| token::token(&nonce, run_of(proof), part("source"), c))
            == Some(part("token").to_owned())
            && index.and_then(|i| payloads.get(i)).map(String::as_str)
                == unhex(part("payload")).map(|p| model::sha256_hex(&p)).as_deref()
            && unhex(part("payload")).is_some_and(|p| contains(&p, part("token").as_bytes()));
        if !right || index.is_none_or(|i| seen.insert(i, ()).is_some()) {
            bad.push(step.name.clone());
        }
    }
    let whole = seen.len() == payloads.len() || proof.outcome != model::ProofOutcome::Passed;
    out.push(Checked {
        what: "tokens",
        holds: Some(bad.is_empty() && whole),
        note: if bad.is_empty() {
            format!("{} of {} tokens recompute from the nonce", seen.len(), payloads.len())
        } else {
            format!("wrong at {}", bad.join(", "))
        },
    });
}

fn run_of(proof: &Proof) -> token::RunId {
    proof.run.parse().unwrap_or(token::RunId([0; 8]))
}

pub(crate) fn contains(hay: &[u8], needle: &[u8]) -> bool {
    !needle.is_empty() && hay.windows(needle.len()).any(|w| w == needle)
}
