//! `event show`: one thing that happened, six lines first.

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};

#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    #[command(subcommand)]
    pub what: EventCmd,
}

#[derive(Subcommand, Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventCmd {
    /// Who, what, when, where, details, result; then envelope, fields and raw bytes
    Show(EventShow),
}

#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct EventShow {
    /// Event id (22 characters), or <shard>:<seq>
    #[arg(allow_hyphen_values = true)]
    pub id: String,
    /// Write a proof that this event is in the log, checkable offline with `avouch verify --event`
    #[arg(long, value_name = "FILE")]
    pub proof: Option<std::path::PathBuf>,
    /// Print the raw bytes and nothing else
    #[arg(long)]
    pub raw: bool,
}

use super::Caller;
use crate::answer::{Answer, Reply};
use crate::node::{Node, vault_problem};
use crate::problem::Problem;

/// The event that a person names: 22 characters, or shard and seq.
pub async fn find(node: &Node, id: &str) -> Result<vault::StoredEvent, Problem> {
    let snapshot = node.snapshot();
    let name = id.to_owned();
    let looked = tokio::task::spawn_blocking(move || {
        if let Some((_, seq)) = name.split_once(':') {
            return match seq.parse() {
                Ok(seq) => snapshot.event_at(seq),
                Err(_) => Ok(None),
            };
        }
        match name.parse() {
            Ok(id) => snapshot.find_event(id),
            Err(_) => Ok(None),
        }
    })
    .await
    .map_err(|e| {
        Problem::new("internal.task", "looking for the event did not finish").because(&e).defect()
    })?;
    looked.map_err(|e| vault_problem(&e))?.ok_or_else(|| unknown(id))
}

fn unknown(id: &str) -> Problem {
    Problem::new("event.unknown", format!("no event `{id}`")).hint("an id has 22 characters, a position looks like 0:1234; it may have expired: `avouch vault retention`")
}

pub async fn event(args: &Event, node: &Node, caller: &Caller) -> Reply {
    let EventCmd::Show(args) = &args.what;
    let note = node
        .record_access(caller, "event show", serde_json::json!({ "event": args.id, "raw": args.raw }))
        .await?;
    let stored = find(node, &args.id).await?;
    let batch = &stored.batch;
    let Some(row) = batch.rows.first() else {
        return Err(unknown(&args.id));
    };
    let raw = batch.raw(0);
    let dataset = batch.dataset_of(0);
    let mut answer = Answer::new("avouch.event/1").query(args);
    if args.raw {
        use base64::Engine as _;
        let bytes = base64::engine::general_purpose::STANDARD.encode(raw);
        answer.items.push(serde_json::json!({ "id": args.id, "raw_base64": bytes }));
        answer.bytes = Some(bytes);
        return Ok(answer);
    }
    let six = shape::six_lines(dataset, raw, &shape::Facts::of(batch, 0));
    for (label, text) in six.lines() {
        answer.line(format!("{label:<11} {}", model::escape_controls(text)));
    }
    for n in &six.notes {
        answer.line(format!("{:<11} {}", "note", model::escape_controls(n)));
    }
    answer.line("");
    let p = batch.provenance_of(0);
    let opt = |o: &Option<std::sync::Arc<str>>| o.as_deref().unwrap_or("-").to_owned();
    let envelope = [
        ("id", row.id.to_string()),
        ("position", format!("0:{}", row.seq)),
        ("dataset", dataset.to_owned()),
        ("received", row.received.to_string()),
        ("source", p.source.to_string()),
        ("sender", opt(&p.sender)),
        ("account", opt(&p.account)),
        ("region", opt(&p.region)),
        ("origin", opt(&p.origin)),
        ("flags", row.flags.names().collect::<Vec<_>>().join(" ")),
        ("drill", opt(&p.canary)),
    ];
    answer.line("envelope (what we know of the delivery, never from the record itself)");
    for (k, v) in &envelope {
        if !v.is_empty() && v != "-" {
            answer.line(format!("  {k:<9} {}", model::escape_controls(v)));
        }
    }
    answer.line(match &stored.segment {
        Some(s) => format!("  sealed    in {} (leaf {})", s.info.path, s.leaf),
        None => "  sealed    not yet".to_owned(),
    });
    let fields = shape::parsed(dataset, raw);
    answer.line("");
    answer.line("raw");
    const RAW_SHOWN: usize = 4_000;
    let text = String::from_utf8_lossy(raw);
    let shown: String = text.chars().take(RAW_SHOWN).collect();
    answer.line(format!("  {}", model::escape_controls(&shown)));
    if shown.len() < text.len() {
        answer.line(format!(
            "  … {} of {} bytes shown; all: avouch event show {} --raw",
            shown.len(),
            raw.len(),
            args.id
        ));
    }
    if let Some(path) = &args.proof {
        let proof = proof(node, row.seq).await?;
        answer.files.push((path.clone(), proof));
        answer.after.push(format!(
            "proof written to {0}; check it: avouch verify --event {0} RAW --key VKEY",
            path.display()
        ));
    }
    answer.after.extend(note.map(str::to_owned));
    let map: serde_json::Map<String, serde_json::Value> =
        envelope.iter().map(|(k, v)| ((*k).to_owned(), v.clone().into())).collect();
    answer.items.push(serde_json::json!({ "six_lines": six, "envelope": map, "fields": fields, "raw": text, "sealed": stored.segment.is_some() }));
    Ok(answer)
}

/// Proof of one event; the heartbeat it needs is made now when it lies behind the last one.
pub async fn proof(node: &Node, seq: u64) -> Result<String, Problem> {
    if let crate::node::Store::Open(v) = &node.store {
        v.checkpoint_now().await.map_err(|e| vault_problem(&e))?;
    }
    let (dir, snapshot) = (node.vault_dir.clone(), node.snapshot());
    let made = tokio::task::spawn_blocking(move || vault::proof::make(&dir, &snapshot, &[seq]))
        .await
        .map_err(|e| Problem::new("internal.task", "making the proof did not finish").because(&e).defect())?;
    let mut all = made.map_err(|e| Problem::new(e.code(), e.to_string()).hint(e.hint()))?;
    all.pop().ok_or_else(|| {
        Problem::new("proof.no_event", format!("no proof for 0:{seq}"))
            .hint("search for the event again; it may have expired: `avouch vault retention`")
    })
}
