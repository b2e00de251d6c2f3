//! `intake`: the shipped `avouch serve` taking syslog over TCP into the vault, against rsyslogd taking the same lines from the same
//! generator into a file.
//!
//! Ours counts when every line is durable in the vault (`avouch_source_events_total` counts nothing else), rsyslogd when every line
//! is in its file. A line that is missing on our side ends the run; a round in which rsyslogd lost lines is void and told.
//!
//! rsyslogd in three settings: its defaults, which never sync; a disk queue with synced files, the setting in which what it took
//! survives a power cut; and a memory queue before a file that is synced after every transaction, which is nearer to how people run
//! it and loses what is in the queue.

use crate::generate::{Random, syslog};
use crate::peer::{Rsyslogd, wait_for};
use crate::report::{Report, Round, Row, Unit};
use crate::rounds::{peak_mb, process_cpu};
use crate::{Ctx, say};
use anyhow::{Context as _, Result};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const CONNECTIONS: usize = 4;

/// How long one contender may take for its lines.
const PATIENCE_SECONDS: u64 = 240;

/// Lines as each connection sends them.
struct Load {
    parts: Vec<Vec<u8>>,
    lines: u64,
    bytes: u64,
}

#[derive(Clone, Copy)]
struct Took {
    rate: f64,
    cpu_per_million: f64,
    peak_mb: u64,
}

struct Setting {
    case: &'static str,
    peer: &'static str,
    key: &'static str,
    queue: &'static str,
    file: &'static str,
    bar: f64,
    aim: Option<f64>,
    /// Lines of quick and full runs: a synced queue takes hundreds a second.
    lines: (usize, usize),
}

const SETTINGS: [Setting; 3] = [
    Setting {
        case: "syslog over TCP, to its file unsynced",
        peer: "defaults: imptcp, omfile",
        key: "defaults",
        queue: "",
        file: "",
        bar: 1.0,
        aim: None,
        lines: (100_000, 1_000_000),
    },
    Setting {
        case: "syslog over TCP, durable queue",
        peer: "disk queue, files synced",
        key: "disk-queue",
        queue: "main_queue(queue.type=\"disk\" queue.filename=\"main\" queue.syncqueuefiles=\"on\" queue.checkpointinterval=\"1\" queue.maxdiskspace=\"2g\")",
        file: "",
        bar: 2.0,
        aim: Some(3.0),
        lines: (300, 10_000),
    },
    Setting {
        case: "syslog over TCP, synced file",
        peer: "memory queue, omfile sync=on",
        key: "sync-file",
        queue: "",
        file: " sync=\"on\"",
        bar: 2.0,
        aim: None,
        lines: (5_000, 100_000),
    },
];

pub fn run(ctx: &Ctx, report: &mut Report) -> Result<()> {
    let there = Rsyslogd::find(ctx, report, "intake");
    let load = load(ctx.pick(100_000, 1_000_000));
    let mean = load.bytes / load.lines;
    say(format!("{} lines of {mean} bytes in {CONNECTIONS} connections", load.lines));
    let loads: Vec<Load> = SETTINGS.iter().map(|s| self::load(ctx.pick(s.lines.0, s.lines.1))).collect();
    let mut all: Vec<Vec<(Took, Took)>> = SETTINGS.iter().map(|_| Vec::new()).collect();
    let (mut lost, mut version) = (vec![0; SETTINGS.len()], String::new());
    for i in 0..ctx.pick(2, 5) {
        let mut mine = None;
        if i % 2 == 0 {
            mine = Some(ours(ctx, &load, i)?);
        }
        let mut theirs = Vec::new();
        for (k, setting) in SETTINGS.iter().enumerate().filter(|_| there) {
            let (took, missing, v) = rsyslog(ctx, setting, &loads[k], i)?;
            version = v;
            match missing {
                0 => theirs.push((k, took)),
                n => lost[k] += n,
            }
        }
        let mine = match mine {
            Some(m) => m,
            None => ours(ctx, &load, i)?,
        };
        say(format!("round {i}: ours {:.0} lines/s, {:.1} CPU-s a million", mine.rate, mine.cpu_per_million));
        for (k, t) in theirs {
            say(format!(
                "    {} {:.0} lines/s, {:.1} CPU-s a million",
                SETTINGS[k].peer, t.rate, t.cpu_per_million
            ));
            all[k].push((mine, t));
        }
    }
    for ((setting, took), lost) in SETTINGS.iter().zip(all).zip(lost) {
        if took.is_empty() {
            continue;
        }
        let rounds = took.iter().map(|(a, b)| Round { ours: a.rate, theirs: b.rate }).collect();
        let both = |f: fn(&Took) -> f64| {
            let s = |v: Vec<f64>| crate::report::Spread::of(v).median;
            (s(took.iter().map(|t| f(&t.0)).collect()), s(took.iter().map(|t| f(&t.1)).collect()))
        };
        let (cpu, memory) = (both(|t| t.cpu_per_million), both(|t| t.peak_mb as f64));
        let peer = format!("rsyslogd {version}, {}", setting.peer);
        let row = Row::new("intake", setting.case, peer, Unit::Events).bar(setting.bar);
        let row = if let Some(a) = setting.aim { row.aim(a) } else { row };
        let void = if lost == 0 {
            String::new()
        } else {
            format!("; rsyslogd lost {lost} lines in rounds that do not count")
        };
        let row = row
            .rounds(rounds)
            .checked(format!("{} lines of {mean} bytes on {CONNECTIONS} connections, every line durable in the vault, none lost{void}", load.lines))
            .more("CPU seconds a million lines", format!("ours {:.1}, rsyslogd {:.1}", cpu.0, cpu.1))
            .more("peak memory", format!("ours {:.0} MB, rsyslogd {:.0} MB", memory.0, memory.1));
        report.add(row);
    }
    Ok(())
}

fn load(lines: usize) -> Load {
    let mut r = Random::new(17);
    let share = lines / CONNECTIONS;
    let parts: Vec<Vec<u8>> = (0..CONNECTIONS).map(|c| syslog(&mut r, c * share, share)).collect();
    let bytes = parts.iter().map(Vec::len).sum::<usize>() as u64;
    Load { parts, lines: (share * CONNECTIONS) as u64, bytes }
}

/// Sends everything, one thread a connection, and returns when the kernel took it all. The connections stay open until dropped.
fn send(load: &Load, address: &str) -> Result<Vec<TcpStream>> {
    std::thread::scope(|s| {
        let senders: Vec<_> = load
            .parts
            .iter()
            .map(|part| {
                s.spawn(move || -> Result<TcpStream> {
                    let mut to = TcpStream::connect(address)?;
                    for chunk in part.chunks(64 << 10) {
                        to.write_all(chunk)?;
                    }
                    Ok(to)
                })
            })
            .collect();
        senders.into_iter().map(|t| t.join().map_err(|_| anyhow::anyhow!("a sender ended early"))?).collect()
    })
}

/// The daemon in a folder of its own; killed when dropped.
struct Serve {
    child: Child,
    dir: PathBuf,
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn avouch(ctx: &Ctx, dir: &Path) -> Command {
    let mut c = Command::new(&ctx.avouch);
    for (name, _) in std::env::vars_os().filter(|(n, _)| n.to_string_lossy().starts_with("AVOUCH")) {
        c.env_remove(name);
    }
    c.env("HOME", dir.join("home"))
        .env("XDG_RUNTIME_DIR", dir.join("run"))
        .env("XDG_DATA_HOME", dir.join("share"))
        .env("NO_COLOR", "1")
        .current_dir(dir)
        .stdin(Stdio::null());
    c
}

impl Serve {
    fn start(ctx: &Ctx, dir: PathBuf) -> Result<Serve> {
        std::fs::create_dir_all(dir.join("data"))?;
        std::fs::write(
            dir.join("data/avouch.yaml"),
            "server: { listen: \"127.0.0.1:0\" }\nsources:\n  lines: { syslog: { listen: [ \"tcp://127.0.0.1:0\" ] }, dataset: syslog }\n",
        )?;
        let log = dir.join("serve.log");
        let child = avouch(ctx, &dir)
            .args(["serve", "--data-dir", "data"])
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log)?)
            .spawn()
            .context("avouch serve does not start")?;
        let mut serve = Serve { child, dir };
        wait_for("avouch serve says ready", 60, || {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            anyhow::ensure!(serve.child.try_wait()?.is_none(), "avouch serve ended: {said}");
            Ok(said.lines().any(|l| l == "ready"))
        })?;
        Ok(serve)
    }

    fn json(&self, ctx: &Ctx, args: &[&str]) -> Result<serde_json::Value> {
        let out = avouch(ctx, &self.dir).args(args).args(["-o", "json", "--data-dir", "data"]).output()?;
        serde_json::from_slice(&out.stdout)
            .with_context(|| format!("avouch {args:?}: {}", String::from_utf8_lossy(&out.stderr)))
    }
}

fn ours(ctx: &Ctx, load: &Load, i: usize) -> Result<Took> {
    let dir = ctx.scratch.join(format!("serve-{i}"));
    let serve = Serve::start(ctx, dir.clone())?;
    let status = serve.json(ctx, &["status"])?;
    let status = &status["items"][0];
    let page = status["page"].as_str().context("no page")?.trim_start_matches("http://").to_owned();
    let address = status["sources"][0]["addresses"][0].as_str().context("no address")?;
    let address = address.trim_start_matches("tcp://").to_owned();
    let cpu = process_cpu(serve.child.id()).unwrap_or(0.0);
    let start = Instant::now();
    let open = send(load, &address)?;
    let mut durable = 0;
    wait_for("every line durable", PATIENCE_SECONDS, || {
        durable = metric(&page, "avouch_source_events_total{source=\"lines\"}")?;
        anyhow::ensure!(durable <= load.lines, "{durable} events of {} lines", load.lines);
        if durable < load.lines {
            std::thread::sleep(Duration::from_millis(18));
        }
        Ok(durable == load.lines)
    })?;
    let took = start.elapsed().as_secs_f64();
    let cpu = process_cpu(serve.child.id()).unwrap_or(0.0) - cpu;
    let peak = peak_mb(serve.child.id()).unwrap_or(0);
    drop(open);
    if i == 0 {
        // Once, what is stored is what was sent: count and bytes.
        let answer = serve.json(
            ctx,
            &[
                "sql",
                "select count(*) as n, sum(character_length(encode(raw, 'hex')) / 2) as bytes from syslog",
                "--limit",
                "10",
            ],
        )?;
        let row = &answer["items"][0];
        let sent = load.bytes - load.lines;
        anyhow::ensure!(
            row["n"] == load.lines && row["bytes"].as_f64() == Some(sent as f64),
            "stored {row}, sent {} lines with {sent} bytes",
            load.lines
        );
    }
    drop(serve);
    std::fs::remove_dir_all(dir)?;
    Ok(Took { rate: load.lines as f64 / took, cpu_per_million: cpu / load.lines as f64 * 1e6, peak_mb: peak })
}

/// One number of `/metrics`; 0 while it is not there yet.
fn metric(page: &str, name: &str) -> Result<u64> {
    let mut to = TcpStream::connect(page)?;
    write!(to, "GET /metrics HTTP/1.1\r\nhost: {page}\r\nconnection: close\r\n\r\n")?;
    let mut text = String::new();
    to.read_to_string(&mut text)?;
    anyhow::ensure!(text.starts_with("HTTP/1.1 200"), "metrics: {}", text.lines().next().unwrap_or_default());
    let line = text.lines().find_map(|l| l.strip_prefix(name));
    Ok(line.and_then(|l| l.trim().parse::<f64>().ok()).unwrap_or(0.0) as u64)
}

/// What it took, and how many lines are missing in its file.
fn rsyslog(ctx: &Ctx, s: &Setting, load: &Load, i: usize) -> Result<(Took, u64, String)> {
    let name = format!("rsyslog-{}-{i}", s.key);
    let dir = ctx.scratch.join(&name);
    let file = dir.join("out.log");
    // A port of ours that is free now: rsyslogd cannot say which one it was given.
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let config = format!(
        "{}\nmodule(load=\"imptcp\")\ninput(type=\"imptcp\" address=\"127.0.0.1\" port=\"{port}\")\naction(type=\"omfile\" file=\"{}\"{})\n",
        s.queue,
        file.display(),
        s.file
    );
    let daemon = Rsyslogd::start(ctx, &name, &config)?;
    let address = format!("127.0.0.1:{port}");
    wait_for("rsyslogd listens", 30, || Ok(TcpStream::connect(&address).is_ok()))?;
    let cpu = process_cpu(daemon.child.id()).unwrap_or(0.0);
    let start = Instant::now();
    let open = send(load, &address)?;
    let (mut count, mut grown) = (Lines::default(), Instant::now());
    wait_for("every line in rsyslogd's file", PATIENCE_SECONDS, || {
        if count.read(&file)? > 0 {
            grown = Instant::now();
        }
        if count.n < load.lines {
            std::thread::sleep(Duration::from_millis(18));
        }
        // Nothing more for ten seconds: the rest is lost.
        Ok(count.n >= load.lines || grown.elapsed() > Duration::from_secs(10))
    })?;
    let took = start.elapsed().as_secs_f64();
    let cpu = process_cpu(daemon.child.id()).unwrap_or(0.0) - cpu;
    let peak = peak_mb(daemon.child.id()).unwrap_or(0);
    drop(open);
    let version = daemon.version.clone();
    drop(daemon);
    std::fs::remove_dir_all(dir)?;
    let rate = load.lines as f64 / took;
    let took = Took { rate, cpu_per_million: cpu / load.lines as f64 * 1e6, peak_mb: peak };
    Ok((took, load.lines.saturating_sub(count.n), version))
}

/// Lines of a file that grows.
#[derive(Default)]
struct Lines {
    file: Option<std::fs::File>,
    buffer: Vec<u8>,
    n: u64,
}

impl Lines {
    /// Counts what is new; the number of new bytes.
    fn read(&mut self, path: &Path) -> Result<usize> {
        if self.file.is_none() {
            self.file = std::fs::File::open(path).ok();
            self.buffer.resize(1 << 20, 0);
        }
        let Some(file) = &mut self.file else { return Ok(0) };
        let mut new = 0;
        loop {
            let n = file.read(&mut self.buffer)?;
            if n == 0 {
                return Ok(new);
            }
            new += n;
            self.n += self.buffer[..n].iter().filter(|b| **b == b'\n').count() as u64;
        }
    }
}
