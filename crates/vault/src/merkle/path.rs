//! Inclusion and consistency proofs (RFC 6962 2.1.1-2.1.2, verification as in RFC 9162 2.1.3-2.1.4), and inclusion in a
//! subtree.
//!
//! One fact carries all of them. Write the leaf's index and the last index of the tree in binary. Up to the highest bit in
//! which they differ, the siblings are whatever lies beside the path (the *inner* part); above it the path runs along the
//! right border and only left siblings exist, one per set bit (the *border* part). So the length of a proof is known before
//! its first hash is read, and a proof of any other length is refused.

use super::error::MerkleError;
use super::hash::{EMPTY_ROOT, Hash, hex, node_hash};
use super::tree::{Tree, root_of};

/// No proof in a tree of at most 2^63 leaves is longer; the witness protocol has the same limit.
pub const PROOF_LINES_MAX: usize = 63;

/// Something that knows the roots of complete subtrees: leaves in memory, or tiles on disk.
pub trait Nodes {
    /// Root of the complete subtree over the leaves `[index << level, (index + 1) << level)`.
    fn node(&self, level: u32, index: u64) -> Option<Hash>;
}

/// Leaf hashes in memory. Computes every node from the leaves, which is linear in the range asked for.
impl Nodes for [Hash] {
    fn node(&self, level: u32, index: u64) -> Option<Hash> {
        let start = usize::try_from(index.checked_shl(level)?).ok()?;
        let end = start.checked_add(1usize.checked_shl(level)?)?;
        self.get(start..end).map(root_of)
    }
}

/// Root over the leaves `[start, end)`, put together from complete subtrees. The range must be a subtree of the tree or
/// reach to its right end, so that it is a hash that RFC 6962 defines.
///
/// # Errors
/// A node is missing, or the range is empty or no subtree.
pub fn range_hash(nodes: &(impl Nodes + ?Sized), start: u64, end: u64) -> Result<Hash, MerkleError> {
    if !is_subtree(start, end) {
        return Err(MerkleError::NoSubtree { start, end });
    }
    let mut tree = Tree::new();
    let mut at = start;
    while at < end {
        // The largest complete subtree that starts here and fits. Aligned starts only shrink it, since `is_subtree` holds.
        let level = (end - at).ilog2();
        let index = at >> level;
        let root = nodes.node(level, index).ok_or(MerkleError::MissingNode { level, index })?;
        tree.push_node(level, root);
        at += 1 << level;
    }
    Ok(tree.root())
}

/// A range is a subtree when its start is a multiple of the smallest power of two that holds it.
fn is_subtree(start: u64, end: u64) -> bool {
    let Some(size) = end.checked_sub(start).filter(|s| *s > 0) else { return false };
    match size.checked_next_power_of_two() {
        Some(power) => start.is_multiple_of(power),
        None => start == 0,
    }
}

/// Lengths of the inner and the border part of the path from `index` in a tree of `size` leaves (`index < size`).
fn parts(index: u64, size: u64) -> (u32, u32) {
    let last = size.saturating_sub(1);
    let inner = u64::BITS - (index ^ last).leading_zeros();
    let border = last.checked_shr(inner).unwrap_or(0).count_ones();
    (inner, border)
}

/// Siblings from node (`level`, `index`) up to the root of a tree of `size` leaves. The node must be complete.
fn siblings(
    nodes: &(impl Nodes + ?Sized),
    level: u32,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, MerkleError> {
    let (inner, border) = parts(index, ((size - 1) >> level) + 1);
    let mut out = Vec::with_capacity((inner + border) as usize);
    for step in 0..u64::BITS - level {
        let here = index >> step;
        if step < inner {
            let sibling = here ^ 1;
            let start = sibling << (level + step);
            let end = (sibling + 1).checked_shl(level + step).map_or(size, |e| e.min(size));
            out.push(range_hash(nodes, start, end)?);
        } else if here & 1 == 1 {
            let (level, index) = (level + step, here - 1);
            out.push(nodes.node(level, index).ok_or(MerkleError::MissingNode { level, index })?);
        }
    }
    Ok(out)
}

/// The hashes that lead from leaf `index` to the root of the tree of `size` leaves, the leaf's sibling first.
///
/// # Errors
/// The index is outside the tree, or a node is missing.
pub fn inclusion_proof(
    nodes: &(impl Nodes + ?Sized),
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, MerkleError> {
    if index >= size {
        return Err(MerkleError::OutsideTree { index, size });
    }
    siblings(nodes, 0, index, size)
}

/// [`inclusion_proof`] over leaf hashes in memory; `None` when there is no such leaf.
#[must_use]
pub fn inclusion_path(leaves: &[Hash], index: u64) -> Option<Vec<Hash>> {
    inclusion_proof(leaves, index, leaves.len() as u64).ok()
}

/// The root that `path` gives to `leaf` at `index` of a tree of `size` leaves.
///
/// # Errors
/// The index is outside the tree, or the path has a length that no tree of this size asks for.
pub fn root_from_inclusion(leaf: &Hash, index: u64, size: u64, path: &[Hash]) -> Result<Hash, MerkleError> {
    if index >= size {
        return Err(MerkleError::OutsideTree { index, size });
    }
    let (inner, border) = parts(index, size);
    check_length(path, inner + border)?;
    Ok(climb(*leaf, index, inner, path, Side::Both))
}

fn check_length(path: &[Hash], expected: u32) -> Result<(), MerkleError> {
    let expected = expected as usize;
    if path.len() == expected {
        return Ok(());
    }
    Err(MerkleError::WrongLength { found: path.len(), expected })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Both,
    /// Only siblings on the left: what the tree was when the node was its last.
    Left,
}

/// Hashes `seed` together with the siblings of `path`: `inner` of them on the side that the bits of `index` say, the rest on
/// the left.
fn climb(seed: Hash, index: u64, inner: u32, path: &[Hash], side: Side) -> Hash {
    let mut hash = seed;
    for (step, sibling) in (0u32..).zip(path) {
        if step >= inner || index >> step & 1 == 1 {
            hash = node_hash(sibling, &hash);
        } else if side == Side::Both {
            hash = node_hash(&hash, sibling);
        }
    }
    hash
}

fn same_root(found: &Hash, expected: &Hash) -> Result<(), MerkleError> {
    if found == expected {
        return Ok(());
    }
    Err(MerkleError::WrongRoot { found: hex(found), expected: hex(expected) })
}

/// Whether `leaf` stands at `index` of the tree of `size` leaves with `root`.
///
/// # Errors
/// It does not, or the proof is not one for this index and size.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    path: &[Hash],
    root: &Hash,
) -> Result<(), MerkleError> {
    same_root(&root_from_inclusion(leaf, index, size, path)?, root)
}

/// Whether `leaf` stands at `index` (of the whole tree) inside the subtree `[start, end)` with `root`.
///
/// # Errors
/// It does not, the range is no subtree, or the index is outside it.
pub fn verify_subtree_inclusion(
    leaf: &Hash,
    index: u64,
    (start, end): (u64, u64),
    path: &[Hash],
    root: &Hash,
) -> Result<(), MerkleError> {
    if !is_subtree(start, end) {
        return Err(MerkleError::NoSubtree { start, end });
    }
    let inside = index.checked_sub(start).ok_or(MerkleError::OutsideTree { index, size: end - start })?;
    verify_inclusion(leaf, inside, end - start, path, root)
}

/// The hashes that show that the tree of `new` leaves continues the tree of `old` leaves. Empty when one is empty or they are
/// the same size.
///
/// # Errors
/// `old` is larger than `new`, or a node is missing.
pub fn consistency_proof(
    nodes: &(impl Nodes + ?Sized),
    old: u64,
    new: u64,
) -> Result<Vec<Hash>, MerkleError> {
    if old > new {
        return Err(MerkleError::Shrunk { old, new });
    }
    if old == 0 || old == new {
        return Ok(Vec::new());
    }
    // The last complete subtree of the old tree is a node of both trees: prove it in the new one, and the left siblings on
    // the way are exactly the rest of the old tree.
    let level = old.trailing_zeros();
    let index = (old - 1) >> level;
    let mut out = Vec::new();
    if !old.is_power_of_two() {
        out.push(nodes.node(level, index).ok_or(MerkleError::MissingNode { level, index })?);
    }
    out.extend(siblings(nodes, level, index, new)?);
    Ok(out)
}

/// Whether the tree (`new`, `new_root`) continues the tree (`old`, `old_root`).
///
/// # Errors
/// It does not, or the proof is not one for these sizes.
pub fn verify_consistency(
    (old, old_root): (u64, &Hash),
    (new, new_root): (u64, &Hash),
    proof: &[Hash],
) -> Result<(), MerkleError> {
    if old > new {
        return Err(MerkleError::Shrunk { old, new });
    }
    if old == 0 || old == new {
        check_length(proof, 0)?;
        return same_root(if old == 0 { &EMPTY_ROOT } else { new_root }, old_root);
    }
    let level = old.trailing_zeros();
    let index = (old - 1) >> level;
    let (inner, border) = parts(index, ((new - 1) >> level) + 1);
    let (seed, path) = match proof.split_first() {
        _ if old.is_power_of_two() => (old_root, proof),
        Some((first, rest)) => (first, rest),
        None => return Err(MerkleError::WrongLength { found: 0, expected: (inner + border + 1) as usize }),
    };
    check_length(path, inner + border)?;
    same_root(&climb(*seed, index, inner, path, Side::Left), old_root)?;
    same_root(&climb(*seed, index, inner, path, Side::Both), new_root)
}
