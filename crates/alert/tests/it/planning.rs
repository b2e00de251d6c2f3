use crate::kit::*;
use alert::{Book, DRILLS_PER_DAY, Delta, STORM_MAX, due, plan, tick};
use std::collections::BTreeSet;

const TWO_ROUTES: &str = r#"{
    "channels": { "a": { "file": { "path": "a" } }, "b": { "file": { "path": "b" } } },
    "routes": {
        "high": { "match": { "severity": "high" }, "to": [ "a", "b" ] },
        "policy": { "match": { "type": [ "Policy:*" ], "account": [ "1111*" ], "team": [ "platform" ] }, "to": [ "b" ], "every": "1h", "recovery": false }
    }
}"#;

struct Desk {
    config: AlertsConfig,
    book: Book,
}

impl Desk {
    fn new(json: &str) -> Desk {
        Desk { config: config(json), book: Book::default() }
    }
    fn take(&mut self, notices: &[Notice], s: i64) -> Delta {
        let d = plan(&self.config, &self.book, notices, at(s));
        self.book.apply(&d);
        d
    }
    fn tick(&mut self, s: i64, hidden: bool) -> Delta {
        let d = tick(&self.config, &self.book, at(s), &|_| hidden);
        self.book.apply(&d);
        d
    }
}

/// `route/channel occasion` of each message.
fn said(d: &Delta) -> Vec<String> {
    let one = |p: &alert::Parcel| {
        let mut o: Vec<&str> = p.alerts.iter().map(|a| a.occasion.term()).collect();
        o.dedup();
        format!("{}/{} {}", p.route, p.channel, o.join("+"))
    };
    d.parcels.iter().map(one).collect()
}

#[test]
fn every_matching_route_tells_its_channels() {
    let mut d = Desk::new(TWO_ROUTES);
    assert_eq!(
        said(&d.take(&[notice(finding(), Occasion::Opened)], 0)),
        ["high/a opened", "high/b opened", "policy/b opened"]
    );
    let other = Finding { account: Some("2".into()), severity: Severity::from_tenths(69), ..nth(1, 0) };
    let delta = d.take(&[notice(other, Occasion::Opened)], 1);
    assert!(delta.parcels.is_empty());
    assert_eq!(delta.skipped[0].1, "no_route");
}

/// J: a list of values misses those between and above; a number does not.
#[test]
fn thresholds_are_numbers() {
    let mut d = Desk::new(
        r#"{ "channels": { "a": { "file": { "path": "a" } } }, "routes": { "r": { "match": { "severity": 4.0 }, "to": [ "a" ] } } }"#,
    );
    for (tenths, expect) in [(39, 0), (40, 1), (89, 1), (90, 1), (100, 1)] {
        let delta = d.take(&[notice(nth(u32::from(tenths), tenths), Occasion::Opened)], 0);
        assert_eq!(delta.parcels.len(), expect, "{tenths}");
    }
}

#[test]
fn repeats_wait_for_the_interval_and_a_rise_does_not() {
    let mut d = Desk::new(TWO_ROUTES);
    let f = Finding { finding_type: "Recon:EC2/Portscan".into(), severity: Severity::HIGH, ..finding() };
    d.take(&[notice(f.clone(), Occasion::Opened)], 0);
    assert!(said(&d.take(&[notice(f.clone(), Occasion::Opened)], 10)).is_empty(), "told already");
    let many = Finding { count: 300, ..f.clone() };
    assert!(said(&d.take(&[notice(many.clone(), Occasion::Repeated)], 60)).is_empty());
    assert_eq!(due(&d.config, &d.book), Some(at(900)));
    assert!(said(&d.tick(899, false)).is_empty());
    let delta = d.tick(900, false);
    assert_eq!(said(&delta), ["high/a repeated", "high/b repeated"]);
    assert!(delta.parcels[0].title.starts_with("[HIGH, still, 300 times] "), "{}", delta.parcels[0].title);
    assert_eq!(due(&d.config, &d.book), None);
    let worse = Finding { severity: Severity::CRITICAL, ..f.clone() };
    assert_eq!(
        said(&d.take(&[notice(worse.clone(), Occasion::Raised)], 910)),
        ["high/a raised", "high/b raised"]
    );
    assert!(said(&d.take(&[notice(worse, Occasion::Raised)], 911)).is_empty(), "the same rise once");
    assert_eq!(
        said(&d.take(&[notice(f, Occasion::Repeated)], 2_000)),
        ["high/a repeated", "high/b repeated"]
    );
}

#[test]
fn recovery_goes_to_those_who_were_told() {
    let mut d = Desk::new(TWO_ROUTES);
    assert!(said(&d.take(&[notice(finding(), Occasion::Recovered)], 0)).is_empty(), "nobody was told");
    d.take(&[notice(finding(), Occasion::Opened)], 5);
    // It matches `high` no longer, and yet those people are waiting for the end.
    let lower = Finding { severity: Severity::LOW, ..finding() };
    let delta = d.take(&[notice(lower, Occasion::Recovered)], 60);
    assert_eq!(said(&delta), ["high/a recovered", "high/b recovered"], "`policy` asked for none");
    let p = &delta.parcels[0];
    assert!(p.title.starts_with("[RECOVERED] "), "{}", p.title);
    assert!(
        p.content.as_ref().unwrap().text.contains("First told: 2026-03-01T09:00:05Z"),
        "quotes the original time"
    );
    assert_eq!(said(&d.take(&[notice(finding(), Occasion::Opened)], 70)).len(), 3, "back again is news");
}

#[test]
fn suppressed_findings_are_not_told() {
    let mut d = Desk::new(TWO_ROUTES);
    let hidden = Notice { is_suppressed: true, ..notice(finding(), Occasion::Opened) };
    let delta = d.take(&[hidden], 0);
    assert_eq!((delta.parcels.len(), delta.skipped[0].1), (0, "suppressed"));
    // Told, then suppressed while a repeat waits: the repeat is not sent.
    d.take(&[notice(finding(), Occasion::Opened)], 1);
    d.take(&[notice(finding(), Occasion::Repeated)], 2);
    assert!(said(&d.tick(4_000, true)).is_empty());
    assert!(said(&d.tick(8_000, false)).is_empty(), "it was dropped, not postponed");
    // Told before it was hidden: the end is told.
    let over = Notice { is_suppressed: true, ..notice(finding(), Occasion::Recovered) };
    assert_eq!(said(&d.take(&[over], 9_000)), ["high/a recovered", "high/b recovered"]);
}

fn told(d: &Delta, channel: &str) -> Vec<FindingId> {
    d.parcels
        .iter()
        .filter(|p| p.channel == channel && p.route == "high")
        .flat_map(|p| p.alerts.iter().map(|a| a.finding))
        .collect()
}

#[test]
fn a_storm_becomes_a_digest_and_loses_nobody() {
    let mut d = Desk::new(TWO_ROUTES);
    let calm: Vec<Notice> = (0..STORM_MAX as u32).map(|n| notice(nth(n, 80), Occasion::Opened)).collect();
    let delta = d.take(&calm, 0);
    assert_eq!(delta.parcels.iter().filter(|p| p.channel == "a").count(), STORM_MAX, "one each while calm");
    let storm: Vec<Notice> = (100..350).map(|n| notice(nth(n, 80), Occasion::Opened)).collect();
    let delta = d.take(&storm, 10);
    let digest: Vec<_> = delta.parcels.iter().filter(|p| p.channel == "a").collect();
    assert_eq!((digest.len(), digest[0].alerts.len()), (1, 250), "all 250 in one");
    assert_eq!(digest[0].title, "250 findings: 250 high");
    // More within the window are held, not lost.
    let delta = d.take(&[notice(nth(400, 80), Occasion::Opened)], 20);
    assert!(told(&delta, "a").is_empty());
    assert_eq!(due(&d.config, &d.book), Some(at(310)));
    assert_eq!(told(&d.tick(310, false), "a"), [nth(400, 80).id]);
    // Calm again.
    assert_eq!(told(&d.take(&[notice(nth(500, 80), Occasion::Opened)], 700), "a").len(), 1);
}

#[test]
fn drills_are_marked_and_have_a_budget_of_their_own() {
    let mut d = Desk::new(TWO_ROUTES);
    let drill = |n| notice(Finding { drill: Some("run7".into()), ..nth(n, 90) }, Occasion::Opened);
    let real: Vec<Notice> =
        (100..100 + STORM_MAX as u32).map(|n| notice(nth(n, 90), Occasion::Opened)).collect();
    let mut all: Vec<Notice> = (0..DRILLS_PER_DAY + 5).map(drill).collect();
    all.extend(real);
    let delta = d.take(&all, 0);
    let on_a: Vec<_> = delta.parcels.iter().filter(|p| p.channel == "a").collect();
    let (drills, real): (Vec<&alert::Parcel>, Vec<&alert::Parcel>) =
        on_a.into_iter().partition(|p| p.drill.is_some());
    assert_eq!(real.len(), STORM_MAX, "drills took nothing from the real alerts' throttle");
    assert_eq!(drills.len(), DRILLS_PER_DAY as usize);
    assert!(drills.iter().all(|p| p.title.starts_with("DRILL [CRITICAL] ")), "{}", drills[0].title);
    assert!(real.iter().all(|p| !p.title.contains("DRILL")));
    let over: BTreeSet<_> = delta.skipped.iter().map(|(_, why)| *why).collect();
    assert_eq!(over, BTreeSet::from(["drill_budget"]));
    let tomorrow = d.take(&[drill(900)], 86_400);
    assert!(said(&tomorrow).contains(&"high/a opened".to_owned()));
}

#[test]
fn ids_are_stable_and_apart() {
    let make = || {
        let mut d = Desk::new(TWO_ROUTES);
        let delta = d.take(&[notice(nth(1, 90), Occasion::Opened), notice(nth(2, 90), Occasion::Opened)], 0);
        delta.parcels.iter().map(|p| p.id.clone()).collect::<Vec<_>>()
    };
    let ids = make();
    assert_eq!(ids, make(), "the same input gives the same ids");
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
}

#[test]
fn what_is_wrong_with_a_configuration() {
    let bad = config(
        r#"{
        "channels": {
            "hook": { "webhook": { "url": "http://example.org/x", "hmac": "hunter2" } },
            "mail": { "smtp": { "host": "mail.example.org", "tls": "none", "from": "x", "to": [], "user": "u" } },
            "both": { "file": { "path": "p" }, "webhook": { "url": "nonsense" } }
        },
        "routes": { "r": { "match": { "severity": "critical", "source": [ "detct" ] }, "to": [ "hoook" ], "every": "1s" }, "s": { "to": [] } }
    }"#,
    );
    let codes: Vec<(&str, bool)> = bad.check().iter().map(|p| (p.code, p.is_warning)).collect();
    expect_test::expect![[r#"[("alert.channel_kind", false), ("alert.bad_url", false), ("alert.plain_http", false), ("alert.secret_in_clear", false), ("alert.plain_smtp", false), ("alert.no_recipient", false), ("alert.bad_address", false), ("alert.half_login", false), ("alert.unknown_channel", false), ("alert.unknown_source", false), ("alert.too_often", false), ("alert.no_channel", false)]"#]]
    .assert_eq(&format!("{codes:?}"));
    let text: String = bad.check().iter().map(|p| format!("{p} {} {}", p.setting, p.hint)).collect();
    assert!(!text.contains("hunter2"), "a secret written down by mistake is not printed back");
    assert!(text.contains("did you mean `hook`?"));
    let quiet = config(
        r#"{ "channels": { "a": { "file": { "path": "a" } } }, "routes": { "r": { "match": { "type": [ "X:*" ] }, "to": [ "a" ] } } }"#,
    );
    assert_eq!(
        quiet.check().iter().map(|p| (p.code, p.is_warning)).collect::<Vec<_>>(),
        [("alert.nobody_told", true)]
    );
    assert!(
        serde_json::from_str::<AlertsConfig>(r#"{ "chanels": {} }"#)
            .unwrap_err()
            .to_string()
            .contains("unknown field `chanels`")
    );
    assert_eq!(config(TWO_ROUTES).check(), []);
    let schema = serde_json::to_string(&schemars::schema_for!(AlertsConfig)).unwrap();
    assert!(schema.contains("HMAC-SHA-256"), "doc comments are the reference");
}
