//! The first five minutes: `avouch demo` does what its lines say, and every command it prints works as printed.

use avouch_e2e::product::{Run, command, isolate, run, signal};
use avouch_e2e::scratch::copy_folder;
use avouch_e2e::{Scratch, avouch, http, text, wait_for, wait_until};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

/// A first round takes tens of seconds on two busy cores.
const ROUND: Duration = Duration::from_secs(240);

/// The stages that the build has, each with what must not be zero in it.
const STAGES: [(&str, &str); 7] = [
    ("collect", " events"),
    ("vault", " segments sealed"),
    ("forward", " delivered"),
    ("detect", " findings"),
    ("access", " open to anyone"),
    ("alert", " delivered to channel"),
    ("prove", " controls tested and working"),
];

/// The number, with blanks as thousands, directly before `words`.
fn number_before(line: &str, words: &str) -> Option<u64> {
    let before = line.split(words).next().filter(|b| b.len() < line.len())?;
    let digits: Vec<char> =
        before.chars().rev().take_while(|c| c.is_ascii_digit() || *c == ' ').filter(|c| *c != ' ').collect();
    digits.iter().rev().collect::<String>().parse().ok()
}

#[track_caller]
fn stages_are_there(out: &str) {
    for (stage, words) in STAGES {
        let line = out
            .lines()
            .find(|l| l.starts_with(stage))
            .unwrap_or_else(|| panic!("no `{stage}` line in\n{out}"));
        let n = number_before(line, words)
            .unwrap_or_else(|| panic!("`{stage}` has no number before `{words}`: {line}"));
        assert!(n > 0, "`{stage}` did nothing: {line}");
    }
    // The first round is whole: everything was read, checked and sent on before a line says so.
    for (stage, words) in [("vault", "nothing changed"), ("forward", "nothing waiting")] {
        let line = out.lines().find(|l| l.starts_with(stage)).unwrap_or_default();
        assert!(line.contains(words), "`{stage}` does not say `{words}`: {line}");
    }
    let detect = out.lines().find(|l| l.starts_with("detect")).unwrap_or_default();
    let worst = number_before(detect, " critical").unwrap_or(0) + number_before(detect, " high").unwrap_or(0);
    assert!(worst >= 3, "the staged attack is not found: {detect}");
}

/// A demo run that was kept, shared by the tests that only read it or work on copies.
pub struct Kept {
    pub scratch: Scratch,
    pub data: PathBuf,
    pub run: Run,
}

impl Kept {
    pub fn vault(&self) -> PathBuf {
        self.data.join("vault")
    }
    pub fn kek(&self) -> PathBuf {
        self.data.join("secret/kek")
    }
    /// A copy of the vault in a folder of its own.
    #[track_caller]
    pub fn copy(&self, scratch: &Scratch) -> PathBuf {
        let to = scratch.join("vault");
        copy_folder(&self.vault(), &to);
        to
    }
}

pub fn kept() -> &'static Kept {
    static KEPT: OnceLock<Kept> = OnceLock::new();
    KEPT.get_or_init(|| {
        let scratch = Scratch::new("kept");
        let data = scratch.join("estate");
        let run =
            avouch(&scratch, &["demo", "--once", "--keep", "--data-dir", &data.display().to_string()]).ok();
        Kept { scratch, data, run }
    })
}

#[test]
fn once_shows_every_stage_and_removes_its_folder() {
    let scratch = Scratch::new("once");
    let page = scratch.join("summary.html");
    let done = avouch(&scratch, &["demo", "--once", "-o", "html", "-O", &page.display().to_string()]).ok();
    let out = done.out();
    stages_are_there(&out);
    let first = out.lines().next().unwrap_or_default();
    let data = first
        .split("everything in ")
        .nth(1)
        .and_then(|r| r.split(',').next())
        .unwrap_or_else(|| panic!("no folder in `{first}`"));
    assert!(!Path::new(data).exists(), "{data} is still there");
    let end = out.lines().last().unwrap_or_default();
    assert!(
        end.starts_with("stopped") && end.contains("removed") && end.contains(data),
        "the end does not say what was removed: {end}"
    );
    assert!(
        !out.contains("http://127.0.0.1:") || !out.contains("/first/"),
        "a link that cannot work any more is printed:\n{out}"
    );

    assert!(
        !out.contains(&format!("--data-dir {data}")),
        "a command over a removed folder is printed:\n{out}"
    );
    let html = std::fs::read_to_string(&page).expect("the summary was written");
    assert!(html.contains("<html"), "no page: {}", html.chars().take(200).collect::<String>());
    for foreign in ["<script", "src=\"http", "href=\"http", "@import", "url(http"] {
        assert!(!html.contains(foreign), "the summary is not self-contained: it has `{foreign}`");
    }
    assert!(html.contains("Harbour Bank"), "the summary does not say what it is about");
}

#[test]
fn a_kept_demo_verifies_and_its_tamper_try_is_caught() {
    let kept = kept();
    let out = kept.run.out();
    stages_are_there(&out);
    assert!(
        out.contains("kept ") && out.contains(&kept.data.display().to_string()),
        "the end does not say what was kept:\n{out}"
    );
    for dir in [&kept.data, &kept.vault()] {
        avouch(&kept.scratch, &["verify", &dir.display().to_string()])
            .ok()
            .says("nothing changed")
            .says("key not pinned");
    }
    let deep = [
        "verify",
        &kept.vault().display().to_string(),
        "--data-key",
        &kept.kek().display().to_string(),
        "--level",
        "events",
    ];
    avouch(&kept.scratch, &deep).ok().says("events re-hashed");
    let scratch = Scratch::new("try");
    // What it says to look at is there, though nothing runs any more.
    let mut looked = 0;
    for line in out.lines().skip_while(|l| !l.starts_with("look ")).take_while(|l| !l.starts_with("try ")) {
        let (_, command) = line.split_once('→').unwrap_or_else(|| panic!("no command in `{line}`"));
        shell(command.trim(), &scratch, scratch.path()).ok();
        looked += 1;
    }
    assert!(looked >= 4, "{looked} commands in\n{out}");
    tamper_try(&out, &scratch, scratch.path());
    // The original is untouched by the try.
    avouch(&kept.scratch, &["verify", &kept.data.display().to_string()]).ok();
}

/// Runs the two printed lines in `dir` and checks the verdict.
#[track_caller]
fn tamper_try(out: &str, scratch: &Scratch, dir: &Path) {
    let mut lines = out.lines().skip_while(|l| !l.starts_with("try "));
    let first = lines
        .next()
        .and_then(|l| l.strip_prefix("try"))
        .unwrap_or_else(|| panic!("no `try` line in\n{out}"))
        .trim();
    let second = lines.next().unwrap_or_default().trim();
    let (second, promise) = second.split_once('→').unwrap_or_else(|| panic!("no promise after `{second}`"));
    assert!(promise.contains("exit 4"), "it promises something else: {promise}");
    shell(first, scratch, dir).ok();
    let file = first.split("of=try-it/").nth(1).and_then(|r| r.split(' ').next()).unwrap_or_default();
    let offset: u64 = first
        .split("seek=")
        .nth(1)
        .and_then(|r| r.split(' ').next())
        .and_then(|n| n.parse().ok())
        .unwrap_or_default();
    let said = shell(second.trim(), scratch, dir).exits(4).says(file).says("DAMAGED");
    assert!(
        said.out().contains("seq") || said.out().contains("events"),
        "it does not name the events: {said}"
    );
    let json = shell(&format!("{} -o json", second.trim()), scratch, dir).exits(4);
    let faults = json.items();
    let fits = faults.iter().any(|f| {
        let range = f["bytes"].as_array().and_then(|b| Some((b.first()?.as_u64()?, b.get(1)?.as_u64()?)));
        text(f, "/file") == file
            && f["seq"].is_array()
            && range.is_some_and(|(a, b)| a <= offset && offset < b && b - a <= 64 << 10)
    });
    assert!(fits, "no fault names {file} around byte {offset} with its events: {faults:?}");
}

#[track_caller]
fn shell(line: &str, scratch: &Scratch, dir: &Path) -> Run {
    let mut c = Command::new("sh");
    isolate(&mut c, scratch);
    c.args(["-c", line]).current_dir(dir);
    run(c)
}

struct Background {
    child: Child,
    out: PathBuf,
}

impl Background {
    fn text(&self) -> String {
        std::fs::read_to_string(&self.out).unwrap_or_default()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_printed_command_works_while_it_runs() {
    let scratch = Scratch::new("demo");
    let out = scratch.join("demo.out");
    let file = std::fs::File::create(&out).expect("a file for its lines");
    let mut c = command(&scratch);
    let child = c
        .arg("demo")
        .current_dir(scratch.path())
        .stdout(file)
        .stderr(Stdio::null())
        .spawn()
        .expect("the demo starts");
    let mut demo = Background { child, out };
    let ended = |d: &mut Background| d.child.try_wait().expect("a child can be asked").is_some();
    wait_until("the demo has printed its `stop` line", ROUND, || {
        assert!(!ended(&mut demo), "the demo ended:\n{}", demo.text());
        demo.text().lines().any(|l| l.starts_with("stop "))
    });
    let said = demo.text();
    stages_are_there(&said);
    let home = Scratch::new("second-terminal");
    let elsewhere = home.path();

    let commands: Vec<&str> = said
        .lines()
        .filter(|l| !l.contains("verify try-it"))
        .filter_map(|l| l.split_once("→"))
        .map(|(_, c)| c.trim())
        .collect();
    for wanted in ["findings list", "event show", "controls list", "alerts list"] {
        assert!(
            commands.iter().any(|c| c.contains(wanted)),
            "no `{wanted}` among the printed commands: {commands:?}"
        );
    }
    for line in &commands {
        let done = shell(line, &scratch, elsewhere);
        assert!(
            done.code == 0 && !done.bytes.is_empty(),
            "a printed command does not work as printed: {done}"
        );
    }
    // A newcomer reads six lines first.
    let show = commands.iter().find(|c| c.contains("event show")).expect("it was there");
    let event = shell(show, &scratch, elsewhere).out();
    let labels: Vec<&str> =
        event.lines().take(6).map(|l| l.split("  ").next().unwrap_or_default().trim()).collect();
    assert_eq!(labels, ["who", "what", "when", "where from", "details", "result"], "{event}");
    tamper_try(&said, &scratch, elsewhere);

    // The link is not used up by visits.
    let link = said
        .split_whitespace()
        .find(|w| w.contains("/first/"))
        .unwrap_or_else(|| panic!("no link in\n{said}"));
    let (host, path) = link.trim_start_matches("http://").split_once('/').expect("an address and a path");
    for _ in 0..2 {
        http::get(host, &format!("/{path}"), &[]).expect("the page answers").is(200);
        let origin = format!("http://{host}");
        let headers = [("origin", origin.as_str()), ("content-type", "application/x-www-form-urlencoded")];
        let entered = http::request(host, "POST", &format!("/{path}"), &headers, b"")
            .expect("the page answers")
            .is(303);
        assert!(entered.header("set-cookie").is_some(), "no session was given");
    }

    let data =
        said.split("everything in ").nth(1).and_then(|r| r.split(',').next()).expect("a folder").to_owned();
    assert!(Path::new(&data).is_dir(), "{data} is not there while the demo runs");
    signal(demo.child.id(), "INT");
    let status = wait_for("the demo ends after Ctrl-C", ROUND, || {
        demo.child.try_wait().expect("a child can be asked")
    });
    let said = demo.text();
    let end = said.lines().last().unwrap_or_default();
    assert!(
        end.starts_with("stopped")
            && end.contains("everything drained")
            && end.contains(&format!("removed {data}")),
        "{end}"
    );
    assert_eq!(status.code(), Some(0), "Ctrl-C is a clean end:\n{said}");
    assert!(!Path::new(&data).exists(), "{data} is still there");
    // The mark for second terminals is gone as well: the next command does not find a dead demo.
    let after = avouch(&scratch, &["status", "--data-dir", &scratch.join("none").display().to_string()]);
    assert_ne!(after.code, 0, "there is nothing to tell the status of: {after}");
    let marks = std::fs::read_dir(scratch.join("run/avouch")).into_iter().flatten().count();
    assert_eq!(marks, 0, "the demo left its mark behind");
}
