//! Random resources that others may be let into: buckets, roles, queues and keys, with control policies above them. Made of few words,
//! so that they meet.

use crate::external::{MANAGEMENT, OWN, organization, resource};
use crate::generate::Dice;
use access::estate::Estate;
use access::world::Zone;
use model::{OrganizationPolicy, Resource};
use serde_json::json;

const PRINCIPALS: [&str; 15] = [
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
    r#"{"AWS":"arn:aws:sts::999988887777:assumed-role/x/s"}"#,
    r#"{"AWS":"AROAEXAMPLEID1234567"}"#,
    r#"{"AWS":"777766665555"}"#,
    r#"{"Federated":"accounts.google.com"}"#,
];
/// Words of one kind of resource.
struct Words {
    actions: &'static [&'static str],
    /// None: its documents have no resources.
    resources: &'static [&'static str],
    /// Beside those of every kind.
    principals: &'static [&'static str],
    /// Keys of this kind, beside those of every kind, with their operators and values.
    conditions: &'static [Tests],
    /// What requests ask for.
    asked: &'static [&'static str],
    at: &'static [&'static str],
}

/// A key, operators, values.
type Tests = (&'static str, &'static [&'static str], &'static [&'static str]);

const BUCKET: Words = Words {
    actions: &[
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
    ],
    resources: &[
        "*",
        "arn:aws:s3:::b",
        "arn:aws:s3:::b/*",
        "arn:aws:s3:::b/x*",
        "arn:aws:s3:::b/x/y",
        "arn:aws:s3:::other/*",
        "arn:aws:s3:::b*",
    ],
    principals: &[r#"{"CanonicalUser":"c0ffee"}"#],
    conditions: &[("s3:prefix", &["StringLike", "StringEquals"], &["a*", "", "${aws:username}"])],
    asked: &[
        "s3:GetObject",
        "s3:PutObject",
        "s3:ListBucket",
        "s3:PutBucketPolicy",
        "s3:GetBucketAcl",
        "s3:BrandNew",
    ],
    at: &["arn:aws:s3:::b", "arn:aws:s3:::b/x/y", "arn:aws:s3:::b/xz", "arn:aws:s3:::b/q"],
};

const ROLE: Words = Words {
    actions: &[
        "sts:AssumeRole",
        "sts:AssumeRole",
        "sts:AssumeRoleWithWebIdentity",
        "sts:AssumeRoleWithSAML",
        "sts:Assume*",
        "sts:*",
        "STS:assumerole",
        "sts:TagSession",
    ],
    resources: &[],
    principals: &[
        r#"{"Federated":"arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com"}"#,
        r#"{"Federated":"arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com"}"#,
        r#"{"Federated":"arn:aws:iam::111122223333:saml-provider/own"}"#,
        r#"{"Federated":"arn:aws:iam::999988887777:saml-provider/theirs"}"#,
        r#"{"Federated":"*"}"#,
        r#"{"Service":"ec2.amazonaws.com"}"#,
    ],
    conditions: &[
        (
            "token.actions.githubusercontent.com:sub",
            &["StringEquals", "StringLike", "StringNotLike", "ForAllValues:StringLike", "StringLikeIfExists"],
            &["repo:org/x:ref:refs/heads/main", "repo:org/*", "repo:*", "repo:org*", "*"],
        ),
        (
            "token.actions.githubusercontent.com:aud",
            &["StringEquals", "StringNotEquals"],
            &["sts.amazonaws.com", "x"],
        ),
        ("sts:ExternalId", &["StringEquals", "StringLike", "Null"], &["secret", "s*", "true"]),
        ("SAML:aud", &["StringEquals"], &["https://signin.aws.amazon.com/saml"]),
    ],
    asked: &["sts:AssumeRole", "sts:AssumeRoleWithWebIdentity", "sts:AssumeRoleWithSAML"],
    at: &["arn:aws:iam::111122223333:role/r"],
};

const QUEUE: Words = Words {
    actions: &[
        "sqs:SendMessage",
        "sqs:*",
        "sqs:Send*",
        "*",
        "SQS:receivemessage",
        "sqs:AddPermission",
        "s3:*",
    ],
    resources: &[
        "*",
        "arn:aws:sqs:eu-west-1:111122223333:q",
        "arn:aws:sqs:*:111122223333:q*",
        "arn:aws:sqs:eu-west-1:111122223333:other",
    ],
    principals: &[r#"{"AWS":"*"}"#],
    conditions: &[
        (
            "aws:SourceOwner",
            &["StringEquals", "StringNotEqualsIfExists"],
            &["111122223333", "999988887777", "*"],
        ),
        ("aws:ViaAWSService", &["Bool", "BoolIfExists"], &["true", "false"]),
    ],
    asked: &["sqs:SendMessage", "sqs:ReceiveMessage", "sqs:AddPermission", "sqs:BrandNew"],
    at: &["arn:aws:sqs:eu-west-1:111122223333:q"],
};

const KEY: Words = Words {
    actions: &[
        "kms:*",
        "kms:Decrypt",
        "kms:CreateGrant",
        "kms:De*",
        "*",
        "kms:GenerateDataKey*",
        "KMS:decrypt",
    ],
    resources: &["*", "arn:aws:kms:eu-west-1:111122223333:key/k", "arn:aws:kms:*:111122223333:key/*"],
    principals: &[r#"{"AWS":"arn:aws:iam::999988887777:role/x"}"#],
    conditions: &[
        (
            "kms:CallerAccount",
            &["StringEquals", "StringNotEquals", "StringLike"],
            &["111122223333", "999988887777", "9*"],
        ),
        (
            "kms:ViaService",
            &["StringEquals", "StringLike"],
            &["s3.eu-west-1.amazonaws.com", "*.amazonaws.com"],
        ),
        ("kms:GrantIsForAWSResource", &["Bool"], &["true", "false"]),
        ("kms:EncryptionContext:a", &["StringEquals", "StringNotEquals"], &["b", "c"]),
    ],
    asked: &["kms:Decrypt", "kms:DescribeKey", "kms:CreateGrant", "kms:GenerateDataKey", "kms:PutKeyPolicy"],
    at: &["arn:aws:kms:eu-west-1:111122223333:key/k"],
};

/// What a random resource can be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Bucket,
    Role,
    Queue,
    Key,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::Bucket, Kind::Role, Kind::Queue, Kind::Key];

    fn words(self) -> &'static Words {
        match self {
            Kind::Bucket => &BUCKET,
            Kind::Role => &ROLE,
            Kind::Queue => &QUEUE,
            Kind::Key => &KEY,
        }
    }

    /// Further words that requests have: actions, resources, values of a key.
    pub fn asked(self, part: &str) -> Vec<String> {
        let of: &[&str] = match part {
            "action" => self.words().asked,
            "resource" => self.words().at,
            key => VALUES.iter().find(|(of, _)| *of == key).map_or(&[], |(_, values)| values),
        };
        of.iter().map(|w| (*w).to_owned()).collect()
    }
}

const CONDITIONS: [Tests; 15] = [
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
    ("aws:ResourceAccount", &["StringEquals", "StringNotEquals"], &["111122223333"]),
];

/// One text, or with `lists` sometimes two.
fn texts(dice: &mut Dice, of: &[&str], lists: bool) -> String {
    let one = format!("\"{}\"", dice.one(of));
    if lists && dice.below(3) == 0 { format!("[{one},\"{}\"]", dice.one(of)) } else { one }
}

fn statement(dice: &mut Dice, effect: &str, words: &Words) -> String {
    let not = |dice: &mut Dice, in_100: usize| if dice.below(100) < in_100 { "Not" } else { "" };
    let deny = effect == "Deny";
    let principal = match dice.below(6) {
        0..3 if deny => r#""*""#,
        0 => dice.one(words.principals),
        _ => dice.one(&PRINCIPALS),
    };
    let not_principal = not(dice, if deny { 20 } else { 4 });
    let mut conditions: Vec<(String, String)> = Vec::new();
    for _ in 0..dice.below(3) {
        let at = dice.below(CONDITIONS.len() + 2 * words.conditions.len());
        let own = || words.conditions[(at - CONDITIONS.len()) % words.conditions.len()];
        let (key, operators, values) = CONDITIONS.get(at).copied().unwrap_or_else(own);
        let operator = dice.one(operators).to_owned();
        let n = 1 + dice.below(2);
        let values: Vec<String> = (0..n).map(|_| format!("\"{}\"", dice.one(values))).collect();
        conditions.push((operator, format!("\"{key}\":[{}]", values.join(","))));
    }
    conditions.sort();
    conditions.dedup_by(|a, b| a.0 == b.0);
    let conditions: Vec<String> = conditions.into_iter().map(|(o, k)| format!("\"{o}\":{{{k}}}")).collect();
    let (not_action, action) = (not(dice, 6), texts(dice, words.actions, true));
    let resource = if words.resources.is_empty() {
        String::new()
    } else {
        format!(r#""{}Resource":{},"#, not(dice, 6), texts(dice, words.resources, true))
    };
    format!(
        r#"{{"Effect":"{effect}","{not_principal}Principal":{principal},"{not_action}Action":{action},{resource}"Condition":{{{}}}}}"#,
        conditions.join(",")
    )
}

fn document(dice: &mut Dice, words: &Words, allows: usize, denies: usize) -> String {
    let mut all: Vec<String> = (0..allows).map(|_| statement(dice, "Allow", words)).collect();
    all.extend((0..denies).map(|_| statement(dice, "Deny", words)));
    let version = if dice.below(10) == 0 { "" } else { r#""Version":"2012-10-17","# };
    format!(r#"{{{version}"Statement":[{}]}}"#, all.join(","))
}

/// One more statement for a resource of a kind.
pub fn more(dice: &mut Dice, kind: Kind, effect: &str) -> serde_json::Value {
    serde_json::from_str(&statement(dice, effect, kind.words())).unwrap()
}

fn policy(dice: &mut Dice, kind: Kind) -> String {
    let (allows, denies) = (1 + dice.below(4), dice.below(3) * dice.below(2));
    document(dice, kind.words(), allows, denies)
}

/// Sets the policy of a resource of a kind.
pub fn set_policy(of: &mut Resource, kind: Kind, text: &str) {
    let (operation, answer) = match kind {
        Kind::Bucket => ("GetBucketPolicy", json!({"Policy": text})),
        Kind::Role => {
            let document: serde_json::Value = serde_json::from_str(text).unwrap();
            ("GetRole", json!({"Role": {"AssumeRolePolicyDocument": document}}))
        }
        Kind::Queue => ("GetQueueAttributes", json!({"Attributes": {"Policy": text}})),
        Kind::Key => ("GetKeyPolicy", json!({"Policy": text})),
    };
    of.config.insert(operation.to_owned(), answer);
}

/// The policy of a resource of a kind.
pub fn policy_text(of: &Resource, kind: Kind) -> String {
    let at = |operation: &str, pointer: &str| of.config[operation].pointer(pointer).unwrap();
    match kind {
        Kind::Bucket => at("GetBucketPolicy", "/Policy").as_str().unwrap().to_owned(),
        Kind::Role => at("GetRole", "/Role/AssumeRolePolicyDocument").to_string(),
        Kind::Queue => at("GetQueueAttributes", "/Attributes/Policy").as_str().unwrap().to_owned(),
        Kind::Key => at("GetKeyPolicy", "/Policy").as_str().unwrap().to_owned(),
    }
}

fn a_resource(dice: &mut Dice, kind: Kind) -> Resource {
    let text = policy(dice, kind);
    let mut out = match kind {
        Kind::Bucket => a_bucket(dice),
        Kind::Role => resource("AWS::IAM::Role", ROLE.at[0], OWN, json!({})),
        Kind::Queue => resource("AWS::SQS::Queue", QUEUE.at[0], OWN, json!({})),
        Kind::Key => a_key(dice),
    };
    set_policy(&mut out, kind, &text);
    out
}

fn a_key(dice: &mut Dice) -> Resource {
    let mut grants = Vec::new();
    for _ in 0..dice.below(3) * dice.below(2) {
        let grantee = dice.one(&["arn:aws:iam::999988887777:role/x", "arn:aws:iam::111122223333:role/y"]);
        let constraints = match dice.below(3) {
            0 => json!({}),
            1 => json!({"EncryptionContextEquals": {"a": "b"}}),
            _ => json!({"EncryptionContextSubset": {"a": "c"}}),
        };
        let operation = dice.one(&["Decrypt", "CreateGrant", "DescribeKey"]);
        grants.push(json!({"GrantId": format!("g{}", dice.below(9)), "GranteePrincipal": grantee, "Operations": [operation],
            "Constraints": constraints}));
    }
    resource("AWS::KMS::Key", KEY.at[0], OWN, json!({"ListGrants": {"Grants": grants}}))
}

fn a_bucket(dice: &mut Dice) -> Resource {
    let account = if dice.below(8) == 0 { MANAGEMENT } else { OWN };
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
    resource(
        "AWS::S3::Bucket",
        "arn:aws:s3:::b",
        account,
        json!({
            "GetBucketAcl": {"Owner": {"ID": "own"}, "Grants": grants},
            "GetPublicAccessBlock": {"PublicAccessBlockConfiguration": {"IgnorePublicAcls": ignore, "RestrictPublicBuckets": restrict}},
            "GetBucketOwnershipControls": {"OwnershipControls": {"Rules": [{"ObjectOwnership": ownership}]}},
        }),
    )
}

/// Values that requests have.
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

/// A control policy with one Deny.
pub fn rcp(dice: &mut Dice, kind: Kind) -> OrganizationPolicy {
    let target = dice.one(&["r-ab12", "ou-ab12-11111111", "ou-ab12-22222222", OWN]).to_owned();
    // These always name resources.
    let words = Words { resources: &["*"], ..*kind.words() };
    OrganizationPolicy {
        id: "p-1".into(),
        name: String::new(),
        targets: vec![target],
        document: document(dice, &words, 0, 1),
    }
}

/// A resource of a kind with what is around it.
pub fn estate(dice: &mut Dice, kind: Kind) -> Estate {
    let resource = a_resource(dice, kind);
    let rcps = if dice.below(3) == 0 { vec![rcp(dice, kind)] } else { Vec::new() };
    let organization = (dice.below(5) > 0).then(organization);
    let zone = Zone { organization: dice.below(2) == 0, ..Zone::default() };
    Estate { resources: vec![resource], organization, rcps, zone, ..Estate::default() }
}
