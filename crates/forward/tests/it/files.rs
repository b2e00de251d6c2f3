use crate::kit::*;
use std::path::Path;

fn file(path: &Path, extra: &str) -> SinkConfig {
    config(&format!(r#"{{ "file": {{ "path": "{}" {extra} }} }}"#, path.display()))
}

fn seqs(path: &Path) -> Vec<u64> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|l| {
            let doc: serde_json::Value = serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}"));
            doc["avouch"]["position"].as_str().unwrap().strip_prefix("0:").unwrap().parse().unwrap()
        })
        .collect()
}

#[tokio::test]
async fn lines_rotate_and_none_is_lost() {
    let path = folder("rotate").join("out.ndjson");
    let (log, kept) = (Arc::new(Log::new(2_000)), Arc::new(Kept::default()));
    let r = run(&file(&path, r#", "rotate": "100KiB", "keep": 20"#), &log, &kept);
    r.until_done(2_000).await;
    r.stop().await;
    let mut all = seqs(&path);
    let mut n = 1;
    while let Some(older) = Some(path.with_file_name(format!("out.ndjson.{n}"))).filter(|p| p.exists()) {
        assert!(std::fs::metadata(&older).unwrap().len() <= 100 << 10);
        all.splice(0..0, seqs(&older));
        n += 1;
    }
    assert!(n > 3, "it rotated");
    assert_eq!(
        all,
        selected(2_000).into_iter().collect::<Vec<_>>(),
        "in the order of the log, across rotations"
    );
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn only_so_many_files_are_kept() {
    let path = folder("keep").join("out.ndjson");
    let (log, kept) = (Arc::new(Log::new(3_000)), Arc::new(Kept::default()));
    let r = run(&file(&path, r#", "rotate": "20KiB", "keep": 2"#), &log, &kept);
    r.until_done(3_000).await;
    r.stop().await;
    let mut names: Vec<_> = std::fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["out.ndjson", "out.ndjson.1", "out.ndjson.2"]);
}

#[tokio::test]
async fn a_half_line_from_a_crash_is_cut() {
    let path = folder("half").join("out.ndjson");
    std::fs::write(&path, format!("{{\"avouch\":{{\"position\":\"0:0\"}}}}\n{}", "x".repeat(200_000)))
        .unwrap();
    let (log, kept) = (Arc::new(Log::new(10)), Arc::new(Kept::default()));
    let r = run(&file(&path, ""), &log, &kept);
    r.until_done(10).await;
    r.stop().await;
    let mut wanted = vec![0];
    wanted.extend(selected(10));
    assert_eq!(seqs(&path), wanted);
}

#[tokio::test]
async fn killed_at_any_point_nothing_is_missing() {
    let path = folder("kill").join("out.ndjson");
    let (log, kept) = (Arc::new(Log::new(3_000)), Arc::new(Kept::default()));
    for round in 1..8 {
        let r = run(&file(&path, ""), &log, &kept);
        r.until("progress", |s| s.cursor >= 3_000 * round / 9).await;
        r.task.abort();
        let _ = r.task.await;
    }
    let r = run(&file(&path, ""), &log, &kept);
    r.until_done(3_000).await;
    r.stop().await;
    let got = seqs(&path);
    assert_eq!(got.iter().copied().collect::<BTreeSet<_>>(), selected(3_000));
    assert!(got.len() < 2 * selected(3_000).len(), "a batch per kill may be there twice, not more");
}

#[test]
fn a_path_that_cannot_be_written_is_said_at_start() {
    let e =
        open_sink("siem", &file(Path::new("/proc/nowhere/x"), ""), Arc::new(Document::default()), &secrets())
            .err()
            .unwrap();
    assert_eq!(e.code(), "sink.config");
    assert!(e.to_string().contains("cannot write to `/proc/nowhere/x`"), "{e}");
}
