//! The first page: what needs attention, and how everything stands.

use super::{Pages, bad};
use crate::daemon::alerting;
use crate::node::{Store, now};
use web::ConsoleError;
use web::value::Value;
use web::view::{
    AlertHealth, Attention, Changes, Level, Overview, SealState, SeverityCount, SinkHealth, SourceHealth,
    VaultBrief,
};

impl Pages {
    pub(super) async fn overview_page(&self) -> Result<Overview, ConsoleError> {
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
