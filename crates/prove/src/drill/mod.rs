//! Drills: exercising a control end to end. What they share is the order of records: plan → checkpoint → step… → proof.

pub mod canary;
pub mod tamper;

use crate::load::Entry;
use crate::record::{MISSING, Plan, Record, RecordError, StepRecord, commitment, hex, outcome};
use crate::token::RunId;
use async_trait::async_trait;
use model::{Instance, Proof, ProofOutcome, ProofStep, Time};
use std::collections::BTreeMap;

/// Time, chance and the place where records go.
#[async_trait]
pub trait Recorder: Send + Sync {
    fn now(&self) -> Time;
    async fn wait_until(&self, at: Time);
    /// Fills `out` with unpredictable bytes.
    fn random(&self, out: &mut [u8]);
    /// Appends one record to dataset `avouch.proof`; returns its position once it is durable.
    async fn publish(&self, record: &[u8]) -> Result<u64, String>;
    /// Publishes a checkpoint over everything appended so far.
    async fn checkpoint(&self) -> Result<(), String>;
}

/// Why something in the world did not go as asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Trouble {
    /// The thing under test said no or broke: the claim is false.
    #[error("{0}")]
    Refused(String),
    /// We could not look or act; what is missing (F1).
    #[error("{0}")]
    Missing(String),
}

/// Why there is no proof record at all.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DrillError {
    #[error("the {what} record of run {run} could not be written: {cause}")]
    Record { what: &'static str, run: String, cause: String },
    #[error("the run has no checkpoint over its plan: {0}")]
    Checkpoint(String),
    #[error("control `{control}` cannot be exercised: {cause}")]
    Job { control: String, cause: String },
}

impl DrillError {
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            DrillError::Record { .. } => "prove.record",
            DrillError::Checkpoint(_) => "prove.checkpoint",
            DrillError::Job { .. } => "prove.not_possible",
        }
    }
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            DrillError::Record { .. } | DrillError::Checkpoint(_) => {
                "nothing was proven; look at the vault: avouch doctor"
            }
            DrillError::Job { .. } => "avouch controls lint names the line to change",
        })
    }
}

/// Who starts a run, of what, over which path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Start {
    /// `schedule`, `change` or `person`.
    pub trigger: String,
    pub actor: String,
    pub binary_hash: String,
    /// [`crate::look::Seen::path`] of the instance.
    pub path: String,
}

/// A run under way. Every step is published as it happens.
pub(crate) struct Run<'a, W: ?Sized> {
    world: &'a W,
    nonce: [u8; 32],
    plan: Plan,
    steps: Vec<ProofStep>,
    valid_for: i64,
}

/// Nonce and run, drawn before the plan because payloads are made of them.
pub(crate) fn draw<W: Recorder + ?Sized>(world: &W) -> ([u8; 32], RunId) {
    let (mut nonce, mut run) = ([0; 32], [0; 8]);
    world.random(&mut nonce);
    world.random(&mut run);
    (nonce, RunId(run))
}

/// What a drill adds to a plan.
pub(crate) struct Intent {
    pub steps: Vec<String>,
    pub payloads: Vec<String>,
    /// Longest that the run can take.
    pub at_most: i64,
}

impl<'a, W: Recorder + ?Sized> Run<'a, W> {
    /// Publishes the plan and the checkpoint over it. Nothing may be sent before this returns.
    pub async fn start(
        world: &'a W,
        (entry, instance): (&Entry, &Instance),
        start: &Start,
        (nonce, run): ([u8; 32], RunId),
        intent: Intent,
    ) -> Result<Run<'a, W>, DrillError> {
        let at = world.now();
        let plan = Plan {
            run,
            control: entry.control.id.clone(),
            control_hash: entry.hash.clone(),
            instance: instance.clone(),
            drill: entry.drill_kind().to_owned(),
            steps: intent.steps,
            payloads: intent.payloads,
            commitment: commitment(&nonce),
            path_fingerprint: start.path.clone(),
            binary_hash: start.binary_hash.clone(),
            trigger: start.trigger.clone(),
            actor: start.actor.clone(),
            at,
            deadline: at.plus(intent.at_most),
        };
        let out = Run { world, nonce, plan, steps: Vec::new(), valid_for: entry.control.valid_for };
        out.write("plan", &Record::Plan(out.plan.clone())).await?;
        // C1: the commitment lies under a published checkpoint before the first canary leaves.
        world.checkpoint().await.map_err(DrillError::Checkpoint)?;
        Ok(out)
    }

    pub fn id(&self) -> RunId {
        self.plan.run
    }

    async fn write(&self, what: &'static str, record: &Record) -> Result<u64, DrillError> {
        let failed = |cause: String| DrillError::Record { what, run: self.plan.run.to_string(), cause };
        let bytes = record.to_bytes().map_err(|e: RecordError| failed(e.to_string()))?;
        self.world.publish(&bytes).await.map_err(failed)
    }

    /// Records a step. Returns whether the run goes on.
    pub async fn step(&mut self, name: &str, expected: &str, got: Got) -> Result<bool, DrillError> {
        let step = ProofStep {
            name: name.to_owned(),
            expected: expected.to_owned(),
            got: got.text,
            at: self.world.now(),
            passed: got.passed,
            evidence: got.evidence,
        };
        let number = u32::try_from(self.steps.len()).unwrap_or(u32::MAX);
        let record = Record::Step(StepRecord { run: self.plan.run, number, step: step.clone() });
        self.write("step", &record).await?;
        self.steps.push(step);
        Ok(got.passed == Some(true))
    }

    /// Publishes the proof. A run that stopped early is failed or inconclusive by its last step, so it can never pass with steps
    /// left out.
    pub async fn finish(self, figure: String) -> Result<Proof, DrillError> {
        let finished = self.world.now();
        let mut outcome = outcome(&self.steps);
        if outcome == ProofOutcome::Passed && self.steps.len() != self.plan.steps.len() {
            outcome = ProofOutcome::Inconclusive;
        }
        let valid_until =
            if outcome == ProofOutcome::Passed { finished.plus(self.valid_for) } else { finished };
        let proof = Proof {
            run: self.plan.run.to_string(),
            control: self.plan.control.clone(),
            control_hash: self.plan.control_hash.clone(),
            instance: self.plan.instance.clone(),
            nonce: hex(&self.nonce),
            commitment: self.plan.commitment.clone(),
            steps: self.steps.clone(),
            outcome,
            figure,
            path_fingerprint: self.plan.path_fingerprint.clone(),
            binary_hash: self.plan.binary_hash.clone(),
            started: self.plan.at,
            finished,
            valid_until,
            actor: self.plan.actor.clone(),
        };
        self.write("proof", &Record::Proof(proof.clone())).await?;
        Ok(proof)
    }
}

/// What came of a step.
pub(crate) struct Got {
    passed: Option<bool>,
    text: String,
    evidence: BTreeMap<String, String>,
}

impl Got {
    pub fn yes(text: impl Into<String>) -> Got {
        Got { passed: Some(true), text: text.into(), evidence: BTreeMap::new() }
    }
    pub fn no(text: impl Into<String>) -> Got {
        Got { passed: Some(false), ..Got::yes(text) }
    }
    pub fn from(trouble: Trouble) -> Got {
        match trouble {
            Trouble::Refused(text) => Got::no(text),
            Trouble::Missing(text) => Got { passed: None, ..Got::yes(text.clone()) }.with(MISSING, text),
        }
    }
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Got {
        self.evidence.insert(key.to_owned(), value.into());
        self
    }
}

#[cfg(test)]
pub(crate) mod test_block_on {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    /// Runs a future whose awaits are always ready: the fakes of this crate never wait for anything real.
    pub fn block_on<F: Future>(f: F) -> F::Output {
        let mut f = pin!(f);
        match f.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(v) => v,
            Poll::Pending => panic!("a fake world waited"),
        }
    }
}
