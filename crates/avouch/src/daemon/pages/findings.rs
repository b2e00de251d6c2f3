//! The findings: the list, one in full, and what a person decides about it.

use super::{Pages, asker, bad};
use crate::daemon::{alerting, hub};
use crate::node::now;
use model::{EventId, FindingId, Time};
use web::url::View;
use web::view::{
    Facet, FacetValue, FindingAction, FindingDetail, FindingList, FindingRow, FindingState, HistoryEntry,
    Suppression,
};
use web::{Caller, ConsoleError};

impl Pages {
    pub(super) async fn finding_list(&self, view: &View) -> Result<FindingList, ConsoleError> {
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

    pub(super) async fn finding_detail(&self, id: FindingId) -> Result<FindingDetail, ConsoleError> {
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

    pub(super) async fn decide_finding(
        &self,
        caller: &Caller,
        id: FindingId,
        version: u64,
        action: FindingAction,
    ) -> Result<FindingDetail, ConsoleError> {
        use findings::Command;
        let (command, why) = match action {
            FindingAction::Suppress { intended: true, .. } if self.is_unknown(id) => {
                return Err(ConsoleError::Bad {
                    code: "finding.not_known".to_owned(),
                    message: "nobody can intend what nobody could look at".to_owned(),
                    hint: "give the collecting role the permission that the finding names, and collect again"
                        .to_owned(),
                });
            }
            FindingAction::Suppress { owner, reason, until, intended, approver } => {
                let new = findings::NewSuppression {
                    selector: findings::Selector::one(id),
                    kind: if intended {
                        findings::SuppressionKind::Intended
                    } else {
                        findings::SuppressionKind::Suppression
                    },
                    owner,
                    approver,
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
        self.finding_detail(id).await
    }

    /// Whether the finding says that access could not be judged.
    fn is_unknown(&self, id: FindingId) -> bool {
        let rule = access::finding::Rule::Unknown.name();
        self.node.hub.state().get(id).is_some_and(|e| e.finding().rule.name == rule)
    }

    pub(super) fn findings_over(&self, id: EventId) -> Vec<FindingRow> {
        let state = self.node.hub.state();
        state
            .entries()
            .filter(|e| e.finding().evidence.iter().any(|v| v.event_id == id))
            .filter_map(|e| state.row(e.id(), now()))
            .map(|r| finding_row(&r))
            .collect()
    }
}

pub(super) fn state_of(shown: findings::Shown) -> FindingState {
    match shown.term() {
        "RESOLVED" | "ARCHIVED" => FindingState::Resolved,
        "SUPPRESSED" => FindingState::Suppressed,
        "NOTIFIED" => FindingState::Notified,
        _ => FindingState::New,
    }
}

pub(super) fn hidden(s: &findings::Suppression) -> Suppression {
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
