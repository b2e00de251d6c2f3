//! Files that grow and rotate, one event a line (`transport.md` 2.3).
//!
//! A file is known by device, inode and *head* (hash of its first bytes): by path alone a rotation is re-read or skipped, by inode
//! alone a reused one is. The head at first sight is the file's fingerprint for good; with the generation (how often it was
//! truncated) and the byte offset it makes the event id, so a line that is read twice is found to be a duplicate and two equal
//! lines stay two events.
//!
//! V2: the checkpoint is a source position in the same batch as the lines before it; it cannot run ahead of them. One batch of one
//! source is under way at a time, because a later checkpoint must not become durable before an earlier line.
//!
//! Reading is blocking and lives on one thread of its own.

mod checkpoint;
mod tail;

use super::{Base, glob};
use crate::config::{FileConfig, Start};
use crate::decode::inflate::{Inflate, Packing};
use crate::feed::Mode;
use bytes::Bytes;
use checkpoint::{
    Checkpoint, HEAD_MAX, HEAD_MIN, Inode, hash, hash_at, packing_of, tail_range, unpacked_fits,
};
use model::{Batch, SourcePosition};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tail::{Lines, READ_BYTES, Tail, file_stamp, make_batch};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

/// Batches taken from one file before the next file has its turn.
const TURN: usize = 64;
/// Most files that are followed at once; each holds a descriptor.
const FILES_MAX: usize = 4_096;

pub(crate) fn start(config: &FileConfig, base: Base, tasks: &mut JoinSet<()>) -> Vec<String> {
    let (handle, config) = (Handle::current(), config.clone());
    tasks.spawn_blocking(move || {
        Follower {
            config,
            base,
            handle,
            files: BTreeMap::new(),
            lost: BTreeMap::new(),
            is_first_look: true,
            index_written: String::new(),
            told: BTreeSet::new(),
        }
        .run();
    });
    Vec::new()
}

struct Follower {
    config: FileConfig,
    base: Base,
    handle: Handle,
    files: BTreeMap<Inode, Tail>,
    /// Checkpoints of the last run whose files have not been found again.
    lost: BTreeMap<Inode, Checkpoint>,
    is_first_look: bool,
    /// The index as it was last made durable.
    index_written: String,
    /// Problems that were told, so that they are told once.
    told: BTreeSet<String>,
}

impl Follower {
    fn run(mut self) {
        self.load_index();
        loop {
            let feed = self.base.feed.clone();
            if self.handle.block_on(feed.unpaused()) == Mode::Stop {
                return;
            }
            self.look();
            let mut more = false;
            let inodes: Vec<Inode> = self.files.keys().copied().collect();
            for inode in inodes {
                match self.turn(inode) {
                    Ok(again) => more |= again,
                    Err(Stopped) => return,
                }
            }
            self.forget();
            if self.write_index().is_err() {
                return;
            }
            let wait = if more { std::time::Duration::ZERO } else { self.config.poll.0 };
            if self.handle.block_on(async { tokio::time::timeout(wait, feed.stopped()).await }).is_ok() {
                return;
            }
        }
    }

    fn source(&self) -> &str {
        &self.base.feed.source
    }

    fn tell(&mut self, what: &str, path: &Path, error: &dyn std::fmt::Display) {
        let line = format!("{what} {}: {error}", path.display());
        if self.told.len() < FILES_MAX && self.told.insert(line) {
            tracing::warn!(source = self.source(), path = %path.display(), error = %error, "{what}");
        }
    }

    // --- finding files ---

    fn index_key(&self) -> String {
        format!("{}/files", self.source())
    }

    /// The files of the last run. The intake answers single keys only, so the list of them is a position as well.
    fn load_index(&mut self) {
        let Some(index) = self.base.feed.position(&self.index_key()) else { return };
        let inodes: Vec<Inode> = serde_json::from_str(&index).unwrap_or_default();
        for (device, inode) in inodes {
            let stored = self.base.feed.position(&format!("{}/{device}:{inode}", self.source()));
            if let Some(c) = stored.and_then(|v| serde_json::from_str::<Checkpoint>(&v).ok()) {
                self.lost.insert((device, inode), c);
            }
        }
        self.index_written = index;
    }

    /// The list of followed files, made durable when it changed.
    fn write_index(&mut self) -> Result<(), Stopped> {
        // What was not found to its end yet stays on the list.
        let inodes: BTreeSet<Inode> = self.files.keys().chain(self.lost.keys()).copied().collect();
        let index = serde_json::to_string(&inodes).unwrap_or_default();
        if index != self.index_written {
            // Checkpoints of files without a line yet go along, so that `start: end` means the end of the first run.
            let mut positions = vec![(self.index_key(), index.clone())];
            let told: BTreeSet<Inode> = serde_json::from_str::<Vec<Inode>>(&self.index_written)
                .unwrap_or_default()
                .into_iter()
                .collect();
            for tail in self.files.values().filter(|t| !told.contains(&t.at.inode())) {
                positions
                    .push((tail.at.key(self.source()), serde_json::to_string(&tail.at).unwrap_or_default()));
            }
            self.deliver(Batch::default(), positions)?;
            self.index_written = index;
        }
        Ok(())
    }

    fn look(&mut self) {
        let mut paths = BTreeSet::new();
        for pattern in &self.config.paths {
            paths.extend(glob::expand(pattern));
        }
        let mut here = BTreeSet::new();
        for path in paths {
            match self.meet(&path, false) {
                Ok(Some(inode)) => {
                    here.insert(inode);
                }
                Ok(None) => {}
                Err(e) => self.tell("file cannot be read", &path, &e),
            }
        }
        for (inode, tail) in &mut self.files {
            tail.is_gone = !here.contains(inode);
        }
        if self.is_first_look {
            self.is_first_look = false;
            self.find_lost();
        }
    }

    /// Files that were rotated away while nobody looked: by inode under another name, else compressed beside the old one.
    fn find_lost(&mut self) {
        for checkpoint in std::mem::take(&mut self.lost).into_values() {
            let Some(folder) = checkpoint.path.parent() else { continue };
            let mut entries: Vec<PathBuf> =
                fs::read_dir(folder).map(|d| d.flatten().map(|e| e.path()).collect()).unwrap_or_default();
            entries.sort_unstable();
            let renamed = entries.iter().find(|p| {
                fs::metadata(p).is_ok_and(|m| m.is_file() && (m.dev(), m.ino()) == checkpoint.inode())
                    && File::open(p).and_then(|f| checkpoint.fits(&f)).unwrap_or(false)
            });
            if let Some(path) = renamed {
                self.lost.insert(checkpoint.inode(), checkpoint.clone());
                match self.meet(path, true) {
                    Ok(Some(inode)) => {
                        if let Some(t) = self.files.get_mut(&inode) {
                            t.is_gone = true;
                        }
                    }
                    Ok(None) => {}
                    Err(e) => self.tell("rotated file cannot be read", path, &e),
                }
                continue;
            }
            let stem = checkpoint.path.file_name().map(|n| n.as_encoded_bytes().to_vec()).unwrap_or_default();
            let packed = entries.iter().find(|p| {
                p.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(&stem))
                    && packing_of(p) != Packing::Plain
                    && unpacked_fits(p, &checkpoint).unwrap_or(false)
            });
            match packed {
                Some(path) => {
                    if let Some(t) = self.files.get_mut(&checkpoint.inode()) {
                        // A new file got the old one's inode; nothing was overwritten.
                        t.gap = false;
                    }
                    match self.drain_packed(path, &checkpoint) {
                        Ok(true) => {}
                        // Still lost: the next start goes on where this one stopped.
                        Ok(false) => {
                            self.lost.insert(checkpoint.inode(), checkpoint);
                        }
                        Err(e) => self.tell("compressed rotated file cannot be read", path, &e),
                    }
                }
                None => self.tell(
                    "file of the last run is gone",
                    &checkpoint.path,
                    &"its last lines may not have been read",
                ),
            }
        }
    }

    /// Makes the file at `path` a followed one; its inode, or `None` when it has to wait or is not for us.
    fn meet(&mut self, path: &Path, is_lost: bool) -> io::Result<Option<Inode>> {
        let meta = fs::metadata(path)?;
        let inode = (meta.dev(), meta.ino());
        if let Some(tail) = self.files.get_mut(&inode) {
            if tail.at.path != path && !is_lost {
                tail.at.path = path.to_path_buf();
            }
            return Ok(Some(inode));
        }
        if meta.len() < HEAD_MIN {
            return Ok(None);
        }
        if self.files.len() >= FILES_MAX {
            self.tell("file is not followed", path, &format!("{FILES_MAX} files are followed already"));
            return Ok(None);
        }
        if packing_of(path) != Packing::Plain {
            self.tell("file is not followed", path, &"it is compressed");
            return Ok(None);
        }
        let file = File::open(path)?;
        let opened = file.metadata()?;
        if (opened.dev(), opened.ino()) != inode {
            // Rotated between the two calls; the next look finds what is there then.
            return Ok(None);
        }
        let (at, gap) = self.recall(&file, path, inode, opened.len())?;
        // Only the checkpoint that was taken up is found again: the inode alone may have been given to another file.
        self.lost.retain(|_, c| c.fingerprint != at.fingerprint || c.inode() != at.inode());
        let at = Checkpoint { device: inode.0, inode: inode.1, ..at };
        let now = Instant::now();
        let tail = Tail { file, at, gap, wants_head: false, size: 0, grown: now, is_gone: is_lost };
        self.files.insert(inode, tail);
        Ok(Some(inode))
    }

    /// Where to go on in a file that is met: at its checkpoint, whatever its inode is now, else at the configured start.
    fn recall(&self, file: &File, path: &Path, inode: Inode, size: u64) -> io::Result<(Checkpoint, bool)> {
        let head_length = size.min(HEAD_MAX);
        let head = hash_at(file, (0, head_length))?;
        let fresh = Checkpoint {
            device: inode.0,
            inode: inode.1,
            fingerprint: format!("{head}-{head_length}"),
            head,
            head_length,
            generation: 0,
            offset: 0,
            tail: hash(&[]),
            path: path.to_path_buf(),
        };
        let mut gap = false;
        let by_inode = self.base.feed.position(&fresh.key(self.source()));
        let by_inode = by_inode.and_then(|v| serde_json::from_str::<Checkpoint>(&v).ok());
        if let Some(c) = by_inode {
            if c.fits(file)? {
                return Ok((self.begin(Checkpoint { path: path.to_path_buf(), ..c }), false));
            }
            let same_head = c.head_fits(file)?;
            gap = same_head || c.path == path;
            if same_head {
                let generation = c.generation.saturating_add(1);
                let again = Checkpoint { fingerprint: c.fingerprint, generation, ..fresh };
                return Ok((again, true));
            }
        }
        // Device numbers change over a boot, and a copy has another inode: head and tail decide then.
        for c in self.lost.values() {
            if c.inode() != inode && c.offset > 0 && c.fits(file)? {
                return Ok((self.begin(Checkpoint { path: path.to_path_buf(), ..c.clone() }), false));
            }
        }
        if self.config.start == Start::End && self.is_first_look && !gap {
            let tail = hash_at(file, tail_range(size))?;
            return Ok((Checkpoint { offset: size, tail, ..fresh }, false));
        }
        Ok((fresh, gap))
    }

    fn begin(&self, c: Checkpoint) -> Checkpoint {
        if self.config.start == Start::Beginning { Checkpoint { offset: 0, tail: hash(&[]), ..c } } else { c }
    }

    /// Lets go of files that nobody writes any more.
    fn forget(&mut self) {
        let keep = self.config.forget.0;
        self.files.retain(|_, t| !(t.is_gone && t.at.offset >= t.size && t.grown.elapsed() >= keep));
    }

    // --- reading ---

    /// Takes what is new in one file; whether there is more.
    fn turn(&mut self, inode: Inode) -> Result<bool, Stopped> {
        for _ in 0..TURN {
            let (source, host_id) = (self.base.feed.source.to_string(), self.base.host.host_id.to_string());
            let config = self.config.clone();
            let Some(tail) = self.files.get_mut(&inode) else { return Ok(false) };
            let found = match tail.read(&config) {
                Ok(found) => found,
                Err(e) => {
                    let path = tail.at.path.clone();
                    self.tell("file cannot be read", &path, &e);
                    return Ok(false);
                }
            };
            let Some(found) = found else { return Ok(false) };
            let before = tail.at.offset;
            let stamp = file_stamp(&self.base, &tail.at);
            let batch = tail.batch(&found, before, &host_id, &stamp);
            let mut at = tail.at.clone();
            at.offset = found.next;
            at.tail = match hash_at(&tail.file, tail_range(found.next)) {
                Ok(t) => t,
                Err(_) => return Ok(false),
            };
            let position = (at.key(&source), serde_json::to_string(&at).unwrap_or_default());
            self.base.feed.counters.add_empty(found.empty);
            self.deliver(batch, vec![position])?;
            if let Some(tail) = self.files.get_mut(&inode) {
                tail.at = at;
                tail.gap &= found.lines.is_empty();
            }
            if !found.more {
                return Ok(false);
            }
            if self.base.feed.mode() != Mode::Run {
                return Ok(true);
            }
        }
        Ok(true)
    }

    fn deliver(&self, mut batch: Batch, positions: Vec<(String, String)>) -> Result<(), Stopped> {
        batch.positions = positions
            .into_iter()
            .map(|(k, v)| SourcePosition { key: k.into(), value: v.into() })
            .collect::<Vec<_>>()
            .into();
        self.handle.block_on(self.base.feed.deliver(batch)).map(|_| ()).ok_or(Stopped)
    }

    /// Reads the rest of a file from its compressed copy, under the same ids; `false` when it was told to stop before the end.
    fn drain_packed(&mut self, path: &Path, at: &Checkpoint) -> io::Result<bool> {
        let mut inflate = Inflate::new(File::open(path)?, u64::MAX)?;
        let (mut skip, mut offset) = (at.offset, at.offset);
        let mut buf = Vec::new();
        let host_id = self.base.host.host_id.to_string();
        let stamp = file_stamp(&self.base, at);
        loop {
            let got = inflate.fill(&mut buf, READ_BYTES).map_err(io::Error::other)?;
            let cut = usize::try_from(skip).unwrap_or(usize::MAX).min(buf.len());
            buf.drain(..cut);
            skip = skip.saturating_sub(cut as u64);
            if skip > 0 && got > 0 {
                continue;
            }
            let mut found =
                Lines::scan(Bytes::from(std::mem::take(&mut buf)), self.config.max_line.bytes(), offset);
            if found.lines.last().is_some_and(|l| l.declared == Some(0)) {
                let length = found.data.len();
                if got > 0 && length <= self.config.max_line.bytes().saturating_add(READ_BYTES) {
                    // Its end may be in the next read.
                    found.drop_last(offset);
                } else {
                    found.close_overlong(offset);
                }
            }
            let consumed = usize::try_from(found.next.saturating_sub(offset)).unwrap_or(usize::MAX);
            if got == 0 {
                found.flush(offset, self.config.max_line.bytes());
            } else {
                buf = found.data.get(consumed..).unwrap_or(&[]).to_vec();
            }
            let batch = make_batch(&found, offset, at, &host_id, &stamp, false);
            offset = found.next;
            let now = Checkpoint { offset, ..at.clone() };
            let position = (now.key(self.source()), serde_json::to_string(&now).unwrap_or_default());
            self.base.feed.counters.add_empty(found.empty);
            if self.deliver(batch, vec![position]).is_err() {
                return Ok(false);
            }
            if got == 0 {
                return Ok(true);
            }
            if self.base.feed.mode() == Mode::Stop {
                return Ok(false);
            }
        }
    }
}

/// The source was told to stop and the vault did not take the batch in time: nothing was acknowledged, the offset stands.
struct Stopped;
