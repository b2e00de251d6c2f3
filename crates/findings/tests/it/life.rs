use crate::kit::*;
use findings::{Record, Verdict, Verification, Workflow};

const A: &str = "111122223333";

#[test]
fn three_hundred_root_calls_are_one_finding_with_count_300() {
    let mut s = State::default();
    for n in 0..300 {
        ingest(&mut s, &[root_use(A, [n])], n as i64);
    }
    let e = s.get(only(&s)).unwrap();
    let f = e.finding();
    assert_eq!((f.count, f.first_seen, f.last_seen), (300, at(0), at(299)));
    assert_eq!((f.evidence.len(), f.evidence[0].seq), (findings::EVIDENCE_KEPT, 100));
    assert_eq!(e.history.len(), 1, "a count is no step: {:?}", e.history);
}

#[test]
fn an_occurrence_that_names_fewer_events_than_it_saw_still_counts_them() {
    let mut s = State::default();
    let mut o = root_use(A, 0..5);
    o.evidence_total = 5_000;
    ingest(&mut s, &[o], 0);
    assert_eq!(s.get(only(&s)).unwrap().finding().count, 5_000);
}

#[test]
fn opened_repeated_raised() {
    let mut s = State::default();
    let c = ingest(&mut s, &[root_use(A, [1])], 1);
    assert_eq!((kinds(&c), occasions(&c)), (vec!["opened"], vec![(Occasion::Opened, false)]));
    let c = ingest(&mut s, &[root_use(A, [2])], 2);
    assert_eq!((kinds(&c), occasions(&c)), (vec![], vec![(Occasion::Repeated, false)]));
    let c = ingest(&mut s, &[root_use(A, [2])], 3);
    assert!(c.is_empty() && c.notices.is_empty(), "a repeat of what is known is nothing: {c:?}");
    let id = only(&s);
    run(&mut s, Command::Notify { id }, &by("alert", 4, "sent"));
    assert_eq!(s.get(id).unwrap().workflow, Workflow::Notified);
    let mut worse = root_use(A, [3]);
    Arc::make_mut(&mut worse.about).severity = Severity::CRITICAL;
    let c = ingest(&mut s, &[worse], 5);
    assert_eq!((kinds(&c), occasions(&c)), (vec!["raised", "reopened"], vec![(Occasion::Raised, false)]));
    assert_eq!(s.get(id).unwrap().workflow, Workflow::New, "a rise reopens what people were told of");
}

#[test]
fn recurrence_after_resolve_reopens_and_a_replay_does_not() {
    let mut s = State::default();
    ingest(&mut s, &[root_use(A, [1, 2])], 2);
    let id = only(&s);
    let c = run(&mut s, Command::Resolve { id, version: Some(0) }, &by("ana", 10, "was me, ticket 7"));
    assert_eq!((kinds(&c), occasions(&c)), (vec!["resolved"], vec![(Occasion::Recovered, false)]));
    assert_eq!((c.events[0].who.as_str(), c.events[0].why.as_str()), ("ana", "was me, ticket 7"));
    assert_eq!(c.events[0].detail["from"], "NEW");
    let c = ingest(&mut s, &[root_use(A, [1]), root_use(A, [2])], 11);
    assert!(c.is_empty(), "the detector started again and said it again: {c:?}");
    let c = ingest(&mut s, &[root_use(A, [3])], 12);
    assert_eq!((kinds(&c), occasions(&c)), (vec!["reopened"], vec![(Occasion::Opened, false)]));
    assert_eq!(s.get(id).unwrap().workflow, Workflow::New);
}

#[test]
fn provisional_is_replaced_by_settled() {
    let mut s = State::default();
    let provisional = |seqs: std::ops::Range<u64>| Occurrence { is_settled: false, ..root_use(A, seqs) };
    ingest(&mut s, &[provisional(0..10)], 1);
    let id = only(&s);
    assert!(!s.get(id).unwrap().finding().is_settled);
    // The episode settles with a straggler and without one event that an earlier guess had.
    ingest(&mut s, &[root_use(A, (0..9).chain([20]))], 30);
    let f = s.get(id).unwrap().finding();
    assert_eq!((f.is_settled, f.count), (true, 10));
    assert!(f.evidence.iter().all(|e| e.seq != 9), "the settled evidence is final");
    let c = ingest(&mut s, &[provisional(0..10)], 31);
    assert!(c.is_empty() && c.notices.is_empty(), "said again after it was replaced");
    ingest(&mut s, &[provisional(40..42)], 43);
    let f = s.get(id).unwrap().finding();
    assert_eq!((f.is_settled, f.count), (false, 12), "a later episode shows on top");
}

#[test]
fn drills_are_filed_apart() {
    let mut s = State::default();
    let real = root_use(A, [1]);
    let drill = Occurrence { drill: Some("run1".into()), ..root_use(A, [2]) };
    ingest(&mut s, &[real.clone(), drill], 3);
    assert_eq!(s.len(), 2, "one id, but a canary never joins a real finding");
    assert_eq!(s.get(real.id).unwrap().finding().count, 1);
    let t = s.totals(at(4));
    assert_eq!((t.open["high"], t.drills, t.states["NEW"]), (1, 1, 1));
}

#[test]
fn a_check_that_cannot_look_resolves_nothing() {
    let mut s = State::default();
    ingest(&mut s, &[root_use(A, [1])], 1);
    let id = only(&s);
    let judge = |s: &mut State, v, m| run(s, Command::Judge { id, verdict: v }, &by("prove", m, "looked"));
    assert!(occasions(&judge(&mut s, Verdict::Unknown, 2)).is_empty());
    assert_eq!(s.get(id).unwrap().workflow, Workflow::New);
    assert_eq!(occasions(&judge(&mut s, Verdict::Pass, 3)), [(Occasion::Recovered, false)]);
    assert_eq!(s.get(id).unwrap().workflow, Workflow::Resolved);
    assert_eq!(occasions(&judge(&mut s, Verdict::Unknown, 4)), [(Occasion::Opened, false)]);
    assert!(occasions(&judge(&mut s, Verdict::Fail, 5)).is_empty(), "unknown → fail is not a new finding");
}

#[test]
fn producers_and_people_do_not_write_each_others_half() {
    let mut s = State::default();
    ingest(&mut s, &[root_use(A, [1])], 1);
    let id = only(&s);
    run(&mut s, Command::Assign { id, to: Some("bo".into()), version: None }, &by("ana", 2, ""));
    run(&mut s, Command::Note { id, text: "looking".into() }, &by("bo", 3, ""));
    run(
        &mut s,
        Command::SetSeverity { id, severity: Some(Severity::LOW), version: None },
        &by("bo", 4, "lab"),
    );
    run(
        &mut s,
        Command::Verify { id, verification: Verification::BenignPositive, version: None },
        &by("bo", 4, "lab"),
    );
    let people = s.get(id).unwrap().people.clone();
    let version = s.get(id).unwrap().version;
    let mut worse = root_use(A, [5]);
    Arc::make_mut(&mut worse.about).severity = Severity::CRITICAL;
    Arc::make_mut(&mut worse.about).title = "New words".into();
    ingest(&mut s, &[worse], 6);
    let e = s.get(id).unwrap();
    assert_eq!(
        (&e.people, e.version),
        (&people, version),
        "a producer's update leaves people's half and its version"
    );
    assert_eq!(
        (e.severity(), e.finding().severity, e.finding().title.as_str()),
        (Severity::LOW, Severity::CRITICAL, "New words")
    );
}

#[test]
fn refusals() {
    let mut s = State::default();
    ingest(&mut s, &[root_use(A, [1])], 1);
    let id = only(&s);
    let err = |c: Command, b: &By| decide(&s, &c, b).unwrap_err();
    let e = err(Command::Resolve { id, version: Some(9) }, &by("ana", 2, "x"));
    assert_eq!((e.code(), e.hint().contains("findings show")), ("finding.stale", true));
    assert_eq!(err(Command::Resolve { id, version: None }, &by("ana", 2, " ")).code(), "finding.no_reason");
    assert_eq!(err(Command::Reopen { id, version: None }, &by("", 2, "x")).code(), "finding.no_actor");
    assert_eq!(
        err(Command::Note { id, text: "x".repeat(5_000) }, &by("a", 2, "")).code(),
        "finding.note_too_long"
    );
    assert_eq!(s.find("zzzz").unwrap_err().code(), "finding.unknown");
    let prefix: String = id.to_string().chars().take(5).collect();
    assert_eq!(s.find(&prefix).unwrap().id(), id);
    assert_eq!(s.find("a").unwrap_err().code(), "finding.unknown");
}

#[test]
fn age_archives_and_news_brings_back() {
    let mut s = State::default();
    ingest(&mut s, &[root_use(A, [1])], 1);
    let id = only(&s);
    let later = 91 * 24 * 60;
    let c = run(&mut s, Command::Tick, &by("avouch", later, ""));
    assert_eq!((kinds(&c), occasions(&c)), (vec!["archived"], vec![]));
    assert_eq!(s.get(id).unwrap().record, Record::Archived);
    assert!(run(&mut s, Command::Tick, &by("avouch", later + 1, "")).is_empty());
    let c = ingest(&mut s, &[root_use(A, [2])], later + 2);
    assert_eq!(occasions(&c), [(Occasion::Opened, false)]);
    assert_eq!(s.get(id).unwrap().record, Record::Active);
}

#[test]
fn stored_and_loaded_is_the_same() {
    let mut s = State::default();
    ingest(&mut s, &[root_use(A, 0..5), Occurrence { is_settled: false, ..root_use("2", 7..9) }], 10);
    let json: Vec<Vec<u8>> = s.entries().map(|e| serde_json::to_vec(e).unwrap()).collect();
    assert_eq!(State::load(json.iter().map(Vec::as_slice), []).unwrap(), s);
    assert_eq!(State::load([&b"{"[..]], []).unwrap_err().code(), "finding.stored");
}

#[test]
fn the_event_says_who_when_why() {
    let mut s = State::default();
    ingest(&mut s, &[root_use(A, [1])], 1);
    let id = only(&s);
    let c = run(&mut s, Command::Resolve { id, version: None }, &by("ana", 10, "was me"));
    expect_test::expect![[r#"{"schema":"avouch.finding/1","kind":"resolved","time":"2026-03-01T09:10:00Z","who":"ana","why":"was me","finding":"rHFYNwfEPshexAOGhtEQCQ","type":"Policy:IAMUser/RootCredentialUsage","rule":"root-use","title":"The root user was used","severity":8.0,"account":"111122223333","record":"ACTIVE","workflow":"RESOLVED","count":1,"first_seen":"2026-03-01T09:01:00Z","last_seen":"2026-03-01T09:01:00Z","version":1,"detail":{"from":"NEW","to":"RESOLVED"}}"#]]
    .assert_eq(&c.events[0].to_json());
    let row = s.row(id, at(11)).unwrap();
    let doc = serde_json::to_value(row.full()).unwrap();
    assert_eq!((doc["state"].as_str(), doc["severity"].as_f64()), (Some("RESOLVED"), Some(8.0)));
    assert_eq!(doc["evidence"][0]["fields"]["eventName"], "ConsoleLogin");
}
