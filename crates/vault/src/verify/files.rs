//! Files against their leaves: data, side and key files that must be there and unchanged, files that must be gone, files that
//! nobody named.

use super::entries::difference;
use super::io::{self, CHUNK_BYTES};
use super::leaves::{Expired, Leaves, Sealed};
use super::listing::is_scratch;
use super::locate;
use super::report::{Fault, FaultCode, Findings};
use super::{Context, Level, events};
use crate::format::leaf::ExpireAction;
use crate::format::side::{NODE_EVENTS, PREFIX_BYTES, Side, SideFault};
use crate::format::{Digest, paths};
use crate::merkle::{Hash, hex};
use model::Time;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::ErrorKind;

/// Largest side file that is read: a segment of 256 MiB of one-byte events would need a third of it.
const SIDE_BYTES_MAX: usize = 1 << 30;
/// Damaged chunks of one file that are listed one by one; more mean that the file is another one.
const CHUNKS_LISTED: usize = 16;

thread_local! {
    /// One read buffer per job.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Checks every segment, `jobs` at a time, then looks for foreign files.
pub(super) fn check(ctx: &Context<'_>, leaves: &Leaves, unread: u64, found: &mut Findings) {
    let since = ctx.options.since.unwrap_or(Time::NONE);
    let all: Vec<&Sealed> = leaves.sealed.values().collect();
    let (now, before): (Vec<&Sealed>, Vec<&Sealed>) =
        all.into_iter().partition(|s| s.segment.received[1] >= since);
    if !before.is_empty() {
        found.note("since", format!("{} segments that end before {since} were not opened", before.len()));
    }
    // Two files of one job are hashed side by side, unless that would leave another job without work worth more than hashing.
    let width = if ctx.options.level < Level::Events || now.len() >= 2 * ctx.options.jobs { 2 } else { 1 };
    let groups: Vec<&[&Sealed]> = now.chunks(width).collect();
    for result in io::in_parallel(&groups, ctx.options.jobs, |group| segments(ctx, group)) {
        found.merge(result);
    }
    for (leaf, file) in &leaves.compacted {
        compacted(ctx, *leaf, file, found);
    }
    if ctx.options.level >= Level::Events {
        events::dataset_roots(ctx, leaves, found);
    }
    foreign(ctx, leaves, unread, found);
}

/// Length and SHA-256 of a data file as it is.
type Hashed = std::io::Result<(u64, Hash)>;

fn segments(ctx: &Context<'_>, group: &[&Sealed]) -> Findings {
    let mut found = Findings::default();
    for (s, hashed) in group.iter().zip(hashed(ctx, group)) {
        found.merge(segment(ctx, s, hashed));
    }
    found
}

fn hashed(ctx: &Context<'_>, group: &[&Sealed]) -> Vec<Hashed> {
    let open = |s: &&Sealed| io::open(ctx.root, &s.segment.path);
    let opened: Vec<std::io::Result<File>> = group.iter().map(open).collect();
    match <[_; 2]>::try_from(opened) {
        Ok([Ok(a), Ok(b)]) => io::hash_files([a, b]).into(),
        Ok(one_at_most) => one_at_most.into_iter().map(hash_one).collect(),
        Err(opened) => opened.into_iter().map(hash_one).collect(),
    }
}

fn hash_one(opened: std::io::Result<File>) -> Hashed {
    opened.and_then(|file| BUFFER.with_borrow_mut(|b| io::hash_file(file, b)))
}

fn segment(ctx: &Context<'_>, s: &Sealed, hashed: Hashed) -> Findings {
    let mut found = Findings::default();
    match s.expired {
        // Shredded only: unreadable by policy, and its existence is still proven by the file.
        Some(Expired { action: ExpireAction::Shred, .. }) => expired(ctx, s, &mut found),
        Some(_) => {
            expired(ctx, s, &mut found);
            return found;
        }
        None => key(ctx, s, &mut found),
    }
    let side = side(ctx, s, &mut found);
    data(ctx, s, side.as_ref(), hashed, &mut found);
    found
}

/// Where a fault of this segment is, as far as the leaf knows.
pub(super) fn fault_of(s: &Sealed, code: FaultCode, detail: impl Into<String>) -> Fault {
    let segment = &s.segment;
    Fault::new(code, detail)
        .leaf(s.leaf)
        .seq(segment.seq[0], segment.seq[1].saturating_add(1))
        .time(segment.received[0], segment.received[1])
}

fn expired(ctx: &Context<'_>, s: &Sealed, found: &mut Findings) {
    let Some(expired) = s.expired else { return };
    let mut gone = Vec::new();
    if expired.action != ExpireAction::Shred {
        gone.push(s.segment.path.clone());
        gone.push(s.segment.side.clone());
    }
    if expired.action != ExpireAction::Delete {
        gone.extend(s.segment.dek.as_ref().map(|dek| format!("{}/{dek}.wrap", paths::KEYS)));
    }
    for path in gone {
        if std::fs::symlink_metadata(ctx.root.join(&path)).is_ok() {
            let detail = format!("leaf {} says that it is gone, and it is still there", expired.leaf);
            found.fault(fault_of(s, FaultCode::ExpiredPresent, detail).file(path));
        }
    }
}

/// The wrapped data key. Destroyed without an expire leaf, it makes the segment unreadable while its existence stays proven.
fn key(ctx: &Context<'_>, s: &Sealed, found: &mut Findings) {
    let (Some(dek), Some(expected)) = (&s.segment.dek, s.segment.wrap_sha256) else { return };
    if dek.len() != 32 || !dek.bytes().all(|b| b.is_ascii_hexdigit()) {
        found.fault(fault_of(s, FaultCode::LeafMalformed, "the data key's id is not 32 hex digits"));
        return;
    }
    let path = format!("{}/{dek}.wrap", paths::KEYS);
    let fault = |code, detail: String| fault_of(s, code, detail).file(path.clone());
    match io::read_small(ctx.root, &path, CHUNK_BYTES) {
        Ok(Some(bytes)) => {
            found.checked.files += 1;
            found.checked.file_bytes += bytes.len() as u64;
            let is = Digest::of(&bytes);
            if is != expected {
                let detail = "the wrapped data key is not the one in the leaf".to_owned();
                let fault = fault(FaultCode::KeyDamaged, detail).bytes(0, bytes.len() as u64);
                found.fault(fault.differs(expected, is));
            }
        }
        Ok(None) => {
            let detail =
                "the data key is gone without an expire leaf: unreadable, existence proven".to_owned();
            found.fault(fault(FaultCode::KeyMissing, detail));
        }
        Err(e) => found.fault(fault(FaultCode::KeyDamaged, format!("cannot read the wrapped data key: {e}"))),
    }
}

/// The side file: unchanged it is the guide to damage in the data file.
fn side(ctx: &Context<'_>, s: &Sealed, found: &mut Findings) -> Option<Side> {
    let path = &s.segment.side;
    let fault = |code, detail: String| fault_of(s, code, detail).file(path.clone());
    let bytes = match io::read_small(ctx.root, path, SIDE_BYTES_MAX) {
        Ok(Some(bytes)) => bytes,
        Ok(None) if s.compacted.is_some() => return None,
        Ok(None) => {
            found.fault(fault(FaultCode::SideMissing, "the side file is gone".into()));
            return None;
        }
        Err(e) => {
            found.fault(fault(FaultCode::SideDamaged, format!("cannot read the side file: {e}")));
            return None;
        }
    };
    found.checked.files += 1;
    found.checked.file_bytes += bytes.len() as u64;
    let is = Digest::of(&bytes);
    if is != s.segment.side_sha256 {
        let (range, detail, side) = side_damage(s, &bytes);
        found.fault(
            fault(FaultCode::SideDamaged, detail).bytes(range.0, range.1).differs(s.segment.side_sha256, is),
        );
        return side;
    }
    match Side::decode(&bytes) {
        Ok(side) if side.chunk_root() == s.segment.chunk_root.0 => Some(side),
        Ok(_) => {
            found.fault(fault(
                FaultCode::SideWrong,
                "its chunk hashes do not give the chunk root of the leaf".into(),
            ));
            None
        }
        Err(e) => {
            found.fault(fault(FaultCode::SideWrong, e.to_string()));
            None
        }
    }
}

/// Where a side file is damaged. The blobs lie at its end and their lengths follow from the leaf, so the header can be made
/// anew from them: if that gives the file of the leaf, the header is what was changed, and the two show where. Else the
/// header's hashes show which piece of which blob.
fn side_damage(s: &Sealed, bytes: &[u8]) -> ((u64, u64), String, Option<Side>) {
    if bytes.len() as u64 != s.segment.side_bytes {
        let from = (bytes.len() as u64).min(s.segment.side_bytes);
        let to = (bytes.len() as u64).clamp(from, from + CHUNK_BYTES as u64);
        return ((from, to), format!("it has {} bytes, not {}", bytes.len(), s.segment.side_bytes), None);
    }
    if let Some(right) = rebuilt(s, bytes).filter(|(_, b)| Digest::of(b) == s.segment.side_sha256) {
        return (difference(&right.1, bytes), "the header of the side file is damaged".into(), Some(right.0));
    }
    match Side::decode(bytes) {
        Err(SideFault::Piece { name, start, end }) => {
            let detail = format!("blob `{name}` of the side file is damaged");
            // The chunk hashes may still be whole: their root is in the leaf.
            let side = rebuilt(s, bytes)
                .map(|(side, _)| side)
                .filter(|s2| s2.chunk_root() == s.segment.chunk_root.0);
            (
                (start as u64, end as u64),
                detail,
                side.map(|s| Side { prefixes: Vec::new(), nodes: Vec::new(), ..s }),
            )
        }
        _ => {
            let end = bytes.len().min(CHUNK_BYTES) as u64;
            ((0, end), "the header of the side file is damaged".into(), None)
        }
    }
}

/// The side file made anew from its blobs.
fn rebuilt(s: &Sealed, bytes: &[u8]) -> Option<(Side, Vec<u8>)> {
    let rows = usize::try_from(s.segment.rows).ok()?;
    let chunks = usize::try_from(s.segment.bytes).ok()?.div_ceil(CHUNK_BYTES).checked_mul(32)?;
    let nodes = rows.div_ceil(NODE_EVENTS).checked_mul(32)?;
    let prefixes = rows.checked_mul(PREFIX_BYTES)?;
    let total = chunks.checked_add(nodes)?.checked_add(prefixes)?;
    let blobs = bytes.get(bytes.len().checked_sub(total)?..)?;
    let (chunks, rest) = blobs.split_at_checked(chunks)?;
    let (nodes, prefixes) = rest.split_at_checked(nodes)?;
    let hashes = |b: &[u8]| -> Vec<Hash> { b.as_chunks::<32>().0.to_vec() };
    let side = Side {
        chunks: hashes(chunks),
        nodes: hashes(nodes),
        prefixes: prefixes.as_chunks::<PREFIX_BYTES>().0.to_vec(),
        positions: Vec::new(),
    };
    let made = side.encode();
    Some((side, made))
}

fn data(ctx: &Context<'_>, s: &Sealed, side: Option<&Side>, hashed: Hashed, found: &mut Findings) {
    let path = &s.segment.path;
    let fault = |code, detail: String| fault_of(s, code, detail).file(path.clone());
    let (bytes, sha256) = match hashed {
        Ok(hashed) => hashed,
        Err(e) if e.kind() == ErrorKind::NotFound => {
            if s.compacted.is_none() {
                let detail = format!(
                    "{} events of dataset `{}` are gone, and no leaf expires them",
                    s.segment.rows, s.segment.dataset
                );
                found.fault(fault(FaultCode::FileMissing, detail));
            }
            return;
        }
        Err(e) => {
            found.fault(fault(FaultCode::FileDamaged, format!("cannot read: {e}")));
            return;
        }
    };
    found.checked.files += 1;
    found.checked.file_bytes += bytes;
    let intact = bytes == s.segment.bytes && sha256 == s.segment.sha256.0;
    if !intact {
        damage(ctx, s, side, (bytes, sha256), found);
    }
    // An altered file is opened at every level where its key is at hand: its rows say which events were touched.
    if !intact || ctx.options.level >= Level::Events {
        events::segment(ctx, s, side, intact, found);
    }
}

/// Locates what changed in a data file, by the chunk hashes of its side file.
fn damage(
    ctx: &Context<'_>,
    s: &Sealed,
    side: Option<&Side>,
    (bytes, sha256): (u64, Hash),
    found: &mut Findings,
) {
    let path = &s.segment.path;
    let fault = |detail: String| fault_of(s, FaultCode::FileDamaged, detail).file(path.clone());
    let Some(side) = side else {
        let detail =
            "the file is not the one in the leaf (without its side file the place is not known)".to_owned();
        found.fault(fault(detail).bytes(0, bytes).differs(s.segment.sha256, hex(&sha256)));
        return;
    };
    let is = match io::open(ctx.root, path).and_then(io::chunk_hashes) {
        Ok(is) => is,
        Err(e) => {
            found.fault(fault(format!("cannot read: {e}")));
            return;
        }
    };
    let chunks = side.chunks.len().max(is.len());
    let differ: Vec<usize> = (0..chunks).filter(|i| side.chunks.get(*i) != is.get(*i)).collect();
    if differ.len() > CHUNKS_LISTED {
        let first = differ.first().map_or(0, |i| (i * CHUNK_BYTES) as u64);
        let detail = format!("{} of {chunks} chunks differ: another file lies in its place", differ.len());
        found.fault(fault(detail).bytes(first, bytes.max(first)).differs(s.segment.sha256, hex(&sha256)));
        return;
    }
    if bytes != s.segment.bytes {
        let detail = format!("it has {bytes} bytes, not {}", s.segment.bytes);
        let (from, to) = (bytes.min(s.segment.bytes), bytes.max(s.segment.bytes));
        found.fault(fault(detail).bytes(from, to).differs(s.segment.sha256, hex(&sha256)));
    }
    let map = locate::Map::open(ctx, s);
    for chunk in differ {
        let from = (chunk * CHUNK_BYTES) as u64;
        let to = (from + CHUNK_BYTES as u64).min(bytes);
        if from >= bytes {
            continue;
        }
        let digest = |hash: Option<&Hash>| hash.map_or_else(|| "nothing".to_owned(), |h| hex(h));
        let mut fault = fault("a 64 KiB chunk does not have its hash".into()).bytes(from, to);
        fault = fault.differs(digest(side.chunks.get(chunk)), digest(is.get(chunk)));
        if let Ok(map) = &map {
            for place in map.places(from, to) {
                let mut fault = fault.clone();
                place.apply(&mut fault);
                found.fault(fault);
            }
        } else {
            found.fault(fault);
        }
    }
}

/// A file made by compaction: its bytes are checked; that its rows are the original ones is not, in this version.
fn compacted(ctx: &Context<'_>, leaf: u64, file: &crate::format::leaf::CompactFile, found: &mut Findings) {
    let fault = |code, detail: String| Fault::new(code, detail).leaf(leaf).file(file.path.clone());
    let inside = file.path.starts_with("data/") && !file.path.split('/').any(|p| p == ".." || p.is_empty());
    if !inside {
        found.fault(fault(FaultCode::LeafMalformed, "a compacted file outside data/".into()));
        return;
    }
    match hash_one(io::open(ctx.root, &file.path)) {
        Ok((bytes, sha256)) => {
            found.checked.files += 1;
            found.checked.file_bytes += bytes;
            if bytes != file.bytes || sha256 != file.sha256.0 {
                let fault = fault(FaultCode::FileDamaged, "the file is not the one in the leaf".into());
                found.fault(fault.differs(file.sha256, hex(&sha256)));
            }
        }
        Err(e) => found.fault(fault(FaultCode::FileMissing, format!("cannot read: {e}"))),
    }
    found.unchecked.push(format!(
        "leaf {leaf}: this version does not compare compacted files with their original segments"
    ));
}

/// Files in `data/`, `side/` and `quarantine/` that no leaf names.
fn foreign(ctx: &Context<'_>, leaves: &Leaves, unread: u64, found: &mut Findings) {
    let mut known: BTreeSet<&str> = BTreeSet::new();
    for s in leaves.sealed.values() {
        known.insert(&s.segment.path);
        known.insert(&s.segment.side);
    }
    known.extend(leaves.compacted.iter().map(|(_, f)| f.path.as_str()));
    let mut projected = 0u64;
    for folder in [paths::DATA, paths::SIDE] {
        let files = match io::list(ctx.root, folder) {
            Ok((files, false)) => files,
            Ok((files, true)) => {
                found.unchecked.push(format!("too many files below {folder}/ to list them all"));
                files
            }
            Err(e) => {
                found.unchecked.push(format!("{folder}/: {e}"));
                continue;
            }
        };
        for path in files {
            if known.contains(path.as_str()) {
                continue;
            }
            if path.contains("/_delta_log/") {
                projected += 1;
            } else if is_scratch(&path) {
                found.note("scratch", format!("`{path}` is an unfinished write and no evidence"));
            } else if is_unfinished_seal(ctx, leaves, &path) {
                found.note(
                    "unfinished_seal",
                    format!("`{path}` belongs to a seal that was not finished; nobody reads it"),
                );
            } else if unread > 0 {
                // An unreadable leaf may name it: nothing is concluded.
                found.unchecked.push(format!("`{path}` is named by no leaf that could be read"));
            } else {
                let detail = "no leaf names this file; queries ignore it";
                found.fault(Fault::new(FaultCode::ForeignFile, detail).file(path));
            }
        }
    }
    if projected > 0 {
        found.note(
            "projection",
            format!("{projected} files of a Delta projection are derived and no evidence"),
        );
    }
    if let Ok((files, _)) = io::list(ctx.root, paths::QUARANTINE)
        && !files.is_empty()
    {
        found.note("quarantine", format!("{} files in quarantine/ are no evidence", files.len()));
    }
}

/// Whether a data or side file belongs to a WAL that is still there and has no leaf: the writer was stopped between writing
/// the file and publishing its leaf, and will do it again.
fn is_unfinished_seal(ctx: &Context<'_>, leaves: &Leaves, path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let stem = name.strip_suffix(".parquet").or_else(|| name.strip_suffix(".side"));
    let Some((wal, part)) = stem.and_then(|s| s.split_once('-')) else { return false };
    let (Ok(wal), Ok(_)) = (wal.parse::<u64>(), part.parse::<u32>()) else { return false };
    !leaves.by_wal.contains_key(&wal) && ctx.root.join(paths::wal(wal)).is_file()
}
