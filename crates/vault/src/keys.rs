//! Data keys and the local key encryption key (`vault.md` 9).
//!
//! A KEK in a file protects copies of the vault folder that are made without it. Whoever backs up both together has no
//! encryption; `doctor` says so.

use crate::disk::{Disk, create_folders};
use crate::error::KeyError;
use crate::merkle::hex;
use crate::traits::{KeyProvider, Random};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use std::fmt;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Bytes of every symmetric key here.
pub const KEY_BYTES: usize = 32;
/// First byte of a wrap made by [`LocalKeys`]; other providers take other numbers.
const WRAP_LOCAL: u8 = 1;

/// A 256-bit data key. No `Display`, no `Serialize`; `Debug` shows nothing; wiped on drop.
#[derive(Clone)]
pub struct Dek(Zeroizing<[u8; KEY_BYTES]>);

impl Dek {
    #[must_use]
    pub fn new(bytes: [u8; KEY_BYTES]) -> Dek {
        Dek(Zeroizing::new(bytes))
    }
    #[must_use]
    pub fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl fmt::Debug for Dek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dek(..)")
    }
}

/// What a data key is for. Authenticated with its wrap.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyContext {
    /// Vault id, hex.
    pub vault: String,
    /// Empty for a WAL file, which holds many.
    pub dataset: String,
    /// `wal/42` or `42-0`.
    pub segment: String,
}

impl KeyContext {
    /// RFC 8785 object. Names are plain ASCII here, so canonical form is a matter of order.
    fn aad(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        out.extend_from_slice(b"{\"dataset\":");
        model::canonical::write_string(&self.dataset, &mut out);
        out.extend_from_slice(b",\"segment\":");
        model::canonical::write_string(&self.segment, &mut out);
        out.extend_from_slice(b",\"vault\":");
        model::canonical::write_string(&self.vault, &mut out);
        out.push(b'}');
        out
    }
}

/// Keys wrapped with AES-256-GCM under a KEK that lies in a file.
#[derive(Clone)]
pub struct LocalKeys {
    kek: LessSafeKey,
    random: Arc<dyn Random>,
}

impl LocalKeys {
    /// A provider over a KEK in memory.
    ///
    /// # Panics
    /// Never: the key has the right length by its type.
    #[must_use]
    pub fn new(kek: &Dek, random: Arc<dyn Random>) -> LocalKeys {
        LocalKeys { kek: aes_key(kek.bytes()), random }
    }

    /// The KEK at `path`, made there on the first start (mode 0600). The second part says whether it was made just now: the
    /// host tells the operator to back it up apart from the vault.
    ///
    /// # Errors
    /// The file cannot be read or made, is readable by others, or does not hold a key.
    pub fn open(
        path: &Path,
        random: Arc<dyn Random>,
        disk: &dyn Disk,
    ) -> Result<(LocalKeys, bool), KeyError> {
        let (key, created) = open_secret(path, random.as_ref(), disk, true)?;
        Ok((LocalKeys::new(&key, random), created))
    }

    /// The KEK at `path`, which must be there.
    ///
    /// # Errors
    /// As for [`LocalKeys::open`].
    pub fn read(path: &Path) -> Result<LocalKeys, KeyError> {
        let key = read_secret(path)?.ok_or_else(|| file_error("read", path, "no such file"))?;
        Ok(LocalKeys::new(&key, Arc::new(crate::traits::SystemRandom)))
    }
}

impl KeyProvider for LocalKeys {
    fn generate(&self, context: &KeyContext) -> Result<(Dek, Vec<u8>), KeyError> {
        let mut key = Zeroizing::new([0u8; KEY_BYTES]);
        self.random.fill(&mut *key)?;
        let mut nonce = [0u8; NONCE_LEN];
        self.random.fill(&mut nonce)?;
        let mut sealed = key.to_vec();
        self.kek
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(context.aad()),
                &mut sealed,
            )
            .map_err(|_| KeyError::DoesNotOpen { segment: context.segment.clone() })?;
        let mut wrap = vec![WRAP_LOCAL];
        wrap.extend_from_slice(&nonce);
        wrap.extend_from_slice(&sealed);
        Ok((Dek(key), wrap))
    }

    fn unwrap(&self, wrap: &[u8], context: &KeyContext) -> Result<Dek, KeyError> {
        let bad = || KeyError::DoesNotOpen { segment: context.segment.clone() };
        let (kind, rest) = wrap.split_first().ok_or_else(bad)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>().ok_or_else(bad)?;
        if *kind != WRAP_LOCAL {
            return Err(bad());
        }
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let open = self
            .kek
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(context.aad()), &mut sealed)
            .map_err(|_| bad())?;
        Ok(Dek::new(<[u8; KEY_BYTES]>::try_from(&*open).map_err(|_| bad())?))
    }
}

/// AES-256-GCM over `key`.
#[expect(clippy::expect_used, reason = "a key of 32 bytes is what AES-256 takes; the type fixes the length")]
pub(crate) fn aes_key(key: &[u8; KEY_BYTES]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("32 bytes"))
}

fn file_error(what: &'static str, path: &Path, why: impl fmt::Display) -> KeyError {
    KeyError::File { what, path: path.display().to_string(), why: why.to_string() }
}

/// 32 secret bytes at `path`: read, or made when missing and `create`.
pub(crate) fn open_secret(
    path: &Path,
    random: &dyn Random,
    disk: &dyn Disk,
    create: bool,
) -> Result<(Dek, bool), KeyError> {
    if let Some(key) = read_secret(path)? {
        return Ok((key, false));
    }
    if !create {
        return Err(file_error("read", path, "no such file"));
    }
    let mut key = Zeroizing::new([0u8; KEY_BYTES]);
    random.fill(&mut *key)?;
    write_secret(path, &key, disk).map_err(|e| file_error("create", path, e))?;
    Ok((Dek(key), true))
}

fn read_secret(path: &Path) -> Result<Option<Dek>, KeyError> {
    let meta = match std::fs::metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(file_error("read", path, e)),
    };
    let mode = meta.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::TooWide { path: path.display().to_string(), mode });
    }
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(|e| file_error("read", path, e))?);
    let key = crate::merkle::parse_hex(text.trim_end())
        .ok_or_else(|| KeyError::Malformed { path: path.display().to_string() })?;
    Ok(Some(Dek::new(key)))
}

/// Hex and a newline. The folder is made with mode 0700 and the file gets 0600 before the key is in it.
fn write_secret(path: &Path, key: &[u8; KEY_BYTES], disk: &dyn Disk) -> std::io::Result<()> {
    if let Some(folder) = path.parent().filter(|f| !f.is_dir()) {
        create_folders(disk, folder)?;
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
    }
    let mut text = Zeroizing::new(hex(key));
    text.push('\n');
    // An empty file first: a secret must never lie in a file that others can open, not even for a moment.
    let empty = path.with_extension("new");
    disk.create(&empty)?;
    std::fs::set_permissions(&empty, std::fs::Permissions::from_mode(0o600))?;
    let file = disk.open(&empty)?;
    file.write_at(text.as_bytes(), 0)?;
    file.sync_data()?;
    drop(file);
    disk.rename(&empty, path)?;
    path.parent().map_or(Ok(()), |p| disk.sync_folder(p))
}
