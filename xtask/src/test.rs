//! `cargo xtask test`: tidy, format, lints, every test of every crate, then the whole product through the shipped binary against
//! real components. Ends with passed, failed, skipped with reason; a skipped test is never counted as passed.

use crate::{cargo, kit, target_dir, tidy};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

#[derive(Default)]
struct Count {
    passed: usize,
    failed: Vec<String>,
    /// name → reason
    skipped: BTreeMap<String, String>,
}

pub fn run(root: &Path, quick: bool, filter: Option<&str>) -> Result<ExitCode> {
    let started = Instant::now();
    let mut count = Count::default();
    step(started, "build");
    must(cargo(root).args(["build", "--release", "-p", "avouch"]), "cargo build")?;
    if filter.is_none() {
        step(started, "tidy");
        let breaches = tidy::check(root, true)?;
        for b in &breaches {
            println!("{} {}: {}\n    way out: {}", b.rule, b.place, b.what, b.way_out);
            count.failed.push(format!("tidy {} {}", b.rule, b.place));
        }
        count.passed += usize::from(breaches.is_empty());
        step(started, "format");
        gate(&mut count, "cargo fmt", cargo(root).args(["fmt", "--all", "--check"]));
    }
    step(started, "components");
    let kit = kit::install(&target_dir(root), true, true)?;
    for m in &kit.missing {
        println!("not available: {m}");
    }
    step(started, "tests");
    // `--skip` takes every test whose name contains the word: the names in the list are whole paths of tests.
    let open = open_tests(root)?;
    for (name, reason) in &open {
        count.skipped.insert(name.clone(), reason.clone());
    }
    let mut command = cargo(root);
    command
        .args(["test", "--release", "--workspace", "--exclude", "avouch-bench", "--no-fail-fast", "--"])
        .arg("--show-output")
        .current_dir(root)
        .env("AVOUCH_KIT", &kit.dir)
        .env("AVOUCH_BIN", target_dir(root).join("release/avouch"))
        .env("AVOUCH_ROOT", root);
    if std::env::var_os("AVOUCH_SHARED").is_none() {
        command.env("AVOUCH_SHARED", root.join("../shared/data"));
    }
    if quick {
        command.env("AVOUCH_QUICK", "1");
    } else {
        // 200 kills, 200 flips per kind of file, and whatever else takes more than a few seconds.
        command.env("AVOUCH_SLOW_TESTS", "1");
    }
    for name in open.keys() {
        command.args(["--skip", name]);
    }
    if let Some(f) = filter {
        command.arg(f);
    }
    collect(&mut command, &mut count)?;
    if filter.is_none() {
        step(started, "lints");
        gate(
            &mut count,
            "cargo clippy",
            cargo(root)
                .args([
                    "clippy",
                    "--release",
                    "--workspace",
                    "--exclude",
                    "avouch-bench",
                    "--all-targets",
                    "--quiet",
                ])
                .args(["--", "-D", "warnings"]),
        );
        if !quick {
            step(started, "release build compiles nothing again");
            match rebuilt(root)? {
                again if again.is_empty() => count.passed += 1,
                again => {
                    count.failed.push(format!("T11: compiled again after the tests: {}", again.join(", ")))
                }
            }
        }
    }
    println!("\n{}", "-".repeat(60));
    for (name, reason) in &count.skipped {
        println!("skipped  {name}: {reason}");
    }
    for name in &count.failed {
        println!("FAILED   {name}");
    }
    println!(
        "{} passed, {} failed, {} skipped in {} s{}",
        count.passed,
        count.failed.len(),
        count.skipped.len(),
        started.elapsed().as_secs(),
        if quick { " (quick)" } else { "" }
    );
    Ok(if count.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Tests of the whole product that do not hold yet, with the reason: `tests/open.txt`, `name  reason` on each line. Each is counted
/// and named as skipped. The list may only get shorter.
fn open_tests(root: &Path) -> Result<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(root.join("tests/open.txt")).unwrap_or_default();
    Ok(text
        .lines()
        .filter(|l| !l.starts_with('#'))
        .filter_map(|l| l.split_once("  "))
        .map(|(n, r)| (n.trim().to_owned(), format!("open: {}", r.trim())))
        .collect())
}

/// Says what comes next, and how long everything took until here.
fn step(started: Instant, name: &str) {
    println!("== {name} ({} s)", started.elapsed().as_secs());
}

fn must(command: &mut Command, name: &str) -> Result<()> {
    let ok = command.status().with_context(|| format!("cannot run {name}"))?.success();
    anyhow::ensure!(ok, "{name} failed");
    Ok(())
}

fn gate(count: &mut Count, name: &str, command: &mut Command) {
    if command.status().is_ok_and(|s| s.success()) {
        count.passed += 1;
    } else {
        count.failed.push(name.to_owned());
    }
}

/// Runs the tests, passes their output on where it matters, and counts. A test that prints `skipped: name: reason` is moved from
/// passed to skipped.
fn collect(command: &mut Command, count: &mut Count) -> Result<()> {
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().context("cannot run cargo test")?;
    let out = child.stdout.take().context("no output")?;
    let mut failing_output = false;
    for line in BufReader::new(out).lines() {
        let line = line?;
        if let Some(name) = line.strip_prefix("test ").and_then(|l| l.strip_suffix(" ... FAILED")) {
            count.failed.push(name.to_owned());
        } else if line.starts_with("test ") && line.ends_with(" ... ok") {
            count.passed += 1;
        } else if let Some(name) = line.strip_prefix("test ").and_then(|l| l.split_once(" ... ignored")) {
            count.skipped.insert(name.0.to_owned(), format!("ignored{}", name.1));
        } else if let Some((name, reason)) =
            line.trim_start().strip_prefix("skipped: ").and_then(|l| l.split_once(": "))
            && count.skipped.insert(name.to_owned(), reason.to_owned()).is_none()
        {
            count.passed = count.passed.saturating_sub(1);
        }
        if line == "failures:" {
            failing_output = true;
        }
        if line.starts_with("test result:") {
            failing_output = false;
        }
        if failing_output
            || line.starts_with("error")
            || line.starts_with("     Running")
            || line.starts_with("test result: FAILED")
        {
            println!("{line}");
        }
    }
    let ok = child.wait()?.success();
    if !ok && count.failed.is_empty() {
        count.failed.push("cargo test (did not build, or a test program ended early)".to_owned());
    }
    Ok(())
}

/// T11: third-party packages that `cargo build --release` compiles after the tests.
fn rebuilt(root: &Path) -> Result<Vec<String>> {
    let out = cargo(root)
        .args(["build", "--release", "-p", "avouch", "--message-format", "json"])
        .current_dir(root)
        .output()?;
    anyhow::ensure!(out.status.success(), "cargo build --release failed");
    let mut again = Vec::new();
    for line in String::from_utf8_lossy(&out.stdout).lines() {
        let Ok(m) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        let id = m["package_id"].as_str().unwrap_or_default();
        if m["reason"] == "compiler-artifact" && m["fresh"] == false && !id.starts_with("path+") {
            again.push(m["target"]["name"].as_str().unwrap_or_default().to_owned());
        }
    }
    Ok(again)
}
