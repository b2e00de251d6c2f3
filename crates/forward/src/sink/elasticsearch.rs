//! Elasticsearch and OpenSearch through `_bulk`.
//!
//! `_id` is the event id and the operation is `create`: a resend finds the first copy and answers 409, which is done. That holds
//! within one backing index; across a roll-over a resend can add a second copy. The answer is read as JSON, item by item, and only
//! when it has exactly as many items as were sent; anything else is sent again.
//! <https://www.elastic.co/guide/en/elasticsearch/reference/current/docs-bulk.html>

use super::{Failure, Item, ItemResult, Outcome, Refusal, Sent, Sink, cut};
use crate::http::{Answer, Broken, Http};
use crate::render::{index_name, moment, string};
use crate::{Auth, ElasticsearchConfig, Error, Render, SecretRef, Secrets, TlsConfig, tls};
use async_trait::async_trait;
use base64::Engine as _;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Uri};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// A node that did not answer is not asked for this long, while others are there.
const REST: Duration = Duration::from_secs(30);

pub(crate) struct Elasticsearch {
    name: String,
    http: Http,
    nodes: Vec<Node>,
    turn: AtomicUsize,
    index: String,
    gzip: bool,
    render: Arc<dyn Render>,
    auth: Option<Auth>,
    secrets: Secrets,
    /// The header, made from the secrets; made anew after a refusal.
    header: Mutex<Option<HeaderValue>>,
    started: Instant,
}

struct Node {
    uri: Uri,
    /// Milliseconds since `started` until which it rests.
    rests_until: AtomicU64,
}

impl Elasticsearch {
    pub fn open(
        name: &str,
        c: &ElasticsearchConfig,
        render: Arc<dyn Render>,
        secrets: &Secrets,
    ) -> Result<Elasticsearch, Error> {
        let bad = |why: String| Error::Config { sink: name.to_owned(), why };
        // `filter_path` keeps every item's status, else positions would shift.
        let mut query =
            "filter_path=errors,error,status,items.*.status,items.*.error.type,items.*.error.reason"
                .to_owned();
        if let Some(p) = &c.pipeline {
            if !p.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')) {
                return Err(bad(format!("`{p}` cannot be the name of a pipeline")));
            }
            query.push_str("&pipeline=");
            query.push_str(p);
        }
        let node = |url: &String| {
            let uri: Uri = format!("{}/_bulk?{query}", url.trim_end_matches('/'))
                .parse()
                .map_err(|_| bad(format!("cannot read `{url}` as an address")))?;
            Ok(Node { uri, rests_until: AtomicU64::new(0) })
        };
        let tls = tls::client_config(name, c.tls.as_ref().unwrap_or(&TlsConfig::default()), secrets)?;
        let sink = Elasticsearch {
            name: name.to_owned(),
            http: Http::new(tls, c.timeout.duration()),
            nodes: c.urls.iter().map(node).collect::<Result<_, Error>>()?,
            turn: AtomicUsize::new(0),
            index: c.index.clone(),
            gzip: c.gzip,
            render,
            auth: c.auth.clone(),
            secrets: Arc::clone(secrets),
            header: Mutex::new(None),
            started: Instant::now(),
        };
        // A reference that cannot be read is said at start, not at the first batch.
        sink.credentials()?;
        Ok(sink)
    }

    fn credentials(&self) -> Result<Option<HeaderValue>, Error> {
        let Some(auth) = &self.auth else { return Ok(None) };
        let read = |r: &SecretRef| -> Result<String, Error> {
            let bad = |why: String| Error::Secret { sink: self.name.clone(), reference: r.to_string(), why };
            let secret = (self.secrets)(r).map_err(bad)?;
            secret.text().map(str::to_owned).ok_or_else(|| bad("it is not UTF-8".to_owned()))
        };
        let text = match (&auth.user, &auth.password, &auth.api_key, &auth.bearer) {
            (Some(user), Some(password), _, _) => {
                let pair = format!("{user}:{}", read(password)?);
                format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
            }
            (_, _, Some(key), _) => format!("ApiKey {}", read(key)?),
            (_, _, _, Some(token)) => format!("Bearer {}", read(token)?),
            _ => return Ok(None),
        };
        let mut header = HeaderValue::try_from(text).map_err(|_| Error::Config {
            sink: self.name.clone(),
            why: "its secret cannot be sent in a header".to_owned(),
        })?;
        header.set_sensitive(true);
        Ok(Some(header))
    }

    /// Nodes in the order to try: round robin, those that rest last.
    fn nodes_in_turn(&self) -> Vec<&Node> {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % self.nodes.len().max(1);
        let mut nodes: Vec<&Node> = self.nodes.iter().cycle().skip(first).take(self.nodes.len()).collect();
        nodes.sort_by_key(|n| n.rests_until.load(Ordering::Relaxed) > now);
        nodes
    }

    fn rest(&self, node: &Node) {
        let until = self.started.elapsed() + REST;
        node.rests_until.store(u64::try_from(until.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The request body, where each document lies in it, and those that have none.
    fn body(&self, items: &[Item]) -> (Vec<u8>, Vec<Span>) {
        let mut out = Vec::with_capacity(items.iter().map(|i| i.raw_len() + 512).sum());
        let mut spans = Vec::with_capacity(items.len());
        for i in items {
            let start = out.len();
            let Some(row) = i.batch.rows.get(i.row) else {
                spans.push(Err("it is gone from its batch".to_owned()));
                continue;
            };
            out.extend_from_slice(b"{\"create\":{\"_index\":");
            string(&index_name(&self.index, i.batch.dataset_of(i.row), moment(row)), &mut out);
            out.extend_from_slice(b",\"_id\":\"");
            out.extend_from_slice(row.id.to_string().as_bytes());
            out.extend_from_slice(b"\"}}\n");
            let document = out.len();
            match self.render.render(&i.batch, i.row, &mut out) {
                Ok(()) => {
                    spans.push(Ok((document, out.len())));
                    out.push(b'\n');
                }
                Err(why) => {
                    out.truncate(start);
                    spans.push(Err(why));
                }
            }
        }
        (out, spans)
    }

    async fn request(&self, node: &Node, body: &Bytes) -> Result<Request<Full<Bytes>>, String> {
        let mut b = Request::builder()
            .method(Method::POST)
            .uri(node.uri.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        if self.gzip {
            b = b.header(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let mut kept = self.header.lock().await;
        if kept.is_none() {
            *kept = self.credentials().map_err(|e| e.to_string())?;
        }
        if let Some(h) = kept.as_ref() {
            b = b.header(AUTHORIZATION, h.clone());
        }
        drop(kept);
        b.body(Full::new(body.clone())).map_err(|e| e.to_string())
    }
}

#[async_trait]
impl Sink for Elasticsearch {
    fn kind(&self) -> &'static str {
        "elasticsearch"
    }
    fn is_idempotent(&self) -> bool {
        true
    }
    fn concurrency_max(&self) -> usize {
        crate::CONCURRENCY_MAX
    }

    async fn send(&self, items: &[Item]) -> Sent {
        let (plain, spans) = self.body(items);
        let n_sent = spans.iter().filter(|s| s.is_ok()).count();
        if n_sent == 0 {
            let results = spans.into_iter().map(|s| unrendered(s.err())).collect();
            return Sent {
                outcome: Outcome::Items(results),
                sha256: String::new(),
                bytes: 0,
                status: "nothing to send".to_owned(),
                ack: None,
            };
        }
        let body = if self.gzip { gzip(&plain) } else { plain.clone() };
        let (sha256, bytes) = (model::sha256_hex(&body), body.len());
        let body = Bytes::from(body);
        let mut away = Vec::new();
        for node in self.nodes_in_turn() {
            let request = match self.request(node, &body).await {
                Ok(r) => r,
                Err(reason) => return Sent::failed(Failure::Hold { reason }, sha256, bytes),
            };
            match self.http.exchange(request).await {
                Ok(answer) => {
                    if matches!(answer.status.as_u16(), 401 | 403) {
                        *self.header.lock().await = None;
                    }
                    let status = answer.status.to_string();
                    let outcome = read_answer(&answer, n_sent, &plain, &spans);
                    return Sent { outcome, sha256, bytes, status, ack: None };
                }
                // Certain that nothing arrived: the next node may take it.
                Err(Broken::Connect(why)) => {
                    self.rest(node);
                    away.push(why);
                }
                Err(Broken::Identity(reason)) => {
                    return Sent::failed(Failure::Hold { reason }, sha256, bytes);
                }
                Err(Broken::Unclear(reason)) => {
                    let is_throttle = reason.starts_with("no answer");
                    return Sent::failed(Failure::Retry { reason, after: None, is_throttle }, sha256, bytes);
                }
            }
        }
        let reason = format!("no node answers: {}", away.join("; "));
        Sent::failed(Failure::Retry { reason, after: None, is_throttle: false }, sha256, bytes)
    }
}

fn unrendered(why: Option<String>) -> ItemResult {
    ItemResult::Dead(Refusal {
        class: "render".to_owned(),
        code: String::new(),
        text: cut(&why.unwrap_or_default()),
        item_sha256: String::new(),
    })
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut e = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
    // Writing to memory does not fail.
    if e.write_all(plain).is_err() {
        return Vec::new();
    }
    e.finish().unwrap_or_default()
}

#[derive(Deserialize)]
struct Bulk {
    #[serde(default)]
    items: Vec<BTreeMap<String, Op>>,
    #[serde(default)]
    error: Option<Why>,
}

#[derive(Deserialize)]
struct Op {
    status: u16,
    #[serde(default)]
    error: Option<Why>,
}

/// An object in every current version, plain text in old ones and in proxies.
#[derive(Deserialize, Default)]
#[serde(untagged)]
enum Why {
    Object {
        #[serde(rename = "type", default)]
        kind: Option<String>,
        #[serde(default)]
        reason: Option<String>,
    },
    Text(String),
    #[default]
    Nothing,
}

impl Why {
    fn parts(self) -> (String, String) {
        match self {
            Why::Object { kind, reason } => (kind.unwrap_or_default(), reason.unwrap_or_default()),
            Why::Text(t) => (String::new(), t),
            Why::Nothing => (String::new(), String::new()),
        }
    }
}

/// Where a document lies in the request, or why it has none.
type Span = Result<(usize, usize), String>;

/// What the answer says about each item. Only an answer that is whole and counts right is believed.
fn read_answer(answer: &Answer, n_sent: usize, plain: &[u8], spans: &[Span]) -> Outcome {
    let status = answer.status.as_u16();
    let retry = |reason: String, is_throttle| {
        Outcome::Failed(Failure::Retry { reason: cut(&reason), after: answer.retry_after(), is_throttle })
    };
    let bulk: Result<Bulk, _> = serde_json::from_slice(&answer.body);
    if status != 200 {
        let (code, text) = match bulk {
            Ok(Bulk { error: Some(w), .. }) => w.parts(),
            _ => (String::new(), String::from_utf8_lossy(&answer.body).into_owned()),
        };
        let said = cut(&format!("{} {code} {text}", answer.status));
        return match status {
            408 | 425 | 500..600 => retry(said, false),
            429 => retry(said, true),
            // Which item it dislikes is unknown, so halves are sent until it is.
            400 | 413 => {
                let class = if status == 413 { "too_large".to_owned() } else { status.to_string() };
                let sha = one_hash(plain, spans);
                Outcome::Failed(Failure::Split(Refusal { class, code, text: cut(&text), item_sha256: sha }))
            }
            // 401 and 403, and every other answer that settings cause: a wrong path, a redirect, a method not allowed.
            _ => Outcome::Failed(Failure::Hold { reason: said }),
        };
    }
    let bulk = match bulk {
        Ok(b) => b,
        Err(e) => return retry(format!("the answer is no JSON that we know: {e}"), false),
    };
    if let Some(w) = bulk.error {
        let (code, text) = w.parts();
        return retry(format!("200 with an error: {code} {text}"), false);
    }
    if bulk.items.len() != n_sent {
        return retry(format!("the answer has {} items for {n_sent} sent", bulk.items.len()), false);
    }
    let mut ops = Vec::with_capacity(n_sent);
    for item in bulk.items {
        let mut one = item.into_iter();
        match (one.next(), one.next()) {
            (Some((_, op)), None) => ops.push(op),
            _ => return retry("an item of the answer is not one operation".to_owned(), false),
        }
    }
    let mut ops = ops.into_iter();
    let results = spans.iter().map(|span| match span {
        Err(why) => unrendered(Some(why.clone())),
        Ok((from, to)) => ops.next().map_or_else(
            || ItemResult::Retry("no answer for it".to_owned()),
            |op| item_result(op, plain.get(*from..*to).unwrap_or_default()),
        ),
    });
    Outcome::Items(results.collect())
}

fn item_result(op: Op, document: &[u8]) -> ItemResult {
    let (code, text) = op.error.unwrap_or_default().parts();
    match op.status {
        200..300 => ItemResult::Done,
        409 => ItemResult::Duplicate,
        408 | 425 | 429 | 500..600 => ItemResult::Retry(cut(&format!("{} {code} {text}", op.status))),
        // These are about the index or our rights, not about the event: a full disk on their side (index read-only) or a dropped
        // template must not turn a whole estate into dead letters.
        401 | 403 | 404 if is_about_index(&code) => {
            ItemResult::Hold(cut(&format!("{} {code} {text}", op.status)))
        }
        class => ItemResult::Dead(Refusal {
            class: class.to_string(),
            code: cut(&code),
            text: cut(&text),
            item_sha256: model::sha256_hex(document),
        }),
    }
}

fn is_about_index(code: &str) -> bool {
    matches!(
        code,
        "index_not_found_exception"
            | "cluster_block_exception"
            | "security_exception"
            | "invalid_alias_name_exception"
    )
}

/// Hash of the document, when the request had only one.
fn one_hash(plain: &[u8], spans: &[Span]) -> String {
    let mut all = spans.iter().flatten();
    match (all.next(), all.next()) {
        (Some((from, to)), None) => model::sha256_hex(plain.get(*from..*to).unwrap_or_default()),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::{HeaderMap, StatusCode};
    use proptest::prelude::*;

    fn read(status: u16, body: &str, n: usize) -> Outcome {
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::copy_from_slice(body.as_bytes()),
        };
        read_answer(&answer, n, b"{}", &vec![Ok((0, 2)); n])
    }

    #[track_caller]
    fn check(status: u16, body: &str, n: usize, expect: &str) {
        let got = match read(status, body, n) {
            Outcome::Items(items) => items
                .iter()
                .map(|i| match i {
                    ItemResult::Done => "done".to_owned(),
                    ItemResult::Duplicate => "duplicate".to_owned(),
                    ItemResult::Retry(_) => "retry".to_owned(),
                    ItemResult::Hold(_) => "hold".to_owned(),
                    ItemResult::Dead(r) => format!("dead:{}:{}", r.class, r.code),
                })
                .collect::<Vec<_>>()
                .join(" "),
            Outcome::Failed(Failure::Retry { is_throttle, .. }) => format!("RETRY {is_throttle}"),
            Outcome::Failed(Failure::Hold { .. }) => "HOLD".to_owned(),
            Outcome::Failed(Failure::Split(r)) => format!("SPLIT {}", r.class),
        };
        assert_eq!(got, expect, "{status} {body}");
    }

    #[test]
    fn per_item() {
        check(
            200,
            r#"{"errors":false,"items":[{"create":{"status":201}},{"create":{"status":200}}]}"#,
            2,
            "done done",
        );
        check(
            200,
            "{ \"errors\" : true ,\n \"items\" : [ { \"create\" : { \"status\" : 409, \"error\" : { \"type\" : \"version_conflict_engine_exception\" } } }, {\"create\":{\"status\":429,\"error\":\"old style\"}} ] }",
            2,
            "duplicate retry",
        );
        check(
            200,
            r#"{"items":[{"create":{"status":400,"error":{"type":"mapper_parsing_exception","reason":"r"}}},{"create":{"status":503}}]}"#,
            2,
            "dead:400:mapper_parsing_exception retry",
        );
        check(
            200,
            r#"{"items":[{"create":{"status":404,"error":{"type":"index_not_found_exception"}}},{"create":{"status":403,"error":{"type":"cluster_block_exception"}}}]}"#,
            2,
            "hold hold",
        );
        check(200, r#"{"items":[{"create":{"status":403,"error":{"type":"weird"}}}]}"#, 1, "dead:403:weird");
    }

    #[test]
    fn whole() {
        check(200, r#"{"errors":false,"items":[{"create":{"status":201}}]}"#, 2, "RETRY false");
        check(200, r#"{"errors":false}"#, 1, "RETRY false");
        check(200, r#"{"error":{"type":"x"},"status":500}"#, 1, "RETRY false");
        check(200, r#"{"items":[{"create":{"status":201}"#, 1, "RETRY false");
        check(200, r#"{"items":[{"create":{"status":201},"index":{"status":201}}]}"#, 1, "RETRY false");
        check(200, "<html>", 1, "RETRY false");
        check(429, "", 1, "RETRY true");
        check(503, r#"{"error":{"type":"unavailable"}}"#, 1, "RETRY false");
        check(401, "", 1, "HOLD");
        check(403, "", 1, "HOLD");
        check(404, "", 1, "HOLD");
        check(302, "", 1, "HOLD");
        check(413, "", 2, "SPLIT too_large");
        check(400, r#"{"error":{"type":"illegal_argument_exception"}}"#, 2, "SPLIT 400");
    }

    proptest! {
        /// No answer, however broken, acknowledges an item that it does not name.
        #[test]
        fn any_answer_is_survived(status in 200u16..600, body in "\\PC{0,80}", n in 1usize..4) {
            if let Outcome::Items(items) = read(status, &body, n) {
                prop_assert_eq!(items.len(), n);
            }
        }
    }
}
