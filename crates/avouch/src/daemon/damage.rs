//! The tamper drill's damage: done to a copy of the vault in a scratch folder, one kind per copy, never to an original.

use prove::drill::Trouble;
use prove::drill::tamper::{Done, Mutation};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

fn missing(what: impl Into<String>) -> Trouble {
    Trouble::Missing(what.into())
}

pub fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else if let Err(e) = std::fs::copy(entry.path(), &target)
            && e.kind() != std::io::ErrorKind::NotFound
        {
            // A WAL that is sealed while we copy is not missed: its segment is copied instead.
            return Err(e);
        }
    }
    Ok(())
}

fn files(dir: &Path, below: &str, ending: &str) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let mut open = vec![dir.join(below)];
    while let Some(d) = open.pop() {
        for e in std::fs::read_dir(&d).into_iter().flatten().flatten() {
            let p = e.path();
            if p.is_dir() {
                open.push(p);
            } else if p.to_string_lossy().ends_with(ending) {
                out.push(p);
            }
        }
    }
    out.sort();
    out
}

/// Flips one byte of `file` at `offset`.
fn flip(dir: &Path, file: &Path, offset: u64) -> Result<Done, Trouble> {
    let broke = |e: std::io::Error| missing(format!("scratch: {e}"));
    if offset >= length(file) {
        return Err(missing(format!("scratch: {} is shorter than {offset}", file.display())));
    }
    let opened = std::fs::OpenOptions::new().read(true).write(true).open(file).map_err(broke)?;
    let mut byte = [0_u8];
    opened.read_exact_at(&mut byte, offset).map_err(broke)?;
    opened.write_all_at(&byte.map(|b| b ^ 0x20), offset).map_err(broke)?;
    Ok(Done {
        file: file.strip_prefix(dir).unwrap_or(file).display().to_string(),
        offset: Some(offset),
        seq: None,
    })
}

fn length(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |m| m.len())
}

fn first(found: Vec<PathBuf>, what: &str) -> Result<PathBuf, Trouble> {
    found.into_iter().next().ok_or_else(|| missing(format!("window: the vault has no {what} yet")))
}

fn done(dir: &Path, file: &Path) -> Done {
    Done { file: file.strip_prefix(dir).unwrap_or(file).display().to_string(), offset: None, seq: None }
}

/// Tiles or bundles of the present tree, the newest first. A partial one that a wider one has replaced proves nothing any more.
fn current(dir: &Path, below: &str) -> Vec<PathBuf> {
    let width =
        |p: &Path| p.file_name().and_then(|n| n.to_str()).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    let is_partial = |p: &Path| p.parent().is_some_and(|d| d.to_string_lossy().ends_with(".p"));
    let all = files(dir, below, "");
    let wider = |p: &PathBuf| all.iter().any(|o| o.parent() == p.parent() && width(o) > width(p));
    let full = |p: &PathBuf| p.parent().is_some_and(|d| d.with_extension("").is_file());
    let mut out: Vec<PathBuf> =
        all.iter().filter(|p| !is_partial(p) || !(wider(p) || full(p))).cloned().collect();
    out.reverse();
    out
}

/// The checkpoint signed again by a key of the same name that is not the vault's.
fn foreign_key(dir: &Path) -> Result<Done, Trouble> {
    let path = dir.join("log/checkpoint");
    let broke = |e: &dyn std::fmt::Display| missing(format!("scratch: {e}"));
    let bytes = crate::files::read(&path, crate::files::NOTE_BYTES_MAX).map_err(|e| broke(&e))?;
    let note = vault::merkle::Note::parse(&bytes).map_err(|e| broke(&e))?;
    let checkpoint = vault::merkle::Checkpoint::parse(&note.text).map_err(|e| broke(&e))?;
    let mut seed = [0_u8; 32];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut seed)
        .map_err(|_| missing("scratch: the system has no random bytes"))?;
    let signer = vault::merkle::Signer::new(&checkpoint.origin, &seed).map_err(|e| broke(&e))?;
    let signed = checkpoint.sign(&signer).map_err(|e| broke(&e))?;
    std::fs::write(&path, signed).map_err(|e| broke(&e))?;
    Ok(done(dir, &path))
}

pub fn damage(dir: &Path, kind: Mutation) -> Result<Done, Trouble> {
    let segment = || first(files(dir, "data", ".parquet"), "sealed segment");
    match kind {
        Mutation::FlipPage => segment().and_then(|f| flip(dir, &f, length(&f) / 3)),
        Mutation::FlipFooter => segment().and_then(|f| flip(dir, &f, length(&f).saturating_sub(16))),
        Mutation::FlipSideFile => {
            first(files(dir, "side", ".side"), "side file").and_then(|f| flip(dir, &f, length(&f) / 2))
        }
        Mutation::FlipTile => {
            first(current(dir, "log/tile/0"), "tile").and_then(|f| flip(dir, &f, length(&f) / 2))
        }
        Mutation::FlipEntry => first(current(dir, "log/tile/entries"), "entry bundle")
            .and_then(|f| flip(dir, &f, length(&f) / 2)),
        Mutation::TruncateLog => {
            let f = first(current(dir, "log/tile/entries"), "entry bundle")?;
            let half = length(&f) / 2;
            let cut = std::fs::OpenOptions::new().write(true).open(&f).and_then(|file| file.set_len(half));
            cut.map_err(|e| missing(format!("scratch: {e}")))?;
            Ok(done(dir, &f))
        }
        Mutation::ForeignKey => foreign_key(dir),
        Mutation::FlipCheckpoint => {
            let f = dir.join("log/checkpoint");
            flip(dir, &f, 3)
        }
        Mutation::DropSegment => {
            let f = segment()?;
            std::fs::remove_file(&f).map_err(|e| missing(format!("scratch: {e}")))?;
            Ok(done(dir, &f))
        }
        Mutation::FlipWal => {
            let f = first(files(dir, "wal", ".wal"), "open WAL")?;
            // The header's previous-commit hash: covered by the header's checksum and by every frame after it.
            flip(dir, &f, 60)
        }
        other => Err(missing(format!("component: this build does not make the damage `{}`", other.name()))),
    }
}
