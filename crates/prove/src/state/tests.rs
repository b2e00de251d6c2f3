use super::*;
use crate::load::Register;
use crate::look::path_fingerprint;
use crate::record::MISSING;
use model::ProofStep;
use std::collections::BTreeMap;

const NOW: Time = Time(1_000 * Time::DAY);

fn entry(more: &str) -> Entry {
    let drill =
        if more.contains("drill:") { "" } else { "drill: { kind: canary, back_read: { within: 60s } }," };
    let owner = if more.contains("owner:") { "" } else { "owner: { person: a@example.org, team: t }," };
    let text = format!(
        "- {{ id: t.one, claim: x 1, answers: [M-1], scope: {{ sources: [s] }}, every: 1h, valid_for: 2h, {owner} {drill} {more} }}"
    );
    Register::load(&[("t.yaml".into(), text)]).unwrap().entries.remove(0)
}

fn seen(configured: &[Observation], effective: &[Observation]) -> Seen {
    Seen {
        instance: Instance([("source".to_owned(), "s".to_owned())].into()),
        configured: configured.to_vec(),
        effective: effective.to_vec(),
        path: path_fingerprint("x", &BTreeMap::new()),
    }
}

fn yes() -> Observation {
    observation::yes("yes", "self", NOW)
}
fn no() -> Observation {
    observation::no("90d", "self", NOW)
}
fn unknown() -> Observation {
    observation::unknown("permission: s3:X", "aws", NOW)
}

/// A run of the control, `ago` before now, in its outcome.
fn run(e: &Entry, ago: i64, outcome: ProofOutcome) -> Proof {
    let at = NOW.plus(-ago);
    let passed = match outcome {
        ProofOutcome::Passed => Some(true),
        ProofOutcome::Failed => Some(false),
        ProofOutcome::Inconclusive => None,
    };
    Proof {
        run: format!("run{ago}"),
        control: e.control.id.clone(),
        control_hash: e.hash.clone(),
        instance: seen(&[], &[]).instance,
        nonce: String::new(),
        commitment: String::new(),
        steps: vec![ProofStep {
            name: "at the sink".into(),
            expected: String::new(),
            got: String::new(),
            at,
            passed,
            evidence: if passed.is_none() {
                [(MISSING.to_owned(), "credential: siem-reader".to_owned())].into()
            } else {
                BTreeMap::new()
            },
        }],
        outcome,
        figure: "3 of 3 in 3.1 s".into(),
        path_fingerprint: seen(&[], &[]).path,
        binary_hash: String::new(),
        started: at,
        finished: at,
        valid_until: at.plus(2 * Time::HOUR),
        actor: String::new(),
    }
}

fn short(s: &Standing) -> String {
    let column = |v: serde_json::Value| v["is"].as_str().unwrap_or_default().to_owned();
    format!(
        "{} | {} {} {} | {}",
        s.state.term(),
        column(serde_json::to_value(&s.configured).unwrap()),
        column(serde_json::to_value(&s.effective).unwrap()),
        column(serde_json::to_value(&s.last_proven).unwrap()),
        s.reason
    )
}

#[track_caller]
fn check(e: &Entry, s: &Seen, proofs: &[Proof], expect: &str) {
    let refs: Vec<&Proof> = proofs.iter().collect();
    assert_eq!(short(&state(e, s, &refs, &[], &Context::at(NOW))), expect);
}

#[test]
fn each_of_the_seven_states_is_reached() {
    let e = entry("");
    let fine = seen(&[yes()], &[yes()]);
    let hour_ago = run(&e, Time::HOUR, ProofOutcome::Passed);
    check(&e, &seen(&[no()], &[yes()]), &[], "failed | no yes never | not set up: 90d");
    check(&e, &seen(&[unknown()], &[yes()]), &[], "unknown | unknown yes never | permission: s3:X");
    check(
        &e,
        &fine,
        &[run(&e, 3 * Time::HOUR, ProofOutcome::Passed)],
        "stale | yes yes expired | the proof expired 1972-09-26",
    );
    let p = entry("planned: { until: 1975-01-01, ticket: X-1 }");
    check(
        &p,
        &seen(&[no()], &[unknown()]),
        &[],
        "planned | no unknown never | planned until 1975-01-01 (X-1)",
    );
    check(&e, &seen(&[yes()], &[]), &[], "configured | yes not_read never | nothing reads it");
    check(&e, &fine, &[], "effective | yes yes never | in force, never exercised");
    check(&e, &fine, &[hour_ago], "proven | yes yes on | 3 of 3 in 3.1 s");
}

#[test]
fn failed_comes_before_everything() {
    let e = entry("");
    let fine = seen(&[yes()], &[yes()]);
    let (passed, failed) =
        (run(&e, Time::HOUR, ProofOutcome::Passed), run(&e, Time::MINUTE, ProofOutcome::Failed));
    check(
        &e,
        &fine,
        &[passed.clone(), failed.clone()],
        "failed | yes yes failed | the last run failed at `at the sink`",
    );
    check(
        &e,
        &seen(&[yes()], &[no()]),
        std::slice::from_ref(&passed),
        "failed | yes no on | not in force: 90d",
    );
    check(&e, &seen(&[unknown(), no()], &[unknown()]), &[], "failed | no unknown never | not set up: 90d");
    // Only a complete passing run heals, and the failure stays visible.
    let healed = run(&e, Time::SECOND, ProofOutcome::Passed);
    let all = [&passed, &failed, &healed];
    let s = state(&e, &fine, &all, &[], &Context::at(NOW));
    assert_eq!((s.state, s.recent_failures.len()), (ControlState::Proven, 1));
    let mut cut = run(&e, Time::SECOND, ProofOutcome::Inconclusive);
    cut.run = "later".into();
    check(&e, &fine, &[failed, cut], "failed | yes yes failed | the last run failed at `at the sink`");
}

#[test]
fn two_sources_that_disagree_are_contended() {
    let e = entry(
        "configured: [{ probe: terraform, expr: \"g.days <= 7\" }, { probe: aws, call: c, expr: \"g.days <= 7\" }, { probe: self, expr: \"x.y\" }]",
    );
    let tf = |v: &str, holds| Observation { holds: Some(holds), ..observation::yes(v, "terraform", NOW) };
    let mut script = observation::yes("7", "aws", NOW);
    script.by = Some("ci-role 11:40".into());
    check(
        &e,
        &seen(&[tf("90", false), script.clone()], &[yes()]),
        &[],
        "failed | contended yes never | contended: terraform says 90; aws (ci-role 11:40) says 7",
    );
    check(&e, &seen(&[tf("90", false), no()], &[yes()]), &[], "failed | no yes never | not set up: 90");
    // Another fact that holds is no second opinion about this one.
    check(
        &e,
        &seen(&[tf("90", false), unknown(), yes()], &[yes()]),
        &[],
        "failed | no yes never | not set up: 90",
    );
    let policy = entry(
        "configured: [{ probe: policy, value: 8s, source: paper }, { probe: self, expr: \"t <= duration('8s')\" }]",
    );
    let paper = observation::yes("8s", "paper", NOW);
    check(
        &policy,
        &seen(&[paper, observation::no("20s", "self", NOW)], &[yes()]),
        &[],
        "failed | contended yes never | contended: self says 20s; paper says 8s",
    );
}

#[test]
fn a_plan_fails_after_its_day_and_not_before() {
    let ahead = entry("planned: { until: 1975-01-01, ticket: X-1 }");
    check(&ahead, &seen(&[yes()], &[no()]), &[], "planned | yes no never | planned until 1975-01-01 (X-1)");
    check(
        &ahead,
        &seen(&[unknown()], &[unknown()]),
        &[],
        "unknown | unknown unknown never | permission: s3:X",
    );
    check(&ahead, &seen(&[yes()], &[yes()]), &[], "effective | yes yes never | in force, never exercised");
    let late = entry("planned: { until: 1971-01-01, ticket: X-1 }");
    check(
        &late,
        &seen(&[no()], &[no()]),
        &[],
        "failed | no no never | planned until 1971-01-01, and that has passed (X-1)",
    );
    check(&late, &seen(&[yes()], &[yes()]), &[], "effective | yes yes never | in force, never exercised");
}

#[test]
fn an_owner_must_be_somebody() {
    let fine = seen(&[yes()], &[yes()]);
    for owner in [
        "{ person: \"[NAME]\", team: t }",
        "{ person: \"\", team: t }",
        "{ person: TBD, team: t }",
        "{ person: a, team: \"[TEAM]\" }",
    ] {
        let s = state(&entry(&format!("owner: {owner}")), &fine, &[], &[], &Context::at(NOW));
        assert_eq!(s.state, ControlState::Failed, "{owner}");
    }
    let mut ctx = Context::at(NOW);
    ctx.departed.insert("a@example.org".into());
    let s = state(&entry(""), &fine, &[], &[], &ctx);
    assert_eq!(s.reason, "its owner a@example.org has left");
}

#[test]
fn a_live_proof_outweighs_a_probe_that_cannot_look() {
    let e = entry("");
    let blind = seen(&[unknown()], &[unknown()]);
    check(
        &e,
        &blind,
        &[run(&e, Time::HOUR, ProofOutcome::Passed)],
        "proven | unknown unknown on | 3 of 3 in 3.1 s",
    );
    check(
        &e,
        &blind,
        &[run(&e, 3 * Time::HOUR, ProofOutcome::Passed)],
        "unknown | unknown unknown expired | permission: s3:X",
    );
}

#[test]
fn an_inconclusive_run_neither_renews_nor_revokes() {
    let e = entry("");
    let fine = seen(&[yes()], &[yes()]);
    let open = run(&e, Time::MINUTE, ProofOutcome::Inconclusive);
    check(&e, &fine, std::slice::from_ref(&open), "unknown | yes yes unknown | credential: siem-reader");
    let live = run(&e, Time::HOUR, ProofOutcome::Passed);
    check(&e, &fine, &[live.clone(), open.clone()], "proven | yes yes on | 3 of 3 in 3.1 s");
    let s = state(&e, &fine, &[&live, &open], &[], &Context::at(NOW));
    assert!(s.last_attempt.unwrap().ends_with("inconclusive: credential: siem-reader"));
    let old = run(&e, 3 * Time::HOUR, ProofOutcome::Passed);
    check(&e, &fine, &[old, open], "unknown | yes yes unknown | credential: siem-reader");
}

#[test]
fn a_changed_path_or_control_is_stale() {
    let e = entry("");
    let fine = seen(&[yes()], &[yes()]);
    let mut other_path = run(&e, Time::HOUR, ProofOutcome::Passed);
    other_path.path_fingerprint = "other".into();
    check(
        &e,
        &fine,
        &[other_path],
        "stale | yes yes on | the path it was proven over changed since 1972-09-26",
    );
    let mut old_version = run(&e, Time::HOUR, ProofOutcome::Passed);
    old_version.control_hash = "other".into();
    check(
        &e,
        &fine,
        &[old_version.clone()],
        "stale | yes yes on | the control changed since its proof of 1972-09-26",
    );
    // Rewording a claim does not wash its failure away.
    old_version.outcome = ProofOutcome::Failed;
    old_version.steps[0].passed = Some(false);
    check(
        &e,
        &fine,
        &[old_version],
        "stale | yes yes failed | the control changed since its run of 1972-09-26 failed",
    );
}

#[test]
fn a_proof_of_another_instance_or_control_is_none() {
    let e = entry("");
    let fine = seen(&[yes()], &[yes()]);
    let mut other = run(&e, Time::HOUR, ProofOutcome::Passed);
    other.instance = Instance([("source".to_owned(), "new".to_owned())].into());
    check(&e, &fine, &[other], "effective | yes yes never | in force, never exercised");
    let mut other = run(&e, Time::HOUR, ProofOutcome::Passed);
    other.control = "t.two".into();
    check(&e, &fine, &[other], "effective | yes yes never | in force, never exercised");
}

/// `--at`: the register as it stood knows nothing of later runs.
#[test]
fn a_run_after_the_moment_asked_for_does_not_count() {
    let e = entry("");
    let later = run(&e, -Time::HOUR, ProofOutcome::Failed);
    check(&e, &seen(&[yes()], &[yes()]), &[later], "effective | yes yes never | in force, never exercised");
}

#[test]
fn zero_subjects_never_become_proven() {
    let e = entry("");
    let none = seen(&[yes()], &[yes(), observation::vacuous("self", NOW)]);
    let s = state(&e, &none, &[&run(&e, Time::HOUR, ProofOutcome::Passed)], &[], &Context::at(NOW));
    assert_eq!((s.state, s.ceiling), (ControlState::Effective, Some(Ceiling::Vacuous)));
}

#[test]
fn a_drill_that_does_not_exist_here_was_never_run() {
    let e = entry("drill: { kind: retain, limit: 7d }");
    check(
        &e,
        &seen(&[yes()], &[yes()]),
        &[],
        "effective | yes yes never | in force, never exercised: this build has no `retain` drill",
    );
    let e = entry("drill: { kind: tamper, copy: digests }");
    check(
        &e,
        &seen(&[yes()], &[yes()]),
        &[],
        "effective | yes yes never | in force, never exercised: this build has no `tamper` drill of digests",
    );
    let e = entry("drill: { kind: none, because: read on every look }");
    check(
        &e,
        &seen(&[yes()], &[yes()]),
        &[],
        "effective | yes yes never | in force, not exercised: read on every look",
    );
}

#[test]
fn a_first_proof_can_mature() {
    let e = entry("drill: { kind: retain, limit: 7d }");
    let mut p = run(&e, Time::HOUR, ProofOutcome::Inconclusive);
    p.steps[0].evidence = [(MATURING.to_owned(), NOW.plus(Time::DAY).to_string())].into();
    check(
        &e,
        &seen(&[yes()], &[yes()]),
        &[p],
        "effective | yes yes maturing | the first proof matures on 1972-09-28",
    );
}

#[test]
fn a_signature_is_no_proof_and_ends() {
    let e = entry("drill: { kind: attest, by: [lead], evidence: e }");
    let word = |ago: i64, life: i64| Attestation {
        control: "t.one".into(),
        statement: "x".into(),
        by: "ana".into(),
        at: NOW.plus(-ago),
        until: NOW.plus(-ago + life),
        evidence: vec![],
    };
    let of = |s: &Seen, words: &[Attestation]| {
        let refs: Vec<&Attestation> = words.iter().collect();
        let s = state(&e, s, &[], &refs, &Context::at(NOW));
        (short(&s), s.ceiling)
    };
    let bare = seen(&[], &[]);
    assert_eq!(
        of(&bare, &[]).0,
        "unknown | unknown not_read never | attestation: by lead, never given (avouch controls attest t.one)"
    );
    let (text, ceiling) = of(&bare, &[word(Time::DAY, 2 * Time::DAY)]);
    assert_eq!(
        (text.as_str(), ceiling),
        ("effective | yes yes attested | confirmed by ana", Some(Ceiling::Attested))
    );
    assert_eq!(
        of(&bare, &[word(3 * Time::DAY, 2 * Time::DAY)]).0,
        "stale | yes yes attested | the confirmation by ana expired 1972-09-26"
    );
    // N-42: evidence that was read may contradict the statement; a reader that is missing contradicts nothing.
    let (text, _) = of(&seen(&[no()], &[]), &[word(Time::DAY, 2 * Time::DAY)]);
    assert_eq!(text, "failed | no no attested | not set up: the evidence contradicts it: 90d");
    let (text, _) = of(&seen(&[unknown()], &[]), &[word(Time::DAY, 2 * Time::DAY)]);
    assert!(text.starts_with("effective"));
    // A signature given for tomorrow does not count today.
    assert!(of(&bare, &[word(-Time::DAY, Time::DAY)]).0.starts_with("unknown"));
}

#[test]
fn a_planned_attested_control_waits_for_its_day() {
    let e = entry("drill: { kind: attest, by: [lead] }, planned: { until: 1975-01-01, ticket: X-1 }");
    check(&e, &seen(&[], &[]), &[], "planned | no not_read never | planned until 1975-01-01 (X-1)");
    let e = entry("drill: { kind: attest, by: [lead] }, planned: { until: 1971-01-01, ticket: X-1 }");
    check(
        &e,
        &seen(&[], &[]),
        &[],
        "failed | no not_read never | planned until 1971-01-01, and that has passed (X-1)",
    );
}

/// C1, exhaustively: over every combination of answers, runs, plan and age, "proven" needs a live passing run of this version over
/// this path, and nothing that says no.
#[test]
fn proven_is_never_said_without_a_live_passing_run() {
    // C1: "proven" only from a live proof by exercise.
    let answers = [
        yes(),
        no(),
        unknown(),
        observation::vacuous("self", NOW),
        observation::not_read("later", "self", NOW),
    ];
    let outcomes =
        [None, Some(ProofOutcome::Passed), Some(ProofOutcome::Failed), Some(ProofOutcome::Inconclusive)];
    let mut reached = std::collections::BTreeSet::new();
    for plan in
        ["", "planned: { until: 1975-01-01, ticket: X-1 }", "planned: { until: 1971-01-01, ticket: X-1 }"]
    {
        let e = entry(plan);
        for (c, f) in answers.iter().flat_map(|c| answers.iter().map(move |f| (c, f))) {
            for (first, second) in outcomes.iter().flat_map(|a| outcomes.iter().map(move |b| (*a, *b))) {
                for (ago, changed) in [(Time::HOUR, false), (3 * Time::HOUR, false), (Time::HOUR, true)] {
                    let mut proofs: Vec<Proof> = [(first, ago + Time::MINUTE), (second, ago)]
                        .into_iter()
                        .filter_map(|(o, ago)| Some(run(&e, ago, o?)))
                        .collect();
                    if changed {
                        proofs.iter_mut().for_each(|p| p.path_fingerprint = "other".into());
                    }
                    let refs: Vec<&Proof> = proofs.iter().collect();
                    let s = state(
                        &e,
                        &seen(std::slice::from_ref(c), std::slice::from_ref(f)),
                        &refs,
                        &[],
                        &Context::at(NOW),
                    );
                    reached.insert(s.state);
                    let newest =
                        [second, first].into_iter().flatten().find(|o| *o != ProofOutcome::Inconclusive);
                    let live = newest == Some(ProofOutcome::Passed) && !changed && ago == Time::HOUR;
                    let is_denied = c.holds == Some(false) || f.holds == Some(false);
                    if s.state == ControlState::Proven {
                        assert!(live && !is_denied && f.value != observation::VACUOUS, "{}", short(&s));
                    }
                    if newest == Some(ProofOutcome::Failed) && !changed {
                        assert_eq!(s.state, ControlState::Failed, "{}", short(&s));
                    }
                    if is_denied && plan.is_empty() {
                        assert_eq!(s.state, ControlState::Failed, "{}", short(&s));
                    }
                }
            }
        }
    }
    assert_eq!(reached.len(), 7, "{reached:?}");
}
