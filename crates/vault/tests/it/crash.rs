//! Power cuts at every kind of moment, on a disk that loses what was not synced.

use crate::seal::check_verify;
use crate::sim::SimDisk;
use crate::support::*;
use std::collections::BTreeMap;
use std::sync::Arc;

fn is_slow() -> bool {
    std::env::var_os("AVOUCH_SLOW_TESTS").is_some()
}

/// Runs a vault until the machine dies after `operations` disk operations; gives what was acknowledged, by seq.
async fn run_until_death(
    folder: &Folder,
    seed: u64,
    operations: u64,
) -> (BTreeMap<u64, Vec<u8>>, Vec<Vec<u8>>, u64) {
    let disk = SimDisk::new(seed);
    disk.die_after(operations);
    let world = World::on(Arc::new(disk.clone()));
    let (mut acked, mut sent, mut beat) = (BTreeMap::new(), Vec::new(), 0);
    if let Ok((vault, _)) = world.try_open(&folder.vault(), settings(&folder.vault())) {
        for i in 0..40usize {
            // Large commits are written in whole blocks, past the page cache, with the end of the commit before them.
            let batch = if (seed / 4) % 2 == 1 && i % 3 == 1 { large(i * 7, 7) } else { numbered(i * 7, 7) };
            sent.extend((0..7).map(|r| batch.raw(r).to_vec()));
            let Ok(ack) = vault.append(batch.clone()).await else { break };
            for r in 0..7 {
                acked.insert(ack.first_seq + r as u64, batch.raw(r).to_vec());
            }
            let seal = if i % 8 == 7 { vault.seal_now().await } else { Ok(()) };
            if seal.is_ok() && i % 3 == 0 && vault.checkpoint_now().await.is_ok() {
                beat = vault.end_seq();
            }
            if disk.is_dead() {
                break;
            }
        }
        drop(vault);
    }
    disk.crash();
    (acked, sent, beat)
}

async fn check(seed: u64, operations: u64) {
    let folder = Folder::new("crash");
    let (acked, sent, beat) = run_until_death(&folder, seed, operations).await;
    let world = World::new();
    // Another life, another key material: random bytes must not repeat.
    let world = World { random: TestRandom::new(seed + 1000), ..world };
    let what = format!("seed {seed}, operation {operations}");
    let (vault, opened) =
        world.try_open(&folder.vault(), settings(&folder.vault())).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(opened.lost, None, "{what}");
    assert!(opened.recovered.iter().all(|w| w.damaged == 0), "{what}: {opened:?}");
    let got = read_foreign(&vault).await;
    let by_seq: BTreeMap<u64, &Vec<u8>> = got.iter().map(|s| (s.0.seq, &s.1)).collect();
    for (seq, raw) in &acked {
        assert_eq!(by_seq.get(seq), Some(&raw), "{what}: an acknowledged event is gone (V2)");
    }
    let mut raws: Vec<&Vec<u8>> = got.iter().map(|s| &s.1).collect();
    raws.sort();
    assert!(raws.windows(2).all(|w| w[0] != w[1]), "{what}: doubled");
    assert!(raws.iter().all(|r| sent.contains(r)), "{what}: invented");
    assert!(vault.end_seq() >= beat, "{what}");
    vault.append(numbered(5000, 7)).await.unwrap();
    vault.close().await.unwrap();
    check_verify(&folder, &world);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_at_any_moment_of_the_first_life() {
    // Every operation from the first file on, through two seals and several checkpoints.
    for operations in (0..160).step_by(if is_slow() { 1 } else { 4 }) {
        check(operations, operations).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_at_random_moments() {
    let n = if is_slow() { 600 } else { 20 };
    for seed in 0..n {
        check(7000 + seed, 100 + (seed * 7919) % 500).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_crash_during_recovery_changes_nothing() {
    for seed in 0..if is_slow() { 100u64 } else { 10 } {
        let folder = Folder::new("crash2");
        let (acked, _, _) = run_until_death(&folder, seed, 150 + seed * 5).await;
        for again in 0..3 {
            let disk = SimDisk::new(seed + again);
            disk.die_after(seed % 17 + again * 5);
            let world = World {
                random: TestRandom::new(500 + seed * 10 + again),
                ..World::on(Arc::new(disk.clone()))
            };
            if let Ok((vault, _)) = world.try_open(&folder.vault(), settings(&folder.vault())) {
                let _ = vault.seal_now().await;
            }
            disk.crash();
        }
        let world = World { random: TestRandom::new(900 + seed), ..World::new() };
        let (vault, _) = world.open(&folder);
        let got = read_foreign(&vault).await;
        for (seq, raw) in &acked {
            let found = got.iter().filter(|s| s.0.seq == *seq).map(|s| &s.1).collect::<Vec<_>>();
            assert_eq!(found, [raw], "seed {seed}, seq {seq}");
        }
        vault.close().await.unwrap();
        check_verify(&folder, &world);
    }
}
