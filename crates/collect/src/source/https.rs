//! HTTP ingest (`transport.md` 2.2): `POST /v1/ingest/{source}` and the source's own paths, with an API key. hyper and nothing above
//! it (N2).
//!
//! V2: 200 is sent from the intake's receipts and from nothing else; there is no 202.

use super::syslog::bind_tcp;
use super::tls::Tls;
use super::{Base, listener_origin};
use crate::config::HttpsConfig;
use crate::counters::{Discard, now};
use crate::decode::inflate::{self, InflateError, Packing};
use crate::decode::{Decoded, Envelope, decode};
use crate::feed::{Mode, Tally};
use crate::ids;
use crate::intake::DeadLetter;
use crate::keys::{Access, Grant, KeyRefusal};
use crate::running::StartError;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use model::{Batch, EventId, Flags, Span};
use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Answers kept for retries with an `Idempotency-Key`. Older ones are found to be duplicates by the window instead.
const ANSWERS_MAX: usize = 4_096;
/// Longest `Idempotency-Key` (256 bytes): it is kept in memory with the answer.
const IDEMPOTENCY_KEY_MAX: usize = 256;
/// Headers of one request, and their bytes: a shipper sends a dozen, under 4 KiB.
const HEADERS_MAX: usize = 64;
const HEADER_BYTES_MAX: usize = 32 << 10;
const HANDSHAKE: Duration = Duration::from_secs(10);
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// `Retry-After` where no better figure exists.
const RETRY_SECS: u64 = 5;
/// Buckets of request rates: one per key id, and key ids come from the host's own list.
const TOKENS_PER_SECOND_MIN: f64 = 1.0;

pub(crate) fn start(
    config: &HttpsConfig,
    base: &Base,
    tasks: &mut JoinSet<()>,
) -> Result<Vec<String>, StartError> {
    let name = base.feed.source.to_string();
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let tls = config.tls.as_ref().map(|t| Tls::load(&name, t, &[b"http/1.1"])).transpose()?;
    let (socket, address) = bind_tcp(&name, &format!("{scheme}://{}", config.listen), config.listen)?;
    let listener = format!("{scheme}://{address}");
    let mut boot = [0; 8];
    // Only tells log lines of two runs apart; without it they are told apart by time.
    let _ = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut boot);
    let server = Arc::new(Server {
        base: base.clone(),
        config: config.clone(),
        own_path: format!("/v1/ingest/{name}"),
        listener: listener.clone(),
        tls,
        boot: u64::from_le_bytes(boot),
        requests: AtomicU64::new(0),
        rates: Mutex::default(),
        answers: Mutex::default(),
    });
    tasks.spawn(server.run(socket));
    Ok(vec![listener])
}

struct Server {
    base: Base,
    config: HttpsConfig,
    own_path: String,
    listener: String,
    tls: Option<Tls>,
    boot: u64,
    requests: AtomicU64,
    /// Token bucket per key id: tokens left and when they were counted.
    rates: Mutex<HashMap<Arc<str>, (f64, Instant)>>,
    answers: Mutex<Answers>,
}

/// First answers by (key id, `Idempotency-Key`, body), oldest forgotten first.
#[derive(Default)]
struct Answers {
    by_origin: HashMap<[u8; 32], Bytes>,
    order: VecDeque<[u8; 32]>,
}

/// An answer on its way out.
struct Answer {
    status: StatusCode,
    body: Bytes,
    retry_after: Option<u64>,
    key_id: Option<Arc<str>>,
    refused: Option<KeyRefusal>,
}

impl Answer {
    fn new(status: StatusCode, body: &Value) -> Answer {
        Answer { status, body: Bytes::from(body.to_string()), retry_after: None, key_id: None, refused: None }
    }
    fn error(status: StatusCode, error: &str) -> Answer {
        Answer::new(status, &serde_json::json!({ "error": error }))
    }
    fn later(status: StatusCode, error: &str, seconds: u64) -> Answer {
        Answer { retry_after: Some(seconds.max(1)), ..Answer::error(status, error) }
    }
}

impl Server {
    async fn run(self: Arc<Self>, socket: TcpListener) {
        let feed = &self.base.feed;
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = feed.stopped() => break,
                Some(_) = connections.join_next() => {}
                accepted = socket.accept() => match accepted {
                    Ok((stream, peer)) => {
                        if connections.len() >= self.config.connections as usize {
                            feed.counters.add_connections_refused(1);
                            continue;
                        }
                        let ip = peer.ip().to_canonical();
                        connections.spawn(Arc::clone(&self).connection(stream, ip));
                    }
                    Err(e) => {
                        tracing::warn!(source = &*feed.source, listener = %self.listener, error = %e, "accept failed");
                        tokio::time::sleep(ACCEPT_RETRY).await;
                    }
                },
            }
        }
        drop(socket);
        while connections.join_next().await.is_some() {}
    }

    async fn connection(self: Arc<Self>, stream: tokio::net::TcpStream, peer: IpAddr) {
        let counters = &self.base.feed.counters;
        counters.connection_opened();
        // Answers are one small write each.
        let _ = stream.set_nodelay(true);
        match &self.tls {
            None => self.serve(stream, peer, None).await,
            Some(tls) => {
                let handshake = tokio_rustls::TlsAcceptor::from(tls.current()).accept(stream);
                let why = match tokio::time::timeout(HANDSHAKE, handshake).await {
                    Ok(Ok(stream)) => match tls.identity(stream.get_ref().1) {
                        Ok(identity) => {
                            self.serve(stream, peer, identity).await;
                            None
                        }
                        Err(why) => Some(why.to_owned()),
                    },
                    Ok(Err(e)) => Some(e.to_string()),
                    Err(_) => Some("it took too long".to_owned()),
                };
                if let Some(why) = why {
                    counters.add_connections_refused(1);
                    tracing::warn!(source = &*self.base.feed.source, %peer, error = %why, "TLS handshake failed");
                }
            }
        }
        counters.connection_closed();
    }

    async fn serve<S>(&self, stream: S, peer: IpAddr, certificate: Option<String>)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let service = service_fn(|request| self.answer(request, peer, certificate.as_deref()));
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.config.header_deadline.0)
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEADER_BYTES_MAX.max(8 << 10))
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        tokio::select! {
            result = connection.as_mut() => return self.closed(result),
            () = self.base.feed.stopped() => connection.as_mut().graceful_shutdown(),
        }
        // A request that is under way still gets its answer.
        self.closed(connection.await);
    }

    fn closed(&self, result: Result<(), hyper::Error>) {
        if let Err(e) = result {
            tracing::debug!(source = &*self.base.feed.source, error = %e, "connection ended");
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        peer: IpAddr,
        certificate: Option<&str>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let request_time = now();
        let n = self.requests.fetch_add(1, Ordering::Relaxed);
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let protocol = format!("{:?}", request.version());
        let answer = self.ingest(request, peer, certificate).await.unwrap_or_else(|refusal| *refusal);
        self.base.host.access_log.record(
            &self.base.feed.source,
            Access {
                request_id: format!("{:016x}-{n}", self.boot),
                ip: peer.to_string(),
                caller: answer.key_id.as_deref().unwrap_or("-").to_owned(),
                user: answer.refused.map_or_else(|| "-".to_owned(), |r| r.to_string()),
                request_time,
                http_method: method.to_string(),
                resource_path: path,
                status: answer.status.as_u16(),
                protocol,
                response_length: answer.body.len() as u64,
            },
        );
        let mut response = Response::new(Full::new(answer.body));
        *response.status_mut() = answer.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = answer.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if answer.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        Ok(response)
    }

    /// `Err` is an answer as well: one that stores nothing.
    async fn ingest(
        &self,
        request: Request<Incoming>,
        peer: IpAddr,
        certificate: Option<&str>,
    ) -> Result<Answer, Box<Answer>> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        if path != self.own_path && !self.config.paths.iter().any(|p| p == path) {
            return Err(Box::new(Answer::error(StatusCode::NOT_FOUND, "not found")));
        }
        if parts.method != Method::POST {
            return Err(Box::new(Answer::error(StatusCode::METHOD_NOT_ALLOWED, "only POST is taken here")));
        }
        let grant = self.judge(&parts.headers, peer)?;
        let named = |mut a: Answer| {
            a.key_id = Some(Arc::clone(&grant.key_id));
            a
        };
        match self.take(&parts.headers, body, &grant, peer, certificate).await {
            Ok(a) => Ok(named(a)),
            Err(a) => Err(Box::new(named(*a))),
        }
    }

    /// The key's grant, or the one 403 that looks the same for a missing, wrong, revoked or misplaced key.
    fn judge(&self, headers: &HeaderMap, peer: IpAddr) -> Result<Grant, Box<Answer>> {
        let bearer = |v: &HeaderValue| {
            let b = v.as_bytes();
            b.get(..7)
                .filter(|s| s.eq_ignore_ascii_case(b"bearer "))
                .and_then(|_| b.get(7..))
                .map(<[u8]>::to_vec)
        };
        let presented = headers
            .get("x-api-key")
            .map(|v| v.as_bytes().to_vec())
            .or_else(|| headers.get(header::AUTHORIZATION).and_then(bearer));
        // A missing key is hashed and compared like any other, so that it takes as long.
        let hash = model::sha256(&[presented.as_deref().unwrap_or(b"")]);
        let checked = self.base.host.keys.check(&hash, &self.base.feed.source, peer, now());
        let refusal = match (presented.is_some(), checked) {
            (false, _) => KeyRefusal::Missing,
            (true, Err(e)) => e,
            (true, Ok(g)) if !g.datasets.is_empty() && !g.datasets.contains(&self.base.dataset) => {
                KeyRefusal::Dataset
            }
            (true, Ok(g)) => return Ok(g),
        };
        let answer = Answer::error(StatusCode::FORBIDDEN, "forbidden");
        Err(Box::new(Answer { refused: Some(refusal), ..answer }))
    }

    async fn take(
        &self,
        headers: &HeaderMap,
        body: Incoming,
        grant: &Grant,
        peer: IpAddr,
        certificate: Option<&str>,
    ) -> Result<Answer, Box<Answer>> {
        self.spend(grant)?;
        if self.base.feed.mode() != Mode::Run {
            return Err(Box::new(Answer::later(StatusCode::SERVICE_UNAVAILABLE, "paused", RETRY_SECS)));
        }
        let packing = packing(headers)?;
        let (body, damage) = self.body(body, packing).await?;
        let idempotency = headers.get("idempotency-key").map(HeaderValue::as_bytes);
        if idempotency.is_some_and(|k| k.len() > IDEMPOTENCY_KEY_MAX) {
            return Err(Box::new(Answer::error(
                StatusCode::BAD_REQUEST,
                "Idempotency-Key is longer than 256 bytes",
            )));
        }
        let origin = idempotency.map(|k| Origin::new(&self.base.feed.source, &grant.key_id, k, &body));
        if let Some(first) = origin.as_ref().and_then(|o| self.first_answer(o)) {
            return Ok(Answer { body: first, ..Answer::error(StatusCode::OK, "") });
        }
        let media_type = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
        let envelope = self.envelope(grant, peer, certificate);
        let decoded = match damage {
            None => decode(&self.base.decode, body, &envelope, self.config.limit.0, media_type),
            Some(e) if self.config.strict => {
                return Err(Box::new(Answer::error(StatusCode::BAD_REQUEST, &e)));
            }
            Some(_) => unreadable(body, &envelope),
        };
        if self.config.strict {
            refuse_problem(&decoded)?;
        }
        let answer = self.store(decoded, origin.as_ref(), grant).await?;
        if let Some(origin) = origin {
            self.remember(origin.key, &answer.body);
        }
        Ok(answer)
    }

    /// One token of the key's bucket, which holds one second's worth.
    fn spend(&self, grant: &Grant) -> Result<(), Box<Answer>> {
        let Some(rate) = grant.rate else { return Ok(()) };
        let rate = f64::from(rate).max(TOKENS_PER_SECOND_MIN);
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let (tokens, counted) = rates.entry(Arc::clone(&grant.key_id)).or_insert((rate, now));
        *tokens = (*tokens + now.duration_since(*counted).as_secs_f64() * rate).min(rate);
        *counted = now;
        if *tokens < 1.0 {
            return Err(Box::new(Answer::later(StatusCode::TOO_MANY_REQUESTS, "too many requests", 1)));
        }
        *tokens -= 1.0;
        Ok(())
    }

    /// The whole body, decompressed. The second part says what was wrong with the compression; the body is then as it came.
    async fn body(
        &self,
        mut body: Incoming,
        packing: Packing,
    ) -> Result<(Bytes, Option<String>), Box<Answer>> {
        let limit = self.config.limit;
        let too_large =
            || Box::new(Answer::error(StatusCode::PAYLOAD_TOO_LARGE, &format!("the limit is {limit}")));
        if body.size_hint().lower() > limit.0 {
            return Err(too_large());
        }
        let deadline = Instant::now() + self.config.body_deadline.0;
        let mut first = Bytes::new();
        let mut rest = BytesMut::new();
        loop {
            let frame = match tokio::time::timeout_at(deadline, body.frame()).await {
                Err(_) => {
                    return Err(Box::new(Answer::error(
                        StatusCode::REQUEST_TIMEOUT,
                        "the body took too long",
                    )));
                }
                Ok(None) => break,
                Ok(Some(Err(_))) => {
                    return Err(Box::new(Answer::error(StatusCode::BAD_REQUEST, "the body was cut")));
                }
                Ok(Some(Ok(frame))) => frame,
            };
            let Ok(data) = frame.into_data() else { continue };
            if first.is_empty() && rest.is_empty() {
                // A body of one read is never copied.
                first = data;
            } else {
                if rest.is_empty() {
                    rest.extend_from_slice(&first);
                }
                rest.extend_from_slice(&data);
            }
            if rest.len().max(first.len()) as u64 > limit.0 {
                return Err(too_large());
            }
        }
        let whole = if rest.is_empty() { first } else { rest.freeze() };
        if packing == Packing::Plain {
            return Ok((whole, None));
        }
        match inflate::all(&whole, packing, limit.0) {
            (out, None) => Ok((Bytes::from(out), None)),
            (_, Some(InflateError::TooLarge(_))) => Err(too_large()),
            (_, Some(e @ InflateError::Ratio)) => {
                Err(Box::new(Answer::error(StatusCode::PAYLOAD_TOO_LARGE, &e.to_string())))
            }
            (_, Some(e @ InflateError::Damaged(_))) => Ok((whole, Some(e.to_string()))),
        }
    }

    /// The sender is the key, because that is what was proven; the address is a fact beside it.
    fn envelope(&self, grant: &Grant, peer: IpAddr, certificate: Option<&str>) -> Envelope {
        let mut origin = listener_origin(&self.listener);
        origin.insert("key".to_owned(), Value::from(&*grant.key_id));
        origin.insert("peer".to_owned(), Value::from(peer.to_string()));
        if let Some(sha256) = certificate {
            origin.insert("client_sha256".to_owned(), Value::from(sha256));
        }
        Envelope {
            dataset: Arc::clone(&self.base.dataset),
            provenance: self.base.provenance.clone().sender(&grant.key_id),
            origin,
            owners: self.base.owners.clone(),
        }
    }

    async fn store(
        &self,
        decoded: Decoded,
        origin: Option<&Origin>,
        grant: &Grant,
    ) -> Result<Answer, Box<Answer>> {
        let feed = &self.base.feed;
        let unavailable = |retry: u64| {
            Box::new(Answer::later(StatusCode::SERVICE_UNAVAILABLE, "cannot store now, send it again", retry))
        };
        let batch = match origin {
            Some(o) => o.give_ids(&decoded.batch),
            None => decoded.batch,
        };
        let dead = decoded.undecodable.len() as u64;
        let letters: Vec<DeadLetter> = decoded
            .undecodable
            .into_iter()
            .map(|u| DeadLetter {
                stage: "decode",
                source: feed.source.to_string(),
                decoder: u.decoder.to_owned(),
                reason: u.reason,
                offset: u.offset,
                origin: format!("key {}", grant.key_id),
                bytes: u.bytes,
            })
            .collect();
        // On a task of its own, because an append must not be dropped half-way when the answer's deadline passes.
        let (worker, empty) = (feed.clone(), batch.is_empty());
        let storing = tokio::spawn(async move {
            for letter in letters {
                if !worker.bury(letter).await {
                    return Err(RETRY_SECS);
                }
            }
            if empty {
                return Ok(Tally::default());
            }
            worker.offer(batch).await.map_err(|e| {
                tracing::warn!(source = &*worker.source, code = e.code(), error = %e, "body not taken");
                e.retry_after().as_secs().max(1)
            })
        });
        let tally = match tokio::time::timeout(self.config.commit_deadline.0, storing).await {
            Ok(Ok(Ok(tally))) => tally,
            Ok(Ok(Err(retry))) => return Err(unavailable(retry)),
            Ok(Err(_)) | Err(_) => return Err(unavailable(RETRY_SECS)),
        };
        if empty && dead == 0 && decoded.control_messages == 0 {
            feed.counters.add_empty(1);
        }
        feed.counters.add_discarded(Discard::ControlMessage, decoded.control_messages);
        let mut body = serde_json::json!({
            "accepted": tally.accepted,
            "duplicates": tally.duplicates,
            "unparsed": tally.unparsed.saturating_add(dead),
        });
        // Never silence: what will not be stored is said, and only then.
        if tally.refused > 0
            && let Some(o) = body.as_object_mut()
        {
            o.insert("refused".to_owned(), Value::from(tally.refused));
        }
        Ok(Answer::new(StatusCode::OK, &body))
    }

    fn first_answer(&self, origin: &Origin) -> Option<Bytes> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.by_origin.get(&origin.key).cloned()
    }

    fn remember(&self, key: [u8; 32], body: &Bytes) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.by_origin.insert(key, body.clone()).is_none() {
            answers.order.push_back(key);
        }
        if answers.order.len() > ANSWERS_MAX
            && let Some(oldest) = answers.order.pop_front()
        {
            answers.by_origin.remove(&oldest);
        }
    }
}

/// Where the events of a request with an `Idempotency-Key` come from (`transport.md` 1.3).
struct Origin {
    parts: [Vec<u8>; 4],
    key: [u8; 32],
}

impl Origin {
    fn new(source: &str, key_id: &str, header: &[u8], body: &[u8]) -> Origin {
        let body = model::sha256(&[body]);
        let parts = [source.as_bytes().to_vec(), key_id.as_bytes().to_vec(), header.to_vec(), body.to_vec()];
        let key = model::sha256(&[&EventId::of(&parts.each_ref().map(Vec::as_slice)).0]);
        Origin { parts, key }
    }
    fn give_ids(&self, batch: &Batch) -> Batch {
        let [source, key_id, header, body] = self.parts.each_ref().map(Vec::as_slice);
        let mut rows = batch.rows.to_vec();
        for (index, row) in rows.iter_mut().enumerate().filter(|(_, r)| r.id.is_none()) {
            row.id = ids::https(source, key_id, header, body, index);
        }
        batch.with_rows(rows)
    }
}

fn packing(headers: &HeaderMap) -> Result<Packing, Box<Answer>> {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    let packing = match encodings.next().map(|v| v.as_bytes().to_ascii_lowercase()).as_deref() {
        None | Some(b"identity" | b"") => Some(Packing::Plain),
        Some(b"gzip" | b"x-gzip") => Some(Packing::Gzip),
        Some(b"zstd") => Some(Packing::Zstd),
        Some(_) => None,
    };
    packing.filter(|_| encodings.next().is_none()).ok_or_else(|| {
        Box::new(Answer::error(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Content-Encoding may be gzip, zstd or identity",
        ))
    })
}

/// A body whose compression is damaged, as one event: its bytes as they came.
fn unreadable(body: Bytes, envelope: &Envelope) -> Decoded {
    let end = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let mut b = Batch::over(body);
    let (p, d) = (b.provenance(envelope.sealed()), b.dataset(&envelope.dataset));
    b.push_span(Span { start: 0, end }, p, d).flags = Flags::PARSE_ERROR;
    Decoded { batch: b.finish(), ..Decoded::default() }
}

/// `strict: true`: 400 with the place, nothing stored.
fn refuse_problem(decoded: &Decoded) -> Result<(), Box<Answer>> {
    let problem = decoded
        .problem
        .map(|p| (p.at as u64, p.what.to_owned()))
        .or_else(|| decoded.undecodable.first().map(|u| (u.offset, u.reason.clone())));
    match problem {
        None => Ok(()),
        Some((at, what)) => Err(Box::new(Answer::new(
            StatusCode::BAD_REQUEST,
            &serde_json::json!({ "error": format!("bad JSON: {what}"), "position": at }),
        ))),
    }
}
