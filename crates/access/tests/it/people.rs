//! Random estates of few people: users, groups, roles, boundaries, control policies, a bucket and a key, made of few words so that they
//! meet.

use crate::external::{MANAGEMENT, OWN, SECOND, organization, resource};
use crate::generate::Dice;
use access::estate::Estate;
use model::{OrganizationPolicy, Resource};
use serde_json::{Value, json};

pub const KEY: &str = "arn:aws:kms:eu-west-1:111122223333:key/k";
pub const ROLE: &str = "arn:aws:iam::111122223333:role/app/worker";

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

pub fn policy(
    dice: &mut Dice,
    allows: usize,
    denies: usize,
    has_principal: bool,
    has_resource: bool,
) -> Value {
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
pub fn person(dice: &mut Dice, kind: &str, arn: &str, account: &str, about: Value) -> Resource {
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

pub fn estate(dice: &mut Dice) -> Estate {
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
