//! Findings against the evaluator, over random resources and requests: nobody untrusted is allowed outside a finding, every confirmed
//! witness is allowed, and the findings do not repeat each other.

use crate::external::{FOREIGN, MANAGEMENT, OWN, SECOND, organization, resource};
use crate::generate::Dice;
use access::bundle::Bundle;
use access::estate::{Estate, Surroundings, analyse_one, world_of};
use access::eval::decide::decide;
use access::eval::{Doubt, outcome};
use access::finding::{Confidence, Finding, Rule};
use access::policy::{Document, Duplicates, parse};
use access::services;
use access::world::{World, Zone};
use access::{Context, Principal, Request};
use model::{OrganizationPolicy, Resource};
use serde_json::json;

const PRINCIPALS: [&str; 16] = [
    r#""*""#,
    r#""*""#,
    r#"{"AWS":"*"}"#,
    r#"{"AWS":"111122223333"}"#,
    r#"{"AWS":"arn:aws:iam::444455556666:root"}"#,
    r#"{"AWS":"999988887777"}"#,
    r#"{"AWS":["999988887777","111122223333"]}"#,
    r#"{"AWS":"arn:aws:iam::999988887777:role/x"}"#,
    r#"{"AWS":["arn:aws:iam::999988887777:user/u","arn:aws:iam::123456789012:root"]}"#,
    r#"{"Service":"cloudtrail.amazonaws.com"}"#,
    r#"{"Service":["sns.amazonaws.com","cloudtrail.amazonaws.com"]}"#,
    r#"{"CanonicalUser":"c0ffee"}"#,
    r#"{"AWS":"arn:aws:sts::999988887777:assumed-role/x/s"}"#,
    r#"{"AWS":"AROAEXAMPLEID1234567"}"#,
    r#"{"AWS":"777766665555"}"#,
    r#"{"Federated":"accounts.google.com"}"#,
];
const ACTIONS: [&str; 10] = [
    "s3:GetObject",
    "s3:PutObject",
    "s3:Get*",
    "s3:*",
    "*",
    "s3:ListBucket",
    "S3:getobject",
    "s3:PutBucketPolicy",
    "s3:*Object",
    "sqs:*",
];
const RESOURCES: [&str; 7] = [
    "*",
    "arn:aws:s3:::b",
    "arn:aws:s3:::b/*",
    "arn:aws:s3:::b/x*",
    "arn:aws:s3:::b/x/y",
    "arn:aws:s3:::other/*",
    "arn:aws:s3:::b*",
];
const CONDITIONS: [(&str, &[&str], &[&str]); 16] = [
    (
        "aws:PrincipalOrgID",
        &[
            "StringEquals",
            "StringNotEquals",
            "StringLike",
            "StringEqualsIfExists",
            "StringNotEqualsIfExists",
            "Null",
        ],
        &["o-exampleorg1", "o-foreign1234", "o-*", "*", "true"],
    ),
    (
        "aws:PrincipalOrgPaths",
        &["ForAnyValue:StringLike", "ForAllValues:StringLike", "ForAnyValue:StringNotLike", "StringLike"],
        &["o-exampleorg1/*", "o-exampleorg1/r-ab12/ou-ab12-11111111/*", "o-foreign1234/r-zz/*", "*"],
    ),
    (
        "aws:PrincipalAccount",
        &["StringEquals", "StringNotEquals", "StringLike", "StringEqualsIfExists"],
        &["111122223333", "999988887777", "9*", "777766665555"],
    ),
    (
        "aws:PrincipalArn",
        &["ArnLike", "ArnNotLike", "StringLike", "ArnEqualsIfExists", "StringNotLike"],
        &[
            "arn:aws:iam::999988887777:role/x",
            "arn:aws:iam::*:role/admin",
            "arn:aws:iam::111122223333:*",
            "*",
        ],
    ),
    ("aws:PrincipalIsAWSService", &["Bool", "BoolIfExists", "StringEquals"], &["true", "false"]),
    (
        "aws:PrincipalServiceName",
        &["StringEquals", "StringLike", "StringNotEqualsIfExists"],
        &["cloudtrail.amazonaws.com", "*.amazonaws.com"],
    ),
    (
        "aws:SourceIp",
        &["IpAddress", "NotIpAddress", "IpAddressIfExists"],
        &["203.0.113.0/24", "0.0.0.0/1", "128.0.0.0/1", "::/0", "10.0.0.0/8"],
    ),
    (
        "aws:SourceVpce",
        &["StringEquals", "StringNotEquals", "StringLike", "StringNotEqualsIfExists"],
        &["vpce-1", "vpce-*"],
    ),
    ("aws:SourceVpc", &["StringEquals", "StringNotEqualsIfExists"], &["vpc-1"]),
    (
        "aws:SourceArn",
        &["ArnLike", "StringEquals", "ArnNotLikeIfExists", "StringLike"],
        &[
            "arn:aws:s3:::mine",
            "arn:aws:cloudtrail:eu-west-1:111122223333:trail/t",
            "arn:aws:sns:*:999988887777:*",
            "*",
        ],
    ),
    (
        "aws:SourceAccount",
        &["StringEquals", "StringNotEquals", "StringEqualsIfExists"],
        &["111122223333", "999988887777"],
    ),
    ("aws:SourceOrgID", &["StringEquals", "StringNotEqualsIfExists"], &["o-exampleorg1", "o-foreign1234"]),
    ("aws:SecureTransport", &["Bool"], &["true", "false"]),
    ("aws:userid", &["StringLike", "StringEquals", "StringNotLike"], &["AROAEXAMPLEID1234567:*", "*:x", "*"]),
    ("s3:prefix", &["StringLike", "StringEquals"], &["a*", "", "${aws:username}"]),
    ("aws:ResourceAccount", &["StringEquals", "StringNotEquals"], &["111122223333"]),
];

fn statement(dice: &mut Dice, effect: &str) -> String {
    let one = |dice: &mut Dice, of: &[&str]| format!("\"{}\"", dice.one(of));
    let not = |dice: &mut Dice, in_100: usize| if dice.below(100) < in_100 { "Not" } else { "" };
    let deny = effect == "Deny";
    let principal =
        if deny && dice.below(2) == 0 { r#""*""#.to_owned() } else { dice.one(&PRINCIPALS).to_owned() };
    let not_principal = not(dice, if deny { 20 } else { 4 });
    let mut conditions: Vec<(String, String)> = Vec::new();
    for _ in 0..dice.below(3) {
        let (key, operators, values) = CONDITIONS[dice.below(CONDITIONS.len())];
        let operator = dice.one(operators).to_owned();
        let n = 1 + dice.below(2);
        let values: Vec<String> = (0..n).map(|_| one(dice, values)).collect();
        conditions.push((operator, format!("\"{key}\":[{}]", values.join(","))));
    }
    conditions.sort();
    conditions.dedup_by(|a, b| a.0 == b.0);
    let conditions: Vec<String> = conditions.into_iter().map(|(o, k)| format!("\"{o}\":{{{k}}}")).collect();
    let (not_action, action) = (not(dice, 6), one(dice, &ACTIONS));
    let (not_resource, resource) = (not(dice, 6), one(dice, &RESOURCES));
    format!(
        r#"{{"Effect":"{effect}","{not_principal}Principal":{principal},"{not_action}Action":{action},"{not_resource}Resource":{resource},"Condition":{{{}}}}}"#,
        conditions.join(",")
    )
}

fn policy(dice: &mut Dice, allows: usize, denies: usize) -> String {
    let mut all: Vec<String> = (0..allows).map(|_| statement(dice, "Allow")).collect();
    all.extend((0..denies).map(|_| statement(dice, "Deny")));
    let version = if dice.below(10) == 0 { "" } else { r#""Version":"2012-10-17","# };
    format!(r#"{{{version}"Statement":[{}]}}"#, all.join(","))
}

fn a_bucket(dice: &mut Dice) -> Resource {
    let (allows, denies) = (1 + dice.below(4), dice.below(3) * dice.below(2));
    let text = policy(dice, allows, denies);
    let is_on = |dice: &mut Dice| dice.below(4) == 0;
    let (ignore, restrict) = (is_on(dice), is_on(dice));
    let groups = [
        "http://acs.amazonaws.com/groups/global/AllUsers",
        "http://acs.amazonaws.com/groups/global/AuthenticatedUsers",
    ];
    let mut grants = Vec::new();
    if dice.below(4) == 0 {
        let permission = dice.one(&["READ", "WRITE", "FULL_CONTROL", "READ_ACP"]).to_owned();
        grants.push(match dice.below(3) {
            0 => json!({"Grantee": {"ID": "c0ffee"}, "Permission": permission}),
            n => json!({"Grantee": {"URI": groups[n - 1]}, "Permission": permission}),
        });
    }
    let ownership = if dice.below(4) == 0 { "BucketOwnerEnforced" } else { "ObjectWriter" };
    let account = if dice.below(8) == 0 { MANAGEMENT } else { OWN };
    resource(
        "AWS::S3::Bucket",
        "arn:aws:s3:::b",
        account,
        json!({
            "GetBucketPolicy": {"Policy": text},
            "GetBucketAcl": {"Owner": {"ID": "own"}, "Grants": grants},
            "GetPublicAccessBlock": {"PublicAccessBlockConfiguration": {"IgnorePublicAcls": ignore, "RestrictPublicBuckets": restrict}},
            "GetBucketOwnershipControls": {"OwnershipControls": {"Rules": [{"ObjectOwnership": ownership}]}},
        }),
    )
}

const VALUES: [(&str, &[&str]); 14] = [
    ("aws:principalorgid", &["o-exampleorg1", "o-foreign1234", "o-other"]),
    ("aws:principalorgpaths", &["o-foreign1234/r-zz/", "o-other/r-1/"]),
    ("aws:sourceip", &["203.0.113.9", "10.1.2.3", "198.51.100.1", "2001:db8::1"]),
    ("aws:sourcevpce", &["vpce-1", "vpce-2", "x"]),
    ("aws:sourcevpc", &["vpc-1", "vpc-2"]),
    (
        "aws:sourcearn",
        &[
            "arn:aws:s3:::mine",
            "arn:aws:cloudtrail:eu-west-1:111122223333:trail/t",
            "arn:aws:sns:eu-west-1:999988887777:t",
            "arn:aws:s3:::z",
        ],
    ),
    ("aws:sourceaccount", &["111122223333", "999988887777", "121212121212"]),
    ("aws:sourceorgid", &["o-exampleorg1", "o-foreign1234", "o-other"]),
    ("aws:securetransport", &["true", "false"]),
    ("aws:userid", &["AROAEXAMPLEID1234567:x", "AIDAOTHER", "AROAOTHER:x"]),
    ("s3:prefix", &["a", "ab", "", "z"]),
    ("aws:username", &["a", "z"]),
    ("aws:resourceaccount", &["111122223333"]),
    ("kms:viaservice", &["s3.eu-west-1.amazonaws.com"]),
];

fn a_request(dice: &mut Dice, world: &World<'_>) -> Request {
    let arn = |text: &str| Principal::Iam(text.to_owned());
    let principal = match dice.below(16) {
        0 => Principal::Anonymous,
        1 => arn(&format!("arn:aws:iam::{OWN}:root")),
        2 => arn(&format!("arn:aws:iam::{SECOND}:role/admin")),
        3 | 4 => arn(&format!("arn:aws:iam::{FOREIGN}:role/x")),
        5 => arn(&format!("arn:aws:iam::{FOREIGN}:user/u")),
        6 | 7 => arn("arn:aws:iam::121212121212:root"),
        8 => arn("arn:aws:iam::121212121212:role/admin"),
        9 => Principal::Session { role: format!("arn:aws:iam::{FOREIGN}:role/x"), name: "s".to_owned() },
        10 => Principal::Service("cloudtrail.amazonaws.com".to_owned()),
        11 => Principal::Service("sns.amazonaws.com".to_owned()),
        12 => Principal::Service("other.amazonaws.com".to_owned()),
        13 => Principal::Canonical("c0ffee".to_owned()),
        14 => arn("arn:aws:iam::777766665555:user/a"),
        _ => Principal::Federated("accounts.google.com".to_owned()),
    };
    let mut request = Request {
        principal: Some(principal),
        action: dice
            .one(&[
                "s3:GetObject",
                "s3:PutObject",
                "s3:ListBucket",
                "s3:PutBucketPolicy",
                "s3:GetBucketAcl",
                "s3:BrandNew",
            ])
            .to_owned(),
        resource: dice
            .one(&["arn:aws:s3:::b", "arn:aws:s3:::b/x/y", "arn:aws:s3:::b/xz", "arn:aws:s3:::b/q"])
            .to_owned(),
        context: Context::new(),
    };
    let is_internet = dice.below(3) > 0;
    for (key, values) in VALUES {
        let value = vec![dice.one(values).to_owned()];
        let is_there = match key {
            "aws:sourceip" => is_internet,
            "aws:sourcevpce" | "aws:sourcevpc" => !is_internet && dice.below(4) > 0,
            _ => dice.below(100) < 45,
        };
        let principal = request.principal.as_ref().unwrap();
        if is_there && world.can_have(principal, key, Some(&value)) {
            request.context.insert(key.to_owned(), value);
        }
    }
    world.complete(&mut request);
    request
}

/// The finding as a policy: what it says that somebody can do.
pub fn as_policy(finding: &Finding) -> Document {
    let actions: Vec<&str> =
        finding.actions.iter().map(|a| if a.unlisted { "*" } else { a.name.as_str() }).collect();
    let who = &finding.principal;
    let principal = match who.kind.as_str() {
        "aws" => json!({"AWS": who.value}),
        "service" => json!({"Service": who.value}),
        "federated" => json!({"Federated": who.value}),
        "canonical" => json!({"CanonicalUser": who.value}),
        _ => json!("*"),
    };
    let mut condition = serde_json::Map::new();
    for (key, tests) in &finding.condition {
        for test in tests {
            let of = condition.entry(test.operator.clone()).or_insert_with(|| json!({}));
            of[key] = json!(test.values);
        }
    }
    let statement = json!({"Effect": "Allow", "Principal": principal, "Action": actions, "Resource": "*", "Condition": condition});
    parse(&json!({"Version": "2012-10-17", "Statement": [statement]}).to_string(), Duplicates::LastWins)
        .unwrap()
}

fn is_open(rule: Rule) -> bool {
    rule < Rule::HeldBack
}

fn rcp(dice: &mut Dice) -> OrganizationPolicy {
    let target = dice.one(&["r-ab12", "ou-ab12-11111111", "ou-ab12-22222222", OWN]).to_owned();
    OrganizationPolicy {
        id: "p-1".into(),
        name: String::new(),
        targets: vec![target],
        document: policy(dice, 0, 1),
    }
}

#[test]
fn nobody_untrusted_is_allowed_outside_a_finding() {
    let pairs: usize = std::env::var("AVOUCH_PAIRS").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let seed: u64 = std::env::var("AVOUCH_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(7);
    let mut dice = Dice::new(seed);
    let (per_policy, mut done, mut open, mut findings, mut possible) = (100, 0, 0, 0, 0);
    while done < pairs {
        let bucket = a_bucket(&mut dice);
        let rcps = if dice.below(3) == 0 { vec![rcp(&mut dice)] } else { Vec::new() };
        let organization = (dice.below(5) > 0).then(organization);
        let zone = Zone { organization: dice.below(2) == 0, ..Zone::default() };
        let estate = Estate { resources: vec![bucket], organization, rcps, zone, ..Estate::default() };
        let around = Surroundings::of(&estate);
        let of = &estate.resources[0];
        let bundle: Bundle = services::bundle(of, &around).unwrap();
        let analysis = analyse_one(&around, of).unwrap();
        let world = world_of(&estate, &bundle);
        let mut own_zone = estate.zone.clone();
        own_zone.canonical.insert("own".to_owned());
        let trusted = world.zone(&own_zone, &[], &bundle.trust).unwrap();
        let told = || {
            format!(
                "seed {seed}, {done} pairs: {}\n{:?}",
                serde_json::to_string_pretty(&estate.resources[0].config).unwrap(),
                estate.rcps
            )
        };
        let covering: Vec<Document> =
            analysis.findings.iter().filter(|f| is_open(f.rule)).map(as_policy).collect();
        findings += covering.len();
        for finding in analysis.findings.iter().filter(|f| is_open(f.rule)) {
            let witness = finding.witness.as_ref().expect("a finding has a witness");
            if finding.confidence == Confidence::Possible {
                possible += 1;
                continue;
            }
            assert!(decide(&bundle, witness).is_allowed, "{}\nwitness {witness}", told());
            assert!(!outcome(&trusted, witness, Doubt::Allows).is_allowed(), "{}\ntrusted {witness}", told());
            assert_eq!(world.objection(witness), None, "{}\n{witness}", told());
        }
        for _ in 0..per_policy {
            let request = a_request(&mut dice, &world);
            if world.objection(&request).is_some() || outcome(&trusted, &request, Doubt::Allows).is_allowed()
            {
                continue;
            }
            if decide(&bundle, &request).is_allowed && bundle.takes(&request.action, &request.resource) {
                open += 1;
                let is_covered = covering.iter().any(|d| outcome(d, &request, Doubt::Allows).is_allowed());
                let rules: Vec<String> = analysis
                    .findings
                    .iter()
                    .map(|f| {
                        format!("{:?} {:?} {:?} {:?}", f.rule, f.principal.value, f.condition, f.actions)
                    })
                    .collect();
                assert!(is_covered, "{}\nuncovered: {request}\n{rules:#?}", told());
            }
        }
        done += per_policy;
    }
    println!(
        "seed {seed}: {done} pairs, {open} allowed to outsiders, {findings} findings, {possible} not confirmed"
    );
    assert!(open > done / 200, "{open} of {done} are too few to show anything");
}

/// How long the analysis of a random bucket takes. Printed, not judged.
#[test]
#[ignore = "a measurement; run with --ignored --nocapture"]
fn measure_outsiders() {
    let mut dice = Dice::new(5);
    let mut times: Vec<(std::time::Duration, String)> = Vec::new();
    for _ in 0..2_000 {
        let bucket = a_bucket(&mut dice);
        let text = bucket.config["GetBucketPolicy"]["Policy"].as_str().unwrap().to_owned();
        let zone = Zone { organization: true, ..Zone::default() };
        let estate =
            Estate { resources: vec![bucket], organization: Some(organization()), zone, ..Estate::default() };
        let around = Surroundings::of(&estate);
        let start = std::time::Instant::now();
        analyse_one(&around, &estate.resources[0]).unwrap();
        times.push((start.elapsed(), text));
    }
    times.sort();
    for at in [1_000, 1_800, 1_980, 1_999] {
        println!("{at} of 2000: {:?}", times[at].0);
    }
    println!("slowest: {}", times[1_999].1);
    println!("sum {:?}", times.iter().map(|t| t.0).sum::<std::time::Duration>());
}
