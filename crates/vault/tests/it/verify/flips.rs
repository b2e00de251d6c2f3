//! One flipped byte per run, in every kind of evidence file.

use super::made::{Copy, Kind, Mode};
use super::{Dice, of, only};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use vault::format::wal::{FrameHead, HEADER_BYTES_MAX, Header, Kind as FrameKind};
use vault::verify::{FaultCode, Report, Verdict};

const CHUNK: u64 = 64 << 10;

fn runs() -> usize {
    if std::env::var_os("AVOUCH_SLOW_TESTS").is_some() { 200 } else { 20 }
}

/// Flips a byte of `path` at `at` while `look` looks, then puts it back.
fn flipped<R>(copy: &Copy, path: &str, at: u64, bit: u8, look: impl FnOnce() -> R) -> R {
    let file = File::options().read(true).write(true).open(copy.root().join(path)).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ bit], at).unwrap();
    let result = look();
    file.write_all_at(&byte, at).unwrap();
    result
}

/// The location promise of `vault.md` 7: exit 4, the file, at most 64 KiB around the byte.
#[track_caller]
fn check_located(report: &Report, path: &str, at: u64) {
    assert_eq!((report.verdict, report.exit_code()), (Verdict::Damaged, 4), "{path} byte {at}\n{report}");
    let here = report.faults.iter().filter(|f| f.file.as_deref() == Some(path));
    let located = here.filter_map(|f| f.bytes).any(|(from, to)| from <= at && at < to && to - from <= CHUNK);
    assert!(located, "byte {at} of {path} is not located:\n{report}");
    let elsewhere: Vec<_> =
        report.faults.iter().filter(|f| f.file.as_deref().is_some_and(|f| f != path)).collect();
    assert!(elsewhere.is_empty(), "byte {at} of {path}: other files are blamed:\n{report}");
}

fn flip_all(mode: Mode, kind: Kind, mut also: impl FnMut(&Report, &str, u64)) {
    let (copy, mut dice) = (Copy::of(mode), Dice::new());
    for _ in 0..runs() {
        let path = copy.pick(kind, &mut dice);
        let len = copy.root().join(&path).metadata().unwrap().len();
        let (at, bit) = (dice.below(len), 1 << dice.below(8));
        let report = flipped(&copy, &path, at, bit, || copy.verify("files"));
        check_located(&report, &path, at);
        also(&report, &path, at);
    }
    assert_eq!(copy.verify("files").verdict, Verdict::Proven);
}

/// With the data key every fault of a data file carries its leaf, its seqs and its time.
fn has_seq(report: &Report, path: &str, at: u64) {
    for fault in of(report, FaultCode::FileDamaged) {
        assert!(fault.leaf.is_some() && fault.time.is_some(), "{report}");
        let (from, to) = fault.seq.unwrap_or_else(|| panic!("{path} byte {at}: no seqs\n{report}"));
        assert!(from < to, "{report}");
    }
}

#[test]
fn attack_01_data_encrypted() {
    let mut columns = 0;
    flip_all(Mode::Pme, Kind::Data, |report, path, at| {
        has_seq(report, path, at);
        columns += of(report, FaultCode::FileDamaged).iter().filter(|f| f.column.is_some()).count();
    });
    assert!(columns > 0, "no flip was ever mapped to a column");
}

#[test]
fn attack_01_data_plain() {
    flip_all(Mode::Sse, Kind::Data, has_seq);
}

#[test]
fn attack_01_side() {
    flip_all(Mode::Pme, Kind::Side, |_, _, _| ());
}

#[test]
fn attack_01_tile() {
    flip_all(Mode::Sse, Kind::Tile, |report, _, _| {
        only(report, FaultCode::TileDamaged);
    });
}

#[test]
fn attack_01_entry() {
    flip_all(Mode::Sse, Kind::Entries, |report, _, _| {
        only(report, FaultCode::EntryDamaged);
    });
}

/// More than a flipped bit: entries cannot be made whole again, and what they said is unknown; nobody else is blamed for it.
#[test]
fn attack_01_entry_overwritten() {
    let (copy, mut dice) = (Copy::of(Mode::Sse), Dice::new());
    for _ in 0..runs() {
        let path = copy.pick(Kind::Entries, &mut dice);
        let mut bytes = copy.read(&path);
        let good = bytes.clone();
        let at = dice.below(bytes.len() as u64 - 9) as usize;
        bytes[at..at + 9].fill(b'~');
        copy.write(&path, &bytes);
        check_located(&copy.verify("files"), &path, at as u64);
        copy.write(&path, &good);
    }
}

#[test]
fn attack_01_checkpoint() {
    flip_all(Mode::Sse, Kind::Checkpoint, |_, _, _| ());
}

#[test]
fn attack_01_kept_checkpoint() {
    flip_all(Mode::Sse, Kind::Kept, |_, _, _| ());
}

#[test]
fn attack_01_wrapped_key() {
    // The wraps of unsealed WALs are in the same folder and under no leaf; only those of segments are evidence.
    let (copy, mut dice) = (Copy::of(Mode::Pme), Dice::new());
    let mut caught = 0;
    for _ in 0..runs() {
        let path = copy.pick(Kind::Key, &mut dice);
        let len = copy.root().join(&path).metadata().unwrap().len();
        let at = dice.below(len);
        let report = flipped(&copy, &path, at, 1, || copy.verify("files"));
        if report.verdict == Verdict::Damaged {
            check_located(&report, &path, at);
            only(&report, FaultCode::KeyDamaged);
            caught += 1;
        }
    }
    assert!(caught > runs() / 2);
}

/// Ends of the commits of the open WAL, and its header's length.
fn commits(copy: &Copy, path: &str) -> (u64, Vec<u64>) {
    let bytes = copy.read(path);
    let (_, header, _) = Header::decode(&bytes[..bytes.len().min(HEADER_BYTES_MAX)]).unwrap();
    let (mut at, mut ends) = (header, Vec::new());
    while let Some(Ok(Some(head))) = bytes[at..].first_chunk().map(FrameHead::decode) {
        at += head.frame_bytes();
        if head.kind == FrameKind::Commit {
            ends.push(at as u64);
        }
    }
    (header as u64, ends)
}

/// Up to the last heartbeat: located. Behind it a flip cannot be told from a torn tail.
#[test]
fn attack_20_wal() {
    let (copy, mut dice) = (Copy::of(Mode::Pme), Dice::new());
    let path = copy.files(Kind::Wal).pop().unwrap();
    let (_, ends) = commits(&copy, &path);
    // The last commit came after the last heartbeat.
    let (end, covered) = (ends[ends.len() - 1], ends[ends.len() - 2]);
    for _ in 0..runs() {
        let (at, bit) = (dice.below(covered), 1 << dice.below(8));
        for keys in [true, false] {
            let report = flipped(&copy, &path, at, bit, || {
                copy.verify_with("files", |o| o.keys = o.keys.take().filter(|_| keys))
            });
            check_located(&report, &path, at);
            assert!(report.faults.iter().all(|f| f.seq.is_some()), "{report}");
        }
        let at = covered + dice.below(end - covered);
        let report = flipped(&copy, &path, at, bit, || copy.verify("files"));
        assert_eq!((report.verdict, report.exit_code()), (Verdict::Proven, 0), "byte {at}\n{report}");
        assert!(report.to_string().contains("tail quarantined"), "byte {at}\n{report}");
    }
}

/// A frame of several checksummed pieces: the others tell what was changed.
#[test]
fn attack_20_wal_large_frame() {
    let (copy, mut dice) = (Copy::empty(), Dice::new());
    let open = super::made::Open::new(&copy.root(), Mode::Sse, 0, |_| {});
    open.append("syslog", 1_000, 400);
    open.beat();
    drop(open);
    let path = copy.files(Kind::Wal).pop().unwrap();
    let (header, ends) = commits(&copy, &path);
    let bytes = copy.read(&path);
    let head = FrameHead::decode(bytes[header as usize..].first_chunk().unwrap()).unwrap().unwrap();
    assert!(head.length > 5 << 16, "the test needs a frame of several pieces");
    let checksums = header + 18 + u64::from(head.length);
    for i in 0..runs() as u64 {
        let at = match i % 3 {
            0 => header + dice.below(18),
            1 => checksums + dice.below(4 * 7),
            _ => dice.below(ends[0]),
        };
        let bit = 1 << dice.below(8);
        let report = flipped(&copy, &path, at, bit, || copy.verify("files"));
        check_located(&report, &path, at);
    }
}

/// Heads and checksums of frames, which random flips seldom meet.
#[test]
fn attack_20_wal_frame_fields() {
    let (copy, mut dice) = (Copy::of(Mode::Pme), Dice::new());
    let path = copy.files(Kind::Wal).pop().unwrap();
    let (header, ends) = commits(&copy, &path);
    let bytes = copy.read(&path);
    let (mut at, mut fields) = (header as usize, (0..header).collect::<Vec<u64>>());
    while (at as u64) < ends[ends.len() - 2] {
        let head = FrameHead::decode(bytes[at..].first_chunk().unwrap()).unwrap().unwrap();
        let (payload, end) = (at + 18 + head.length as usize, at + head.frame_bytes());
        fields.extend((at..at + 18).chain(payload..end).map(|b| b as u64));
        at = end;
    }
    for _ in 0..runs() * 2 {
        let at = fields[dice.below(fields.len() as u64) as usize];
        let bit = 1 << dice.below(8);
        let report = flipped(&copy, &path, at, bit, || copy.verify("files"));
        check_located(&report, &path, at);
    }
}

#[test]
fn the_zero_tail_of_a_wal_is_no_evidence() {
    let copy = Copy::of(Mode::Sse);
    let path = copy.files(Kind::Wal).pop().unwrap();
    let (_, ends) = commits(&copy, &path);
    let len = copy.root().join(&path).metadata().unwrap().len();
    let end = *ends.last().unwrap();
    if len > end + 100 {
        let report = flipped(&copy, &path, end + 50, 1, || copy.verify("files"));
        assert_eq!(report.verdict, Verdict::Proven, "{report}");
        assert!(report.to_string().contains("tail quarantined"), "{report}");
    }
}
