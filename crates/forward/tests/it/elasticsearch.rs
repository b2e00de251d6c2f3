use crate::bulk::{FAULTS, Fault, Server};
use crate::kit::*;
use forward::RunState;

pub fn elastic(server: &Server) -> SinkConfig {
    config(&format!(
        r#"{{ "elasticsearch": {{ "urls": [ "{}" ], "index": "logs-{{dataset}}-prod", "timeout": "400ms" }} }}"#,
        server.url()
    ))
}

fn seq_of(doc: &serde_json::Value) -> u64 {
    doc["avouch"]["position"].as_str().unwrap().strip_prefix("0:").unwrap().parse().unwrap()
}

/// 1 % refused for good, 5 % throttled at first, some 503: as bar W9.
fn judge(doc: &serde_json::Value, seen: u32) -> Option<(u16, &'static str)> {
    let n = seq_of(doc);
    match () {
        () if n.is_multiple_of(97) => Some((400, "mapper_parsing_exception")),
        () if n % 20 == 1 && seen < 3 => Some((429, "es_rejected_execution_exception")),
        () if n % 31 == 2 && seen < 2 => Some((503, "unavailable_shards_exception")),
        () => None,
    }
}

/// What must be true after any run: the index is what was sent minus the 400s, and the 400s are the dead letters, exactly.
fn assert_final(server: &Server, log: &Log, kept: &Kept, n: u64) {
    let refused: BTreeSet<u64> = selected(n).into_iter().filter(|s| s.is_multiple_of(97)).collect();
    let wanted: BTreeSet<u64> = selected(n).difference(&refused).copied().collect();
    assert_eq!(server.numbers(log), wanted);
    assert_eq!(kept.dead_seqs(), refused);
    for l in kept.letters.lock().unwrap().iter() {
        assert_eq!(
            (l.class.as_str(), l.code.as_str(), l.event_id),
            ("400", "mapper_parsing_exception", id(l.seq))
        );
        assert!(
            l.text.contains("failed to parse field [user.id]")
                && l.item_sha256.len() == 64
                && l.attempts >= 1,
            "{l:?}"
        );
    }
}

#[tokio::test]
async fn every_fault_once_and_the_set_is_exact() {
    for (n, fault) in FAULTS.into_iter().enumerate() {
        let server = Server::start().await;
        server.state.lock().unwrap().judge = Some(Box::new(|_, doc, seen| judge(doc, seen)));
        server.script(&[Fault::None, fault, fault]);
        let (log, kept) = (Arc::new(Log::new(700 + n as u64)), Arc::new(Kept::default()));
        let r = run(&elastic(&server), &log, &kept);
        r.until_done(log.head()).await;
        r.stop().await;
        assert_final(&server, &log, &kept, log.head());
        let n_letters = kept.letters.lock().unwrap().len();
        assert_eq!(n_letters, kept.dead_seqs().len(), "{fault:?}: each refusal is one dead letter");
        assert_eq!(kept.receipted(), selected(log.head()).len() as u64, "{fault:?}: receipts add up");
    }
}

#[tokio::test]
async fn storms_of_faults() {
    for seed in 1_u64..7 {
        let server = Server::start().await;
        server.state.lock().unwrap().judge = Some(Box::new(|_, doc, seen| judge(doc, seen)));
        let mut x = seed;
        let script: Vec<Fault> = (0..60)
            .map(|_| {
                x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                // Stalls cost their timeout, so they are rare here.
                let f = FAULTS[(x >> 40) as usize % FAULTS.len()];
                if f == Fault::Stall && (x >> 50) % 8 != 0 { Fault::None } else { f }
            })
            .collect();
        server.script(&script);
        let (log, kept) = (Arc::new(Log::new(3_000)), Arc::new(Kept::default()));
        let r = run(&elastic(&server), &log, &kept);
        r.until_done(3_000).await;
        r.stop().await;
        assert_final(&server, &log, &kept, 3_000);
    }
}

/// The process dies at any point: what was not finished comes again, nothing is missing, nothing is there twice.
#[tokio::test]
async fn killed_and_started_again() {
    let server = Server::start().await;
    server.state.lock().unwrap().judge = Some(Box::new(|_, doc, seen| judge(doc, seen)));
    let (log, kept) = (Arc::new(Log::new(5_000)), Arc::new(Kept::default()));
    for round in 1..=12 {
        let r = run(&elastic(&server), &log, &kept);
        let target = 5_000 * round / 14;
        r.until("some progress", |s| s.cursor >= target).await;
        r.task.abort();
        let _ = r.task.await;
    }
    let r = run(&elastic(&server), &log, &kept);
    r.until_done(5_000).await;
    r.stop().await;
    assert_final(&server, &log, &kept, 5_000);
    assert_eq!(kept.cursor.lock().unwrap().unwrap().next, 5_000);
}

#[tokio::test]
async fn refused_credentials_hold_and_a_new_password_is_taken_up() {
    let dir = folder("auth");
    let password = dir.join("password");
    std::fs::write(&password, "old\n").unwrap();
    let server = Server::start().await;
    server.state.lock().unwrap().authorization = Some("Basic YXZvdWNoOm5ldw==".into());
    let mut c = elastic(&server);
    c.elasticsearch.as_mut().unwrap().auth = Some(
        serde_json::from_str(&format!(
            r#"{{ "user": "avouch", "password": "file:{}" }}"#,
            password.display()
        ))
        .unwrap(),
    );
    let (log, kept) = (Arc::new(Log::new(900)), Arc::new(Kept::default()));
    let r = run(&c, &log, &kept);
    let s = r.until("held", |s| s.state == RunState::Held).await;
    assert!(s.held.as_ref().unwrap().reason.contains("401"), "{s:?}");
    assert_eq!((s.dead, s.cursor), (0, 0));
    let requests = server.state.lock().unwrap().requests;
    r.until("probed again", |_| server.state.lock().unwrap().requests > requests + 2).await;
    std::fs::write(&password, "new\n").unwrap();
    r.until_done(900).await;
    assert_eq!(kept.letters.lock().unwrap().len(), 0, "an expired password makes no dead letter");
    let events = kept.events.lock().unwrap().clone();
    assert!(matches!(events.as_slice(), [SinkEvent::Held { .. }, SinkEvent::Released { .. }]), "{events:?}");
    assert_eq!(server.numbers(&log), selected(900));
    r.stop().await;
}

#[tokio::test]
async fn a_missing_index_holds_and_items_already_taken_stay_taken() {
    let server = Server::start().await;
    let open: Switch = Arc::default();
    let seen = open.clone();
    server.state.lock().unwrap().judge = Some(Box::new(move |_, doc, _| {
        let is_missing = doc["event"]["dataset"] == "syslog" && !seen.load(Ordering::SeqCst);
        is_missing.then_some((404, "index_not_found_exception"))
    }));
    let (log, kept) = (Arc::new(Log::new(300)), Arc::new(Kept::default()));
    let r = run(&elastic(&server), &log, &kept);
    let s = r.until("held", |s| s.state == RunState::Held).await;
    assert!(s.held.unwrap().reason.contains("index_not_found_exception"));
    open.store(true, Ordering::SeqCst);
    r.until_done(300).await;
    assert_eq!((server.numbers(&log), kept.letters.lock().unwrap().len()), (selected(300), 0));
    r.stop().await;
}

#[tokio::test]
async fn too_large_is_halved_and_one_giant_is_a_dead_letter() {
    let server = Server::start().await;
    server.state.lock().unwrap().body_max = Some(20_000);
    let mut log = Log::new(2_000);
    // Seq 50 and 51 are selected (51 % 7 == 2, 50 % 7 == 1).
    log.large.insert(50, 200_000);
    let (log, kept) = (Arc::new(log), Arc::new(Kept::default()));
    let mut c = elastic(&server);
    c.elasticsearch.as_mut().unwrap().gzip = false;
    c.batch.events = 1_000;
    let r = run(&c, &log, &kept);
    r.until_done(2_000).await;
    let mut wanted = selected(2_000);
    wanted.remove(&50);
    assert_eq!(server.numbers(&log), wanted);
    let letters = kept.letters.lock().unwrap().clone();
    assert_eq!(letters.iter().map(|l| (l.seq, l.class.as_str())).collect::<Vec<_>>(), [(50, "too_large")]);
    assert_eq!(letters[0].item_sha256.len(), 64);
    r.stop().await;
}

#[tokio::test]
async fn ordered_means_nothing_overtakes() {
    let server = Server::start().await;
    server.state.lock().unwrap().judge = Some(Box::new(|_, doc, seen| {
        (seq_of(doc) % 40 == 1 && seen < 3).then_some((429, "es_rejected_execution_exception"))
    }));
    server.script(&[Fault::Status(503), Fault::ResetAfter, Fault::None, Fault::OneShort]);
    let (log, kept) = (Arc::new(Log::new(600)), Arc::new(Kept::default()));
    // Order across a partial refusal needs batches of one: inside a batch the target decides.
    let c = SinkConfig {
        ordered: true,
        batch: serde_json::from_str(r#"{ "events": 1 }"#).unwrap(),
        ..elastic(&server)
    };
    let r = run(&c, &log, &kept);
    r.until_done(600).await;
    let order = server.state.lock().unwrap().order.clone();
    let wanted: Vec<String> = selected(600).into_iter().map(|s| id(s).to_string()).collect();
    assert_eq!(order, wanted);
    r.stop().await;
}

#[tokio::test]
async fn a_node_that_is_away_is_passed_over() {
    let server = Server::start().await;
    let away = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut c = elastic(&server);
    c.elasticsearch.as_mut().unwrap().urls.insert(0, format!("http://127.0.0.1:{away}/"));
    let (log, kept) = (Arc::new(Log::new(800)), Arc::new(Kept::default()));
    let r = run(&c, &log, &kept);
    let s = r.until_done(800).await;
    assert_eq!((s.errors, server.numbers(&log)), (0, selected(800)));
    r.stop().await;
    let nobody = elastic(&Server { port: away, state: Arc::default() });
    let kept = Arc::new(Kept::default());
    let r = run(&nobody, &log, &kept);
    let s = r.until("errors", |s| s.errors > 2).await;
    assert!(s.last_error.unwrap().contains("no node answers"), "down costs lag and nothing else");
    assert_eq!((s.dead, s.cursor, s.lag_events), (0, 0, 800));
    r.stop().await;
}

#[tokio::test]
async fn indices_follow_dataset() {
    let server = Server::start().await;
    let (log, kept) = (Arc::new(Log::new(50)), Arc::new(Kept::default()));
    let r = run(&elastic(&server), &log, &kept);
    r.until_done(50).await;
    let state = server.state.lock().unwrap();
    let names: BTreeSet<&str> = state.docs.values().map(|(i, _)| i.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["logs-aws.cloudtrail-prod", "logs-syslog-prod"]));
}
