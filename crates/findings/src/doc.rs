//! A finding as JSON for files, pipes and the API: exact terms, fixed key order (O1).

use crate::{Entry, Note, Row, Step, Suppression, Verdict, Verification};
use model::{Attributes, Evidence, FindingId, FindingSource, RuleRef, Severity, Time};
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Clone, Debug, Serialize)]
pub struct Doc<'a> {
    pub id: FindingId,
    /// What lists show: `NEW`, `NOTIFIED`, `RESOLVED`, `SUPPRESSED` or `ARCHIVED`.
    pub state: &'static str,
    /// The stored value that lies under a suppression.
    pub workflow: &'static str,
    pub record: &'static str,
    pub severity: Severity,
    pub band: &'static str,
    #[serde(rename = "type")]
    pub finding_type: &'a str,
    pub title: &'a str,
    pub why: &'a str,
    pub fix: &'a str,
    pub account: Option<&'a str>,
    pub region: Option<&'a str>,
    pub resource: Option<&'a str>,
    pub key: BTreeMap<&'a str, &'a str>,
    pub tags: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: &'a Attributes,
    pub count: u64,
    pub count_is_exact: bool,
    pub first_seen: Time,
    pub last_seen: Time,
    pub source: FindingSource,
    pub rule: &'a RuleRef,
    pub is_settled: bool,
    pub drill: Option<&'a str>,
    pub verdict: Option<Verdict>,
    pub archived_because: Option<&'a str>,
    pub suppression: Option<Hidden<'a>>,
    pub assignee: Option<&'a str>,
    pub verification: Verification,
    /// The producer's, where a person set another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub producer_severity: Option<Severity>,
    pub created: Time,
    pub workflow_since: Time,
    pub version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notes: Option<&'a [Note]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<&'a [Step]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<&'a [Evidence]>,
}

/// The suppression over a finding.
#[derive(Clone, Debug, Serialize)]
pub struct Hidden<'a> {
    pub id: &'a str,
    pub owner: &'a str,
    pub reason: &'a str,
    pub until: Time,
}

impl<'a> From<&'a Suppression> for Hidden<'a> {
    fn from(s: &'a Suppression) -> Hidden<'a> {
        Hidden { id: &s.id, owner: &s.owner, reason: &s.reason, until: s.until }
    }
}

impl<'a> Row<'a> {
    /// Without notes, history and evidence: a line of a list.
    #[must_use]
    pub fn brief(&self) -> Doc<'a> {
        let e: &'a Entry = self.entry;
        let f = e.finding();
        Doc {
            id: f.id,
            state: self.shown.term(),
            workflow: e.workflow.term(),
            record: e.record.term(),
            severity: e.severity(),
            band: e.severity().band(),
            finding_type: &f.finding_type,
            title: &f.title,
            why: &f.why,
            fix: &f.fix,
            account: f.account.as_deref(),
            region: f.region.as_deref(),
            resource: f.resource.as_deref(),
            key: f.key.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect(),
            tags: &f.tags,
            attributes: &f.attributes,
            count: f.count,
            count_is_exact: e.is_count_exact(),
            first_seen: f.first_seen,
            last_seen: f.last_seen,
            source: f.source,
            rule: &f.rule,
            is_settled: f.is_settled,
            drill: f.drill.as_deref(),
            verdict: e.verdict,
            archived_because: e.archived_because.as_deref(),
            suppression: self.suppression.map(Hidden::from),
            assignee: e.people.assignee.as_deref(),
            verification: e.people.verification,
            producer_severity: e.people.severity.map(|_| f.severity),
            created: e.created,
            workflow_since: e.workflow_since,
            version: e.version,
            notes: None,
            history: None,
            evidence: None,
        }
    }

    /// Everything.
    #[must_use]
    pub fn full(&self) -> Doc<'a> {
        let e: &'a Entry = self.entry;
        Doc {
            notes: Some(&e.people.notes),
            history: Some(&e.history),
            evidence: Some(&e.finding().evidence),
            ..self.brief()
        }
    }
}
