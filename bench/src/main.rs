//! `avouch-bench`: speed as ratios against named peers. Same input, same machine, same run, paired rounds in turns, and no number
//! before the two sides gave the same answer. Started by `cargo xtask bench`, which builds the product and installs the peers.
//!
//! | subject | ours | peer |
//! |---|---|---|
//! | `intake` | `avouch serve`, syslog over TCP into the vault | rsyslogd into a file, asynchronous; rsyslogd synced |
//! | `append` | the vault's writer | a loop of `write` and `fdatasync` over the same bytes |
//! | `detect` | crate `detect` | the rsigma engine |
//! | `query` | crate `query` over sealed, encrypted segments | DuckDB over the same rows in plain Parquet |
//! | `access` | crate `access`, questions about policies | serde_json reading the same documents |
//! | `verify` | `avouch verify` | `openssl dgst -sha256`, `sha256sum` |
//!
//! A missing peer is a line in the result that says how to get it. A bar that is missed is a line too; the exit code is 0 all the
//! same, unless `--strict`. A wrong answer on either side ends with an error: a fast wrong engine has no number.

mod fixture;
mod generate;
mod machine;
mod page;
mod peer;
mod report;
mod rounds;
mod subject;

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};
use report::Report;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

#[derive(Parser)]
#[command(name = "avouch-bench", about = "Measure against peers")]
struct Cli {
    /// intake, append, detect, query, access, verify; all when left out
    subjects: Vec<Subject>,
    /// Small sizes and few rounds: shows that it works, not how fast it is
    #[arg(long)]
    quick: bool,
    /// What to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Exit 1 when a bar is missed or a peer is missing
    #[arg(long)]
    strict: bool,
    /// Write docs/benchmarks/<subject>.json and docs/benchmarks.md
    #[arg(long)]
    write: bool,
    /// Where vaults and files are made [default: a folder beside the kit]
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Subject {
    Intake,
    Append,
    Detect,
    Query,
    Access,
    Verify,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

/// What every subject needs.
pub struct Ctx {
    pub quick: bool,
    pub scratch: PathBuf,
    pub kit: PathBuf,
    pub avouch: PathBuf,
    pub rsigma: PathBuf,
    pub root: PathBuf,
    pub shared: PathBuf,
    pub fixture: std::cell::OnceCell<fixture::Fixture>,
}

impl Ctx {
    /// One of two sizes.
    pub fn pick<T>(&self, quick: T, full: T) -> T {
        if self.quick { quick } else { full }
    }
}

/// Progress goes to stderr, so that the result can be piped.
pub fn say(what: impl AsRef<str>) {
    eprintln!("  {}", what.as_ref());
}

fn context(cli: &Cli) -> Result<Ctx> {
    let path = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .with_context(|| format!("{name} is not set: start this with `cargo xtask bench`"))
    };
    let (kit, root) = (path("AVOUCH_KIT")?, path("AVOUCH_ROOT")?);
    let scratch = match &cli.scratch {
        Some(s) => s.clone(),
        None => kit.parent().unwrap_or(&kit).join("bench-scratch"),
    };
    let scratch = scratch.join(format!("run-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).with_context(|| format!("cannot make `{}`", scratch.display()))?;
    Ok(Ctx {
        quick: cli.quick,
        scratch,
        kit,
        avouch: path("AVOUCH_BIN")?,
        rsigma: path("AVOUCH_RSIGMA")?,
        shared: path("AVOUCH_SHARED").unwrap_or_else(|_| root.join("../shared/data")),
        root,
        fixture: std::cell::OnceCell::new(),
    })
}

fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    let ctx = context(&cli)?;
    let done = measure(&cli, &ctx);
    let _ = std::fs::remove_dir_all(&ctx.scratch);
    let report = done?;
    match cli.output {
        Output::Table => print!("{}", report.table()),
        Output::Json => println!("{}", serde_json::to_string_pretty(&report)?),
    }
    if cli.write {
        page::write(&ctx.root, &report)?;
    }
    Ok(if cli.strict && !report.is_all_met() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn measure(cli: &Cli, ctx: &Ctx) -> Result<Report> {
    let mut report = Report::new(machine::Machine::look(&ctx.scratch), cli.quick);
    let mut subjects = cli.subjects.clone();
    if subjects.is_empty() {
        subjects = Subject::value_variants().to_vec();
    }
    subjects.sort();
    subjects.dedup();
    for subject in subjects {
        let name = subject.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default();
        let started = Instant::now();
        eprintln!("{name}");
        let run = match subject {
            Subject::Intake => subject::intake::run,
            Subject::Append => subject::append::run,
            Subject::Detect => subject::detect::run,
            Subject::Query => subject::query::run,
            Subject::Access => subject::access::run,
            Subject::Verify => subject::verify::run,
        };
        run(ctx, &mut report).with_context(|| name.clone())?;
        eprintln!("{name}: {} s", started.elapsed().as_secs());
    }
    Ok(report)
}
