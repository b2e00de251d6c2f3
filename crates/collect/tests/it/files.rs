use crate::help::{Folder, gzip, start};
use crate::memory::Memory;
use collect::Running;
use model::{EventId, Flags};
use serde_json::{Value, json};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

fn follow(memory: &Arc<Memory>, folder: &Folder, more: Value) -> Running {
    let mut file = json!({"paths": [folder.path("*.log")], "poll": "5ms", "flush_partial": "1h"});
    file.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    start("app", memory, json!({"file": file, "dataset": "app"}))
}

fn append(path: &Path, text: &str) {
    OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_as_they_come_with_ids_by_origin() {
    let (memory, folder) = (Memory::new(), Folder::new());
    let log = folder.path("a.log");
    append(&log, "the first line\nsame\nsame\r\n\n");
    let running = follow(&memory, &folder, json!({}));
    memory.wait_for(3).await;
    append(&log, "later\nno end yet");
    memory.wait_for(4).await;
    append(&log, " but now\n");
    memory.wait_for(5).await;
    assert_eq!(memory.lines(), ["the first line", "same", "same", "later", "no end yet but now"]);
    let events = memory.events();
    let fingerprint = {
        let head = "the first line\nsame\nsame\r\n\n";
        format!("{}-{}", model::sha256_hex(head.as_bytes()).split_at(32).0, head.len())
    };
    let id =
        |offset: &str| EventId::of(&[b"file", b"host-1", fingerprint.as_bytes(), b"0", offset.as_bytes()]);
    assert_eq!((events[1].id, events[2].id), (id("15"), id("20")), "equal lines stay two events");
    assert_eq!(
        events[0].origin,
        format!("{{\"file\":\"{}\",\"fingerprint\":\"{fingerprint}\",\"generation\":0}}", log.display())
    );
    assert_eq!((events[0].dataset.as_str(), events[0].sender.as_str()), ("app", ""));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_where_it_stopped() {
    let (memory, folder) = (Memory::new(), Folder::new());
    let log = folder.path("a.log");
    append(&log, "line number one\nline number two\n");
    let running = follow(&memory, &folder, json!({}));
    memory.wait_for(2).await;
    running.stop().await;
    memory.forget_window();
    append(&log, "line number three\n");
    let running = follow(&memory, &folder, json!({}));
    memory.wait_for(3).await;
    running.stop().await;
    assert_eq!(memory.lines(), ["line number one", "line number two", "line number three"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rename_rotation_loses_nothing() {
    let (memory, folder) = (Memory::new(), Folder::new());
    let log = folder.path("a.log");
    let running = follow(&memory, &folder, json!({}));
    let mut n = 0;
    for round in 0..30 {
        let mut old = OpenOptions::new().create(true).append(true).open(&log).unwrap();
        for _ in 0..50 {
            writeln!(old, "round {round} line number {n}").unwrap();
            n += 1;
        }
        // As logrotate's `create` does it, with a writer that still holds the old file for a while.
        memory.wait_for(n - 49).await;
        fs::rename(&log, folder.path(&format!("a.log.{round}"))).unwrap();
        for _ in 0..20 {
            writeln!(old, "round {round} after the rename {n}").unwrap();
            n += 1;
        }
    }
    memory.wait_for(n).await;
    let mut lines: Vec<usize> =
        memory.lines().iter().map(|l| l.rsplit(' ').next().unwrap().parse().unwrap()).collect();
    lines.sort_unstable();
    assert_eq!(lines, (0..n).collect::<Vec<_>>());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copytruncate_is_seen_and_flagged() {
    let (memory, folder) = (Memory::new(), Folder::new());
    let log = folder.path("a.log");
    append(&log, "before one is a line\nbefore two is a line\n");
    let running = follow(&memory, &folder, json!({}));
    memory.wait_for(2).await;
    fs::copy(&log, folder.path("a.log.1")).unwrap();
    // Truncated and grown past the old offset between two looks: only the bytes before the offset tell.
    fs::write(&log, format!("after one {}\nafter two\n", "x".repeat(100))).unwrap();
    memory.wait_for(4).await;
    append(&log, "after three\n");
    memory.wait_for(5).await;
    let flags: Vec<Flags> = memory.events().iter().map(|e| e.flags).collect();
    assert_eq!(flags[2], Flags::POSSIBLE_GAP);
    assert_eq!((flags[1], flags[3], flags[4]), (Flags::default(), Flags::default(), Flags::default()));
    assert!(memory.events()[2].origin.contains("\"generation\":1"));
    running.stop().await;
    // The checkpoint of the new generation holds over a restart.
    memory.forget_window();
    append(&log, "after four\n");
    let running = follow(&memory, &folder, json!({}));
    memory.wait_for(6).await;
    running.stop().await;
    assert_eq!(memory.lines()[4..], ["after three", "after four"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_file_is_read_to_its_end() {
    let (memory, folder) = (Memory::new(), Folder::new());
    let log = folder.path("a.log");
    let mut writer = OpenOptions::new().create(true).append(true).open(&log).unwrap();
    writeln!(writer, "the first line of it").unwrap();
    let running = follow(&memory, &folder, json!({}));
    memory.wait_for(1).await;
    fs::remove_file(&log).unwrap();
    writeln!(writer, "written after the delete").unwrap();
    memory.wait_for(2).await;
    writeln!(writer, "and once more").unwrap();
    memory.wait_for(3).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_rotated_while_nobody_looked_are_found() {
    for compressed in [false, true] {
        let (memory, folder) = (Memory::new(), Folder::new());
        let log = folder.path("a.log");
        append(&log, "read before the stop\n");
        let running = follow(&memory, &folder, json!({}));
        memory.wait_for(1).await;
        running.stop().await;
        memory.forget_window();
        append(&log, "written while stopped\nno end");
        if compressed {
            fs::write(folder.path("a.log.1.gz"), gzip(&fs::read(&log).unwrap())).unwrap();
            fs::remove_file(&log).unwrap();
        } else {
            fs::rename(&log, folder.path("a.log.1")).unwrap();
        }
        append(&log, "the file that came after\n");
        let running = follow(&memory, &folder, json!({"flush_partial": "1ms"}));
        memory.wait_for(4).await;
        running.stop().await;
        let mut lines = memory.lines();
        lines.sort_unstable();
        assert_eq!(
            lines,
            ["no end", "read before the stop", "the file that came after", "written while stopped"],
            "compressed: {compressed}"
        );
        let generations = memory.events().iter().filter(|e| e.origin.contains("\"generation\":0")).count();
        assert_eq!(generations, 4);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partial_line_is_flushed_after_its_time() {
    let (memory, folder) = (Memory::new(), Folder::new());
    append(&folder.path("a.log"), "a whole line of it\nno end here");
    let running = follow(&memory, &folder, json!({"flush_partial": "20ms"}));
    memory.wait_for(2).await;
    assert_eq!(memory.events()[1].flags, Flags::PARTIAL);
    append(&folder.path("a.log"), " the rest of it\n");
    memory.wait_for(3).await;
    assert_eq!(memory.lines(), ["a whole line of it", "no end here", " the rest of it"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_long_lines_are_cut_with_their_length() {
    let (memory, folder) = (Memory::new(), Folder::new());
    let long = "x".repeat(3_000_000);
    append(
        &folder.path("a.log"),
        &format!("before it a line\n{long}\r\nafter\n{}\nlast\n", "y".repeat(1_001)),
    );
    let running = follow(&memory, &folder, json!({"max_line": "1000"}));
    memory.wait_for(5).await;
    let events = memory.events();
    let seen: Vec<(usize, Flags)> = events.iter().map(|e| (e.raw.len(), e.flags)).collect();
    let (plain, cut) = (Flags::default(), Flags::TRUNCATED);
    assert_eq!(seen, [(16, plain), (1_000, cut), (5, plain), (1_000, cut), (4, plain)]);
    assert!(events[1].origin.starts_with("{\"declared_bytes\":3000000,"), "{}", events[1].origin);
    assert!(events[3].origin.starts_with("{\"declared_bytes\":1001,"), "{}", events[3].origin);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_over_long_line_may_grow_before_it_ends() {
    let (memory, folder) = (Memory::new(), Folder::new());
    let log = folder.path("a.log");
    append(&log, &format!("before it a line\n{}", "x".repeat(5_000)));
    let running = follow(&memory, &folder, json!({"max_line": "1000"}));
    memory.wait_for(1).await;
    append(&log, &"x".repeat(5_000));
    append(&log, "\nlast\n");
    memory.wait_for(3).await;
    assert!(
        memory.events()[1].origin.starts_with("{\"declared_bytes\":10000,"),
        "{}",
        memory.events()[1].origin
    );
    assert_eq!(memory.lines()[2], "last");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn start_at_the_end_means_the_end_of_the_first_run() {
    let (memory, folder) = (Memory::new(), Folder::new());
    let log = folder.path("a.log");
    append(&log, "old lines are not wanted\n");
    let config = json!({"start": "end"});
    let running = follow(&memory, &folder, config.clone());
    let index = "app/files";
    memory.wait(move |m| m.positions().get(index).is_some_and(|v| v != "[]")).await;
    running.stop().await;
    append(&log, "written while stopped\n");
    let running = follow(&memory, &folder, config);
    memory.wait_for(1).await;
    append(&folder.path("new.log"), "a file that came later\n");
    memory.wait_for(2).await;
    running.stop().await;
    assert_eq!(memory.lines(), ["written while stopped", "a file that came later"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn starting_over_is_found_to_be_duplicates() {
    let (memory, folder) = (Memory::new(), Folder::new());
    let log = folder.path("a.log");
    append(&log, "line number one\nline number two\n");
    let running = follow(&memory, &folder, json!({}));
    memory.wait_for(2).await;
    running.stop().await;
    append(&log, "line number three\n");
    let running = follow(&memory, &folder, json!({"start": "beginning"}));
    memory.wait_for(3).await;
    // Read after the stop: a new line may reach the store before the counters of its batch do.
    let counters = running.counters.clone();
    running.stop().await;
    assert_eq!(counters.snapshot().duplicates, 2);
    assert_eq!(memory.lines(), ["line number one", "line number two", "line number three"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_moves_while_the_vault_is_full() {
    let (memory, folder) = (Memory::new(), Folder::new());
    let log = folder.path("a.log");
    append(&log, "line number one\n");
    let running = follow(&memory, &folder, json!({}));
    memory.wait_for(1).await;
    let before = memory.positions();
    memory.fill(true);
    append(&log, "line number two\n");
    let counters = running.counters.clone();
    crate::help::wait_until(move || counters.snapshot().append_failures >= 1).await;
    assert_eq!(memory.positions(), before, "the offset stands still");
    memory.fill(false);
    memory.wait_for(2).await;
    assert_ne!(memory.positions(), before);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_files_that_begin_alike_and_a_short_one_that_waits() {
    let (memory, folder) = (Memory::new(), Folder::new());
    append(&folder.path("short.log"), "short\n");
    let running = follow(&memory, &folder, json!({}));
    append(&folder.path("a.log"), "#Version 1.0 header line\na says hello\n");
    append(&folder.path("b.log"), "#Version 1.0 header line\nb says hello\n");
    memory.wait_for(4).await;
    append(&folder.path("short.log"), "but it grows\n");
    memory.wait_for(6).await;
    let mut lines = memory.lines();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "#Version 1.0 header line",
            "#Version 1.0 header line",
            "a says hello",
            "b says hello",
            "but it grows",
            "short"
        ]
    );
    running.stop().await;
}
