//! Reading what is left of a damaged entry bundle. The hash of every whole entry is known from its tile, so small damage is
//! undone by trying: a length field that lies, one flipped bit. The rest of the vault can then still be compared with what
//! the entry said.

use super::io::CHUNK_BYTES;
use super::report::{Fault, FaultCode, Findings};
use crate::merkle::{ENTRY_BYTES_MAX, Hash, leaf_hash};
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;

/// Longest entry in which a flipped bit is looked for: trying costs the square of its length, half a second here.
const REPAIR_BYTES_MAX: usize = 8 << 10;

/// Entries of a damaged bundle that still hash to their tile, or that can be made to; each that does not is a fault with its
/// bytes.
pub(super) fn salvage<'b>(
    bytes: &'b [u8],
    tile: &[Hash],
    first: u64,
    name: &str,
    exact: bool,
    found: &mut Findings,
) -> Vec<Option<Cow<'b, [u8]>>> {
    let (mut out, mut at, mut lost) = (Vec::new(), 0usize, 0u32);
    for (leaf, hash) in (first..).zip(tile) {
        let rest = bytes.get(at..).unwrap_or_default();
        let said = rest.first_chunk::<2>().map(|b| usize::from(u16::from_be_bytes(*b)));
        let entry = said.and_then(|n| rest.get(2..n + 2));
        if let Some(entry) = entry.filter(|e| leaf_hash(e) == *hash) {
            at += entry.len() + 2;
            out.push(Some(Cow::Borrowed(entry)));
            lost = 0;
            continue;
        }
        let fault = |detail: &str| Fault::new(FaultCode::EntryDamaged, detail).leaf(leaf).file(name);
        if let Some(n) = rest.get(2..).and_then(|body| length_by_hash(body, hash)) {
            let fault = fault("the length of an entry is damaged; the entry is whole");
            found.fault(fault.bytes(at as u64, at as u64 + 2));
            out.push(rest.get(2..n + 2).map(Cow::Borrowed));
            at += n + 2;
            continue;
        }
        if let Some((byte, right)) = entry.and_then(|e| one_bit(e, hash)) {
            let here = (at + 2 + byte) as u64;
            found.fault(
                fault("one bit of an entry is flipped; its hash gives the entry back").bytes(here, here + 1),
            );
            at += right.len() + 2;
            out.push(Some(Cow::Owned(right)));
            continue;
        }
        lost += 1;
        // Two in a row: the lengths can no longer be trusted, and guessing would only name innocent bytes.
        if lost > 1 {
            break;
        }
        let end = entry.map_or(bytes.len(), |e| at + e.len() + 2).min(at + CHUNK_BYTES);
        found.fault(fault("an entry does not hash to its tile").bytes(at as u64, end.max(at) as u64));
        at = entry.map_or(bytes.len(), |e| at + e.len() + 2);
        out.push(None);
    }
    if out.len() == tile.len() && at < bytes.len() && exact {
        let detail = "bytes behind the last entry";
        let end = bytes.len().min(at + CHUNK_BYTES);
        found.fault(Fault::new(FaultCode::EntryDamaged, detail).file(name).bytes(at as u64, end as u64));
    }
    out.resize(tile.len(), None);
    out
}

/// The entry with the one bit turned back that makes it hash to `leaf`, and the byte it is in.
fn one_bit(entry: &[u8], leaf: &Hash) -> Option<(usize, Vec<u8>)> {
    if entry.len() > REPAIR_BYTES_MAX {
        return None;
    }
    let mut before = Sha256::new_with_prefix([0u8]);
    for (at, byte) in entry.iter().enumerate() {
        let after = entry.get(at + 1..)?;
        for bit in 0..8u8 {
            let right = byte ^ (1 << bit);
            if Hash::from(before.clone().chain_update([right]).chain_update(after).finalize()) == *leaf {
                let mut out = entry.to_vec();
                *out.get_mut(at)? = right;
                return Some((at, out));
            }
        }
        before.update([*byte]);
    }
    None
}

/// Length of the prefix of `body` that hashes to `leaf`.
fn length_by_hash(body: &[u8], leaf: &Hash) -> Option<usize> {
    let mut ctx = Sha256::new_with_prefix([0u8]);
    for n in 0..=body.len().min(ENTRY_BYTES_MAX) {
        if Hash::from(ctx.clone().finalize()) == *leaf {
            return Some(n);
        }
        ctx.update(body.get(n..=n).unwrap_or_default());
    }
    None
}

/// An entry as it stands in a bundle.
pub(super) fn with_length(entry: &[u8]) -> Vec<u8> {
    let mut out = u16::try_from(entry.len()).unwrap_or(u16::MAX).to_be_bytes().to_vec();
    out.extend_from_slice(entry);
    out
}
