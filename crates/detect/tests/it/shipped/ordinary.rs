//! Ordinary work raises nothing; an intrusion hidden in it is told step by step.

use super::{findings, lines, trail, types};
use model::Time;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const ACCOUNT: &str = "111111111111";
pub const HOUR: i64 = 3_600;

pub fn record(at: i64, service: &str, api: &str, who: &Value, ip: &str, more: Value) -> Value {
    let mut r = json!({
        "eventTime": Time::from_secs(1_772_000_000 + at).to_string(), "eventSource": format!("{service}.amazonaws.com"), "eventName": api,
        "awsRegion": "eu-west-2", "eventID": format!("{at}-{api}-{ip}"), "recipientAccountId": ACCOUNT, "eventType": "AwsApiCall",
        "sourceIPAddress": ip, "userIdentity": who, "requestParameters": null, "responseElements": null,
    });
    r.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    r
}

pub fn user(name: &str) -> Value {
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
    let told = found.iter().map(|o| format!("{} by {:?} at {}", o.about.rule.name, o.subject.key, o.time));
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
