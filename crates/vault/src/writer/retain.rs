//! Retention: whole segments go, and a leaf says which, under which policy (`vault.md` 8; V1).
//!
//! Order: leaf and checkpoint, then the segment leaves the view, then wraps, files and side files are deleted. A crash in between
//! leaves files whose expire leaf is published: the next start deletes them.

use super::core::Shared;
use super::settings::Settings;
use crate::error::VaultError;
use crate::format::leaf::{Body, Config, Expire, ExpireAction, ExpireList, Policy};
use crate::format::{Digest, parse_hex16, paths};
use crate::read::SegmentMeta;
use crate::read::state::VaultState;
use model::Time;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Ranges in one expire leaf (`vault.md` 5).
const RANGES_MAX: usize = 4_096;

/// What an expiry did, or would do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expired {
    pub segments: Vec<Arc<SegmentMeta>>,
    pub rows: u64,
    pub bytes: u64,
    /// The leaves, as they are written.
    pub leaves: Vec<Expire>,
}

/// Segments that are due at `now`, by dataset and deciding policy.
fn due(state: &VaultState, now: Time) -> BTreeMap<(Arc<str>, u64), Vec<Arc<SegmentMeta>>> {
    let mut out: BTreeMap<(Arc<str>, u64), Vec<Arc<SegmentMeta>>> = BTreeMap::new();
    for (index, meta) in &state.live {
        let Some((policy, age)) = state.policy_for(&meta.dataset, *index) else { continue };
        let is_due = age.end(meta.committed).is_some_and(|end| end <= now);
        if is_due && !state.is_held(meta) {
            out.entry((Arc::clone(&meta.dataset), policy.leaf)).or_default().push(Arc::clone(meta));
        }
    }
    out
}

/// Half-open ranges over sorted indices.
fn ranges(indices: impl IntoIterator<Item = u64>) -> Vec<[u64; 2]> {
    let mut out: Vec<[u64; 2]> = Vec::new();
    for i in indices {
        match out.last_mut() {
            Some([_, end]) if *end == i => *end += 1,
            _ => out.push([i, i + 1]),
        }
    }
    out
}

fn list_of(segments: &[Arc<SegmentMeta>]) -> ExpireList {
    ExpireList {
        files: segments.iter().flat_map(|s| [s.info.path.clone(), s.info.side.clone()]).collect(),
        deks: segments.iter().filter_map(|s| s.info.dek.clone()).collect(),
        stores: vec!["local".into()],
    }
}

/// Plans the expiry of everything due at `now`.
pub(crate) fn plan(state: &VaultState, now: Time) -> (Expired, Vec<ExpireList>) {
    let (mut out, mut lists) = (Expired::default(), Vec::new());
    let now = now.max(state.time);
    for ((dataset, policy), segments) in due(state, now) {
        for some in segments.chunks(RANGES_MAX) {
            let list = list_of(some);
            let value = serde_json::to_value(&list).unwrap_or_default();
            out.leaves.push(Expire {
                dataset: dataset.to_string(),
                segments: ranges(some.iter().map(|s| s.leaf)),
                policy,
                // The wrap goes with the file, so that a copy of the file elsewhere is of no use.
                action: if list.deks.is_empty() { ExpireAction::Delete } else { ExpireAction::Both },
                at: now,
                witnessed: false,
                list_sha256: Digest::of(&model::canonical::to_vec(&value).unwrap_or_default()),
            });
            lists.push(list);
        }
        out.rows += segments.iter().map(|s| s.rows).sum::<u64>();
        out.bytes += segments.iter().map(|s| s.bytes + s.info.side_bytes).sum::<u64>();
        out.segments.extend(segments);
    }
    (out, lists)
}

/// Expires everything due at `now`.
pub(crate) fn expire(shared: &Shared, now: Time) -> Result<Expired, VaultError> {
    let mut log = shared.log();
    let (expired, lists) = plan(&log.state, now);
    let bodies: Vec<Body> = expired.leaves.iter().cloned().map(Body::Expire).collect();
    if bodies.is_empty() {
        log.settle(shared.host.disk.as_ref())?;
    } else {
        log.publish(shared.host.disk.as_ref(), shared.now(), "vault", bodies)?;
    }
    drop(log);
    delete_expired(shared)?;
    for (leaf, list) in expired.leaves.iter().zip(&lists) {
        // The text behind the hash in the leaf.
        let facts =
            serde_json::json!({"dataset": leaf.dataset, "list": list, "list_sha256": leaf.list_sha256});
        shared.own_event("expired", &facts);
    }
    Ok(expired)
}

/// Takes whatever the log says is expired out of the view, then off the disk: also what an earlier try left behind.
fn delete_expired(shared: &Shared) -> Result<(), VaultError> {
    let (gone, size) = {
        let log = shared.log();
        let shown = shared.live.view();
        let shown = shown.segments.iter().chain(shown.missing.iter());
        let gone: BTreeMap<u64, Arc<SegmentMeta>> = shown
            .filter(|s| log.state.expired.contains_key(&s.leaf))
            .map(|s| (s.leaf, Arc::clone(s)))
            .collect();
        (gone, log.size())
    };
    let keep = |list: &[Arc<SegmentMeta>]| {
        Arc::new(list.iter().filter(|s| !gone.contains_key(&s.leaf)).cloned().collect::<Vec<_>>())
    };
    shared.live.change(|view| {
        if !gone.is_empty() {
            view.segments = keep(&view.segments);
            view.missing = keep(&view.missing);
        }
        view.tree_size = view.tree_size.max(size);
    });
    for meta in gone.values() {
        delete(shared, meta)?;
    }
    Ok(())
}

/// Removes what is left of an expired segment: the wrapped key first, then the files.
pub(crate) fn delete(shared: &Shared, meta: &SegmentMeta) -> Result<(), VaultError> {
    let disk = shared.host.disk.as_ref();
    let mut folders = BTreeSet::new();
    let dek = meta.info.dek.as_deref().and_then(parse_hex16);
    if let Some(id) = &dek {
        shared.keys.forget(id);
    }
    let wrap = dek.map(|id| shared.dir.join(paths::wrap(&id)));
    for path in wrap.into_iter().chain([meta.path.clone(), shared.dir.join(&meta.info.side)]) {
        match disk.remove(&path) {
            Ok(()) => folders.extend(path.parent().map(std::path::Path::to_owned)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(VaultError::io("remove", &path, &e)),
        }
    }
    for folder in folders {
        disk.sync_folder(&folder).map_err(|e| VaultError::io("sync", &folder, &e))?;
    }
    Ok(())
}

/// Leaves that make the log agree with the settings: retention rules that changed, and the configuration's hash.
pub(crate) fn changed_settings(state: &VaultState, settings: &Settings, now: Time) -> Vec<(String, Body)> {
    let mut in_log: BTreeMap<&str, &Policy> = BTreeMap::new();
    for p in &state.policies {
        in_log.insert(&p.policy.dataset, &p.policy);
    }
    let mut out = Vec::new();
    let wanted: BTreeMap<&str, _> = settings
        .datasets
        .iter()
        .filter_map(|(pattern, d)| d.max_age.map(|age| (pattern.as_str(), age)))
        .collect();
    let by = settings.config.as_ref().map_or("configuration", |(_, by)| by.as_str());
    let mut policy = |pattern: &str, max_age| {
        let body = Body::Policy(Policy {
            dataset: pattern.to_owned(),
            rule: "retention".into(),
            max_age,
            clock: "received".into(),
            from: now,
            approvals: Vec::new(),
            hold: None,
        });
        out.push((by.to_owned(), body));
    };
    for (pattern, age) in &wanted {
        if in_log.get(pattern).is_none_or(|p| p.max_age != Some(*age)) {
            policy(pattern, Some(*age));
        }
    }
    for (pattern, p) in &in_log {
        if p.max_age.is_some() && !wanted.contains_key(pattern) {
            policy(pattern, None);
        }
    }
    if let Some((sha256, by)) = &settings.config
        && state.config != Some(*sha256)
    {
        out.push((by.clone(), Body::Config(Config { sha256: *sha256 })));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_become_ranges() {
        assert_eq!(ranges([]), Vec::<[u64; 2]>::new());
        assert_eq!(ranges([1, 2, 3, 7, 9, 10]), [[1, 4], [7, 8], [9, 11]]);
    }
}
