//! Effective permissions against the literal decision, over random estates: every request that the evaluator allows is in a row of its
//! principal, and every confirmed row has a request that the evaluator allows.

use crate::external::{MANAGEMENT, OWN, SECOND, organization, resource};
use crate::generate::Dice;
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
use model::{OrganizationPolicy, Resource};
use serde_json::{Value, json};

const KEY: &str = "arn:aws:kms:eu-west-1:111122223333:key/k";
const ROLE: &str = "arn:aws:iam::111122223333:role/app/worker";

const ACTIONS: [&str; 14] = [
    "s3:GetObject",
    "s3:*",
    "*",
    "s3:Get*",
    "s3:PutObject",
    "s3:*Object",
    "kms:Decrypt",
    "kms:*",
    "sts:AssumeRole",
    "sts:*",
    "iam:PassRole",
    "S3:getobject",
    "kms:Retire*",
    "s3:ListBucket",
];
const RESOURCES: [&str; 12] = [
    "*",
    "arn:aws:s3:::b",
    "arn:aws:s3:::b/*",
    "arn:aws:s3:::b/x*",
    "arn:aws:s3:::b/${aws:username}/*",
    "arn:aws:s3:::b/${aws:PrincipalTag/team, 'x'}/*",
    KEY,
    "arn:aws:kms:*:*:key/*",
    ROLE,
    "arn:aws:iam::*:role/app/*",
    "arn:aws:s3:::other/*",
    "arn:aws:s3:::b/${aws:userid}/*",
];
const CONDITIONS: [(&str, &[&str], &[&str]); 15] = [
    (
        "aws:username",
        &["StringEquals", "StringNotEquals", "StringLike", "Null"],
        &["alice", "a*", "bob", "true"],
    ),
    (
        "aws:PrincipalTag/team",
        &["StringEquals", "StringNotEquals", "StringEqualsIfExists", "Null"],
        &["red", "blue", "true", "false"],
    ),
    (
        "aws:userid",
        &["StringLike", "StringNotLike", "StringEquals"],
        &["AROAWORKER00000:*", "AIDAALICE000000", "*:s"],
    ),
    ("aws:PrincipalArn", &["ArnLike", "StringEquals", "ArnNotLike"], &[ROLE, "arn:aws:iam::*:user/*", "*"]),
    ("aws:PrincipalAccount", &["StringEquals", "StringNotEquals"], &[OWN, SECOND]),
    (
        "aws:PrincipalOrgID",
        &["StringEquals", "StringNotEqualsIfExists", "StringLike"],
        &["o-exampleorg1", "o-x", "o-*"],
    ),
    (
        "aws:PrincipalOrgPaths",
        &["ForAnyValue:StringLike", "ForAllValues:StringLike", "ForAnyValue:StringNotLike"],
        &["o-exampleorg1/*", "o-exampleorg1/r-ab12/ou-ab12-11111111/", "*"],
    ),
    ("aws:PrincipalType", &["StringEquals", "StringNotEquals"], &["User", "AssumedRole", "Account"]),
    ("aws:SourceIp", &["IpAddress", "NotIpAddress"], &["203.0.113.0/24", "10.0.0.0/8"]),
    ("aws:MultiFactorAuthPresent", &["Bool", "BoolIfExists", "Null"], &["true", "false"]),
    ("aws:SourceVpce", &["StringEquals", "StringNotEqualsIfExists"], &["vpce-1"]),
    ("aws:ResourceAccount", &["StringEquals", "StringNotEquals"], &[OWN, "${aws:PrincipalAccount}"]),
    (
        "aws:ResourceTag/team",
        &["StringEquals", "StringNotEquals", "Null"],
        &["red", "${aws:PrincipalTag/team}", "true"],
    ),
    ("aws:PrincipalIsAWSService", &["Bool", "BoolIfExists"], &["true", "false"]),
    ("s3:prefix", &["StringLike", "StringEquals"], &["a*", "${aws:username}"]),
];
const PRINCIPALS: [&str; 14] = [
    r#""*""#,
    r#"{"AWS":"*"}"#,
    r#"{"AWS":"111122223333"}"#,
    r#"{"AWS":"arn:aws:iam::111122223333:root"}"#,
    r#"{"AWS":"444455556666"}"#,
    r#"{"AWS":"arn:aws:iam::111122223333:user/team/alice"}"#,
    r#"{"AWS":"arn:aws:iam::111122223333:role/app/worker"}"#,
    r#"{"AWS":"arn:aws:sts::111122223333:assumed-role/worker/s"}"#,
    r#"{"AWS":"arn:aws:iam::444455556666:role/other"}"#,
    r#"{"AWS":["arn:aws:iam::444455556666:role/other","111122223333"]}"#,
    r#"{"CanonicalUser":"c0ffee"}"#,
    r#"{"CanonicalUser":"own"}"#,
    r#"{"Service":"ec2.amazonaws.com"}"#,
    r#"{"AWS":"AROAWORKER00000"}"#,
];

fn statement(dice: &mut Dice, effect: &str, has_principal: bool, has_resource: bool) -> String {
    let not = |dice: &mut Dice, in_100: usize| if dice.below(100) < in_100 { "Not" } else { "" };
    let list = |dice: &mut Dice, of: &[&str]| {
        let all: Vec<String> = (0..1 + dice.below(2)).map(|_| format!("\"{}\"", dice.one(of))).collect();
        format!("[{}]", all.join(","))
    };
    let mut out = format!(r#"{{"Effect":"{effect}""#);
    if has_principal {
        out += &format!(r#","{}Principal":{}"#, not(dice, 8), dice.one(&PRINCIPALS));
    }
    out += &format!(r#","{}Action":{}"#, not(dice, 6), list(dice, &ACTIONS));
    if has_resource {
        out += &format!(r#","{}Resource":{}"#, not(dice, 6), list(dice, &RESOURCES));
    }
    let mut conditions: Vec<(String, String)> = Vec::new();
    for _ in 0..dice.below(5).saturating_sub(2) {
        let (key, operators, values) = CONDITIONS[dice.below(CONDITIONS.len())];
        let operator = dice.one(operators);
        let values = if operator == "Null" { &["true", "false"] } else { values };
        conditions.push((operator.to_owned(), format!("\"{key}\":{}", list(dice, values))));
    }
    conditions.sort();
    conditions.dedup_by(|a, b| a.0 == b.0);
    let conditions: Vec<String> = conditions.into_iter().map(|(o, k)| format!("\"{o}\":{{{k}}}")).collect();
    out + &format!(r#","Condition":{{{}}}}}"#, conditions.join(","))
}

fn policy(dice: &mut Dice, allows: usize, denies: usize, has_principal: bool, has_resource: bool) -> Value {
    let mut all: Vec<String> =
        (0..allows).map(|_| statement(dice, "Allow", has_principal, has_resource)).collect();
    all.extend((0..denies).map(|_| statement(dice, "Deny", has_principal, has_resource)));
    serde_json::from_str(&format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, all.join(","))).unwrap()
}

fn identity(dice: &mut Dice) -> Value {
    let (allows, denies) = (1 + dice.below(2), dice.below(6) / 5);
    policy(dice, allows, denies, false, true)
}

fn managed(arn: &str, account: &str, document: Value) -> Resource {
    let mut out = resource(
        "AWS::IAM::ManagedPolicy",
        arn,
        account,
        json!({"GetPolicyVersion": {"PolicyVersion": {"Document": document}}}),
    );
    out.name = arn.rsplit('/').next().unwrap().into();
    out
}

/// A user or a role with what it has been given.
fn person(dice: &mut Dice, kind: &str, arn: &str, account: &str, about: Value) -> Resource {
    let mut about = about;
    if dice.below(4) == 0 {
        about["PermissionsBoundary"] =
            json!({"PermissionsBoundaryArn": format!("arn:aws:iam::{account}:policy/boundary")});
    }
    let mut config = json!({});
    config[format!("Get{kind}")] = json!({kind: about});
    let inline = if dice.below(4) > 0 {
        json!({"inline": {"PolicyName": "inline", "PolicyDocument": identity(dice)}})
    } else {
        json!({})
    };
    config[format!("Get{kind}Policy")] = inline;
    let attached = if dice.below(3) == 0 {
        json!([{"PolicyArn": format!("arn:aws:iam::{account}:policy/managed")}])
    } else {
        json!([])
    };
    config[format!("ListAttached{kind}Policies")] = json!({"AttachedPolicies": attached});
    if kind == "User" {
        let groups = if dice.below(3) == 0 { json!([{"GroupName": "staff"}]) } else { json!([]) };
        config["ListGroupsForUser"] = json!({"Groups": groups});
    }
    if dice.below(25) == 0 {
        config[format!("ListAttached{kind}Policies")] =
            json!({"error": {"code": "AccessDenied", "message": "no"}});
    }
    resource(&format!("AWS::IAM::{kind}"), arn, account, config)
}

fn estate(dice: &mut Dice) -> Estate {
    let mut resources = Vec::new();
    let (allows, denies) = (1 + dice.below(2), dice.below(5) / 4);
    let trust = policy(dice, allows, denies, true, false);
    let tags = json!([{"Key": "team", "Value": "red"}]);
    let alice = json!({"UserName": "alice", "UserId": "AIDAALICE000000", "Tags": tags});
    resources.push(person(dice, "User", "arn:aws:iam::111122223333:user/team/alice", OWN, alice));
    let worker = json!({"RoleName": "worker", "RoleId": "AROAWORKER00000", "AssumeRolePolicyDocument": trust, "Tags": tags});
    resources.push(person(dice, "Role", ROLE, OWN, worker));
    let nobody = json!({"Version": "2012-10-17", "Statement": []});
    let linked = json!({"RoleName": "AWSServiceRoleForX", "AssumeRolePolicyDocument": nobody});
    let arn = "arn:aws:iam::111122223333:role/aws-service-role/x.amazonaws.com/AWSServiceRoleForX";
    resources.push(person(dice, "Role", arn, OWN, linked));
    let other = json!({"RoleName": "other", "RoleId": "AROAOTHER000000", "AssumeRolePolicyDocument": nobody});
    resources.push(person(dice, "Role", "arn:aws:iam::444455556666:role/other", SECOND, other));
    let admin = json!({"UserName": "admin", "UserId": "AIDAADMIN000000"});
    resources.push(person(dice, "User", "arn:aws:iam::123456789012:user/admin", MANAGEMENT, admin));
    resources.push(resource("AWS::Account", "arn:aws:iam::111122223333:root", OWN, json!({})));
    for account in [OWN, SECOND, MANAGEMENT] {
        for name in ["boundary", "managed"] {
            let document = identity(dice);
            resources.push(managed(&format!("arn:aws:iam::{account}:policy/{name}"), account, document));
        }
        let mut staff = resource(
            "AWS::IAM::Group",
            &format!("arn:aws:iam::{account}:group/staff"),
            account,
            json!({"GetGroupPolicy": {"g": {"PolicyDocument": identity(dice)}}, "ListAttachedGroupPolicies": {"AttachedPolicies": []}}),
        );
        staff.name = "staff".into();
        resources.push(staff);
    }
    let (allows, denies) = (dice.below(3), dice.below(4) / 3);
    let of_bucket = policy(dice, allows, denies, true, true);
    let mut bucket = resource(
        "AWS::S3::Bucket",
        "arn:aws:s3:::b",
        if dice.below(6) == 0 { MANAGEMENT } else { OWN },
        json!({"GetBucketPolicy": {"Policy": of_bucket.to_string()}, "GetPublicAccessBlock": {}, "GetBucketOwnershipControls": {},
            "GetBucketAcl": {"Owner": {"ID": "own"}, "Grants": []}}),
    );
    if dice.below(2) == 0 {
        bucket.tags.insert("team".into(), "red".into());
    }
    if dice.below(12) == 0 {
        bucket
            .config
            .insert("GetBucketPolicy".into(), json!({"error": {"code": "AccessDenied", "message": ""}}));
    }
    resources.push(bucket);
    let (allows, denies) = (1 + dice.below(2), dice.below(5) / 4);
    let of_key = policy(dice, allows, denies, true, true);
    resources.push(resource(
        "AWS::KMS::Key",
        KEY,
        OWN,
        json!({"DescribeKey": {"KeyMetadata": {"KeyManager": "CUSTOMER"}}, "GetKeyPolicy": {"Policy": of_key.to_string()}, "ListGrants": {"Grants": []}}),
    ));
    let full =
        json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]});
    let mut scps = Vec::new();
    for (n, target) in ["r-ab12", "ou-ab12-11111111", OWN].iter().enumerate() {
        match dice.below(4) {
            0 => {
                let document = identity(dice);
                scps.push((n, *target, document));
            }
            1 => {
                scps.push((n, *target, full.clone()));
                let document = policy(dice, 0, 1, false, true);
                scps.push((10 + n, *target, document));
            }
            2 => scps.push((n, *target, full.clone())),
            _ => {}
        }
    }
    let control = |(n, target, document): (usize, &str, Value)| OrganizationPolicy {
        id: format!("p-{n}"),
        name: String::new(),
        targets: vec![target.to_owned()],
        document: document.to_string(),
    };
    let scps = scps.into_iter().map(control).collect();
    let rcps = if dice.below(4) == 0 { vec![policy(dice, 0, 1, true, true)] } else { Vec::new() };
    let rcps = rcps.into_iter().map(|d| control((99, "r-ab12", d))).collect();
    let organization = (dice.below(6) > 0).then(organization);
    Estate { resources, organization, scps, rcps, ..Estate::default() }
}

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
