//! Paired rounds in turns, and clocks that a shared machine does not spoil.

use crate::report::Round;
use anyhow::{Context as _, Result};

/// `n` rounds; each side goes first every other time, so that what one leaves behind (caches, dirty pages) hits both.
pub fn pairs(
    n: usize,
    mut ours: impl FnMut(usize) -> Result<f64>,
    mut theirs: impl FnMut(usize) -> Result<f64>,
) -> Result<Vec<Round>> {
    (0..n)
        .map(|i| {
            Ok(if i % 2 == 0 {
                let ours = ours(i)?;
                Round { ours, theirs: theirs(i)? }
            } else {
                let theirs = theirs(i)?;
                Round { ours: ours(i)?, theirs }
            })
        })
        .collect()
}

/// Seconds that this thread was on a processor.
pub fn time<T>(f: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    let cpu = thread_cpu()?;
    let out = f()?;
    Ok((out, thread_cpu()? - cpu))
}

fn thread_cpu() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").context("no schedstat")?;
    Ok(text.split_whitespace().next().context("no schedstat")?.parse::<f64>()? / 1e9)
}

/// CPU seconds of a process that runs, its threads included.
pub fn process_cpu(id: u32) -> Option<f64> {
    ticks(&std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?, 0)
}

/// CPU seconds of all children of this process that have ended.
pub fn children_cpu() -> f64 {
    std::fs::read_to_string("/proc/self/stat").ok().and_then(|s| ticks(&s, 2)).unwrap_or(0.0)
}

/// User and system time of a stat line: fields 14 and 15, of children 16 and 17. Linux counts them in hundredths of a second for
/// every program.
fn ticks(stat: &str, skip: usize) -> Option<f64> {
    let rest = stat.rsplit_once(") ")?.1;
    let sum: u64 = rest.split(' ').skip(11 + skip).take(2).map_while(|f| f.parse::<u64>().ok()).sum();
    Some(sum as f64 / 100.0)
}

/// Most memory that a running process had, in MB.
pub fn peak_mb(id: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}
