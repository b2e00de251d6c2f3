//! Goldens of every picture and of the summary page, each made twice (O1).

#[cfg(test)]
mod checked;

use expect_test::{ExpectFile, expect, expect_file};
use model::{
    ControlState, EventId, Evidence, Finding, FindingId, FindingSource, RuleRef, Severity, Time, TimeRange,
};
use report::*;

#[track_caller]
fn same_twice(make: impl Fn() -> String, golden: ExpectFile) {
    let (first, second) = (make(), make());
    assert_eq!(first, second, "O1: the same input gives the same bytes");
    harmless(&first);
    golden.assert_eq(&first);
}

/// No attribute or element that a strict content policy refuses, and nothing loaded (O2).
#[track_caller]
fn harmless(markup: &str) {
    for bad in [
        " style=",
        "<script",
        "<link",
        "<image",
        "<use",
        "href=",
        "src=",
        "@import",
        "url(",
        " onload",
        "javascript:",
    ] {
        assert!(!markup.contains(bad), "found `{bad}` in the output");
    }
}

fn label<'a>(id: &'a str, title: &'a str) -> Label<'a> {
    Label { id, title, desc: "a description" }
}

#[expect(clippy::unwrap_used, reason = "a test helper: clippy exempts test functions only")]
fn at(text: &str) -> Time {
    Time::parse_rfc3339(text.as_bytes()).unwrap()
}

#[test]
fn sparkline_draws_gaps_as_gaps() {
    let points = [Some(1.0), Some(4.0), None, Some(2.0), None, Some(0.0), Some(f64::NAN)];
    same_twice(
        || sparkline(&label("s", "rate <b>"), &points, Size { width: 60, height: 16 }),
        expect_file!["../data/sparkline.svg"],
    );
    let one = sparkline(&label("s", "x"), &points, Size { width: 60, height: 16 });
    assert_eq!(one.matches('M').count(), 3, "three runs, not one line through the gaps: {one}");
}

#[test]
fn bar_shows_the_smallest_part() {
    let part = |name: &str, value, tone| Part { name: name.into(), value, tone };
    let parts =
        [part("failing", 1, Tone::Critical), part("tested", 9_999, Tone::Good), part("none", 0, Tone::Low)];
    same_twice(
        || bar(&label("b", "controls"), &parts, Size { width: 200, height: 8 }),
        expect_file!["../data/bar.svg"],
    );
    let empty = bar(&label("b", "x"), &[], Size { width: 0, height: 0 });
    assert!(empty.contains("track"));
}

#[test]
fn columns_draw_what_is_known() {
    let column = |name: &str, parts| Column { name: name.into(), parts };
    let days = [
        column("12 Mar", Some(vec![(Tone::High, 2), (Tone::Critical, 1)])),
        column("13 Mar", None),
        column("14 Mar", Some(vec![])),
    ];
    same_twice(
        || columns(&label("c", "a day"), &days, Size { width: 90, height: 40 }),
        expect_file!["../data/columns.svg"],
    );
}

#[test]
fn ring_shares() {
    let parts = [
        Part { name: "critical".into(), value: 2, tone: Tone::Critical },
        Part { name: "low".into(), value: 6, tone: Tone::Low },
    ];
    same_twice(
        || ring(&label("r", "findings"), &parts, "8", "findings", Size { width: 96, height: 96 }),
        expect_file!["../data/ring.svg"],
    );
}

#[test]
fn a_picture_has_at_most_200_marks_and_says_what_it_left_out() {
    let from = at("2025-03-14T09:00:00Z");
    let marks: Vec<Mark> = (0..1_000_i64)
        .map(|i| Mark {
            at: from.plus(i * Time::SECOND),
            until: None,
            tone: if i == 999 { Tone::Critical } else { Tone::Info },
            name: format!("mark {i}"),
        })
        .collect();
    let lanes = [Lane { name: "one lane".into(), marks }];
    let range = TimeRange { from, to: from.plus(Time::HOUR) };
    let svg = timeline(&label("t", "when"), range, &lanes, Size { width: 600, height: 60 });
    assert_eq!(svg.matches("<rect").count(), MARKS_MAX);
    assert!(svg.contains("800 less severe marks are not drawn."));
    assert!(svg.contains("mark 999"), "the most severe mark stays");
    let many: Vec<Option<f64>> = (0..5_000).map(|i| Some(f64::from(i % 7))).collect();
    let line = sparkline(&label("s", "x"), &many, Size { width: 600, height: 60 });
    assert!(line.matches('L').count() < MARKS_MAX);
}

#[test]
fn timeline_golden() {
    let from = at("2025-03-14T09:00:00Z");
    let mark = |m: i64, until: Option<i64>, tone| Mark {
        at: from.plus(m * Time::MINUTE),
        until: until.map(|u| from.plus(u * Time::MINUTE)),
        tone,
        name: format!("at {m}"),
    };
    let lanes = [
        Lane {
            name: "a lane with a rather long name".into(),
            marks: vec![mark(5, Some(20), Tone::High), mark(90, None, Tone::Low)],
        },
        Lane { name: "b".into(), marks: vec![mark(30, None, Tone::Critical)] },
    ];
    let range = TimeRange { from, to: from.plus(Time::HOUR) };
    same_twice(
        || timeline(&label("t", "when"), range, &lanes, Size { width: 400, height: 56 }),
        expect_file!["../data/timeline.svg"],
    );
}

fn finding(rule: &str, severity: Severity, minute: i64) -> Finding {
    let seen = at("2025-03-14T09:14:00Z").plus(minute * Time::MINUTE);
    Finding {
        id: FindingId::of(&[rule.as_bytes()]),
        source: FindingSource::Detect,
        finding_type: "Persistence:IAMUser/AccessKey".into(),
        rule: RuleRef { name: rule.into(), title: "t".into(), ..RuleRef::default() },
        title: format!("{rule} <script>alert(1)</script>"),
        why: "A key was made by somebody who never made one.\u{202e}".into(),
        fix: "Deactivate the key and ask its owner.".into(),
        severity,
        account: Some("111122223333".into()),
        region: None,
        resource: Some("arn:aws:iam::111122223333:user/deploy".into()),
        key: vec![("actor".into(), "root".into())],
        tags: vec![],
        attributes: model::Attributes::new(),
        count: 1_234,
        first_seen: seen,
        last_seen: seen.plus(5 * Time::MINUTE),
        evidence: vec![Evidence {
            shard: 0,
            seq: 4_242,
            event_id: EventId::of(&[b"e", rule.as_bytes()]),
            event_time: seen,
            dataset: "aws.cloudtrail".into(),
            fields: [("eventName", "CreateAccessKey"), ("sourceIPAddress", "203.0.113.9")]
                .into_iter()
                .collect(),
        }],
        is_settled: true,
        drill: None,
    }
}

fn summary() -> Summary {
    Summary {
        product: "Avouch 0.1.0".into(),
        title: "Demo summary".into(),
        subject: "made-up estate \"Harbour Bank\", 2 accounts".into(),
        made: at("2025-03-14T10:00:00Z"),
        sentences: vec!["17 findings, 2 critical.".into(), "One claim does not hold.".into()],
        stages: vec![
            Stage { name: "collect".into(), text: "48 210 events".into(), state: StageState::Done },
            Stage { name: "forward".into(), text: "3 could not be sent".into(), state: StageState::Warned },
        ],
        findings: vec![
            finding("aws-low", Severity::LOW, 1),
            finding("aws-root-login", Severity::CRITICAL, 0),
            finding("aws-new-key", Severity::CRITICAL, 3),
        ],
        suppressed: 1,
        controls: vec![ControlResult {
            id: "m19.gone-after-7-days".into(),
            claim: "No log byte is kept for more than 7 days.".into(),
            state: ControlState::Failed,
            configured: "yes".into(),
            effective: "no: 2 objects are 9 days old".into(),
            last_proven: "never".into(),
            because: "2 objects are 9 days old".into(),
        }],
        vault: Some(VaultSummary {
            verdict: Verdict::Intact,
            sentence: "4 segments sealed, checked from the files alone, nothing changed".into(),
            details: vec![("root".into(), "q1w2".into())],
        }),
        cannot_see: vec!["bucket policies: s3:GetBucketPolicy is missing in 111122223333".into()],
        next: vec![Next {
            what: "List what is wrong".into(),
            command: "avouch findings list --severity high+".into(),
        }],
    }
}

#[test]
fn summary_golden_in_any_order_of_findings() {
    let forward = summary();
    let mut backward = summary();
    backward.findings.reverse();
    assert_eq!(summary_html(&forward), summary_html(&backward));
    let html = summary_html(&forward);
    assert!(!html.contains("<script>alert"), "hostile titles are inert");
    assert!(html.contains("\\u{202e}"), "bidirectional controls are visible");
    assert!(html.contains("What could not be looked at"));
    // `style=` and `url(` are absent although the page carries its style.
    same_twice(|| summary_html(&forward), expect_file!["../data/summary.html"]);
}

#[test]
fn an_empty_summary_still_says_what_was_looked_at() {
    let mut s = summary();
    s.findings.clear();
    s.controls.clear();
    s.vault = None;
    s.cannot_see.clear();
    s.next.clear();
    let html = summary_html(&s);
    assert!(html.contains("Nothing was found in what could be looked at."));
    assert!(html.contains("Everything that was asked for could be looked at."));
}

#[test]
fn findings_beyond_the_limit_are_counted() {
    let mut s = summary();
    s.findings = (0..60).map(|i| finding(&format!("rule-{i:02}"), Severity::LOW, i)).collect();
    let html = summary_html(&s);
    assert!(html.contains("10 more are not printed here"));
    assert!(html.contains("avouch findings list --severity high+"));
}

#[test]
fn machine_form_keeps_exact_terms() {
    let json = serde_json::to_value(summary()).unwrap();
    expect![[r#""failed""#]].assert_eq(&json["controls"][0]["state"].to_string());
    expect![[r#""intact""#]].assert_eq(&json["vault"]["verdict"].to_string());
}
