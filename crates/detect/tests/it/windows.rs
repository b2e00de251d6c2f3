//! Correlations: settled findings are a function of the set of events (D1), whatever the order, the batch size or a restart.

use detect::{Engine, Rules, Settings};
use model::{Batch, EventId, Occurrence, Provenance, Time};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const RULES: &str = "
title: Failed login
name: failed
logsource: {product: app, service: login}
detection:
  s: {result: failed}
  condition: s
---
title: Many failures
correlation:
  type: event_count
  rules: failed
  group-by: [user]
  timespan: 60s
  condition: {gte: 3}
level: medium
---
title: Many hosts
correlation:
  type: value_count
  rules: failed
  group-by: [user]
  timespan: 60s
  condition: {gt: 1, field: host}
level: medium
";

#[derive(Clone, Debug)]
struct Login {
    at: i64,
    user: u8,
    host: u8,
    id: usize,
}

fn strategy() -> impl Strategy<Value = Vec<Login>> {
    prop::collection::vec((0_i64..600, 0_u8..2, 0_u8..3), 1..40).prop_map(|v| {
        v.into_iter().enumerate().map(|(id, (at, user, host))| Login { at, user, host, id }).collect()
    })
}

fn batch(events: &[Login]) -> Batch {
    let mut b = Batch::builder();
    let (p, d) = (b.provenance(Provenance::new("app")), b.dataset("app.login"));
    for e in events {
        let row = b.push(
            format!(r#"{{"result":"failed","user":"u{}","host":"h{}"}}"#, e.user, e.host).as_bytes(),
            p,
            d,
        );
        row.event_time = Time::from_secs(e.at);
        row.id = EventId::of(&[&e.id.to_le_bytes()]);
    }
    b.finish()
}

fn engine(lateness_secs: i64) -> Engine {
    let (rules, refused) = Rules::load([("logins.yml", RULES)]);
    assert_eq!(refused, []);
    let lateness = BTreeMap::from([("app.login".to_owned(), lateness_secs * Time::SECOND)]);
    Engine::new(rules, Settings { lateness, ..Settings::default() }).unwrap()
}

/// Settled findings as bytes, in a defined order.
fn settled(all: Vec<Occurrence>) -> Vec<String> {
    let mut out: Vec<String> =
        all.iter().filter(|o| o.is_settled).map(|o| serde_json::to_string(o).unwrap()).collect();
    out.sort();
    out
}

fn run(events: &[Login], lateness: i64, size: usize, restart_after: Option<usize>) -> Vec<Occurrence> {
    let mut e = engine(lateness);
    let mut out = Vec::new();
    for (i, chunk) in events.chunks(size).enumerate() {
        out.extend(e.events(&batch(chunk), None));
        if restart_after == Some(i) {
            let state = e.state();
            e = engine(lateness);
            e.restore(&state).unwrap();
            assert_eq!(e.state(), state, "state is a value");
        }
    }
    out.extend(e.end());
    out
}

/// The definition, written down naively: (rule, user, first hold, last hold, evidence).
fn naive(events: &[Login]) -> BTreeSet<(String, u8, i64, u64)> {
    let mut out = BTreeSet::new();
    for user in 0..2 {
        let mine: Vec<&Login> = events.iter().filter(|e| e.user == user).collect();
        for (rule, needs) in [("logins#2", 3), ("logins#3", 2)] {
            let mut holds: Vec<i64> = mine
                .iter()
                .map(|e| e.at)
                .filter(|t| {
                    let inside: Vec<&&Login> = mine.iter().filter(|o| o.at <= *t && o.at > t - 60).collect();
                    let hosts: BTreeSet<u8> = inside.iter().map(|o| o.host).collect();
                    if rule == "logins#2" { inside.len() >= needs } else { hosts.len() >= needs }
                })
                .collect();
            holds.sort_unstable();
            holds.dedup();
            let mut episodes: Vec<(i64, i64)> = Vec::new();
            for h in holds {
                match episodes.last_mut().filter(|e| h - e.1 <= 60) {
                    Some(e) => e.1 = h,
                    None => episodes.push((h, h)),
                }
            }
            for (first, last) in episodes {
                let n = mine.iter().filter(|e| e.at > first - 60 && e.at <= last).count() as u64;
                out.insert((rule.to_owned(), user, last, n));
            }
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]
    #[test]
    fn settled_findings_do_not_depend_on_arrival(mut events in strategy(), jitter in prop::collection::vec(0_i64..100, 40), size in 1_usize..9, cut in 0_usize..8) {
        events.sort_by_key(|e| (e.at, e.id));
        let straight = run(&events, 100, 1_000, None);
        let got: BTreeSet<(String, u8, i64, u64)> = straight
            .iter()
            .filter(|o| o.is_settled)
            .map(|o| (o.about.rule.name.clone(), o.subject.key[0].1.trim_start_matches('u').parse().unwrap(), o.time.secs(), o.evidence_total))
            .collect();
        prop_assert_eq!(got, naive(&events), "the definition");
        let mut shuffled = events.clone();
        shuffled.sort_by_key(|e| (e.at + jitter[e.id], e.id));
        let truth = settled(straight.clone());
        prop_assert_eq!(&settled(run(&shuffled, 100, size, None)), &truth, "any order within the lateness, any batch size");
        prop_assert_eq!(&settled(run(&shuffled, 100, size, Some(cut))), &truth, "stop and resume");
        // Whatever is announced early is confirmed later under the same id.
        let all = run(&shuffled, 100, 1, None);
        let confirmed: BTreeSet<_> = all.iter().filter(|o| o.is_settled).map(|o| o.id).collect();
        for o in all.iter().filter(|o| !o.is_settled) {
            prop_assert!(confirmed.contains(&o.id));
        }
        prop_assert!(all.iter().filter(|o| o.is_settled).all(|s| all.iter().any(|o| !o.is_settled && o.id == s.id)), "nothing waits for settlement to be told");
    }
}

fn logins(at: &[i64]) -> Vec<Login> {
    at.iter().enumerate().map(|(id, at)| Login { at: *at, user: 0, host: 0, id }).collect()
}

#[track_caller]
fn count(at: &[i64], episodes: usize) {
    let n = settled(run(&logins(at), 0, 1, None)).len();
    assert_eq!(n, episodes, "{at:?}");
}

/// Section 5 and 10: the window is half open, `(t − timespan, t]`; pairs across a minute's edge count (SEP #214).
#[test]
fn the_edges_of_the_window() {
    count(&[0, 30, 59], 1);
    count(&[0, 30, 60], 0);
    count(&[50, 60, 70], 1);
    count(&[0, 0, 0], 1);
    count(&[0, 1, 2, 300, 301, 302], 2);
    count(&[0, 1, 2, 40, 60, 80, 120], 1);
    count(&[0, 1, 2, 40, 80, 100, 120, 130], 2);
}

#[test]
fn provisional_at_once_and_settled_by_the_clock() {
    let mut e = engine(0);
    assert!(e.events(&batch(&logins(&[0, 10])), None).is_empty());
    let third = Login { at: 20, user: 0, host: 0, id: 9 };
    let now = e.events(&batch(&[third]), None);
    assert_eq!(now.len(), 1);
    assert!(!now[0].is_settled);
    assert_eq!(now[0].evidence_total, 3);
    let more = Login { at: 30, user: 0, host: 0, id: 10 };
    assert!(e.events(&batch(&[more]), None).is_empty(), "one episode is told once");
    assert!(e.tick(Time::from_secs(89)).is_empty());
    let done = e.tick(Time::from_secs(91));
    assert_eq!(done.len(), 1);
    assert!(done[0].is_settled);
    assert_eq!((done[0].id, done[0].evidence_total, done[0].time), (now[0].id, 4, Time::from_secs(30)));
    assert!(e.end().is_empty());
}

#[test]
fn a_late_event_is_counted_told_and_asked_for() {
    let mut e = engine(0);
    e.events(&batch(&logins(&[100, 110])), None);
    let late = Login { at: 105, user: 0, host: 0, id: 77 };
    let found = e.events(&batch(&[late]), None);
    assert_eq!(found.len(), 1, "what is still there is judged at once");
    let asked = e.requests();
    assert_eq!(asked.len(), 2, "both correlations ask for the range");
    assert_eq!((asked[0].from.secs(), asked[0].to.secs()), (45, 165));
    assert_eq!(e.health().late["logins#2"], 1);
}

#[test]
fn the_same_event_twice_counts_once() {
    let mut events = logins(&[0, 10, 20]);
    events[2].id = 1;
    events[2].at = 10;
    assert!(settled(run(&events, 0, 1, None)).is_empty());
}

#[test]
fn a_drill_never_counts_together_with_an_attack() {
    let mut e = engine(0);
    let mut b = Batch::builder();
    let real = b.provenance(Provenance::new("app"));
    let drill = b.provenance(Provenance { canary: Some("run-1".into()), ..Provenance::new("app") });
    let d = b.dataset("app.login");
    for (i, p) in [real, drill, real, drill, drill].into_iter().enumerate() {
        let row = b.push(br#"{"result":"failed","user":"u","host":"h"}"#, p, d);
        row.event_time = Time::from_secs(i as i64);
        row.id = EventId::of(&[&i.to_le_bytes()]);
    }
    let mut found = e.events(&b.finish(), None);
    found.extend(e.end());
    let settled: Vec<_> = found.iter().filter(|o| o.is_settled).collect();
    assert_eq!(settled.len(), 1);
    assert_eq!(settled[0].drill.as_deref(), Some("run-1"));
    assert_eq!(settled[0].evidence_total, 3);
}

/// Section 5: a flood of new keys must not push a slow attack out.
#[test]
fn a_key_flood_does_not_evict_progress() {
    let (rules, _) = Rules::load([("logins.yml", RULES)]);
    let mut e = Engine::new(rules, Settings { groups_max: 100, ..Settings::default() }).unwrap();
    let mut found = Vec::new();
    let send = |e: &mut Engine, user: &str, at: i64| {
        let mut b = Batch::builder();
        let (p, d) = (b.provenance(Provenance::new("app")), b.dataset("app.login"));
        let row = b.push(format!(r#"{{"result":"failed","user":"{user}","host":"h"}}"#).as_bytes(), p, d);
        row.event_time = Time(at);
        row.id = EventId::of(&[user.as_bytes(), &at.to_le_bytes()]);
        e.events(&b.finish(), None)
    };
    send(&mut e, "victim", 0);
    send(&mut e, "victim", 1);
    for i in 0..2_000 {
        found.extend(send(&mut e, &format!("noise-{i}"), 2 + i));
    }
    assert!(found.is_empty());
    assert_eq!(send(&mut e, "victim", 5_000).len(), 1);
    let health = e.health();
    assert!(health.evicted["logins#2"] > 1_000, "evictions are counted");
}

#[test]
fn an_event_without_a_group_field_takes_no_part_and_is_counted() {
    let mut e = engine(0);
    let mut b = Batch::builder();
    let (p, d) = (b.provenance(Provenance::new("app")), b.dataset("app.login"));
    for _ in 0..5 {
        b.push(br#"{"result":"failed","host":"h"}"#, p, d).event_time = Time::from_secs(1);
    }
    assert!(e.events(&b.finish(), None).is_empty());
    assert!(e.end().is_empty());
    assert_eq!(e.health().group_field_missing["logins#2"], 5);
}

#[test]
fn base_rules_are_silent_unless_asked() {
    let base_alerts = |generate: bool| {
        let text = RULES.replace(
            "timespan: 60s\n  condition: {gte: 3}",
            &format!("timespan: 60s\n  condition: {{gte: 3}}\n  generate: {generate}"),
        );
        let (rules, refused) = Rules::load([("logins.yml", text)]);
        assert_eq!(refused, []);
        let mut e = Engine::new(rules, Settings::default()).unwrap();
        e.events(&batch(&logins(&[0])), None).len()
    };
    assert_eq!((base_alerts(false), base_alerts(true)), (0, 1));
}

#[test]
fn state_of_another_version_is_refused_and_changed_rules_start_empty() {
    let mut e = engine(0);
    e.events(&batch(&logins(&[0, 10])), None);
    let state = e.state();
    assert!(engine(0).restore(b"nonsense").is_err());
    let other = String::from_utf8(state.clone()).unwrap().replacen("\"version\":1", "\"version\":2", 1);
    assert_eq!(engine(0).restore(other.as_bytes()).unwrap_err().code(), "detect.state_version");
    let (rules, _) = Rules::load([("logins.yml", RULES.replace("gte: 3", "gte: 2"))]);
    let mut changed = Engine::new(rules, Settings::default()).unwrap();
    changed.restore(&state).unwrap();
    let asked = changed.requests();
    assert_eq!(asked.len(), 1, "only the changed correlation asks for its timespan");
    assert_eq!((asked[0].rule.as_str(), asked[0].to.since(asked[0].from)), ("logins#2", Time::MINUTE));
}
