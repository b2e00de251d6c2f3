//! The rules that ship with the product (`rules/`): they load, their own tests pass, they see recorded attacks, and they leave
//! ordinary work alone.

use super::support::shared;
use detect::sigma::rule::Head;
use detect::{Engine, Rules, Settings, run_tests};
use model::{Batch, Column, ColumnKind, ColumnSpec, Columns, EventId, Occurrence, Provenance, Time};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rules")
}

/// Every rule file as (path below `rules/`, text), sorted.
fn files() -> Vec<(String, String)> {
    fn walk(dir: &Path, out: &mut Vec<PathBuf>) {
        for e in std::fs::read_dir(dir).unwrap() {
            let p = e.unwrap().path();
            if p.is_dir() {
                walk(&p, out);
            } else if p.extension().is_some_and(|e| e == "yml") {
                out.push(p);
            }
        }
    }
    let (root, mut paths) = (folder(), Vec::new());
    walk(&root, &mut paths);
    paths.sort();
    let name = |p: &Path| p.strip_prefix(&root).unwrap().display().to_string();
    paths.iter().map(|p| (name(p), std::fs::read_to_string(p).unwrap())).collect()
}

fn rules() -> Rules {
    let (rules, refused) = Rules::load(files());
    assert!(refused.is_empty(), "{}", lines(&refused));
    rules
}

fn lines<T: std::fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|i| i.to_string()).collect::<Vec<_>>().join("\n")
}

fn heads(rules: &Rules) -> Vec<&Head> {
    rules.rules.iter().map(|r| &r.head).chain(rules.correlations.iter().map(|c| &c.head)).collect()
}

/// A batch of CloudTrail records, each at its own time.
fn trail(records: &[Value]) -> Batch {
    let mut b = Batch::builder();
    let (p, d) = (b.provenance(Provenance::new("trail")), b.dataset("aws.cloudtrail"));
    for (i, r) in records.iter().enumerate() {
        let row = b.push(r.to_string().as_bytes(), p, d);
        row.event_time =
            r["eventTime"].as_str().and_then(|t| Time::parse_rfc3339(t.as_bytes())).unwrap_or(Time::NONE);
        row.id = EventId::of(&[b"trail", &i.to_le_bytes()]);
    }
    b.finish()
}

/// Settled findings of the whole rule set.
fn findings(batch: &Batch, columns: Option<&Columns>) -> Vec<Occurrence> {
    let mut engine = Engine::new(rules(), Settings::default()).unwrap();
    let mut found = engine.events(batch, columns);
    found.extend(engine.end());
    found.retain(|o| o.is_settled);
    found
}

fn types(found: &[Occurrence]) -> BTreeSet<&str> {
    found.iter().map(|o| o.finding_type.as_str()).collect()
}

#[test]
fn every_rule_loads_and_passes_its_own_tests() {
    let rules = rules();
    let report = run_tests(&rules);
    let wrong = report.results.iter().filter(|r| !r.passed()).map(|r| {
        let want = if r.expected { "does not fire" } else { "fires" };
        format!("{}:{}: {} {want}: {}", r.file, r.line, r.rule, r.test)
    });
    let failed = report.failed.iter().map(|(rule, why)| format!("{rule}: {why}"));
    let untested = report.untested.iter().map(|r| format!("{r}: has no firing test, or no near miss"));
    let all: Vec<String> = wrong.chain(failed).chain(untested).collect();
    println!(
        "{} rules, {} correlations, {} tests",
        rules.rules.len(),
        rules.correlations.len(),
        report.results.len()
    );
    assert!(all.is_empty(), "{}", lines(all));
    assert!(rules.rules.len() >= 100 && rules.correlations.len() >= 20, "the set shrank");
    assert!(rules.lints.is_empty(), "{}", lines(&rules.lints));
}

/// A finding of a shipped rule says what it is, what it means and what to do; its name is the name of its file.
#[test]
fn every_rule_explains_itself() {
    let rules = rules();
    let mut names = BTreeSet::new();
    let mut ids = BTreeSet::new();
    let base: BTreeSet<usize> = rules.correlations.iter().flat_map(|c| c.rules.clone()).collect();
    let mut wrong = Vec::new();
    for (i, h) in heads(&rules).into_iter().enumerate() {
        let mut need = |ok: bool, what: &str| {
            if !ok {
                wrong.push(format!("{}: {what}", h.file));
            }
        };
        let stem = Path::new(&h.file).file_stem().unwrap().to_str().unwrap();
        let is_first = !h.name.contains('#');
        need(!is_first || (h.name == stem && h.alias.as_deref() == Some(stem)), "name is not the file's");
        need(names.insert(h.alias.clone()), "the name stands twice");
        need(!h.id.is_empty() && ids.insert(h.id.clone()), "the id is missing or stands twice");
        need(h.own.is_present && !h.own.needs.is_empty() && !h.own.why.is_empty(), "no `needs` or `why`");
        if h.own.is_signal {
            need(i < rules.rules.len() && base.contains(&i), "a signal that nothing counts");
            continue;
        }
        let form = h.own.finding_type.as_deref().and_then(|t| t.split_once(':')?.1.split_once('/'));
        need(
            form.is_some_and(|(a, b)| !a.is_empty() && !b.is_empty()),
            "type is not Purpose:Resource/Family",
        );
        need(!h.own.fix.is_empty() && !h.false_positives.is_empty(), "no `fix` or `false_positives`");
        need(h.own.budget.is_some() && !h.tags.is_empty(), "no `budget` or tags");
    }
    assert!(wrong.is_empty(), "{}", lines(wrong));
    let unrouted = Engine::new(rules, Settings::default()).unwrap().health().unrouted;
    assert!(unrouted.is_empty(), "{unrouted:?}");
}

/// Rules are about behaviour: none may know the simulator whose logs judge it, nor a tool by the name it gives itself.
#[test]
fn no_rule_knows_a_simulator() {
    for (file, text) in files() {
        let lower = text.to_ascii_lowercase();
        for word in ["stratus", "red-team", "redteam", "pacu", "cloudgoat", "malicious-", "backdoor"] {
            assert!(!lower.contains(word), "{file} says `{word}`");
        }
    }
    for r in &rules().rules {
        let agent = r.fields().iter().any(|p| p.as_str().eq_ignore_ascii_case("userAgent"));
        assert!(!agent, "{} asks for the user agent", r.head.name);
    }
}

/// Recorded technique → finding types that name it.
const ATTACKS: [(&str, &[&str]); 12] = [
    (
        "aws.credential-access.secretsmanager-batch-retrieve-secrets",
        &["CredentialAccess:SecretsManager/BulkRetrieval"],
    ),
    (
        "aws.credential-access.secretsmanager-retrieve-secrets",
        &["CredentialAccess:SecretsManager/BulkRetrieval"],
    ),
    ("aws.defense-evasion.cloudtrail-delete", &["Stealth:IAMUser/CloudTrailLoggingDisabled"]),
    ("aws.defense-evasion.cloudtrail-stop", &["Stealth:IAMUser/CloudTrailLoggingDisabled"]),
    ("aws.execution.ec2-user-data", &["Persistence:EC2/BootOrLogonInitializationScripts"]),
    ("aws.exfiltration.ec2-share-ami", &["Exfiltration:EC2/TransferDataToCloudAccount"]),
    (
        "aws.persistence.iam-create-admin-user",
        &["PrivilegeEscalation:IAM/AccountManipulation", "Persistence:IAM/AccountManipulation"],
    ),
    (
        "aws.persistence.iam-create-backdoor-role",
        &["Persistence:IAM/AccountManipulation", "PrivilegeEscalation:IAM/AccountManipulation"],
    ),
    ("aws.persistence.lambda-backdoor-function", &["Persistence:Lambda/AccountManipulation"]),
    ("aws.persistence.lambda-layer-extension", &["Persistence:Lambda/EventTriggeredExecution"]),
    ("aws.persistence.rolesanywhere-create-trust-anchor", &["Persistence:RolesAnywhere/AccountManipulation"]),
    ("aws.privilege-escalation.iam-update-user-login-profile", &["Persistence:IAM/AccountManipulation"]),
];

#[test]
fn recorded_attacks_are_found_and_named() {
    let Some(root) = shared("recorded_attacks_are_found_and_named") else { return };
    let mut wrong = Vec::new();
    for (name, allowed) in ATTACKS {
        let text = std::fs::read_to_string(root.join(format!("cloudtrail-attacks/{name}.json"))).unwrap();
        let records: Vec<Value> = serde_json::from_str(&text).unwrap();
        let found = findings(&trail(&records), None);
        let got = types(&found);
        println!("{name}: {got:?}");
        if got.is_empty() || got.len() > 2 || got.iter().any(|t| !allowed.contains(t)) {
            wrong.push(format!("{name}: {got:?}, {allowed:?} expected"));
        }
    }
    assert!(wrong.is_empty(), "{}", lines(wrong));
}

/// Names of a public rule set's tests → our rules that look for the same behaviour.
const SAME: [(&str, &[&str]); 33] = [
    ("AWS.CloudTrail.AMIModifiedForPublicAccess", &["image_shared"]),
    ("AWS.CloudTrail.DNSLogsDeleted", &["dns_query_logs_deleted"]),
    ("AWS.CloudTrail.EventSelectorsDisabled", &["trail_weakened"]),
    ("AWS.CloudTrail.IMDSCredentialExfiltration", &["instance_credentials_used_outside"]),
    ("AWS.CloudTrail.PasswordSpraying", &["console_login_failed"]),
    ("AWS.CloudTrail.SES.CheckIdentityVerifications", &["ses_enumeration#2"]),
    ("AWS.CloudTrail.SES.ListIdentities", &["ses_enumeration#2"]),
    ("AWS.CloudTrail.Stopped", &["trail_stopped"]),
    ("AWS.ConfigService.DisabledDeleted", &["config_recorder_stopped"]),
    ("AWS.Console.RootLogin", &["root_console_login"]),
    ("AWS.Console.RootLoginFailed", &["console_login_failed"]),
    ("AWS.EC2.EBS.Encryption.Disabled", &["ebs_default_encryption_disabled"]),
    ("AWS.EC2.LaunchUnusualEC2Instances", &["unusual_instance_launched"]),
    ("AWS.EC2.ManyPasswordReadAttempts", &["windows_passwords_tried_in_bulk#2"]),
    ("AWS.IAM.AttachAdminUserPolicy", &["admin_policy_attached"]),
    ("AWS.IAM.Backdoor.User.Keys", &["access_key_created_for_another_user"]),
    ("AWS.IAM.BackdoorRole", &["role_trusts_outsider"]),
    ("AWS.KMS.CustomerManagedKeyLoss", &["kms_key_disabled_or_deleted"]),
    ("AWS.RDS.InstanceMadePublic", &["rds_made_public"]),
    ("AWS.Root.Activity", &["root_api_use", "root_console_login"]),
    ("AWS.S3.CopyObjectWithClientSideEncryption", &["encryption_with_customer_key"]),
    ("AWS.S3.DeleteBucketEncryption", &["bucket_encryption_changed"]),
    ("AWS.S3.DeleteObject", &["many_objects_deleted#2"]),
    ("AWS.S3.DeletePublicAccessBlock", &["block_public_access_disabled"]),
    ("AWS.S3.DisableBucketLogging", &["bucket_access_logging_disabled"]),
    ("AWS.S3.SecurityControlDisabling", &["bucket_access_logging_disabled", "bucket_versioning_suspended"]),
    ("AWS.S3.SuspendVersioning", &["bucket_versioning_suspended"]),
    ("AWS.SecretsManager.BatchRetrieveSecrets", &["secrets_read_in_batch"]),
    ("AWS.SecretsManager.BatchRetrieveSecretsCatchAll", &["secrets_read_in_batch"]),
    ("AWS.SecretsManager.RetrieveSecrets", &["many_secrets_read#2"]),
    ("AWS.SecretsManager.RetrieveSecretsMultiRegion", &["secrets_read_in_batch"]),
    ("AWS.SSM.DistributedCommand", &["ssm_command_on_instances"]),
    ("AWS.CloudTrail.SecurityConfigurationChange", &["trail_stopped"]),
];

/// Tests of that set with which we differ on purpose.
const DIFFER: [(&str, &str); 5] = [
    ("IMDS Credentials Used From Amazon.com ASN Source IP", "an address of AWS may be the instance's own"),
    ("BatchGetSecretValue Catch-All with other filters", "we do not judge the filter: each batch is told"),
    (
        "Single Command Send, No Cached IDs",
        "depends on a memory of earlier commands; one command is told at a low level",
    ),
    ("Root Read-Only Enumeration", "root is told whatever it does"),
    ("Root Activity - CreateServiceLinkedRole", "root is told whatever it does"),
];

#[test]
fn agrees_with_a_public_rule_sets_tests() {
    let Some(root) = shared("agrees_with_a_public_rule_sets_tests") else { return };
    let rules = rules();
    let same: BTreeMap<&str, &[&str]> = SAME.into_iter().collect();
    let (mut n, mut wrong, mut differ) = (0, Vec::new(), BTreeSet::new());
    for line in std::fs::read_to_string(root.join("rule-tests/tests.jsonl")).unwrap().lines() {
        let test: Value = serde_json::from_str(line).unwrap();
        let Some(ours) = same.get(test["rule_id"].as_str().unwrap()) else { continue };
        n += 1;
        let mut engine = Engine::new(rules.clone(), Settings::default()).unwrap();
        let hits = engine.hits(&trail(&[test["log"].clone()]), None);
        let fired = hits.iter().any(|h| ours.contains(&rules.rules[h.rule as usize].head.name.as_str()));
        let name = test["test_name"].as_str().unwrap();
        if fired == test["expected"].as_bool().unwrap() {
            continue;
        }
        match DIFFER.iter().find(|(d, _)| *d == name) {
            Some((d, _)) => {
                differ.insert(*d);
            }
            None => wrong.push(format!("{} / {name}: fired {fired}", test["rule_id"])),
        }
    }
    println!("{n} tests of {} rules, {} known differences", same.len(), differ.len());
    assert!(wrong.is_empty(), "{}", lines(wrong));
    assert_eq!(differ.len(), DIFFER.len(), "a difference is gone: {differ:?}");
    let names: BTreeSet<&str> = heads(&rules).into_iter().map(|h| h.name.as_str()).collect();
    let unknown: Vec<&str> =
        SAME.iter().flat_map(|(_, o)| *o).copied().filter(|o| !names.contains(o)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

const ACCOUNT: &str = "111111111111";
const HOUR: i64 = 3_600;

fn record(at: i64, service: &str, api: &str, who: &Value, ip: &str, more: Value) -> Value {
    let mut r = json!({
        "eventTime": Time::from_secs(1_772_000_000 + at).to_string(), "eventSource": format!("{service}.amazonaws.com"), "eventName": api,
        "awsRegion": "eu-west-2", "eventID": format!("{at}-{api}-{ip}"), "recipientAccountId": ACCOUNT, "eventType": "AwsApiCall",
        "sourceIPAddress": ip, "userIdentity": who, "requestParameters": null, "responseElements": null,
    });
    r.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    r
}

fn user(name: &str) -> Value {
    json!({"type": "IAMUser", "arn": format!("arn:aws:iam::{ACCOUNT}:user/{name}"), "accountId": ACCOUNT, "userName": name,
        "accessKeyId": "AKIAEXAMPLE000000001"})
}

fn role(name: &str, session: &str) -> Value {
    json!({"type": "AssumedRole", "arn": format!("arn:aws:sts::{ACCOUNT}:assumed-role/{name}/{session}"), "accountId": ACCOUNT,
        "accessKeyId": "ASIAEXAMPLE000000001",
        "sessionContext": {"sessionIssuer": {"type": "Role", "arn": format!("arn:aws:iam::{ACCOUNT}:role/{name}"), "userName": name}}})
}

/// What services, pipelines and people of a quiet estate call all day: (service, API, parameters).
fn daily() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("ec2", "DescribeInstances", json!({"maxResults": 100})),
        ("ec2", "DescribeVolumes", json!({"maxResults": 50})),
        ("ec2", "DescribeSecurityGroups", json!({"maxResults": 200})),
        ("ec2", "DescribeSubnets", json!({"maxResults": 200})),
        ("s3", "GetBucketLocation", json!({"bucketName": "statements"})),
        ("s3", "ListBuckets", json!({"Host": "s3.eu-west-2.amazonaws.com"})),
        ("s3", "GetBucketVersioning", json!({"bucketName": "archive"})),
        ("kms", "Decrypt", json!({"encryptionAlgorithm": "SYMMETRIC_DEFAULT"})),
        ("kms", "GenerateDataKey", json!({"keySpec": "AES_256"})),
        ("sts", "GetCallerIdentity", Value::Null),
        ("logs", "CreateLogStream", json!({"logGroupName": "/ledger"})),
        ("logs", "DescribeLogGroups", json!({"limit": 50})),
        ("lambda", "GetFunction20150331v2", json!({"functionName": "render"})),
        ("lambda", "ListFunctions20150331", json!({"maxItems": 50})),
        ("ecs", "DescribeServices", json!({"cluster": "core"})),
        ("ecs", "ListTasks", json!({"cluster": "core"})),
        ("rds", "DescribeDBInstances", json!({"maxRecords": 100})),
        ("dynamodb", "DescribeTable", json!({"tableName": "sessions"})),
        ("monitoring", "DescribeAlarms", json!({"maxRecords": 100})),
        ("elasticloadbalancing", "DescribeTargetHealth", json!({"targetGroupArn": "web"})),
        ("iam", "GetRole", json!({"roleName": "ledger-service"})),
        ("iam", "ListRoles", json!({"maxItems": 100})),
        ("secretsmanager", "GetSecretValue", json!({"secretId": "ledger/db"})),
        ("ssm", "GetParameters", json!({"names": ["/ledger/a", "/ledger/b"], "withDecryption": true})),
        ("s3", "GetObject", json!({"bucketName": "statements", "key": "2026/index"})),
        ("s3", "PutObject", json!({"bucketName": "statements", "key": "2026/day.csv"})),
        ("ec2", "RunInstances", json!({"instanceType": "t3.small"})),
        ("lambda", "UpdateFunctionCode20150331v2", json!({"functionName": "render"})),
    ]
}

/// An apply of infrastructure code: roles for services, private buckets, groups open for HTTPS, logs, log trails as they should be.
fn deployment(at: i64) -> Vec<Value> {
    let who = role("deploy", "ci-4711");
    let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
    let ours = format!(
        r#"{{"Statement":[{{"Effect":"Allow","Principal":{{"AWS":"arn:aws:iam::{ACCOUNT}:role/app"}},"Action":"s3:GetObject","Resource":"*"}}]}}"#
    );
    let block = json!({"BlockPublicAcls": true, "IgnorePublicAcls": true, "BlockPublicPolicy": true, "RestrictPublicBuckets": true});
    let calls = [
        ("iam", "CreateRole", json!({"roleName": "render", "assumeRolePolicyDocument": trust})),
        (
            "iam",
            "AttachRolePolicy",
            json!({"roleName": "render", "policyArn": "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"}),
        ),
        (
            "iam",
            "PutRolePolicy",
            json!({"roleName": "render", "policyDocument": r#"{"Statement":[{"Effect":"Allow","Action":["s3:GetObject"],"Resource":"arn:aws:s3:::statements/*"}]}"#}),
        ),
        (
            "iam",
            "CreatePolicyVersion",
            json!({"policyArn": "arn:aws:iam::111111111111:policy/app", "policyDocument": r#"{"Statement":[{"Effect":"Allow","Action":"s3:ListBucket","Resource":"*"}]}"#}),
        ),
        ("s3", "CreateBucket", json!({"bucketName": "new"})),
        (
            "s3",
            "PutBucketPublicAccessBlock",
            json!({"bucketName": "new", "PublicAccessBlockConfiguration": block}),
        ),
        (
            "s3",
            "PutBucketVersioning",
            json!({"bucketName": "new", "VersioningConfiguration": {"Status": "Enabled"}}),
        ),
        (
            "s3",
            "PutBucketPolicy",
            json!({"bucketName": "new", "bucketPolicy": serde_json::from_str::<Value>(&ours).unwrap()}),
        ),
        (
            "s3",
            "PutBucketLifecycle",
            json!({"bucketName": "new", "LifecycleConfiguration": {"Rule": {"Expiration": {"Days": 90}}}}),
        ),
        (
            "s3",
            "PutBucketLogging",
            json!({"bucketName": "new", "BucketLoggingStatus": {"LoggingEnabled": {"TargetBucket": "log"}}}),
        ),
        ("ec2", "CreateSecurityGroup", json!({"groupName": "web"})),
        (
            "ec2",
            "AuthorizeSecurityGroupIngress",
            json!({"groupId": "sg-1", "ipPermissions": {"items": [{"ipProtocol": "tcp", "fromPort": 443, "toPort": 443, "ipRanges": {"items": [{"cidrIp": "0.0.0.0/0"}]}}]}}),
        ),
        (
            "ec2",
            "AuthorizeSecurityGroupEgress",
            json!({"groupId": "sg-1", "ipPermissions": {"items": [{"ipProtocol": "-1", "ipRanges": {"items": [{"cidrIp": "0.0.0.0/0"}]}}]}}),
        ),
        ("ec2", "CreateFlowLogs", json!({"resourceId": "vpc-1"})),
        ("lambda", "CreateFunction20150331", json!({"functionName": "render"})),
        (
            "lambda",
            "AddPermission20150331v2",
            json!({"functionName": "render", "principal": "events.amazonaws.com", "sourceArn": "arn:aws:events:eu-west-2:111111111111:rule/r"}),
        ),
        (
            "lambda",
            "UpdateFunctionConfiguration20150331v2",
            json!({"functionName": "render", "memorySize": 512}),
        ),
        ("cloudtrail", "UpdateTrail", json!({"name": "org", "isMultiRegionTrail": true})),
        (
            "cloudtrail",
            "PutEventSelectors",
            json!({"trailName": "org", "eventSelectors": [{"readWriteType": "All", "includeManagementEvents": true}]}),
        ),
        (
            "kms",
            "CreateGrant",
            json!({"keyId": "k", "granteePrincipal": "arn:aws:iam::111111111111:role/render", "operations": ["Decrypt"]}),
        ),
        (
            "sqs",
            "SetQueueAttributes",
            json!({"queueUrl": "q", "attributes": {"Policy": r#"{"Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111111111111:root"},"Action":"sqs:*"}]}"#}}),
        ),
        ("rds", "CreateDBInstance", json!({"dBInstanceIdentifier": "db", "publiclyAccessible": false})),
        ("monitoring", "PutMetricAlarm", json!({"alarmName": "cpu"})),
        ("logs", "PutRetentionPolicy", json!({"logGroupName": "/x", "retentionInDays": 400})),
    ];
    let at_each = calls.into_iter().enumerate();
    at_each
        .map(|(i, (s, a, p))| {
            record(at + i as i64, s, a, &who, "198.51.100.90", json!({"requestParameters": p}))
        })
        .collect()
}

fn normal_day() -> Vec<Value> {
    let people = ["ines", "tom", "li", "sara", "amir", "joana"];
    let roles =
        [("ledger", "task-4f21"), ("batch", "nightly"), ("web", "i-0c4a9d2e7b1f6a855"), ("backup", "run")];
    let calls = daily();
    let mut out = Vec::new();
    // A step that shares no factor with the lists, so that everybody calls everything at some time.
    for i in 0..6_000_usize {
        let at = i as i64 * 14;
        let (service, api, parameters) = calls[(i * 11) % calls.len()].clone();
        let mut more = json!({"requestParameters": parameters});
        if i % 211 == 17 {
            more["errorCode"] = "AccessDenied".into();
        }
        let mutating = matches!(api, "UpdateFunctionCode20150331v2" | "RunInstances");
        out.push(if i % 3 == 0 && !mutating {
            let (who, ip) =
                (people[(i / 3) % people.len()], format!("198.51.100.{}", 10 + (i / 3) % people.len()));
            record(at, service, api, &user(who), &ip, more)
        } else {
            let (name, session) = roles[(i / 5) % roles.len()];
            record(at, service, api, &role(name, session), &format!("10.20.{}.{}", i % 4, 10 + i % 200), more)
        });
        if i % 97 == 5 {
            let mut login = record(
                at,
                "signin",
                "ConsoleLogin",
                &user(people[i % people.len()]),
                "198.51.100.14",
                json!({}),
            );
            login["responseElements"] =
                json!({"ConsoleLogin": if i % 194 == 5 { "Failure" } else { "Success" }});
            login["additionalEventData"] = json!({"MFAUsed": "Yes"});
            out.push(login);
        }
        if i % 13 == 3 {
            let service = json!({"type": "AWSService", "invokedBy": "ecs-tasks.amazonaws.com"});
            let more = json!({"requestParameters": {"roleArn": format!("arn:aws:iam::{ACCOUNT}:role/ledger"), "roleSessionName": "task"}});
            out.push(record(at, "sts", "AssumeRole", &service, "ecs-tasks.amazonaws.com", more));
        }
    }
    for hour in [2, 9, 15] {
        out.extend(deployment(hour * HOUR));
    }
    out
}

#[test]
fn ordinary_work_raises_nothing() {
    let day = normal_day();
    let found = findings(&trail(&day), None);
    let told = found.iter().map(|o| format!("{} by {:?} at {}", o.rule.name, o.key, o.time));
    assert!(found.is_empty(), "{} of {}\n{}", found.len(), day.len(), lines(told));
}

/// An intrusion from the root sign-in to the copied bucket, hidden in the same day.
#[test]
fn a_staged_attack_is_told_step_by_step() {
    let root = json!({"type": "Root", "arn": format!("arn:aws:iam::{ACCOUNT}:root"), "accountId": ACCOUNT});
    let intruder = user("svc-metrics");
    let ip = "203.0.113.66";
    let p = |p: Value| json!({"requestParameters": p});
    let t = 20 * HOUR;
    let mut login =
        record(t, "signin", "ConsoleLogin", &root, ip, json!({"additionalEventData": {"MFAUsed": "No"}}));
    login["responseElements"] = json!({"ConsoleLogin": "Success"});
    let name = json!({"userName": "svc-metrics"});
    let admin =
        json!({"userName": "svc-metrics", "policyArn": "arn:aws:iam::aws:policy/AdministratorAccess"});
    let mut staged = vec![
        login,
        record(t + 140, "cloudtrail", "StopLogging", &root, ip, p(json!({"name": "org"}))),
        record(t + 215, "iam", "CreateUser", &root, ip, p(name.clone())),
        record(t + 235, "iam", "AttachUserPolicy", &root, ip, p(admin)),
        record(t + 250, "iam", "CreateAccessKey", &root, ip, p(name)),
    ];
    for i in 0..12 {
        let secret = p(json!({"secretId": format!("ledger/db-{i}")}));
        staged.push(record(t + 260 + i * 6, "secretsmanager", "GetSecretValue", &intruder, ip, secret));
    }
    for i in 0..40 {
        let object = p(json!({"bucketName": "statements", "key": format!("2025/{i}.pdf")}));
        staged.push(record(t + 340 + i * 2, "s3", "GetObject", &intruder, ip, object));
    }
    let add = json!({"snapshotId": "snap-1", "createVolumePermission": {"add": {"items": [{"userId": "999999999999"}]}}});
    staged.push(record(t + 500, "ec2", "ModifySnapshotAttribute", &intruder, ip, p(add)));
    let open = json!({"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::statements/*"}]});
    staged.push(record(
        t + 560,
        "s3",
        "PutBucketPolicy",
        &intruder,
        ip,
        p(json!({"bucketName": "statements", "bucketPolicy": open})),
    ));
    let mut day = normal_day();
    day.extend(staged);
    let found = findings(&trail(&day), None);
    let want = BTreeSet::from([
        "CredentialAccess:SecretsManager/BulkRetrieval",
        "Exfiltration:EC2/TransferDataToCloudAccount",
        "Exfiltration:S3/BulkRead",
        "Persistence:IAM/AccountManipulation",
        "Policy:IAMUser/RootCredentialUsage",
        "Policy:S3/BucketAnonymousAccessGranted",
        "PrivilegeEscalation:IAM/AccountManipulation",
        "Stealth:IAMUser/CloudTrailLoggingDisabled",
    ]);
    assert_eq!(types(&found), want);
    let ids: BTreeSet<String> = found.iter().map(|o| o.id.to_string()).collect();
    assert!(ids.len() <= 10, "{} findings to work on", ids.len());
}

/// The columns that `shape` derives from host logs, as far as rules ask for them.
const HOST: [ColumnSpec; 6] = [
    ColumnSpec { name: "action", kind: ColumnKind::Text },
    ColumnSpec { name: "outcome", kind: ColumnKind::Text },
    ColumnSpec { name: "actor", kind: ColumnKind::Text },
    ColumnSpec { name: "src_ip", kind: ColumnKind::Text },
    ColumnSpec { name: "host", kind: ColumnKind::Text },
    ColumnSpec { name: "app", kind: ColumnKind::Text },
];

/// (seconds, line, action, outcome, actor, address) of host `bastion-1`.
type Line<'a> = (i64, String, &'a str, &'a str, &'a str, &'a str);

fn host_types(entries: &[Line<'_>]) -> Vec<String> {
    let mut b = Batch::builder();
    let (p, d) = (b.provenance(Provenance::new("hosts")), b.dataset("syslog"));
    let mut columns = Columns::new(&HOST);
    for (i, (at, line, action, outcome, actor, ip)) in entries.iter().enumerate() {
        let row = b.push(line.as_bytes(), p, d);
        row.event_time = Time::from_secs(1_772_000_000 + at);
        row.id = EventId::of(&[b"host", &i.to_le_bytes()]);
        let app = line.split_once(' ').unwrap().0;
        for (column, v) in columns.data.iter_mut().zip([*action, *outcome, *actor, *ip, "bastion-1", app]) {
            let Column::Text(c) = column else { panic!() };
            c.push(Some(v).filter(|v| !v.is_empty()));
        }
        columns.end_row();
    }
    let found = findings(&b.finish(), Some(&columns));
    types(&found).into_iter().map(str::to_owned).collect()
}

#[test]
fn host_logs() {
    let mut lines: Vec<Line<'_>> = Vec::new();
    for i in 0..2_000 {
        let at = i * 45;
        let who = ["ines", "tom", "li"][i as usize % 3];
        lines.push((
            at,
            format!("sshd Accepted publickey for {who}"),
            "ssh.login",
            "success",
            who,
            "198.51.100.14",
        ));
        lines.push((
            at,
            "sudo deploy : COMMAND=/usr/bin/systemctl reload nginx".into(),
            "sudo.run",
            "success",
            "deploy",
            "",
        ));
        lines.push((at, "cron session opened for user root".into(), "session.open", "success", "root", ""));
        lines.push((at, "nginx GET /health 200".into(), "", "", "", ""));
        if i % 100 == 0 {
            lines.push((
                at,
                format!("sshd Failed password for {who}"),
                "ssh.login",
                "failure",
                who,
                "198.51.100.14",
            ));
        }
    }
    assert_eq!(host_types(&lines), [""; 0]);
    for i in 0..28 {
        let name = ["root", "admin", "oracle", "ubuntu", "deploy"][i as usize % 5];
        lines.push((
            70_000 + i * 9,
            format!("sshd Failed password for {name}"),
            "ssh.login",
            "failure",
            name,
            "203.0.113.66",
        ));
    }
    assert_eq!(
        host_types(&lines),
        ["UnauthorizedAccess:Host/BruteForce", "UnauthorizedAccess:Host/PasswordSpray"]
    );
}

/// Our own audit trail is JSON whose columns rules need not know.
#[test]
fn a_paused_source_is_told() {
    let mut b = Batch::builder();
    let (p, d) = (b.provenance(Provenance::new("avouch")), b.dataset("avouch.audit"));
    for what in ["source paused", "source resumed"] {
        let event = json!({"who": "ana", "what": what, "detail": {"source": "edge"}});
        b.push(event.to_string().as_bytes(), p, d).event_time = Time::from_secs(1_772_000_000);
    }
    let found = findings(&b.finish(), None);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].resource.as_deref(), Some("edge"));
}

/// One technique of the public catalogues of cloud attacks, as the calls that it leaves in the trail.
struct Technique {
    name: &'static str,
    /// (service, API, parameters, error code, how often; `#` in a parameter becomes the number).
    calls: Vec<(&'static str, &'static str, &'static str, &'static str, usize)>,
    finding: &'static str,
}

fn technique(
    name: &'static str,
    finding: &'static str,
    calls: &[(&'static str, &'static str, &'static str, &'static str, usize)],
) -> Technique {
    Technique { name, calls: calls.to_vec(), finding }
}

fn techniques() -> Vec<Technique> {
    const DENIED: &str = "Client.UnauthorizedOperation";
    vec![
        technique(
            "passwords of instances",
            "CredentialAccess:EC2/UnsecuredCredentials",
            &[
                ("sts", "AssumeRole", r#"{"roleArn":"r"}"#, "", 1),
                ("ec2", "GetPasswordData", r##"{"instanceId":"i-#"}"##, DENIED, 30),
            ],
        ),
        technique(
            "parameters in bulk",
            "CredentialAccess:SSM/BulkRetrieval",
            &[
                ("ssm", "DescribeParameters", r#"{"maxResults":10}"#, "", 5),
                (
                    "ssm",
                    "GetParameters",
                    r##"{"withDecryption":true,"names":["/#/1","/2","/3","/4","/5","/6","/7","/8","/9","/10"]}"##,
                    "",
                    4,
                ),
            ],
        ),
        technique(
            "trail event selectors",
            "Stealth:IAMUser/CloudTrailLoggingDisabled",
            &[(
                "cloudtrail",
                "PutEventSelectors",
                r#"{"trailName":"t","eventSelectors":[{"readWriteType":"ReadOnly","includeManagementEvents":false,"dataResources":[{"type":"AWS::S3::Object","values":[]}]}]}"#,
                "",
                1,
            )],
        ),
        technique(
            "expiry of the trail's bucket",
            "Impact:S3/DataDestruction",
            &[(
                "s3",
                "PutBucketLifecycle",
                r#"{"bucketName":"t","LifecycleConfiguration":{"Rule":{"Status":"Enabled","Expiration":{"Days":1},"Prefix":"*","ID":"x"}}}"#,
                "",
                1,
            )],
        ),
        technique(
            "DNS logs",
            "DefenseImpairment:Route53Resolver/DisableOrModifyTools",
            &[
                (
                    "route53resolver",
                    "DisassociateResolverQueryLogConfig",
                    r#"{"resolverQueryLogConfigId":"rqlc-1","resourceId":"vpc-1"}"#,
                    "",
                    1,
                ),
                (
                    "route53resolver",
                    "DeleteResolverQueryLogConfig",
                    r#"{"resolverQueryLogConfigId":"rqlc-1"}"#,
                    "",
                    1,
                ),
            ],
        ),
        technique(
            "flow logs",
            "DefenseImpairment:EC2/DisableOrModifyTools",
            &[(
                "ec2",
                "DeleteFlowLogs",
                r#"{"DeleteFlowLogsRequest":{"FlowLogId":{"tag":1,"content":"fl-1"}}}"#,
                "",
                1,
            )],
        ),
        technique(
            "leaving the organisation",
            "DefenseImpairment:Organizations/ModifyCloudResourceHierarchy",
            &[("organizations", "LeaveOrganization", "null", "AccessDenied", 1)],
        ),
        technique(
            "start-up scripts read",
            "Discovery:EC2/UserDataRead",
            &[(
                "ec2",
                "DescribeInstanceAttribute",
                r##"{"instanceId":"i-#","attribute":"userData"}"##,
                DENIED,
                15,
            )],
        ),
        technique(
            "mail service explored",
            "Discovery:SES/AccountEnumeration",
            &[
                ("servicequotas", "ListServiceQuotas", r#"{"serviceCode":"ses"}"#, "", 1),
                ("ses", "GetAccountSendingEnabled", "null", "", 1),
                ("ses", "GetSendQuota", "null", "", 1),
                ("ses", "ListIdentities", r#"{"maxItems":10}"#, "", 1),
            ],
        ),
        technique(
            "unusual instances",
            "Impact:EC2/ResourceHijacking",
            &[(
                "ec2",
                "RunInstances",
                r#"{"instanceType":"p2.xlarge","instancesSet":{"items":[{"imageId":"ami-1","minCount":1,"maxCount":10}]}}"#,
                DENIED,
                1,
            )],
        ),
        technique(
            "notebook script",
            "Execution:SageMaker/CommandAndScriptingInterpreter",
            &[
                ("sagemaker", "StopNotebookInstance", r#"{"notebookInstanceName":"n"}"#, "", 1),
                (
                    "sagemaker",
                    "CreateNotebookInstanceLifecycleConfig",
                    r#"{"notebookInstanceLifecycleConfigName":"x"}"#,
                    "",
                    1,
                ),
                (
                    "sagemaker",
                    "UpdateNotebookInstance",
                    r#"{"notebookInstanceName":"n","lifecycleConfigName":"x"}"#,
                    "",
                    1,
                ),
                ("sagemaker", "StartNotebookInstance", r#"{"notebookInstanceName":"n"}"#, "", 1),
            ],
        ),
        technique(
            "command on instances",
            "Execution:SSM/RunCommand",
            &[(
                "ssm",
                "SendCommand",
                r#"{"documentName":"AWS-RunShellScript","instanceIds":["i-1","i-2"],"parameters":"HIDDEN_DUE_TO_SECURITY_REASONS"}"#,
                "",
                1,
            )],
        ),
        technique(
            "sessions on instances",
            "LateralMovement:EC2/RemoteServices",
            &[("ssm", "StartSession", r##"{"target":"i-#"}"##, "", 3)],
        ),
        technique(
            "serial console",
            "LateralMovement:EC2/RemoteServices",
            &[
                ("ec2", "EnableSerialConsoleAccess", r#"{"EnableSerialConsoleAccessRequest":""}"#, "", 1),
                (
                    "ec2-instance-connect",
                    "SendSerialConsoleSSHPublicKey",
                    r#"{"instanceId":"i-1","serialPort":0}"#,
                    "",
                    1,
                ),
            ],
        ),
        technique(
            "SSH from everywhere",
            "Persistence:EC2/ExternalRemoteServices",
            &[(
                "ec2",
                "AuthorizeSecurityGroupIngress",
                r#"{"groupId":"sg-1","cidrIp":"0.0.0.0/0","fromPort":22,"toPort":22,"ipProtocol":"tcp","ipPermissions":{}}"#,
                "",
                1,
            )],
        ),
        technique(
            "disk snapshot shared",
            "Exfiltration:EC2/TransferDataToCloudAccount",
            &[(
                "ec2",
                "ModifySnapshotAttribute",
                r#"{"snapshotId":"snap-1","createVolumePermission":{"add":{"items":[{"userId":"999999999999"}]}},"attributeType":"CREATE_VOLUME_PERMISSION"}"#,
                "",
                1,
            )],
        ),
        technique(
            "database snapshot shared",
            "Exfiltration:RDS/TransferDataToCloudAccount",
            &[(
                "rds",
                "ModifyDBSnapshotAttribute",
                r#"{"dBSnapshotIdentifier":"s","attributeName":"restore","valuesToAdd":["999999999999"]}"#,
                "",
                1,
            )],
        ),
        technique(
            "bucket policy for an outsider",
            "Exfiltration:S3/TransferDataToCloudAccount",
            &[(
                "s3",
                "PutBucketPolicy",
                r#"{"bucketName":"b","bucketPolicy":{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::999999999999:root"},"Action":["s3:GetObject","s3:GetBucketLocation","s3:ListBucket"],"Resource":["arn:aws:s3:::b/*","arn:aws:s3:::b"]}]}}"#,
                "",
                1,
            )],
        ),
        technique(
            "bucket emptied one by one",
            "Impact:S3/DataDestruction",
            &[
                ("s3", "ListObjectVersions", r#"{"bucketName":"b"}"#, "", 1),
                ("s3", "DeleteObject", r##"{"bucketName":"b","key":"k#"}"##, "", 51),
                ("s3", "PutObject", r#"{"bucketName":"b","key":"HOW-TO-RECOVER.txt"}"#, "", 1),
            ],
        ),
        technique(
            "bucket emptied at once",
            "Impact:S3/DataDestruction",
            &[
                ("s3", "ListObjectVersions", r#"{"bucketName":"b"}"#, "", 1),
                ("s3", "DeleteObjects", r#"{"bucketName":"b"}"#, "", 1),
            ],
        ),
        technique(
            "bucket encrypted",
            "Impact:S3/DataEncryptedForImpact",
            &[(
                "s3",
                "CopyObject",
                r##"{"bucketName":"b","key":"k#","x-amz-copy-source":"b/k#","x-amz-server-side-encryption-customer-algorithm":"AES256"}"##,
                "",
                51,
            )],
        ),
        technique(
            "key for another user",
            "Persistence:IAM/AccountManipulation",
            &[("iam", "CreateAccessKey", r#"{"userName":"sample"}"#, "", 1)],
        ),
        technique(
            "password for a user",
            "Persistence:IAM/AccountManipulation",
            &[("iam", "CreateLoginProfile", r#"{"userName":"sample"}"#, "", 1)],
        ),
        technique(
            "role's trust changed",
            "Persistence:IAM/AccountManipulation",
            &[(
                "iam",
                "UpdateAssumeRolePolicy",
                r#"{"roleName":"r","policyDocument":"{\n \"Version\": \"2012-10-17\",\n \"Statement\": [{\"Effect\": \"Allow\", \"Principal\": {\"Service\": \"ec2.amazonaws.com\"}, \"Action\": \"sts:AssumeRole\"}, {\"Effect\": \"Allow\", \"Principal\": {\"AWS\": \"arn:aws:iam::999999999999:root\"}, \"Action\": \"sts:AssumeRole\"}]}"}"#,
                "",
                1,
            )],
        ),
        technique(
            "federation token",
            "Persistence:IAM/FederatedAccess",
            &[
                (
                    "sts",
                    "GetFederationToken",
                    r#"{"name":"x","policy":"{\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":\"*\"}]}"}"#,
                    "",
                    1,
                ),
                ("sts", "GetCallerIdentity", "null", "", 1),
            ],
        ),
        technique(
            "function's code",
            "Persistence:Lambda/ModifyCode",
            &[(
                "lambda",
                "UpdateFunctionCode20150331v2",
                r#"{"functionName":"f","dryRun":false,"publish":false}"#,
                "",
                1,
            )],
        ),
        technique(
            "models opened and called",
            "Impact:Bedrock/ResourceHijacking",
            &[
                ("bedrock", "ListFoundationModels", r#"{"byProvider":"x"}"#, "", 1),
                ("bedrock", "PutUseCaseForModelAccess", r#"{"formData":"e30="}"#, "", 1),
                ("bedrock", "CreateFoundationModelAgreement", r#"{"modelId":"m"}"#, "", 1),
                ("bedrock", "InvokeModel", r#"{"modelId":"m"}"#, "ValidationException", 1),
            ],
        ),
        technique(
            "cluster access",
            "PrivilegeEscalation:EKS/AccountManipulation",
            &[
                (
                    "eks",
                    "CreateAccessEntry",
                    r#"{"name":"c","principalArn":"p","kubernetesGroups":[]}"#,
                    "",
                    1,
                ),
                (
                    "eks",
                    "AssociateAccessPolicy",
                    r#"{"name":"c","policyArn":"arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy","accessScope":{"type":"cluster"}}"#,
                    "",
                    1,
                ),
            ],
        ),
    ]
}

/// Each technique is named by at most two types, the whole set looking at it: more would be noise about one thing.
#[test]
fn techniques_of_public_catalogues_are_found_and_named() {
    let mut wrong = Vec::new();
    for t in techniques() {
        let mut records = Vec::new();
        for (service, api, parameters, error, n) in &t.calls {
            for i in 0..*n {
                let parameters: Value =
                    serde_json::from_str(&parameters.replace('#', &i.to_string())).unwrap();
                let mut more = json!({"requestParameters": parameters});
                if !error.is_empty() {
                    more["errorCode"] = (*error).into();
                }
                let at = records.len() as i64 * 2;
                records.push(record(at, service, api, &user("intruder"), "203.0.113.66", more));
            }
        }
        let found = findings(&trail(&records), None);
        let got = types(&found);
        if !got.contains(t.finding) || got.len() > 2 {
            wrong.push(format!("{}: {got:?}, {} expected", t.name, t.finding));
        }
    }
    assert!(wrong.is_empty(), "{}", lines(wrong));
}
