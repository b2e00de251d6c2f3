//! A `_bulk` server that is strict about what it takes and fails on command. Our own writing, so it shows behaviour under faults, not
//! that Elasticsearch agrees: e2e asks a foreign implementation.

use flate2::read::GzDecoder;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::io::Read as _;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What goes wrong with one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    None,
    Status(u16),
    RetryAfter,
    /// Valid JSON in another dress.
    Pretty,
    Spaced,
    /// One item too few.
    OneShort,
    /// 200 with an error and no items.
    ErrorBody,
    /// Ends in the middle of the body; the items were processed.
    CutBody,
    ResetBefore,
    ResetAfter,
    /// Processed, and then silence.
    Stall,
    Garbage,
}

pub const FAULTS: [Fault; 16] = [
    Fault::None,
    Fault::Status(429),
    Fault::Status(500),
    Fault::Status(502),
    Fault::Status(503),
    Fault::Status(408),
    Fault::RetryAfter,
    Fault::Pretty,
    Fault::Spaced,
    Fault::OneShort,
    Fault::ErrorBody,
    Fault::CutBody,
    Fault::ResetBefore,
    Fault::ResetAfter,
    Fault::Stall,
    Fault::Garbage,
];

/// Says the status of an item: by id, document and how often it was seen.
pub type Judge = Box<dyn Fn(&str, &Value, u32) -> Option<(u16, &'static str)> + Send>;

#[derive(Default)]
pub struct State {
    /// `_id` → (index, document), first copy only.
    pub docs: BTreeMap<String, (String, Value)>,
    /// `_id`s in the order of their first copy.
    pub order: Vec<String>,
    pub seen: BTreeMap<String, u32>,
    pub script: VecDeque<Fault>,
    pub requests: u64,
    /// What the client got wrong.
    pub complaints: Vec<String>,
    pub judge: Option<Judge>,
    /// Larger bodies get a 413.
    pub body_max: Option<usize>,
    /// Other `Authorization` gets a 401.
    pub authorization: Option<String>,
}

pub struct Server {
    pub port: u16,
    pub state: Arc<Mutex<State>>,
}

impl Server {
    pub async fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((conn, _)) = listener.accept().await {
                let state = shared.clone();
                tokio::spawn(async move { serve(conn, state).await });
            }
        });
        Server { port, state }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn script(&self, faults: &[Fault]) {
        self.state.lock().unwrap().script.extend(faults);
    }

    /// The `n` of every document that is there, and that each is what was sent.
    pub fn numbers(&self, log: &crate::kit::Log) -> std::collections::BTreeSet<u64> {
        let state = self.state.lock().unwrap();
        assert_eq!(state.complaints, Vec::<String>::new());
        let number = |(id, (_, doc)): (&String, &(String, Value))| {
            let position = doc["avouch"]["position"].as_str().unwrap();
            let seq: u64 = position.strip_prefix("0:").unwrap().parse().unwrap();
            assert_eq!(
                (id.as_str(), doc["event"]["id"].as_str().unwrap()),
                (crate::kit::id(seq).to_string().as_str(), id.as_str())
            );
            match doc["message"].as_str() {
                Some(m) => assert_eq!(m.as_bytes(), log.raw(seq), "{seq}"),
                None => assert_eq!(doc["payload"]["n"].as_u64(), Some(seq)),
            }
            seq
        };
        state.docs.iter().map(number).collect()
    }
}

async fn serve(mut conn: TcpStream, state: Arc<Mutex<State>>) {
    let mut buffer = Vec::new();
    loop {
        let Some((head, body)) = read_request(&mut conn, &mut buffer).await else { return };
        let (fault, status, answer) = state.lock().unwrap().handle(&head, &body);
        let mut headers = String::new();
        let text = match fault {
            Fault::ResetBefore | Fault::ResetAfter => return,
            Fault::Stall => return std::future::pending().await,
            Fault::Pretty => serde_json::to_string_pretty(&answer).unwrap(),
            Fault::Spaced => answer.to_string().replace(':', " : ").replace(',', " , "),
            Fault::Garbage => "<html>gateway</html>".to_owned(),
            Fault::RetryAfter => {
                headers.push_str("Retry-After: 0\r\n");
                answer.to_string()
            }
            _ => answer.to_string(),
        };
        let head = format!(
            "HTTP/1.1 {status} X\r\n{headers}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            text.len()
        );
        let body = text.as_bytes();
        let sent = if fault == Fault::CutBody { &body[..body.len() / 2] } else { body };
        if conn.write_all([head.as_bytes(), sent].concat().as_slice()).await.is_err()
            || fault == Fault::CutBody
        {
            return;
        }
    }
}

async fn read_request(conn: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    let mut chunk = vec![0; 64 << 10];
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        let n = conn.read(&mut chunk).await.ok().filter(|n| *n > 0)?;
        buffer.extend_from_slice(&chunk[..n]);
    };
    let head = String::from_utf8(buffer[..end].to_vec()).unwrap().to_lowercase();
    let length: usize =
        head.lines().find_map(|l| l.strip_prefix("content-length: ")).unwrap().trim().parse().unwrap();
    while buffer.len() < end + length {
        let n = conn.read(&mut chunk).await.ok().filter(|n| *n > 0)?;
        buffer.extend_from_slice(&chunk[..n]);
    }
    let body = buffer[end..end + length].to_vec();
    buffer.drain(..end + length);
    Some((head, body))
}

impl State {
    fn handle(&mut self, head: &str, body: &[u8]) -> (Fault, u16, Value) {
        self.requests += 1;
        let fault = self.script.pop_front().unwrap_or(Fault::None);
        let error = |status: u16, kind: &str| {
            (fault, status, json!({ "error": { "type": kind, "reason": "as scripted" }, "status": status }))
        };
        if fault == Fault::ResetBefore {
            return (fault, 0, Value::Null);
        }
        if let Fault::Status(s) = fault {
            return error(s, "scripted_exception");
        }
        if fault == Fault::RetryAfter {
            return error(429, "es_rejected_execution_exception");
        }
        if fault == Fault::ErrorBody {
            return (
                fault,
                200,
                json!({ "error": { "type": "unavailable_shards_exception", "reason": "x" }, "status": 503 }),
            );
        }
        let authorization = head.lines().find_map(|l| l.strip_prefix("authorization: "));
        if self.authorization.as_ref().is_some_and(|want| authorization != Some(&want.to_lowercase())) {
            return error(401, "security_exception");
        }
        if self.body_max.is_some_and(|max| body.len() > max) {
            return error(413, "content_too_long");
        }
        let mut plain = Vec::new();
        if head.contains("content-encoding: gzip") {
            GzDecoder::new(body).read_to_end(&mut plain).unwrap();
        } else {
            plain = body.to_vec();
        }
        if !head.starts_with("post /_bulk?filter_path=")
            || !head.contains("content-type: application/x-ndjson")
        {
            self.complaints.push(format!("request line or type: {head}"));
        }
        if plain.last() != Some(&b'\n') {
            self.complaints.push("the last line does not end in LF".into());
            return error(400, "illegal_argument_exception");
        }
        let text = String::from_utf8(plain).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let mut items: Vec<Value> = lines.chunks(2).map(|pair| self.item(pair)).collect();
        let has_errors = items.iter().any(|i| i["create"]["error"].is_object());
        if fault == Fault::OneShort {
            items.pop();
        }
        (fault, 200, json!({ "errors": has_errors, "items": items }))
    }

    fn item(&mut self, pair: &[&str]) -> Value {
        let parse = |l: Option<&&str>| l.and_then(|l| serde_json::from_str::<Value>(l).ok());
        let (Some(op), Some(doc)) = (parse(pair.first()), parse(pair.get(1))) else {
            self.complaints.push(format!("no action and document: {pair:?}"));
            return json!({ "create": { "status": 400, "error": { "type": "malformed" } } });
        };
        let (Some(id), Some(index)) = (op["create"]["_id"].as_str(), op["create"]["_index"].as_str()) else {
            self.complaints.push(format!("not a create with _id and _index: {op}"));
            return json!({ "create": { "status": 400, "error": { "type": "malformed" } } });
        };
        if !doc["@timestamp"].is_string() {
            self.complaints.push(format!("a data stream needs @timestamp: {doc}"));
        }
        let seen = self.seen.entry(id.to_owned()).or_default();
        *seen += 1;
        if let Some((status, kind)) = self.judge.as_ref().and_then(|j| j(id, &doc, *seen)) {
            return json!({ "create": { "status": status, "error": { "type": kind, "reason": format!("failed to parse field [user.id] in [{id}]") } } });
        }
        if self.docs.contains_key(id) {
            return json!({ "create": { "status": 409, "error": { "type": "version_conflict_engine_exception", "reason": "document already exists" } } });
        }
        self.docs.insert(id.to_owned(), (index.to_owned(), doc));
        self.order.push(id.to_owned());
        json!({ "create": { "status": 201 } })
    }
}
