use crate::error::VaultError;
use crate::format::digest::parse_hex16;
use crate::format::paths;
use crate::merkle::hex;
use model::Time;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Version of the vault folder's formats.
pub const FORMAT_VERSION: u32 = 1;

/// `vault.json`: what a reader must know before anything else. Written once.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VaultJson {
    pub format: u32,
    /// Vault id, 32 hex digits.
    pub vault: String,
    /// Origin line of the log.
    pub origin: String,
    pub shard: u32,
    /// The log's first verification key. Convenient, and proves nothing: whoever can change the log can change this file.
    pub vkey: String,
    pub created: Time,
}

impl VaultJson {
    /// Canonical JSON with a newline.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let value = serde_json::to_value(self).unwrap_or_default();
        let mut out = model::canonical::to_vec(&value).unwrap_or_default();
        out.push(b'\n');
        out
    }

    /// Reads the file in the vault folder `dir`; `None` when it does not exist.
    ///
    /// # Errors
    /// It cannot be read, is malformed, or of a later version.
    pub fn read(dir: &Path) -> Result<Option<VaultJson>, VaultError> {
        let path = dir.join(paths::VAULT_JSON);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(VaultError::io("read", &path, &e)),
        };
        let json: VaultJson =
            serde_json::from_slice(&bytes).map_err(|e| VaultError::corrupt(&path, e.to_string()))?;
        if json.format > FORMAT_VERSION {
            return Err(VaultError::TooNew {
                path: path.display().to_string(),
                found: json.format,
                known: FORMAT_VERSION,
            });
        }
        if json.id().is_none() {
            return Err(VaultError::corrupt(&path, format!("`{}` is no vault id", json.vault)));
        }
        Ok(Some(json))
    }

    /// The vault id as bytes.
    #[must_use]
    pub fn id(&self) -> Option<[u8; 16]> {
        parse_hex16(&self.vault)
    }

    /// Text form of a vault id.
    #[must_use]
    pub fn id_text(id: &[u8; 16]) -> String {
        hex(id)
    }
}
