//! Input: CloudTrail records and syslog lines from a fixed seed, with the spread of values that real logs have.

use anyhow::{Context as _, Result};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

/// xorshift64*; the same sequence in every run.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed | 1)
    }
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
    /// Few values often, many rarely.
    pub fn zipf(&mut self, n: usize) -> usize {
        let u = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        ((n as f64).powf(u) - 1.0) as usize
    }
    fn uuid(&mut self) -> String {
        let (a, b) = (self.next(), self.next());
        format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            a >> 32,
            a >> 16 & 0xffff,
            a & 0xfff,
            b >> 52,
            b & 0xffff_ffff_ffff
        )
    }
}

const SERVICES: [&str; 18] = [
    "ec2",
    "s3",
    "sts",
    "iam",
    "lambda",
    "kms",
    "dynamodb",
    "rds",
    "logs",
    "cloudtrail",
    "guardduty",
    "sqs",
    "sns",
    "secretsmanager",
    "ecs",
    "eks",
    "ssm",
    "config",
];
const VERBS: [&str; 13] = [
    "Describe", "Get", "List", "Put", "Assume", "Decrypt", "Create", "Update", "Delete", "Attach", "Invoke",
    "Modify", "Stop",
];
const NOUNS: [&str; 24] = [
    "Instances",
    "Object",
    "Role",
    "Function",
    "Key",
    "Table",
    "Snapshot",
    "LogStreams",
    "Trails",
    "Detector",
    "Queue",
    "Topic",
    "SecretValue",
    "User",
    "Policy",
    "SecurityGroups",
    "Volumes",
    "Images",
    "Buckets",
    "Item",
    "Parameters",
    "Route",
    "Clusters",
    "Tags",
];

/// Distinct values that a rule or a search may meet, over all records made.
#[derive(Default)]
pub struct Distinct {
    pub names: BTreeSet<String>,
    pub actors: BTreeSet<String>,
    pub addresses: BTreeSet<String>,
    pub agents: BTreeSet<usize>,
}

/// Makes CloudTrail records.
pub struct Trail {
    pub random: Random,
    /// Records that were recorded, not generated; one in fifty is one of these with a fresh id.
    real: Vec<serde_json::Value>,
    /// Every value that a rule reads is new.
    hostile: bool,
    made: usize,
    pub distinct: Distinct,
}

impl Trail {
    pub fn new(seed: u64, real: Vec<serde_json::Value>, hostile: bool) -> Trail {
        Trail { random: Random::new(seed), real, hostile, made: 0, distinct: Distinct::default() }
    }

    pub fn record(&mut self) -> String {
        let n = self.made;
        self.made += 1;
        if !self.real.is_empty() && n.is_multiple_of(50) && !self.hostile {
            let mut event = self.real[n / 50 % self.real.len()].clone();
            event["eventID"] = self.random.uuid().into();
            event["requestID"] = self.random.uuid().into();
            return event.to_string();
        }
        self.generated(n)
    }

    fn generated(&mut self, n: usize) -> String {
        let r = &mut self.random;
        let service = SERVICES[r.zipf(SERVICES.len())];
        let name = format!("{}{}", VERBS[r.zipf(VERBS.len())], NOUNS[r.zipf(NOUNS.len())]);
        let (who, session, ip, agent) = (r.zipf(40_000), r.below(1_000_000), r.zipf(20_000), r.zipf(600));
        let tail = if self.hostile { format!("-{n:x}") } else { String::new() };
        let address = format!("203.{}.{}.{}", ip >> 8, ip & 255, ip * 7 & 255);
        let (identity, actor) = match r.below(10) {
            0..6 => (
                format!(
                    r#"{{"type":"AssumedRole","principalId":"AROA{who:016}:s{session}","arn":"arn:aws:sts::111111111111:assumed-role/role-{who}{tail}/s{session}","accountId":"111111111111","accessKeyId":"ASIA{session:016}","sessionContext":{{"sessionIssuer":{{"type":"Role","principalId":"AROA{who:016}","arn":"arn:aws:iam::111111111111:role/role-{who}","accountId":"111111111111","userName":"role-{who}"}},"webIdFederationData":{{}},"attributes":{{"creationDate":"2026-01-27T10:00:00Z","mfaAuthenticated":"false"}}}}}}"#
                ),
                format!("role-{who}/s{session}"),
            ),
            6..9 => (
                format!(
                    r#"{{"type":"IAMUser","principalId":"AIDA{who:016}","arn":"arn:aws:iam::111111111111:user/user-{who}{tail}","accountId":"111111111111","accessKeyId":"AKIA{who:016}","userName":"user-{who}"}}"#
                ),
                format!("user-{who}"),
            ),
            _ => (
                format!(r#"{{"type":"AWSService","invokedBy":"{service}{tail}.amazonaws.com"}}"#),
                service.to_owned(),
            ),
        };
        let parameters = match r.below(4) {
            0 => format!(
                r#"{{"bucketName":"bucket-{}","Host":"bucket.s3.eu-west-2.amazonaws.com","key":"logs/2026/01/27/{n:010}.json.gz","x-amz-acl":"private"}}"#,
                r.below(400)
            ),
            1 => format!(
                r#"{{"instancesSet":{{"items":[{{"instanceId":"i-{:017x}"}},{{"instanceId":"i-{:017x}"}}]}},"filterSet":{{"items":[{{"name":"instance-state-name","valueSet":{{"items":[{{"value":"running"}}]}}}}]}},"attribute":"userData{tail}"}}"#,
                r.next(),
                r.next()
            ),
            2 => "null".to_owned(),
            _ => format!(
                r#"{{"roleArn":"arn:aws:iam::111111111111:role/role-{who}","roleSessionName":"s{session}","durationSeconds":3600,"policyDocument":"{{\"Version\":\"2012-10-17\",\"Statement\":[{{\"Effect\":\"Allow\",\"Action\":\"s3:GetObject\",\"Resource\":\"arn:aws:s3:::b{n}/*\"}}]}}"}}"#
            ),
        };
        let error = if r.below(20) == 0 {
            r#""errorCode":"AccessDenied","errorMessage":"User is not authorized to perform this action on the resource","#
        } else {
            ""
        };
        let (request, event) = (r.uuid(), r.uuid());
        let mut out = String::with_capacity(1600);
        let _ = write!(
            out,
            r#"{{"eventVersion":"1.09","userIdentity":{identity},"eventTime":"2026-01-{:02}T{:02}:{:02}:{:02}Z","eventSource":"{service}{tail}.amazonaws.com","eventName":"{name}{tail}","awsRegion":"eu-west-2","sourceIPAddress":"{address}","userAgent":"aws-sdk-go-v2/1.{agent}.0 os/linux lang/go#1.22.{agent} md/GOOS#linux md/GOARCH#arm64 api/{service}#1.{agent}.0{tail}",{error}"requestParameters":{parameters},"responseElements":null,"requestID":"{request}","eventID":"{event}","readOnly":true,"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"111111111111","eventCategory":"Management","tlsDetails":{{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256","clientProvidedHostHeader":"{service}.eu-west-2.amazonaws.com"}}}}"#,
            10 + n / 864_000 % 15,
            n / 36_000 % 24,
            n / 600 % 60,
            n / 10 % 60,
        );
        let d = &mut self.distinct;
        d.names.insert(name);
        d.actors.insert(actor);
        d.addresses.insert(address);
        d.agents.insert(agent);
        out
    }

    pub fn text(&self) -> String {
        let d = &self.distinct;
        format!(
            "distinct: {} actors with session, {} addresses, {} agents, {} event names",
            d.actors.len(),
            d.addresses.len(),
            d.agents.len(),
            d.names.len()
        )
    }
}

/// CloudTrail records of the shared folder: recorded attacks, and the logs of a public rule set's tests.
pub fn recorded(shared: &Path) -> Result<Vec<serde_json::Value>> {
    let mut out = Vec::new();
    let folder = shared.join("cloudtrail-attacks");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .with_context(|| format!("no folder `{}`", folder.display()))?
        .filter_map(|e| Some(e.ok()?.path()))
        .filter(|p| p.extension().is_some_and(|e| e == "json"))
        .collect();
    files.sort();
    for f in files {
        let records: Vec<serde_json::Value> = serde_json::from_str(&std::fs::read_to_string(f)?)?;
        out.extend(records);
    }
    for line in std::fs::read_to_string(shared.join("rule-tests/tests.jsonl"))?.lines() {
        let test: serde_json::Value = serde_json::from_str(line)?;
        out.push(test["log"].clone());
    }
    out.retain(|e| e["eventSource"].is_string() && e["eventName"].is_string());
    Ok(out)
}

const APPS: [&str; 8] = ["sshd", "nginx", "kernel", "sudo", "postgres", "haproxy", "systemd", "app"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `n` syslog lines of about 250 bytes, ending in a line feed; two of three in RFC 5424, one in RFC 3164. Each carries its number.
pub fn syslog(r: &mut Random, from: usize, n: usize) -> Vec<u8> {
    let mut out = String::with_capacity(n * 260);
    for i in from..from + n {
        let (app, host, pid, user, ip) =
            (APPS[r.zipf(APPS.len())], r.zipf(500), r.below(30_000), r.zipf(5_000), r.next());
        let pri = 8 * (1 + r.below(20)) + r.below(8);
        let (minute, second) = (i / 60_000 % 60, i / 1_000 % 60);
        if i % 3 == 2 {
            let month = MONTHS[10];
            let _ =
                write!(out, "<{pri}>{month} 20 10:{minute:02}:{second:02} host-{host} {app}[{pid}]: n={i}; ");
        } else {
            let _ = write!(
                out,
                "<{pri}>1 2026-11-20T10:{minute:02}:{second:02}.{:03}Z host-{host}.example.org {app} {pid} ID{} [origin ip=\"10.{}.{}.{}\"] n={i}; ",
                i % 1000,
                i % 97,
                ip >> 8 & 3,
                ip >> 16 & 255,
                ip >> 24 & 255
            );
        }
        let _ = writeln!(
            out,
            "connection from 198.51.{}.{} port {} accepted for user-{user}, method publickey, session {:016x}{:08x} rule allow-{} bytes {} duration {} ms",
            ip >> 32 & 255,
            ip >> 40 & 255,
            1024 + (ip >> 44) % 60_000,
            r.next(),
            r.next() as u32,
            r.below(40),
            r.below(1_000_000),
            r.below(30_000)
        );
    }
    out.into_bytes()
}
