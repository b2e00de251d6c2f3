//! Evidence that was changed is found, and the place is named (`vault.md` 7 and 15).

use crate::demo::kept;
use avouch_e2e::peer::python;
use avouch_e2e::scratch::{copy_folder, files_below};
use avouch_e2e::{
    PATIENCE, Random, Run, Scratch, Serve, avouch, kit, root, rounds, skipped, text, wait_until,
};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

const RANGE_MAX: u64 = 64 << 10;

#[track_caller]
fn verify(scratch: &Scratch, vault: &Path, more: &[&str]) -> Run {
    avouch(scratch, &[&["verify", &vault.display().to_string(), "-o", "json"], more].concat())
}

fn range(fault: &Value) -> Option<(u64, u64)> {
    let b = fault["bytes"].as_array()?;
    Some((b.first()?.as_u64()?, b.get(1)?.as_u64()?))
}

fn files(vault: &Path, under: &str, ending: &str) -> Vec<PathBuf> {
    files_below(&vault.join(under)).into_iter().filter(|p| p.to_string_lossy().ends_with(ending)).collect()
}

/// Where the footer of a Parquet file begins: its length stands before the last four bytes.
fn footer_start(bytes: &[u8]) -> u64 {
    let n = bytes.len();
    let length: [u8; 4] = bytes[n - 8..n - 4].try_into().expect("four bytes");
    (n - 8) as u64 - u64::from(u32::from_le_bytes(length))
}

/// Flips one random bit of one of `files`, inside `part` of it, verifies, and puts it back; again and again.
#[track_caller]
fn flips(
    kind: &str,
    vault: &Path,
    scratch: &Scratch,
    files: &[PathBuf],
    part: impl Fn(&[u8]) -> (u64, u64),
    key: Option<&Path>,
) {
    assert!(!files.is_empty(), "{kind}: the vault has no such file");
    let mut random = Random::new();
    for round in 0..rounds(20, 200) {
        let path = random.one_of(files).clone();
        let whole = fs::read(&path).expect("it can be read");
        let (from, to) = part(&whole);
        let at = random.between(from, to);
        let bit = random.between(0, 8);
        let mut changed = whole.clone();
        changed[usize::try_from(at).expect("an index")] ^= 1 << bit;
        fs::write(&path, &changed).expect("it can be written");
        let name = path.strip_prefix(vault).expect("inside the vault").display().to_string();
        let place = format!(
            "{kind}, flip {round}: bit {bit} of byte {at} of {name} ({} bytes), seed {}",
            whole.len(),
            random.seed
        );
        let said = verify(scratch, vault, &[]);
        assert_eq!(said.code, 4, "{place}: {said}");
        let faults = said.items();
        let named: Vec<&Value> = faults.iter().filter(|f| text(f, "/file") == name).collect();
        assert!(!named.is_empty(), "{place}: the file is not named: {faults:?}");
        let located =
            named.iter().filter_map(|f| range(f)).any(|(a, b)| a <= at && at < b && b - a <= RANGE_MAX);
        assert!(
            located || whole.len() as u64 <= RANGE_MAX,
            "{place}: no range of at most 64 KiB around it: {named:?}"
        );
        if let Some(key) = key.filter(|_| round % 5 == 0) {
            let said = verify(scratch, vault, &["--data-key", &key.display().to_string()]);
            assert_eq!(said.code, 4, "{place}: with the data key: {said}");
            let faults = said.items();
            assert!(
                faults.iter().any(|f| text(f, "/file") == name && f["seq"].is_array()),
                "{place}: no events are named: {faults:?}"
            );
        }
        fs::write(&path, &whole).expect("it can be written");
    }
    assert_eq!(verify(scratch, vault, &[]).code, 0, "{kind}: it is whole again at the end");
}

#[track_caller]
fn on_a_copy(
    kind: &str,
    files: impl Fn(&Path) -> Vec<PathBuf>,
    part: impl Fn(&[u8]) -> (u64, u64),
    with_key: bool,
) {
    let kept = kept();
    let scratch = Scratch::new("flip");
    let vault = kept.copy(&scratch);
    let kek = kept.kek();
    flips(kind, &vault, &scratch, &files(&vault), part, with_key.then_some(kek.as_path()));
}

fn everywhere(bytes: &[u8]) -> (u64, u64) {
    (0, bytes.len() as u64)
}

#[test]
fn flips_in_pages_are_found() {
    on_a_copy("page", |v| files(v, "data", ".parquet"), |b| (4, footer_start(b)), true);
}

#[test]
fn flips_in_footers_are_found() {
    on_a_copy("footer", |v| files(v, "data", ".parquet"), |b| (footer_start(b), b.len() as u64), false);
}

#[test]
fn flips_in_side_files_are_found() {
    on_a_copy("side", |v| files(v, "side", ".side"), everywhere, false);
}

#[test]
fn flips_in_tiles_are_found() {
    on_a_copy("tile", |v| current(v, false), everywhere, false);
}

#[test]
fn flips_in_entries_are_found() {
    on_a_copy("entry", |v| current(v, true), everywhere, false);
}

/// Tiles of the present tree. A partial tile that a wider one replaced proves nothing any more and may be deleted.
fn current(vault: &Path, entries: bool) -> Vec<PathBuf> {
    let all: Vec<PathBuf> = files(vault, "log/tile", "")
        .into_iter()
        .filter(|p| p.to_string_lossy().contains("/entries/") == entries)
        .collect();
    let width =
        |p: &Path| p.file_name().and_then(|n| n.to_str()).and_then(|n| n.parse::<u64>().ok()).unwrap_or(256);
    let is_partial = |p: &Path| p.parent().is_some_and(|d| d.to_string_lossy().ends_with(".p"));
    all.iter()
        .filter(|p| !is_partial(p) || !all.iter().any(|o| o.parent() == p.parent() && width(o) > width(p)))
        .cloned()
        .collect()
}

#[test]
fn flips_in_the_checkpoint_are_found() {
    on_a_copy("checkpoint", |v| vec![v.join("log/checkpoint")], everywhere, false);
}

/// Keys of segments, whose hashes are in the log. What is still in the WAL has its key in none: that one only opens or does not.
#[test]
fn flips_in_wrapped_keys_are_found() {
    on_a_copy("key", |v| of_wal(v, false), everywhere, false);
}

/// The wrapped keys of WAL files, or all others. The id of its key stands in the header of a WAL file.
fn of_wal(vault: &Path, is_wal: bool) -> Vec<PathBuf> {
    let headers: Vec<Vec<u8>> = files(vault, "wal", "").iter().map(|p| fs::read(p).expect("read")).collect();
    let is_named = |path: &PathBuf| {
        let name = path.file_stem().and_then(|n| n.to_str()).unwrap_or_default();
        let id: Vec<u8> = (0..name.len() / 2)
            .map(|at| u8::from_str_radix(&name[at * 2..at * 2 + 2], 16).expect("an id in hexadecimal"))
            .collect();
        headers
            .iter()
            .any(|h| h.iter().take(256).copied().collect::<Vec<_>>().windows(id.len()).any(|w| w == id))
    };
    files(vault, "keys", ".wrap").into_iter().filter(|path| is_named(path) == is_wal).collect()
}

/// Its hash is in the log: every byte of it is covered, when it was made included.
#[test]
fn flips_in_the_description_are_found() {
    let kept = kept();
    let scratch = Scratch::new("flip");
    let vault = kept.copy(&scratch);
    let path = vault.join("vault.json");
    let whole = fs::read(&path).expect("read");
    let pinned = vkey(&kept.vault());
    let mut random = Random::new();
    for _ in 0..rounds(20, 200) {
        let at = random.between(0, whole.len() as u64);
        let mut changed = whole.clone();
        changed[usize::try_from(at).expect("an index")] ^= 1 << random.between(0, 7);
        fs::write(&path, &changed).expect("written");
        let place = format!("byte {at} of vault.json, seed {}", random.seed);
        // Without a key of our own, a description that names none cannot be gone on with.
        let alone = verify(&scratch, &vault, &[]);
        let said = format!("{}{}", alone.out(), alone.err);
        assert!(matches!(alone.code, 2 | 4) && said.contains("vault.json"), "{place}: {alone}");
        let said = verify(&scratch, &vault, &["--key", &pinned]);
        assert_eq!(said.code, 4, "{place}, pinned: {said}");
        assert!(said.items().iter().any(|f| text(f, "/file") == "vault.json"), "{place}: {said}");
    }
}

/// The verification key that a vault names.
#[track_caller]
fn vkey(vault: &Path) -> String {
    let json: Value =
        serde_json::from_slice(&fs::read(vault.join("vault.json")).expect("read")).expect("JSON");
    text(&json, "/vkey").to_owned()
}

/// A WAL up to the last heartbeat: what a crash leaves is evidence as well.
#[test]
fn flips_in_the_wal_of_a_killed_daemon_are_found() {
    let scratch = Scratch::new("wal");
    let yaml = "server: { listen: \"127.0.0.1:0\" }\nvault: { rhythm: { heartbeat: 1s, idle: 60s } }\nsources:\n  api: { https: { listen: \"127.0.0.1:0\" }, dataset: app.test }\n";
    let serve = Serve::start(&scratch, yaml);
    let key = serve.key("c1", "api");
    for i in 0..40 {
        let body: Vec<String> = (0..50)
            .map(|k| format!("{{\"n\":{},\"pad\":\"{}\"}}", i * 50 + k, "w".repeat(97 * (k % 20))))
            .collect();
        serve.post("api", &key, "application/x-ndjson", body.join("\n")).is(200);
    }
    // The access log is written behind the answers; a proof needs a heartbeat over everything so far.
    wait_until("the access log is written", PATIENCE, || serve.events("avouch.http") == 40);
    let first = serve.sql("select min(av_seq) as seq from \"app.test\"");
    let proof = scratch.join("proof").display().to_string();
    serve.run(&["event", "show", &format!("0:{}", first[0]["seq"]), "--proof", &proof]).ok();
    let wal = files(&serve.data.join("vault"), "wal", ".wal").pop().expect("an open WAL");
    let bytes = fs::read(&wal).expect("it can be read");
    let end = bytes.iter().rposition(|b| *b != 0).expect("it is not empty") as u64 + 1;
    serve.kill9();
    let vault = scratch.join("data/vault");
    assert_eq!(verify(&scratch, &vault, &[]).code, 0, "untouched after the kill");
    let kek = scratch.join("data/secret/kek");
    flips("wal", &vault, &scratch, &[wal], move |_| (0, end), Some(&kek));
    // Its key is in no log yet: whoever has the data key sees that it does not open.
    let keys = of_wal(&vault, true);
    assert!(!keys.is_empty(), "the WAL has no key");
    for path in keys {
        let whole = fs::read(&path).expect("it can be read");
        let mut changed = whole.clone();
        changed[whole.len() / 2] ^= 1;
        fs::write(&path, &changed).expect("it can be written");
        let said = verify(&scratch, &vault, &["--data-key", &kek.display().to_string()]);
        // A wrong data key would look the same.
        assert!(said.code == 3 && said.out().contains("does not open"), "{}: {said}", path.display());
        fs::write(&path, &whole).expect("it can be written");
    }
}

#[test]
fn deleted_truncated_foreign_and_swapped_files_are_named() {
    let kept = kept();
    let scratch = Scratch::new("files");
    let vault = kept.copy(&scratch);
    let mut random = Random::new();
    let place = format!("seed {}", random.seed);
    let names = |run: &Run| -> Vec<(String, String)> {
        run.items().iter().map(|f| (text(f, "/code").to_owned(), text(f, "/file").to_owned())).collect()
    };
    let inside = |p: &Path| p.strip_prefix(&vault).expect("inside the vault").display().to_string();
    let segments = files(&vault, "data", ".parquet");

    // Deleted: a segment, a side file, the newest entries, the checkpoint.
    for path in [
        random.one_of(&segments).clone(),
        random.one_of(&files(&vault, "side", ".side")).clone(),
        current(&vault, true).pop().expect("entries"),
        vault.join("log/checkpoint"),
    ] {
        let whole = fs::read(&path).expect("it can be read");
        fs::remove_file(&path).expect("it can be deleted");
        let said = verify(&scratch, &vault, &[]).exits(4);
        assert!(
            names(&said).iter().any(|(_, f)| *f == inside(&path)),
            "{place}: deleted {} is not named: {said}",
            inside(&path)
        );
        if path.extension().is_some_and(|e| e == "parquet") {
            let fault =
                said.items().into_iter().find(|f| text(f, "/file") == inside(&path)).expect("it was named");
            assert!(
                fault["leaf"].is_u64() && fault["seq"].is_array() && fault["time"].is_array(),
                "{place}: leaf, events and time span of a deleted segment: {fault}"
            );
        }
        fs::write(&path, whole).expect("it can be written");
    }
    // Truncated.
    let path = random.one_of(&segments).clone();
    let whole = fs::read(&path).expect("it can be read");
    fs::write(&path, &whole[..whole.len() - 1]).expect("it can be written");
    let said = verify(&scratch, &vault, &[]).exits(4);
    assert!(names(&said).iter().any(|(_, f)| *f == inside(&path)), "{place}: {said}");
    fs::write(&path, &whole).expect("it can be written");
    // Inserted: a copy of a real segment as one more file of its partition.
    let foreign = path.with_file_name("99-0.parquet");
    fs::write(&foreign, &whole).expect("it can be written");
    let said = verify(&scratch, &vault, &[]).exits(4);
    assert!(names(&said).contains(&("verify.foreign_file".to_owned(), inside(&foreign))), "{place}: {said}");
    fs::remove_file(&foreign).expect("it can be deleted");
    // Swapped.
    assert!(segments.len() >= 2, "a demo has several segments");
    let (a, b) = (&segments[0], &segments[segments.len() - 1]);
    let (in_a, in_b) = (fs::read(a).expect("read"), fs::read(b).expect("read"));
    fs::write(a, &in_b).expect("written");
    fs::write(b, &in_a).expect("written");
    let said = verify(&scratch, &vault, &[]).exits(4);
    for p in [a, b] {
        assert!(
            names(&said).iter().any(|(_, f)| *f == inside(p)),
            "{place}: swapped {} is not named: {said}",
            inside(p)
        );
    }
    fs::write(a, &in_a).expect("written");
    fs::write(b, &in_b).expect("written");
    verify(&scratch, &vault, &[]).ok();
}

/// Two jobs and eight find the same, byte for byte (O1), and another program's reading of the tree agrees.
#[test]
fn the_answer_is_the_same_for_everybody() {
    let kept = kept();
    let scratch = Scratch::new("agree");
    let vault = kept.copy(&scratch);
    let segments = files(&vault, "data", ".parquet");
    for p in &segments {
        let mut b = fs::read(p).expect("read");
        let middle = b.len() / 2;
        b[middle] ^= 1;
        fs::write(p, b).expect("written");
    }
    let said = |jobs: &str| {
        let mut v = verify(&scratch, &vault, &["--jobs", jobs]).exits(4).json();
        v["run"] = Value::Null;
        v
    };
    assert_eq!(said("1"), said("8"));
    assert!(
        said("1")["items"].as_array().is_some_and(|i| i.len() >= segments.len()),
        "it goes on after the first fault"
    );

    let script = root().join("tests/python/check_log.py");
    let log = kept.vault().join("log");
    let vkey = vkey(&kept.vault());
    let Some(agrees) = python(&script, &[&log.display().to_string(), &vkey]) else {
        return skipped("tamper::the_answer_is_the_same_for_everybody", "no Python in the kit");
    };
    let agrees = agrees.exits(0).says("root good").says("signature good");
    let report = verify(&kept.scratch, &kept.vault(), &[]).ok().json();
    let size = report["run"]["report"]["size"].to_string();
    assert!(agrees.out().contains(&format!("over {size} entries")), "{agrees} where we say {size}");
    // It disagrees where we do.
    let entry = current(&vault, true).pop().expect("entries");
    let mut b = fs::read(&entry).expect("read");
    let middle = b.len() / 2;
    b[middle] ^= 4;
    fs::write(&entry, b).expect("written");
    let other = python(&script, &[&vault.join("log").display().to_string(), &vkey]).expect("it ran before");
    assert_ne!(other.code, 0, "{other}");
}

/// An old copy put back is a valid older vault: only somebody who remembers more can tell, and we say so.
#[test]
fn an_old_copy_is_caught_by_a_checkpoint_kept_elsewhere() {
    let scratch = Scratch::new("rollback");
    let yaml = "server: { listen: \"127.0.0.1:0\" }\nsources:\n  api: { https: { listen: \"127.0.0.1:0\" }, dataset: app.test }\n";
    let serve = Serve::start(&scratch, yaml);
    let key = serve.key("c1", "api");
    serve.post("api", &key, "application/json", "{\"day\":1}").is(200);
    assert_eq!(serve.terminate(), 0);
    let old = scratch.join("old");
    copy_folder(&scratch.join("data/vault"), &old);
    let serve = Serve::again(&scratch);
    serve.post("api", &key, "application/json", "{\"day\":2}").is(200);
    assert_eq!(serve.terminate(), 0);
    let kept = scratch.join("kept-elsewhere");
    fs::copy(scratch.join("data/vault/log/checkpoint"), &kept).expect("copied");
    let kept = kept.display().to_string();

    verify(&scratch, &scratch.data(), &["--known-checkpoint", &kept]).ok();
    let alone = avouch(&scratch, &["verify", &old.display().to_string()]).ok();
    assert!(
        alone.out().contains("no external anchor: truncation and full rewrite cannot be excluded"),
        "{alone}"
    );
    let caught = verify(&scratch, &old, &["--known-checkpoint", &kept]).exits(4);
    assert!(caught.items().iter().any(|f| text(f, "/code") == "verify.truncated"), "{caught}");
    verify(&scratch, &scratch.data(), &["--require-anchor"]).exits(3);
    // Another key than the one that signed.
    let stranger = kept_stranger(&scratch);
    let said = verify(&scratch, &scratch.data(), &["--key", &stranger]);
    assert_eq!(said.code, 4, "another key: {said}");
}

/// The verification key of another vault.
fn kept_stranger(scratch: &Scratch) -> String {
    scratch.write("stranger.vkey", vkey(&kept().vault())).display().to_string()
}

/// Row 3 of `vault.md` 15: one record altered and the segment written again with good statistics. The exact event is named.
#[test]
fn an_altered_record_in_a_reencoded_segment_is_named() {
    let name = "tamper::an_altered_record_in_a_reencoded_segment_is_named";
    if kit("venv/bin/python").is_none() {
        return skipped(name, "no Python in the kit");
    }
    let scratch = Scratch::new("reencode");
    let yaml = "server: { listen: \"127.0.0.1:0\" }\ndatasets: { app.test: { encryption: sse } }\nsources:\n  api: { https: { listen: \"127.0.0.1:0\" }, dataset: app.test }\n";
    let serve = Serve::start(&scratch, yaml);
    let key = serve.key("c1", "api");
    let body: Vec<String> = (0..3_000).map(|n| format!("{{\"n\":{n},\"user\":\"ana\"}}")).collect();
    serve.post("api", &key, "application/x-ndjson", body.join("\n")).is(200);
    let target = serve.count("select av_seq from \"app.test\" where json_get(raw, 'n') = '1234'");
    assert_eq!(serve.terminate(), 0);
    let vault = scratch.join("data/vault");
    let segment = files(&vault, "data/dataset=app.test", ".parquet").pop().expect("a sealed segment");
    let script = scratch.write(
        "alter.py",
        r#"
import sys, pyarrow as pa, pyarrow.parquet as pq
path, seq, what = sys.argv[1], int(sys.argv[2]), sys.argv[3]
f = pq.ParquetFile(path)
t = f.read()
rows = t.to_pylist()
i = next(i for i, r in enumerate(rows) if r["av_seq"] == seq)
if what == "alter":
    rows[i]["raw"] = rows[i]["raw"].replace(b"ana", b"bob")
elif what == "drop":
    del rows[i]
elif what == "resend":
    rows[i]["av_sender"] = "c9"
out = pa.Table.from_pylist(rows, schema=t.schema)
pq.write_table(out, path, compression="zstd")
"#,
    );
    let whole = fs::read(&segment).expect("read");
    let kek = scratch.join("data/secret/kek").display().to_string();
    for what in ["alter", "resend", "drop"] {
        python(&script, &[&segment.display().to_string(), &target.to_string(), what])
            .expect("there is a Python")
            .exits(0);
        let said = verify(&scratch, &vault, &["--level", "events", "--data-key", &kek]).exits(4);
        let exact = said.items().iter().any(|f| {
            f["seq"].as_array().is_some_and(|s| {
                s.first().and_then(Value::as_u64) == Some(target)
                    && s.get(1).and_then(Value::as_u64) == Some(target + 1)
            })
        });
        assert!(exact, "{what}: event 0:{target} is not named alone: {said}");
        fs::write(&segment, &whole).expect("written");
    }
    verify(&scratch, &vault, &["--level", "events", "--data-key", &kek]).ok();
}

/// The proof of one event: whoever has it needs nothing else of us.
#[test]
fn a_proof_of_one_event_holds_for_its_bytes_alone() {
    let kept = kept();
    let scratch = Scratch::new("proof");
    copy_folder(&kept.data, &scratch.data());
    let data = scratch.data().display().to_string();
    let event = avouch(
        &scratch,
        &["search", "action = StopLogging", "--since", "30d", "-o", "json", "--data-dir", &data],
    )
    .ok()
    .items();
    let id = text(event.first().expect("the staged attack stops a trail"), "/av_id").to_owned();
    let proof = scratch.join("event.tlog-proof").display().to_string();
    avouch(&scratch, &["event", "show", &id, "--proof", &proof, "--data-dir", &data]).ok();
    let raw = avouch(&scratch, &["event", "show", &id, "--raw", "--data-dir", &data]).ok().bytes;
    let raw_path = scratch.write("event.raw", &raw).display().to_string();
    let vkey = vkey(&kept.vault());
    let check = |key: &str, raw: &str| avouch(&scratch, &["verify", "--event", &proof, raw, "--key", key]);
    check(&vkey, &raw_path).ok().says("proven");
    let altered = String::from_utf8_lossy(&raw).replacen("StopLogging", "StartLogging", 1);
    let altered = scratch.write("event.altered", altered).display().to_string();
    check(&vkey, &altered).exits(4);
    let other = scratch.write("other.vkey", "nobody+00000000+AQ==").display().to_string();
    assert_ne!(check(&other, &raw_path).code, 0, "another key proves nothing");
}
