//! `findings` and `alerts`.

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};

#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Findings {
    #[command(subcommand)]
    pub what: What,
}

#[derive(Subcommand, Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// What is wrong now
    List(List),
    /// One finding with its evidence
    Show(One),
    /// Hide deliberately, until a date
    Suppress(Suppress),
    /// Every suppression and intended access, ended ones too
    Suppressions,
    /// Move the end of a suppression
    Prolong(Prolong),
    /// End a suppression now
    Unsuppress(Act),
    /// Dealt with
    Resolve(Act),
    /// Not dealt with after all
    Reopen(Act),
    /// Give it to somebody
    Assign(Assign),
    /// Add a remark
    Note(Act),
    /// Why we say so: every predicate with the value it saw
    Explain(One),
}

#[derive(Args, Clone, Debug, Serialize, Deserialize, Default)]
pub struct List {
    /// info, low, medium, high, critical; `high+` for that and above
    #[arg(long)]
    pub severity: Option<String>,
    /// open, resolved, suppressed, all
    #[arg(long)]
    pub state: Option<String>,
    #[arg(long)]
    pub account: Option<String>,
    #[arg(long = "type")]
    pub finding_type: Option<String>,
    /// Further filters as key=value, as in the address of the Findings page
    pub filters: Vec<String>,
    #[arg(long)]
    pub sort: Option<String>,
    #[arg(long, default_value_t = 200)]
    pub limit: usize,
    /// Exit 1 when an open, unsuppressed finding at or above this severity exists
    #[arg(long, value_name = "SEVERITY")]
    pub fail_on: Option<String>,
}

#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct One {
    /// Finding id, or its first characters
    #[arg(allow_hyphen_values = true)]
    pub id: String,
}

#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Act {
    /// Finding id, or its first characters; to end a suppression, its own id does as well
    #[arg(allow_hyphen_values = true)]
    pub id: String,
    /// Kept with the change
    #[arg(long)]
    pub reason: String,
}

#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Assign {
    /// Finding id, or its first characters
    #[arg(allow_hyphen_values = true)]
    pub id: String,
    #[arg(long)]
    pub to: String,
    #[arg(long)]
    pub reason: String,
}

#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Suppress {
    /// Finding id or its first characters; or key=value, as in the address of the Findings page: `rule=access.external.account principal=222233334444`
    #[arg(allow_hyphen_values = true, value_name = "ID | KEY=VALUE")]
    pub what: String,
    /// All of them must hold
    #[arg(value_name = "KEY=VALUE")]
    pub and: Vec<String>,
    /// Who answers for it
    #[arg(long)]
    pub owner: String,
    #[arg(long)]
    pub reason: String,
    /// End: a date (2026-05-01), an RFC 3339 time, or a period such as 30d; at most 400 days
    #[arg(long)]
    pub until: String,
    /// A second person, where it hides what is critical or much
    #[arg(long)]
    pub approver: Option<String>,
    /// Access from outside that is meant to be there
    #[arg(long)]
    pub intended: bool,
    /// Say what it would hide, and hide nothing
    #[arg(long)]
    pub preview: bool,
}

#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Prolong {
    /// Suppression, as `avouch findings suppressions` prints it
    pub id: String,
    /// The new end: a date, an RFC 3339 time, or a period such as 30d
    #[arg(long)]
    pub until: String,
    #[arg(long)]
    pub reason: String,
}

#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Alerts {
    #[command(subcommand)]
    pub what: AlertsCmd,
}

#[derive(Subcommand, Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertsCmd {
    /// Every alert with its delivery receipts
    List,
    /// Send a real test message over a route
    Test { route: String },
}

use super::search::moment;
use super::{Caller, suppressions};
use crate::answer::{Answer, Reply};
use crate::daemon::alerting;
use crate::daemon::hub::{by, problem};
use crate::daemon::pipeline::needs_daemon;
use crate::node::{Node, now};
use crate::problem::Problem;
use findings::{Command, Filter, NewSuppression, Selector, SuppressionKind};
use model::{Severity, Time};

pub async fn findings(args: &Findings, node: &Node, caller: &Caller) -> Reply {
    let one = |id: &str| -> Result<model::FindingId, Problem> {
        Ok(node.hub.state().find(id).map_err(|e| problem(&e))?.id())
    };
    let (command, why, said) = match &args.what {
        What::List(list) => return self::list(list, node),
        What::Show(o) | What::Explain(o) => return show(&o.id, node),
        What::Suppressions => return suppressions::list(node),
        What::Suppress(s) => {
            let selector = if s.what.contains('=') || !s.and.is_empty() {
                suppressions::selector(std::iter::once(&s.what).chain(&s.and))?
            } else {
                Selector::one(one(&s.what)?)
            };
            let until = end(&s.until)?;
            if s.preview {
                return suppressions::preview(&selector, node);
            }
            let kind = if s.intended { SuppressionKind::Intended } else { SuppressionKind::Suppression };
            let new = NewSuppression {
                selector,
                kind,
                owner: s.owner.clone(),
                approver: s.approver.clone(),
                ticket: None,
                from: Time::NONE,
                until,
            };
            let what = if s.intended { "intended" } else { "deliberately hidden" };
            (
                Command::Suppress { new },
                s.reason.clone(),
                format!("{what} until {}, {} answers for it", until.day(), s.owner),
            )
        }
        What::Prolong(p) => {
            let until = end(&p.until)?;
            let command = Command::Prolong { suppression: p.id.clone(), until };
            (command, p.reason.clone(), format!("it ends on {} now", until.day()))
        }
        What::Unsuppress(a) if node.hub.state().suppressions().any(|s| s.id == a.id) => {
            let command = Command::Unsuppress { suppression: a.id.clone() };
            (command, a.reason.clone(), "what it hid shows again".to_owned())
        }
        What::Unsuppress(a) => {
            let id = one(&a.id)?;
            let state = node.hub.state();
            let hidden = state.get(id).and_then(|e| state.hidden_by(e, now())).map(|s| s.id.clone());
            let Some(suppression) = hidden else {
                return Err(Problem::new(
                    "finding.not_suppressed",
                    format!("finding `{}` is not hidden", a.id),
                )
                .hint("`avouch findings list --state suppressed` shows those that are"));
            };
            (Command::Unsuppress { suppression }, a.reason.clone(), "shown again".to_owned())
        }
        What::Resolve(a) => {
            (Command::Resolve { id: one(&a.id)?, version: None }, a.reason.clone(), "resolved".to_owned())
        }
        What::Reopen(a) => {
            (Command::Reopen { id: one(&a.id)?, version: None }, a.reason.clone(), "open again".to_owned())
        }
        What::Assign(a) => (
            Command::Assign { id: one(&a.id)?, to: Some(a.to.clone()), version: None },
            a.reason.clone(),
            format!("assigned to {}", a.to),
        ),
        What::Note(a) => {
            (Command::Note { id: one(&a.id)?, text: a.reason.clone() }, a.reason.clone(), "noted".to_owned())
        }
    };
    let changes = node.hub.run(node, &command, &by(caller, &why)).await?;
    let mut answer = Answer::new("avouch.findings.change/1").query(args);
    if changes.is_empty() {
        answer.line("nothing changed: it was so already");
    } else {
        answer.line(said);
    }
    for e in &changes.events {
        answer.items.push(serde_json::to_value(e).unwrap_or_default());
    }
    Ok(answer)
}

/// The end of a suppression: a date, a time, or a period from now.
fn end(text: &str) -> Result<Time, Problem> {
    if let Some(period) = prove::duration::parse(text) {
        return Ok(now().plus(period));
    }
    moment(text, now())
}

fn list(args: &List, node: &Node) -> Reply {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for (key, value) in [
        ("severity", &args.severity),
        ("state", &args.state),
        ("account", &args.account),
        ("type", &args.finding_type),
        ("sort", &args.sort),
    ] {
        pairs.extend(value.as_ref().map(|v| (key.to_owned(), v.clone())));
    }
    for f in &args.filters {
        let Some((k, v)) = f.split_once('=') else {
            return Err(Problem::new("usage.bad_filter", format!("cannot read `{f}` as a filter"))
                .hint("write key=value, e.g. rule=trail_stopped"));
        };
        pairs.push((k.to_owned(), v.to_owned()));
    }
    pairs.push(("limit".to_owned(), args.limit.to_string()));
    let filter =
        Filter::parse(pairs.iter().map(|(k, v)| (k.as_str(), v.as_str()))).map_err(|e| problem(&e))?;
    let state = node.hub.state();
    let at = now();
    let found = state.list(&filter, at).map_err(|e| problem(&e))?;
    let mut answer = Answer::new("avouch.findings.list/1").query(args).table(&[
        "severity",
        "what is wrong",
        "where",
        "times",
        "last seen",
        "state",
        "id",
    ]);
    for row in &found.rows {
        let f = row.entry.finding();
        let place = [f.resource.as_deref(), f.account.as_deref()]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" in ");
        let severity = row.entry.severity();
        answer.item(
            row.brief(),
            vec![
                format!("{severity} {}", severity.band()),
                f.title.clone(),
                place,
                f.count.to_string(),
                f.last_seen.to_string(),
                row.shown.term().to_lowercase(),
                f.id.to_string(),
            ],
        );
    }
    answer.next = found.next.clone();
    let total = found.matching;
    if total == 0 {
        answer.headings.clear();
        answer.line(match state.is_empty() {
            true => format!("no findings: {} rules looked at every event so far", node.rules.files.len()),
            false => {
                "no finding fits this filter; `avouch findings list --state all` shows every one".to_owned()
            }
        });
    } else {
        let hidden = if found.suppressed > 0 {
            format!(", {} deliberately hidden", found.suppressed)
        } else {
            String::new()
        };
        answer.after.push(format!("{total} findings{hidden} · one in full: avouch findings show ID"));
    }
    if let Some(threshold) = &args.fail_on {
        let Some(foot) = Severity::threshold(threshold) else {
            return Err(Problem::new("usage.bad_severity", format!("`{threshold}` is no severity"))
                .hint("info, low, medium, high, critical, or a number"));
        };
        let all = Filter::parse([("state", "open")]).map_err(|e| problem(&e))?;
        if state.list(&all, at).map_err(|e| problem(&e))?.rows.iter().any(|r| r.entry.severity() >= foot) {
            answer.worse(1);
        }
    }
    Ok(answer)
}

fn show(id: &str, node: &Node) -> Reply {
    let state = node.hub.state();
    let entry = state.find(id).map_err(|e| problem(&e))?;
    let at = now();
    let Some(row) = state.row(entry.id(), at) else {
        return Err(problem(&findings::Error::UnknownFinding(id.to_owned())));
    };
    let f = entry.finding();
    let mut answer = Answer::new("avouch.findings.show/1").query(serde_json::json!({ "id": id }));
    answer.items.push(serde_json::to_value(row.full()).unwrap_or_default());
    let line = |k: &str, v: &str| format!("{k:<11} {}", model::escape_controls(v));
    answer.line(format!(
        "{} {}  {}",
        entry.severity(),
        entry.severity().band(),
        model::escape_controls(&f.title)
    ));
    answer.line(line("why", &f.why));
    answer.line(line("do", &f.fix));
    answer.line(line("type", &f.finding_type));
    for (k, v) in [("account", &f.account), ("region", &f.region), ("resource", &f.resource)] {
        if let Some(v) = v {
            answer.line(line(k, v));
        }
    }
    for (k, v) in &f.key {
        answer.line(line("who/what", &format!("{k} = {v}")));
    }
    answer.line(line("seen", &format!("{} times, {} to {}", f.count, f.first_seen, f.last_seen)));
    answer.line(line("rule", &format!("{} ({})", f.rule.title, f.rule.name)));
    answer.line(line("state", &row.shown.term().to_lowercase()));
    if let Some(s) = row.suppression {
        answer.line(line("hidden", &format!("until {} by {}: {}", s.until.day(), s.owner, s.reason)));
    }
    answer.line("");
    answer.line("evidence");
    for e in f.evidence.iter().rev().take(5) {
        // What an analysis says is no event of the vault.
        let link = if e.event_id.is_none() {
            String::new()
        } else {
            format!(" → avouch event show {}", e.event_id)
        };
        answer.line(format!("  {}  {}{link}", e.event_time, e.dataset));
        for (k, v) in e.fields.iter() {
            answer.line(format!("      {k} = {}", model::escape_controls(v)));
        }
    }
    if f.evidence.len() > 5 {
        answer.line(format!("  … {} more in -o json", f.evidence.len() - 5));
    }
    if !entry.history.is_empty() {
        answer.line("");
        answer.line("history");
        for s in &entry.history {
            answer.line(format!("  {}  {} {} {}", s.at, s.who, s.what, model::escape_controls(&s.why)));
        }
    }
    Ok(answer)
}

pub async fn alerts(args: &Alerts, node: &Node) -> Reply {
    let mut answer = Answer::new("avouch.alerts/1").query(args);
    match &args.what {
        AlertsCmd::List => {
            answer = answer.table(&["created", "route", "channel", "state", "tries", "title", "answer"]);
            let mut parcels = alerting::parcels(&node.state).await?;
            parcels.sort_by(|a, b| (b.created, &b.id).cmp(&(a.created, &a.id)));
            for p in &parcels {
                let last = p.deliveries.last().map(|d| d.receipt.clone()).unwrap_or_default();
                let state = serde_json::to_value(p.state)
                    .ok()
                    .and_then(|v| v.as_str().map(str::to_owned))
                    .unwrap_or_default();
                answer.item(
                    p,
                    vec![
                        p.created.to_string(),
                        p.route.clone(),
                        p.channel.clone(),
                        state,
                        p.attempts.to_string(),
                        p.title.clone(),
                        last,
                    ],
                );
            }
            if parcels.is_empty() {
                answer.headings.clear();
                answer.line(match node.config.alerts.routes.is_empty() {
                    true => "no alert route is configured: add one under `alerts:`, else nobody is told"
                        .to_owned(),
                    false => "no alert so far".to_owned(),
                });
            }
        }
        AlertsCmd::Test { route } => {
            let p = needs_daemon(node)?;
            let deliveries = p
                .alerts
                .test(route)
                .await
                .map_err(|e| Problem::new(e.code(), e.to_string()).hint(e.hint()))?;
            answer = answer.table(&["channel", "state", "answer"]);
            for d in &deliveries {
                let state = serde_json::to_value(d.state)
                    .ok()
                    .and_then(|v| v.as_str().map(str::to_owned))
                    .unwrap_or_default();
                if d.state != model::DeliveryState::Delivered {
                    answer.worse(1);
                }
                answer.item(d, vec![d.channel.clone(), state, d.receipt.clone()]);
            }
        }
    }
    Ok(answer)
}
