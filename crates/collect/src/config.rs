//! What `avouch.yaml` may say under `sources:`. The doc comments are the reference pages.

use crate::units::{Cidr, Size, Span};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// One source: exactly one of the kinds, and what all kinds share.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SourceConfig {
    /// Syslog over UDP, TCP and TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syslog: Option<SyslogConfig>,
    /// Events posted by HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub https: Option<HttpsConfig>,
    /// Lines of files that grow and rotate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<FileConfig>,
    /// Lines of the standard input of `avouch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdin: Option<StdinConfig>,
    /// A folder of CloudTrail log files, or one file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cloudtrail_files: Option<CloudtrailFilesConfig>,
    /// The dataset of events that no rule below claims.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// Rules that choose the dataset, first match wins.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub datasets: Vec<DatasetRule>,
    /// What turns a body into events, in order. Default: chosen by the kind of source.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub decode: Vec<Decoder>,
    /// Accounts whose CloudWatch envelopes are taken; empty takes all. A stranger's envelope goes to `avouch.refused`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<String>,
    /// Routing tags put on every event of this source.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// When this source counts as silent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silence: Option<Silence>,
}

/// The kind of a source with its settings.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Kind<'a> {
    Syslog(&'a SyslogConfig),
    Https(&'a HttpsConfig),
    File(&'a FileConfig),
    Stdin(&'a StdinConfig),
    CloudtrailFiles(&'a CloudtrailFilesConfig),
}

impl Kind<'_> {
    /// Names as they are written in the configuration, in the order of [`SourceConfig`].
    pub const NAMES: [&'static str; 5] = ["syslog", "https", "file", "stdin", "cloudtrail_files"];
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Syslog(_) => "syslog",
            Kind::Https(_) => "https",
            Kind::File(_) => "file",
            Kind::Stdin(_) => "stdin",
            Kind::CloudtrailFiles(_) => "cloudtrail_files",
        }
    }
}

/// Something in a source's settings that cannot work.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("source `{source_name}`: {problem}")]
pub struct ConfigProblem {
    pub source_name: String,
    pub code: &'static str,
    /// The setting, as a path below the source: `syslog.tls`.
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

/// Largest `max_message` and `max_line` (8 MiB): each connection may hold one such message in memory.
pub const MESSAGE_BYTES_LIMIT: Size = Size::mib(8);

impl SourceConfig {
    /// The one kind that is set.
    ///
    /// # Errors
    /// None or several are set.
    pub fn kind(&self, source_name: &str) -> Result<Kind<'_>, ConfigProblem> {
        let kinds = [
            self.syslog.as_ref().map(Kind::Syslog),
            self.https.as_ref().map(Kind::Https),
            self.file.as_ref().map(Kind::File),
            self.stdin.as_ref().map(Kind::Stdin),
            self.cloudtrail_files.as_ref().map(Kind::CloudtrailFiles),
        ];
        let mut set = kinds.into_iter().flatten();
        let found = set.next();
        let rest: Vec<&str> = set.map(|k| k.name()).collect();
        let bad = |problem: String| ConfigProblem {
            source_name: source_name.to_owned(),
            code: "config.source_kind",
            setting: String::new(),
            problem,
            hint: format!("write exactly one of {}", Kind::NAMES.join(", ")),
        };
        match (found, rest.is_empty()) {
            (None, _) => Err(bad("no kind is set".to_owned())),
            (Some(k), true) => Ok(k),
            (Some(k), false) => Err(bad(format!("{} and {} are set together", k.name(), rest.join(", ")))),
        }
    }

    /// Everything that cannot work, without touching network or files.
    #[must_use]
    pub fn problems(&self, source_name: &str) -> Vec<ConfigProblem> {
        let mut out = Vec::new();
        let mut add = |code, setting: &str, problem: String, hint: &str| {
            out.push(ConfigProblem {
                source_name: source_name.to_owned(),
                code,
                setting: setting.to_owned(),
                problem,
                hint: hint.to_owned(),
            });
        };
        let kind = match self.kind(source_name) {
            Ok(k) => k,
            Err(e) => return vec![e],
        };
        let too_long = |size: Size| format!("{size} is above the limit of {MESSAGE_BYTES_LIMIT}");
        match kind {
            Kind::Syslog(c) => {
                if c.listen.is_empty() {
                    add(
                        "config.no_listener",
                        "syslog.listen",
                        "no address to listen on".into(),
                        "write `listen: [ \"udp://127.0.0.1:5514\" ]`",
                    );
                }
                if c.tls.is_none() && c.listen.iter().any(|l| l.transport == Transport::Tls) {
                    add(
                        "config.no_tls",
                        "syslog.tls",
                        "a tls:// listener needs a certificate".into(),
                        "add `tls: { cert: file:…, key: file:… }`",
                    );
                }
                if c.max_message > MESSAGE_BYTES_LIMIT || c.max_message.0 < 480 {
                    add(
                        "config.limit",
                        "syslog.max_message",
                        too_long(c.max_message).replace("above", "outside 480 and"),
                        "write a size from `480` to `8MiB`",
                    );
                }
                if let Some(t) = &c.tls {
                    tls_problem(t, "syslog.tls", &mut add);
                }
            }
            Kind::Https(c) => {
                if c.tls.is_none() && !c.listen.ip().is_loopback() && !c.allow_plain {
                    add(
                        "config.plain_http",
                        "https.listen",
                        format!(
                            "`{}` is not loopback and has no TLS: API keys would travel in clear",
                            c.listen
                        ),
                        "add `tls: { cert: file:…, key: file:… }`, or `allow_plain: true` when a proxy on a private network ends TLS",
                    );
                }
                if let Some(bad) = c.paths.iter().find(|p| !p.starts_with('/') || p.contains(['?', '#'])) {
                    add(
                        "config.path",
                        "https.paths",
                        format!("`{bad}` is no path"),
                        "write it with a leading `/` and without a query",
                    );
                }
                if let Some(t) = &c.tls {
                    tls_problem(t, "https.tls", &mut add);
                }
            }
            Kind::File(c) => {
                if c.paths.is_empty() {
                    add(
                        "config.no_path",
                        "file.paths",
                        "no file is named".into(),
                        "write `paths: [ /var/log/app/*.log ]`",
                    );
                }
                if c.max_line > MESSAGE_BYTES_LIMIT || c.max_line.0 == 0 {
                    add("config.limit", "file.max_line", too_long(c.max_line), "write a size up to `8MiB`");
                }
            }
            Kind::Stdin(c) => {
                if c.max_line > MESSAGE_BYTES_LIMIT || c.max_line.0 == 0 {
                    add("config.limit", "stdin.max_line", too_long(c.max_line), "write a size up to `8MiB`");
                }
            }
            Kind::CloudtrailFiles(c) => {
                if c.path.as_os_str().is_empty() {
                    add(
                        "config.no_path",
                        "cloudtrail_files.path",
                        "no folder is named".into(),
                        "write `path: /var/lib/cloudtrail`",
                    );
                }
            }
        }
        out
    }
}

fn tls_problem(t: &TlsConfig, setting: &str, add: &mut dyn FnMut(&'static str, &str, String, &str)) {
    if t.clients != Clients::Off && t.ca.is_none() {
        add(
            "config.no_ca",
            setting,
            "client certificates are asked for, but no CA to judge them is named".into(),
            "add `ca: file:…` to `tls`",
        );
    }
}

/// Chooses a dataset.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DatasetRule {
    /// Field → pattern or patterns (`*` matches anything); all fields must match. Without it the rule always matches.
    #[serde(rename = "match", skip_serializing_if = "BTreeMap::is_empty")]
    pub matches: BTreeMap<String, Patterns>,
    /// Decoders for what matched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub decode: Vec<Decoder>,
    /// The dataset of what matched.
    pub dataset: String,
}

/// One pattern or several.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Patterns {
    One(String),
    Many(Vec<String>),
}

impl Patterns {
    #[must_use]
    pub fn list(&self) -> &[String] {
        match self {
            Patterns::One(p) => std::slice::from_ref(p),
            Patterns::Many(p) => p,
        }
    }
}

/// A step that turns bytes into events.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Decoder {
    /// Decompresses, when the bytes begin as gzip or zstd.
    Gzip,
    /// A CloudWatch Logs subscription message, gzip or plain, one or several.
    Cloudwatch,
    /// CloudTrail: `{"Records":[…]}`, an array, one record, or JSON lines.
    Cloudtrail,
    /// One JSON value, an array of values, or values one after the other.
    Json,
    /// One event a line.
    Lines,
    /// Chooses the dataset of a CloudWatch message by its log group, or by default: JSON where it begins like JSON, else lines.
    Auto,
}

impl Decoder {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Decoder::Gzip => "gzip",
            Decoder::Cloudwatch => "cloudwatch",
            Decoder::Cloudtrail => "cloudtrail",
            Decoder::Json => "json",
            Decoder::Lines => "lines",
            Decoder::Auto => "auto",
        }
    }
}

/// When a source, or one of its members, counts as silent.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Silence {
    /// Watch each member apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<SilenceBy>,
    /// Silent after this long without an event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_gap: Option<Span>,
    /// Silent when fewer events than this arrive in a period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_events: Option<MinEvents>,
    /// Members that must exist; one never seen reads `unknown` from the first minute.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SilenceBy {
    Sender,
    LogGroup,
    Account,
    Key,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MinEvents {
    /// So many events at least.
    pub n: u64,
    /// In so long.
    pub per: Span,
}

/// Syslog listeners.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SyslogConfig {
    /// Addresses: `udp://0.0.0.0:514`, `tcp://0.0.0.0:601`, `tls://0.0.0.0:6514`.
    pub listen: Vec<Listen>,
    /// Certificate and key for `tls://` listeners.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsConfig>,
    /// Time zones of senders whose timestamps carry none (RFC 3164). Others are taken as UTC, with flag `assumed_zone`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<Zone>,
    /// Longest message over TCP and TLS; the rest is cut, with flag `truncated`. UDP: 64 KiB, or this when it is less.
    pub max_message: Size,
    /// What ends a TCP message that has no length in front.
    pub trailer: Trailer,
    /// Kernel receive buffer asked for per UDP socket; `net.core.rmem_max` limits it.
    pub receive_buffer: Size,
    /// UDP sockets per address, sharing its load; 0 is one per core, at most 8.
    pub sockets: u8,
    /// A connection that sends nothing for so long is closed.
    pub idle: Span,
    /// Connections from one address.
    pub connections_per_address: u32,
    /// Connections in total.
    pub connections: u32,
}

impl Default for SyslogConfig {
    fn default() -> SyslogConfig {
        SyslogConfig {
            listen: Vec::new(),
            tls: None,
            zones: Vec::new(),
            max_message: Size::kib(256),
            trailer: Trailer::Lf,
            receive_buffer: Size::mib(8),
            sockets: 0,
            idle: Span::secs(600),
            connections_per_address: 1_024,
            connections: 16_384,
        }
    }
}

/// The zone of some senders.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Zone {
    /// Address range of the senders.
    pub senders: Cidr,
    /// IANA name, such as `Europe/London`.
    pub zone: String,
}

/// End of a message that is not octet counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trailer {
    /// LF or CRLF. A NUL is part of the message.
    #[default]
    Lf,
    /// NUL. An LF is part of the message.
    Nul,
    /// LF, CRLF or NUL, whichever comes first.
    Both,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
}

/// A transport and an address to listen on. Port 0 takes any free port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Listen {
    pub transport: Transport,
    pub address: SocketAddr,
}

impl FromStr for Listen {
    type Err = String;
    fn from_str(s: &str) -> Result<Listen, String> {
        let bad =
            || format!("cannot read `{s}` as a listener; write `udp://ADDRESS:PORT`, `tcp://…` or `tls://…`");
        let (scheme, address) = s.split_once("://").ok_or_else(bad)?;
        let transport = match scheme {
            "udp" => Transport::Udp,
            "tcp" => Transport::Tcp,
            "tls" => Transport::Tls,
            _ => return Err(bad()),
        };
        Ok(Listen { transport, address: address.parse().map_err(|_| bad())? })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.transport {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
        };
        write!(f, "{scheme}://{}", self.address)
    }
}

impl Serialize for Listen {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Listen, D::Error> {
        Cow::<str>::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}
impl JsonSchema for Listen {
    fn schema_name() -> Cow<'static, str> {
        "Listener".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(udp|tcp|tls)://", "examples": ["udp://0.0.0.0:514"] })
    }
}

/// Server side of TLS 1.2 and 1.3. Files are read again when they change; open connections stay.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// Certificate chain, PEM.
    pub cert: FileRef,
    /// Private key, PEM.
    pub key: FileRef,
    /// Whether senders must show a certificate: `off`, `optional` or `required`.
    #[serde(default)]
    pub clients: Clients,
    /// CA certificates that senders' certificates must come from, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<FileRef>,
    /// SHA-256 of the sender certificates that are taken, hex; empty takes all that the CA signed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fingerprints: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Clients {
    #[default]
    Off,
    Optional,
    Required,
}

/// A file, written `file:/path` like every secret by reference; the prefix may be left out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct FileRef(pub String);

impl FileRef {
    #[must_use]
    pub fn path(&self) -> &Path {
        Path::new(self.0.strip_prefix("file:").unwrap_or(&self.0))
    }
}

/// HTTP ingest: `POST /v1/ingest/{source}` with an API key.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpsConfig {
    /// Address and port. Without TLS only loopback is accepted.
    pub listen: SocketAddr,
    /// Certificate and key; without them plain HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsConfig>,
    /// Further paths that take events, for senders whose path cannot be changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Largest body after decompression.
    #[serde(default = "ten_mib")]
    pub limit: Size,
    /// Answer 400 to bad JSON and store nothing, instead of keeping the body as one event with `parse_error`.
    #[serde(default)]
    pub strict: bool,
    /// Take plain HTTP on an address that is not loopback (a proxy ends TLS).
    #[serde(default)]
    pub allow_plain: bool,
    /// Time for a request's header to arrive; a connection that is kept open may be idle for as long.
    #[serde(default = "thirty_secs")]
    pub header_deadline: Span,
    /// Time for a request's body to arrive.
    #[serde(default = "thirty_secs")]
    pub body_deadline: Span,
    /// Time for the vault to take a body before the answer is 503.
    #[serde(default = "thirty_secs")]
    pub commit_deadline: Span,
    /// Connections in total.
    #[serde(default = "connections")]
    pub connections: u32,
}

fn ten_mib() -> Size {
    Size::mib(10)
}
fn thirty_secs() -> Span {
    Span::secs(30)
}
fn connections() -> u32 {
    1_024
}

impl HttpsConfig {
    /// Defaults on an address.
    #[must_use]
    pub fn on(listen: SocketAddr) -> HttpsConfig {
        HttpsConfig {
            listen,
            tls: None,
            paths: Vec::new(),
            limit: ten_mib(),
            strict: false,
            allow_plain: false,
            header_deadline: thirty_secs(),
            body_deadline: thirty_secs(),
            commit_deadline: thirty_secs(),
            connections: connections(),
        }
    }
}

/// Files that grow and rotate, one event a line.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FileConfig {
    /// Paths with `*`, `?` and `[…]` in any component, and `**` for any depth.
    pub paths: Vec<String>,
    /// Where to begin with a file that has no checkpoint.
    pub start: Start,
    /// How often files are looked at.
    pub poll: Span,
    /// Longest line; the rest is cut, with flag `truncated`.
    pub max_line: Size,
    /// A last line without an end is taken after so long, with flag `partial`.
    pub flush_partial: Span,
    /// A file that was renamed or deleted is let go so long after its last growth.
    pub forget: Span,
}

impl Default for FileConfig {
    fn default() -> FileConfig {
        FileConfig {
            paths: Vec::new(),
            start: Start::Checkpoint,
            poll: Span::secs(1),
            max_line: Size::mib(1),
            flush_partial: Span::secs(5),
            forget: Span::secs(300),
        }
    }
}

/// Where reading begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// At the checkpoint; a file without one from its beginning.
    #[default]
    Checkpoint,
    /// At the beginning, whatever the checkpoint says. Lines that were taken before are found to be duplicates.
    Beginning,
    /// At the checkpoint; a file without one, and there when the source starts, from its end.
    End,
}

/// Lines of the standard input.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StdinConfig {
    /// Longest line; the rest is cut, with flag `truncated`.
    pub max_line: Size,
}

impl Default for StdinConfig {
    fn default() -> StdinConfig {
        StdinConfig { max_line: Size::mib(1) }
    }
}

/// CloudTrail log files as they lie in a bucket, copied to a folder.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CloudtrailFilesConfig {
    /// A folder, read with all folders below it, or one file.
    pub path: PathBuf,
    /// Go on looking for new files; otherwise read what is there and end.
    pub watch: bool,
    /// How often the folder is looked at.
    pub poll: Span,
    /// Largest file after decompression; the records before the limit are kept.
    pub limit: Size,
}

impl Default for CloudtrailFilesConfig {
    fn default() -> CloudtrailFilesConfig {
        CloudtrailFilesConfig { path: PathBuf::new(), watch: true, poll: Span::secs(5), limit: Size(4 << 30) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expect: &str) {
        let got = match serde_json::from_str::<SourceConfig>(json) {
            Err(e) => e.to_string(),
            Ok(c) => {
                let p: Vec<String> =
                    c.problems("s").iter().map(|p| format!("{} at {}", p.code, p.setting)).collect();
                if p.is_empty() { c.kind("s").unwrap().name().to_owned() } else { p.join("; ") }
            }
        };
        assert!(got.starts_with(expect), "{json}\n got {got}\nwant {expect}");
    }

    #[test]
    fn the_examples_of_the_design_page_load() {
        check(
            r#"{"syslog": {"listen": ["udp://0.0.0.0:514", "tcp://0.0.0.0:601", "tls://0.0.0.0:6514"],
                "tls": {"cert": "file:/etc/avouch/edge.pem", "key": "file:/etc/avouch/edge.key", "clients": "required", "ca": "file:/etc/avouch/fleet-ca.pem"},
                "zones": [{"senders": "10.20.0.0/16", "zone": "Europe/London"}], "max_message": "256KiB"},
              "datasets": [{"match": {"app": ["1", "pan*"]}, "dataset": "panos"}, {"dataset": "syslog"}],
              "silence": {"by": "sender", "max_gap": "5m", "expect": ["10.20.1.1", "10.20.1.2"]}}"#,
            "syslog",
        );
        check(
            r#"{"https": {"listen": "127.0.0.1:8443", "paths": ["/logs"], "limit": "10MiB", "strict": false},
              "silence": {"min_events": {"n": 1, "per": "5m"}}}"#,
            "https",
        );
        check(r#"{"file": {"paths": ["/var/log/app/*.log"]}, "dataset": "app"}"#, "file");
        check(r#"{"stdin": {}}"#, "stdin");
        check(r#"{"cloudtrail_files": {"path": "/trail"}, "dataset": "aws.cloudtrail"}"#, "cloudtrail_files");
    }

    #[test]
    fn what_cannot_work_is_named() {
        check("{}", "config.source_kind at ");
        check(r#"{"stdin": {}, "file": {"paths": ["x"]}}"#, "config.source_kind at ");
        check(r#"{"syslog": {}}"#, "config.no_listener at syslog.listen");
        check(r#"{"syslog": {"listen": ["tls://0.0.0.0:1"]}}"#, "config.no_tls at syslog.tls");
        check(r#"{"syslog": {"listen": ["tcp://0.0.0.0:1"], "max_message": "9MiB"}}"#, "config.limit");
        check(r#"{"syslog": {"listen": ["0.0.0.0:1"]}}"#, "cannot read `0.0.0.0:1` as a listener");
        check(r#"{"syslog": {"listn": []}}"#, "unknown field `listn`");
        check(r#"{"https": {"listen": "0.0.0.0:80"}}"#, "config.plain_http at https.listen");
        check(r#"{"https": {"listen": "0.0.0.0:80", "allow_plain": true}}"#, "https");
        check(r#"{"https": {"listen": "127.0.0.1:80", "paths": ["logs"]}}"#, "config.path");
        check(
            r#"{"https": {"listen": "0.0.0.0:1", "tls": {"cert": "a", "key": "b", "clients": "required"}}}"#,
            "config.no_ca at https.tls",
        );
        check(r#"{"file": {"paths": []}}"#, "config.no_path");
        check(r#"{"file": {"paths": ["x"], "max_line": "9MiB"}}"#, "config.limit");
        check(r#"{"stdin": {"max_line": 0}}"#, "config.limit");
        check(r#"{"cloudtrail_files": {}}"#, "config.no_path");
    }

    #[test]
    fn a_config_survives_its_own_text() {
        let c: SourceConfig =
            serde_json::from_str(r#"{"syslog": {"listen": ["udp://[::1]:514"]}, "tags": ["a"]}"#).unwrap();
        assert_eq!(serde_json::from_str::<SourceConfig>(&serde_json::to_string(&c).unwrap()).unwrap(), c);
    }

    #[test]
    fn every_setting_has_a_description() {
        let schema = serde_json::to_value(schemars::schema_for!(SourceConfig)).unwrap();
        let mut structs = vec![("SourceConfig", &schema)];
        structs.extend(schema["$defs"].as_object().unwrap().iter().map(|(n, d)| (n.as_str(), d)));
        for (name, d) in structs {
            for (key, p) in d["properties"].as_object().into_iter().flatten() {
                assert!(p["description"].is_string(), "{name}.{key}");
                assert_eq!(d["additionalProperties"], false, "{name}");
            }
        }
        assert_eq!(schema["additionalProperties"], false);
    }
}
