//! Torn tails, flipped bytes, unfinished seals.

use crate::seal::check_verify;
use crate::support::*;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vault::Selection;
use vault::read::{KeyRing, scan};

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for e in from.read_dir().unwrap() {
        let path = e.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

/// A stopped vault with three commits in its WAL: the file, its bytes without zero tail, where each commit ends.
async fn three_commits(name: &str) -> (Folder, World, PathBuf, Vec<u8>, Vec<usize>) {
    let folder = Folder::new(name);
    let world = World::new();
    let (vault, _) = world.open(&folder);
    for i in 0..3 {
        vault.append(numbered(i * 6, 6)).await.unwrap();
    }
    drop(vault);
    let wal = folder.vault().join("wal/0000000000000001.wal");
    let found = scan(&wal, &ring(&folder, &world)).unwrap().unwrap();
    let mut bytes = std::fs::read(&wal).unwrap();
    assert!(bytes.len() > found.valid_bytes as usize, "filled with zeroes");
    bytes.truncate(found.valid_bytes as usize);
    let ends = (0..3).map(|i| found.tail.commit(i).unwrap().end_offset as usize).collect();
    (folder, world, wal, bytes, ends)
}

fn ring(folder: &Folder, world: &World) -> KeyRing {
    let json = vault::format::VaultJson::read(&folder.vault()).unwrap().unwrap();
    KeyRing::new(&folder.vault(), &json.vault, Some(world.keys.clone()))
}

#[tokio::test]
async fn every_truncation_keeps_exactly_the_whole_commits() {
    let (folder, world, wal, bytes, ends) = three_commits("cut").await;
    let ring = ring(&folder, &world);
    for n in 0..=bytes.len() {
        std::fs::write(&wal, &bytes[..n]).unwrap();
        let whole = ends.iter().filter(|e| **e <= n).count();
        match scan(&wal, &ring).unwrap() {
            None => assert_eq!(whole, 0, "cut at {n}"),
            Some(found) => {
                assert_eq!((found.tail.commits(), found.damage.len()), (whole, 0), "cut at {n}");
                assert_eq!(found.rows, whole as u64 * 6);
            }
        }
    }
    // The whole start, at the places that differ.
    for n in [0, 1, 50, 108, ends[0] - 1, ends[0], ends[0] + 1, ends[0] + 18, ends[1], ends[2] - 1] {
        let here = Folder::new("cut-open");
        copy(&folder.0, &here.0);
        std::fs::write(here.vault().join("wal/0000000000000001.wal"), &bytes[..n]).unwrap();
        let whole = ends.iter().filter(|e| **e <= n).count();
        let (vault, opened) = world.open(&here);
        let got = read_foreign(&vault).await;
        assert_eq!(got.len(), whole * 6, "cut at {n}");
        let torn = ends.iter().all(|e| *e != n) && n > 108;
        assert_eq!(
            opened.quarantined.len(),
            usize::from(torn || (1..108).contains(&n)),
            "cut at {n}: {opened:?}"
        );
        let ack = vault.append(numbered(100, 6)).await.unwrap();
        assert_eq!(
            ack.first_seq % 6,
            (whole as u64 * 6 + u64::from(torn || whole > 0 || (1..108).contains(&n))) % 6,
            "after the event of recovery"
        );
        vault.close().await.unwrap();
        check_verify(&here, &world);
    }
}

#[tokio::test]
async fn damage_before_a_later_commit_keeps_both_sides() {
    let (folder, world, _, bytes, ends) = three_commits("flip").await;
    let step = if std::env::var_os("AVOUCH_SLOW_TESTS").is_some() { 17 } else { 191 };
    for at in (108..ends[1]).step_by(step) {
        let here = Folder::new("flip-open");
        copy(&folder.0, &here.0);
        let mut bad = bytes.clone();
        bad[at] ^= 0x10;
        std::fs::write(here.vault().join("wal/0000000000000001.wal"), &bad).unwrap();
        let (vault, opened) = world.open(&here);
        let wal = &opened.recovered[0];
        assert_eq!(wal.damaged, 1, "byte {at}: {opened:?}");
        assert!(opened.quarantined[0].why.starts_with("damaged: bytes"));
        let seqs: Vec<u64> = read_foreign(&vault).await.iter().map(|s| s.0.seq).collect();
        let damaged = if at < ends[0] { 0..6 } else { 6..12 };
        let lost: u64 = wal.lost.iter().map(|[a, b]| b - a).sum();
        assert_eq!(seqs.len() as u64 + lost, 18, "each seq is read or named as lost, byte {at}");
        assert!((0..18).filter(|s| !damaged.contains(s)).all(|s| seqs.contains(&s)), "byte {at}: {seqs:?}");
        assert!(lost <= 2, "one frame of two rows at most, byte {at}");
        assert!(wal.lost.iter().all(|[a, b]| seqs.iter().all(|s| s < a || s >= b)));
        let next = vault.append(numbered(50, 1)).await.unwrap().first_seq;
        assert!(next >= 18, "no seq twice");
        vault.close().await.unwrap();
        let (vault, _) = world.open(&here);
        assert_eq!(read_foreign(&vault).await.len(), seqs.len() + 1, "sealed as it was read");
        vault.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_flip_in_the_last_commit_is_a_torn_tail() {
    let (folder, world, _, bytes, ends) = three_commits("tail").await;
    for at in [ends[1], ends[1] + 30, ends[2] - 1] {
        let here = Folder::new("tail-open");
        copy(&folder.0, &here.0);
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        std::fs::write(here.vault().join("wal/0000000000000001.wal"), &bad).unwrap();
        let (vault, opened) = world.open(&here);
        assert_eq!((opened.recovered[0].commits, opened.recovered[0].damaged), (2, 0));
        assert!(opened.recovered[0].torn_bytes > 0);
        assert_eq!(read_foreign(&vault).await.len(), 12);
        vault.close().await.unwrap();
        check_verify(&here, &world);
    }
}

#[tokio::test]
async fn what_a_heartbeat_acknowledged_is_never_numbered_again() {
    let folder = Folder::new("beat");
    let world = World::new();
    let (vault, _) = world.open(&folder);
    vault.append(numbered(0, 6)).await.unwrap();
    vault.append(numbered(6, 6)).await.unwrap();
    vault.checkpoint_now().await.unwrap();
    drop(vault);
    let wal = folder.vault().join("wal/0000000000000001.wal");
    let end = scan(&wal, &ring(&folder, &world)).unwrap().unwrap().valid_bytes;
    let file = std::fs::File::options().write(true).open(&wal).unwrap();
    file.set_len(end - 1).unwrap();
    let (vault, opened) = world.open(&folder);
    assert_eq!(opened.lost, Some((6, 12)));
    until("the loss is an event", || vault.end_seq() == 13).await;
    assert_eq!(vault.append(numbered(50, 1)).await.unwrap().first_seq, 13);
    let own = read_all(&vault, Selection { datasets: vec!["avouch.vault".into()], from: 0 }, 1000).await;
    assert!(String::from_utf8_lossy(&own[0].1).contains(r#""lost":[6,12]"#));
    vault.close().await.unwrap();
}

#[tokio::test]
async fn a_file_that_no_leaf_names_is_put_aside() {
    let folder = Folder::new("foreign");
    let world = World::new();
    let (vault, _) = world.open(&folder);
    vault.append(numbered(0, 6)).await.unwrap();
    vault.close().await.unwrap();
    let data = folder.vault().join("data/dataset=syslog/day=2025-03-14");
    for name in ["9-0.parquet", "1-0.parquet.new"] {
        std::fs::write(data.join(name), b"").unwrap();
    }
    std::fs::create_dir_all(folder.vault().join("data/dataset=plain.a/_delta_log")).unwrap();
    std::fs::write(folder.vault().join("data/dataset=plain.a/_delta_log/0.json"), b"{}").unwrap();
    std::fs::write(folder.vault().join("side/9-0.side"), b"x").unwrap();
    let (vault, opened) = world.open(&folder);
    let paths: Vec<&str> = opened.quarantined.iter().map(|q| q.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "data/dataset=syslog/day=2025-03-14/1-0.parquet.new",
            "data/dataset=syslog/day=2025-03-14/9-0.parquet",
            "side/9-0.side"
        ]
    );
    assert_eq!(read_foreign(&vault).await.len(), 6);
    vault.close().await.unwrap();
    check_verify(&folder, &world);
}

#[tokio::test]
async fn a_missing_segment_is_named_and_the_rest_still_answers() {
    let folder = Folder::new("missing");
    let world = World::new();
    let (vault, _) = world.open(&folder);
    vault.append(numbered(0, 6)).await.unwrap();
    vault.close().await.unwrap();
    let path = "data/dataset=syslog/day=2025-03-14/1-2.parquet";
    std::fs::remove_file(folder.vault().join(path)).unwrap();
    let (vault, opened) = world.open(&folder);
    assert_eq!(opened.missing, [path]);
    assert_eq!(vault.snapshot().missing().len(), 1);
    assert_eq!(read_foreign(&vault).await.len(), 4);
    assert_eq!(vault.status().missing, [path]);
    drop(vault);
    let offline = vault::read::open(&folder.vault(), None, Arc::new(TestDerive)).unwrap();
    assert_eq!(offline.missing().len(), 1);
}

#[tokio::test]
async fn a_log_that_does_not_fit_its_checkpoint_is_not_continued() {
    let folder = Folder::new("log");
    let world = World::new();
    let (vault, _) = world.open(&folder);
    vault.append(numbered(0, 6)).await.unwrap();
    vault.close().await.unwrap();
    let tile = folder.vault().join("log/tile/0");
    let newest = tile
        .join("000.p")
        .read_dir()
        .unwrap()
        .map(|e| e.unwrap().path())
        .max_by_key(|p| p.file_name().unwrap().to_str().unwrap().parse::<u32>().unwrap())
        .unwrap();
    let mut bytes = std::fs::read(&newest).unwrap();
    bytes[3] ^= 1;
    std::fs::write(&newest, bytes).unwrap();
    let error = world.try_open(&folder.vault(), settings(&folder.vault())).unwrap_err();
    assert!(["vault.corrupt", "merkle.malformed"].contains(&error.code()), "{error}");
}

/// Pages of one write reach the disk in any order: the commit frame of a commit that was never acknowledged may be there before its
/// events. That is a torn tail. Only a whole commit behind it makes it damage. Recovery and `verify` say the same.
#[tokio::test]
async fn a_commit_frame_that_reached_the_disk_first_proves_nothing() {
    use vault::verify::{Options, verify};
    let (folder, world, wal, bytes, ends) = three_commits("reordered").await;
    let ring = ring(&folder, &world);
    let frames = |from: usize, to: usize| {
        let (mut at, mut out) = (from, Vec::new());
        while at < to {
            let head =
                vault::format::wal::FrameHead::decode(bytes[at..].first_chunk().unwrap()).unwrap().unwrap();
            out.push((at, at + head.frame_bytes()));
            at += head.frame_bytes();
        }
        out
    };
    for (commit, is_damage) in [(2, false), (1, true)] {
        let of_commit = frames(ends[commit - 1], ends[commit]);
        let (own, batches) = of_commit.split_last().unwrap();
        assert_eq!(batches.len(), 3, "three datasets");
        // Any of its batch frames, the whole of it or a part of it with or without its head.
        for (from, to) in
            batches.iter().flat_map(|&(a, b)| [(a, b), (a, a + 9), (a + 20, b), (a + 30, a + 31)])
        {
            let mut torn = bytes.clone();
            torn[from..to].iter_mut().for_each(|b| *b = if to - from == 1 { !*b } else { 0 });
            std::fs::write(&wal, &torn).unwrap();
            let place = format!("commit {commit}, bytes {from} to {to}, its commit frame from {}", own.0);
            let found = scan(&wal, &ring).unwrap().unwrap();
            assert_eq!(!found.damage.is_empty(), is_damage, "{place}: recovery");
            assert_eq!(found.tail.end_seq(), if is_damage { 18 } else { 12 }, "{place}");
            for keys in [true, false] {
                let keys = keys.then(|| world.keys.clone() as Arc<dyn vault::KeyProvider>);
                let report = verify(&folder.vault(), &Options { keys, ..Options::default() }).unwrap();
                assert_eq!(report.exit_code(), if is_damage { 4 } else { 0 }, "{place}: verify {report}");
                assert_eq!(report.to_string().contains("tail quarantined"), !is_damage, "{place}: {report}");
            }
        }
    }
}

/// Every byte of `vault.json` is under the log, what it says included.
#[tokio::test]
async fn another_description_is_found() {
    use vault::verify::{FaultCode, Options, verify};
    let (folder, _, _, _, _) = three_commits("description").await;
    let path = folder.vault().join("vault.json");
    let good = std::fs::read_to_string(&path).unwrap();
    let created = good.find("\"created\":\"").unwrap() + 11;
    let mut understood = 0;
    for at in (created + 1..created + 27).chain([good.find("\"shard\":").unwrap() + 8]) {
        let mut bytes = good.clone().into_bytes();
        bytes[at] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        match verify(&folder.vault(), &Options::default()) {
            Ok(report) => {
                assert!(report.faults.iter().any(|f| f.code == FaultCode::VaultJson), "byte {at}: {report}");
                assert_eq!(report.exit_code(), 4, "byte {at}");
                understood += 1;
            }
            // No date any more: without a key of one's own there is nothing to go on with.
            Err(e) => assert!(e.to_string().contains("vault.json"), "byte {at}: {e}"),
        }
    }
    assert!(understood > 10, "{understood}");
    std::fs::write(&path, &good).unwrap();
    assert_eq!(verify(&folder.vault(), &Options::default()).unwrap().exit_code(), 0);
}
