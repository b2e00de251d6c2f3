//! The pages at work: crate `web` asks through its trait, this answers with the same functions that the commands use (N6).

use super::pipeline::Pipeline;
use super::{alerting, drills, hub, register};
use crate::node::{Node, Store, now};
use crate::ops::{self, Caller as Asker};
use crate::problem::Problem;
use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use model::{EventId, FindingId, Time, TimeRange};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use web::url::View;
use web::value::Value;
use web::view::{
    AccessEntry, Act, AlertHealth, Attention, Bucket, Changes, Checkpoint, ControlCounts, ControlDetail,
    ControlList, ControlRow, Damage, DatasetState, EventDetail, Facet, FacetValue, Field, FindingAction,
    FindingDetail, FindingList, FindingRow, FindingState, Forwarded, HistoryEntry, InstanceState, Level,
    Overview, ProofView, RawPreview, Run, ScanFacts, SealState, SearchAnswer, SearchRequest, SearchRow,
    SeverityCount, SinkHealth, SixLines, SourceHealth, Suppression, VaultBrief, VaultPage, Verification,
};
use web::{Caller, Change, Console, ConsoleError, NewSession, Peer, Refused, Role, Secret, Settings};

/// Ports tried upwards by the demo when the usual one is taken.
const PORTS_TRIED: u16 = 20;
/// Raw bytes shown on a page; the command prints all.
const RAW_SHOWN: usize = 16 << 10;

struct Pages {
    node: Arc<Node>,
    last: Mutex<Option<Verification>>,
}

/// Serves pages and API; the address they have, with the real port.
///
/// # Errors
/// The port is taken.
pub async fn serve(
    node: &Arc<Node>,
    pipeline: &Arc<Pipeline>,
    listen: SocketAddr,
    next_free: bool,
) -> Result<SocketAddr, Problem> {
    let mut tried = listen;
    let listener = loop {
        match TcpListener::bind(tried).await {
            Ok(l) => break l,
            Err(e)
                if next_free
                    && e.kind() == std::io::ErrorKind::AddrInUse
                    && tried.port() < listen.port() + PORTS_TRIED =>
            {
                tried.set_port(tried.port() + 1);
            }
            Err(e) => {
                return Err(Problem::new("web.bind", format!("cannot serve pages on {tried}"))
                    .because(&e)
                    .hint(format!("`ss -lntp 'sport = :{}'` names the program that has the port; or set `server.listen`", tried.port())));
            }
        }
    };
    let address = listener.local_addr().map_err(|e| {
        Problem::new("web.bind", "the listener has no address")
            .because(&e)
            .hint("set another address in `server.listen`")
    })?;
    let mut settings = Settings::new(address);
    settings.public_url.clone_from(&node.config.server.public_url);
    settings.is_tls = settings.public_url.as_ref().is_some_and(|u| u.starts_with("https://"));
    settings.program = crate::cli::program();
    settings.product = format!("Avouch {}", env!("CARGO_PKG_VERSION"));
    settings.banner = next_free.then(|| "demo, made-up data".to_owned());
    let pages: Arc<dyn Console> = Arc::new(Pages { node: Arc::clone(node), last: Mutex::new(None) });
    let mut stop = pipeline.stopping();
    pipeline
        .spawn(async move {
            let stopped = async move {
                let _ = stop.wait_for(|s| *s).await;
            };
            if let Err(e) = web::serve(listener, pages, settings, stopped).await {
                tracing::error!(code = e.code(), error = %e, "the pages are not served any more");
            }
        })
        .await;
    let _ = pipeline.page.set(address);
    Ok(address)
}

fn bad(p: Problem) -> ConsoleError {
    let (code, hint, message) = (p.code.to_string(), p.hint().to_owned(), p.message);
    if code.ends_with(".unknown") {
        ConsoleError::NotFound { what: message }
    } else if p.exit == 2
        && (code.starts_with("search")
            || code.starts_with("filter")
            || code.starts_with("usage")
            || code.starts_with("finding")
            || code.starts_with("suppression")
            || code.starts_with("prove"))
    {
        ConsoleError::Bad { code, message, hint }
    } else {
        ConsoleError::Unavailable { code, message, hint }
    }
}

fn asker(c: &Caller) -> Asker {
    Asker { name: format!("session:{}", c.name), by: "web".to_owned() }
}

fn state_of(shown: findings::Shown) -> FindingState {
    match shown.term() {
        "RESOLVED" | "ARCHIVED" => FindingState::Resolved,
        "SUPPRESSED" => FindingState::Suppressed,
        "NOTIFIED" => FindingState::Notified,
        _ => FindingState::New,
    }
}

fn hidden(s: &findings::Suppression) -> Suppression {
    Suppression {
        owner: s.owner.clone(),
        reason: s.reason.clone(),
        until: s.until,
        by: s.created_by.clone(),
        at: s.created,
    }
}

fn finding_row(r: &findings::Row<'_>) -> FindingRow {
    let f = r.entry.finding();
    FindingRow {
        id: f.id,
        title: f.title.clone(),
        severity: r.entry.severity(),
        state: state_of(r.shown),
        source: f.source,
        finding_type: f.finding_type.clone(),
        rule: f.rule.name.clone(),
        account: f.account.clone(),
        region: f.region.clone(),
        resource: f.resource.clone(),
        count: f.count,
        first_seen: f.first_seen,
        last_seen: f.last_seen,
        suppression: r.suppression.map(hidden),
        drill: f.drill.clone(),
    }
}

fn control_row(r: &prove::Row<'_>, at: Time) -> Option<ControlRow> {
    let d = r.decided_by()?;
    let c = &r.entry.control;
    let disagrees =
        matches!((&d.configured, &d.effective), (model::Configured::Yes { .. }, model::Effective::No { .. }))
            || matches!(
                (&d.effective, &d.last_proven),
                (model::Effective::Yes { .. }, model::LastProven::Failed { .. })
            );
    Some(ControlRow {
        id: c.id.clone(),
        claim: c.claim.clone(),
        system: c.pack.clone(),
        owner: c.owner.clone(),
        kind: c.kind,
        state: r.state,
        because: prove::words(d, at).1,
        configured: d.configured.clone(),
        effective: d.effective.clone(),
        last_proven: d.last_proven.clone(),
        next_test: None,
        n_instances: r.instances.len() as u64,
        disagrees,
        can_prove: drills::can_run(r.entry),
    })
}

fn run_of(p: &model::Proof) -> Run {
    Run {
        run: p.run.clone(),
        outcome: p.outcome,
        figure: p.figure.clone(),
        started: p.started,
        finished: p.finished,
        actor: p.actor.clone(),
        failed_step: p.steps.iter().find(|s| s.passed == Some(false)).map(|s| s.name.clone()),
    }
}

impl Pages {
    fn counts(&self) -> (ControlCounts, Vec<ControlRow>) {
        register::with_rows(&self.node, |rows, at| {
            let mut counts = ControlCounts::default();
            let mut out = Vec::new();
            for r in rows {
                counts.add(r.state);
                if let Some(row) = control_row(r, at) {
                    counts.disagreeing += u64::from(row.disagrees);
                    out.push(row);
                }
            }
            out.sort_by(|a, b| (!a.disagrees, a.state, &a.id).cmp(&(!b.disagrees, b.state, &b.id)));
            (counts, out)
        })
    }

    fn seal(&self) -> (SealState, Option<Time>) {
        match self.node.last_check() {
            Some((at, 0)) => (SealState::Verified, Some(at)),
            Some((at, _)) => (SealState::Damaged, Some(at)),
            None => (SealState::Sealed, None),
        }
    }

    fn sources(&self) -> Vec<SourceHealth> {
        let Some(p) = self.node.pipeline.get() else { return Vec::new() };
        let at = now();
        p.source_states(&self.node)
            .into_iter()
            .map(|s| SourceHealth {
                events: match (s.state, s.counters.last_event.known()) {
                    ("silent", last) => Value::Silent {
                        since: last.unwrap_or(self.node.started),
                        expected_s: u64::try_from(s.max_gap_s.unwrap_or(0)).unwrap_or(0),
                    },
                    (_, None) => Value::Zero { examined: 0, what: "events so far".to_owned(), as_of: at },
                    _ => Value::Known { value: s.counters.events, as_of: at },
                },
                name: s.name,
                kind: s.kind.to_owned(),
                last_seen: s.counters.last_event.known(),
                per_minute: Vec::new(),
                rejected: s.counters.refused + s.counters.dead_letters,
            })
            .collect()
    }
}

#[async_trait]
impl Console for Pages {
    fn now(&self) -> Time {
        now()
    }

    async fn sign_in(&self, link: &Secret, peer: &Peer) -> Result<NewSession, ConsoleError> {
        let id = self.node.signin.consume(&self.node.state, &link.0).await.map_err(bad)?;
        let Some(id) = id else {
            return Err(ConsoleError::Denied {
                message: "this link was used, is too old, or was replaced by a newer one".to_owned(),
                hint: format!(
                    "print another on the host: {} admin setup-link (in the demo: press Enter)",
                    crate::cli::program()
                ),
            });
        };
        let who = Asker { name: "session:admin".to_owned(), by: "web".to_owned() };
        let from = peer.address.map(|a| a.to_string()).unwrap_or_default();
        self.node
            .audit(&who, "signed in", "by a link", serde_json::json!({ "from": from }))
            .await
            .map_err(bad)?;
        let caller = Caller {
            name: "admin".to_owned(),
            session_id: model::sha256_hex(id.as_bytes()),
            role: Role::Admin,
        };
        Ok(NewSession { secret: Secret(id), caller, expires: now().plus(super::signin::SESSION_LIFE) })
    }

    async fn session(&self, secret: &Secret) -> Option<Caller> {
        let s = self.node.signin.session(&secret.0)?;
        Some(Caller { name: s.name, session_id: model::sha256_hex(secret.0.as_bytes()), role: Role::Admin })
    }

    async fn is_live(&self, secret: &Secret) -> bool {
        self.node.signin.is_live(&secret.0)
    }

    async fn bearer(&self, _: &Secret) -> Option<Caller> {
        None
    }

    async fn sign_out(&self, caller: &Caller) -> Result<(), ConsoleError> {
        self.node.signin.end_hashed(&self.node.state, &caller.session_id).await.map_err(bad)?;
        self.node.audit(&asker(caller), "signed out", "asked for", serde_json::json!({})).await.map_err(bad)
    }

    async fn refused(&self, refused: Refused) {
        let who = refused
            .caller
            .as_ref()
            .map_or_else(|| Asker { name: "nobody".to_owned(), by: "web".to_owned() }, asker);
        let detail = serde_json::to_value(&refused).unwrap_or_default();
        if let Err(p) = self.node.audit(&who, "refused", &refused.code, detail).await {
            tracing::warn!(problem = %p, "a refusal could not be recorded");
        }
    }

    async fn overview(&self, _: &Caller) -> Result<Overview, ConsoleError> {
        let at = now();
        let (counts, rows) = self.counts();
        let state = self.node.hub.state();
        let totals = state.totals(at);
        let rules = self.node.rules.files.len() as u64;
        let mut attention = Vec::new();
        for (band, level) in [("critical", Level::Urgent), ("high", Level::Soon)] {
            if let Some(n) = totals.open.get(band).filter(|n| **n > 0) {
                attention.push(Attention {
                    level,
                    text: format!("{n} {band} findings are open"),
                    why: "nobody has resolved or hidden them".to_owned(),
                    href: format!("/findings?severity={band}"),
                    since: None,
                });
            }
        }
        for s in self.sources().iter().filter(|s| s.events.state() == "silent") {
            attention.push(Attention {
                level: Level::Soon,
                text: format!("{} is silent", s.name),
                why: "nothing arrives from it any more".to_owned(),
                href: "/findings?type=Stealth%3ASource%2FWentQuiet".to_owned(),
                since: s.last_seen,
            });
        }
        if counts.failed > 0 {
            attention.push(Attention {
                level: Level::Look,
                text: format!("{} controls do not hold", counts.failed),
                why: "the document claims more than the system does".to_owned(),
                href: "/controls?state=failed".to_owned(),
                since: None,
            });
        }
        let parcels = alerting::parcels(&self.node.state).await.map_err(bad)?;
        let delivered: Vec<&alert::Parcel> =
            parcels.iter().filter(|p| p.state == model::DeliveryState::Delivered).collect();
        let open = parcels.iter().filter(|p| !p.is_finished()).count() as u64;
        let n = parcels.len() as u64;
        let (seal, checked_at) = self.seal();
        let brief = match &self.node.store {
            Store::Open(v) => {
                let s = v.status();
                VaultBrief {
                    seal,
                    checked_at,
                    events: s.datasets.values().map(|d| d.rows).sum(),
                    segments: s.segments,
                    bytes: s.sealed_bytes,
                }
            }
            Store::Files(_) => {
                VaultBrief { seal: SealState::Unknown, checked_at: None, events: 0, segments: 0, bytes: 0 }
            }
        };
        Ok(Overview {
            changes: Changes {
                since: None,
                findings_new: state.len() as u64,
                findings_resolved: 0,
                controls_worse: 0,
                controls_better: 0,
                events: brief.events,
            },
            attention,
            disagreements: rows.iter().filter(|r| r.disagrees).take(5).cloned().collect(),
            controls: counts,
            findings: ["critical", "high", "medium", "low", "info"]
                .into_iter()
                .map(|band| SeverityCount {
                    band,
                    open: Value::counted(
                        *totals.open.get(band).unwrap_or(&0) as u64,
                        rules,
                        "rules over every event",
                        at,
                    ),
                    oldest: totals.oldest.get(band).copied(),
                })
                .collect(),
            suppressed: *totals.states.get("SUPPRESSED").unwrap_or(&0) as u64,
            days: Vec::new(),
            alerts: AlertHealth {
                not_delivered: match self.node.config.alerts.routes.is_empty() {
                    true => Value::NotConfigured {
                        what: "no alert route".to_owned(),
                        add: "alerts.routes".to_owned(),
                    },
                    false => Value::counted(open, n, "alerts", at),
                },
                not_acknowledged: Value::counted(
                    delivered.iter().filter(|p| p.acknowledged.is_none()).count() as u64,
                    n,
                    "alerts",
                    at,
                ),
                last_delivered: delivered.iter().filter_map(|p| p.deliveries.last().map(|d| d.at)).max(),
                routes: self.node.config.alerts.routes.len() as u64,
            },
            sources: self.sources(),
            sinks: self
                .node
                .pipeline
                .get()
                .map(|p| p.sinks.states())
                .unwrap_or_default()
                .into_iter()
                .map(|s| SinkHealth {
                    waiting: Value::counted(s.waiting, s.done + s.waiting, "events", at),
                    dead: Value::counted(s.dead, s.done, "events", at),
                    name: s.name,
                    kind: s.kind,
                    oldest_waiting: s.oldest,
                    delivered: s.done,
                    last_ok: s.last_success,
                })
                .collect(),
            vault: brief,
        })
    }

    async fn controls(&self, _: &Caller, view: &View) -> Result<ControlList, ConsoleError> {
        let (counts, all) = self.counts();
        let any = |key: &str, value: &str| {
            let mut terms = view.terms(key).peekable();
            terms.peek().is_none() || terms.any(|t| (t.value == value) != t.is_excluded)
        };
        let q = view.one("q").map(str::to_lowercase);
        let items: Vec<ControlRow> = all
            .iter()
            .filter(|r| {
                any("state", r.state.term())
                    && any("system", &r.system)
                    && any("owner", &r.owner.team)
                    && any(
                        "kind",
                        if r.kind == model::ControlKind::Attested { "attested" } else { "technical" },
                    )
                    && q.as_ref().is_none_or(|q| r.id.contains(q) || r.claim.to_lowercase().contains(q))
            })
            .cloned()
            .collect();
        let facet = |key: &'static str, title: &str, of: &dyn Fn(&ControlRow) -> String| {
            let mut n: std::collections::BTreeMap<String, u64> = std::collections::BTreeMap::new();
            for r in &all {
                *n.entry(of(r)).or_default() += 1;
            }
            Facet {
                key,
                title: title.to_owned(),
                values: n.into_iter().map(|(value, count)| FacetValue { value, count }).collect(),
                more: 0,
            }
        };
        let facets = vec![
            facet("state", "Result", &|r| r.state.term().to_owned()),
            facet("system", "System", &|r| r.system.clone()),
            facet("owner", "Team", &|r| r.owner.team.clone()),
        ];
        Ok(ControlList { counts, facets, items })
    }

    async fn control(&self, _: &Caller, id: &str) -> Result<ControlDetail, ConsoleError> {
        let node = &self.node;
        let entry = node
            .book
            .register
            .get(id)
            .ok_or_else(|| ConsoleError::NotFound { what: format!("control `{id}`") })?;
        let seen = register::seen(node, entry);
        let mut runs: Vec<model::Proof> =
            node.book.proofs().into_iter().filter(|p| p.control == id).collect();
        runs.sort_by_key(|r| std::cmp::Reverse(r.started));
        register::with_rows(node, |rows, at| {
            let r = rows.iter().find(|r| r.entry.control.id == id)?;
            let first = seen.first();
            Some(ControlDetail {
                row: control_row(r, at)?,
                control: entry.control.clone(),
                instances: r
                    .instances
                    .iter()
                    .map(|s| InstanceState {
                        name: s
                            .instance
                            .0
                            .iter()
                            .map(|(k, v)| format!("{k}={v}"))
                            .collect::<Vec<_>>()
                            .join(" "),
                        state: s.state,
                        configured: s.configured.clone(),
                        effective: s.effective.clone(),
                        last_proven: s.last_proven.clone(),
                        because: prove::words(s, at).1,
                    })
                    .collect(),
                configured: first.map(|s| s.configured.clone()).unwrap_or_default(),
                effective: first.map(|s| s.effective.clone()).unwrap_or_default(),
                runs: runs.iter().map(run_of).collect(),
                newest_proof: runs.first().cloned(),
                history: Vec::new(),
                drill_steps: entry
                    .control
                    .drill
                    .as_ref()
                    .map(|d| {
                        vec![format!(
                            "runs the {} drill and records plan, steps and proof in the vault",
                            d.kind
                        )]
                    })
                    .unwrap_or_default(),
                cannot_prove: (!drills::can_run(entry)).then(|| {
                    entry
                        .control
                        .no_drill_because
                        .clone()
                        .unwrap_or_else(|| "this build does not run its drill".to_owned())
                }),
                verify_command: Some(format!("{} verify {}", crate::cli::program(), node.data.display())),
            })
        })
        .ok_or_else(|| ConsoleError::NotFound { what: format!("control `{id}`") })
    }

    async fn prove(&self, caller: &Caller, id: &str) -> Result<Run, ConsoleError> {
        let proofs = drills::exercise(&self.node, id, "person", &asker(caller).name).await.map_err(bad)?;
        proofs.last().map(run_of).ok_or_else(|| ConsoleError::Bad {
            code: "prove.nothing".to_owned(),
            message: format!("`{id}` has nothing to test here"),
            hint: format!("`avouch controls show {id}` says what it needs"),
        })
    }

    async fn findings(&self, _: &Caller, view: &View) -> Result<FindingList, ConsoleError> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (key, value) in view.filters(web::url::FINDINGS) {
            match pairs.iter_mut().find(|(k, _)| k == key) {
                Some((_, v)) => *v = format!("{v},{value}"),
                None => pairs.push((key.to_owned(), value.to_owned())),
            }
        }
        for key in ["sort", "cursor", "limit"] {
            pairs.extend(view.one(key).map(|v| (key.to_owned(), v.to_owned())));
        }
        let filter = findings::Filter::parse(pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())))
            .map_err(|e| bad(hub::problem(&e)))?;
        let state = self.node.hub.state();
        let list = state.list(&filter, now()).map_err(|e| bad(hub::problem(&e)))?;
        let known: Vec<&str> = web::url::FINDINGS.iter().map(|k| k.name).collect();
        Ok(FindingList {
            total: list.matching as u64,
            suppressed: list.suppressed as u64,
            facets: list
                .facets
                .iter()
                .filter(|(k, _)| known.contains(k))
                .map(|(key, values)| Facet {
                    key,
                    title: key.to_string(),
                    values: values
                        .iter()
                        .filter(|(value, _)| !value.is_empty())
                        .take(12)
                        .map(|(value, n)| FacetValue { value: value.clone(), count: *n as u64 })
                        .collect(),
                    more: values.len().saturating_sub(12) as u64,
                })
                .collect(),
            items: list.rows.iter().map(finding_row).collect(),
            next: list.next.clone(),
            complete: true,
            unknown: self
                .node
                .rules
                .refused
                .iter()
                .map(|r| format!("rule {} was refused: {}", r.file, r.reason))
                .collect(),
        })
    }

    async fn finding(&self, _: &Caller, id: FindingId) -> Result<FindingDetail, ConsoleError> {
        let state = self.node.hub.state();
        let row =
            state.row(id, now()).ok_or_else(|| ConsoleError::NotFound { what: format!("finding `{id}`") })?;
        let parcels = alerting::parcels(&self.node.state).await.map_err(bad)?;
        let of_this: Vec<alert::Parcel> =
            parcels.into_iter().filter(|p| p.alerts.iter().any(|a| a.finding == id)).collect();
        let f = row.entry.finding().clone();
        let key = f.key.clone();
        let related = state
            .entries()
            .filter(|e| e.id() != id && !key.is_empty() && e.finding().key.iter().any(|k| key.contains(k)))
            .take(8)
            .filter_map(|e| state.row(e.id(), now()))
            .map(|r| finding_row(&r))
            .collect();
        Ok(FindingDetail {
            finding: f,
            state: state_of(row.shown),
            version: row.entry.version,
            suppression: row.suppression.map(hidden),
            history: row
                .entry
                .history
                .iter()
                .rev()
                .map(|s| HistoryEntry {
                    at: s.at,
                    who: s.who.clone(),
                    what: s.what.clone(),
                    why: s.why.clone(),
                })
                .collect(),
            alerts: alert::alerts_of(&of_this).into_iter().filter(|a| a.finding == id).collect(),
            related,
            controls: Vec::new(),
            verify_command: Some(format!(
                "{} verify {} --level events",
                crate::cli::program(),
                self.node.data.display()
            )),
        })
    }

    async fn change_finding(
        &self,
        caller: &Caller,
        id: FindingId,
        version: u64,
        action: FindingAction,
    ) -> Result<FindingDetail, ConsoleError> {
        use findings::Command;
        let (command, why) = match action {
            FindingAction::Suppress { owner, reason, until } => {
                let new = findings::NewSuppression {
                    selector: findings::Selector::one(id),
                    kind: findings::SuppressionKind::Suppression,
                    owner,
                    approver: None,
                    ticket: None,
                    from: Time::NONE,
                    until,
                };
                (Command::Suppress { new }, reason)
            }
            FindingAction::Resolve { reason } => (Command::Resolve { id, version: Some(version) }, reason),
            FindingAction::Reopen { reason } => (Command::Reopen { id, version: Some(version) }, reason),
            FindingAction::Note { text } => (Command::Note { id, text: text.clone() }, text),
        };
        self.node.hub.run(&self.node, &command, &hub::by(&asker(caller), &why)).await.map_err(|p| {
            if p.code.contains("stale") || p.code.contains("version") {
                ConsoleError::Conflict {
                    message: p.message,
                    current: "somebody changed it meanwhile".to_owned(),
                }
            } else {
                bad(p)
            }
        })?;
        self.finding(caller, id).await
    }

    async fn datasets(&self, _: &Caller) -> Result<Vec<String>, ConsoleError> {
        Ok(self.node.snapshot().datasets().iter().map(ToString::to_string).collect())
    }

    async fn search(&self, caller: &Caller, request: &SearchRequest) -> Result<SearchAnswer, ConsoleError> {
        let started = std::time::Instant::now();
        let mut text = request.text.clone();
        if !request.datasets.is_empty() {
            let names = request.datasets.join(", ");
            text = if text.trim().is_empty() {
                format!("dataset in ({names})")
            } else {
                format!("({text}) and dataset in ({names})")
            };
        }
        self.node.record_access(&asker(caller), "search", serde_json::json!({ "query": text, "from": request.from, "to": request.to, "limit": request.limit })).await.map_err(bad)?;
        let limit = usize::try_from(request.limit).unwrap_or(100).min(1_000);
        let ask =
            query::Request { query: text, range: TimeRange { from: request.from, to: request.to }, limit };
        let found = self
            .node
            .engine
            .search(&self.node.snapshot(), &ask)
            .await
            .map_err(|e| bad(Problem::new(e.code(), e.to_string()).hint(e.hint())))?;
        let columns = ["actor", "action", "resources", "src_ip", "outcome", "message"];
        let cell = |row: &serde_json::Map<String, serde_json::Value>, name: &str| match row.get(name) {
            None | Some(serde_json::Value::Null) => None,
            Some(serde_json::Value::String(s)) => Some(s.clone()),
            Some(serde_json::Value::Array(a)) => {
                Some(a.iter().filter_map(|v| v.as_str()).collect::<Vec<_>>().join(", "))
            }
            Some(v) => Some(v.to_string()),
        };
        let items: Vec<SearchRow> = found
            .rows
            .iter()
            .map(|row| SearchRow {
                id: cell(row, "av_id").and_then(|s| s.parse().ok()).unwrap_or(EventId::NONE),
                time: cell(row, "event_time")
                    .or_else(|| cell(row, "av_received"))
                    .and_then(|t| Time::parse_rfc3339(t.as_bytes()))
                    .unwrap_or(Time::NONE),
                dataset: cell(row, "av_dataset").unwrap_or_default(),
                cells: columns.iter().map(|c| cell(row, c)).collect(),
            })
            .collect();
        let mut unknown = found.facts.unknown.clone();
        if found.is_cut_by_time {
            unknown.push("the time box ended the question: there may be more".to_owned());
        }
        Ok(SearchAnswer {
            histogram: histogram(&items, request.from, request.to),
            request: request.clone(),
            columns: ["who", "what", "resource", "from", "result", "message"].map(str::to_owned).to_vec(),
            scanned: ScanFacts {
                segments_read: found.facts.segments_read,
                segments_skipped: found.facts.skipped_by_time + found.facts.skipped_by_dataset,
                rows: found.facts.tail_events,
                matched: items.len() as u64,
                bytes: found.facts.bytes_read_at_most,
                millis: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            },
            items,
            complete: unknown.is_empty() && !found.is_cut_by_limit,
            unknown,
            next: None,
            datasets: self.node.snapshot().datasets().iter().map(ToString::to_string).collect(),
            recorded_as: None,
        })
    }

    async fn event(&self, caller: &Caller, id: EventId) -> Result<EventDetail, ConsoleError> {
        self.node
            .record_access(&asker(caller), "event page", serde_json::json!({ "event": id.to_string() }))
            .await
            .map_err(bad)?;
        let stored = ops::event::find(&self.node, &id.to_string()).await.map_err(bad)?;
        let batch = &stored.batch;
        let row = batch
            .rows
            .first()
            .copied()
            .ok_or_else(|| ConsoleError::NotFound { what: format!("event `{id}`") })?;
        let (dataset, raw) = (batch.dataset_of(0).to_owned(), batch.raw(0));
        let facts = shape::Facts::of(batch, 0);
        let six = shape::six_lines(&dataset, raw, &facts);
        let said = |s: &str| (s != shape::NOT_IN_RECORD).then(|| s.to_owned());
        let p = batch.provenance_of(0);
        let mut envelope = vec![
            ("position".to_owned(), format!("0:{}", row.seq)),
            ("received".to_owned(), row.received.to_string()),
            ("source".to_owned(), p.source.to_string()),
        ];
        for (k, v) in [
            ("sender", &p.sender),
            ("account", &p.account),
            ("region", &p.region),
            ("origin", &p.origin),
            ("drill", &p.canary),
            ("shaping", &p.shaping),
        ] {
            envelope.extend(v.as_ref().map(|v| (k.to_owned(), v.to_string())));
        }
        envelope.push(("flags".to_owned(), row.flags.names().collect::<Vec<_>>().join(" ")));
        let columns = shape::derive(&dataset, batch);
        let fields = columns
            .specs
            .iter()
            .zip(&columns.data)
            .filter_map(|(s, c)| {
                Some(Field { name: s.name.to_owned(), value: Some(c.text(0)?), search: s.name.to_owned() })
            })
            .collect();
        let text = String::from_utf8_lossy(raw);
        let shown: String = text.chars().take(RAW_SHOWN).collect();
        let program = crate::cli::program();
        let (proof, leaf) = match ops::event::proof(&self.node, row.seq).await {
            Ok(text) => (Some(text), stored.segment.as_ref().map(|s| s.leaf)),
            Err(_) => (None, None),
        };
        let (seal, checked_at) = self.seal();
        let actor = columns.text("actor", 0).map(str::to_owned);
        let moment = row.event_time.known().unwrap_or(row.received);
        Ok(EventDetail {
            id,
            six: SixLines {
                who: said(&six.who),
                what: said(&six.what),
                when: Some(moment),
                where_from: said(&six.where_from),
                details: said(&six.details),
                result: said(&six.result),
            },
            envelope,
            fields,
            raw: RawPreview {
                bytes_shown: shown.len() as u64,
                text: Some(shown),
                bytes_total: raw.len() as u64,
                is_utf8: std::str::from_utf8(raw).is_ok(),
                command: format!("{program} event show {id} --raw"),
            },
            forwarded: self.forwarded(&dataset, row.seq),
            proof: ProofView {
                seal: if stored.segment.is_some() { seal } else { SealState::Open },
                checked_at,
                shard: 0,
                seq: row.seq,
                leaf,
                tree_size: Some(self.node.snapshot().tree_size()),
                root: None,
                text: proof,
                verify_command: format!(
                    "{program} event show {id} --proof event.tlog-proof && {program} event show {id} --raw > event.raw && {program} verify --event event.tlog-proof event.raw --key VKEY"
                ),
            },
            around: self.around(actor, moment, id).await,
            findings: self.findings_over(id),
            other_tools: Vec::new(),
            dataset,
        })
    }

    async fn vault(&self, _: &Caller) -> Result<VaultPage, ConsoleError> {
        let v = self.node.vault().map_err(bad)?;
        let s = v.status();
        let (seal, checked_at) = self.seal();
        let segments = self.node.snapshot();
        let datasets = s
            .datasets
            .iter()
            .map(|(name, d)| DatasetState {
                name: name.clone(),
                seal: if d.rows == d.unsealed_rows { SealState::Open } else { seal },
                checked_at,
                events: d.rows,
                events_open: d.unsealed_rows,
                segments: segments.segments_of(name).len() as u64,
                bytes: d.sealed_bytes,
                oldest: d.oldest,
                newest: d.newest,
                retention_s: d
                    .max_age
                    .as_deref()
                    .and_then(|a| a.parse::<vault::format::MaxAge>().ok())
                    .and_then(|m| m.end(Time(0)))
                    .map(|t| u64::try_from(t.secs()).unwrap_or(0)),
                last_expired: None,
                expired_segments: 0,
                hold: None,
                because: String::new(),
            })
            .collect();
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(VaultPage {
            datasets,
            last,
            checkpoints: s
                .checkpoint_time
                .map(|at| Checkpoint {
                    at,
                    tree_size: s.tree_size,
                    root: s.root.clone().unwrap_or_default(),
                    signed_by: s.vkey.clone(),
                })
                .into_iter()
                .collect(),
            quarantined: Vec::new(),
            access: self.access().await,
            public_key: s.vkey,
            is_encrypted: self
                .node
                .config
                .datasets
                .values()
                .all(|d| d.encryption != Some(crate::config::Encryption::Sse)),
            key_file: Some(self.node.data.join("secret/kek").display().to_string()),
            verify_command: format!(
                "{} verify {} --level events --data-key {}",
                crate::cli::program(),
                self.node.data.display(),
                self.node.data.join("secret/kek").display()
            ),
        })
    }

    async fn verify(&self, caller: &Caller) -> Result<Verification, ConsoleError> {
        self.node
            .audit(&asker(caller), "vault verified", "asked for", serde_json::json!({}))
            .await
            .map_err(bad)?;
        let started = std::time::Instant::now();
        let report = crate::cmd::verify::whole(&self.node, vault::verify::Level::Files).await.map_err(bad)?;
        let sealed = self.node.snapshot().segments().iter().map(|s| s.rows).sum::<u64>();
        let verification = Verification {
            at: now(),
            by: asker(caller).name,
            seal: if report.faults.is_empty() { SealState::Verified } else { SealState::Damaged },
            files: report.checked.files,
            // Below level `events` the check is of files: it covers the events that are sealed in them.
            events: report.checked.events.max(sealed),
            bytes: report.checked.file_bytes,
            millis: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            damages: report
                .faults
                .iter()
                .map(|f| Damage {
                    file: f.file.clone().unwrap_or_default(),
                    place: f.bytes.map_or_else(String::new, |(a, b)| format!("bytes {a} to {b}")),
                    events: f.seq.map_or_else(String::new, |(a, b)| format!("0:{a} to 0:{b}")),
                })
                .collect(),
            limits: report.notes.values().flatten().cloned().collect(),
        };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(verification.clone());
        Ok(verification)
    }

    async fn ready(&self) -> Result<(), String> {
        match &self.node.store {
            Store::Open(v) => {
                let s = v.status();
                match (s.poisoned, s.is_full) {
                    (Some(why), _) => Err(why),
                    (None, true) => Err("the disk is full".to_owned()),
                    (None, false) => Ok(()),
                }
            }
            Store::Files(_) => Err("the vault is read only".to_owned()),
        }
    }

    async fn metrics(&self) -> String {
        super::metrics::page(&self.node)
    }

    fn changes(&self) -> BoxStream<'static, Change> {
        let node = Arc::clone(&self.node);
        futures::stream::unfold((node, 0usize), |(node, last)| async move {
            loop {
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                let n = node.hub.state().len();
                if n != last {
                    return Some((Change { topic: "findings".to_owned(), counter: n as u64 }, (node, n)));
                }
            }
        })
        .boxed()
    }
}

impl Pages {
    fn forwarded(&self, dataset: &str, seq: u64) -> Vec<Forwarded> {
        let Some(p) = self.node.pipeline.get() else { return Vec::new() };
        p.sinks
            .states()
            .into_iter()
            .map(|s| {
                let routed = self.node.config.sinks.get(&s.name).is_some_and(|c| c.selects(dataset));
                let past = p.sinks.cursor(&s.name).is_some_and(|c| seq < c);
                let state = match (routed, past) {
                    (false, _) => "not_routed",
                    (true, true) => "delivered",
                    (true, false) => "waiting",
                };
                Forwarded { sink: s.name, state, at: None, answer: String::new() }
            })
            .collect()
    }

    fn findings_over(&self, id: EventId) -> Vec<FindingRow> {
        let state = self.node.hub.state();
        state
            .entries()
            .filter(|e| e.finding().evidence.iter().any(|v| v.event_id == id))
            .filter_map(|e| state.row(e.id(), now()))
            .map(|r| finding_row(&r))
            .collect()
    }

    async fn around(&self, actor: Option<String>, at: Time, id: EventId) -> Vec<Act> {
        let Some(actor) = actor else { return Vec::new() };
        let request = query::Request {
            query: format!("actor = '{}'", actor.replace('\\', "\\\\").replace('\'', "\\'")),
            range: TimeRange { from: at.plus(-10 * Time::MINUTE), to: at.plus(10 * Time::MINUTE) },
            limit: 40,
        };
        let Ok(found) = self.node.engine.search(&self.node.snapshot(), &request).await else {
            return Vec::new();
        };
        let text = |r: &serde_json::Map<String, serde_json::Value>, k: &str| {
            r.get(k).and_then(|v| v.as_str()).unwrap_or_default().to_owned()
        };
        let mut acts: Vec<Act> = found
            .rows
            .iter()
            .filter_map(|r| {
                let this: EventId = text(r, "av_id").parse().ok()?;
                Some(Act {
                    id: this,
                    time: Time::parse_rfc3339(text(r, "event_time").as_bytes())?,
                    what: text(r, "action"),
                    result: text(r, "outcome"),
                    is_this: this == id,
                })
            })
            .collect();
        acts.sort_by_key(|a| (a.time, a.id));
        acts
    }

    async fn access(&self) -> Vec<AccessEntry> {
        let request = query::Request {
            query: "dataset = avouch.access".to_owned(),
            range: TimeRange { from: now().plus(-7 * Time::DAY), to: now().plus(Time::DAY) },
            limit: 20,
        };
        let Ok(found) = self.node.engine.search(&self.node.snapshot(), &request).await else {
            return Vec::new();
        };
        let text = |r: &serde_json::Map<String, serde_json::Value>, k: &str| {
            r.get(k).and_then(|v| v.as_str()).unwrap_or_default().to_owned()
        };
        found
            .rows
            .iter()
            .filter_map(|r| {
                Some(AccessEntry {
                    id: text(r, "av_id").parse().ok()?,
                    at: Time::parse_rfc3339(text(r, "av_received").as_bytes())?,
                    who: text(r, "actor"),
                    how: text(r, "action"),
                    what: text(r, "message"),
                    rows: 0,
                })
            })
            .collect()
    }
}

/// Counts per slice of the range, over the rows that were found.
fn histogram(items: &[SearchRow], from: Time, to: Time) -> Vec<Bucket> {
    const SLICES: i64 = 40;
    let low = items.iter().map(|i| i.time).filter(|t| !t.is_none()).min().unwrap_or(from).max(from);
    let high = items.iter().map(|i| i.time).max().unwrap_or(to).min(to).plus(1);
    let width = (high.since(low) / SLICES).max(Time::SECOND);
    (0..SLICES)
        .map(|i| {
            let start = low.plus(width * i);
            let range = TimeRange { from: start, to: start.plus(width) };
            Bucket {
                from: range.from,
                to: range.to,
                count: Some(items.iter().filter(|x| range.contains(x.time)).count() as u64),
            }
        })
        .collect()
}
