//! Policies that nobody here wrote, with known answers.

use access::Request;
use access::check::{Outcome, no_new_access, readings};
use access::eval::{Doubt, outcome};
use access::policy::Document;
use access::symbolic::{Verdict, implies};
use serde_json::Value;
use std::path::PathBuf;

pub fn shared(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("AVOUCH_SHARED").map_or_else(
        || PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../../../shared/data"),
        PathBuf::from,
    );
    let folder = folder.join("access");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: {test}: ../shared/data missing");
    None
}

pub fn document(value: &Value) -> Vec<Document> {
    let text = value.to_string().replace("<ACCOUNT ID>", "111111111111");
    readings(&text).unwrap()
}

/// Policies of others of a size that many of them can be asked about; none where they are not at hand.
pub fn small() -> Vec<Value> {
    const SIZE_MAX: usize = 3_000;
    let Some(folder) = shared("policies of others") else { return Vec::new() };
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&read("check-no-new-access.json")).unwrap();
    let pairs: Vec<Value> = serde_json::from_str(&read("implication.json")).unwrap();
    let managed = read("managed-policies.jsonl");
    let managed = managed.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()["document"].take());
    let of = |all: Vec<Value>, names: [&'static str; 2]| {
        all.into_iter().flat_map(move |mut case| names.map(|name| case[name].take()))
    };
    let all = of(cases, ["reference", "candidate"]).chain(of(pairs, ["p1", "p2"])).chain(managed);
    let text = |policy: Value| policy.to_string().replace("<ACCOUNT ID>", "111111111111");
    all.map(text).filter(|t| t.len() < SIZE_MAX).map(|t| serde_json::from_str(&t).unwrap()).collect()
}

/// AWS's own labelled cases of its no-new-access check.
#[test]
fn no_new_access_as_aws_labels_it() {
    let Some(folder) = shared("no_new_access_as_aws_labels_it") else { return };
    let text = std::fs::read_to_string(folder.join("check-no-new-access.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
    let mut differ = Vec::new();
    for case in &cases {
        let got = no_new_access(&document(&case["reference"]), &document(&case["candidate"]));
        let word = match &got {
            Outcome::Pass => "PASS",
            Outcome::Fail { .. } => "FAIL",
            Outcome::Undecided { .. } => "undecided",
        };
        if word != case["expected"].as_str().unwrap() {
            differ.push(format!("{} {}: {got:?}", case["file"], case["heading"]));
        }
    }
    assert_eq!(cases.len(), 104);
    assert!(differ.is_empty(), "{} differ:\n{}", differ.len(), differ.join("\n"));
}

/// Pairs of policies from another analyser. Its labels are not always right: a "no" of ours comes with a request, and a "yes" that
/// differs is held against every request that the two documents could tell apart (docs/access-differences.md).
#[test]
fn implications_both_ways() {
    let Some(folder) = shared("implications_both_ways") else { return };
    let text = std::fs::read_to_string(folder.join("implication.json")).unwrap();
    let pairs: Vec<Value> = serde_json::from_str(&text).unwrap();
    let mut differ = Vec::new();
    for pair in &pairs {
        let (one, two) = (document(&pair["p1"]).remove(0), document(&pair["p2"]).remove(0));
        for (p, q, label) in [(&one, &two, "p1_implies_p2"), (&two, &one, "p2_implies_p1")] {
            let verdict = implies(p, q);
            match &verdict {
                Verdict::Fails(request) => assert!(differs(p, q, request)),
                Verdict::Holds => {
                    assert_eq!(requests(p, q).find(|r| differs(p, q, r)), None, "{}\n{}", p.text, q.text)
                }
                Verdict::Undecided(why, _) => panic!("{why}: {}\n{}", p.text, q.text),
            }
            if (verdict == Verdict::Holds) != pair[label].as_bool().unwrap() {
                assert_eq!(verdict, Verdict::Holds, "a label says that this holds: {}\n{}", p.text, q.text);
                differ.push(pair["family"].as_str().unwrap());
            }
        }
    }
    assert_eq!(pairs.len(), 140);
    assert_eq!(differ, ["ec2_require_mfa_session_token"; 6]);
}

fn differs(p: &Document, q: &Document, request: &Request) -> bool {
    outcome(p, request, Doubt::Allows).is_allowed() && !outcome(q, request, Doubt::Forbids).is_allowed()
}

/// Requests made of every text in two documents, as it stands and with its wildcards filled in several ways, and of none of them:
/// all combinations.
fn requests(p: &Document, q: &Document) -> impl Iterator<Item = Request> {
    let filled = |text: &str| ["", "x", "/", "Aa1"].map(|with| text.replace(['*', '?'], with));
    let statements = || p.statements.iter().chain(&q.statements);
    let all = |words: Vec<String>, other: &[&str]| -> Vec<String> {
        let mut out: Vec<String> = words.iter().flat_map(|w| filled(w)).collect();
        out.extend(other.iter().map(|o| (*o).to_owned()));
        out.sort();
        out.dedup();
        out
    };
    let texts =
        |words: &access::policy::Words| words.values.iter().map(|w| w.text.clone()).collect::<Vec<_>>();
    let actions = all(statements().flat_map(|s| texts(&s.action)).collect(), &["ec2:Other", "zz:Zz"]);
    let resources: Vec<String> = statements().filter_map(|s| s.resource.as_ref()).flat_map(texts).collect();
    let resources =
        all(resources, &["*", "arn:aws:s3:::other", "arn:aws:ec2:eu-west-1:111111111111:instance/i-1"]);
    let mut requests: Vec<Request> = Vec::new();
    for action in &actions {
        for resource in &resources {
            requests.push(Request {
                principal: None,
                action: action.clone(),
                resource: resource.clone(),
                context: access::Context::new(),
            });
        }
    }
    let mut keys: std::collections::BTreeMap<String, Vec<String>> = std::collections::BTreeMap::new();
    for c in statements().flat_map(|s| &s.conditions) {
        keys.entry(c.name()).or_default().extend(c.values.iter().map(|w| w.text.clone()));
    }
    for (key, values) in keys {
        let values = all(values, &["true", "false", "other"]);
        requests = requests
            .into_iter()
            .flat_map(|r| {
                let with = |value: &String| {
                    let mut r = r.clone();
                    r.context.insert(key.clone(), vec![value.clone()]);
                    r
                };
                values.iter().map(with).chain([r.clone()]).collect::<Vec<_>>()
            })
            .collect();
    }
    requests.into_iter()
}

/// Policies that AWS itself maintains: all are read without a problem, and each allows nothing that it does not.
#[test]
fn managed_policies() {
    let Some(folder) = shared("managed_policies") else { return };
    let text = std::fs::read_to_string(folder.join("managed-policies.jsonl")).unwrap();
    let (mut n, mut undecided) = (0, Vec::new());
    for line in text.lines() {
        let policy: Value = serde_json::from_str(line).unwrap();
        let document = document(&policy["document"]).remove(0);
        assert_eq!(document.problems, [], "{}", policy["name"]);
        // In other words, since what two documents have in common is never analysed.
        let mut same = policy["document"].clone();
        match &mut same["Statement"] {
            Value::Array(all) => all.iter_mut().for_each(reword),
            one => reword(one),
        }
        let same = self::document(&same).remove(0);
        assert_eq!(implies(&document, &document), Verdict::Holds, "{}", policy["name"]);
        match implies(&document, &same) {
            Verdict::Holds => {}
            Verdict::Fails(request) => panic!("{}: {request:?}", policy["name"]),
            Verdict::Undecided(..) => undecided.push(policy["name"].as_str().unwrap().to_owned()),
        }
        n += 1;
    }
    assert_eq!(n, 1_641);
    // Dozens of resources with several `*` and variables each, under one action.
    assert_eq!(undecided, ["SageMakerStudioProjectUserRolePermissionsBoundary"]);
}

/// Two `*` in a row are one; not in `${*}`, which stands for the character.
fn reword(statement: &mut Value) {
    let twice = |text: &str| text.replace('*', "**").replace("${**}", "${*}");
    for key in ["Resource", "NotResource"] {
        match statement.get_mut(key) {
            Some(Value::String(text)) => *text = twice(text),
            Some(Value::Array(all)) => {
                for text in all {
                    *text = twice(text.as_str().unwrap_or_default()).into();
                }
            }
            _ => {}
        }
    }
}

/// Not a test of speed: prints how long an implication takes from texts to answer, beside parsing both documents with serde_json.
#[test]
#[ignore = "a measurement; run with --ignored --nocapture"]
fn measure_implications() {
    let Some(folder) = shared("measure_implications") else { return };
    let text = std::fs::read_to_string(folder.join("implication.json")).unwrap();
    let pairs: Vec<Value> = serde_json::from_str(&text).unwrap();
    let questions: Vec<(String, String)> = pairs
        .iter()
        .map(|pair| (pair["p1"].to_string(), pair["p2"].to_string()))
        .flat_map(|(one, two)| [(one.clone(), two.clone()), (two, one)])
        .collect();
    // Of each question the best of the rounds: a neighbour on a shared machine only ever adds.
    let mut ours = vec![std::time::Duration::MAX; questions.len()];
    let mut parse = ours.clone();
    const ROUNDS: usize = 40;
    for _ in 0..ROUNDS {
        for ((p, q), (ours, parse)) in questions.iter().zip(ours.iter_mut().zip(&mut parse)) {
            let started = std::time::Instant::now();
            let (p_read, q_read) = (readings(p).unwrap().remove(0), readings(q).unwrap().remove(0));
            std::hint::black_box(implies(&p_read, &q_read));
            *ours = started.elapsed().min(*ours);
            let started = std::time::Instant::now();
            let both: [Value; 2] = [p, q].map(|text| serde_json::from_str(text).unwrap());
            std::hint::black_box(both);
            *parse = started.elapsed().min(*parse);
        }
    }
    ours.sort();
    parse.sort();
    let n = ours.len();
    let ratio = |at: usize| ours[at].as_secs_f64() / parse[n / 2].as_secs_f64();
    println!(
        "{n} implications: median {:?} ({:.1} x parsing), 99th {:?} ({:.0} x), slowest {:?}; parsing {:?}",
        ours[n / 2],
        ratio(n / 2),
        ours[n * 99 / 100],
        ratio(n * 99 / 100),
        ours[n - 1],
        parse[n / 2]
    );
}
