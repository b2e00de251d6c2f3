use crate::error::KeyError;
use crate::format::{paths, read_at_most};
use crate::keys::{Dek, KeyContext};
use crate::merkle::hex;
use crate::traits::KeyProvider;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A wrap of ours has 60 bytes; a key service's ciphertext has some hundred.
const WRAP_BYTES_MAX: u64 = 64 << 10;

/// Data keys of one vault, unwrapped on first use and kept in memory.
pub struct KeyRing {
    dir: PathBuf,
    vault: String,
    provider: Option<Arc<dyn KeyProvider>>,
    known: Mutex<BTreeMap<[u8; 16], Dek>>,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("vault", &self.vault).finish_non_exhaustive()
    }
}

impl KeyRing {
    #[must_use]
    pub fn new(dir: &Path, vault: &str, provider: Option<Arc<dyn KeyProvider>>) -> KeyRing {
        KeyRing { dir: dir.to_owned(), vault: vault.to_owned(), provider, known: Mutex::default() }
    }

    /// The data key `id`, made for `segment` of `dataset`.
    ///
    /// # Errors
    /// No provider was given, the wrap is gone, or it does not open.
    pub fn dek(&self, id: &[u8; 16], dataset: &str, segment: &str) -> Result<Dek, KeyError> {
        if let Some(dek) = self.lock().get(id) {
            return Ok(dek.clone());
        }
        let named = || segment.to_owned();
        let provider = self.provider.as_ref().ok_or_else(|| KeyError::NotGiven { segment: named() })?;
        let path = self.dir.join(paths::wrap(id));
        let wrap = read_at_most(&path, WRAP_BYTES_MAX).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => KeyError::Gone { segment: named() },
            _ => KeyError::File { what: "read", path: path.display().to_string(), why: e.to_string() },
        })?;
        let dek = provider.unwrap(&wrap, &self.context(dataset, segment))?;
        self.lock().insert(*id, dek.clone());
        Ok(dek)
    }

    /// A context in this vault.
    #[must_use]
    pub fn context(&self, dataset: &str, segment: &str) -> KeyContext {
        KeyContext { vault: self.vault.clone(), dataset: dataset.into(), segment: segment.into() }
    }

    #[must_use]
    pub fn vault(&self) -> &str {
        &self.vault
    }

    /// Keeps a key that was just made.
    pub(crate) fn keep(&self, id: [u8; 16], dek: Dek) {
        self.lock().insert(id, dek);
    }

    /// Forgets a key whose wrap is being destroyed.
    pub(crate) fn forget(&self, id: &[u8; 16]) {
        self.lock().remove(id);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<[u8; 16], Dek>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Name of a WAL file in key contexts.
#[must_use]
pub fn wal_segment(number: u64) -> String {
    format!("wal/{number}")
}

/// Hex of a data key id.
#[must_use]
pub fn dek_text(id: &[u8; 16]) -> String {
    hex(id)
}
