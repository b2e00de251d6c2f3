//! `avouch verify` as a library: is this vault what its log says, and if not, where.
//!
//! In: a folder and, better, the log's public key. Out: a [`Report`] that is the same whatever the number of jobs (O1).
//! V4: no daemon, no database, no network; nothing of the writer half is used. Everything in the folder is taken as prepared
//! by somebody who wants to be believed: nothing is followed out of it, nothing is read without a bound, nothing panics.
//!
//! | module | answers |
//! |---|---|
//! | `checkpoints` | which roots did the log sign, which do others know of |
//! | `entries` | do entries, tiles and roots agree; which of them was changed |
//! | `leaves` | do the leaves contradict each other: time, parts, seqs, retention |
//! | `files` | is every file there and unchanged, gone if it should be, and known |
//! | `events`, `locate` | which events are behind damaged bytes or altered rows |
//! | `wal` | what is not sealed yet, against heartbeats |
//!
//! Without an anchor from outside (a witness, a checkpoint kept elsewhere) a verifier cannot know that the whole folder is
//! not an old or a freshly made one; the report says so in these words every time.

mod checkpoints;
mod entries;
mod events;
mod files;
mod io;
mod leaves;
mod listing;
mod locate;
mod report;
mod salvage;
mod wal;

pub use self::report::{Counts, FAULTS_MAX, Fault, FaultCode, Level, Report, Verdict};

use crate::error::VaultError;
use crate::format::{Digest, VaultJson, paths};
use crate::merkle::{NOTE_BYTES_MAX, Vkey};
use crate::read::KeyRing;
use crate::traits::{Derive, KeyProvider};
use checkpoints::Claimant;
use leaves::Leaves;
use model::Time;
use report::Findings;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// A vault that is written to while it is checked can look damaged (a file is expired, a frame is half written between two
/// reads). A run that is not clean and during which the vault moved is done again, up to this often.
const RUNS_MAX: usize = 5;

/// A checkpoint that was kept outside the vault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownCheckpoint {
    /// How messages call it, e.g. the file's name.
    pub name: String,
    /// A signed note, or its three lines copied from paper.
    pub bytes: Vec<u8>,
}

/// How to verify.
#[derive(Clone)]
pub struct Options {
    /// The log's key. `None` takes the one in `vault.json`, which whoever changed the log could have changed too.
    pub vkey: Option<Vkey>,
    pub known_checkpoints: Vec<KnownCheckpoint>,
    /// Opens encrypted segments: needed for level `events`, and for columns and seqs of damaged ones.
    pub keys: Option<Arc<dyn KeyProvider>>,
    /// Makes columns from raw, to compare them with the stored ones (level `events`).
    pub derive: Option<Arc<dyn Derive>>,
    pub level: Level,
    /// Files of segments that end before this are not opened.
    pub since: Option<Time>,
    /// Files that are read at the same time.
    pub jobs: usize,
    /// Without an anchor the result is `Incomplete`.
    pub require_anchor: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            vkey: None,
            known_checkpoints: Vec::new(),
            keys: None,
            derive: None,
            level: Level::Files,
            since: None,
            jobs: 1,
            require_anchor: false,
        }
    }
}

/// What every check needs.
struct Context<'a> {
    root: &'a Path,
    options: &'a Options,
    /// Vault id; empty when unknown.
    vault: String,
    keys: KeyRing,
}

/// Verifies the vault in `dir`: the vault folder, or the data folder that has it as `vault/`.
///
/// # Errors
/// There is no vault, or neither a key was given nor one can be read from `vault.json`. Whatever is wrong *in* the vault is a
/// fault in the report, never an error.
pub fn verify(dir: &Path, options: &Options) -> Result<Report, VaultError> {
    let root = vault_folder(dir)?;
    let mut runs = 0;
    loop {
        runs += 1;
        let before = moment(&root);
        let report = run(&root, options)?;
        if report.verdict == Verdict::Proven || runs == RUNS_MAX || moment(&root) == before {
            return Ok(report);
        }
    }
}

/// The checkpoint; path, length and time of each WAL file.
type Moment = (Option<Vec<u8>>, Vec<(String, u64, Option<SystemTime>)>);

/// What a writer changes all the time: the checkpoint, and length and time of the WAL files.
fn moment(root: &Path) -> Moment {
    let checkpoint = io::read_small(root, paths::CHECKPOINT, NOTE_BYTES_MAX).ok().flatten();
    let (files, _) = io::list(root, paths::WAL).unwrap_or_default();
    let wal = files.into_iter().filter_map(|path| {
        let meta = std::fs::symlink_metadata(root.join(&path)).ok()?;
        Some((path, meta.len(), meta.modified().ok()))
    });
    (checkpoint, wal.collect())
}

fn vault_folder(dir: &Path) -> Result<PathBuf, VaultError> {
    let is_vault = |d: &Path| d.join(paths::VAULT_JSON).exists() || d.join(paths::CHECKPOINT).exists();
    [dir.to_owned(), dir.join("vault")]
        .into_iter()
        .find(|d| is_vault(d))
        .ok_or_else(|| VaultError::NoVault { path: dir.display().to_string() })
}

fn run(root: &Path, options: &Options) -> Result<Report, VaultError> {
    let mut found = Findings::default();
    let json = vault_json(root, &mut found);
    let vkey = key(root, options, json.as_ref(), &mut found)?;
    let described = json.as_ref().map(|j| Digest::of(&j.to_bytes()));
    let vault = json.map_or_else(String::new, |j| j.vault);
    let keys = KeyRing::new(root, &vault, options.keys.clone());
    let ctx = Context { root, options, vault, keys };
    let claims = checkpoints::gather(root, options, std::slice::from_ref(&vkey), &mut found);
    let mut leaves = Leaves::new();
    let log =
        entries::check(root, claims, &mut found, &mut |index, bytes, found| leaves.take(index, bytes, found));
    leaves.finish(log.size, log.unread, &mut found);
    if let Some((index, named)) = leaves.log_keys.last().filter(|(_, named)| *named != vkey.to_string()) {
        let fault = Fault::new(FaultCode::LogKey, "the log names another signing key").leaf(*index);
        found.fault(fault.differs(&vkey, named));
    }
    description(&leaves, described, &mut found);
    if options.level >= Level::Files {
        files::check(&ctx, &leaves, log.unread, &mut found);
        wal::check(&ctx, &leaves, log.unread, &mut found);
    }
    let anchors = notes(&ctx, &log, &leaves, &mut found);
    Ok(report(ctx, vkey, log, &leaves, anchors, found))
}

/// Every byte of `vault.json` is under the log: its form is checked when it is read, its hash here.
fn description(leaves: &Leaves, is: Option<Digest>, found: &mut Findings) {
    match (leaves.description, is) {
        (Some((index, was)), Some(is)) if was != is => {
            let fault = Fault::new(FaultCode::VaultJson, "it is not the one that the log names");
            found.fault(fault.file(paths::VAULT_JSON).leaf(index).differs(was, is));
        }
        (None, _) => found.note(
            "description_not_logged",
            "`vault.json` is under no leaf: the next start of the vault writes one",
        ),
        _ => {}
    }
}

/// `vault.json`. It proves nothing, so a missing one is a fault and not the end.
fn vault_json(root: &Path, found: &mut Findings) -> Option<VaultJson> {
    let fault = |detail: String| Fault::new(FaultCode::VaultJson, detail).file(paths::VAULT_JSON);
    match VaultJson::read(root) {
        Ok(Some(json)) => {
            let on_disk = io::read_small(root, paths::VAULT_JSON, NOTE_BYTES_MAX).ok().flatten();
            if on_disk.as_deref() != Some(&json.to_bytes()) {
                found.fault(fault("not in the form in which it was written".into()));
            }
            Some(json)
        }
        Ok(None) => {
            found.fault(fault("missing".into()));
            None
        }
        Err(e) => {
            found.fault(fault(e.to_string()));
            None
        }
    }
}

fn key(
    root: &Path,
    options: &Options,
    json: Option<&VaultJson>,
    found: &mut Findings,
) -> Result<Vkey, VaultError> {
    let fault = |detail: String| Fault::new(FaultCode::VaultJson, detail).file(paths::VAULT_JSON);
    let named = json.and_then(|j| j.vkey.parse::<Vkey>().ok());
    if let (Some(json), None) = (json, &named) {
        found.fault(fault(format!("`{}` is no verification key", json.vkey)));
    }
    match (&options.vkey, named) {
        (Some(pinned), named) => {
            if let Some(named) = named.filter(|n| n != pinned) {
                let fault = fault("it names another log key than the pinned one".into());
                found.fault(fault.differs(pinned, named));
            }
            if let Some(json) = json.filter(|j| j.origin != pinned.name()) {
                let fault = fault("it names another origin than the pinned key".into());
                found.fault(fault.differs(pinned.name(), &json.origin));
            }
            Ok(pinned.clone())
        }
        (None, Some(named)) => {
            found.note("key_not_pinned", "key not pinned: it was taken from vault.json, which whoever rewrote the log could have rewritten too; give --key");
            Ok(named)
        }
        (None, None) => {
            let path = root.join(paths::VAULT_JSON);
            Err(VaultError::corrupt(&path, "no verification key was given and none can be read from it"))
        }
    }
}

/// What a reader of the report must know; gives back the anchors.
fn notes(ctx: &Context<'_>, log: &entries::Log, leaves: &Leaves, found: &mut Findings) -> Vec<String> {
    let mut anchors = Vec::new();
    for claim in &log.held {
        if let Claimant::Known(name) = &claim.by {
            anchors.push(format!("{name}: size {}, root {}", claim.size, Digest(claim.root)));
        }
    }
    if anchors.is_empty() {
        found.note("no_anchor", "no external anchor: truncation and full rewrite cannot be excluded");
        if ctx.options.require_anchor {
            found.unchecked.push("an external anchor is required and none was given".into());
        }
    }
    if log.unpublished > 0 {
        let text = format!(
            "{} files of the log reach beyond its checkpoint: the writer was stopped before it signed, or an older checkpoint was put back",
            log.unpublished
        );
        found.note("unpublished", text);
    }
    found.note("no_witness", "no witness: ages for retention are by the vault's own clock");
    found.note("no_mac", "no auditor key: what is newer than the last heartbeat is not authenticated against the host's administrator");
    found.note(
        "left_out",
        "not checked by this version: texts behind hashed leaves, key rotation, quorum of witnesses",
    );
    let encrypted = leaves.sealed.values().filter(|s| s.segment.dek.is_some() && s.expired.is_none()).count();
    if ctx.options.keys.is_none() && encrypted > 0 {
        let text = format!(
            "no data key was given: {encrypted} encrypted segments are checked as bytes; events in them are not re-hashed, and damage is not mapped to columns"
        );
        found.note("no_data_key", text);
    }
    if ctx.root.join(paths::LOCK).exists() {
        found.note("lock", "`lock` is no evidence");
    }
    anchors
}

fn report(
    ctx: Context<'_>,
    vkey: Vkey,
    log: entries::Log,
    leaves: &Leaves,
    anchors: Vec<String>,
    mut found: Findings,
) -> Report {
    found.faults.sort();
    found.faults.dedup();
    found.unchecked.sort();
    found.unchecked.dedup();
    let verdict = match (found.faults.is_empty(), found.unchecked.is_empty()) {
        (false, _) => Verdict::Damaged,
        (true, false) => Verdict::Incomplete,
        (true, true) => Verdict::Proven,
    };
    Report {
        verdict,
        level: ctx.options.level,
        vault: ctx.vault,
        origin: vkey.name().to_owned(),
        size: log.size,
        root: Digest(log.root),
        until: leaves.last_time,
        checked: found.checked,
        anchors,
        faults: found.faults,
        more_faults: found.dropped,
        notes: found.notes,
        unchecked: found.unchecked,
    }
}
