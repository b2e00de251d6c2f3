//! Every change as an event of the vault (F3): who, when, why, and the finding as it stands after it.

use crate::{By, Entry, Suppression};
use model::{FindingId, Severity, Time};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Dataset of these events.
pub const FINDING_DATASET: &str = "avouch.finding";

/// One change of a finding or of a suppression. Written as one JSON line; keys are only ever added.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FindingEvent {
    /// `avouch.finding/1`.
    pub schema: String,
    /// `opened`, `raised`, `reopened`, `resolved`, `notified`, `assigned`, `noted`, `severity_set`, `verified`, `judged`, `archived`, `widened`,
    /// `suppression_created`, `suppression_prolonged`, `suppression_ended`, `suppression_expired`.
    pub kind: String,
    pub time: Time,
    pub who: String,
    pub why: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub finding: Option<FindingId>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub suppression: Option<Suppression>,
    #[serde(skip_serializing_if = "Option::is_none", default, rename = "type")]
    pub finding_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub severity: Option<Severity>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub resource: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub record: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub workflow: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub first_seen: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_seen: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub drill: Option<String>,
    /// What moved, by name: `from`, `to`, `note`, `assignee`, …
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub detail: BTreeMap<String, String>,
}

impl FindingEvent {
    pub(crate) fn of(kind: &str, entry: &Entry, by: &By, detail: &[(&str, &str)]) -> FindingEvent {
        let f = entry.finding();
        FindingEvent {
            finding: Some(f.id),
            finding_type: Some(f.finding_type.clone()),
            rule: Some(f.rule.name.clone()),
            title: Some(f.title.clone()),
            severity: Some(entry.severity()),
            account: f.account.clone(),
            region: f.region.clone(),
            resource: f.resource.clone(),
            record: Some(entry.record.term().to_owned()),
            workflow: Some(entry.workflow.term().to_owned()),
            count: Some(f.count),
            first_seen: Some(f.first_seen),
            last_seen: Some(f.last_seen),
            version: Some(entry.version),
            drill: f.drill.clone(),
            detail: detail.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            ..FindingEvent::bare(kind, by)
        }
    }

    pub(crate) fn of_suppression(
        kind: &str,
        s: &Suppression,
        by: &By,
        detail: &[(&str, &str)],
    ) -> FindingEvent {
        FindingEvent {
            suppression: Some(s.clone()),
            detail: detail.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            ..FindingEvent::bare(kind, by)
        }
    }

    fn bare(kind: &str, by: &By) -> FindingEvent {
        FindingEvent {
            schema: "avouch.finding/1".to_owned(),
            kind: kind.to_owned(),
            time: by.at,
            who: by.who.clone(),
            why: by.why.clone(),
            finding: None,
            suppression: None,
            finding_type: None,
            rule: None,
            title: None,
            severity: None,
            account: None,
            region: None,
            resource: None,
            record: None,
            workflow: None,
            count: None,
            first_seen: None,
            last_seen: None,
            version: None,
            drill: None,
            detail: BTreeMap::new(),
        }
    }

    /// One line of JSON, the raw bytes of the event.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}
