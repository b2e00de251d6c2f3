//! WAL files that are not sealed yet, against what heartbeats said about them. Without a data key the checksums are walked
//! (they find damage, not forgery) and rows are counted; with it every event is hashed and the roots are compared.

use super::io::{self, CHUNK_BYTES};
use super::leaves::{Beaten, Leaves};
use super::report::{Fault, FaultCode, Findings};
use super::{Context, listing::is_scratch};
use crate::error::{KeyError, VaultError};
use crate::format::wal::{
    FRAME_HEAD_BYTES, FrameHead, HEADER_BYTES_MAX, Header, Kind, PIECE_BYTES, WalFault, check_frame,
};
use crate::format::{Crc32c, crc32c, paths};
use crate::merkle::hex;
use crate::read::{holds_whole_commit, scan};
use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

/// Bytes that are looked at together in search of the end of what was written.
const ZERO_PIECE: usize = 1 << 20;
/// Bytes of supposed frames that a search for the next frame checks: many times what a damaged file needs, and an end for one
/// that was made of heads.
const SEARCH_BYTES_MAX: u64 = 8 << 30;

/// What can be seen of a WAL file without its key.
#[derive(Debug)]
struct Walk {
    header: Header,
    /// One past the last seq that a whole commit covers.
    end_seq: u64,
    /// Where the last whole commit ends.
    valid: u64,
    /// The first thing wrong behind it, and the bytes that may have been changed.
    broken: Option<(WalFault, Vec<(u64, u64)>)>,
    /// A whole commit lies behind the broken place: then that is damage, not a torn tail.
    goes_on: bool,
}

pub(super) fn check(ctx: &Context<'_>, leaves: &Leaves, unread: u64, found: &mut Findings) {
    let files = match io::list(ctx.root, paths::WAL) {
        Ok((files, _)) => files,
        Err(e) => {
            found.unchecked.push(format!("wal/: {e}"));
            return;
        }
    };
    let mut present = BTreeSet::new();
    let nothing = Beaten::default();
    for path in files {
        let name = path.rsplit('/').next().unwrap_or_default();
        let number = paths::wal_number(name).filter(|n| path == paths::wal(*n));
        let Some(number) = number else {
            if is_scratch(&path) {
                found.note("scratch", format!("`{path}` is an unfinished write and no evidence"));
            } else {
                found.fault(Fault::new(FaultCode::ForeignFile, "no WAL file").file(path));
            }
            continue;
        };
        present.insert(number);
        if leaves.by_wal.contains_key(&number) {
            found
                .note("wal_sealed", format!("`{path}` is sealed; the vault deletes it when it is next open"));
            continue;
        }
        found.checked.wal_files += 1;
        let beaten = leaves.wals.get(&number).unwrap_or(&nothing);
        one(ctx, leaves, number, beaten, found);
    }
    // A missing WAL may be sealed by a leaf that could not be read.
    for (number, beaten) in leaves.wals.iter().filter(|_| unread == 0) {
        let Some(last) = beaten.last else { continue };
        if !present.contains(number) && !leaves.by_wal.contains_key(number) {
            let from = sealed_end(leaves, *number).min(last.seq);
            // A WAL that was opened and closed again without an event leaves neither segment nor file.
            if from < last.seq {
                let detail = "events that a heartbeat counted are in no segment, and their WAL is gone";
                found.fault(
                    Fault::new(FaultCode::WalMissing, detail)
                        .leaf(last.leaf)
                        .file(paths::wal(*number))
                        .seq(from, last.seq),
                );
            }
        }
    }
}

/// One past the last sealed seq before WAL `number`.
fn sealed_end(leaves: &Leaves, number: u64) -> u64 {
    let before = leaves.by_wal.range(..number).next_back().and_then(|(_, l)| leaves.sealed.get(l.first()?));
    before.map_or(0, |s| s.segment.range[1])
}

/// First seq of the WAL after `number`, sealed or not: the vault closed this one there.
fn next_first_seq(ctx: &Context<'_>, leaves: &Leaves, number: u64) -> Option<u64> {
    let sealed = leaves.by_wal.range(number.checked_add(1)?..).next();
    let sealed = sealed.and_then(|(n, l)| Some((*n, leaves.sealed.get(l.first()?)?.segment.range[0])));
    let next = number.checked_add(1)?;
    let open = io::open(ctx.root, &paths::wal(next)).ok().and_then(|file| {
        let len = file.metadata().ok()?.len();
        let start = read(&file, len, 0, usize::try_from(len).ok()?.min(HEADER_BYTES_MAX)).ok()?;
        Header::decode(&start).ok().map(|(header, _, _)| (next, header.first_seq))
    });
    open.or(sealed).map(|(_, seq)| seq)
}

fn one(ctx: &Context<'_>, leaves: &Leaves, number: u64, beaten: &Beaten, found: &mut Findings) {
    let path = paths::wal(number);
    // What must be in it: everything a heartbeat counted, and everything before the next WAL.
    let next = next_first_seq(ctx, leaves, number).unwrap_or(0);
    let seen = beaten.last.map_or(0, |b| b.seq).max(next);
    let leaf = beaten.last.map(|b| b.leaf);
    let fault = |code, detail: String| {
        let mut fault = Fault::new(code, detail).file(path.clone());
        fault.leaf = leaf;
        fault
    };
    let file = match io::open(ctx.root, &path) {
        Ok(file) => file,
        Err(e) => {
            found.unchecked.push(format!("{path}: {e}"));
            return;
        }
    };
    found.checked.file_bytes += file.metadata().map_or(0, |m| m.len());
    found.checked.files += 1;
    let walk = match walk(&file) {
        Ok(walk) => walk,
        // Nothing was ever acknowledged from a file without a header, unless a heartbeat knows better.
        Err(e) if seen > sealed_end(leaves, number) => {
            let fault = fault(FaultCode::WalDamaged, format!("the header: {e}"));
            found.fault(fault.bytes(0, 108).seq(sealed_end(leaves, number), seen));
            return;
        }
        Err(e) => {
            found.note(
                "tail_quarantined",
                format!("`{path}`: tail quarantined from byte 0 ({e}); no heartbeat covers it"),
            );
            return;
        }
    };
    header(ctx, leaves, number, &walk.header, &fault, found);
    match &walk.broken {
        Some((what, places)) if walk.end_seq < seen || walk.goes_on => {
            let until = seen.max(walk.end_seq.saturating_add(1));
            for (from, to) in places {
                let fault = fault(FaultCode::WalDamaged, what.to_string());
                found.fault(fault.bytes(*from, *to).seq(walk.end_seq, until));
            }
            return;
        }
        Some((what, places)) => {
            let from = places.first().map_or(walk.valid, |(from, _)| *from);
            let text = format!(
                "`{path}`: tail quarantined from byte {} ({what} at byte {from}): newer than the last heartbeat, so damage and a torn write look the same",
                walk.valid
            );
            found.note("tail_quarantined", text);
        }
        None if walk.end_seq < seen => {
            let fault =
                fault(FaultCode::WalDamaged, "the file ends before events that a heartbeat counted".into());
            found.fault(fault.bytes(walk.valid, walk.valid).seq(walk.end_seq, seen));
            return;
        }
        None => {}
    }
    roots(ctx, number, beaten, &fault, found);
}

fn header(
    ctx: &Context<'_>,
    leaves: &Leaves,
    number: u64,
    header: &Header,
    fault: &dyn Fn(FaultCode, String) -> Fault,
    found: &mut Findings,
) {
    let wrong =
        |what: &str| fault(FaultCode::WalMismatch, format!("the header names another {what}")).bytes(0, 108);
    if !ctx.vault.is_empty() && hex(&header.vault) != ctx.vault {
        found.fault(wrong("vault").differs(&ctx.vault, hex(&header.vault)));
    }
    if header.wal != number {
        found.fault(wrong("WAL number").differs(number, header.wal));
    }
    // The chain of last commits, where the WAL before is sealed.
    let before =
        number.checked_sub(1).and_then(|n| leaves.by_wal.get(&n)).and_then(|l| leaves.sealed.get(l.first()?));
    if let Some(s) = before.map(|s| &s.segment) {
        if header.previous != s.last_commit.0 {
            found.fault(wrong("last commit of the WAL before").differs(s.last_commit, hex(&header.previous)));
        }
        if header.first_seq > s.range[1] {
            let fault = fault(FaultCode::SeqGap, "events before this WAL are in no segment".into());
            found.fault(fault.seq(s.range[1], header.first_seq));
        } else if header.first_seq < s.range[1] {
            found.fault(wrong("first seq").differs(s.range[1], header.first_seq));
        }
    }
}

/// The roots of heartbeats against the events themselves.
fn roots(
    ctx: &Context<'_>,
    number: u64,
    beaten: &Beaten,
    fault: &dyn Fn(FaultCode, String) -> Fault,
    found: &mut Findings,
) {
    let path = paths::wal(number);
    let scanned = match scan(&ctx.root.join(&path), &ctx.keys) {
        Ok(Some(scanned)) => scanned,
        Ok(None) => return,
        Err(VaultError::Key(KeyError::NotGiven { .. })) => {
            let text = "no data key was given: WAL files were checked by their checksums and row counts, not by their roots";
            if !found.notes.contains_key("wal_roots") {
                found.note("wal_roots", text);
            }
            return;
        }
        Err(VaultError::Key(e)) => {
            found.unchecked.push(format!("{path}: {e}"));
            return;
        }
        Err(e) => {
            found.unchecked.push(format!("{path}: {e}"));
            return;
        }
    };
    let commits = scanned.tail.first_commits(scanned.tail.commits());
    for damage in &scanned.damage {
        let (from, to) = place(&damage.fault, damage.start, damage.end);
        found.fault(fault(FaultCode::WalDamaged, damage.fault.to_string()).bytes(from, to));
    }
    for beat in &beaten.beats {
        let commit = commits.partition_point(|c| c.end_seq < beat.seq);
        let root = commits.get(commit).filter(|c| c.end_seq == beat.seq).map(|c| c.root);
        let expected = beat.root.map(|d| d.0);
        if expected.is_some() && root.is_some() && root != expected && scanned.damage.is_empty() {
            let mut fault =
                fault(FaultCode::WalMismatch, "the events do not hash to the root in the heartbeat".into());
            fault.leaf = Some(beat.leaf);
            fault = fault.seq(scanned.tail.header.first_seq, beat.seq);
            found.fault(fault.differs(hex(&expected.unwrap_or_default()), hex(&root.unwrap_or_default())));
        } else if root.is_none() && beat.seq > scanned.tail.end_seq() {
            let fault = fault(FaultCode::WalDamaged, "events that a heartbeat counted do not open".into());
            let from = scanned.valid_bytes;
            let to = scanned.written_bytes.clamp(from, from + CHUNK_BYTES as u64);
            found.fault(fault.bytes(from, to).seq(scanned.tail.end_seq(), beat.seq));
        }
    }
    found.checked.events += scanned.rows;
}

/// Bytes of the file that a fault in the frame at `at` points to: at most one checksummed piece.
fn place(fault: &WalFault, at: u64, end: u64) -> (u64, u64) {
    match fault {
        WalFault::PieceCrc { start, end } => {
            let payload = at + FRAME_HEAD_BYTES as u64;
            (payload + *start as u64, payload + *end as u64)
        }
        _ => (at, end.clamp(at, at + CHUNK_BYTES as u64)),
    }
}

fn walk(file: &File) -> Result<Walk, WalFault> {
    let len = file.metadata().map_err(|_| WalFault::NoHeader)?.len();
    let start = read(file, len, 0, usize::try_from(len).unwrap_or(usize::MAX).min(HEADER_BYTES_MAX))?;
    let (header, bytes, _) = Header::decode(&start)?;
    let (mut at, mut rows, mut end_seq) = (bytes as u64, 0u64, header.first_seq);
    let mut valid = at;
    let (broken, goes_on) = loop {
        match frame(file, len, at) {
            Ok(None) => break (None, false),
            Ok(Some(head)) => {
                at += head.frame_bytes() as u64;
                match head.kind {
                    Kind::Batch => rows = rows.saturating_add(u64::from(head.rows)),
                    // The frames of one commit together cover a dense range.
                    Kind::Commit => {
                        end_seq = end_seq.saturating_add(rows);
                        rows = 0;
                        valid = at;
                    }
                }
            }
            Err((fault, head)) => {
                let places = blame(file, len, at, head.as_ref(), &fault);
                break (Some((fault, places)), commit_follows(file, len, at, head.as_ref()));
            }
        }
    };
    Ok(Walk { header, end_seq, valid, broken, goes_on })
}

/// Bytes that may have been changed, where the frame at `at` has a fault. A checksum that does not fit says that its bytes,
/// or itself, or the length that led to it was changed; in a frame of several pieces the other checksums tell which. (In a
/// frame of one they cannot: its checksum lies right behind the piece, and a CRC over both is blind to a change of both.)
fn blame(file: &File, len: u64, at: u64, head: Option<&FrameHead>, fault: &WalFault) -> Vec<(u64, u64)> {
    let chunk = CHUNK_BYTES as u64;
    let frame = head.and_then(|h| Some((h, read(file, len, at, h.frame_bytes()).ok()?)));
    let Some((head, bytes)) = frame else { return vec![(at, len.clamp(at, at + chunk))] };
    let (payload, end) = (at + FRAME_HEAD_BYTES as u64, at + bytes.len() as u64);
    if head.length as usize <= PIECE_BYTES {
        let parts = (at..end).step_by(CHUNK_BYTES);
        return parts.map(|from| (from, end.min(from + chunk))).collect();
    }
    let WalFault::PieceCrc { start, end: piece_end } = fault else {
        // All pieces fit: the head, or the last checksum.
        return vec![(at, payload), (end - 4, end)];
    };
    let piece = start / PIECE_BYTES;
    if let Some(field) = damaged_checksum(head, &bytes, piece) {
        return vec![(at + field as u64, at + field as u64 + 4)];
    }
    let place = (payload + *start as u64, payload + *piece_end as u64);
    // With a wrong length no checksum lies where it is looked for; one that fits clears the length.
    let is_length_right = piece > 0 || checksum(head, &bytes, 1).is_some_and(|(_, fits)| fits);
    if is_length_right { vec![place] } else { vec![(at, payload), place] }
}

/// Where the checksum of a piece lies in its frame, and whether it fits.
fn checksum(head: &FrameHead, frame: &[u8], piece: usize) -> Option<(usize, bool)> {
    let length = head.length as usize;
    let from = FRAME_HEAD_BYTES + piece * PIECE_BYTES;
    let bytes = frame.get(from..(from + PIECE_BYTES).min(FRAME_HEAD_BYTES + length))?;
    let field = FRAME_HEAD_BYTES + length + 4 * piece;
    Some((field, frame.get(field..field + 4)? == crc32c(bytes).to_le_bytes().as_slice()))
}

/// The checksum field of `piece`, if the frame is right with another value in it: then the field is what was changed.
fn damaged_checksum(head: &FrameHead, frame: &[u8], piece: usize) -> Option<usize> {
    let (field, _) = checksum(head, frame, piece)?;
    let from = FRAME_HEAD_BYTES + piece * PIECE_BYTES;
    let bytes = frame.get(from..(from + PIECE_BYTES).min(FRAME_HEAD_BYTES + head.length as usize))?;
    let (body, last) = frame.split_last_chunk::<4>()?;
    let mut crc = Crc32c::default();
    crc.update(body.get(..field)?);
    crc.update(&crc32c(bytes).to_le_bytes());
    crc.update(body.get(field + 4..)?);
    (crc.finish() == u32::from_le_bytes(*last)).then_some(field)
}

/// Whether a whole commit lies behind the broken frame at `at` (see [`holds_whole_commit`]). First where that frame says it ends,
/// if it says so; then wherever a frame with right checksums is found, behind further broken ones as well.
fn commit_follows(file: &File, len: u64, at: u64, head: Option<&FrameHead>) -> bool {
    let mut from = head.map_or(at, |h| at.saturating_add(h.frame_bytes() as u64));
    if from > len || frame(file, len, from).is_err() {
        from = at;
    }
    loop {
        let mut here = from;
        let next = || {
            let head = frame(file, len, here).ok().flatten()?;
            here += head.frame_bytes() as u64;
            Some(head)
        };
        if holds_whole_commit(next) {
            return true;
        }
        // Where reading broke off, at the end as well.
        match next_frame(file, len, here.max(at).saturating_add(1)) {
            Some(found) => from = found,
            None => return false,
        }
    }
}

/// The first place at or behind `from` where a frame with right checksums lies.
fn next_frame(file: &File, len: u64, mut from: u64) -> Option<u64> {
    let mut looked_at = 0u64;
    while from < len && looked_at < SEARCH_BYTES_MAX {
        let n = usize::try_from(len - from).unwrap_or(usize::MAX).min(ZERO_PIECE);
        let piece = read(file, len, from, n).ok()?;
        let heads = piece.windows(FRAME_HEAD_BYTES).enumerate().filter_map(|(i, w)| {
            let head = FrameHead::decode(w.first_chunk()?).ok().flatten()?;
            Some((from + i as u64, head))
        });
        for (at, head) in heads {
            if at.saturating_add(head.frame_bytes() as u64) > len {
                continue;
            }
            looked_at = looked_at.saturating_add(head.frame_bytes() as u64);
            if looked_at >= SEARCH_BYTES_MAX {
                return None;
            }
            let bytes = read(file, len, at, head.frame_bytes());
            if bytes.is_ok_and(|b| check_frame(&head, &b).is_ok()) {
                return Some(at);
            }
        }
        if n < FRAME_HEAD_BYTES {
            return None;
        }
        from += (n - FRAME_HEAD_BYTES + 1) as u64;
    }
    None
}

fn read(file: &File, len: u64, at: u64, n: usize) -> Result<Vec<u8>, WalFault> {
    // Checked before the buffer is made: a length field cannot ask for more memory than the file has bytes.
    if at.saturating_add(n as u64) > len {
        return Err(WalFault::Short);
    }
    let mut out = vec![0; n];
    file.read_exact_at(&mut out, at).map_err(|_| WalFault::Short)?;
    Ok(out)
}

/// The frame at `at` with right checksums; `Ok(None)` where only zeroes follow. With a fault the frame's head, where it says
/// something plausible.
fn frame(file: &File, len: u64, at: u64) -> Result<Option<FrameHead>, (WalFault, Option<FrameHead>)> {
    let plain = |fault| (fault, None);
    let left = usize::try_from(len.saturating_sub(at)).unwrap_or(usize::MAX);
    if left < FRAME_HEAD_BYTES {
        let rest = read(file, len, at, left).map_err(plain)?;
        return if rest.iter().all(|b| *b == 0) { Ok(None) } else { Err(plain(WalFault::Short)) };
    }
    let head = read(file, len, at, FRAME_HEAD_BYTES).map_err(plain)?;
    let head = head.first_chunk().ok_or(plain(WalFault::Short))?;
    let Some(head) = FrameHead::decode(head).map_err(plain)? else {
        return if only_zeroes(file, len, at).map_err(plain)? {
            Ok(None)
        } else {
            Err(plain(WalFault::BadFrame))
        };
    };
    let with_head = |fault| (fault, Some(head));
    let bytes = read(file, len, at, head.frame_bytes()).map_err(plain)?;
    check_frame(&head, &bytes).map_err(with_head)?;
    Ok(Some(head))
}

fn only_zeroes(file: &File, len: u64, mut at: u64) -> Result<bool, WalFault> {
    while at < len {
        let n = usize::try_from(len - at).unwrap_or(usize::MAX).min(ZERO_PIECE);
        if read(file, len, at, n)?.iter().any(|b| *b != 0) {
            return Ok(false);
        }
        at += n as u64;
    }
    Ok(true)
}
