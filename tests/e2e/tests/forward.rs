//! Sinks against a strict `_bulk` server and against rsyslog: what arrives is what was sent, and what cannot be sent is named.

use avouch_e2e::http::{Asked, Reply, Server};
use avouch_e2e::peer::Rsyslogd;
use avouch_e2e::{PATIENCE, Scratch, Serve, number, skipped, text, wait_until};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Retries back off for a while until everything is through.
const DELIVERY: Duration = Duration::from_secs(120);

/// An index that answers as its script says: written from the vendor's page on `_bulk`, strict about everything it gets.
#[derive(Default)]
struct Index {
    /// `_id` → document.
    documents: BTreeMap<String, Value>,
    tries: BTreeMap<String, u32>,
    requests: u64,
    /// Breaches of the protocol by the sender.
    breaches: Vec<String>,
    /// `n` whose documents are refused for their content.
    refuses: Option<u64>,
    conflicts: u64,
}

fn n_of(document: &Value) -> u64 {
    document.pointer("/payload/n").and_then(Value::as_u64).unwrap_or(u64::MAX)
}

impl Index {
    fn answer(&mut self, asked: &Asked) -> Reply {
        self.requests += 1;
        let json_answer = |status, v: &Value| {
            Reply::Answer(
                status,
                vec![("content-type", "application/json".to_owned())],
                v.to_string().into_bytes(),
            )
        };
        if asked.method != "POST" || !asked.path.split('?').next().unwrap_or_default().ends_with("/_bulk") {
            self.breaches.push(format!("{} {}", asked.method, asked.path));
            return json_answer(405, &json!({ "error": "only _bulk" }));
        }
        match asked.header("content-type") {
            Some(t) if t.starts_with("application/x-ndjson") || t.starts_with("application/json") => {}
            other => self.breaches.push(format!("content type {other:?}")),
        }
        // The node as a whole is overloaded, then away.
        match self.requests {
            1 => {
                return json_answer(
                    429,
                    &json!({ "error": { "type": "circuit_breaking_exception", "reason": "busy" }, "status": 429 }),
                );
            }
            2 => {
                return Reply::Answer(
                    503,
                    vec![("retry-after", "1".to_owned())],
                    b"<html>proxy</html>".to_vec(),
                );
            }
            3 => return Reply::Close,
            _ => {}
        }
        let body = String::from_utf8_lossy(&asked.body).into_owned();
        if !body.ends_with('\n') {
            self.breaches.push("the body does not end in a new line".to_owned());
        }
        let lines: Vec<&str> = body.lines().collect();
        if !lines.len().is_multiple_of(2) {
            self.breaches.push("an action without its document".to_owned());
        }
        let mut items = Vec::new();
        for pair in lines.chunks(2) {
            let (action, document) = (
                serde_json::from_str::<Value>(pair[0]),
                pair.get(1).map(|d| serde_json::from_str::<Value>(d)),
            );
            let (Ok(action), Some(Ok(document))) = (action, document) else {
                self.breaches.push(format!("no JSON: {pair:?}"));
                continue;
            };
            let id = text(&action, "/create/_id").to_owned();
            if id.is_empty()
                || text(&action, "/create/_index").is_empty()
                || !document["@timestamp"].is_string()
            {
                self.breaches.push(format!("no create with id and index, or no time: {action} {document}"));
            }
            items.push(self.item(id, document));
        }
        // Stored, and then the connection breaks before the answer: the sender must send again and find its documents there.
        if self.requests == 5 {
            return Reply::Close;
        }
        // An answer that is short of one item proves nothing about the others.
        if self.requests == 6 && items.len() > 1 {
            items.pop();
        }
        let errors = items.iter().any(|i| number(i, "/create/status") >= 300);
        let pretty =
            serde_json::to_vec_pretty(&json!({ "took": 3, "errors": errors, "items": items })).expect("JSON");
        Reply::Answer(200, vec![("content-type", "application/json".to_owned())], pretty)
    }

    fn item(&mut self, id: String, document: Value) -> Value {
        let n = n_of(&document);
        let tries = self.tries.entry(id.clone()).or_default();
        *tries += 1;
        let problem = |status: u16, kind: &str, reason: &str| json!({ "create": { "_id": id, "status": status, "error": { "type": kind, "reason": reason } } });
        if self.documents.contains_key(&id) {
            self.conflicts += 1;
            return problem(409, "version_conflict_engine_exception", "document already exists");
        }
        if self.refuses.is_some_and(|every| n % every == 3) {
            return problem(400, "document_parsing_exception", "failed to parse field [payload.n]");
        }
        if n % 20 == 7 && *tries <= 2 {
            return problem(429, "es_rejected_execution_exception", "queue full");
        }
        self.documents.insert(id.clone(), document);
        json!({ "create": { "_id": id, "status": 201, "result": "created" } })
    }
}

#[test]
fn bulk_delivery_ends_with_everything_that_can_be_taken() {
    let scratch = Scratch::new("bulk");
    let index = Arc::new(Mutex::new(Index { refuses: Some(100), ..Index::default() }));
    let server = {
        let index = Arc::clone(&index);
        Server::start(move |asked| index.lock().expect("no handler panics").answer(&asked))
    };
    let yaml = format!(
        r#"
server: {{ listen: "127.0.0.1:0" }}
sources:
  api: {{ https: {{ listen: "127.0.0.1:0" }}, dataset: app.test }}
sinks:
  es:
    elasticsearch: {{ urls: [ "http://{}" ], index: "logs-{{dataset}}-x", gzip: false }}
    datasets: [ app.test ]
    batch: {{ events: 200, age: 100ms }}
    retry: {{ base: 50ms, cap: 500ms, probe: 1s }}
"#,
        server.address
    );
    let serve = Serve::start(&scratch, &yaml);
    let key = serve.key("c1", "api");
    let n = 5_000u64;
    let numbers: Vec<u64> = (0..n).collect();
    for part in numbers.chunks(250) {
        let body: Vec<String> =
            part.iter().map(|n| format!("{{\"n\":{n},\"word\":\"zoë \\u0000 {n}\"}}")).collect();
        serve.post("api", &key, "application/x-ndjson", body.join("\n")).is(200);
    }
    let refused: BTreeSet<u64> = (0..n).filter(|n| n % 100 == 3).collect();
    let state =
        || serve.run(&["sink", "list", "-o", "json"]).ok().items().into_iter().next().unwrap_or_default();
    wait_until("everything is delivered or named", DELIVERY, || {
        index.lock().expect("no handler panics").documents.len() as u64 == n - refused.len() as u64
            && number(&state(), "/waiting") == 0
    });
    {
        let index = index.lock().expect("no handler panics");
        assert!(index.breaches.is_empty(), "the sender breaks the protocol: {:?}", index.breaches);
        let there: BTreeSet<u64> = index.documents.values().map(n_of).collect();
        let want: BTreeSet<u64> = (0..n).filter(|n| !refused.contains(n)).collect();
        assert_eq!(there, want, "the index holds another set");
        assert!(index.conflicts > 0, "the script never made a conflict");
        // Our facts beside the record, never inside it.
        let one = index.documents.values().next().expect("there are documents");
        assert_eq!(text(one, "/avouch/source"), "api", "{one}");
        assert_eq!(text(one, "/event/dataset"), "app.test", "{one}");
    }
    // The ids are those of the vault.
    let ours: BTreeSet<String> =
        serve.sql("select av_id from \"app.test\"").iter().map(|r| text(r, "/av_id").to_owned()).collect();
    assert!(
        index.lock().expect("no handler panics").documents.keys().all(|id| ours.contains(id)),
        "an `_id` that no event has"
    );
    // Dead letters are exactly the refused ones, with the target's own words.
    let letters = || serve.run(&["redrive", "list", "--sink", "es", "-o", "json"]).ok().items();
    wait_until("every refused event is a dead letter", PATIENCE, || letters().len() == refused.len());
    let by_seq: BTreeMap<u64, u64> = serve
        .sql("select av_seq as seq, cast(json_get(raw, 'n') as bigint) as n from \"app.test\"")
        .iter()
        .map(|r| (number(r, "/seq"), number(r, "/n")))
        .collect();
    let dead: BTreeSet<u64> = letters().iter().map(|l| by_seq[&number(l, "/seq")]).collect();
    assert_eq!(dead, refused, "other dead letters than the 400s");
    for l in letters() {
        assert_eq!((text(&l, "/class"), text(&l, "/code")), ("400", "document_parsing_exception"), "{l}");
    }
    let s = state();
    assert_eq!(
        (text(&s, "/state"), number(&s, "/dead"), number(&s, "/done")),
        ("running", refused.len() as u64, n - refused.len() as u64),
        "{s}"
    );
    let table = serve.run(&["redrive", "list"]).ok().out();
    assert!(
        table.contains("es") && table.contains("document_parsing_exception")
            || table.contains("failed to parse"),
        "the list does not say why:\n{table}"
    );
    let told = serve.run(&["findings", "list", "type=Policy:Sink/Refused", "-o", "json"]).ok().items();
    assert_eq!(told.len(), 1, "nobody is told about dead letters");

    // The cause on the other side is mended: the dead letters are sent again, once each.
    index.lock().expect("no handler panics").refuses = None;
    let again = serve.run(&["redrive", "run", "--sink", "es", "--reason", "the mapping is mended"]);
    assert_eq!(again.code, 0, "{again}");
    wait_until("the dead letters arrived", DELIVERY, || {
        index.lock().expect("no handler panics").documents.len() as u64 == n
    });
    // A stop keeps the place: nothing is sent again from the start.
    let before = index.lock().expect("no handler panics").conflicts;
    assert_eq!(serve.terminate(), 0);
    let serve = Serve::again(&scratch);
    let key = serve.key("c2", "api");
    serve.post("api", &key, "application/json", "{\"n\":1000000}").is(200);
    wait_until("the next event arrives after a restart", DELIVERY, || {
        index.lock().expect("no handler panics").documents.len() as u64 == n + 1
    });
    let repeated = index.lock().expect("no handler panics").conflicts - before;
    assert!(repeated < 500, "{repeated} of {n} events were sent again after a clean stop");
}

#[test]
fn wrong_credentials_hold_and_lose_nothing() {
    let scratch = Scratch::new("hold");
    let state: Arc<Mutex<(bool, BTreeSet<u64>)>> = Arc::default();
    let server = {
        let state = Arc::clone(&state);
        Server::start(move |asked| {
            let mut state = state.lock().expect("no handler panics");
            let is_known = asked.header("authorization") == Some("ApiKey right");
            if !is_known {
                return Reply::Answer(401, Vec::new(), b"{\"error\":{\"type\":\"security_exception\",\"reason\":\"who are you\"},\"status\":401}".to_vec());
            }
            state.0 = true;
            let body = String::from_utf8_lossy(&asked.body).into_owned();
            let numbers: Vec<u64> = body
                .lines()
                .skip(1)
                .step_by(2)
                .filter_map(|d| serde_json::from_str(d).ok())
                .map(|d: Value| n_of(&d))
                .collect();
            state.1.extend(&numbers);
            let items: Vec<Value> = numbers.iter().map(|_| json!({ "create": { "status": 201 } })).collect();
            Reply::Answer(
                200,
                Vec::new(),
                json!({ "errors": false, "items": items }).to_string().into_bytes(),
            )
        })
    };
    let secret = scratch.write("es.key", "wrong");
    let yaml = format!(
        "server: {{ listen: \"127.0.0.1:0\" }}\nsources:\n  api: {{ https: {{ listen: \"127.0.0.1:0\" }}, dataset: app.test }}\nsinks:\n  es:\n    elasticsearch: {{ urls: [ \"http://{}\" ], gzip: false, auth: {{ api_key: \"file:{}\" }} }}\n    datasets: [ app.test ]\n    batch: {{ age: 100ms }}\n    retry: {{ base: 50ms, cap: 500ms, probe: 1s }}\n",
        server.address,
        secret.display()
    );
    let serve = Serve::start(&scratch, &yaml);
    let key = serve.key("c1", "api");
    for n in 0..10 {
        serve.post("api", &key, "application/json", format!("{{\"n\":{n}}}")).is(200);
    }
    let sink = || serve.run(&["sink", "list", "-o", "json"]).ok().items().remove(0);
    wait_until("the sink is held, saying why", PATIENCE, || {
        text(&sink(), "/state") == "held" && text(&sink(), "/why").contains("401")
    });
    assert_eq!(number(&sink(), "/dead"), 0, "a wrong key made dead letters");
    wait_until("somebody is told", PATIENCE, || {
        !serve.run(&["findings", "list", "type=Policy:Sink/Held", "-o", "json"]).ok().items().is_empty()
    });
    // The secret is put right: it goes on by itself.
    scratch.write("es.key", "right");
    wait_until("everything arrives", DELIVERY, || state.lock().expect("no handler panics").1.len() == 10);
    wait_until("the sink runs", PATIENCE, || text(&sink(), "/state") == "running");
}

#[test]
fn rsyslog_receives_every_line() {
    let scratch = Scratch::new("to-rsyslog");
    let port = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        free.local_addr().expect("an address").port()
    };
    let out = scratch.join("received.log");
    let config = format!(
        "module(load=\"imptcp\" threads=\"1\")\ntemplate(name=\"line\" type=\"string\" string=\"%structured-data% %msg%\\n\")\nruleset(name=\"in\") {{ action(type=\"omfile\" file=\"{}\" template=\"line\") }}\ninput(type=\"imptcp\" address=\"127.0.0.1\" port=\"{port}\" ruleset=\"in\")\n",
        out.display()
    );
    let Some(receiver) = Rsyslogd::start(&scratch, "receiver", &config) else {
        return skipped("forward::rsyslog_receives_every_line", "rsyslogd is not in the kit");
    };
    let yaml = format!(
        "server: {{ listen: \"127.0.0.1:0\" }}\nsources:\n  api: {{ https: {{ listen: \"127.0.0.1:0\" }}, dataset: app.test }}\nsinks:\n  old:\n    syslog: {{ address: \"tcp://127.0.0.1:{port}\", settle: 200ms }}\n    datasets: [ app.test ]\n    batch: {{ age: 100ms }}\n    retry: {{ base: 50ms, cap: 500ms }}\n"
    );
    let serve = Serve::start(&scratch, &yaml);
    let key = serve.key("c1", "api");
    let n = 2_000u64;
    let send = |from: u64, to: u64| {
        let body: Vec<String> = (from..to).map(|n| format!("{{\"n\":{n},\"text\":\"one line\"}}")).collect();
        serve.post("api", &key, "application/x-ndjson", body.join("\n")).is(200);
    };
    let arrived = || {
        let said = std::fs::read_to_string(&out).unwrap_or_default();
        let mut ids: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
        for line in said.lines() {
            let n = line.split("\"n\":").nth(1).and_then(|r| r.split(',').next()?.parse().ok());
            let id =
                line.split("id=\"").nth(1).and_then(|r| r.split('"').next()).unwrap_or_default().to_owned();
            if let Some(n) = n {
                ids.entry(n).or_default().insert(id);
            }
        }
        ids
    };
    send(0, n / 2);
    wait_until("the first half arrives", DELIVERY, || arrived().len() as u64 == n / 2);
    // The receiver is away for a while.
    drop(receiver);
    let _ = std::fs::remove_file(scratch.join("receiver.pid"));
    send(n / 2, n);
    let _receiver = Rsyslogd::start(&scratch, "receiver", &config).expect("it ran before");
    wait_until("all lines arrive", DELIVERY, || arrived().len() as u64 == n);
    let ids: BTreeSet<String> =
        serve.sql("select av_id from \"app.test\"").iter().map(|r| text(r, "/av_id").to_owned()).collect();
    for (n, seen) in arrived() {
        assert_eq!(seen.len(), 1, "line {n} has several ids: {seen:?}");
        assert!(seen.iter().all(|id| ids.contains(id)), "line {n} carries an id that no event has: {seen:?}");
    }
    wait_until("the sink says that it is done", PATIENCE, || {
        let s = serve.run(&["sink", "list", "-o", "json"]).ok().items().remove(0);
        number(&s, "/waiting") == 0 && number(&s, "/done") == n && number(&s, "/dead") == 0
    });
}

#[test]
fn the_file_sink_writes_each_event_once() {
    let scratch = Scratch::new("file-sink");
    let out = scratch.join("out/received.ndjson");
    std::fs::create_dir_all(scratch.join("out")).expect("a folder");
    let yaml = format!(
        "server: {{ listen: \"127.0.0.1:0\" }}\nsources:\n  api: {{ https: {{ listen: \"127.0.0.1:0\" }}, dataset: app.test }}\nsinks:\n  copy:\n    file: {{ path: \"{}\", original: true }}\n    datasets: [ app.test ]\n    batch: {{ age: 100ms }}\n",
        out.display()
    );
    let serve = Serve::start(&scratch, &yaml);
    let key = serve.key("c1", "api");
    let body = "{ \"n\" : 1 , \"keep\":\"the  blanks\" }";
    serve.post("api", &key, "application/json", body).is(200);
    serve.post("api", &key, "text/plain", "not JSON").is(200);
    let lines = || -> Vec<Value> {
        std::fs::read_to_string(&out)
            .unwrap_or_default()
            .lines()
            .filter_map(|l| serde_json::from_str(l).ok())
            .collect()
    };
    wait_until("both events are in the file", PATIENCE, || lines().len() == 2);
    assert_eq!(text(&lines()[0], "/event/original"), body);
    assert_eq!(text(&lines()[1], "/message"), "not JSON");
    // A paused sink keeps nothing back for ever.
    serve.run(&["sink", "pause", "copy", "--reason", "maintenance"]).ok();
    serve.post("api", &key, "application/json", "{\"n\":3}").is(200);
    wait_until("it waits", PATIENCE, || {
        let s = serve.run(&["sink", "list", "-o", "json"]).ok().items().remove(0);
        text(&s, "/state") == "paused"
    });
    assert_eq!(lines().len(), 2);
    serve.run(&["sink", "resume", "copy", "--reason", "done"]).ok();
    wait_until("it goes on", PATIENCE, || lines().len() == 3);
    assert_eq!(serve.terminate(), 0);
}
