//! Segments: columns, encryption, leaves, side files.

use crate::support::*;
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use std::fs::File;
use std::sync::Arc;
use vault::format::event::Salter;
use vault::format::leaf::{Body, Encryption, Leaf};
use vault::format::side::Side;
use vault::format::{Digest, envelope};
use vault::read::state::each_entry;
use vault::verify::{Level, Options, verify};
use vault::{NoColumns, SegmentMeta, Snapshot, Vault};

fn parquet(snapshot: &Snapshot, meta: &SegmentMeta) -> RecordBatch {
    let mut options = ArrowReaderOptions::new();
    if let Some(key) = snapshot.decryption_properties(meta).unwrap() {
        options = options.with_file_decryption_properties(key);
    }
    let b = ParquetRecordBatchReaderBuilder::try_new_with_options(File::open(&meta.path).unwrap(), options)
        .unwrap();
    let schema = b.schema().clone();
    let rows: Vec<RecordBatch> = b.build().unwrap().map(Result::unwrap).collect();
    concat_batches(&schema, &rows).unwrap()
}

#[tokio::test]
async fn the_tail_has_the_schema_and_the_rows_of_the_file() {
    let folder = Folder::new("schema");
    let (vault, _) = World::new().open(&folder);
    for i in 0..30 {
        vault.append(numbered(i * 10, 10)).await.unwrap();
    }
    let snapshot = vault.snapshot();
    assert_eq!(
        snapshot.datasets().iter().map(|d| d.to_string()).collect::<Vec<_>>(),
        ["aws.cloudtrail", "plain.a", "syslog"]
    );
    let mut tails = Vec::new();
    for dataset in snapshot.datasets() {
        let batches = snapshot.tail(&dataset).unwrap();
        assert_eq!(batches.len(), 1, "small commits are put together");
        let columns = snapshot.derive(&dataset, &batches[0]);
        tails.push((dataset.clone(), snapshot.to_arrow(&dataset, &batches[0], &columns).unwrap()));
    }
    vault.seal_now().await.unwrap();
    let after = vault.snapshot();
    for (dataset, tail) in tails {
        let metas = after.segments_of(&dataset);
        assert_eq!(metas.len(), 1);
        let file = parquet(&after, &metas[0]);
        assert_eq!(file.schema().fields(), after.schema(&dataset).fields(), "{dataset}");
        assert_eq!(file.columns(), tail.columns(), "{dataset}");
        assert!(snapshot.tail(&dataset).unwrap().len() == 1, "an old snapshot does not change");
    }
    vault.close().await.unwrap();
}

/// The leaves of a vault, canonical and in order.
pub fn leaves(folder: &Folder) -> Vec<Leaf> {
    let snapshot = vault::read::open(&folder.vault(), None, Arc::new(NoColumns)).unwrap();
    let mut out = Vec::new();
    each_entry(&folder.vault(), snapshot.tree_size(), |_, bytes| {
        out.push(Leaf::decode(bytes).unwrap());
        Ok(())
    })
    .unwrap();
    out
}

#[tokio::test]
async fn leaves_lead_to_the_events() {
    let folder = Folder::new("leaves");
    let world = World::new();
    let (vault, _) = world.open(&folder);
    vault.append(numbered(0, 2_500)).await.unwrap();
    vault.seal_now().await.unwrap();
    let snapshot = vault.snapshot();
    for meta in snapshot.segments() {
        let s = &meta.info;
        let mut rows = snapshot.open_segment(meta, 0).unwrap();
        let seeds = rows.seeds().unwrap();
        assert_eq!((seeds.len(), seeds[0].from, seeds[0].to), (1, 0, 2_500));
        let salter = Salter::new(&seeds[0].seed);
        let mut hashes = Vec::new();
        for b in rows.by_ref() {
            let b = b.unwrap();
            hashes.extend((0..b.len()).map(|i| salter.leaf(b.rows[i].seq, &envelope::of(&b, i), b.raw(i))));
        }
        assert_eq!(Digest(vault::merkle::root_of(&hashes)), s.event_root);
        assert_eq!((s.event_root, s.rows), (s.dataset_root, s.dataset_rows));
        let bytes = std::fs::read(&meta.path).unwrap();
        assert_eq!((Digest::of(&bytes), bytes.len() as u64), (s.sha256, s.bytes));
        let side = std::fs::read(folder.vault().join(&s.side)).unwrap();
        assert_eq!((Digest::of(&side), side.len() as u64), (s.side_sha256, s.side_bytes));
        let side = Side::decode(&side).unwrap();
        assert_eq!(Digest(side.chunk_root()), s.chunk_root);
        assert_eq!(side.prefixes.len(), hashes.len());
        assert_eq!(side.prefixes[7], hashes[7][..4]);
    }
    vault.close().await.unwrap();
    assert!(!folder.vault().join("wal").read_dir().unwrap().any(|_| true), "a clean stop leaves no WAL");
    check_verify(&folder, &world);
}

/// The reader half, run over what the writer half made.
pub fn check_verify(folder: &Folder, world: &World) {
    for level in [Level::Log, Level::Files, Level::Events] {
        let options = Options {
            keys: Some(world.keys.clone()),
            derive: Some(Arc::new(TestDerive)),
            level,
            ..Options::default()
        };
        let report = verify(&folder.vault(), &options).unwrap();
        assert_eq!((report.exit_code(), report.faults.as_slice()), (0, [].as_slice()), "{report:#?}");
    }
}

#[tokio::test]
async fn an_encrypted_segment_hides_and_does_not_move() {
    let folder = Folder::new("pme");
    let (vault, _) = World::new().open(&folder);
    let marker = b"MARKER-3f9a-does-not-compress-away";
    vault.append(batch(&[("secret.a", marker), ("secret.b", marker)])).await.unwrap();
    vault.append(batch(&[("plain.a", marker)])).await.unwrap();
    let holds =
        |path: &std::path::Path| std::fs::read(path).unwrap().windows(marker.len()).any(|w| w == marker);
    for wal in folder.vault().join("wal").read_dir().unwrap() {
        assert!(!holds(&wal.unwrap().path()), "the WAL is encrypted in every mode");
    }
    vault.seal_now().await.unwrap();
    let snapshot = vault.snapshot();
    let [plain, a, b] = ["plain.a", "secret.a", "secret.b"].map(|d| snapshot.segments_of(d)[0].clone());
    assert_eq!((plain.encryption, a.encryption), (Encryption::Sse, Encryption::Pme));
    assert!(holds(&plain.path) || std::fs::metadata(&plain.path).unwrap().len() > 0);
    let bytes = std::fs::read(&a.path).unwrap();
    assert!(!holds(&a.path) && bytes.starts_with(b"PARE") && bytes.ends_with(b"PARE"), "encrypted footer");
    assert!(!bytes.windows(7).any(|w| w == b"av_flag" || w == b"message"), "not even column names");
    std::fs::copy(&b.path, &a.path).unwrap();
    assert!(snapshot.open_segment(&a, 0).is_err(), "a swapped file does not open");
    std::fs::write(&a.path, bytes).unwrap();
    assert_eq!(snapshot.open_segment(&a, 0).unwrap().next().unwrap().unwrap().raw(0), marker);
    let offline = vault::read::open(&folder.vault(), None, Arc::new(TestDerive)).unwrap();
    assert_eq!(offline.open_segment(&a, 0).unwrap_err().code(), "key.not_given");
    vault.close().await.unwrap();
}

#[tokio::test]
async fn reading_needs_no_writer() {
    let folder = Folder::new("offline");
    let world = World::new();
    let (vault, _) = world.open(&folder);
    vault.append(numbered(0, 30)).await.unwrap();
    vault.seal_now().await.unwrap();
    vault.append(numbered(30, 30)).await.unwrap();
    let count = |s: &Snapshot| {
        let sealed: u64 = s.segments().iter().map(|m| m.rows).sum();
        let tail: usize = s.datasets().iter().flat_map(|d| s.tail(d).unwrap()).map(|b| b.len()).sum();
        (sealed, tail as u64, s.end_seq())
    };
    let open = |keys: Option<Arc<dyn vault::KeyProvider>>| {
        vault::read::open(&folder.vault(), keys, Arc::new(TestDerive)).unwrap()
    };
    assert_eq!(count(&open(Some(world.keys.clone()))), (30, 30, 60), "beside a running writer");
    let without = open(None);
    assert_eq!(count(&without), (30, 0, 30));
    assert!(without.notes()[0].contains("unsealed events are not shown"), "{:?}", without.notes());
    vault.close().await.unwrap();
    assert_eq!(count(&open(Some(world.keys.clone()))), (60, 0, 60));
    assert_eq!(
        vault::read::open(&folder.0.join("nothing"), None, Arc::new(NoColumns)).unwrap_err().code(),
        "vault.none"
    );
}

#[tokio::test]
async fn a_full_wal_is_sealed_without_being_asked() {
    let folder = Folder::new("auto");
    let world = World::new();
    let mut s = settings(&folder.vault());
    s.seal_bytes = 8192;
    s.seal_age = std::time::Duration::from_secs(60);
    let (vault, _) = world.try_open(&folder.vault(), s).unwrap();
    let sealed = |v: &Vault| v.snapshot().segments().iter().map(|m| m.rows).sum::<u64>();
    let mut noise = 1u32;
    let raw: Vec<u8> = (0..9000)
        .map(|_| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(7);
            noise.to_le_bytes()[3]
        })
        .collect();
    vault.append(batch(&[("a", &raw)])).await.unwrap();
    until("sealed by size", || sealed(&vault) == 1).await;
    vault.append(numbered(0, 5)).await.unwrap();
    vault.tick().unwrap();
    assert_eq!(sealed(&vault), 1);
    world.clock.advance(61 * 1_000_000);
    vault.tick().unwrap();
    until("sealed by age", || sealed(&vault) == 6).await;
    assert_eq!(read_foreign(&vault).await.len(), 6);
    vault.close().await.unwrap();
    check_verify(&folder, &world);
}

#[tokio::test]
async fn the_rhythm_is_five_seconds_with_events_and_a_minute_without() {
    let folder = Folder::new("rhythm");
    let world = World::new();
    let (vault, _) = world.open(&folder);
    let tick = |seconds: i64| {
        world.clock.advance(seconds * 1_000_000);
        let before = vault.status().tree_size;
        vault.tick().unwrap();
        vault.status().tree_size - before
    };
    assert_eq!((tick(5), tick(54), tick(1)), (0, 0, 1), "idle");
    vault.append(numbered(0, 3)).await.unwrap();
    assert_eq!((tick(4), tick(1), tick(5)), (0, 1, 0), "active, then idle again");
    let checkpoint = vault.checkpoint_now().await.unwrap().unwrap();
    assert_eq!(checkpoint.size, vault.status().tree_size);
    vault.close().await.unwrap();
    let beats: Vec<_> = leaves(&folder)
        .into_iter()
        .filter_map(|l| match l.body {
            Body::Heartbeat(h) => Some(h),
            _ => None,
        })
        .collect();
    assert_eq!(
        beats.iter().map(|b| b.seq).collect::<Vec<_>>(),
        [0, 0, 3, 3, 3],
        "start, idle, active, asked for, stop"
    );
    assert_eq!(beats[2].wal, Some(1));
    assert!(beats[2].wal_root.is_some() && !beats[2].unclean);
    assert_eq!(beats.last().unwrap().wal, None, "after the last seal nothing is open");
    check_verify(&folder, &world);
}

/// `vault.md`, What must be shown, 17.
#[tokio::test]
async fn the_same_input_gives_the_same_bytes() {
    let mut states = Vec::new();
    for _ in 0..2 {
        let folder = Folder::new("same");
        let world = World::new();
        let mut s = settings(&folder.vault());
        s.datasets.values_mut().for_each(|d| d.encryption = Some(Encryption::Sse));
        let (vault, _) = world.try_open(&folder.vault(), s).unwrap();
        for i in 0..5 {
            vault.append(numbered(i * 40, 40)).await.unwrap();
        }
        vault.close().await.unwrap();
        let mut files = std::collections::BTreeMap::new();
        let mut open =
            vec![folder.vault().join("data"), folder.vault().join("side"), folder.vault().join("log")];
        while let Some(path) = open.pop() {
            for e in path.read_dir().unwrap() {
                let path = e.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else {
                    files.insert(
                        path.strip_prefix(&folder.0).unwrap().to_owned(),
                        std::fs::read(&path).unwrap(),
                    );
                }
            }
        }
        states.push(files);
    }
    assert!(states[0].len() > 10);
    assert!(states[0] == states[1], "O1");
}
