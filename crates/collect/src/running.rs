//! Starting, pausing and stopping a source.

use crate::config::{ConfigProblem, Kind, SourceConfig};
use crate::counters::Counters;
use crate::feed::{Feed, Mode};
use crate::intake::{DeadLetters, Intake};
use crate::keys::{AccessLog, KeyRing};
use crate::source::{self, Base};
use model::Provenance;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What a source needs from the host. Cheap to clone.
#[derive(Clone)]
pub struct Host {
    pub intake: Arc<dyn Intake>,
    pub dead_letters: Arc<dyn DeadLetters>,
    pub keys: Arc<dyn KeyRing>,
    pub access_log: Arc<dyn AccessLog>,
    /// Stable name of this machine: part of the ids of events from files.
    pub host_id: Arc<str>,
}

/// Why a source did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigProblem),
    #[error("source `{source_name}`: cannot listen on `{listener}`: {error}")]
    Bind { source_name: String, listener: String, error: std::io::Error },
    #[error("source `{source_name}`: cannot use `{file}`: {why}")]
    Tls { source_name: String, file: String, why: String },
    #[error("source `{source_name}`: cannot start a thread: {error}")]
    Thread { source_name: String, error: std::io::Error },
}

impl StartError {
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            StartError::Config(p) => p.code(),
            StartError::Bind { .. } => "source.bind",
            StartError::Tls { .. } => "source.tls",
            StartError::Thread { .. } => "source.thread",
        }
    }
    #[must_use]
    pub fn hint(&self) -> String {
        use std::io::ErrorKind;
        match self {
            StartError::Config(p) => p.hint().to_owned(),
            StartError::Bind { listener, error, .. } => match error.kind() {
                ErrorKind::PermissionDenied => {
                    "a port below 1024 needs CAP_NET_BIND_SERVICE: grant it to the service, or listen on a higher port".into()
                }
                ErrorKind::AddrInUse => {
                    let port = listener.rsplit(':').next().unwrap_or("PORT");
                    format!("another program has the port: `ss -lntup 'sport = :{port}'` names it")
                }
                ErrorKind::AddrNotAvailable => "the address is not on this machine: `ip address` lists those that are".into(),
                _ => "check the address in the source's `listen`".into(),
            },
            StartError::Tls { .. } => "the file must be PEM, readable by the service, and key and certificate must belong together".into(),
            StartError::Thread { .. } => "raise the limit of threads (`ulimit -u`, `TasksMax=`)".into(),
        }
    }
}

/// A source that runs. Dropping it stops the source without waiting for what it still holds; [`Running::stop`] waits.
pub struct Running {
    pub name: String,
    pub kind: &'static str,
    /// Where it listens, with the real port where 0 was asked for, such as `udp://127.0.0.1:5514`.
    pub addresses: Vec<String>,
    pub counters: Arc<Counters>,
    mode: watch::Sender<Mode>,
    tasks: JoinSet<()>,
}

impl Running {
    /// Stops reading; connections and positions stay. What is on the way is finished.
    pub fn pause(&self) {
        self.mode.send_if_modified(|m| {
            *m == Mode::Run && {
                *m = Mode::Pause;
                true
            }
        });
    }
    pub fn resume(&self) {
        self.mode.send_if_modified(|m| {
            *m == Mode::Pause && {
                *m = Mode::Run;
                true
            }
        });
    }
    #[must_use]
    pub fn mode(&self) -> Mode {
        *self.mode.borrow()
    }
    /// Stops accepting and reading, hands over what was read, then returns. At most `feed::STOP_GRACE` after the intake stalls.
    pub async fn stop(mut self) {
        self.mode.send_replace(Mode::Stop);
        self.done().await;
    }
    /// Resolves when the source has ended by itself (end of stdin, one-shot folder), or after a stop.
    pub async fn done(&mut self) {
        while let Some(end) = self.tasks.join_next().await {
            if let Err(e) = end
                && e.is_panic()
            {
                tracing::error!(source = %self.name, "a task of the source ended by a defect: its events stopped");
            }
        }
    }
}

/// Starts the source `name`. Must be called inside a tokio runtime, which it uses for everything it does.
///
/// # Errors
/// Settings that cannot work, an address that cannot be listened on, a certificate that cannot be read.
pub fn start(name: &str, config: &SourceConfig, host: &Host) -> Result<Running, StartError> {
    if let Some(problem) = config.problems(name).into_iter().next() {
        return Err(problem.into());
    }
    let kind = config.kind(name)?;
    let (mode, watch) = watch::channel(Mode::Run);
    let feed = Feed::new(name, Arc::clone(&host.intake), Arc::clone(&host.dead_letters), watch);
    let counters = Arc::clone(&feed.counters);
    let mut provenance = Provenance::new(name);
    provenance.source = Arc::clone(&feed.source);
    provenance.tags = config.tags.iter().map(|t| t.as_str().into()).collect();
    let base = Base {
        feed,
        dataset: config.dataset.as_deref().unwrap_or(default_dataset(&kind)).into(),
        provenance,
        host: host.clone(),
        decode: config.decode.clone(),
        owners: config.owners.clone(),
    };
    let mut tasks = JoinSet::new();
    let addresses = match kind {
        Kind::Syslog(c) => source::syslog::start(c, &base, &mut tasks)?,
        Kind::Https(c) => source::https::start(c, &base, &mut tasks)?,
        Kind::File(c) => source::file::start(c, base, &mut tasks),
        Kind::Stdin(c) => source::stdin::start(c, base, &mut tasks)?,
        Kind::CloudtrailFiles(c) => source::cloudtrail_files::start(c, base, &mut tasks),
    };
    tracing::info!(source = name, kind = kind.name(), listeners = ?addresses, "source started");
    Ok(Running { name: name.to_owned(), kind: kind.name(), addresses, counters, mode, tasks })
}

/// The dataset of events for which the configuration names none.
fn default_dataset(kind: &Kind<'_>) -> &'static str {
    match kind {
        Kind::Syslog(_) => "syslog",
        Kind::CloudtrailFiles(_) => crate::decode::cloudtrail::DATASET,
        Kind::Https(_) | Kind::File(_) | Kind::Stdin(_) => "other",
    }
}
