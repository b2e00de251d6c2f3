use crate::help::{KEY, gzip, key, start, tls_file, wait_until};
use crate::memory::{Memory, host};
use collect::{Keys, Running, SourceConfig};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use model::{Flags, Time};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn api(memory: &Arc<Memory>, more: Value) -> Running {
    let mut https = json!({"listen": "127.0.0.1:0", "paths": ["/logs"]});
    https.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    start("api", memory, json!({ "https": https }))
}

fn address(running: &Running) -> String {
    running.addresses[0].split_once("://").unwrap().1.to_owned()
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// One request over a raw socket: what is sent is exactly what stands here.
async fn raw(running: &Running, request: &[u8]) -> Answer {
    let mut s = TcpStream::connect(address(running)).await.unwrap();
    s.write_all(request).await.unwrap();
    let mut out = Vec::new();
    s.read_to_end(&mut out).await.unwrap();
    let text = String::from_utf8(out).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).unwrap_or("0").parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

async fn request(running: &Running, line: &str, headers: &str, body: &[u8]) -> Answer {
    let head = format!(
        "{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    raw(running, &[head.as_bytes(), body].concat()).await
}

async fn post(running: &Running, headers: &str, body: &[u8]) -> Answer {
    request(running, "POST /v1/ingest/api", &format!("x-api-key: {KEY}\r\n{headers}"), body).await
}

#[track_caller]
fn counts(a: &Answer, accepted: u64, duplicates: u64, unparsed: u64) {
    assert_eq!(a.status, 200, "{}", a.body);
    assert_eq!(a.json(), json!({"accepted": accepted, "duplicates": duplicates, "unparsed": unparsed}));
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_every_form() {
    let memory = Memory::new();
    let running = api(&memory, json!({}));
    counts(&post(&running, "", br#"{"foo":"bar"}"#).await, 1, 0, 0);
    counts(&post(&running, "", b"[{\"a\":1},{\"b\": 2}]").await, 2, 0, 0);
    counts(
        &post(&running, "Content-Type: application/x-ndjson\r\n", b"{\"c\":1}\n{\"d\":2}\n").await,
        2,
        0,
        0,
    );
    counts(&post(&running, "Content-Type: text/plain\r\n", b"line one\r\nline & % + two\n").await, 2, 0, 0);
    counts(
        &request(
            &running,
            "POST /logs?x=1",
            &format!("Authorization: bearer {KEY}\r\n"),
            br#"{"hello":"world"}"#,
        )
        .await,
        1,
        0,
        0,
    );
    counts(&post(&running, "Content-Encoding: gzip\r\n", &gzip(b"{\"z\":1}")).await, 1, 0, 0);
    counts(
        &post(&running, "Content-Encoding: zstd\r\n", &zstd::encode_all(&b"{\"z\":2}"[..], 1).unwrap()).await,
        1,
        0,
        0,
    );
    counts(&post(&running, "", b"").await, 0, 0, 0);
    counts(&post(&running, "", "{\"t\":\"+ & % = \\u0000 😀\r\n\"}".as_bytes()).await, 1, 0, 1);
    assert_eq!(
        memory.lines()[..10],
        [
            r#"{\"foo\":\"bar\"}"#,
            r#"{\"a\":1}"#,
            r#"{\"b\": 2}"#,
            r#"{\"c\":1}"#,
            r#"{\"d\":2}"#,
            "line one",
            "line & % + two",
            r#"{\"hello\":\"world\"}"#,
            r#"{\"z\":1}"#,
            r#"{\"z\":2}"#,
        ]
    );
    assert_eq!(memory.events()[10].raw, "{\"t\":\"+ & % = \\u0000 😀\r\n\"}".as_bytes());
    let first = &memory.events()[0];
    assert_eq!(
        (first.sender.as_str(), first.source.as_str(), first.dataset.as_str()),
        ("key-1", "api", "other")
    );
    assert_eq!(
        first.origin,
        format!("{{\"key\":\"key-1\",\"listener\":\"{}\",\"peer\":\"127.0.0.1\"}}", running.addresses[0])
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_json_is_kept_or_with_strict_refused() {
    let memory = Memory::new();
    let running = api(&memory, json!({}));
    counts(&post(&running, "", b"{'a': 1}").await, 1, 0, 1);
    counts(&post(&running, "", b"{\"a\":1}\n{bad\n").await, 2, 0, 1);
    counts(&post(&running, "Content-Encoding: gzip\r\n", &gzip(b"{\"a\":1}")[..12]).await, 1, 0, 1);
    counts(&post(&running, "", "[".repeat(200_000).as_bytes()).await, 1, 0, 1);
    assert_eq!(memory.lines()[0], "{\\'a\\': 1}");
    assert_eq!(memory.events()[0].flags, Flags::PARSE_ERROR);
    let snapshot = running.counters.clone();
    wait_until(move || snapshot.snapshot().parse_errors == 4).await;
    running.stop().await;

    let memory = Memory::new();
    let running = api(&memory, json!({"strict": true}));
    let a = post(&running, "", b"{\"a\":1,}").await;
    assert_eq!(
        (a.status, a.json()),
        (400, json!({"error": "bad JSON: a key in quotes was expected", "position": 7}))
    );
    let a = post(&running, "Content-Encoding: gzip\r\n", &gzip(b"{\"a\":1}")[..12]).await;
    assert_eq!(a.status, 400);
    assert!(memory.events().is_empty(), "nothing is stored");
    counts(&post(&running, "", b"{\"a\":1}").await, 1, 0, 0);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits() {
    let memory = Memory::new();
    let running = api(&memory, json!({"limit": "64KiB"}));
    let a = post(&running, "", &vec![b'x'; 65_537]).await;
    assert_eq!((a.status, a.json()), (413, json!({"error": "the limit is 64KiB"})));
    assert_eq!(post(&running, "", &vec![b'x'; 65_536]).await.status, 200);
    let chunked = [
        format!("POST /logs HTTP/1.1\r\nHost: x\r\nConnection: close\r\nx-api-key: {KEY}\r\nTransfer-Encoding: chunked\r\n\r\n").into_bytes(),
        format!("{:x}\r\n{}\r\n", 40_000, "y".repeat(40_000)).repeat(2).into_bytes(),
        b"0\r\n\r\n".to_vec(),
    ]
    .concat();
    assert_eq!(raw(&running, &chunked).await.status, 413);
    assert_eq!(post(&running, "Content-Encoding: gzip\r\n", &gzip(&vec![b'x'; 65_537])).await.status, 413);
    let a = post(&running, "Content-Encoding: br\r\n", b"x").await;
    assert_eq!(
        (a.status, a.json()),
        (415, json!({"error": "Content-Encoding may be gzip, zstd or identity"}))
    );
    assert_eq!(
        post(&running, "Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n", b"x").await.status,
        415
    );
    running.stop().await;

    let running = api(&memory, json!({}));
    let a = post(&running, "Content-Encoding: gzip\r\n", &gzip(&vec![0; 9 << 20])).await;
    assert_eq!((a.status, a.json()), (413, json!({"error": "above the ratio limit of 100:1"})));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refused_key_looks_the_same() {
    let memory = Memory::new();
    let mut revoked = key("revoked", "r");
    revoked.is_revoked = true;
    let mut expired = key("expired", "e");
    expired.expires = Time(1);
    let mut elsewhere = key("elsewhere", "s");
    elsewhere.sources = vec!["web".into()];
    let mut far = key("far", "f");
    far.peers = vec!["10.0.0.0/8".parse().unwrap()];
    let mut other = key("other", "d");
    other.datasets = vec!["app".into()];
    let config: SourceConfig = serde_json::from_value(json!({"https": {"listen": "127.0.0.1:0"}})).unwrap();
    let keys = Keys(vec![key("key-1", KEY), revoked, expired, elsewhere, far, other]);
    let running = collect::start("api", &config, &host(&memory, keys)).unwrap();
    let mut answers = Vec::new();
    for header in [
        "",
        "x-api-key: wrong\r\n",
        "x-api-key: r\r\n",
        "x-api-key: e\r\n",
        "x-api-key: s\r\n",
        "x-api-key: f\r\n",
        "x-api-key: d\r\n",
        "Authorization: Basic eDp5\r\n",
        "x-api-key:\r\n",
    ] {
        let a = request(&running, "POST /v1/ingest/api", header, b"{}").await;
        let head: Vec<&str> =
            a.head.lines().filter(|l| !l.to_ascii_lowercase().starts_with("date:")).collect();
        answers.push(format!("{} {} {}", a.status, head.join("|"), a.body));
    }
    assert!(answers[0].starts_with("403 "), "{}", answers[0]);
    assert!(answers.iter().all(|a| *a == answers[0]), "{answers:#?}");
    assert!(memory.events().is_empty());
    let why: Vec<String> = memory.access().iter().map(|a| a.user.clone()).collect();
    assert_eq!(
        why,
        [
            "no key was sent",
            "no such key",
            "the key is revoked",
            "the key has expired",
            "the key is for another source",
            "the key is for other addresses",
            "the key is for other datasets",
            "no key was sent",
            "no such key",
        ]
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_places_and_methods() {
    let memory = Memory::new();
    let running = api(&memory, json!({}));
    let header = format!("x-api-key: {KEY}\r\n");
    assert_eq!(request(&running, "POST /v1/ingest/other", &header, b"{}").await.status, 404);
    assert_eq!(request(&running, "GET /", &header, b"").await.status, 404);
    let a = request(&running, "GET /logs", &header, b"").await;
    assert_eq!(a.status, 405);
    assert!(a.head.contains("allow: POST"), "{}", a.head);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_cannot_append_is_a_503() {
    let memory = Memory::new();
    let running = api(&memory, json!({"commit_deadline": "200ms"}));
    memory.fill(true);
    let a = post(&running, "", b"{\"a\":1}").await;
    assert_eq!(a.status, 503);
    assert!(a.head.contains("retry-after: 7"), "{}", a.head);
    memory.fill(false);
    memory.hold(true);
    let a = post(&running, "", b"{\"a\":2}").await;
    assert_eq!(a.status, 503, "no 200 before the receipt");
    memory.hold(false);
    running.pause();
    assert_eq!(post(&running, "", b"{\"a\":3}").await.status, 503);
    running.resume();
    counts(&post(&running, "", b"{\"a\":4}").await, 1, 0, 0);
    memory.lose_receipts(1);
    assert_eq!(post(&running, "", b"{\"a\":5}").await.status, 503, "a lost receipt is a failure");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_the_rate_is_a_429() {
    let memory = Memory::new();
    let config: SourceConfig = serde_json::from_value(json!({"https": {"listen": "127.0.0.1:0"}})).unwrap();
    let mut slow = key("key-1", KEY);
    slow.rate = Some(2);
    let running = collect::start("api", &config, &host(&memory, Keys(vec![slow]))).unwrap();
    let mut statuses = Vec::new();
    for _ in 0..6 {
        let a = post(&running, "", b"{}").await;
        assert!(a.status == 200 || a.head.contains("retry-after: 1"), "{}", a.head);
        statuses.push(a.status);
    }
    assert_eq!(statuses[..2], [200, 200]);
    assert!(statuses.contains(&429), "{statuses:?}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_makes_a_retry_harmless() {
    let memory = Memory::new();
    let running = api(&memory, json!({}));
    let body = b"[{\"a\":1},{\"a\":1}]";
    let header = "Idempotency-Key: abc\r\n";
    counts(&post(&running, header, body).await, 2, 0, 0);
    counts(&post(&running, header, body).await, 2, 0, 0);
    assert_eq!(memory.events().len(), 2, "the first answer again, and nothing stored again");
    counts(&post(&running, header, b"[{\"b\":1}]").await, 1, 0, 0);
    assert_eq!(memory.events().len(), 3, "a key reused for another body is another event");
    let ids: Vec<_> = memory.events().iter().map(|e| e.id).collect();
    assert!(ids[0] != ids[1] && ids.iter().all(|i| !i.is_none()));
    running.stop().await;
    // After a restart the answers are gone, and the window finds the duplicates.
    let running = api(&memory, json!({}));
    counts(&post(&running, header, body).await, 0, 2, 0);
    counts(&post(&running, "", body).await, 2, 0, 0);
    assert!(memory.events()[3].id.is_none(), "no origin without the header");
    assert_eq!(post(&running, &format!("Idempotency-Key: {}\r\n", "x".repeat(257)), body).await.status, 400);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cloudwatch_messages_by_http() {
    let memory = Memory::new();
    let config = json!({"https": {"listen": "127.0.0.1:0"}, "decode": ["gzip", "cloudwatch", "auto"], "owners": ["1"]});
    let running = start("api", &memory, config);
    let message = |owner: &str, kind: &str| {
        json!({"messageType": kind, "owner": owner, "logGroup": "g", "logStream": "s", "subscriptionFilters": ["f"],
            "logEvents": [{"id": "1", "timestamp": 1_510_109_208_016_i64, "message": "hello"}]})
        .to_string()
    };
    counts(&post(&running, "", &gzip(message("1", "DATA_MESSAGE").as_bytes())).await, 1, 0, 0);
    counts(&post(&running, "", message("1", "DATA_MESSAGE").as_bytes()).await, 0, 1, 0);
    counts(&post(&running, "", message("1", "CONTROL_MESSAGE").as_bytes()).await, 0, 0, 0);
    counts(&post(&running, "", message("2", "DATA_MESSAGE").as_bytes()).await, 1, 0, 0);
    counts(&post(&running, "", b"{\"messageType\":\"NEW\"}").await, 0, 0, 1);
    let events = memory.events();
    assert_eq!((events[0].account.as_str(), events[0].dataset.as_str()), ("1", "other"));
    assert_eq!((events[1].account.as_str(), events[1].dataset.as_str()), ("2", "avouch.refused"));
    assert_eq!(running.counters.snapshot().discarded["control_message"], 1);
    let letters = memory.letters();
    assert_eq!((letters.len(), letters[0].reason.as_str()), (1, "unknown messageType `NEW`"));
    assert_eq!(&letters[0].bytes[..], b"{\"messageType\":\"NEW\"}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_senders_are_cut_off() {
    let memory = Memory::new();
    let running = api(&memory, json!({"header_deadline": "200ms", "body_deadline": "200ms"}));
    let a = raw(&running, b"POST /logs HTTP/1.1\r\nHost: x\r\n").await;
    assert!(a.status == 0 || a.status == 408, "{}", a.head);
    let head = format!(
        "POST /logs HTTP/1.1\r\nHost: x\r\nx-api-key: {KEY}\r\nConnection: close\r\nContent-Length: 10\r\n\r\nabc"
    );
    assert_eq!(raw(&running, head.as_bytes()).await.status, 408);
    assert!(memory.events().is_empty());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn junk_on_the_port_harms_nothing() {
    let memory = Memory::new();
    let running = api(&memory, json!({}));
    for junk in
        [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..], b"GET\r\n\r\n", b"\0\0\0\0\r\n\r\n"]
    {
        let a = raw(&running, junk).await;
        assert!(a.status == 400 || a.status == 0, "{}", a.status);
    }
    let a = request(&running, "POST /logs", &"x-pad: y\r\n".repeat(100), b"").await;
    assert_eq!(a.status, 431);
    counts(&post(&running, "", b"{}").await, 1, 0, 0);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keep_alive_with_a_real_client_and_the_access_log() {
    let memory = Memory::new();
    let running = api(&memory, json!({}));
    let io = TokioIo::new(TcpStream::connect(address(&running)).await.unwrap());
    let (mut client, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    let connection = tokio::spawn(connection);
    for i in 0..50 {
        let request = hyper::Request::post("/logs?secret=1")
            .header("host", "x")
            .header("x-api-key", KEY)
            .body(Full::new(bytes::Bytes::from(format!("{{\"n\":{i}}}"))))
            .unwrap();
        client.ready().await.unwrap();
        let answer = client.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(&body[..], br#"{"accepted":1,"duplicates":0,"unparsed":0}"#);
    }
    assert_eq!(memory.events().len(), 50);
    let access = memory.access();
    assert_eq!(access.len(), 50);
    let a = &access[0];
    assert_eq!(
        (
            a.ip.as_str(),
            a.caller.as_str(),
            a.http_method.as_str(),
            a.resource_path.as_str(),
            a.status,
            a.protocol.as_str(),
            a.response_length
        ),
        ("127.0.0.1", "key-1", "POST", "/logs", 200, "HTTP/1.1", 42)
    );
    assert_ne!(access[0].request_id, access[1].request_id);
    running.stop().await;
    connection.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn https_with_a_certificate() {
    let memory = Memory::new();
    let running =
        api(&memory, json!({"tls": {"cert": tls_file("server.pem"), "key": tls_file("server.key")}}));
    assert!(running.addresses[0].starts_with("https://"));
    let out = tokio::process::Command::new("curl")
        .args([
            "-sS",
            "--cacert",
            tls_file("ca.pem").trim_start_matches("file:"),
            "-H",
            &format!("x-api-key: {KEY}"),
        ])
        .args(["--data-binary", "{\"by\":\"curl\"}", &format!("{}/logs", running.addresses[0])])
        .output()
        .await;
    match out {
        Err(_) => println!("skipped: https_with_a_certificate: curl is not installed"),
        Ok(out) => {
            assert_eq!(
                String::from_utf8_lossy(&out.stdout),
                r#"{"accepted":1,"duplicates":0,"unparsed":0}"#,
                "{out:?}"
            );
            assert_eq!(memory.lines(), [r#"{\"by\":\"curl\"}"#]);
        }
    }
    running.stop().await;
}
