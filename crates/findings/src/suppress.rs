//! Suppression is a view, evaluated at a time that the caller gives. Nothing here writes to a finding.

use crate::access::may_hide;
use crate::filter::{Filter, Subject};
use crate::{By, Entry, Error, Key, Record, State};
use model::{About, EvidenceList, FindingId, FindingSource, Occurrence, RuleRef, Severity, Time};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Longest life of a suppression. A year and a month: an exception granted for a year survives until its review, not beyond.
pub const SUPPRESSION_DAYS_MAX: i64 = 400;
/// How long before its end a suppression is announced.
pub(crate) const ENDING_BEFORE: i64 = 14 * Time::DAY;
/// A selector that hits more findings than this needs a second person: it is a policy, not an exception.
pub const SECOND_PERSON_ABOVE: usize = 100;
/// Types that begin so are never suppressed: a suppression must stay visible, above all to somebody who did not make it (F3).
pub(crate) const OWN_TYPES: &str = "Avouch:Suppression/";

/// Which findings a suppression hides, in the filter grammar: `type`, `rule`, `id`, `account`, `region`, `resource`, `source`,
/// `tag`, `team`, `severity`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Selector(Subject);

impl Selector {
    /// # Errors
    /// Keys that are not a finding's own (`state`, `q`, `from`), and selectors that would hide everything.
    pub fn parse<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Selector, Error> {
        let pairs: Vec<(&str, &str)> = pairs.into_iter().collect();
        let filter = Filter::parse(pairs.iter().copied())?;
        for (key, _) in &pairs {
            let is_subject = Key::from_name(key).is_some_and(Key::is_subject);
            if !is_subject {
                return Err(Error::NotASelectorKey { key: (*key).to_owned() });
            }
        }
        let narrows = [Key::Id, Key::Type, Key::Rule, Key::Account, Key::Resource, Key::Principal];
        if !narrows.into_iter().any(|k| filter.subject.wants(k)) {
            return Err(Error::HidesEverything);
        }
        Ok(Selector(filter.subject))
    }

    /// For one finding.
    #[must_use]
    pub fn one(id: FindingId) -> Selector {
        Selector(Subject::id(id))
    }

    /// Canonical: sorted by key.
    #[must_use]
    pub fn pairs(&self) -> Vec<(String, String)> {
        self.0.pairs()
    }

    pub(crate) fn hits(&self, entry: &Entry) -> bool {
        self.matches(entry) && may_hide(&self.0, entry)
    }

    fn matches(&self, entry: &Entry) -> bool {
        !entry.finding().finding_type.starts_with(OWN_TYPES) && self.0.matches(entry)
    }
}

/// `type=Recon:* account=111122223333`.
impl std::fmt::Display for Selector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, (k, v)) in self.pairs().into_iter().enumerate() {
            write!(f, "{}{k}={v}", if i == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

impl Serialize for Selector {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(self.pairs())
    }
}

impl<'de> Deserialize<'de> for Selector {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Selector, D::Error> {
        let pairs = BTreeMap::<String, String>::deserialize(d)?;
        Selector::parse(pairs.iter().map(|(k, v)| (k.as_str(), v.as_str()))).map_err(serde::de::Error::custom)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SuppressionKind {
    #[default]
    Suppression,
    /// Access from outside that is meant to be there.
    Intended,
}

/// What a person asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewSuppression {
    pub selector: Selector,
    pub kind: SuppressionKind,
    /// Who answers for it.
    pub owner: String,
    pub approver: Option<String>,
    pub ticket: Option<String>,
    /// From when; [`Time::NONE`] for at once.
    pub from: Time,
    pub until: Time,
}

/// One suppression, kept for ever: an ended one is part of the record.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Suppression {
    pub id: String,
    pub selector: Selector,
    pub kind: SuppressionKind,
    pub owner: String,
    pub reason: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub approver: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ticket: Option<String>,
    pub from: Time,
    /// Exclusive. A suppression without an end cannot be written.
    pub until: Time,
    pub created: Time,
    pub created_by: String,
    /// Findings that it hid when it was made.
    pub hits_at_start: usize,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ended: Option<End>,
}

/// How a suppression ended: undone by a person, or expired.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct End {
    pub at: Time,
    pub by: String,
    pub why: String,
}

impl Suppression {
    #[must_use]
    pub fn is_active(&self, now: Time) -> bool {
        self.from <= now && now < self.until && self.ended.as_ref().is_none_or(|e| now < e.at)
    }
    /// Whether `entry` is one of those it hides while active.
    #[must_use]
    pub fn hits(&self, entry: &Entry) -> bool {
        self.selector.hits(entry)
    }
}

/// What a selector would hide now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Preview {
    pub hits: usize,
    pub critical: usize,
    /// Fit as well and stay visible: access that is or may be public, which a selector has to name.
    pub left: usize,
    /// The worst, at most five.
    pub examples: Vec<FindingId>,
}

/// Counts what `selector` hides among all findings that are not archived.
pub(crate) fn preview(state: &State, selector: &Selector) -> Preview {
    let mut hit: Vec<&Entry> =
        state.entries().filter(|e| e.record == Record::Active && selector.hits(e)).collect();
    let left = state
        .entries()
        .filter(|e| e.record == Record::Active && selector.matches(e) && !may_hide(&selector.0, e))
        .count();
    hit.sort_by_key(|e| (std::cmp::Reverse(e.severity()), e.id()));
    Preview {
        hits: hit.len(),
        critical: hit.iter().filter(|e| e.severity() >= Severity::CRITICAL).count(),
        left,
        examples: hit.iter().take(5).map(|e| e.id()).collect(),
    }
}

impl State {
    /// What `selector` would hide now: shown before a person decides.
    #[must_use]
    pub fn preview(&self, selector: &Selector) -> Preview {
        preview(self, selector)
    }
}

/// Checks what is asked for and makes the suppression of it.
pub(crate) fn make(state: &State, new: &NewSuppression, by: &By) -> Result<Suppression, Error> {
    if new.owner.trim().is_empty() {
        return Err(Error::NoOwner);
    }
    let from = new.from.known().unwrap_or(by.at);
    check_end(from.max(by.at), new.until, by.at)?;
    let preview = preview(state, &new.selector);
    let says_so = [Key::Public, Key::Confidence].into_iter().any(|k| new.selector.0.wants(k));
    let is_named = new.selector.0.names_exactly(&[Key::Id, Key::Resource]);
    if (preview.hits == 0 && preview.left > 0) || (says_so && !is_named) {
        return Err(Error::NeedsNamedResource { hits: preview.left });
    }
    let second = new.approver.as_deref().map(str::trim).filter(|a| !a.is_empty());
    let is_second = second.is_some_and(|a| a != new.owner.trim() && a != by.who);
    if (preview.hits > SECOND_PERSON_ABOVE || preview.critical > 0) && !is_second {
        return Err(Error::NeedsSecondPerson { hits: preview.hits, critical: preview.critical });
    }
    let text = format!("{}\n{}\n{}\n{}\n{}", new.selector, new.owner, by.why, by.at, new.until);
    let id = model::sha256_hex(text.as_bytes()).chars().take(12).collect();
    Ok(Suppression {
        id,
        selector: new.selector.clone(),
        kind: new.kind,
        owner: new.owner.trim().to_owned(),
        reason: by.why.clone(),
        approver: second.map(str::to_owned),
        ticket: new.ticket.clone(),
        from,
        until: new.until,
        created: by.at,
        created_by: by.who.clone(),
        hits_at_start: preview.hits,
        ended: None,
    })
}

pub(crate) fn check_end(from: Time, until: Time, now: Time) -> Result<(), Error> {
    if until <= from {
        return Err(Error::EndsBeforeStart { from: from.to_string(), until: until.to_string() });
    }
    if until.since(now) > SUPPRESSION_DAYS_MAX * Time::DAY {
        return Err(Error::TooLong { until: until.to_string(), max_days: SUPPRESSION_DAYS_MAX });
    }
    Ok(())
}

/// What happened to a suppression, as a finding of its own (F3: hiding is something an attacker might do).
pub(crate) fn own_finding(
    what: &str,
    s: &Suppression,
    by: &By,
    severity: Severity,
    why: String,
) -> Occurrence {
    let finding_type = format!("{OWN_TYPES}{what}");
    let about = About {
        source: FindingSource::Avouch,
        rule: RuleRef {
            name: "suppression".to_owned(),
            title: "Findings are hidden on purpose".to_owned(),
            ..RuleRef::default()
        },
        title: format!("Suppression {}: {}", what.to_lowercase(), s.selector),
        why,
        fix: format!(
            "Ask {} whether it is still right; `avouch findings unsuppress {}` ends it at once.",
            s.owner, s.id
        ),
        severity,
        tags: Vec::new(),
        attributes: model::Attributes::new(),
        finding_type,
    };
    let subject =
        model::Subject { resource: Some(format!("suppression/{}", s.id)), ..model::Subject::default() };
    Occurrence {
        id: own_id(what, s),
        about: Arc::new(about),
        subject: Arc::new(subject),
        time: by.at,
        evidence: EvidenceList::default(),
        evidence_total: 1,
        is_settled: true,
        drill: None,
    }
}

pub(crate) fn own_id(what: &str, s: &Suppression) -> FindingId {
    let resource = format!("suppression/{}", s.id);
    Occurrence::identity(&format!("{OWN_TYPES}{what}"), None, None, Some(&resource), &[])
}
