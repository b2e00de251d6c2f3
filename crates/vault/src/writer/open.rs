//! Opening a vault for writing: lock, keys, log, recovery, threads.

use super::commit::{Preparer, Start, run_encoder};
use super::core::{Facts, MonotoneClock, Shared};
use super::log::{Log, remove_beyond, source, take_over};
use super::queue::Queue;
use super::recover::{Quarantined, RecoveredWal, Recoverer, Recovery};
use super::retain::{changed_settings, delete};
use super::seal::{self, SealQueue};
use super::settings::Settings;
use super::sync::Syncer;
use super::tick;
use crate::disk::{create_folders, replace_file_durable};
use crate::error::VaultError;
use crate::format::leaf::{Body, Key};
use crate::format::{Digest, FORMAT_VERSION, VaultJson, paths};
use crate::keys::open_secret;
use crate::merkle::{self, Signer};
use crate::read::reader::View;
use crate::read::{KeyRing, Live, TailCache, state};
use crate::traits::Host;
use model::Time;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use std::thread::JoinHandle;
use tokio::sync::Semaphore;

/// Bytes per permit of the queue's bound.
pub(crate) const PERMIT_BYTES: usize = 1 << 10;

pub(crate) type Threads = Vec<JoinHandle<()>>;

/// What opening found and did.
#[derive(Clone, Debug, Default)]
pub struct Opened {
    /// The vault was made just now.
    pub created: bool,
    /// The log's signing key was made just now: back it up apart from the vault.
    pub log_key_created: bool,
    /// The log's verification key: pin it where nobody with access to this machine can change it.
    pub vkey: String,
    pub recovered: Vec<RecoveredWal>,
    pub quarantined: Vec<Quarantined>,
    /// Paths that the log names and the disk does not have.
    pub missing: Vec<String>,
    /// Leaves found beyond the checkpoint, re-hashed and taken over.
    pub leaves_taken_over: u64,
    /// Seqs that were acknowledged by the last heartbeat and are gone.
    pub lost: Option<(u64, u64)>,
}

pub(crate) fn open(
    dir: &Path,
    settings: Settings,
    host: Host,
) -> Result<(Arc<Shared>, Threads, Opened), VaultError> {
    settings.check()?;
    let disk = host.disk.as_ref();
    let folders = [
        paths::TMP,
        paths::WAL,
        paths::DATA,
        paths::SIDE,
        paths::CHECKPOINTS,
        paths::KEYS,
        paths::QUARANTINE,
    ];
    let make = |folder: &Path| create_folders(disk, folder).map_err(|e| VaultError::io("create", folder, &e));
    make(dir)?;
    let lock = lock(dir)?;
    for folder in folders {
        make(&dir.join(folder))?;
    }
    empty_tmp(dir);
    let mut opened = Opened::default();
    let (json, signer) = identity(dir, &settings, &host, &mut opened)?;
    let (tree, checkpoint) = load_tree(dir, &signer, &mut opened)?;
    remove_beyond(disk, dir, tree.size());
    let state = state::load(dir, tree.size())?;
    let keys = Arc::new(KeyRing::new(dir, &json.vault, Some(Arc::clone(&host.keys))));
    let now = host.clock.now().max(state.time);
    let recovery = Recoverer { dir, disk, keys: &keys, now }.run(&state)?;
    let shared = assemble(dir, settings, host, json, keys, lock, state, &recovery, |state| {
        Log::new(dir, tree, state, signer, checkpoint)
    })?;
    opened.recovered = recovery.wals.clone();
    opened.quarantined = recovery.quarantined.clone();
    let start = next(&shared, &recovery, &mut opened);
    shared.live.advance(start.seq);
    opened.missing = shared.live.view().missing.iter().map(|m| m.info.path.clone()).collect();
    first_leaves(&shared, &opened)?;
    for meta in shared.log().state.expired.values() {
        delete(&shared, meta)?;
    }
    let threads = spawn(&shared, start)?;
    for tail in recovery.tails {
        shared.seals.push(Some(tail), None);
    }
    report(&shared, &opened);
    Ok((shared, threads, opened))
}

/// V3: one writer. The lock goes with the process, whatever ends it.
fn lock(dir: &Path) -> Result<File, VaultError> {
    let path = dir.join(paths::LOCK);
    let io = |e: &std::io::Error| VaultError::io("lock", &path, e);
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|e| io(&e))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            let pid = if pid.trim().is_empty() { "unknown".into() } else { pid.trim().to_owned() };
            return Err(VaultError::Locked { path: dir.display().to_string(), pid });
        }
        Err(e) => return Err(io(&e.into())),
    }
    let write = |file: &mut File| -> std::io::Result<()> {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    write(&mut file).map_err(|e| io(&e))?;
    Ok(file)
}

/// What a crash left half written. One that cannot be removed is written over or lies there without harm.
fn empty_tmp(dir: &Path) {
    for entry in std::fs::read_dir(dir.join(paths::TMP)).into_iter().flatten().flatten() {
        let _ = std::fs::remove_file(entry.path());
    }
}

/// `vault.json` and the log key, both made on the first start.
fn identity(
    dir: &Path,
    settings: &Settings,
    host: &Host,
    opened: &mut Opened,
) -> Result<(VaultJson, Signer), VaultError> {
    let known = VaultJson::read(dir)?;
    let key_path = &settings.signing_key;
    if known.is_some() && !key_path.exists() {
        return Err(VaultError::LogKeyMissing { path: key_path.display().to_string() });
    }
    let (seed, created) = open_secret(key_path, host.random.as_ref(), host.disk.as_ref(), known.is_none())?;
    opened.log_key_created = created;
    if let Some(json) = known {
        if let Some(origin) = settings.origin.as_ref().filter(|o| **o != json.origin) {
            return Err(VaultError::OriginChanged { found: origin.clone(), expected: json.origin });
        }
        let signer = Signer::new(&json.origin, seed.bytes())?;
        opened.vkey = signer.vkey().to_string();
        if opened.vkey != json.vkey {
            return Err(VaultError::LogKeyMismatch { found: opened.vkey.clone(), expected: json.vkey });
        }
        return Ok((json, signer));
    }
    let mut id = [0u8; 16];
    host.random.fill(&mut id)?;
    let vault = VaultJson::id_text(&id);
    let origin = settings.origin.clone().unwrap_or_else(|| format!("avouch.local/{vault}"));
    let signer = Signer::new(&origin, seed.bytes())?;
    opened.created = true;
    opened.vkey = signer.vkey().to_string();
    let json = VaultJson {
        format: FORMAT_VERSION,
        vault,
        origin,
        shard: settings.shard,
        vkey: opened.vkey.clone(),
        created: host.clock.now(),
    };
    let path = dir.join(paths::VAULT_JSON);
    replace_file_durable(host.disk.as_ref(), dir, &path, &json.to_bytes())
        .map_err(|e| VaultError::io("write", &path, &e))?;
    Ok((json, signer))
}

/// The tree under the last checkpoint, re-hashed, and what lies on disk beyond it.
fn load_tree(
    dir: &Path,
    signer: &Signer,
    opened: &mut Opened,
) -> Result<(merkle::LogState, Option<merkle::Checkpoint>), VaultError> {
    let checkpoint = state::read_checkpoint(dir, Some(signer.vkey()))?;
    let path = dir.join(paths::CHECKPOINT);
    let mut tree = merkle::LogState::new();
    if let Some(c) = &checkpoint {
        if c.origin != signer.vkey().name() {
            return Err(VaultError::corrupt(&path, format!("it is of another log, `{}`", c.origin)));
        }
        tree = merkle::LogState::load(&source(dir), c.size)?;
        // V3: a shorter or other tree than the one that was signed is never continued.
        if tree.root() != c.root {
            return Err(VaultError::corrupt(&path, "the tiles on disk do not lead to its root"));
        }
    }
    let (tree, taken) = take_over(dir, tree);
    opened.leaves_taken_over = taken;
    Ok((tree, checkpoint))
}

#[expect(clippy::too_many_arguments, reason = "puts the parts of one struct together, once")]
fn assemble(
    dir: &Path,
    settings: Settings,
    host: Host,
    json: VaultJson,
    keys: Arc<KeyRing>,
    lock: File,
    state: state::VaultState,
    recovery: &Recovery,
    log: impl FnOnce(state::VaultState) -> Log,
) -> Result<Arc<Shared>, VaultError> {
    let (segments, missing): (Vec<_>, Vec<_>) = state.live.values().cloned().partition(|s| s.path.is_file());
    let view = View {
        segments: Arc::new(segments),
        missing: Arc::new(missing),
        tails: recovery.tails.clone(),
        tree_size: state.size,
    };
    let live = Arc::new(Live::new(view, 0, Arc::clone(&keys), Arc::clone(&host.derive)));
    let mut positions: BTreeMap<Arc<str>, Arc<str>> = state.positions.clone();
    positions.extend(recovery.positions.iter().cloned());
    let floor = state.time.max(state.received_max).max(recovery.received_max.unwrap_or(Time::NONE));
    let id = json.id().ok_or_else(|| VaultError::corrupt(&dir.join(paths::VAULT_JSON), "no vault id"))?;
    let permits = settings.queue_bytes.div_ceil(PERMIT_BYTES).min(Semaphore::MAX_PERMITS);
    Ok(Arc::new(Shared {
        dir: dir.to_owned(),
        id,
        keys,
        queue: Queue::default(),
        pool: Arc::default(),
        room: Arc::new(Semaphore::new(permits)),
        live,
        cache: TailCache::new(settings.cache_bytes),
        seals: SealQueue::default(),
        clock: MonotoneClock::new(floor),
        facts: Facts::default(),
        poison: OnceLock::new(),
        log: Mutex::new(log(state)),
        positions: RwLock::new(positions),
        _lock: lock,
        settings,
        host,
        json,
    }))
}

/// Where appending goes on. A seq that a heartbeat acknowledged is never given again, even if its event is lost.
fn next(shared: &Shared, recovery: &Recovery, opened: &mut Opened) -> Start {
    let log = shared.log();
    let state = &log.state;
    let last = recovery.tails.last().and_then(|t| t.last());
    let held = last.as_ref().map_or(0, |c| c.end_seq).max(state.next_seq);
    if state.heartbeat_seq > held {
        opened.lost = Some((held, state.heartbeat_seq));
    }
    let wal = recovery.last_wal.max(state.last_wal).map_or(1, |w| w + 1);
    Start { wal, seq: held.max(state.heartbeat_seq), previous: last.map_or(state.last_commit, |c| c.hash) }
}

/// Key, policies and configuration, where they differ from what the log says last; and a checkpoint over whatever was taken over.
fn first_leaves(shared: &Shared, opened: &Opened) -> Result<(), VaultError> {
    let dirty = !opened.recovered.is_empty() || opened.leaves_taken_over > 0;
    shared.facts.unclean.store(dirty, Ordering::Release);
    let mut changes = {
        let log = shared.log();
        let mut out = Vec::new();
        // Also where a vault of the first builds has no hash of its description yet. One that it has is never replaced: a
        // changed file would then be in the right.
        let description = Digest::of(&shared.json.to_bytes());
        match log.state.description {
            Some(known) if known != description => {
                tracing::warn!("`vault.json` is not the one that the log names; `avouch verify` says more");
            }
            _ => {}
        }
        if log.state.log_key.is_none() || log.state.description.is_none() {
            let key = Key {
                what: "log".into(),
                vkey: Some(opened.vkey.clone()),
                signed: None,
                epoch: None,
                description: Some(description),
            };
            out.push(("vault".to_owned(), Body::Key(key)));
        }
        out.extend(changed_settings(
            &log.state,
            &shared.settings,
            shared.clock.read(shared.host.clock.now()).0,
        ));
        out
    };
    while !changes.is_empty() {
        let by = changes.first().map(|(by, _)| by.clone()).unwrap_or_default();
        let n = changes.iter().take_while(|(b, _)| *b == by).count();
        let bodies = changes.drain(..n).map(|(_, body)| body).collect();
        shared.publish(&by, bodies)?;
    }
    // A start is a statement too: silence before it has an end, and whatever was taken over gets its checkpoint.
    shared.heartbeat().map(drop)
}

fn spawn(shared: &Arc<Shared>, start: Start) -> Result<Threads, VaultError> {
    let thread = |name: &str, f: Box<dyn FnOnce() + Send>| {
        std::thread::Builder::new()
            .name(name.into())
            .spawn(f)
            .map_err(|e| VaultError::io("start", &shared.dir, &e))
    };
    let preparer = Preparer::new(Arc::clone(shared), start);
    let syncer = Syncer::new(Arc::clone(shared));
    let (encoding, sealing) = (Arc::clone(shared), Arc::clone(shared));
    let mut threads = vec![
        thread("vault-prepare", Box::new(move || preparer.run()))?,
        thread("vault-encode", Box::new(move || run_encoder(&encoding)))?,
        thread("vault-sync", Box::new(move || syncer.run()))?,
        thread("vault-seal", Box::new(move || seal::run(&sealing)))?,
    ];
    if shared.settings.background {
        let ticking = Arc::clone(shared);
        threads.push(thread("vault-keep", Box::new(move || tick::run(&ticking)))?);
    }
    Ok(threads)
}

/// What was found becomes evidence itself.
fn report(shared: &Shared, opened: &Opened) {
    shared.facts.quarantined.store(opened.quarantined.len() as u64, Ordering::Relaxed);
    let is_quiet = opened.recovered.is_empty() && opened.quarantined.is_empty() && opened.missing.is_empty();
    if is_quiet && opened.leaves_taken_over == 0 && opened.lost.is_none() {
        return;
    }
    let facts = serde_json::json!({
        "wals": opened.recovered,
        "quarantined": opened.quarantined,
        "missing": opened.missing,
        "leaves_taken_over": opened.leaves_taken_over,
        "lost": opened.lost,
    });
    shared.own_event("recovered", &facts);
}
