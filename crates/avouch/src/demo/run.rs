//! Running the demo, stage by stage. A line is printed only for a stage that did something; every command in it works as it stands.

use super::estate::{self, Estate};
use crate::cli::{self, Global};
use crate::client::{self, DemoMark};
use crate::config;
use crate::daemon::pipeline::{Pipeline, StoredKey};
use crate::daemon::{alerting, drills, pages, signin, watch};
use crate::node::{Node, now, vault_problem};
use crate::problem::Problem;
use model::Time;
use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};

/// Normal API calls of the made-up day; firewall lines are as many, syslog lines half.
const SCALE: usize = 6_000;
/// Longest wait for the pipeline to settle; far above what two cores need.
const SETTLE: Duration = Duration::from_secs(120);

/// The demo's own listeners are on this machine: what is in the way is here too.
const LISTENER_HINT: &str = "run it again with `-v`, which logs what the listener says; a firewall on the loopback interface is the usual cause";

pub struct Demo {
    pub data: PathBuf,
    pub node: Arc<Node>,
    pub pipeline: Arc<Pipeline>,
    pub stages: Vec<(String, String, bool)>,
    mark: PathBuf,
}

const CONFIG: &str = r#"
server: { listen: 127.0.0.1:8440 }
sources:
  edge-syslog:
    syslog: { listen: [ "tcp://127.0.0.1:0", "udp://127.0.0.1:0" ] }
    dataset: syslog
  firewall-api:
    https: { listen: "127.0.0.1:0", paths: [ /logs ] }
    dataset: app.firewall
  cloudtrail-files:
    cloudtrail_files: { path: TRAIL, poll: 1s }
    dataset: aws.cloudtrail
  branch-office:
    syslog: { listen: [ "udp://127.0.0.1:0" ] }
    dataset: syslog
    silence: { max_gap: 20s }
sinks:
  siem-main:
    file: { path: SINK, original: true }
    datasets: [ syslog, app.firewall, aws.cloudtrail ]
alerts:
  channels:
    on-call: { file: { path: alerts.ndjson } }
  routes:
    oncall: { match: { severity: high }, to: [ on-call ] }
datasets:
  "*": { retention: { max_age: 7d } }
access: { estate: RESOURCES, poll: 2s }
controls:
  packs: [ log-proxy, health-register, audit-trail, account-audit, api-monitoring, self ]
  drills: true
"#;

impl Demo {
    /// A fresh data folder, everything started on free ports.
    ///
    /// # Errors
    /// Disk, ports, keys.
    pub async fn start(global: &Global) -> Result<Demo, Problem> {
        let data = match &global.data_dir {
            Some(d) => d.clone(),
            None => client::data_home().join("avouch").join(format!("demo-{}", short()?)),
        };
        if data.join("vault").exists() {
            return Err(Problem::new(
                "demo.not_empty",
                format!("`{}` holds a vault already", data.display()),
            )
            .hint(format!(
                "open it with `{} serve --data-dir {}`, or name an empty folder",
                cli::program(),
                data.display()
            )));
        }
        let folders = [data.clone(), data.join("trail"), data.join("siem")];
        for f in &folders {
            std::fs::create_dir_all(f).map_err(|e| unwritable(f, &e))?;
        }
        let resources = data.join("estate-resources");
        super::access::write(&resources).map_err(|e| unwritable(&resources, &e))?;
        let text = CONFIG
            .replace("RESOURCES", &resources.display().to_string())
            .replace("TRAIL", &data.join("trail").display().to_string())
            .replace("SINK", &data.join("siem/received.ndjson").display().to_string());
        let path = data.join("avouch.yaml");
        std::fs::write(&path, &text).map_err(|e| unwritable(&path, &e))?;
        let loaded = config::load(Some(&path), &[]).map_err(crate::cmd::config::refused)?;
        let node = Arc::new(Node::open(&data, loaded, false).await?);
        let pipeline = Pipeline::start(&node).await?;
        pages::serve(&node, &pipeline, node.config.server.listen, true).await?;
        let mark = client::marks_dir().join(format!("demo-{}.json", std::process::id()));
        write_mark(&mark, &data);
        Ok(Demo { data, node, pipeline, stages: Vec::new(), mark })
    }

    pub(super) fn stage(&mut self, name: &str, text: String, good: bool) {
        say(&format!("{name:<9} {text}"));
        self.stages.push((name.to_owned(), text, good));
    }

    /// Walks the estate through everything once.
    ///
    /// # Errors
    /// A stage that could not run at all.
    pub async fn round(&mut self) -> Result<(), Problem> {
        let estate = estate::make(2_026, now(), SCALE);
        self.collect(&estate).await?;
        self.settle(&estate).await?;
        self.seal().await?;
        self.forwarded();
        self.detected();
        self.reached().await?;
        self.told().await?;
        self.prove().await
    }

    async fn collect(&mut self, estate: &Estate) -> Result<(), Problem> {
        for (name, bytes) in &estate.cloudtrail_files {
            let path = self.data.join("trail").join(name);
            if let Some(dir) = path.parent() {
                std::fs::create_dir_all(dir).map_err(|e| unwritable(dir, &e))?;
            }
            std::fs::write(&path, bytes).map_err(|e| unwritable(&path, &e))?;
        }
        // One delivery that was cut on its way, as happens: its readable part is kept, the rest is a dead letter.
        if let Some((name, bytes)) = estate.cloudtrail_files.first() {
            let cut = bytes.get(..bytes.len() / 2).unwrap_or_default();
            let path = self.data.join("trail").join(name.replace(".json.gz", "-again.json.gz"));
            let _ = std::fs::write(path, cut);
        }
        self.send_syslog(&estate.syslog).await?;
        self.post_firewall(&estate.firewall).await?;
        Ok(())
    }

    async fn send_syslog(&self, lines: &[String]) -> Result<(), Problem> {
        let broke = |e: std::io::Error| {
            Problem::new("demo.syslog", "the demo's syslog listener did not take its lines")
                .because(&e)
                .hint(LISTENER_HINT)
        };
        let Some(address) = self.pipeline.address("edge-syslog", "tcp://") else { return Ok(()) };
        let mut stream =
            tokio::net::TcpStream::connect(address.trim_start_matches("tcp://")).await.map_err(broke)?;
        let mut bytes = Vec::new();
        for line in lines {
            bytes.extend_from_slice(format!("{} {line}", line.len()).as_bytes());
        }
        stream.write_all(&bytes).await.map_err(broke)?;
        stream.shutdown().await.map_err(broke)
    }

    async fn post_firewall(&self, events: &[String]) -> Result<(), Problem> {
        let secret = format!("avouch_{}", signin::token()?);
        let stored = StoredKey {
            id: "edge-fw-1".to_owned(),
            sha256: model::sha256_hex(secret.as_bytes()),
            source: "firewall-api".to_owned(),
            from: vec!["127.0.0.0/8".to_owned()],
            rate: None,
            expires: Time::NONE,
            created: now(),
            created_by: "demo".to_owned(),
            revoked: None,
        };
        self.node.state.put_json("key", &stored.id, &stored).await?;
        self.pipeline.keys.reload(&self.node).await?;
        let Some(address) = self.pipeline.address("firewall-api", "http://") else { return Ok(()) };
        let host = address.trim_start_matches("http://").to_owned();
        let broke = |e: std::io::Error| {
            Problem::new("demo.http", "the demo's HTTP intake did not take its events")
                .because(&e)
                .hint(LISTENER_HINT)
        };
        for chunk in events.chunks(500) {
            let body = chunk.join("\n");
            let head = format!(
                "POST /logs HTTP/1.1\r\nhost: {host}\r\nx-api-key: {secret}\r\ncontent-type: application/x-ndjson\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let mut stream = tokio::net::TcpStream::connect(&host).await.map_err(broke)?;
            stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await.map_err(broke)?;
            let mut answer = String::new();
            tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await.map_err(broke)?;
            if !answer.starts_with("HTTP/1.1 200") {
                return Err(Problem::new(
                    "demo.http",
                    format!("the HTTP intake answered `{}`", answer.lines().next().unwrap_or_default()),
                )
                .hint(LISTENER_HINT));
            }
        }
        Ok(())
    }

    /// Waits until everything of the estate is read, and every reader has caught up with it.
    async fn settle(&mut self, estate: &Estate) -> Result<(), Problem> {
        let deadline = tokio::time::Instant::now() + SETTLE;
        let wanted = [
            ("edge-syslog", estate.syslog.len()),
            ("firewall-api", estate.firewall.len()),
            ("cloudtrail-files", estate.records),
        ];
        let read = |p: &Pipeline| -> BTreeMap<String, u64> {
            p.sources().into_iter().map(|s| (s.name, s.counters.events)).collect()
        };
        loop {
            let now_read = read(&self.pipeline);
            let behind: Vec<String> = wanted
                .iter()
                .filter(|(name, n)| now_read.get(*name).copied().unwrap_or(0) < *n as u64)
                .map(|(name, n)| format!("{name}: {} of {n}", now_read.get(*name).copied().unwrap_or(0)))
                .collect();
            // The cut delivery is looked at last; until it is a dead letter the folder is not read to its end.
            let cut = self.pipeline.sources().iter().any(|s| s.counters.dead_letters > 0);
            if behind.is_empty() && cut && watch::settled(&self.node) && self.pipeline.sinks.settled() {
                break;
            }
            if tokio::time::Instant::now() > deadline {
                let what =
                    if behind.is_empty() { "some readers are behind".to_owned() } else { behind.join(", ") };
                return Err(Problem::new(
                    "demo.slow",
                    format!("the demo's pipeline did not settle in two minutes: {what}"),
                )
                .hint("try again on a machine that is less busy"));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let events: u64 = read(&self.pipeline).values().sum();
        let sources = self.pipeline.sources();
        let dead: u64 = sources.iter().map(|s| s.counters.dead_letters).sum();
        let kinds = "syslog, https, CloudTrail files";
        let letters = if dead > 0 {
            format!(" · {dead} could not be decoded → {} redrive list", cli::program())
        } else {
            String::new()
        };
        self.stage("collect", format!("{kinds}     {} events{letters}", thousands(events)), dead == 0);
        Ok(())
    }

    async fn seal(&mut self) -> Result<(), Problem> {
        self.node.vault()?.seal_now().await.map_err(|e| vault_problem(&e))?;
        let report = crate::cmd::verify::whole(&self.node, vault::verify::Level::Events).await?;
        let good = report.faults.is_empty();
        let said = if good {
            "checked from the files alone, nothing changed"
        } else {
            "checked from the files alone: DAMAGED"
        };
        self.stage("vault", format!("{} segments sealed, {said}", report.checked.segments), good);
        Ok(())
    }

    fn forwarded(&mut self) {
        for s in self.pipeline.sinks.states() {
            let waiting = if s.waiting == 0 {
                "nothing waiting".to_owned()
            } else {
                format!("{} waiting to be sent", s.waiting)
            };
            self.stage(
                "forward",
                format!("{}: {} delivered, {waiting}", s.name, thousands(s.done)),
                s.dead == 0,
            );
        }
    }

    fn detected(&mut self) {
        let state = self.node.hub.state();
        let found =
            state.entries().filter(|e| e.finding().source == model::FindingSource::Detect && !e.is_drill());
        let bands: Vec<&str> = found.map(|e| e.severity().band()).collect();
        let of = |band: &str| bands.iter().filter(|b| **b == band).count();
        let (all, critical, high) = (bands.len(), of("critical"), of("high"));
        self.stage("detect", format!("{all} findings, {critical} critical, {high} high"), all > 0);
    }

    async fn told(&mut self) -> Result<(), Problem> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        let delivered = loop {
            let parcels = alerting::parcels(&self.node.state).await?;
            let n = parcels.iter().filter(|p| p.state == model::DeliveryState::Delivered).count();
            if n > 0 || tokio::time::Instant::now() > deadline {
                break n;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        if delivered > 0 {
            self.stage(
                "alert",
                format!("{delivered} delivered to channel on-call → {} alerts list", cli::program()),
                true,
            );
        }
        Ok(())
    }

    async fn prove(&mut self) -> Result<(), Problem> {
        let mut passed = Vec::new();
        for id in ["m02.firewall-logs-reach-siem", "self.canary-returns", "self.tampering-is-seen"] {
            if self.node.book.register.get(id).is_none() {
                continue;
            }
            for proof in drills::exercise(&self.node, id, "person", "demo").await? {
                if proof.outcome == model::ProofOutcome::Passed {
                    passed.push(id);
                }
            }
        }
        let failing = crate::daemon::register::with_rows(&self.node, |rows, _| {
            rows.iter().filter(|r| r.state == model::ControlState::Failed).count()
        });
        self.stage(
            "prove",
            format!(
                "{} controls tested and working · {failing} that are claimed and do not hold",
                passed.len()
            ),
            !passed.is_empty(),
        );
        Ok(())
    }

    pub async fn stop(self, keep: bool) {
        let Demo { data, node, pipeline, mark, .. } = self;
        crate::cmd::serve::drain(&node, &pipeline).await;
        let _ = std::fs::remove_file(mark);
        let _ = std::fs::remove_file(client::socket_path(&data));
        let size = crate::ops::vault::size(folder_bytes(&data));
        if keep {
            say(&format!("stopped   everything drained · kept {} ({size})", data.display()));
            say(&format!("          open it again: {} serve --data-dir {}", cli::program(), data.display()));
            return;
        }
        match std::fs::remove_dir_all(&data) {
            Ok(()) => say(&format!("stopped   everything drained · removed {} ({size})", data.display())),
            Err(e) => say(&format!(
                "stopped   everything drained · {} ({size}) could not be removed: {e}",
                data.display()
            )),
        }
    }
}

/// Waits for Ctrl-C or SIGTERM; Enter on a terminal prints a new link and ends the old.
pub async fn wait(demo: &Demo) -> Result<(), Problem> {
    let mut terminate = crate::cmd::serve::on(tokio::signal::unix::SignalKind::terminate())?;
    let mut lines = tokio::io::BufReader::new(tokio::io::stdin()).lines();
    let mut listening = std::io::stdin().is_terminal();
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            line = lines.next_line(), if listening => match line {
                Ok(Some(_)) => if let Some(page) = demo.pipeline.page.get() {
                    say(&format!("open      http://{page}/first/{}      the link before it is over", demo.node.signin.link(true)?));
                },
                _ => listening = false,
            },
        }
    }
}

fn unwritable(path: &Path, e: &std::io::Error) -> Problem {
    Problem::new("demo.unwritable", format!("cannot write `{}`", path.display()))
        .because(e)
        .hint("name a folder that has room and that you may write: --data-dir DIR")
}

fn write_mark(path: &Path, data: &Path) {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mark = DemoMark {
        process: std::process::id(),
        data: data.to_path_buf(),
        socket: client::socket_path(data),
        started: now(),
    };
    let Ok(text) = serde_json::to_vec(&mark) else { return };
    if let Some(dir) = path.parent() {
        let _ = std::fs::create_dir_all(dir);
    }
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut f| f.write_all(&text));
    if let Err(e) = written {
        tracing::warn!(error = %e, "a second terminal will not find this demo by itself; give it --data-dir");
    }
}

fn short() -> Result<String, Problem> {
    Ok(model::sha256_hex(signin::token()?.as_bytes()).chars().take(4).collect())
}

/// With plain blanks: a terminal's selection keeps them.
fn thousands(n: u64) -> String {
    report::group_digits(n).replace('\u{a0}', " ")
}

pub fn folder_bytes(dir: &Path) -> u64 {
    let mut sum = 0;
    let mut open = vec![dir.to_path_buf()];
    while let Some(d) = open.pop() {
        for e in std::fs::read_dir(&d).into_iter().flatten().flatten() {
            match e.metadata() {
                Ok(m) if m.is_dir() => open.push(e.path()),
                Ok(m) => sum += m.len(),
                Err(_) => {}
            }
        }
    }
    sum
}

/// The demo talks on standard output: its lines are its answer.
pub fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}
