//! Readers do not notice the border between WAL and segments.

use crate::support::*;
use model::EventId;
use std::time::Duration;
use vault::{Selection, VaultError};

#[tokio::test]
async fn sealed_and_unsealed_read_the_same() {
    let folder = Folder::new("border");
    let world = World::new();
    let (vault, _) = world.open(&folder);
    for i in 0..10 {
        vault.append(numbered(i * 100, 100)).await.unwrap();
        world.clock.advance(3 * 3600 * 1_000_000);
    }
    let before = read_foreign(&vault).await;
    assert_eq!(before.len(), 1000);
    assert!(vault.snapshot().segments().is_empty());
    vault.seal_now().await.unwrap();
    let snapshot = vault.snapshot();
    assert_eq!(snapshot.segments().len(), 6, "three datasets over two days");
    assert!(snapshot.tail("syslog").unwrap().is_empty());
    assert_eq!(read_foreign(&vault).await, before, "from segments");
    for i in 10..15 {
        vault.append(numbered(i * 100, 100)).await.unwrap();
    }
    let all = read_foreign(&vault).await;
    assert_eq!(all[..1000], before[..]);
    assert_eq!(all.len(), 1500);
    for bytes in [1, 700, 10_000, 1 << 30] {
        assert_eq!(
            read_all(&vault, Selection { datasets: vec!["!avouch.*".into()], from: 0 }, bytes).await,
            all
        );
    }
    for from in [0, 1, 499, 999, 1000, 1001, 1499, 1500, 9999] {
        let got = read_all(&vault, Selection { datasets: vec!["!avouch.*".into()], from }, 5_000).await;
        let expect: Vec<_> = all.iter().filter(|s| s.0.seq >= from).cloned().collect();
        assert_eq!(got, expect, "from {from}");
    }
    let some =
        read_all(&vault, Selection { datasets: vec!["aws.*".into(), "plain.a".into()], from: 7 }, 999).await;
    let expect: Vec<_> = all.iter().filter(|s| s.0.seq >= 7 && s.4 != "syslog").cloned().collect();
    assert_eq!(some, expect);
    vault.close().await.unwrap();
    let (vault, _) = world.open(&folder);
    assert_eq!(read_foreign(&vault).await, all, "after a restart");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_reader_sees_everything_once_while_the_vault_seals() {
    let folder = Folder::new("live");
    let world = World::new();
    let mut s = settings(&folder.vault());
    s.cache_bytes = 20_000;
    let (vault, _) = world.try_open(&folder.vault(), s).unwrap();
    let reading = tokio::spawn({
        let mut reader = vault.reader(Selection { datasets: vec!["!avouch.*".into()], from: 0 });
        async move {
            let mut seqs = Vec::new();
            while seqs.len() < 6_000 {
                for b in reader.next(3_000, Duration::from_secs(60)).await.unwrap() {
                    seqs.extend(b.rows.iter().map(|r| r.seq));
                }
            }
            (seqs, reader.take_gaps())
        }
    });
    for i in 0..60 {
        vault.append(numbered(i * 100, 100)).await.unwrap();
        if i % 9 == 0 {
            vault.seal_now().await.unwrap();
        }
    }
    let (mut seqs, gaps) = reading.await.unwrap();
    seqs.sort_unstable();
    assert_eq!(seqs, (0..6_000).collect::<Vec<u64>>());
    assert!(gaps.is_empty());
    vault.close().await.unwrap();
}

#[tokio::test]
async fn nothing_new_is_an_empty_answer_and_a_closed_vault_an_error() {
    let folder = Folder::new("empty");
    let (vault, _) = World::new().open(&folder);
    let mut reader = vault.reader(Selection::all(0));
    assert!(reader.next(1000, Duration::ZERO).await.unwrap().is_empty());
    vault.append(numbered(0, 2)).await.unwrap();
    assert_eq!(reader.next(1000, Duration::from_secs(60)).await.unwrap().len(), 2);
    assert_eq!(reader.position(), 2);
    let snapshot = vault.snapshot();
    vault.close().await.unwrap();
    assert_eq!(reader.next(1000, Duration::from_secs(60)).await.unwrap_err(), VaultError::Closed);
    assert_eq!(
        (snapshot.tail("syslog").unwrap().len(), snapshot.end_seq()),
        (1, 2),
        "a snapshot outlives the vault"
    );
}

#[tokio::test]
async fn an_event_is_found_by_seq_and_by_id() {
    let folder = Folder::new("find");
    let (vault, _) = World::new().open(&folder);
    vault.append(numbered(0, 50)).await.unwrap();
    vault.seal_now().await.unwrap();
    vault.append(numbered(50, 50)).await.unwrap();
    let all = read_foreign(&vault).await;
    for i in [0usize, 1, 30, 49, 50, 99] {
        let by_seq = vault.event_at(i as u64).await.unwrap().unwrap();
        assert_eq!(seen(&by_seq.batch), all[i..=i]);
        assert_eq!(by_seq.segment.is_some(), i < 50);
        let by_id = vault.find_event(all[i].0.id).await.unwrap().unwrap();
        assert_eq!(seen(&by_id.batch), all[i..=i]);
    }
    assert!(vault.event_at(100).await.unwrap().is_none());
    assert!(vault.find_event(EventId::of(&[b"nobody"])).await.unwrap().is_none());
    vault.close().await.unwrap();
}
