use crate::kit::*;
use alert::{Alerts, Delivered, Host, MemoryOutbox, Outbox, RETRY_FOR, Secret, SecretRef, open_channel};
use model::{DeliveryState, Occurrence};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

/// Time is data: nothing here waits.
#[derive(Default)]
struct Driven {
    now: AtomicI64,
    dead: Mutex<Vec<Occurrence>>,
}

impl Host for Driven {
    fn now(&self) -> Time {
        Time(self.now.load(Ordering::SeqCst))
    }
    fn random(&self, max: i64) -> i64 {
        max
    }
    fn is_hidden(&self, _: FindingId) -> bool {
        false
    }
    fn undelivered(&self, o: Occurrence) {
        self.dead.lock().unwrap().push(o);
    }
}

struct Bench {
    alerts: Alerts,
    host: Arc<Driven>,
    outbox: Arc<MemoryOutbox>,
}

fn resolve(r: &SecretRef) -> Result<Secret, String> {
    match r.0.as_str() {
        "env:KEY" => Ok(Secret::new(b"secret\n".to_vec())),
        other => match other.strip_prefix("file:") {
            Some(path) => std::fs::read(path).map(Secret::new).map_err(|e| e.to_string()),
            None => Err("not set".into()),
        },
    }
}

async fn bench(json: &str, outbox: Arc<MemoryOutbox>) -> Bench {
    let config = config(json);
    let channels = config
        .channels
        .iter()
        .map(|(n, c)| (n.clone(), open_channel(n, c, &resolve).unwrap()))
        .collect::<BTreeMap<_, _>>();
    let host = Arc::new(Driven::default());
    host.now.store(NINE.0, Ordering::SeqCst);
    let alerts = Alerts::open(config, channels, outbox.clone(), host.clone()).await.unwrap();
    Bench { alerts, host, outbox }
}

impl Bench {
    async fn round(&self, seconds: i64) -> Delivered {
        self.host.now.store(at(seconds).0, Ordering::SeqCst);
        self.alerts.deliver_due().await.unwrap()
    }
}

fn folder(name: &str) -> PathBuf {
    let p = std::env::temp_dir().join(format!("avouch-alert-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&p);
    std::fs::create_dir_all(&p).unwrap();
    p
}

/// A receiver that shares no code with us.
struct Receiver {
    child: Child,
    out: BufReader<ChildStdout>,
    port: u16,
}

impl Receiver {
    fn start(args: &[&str]) -> Option<Receiver> {
        let script = std::env::var("CARGO_MANIFEST_DIR").unwrap() + "/tests/receiver.py";
        let child = Command::new("python3").arg(script).args(args).stdout(Stdio::piped()).spawn();
        let Ok(mut child) = child else {
            println!("skipped: receiver: python3 is not installed");
            return None;
        };
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        Some(Receiver { child, out, port: line.trim().parse().unwrap() })
    }
    fn got(&mut self) -> serde_json::Value {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn hook(port: u16) -> String {
    format!(
        r#"{{ "channels": {{ "hook": {{ "webhook": {{ "url": "http://127.0.0.1:{port}/in?x=1", "hmac": "env:KEY", "bearer": "env:KEY", "headers": {{ "X-Team": "soc" }} }} }} }},
             "routes": {{ "r": {{ "to": [ "hook" ] }} }} }}"#
    )
}

#[tokio::test]
async fn webhook_is_retried_until_taken_and_signed() {
    let Some(mut r) = Receiver::start(&["http", "503,429:30,302,200"]) else { return };
    let b = bench(&hook(r.port), Arc::default()).await;
    b.alerts.take(&[notice(finding(), Occasion::Opened)]).await.unwrap();
    assert_eq!(b.round(0).await.receipts[0].state, DeliveryState::Failed);
    let first = r.got();
    assert!(b.round(1).await.receipts.is_empty(), "not before its time");
    assert_eq!(b.alerts.next_due().await, Some(at(2)));
    let second = b.round(2).await;
    assert!(
        second.receipts[0].answer.starts_with("HTTP 429 Too Many Requests {\"said\""),
        "{}",
        second.receipts[0].answer
    );
    assert_eq!(b.alerts.next_due().await, Some(at(32)), "Retry-After is honoured");
    r.got();
    assert_eq!(b.round(32).await.receipts[0].state, DeliveryState::Failed, "a redirect is not followed");
    r.got();
    let done = b.round(100).await;
    assert_eq!((done.receipts[0].state, done.receipts[0].attempt), (DeliveryState::Delivered, 4));
    assert_eq!(done.told, [finding().id]);
    let last = r.got();
    assert_eq!(
        (&first["body"], &first["headers"]["idempotency-key"]),
        (&last["body"], &last["headers"]["idempotency-key"]),
        "the same bytes under the same id"
    );
    assert_eq!(last["headers"]["authorization"], "Bearer secret");
    assert_eq!((last["headers"]["x-team"].as_str(), last["path"].as_str()), (Some("soc"), Some("/in?x=1")));
    assert_eq!(done.receipts[0].body_sha256, model::sha256_hex(last["body"].as_str().unwrap().as_bytes()));
    verify_signature(last["headers"]["avouch-signature"].as_str().unwrap(), last["body"].as_str().unwrap());
    assert!(b.alerts.waiting().await.is_empty());
    let p = &b.outbox.parcels().await[0];
    assert_eq!((p.deliveries.len(), p.content.is_none()), (4, true));
}

/// By Python's own hmac, as a receiver would.
#[track_caller]
fn verify_signature(header: &str, body: &str) {
    let code = "import hmac,sys,hashlib\nh=dict(p.split('=') for p in sys.argv[1].split(','))\nprint(hmac.new(b'secret',(h['t']+'.'+sys.argv[2]).encode(),hashlib.sha256).hexdigest()==h['v1'])";
    let out = Command::new("python3").args(["-c", code, header, body]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout).trim(), "True", "{header}");
}

#[tokio::test]
async fn a_down_channel_loses_nothing_for_a_day_and_then_says_so() {
    // A port that nobody listens on.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let dir = folder("down");
    let json = hook(port)
        .replace(
            r#""channels": {"#,
            &format!(
                r#""channels": {{ "file": {{ "file": {{ "path": "{}" }} }}, "#,
                dir.join("a.ndjson").display()
            ),
        )
        .replace(r#""to": [ "hook" ]"#, r#""to": [ "hook", "file" ]"#);
    let outbox: Arc<MemoryOutbox> = Arc::default();
    let b = bench(&json, outbox.clone()).await;
    let many: Vec<Notice> = (0..25).map(|n| notice(nth(n, 90), Occasion::Opened)).collect();
    b.alerts.take(&many).await.unwrap();
    let first = b.round(0).await;
    assert_eq!(
        first.receipts.iter().filter(|r| r.channel == "hook").count(),
        1,
        "a lane stops at the first failure"
    );
    assert_eq!(
        first.receipts.iter().filter(|r| r.channel == "file").count(),
        25,
        "and does not hold up the other"
    );
    assert_eq!(b.alerts.waiting().await.len(), 25);
    let mut seconds = 0;
    while let Some(next) = b.alerts.next_due().await.filter(|t| t.since(NINE) < RETRY_FOR) {
        seconds = next.since(NINE) / Time::SECOND + 1;
        b.round(seconds).await;
    }
    assert_eq!(b.alerts.waiting().await.len(), 25, "none is given up within 24 h");
    assert!(seconds > 23 * 3_600, "tried until the end: {seconds}");
    // A restart takes up where it was.
    let again = bench(&json, outbox.clone()).await;
    for n in 0..60 {
        again.round(86_400 + n * 700).await;
    }
    assert!(again.alerts.waiting().await.is_empty());
    let dead = again.host.dead.lock().unwrap();
    assert_eq!(dead.len(), 25);
    assert_eq!(
        (dead[0].about.finding_type.as_str(), dead[0].subject.resource.as_deref()),
        ("Avouch:Alert/Undelivered", Some("alerts/r/hook"))
    );
    assert!(dead.iter().all(|o| o.id == dead[0].id), "one finding per route and channel");
    let lines = std::fs::read_to_string(dir.join("a.ndjson")).unwrap();
    assert_eq!(lines.lines().count(), 25);
    for l in lines.lines() {
        assert_eq!(serde_json::from_str::<serde_json::Value>(l).unwrap()["schema"], "avouch.alert/1");
    }
}

#[tokio::test]
async fn refused_for_good_is_dead_at_once() {
    let Some(r) = Receiver::start(&["http", "400"]) else { return };
    let b = bench(&hook(r.port), Arc::default()).await;
    b.alerts.take(&[notice(finding(), Occasion::Opened)]).await.unwrap();
    let done = b.round(0).await;
    assert_eq!((done.receipts[0].state, done.told.len()), (DeliveryState::Dead, 0));
    let dead = b.host.dead.lock().unwrap();
    assert!(dead[0].about.why.contains("HTTP 400 Bad Request"), "{}", dead[0].about.why);
}

#[tokio::test]
async fn a_half_line_in_the_file_is_closed_first() {
    let path = folder("half").join("a.ndjson");
    std::fs::write(&path, "{\"torn\":").unwrap();
    let json = format!(
        r#"{{ "channels": {{ "f": {{ "file": {{ "path": "{}" }} }} }}, "routes": {{ "r": {{ "to": [ "f" ] }} }} }}"#,
        path.display()
    );
    let b = bench(&json, Arc::default()).await;
    b.alerts.take(&[notice(finding(), Occasion::Opened)]).await.unwrap();
    assert!(b.round(0).await.receipts[0].answer.contains("at offset 9 of"));
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(serde_json::from_str::<serde_json::Value>(text.lines().nth(1).unwrap()).is_ok());
    assert!(
        open_channel(
            "f",
            &config(r#"{ "channels": { "f": { "file": { "path": "/proc/nowhere/x" } } } }"#).channels["f"],
            &resolve
        )
        .is_err()
    );
}

fn mail(port: u16, tls: &str, extra: &str) -> String {
    format!(
        r#"{{ "channels": {{ "mail": {{ "smtp": {{ "host": "localhost", "port": {port}, "tls": "{tls}", "from": "Avouch <avouch@example.org>",
             "to": [ "soc@example.org", "Ana <ana@example.org>" ] {extra} }} }} }},
             "routes": {{ "r": {{ "to": [ "mail" ] }} }} }}"#
    )
}

#[tokio::test]
async fn mail_is_retried_and_its_reply_is_the_receipt() {
    let Some(mut r) = Receiver::start(&["smtp", "451,250"]) else { return };
    let b = bench(&mail(r.port, "none", ""), Arc::default()).await;
    let evil = Finding { title: "é x\r\nBcc: all@example.org".into(), ..finding() };
    b.alerts.take(&[notice(evil, Occasion::Opened)]).await.unwrap();
    assert_eq!(b.round(0).await.receipts[0].state, DeliveryState::Failed);
    let first = r.got();
    let done = b.round(60).await;
    assert_eq!(done.receipts[0].state, DeliveryState::Delivered);
    assert_eq!(done.receipts[0].answer, "250 2.0.0 Ok: queued as A1B2C3");
    let got = r.got();
    assert_eq!(got["subject"], "[CRITICAL] é x\\r\\nBcc: all@example.org · 111122223333 eu-west-2");
    assert_eq!((&got["id"], &got["text"]), (&first["id"], &first["text"]));
    assert_eq!(got["to"].as_array().unwrap().len(), 2);
    assert!(!got["headers"].to_string().contains("bcc"), "no header injection: {}", got["headers"]);
    assert!(got["html"].as_str().unwrap().contains("<h2>[CRITICAL] é x\\r\\nBcc"));
}

#[tokio::test]
async fn mail_over_starttls_with_a_private_ca_and_login() {
    let dir = folder("tls");
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
        ])
        .args(["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-out")
        .arg(&cert)
        .arg("-keyout")
        .arg(&key)
        .stderr(Stdio::null())
        .status();
    if !made.is_ok_and(|s| s.success()) {
        println!("skipped: starttls: openssl is not installed");
        return;
    }
    let Some(mut r) = Receiver::start(&["smtp", "250", cert.to_str().unwrap(), key.to_str().unwrap()]) else {
        return;
    };
    // Without the CA: not trusted, nothing is sent, and it is retried.
    let stranger = bench(&mail(r.port, "starttls", ""), Arc::default()).await;
    stranger.alerts.take(&[notice(finding(), Occasion::Opened)]).await.unwrap();
    let refused = stranger.round(0).await;
    assert_eq!(refused.receipts[0].state, DeliveryState::Failed);
    assert!(refused.receipts[0].answer.contains("certificate"), "{}", refused.receipts[0].answer);
    r.got();
    let login = format!(r#", "ca": "file:{}", "user": "avouch", "password": "env:KEY""#, cert.display());
    let b = bench(&mail(r.port, "starttls", &login), Arc::default()).await;
    b.alerts.take(&[notice(finding(), Occasion::Opened)]).await.unwrap();
    let done = b.round(0).await;
    assert_eq!(done.receipts[0].state, DeliveryState::Delivered, "{}", done.receipts[0].answer);
    let got = r.got();
    assert_eq!((got["tls"].as_bool(), got["auth"].as_str()), (Some(true), Some("\0avouch\0secret")));
}

#[tokio::test]
async fn test_and_acknowledge() {
    let path = folder("test").join("a.ndjson");
    let json = format!(
        r#"{{ "channels": {{ "f": {{ "file": {{ "path": "{}" }} }} }}, "routes": {{ "soc": {{ "to": [ "f" ] }} }} }}"#,
        path.display()
    );
    let b = bench(&json, Arc::default()).await;
    let answers = b.alerts.test("soc").await.unwrap();
    assert_eq!((answers.len(), answers[0].state), (1, DeliveryState::Delivered));
    let line: serde_json::Value =
        serde_json::from_str(std::fs::read_to_string(&path).unwrap().lines().next().unwrap()).unwrap();
    assert!(line["title"].as_str().unwrap().starts_with("TEST "), "{line}");
    let e = b.alerts.test("so").await.unwrap_err();
    assert_eq!((e.code(), e.hint().as_str()), ("alert.unknown_route", "did you mean `soc`?"));

    b.alerts.take(&[notice(finding(), Occasion::Opened)]).await.unwrap();
    let id = b.alerts.waiting().await[0].alerts[0].id.clone();
    let acked = b.alerts.acknowledge(&id, "ana", "on it").await.unwrap();
    assert_eq!(acked[0].acknowledged.as_ref().unwrap().who, "ana");
    assert!(b.round(0).await.receipts.is_empty(), "somebody knows, so it need not go out any more");
    assert_eq!(b.alerts.acknowledge("nope", "ana", "").await.unwrap_err().code(), "alert.unknown");
    let all = alert::alerts_of(&b.outbox.parcels().await);
    let occasions: std::collections::BTreeSet<&str> = all.iter().map(|a| a.occasion.as_str()).collect();
    assert_eq!(occasions.into_iter().collect::<Vec<_>>(), ["opened", "test"]);
    assert_eq!(b.outbox.load().await.unwrap().parcels.len(), 0);
}

#[tokio::test]
async fn the_loop_delivers_and_stops() {
    let path = folder("loop").join("a.ndjson");
    let json = format!(
        r#"{{ "channels": {{ "f": {{ "file": {{ "path": "{}" }} }} }}, "routes": {{ "soc": {{ "to": [ "f" ] }} }} }}"#,
        path.display()
    );
    let b = Arc::new(bench(&json, Arc::default()).await);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let running = {
        let b = b.clone();
        tokio::spawn(async move { b.alerts.run(stopped, move |ids| drop(tell.send(ids))).await })
    };
    b.alerts.take(&[notice(finding(), Occasion::Opened)]).await.unwrap();
    assert_eq!(told.recv().await, Some(vec![finding().id]));
    stop.send(true).unwrap();
    running.await.unwrap();
}

#[test]
fn secrets_do_not_print() {
    let s = format!("{:?}", Secret::new(b"hunter2".to_vec()));
    assert!(!s.contains("hunter2"));
    assert_eq!(SecretRef("hunter2".into()).to_string(), "(not a reference)");
    let c = config(
        r#"{ "channels": { "h": { "webhook": { "url": "https://u:hunter2@h/", "hmac": "hunter2", "bearer": "hunter2", "secret_url": "hunter2", "tls": { "key": "hunter2" } } },
                           "m": { "smtp": { "host": "h", "from": "a@b.c", "to": [ "a@b.c" ], "user": "u", "password": "hunter2" } } } }"#,
    );
    let mut quiet = c.clone();
    quiet.channels.get_mut("h").unwrap().webhook.as_mut().unwrap().url.clear();
    let text = format!("{quiet:?} {}", serde_json::to_string(&quiet).unwrap());
    assert!(!text.contains("hunter2"), "{text}");
    let problems: String = c.check().iter().map(|p| format!("{p} {}", p.hint)).collect();
    assert!(
        !problems.contains("hunter2") && problems.contains("has a password in its address"),
        "{problems}"
    );
    let missing =
        open_channel("h", &config(&hook(1).replace("env:KEY", "env:NONE")).channels["hook"], &resolve);
    let Err(e) = missing else { panic!("opened without its secret") };
    assert_eq!(
        (e.code(), e.to_string().as_str()),
        ("alert.secret", "channel `h`: cannot read `env:NONE`: not set")
    );
}
