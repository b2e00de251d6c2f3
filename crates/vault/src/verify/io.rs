//! Reading files of a vault that somebody may have prepared: bounded, never following a link out of the folder.

use crate::merkle::Hash;
use crate::sha256::{Pair, digests};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Bytes per read: large enough that system calls cost nothing beside SHA-256, small enough for many jobs.
pub(super) const READ_BYTES: usize = 1 << 20;
/// Pieces that the side file hashes, and so the precision of a location.
pub(super) const CHUNK_BYTES: usize = 64 << 10;
/// Entries that are listed below one folder. A vault of ten years has a tenth of it.
const LISTING_MAX: usize = 10_000_000;
/// Folders in folders. Tiles need six.
const DEPTH_MAX: usize = 16;

/// Opens a regular file; a link, a pipe or a device is refused (a pipe would hang the check, a link would hash a file that
/// is not in the vault).
pub(super) fn open(root: &Path, path: &str) -> io::Result<File> {
    let full = root.join(path);
    let meta = std::fs::symlink_metadata(&full)?;
    if !meta.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    File::open(full)
}

/// All bytes of a small file; `None` when there is none. A file above `max` is an error.
pub(super) fn read_small(root: &Path, path: &str, max: usize) -> io::Result<Option<Vec<u8>>> {
    let file = match open(root, path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut bytes = Vec::new();
    file.take(max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("larger than {max} bytes")));
    }
    Ok(Some(bytes))
}

/// Length and SHA-256 of a file, read once.
pub(super) fn hash_file(file: File, buffer: &mut Vec<u8>) -> io::Result<(u64, Hash)> {
    let mut ctx = ring::digest::Context::new(&ring::digest::SHA256);
    let length = for_each_piece(file, READ_BYTES, buffer, |piece| ctx.update(piece))?;
    let mut hash = [0; 32];
    hash.copy_from_slice(ctx.finish().as_ref());
    Ok((length, hash))
}

/// Length and SHA-256 of two files, read and hashed side by side: twice as fast as one after the other.
pub(super) fn hash_files(files: [File; 2]) -> [io::Result<(u64, Hash)>; 2] {
    let mut open = files.map(|file| Side { file, buffer: vec![0; READ_BYTES], filled: 0, end: None });
    let mut pair = Pair::new();
    while open.iter().any(|side| side.end.is_none()) {
        let [a, b] = &mut open;
        pair.update([a.next(), b.next()]);
    }
    let [a, b] = &open;
    let [a_hash, b_hash] = pair.finish([a.last(), b.last()]);
    let [a, b] = open;
    [a.end.unwrap_or(Ok(())).map(|()| a_hash), b.end.unwrap_or(Ok(())).map(|()| b_hash)]
}

/// One of two files that are being hashed.
struct Side {
    file: File,
    buffer: Vec<u8>,
    filled: usize,
    end: Option<io::Result<()>>,
}

impl Side {
    /// The next piece: as long as the buffer, but for the last one; nothing behind that.
    fn next(&mut self) -> &[u8] {
        if self.end.is_some() {
            return &[];
        }
        match fill(&mut self.file, &mut self.buffer) {
            Ok(filled) => {
                // Where a file ends with its piece, the next one is empty, and the rest with it.
                self.filled = filled;
                if filled < self.buffer.len() {
                    self.end = Some(Ok(()));
                }
            }
            Err(e) => {
                self.filled = 0;
                self.end = Some(Err(e));
            }
        }
        self.last()
    }

    fn last(&self) -> &[u8] {
        self.buffer.get(..self.filled).unwrap_or_default()
    }
}

/// Reads until `buffer` is full or the file is at its end.
fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(room) = buffer.get_mut(filled..).filter(|r| !r.is_empty()) {
        match file.read(room) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

/// SHA-256 of each 64 KiB piece.
pub(super) fn chunk_hashes(file: File) -> io::Result<Vec<Hash>> {
    let (mut hashes, mut buffer) = (Vec::new(), Vec::new());
    for_each_piece(file, READ_BYTES, &mut buffer, |piece| {
        digests(piece.chunks(CHUNK_BYTES), &mut hashes);
    })?;
    Ok(hashes)
}

/// Calls `each` with consecutive pieces of exactly `size` bytes (the last may be shorter). Returns the number of bytes.
fn for_each_piece(
    mut file: File,
    size: usize,
    buffer: &mut Vec<u8>,
    mut each: impl FnMut(&[u8]),
) -> io::Result<u64> {
    buffer.resize(size, 0);
    let mut total = 0u64;
    loop {
        let filled = fill(&mut file, buffer)?;
        each(buffer.get(..filled).unwrap_or_default());
        total += filled as u64;
        if filled < size {
            return Ok(total);
        }
    }
}

/// Paths of everything below `folder` that is not a folder, relative to `root`, sorted. Links are listed, never followed.
/// The second part is true when the listing was cut.
pub(super) fn list(root: &Path, folder: &str) -> io::Result<(Vec<String>, bool)> {
    let (mut out, mut open) = (Vec::new(), vec![(folder.to_owned(), 0)]);
    while let Some((folder, depth)) = open.pop() {
        let entries = match std::fs::read_dir(root.join(&folder)) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
        };
        for entry in entries {
            let entry = entry?;
            if out.len() + open.len() >= LISTING_MAX {
                return Ok((out, true));
            }
            // A name that is no UTF-8 is foreign whatever it says, so its exact bytes do not matter.
            let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() && depth < DEPTH_MAX {
                open.push((path, depth + 1));
            } else {
                out.push(path);
            }
        }
    }
    out.sort_unstable();
    Ok((out, false))
}

/// Runs `work` on every item, `jobs` at a time, and gives the results back in the order of the items.
pub(super) fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    jobs: usize,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let jobs = jobs.clamp(1, items.len().max(1));
    if jobs == 1 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, R)>> = Mutex::new(Vec::with_capacity(items.len()));
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(at) else { return };
                    let result = work(item);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((at, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, r)| r).collect()
}
