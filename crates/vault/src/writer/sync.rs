//! The syncer: one write, one fdatasync, then everybody who waited is told (V2).

use super::commit::{FULL_WAIT, Prepared, PreparedCommit, has_room};
use super::core::Shared;
use crate::disk::BLOCK_BYTES;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Commits up to this size are followed by zeroes, so that later small commits need no metadata in their fdatasync.
/// Larger ones pay for their own metadata, and are written past the page cache.
const SMALL_COMMIT_BYTES: u64 = 256 << 10;
/// Zeroes written at a time: little in a young file, so that a short-lived vault stays small.
const FILL_FIRST_BYTES: u64 = 1 << 20;
const FILL_BYTES: u64 = 4 << 20;

pub(crate) struct Syncer {
    shared: Arc<Shared>,
    /// WAL number and how far its file is filled.
    filled: (u64, u64),
    end: FileEnd,
}

/// The last bytes of a WAL file that do not fill a block, to be written again with what follows them.
#[derive(Default)]
struct FileEnd {
    wal: u64,
    offset: u64,
    bytes: Vec<u8>,
}

impl FileEnd {
    /// The bytes of the open block before `offset`, where they are known.
    fn before(&self, wal: u64, offset: u64) -> Option<&[u8]> {
        let is_known = offset.is_multiple_of(BLOCK_BYTES as u64) || (self.wal, self.offset) == (wal, offset);
        is_known.then(|| if (self.wal, self.offset) == (wal, offset) { &*self.bytes } else { &[] })
    }

    fn advance(&mut self, wal: u64, offset: u64, written: &[u8]) {
        let end = offset + written.len() as u64;
        let open = usize::try_from(end % BLOCK_BYTES as u64).unwrap_or(0);
        if let Some(from) = written.len().checked_sub(open) {
            self.bytes.clear();
            self.bytes.extend_from_slice(written.get(from..).unwrap_or_default());
        } else if (self.wal, self.offset) == (wal, offset) {
            self.bytes.extend_from_slice(written);
        } else {
            // Only a part of the block is known.
            *self = FileEnd::default();
            return;
        }
        (self.wal, self.offset) = (wal, end);
    }
}

impl Syncer {
    pub(crate) fn new(shared: Arc<Shared>) -> Syncer {
        Syncer { shared, filled: (0, 0), end: FileEnd::default() }
    }

    pub(crate) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        while let Some(prepared) = shared.queue.take_prepared() {
            match prepared {
                Prepared::Commit(commit) => self.commit(*commit),
                Prepared::Close(tail, reply) => match shared.poisoned() {
                    // Its last bytes may not be on the disk: only a recovery can say what was committed.
                    Some(error) => {
                        if let Some(reply) = reply {
                            let _ = reply.send(Err(error));
                        }
                    }
                    None => {
                        if let Some(tail) = &tail {
                            tail.close();
                        }
                        shared.seals.push(tail, reply);
                    }
                },
            }
        }
    }

    fn commit(&mut self, mut commit: PreparedCommit) {
        let shared = Arc::clone(&self.shared);
        if let Some(error) = shared.poisoned() {
            for (pending, _) in commit.waiters {
                if let Some(reply) = pending.reply {
                    let _ = reply.send(Err(error.clone()));
                }
            }
            return;
        }
        match self.make_durable(&mut commit) {
            Ok(true) => {
                let buffer = publish(&shared, commit);
                shared.pool.give(buffer);
            }
            // Stopping while the disk is full: nothing was acknowledged, dropped replies say so.
            Ok(false) => {}
            Err(e) => {
                // Never a second fdatasync on this file: the kernel may have dropped the pages that failed.
                let why = format!("cannot write `{}`: {e}", commit.tail.path.display());
                shared.poison(why);
                self.commit(commit);
            }
        }
    }

    /// Writes and syncs. False when the vault stops before the disk has room.
    fn make_durable(&mut self, commit: &mut PreparedCommit) -> io::Result<bool> {
        let shared = Arc::clone(&self.shared);
        loop {
            let result = if has_room(&shared, commit.bytes.len() as u64) {
                self.write(commit)
            } else {
                Err(io::ErrorKind::StorageFull.into())
            };
            match result {
                Ok(()) => break,
                Err(e)
                    if e.kind() == io::ErrorKind::StorageFull || e.kind() == io::ErrorKind::QuotaExceeded =>
                {
                    if !shared.facts.is_full.swap(true, Ordering::AcqRel) {
                        tracing::warn!("the disk is full: sources wait, nothing is acknowledged");
                    }
                    if !shared.queue.pause(FULL_WAIT) {
                        return Ok(false);
                    }
                }
                Err(e) => return Err(e),
            }
        }
        // V2: this must succeed before anybody is told.
        commit.file.sync_data()?;
        self.end.advance(commit.tail.number(), commit.offset, commit.bytes.bytes());
        shared.facts.is_full.store(false, Ordering::Release);
        Ok(true)
    }

    fn write(&mut self, commit: &mut PreparedCommit) -> io::Result<()> {
        let (wal, len) = (commit.tail.number(), commit.bytes.len() as u64);
        let end = commit.offset + len;
        let filled = if self.filled.0 == wal { self.filled.1 } else { 0 };
        if end > filled && len <= SMALL_COMMIT_BYTES {
            let step = if end < FILL_FIRST_BYTES { FILL_FIRST_BYTES } else { FILL_BYTES };
            let to = end.next_multiple_of(step);
            let mut bytes = commit.bytes.bytes().to_vec();
            bytes.resize(usize::try_from(to - commit.offset).unwrap_or(bytes.len()), 0);
            if commit.file.write_at(&bytes, commit.offset).is_ok() {
                self.filled = (wal, to);
                return Ok(());
            }
            // No room for zeroes: the events alone may fit.
        }
        if len > SMALL_COMMIT_BYTES && self.write_blocks(commit).is_ok() {
            self.filled = (wal, filled.max(end.next_multiple_of(BLOCK_BYTES as u64)));
            return Ok(());
        }
        // Small, or the file's open block is not known, or the room ends within the last block.
        commit.file.write_at(commit.bytes.bytes(), commit.offset)?;
        self.filled = (wal, filled.max(end));
        Ok(())
    }

    /// Whole blocks: the open one again, the commit, and zeroes to the end of the last. What was durable in the open block is written
    /// with the same bytes, so no tear of this write can change it.
    fn write_blocks(&mut self, commit: &mut PreparedCommit) -> io::Result<()> {
        let before = self.end.before(commit.tail.number(), commit.offset).ok_or(io::ErrorKind::Other)?;
        let from = commit.offset - before.len() as u64;
        commit.file.write_blocks_at(commit.bytes.blocks(before), from)
    }
}

/// The commit is durable: readers see it, then appenders hear of it. Gives the buffer back.
fn publish(shared: &Shared, commit: PreparedCommit) -> Vec<u8> {
    let PreparedCommit { tail, entry, waiters, foreign_rows, bytes, .. } = commit;
    let is_first = tail.commits() == 0;
    tail.push(Arc::clone(&entry));
    if is_first {
        shared.live.change(|view| view.tails.push(Arc::clone(&tail)));
    }
    shared.cache.add(tail.number(), &entry);
    if !entry.positions.is_empty() {
        let mut positions = shared.positions.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        for p in &entry.positions {
            positions.insert(Arc::clone(&p.key), Arc::clone(&p.value));
        }
    }
    let facts = &shared.facts;
    facts.rows.fetch_add(entry.end_seq - entry.first_seq, Ordering::Relaxed);
    facts.foreign_rows.fetch_add(foreign_rows, Ordering::Relaxed);
    facts.commits.fetch_add(1, Ordering::Relaxed);
    shared.live.advance(entry.end_seq);
    for (pending, ack) in waiters {
        if let Some(reply) = pending.reply {
            // An appender that went away does not mind.
            let _ = reply.send(Ok(ack));
        }
    }
    bytes.into_buffer()
}
