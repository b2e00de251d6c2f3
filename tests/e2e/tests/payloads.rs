//! The payloads of five real systems (`needs.md`, part 2), through real sources: kept byte for byte, decoded where a decoder exists.

use crate::http::same_bytes;
use avouch_e2e::peer::{gzip, send_udp};
use avouch_e2e::{PATIENCE, Scratch, Serve, http, number, text, unhex, wait_until};
use serde_json::Value;
use std::collections::BTreeSet;

const P1: &str = r#"{"messageType":"DATA_MESSAGE","owner":"123456789012","logGroup":"log_group_name","logStream":"log_stream_name","subscriptionFilters":["subscription_filter_name"],"logEvents":[{"id":"01234567890123456789012345678901234567890123456789012345","timestamp":1510109208016,"message":"log message 1"}]}"#;
const P2: &str = r#"{"messageType":"CONTROL_MESSAGE","owner":"CloudwatchLogs","logGroup":"","logStream":"","subscriptionFilters":[],"logEvents":[{"id":"","timestamp":1628759244741,"message":"CWL CONTROL MESSAGE: Checking health of destination Firehose."}]}"#;
const P4: [&str; 2] = [
    r"<28>{'count': '0', 'host': 'Staff-Device-Syslog-Host', 'ident': '1', 'message': 'Hello Syslogs', 'pri': '134'}",
    r#"<28>{"host": "Staff-Device-Syslog-Host", "ident": "1", "message": "Hello Syslog", "pri": "134"}"#,
];
const P6: [&str; 2] = [r#"{"foo":"bar"}"#, r#"{"hello":"world"}"#];
const HEC: &str = r#"{"event": "CWL CONTROL MESSAGE: Checking health of destination Firehose.", "host": "arn:aws:firehose:eu-west-2:092420156801:deliverystream/test-firehose-stream", "source": "Destination:", "sourcetype": "aws:cloudwatchlogs", "time": "1628759244741"}"#;
const LOG_LEVEL: &str = "15/10/2021 14:10:13.692 Log_Level=INFO Process=test-lr_02_validate_and_parse internalID=20211015141013691760_0CF842 logReference=LR02I01 - Something has happened.";
const AUDIT: [&str; 3] = [
    r#"{"version":"1.0.0","timestamp":"2024-04-30T09:12:06.095Z","checksum":{"algorithm":"sha512","value":"e474e95adfb31ef4..."},"metadata":{"level":1100,"msg":"Hello World Audit Log","event":"MiaCare/HelloWorld/v1","severity":"INFO"},"message":"Hello World Audit Log","rawLog":"{\"level\":1100,\"msg\":\"Hello World Audit Log\", ...}"}"#,
    r#"{"event":"AM/AppointmentCreated","severity":"info","source":"appointment-manager","resource":"AM/Appointment/appointment-12345","user":"dr.john.watson"}"#,
    r#"{"level":1100,"time":..., "msg":"...", "event":"...", "severity":"..."}"#,
];
const CLOUDTRAIL: &str = r#"{"eventTime":"2026-01-27T10:30:00Z","eventSource":"ec2.amazonaws.com","eventName":"RunInstances","awsRegion":"us-east-1","sourceIPAddress":"203.0.113.50","userIdentity":{"type":"IAMUser","userName":"john.doe","arn":"arn:aws:iam::123456789:user/john.doe"},"requestParameters":{"instanceType":"t3.micro","imageId":"ami-12345678"},"responseElements":{"instancesSet":{"instanceId":"i-0abc123def456"}}}"#;

const CONFIG: &str = r#"
server: { listen: "127.0.0.1:0" }
sources:
  cw: { https: { listen: "127.0.0.1:0" }, decode: [ cloudwatch ], owners: [ "123456789012" ], dataset: app.cw }
  beat: { syslog: { listen: [ "udp://127.0.0.1:0" ] }, dataset: syslog }
  custom: { https: { listen: "127.0.0.1:0" }, dataset: app.custom }
  hec: { https: { listen: "127.0.0.1:0" }, dataset: app.hec }
  lr: { https: { listen: "127.0.0.1:0" }, decode: [ lines ], dataset: app.log }
  audit: { https: { listen: "127.0.0.1:0" }, decode: [ lines ], dataset: app.audit }
  trail: { https: { listen: "127.0.0.1:0" }, decode: [ cloudtrail ], dataset: aws.cloudtrail }
  flow: { https: { listen: "127.0.0.1:0" }, decode: [ lines ], dataset: aws.vpcflow }
"#;

struct World<'a> {
    serve: Serve<'a>,
}

impl World<'_> {
    #[track_caller]
    fn post(&self, source: &str, body: &[u8]) -> Value {
        let key = self.serve.key(&format!("{source}-{}", body.len()), source);
        self.serve.post(source, &key, "application/json", body).is(200).json()
    }
    /// The rows of a source, in order, with their exact bytes.
    fn rows(&self, source: &str) -> Vec<(Vec<u8>, Value)> {
        let q = format!(
            "select encode(raw, 'hex') as hex, av_seq, av_dataset, av_sender, av_account, av_origin, natural_key, event_time from events where av_source = '{source}' order by av_seq"
        );
        self.serve.sql(&q).into_iter().map(|r| (unhex(text(&r, "/hex")), r)).collect()
    }
    /// The one event of a source, checked against the bytes that were sent.
    #[track_caller]
    fn only(&self, source: &str, sent: &str) -> Value {
        let rows = self.rows(source);
        assert_eq!(rows.len(), 1, "{source}: {rows:?}");
        assert_eq!(String::from_utf8_lossy(&rows[0].0), sent, "{source}: other bytes are kept");
        rows[0].1.clone()
    }
    #[track_caller]
    fn show(&self, row: &Value) -> Value {
        self.serve
            .run(&["event", "show", &format!("0:{}", number(row, "/av_seq")), "-o", "json"])
            .ok()
            .items()[0]
            .clone()
    }
    #[track_caller]
    fn raw(&self, row: &Value) -> Vec<u8> {
        self.serve.run(&["event", "show", &format!("0:{}", number(row, "/av_seq")), "--raw"]).ok().bytes
    }
}

#[track_caller]
fn with(test: impl FnOnce(&World)) {
    let scratch = Scratch::new("payloads");
    let world = World { serve: Serve::start(&scratch, CONFIG) };
    test(&world);
    assert_eq!(world.serve.terminate(), 0);
}

#[test]
fn p1_and_p2_cloudwatch_envelope_and_control_message() {
    with(|w| {
        let answer = w.post("cw", &gzip(P1.as_bytes()));
        assert_eq!(number(&answer, "/accepted"), 1, "{answer}");
        let row = w.only("cw", "log message 1");
        assert_eq!(text(&row, "/event_time"), "2017-11-08T02:46:48.016Z");
        let origin: Value =
            serde_json::from_str(text(&row, "/av_origin")).unwrap_or_else(|e| panic!("{e}: {row}"));
        for (fact, value) in
            [("owner", "123456789012"), ("log_group", "log_group_name"), ("log_stream", "log_stream_name")]
        {
            assert_eq!(text(&origin, &format!("/{fact}")), value, "{origin}");
        }
        let id = "01234567890123456789012345678901234567890123456789012345";
        assert!(
            origin.to_string().contains(id) || text(&row, "/natural_key") == id,
            "the item's id is not kept: {row}"
        );
        assert!(origin.to_string().contains("subscription_filter_name"), "{origin}");

        // P-2: acknowledged, counted, no event and no error. Sent after other bytes, so that nothing is a duplicate.
        let answer = w.post("cw", &gzip(P2.as_bytes()));
        assert_eq!((number(&answer, "/accepted"), number(&answer, "/unparsed")), (0, 0), "{answer}");
        assert_eq!(w.rows("cw").len(), 1, "a control message became an event");
        assert!(
            w.serve.run(&["redrive", "list", "-o", "json"]).ok().items().is_empty(),
            "a control message became a dead letter"
        );

        // A stranger's envelope is kept apart.
        let stranger = P1.replace("123456789012\"", "999999999999\"");
        w.post("cw", &gzip(stranger.as_bytes()));
        let refused = w.serve.sql("select av_dataset from events where av_source = 'cw' order by av_seq");
        assert_eq!(refused.last().map(|r| text(r, "/av_dataset")), Some("avouch.refused"), "{refused:?}");
        // The same item again, unpacked this time: same origin, no second event.
        let answer = w.post("cw", P1.as_bytes());
        assert_eq!((number(&answer, "/accepted"), number(&answer, "/duplicates")), (0, 1), "{answer}");
    });
}

#[test]
fn p4_heartbeat_datagrams() {
    with(|w| {
        send_udp(&w.serve.address("beat", "udp"), &P4);
        wait_until("both heartbeats are there", PATIENCE, || w.rows("beat").len() == 2);
        for ((raw, row), sent) in w.rows("beat").iter().zip(P4) {
            assert_eq!(String::from_utf8_lossy(raw), sent);
            same_bytes("event show --raw", &w.raw(row), sent.as_bytes());
            assert!(text(row, "/av_sender").starts_with("127.0.0.1"), "{row}");
        }
        let rows = w
            .serve
            .sql("select facility, severity, message from syslog where av_source = 'beat' order by av_seq");
        for (r, sent) in rows.iter().zip(P4) {
            assert_eq!(
                (number(r, "/facility"), number(r, "/severity")),
                (3, 4),
                "PRI 28 is daemon.warning, whatever the body says: {r}"
            );
            assert_eq!(text(r, "/message"), &sent[4..], "the body is kept");
        }
    });
}

/// P-5 is our own access log: exactly these keys, and no key or query in it.
#[test]
fn p5_http_access_log() {
    with(|w| {
        let key = w.serve.key("c1", "custom");
        let path = "/v1/ingest/custom?secret=in-the-query";
        let headers = [("x-api-key", key.as_str()), ("content-type", "application/json")];
        http::request(&w.serve.address("custom", "http"), "POST", path, &headers, b"{}")
            .expect("an answer")
            .is(200);
        wait_until("the request is in the access log", PATIENCE, || w.serve.events("avouch.http") == 1);
        let rows = w.serve.sql("select encode(raw, 'hex') as hex from \"avouch.http\"");
        let line: Value = serde_json::from_slice(&unhex(text(&rows[0], "/hex"))).expect("JSON");
        let keys: BTreeSet<&str> = line.as_object().expect("an object").keys().map(String::as_str).collect();
        let want = [
            "requestId",
            "ip",
            "caller",
            "user",
            "requestTime",
            "httpMethod",
            "resourcePath",
            "status",
            "protocol",
            "responseLength",
        ];
        assert_eq!(keys, BTreeSet::from(want), "{line}");
        assert_eq!(
            (text(&line, "/caller"), text(&line, "/httpMethod"), number(&line, "/status")),
            ("c1", "POST", 200),
            "{line}"
        );
        assert!(
            !line.to_string().contains(&key) && !line.to_string().contains("in-the-query"),
            "a secret in the access log: {line}"
        );
    });
}

#[test]
fn p6_custom_bodies_and_the_hec_record() {
    with(|w| {
        for body in P6 {
            assert_eq!(number(&w.post("custom", body.as_bytes()), "/accepted"), 1);
        }
        let kept: Vec<Vec<u8>> = w.rows("custom").into_iter().map(|(raw, _)| raw).collect();
        assert_eq!(kept, P6.map(|p| p.as_bytes().to_vec()));
        w.post("hec", HEC.as_bytes());
        let row = w.only("hec", HEC);
        same_bytes("event show --raw", &w.raw(&row), HEC.as_bytes());
        let fields = w.show(&row)["fields"].to_string();
        assert!(
            fields.contains("aws:cloudwatchlogs") && fields.contains("Destination:"),
            "not decoded: {fields}"
        );
        assert_eq!(text(&w.show(&row), "/envelope/source"), "hec", "the payload's `source` is data");
    });
}

/// P-7: kinds that pass as well; the lines are ours, the formats are not.
#[test]
fn p7_flow_lines_and_csv_pass() {
    with(|w| {
        let flow = "2 111122223333 eni-0a1b2c3d4e5f60718 10.0.0.7 198.51.100.9 44321 22 6 12 3456 1769509800 1769509860 REJECT OK";
        w.post("flow", flow.as_bytes());
        w.only("flow", flow);
        let rows = w.serve.sql(
            "select src_ip, dst_ip, src_port, dst_port, protocol, outcome, event_time from \"aws.vpcflow\"",
        );
        let r = &rows[0];
        assert_eq!(
            (text(r, "/src_ip"), text(r, "/dst_ip"), text(r, "/outcome")),
            ("10.0.0.7", "198.51.100.9", "denied"),
            "{r}"
        );
        assert_eq!((number(r, "/src_port"), number(r, "/dst_port")), (44_321, 22), "{r}");

        let csv = "20260127 10:30:00,ip-10-0-0-5,app_user,10.0.0.9,77,1234,QUERY,orders,'select \\'a,b\\' from t',0";
        let panos = "1,2026/01/27 10:30:00,007051000012345,TRAFFIC,end,2560,2026/01/27 10:30:00,10.0.0.7,198.51.100.9,0.0.0.0,0.0.0.0,allow-web,,,ssl,vsys1,trust,untrust,ethernet1/1,ethernet1/2,fwd,2026/01/27 10:30:00,33,1,44321,443,0,0,0x19,tcp,allow,5000,2000,3000,20,2026/01/27 10:29:50,8,any,0,0,0x0,10.0.0.0-10.255.255.255,GB,0,10,10,tcp-fin";
        for line in [csv, panos] {
            w.post("lr", line.as_bytes());
        }
        let kept: Vec<String> =
            w.rows("lr").into_iter().map(|(raw, _)| String::from_utf8_lossy(&raw).into_owned()).collect();
        assert_eq!(kept, [csv, panos]);
    });
}

#[test]
fn the_log_level_line() {
    with(|w| {
        w.post("lr", LOG_LEVEL.as_bytes());
        let row = w.only("lr", LOG_LEVEL);
        assert_eq!(text(&row, "/event_time"), "2021-10-15T14:10:13.692Z", "15/10 is the 15th of October");
        let level = w.serve.sql("select level, message from \"app.log\"");
        assert!(text(&level[0], "/level").eq_ignore_ascii_case("info"), "{level:?}");
        let fields = w.show(&row)["fields"].to_string();
        for value in ["test-lr_02_validate_and_parse", "20211015141013691760_0CF842", "LR02I01"] {
            assert!(fields.contains(value), "`{value}` is not decoded: {fields}");
        }
    });
}

#[test]
fn audit_records() {
    with(|w| {
        for line in AUDIT {
            let answer = w.post("audit", line.as_bytes());
            assert_eq!(
                number(&answer, "/accepted") + number(&answer, "/unparsed"),
                1 + number(&answer, "/unparsed"),
                "{answer}"
            );
        }
        let rows = w.rows("audit");
        let kept: Vec<String> =
            rows.iter().map(|(raw, _)| String::from_utf8_lossy(raw).into_owned()).collect();
        assert_eq!(kept, AUDIT);
        let columns = w.serve.sql("select actor, action, operation, checksum, checksum_ok, resources, level, message, error from \"app.audit\" order by av_seq");
        // The checksum of an abbreviated line is never called valid.
        assert!(columns[0]["checksum_ok"].is_null(), "{}", columns[0]);
        let first = w.show(&rows[0].1);
        let said = format!("{}", first["six_lines"]).to_lowercase();
        assert!(
            said.contains("cannot verify")
                || said.contains("cannot_verify")
                || said.contains("cannot be verified"),
            "the checksum is not said to be unverifiable: {said}"
        );
        assert!(said.contains("source"), "the missing metadata.source is not flagged: {said}");
        assert_eq!(text(&columns[1], "/actor"), "dr.john.watson", "{}", columns[1]);
        assert!(
            columns[1].to_string().contains("AM/AppointmentCreated")
                && columns[1].to_string().contains("AM/Appointment/appointment-12345"),
            "{}",
            columns[1]
        );
        // The third is no JSON: kept, and flagged.
        let third = w.show(&rows[2].1);
        assert!(text(&third, "/envelope/flags").contains("parse_error"), "{}", third["envelope"]);
    });
}

#[test]
fn the_cloudtrail_record_in_six_lines() {
    with(|w| {
        let answer = w.post("trail", format!("{{\"Records\":[{CLOUDTRAIL}]}}").as_bytes());
        assert_eq!(number(&answer, "/accepted"), 1, "{answer}");
        let row = w.only("trail", CLOUDTRAIL);
        same_bytes("event show --raw", &w.raw(&row), CLOUDTRAIL.as_bytes());
        let out = w.serve.run(&["event", "show", &format!("0:{}", number(&row, "/av_seq"))]).ok().out();
        let lines: Vec<&str> = out.lines().collect();
        for (i, (label, words)) in [
            ("who", "john.doe"),
            ("what", "RunInstances"),
            ("when", "2026-01-27T10:30:00Z"),
            ("where from", "203.0.113.50"),
            ("details", "t3.micro"),
            ("result", "i-0abc123def456"),
        ]
        .into_iter()
        .enumerate()
        {
            assert!(
                lines[i].starts_with(label) && lines[i].contains(words),
                "line {i} is not `{label} … {words}`: {}",
                lines[i]
            );
        }
        assert!(lines[4].contains("ami-12345678"), "{}", lines[4]);
        assert!(lines[5].contains("success"), "{}", lines[5]);
        assert!(
            out.contains("123456789")
                && lines.iter().any(|l| l.starts_with("note") && l.contains("123456789")),
            "the account of nine digits is not flagged:\n{out}"
        );
        let found = w
            .serve
            .run(&[
                "search",
                "actor = john.doe and action = RunInstances and outcome = success",
                "--since",
                "2026-01-01",
                "-o",
                "json",
            ])
            .ok()
            .items();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(text(&found[0], "/src_ip"), "203.0.113.50", "{}", found[0]);
    });
}
