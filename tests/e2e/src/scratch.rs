//! Folders of a test, removed when it ends; also when the whole test program ends.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Removes the program's folder when its pipe closes, which happens however the program ends.
struct Janitor {
    root: PathBuf,
    _shell: Child,
}

fn root() -> &'static Path {
    static JANITOR: OnceLock<Janitor> = OnceLock::new();
    let janitor = JANITOR.get_or_init(|| {
        // Short, because a Unix socket lies in it and its path has at most 107 bytes.
        let root = std::env::temp_dir().join(format!("ave2e-{}", std::process::id()));
        std::fs::create_dir_all(&root).expect("the folder for temporary files can be written");
        let script = if is_kept() { "cat >/dev/null" } else { "cat >/dev/null; rm -rf \"$0\"" };
        let shell = Command::new("sh").args(["-c", script]).arg(&root).stdin(Stdio::piped()).spawn();
        Janitor { root, _shell: shell.expect("sh runs") }
    });
    &janitor.root
}

fn is_kept() -> bool {
    std::env::var_os("AVOUCH_E2E_KEEP").is_some()
}

pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// `name` only makes a kept folder readable.
    pub fn new(name: &str) -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let path = root().join(format!("{}-{name}", NEXT.fetch_add(1, Ordering::Relaxed)));
        for folder in ["home", "run", "share"] {
            std::fs::create_dir_all(path.join(folder)).expect("a scratch folder can be made");
        }
        Scratch { path }
    }
    pub fn path(&self) -> &Path {
        &self.path
    }
    pub fn join(&self, path: impl AsRef<Path>) -> PathBuf {
        self.path.join(path)
    }
    /// The data folder of a daemon in this scratch folder.
    pub fn data(&self) -> PathBuf {
        self.path.join("data")
    }
    #[track_caller]
    pub fn write(&self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path.join(path);
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).expect("a scratch folder can be made");
        }
        std::fs::write(&path, bytes).unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
        path
    }
    #[track_caller]
    pub fn append(&self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
        let path = self.path.join(path);
        let file = std::fs::OpenOptions::new().append(true).create(true).open(&path);
        file.and_then(|mut f| f.write_all(bytes.as_ref()))
            .unwrap_or_else(|e| panic!("cannot append to {}: {e}", path.display()));
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !is_kept() {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// Copies a folder with everything in it.
#[track_caller]
pub fn copy_folder(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(done.is_ok_and(|s| s.success()), "cannot copy {} to {}", from.display(), to.display());
}

/// All files below a folder, by path.
#[track_caller]
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(dir) = open.pop() {
        let entries =
            std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("cannot list {}: {e}", dir.display()));
        for entry in entries {
            let path = entry.expect("an entry can be read").path();
            if path.is_dir() { open.push(path) } else { out.push(path) }
        }
    }
    out.sort();
    out
}
