//! What holds of every edit that is shown, over random policies; and, when asked for, how long edits take. No test judges a time.

use crate::external::{FOREIGN, MANAGEMENT, OWN, SECOND, bucket, policy, statement};
use crate::generate::{Dice, policy_about};
use crate::patch::{analysed, estate_of, patched};
use access::estate::{Surroundings, analyse_one};
use access::external::patch::{Operation, apply, patch};
use access::finding::{Finding, Rule};
use access::json;
use access::policy::{Document, Duplicates, parse};
use access::symbolic::{Verdict, implies};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Policies as others write them, so that edits of all kinds meet: lists, both forms of principals, weak operators.
fn a_policy(dice: &mut Dice) -> String {
    let principals = [
        json!("*"),
        json!({"AWS": "*"}),
        json!({"AWS": [FOREIGN, OWN, "AROAEXAMPLEID1234567"]}),
        json!({"AWS": format!("arn:aws:iam::{FOREIGN}:role/x")}),
        json!({"Service": ["cloudtrail.amazonaws.com", "sns.amazonaws.com"], "AWS": SECOND}),
        json!({"Service": "cloudtrail.amazonaws.com"}),
        json!({"CanonicalUser": "c0ffee", "AWS": FOREIGN}),
        json!({"AWS": ["777766665555", FOREIGN]}),
    ];
    let conditions = [
        ("StringEquals", "aws:PrincipalOrgID", json!(["o-foreign1234", "o-exampleorg1"])),
        ("StringEqualsIfExists", "aws:PrincipalOrgID", json!("o-exampleorg1")),
        ("ForAllValues:StringLike", "aws:PrincipalOrgPaths", json!("o-exampleorg1/*")),
        ("StringLike", "aws:PrincipalAccount", json!(["1111*", FOREIGN])),
        ("StringEquals", "aws:PrincipalAccount", json!([OWN, FOREIGN])),
        (
            "ArnLike",
            "aws:SourceArn",
            json!(["arn:aws:s3:::mine", format!("arn:aws:sns:eu-west-1:{FOREIGN}:t")]),
        ),
        ("IpAddress", "aws:SourceIp", json!("203.0.113.0/24")),
        ("StringLikeIfExists", "aws:userid", json!(["AROAEXAMPLEID1234567:*"])),
        ("StringNotEquals", "aws:PrincipalAccount", json!(FOREIGN)),
        ("Null", "aws:SourceVpce", json!("true")),
    ];
    let count = 1 + dice.below(3);
    let statements: Vec<Value> = (0..count)
        .map(|at| {
            let effect = if at > 0 && dice.below(4) == 0 { "Deny" } else { "Allow" };
            let who = principals[dice.below(principals.len())].clone();
            let mut condition = json!({});
            for _ in 0..dice.below(3) {
                let (operator, key, values) = conditions[dice.below(conditions.len())].clone();
                condition[operator] = json!({key: values});
            }
            let mut out =
                statement(effect, who, dice.one(&["s3:GetObject", "s3:*", "s3:PutObject"]), condition);
            if dice.below(12) == 0 {
                let members = out.as_object_mut().unwrap();
                let who = members.remove("Principal").unwrap();
                members.insert("NotPrincipal".into(), who);
            }
            out
        })
        .collect();
    match statements.as_slice() {
        [one] if dice.below(2) == 0 => json!({"Version": "2012-10-17", "Statement": one}).to_string(),
        all => policy(all).to_string(),
    }
}

fn document(text: &str) -> Document {
    parse(text, Duplicates::LastWins).unwrap()
}

fn key(finding: &Finding) -> (Rule, String, String, String) {
    let condition = serde_json::to_string(&finding.condition).unwrap();
    (finding.rule, finding.principal.kind.clone(), finding.principal.value.clone(), condition)
}

/// Whatever is shown applies, reads, allows nothing new, and closes its finding.
#[test]
fn every_patch_closes_its_finding_and_opens_nothing() {
    let rounds: u64 = std::env::var("AVOUCH_PATCHES").ok().and_then(|n| n.parse().ok()).unwrap_or(500);
    let (mut by_rule, mut left): (BTreeMap<Rule, (usize, usize)>, usize) = Default::default();
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for seed in 0..rounds {
        let mut dice = Dice::new(seed + 1);
        let is_other = seed % 3 == 0;
        let text = if is_other { policy_about(&mut dice, true, None) } else { a_policy(&mut dice) };
        let restrict = dice.below(6) == 0;
        let block = json!({"GetPublicAccessBlock": {"PublicAccessBlockConfiguration": {"RestrictPublicBuckets": restrict}}});
        let mut of = bucket(policy(&[]), block);
        of.config.insert("GetBucketPolicy".into(), json!({"Policy": text}));
        if is_other {
            of.arn = "arn:aws:s3:::a".into();
        }
        of.account = [OWN, OWN, MANAGEMENT][dice.below(3)].into();
        let mut estate = estate_of(of);
        if dice.below(3) == 0 {
            estate.organization = None;
        }
        estate.zone.organization = dice.below(3) > 0;
        let before = analysed(&estate);
        for finding in before.findings.iter().filter(|f| f.rule != Rule::Unknown) {
            let count = by_rule.entry(finding.rule).or_default();
            count.1 += 1;
            let Some(patch) = patched(&estate, finding) else { continue };
            count.0 += 1;
            let told = || format!("seed {seed}: {text}\n{finding:#?}\n{patch:#?}");
            // As another program would: the operations alone, through their JSON.
            let operations: Vec<Operation> =
                serde_json::from_value(serde_json::to_value(&patch.operations).unwrap()).unwrap();
            let tree = apply(&json::read(&text).unwrap(), &operations).unwrap();
            assert_eq!(tree_of(&tree), tree_of(&json::read(&patch.patched).unwrap()), "{}", told());
            let (old, new) = (document(&text), document(&patch.patched));
            assert_eq!(implies(&new, &old), Verdict::Holds, "{}", told());
            assert!(!new.statements.is_empty() && new.problems.len() <= old.problems.len(), "{}", told());
            let mut changed = estate.clone();
            changed.resources[0].config.insert("GetBucketPolicy".into(), json!({"Policy": patch.patched}));
            let after = analysed(&changed);
            assert!(!after.findings.iter().any(|f| key(f) == key(finding)), "{}", told());
            let known: Vec<_> = before.findings.iter().map(|f| (key(f), f.rule)).collect();
            for new in &after.findings {
                let is_known = known.iter().any(|((_, kind, who, condition), rule)| {
                    *rule <= new.rule && (kind, who, condition) == (&key(new).1, &key(new).2, &key(new).3)
                });
                let is_said = new.rule > finding.rule
                    && patch.leaves.contains(&(new.rule, new.principal.value.clone()));
                assert!(is_known || is_said, "{}\n{new:#?}", told());
            }
            assert!(patch.diff.contains("\n+") || patch.diff.contains("\n-"), "{}", told());
            left += usize::from(!patch.leaves.is_empty());
            let words = patch.text.split(['`', ':']).next().unwrap_or_default();
            let what = words.split_once("GetBucketPolicy ").map_or(words, |(_, what)| what).to_owned();
            *kinds.entry(what).or_default() += 1;
        }
    }
    println!(
        "{rounds} policies; patches of findings by class: {by_rule:?}; {left} leave something; {kinds:#?}"
    );
    let open: (usize, usize) = by_rule
        .iter()
        .filter(|(rule, _)| **rule < Rule::HeldBack)
        .fold((0, 0), |a, (_, b)| (a.0 + b.0, a.1 + b.1));
    assert!(open.1 as u64 > rounds / 2 && open.0 * 2 > open.1, "{by_rule:?}");
}

/// A tree without its places.
fn tree_of(node: &json::Node) -> String {
    match &node.value {
        json::Value::Array(items) => format!("[{}]", items.iter().map(tree_of).collect::<Vec<_>>().join(",")),
        json::Value::Object(members) => {
            let of: Vec<String> =
                members.iter().map(|m| format!("{:?}:{}", m.key, tree_of(&m.value))).collect();
            format!("{{{}}}", of.join(","))
        }
        value => format!("{value:?}"),
    }
}

/// How long a patch takes, beside the analysis of its resource. Printed, not judged.
#[test]
#[ignore = "a measurement; run with --ignored --nocapture"]
fn measure_patches() {
    let estate = crate::traps::estate();
    let around = Surroundings::of(&estate);
    let (mut analysis, mut patches, mut times) = (std::time::Duration::ZERO, [0_usize; 2], Vec::new());
    let mut by_rule: BTreeMap<Rule, (usize, usize)> = BTreeMap::new();
    let mut without = Vec::new();
    for of in &estate.resources {
        let started = std::time::Instant::now();
        let Some(all) = analyse_one(&around, of) else { continue };
        analysis += started.elapsed();
        for finding in all.findings.iter().filter(|f| f.rule != Rule::Unknown) {
            let started = std::time::Instant::now();
            let is_there = patch(&around, of, finding).is_some();
            times.push(started.elapsed());
            patches[usize::from(is_there)] += 1;
            let count = by_rule.entry(finding.rule).or_default();
            *count = (count.0 + usize::from(is_there), count.1 + 1);
            if !is_there {
                let kinds: Vec<&str> = finding.sources.iter().map(|s| s.kind.as_str()).collect();
                without.push(format!("{} {:?} {} {kinds:?}", of.arn, finding.rule, finding.principal.value));
            }
        }
    }
    times.sort();
    println!(
        "analysis {analysis:?}; {} patches, {} without: {by_rule:?}; median {:?}, slowest {:?}, sum {:?}\n{}",
        patches[1],
        patches[0],
        times[times.len() / 2],
        times[times.len() - 1],
        times.iter().sum::<std::time::Duration>(),
        without.join("\n")
    );
}
