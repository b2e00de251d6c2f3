//! Generated documents: written by `cargo xtask gen`, compared by tidy. Their text comes out of the binary itself
//! (`avouch docs NAME`, hidden), so a flag, a config key or a rule cannot drift from its page.

use crate::target_dir;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

/// (path below the workspace, argument of the hidden `docs` command).
const DOCUMENTS: [(&str, &str); 9] = [
    ("docs/reference/cli.md", "cli"),
    ("docs/reference/config.md", "config"),
    ("docs/reference/config.schema.json", "config-schema"),
    ("docs/reference/environment.md", "environment"),
    ("docs/reference/metrics.md", "metrics"),
    ("docs/reference/rules.md", "rules"),
    ("docs/reference/controls.md", "controls"),
    ("docs/reference/limits.md", "limits"),
    ("docs/coverage.md", "coverage"),
];

pub fn run(root: &Path) -> Result<ExitCode> {
    build(root)?;
    for (path, text) in documents(root)? {
        let at = root.join(&path);
        if let Some(dir) = at.parent() {
            fs::create_dir_all(dir)?;
        }
        if fs::read_to_string(&at).unwrap_or_default() != text {
            fs::write(&at, text).with_context(|| format!("cannot write {path}"))?;
            println!("wrote {path}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub fn build(root: &Path) -> Result<()> {
    let ok =
        crate::cargo(root).args(["build", "--release", "-p", "avouch"]).current_dir(root).status()?.success();
    anyhow::ensure!(ok, "cargo build failed");
    Ok(())
}

/// Every generated document with its fresh text. Needs the release binary.
pub fn documents(root: &Path) -> Result<Vec<(String, String)>> {
    let binary = target_dir(root).join("release/avouch");
    if !binary.is_file() {
        build(root)?;
    }
    DOCUMENTS
        .iter()
        .map(|(path, name)| {
            let out = Command::new(&binary)
                .args(["docs", name])
                .output()
                .with_context(|| format!("cannot run avouch docs {name}"))?;
            anyhow::ensure!(
                out.status.success(),
                "avouch docs {name}: {}",
                String::from_utf8_lossy(&out.stderr)
            );
            Ok(((*path).to_owned(), String::from_utf8(out.stdout)?))
        })
        .collect()
}
