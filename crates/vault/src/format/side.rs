//! The side file `AVSIDE1` (`vault.md` 4): what locates damage in a segment without any key.
//!
//! magic ‖ u32 LE header length ‖ header (RFC 8785 JSON) ‖ blobs. Hash blobs are in clear, because they say nothing about the
//! events (leaf prefixes are salted) and a verifier with the public key alone must be able to use them. Hashes do not
//! compress, so they are stored as they are; `codec` leaves room for blobs that do.

use super::digest::Digest;
use crate::merkle::{Hash, leaf_hash, root_of};
use crate::sha256::Twin;
use model::SourcePosition;
use serde::{Deserialize, Serialize};

pub const MAGIC: [u8; 8] = *b"AVSIDE1\n";
/// A Parquet file is hashed in chunks of this size.
pub const CHUNK_BYTES: usize = 64 << 10;
/// Events below one stored node of the event tree: level 10.
pub const NODE_EVENTS: usize = 1024;
/// Bytes of each event leaf that are kept.
pub const PREFIX_BYTES: usize = 4;
/// Largest header that is read: 4,096 blobs of 16 pieces would not reach it.
const HEADER_BYTES_MAX: usize = 64 << 20;

/// Contents of a side file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Side {
    /// SHA-256 of every [`CHUNK_BYTES`] of the Parquet file.
    pub chunks: Vec<Hash>,
    /// Roots over every [`NODE_EVENTS`] event leaves; the last may cover fewer.
    pub nodes: Vec<Hash>,
    /// First bytes of every event leaf: locates an altered record, proves nothing.
    pub prefixes: Vec<[u8; PREFIX_BYTES]>,
    /// Source positions that did not fit into the leaf.
    pub positions: Vec<SourcePosition>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    v: u32,
    blobs: Vec<Blob>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    positions: Vec<SourcePosition>,
}

#[derive(Serialize, Deserialize)]
struct Blob {
    name: String,
    codec: String,
    /// Stored bytes, from `offset` after the header.
    offset: u64,
    bytes: u64,
    /// SHA-256 of each [`CHUNK_BYTES`] of the stored bytes.
    pieces: Vec<Digest>,
}

/// What is wrong with a side file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SideFault {
    #[error("no side file header")]
    Header,
    #[error("side file version {0} is unknown")]
    Version(u32),
    #[error("blob `{0}` is missing or cut")]
    Blob(String),
    #[error("blob `{name}` is altered in bytes {start} to {end} of the file")]
    Piece { name: String, start: usize, end: usize },
}

impl Side {
    /// Nodes and prefixes of `leaves`.
    #[must_use]
    pub fn of(chunks: Vec<Hash>, leaves: &[Hash]) -> Side {
        Side {
            chunks,
            nodes: leaves.chunks(NODE_EVENTS).map(root_of).collect(),
            prefixes: leaves.iter().filter_map(|l| l.first_chunk().copied()).collect(),
            positions: Vec::new(),
        }
    }

    /// Root over the chunk hashes, each as a leaf.
    #[must_use]
    pub fn chunk_root(&self) -> Hash {
        chunk_root(&self.chunks)
    }

    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let blobs = [
            ("chunks", self.chunks.concat()),
            ("nodes10", self.nodes.concat()),
            ("prefixes4", self.prefixes.concat()),
        ];
        let mut header = Header { v: 1, blobs: Vec::new(), positions: self.positions.clone() };
        let mut offset = 0;
        for (name, bytes) in &blobs {
            header.blobs.push(Blob {
                name: (*name).into(),
                codec: "none".into(),
                offset,
                bytes: bytes.len() as u64,
                pieces: bytes.chunks(CHUNK_BYTES).map(Digest::of).collect(),
            });
            offset += bytes.len() as u64;
        }
        let value = serde_json::to_value(&header).unwrap_or_default();
        let json = model::canonical::to_vec(&value).unwrap_or_default();
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&u32::try_from(json.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(&json);
        for (_, bytes) in &blobs {
            out.extend_from_slice(bytes);
        }
        out
    }

    /// # Errors
    /// Malformed, or a piece does not have its hash.
    pub fn decode(bytes: &[u8]) -> Result<Side, SideFault> {
        let rest = bytes.strip_prefix(&MAGIC).ok_or(SideFault::Header)?;
        let (length, rest) = rest.split_first_chunk::<4>().ok_or(SideFault::Header)?;
        let length = u32::from_le_bytes(*length) as usize;
        let (json, blobs) =
            rest.split_at_checked(length).filter(|_| length <= HEADER_BYTES_MAX).ok_or(SideFault::Header)?;
        let header: Header = serde_json::from_slice(json).map_err(|_| SideFault::Header)?;
        if header.v != 1 {
            return Err(SideFault::Version(header.v));
        }
        let start_of_blobs = bytes.len() - blobs.len();
        let find = |name: &str| -> Result<&[u8], SideFault> {
            let missing = || SideFault::Blob(name.into());
            let blob =
                header.blobs.iter().find(|b| b.name == name && b.codec == "none").ok_or_else(missing)?;
            let from = usize::try_from(blob.offset).map_err(|_| missing())?;
            let n = usize::try_from(blob.bytes).map_err(|_| missing())?;
            let stored = from.checked_add(n).and_then(|to| blobs.get(from..to)).ok_or_else(missing)?;
            if blob.pieces.len() != n.div_ceil(CHUNK_BYTES) {
                return Err(missing());
            }
            for (i, (piece, hash)) in stored.chunks(CHUNK_BYTES).zip(&blob.pieces).enumerate() {
                if Digest::of(piece) != *hash {
                    let start = start_of_blobs + from + i * CHUNK_BYTES;
                    return Err(SideFault::Piece { name: name.into(), start, end: start + piece.len() });
                }
            }
            Ok(stored)
        };
        Ok(Side {
            chunks: split(find("chunks")?, "chunks")?,
            nodes: split(find("nodes10")?, "nodes10")?,
            prefixes: split(find("prefixes4")?, "prefixes4")?,
            positions: header.positions,
        })
    }
}

fn split<const N: usize>(bytes: &[u8], name: &str) -> Result<Vec<[u8; N]>, SideFault> {
    let (items, rest) = bytes.as_chunks::<N>();
    if rest.is_empty() { Ok(items.to_vec()) } else { Err(SideFault::Blob(name.into())) }
}

/// Root over SHA-256 hashes of chunks, each hashed as a leaf.
#[must_use]
pub fn chunk_root(chunks: &[Hash]) -> Hash {
    let leaves: Vec<Hash> = chunks.iter().map(|c| leaf_hash(c)).collect();
    root_of(&leaves)
}

/// SHA-256 of every [`CHUNK_BYTES`] of bytes that come in pieces, and of all of them.
pub struct ChunkHasher(Twin);

impl Default for ChunkHasher {
    fn default() -> ChunkHasher {
        ChunkHasher(Twin::new(CHUNK_BYTES))
    }
}

/// What a [`ChunkHasher`] found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChunkHashes {
    pub sha256: Hash,
    pub chunks: Vec<Hash>,
    pub bytes: u64,
}

impl ChunkHasher {
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    #[must_use]
    pub fn finish(self) -> ChunkHashes {
        let (sha256, chunks, bytes) = self.0.finish();
        ChunkHashes { sha256, chunks, bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn a_side() -> Side {
        let leaves: Vec<Hash> = (0u32..2500).map(|i| leaf_hash(&i.to_le_bytes())).collect();
        let mut side = Side::of(vec![[1; 32], [2; 32]], &leaves);
        side.positions.push(SourcePosition { key: "k".into(), value: "v".into() });
        side
    }

    #[test]
    fn round_trip_and_damage_is_located() {
        let side = a_side();
        assert_eq!((side.nodes.len(), side.prefixes.len()), (3, 2500));
        let bytes = side.encode();
        assert_eq!(Side::decode(&bytes).unwrap(), side);
        let blobs = bytes.len() - (2 + 3) * 32 - 2500 * 4;
        for at in (0..bytes.len()).step_by(91) {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            match Side::decode(&bad) {
                // A flipped digit of a hash in the header looks like a damaged piece; the file's own hash in the leaf decides.
                Err(SideFault::Piece { start, end, .. }) => assert!(at < blobs || (start <= at && at < end)),
                Err(_) if at < blobs => {}
                Err(e) => panic!("byte {at}: {e}"),
                Ok(got) => panic!("byte {at}: {got:?}"),
            }
        }
    }

    #[test]
    fn golden_header() {
        let bytes = Side::of(vec![[1; 32]], &[[2; 32]]).encode();
        expect_test::expect![[r#"{"blobs":[{"bytes":32,"codec":"none","name":"chunks","offset":0,"pieces":["72cd6e8422c407fb6d098690f1130b7ded7ec2f7f5e1d30bd9d521f015363793"]},{"bytes":32,"codec":"none","name":"nodes10","offset":32,"pieces":["75877bb41d393b5fb8455ce60ecd8dda001d06316496b14dfa7f895656eeca4a"]},{"bytes":4,"codec":"none","name":"prefixes4","offset":64,"pieces":["bb72b4e4eb29dc59328668f32e0511e3ac0e5ce4026b1591965216e49ca1f5d7"]}],"v":1}"#]]
            .assert_eq(std::str::from_utf8(&bytes[12..bytes.len() - 68]).unwrap());
    }

    proptest! {
        #[test]
        fn chunks_do_not_depend_on_the_pieces(n in 0usize..200_000, step in 1usize..70_000) {
            let bytes: Vec<u8> = (0..n).map(|i| (i % 251) as u8).collect();
            let mut h = ChunkHasher::default();
            for piece in bytes.chunks(step) { h.update(piece); }
            let got = h.finish();
            prop_assert_eq!(got.sha256, model::sha256(&[&bytes]));
            prop_assert_eq!(got.bytes, n as u64);
            let slow: Vec<Hash> = bytes.chunks(CHUNK_BYTES).map(|c| model::sha256(&[c])).collect();
            prop_assert_eq!(got.chunks, slow);
        }
        #[test]
        fn any_bytes_never_panic(b in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..20) {
            let _ = Side::decode(&b);
            let mut s = a_side().encode();
            s.truncate(s.len().saturating_sub(at));
            let _ = Side::decode(&s);
        }
    }
}
