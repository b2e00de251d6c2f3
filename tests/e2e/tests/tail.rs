//! Followed files: rotation, truncation and crashes lose nothing and double nothing.

use avouch_e2e::product::command;
use avouch_e2e::{PATIENCE, Scratch, Serve, number, text, wait_until};
use std::fs::rename;

fn config(scratch: &Scratch) -> String {
    format!(
        "server: {{ listen: \"127.0.0.1:0\" }}\nsources:\n  app: {{ file: {{ paths: [ \"{}/*.log\" ], poll: 100ms, flush_partial: 1s }}, dataset: app.log }}\n",
        scratch.join("logs").display()
    )
}

fn lines(numbers: std::ops::Range<u64>) -> String {
    numbers.map(|n| format!("level=info n={n}; the same words in every line\n")).collect()
}

#[track_caller]
fn settled(serve: &Serve, n: u64) {
    wait_until(&format!("{n} lines are read"), PATIENCE, || {
        let here = serve.events("app.log");
        assert!(here <= n, "{here} events of {n} lines");
        here == n
    });
    let rows = serve.sql("select cast(raw as varchar) as line from \"app.log\"");
    let mut seen: Vec<u64> = rows
        .iter()
        .filter_map(|r| text(r, "/line").split("n=").nth(1)?.split(';').next()?.parse().ok())
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..n).collect::<Vec<u64>>(), "lines are missing or doubled");
}

#[test]
fn rotation_and_crashes_lose_and_double_nothing() {
    let scratch = Scratch::new("tail");
    scratch.write("logs/app.log", lines(0..100));
    let serve = Serve::start(&scratch, &config(&scratch));
    settled(&serve, 100);
    // Renamed, written on for a moment by a writer that holds it open, then a new file under the old name.
    rename(scratch.join("logs/app.log"), scratch.join("logs/app.log.1")).expect("renamed");
    scratch.append("logs/app.log.1", lines(100..110));
    scratch.write("logs/app.log", lines(110..200));
    settled(&serve, 200);
    serve.kill9();
    scratch.append("logs/app.log", lines(200..300));
    let serve = Serve::again(&scratch);
    settled(&serve, 300);
    // Rotated while nobody looks.
    assert_eq!(serve.terminate(), 0);
    scratch.append("logs/app.log", lines(300..320));
    rename(scratch.join("logs/app.log"), scratch.join("logs/app-old.log")).expect("renamed");
    scratch.write("logs/app.log", lines(320..400));
    let serve = Serve::again(&scratch);
    settled(&serve, 400);
    // Truncated and written again: everything new is read, and the possible gap is said.
    scratch.write("logs/app.log", lines(400..402));
    settled(&serve, 402);
    let row = serve.sql("select av_seq as seq from \"app.log\" where raw_word(raw, '400')");
    let event =
        serve.run(&["event", "show", &format!("0:{}", number(&row[0], "/seq")), "-o", "json"]).ok().items();
    assert!(
        event[0]["envelope"].to_string().contains("possible_gap"),
        "a truncation is not flagged: {}",
        event[0]["envelope"]
    );
    assert!(text(&event[0], "/envelope/origin").contains("app.log"), "{}", event[0]["envelope"]);
}

#[test]
fn a_last_line_without_an_end_is_taken_and_flagged() {
    let scratch = Scratch::new("partial");
    scratch.write("logs/app.log", format!("{}level=warn n=3; without an end", lines(0..3)));
    let serve = Serve::start(&scratch, &config(&scratch));
    settled(&serve, 4);
    let row = serve.sql("select av_seq as seq from \"app.log\" order by av_seq desc limit 1");
    let event =
        serve.run(&["event", "show", &format!("0:{}", number(&row[0], "/seq")), "-o", "json"]).ok().items();
    assert!(text(&event[0], "/envelope/flags").contains("partial"), "{}", event[0]["envelope"]);
}

/// `avouch serve < file`: every line is read, and the daemon goes on after the end.
#[test]
fn standard_input_is_a_source() {
    let scratch = Scratch::new("stdin");
    let input = scratch.write("input", lines(0..500));
    scratch.write(
        "data/avouch.yaml",
        "server: { listen: \"127.0.0.1:0\" }\nsources:\n  pipe: { stdin: {}, dataset: app.log }\n",
    );
    let mut c = command(&scratch);
    c.stdin(std::fs::File::open(input).expect("it was written"));
    let mut serve = Serve::through(&scratch, c);
    settled(&serve, 500);
    assert!(serve.is_alive(), "the end of the input ended the daemon");
    assert_eq!(serve.terminate(), 0);
}
