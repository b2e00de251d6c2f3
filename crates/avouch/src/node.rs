//! A data folder at work: vault, state, findings, register and query engine, with or without a daemon around them. Every operation
//! takes a [`Node`]; whether it lives in the daemon or in a command of its own makes no difference to it.

use crate::cli::Global;
use crate::config::{self, Config};
use crate::daemon::hub::Hub;
use crate::daemon::pipeline::Pipeline;
use crate::daemon::register::Book;
use crate::daemon::rules::{self, RuleBook};
use crate::daemon::signin::SignIn;
use crate::ops::Caller;
use crate::problem::Problem;
use crate::state::State;
use model::{Batch, ColumnSpec, Columns, Provenance, Time};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use vault::{
    Clock as _, Derive, LocalDisk, LocalKeys, Selection, Snapshot, SystemClock, SystemRandom, Vault,
};

/// How the vault stands behind this node.
pub enum Store {
    /// Open for writing: by the daemon, or by this command because no daemon runs.
    Open(Vault),
    /// Readable only (another process writes, or the folder is read-only): what is read is not recorded, and the output says so.
    Files(Box<Snapshot>),
}

pub struct Node {
    pub data: PathBuf,
    pub vault_dir: PathBuf,
    pub config: Config,
    pub config_files: Vec<PathBuf>,
    pub state: State,
    pub store: Store,
    pub engine: query::Engine,
    pub hub: Hub,
    pub rules: RuleBook,
    pub book: Book,
    pub signin: SignIn,
    /// What the last analysis of the estate says.
    pub outside: crate::daemon::access::Outside,
    /// Only in the daemon.
    pub pipeline: OnceLock<Arc<Pipeline>>,
    /// What opening the vault found, for `status` and for the first lines.
    pub opened: vault::Opened,
    /// A key-encryption key was made just now: the one file to back up.
    pub kek_created: bool,
    pub started: Time,
    /// How far each reader got.
    progress: std::sync::Mutex<std::collections::BTreeMap<&'static str, u64>>,
    /// When the vault was last verified by this process, and with which exit code.
    checked: std::sync::Mutex<Option<(Time, u8)>>,
}

/// Columns from raw by the parsers of `shape`.
pub struct ShapeColumns;

impl Derive for ShapeColumns {
    fn specs(&self, dataset: &str) -> Vec<ColumnSpec> {
        shape::specs(dataset)
    }
    fn parser(&self, dataset: &str) -> String {
        shape::parser(dataset)
    }
    fn derive(&self, dataset: &str, batch: &Batch) -> Columns {
        shape::derive(dataset, batch)
    }
}

pub fn now() -> Time {
    SystemClock.now()
}

/// Turns a typed error of a crate with code and hint into the one that people see.
pub fn vault_problem(e: &vault::VaultError) -> Problem {
    Problem::new(e.code(), e.to_string()).hint(e.hint())
}

/// Paths of a data folder.
pub struct Paths {
    pub vault: PathBuf,
    pub kek: PathBuf,
    pub log_key: PathBuf,
}

impl Paths {
    pub fn of(data: &Path, config: &Config) -> Paths {
        let secret = data.join("secret");
        Paths {
            vault: config.vault.path.clone().unwrap_or_else(|| data.join("vault")),
            kek: config.vault.kek.clone().unwrap_or_else(|| secret.join("kek")),
            log_key: config.vault.signing_key.clone().unwrap_or_else(|| secret.join("log.key")),
        }
    }
}

impl Node {
    /// For a command without a daemon: opens the vault for writing if nobody else has it, else reads its files.
    ///
    /// # Errors
    /// No vault there, or one that cannot be opened.
    pub async fn offline(data: &Path, global: &Global) -> Result<Node, Problem> {
        let path = global.config.clone().or_else(|| config::find(data));
        let loaded =
            config::load(path.as_deref(), &config::environment()).map_err(crate::cmd::config::refused)?;
        let paths = Paths::of(data, &loaded.config);
        if !paths.vault.join("vault.json").is_file() {
            return Err(Problem::new("vault.none", format!("there is no vault in `{}`", data.display()))
                .hint(format!(
                    "start one with `{0} demo` or `{0} serve`, or name the data folder: --data-dir DIR",
                    crate::cli::program()
                )));
        }
        Node::open(data, loaded, true).await
    }

    /// Opens (and, unless `must_exist`, makes) the vault and everything beside it.
    ///
    /// # Errors
    /// Keys, lock, disk or state cannot be had.
    pub async fn open(data: &Path, loaded: config::Loaded, must_exist: bool) -> Result<Node, Problem> {
        let config = loaded.config;
        let paths = Paths::of(data, &config);
        std::fs::create_dir_all(data).map_err(|e| {
            Problem::new("data.unwritable", format!("cannot make the data folder `{}`", data.display()))
                .because(&e)
                .hint("name another with --data-dir, or give this user the right to write there")
        })?;
        private(data);
        let key_problem = |e: &vault::KeyError| Problem::new(e.code(), e.to_string()).hint(e.hint());
        let (keys, kek_created) =
            LocalKeys::open(&paths.kek, Arc::new(SystemRandom), &LocalDisk).map_err(|e| key_problem(&e))?;
        let keys: Arc<dyn vault::KeyProvider> = Arc::new(keys);
        let derive: Arc<dyn Derive> = Arc::new(ShapeColumns);
        let settings = vault_settings(&paths, &config, &loaded.tree.value)?;
        let host = vault::Host::system(Arc::clone(&keys), Arc::clone(&derive));
        let dir = paths.vault.clone();
        let opening =
            tokio::task::spawn_blocking(move || Vault::open(&dir, settings, host)).await.map_err(|e| {
                Problem::new("internal.task", "opening the vault did not finish").because(&e).defect()
            })?;
        let (store, opened) = match opening {
            Ok((vault, opened)) => (Store::Open(vault), opened),
            Err(e @ vault::VaultError::Locked { .. }) if must_exist => {
                tracing::debug!(error = %e, "reading the vault's files beside its writer");
                let snapshot =
                    vault::read::open(&paths.vault, Some(keys), derive).map_err(|e| vault_problem(&e))?;
                (Store::Files(Box::new(snapshot)), vault::Opened::default())
            }
            Err(e) => return Err(vault_problem(&e)),
        };
        let state = State::open(&data.join("state.db")).await?;
        let limits = query::Limits {
            memory_bytes: config.query.memory.bytes(),
            time_box: config.query.time_box.0,
            ..query::Limits::default()
        };
        let engine =
            query::Engine::new(limits).map_err(|e| Problem::new(e.code(), e.to_string()).hint(e.hint()))?;
        Ok(Node {
            hub: Hub::load(&state).await?,
            rules: rules::load(&config)?,
            book: Book::load(&config, &state).await?,
            signin: SignIn::load(&state).await?,
            outside: crate::daemon::access::Outside::default(),
            pipeline: OnceLock::new(),
            data: data.to_path_buf(),
            vault_dir: paths.vault,
            config,
            config_files: loaded.files,
            state,
            store,
            engine,
            opened,
            kek_created,
            started: now(),
            progress: std::sync::Mutex::default(),
            checked: std::sync::Mutex::default(),
        })
    }

    pub fn progress(&self, reader: &'static str, position: u64) {
        self.progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(reader, position);
    }

    pub fn note_check(&self, exit: u8) {
        *self.checked.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some((now(), exit));
    }

    pub fn last_check(&self) -> Option<(Time, u8)> {
        *self.checked.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn progress_of(&self, reader: &str) -> Option<u64> {
        self.progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(reader).copied()
    }

    pub fn snapshot(&self) -> Snapshot {
        match &self.store {
            Store::Open(v) => v.snapshot(),
            Store::Files(s) => (**s).clone(),
        }
    }

    /// The vault, for what must write.
    ///
    /// # Errors
    /// `vault.read_only` when another process writes.
    pub fn vault(&self) -> Result<&Vault, Problem> {
        match &self.store {
            Store::Open(v) => Ok(v),
            Store::Files(_) => Err(Problem::new(
                "vault.read_only",
                "another process writes this vault and does not answer on its socket",
            )
            .hint("stop that process, or run this command as the user that started it")),
        }
    }

    pub fn is_read_only(&self) -> bool {
        matches!(self.store, Store::Files(_))
    }

    pub fn reader(&self, selection: Selection) -> Option<vault::Reader> {
        match &self.store {
            Store::Open(v) => Some(v.reader(selection)),
            Store::Files(_) => None,
        }
    }

    /// Appends one event of our own doings and waits until it is durable (F3).
    ///
    /// # Errors
    /// The vault does not take it; what it was to record must then not happen.
    pub async fn record(&self, dataset: &str, event: &Value) -> Result<vault::Ack, Problem> {
        self.vault()?
            .append(own_batch(dataset, std::slice::from_ref(event)))
            .await
            .map_err(|e| vault_problem(&e))
    }

    /// Records that somebody read: durable before the first row leaves. On a read-only copy the answer says that it was not.
    ///
    /// # Errors
    /// As for [`Node::record`].
    pub async fn record_access(
        &self,
        caller: &Caller,
        how: &str,
        detail: Value,
    ) -> Result<Option<&'static str>, Problem> {
        if self.is_read_only() {
            return Ok(Some("access not recorded: this vault is read beside its writer"));
        }
        let event = serde_json::json!({
            "schema": "avouch.access/1", "time": now().to_string(), "who": caller.name, "by": caller.by, "how": how, "what": detail,
        });
        self.record("avouch.access", &event).await?;
        Ok(None)
    }

    /// Records a change that a person or this program made.
    ///
    /// # Errors
    /// As for [`Node::record`].
    pub async fn audit(&self, caller: &Caller, what: &str, why: &str, detail: Value) -> Result<(), Problem> {
        let event = serde_json::json!({
            "schema": "avouch.audit/1", "time": now().to_string(), "who": caller.name, "by": caller.by, "what": what, "why": why, "detail": detail,
        });
        self.record("avouch.audit", &event).await.map(drop)
    }

    /// Lets go of everything without sealing: a command that only looked must not make segments.
    pub async fn close(self) {
        drop(self.store);
        self.state.close().await;
    }
}

/// A batch of our own JSON events.
pub fn own_batch(dataset: &str, events: &[Value]) -> Batch {
    own_batch_from(dataset, events, Provenance::new("avouch"))
}

/// The same, where the envelope has more to say.
pub fn own_batch_from(dataset: &str, events: &[Value], provenance: Provenance) -> Batch {
    let mut batch = Batch::builder();
    let provenance = batch.provenance(provenance);
    let name = batch.dataset(dataset);
    let at = now();
    for event in events {
        let row = batch.push(event.to_string().as_bytes(), provenance, name);
        row.event_time = at;
        row.flags.set(model::Flags::TIME_FROM_PAYLOAD);
    }
    batch.finish()
}

fn vault_settings(paths: &Paths, config: &Config, effective: &Value) -> Result<vault::Settings, Problem> {
    let c = &config.vault;
    let mut s = vault::Settings::new(&paths.vault);
    s.origin = c.origin.clone();
    s.commit_bytes = c.commit.max_bytes.bytes();
    s.commit_wait = c.commit.max_wait.0;
    s.heartbeat = c.rhythm.heartbeat.0;
    s.idle = c.rhythm.idle.0;
    s.seal_bytes = c.seal.bytes.0;
    s.seal_age = c.seal.age.0;
    s.reserve_bytes = c.reserve.0;
    s.event_bytes_max = c.max_event.bytes();
    s.signing_key = paths.log_key.clone();
    for (name, dataset) in &config.datasets {
        let max_age =
            dataset.retention.max_age.as_deref().map(str::parse).transpose().map_err(|e: String| {
                Problem::new("config.bad_age", format!("datasets.{name}.retention.max_age: {e}"))
                    .hint(config::AGES)
            })?;
        let encryption = dataset.encryption.map(|e| match e {
            config::Encryption::Pme => vault::format::leaf::Encryption::Pme,
            config::Encryption::Sse => vault::format::leaf::Encryption::Sse,
        });
        let entry = s.datasets.entry(name.clone()).or_default();
        entry.max_age = max_age.or(entry.max_age);
        entry.encryption = encryption.or(entry.encryption);
    }
    let text = model::canonical::to_vec(effective).unwrap_or_else(|_| effective.to_string().into_bytes());
    s.config = Some((vault::format::Digest(model::sha256(&[&text])), "avouch".to_owned()));
    Ok(s)
}

/// Only the owner may enter a data folder.
fn private(dir: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    if let Err(e) = std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)) {
        tracing::warn!(error = %e, "the data folder's mode could not be set to 0700");
    }
}
