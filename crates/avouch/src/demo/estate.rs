//! The made-up estate of the demo: "Harbour Bank", two accounts, one edge firewall, a handful of Linux hosts. All text, names and
//! numbers are our own; addresses are documentation ranges (RFC 5737) and private ones.
//!
//! Everything is a function of a seed and the moment it ends at, so the same demo can be made again. Normal traffic is drawn so
//! that it is busy and raises nothing; one attack is staged through all three kinds of source: password guessing against a
//! bastion host, a root log-in, the trail stopped, a key made for a new administrator, secrets and objects read.

use model::Time;
use serde_json::{Value, json};
use std::io::Write as _;

pub const ACCOUNT_PROD: &str = "111111111111";
pub const ACCOUNT_SHARED: &str = "222222222222";
const REGION: &str = "eu-west-2";
/// Where the attack comes from (TEST-NET-3).
pub const ATTACKER: &str = "203.0.113.66";

/// Everything the demo will send, in the form in which each source takes it.
pub struct Estate {
    /// (path below the delivery folder, bytes of the file): gzip CloudTrail files as AWS names them.
    pub cloudtrail_files: Vec<(String, Vec<u8>)>,
    /// Records in these files together.
    pub records: usize,
    /// When the attack's first and last API call happened.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests ask whether findings lie within it"))]
    pub attack: (Time, Time),
    /// JSON objects for the HTTP intake.
    pub firewall: Vec<String>,
    /// RFC 5424 and RFC 3164 lines, without framing.
    pub syslog: Vec<String>,
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, seedable, good enough for traffic.
pub struct Draw(u64);

impl Draw {
    pub fn new(seed: u64) -> Draw {
        Draw(seed)
    }
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.next().checked_rem(n).unwrap_or(0)
    }
    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(usize::try_from(self.below(from.len() as u64)).unwrap_or(0))
    }
    fn text(&mut self, from: &[&'static str]) -> &'static str {
        self.pick(from).copied().unwrap_or("")
    }
    fn hex(&mut self, n: usize) -> String {
        let mut s = String::with_capacity(n);
        while s.len() < n {
            s.push_str(&format!("{:016x}", self.next()));
        }
        s.truncate(n);
        s
    }
    fn uuid(&mut self) -> String {
        let h = self.hex(32);
        let part = |a: usize, b: usize| h.get(a..b).unwrap_or_default().to_owned();
        format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
    }
}

struct Person {
    name: &'static str,
    ip: &'static str,
    agent: &'static str,
}

const PEOPLE: [Person; 6] = [
    Person {
        name: "ines.moreau",
        ip: "198.51.100.14",
        agent: "aws-cli/2.17.9 Python/3.11.9 Linux/6.8 source/x86_64",
    },
    Person {
        name: "tom.okafor",
        ip: "198.51.100.14",
        agent: "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_6) Firefox/131.0",
    },
    Person {
        name: "li.wen",
        ip: "198.51.100.22",
        agent: "aws-cli/2.17.9 Python/3.11.9 Linux/6.8 source/x86_64",
    },
    Person {
        name: "sara.lund",
        ip: "198.51.100.31",
        agent: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/129.0",
    },
    Person {
        name: "amir.haddad",
        ip: "198.51.100.40",
        agent: "Boto3/1.35.10 md/Botocore#1.35.10 lang/python#3.12.5",
    },
    Person { name: "joana.pires", ip: "198.51.100.14", agent: "APN/1.0 HashiCorp/1.0 Terraform/1.9.5" },
];

const ROLES: [(&str, &str); 4] = [
    ("ledger-service", "ecs-task-4f21"),
    ("payments-batch", "batch-nightly"),
    ("web-frontend", "i-0c4a9d2e7b1f6a855"),
    ("backup-operator", "backup-run"),
];

/// Read calls and harmless writes of a normal day: (service, action, read only, parameters' key and value).
const CALLS: [(&str, &str, bool, &str, &str); 22] = [
    ("ec2", "DescribeInstances", true, "maxResults", "100"),
    ("ec2", "DescribeVolumes", true, "maxResults", "50"),
    ("ec2", "DescribeSecurityGroups", true, "maxResults", "200"),
    ("ec2", "DescribeSubnets", true, "maxResults", "200"),
    ("s3", "GetBucketLocation", true, "bucketName", "harbour-statements"),
    ("s3", "ListBuckets", true, "Host", "s3.eu-west-2.amazonaws.com"),
    ("s3", "GetBucketVersioning", true, "bucketName", "harbour-ledger-archive"),
    ("kms", "Decrypt", true, "encryptionAlgorithm", "SYMMETRIC_DEFAULT"),
    ("kms", "GenerateDataKey", true, "keySpec", "AES_256"),
    ("sts", "GetCallerIdentity", true, "", ""),
    ("logs", "CreateLogStream", false, "logGroupName", "/harbour/ledger"),
    ("logs", "DescribeLogGroups", true, "limit", "50"),
    ("lambda", "GetFunction20150331v2", true, "functionName", "statement-render"),
    ("lambda", "ListFunctions20150331", true, "maxItems", "50"),
    ("ecs", "DescribeServices", true, "cluster", "harbour-core"),
    ("ecs", "ListTasks", true, "cluster", "harbour-core"),
    ("rds", "DescribeDBInstances", true, "maxRecords", "100"),
    ("dynamodb", "DescribeTable", true, "tableName", "sessions"),
    ("cloudwatch", "DescribeAlarms", true, "maxRecords", "100"),
    ("elasticloadbalancing", "DescribeTargetHealth", true, "targetGroupArn", "harbour-web"),
    ("iam", "GetRole", true, "roleName", "ledger-service"),
    ("iam", "ListRoles", true, "maxItems", "100"),
];

/// Makes the estate's last 26 hours up to `end`: `scale` normal API calls and in proportion firewall and syslog lines.
pub fn make(seed: u64, end: Time, scale: usize) -> Estate {
    let mut draw = Draw::new(seed);
    let span = 26 * Time::HOUR;
    let start = end.plus(-span);
    let mut records: Vec<(Time, String, Value)> = Vec::new();
    for i in 0..scale {
        let offset = span / i64::try_from(scale).unwrap_or(1).max(1) * i64::try_from(i).unwrap_or(0);
        let at = start.plus(offset + i64::try_from(draw.below(9_000_000)).unwrap_or(0));
        let (account, record) = normal_call(&mut draw, at, i);
        records.push((at, account.to_owned(), record));
    }
    let attack_start = end.plus(-3 * Time::HOUR);
    let staged = attack(&mut draw, attack_start);
    let attack_end = staged.last().map_or(attack_start, |(t, _)| *t);
    records.extend(staged.into_iter().map(|(t, r)| (t, ACCOUNT_PROD.to_owned(), r)));
    records.sort_by(|a, b| {
        (a.0, a.2.get("eventID").map(Value::to_string)).cmp(&(b.0, b.2.get("eventID").map(Value::to_string)))
    });
    Estate {
        cloudtrail_files: trail_files(&mut draw, &records),
        records: records.len(),
        attack: (attack_start, attack_end),
        firewall: firewall(&mut draw, start, span, scale, attack_start),
        syslog: syslog(&mut draw, start, span, scale / 2, attack_start),
    }
}

fn base(draw: &mut Draw, at: Time, account: &str, service: &str, action: &str, read_only: bool) -> Value {
    json!({
        "eventVersion": "1.11", "eventTime": Time::from_secs(at.secs()).to_string(),
        "eventSource": format!("{service}.amazonaws.com"), "eventName": action, "awsRegion": REGION,
        "requestID": draw.uuid(), "eventID": draw.uuid(), "readOnly": read_only, "eventType": "AwsApiCall",
        "managementEvent": true, "recipientAccountId": account, "eventCategory": "Management",
    })
}

fn merge(mut into: Value, more: Value) -> Value {
    if let (Some(a), Value::Object(b)) = (into.as_object_mut(), more) {
        a.extend(b);
    }
    into
}

fn user(account: &str, name: &str, key: &str) -> Value {
    json!({"type": "IAMUser", "principalId": format!("AIDA{}", &model::sha256_hex(name.as_bytes()).to_uppercase().chars().take(17).collect::<String>()),
        "arn": format!("arn:aws:iam::{account}:user/{name}"), "accountId": account, "accessKeyId": key, "userName": name})
}

fn role(account: &str, name: &str, session: &str, draw: &mut Draw) -> Value {
    let id = model::sha256_hex(name.as_bytes()).to_uppercase().chars().take(17).collect::<String>();
    json!({"type": "AssumedRole", "principalId": format!("AROA{id}:{session}"), "arn": format!("arn:aws:sts::{account}:assumed-role/{name}/{session}"),
        "accountId": account, "accessKeyId": format!("ASIA{}", draw.hex(16).to_uppercase()),
        "sessionContext": {"sessionIssuer": {"type": "Role", "principalId": format!("AROA{id}"), "arn": format!("arn:aws:iam::{account}:role/{name}"),
            "accountId": account, "userName": name}, "attributes": {"mfaAuthenticated": "false"}}})
}

fn normal_call(draw: &mut Draw, at: Time, i: usize) -> (&'static str, Value) {
    let account = if draw.below(4) == 0 { ACCOUNT_SHARED } else { ACCOUNT_PROD };
    if i % 97 == 5 {
        return (account, console_login(draw, at, account));
    }
    if i % 13 == 3 {
        return (account, assume_role(draw, at, account));
    }
    let Some((service, action, read_only, key, value)) = draw.pick(&CALLS).copied() else {
        return (account, Value::Null);
    };
    let parameters = if key.is_empty() { Value::Null } else { json!({ key: value }) };
    let (identity, ip, agent) = if draw.below(3) == 0 {
        let person = draw.pick(&PEOPLE).unwrap_or(&PEOPLE[0]);
        let key = format!(
            "AKIA{}",
            model::sha256_hex(person.ip.as_bytes()).to_uppercase().chars().take(16).collect::<String>()
        );
        (user(account, person.name, &key), person.ip.to_owned(), person.agent)
    } else {
        let (name, session) = draw.pick(&ROLES).copied().unwrap_or(("ledger-service", "task"));
        let ip = format!("10.20.{}.{}", draw.below(4), 10 + draw.below(200));
        (role(account, name, session, draw), ip, "aws-sdk-go-v2/1.30.3 os/linux lang/go#1.22.5")
    };
    let mut record = merge(
        base(draw, at, account, service, action, read_only),
        json!({"userIdentity": identity, "sourceIPAddress": ip, "userAgent": agent, "requestParameters": parameters, "responseElements": null}),
    );
    // A few refusals are part of a normal day.
    if i % 211 == 17
        && let Some(map) = record.as_object_mut()
    {
        map.insert("errorCode".into(), json!("AccessDenied"));
        map.insert(
            "errorMessage".into(),
            json!(format!("User is not authorized to perform: {service}:{action}")),
        );
    }
    (account, record)
}

fn console_login(draw: &mut Draw, at: Time, account: &str) -> Value {
    let person = draw.pick(&PEOPLE).unwrap_or(&PEOPLE[0]);
    merge(
        base(draw, at, account, "signin", "ConsoleLogin", false),
        json!({"eventType": "AwsConsoleSignIn", "userIdentity": {"type": "IAMUser", "arn": format!("arn:aws:iam::{account}:user/{}", person.name),
                "accountId": account, "userName": person.name}, "sourceIPAddress": person.ip, "userAgent": person.agent, "requestParameters": null,
            "responseElements": {"ConsoleLogin": "Success"},
            "additionalEventData": {"LoginTo": "https://console.aws.amazon.com/", "MobileVersion": "No", "MFAUsed": "Yes"}}),
    )
}

fn assume_role(draw: &mut Draw, at: Time, account: &str) -> Value {
    let (name, session) = draw.pick(&ROLES).copied().unwrap_or(("ledger-service", "task"));
    let key = format!("ASIA{}", draw.hex(16).to_uppercase());
    merge(
        base(draw, at, account, "sts", "AssumeRole", true),
        json!({"userIdentity": {"type": "AWSService", "invokedBy": "ecs-tasks.amazonaws.com"}, "sourceIPAddress": "ecs-tasks.amazonaws.com",
            "userAgent": "ecs-tasks.amazonaws.com", "requestParameters": {"roleArn": format!("arn:aws:iam::{account}:role/{name}"), "roleSessionName": session},
            "responseElements": {"credentials": {"accessKeyId": key, "expiration": at.plus(Time::HOUR).to_string()},
                "assumedRoleUser": {"arn": format!("arn:aws:sts::{account}:assumed-role/{name}/{session}")}}}),
    )
}

/// The staged attack, in order: root signs in without a second factor, the trail is stopped, a user with a key and administrator
/// rights appears, secrets and statements are read, a snapshot is shared outside.
fn attack(draw: &mut Draw, start: Time) -> Vec<(Time, Value)> {
    let account = ACCOUNT_PROD;
    let root = json!({"type": "Root", "principalId": account, "arn": format!("arn:aws:iam::{account}:root"), "accountId": account});
    let agent = "Mozilla/5.0 (X11; Linux x86_64) Chrome/128.0";
    let intruder = user(account, "svc-metrics", "AKIAQ7HARBOURDEMO001");
    let mut at = start;
    let mut out = Vec::new();
    let mut add = |draw: &mut Draw,
                   step_secs: i64,
                   service: &str,
                   action: &str,
                   read_only: bool,
                   who: &Value,
                   more: Value| {
        at = at.plus(step_secs * Time::SECOND);
        let r = merge(
            base(draw, at, account, service, action, read_only),
            merge(
                json!({"userIdentity": who, "sourceIPAddress": ATTACKER, "userAgent": agent, "responseElements": null}),
                more,
            ),
        );
        out.push((at, r));
    };
    add(
        draw,
        0,
        "signin",
        "ConsoleLogin",
        false,
        &root,
        json!({"eventType": "AwsConsoleSignIn", "awsRegion": "us-east-1", "requestParameters": null,
        "responseElements": {"ConsoleLogin": "Success"}, "additionalEventData": {"LoginTo": "https://console.aws.amazon.com/", "MobileVersion": "No", "MFAUsed": "No"}}),
    );
    add(
        draw,
        140,
        "cloudtrail",
        "StopLogging",
        false,
        &root,
        json!({"requestParameters": {"name": format!("arn:aws:cloudtrail:{REGION}:{account}:trail/harbour-org")}}),
    );
    add(
        draw,
        75,
        "iam",
        "CreateUser",
        false,
        &root,
        json!({"awsRegion": "us-east-1", "requestParameters": {"userName": "svc-metrics"},
        "responseElements": {"user": {"userName": "svc-metrics", "arn": format!("arn:aws:iam::{account}:user/svc-metrics"), "path": "/"}}}),
    );
    add(
        draw,
        20,
        "iam",
        "AttachUserPolicy",
        false,
        &root,
        json!({"awsRegion": "us-east-1",
        "requestParameters": {"userName": "svc-metrics", "policyArn": "arn:aws:iam::aws:policy/AdministratorAccess"}}),
    );
    add(
        draw,
        15,
        "iam",
        "CreateAccessKey",
        false,
        &root,
        json!({"awsRegion": "us-east-1", "requestParameters": {"userName": "svc-metrics"},
        "responseElements": {"accessKey": {"userName": "svc-metrics", "status": "Active", "accessKeyId": "AKIAQ7HARBOURDEMO001"}}}),
    );
    for i in 0..12 {
        add(
            draw,
            6,
            "secretsmanager",
            "GetSecretValue",
            true,
            &intruder,
            json!({"requestParameters": {"secretId": format!("harbour/ledger/db-{i:02}")}}),
        );
    }
    for _ in 0..40 {
        let object = format!("2025/statement-{}.pdf", draw.hex(10));
        add(
            draw,
            2,
            "s3",
            "GetObject",
            true,
            &intruder,
            json!({"eventCategory": "Data", "managementEvent": false,
            "requestParameters": {"bucketName": "harbour-statements", "key": object}, "additionalEventData": {"bytesTransferredOut": 84_211}}),
        );
    }
    add(
        draw,
        90,
        "ec2",
        "ModifySnapshotAttribute",
        false,
        &intruder,
        json!({"requestParameters": {"snapshotId": "snap-0d1e5c7a9b3f24680",
        "createVolumePermission": {"add": {"items": [{"userId": "999999999999"}]}}, "attributeType": "CREATE_VOLUME_PERMISSION"}, "responseElements": {"_return": true}}),
    );
    add(
        draw,
        60,
        "s3",
        "PutBucketPolicy",
        false,
        &intruder,
        json!({"requestParameters": {"bucketName": "harbour-statements",
        "bucketPolicy": {"Version": "2012-10-17", "Statement": [{"Sid": "Open", "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::harbour-statements/*"}]}}}),
    );
    out
}

/// Cuts the records into gzip files of five minutes and up to 200 records, named as CloudTrail names them.
fn trail_files(draw: &mut Draw, records: &[(Time, String, Value)]) -> Vec<(String, Vec<u8>)> {
    let mut groups: std::collections::BTreeMap<(String, i64), Vec<&Value>> =
        std::collections::BTreeMap::new();
    for (at, account, record) in records {
        groups.entry((account.clone(), at.secs().div_euclid(3_600))).or_default().push(record);
    }
    let mut out = Vec::new();
    for ((account, hour), group) in groups {
        for chunk in group.chunks(200) {
            let (y, mo, d, h, _, _, _) = Time::from_secs(hour * 3_600).parts();
            let name = format!(
                "AWSLogs/{account}/CloudTrail/{REGION}/{y:04}/{mo:02}/{d:02}/{account}_CloudTrail_{REGION}_{y:04}{mo:02}{d:02}T{h:02}55Z_{}.json.gz",
                draw.hex(16)
            );
            out.push((name, gzip(json!({ "Records": chunk }).to_string().as_bytes())));
        }
    }
    out
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    // Writing to memory cannot fail; an empty file would show at once in the demo's own count.
    if encoder.write_all(bytes).is_err() {
        return Vec::new();
    }
    encoder.finish().unwrap_or_default()
}

/// Edge firewall, as JSON posts: mostly allowed web traffic, some refused noise, and the attacker's connections.
fn firewall(draw: &mut Draw, start: Time, span: i64, n: usize, attack: Time) -> Vec<String> {
    let step = span / i64::try_from(n).unwrap_or(1).max(1);
    let mut out = Vec::with_capacity(n);
    for i in 0..n {
        let at = start.plus(step * i64::try_from(i).unwrap_or(0));
        let refused = draw.below(20) == 0;
        let port = if refused {
            draw.text(&["23", "445", "3389", "8080"])
        } else {
            draw.text(&["443", "443", "443", "80", "53"])
        };
        out.push(json!({
            "time": at.to_string(), "device": "edge-fw-1", "action": if refused { "deny" } else { "allow" }, "protocol": if port == "53" { "udp" } else { "tcp" },
            "src_ip": format!("192.0.2.{}", 1 + draw.below(250)), "src_port": 30_000 + draw.below(30_000), "dst_ip": format!("10.20.0.{}", 10 + draw.below(20)),
            "dst_port": port.parse::<u32>().unwrap_or(443), "bytes": 400 + draw.below(90_000), "rule": if refused { "default-deny" } else { "web-in" },
        }).to_string());
    }
    for i in 0..30 {
        let at = attack.plus(-20 * Time::MINUTE + i * 11 * Time::SECOND);
        out.push(json!({
            "time": at.to_string(), "device": "edge-fw-1", "action": "allow", "protocol": "tcp", "src_ip": ATTACKER, "src_port": 40_000 + draw.below(9_000),
            "dst_ip": "10.20.0.5", "dst_port": 22, "bytes": 3_100, "rule": "bastion-in",
        }).to_string());
    }
    out
}

/// Linux hosts: cron, systemd, a web server, normal SSH log-ins by key, and the guessing against the bastion.
fn syslog(draw: &mut Draw, start: Time, span: i64, n: usize, attack: Time) -> Vec<String> {
    let step = span / i64::try_from(n).unwrap_or(1).max(1);
    let mut out = Vec::with_capacity(n + 40);
    for i in 0..n {
        let at = start.plus(step * i64::try_from(i).unwrap_or(0));
        let host = draw.text(&["web-1", "web-2", "ledger-1", "bastion-1", "batch-1"]);
        let pid = 800 + draw.below(30_000);
        out.push(match draw.below(6) {
            0 => format!("<86>1 {at} {host} CRON {pid} - - pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)"),
            1 => format!("<30>1 {at} {host} systemd 1 - - Started logrotate.service - Rotate log files."),
            2 => format!("<86>1 {at} bastion-1 sshd {pid} - - Accepted publickey for {} from 198.51.100.14 port {} ssh2: ED25519 SHA256:{}",
                draw.text(&["ines", "tom", "li"]), 40_000 + draw.below(20_000), draw.hex(43)),
            3 => format!("<134>1 {at} {host} nginx {pid} access - 10.20.0.1 \"GET /health HTTP/1.1\" 200 2"),
            4 => format!("<38>1 {at} {host} sudo {pid} - - deploy : TTY=pts/0 ; PWD=/srv ; USER=root ; COMMAND=/usr/bin/systemctl reload nginx"),
            _ => format!("<29>{} {host} chronyd[{pid}]: Selected source 10.20.0.2", rfc3164(at)),
        });
    }
    let guessed = attack.plus(-18 * Time::MINUTE);
    for i in 0..28 {
        let at = guessed.plus(i * 9 * Time::SECOND);
        let name = draw.text(&["root", "admin", "oracle", "ubuntu", "deploy"]);
        out.push(format!(
            "<86>1 {at} bastion-1 sshd {} - - Failed password for {name} from {ATTACKER} port {} ssh2",
            21_000 + i,
            41_000 + i
        ));
    }
    out.push(format!(
        "<86>1 {} bastion-1 sshd 21044 - - Accepted password for deploy from {ATTACKER} port 41050 ssh2",
        guessed.plus(5 * Time::MINUTE)
    ));
    out
}

fn rfc3164(at: Time) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, mo, d, h, mi, s, _) = at.parts();
    let month = MONTHS.get(mo as usize - 1).copied().unwrap_or("Jan");
    format!("{month} {d:2} {h:02}:{mi:02}:{s:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_estate() {
        let end = Time::parse_rfc3339(b"2026-03-14T12:00:00Z").unwrap();
        let (a, b) = (make(7, end, 300), make(7, end, 300));
        assert_eq!(a.cloudtrail_files, b.cloudtrail_files);
        assert_eq!((a.firewall, a.syslog), (b.firewall, b.syslog));
    }
}
