//! The engine from outside: occurrences, routing, columns, explanation, tests in rule files, refusals.

use detect::sigma::rule::Placeholders;
use detect::{Engine, Rules, Settings, explain, run_tests};
use model::{Batch, Column, ColumnKind, ColumnSpec, Columns, EventId, Provenance, Time};

const TRAIL: &str = "
title: Trail stopped
id: 5e2f1b0a-0000-4000-8000-000000000001
logsource: {product: aws, service: cloudtrail}
detection:
  call: {eventSource: cloudtrail.amazonaws.com, avouch.api: StopLogging, avouch.outcome: success}
  condition: call
level: low
tags: [attack.defense-impairment]
avouch:
  type: Stealth:IAMUser/CloudTrailLoggingDisabled
  severity: 2.0
  resource: requestParameters.name
  key: [avouch.principal]
  needs: [cloudtrail.management]
  why: Calls in this account are no longer recorded.
  fix: Start logging again and find out who stopped it.
  false_positives: [A trail is being replaced.]
  budget: 1/day
tests:
  - name: stopped by a user
    fires: true
    events:
      - {eventSource: cloudtrail.amazonaws.com, eventName: StopLogging, requestParameters: {name: main}}
  - name: denied call
    fires: false
    events:
      - {eventSource: cloudtrail.amazonaws.com, eventName: StopLogging, errorCode: AccessDenied}
";

const STOP: &str = r#"{"eventSource":"cloudtrail.amazonaws.com","eventName":"StopLogging","eventTime":"2026-01-02T03:04:05Z","eventID":"e-1","recipientAccountId":"111111111111","awsRegion":"eu-west-2","sourceIPAddress":"010.000.000.007","requestParameters":{"name":"main"},"userIdentity":{"type":"AssumedRole","arn":"arn:aws:sts::111111111111:assumed-role/Ops/eve","sessionContext":{"sessionIssuer":{"arn":"arn:aws:iam::111111111111:role/Ops"}}}}"#;

fn load(text: &str) -> Rules {
    let (rules, refused) = Rules::load([("rules/trail-stopped.yml", text)]);
    assert_eq!(refused, []);
    rules
}

fn stop(provenance: Provenance) -> Batch {
    let mut b = Batch::builder();
    let (p, d) = (b.provenance(provenance), b.dataset("aws.cloudtrail"));
    let row = b.push(STOP.as_bytes(), p, d);
    row.event_time = Time::parse_rfc3339(b"2026-01-02T03:04:05Z").unwrap();
    row.id = EventId::of(&[b"x"]);
    row.seq = 42;
    b.finish()
}

#[test]
fn an_occurrence_explains_itself() {
    let mut e = Engine::new(load(TRAIL), Settings::default()).unwrap();
    let found = e.events(&stop(Provenance::new("trail")), None);
    let json = serde_json::to_string_pretty(&found).unwrap();
    let again =
        Engine::new(load(TRAIL), Settings::default()).unwrap().events(&stop(Provenance::new("trail")), None);
    assert_eq!(json, serde_json::to_string_pretty(&again).unwrap());
    expect_test::expect![[r#"
        [
          {
            "id": "Kc-4M6fS0ywE43hWPZjSAg",
            "source": "detect",
            "finding_type": "Stealth:IAMUser/CloudTrailLoggingDisabled",
            "rule": {
              "name": "trail-stopped",
              "id": "5e2f1b0a-0000-4000-8000-000000000001",
              "title": "Trail stopped",
              "hash": "a16139aa02c9a9d72d0f82e818cc6cf1aed5d963b4023a8791c11986dfe7b1c6",
              "credit": null
            },
            "title": "Trail stopped",
            "why": "Calls in this account are no longer recorded.",
            "fix": "Start logging again and find out who stopped it.",
            "severity": 2.0,
            "tags": [
              "attack.defense-impairment"
            ],
            "account": "111111111111",
            "region": "eu-west-2",
            "resource": "main",
            "key": [
              [
                "avouch.principal",
                "arn:aws:iam::111111111111:role/Ops"
              ]
            ],
            "time": "2026-01-02T03:04:05Z",
            "evidence": [
              {
                "shard": 0,
                "seq": 42,
                "event_id": "3cquDPpnjIHw_2WJLoF67w",
                "event_time": "2026-01-02T03:04:05Z",
                "dataset": "aws.cloudtrail",
                "fields": {
                  "avouch.account": "111111111111",
                  "avouch.api": "StopLogging",
                  "avouch.outcome": "success",
                  "avouch.principal": "arn:aws:iam::111111111111:role/Ops",
                  "avouch.region": "eu-west-2",
                  "avouch.source_ip": "10.0.0.7",
                  "eventName": "StopLogging",
                  "eventSource": "cloudtrail.amazonaws.com",
                  "requestParameters.name": "main",
                  "sourceIPAddress": "010.000.000.007"
                }
              }
            ],
            "evidence_total": 1,
            "is_settled": true,
            "drill": null
          }
        ]"#]]
    .assert_eq(&json);
}

#[test]
fn the_envelope_beats_the_record_and_drills_are_marked() {
    let mut e = Engine::new(load(TRAIL), Settings::default()).unwrap();
    let p = Provenance {
        canary: Some("run-7".into()),
        ..Provenance::new("trail").account("222222222222").region("us-east-1")
    };
    let found = e.events(&stop(p), None);
    assert_eq!(found[0].subject.account.as_deref(), Some("222222222222"));
    assert_eq!(found[0].subject.region.as_deref(), Some("us-east-1"));
    assert_eq!(found[0].drill.as_deref(), Some("run-7"));
}

#[test]
fn a_rule_meets_its_own_dataset_only() {
    let mut e = Engine::new(load(TRAIL), Settings::default()).unwrap();
    assert!(e.hits(&super::support::batch("app", [STOP]), None).is_empty());
    assert_eq!(e.hits(&super::support::batch("aws.cloudtrail", [STOP]), None).len(), 1);
}

fn ssh() -> (Batch, Columns) {
    const SPECS: [ColumnSpec; 4] = [
        ColumnSpec { name: "app", kind: ColumnKind::Text },
        ColumnSpec { name: "src_ip", kind: ColumnKind::Text },
        ColumnSpec { name: "severity", kind: ColumnKind::Int },
        ColumnSpec { name: "message", kind: ColumnKind::Text },
    ];
    let lines = [
        ("sshd", Some("10.0.0.7"), "Failed password for root from 10.0.0.7 port 4 ssh2"),
        ("cron", None, "Failed password for nobody"),
        ("SSHD", Some("192.168.1.1"), "Accepted publickey for root"),
    ];
    let mut columns = Columns::new(&SPECS);
    for (app, ip, message) in lines {
        for (i, v) in [(0, Some(app)), (1, ip), (3, Some(message))] {
            let Column::Text(c) = &mut columns.data[i] else { panic!() };
            c.push(v);
        }
        let Column::Int(c) = &mut columns.data[2] else { panic!() };
        c.push(Some(6));
        columns.end_row();
    }
    (
        super::support::batch("syslog", lines.map(|(a, _, m)| format!("<38>Jan  2 03:04:05 h {a}[1]: {m}"))),
        columns,
    )
}

#[track_caller]
fn text_rows(service: &str, detection: &str, expect: &[usize]) {
    let text = format!(
        "title: t\nlogsource: {{product: linux, service: {service}}}\ndetection:\n{detection}\n  condition: s\n"
    );
    let mut e = Engine::new(load(&text), Settings::default()).unwrap();
    let (batch, columns) = ssh();
    let rows: Vec<usize> = e.hits(&batch, Some(&columns)).iter().map(|h| h.row).collect();
    assert_eq!(rows, expect, "{detection}");
}

#[test]
fn text_events_are_read_from_columns_and_keywords_from_the_line() {
    text_rows("sshd", "  s: {message|startswith: 'failed password'}", &[0]);
    text_rows("syslog", "  s: {message|startswith: 'failed password'}", &[0, 1]);
    text_rows("syslog", "  s: [failed password, publickey]", &[0, 1, 2]);
    text_rows("sshd", "  s: [failed password]", &[0]);
    text_rows("syslog", "  s: {src_ip|cidr: 10.0.0.0/8}", &[0]);
    text_rows("syslog", "  s: {src_ip: null}", &[1]);
    text_rows("syslog", "  s: {severity|lte: 6, app: sshd}", &[0, 2]);
    text_rows("syslog", "  s: {severity: 6, src_ip|exists: true}", &[0, 2]);
}

/// Columns that are made as they are needed give the same answer, and the host is asked for no more than that.
#[test]
fn columns_are_asked_for_where_a_rule_looks() {
    const RULES: &str = "title: failed\nid: 1\nlogsource: {product: linux, service: syslog}\ndetection:\n  s: {message|contains: password, severity|lte: 6}\n  condition: s\n\
        ---\ntitle: twice\ncorrelation: {type: event_count, rules: [\"1\"], group-by: [app], timespan: 1m, condition: {gte: 1}, generate: true}\n";
    let (mut batch, columns) = ssh();
    let at = Time::parse_rfc3339(b"2026-01-02T03:04:05Z").unwrap();
    std::sync::Arc::make_mut(&mut batch.rows).iter_mut().for_each(|r| r.event_time = at);
    let mut whole = Engine::new(load(RULES), Settings::default()).unwrap();
    let mut asking = Engine::new(load(RULES), Settings::default()).unwrap();
    let asked = std::cell::RefCell::new(Vec::new());
    let mut found = asking.judge(&batch, &|rows, is_wanted| {
        let names: Vec<&str> = columns.specs.iter().map(|s| s.name).filter(|n| is_wanted(n)).collect();
        asked.borrow_mut().push(format!("{} rows: {}", rows.len(), names.join(" ")));
        let specs: Vec<ColumnSpec> = columns.specs.iter().filter(|s| is_wanted(s.name)).copied().collect();
        let mut some = Columns::new(&specs);
        for row in rows.rows.iter() {
            let at = batch.rows.iter().position(|r| r.raw == row.raw).unwrap();
            for (spec, to) in specs.iter().zip(&mut some.data) {
                match (columns.get(spec.name).unwrap(), to) {
                    (Column::Text(from), Column::Text(to)) => to.push(from.get(at)),
                    (Column::Int(from), Column::Int(to)) => to.push(from[at]),
                    _ => panic!(),
                }
            }
            some.end_row();
        }
        some
    });
    found.extend(asking.end());
    let mut expect = whole.events(&batch, Some(&columns));
    expect.extend(whole.end());
    assert_eq!(found, expect);
    assert_eq!(found.len(), 6, "two failures, and of each program a count that is open, then settled");
    assert_eq!(*asked.borrow(), ["3 rows: severity message", "2 rows: app src_ip severity message"]);
    assert!(
        asking
            .judge(&super::support::batch("syslog", ["<13>nothing"]), &|b, _| Columns {
                rows: b.len(),
                ..Columns::default()
            })
            .is_empty()
    );
}

#[test]
fn bad_bytes_do_not_hide_an_event() {
    let rule = "title: t\nlogsource: {product: app}\ndetection:\n  s: {a: evil}\n  k: [needle]\n  condition: 1 of *\n";
    let (rules, _) = Rules::load([("r.yml", rule)]);
    let mut e = Engine::new(rules, Settings::default()).unwrap();
    let events: [&[u8]; 5] = [
        b"{\"a\":\"evil\",\"b\":\"\xff\"}",
        b"{\"a\":\"evil\",\"b\":",
        b"{\"b\":\"x needle",
        b"{\"needle\":1}",
        b"\xff needle",
    ];
    let rows: Vec<usize> =
        e.hits(&super::support::batch("app", events), None).iter().map(|h| h.row).collect();
    assert_eq!(rows, [0, 1, 2, 4], "a key is no keyword");
    let health = e.health();
    assert_eq!((health.not_utf8, health.malformed_json), (2, 2));
}

#[test]
fn explanations_show_what_was_asked_and_seen() {
    let rules = load(TRAIL);
    let denied = STOP.replace("\"eventID\"", "\"errorCode\":\"AccessDenied\",\"eventID\"");
    let b = super::support::batch("aws.cloudtrail", [STOP, &denied]);
    let text = explain(&rules.rules[0], &[], &b, 1, None).unwrap().to_string();
    expect_test::expect![[r#"
        no  Trail stopped (trail-stopped)
          no  call
            yes eventSource: cloudtrail.amazonaws.com — saw cloudtrail.amazonaws.com
            yes avouch.api: StopLogging — saw StopLogging
            no  avouch.outcome: success — saw denied
    "#]]
    .assert_eq(&text);
    assert!(explain(&rules.rules[0], &[], &b, 0, None).unwrap().held);
    let elsewhere = super::support::batch("app", [STOP]);
    assert!(!explain(&rules.rules[0], &[], &elsewhere, 0, None).unwrap().is_routed);
}

#[test]
fn tests_in_rule_files_run_and_can_fail() {
    let report = run_tests(&load(TRAIL));
    assert!(report.is_good(), "{report:?}");
    assert_eq!((report.results.len(), report.untested.len()), (2, 0));
    let report = run_tests(&load(&TRAIL.replace("errorCode: AccessDenied", "errorCode: null")));
    assert!(!report.is_good());
    let bad: Vec<_> =
        report.results.iter().filter(|r| !r.passed()).map(|r| (r.test.as_str(), r.fired)).collect();
    assert_eq!(bad, [("denied call", true)]);
    let lonely = TRAIL.split("  - name: denied").next().unwrap();
    assert_eq!(run_tests(&load(lonely)).untested, ["trail-stopped"]);
}

#[track_caller]
fn refused(text: &str, expect: &str) {
    let (rules, refused) = Rules::load([("r.yml", text)]);
    let got: Vec<String> = refused
        .iter()
        .map(|r| format!("{} {r}{}", r.code(), r.hint().map(|h| format!(" [{h}]")).unwrap_or_default()))
        .collect();
    assert_eq!(got.join("\n"), expect);
    assert!(rules.rules.is_empty());
}

#[test]
fn refusals_name_file_place_construct_and_reason() {
    refused("a: [", "rule.yaml r.yml:2:1: `YAML` while parsing a node, did not find expected node content");
    refused("[1]", "rule.invalid r.yml:1:1: `document` is a list, not a map");
    refused("", "rule.invalid r.yml:1:1: `file` holds no document");
    refused(
        "title: t\ndetection: {s: {a: b}, condition: s}",
        "rule.missing r.yml:1:1: `logsource` is missing",
    );
    refused(
        "title: t\nlogsource: {}\ndetection:\n  s: {a: b}",
        "rule.missing r.yml:4:3: `condition` is missing",
    );
    refused(
        "title: t\nlogsource: {}\ndetection:\n  s: {a|contians: b}\n  condition: s",
        "rule.unknown_modifier r.yml:4:7: `a|contians` there is no modifier `contians` [did you mean `contains`?]",
    );
    refused(
        "title: t\nlogsource: {}\ndetection:\n  s: {a: b}\n  condition: s and t",
        "rule.condition r.yml:5:20: `t` there is no selection of this name",
    );
    refused(
        "title: t\nlogsource: {}\ndetection:\n  s: {a: b}\n  timeframe: 5m\n  condition: s",
        "rule.unsupported r.yml:5:3: `timeframe` left the specification in version 2 [write a correlation with `timespan`]",
    );
    refused(
        "title: f\nlogsource: {}\nfilter: {rules: any}",
        "rule.unsupported r.yml:3:9: `filter` filters are not built yet [put the exclusion into the rule, as `and not …`]",
    );
    refused(
        "title: t\nlevel: grave\nlogsource: {}\ndetection: {s: {a: b}, condition: s}",
        "rule.invalid r.yml:2:8: `level` `grave` is no severity: write info, low, medium, high, critical or a number from 0.0 to 10.0",
    );
    refused(
        "title: t\navouch: {sverity: 1}\nlogsource: {}\ndetection: {s: {a: b}, condition: s}",
        "rule.unknown_key r.yml:2:10: `avouch.sverity` there is no such key [did you mean `severity`?]",
    );
    refused(
        "title: c\ncorrelation: {type: temporal, rules: [x], timespan: 5m}",
        "rule.unsupported r.yml:2:21: `temporal` this type of correlation is not built yet [event_count and value_count run]",
    );
    refused(
        "title: c\ncorrelation: {type: event_count, rules: [x], timespan: 5m, condition: {gte: 2}}",
        "rule.unknown_rule r.yml:1:1: `x` names no rule that is in force; a correlation of correlations is not built yet",
    );
    refused(
        "title: c\ncorrelation: {type: event_count, rules: [x], timespan: 5w, condition: {gte: 2}}",
        "rule.invalid r.yml:2:56: `correlation.timespan` is a number and s, m, h or d, up to 90d",
    );
    refused(
        "title: c\ncorrelation: {type: event_count, rules: [x], timespan: 5m, condition: {lt: 2}}",
        "rule.unsupported r.yml:2:72: `correlation.condition.lt` this comparison is not built yet [gte and gt run]",
    );
}

#[test]
fn two_rules_with_one_id_are_both_refused() {
    let (rules, refused) = Rules::load([("a.yml", TRAIL), ("b.yml", TRAIL)]);
    assert!(rules.rules.is_empty());
    assert_eq!(refused.len(), 2);
    assert_eq!(
        refused[0].to_string(),
        "a.yml:3:5: `5e2f1b0a-0000-4000-8000-000000000001` is also the id in b.yml:3"
    );
}

#[test]
fn the_hash_follows_meaning_not_layout() {
    let hash = |t: &str| load(t).rules[0].head.hash.clone();
    let plain = hash(TRAIL);
    assert_eq!(plain, hash(&TRAIL.replace("level: low", "level:   'low' # comment")));
    assert_eq!(plain, hash(&TRAIL.replace("denied call", "another name")), "tests change no answer");
    assert_ne!(plain, hash(&TRAIL.replace("StopLogging, avouch", "DeleteTrail, avouch")));
    let text = "title: t\nlogsource: {product: x}\ndetection:\n  s: {a|expand: '%who%'}\n  condition: s\n";
    let with = |v: &str| {
        let (r, refused) =
            Rules::load_with([("r.yml", text)], &Placeholders::from([("who".into(), vec![v.into()])]));
        assert_eq!(refused, []);
        r.rules[0].head.hash.clone()
    };
    assert_ne!(with("a"), with("b"));
}

#[test]
fn limits_are_errors_with_a_code() {
    let e = detect::CompileError::TooMany { what: "predicates", found: 2, limit: 1 };
    assert_eq!(
        (e.code(), e.to_string().as_str()),
        ("rule.too_many", "the rules need 2 predicates, the limit is 1")
    );
}

#[test]
fn batch_size_changes_nothing() {
    let mut b = Batch::builder();
    let (p, d) = (b.provenance(Provenance::new("t")), b.dataset("aws.cloudtrail"));
    for i in 0..10_000 {
        let name = if i % 7 == 0 { "StopLogging" } else { "ListUsers" };
        b.push(
            format!(r#"{{"eventSource":"cloudtrail.amazonaws.com","eventName":"{name}","n":{i}}}"#)
                .as_bytes(),
            p,
            d,
        );
    }
    let b = b.finish();
    let whole: Vec<usize> =
        Engine::new(load(TRAIL), Settings::default()).unwrap().hits(&b, None).iter().map(|h| h.row).collect();
    assert_eq!(whole, (0..10_000).step_by(7).collect::<Vec<_>>());
    let mut e = Engine::new(load(TRAIL), Settings::default()).unwrap();
    let mut parts = Vec::new();
    for start in (0..10_000).step_by(333) {
        let part = b.with_rows(b.rows[start..(start + 333).min(10_000)].to_vec());
        parts.extend(e.hits(&part, None).iter().map(|h| h.row + start));
    }
    assert_eq!(whole, parts);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 3_000, ..Default::default() })]
    /// Whatever happens to a rule file, it ends in a rule or in a refusal with a place: nothing vanishes, nothing panics.
    #[test]
    fn a_damaged_rule_is_never_skipped(cuts in proptest::collection::vec((proptest::prelude::any::<proptest::sample::Index>(), 0_usize..12, "[-a-z:{}\\[\\],|*&!'\" \n]{0,3}"), 1..4)) {
        let mut text = TRAIL.to_owned();
        for (at, length, put) in cuts {
            let at = at.index(text.len());
            let end = (at + length).min(text.len());
            text.replace_range(at..end, &put);
        }
        let (rules, refused) = Rules::load([("r.yml", text.as_str())]);
        proptest::prop_assert!(rules.rules.len() + rules.correlations.len() + refused.len() >= 1, "{}", text);
        for r in &refused {
            proptest::prop_assert!(r.line >= 1 && r.column >= 1 && !r.reason.is_empty());
        }
        if !rules.rules.is_empty() {
            let mut e = Engine::new(rules, Settings { routing: false, ..Settings::default() }).unwrap();
            e.events(&super::support::batch("aws.cloudtrail", [STOP]), None);
        }
    }
}
