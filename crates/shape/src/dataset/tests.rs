use super::*;
use crate::{Facts, NOT_IN_RECORD, Plan, intake};
use expect_test::{Expect, expect};
use model::Provenance;
use proptest::prelude::*;

const NOW: &str = "2026-03-14T12:00:00Z";

fn batch(dataset: &str, lines: &[&[u8]]) -> Batch {
    let mut b = Batch::builder();
    let p = b.provenance(Provenance::new("edge").sender("10.1.2.3:514"));
    let d = b.dataset(dataset);
    for line in lines {
        b.push(line, p, d);
    }
    intake(&b.finish(), &Plan::default(), Time::parse_rfc3339(NOW.as_bytes()).unwrap(), &[]).batch
}

/// The columns that have a value, `name=value`, one per line.
fn columns(dataset: &str, raw: &[u8]) -> String {
    let batch = batch(dataset, &[raw]);
    assert_eq!(batch.raw(0), raw);
    let c = derive(dataset, &batch);
    assert_eq!(c.rows, 1);
    let mut out = String::new();
    for (spec, data) in c.specs.iter().zip(&c.data) {
        assert!(!spec.name.starts_with("av_"));
        assert_eq!((data.kind(), data.len()), (spec.kind, 1), "{}", spec.name);
        if let Some(text) = data.text(0) {
            out.push_str(&format!("{}={text}\n", spec.name));
        }
    }
    out
}

#[track_caller]
fn check(dataset: &str, raw: &str, expect: Expect) {
    expect.assert_eq(&columns(dataset, raw.as_bytes()));
}

/// One column of one record.
fn one(dataset: &str, raw: &str, name: &str) -> String {
    let c = derive(dataset, &batch(dataset, &[raw.as_bytes()]));
    c.get(name).and_then(|c| c.text(0)).unwrap_or("-".to_owned())
}

#[track_caller]
fn six(dataset: &str, raw: &str, expect: Expect) {
    let batch = batch(dataset, &[raw.as_bytes()]);
    let lines = six_lines(dataset, raw.as_bytes(), &Facts::of(&batch, 0));
    let mut out: String = lines.lines().iter().map(|(k, v)| format!("{k:11}{v}\n")).collect();
    for note in &lines.notes {
        out.push_str(&format!("! {note}\n"));
    }
    expect.assert_eq(&out);
}

// The payloads of `needs.md` part 2, with their bytes as they stand there.

const CLOUDTRAIL: &str = r#"{"eventTime":"2026-01-27T10:30:00Z","eventSource":"ec2.amazonaws.com","eventName":"RunInstances","awsRegion":"us-east-1","sourceIPAddress":"203.0.113.50","userIdentity":{"type":"IAMUser","userName":"john.doe","arn":"arn:aws:iam::123456789:user/john.doe"},"requestParameters":{"instanceType":"t3.micro","imageId":"ami-12345678"},"responseElements":{"instancesSet":{"instanceId":"i-0abc123def456"}}}"#;

const LOG_LEVEL: &str = "15/10/2021 14:10:13.692 Log_Level=INFO Process=test-lr_02_validate_and_parse internalID=20211015141013691760_0CF842 logReference=LR02I01 - Something has happened.";

const AUDIT: &str = r#"{"version":"1.0.0","timestamp":"2024-04-30T09:12:06.095Z","checksum":{"algorithm":"sha512","value":"e474e95adfb31ef4..."},"metadata":{"level":1100,"msg":"Hello World Audit Log","event":"MiaCare/HelloWorld/v1","severity":"INFO"},"message":"Hello World Audit Log","rawLog":"{\"level\":1100,\"msg\":\"Hello World Audit Log\", ...}"}"#;

#[test]
fn payload_cloudtrail() {
    check(
        "aws.cloudtrail",
        CLOUDTRAIL,
        expect![[r#"
        event_time=2026-01-27T10:30:00Z
        actor=john.doe
        action=RunInstances
        service=ec2.amazonaws.com
        resources=ami-12345678,i-0abc123def456
        src_ip=203.0.113.50
        outcome=success
        actor_type=IAMUser
        actor_arn=arn:aws:iam::123456789:user/john.doe
        actor_account=123456789
    "#]],
    );
    six(
        "aws.cloudtrail",
        CLOUDTRAIL,
        expect![[r#"
        who        john.doe (IAM user, account 123456789)
        what       RunInstances (ec2.amazonaws.com)
        when       2026-01-27T10:30:00Z
        where from 203.0.113.50, region us-east-1
        details    instanceType=t3.micro, imageId=ami-12345678
        result     success: instanceId=i-0abc123def456
        ! account id `123456789` has 9 digits, AWS account ids have 12
    "#]],
    );
}

#[test]
fn payload_heartbeats() {
    check(
        "syslog",
        "<28>{'count': '0', 'host': 'Staff-Device-Syslog-Host', 'ident': '1', 'message': 'Hello Syslogs', 'pri': '134'}",
        expect![[r#"
            event_time=2026-03-14T12:00:00Z
            message={'count': '0', 'host': 'Staff-Device-Syslog-Host', 'ident': '1', 'message': 'Hello Syslogs', 'pri': '134'}
            facility=3
            severity=4
            level=warn
        "#]],
    );
    check(
        "syslog",
        r#"<28>{"host": "Staff-Device-Syslog-Host", "ident": "1", "message": "Hello Syslog", "pri": "134"}"#,
        expect![[r#"
            event_time=2026-03-14T12:00:00Z
            message={"host": "Staff-Device-Syslog-Host", "ident": "1", "message": "Hello Syslog", "pri": "134"}
            facility=3
            severity=4
            level=warn
        "#]],
    );
}

#[test]
fn payload_http_access_log() {
    check(
        "app.json",
        r#"{"requestId":"c6af9ac6-7b61-11e6-9a41-93e8deadbeef","ip":"203.0.113.9","caller":"-","user":"-","requestTime":"09/Apr/2015:12:34:56 +0000","httpMethod":"POST","resourcePath":"/logs","status":"403","protocol":"HTTP/1.1","responseLength":"23"}"#,
        expect![[r#"
            event_time=2015-04-09T12:34:56Z
            action=POST /logs
            resources=/logs
            src_ip=203.0.113.9
            outcome=denied
            msgid=c6af9ac6-7b61-11e6-9a41-93e8deadbeef
        "#]],
    );
}

#[test]
fn payload_custom_bodies() {
    check(
        "app.json",
        r#"{"foo":"bar"}"#,
        expect![[r#"
        event_time=2026-03-14T12:00:00Z
    "#]],
    );
    check(
        "app.json",
        r#"{"hello":"world"}"#,
        expect![[r#"
        event_time=2026-03-14T12:00:00Z
    "#]],
    );
    assert_eq!(parsed("app.json", br#"{"foo":"bar"}"#), serde_json::json!({"json": {"foo": "bar"}}));
}

#[test]
fn payload_also_passing() {
    check(
        "aws.vpcflow",
        "2 123456789010 eni-1235b8ca123456789 172.31.9.69 172.31.9.12 49761 3389 6 20 4249 1418530010 1418530070 REJECT OK",
        expect![[r#"
            event_time=2014-12-14T04:06:50Z
            action=REJECT
            service=vpc
            resources=eni-1235b8ca123456789
            src_ip=172.31.9.69
            outcome=denied
            dst_ip=172.31.9.12
            src_port=49761
            dst_port=3389
            protocol=tcp
            bytes=4249
            packets=20
        "#]],
    );
    // MariaDB audit CSV has no decoder yet: it passes whole.
    let mariadb = "20260314 11:59:00,db1,app,10.0.0.5,17,43,QUERY,shop,'SELECT \\'a,b\\' FROM t',0";
    check(
        "other",
        mariadb,
        expect![[r#"
        event_time=2026-03-14T12:00:00Z
        message=20260314 11:59:00,db1,app,10.0.0.5,17,43,QUERY,shop,'SELECT \'a,b\' FROM t',0
    "#]],
    );
    assert!(!columns("app.log", mariadb.as_bytes()).contains("error="));
}

#[test]
fn payload_log_level_line() {
    check(
        "app.log",
        LOG_LEVEL,
        expect![[r#"
        event_time=2021-10-15T14:10:13.692Z
        service=test-lr_02_validate_and_parse
        message=Something has happened.
        severity=6
        app=test-lr_02_validate_and_parse
        procid=20211015141013691760_0CF842
        msgid=LR02I01
        level=info
    "#]],
    );
    six(
        "app.log",
        LOG_LEVEL,
        expect![[r#"
        who        not in this record
        what       a message of test-lr_02_validate_and_parse
        when       2021-10-15T14:10:13.692Z (the record names no time zone)
        where from not in this record
        details    Something has happened.
        result     not in this record
    "#]],
    );
    let silent = LOG_LEVEL.replace("20211015141013691760_0CF842", "NotProvided");
    assert_eq!(one("app.log", &silent, "procid"), "-", "a placeholder is no value");
}

#[test]
fn payload_audit_record() {
    check(
        "app.audit",
        AUDIT,
        expect![[r#"
        event_time=2024-04-30T09:12:06.095Z
        action=MiaCare/HelloWorld/v1
        error=`metadata.source` is missing, although the format requires it
        message=Hello World Audit Log
        severity=6
        level=audit
        checksum=cannot_verify
    "#]],
    );
    six(
        "app.audit",
        AUDIT,
        expect![[r#"
            who        not in this record
            what       MiaCare/HelloWorld/v1
            when       2024-04-30T09:12:06.095Z
            where from not in this record
            details    Hello World Audit Log
            result     not in this record
            ! `metadata.source` is missing, although the format requires it
            ! cannot verify the checksum: its value has 19 characters, SHA-512 has 128
        "#]],
    );
    check(
        "app.audit",
        r#"{"event":"AM/AppointmentCreated","severity":"info","source":"appointment-manager","resource":"AM/Appointment/appointment-12345","user":"dr.john.watson"}"#,
        expect![[r#"
            event_time=2026-03-14T12:00:00Z
            actor=dr.john.watson
            action=AM/AppointmentCreated
            service=appointment-manager
            resources=AM/Appointment/appointment-12345
            severity=6
            level=info
        "#]],
    );
    // The raw line in: a pino line.
    check(
        "app.audit",
        r#"{"level":1100,"time":1714468326095,"msg":"Hello World Audit Log","event":"MiaCare/HelloWorld/v1","severity":"INFO"}"#,
        expect![[r#"
            event_time=2024-04-30T09:12:06.095Z
            action=MiaCare/HelloWorld/v1
            message=Hello World Audit Log
            severity=6
            level=audit
        "#]],
    );
}

/// `needs.md` part 5, no. 24.
#[test]
fn the_checksum_says_which_definition_fits() {
    let line = r#"{"level":1100, "time":1714468326095, "msg":"Opened"}"#;
    let object = r#"{"level":1100,"time":1714468326095,"msg":"Opened"}"#;
    let record = |sum: &str, algorithm: &str| {
        serde_json::json!({
            "checksum": {"algorithm": algorithm, "value": sum}, "metadata": {"source": "s", "event": "E"}, "rawLog": line,
        })
        .to_string()
    };
    let see = |record: &str| {
        format!("{} {}", one("app.audit", record, "checksum"), one("app.audit", record, "checksum_ok"))
    };
    assert_eq!(checksum(b"").len(), 128);
    assert!(checksum(b"abc").starts_with("ddaf35a193617aba"), "FIPS 180-2, appendix C.1");
    assert_eq!(see(&record(&checksum(line.as_bytes()), "sha512")), "raw true");
    assert_eq!(see(&record(&checksum(object.as_bytes()), "sha512")), "object true");
    assert_eq!(see(&record(&checksum(b"changed"), "sha512")), "mismatch false");
    assert_eq!(see(&record(checksum(line.as_bytes()).split_at(64).0, "sha512")), "cannot_verify -");
    assert_eq!(see(&record(&checksum(line.as_bytes()), "md5")), "cannot_verify -");
    let fits = notes("app.audit", record(&checksum(line.as_bytes()), "sha512").as_bytes());
    assert_eq!(fits, ["the checksum fits, which proves nothing against a writer: it has no key"]);
    // The time it happened stands in the line, the record's own is when it was recorded.
    assert_eq!(one("app.audit", &record("", "sha512"), "event_time"), "2024-04-30T09:12:06.095Z");
}

fn trail(more: &str) -> String {
    format!(r#"{{"eventVersion":"1.09","eventTime":"2026-03-14T11:58:00Z",{more}}}"#)
}

#[test]
fn cloudtrail_outcomes() {
    let see = |more: &str| one("aws.cloudtrail", &trail(more), "outcome");
    for (more, expect) in [
        (r#""eventName":"ListBuckets""#, "success"),
        (r#""eventName":"X","errorCode":"AccessDenied""#, "denied"),
        (r#""eventName":"X","errorCode":"AccessDeniedException""#, "denied"),
        (r#""eventName":"X","errorCode":"Client.UnauthorizedOperation""#, "denied"),
        (r#""eventName":"X","errorCode":"InvalidClientTokenId""#, "denied"),
        (r#""eventName":"X","errorCode":"NoSuchBucket""#, "failure"),
        (r#""eventName":"X","errorCode":"Client.InvalidParameterValue""#, "failure"),
        (r#""eventName":"X","errorCode":"Client.DryRunOperation""#, "success"),
        (r#""eventName":"X","errorCode":null"#, "success"),
        (
            r#""eventName":"ConsoleLogin","responseElements":{"ConsoleLogin":"Failure"},"errorMessage":"Failed authentication""#,
            "failure",
        ),
        (r#""eventName":"ConsoleLogin","responseElements":{"ConsoleLogin":"Success"}"#, "success"),
        (r#""eventName":"CheckMfa","responseElements":{"CheckMfa":"Failure"}"#, "failure"),
        (r#""eventName":"RunInstances","eventCategory":"Insight""#, "unknown"),
    ] {
        assert_eq!(see(more), expect, "{more}");
    }
    assert_eq!(one("aws.cloudtrail", "{}", "outcome"), "-");
}

#[test]
fn cloudtrail_shows_the_person_behind_the_role() {
    let see = |identity: &str| {
        let t = trail(&format!(r#""eventName":"X","userIdentity":{identity}"#));
        one("aws.cloudtrail", &t, "actor")
    };
    for (identity, expect) in [
        (
            r#"{"type":"AssumedRole","arn":"arn:aws:sts::111122223333:assumed-role/Admin/alice"}"#,
            "Admin/alice",
        ),
        (
            r#"{"type":"AssumedRole","principalId":"AROA1:bob","sessionContext":{"sessionIssuer":{"userName":"Ops"}}}"#,
            "Ops/bob",
        ),
        (r#"{"type":"Root","arn":"arn:aws:iam::111122223333:root"}"#, "root"),
        (r#"{"type":"IAMUser","userName":"carol"}"#, "carol"),
        (r#"{"type":"AWSService","invokedBy":"cloudtrail.amazonaws.com"}"#, "cloudtrail.amazonaws.com"),
        (r#"{"type":"FederatedUser","arn":"arn:aws:sts::111122223333:federated-user/dave"}"#, "dave"),
        (r#"{"type":"IdentityCenterUser","onBehalfOf":{"userId":"u-1"}}"#, "u-1"),
        (r#"{"type":"AWSAccount","accountId":"444455556666","principalId":"AIDA1"}"#, "AIDA1"),
        (
            r#"{"type":"IAMUser","userName":"HIDDEN_DUE_TO_SECURITY_REASONS"}"#,
            "HIDDEN_DUE_TO_SECURITY_REASONS",
        ),
        ("null", "-"),
        ("\"text\"", "-"),
    ] {
        assert_eq!(see(identity), expect, "{identity}");
    }
}

#[test]
fn cloudtrail_traps() {
    let see = |more: &str, name: &str| one("aws.cloudtrail", &trail(more), name);
    let padded = r#""eventName":"X","sourceIPAddress":"075.050.255.67""#;
    assert_eq!(see(padded, "src_ip"), "75.50.255.67");
    assert_eq!(see(r#""eventName":"X","sourceIPAddress":"AWS Internal""#, "src_ip"), "-");
    assert_eq!(see(r#""eventName":"X","readOnly":"true""#, "read_only"), "true");
    let mfa =
        r#""eventName":"X","userIdentity":{"sessionContext":{"attributes":{"mfaAuthenticated":"false"}}}"#;
    assert_eq!(see(mfa, "mfa"), "false");
    assert_eq!(see(r#""eventName":"ConsoleLogin","additionalEventData":{"MFAUsed":"Yes"}"#, "mfa"), "true");
    // Requests as JSON strings, names in arrays, ARNs that the record lists.
    let text = r#""eventName":"X","requestParameters":"{\"bucketName\":\"b\",\"key\":\"k\"}""#;
    assert_eq!(see(text, "resources"), "b,b/k");
    let s3 = r#""eventName":"GetObject","requestParameters":{"bucketName":"b","key":"a/k"},"resources":[{"type":"AWS::S3::Object","ARN":"arn:aws:s3:::b/a/k"}]"#;
    assert_eq!(see(s3, "resources"), "arn:aws:s3:::b/a/k,b,b/a/k");
    let many: Vec<String> = (0..100).map(|i| format!("\"i-{i}\"")).collect();
    let many = format!(r#""eventName":"X","requestParameters":{{"instanceIds":[{}]}}"#, many.join(","));
    assert_eq!(see(&many, "resources").split(',').count(), 32);
    let cut =
        r#""eventName":"X","requestParameters":{"omitted":true},"responseElements":null,"errorCode":"""#;
    assert_eq!(see(cut, "outcome"), "success");
}

#[test]
fn six_lines_of_cloudtrail() {
    six(
        "aws.cloudtrail",
        &trail(
            r#""eventName":"ConsoleLogin","eventSource":"signin.amazonaws.com","awsRegion":"us-east-1","sourceIPAddress":"203.0.113.9","errorMessage":"Failed authentication","userIdentity":{"type":"IAMUser","userName":"alice","accountId":"111122223333"},"requestParameters":null,"responseElements":{"ConsoleLogin":"Failure"}"#,
        ),
        expect![[r#"
            who        alice (IAM user, account 111122223333)
            what       ConsoleLogin (signin.amazonaws.com)
            when       2026-03-14T11:58:00Z
            where from 203.0.113.9, region us-east-1
            details    not in this record
            result     failure: Failed authentication
        "#]],
    );
    six(
        "aws.cloudtrail",
        &trail(
            r#""eventName":"StopLogging","eventSource":"cloudtrail.amazonaws.com","awsRegion":"eu-west-2","sourceIPAddress":"cloudformation.amazonaws.com","errorCode":"AccessDenied","errorMessage":"User is not authorized","userIdentity":{"type":"AssumedRole","arn":"arn:aws:sts::111122223333:assumed-role/Admin/alice","accountId":"111122223333","sessionContext":{"sourceIdentity":"alice@example.org"}},"requestParameters":{"name":"main"}"#,
        ),
        expect![[r#"
            who        Admin/alice (role/session, account 111122223333, signed in as alice@example.org)
            what       StopLogging (cloudtrail.amazonaws.com)
            when       2026-03-14T11:58:00Z
            where from cloudformation.amazonaws.com (a service, not an address), region eu-west-2
            details    name=main
            result     denied: AccessDenied: User is not authorized
        "#]],
    );
    six(
        "aws.cloudtrail",
        &trail(
            r#""eventName":"AssumeRole","eventSource":"sts.amazonaws.com","sourceIPAddress":"10.0.0.5","userIdentity":{"type":"IAMUser","userName":"bob","accountId":"111122223333"},"requestParameters":{"roleArn":"arn:aws:iam::444455556666:role/Deploy","roleSessionName":"bob-1","durationSeconds":3600},"responseElements":{"credentials":{"accessKeyId":"ASIAEXAMPLE","expiration":"Mar 14, 2026"},"assumedRoleUser":{"assumedRoleId":"AROA:bob-1","arn":"arn:aws:sts::444455556666:assumed-role/Deploy/bob-1"}}"#,
        ),
        expect![[r#"
            who        bob (IAM user, account 111122223333)
            what       AssumeRole (sts.amazonaws.com)
            when       2026-03-14T11:58:00Z
            where from 10.0.0.5
            details    roleArn=arn:aws:iam::444455556666:role/Deploy, roleSessionName=bob-1, durationSeconds=3600
            result     success: accessKeyId=ASIAEXAMPLE, arn=arn:aws:sts::444455556666:assumed-role/Deploy/bob-1
        "#]],
    );
    six(
        "aws.cloudtrail",
        &trail(
            r#""eventName":"GetObject","eventSource":"s3.amazonaws.com","sourceIPAddress":"198.51.100.7","userIdentity":{"type":"AWSAccount","accountId":"444455556666"},"requestParameters":{"bucketName":"records","key":"2026/a.csv","Host":"records.s3.amazonaws.com"},"responseElements":null"#,
        ),
        expect![[r#"
            who        444455556666 (another AWS account)
            what       GetObject (s3.amazonaws.com)
            when       2026-03-14T11:58:00Z
            where from 198.51.100.7
            details    bucketName=records, key=2026/a.csv, Host=records.s3.amazonaws.com
            result     success
        "#]],
    );
    six(
        "aws.cloudtrail",
        "not json",
        expect![[r#"
            who        not in this record
            what       not in this record
            when       not in this record; received 2026-03-14T12:00:00Z
            where from not in this record
            details    not in this record
            result     not in this record
            ! no JSON at byte 0: expected a value
        "#]],
    );
}

#[test]
fn six_lines_of_syslog() {
    let failed = "<38>Mar 14 11:59:58 web1 sshd[7]: Failed password for invalid user admin from 203.0.113.9 port 4242 ssh2";
    six(
        "syslog",
        failed,
        expect![[r#"
        who        admin
        what       ssh.login (sshd)
        when       2026-03-14T11:59:58Z (the record names no time zone)
        where from 203.0.113.9, to host web1
        details    Failed password for invalid user admin from 203.0.113.9 port 4242 ssh2
        result     failure
    "#]],
    );
    six(
        "syslog",
        "<13>Feb  5 17:32:18 10.0.0.99 Use the BFG!",
        expect![[r#"
        who        not in this record
        what       a message
        when       2026-02-05T17:32:18Z (the record names no time zone)
        where from host 10.0.0.99
        details    Use the BFG!
        result     not in this record
    "#]],
    );
    six(
        "syslog",
        "<999>junk",
        expect![[r#"
            who        not in this record
            what       a message
            when       not in this record; received 2026-03-14T12:00:00Z
            where from not in this record
            details    <999>junk
            result     not in this record
            ! PRI is above 191
        "#]],
    );
    six(
        "syslog",
        "",
        expect![[r#"
            who        not in this record
            what       not in this record
            when       not in this record; received 2026-03-14T12:00:00Z
            where from not in this record
            details    not in this record
            result     not in this record
            ! no PRI
        "#]],
    );
}

#[test]
fn columns_of_syslog() {
    check(
        "syslog",
        "<86>1 2026-03-14T11:59:58.5Z web1 sudo 71 ID1 [x@1 k=\"v\"]    alice : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh",
        expect![[r#"
            event_time=2026-03-14T11:59:58.500Z
            actor=alice
            action=sudo.run
            service=sudo
            resources=/bin/sh
            outcome=success
            message=   alice : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh
            facility=10
            severity=6
            host=web1
            app=sudo
            procid=71
            msgid=ID1
            level=info
        "#]],
    );
    check(
        "syslog",
        "<13",
        expect![[r#"
        event_time=2026-03-14T12:00:00Z
        error=PRI is not a number in angle brackets
        message=<13
        facility=1
        severity=5
        level=notice
    "#]],
    );
    expect![[r#"
        {
          "syslog": {
            "app": "a",
            "facility": 1,
            "host": "h",
            "message": "caf�\u001b[31m",
            "msgid": "m",
            "procid": "1",
            "severity": 5,
            "structured": {
              "x@1": {
                "k": "v"
              }
            }
          }
        }"#]]
    .assert_eq(
        &serde_json::to_string_pretty(&parsed("syslog", b"<13>1 - h a 1 m [x@1 k=\"v\"] caf\xe9\x1b[31m"))
            .unwrap(),
    );
}

const PANOS: &str = "<14>Mar 14 11:59:59 pa1 1,2026/03/14 11:59:58,00180000A001,TRAFFIC,end,2305,2026/03/14 11:59:58,10.0.0.5,203.0.113.9,192.0.2.1,203.0.113.9,allow-web,corp\\alice,,web-browsing,vsys1,trust,untrust,ae1,ae2,fwd,,1234,1,51234,443,51234,443,0x1c,tcp,allow,840,500,340,12,2026/03/14 11:59:50,8,\"a,b\",,77,,10.0.0.0-10.255.255.255,US,,6,6,tcp-fin,,,,,,,,,2026-03-14T12:59:58.123+01:00";

#[test]
fn firewalls() {
    check(
        "net.panos",
        PANOS,
        expect![[r#"
        event_time=2026-03-14T11:59:58.123Z
        actor=corp\alice
        action=traffic.end
        service=panos
        resources=rule allow-web
        src_ip=10.0.0.5
        outcome=success
        dst_ip=203.0.113.9
        src_port=51234
        dst_port=443
        protocol=tcp
        bytes=840
        packets=12
    "#]],
    );
    six(
        "net.panos",
        PANOS,
        expect![[r#"
        who        corp\alice
        what       traffic.end (panos)
        when       2026-03-14T11:59:58.123Z
        where from 10.0.0.5:51234
        details    tcp 10.0.0.5:51234 to 203.0.113.9:443, 840 bytes, 12 packets, rule allow-web
        result     success
    "#]],
    );
    let row = parsed("net.panos", PANOS.as_bytes());
    assert_eq!((&row["panos"]["category"], &row["panos"]["seqno"]), (&"a,b".into(), &"77".into()));
    assert!(row["panos"].get("col_42").is_some(), "columns beyond the list are kept");
    let short =
        "<14>Mar 14 11:59:59 pa1 1,2026/03/14 11:59:58,0018,THREAT,url,1,2026/03/14 11:59:58,10.0.0.5";
    check(
        "net.panos",
        short,
        expect![[r#"
        event_time=2026-03-14T11:59:58Z
        action=threat.url
        service=panos
        src_ip=10.0.0.5
        outcome=unknown
    "#]],
    );
    let fortigate = r#"<189>date=2026-03-14 time=12:59:58 devname="f 1" devid="FG1" tz="+0100" type="traffic" subtype="forward" srcip=10.0.0.5 srcport=51234 dstip=203.0.113.9 dstport=22 proto=6 action="deny" policyid=7 sentbyte=0 rcvdbyte=0 user="alice" msg="no \"match\"""#;
    check(
        "net.fortigate",
        fortigate,
        expect![[r#"
        event_time=2026-03-14T11:59:58Z
        actor=alice
        action=deny
        service=f 1
        resources=rule 7
        src_ip=10.0.0.5
        outcome=denied
        message=no "match"
        dst_ip=203.0.113.9
        src_port=51234
        dst_port=22
        protocol=tcp
        bytes=0
    "#]],
    );
    six(
        "net.fortigate",
        fortigate,
        expect![[r#"
        who        alice
        what       deny (f 1)
        when       2026-03-14T11:59:58Z
        where from 10.0.0.5:51234
        details    tcp 10.0.0.5:51234 to 203.0.113.9:22, 0 bytes, rule 7, no "match"
        result     denied
    "#]],
    );
    check(
        "net.fortigate",
        "<189>neither",
        expect![[r#"
        event_time=2026-03-14T12:00:00Z
        error=neither PAN-OS CSV nor key=value
        message=neither
    "#]],
    );
}

#[test]
fn flows() {
    six(
        "aws.vpcflow",
        "2 123456789010 eni-1235b8ca 172.31.16.139 172.31.16.21 20641 22 6 20 4249 1418530010 1418530070 ACCEPT OK",
        expect![[r#"
            who        not in this record
            what       ACCEPT (vpc)
            when       2014-12-14T04:06:50Z
            where from 172.31.16.139:20641
            details    tcp 172.31.16.139:20641 to 172.31.16.21:22, 4249 bytes, 20 packets, eni-1235b8ca, interface of account 123456789010
            result     success
        "#]],
    );
    let skipped = "2 123456789010 eni-1 - - - - - - - 1431280876 1431280934 - SKIPDATA";
    check(
        "aws.vpcflow",
        skipped,
        expect![[r#"
        event_time=2015-05-10T18:01:16Z
        service=vpc
        resources=eni-1
        outcome=unknown
        error=records of this interval were skipped by AWS and are lost
    "#]],
    );
    for (line, problem) in [
        (
            "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status",
            "a header row, not a record",
        ),
        ("2 1 eni-1", "fewer fields than version 2 has; declare the format"),
        ("a b c d e f g h i j k l m n", "the fields are not those of version 2; declare the format"),
        ("1 2 3 4 5 6 7 8 9 10 11 12 13 OK 15", "more fields than version 2 has; declare the format"),
    ] {
        assert_eq!(one("aws.vpcflow", line, "error"), problem, "{line}");
    }
}

#[test]
fn own_events() {
    let event = r#"{"time":"2026-03-14T11:59:59Z","actor":"alice","action":"suppression.add","outcome":"success","finding":"abc","reason":"known scanner","resources":["net.panos"],"src_ip":"127.0.0.1:4242"}"#;
    check(
        "avouch.audit",
        event,
        expect![[r#"
        event_time=2026-03-14T11:59:59Z
        actor=alice
        action=suppression.add
        service=avouch
        resources=net.panos
        src_ip=127.0.0.1
        outcome=success
        reason=known scanner
        object_id=abc
    "#]],
    );
    six(
        "avouch.audit",
        event,
        expect![[r#"
        who        alice
        what       suppression.add
        when       2026-03-14T11:59:59Z
        where from 127.0.0.1
        details    abc, net.panos, because: known scanner
        result     success
    "#]],
    );
    assert_eq!(one("avouch.http", r#"{"method":"POST","status":403}"#, "outcome"), "denied");
    assert_eq!(one("avouch.vault", "broken", "error"), "no JSON at byte 0: expected a value");
}

#[test]
fn application_lines() {
    let see = |line: &str, name: &str| one("app.log", line, name);
    let logfmt = r#"time=2026-03-14T11:59:59Z level=warn msg="slow login" user=alice ip=10.0.0.5 status=401"#;
    check(
        "app.log",
        logfmt,
        expect![[r#"
        event_time=2026-03-14T11:59:59Z
        actor=alice
        src_ip=10.0.0.5
        outcome=denied
        message=slow login
        severity=4
        level=warn
    "#]],
    );
    let pino = r#"{"level":50,"time":1773489599000,"pid":7,"hostname":"h1","name":"api","req":{"method":"GET"},"user":{"id":"u1"},"msg":"x","err":{"message":"boom"}}"#;
    check(
        "app.json",
        pino,
        expect![[r#"
        event_time=2026-03-14T11:59:59Z
        actor=u1
        action=GET
        service=api
        error=boom
        message=x
        severity=3
        host=h1
        app=api
        procid=7
        level=error
    "#]],
    );
    let ecs = r#"{"@timestamp":"2026-03-14T11:59:59Z","log.level":"ERROR","event":{"action":"login","outcome":"failure"},"user":{"name":"bob"},"source":{"ip":"::ffff:10.0.0.9"}}"#;
    check(
        "app.json",
        ecs,
        expect![[r#"
        event_time=2026-03-14T11:59:59Z
        actor=bob
        action=login
        src_ip=10.0.0.9
        outcome=failure
        severity=3
        level=error
    "#]],
    );
    let behind =
        r#"<14>1 2026-03-14T11:59:59Z h1 api 7 - - {"user":"carol","level":"loud","action":"export"}"#;
    check(
        "app.json",
        behind,
        expect![[r#"
        event_time=2026-03-14T11:59:59Z
        actor=carol
        action=export
        service=api
        facility=1
        severity=6
        host=h1
        app=api
        procid=7
        level=loud
    "#]],
    );
    assert_eq!(see("START RequestId: 8f507cfc-0000-4697-b07a-ac58fc914c95 Version: $LATEST", "level"), "aws");
    assert_eq!(see("15/10/2021 14:10:13.692 Log_Level=WARN x - MESHSEND0003", "level"), "warn");
    assert_eq!(see("service RESTARTED", "level"), "-");
    assert_eq!(see("service RESTARTED", "message"), "service RESTARTED");
}

#[test]
fn the_list_is_sorted_and_complete() {
    let names: Vec<&str> = datasets().iter().map(|d| d.name).collect();
    assert!(names.is_sorted(), "`family` searches by halves");
    for d in datasets() {
        let s = specs(d.name);
        let mut unique: Vec<&str> = s.iter().map(|c| c.name).collect();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), s.len(), "{}: a column stands twice", d.name);
        assert!(s.len() - COMMON.len() <= MORE_MAX);
        assert!(parser(d.name).contains('@') && !d.about.is_empty());
    }
    assert_eq!(parser("aws.cloudtrail"), "aws.cloudtrail@1");
    assert_eq!(parser("app.billing"), parser("app.log"));
    assert_eq!(parser("net.own"), parser("net.panos"));
    assert_eq!(parser("nobody.knows"), "other@1");
    // `vault.md` 4.
    let cloudtrail: Vec<&str> = specs("aws.cloudtrail").iter().map(|c| c.name).collect();
    assert_eq!(
        cloudtrail.join(" "),
        "event_time actor action service resources src_ip credential outcome error message natural_key event_id event_type \
         event_category read_only actor_type actor_arn principal_id actor_account session_issuer mfa user_agent request_id \
         recipient_account vpc_endpoint_id tls_version"
    );
}

#[test]
fn columns_do_not_depend_on_the_batch() {
    let lines = ["<13>a", CLOUDTRAIL, "", LOG_LEVEL, AUDIT, PANOS, "x=1 y=2"];
    for d in datasets() {
        let all: Vec<&[u8]> = lines.iter().map(|l| l.as_bytes()).collect();
        let together = derive(d.name, &batch(d.name, &all));
        for (i, line) in all.iter().enumerate() {
            let alone = derive(d.name, &batch(d.name, &[line]));
            for (a, b) in together.data.iter().zip(&alone.data) {
                assert_eq!(a.text(i), b.text(0), "{}", d.name);
            }
        }
    }
}

/// What a caller does not ask for is not there, and what he asks for does not depend on what else he asks for.
#[test]
fn some_columns_are_those_of_all() {
    let failed = "<38>Oct 13 01:12:15 web sshd[7]: Failed password for root from 192.0.2.7 port 22 ssh2";
    let lines = ["<13>a", CLOUDTRAIL, "", LOG_LEVEL, AUDIT, PANOS, "x=1 y=2", failed];
    for d in datasets() {
        let all: Vec<&[u8]> = lines.iter().map(|l| l.as_bytes()).collect();
        let batch = batch(d.name, &all);
        let whole = derive(d.name, &batch);
        let names: Vec<&str> = whole.specs.iter().map(|s| s.name).collect();
        let alone = names.iter().map(|n| vec![*n]);
        let every_third = (0..3).map(|k| names.iter().skip(k).step_by(3).copied().collect());
        for asked in alone.chain(every_third).chain([Vec::new()]) {
            let some = derive_some(d.name, &batch, |n| asked.contains(&n));
            assert_eq!(some.specs.iter().map(|s| s.name).collect::<Vec<_>>(), asked, "{}", d.name);
            assert_eq!(some.rows, lines.len());
            for name in asked {
                assert_eq!(some.get(name), whole.get(name), "{} {name}", d.name);
            }
        }
    }
}

/// Real records of twelve attacks: each has its lines, and each outcome is one of the four words.
#[test]
fn recorded_attacks() {
    let root = std::env::var("AVOUCH_SHARED").unwrap_or_else(|_| "../../../shared/data".to_owned());
    let Ok(folder) = std::fs::read_dir(std::path::Path::new(&root).join("cloudtrail-attacks")) else {
        println!("skipped: recorded_attacks: ../shared/data missing");
        return;
    };
    let mut n = 0;
    for file in folder.filter_map(Result::ok).filter(|f| f.path().extension().is_some_and(|e| e == "json")) {
        let bytes = std::fs::read(file.path()).unwrap();
        let records = crate::json::Value::new(&bytes).unwrap();
        for record in records.elements() {
            let raw = std::str::from_utf8(record.raw()).unwrap();
            let tree: serde_json::Value = serde_json::from_str(raw).unwrap();
            assert_eq!(parsed("aws.cloudtrail", raw.as_bytes())["cloudtrail"], tree);
            let see = |name: &str| one("aws.cloudtrail", raw, name);
            assert_eq!(see("action"), tree["eventName"].as_str().unwrap());
            assert_eq!(see("event_time"), tree["eventTime"].as_str().unwrap());
            assert_eq!(see("natural_key"), tree["eventID"].as_str().unwrap());
            assert_eq!(see("actor"), "christophe");
            assert_ne!(see("src_ip"), "-");
            assert_eq!(see("error"), tree["errorCode"].as_str().unwrap_or("-"));
            let batch = batch("aws.cloudtrail", &[raw.as_bytes()]);
            assert!(!batch.rows[0].flags.has(Flags::PARSE_ERROR));
            let lines = six_lines("aws.cloudtrail", raw.as_bytes(), &Facts::of(&batch, 0));
            assert!(lines.who.starts_with("christophe (IAM user, account "), "{}", lines.who);
            assert_eq!(lines.notes, Vec::<String>::new());
            n += 1;
        }
    }
    assert!(n > 30, "{n}");
}

fn never_panics(raw: &[u8]) {
    for d in datasets().iter().map(|d| d.name).chain(["app.own", "net.own", "dns.own"]) {
        let batch = batch(d, &[raw, raw]);
        let columns = derive(d, &batch);
        assert_eq!(columns.rows, 2);
        assert!(columns.data.iter().all(|c| c.len() == 2));
        let lines = six_lines(d, raw, &Facts::of(&batch, 0));
        assert!(lines.lines().iter().all(|(_, text)| !text.is_empty()));
        let tree = parsed(d, raw);
        assert!(tree.is_object());
        let _ = notes(d, raw);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        never_panics(&bytes);
    }
    /// The samples with some bytes changed, cut or put in: near misses find more than noise.
    #[test]
    fn damaged_samples_never_panic(
        which in 0usize..7,
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3), 1..6),
    ) {
        let flow = "2 123456789010 eni-1235b8ca 172.31.16.139 172.31.16.21 20641 22 6 20 4249 1418530010 1418530070 ACCEPT OK";
        let ssh = "<38>Mar 14 11:59:58 web1 sshd[7]: Failed password for invalid user admin from 203.0.113.9 port 4242 ssh2";
        let five = "<86>1 2026-03-14T11:59:58.5Z web1 sudo 71 ID1 [x@1 k=\"v\"] alice : TTY=pts/0 ; COMMAND=/bin/sh";
        let mut bytes = [CLOUDTRAIL, LOG_LEVEL, AUDIT, PANOS, flow, ssh, five][which].as_bytes().to_vec();
        for (at, byte, how) in edits {
            let i = at.index(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
            match how {
                0 if !bytes.is_empty() => bytes[i] = byte,
                1 => bytes.truncate(i),
                _ => bytes.insert(i, byte),
            }
        }
        never_panics(&bytes);
    }
}

#[test]
fn a_silent_record_says_so() {
    for d in ["aws.cloudtrail", "app.json", "avouch.audit"] {
        let batch = batch(d, &[b"{}"]);
        let lines = six_lines(d, b"{}", &Facts::of(&batch, 0));
        let others = [&lines.who, &lines.where_from, &lines.details];
        assert!(others.iter().all(|l| *l == NOT_IN_RECORD), "{d}: {lines:?}");
        assert_eq!(lines.when, format!("{NOT_IN_RECORD}; received {NOW}"));
    }
}
