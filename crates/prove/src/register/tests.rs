use super::*;
use crate::lint::{LintContext, lint};
use crate::load::Register;
use crate::look::observation;
use crate::view;
use model::Time;

const NOW: Time = Time(20_000 * Time::DAY);

fn load(text: &str) -> Register {
    Register::load(&[("t.yaml".into(), text.into())]).unwrap()
}

/// The rules of the folder by name, with how many tests of each fire: as text, since this crate does not read rules.
fn shipped_rules() -> BTreeMap<String, usize> {
    let mut open =
        vec![std::path::PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap() + "/../../rules")];
    let mut out = BTreeMap::new();
    while let Some(dir) = open.pop() {
        for e in std::fs::read_dir(dir).unwrap() {
            let path = e.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "yml") {
                let text = std::fs::read_to_string(&path).unwrap();
                let first = text.split("\n---").next().unwrap();
                let name = path.file_stem().unwrap().to_string_lossy().into_owned();
                out.insert(name, first.lines().filter(|l| l.trim() == "fires: true").count());
            }
        }
    }
    assert!(out.len() > 100, "{}", out.len());
    out
}

/// The claim's number is the number of kinds that its drill runs: never more is claimed than is run.
#[test]
fn a_tamper_claim_counts_its_own_kinds() {
    let r = Register::built_in().unwrap();
    let mut seen = 0;
    for e in r.entries.iter().filter(|e| e.drill_kind() == "tamper" && e.drill_text("copy").is_none()) {
        let kinds = crate::drill::tamper::mutations(e.control.drill.as_ref().unwrap()).unwrap();
        let said = format!("{} kinds of damage", kinds.len());
        assert!(e.control.claim.contains(&said), "{} runs {said}: {}", e.control.id, e.control.claim);
        seen += 1;
    }
    assert!(seen >= 2);
}

#[test]
fn the_built_in_packs_load_without_a_remark() {
    let r = Register::built_in().unwrap_or_else(|e| panic!("{e}"));
    let ctx = LintContext {
        now: Time::parse_rfc3339(b"2026-01-01T00:00:00Z"),
        routes: Some(["default", "oncall", "privacy"].map(str::to_owned).into()),
        rules: Some(shipped_rules()),
    };
    let remarks: Vec<String> = lint(&r, &ctx).iter().map(|p| format!("{} {p}", p.code)).collect();
    assert_eq!(remarks, Vec::<String>::new());
    assert!(r.entries.len() > 200);
    let attested = r.entries.iter().filter(|e| e.drill_kind() == "attest").count();
    assert!(attested >= 20, "{attested}");
    // Every document sentence of the five systems has its place; our own claims have theirs.
    assert!(r.entries.iter().all(|e| !e.control.says.is_empty() || e.control.pack == "self"));
}

#[test]
fn without_a_connection_nothing_is_claimed() {
    let r = Register::built_in().unwrap();
    let rows = evaluate(&r, &BTreeMap::new(), &[], &[], &Context::at(NOW));
    assert_eq!(rows.len(), r.entries.len());
    for row in &rows {
        let s = row.decided_by().unwrap();
        let is_planned_word = row.entry.drill_kind() == "attest" && row.entry.control.planned.is_some();
        let expect = if is_planned_word { ControlState::Planned } else { ControlState::Unknown };
        assert_eq!(s.state, expect, "{}: {}", row.entry.control.id, s.reason);
        assert!(!s.reason.is_empty(), "F1: {}", row.entry.control.id);
    }
}

#[test]
fn the_json_has_exact_terms_and_a_defined_order() {
    let r = Register::built_in().unwrap();
    let ctx = Context::at(NOW);
    let print =
        || serde_json::to_string(&view::items(&evaluate(&r, &BTreeMap::new(), &[], &[], &ctx))).unwrap();
    let text = print();
    assert_eq!(text, print(), "O1");
    let items: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let ids: Vec<&str> = items.iter().map(|i| i["id"].as_str().unwrap()).collect();
    assert!(ids.windows(2).all(|w| w[0] < w[1]));
    let one = items.iter().find(|i| i["id"] == "m02.firewall-logs-reach-siem").unwrap();
    assert_eq!(one["state"], "unknown");
    assert_eq!(one["configured"]["is"], "unknown");
    assert_eq!(one["effective"]["is"], "unknown");
    assert_eq!(one["last_proven"]["is"], "never");
    assert_eq!(one["instances"][0]["instance"]["sink"], "siem-main");
    assert_eq!(one["every"], "15m");
}

const TWO: &str = "
- id: t.main
  claim: Nothing is lost.
  answers: [M-1]
  scope: { sources: [a, b] }
  owner: { person: a@example.org, team: t }
  drill: { kind: none, because: read on every look }
  every: 1d
  effective: [{ probe: self, expr: source.ok }]
  exceptions:
    - { instance: source=b, reason: old device, owner: ana, until: 2024-12-31, compensated_by: [t.guard] }
- id: t.guard
  claim: Nothing is lost at the guard.
  answers: [M-1]
  owner: { person: a@example.org, team: t }
  drill: { kind: none, because: read on every look }
  every: 1d
  effective: [{ probe: self, expr: guard.ok }]
";

fn seen(source: Option<&str>, ok: bool) -> Seen {
    let o = if ok { observation::yes("yes", "self", NOW) } else { observation::no("lost 3", "self", NOW) };
    Seen {
        instance: Instance(source.map(|s| ("source".to_owned(), s.to_owned())).into_iter().collect()),
        configured: vec![],
        effective: vec![o],
        path: String::new(),
    }
}

#[track_caller]
fn check(guard: bool, now: Time, expect: &str) {
    let r = load(TWO);
    let all = BTreeMap::from([
        ("t.main".to_owned(), vec![seen(Some("a"), true), seen(Some("b"), false)]),
        ("t.guard".to_owned(), vec![seen(None, guard)]),
    ]);
    let rows = evaluate(&r, &all, &[], &[], &Context::at(now));
    let main = rows.iter().find(|r| r.entry.control.id == "t.main").unwrap();
    let excepted = main.instances.iter().filter(|s| s.excepted.is_some()).count();
    let counts: Vec<String> = main.counts.iter().map(|(s, n)| format!("{n} {}", s.term())).collect();
    assert_eq!(format!("{} ({}) excepted {excepted}", main.state.term(), counts.join(", ")), expect);
}

#[test]
fn an_exception_covers_its_instance_while_it_and_its_compensation_live() {
    let day = |s: &str| crate::read::parse_date(s).unwrap();
    check(true, day("2024-06-01"), "effective (1 failed, 1 effective) excepted 1");
    check(false, day("2024-06-01"), "failed (1 failed, 1 effective) excepted 0");
    check(true, day("2025-01-01"), "failed (1 failed, 1 effective) excepted 0");
}

#[test]
fn people_read_four_words() {
    let r = load(TWO);
    let all = BTreeMap::from([
        ("t.main".to_owned(), vec![seen(Some("a"), true), seen(Some("b"), false)]),
        ("t.guard".to_owned(), vec![seen(None, true)]),
    ]);
    let rows = evaluate(&r, &all, &[], &[], &Context::at(NOW.plus(365 * Time::DAY)));
    let said: Vec<String> = rows
        .iter()
        .map(|r| {
            let s = r.decided_by().unwrap();
            let (headline, why) = view::words(s, NOW);
            format!(
                "{} | {} | {headline}: {why} | {}",
                r.entry.control.id,
                view::cells(s, NOW).join(" | "),
                view::counts_words(r)
            )
        })
        .collect();
    expect_test::expect![[r#"
        t.guard | yes (register) | yes 00:00:00 | never | Not tested: in force, not exercised: read on every look | 
        t.main | yes (register) | no: lost 3 | never | Failing: not in force: lost 3 | 1 failing, 1 not tested
        2 controls: 1 failing, 1 not tested"#]]
    .assert_eq(&format!("{}\n{}", said.join("\n"), view::summary(&rows)));
}

/// 4.1 of the register's cost: 500 controls with 5,000 instances are a pure loop; here only that the work is linear in proofs.
#[test]
fn proofs_are_looked_up_by_control() {
    let r = Register::built_in().unwrap();
    let rows = evaluate(&r, &BTreeMap::new(), &[], &[], &Context::at(NOW));
    assert_eq!(due_by_change(&rows), vec![]);
}

#[test]
fn undecided_runs_are_counted_from_the_newest() {
    use ProofOutcome::{Inconclusive, Passed};
    let cut = |at: i64, outcome| Proof {
        run: at.to_string(),
        control: "t".into(),
        control_hash: String::new(),
        instance: Instance::default(),
        nonce: String::new(),
        commitment: String::new(),
        steps: vec![],
        outcome,
        figure: String::new(),
        path_fingerprint: String::new(),
        binary_hash: String::new(),
        started: Time(at),
        finished: Time(at),
        valid_until: Time(at),
        actor: String::new(),
    };
    let all = [cut(4, Inconclusive), cut(1, Inconclusive), cut(2, Passed), cut(3, Inconclusive)];
    assert_eq!(inconclusive_in_a_row(&all, "t", &Instance::default()), 2);
    assert_eq!(inconclusive_in_a_row(&all, "u", &Instance::default()), 0);
}

#[test]
fn the_host_can_ask_which_facts_it_owes() {
    let r = Register::built_in().unwrap();
    let own = r.facts("self");
    assert!(own["route(source,sink).enabled"].contains(&"m02.firewall-logs-reach-siem"));
    assert!(r.facts("flow").contains_key("sink.lag"));
}
