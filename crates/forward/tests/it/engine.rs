use crate::bulk::Server;
use crate::elasticsearch::elastic;
use crate::kit::*;
use forward::{Failure, Item, ItemResult, Outcome, RunState, Sent};

/// A sink that does what a closure says.
struct Fake<F>(F, bool);

#[async_trait]
impl<F: Fn(&[Item]) -> Outcome + Send + Sync> Sink for Fake<F> {
    fn kind(&self) -> &'static str {
        "fake"
    }
    fn is_idempotent(&self) -> bool {
        self.1
    }
    fn concurrency_max(&self) -> usize {
        4
    }
    async fn send(&self, items: &[Item]) -> Sent {
        let outcome = (self.0)(items);
        Sent { outcome, sha256: "x".into(), bytes: items.len(), status: "fake".into(), ack: None }
    }
}

fn all_done(items: &[Item]) -> Outcome {
    Outcome::Items(vec![ItemResult::Done; items.len()])
}

fn any() -> SinkConfig {
    config(r#"{ "file": { "path": "unused" } }"#)
}

#[tokio::test]
async fn pause_survives_a_restart_and_resume_goes_on() {
    let server = Server::start().await;
    let (log, kept) = (Arc::new(Log::new(100)), Arc::new(Kept::default()));
    let r = run(&elastic(&server), &log, &kept);
    r.until_done(100).await;
    r.handle.pause().await.unwrap();
    log.n.store(200, Ordering::SeqCst);
    assert!(kept.cursor.lock().unwrap().unwrap().is_paused);
    r.stop().await;
    let r = run(&elastic(&server), &log, &kept);
    let s = r.until("paused with lag", |s| s.state == RunState::Paused && s.head == 200).await;
    assert_eq!((s.cursor, s.lag_events), (100, 100));
    r.handle.resume().await.unwrap();
    r.until_done(200).await;
    assert_eq!(server.numbers(&log), selected(200));
    r.stop().await;
}

#[tokio::test]
async fn skip_seek_and_replay() {
    let sent: Arc<Mutex<Vec<u64>>> = Arc::default();
    let stuck: Switch = Arc::new(AtomicBool::new(true));
    let (seen, is_stuck) = (sent.clone(), stuck.clone());
    let sink = Fake(
        move |items: &[Item]| {
            if is_stuck.load(Ordering::SeqCst) && items.iter().any(|i| i.seq < 50) {
                return Outcome::Failed(Failure::Retry {
                    reason: "stuck".into(),
                    after: None,
                    is_throttle: false,
                });
            }
            seen.lock().unwrap().extend(items.iter().map(|i| i.seq));
            all_done(items)
        },
        true,
    );
    let (log, kept) = (Arc::new(Log::new(120)), Arc::new(Kept::default()));
    let r = run_with(&any(), Arc::new(sink), &log, &kept);
    r.until("stuck", |s| s.errors > 1 && s.read_to == 120).await;
    let skipped = r.handle.skip(50).await.unwrap();
    assert_eq!(skipped, selected(50).len() as u64);
    r.until_done(120).await;
    let wanted: Vec<u64> = selected(120).into_iter().filter(|s| *s >= 50).collect();
    let mut got = sent.lock().unwrap().clone();
    got.sort_unstable();
    assert_eq!(got, wanted);
    // A replay sends everything once more.
    stuck.store(false, Ordering::SeqCst);
    sent.lock().unwrap().clear();
    r.handle.seek(0).await.unwrap();
    r.until("the replay's end", |s| s.cursor == 120 && sent.lock().unwrap().len() >= selected(120).len())
        .await;
    let got: BTreeSet<u64> = sent.lock().unwrap().iter().copied().collect();
    assert_eq!(got, selected(120));
    assert_eq!(r.handle.seek(9_999).await, Ok(()), "not beyond the end");
    assert_eq!(kept.cursor.lock().unwrap().unwrap().next, 120);
    r.stop().await;
}

/// Dead counts only after the letter is durable, and the cursor waits for it.
#[tokio::test]
async fn no_cursor_passes_a_letter_that_is_not_written() {
    let server = Server::start().await;
    server.state.lock().unwrap().judge =
        Some(Box::new(|_, doc, _| (doc["avouch"]["position"] == "0:11").then_some((400, "x"))));
    let (log, kept) = (Arc::new(Log::new(60)), Arc::new(Kept::default()));
    kept.fail_letters.store(1, Ordering::SeqCst);
    let r = run(&elastic(&server), &log, &kept);
    let s = r.until("letters fail", |s| s.last_error.as_ref().is_some_and(|e| e.contains("disk full"))).await;
    assert_eq!((s.cursor <= 11, s.dead), (true, 0));
    r.until_done(60).await;
    assert_eq!(kept.dead_seqs(), BTreeSet::from([11]));
    r.stop().await;
}

#[tokio::test]
async fn expiry_is_recorded_before_it_is_passed() {
    let server = Server::start().await;
    let (log, kept) = (Arc::new(Log::new(300)), Arc::new(Kept::default()));
    log.gaps.lock().unwrap().push((0, 140));
    kept.fail_expired.store(1, Ordering::SeqCst);
    let r = run(&elastic(&server), &log, &kept);
    let s = r.until_done(300).await;
    assert_eq!(s.expired, 140);
    let expired = kept.expired.lock().unwrap().clone();
    assert_eq!(expired.iter().map(|e| (e.from, e.to)).collect::<Vec<_>>(), [(0, 140)]);
    assert!(kept.events.lock().unwrap().contains(&SinkEvent::Expired {
        sink: "siem".into(),
        from: 0,
        to: 140
    }));
    assert_eq!(server.numbers(&log), selected(300).into_iter().filter(|s| *s >= 140).collect());
    r.stop().await;
}

#[tokio::test]
async fn max_age_turns_retries_into_letters_only_when_asked() {
    let sink = |items: &[Item]| Outcome::Items(vec![ItemResult::Retry("503 busy".into()); items.len()]);
    let log = Arc::new(Log { received: Time(0), ..Log::new(20) });
    let kept = Arc::new(Kept::default());
    let r = run_with(&any(), Arc::new(Fake(sink, true)), &log, &kept);
    r.until("retried for long", |s| s.retried > 200).await;
    assert_eq!(kept.letters.lock().unwrap().len(), 0, "for ever by default");
    r.task.abort();
    let mut c = any();
    c.retry.max_age = Some(forward::Span::secs(60));
    let kept = Arc::new(Kept::default());
    let r = run_with(&c, Arc::new(Fake(sink, true)), &log, &kept);
    r.until_done(20).await;
    assert_eq!(kept.dead_seqs(), selected(20));
    assert_eq!(kept.letters.lock().unwrap()[0].class, "max_age");
    r.stop().await;
}

#[tokio::test]
async fn a_sink_without_ids_stores_its_cursor_after_every_batch() {
    let kept = Arc::new(Kept::default());
    let seen = kept.clone();
    let sink = Fake(
        move |items: &[Item]| {
            let stored = seen.cursor.lock().unwrap().map_or(0, |c| c.next);
            let first = items[0].seq;
            // One batch may be unfinished beyond what is stored, no more.
            assert!(first <= stored + 250, "{first} sent with a stored cursor of {stored}");
            all_done(items)
        },
        false,
    );
    let log = Arc::new(Log::new(2_000));
    let mut c = any();
    c.concurrency = 1;
    let r = run_with(&c, Arc::new(sink), &log, &kept);
    r.until_done(2_000).await;
    r.stop().await;
}

#[tokio::test]
async fn a_wrong_number_of_results_is_no_result() {
    let tries: Arc<AtomicU32> = Arc::default();
    let n = tries.clone();
    let sink = Fake(
        move |items: &[Item]| match n.fetch_add(1, Ordering::SeqCst) {
            0..3 => Outcome::Items(vec![ItemResult::Done; items.len() + 1]),
            _ => all_done(items),
        },
        true,
    );
    let (log, kept) = (Arc::new(Log::new(30)), Arc::new(Kept::default()));
    let r = run_with(&any(), Arc::new(sink), &log, &kept);
    let s = r.until_done(30).await;
    assert_eq!((s.errors, s.done), (3, selected(30).len() as u64));
    r.stop().await;
}

#[tokio::test]
async fn a_panic_in_a_sink_costs_a_resend() {
    let tries: Arc<AtomicU32> = Arc::default();
    let n = tries.clone();
    let sink = Fake(
        move |items: &[Item]| {
            assert!(n.fetch_add(1, Ordering::SeqCst) != 1, "as scripted");
            all_done(items)
        },
        true,
    );
    let (log, kept) = (Arc::new(Log::new(1_000)), Arc::new(Kept::default()));
    let r = run_with(&any(), Arc::new(sink), &log, &kept);
    r.until_done(1_000).await;
    r.stop().await;
}

#[tokio::test]
async fn limits_are_kept() {
    let (log, kept) = (Arc::new(Log::new(400)), Arc::new(Kept::default()));
    let mut c = any();
    c.limit.events = Some(serde_json::from_str("\"200/s\"").unwrap());
    c.batch.events = 50;
    let began = now();
    let r = run_with(&c, Arc::new(Fake(all_done, true)), &log, &kept);
    r.until_done(400).await;
    // 343 events at 200/s with one second's worth to spare and one batch of debt.
    assert!(now().since(began) > 300_000, "at least 0.3 s by arithmetic");
    r.stop().await;
}

#[test]
fn what_is_wrong_with_a_configuration() {
    let codes = |json: &str| {
        let c: SinkConfig = serde_json::from_str(json).unwrap();
        c.check("s").iter().map(|p| p.code).collect::<Vec<_>>()
    };
    assert_eq!(codes("{}"), ["sink.kind"]);
    assert_eq!(codes(r#"{ "file": { "path": "a" }, "syslog": { "address": "tls://h:1" } }"#), ["sink.kind"]);
    assert_eq!(
        codes(r#"{ "syslog": { "address": "udp://h:1", "facility": 24 } }"#),
        ["sink.bad_address", "sink.bad_facility"]
    );
    assert_eq!(
        codes(
            r#"{ "elasticsearch": { "urls": [ "http://es.example.org:9200" ], "index": "Logs-{day}", "auth": { "user": "u", "password": "hunter2" } } }"#
        ),
        ["sink.plain_http", "sink.bad_index", "sink.secret_in_clear"]
    );
    assert_eq!(
        codes(r#"{ "elasticsearch": { "urls": [], "auth": { "user": "u" } } }"#),
        ["sink.no_url", "sink.auth"]
    );
    assert_eq!(
        codes(
            r#"{ "file": { "path": "a" }, "datasets": [], "concurrency": 33, "batch": { "events": 0 }, "retry": { "base": "0s" } }"#
        ),
        ["sink.no_dataset", "sink.concurrency", "sink.zero", "sink.retry"]
    );
    assert_eq!(codes(r#"{ "file": { "path": "a" } }"#), Vec::<&str>::new());
    let text: String = serde_json::from_str::<SinkConfig>(
        r#"{ "elasticsearch": { "urls": [ "https://h" ], "auth": { "api_key": "hunter2" } } }"#,
    )
    .unwrap()
    .check("s")
    .iter()
    .map(|p| format!("{p} {}", p.hint))
    .collect();
    assert!(!text.contains("hunter2"));
    let written_down: SinkConfig = serde_json::from_str(
        r#"{ "elasticsearch": { "urls": [ "https://h" ], "auth": { "password": "hunter2", "api_key": "hunter2", "bearer": "hunter2" }, "tls": { "key": "hunter2" } } }"#,
    )
    .unwrap();
    let text = format!("{written_down:?} {}", serde_json::to_string(&written_down).unwrap());
    assert!(!text.contains("hunter2"), "{text}");
    assert_eq!(codes(r#"{ "elasticsearch": { "urls": [ "https://u:p@h" ] } }"#), ["sink.secret_in_clear"]);
    assert!(
        serde_json::from_str::<SinkConfig>(r#"{ "fiel": {} }"#)
            .unwrap_err()
            .to_string()
            .contains("unknown field `fiel`")
    );
    let schema = serde_json::to_string(&schemars::schema_for!(SinkConfig)).unwrap();
    assert!(schema.contains("a resend finds the first copy"), "doc comments are the reference");
}

#[test]
fn our_own_datasets_leave_only_when_named() {
    let c = |datasets: &str| {
        serde_json::from_str::<SinkConfig>(&format!(r#"{{ "datasets": {datasets} }}"#)).unwrap()
    };
    for (datasets, name, expect) in [
        (r#"["*"]"#, "syslog", true),
        (r#"["*"]"#, "avouch.finding", false),
        (r#"["a*"]"#, "avouch.finding", false),
        (r#"["avouch.finding"]"#, "avouch.finding", true),
        (r#"["*", "avouch.*"]"#, "avouch.vault", true),
        (r#"["*", "!aws.*"]"#, "aws.cloudtrail", false),
        (r#"["aws.*"]"#, "syslog", false),
    ] {
        assert_eq!(c(datasets).selects(name), expect, "{datasets} {name}");
    }
}
