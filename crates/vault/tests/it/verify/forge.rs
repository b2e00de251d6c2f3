//! A vault whose writer lies: leaves that the honest writer would never make, signed with the log's own key (levels A1 and A2).

use super::made::{Copy, Mode, Open};
use super::{of, only};
use model::Time;
use std::time::Duration;
use vault::format::leaf::{Body, Config, Expire, ExpireAction, Heartbeat, Leaf, Policy, Segment};
use vault::format::{Digest, MaxAge};
use vault::merkle::{Checkpoint, LogState, Note};
use vault::verify::{FaultCode, Report, Verdict};

pub fn checkpoint(copy: &Copy) -> Checkpoint {
    Checkpoint::parse(&Note::parse(&copy.read("log/checkpoint")).unwrap().text).unwrap()
}

fn source(copy: &Copy) -> impl Fn(&str) -> std::io::Result<Option<Vec<u8>>> {
    let log = copy.root().join("log");
    move |path: &str| match std::fs::read(log.join(path)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Adds entries to the log and signs over them.
fn add(copy: &Copy, entries: &[Vec<u8>]) {
    let mut state = LogState::load(&source(copy), checkpoint(copy).size).unwrap();
    for (path, bytes) in state.append(entries).unwrap() {
        copy.write(&format!("log/{path}"), &bytes);
    }
    let checkpoint = Checkpoint { size: state.size(), root: state.root(), ..checkpoint(copy) };
    copy.write("log/checkpoint", checkpoint.sign(&copy.signer()).unwrap().as_bytes());
}

fn leaves(copy: &Copy) -> Vec<Leaf> {
    let size = checkpoint(copy).size;
    let reader = vault::merkle::TileReader::new(source(copy), size);
    (0..size).map(|i| Leaf::decode(&reader.entry(i).unwrap()).unwrap()).collect()
}

/// Makes the log anew from changed leaves: the kept checkpoints go, as a liar would see to.
fn rewrite(copy: &Copy, change: impl FnOnce(&mut Vec<Leaf>)) {
    let mut all = leaves(copy);
    change(&mut all);
    let _ = std::fs::remove_dir_all(copy.root().join("log/tile"));
    let _ = std::fs::remove_dir_all(copy.root().join("log/checkpoints"));
    let empty = Checkpoint { size: 0, root: vault::merkle::EMPTY_ROOT, ..checkpoint(copy) };
    copy.write("log/checkpoint", empty.sign(&copy.signer()).unwrap().as_bytes());
    add(copy, &all.iter().map(|l| l.encode().unwrap()).collect::<Vec<_>>());
}

fn segments(all: &mut [Leaf]) -> Vec<&mut Segment> {
    all.iter_mut()
        .filter_map(|l| match &mut l.body {
            Body::Segment(s) => Some(s.as_mut()),
            _ => None,
        })
        .collect()
}

fn last_time(copy: &Copy) -> Time {
    leaves(copy).last().unwrap().time
}

#[track_caller]
fn check(change: impl FnOnce(&mut Vec<Leaf>), level: &str, code: FaultCode) -> Report {
    let copy = Copy::of(Mode::Sse);
    rewrite(&copy, change);
    let report = copy.verify(level);
    assert_eq!(report.verdict, Verdict::Damaged, "{report}");
    assert!(!of(&report, code).is_empty(), "no {}:\n{report}", code.as_str());
    report
}

#[test]
fn a_rewritten_log_that_says_the_same_is_good() {
    let copy = Copy::of(Mode::Sse);
    rewrite(&copy, |_| {});
    assert_eq!(copy.verify("events").verdict, Verdict::Proven);
}

#[test]
fn entries_that_are_no_leaves() {
    let good = Leaf::new(Time(i64::MAX / 2), "x", Body::Config(Config { sha256: Digest::default() }));
    for bad in [b"".to_vec(), b"{}".to_vec(), vec![0xff; 65_535], b"{\"v\":2}".to_vec()] {
        let copy = Copy::of(Mode::Sse);
        add(&copy, &[bad]);
        only(&copy.verify("log"), FaultCode::LeafMalformed);
    }
    let spaced = String::from_utf8(good.encode().unwrap()).unwrap().replacen(':', ": ", 1);
    let copy = Copy::of(Mode::Sse);
    add(&copy, &[spaced.into_bytes()]);
    only(&copy.verify("log"), FaultCode::LeafMalformed);
}

/// A leaf that names a file outside the vault is refused before anything is opened.
#[test]
fn a_path_out_of_the_folder() {
    for path in ["../../../etc/passwd", "/etc/passwd", "data/dataset=syslog/day=2025-03-14/../../x.parquet"] {
        let report = check(|all| segments(all)[0].path = path.into(), "files", FaultCode::LeafMalformed);
        assert!(report.faults.iter().all(|f| f.file.as_deref() != Some(path)), "{report}");
    }
    check(|all| segments(all)[0].side = "side/../vault.json".into(), "files", FaultCode::LeafMalformed);
    check(|all| segments(all)[0].day = "2025-02-30".into(), "log", FaultCode::LeafMalformed);
    check(|all| segments(all)[0].rows = 0, "log", FaultCode::LeafMalformed);
}

/// V3.
#[test]
fn time_that_goes_back() {
    let report = check(
        |all| {
            let at = all.len() / 2;
            all[at].time = all[at].time.plus(-3_600_000_000);
        },
        "log",
        FaultCode::TimeWentBack,
    );
    assert_eq!(report.faults.len(), 1, "{report}");
}

/// attack 22: a dataset of a WAL is left out. The leaves alone show it.
#[test]
fn attack_22_a_dataset_left_out() {
    let drop_one = |all: &mut Vec<Leaf>| {
        let at = all
            .iter()
            .position(|l| matches!(&l.body, Body::Segment(s) if s.dataset == "short.flow"))
            .unwrap();
        all.remove(at);
    };
    check(drop_one, "log", FaultCode::PartsIncomplete);
    // And the parts renumbered, so that they look complete: then the rows do not add up.
    let renumber = |all: &mut Vec<Leaf>| {
        drop_one(all);
        let wal = segments(all)[0].wal;
        let mine: Vec<&mut Segment> = segments(all).into_iter().filter(|s| s.wal == wal).collect();
        let n = u32::try_from(mine.len()).unwrap();
        for (i, s) in (0u32..).zip(mine) {
            (s.part, s.parts) = (i, n);
            let stem = format!("{}-{}", s.wal, s.part);
            s.path = vault::format::paths::data(&s.dataset, &s.day, &stem);
            s.side = vault::format::paths::side(&stem);
        }
    };
    check(renumber, "log", FaultCode::PartsIncomplete);
    // And the range shortened: then another WAL's seqs do not follow, and the WAL root is another.
    let shorten = |all: &mut Vec<Leaf>| {
        renumber(all);
        let wal = segments(all)[0].wal;
        let rows: u64 = segments(all).iter().filter(|s| s.wal == wal).map(|s| s.rows).sum();
        for s in segments(all).into_iter().filter(|s| s.wal == wal) {
            s.range = [s.range[0], (s.range[0] + rows).max(s.seq[1] + 1)];
        }
    };
    let copy = Copy::of(Mode::Sse);
    rewrite(&copy, shorten);
    assert_eq!(copy.verify("log").verdict, Verdict::Damaged);
}

#[test]
fn roots_that_do_not_follow() {
    check(|all| segments(all)[0].wal_root = Digest([1; 32]), "log", FaultCode::PartsIncomplete);
    let all_parts = |all: &mut Vec<Leaf>| {
        let wal = segments(all)[0].wal;
        for s in segments(all).into_iter().filter(|s| s.wal == wal) {
            s.wal_root = Digest([1; 32]);
        }
    };
    check(all_parts, "log", FaultCode::WalRootMismatch);
    check(|all| segments(all)[0].dataset_root = Digest([1; 32]), "log", FaultCode::DatasetRootMismatch);
    let both = |all: &mut Vec<Leaf>| {
        segments(all)[0].dataset_root = Digest([1; 32]);
        segments(all)[0].event_root = Digest([1; 32]);
    };
    check(both, "events", FaultCode::EventRootMismatch);
    // Two files of one dataset: their common root is only known from the events.
    let two_days = |all: &mut Vec<Leaf>| {
        let mut wals: Vec<u64> = segments(all)
            .iter()
            .filter(|s| s.dataset == "syslog" && s.rows != s.dataset_rows)
            .map(|s| s.wal)
            .collect();
        wals.dedup();
        for s in segments(all).into_iter().filter(|s| s.wal == wals[0] && s.dataset == "syslog") {
            s.dataset_root = Digest([1; 32]);
        }
    };
    check(two_days, "events", FaultCode::DatasetRootMismatch);
}

#[test]
fn seqs_with_a_gap_or_twice() {
    let move_last = |by: i64| {
        move |all: &mut Vec<Leaf>| {
            let wal = segments(all).iter().map(|s| s.wal).max().unwrap();
            for s in segments(all).into_iter().filter(|s| s.wal == wal) {
                for n in s.range.iter_mut().chain(&mut s.seq) {
                    *n = n.checked_add_signed(by).unwrap();
                }
            }
        }
    };
    check(move_last(5), "log", FaultCode::SeqGap);
    check(move_last(-5), "log", FaultCode::SeqOverlap);
    let lose = |all: &mut Vec<Leaf>| {
        let s = &mut segments(all)[0];
        s.lost = vec![[s.range[0], s.range[0] + 1]];
    };
    check(lose, "log", FaultCode::SeqGap);
    // A heartbeat that counted more than was sealed.
    let more = |all: &mut Vec<Leaf>| {
        let sealed = segments(all)[0].wal;
        for l in all.iter_mut() {
            if let Body::Heartbeat(Heartbeat { seq, wal: Some(wal), .. }) = &mut l.body
                && *wal == sealed
            {
                *seq += 1_000;
            }
        }
    };
    check(more, "log", FaultCode::SeqGap);
}

/// attack 9 and the like: a root in a heartbeat that the WAL does not have.
#[test]
fn a_wal_root_of_other_events() {
    let copy = Copy::of(Mode::Sse);
    let number = leaves(&copy)
        .iter()
        .filter_map(|l| match &l.body {
            Body::Heartbeat(h) => h.wal,
            _ => None,
        })
        .max();
    rewrite(&copy, |all| {
        for l in all.iter_mut() {
            if let Body::Heartbeat(h) = &mut l.body
                && h.wal == number
            {
                h.wal_root = Some(Digest([1; 32]));
            }
        }
    });
    let report = copy.verify("files");
    assert_eq!(of(&report, FaultCode::WalMismatch).len(), 10, "{report}");
    let report = copy.verify_with("files", |o| o.keys = None);
    assert_eq!(report.verdict, Verdict::Proven, "without the key only checksums can be walked");
    assert!(report.to_string().contains("not by their roots"), "{report}");
}

fn expiry(copy: &Copy, at: Time, policy: u64) -> (u64, Body) {
    let all = leaves(copy);
    let target =
        all.iter().position(|l| matches!(&l.body, Body::Segment(s) if s.dataset == "syslog")).unwrap() as u64;
    let Body::Segment(s) = &all[target as usize].body else { unreachable!() };
    copy.remove(&s.path);
    copy.remove(&s.side);
    let body = Body::Expire(Expire {
        dataset: "syslog".into(),
        segments: vec![[target, target + 1]],
        policy,
        action: ExpireAction::Delete,
        at,
        witnessed: false,
        list_sha256: Digest::default(),
    });
    (target, body)
}

fn policy_of(copy: &Copy, pattern: &str) -> u64 {
    let all = leaves(copy);
    all.iter().position(|l| matches!(&l.body, Body::Policy(p) if p.dataset == pattern)).unwrap() as u64
}

fn sign_leaf(copy: &Copy, time: Time, body: Body) {
    add(copy, &[Leaf::new(time, "vault", body).encode().unwrap()]);
}

/// attack 12: the clock is pushed on, or the age is simply not reached.
#[test]
fn attack_12_early_expiry() {
    let copy = Copy::of(Mode::Sse);
    let (now, policy) = (last_time(&copy), policy_of(&copy, "*"));
    let (_, body) = expiry(&copy, now, policy);
    sign_leaf(&copy, now, body);
    let report = copy.verify("files");
    let fault = only(&report, FaultCode::EarlyExpiry);
    assert!(fault.detail.contains("keeps it until 2025-06-"), "the earliest legal time is printed: {report}");
    // For a time that has not come.
    let copy = Copy::of(Mode::Sse);
    let (_, body) = expiry(&copy, now.plus(100 * Time::DAY), policy);
    sign_leaf(&copy, now, body);
    assert!(only(&copy.verify("files"), FaultCode::EarlyExpiry).detail.contains("had not come"));
    // The right age, under the policy of another dataset.
    let copy = Copy::of(Mode::Sse);
    let (_, body) = expiry(&copy, now.plus(100 * Time::DAY), policy_of(&copy, "short.*"));
    sign_leaf(&copy, now.plus(100 * Time::DAY), body);
    assert!(only(&copy.verify("files"), FaultCode::EarlyExpiry).detail.contains("does not cover"));
    // And as it should be.
    let copy = Copy::of(Mode::Sse);
    let (_, body) = expiry(&copy, now.plus(100 * Time::DAY), policy);
    sign_leaf(&copy, now.plus(100 * Time::DAY), body);
    assert_eq!(copy.verify("files").verdict, Verdict::Proven);
}

/// attack 13: the policy is shortened first. It applies to later segments only, unless approvers stand in the leaf.
#[test]
fn attack_13_shortened_policy() {
    for (approvals, verdict) in [(vec![], Verdict::Damaged), (vec!["bob".to_owned()], Verdict::Proven)] {
        let copy = Copy::of(Mode::Sse);
        let now = last_time(&copy);
        let index = checkpoint(&copy).size;
        let policy = Policy {
            dataset: "*".into(),
            rule: "retention".into(),
            max_age: Some(MaxAge::Days(1)),
            clock: "received".into(),
            from: now,
            approvals,
            hold: None,
        };
        sign_leaf(&copy, now, Body::Policy(policy));
        let later = now.plus(2 * Time::DAY);
        let (target, body) = expiry(&copy, later, index);
        sign_leaf(&copy, later, body);
        let report = copy.verify("files");
        assert_eq!(report.verdict, verdict, "{report}");
        if verdict == Verdict::Damaged {
            let detail = &only(&report, FaultCode::EarlyExpiry).detail;
            let old = policy_of(&copy, "*");
            assert!(
                detail.contains(&format!(
                    "leaf {target} was expired under leaf {index}, but leaf {old} keeps it"
                ))
            );
        } else {
            assert!(report.to_string().contains("shortened with approval by bob"), "{report}");
        }
    }
}

#[test]
fn expiry_of_what_is_held_or_does_not_exist() {
    let copy = Copy::of(Mode::Sse);
    let now = last_time(&copy).plus(100 * Time::DAY);
    let hold = vault::format::leaf::Hold { id: "c".into(), held: true, why: "w".into(), range: None };
    let policy = Policy {
        dataset: "sys*".into(),
        rule: "hold".into(),
        max_age: None,
        clock: "received".into(),
        from: now,
        approvals: vec![],
        hold: Some(hold),
    };
    sign_leaf(&copy, now, Body::Policy(policy));
    let (_, body) = expiry(&copy, now, policy_of(&copy, "*"));
    sign_leaf(&copy, now, body);
    assert!(only(&copy.verify("files"), FaultCode::EarlyExpiry).detail.contains("legal hold `c`"));

    let copy = Copy::of(Mode::Sse);
    let body = Body::Expire(Expire {
        dataset: "syslog".into(),
        segments: vec![[0, 1], [5, 2], [u64::MAX >> 12, (u64::MAX >> 12) + 1]],
        policy: 0,
        action: ExpireAction::Both,
        at: now,
        witnessed: false,
        list_sha256: Digest::default(),
    });
    sign_leaf(&copy, now, body);
    let report = copy.verify("files");
    assert_eq!(of(&report, FaultCode::BadReference).len(), 3, "leaf 0 is named twice: {report}");
}

/// attack 21: the writer stands still for hours; the heartbeats say so.
#[test]
fn attack_21_silence_is_said() {
    let copy = Copy::empty();
    let open = Open::new(&copy.root(), Mode::Sse, 0, |_| {});
    open.beat();
    open.pass(Duration::from_secs(3600));
    open.beat();
    drop(open);
    let report = copy.verify("log");
    assert!(
        report.to_string().contains("1 silences of more than 180 s between heartbeats, the longest 3605 s"),
        "{report}"
    );
}

#[test]
fn a_checkpoint_over_another_root() {
    let copy = Copy::of(Mode::Sse);
    let lie = Checkpoint { root: [1; 32], ..checkpoint(&copy) };
    copy.write("log/checkpoint", lie.sign(&copy.signer()).unwrap().as_bytes());
    only(&copy.verify("files"), FaultCode::RootMismatch);
}

/// A side file whose hash is in the leaf, and that says other things about the events.
#[test]
fn a_side_file_that_lies() {
    let copy = Copy::of(Mode::Sse);
    let path = copy.files(super::Kind::Side)[0].clone();
    let mut side = vault::format::side::Side::decode(&copy.read(&path)).unwrap();
    side.prefixes[3] = [0; 4];
    let lie = side.encode();
    copy.write(&path, &lie);
    rewrite(&copy, |all| {
        for s in segments(all).into_iter().filter(|s| s.side == path) {
            s.side_sha256 = Digest::of(&lie);
        }
    });
    assert_eq!(copy.verify("files").verdict, Verdict::Proven, "files are as the leaves say");
    assert_eq!(only(&copy.verify("events"), FaultCode::SideWrong).file.as_deref(), Some(path.as_str()));
}

/// A checkpoint that claims a tree too large to exist is an answer, not a loop.
#[test]
fn a_tree_of_an_impossible_size() {
    for size in [400, 70_000, 1 << 40, u64::MAX] {
        let copy = Copy::of(Mode::Sse);
        let lie = Checkpoint { size, ..checkpoint(&copy) };
        copy.write("log/checkpoint", lie.sign(&copy.signer()).unwrap().as_bytes());
        let report = copy.verify("files");
        assert!(!of(&report, FaultCode::EntriesMissing).is_empty(), "{report}");
    }
}

/// The key is destroyed by policy and the file stays: unreadable, existence proven.
#[test]
fn shredded_only() {
    let copy = Copy::of(Mode::Pme);
    let now = last_time(&copy).plus(100 * Time::DAY);
    let all = leaves(&copy);
    let target =
        all.iter().position(|l| matches!(&l.body, Body::Segment(s) if s.dataset == "syslog")).unwrap() as u64;
    let Body::Segment(s) = &all[target as usize].body else { unreachable!() };
    let wrap = format!("keys/{}.wrap", s.dek.as_ref().unwrap());
    let body = Body::Expire(Expire {
        dataset: "syslog".into(),
        segments: vec![[target, target + 1]],
        policy: policy_of(&copy, "*"),
        action: ExpireAction::Shred,
        at: now,
        witnessed: false,
        list_sha256: Digest::default(),
    });
    sign_leaf(&copy, now, body);
    assert_eq!(only(&copy.verify("files"), FaultCode::ExpiredPresent).file.as_deref(), Some(wrap.as_str()));
    copy.remove(&wrap);
    assert_eq!(copy.verify("events").verdict, Verdict::Proven);
    let mut bytes = copy.read(&s.path);
    bytes[100] ^= 1;
    copy.write(&s.path, &bytes);
    assert!(copy.verify("events").faults.iter().all(|f| f.code == FaultCode::FileDamaged));
}
