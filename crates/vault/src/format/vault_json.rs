use crate::error::VaultError;
use crate::format::digest::parse_hex16;
use crate::format::paths;
use crate::merkle::hex;
use model::Time;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Version of the vault folder's formats.
pub const FORMAT_VERSION: u32 = 1;

/// Our own are below 1 KiB; an origin may be long.
const BYTES_MAX: u64 = 64 << 10;

/// A regular file of at most `max` bytes: whoever can write into the folder must not decide how much memory a reader needs.
pub(crate) fn read_at_most(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    // Asked before it is opened: opening a pipe waits for a writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file"));
    }
    let file = File::open(path)?;
    let mut bytes = Vec::new();
    file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("larger than {max} bytes")));
    }
    Ok(bytes)
}

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
        let bytes = match read_at_most(&path, BYTES_MAX) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_has_a_bound() {
        let dir = std::env::temp_dir().join(format!("vault-json-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = File::create(dir.join(paths::VAULT_JSON)).unwrap();
        file.set_len(1 << 40).unwrap();
        let error = VaultJson::read(&dir).unwrap_err().to_string();
        assert!(error.contains("larger than 65536 bytes"), "{error}");
        std::fs::remove_file(dir.join(paths::VAULT_JSON)).unwrap();
        assert_eq!(VaultJson::read(&dir), Ok(None));
        let error = read_at_most(Path::new("/dev/zero"), 10).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(read_at_most(Path::new("/dev"), 10).unwrap_err().kind(), io::ErrorKind::InvalidData);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
