//! `verify`: the evidence checked from files and a public key alone. No daemon, no database, no network (V4).

use super::finish;
use crate::answer::Answer;
use crate::cli::Global;
use crate::client;
use crate::files;
use crate::node::{Node, ShapeColumns, vault_problem};
use crate::problem::Problem;
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vault::merkle::Vkey;
use vault::verify::{KnownCheckpoint, Level, Options, Verdict};
use vault::{LocalKeys, SystemRandom};

#[derive(Args)]
pub struct Verify {
    /// Data folder, or the vault folder in it [default: the data folder]
    pub dir: Option<PathBuf>,
    /// The log's verification key, from where an intruder of this machine cannot change it
    #[arg(long, value_name = "VKEY")]
    pub key: Option<String>,
    /// A checkpoint that was kept elsewhere (a file, or its three lines copied from paper)
    #[arg(long, value_name = "FILE")]
    pub known_checkpoint: Vec<PathBuf>,
    /// The key-encryption key: opens encrypted segments, for `--level events` and for naming damaged events
    #[arg(long, value_name = "FILE")]
    pub data_key: Option<PathBuf>,
    /// How deep to look
    #[arg(long, value_enum, default_value_t = Depth::Files)]
    pub level: Depth,
    /// Leave out segments that end before this
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Files read at the same time
    #[arg(long, default_value_t = 1)]
    pub jobs: usize,
    /// Exit 3 when no checkpoint kept elsewhere backs the answer
    #[arg(long)]
    pub require_anchor: bool,
    /// Check the proof of one event instead: PROOF RAW
    #[arg(long, num_args = 2, value_names = ["PROOF", "RAW"])]
    pub event: Option<Vec<PathBuf>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Depth {
    /// Signatures, tree, leaves
    Log,
    /// And every file
    Files,
    /// And every event
    Events,
}

pub fn run(args: &Verify, global: &Global) -> Result<u8, Problem> {
    if let Some(files) = &args.event {
        return event(args, files, global);
    }
    let dir = match &args.dir {
        Some(d) => d.clone(),
        None => client::find(global)?.data,
    };
    let mut options = options(args.key.as_deref(), args.data_key.as_deref())?;
    options.level = match args.level {
        Depth::Log => Level::Log,
        Depth::Files => Level::Files,
        Depth::Events => Level::Events,
    };
    options.jobs = args.jobs.max(1);
    options.require_anchor = args.require_anchor;
    options.since =
        args.since.as_deref().map(|s| crate::ops::search::moment(s, crate::node::now())).transpose()?;
    for path in &args.known_checkpoint {
        let bytes = read(path, files::NOTE_BYTES_MAX)?;
        options.known_checkpoints.push(KnownCheckpoint { name: path.display().to_string(), bytes });
    }
    let report = vault::verify::verify(&dir, &options)
        .map_err(|e| Problem::new(e.code(), e.to_string()).hint(e.hint()))?;
    let mut answer = Answer::new("avouch.verify/1")
        .query(serde_json::json!({ "dir": dir.display().to_string(), "level": report.level }));
    let c = &report.checked;
    answer.line(match report.verdict {
        Verdict::Proven => "nothing changed".to_owned(),
        Verdict::Damaged => format!("DAMAGED: {} place(s)", report.faults.len() as u64 + report.more_faults),
        Verdict::Incomplete => "not everything could be checked".to_owned(),
    });
    answer.line(format!(
        "checked   {} leaves up to {}, {} segments, {} files, {}{}",
        c.leaves,
        report.until,
        c.segments,
        c.files,
        crate::ops::vault::size(c.file_bytes),
        if c.events > 0 { format!(", {} events re-hashed", c.events) } else { String::new() }
    ));
    if c.expired > 0 {
        answer.line(format!("expired   {} segments, each with its expire leaf", c.expired));
    }
    answer.line(format!("log       {} size {} root {}", report.origin, report.size, report.root));
    for a in &report.anchors {
        answer.line(format!("anchor    {a}"));
    }
    for f in &report.faults {
        answer.line(format!("damage    {f}"));
        answer.items.push(serde_json::to_value(f).unwrap_or_default());
    }
    if report.more_faults > 0 {
        answer.line(format!("damage    {} more", report.more_faults));
    }
    for text in report.notes.values().flatten() {
        answer.line(format!("note      {text}"));
    }
    for u in &report.unchecked {
        answer.unknown.push(u.clone());
    }
    answer.run.insert("report".into(), serde_json::to_value(&report).unwrap_or_default());
    answer.worse(report.exit_code());
    finish(&answer, global)
}

/// Options with a pinned key and a data key, where given.
fn options(key: Option<&str>, data_key: Option<&Path>) -> Result<Options, Problem> {
    let mut options = Options::default();
    if let Some(text) = key {
        options.vkey = Some(vkey(text)?);
    }
    if let Some(path) = data_key {
        let keys = LocalKeys::read(path).map_err(|e| Problem::new(e.code(), e.to_string()).hint(e.hint()))?;
        options.keys = Some(Arc::new(keys));
    }
    options.derive = Some(Arc::new(ShapeColumns));
    Ok(options)
}

fn read(path: &Path, max: u64) -> Result<Vec<u8>, Problem> {
    files::read(path, max).map_err(|e| {
        Problem::new("verify.unreadable", format!("cannot read `{}`", path.display()))
            .because(&e)
            .hint("name a file that exists: a checkpoint, PROOF or RAW")
    })
}

/// The key itself, or the file that holds it.
fn vkey(text: &str) -> Result<Vkey, Problem> {
    let written = files::read_text(Path::new(text), files::TEXT_BYTES_MAX);
    // What a file holds is not repeated: it may be the wrong one, and a secret.
    written.as_deref().unwrap_or(text).trim().parse().map_err(|_| {
        Problem::new("verify.bad_key", format!("`{text}` is no verification key"))
            .hint("write the vkey text, or the file that holds it: `avouch vault status` prints it")
    })
}

/// Options for checking a node's own vault with its own keys: what drills and the page use.
pub fn options_for(node: &Node) -> Result<Options, Problem> {
    let paths = crate::node::Paths::of(&node.data, &node.config);
    let (keys, _) = LocalKeys::open(&paths.kek, Arc::new(SystemRandom), &vault::LocalDisk)
        .map_err(|e| Problem::new(e.code(), e.to_string()).hint(e.hint()))?;
    Ok(Options { keys: Some(Arc::new(keys)), derive: Some(Arc::new(ShapeColumns)), ..Options::default() })
}

/// The verifier over a node's own files up to now, noted as its newest check: what the page, the schedule and the demo run.
///
/// # Errors
/// The vault is not ours to write, its keys cannot be had, or it cannot be read at all. Damage is in the report.
pub async fn whole(node: &Node, level: Level) -> Result<vault::verify::Report, Problem> {
    node.vault()?.checkpoint_now().await.map_err(|e| vault_problem(&e))?;
    let options = Options { level, ..options_for(node)? };
    let dir = node.vault_dir.clone();
    let report = tokio::task::spawn_blocking(move || vault::verify::verify(&dir, &options))
        .await
        .map_err(|e| Problem::new("internal.task", "verification did not finish").because(&e).defect())?
        .map_err(|e| vault_problem(&e))?;
    node.note_check(report.exit_code());
    Ok(report)
}

fn event(args: &Verify, files: &[PathBuf], global: &Global) -> Result<u8, Problem> {
    let [proof, raw] = files else {
        return Err(Problem::new("usage.event", "--event takes PROOF and RAW")
            .hint("`avouch event show ID --proof PROOF` and `avouch event show ID --raw > RAW` make them"));
    };
    let Some(key) = args.key.as_deref() else {
        return Err(Problem::new("verify.no_key", "a proof is checked with the log's key: --key VKEY")
            .hint("`avouch vault status` prints it; keep it where the vault's host cannot change it"));
    };
    let vkey = vkey(key)?;
    let mut answer = Answer::new("avouch.verify.event/1");
    match vault::proof::check(
        &read(proof, files::NOTE_BYTES_MAX)?,
        &read(raw, files::EVENT_BYTES_MAX)?,
        &vkey,
    ) {
        Ok(checked) => {
            answer.line("proven: this event is in the log, unchanged");
            answer.line(format!(
                "dataset   {}, position 0:{}, received {}",
                checked.dataset, checked.seq, checked.received
            ));
            answer.line(format!(
                "log       {} size {} root {}, leaf {}",
                checked.origin, checked.size, checked.root, checked.leaf_index
            ));
            answer.items.push(serde_json::json!({ "origin": checked.origin, "size": checked.size, "root": checked.root.to_string(), "leaf": checked.leaf_index, "dataset": checked.dataset, "seq": checked.seq, "received": checked.received, "envelope": checked.envelope }));
        }
        Err(e) => {
            answer.line(format!("NOT proven: {e}"));
            answer.line(format!("hint: {}", e.hint()));
            answer.worse(4);
        }
    }
    finish(&answer, global)
}
