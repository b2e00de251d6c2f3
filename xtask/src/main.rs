//! The workspace's own commands: `tidy` proves the structure, `test` runs everything against real components, `bench` measures
//! ratios against peers, `gen` writes the generated documents.

mod bench;
mod catalog;
mod generate;
mod kit;
mod mutants;
mod oracles;
mod soundness;
mod test;
mod tidy;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Tidy, test, bench and generate")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Prove crate table, edges, never-edges, truths, data files and document freshness
    Tidy {
        /// Only list TODO and BUG marks
        #[arg(long)]
        todo: bool,
    },
    /// Install what the tests need, run everything, end with a count
    Test {
        /// For the desk: 10 kills a crash test, no slow tests; what is left out is printed
        #[arg(long)]
        quick: bool,
        /// Run only tests whose name contains this
        filter: Option<String>,
    },
    /// Measure against peers: ratios, same run, same machine
    Bench(bench::Bench),
    /// Hold the policy engine against z3 and iam-simulate
    Oracles(oracles::Oracles),
    /// Hold the two halves of the policy engine against each other on a hundred million random requests
    Soundness(soundness::Soundness),
    /// Plant faults in the policy engine, each of which its tests must see
    Mutants(mutants::Mutants),
    /// Write the generated documents
    Gen,
    /// Write what `access` knows about AWS's services
    Catalog {
        /// Services with their actions, resources and condition keys, JSON
        file: PathBuf,
        /// Where the file is from, with version and digest: goes into the head of the data file
        #[arg(long)]
        source: String,
    },
}

fn main() -> Result<ExitCode> {
    let root = root();
    match Cli::parse().command {
        Command::Tidy { todo } => tidy::run(&root, todo),
        Command::Test { quick, filter } => test::run(&root, quick, filter.as_deref()),
        Command::Bench(args) => bench::run(&root, &args),
        Command::Oracles(args) => oracles::run(&root, &args),
        Command::Soundness(args) => soundness::run(&root, &args),
        Command::Mutants(args) => mutants::run(&root, &args),
        Command::Gen => generate::run(&root),
        Command::Catalog { file, source } => catalog::run(&root, &file, &source),
    }
}

/// `cargo` in the workspace, as if started from the shell.
///
/// `cargo run` tells this process about xtask's own package. A build script that watches these variables (ring's does) would see
/// others than in a build from the shell, and everything above it, DataFusion included, would be compiled again each time.
fn cargo(root: &Path) -> std::process::Command {
    const OF_XTASK: [&str; 4] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_", "CARGO_BIN_"];
    let mut command = std::process::Command::new("cargo");
    for (name, _) in std::env::vars_os() {
        if OF_XTASK.iter().any(|p| name.to_string_lossy().starts_with(p)) {
            command.env_remove(&name);
        }
    }
    command.current_dir(root);
    command
}

/// The workspace folder: two above this crate's manifest at run time, so that a moved target folder changes nothing.
fn root() -> PathBuf {
    let from_cargo = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    from_cargo
        .and_then(|p| p.parent().map(Path::to_path_buf))
        .or_else(|| std::env::current_dir().ok())
        .unwrap_or_else(|| PathBuf::from("."))
}

/// Cargo's target folder for this workspace.
pub fn target_dir(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}
