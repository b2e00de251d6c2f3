use super::*;
use crate::canary::{Planned, RunId, Verdict};
use crate::config::ShapeConfig;
use model::{Provenance, Time};
use proptest::prelude::*;

const NOW: &str = "2026-03-14T12:00:00Z";

fn time(text: &str) -> Time {
    Time::parse_rfc3339(text.as_bytes()).unwrap()
}

fn batch(lines: &[&[u8]], provenance: Provenance, declared: &str) -> Batch {
    let mut b = Batch::builder();
    let p = b.provenance(provenance);
    let d = b.dataset(declared);
    for line in lines {
        b.push(line, p, d);
    }
    b.finish()
}

fn edge() -> Provenance {
    Provenance::new("edge").sender("10.1.2.3:514")
}

fn plan(json: &str) -> Plan {
    let config: ShapeConfig = serde_json::from_str(json).unwrap();
    Plan::compile(&config, &|_| None).unwrap()
}

/// Dataset, event time and flags of one line received at noon on 14 March 2026.
fn shaped(line: &[u8], declared: &str, plan: &Plan) -> String {
    let out = intake(&batch(&[line], edge(), declared), plan, time(NOW), &[]);
    assert_eq!(out.batch.raw(0), line, "raw is never edited");
    let row = out.batch.rows[0];
    let flags: Vec<&str> = row.flags.names().collect();
    format!("{} {} {}", out.batch.dataset_of(0), row.event_time, flags.join("+")).trim_end().to_owned()
}

#[track_caller]
fn check(line: &str, declared: &str, expect: &str) {
    assert_eq!(shaped(line.as_bytes(), declared, &Plan::default()), expect, "{line}");
}

#[test]
fn event_time_says_where_it_is_from() {
    check(
        "<13>1 2026-03-14T12:00:00.25+01:00 h a - - - m",
        "syslog",
        "syslog 2026-03-14T11:00:00.250Z time_from_payload+clock_skew",
    );
    check(
        "<13>Mar 14 11:59:00 h a: m",
        "syslog",
        "syslog 2026-03-14T11:59:00Z time_from_payload+assumed_zone",
    );
    check(
        "<13>Mar 14 11:44:59 h a: m",
        "syslog",
        "syslog 2026-03-14T11:44:59Z time_from_payload+assumed_zone+clock_skew",
    );
    check(
        "<13>Mar 14 11:45:00 h a: m",
        "syslog",
        "syslog 2026-03-14T11:45:00Z time_from_payload+assumed_zone",
    );
    check("<13>no time", "syslog", "syslog 2026-03-14T12:00:00Z");
    check("no PRI", "syslog", "syslog 2026-03-14T12:00:00Z parse_error");
    check(
        r#"{"ts":1773489600.5,"msg":"x"}"#,
        "app.json",
        "app.json 2026-03-14T12:00:00.500Z time_from_payload",
    );
    check(r#"{"msg":"x","msg":"y"}"#, "app.json", "app.json 2026-03-14T12:00:00Z dup_keys");
    check("plain text", "app.json", "app.json 2026-03-14T12:00:00Z parse_error");
    check("plain text", "app.log", "app.log 2026-03-14T12:00:00Z");
    check("anything", "", "other 2026-03-14T12:00:00Z");
    check("anything", "auto", "other 2026-03-14T12:00:00Z");
    check("anything", "dns.own", "dns.own 2026-03-14T12:00:00Z");
}

#[test]
fn event_time_of_the_transport() {
    let shape = |raw: &[u8], plan: &Plan| {
        let mut b = Batch::builder();
        let p = b.provenance(edge());
        let d = b.dataset("app.log");
        let row = b.push(raw, p, d);
        row.event_time = time("2026-03-14T11:58:00Z");
        row.flags = Flags::TIME_FROM_ENVELOPE;
        let out = intake(&b.finish(), plan, time(NOW), &[]);
        format!("{} {}", out.batch.rows[0].event_time, crate::event_time_from(out.batch.rows[0].flags))
    };
    let none = Plan::default();
    let berlin = plan(r#"{"zones":[{"source":"edge","zone":"+01:00"}]}"#);
    assert_eq!(shape(b"no time at all", &none), "2026-03-14T11:58:00Z envelope");
    assert_eq!(shape(b"2026-03-14T11:57:00Z exact", &none), "2026-03-14T11:57:00Z payload");
    // A guess at the zone is worth less than the transport's word; a configured zone is worth more.
    assert_eq!(shape(b"14/03/2026 12:57:00 local", &none), "2026-03-14T11:58:00Z envelope");
    assert_eq!(shape(b"14/03/2026 12:57:00 local", &berlin), "2026-03-14T11:57:00Z assumed_zone");
}

#[test]
fn a_zone_belongs_to_a_source_or_a_network() {
    let plan = plan(
        r#"{"zones":[{"sender":"192.0.2.0/24","zone":"UTC"},{"source":"edge","sender":"10.0.0.0/8","zone":"+02:00"}]}"#,
    );
    let got = shaped(b"<13>Mar 14 14:00:00 h a: m", "syslog", &plan);
    assert_eq!(got, "syslog 2026-03-14T12:00:00Z time_from_payload+assumed_zone");
}

#[test]
fn the_year_is_the_nearest() {
    let at = |line: &str, now: &str| {
        let out = intake(&batch(&[line.as_bytes()], edge(), "syslog"), &Plan::default(), time(now), &[]);
        out.batch.rows[0].event_time.to_string()
    };
    assert_eq!(at("<13>Dec 31 23:59:58 h a: m", "2027-01-01T00:00:03Z"), "2026-12-31T23:59:58Z");
    assert_eq!(at("<13>Jan  1 00:00:03 h a: m", "2026-12-31T23:59:58Z"), "2027-01-01T00:00:03Z");
    assert_eq!(at("<13>Feb 29 08:00:00 h a: m", "2028-02-29T08:00:01Z"), "2028-02-29T08:00:00Z");
}

#[test]
fn cloudtrail_gives_time_and_natural_key() {
    let record = br#"{"eventTime":"2026-03-14T11:59:00Z","eventID":"083dc4ad-e264","eventName":"StopLogging","eventSource":"cloudtrail.amazonaws.com"}"#;
    let out =
        intake(&batch(&[b"padding", record], edge(), "aws.cloudtrail"), &Plan::default(), time(NOW), &[]);
    assert_eq!(out.batch.natural_key(1), b"083dc4ad-e264");
    assert_eq!(out.batch.natural_key(0), b"");
    assert_eq!(out.unparsed, 1);
    let key = out.batch.rows[1].natural_key;
    assert!(out.batch.rows[1].raw.start < key.start && key.end < out.batch.rows[1].raw.end, "a slice of raw");
    check(r#"{"Records":[]}"#, "aws.cloudtrail", "aws.cloudtrail 2026-03-14T12:00:00Z parse_error");
    check(
        r#"{"eventName":"X","eventTime":"#,
        "aws.cloudtrail",
        "aws.cloudtrail 2026-03-14T12:00:00Z parse_error",
    );
    check(
        r#"{"eventName":"X","eventID":"a\u0062","eventName":"Y"}"#,
        "aws.cloudtrail",
        "aws.cloudtrail 2026-03-14T12:00:00Z dup_keys",
    );
}

#[test]
fn rows_of_one_arena_are_checked_one_by_one_for_utf8() {
    let lines: [&[u8]; 4] = ["caf\u{e9}".as_bytes(), b"caf\xe9", b"\xc3", b"plain"];
    let bad = |lines: &[&[u8]]| {
        let out = intake(&batch(lines, edge(), "app.log"), &Plan::default(), time(NOW), &[]);
        out.batch.rows.iter().map(|r| r.flags.has(Flags::NOT_UTF8)).collect::<Vec<_>>()
    };
    assert_eq!(bad(&lines), [false, true, true, false]);
    // Two halves of one character make a good arena and two bad rows.
    assert_eq!(bad(&[b"\xc3", b"\xa9", b"x"]), [true, true, false]);
}

#[test]
fn rules_route_by_trusted_facts_first() {
    let plan = plan(
        r#"{"datasets":[
            {"match":{"source":"edge","app":"billing-*"},"dataset":"app.billing"},
            {"match":{"sender":"10.0.0.0/8","content":"cloudtrail"},"dataset":"aws.cloudtrail"},
            {"match":{"source":"edge","level":["warn"]},"dataset":"app.warn"},
            {"match":{"source":"elsewhere"},"dataset":"app.never"}],
            "default":"app.rest"}"#,
    );
    let dataset = |line: &str, declared: &str| {
        shaped(line.as_bytes(), declared, &plan).split(' ').next().unwrap().to_owned()
    };
    assert_eq!(dataset("<13>Mar 14 12:00:00 h billing-7: m", "syslog"), "app.billing");
    assert_eq!(dataset(r#"{"eventSource":"s","eventName":"n"}"#, "other"), "aws.cloudtrail");
    assert_eq!(dataset("15/10/2021 14:10:13.692 Log_Level=WARNING MESHSEND0003", "app.log"), "app.warn");
    assert_eq!(dataset("15/10/2021 14:10:13.692 Log_Level=INFO WARN", "app.log"), "app.log");
    assert_eq!(dataset("<13>Mar 14 12:00:00 h x: m", "syslog"), "syslog");
    assert_eq!(dataset("nothing", "auto"), "app.rest");
    // The built-in rules come last.
    assert_eq!(
        dataset("<14>Mar 14 12:00:00 h 1,2026/03/14 12:00:00,0018,TRAFFIC,end,0", "syslog"),
        "net.panos"
    );
    assert_eq!(
        dataset("<189>date=2026-01-02 time=03:04:05 devname=\"f1\" type=x", "syslog"),
        "net.fortigate"
    );
    // Content alone selects nothing: another source may write what it likes.
    assert_eq!(dataset("<189>date=2026-01-02 time=03:04:05 devname=\"f1\" type=x", "app.log"), "app.log");
}

#[test]
fn what_no_rule_matches_is_counted() {
    let plan = plan(r#"{"datasets":[{"match":{"source":"edge","level":"error"},"dataset":"app.x"}]}"#);
    let lines: [&[u8]; 3] = [b"Log_Level=LOUD x", b"Log_Level=ERR y", b"z"];
    let out = intake(&batch(&lines, edge(), "auto"), &plan, time(NOW), &[]);
    assert_eq!((out.unrouted, out.unmapped_levels), (2, 1));
}

#[test]
fn tags_and_constants_go_to_the_envelope() {
    let plan = plan(
        r#"{"tags":[
            {"match":{"source":"edge"},"tags":["network","syslog"],"constants":{"environment":"production","log_group":"mine"}},
            {"dataset":"net.*","tags":["firewall","network"]},
            {"match":{"source":"core"},"tags":["never"]}]}"#,
    );
    let p = edge().origin(&serde_json::json!({"log_group": "theirs"}));
    let lines: [&[u8]; 2] = [b"<13>hello", b"<189>date=2026-01-02 time=03:04:05 devname=\"f1\" type=x"];
    let out = intake(&batch(&lines, p, "syslog"), &plan, time(NOW), &[]);
    let tags = |i| out.batch.provenance_of(i).tags.iter().map(|t| t.to_string()).collect::<Vec<_>>();
    assert_eq!(tags(0), ["network", "syslog"]);
    assert_eq!(tags(1), ["network", "syslog", "firewall"]);
    assert_eq!(
        out.batch.provenance_of(0).origin.as_deref(),
        Some(r#"{"environment":"production","log_group":"theirs"}"#),
        "a fact of the transport stays"
    );
}

/// `transport.md` 1.2 and `needs.md` part 5, no. 13.
#[test]
fn a_payload_changes_no_envelope() {
    let hostile = [
        r#"{"source":"x","dataset":"avouch.audit","received":"1999-01-01T00:00:00Z","account":"666","@timestamp":"1999-01-01T00:00:00Z","host":"y","tags":["trusted"],"_id":"z","av_source":"x","av_tags":["t"],"region":"r","sender":"10.9.9.9"}"#,
        "<13>1 - evil app - - [origin ip=\"9.9.9.9\"][avouch@32473 source=\"x\" dataset=\"y\"] tags=trusted source=x",
        "source=x dataset=avouch.audit account=666",
        "{'source': 'x', 'pri': '134'",
    ];
    for declared in ["app.json", "app.log", "app.audit", "syslog", "aws.cloudtrail", "other", "net.own"] {
        for line in hostile {
            let out = intake(&batch(&[line.as_bytes()], edge(), declared), &Plan::default(), time(NOW), &[]);
            assert_eq!(out.batch.provenance_of(0), &edge(), "{line}");
            assert_eq!(out.batch.dataset_of(0), declared, "{line}");
            assert_eq!(out.batch.raw(0), line.as_bytes());
            let row = out.batch.rows[0];
            assert!(row.received.is_none() && row.id.is_none() && row.seq == model::SEQ_NONE);
            for root in crate::parsed(declared, line.as_bytes()).as_object().unwrap().keys() {
                let roots = ["json", "syslog", "text", "fields", "cloudtrail", "panos"];
                assert!(roots.contains(&root.as_str()), "decoded fields have roots of their own: {root}");
            }
        }
    }
}

#[test]
fn canaries_are_marked_by_row() {
    let run = RunId(42);
    let payload = format!("canary {}", crate::token(b"n", run, "edge", 1));
    let open = crate::OpenRun {
        run,
        nonce: b"n".to_vec(),
        source: "edge".into(),
        planned: vec![Planned { counter: 1, payload: payload.clone().into_bytes() }],
    };
    let good = format!("<13>1 - h a - - - {payload}\n");
    let longer = format!("<13>1 - h a - - - {payload} and more");
    let lines: [&[u8]; 3] = [b"<13>nothing", good.as_bytes(), longer.as_bytes()];
    let out = intake(&batch(&lines, edge(), "syslog"), &Plan::default(), time(NOW), &[open]);
    let got: Vec<_> = out.canaries.iter().map(|m| (m.row, m.counter, m.verdict == Verdict::Fits)).collect();
    assert_eq!(got, [(1, 1, true), (2, 1, false)]);
    assert!(
        out.batch.provenance_of(1).canary.is_none(),
        "the host sets it, after it has checked the counter"
    );
}

proptest! {
    #[test]
    fn any_bytes_in_any_dataset(
        lines in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..120), 1..6),
        which in 0..crate::datasets().len(),
    ) {
        let name = crate::datasets()[which].name;
        let refs: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
        let before = batch(&refs, edge(), name);
        let once = intake(&before, &Plan::default(), time(NOW), &[]);
        let twice = intake(&before, &Plan::default(), time(NOW), &[]);
        prop_assert_eq!(&once.batch.rows, &twice.batch.rows);
        prop_assert_eq!(once.batch.len(), lines.len());
        for (i, line) in lines.iter().enumerate() {
            prop_assert_eq!(once.batch.raw(i), line.as_slice());
            let row = once.batch.rows[i];
            prop_assert!(!row.event_time.is_none());
            prop_assert_eq!(row.flags.has(Flags::NOT_UTF8), std::str::from_utf8(line).is_err());
        }
    }
}

/// Not a test of speed: prints nanoseconds a line of what intake and detection do with syslog.
#[test]
#[ignore = "a measurement; run with --ignored --nocapture"]
fn measure_syslog() {
    let lines: Vec<String> = (0..2_000_u32)
        .map(|i| {
            let text = format!(
                "connection from 198.51.{}.7 port {} accepted for user-{}, method publickey, session {:032x} rule allow-3 bytes 9173 duration 250 ms",
                i % 250, 1_024 + i, i % 97, u128::from(i) * 0x9e37_79b9_7f4a_7c15
            );
            match i % 3 {
                2 => format!("<{}>Nov 20 10:{:02}:{:02} host-{} sshd[{i}]: n={i}; {text}", 8 + i % 160, i / 60 % 60, i % 60, i % 500),
                _ => format!("<{}>1 2026-11-20T10:{:02}:{:02}.{:03}Z host-{}.example.org cron {i} ID7 [origin ip=\"10.0.3.7\"] n={i}; {text}", 8 + i % 160, i / 60 % 60, i % 60, i % 1_000, i % 500),
            }
        })
        .collect();
    let lines: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
    let batch = batch(&lines, edge(), "syslog");
    let plan = Plan::default();
    let per_line = |name: &str, mut work: Box<dyn FnMut() -> usize + '_>| {
        let started = std::time::Instant::now();
        let rounds = 500;
        let n: usize = (0..rounds).map(|_| work()).sum();
        assert_eq!(n, rounds * lines.len());
        println!("{name}: {:.0} ns a line", started.elapsed().as_nanos() as f64 / n as f64);
    };
    per_line("intake", Box::new(|| intake(&batch, &plan, time(NOW), &[]).batch.len()));
    let shaped = intake(&batch, &plan, time(NOW), &[]).batch;
    let asked = ["action", "actor", "app", "outcome", "src_ip"];
    per_line(
        "derive for rules",
        Box::new(|| crate::derive_some("syslog", &shaped, |n| asked.contains(&n)).rows),
    );
    per_line("derive all", Box::new(|| crate::derive("syslog", &shaped).rows));
}
