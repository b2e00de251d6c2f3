//! Which findings a filter or suppression means by what they are.

use super::ATTRIBUTES;
use super::parse::join;
use crate::{Entry, Key};
use model::{FindingId, FindingSource, Severity, glob};
use std::collections::{BTreeMap, BTreeSet};

/// The part of a filter that is about the finding itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Subject {
    pub(super) terms: BTreeMap<Key, Vec<Pattern>>,
    pub(super) severity: Vec<SeverityTerm>,
}

impl Subject {
    pub fn id(id: FindingId) -> Subject {
        let pattern = Pattern { is_not: false, is_glob: false, text: id.to_string() };
        Subject { terms: BTreeMap::from([(Key::Id, vec![pattern])]), severity: Vec::new() }
    }

    /// Whether it names at least one value that must hold for `key`, and not just `*`.
    pub fn wants(&self, key: Key) -> bool {
        self.terms.get(&key).is_some_and(|t| {
            t.iter().any(|p| !p.is_not) && t.iter().all(|p| p.is_not || p.text.chars().any(|c| c != '*'))
        })
    }

    /// Whether one of `keys` is bound to values without `*`.
    pub fn names_exactly(&self, keys: &[Key]) -> bool {
        keys.iter().any(|k| {
            self.wants(*k) && self.terms.get(k).is_some_and(|t| t.iter().all(|p| p.is_not || !p.is_glob))
        })
    }

    /// Values of `key` without `*` and `!`.
    pub fn exact_values(&self, key: Key) -> impl Iterator<Item = &str> {
        self.terms
            .get(&key)
            .into_iter()
            .flatten()
            .filter(|p| !p.is_not && !p.is_glob)
            .map(|p| p.text.as_str())
    }

    pub fn matches(&self, entry: &Entry) -> bool {
        self.matches_severity(entry) && self.terms.keys().all(|k| self.matches_key(*k, entry))
    }

    pub fn matches_severity(&self, entry: &Entry) -> bool {
        any_none(&self.severity, |t| t.is_not, |t| t.holds(entry.severity()))
    }

    pub fn matches_key(&self, key: Key, entry: &Entry) -> bool {
        let Some(patterns) = self.terms.get(&key) else { return true };
        let f = entry.finding();
        let one = |v: Option<&str>| any_none(patterns, |p| p.is_not, |p| v.is_some_and(|v| p.holds(v)));
        let several = |vs: &[&str]| any_none(patterns, |p| p.is_not, |p| vs.iter().any(|v| p.holds(v)));
        match key {
            Key::Account => one(f.account.as_deref()),
            Key::Region => one(f.region.as_deref()),
            Key::Type => one(Some(&f.finding_type)),
            Key::Rule => several(&[&f.rule.name, &f.rule.id]),
            Key::Resource => one(f.resource.as_deref()),
            Key::Source => one(Some(source_name(f.source))),
            Key::Tag => several(&f.tags.iter().map(String::as_str).collect::<Vec<_>>()),
            Key::Team => one(team(entry)),
            Key::Id => one(Some(&f.id.to_string())),
            key if ATTRIBUTES.contains(&key) => {
                let values = f.attributes.get(key.name()).map(Vec::as_slice).unwrap_or_default();
                several(&values.iter().map(String::as_str).collect::<Vec<_>>())
            }
            _ => true,
        }
    }

    pub fn pairs(&self) -> Vec<(String, String)> {
        let mut out: BTreeMap<String, String> =
            self.terms.iter().map(|(k, p)| (k.name().to_owned(), join(p))).collect();
        if !self.severity.is_empty() {
            let terms: BTreeSet<String> = self.severity.iter().map(SeverityTerm::text).collect();
            out.insert(Key::Severity.name().to_owned(), terms.into_iter().collect::<Vec<_>>().join(","));
        }
        out.into_iter().collect()
    }
}

/// `team:NAME` among the tags.
pub(crate) fn team(entry: &Entry) -> Option<&str> {
    entry.finding().tags.iter().find_map(|t| t.strip_prefix("team:"))
}

pub(super) const SOURCES: [FindingSource; 5] = [
    FindingSource::Detect,
    FindingSource::Assess,
    FindingSource::Access,
    FindingSource::Prove,
    FindingSource::Avouch,
];

pub(crate) fn source_name(s: FindingSource) -> &'static str {
    match s {
        FindingSource::Detect => "detect",
        FindingSource::Assess => "assess",
        FindingSource::Access => "access",
        FindingSource::Prove => "prove",
        FindingSource::Avouch => "avouch",
    }
}

/// Any of those without `!`, none of those with it.
pub(crate) fn any_none<T>(terms: &[T], is_not: impl Fn(&T) -> bool, holds: impl Fn(&T) -> bool) -> bool {
    let mut wanted = terms.iter().filter(|t| !is_not(t)).peekable();
    (wanted.peek().is_none() || wanted.any(&holds)) && !terms.iter().any(|t| is_not(t) && holds(t))
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Pattern {
    pub is_not: bool,
    pub is_glob: bool,
    pub text: String,
}

impl Pattern {
    pub fn holds(&self, value: &str) -> bool {
        if self.is_glob { glob(&self.text, value) } else { self.text == value }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SeverityTerm {
    pub(super) is_not: bool,
    pub(super) what: SeverityIs,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum SeverityIs {
    /// A word means its whole band.
    Band(&'static str),
    Exactly(Severity),
    /// At or above; a word means the foot of its band.
    AtLeast(Severity, String),
}

impl SeverityTerm {
    fn holds(&self, s: Severity) -> bool {
        match &self.what {
            SeverityIs::Band(b) => s.band() == *b,
            SeverityIs::Exactly(t) => s == *t,
            SeverityIs::AtLeast(t, _) => s >= *t,
        }
    }
    pub(super) fn text(&self) -> String {
        let not = if self.is_not { "!" } else { "" };
        match &self.what {
            SeverityIs::Band(b) => format!("{not}{b}"),
            SeverityIs::Exactly(t) => format!("{not}{t}"),
            SeverityIs::AtLeast(_, text) => format!("{not}{text}+"),
        }
    }
}
