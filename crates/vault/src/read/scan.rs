//! Reading a WAL file from its start: what is committed, what is torn, what is damaged (`vault.md` 2, Recovery).

use super::keyring::{KeyRing, wal_segment};
use super::tail::{CommitEntry, Facts, FrameEntry, WalTail, WalTrees, leaves_of};
use crate::error::VaultError;
use crate::format::event::{Salter, sha256};
use crate::format::wal::{
    Commit, FRAME_HEAD_BYTES, FrameHead, FrameKey, HEADER_BYTES_MAX, Header, Kind, WalFault, check_frame,
    decode_batch,
};
use crate::keys::Dek;
use model::Time;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

/// How many lost frames a reader guesses when it looks for the next readable one (its nonce is its number).
const FRAMES_GUESSED_MAX: u64 = 4_096;
/// Piece in which a file is searched.
const SEARCH_BYTES: usize = 1 << 20;

/// Bytes of a WAL that could not be used although a later commit could.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub start: u64,
    pub end: u64,
    pub fault: WalFault,
}

/// What a WAL file holds.
#[derive(Debug)]
pub struct Scan {
    pub tail: WalTail,
    pub positions: BTreeMap<Arc<str>, Arc<str>>,
    /// Where the last commit ends.
    pub valid_bytes: u64,
    /// Where the last byte other than zero ends: more than `valid_bytes` when the tail is torn.
    pub written_bytes: u64,
    pub damage: Vec<Damage>,
    pub received_max: Time,
    pub rows: u64,
}

/// Reads the WAL file at `path`. `Ok(None)` when there is no whole header: nothing was ever committed to it.
///
/// # Errors
/// The file cannot be read, is of a later version, or its key cannot be had.
pub fn scan(path: &Path, keys: &KeyRing) -> Result<Option<Scan>, VaultError> {
    let io = |e: io::Error| VaultError::io("read", path, &e);
    let file = File::open(path).map_err(io)?;
    let len = file.metadata().map_err(io)?.len();
    let mut start = vec![0; usize::try_from(len).unwrap_or(usize::MAX).min(HEADER_BYTES_MAX)];
    file.read_exact_at(&mut start, 0).map_err(io)?;
    let (header, header_bytes, crc) = match Header::decode(&start) {
        Ok(found) => found,
        Err(WalFault::Version(v)) => {
            let path = path.display().to_string();
            return Err(VaultError::TooNew {
                path,
                found: v.into(),
                known: crate::format::wal::VERSION.into(),
            });
        }
        Err(_) => return Ok(None),
    };
    let dek = keys.dek(&header.dek, "", &wal_segment(header.wal))?;
    let key = FrameKey::new(&dek, crc, header.wal);
    let mut scanner = Scanner {
        file: &file,
        path,
        len,
        key: key.clone(),
        dek: dek.clone(),
        salters: BTreeMap::new(),
        trees: WalTrees::default(),
        open: Vec::new(),
        commits: Vec::new(),
        positions: BTreeMap::new(),
        next_seq: header.first_seq,
        damage: Vec::new(),
        lost: Vec::new(),
        received_max: Time::NONE,
    };
    scanner.run(header_bytes as u64)?;
    let valid_bytes = scanner.commits.last().map_or(header_bytes as u64, |c| c.end_offset);
    let written_bytes = written(&file, valid_bytes, len).map_err(io)?;
    let Scanner { commits, positions, damage, lost, received_max, .. } = scanner;
    let rows = commits.iter().flat_map(|c| &c.frames).map(|f| f.facts.rows).sum();
    let tail = WalTail::new(header, path.to_owned(), file, key, dek).with_commits(commits, lost);
    Ok(Some(Scan { tail, positions, valid_bytes, written_bytes, damage, received_max, rows }))
}

/// End of the last byte other than zero at or after `from`; `from` when there is none.
fn written(file: &File, from: u64, len: u64) -> io::Result<u64> {
    let (mut at, mut end) = (from, from);
    let mut buf = vec![0; SEARCH_BYTES];
    while at < len {
        let n = usize::try_from(len - at).unwrap_or(usize::MAX).min(SEARCH_BYTES);
        let piece = buf.get_mut(..n).unwrap_or_default();
        file.read_exact_at(piece, at)?;
        if let Some(i) = piece.iter().rposition(|b| *b != 0) {
            end = at + i as u64 + 1;
        }
        at += n as u64;
    }
    Ok(end)
}

struct Scanner<'a> {
    file: &'a File,
    path: &'a Path,
    len: u64,
    key: FrameKey,
    dek: Dek,
    salters: BTreeMap<Arc<str>, Salter>,
    trees: WalTrees,
    /// Batch frames whose commit has not come yet.
    open: Vec<FrameEntry>,
    commits: Vec<CommitEntry>,
    positions: BTreeMap<Arc<str>, Arc<str>>,
    next_seq: u64,
    damage: Vec<Damage>,
    lost: Vec<[u64; 2]>,
    received_max: Time,
}

struct FoundFrame {
    head: FrameHead,
    frame: Vec<u8>,
    payload: Vec<u8>,
}

impl Scanner<'_> {
    fn run(&mut self, start: u64) -> Result<(), VaultError> {
        let (mut at, mut number) = (start, 0u64);
        loop {
            let fault = match self.frame(at, number) {
                Ok(None) => return Ok(()),
                Ok(Some(found)) => {
                    let bytes = found.frame.len() as u64;
                    match self.accept(at, number, found) {
                        Ok(()) => {
                            at += bytes;
                            number += 1;
                            continue;
                        }
                        Err(fault) => fault,
                    }
                }
                Err(fault) => fault,
            };
            // Only a later commit makes it damage; else it is a torn tail. Readable frames of the broken commit stay open: that
            // later commit says that they were acknowledged.
            let Some((next, next_number)) = self.resume(at, number)? else { return Ok(()) };
            self.damage.push(Damage { start: at, end: next, fault });
            (at, number) = (next, next_number);
        }
    }

    fn read(&self, at: u64, n: usize) -> Result<Vec<u8>, WalFault> {
        if at.saturating_add(n as u64) > self.len {
            return Err(WalFault::Short);
        }
        let mut out = vec![0; n];
        self.file.read_exact_at(&mut out, at).map_err(|_| WalFault::Short)?;
        Ok(out)
    }

    /// The frame at `at`; `Ok(None)` at the end of what was written.
    fn frame(&self, at: u64, number: u64) -> Result<Option<FoundFrame>, WalFault> {
        if at >= self.len {
            return Ok(None);
        }
        let left = usize::try_from(self.len - at).unwrap_or(usize::MAX);
        if left < FRAME_HEAD_BYTES {
            let rest = self.read(at, left)?;
            return if rest.iter().all(|b| *b == 0) { Ok(None) } else { Err(WalFault::Short) };
        }
        let head = self.read(at, FRAME_HEAD_BYTES)?;
        let head = FrameHead::decode(head.first_chunk().ok_or(WalFault::Short)?)?;
        let Some(head) = head else {
            // Zeroes are the end only if nothing follows: a hole in the middle is damage.
            let end = written(self.file, at, self.len).map_err(|_| WalFault::Short)?;
            return if end == at { Ok(None) } else { Err(WalFault::BadFrame) };
        };
        let frame = self.read(at, head.frame_bytes())?;
        let payload = self.key.open(number, &head, check_frame(&head, &frame)?)?;
        Ok(Some(FoundFrame { head, frame, payload }))
    }

    fn accept(&mut self, at: u64, number: u64, found: FoundFrame) -> Result<(), WalFault> {
        match found.head.kind {
            Kind::Batch => self.batch(at, number, found),
            Kind::Commit => self.commit(at, &found),
        }
    }

    fn batch(&mut self, at: u64, number: u64, found: FoundFrame) -> Result<(), WalFault> {
        let decoded = decode_batch(found.payload, found.head.rows)?;
        let facts = Facts::of(&decoded.batch);
        let Some(dataset) = decoded.batch.datasets.first().cloned() else {
            return Err(WalFault::Payload("no dataset"));
        };
        if facts.rows == 0 || facts.seq.0 != found.head.low_seq || facts.seq.0 < self.next_seq {
            return Err(WalFault::Payload("seqs that do not fit their frame"));
        }
        let salter = self
            .salters
            .entry(Arc::clone(&dataset))
            .or_insert_with_key(|d| Salter::new(&crate::format::event::Seed::derive(&self.dek, d)));
        let leaves = leaves_of(&decoded, salter);
        let entry = FrameEntry::new(dataset, at, number, found.head, facts);
        // The batch is not kept (a file may hold a gigabyte of them); its leaves are, so that sealing does not hash again.
        entry.keep_leaves(leaves);
        self.open.push(entry);
        Ok(())
    }

    fn commit(&mut self, at: u64, found: &FoundFrame) -> Result<(), WalFault> {
        let commit = Commit::decode(&found.payload)?;
        let first = self.next_seq;
        let rows: u64 = self.open.iter().map(|f| f.facts.rows).sum();
        let is_inside = self.open.iter().all(|f| f.facts.seq.1 < commit.end_seq);
        if commit.end_seq < first || !is_inside || rows > commit.end_seq - first {
            return Err(WalFault::Commit("its seqs are others"));
        }
        let is_whole = rows == commit.end_seq - first;
        if !is_whole && self.damage.is_empty() {
            return Err(WalFault::Commit("rows are missing"));
        }
        let mut trees = self.trees.clone();
        for f in &self.open {
            trees.extend(&f.dataset, &f.leaves());
        }
        // Behind damage the trees are not those of the writer: frame checksums and GCM tags have to do.
        if self.damage.is_empty() && trees.root() != commit.root {
            return Err(WalFault::Commit("its WAL root is another"));
        }
        self.trees = trees;
        if !is_whole {
            self.lost.extend(missing(first, commit.end_seq, &self.open, |f| self.seqs(f)));
        }
        let frames = std::mem::take(&mut self.open);
        let received = frames.iter().map(|f| f.facts.received.1).max().unwrap_or(Time::NONE);
        self.received_max = self.received_max.max(received);
        for p in &commit.positions {
            self.positions.insert(Arc::clone(&p.key), Arc::clone(&p.value));
        }
        self.next_seq = commit.end_seq;
        self.commits.push(CommitEntry {
            first_seq: first,
            end_seq: commit.end_seq,
            frames,
            positions: commit.positions,
            root: commit.root,
            hash: sha256(&found.frame),
            mac: commit.mac,
            end_offset: at + found.frame.len() as u64,
        });
        Ok(())
    }

    /// Seqs of a frame that was read once already.
    fn seqs(&self, f: &FrameEntry) -> Vec<u64> {
        let found = self.frame(f.offset, f.number).ok().flatten();
        let decoded = found.and_then(|found| decode_batch(found.payload, f.head.rows).ok());
        decoded.map(|d| d.batch.rows.iter().map(|r| r.seq).collect()).unwrap_or_default()
    }

    /// The next frame behind `at` that opens, and its number. First where the broken frame says it ends, then anywhere.
    fn resume(&self, at: u64, number: u64) -> Result<Option<(u64, u64)>, VaultError> {
        let head = self.read(at, FRAME_HEAD_BYTES).ok();
        let head = head.and_then(|h| FrameHead::decode(h.first_chunk()?).ok().flatten());
        if let Some(head) = head {
            let next = at + head.frame_bytes() as u64;
            if let Ok(Some(_)) = self.frame(next, number + 1) {
                return Ok(self.has_commit(next, number + 1).then_some((next, number + 1)));
            }
        }
        let end = written(self.file, at, self.len).map_err(|e| VaultError::io("read", self.path, &e))?;
        let mut from = at + 1;
        while from < end {
            let n = usize::try_from(end - from).unwrap_or(usize::MAX).min(SEARCH_BYTES);
            let Ok(piece) = self.read(from, n) else { return Ok(None) };
            for (i, window) in piece.windows(FRAME_HEAD_BYTES).enumerate() {
                let here = from + i as u64;
                if let Some(found) = self.try_at(here, window, number) {
                    return Ok(self.has_commit(here, found).then_some((here, found)));
                }
            }
            if n < FRAME_HEAD_BYTES {
                break;
            }
            from += (n - FRAME_HEAD_BYTES + 1) as u64;
        }
        Ok(None)
    }

    /// The number of the frame at `at`, if one lies there.
    fn try_at(&self, at: u64, head: &[u8], number: u64) -> Option<u64> {
        let head = FrameHead::decode(head.first_chunk()?).ok().flatten()?;
        if head.low_seq < self.next_seq || at.saturating_add(head.frame_bytes() as u64) > self.len {
            return None;
        }
        let frame = self.read(at, head.frame_bytes()).ok()?;
        let stored = check_frame(&head, &frame).ok()?;
        (number..number + FRAMES_GUESSED_MAX).find(|n| self.key.open(*n, &head, stored).is_ok())
    }

    fn has_commit(&self, mut at: u64, mut number: u64) -> bool {
        let next = || {
            let found = self.frame(at, number).ok().flatten()?;
            at += found.frame.len() as u64;
            number += 1;
            Some(found.head)
        };
        // A second broken frame before it: look behind that one too.
        holds_whole_commit(next) || matches!(self.resume(at, number), Ok(Some(_)))
    }
}

/// Whether there is a whole commit among the frames behind a broken one, which `next` gives one by one. Only that proves that what
/// broke had been synced: the writer has one commit on its way to the disk at a time, and the commit frame of the broken commit
/// itself may have reached the disk before its batches, in a write that was never acknowledged. That frame names more rows than
/// lie behind the break. Recovery and `verify` both ask here, so that they never differ.
pub(crate) fn holds_whole_commit(mut next: impl FnMut() -> Option<FrameHead>) -> bool {
    let mut rows = 0u64;
    while let Some(head) = next() {
        match head.kind {
            Kind::Batch => rows = rows.saturating_add(u64::from(head.rows)),
            Kind::Commit if u64::from(head.rows) == rows => return true,
            Kind::Commit => rows = 0,
        }
    }
    false
}

/// Half-open ranges of `[first, end)` that no frame holds.
fn missing(
    first: u64,
    end: u64,
    frames: &[FrameEntry],
    seqs: impl Fn(&FrameEntry) -> Vec<u64>,
) -> Vec<[u64; 2]> {
    let mut held: Vec<u64> = frames.iter().flat_map(seqs).collect();
    held.sort_unstable();
    let (mut out, mut next) = (Vec::new(), first);
    for seq in held.into_iter().chain([end]) {
        if seq > next {
            out.push([next, seq]);
        }
        next = seq + 1;
    }
    out
}
