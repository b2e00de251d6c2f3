//! Entries ↔ tiles ↔ root, in one pass over the entry bundles.
//!
//! The same hash stands in up to three places: an entry can be hashed, its hash lies in a level-0 tile, and the hash over 256
//! of them in a level-1 tile (over the last, incomplete 256: in the checkpoint). Where two disagree the third says which one
//! was changed, so that a fault names the file that is damaged and not the one that shows it.

use super::checkpoints::{Claim, Claimant, Claims};
use super::io::{CHUNK_BYTES, read_small};
use super::listing::{log_files, size_on_disk};
use super::report::{Fault, FaultCode, Findings};
use super::salvage::{salvage, with_length};
use crate::format::paths;
use crate::merkle::{
    ENTRY_BYTES_MAX, Hash, Resource, TILE_WIDTH, Tree, hex, leaf_hash, root_of, split_bundle, tile_width,
};
use std::collections::BTreeSet;
use std::path::Path;

/// Largest entry bundle.
const BUNDLE_BYTES_MAX: usize = 256 * (ENTRY_BYTES_MAX + 2);
const TILE_BYTES: usize = 256 * 32;
const TILE_HEIGHT: u32 = 8;

/// What the log turned out to be.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub size: u64,
    pub root: Hash,
    /// Entries that could not be read, so that nothing is concluded from their absence.
    pub unread: u64,
    /// Claims that hold, in order of size.
    pub held: Vec<Claim>,
    /// Files of the log beyond its checkpoint.
    pub unpublished: u64,
}

struct Pass<'a> {
    root: &'a Path,
    size: u64,
    /// Root that the tree must end in, where a checkpoint says so.
    target: Option<Hash>,
    files: BTreeSet<Resource>,
    tree: Tree,
    /// Hashes of full tiles, by level, from level 1 up; `None` where nothing is known.
    upper: Vec<Vec<Hash>>,
    claims: std::iter::Peekable<std::vec::IntoIter<Claim>>,
    log: Log,
    found: &'a mut Findings,
}

/// Checks the log under `root` and hands every entry, with its index, to `on_leaf` in order.
pub(super) fn check(
    root: &Path,
    claims: Claims,
    found: &mut Findings,
    on_leaf: &mut dyn FnMut(u64, &[u8], &mut Findings),
) -> Log {
    let files = log_files(root, found);
    check_listed(root, files, claims, found, on_leaf)
}

fn check_listed(
    root: &Path,
    files: BTreeSet<Resource>,
    claims: Claims,
    found: &mut Findings,
    on_leaf: &mut dyn FnMut(u64, &[u8], &mut Findings),
) -> Log {
    // Without a checkpoint of its own the log is still looked at, so that the rest can be located.
    let size = claims.current.as_ref().map_or_else(|| size_on_disk(&files), |c| c.size);
    let mut pass = Pass {
        root,
        size,
        target: claims.current.as_ref().map(|c| c.root),
        files,
        tree: Tree::new(),
        upper: Vec::new(),
        claims: claims.all.into_iter().peekable(),
        log: Log { size, ..Log::default() },
        found,
    };
    pass.meet_claims();
    let bundles = size.div_ceil(TILE_WIDTH);
    for index in 0..bundles {
        if !pass.bundle(index, on_leaf) {
            break;
        }
    }
    pass.upper_tiles();
    pass.finish()
}

impl Pass<'_> {
    /// The file of `resource`, or the full one that took its place. A daemon that goes on while the log is checked removes partial
    /// files once it has written the full one: a listed file that is gone by now is taken off the list, and the full one onto it.
    fn read(&mut self, resource: Resource, max: usize) -> Option<Vec<u8>> {
        let full = resource.with_width(256);
        if self.files.contains(&resource) {
            if let Some(bytes) = self.read_one(resource, max) {
                return Some(bytes);
            }
            let exists = |file| self.root.join(file_name(file)).exists();
            if resource != full && !exists(resource) && exists(full) {
                self.files.remove(&resource);
                self.files.insert(full);
            }
        }
        if resource != full && self.files.contains(&full) && !self.files.contains(&resource) {
            return self.read_one(full, max);
        }
        None
    }

    /// Exactly that file; `None` where there is none, or, after a fault, where it cannot be read.
    fn read_one(&mut self, resource: Resource, max: usize) -> Option<Vec<u8>> {
        match read_small(self.root, &file_name(resource), max) {
            Ok(bytes) => bytes,
            Err(e) => {
                let code = match resource {
                    Resource::Entries { .. } => FaultCode::EntryDamaged,
                    Resource::Tile { .. } => FaultCode::TileDamaged,
                };
                self.found.fault(Fault::new(code, format!("cannot read: {e}")).file(file_name(resource)));
                None
            }
        }
    }

    /// Name of the file that [`Pass::read`] reads for `resource`.
    fn name(&self, resource: Resource) -> String {
        let full = resource.with_width(256);
        file_name(if self.files.contains(&resource) || !self.files.contains(&full) { resource } else { full })
    }

    /// One bundle. False when nothing is known about it, so that the tree cannot be continued.
    fn bundle(&mut self, index: u64, on_leaf: &mut dyn FnMut(u64, &[u8], &mut Findings)) -> bool {
        let width = tile_width(0, index, self.size);
        let (entries_at, tile_at) =
            (Resource::Entries { index, width }, Resource::Tile { level: 0, index, width });
        let bytes = self.read(entries_at, BUNDLE_BYTES_MAX);
        let tile_bytes = self.read(tile_at, TILE_BYTES);
        let tile = tile_bytes.as_deref().and_then(|b| hashes(b, width));
        let is_partial_file = self.files.contains(&entries_at);

        let whole = bytes.as_deref().and_then(|b| whole_bundle(b, width, is_partial_file));
        let by_entries: Option<Vec<Hash>> = whole.as_ref().map(|e| e.iter().map(|e| leaf_hash(e)).collect());
        let first = index * TILE_WIDTH;

        if let (Some(entries), Some(own)) = (&whole, &by_entries) {
            if tile.as_ref() == Some(own) {
                let own = own.clone();
                self.older_files(index, width, bytes.as_deref().unwrap_or_default(), &own);
                self.accept(&own, first, Some(entries), on_leaf);
                return true;
            }
            if tile.is_none() || self.fits(index, own) {
                let own = own.clone();
                self.tile_fault(tile_at, tile_bytes.as_deref(), &own);
                self.older_files(index, width, bytes.as_deref().unwrap_or_default(), &own);
                self.accept(&own, first, Some(entries), on_leaf);
                return true;
            }
        }
        let Some(tile) = tile else {
            self.found.fault(
                Fault::new(
                    FaultCode::EntriesMissing,
                    format!("entries [{first}, {}) are gone", first + u64::from(width)),
                )
                .leaf(first)
                .file(self.name(entries_at)),
            );
            return self.skip(index, width, first);
        };
        let name = self.name(entries_at);
        let Some(bytes) = bytes else {
            let detail = format!(
                "entries [{first}, {}) are gone; their hashes are in `{}`",
                first + u64::from(width),
                self.name(tile_at)
            );
            self.found.fault(Fault::new(FaultCode::EntriesMissing, detail).leaf(first).file(name));
            self.log.unread += u64::from(width);
            self.accept(&tile, first, None, on_leaf);
            return true;
        };
        // The entries are wrong, or both are: then the tile's word counts, since it decides nothing but the hashes.
        let entries = salvage(&bytes, &tile, first, &name, is_partial_file, self.found);
        self.log.unread += entries.iter().filter(|e| e.is_none()).count() as u64;
        for (at, (hash, entry)) in (first..).zip(tile.iter().zip(&entries)) {
            self.push(*hash);
            if let Some(entry) = entry {
                on_leaf(at, entry, self.found);
            }
        }
        self.close_tile(&tile);
        if entries.iter().all(Option::is_some) {
            // What partial files of this bundle must hold is known again.
            let whole: Vec<u8> = entries.iter().flatten().flat_map(|e| with_length(e)).collect();
            self.older_files(index, width, &whole, &tile);
        }
        true
    }

    /// Whether these hashes are what the level above (or the checkpoint) says about tile `index`.
    fn fits(&mut self, index: u64, hashes: &[Hash]) -> bool {
        if hashes.len() as u64 == TILE_WIDTH {
            return self.parent(index) == Some(root_of(hashes));
        }
        let mut tree = self.tree.clone();
        tree.extend(hashes.iter().copied());
        self.target == Some(tree.root())
    }

    /// Hash of the full level-0 tile `index` by the level-1 tile.
    fn parent(&mut self, index: u64) -> Option<Hash> {
        let number = index / TILE_WIDTH;
        let width = tile_width(1, number, self.size);
        let bytes = self.read(Resource::Tile { level: 1, index: number, width }, TILE_BYTES)?;
        let at = usize::try_from(index % TILE_WIDTH).ok()?;
        hashes(&bytes, width)?.get(at).copied()
    }

    fn tile_fault(&mut self, at: Resource, bytes: Option<&[u8]>, expected: &[Hash]) {
        let name = self.name(at);
        let fault = match bytes {
            None => Fault::new(FaultCode::TileMissing, "a tile is gone").file(name),
            Some(bytes) => {
                let (from, to) = difference(&expected.concat(), bytes);
                Fault::new(FaultCode::TileDamaged, "a tile does not hold the hashes of its entries")
                    .file(name)
                    .bytes(from, to)
            }
        };
        self.found.fault(fault);
    }

    fn accept(
        &mut self,
        hashes: &[Hash],
        first: u64,
        entries: Option<&[&[u8]]>,
        on_leaf: &mut dyn FnMut(u64, &[u8], &mut Findings),
    ) {
        for (i, hash) in hashes.iter().enumerate() {
            self.push(*hash);
            if let Some(entry) = entries.and_then(|e| e.get(i)) {
                on_leaf(first + i as u64, entry, self.found);
            }
        }
        self.close_tile(hashes);
    }

    fn push(&mut self, hash: Hash) {
        self.tree.push(hash);
        self.meet_claims();
    }

    /// Remembers the hash of a full tile for the levels above.
    fn close_tile(&mut self, hashes: &[Hash]) {
        if hashes.len() as u64 == TILE_WIDTH {
            self.carry(root_of(hashes));
        }
    }

    fn carry(&mut self, hash: Hash) {
        let mut carry = Some(hash);
        let mut level = 0;
        while let Some(hash) = carry.take() {
            if self.upper.len() <= level {
                self.upper.push(Vec::new());
            }
            let Some(hashes) = self.upper.get_mut(level) else { return };
            hashes.push(hash);
            if (hashes.len() as u64).is_multiple_of(TILE_WIDTH) {
                let start = hashes.len() - TILE_WIDTH as usize;
                carry = hashes.get(start..).map(root_of);
            }
            level += 1;
        }
    }

    /// Continues the tree over a bundle of which neither entries nor hashes are left.
    fn skip(&mut self, index: u64, width: u16, first: u64) -> bool {
        self.log.unread += u64::from(width);
        let parent = if u64::from(width) == TILE_WIDTH { self.parent(index) } else { None };
        if let Some(hash) = parent {
            self.tree.push_node(TILE_HEIGHT, hash);
            self.meet_claims();
            self.carry(hash);
            return true;
        }
        self.log.unread += self.size.saturating_sub(first + u64::from(width));
        self.found
            .unchecked
            .push(format!("leaves [{first}, {}): neither entries nor hashes are left", self.size));
        false
    }

    /// Compares every claim about the present size.
    fn meet_claims(&mut self) {
        let size = self.tree.size();
        while let Some(claim) = self.claims.next_if(|c| c.size <= size) {
            if claim.size < size {
                // Inside a skipped bundle: the root at that size is not known.
                self.found.unchecked.push(format!("{}: the entries around its size are gone", claim.by));
                continue;
            }
            let root = self.tree.root();
            if root == claim.root {
                self.log.held.push(claim);
                continue;
            }
            let fault = match &claim.by {
                Claimant::Log => {
                    Fault::new(FaultCode::RootMismatch, "the entries do not hash to the root in the checkpoint")
                        .file(paths::CHECKPOINT)
                }
                Claimant::Kept(path) => Fault::new(
                    FaultCode::Inconsistent,
                    format!("the log does not continue a checkpoint that it signed at size {size}: history was rewritten"),
                )
                .file(path.clone()),
                Claimant::Known(name) => Fault::new(
                    FaultCode::Inconsistent,
                    format!("the log does not continue the known checkpoint `{name}` of size {size}: history was rewritten"),
                ),
            };
            self.found.fault(fault.differs(hex(&claim.root), hex(&root)));
        }
    }

    /// Partial files of bundle `index` that are no longer needed and still there.
    fn older_files(&mut self, index: u64, width: u16, bundle: &[u8], own: &[Hash]) {
        let older = |level: Option<u8>| {
            let make = |width| match level {
                None => Resource::Entries { index, width },
                Some(level) => Resource::Tile { level, index, width },
            };
            (make(1), make(255))
        };
        let (from, to) = older(None);
        let list: Vec<Resource> = self.files.range(from..=to).copied().collect();
        for file in list {
            let Resource::Entries { width: w, .. } = file else { continue };
            if w >= width {
                continue;
            }
            let (entries, _) = split_bundle(bundle);
            let used: usize = entries.iter().take(usize::from(w)).map(|e| e.len() + 2).sum();
            self.compare(
                file,
                bundle.get(..used).unwrap_or_default(),
                FaultCode::EntryDamaged,
                BUNDLE_BYTES_MAX,
            );
        }
        let (from, to) = older(Some(0));
        let list: Vec<Resource> = self.files.range(from..=to).copied().collect();
        for file in list {
            let Resource::Tile { width: w, .. } = file else { continue };
            if w < width {
                let expected = own.get(..usize::from(w)).unwrap_or_default().concat();
                self.compare(file, &expected, FaultCode::TileDamaged, TILE_BYTES);
            }
        }
    }

    fn compare(&mut self, file: Resource, expected: &[u8], code: FaultCode, max: usize) {
        // Not the full one in its place: partial files may go while the log is checked.
        let Some(bytes) = self.read_one(file, max) else { return };
        if bytes != expected {
            let (from, to) = difference(expected, &bytes);
            self.found.fault(
                Fault::new(code, "a file of the log differs from what its entries give")
                    .file(file_name(file))
                    .bytes(from, to),
            );
        }
    }

    /// Tiles of level 1 and above against the hashes made from below; and that all of them are there.
    fn upper_tiles(&mut self) {
        let upper = std::mem::take(&mut self.upper);
        for (level, known) in (1u8..).zip(&upper) {
            for (index, part) in (0u64..).zip(known.chunks(TILE_WIDTH as usize)) {
                let width = u16::try_from(part.len()).unwrap_or(0);
                let at = Resource::Tile { level, index, width };
                if !self.files.contains(&at) && !self.files.contains(&at.with_width(256)) {
                    self.found
                        .fault(Fault::new(FaultCode::TileMissing, "a tile is gone").file(file_name(at)));
                }
                let (from, to) = (at.with_width(1), at.with_width(256));
                let present: Vec<Resource> = self.files.range(from..=to).copied().collect();
                for file in present {
                    let Resource::Tile { width: w, .. } = file else { continue };
                    // Wider than what the checkpoint covers: not published, and counted in `finish`.
                    if let Some(expected) = part.get(..usize::from(w)) {
                        self.compare(file, &expected.concat(), FaultCode::TileDamaged, TILE_BYTES);
                    }
                }
            }
        }
    }

    fn finish(mut self) -> Log {
        let size = self.size;
        self.log.root = self.tree.root();
        self.log.unpublished = self
            .files
            .iter()
            .filter(|r| {
                let (level, index, width) = match **r {
                    Resource::Entries { index, width } => (0, index, width),
                    Resource::Tile { level, index, width } => (level, index, width),
                };
                width > tile_width(level, index, size)
            })
            .count() as u64;
        for claim in self.claims {
            let detail = format!(
                "{} is of size {}, the log ends at {}: its end was cut off, or an older copy was put back",
                claim.by,
                claim.size,
                self.tree.size()
            );
            let fault = Fault::new(FaultCode::Truncated, detail).differs(claim.size, self.tree.size());
            match claim.by {
                // The entries that are missing are reported already.
                Claimant::Log => {}
                Claimant::Kept(path) => self.found.fault(fault.file(path)),
                Claimant::Known(_) => self.found.fault(fault),
            }
        }
        self.log
    }
}

fn file_name(resource: Resource) -> String {
    format!("{}/{resource}", paths::LOG)
}

/// The first `width` hashes of a tile file.
fn hashes(bytes: &[u8], width: u16) -> Option<Vec<Hash>> {
    let (all, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() {
        return None;
    }
    all.get(..usize::from(width)).map(<[Hash]>::to_vec)
}

/// The entries of a bundle that has the right form: exactly `width` of them in a file of that width, at least as many in the
/// full file that took its place.
fn whole_bundle(bytes: &[u8], width: u16, exact: bool) -> Option<Vec<&[u8]>> {
    let (mut entries, rest) = split_bundle(bytes);
    if rest != 0 || (exact && entries.len() != usize::from(width)) || entries.len() < usize::from(width) {
        return None;
    }
    entries.truncate(usize::from(width));
    Some(entries)
}

/// First and last differing byte, as a range of at most one chunk from the first.
pub(super) fn difference(expected: &[u8], found: &[u8]) -> (u64, u64) {
    let from = expected.iter().zip(found).take_while(|(a, b)| a == b).count();
    let to = if expected.len() == found.len() {
        let same = expected.iter().rev().zip(found.iter().rev()).take_while(|(a, b)| a == b).count();
        found.len().saturating_sub(same)
    } else {
        found.len()
    };
    (from as u64, to.clamp(from, from + CHUNK_BYTES) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::{Checkpoint, LogState};

    /// A log that grew leaf by leaf to `grown` leaves while it was checked at size `checked`: its files were listed at size
    /// `listed`, and each partial file was removed when the full one came.
    #[track_caller]
    fn check_while_it_grows(checked: u64, listed: u64, grown: u64) {
        let root = std::env::temp_dir()
            .join(format!("avouch-grows-{}-{checked}-{listed}-{grown}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        let (mut tree, mut claims, mut listing) = (LogState::new(), Claims::default(), BTreeSet::new());
        for n in 0..grown {
            for (path, bytes) in tree.append(&[format!("entry {n}")]).unwrap() {
                let path = root.join(paths::LOG).join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(&path, bytes).unwrap();
                let _ = std::fs::remove_dir_all(format!("{}.p", path.display()));
            }
            if tree.size() == checked {
                let checkpoint = Checkpoint { origin: "log".into(), size: tree.size(), root: tree.root() };
                let by = Claimant::Log;
                claims.all.push(Claim { size: checkpoint.size, root: checkpoint.root, by });
                claims.current = Some(checkpoint);
            }
            if tree.size() == listed {
                listing = log_files(&root, &mut Findings::default());
            }
        }
        let mut found = Findings::default();
        let mut leaves = 0;
        let log = check_listed(&root, listing, claims, &mut found, &mut |_, _, _| leaves += 1);
        assert!(found.faults.is_empty(), "{checked} of {listed} of {grown}: {:?}", found.faults);
        assert_eq!((log.held.len(), leaves), (1, checked), "{checked} of {listed} of {grown}");
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_log_that_grows_while_it_is_checked_is_whole() {
        // Partial files were listed and are gone: those of the checked size, and older ones.
        check_while_it_grows(100, 100, 300);
        check_while_it_grows(300, 400, 512);
        check_while_it_grows(255, 255, 256);
        check_while_it_grows(256, 300, 600);
    }

    #[test]
    fn a_partial_file_listed_beside_the_full_one_may_go() {
        let root = std::env::temp_dir().join(format!("avouch-beside-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        let (mut tree, mut claims) = (LogState::new(), Claims::default());
        let mut listing = BTreeSet::new();
        for n in 0..256 {
            for (path, bytes) in tree.append(&[format!("entry {n}")]).unwrap() {
                listing.insert(Resource::parse(&path).unwrap());
                let path = root.join(paths::LOG).join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(&path, bytes).unwrap();
            }
        }
        for level in ["entries", "0"] {
            std::fs::remove_dir_all(root.join(paths::LOG).join(format!("tile/{level}/000.p"))).unwrap();
        }
        let checkpoint = Checkpoint { origin: "log".into(), size: tree.size(), root: tree.root() };
        claims.all.push(Claim { size: checkpoint.size, root: checkpoint.root, by: Claimant::Log });
        claims.current = Some(checkpoint);
        let mut found = Findings::default();
        check_listed(&root, listing, claims, &mut found, &mut |_, _, _| {});
        assert!(found.faults.is_empty(), "{:?}", found.faults);
        std::fs::remove_dir_all(root).unwrap();
    }
}
