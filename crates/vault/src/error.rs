use crate::merkle::MerkleError;
use std::path::Path;

/// Why the vault could not do what it was asked. Cheap to clone: one failed commit is told to every waiting source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    #[error("vault `{path}` is in use by process {pid}")]
    Locked { path: String, pid: String },
    #[error("cannot {what} `{path}`: {why}")]
    Io { what: &'static str, path: String, why: String },
    #[error("the vault has stopped taking events: {why}")]
    Poisoned { why: String },
    #[error("the vault is closed")]
    Closed,
    #[error("event {index} of the batch has {bytes} bytes, the limit is {max}")]
    EventTooLarge { index: usize, bytes: usize, max: usize },
    #[error("the batch has {bytes} bytes with its envelopes, the limit is {max}")]
    BatchTooLarge { bytes: usize, max: usize },
    #[error("event {index} names no usable dataset: `{name}`")]
    BadDataset { index: usize, name: String },
    #[error("provenance {index} of the batch has an origin that is no JSON object of text and integers")]
    BadOrigin { index: usize },
    #[error("`{path}` is damaged: {why}")]
    Corrupt { path: String, why: String },
    #[error("`{path}` has format version {found}, this program reads up to {known}")]
    TooNew { path: String, found: u32, known: u32 },
    #[error("the log key does not belong to this vault: it is `{found}`, `vault.json` names `{expected}`")]
    LogKeyMismatch { found: String, expected: String },
    #[error("the log signing key `{path}` is missing")]
    LogKeyMissing { path: String },
    #[error("the vault's origin is `{expected}`, the configuration says `{found}`")]
    OriginChanged { found: String, expected: String },
    #[error("setting `{name}`: {why}")]
    BadSetting { name: String, why: String },
    #[error("`{path}` is no vault: `vault.json` is missing")]
    NoVault { path: String },
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Merkle(#[from] MerkleError),
}

/// Why a key could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("cannot {what} key file `{path}`: {why}")]
    File { what: &'static str, path: String, why: String },
    #[error("key file `{path}` can be read by others (mode {mode:o})")]
    TooWide { path: String, mode: u32 },
    #[error("key file `{path}` does not hold 32 bytes in hex")]
    Malformed { path: String },
    #[error("the wrapped key of `{segment}` does not open: wrong key, or it was altered")]
    DoesNotOpen { segment: String },
    #[error("the wrapped key of `{segment}` is gone")]
    Gone { segment: String },
    #[error("no data key was given, and `{segment}` is encrypted")]
    NotGiven { segment: String },
    #[error("the random generator failed: {why}")]
    Random { why: String },
    #[error("the key service does not answer: {why}")]
    Service { why: String },
}

impl KeyError {
    /// Stable code, `area.reason`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            KeyError::File { .. } => "key.file",
            KeyError::TooWide { .. } => "key.too_wide",
            KeyError::Malformed { .. } => "key.malformed",
            KeyError::DoesNotOpen { .. } => "key.does_not_open",
            KeyError::Gone { .. } => "key.gone",
            KeyError::NotGiven { .. } => "key.not_given",
            KeyError::Random { .. } => "key.random",
            KeyError::Service { .. } => "key.service",
        }
    }

    /// What a person can do next.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            KeyError::File { path, .. } => {
                format!("check that `{path}` and its folder belong to the user that runs this program")
            }
            KeyError::TooWide { path, .. } => format!("chmod 600 {path}"),
            KeyError::Malformed { path } => {
                format!("restore `{path}` from its backup; a new key would not open what is stored")
            }
            KeyError::DoesNotOpen { .. } => {
                "restore the key encryption key that this vault was written with".into()
            }
            KeyError::Gone { .. } => {
                "if an expire leaf names it, it was shredded on purpose; `avouch verify` says which".into()
            }
            KeyError::NotGiven { .. } => "give the key with --data-key".into(),
            KeyError::Random { .. } => "check that the system's random device works".into(),
            KeyError::Service { .. } => "check the key service and the role that calls it".into(),
        }
    }
}

impl VaultError {
    pub(crate) fn io(what: &'static str, path: &Path, error: &std::io::Error) -> VaultError {
        VaultError::Io { what, path: path.display().to_string(), why: error.to_string() }
    }

    pub(crate) fn corrupt(path: &Path, why: impl Into<String>) -> VaultError {
        VaultError::Corrupt { path: path.display().to_string(), why: why.into() }
    }

    /// Stable code, `area.reason`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            VaultError::Locked { .. } => "vault.locked",
            VaultError::Io { .. } => "vault.io",
            VaultError::Poisoned { .. } => "vault.poisoned",
            VaultError::Closed => "vault.closed",
            VaultError::EventTooLarge { .. } => "vault.event_too_large",
            VaultError::BatchTooLarge { .. } => "vault.batch_too_large",
            VaultError::BadDataset { .. } => "vault.bad_dataset",
            VaultError::BadOrigin { .. } => "vault.bad_origin",
            VaultError::Corrupt { .. } => "vault.corrupt",
            VaultError::TooNew { .. } => "vault.too_new",
            VaultError::LogKeyMismatch { .. } => "vault.log_key_mismatch",
            VaultError::LogKeyMissing { .. } => "vault.log_key_missing",
            VaultError::OriginChanged { .. } => "vault.origin_changed",
            VaultError::BadSetting { .. } => "vault.bad_setting",
            VaultError::NoVault { .. } => "vault.none",
            VaultError::Key(e) => e.code(),
            VaultError::Merkle(e) => e.code(),
        }
    }

    /// What a person can do next.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            VaultError::Locked { pid, .. } => format!("stop process {pid} first, or give another folder with --data"),
            VaultError::Io { path, .. } => format!("check the disk under `{path}`, its free space and its owner"),
            VaultError::Poisoned { .. } => {
                "check the disk, then start again: what was acknowledged is kept, the rest was never acknowledged".into()
            }
            VaultError::Closed => "start the daemon again".into(),
            VaultError::EventTooLarge { .. } => "raise `vault.max_event` (at most 16MiB) or let the source cut long events".into(),
            VaultError::BatchTooLarge { .. } => "hand over smaller batches".into(),
            VaultError::BadDataset { .. } => {
                "a dataset name has 1 to 100 of the characters a-z, 0-9, `.`, `_`, `-` and starts with a letter or digit".into()
            }
            VaultError::BadOrigin { .. } => "this is an error of the source; report it with the source's configuration".into(),
            VaultError::Corrupt { .. } => "run `avouch verify` on the vault folder to see what is affected".into(),
            VaultError::TooNew { .. } => "use the version that wrote it, or a newer one".into(),
            VaultError::LogKeyMismatch { .. } => "restore the signing key of this vault; a rotated key needs its `key` leaf".into(),
            VaultError::LogKeyMissing { path } => {
                format!("restore `{path}` from its backup; a new key cannot continue this log")
            }
            VaultError::OriginChanged { expected, .. } => format!("set `vault.origin: {expected}`; a log keeps its origin for life"),
            VaultError::BadSetting { name, .. } => format!("correct `{name}` in the configuration"),
            VaultError::NoVault { .. } => "give the data folder or the vault folder in it".into(),
            VaultError::Key(e) => e.hint(),
            VaultError::Merkle(e) => e.hint().to_owned(),
        }
    }
}
