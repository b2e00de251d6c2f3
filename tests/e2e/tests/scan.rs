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
    avouch(&scratch, &["scan", "--logs", &calm, "--fail-on", "low"]).ok().says("1 records in 1 files");

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

#[test]
fn two_runs_give_the_same_answer() {
    let Some(folder) = shared("cloudtrail-attacks") else {
        return skipped("scan::two_runs", "../shared/data missing");
    };
    let scratch = Scratch::new("scan-twice");
    let once = || {
        let mut v = avouch(&scratch, &["scan", "--logs", &folder.display().to_string(), "-o", "json"]).json();
        v["run"] = serde_json::Value::Null;
        v
    };
    assert_eq!(once(), once(), "only `run` may differ between two runs over the same files");
}
