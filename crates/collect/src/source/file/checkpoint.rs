//! What identifies a file and says how far it was read.

use crate::decode::inflate::{Inflate, Packing};
use crate::source::cloudtrail_files::hex;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::tail::READ_BYTES;

/// Bytes at the front that identify a file, at most, and at least: shorter files are waited for.
pub(super) const HEAD_MAX: u64 = 1_024;
pub(super) const HEAD_MIN: u64 = 16;
/// Bytes before the offset whose hash shows that the file is still the one that was read.
pub(super) const TAIL: u64 = 64;
/// Device and inode.
pub(super) type Inode = (u64, u64);

/// A file's checkpoint, stored under `<source>/<device>:<inode>`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    pub(super) device: u64,
    pub(super) inode: u64,
    /// Hash and length of the head at first sight: the fingerprint in ids.
    pub(super) fingerprint: String,
    /// Hash and length of the head now; another one than the fingerprint after a truncation.
    pub(super) head: String,
    pub(super) head_length: u64,
    pub(super) generation: u64,
    pub(super) offset: u64,
    /// Hash of the [`TAIL`] bytes before `offset`, or of as many as there are.
    pub(super) tail: String,
    /// Where it was last seen; for people, and for finding its compressed copy.
    pub(super) path: PathBuf,
}

impl Checkpoint {
    pub(super) fn inode(&self) -> Inode {
        (self.device, self.inode)
    }
    pub(super) fn key(&self, source: &str) -> String {
        format!("{source}/{}:{}", self.device, self.inode)
    }
    /// Whether `file` still begins and, before the offset, ends as it did.
    pub(super) fn fits(&self, file: &File) -> io::Result<bool> {
        Ok(self.head_fits(file)? && hash_at(file, tail_range(self.offset))? == self.tail)
    }
    pub(super) fn head_fits(&self, file: &File) -> io::Result<bool> {
        Ok(hash_at(file, (0, self.head_length))? == self.head)
    }
}

pub(super) fn tail_range(offset: u64) -> (u64, u64) {
    (offset.saturating_sub(TAIL), offset.min(TAIL))
}

/// Hash of `length` bytes at `from`; of fewer when the file is shorter, which then fits nothing.
pub(super) fn hash_at(file: &File, (from, length): (u64, u64)) -> io::Result<String> {
    let mut buf = vec![0; usize::try_from(length).unwrap_or(0)];
    let mut n = 0;
    while let Some(rest) = buf.get_mut(n..).filter(|r| !r.is_empty()) {
        match file.read_at(rest, from.saturating_add(n as u64)) {
            Ok(0) => break,
            Ok(k) => n += k,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(hash(buf.get(..n).unwrap_or(&[])))
}

/// The first 16 bytes of SHA-256, hex: identity, not proof.
pub(super) fn hash(b: &[u8]) -> String {
    hex(model::sha256(&[b]).get(..16).unwrap_or(&[]))
}

pub(super) fn packing_of(path: &Path) -> Packing {
    let mut head = [0; 4];
    let n = File::open(path).and_then(|mut f| f.read(&mut head)).unwrap_or(0);
    Packing::of(head.get(..n).unwrap_or(&[]))
}

/// Whether the unpacked `path` begins with the checkpoint's head and has its tail before the offset.
pub(super) fn unpacked_fits(path: &Path, c: &Checkpoint) -> io::Result<bool> {
    let mut inflate = Inflate::new(File::open(path)?, u64::MAX)?;
    let (tail_from, tail_length) = tail_range(c.offset);
    let (mut buf, mut base) = (Vec::new(), 0_u64);
    let mut head_fits = None;
    loop {
        let got = inflate.fill(&mut buf, READ_BYTES).map_err(io::Error::other)?;
        if head_fits.is_none() && (buf.len() as u64 >= c.head_length || got == 0) {
            let head = usize::try_from(c.head_length).ok().and_then(|n| buf.get(..n));
            head_fits = Some(head.is_some_and(|h| hash(h) == c.head));
        }
        if head_fits == Some(false) {
            return Ok(false);
        }
        let end = tail_from.saturating_add(tail_length);
        if base.saturating_add(buf.len() as u64) >= end && head_fits.is_some() {
            let range = |p: u64| usize::try_from(p.saturating_sub(base)).unwrap_or(usize::MAX);
            return Ok(buf.get(range(tail_from)..range(end)).is_some_and(|t| hash(t) == c.tail));
        }
        if got == 0 {
            return Ok(false);
        }
        // The tail may lie across two reads; everything before it can go.
        if head_fits.is_some() {
            let gone = usize::try_from(tail_from.saturating_sub(base)).unwrap_or(usize::MAX).min(buf.len());
            buf.drain(..gone);
            base = base.saturating_add(gone as u64);
        }
    }
}
