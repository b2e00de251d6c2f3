//! Speed on one core, printed and never asserted: `AVOUCH_MEASURE=1 cargo test --release -p detect measure -- --nocapture`.
//! The comparison with a peer lives in `bench/`.

use detect::{Engine, Rules, Settings};
use model::{Batch, Provenance};
use std::time::Instant;

/// A generator without a dependency (xorshift64*); the seed is fixed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
    /// Few values often, many rarely.
    fn zipf(&mut self, n: usize) -> usize {
        let u = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        ((n as f64).powf(u) - 1.0) as usize
    }
}

const SERVICES: [&str; 14] = [
    "ec2",
    "s3",
    "iam",
    "sts",
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
];
const VERBS: [&str; 12] = [
    "Describe", "List", "Get", "Put", "Create", "Delete", "Update", "Attach", "Invoke", "Assume", "Decrypt",
    "Modify",
];
const NOUNS: [&str; 22] = [
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
];

/// One CloudTrail record. `is_hostile`: every value that a rule reads is new.
fn event(r: &mut Random, n: usize, is_hostile: bool) -> String {
    let (service, api) = (
        SERVICES[r.zipf(SERVICES.len())],
        format!("{}{}", VERBS[r.zipf(VERBS.len())], NOUNS[r.zipf(NOUNS.len())]),
    );
    let (who, session, ip, agent) = (r.zipf(20_000), r.below(1_000_000), r.zipf(5_000), r.zipf(300));
    let tail = if is_hostile { format!("-{n:x}") } else { String::new() };
    let identity = match r.below(10) {
        0..6 => format!(
            r#"{{"type":"AssumedRole","principalId":"AROA{who:016}:s{session}","arn":"arn:aws:sts::111111111111:assumed-role/role-{who}{tail}/s{session}","accountId":"111111111111","accessKeyId":"ASIA{session:016}","sessionContext":{{"sessionIssuer":{{"type":"Role","principalId":"AROA{who:016}","arn":"arn:aws:iam::111111111111:role/role-{who}","accountId":"111111111111","userName":"role-{who}"}},"webIdFederationData":{{}},"attributes":{{"creationDate":"2026-01-27T10:00:00Z","mfaAuthenticated":"false"}}}}}}"#
        ),
        6..8 => format!(
            r#"{{"type":"IAMUser","principalId":"AIDA{who:016}","arn":"arn:aws:iam::111111111111:user/user-{who}{tail}","accountId":"111111111111","accessKeyId":"AKIA{who:016}","userName":"user-{who}"}}"#
        ),
        _ => format!(r#"{{"type":"AWSService","invokedBy":"{service}{tail}.amazonaws.com"}}"#),
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
    format!(
        r#"{{"eventVersion":"1.09","userIdentity":{identity},"eventTime":"2026-01-27T{:02}:{:02}:{:02}Z","eventSource":"{service}{tail}.amazonaws.com","eventName":"{api}{tail}","awsRegion":"eu-west-2","sourceIPAddress":"203.{}.{}.{}","userAgent":"aws-sdk-go-v2/1.{agent}.0 os/linux lang/go#1.22.{agent} md/GOOS#linux md/GOARCH#arm64 api/{service}#1.{agent}.0{tail}",{error}"requestParameters":{parameters},"responseElements":null,"requestID":"{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}","eventID":"{:08x}-{:04x}-4{:03x}-9{:03x}-{:012x}","readOnly":true,"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"111111111111","eventCategory":"Management","tlsDetails":{{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256","clientProvidedHostHeader":"{service}.eu-west-2.amazonaws.com"}}}}"#,
        n / 3600 % 24,
        n / 60 % 60,
        n % 60,
        ip >> 8 & 255,
        ip & 255,
        (ip * 7) & 255,
        r.next() as u32,
        r.next() as u16,
        r.below(4096),
        r.below(4096),
        r.next() & 0xffff_ffff_ffff,
        r.next() as u32,
        r.next() as u16,
        r.below(4096),
        r.below(4096),
        r.next() & 0xffff_ffff_ffff,
    )
}

fn batches(n: usize, is_hostile: bool) -> Vec<Batch> {
    let mut r = Random(0x9e37_79b9_7f4a_7c15);
    (0..n)
        .step_by(4_096)
        .map(|start| {
            let mut b = Batch::builder();
            let (p, d) = (b.provenance(Provenance::new("measure")), b.dataset("aws.cloudtrail"));
            for i in start..(start + 4_096).min(n) {
                b.push(event(&mut r, i, is_hostile).as_bytes(), p, d);
            }
            b.finish()
        })
        .collect()
}

fn lane(name: &str, rules: &Rules, routing: bool, batches: &[Batch]) {
    // `AVOUCH_MEASURE=hostile` runs that lane alone, for a profiler.
    let wanted = std::env::var("AVOUCH_MEASURE").unwrap_or_default();
    if wanted != "1" && !name.starts_with(&wanted) {
        return;
    }
    let settings = Settings { routing, ..Settings::default() };
    let mut engine = Engine::new(rules.clone(), settings).unwrap();
    let (mut rates, mut hits) = (Vec::new(), 0);
    let events: usize = batches.iter().map(Batch::len).sum();
    for _ in 0..(2_000_000 / events).clamp(5, 15) {
        let (wall, cpu) = (Instant::now(), cpu_seconds());
        hits = batches.iter().map(|b| engine.hits(b, None).len()).sum();
        rates.push((events as f64 / (cpu_seconds() - cpu), events as f64 / wall.elapsed().as_secs_f64()));
    }
    rates.sort_by(|a, b| a.0.total_cmp(&b.0));
    let ((cpu, wall), best) = (rates[rates.len() / 2], rates[rates.len() - 1].0);
    println!(
        "{name}: {} rules, {events} events, {hits} hits, median {cpu:.0} events per CPU second (wall {wall:.0}), best {best:.0}",
        rules.rules.len()
    );
}

/// Seconds that this thread was on a processor: the machine is shared, and wall time measures the neighbours.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos: f64 = text.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0.0);
    nanos / 1e9
}

#[test]
fn measure() {
    if std::env::var_os("AVOUCH_MEASURE").is_none() {
        println!("skipped: measure: AVOUCH_MEASURE is not set");
        return;
    }
    let Some(root) = super::support::shared("measure") else { return };
    let files = super::support::corpus(&root);
    let start = Instant::now();
    let (all, _) = Rules::load(files.iter().map(|(a, b)| (a.as_str(), b.as_str())));
    println!("loading {} rules: {:?}", all.rules.len(), start.elapsed());
    let (aws, _) = Rules::load(
        files.iter().filter(|(p, _)| p.contains("/cloudtrail/")).map(|(a, b)| (a.as_str(), b.as_str())),
    );
    let start = Instant::now();
    let usual = batches(204_800, false);
    let bytes: usize = usual.iter().map(Batch::raw_bytes).sum();
    println!("generated {} MiB in {:?}", bytes >> 20, start.elapsed());
    lane("cloudtrail", &aws, true, &usual);
    lane("everything, no routing", &all, false, &usual[..10]);
    lane("hostile", &aws, true, &batches(204_800, true));
}
