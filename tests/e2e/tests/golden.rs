//! A data folder that an earlier build wrote once: vault, state file and keys. Every later build opens it, says the same, and goes on
//! where it stood.
//!
//! `golden/estate-v1` was made by `make_golden` below. Its keys protect nothing but these invented lines.

use avouch_e2e::peer::send_tcp;
use avouch_e2e::scratch::{copy_folder, files_below};
use avouch_e2e::{PATIENCE, Scratch, Serve, avouch, root, text, wait_until};
use serde_json::Value;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

/// Nothing in it ever expires: the folder must be readable in years.
const YAML: &str = "server: { listen: \"127.0.0.1:0\" }
datasets: { syslog: { retention: { max_age: forever } } }
sources:
  lines: { syslog: { listen: [ \"tcp://127.0.0.1:0\" ] }, dataset: syslog }
sinks:
  copy: { file: { path: copy.jsonl }, datasets: [ syslog ] }
alerts:
  channels: { desk: { file: { path: alerts.jsonl } } }
  routes: { all: { match: { severity: low }, to: [ desk ] } }
";

fn golden() -> PathBuf {
    root().join("tests/e2e/golden/estate-v1")
}

fn lines(scratch: &Scratch, name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(scratch.data().join(name)).unwrap_or_default();
    text.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{name}: {e}: {l}"))).collect()
}

/// What must not change from build to build about a finding.
fn facts(findings: &[Value]) -> Vec<[String; 5]> {
    let mut out: Vec<_> = findings
        .iter()
        .map(|f| {
            ["/id", "/type", "/title", "/severity", "/first_seen"]
                .map(|p| f.pointer(p).unwrap_or(&Value::Null).to_string())
        })
        .collect();
    out.sort();
    out
}

#[test]
#[ignore = "writes golden/estate-v1 anew; only for a new format, under a new name"]
fn make_golden() {
    let scratch = Scratch::new("make-golden");
    let serve = Serve::start(&scratch, YAML);
    let failed: String = (0..30)
        .map(|i| format!("<38>Nov 20 10:00:{i:02} web-1 sshd[{i}]: Failed password for root from 192.0.2.7 port {} ssh2\n", 4_000 + i))
        .collect();
    send_tcp(&serve.address("lines", "tcp"), failed.as_bytes());
    let found = || serve.run(&["findings", "list", "-o", "json"]).ok().items();
    wait_until("a finding", PATIENCE, || !found().is_empty());
    wait_until("all lines at the sink", PATIENCE, || lines(&scratch, "copy.jsonl").len() == 30);
    wait_until("an alert", PATIENCE, || !lines(&scratch, "alerts.jsonl").is_empty());
    let before = found();
    assert_eq!(serve.terminate(), 0);
    let _ = std::fs::remove_dir_all(golden());
    std::fs::create_dir_all(golden()).unwrap();
    copy_folder(&scratch.data(), &golden().join("data"));
    let text = serde_json::to_string_pretty(&before).unwrap();
    std::fs::write(golden().join("findings.json"), text).unwrap();
}

#[test]
fn a_data_folder_of_an_earlier_build_goes_on() {
    let scratch = Scratch::new("golden");
    copy_folder(&golden().join("data"), &scratch.data());
    // A checkout makes files as its user likes; keys are for their owner alone.
    for (folder, mode) in [("", 0o700), ("secret", 0o700), ("secret/kek", 0o600), ("secret/log.key", 0o600)] {
        std::fs::set_permissions(scratch.data().join(folder), Permissions::from_mode(mode)).unwrap();
    }
    let before: Vec<Value> =
        serde_json::from_slice(&std::fs::read(golden().join("findings.json")).unwrap()).unwrap();
    assert!(!before.is_empty() && !files_below(&scratch.data().join("vault")).is_empty());
    avouch(&scratch, &["verify", "--data-dir", "data"]).ok();
    let serve = Serve::again(&scratch);
    let (alerts, copied) = (lines(&scratch, "alerts.jsonl"), lines(&scratch, "copy.jsonl"));
    let found = || serve.run(&["findings", "list", "state=all", "-o", "json"]).ok().items();
    assert_eq!(facts(&found()), facts(&before));
    assert_eq!(serve.events("syslog"), 30);
    let line =
        "<38>Nov 20 11:00:00 web-1 sshd[9]: Accepted publickey for deploy from 192.0.2.8 port 5000 ssh2\n";
    send_tcp(&serve.address("lines", "tcp"), line.as_bytes());
    wait_until("the new line at the sink", PATIENCE, || lines(&scratch, "copy.jsonl").len() > copied.len());
    let after = lines(&scratch, "copy.jsonl");
    assert_eq!(after.len(), copied.len() + 1, "the sink goes on behind what it has");
    // That a finding goes on may be told again after so long; that it is new may not.
    let opened = |alerts: &[Value]| -> Vec<String> {
        let all = alerts.iter().flat_map(|a| a["findings"].as_array().into_iter().flatten());
        all.filter(|f| f["occasion"] == "opened").map(|f| text(f, "/id").to_owned()).collect()
    };
    assert_eq!(opened(&lines(&scratch, "alerts.jsonl")), opened(&alerts), "nothing is new to the desk");
    assert!(!serve.log_text().contains("windows start empty"), "{}", serve.log_text());
    assert!(text(&after[copied.len()], "/message").contains("publickey"));
    assert_eq!(serve.terminate(), 0);
    avouch(&scratch, &["verify", "--data-dir", "data"]).ok();
}
