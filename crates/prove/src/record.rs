//! The three records of a run, as canonical JSON events of dataset `avouch.proof`: `plan`, `step`…, `proof`.
//!
//! The plan holds SHA-256 of a nonce that nobody has seen and goes under a published checkpoint before the first step. So a run
//! cannot be written afterwards or be picked from several tries: every plan is an attempt that shows.

use crate::token::RunId;
use model::{Instance, Proof, ProofOutcome, ProofStep, Time};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Dataset of the records; kept for ever, holds no secret and no content of real logs.
pub const DATASET: &str = "avouch.proof";
/// Version of the record format, frozen: an old proof must check for ever.
pub const VERSION: u32 = 1;
/// Evidence key of a step that waits for time to pass (the retain drill): the moment it can be decided.
pub const MATURING: &str = "maturing_until";
/// Evidence key for what a step lacked to look.
pub const MISSING: &str = "missing";

/// What will be done, published before it is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Plan {
    pub run: RunId,
    pub control: String,
    pub control_hash: String,
    pub instance: Instance,
    pub drill: String,
    /// Names of the steps in order.
    pub steps: Vec<String>,
    /// SHA-256 of each payload that will be sent, hex, in order of the counter.
    pub payloads: Vec<String>,
    /// SHA-256 of the nonce, hex.
    pub commitment: String,
    pub path_fingerprint: String,
    pub binary_hash: String,
    /// `schedule`, `change`, `person`.
    pub trigger: String,
    pub actor: String,
    pub at: Time,
    /// A plan without a proof by then was cut short: recorded as inconclusive.
    pub deadline: Time,
}

/// A step with the run that it belongs to.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct StepRecord {
    pub run: RunId,
    pub number: u32,
    pub step: ProofStep,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Record {
    Plan(Plan),
    Step(StepRecord),
    Proof(Proof),
}

/// Why bytes are no record.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordError {
    #[error("not JSON: {0}")]
    NotJson(String),
    #[error("record version {0} is not known to this build")]
    Version(String),
    #[error("`{0}` is no kind of record")]
    Kind(String),
    #[error("the {kind} record does not read: {cause}")]
    Fields { kind: String, cause: String },
    #[error("the bytes are not the canonical form of what they say")]
    NotCanonical,
    #[error(transparent)]
    Canonical(#[from] model::canonical::CanonicalError),
}

impl RecordError {
    #[must_use]
    pub fn code(&self) -> &'static str {
        "proof.bad_record"
    }
}

impl Record {
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Record::Plan(_) => "plan",
            Record::Step(_) => "step",
            Record::Proof(_) => "proof",
        }
    }

    /// The event's raw bytes.
    ///
    /// # Errors
    /// A value without canonical form; there is none in records that this crate makes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, RecordError> {
        let body = match self {
            Record::Plan(p) => serde_json::to_value(p),
            Record::Step(s) => serde_json::to_value(s),
            Record::Proof(p) => serde_json::to_value(p),
        };
        let fields = |cause: serde_json::Error| RecordError::Fields {
            kind: self.kind().to_owned(),
            cause: cause.to_string(),
        };
        let mut body = body.map_err(fields)?;
        if let Value::Object(map) = &mut body {
            map.insert("record".into(), self.kind().into());
            map.insert("v".into(), VERSION.into());
        }
        Ok(model::canonical::to_vec(&body)?)
    }

    /// Reads a record and demands that the bytes are the canonical form of what was read: two readers cannot disagree.
    ///
    /// # Errors
    /// Not JSON, another version, another kind, wrong fields, or another spelling.
    pub fn from_bytes(bytes: &[u8]) -> Result<Record, RecordError> {
        let mut value: Value =
            serde_json::from_slice(bytes).map_err(|e| RecordError::NotJson(e.to_string()))?;
        let (kind, version) = match &mut value {
            Value::Object(map) => (map.remove("record"), map.remove("v")),
            _ => (None, None),
        };
        if version != Some(VERSION.into()) {
            return Err(RecordError::Version(version.unwrap_or_default().to_string()));
        }
        let kind = kind.and_then(|k| k.as_str().map(str::to_owned)).unwrap_or_default();
        let fields =
            |cause: serde_json::Error| RecordError::Fields { kind: kind.clone(), cause: cause.to_string() };
        let record = match kind.as_str() {
            "plan" => Record::Plan(serde_json::from_value(value).map_err(fields)?),
            "step" => Record::Step(serde_json::from_value(value).map_err(fields)?),
            "proof" => Record::Proof(serde_json::from_value(value).map_err(fields)?),
            _ => return Err(RecordError::Kind(kind)),
        };
        if record.to_bytes()? == bytes { Ok(record) } else { Err(RecordError::NotCanonical) }
    }
}

/// SHA-256 of the nonce as lower-case hex: what the plan publishes.
#[must_use]
pub fn commitment(nonce: &[u8; 32]) -> String {
    model::sha256_hex(nonce)
}

/// Lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Bytes of lower-case hex of even length.
#[must_use]
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes()
        .chunks_exact(2)
        .map(|p| match p {
            [a, b] => Some(digit(*a)? << 4 | digit(*b)?),
            _ => None,
        })
        .collect()
}

/// The outcome that steps amount to: one that failed decides; else one that could not be decided; else passed. No step at all
/// proves nothing.
#[must_use]
pub fn outcome(steps: &[ProofStep]) -> ProofOutcome {
    if steps.iter().any(|s| s.passed == Some(false)) {
        ProofOutcome::Failed
    } else if steps.is_empty() || steps.iter().any(|s| s.passed.is_none()) {
        ProofOutcome::Inconclusive
    } else {
        ProofOutcome::Passed
    }
}

/// What an inconclusive run lacked.
pub(crate) fn missing_of(p: &Proof) -> String {
    p.steps
        .iter()
        .find(|s| s.passed.is_none())
        .map(|s| s.evidence.get(MISSING).cloned().unwrap_or_else(|| format!("{}: {}", s.name, s.got)))
        .unwrap_or_else(|| p.figure.clone())
}

/// Plans whose deadline passed without a proof, as inconclusive proofs to publish: a crash must show (every plan is an attempt).
#[must_use]
pub fn cut_short(plans: &[Plan], proofs: &[Proof], now: Time) -> Vec<Proof> {
    let mut out: Vec<Proof> = plans
        .iter()
        .filter(|p| p.deadline < now && !proofs.iter().any(|f| f.run == p.run.to_string()))
        .map(|p| Proof {
            run: p.run.to_string(),
            control: p.control.clone(),
            control_hash: p.control_hash.clone(),
            instance: p.instance.clone(),
            // The nonce died with the process; the commitment stays unopened and the checker says so.
            nonce: String::new(),
            commitment: p.commitment.clone(),
            steps: vec![ProofStep {
                name: "run".into(),
                expected: format!("a proof by {}", p.deadline),
                got: "the process ended before the run did".into(),
                at: now,
                passed: None,
                evidence: [(MISSING.to_owned(), "a whole run: the process ended before it did".to_owned())]
                    .into(),
            }],
            outcome: ProofOutcome::Inconclusive,
            figure: "cut short".into(),
            path_fingerprint: p.path_fingerprint.clone(),
            binary_hash: p.binary_hash.clone(),
            started: p.at,
            finished: now,
            valid_until: now,
            actor: p.actor.clone(),
        })
        .collect();
    out.sort_by(|a, b| a.run.cmp(&b.run));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plan() -> Plan {
        Plan {
            run: RunId([1; 8]),
            control: "m02.x".into(),
            control_hash: "00".into(),
            instance: Instance::default(),
            drill: "canary".into(),
            steps: vec!["emit".into()],
            payloads: vec![],
            commitment: commitment(&[7; 32]),
            path_fingerprint: "p".into(),
            binary_hash: "b".into(),
            trigger: "person".into(),
            actor: "ana".into(),
            at: Time(1),
            deadline: Time(2),
        }
    }

    #[test]
    fn a_record_comes_back_and_only_in_one_spelling() {
        let bytes = Record::Plan(plan()).to_bytes().unwrap();
        assert_eq!(Record::from_bytes(&bytes), Ok(Record::Plan(plan())));
        let spaced = String::from_utf8(bytes.clone()).unwrap().replace(":\"ana\"", ": \"ana\"");
        assert_eq!(Record::from_bytes(spaced.as_bytes()), Err(RecordError::NotCanonical));
        let extra = String::from_utf8(bytes).unwrap().replace("\"v\":1", "\"v\":1,\"z\":2");
        assert!(Record::from_bytes(extra.as_bytes()).is_err());
    }

    #[test]
    fn golden_plan() {
        let text = String::from_utf8(Record::Plan(plan()).to_bytes().unwrap()).unwrap();
        expect_test::expect![[r#"{"actor":"ana","at":"1970-01-01T00:00:00.000001Z","binary_hash":"b","commitment":"4bb06f8e4e3a7715d201d573d0aa423762e55dabd61a2c02278fa56cc6d294e0","control":"m02.x","control_hash":"00","deadline":"1970-01-01T00:00:00.000002Z","drill":"canary","instance":{},"path_fingerprint":"p","payloads":[],"record":"plan","run":"abababababababab","steps":["emit"],"trigger":"person","v":1}"#]].assert_eq(&text);
    }

    #[test]
    fn a_plan_without_a_proof_is_an_attempt_that_shows() {
        assert!(cut_short(&[plan()], &[], Time(2)).is_empty(), "not before its deadline");
        let cut = cut_short(&[plan()], &[], Time(3));
        assert_eq!(cut[0].outcome, ProofOutcome::Inconclusive);
        assert!(cut_short(&[plan()], &cut, Time(4)).is_empty(), "once");
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(b in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Record::from_bytes(&b);
        }
        #[test]
        fn hex_comes_back(b in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(unhex(&hex(&b)), Some(b));
        }
    }
}
