//! Real components for the tests: Debian packages unpacked into a private folder, Python packages in a private environment. Nothing
//! of the machine is changed but, for the browser, Debian's own `chromium` when we are root and it is missing.

use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What could be had, and why the rest could not.
pub struct Kit {
    pub dir: PathBuf,
    pub missing: Vec<String>,
}

/// Servers and senders from Debian, with the libraries that the base system lacks.
const DEBIAN: [&str; 6] =
    ["rsyslog", "libestr0", "libfastjson4", "liblogging-stdlog0", "liblognorm5", "bsdutils"];

const PYTHON: [&str; 7] = [
    "pyarrow==26.0.1",
    "duckdb==1.4.1",
    "aiosmtpd==1.4.6",
    "cryptography==46.0.3",
    "xmlschema==4.3.2",
    "moto[server]==5.2.5",
    "awscli==1.46.3",
];

/// Carries the schema of SARIF, whose own licence does not clearly let this repository pass it on.
const SARIF: (&str, &str) = ("serde-sarif", "0.8.0");

/// Oracles of `cargo xtask oracles`: an environment and a folder of their own, so that no test run needs them.
const SOLVER: &str = "z3-solver==5.4.0.0";
const SIMULATOR: &str = "@cloud-copilot/iam-simulate@0.1.173";

pub fn install(target: &Path, with_python: bool, with_browser: bool) -> Result<Kit> {
    let dir = target.join("kit");
    fs::create_dir_all(&dir)?;
    let mut missing = Vec::new();
    if let Err(e) = debian(&dir) {
        missing.push(format!("rsyslog, logger: {e:#}"));
    }
    if with_python && let Err(e) = python(&dir) {
        missing.push(format!("Python packages: {e:#}"));
    }
    if with_python && let Err(e) = schemas(&dir) {
        missing.push(format!("the schema of SARIF: {e:#}"));
    }
    if with_browser && let Err(e) = browser() {
        missing.push(format!("chromium: {e:#}"));
    }
    Ok(Kit { dir, missing })
}

fn debian(dir: &Path) -> Result<()> {
    let root = dir.join("debian");
    let mark = root.join("done");
    let want = DEBIAN.join(" ");
    if fs::read_to_string(&mark).is_ok_and(|have| have == want) {
        return Ok(());
    }
    let archives = dir.join("archives");
    fs::create_dir_all(&archives)?;
    if !quiet(Command::new("apt-get").args(["download"]).args(DEBIAN).current_dir(&archives)) {
        quiet(Command::new("apt-get").args(["-q", "update"]));
        for package in DEBIAN {
            // A library that the base system already has may not be offered under this name; rsyslog itself must be.
            let ok = quiet(Command::new("apt-get").args(["download", package]).current_dir(&archives));
            anyhow::ensure!(ok || package != "rsyslog", "apt-get download {package} failed");
        }
    }
    fs::create_dir_all(&root)?;
    for entry in fs::read_dir(&archives)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "deb") {
            anyhow::ensure!(
                quiet(Command::new("dpkg").arg("-x").arg(&path).arg(&root)),
                "dpkg -x {} failed",
                path.display()
            );
        }
    }
    fs::write(mark, want).context("cannot mark the kit as complete")
}

fn python(dir: &Path) -> Result<()> {
    environment(&dir.join("venv"), &PYTHON)
}

/// A Python that has z3.
pub fn solver(dir: &Path) -> Result<PathBuf> {
    let venv = dir.join("oracles/venv");
    environment(&venv, &[SOLVER])?;
    Ok(venv.join("bin/python"))
}

/// The folder of npm packages that has iam-simulate.
pub fn simulator(dir: &Path) -> Result<PathBuf> {
    let prefix = dir.join("oracles/npm");
    let (packages, mark) = (prefix.join("node_modules"), prefix.join("done"));
    if fs::read_to_string(&mark).is_ok_and(|have| have == SIMULATOR) {
        return Ok(packages);
    }
    fs::create_dir_all(&prefix)?;
    anyhow::ensure!(quiet(Command::new("node").arg("--version")), "node is missing");
    let ok = quiet(
        Command::new("npm")
            .args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"])
            .arg(&prefix)
            .arg(SIMULATOR),
    );
    anyhow::ensure!(ok, "npm install {SIMULATOR} failed");
    fs::write(mark, SIMULATOR)?;
    Ok(packages)
}

fn environment(venv: &Path, packages: &[&str]) -> Result<()> {
    let mark = venv.join("done");
    let want = packages.join(" ");
    if fs::read_to_string(&mark).is_ok_and(|have| have == want) {
        return Ok(());
    }
    anyhow::ensure!(quiet(Command::new("python3").args(["-m", "venv"]).arg(venv)), "python3 -m venv failed");
    let ok = quiet(
        // Not `bin/pip`: it names the folder in which the environment was made, and a cache may be moved.
        Command::new(venv.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(packages),
    );
    anyhow::ensure!(ok, "pip install {want} failed");
    fs::write(mark, want).context("cannot mark the environment as complete")
}

/// `schemas/sarif-2.1.0.json`, out of a crate that is fetched and never built.
fn schemas(dir: &Path) -> Result<()> {
    let dir = dir.join("schemas");
    let (crate_name, version) = SARIF;
    let out = dir.join("sarif-2.1.0.json");
    let mark = dir.join("done");
    if out.is_file() && fs::read_to_string(&mark).is_ok_and(|have| have == version) {
        return Ok(());
    }
    let package = dir.join("fetch");
    fs::create_dir_all(package.join("src"))?;
    fs::write(package.join("src/lib.rs"), "")?;
    let manifest = format!(
        "[package]\nname = \"fetch\"\nedition = \"2024\"\n[dependencies]\n{crate_name} = {{ version = \"={version}\", default-features = false }}\n[workspace]\n"
    );
    fs::write(package.join("Cargo.toml"), manifest)?;
    let said = Command::new("cargo")
        .args(["metadata", "--format-version", "1"])
        .current_dir(&package)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()?;
    anyhow::ensure!(said.status.success(), "cargo cannot fetch {crate_name} {version}");
    let metadata: serde_json::Value = serde_json::from_slice(&said.stdout)?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    let found = packages.iter().find(|p| p["name"] == crate_name).and_then(|p| p["manifest_path"].as_str());
    let folder = found.and_then(|m| Path::new(m).parent()).context("the crate is not there")?;
    fs::copy(folder.join("src/schema.json"), &out).context("the crate has no schema.json")?;
    fs::write(mark, version).context("cannot mark the schema as complete")
}

fn browser() -> Result<()> {
    if Path::new("/usr/bin/chromium").is_file() {
        return Ok(());
    }
    quiet(Command::new("apt-get").args(["-q", "update"]));
    let ok = quiet(Command::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive").args([
        "-q",
        "-y",
        "install",
        "--no-install-recommends",
        "chromium",
    ]));
    anyhow::ensure!(ok, "apt-get install chromium failed (needs root)");
    Ok(())
}

fn quiet(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
}
