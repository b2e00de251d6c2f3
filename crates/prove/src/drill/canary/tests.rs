use super::*;
use crate::check::{Bundle, Held, check_proof};
use crate::drill::test_block_on::block_on;
use crate::load::Register;
use crate::record::{Record, RecordError};
use model::ProofOutcome;
use std::sync::Mutex;

/// What is broken in the fake world. Every way to fail of the drill table has one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sabotage {
    None,
    EntryRefuses,
    EntryUnreachable,
    IntakeCannotOpen,
    VaultLoses,
    VaultAlters,
    VaultUnmarked,
    VaultForeignSource,
    VaultUnreadable,
    SearchBlind,
    SearchInvents,
    SinkLoses,
    SinkLosesOne,
    SinkDoubles,
    SinkDoublesLate,
    SinkAlters,
    SinkLate,
    SinkWrongIndex,
    SinkUnreadable,
    VaultDoubles,
}

#[derive(Default)]
struct Inner {
    now: i64,
    chance: u8,
    records: Vec<Vec<u8>>,
    log: Vec<&'static str>,
    sent: Vec<(i64, Vec<u8>)>,
    open: Option<OpenRun>,
}

struct Fake {
    how: Sabotage,
    publish_fails_at: Option<usize>,
    inner: Mutex<Inner>,
}

impl Fake {
    fn new(how: Sabotage) -> Fake {
        Fake { how, publish_fails_at: None, inner: Mutex::default() }
    }
    fn arrived(&self, token: &str, after: i64) -> Vec<(usize, Vec<u8>)> {
        let i = self.inner.lock().unwrap();
        let at = |sent: i64| sent + after <= i.now;
        i.sent
            .iter()
            .cloned()
            .enumerate()
            .filter(|(_, (t, p))| at(*t) && contains(p, token.as_bytes()))
            .map(|(n, (_, p))| (n, p))
            .collect()
    }
}

#[async_trait]
impl Recorder for Fake {
    fn now(&self) -> Time {
        Time(self.inner.lock().unwrap().now)
    }
    async fn wait_until(&self, at: Time) {
        let mut i = self.inner.lock().unwrap();
        i.now = i.now.max(at.0);
    }
    fn random(&self, out: &mut [u8]) {
        let mut i = self.inner.lock().unwrap();
        i.chance += 1;
        out.fill(i.chance);
    }
    async fn publish(&self, record: &[u8]) -> Result<u64, String> {
        let mut i = self.inner.lock().unwrap();
        if self.publish_fails_at == Some(i.records.len()) {
            return Err("disk full".into());
        }
        i.log.push("publish");
        i.records.push(record.to_vec());
        // Positions leave room for the canaries between plan and steps.
        Ok(if i.records.len() == 1 { 10 } else { 1_000 + i.records.len() as u64 })
    }
    async fn checkpoint(&self) -> Result<(), String> {
        self.inner.lock().unwrap().log.push("checkpoint");
        Ok(())
    }
}

#[async_trait]
impl World for Fake {
    fn payload(&self, source: &str, token: &str, _: Time) -> Result<Vec<u8>, Trouble> {
        Ok(format!("<134>drill {source} {token}").into_bytes())
    }
    async fn open(&self, run: &OpenRun) -> Result<(), Trouble> {
        self.inner.lock().unwrap().open = Some(run.clone());
        match self.how {
            Sabotage::IntakeCannotOpen => Err(Trouble::Missing("component: intake does not answer".into())),
            _ => Ok(()),
        }
    }
    async fn close(&self, _: RunId) {
        self.inner.lock().unwrap().open = None;
    }
    async fn emit(&self, _: &str, payload: &[u8]) -> Result<String, Trouble> {
        let mut i = self.inner.lock().unwrap();
        i.log.push("emit");
        match self.how {
            Sabotage::EntryRefuses => return Err(Trouble::Refused("403".into())),
            Sabotage::EntryUnreachable => {
                return Err(Trouble::Missing("credential: drill key of firewall-api".into()));
            }
            _ => {}
        }
        let at = i.now;
        i.sent.push((at, payload.to_vec()));
        Ok("200".into())
    }
    async fn find_in_vault(&self, token: &str) -> Result<Vec<Stored>, Trouble> {
        if self.how == Sabotage::VaultUnreadable {
            return Err(Trouble::Missing("component: vault reader".into()));
        }
        if self.how == Sabotage::VaultLoses {
            return Ok(vec![]);
        }
        let run = self.inner.lock().unwrap().open.as_ref().map(|o| o.run.to_string());
        let mut out: Vec<Stored> = self
            .arrived(token, 0)
            .into_iter()
            .map(|(n, mut raw)| {
                if self.how == Sabotage::VaultAlters {
                    raw.push(b'!');
                }
                Stored {
                    seq: 100 + n as u64,
                    source: if self.how == Sabotage::VaultForeignSource { "other" } else { "firewall-api" }
                        .into(),
                    raw,
                    canary: run.clone().filter(|_| self.how != Sabotage::VaultUnmarked),
                }
            })
            .collect();
        if self.how == Sabotage::VaultDoubles {
            out.extend(out.clone());
        }
        Ok(out)
    }
    async fn search(&self, token: &str) -> Result<Vec<u64>, Trouble> {
        Ok(match self.how {
            Sabotage::SearchBlind => vec![],
            Sabotage::SearchInvents => vec![7],
            _ => self.arrived(token, 100_000).into_iter().map(|(n, _)| 100 + n as u64).collect(),
        })
    }
    async fn find_at_sink(&self, at: &BackRead, token: &str) -> Result<Vec<Delivered>, Trouble> {
        assert_eq!((at.sink.as_str(), at.credential.as_str()), ("siem-main", "siem-reader"));
        let after = if self.how == Sabotage::SinkLate { 70 * Time::SECOND } else { 2 * Time::SECOND };
        let late_double = self.arrived(token, 3 * Time::SECOND).len();
        let mut out: Vec<Delivered> = self
            .arrived(token, after)
            .into_iter()
            .filter(|(n, _)| !(self.how == Sabotage::SinkLosesOne && *n == 1))
            .map(|(_, mut raw)| {
                if self.how == Sabotage::SinkAlters {
                    raw.truncate(raw.len() - 1);
                }
                let place = if self.how == Sabotage::SinkWrongIndex { "other" } else { "logs" };
                Delivered { raw: Some(raw), place: place.into(), answer: "hits: 1".into() }
            })
            .collect();
        match self.how {
            Sabotage::SinkUnreadable => return Err(Trouble::Missing("credential: siem-reader".into())),
            Sabotage::SinkLoses => out.clear(),
            Sabotage::SinkDoubles => out.extend(out.clone()),
            Sabotage::SinkDoublesLate if late_double > 0 => out.extend(out.clone()),
            _ => {}
        }
        Ok(out)
    }
}

fn entry() -> Entry {
    let text = "
- id: t.canary
  claim: Firewall logs are searchable in the SIEM within 60 s, once.
  answers: [M-2]
  scope: { sources: [firewall-api], sinks: [siem-main] }
  owner: { person: a@example.org, team: t }
  drill: { kind: canary, events: 3, spread: 1s, back_read: { reach: searchable, credential: siem-reader, within: 60s, exactly: 1, place: logs } }
  every: 15m
  valid_for: 1h
";
    Register::load(&[("t.yaml".into(), text.into())]).unwrap().entries.remove(0)
}

fn instance() -> Instance {
    Instance(
        [("source".to_owned(), "firewall-api".to_owned()), ("sink".to_owned(), "siem-main".to_owned())]
            .into(),
    )
}

fn start() -> Start {
    Start { trigger: "person".into(), actor: "ana".into(), binary_hash: "b".into(), path: "p".into() }
}

fn drive(world: &Fake) -> Result<Proof, DrillError> {
    block_on(run(world, &entry(), &instance(), &start()))
}

#[track_caller]
fn check(how: Sabotage, expect: &str) {
    let world = Fake::new(how);
    let p = drive(&world).unwrap();
    let last = p.steps.last().unwrap();
    assert_eq!(format!("{:?} at {}: {}", p.outcome, last.name, last.got), expect, "{how:?}");
    assert!(world.inner.lock().unwrap().open.is_none(), "the run is closed whatever happens");
}

#[test]
fn a_working_path_is_proven() {
    check(Sabotage::None, "Passed at in time: 3 of 3 in 2.0 s");
}

#[test]
fn every_way_to_fail_fails_at_its_step() {
    check(Sabotage::EntryRefuses, "Failed at emit 1: 403");
    check(Sabotage::VaultLoses, "Failed at in the vault: event 1 missing, event 2 missing, event 3 missing");
    check(Sabotage::VaultAlters, "Failed at in the vault: event 1 altered, event 2 altered, event 3 altered");
    check(
        Sabotage::VaultUnmarked,
        "Failed at in the vault: event 1 is not marked as a canary, event 2 is not marked as a canary, event 3 is not marked as a canary",
    );
    check(
        Sabotage::VaultForeignSource,
        "Failed at in the vault: event 1 came in as source `other`, event 2 came in as source `other`, event 3 came in as source `other`",
    );
    check(Sabotage::SearchBlind, "Failed at searchable: event 1 missing, event 2 missing, event 3 missing");
    check(
        Sabotage::SearchInvents,
        "Failed at searchable: event 1 is found where the vault did not hold it, event 2 is found where the vault did not hold it, event 3 is found where the vault did not hold it",
    );
    check(Sabotage::SinkLoses, "Failed at at the sink: event 1 missing, event 2 missing, event 3 missing");
    check(Sabotage::SinkLosesOne, "Failed at at the sink: event 2 missing");
    check(
        Sabotage::SinkAlters,
        "Failed at at the sink: event 1 altered at the sink, event 2 altered at the sink, event 3 altered at the sink",
    );
    check(
        Sabotage::SinkWrongIndex,
        "Failed at at the sink: event 1 is in `other`, event 2 is in `other`, event 3 is in `other`",
    );
    check(
        Sabotage::SinkDoubles,
        "Failed at once: event 1 stands 2 times in siem-main, event 2 stands 2 times in siem-main, event 3 stands 2 times in siem-main",
    );
    check(
        Sabotage::SinkDoublesLate,
        "Failed at once: event 1 stands 2 times in siem-main, event 2 stands 2 times in siem-main, event 3 stands 2 times in siem-main",
    );
    check(
        Sabotage::VaultDoubles,
        "Failed at once: event 1 stands 2 times in vault, event 2 stands 2 times in vault, event 3 stands 2 times in vault",
    );
    check(Sabotage::SinkLate, "Failed at in time: late: 3 of 3 in 70 s");
}

#[test]
fn what_cannot_be_looked_at_is_inconclusive_and_names_what_is_missing() {
    check(Sabotage::EntryUnreachable, "Inconclusive at emit 1: credential: drill key of firewall-api");
    check(Sabotage::IntakeCannotOpen, "Inconclusive at emit 1: component: intake does not answer");
    check(Sabotage::VaultUnreadable, "Inconclusive at in the vault: component: vault reader");
    check(Sabotage::SinkUnreadable, "Inconclusive at at the sink: credential: siem-reader");
    let p = drive(&Fake::new(Sabotage::SinkUnreadable)).unwrap();
    assert_eq!(p.steps.last().unwrap().evidence["reach"], "acknowledged");
    assert_eq!(p.valid_until, p.finished, "an inconclusive run proves nothing for no time");
}

#[test]
fn nothing_is_sent_before_the_plan_lies_under_a_checkpoint() {
    let world = Fake::new(Sabotage::None);
    drive(&world).unwrap();
    let log = world.inner.lock().unwrap().log.clone();
    assert_eq!(log[..3], ["publish", "checkpoint", "emit"], "C1");
}

#[test]
fn a_run_that_cannot_be_recorded_is_an_error_and_sends_nothing() {
    let mut world = Fake::new(Sabotage::None);
    world.publish_fails_at = Some(0);
    let e = drive(&world).unwrap_err();
    assert_eq!(e.to_string(), "the plan record of run acacacacacacacac could not be written: disk full");
    assert_eq!((e.code(), world.inner.lock().unwrap().sent.len()), ("prove.record", 0));
}

#[test]
fn without_a_sink_the_search_decides() {
    let world = Fake::new(Sabotage::SinkUnreadable);
    let source_only = Instance([("source".to_owned(), "firewall-api".to_owned())].into());
    let p = block_on(run(&world, &entry(), &source_only, &start())).unwrap();
    assert_eq!((p.outcome, p.figure.as_str()), (ProofOutcome::Passed, "3 of 3 in 100 ms"));
}

#[test]
fn a_control_without_a_canary_cannot_be_exercised() {
    let e = block_on(run(&Fake::new(Sabotage::None), &entry(), &Instance::default(), &start())).unwrap_err();
    assert_eq!(e.to_string(), "control `t.canary` cannot be exercised: its scope names no source");
}

/// The host spawns runs on a thread pool.
#[test]
fn a_run_can_move_between_threads() {
    fn is_send<T: Send>(t: T) -> T {
        t
    }
    let (world, entry, instance, start) = (Fake::new(Sabotage::None), entry(), instance(), start());
    drop(is_send(run(&world, &entry, &instance, &start)));
}

fn bundle(world: &Fake) -> Bundle {
    let records = world.inner.lock().unwrap().records.clone();
    let held = |i: usize, r: &Vec<u8>| Held {
        position: if i == 0 { 10 } else { 1_001 + i as u64 },
        record: String::from_utf8(r.clone()).unwrap(),
    };
    let all: Vec<Held> = records.iter().enumerate().map(|(i, r)| held(i, r)).collect();
    let (plan, rest) = all.split_first().unwrap();
    let (proof, steps) = rest.split_last().unwrap();
    Bundle { control: entry().control, plan: plan.clone(), steps: steps.to_vec(), proof: proof.clone() }
}

#[track_caller]
fn broken(change: impl FnOnce(&mut Bundle), expect: &str) {
    let world = Fake::new(Sabotage::None);
    drive(&world).unwrap();
    let mut b = bundle(&world);
    change(&mut b);
    let report = check_proof(&b);
    let failed: Vec<&str> = report.0.iter().filter(|c| c.holds == Some(false)).map(|c| c.what).collect();
    assert_eq!(
        (failed.join(" ").as_str(), report.exit_code()),
        (expect, if expect.is_empty() { 0 } else { 4 })
    );
}

fn edit(held: &mut Held, from: &str, to: &str) {
    assert!(held.record.contains(from), "{from} in {}", held.record);
    held.record = held.record.replace(from, to);
}

#[test]
fn a_proof_checks_from_its_records_alone() {
    broken(|_| {}, "");
}

#[test]
fn every_forgery_is_found() {
    broken(|b| b.control.claim = "Logs arrive within 600 s.".into(), "control");
    broken(|b| edit(&mut b.plan, "\"ana\"", "\"bob\""), "run");
    broken(|b| edit(&mut b.plan, "\"at the sink\",", ""), "plan");
    broken(|b| b.steps.swap(3, 4), "order steps");
    broken(|b| drop(b.steps.pop()), "steps");
    broken(|b| b.plan.position = 2_000, "order");
    broken(|b| b.plan.position = 101, "order");
    broken(|b| b.proof.position = 1_002, "order");
    broken(|b| edit(&mut b.proof, "\"nonce\":\"0101", "\"nonce\":\"0201"), "commitment tokens");
    broken(|b| edit(&mut b.proof, "\"outcome\":\"passed\"", "\"outcome\":\"inconclusive\""), "outcome");
    broken(|b| edit(&mut b.proof, "\"got\":\"200\"", "\"got\":\"201\""), "steps");
    broken(|b| edit(&mut b.steps[0], "\"counter\":\"0\"", "\"counter\":\"1\""), "steps");
    broken(|b| edit(&mut b.proof, "\"v\":1", "\"v\":2"), "records");
    // The same text in step and proof, so that only the recomputed token tells.
    let both = |b: &mut Bundle, from: &str, to: &str| {
        edit(&mut b.steps[0], from, to);
        edit(&mut b.proof, from, to);
    };
    broken(|b| both(b, "\"counter\":\"0\"", "\"counter\":\"9\""), "tokens");
}

#[test]
fn parameters_are_read_strictly() {
    let read = |text: &str| {
        let p: std::collections::BTreeMap<String, Value> = serde_json::from_str(text).unwrap();
        Canary::read(&DrillPlan { kind: "canary".into(), parameters: p })
            .map_or_else(|e| e, |c| format!("{} {}", c.events, c.within))
    };
    assert_eq!(read(r#"{"back_read":{"within":"1s"}}"#), "3 1000000");
    assert_eq!(read(r#"{}"#), "`back_read: { within: 60s }` is missing");
    assert_eq!(read(r#"{"back_read":{}}"#), "`back_read` needs `within`, the limit of the claim");
    assert_eq!(
        read(r#"{"back_read":{"within":"1s","reech":"searchable"}}"#),
        "unknown key `reech` of `back_read`; nearest: reach"
    );
    assert_eq!(
        read(r#"{"back_read":{"within":"1s","reach":"acknowledged"}}"#),
        "`reach` is `searchable`: nothing less is read back"
    );
    assert_eq!(read(r#"{"events":0,"back_read":{"within":"1s"}}"#), "`events` is from 1 to 100");
    assert_eq!(read(r#"{"events":-1,"back_read":{"within":"1s"}}"#), "`events: -1` is no count");
}

#[test]
fn records_of_a_run_read_back() {
    let world = Fake::new(Sabotage::None);
    let proof = drive(&world).unwrap();
    let records = world.inner.lock().unwrap().records.clone();
    let kinds: Result<Vec<&str>, RecordError> =
        records.iter().map(|r| Record::from_bytes(r).map(|r| r.kind())).collect();
    assert_eq!(kinds.unwrap().join(" "), "plan step step step step step step step step proof");
    assert_eq!(Record::from_bytes(records.last().unwrap()), Ok(Record::Proof(proof)));
}
