//! What facts rest on that takes time to read: outbox, keys, dead letters, records of drills, the configuration's files, the
//! kernel's list of sockets. Read by commands before they answer and by the daemon now and then; looking at a control reads none of it.

use super::alerting;
use super::pipeline::{self, StoredKey};
use super::redrive::{self, Wanted};
use super::rules;
use crate::config;
use crate::node::{Node, Store, now};
use model::Time;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What has to be read beforehand, since looking at a control does not wait: outbox, keys, dead letters, the configuration's files,
/// listening sockets.
#[derive(Clone, Default)]
pub struct Gathered {
    pub parcels: Vec<alert::Parcel>,
    pub keys: Vec<StoredKey>,
    /// Received times of the dead letters that nobody has settled, oldest first.
    pub letters: Option<Vec<Time>>,
    /// Sources and sinks whose settings on disk differ from the running ones; `None` without a file.
    pub differing: Option<BTreeSet<String>>,
    pub doctor_lines: usize,
    pub public_listeners: Option<usize>,
    pub failing_tests: Option<usize>,
    pub open_plans: Option<usize>,
    pub free_percent: Option<i64>,
    pub reserve_percent: Option<i64>,
}

/// Reads what facts need. Nothing here changes anything.
pub async fn gather(node: &Node) -> Gathered {
    let parcels = alerting::parcels(&node.state).await.unwrap_or_default();
    let keys = pipeline::stored_keys(&node.state).await.unwrap_or_default();
    let snapshot = node.snapshot();
    let files = node.rules.files.clone();
    let known = node.book.failing_tests();
    let read = tokio::task::spawn_blocking(move || {
        let failing = known.unwrap_or_else(|| failing_tests(&files));
        let plans = super::register::open_plans(&snapshot, now());
        (letters(&snapshot), public_listeners(), plans, failing)
    });
    let (letters, public_listeners, open_plans, failing) = match read.await {
        Ok((letters, listeners, plans, failing)) => (letters, listeners, plans, Some(failing)),
        Err(_) => (None, None, None, None),
    };
    if let Some(n) = failing {
        node.book.note_failing_tests(n);
    }
    let doctor = crate::ops::doctor::doctor(&crate::ops::doctor::Doctor {}, node).await;
    let (free_percent, reserve_percent) = space(node);
    Gathered {
        parcels,
        keys,
        letters,
        differing: differing(node),
        doctor_lines: doctor.map_or(0, |a| a.items.len()),
        public_listeners,
        failing_tests: failing,
        open_plans,
        free_percent,
        reserve_percent,
    }
}

fn failing_tests(files: &[(String, String)]) -> usize {
    let report = detect::run_tests(&rules::rules(files).0);
    report.results.iter().filter(|r| !r.passed()).count() + report.failed.len() + report.untested.len()
}

/// Resolutions of a re-drive lie in the same dataset: they are no letters, and settle some.
fn letters(snapshot: &vault::Snapshot) -> Option<Vec<Time>> {
    let wanted = Wanted { without_bytes: true, ..Wanted::default() };
    let book = redrive::read(snapshot, &wanted).ok()?;
    let mut out: Vec<Time> = book.letters.iter().filter(|l| l.is_open).map(|l| l.received).collect();
    out.sort();
    Some(out)
}

/// Settings on disk beside those that run: a file that was edited and not taken over is a claim that is not true yet.
fn differing(node: &Node) -> Option<BTreeSet<String>> {
    let file = node.config_files.first()?;
    let on_disk = config::load(Some(file), &config::environment()).ok()?.config;
    let json = |v: serde_json::Result<serde_json::Value>| v.unwrap_or_default();
    let mut out = BTreeSet::new();
    for (name, running) in &node.config.sources {
        let there = on_disk.sources.get(name).map(|s| json(serde_json::to_value(s)));
        if there != Some(json(serde_json::to_value(running))) {
            out.insert(name.clone());
        }
    }
    for (name, running) in &node.config.sinks {
        let there = on_disk.sinks.get(name).map(|s| json(serde_json::to_value(s)));
        if there != Some(json(serde_json::to_value(running))) {
            out.insert(name.clone());
        }
    }
    Some(out)
}

/// Free and reserved share of the data folder's disk, in percent.
fn space(node: &Node) -> (Option<i64>, Option<i64>) {
    let Ok(disk) = rustix::fs::statvfs(&node.data) else { return (None, None) };
    let total = disk.f_blocks.saturating_mul(disk.f_frsize);
    let percent = |bytes: u64| {
        // To the nearest: a reserve of 2 percent must not read 1 because a byte was cut off.
        let half = u128::from(total) / 2;
        let share =
            u128::from(bytes).saturating_mul(100).saturating_add(half).checked_div(u128::from(total))?;
        i64::try_from(share).ok()
    };
    let reserve = match &node.store {
        Store::Open(v) => v.status().reserve_bytes,
        Store::Files(_) => None,
    };
    (percent(disk.f_bavail.saturating_mul(disk.f_frsize)), reserve.and_then(percent))
}

/// Sockets of this process that listen on an address that is neither loopback nor private: read from the kernel, not from our own
/// settings. `None` where there is no `/proc`.
fn public_listeners() -> Option<usize> {
    let mine: BTreeSet<String> = std::fs::read_dir("/proc/self/fd")
        .ok()?
        .flatten()
        .filter_map(|e| std::fs::read_link(e.path()).ok())
        .filter_map(|l| Some(l.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let mut public = 0;
    // TCP_LISTEN is 0A; a bound UDP socket is 07 (net/tcp_states.h).
    for (table, listening) in [("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")] {
        let text = std::fs::read_to_string(format!("/proc/self/net/{table}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let columns: Vec<&str> = line.split_ascii_whitespace().collect();
            let (Some(local), Some(state), Some(inode)) = (columns.get(1), columns.get(3), columns.get(9))
            else {
                continue;
            };
            if *state == listening && mine.contains(*inode) && !address(local).is_some_and(is_private) {
                public += 1;
            }
        }
    }
    Some(public)
}

/// The address of `0100007F:1F90`: 32-bit words in the byte order of the host, in hexadecimal.
fn address(local: &str) -> Option<IpAddr> {
    let hex = local.split_once(':')?.0;
    let words: Vec<u32> = (0..hex.len() / 8)
        .map(|i| u32::from_str_radix(hex.get(i * 8..i * 8 + 8).unwrap_or_default(), 16))
        .collect::<Result<_, _>>()
        .ok()?;
    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_ne_bytes()).collect();
    if let Ok(four) = <[u8; 4]>::try_from(bytes.as_slice()) {
        return Some(Ipv4Addr::from(four).into());
    }
    <[u8; 16]>::try_from(bytes.as_slice()).ok().map(|b| Ipv6Addr::from(b).to_canonical())
}

pub fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[track_caller]
    fn check(kernel: &str, expect: &str, private: bool) {
        let ip = address(kernel).unwrap();
        assert_eq!((ip.to_string().as_str(), is_private(ip)), (expect, private));
    }

    /// Lines of `/proc/net/tcp` and `tcp6` on a little-endian machine.
    #[test]
    #[cfg(target_endian = "little")]
    fn the_kernels_addresses_are_read() {
        check("0100007F:1F90", "127.0.0.1", true);
        check("00000000:0202", "0.0.0.0", false);
        check("0A01140A:0050", "10.20.1.10", true);
        check("00000000000000000000000001000000:1F90", "::1", true);
        check("00000000000000000000000000000000:1F90", "::", false);
        check("0000000000000000FFFF00000100007F:1F90", "127.0.0.1", true);
        assert_eq!(address("junk"), None);
    }

    /// A settled letter must not wait for a decision for ever, and neither must the record that it is settled.
    #[tokio::test]
    async fn only_open_letters_wait_for_a_decision() {
        let scratch = Scratch::new("letters");
        let node = scratch.open("{}").await;
        let letter = serde_json::json!({ "schema": "avouch.dead_letter/1", "stage": "decode", "source": "s", "text": "x" });
        let first = node.record(forward::DEAD_LETTER_DATASET, &letter).await.unwrap();
        node.record(forward::DEAD_LETTER_DATASET, &letter).await.unwrap();
        assert_eq!(letters(&node.snapshot()).unwrap().len(), 2);
        let settled = redrive::resolved(first.first_seq, "a", "w", now());
        node.record(forward::DEAD_LETTER_DATASET, &settled).await.unwrap();
        assert_eq!(letters(&node.snapshot()).unwrap().len(), 1);
    }
}
