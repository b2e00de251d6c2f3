//! `scan --logs`: findings from log files, without a daemon.

use avouch_e2e::{Scratch, avouch, shared, skipped, text};
use std::collections::BTreeSet;

#[test]
fn each_attack_log_gives_a_fitting_finding() {
    let Some(folder) = shared("cloudtrail-attacks") else {
        return skipped("scan::each_attack_log", "../shared/data missing");
    };
    let scratch = Scratch::new("scan");
    let mut seen = 0;
    let mut wrong = Vec::new();
    let mut logs: Vec<_> =
        std::fs::read_dir(folder).expect("the folder can be listed").flatten().map(|e| e.path()).collect();
    logs.sort();
    for log in logs.iter().filter(|p| p.extension().is_some_and(|e| e == "json")) {
        seen += 1;
        let name = log.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let done = avouch(&scratch, &["scan", "--logs", &log.display().to_string(), "-o", "json"]).ok();
        let types: BTreeSet<String> = done.items().iter().map(|f| text(f, "/type").to_owned()).collect();
        if types.is_empty() || types.len() > 2 || types.contains("") {
            wrong.push(format!("{name}: {types:?}"));
        }
    }
    assert!(seen >= 12, "only {seen} logs");
    assert!(wrong.is_empty(), "one or two types each are wanted:\n{}", wrong.join("\n"));
}

#[test]
fn exit_codes_say_what_happened() {
    let scratch = Scratch::new("scan-codes");
    let nothing = scratch.join("nowhere").display().to_string();
    avouch(&scratch, &["scan", "--logs", &nothing]).exits(2).says("nowhere").says("hint:");

    let calm = scratch.write("calm/day.json", br#"{"Records":[{"eventVersion":"1.08","eventTime":"2026-01-27T10:30:00Z","eventSource":"s3.amazonaws.com","eventName":"ListBuckets","awsRegion":"eu-west-2","sourceIPAddress":"198.51.100.7","userIdentity":{"type":"IAMUser","userName":"ana","arn":"arn:aws:iam::111122223333:user/ana","accountId":"111122223333"}}]}"#);
    let calm = calm.display().to_string();
    avouch(&scratch, &["scan", "--logs", &calm, "--fail-on", "low"]).ok().says("1 record in 1 file");
    // The path alone does, and both together are one too many.
    avouch(&scratch, &["scan", &calm]).ok().says("nothing in them that the rules know");
    avouch(&scratch, &["scan", &calm, "--logs", &calm]).exits(2);
    avouch(&scratch, &["scan"]).exits(2);

    let attack = scratch.write("bad/day.json", br#"{"Records":[{"eventVersion":"1.08","eventTime":"2026-01-27T10:30:00Z","eventSource":"cloudtrail.amazonaws.com","eventName":"StopLogging","awsRegion":"eu-west-2","sourceIPAddress":"198.51.100.7","userIdentity":{"type":"IAMUser","userName":"ana","arn":"arn:aws:iam::111122223333:user/ana","accountId":"111122223333"},"requestParameters":{"name":"main"}}]}"#);
    let attack = attack.display().to_string();
    avouch(&scratch, &["scan", "--logs", &attack]).ok();
    let failed = avouch(&scratch, &["scan", "--logs", &attack, "--fail-on", "low", "-o", "json"]).exits(1);
    assert!(!failed.items().is_empty(), "exit 1 without a finding: {failed}");
    avouch(&scratch, &["scan", "--logs", &attack, "--fail-on", "hgih"]).exits(2).says("hint:");

    // A file that cannot be read whole is named, and the answer is not called whole.
    let cut = scratch.write(
        "cut/day.json.gz",
        &avouch_e2e::peer::gzip(&std::fs::read(&attack).expect("it was written"))[..200],
    );
    avouch(&scratch, &["scan", "--logs", &cut.display().to_string()]).exits(3).says("day.json.gz");
    avouch(&scratch, &["scan", "--logs", &cut.display().to_string(), "--allow-incomplete"]).ok();
}

/// "Who deleted the database" is answered without a daemon.
#[test]
fn it_says_who_did_what() {
    let scratch = Scratch::new("scan-who");
    let record = |n: u32, who: &str, what: &str, more: &str| {
        format!(
            r#"{{"eventTime":"2026-01-27T10:3{n}:00Z","eventSource":"rds.amazonaws.com","eventName":"{what}","awsRegion":"eu-west-2","sourceIPAddress":"198.51.100.7","userIdentity":{{"type":"IAMUser","userName":"{who}","arn":"arn:aws:iam::111122223333:user/{who}","accountId":"111122223333"}},"recipientAccountId":"111122223333"{more}}}"#
        )
    };
    let records = [
        record(0, "ana", "DescribeDBInstances", ""),
        record(
            1,
            "ben",
            "DeleteDBInstance",
            r#","requestParameters":{"dBInstanceIdentifier":"ledger","skipFinalSnapshot":true}"#,
        ),
        record(2, "eve", "DeleteDBInstance", r#","errorCode":"AccessDenied""#),
    ];
    let file = scratch.write("day.json", format!("{{\"Records\":[{}]}}", records.join(",")));
    let file = file.display().to_string();
    let table = avouch(&scratch, &["scan", &file]).ok().out();
    let line = |who: &str| {
        table.lines().find(|l| l.contains("DeleteDBInstance") && l.contains(who)).map(str::to_owned)
    };
    assert!(line("ben").is_some_and(|l| l.contains("111122223333") && !l.contains("refused")), "{table}");
    assert!(line("eve").is_some_and(|l| l.ends_with("1 refused")), "{table}");
    assert!(!table.contains("DescribeDBInstances"), "reading is no change: {table}");
    let json = avouch(&scratch, &["scan", &file, "-o", "json"]).ok().json();
    let done = json["run"]["who_did_what"].as_array().expect("a list");
    assert!(
        done.iter().any(|d| d["who"] == "ben" && d["what"] == "DeleteDBInstance" && d["n"] == 1),
        "{json}"
    );
}

/// F1: what holds no CloudTrail record gives no clean bill of health.
#[test]
fn what_is_no_trail_is_not_called_clean() {
    let scratch = Scratch::new("scan-foreign");
    std::fs::create_dir_all(scratch.join("empty")).expect("a folder");
    let empty = scratch.join("empty").display().to_string();
    avouch(&scratch, &["scan", &empty]).exits(2).says("scan.no_records").says("it is empty").says("hint:");
    let other = scratch.write("other/notes.txt", "nothing of interest\n");
    let folder = other.parent().expect("it lies in a folder").display().to_string();
    avouch(&scratch, &["scan", &folder]).exits(2).says("1 files have other names");
    let json = scratch.write("json/x.json", "{\"hello\": 1}\n").display().to_string();
    let said = avouch(&scratch, &["scan", &json]).exits(3);
    assert!(said.out().contains("1 record is no CloudTrail record"), "{said}");
    assert!(!said.out().contains("nothing in them that the rules know"), "{said}");
    assert_eq!(avouch(&scratch, &["scan", &json, "-o", "json"]).exits(3).json()["complete"], false);
}

#[test]
fn two_runs_give_the_same_answer() {
    let Some(folder) = shared("cloudtrail-attacks") else {
        return skipped("scan::two_runs", "../shared/data missing");
    };
    let scratch = Scratch::new("scan-twice");
    // O1: the run's own clock reaches no byte of it, in any form.
    for form in ["json", "jsonl", "csv", "table"] {
        let once = || avouch(&scratch, &["scan", &folder.display().to_string(), "-o", form]).ok().bytes;
        let (first, second) = (once(), once());
        assert!(first.len() > 1_000, "{form}: it says something");
        assert!(first == second, "{form}: two runs over the same files differ");
    }
}
