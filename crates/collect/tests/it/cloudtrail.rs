use crate::help::{Folder, gzip, start, wait_until};
use crate::memory::Memory;
use collect::{Running, read_path};
use model::Batch;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

fn records(n: usize) -> (Vec<String>, String) {
    let all: Vec<String> = (0..n)
        .map(|i| {
            let (id, pad) = (model::sha256_hex(&i.to_le_bytes()), "é\\\"]}".repeat(i % 50));
            format!("{{\"eventID\": \"{id}\", \"pad\": \"{pad}\", \"n\": 1.50}}")
        })
        .collect();
    let file = format!("{{\"Records\": [{}]}}", all.join(" ,\n"));
    (all, file)
}

fn read(path: &std::path::Path) -> (Vec<String>, collect::Report, Vec<Batch>) {
    let mut batches = Vec::new();
    let report = read_path(path, &mut |b| batches.push(b));
    let lines = batches
        .iter()
        .flat_map(|b| {
            (0..b.len()).map(|i| String::from_utf8_lossy(b.raw(i)).into_owned()).collect::<Vec<_>>()
        })
        .collect();
    (lines, report, batches)
}

#[test]
fn every_shape_gives_the_exact_slices() {
    let folder = Folder::new();
    let (all, file) = records(20_000);
    let half = file.len() / 2;
    let members = [gzip(&file.as_bytes()[..half]), gzip(&file.as_bytes()[half..])].concat();
    let forms: [(&str, Vec<u8>); 6] = [
        ("plain.json", file.clone().into_bytes()),
        ("packed.json.gz", gzip(file.as_bytes())),
        ("members.json.gz", members),
        ("plain-inside.json.gz", file.clone().into_bytes()),
        ("lines.jsonl", all.join("\n").into_bytes()),
        ("array.json.zst", zstd::encode_all(format!("[{}]", all.join(",")).as_bytes(), 1).unwrap()),
    ];
    for (name, bytes) in forms {
        let path = folder.path(name);
        fs::write(&path, bytes).unwrap();
        let (lines, report, batches) = read(&path);
        assert!(lines == all, "{name}: {} records", lines.len());
        assert_eq!((report.files, report.records, report.problems.len()), (1, 20_000, 0), "{name}");
        assert!(batches.len() > 1 && batches.iter().all(|b| b.dataset_of(0) == "aws.cloudtrail"), "{name}");
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_folder_in_path_order_without_what_is_no_log() {
    let folder = Folder::new();
    let deep = folder.path("AWSLogs/111122223333/CloudTrail/eu-west-2/2026/01");
    fs::create_dir_all(&deep).unwrap();
    let digest = folder.path("AWSLogs/111122223333/CloudTrail-Digest/eu-west-2");
    fs::create_dir_all(&digest).unwrap();
    fs::write(deep.join("b.json.gz"), gzip(b"{\"Records\":[{\"n\":2}]}")).unwrap();
    fs::write(deep.join("a.json"), b"{\"Records\":[{\"n\":1}]}").unwrap();
    fs::write(digest.join("d.json.gz"), gzip(b"{\"digestPublicKeyFingerprint\":\"x\"}")).unwrap();
    fs::write(folder.path("README.md"), b"# not a log").unwrap();
    fs::write(folder.path("one.json"), b"{\"n\":3}").unwrap();
    fs::write(folder.path("empty.json"), b"").unwrap();
    let (lines, report, batches) = read(folder.root());
    assert_eq!(lines, ["{\"n\":1}", "{\"n\":2}", "{\"digestPublicKeyFingerprint\":\"x\"}", "{\"n\":3}"]);
    assert_eq!((report.files, report.skipped, report.records, report.problems.len()), (5, 1, 4, 0));
    let who: Vec<(&str, Option<&str>)> =
        batches.iter().map(|b| (b.dataset_of(0), b.provenance_of(0).account.as_deref())).collect();
    assert_eq!(
        who,
        [
            ("aws.cloudtrail", Some("111122223333")),
            ("aws.cloudtrail", Some("111122223333")),
            ("aws.cloudtrail_digest", Some("111122223333")),
            ("aws.cloudtrail", None)
        ]
    );
    assert!(batches[0].provenance_of(0).region.as_deref() == Some("eu-west-2"));
}

#[test]
fn damaged_files_give_what_came_before_and_say_where() {
    let folder = Folder::new();
    let (all, file) = records(20_000);
    let packed = gzip(file.as_bytes());
    fs::write(folder.path("cut.json.gz"), &packed[..packed.len() / 2]).unwrap();
    let (lines, report, _) = read(folder.root());
    assert!(lines.len() > 1_000 && lines == all[..lines.len()]);
    assert_eq!(report.problems.len(), 1);
    assert!(report.problems[0].reason.contains("ends too early"), "{:?}", report.problems);
    fs::write(folder.path("cut.json.gz"), &file.as_bytes()[..file.len() / 2]).unwrap();
    let (lines, report, _) = read(folder.root());
    assert_eq!(lines, all[..lines.len()]);
    assert_eq!(report.problems[0].reason, "the file ends inside a record");
    assert!(
        file.as_bytes()[usize::try_from(report.problems[0].offset).unwrap()..].starts_with(b"{\"eventID\"")
    );
    fs::write(folder.path("cut.json.gz"), gzip(format!("{{\"Records\":[{}", "[".repeat(100_000)).as_bytes()))
        .unwrap();
    assert_eq!(read(folder.root()).1.problems[0].reason, "nesting deeper than 64");
    fs::write(folder.path("cut.json.gz"), gzip(&vec![b' '; 40 << 20])).unwrap();
    assert_eq!(read(folder.root()).1.problems[0].reason, "above the ratio limit of 100:1");
    let big = format!("{{\"Records\":[{{\"a\":1}},{{\"b\":\"{}\"}}]}}", "x".repeat(17 << 20));
    fs::write(folder.path("cut.json.gz"), big).unwrap();
    let (lines, report, _) = read(folder.root());
    assert_eq!((lines.len(), report.problems[0].reason.as_str()), (1, "a record is larger than 16 MiB"));
    assert_eq!(read(&folder.path("missing")).1.problems.len(), 1);
}

/// The public attack logs: every record comes out as the slice that stands in the file.
#[test]
fn public_attack_logs() {
    let shared = std::env::var("AVOUCH_SHARED").unwrap_or_else(|_| "../shared/data".to_owned());
    let mut root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap());
    root.extend(["..", ".."]);
    let path = root.join(shared).join("cloudtrail-attacks");
    if !path.is_dir() {
        println!("skipped: public_attack_logs: ../shared/data missing");
        return;
    }
    let (lines, report, _) = read(&path);
    assert_eq!((report.files, report.problems.len()), (12, 0), "{report:?}");
    let mut expected = 0;
    let mut files: Vec<PathBuf> = fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    for file in files.iter().filter(|f| f.extension().is_some_and(|e| e == "json")) {
        let all: Vec<&serde_json::value::RawValue> =
            serde_json::from_str(Box::leak(fs::read_to_string(file).unwrap().into_boxed_str())).unwrap();
        for r in all {
            assert_eq!(lines[expected], r.get());
            expected += 1;
        }
    }
    assert_eq!(lines.len(), expected);
}

fn folder_source(memory: &Arc<Memory>, folder: &Folder, more: Value) -> Running {
    let mut config = json!({"path": folder.root(), "poll": "5ms"});
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    start("trail", memory, json!({ "cloudtrail_files": config }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_read_once() {
    let (memory, folder) = (Memory::new(), Folder::new());
    fs::write(folder.path("a.json"), b"{\"Records\":[{\"n\":1},{\"n\":2}]}").unwrap();
    let running = folder_source(&memory, &folder, json!({}));
    memory.wait_for(2).await;
    fs::write(folder.path("b.json.gz"), gzip(b"{\"Records\":[{\"n\":3}]}")).unwrap();
    memory.wait_for(3).await;
    memory.wait(|m| m.positions().values().filter(|v| v.contains("\"done\":true")).count() == 2).await;
    running.stop().await;
    memory.forget_window();
    let mut running = folder_source(&memory, &folder, json!({"watch": false}));
    running.done().await;
    assert_eq!(memory.lines().len(), 3, "read again: {:?}", memory.lines());
    // The same bytes under another name are the same events.
    fs::copy(folder.path("a.json"), folder.path("copy.json")).unwrap();
    let mut running = folder_source(&memory, &folder, json!({"watch": false}));
    running.done().await;
    assert_eq!(
        (memory.lines().len(), running.counters.snapshot().duplicates),
        (5, 0),
        "the window was forgotten"
    );
    fs::copy(folder.path("a.json"), folder.path("copy2.json")).unwrap();
    let mut running = folder_source(&memory, &folder, json!({"watch": false}));
    running.done().await;
    assert_eq!((memory.lines().len(), running.counters.snapshot().duplicates), (5, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_inside_a_file_resumes_at_the_record() {
    let (memory, folder) = (Memory::new(), Folder::new());
    let (all, file) = records(40_000);
    fs::write(folder.path("a.json"), &file).unwrap();
    // The first batch is taken, then the vault fails until the source is gone: what a kill leaves behind.
    let running = folder_source(&memory, &folder, json!({}));
    memory.wait_for(1).await;
    memory.fill(true);
    let counters = running.counters.clone();
    wait_until(move || counters.snapshot().append_failures > 0 || counters.snapshot().events == 40_000).await;
    drop(running);
    memory.fill(false);
    memory.forget_window();
    let taken = memory.events().len();
    let mut running = folder_source(&memory, &folder, json!({"watch": false}));
    running.done().await;
    assert!(memory.lines().len() >= taken);
    let raws: Vec<String> =
        memory.events().iter().map(|e| String::from_utf8(e.raw.clone()).unwrap()).collect();
    assert!(raws == all, "{} instead of {}", raws.len(), all.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_undecodable_rest_is_a_dead_letter_before_the_file_is_done() {
    let (memory, folder) = (Memory::new(), Folder::new());
    fs::write(folder.path("a.json"), b"{\"Records\":[{\"n\":1},{\"n\":").unwrap();
    let mut running = folder_source(&memory, &folder, json!({"watch": false}));
    running.done().await;
    assert_eq!(memory.lines(), ["{\\\"n\\\":1}"]);
    let letters = memory.letters();
    assert_eq!((letters.len(), letters[0].offset, &letters[0].bytes[..]), (1, 20, &b"{\"n\":"[..]));
    assert_eq!(
        (letters[0].stage, letters[0].decoder.as_str(), letters[0].source.as_str()),
        ("decode", "cloudtrail", "trail")
    );
    assert!(memory.positions()["trail/a.json"].contains("\"done\":true"));
    assert_eq!(running.counters.snapshot().dead_letters, 1);
}
