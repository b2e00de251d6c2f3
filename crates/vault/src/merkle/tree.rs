use super::hash::{EMPTY_ROOT, Hash, node_hash, nodes_above};

/// An RFC 6962 tree that grows at its right end and remembers only the roots of its complete subtrees: one hash per set bit
/// of the size, largest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    roots: Vec<Hash>,
}

impl Tree {
    #[must_use]
    pub fn new() -> Tree {
        Tree::default()
    }

    /// A tree of `size` leaves from the roots of its complete subtrees; `None` unless there is one per set bit.
    #[must_use]
    pub fn from_roots(size: u64, roots: Vec<Hash>) -> Option<Tree> {
        (size.count_ones() as usize == roots.len()).then_some(Tree { size, roots })
    }

    /// Number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Roots of the complete subtrees, largest first.
    #[must_use]
    pub fn roots(&self) -> &[Hash] {
        &self.roots
    }

    /// Adds a leaf by its hash.
    pub fn push(&mut self, leaf: Hash) {
        self.push_node(0, leaf);
    }

    /// Adds leaves by their hashes: as pushing them one by one, level by level, since the nodes of a level do not wait for each other.
    pub fn extend_from(&mut self, leaves: &[Hash]) {
        let Some(size) = self.size.checked_add(leaves.len() as u64) else { return };
        let mut left_over = Vec::new();
        let mut nodes = Vec::from(leaves);
        let mut before = self.size;
        while !nodes.is_empty() {
            // An odd number of nodes at this level: the last one waits for its right sibling among the roots.
            if before % 2 == 1
                && let Some(left) = self.roots.pop()
            {
                nodes.insert(0, left);
            }
            before /= 2;
            let above = nodes_above(&nodes);
            left_over.extend(if nodes.len() % 2 == 1 { nodes.pop() } else { None });
            nodes = above;
        }
        self.roots.extend(left_over.into_iter().rev());
        self.size = size;
    }

    /// Adds a complete subtree of 2^level leaves. Returns false, and changes nothing, when the size is not a multiple of
    /// that (the subtree would not be a node of the tree).
    pub fn push_node(&mut self, level: u32, root: Hash) -> bool {
        let Some(leaves) = 1u64.checked_shl(level) else { return false };
        let Some(size) = self.size.checked_add(leaves) else { return false };
        if !self.size.is_multiple_of(leaves) {
            return false;
        }
        let mut hash = root;
        // Every trailing one of the node count is a finished left sibling.
        for _ in 0..(self.size >> level).trailing_ones() {
            let Some(left) = self.roots.pop() else { return false };
            hash = node_hash(&left, &hash);
        }
        self.roots.push(hash);
        self.size = size;
        true
    }

    /// Root over all leaves so far.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut rest = self.roots.iter().rev();
        let Some(first) = rest.next() else { return EMPTY_ROOT };
        rest.fold(*first, |right, left| node_hash(left, &right))
    }
}

impl Extend<Hash> for Tree {
    fn extend<I: IntoIterator<Item = Hash>>(&mut self, leaves: I) {
        self.extend_from(&leaves.into_iter().collect::<Vec<Hash>>());
    }
}

/// Root over `leaves`.
#[must_use]
pub fn root_of(leaves: &[Hash]) -> Hash {
    let mut tree = Tree::new();
    tree.extend_from(leaves);
    tree.root()
}

#[cfg(test)]
mod tests {
    use super::super::hash::leaf_hash;
    use super::*;
    use proptest::prelude::*;

    /// The definition of RFC 6962 2.1, word for word.
    pub(crate) fn slow_root(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => EMPTY_ROOT,
            [one] => *one,
            many => {
                let mut k = 1;
                while k * 2 < many.len() {
                    k *= 2;
                }
                node_hash(&slow_root(&many[..k]), &slow_root(&many[k..]))
            }
        }
    }

    #[test]
    fn every_small_size_agrees_with_the_definition() {
        let leaves: Vec<Hash> = (0u32..300).map(|i| leaf_hash(&i.to_be_bytes())).collect();
        let mut tree = Tree::new();
        for n in 0..leaves.len() {
            assert_eq!(tree.root(), slow_root(&leaves[..n]), "{n}");
            assert_eq!(Tree::from_roots(tree.size(), tree.roots().to_vec()), Some(tree.clone()));
            tree.push(leaves[n]);
        }
        assert_eq!(root_of(&leaves), slow_root(&leaves));
    }

    #[test]
    fn many_at_once_are_as_one_by_one() {
        let leaves: Vec<Hash> = (0u32..70).map(|i| leaf_hash(&i.to_be_bytes())).collect();
        for before in 0..leaves.len() {
            for n in 0..=leaves.len() - before {
                let mut tree = Tree::new();
                leaves[..before + n].iter().for_each(|l| tree.push(*l));
                let mut at_once = Tree::new();
                at_once.extend_from(&leaves[..before]);
                at_once.extend_from(&leaves[before..before + n]);
                assert_eq!(at_once, tree, "{n} behind {before}");
            }
        }
    }

    #[test]
    fn a_subtree_that_is_no_node_is_refused() {
        let mut tree = Tree::new();
        tree.push(EMPTY_ROOT);
        let before = tree.clone();
        assert!(!tree.push_node(1, EMPTY_ROOT));
        assert!(!tree.push_node(64, EMPTY_ROOT));
        assert_eq!(tree, before);
        assert_eq!(Tree::from_roots(3, vec![EMPTY_ROOT]), None);
    }

    proptest! {
        #[test]
        fn whole_subtrees_and_single_leaves_agree(n in 0u64..5, m in 0u64..260) {
            let leaf = |i: u64| leaf_hash(&i.to_be_bytes());
            let mut by_node = Tree::new();
            for t in 0..n {
                let leaves: Vec<Hash> = (t * 64..t * 64 + 64).map(leaf).collect();
                prop_assert!(by_node.push_node(6, slow_root(&leaves)));
            }
            by_node.extend((n * 64..n * 64 + m).map(leaf));
            let all: Vec<Hash> = (0..n * 64 + m).map(leaf).collect();
            prop_assert_eq!(by_node.root(), slow_root(&all));
            prop_assert_eq!(by_node.size(), n * 64 + m);
        }
    }
}
