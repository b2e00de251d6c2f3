use crate::error::VaultError;
use crate::format::leaf::Encryption;
use crate::format::{Digest, MaxAge};
use crate::read::{closeness, glob};
use model::EVENT_BYTES_MAX;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the operator decides (`vault.md` 13). Every default is the documented one.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Origin line of the log; `None`: `avouch.local/<vault id>`. Fixed at creation.
    pub origin: Option<String>,
    pub shard: u32,
    /// A commit is closed at this many bytes.
    pub commit_bytes: usize,
    /// How long a commit may gather while the one before it is being synced. An idle vault commits at once.
    pub commit_wait: Duration,
    pub heartbeat: Duration,
    pub idle: Duration,
    pub seal_bytes: u64,
    pub seal_age: Duration,
    /// Kept free for leaves and expiry: the larger of bytes and share.
    pub reserve_bytes: u64,
    pub reserve_percent: u8,
    /// The log's Ed25519 key, mode 0600; made on the first start.
    pub signing_key: PathBuf,
    pub event_bytes_max: usize,
    /// By name pattern; the closest pattern decides.
    pub datasets: BTreeMap<String, DatasetSettings>,
    /// Bytes of events waiting for their commit, after which `append` waits.
    pub queue_bytes: usize,
    /// Bytes of unsealed events kept in memory for readers that follow closely.
    pub cache_bytes: u64,
    /// Hash of the effective configuration and who set it: a `config` leaf when it differs from the last.
    pub config: Option<(Digest, String)>,
    /// False: nothing happens by itself; the caller drives time with [`Vault::tick`](crate::Vault::tick). For tests.
    pub background: bool,
}

/// Settings of the datasets that a pattern names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatasetSettings {
    pub max_age: Option<MaxAge>,
    pub encryption: Option<Encryption>,
}

/// Limit of one batch with its envelopes: it becomes one commit, and a reader must be able to hold it.
pub(crate) const BATCH_BYTES_MAX: usize = 256 << 20;

impl Settings {
    /// Documented defaults for a vault in `dir`: the signing key lies in `secret` beside it, everything is kept 90 days,
    /// `avouch.*` for ever.
    #[must_use]
    pub fn new(dir: &Path) -> Settings {
        let secret = dir.parent().unwrap_or(dir).join("secret");
        let keep = |max_age| DatasetSettings { max_age: Some(max_age), encryption: None };
        Settings {
            origin: None,
            shard: 0,
            commit_bytes: 4 << 20,
            commit_wait: Duration::from_millis(5),
            heartbeat: Duration::from_secs(5),
            idle: Duration::from_secs(60),
            seal_bytes: 256 << 20,
            seal_age: Duration::from_secs(15 * 60),
            reserve_bytes: 1 << 30,
            reserve_percent: 2,
            signing_key: secret.join("log.key"),
            event_bytes_max: 1 << 20,
            datasets: BTreeMap::from([
                ("*".to_owned(), keep(MaxAge::Days(90))),
                ("avouch.*".to_owned(), keep(MaxAge::Forever)),
            ]),
            queue_bytes: 64 << 20,
            cache_bytes: 128 << 20,
            config: None,
            background: true,
        }
    }

    pub(crate) fn check(&self) -> Result<(), VaultError> {
        let bad = |name: &str, why: &str| Err(VaultError::BadSetting { name: name.into(), why: why.into() });
        if self.event_bytes_max == 0 || self.event_bytes_max > EVENT_BYTES_MAX {
            return bad("vault.max_event", "must be between 1 byte and 16MiB");
        }
        if self.commit_bytes == 0 || self.commit_bytes > BATCH_BYTES_MAX {
            return bad("vault.commit.max_bytes", "must be between 1 byte and 256MiB");
        }
        if self.queue_bytes < 1024 {
            return bad("vault.queue_bytes", "must be at least 1KiB");
        }
        if self.reserve_percent > 90 {
            return bad("vault.reserve.share", "must be at most 90%");
        }
        if self.seal_bytes < 4096 {
            return bad("vault.seal.bytes", "must be at least 4KiB");
        }
        if self.heartbeat < Duration::from_secs(1) || self.heartbeat > self.idle {
            return bad("vault.rhythm", "heartbeat must be at least 1s and not above idle");
        }
        Ok(())
    }

    /// How `dataset` is stored: Parquet encryption unless a pattern says otherwise.
    #[must_use]
    pub fn encryption(&self, dataset: &str) -> Encryption {
        let fitting = self.datasets.iter().filter(|(p, d)| glob(p, dataset) && d.encryption.is_some());
        let closest = fitting.max_by_key(|(p, _)| closeness(p));
        closest.and_then(|(_, d)| d.encryption).unwrap_or(Encryption::Pme)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_pattern_decides() {
        let mut s = Settings::new(Path::new("/d/vault"));
        let sse = DatasetSettings { max_age: None, encryption: Some(Encryption::Sse) };
        s.datasets.insert("aws.*".into(), sse);
        s.datasets
            .insert("aws.cloudtrail".into(), DatasetSettings { encryption: Some(Encryption::Pme), ..sse });
        s.datasets.insert("aws.v*".into(), DatasetSettings::default());
        assert_eq!(s.encryption("aws.cloudtrail"), Encryption::Pme);
        assert_eq!(s.encryption("aws.vpcflow"), Encryption::Sse, "a pattern without a say is passed over");
        assert_eq!(s.encryption("syslog"), Encryption::Pme);
        assert_eq!(s.signing_key, Path::new("/d/secret/log.key"));
    }

    #[test]
    fn limits_are_checked() {
        let good = Settings::new(Path::new("/d/vault"));
        assert_eq!(good.check(), Ok(()));
        for (bad, name) in [
            (Settings { event_bytes_max: EVENT_BYTES_MAX + 1, ..good.clone() }, "vault.max_event"),
            (Settings { commit_bytes: 0, ..good.clone() }, "vault.commit.max_bytes"),
            (Settings { queue_bytes: 0, ..good.clone() }, "vault.queue_bytes"),
            (Settings { reserve_percent: 91, ..good.clone() }, "vault.reserve.share"),
            (Settings { seal_bytes: 1, ..good.clone() }, "vault.seal.bytes"),
            (Settings { heartbeat: Duration::ZERO, ..good.clone() }, "vault.rhythm"),
        ] {
            let error = bad.check().unwrap_err();
            assert!(error.to_string().contains(name) && error.hint().contains(name), "{error}");
        }
    }
}
