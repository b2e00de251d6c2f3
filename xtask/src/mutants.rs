//! `cargo xtask mutants`: plants the faults of `tools/mutants.txt` in a copy of the policy engine, one at a time, and runs the
//! differential test on each. The two halves of the engine share no matching code, so a fault in either must show as a disagreement.

use crate::{cargo, target_dir};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

#[derive(clap::Args)]
pub struct Mutants {
    /// Pairs of policies and requests that each fault is given
    #[arg(long, default_value_t = 240_000)]
    pairs: usize,
    /// Only faults whose file or name contains this
    filter: Option<String>,
}

/// The differential test and what it needs.
const MODULES: [&str; 6] = ["boundaries", "corpora", "differential", "generate", "mutate", "run"];

struct Mutant {
    /// Under the crate's `src`.
    file: String,
    name: String,
    old: String,
    new: String,
}

pub fn run(root: &Path, args: &Mutants) -> Result<ExitCode> {
    let list = root.join("tools/mutants.txt");
    let all = read(&fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?)?;
    let copy = target_dir(root).join("mutants");
    let sources = copied(root, &copy)?;
    // Without a fault the test passes, or its failures mean nothing.
    anyhow::ensure!(passes(root, &copy, args.pairs)?, "the differential test fails without any fault");
    let (mut caught, mut survived) = (0, Vec::new());
    for m in &all {
        let label = format!("{}: {}", m.file, m.name);
        if args.filter.as_ref().is_some_and(|f| !label.contains(f)) {
            continue;
        }
        let started = Instant::now();
        let path = sources.join(&m.file);
        let text = fs::read_to_string(&path).with_context(|| label.clone())?;
        anyhow::ensure!(text.matches(&m.old).count() == 1, "{label}: the text must stand in the file once");
        fs::write(&path, text.replacen(&m.old, &m.new, 1))?;
        let outcome = passes(root, &copy, args.pairs).with_context(|| label.clone());
        fs::write(&path, text)?;
        let word = if outcome? { "SURVIVED" } else { "caught" };
        println!("{word:<8}  {label} ({} s)", started.elapsed().as_secs());
        if word == "caught" { caught += 1 } else { survived.push(label) }
    }
    println!("{caught} caught, {} survived", survived.len());
    Ok(if survived.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(text: &str) -> Result<Vec<Mutant>> {
    let mut out: Vec<Mutant> = Vec::new();
    let push = |to: &mut String, line: &str| {
        if !to.is_empty() {
            to.push('\n');
        }
        to.push_str(line);
    };
    for line in text.lines().filter(|l| !l.starts_with('#') && !l.is_empty()) {
        if let Some((file, name)) = line.strip_prefix("@ ").and_then(|l| l.split_once(": ")) {
            let (file, name) = (file.to_owned(), name.to_owned());
            out.push(Mutant { file, name, old: String::new(), new: String::new() });
            continue;
        }
        let last = out.last_mut().with_context(|| format!("`{line}` before the first `@`"))?;
        match line.split_once(' ') {
            Some(("-", old)) => push(&mut last.old, old),
            Some(("+", new)) => push(&mut last.new, new),
            _ => anyhow::bail!("`{line}` begins with none of `@`, `-`, `+`"),
        }
    }
    Ok(out)
}

/// A workspace of the engine and what it needs, with a target folder of its own. Returns the folder of the engine's sources.
fn copied(root: &Path, copy: &Path) -> Result<PathBuf> {
    for name in ["access", "model"] {
        let to = copy.join("crates").join(name);
        drop(fs::remove_dir_all(&to));
        copy_folder(&root.join("crates").join(name), &to)?;
    }
    // Only the differential test is built.
    let main: String = MODULES.iter().map(|name| format!("#[cfg(test)]\nmod {name};\n")).collect();
    fs::write(copy.join("crates/access/tests/it/main.rs"), main)?;
    let manifest = fs::read_to_string(root.join("Cargo.toml"))?;
    let kept = |line: &&str| !line.starts_with("default-members");
    let mut manifest: Vec<&str> = manifest
        .lines()
        .filter(kept)
        .map(|l| if l.starts_with("members") { r#"members = ["crates/access", "crates/model"]"# } else { l })
        .collect();
    // Little is run of each build, so building had better be quick.
    manifest.push("[profile.release.package.access]\nopt-level = 0");
    fs::write(copy.join("Cargo.toml"), manifest.join("\n"))?;
    fs::copy(root.join("Cargo.lock"), copy.join("Cargo.lock"))?;
    Ok(copy.join("crates/access/src"))
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

/// Whether the differential test passes. A fault that does not build is an error of the list.
fn passes(root: &Path, copy: &Path, pairs: usize) -> Result<bool> {
    let command = |last: &[&str]| {
        let mut c = cargo(copy);
        c.args(["test", "--release", "--quiet", "-p", "access", "--test", "it"]).args(last);
        c.env("CARGO_TARGET_DIR", copy.join("target")).env("AVOUCH_PAIRS", pairs.to_string());
        // Many documents with few requests each, to the first disagreement. A fault may leave a name unused.
        c.env("AVOUCH_REQUESTS_EACH", "20").env("AVOUCH_FAIL_FAST", "1").env("RUSTFLAGS", "-Awarnings");
        // Builds differ in one file each.
        c.env("CARGO_INCREMENTAL", "1");
        if std::env::var_os("AVOUCH_SHARED").is_none() {
            c.env("AVOUCH_SHARED", root.join("../shared/data"));
        }
        c
    };
    let built = quiet(&mut command(&["--no-run"]))?;
    anyhow::ensure!(built, "does not build");
    quiet(&mut command(&["--", "differential::engine_and_evaluator_agree"]))
}

fn quiet(command: &mut Command) -> Result<bool> {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    Ok(status.context("cannot run cargo")?.success())
}
