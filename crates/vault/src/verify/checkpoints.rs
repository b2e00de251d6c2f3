//! Every signed statement about the log that is at hand: its own checkpoint, those kept beside it, those that the person who
//! verifies brought along.

use super::Options;
use super::io::{list, read_small};
use super::report::{Fault, FaultCode, Findings};
use crate::format::paths;
use crate::merkle::{Checkpoint, MerkleError, NOTE_BYTES_MAX, Note, Vkey};
use std::path::Path;

/// Kept checkpoints that are read. One an hour for a century.
const KEPT_MAX: usize = 1_000_000;

/// A root that the log must have had at a size, and who says so.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Claim {
    pub size: u64,
    pub root: [u8; 32],
    pub by: Claimant,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Claimant {
    /// `log/checkpoint`.
    Log,
    /// A file under `log/checkpoints`.
    Kept(String),
    /// Given with the options: its name.
    Known(String),
}

/// What the signed statements say, smallest size first.
#[derive(Debug, Default)]
pub(super) struct Claims {
    pub current: Option<Checkpoint>,
    pub all: Vec<Claim>,
}

pub(super) fn gather(root: &Path, options: &Options, keys: &[Vkey], found: &mut Findings) -> Claims {
    let mut claims = Claims::default();
    if let Some(checkpoint) = current(root, keys, found) {
        claims.add(&checkpoint, Claimant::Log);
        claims.current = Some(checkpoint);
    }
    kept(root, keys, found, &mut claims);
    known(options, keys, found, &mut claims);
    claims.all.sort();
    claims
}

impl Claims {
    fn add(&mut self, checkpoint: &Checkpoint, by: Claimant) {
        self.all.push(Claim { size: checkpoint.size, root: checkpoint.root, by });
    }
}

/// Reads a checkpoint of the log whose key is in `keys`. The origin must be the key's name: a key may sign for one log only.
fn open(bytes: &[u8], keys: &[Vkey]) -> Result<Checkpoint, MerkleError> {
    let signed = Checkpoint::open(bytes, keys)?;
    if keys.iter().any(|k| k.name() == signed.checkpoint.origin) {
        return Ok(signed.checkpoint);
    }
    let why = format!("it is of the log `{}`", signed.checkpoint.origin);
    Err(MerkleError::Malformed { what: "checkpoint", why })
}

fn current(root: &Path, keys: &[Vkey], found: &mut Findings) -> Option<Checkpoint> {
    let path = paths::CHECKPOINT;
    let fault = |code, detail: String| Fault::new(code, detail).file(path);
    match read_small(root, path, NOTE_BYTES_MAX) {
        Ok(None) => found.fault(fault(FaultCode::CheckpointMissing, "the log has no checkpoint".into())),
        Err(e) => found.fault(fault(FaultCode::CheckpointBad, format!("cannot read the checkpoint: {e}"))),
        Ok(Some(bytes)) => match open(&bytes, keys) {
            Ok(checkpoint) => return Some(checkpoint),
            Err(e) => {
                found.fault(fault(FaultCode::CheckpointBad, e.to_string()).bytes(0, bytes.len() as u64));
            }
        },
    }
    None
}

fn kept(root: &Path, keys: &[Vkey], found: &mut Findings, claims: &mut Claims) {
    let files = match list(root, paths::CHECKPOINTS) {
        Ok((files, _)) => files,
        Err(e) => {
            found.unchecked.push(format!("{}: {e}", paths::CHECKPOINTS));
            return;
        }
    };
    if files.len() > KEPT_MAX {
        found
            .unchecked
            .push(format!("{} kept checkpoints beyond the first {KEPT_MAX}", files.len() - KEPT_MAX));
    }
    for path in files.into_iter().take(KEPT_MAX) {
        let bad = |why: String| Fault::new(FaultCode::KeptCheckpointBad, why).file(path.clone());
        let bytes = match read_small(root, &path, NOTE_BYTES_MAX) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => continue,
            Err(e) => {
                found.fault(bad(format!("cannot read a kept checkpoint: {e}")));
                continue;
            }
        };
        let name = path.rsplit('/').next().unwrap_or_default();
        match open(&bytes, keys) {
            Ok(c) if c.size.to_string() == name => {
                found.checked.kept_checkpoints += 1;
                claims.add(&c, Claimant::Kept(path));
            }
            Ok(c) => found.fault(bad(format!("a checkpoint of size {} under another name", c.size))),
            Err(e) => found.fault(bad(e.to_string()).bytes(0, bytes.len() as u64)),
        }
    }
}

/// A known checkpoint may be a note, whose signature must then fit, or the three lines alone: whoever copied them from paper
/// vouches for them.
fn known(options: &Options, keys: &[Vkey], found: &mut Findings, claims: &mut Claims) {
    for given in &options.known_checkpoints {
        let read = match Note::parse(&given.bytes) {
            Ok(_) => open(&given.bytes, keys),
            Err(_) => std::str::from_utf8(&given.bytes)
                .map_err(|_| MerkleError::Malformed { what: "checkpoint", why: "not UTF-8".into() })
                .and_then(|text| Checkpoint::parse(&format!("{}\n", text.trim_end())))
                .and_then(|c| match keys.iter().any(|k| k.name() == c.origin) {
                    true => Ok(c),
                    false => Err(MerkleError::Malformed {
                        what: "checkpoint",
                        why: format!("it is of the log `{}`", c.origin),
                    }),
                }),
        };
        match read {
            Ok(checkpoint) => {
                found.checked.known_checkpoints += 1;
                claims.add(&checkpoint, Claimant::Known(given.name.clone()));
            }
            Err(e) => {
                let detail = format!("the known checkpoint `{}` cannot be used: {e}", given.name);
                found.fault(Fault::new(FaultCode::KnownCheckpointBad, detail));
            }
        }
    }
}

/// Names of the claimants for messages.
impl std::fmt::Display for Claimant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Claimant::Log => f.write_str("the log's own checkpoint"),
            Claimant::Kept(path) => write!(f, "the kept checkpoint `{path}`"),
            Claimant::Known(name) => write!(f, "the known checkpoint `{name}`"),
        }
    }
}
