//! `append`: the vault's writer in this process, and a loop of `write` and `fdatasync` over the same bytes in groups of the same
//! size into a file beside it. The vault hashes, compresses and encrypts on the way; the loop does nothing but write.
//!
//! Sixteen appenders wait for their acknowledgement each, as sources do. Everything that was acknowledged is read back first.

use crate::generate::Trail;
use crate::report::{Report, Row, Spread, Unit};
use crate::rounds::pairs;
use crate::{Ctx, say};
use anyhow::{Context as _, Result};
use model::{Batch, Provenance};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vault::{LocalKeys, NoColumns, Selection, Settings, SystemRandom, Vault};

const APPENDERS: usize = 16;

pub fn run(ctx: &Ctx, report: &mut Report) -> Result<()> {
    let n = ctx.pick(20_000, 240_000);
    let mut trail = Trail::new(3, Vec::new(), false);
    let records: Vec<String> = (0..n).map(|_| trail.record()).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    for (name, group, share) in [("64 KiB", 64 << 10, 8), ("1 MiB", 1 << 20, 1), ("4 MiB", 4 << 20, 1)] {
        let records = &records[..records.len() / share];
        let raw: Vec<u8> = records.iter().flat_map(|r| r.bytes()).collect();
        let mb = raw.len() as f64 / 1e6;
        // A quarter of a group each: commits gather what several appenders bring.
        let batches = batches(records, group / 4);
        let (mut plain_times, mut acks, mut commits) = (Vec::new(), Vec::new(), 0);
        runtime.block_on(read_back(ctx, &batches, group))?;
        say(format!("{name}: {mb:.0} MB in {} batches, read back after appending", batches.len()));
        let rounds = pairs(
            // The disk is shared with others on most machines: seven rounds gave medians a tenth apart.
            ctx.pick(3, 15),
            |i| {
                let (took, times, n) = runtime.block_on(ours(ctx, &batches, group, i))?;
                acks.push(p99(times));
                commits = n;
                Ok(mb / took)
            },
            |_| {
                let (took, times) = plain(&ctx.scratch.join("plain"), &raw, group)?;
                plain_times.push(p99(times));
                Ok(mb / took)
            },
        )?;
        let (ack, sync) = (Spread::of(acks), Spread::of(plain_times));
        let row = Row::new(
            "append",
            format!("groups of {name}"),
            "write + fdatasync loop, the better of growing and reserved",
            Unit::Megabytes,
        )
        .bar(0.5)
        .aim(0.6)
        .rounds(rounds)
        .checked(format!("{} events, {mb:.0} MB, all read back byte for byte", records.len()))
        .more(
            "p99 acknowledgement",
            format!(
                "{:.1} ms, {:.1} x the loop's p99 write + sync ({:.1} ms)",
                ack.median,
                ack.median / sync.median,
                sync.median
            ),
        )
        .more("commits", format!("{commits}, {:.0} KB of raw each", mb * 1e3 / commits.max(1) as f64));
        report.add(row);
    }
    Ok(())
}

fn batches(records: &[String], bytes: usize) -> Vec<Batch> {
    let mut out = Vec::new();
    let mut rest = records;
    while !rest.is_empty() {
        let mut b = Batch::builder();
        let p =
            b.provenance(Provenance::new("aws").sender("sqs").account("111122223333").region("eu-west-2"));
        let d = b.dataset("aws.cloudtrail");
        let (mut sum, mut n) = (0, 0);
        while n < rest.len() && sum < bytes {
            b.push(rest[n].as_bytes(), p, d);
            sum += rest[n].len();
            n += 1;
        }
        out.push(b.finish());
        rest = &rest[n..];
    }
    out
}

fn open(dir: &Path, group: usize) -> Result<Vault> {
    let keys = Arc::new(LocalKeys::new(&vault::Dek::new([9; 32]), Arc::new(SystemRandom)));
    let mut s = Settings::new(&dir.join("vault"));
    s.background = false;
    s.commit_bytes = group;
    Ok(Vault::open(&dir.join("vault"), s, vault::Host::system(keys, Arc::new(NoColumns)))?.0)
}

async fn append(vault: &Vault, batches: &[Batch]) -> Result<Vec<Duration>> {
    let mut tasks = Vec::new();
    for t in 0..APPENDERS {
        let (vault, mine) =
            (vault.clone(), batches.iter().skip(t).step_by(APPENDERS).cloned().collect::<Vec<_>>());
        tasks.push(tokio::spawn(async move {
            let mut times = Vec::with_capacity(mine.len());
            for b in mine {
                let t = Instant::now();
                vault.append(b).await?;
                times.push(t.elapsed());
            }
            Ok::<_, vault::VaultError>(times)
        }));
    }
    let mut acks = Vec::new();
    for t in tasks {
        acks.extend(t.await??);
    }
    Ok(acks)
}

async fn ours(ctx: &Ctx, batches: &[Batch], group: usize, i: usize) -> Result<(f64, Vec<Duration>, u64)> {
    let dir = ctx.scratch.join(format!("append-{i}"));
    let vault = open(&dir, group)?;
    let start = Instant::now();
    let acks = append(&vault, batches).await?;
    let took = start.elapsed().as_secs_f64();
    let commits = vault.status().commits;
    drop(vault);
    std::fs::remove_dir_all(dir)?;
    Ok((took, acks, commits))
}

/// Every event that was acknowledged comes back: count, and a sum over the hashes that does not depend on their order.
async fn read_back(ctx: &Ctx, batches: &[Batch], group: usize) -> Result<()> {
    let dir = ctx.scratch.join("append-check");
    let vault = open(&dir, group)?;
    append(&vault, batches).await?;
    let mut reader = vault.reader(Selection { datasets: vec!["aws.cloudtrail".into()], from: 0 });
    let mut found = (0, 0);
    loop {
        let got = reader.next(8 << 20, Duration::ZERO).await?;
        if got.is_empty() {
            break;
        }
        let (n, sum) = digest(&got);
        found = (found.0 + n, found.1 ^ sum);
    }
    anyhow::ensure!(found == digest(batches), "what was appended does not come back: {} events", found.0);
    drop(reader);
    drop(vault);
    std::fs::remove_dir_all(dir).context("cannot remove the vault")
}

fn digest(batches: &[Batch]) -> (usize, u64) {
    let mut out = (0, 0);
    for b in batches {
        for i in 0..b.len() {
            let hash = model::sha256(&[b.raw(i)]);
            out = (out.0 + 1, out.1 ^ hash.first_chunk().map_or(0, |h| u64::from_le_bytes(*h)));
        }
    }
    out
}

/// The loop at its best: a file that grows, or one whose room was reserved before the clock started (then a sync need not write
/// the file's new length each time).
fn plain(path: &Path, bytes: &[u8], group: usize) -> Result<(f64, Vec<Duration>)> {
    let (growing, reserved) = (one_loop(path, bytes, group, false)?, one_loop(path, bytes, group, true)?);
    Ok(if growing.0 < reserved.0 { growing } else { reserved })
}

fn one_loop(path: &Path, bytes: &[u8], group: usize, reserve: bool) -> Result<(f64, Vec<Duration>)> {
    let file = std::fs::File::create(path)?;
    if reserve {
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes.len() as u64)?;
        file.sync_all()?;
    }
    let (start, mut at, mut times) = (Instant::now(), 0, Vec::new());
    for g in bytes.chunks(group) {
        let t = Instant::now();
        file.write_all_at(g, at)?;
        file.sync_data()?;
        times.push(t.elapsed());
        at += g.len() as u64;
    }
    let took = start.elapsed().as_secs_f64();
    std::fs::remove_file(path)?;
    Ok((took, times))
}

/// In milliseconds.
fn p99(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times.get(times.len() * 99 / 100).map_or(f64::NAN, |t| t.as_secs_f64() * 1e3)
}
