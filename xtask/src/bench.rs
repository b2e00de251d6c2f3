//! `cargo xtask bench`: builds the bench member with its peers and runs it. The member lives outside the default build so that no
//! peer is ever compiled for the product.

use crate::{kit, target_dir};
use anyhow::Result;
use std::path::Path;
use std::process::{Command, ExitCode};

pub fn run(root: &Path, subject: Option<&str>) -> Result<ExitCode> {
    let kit = kit::install(&target_dir(root), true, false)?;
    for m in &kit.missing {
        println!("not available: {m}");
    }
    let built = Command::new("cargo")
        .args(["build", "--release", "-p", "avouch", "-p", "avouch-bench"])
        .current_dir(root)
        .status()?;
    anyhow::ensure!(built.success(), "cargo build failed");
    let status = Command::new(target_dir(root).join("release/avouch-bench"))
        .args(subject)
        .current_dir(root)
        .env("AVOUCH_KIT", &kit.dir)
        .env("AVOUCH_BIN", target_dir(root).join("release/avouch"))
        .env("AVOUCH_ROOT", root)
        .status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
