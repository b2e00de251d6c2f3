//! Which files the log has.

use super::io::list;
use super::report::{Fault, FaultCode, Findings};
use crate::format::paths;
use crate::merkle::{Resource, TILE_WIDTH};
use std::collections::BTreeSet;
use std::path::Path;

/// The files of the log; anything else below `log/` is foreign.
pub(super) fn log_files(root: &Path, found: &mut Findings) -> BTreeSet<Resource> {
    let mut files = BTreeSet::new();
    match list(root, paths::LOG) {
        Ok((listed, cut)) => {
            if cut {
                found.unchecked.push("too many files below log/ to list them all".into());
            }
            for path in listed {
                let inside = path.strip_prefix("log/").unwrap_or(&path);
                if let Some(resource) = Resource::parse(inside) {
                    files.insert(resource);
                } else if path != paths::CHECKPOINT && !path.starts_with("log/checkpoints/") {
                    if is_scratch(&path) {
                        found.note("scratch", format!("`{path}` is an unfinished write and no evidence"));
                    } else {
                        found.fault(Fault::new(FaultCode::ForeignFile, "no part of the log").file(path));
                    }
                }
            }
        }
        Err(e) => found.unchecked.push(format!("log/: {e}")),
    }
    files
}

/// Left behind by a writer that died between writing a file and giving it its name.
pub(super) fn is_scratch(path: &str) -> bool {
    path.ends_with(".new")
}

/// Number of entries that the bundles on disk hold without a gap, by their names.
pub(super) fn size_on_disk(files: &BTreeSet<Resource>) -> u64 {
    let full =
        (0u64..).take_while(|index| files.contains(&Resource::Entries { index: *index, width: 256 })).count();
    let index = full as u64;
    let partial = files.range(Resource::Entries { index, width: 1 }..Resource::Entries { index, width: 256 });
    let width = partial.last().map_or(0, |r| match r {
        Resource::Entries { width, .. } => u64::from(*width),
        Resource::Tile { .. } => 0,
    });
    index.saturating_mul(TILE_WIDTH).saturating_add(width)
}
