//! Bad input: a clear error with a hint, nothing lost, and the process lives or refuses to start.

use avouch_e2e::product::{command, run};
use avouch_e2e::{PATIENCE, Scratch, Serve, avouch, http, number, skipped, wait_until};
use std::path::PathBuf;
use std::process::Command;

const API: &str = "server: { listen: \"127.0.0.1:0\" }\nsources:\n  api: { https: { listen: \"127.0.0.1:0\" }, dataset: app.test }\n";

/// A configuration that cannot work; what `config check` and `serve` must say about it.
#[track_caller]
fn refused(yaml: &[u8], place: &str, words: &[&str]) {
    let scratch = Scratch::new("config");
    let file = scratch.write("avouch.yaml", yaml);
    let path = file.display().to_string();
    let data = scratch.data().display().to_string();
    for args in [vec!["config", "check", &path], vec!["serve", "--config", &path, "--data-dir", &data]] {
        let said = avouch(&scratch, &args).exits(2).says("hint:");
        let all = format!("{}{}", said.out(), said.err);
        for w in words {
            assert!(all.contains(w), "`{}` does not say `{w}`:\n{all}", args[0]);
        }
        assert!(
            place.is_empty() || all.contains(&format!("{path}:{place}")),
            "`{}` does not point to {place}:\n{all}",
            args[0]
        );
    }
    assert!(!scratch.join("data/vault").exists(), "a refused start made a vault");
}

#[test]
fn a_wrong_configuration_is_refused_with_its_place() {
    refused(b"sources:\n  a:\n    https: { listen: \"127.0.0.1:0\" }\ndatasets:\n  x:\n    retenion: { max_age: 7d }\n", "6:5", &["config.unknown_key", "retenion", "did you mean `retention`?"]);
    refused(b"sources:\n  a:\n    htps: { listen: \"127.0.0.1:0\" }\n", "3:5", &["htps", "https"]);
    refused(b"server:\n  listen: 12\n", "2:", &["server.listen"]);
    refused(b"server:\n  listen: not-an-address\n", "2:", &["not-an-address"]);
    refused(b"server:\n  listen: 0.0.0.0:8440\n", "2:", &["loopback"]);
    refused(b"sources:\n  a: { https: { listen: \"127.0.0.1:7001\" } }\n  b: { https: { listen: \"127.0.0.1:7001\" } }\n", "", &["config.port_twice", "127.0.0.1:7001"]);
    refused(b"sources:\n  a:\n    https: { listen: \"0.0.0.0:7001\" }\n", "", &["loopback", "TLS"]);
    refused(b"sources:\n  a: { dataset: x }\n", "", &["config.source_kind", "exactly one"]);
    refused(b"datasets:\n  x: { retention: { max_age: soon } }\n", "2:", &["soon", "7d"]);
    refused(b"server: {\n", "", &["config."]);
    refused(b"server: { listen: \"127.0.0.1:0\" }\nserver: { listen: \"127.0.0.1:0\" }\n", "2:", &["server"]);
    refused(b"\xff\xfe not text", "", &["config.not_utf8"]);
    refused(b"controls: { packs: [ log-prox ] }\n", "", &["log-prox", "did you mean `log-proxy`?"]);
    refused(b"alerts:\n  routes:\n    r: { to: [ nobody ] }\n", "", &["nobody"]);
}

#[test]
fn all_problems_are_told_at_once() {
    let scratch = Scratch::new("all");
    let file = scratch.write("avouch.yaml", "servr: {}\nsources:\n  a:\n    https: { listn: 1 }\ndatasets: { x: { retention: { max_agee: 7d } } }\n");
    let said = avouch(&scratch, &["config", "check", &file.display().to_string()]).exits(2);
    for word in ["servr", "listn", "max_agee"] {
        assert!(said.out().contains(word), "`{word}` is not among the problems: {said}");
    }
    let json = avouch(&scratch, &["config", "check", &file.display().to_string(), "-o", "json"]).exits(2);
    assert!(json.items().len() >= 3, "{json}");
    assert!(json.items().iter().all(|p| p["hint"].is_string() && p["span"]["line"].is_u64()), "{json}");
}

#[test]
fn missing_and_unreadable_files_are_named() {
    let scratch = Scratch::new("files");
    let nowhere = scratch.join("nowhere.yaml").display().to_string();
    avouch(&scratch, &["serve", "--config", &nowhere, "--data-dir", &scratch.data().display().to_string()])
        .exits(2)
        .says("config.unreadable")
        .says("nowhere.yaml")
        .says("hint:");
    let data = scratch.data().display().to_string();
    avouch(&scratch, &["serve", "--data-dir", &data]).exits(2).says("config.none").says("init log-proxy");
    avouch(&scratch, &["search", "x", "--data-dir", &data]).exits(2).says("vault.none").says("hint:");
    avouch(&scratch, &["verify", &scratch.path().display().to_string()]).exits(2).says("hint:");
    // A key file that others can read is refused.
    use std::os::unix::fs::PermissionsExt as _;
    let serve = Serve::start(&scratch, API);
    serve.terminate();
    let kek = scratch.join("data/secret/kek");
    std::fs::set_permissions(&kek, std::fs::Permissions::from_mode(0o644)).expect("its mode can be set");
    avouch(&scratch, &["serve", "--data-dir", &data]).exits(2).says("kek").says("hint:");
}

#[test]
fn every_profile_is_good_as_written() {
    let scratch = Scratch::new("init");
    let mut bad = Vec::new();
    for profile in ["log-proxy", "register", "audit-trail", "account-audit", "monitoring"] {
        let file = scratch.join(format!("{profile}.yaml")).display().to_string();
        avouch(&scratch, &["init", profile, "--file", &file]).ok().says("not in this build yet");
        let check = avouch(&scratch, &["config", "check", &file]);
        if check.code != 0 {
            bad.push(check.to_string());
        }
        // Never over an existing file.
        avouch(&scratch, &["init", profile, "--file", &file]).exits(2).says("exists");
    }
    assert!(bad.is_empty(), "a written profile does not pass its own check:\n{}", bad.join("\n"));
    avouch(&scratch, &["init", "log-prox"]).exits(2).says("log-proxy");
}

#[test]
fn wrong_words_get_the_nearest_right_one() {
    let scratch = Scratch::new("words");
    avouch(&scratch, &["serach", "x"]).exits(2).says("search");
    avouch(&scratch, &["findings", "lst"]).exits(2).says("list");
    avouch(&scratch, &["verify", "--levle", "log"]).exits(2).says("--level");
    let serve = Serve::start(&scratch, API);
    serve.run(&["admin", "key", "create", "x", "--source", "apu"]).exits(2).says("did you mean `api`?");
    serve.run(&["search", "acter = x"]).exits(2).says("actor").says("hint:");
    serve.run(&["search", "(actor = x"]).exits(2).says("hint:");
    serve.run(&["search", "x", "--since", "yesterday-ish"]).exits(2).says("hint:");
    serve.run(&["findings", "list", "--severity", "hihg"]).exits(2).says("high");
    serve.run(&["findings", "show", "zzzz"]).exits(2).says("hint:");
    serve.run(&["event", "show", "0:999999999"]).exits(2).says("event.unknown");
    // One id in 64 begins with a dash, and every printed command must work as printed.
    for noun in [["event", "show"], ["findings", "show"], ["findings", "explain"]] {
        let said = serve.run(&[noun[0], noun[1], "-rhTaq17EKerPNe9l3Zwsw"]).exits(2);
        assert!(
            !said.err.contains("unexpected argument"),
            "an id that begins with a dash is taken for an option: {said}"
        );
    }
    serve.run(&["controls", "show", "self.canary-retuns"]).exits(2).says("self.canary-returns");
    serve.run(&["source", "pause", "nope", "--reason", "x"]).exits(2).says("api");
    // Errors are JSON where JSON was asked for, and standard output stays empty.
    let e = serve.run(&["search", "acter = x", "-o", "json"]).exits(2);
    assert!(e.bytes.is_empty(), "{e}");
    let v: serde_json::Value =
        serde_json::from_str(e.err.lines().last().unwrap_or_default()).unwrap_or_else(|x| panic!("{x}: {e}"));
    assert!(v["error"]["code"].is_string() && v["error"]["hint"].is_string(), "{v}");
    assert_eq!(serve.terminate(), 0);
}

#[test]
fn sql_only_asks() {
    let scratch = Scratch::new("sql");
    let mut serve = Serve::start(&scratch, API);
    let secret = scratch.write("secret.csv", "a,b\n1,2\n").display().to_string();
    let out = scratch.join("out.csv").display().to_string();
    for q in [
        "drop table events".to_owned(),
        "create table x as select 1".to_owned(),
        "insert into events select * from events".to_owned(),
        "set datafusion.execution.batch_size = 1".to_owned(),
        format!("copy (select 1) to '{out}'"),
        format!("select * from '{secret}'"),
        format!("create external table x stored as csv location '{secret}'"),
        "select".to_owned(),
    ] {
        serve.run(&["sql", &q]).exits(2).says("hint:");
    }
    assert!(!PathBuf::from(out).exists(), "SQL wrote a file of the host");
    assert!(serve.is_alive());
}

#[test]
fn one_vault_has_one_writer() {
    let scratch = Scratch::new("two");
    let mut serve = Serve::start(&scratch, API);
    let data = serve.data.display().to_string();
    let second = avouch(&scratch, &["serve", "--data-dir", &data]).exits(2).says("hint:");
    assert!(second.err.contains(&serve.id().to_string()), "the first process is not named: {second}");
    assert!(serve.is_alive(), "the second start ended the first");
    let key = serve.key("c1", "api");
    serve.post("api", &key, "application/json", "{}").is(200);
    // A port that is taken is named as well.
    let other = Scratch::new("port");
    other.write("data/avouch.yaml", format!("server: {{ listen: \"{}\" }}\n", serve.page));
    avouch(&other, &["serve", "--data-dir", &other.data().display().to_string()])
        .exits(2)
        .says(&serve.page)
        .says("hint:");
}

/// Unmounts when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf, size: &str) -> Result<SmallDisk, String> {
        std::fs::create_dir_all(&at).map_err(|e| e.to_string())?;
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "avouch-e2e"])
            .arg(&at)
            .output();
        match done {
            Ok(o) if o.status.success() => Ok(SmallDisk(at)),
            Ok(o) => Err(String::from_utf8_lossy(&o.stderr).trim().to_owned()),
            Err(e) => Err(e.to_string()),
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_stops_intake_and_nothing_else() {
    let scratch = Scratch::new("full");
    let _disk = match SmallDisk::mount(scratch.data(), "96m") {
        Ok(d) => d,
        Err(e) => return skipped("badinput::a_full_disk", &format!("no small disk can be mounted: {e}")),
    };
    let yaml = API
        .replace("sources:", "vault: { reserve: 8MiB }\nsources:")
        .replace("0\" }, dataset", "0\", commit_deadline: 2s }, dataset");
    let mut serve = Serve::start(&scratch, &yaml);
    let key = serve.key("c1", "api");
    let page = serve.page.clone();
    let ready = || http::get(&page, "/ready", &[]).map_or(0, |r| r.status);
    assert_eq!(ready(), 200);
    let post = |serve: &Serve, n: u64| {
        serve.post(
            "api",
            &key,
            "application/json",
            format!("{{\"n\":{n},\"pad\":\"{}\"}}", "x".repeat(200_000)),
        )
    };
    let mut taken = 0;
    for n in 0..10 {
        post(&serve, n).is(200);
        taken = n + 1;
    }
    let filler = scratch.join("data/filler");
    let fill = run({
        let mut c = Command::new("dd");
        c.arg("if=/dev/zero").arg(format!("of={}", filler.display())).args(["bs=1M", "status=none"]);
        c
    });
    assert_ne!(fill.code, 0, "the disk is meant to be full now");
    let mut refused = None;
    wait_until("the intake says that it cannot store", PATIENCE, || {
        let r = post(&serve, taken);
        if r.status == 200 {
            taken += 1;
        } else {
            refused = Some(r);
        }
        refused.is_some()
    });
    let refused = refused.expect("it was refused").is(503);
    assert!(refused.header("retry-after").is_some(), "503 does not say when");
    wait_until("/ready says no", PATIENCE, || ready() == 503);
    http::get(&page, "/health", &[]).expect("it answers").is(200);
    assert!(serve.is_alive(), "the daemon ended on a full disk");
    // What is there can still be asked for.
    assert!(serve.run(&["status"]).code == 0, "{}", serve.run(&["status"]));
    std::fs::remove_file(&filler).expect("space is freed");
    wait_until("the intake goes on by itself", PATIENCE, || post(&serve, 999_999).status == 200);
    wait_until("/ready says yes", PATIENCE, || ready() == 200);
    let kept = serve.count(&format!("select count(distinct json_get(raw, 'n')) from \"app.test\" where cast(json_get(raw, 'n') as bigint) < {taken}"));
    assert_eq!(kept, taken, "acknowledged before, missing after");
    assert_eq!(serve.terminate(), 0);
    avouch(&scratch, &["verify", &scratch.data().display().to_string()]).ok();
}

/// A daemon whose standard error is closed, and commands whose output is cut, end as they should.
#[test]
fn a_closed_pipe_is_a_quiet_end() {
    let scratch = Scratch::new("pipe");
    let bin = command(&scratch).get_program().to_owned();
    let mut c = Command::new("bash");
    avouch_e2e::product::isolate(&mut c, &scratch);
    c.args(["-c", "\"$0\" config schema | head -c 10 >/dev/null; echo ${PIPESTATUS[0]}"]).arg(bin);
    let said = run(c);
    assert_eq!(said.out().trim(), "0", "{said}");
    assert!(!said.err.contains("panicked"), "{said}");
}

#[test]
fn events_of_unusual_size_and_shape_are_told_apart() {
    let scratch = Scratch::new("sizes");
    let mut serve = Serve::start(&scratch, API);
    let key = serve.key("c1", "api");
    // Above `vault.max_event` (1 MiB): refused by name, the others of the body are kept.
    let big = format!("[{{\"n\":1}},{{\"n\":2,\"pad\":\"{}\"}},{{\"n\":3}}]", "x".repeat(2 << 20));
    let answer = serve.post("api", &key, "application/json", big);
    assert!(answer.status == 200 || answer.status == 413, "{} {}", answer.status, answer.text());
    if answer.status == 200 {
        let v = answer.json();
        let told = ["refused", "unparsed"].iter().filter_map(|k| v[k].as_u64()).sum::<u64>();
        assert_eq!(number(&v, "/accepted") + told, 3, "one of three is silently gone: {v}");
    }
    // Deep nesting is kept as one event.
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let v = serve.post("api", &key, "application/json", &deep).is(200).json();
    assert_eq!(number(&v, "/unparsed"), 1, "{v}");
    assert!(serve.is_alive());
}
