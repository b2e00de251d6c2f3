//! A console with made-up data, rich enough that no page and no state is empty. Used by the tests and by the example.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "test helpers: clippy exempts test functions only"
)]

#[path = "fixture/access.rs"]
pub mod access;

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt as _};
use model::*;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;
use web::url::View;
use web::value::Value;
use web::view::*;
use web::*;

pub const LINK: &str = "k3-link-of-the-fixture";
pub const TOKEN: &str = "avouch_token";
/// Text that an attacker could put into any field.
pub const HOSTILE: &str = "<script>alert(1)</script>\" onload=\"x\u{1b}[31m\u{202e}gnp.exe";

pub fn at(text: &str) -> Time {
    Time::parse_rfc3339(text.as_bytes()).unwrap()
}

fn now() -> Time {
    at("2025-03-14T14:12:00Z")
}

fn ago(micros: i64) -> Time {
    now().plus(-micros)
}

const MIN: i64 = Time::MINUTE;
const HOUR: i64 = Time::HOUR;
const DAY: i64 = Time::DAY;

#[derive(Default)]
pub struct FixtureConsole {
    pub refused: Mutex<Vec<Refused>>,
    pub changed: Mutex<Vec<(String, FindingAction)>>,
    pub ended: Mutex<Vec<String>>,
    /// Ticks on the stream every second when set; the tests want silence.
    pub is_lively: bool,
    pub is_empty: bool,
    /// Another analysis than the usual one: its own test, its rows, why the estate could not be read.
    pub access: Option<(Option<bool>, Vec<AccessRow>, Option<String>)>,
}

impl FixtureConsole {
    fn caller(&self, role: Role) -> Caller {
        Caller { name: "ana".into(), session_id: format!("s-{}", role.term()), role }
    }
}

pub fn event_id() -> EventId {
    EventId::of(&[b"fixture", b"1"])
}

pub fn finding_id() -> FindingId {
    FindingId::of(&[b"aws-root-console-login"])
}

fn text(s: &str) -> String {
    s.to_owned()
}

fn some(s: &str) -> Option<String> {
    Some(s.to_owned())
}

fn owner(person: &str, team: &str) -> Owner {
    Owner { person: text(person), team: text(team) }
}

#[expect(clippy::too_many_arguments, reason = "a row of a table")]
fn control(
    id: &str,
    claim: &str,
    system: &str,
    team: &str,
    state: ControlState,
    because: &str,
    configured: Configured,
    effective: Effective,
    last_proven: LastProven,
    disagrees: bool,
) -> ControlRow {
    ControlRow {
        id: text(id),
        claim: text(claim),
        system: text(system),
        owner: owner(&format!("{team}@harbour.example"), team),
        kind: if matches!(last_proven, LastProven::Attested { .. }) {
            ControlKind::Attested
        } else {
            ControlKind::Technical
        },
        state,
        because: text(because),
        configured,
        effective,
        next_test: matches!(last_proven, LastProven::On { .. }).then(|| now().plus(11 * MIN)),
        last_proven,
        n_instances: 1,
        disagrees,
        can_prove: id.starts_with('m') || id.starts_with("self"),
    }
}

fn yes(source: &str) -> Configured {
    Configured::Yes { source: text(source) }
}

fn works(minutes: i64, value: &str) -> Effective {
    Effective::Yes { at: ago(minutes * MIN), value: text(value) }
}

pub fn controls() -> Vec<ControlRow> {
    vec![
        control(
            "m19.gone-after-7-days",
            "No log byte is kept anywhere in the estate for more than 7 days.",
            "log-proxy",
            "data-protection",
            ControlState::Failed,
            "2 objects are 9 days old in logs-archive; last writer ci-role at 11:40",
            yes("avouch.yaml: 7d"),
            Effective::No { value: text("oldest byte is 9 days old") },
            LastProven::Failed {
                at: ago(42 * MIN),
                step: text("gone from every store"),
                run: text("r-0192"),
            },
            true,
        ),
        control(
            "m20.log-groups-hold-7-days",
            "Every log group keeps its events for 7 days, set in one place.",
            "log-proxy",
            "network-security",
            ControlState::Failed,
            "two writers",
            Configured::Contended {
                values: vec![(text("90 days"), text("terraform")), (text("7 days"), text("ci-role"))],
            },
            works(10, "7 days"),
            LastProven::Never,
            true,
        ),
        control(
            "j05.weekly-host-assessment",
            "Every host is assessed for known vulnerabilities each week.",
            "monitoring",
            "platform",
            ControlState::Unknown,
            "inspector2:ListFindings is missing in 111122223333",
            yes("terraform"),
            Effective::Unknown { missing: text("inspector2:ListFindings") },
            LastProven::Unknown { missing: text("inspector2:ListFindings") },
            false,
        ),
        control(
            "m31.proof-expired",
            "A firewall that stops sending is noticed within 5 min.",
            "log-proxy",
            "network-security",
            ControlState::Stale,
            "test expired on 12 March; the drill was paused",
            yes("avouch.yaml"),
            works(2, "alarm armed"),
            LastProven::Expired { at: ago(2 * DAY) },
            false,
        ),
        control(
            "n25.logs-to-splunk",
            "Application logs reach Splunk with personal data masked.",
            "health-register",
            "applications",
            ControlState::Planned,
            "planned until 2025-06-30, HB-214",
            Configured::No { value: text("no sink of kind splunk") },
            Effective::NotRead { reason: text("not set up") },
            LastProven::Never,
            false,
        ),
        control(
            "n15.password-policy",
            "Local users have passwords of 14 characters or more.",
            "health-register",
            "platform",
            ControlState::Effective,
            "nothing to check: 0 local users",
            yes("aws"),
            Effective::Vacuous,
            LastProven::Never,
            false,
        ),
        control(
            "n10.penetration-test",
            "The service is tested by an outside team once a year.",
            "health-register",
            "security",
            ControlState::Effective,
            "a person confirmed it on 2025-02-11",
            yes("file"),
            works(60 * 24, "report of 2025-02-03"),
            LastProven::Attested {
                at: at("2025-02-11T09:00:00Z"),
                by: text("s.lead"),
                until: at("2026-03-18T00:00:00Z"),
            },
            false,
        ),
        control(
            "m02.firewall-logs-reach-siem",
            "Firewall logs posted to the intake are searchable in the SIEM within 60 s, once.",
            "log-proxy",
            "network-security",
            ControlState::Proven,
            "3 of 3 in 3.1 s",
            yes("self"),
            works(1, "lag 0.8 s"),
            LastProven::On { at: ago(4 * MIN), figure: text("3 of 3 in 3.1 s"), run: text("r-0201") },
            false,
        ),
        control(
            "self.tamper-is-found",
            "A changed byte in the kept logs is found and named.",
            "self",
            "security",
            ControlState::Proven,
            "9 of 9 changes found, exit 4",
            yes("self"),
            works(7, "verify ran"),
            LastProven::On { at: ago(7 * MIN), figure: text("9 of 9 in 4.8 s"), run: text("r-0199") },
            false,
        ),
    ]
}

fn counts() -> ControlCounts {
    let mut c = ControlCounts::default();
    for r in controls() {
        c.add(r.state);
        c.disagreeing += u64::from(r.disagrees);
    }
    c.configured += 31;
    c.planned += 18;
    c
}

#[expect(clippy::too_many_arguments, reason = "a row of a table")]
fn row(
    rule: &str,
    title: &str,
    severity: Severity,
    state: FindingState,
    kind: &str,
    resource: &str,
    count: u64,
    minutes: i64,
) -> FindingRow {
    FindingRow {
        id: FindingId::of(&[rule.as_bytes()]),
        title: text(title),
        severity,
        state,
        source: if rule.starts_with("avouch") { FindingSource::Avouch } else { FindingSource::Detect },
        finding_type: text(kind),
        rule: text(rule),
        account: some("111122223333"),
        region: some("eu-west-2"),
        resource: some(resource),
        count,
        first_seen: ago((minutes + 30) * MIN),
        last_seen: ago(minutes * MIN),
        suppression: (state == FindingState::Suppressed).then(suppression),
        drill: None,
    }
}

fn suppression() -> Suppression {
    Suppression {
        owner: text("ana"),
        reason: text("migration window, HB-198"),
        until: at("2025-03-17T23:59:59Z"),
        by: text("ana"),
        at: ago(3 * DAY),
    }
}

pub fn findings() -> Vec<FindingRow> {
    let mut rows = vec![
        row(
            "aws-root-console-login",
            "Root signed in to the console without a second factor",
            Severity::CRITICAL,
            FindingState::Notified,
            "InitialAccess:IAMUser/RootConsoleLogin",
            "arn:aws:iam::111122223333:root",
            1,
            298,
        ),
        row(
            "aws-cloudtrail-stopped",
            "The trail `org-trail` was stopped",
            Severity::CRITICAL,
            FindingState::New,
            "DefenseEvasion:CloudTrail/LoggingStopped",
            "arn:aws:cloudtrail:eu-west-2:111122223333:trail/org-trail",
            1,
            291,
        ),
        row(
            "aws-access-key-created",
            "Access key made for user deploy by root",
            Severity::HIGH,
            FindingState::New,
            "Persistence:IAMUser/AccessKeyCreated",
            "arn:aws:iam::111122223333:user/deploy",
            1,
            288,
        ),
        row(
            "aws-mass-read",
            "412 objects read from customer-records in 6 min",
            Severity::HIGH,
            FindingState::New,
            "Exfiltration:S3/MassRead",
            "arn:aws:s3:::customer-records",
            412,
            240,
        ),
        row(
            "ssh-brute-force",
            "Failed SSH log-ins from 203.0.113.9, then one that worked",
            Severity::HIGH,
            FindingState::Notified,
            "CredentialAccess:Host/BruteForce",
            "bastion-1",
            1_204,
            75,
        ),
        row(
            "aws-bucket-public",
            "Bucket logs-export was opened to anyone",
            Severity::MEDIUM,
            FindingState::Suppressed,
            "Policy:S3/BucketPublic",
            "arn:aws:s3:::logs-export",
            2,
            900,
        ),
        row(
            "avouch-source-silent",
            "Source branch-firewall has been silent for 62 min",
            Severity::MEDIUM,
            FindingState::New,
            "Avouch:Source/Silent",
            "branch-firewall",
            1,
            12,
        ),
        row(
            "aws-console-login-failed",
            HOSTILE,
            Severity::LOW,
            FindingState::Resolved,
            "CredentialAccess:IAMUser/ConsoleLoginFailed",
            HOSTILE,
            9,
            1_500,
        ),
        row(
            "aws-iam-policy-changed",
            "Policy deploy-boundary changed outside terraform",
            Severity::LOW,
            FindingState::New,
            "PrivilegeEscalation:IAMUser/PolicyChanged",
            "arn:aws:iam::111122223333:policy/deploy-boundary",
            3,
            2_100,
        ),
    ];
    rows[4].drill = some("r-0188");
    rows
}

fn facet(key: &'static str, title: &str, values: &[(&str, u64)]) -> Facet {
    Facet {
        key,
        title: text(title),
        values: values.iter().map(|(v, n)| FacetValue { value: text(v), count: *n }).collect(),
        more: 0,
    }
}

fn evidence(name: &str, minutes: i64) -> Evidence {
    Evidence {
        shard: 0,
        seq: 41_772,
        event_id: event_id(),
        event_time: ago(minutes * MIN),
        dataset: "aws.cloudtrail".into(),
        fields: [
            (text("eventName"), text(name)),
            (text("userIdentity.type"), text("Root")),
            (text("sourceIPAddress"), text("203.0.113.9")),
            (text("additionalEventData.MFAUsed"), text("No")),
            (text("userAgent"), text(HOSTILE)),
        ]
        .into_iter()
        .collect(),
    }
}

fn detail(id: FindingId) -> Option<FindingDetail> {
    let r = findings().into_iter().find(|r| r.id == id)?;
    Some(FindingDetail {
        finding: Finding {
            id,
            source: r.source,
            finding_type: r.finding_type.clone(),
            rule: RuleRef {
                name: r.rule.clone(),
                id: text("0f2d0e1c-6c1b-4a43-9a65-1d3b8a0c9d11"),
                title: text("Root console login"),
                hash: "5d".repeat(32),
                credit: None,
            },
            title: r.title.clone(),
            why: text(
                "The root user of 111122223333 signed in from 203.0.113.9, an address that no earlier sign-in used, and no second factor was asked for. Root can do everything in the account and is bound by no policy.",
            ),
            fix: text(
                "Call the owner of the account. If nobody knows of it: change the root password, remove its keys, set a second factor, and look at what followed within the hour.",
            ),
            severity: r.severity,
            account: r.account.clone(),
            region: r.region.clone(),
            resource: r.resource.clone(),
            key: vec![(text("actor"), text("root")), (text("ip"), text("203.0.113.9"))],
            tags: vec![text("attack.t1078.004")],
            attributes: model::Attributes::new(),
            count: r.count,
            first_seen: r.first_seen,
            last_seen: r.last_seen,
            evidence: vec![evidence("ConsoleLogin", 298)],
            is_settled: true,
            drill: r.drill.clone(),
        },
        state: r.state,
        version: 3,
        suppression: r.suppression.clone(),
        history: vec![
            HistoryEntry {
                at: ago(290 * MIN),
                who: text("ana"),
                what: text("added a note"),
                why: text("calling the owner"),
            },
            HistoryEntry {
                at: ago(297 * MIN),
                who: text("avouch"),
                what: text("told oncall"),
                why: String::new(),
            },
        ],
        alerts: vec![Alert {
            id: text("a-1"),
            finding: id,
            route: text("oncall"),
            occasion: text("opened"),
            created: ago(297 * MIN),
            deliveries: vec![
                Delivery {
                    channel: text("webhook"),
                    state: DeliveryState::Failed,
                    attempt: 1,
                    at: ago(297 * MIN),
                    receipt: text("503 Service Unavailable"),
                },
                Delivery {
                    channel: text("webhook"),
                    state: DeliveryState::Delivered,
                    attempt: 2,
                    at: ago(296 * MIN),
                    receipt: text("200 OK"),
                },
            ],
        }],
        related: findings().into_iter().filter(|o| o.id != id).take(3).collect(),
        controls: vec![(text("m19.gone-after-7-days"), text("No log byte is kept for more than 7 days."))],
        verify_command: Some(format!("avouch verify --event {} --key harbour+7f2c+AbC=", event_id())),
    })
}

fn states() -> Vec<SourceHealth> {
    let minute = |f: fn(u64) -> Option<u64>| (0..60).map(f).collect::<Vec<_>>();
    let source = |name: &str, kind: &str, events, last: Option<i64>, per_minute, rejected| SourceHealth {
        name: text(name),
        kind: text(kind),
        events,
        last_seen: last.map(ago),
        per_minute,
        rejected,
    };
    vec![
        source(
            "edge-firewall",
            "syslog",
            Value::counted(31_240, 0, "events", ago(MIN)),
            Some(Time::SECOND * 3),
            minute(|i| Some(480 + i * 37 % 113)),
            0,
        ),
        source(
            "cloudtrail-files",
            "file",
            Value::counted(8_412, 0, "events", ago(MIN)),
            Some(4 * MIN),
            minute(|i| if i % 5 == 0 { Some(700 + i) } else { Some(0) }),
            3,
        ),
        source(
            "branch-firewall",
            "syslog",
            Value::Silent { since: ago(62 * MIN), expected_s: 60 },
            Some(62 * MIN),
            minute(|_| None),
            0,
        ),
        source(
            "audit-app",
            "https",
            Value::Zero { examined: 60, what: text("minutes"), as_of: ago(MIN) },
            Some(3 * HOUR),
            minute(|_| Some(0)),
            0,
        ),
        source(
            "waf",
            "s3",
            Value::NotConfigured { what: text("no WAF log source"), add: text("add one") },
            None,
            vec![],
            0,
        ),
        source(
            "vpc-flow",
            "s3",
            Value::Unknown { needs: vec![text("s3:GetObject on flow-logs")] },
            None,
            vec![],
            0,
        ),
        source(
            "old-router",
            "syslog",
            Value::Off { who: text("ana"), when: at("2025-03-03T10:00:00Z"), why: text("replaced") },
            Some(9 * DAY),
            vec![],
            0,
        ),
    ]
}

fn overview() -> Overview {
    let band = |band, open, oldest: Option<i64>| SeverityCount { band, open, oldest: oldest.map(ago) };
    Overview {
        changes: Changes {
            since: Some(ago(15 * HOUR)),
            findings_new: 7,
            findings_resolved: 1,
            controls_worse: 1,
            controls_better: 2,
            events: 48_210,
        },
        attention: vec![
            Attention {
                level: Level::Urgent,
                text: text("The trail `org-trail` was stopped by root and is still off"),
                why: text("Until it runs again, API calls in 111122223333 are not recorded."),
                href: format!("/findings/{}", FindingId::of(&[b"aws-cloudtrail-stopped"])),
                since: Some(ago(291 * MIN)),
            },
            Attention {
                level: Level::Urgent,
                text: text("\"Gone after 7 days\" does not hold: 2 objects are 9 days old"),
                why: text("Set up, and contradicted by its own test 42 min ago."),
                href: text("/controls/m19.gone-after-7-days"),
                since: Some(ago(42 * MIN)),
            },
            Attention {
                level: Level::Soon,
                text: text("Source branch-firewall is silent"),
                why: text("Expected every 60 s. Ask network-security, or pause the source."),
                href: text("/findings?rule=avouch-source-silent"),
                since: Some(ago(62 * MIN)),
            },
            Attention {
                level: Level::Look,
                text: text("A suppression ends in 3 days"),
                why: text("logs-export, hidden by ana: migration window, HB-198"),
                href: text("/findings?state=suppressed"),
                since: None,
            },
        ],
        controls: counts(),
        disagreements: controls().into_iter().filter(|c| c.disagrees).collect(),
        findings: vec![
            band("critical", Value::counted(2, 0, "", ago(MIN)), Some(5 * HOUR)),
            band("high", Value::counted(3, 0, "", ago(MIN)), Some(5 * HOUR)),
            band(
                "medium",
                Value::Partial { value: 1, missing: vec![text("flow logs not read")], as_of: ago(MIN) },
                Some(12 * MIN),
            ),
            band("low", Value::counted(1, 0, "", ago(MIN)), Some(2 * DAY)),
            band("info", Value::counted(0, 48_210, "events", ago(MIN)), None),
        ],
        suppressed: 1,
        days: (0..28_i64)
            .map(|i| DayCount {
                day: ago((27 - i) * DAY),
                counts: (i != 9 && i != 10).then(|| {
                    let n = u64::try_from(i).unwrap();
                    [u64::from(i == 27) * 2, n * 7 % 4, n * 5 % 3, n * 3 % 4, n % 2]
                }),
            })
            .collect(),
        alerts: AlertHealth {
            not_delivered: Value::Zero { examined: 5, what: text("alerts"), as_of: ago(MIN) },
            not_acknowledged: Value::counted(2, 5, "alerts", ago(MIN)),
            last_delivered: Some(ago(12 * MIN)),
            routes: 2,
        },
        sources: states(),
        sinks: vec![
            SinkHealth {
                name: text("siem-main"),
                kind: text("elasticsearch"),
                waiting: Value::counted(0, 48_207, "events", ago(MIN)),
                oldest_waiting: None,
                dead: Value::counted(3, 48_210, "events", ago(MIN)),
                delivered: 48_207,
                last_ok: Some(ago(Time::SECOND * 2)),
            },
            SinkHealth {
                name: text("archive"),
                kind: text("syslog"),
                waiting: Value::Stale { value: 1_204, as_of: ago(26 * HOUR), limit_s: 86_400 },
                oldest_waiting: Some(ago(26 * HOUR)),
                dead: Value::counted(0, 912, "events", ago(MIN)),
                delivered: 912,
                last_ok: Some(ago(26 * HOUR)),
            },
        ],
        vault: VaultBrief {
            seal: SealState::Verified,
            checked_at: Some(ago(10 * MIN)),
            events: 48_210,
            segments: 4,
            bytes: 21_400_000,
        },
    }
}

fn control_detail(id: &str) -> Option<ControlDetail> {
    let row = controls().into_iter().find(|c| c.id == id)?;
    let observation =
        |holds, value: &str, source: &str, by: Option<&str>, missing: Option<&str>| Observation {
            holds,
            value: text(value),
            source: text(source),
            at: ago(2 * MIN),
            by: by.map(text),
            missing: missing.map(text),
        };
    let run = |n: i64, outcome, figure: &str, step: Option<&str>| Run {
        run: format!("r-{:04}", 201 - n),
        outcome,
        figure: text(figure),
        started: ago((4 + n * 15) * MIN),
        finished: ago((4 + n * 15) * MIN - 3_100_000),
        actor: text(if n == 2 { "ana" } else { "schedule" }),
        failed_step: step.map(text),
    };
    let step = |name: &str, expected: &str, got: &str, passed| ProofStep {
        name: text(name),
        expected: text(expected),
        got: text(got),
        at: ago(4 * MIN),
        passed,
        evidence: BTreeMap::from([(text("leaf"), text("41773")), (text("sink answer"), text("201 created"))]),
    };
    Some(ControlDetail {
        control: Control {
            id: row.id.clone(),
            pack: row.system.clone(),
            claim: row.claim.clone(),
            answers: vec![text("M-2"), text("M-5"), text("M-13")],
            kind: row.kind,
            owner: row.owner.clone(),
            document: text("security design"),
            section: text("Firewall Logs"),
            says: text("API Gateway → SQS → FunctionBeat → Remote ElasticSearch"),
            scope: BTreeMap::new(),
            configured: vec![],
            effective: vec![],
            drill: None,
            no_drill_because: (row.kind == ControlKind::Attested)
                .then(|| text("no machine can stand in for the outside team")),
            every: 15 * MIN,
            valid_for: HOUR,
            planned: (row.state == ControlState::Planned)
                .then(|| Planned { until: at("2025-06-30T00:00:00Z"), ticket: text("HB-214") }),
            exceptions: vec![],
            maps: vec![],
            attested_by: vec![],
        },
        instances: ["edge-firewall", "branch-firewall"]
            .iter()
            .enumerate()
            .map(|(i, s)| InstanceState {
                name: format!("source={s} sink=siem-main"),
                state: if i == 0 { row.state } else { ControlState::Unknown },
                configured: row.configured.clone(),
                effective: row.effective.clone(),
                last_proven: row.last_proven.clone(),
                because: row.because.clone(),
            })
            .collect(),
        configured: vec![observation(
            Some(true),
            "route edge-firewall → siem-main is on",
            "avouch.yaml:41",
            Some("ana, commit 9f31"),
            None,
        )],
        effective: vec![
            observation(Some(true), "lag 0.8 s, last event 3 s ago", "cursor siem-main", None, None),
            observation(None, "", "sqs queue depth", None, Some("sqs:GetQueueAttributes in 111122223333")),
        ],
        runs: vec![
            run(0, ProofOutcome::Passed, "3 of 3 in 3.1 s", None),
            run(1, ProofOutcome::Passed, "3 of 3 in 2.9 s", None),
            run(2, ProofOutcome::Failed, "2 of 3 in 60 s", Some("searchable at the sink")),
            run(3, ProofOutcome::Inconclusive, "the sink could not be read back", None),
            run(4, ProofOutcome::Passed, "3 of 3 in 3.4 s", None),
        ],
        newest_proof: Some(Proof {
            run: text("r-0201"),
            control: row.id.clone(),
            control_hash: "ab".repeat(32),
            instance: Instance::default(),
            nonce: "cd".repeat(16),
            commitment: "ef".repeat(32),
            steps: vec![
                step(
                    "plan under a checkpoint",
                    "leaf before the first event",
                    "leaf 41770, size 41771",
                    Some(true),
                ),
                step("durable in the vault", "3 events", "3 events in 0.2 s", Some(true)),
                step("searchable at the sink, once", "3 of 3 within 60 s", "3 of 3 in 3.1 s", Some(true)),
            ],
            outcome: ProofOutcome::Passed,
            figure: text("3 of 3 in 3.1 s"),
            path_fingerprint: "12".repeat(32),
            binary_hash: "34".repeat(32),
            started: ago(4 * MIN),
            finished: ago(4 * MIN),
            valid_until: now().plus(56 * MIN),
            actor: text("schedule"),
        }),
        history: vec![
            StateChange {
                at: ago(30 * MIN),
                from: Some(ControlState::Failed),
                to: ControlState::Proven,
                why: text("a whole run passed"),
            },
            StateChange {
                at: ago(35 * MIN),
                from: Some(ControlState::Proven),
                to: ControlState::Failed,
                why: text("2 of 3 were searchable"),
            },
        ],
        drill_steps: vec![
            text("Commit to a plan in the vault, so that no try can be hidden"),
            text("Send 3 marked events to edge-firewall's real port"),
            text("Find them in the vault"),
            text("Find them in siem-main with a reader of its own, once each, within 60 s"),
        ],
        cannot_prove: (!row.can_prove).then(|| text("no drill is defined")),
        verify_command: Some(text("avouch verify --proof r-0201.zip --key harbour+7f2c+AbC=")),
        row,
    })
}

fn search_rows() -> Vec<SearchRow> {
    let cells = |c: [Option<&str>; 5]| c.into_iter().map(|c| c.map(text)).collect::<Vec<_>>();
    let rows = [
        cells([
            Some("root"),
            Some("GetObject"),
            Some("customer-records"),
            Some("203.0.113.9"),
            Some("success"),
        ]),
        cells([
            Some("root"),
            Some("CreateAccessKey"),
            Some("user/deploy"),
            Some("203.0.113.9"),
            Some("success"),
        ]),
        cells([
            Some("root"),
            Some("StopLogging"),
            Some("trail/org-trail"),
            Some("203.0.113.9"),
            Some("success"),
        ]),
        cells([Some("root"), Some("ConsoleLogin"), None, Some("203.0.113.9"), Some("success")]),
        cells([
            Some(HOSTILE),
            Some("sshd: Failed password"),
            Some("bastion-1"),
            Some("203.0.113.9"),
            Some("failure"),
        ]),
        cells([
            Some("deploy"),
            Some("AssumeRole"),
            Some("role/reader"),
            Some("198.51.100.4"),
            Some("denied"),
        ]),
    ];
    (0_i64..24)
        .map(|i| SearchRow {
            id: event_id(),
            time: ago(i * 7 * MIN + 288 * MIN),
            dataset: text(if i % 6 == 4 { "syslog" } else { "aws.cloudtrail" }),
            cells: rows[usize::try_from(i).unwrap() % rows.len()].clone(),
        })
        .collect()
}

fn event_detail() -> EventDetail {
    let pair = |k: &str, v: &str| (text(k), text(v));
    let field = |name: &str, value: Option<&str>, search: &str| Field {
        name: text(name),
        value: value.map(text),
        search: text(search),
    };
    EventDetail {
        id: event_id(),
        dataset: text("aws.cloudtrail"),
        six: SixLines {
            who: some("root of 111122223333"),
            what: some("ConsoleLogin (signin.amazonaws.com)"),
            when: Some(ago(298 * MIN)),
            where_from: some("203.0.113.9, Firefox on Linux, eu-west-2"),
            details: None,
            result: some("success, no second factor"),
        },
        envelope: vec![
            pair("source", "cloudtrail-files"),
            pair("sender", "uid 1000, /var/lib/trail"),
            pair("received", "2025-03-14T09:18:02Z"),
            pair("account", "111122223333"),
            pair("region", "eu-west-2"),
            pair(
                "origin",
                "{\"file\":\"111122223333_CloudTrail_eu-west-2_20250314T0915Z.json.gz\",\"index\":7}",
            ),
            pair("flags", "time_from_payload"),
        ],
        fields: vec![
            field("eventName", Some("ConsoleLogin"), "action"),
            field("eventSource", Some("signin.amazonaws.com"), "service"),
            field("userIdentity.type", Some("Root"), ""),
            field("userIdentity.arn", Some("arn:aws:iam::111122223333:root"), "actor"),
            field("sourceIPAddress", Some("203.0.113.9"), "ip"),
            field("userAgent", Some(HOSTILE), ""),
            field("additionalEventData.MFAUsed", Some("No"), ""),
            field("responseElements.ConsoleLogin", None, ""),
        ],
        raw: RawPreview {
            text: Some(format!(
                "{{\"eventVersion\":\"1.09\",\"eventName\":\"ConsoleLogin\",\"userAgent\":\"{HOSTILE}\",\"sourceIPAddress\":\"203.0.113.9\",\"additionalEventData\":{{\"MFAUsed\":\"No\"}}}}"
            )),
            bytes_total: 1_841,
            bytes_shown: 512,
            is_utf8: true,
            command: format!("avouch event show {} --raw", event_id()),
        },
        forwarded: vec![
            Forwarded {
                sink: text("siem-main"),
                state: "delivered",
                at: Some(ago(297 * MIN)),
                answer: text("201 created"),
            },
            Forwarded { sink: text("archive"), state: "waiting", at: None, answer: String::new() },
        ],
        proof: ProofView {
            seal: SealState::Verified,
            checked_at: Some(ago(10 * MIN)),
            shard: 0,
            seq: 41_772,
            leaf: Some(17),
            tree_size: Some(22),
            root: some("q7hS1xkq9v0Jm1cXhQZ2a0p4v8m5u7nYw3bR6tE9oPk="),
            text: Some(text(
                "c2sp.org/tlog-proof@v1\nindex 17\nAbCdEf0123456789\n\navouch.example/harbour\n22\nq7hS1xkq9v0Jm1cXhQZ2a0p4v8m5u7nYw3bR6tE9oPk=",
            )),
            verify_command: format!("avouch verify --event {} --key harbour+7f2c+AbC=", event_id()),
        },
        around: vec![
            Act {
                id: EventId::of(&[b"0"]),
                time: ago(300 * MIN),
                what: text("ConsoleLogin"),
                result: text("failure"),
                is_this: false,
            },
            Act {
                id: event_id(),
                time: ago(298 * MIN),
                what: text("ConsoleLogin"),
                result: text("success"),
                is_this: true,
            },
            Act {
                id: EventId::of(&[b"2"]),
                time: ago(291 * MIN),
                what: text("StopLogging org-trail"),
                result: text("success"),
                is_this: false,
            },
            Act {
                id: EventId::of(&[b"3"]),
                time: ago(288 * MIN),
                what: text("CreateAccessKey deploy"),
                result: text("success"),
                is_this: false,
            },
        ],
        findings: findings().into_iter().take(1).collect(),
        other_tools: vec![OtherQuestion {
            tool: text("CloudWatch Logs Insights"),
            query: text(
                "fields @timestamp, eventName | filter userIdentity.type = \"Root\" and sourceIPAddress = \"203.0.113.9\"",
            ),
        }],
    }
}

fn verification() -> Verification {
    Verification {
        at: ago(10 * MIN),
        by: text("ana"),
        seal: SealState::Verified,
        files: 14,
        events: 48_210,
        bytes: 21_400_000,
        millis: 412,
        damages: vec![],
        limits: vec![text(
            "no witness has signed the checkpoints: whoever holds the disk and the key could have rewritten all of it",
        )],
    }
}

fn vault_page() -> VaultPage {
    let dataset = |name: &str, seal, events, open, because: &str| DatasetState {
        name: text(name),
        seal,
        checked_at: (seal != SealState::Open).then(|| ago(10 * MIN)),
        events,
        events_open: open,
        segments: 2,
        bytes: events * 440,
        oldest: Some(ago(7 * DAY)),
        newest: Some(ago(Time::SECOND * 3)),
        retention_s: (name != "avouch.proof").then_some(7 * 86_400),
        last_expired: (name == "syslog").then(|| ago(5 * HOUR)),
        expired_segments: u64::from(name == "syslog") * 3,
        hold: (name == "aws.cloudtrail").then(|| text("HB-2025-legal")),
        because: text(because),
    };
    VaultPage {
        datasets: vec![
            dataset("aws.cloudtrail", SealState::Verified, 8_412, 0, ""),
            dataset("syslog", SealState::Verified, 39_201, 597, ""),
            dataset("avouch.proof", SealState::Open, 41, 41, ""),
            dataset(
                "app.audit",
                SealState::Damaged,
                512,
                0,
                "1-0.parquet, bytes 90112 to 155647, events 4201 to 4288",
            ),
            dataset("waf", SealState::Unknown, 0, 0, "the key file cannot be read"),
        ],
        last: Some(Verification {
            seal: SealState::Damaged,
            damages: vec![Damage {
                file: text("data/dataset=app.audit/day=2025-03-12/1-0.parquet"),
                place: text("bytes 90112 to 155647"),
                events: text("events 4201 to 4288"),
            }],
            ..verification()
        }),
        checkpoints: (0..3_u64)
            .map(|i| Checkpoint {
                at: ago(i64::try_from(i).unwrap() * HOUR),
                tree_size: 22 - i * 4,
                root: text("q7hS1xkq9v0Jm1cXhQZ2a0p4v8m5u7nYw3bR6tE9oPk="),
                signed_by: text("harbour+7f2c"),
            })
            .collect(),
        quarantined: vec![Quarantined {
            at: ago(2 * DAY),
            what: text("wal/0-1.log, last 132 bytes"),
            bytes: 132,
            why: text("the power went while they were written; they were never acknowledged"),
        }],
        access: vec![AccessEntry {
            id: event_id(),
            at: ago(20 * MIN),
            who: text("ana"),
            how: text("search"),
            what: text("actor = root"),
            rows: 24,
        }],
        public_key: text("harbour+7f2c+AbCdEfGhIjKlMnOpQrStUvWxYz0123456789abcdefg="),
        is_encrypted: true,
        key_file: some("~/.local/share/avouch/secret/kek"),
        verify_command: text("avouch verify ~/.local/share/avouch/vault --key harbour+7f2c+AbC="),
    }
}

fn lost<T>(what: &str) -> Result<T, ConsoleError> {
    Err(ConsoleError::NotFound { what: text(what) })
}

#[async_trait]
impl Console for FixtureConsole {
    fn now(&self) -> Time {
        now()
    }
    async fn sign_in(&self, link: &Secret, _peer: &Peer) -> Result<NewSession, ConsoleError> {
        if link.0 != LINK {
            return Err(ConsoleError::Denied { message: text("no such link"), hint: String::new() });
        }
        Ok(NewSession {
            secret: Secret(text("admin-secret-0123456789")),
            caller: self.caller(Role::Admin),
            expires: now().plus(DAY),
        })
    }
    async fn session(&self, secret: &Secret) -> Option<Caller> {
        if self.ended.lock().unwrap().contains(&secret.0) {
            return None;
        }
        let role = Role::ALL.into_iter().find(|r| secret.0.starts_with(&format!("{}-secret", r.term())))?;
        Some(self.caller(role))
    }
    async fn is_live(&self, secret: &Secret) -> bool {
        self.session(secret).await.is_some()
    }
    async fn bearer(&self, token: &Secret) -> Option<Caller> {
        (token.0 == TOKEN).then(|| Caller {
            name: text("token:ci"),
            session_id: text("t-1"),
            role: Role::Analyst,
        })
    }
    async fn sign_out(&self, caller: &Caller) -> Result<(), ConsoleError> {
        self.ended.lock().unwrap().push(format!("{}-secret-0123456789", caller.role.term()));
        Ok(())
    }
    async fn refused(&self, refused: Refused) {
        self.refused.lock().unwrap().push(refused);
    }
    async fn overview(&self, _: &Caller) -> Result<Overview, ConsoleError> {
        let mut o = overview();
        if self.is_empty {
            o = Overview {
                changes: Changes {
                    since: None,
                    findings_new: 0,
                    findings_resolved: 0,
                    controls_worse: 0,
                    controls_better: 0,
                    events: 0,
                },
                attention: vec![],
                controls: ControlCounts::default(),
                disagreements: vec![],
                sources: vec![],
                sinks: vec![],
                days: vec![],
                ..o
            };
        }
        Ok(o)
    }
    async fn controls(&self, _: &Caller, view: &View) -> Result<ControlList, ConsoleError> {
        let states = view.values("state");
        let items = controls()
            .into_iter()
            .filter(|c| !self.is_empty && (states.is_empty() || view.has("state", c.state.term())))
            .collect();
        let c = counts();
        Ok(ControlList {
            counts: c,
            facets: vec![
                facet(
                    "state",
                    "Result",
                    &[
                        ("failed", c.failed),
                        ("unknown", c.unknown),
                        ("stale", c.stale),
                        ("planned", c.planned),
                        ("configured", c.configured),
                        ("effective", c.effective),
                        ("proven", c.proven),
                    ],
                ),
                facet(
                    "system",
                    "System",
                    &[("log-proxy", 4), ("health-register", 3), ("monitoring", 1), ("self", 1)],
                ),
                facet("kind", "How it is shown", &[("technical", 8), ("attested", 1)]),
            ],
            items,
        })
    }
    async fn control(&self, _: &Caller, id: &str) -> Result<ControlDetail, ConsoleError> {
        control_detail(id).map_or_else(|| lost("that control"), Ok)
    }
    async fn prove(&self, _: &Caller, id: &str) -> Result<Run, ConsoleError> {
        control_detail(id).and_then(|d| d.runs.into_iter().next()).map_or_else(|| lost("that control"), Ok)
    }
    async fn findings(&self, _: &Caller, view: &View) -> Result<FindingList, ConsoleError> {
        let items: Vec<FindingRow> = findings()
            .into_iter()
            .filter(|_| !self.is_empty)
            .filter(|f| {
                view.values("severity").is_empty()
                    || view.values("severity").iter().any(|s| s.trim_end_matches('+') == f.severity.band())
            })
            .filter(|f| view.values("state").is_empty() || view.has("state", f.state.term()))
            .collect();
        Ok(FindingList {
            total: items.len() as u64,
            suppressed: items.iter().filter(|f| f.state == FindingState::Suppressed).count() as u64,
            facets: vec![
                facet("severity", "Severity", &[("critical", 2), ("high", 3), ("medium", 2), ("low", 2)]),
                facet("state", "State", &[("new", 5), ("notified", 2), ("resolved", 1), ("suppressed", 1)]),
                facet("account", "Account", &[("111122223333", 7), ("444455556666", 2)]),
                facet("rule", "Rule", &[("aws-root-console-login", 1), ("ssh-brute-force", 1), (HOSTILE, 1)]),
            ],
            next: (!items.is_empty()).then(|| text("c-50")),
            items,
            complete: false,
            unknown: vec![text("flow logs of eu-west-2: s3:GetObject on flow-logs is missing")],
        })
    }
    async fn finding(&self, _: &Caller, id: FindingId) -> Result<FindingDetail, ConsoleError> {
        detail(id).map_or_else(|| lost("that finding"), Ok)
    }
    async fn change_finding(
        &self,
        caller: &Caller,
        id: FindingId,
        version: u64,
        action: FindingAction,
    ) -> Result<FindingDetail, ConsoleError> {
        if version != 3 {
            return Err(ConsoleError::Conflict {
                message: text("ben resolved it a minute ago"),
                current: text("resolved, version 4"),
            });
        }
        self.changed.lock().unwrap().push((caller.name.clone(), action));
        self.finding(caller, id).await
    }
    async fn access(&self, _: &Caller, view: &View) -> Result<AccessPage, ConsoleError> {
        let usual = access::access_page(view, self.is_empty)?;
        let Some((canary, rows, problem)) = self.access.clone() else { return Ok(usual) };
        AccessPage { canary, problem, ..usual }.narrowed(&rows, view)
    }
    async fn who_can(&self, _: &Caller, action: &str, resource: &str) -> Result<WhoCan, ConsoleError> {
        Ok(access::who_can(action, resource, self.is_empty))
    }
    async fn datasets(&self, _: &Caller) -> Result<Vec<String>, ConsoleError> {
        Ok(vec![text("app.audit"), text("aws.cloudtrail"), text("syslog")])
    }
    async fn search(&self, _: &Caller, request: &SearchRequest) -> Result<SearchAnswer, ConsoleError> {
        if request.text.contains("acton") {
            return Err(ConsoleError::Bad {
                code: text("query.unknown_field"),
                message: text("unknown field `acton`"),
                hint: text("did you mean `action`?"),
            });
        }
        let items = if self.is_empty || request.text.contains("nothing") { vec![] } else { search_rows() };
        let step = request.to.since(request.from) / 60;
        Ok(SearchAnswer {
            request: request.clone(),
            columns: ["actor", "action", "resource", "ip", "outcome"].map(text).to_vec(),
            histogram: (0..60_i64)
                .map(|i| Bucket {
                    from: request.from.plus(i * step),
                    to: request.from.plus((i + 1) * step),
                    count: (!(20..24).contains(&i)).then(|| u64::try_from(i * i % 17).unwrap()),
                })
                .collect(),
            scanned: ScanFacts {
                segments_read: 3,
                segments_skipped: 1,
                rows: 48_210,
                matched: items.len() as u64,
                bytes: 9_120_000,
                millis: 41,
            },
            complete: false,
            unknown: vec![text("the segment of 10 March could not be read: its key is missing")],
            next: (!items.is_empty()).then(|| text("c-100")),
            items,
            datasets: self.datasets(&self.caller(Role::Viewer)).await?,
            recorded_as: Some(event_id()),
        })
    }
    async fn event(&self, _: &Caller, id: EventId) -> Result<EventDetail, ConsoleError> {
        if id == event_id() { Ok(event_detail()) } else { lost("that event") }
    }
    async fn vault(&self, _: &Caller) -> Result<VaultPage, ConsoleError> {
        let mut v = vault_page();
        if self.is_empty {
            v.datasets.clear();
            v.access.clear();
            v.last = None;
        }
        Ok(v)
    }
    async fn verify(&self, _: &Caller) -> Result<Verification, ConsoleError> {
        Ok(verification())
    }
    async fn ready(&self) -> Result<(), String> {
        if self.is_empty { Err(text("disk full")) } else { Ok(()) }
    }
    async fn metrics(&self) -> String {
        text("avouch_events_total 48210\n")
    }
    fn changes(&self) -> BoxStream<'static, Change> {
        if !self.is_lively {
            return stream::iter([Change { topic: text("findings"), counter: 7 }])
                .chain(stream::pending())
                .boxed();
        }
        stream::unfold(0, |n| async move {
            tokio::time::sleep(Duration::from_secs(5)).await;
            Some((Change { topic: text("findings"), counter: n }, n + 1))
        })
        .boxed()
    }
}
