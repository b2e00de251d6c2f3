use super::*;
use crate::drill::test_block_on::block_on;
use crate::load::Register;
use model::ProofOutcome;
use std::sync::Mutex;

/// What the verifier, or the host, does wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sabotage {
    None,
    CleanFails,
    /// This kind passes with exit 0.
    Unseen(Mutation),
    /// Another file, a wide range, a range beside the byte, another sequence number.
    WrongFile,
    WideRange,
    BesideRange,
    WrongSeq,
    TailIsDamage,
    TailUnsaid,
    NoSegments,
    NoSpace,
}

struct Fake {
    how: Sabotage,
    copies: Mutex<i32>,
}

#[async_trait]
impl Recorder for Fake {
    fn now(&self) -> Time {
        Time(0)
    }
    async fn wait_until(&self, _: Time) {}
    fn random(&self, out: &mut [u8]) {
        out.fill(1);
    }
    async fn publish(&self, _: &[u8]) -> Result<u64, String> {
        Ok(1)
    }
    async fn checkpoint(&self) -> Result<(), String> {
        Ok(())
    }
}

#[async_trait]
impl Tamper for Fake {
    type Copy = Mutex<Option<Mutation>>;
    async fn copy(&self) -> Result<Self::Copy, Trouble> {
        if self.how == Sabotage::NoSpace {
            return Err(Trouble::Missing("component: 2 GiB of scratch space".into()));
        }
        *self.copies.lock().unwrap() += 1;
        Ok(Mutex::new(None))
    }
    async fn mutate(&self, copy: &Self::Copy, kind: Mutation) -> Result<Done, Trouble> {
        if self.how == Sabotage::NoSegments && kind == Mutation::FlipPage {
            return Err(Trouble::Missing("component: no sealed segment yet".into()));
        }
        *copy.lock().unwrap() = Some(kind);
        Ok(Done { file: "data/1.parquet".into(), offset: Some(100_000), seq: Some(7) })
    }
    async fn verify(&self, copy: &Self::Copy) -> Result<Verdict, Trouble> {
        let Some(kind) = *copy.lock().unwrap() else {
            return Ok(Verdict {
                exit_code: if self.how == Sabotage::CleanFails { 4 } else { 0 },
                ..Verdict::default()
            });
        };
        if kind == Mutation::FlipWalTail {
            return Ok(Verdict {
                exit_code: if self.how == Sabotage::TailIsDamage { 4 } else { 0 },
                tail_quarantined: self.how != Sabotage::TailUnsaid,
                ..Verdict::default()
            });
        }
        if self.how == Sabotage::Unseen(kind) {
            return Ok(Verdict::default());
        }
        let fault = Fault {
            file: if self.how == Sabotage::WrongFile { "data/2.parquet" } else { "data/1.parquet" }.into(),
            bytes: Some(match self.how {
                Sabotage::WideRange => (0, 200_000),
                Sabotage::BesideRange => (0, 65_536),
                _ => (65_536, 131_072),
            }),
            seqs: Some(if self.how == Sabotage::WrongSeq { (8, 8) } else { (7, 7) }),
        };
        Ok(Verdict { exit_code: 4, faults: vec![fault], tail_quarantined: false })
    }
    async fn discard(&self, _: Self::Copy) {
        *self.copies.lock().unwrap() -= 1;
    }
}

fn entry(drill: &str) -> Entry {
    let text = format!(
        "- {{ id: t.tamper, claim: Nothing changes unseen., answers: [A-12], owner: {{ person: a, team: t }}, every: 1d, drill: {drill} }}"
    );
    Register::load(&[("t.yaml".into(), text)]).unwrap().entries.remove(0)
}

#[track_caller]
fn check(how: Sabotage, outcome: ProofOutcome, wrong: &[&str], figure: &str) {
    let world = Fake { how, copies: Mutex::new(0) };
    let start = Start { trigger: "t".into(), actor: "a".into(), binary_hash: "b".into(), path: "p".into() };
    let p = block_on(run(&world, &entry("{ kind: tamper }"), &Instance::default(), &start)).unwrap();
    let names: Vec<&str> =
        p.steps.iter().filter(|s| s.passed != Some(true)).map(|s| s.name.as_str()).collect();
    assert_eq!((p.outcome, names, p.figure.as_str()), (outcome, wrong.to_vec(), figure), "{how:?}");
    assert_eq!(*world.copies.lock().unwrap(), 0, "no copy is left over");
}

#[test]
fn a_verifier_that_sees_everything_passes() {
    check(Sabotage::None, ProofOutcome::Passed, &[], "16 of 16 kinds of damage seen");
}

#[test]
fn any_damage_that_passes_unseen_fails_at_its_own_step() {
    for kind in Mutation::ALL.into_iter().filter(|k| *k != Mutation::FlipWalTail) {
        check(Sabotage::Unseen(kind), ProofOutcome::Failed, &[kind.name()], "15 of 16 kinds of damage seen");
    }
}

#[test]
fn a_wrong_place_fails() {
    let flips = [
        "flip-page",
        "flip-footer",
        "flip-side-file",
        "flip-tile",
        "flip-entry",
        "flip-checkpoint",
        "flip-wal",
    ];
    check(Sabotage::WrongFile, ProofOutcome::Failed, &flips, "9 of 16 kinds of damage seen");
    check(Sabotage::WideRange, ProofOutcome::Failed, &flips, "9 of 16 kinds of damage seen");
    check(Sabotage::BesideRange, ProofOutcome::Failed, &flips, "9 of 16 kinds of damage seen");
    check(Sabotage::WrongSeq, ProofOutcome::Failed, &["alter-record"], "15 of 16 kinds of damage seen");
}

#[test]
fn a_torn_tail_is_no_damage_and_is_said() {
    check(Sabotage::TailIsDamage, ProofOutcome::Failed, &["flip-wal-tail"], "15 of 16 kinds of damage seen");
    check(Sabotage::TailUnsaid, ProofOutcome::Failed, &["flip-wal-tail"], "15 of 16 kinds of damage seen");
}

#[test]
fn a_verifier_that_cries_over_a_clean_copy_shows_nothing() {
    check(Sabotage::CleanFails, ProofOutcome::Failed, &["clean copy"], "a clean copy does not verify");
}

#[test]
fn what_cannot_be_tried_is_inconclusive() {
    check(Sabotage::NoSegments, ProofOutcome::Inconclusive, &["flip-page"], "15 of 16 kinds of damage seen");
    check(Sabotage::NoSpace, ProofOutcome::Inconclusive, &["clean copy"], "a clean copy does not verify");
}

#[test]
fn another_copy_than_the_vault_is_not_exercised_by_it() {
    let world = Fake { how: Sabotage::None, copies: Mutex::new(0) };
    let start = Start { trigger: "t".into(), actor: "a".into(), binary_hash: "b".into(), path: "p".into() };
    let e = block_on(run(&world, &entry("{ kind: tamper, copy: digests }"), &Instance::default(), &start))
        .unwrap_err();
    assert_eq!(
        e.to_string(),
        "control `t.tamper` cannot be exercised: this build copies the vault and nothing else"
    );
}
