//! What the log says, as it is read from its first leaf to its last: live segments, policies, positions, the last WAL.

use super::SegmentMeta;
use super::select::{closeness, glob};
use crate::error::VaultError;
use crate::format::leaf::{Body, Leaf, Policy, Segment};
use crate::format::side::Side;
use crate::format::{Digest, MaxAge, paths};
use crate::merkle::{Checkpoint, Hash, Note, Resource, Vkey, bundle_entries, tile_width};
use model::Time;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// A policy leaf and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyAt {
    pub leaf: u64,
    pub time: Time,
    pub policy: Policy,
}

/// State of a vault by its log alone.
#[derive(Clone, Debug, Default)]
pub struct VaultState {
    pub size: u64,
    /// Segments without an expire leaf, by leaf index.
    pub live: BTreeMap<u64, Arc<SegmentMeta>>,
    /// Segments that were expired, with their paths: a file that is still there is to be removed.
    pub expired: BTreeMap<u64, Arc<SegmentMeta>>,
    pub policies: Vec<PolicyAt>,
    pub holds: BTreeMap<String, Policy>,
    pub positions: BTreeMap<Arc<str>, Arc<str>>,
    /// WAL numbers that are sealed.
    pub sealed_wals: BTreeSet<u64>,
    pub last_wal: Option<u64>,
    pub last_commit: Hash,
    pub next_seq: u64,
    pub received_max: Time,
    /// Time of the last leaf.
    pub time: Time,
    pub config: Option<Digest>,
    /// Acknowledged so far, by the last heartbeat.
    pub heartbeat_seq: u64,
    pub log_key: Option<String>,
    /// Hash of `vault.json`, as the log knows it.
    pub description: Option<Digest>,
}

impl VaultState {
    /// Takes in the leaf at `index`.
    pub fn apply(&mut self, dir: &Path, index: u64, leaf: &Leaf) {
        self.size = index + 1;
        self.time = self.time.max(leaf.time);
        match &leaf.body {
            Body::Segment(s) => self.segment(dir, index, leaf.time, s),
            Body::Expire(e) => {
                for [from, to] in &e.segments {
                    let gone: Vec<u64> = self.live.range(*from..(*to).max(*from)).map(|(i, _)| *i).collect();
                    for i in gone {
                        if let Some(meta) = self.live.remove(&i) {
                            self.expired.insert(i, meta);
                        }
                    }
                }
            }
            Body::Policy(p) => match &p.hold {
                Some(h) if h.held => {
                    self.holds.insert(h.id.clone(), p.clone());
                }
                Some(h) => {
                    self.holds.remove(&h.id);
                }
                None => self.policies.push(PolicyAt { leaf: index, time: leaf.time, policy: p.clone() }),
            },
            Body::Key(k) if k.what == "log" => {
                self.log_key.clone_from(&k.vkey);
                self.description = k.description.or(self.description);
            }
            Body::Heartbeat(h) => self.heartbeat_seq = self.heartbeat_seq.max(h.seq),
            Body::Config(c) => self.config = Some(c.sha256),
            Body::Key(_) | Body::Compact(_) | Body::Export(_) => {}
        }
    }

    fn segment(&mut self, dir: &Path, index: u64, time: Time, s: &Segment) {
        self.next_seq = self.next_seq.max(s.range[1]);
        self.received_max = self.received_max.max(s.received[1]);
        self.sealed_wals.insert(s.wal);
        if self.last_wal.is_none_or(|w| w <= s.wal) {
            self.last_wal = Some(s.wal);
            self.last_commit = s.last_commit.0;
        }
        let moved = if s.positions_sha256.is_some() {
            std::fs::read(dir.join(&s.side)).ok().and_then(|b| Side::decode(&b).ok()).map(|s| s.positions)
        } else {
            Some(s.positions.clone())
        };
        for p in moved.into_iter().flatten() {
            self.positions.insert(p.key, p.value);
        }
        self.live.insert(index, Arc::new(SegmentMeta::new(dir, index, time, s)));
    }

    /// The policies that bear on a segment of `dataset` committed by leaf `index`: the one in force then, and every later one.
    /// A shorter policy applies to later segments only, a longer one to all, so the longest decides.
    #[must_use]
    pub fn policy_for(&self, dataset: &str, index: u64) -> Option<(&PolicyAt, MaxAge)> {
        // In force at a point: of each pattern its newest version; of those not retired, the closest pattern.
        let in_force = |at: u64| {
            let mut newest: BTreeMap<&str, &PolicyAt> = BTreeMap::new();
            for p in self.policies.iter().filter(|p| p.leaf <= at && glob(&p.policy.dataset, dataset)) {
                newest.insert(&p.policy.dataset, p);
            }
            let active = newest.into_values().filter(|p| p.policy.max_age.is_some());
            active.max_by_key(|p| closeness(&p.policy.dataset))
        };
        let points = self.policies.iter().map(|p| p.leaf).filter(|l| *l > index);
        let candidates = std::iter::once(index).chain(points).filter_map(in_force);
        let far = Time(0);
        candidates
            .filter_map(|p| p.policy.max_age.map(|age| (p, age)))
            .max_by_key(|(p, age)| (age.end(far).unwrap_or(Time(i64::MAX)), std::cmp::Reverse(p.leaf)))
    }

    /// Whether a legal hold covers the segment.
    #[must_use]
    pub fn is_held(&self, meta: &SegmentMeta) -> bool {
        self.holds.values().any(|p| {
            let range = p.hold.as_ref().and_then(|h| h.range);
            glob(&p.dataset, &meta.dataset)
                && range.is_none_or(|[from, to]| meta.received.1 >= from && meta.received.0 < to)
        })
    }
}

/// The log's last checkpoint in the vault folder `dir`, with its signature checked where `vkey` is given; `None` before the first.
///
/// # Errors
/// It cannot be read or is malformed.
pub fn read_checkpoint(dir: &Path, vkey: Option<&Vkey>) -> Result<Option<Checkpoint>, VaultError> {
    let path = dir.join(paths::CHECKPOINT);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(VaultError::io("read", &path, &e)),
    };
    let bad = |e: crate::merkle::MerkleError| VaultError::corrupt(&path, e.to_string());
    match vkey {
        Some(vkey) => {
            Checkpoint::open(&bytes, std::slice::from_ref(vkey)).map(|s| Some(s.checkpoint)).map_err(bad)
        }
        None => {
            let note = Note::parse(&bytes).map_err(bad)?;
            Checkpoint::parse(&note.text).map(Some).map_err(bad)
        }
    }
}

/// Calls `each` with every entry of a log of `size` leaves under the vault folder `dir`.
///
/// # Errors
/// A bundle is missing or malformed.
pub fn each_entry(
    dir: &Path,
    size: u64,
    mut each: impl FnMut(u64, &[u8]) -> Result<(), VaultError>,
) -> Result<(), VaultError> {
    let mut index = 0;
    while index < size {
        let number = index / crate::merkle::TILE_WIDTH;
        let width = tile_width(0, number, size);
        let (path, bytes) = read_bundle(dir, number, width)?;
        let bad = |e: crate::merkle::MerkleError| VaultError::corrupt(&path, e.to_string());
        // A full bundle serves a narrower one.
        let (all, _) = crate::merkle::split_bundle(&bytes);
        let have = u16::try_from(all.len()).unwrap_or(u16::MAX).max(width);
        for entry in bundle_entries(&bytes, have).map_err(bad)?.into_iter().take(usize::from(width)) {
            each(index, entry)?;
            index += 1;
        }
    }
    Ok(())
}

fn read_bundle(dir: &Path, index: u64, width: u16) -> Result<(std::path::PathBuf, Vec<u8>), VaultError> {
    let resource = Resource::Entries { index, width };
    let path = dir.join(paths::LOG).join(resource.to_string());
    match std::fs::read(&path) {
        Ok(bytes) => Ok((path, bytes)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && width < 256 => {
            let full = dir.join(paths::LOG).join(resource.with_width(256).to_string());
            let bytes = std::fs::read(&full).map_err(|_| VaultError::io("read", &path, &e))?;
            Ok((full, bytes))
        }
        Err(e) => Err(VaultError::io("read", &path, &e)),
    }
}

/// State by the first `size` leaves.
///
/// # Errors
/// An entry cannot be read or is no leaf.
pub fn load(dir: &Path, size: u64) -> Result<VaultState, VaultError> {
    let mut state = VaultState::default();
    each_entry(dir, size, |index, entry| {
        let leaf = Leaf::decode(entry)
            .map_err(|e| VaultError::corrupt(&dir.join(paths::LOG), format!("leaf {index}: {e}")))?;
        state.apply(dir, index, &leaf);
        Ok(())
    })?;
    Ok(state)
}
