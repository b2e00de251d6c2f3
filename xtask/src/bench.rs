//! `cargo xtask bench`: builds the product, the bench member and its peers, and runs it. The member lives outside the default build,
//! and the peer that is a library lives in a workspace of its own, so that no peer is ever compiled into or beside the product.

use crate::{cargo, kit, target_dir};
use anyhow::{Context, Result};
use clap::Args;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

#[derive(Args)]
pub struct Bench {
    /// intake, append, detect, query, verify; all when left out
    subjects: Vec<String>,
    /// Small sizes and few rounds: shows that it works, not how fast it is
    #[arg(long)]
    quick: bool,
    /// table or json
    #[arg(short, long, default_value = "table")]
    output: String,
    /// Exit 1 when a bar is missed or a peer is missing
    #[arg(long)]
    strict: bool,
    /// Write the figures to docs/benchmarks/ and the page docs/benchmarks.md
    #[arg(long)]
    write: bool,
    /// Where vaults and files are made, on the disk to be measured [default: the target folder]
    #[arg(long, value_name = "DIR")]
    scratch: Option<String>,
}

pub fn run(root: &Path, args: &Bench) -> Result<ExitCode> {
    let target = target_dir(root);
    let kit = kit::install(&target, true, false)?;
    for m in &kit.missing {
        eprintln!("not available: {m}");
    }
    // What is printed on stdout is the result alone.
    build(root, &["build", "--release", "-p", "avouch", "-p", "avouch-bench"])?;
    if let Err(e) = build(root, &["build", "--release", "--manifest-path", "bench/rsigma/Cargo.toml"]) {
        eprintln!("not available: rsigma: {e:#}");
    }
    let absolute = |p: std::path::PathBuf| std::path::absolute(&p).context("no current folder");
    let mut command = Command::new(target.join("release/avouch-bench"));
    command
        .args(&args.subjects)
        .args(["--output", &args.output])
        .args(args.quick.then_some("--quick"))
        .args(args.strict.then_some("--strict"))
        .args(args.write.then_some("--write"))
        .current_dir(root)
        .env("AVOUCH_KIT", absolute(kit.dir)?)
        .env("AVOUCH_BIN", absolute(target.join("release/avouch"))?)
        .env("AVOUCH_RSIGMA", absolute(target.join("release/bench-rsigma"))?)
        .env("AVOUCH_ROOT", root);
    if let Some(dir) = &args.scratch {
        command.args(["--scratch", dir]);
    }
    let status = command.status().context("avouch-bench does not start")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn build(root: &Path, args: &[&str]) -> Result<()> {
    let status = cargo(root)
        .args(args)
        // Both workspaces share one target folder, wherever it is.
        .env("CARGO_TARGET_DIR", std::path::absolute(target_dir(root))?)
        .stdout(Stdio::null())
        .status()?;
    anyhow::ensure!(status.success(), "cargo {} failed", args.join(" "));
    Ok(())
}
