//! `verify`: the shipped `avouch verify` with one job, and programs that hash the same bytes and prove nothing.
//!
//! Level `files` against `openssl dgst -sha256` over the same files; level `events` (every event re-hashed, every column derived
//! again) against `sha256sum` over the same raw bytes in one file. Verification must say `proven` and count what is there first.

use crate::report::{Report, Row, Unit};
use crate::rounds::{children_cpu, pairs};
use crate::{Ctx, fixture, peer, say};
use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

pub fn run(ctx: &Ctx, report: &mut Report) -> Result<()> {
    let openssl = peer::program("openssl", "openssl", report, "verify");
    let coreutils = peer::program("sha256sum", "coreutils", report, "verify");
    let f = fixture::get(ctx)?;
    if let Some(version) = openssl {
        let files = hashed(&f.data.join("vault"))?;
        let bytes: u64 = files.iter().filter_map(|p| Some(p.metadata().ok()?.len())).sum();
        let said = verify(ctx, f, "files")?.1;
        let counted = number(&said, "file_bytes")?;
        // The verifier counts the files that leaves name, and reads the log's own on top; both sides get the same list.
        anyhow::ensure!(counted <= bytes, "the verifier read {counted} bytes where there are {bytes}");
        let mb = counted as f64 / 1e6;
        say(format!("{} files with {bytes} bytes; the verifier hashes {counted} of them", files.len()));
        let mut n = (0.0, 0.0);
        // CPU time of the whole processes: both are one thread.
        let rounds = pairs(
            ctx.pick(3, 7),
            |_| {
                let took = verify(ctx, f, "files")?.0;
                n.0 += took.0;
                Ok(mb / took.1)
            },
            |_| {
                let took = hash("openssl", &["dgst", "-sha256"], &files)?;
                n.1 += took.0;
                Ok(bytes as f64 / 1e6 / took.1)
            },
        )?;
        let wall = n.1 / n.0;
        let row = Row::new("verify", "every file", version, Unit::Megabytes)
            .cpu()
            .bar(0.7)
            .aim(0.85)
            .rounds(rounds)
            .checked(format!("proven; {}; {mb:.0} MB hashed", f.about))
            .more("wall", format!("{wall:.2} x"));
        report.add(row);
    }
    if let Some(version) = coreutils {
        let (_, said) = verify(ctx, f, "events")?;
        let counted = number(&said, "events")?;
        anyhow::ensure!(counted >= f.events as u64, "{counted} of {} events were checked", f.events);
        let mb = f.raw_bytes as f64 / 1e6;
        let raw = vec![f.raw.clone()];
        let rounds = pairs(
            ctx.pick(1, 3),
            |_| Ok(mb / verify(ctx, f, "events")?.0.1),
            |_| Ok(mb / hash("sha256sum", &[], &raw)?.1),
        )?;
        let row = Row::new("verify", "every event and column", version, Unit::Megabytes)
            .cpu()
            .bar(1.0)
            .rounds(rounds)
            .checked(format!("proven; {counted} events re-hashed; {}", f.about));
        report.add(row);
    }
    Ok(())
}

/// Sealed files: Parquet and what lies beside it.
fn hashed(vault: &Path) -> Result<Vec<PathBuf>> {
    let mut out = Vec::new();
    let mut open = vec![vault.to_path_buf()];
    while let Some(dir) = open.pop() {
        for e in std::fs::read_dir(&dir)? {
            let p = e?.path();
            if p.is_dir() {
                open.push(p);
            } else if p.strip_prefix(vault).is_ok_and(|r| !r.starts_with("log") && !r.starts_with("wal")) {
                out.push(p);
            }
        }
    }
    out.sort();
    Ok(out)
}

/// Wall and CPU seconds.
type Seconds = (f64, f64);

fn verify(ctx: &Ctx, f: &fixture::Fixture, level: &str) -> Result<(Seconds, serde_json::Value)> {
    let mut c = Command::new(&ctx.avouch);
    c.arg("verify").arg(&f.data).args(["--level", level, "--key", &f.vkey, "-o", "json", "--data-key"]);
    c.arg(f.data.join("secret/kek"));
    let (took, out) = timed(&mut c)?;
    let said: serde_json::Value = serde_json::from_slice(&out).context("avouch verify: no JSON")?;
    let report = said.pointer("/run/report").or_else(|| said.pointer("/report")).cloned();
    let report = report.with_context(|| format!("no report in {said}"))?;
    anyhow::ensure!(report["verdict"] == "proven", "not proven: {report}");
    Ok((took, report))
}

fn number(report: &serde_json::Value, name: &str) -> Result<u64> {
    report["checked"][name].as_u64().with_context(|| format!("no {name} in {report}"))
}

fn hash(program: &str, args: &[&str], files: &[PathBuf]) -> Result<Seconds> {
    Ok(timed(Command::new(program).args(args).args(files))?.0)
}

fn timed(c: &mut Command) -> Result<(Seconds, Vec<u8>)> {
    let (wall, cpu) = (Instant::now(), children_cpu());
    let out = c.stdin(Stdio::null()).stderr(Stdio::piped()).output()?;
    let took = (wall.elapsed().as_secs_f64(), children_cpu() - cpu);
    anyhow::ensure!(
        out.status.success(),
        "{:?} ended with {}: {}",
        c.get_program(),
        out.status,
        String::from_utf8_lossy(&out.stderr)
    );
    Ok((took, out.stdout))
}
