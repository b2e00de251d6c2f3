//! The script that `access collect-commands` prints, run with the AWS CLI against an emulated account: what it writes is what is there,
//! and the analysis says of it what was made so. What the emulator has not: the lists and states in [`NOT_EMULATED`] and
//! [`NO_STATE`], and directory buckets, for which it lists the ordinary ones.

use avouch_e2e::emulator::{ANYBODY, Emulator};
use avouch_e2e::{Scratch, avouch, skipped, text};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const OWN: &str = "123456789012";
const PARTNER: &str = "999988887777";
const ABSENT: &str = "no moto or no AWS CLI in the kit";

/// Listings that the emulator answers with 500: the analysis must say that it does not know.
const NOT_EMULATED: [&str; 1] = ["ListDomains"];
/// States of the account that it answers so: they could only shut what is open.
const NO_STATE: [&str; 2] = ["GetImageBlockPublicAccessState", "GetSnapshotBlockPublicAccessState"];
const DIRECTORY_BUCKET: &str = "arn:aws:s3express:";

/// All resources of an estate folder, by ARN.
fn read(dir: &Path) -> BTreeMap<String, Value> {
    let mut out = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the folder was written") {
            let path = entry.expect("it can be listed").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).expect("it can be read");
            let json: Value = serde_json::from_slice(&bytes)
                .unwrap_or_else(|e| panic!("{}: {e}: {}", path.display(), String::from_utf8_lossy(&bytes)));
            if let Some(arn) = json["arn"].as_str() {
                assert!(out.insert(arn.to_owned(), json.clone()).is_none(), "{arn} was written twice");
            }
        }
    }
    out
}

/// How many resources of each type.
fn census(resources: &BTreeMap<String, Value>) -> BTreeMap<&str, usize> {
    let mut out = BTreeMap::new();
    for of in resources.values() {
        *out.entry(text(of, "/type")).or_default() += 1;
    }
    out
}

/// Prints the script for the words and runs it; what it said.
#[track_caller]
fn collect(
    emulator: &Emulator<'_>,
    scratch: &Scratch,
    words: &[&str],
    keys: (&str, &str),
    dir: &str,
) -> String {
    let script =
        avouch(scratch, &[&["access", "collect-commands", "--region", "us-east-1"], words].concat()).ok();
    let script = scratch.write(format!("{dir}.sh"), script.bytes);
    emulator.sh(&script, &[dir], keys).ok().err
}

/// (rule, resource, principal) of the findings, but for what the emulator takes for directory buckets.
fn found(items: &[Value]) -> BTreeSet<(String, String, String)> {
    let triple = |i: &Value| ["/rule", "/resource", "/principal/value"].map(|p| text(i, p).to_owned());
    let all = items.iter().map(triple).filter(|[_, resource, _]| !resource.starts_with(DIRECTORY_BUCKET));
    all.map(|[rule, resource, principal]| (rule, resource, principal)).collect()
}

fn operations(config: &Value, key: &str) -> BTreeSet<String> {
    let names = config[key].as_object().into_iter().flatten().map(|(name, _)| name.clone());
    names.collect()
}

#[test]
fn a_collected_account_gives_the_findings_of_what_was_made_there() {
    let scratch = Scratch::new("collect");
    let Some(emulator) = Emulator::start(&scratch) else {
        return skipped(
            "collect_commands::a_collected_account_gives_the_findings_of_what_was_made_there",
            ABSENT,
        );
    };
    let made = emulator.make("account.py");
    let id = |name: &str| text(&made, &format!("/{name}")).to_owned();
    let said = collect(&emulator, &scratch, &["--organization"], ANYBODY, "estate");

    // What failed is what the emulator has not, each with its error in the account's file.
    let estate = scratch.join("estate");
    let resources = read(&estate);
    let account = &resources[&format!("arn:aws:iam::{OWN}:root")]["config"];
    for operation in NOT_EMULATED.iter().chain(&NO_STATE) {
        assert!(account[*operation]["us-east-1"]["error"]["code"].is_string(), "{operation}: {account}");
    }
    assert!(said.contains(&format!("; {} calls failed", NOT_EMULATED.len() + NO_STATE.len())), "{said}");
    let expected: BTreeMap<&str, usize> = [
        ("AWS::Account", 1),
        ("AWS::DynamoDB::Table", 2),
        ("AWS::EC2::Snapshot", 2),
        ("AWS::ECR::Repository", 2),
        ("AWS::Events::EventBus", 2),
        ("AWS::IAM::Group", 1),
        // The one that is attached to nobody holds nothing.
        ("AWS::IAM::ManagedPolicy", 1),
        ("AWS::IAM::Role", 4),
        ("AWS::IAM::User", 2),
        ("AWS::KMS::Key", 2),
        ("AWS::Lambda::Function", 2),
        ("AWS::S3::AccessPoint", 1),
        ("AWS::S3::Bucket", 5),
        ("AWS::S3Express::DirectoryBucket", 5),
        ("AWS::SNS::Topic", 2),
        ("AWS::SQS::Queue", 3),
        ("AWS::SecretsManager::Secret", 2),
    ]
    .into();
    assert_eq!(census(&resources), expected);
    as_it_was_made(&resources);
    of_the_organization(&estate, &made);

    let dir = estate.display().to_string();
    let external = |more: &[&str]| {
        avouch(&scratch, &[&["access", "external", "--estate", &dir, "--all", "-o", "json"], more].concat())
    };
    let (bucket, root) = (|name| format!("arn:aws:s3:::acme-{name}"), format!("arn:aws:iam::{PARTNER}:root"));
    let of = |service: &str, name: &str| format!("arn:aws:{service}:us-east-1:{OWN}:{name}");
    let role = |name| format!("arn:aws:iam::{OWN}:role/app/{name}");
    let provider = format!("arn:aws:iam::{OWN}:oidc-provider/token.actions.githubusercontent.com");
    let snapshot = format!("arn:aws:ec2:us-east-1::snapshot/{}", id("shared_snapshot"));
    let account_finding = "access.external.account";
    let expected = [
        ("access.public", bucket("open"), "*"),
        ("access.public", role("github"), &provider),
        ("access.confused-deputy", of("sqs", "deputy"), "s3.amazonaws.com"),
        (account_finding, bucket("shared"), &root),
        (account_finding, bucket("west"), &root),
        (account_finding, role("partner"), &root),
        (account_finding, of("sns", "news"), &root),
        (account_finding, of("events", "event-bus/orders"), &root),
        (account_finding, of("lambda", "function:shared"), PARTNER),
        (account_finding, of("ecr", "repository/shared"), &root),
        (account_finding, of("dynamodb", "table/shared"), &root),
        (account_finding, snapshot, PARTNER),
        (account_finding, id("shared_secret"), &root),
        (account_finding, id("shared_key"), &root),
        // By a grant; its policy names nobody else.
        (account_finding, id("own_key"), &format!("arn:aws:iam::{PARTNER}:role/reader")),
        // IgnorePublicAcls holds back what the ACL gives.
        ("access.held-back", bucket("acl"), "*"),
        // Its bucket does not let anybody in through it.
        ("access.dead-grant", of("s3", "accesspoint/reports"), &root),
        ("access.unknown", format!("arn:aws:iam::{OWN}:root"), "ListDomains in us-east-1"),
    ];
    let expected: BTreeSet<_> =
        expected.into_iter().map(|(rule, arn, who)| (rule.to_owned(), arn, who.to_owned())).collect();
    let judged = external(&[]).exits(3);
    assert_eq!(found(&judged.items()), expected);
    let unknown = judged.json()["unknown"].as_array().map_or(0, Vec::len);
    assert_eq!(unknown, NOT_EMULATED.len(), "{judged}");
    external(&["--allow-incomplete"]).exits(0);
    let reached = ["access.public", "access.confused-deputy", account_finding];
    let items = judged.items();
    let reached: Vec<_> = items.iter().filter(|i| reached.contains(&text(i, "/rule"))).collect();
    assert_eq!(reached.len(), 15);
    reached.into_iter().for_each(|item| replayed(&scratch, &dir, item));

    // Without the organisation its other accounts are outside.
    collect(&emulator, &scratch, &["--kind", "AWS::SQS::Queue"], ANYBODY, "alone");
    let alone = scratch.join("alone");
    assert!(!alone.join("organization.json").exists());
    let alone =
        avouch(&scratch, &["access", "external", "--estate", &alone.display().to_string(), "-o", "json"])
            .ok();
    let member = format!("arn:aws:iam::{}:root", id("member"));
    let queues = [
        ("access.confused-deputy", of("sqs", "deputy"), "s3.amazonaws.com"),
        (account_finding, of("sqs", "member"), &member),
    ];
    let queues = queues.map(|(rule, arn, who)| (rule.to_owned(), arn, who.to_owned()));
    assert_eq!(found(&alone.items()), BTreeSet::from(queues));
}

/// The witness is a request that the whole folder allows.
#[track_caller]
fn replayed(scratch: &Scratch, dir: &str, item: &Value) {
    assert_eq!(text(item, "/confidence"), "confirmed", "{item}");
    let request = scratch.write("witness.json", item["witness"].to_string()).display().to_string();
    avouch(scratch, &["access", "explain", "--request", &request, "--estate", dir]).ok().says(": allowed by");
}

/// What is not a policy: names, regions, tags, who is in which group.
fn as_it_was_made(resources: &BTreeMap<String, Value>) {
    let all = format!("{resources:?}");
    assert!(!all.contains("planted"), "an environment variable of a function was collected");
    assert!(!all.contains("secret_value"), "the value of a secret was collected");
    let bucket = |name: &str| &resources[&format!("arn:aws:s3:::acme-{name}")];
    assert_eq!(bucket("west")["region"], "eu-west-1");
    assert_eq!(bucket("closed")["region"], "us-east-1");
    assert_eq!(bucket("closed")["config"]["GetBucketPolicy"], json!({}));
    let tags = json!([{"Key": "team", "Value": "a \"b\""}]);
    assert_eq!(bucket("closed")["config"]["GetBucketTagging"]["TagSet"], tags);
    let iam = |name: &str| &resources[&format!("arn:aws:iam::{OWN}:{name}")]["config"];
    assert_eq!(iam("user/ana")["ListGroupsForUser"]["Groups"][0]["GroupName"], "staff");
    assert_eq!(operations(iam("user/ana"), "GetUserPolicy"), BTreeSet::new());
    let both = BTreeSet::from(["reads".to_owned(), "writes".to_owned()]);
    assert_eq!(operations(iam("user/ben"), "GetUserPolicy"), both);
    let attached = format!("arn:aws:iam::{OWN}:policy/writes");
    for (who, list) in [
        ("user/ben", "ListAttachedUserPolicies"),
        ("group/staff", "ListAttachedGroupPolicies"),
        ("role/app/own", "ListAttachedRolePolicies"),
    ] {
        assert_eq!(text(iam(who), &format!("/{list}/AttachedPolicies/0/PolicyArn")), attached, "{who}");
    }
    let statement = &iam("policy/writes")["GetPolicyVersion"]["PolicyVersion"]["Document"]["Statement"][0];
    assert_eq!(statement["Action"], "s3:PutObject");
}

/// The tree of accounts, and the policies over it.
fn of_the_organization(estate: &Path, made: &Value) {
    let read = |path: &str| -> Value {
        let bytes = std::fs::read(estate.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        serde_json::from_slice(&bytes).unwrap_or_else(|e| panic!("{path}: {e}"))
    };
    let [id, root, unit, member, scp] =
        ["organization", "root", "unit", "member", "scp"].map(|name| text(made, &format!("/{name}")));
    let organization = read("organization.json");
    assert_eq!(text(&organization, "/id"), id);
    assert_eq!(text(&organization, "/management_account"), OWN);
    assert_eq!(organization["partial"], Value::Null);
    let path = |number: &str| {
        let accounts = organization["accounts"].as_array().expect("accounts");
        let of = accounts.iter().find(|a| text(a, "/id") == number).unwrap_or_else(|| panic!("no {number}"));
        text(of, "/path").to_owned()
    };
    assert_eq!(path(OWN), format!("{id}/{root}/"));
    assert_eq!(path(member), format!("{id}/{root}/{unit}/"));
    let policy = read(&format!("scps/{scp}.json"));
    assert_eq!((text(&policy, "/name"), &policy["targets"]), ("stay", &json!([unit])));
    assert!(text(&policy, "/document").contains("organizations:LeaveOrganization"), "{policy}");
    assert!(read("scps/p-FullAWSAccess.json")["targets"].as_array().is_some_and(|t| t.len() == 4));
}

/// A policy and a listing that the collecting user may not read: both are written down, and nobody takes them for closed.
#[test]
fn what_is_denied_is_written_down_and_never_passes() {
    let scratch = Scratch::new("collect-denied");
    let Some(emulator) = Emulator::start(&scratch) else {
        return skipped("collect_commands::what_is_denied_is_written_down_and_never_passes", ABSENT);
    };
    let keys = emulator.make("auditor.py");
    let kinds = ["--kind", "AWS::S3::Bucket", "--kind", "AWS::SNS::Topic"];
    emulator.enforce();
    let said = collect(&emulator, &scratch, &kinds, (text(&keys, "/id"), text(&keys, "/secret")), "estate");
    assert!(said.contains("s3api get-bucket-policy: AccessDenied (arn:aws:s3:::acme-open)"), "{said}");
    assert!(said.contains("sns list-topics: AccessDenied (us-east-1)"), "{said}");
    let state = format!("ec2 get-image-block-public-access-state: failed (arn:aws:iam::{OWN}:root)");
    assert!(said.contains(&state), "{said}");

    let estate = scratch.join("estate");
    let resources = read(&estate);
    let counted = [("AWS::Account", 1), ("AWS::S3::Bucket", 2)];
    assert_eq!(census(&resources), BTreeMap::from(counted));
    let buckets = ["arn:aws:s3:::acme-open", "arn:aws:s3:::acme-closed"];
    for bucket in buckets {
        let config = &resources[bucket]["config"];
        assert_eq!(config["GetBucketPolicy"]["error"]["code"], "AccessDenied", "{config}");
        assert!(config["GetBucketAcl"]["Grants"].is_array(), "{config}");
    }
    let account = format!("arn:aws:iam::{OWN}:root");
    let listing = &resources[&account]["config"]["ListTopics"]["us-east-1"]["error"];
    assert_eq!(listing["code"], "AccessDenied");
    assert!(text(listing, "/message").contains("not authorized to perform: sns:ListTopics"), "{listing}");

    // Nobody knows of either bucket whether it is open; the one of them is.
    let dir = estate.display().to_string();
    let external =
        |more: &[&str]| avouch(&scratch, &[&["access", "external", "--estate", &dir], more].concat());
    let judged = external(&["-o", "json"]).exits(3);
    let unknown = |arn: &str, what: &str| ("access.unknown".to_owned(), arn.to_owned(), what.to_owned());
    let expected = [
        unknown(buckets[0], "GetBucketPolicy"),
        unknown(buckets[1], "GetBucketPolicy"),
        unknown(&account, "ListTopics in us-east-1"),
    ];
    assert_eq!(found(&judged.items()), BTreeSet::from(expected));
    for item in judged.items() {
        let permission =
            if text(&item, "/resource") == account { "sns:ListTopics" } else { "s3:GetBucketPolicy" };
        assert!(text(&item, "/recommendation/text").contains(&format!("`{permission}`")), "{item}");
    }
    external(&[]).exits(3).says("s3:GetBucketPolicy").says("sns:ListTopics");
    external(&["--allow-incomplete"]).exits(0);
    // One case per resource, and every one of them is an error.
    let cases = external(&["-o", "junit"]).exits(3).out();
    assert_eq!((cases.matches("<testcase").count(), cases.matches("<error").count()), (3, 3), "{cases}");
}
