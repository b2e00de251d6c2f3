//! Effective permissions against the literal decision, over random estates: every request that the evaluator allows is in a row of its
//! principal, and every confirmed row has a request that the evaluator allows.

use crate::external::{OWN, resource};
use crate::generate::Dice;
use crate::people::{KEY, ROLE, estate, person, policy};
use access::estate::{Estate, Surroundings};
use access::eval::permissions::{View, allowed, complete, objection};
use access::eval::{Doubt, outcome};
use access::finding::Exactness;
use access::holder::{Holder, holder};
use access::policy::{Document, Duplicates, parse};
use access::reach::{Certainty, Row, target_for, what_can, who_can, world_of};
use access::target::Target;
use access::world::Zone;
use access::{Context, Principal, Request};
use serde_json::{Value, json};

const VALUES: [(&str, &[&str]); 9] = [
    ("aws:principaltag/team", &["red", "blue"]),
    ("aws:userid", &["AROAX:s", "AIDAZ"]),
    ("aws:sourceip", &["203.0.113.9", "10.1.2.3", "198.51.100.1"]),
    ("aws:multifactorauthpresent", &["true", "false"]),
    ("aws:sourcevpce", &["vpce-1", "vpce-2"]),
    ("aws:resourcetag/team", &["red", "blue"]),
    ("s3:prefix", &["a", "alice", "z"]),
    ("aws:principalorgid", &["o-x"]),
    ("aws:username", &["bob"]),
];

const ASKED: [(&str, &str); 9] = [
    ("s3:GetObject", "arn:aws:s3:::b/x/y"),
    ("s3:GetObject", "arn:aws:s3:::b/alice/y"),
    ("s3:PutObject", "arn:aws:s3:::b/red/y"),
    ("s3:ListBucket", "arn:aws:s3:::b"),
    ("kms:Decrypt", KEY),
    ("kms:RetireGrant", KEY),
    ("sts:AssumeRole", ROLE),
    ("iam:PassRole", ROLE),
    ("s3:GetObject", "arn:aws:s3:::other/q"),
];

/// A request of a holder for something, in random circumstances; `None` where nobody can make it.
fn a_request(
    dice: &mut Dice,
    estate: &Estate,
    of: &Holder,
    target: &Target,
    asked: (&str, &str),
) -> Option<Request> {
    let zone = Zone::default();
    let world = world_of(estate, target.owner.as_deref().unwrap_or(&of.account), &zone);
    let view = View { holder: of, target };
    let session = dice.one(&["s", "session", "other"]);
    let mut context = Context::new();
    let through_endpoint = dice.below(2) == 0;
    for (key, values) in VALUES {
        let is_there = match key {
            "aws:sourceip" => !through_endpoint,
            "aws:sourcevpce" => through_endpoint,
            // Most of them are what the caller is; a wrong one makes no request.
            "aws:username" | "aws:principalorgid" => dice.below(100) < 2,
            "aws:userid" | "aws:principaltag/team" => dice.below(100) < 15,
            _ => dice.below(100) < 50,
        };
        if is_there {
            context.insert(key.to_owned(), vec![dice.one(values).to_owned()]);
        }
    }
    let mut request = Request {
        principal: Some(of.principal(session)),
        action: asked.0.to_owned(),
        resource: asked.1.to_owned(),
        context,
    };
    complete(&mut request, view, &world);
    objection(&request, view, &world).is_none().then_some(request)
}

fn document(statement: &Value) -> Document {
    parse(&json!({"Version": "2012-10-17", "Statement": [statement]}).to_string(), Duplicates::LastWins)
        .unwrap()
}

/// The row as policies: a request is in it when each of them allows it.
fn as_documents(row: &Row) -> Vec<Document> {
    let actions: Vec<&str> = row.actions.iter().map(|a| a.name.as_str()).collect();
    let head = json!({"Effect": "Allow", "Action": actions, "Resource": row.resources});
    let mut out = vec![document(&head)];
    for (key, tests) in &row.condition {
        for test in tests {
            let condition = json!({test.operator.clone(): {key: test.values}});
            out.push(document(
                &json!({"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": condition}),
            ));
        }
    }
    out
}

fn is_of(row: &Row, of: &Holder, request: &Request) -> bool {
    row.principal == of.arn
        || request.principal.as_ref().is_some_and(|p: &Principal| p.to_string() == row.principal)
}

struct Told<'e> {
    estate: &'e Estate,
    seed: u64,
}

impl std::fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        for r in &self.estate.resources {
            writeln!(
                f,
                "{} {} {:?}\n  {}",
                r.arn,
                r.account,
                r.tags,
                serde_json::to_string(&r.config).unwrap()
            )?;
        }
        writeln!(f, "organization {}", self.estate.organization.is_some())?;
        writeln!(f, "{:?}\n{:?}", self.estate.scps, self.estate.rcps)
    }
}

fn from_environment(name: &str, or: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(or)
}

#[test]
fn whoever_is_allowed_is_in_a_row() {
    let estates = from_environment("AVOUCH_ESTATES", 400);
    let seed = from_environment("AVOUCH_SEED", 11);
    let (mut asked, mut allows, mut rows, mut confirmed, mut possible, mut unknown) = (0, 0, 0, 0, 0, 0);
    let mut dice = Dice::new(seed);
    for _ in 0..estates {
        let estate = estate(&mut dice);
        let around = Surroundings::of(&estate);
        let told = Told { estate: &estate, seed };
        let holders: Vec<Holder> = estate.resources.iter().filter_map(|r| holder(r, &around)).collect();
        for (action, arn) in ASKED {
            let target = target_for(&around, action, arn);
            let found = who_can(&estate, action, arn);
            rows += found.len();
            for row in &found {
                match row.certainty {
                    Certainty::Confirmed => confirmed += 1,
                    Certainty::Possible => {
                        possible += 1;
                        assert_ne!(row.exactness, Exactness::Exact, "{told}\nwhy is it not sure? {row:#?}");
                    }
                    Certainty::Unknown => unknown += 1,
                }
                let Some(of) = holders.iter().find(|h| row.principal.ends_with(h.arn.as_str())) else {
                    continue;
                };
                if row.certainty != Certainty::Confirmed {
                    continue;
                }
                let witness = row.witness.as_ref().expect("a confirmed row has a witness");
                let decision = allowed(witness, View { holder: of, target: &target });
                assert!(decision.is_allowed, "{told}\n{witness}\n{decision:#?}");
            }
            for of in &holders {
                let documents: Vec<(&Row, Vec<Document>)> =
                    found.iter().map(|r| (r, as_documents(r))).collect();
                for _ in 0..12 {
                    let Some(request) = a_request(&mut dice, &estate, of, &target, (action, arn)) else {
                        continue;
                    };
                    asked += 1;
                    let decision = allowed(&request, View { holder: of, target: &target });
                    if !decision.is_allowed {
                        continue;
                    }
                    allows += 1;
                    let is_covered = documents.iter().any(|(row, all)| {
                        is_of(row, of, &request)
                            && all.iter().all(|d| outcome(d, &request, Doubt::Allows).is_allowed())
                    });
                    assert!(is_covered, "{told}\nuncovered {request}\n{decision:#?}\n{found:#?}");
                }
            }
        }
    }
    println!(
        "seed {seed}: {estates} estates, {asked} requests, {allows} allowed; {rows} rows: {confirmed} confirmed, {possible} possible, {unknown} unknown"
    );
    assert!(allows > asked / 50, "{allows} of {asked} are too few to show anything");
    // What was not read, and the bucket that is in no estate, are unknown for everybody.
    assert!(confirmed > 5 * possible, "{confirmed} of {rows} rows are confirmed, {possible} are not");
}

#[test]
fn what_somebody_can_do_is_in_a_row() {
    let estates = from_environment("AVOUCH_ESTATES", 150);
    let seed = from_environment("AVOUCH_SEED", 12);
    let (mut asked, mut allows, mut rows, mut confirmed) = (0, 0, 0, 0);
    let mut dice = Dice::new(seed);
    for _ in 0..estates {
        let estate = estate(&mut dice);
        let around = Surroundings::of(&estate);
        let told = Told { estate: &estate, seed };
        let holders: Vec<Holder> = estate.resources.iter().filter_map(|r| holder(r, &around)).collect();
        for of in &holders {
            let found = what_can(&estate, &of.arn).unwrap();
            rows += found.len();
            let documents: Vec<(&Row, Vec<Document>)> = found.iter().map(|r| (r, as_documents(r))).collect();
            for row in found.iter().filter(|r| r.certainty == Certainty::Confirmed) {
                confirmed += 1;
                let witness = row.witness.as_ref().expect("a confirmed row has a witness");
                let target = target_for(&around, &witness.action, &witness.resource);
                let decision = allowed(witness, View { holder: of, target: &target });
                assert!(decision.is_allowed, "{told}\n{witness}\n{decision:#?}\n{row:#?}");
            }
            for (action, arn) in ASKED {
                let target = target_for(&around, action, arn);
                for _ in 0..12 {
                    let Some(request) = a_request(&mut dice, &estate, of, &target, (action, arn)) else {
                        continue;
                    };
                    asked += 1;
                    // What nobody read is told of by `who_can`; here it is no row of its own.
                    let decision = allowed(&request, View { holder: of, target: &target });
                    if !decision.is_allowed || (target.kind.is_empty() && !target.unread.is_empty()) {
                        continue;
                    }
                    allows += 1;
                    let is_covered = documents.iter().any(|(row, all)| {
                        is_of(row, of, &request)
                            && all.iter().all(|d| outcome(d, &request, Doubt::Allows).is_allowed())
                    });
                    assert!(is_covered, "{told}\nuncovered {request}\n{decision:#?}\n{found:#?}");
                }
            }
        }
    }
    println!(
        "seed {seed}: {estates} estates, {asked} requests, {allows} allowed; {rows} rows, {confirmed} confirmed"
    );
    assert!(allows > asked / 50, "{allows} of {asked} are too few to show anything");
    assert!(confirmed > rows / 2, "{confirmed} of {rows} rows are confirmed");
}

/// How long questions to a large estate take. Printed, not judged.
#[test]
#[ignore = "a measurement; run with --ignored --nocapture"]
fn measure_large_estates() {
    let mut dice = Dice::new(5);
    let mut all = estate(&mut dice);
    for n in 0..2_000 {
        let nobody = json!({"Version": "2012-10-17", "Statement": []});
        let about = json!({"RoleId": format!("AROA{n:012}"), "AssumeRolePolicyDocument": nobody});
        let role = person(&mut dice, "Role", &format!("arn:aws:iam::{OWN}:role/r{n}"), OWN, about);
        all.resources.push(role);
        let of_bucket = policy(&mut dice, 1, 1, true, true);
        let mut bucket = resource(
            "AWS::S3::Bucket",
            &format!("arn:aws:s3:::bucket-{n}"),
            OWN,
            json!({"GetBucketPolicy": {"Policy": of_bucket.to_string()}, "GetBucketAcl": {"Grants": []}, "GetPublicAccessBlock": {}}),
        );
        bucket.name = format!("bucket-{n}");
        all.resources.push(bucket);
    }
    let admin =
        json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]});
    all.resources[0].config.insert("GetUserPolicy".into(), json!({"a": {"PolicyDocument": admin}}));
    let start = std::time::Instant::now();
    let rows = who_can(&all, "s3:GetObject", "arn:aws:s3:::b/x").len();
    println!("who can: {rows} rows, {:?}", start.elapsed());
    for arn in ["arn:aws:iam::111122223333:user/team/alice", ROLE] {
        let start = std::time::Instant::now();
        let rows = what_can(&all, arn).unwrap();
        let text = serde_json::to_string(&rows).unwrap().len();
        println!("what can: {} rows, {text} bytes, {:?}", rows.len(), start.elapsed());
    }
}
