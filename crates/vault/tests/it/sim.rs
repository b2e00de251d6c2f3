//! A disk that loses what was not synced. Visible state lies in real files, so that reading works as always; a crash takes back
//! whatever an honest disk may have lost: unsynced pages (each one or not), unsynced names (from some point on), the rest of a
//! write that was cut.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use vault::{Disk, DiskFile, LocalDisk, Space};

const PAGE: usize = 512;

#[derive(Default)]
struct State {
    /// Contents as of the last sync, for files that changed since.
    dirty: BTreeMap<PathBuf, Vec<u8>>,
    names: Vec<NameChange>,
    /// Operations until the machine dies; it then does nothing more.
    left: Option<u64>,
    is_dead: bool,
    is_full: bool,
    fail_next_sync_of: Option<String>,
    operations: u64,
    rng: u64,
}

enum NameChange {
    Created(PathBuf),
    Renamed { from: PathBuf, to: PathBuf, old: Option<Vec<u8>> },
    Removed { path: PathBuf, old: Vec<u8> },
}

impl NameChange {
    fn folder(&self) -> Option<&Path> {
        match self {
            NameChange::Created(p) | NameChange::Removed { path: p, .. } => p.parent(),
            NameChange::Renamed { to, .. } => to.parent(),
        }
    }
}

#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<State>>);

struct SimFile {
    disk: SimDisk,
    path: PathBuf,
    real: Box<dyn DiskFile>,
}

fn dead() -> io::Error {
    io::Error::other("the machine is off")
}

impl State {
    fn next(&mut self) -> u64 {
        self.rng = self.rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.rng >> 33
    }

    /// One operation; the last one before death is cut short.
    fn step(&mut self) -> io::Result<bool> {
        if self.is_dead {
            return Err(dead());
        }
        self.operations += 1;
        match &mut self.left {
            Some(0) => {
                self.is_dead = true;
                Ok(true)
            }
            Some(n) => {
                *n -= 1;
                Ok(false)
            }
            None => Ok(false),
        }
    }

    fn remember(&mut self, path: &Path) {
        if !self.dirty.contains_key(path) {
            self.dirty.insert(path.to_owned(), std::fs::read(path).unwrap_or_default());
        }
    }
}

impl SimDisk {
    pub fn new(seed: u64) -> SimDisk {
        SimDisk(Arc::new(Mutex::new(State {
            rng: seed.wrapping_mul(77).wrapping_add(1),
            ..State::default()
        })))
    }
    pub fn die_after(&self, operations: u64) {
        self.0.lock().unwrap().left = Some(operations);
    }
    pub fn set_full(&self, is_full: bool) {
        self.0.lock().unwrap().is_full = is_full;
    }
    /// The next sync of a file whose path ends so fails.
    pub fn fail_sync_of(&self, suffix: &str) {
        self.0.lock().unwrap().fail_next_sync_of = Some(suffix.into());
    }
    pub fn is_dead(&self) -> bool {
        self.0.lock().unwrap().is_dead
    }

    /// Turns the power off and on: what the folder then holds is one of the states that a real disk could be in.
    pub fn crash(&self) {
        let mut s = self.0.lock().unwrap();
        s.is_dead = true;
        for (path, old) in std::mem::take(&mut s.dirty) {
            let Ok(new) = std::fs::read(&path) else { continue };
            let mut mixed = if s.next().is_multiple_of(2) { new.clone() } else { old.clone() };
            for start in (0..mixed.len()).step_by(PAGE) {
                let from = if s.next().is_multiple_of(2) { &new } else { &old };
                for (i, byte) in mixed.iter_mut().enumerate().skip(start).take(PAGE) {
                    *byte = from.get(i).copied().unwrap_or(0);
                }
            }
            std::fs::write(&path, mixed).unwrap();
        }
        let names = std::mem::take(&mut s.names);
        let kept = if names.is_empty() { 0 } else { s.next() as usize % (names.len() + 1) };
        for change in names.into_iter().skip(kept).rev() {
            match change {
                NameChange::Created(path) => drop(std::fs::remove_file(path)),
                NameChange::Renamed { from, to, old } => {
                    let _ = std::fs::rename(&to, from);
                    if let Some(old) = old {
                        std::fs::write(to, old).unwrap();
                    }
                }
                NameChange::Removed { path, old } => drop(std::fs::write(path, old)),
            }
        }
    }
}

impl Disk for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut s = self.0.lock().unwrap();
        s.step()?;
        if s.is_dead {
            return Err(dead());
        }
        if path.exists() {
            s.remember(path);
        } else {
            s.names.push(NameChange::Created(path.to_owned()));
            s.dirty.insert(path.to_owned(), Vec::new());
        }
        let real = LocalDisk.create(path)?;
        Ok(Box::new(SimFile { disk: self.clone(), path: path.to_owned(), real }))
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let real = LocalDisk.open(path)?;
        Ok(Box::new(SimFile { disk: self.clone(), path: path.to_owned(), real }))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut s = self.0.lock().unwrap();
        s.step()?;
        if s.is_dead {
            return Err(dead());
        }
        let old = std::fs::read(to).ok();
        LocalDisk.rename(from, to)?;
        let content = s.dirty.remove(from);
        s.dirty.remove(to);
        if let Some(content) = content {
            s.dirty.insert(to.to_owned(), content);
        }
        s.names.push(NameChange::Renamed { from: from.to_owned(), to: to.to_owned(), old });
        Ok(())
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut s = self.0.lock().unwrap();
        s.step()?;
        if s.is_dead {
            return Err(dead());
        }
        let old = s.dirty.remove(path).map_or_else(|| std::fs::read(path), Ok)?;
        LocalDisk.remove(path)?;
        s.names.push(NameChange::Removed { path: path.to_owned(), old });
        Ok(())
    }
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        if self.is_dead() {
            return Err(dead());
        }
        LocalDisk.create_folder(path)
    }
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut s = self.0.lock().unwrap();
        s.step()?;
        if s.is_dead {
            return Err(dead());
        }
        s.names.retain(|n| n.folder() != Some(folder));
        Ok(())
    }
    fn space(&self, _: &Path) -> io::Result<Space> {
        let free = if self.0.lock().unwrap().is_full { 0 } else { 1 << 40 };
        Ok(Space { free, total: 1 << 41 })
    }
}

impl DiskFile for SimFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut s = self.disk.0.lock().unwrap();
        let is_last = s.step()?;
        if s.is_full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        s.remember(&self.path);
        if is_last {
            let n = s.next() as usize % (bytes.len() + 1);
            self.real.write_at(&bytes[..n], offset)?;
            return Err(dead());
        }
        self.real.write_at(bytes, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        let mut s = self.disk.0.lock().unwrap();
        s.step()?;
        if s.is_dead {
            return Err(dead());
        }
        if s.fail_next_sync_of.as_ref().is_some_and(|f| self.path.to_string_lossy().ends_with(f.as_str())) {
            s.fail_next_sync_of = None;
            return Err(io::Error::from_raw_os_error(5));
        }
        s.dirty.remove(&self.path);
        Ok(())
    }
    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut s = self.disk.0.lock().unwrap();
        s.step()?;
        if s.is_dead {
            return Err(dead());
        }
        s.remember(&self.path);
        self.real.set_len(bytes)
    }
}
