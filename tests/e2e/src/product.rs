//! The binary under test: one command, or the daemon.

use crate::http::{self, Response};
use crate::{PATIENCE, Scratch, bin, text, wait_for};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A command that runs longer than this hangs.
const COMMAND_MAX: Duration = Duration::from_secs(300);

/// How a command ended and what it said.
#[derive(Debug)]
pub struct Run {
    /// The command line, for messages.
    pub shown: String,
    /// Exit code; -1 when a signal ended it.
    pub code: i32,
    pub bytes: Vec<u8>,
    pub err: String,
}

impl Run {
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
    /// Fails unless the exit code is `code`.
    #[track_caller]
    pub fn exits(self, code: i32) -> Run {
        assert_eq!(self.code, code, "{self}");
        self
    }
    #[track_caller]
    pub fn ok(self) -> Run {
        self.exits(0)
    }
    /// Fails unless both channels together contain `words`.
    #[track_caller]
    pub fn says(self, words: &str) -> Run {
        let all = format!("{}\n{}", self.out(), self.err);
        assert!(all.contains(words), "it does not say `{words}`: {self}");
        self
    }
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|e| panic!("no JSON ({e}): {self}"))
    }
    /// `items` of an answer in JSON.
    #[track_caller]
    pub fn items(&self) -> Vec<Value> {
        self.json()["items"].as_array().unwrap_or_else(|| panic!("no items: {self}")).clone()
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let cut = |s: &str| s.chars().take(4_000).collect::<String>();
        write!(
            f,
            "`{}` ended with {}\n--- out\n{}\n--- err\n{}",
            self.shown,
            self.code,
            cut(&self.out()),
            cut(&self.err)
        )
    }
}

/// The binary with a home of its own: no daemon, demo or setting of the machine is seen.
pub fn command(scratch: &Scratch) -> Command {
    let mut c = Command::new(bin());
    isolate(&mut c, scratch);
    c
}

/// Gives any command the scratch folder's environment.
pub fn isolate(c: &mut Command, scratch: &Scratch) {
    for (name, _) in std::env::vars_os().filter(|(n, _)| n.to_string_lossy().starts_with("AVOUCH")) {
        c.env_remove(name);
    }
    c.env("HOME", scratch.join("home"))
        .env("XDG_RUNTIME_DIR", scratch.join("run"))
        .env("XDG_DATA_HOME", scratch.join("share"))
        .env("NO_COLOR", "1")
        .env("TZ", "UTC")
        .stdin(Stdio::null());
}

/// Runs a command to its end.
#[track_caller]
pub fn run(mut c: Command) -> Run {
    let shown = format!("{c:?}").replace('"', "");
    let mut child = c
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("cannot run {shown}: {e}"));
    let mut out = child.stdout.take().expect("piped");
    let mut err = child.stderr.take().expect("piped");
    let reader = std::thread::spawn(move || {
        let mut b = Vec::new();
        let _ = out.read_to_end(&mut b);
        b
    });
    let talk = std::thread::spawn(move || {
        let mut b = Vec::new();
        let _ = err.read_to_end(&mut b);
        String::from_utf8_lossy(&b).into_owned()
    });
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child can be asked") {
            break status;
        }
        if started.elapsed() > COMMAND_MAX {
            let _ = child.kill();
            panic!("`{shown}` still runs after {} s", COMMAND_MAX.as_secs());
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let bytes = reader.join().expect("the reader ends");
    let err = talk.join().expect("the reader ends");
    Run { shown, code: status.code().unwrap_or(-1), bytes, err }
}

/// Runs the binary in the scratch folder.
#[track_caller]
pub fn avouch(scratch: &Scratch, args: &[&str]) -> Run {
    avouch_in(scratch, scratch.path(), args)
}

/// Runs the binary in a folder.
#[track_caller]
pub fn avouch_in(scratch: &Scratch, dir: &Path, args: &[&str]) -> Run {
    let mut c = command(scratch);
    c.args(args).current_dir(dir);
    run(c)
}

/// A running daemon; killed when dropped.
pub struct Serve<'a> {
    pub scratch: &'a Scratch,
    pub data: PathBuf,
    pub log: PathBuf,
    /// Address of the pages, `127.0.0.1:PORT`.
    pub page: String,
    addresses: BTreeMap<String, Vec<String>>,
    child: Child,
}

impl<'a> Serve<'a> {
    /// Writes the configuration into the data folder and starts; ready when this returns.
    #[track_caller]
    pub fn start(scratch: &'a Scratch, yaml: &str) -> Serve<'a> {
        scratch.write("data/avouch.yaml", yaml);
        Serve::again(scratch)
    }

    /// Starts on the data folder as it is.
    #[track_caller]
    pub fn again(scratch: &'a Scratch) -> Serve<'a> {
        Serve::through(scratch, command(scratch))
    }

    /// Starts by a command that ends in running the binary (strace, a shell with limits).
    #[track_caller]
    pub fn through(scratch: &'a Scratch, c: Command) -> Serve<'a> {
        let mut started = Serve::spawn(scratch, c);
        started.await_ready();
        started
    }

    /// Starts without waiting.
    #[track_caller]
    pub fn spawn(scratch: &'a Scratch, mut c: Command) -> Serve<'a> {
        let data = scratch.data();
        let log = scratch.join("serve.log");
        let file = std::fs::File::create(&log).expect("a log can be made");
        let child = c
            .args(["serve", "--data-dir"])
            .arg(&data)
            .current_dir(scratch.path())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .expect("the daemon can be started");
        Serve { scratch, data, log, page: String::new(), addresses: BTreeMap::new(), child }
    }

    pub fn log_text(&self) -> String {
        std::fs::read(&self.log).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
    }

    #[track_caller]
    pub fn await_ready(&mut self) {
        let log = self.log.clone();
        let child = &mut self.child;
        let outcome = wait_for("the daemon says ready", PATIENCE, || {
            let said =
                std::fs::read(&log).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default();
            if said.lines().any(|l| l == "ready") {
                return Some(Ok(()));
            }
            child.try_wait().expect("a child can be asked").map(|status| Err((status, said)))
        });
        if let Err((status, said)) = outcome {
            panic!("the daemon ended with {status} instead of getting ready:\n{said}");
        }
        let status = self.run(&["status", "-o", "json"]).ok().items();
        let status = status.first().unwrap_or_else(|| panic!("status says nothing"));
        assert_eq!(status["daemon"], true, "status does not see the daemon: {status}");
        text(status, "/page").trim_start_matches("http://").clone_into(&mut self.page);
        for source in status["sources"].as_array().into_iter().flatten() {
            let all = source["addresses"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect();
            self.addresses.insert(text(source, "/name").to_owned(), all);
        }
    }

    /// Where a source listens, without its scheme.
    #[track_caller]
    pub fn address(&self, source: &str, scheme: &str) -> String {
        let prefix = format!("{scheme}://");
        let found = self.addresses.get(source).into_iter().flatten().find_map(|a| a.strip_prefix(&prefix));
        found
            .unwrap_or_else(|| panic!("source {source} does not listen on {prefix}: {:?}", self.addresses))
            .to_owned()
    }

    /// A command about this daemon's data folder.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Run {
        let data = self.data.display().to_string();
        avouch(self.scratch, &[args, &["--data-dir", &data]].concat())
    }

    /// Rows of an SQL question.
    #[track_caller]
    pub fn sql(&self, query: &str) -> Vec<Value> {
        self.run(&["sql", query, "--limit", "10000000", "-o", "json"]).ok().items()
    }

    /// The one number that an SQL question asks for.
    #[track_caller]
    pub fn count(&self, query: &str) -> u64 {
        let rows = self.sql(query);
        let first = rows.first().and_then(Value::as_object).and_then(|r| r.values().next());
        first.and_then(Value::as_u64).unwrap_or_else(|| panic!("`{query}` gives no number: {rows:?}"))
    }

    /// Number of events in a dataset; 0 while there is none.
    #[track_caller]
    pub fn events(&self, dataset: &str) -> u64 {
        self.count(&format!("select count(*) from events where av_dataset = '{dataset}'"))
    }

    /// Makes an intake key.
    #[track_caller]
    pub fn key(&self, id: &str, source: &str) -> String {
        let items = self.run(&["admin", "key", "create", id, "--source", source, "-o", "json"]).ok().items();
        text(&items[0], "/key").to_owned()
    }

    /// Posts to a source.
    #[track_caller]
    pub fn post(&self, source: &str, key: &str, kind: &str, body: impl AsRef<[u8]>) -> Response {
        let address = self.address(source, "http");
        let headers = [("x-api-key", key), ("content-type", kind)];
        http::request(&address, "POST", &format!("/v1/ingest/{source}"), &headers, body.as_ref())
            .expect("the intake answers")
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// SIGKILL, as a crash or a power cut of the process.
    pub fn kill9(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM and wait for the end.
    #[track_caller]
    pub fn terminate(mut self) -> i32 {
        signal(self.child.id(), "TERM");
        let status = self.wait_end();
        status.code().unwrap_or(-1)
    }

    #[track_caller]
    pub fn wait_end(&mut self) -> ExitStatus {
        let child = &mut self.child;
        wait_for("the daemon ends", PATIENCE, || child.try_wait().expect("a child can be asked"))
    }
}

impl Drop for Serve<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log_text();
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            eprintln!("--- the daemon's last lines");
            tail.iter().rev().for_each(|l| eprintln!("{l}"));
        }
    }
}

/// Sends a signal by name to a process that this test started.
pub fn signal(process: u32, name: &str) {
    let _ = Command::new("kill").arg(format!("-{name}")).arg(process.to_string()).status();
}
