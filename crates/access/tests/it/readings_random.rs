//! The two halves against each other in every reading of what AWS leaves open, on random policies that touch it (access.md 4.6).

use crate::generate::Dice;
use crate::outsiders::as_policy;
use crate::readings::{an_estate, external, is_allowed, policy};
use access::estate::{Surroundings, world_of};
use access::eval::decide::decide_in;
use access::eval::{Doubt, outcome_in};
use access::finding::{Confidence, Exactness, Rule};
use access::policy::{Document, Version};
use access::reading::{Reading, touched};
use access::services;
use access::symbolic::{Verdict, implies};
use access::{Context, Principal, Request};

const CONDITIONS: [(&str, &[&str], &[&str]); 8] = [
    (
        "aws:SourceArn",
        &["ArnLike", "ArnNotLike", "StringLike"],
        &["*", "arn:aws:sns:*", "arn:aws:s3:::b", "arn:*:*:*:*:x*"],
    ),
    (
        "aws:TagKeys",
        &[
            "StringEquals",
            "StringNotEquals",
            "StringEqualsIfExists",
            "ForAllValues:StringEquals",
            "ForAnyValue:StringNotEquals",
            "Null",
        ],
        &["a", "b", "true", "false"],
    ),
    ("x:number", &["NumericNotEquals", "StringLike", "NumericLessThan", "ArnNotLike"], &["3", "4", "*", "x"]),
    (
        "x:name",
        &["StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", "StringEquals"],
        &["É", "é", "ab", "AB"],
    ),
    ("aws:PrincipalTag/Team", &["StringEquals", "StringNotEquals", "Null"], &["a", "b", "true", "false"]),
    ("aws:PrincipalTag/team", &["StringEquals", "StringNotEquals"], &["a", "b"]),
    (
        "aws:PrincipalAccount",
        &["StringEquals", "StringNotLike", "StringLikeIfExists", "Null"],
        &["anonymous", "111111111111", "*", "true"],
    ),
    (
        "aws:username",
        &["StringEquals", "StringNotEquals", "StringLike", "ForAnyValue:StringLike"],
        &["a", "${aws:userid}", "${aws:PrincipalTag/team}", "${aws:userid, 'a'}"],
    ),
];
const RESOURCES: [&str; 6] = [
    "*",
    "arn:aws:s3:::b/*",
    "arn:aws:zz:*x:y:*",
    "arn:aws:zz:e?:x:y:z",
    "arn:aws:s3:::b/${aws:username}",
    "arn:aws:zz:*",
];
const LISTED: [&str; 6] = [
    r#""*""#,
    r#"{"AWS":"111111111111"}"#,
    r#"{"AWS":"arn:aws:iam::111111111111:role/x"}"#,
    r#"{"AWS":["111111111111","arn:aws:iam::111111111111:role/x"]}"#,
    r#"{"AWS":["111111111111","arn:aws:iam::111111111111:role/x","arn:aws:sts::111111111111:assumed-role/x/s"]}"#,
    r#"{"AWS":"arn:aws:iam::111111111111:user/u","Service":"ec2.amazonaws.com"}"#,
];

/// A policy whose parts are open in one way or another; few of them at a time.
fn open_policy(dice: &mut Dice, principals: bool) -> String {
    let about: Vec<usize> = (0..2).map(|_| dice.below(CONDITIONS.len())).collect();
    let mut statements = Vec::new();
    for _ in 0..1 + dice.below(3) {
        let is_deny = dice.below(100) < 40;
        let effect = if is_deny { "Deny" } else { "Allow" };
        let not = |dice: &mut Dice, is: bool| if is && dice.below(4) == 0 { "Not" } else { "" };
        let mut head = format!(r#""Effect":"{effect}","Action":"*""#);
        if principals {
            let who = if dice.below(2) == 0 { LISTED[0] } else { dice.one(&LISTED) };
            head += &format!(r#","{}Principal":{who}"#, not(dice, is_deny));
        }
        let resource = if dice.below(2) == 0 { RESOURCES[0] } else { dice.one(&RESOURCES) };
        head += &format!(r#","{}Resource":["{resource}","{}"]"#, not(dice, true), dice.one(&RESOURCES[1..3]));
        let mut conditions = Vec::new();
        for _ in 0..dice.below(3) {
            let (key, operators, values) = CONDITIONS[about[dice.below(2)]];
            let operator = dice.one(operators);
            let value = if operator == "Null" { dice.one(&["true", "false"]) } else { dice.one(values) };
            conditions.push(format!(r#""{operator}":{{"{key}":["{value}","{}"]}}"#, dice.one(values)));
        }
        conditions.sort();
        conditions.dedup_by(|a, b| a.split("\":{").next() == b.split("\":{").next());
        statements.push(format!(r#"{{{head},"Condition":{{{}}}}}"#, conditions.join(",")));
    }
    statements.join(",")
}

fn open_request(dice: &mut Dice, principals: bool) -> Request {
    const VALUES: [(&str, &[&str]); 7] = [
        ("aws:sourcearn", &["arn:aws:sns:eu-west-1:1:t", "arn:aws:s3:::b", "arn:aws:s3:::c"]),
        ("aws:tagkeys", &["a", "b", "z"]),
        ("x:number", &["3", "4", "5", "ann", "a:b:c:d:e:f"]),
        ("x:name", &["É", "é", "aB", "z"]),
        ("aws:principaltag/team", &["a", "b", "z"]),
        ("aws:userid", &["a", "z"]),
        ("aws:username", &["a", "b", "z"]),
    ];
    let mut context = Context::new();
    for (key, values) in VALUES {
        if dice.below(100) < 55 {
            let n = match key {
                "aws:tagkeys" => dice.below(4),
                _ => 1,
            };
            let name =
                if key.ends_with("/team") && dice.below(2) == 0 { "aws:principaltag/Team" } else { key };
            context.insert(name.to_owned(), (0..n).map(|_| dice.one(values).to_owned()).collect());
        }
    }
    let role = "arn:aws:iam::111111111111:role/x".to_owned();
    let principal = principals.then(|| match dice.below(7) {
        0 => Principal::Anonymous,
        1 => Principal::Iam(role.clone()),
        2 => Principal::Session { role: role.clone(), name: dice.one(&["s", "t"]).to_owned() },
        3 => Principal::Iam("arn:aws:iam::111111111111:user/u".to_owned()),
        4 => Principal::Iam("arn:aws:iam::111111111111:root".to_owned()),
        5 => Principal::Service("ec2.amazonaws.com".to_owned()),
        _ => Principal::Iam("arn:aws:iam::222222222222:user/u".to_owned()),
    });
    if let Some(principal) = &principal {
        context.extend(principal.arn().map(|arn| ("aws:principalarn".to_owned(), vec![arn.to_owned()])));
        context.extend(principal.account().map(|a| ("aws:principalaccount".to_owned(), vec![a.to_owned()])));
    } else if dice.below(2) == 0 {
        context.insert("aws:principalaccount".to_owned(), vec!["111111111111".to_owned()]);
    }
    let resource = dice
        .one(&[
            "*",
            "arn:aws:s3:::b/a",
            "arn:aws:s3:::b/z",
            "arn:aws:zz:eu:x:y:z",
            "arn:aws:zz:ex:1:y:z",
            "arn:aws:zz:a:bx:y:z",
        ])
        .to_owned();
    Request { principal, action: "s3:GetObject".to_owned(), resource, context }
}

fn setting(name: &str, otherwise: usize) -> usize {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(otherwise)
}

/// In no reading does the evaluator allow under the one document alone what the engine says it does not; and what the engine says is
/// so, is so in all.
#[test]
fn both_halves_agree_in_every_reading() {
    let (pairs, seed) = (setting("AVOUCH_READINGS", 200_000), setting("AVOUCH_SEED", 3));
    let mut dice = Dice::new(seed as u64);
    let (mut holds, mut fails, mut open, mut of_one) = (0, 0, 0, 0);
    for n in 0..pairs / 100 {
        let principals = n % 2 == 1;
        let p = open_policy(&mut dice, principals);
        let q = match n % 3 {
            0 => open_policy(&mut dice, principals),
            1 => format!("{p},{}", open_policy(&mut dice, principals)),
            _ => p.replace(r#""Action":"*""#, r#""Action":["*","s3:*"]"#).replacen("\"a\"", "\"b\"", n % 2),
        };
        let (p, q) = (policy(&p), policy(&q));
        let verdict = implies(&p, &q);
        let touched = touched([&p, &q].into_iter());
        let all: Vec<Reading> = touched.combinations().collect();
        let differs = |request: &Request, reading: Reading| {
            is_allowed(&p, request, reading) && !outcome_in(&q, request, Doubt::Forbids, reading).is_allowed()
        };
        match &verdict {
            Verdict::Holds => holds += 1,
            Verdict::Fails(request) => {
                fails += 1;
                for reading in &all {
                    assert!(differs(request, *reading), "{reading}\n{}\n{}\n{request:?}", p.text, q.text);
                }
            }
            Verdict::Undecided(..) => {
                open += 1;
                assert!(!touched.is_empty(), "{}\n{}", p.text, q.text);
            }
        }
        for _ in 0..100 {
            let request = open_request(&mut dice, principals);
            let in_some: Vec<&Reading> = all.iter().filter(|reading| differs(&request, **reading)).collect();
            of_one += usize::from(!in_some.is_empty() && in_some.len() < all.len());
            assert!(
                in_some.is_empty() || verdict != Verdict::Holds,
                "in the reading [{}]\n{}\n{}\n{request:?}",
                in_some[0],
                p.text,
                q.text
            );
        }
    }
    println!(
        "seed {seed}: {holds} hold, {fails} fail, {open} open; {of_one} requests differ in some readings only"
    );
    assert!(holds * 20 > pairs / 100 && fails * 20 > pairs / 100, "{holds} hold, {fails} fail: too few");
    assert!(of_one > pairs / 1000, "{of_one} requests that depend on a reading are too few");
}

/// Whatever an outsider is allowed in any reading is in a finding, and what is confirmed is allowed in all.
#[test]
fn outsiders_in_every_reading() {
    let (pairs, seed) = (setting("AVOUCH_READINGS", 100_000), setting("AVOUCH_SEED", 5));
    let mut dice = Dice::new(seed as u64);
    let (mut confirmed, mut possible, mut of_one) = (0, 0, 0);
    for _ in 0..pairs / 100 {
        let text = format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, open_policy(&mut dice, true));
        let estate = an_estate(&text);
        let around = Surroundings::of(&estate);
        let bundle = services::bundle(&estate.resources[0], &around).unwrap();
        let world = world_of(&estate, &bundle);
        let touched = touched(bundle.parts.iter().map(|p| &p.document));
        let all: Vec<Reading> = touched.combinations().collect();
        let found = external(&text);
        let is_unknown = found.iter().any(|f| f.rule == Rule::Unknown);
        let open: Vec<Document> =
            found.iter().filter(|f| f.rule < Rule::HeldBack).map(|f| as_policy(f, Version::V2012)).collect();
        for finding in found.iter().filter(|f| f.rule < Rule::HeldBack) {
            match (finding.confidence, &finding.witness) {
                (Confidence::Confirmed, Some(witness)) => {
                    confirmed += 1;
                    for reading in &all {
                        assert!(
                            decide_in(&bundle, witness, *reading).is_allowed,
                            "{reading}\n{text}\n{witness}"
                        );
                    }
                }
                _ => possible += 1,
            }
            let is_said = matches!(&finding.exactness, Exactness::OverApproximate(why) if touched.iter().all(|s| why.contains(s.name())));
            assert!(touched.is_empty() || is_said, "{text}\n{:?}", finding.exactness);
        }
        for _ in 0..100 {
            let mut request = open_request(&mut dice, true);
            request.resource = dice.one(&["arn:aws:s3:::b/a", "arn:aws:s3:::b/z"]).to_owned();
            world.complete(&mut request);
            let is_own = request.principal.as_ref().and_then(|p| p.account()) == Some("111122223333");
            if is_own || world.objection(&request).is_some() {
                continue;
            }
            let allowed: Vec<&Reading> =
                all.iter().filter(|r| decide_in(&bundle, &request, **r).is_allowed).collect();
            of_one += usize::from(!allowed.is_empty() && allowed.len() < all.len());
            for reading in allowed {
                let covers = |d: &Document| is_allowed(d, &request, *reading);
                assert!(
                    is_unknown || open.iter().any(covers),
                    "not found in the reading [{reading}]\n{text}\n{request:?}"
                );
            }
        }
    }
    println!(
        "seed {seed}: {confirmed} confirmed, {possible} possible; {of_one} requests allowed in some readings only"
    );
    assert!(confirmed > 50 && possible > 20 && of_one > pairs / 2_000, "{confirmed} {possible} {of_one}");
}
