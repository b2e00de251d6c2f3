use crate::{EventId, EvidenceList, Facts, FindingId, Severity, Time};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What filters and suppressions may ask beside the subject, by the filter's key: `principal`, `level`, …
pub type Attributes = BTreeMap<String, Vec<String>>;

/// Which crate said so.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingSource {
    /// From events.
    Detect,
    /// From resources.
    Assess,
    /// From policies.
    Access,
    /// From a drill that failed.
    Prove,
    /// From Avouch about itself (a silent source, a damaged file, a forged canary).
    Avouch,
}

/// The rule, check or detector behind a finding.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, Default)]
pub struct RuleRef {
    /// File name without ending: what commands take.
    pub name: String,
    /// UUID of a Sigma rule; empty for others.
    pub id: String,
    pub title: String,
    /// SHA-256 over the normalised rule, hex.
    pub hash: String,
    /// Author and link where the rule's licence asks for them.
    pub credit: Option<String>,
}

/// One event that a finding rests on. The decisive fields are copied in, so that a finding explains itself after the event's
/// dataset expired and without showing events to crates that must not see them (N5).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Evidence {
    pub shard: u32,
    pub seq: u64,
    pub event_id: EventId,
    pub event_time: Time,
    pub dataset: Arc<str>,
    /// Field path → value as text.
    pub fields: Facts,
}

/// What a rule says, whatever it met: one for all occurrences of the rule.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct About {
    pub source: FindingSource,
    /// `Purpose:Resource/Family.Detail`.
    pub finding_type: String,
    pub rule: RuleRef,
    pub title: String,
    /// One sentence on what it means.
    pub why: String,
    /// What to do about it.
    pub fix: String,
    pub severity: Severity,
    pub tags: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: Attributes,
}

/// Whom and what an occurrence is about: with the rule's name, its identity (F2).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Subject {
    pub account: Option<String>,
    pub region: Option<String>,
    pub resource: Option<String>,
    /// The values that separate two findings of one rule, as (field, value).
    pub key: Vec<(String, String)>,
}

/// One time that a rule held: what `detect` emits. `findings` aggregates occurrences by id. What repeats from occurrence to
/// occurrence is shared: a rule that holds for every second event must not copy its prose each time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Occurrence {
    pub id: FindingId,
    #[serde(flatten)]
    pub about: Arc<About>,
    #[serde(flatten)]
    pub subject: Arc<Subject>,
    /// Event time of the decisive event; the window's last for a correlation.
    pub time: Time,
    /// Sorted by (event time, event id); at most [`Occurrence::EVIDENCE_MAX`], `evidence_total` counts all.
    pub evidence: EvidenceList,
    pub evidence_total: u64,
    /// True once no later event can change it.
    pub is_settled: bool,
    /// Set when the evidence carries a drill's canary: kept out of scores and real alert throttles.
    pub drill: Option<String>,
}

impl Occurrence {
    /// References kept with one occurrence; the exact count is kept beside them.
    pub const EVIDENCE_MAX: usize = 1_000;

    /// F2: the id of a finding from what identifies it. No time, no count, no title in it.
    #[must_use]
    pub fn identity(
        type_or_rule: &str,
        account: Option<&str>,
        region: Option<&str>,
        resource: Option<&str>,
        key: &[(String, String)],
    ) -> FindingId {
        // Absent is one byte, present is another one and the text: empty and absent are two things.
        let mut optional = Vec::with_capacity(192);
        let mut range = |o: Option<&str>| {
            let start = optional.len();
            optional.push(u8::from(o.is_some()));
            optional.extend_from_slice(o.unwrap_or_default().as_bytes());
            start..optional.len()
        };
        let ranges = [range(account), range(region), range(resource)];
        let mut parts: Vec<&[u8]> = Vec::with_capacity(4 + 2 * key.len());
        parts.push(type_or_rule.as_bytes());
        parts.extend(ranges.into_iter().map(|r| optional.get(r).unwrap_or_default()));
        parts.extend(key.iter().flat_map(|(k, v)| [k.as_bytes(), v.as_bytes()]));
        FindingId::of(&parts)
    }
}

/// What is wrong, aggregated: the sum of all occurrences with one id. Its life (open, resolved, suppressed, by whom and why) is
/// kept by crate `findings`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Finding {
    pub id: FindingId,
    pub source: FindingSource,
    pub finding_type: String,
    pub rule: RuleRef,
    pub title: String,
    pub why: String,
    pub fix: String,
    pub severity: Severity,
    pub account: Option<String>,
    pub region: Option<String>,
    pub resource: Option<String>,
    pub key: Vec<(String, String)>,
    pub tags: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: Attributes,
    /// Distinct events (or observations) behind it.
    pub count: u64,
    pub first_seen: Time,
    pub last_seen: Time,
    /// The newest evidence, capped as in [`Occurrence::EVIDENCE_MAX`].
    pub evidence: Vec<Evidence>,
    pub is_settled: bool,
    pub drill: Option<String>,
}

/// A finding on its way to a person. One per (finding, route, occasion).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Alert {
    /// Stable over retries, so that a receiver can drop a repeat.
    pub id: String,
    pub finding: FindingId,
    pub route: String,
    /// `opened`, `raised` (severity rose), `repeated`, `recovered`, or `test`.
    pub occasion: String,
    pub created: Time,
    pub deliveries: Vec<Delivery>,
}

/// One attempt to deliver an alert over one channel.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Delivery {
    pub channel: String,
    pub state: DeliveryState,
    pub attempt: u32,
    pub at: Time,
    /// The receiver's own answer (status line, SMTP reply), cut at 1 KiB.
    pub receipt: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    Waiting,
    /// The receiving machine took it. Not the same as a person having seen it.
    Delivered,
    /// Will be tried again.
    Failed,
    /// Given up; a finding of its own says so.
    Dead,
    Acknowledged,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Occurrences lie in state files: sharing their parts must not change how they are written.
    #[test]
    fn an_occurrence_is_written_flat() {
        let about = About {
            source: FindingSource::Detect,
            finding_type: "Policy:Thing/Done".into(),
            rule: RuleRef::default(),
            title: "t".into(),
            why: "w".into(),
            fix: String::new(),
            severity: Severity::HIGH,
            tags: vec!["x".into()],
            attributes: Attributes::new(),
        };
        let subject =
            Subject { account: Some("1".into()), key: vec![("k".into(), "v".into())], ..Subject::default() };
        let occurrence = Occurrence {
            id: FindingId::NONE,
            about: Arc::new(about),
            subject: Arc::new(subject),
            time: Time(1),
            evidence: EvidenceList::from(Evidence {
                shard: 1,
                seq: u64::MAX,
                event_id: EventId::NONE,
                event_time: Time(1),
                dataset: "d".into(),
                fields: [("a", "1"), ("b", "2")].into_iter().collect(),
            }),
            evidence_total: 1,
            is_settled: true,
            drill: None,
        };
        let json = serde_json::to_value(&occurrence).unwrap();
        assert_eq!(json["title"], "t");
        assert_eq!(json["key"][0][1], "v");
        assert_eq!(json["evidence"][0]["fields"]["b"], "2");
        assert_eq!(serde_json::from_value::<Occurrence>(json).unwrap(), occurrence);
        let twice: EvidenceList = occurrence.evidence.iter().chain(&occurrence.evidence).cloned().collect();
        assert_eq!(serde_json::to_value(&twice).unwrap().as_array().map(Vec::len), Some(2));
        assert_eq!(EvidenceList::from(occurrence.evidence.to_vec()), occurrence.evidence);
    }

    #[test]
    fn identity_keeps_absent_and_empty_apart() {
        let id = |r: Option<&str>| Occurrence::identity("rule", Some("111111111111"), None, r, &[]);
        assert_ne!(id(None), id(Some("")));
        assert_eq!(id(Some("x")), id(Some("x")));
    }
}
