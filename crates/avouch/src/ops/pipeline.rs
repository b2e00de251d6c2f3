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
use crate::daemon::redrive;
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

fn wanted(filter: &RedriveFilter) -> redrive::Wanted {
    redrive::Wanted { sink: filter.sink.clone(), source: filter.source.clone(), without_bytes: false }
}

/// Off the runtime: segments are read.
async fn book(node: &Node, filter: &RedriveFilter) -> Result<redrive::Book, Problem> {
    let (snapshot, wanted) = (node.snapshot(), wanted(filter));
    tokio::task::spawn_blocking(move || redrive::read(&snapshot, &wanted)).await.map_err(|e| {
        Problem::new("internal.task", "reading dead letters did not finish").because(&e).defect()
    })?
}

pub async fn redrive(args: &Redrive, node: &Node, caller: &Caller) -> Reply {
    let mut answer = Answer::new("avouch.redrive/1").query(args);
    match &args.what {
        RedriveWhat::List(filter) => {
            answer = answer.table(&["at", "stage", "from", "why", "bytes", "position"]);
            let book = book(node, filter).await?;
            let open: Vec<&redrive::Letter> = book.letters.iter().filter(|l| l.is_open).collect();
            for letter in &open {
                list_letter(&mut answer, letter);
            }
            let settled = book.letters.len() - open.len();
            if answer.items.is_empty() {
                answer.headings.clear();
                answer.line(match settled {
                    0 => "nothing could not be decoded or sent".to_owned(),
                    n => format!("nothing is open; {n} were settled"),
                });
            }
        }
        RedriveWhat::Show { seq } => {
            let book = book(node, &RedriveFilter::default()).await?;
            let Some(letter) = book.letters.into_iter().find(|l| l.position == *seq) else {
                return Err(Problem::new("redrive.unknown", format!("no dead letter at 0:{seq}"))
                    .hint("`avouch redrive list` shows their positions"));
            };
            node.record_access(caller, "redrive show", json!({ "position": seq })).await?;
            answer.line(serde_json::to_string_pretty(&letter.value).unwrap_or_default());
            answer.items.push(letter.value);
        }
        RedriveWhat::Run(run) => {
            let open = book(node, &run.filter).await?.letters.iter().filter(|l| l.is_open).count();
            if run.dry_run {
                answer.line(format!("would send {open} again"));
                answer.items.push(json!({ "open": open }));
                return Ok(answer);
            }
            let p = needs_daemon(node)?;
            let done = redrive::run(node, p, &wanted(&run.filter), &caller.name, &run.reason).await?;
            let counts = json!({ "sent": done.sent, "refused_again": done.refused_again, "expired": done.expired, "left_open": done.left_open, "stopped": done.stopped });
            node.audit(caller, "redrive", &run.reason, counts.clone()).await?;
            answer.line(format!(
                "{} sent again, {} refused again, {} no longer kept, {} left open",
                done.sent, done.refused_again, done.expired, done.left_open
            ));
            for why in &done.stopped {
                answer.line(format!("stopped: {why}"));
            }
            answer.items.push(counts);
            if done.refused_again + done.left_open + done.expired > 0 {
                answer.worse(1);
            }
        }
    }
    Ok(answer)
}

fn list_letter(answer: &mut Answer, letter: &redrive::Letter) {
    let text = |key: &str| letter.value.get(key).and_then(|x| x.as_str()).unwrap_or_default().to_owned();
    let or = |a: String, b: String| if a.is_empty() { b } else { a };
    let mut item = letter.value.clone();
    if let Some(m) = item.as_object_mut() {
        m.insert("position".into(), format!("0:{}", letter.position).into());
    }
    let refusal = format!("{} {} {}", text("class"), text("code"), text("text"));
    answer.item(
        &item,
        vec![
            or(text("time"), text("last_at")),
            text("stage"),
            or(text("sink"), text("source")),
            or(text("reason"), refusal.trim().to_owned()),
            letter.value.get("bytes").map_or_else(|| "-".to_owned(), ToString::to_string),
            format!("0:{}", letter.position),
        ],
    );
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
