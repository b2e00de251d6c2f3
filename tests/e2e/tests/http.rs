//! HTTP ingest with `curl`: what is answered, what is kept, and in which order.

use avouch_e2e::peer::{gzip, is_installed};
use avouch_e2e::product::{Run, command, run};
use avouch_e2e::{PATIENCE, Scratch, Serve, http, number, skipped, text, unhex, wait_until};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

const CONFIG: &str = r#"
server: { listen: "127.0.0.1:0" }
sources:
  api: { https: { listen: "127.0.0.1:0", paths: [ /logs ], limit: 64KiB }, dataset: app.test }
  strict: { https: { listen: "127.0.0.1:0", strict: true }, dataset: app.strict }
"#;

/// `curl` with our options; its status and body.
#[track_caller]
fn curl(args: &[&str]) -> (u16, String) {
    let mut c = Command::new("curl");
    c.args(["-sS", "--max-time", "60", "-w", "\n%{http_code}"]).args(args);
    let done = run(c);
    assert_eq!(done.code, 0, "{done}");
    let out = done.out();
    let (body, status) = out.rsplit_once('\n').unwrap_or_else(|| panic!("no status: {out}"));
    (status.parse().expect("a status"), body.to_owned())
}

/// Equal, or a message that people can read.
#[track_caller]
pub fn same_bytes(what: &str, found: &[u8], sent: &[u8]) {
    assert!(found == sent, "{what}: sent \"{}\", found \"{}\"", sent.escape_ascii(), found.escape_ascii());
}

#[track_caller]
fn counts(body: &str) -> (u64, u64, u64) {
    let v: Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("no JSON ({e}): {body}"));
    (number(&v, "/accepted"), number(&v, "/duplicates"), number(&v, "/unparsed"))
}

/// Raw bytes of a dataset's events in order.
fn raws(serve: &Serve, dataset: &str) -> Vec<Vec<u8>> {
    let rows = serve.sql(&format!(
        "select encode(raw, 'hex') as hex from events where av_dataset = '{dataset}' order by av_seq"
    ));
    rows.iter().map(|r| unhex(text(r, "/hex"))).collect()
}

#[test]
fn curl_posts_every_form_and_gets_plain_answers() {
    if !is_installed("curl") {
        return skipped("http::curl_posts_every_form", "curl is not installed");
    }
    let scratch = Scratch::new("curl");
    let serve = Serve::start(&scratch, CONFIG);
    let key = format!("x-api-key: {}", serve.key("c1", "api"));
    let url = format!("http://{}/v1/ingest/api", serve.address("api", "http"));
    let post = |kind: &str, body: &str| {
        let kind = format!("content-type: {kind}");
        curl(&["-H", &key, "-H", &kind, "--data-binary", body, &url])
    };
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let mut expect = |events: &[&str]| kept.extend(events.iter().map(|e| e.as_bytes().to_vec()));

    for (kind, body, events) in [
        ("application/json", r#"{"foo":"bar"}"#, vec![r#"{"foo":"bar"}"#]),
        ("application/json", r#"[{"n":1}, {"n" : 2},3]"#, vec![r#"{"n":1}"#, r#"{"n" : 2}"#, "3"]),
        (
            "application/x-ndjson",
            "{\"l\":1}\n{\"l\":2}\r\n\n{\"l\":3}",
            vec![r#"{"l":1}"#, r#"{"l":2}"#, r#"{"l":3}"#],
        ),
        ("text/plain", "first line\nsecond line\n", vec!["first line", "second line"]),
        // curl's own default type: a form is never decoded as one.
        ("application/x-www-form-urlencoded", "a=1+2&b=%2B%20&c", vec!["a=1+2&b=%2B%20&c"]),
    ] {
        let (status, answer) = post(kind, body);
        assert_eq!(status, 200, "{kind}: {answer}");
        assert_eq!(counts(&answer), (events.len() as u64, 0, 0), "{kind} {body}: {answer}");
        expect(&events);
    }
    // Another path of the same source, and the other way to send a key.
    let bearer = format!("authorization: Bearer {}", key.trim_start_matches("x-api-key: "));
    let logs = url.replace("/v1/ingest/api", "/logs");
    let (status, answer) = curl(&[
        "-H",
        &bearer,
        "--data-binary",
        r#"{"hello":"world"}"#,
        "-H",
        "content-type: application/json",
        &logs,
    ]);
    assert_eq!((status, counts(&answer)), (200, (1, 0, 0)), "{answer}");
    expect(&[r#"{"hello":"world"}"#]);
    // Bad JSON is kept as one event: a firewall does not send a 400 again.
    let (status, answer) = post("application/json", r#"{"cut": "#);
    assert_eq!(
        (status, number(&serde_json::from_str(&answer).expect("JSON"), "/unparsed")),
        (200, 1),
        "{answer}"
    );
    expect(&[r#"{"cut": "#.trim_end()]);
    assert_eq!(
        raws(&serve, "app.test")
            .iter()
            .map(|r| String::from_utf8_lossy(r).trim_end().to_owned())
            .collect::<Vec<_>>(),
        kept.iter().map(|r| String::from_utf8_lossy(r).into_owned()).collect::<Vec<_>>()
    );
    assert!(
        raws(&serve, "app.test").iter().zip(&kept).filter(|(a, b)| a != b).count() <= 1,
        "only the broken body may keep its blank"
    );
    // The sender is the key, by its id.
    let senders = serve.sql("select distinct av_sender as s from events where av_source = 'api'");
    assert_eq!(text(&senders[0], "/s"), "c1", "{senders:?}");
}

#[test]
fn refusals_name_what_is_wrong_and_store_nothing() {
    let scratch = Scratch::new("refuse");
    let serve = Serve::start(&scratch, CONFIG);
    let key = serve.key("c1", "api");
    let address = serve.address("api", "http");
    let path = "/v1/ingest/api";
    let json = ("content-type", "application/json");
    let ask = |method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]| {
        http::request(&address, method, path, headers, body).expect("an answer")
    };

    let none = ask("POST", path, &[json], b"{}").is(403);
    let wrong = ask("POST", path, &[("x-api-key", "avouch_wrong"), json], b"{}").is(403);
    let other = serve.key("c2", "strict");
    let misplaced = ask("POST", path, &[("x-api-key", &other), json], b"{}").is(403);
    serve.run(&["admin", "key", "revoke", "c2"]).ok();
    let revoked = http::request(
        &serve.address("strict", "http"),
        "POST",
        "/v1/ingest/strict",
        &[("x-api-key", &other), json],
        b"{}",
    )
    .expect("an answer")
    .is(403);
    for r in [&wrong, &misplaced, &revoked] {
        assert_eq!(r.body, none.body, "a refusal tells a stranger more than another");
    }
    let large = vec![b' '; (64 << 10) + 1];
    let said = ask("POST", path, &[("x-api-key", &key), json], &large).is(413).text();
    assert!(said.contains("64"), "413 does not name the limit: {said}");
    // The same limit holds after decompression, and a bomb is refused by its ratio.
    let bomb = gzip(&vec![b' '; 4 << 20]);
    ask("POST", path, &[("x-api-key", &key), json, ("content-encoding", "gzip")], &bomb).is(413);
    ask("POST", path, &[("x-api-key", &key), json, ("content-encoding", "br")], b"x").is(415);
    ask("GET", path, &[("x-api-key", &key)], b"").is(405);
    ask("POST", "/elsewhere", &[("x-api-key", &key)], b"{}").is(404);
    assert_eq!(serve.events("app.test"), 0, "a refused body was stored");

    let strict = serve.key("c3", "strict");
    let refused = serve.post("strict", &strict, "application/json", r#"{"a":1,}"#).is(400).text();
    assert!(refused.chars().any(|c| c.is_ascii_digit()), "no byte position in `{refused}`");
    assert_eq!(serve.events("app.strict"), 0);

    serve.run(&["admin", "key", "create", "slow", "--source", "api", "--rate", "1"]).ok();
    let items = serve.run(&["admin", "key", "list", "-o", "json"]).ok().items();
    assert!(items.iter().any(|k| k["id"] == "slow"), "{items:?}");
    assert!(!format!("{items:?}").contains(&key), "a key itself is listed");
}

#[test]
fn a_key_has_its_rate() {
    let scratch = Scratch::new("rate");
    let serve = Serve::start(&scratch, CONFIG);
    let made = serve
        .run(&["admin", "key", "create", "slow", "--source", "api", "--rate", "1", "-o", "json"])
        .ok()
        .items();
    let key = text(&made[0], "/key").to_owned();
    let mut over = None;
    wait_until("more than one request a second is refused", PATIENCE, || {
        let r = serve.post("api", &key, "application/json", "{}");
        let is_over = r.status == 429;
        if is_over {
            over = Some(r);
        }
        is_over
    });
    assert!(over.is_some_and(|r| r.header("retry-after").is_some()), "429 does not say when");
}

#[test]
fn bodies_arrive_byte_for_byte() {
    let scratch = Scratch::new("exact");
    let serve = Serve::start(&scratch, CONFIG);
    let key = serve.key("c1", "api");
    let bodies: [&[u8]; 6] = [
        "{\"a\":\"+ & % = \\u0000 😀 \\r\\n\"}".as_bytes(),
        b"{\r\n  \"a\" : \"+&%=\" ,\r\n\t\"b\":1.0e+02, \"a\":\"twice\"}",
        "{\"big\":12345678901234567890123,\"tiny\":-0.0,\"e\":\"\\ud83d\\ude00 é\"}".as_bytes(),
        b"a=+&b=%25&c==%2B",
        b"latin \xe9 and \xff\xfe bytes",
        b"nul \x00 in a line",
    ];
    for body in bodies {
        let kind = if body[0] == b'{' { "application/json" } else { "text/plain" };
        serve.post("api", &key, kind, body).is(200);
    }
    let stored = raws(&serve, "app.test");
    for (sent, found) in bodies.iter().zip(&stored) {
        assert_eq!(
            found,
            sent,
            "{} became {}",
            String::from_utf8_lossy(sent),
            String::from_utf8_lossy(found)
        );
    }
    assert_eq!(stored.len(), bodies.len());
    // The same bytes through the command for one event.
    let ids = serve.sql("select av_seq as seq from events where av_dataset = 'app.test' order by av_seq");
    for (sent, row) in bodies.iter().zip(&ids) {
        let shown = serve.run(&["event", "show", &format!("0:{}", number(row, "/seq")), "--raw"]).ok();
        same_bytes("event show --raw", &shown.bytes, sent);
    }
    // A compressed body is unpacked once and then exact as well.
    let packed = gzip(bodies[0]);
    let headers =
        [("x-api-key", key.as_str()), ("content-type", "application/json"), ("content-encoding", "gzip")];
    http::request(&serve.address("api", "http"), "POST", "/logs", &headers, &packed)
        .expect("an answer")
        .is(200);
    assert_eq!(raws(&serve, "app.test").last().map(Vec::as_slice), Some(bodies[0]));
}

#[test]
fn a_retry_with_its_key_is_no_second_event() {
    let scratch = Scratch::new("retry");
    let serve = Serve::start(&scratch, CONFIG);
    let key = serve.key("c1", "api");
    let send = |serve: &Serve, retry: &str, body: &str| {
        let headers =
            [("x-api-key", key.as_str()), ("content-type", "application/json"), ("idempotency-key", retry)];
        let r = http::request(&serve.address("api", "http"), "POST", "/logs", &headers, body.as_bytes())
            .expect("an answer")
            .is(200);
        counts(&r.text())
    };
    assert_eq!(send(&serve, "r1", r#"[{"n":1},{"n":2}]"#), (2, 0, 0));
    assert_eq!(send(&serve, "r1", r#"[{"n":1},{"n":2}]"#), (2, 0, 0), "the first answer is repeated");
    assert_eq!(serve.events("app.test"), 2);
    // The key for another body is another event, never a silent duplicate.
    assert_eq!(send(&serve, "r1", r#"{"n":3}"#), (1, 0, 0));
    assert_eq!(serve.events("app.test"), 3);
    // Without a key equal bodies are two events.
    for _ in 0..2 {
        serve.post("api", &key, "application/json", r#"{"n":4}"#).is(200);
    }
    assert_eq!(serve.events("app.test"), 5);
    // After a crash the window is rebuilt from the log.
    serve.kill9();
    let serve = Serve::again(&scratch);
    assert_eq!(send(&serve, "r1", r#"[{"n":1},{"n":2}]"#), (0, 2, 0), "a redelivery after a crash");
    assert_eq!(serve.events("app.test"), 5);
    assert_eq!(serve.terminate(), 0);
    // And after a clean stop, which seals.
    let serve = Serve::again(&scratch);
    assert_eq!(send(&serve, "r1", r#"[{"n":1},{"n":2}]"#), (0, 2, 0), "a redelivery after a restart");
    assert_eq!(serve.events("app.test"), 5);
}

#[test]
fn nothing_in_a_body_changes_the_envelope() {
    let scratch = Scratch::new("forge");
    let serve = Serve::start(&scratch, CONFIG);
    let key = serve.key("c1", "api");
    let forged = r#"{"source":"x","dataset":"avouch.audit","received":"1999-01-01T00:00:00Z","account":"999999999999","@timestamp":"1999-01-01T00:00:00Z","host":"h","tags":["t"],"_id":"i","av_source":"x","av_dataset":"avouch.audit","av_account":"999999999999","av_canary":"x","sender":"x"}"#;
    serve.post("api", &key, "application/json", forged).is(200);
    let rows = serve.sql("select av_source, av_dataset, av_sender, av_account, av_region, cast(av_received as varchar) as received from events where av_source <> 'avouch' and raw_word(raw, 'i')");
    assert_eq!(rows.len(), 1, "{rows:?}");
    let r = &rows[0];
    assert_eq!(
        (text(r, "/av_source"), text(r, "/av_dataset"), text(r, "/av_sender")),
        ("api", "app.test", "c1"),
        "{r}"
    );
    assert!(
        r["av_account"].is_null() && r["av_region"].is_null() && !text(r, "/received").starts_with("1999"),
        "{r}"
    );
}

#[test]
fn curl_over_tls() {
    if !is_installed("curl") || !is_installed("openssl") {
        return skipped("http::curl_over_tls", "curl or openssl is not installed");
    }
    let scratch = Scratch::new("tls");
    let (cert, private) = (scratch.join("cert.pem"), scratch.join("key.pem"));
    let mut c = Command::new("openssl");
    c.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ])
    .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout"])
    .arg(&private)
    .arg("-out")
    .arg(&cert);
    let made = run(c);
    assert_eq!(made.code, 0, "{made}");
    let yaml = format!(
        "server: {{ listen: \"127.0.0.1:0\" }}\nsources:\n  api: {{ https: {{ listen: \"127.0.0.1:0\", tls: {{ cert: \"file:{}\", key: \"file:{}\" }} }}, dataset: app.test }}\n",
        cert.display(),
        private.display()
    );
    let serve = Serve::start(&scratch, &yaml);
    let key = format!("x-api-key: {}", serve.key("c1", "api"));
    let url = format!("https://{}/v1/ingest/api", serve.address("api", "https"));
    let trusted = cert.display().to_string();
    let (status, answer) = curl(&["--cacert", &trusted, "-H", &key, "--json", r#"{"over":"tls"}"#, &url]);
    assert_eq!((status, counts(&answer)), (200, (1, 0, 0)), "{answer}");
    assert_eq!(raws(&serve, "app.test"), [br#"{"over":"tls"}"#.to_vec()]);
}

/// V2 seen from outside: in the order of system calls, the log is synced between reading a request and answering it.
#[test]
fn fdatasync_comes_before_the_answer() {
    let name = "http::fdatasync_comes_before_the_answer";
    if !is_installed("strace") {
        return skipped(name, "strace is not installed");
    }
    let mut probe = Command::new("strace");
    probe.args(["-e", "trace=none", "true"]);
    let Run { code, err, .. } = run(probe);
    if code != 0 {
        return skipped(
            name,
            &format!("strace cannot trace here: {}", err.lines().next().unwrap_or_default()),
        );
    }
    let scratch = Scratch::new("strace");
    scratch.write("data/avouch.yaml", CONFIG);
    let trace = scratch.join("trace");
    let mut c = Command::new("strace");
    avouch_e2e::product::isolate(&mut c, &scratch);
    // -D: the tracer hides behind the daemon, which keeps the process id and gets the signals.
    c.args([
        "-D",
        "-f",
        "-y",
        "-s",
        "120",
        "-e",
        "trace=read,recvfrom,recvmsg,readv,write,writev,sendto,sendmsg,fdatasync,fsync",
        "-o",
    ])
    .arg(&trace)
    .arg(command(&scratch).get_program());
    let serve = Serve::through(&scratch, c);
    let key = serve.key("c1", "api");
    serve.post("api", &key, "application/json", r#"{"traced":true}"#).is(200);
    assert_eq!(serve.terminate(), 0);
    wait_until("the trace is written", PATIENCE, || {
        std::fs::read_to_string(&trace).is_ok_and(|t| t.contains("+++ exited with 0 +++"))
    });
    in_order(&trace);
}

fn in_order(trace: &Path) {
    let text = std::fs::read_to_string(trace).expect("strace wrote its trace");
    let mut asked = None;
    let mut synced = None;
    let mut waiting: Vec<String> = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let (process, rest) = line.split_once(' ').unwrap_or_default();
        let rest = rest.trim_start();
        if rest.contains("POST /v1/ingest/api") {
            asked = Some(i);
        }
        let is_log = rest.contains(".wal>");
        if rest.starts_with("fdatasync(") && is_log && rest.contains("unfinished") {
            waiting.push(process.to_owned());
        }
        let finished = rest.starts_with("fdatasync(") && is_log && rest.ends_with("= 0")
            || rest.starts_with("<... fdatasync resumed>")
                && rest.ends_with("= 0")
                && waiting.iter().any(|p| p == process);
        if finished {
            waiting.retain(|p| p != process);
            if asked.is_some() && synced.is_none() {
                synced = Some(i);
            }
        }
        if asked.is_some() && rest.contains("HTTP/1.1 200") {
            let synced = synced.unwrap_or_else(|| panic!("the answer in line {i} left before any fdatasync of the log after the request in line {asked:?}"));
            assert!(asked < Some(synced) && synced < i);
            return;
        }
    }
    panic!("the trace has no request with its answer ({} lines)", text.lines().count());
}
