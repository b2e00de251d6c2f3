//! What the writer does to a disk, as a trait, so that tests can lose unsynced bytes, tear writes, fill up and fail an fsync.
//! Reading goes through `std::fs`: a simulated disk keeps its visible state in real files.

use crate::format::paths;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Room on the file system below a path, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    pub free: u64,
    pub total: u64,
}

/// Changes to files and folders.
pub trait Disk: Send + Sync {
    /// A new, empty file open for writing; one that exists is emptied.
    ///
    /// # Errors
    /// As the system says.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// An existing file, open for writing.
    ///
    /// # Errors
    /// As the system says.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// # Errors
    /// As the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// # Errors
    /// As the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// # Errors
    /// As the system says.
    fn create_folder(&self, path: &Path) -> io::Result<()>;
    /// Makes names created, renamed and removed in `folder` durable.
    ///
    /// # Errors
    /// As the system says.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// # Errors
    /// As the system says.
    fn space(&self, path: &Path) -> io::Result<Space>;
}

/// A file open for writing.
pub trait DiskFile: Send + Sync {
    /// All of `bytes` at `offset`.
    ///
    /// # Errors
    /// As the system says; some of the bytes may then have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Whole blocks ([`BLOCK_BYTES`]) at the start of a block, past the page cache where the file system can do that. Durable only
    /// after [`DiskFile::sync_data`], as any write.
    ///
    /// # Errors
    /// As [`DiskFile::write_at`].
    fn write_blocks_at(&self, blocks: &[u8], offset: u64) -> io::Result<()> {
        self.write_at(blocks, offset)
    }
    /// `fdatasync`.
    ///
    /// # Errors
    /// As the system says. The caller must not try again on this file: the kernel may have dropped the pages already.
    fn sync_data(&self) -> io::Result<()>;
    /// # Errors
    /// As the system says.
    fn set_len(&self, bytes: u64) -> io::Result<()>;
}

/// The machine's file systems.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalDisk;

/// Alignment of memory, offset and length that writing past the page cache asks for: no disk has larger blocks.
pub const BLOCK_BYTES: usize = 4096;

/// A file, and the way past the page cache to it, opened when it is first used.
///
/// Why: a file that grows through the page cache costs 2.6 CPU seconds a GB here (pages are found, copied, written back and dropped), a
/// direct write 0.1. For large commits that was a fifth of the whole append.
struct LocalFile {
    file: File,
    path: PathBuf,
    direct: OnceLock<Option<File>>,
}

impl LocalFile {
    fn boxed(file: File, path: &Path) -> Box<dyn DiskFile> {
        Box::new(LocalFile { file, path: path.to_owned(), direct: OnceLock::new() })
    }

    /// `None` where the file system cannot do it, or where the path has become another file.
    fn direct(&self) -> Option<&File> {
        let open = || {
            let flags = rustix::fs::OFlags::DIRECT.bits().cast_signed();
            let direct = File::options().write(true).custom_flags(flags).open(&self.path).ok()?;
            let (own, other) = (self.file.metadata().ok()?, direct.metadata().ok()?);
            ((own.dev(), own.ino()) == (other.dev(), other.ino())).then_some(direct)
        };
        self.direct.get_or_init(open).as_ref()
    }
}

impl DiskFile for LocalFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }
    fn write_blocks_at(&self, blocks: &[u8], offset: u64) -> io::Result<()> {
        let is_aligned = blocks.as_ptr().addr().is_multiple_of(BLOCK_BYTES)
            && blocks.len().is_multiple_of(BLOCK_BYTES)
            && offset.is_multiple_of(BLOCK_BYTES as u64);
        match self.direct().filter(|_| is_aligned).map(|direct| direct.write_all_at(blocks, offset)) {
            // Refused for what it is (other alignment, encrypted or compressed file): the ordinary way stays.
            Some(Err(e)) if e.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) => {
                self.write_at(blocks, offset)
            }
            Some(result) => result,
            None => self.write_at(blocks, offset),
        }
    }
    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }
}

impl Disk for LocalDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(LocalFile::boxed(File::options().write(true).create(true).truncate(true).open(path)?, path))
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(LocalFile::boxed(File::options().write(true).open(path)?, path))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        match std::fs::create_dir(path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            other => other,
        }
    }
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }
    fn space(&self, path: &Path) -> io::Result<Space> {
        let s = rustix::fs::statvfs(path)?;
        Ok(Space {
            free: s.f_bavail.saturating_mul(s.f_frsize),
            total: s.f_blocks.saturating_mul(s.f_frsize),
        })
    }
}

/// Creates `folder` and those above it, making each new name durable in its parent.
pub(crate) fn create_folders(disk: &dyn Disk, folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent().filter(|p| !p.as_os_str().is_empty()) {
        create_folders(disk, parent)?;
        disk.create_folder(folder)?;
        return disk.sync_folder(parent);
    }
    disk.create_folder(folder)
}

/// Replaces the file at `path` of the vault folder `dir`, so that after a crash it is the old one or the new one, whole. It is
/// written in the vault's `tmp/`: no half file ever has a name that means something. The folder of `path` is not synced: the
/// caller does that once for several files.
pub(crate) fn replace_file(disk: &dyn Disk, dir: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let fresh = dir.join(paths::TMP).join(NEXT.fetch_add(1, Ordering::Relaxed).to_string());
    let file = disk.create(&fresh)?;
    file.write_at(bytes, 0)?;
    file.sync_data()?;
    drop(file);
    disk.rename(&fresh, path)
}

/// [`replace_file`], and the folder too.
pub(crate) fn replace_file_durable(disk: &dyn Disk, dir: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_file(disk, dir, path, bytes)?;
    path.parent().map_or(Ok(()), |p| disk.sync_folder(p))
}
