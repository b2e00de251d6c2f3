use super::error::MerkleError;
use super::hash::Hash;
use super::note::{Note, Signer, Vkey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

/// State of a log: who, how many leaves, which root (https://c2sp.org/tlog-checkpoint). Extension lines are not written and not
/// accepted: nothing under the log's key may stand where no auditor of leaves would look.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    pub origin: String,
    pub size: u64,
    pub root: Hash,
}

/// A checkpoint together with the note that it was read from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedCheckpoint {
    pub checkpoint: Checkpoint,
    pub note: Note,
}

/// The three lines of the note text.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }
}

/// A decimal number without sign, leading zero or any other second spelling.
pub(super) fn parse_decimal(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain)
}

pub(super) fn parse_hash(text: &str) -> Option<Hash> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

impl Checkpoint {
    /// Reads a note text.
    ///
    /// # Errors
    /// It is not exactly origin, size and root, each on its line.
    pub fn parse(text: &str) -> Result<Checkpoint, MerkleError> {
        let bad = |why: &str| MerkleError::malformed("checkpoint", why);
        let body = text.strip_suffix('\n').ok_or_else(|| bad("does not end in a newline"))?;
        let mut lines = body.split('\n');
        let origin = lines.next().filter(|o| !o.is_empty()).ok_or_else(|| bad("no origin"))?;
        let size = lines.next().and_then(parse_decimal).ok_or_else(|| bad("no tree size"))?;
        let root = lines.next().and_then(parse_hash).ok_or_else(|| bad("no root hash"))?;
        if lines.next().is_some() {
            return Err(bad("lines after the root hash"));
        }
        Ok(Checkpoint { origin: origin.to_owned(), size, root })
    }

    /// The signed note.
    ///
    /// # Errors
    /// The origin has a control character.
    pub fn sign(&self, signer: &Signer) -> Result<String, MerkleError> {
        signer.sign(&self.to_string())
    }

    /// Reads a note, checks its signatures and then its text.
    ///
    /// # Errors
    /// Malformed, not signed by one of `keys`, or signed wrongly by one of them.
    pub fn open(bytes: &[u8], keys: &[Vkey]) -> Result<SignedCheckpoint, MerkleError> {
        let note = Note::parse(bytes)?;
        note.open(keys)?;
        let checkpoint = Checkpoint::parse(&note.text)?;
        Ok(SignedCheckpoint { checkpoint, note })
    }
}
