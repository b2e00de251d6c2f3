//! Kill -9 at random points under load: what was acknowledged is there, nothing that has an origin is there twice, the evidence
//! verifies, and the daemon goes on by itself.

use avouch_e2e::peer::send_tcp;
use avouch_e2e::product::command;
use avouch_e2e::{PATIENCE, Random, Scratch, Serve, avouch, http, rounds, text, wait_until};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Sealing each second and after a quarter megabyte, so that kills hit every state of a file's life.
fn config(scratch: &Scratch) -> String {
    format!(
        r#"
server: {{ listen: "127.0.0.1:0" }}
vault: {{ seal: {{ age: 1s, bytes: 256KiB }}, rhythm: {{ heartbeat: 1s, idle: 60s }}, commit: {{ max_wait: 2ms }} }}
sources:
  api: {{ https: {{ listen: "127.0.0.1:0" }}, dataset: app.load }}
  lines: {{ syslog: {{ listen: [ "tcp://127.0.0.1:0" ] }}, dataset: syslog }}
  files: {{ file: {{ paths: [ "{}/*.log" ], poll: 50ms }}, dataset: app.log }}
"#,
        scratch.join("logs").display()
    )
}

const SENDERS: usize = 3;

/// What the senders know.
#[derive(Default)]
struct Ledger {
    next: AtomicU64,
    next_line: AtomicU64,
    /// Numbers whose request was answered with 200.
    acknowledged: Mutex<BTreeSet<u64>>,
    /// Requests without an answer: the sender will send them again under the same key.
    open: Mutex<BTreeMap<String, (String, Vec<u64>)>>,
}

impl Ledger {
    fn send(&self, address: &str, key: &str, retry: &str, body: &str, numbers: &[u64]) -> bool {
        let headers =
            [("x-api-key", key), ("content-type", "application/x-ndjson"), ("idempotency-key", retry)];
        let answer = http::request(address, "POST", "/v1/ingest/api", &headers, body.as_bytes());
        let is_taken = answer.is_ok_and(|r| r.status == 200);
        if is_taken {
            self.acknowledged.lock().expect("no sender panics").extend(numbers);
            self.open.lock().expect("no sender panics").remove(retry);
        }
        is_taken
    }

    /// A new request; false when the daemon is gone.
    fn post(&self, address: &str, key: &str, random: &mut Random) -> bool {
        let n = random.between(1, 20);
        let first = self.next.fetch_add(n, Ordering::Relaxed);
        let numbers: Vec<u64> = (first..first + n).collect();
        let size = usize::try_from(random.between(1, 2_000)).expect("small");
        let body: Vec<String> =
            numbers.iter().map(|n| format!("{{\"n\":{n},\"pad\":\"{}\"}}", "p".repeat(size))).collect();
        let (retry, body) = (format!("request-{first}"), body.join("\n"));
        self.open.lock().expect("no sender panics").insert(retry.clone(), (body.clone(), numbers.clone()));
        self.send(address, key, &retry, &body, &numbers)
    }
}

/// Stored numbers from `from` on, with how often each is there.
fn stored(serve: &Serve, from: u64) -> BTreeMap<u64, u64> {
    let q = format!(
        "select cast(json_get(raw, 'n') as bigint) as n, count(*) as times from \"app.load\" where cast(json_get(raw, 'n') as bigint) >= {from} group by 1"
    );
    let number = |r: &Value, key: &str| r[key].as_u64().unwrap_or_else(|| panic!("no {key} in {r}"));
    serve.sql(&q).iter().map(|r| (number(r, "n"), number(r, "times"))).collect()
}

/// Daemons that are killed side by side in the full run: most of a round is waiting.
const LANES: usize = 4;

#[test]
fn kill_9_loses_and_doubles_nothing() {
    let (lanes, n) = (rounds(1, LANES), rounds(10, 200));
    let seed = Random::new().seed;
    std::thread::scope(|s| {
        let running: Vec<_> =
            (0..lanes).map(|lane| s.spawn(move || kills(n / lanes, seed ^ (lane as u64) << 32))).collect();
        for lane in running {
            if let Err(why) = lane.join() {
                std::panic::resume_unwind(why);
            }
        }
    });
    println!("{n} kills in {lanes} lanes, seed {seed}");
}

/// One daemon, killed `n` times.
fn kills(n: usize, seed: u64) {
    let scratch = Scratch::new("crash");
    let mut random = Random::of(seed);
    let ledger = Ledger::default();
    scratch.write("data/avouch.yaml", config(&scratch));
    scratch.write("logs/app.log", "");
    let first = Serve::again(&scratch);
    let key = first.key("load", "api");
    // The table must exist for questions; number 0 is acknowledged before the first kill.
    assert!(ledger.post(&first.address("api", "http"), &key, &mut random), "the first post is taken");
    first.kill9();
    for round in 0..n {
        let place = format!("round {round} of {n}, seed {seed}");
        let from = ledger.next.load(Ordering::Relaxed);
        // Every fifth kill may hit the start itself.
        if round % 5 == 4 {
            let starting = Serve::spawn(&scratch, command(&scratch));
            std::thread::sleep(Duration::from_millis(random.between(0, 150)));
            starting.kill9();
        }
        let serve = Serve::again(&scratch);
        let (address, lines) = (serve.address("api", "http"), serve.address("lines", "tcp"));
        resend(&ledger, &address, &key, &place);
        let stop = AtomicBool::new(false);
        let life = Duration::from_millis(random.between(30, 900));
        std::thread::scope(|s| {
            for sender in 0..SENDERS {
                let (ledger, stop, address, key) = (&ledger, &stop, &address, &key);
                let mut random = Random::of(seed ^ (round * SENDERS + sender) as u64);
                s.spawn(
                    move || while !stop.load(Ordering::Relaxed) && ledger.post(address, key, &mut random) {},
                );
            }
            let (ledger, stop, scratch) = (&ledger, &stop, &scratch);
            s.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let from = ledger.next_line.fetch_add(50, Ordering::Relaxed);
                    scratch.append(
                        "logs/app.log",
                        (from..from + 50).map(|n| format!("line={n};\n")).collect::<String>(),
                    );
                    let _ = std::panic::catch_unwind(|| send_tcp(&lines, b"<13>not acknowledged\n"));
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
            std::thread::sleep(life);
            serve.kill9();
            stop.store(true, Ordering::Relaxed);
        });
        // The files alone, before anything repairs them.
        let cold = avouch(&scratch, &["verify", &scratch.data().display().to_string()]);
        assert_eq!(cold.code, 0, "{place}: after the kill: {cold}");
        let serve = Serve::again(&scratch);
        let found = stored(&serve, from);
        let acknowledged = ledger.acknowledged.lock().expect("no sender panics").clone();
        let missing: Vec<u64> =
            acknowledged.range(from..).filter(|n| !found.contains_key(n)).copied().collect();
        assert!(missing.is_empty(), "{place}: acknowledged and missing: {missing:?}");
        let doubled: Vec<_> = found.iter().filter(|(_, times)| **times > 1).collect();
        assert!(doubled.is_empty(), "{place}: there more than once: {doubled:?}");
        let warm = serve.run(&["verify", &serve.data.display().to_string()]);
        assert_eq!(warm.code, 0, "{place}: after recovery: {warm}");
        serve.kill9();
    }
    let serve = Serve::again(&scratch);
    let place = format!("at the end, seed {seed}");
    resend(&ledger, &serve.address("api", "http"), &key, &place);
    // Now everything that was ever sent is acknowledged: it is there, exactly once, and nothing was invented.
    let found = stored(&serve, 0);
    let all = ledger.next.load(Ordering::Relaxed);
    let missing: Vec<u64> = (0..all).filter(|n| !found.contains_key(n)).collect();
    assert!(missing.is_empty(), "{place}: missing: {missing:?}");
    let doubled: Vec<_> = found.iter().filter(|(_, times)| **times > 1).collect();
    assert!(doubled.is_empty(), "{place}: there more than once: {doubled:?}");
    assert_eq!(found.len() as u64, all, "{place}: invented");
    assert!(all >= 20 * n as u64, "{place}: {all} events in {n} rounds are no load");
    // A followed file has an origin as well.
    let written = ledger.next_line.load(Ordering::Relaxed);
    wait_until(&format!("{place}: {written} lines of the file are read"), PATIENCE, || {
        let here = serve.events("app.log");
        assert!(here <= written, "{place}: {here} events of {written} lines");
        here == written
    });
    let twice = serve.sql(
        "select cast(raw as varchar) as line, count(*) as n from \"app.log\" group by 1 having count(*) > 1",
    );
    assert!(twice.is_empty(), "{place}: lines doubled: {twice:?}");
    assert_eq!(serve.terminate(), 0);
    let kek = scratch.join("data/secret/kek").display().to_string();
    let deep = avouch(
        &scratch,
        &[
            "verify",
            &scratch.data().display().to_string(),
            "--data-key",
            &kek,
            "--level",
            "events",
            "-o",
            "json",
        ],
    );
    assert_eq!(deep.code, 0, "{place}: {deep}");
    assert_eq!(text(&deep.json(), "/run/report/verdict"), "proven", "{place}");
}

/// What was not answered is sent again, as every sender does.
#[track_caller]
fn resend(ledger: &Ledger, address: &str, key: &str, place: &str) {
    let open = ledger.open.lock().expect("no sender panics").clone();
    for (retry, (body, numbers)) in open {
        assert!(ledger.send(address, key, &retry, &body, &numbers), "{place}: a retry is not taken");
    }
}
