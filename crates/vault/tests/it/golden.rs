//! A vault that this version wrote once. Every later version must read it (`vault.md` 1).
//!
//! `tests/data/golden-v1` was made by `make_golden` below (run with `--ignored`), with the fixed clock, keys and random bytes of
//! `support`: 60 events in three datasets over two sealed WAL files, a third WAL unsealed.

use crate::support::*;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vault::read::scan;

fn golden() -> PathBuf {
    Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("tests/data/golden-v1")
}

#[tokio::test]
#[ignore = "writes tests/data/golden-v1 anew; only for a new format version, under a new name"]
async fn make_golden() {
    let folder = Folder::new("make-golden");
    let world = World::new();
    let (vault, _) = world.open(&folder);
    for (i, from) in [0usize, 20, 40].into_iter().enumerate() {
        world.clock.advance(3600 * 1_000_000);
        vault.append(numbered(from, 20)).await.unwrap();
        if i < 2 {
            vault.seal_now().await.unwrap();
        }
        vault.checkpoint_now().await.unwrap();
    }
    drop(vault);
    let wal = vault::read::wal_files(&folder.vault()).unwrap().pop().unwrap();
    let json = vault::format::VaultJson::read(&folder.vault()).unwrap().unwrap();
    let ring = vault::read::KeyRing::new(&folder.vault(), &json.vault, Some(world.keys.clone()));
    let valid = scan(&wal, &ring).unwrap().unwrap().valid_bytes;
    std::fs::File::options().write(true).open(&wal).unwrap().set_len(valid).unwrap();
    std::fs::remove_file(folder.vault().join("lock")).unwrap();
    let _ = std::fs::remove_dir_all(golden());
    std::fs::create_dir_all(golden().parent().unwrap()).unwrap();
    copy(&folder.vault(), &golden());
}

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

/// What every later version must give back for an event: seq, canonical envelope, event time, natural key, raw.
fn facts(b: &model::Batch) -> Vec<(u64, Vec<u8>)> {
    (0..b.len())
        .map(|i| {
            let mut bytes = vault::format::envelope::of(b, i);
            bytes.extend_from_slice(&b.rows[i].event_time.0.to_le_bytes());
            bytes.extend_from_slice(b.natural_key(i));
            bytes.extend_from_slice(b.raw(i));
            (b.rows[i].seq, bytes)
        })
        .collect()
}

#[tokio::test]
async fn the_golden_vault_opens_and_says_the_same() {
    let keys = World::new().keys;
    let snapshot = vault::read::open(&golden(), Some(keys), Arc::new(TestDerive)).unwrap();
    assert_eq!((snapshot.segments().len(), snapshot.end_seq()), (6, 60));
    assert!(snapshot.missing().is_empty() && snapshot.notes().is_empty());
    let mut all = Vec::new();
    for meta in snapshot.segments() {
        for b in snapshot.open_segment(meta, 0).unwrap() {
            all.extend(facts(&b.unwrap()));
        }
    }
    for dataset in snapshot.datasets() {
        all.extend(snapshot.tail(&dataset).unwrap().iter().flat_map(facts));
    }
    all.sort();
    assert_eq!(all.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), (0..60).collect::<Vec<u64>>());
    let all = all.into_iter().flat_map(|(_, bytes)| bytes).collect::<Vec<u8>>();
    expect_test::expect!["c7e47f836c11d6c56ba3a6f214a29b831b1134a6ccab568eb54c6b1faab85ec2"]
        .assert_eq(&model::sha256_hex(&all));
}

#[tokio::test]
async fn the_golden_vault_is_continued() {
    let folder = Folder::new("golden");
    copy(&golden(), &folder.vault());
    let world = World { random: TestRandom::new(77), ..World::new() };
    let key = settings(&folder.vault()).signing_key;
    std::fs::create_dir_all(key.parent().unwrap()).unwrap();
    // The golden log key: the first 32 bytes that the fixed generator of `support` gives.
    let mut seed = [0u8; 32];
    vault::Random::fill(TestRandom::new(1).as_ref(), &mut seed).unwrap();
    std::fs::write(&key, format!("{}\n", vault::merkle::hex(&seed))).unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let (vault, opened) = world.open(&folder);
    assert_eq!((opened.recovered.len(), opened.recovered[0].rows), (1, 20));
    assert_eq!(read_foreign(&vault).await.len(), 60);
    assert_eq!(vault.append(numbered(60, 1)).await.unwrap().first_seq, 61, "after the event of recovery");
    vault.close().await.unwrap();
    crate::seal::check_verify(&folder, &world);
}
