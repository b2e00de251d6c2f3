//! `cargo xtask oracles`: the policy engine against programs of others (access.md 20).
//!
//! The cases come out of `access`'s own test generator and go back into one of its tests to be judged; between the two, z3 and
//! iam-simulate answer them as processes. Nothing of either is linked, copied or released.

use crate::{cargo, kit, target_dir};
use anyhow::{Context, Result};
use serde_json::Value;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Instant;

#[derive(clap::Args)]
pub struct Oracles {
    /// Requests to single policies
    #[arg(long, default_value_t = 100_000)]
    requests: usize,
    /// Questions whether one policy implies another
    #[arg(long, default_value_t = 2_000)]
    implications: usize,
    /// Seed of the generator
    #[arg(long, default_value_t = 7)]
    seed: u64,
}

/// Processes of an oracle at a time.
const JOBS: usize = 2;
/// Of the requests, those that z3 answers as well: it takes a hundred times as long as a simulator.
const REQUESTS_OF_Z3: usize = 20_000;

/// How many times as long z3 has to take over the same questions (access.md 19).
const TIMES_Z3: f64 = 100.0;

/// A program that answers lines with lines.
struct Oracle {
    name: &'static str,
    version: String,
    program: PathBuf,
    arguments: Vec<PathBuf>,
}

pub fn run(root: &Path, args: &Oracles) -> Result<ExitCode> {
    let folder = target_dir(root).join("oracles");
    // What an earlier run left behind must not be taken for an answer of this one.
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(&folder)?;
    let kit = target_dir(root).join("kit");
    let tools = root.join("tools/oracles");
    let mut absent = Vec::new();
    let mut found = |oracle: Result<Oracle>, name: &'static str| match oracle {
        Ok(oracle) => Some(oracle),
        Err(e) => {
            absent.push(format!("{name}: {e:#}"));
            None
        }
    };
    let z3 = found(z3(&kit, &tools), "z3");
    let simulator = found(simulator(&kit, &tools), "iam-simulate");

    println!("seed {}", args.seed);
    test(root, "oracles::write_cases", |c| {
        c.env("AVOUCH_ORACLES", &folder)
            .env("AVOUCH_SEED", args.seed.to_string())
            .env("AVOUCH_REQUESTS", args.requests.to_string())
            .env("AVOUCH_IMPLICATIONS", args.implications.to_string());
    })?;
    let (requests, implications) = (folder.join("requests.ndjson"), folder.join("implications.ndjson"));
    if let Some(simulator) = &simulator {
        ask(simulator, &requests, usize::MAX, &folder.join("simulate.ndjson"))?;
    }
    if let Some(z3) = &z3 {
        ask(z3, &requests, REQUESTS_OF_Z3, &folder.join("z3-requests.ndjson"))?;
        ask(z3, &implications, usize::MAX, &folder.join("z3.ndjson"))?;
        ask(z3, &folder.join("families.ndjson"), usize::MAX, &folder.join("z3-families.ndjson"))?;
    }
    test(root, "oracles::judge", |c| {
        c.env("AVOUCH_ORACLES", &folder);
    })?;

    let judged: Value = serde_json::from_str(&fs::read_to_string(folder.join("judged.json"))?)?;
    let mut unexplained = 0;
    for (name, of, oracle) in [
        ("requests", "iam-simulate", &simulator),
        ("requests", "z3, requests", &z3),
        ("implications", "z3, implications", &z3),
    ] {
        if let Some(oracle) = oracle {
            unexplained += print(oracle, name, &judged[of]);
        }
    }
    let mut is_slow = false;
    for family in judged["z3, families"].as_array().into_iter().flatten() {
        unexplained += family["differ"].as_u64().unwrap_or_default();
        is_slow |= print_times(family) < TIMES_Z3;
    }
    for reason in &absent {
        println!("skipped: oracle absent: {reason}");
    }
    let left = folder.join("unexplained.ndjson");
    for line in fs::read_to_string(&left)?.lines().take(5) {
        println!("unexplained: {line}");
    }
    println!("{unexplained} unexplained, {} skipped (all cases: {})", absent.len(), folder.display());
    Ok(if unexplained == 0 && !is_slow { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How the two compare over 15 statements. Returns how many times as long z3 takes.
fn print_times(family: &Value) -> f64 {
    let n = |of: &str| family[of].as_f64().unwrap_or(f64::NAN);
    let times = n("z3") / n("ours");
    println!(
        "15 statements of {} keys: {:.0} us, z3 {:.2} s, {times:.0} times as long (medians of {} questions, z3 gave up {} of them; bar {TIMES_Z3})",
        family["keys"],
        n("ours") * 1e6,
        n("z3"),
        family["questions"],
        family["gave up"],
    );
    times
}

/// A table of what came of the questions to one oracle. Returns how many differences have no reason.
fn print(oracle: &Oracle, kind: &str, counts: &Value) -> u64 {
    let n = |of: &Value| of.as_u64().unwrap_or_default();
    let rows = |of: &str| -> Vec<(String, u64)> {
        counts[of].as_object().into_iter().flatten().map(|(k, v)| (k.clone(), n(v))).collect()
    };
    let sum = |rows: &[(String, u64)]| rows.iter().map(|(_, n)| n).sum::<u64>();
    let (open, known) = (rows("open"), rows("known"));
    let (agree, unexplained) = (n(&counts["agree"]), n(&counts["unexplained"]));
    let cases = agree + sum(&open) + sum(&known) + unexplained;
    println!("\n{} {}: {cases} {kind}", oracle.name, oracle.version);
    println!("{agree:>9}  agree");
    for (what, rows) in [("not answered", open), ("known difference", known)] {
        for (name, n) in rows {
            println!("{n:>9}  {what}: {name}");
        }
    }
    println!("{unexplained:>9}  unexplained");
    unexplained
}

/// Runs one ignored test of `access`.
fn test(root: &Path, name: &str, with: impl FnOnce(&mut Command)) -> Result<()> {
    let started = Instant::now();
    let mut command = cargo(root);
    command.args(["test", "--release", "--quiet", "-p", "access", "--test", "it", "--"]).args([
        "--ignored",
        "--exact",
        name,
        "--nocapture",
    ]);
    if std::env::var_os("AVOUCH_SHARED").is_none() {
        command.env("AVOUCH_SHARED", root.join("../shared/data"));
    }
    with(&mut command);
    let ok = command.status().with_context(|| format!("cannot run {name}"))?.success();
    anyhow::ensure!(ok, "{name} failed");
    println!("{name} ({} s)", started.elapsed().as_secs());
    Ok(())
}

/// Gives the lines of a file (of requests: the first `requests_max`) to processes of an oracle, and collects their answers.
fn ask(oracle: &Oracle, cases: &Path, requests_max: usize, out: &Path) -> Result<()> {
    let started = Instant::now();
    let share = |job: usize, kind: &str| out.with_extension(format!("{kind}.{job}"));
    let mut shares: Vec<BufWriter<File>> =
        (0..JOBS).map(|job| Ok(BufWriter::new(File::create(share(job, "in"))?))).collect::<Result<_>>()?;
    let mut asked = 0;
    for (n, line) in BufReader::new(File::open(cases)?).lines().enumerate() {
        let line = line?;
        if asked >= requests_max {
            break;
        }
        asked += line.matches("\"outcome\":").count();
        let count = shares.len();
        if let Some(share) = shares.get_mut(n % count) {
            writeln!(share, "{line}")?;
        }
    }
    for mut share in shares {
        share.flush()?;
    }
    let start = |job: usize| -> Result<Child> {
        Command::new(&oracle.program)
            .args(&oracle.arguments)
            .stdin(File::open(share(job, "in"))?)
            .stdout(File::create(share(job, "out"))?)
            .stderr(Stdio::inherit())
            .spawn()
            .with_context(|| format!("cannot start {}", oracle.name))
    };
    let children: Vec<Child> = (0..JOBS).map(start).collect::<Result<_>>()?;
    for mut child in children {
        anyhow::ensure!(child.wait()?.success(), "{} failed", oracle.name);
    }
    let mut all = File::create(out)?;
    for job in 0..JOBS {
        all.write_all(&fs::read(share(job, "out"))?)?;
        fs::remove_file(share(job, "in"))?;
        fs::remove_file(share(job, "out"))?;
    }
    println!("{} {} ({} s)", oracle.name, oracle.version, started.elapsed().as_secs());
    Ok(())
}

fn z3(kit: &Path, tools: &Path) -> Result<Oracle> {
    let python = kit::solver(kit)?;
    let script = tools.join("z3_oracle.py");
    let version = text(Command::new(&python).arg(&script).arg("--version"))?;
    Ok(Oracle { name: "z3", version, program: python, arguments: vec![script] })
}

fn simulator(kit: &Path, tools: &Path) -> Result<Oracle> {
    let packages = kit::simulator(kit)?;
    let manifest = fs::read_to_string(packages.join("@cloud-copilot/iam-simulate/package.json"))?;
    let manifest: Value = serde_json::from_str(&manifest)?;
    let version = manifest["version"].as_str().unwrap_or("?").to_owned();
    let arguments = vec![tools.join("simulate.mjs"), packages];
    Ok(Oracle { name: "iam-simulate", version, program: PathBuf::from("node"), arguments })
}

fn text(command: &mut Command) -> Result<String> {
    let out = command.output()?;
    anyhow::ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr).trim());
    Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}
