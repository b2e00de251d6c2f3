//! Readers and receivers by others: PyArrow and DuckDB on our files, a webhook and a mail server for our alerts.

use avouch_e2e::http::{Reply, Server};
use avouch_e2e::peer::python;
use avouch_e2e::scratch::files_below;
use avouch_e2e::{PATIENCE, Scratch, Serve, avouch, kit, skipped, text, wait_for, wait_until};
use serde_json::Value;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

const N: u64 = 2_000;

/// A sealed vault with one dataset, stopped; the SHA-256 over all raw records in order is the same for whoever reads it right.
fn sealed(scratch: &Scratch, encryption: &str) -> Vec<String> {
    let yaml = format!(
        "server: {{ listen: \"127.0.0.1:0\" }}\ndatasets: {{ app.test: {{ encryption: {encryption} }} }}\nsources:\n  api: {{ https: {{ listen: \"127.0.0.1:0\" }}, dataset: app.test }}\n"
    );
    let serve = Serve::start(scratch, &yaml);
    let key = serve.key("c1", "api");
    let records: Vec<String> =
        (0..N).map(|n| format!("{{\"n\":{n},\"user\":\"zoë\",\"message\":\"PLANTED-{n}\"}}")).collect();
    for part in records.chunks(500) {
        serve.post("api", &key, "application/x-ndjson", part.join("\n")).is(200);
    }
    assert_eq!(serve.events("app.test"), N);
    assert_eq!(serve.terminate(), 0);
    records
}

/// Opens segments with the key-encryption key alone, by the documented wrap: no code of ours.
const READ_PME: &str = r#"
import base64, hashlib, json, sys
from pathlib import Path
import pyarrow as pa, pyarrow.parquet as pq, pyarrow.parquet.encryption as pe
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
vault, kek, dataset = Path(sys.argv[1]), bytes.fromhex(Path(sys.argv[2]).read_text().strip()), sys.argv[3]
vid = json.loads((vault / "vault.json").read_text())["vault"]
wraps = [p.read_bytes() for p in (vault / "keys").glob("*.wrap")]

def dek(segment):
    context = json.dumps({"dataset": dataset, "segment": segment, "vault": vid}, sort_keys=True, separators=(",", ":")).encode()
    for w in wraps:
        try:
            return AESGCM(kek).decrypt(w[1:13], w[13:], context)
        except Exception:
            pass
    sys.exit(f"no wrap opens for {segment}")

def read(path, key, prefix):
    return pq.ParquetFile(path, decryption_properties=pe.create_decryption_properties(key, aad_prefix=prefix)).read()

paths = sorted((vault / "data").glob(f"dataset={dataset}/**/*.parquet"))
rows = []
for p in paths:
    segment = p.stem
    key, prefix = dek(segment), f"{vid}/{dataset}/{segment}".encode()
    rows += read(p, key, prefix).select(["av_seq", "raw"]).to_pylist()
    for wrong_key, wrong_prefix in [(bytes(32), prefix), (key, b"another/prefix"), (key, f"{vid}/{dataset}/other".encode())]:
        try:
            read(p, wrong_key, wrong_prefix)
        except Exception:
            continue
        sys.exit("it opens with a wrong key or prefix")
    try:
        pq.ParquetFile(p)
        sys.exit("it opens without a key")
    except Exception:
        pass
rows.sort(key=lambda r: r["av_seq"])
print(json.dumps({"rows": len(rows), "sha256": hashlib.sha256(b"".join(r["raw"] for r in rows)).hexdigest(), "files": len(paths)}))
"#;

/// SHA-256 by the machine's own tool.
fn sha256(scratch: &Scratch, bytes: &[u8]) -> String {
    let path = scratch.write("to-hash", bytes);
    let out = Command::new("sha256sum").arg(path).output().expect("sha256sum runs");
    String::from_utf8_lossy(&out.stdout).split(' ').next().unwrap_or_default().to_owned()
}

#[test]
fn pyarrow_reads_an_encrypted_segment_with_its_key() {
    let name = "peers::pyarrow_reads_an_encrypted_segment_with_its_key";
    if kit("venv/bin/python").is_none() {
        return skipped(name, "no Python in the kit");
    }
    let scratch = Scratch::new("pme");
    let records = sealed(&scratch, "pme");
    let script = scratch.write("read.py", READ_PME);
    let (vault, kek) = (scratch.join("data/vault"), scratch.join("data/secret/kek"));
    let said = python(&script, &[&vault.display().to_string(), &kek.display().to_string(), "app.test"])
        .expect("there is a Python")
        .exits(0);
    let v: Value = said.json();
    assert_eq!(v["rows"], N, "{v}");
    assert_eq!(text(&v, "/sha256"), sha256(&scratch, records.concat().as_bytes()), "the records are others");
    // What was planted stands nowhere in clear.
    for file in files_below(&vault) {
        let bytes = std::fs::read(&file).expect("it can be read");
        let is_there = bytes.windows(8).any(|w| w == b"PLANTED-");
        assert!(!is_there, "{} holds a record in clear", file.display());
    }
}

#[test]
fn duckdb_reads_an_unencrypted_dataset() {
    let name = "peers::duckdb_reads_an_unencrypted_dataset";
    if kit("venv/bin/python").is_none() {
        return skipped(name, "no Python in the kit");
    }
    let scratch = Scratch::new("sse");
    sealed(&scratch, "sse");
    let script = scratch.write(
        "duck.py",
        r#"
import duckdb, json, sys
q = f"select count(*) n, count(distinct av_seq) seqs, min(av_seq) a, max(av_seq) b, sum(octet_length(raw)) bytes, count(distinct json_extract_string(decode(raw), '$.n')) ns, min(av_received)::varchar t, any_value(av_source) src from read_parquet('{sys.argv[1]}/data/dataset=app.test/**/*.parquet', hive_partitioning=true)"
r = duckdb.sql(q)
print(json.dumps(dict(zip(r.columns, r.fetchone())), default=str))
"#,
    );
    let vault = scratch.join("data/vault").display().to_string();
    let theirs = python(&script, &[&vault]).expect("there is a Python").exits(0).json();
    let data = scratch.data().display().to_string();
    let ours = avouch(&scratch, &["sql", "select count(*) as n, count(distinct av_seq) as seqs, min(av_seq) as a, max(av_seq) as b, sum(character_length(encode(raw, 'hex')) / 2) as bytes, count(distinct json_get(raw, 'n')) as ns from \"app.test\"", "-o", "json", "--data-dir", &data]).ok().items();
    for column in ["n", "seqs", "a", "b", "bytes", "ns"] {
        assert_eq!(
            theirs[column].to_string(),
            ours[0][column].to_string(),
            "{column}: {theirs} and {}",
            ours[0]
        );
    }
    assert_eq!(ours[0]["n"], N);
    assert_eq!(text(&theirs, "/src"), "api");
}

/// One JSON object per message on its standard output.
const MAIL: &str = r#"
import email, email.policy, json, sys, time
from aiosmtpd.controller import Controller
class Box:
    refused = 0
    async def handle_DATA(self, server, session, envelope):
        if Box.refused == 0:
            Box.refused = 1
            return "451 4.3.0 try again later"
        m = email.message_from_bytes(envelope.content, policy=email.policy.default)
        parts = [p.get_content() for p in m.walk() if not p.is_multipart()]
        print(json.dumps({"from": envelope.mail_from, "to": envelope.rcpt_tos, "subject": m["subject"], "parts": parts}), flush=True)
        return "250 2.0.0 kept as 42"
c = Controller(Box(), hostname="127.0.0.1", port=0)
class Any(Controller):
    pass
import socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); port = s.getsockname()[1]; s.close()
c = Controller(Box(), hostname="127.0.0.1", port=port)
c.start()
print(json.dumps({"port": port}), flush=True)
while True:
    time.sleep(1)
"#;

struct Mail {
    child: Child,
    out: std::path::PathBuf,
}

impl Mail {
    fn lines(&self) -> Vec<Value> {
        let said = std::fs::read_to_string(&self.out).unwrap_or_default();
        said.lines().filter_map(|l| serde_json::from_str(l).ok()).collect()
    }
}

impl Drop for Mail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn mail(scratch: &Scratch) -> Option<Mail> {
    let script = scratch.write("mail.py", MAIL);
    let out = scratch.join("mail.out");
    let file = std::fs::File::create(&out).expect("a file for mails");
    let errors = std::fs::File::create(scratch.join("mail.err")).expect("a file for errors");
    let child = Command::new(kit("venv/bin/python")?)
        .arg(script)
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(errors)
        .spawn()
        .expect("Python runs");
    let mail = Mail { child, out };
    wait_until("the mail server listens", PATIENCE, || !mail.lines().is_empty());
    Some(mail)
}

const STOP: &str = r#"{"Records":[{"eventVersion":"1.08","eventTime":"TIME","eventSource":"cloudtrail.amazonaws.com","eventName":"StopLogging","eventID":"00000000-0000-4000-8000-0000000000aa","awsRegion":"eu-west-2","sourceIPAddress":"198.51.100.7","userIdentity":{"type":"IAMUser","userName":"<ana>\r\nBcc: x@example.org","arn":"arn:aws:iam::111122223333:user/ana","accountId":"111122223333"},"requestParameters":{"name":"arn:aws:cloudtrail:eu-west-2:111122223333:trail/main"}}]}"#;

/// A finding reaches a webhook and a mailbox, with the receivers' own words as receipts, and so does its end.
#[test]
fn alerts_reach_webhook_and_mailbox_and_tell_when_it_is_over() {
    let scratch = Scratch::new("alerts");
    let seen: Arc<Mutex<Vec<(Value, bool)>>> = Arc::default();
    let hook = {
        let seen = Arc::clone(&seen);
        Server::start(move |asked| {
            let mut seen = seen.lock().expect("no handler panics");
            let Ok(body) = serde_json::from_slice(&asked.body) else {
                return Reply::Answer(400, Vec::new(), b"no JSON".to_vec());
            };
            // Signed, with its time.
            let is_signed =
                asked.header("avouch-signature").is_some_and(|s| s.starts_with("t=") && s.contains(",v1="));
            seen.push((body, is_signed));
            // The first attempt fails: it must be tried again.
            if seen.len() == 1 {
                Reply::Answer(500, Vec::new(), b"not now".to_vec())
            } else {
                Reply::Answer(200, Vec::new(), b"noted as 7".to_vec())
            }
        })
    };
    let mail = mail(&scratch);
    if mail.is_none() {
        skipped("peers::alerts_reach_the_mailbox", "no aiosmtpd in the kit");
    }
    let port = mail.as_ref().and_then(|m| m.lines()[0]["port"].as_u64()).unwrap_or(25);
    let to = if mail.is_some() { "[ hook, mail ]" } else { "[ hook ]" };
    let secret = scratch.write("hmac", "a shared secret");
    let yaml = format!(
        r#"
server: {{ listen: "127.0.0.1:0" }}
sources:
  trail: {{ https: {{ listen: "127.0.0.1:0" }}, decode: [ cloudtrail ], dataset: aws.cloudtrail }}
alerts:
  channels:
    hook: {{ webhook: {{ url: "http://{}/alert", hmac: "file:{}" }} }}
    mail: {{ smtp: {{ host: 127.0.0.1, port: {port}, tls: none, from: avouch@example.org, to: [ soc@example.org ] }} }}
  routes:
    soc: {{ match: {{ severity: low }}, to: {to} }}
"#,
        hook.address,
        secret.display()
    );
    let serve = Serve::start(&scratch, &yaml);
    let key = serve.key("c1", "trail");
    let now = Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"]).output().expect("date runs");
    let stop = STOP.replace("TIME", String::from_utf8_lossy(&now.stdout).trim());
    serve.post("trail", &key, "application/json", stop).is(200);

    let finding = wait_for("a finding about the stopped trail", PATIENCE, || {
        let items = serve.run(&["findings", "list", "rule=trail_stopped", "-o", "json"]).ok().items();
        items.first().cloned()
    });
    let id = text(&finding, "/id").to_owned();
    let told = |occasion: &str| -> Vec<Value> {
        let seen = seen.lock().expect("no handler panics");
        let all = seen.iter().flat_map(|(b, _)| b["findings"].as_array().cloned().unwrap_or_default());
        all.filter(|f| text(f, "/id") == id && text(f, "/occasion") == occasion).collect()
    };
    wait_until("the webhook is told twice: refused once, then taken", PATIENCE, || told("opened").len() >= 2);
    assert!(
        seen.lock().expect("no handler panics").iter().all(|(_, is_signed)| *is_signed),
        "a message without its signature"
    );
    let opened = &told("opened")[0];
    for part in ["title", "why", "fix", "type", "band"] {
        assert!(!text(opened, &format!("/{part}")).is_empty(), "the message has no {part}: {opened}");
    }
    let mails =
        || mail.as_ref().map(|m| m.lines().into_iter().skip(1).collect::<Vec<Value>>()).unwrap_or_default();
    if mail.is_some() {
        wait_until("the mail arrives after the server's `try again`", PATIENCE, || !mails().is_empty());
        let m = &mails()[0];
        assert_eq!((text(m, "/from"), text(m, "/to/0")), ("avouch@example.org", "soc@example.org"), "{m}");
        assert_eq!(m["to"].as_array().map(Vec::len), Some(1), "a name in an event added a receiver: {m}");
        assert!(
            !text(m, "/subject").contains(['\r', '\n']) && text(m, "/subject").contains("HIGH")
                || text(m, "/subject").contains("CRITICAL"),
            "{m}"
        );
        assert_eq!(m["parts"].as_array().map(Vec::len), Some(2), "a text and an HTML part: {m}");
    }
    // Receipts are the receivers' own answers, and are kept.
    let channels = if mail.is_some() {
        vec![("hook", "noted as 7"), ("mail", "42")]
    } else {
        vec![("hook", "noted as 7")]
    };
    for (channel, words) in &channels {
        wait_until(&format!("{channel}: delivered with a receipt"), PATIENCE, || {
            let alerts = serve.run(&["alerts", "list", "-o", "json"]).ok().items();
            alerts.iter().any(|a| {
                text(a, "/channel") == *channel
                    && text(a, "/state").eq_ignore_ascii_case("delivered")
                    && a["deliveries"].to_string().contains(words)
            })
        });
    }
    let kept = serve.count("select count(*) from \"avouch.delivery\"");
    assert!(kept >= channels.len() as u64, "receipts are not in the vault");
    wait_until("the finding is marked as told", PATIENCE, || {
        let items = serve.run(&["findings", "show", &id, "-o", "json"]).ok().items();
        text(&items[0], "/workflow").eq_ignore_ascii_case("notified")
    });

    // Over: the same channels hear it, by the same finding.
    serve.run(&["findings", "resolve", &id, "--reason", "the trail is back"]).ok();
    wait_until("the webhook hears that it is over", PATIENCE, || !told("recovered").is_empty());
    if mail.is_some() {
        wait_until("the mailbox hears that it is over", PATIENCE, || {
            mails().iter().any(|m| text(m, "/subject").contains("RECOVERED"))
        });
    }
    // A test message goes the real way, and says what it is.
    serve.run(&["alerts", "test", "soc"]).ok();
    wait_until("the test message arrives", PATIENCE, || {
        seen.lock().expect("no handler panics").iter().any(|(b, _)| b["test"] == true)
    });
    assert_eq!(serve.terminate(), 0);
}

/// A hidden finding tells nobody, and a receiver that was away is told when it is back, over a restart too.
#[test]
fn an_alert_survives_a_restart_and_a_deaf_receiver() {
    let scratch = Scratch::new("deaf");
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let is_deaf = Arc::new(Mutex::new(true));
    let hook = {
        let (seen, is_deaf) = (Arc::clone(&seen), Arc::clone(&is_deaf));
        Server::start(move |asked| {
            if *is_deaf.lock().expect("no handler panics") {
                return Reply::Close;
            }
            let key = asked.header("idempotency-key").unwrap_or_default().to_owned();
            seen.lock().expect("no handler panics").push(key);
            Reply::Answer(200, Vec::new(), b"ok".to_vec())
        })
    };
    let yaml = format!(
        "server: {{ listen: \"127.0.0.1:0\" }}\nsources:\n  trail: {{ https: {{ listen: \"127.0.0.1:0\" }}, decode: [ cloudtrail ], dataset: aws.cloudtrail }}\nalerts:\n  channels:\n    hook: {{ webhook: {{ url: \"http://{}/\" }} }}\n  routes:\n    soc: {{ match: {{ severity: low }}, to: [ hook ] }}\n",
        hook.address
    );
    let serve = Serve::start(&scratch, &yaml);
    let key = serve.key("c1", "trail");
    serve.post("trail", &key, "application/json", STOP.replace("TIME", "2026-01-27T10:30:00Z")).is(200);
    let alerts = |serve: &Serve| serve.run(&["alerts", "list", "-o", "json"]).ok().items();
    wait_until("an alert was tried and not taken", PATIENCE, || {
        alerts(&serve).iter().any(|a| a["attempts"].as_u64().unwrap_or(0) >= 1)
    });
    serve.kill9();
    *is_deaf.lock().expect("no handler panics") = false;
    let serve = Serve::again(&scratch);
    wait_until("it is delivered after the restart", std::time::Duration::from_secs(120), || {
        alerts(&serve).iter().any(|a| text(a, "/state").eq_ignore_ascii_case("delivered"))
    });
    let keys = seen.lock().expect("no handler panics").clone();
    assert!(
        !keys.is_empty() && keys.iter().all(|k| !k.is_empty()),
        "a message without a key to know it again by: {keys:?}"
    );
}
