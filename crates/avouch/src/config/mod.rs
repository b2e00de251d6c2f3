//! `avouch.yaml`: structs with doc comments are the only source of the schema, the reference page and the checks.
//!
//! Order of precedence: flag, environment (`AVOUCH__SERVER__LISTEN`), file (`avouch.yaml`, then `conf.d/*.yaml` beside it, by name),
//! default. Every default is the production one.

pub mod access;
pub mod check;
pub mod tree;

pub use self::access::{AccessConfig, Trusted};
use crate::files;
use crate::problem::Problem;
use collect::units::{Size, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tree::Tree;

/// The whole configuration.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Pages and API.
    pub server: Server,
    /// Where evidence is kept, and how.
    pub vault: VaultConfig,
    /// Policy per dataset; `*` for all that are not named.
    pub datasets: BTreeMap<String, DatasetConfig>,
    /// Where events come from, by name.
    pub sources: BTreeMap<String, collect::SourceConfig>,
    /// Where events go, by name.
    pub sinks: BTreeMap<String, forward::SinkConfig>,
    /// Who is told about findings, and how.
    pub alerts: alert::AlertsConfig,
    /// Detection rules beside the shipped ones.
    pub rules: RulesConfig,
    /// The control register.
    pub controls: ControlsConfig,
    /// Who outside can reach what.
    pub access: AccessConfig,
    /// Limits of searches.
    pub query: QueryConfig,
}

/// Pages and API.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Address of the pages. An address that is not loopback needs a proxy that ends TLS, named in `behind_proxy`.
    pub listen: SocketAddr,
    /// The address people type, when it differs from `listen`.
    pub public_url: Option<String>,
    /// Address ranges of the proxies that may stand in front.
    pub behind_proxy: Vec<String>,
}

impl Default for Server {
    fn default() -> Server {
        Server {
            listen: SocketAddr::from(([127, 0, 0, 1], 8440)),
            public_url: None,
            behind_proxy: Vec::new(),
        }
    }
}

/// Where evidence is kept, and how.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VaultConfig {
    /// Folder; default `<data>/vault`.
    pub path: Option<PathBuf>,
    /// Name of the log in its signed checkpoints, e.g. `example.org/vault-1`. Default: `avouch.local/<vault id>`.
    pub origin: Option<String>,
    /// Group commit: bytes and time after which waiting events are written and synced.
    pub commit: Commit,
    /// Signed heartbeats while events come, and when none come.
    pub rhythm: Rhythm,
    /// When an open file is sealed into Parquet.
    pub seal: Seal,
    /// Disk space kept free for leaves and expiry (the larger of 2 % and this).
    pub reserve: Size,
    /// Largest event.
    pub max_event: Size,
    /// File of the key-encryption key, mode 0600; default `<data>/secret/kek`, made at the first start.
    pub kek: Option<PathBuf>,
    /// File of the log's signing key, mode 0600; default `<data>/secret/log.key`, made at the first start.
    pub signing_key: Option<PathBuf>,
}

impl Default for VaultConfig {
    fn default() -> VaultConfig {
        VaultConfig {
            path: None,
            origin: None,
            commit: Commit::default(),
            rhythm: Rhythm::default(),
            seal: Seal::default(),
            reserve: Size::mib(1024),
            max_event: Size::mib(1),
            kek: None,
            signing_key: None,
        }
    }
}

/// Group commit.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Commit {
    pub max_bytes: Size,
    pub max_wait: Span,
}

impl Default for Commit {
    fn default() -> Commit {
        Commit { max_bytes: Size::mib(4), max_wait: Span(std::time::Duration::from_millis(5)) }
    }
}

/// Signed heartbeats.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rhythm {
    pub heartbeat: Span,
    pub idle: Span,
}

impl Default for Rhythm {
    fn default() -> Rhythm {
        Rhythm { heartbeat: Span::secs(5), idle: Span::secs(60) }
    }
}

/// Sealing.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Seal {
    pub bytes: Size,
    pub age: Span,
}

impl Default for Seal {
    fn default() -> Seal {
        Seal { bytes: Size::mib(256), age: Span::secs(900) }
    }
}

/// Policy of a dataset.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DatasetConfig {
    pub retention: Retention,
    /// `pme` (default): Parquet files are encrypted; `sse`: plain files for other engines, on a store that encrypts.
    pub encryption: Option<Encryption>,
}

/// How long events are kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// `7d`, `13mo`, `2y` or `forever`. Default `90d`.
    pub max_age: Option<String>,
    /// `max_age` may not go below this.
    pub at_least: Option<String>,
    /// `max_age` may not go above this.
    pub at_most: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Encryption {
    Pme,
    Sse,
}

/// Detection rules.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RulesConfig {
    /// Further Sigma files or folders.
    pub paths: Vec<PathBuf>,
    /// Values for `%name%` in rules that use `expand`.
    pub placeholders: BTreeMap<String, Vec<String>>,
    /// Rules that do not run, by name, with the reason.
    pub disabled: BTreeMap<String, String>,
}

/// The control register.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ControlsConfig {
    /// Built-in packs in use.
    pub packs: Vec<String>,
    /// Further files or folders.
    pub paths: Vec<PathBuf>,
    /// Run drills by themselves at their cadence.
    pub drills: bool,
}

impl Default for ControlsConfig {
    fn default() -> ControlsConfig {
        ControlsConfig { packs: vec!["self".to_owned()], paths: Vec::new(), drills: true }
    }
}

/// Limits of searches.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct QueryConfig {
    /// Range of a search that names none.
    pub default_range: Span,
    /// A search or statement that runs longer ends in a labelled partial answer.
    pub time_box: Span,
    /// Memory of one query.
    pub memory: Size,
}

impl Default for QueryConfig {
    fn default() -> QueryConfig {
        QueryConfig { default_range: Span::secs(86_400), time_box: Span::secs(60), memory: Size::mib(1024) }
    }
}

/// A configuration with the place of everything in it.
pub struct Loaded {
    pub config: Config,
    pub tree: Tree,
    /// Files that were read, in order.
    pub files: Vec<PathBuf>,
}

/// The JSON Schema (draft 2020-12) of `avouch.yaml`.
pub fn schema() -> Value {
    let mut schema = serde_json::to_value(schemars::schema_for!(Config)).unwrap_or_default();
    if let Some(map) = schema.as_object_mut() {
        map.insert("title".into(), "avouch.yaml".into());
    }
    schema
}

/// Reads `path` (or the defaults when there is none), `conf.d` beside it and the environment.
///
/// # Errors
/// All problems at once.
pub fn load(path: Option<&Path>, environment: &[(String, String)]) -> Result<Loaded, Vec<Problem>> {
    let mut tree = Tree::new();
    let mut problems = Vec::new();
    let mut files = Vec::new();
    if let Some(path) = path {
        let mut names = vec![path.to_path_buf()];
        names.extend(fragments(path));
        for name in names {
            match read(&name) {
                Ok(text) => {
                    problems.extend(tree.add(&name.display().to_string(), &text));
                    files.push(name);
                }
                Err(p) => problems.push(p),
            }
        }
    }
    for (name, value) in environment {
        if let Some(rest) = name.strip_prefix("AVOUCH__") {
            let keys: Vec<String> = rest.split("__").map(str::to_lowercase).collect();
            tree.set(&keys, value, &format!("environment {name}"));
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    problems.extend(check::against_schema(&tree, &schema()));
    if !problems.is_empty() {
        return Err(problems);
    }
    // The path is asked for because serde's own message names neither the key nor the value.
    let config: Config = match serde_path_to_error::deserialize(&tree.value) {
        Ok(c) => c,
        Err(e) => return Err(vec![bad_value(&e, &tree)]),
    };
    problems.extend(meaning(&config, &tree));
    if problems.is_empty() { Ok(Loaded { config, tree, files }) } else { Err(problems) }
}

fn bad_value(e: &serde_path_to_error::Error<serde_json::Error>, tree: &Tree) -> Problem {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in e.path() {
        match segment {
            Segment::Map { key } => {
                pointer.push_str(&format!("/{}", key.replace('~', "~0").replace('/', "~1")))
            }
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            // Alternatives of an enum are no keys of the file.
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    let key = pointer.trim_start_matches('/').replace('/', ".");
    let value = match tree.value.pointer(&pointer) {
        Some(Value::String(s)) => format!("`{s}`: "),
        Some(v @ (Value::Number(_) | Value::Bool(_))) => format!("`{v}`: "),
        _ => String::new(),
    };
    let problem = Problem::new("config.bad_value", format!("{key}: {value}{}", e.inner()))
        .hint("`avouch config schema` describes every key");
    problem.at(tree.place(&pointer, "this value"))
}

/// What the schema cannot see: settings that contradict each other or the world.
fn meaning(config: &Config, tree: &Tree) -> Vec<Problem> {
    let mut out = Vec::new();
    for (name, source) in &config.sources {
        for p in source.problems(name) {
            let setting: String =
                p.setting.split('.').filter(|s| !s.is_empty()).map(|s| format!("/{s}")).collect();
            let at = format!("/sources/{name}{setting}");
            let problem =
                Problem::new(p.code, format!("source `{name}`: {}", p.problem)).hint(p.hint.clone());
            out.push(problem.at(tree.place(&at, "here")));
        }
    }
    let mut put = |code: &'static str, at: &str, message: String, hint: &str| {
        let problem = Problem::new(code, message).hint(hint.to_owned());
        out.push(problem.at(tree.place(at, "here")));
    };
    let below = |setting: &str| {
        setting.split('.').filter(|s| !s.is_empty()).map(|s| format!("/{s}")).collect::<String>()
    };
    for (name, sink) in &config.sinks {
        for p in sink.check(name) {
            put(
                p.code,
                &format!("/sinks/{name}{}", below(&p.setting)),
                format!("sink `{name}`: {}", p.problem),
                &p.hint,
            );
        }
    }
    for p in config.alerts.check().into_iter().filter(|p| !p.is_warning) {
        put(
            p.code,
            &format!("/alerts{}", below(&p.setting)),
            format!("alerts.{}: {}", p.setting, p.problem),
            &p.hint,
        );
    }
    for (at, code, message, hint) in config.access.problems() {
        put(code, &at, message, hint);
    }
    let mut ports: BTreeMap<String, String> = BTreeMap::new();
    for (name, source) in &config.sources {
        let listeners = source
            .syslog
            .iter()
            .flat_map(|s| s.listen.iter())
            .map(|l| {
                (
                    format!(
                        "{}/{}",
                        if l.transport == collect::Transport::Udp { "udp" } else { "tcp" },
                        l.address
                    ),
                    l.address.port(),
                )
            })
            .chain(source.https.iter().map(|h| (format!("tcp/{}", h.listen), h.listen.port())));
        for (address, port) in listeners.filter(|(_, port)| *port != 0).collect::<Vec<_>>() {
            let _ = port;
            if let Some(other) = ports.insert(address.clone(), name.clone()) {
                let p = Problem::new(
                    "config.port_twice",
                    format!("sources `{other}` and `{name}` both listen on {address}"),
                )
                .hint("give one of them another port");
                out.push(p.at(tree.place(&format!("/sources/{name}"), "listens here too")));
            }
        }
    }
    let ip = config.server.listen.ip();
    if !ip.is_loopback() && config.server.behind_proxy.is_empty() {
        let p = Problem::new("config.open_listener", format!("`{}` is not loopback and no proxy is named", config.server.listen))
            .hint("this build has no TLS of its own for the pages: put a proxy in front and name its range in `server.behind_proxy`");
        out.push(p.at(tree.place("/server/listen", "would send sessions in clear")));
    }
    for (name, dataset) in &config.datasets {
        for (key, text) in [
            ("max_age", &dataset.retention.max_age),
            ("at_least", &dataset.retention.at_least),
            ("at_most", &dataset.retention.at_most),
        ] {
            let Some(text) = text else { continue };
            if text.parse::<vault::format::MaxAge>().is_err() {
                let p = Problem::new("config.bad_age", format!("cannot read `{text}` as an age")).hint(AGES);
                out.push(p.at(tree.place(&format!("/datasets/{name}/retention/{key}"), "not an age")));
            }
        }
    }
    let built_in: Vec<&str> = prove::PACKS
        .iter()
        .map(|(n, _)| n.rsplit('/').next().unwrap_or(n).trim_end_matches(".yaml"))
        .collect();
    for (i, pack) in config.controls.packs.iter().enumerate() {
        if !built_in.contains(&pack.as_str()) {
            let near = model::nearest(pack, built_in.iter().copied());
            let p = Problem::new("config.unknown_pack", format!("no built-in control pack `{pack}`")).hint(
                match near.first() {
                    Some(n) => format!("did you mean `{n}`?"),
                    None => format!("packs are {}", built_in.join(", ")),
                },
            );
            out.push(p.at(tree.place(&format!("/controls/packs/{i}"), "unknown")));
        }
    }
    out
}

/// How an age is written, for who wrote it otherwise.
pub const AGES: &str = "write `7d`, `13mo`, `2y` or `forever`";

fn fragments(path: &Path) -> Vec<PathBuf> {
    let dir = path.parent().unwrap_or(Path::new(".")).join("conf.d");
    let mut found: Vec<PathBuf> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|e| e == "yaml"))
        .collect();
    found.sort();
    found
}

fn read(path: &Path) -> Result<String, Problem> {
    let name = path.display();
    let bytes = files::read(path, tree::FILE_BYTES_MAX).map_err(|e| match e.kind() {
        std::io::ErrorKind::FileTooLarge => {
            Problem::new("config.too_large", format!("`{name}` cannot be a configuration"))
                .because(&e)
                .hint("is this the right file? split a real one into `conf.d/*.yaml`")
        }
        std::io::ErrorKind::NotFound => {
            Problem::new("config.unreadable", format!("cannot read the configuration `{name}`"))
                .because(&e)
                .hint("`avouch init log-proxy` writes a commented one; name another with `--config FILE`")
        }
        _ => Problem::new("config.unreadable", format!("cannot read the configuration `{name}`"))
            .because(&e)
            .hint("check its owner and mode"),
    })?;
    String::from_utf8(bytes).map_err(|e| {
        Problem::new(
            "config.not_utf8",
            format!("`{name}` is not UTF-8 (byte {})", e.utf8_error().valid_up_to()),
        )
        .hint("save it as UTF-8")
    })
}

/// The configuration file to use when none is named: `avouch.yaml` in the data folder, then in the current folder, then `/etc/avouch`.
pub fn find(data: &Path) -> Option<PathBuf> {
    [data.join("avouch.yaml"), PathBuf::from("avouch.yaml"), PathBuf::from("/etc/avouch/avouch.yaml")]
        .into_iter()
        .find(|p| p.is_file())
}

/// The process's environment as the loader wants it.
pub fn environment() -> Vec<(String, String)> {
    let mut vars: Vec<(String, String)> = std::env::vars().filter(|(k, _)| k.starts_with("AVOUCH")).collect();
    vars.sort();
    vars
}
