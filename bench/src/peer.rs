//! Software by others: where it is and which version.

use crate::machine::said;
use crate::{Ctx, report::Report};
use anyhow::{Context as _, Result};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

pub const KIT_WAY: &str =
    "`cargo xtask bench` installs it into its kit; see the `not available` line above for why it could not";

/// The kit's Python with DuckDB and PyArrow.
pub fn python(ctx: &Ctx, report: &mut Report, subject: &str) -> Option<PathBuf> {
    let p = ctx.kit.join("venv/bin/python");
    if p.is_file() {
        return Some(p);
    }
    report.missing(subject, "Python with DuckDB", KIT_WAY);
    None
}

/// A program of the machine.
pub fn program(name: &str, package: &str, report: &mut Report, subject: &str) -> Option<String> {
    let flag = if name == "openssl" { "version" } else { "--version" };
    let there = Command::new(name).arg(flag).output().is_ok_and(|o| o.status.success());
    if there {
        return Some(said(name, &[flag]));
    }
    report.missing(subject, name, format!("install the package {package}"));
    None
}

/// rsyslogd in the foreground; killed when dropped.
pub struct Rsyslogd {
    pub child: Child,
    pub version: String,
}

const LIBRARIES: &str = "debian/usr/lib/x86_64-linux-gnu";

impl Rsyslogd {
    pub fn find(ctx: &Ctx, report: &mut Report, subject: &str) -> bool {
        let there = ctx.kit.join("debian/usr/sbin/rsyslogd").is_file();
        if !there {
            report.missing(subject, "rsyslogd", KIT_WAY);
        }
        there
    }

    pub fn start(ctx: &Ctx, name: &str, config: &str) -> Result<Rsyslogd> {
        let (program, libraries) = (ctx.kit.join("debian/usr/sbin/rsyslogd"), ctx.kit.join(LIBRARIES));
        let dir = ctx.scratch.join(name);
        std::fs::create_dir_all(&dir)?;
        let file = dir.join("rsyslog.conf");
        std::fs::write(&file, format!("global(workDirectory=\"{}\")\n{config}", dir.display()))?;
        let log = std::fs::File::create(dir.join("rsyslogd.log"))?;
        let mut version = Command::new(&program);
        version.arg("-v").env("LD_LIBRARY_PATH", &libraries);
        let text = String::from_utf8_lossy(&version.output()?.stdout).into_owned();
        let version = text.split_whitespace().nth(1).unwrap_or("?").to_owned();
        let child = Command::new(program)
            .args(["-n", "-f"])
            .arg(&file)
            .arg("-i")
            .arg(dir.join("pid"))
            .arg("-M")
            .arg(libraries.join("rsyslog"))
            .env("LD_LIBRARY_PATH", &libraries)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("rsyslogd does not start")?;
        let mut daemon = Rsyslogd { child, version };
        crate::peer::wait_for("rsyslogd runs", 30, || {
            if let Some(status) = daemon.child.try_wait()? {
                let said = std::fs::read_to_string(dir.join("rsyslogd.log")).unwrap_or_default();
                anyhow::bail!("rsyslogd ended with {status}: {said}");
            }
            Ok(dir.join("pid").exists())
        })?;
        Ok(daemon)
    }
}

impl Drop for Rsyslogd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks every 2 ms until it holds, `seconds` at most.
pub fn wait_for(what: &str, seconds: u64, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(seconds);
    while !holds()? {
        anyhow::ensure!(std::time::Instant::now() < end, "not after {seconds} s: {what}");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    Ok(())
}
