//! `source`, `sink`, `redrive`, `status`: is it flowing, and what could not be sent.

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};

#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Source {
    #[command(subcommand)]
    pub what: SourceWhat,
}

#[derive(Subcommand, Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceWhat {
    /// Every source: rate, last event, refusals
    List,
    /// Stop taking from a source for a while
    Pause(Switch),
    /// Take from it again
    Resume(Switch),
}

#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Sink {
    #[command(subcommand)]
    pub what: SinkWhat,
}

#[derive(Subcommand, Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SinkWhat {
    /// Every sink: waiting, could not be sent, why held
    List,
    /// Stop sending for a while
    Pause(Switch),
    /// Send again
    Resume(Switch),
}

#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Switch {
    pub name: String,
    /// Kept with the change
    #[arg(long)]
    pub reason: String,
}

#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Redrive {
    #[command(subcommand)]
    pub what: RedriveWhat,
}

#[derive(Subcommand, Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RedriveWhat {
    /// Dead letters by stage and error
    List(RedriveFilter),
    /// One dead letter with its bytes
    Show { seq: u64 },
    /// Send again: back through the decoder of origin, or to the sink that refused
    Run(RedriveRun),
}

#[derive(Args, Clone, Debug, Serialize, Deserialize, Default)]
pub struct RedriveFilter {
    #[arg(long)]
    pub sink: Option<String>,
    #[arg(long)]
    pub source: Option<String>,
}

#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct RedriveRun {
    #[command(flatten)]
    pub filter: RedriveFilter,
    /// Kept with the change
    #[arg(long)]
    pub reason: String,
    /// Say what would be sent, send nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Args, Clone, Debug, Serialize, Deserialize, Default)]
pub struct Status {}

use super::Caller;
use crate::answer::{Answer, Reply};
use crate::daemon::pipeline::needs_daemon;
use crate::daemon::watch::ago;
use crate::node::{Node, Store, now};
use crate::problem::Problem;
use serde_json::json;

pub async fn source(args: &Source, node: &Node, caller: &Caller) -> Reply {
    let mut answer = Answer::new("avouch.source/1").query(args);
    let (switch, pause) = match &args.what {
        SourceWhat::List => return sources(answer, node),
        SourceWhat::Pause(s) => (s, true),
        SourceWhat::Resume(s) => (s, false),
    };
    needs_daemon(node)?.switch_source(node, &switch.name, pause, caller, &switch.reason).await?;
    answer.line(format!(
        "{} {}",
        switch.name,
        if pause { "takes nothing until it is resumed" } else { "takes events again" }
    ));
    Ok(answer)
}

fn sources(answer: Answer, node: &Node) -> Reply {
    let mut answer = answer.table(&[
        "source",
        "kind",
        "state",
        "events",
        "last event",
        "not parsed",
        "redelivered",
        "listens on",
    ]);
    match node.pipeline.get() {
        Some(p) => {
            for s in p.source_states(node) {
                let c = &s.counters;
                let last = c.last_event.known().map_or_else(|| "never".to_owned(), |t| ago(t, now()));
                answer.item(
                    &s,
                    vec![
                        s.name.clone(),
                        s.kind.to_owned(),
                        s.state.to_owned(),
                        c.events.to_string(),
                        last,
                        c.parse_errors.to_string(),
                        c.duplicates.to_string(),
                        s.addresses.join(" "),
                    ],
                );
            }
        }
        None => {
            for name in node.config.sources.keys() {
                answer.unknown.push(format!("source {name}: the daemon is not running"));
            }
        }
    }
    if node.config.sources.is_empty() {
        answer.headings.clear();
        answer.line("no source is configured: `avouch init log-proxy` writes an example");
    }
    Ok(answer)
}

pub async fn sink(args: &Sink, node: &Node, caller: &Caller) -> Reply {
    let mut answer = Answer::new("avouch.sink/1").query(args);
    let (switch, pause) = match &args.what {
        SinkWhat::List => return sinks(answer, node),
        SinkWhat::Pause(s) => (s, true),
        SinkWhat::Resume(s) => (s, false),
    };
    let p = needs_daemon(node)?;
    p.sinks.switch(&switch.name, pause).await?;
    node.audit(
        caller,
        if pause { "sink paused" } else { "sink resumed" },
        &switch.reason,
        json!({ "sink": switch.name }),
    )
    .await?;
    answer.line(format!(
        "{} {}",
        switch.name,
        if pause { "sends nothing until it is resumed; events wait in the vault" } else { "sends again" }
    ));
    Ok(answer)
}

fn sinks(answer: Answer, node: &Node) -> Reply {
    let mut answer =
        answer.table(&["sink", "kind", "state", "waiting to be sent", "sent", "could not be sent", "why"]);
    match node.pipeline.get() {
        Some(p) => {
            for s in p.sinks.states() {
                answer.item(
                    &s,
                    vec![
                        s.name.clone(),
                        s.kind.clone(),
                        s.state.clone(),
                        s.waiting.to_string(),
                        s.done.to_string(),
                        s.dead.to_string(),
                        s.why.clone(),
                    ],
                );
            }
        }
        None => {
            for name in node.config.sinks.keys() {
                answer.unknown.push(format!("sink {name}: the daemon is not running"));
            }
        }
    }
    if node.config.sinks.is_empty() {
        answer.headings.clear();
        answer.line("no sink is configured: everything stays in the vault");
    }
    Ok(answer)
}

/// Dead letters as stored, newest last.
async fn letters(node: &Node, filter: &RedriveFilter) -> Result<Vec<(u64, serde_json::Value)>, Problem> {
    let snapshot = node.snapshot();
    let mut out = Vec::new();
    let each = |batch: &model::Batch, out: &mut Vec<(u64, serde_json::Value)>| {
        for (i, row) in batch.rows.iter().enumerate() {
            if let Ok(v) = serde_json::from_slice::<serde_json::Value>(batch.raw(i)) {
                out.push((row.seq, v));
            }
        }
    };
    let problem = |e: vault::VaultError| crate::node::vault_problem(&e);
    for meta in snapshot.segments_of("avouch.dead_letter") {
        for batch in snapshot.open_segment(&meta, 0).map_err(problem)? {
            each(&batch.map_err(problem)?, &mut out);
        }
    }
    for batch in snapshot.tail("avouch.dead_letter").map_err(problem)? {
        each(&batch, &mut out);
    }
    let fits = |v: &serde_json::Value, key: &str, want: &Option<String>| {
        want.as_ref().is_none_or(|w| v.get(key).and_then(|x| x.as_str()) == Some(w))
    };
    out.retain(|(_, v)| fits(v, "sink", &filter.sink) && fits(v, "source", &filter.source));
    out.sort_by_key(|(seq, _)| *seq);
    Ok(out)
}

pub async fn redrive(args: &Redrive, node: &Node, caller: &Caller) -> Reply {
    let mut answer = Answer::new("avouch.redrive/1").query(args);
    let text =
        |v: &serde_json::Value, key: &str| v.get(key).and_then(|x| x.as_str()).unwrap_or("-").to_owned();
    match &args.what {
        RedriveWhat::List(filter) => {
            answer = answer.table(&["at", "stage", "from", "why", "bytes", "position"]);
            for (seq, v) in letters(node, filter).await? {
                let from = if v.get("sink").is_some() { text(&v, "sink") } else { text(&v, "source") };
                let mut item = v.clone();
                if let Some(m) = item.as_object_mut() {
                    m.insert("position".into(), format!("0:{seq}").into());
                }
                answer.item(
                    &item,
                    vec![
                        text(&v, "time"),
                        text(&v, "stage"),
                        from,
                        text(&v, "reason"),
                        v.get("bytes").map(ToString::to_string).unwrap_or_default(),
                        format!("0:{seq}"),
                    ],
                );
            }
            if answer.items.is_empty() {
                answer.headings.clear();
                answer.line("nothing could not be decoded or sent");
            }
        }
        RedriveWhat::Show { seq } => {
            let all = letters(node, &RedriveFilter::default()).await?;
            let Some((_, v)) = all.into_iter().find(|(s, _)| s == seq) else {
                return Err(Problem::new("redrive.unknown", format!("no dead letter at 0:{seq}"))
                    .hint("`avouch redrive list` shows their positions"));
            };
            node.record_access(caller, "redrive show", json!({ "position": seq })).await?;
            answer.line(serde_json::to_string_pretty(&v).unwrap_or_default());
            answer.items.push(v);
        }
        RedriveWhat::Run(run) => {
            let all = letters(node, &run.filter).await?;
            if run.dry_run {
                answer.line(format!("would send {} again", all.len()));
                return Ok(answer);
            }
            let p = needs_daemon(node)?;
            let (sent, still) = p.redrive(node, &all).await?;
            node.audit(caller, "redrive", &run.reason, json!({ "sent": sent, "still_dead": still })).await?;
            answer.line(format!("{sent} sent again, {still} still cannot be"));
            answer.items.push(json!({ "sent": sent, "still_dead": still }));
            if still > 0 {
                answer.worse(1);
            }
        }
    }
    Ok(answer)
}

pub async fn status(args: &Status, node: &Node) -> Reply {
    let mut answer = Answer::new("avouch.status/1").query(args);
    let at = now();
    let mut item = json!({ "daemon": node.pipeline.get().is_some() });
    match node.pipeline.get() {
        Some(p) => {
            answer.line(format!(
                "running     since {}; pages {}",
                node.started,
                p.page.get().map_or_else(|| "not served".to_owned(), |a| format!("http://{a}"))
            ));
            for s in p.source_states(node) {
                answer.line(format!(
                    "source      {:<18} {:<7} {} events, last {}",
                    s.name,
                    s.state,
                    s.counters.events,
                    s.counters.last_event.known().map_or_else(|| "never".to_owned(), |t| ago(t, at))
                ));
            }
            for s in p.sinks.states() {
                answer.line(format!(
                    "sink        {:<18} {:<7} {} waiting, {} sent, {} could not be sent",
                    s.name, s.state, s.waiting, s.done, s.dead
                ));
            }
            item = json!({ "daemon": true, "page": p.page.get().map(|a| format!("http://{a}")), "sources": p.source_states(node), "sinks": p.sinks.states() });
        }
        None => {
            answer.line("running     no daemon for this data folder");
            answer.line(format!(
                "            start it: {} serve --data-dir {}",
                crate::cli::program(),
                node.data.display()
            ));
        }
    }
    if let Store::Open(v) = &node.store {
        let s = v.status();
        answer.line(format!(
            "vault       {} events, {} segments, {}",
            s.end_seq,
            s.segments,
            match (&s.poisoned, s.is_full) {
                (Some(w), _) => format!("stopped: {w}"),
                (_, true) => "disk full".into(),
                _ => "good".into(),
            }
        ));
        if let Some(d) = node.progress_of("detect") {
            answer.line(format!("detection   {} events behind", s.end_seq.saturating_sub(d)));
        }
        if let Some(m) = item.as_object_mut() {
            m.insert("vault".into(), serde_json::to_value(&s).unwrap_or_default());
            m.insert("detect_position".into(), json!(node.progress_of("detect")));
        }
    }
    let totals = node.hub.state().totals(at);
    answer.line(format!(
        "findings    {}",
        totals
            .open
            .iter()
            .rev()
            .filter(|(_, n)| **n > 0)
            .map(|(b, n)| format!("{n} {b}"))
            .collect::<Vec<_>>()
            .join(", ")
    ));
    if let Some(m) = item.as_object_mut() {
        m.insert("findings".into(), serde_json::to_value(&totals).unwrap_or_default());
    }
    answer.items.push(item);
    Ok(answer)
}
