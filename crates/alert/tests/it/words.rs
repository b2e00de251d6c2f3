use crate::kit::*;
use alert::{Book, Content, MESSAGE_BYTES_MAX, TITLE_CHARS_MAX, plan};
use expect_test::{Expect, expect};
use proptest::prelude::*;

fn content(form: &str, label: &str, notices: &[Notice]) -> Content {
    let c = config(&format!(
        r#"{{ "channels": {{ "a": {{ "file": {{ "path": "a" }} }} }}, "link": "https://avouch.example.org/",
             "routes": {{ "soc": {{ "to": [ "a" ], "form": "{form}" {label} }} }} }}"#
    ));
    let d = plan(&c, &Book::default(), notices, at(120));
    let twice = plan(&c, &Book::default(), notices, at(120));
    assert_eq!(d, twice, "O1");
    d.parcels[0].content.clone().unwrap()
}

fn check(got: &str, expect: Expect) {
    expect.assert_eq(got);
}

/// More than a route takes one by one, so that one digest holds them.
fn many(n: u32) -> Vec<Notice> {
    (0..n).map(|i| notice(nth(i, [95, 80, 80, 50][i as usize % 4]), Occasion::Opened)).collect()
}

#[test]
fn one_finding() {
    let c = content("plain", "", &[notice(finding(), Occasion::Opened)]);
    check(
        &c.title,
        expect!["[CRITICAL] The root user was used without a second factor · 111122223333 eu-west-2"],
    );
    check(
        &c.text,
        expect![[r#"
            [CRITICAL] The root user was used without a second factor · 111122223333 eu-west-2

            [CRITICAL] The root user was used without a second factor
              Severity:   9.0 (critical)
              Means:      Root can do everything and cannot be limited.
              Do:         Use a role; put a second factor on root.
              Type:       Policy:IAMUser/RootCredentialUsage
              Rule:       root-use
              Account:    111122223333
              Region:     eu-west-2
              Resource:   arn:aws:iam::111122223333:user/root
              Key:        src_ip=203.0.113.9
              Seen:       3 times, first 2026-03-01T09:00:00Z, last 2026-03-01T09:02:00Z
              Evidence:   0:42 at 2026-03-01T09:02:00Z (h3JCcjQXbRiM2RPKGEaHNQ) eventName=ConsoleLogin sourceIPAddress=203.0.113.9
              Finding:    https://avouch.example.org/findings/rHFYNwfEPshexAOGhtEQCQ
              Console:    https://console.aws.amazon.com/iam/home#/users/details/root

            Avouch, route soc, 2026-03-01T09:02:00Z
        "#]],
    );
    let json: serde_json::Value = serde_json::from_str(&c.json).unwrap();
    check(
        &serde_json::to_string_pretty(&json).unwrap(),
        expect![[r#"
            {
              "counts": {
                "critical": 1
              },
              "created": "2026-03-01T09:02:00Z",
              "drill": null,
              "findings": [
                {
                  "account": "111122223333",
                  "band": "critical",
                  "count": 3,
                  "drill": null,
                  "evidence": {
                    "event": "h3JCcjQXbRiM2RPKGEaHNQ",
                    "fields": {
                      "eventName": "ConsoleLogin",
                      "sourceIPAddress": "203.0.113.9"
                    },
                    "position": "0:42",
                    "time": "2026-03-01T09:02:00Z"
                  },
                  "first_seen": "2026-03-01T09:00:00Z",
                  "fix": "Use a role; put a second factor on root.",
                  "id": "rHFYNwfEPshexAOGhtEQCQ",
                  "key": {
                    "src_ip": "203.0.113.9"
                  },
                  "last_seen": "2026-03-01T09:02:00Z",
                  "links": {
                    "console": "https://console.aws.amazon.com/iam/home#/users/details/root",
                    "finding": "https://avouch.example.org/findings/rHFYNwfEPshexAOGhtEQCQ"
                  },
                  "occasion": "opened",
                  "region": "eu-west-2",
                  "resource": "arn:aws:iam::111122223333:user/root",
                  "rule": "root-use",
                  "severity": 9.0,
                  "title": "The root user was used without a second factor",
                  "told_first": null,
                  "type": "Policy:IAMUser/RootCredentialUsage",
                  "why": "Root can do everything and cannot be limited."
                }
              ],
              "id": "c8f2e01cc2d6b1f9",
              "omitted": 0,
              "recovered": 0,
              "route": "soc",
              "schema": "avouch.alert/1",
              "test": false,
              "title": "[CRITICAL] The root user was used without a second factor · 111122223333 eu-west-2"
            }"#]],
    );
}

#[test]
fn the_mail_of_the_assessment() {
    let critical = [notice(finding(), Occasion::Opened)];
    let label = r#", "label": "PRODUCTION""#;
    assert_eq!(
        content("assessment", label, &critical).title,
        "[PRODUCTION] Security Assessment - Critical Findings"
    );
    let high = [notice(Finding { severity: Severity::HIGH, ..finding() }, Occasion::Opened)];
    let c = content("assessment", label, &high);
    assert_eq!(c.title, "[PRODUCTION] Security Assessment - Critical and High Findings");
    check(
        &c.text,
        expect![[r#"
            [PRODUCTION] Security Assessment - Critical and High Findings

            Found 1 critical or high severity issues:

            1. [HIGH] IAM User: root

            Avouch, route soc, 2026-03-01T09:02:00Z
        "#]],
    );
    let mixed = content("assessment", label, &many(40));
    assert_eq!(mixed.title, "[PRODUCTION] Security Assessment - Critical, High and Medium Findings");
    assert!(mixed.text.contains("Found 40 issues: 10 critical, 20 high, 10 medium"));
}

#[test]
fn a_digest_says_what_is_in_it() {
    let c = content("plain", "", &many(40));
    assert_eq!(c.title, "40 findings: 10 critical, 20 high, 10 medium");
    assert_eq!(c.text.matches("  Finding:").count(), 40);
}

#[test]
fn too_much_is_cut_with_a_count() {
    let c = content("plain", "", &many(2_000));
    let shown = c.text.matches("  Finding:").count();
    assert!(
        c.text.contains(&format!("and {} more: `avouch findings list` shows all", 2_000 - shown)),
        "{}",
        c.text
    );
    let json: serde_json::Value = serde_json::from_str(&c.json).unwrap();
    assert_eq!(json["omitted"].as_u64().unwrap() + json["findings"].as_array().unwrap().len() as u64, 2_000);
    for part in [&c.text, &c.html, &c.json] {
        assert!(part.len() <= MESSAGE_BYTES_MAX, "{}", part.len());
    }
}

#[test]
fn hostile_text_stays_text() {
    let evil = Finding {
        title: "x\r\nBcc: all@example.org\u{202e}<script>alert(1)</script>".into(),
        resource: Some("arn:aws:s3:::\"><img src=x>".into()),
        why: "\u{1b}[2Jgone".into(),
        account: Some("<!channel>".into()),
        ..finding()
    };
    let c = content("plain", "", &[notice(evil.clone(), Occasion::Opened)]);
    assert!(!c.title.contains(['\r', '\n', '\u{202e}']), "{:?}", c.title);
    assert!(!c.text.contains(['\r', '\u{1b}', '\u{202e}']));
    assert!(
        !c.html.contains("<script") && !c.html.contains("<img") && !c.html.contains("<!channel"),
        "{}",
        c.html
    );
    let json: serde_json::Value = serde_json::from_str(&c.json).unwrap();
    assert_eq!(json["findings"][0]["title"].as_str(), Some(evil.title.as_str()), "machines get it as it is");
}

proptest! {
    #[test]
    fn limits_hold_for_any_text(title in "\\PC{0,12000}", why in "[\\x00-\\x7f]{0,4000}", n in 1u32..60) {
        let all: Vec<Notice> = (0..n)
            .map(|i| notice(Finding { title: title.clone(), why: why.clone(), ..nth(i, 90) }, Occasion::Opened))
            .collect();
        let c = content("plain", "", &all);
        prop_assert!(c.title.chars().count() <= TITLE_CHARS_MAX);
        prop_assert!(!c.title.chars().any(char::is_control));
        for part in [&c.text, &c.html, &c.json] {
            prop_assert!(part.len() <= MESSAGE_BYTES_MAX);
        }
    }
}
