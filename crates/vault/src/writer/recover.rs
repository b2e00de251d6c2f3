//! What a start finds and puts right, always, without a flag and without a person (`vault.md` 2, Recovery).

use crate::disk::{Disk, replace_file_durable};
use crate::error::{KeyError, VaultError};
use crate::format::paths;
use crate::read::state::VaultState;
use crate::read::{KeyRing, Scan, WalTail, scan, wal_files};
use model::Time;
use serde::Serialize;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A WAL that was found unsealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RecoveredWal {
    pub wal: u64,
    pub commits: u64,
    pub rows: u64,
    /// Bytes behind the last commit that were put aside; they were never acknowledged.
    pub torn_bytes: u64,
    /// Places that could not be read although a later commit could: acknowledged events may be lost there.
    pub damaged: u64,
    /// Acknowledged seqs that are lost, half open.
    pub lost: Vec<[u64; 2]>,
}

/// A file that was put aside, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Quarantined {
    pub path: String,
    pub why: String,
}

/// What recovery found.
#[derive(Debug, Default)]
pub(crate) struct Recovery {
    pub tails: Vec<Arc<WalTail>>,
    pub wals: Vec<RecoveredWal>,
    pub quarantined: Vec<Quarantined>,
    pub received_max: Option<Time>,
    pub positions: Vec<(Arc<str>, Arc<str>)>,
    /// Highest WAL number seen on the disk.
    pub last_wal: Option<u64>,
}

pub(crate) struct Recoverer<'a> {
    pub dir: &'a Path,
    pub disk: &'a dyn Disk,
    pub keys: &'a KeyRing,
    pub now: Time,
}

impl Recoverer<'_> {
    pub(crate) fn run(&self, state: &VaultState) -> Result<Recovery, VaultError> {
        let mut out = Recovery::default();
        for path in wal_files(self.dir)? {
            let number = path.file_name().and_then(|n| n.to_str()).and_then(paths::wal_number);
            out.last_wal = out.last_wal.max(number);
            if number.is_some_and(|n| state.sealed_wals.contains(&n)) {
                // Its leaves are under a checkpoint: the crash came before the file was deleted.
                self.remove(&path)?;
                continue;
            }
            self.wal(&path, &mut out)?;
        }
        self.foreign_files(state, &mut out)?;
        Ok(out)
    }

    fn wal(&self, path: &Path, out: &mut Recovery) -> Result<(), VaultError> {
        let found = match scan(path, self.keys) {
            Ok(found) => found,
            Err(VaultError::Key(KeyError::Gone { .. })) => {
                return self.quarantine(path, "its data key is gone: it cannot be read", out);
            }
            Err(e) => return Err(e),
        };
        let Some(found) = found else {
            let bytes = std::fs::read(path).map_err(|e| VaultError::io("read", path, &e))?;
            return if bytes.iter().all(|b| *b == 0) {
                self.remove(path)
            } else {
                self.quarantine(path, "no WAL header: nothing was ever committed to it", out)
            };
        };
        let torn = found.written_bytes.saturating_sub(found.valid_bytes);
        if !found.damage.is_empty() {
            let places: Vec<String> =
                found.damage.iter().map(|d| format!("bytes {} to {}: {}", d.start, d.end, d.fault)).collect();
            self.copy_aside(path, 0, found.written_bytes, &format!("damaged: {}", places.join("; ")), out)?;
        }
        if torn > 0 {
            let why = "bytes behind the last commit, never acknowledged";
            self.copy_aside(path, found.valid_bytes, found.written_bytes, why, out)?;
            self.truncate(path, found.valid_bytes)?;
        }
        if found.tail.commits() == 0 {
            return self.remove(path);
        }
        self.take(found, torn, out);
        Ok(())
    }

    fn take(&self, found: Scan, torn_bytes: u64, out: &mut Recovery) {
        let Scan { tail, positions, damage, received_max, rows, .. } = found;
        out.wals.push(RecoveredWal {
            wal: tail.number(),
            commits: tail.commits() as u64,
            rows,
            torn_bytes,
            damaged: damage.len() as u64,
            lost: tail.lost().to_vec(),
        });
        out.received_max = out.received_max.max(received_max.known());
        out.positions.extend(positions);
        out.tails.push(Arc::new(tail));
    }

    /// Data and side files that no leaf names are unfinished seals. Readers ignore them anyway; they are moved so that nobody takes
    /// them for evidence.
    fn foreign_files(&self, state: &VaultState, out: &mut Recovery) -> Result<(), VaultError> {
        let mut named: BTreeSet<PathBuf> = BTreeSet::new();
        for meta in state.live.values().chain(state.expired.values()) {
            named.insert(meta.path.clone());
            named.insert(self.dir.join(&meta.info.side));
        }
        for folder in [paths::DATA, paths::SIDE] {
            for path in files_below(&self.dir.join(folder))? {
                // A Delta log is a projection: derived, never trusted, never put aside.
                let is_delta = path.components().any(|c| c.as_os_str() == "_delta_log");
                if !named.contains(&path) && !is_delta {
                    self.quarantine(
                        &path,
                        "no leaf of the log names it: an unfinished seal or a foreign file",
                        out,
                    )?;
                }
            }
        }
        Ok(())
    }

    fn aside(&self, path: &Path) -> PathBuf {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let folder = self.dir.join(paths::QUARANTINE);
        let stamp = self.now.0;
        (0u32..)
            .map(|i| folder.join(format!("{stamp}-{i}-{name}")))
            .find(|p| !p.exists())
            .unwrap_or_else(|| folder.join(name))
    }

    fn note(&self, aside: &Path, path: &Path, why: &str, out: &mut Recovery) -> Result<(), VaultError> {
        let relative = path.strip_prefix(self.dir).unwrap_or(path).display().to_string();
        let value = serde_json::json!({"path": relative, "time": self.now, "why": why});
        let bytes = model::canonical::to_vec(&value).unwrap_or_default();
        let mut name = aside.file_name().unwrap_or_default().to_owned();
        name.push(".json");
        let note = aside.with_file_name(name);
        replace_file_durable(self.disk, self.dir, &note, &bytes)
            .map_err(|e| VaultError::io("write", &note, &e))?;
        tracing::warn!(path = relative, why, "put aside");
        out.quarantined.push(Quarantined { path: relative, why: why.to_owned() });
        Ok(())
    }

    fn quarantine(&self, path: &Path, why: &str, out: &mut Recovery) -> Result<(), VaultError> {
        let aside = self.aside(path);
        self.disk.rename(path, &aside).map_err(|e| VaultError::io("move", path, &e))?;
        self.sync_parent(path)?;
        self.note(&aside, path, why, out)
    }

    /// Copies `[from, to)` of a file that stays in use.
    fn copy_aside(
        &self,
        path: &Path,
        from: u64,
        to: u64,
        why: &str,
        out: &mut Recovery,
    ) -> Result<(), VaultError> {
        use std::os::unix::fs::FileExt as _;
        let aside = self.aside(path);
        let copy = || -> io::Result<()> {
            let source = std::fs::File::open(path)?;
            let target = self.disk.create(&aside)?;
            let mut at = from;
            let mut buffer = vec![0; 1 << 20];
            while at < to {
                let n = usize::try_from(to - at).unwrap_or(usize::MAX).min(buffer.len());
                let piece = buffer.get_mut(..n).unwrap_or_default();
                source.read_exact_at(piece, at)?;
                target.write_at(piece, at - from)?;
                at += n as u64;
            }
            target.sync_data()
        };
        copy().map_err(|e| VaultError::io("copy", path, &e))?;
        self.note(&aside, path, why, out)
    }

    fn truncate(&self, path: &Path, bytes: u64) -> Result<(), VaultError> {
        let cut = || {
            let file = self.disk.open(path)?;
            file.set_len(bytes)?;
            file.sync_data()
        };
        cut().map_err(|e| VaultError::io("truncate", path, &e))
    }

    fn remove(&self, path: &Path) -> Result<(), VaultError> {
        self.disk.remove(path).map_err(|e| VaultError::io("remove", path, &e))?;
        self.sync_parent(path)
    }

    fn sync_parent(&self, path: &Path) -> Result<(), VaultError> {
        let folder = path.parent().unwrap_or(self.dir);
        self.disk.sync_folder(folder).map_err(|e| VaultError::io("sync", folder, &e))
    }
}

/// All regular files below `folder`, sorted.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>, VaultError> {
    let mut out = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(VaultError::io("list", &folder, &e)),
        };
        for entry in entries {
            let entry = entry.map_err(|e| VaultError::io("list", &folder, &e))?;
            let kind = entry.file_type().map_err(|e| VaultError::io("list", &folder, &e))?;
            if kind.is_dir() {
                open.push(entry.path());
            } else {
                out.push(entry.path());
            }
        }
    }
    out.sort();
    Ok(out)
}
