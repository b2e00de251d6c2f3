use crate::kit::*;
use findings::{Filter, NewSuppression, Selector, Shown, SuppressionKind, Workflow};

const A: &str = "111122223333";

fn new(selector: &[(&str, &str)], until: Time) -> NewSuppression {
    NewSuppression {
        selector: Selector::parse(selector.iter().copied()).unwrap(),
        kind: SuppressionKind::Suppression,
        owner: "ana".into(),
        approver: None,
        ticket: None,
        from: Time::NONE,
        until,
    }
}

#[test]
fn it_is_a_view_with_an_end_and_an_undo() {
    let mut s = State::default();
    ingest(&mut s, &[root_use(A, [1])], 1);
    let id = only(&s);
    let stored = s.get(id).unwrap().clone();
    let c =
        run(&mut s, Command::Suppress { new: new(&[("account", A)], at(60)) }, &by("bo", 10, "lab account"));
    assert_eq!(kinds(&c), ["suppression_created", "opened"], "making one is itself a finding");
    let sup = c.suppressions[0].id.clone();
    let shown = |s: &State, m| s.shown(s.get(id).unwrap(), at(m));
    assert_eq!(
        (shown(&s, 9), shown(&s, 10), shown(&s, 59), shown(&s, 60)),
        (Shown::New, Shown::Suppressed, Shown::Suppressed, Shown::New)
    );
    assert_eq!(s.get(id).unwrap(), &stored, "nothing was written to the finding");
    let c = ingest(&mut s, &[root_use(A, [2])], 20);
    assert_eq!(occasions(&c), [(Occasion::Repeated, true)]);
    assert_eq!(s.get(id).unwrap().finding().count, 2, "it is still counted");
    let list = s.list(&Filter::parse([("type", "Policy:*")]).unwrap(), at(21)).unwrap();
    assert_eq!((list.rows.len(), list.suppressed), (0, 1), "lists show suppressed counts beside totals");
    // The undo is effective at once.
    let c = run(&mut s, Command::Unsuppress { suppression: sup.clone() }, &by("ana", 30, "not a lab"));
    assert_eq!(kinds(&c), ["suppression_ended", "resolved"], "the finding about it is over");
    assert_eq!((shown(&s, 29), shown(&s, 30)), (Shown::Suppressed, Shown::New));
    let again = decide(&s, &Command::Unsuppress { suppression: sup }, &by("ana", 31, "x")).unwrap_err();
    assert_eq!(again.code(), "suppression.ended");
}

#[test]
fn the_end_date_is_a_finding() {
    let mut s = State::default();
    ingest(&mut s, &[root_use(A, [1])], 1);
    run(&mut s, Command::Suppress { new: new(&[("rule", "root-use")], at(60)) }, &by("bo", 10, "lab"));
    assert!(run(&mut s, Command::Tick, &by("avouch", 59, "")).is_empty());
    let c = run(&mut s, Command::Tick, &by("avouch", 61, ""));
    assert_eq!(kinds(&c), ["suppression_expired", "resolved", "opened"]);
    let expired = s.entries().find(|e| e.finding().finding_type == "Avouch:Suppression/Expired").unwrap();
    assert!(expired.finding().why.contains("1 open findings show again"), "{}", expired.finding().why);
    assert!(run(&mut s, Command::Tick, &by("avouch", 62, "")).is_empty(), "said once");
}

#[test]
fn no_suppression_hides_suppressions() {
    let mut s = State::default();
    run(&mut s, Command::Suppress { new: new(&[("type", "Avouch:*")], at(60)) }, &by("eve", 1, "noise"));
    run(&mut s, Command::Suppress { new: new(&[("account", A)], at(60)) }, &by("eve", 2, "noise"));
    let hidden = s.entries().filter(|e| s.shown(e, at(3)) == Shown::Suppressed).count();
    assert_eq!((s.len(), hidden), (2, 0));
}

#[test]
fn workflow_lies_under_it() {
    let mut s = State::default();
    ingest(&mut s, &[root_use(A, [1])], 1);
    let id = only(&s);
    run(&mut s, Command::Suppress { new: new(&[("id", &id.to_string())], at(60)) }, &by("bo", 2, "lab"));
    run(&mut s, Command::Resolve { id, version: None }, &by("bo", 3, "done"));
    let e = s.get(id).unwrap();
    assert_eq!(
        (s.shown(e, at(4)), e.workflow, s.shown(e, at(61))),
        (Shown::Suppressed, Workflow::Resolved, Shown::Resolved)
    );
}

#[track_caller]
fn refused(s: &State, n: NewSuppression, b: &By, code: &str) {
    assert_eq!(decide(s, &Command::Suppress { new: n }, b).unwrap_err().code(), code);
}

#[test]
fn what_may_not_be_hidden() {
    let mut s = State::default();
    let mut critical = root_use(A, [1]);
    Arc::make_mut(&mut critical.about).severity = Severity::CRITICAL;
    ingest(&mut s, &[critical], 1);
    let bo = by("bo", 2, "lab");
    let ok = new(&[("account", A)], at(60));
    refused(&s, ok.clone(), &bo, "suppression.needs_second_person");
    refused(
        &s,
        NewSuppression { approver: Some("bo".into()), ..ok.clone() },
        &bo,
        "suppression.needs_second_person",
    );
    refused(
        &s,
        NewSuppression { approver: Some("ana".into()), ..ok.clone() },
        &bo,
        "suppression.needs_second_person",
    );
    decide(&s, &Command::Suppress { new: NewSuppression { approver: Some("cy".into()), ..ok.clone() } }, &bo)
        .unwrap();
    refused(&s, NewSuppression { owner: " ".into(), ..ok.clone() }, &bo, "suppression.no_owner");
    refused(&s, NewSuppression { until: at(2), ..ok.clone() }, &bo, "suppression.ends_before_start");
    refused(&s, NewSuppression { until: at(401 * 24 * 60), ..ok.clone() }, &bo, "suppression.too_long");
    refused(&s, ok, &by("bo", 2, ""), "finding.no_reason");
    let bad = |pairs: &[(&str, &str)]| Selector::parse(pairs.iter().copied()).unwrap_err().code();
    assert_eq!(bad(&[("severity", "low")]), "suppression.hides_everything");
    assert_eq!(bad(&[("type", "*")]), "suppression.hides_everything");
    assert_eq!(bad(&[("account", "!1")]), "suppression.hides_everything");
    assert_eq!(bad(&[("account", A), ("q", "x")]), "suppression.bad_selector");

    let mut many = State::default();
    let all: Vec<Occurrence> = (0..101).map(|i| root_use(&format!("{i}"), [i])).collect();
    ingest(&mut many, &all, 1);
    refused(&many, new(&[("rule", "root-use")], at(60)), &bo, "suppression.needs_second_person");

    let mut access = State::default();
    let mut open = root_use(A, [1]);
    Arc::make_mut(&mut open.about).source = FindingSource::Access;
    Arc::make_mut(&mut open.subject).resource = Some("arn:aws:s3:::public".into());
    ingest(&mut access, &[open], 1);
    refused(&access, new(&[("account", A)], at(60)), &bo, "suppression.needs_named_resource");
    refused(&access, new(&[("resource", "arn:aws:s3:::*")], at(60)), &bo, "suppression.needs_named_resource");
    let named = new(&[("resource", "arn:aws:s3:::public")], at(60));
    decide(&access, &Command::Suppress { new: named }, &bo).unwrap();
}

#[test]
fn prolonging_is_a_finding_and_a_stored_suppression_comes_back() {
    let mut s = State::default();
    ingest(&mut s, &[root_use(A, [1])], 1);
    let c = run(&mut s, Command::Suppress { new: new(&[("account", A)], at(60)) }, &by("bo", 2, "lab"));
    let id = c.suppressions[0].id.clone();
    let c = run(&mut s, Command::Prolong { suppression: id.clone(), until: at(90) }, &by("bo", 3, "longer"));
    assert_eq!(kinds(&c), ["suppression_prolonged", "opened"]);
    let c = run(&mut s, Command::Prolong { suppression: id, until: at(70) }, &by("bo", 4, "shorter"));
    assert_eq!(kinds(&c), ["suppression_prolonged"], "an earlier end hides less");
    let entries: Vec<Vec<u8>> = s.entries().map(|e| serde_json::to_vec(e).unwrap()).collect();
    let sups: Vec<Vec<u8>> = s.suppressions().map(|e| serde_json::to_vec(e).unwrap()).collect();
    assert_eq!(State::load(entries.iter().map(Vec::as_slice), sups.iter().map(Vec::as_slice)).unwrap(), s);
}
