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

const BUCKET: &str = "arn:aws:s3:::open";

/// Access from outside to [`BUCKET`] by `principal`, with one access level, and a key that is tested or none.
fn reach(principal: &str, level: &[&str], condition: &[&str], is_public: bool) -> Occurrence {
    let rule = if is_public { "access.public" } else { "access.external.account" };
    let key = [("principal".to_owned(), principal.to_owned()), ("condition".to_owned(), condition.join(","))];
    let mut o = said(root_use(A, []), |about| {
        about.source = FindingSource::Access;
        about.rule.name = rule.into();
        about.finding_type = rule.into();
        let list = |values: &[&str]| values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>();
        about.attributes = [
            ("principal", list(&[principal])),
            ("level", list(level)),
            ("condition", list(condition)),
            ("public", list(&[if is_public { "true" } else { "false" }])),
            ("confidence", list(&["confirmed"])),
        ]
        .map(|(k, v)| (k.to_owned(), v))
        .into();
    });
    o.id = Occurrence::identity(rule, Some(A), None, Some(BUCKET), &key);
    o.subject = Arc::new(Subject {
        account: Some(A.into()),
        resource: Some(BUCKET.into()),
        key: key.to_vec(),
        ..Subject::default()
    });
    o
}

fn intended(selector: &[(&str, &str)]) -> NewSuppression {
    NewSuppression { kind: SuppressionKind::Intended, ..new(selector, at(60 * 24 * 30)) }
}

/// What is shown of the findings about access from outside, by rule and principal.
fn seen(s: &State, minutes: i64) -> Vec<(&str, Shown)> {
    let of_access = s.entries().filter(|e| e.finding().source == FindingSource::Access);
    let mut out: Vec<_> =
        of_access.map(|e| (e.finding().rule.name.as_str(), s.shown(e, at(minutes)))).collect();
    out.sort();
    out
}

#[test]
fn an_intended_access_hides_no_public_one_unless_it_says_so_and_names_the_resource() {
    let mut s = State::default();
    ingest(&mut s, &[reach("222233334444", &["Read"], &[], false)], 1);
    let bo = by("bo", 2, "partner");
    run(&mut s, Command::Suppress { new: intended(&[("account", A)]) }, &bo);
    let c = ingest(&mut s, &[reach("*", &["Read"], &[], true)], 3);
    assert_eq!(occasions(&c), [(Occasion::Opened, false)], "new public access is not intended by that");
    let public = ("access.public", Shown::New);
    assert_eq!(seen(&s, 4), [("access.external.account", Shown::Suppressed), public]);
    for open in [
        &[("rule", "access.public")][..],
        &[("account", A), ("public", "true")],
        &[("resource", "arn:aws:s3:::*"), ("public", "true")],
        &[("rule", "access.public"), ("resource", BUCKET)],
    ] {
        refused(&s, intended(open), &bo, "suppression.needs_named_resource");
    }
    run(
        &mut s,
        Command::Suppress { new: intended(&[("public", "true"), ("resource", BUCKET)]) },
        &by("bo", 5, "web site"),
    );
    assert_eq!(seen(&s, 6)[1], ("access.public", Shown::Suppressed));
    // The finding itself may be named as well.
    let mut by_id = State::default();
    ingest(&mut by_id, &[reach("*", &["Read"], &[], true)], 1);
    let id = only(&by_id).to_string();
    run(&mut by_id, Command::Suppress { new: intended(&[("id", &id)]) }, &bo);
    assert_eq!(seen(&by_id, 6), [("access.public", Shown::Suppressed)]);
}

#[test]
fn what_may_be_possible_has_to_be_named_as_such() {
    let mut s = State::default();
    let possible = said(reach("222233334444", &["Read"], &[], false), |a| {
        a.attributes.insert("confidence".into(), vec!["possible".into()]);
    });
    ingest(&mut s, &[possible], 1);
    let bo = by("bo", 2, "partner");
    refused(&s, intended(&[("principal", "222233334444")]), &bo, "suppression.needs_named_resource");
    run(
        &mut s,
        Command::Suppress { new: intended(&[("confidence", "possible"), ("resource", BUCKET)]) },
        &bo,
    );
    assert_eq!(seen(&s, 3), [("access.external.account", Shown::Suppressed)]);
}

#[test]
fn intended_access_that_grows_shows_again() {
    for (wider, says) in [
        (reach("222233334444", &["Read", "Write"], &["aws:sourceip"], false), "it gained access level Write"),
        (reach("222233334444", &["Read"], &[], false), "it lost the condition on aws:sourceip"),
        (reach("222233334444", &["Read"], &["aws:sourceip"], true), ""),
    ] {
        let mut s = State::default();
        ingest(&mut s, &[reach("222233334444", &["Read"], &["aws:sourceip"], false)], 1);
        let rule = intended(&[("principal", "222233334444")]);
        run(&mut s, Command::Suppress { new: rule.clone() }, &by("bo", 2, "partner"));
        assert_eq!(seen(&s, 3), [("access.external.account", Shown::Suppressed)]);
        let c = ingest(&mut s, &[Occurrence { time: at(4), ..wider }], 4);
        assert!(occasions(&c).contains(&(Occasion::Opened, false)), "{says}: {:?}", occasions(&c));
        let told = c.events.iter().any(|e| e.detail.get("cause").is_some_and(|c| c == says));
        assert!(told || says.is_empty(), "the vault hears why: {:?}", c.events);
        assert!(seen(&s, 5).iter().any(|(_, shown)| *shown == Shown::New));
        // Somebody looked at it again.
        if !says.is_empty() {
            run(&mut s, Command::Suppress { new: rule }, &by("bo", 6, "partner writes as well"));
            assert!(seen(&s, 7).iter().all(|(_, shown)| *shown == Shown::Suppressed));
        }
    }
}

#[test]
fn the_use_of_a_rule_is_on_record() {
    let mut s = State::default();
    let c = run(
        &mut s,
        Command::Suppress { new: intended(&[("principal", "222233334444")]) },
        &by("bo", 2, "partner"),
    );
    let rule = c.suppressions[0].id.clone();
    let c = ingest(&mut s, &[reach("222233334444", &["Read"], &[], false)], 3);
    assert_eq!(c.events[0].detail.get("hidden_by"), Some(&rule));
    assert_eq!(occasions(&c), [(Occasion::Opened, true)]);
}

#[test]
fn an_end_is_announced_two_weeks_before() {
    let mut s = State::default();
    let day = |n: i64| n * 24 * 60;
    ingest(&mut s, &[root_use(A, [1])], 1);
    let c = run(&mut s, Command::Suppress { new: new(&[("account", A)], at(day(30))) }, &by("bo", 2, "lab"));
    let id = c.suppressions[0].id.clone();
    assert!(run(&mut s, Command::Tick, &by("avouch", day(15), "")).is_empty());
    let c = run(&mut s, Command::Tick, &by("avouch", day(16) + 1, ""));
    assert_eq!(kinds(&c), ["opened"]);
    assert_eq!(c.events[0].finding_type.as_deref(), Some("Avouch:Suppression/Ending"));
    let ending = c.events[0].finding.unwrap();
    run(&mut s, Command::Resolve { id: ending, version: None }, &by("bo", day(17), "I know"));
    assert!(run(&mut s, Command::Tick, &by("avouch", day(18), "")).is_empty(), "said once");
    run(&mut s, Command::Prolong { suppression: id, until: at(day(60)) }, &by("bo", day(19), "longer"));
    assert!(run(&mut s, Command::Tick, &by("avouch", day(20), "")).is_empty());
    let c = run(&mut s, Command::Tick, &by("avouch", day(47), ""));
    assert_eq!(kinds(&c), ["reopened"], "and again before the later end");
}

#[test]
fn what_stands_open_is_as_bad_as_it_is_now() {
    let mut s = State::default();
    let at_minute = |mut o: Occurrence, minutes, severity| {
        o.time = at(minutes);
        said(o, |a| a.severity = severity)
    };
    let open = || reach("222233334444", &["Read"], &[], false);
    ingest(&mut s, &[at_minute(open(), 1, Severity::CRITICAL)], 1);
    ingest(&mut s, &[at_minute(open(), 2, Severity::LOW)], 2);
    assert_eq!(s.get(only(&s)).unwrap().severity(), Severity::LOW);
}
