//! Tampering with real vaults, made by the writer half, and what `verify` says about it.
//!
//! A vault is built once per mode and copied for every test. Seeds of random choices are printed on failure;
//! `AVOUCH_SEED=<n>` repeats them, `AVOUCH_SLOW_TESTS=1` flips 200 bytes per kind of file instead of 20.

mod flips;
mod forge;
mod made;
mod proofs;
mod records;
mod tamper;

use made::{Copy, Kind, Mode};
use vault::verify::{Fault, FaultCode, Report, Verdict};

/// The faults of one code.
fn of(report: &Report, code: FaultCode) -> Vec<&Fault> {
    report.faults.iter().filter(|f| f.code == code).collect()
}

/// The one fault that is expected, and no other.
#[track_caller]
fn only(report: &Report, code: FaultCode) -> &Fault {
    assert_eq!(report.verdict, Verdict::Damaged, "{report}");
    assert_eq!(report.exit_code(), 4);
    match report.faults.as_slice() {
        [one] if one.code == code => one,
        _ => panic!("expected only {}, got:\n{report}", code.as_str()),
    }
}

/// Small numbers from a seed, printed when the test fails.
struct Dice {
    state: u64,
    seed: u64,
}

impl Dice {
    fn new() -> Dice {
        let given = std::env::var("AVOUCH_SEED").ok().and_then(|s| s.parse().ok());
        let seed = given.unwrap_or_else(|| u64::from(std::process::id()) ^ made::unique() << 20);
        Dice { state: seed, seed }
    }
    fn below(&mut self, n: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n.max(1)
    }
}

impl Drop for Dice {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("AVOUCH_SEED={}", self.seed);
        }
    }
}

#[test]
fn an_untouched_vault_is_proven_at_every_level() {
    for mode in [Mode::Pme, Mode::Sse] {
        let copy = Copy::of(mode);
        for level in ["log", "files", "events"] {
            let report = copy.verify(level);
            assert_eq!(
                (report.verdict, report.exit_code()),
                (Verdict::Proven, 0),
                "{mode:?} {level}\n{report}"
            );
            assert!(report.size >= made::LEAVES_MIN, "{report}");
            let text = report.to_string();
            assert!(text.contains("no external anchor: truncation and full rewrite cannot be excluded"));
            assert!(!text.contains("key not pinned"), "{text}");
        }
        let report = copy.verify("events");
        assert!(report.checked.events >= made::EVENTS, "{report}");
        assert!(report.checked.segments > 4 && report.checked.wal_files == 1, "{report}");
    }
}

/// O1, and the promise of `vault.md` 7.
#[test]
fn one_job_and_eight_print_the_same_bytes() {
    let copy = Copy::of(Mode::Sse);
    let mut dice = Dice::new();
    for kind in [Kind::Data, Kind::Side, Kind::Data, Kind::Entries] {
        let path = copy.pick(kind, &mut dice);
        copy.flip(&path, &mut dice);
    }
    copy.write("data/dataset=syslog/foreign.parquet", b"x");
    let print = |jobs| {
        let report = copy.verify_with("events", |o| o.jobs = jobs);
        (report.to_string(), serde_json::to_string_pretty(&report).unwrap())
    };
    let one = print(1);
    assert_eq!(one, print(8));
    assert_eq!(one, print(3));
}

/// V4: files and a key, nothing else.
#[test]
fn without_keys_files_are_proven_and_events_are_not() {
    let copy = Copy::of(Mode::Pme);
    let report = copy.verify_with("files", |o| o.keys = None);
    assert_eq!(report.verdict, Verdict::Proven, "{report}");
    assert!(report.to_string().contains("no data key was given"), "{report}");
    let report = copy.verify_with("events", |o| o.keys = None);
    assert_eq!((report.verdict, report.exit_code()), (Verdict::Incomplete, 3), "{report}");
    let copy = Copy::of(Mode::Sse);
    let report = copy.verify_with("events", |o| o.keys = None);
    assert!(report.checked.events > 0 && report.faults.is_empty(), "plain segments need no key: {report}");
}

#[test]
fn a_key_that_is_not_pinned_is_said() {
    let copy = Copy::of(Mode::Sse);
    let report = copy.verify_with("log", |o| o.vkey = None);
    assert_eq!(report.verdict, Verdict::Proven);
    assert!(report.to_string().contains("key not pinned"), "{report}");
}

#[test]
fn an_anchor_is_named_and_may_be_required() {
    let copy = Copy::of(Mode::Sse);
    let report = copy.verify_with("log", |o| o.require_anchor = true);
    assert_eq!((report.verdict, report.exit_code()), (Verdict::Incomplete, 3));
    let note = copy.read("log/checkpoint");
    let three_lines = String::from_utf8(note.clone()).unwrap().lines().take(3).collect::<Vec<_>>().join("\n");
    for bytes in [note, three_lines.into_bytes()] {
        let report = copy.verify_with("log", |o| {
            o.require_anchor = true;
            o.known_checkpoints = vec![made::known("paper", &bytes)];
        });
        assert_eq!(report.verdict, Verdict::Proven, "{report}");
        assert!(report.anchors[0].starts_with("paper: size "), "{report}");
        assert!(!report.to_string().contains("no external anchor"));
    }
}

#[test]
fn the_data_folder_is_as_good_as_the_vault_folder() {
    let copy = Copy::of(Mode::Sse);
    let options = copy.options("log");
    assert_eq!(vault::verify::verify(copy.folder(), &options).unwrap().verdict, Verdict::Proven);
    let error = vault::verify::verify(&copy.root().join("data"), &options).unwrap_err();
    assert_eq!(error.code(), "vault.none");
}

/// The Python script shares no code with the product.
#[test]
fn another_implementation_agrees() {
    let script = std::path::Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap())
        .join("../../tests/python/check_log.py");
    let run = |copy: &Copy| {
        let mut command = std::process::Command::new("python3");
        command.arg(&script).arg(copy.root().join("log")).arg(copy.vkey().to_string());
        command.output().ok()
    };
    let copy = Copy::of(Mode::Sse);
    let Some(good) = run(&copy) else {
        println!("skipped: another_implementation_agrees: no python3");
        return;
    };
    let text = String::from_utf8_lossy(&good.stdout).into_owned();
    assert!(good.status.success(), "{text}{}", String::from_utf8_lossy(&good.stderr));
    assert!(text.starts_with("root good over "), "{text}");
    let mut dice = Dice::new();
    copy.flip("log/tile/entries/000", &mut dice);
    assert!(run(&copy).is_some_and(|out| !out.status.success()));
}

/// Not a test of speed: prints the files level beside `openssl dgst -sha256` over the same files.
#[test]
#[ignore = "a measurement; run with --ignored --nocapture"]
fn measure_files_level() {
    let copy = Copy::empty();
    let open = made::Open::new(&copy.root(), Mode::Pme, 0, |_| {});
    for _ in 0..8 {
        for _ in 0..8 {
            open.append("aws.cloudtrail", 8_000, 1_000);
        }
        open.beat();
        open.seal();
    }
    open.beat();
    let files: Vec<_> = copy.files(Kind::Data).into_iter().map(|p| copy.root().join(p)).collect();
    for _ in 0..5 {
        let started = std::time::Instant::now();
        std::process::Command::new("openssl").args(["dgst", "-sha256"]).args(&files).output().unwrap();
        let theirs = started.elapsed();
        let time = |level: &str, jobs| {
            let started = std::time::Instant::now();
            let report = copy.verify_with(level, |o| o.jobs = jobs);
            assert_eq!(report.verdict, Verdict::Proven);
            (started.elapsed(), report)
        };
        let (one, report) = time("files", 1);
        let (two, _) = time("files", 2);
        let (events, full) = time("events", 1);
        println!(
            "{} MB: openssl {theirs:?}, files {one:?} (two jobs {two:?}); events {events:?} over {} MB raw",
            report.checked.file_bytes >> 20,
            full.checked.event_bytes >> 20
        );
    }
}
