//! What an acknowledgement means (V2), and what is refused.

use crate::seal::check_verify;
use crate::sim::SimDisk;
use crate::support::*;
use model::{Batch, EVENT_BYTES_MAX, EventId, Provenance};
use std::sync::Arc;
use vault::{LocalDisk, LocalKeys, Settings, VaultError};

#[tokio::test]
async fn an_event_comes_back_as_it_went_in() {
    let folder = Folder::new("append");
    let (vault, opened) = World::new().open(&folder);
    assert!(opened.created && opened.log_key_created && opened.recovered.is_empty());
    let raws: [&[u8]; 4] = [b"plain", b"\0\xff\r\n\xc3", b"", &[b'x'; 1 << 20]];
    let sent = batch(&raws.map(|r| ("syslog", r)));
    let ack = vault.append(sent.clone()).await.unwrap();
    assert_eq!((ack.first_seq, ack.last_seq, ack.rows), (0, 3, 4));
    let got = read_foreign(&vault).await;
    for (i, (row, raw, key, provenance, dataset)) in got.iter().enumerate() {
        assert_eq!(raw, raws[i], "E1");
        assert_eq!((row.seq, row.received), (i as u64, START));
        assert_eq!((row.event_time, row.flags), (sent.rows[i].event_time, sent.rows[i].flags));
        assert_eq!(key, sent.natural_key(i));
        assert_eq!((provenance, dataset.as_str()), (sent.provenance_of(i), "syslog"));
    }
    assert_eq!(got[0].0.id, sent.rows[0].id, "an id with an origin is kept");
    let id = hex16(&vault.status().vault);
    let own = EventId::of(&[&id, &0u32.to_le_bytes(), &1u64.to_le_bytes()]);
    assert_eq!(got[1].0.id, own, "one without is made from vault, shard and seq (frozen)");
    vault.close().await.unwrap();
}

#[tokio::test]
async fn large_and_small_commits_in_any_order_come_back() {
    let folder = Folder::new("blocks");
    let world = World::new();
    let (vault, _) = world.open(&folder);
    let mut sent: Vec<Vec<u8>> = Vec::new();
    for i in 0..60 {
        let batch = if i % 5 < 3 { large(i * 7, 7) } else { numbered(i * 7, 7) };
        sent.extend((0..7).map(|r| batch.raw(r).to_vec()));
        vault.append(batch).await.unwrap();
    }
    let now: Vec<Vec<u8>> = read_foreign(&vault).await.into_iter().map(|s| s.1).collect();
    assert!(now == sent, "read from the open WAL");
    // Not closed: the next life reads the WAL file.
    drop(vault);
    let (vault, opened) = world.open(&folder);
    assert!(opened.recovered.iter().all(|w| w.damaged == 0 && w.torn_bytes == 0), "{opened:?}");
    let then: Vec<Vec<u8>> = read_foreign(&vault).await.into_iter().map(|s| s.1).collect();
    assert!(then == sent, "read after a start");
    vault.close().await.unwrap();
    check_verify(&folder, &world);
}

fn hex16(text: &str) -> [u8; 16] {
    vault::format::parse_hex16(text).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_appenders_get_dense_seqs_and_share_commits() {
    let folder = Folder::new("many");
    let (vault, _) = World::new().open(&folder);
    let tasks: Vec<_> = (0..64)
        .map(|t| {
            let vault = vault.clone();
            tokio::spawn(async move {
                let mut acks = Vec::new();
                for i in 0..20 {
                    acks.push(vault.append(numbered(t * 1000 + i * 7, 7)).await.unwrap());
                }
                acks
            })
        })
        .collect();
    let mut acks = Vec::new();
    for t in tasks {
        acks.extend(t.await.unwrap());
    }
    acks.sort_by_key(|a| a.first_seq);
    let mut next = 0;
    for a in &acks {
        assert_eq!((a.first_seq, a.last_seq), (next, next + 6));
        next += 7;
    }
    let status = vault.status();
    assert_eq!(status.end_seq, next);
    assert!(status.commits < 64 * 20, "{} commits", status.commits);
    assert_eq!(read_foreign(&vault).await.len() as u64, next);
    vault.close().await.unwrap();
}

#[tokio::test]
async fn a_thousand_senders_in_one_batch_keep_their_names() {
    let folder = Folder::new("senders");
    let world = World::new();
    let (vault, _) = world.open(&folder);
    let mut b = Batch::builder();
    let datasets = [b.dataset("a"), b.dataset("b")];
    let senders: Vec<u32> = (0..1000)
        .map(|i| {
            let mut p = Provenance::new("udp").sender(&format!("10.0.{}.{}:514", i / 250, i % 250));
            p.tags = if i % 2 == 0 { vec!["ab".into(), "c".into()] } else { vec!["a".into(), "bc".into()] };
            b.provenance(p)
        })
        .collect();
    for i in 0..4000usize {
        b.push(format!("{i}").as_bytes(), senders[i * 7 % 1000], datasets[i / 3 % 2]);
    }
    let sent = b.finish();
    vault.append(sent.clone()).await.unwrap();
    let check = |got: &[Seen]| {
        assert_eq!(got.len(), 4000);
        for (i, (_, raw, _, provenance, dataset)) in got.iter().enumerate() {
            assert_eq!((raw.as_slice(), provenance), (sent.raw(i), sent.provenance_of(i)));
            assert_eq!(dataset, sent.dataset_of(i));
        }
    };
    check(&read_foreign(&vault).await);
    drop(vault);
    let (vault, _) = world.open(&folder);
    check(&read_foreign(&vault).await);
    vault.seal_now().await.unwrap();
    check(&read_foreign(&vault).await);
    vault.close().await.unwrap();
}

#[tokio::test]
async fn a_bad_batch_is_refused_whole_and_names_the_offender() {
    let folder = Folder::new("refuse");
    let world = World::new();
    let (vault, _) = world.open(&folder);
    let big = vec![b'x'; (1 << 20) + 1];
    let error = vault.append(batch(&[("a", b"1"), ("a", &big)])).await.unwrap_err();
    assert_eq!(error, VaultError::EventTooLarge { index: 1, bytes: big.len(), max: 1 << 20 });
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        ("vault.event_too_large", "event 1 of the batch has 1048577 bytes, the limit is 1048576")
    );
    for bad in ["", "A", "../x", "a/b"] {
        let error = vault.append(batch(&[("ok", b"1"), (bad, b"2")])).await.unwrap_err();
        assert_eq!(error, VaultError::BadDataset { index: 1, name: bad.into() });
    }
    for origin in [r#"{"b":1,"a":2}"#, "[]", "nonsense", r#"{"a":1.5}"#] {
        let mut b = Batch::builder();
        let mut p = Provenance::new("x");
        p.origin = Some(origin.into());
        let (p, d) = (b.provenance(p), b.dataset("a"));
        b.push(b"1", p, d);
        assert_eq!(
            vault.append(b.finish()).await.unwrap_err(),
            VaultError::BadOrigin { index: 0 },
            "{origin}"
        );
    }
    assert_eq!(vault.end_seq(), 0, "nothing of a refused batch is stored");
    assert_eq!(vault.append(Batch::default()).await.unwrap().rows, 0);
    vault.close().await.unwrap();

    let limits = Settings { event_bytes_max: EVENT_BYTES_MAX, ..settings(&folder.vault()) };
    let (vault, _) = world.try_open(&folder.vault(), limits).unwrap();
    let largest = vec![b'y'; EVENT_BYTES_MAX];
    vault.append(batch(&[("a", &largest)])).await.unwrap();
    vault.close().await.unwrap();
}

#[tokio::test]
async fn a_second_writer_is_refused_and_told_who_is_first() {
    let folder = Folder::new("lock");
    let world = World::new();
    let (vault, _) = world.open(&folder);
    let error = world.try_open(&folder.vault(), settings(&folder.vault())).unwrap_err();
    assert_eq!(error.code(), "vault.locked");
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    vault.close().await.unwrap();
    world.open(&folder);
}

#[tokio::test]
async fn a_failed_sync_ends_the_writer_for_good() {
    let folder = Folder::new("eio");
    let disk = SimDisk::new(1);
    let world = World::on(Arc::new(disk.clone()));
    let (vault, _) = world.open(&folder);
    vault.append(numbered(0, 5)).await.unwrap();
    disk.fail_sync_of(".wal");
    let error = vault.append(numbered(5, 5)).await.unwrap_err();
    assert_eq!(error.code(), "vault.poisoned");
    assert_eq!(vault.append(numbered(5, 5)).await.unwrap_err(), error, "not even when the disk works again");
    assert!(vault.status().poisoned.unwrap().contains("0000000000000001.wal"));
    assert_eq!(vault.seal_now().await.unwrap_err(), error);
    assert_eq!(read_foreign(&vault).await.len(), 5, "what was acknowledged is still read");
    assert_eq!(vault.close().await.unwrap_err(), error);
    disk.crash();
    let (vault, _) = World::new().open(&folder);
    assert!(read_foreign(&vault).await.len() >= 5);
    vault.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_appends_wait_and_then_go_on() {
    let folder = Folder::new("full");
    let disk = SimDisk::new(2);
    let (vault, _) = World::on(Arc::new(disk.clone())).open(&folder);
    vault.append(numbered(0, 3)).await.unwrap();
    disk.set_full(true);
    let waiting = tokio::spawn({
        let vault = vault.clone();
        async move { vault.append(numbered(3, 3)).await }
    });
    until("the vault says that the disk is full", || vault.status().is_full).await;
    assert!(!waiting.is_finished());
    assert_eq!(vault.end_seq(), 3, "nothing is acknowledged");
    disk.set_full(false);
    assert_eq!(waiting.await.unwrap().unwrap().first_seq, 3);
    assert!(!vault.status().is_full);
    assert_eq!(read_foreign(&vault).await.len(), 6);
    vault.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_on_a_full_disk_refuses_who_waits() {
    let folder = Folder::new("full-close");
    let disk = SimDisk::new(3);
    let (vault, _) = World::on(Arc::new(disk.clone())).open(&folder);
    disk.set_full(true);
    let waiting = tokio::spawn({
        let vault = vault.clone();
        async move { vault.append(numbered(0, 3)).await }
    });
    until("full", || vault.status().is_full).await;
    let _ = vault.close().await;
    assert_eq!(waiting.await.unwrap().unwrap_err(), VaultError::Closed);
}

#[tokio::test]
async fn positions_travel_with_the_commit() {
    let folder = Folder::new("positions");
    let world = World::new();
    let with = |key: &str, value: &str| {
        let mut b = Batch::builder();
        let (p, d) = (b.provenance(Provenance::new("s")), b.dataset("a"));
        b.push(value.as_bytes(), p, d);
        b.position(key, value);
        b.finish()
    };
    let (vault, _) = world.open(&folder);
    vault.append(with("k/1", "v1")).await.unwrap();
    vault.append(with("k/1", "v2")).await.unwrap();
    vault.append(with("k/2", "w")).await.unwrap();
    let mut only = Batch::builder();
    only.position("other", "0");
    assert_eq!(vault.append(only.finish()).await.unwrap().rows, 0);
    let expect = [("k/1".to_owned(), "v2".to_owned()), ("k/2".to_owned(), "w".to_owned())];
    assert_eq!(vault.positions("k/"), expect);
    drop(vault);
    let (vault, opened) = world.open(&folder);
    assert_eq!(opened.recovered[0].commits, 4, "from the WAL");
    assert_eq!(vault.positions("k/"), expect);
    vault.close().await.unwrap();
    let (vault, _) = world.open(&folder);
    assert_eq!(vault.positions("k/"), expect, "from the segment leaf");
    assert_eq!(vault.position("other").as_deref(), Some("0"));
    // More than a leaf carries: they go to the side file.
    let mut many = Batch::builder();
    let (p, d) = (many.provenance(Provenance::new("s")), many.dataset("a"));
    many.push(b"x", p, d);
    for i in 0..500 {
        many.position(&format!("many/{i}"), &format!("{i}"));
    }
    vault.append(many.finish()).await.unwrap();
    vault.close().await.unwrap();
    let (vault, _) = world.open(&folder);
    assert_eq!(vault.positions("many/").len(), 500);
    assert_eq!(vault.position("many/499").as_deref(), Some("499"));
    let leaf = vault.snapshot().segments().last().unwrap().info.clone();
    assert!(leaf.positions.is_empty() && leaf.positions_sha256.is_some());
}

#[tokio::test]
async fn received_time_never_goes_back() {
    let folder = Folder::new("clock");
    let world = World::new();
    let (vault, _) = world.open(&folder);
    vault.append(numbered(0, 1)).await.unwrap();
    world.clock.advance(-3600 * 1_000_000);
    vault.append(numbered(1, 1)).await.unwrap();
    vault.append(numbered(2, 1)).await.unwrap();
    let got = read_all(&vault, vault::Selection::all(0), 1 << 20).await;
    assert!(got.iter().all(|s| s.0.received == START), "V3");
    until("the step is in the log", || vault.end_seq() == 4).await;
    let got =
        read_all(&vault, vault::Selection { datasets: vec!["avouch.vault".into()], from: 0 }, 1 << 20).await;
    assert_eq!(
        String::from_utf8_lossy(&got[0].1),
        r#"{"event":"clock_back","held":"2025-03-14T10:00:00Z","machine":"2025-03-14T09:00:00Z"}"#
    );
    drop(vault);
    let (vault, _) = world.open(&folder);
    vault.append(numbered(3, 1)).await.unwrap();
    assert!(read_foreign(&vault).await.iter().all(|s| s.0.received == START), "after a restart too");
    vault.close().await.unwrap();
}

#[test]
fn the_key_file_is_made_once_and_must_be_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new("kek");
    let path = folder.0.join("secret/kek");
    let random = TestRandom::new(5);
    let (_, created) = LocalKeys::open(&path, random.clone(), &LocalDisk).unwrap();
    assert!(created);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!LocalKeys::open(&path, random.clone(), &LocalDisk).unwrap().1);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let error = LocalKeys::read(&path).map(drop).unwrap_err();
    assert_eq!((error.code(), error.hint()), ("key.too_wide", format!("chmod 600 {}", path.display())));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&path, "short\n").unwrap();
    assert_eq!(LocalKeys::read(&path).map(drop).unwrap_err().code(), "key.malformed");
}

#[tokio::test]
async fn keys_and_origin_of_another_vault_are_refused() {
    let folder = Folder::new("keys");
    let world = World::new();
    let (vault, opened) = world.open(&folder);
    vault.append(numbered(0, 3)).await.unwrap();
    drop(vault);
    let mut other = settings(&folder.vault());
    other.origin = Some("example.org/other".into());
    assert_eq!(world.try_open(&folder.vault(), other).unwrap_err().code(), "vault.origin_changed");
    let key = settings(&folder.vault()).signing_key;
    std::fs::rename(&key, key.with_extension("away")).unwrap();
    let error = world.try_open(&folder.vault(), settings(&folder.vault())).unwrap_err();
    assert_eq!(error.code(), "vault.log_key_missing");
    std::fs::write(&key, format!("{}\n", "5".repeat(64))).unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let error = world.try_open(&folder.vault(), settings(&folder.vault())).unwrap_err();
    assert_eq!(error.code(), "vault.log_key_mismatch");
    std::fs::rename(key.with_extension("away"), &key).unwrap();
    let mut stranger = world.clone();
    stranger.keys = Arc::new(LocalKeys::new(&vault::Dek::new([8; 32]), TestRandom::new(2)));
    let error = stranger.try_open(&folder.vault(), settings(&folder.vault())).unwrap_err();
    assert_eq!(error.code(), "key.does_not_open", "a wrong key must not make recovery throw events away");
    let (vault, again) = world.open(&folder);
    assert_eq!(again.vkey, opened.vkey);
    assert_eq!(read_foreign(&vault).await.len(), 3);
    vault.close().await.unwrap();
}
