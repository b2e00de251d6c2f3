/// Why bytes are no proof, note, checkpoint or tile, or why a proof does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MerkleError {
    #[error("index {index} is outside a tree of {size} leaves")]
    OutsideTree { index: u64, size: u64 },
    #[error("[{start}, {end}) is no subtree")]
    NoSubtree { start: u64, end: u64 },
    #[error("the proof has {found} hashes, {expected} are needed")]
    WrongLength { found: usize, expected: usize },
    #[error("the proof leads to root {found}, not {expected}")]
    WrongRoot { found: String, expected: String },
    #[error("a tree of {new} leaves cannot continue one of {old}")]
    Shrunk { old: u64, new: u64 },
    #[error("the hash of node {index} on level {level} is not available")]
    MissingNode { level: u32, index: u64 },
    #[error("{what}: {why}")]
    Malformed { what: &'static str, why: String },
    #[error("the note carries no signature by a known key")]
    UnknownKey,
    #[error("the signature of key `{name}` does not fit the note")]
    BadSignature { name: String },
    #[error("entry {index} has {bytes} bytes, above the tile format's limit of 65535")]
    EntryTooLarge { index: u64, bytes: usize },
}

impl MerkleError {
    pub(crate) fn malformed(what: &'static str, why: impl Into<String>) -> MerkleError {
        MerkleError::Malformed { what, why: why.into() }
    }

    /// Stable code, `area.reason`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            MerkleError::OutsideTree { .. } => "merkle.outside_tree",
            MerkleError::NoSubtree { .. } => "merkle.no_subtree",
            MerkleError::WrongLength { .. } => "merkle.wrong_length",
            MerkleError::WrongRoot { .. } => "merkle.wrong_root",
            MerkleError::Shrunk { .. } => "merkle.shrunk",
            MerkleError::MissingNode { .. } => "merkle.missing_node",
            MerkleError::Malformed { .. } => "merkle.malformed",
            MerkleError::UnknownKey => "merkle.unknown_key",
            MerkleError::BadSignature { .. } => "merkle.bad_signature",
            MerkleError::EntryTooLarge { .. } => "merkle.entry_too_large",
        }
    }

    /// What a person can do next.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            MerkleError::UnknownKey => {
                "give the log's verification key with --key; it stands in vault.json and in the deployment notes"
            }
            MerkleError::BadSignature { .. } => {
                "the bytes were changed after signing, or the key is of another log with the same name"
            }
            MerkleError::EntryTooLarge { .. } => {
                "move the long part into an event and keep its hash in the leaf"
            }
            _ => "get the file again from where it was issued; if it comes back the same, it was altered",
        }
    }
}
