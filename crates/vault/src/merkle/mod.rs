//! The Merkle half of the vault: hashes, trees and proofs of RFC 6962, and the C2SP text formats that carry them
//! (signed note, checkpoint, tiles, tlog-proof).
//!
//! Everything here is a function over bytes: no files, no clock, no randomness. Readers of outside bytes are strict: a byte
//! that the format does not need is an error, because two readers that disagree about a lenient parse disagree about what
//! was signed.

mod checkpoint;
mod error;
mod hash;
mod note;
mod path;
mod tiles;
mod tlog_proof;
mod tree;

pub use checkpoint::{Checkpoint, SignedCheckpoint};
pub use error::MerkleError;
pub(crate) use hash::LEAF;
pub use hash::{EMPTY_ROOT, Hash, hex, leaf_hash, node_hash, parse_hex};
pub use note::{KeyId, NOTE_BYTES_MAX, Note, SignatureLine, Signer, Vkey};
pub use path::{
    Nodes, PROOF_LINES_MAX, consistency_proof, inclusion_path, inclusion_proof, range_hash,
    root_from_inclusion, verify_consistency, verify_inclusion, verify_subtree_inclusion,
};
pub use tiles::{
    ENTRY_BYTES_MAX, LogState, Resource, TILE_WIDTH, TileReader, TileSource, bundle_entries, split_bundle,
    tile_width,
};
pub use tlog_proof::{TLOG_PROOF_HEADER, TlogProof};
pub use tree::{Tree, root_of};

#[cfg(test)]
mod tests;
