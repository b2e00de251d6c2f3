//! What `avouch.yaml` may say under `sinks:`. The doc comments are the reference pages.

use crate::{Rate, SecretRef, Size, Span, TlsConfig};
use model::glob;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Our own datasets begin so. They are forwarded only when named, or a SIEM that feeds back would make a loop.
pub const DATASETS_OWN: &str = "avouch.";

/// One sink: exactly one of the kinds, and what all kinds share.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SinkConfig {
    /// Elasticsearch or OpenSearch, through `_bulk`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elasticsearch: Option<ElasticsearchConfig>,
    /// Syslog over TCP or TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syslog: Option<SyslogSinkConfig>,
    /// NDJSON in files that rotate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<FileSinkConfig>,
    /// Datasets to forward; `*` stands for any run of characters, and never for one of ours (`avouch.*`): those are named in full
    /// or as `avouch.*`.
    pub datasets: Vec<String>,
    /// Where a new sink begins.
    pub from: Start,
    /// When a batch is closed.
    pub batch: BatchConfig,
    /// How much may be unfinished at a time.
    pub window: WindowConfig,
    /// How failures are tried again.
    pub retry: RetryConfig,
    /// At most so much.
    pub limit: LimitConfig,
    /// Most requests at a time; the sink finds out itself how many serve it best.
    pub concurrency: usize,
    /// Keep the order of the log even when something fails: one request at a time, and nothing overtakes.
    pub ordered: bool,
}

impl Default for SinkConfig {
    fn default() -> SinkConfig {
        SinkConfig {
            elasticsearch: None,
            syslog: None,
            file: None,
            datasets: vec!["*".to_owned()],
            from: Start::Beginning,
            batch: BatchConfig::default(),
            window: WindowConfig::default(),
            retry: RetryConfig::default(),
            limit: LimitConfig::default(),
            concurrency: 8,
            ordered: false,
        }
    }
}

/// Where a sink without a cursor begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// With the oldest event that is kept.
    #[default]
    Beginning,
    /// With what comes in from now on.
    Now,
}

/// A batch is sent when it has this much, or is this old, or when nothing else is under way.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BatchConfig {
    pub bytes: Size,
    pub events: usize,
    pub age: Span,
}

impl Default for BatchConfig {
    fn default() -> BatchConfig {
        BatchConfig { bytes: Size::mib(8), events: 5_000, age: Span::secs(1) }
    }
}

/// Events that are read but not finished. When it is full because its oldest waits, lag grows; nothing is dropped.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WindowConfig {
    pub events: usize,
    pub bytes: Size,
}

impl Default for WindowConfig {
    fn default() -> WindowConfig {
        WindowConfig { events: 100_000, bytes: Size::mib(64) }
    }
}

/// Retries go on for ever unless `max_age` says otherwise.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetryConfig {
    /// First wait; doubles with each failure, with full jitter.
    pub base: Span,
    /// Longest wait.
    pub cap: Span,
    /// How often a held sink is tried.
    pub probe: Span,
    /// An event older than this becomes a dead letter instead of being tried again. Off by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Span>,
}

impl Default for RetryConfig {
    fn default() -> RetryConfig {
        RetryConfig { base: Span::millis(200), cap: Span::secs(60), probe: Span::secs(30), max_age: None }
    }
}

/// Ceilings towards the target. Off by default.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<Rate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Rate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<Rate>,
}

/// User and password, or an API key, or a bearer token.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretRef>,
    /// The encoded form that Elasticsearch hands out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key: Option<SecretRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer: Option<SecretRef>,
}

/// `_id` is the event id and the operation is `create`, so a resend finds the first copy (within one backing index) and adds none.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ElasticsearchConfig {
    /// Nodes, tried in turn; one that does not answer rests for a while.
    pub urls: Vec<String>,
    /// Index or data stream; `{dataset}` and `{date}` (UTC day of the event, `2026.01.27`) are filled in.
    #[serde(default = "default_index")]
    pub index: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsConfig>,
    /// Compress requests.
    #[serde(default = "yes")]
    pub gzip: bool,
    /// Send the record itself as text too, where its parsed form is sent.
    #[serde(default)]
    pub original: bool,
    /// How long one request may take.
    #[serde(default = "one_minute")]
    pub timeout: Span,
    /// Ingest pipeline to name in the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// Take the risk of reading along (and of passwords in the clear) on a private network.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_plain: bool,
}

fn default_index() -> String {
    "logs-{dataset}-avouch".to_owned()
}
fn yes() -> bool {
    true
}
fn one_minute() -> Span {
    Span::secs(60)
}

/// How an event is put into a syslog message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SyslogFormat {
    /// RFC 5424 with the event's id in structured data; the record is the message.
    #[default]
    Rfc5424,
    /// The record as it came, which should then be a syslog message itself.
    Raw,
}

/// Syslog with octet counting (RFC 6587, RFC 5425). Syslog has no acknowledgement: an event counts as done when it was written and
/// the connection then stayed up for `settle`. Duplicates are possible (findable by `id`); loss is possible when the receiver takes
/// a message and then loses or discards it, or when its machine dies with data that its kernel had acknowledged.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SyslogSinkConfig {
    /// `tls://HOST:PORT` or `tcp://HOST:PORT`.
    pub address: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsConfig>,
    #[serde(default)]
    pub format: SyslogFormat,
    /// Facility 0–23 of RFC 5424 messages; 13 is "log audit".
    #[serde(default = "log_audit")]
    pub facility: u8,
    /// How long the connection must stay up after the write.
    #[serde(default = "one_second")]
    pub settle: Span,
    /// How long connecting and writing may take.
    #[serde(default = "thirty_seconds")]
    pub timeout: Span,
}

fn log_audit() -> u8 {
    13
}
fn one_second() -> Span {
    Span::secs(1)
}
fn thirty_seconds() -> Span {
    Span::secs(30)
}

/// One JSON document per line, synced before it counts as done.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSinkConfig {
    /// The file being written; full ones are renamed to `NAME.1`, `NAME.2`, … with 1 the newest.
    pub path: PathBuf,
    /// Rotate above this size.
    #[serde(default = "rotate_bytes")]
    pub rotate: Size,
    /// Rotate after this time, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotate_after: Option<Span>,
    /// Rotated files kept. Older ones are deleted: the vault still has the events.
    #[serde(default = "keep")]
    pub keep: usize,
    /// Send the record itself as text too, where its parsed form is written.
    #[serde(default)]
    pub original: bool,
}

fn rotate_bytes() -> Size {
    Size::mib(256)
}
fn keep() -> usize {
    8
}

/// Something in a sink's settings that cannot work.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("sink `{sink}`: {problem}")]
pub struct ConfigProblem {
    pub sink: String,
    pub code: &'static str,
    /// The setting, as a path below the sink.
    pub setting: String,
    pub problem: String,
    pub hint: String,
}

impl ConfigProblem {
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }
    #[must_use]
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

impl SinkConfig {
    /// Whether events of `dataset` leave through this sink. A pattern that does not begin with `avouch.` never reaches our own.
    #[must_use]
    pub fn selects(&self, dataset: &str) -> bool {
        let is_own = dataset.starts_with(DATASETS_OWN);
        let mut is_in = false;
        for p in &self.datasets {
            match p.strip_prefix('!') {
                Some(not) if glob(not, dataset) => return false,
                Some(_) => {}
                None => is_in |= glob(p, dataset) && (!is_own || p.starts_with(DATASETS_OWN)),
            }
        }
        is_in
    }

    /// Kind as it is written; `None` when none or several are set.
    #[must_use]
    pub fn kind(&self) -> Option<&'static str> {
        match (&self.elasticsearch, &self.syslog, &self.file) {
            (Some(_), None, None) => Some("elasticsearch"),
            (None, Some(_), None) => Some("syslog"),
            (None, None, Some(_)) => Some("file"),
            _ => None,
        }
    }

    /// Everything that is wrong.
    #[must_use]
    pub fn check(&self, name: &str) -> Vec<ConfigProblem> {
        let mut out = Vec::new();
        let mut add = |code, setting: &str, problem: String, hint: &str| {
            out.push(ConfigProblem {
                sink: name.to_owned(),
                code,
                setting: setting.to_owned(),
                problem,
                hint: hint.to_owned(),
            });
        };
        if self.kind().is_none() {
            add(
                "sink.kind",
                "",
                "it needs exactly one of elasticsearch, syslog, file".into(),
                "keep one of them",
            );
        }
        if self.datasets.is_empty() {
            add("sink.no_dataset", "datasets", "it forwards nothing".into(), "name datasets, or `\"*\"`");
        }
        let n = self.concurrency;
        if n == 0 || n > crate::CONCURRENCY_MAX {
            add("sink.concurrency", "concurrency", format!("{n} requests at a time"), "write 1 to 32");
        }
        if self.batch.events == 0
            || self.batch.bytes.0 == 0
            || self.window.events == 0
            || self.window.bytes.0 == 0
        {
            add(
                "sink.zero",
                "batch",
                "a batch or window of nothing sends nothing".into(),
                "leave the setting out, or give a number above 0",
            );
        }
        if self.retry.base.0 <= 0 || self.retry.cap < self.retry.base || self.retry.probe.0 <= 0 {
            add(
                "sink.retry",
                "retry",
                format!("base {}, cap {}, probe {}", self.retry.base, self.retry.cap, self.retry.probe),
                "write a base above 0 and a cap not below it",
            );
        }
        if let Some(c) = &self.elasticsearch {
            c.check(&mut add);
        }
        if let Some(c) = &self.syslog {
            if c.endpoint().is_none() {
                add(
                    "sink.bad_address",
                    "syslog.address",
                    format!("cannot read `{}` as an address", c.address),
                    "write `tls://HOST:6514` or `tcp://HOST:601`",
                );
            }
            if c.facility > 23 {
                add(
                    "sink.bad_facility",
                    "syslog.facility",
                    format!("{} is no facility", c.facility),
                    "write 0 to 23",
                );
            }
            references(c.tls.iter().flat_map(TlsConfig::references), "syslog.tls", &mut add);
        }
        out
    }
}

type Add<'a> = dyn FnMut(&'static str, &str, String, &str) + 'a;

fn references<'a>(list: impl Iterator<Item = &'a SecretRef>, setting: &str, add: &mut Add<'_>) {
    for r in list {
        if !r.is_reference() {
            add(
                "sink.secret_in_clear",
                setting,
                "it holds a secret itself instead of saying where it is".into(),
                "write `env:NAME`, `file:PATH` or `exec:COMMAND`",
            );
        }
    }
}

impl ElasticsearchConfig {
    fn check(&self, add: &mut Add<'_>) {
        if self.urls.is_empty() {
            add(
                "sink.no_url",
                "elasticsearch.urls",
                "it names no node".into(),
                "write `urls: [ \"https://HOST:9200\" ]`",
            );
        }
        for url in &self.urls {
            match url.parse::<hyper::Uri>() {
                Ok(u) if u.authority().is_some_and(|a| a.as_str().contains('@')) => {
                    add(
                        "sink.secret_in_clear",
                        "elasticsearch.urls",
                        "an address holds a password".into(),
                        "put it into `auth`",
                    );
                }
                Ok(u) if u.host().is_some() && matches!(u.scheme_str(), Some("http" | "https")) => {
                    let is_safe = u.scheme_str() == Some("https") || u.host().is_some_and(is_loopback);
                    if !is_safe && !self.allow_plain {
                        add(
                            "sink.plain_http",
                            "elasticsearch.urls",
                            format!("`{url}` would send events readable for everybody on the way"),
                            "write `https://`, or `allow_plain: true` on a private network",
                        );
                    }
                }
                _ => add(
                    "sink.bad_url",
                    "elasticsearch.urls",
                    format!("cannot read `{url}` as an address"),
                    "write `https://HOST:9200`",
                ),
            }
        }
        let fixed = self.index.replace("{dataset}", "").replace("{date}", "");
        if fixed.contains(['{', '}'])
            || fixed != fixed.to_lowercase()
            || self.index.is_empty()
            || self.index.starts_with(['-', '_', '+'])
        {
            add(
                "sink.bad_index",
                "elasticsearch.index",
                format!("`{}` cannot be an index name", self.index),
                "use lower case, and only `{dataset}` and `{date}` in braces",
            );
        }
        if let Some(a) = &self.auth {
            let ways = [a.user.is_some() || a.password.is_some(), a.api_key.is_some(), a.bearer.is_some()];
            if ways.iter().filter(|w| **w).count() != 1 || a.user.is_some() != a.password.is_some() {
                add(
                    "sink.auth",
                    "elasticsearch.auth",
                    "it needs user and password, or api_key, or bearer".into(),
                    "keep one of them",
                );
            }
            references([&a.password, &a.api_key, &a.bearer].into_iter().flatten(), "elasticsearch.auth", add);
        }
        references(self.tls.iter().flat_map(TlsConfig::references), "elasticsearch.tls", add);
    }
}

/// Where a syslog receiver is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Endpoint {
    pub is_tls: bool,
    pub host: String,
    pub port: u16,
}

impl SyslogSinkConfig {
    pub(crate) fn endpoint(&self) -> Option<Endpoint> {
        let (scheme, rest) = self.address.split_once("://")?;
        let is_tls = match scheme {
            "tls" => true,
            "tcp" => false,
            _ => return None,
        };
        let (host, port) = rest.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = port.parse().ok().filter(|p| *p > 0)?;
        (!host.is_empty() && !host.contains('/')).then(|| Endpoint { is_tls, host: host.to_owned(), port })
    }
}

pub(crate) fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
