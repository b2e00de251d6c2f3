//! The log as static files (https://c2sp.org/tlog-tiles): hash tiles of height 8 and entry bundles, both named by their number
//! and, while incomplete, by their width.

use super::error::MerkleError;
use super::hash::{Hash, leaf_hash};
use super::path::Nodes;
use super::tree::{Tree, root_of};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// Hashes in a full tile, entries in a full bundle.
pub const TILE_WIDTH: u64 = 256;
const TILE_HEIGHT: u32 = 8;
/// Tiles of level 7 span 2^64 leaves: there is no level above.
const LEVELS: u32 = 8;
const HASH_BYTES: usize = 32;

/// An entry's length is a u16 in its bundle.
pub const ENTRY_BYTES_MAX: usize = 65_535;
/// Largest bundle: 256 entries of the largest size with their length fields.
const BUNDLE_BYTES_MAX: usize = 256 * (ENTRY_BYTES_MAX + 2);
/// Tiles that a reader keeps: 1,024 × 8 KiB.
const CACHE_TILES: usize = 1_024;

/// A file of the log. Displayed as its path below the log's folder.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Resource {
    Entries { index: u64, width: u16 },
    Tile { level: u8, index: u64, width: u16 },
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (index, width) = match self {
            Resource::Entries { index, width } => {
                f.write_str("tile/entries/")?;
                (*index, *width)
            }
            Resource::Tile { level, index, width } => {
                write!(f, "tile/{level}/")?;
                (*index, *width)
            }
        };
        let mut groups = vec![index % 1_000];
        let mut rest = index / 1_000;
        while rest > 0 {
            groups.push(rest % 1_000);
            rest /= 1_000;
        }
        for (i, group) in groups.iter().enumerate().rev() {
            let more = if i > 0 { "x" } else { "" };
            let slash = if i > 0 { "/" } else { "" };
            write!(f, "{more}{group:03}{slash}")?;
        }
        if u64::from(width) < TILE_WIDTH { write!(f, ".p/{width}") } else { Ok(()) }
    }
}

impl Resource {
    /// The resource that lies at `path` below the log's folder; `None` for any other spelling.
    #[must_use]
    pub fn parse(path: &str) -> Option<Resource> {
        let rest = path.strip_prefix("tile/")?;
        let (level, rest) = rest.split_once('/')?;
        let (name, width) = match rest.split_once(".p/") {
            Some((name, width)) => (name, width.parse().ok().filter(|w| (1..256).contains(w))?),
            None => (rest, 256),
        };
        let index = name.split('/').try_fold(0u64, |n, group| {
            let group: u64 = group.strip_prefix('x').unwrap_or(group).parse().ok()?;
            n.checked_mul(1_000)?.checked_add(group)
        })?;
        let found = match level {
            "entries" => Resource::Entries { index, width },
            level => Resource::Tile { level: level.parse().ok()?, index, width },
        };
        // Whatever was tolerated above (`+1`, missing zeroes, wrong `x`) does not come back as the same text.
        (found.to_string() == path).then_some(found)
    }

    /// Same file with another width.
    #[must_use]
    pub fn with_width(self, width: u16) -> Resource {
        match self {
            Resource::Entries { index, .. } => Resource::Entries { index, width },
            Resource::Tile { level, index, .. } => Resource::Tile { level, index, width },
        }
    }
}

/// How many hashes tile (`level`, `index`) has in a tree of `size` leaves: 0 (no such tile) to 256.
#[must_use]
pub fn tile_width(level: u8, index: u64, size: u64) -> u16 {
    let hashes = size.checked_shr(u32::from(level) * TILE_HEIGHT).unwrap_or(0);
    let before = index.saturating_mul(TILE_WIDTH);
    u16::try_from(hashes.saturating_sub(before).min(TILE_WIDTH)).unwrap_or(0)
}

/// Splits a bundle into its entries. The second part is the number of bytes that form no entry (0 for a whole bundle).
#[must_use]
pub fn split_bundle(bytes: &[u8]) -> (Vec<&[u8]>, usize) {
    let mut entries = Vec::new();
    let mut rest = bytes;
    while let Some(([high, low], after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some((entry, after)) = after.split_at_checked(length) else { break };
        entries.push(entry);
        rest = after;
    }
    (entries, rest.len())
}

/// [`split_bundle`] for a bundle that must hold exactly `width` entries and nothing else.
///
/// # Errors
/// It does not.
pub fn bundle_entries(bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, MerkleError> {
    let (entries, rest) = split_bundle(bytes);
    if entries.len() != usize::from(width) || rest != 0 {
        let why = format!("{} entries and {rest} odd bytes instead of {width} entries", entries.len());
        return Err(MerkleError::malformed("entry bundle", why));
    }
    Ok(entries)
}

fn tile_bytes(hashes: &[Hash]) -> Vec<u8> {
    hashes.concat()
}

fn tile_hashes(bytes: &[u8], width: u16) -> Option<Vec<Hash>> {
    let width = usize::from(width);
    // A full tile serves every narrower width (the partial one may be gone).
    let hashes: Vec<Hash> =
        bytes.chunks_exact(HASH_BYTES).take(width).filter_map(|c| c.try_into().ok()).collect();
    (hashes.len() == width && bytes.len().is_multiple_of(HASH_BYTES)).then_some(hashes)
}

/// Where the files of a log are read from.
pub trait TileSource {
    /// Bytes of the file at `path` below the log's folder; `None` when it does not exist.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>>;
}

impl<F: Fn(&str) -> io::Result<Option<Vec<u8>>>> TileSource for F {
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        self(path)
    }
}

/// The growing end of a log: what is needed to add entries and to write the files that change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogState {
    tree: Tree,
    /// Hashes of the incomplete rightmost tile of each level.
    levels: Vec<Vec<Hash>>,
    /// The incomplete rightmost entry bundle.
    bundle: Vec<u8>,
}

impl LogState {
    #[must_use]
    pub fn new() -> LogState {
        LogState::default()
    }
    /// Number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.tree.size()
    }
    #[must_use]
    pub fn root(&self) -> Hash {
        self.tree.root()
    }

    /// Adds entries and gives back the files to write, in an order in which they may be written. All of them must be durable
    /// before a checkpoint over them is signed (V2).
    ///
    /// # Errors
    /// An entry is too large; nothing is added then.
    pub fn append(&mut self, entries: &[impl AsRef<[u8]>]) -> Result<Vec<(String, Vec<u8>)>, MerkleError> {
        for (index, entry) in (self.size()..).zip(entries) {
            let bytes = entry.as_ref().len();
            if bytes > ENTRY_BYTES_MAX {
                return Err(MerkleError::EntryTooLarge { index, bytes });
            }
        }
        let mut files = BTreeMap::new();
        for entry in entries {
            let entry = entry.as_ref();
            self.bundle.extend_from_slice(&u16::try_from(entry.len()).unwrap_or(u16::MAX).to_be_bytes());
            self.bundle.extend_from_slice(entry);
            self.push(leaf_hash(entry), &mut files);
        }
        if !entries.is_empty() {
            self.partial_files(&mut files);
        }
        Ok(files.into_iter().map(|(r, bytes)| (r.to_string(), bytes)).collect())
    }

    fn push(&mut self, leaf: Hash, files: &mut BTreeMap<Resource, Vec<u8>>) {
        self.tree.push(leaf);
        let mut carry = Some(leaf);
        for level in 0..LEVELS {
            let Some(hash) = carry.take() else { return };
            let slot = level as usize;
            if self.levels.len() <= slot {
                self.levels.push(Vec::with_capacity(TILE_WIDTH as usize));
            }
            let Some(tile) = self.levels.get_mut(slot) else { return };
            tile.push(hash);
            if (tile.len() as u64) < TILE_WIDTH {
                return;
            }
            let index = (self.tree.size() >> (TILE_HEIGHT * level)) / TILE_WIDTH - 1;
            let level = u8::try_from(level).unwrap_or(u8::MAX);
            files.insert(Resource::Tile { level, index, width: 256 }, tile_bytes(tile));
            if level == 0 {
                files.insert(Resource::Entries { index, width: 256 }, std::mem::take(&mut self.bundle));
            }
            carry = Some(root_of(tile));
            tile.clear();
        }
    }

    /// The incomplete files of the current size. Those of the upper levels are written again even where they did not change:
    /// they are few, and a crash between two appends can then leave no hole.
    fn partial_files(&self, files: &mut BTreeMap<Resource, Vec<u8>>) {
        let size = self.size();
        for (level, tile) in (0u8..).zip(&self.levels) {
            let Some(width) = u16::try_from(tile.len()).ok().filter(|w| *w > 0) else { continue };
            let index = (size >> (TILE_HEIGHT * u32::from(level))) / TILE_WIDTH;
            files.insert(Resource::Tile { level, index, width }, tile_bytes(tile));
            if level == 0 {
                files.insert(Resource::Entries { index, width }, self.bundle.clone());
            }
        }
    }

    /// The state of a log of `size` leaves from its files. The caller compares [`LogState::root`] with the checkpoint before
    /// he adds anything.
    ///
    /// # Errors
    /// A file is missing or malformed, or the last bundle does not hash to the last tile.
    pub fn load(source: &impl TileSource, size: u64) -> Result<LogState, MerkleError> {
        let mut state = LogState::new();
        let mut levels = Vec::new();
        for level in 0..u8::try_from(LEVELS).unwrap_or(0) {
            let hashes = size >> (TILE_HEIGHT * u32::from(level));
            if hashes == 0 {
                break;
            }
            let width = u16::try_from(hashes % TILE_WIDTH).unwrap_or(0);
            let tile = Resource::Tile { level, index: hashes / TILE_WIDTH, width };
            levels.push(if width == 0 { Vec::new() } else { read_hashes(source, tile)? });
        }
        for (level, tile) in levels.iter().enumerate().rev() {
            let level = TILE_HEIGHT.saturating_mul(u32::try_from(level).unwrap_or(u32::MAX));
            for hash in tile {
                state.tree.push_node(level, *hash);
            }
        }
        let width = u16::try_from(size % TILE_WIDTH).unwrap_or(0);
        if width > 0 {
            let resource = Resource::Entries { index: size / TILE_WIDTH, width };
            let bytes = read_some(source, resource)?;
            let (entries, _) = split_bundle(&bytes);
            let hashes: Vec<Hash> = entries.iter().take(usize::from(width)).map(|e| leaf_hash(e)).collect();
            if levels.first() != Some(&hashes) {
                return Err(MerkleError::malformed(
                    "entry bundle",
                    format!("{resource} does not hash to its tile"),
                ));
            }
            let used = entries.iter().take(usize::from(width)).map(|e| e.len() + 2).sum();
            state.bundle = bytes.get(..used).unwrap_or_default().to_vec();
        }
        state.levels = levels;
        Ok(state)
    }
}

/// The file, or, where a partial one is gone, the full one that took its place.
fn read_some(source: &impl TileSource, resource: Resource) -> Result<Vec<u8>, MerkleError> {
    let mut tried = resource.to_string();
    for candidate in [resource, resource.with_width(256)] {
        tried = candidate.to_string();
        let found =
            source.read(&tried).map_err(|e| MerkleError::malformed("log file", format!("{tried}: {e}")))?;
        if let Some(bytes) = found {
            if bytes.len() > BUNDLE_BYTES_MAX {
                return Err(MerkleError::malformed("log file", format!("{tried} is too large")));
            }
            return Ok(bytes);
        }
    }
    Err(MerkleError::malformed("log file", format!("{resource} is missing (and {tried})")))
}

fn read_hashes(source: &impl TileSource, resource: Resource) -> Result<Vec<Hash>, MerkleError> {
    let (Resource::Tile { width, .. } | Resource::Entries { width, .. }) = resource;
    let bytes = read_some(source, resource)?;
    tile_hashes(&bytes, width)
        .ok_or_else(|| MerkleError::malformed("tile", format!("{resource} does not hold {width} hashes")))
}

/// Tiles by level and number.
type Tiles = BTreeMap<(u8, u64), Arc<Vec<Hash>>>;

/// Nodes and entries of a log of a given size, read from its files on demand. Nothing is verified here: a proof made from it
/// is checked against the root by whoever uses it.
#[derive(Debug)]
pub struct TileReader<S> {
    source: S,
    size: u64,
    cache: Mutex<Tiles>,
}

impl<S: TileSource> TileReader<S> {
    #[must_use]
    pub fn new(source: S, size: u64) -> TileReader<S> {
        TileReader { source, size, cache: Mutex::default() }
    }
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    fn tile(&self, level: u8, index: u64) -> Result<Arc<Vec<Hash>>, MerkleError> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tile) = cache.get(&(level, index)) {
            return Ok(Arc::clone(tile));
        }
        let width = tile_width(level, index, self.size);
        if width == 0 {
            return Err(MerkleError::OutsideTree {
                index: index.saturating_mul(TILE_WIDTH),
                size: self.size,
            });
        }
        let tile = Arc::new(read_hashes(&self.source, Resource::Tile { level, index, width })?);
        if cache.len() >= CACHE_TILES {
            cache.clear();
        }
        cache.insert((level, index), Arc::clone(&tile));
        Ok(tile)
    }

    /// Bytes of the entry at `index`.
    ///
    /// # Errors
    /// It is outside the tree, or its bundle is missing or malformed.
    pub fn entry(&self, index: u64) -> Result<Vec<u8>, MerkleError> {
        if index >= self.size {
            return Err(MerkleError::OutsideTree { index, size: self.size });
        }
        let number = index / TILE_WIDTH;
        let resource = Resource::Entries { index: number, width: tile_width(0, number, self.size) };
        let bytes = read_some(&self.source, resource)?;
        let (entries, _) = split_bundle(&bytes);
        let within = usize::try_from(index % TILE_WIDTH).unwrap_or(usize::MAX);
        let entry = entries.get(within).map(|e| e.to_vec());
        entry.ok_or_else(|| {
            MerkleError::malformed("entry bundle", format!("{resource} ends before entry {index}"))
        })
    }
}

impl<S: TileSource> Nodes for TileReader<S> {
    fn node(&self, level: u32, index: u64) -> Option<Hash> {
        let tile_level = u8::try_from(level / TILE_HEIGHT).ok()?;
        let height = level % TILE_HEIGHT;
        // First hash, within the tiles of that level, of the node's range.
        let first = index.checked_mul(1 << height)?;
        let tile = self.tile(tile_level, first / TILE_WIDTH).ok()?;
        let start = usize::try_from(first % TILE_WIDTH).ok()?;
        tile.get(start..start + (1 << height)).map(root_of)
    }
}
