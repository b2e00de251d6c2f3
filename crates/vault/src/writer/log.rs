//! The outer log: entries, tiles, checkpoint (`vault.md` 5, Publishing order).

use super::core::Shared;
use crate::disk::{Disk, create_folders, replace_file, replace_file_durable};
use crate::error::VaultError;
use crate::format::leaf::{Body, Heartbeat, Leaf};
use crate::format::{Digest, paths};
use crate::merkle::{self, Checkpoint, Resource, Signer, TILE_WIDTH};
use crate::read::state::VaultState;
use model::Time;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// One checkpoint is kept for each hour, for witnesses and auditors that come later.
const KEEP_EVERY: i64 = Time::HOUR;

/// The log and what it says.
pub(crate) struct Log {
    tree: merkle::LogState,
    pub state: VaultState,
    signer: Signer,
    dir: PathBuf,
    last_kept: Time,
    keep_next: bool,
    /// The tree has leaves over which no checkpoint is stored yet.
    is_owed: bool,
    pub last_beat: Time,
    /// Activity that the last heartbeat knew of.
    beat_rows: u64,
    pub checkpoint: Option<Checkpoint>,
}

impl Log {
    pub(crate) fn new(
        dir: &Path,
        tree: merkle::LogState,
        state: VaultState,
        signer: Signer,
        checkpoint: Option<Checkpoint>,
    ) -> Log {
        let last_beat = state.time;
        Log {
            tree,
            state,
            signer,
            dir: dir.to_owned(),
            last_kept: Time::NONE,
            keep_next: false,
            is_owed: false,
            last_beat,
            beat_rows: 0,
            checkpoint,
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.tree.size()
    }

    /// Adds leaves and publishes a checkpoint over them; gives the index of the first. On an error before the tiles are durable
    /// nothing is changed: files that were written lie beyond the checkpoint and are written again. On a later error the leaves
    /// *are* in the log, and only their checkpoint is owed ([`Log::settle`]): signing another tree of the same size would be a
    /// fork.
    pub(crate) fn publish(
        &mut self,
        disk: &dyn Disk,
        now: Time,
        by: &str,
        bodies: Vec<Body>,
    ) -> Result<u64, VaultError> {
        self.settle(disk)?;
        let time = now.max(self.state.time);
        let first = self.tree.size();
        let leaves: Vec<Leaf> = bodies.into_iter().map(|b| Leaf::new(time, by, b)).collect();
        let mut entries = Vec::with_capacity(leaves.len());
        for leaf in &leaves {
            let path = self.dir.join(paths::LOG);
            entries.push(leaf.encode().map_err(|e| VaultError::corrupt(&path, e.to_string()))?);
        }
        let mut tree = self.tree.clone();
        let files = tree.append(&entries)?;
        // V2: every byte under the checkpoint is durable before it is signed. Data and side files are already.
        if let Err(e) = self.write_tiles(disk, &files) {
            remove_beyond(disk, &self.dir, self.tree.size());
            return Err(e);
        }
        self.tree = tree;
        for (index, leaf) in (first..).zip(&leaves) {
            self.state.apply(&self.dir, index, leaf);
        }
        let dated = |l: &Leaf| matches!(l.body, Body::Expire(_) | Body::Policy(_) | Body::Key(_));
        let is_hour_over = self.last_kept.is_none() || time.since(self.last_kept) >= KEEP_EVERY;
        self.keep_next |= is_hour_over || leaves.iter().any(dated);
        self.is_owed = true;
        self.settle(disk)?;
        self.prune(disk, &files);
        Ok(first)
    }

    /// Signs and stores the checkpoint over the tree, if it is owed; also under `checkpoints/` when it is the first over a leaf
    /// that somebody must be able to date later, or the first of its hour.
    pub(crate) fn settle(&mut self, disk: &dyn Disk) -> Result<(), VaultError> {
        if self.is_owed {
            let origin = self.signer.vkey().name().to_owned();
            let checkpoint = Checkpoint { origin, size: self.tree.size(), root: self.tree.root() };
            // V3: a tree never shrinks, whatever the caller did.
            if self.checkpoint.as_ref().is_some_and(|c| c.size > checkpoint.size) {
                return Err(VaultError::corrupt(&self.dir.join(paths::CHECKPOINT), "the log would shrink"));
            }
            let note = checkpoint.sign(&self.signer)?;
            let path = self.dir.join(paths::CHECKPOINT);
            replace_file_durable(disk, &self.dir, &path, note.as_bytes())
                .map_err(|e| VaultError::io("write", &path, &e))?;
            self.checkpoint = Some(checkpoint);
            self.is_owed = false;
        }
        if let Some(checkpoint) = self.checkpoint.as_ref().filter(|_| self.keep_next) {
            let note = checkpoint.sign(&self.signer)?;
            let path = self.dir.join(paths::CHECKPOINTS).join(checkpoint.size.to_string());
            replace_file_durable(disk, &self.dir, &path, note.as_bytes())
                .map_err(|e| VaultError::io("write", &path, &e))?;
            self.keep_next = false;
            self.last_kept = self.state.time;
        }
        Ok(())
    }

    fn write_tiles(&self, disk: &dyn Disk, files: &[(String, Vec<u8>)]) -> Result<(), VaultError> {
        let root = self.dir.join(paths::LOG);
        let mut folders = BTreeSet::new();
        for (path, bytes) in files {
            let path = root.join(path);
            let write = || -> io::Result<()> {
                if let Some(folder) = path.parent() {
                    create_folders(disk, folder)?;
                }
                replace_file(disk, &self.dir, &path, bytes)
            };
            write().map_err(|e| VaultError::io("write", &path, &e))?;
            folders.extend(path.parent().map(Path::to_owned));
        }
        for folder in folders {
            disk.sync_folder(&folder).map_err(|e| VaultError::io("sync", &folder, &e))?;
        }
        Ok(())
    }

    /// Partial tiles go once the full one is there (the specification allows it). A failure leaves files that nobody reads.
    fn prune(&self, disk: &dyn Disk, files: &[(String, Vec<u8>)]) {
        for (path, _) in files {
            let full = match Resource::parse(path) {
                Some(Resource::Entries { width, .. } | Resource::Tile { width, .. }) => {
                    u64::from(width) == TILE_WIDTH
                }
                None => false,
            };
            let folder = self.dir.join(paths::LOG).join(format!("{path}.p"));
            if !full || !folder.is_dir() {
                continue;
            }
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                let _ = disk.remove(&entry.path());
            }
            let _ = std::fs::remove_dir(&folder);
        }
    }
}

impl Shared {
    /// Adds leaves to the log.
    pub(crate) fn publish(&self, by: &str, bodies: Vec<Body>) -> Result<u64, VaultError> {
        let mut log = self.log();
        let first = log.publish(self.host.disk.as_ref(), self.now(), by, bodies)?;
        let size = log.size();
        drop(log);
        self.live.change(|view| view.tree_size = view.tree_size.max(size));
        Ok(first)
    }

    /// A heartbeat over what is durable now.
    pub(crate) fn heartbeat(&self) -> Result<u64, VaultError> {
        let rows = self.facts.foreign_rows.load(Ordering::Acquire);
        let view = self.live.view();
        let open = view.tails.last().and_then(|t| t.last().map(|c| (t.number(), c)));
        let seq = open.as_ref().map_or(self.live.end(), |(_, c)| c.end_seq);
        let unclean = self.facts.unclean.load(Ordering::Acquire);
        let body = Heartbeat {
            seq,
            wal: open.as_ref().map(|(w, _)| *w),
            wal_root: open.as_ref().map(|(_, c)| Digest(c.root)),
            cursors_sha256: None,
            silent: None,
            unclean,
        };
        let first = self.publish("vault", vec![Body::Heartbeat(body)])?;
        if unclean {
            self.facts.unclean.store(false, Ordering::Release);
        }
        let mut log = self.log();
        log.last_beat = log.state.time;
        log.beat_rows = rows;
        Ok(first)
    }

    /// Whether the rhythm asks for a heartbeat: events came and 5 s passed, or 60 s passed.
    pub(crate) fn beat_is_due(&self, now: Time) -> bool {
        let log = self.log();
        let active = self.facts.foreign_rows.load(Ordering::Acquire) != log.beat_rows;
        let wait = if active { self.settings.heartbeat } else { self.settings.idle };
        now.since(log.last_beat) >= i64::try_from(wait.as_micros()).unwrap_or(i64::MAX)
    }
}

/// A log on disk that is longer than its checkpoint: the crash came between tiles and signature. Its entries are taken over only
/// where they continue the signed tree, re-hashed from the bundles, and only up to the last whole sealing: the parts of one WAL are
/// published together, but where they cross the end of a bundle the crash may have left the first of them alone. Anything else is
/// written over.
pub(crate) fn take_over(dir: &Path, checkpointed: merkle::LogState) -> (merkle::LogState, u64) {
    let start = checkpointed.size();
    // `whole` ends where no parts are missing; `tree` may be ahead of it by parts whose siblings lie in the next bundle.
    let (mut whole, mut tree) = (checkpointed.clone(), checkpointed);
    while let Some((next, at_whole)) = next_bundle(dir, &tree) {
        whole = at_whole.unwrap_or(whole);
        tree = next;
    }
    let taken = whole.size() - start;
    (whole, taken)
}

/// The tree with what the bundle at its end has beyond it, and the tree after the last of these leaves that leaves no parts missing.
fn next_bundle(dir: &Path, tree: &merkle::LogState) -> Option<(merkle::LogState, Option<merkle::LogState>)> {
    let (number, within) = (tree.size() / TILE_WIDTH, usize::try_from(tree.size() % TILE_WIDTH).ok()?);
    let bundle = longest_bundle(dir, number, within)?;
    let (entries, rest) = merkle::split_bundle(&bundle);
    let (known, fresh) = entries.split_at_checked(within)?;
    let mut again = bundle_start(tree, dir, number)?;
    again.append(known).ok()?;
    if rest != 0 || fresh.is_empty() || again.root() != tree.root() {
        return None;
    }
    let (mut next, mut whole) = (tree.clone(), None);
    for entry in fresh {
        let leaf = Leaf::decode(entry).ok()?;
        next.append(&[entry]).ok()?;
        if !matches!(&leaf.body, Body::Segment(s) if s.part + 1 < s.parts) {
            whole = Some(next.clone());
        }
    }
    Some((next, whole))
}

/// Removes files of the log beyond its `size` leaves, which a crash or a failed write left: the tree may grow past them by other
/// leaves, in other steps, and they would then contradict it. Nothing was ever signed over them.
pub(crate) fn remove_beyond(disk: &dyn Disk, dir: &Path, size: u64) {
    let root = dir.join(paths::LOG);
    let tiles = (0..8u8).map(|level| (level, Resource::Tile { level, index: 0, width: 256 }));
    for (level, kind) in tiles.chain([(0, Resource::Entries { index: 0, width: 256 })]) {
        let first = size.checked_shr(8 * u32::from(level)).unwrap_or(0) / TILE_WIDTH;
        for index in first.. {
            let full = match kind {
                Resource::Tile { level, .. } => Resource::Tile { level, index, width: 256 },
                Resource::Entries { .. } => Resource::Entries { index, width: 256 },
            };
            let keep = merkle::tile_width(level, index, size);
            let (file, folder) = (root.join(full.to_string()), root.join(format!("{full}.p")));
            if !file.exists() && !folder.is_dir() {
                break;
            }
            if keep < 256 {
                let _ = disk.remove(&file);
            }
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                let width: Option<u16> = entry.file_name().to_str().and_then(|n| n.parse().ok());
                if width.is_none_or(|w| w > keep) {
                    let _ = disk.remove(&entry.path());
                }
            }
        }
    }
}

/// The log as it was at the start of bundle `number`.
fn bundle_start(tree: &merkle::LogState, dir: &Path, number: u64) -> Option<merkle::LogState> {
    let size = number.checked_mul(TILE_WIDTH).filter(|s| *s <= tree.size())?;
    merkle::LogState::load(&source(dir), size).ok()
}

fn longest_bundle(dir: &Path, number: u64, longer_than: usize) -> Option<Vec<u8>> {
    let root = dir.join(paths::LOG);
    (longer_than + 1..=256).rev().find_map(|width| {
        let width = u16::try_from(width).ok()?;
        std::fs::read(root.join(Resource::Entries { index: number, width }.to_string())).ok()
    })
}

/// Reads files of the log below the vault folder `dir`.
pub(crate) fn source(dir: &Path) -> impl Fn(&str) -> io::Result<Option<Vec<u8>>> + use<> {
    let root: Arc<Path> = dir.join(paths::LOG).into();
    move |path: &str| match std::fs::read(root.join(path)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::LocalDisk;
    use crate::format::leaf::{Segment, a_segment};

    fn beat(seq: u64) -> Vec<u8> {
        let beat =
            Heartbeat { seq, wal: None, wal_root: None, cursors_sha256: None, silent: None, unclean: false };
        Leaf::new(Time(1), "vault", Body::Heartbeat(beat)).encode().unwrap()
    }

    fn parts(n: u32) -> Vec<Vec<u8>> {
        let part = |part| Body::Segment(Box::new(Segment { part, parts: n, ..a_segment() }));
        (0..n).map(|i| Leaf::new(Time(1), "vault", part(i)).encode().unwrap()).collect()
    }

    /// A log of `signed` heartbeats under a checkpoint, then `more`, of whose files the first `written` reached the disk: how many
    /// leaves are taken over.
    #[track_caller]
    fn check(signed: u64, more: &[Vec<u8>], written: usize, expect: u64) {
        let dir = std::env::temp_dir().join(format!("avouch-log-{}-{signed}-{written}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        create_folders(&LocalDisk, &dir.join(paths::TMP)).unwrap();
        let mut tree = merkle::LogState::new();
        let put = |(path, bytes): &(String, Vec<u8>)| {
            let path = dir.join(paths::LOG).join(path);
            create_folders(&LocalDisk, path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        };
        tree.append(&(0..signed).map(beat).collect::<Vec<_>>()).unwrap().iter().for_each(put);
        let checkpointed = tree.clone();
        let files = tree.append(more).unwrap();
        assert!(written <= files.len());
        files.iter().take(written).for_each(put);
        let (taken, n) = take_over(&dir, checkpointed);
        assert_eq!((n, taken.size()), (expect, signed + expect), "{signed} signed, {written} files");
        if n == more.len() as u64 {
            assert_eq!(taken.root(), tree.root());
        }
        // What was not taken is cleared away, and the log goes on by other leaves.
        remove_beyond(&LocalDisk, &dir, taken.size());
        assert_eq!(take_over(&dir, taken.clone()).1, 0);
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_sealing_that_crosses_a_bundle_is_taken_whole_or_not_at_all() {
        // Entries of the full bundle, of the partial one, and their tiles.
        check(255, &parts(3), 0, 0);
        check(255, &parts(3), 1, 0);
        // The tiles of the first bundle are missing, so nothing proves that the second continues it.
        check(255, &parts(3), 2, 0);
        check(255, &parts(3), 4, 0);
        check(255, &parts(3), 5, 3);
        // What stands whole before it is taken.
        let both = [vec![beat(9)], parts(2)].concat();
        check(254, &both, 1, 1);
        check(254, &both, 5, 3);
        check(250, &parts(3), 1, 3);
        check(254, &[parts(2), vec![beat(9)]].concat(), 1, 2);
    }
}
