//! The text form of a proof, https://c2sp.org/tlog-proof: header, optional `extra`, index, path, blank line, checkpoint.

use super::checkpoint::{parse_decimal, parse_hash};
use super::error::MerkleError;
use super::hash::Hash;
use super::note::NOTE_BYTES_MAX;
use super::path::PROOF_LINES_MAX;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write as _;

/// First line of every proof file.
pub const TLOG_PROOF_HEADER: &str = "c2sp.org/tlog-proof@v1";

/// An inclusion proof with the checkpoint that it leads to. Nothing in it is checked yet; `extra` is never covered by the
/// signature, so whoever uses it must hash it up to the root himself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlogProof {
    pub extra: Option<Vec<u8>>,
    pub index: u64,
    /// The leaf's sibling first.
    pub path: Vec<Hash>,
    /// The checkpoint's note, byte for byte.
    pub checkpoint: String,
}

impl TlogProof {
    /// # Errors
    /// Anything that the format does not allow, more than 63 hashes, more than 1 MiB before the checkpoint.
    pub fn parse(bytes: &[u8]) -> Result<TlogProof, MerkleError> {
        let bad = |why: &str| MerkleError::malformed("tlog-proof", why);
        if bytes.len() > 2 * NOTE_BYTES_MAX {
            return Err(bad("larger than 2 MiB"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| bad("not UTF-8"))?;
        let (head, checkpoint) = text.split_once("\n\n").ok_or_else(|| bad("no blank line"))?;
        let mut lines = head.split('\n');
        if lines.next() != Some(TLOG_PROOF_HEADER) {
            return Err(bad("the first line is not `c2sp.org/tlog-proof@v1`"));
        }
        let mut line = lines.next();
        let mut extra = None;
        if let Some(encoded) = line.and_then(|l| l.strip_prefix("extra ")) {
            extra = Some(STANDARD.decode(encoded).map_err(|_| bad("extra is no base64"))?);
            line = lines.next();
        }
        let index = line.and_then(|l| l.strip_prefix("index ")).and_then(parse_decimal);
        let index = index.ok_or_else(|| bad("no index line"))?;
        let mut path = Vec::new();
        for line in lines {
            if path.len() == PROOF_LINES_MAX {
                return Err(bad("more than 63 hashes"));
            }
            path.push(parse_hash(line).ok_or_else(|| bad("a line of the path is no hash"))?);
        }
        super::note::Note::parse(checkpoint.as_bytes())?;
        Ok(TlogProof { extra, index, path, checkpoint: checkpoint.to_owned() })
    }

    /// The file's text; the usual extension is `.tlog-proof`.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = format!("{TLOG_PROOF_HEADER}\n");
        if let Some(extra) = &self.extra {
            let _ = writeln!(out, "extra {}", STANDARD.encode(extra));
        }
        let _ = writeln!(out, "index {}", self.index);
        for hash in &self.path {
            let _ = writeln!(out, "{}", STANDARD.encode(hash));
        }
        out.push('\n');
        out.push_str(&self.checkpoint);
        out
    }
}
