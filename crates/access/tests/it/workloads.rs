//! Policies and estates of any size from a seed: what `cargo xtask bench access` measures (access.md 19). It needs nothing but
//! `model` and `serde_json`, so that the bench can include this file.

use model::{Resource, Time};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Numbers from a seed (xorshift64*; Vigna 2016).
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        around(of, self.below(of.len()))
    }

    fn chance(&mut self, in_100: usize) -> bool {
        self.below(100) < in_100
    }
}

/// One of a list, by a number that may be larger than the list.
fn around<'a>(of: &[&'a str], at: usize) -> &'a str {
    of.get(at % of.len().max(1)).copied().unwrap_or_default()
}

/// Keys, their operator, and values: mostly one in the other, some that overlap, some that stand apart. Nested values make many
/// different sets of statements that a request can meet, which is what this is hard for.
const KEYS: [(&str, &str, [&str; 16]); 6] = [
    (
        "aws:SourceIp",
        "IpAddress",
        [
            "10.0.0.0/8",
            "10.0.0.0/9",
            "10.0.0.0/10",
            "10.0.0.0/11",
            "10.0.0.0/12",
            "10.0.0.0/13",
            "10.0.0.0/14",
            "10.0.0.0/15",
            "10.0.0.0/16",
            "10.0.0.0/17",
            "10.0.0.0/20",
            "10.0.128.0/17",
            "10.64.0.0/10",
            "172.16.0.0/12",
            "172.20.0.0/14",
            "10.0.0.7/32",
        ],
    ),
    (
        "aws:PrincipalTag/team",
        "StringLike",
        [
            "*",
            "p*",
            "pay*",
            "pay-*",
            "pay-e*",
            "pay-eu-*",
            "pay-eu-p*",
            "pay-eu-prod",
            "*prod",
            "*-prod",
            "*eu*",
            "*-eu-*",
            "?ay-*",
            "pay-*-prod",
            "d*",
            "data-?",
        ],
    ),
    (
        "s3:prefix",
        "StringLike",
        [
            "*",
            "h*",
            "home/*",
            "home/a*",
            "home/ab*",
            "home/ab/*",
            "home/ab/c*",
            "home/ab/cd/*",
            "*/in",
            "home/*/in",
            "home/a*/in",
            "*.gz",
            "home/*.gz",
            "logs/*",
            "logs/202?/*",
            "home/ab/in",
        ],
    ),
    (
        "s3:max-keys",
        "NumericLessThanEquals",
        [
            "1000", "950", "900", "850", "800", "750", "700", "650", "600", "550", "500", "400", "300",
            "200", "100", "50",
        ],
    ),
    (
        "aws:CurrentTime",
        "DateLessThan",
        [
            "2026-01-01T00:00:00Z",
            "2026-04-01T00:00:00Z",
            "2026-07-01T00:00:00Z",
            "2026-10-01T00:00:00Z",
            "2027-01-01T00:00:00Z",
            "2027-04-01T00:00:00Z",
            "2027-07-01T00:00:00Z",
            "2027-10-01T00:00:00Z",
            "2028-01-01T00:00:00Z",
            "2028-04-01T00:00:00Z",
            "2028-07-01T00:00:00Z",
            "2028-10-01T00:00:00Z",
            "2029-01-01T00:00:00Z",
            "2029-04-01T00:00:00Z",
            "2029-07-01T00:00:00Z",
            "2029-10-01T00:00:00Z",
        ],
    ),
    (
        "aws:PrincipalOrgPaths",
        "ForAnyValue:StringLike",
        [
            "*",
            "o-1/*",
            "o-1/r-1/*",
            "o-1/r-1/ou-1/*",
            "o-1/r-1/ou-1/ou-11/*",
            "o-1/r-1/ou-1/ou-11/ou-111/*",
            "o-1/r-1/ou-1/ou-11/ou-111/",
            "o-1/r-1/ou-2/*",
            "o-1/*/ou-2/*",
            "o-1/*/ou-1/*",
            "o-1/*/ou-11/*",
            "*/ou-1/*",
            "*/ou-11/*",
            "o-2/*",
            "o-2/r-2/ou-1/*",
            "o-2/r-2/ou-2/",
        ],
    ),
];

/// A policy of `n` Allow statements on one bucket, each with conditions on the first `k` keys (4 at least) whose values overlap with
/// the others', and a Deny for each four of them; and the same policy a little narrower: a smaller number in every Allow, so that no
/// two statements are the same text, and one condition more in a third of them.
pub fn family(n: usize, k: usize, seed: u64) -> (String, String) {
    let mut random = Random::new(seed);
    let (mut wide, mut narrow) = (Vec::new(), Vec::new());
    for at in 0..n {
        let statement = conditioned(&mut random, "Allow", at, k, 3);
        let mut narrower = statement.clone();
        let numbers = narrower["Condition"]["NumericLessThanEquals"]["s3:max-keys"].as_array_mut();
        for number in numbers.into_iter().flatten() {
            let less = number.as_str().and_then(|n| n.parse::<u32>().ok()).unwrap_or(2) - 1;
            *number = json!(less.to_string());
        }
        if at % 3 == 0 {
            narrower["Condition"]["Bool"] = json!({ "aws:SecureTransport": "true" });
        }
        wide.push(statement);
        narrow.push(narrower);
        if at % 4 == 3 {
            let deny = conditioned(&mut random, "Deny", at, 2, 1);
            wide.push(deny.clone());
            narrow.push(deny);
        }
    }
    (document(&wide), document(&narrow))
}

fn document(statements: &[Value]) -> String {
    json!({ "Version": "2012-10-17", "Statement": statements }).to_string()
}

fn conditioned(random: &mut Random, effect: &str, at: usize, k: usize, values: usize) -> Value {
    let mut condition = serde_json::Map::new();
    for (key, operator, pool) in KEYS.iter().take(k) {
        let mut chosen: Vec<&str> = (0..1 + random.below(values)).map(|_| random.one(pool)).collect();
        chosen.sort_unstable();
        chosen.dedup();
        let entry = condition.entry((*operator).to_owned()).or_insert_with(|| json!({}));
        entry[*key] = json!(chosen);
    }
    let actions = match random.below(3) {
        0 => json!(["s3:GetObject", "s3:ListBucket"]),
        1 => json!(["s3:Get*"]),
        _ => json!(["s3:*"]),
    };
    json!({
        "Sid": format!("{effect}{at}"),
        "Effect": effect,
        "Principal": "*",
        "Action": actions,
        "Resource": ["arn:aws:s3:::data", "arn:aws:s3:::data/*"],
        "Condition": condition,
    })
}

const ACCOUNTS: [&str; 8] = [
    "111111111111",
    "222222222222",
    "333333333333",
    "444444444444",
    "555555555555",
    "666666666666",
    "777777777777",
    "888888888888",
];
const REGIONS: [&str; 4] = ["eu-west-1", "eu-central-1", "us-east-1", "ap-southeast-2"];
const TEAMS: [&str; 6] = ["payments", "search", "data", "web", "identity", "mobile"];

/// An estate of `n` resources that have a policy, one of a kind after the other: buckets, queues, keys, roles. Its policies are of the
/// sorts that real accounts have, and of 1 to 8 statements; a few are open to everybody or to another company's account.
pub fn estate(n: usize, seed: u64) -> Vec<Resource> {
    (0..n).map(|at| resource(at, seed.wrapping_add(at as u64))).collect()
}

/// One resource of an estate. With another seed the same one with another policy: what a change is.
pub fn resource(at: usize, seed: u64) -> Resource {
    let mut random = Random::new(seed);
    random.below(2);
    // By place, not by the seed: a change of its policy leaves a resource what it is.
    let account = around(&ACCOUNTS, at / 4);
    let region = around(&REGIONS, at / 32);
    let name = format!("{}-{at}", around(&TEAMS, at));
    let (kind, arn, region) = match at % 4 {
        0 => ("AWS::S3::Bucket", format!("arn:aws:s3:::{name}"), region),
        1 => ("AWS::SQS::Queue", format!("arn:aws:sqs:{region}:{account}:{name}"), region),
        2 => ("AWS::KMS::Key", format!("arn:aws:kms:{region}:{account}:key/{}", key_id(at)), region),
        _ => ("AWS::IAM::Role", format!("arn:aws:iam::{account}:role/{name}"), ""),
    };
    let statements: Vec<Value> = (0..1 + random.below(8))
        .map(|i| match kind {
            "AWS::S3::Bucket" => of_bucket(&mut random, i, &arn, account),
            "AWS::SQS::Queue" => of_queue(&mut random, i, &arn, account),
            "AWS::KMS::Key" => of_key(&mut random, i, account),
            _ => of_role(&mut random, account),
        })
        .collect();
    let policy = json!({ "Version": "2012-10-17", "Statement": statements });
    let config = match kind {
        "AWS::S3::Bucket" => {
            let blocked = random.chance(80);
            json!({
                "GetBucketPolicy": { "Policy": policy.to_string() },
                "GetPublicAccessBlock": { "PublicAccessBlockConfiguration": {
                    "BlockPublicAcls": true, "IgnorePublicAcls": true, "BlockPublicPolicy": blocked, "RestrictPublicBuckets": blocked,
                } },
                "GetBucketOwnershipControls": { "OwnershipControls": { "Rules": [{ "ObjectOwnership": "BucketOwnerEnforced" }] } },
            })
        }
        "AWS::SQS::Queue" => {
            json!({ "GetQueueAttributes": { "Attributes": { "QueueArn": arn, "Policy": policy.to_string() } } })
        }
        "AWS::KMS::Key" => {
            json!({ "GetKeyPolicy": { "Policy": policy.to_string() }, "ListGrants": { "Grants": [] } })
        }
        _ => {
            json!({ "GetRole": { "Role": {
                "Path": "/", "RoleName": name, "Arn": arn, "AssumeRolePolicyDocument": policy, "MaxSessionDuration": 3600,
            } } })
        }
    };
    let config: BTreeMap<String, Value> =
        config.as_object().cloned().unwrap_or_default().into_iter().collect();
    Resource {
        kind: kind.to_owned(),
        account: account.to_owned(),
        region: region.to_owned(),
        tags: BTreeMap::from([("team".to_owned(), around(&TEAMS, at).to_owned())]),
        config,
        captured_at: Time(1_795_000_000 * Time::SECOND),
        arn,
        name,
    }
}

fn key_id(at: usize) -> String {
    format!("{at:08x}-0000-4000-8000-{at:012x}")
}

/// Somebody of the own account, of another account, of another company; now and then everybody.
fn somebody(random: &mut Random, account: &str) -> Value {
    let other = random.one(&ACCOUNTS);
    match random.below(20) {
        0..=7 => json!({ "AWS": format!("arn:aws:iam::{account}:role/{}", random.one(&TEAMS)) }),
        8..=11 => json!({ "AWS": format!("arn:aws:iam::{other}:root") }),
        12..=15 => json!({ "AWS": [
            format!("arn:aws:iam::{other}:role/{}", random.one(&TEAMS)),
            format!("arn:aws:iam::{account}:role/{}", random.one(&TEAMS)),
        ] }),
        16 => json!({ "AWS": "arn:aws:iam::999999999999:root" }),
        17 => json!({ "AWS": "999999999999" }),
        18 => json!("*"),
        _ => json!({ "AWS": "*" }),
    }
}

/// A condition that most grants to everybody have.
fn bound(random: &mut Random, account: &str) -> Value {
    match random.below(6) {
        0 => json!({ "StringEquals": { "aws:PrincipalOrgID": "o-exampleorg" } }),
        1 => json!({ "StringEquals": { "aws:PrincipalAccount": [account, random.one(&ACCOUNTS)] } }),
        2 => json!({ "IpAddress": { "aws:SourceIp": ["203.0.113.0/24", "198.51.100.16/28"] } }),
        3 => {
            json!({ "ArnLike": { "aws:PrincipalArn": format!("arn:aws:iam::{account}:role/{}-*", random.one(&TEAMS)) } })
        }
        4 => json!({ "StringEquals": { "aws:SourceVpce": format!("vpce-{}", random.below(9)) } }),
        _ => json!({ "StringLike": { "aws:PrincipalOrgPaths": "o-exampleorg/r-root/ou-prod/*" } }),
    }
}

fn of_bucket(random: &mut Random, at: usize, arn: &str, account: &str) -> Value {
    let both = json!([arn, format!("{arn}/*")]);
    match random.below(6) {
        0 => json!({
            "Sid": format!("TlsOnly{at}"), "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": both,
            "Condition": { "Bool": { "aws:SecureTransport": "false" } },
        }),
        1 => json!({
            "Sid": format!("Encrypted{at}"), "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject",
            "Resource": format!("{arn}/*"),
            "Condition": { "StringNotEquals": { "s3:x-amz-server-side-encryption": "aws:kms" } },
        }),
        2 => json!({
            "Sid": format!("Logs{at}"), "Effect": "Allow", "Principal": { "Service": "logging.s3.amazonaws.com" },
            "Action": "s3:PutObject", "Resource": format!("{arn}/logs/*"),
            "Condition": { "StringEquals": { "aws:SourceAccount": account } },
        }),
        3 => json!({
            "Sid": format!("Shared{at}"), "Effect": "Allow", "Principal": "*",
            "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": both, "Condition": bound(random, account),
        }),
        _ => json!({
            "Sid": format!("Read{at}"), "Effect": "Allow", "Principal": somebody(random, account),
            "Action": ["s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket"], "Resource": both,
        }),
    }
}

fn of_queue(random: &mut Random, at: usize, arn: &str, account: &str) -> Value {
    if random.chance(40) {
        let topic = format!("arn:aws:sns:{}:{account}:{}", random.one(&REGIONS), random.one(&TEAMS));
        return json!({
            "Sid": format!("Topic{at}"), "Effect": "Allow", "Principal": { "Service": "sns.amazonaws.com" },
            "Action": "sqs:SendMessage", "Resource": arn, "Condition": { "ArnEquals": { "aws:SourceArn": topic } },
        });
    }
    let mut out = json!({
        "Sid": format!("Use{at}"), "Effect": "Allow", "Principal": somebody(random, account),
        "Action": ["sqs:SendMessage", "sqs:ReceiveMessage", "sqs:DeleteMessage"], "Resource": arn,
    });
    if random.chance(30) {
        out["Condition"] = bound(random, account);
    }
    out
}

fn of_key(random: &mut Random, at: usize, account: &str) -> Value {
    if at == 0 {
        return json!({
            "Sid": "Enable IAM", "Effect": "Allow", "Principal": { "AWS": format!("arn:aws:iam::{account}:root") },
            "Action": "kms:*", "Resource": "*",
        });
    }
    if random.chance(30) {
        return json!({
            "Sid": format!("Grants{at}"), "Effect": "Allow", "Principal": somebody(random, account),
            "Action": ["kms:CreateGrant", "kms:ListGrants", "kms:RevokeGrant"], "Resource": "*",
            "Condition": { "Bool": { "kms:GrantIsForAWSResource": "true" } },
        });
    }
    let mut out = json!({
        "Sid": format!("Use{at}"), "Effect": "Allow", "Principal": somebody(random, account),
        "Action": ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"], "Resource": "*",
    });
    if random.chance(40) {
        let service = format!("s3.{}.amazonaws.com", random.one(&REGIONS));
        out["Condition"] =
            json!({ "StringEquals": { "kms:ViaService": service, "kms:CallerAccount": account } });
    }
    out
}

fn of_role(random: &mut Random, account: &str) -> Value {
    let issuer = "token.actions.githubusercontent.com";
    match random.below(5) {
        0 => json!({
            "Effect": "Allow", "Principal": { "Service": random.one(&["ec2.amazonaws.com", "lambda.amazonaws.com", "ecs-tasks.amazonaws.com"]) },
            "Action": "sts:AssumeRole",
        }),
        1 => json!({
            "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::999999999999:root" }, "Action": "sts:AssumeRole",
            "Condition": { "StringEquals": { "sts:ExternalId": format!("x-{}", random.below(99)) } },
        }),
        2 => json!({
            "Effect": "Allow", "Principal": { "Federated": format!("arn:aws:iam::{account}:oidc-provider/{issuer}") },
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {
                "StringEquals": { format!("{issuer}:aud"): "sts.amazonaws.com" },
                "StringLike": { format!("{issuer}:sub"): format!("repo:example/{}:*", random.one(&TEAMS)) },
            },
        }),
        _ => json!({ "Effect": "Allow", "Principal": somebody(random, account), "Action": "sts:AssumeRole" }),
    }
}
