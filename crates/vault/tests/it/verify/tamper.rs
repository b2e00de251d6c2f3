//! Files deleted, cut, moved, added, put back; copies restored; history rewritten.

use super::made::{Copy, Kind, Mode, Open, known};
use super::{Dice, of, only};
use std::time::Duration;
use vault::verify::{FaultCode, Verdict};

const DAY: Duration = Duration::from_secs(86_400);

#[test]
fn attack_02_deleted_segment() {
    let copy = Copy::of(Mode::Pme);
    let path = copy.data_of("aws.cloudtrail");
    copy.remove(&path);
    let report = copy.verify("files");
    let fault = only(&report, FaultCode::FileMissing);
    assert_eq!(fault.file.as_deref(), Some(path.as_str()));
    assert!(fault.leaf.is_some() && fault.time.is_some() && fault.seq.is_some(), "{report}");
    assert!(fault.detail.contains("600 events"), "{report}");
    assert_eq!(copy.verify("log").verdict, Verdict::Proven, "the log alone does not look at files");
}

#[test]
fn attack_02_deleted_side_file_key_and_log_files() {
    for (mode, kind, code) in [
        (Mode::Pme, Kind::Side, FaultCode::SideMissing),
        (Mode::Sse, Kind::Tile, FaultCode::TileMissing),
        (Mode::Sse, Kind::Entries, FaultCode::EntriesMissing),
        (Mode::Sse, Kind::Checkpoint, FaultCode::CheckpointMissing),
    ] {
        let copy = Copy::of(mode);
        let mut seen = 0;
        for path in copy.files(kind) {
            let bytes = copy.read(&path);
            copy.remove(&path);
            let report = copy.verify("files");
            // A partial file whose successor is there may go; every other may not.
            if report.verdict == Verdict::Damaged {
                assert!(!of(&report, code).is_empty(), "{path}\n{report}");
                seen += 1;
            } else {
                assert!(path.contains(".p/"), "{path}\n{report}");
            }
            copy.write(&path, &bytes);
        }
        assert!(seen > 0, "{kind:?}");
    }
    // attack 15: the data key is destroyed early.
    let copy = Copy::of(Mode::Pme);
    for path in copy.files(Kind::Key) {
        copy.remove(&path);
    }
    let report = copy.verify("files");
    assert_eq!(of(&report, FaultCode::KeyMissing).len() as u64, report.checked.segments, "{report}");
    assert!(report.faults[0].detail.contains("unreadable, existence proven"));
}

#[test]
fn cut_and_lengthened_files() {
    for mode in [Mode::Pme, Mode::Sse] {
        for change in [-1i64, -100, 1, 70_000] {
            let copy = Copy::of(mode);
            let path = copy.data_of("aws.cloudtrail");
            let mut bytes = copy.read(&path);
            let len = usize::try_from(bytes.len() as i64 + change).unwrap();
            bytes.resize(len, 7);
            copy.write(&path, &bytes);
            let report = copy.verify("files");
            assert_eq!(report.verdict, Verdict::Damaged);
            assert!(
                of(&report, FaultCode::FileDamaged).iter().all(|f| f.file.as_deref() == Some(&path)),
                "{report}"
            );
        }
    }
    let copy = Copy::of(Mode::Sse);
    let path = copy.files(Kind::Wal).pop().unwrap();
    let bytes = copy.read(&path);
    copy.write(&path, &bytes[..3_000]);
    let report = copy.verify("files");
    let fault = only(&report, FaultCode::WalDamaged);
    assert!(fault.seq.is_some() && fault.leaf.is_some(), "{report}");
    copy.remove(&path);
    let report = copy.verify("files");
    let fault = only(&report, FaultCode::WalMissing);
    assert_eq!(fault.seq.map(|(a, b)| b - a), Some(400), "{report}");
}

#[test]
fn attack_06_foreign_files() {
    for path in [
        "data/dataset=syslog/day=2025-03-14/99-0.parquet",
        "data/dataset=syslog/extra/1-0.parquet",
        "data/x",
        "side/99-0.side",
        "log/tile/0/zzz",
        "log/notes.txt",
        "wal/x.wal",
    ] {
        let copy = Copy::of(Mode::Sse);
        copy.write(path, b"PAR1");
        let report = copy.verify("files");
        assert_eq!(only(&report, FaultCode::ForeignFile).file.as_deref(), Some(path));
    }
}

#[test]
fn what_is_no_evidence_is_said_and_no_fault() {
    let copy = Copy::of(Mode::Sse);
    copy.write("quarantine/1-0.parquet", b"x");
    copy.write("data/dataset=syslog/_delta_log/00000000000000000000.json", b"{}");
    copy.write("side/7-0.side.new", b"x");
    let open = copy.files(Kind::Wal).pop().unwrap();
    let number: u64 = open.strip_prefix("wal/").unwrap().strip_suffix(".wal").unwrap().parse().unwrap();
    copy.write(&format!("data/dataset=syslog/day=2025-03-14/{number}-0.parquet"), b"half a seal");
    let report = copy.verify("files");
    assert_eq!(report.verdict, Verdict::Proven, "{report}");
    let text = report.to_string();
    for word in
        ["quarantine/", "Delta projection", "unfinished write", "seal that was not finished", "`lock`"]
    {
        assert!(text.contains(word), "{word}\n{text}");
    }
}

#[test]
fn links_and_pipes_are_not_followed() {
    let copy = Copy::of(Mode::Sse);
    let path = copy.data_of("syslog");
    let aside = copy.folder().join("aside");
    std::fs::rename(copy.root().join(&path), &aside).unwrap();
    std::os::unix::fs::symlink(&aside, copy.root().join(&path)).unwrap();
    let report = copy.verify("files");
    assert!(only(&report, FaultCode::FileDamaged).detail.contains("not a regular file"), "{report}");
    std::fs::remove_file(copy.root().join(&path)).unwrap();
    let made = std::process::Command::new("mkfifo").arg(copy.root().join(&path)).status();
    if made.is_ok_and(|s| s.success()) {
        let report = copy.verify("files");
        assert!(only(&report, FaultCode::FileDamaged).detail.contains("not a regular file"), "{report}");
    }
}

#[test]
fn attack_16_swapped_encrypted_files() {
    let copy = Copy::of(Mode::Pme);
    let files: Vec<String> =
        copy.files(Kind::Data).into_iter().filter(|p| p.contains("cloudtrail")).collect();
    let (a, b) = (&files[0], &files[1]);
    let (in_a, in_b) = (copy.read(a), copy.read(b));
    copy.write(a, &in_b);
    copy.write(b, &in_a);
    let report = copy.verify("files");
    let mut blamed: Vec<_> = report.faults.iter().filter_map(|f| f.file.as_ref()).collect();
    blamed.dedup();
    blamed.sort();
    blamed.dedup();
    assert_eq!(blamed, [a, b], "{report}");
    // One old file over a newer one: only that place is wrong.
    let copy = Copy::of(Mode::Pme);
    copy.write(b, &in_a);
    assert!(copy.verify("files").faults.iter().all(|f| f.file.as_ref() == Some(b)));
}

/// attack 7, attack 8: an old copy of everything is a good vault; only somebody who remembers knows better.
#[test]
fn attack_07_cut_tail_needs_an_anchor() {
    let copy = Copy::empty();
    let vault = copy.root();
    let open = Open::new(&vault, Mode::Sse, 0, |_| {});
    open.append("syslog", 50, 40);
    open.beat();
    open.seal();
    open.beat();
    drop(open);
    let old = Copy::from(copy.folder());
    let open = Open::new(&vault, Mode::Sse, 10_000_000, |_| {});
    open.append("syslog", 50, 40);
    open.beat();
    open.seal();
    drop(open);
    let newest = copy.read("log/checkpoint");
    let report = old.verify("events");
    assert_eq!(report.verdict, Verdict::Proven, "{report}");
    assert!(report.to_string().contains("no external anchor"));
    let report = old.verify_with("files", |o| o.known_checkpoints = vec![known("siem", &newest)]);
    let fault = only(&report, FaultCode::Truncated);
    assert!(fault.detail.contains("siem") && fault.detail.contains("cut off"), "{report}");
    // Only the checkpoint is put back: the log is longer than it says, which is mentioned.
    copy.write("log/checkpoint", &old.read("log/checkpoint"));
    let report = copy.verify("log");
    assert!(report.to_string().contains("reach beyond its checkpoint"), "{report}");
}

/// attack 10: the same key signs another history. Any one old checkpoint tells.
#[test]
fn attack_10_rewritten_history() {
    let one = Copy::empty();
    let open = Open::new(&one.root(), Mode::Sse, 0, |_| {});
    open.append("syslog", 50, 40);
    open.beat();
    open.seal();
    drop(open);
    let remembered = one.read("log/checkpoint");
    let other = Copy::empty();
    std::fs::create_dir_all(other.folder().join("secret")).unwrap();
    std::fs::copy(one.folder().join("secret/log.key"), other.folder().join("secret/log.key")).unwrap();
    std::process::Command::new("chmod")
        .arg("600")
        .arg(other.folder().join("secret/log.key"))
        .status()
        .unwrap();
    let open = Open::new(&other.root(), Mode::Sse, 0, |_| {});
    for _ in 0..4 {
        open.append("syslog", 49, 40);
        open.beat();
    }
    open.seal();
    drop(open);
    assert_eq!(other.vkey(), one.vkey());
    assert_eq!(other.verify("events").verdict, Verdict::Proven, "a rewrite looks perfect from inside");
    let report = other.verify_with("log", |o| o.known_checkpoints = vec![known("kept.txt", &remembered)]);
    let fault = only(&report, FaultCode::Inconsistent);
    assert!(fault.detail.contains("kept.txt") && fault.detail.contains("rewritten"), "{report}");
    // A checkpoint that the log keeps of itself tells too.
    let size = std::str::from_utf8(&remembered).unwrap().lines().nth(1).unwrap().to_owned();
    other.write(&format!("log/checkpoints/{size}"), &remembered);
    assert_eq!(
        only(&other.verify("log"), FaultCode::Inconsistent).file,
        Some(format!("log/checkpoints/{size}"))
    );
}

#[test]
fn attack_11_swapped_signing_key() {
    let copy = Copy::of(Mode::Sse);
    let stranger = Copy::empty();
    drop(Open::new(&stranger.root(), Mode::Sse, 1, |_| {}));
    let report = copy.verify_with("log", |o| o.vkey = Some(stranger.vkey()));
    assert!(
        of(&report, FaultCode::CheckpointBad)[0].detail.contains("no signature by a known key"),
        "{report}"
    );
    assert!(
        !of(&report, FaultCode::VaultJson).is_empty() && !of(&report, FaultCode::LogKey).is_empty(),
        "{report}"
    );
    // The whole log signed anew by another key, vault.json too: the pinned key and the key leaf tell.
    let checkpoint = super::forge::checkpoint(&copy);
    copy.write("log/checkpoint", checkpoint.sign(&stranger.signer()).unwrap().as_bytes());
    let json = String::from_utf8(copy.read("vault.json")).unwrap();
    copy.write("vault.json", json.replace(&copy.vkey().to_string(), &stranger.vkey().to_string()).as_bytes());
    let report = copy.verify_with("log", |o| o.vkey = None);
    assert!(!of(&report, FaultCode::LogKey).is_empty(), "{report}");
}

#[test]
fn known_checkpoints_must_be_of_this_log() {
    let copy = Copy::of(Mode::Sse);
    let mut forged = copy.read("log/checkpoint");
    forged[25] ^= 1;
    let other = String::from_utf8(copy.read("log/checkpoint")).unwrap().replace("vault-1", "vault-2");
    for bytes in [forged.as_slice(), other.as_bytes(), b"", b"\xff", b"log.example/vault-1\n12\n"] {
        let report = copy.verify_with("log", |o| o.known_checkpoints = vec![known("k", bytes)]);
        only(&report, FaultCode::KnownCheckpointBad);
    }
}

#[test]
fn misnamed_kept_checkpoint() {
    let copy = Copy::of(Mode::Sse);
    copy.write("log/checkpoints/7", &copy.read("log/checkpoint"));
    assert!(only(&copy.verify("log"), FaultCode::KeptCheckpointBad).detail.contains("under another name"));
}

/// attack 14, and that lawful expiry is proven.
#[test]
fn expired_segments() {
    let copy = Copy::empty();
    for mode in [Mode::Pme, Mode::Sse] {
        let part = Copy::empty();
        let open = Open::new(&part.root(), mode, 0, |_| {});
        open.append("short.flow", 50, 40);
        open.append("syslog", 50, 40);
        open.beat();
        open.seal();
        open.beat();
        let before = Copy::from(part.folder());
        open.pass(8 * DAY);
        assert_eq!(open.expire(), 1);
        open.beat();
        drop(open);
        let report = part.verify("events");
        assert_eq!(report.verdict, Verdict::Proven, "{report}");
        assert_eq!(report.checked.expired, 1);
        let path = before.data_of("short.flow");
        part.write(&path, &before.read(&path));
        let report = part.verify("files");
        assert_eq!(only(&report, FaultCode::ExpiredPresent).file.as_deref(), Some(path.as_str()));
        part.remove(&path);
        if mode == Mode::Pme {
            for key in before.files(Kind::Key) {
                part.write(&key, &before.read(&key));
            }
            let report = part.verify("files");
            assert!(only(&report, FaultCode::ExpiredPresent).file.as_deref().unwrap().starts_with("keys/"));
        }
    }
    drop(copy);
}

#[test]
fn a_held_segment_stays_and_the_verifier_agrees() {
    let copy = Copy::empty();
    let open = Open::new(&copy.root(), Mode::Sse, 0, |_| {});
    open.append("short.flow", 50, 40);
    open.seal();
    open.hold("short.*", true);
    open.pass(30 * DAY);
    assert_eq!(open.expire(), 0);
    open.hold("short.*", false);
    assert_eq!(open.expire(), 1);
    open.beat();
    drop(open);
    assert_eq!(copy.verify("files").verdict, Verdict::Proven);
}

#[test]
fn since_leaves_older_files_alone_and_says_so() {
    let copy = Copy::of(Mode::Sse);
    let mut dice = Dice::new();
    copy.flip(&copy.data_of("aws.cloudtrail"), &mut dice);
    let report = copy.verify_with("files", |o| o.since = Some(model::Time(i64::MAX)));
    assert_eq!(report.verdict, Verdict::Proven);
    assert!(report.to_string().contains("were not opened"), "{report}");
}

/// V4, and beside a writer: nothing looks wrong because it is being written.
#[test]
fn a_vault_in_use_is_proven_too() {
    let copy = Copy::empty();
    let open = Open::new(&copy.root(), Mode::Sse, 0, |_| {});
    open.append("syslog", 10, 40);
    open.beat();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for _ in 0..40 {
                    open.append("short.flow", 10, 40);
                    open.append("syslog", 20, 200);
                    open.beat();
                }
                open.seal();
                open.pass(DAY);
                open.expire();
            }
        });
        let reports: Vec<_> = (0..20).map(|_| copy.verify("events")).collect();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        for report in reports {
            assert_eq!(report.verdict, Verdict::Proven, "{report}");
        }
    });
    drop(open);
    let report = copy.verify("events");
    assert_eq!(report.verdict, Verdict::Proven, "{report}");
}

/// Whatever lies in place of an evidence file: an answer, never a panic.
#[test]
fn attack_25_garbage() {
    let (copy, mut dice) = (Copy::of(Mode::Pme), Dice::new());
    let kinds = [
        Kind::Data,
        Kind::Side,
        Kind::Tile,
        Kind::Entries,
        Kind::Checkpoint,
        Kind::Kept,
        Kind::Wal,
        Kind::Key,
    ];
    for kind in kinds {
        for form in 0..5u64 {
            let path = copy.pick(kind, &mut dice);
            let good = copy.read(&path);
            let noise: Vec<u8> = (0..dice.below(3_000)).map(|_| dice.below(256) as u8).collect();
            let bad = match form {
                0 => Vec::new(),
                1 => noise,
                2 => good[..dice.below(good.len() as u64) as usize].to_vec(),
                3 => [&good[..], &good[..]].concat(),
                _ => {
                    let at = dice.below(good.len() as u64) as usize;
                    let mut bad = good.clone();
                    for (to, from) in bad[at..].iter_mut().zip(&noise) {
                        *to = *from;
                    }
                    bad
                }
            };
            copy.write(&path, &bad);
            for level in ["log", "events"] {
                let report = copy.verify(level);
                assert!(report.to_string().lines().count() > 3);
            }
            copy.write(&path, &good);
        }
    }
    assert_eq!(copy.verify("events").verdict, Verdict::Proven);
}
