//! Every command: its help, its forms, with a daemon and without.

use crate::demo::kept;
use avouch_e2e::scratch::copy_folder;
use avouch_e2e::{PATIENCE, Run, Scratch, Serve, avouch, number, shared, skipped, text, wait_until};
use serde_json::Value;
use std::collections::BTreeSet;

const FIRST: [&str; 8] = ["demo", "scan", "init", "serve", "search", "findings", "controls", "verify"];
const MORE: [&str; 14] = [
    "sql", "event", "prove", "proof", "vault", "rule", "source", "sink", "redrive", "alerts", "status",
    "doctor", "config", "admin",
];

#[test]
fn help_begins_with_eight_commands_and_ends_with_all() {
    let scratch = Scratch::new("help");
    let first = avouch(&scratch, &["--help"]).ok().out();
    assert!(
        first.lines().count() <= 40,
        "`--help` does not fit on a screen: {} lines",
        first.lines().count()
    );
    let named =
        |out: &str, name: &str| out.lines().any(|l| l.trim_start().split([' ', ',']).next() == Some(name));
    for name in FIRST {
        assert!(named(&first, name), "`--help` does not name {name}:\n{first}");
    }
    for name in MORE {
        assert!(!named(&first, name), "`--help` names {name}, which is for `help more`");
    }
    assert!(first.contains("exit codes: 0 worked"), "{first}");
    let more = avouch(&scratch, &["help", "more"]).ok().out();
    for name in FIRST.iter().chain(&MORE) {
        assert!(named(&more, name), "`help more` does not name {name}:\n{more}");
        avouch(&scratch, &[name, "--help"]).ok().says("exit codes: 0 worked");
    }
    avouch(&scratch, &["help", "serch"]).exits(2).says("search");
    avouch(&scratch, &["--version"]).ok().says("avouch");
    for shell in ["bash", "zsh", "fish"] {
        avouch(&scratch, &["completions", shell]).ok().says("avouch");
    }
    std::fs::create_dir_all(scratch.join("man")).expect("a folder");
    avouch(&scratch, &["man", &scratch.join("man").display().to_string()]).ok();
    let pages = std::fs::read_dir(scratch.join("man")).expect("it was written").count();
    assert!(pages >= FIRST.len() + MORE.len(), "{pages} manual pages");
}

const READS: [&[&str]; 18] = [
    &["search", "StopLogging", "--since", "60d"],
    &["sql", "select av_dataset, count(*) as n from events group by 1 order by 1"],
    &["findings", "list"],
    &["controls", "list"],
    &["proof", "list"],
    &["vault", "ls"],
    &["vault", "ls", "--segments"],
    &["vault", "status"],
    &["vault", "retention"],
    &["rule", "list"],
    &["source", "list"],
    &["sink", "list"],
    &["redrive", "list"],
    &["alerts", "list"],
    &["status"],
    &["doctor"],
    &["config", "show"],
    &["admin", "key", "list"],
];

/// Runs a read in every form; what is wrong is put into `wrong`.
fn in_every_form(what: &[&str], run: &dyn Fn(&[&str]) -> Run, wrong: &mut Vec<String>) {
    let mut bad = |why: &str, r: &Run| wrong.push(format!("{why}: {r}"));
    for form in ["table", "json", "jsonl", "csv"] {
        let r = run(&[what, &["-o", form]].concat());
        if !matches!(r.code, 0 | 1 | 3) || r.code == 1 && what[0] != "doctor" {
            bad("it does not work", &r);
            continue;
        }
        if r.code == 3 && !r.err.contains("exit 3: it worked, but") {
            bad("exit 3 without its one line", &r);
        }
        let out = r.out();
        match form {
            "json" => match serde_json::from_str::<Value>(&out) {
                Ok(v) => {
                    let is_whole = v["complete"].as_bool() == Some(r.code != 3)
                        && v["items"].is_array()
                        && v["run"].is_object();
                    if !text(&v, "/schema").starts_with("avouch.") || !is_whole {
                        bad("not the agreed object", &r);
                    }
                }
                Err(_) => bad("no JSON", &r),
            },
            "jsonl" => {
                let last = out.lines().last().and_then(|l| serde_json::from_str::<Value>(l).ok());
                let n = last.as_ref().and_then(|l| l["end"]["items"].as_u64());
                if n != Some(out.lines().count() as u64 - 1) {
                    bad("the last line does not count the others", &r);
                }
            }
            "csv" if out.lines().next().is_none() => bad("no heading", &r),
            _ if out.trim().is_empty() => bad("it says nothing", &r),
            _ => {}
        }
    }
}

#[test]
fn every_read_works_in_every_form_with_and_without_the_daemon() {
    let scratch = Scratch::new("reads");
    copy_folder(&kept().data, &scratch.data());
    let data = scratch.data().display().to_string();
    let mut wrong = Vec::new();
    for what in READS {
        in_every_form(what, &|args| avouch(&scratch, &[args, &["--data-dir", &data]].concat()), &mut wrong);
    }
    let path = scratch.data().join("avouch.yaml");
    let yaml = std::fs::read_to_string(&path).expect("the demo keeps its configuration");
    let yaml =
        yaml.replace(&kept().data.display().to_string(), &data).replace("127.0.0.1:8440", "127.0.0.1:0");
    std::fs::write(&path, yaml).expect("it can be written");
    let serve = Serve::again(&scratch);
    for what in READS {
        in_every_form(what, &|args| serve.run(args), &mut wrong);
    }
    assert!(wrong.is_empty(), "{} answers:\n{}", wrong.len(), wrong.join("\n\n"));
    assert_eq!(serve.terminate(), 0);
}

/// Whoever reads raw logs is recorded before the first row leaves, with and without the daemon.
#[test]
fn reading_is_an_event() {
    let scratch = Scratch::new("access");
    let yaml = "server: { listen: \"127.0.0.1:0\" }\nsources:\n  api: { https: { listen: \"127.0.0.1:0\" }, dataset: app.test }\n";
    let serve = Serve::start(&scratch, yaml);
    let key = serve.key("c1", "api");
    serve.post("api", &key, "application/json", r#"{"who":"ana"}"#).is(200);
    let recorded = |rows: &[Value]| {
        rows.iter().any(|r| text(r, "/raw").contains("findable-7") && text(r, "/raw").contains("\"os:"))
    };
    serve.run(&["search", "findable-7"]).ok();
    let rows = serve.sql("select cast(raw as varchar) as raw from \"avouch.access\"");
    assert!(recorded(&rows), "{rows:?}");
    assert_eq!(serve.terminate(), 0);
    let data = scratch.data().display().to_string();
    let ask =
        |args: &[&str]| avouch(&scratch, &[args, &["-o", "json", "--data-dir", &data]].concat()).ok().items();
    let before = number(&ask(&["sql", "select count(*) as n from \"avouch.access\""])[0], "/n");
    ask(&["search", "ana"]);
    let after = number(&ask(&["sql", "select count(*) as n from \"avouch.access\""])[0], "/n");
    assert!(after >= before + 2, "reading without the daemon is not recorded: {before}, then {after}");
}

#[test]
fn rules_and_controls_hold_their_own_tests() {
    let scratch = Scratch::new("rules");
    let data = scratch.data().display().to_string();
    // Neither needs a vault.
    avouch(&scratch, &["rule", "test", "--data-dir", &data]).ok();
    avouch(&scratch, &["controls", "lint", "--data-dir", &data]).ok().says("0 errors, 0 warnings");
    let record = scratch.write("stop.json", br#"{"Records":[{"eventTime":"2026-01-27T10:30:00Z","eventSource":"cloudtrail.amazonaws.com","eventName":"StopLogging","userIdentity":{"type":"IAMUser","userName":"ana"}}]}"#);
    let record = record.display().to_string();
    avouch(&scratch, &["rule", "explain", "trail_stopped", &record, "--data-dir", &data])
        .ok()
        .says("trail_stopped holds for 1 of 1 records");
    avouch(&scratch, &["rule", "explain", "trail_stoped", &record, "--data-dir", &data])
        .exits(2)
        .says("trail_stopped");
    let own = scratch.write("rules/mine.yml", "title: Mine\nname: mine\nlogsource: {product: aws, service: cloudtrail}\ndetection: {s: {eventName: StopLogging}, condition: s}\n");
    avouch(
        &scratch,
        &["rule", "explain", "mine", &record, "--rules", &own.display().to_string(), "--data-dir", &data],
    )
    .ok()
    .says("mine holds for 1 of 1 records");
    // A control that names a rule which nobody wrote can neither hold nor fail.
    let wrong = scratch.write("controls/x.yaml", "- id: x.one\n  claim: All 4 hold.\n  answers: [M-1]\n  owner: { person: a@example.org, team: t }\n  configured: [{ probe: self, expr: \"rule('trail_stoped').enabled\" }]\n  drill: { kind: none, because: a test }\n  every: 1d\n");
    avouch(&scratch, &["controls", "lint", &wrong.display().to_string(), "--data-dir", &data])
        .exits(1)
        .says("trail_stopped");
    let rules = avouch(&scratch, &["rule", "list", "-o", "json", "--data-dir", &data]).ok().items();
    assert!(rules.len() >= 25, "{} rules are shipped", rules.len());
    let Some(folder) = shared("sigma/rules/cloud/aws") else {
        return skipped("commands::public_rules_load", "../shared/data missing");
    };
    let folder = folder.display().to_string();
    let refused =
        avouch(&scratch, &["rule", "list", "--refused", &folder, "-o", "json", "--data-dir", &data])
            .ok()
            .items();
    assert!(refused.is_empty(), "public rules are refused: {refused:?}");
}

/// The register's third column, for real: a drill through the running daemon.
#[test]
fn a_control_is_proven_and_the_proof_is_kept() {
    let scratch = Scratch::new("prove");
    // A rule of one's own that every canary hits: what a drill sets off is marked as a drill's.
    let rule = scratch.write("rules/seen.yml", "title: A drill's host was seen\nname: seen\nlogsource: {product: linux, service: syslog}\ndetection: {s: {host: avouch-drill}, condition: s}\nlevel: high\n");
    let yaml = format!(
        "server: {{ listen: \"127.0.0.1:0\" }}\nsources:\n  edge-syslog: {{ syslog: {{ listen: [ \"udp://127.0.0.1:0\" ] }}, dataset: syslog }}\nsinks:\n  siem-main: {{ file: {{ path: {}, original: true }}, datasets: [ syslog ] }}\nrules: {{ paths: [ {} ] }}\ncontrols: {{ packs: [ self ], drills: false }}\n",
        scratch.join("received.ndjson").display(),
        rule.display()
    );
    let serve = Serve::start(&scratch, &yaml);
    let state = |id: &str| {
        let all = serve.run(&["controls", "list", "-o", "json"]).ok().items();
        let one = all.into_iter().find(|c| text(c, "/id") == id);
        one.unwrap_or_else(|| panic!("no control {id}"))
    };
    for id in ["self.canary-returns", "self.tampering-is-seen"] {
        assert_ne!(text(&state(id), "/state"), "proven", "{id} was never exercised");
        let said = serve.run(&["prove", id, "-o", "json"]).ok();
        assert!(!said.items().is_empty(), "{said}");
        assert_eq!(text(&state(id), "/state"), "proven", "{id}: {said}");
    }
    let proofs = serve.run(&["proof", "list", "-o", "json"]).ok().items();
    let runs: BTreeSet<String> =
        proofs.iter().map(|p| text(p, "/run").to_owned()).filter(|r| !r.is_empty()).collect();
    assert!(runs.len() >= 2, "two runs are kept: {proofs:?}");
    let run = runs.first().expect("there are two");
    serve.run(&["proof", "show", run]).ok();
    // A drill is no attack: it raises no finding, and its events say what they are.
    let findings = serve.run(&["findings", "list", "-o", "json"]).ok().items();
    assert!(findings.iter().all(|f| !text(f, "/type").contains("ForgedCanary")), "{findings:?}");
    let canary = proofs.iter().find(|p| text(p, "/control") == "self.canary-returns").expect("it was proven");
    wait_until("the rule's finding names the run that set it off", PATIENCE, || {
        let drills = serve.run(&["findings", "list", "drill=only", "-o", "json"]).ok().items();
        drills.iter().any(|f| text(f, "/rule/name") == "seen" && text(f, "/drill") == text(canary, "/run"))
    });
    // Over a restart the proof still stands.
    assert_eq!(serve.terminate(), 0);
    let serve = Serve::again(&scratch);
    let all = serve.run(&["controls", "list", "-o", "json"]).ok().items();
    let one = all.iter().find(|c| text(c, "/id") == "self.canary-returns").expect("it was there");
    assert_eq!(text(one, "/state"), "proven", "a restart forgets the proof: {one}");
    // A proof that cannot be had disproves nothing and says what is missing.
    let said = serve.run(&["prove", "self.no-such-control"]).exits(2);
    assert!(said.err.contains("hint:"), "{said}");
}

/// What the register says about this installation rests on what runs, not on what its file wishes.
#[test]
fn a_quiet_source_is_noticed() {
    let scratch = Scratch::new("quiet");
    let yaml = "server: { listen: \"127.0.0.1:0\" }\nsources:\n  branch: { syslog: { listen: [ \"udp://127.0.0.1:0\" ] }, dataset: syslog, silence: { max_gap: 1s } }\ncontrols: { packs: [ self ], drills: false }\n";
    let serve = Serve::start(&scratch, yaml);
    let quiet = || {
        let all = serve.run(&["controls", "list", "-o", "json"]).ok().items();
        all.into_iter().find(|c| text(c, "/id") == "self.no-source-is-silent").expect("it is in the pack")
    };
    wait_until("the register says that the source is quiet", PATIENCE, || {
        text(&quiet(), "/state") == "failed"
    });
    wait_until("a finding says so too", PATIENCE, || {
        let found = serve.run(&["findings", "list", "-o", "json"]).ok().items();
        found.iter().any(|f| text(f, "/resource").contains("branch") || text(f, "/title").contains("branch"))
    });
    // What is not set up here is not connected; what this build cannot do says so; neither is a failure.
    let all = serve.run(&["controls", "list", "-o", "json"]).ok().items();
    let of =
        |id: &str| all.iter().find(|c| text(c, "/id") == id).unwrap_or_else(|| panic!("no control {id}"));
    assert_eq!(text(of("self.search-is-complete"), "/state"), "unknown");
    assert!(
        text(of("self.search-is-complete"), "/reason").contains("not connected"),
        "{}",
        of("self.search-is-complete")
    );
    assert!(
        text(of("self.calls-nobody"), "/reason").contains("docs/coverage.md"),
        "{}",
        of("self.calls-nobody")
    );
    for id in [
        "self.one-writer",
        "self.listens-on-loopback",
        "self.rules-pass-their-tests",
        "self.vault-is-encrypted",
    ] {
        assert_eq!(text(of(id), "/state"), "effective", "{}", of(id));
    }
    serve.run(&["controls", "list"]).ok().says("are about something that is not connected here");
    assert_eq!(serve.terminate(), 0);
}
