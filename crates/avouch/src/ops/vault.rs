//! `vault`: what is kept, sealed and due to go.

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};

#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct VaultCmd {
    #[command(subcommand)]
    pub what: What,
}

#[derive(Subcommand, Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Datasets and segments
    Ls(Ls),
    /// Sealed? checked? anything put aside?
    Status,
    /// Seal what is still open now
    Seal,
    /// Remove what its retention lets go
    Expire(Expire),
    /// Policy per dataset: configured, effective, oldest kept
    Retention,
}

#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Ls {
    /// One line per segment instead of one per dataset
    #[arg(long)]
    pub segments: bool,
}

#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Expire {
    /// Print what would go, change nothing
    #[arg(long)]
    pub dry_run: bool,
}

use super::Caller;
use crate::answer::{Answer, Reply};
use crate::node::{Node, Store, now, vault_problem};
use serde_json::json;

/// Bytes for people.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS.get(unit).unwrap_or(&"")) }
}

pub async fn vault(args: &VaultCmd, node: &Node, caller: &Caller) -> Reply {
    match &args.what {
        What::Ls(ls) if ls.segments => Ok(segments(node)),
        What::Ls(_) | What::Retention => datasets(node, args),
        What::Status => status(node),
        What::Seal => {
            node.audit(caller, "vault sealed", "asked for", json!({})).await?;
            let v = node.vault()?;
            v.seal_now().await.map_err(|e| vault_problem(&e))?;
            let s = v.status();
            let mut answer = Answer::new("avouch.vault.seal/1").query(args);
            answer.line(format!(
                "sealed: {} segments, {} events up to 0:{}",
                s.segments,
                s.datasets.values().map(|d| d.rows).sum::<u64>(),
                s.end_seq.saturating_sub(1)
            ));
            Ok(answer)
        }
        What::Expire(e) => {
            let v = node.vault()?;
            let mut answer = Answer::new("avouch.vault.expire/1").query(args);
            let expired = if e.dry_run {
                v.expire_dry_run(now())
            } else {
                node.audit(caller, "vault expiry", "asked for", json!({})).await?;
                v.expire(now()).await.map_err(|e| vault_problem(&e))?
            };
            answer.line(format!(
                "{} {} segments, {} events, {}",
                if e.dry_run { "would remove" } else { "removed" },
                expired.segments.len(),
                expired.rows,
                size(expired.bytes)
            ));
            answer.items.push(json!({ "segments": expired.segments.len(), "rows": expired.rows, "bytes": expired.bytes, "dry_run": e.dry_run }));
            Ok(answer)
        }
    }
}

fn segments(node: &Node) -> Answer {
    let mut answer = Answer::new("avouch.vault.segments/1")
        .table(&["leaf", "dataset", "day", "events", "bytes", "first", "last", "file"]);
    let snapshot = node.snapshot();
    for s in snapshot.segments() {
        let item = json!({ "leaf": s.leaf, "dataset": &*s.dataset, "day": &*s.day, "rows": s.rows, "bytes": s.bytes, "seq": [s.seq.0, s.seq.1], "received": [s.received.0, s.received.1], "path": s.info.path });
        answer.item(
            item,
            vec![
                s.leaf.to_string(),
                s.dataset.to_string(),
                s.day.to_string(),
                s.rows.to_string(),
                size(s.bytes),
                s.seq.0.to_string(),
                s.seq.1.to_string(),
                s.info.path.clone(),
            ],
        );
    }
    for m in snapshot.missing() {
        answer.unknown.push(format!("segment {} of {} is missing on the disk", m.info.path, m.dataset));
    }
    answer
}

fn datasets(node: &Node, args: &VaultCmd) -> Reply {
    let v = node.vault()?;
    let s = v.status();
    let mut answer = Answer::new("avouch.vault.ls/1").query(args).table(&[
        "dataset",
        "events",
        "not sealed yet",
        "on disk",
        "oldest",
        "newest",
        "kept for",
    ]);
    for (name, d) in &s.datasets {
        let t = |t: Option<model::Time>| t.map_or_else(|| "-".to_owned(), |t| t.to_string());
        answer.item(json!({ "dataset": name, "rows": d.rows, "unsealed_rows": d.unsealed_rows, "sealed_bytes": d.sealed_bytes, "oldest": d.oldest, "newest": d.newest, "max_age": d.max_age }),
            vec![name.clone(), d.rows.to_string(), d.unsealed_rows.to_string(), size(d.sealed_bytes), t(d.oldest), t(d.newest), d.max_age.clone().unwrap_or_else(|| "-".into())]);
    }
    if s.datasets.is_empty() {
        answer.headings.clear();
        answer.line("nothing is kept yet: add a source, or look at made-up data with `avouch demo`");
    }
    Ok(answer)
}

fn status(node: &Node) -> Reply {
    let mut answer = Answer::new("avouch.vault.status/1");
    match &node.store {
        Store::Files(_) => answer.line("read beside its writer: only that process knows more"),
        Store::Open(v) => {
            let s = v.status();
            answer.items.push(serde_json::to_value(&s).unwrap_or_default());
            let state = match (&s.poisoned, s.is_full) {
                (Some(why), _) => format!("stopped: {why}"),
                (None, true) => "the disk is full: sources wait, nothing is lost".to_owned(),
                (None, false) => "good".to_owned(),
            };
            answer.line(format!("state       {state}"));
            answer.line(format!(
                "events      {} up to 0:{}; {} not sealed yet",
                s.datasets.values().map(|d| d.rows).sum::<u64>(),
                s.end_seq.saturating_sub(1),
                s.unsealed_rows
            ));
            answer.line(format!("sealed      {} segments, {}", s.segments, size(s.sealed_bytes)));
            answer.line(format!(
                "checkpoint  {} leaves, {}",
                s.tree_size,
                s.checkpoint_time.map_or_else(|| "none yet".to_owned(), |t| t.to_string())
            ));
            answer.line(format!("log key     {}", s.vkey));
            if s.quarantined > 0 {
                answer.line(format!("put aside   {} files in quarantine/: recovery could not use them; each has a .json saying why", s.quarantined));
            }
            for m in &s.missing {
                answer.unknown.push(format!("{m} is missing on the disk"));
            }
            answer.line(format!("check it    avouch verify {}", node.data.display()));
        }
    }
    Ok(answer)
}
