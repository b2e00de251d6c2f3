use crate::error::KeyError;
use crate::keys::{Dek, KeyContext};
use model::{Batch, ColumnSpec, Columns, Time};
use std::sync::Arc;

/// Columns made from raw (`vault.md` 4). `avouch` implements it over the parsers of `shape`.
pub trait Derive: Send + Sync {
    /// Names and types of the derived columns of `dataset`, always in the same order.
    fn specs(&self, dataset: &str) -> Vec<ColumnSpec>;
    /// Parser and version, e.g. `aws.cloudtrail@1`; stands in the segment leaf.
    fn parser(&self, dataset: &str) -> String;
    /// The columns of `batch`, whose rows all belong to `dataset`.
    fn derive(&self, dataset: &str, batch: &Batch) -> Columns;
}

/// No derived columns: for vaults that only keep.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoColumns;

impl Derive for NoColumns {
    fn specs(&self, _dataset: &str) -> Vec<ColumnSpec> {
        Vec::new()
    }
    fn parser(&self, _dataset: &str) -> String {
        "none@1".into()
    }
    fn derive(&self, _dataset: &str, batch: &Batch) -> Columns {
        Columns { rows: batch.len(), ..Columns::default() }
    }
}

/// What time it is. May go back; the vault does not (V3).
pub trait Clock: Send + Sync {
    fn now(&self) -> Time;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Time {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Time(since.ok().and_then(|d| i64::try_from(d.as_micros()).ok()).unwrap_or(0))
    }
}

/// Random bytes for keys, nonces and the vault id.
pub trait Random: Send + Sync {
    /// # Errors
    /// The generator has no bytes to give; nothing must then be encrypted.
    fn fill(&self, out: &mut [u8]) -> Result<(), KeyError>;
}

/// The system's generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, out: &mut [u8]) -> Result<(), KeyError> {
        use ring::rand::SecureRandom as _;
        ring::rand::SystemRandom::new()
            .fill(out)
            .map_err(|_| KeyError::Random { why: "no random bytes from the system".into() })
    }
}

/// Wraps and unwraps data keys (`vault.md` 9). Calls may block (a key service); the vault makes them off its commit path.
pub trait KeyProvider: Send + Sync {
    /// A fresh data key and its wrapped form. `context` is authenticated with it, so that a wrap cannot be moved to another
    /// segment.
    ///
    /// # Errors
    /// The provider cannot be reached, or has no randomness.
    fn generate(&self, context: &KeyContext) -> Result<(Dek, Vec<u8>), KeyError>;
    /// The data key in `wrap`.
    ///
    /// # Errors
    /// It is not ours, was altered, or the provider refuses.
    fn unwrap(&self, wrap: &[u8], context: &KeyContext) -> Result<Dek, KeyError>;
}

/// What the vault takes from its host instead of reaching for it.
#[derive(Clone)]
pub struct Host {
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub keys: Arc<dyn KeyProvider>,
    pub derive: Arc<dyn Derive>,
    pub disk: Arc<dyn crate::disk::Disk>,
}

impl Host {
    /// The real machine.
    #[must_use]
    pub fn system(keys: Arc<dyn KeyProvider>, derive: Arc<dyn Derive>) -> Host {
        Host {
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            keys,
            derive,
            disk: Arc::new(crate::disk::LocalDisk),
        }
    }
}
