//! A vault with sealed segments, made once in a run and shared by `query` and `verify`; its twin without encryption, which is plain
//! Parquet that anybody reads; and the raw bytes of all events in one file.

use crate::generate::Trail;
use crate::{Ctx, say};
use anyhow::{Context as _, Result};
use model::{Batch, ColumnSpec, Columns, Provenance, Time};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use vault::format::leaf::Encryption;
use vault::{DatasetSettings, Derive, KeyProvider, LocalDisk, LocalKeys, Settings, SystemRandom, Vault};

pub const DATASET: &str = "aws.cloudtrail";

pub struct Fixture {
    /// Data folder of the encrypted vault, as `avouch` knows it.
    pub data: PathBuf,
    /// Parquet files of the twin.
    pub plain: Vec<PathBuf>,
    /// Raw of all events, one a line.
    pub raw: PathBuf,
    pub raw_bytes: u64,
    pub events: usize,
    pub vkey: String,
    /// Values that few events have, by column, with how many.
    pub rare: BTreeMap<&'static str, (String, u64)>,
    pub about: String,
}

/// Columns from raw, as the shipped binary makes them.
pub struct ShapeColumns;

impl Derive for ShapeColumns {
    fn specs(&self, dataset: &str) -> Vec<ColumnSpec> {
        shape::specs(dataset)
    }
    fn parser(&self, dataset: &str) -> String {
        shape::parser(dataset)
    }
    fn derive(&self, dataset: &str, batch: &Batch) -> Columns {
        shape::derive(dataset, batch)
    }
}

pub fn get(ctx: &Ctx) -> Result<&Fixture> {
    if ctx.fixture.get().is_none() {
        let made = make(ctx)?;
        let _ = ctx.fixture.set(made);
    }
    ctx.fixture.get().context("no fixture")
}

pub fn keys(data: &Path) -> Result<Arc<dyn KeyProvider>> {
    Ok(Arc::new(LocalKeys::open(&data.join("secret/kek"), Arc::new(SystemRandom), &LocalDisk)?.0))
}

fn open(data: &Path, encryption: Encryption) -> Result<Vault> {
    std::fs::create_dir_all(data)?;
    let dir = data.join("vault");
    let mut s = Settings::new(&dir);
    s.background = false;
    s.datasets.insert(DATASET.into(), DatasetSettings { max_age: None, encryption: Some(encryption) });
    Ok(Vault::open(&dir, s, vault::Host::system(keys(data)?, Arc::new(ShapeColumns)))?.0)
}

fn make(ctx: &Ctx) -> Result<Fixture> {
    let (events, segment): (usize, usize) = ctx.pick((100_000, 20_000), (1_000_000, 100_000));
    let (data, twin) = (ctx.scratch.join("data"), ctx.scratch.join("twin"));
    say(format!(
        "making a vault of {events} events in segments of {segment}, and its twin without encryption"
    ));
    let started = Instant::now();
    let (sealed, plain) = (open(&data, Encryption::Pme)?, open(&twin, Encryption::Sse)?);
    let raw = ctx.scratch.join("raw.ndjson");
    let mut file = std::io::BufWriter::with_capacity(1 << 20, std::fs::File::create(&raw)?);
    let mut trail = Trail::new(5, Vec::new(), false);
    let (plan, mut raw_bytes, mut seen) = (shape::Plan::default(), 0, Vec::new());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for from in (0..events).step_by(10_000) {
        let mut b = Batch::builder();
        let p =
            b.provenance(Provenance::new("trail").sender("sqs").account("111111111111").region("eu-west-2"));
        let d = b.dataset(DATASET);
        for _ in 0..10_000 {
            let record = trail.record();
            file.write_all(record.as_bytes())?;
            file.write_all(b"\n")?;
            raw_bytes += record.len() as u64 + 1;
            b.push(record.as_bytes(), p, d);
        }
        let shaped = shape::intake(&b.finish(), &plan, Time(1_769_508_000_000_000), &[]).batch;
        let columns = shape::derive(DATASET, &shaped);
        seen.push(columns);
        runtime.block_on(sealed.append(shaped.clone()))?;
        runtime.block_on(plain.append(shaped))?;
        if (from + 10_000).is_multiple_of(segment) {
            runtime.block_on(sealed.seal_now())?;
            runtime.block_on(plain.seal_now())?;
            say(format!("{} events, {} s", from + 10_000, started.elapsed().as_secs()));
        }
    }
    file.flush()?;
    let rare = rare(&seen);
    let vkey = sealed.status().vkey;
    let segments = sealed.snapshot().segments_of(DATASET).len();
    let files = plain.snapshot().segments_of(DATASET).iter().map(|m| m.path.clone()).collect();
    runtime.block_on(sealed.close())?;
    runtime.block_on(plain.close())?;
    let about = format!(
        "{events} events, {:.0} MB of raw, {segments} segments; {}",
        raw_bytes as f64 / 1e6,
        trail.text()
    );
    say(&about);
    Ok(Fixture { data, plain: files, raw, raw_bytes, events, vkey, rare, about })
}

/// A value of each column that between 3 and 12 events have (one event for ids), chosen by order, not by chance.
fn rare(all: &[Columns]) -> BTreeMap<&'static str, (String, u64)> {
    let mut out = BTreeMap::new();
    for column in ["actor", "src_ip", "request_id"] {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for c in all {
            if let Some(model::Column::Text(t)) = c.get(column) {
                for v in (0..c.rows).filter_map(|i| t.get(i)) {
                    *counts.entry(v).or_default() += 1;
                }
            }
        }
        let range = if column == "request_id" { 1..=1 } else { 3..=12 };
        let found: Vec<_> = counts.iter().filter(|(_, n)| range.contains(*n)).collect();
        if let Some((v, n)) = found.get(found.len() / 2) {
            out.insert(column, ((**v).to_owned(), **n));
        }
    }
    out
}
