//! One finding with its life, and all of them.

use crate::sum::{Pending, Sum};
use crate::{Changes, Error, Shown, Suppression};
use model::{Finding, FindingId, Severity, Time};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Steps shown with a finding. Older ones are in the vault (dataset `avouch.finding`), which keeps them all.
pub const HISTORY_MAX: usize = 50;
/// Notes kept with a finding; older ones are in the vault.
pub const NOTES_MAX: usize = 20;

/// Whether the producer still stands behind a finding (`posture.md` 5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Record {
    Active,
    Archived,
}

/// What people have done about a finding. `SUPPRESSED` is derived and lies over it (see [`Shown`]).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Workflow {
    New,
    Notified,
    Resolved,
}

impl Workflow {
    /// The exact term.
    #[must_use]
    pub fn term(self) -> &'static str {
        match self {
            Workflow::New => "NEW",
            Workflow::Notified => "NOTIFIED",
            Workflow::Resolved => "RESOLVED",
        }
    }
}

impl Record {
    /// The exact term.
    #[must_use]
    pub fn term(self) -> &'static str {
        match self {
            Record::Active => "ACTIVE",
            Record::Archived => "ARCHIVED",
        }
    }
}

/// The answer of a check. Detections have none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Pass,
    Fail,
    /// It could not look (F1). Never resolves anything.
    Unknown,
}

/// What a person found out about a finding.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verification {
    #[default]
    Unknown,
    True,
    False,
    BenignPositive,
}

/// The half that people write; producers never touch it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct People {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub assignee: Option<String>,
    /// Shown and filtered by instead of the producer's severity.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub severity: Option<Severity>,
    #[serde(default)]
    pub verification: Verification,
    /// Oldest first, at most [`NOTES_MAX`].
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub notes: Vec<Note>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Note {
    pub who: String,
    pub at: Time,
    pub text: String,
}

/// One line of a finding's history.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Step {
    pub at: Time,
    pub who: String,
    /// `opened`, `raised`, `reopened`, `resolved`, …: the kind of the event in the vault.
    pub what: String,
    pub why: String,
}

/// A finding and its life. Stored as JSON under its id by the host.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    pub(crate) sum: Sum,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) pending: Option<Pending>,
    pub record: Record,
    /// Why it is archived.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub archived_because: Option<String>,
    pub workflow: Workflow,
    /// When `workflow` last moved.
    pub workflow_since: Time,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub verdict: Option<Verdict>,
    pub people: People,
    /// Counts changes of people's half and of the workflow; a command may name the one that it saw.
    pub version: u64,
    /// When it was first put into the state, by our clock.
    pub created: Time,
    /// When something new about it last came in, by our clock; ages it (event time may be years old in an import).
    pub observed: Time,
    /// When it last came to allow more than what was looked at: suppressions made before do not hide it any more.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub widened: Option<Time>,
    /// Newest last, at most [`HISTORY_MAX`].
    pub history: Vec<Step>,
}

impl Entry {
    /// The sum of all occurrences.
    #[must_use]
    pub fn finding(&self) -> &Finding {
        &self.sum.finding
    }
    #[must_use]
    pub fn id(&self) -> FindingId {
        self.sum.finding.id
    }
    /// A person's word if there is one, else the producer's.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.people.severity.unwrap_or(self.sum.finding.severity)
    }
    /// False where the count of events is an estimate (above [`crate::DISTINCT_EXACT`]).
    #[must_use]
    pub fn is_count_exact(&self) -> bool {
        self.sum.is_count_exact()
    }
    #[must_use]
    pub fn is_drill(&self) -> bool {
        self.sum.finding.drill.is_some()
    }

    pub(crate) fn step(&mut self, at: Time, who: &str, what: &str, why: &str) {
        self.history.push(Step { at, who: who.to_owned(), what: what.to_owned(), why: why.to_owned() });
        let excess = self.history.len().saturating_sub(HISTORY_MAX);
        self.history.drain(..excess);
    }
}

/// All findings and suppressions. Cheap to clone: entries are shared, so a page can be drawn from a copy while work goes on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct State {
    pub(crate) entries: BTreeMap<FindingId, Arc<Entry>>,
    pub(crate) suppressions: BTreeMap<String, Arc<Suppression>>,
}

impl State {
    /// From what the host stored, one JSON text each.
    ///
    /// # Errors
    /// `finding.stored` for the first text that cannot be read.
    pub fn load<'a>(
        entries: impl IntoIterator<Item = &'a [u8]>,
        suppressions: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<State, Error> {
        let bad = |e: serde_json::Error| Error::Stored(e.to_string());
        let mut state = State::default();
        for json in entries {
            let e: Entry = serde_json::from_slice(json).map_err(bad)?;
            state.entries.insert(e.id(), Arc::new(e));
        }
        for json in suppressions {
            let s: Suppression = serde_json::from_slice(json).map_err(bad)?;
            state.suppressions.insert(s.id.clone(), Arc::new(s));
        }
        Ok(state)
    }

    /// Puts decided changes in force. To be called after they are stored.
    pub fn apply(&mut self, changes: &Changes) {
        for e in &changes.entries {
            self.entries.insert(e.id(), Arc::clone(e));
        }
        for s in &changes.suppressions {
            self.suppressions.insert(s.id.clone(), Arc::clone(s));
        }
    }

    #[must_use]
    pub fn get(&self, id: FindingId) -> Option<&Entry> {
        self.entries.get(&id).map(|e| &**e)
    }
    /// In the order of ids.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().map(|e| &**e)
    }
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
    /// All suppressions, ended ones included: they are part of the record.
    pub fn suppressions(&self) -> impl Iterator<Item = &Suppression> {
        self.suppressions.values().map(|s| &**s)
    }

    /// The finding whose id begins with `prefix`.
    ///
    /// # Errors
    /// None or several do.
    pub fn find(&self, prefix: &str) -> Result<&Entry, Error> {
        if let Some(e) = prefix.parse::<FindingId>().ok().and_then(|id| self.get(id)) {
            return Ok(e);
        }
        // A bare letter would "find" something by luck.
        const PREFIX_CHARS_MIN: usize = 4;
        if prefix.chars().count() < PREFIX_CHARS_MIN {
            return Err(Error::UnknownFinding(prefix.to_owned()));
        }
        let fits: Vec<&Entry> = self.entries().filter(|e| e.id().to_string().starts_with(prefix)).collect();
        match fits.as_slice() {
            [] => Err(Error::UnknownFinding(prefix.to_owned())),
            [one] => Ok(one),
            many => Err(Error::AmbiguousFinding {
                prefix: prefix.to_owned(),
                n: many.len(),
                ids: many.iter().take(3).map(|e| e.id().to_string()).collect(),
            }),
        }
    }

    /// The suppression that hides `entry` at `now`: of several, the one that ends last.
    #[must_use]
    pub fn hidden_by(&self, entry: &Entry, now: Time) -> Option<&Suppression> {
        self.suppressions()
            .filter(|s| s.is_active(now) && entry.widened.is_none_or(|w| w <= s.created) && s.hits(entry))
            .max_by_key(|s| (s.until, &s.id))
    }

    /// What a list says about `entry` at `now`.
    #[must_use]
    pub fn shown(&self, entry: &Entry, now: Time) -> Shown {
        shown(entry, self.hidden_by(entry, now).is_some())
    }
}

/// Archived outranks hidden outranks what people did.
pub(crate) fn shown(entry: &Entry, is_hidden: bool) -> Shown {
    match (entry.record, entry.workflow) {
        (Record::Archived, _) => Shown::Archived,
        _ if is_hidden => Shown::Suppressed,
        (_, Workflow::New) => Shown::New,
        (_, Workflow::Notified) => Shown::Notified,
        (_, Workflow::Resolved) => Shown::Resolved,
    }
}
