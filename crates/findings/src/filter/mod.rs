//! The filter grammar of lists, addresses and suppressions (`interface.md` 2.5): `key=v1,v2` (any of), `key=!v` (not),
//! `severity=high+` (at or above), `q=` words, `from`, `to`, `range=24h`, `sort=-severity,last_seen`. An unknown key or value is an
//! error with the nearest valid one: a filter that is dropped would show more than was asked for.
//!
//! `*` in a value stands for any run of characters; `\,`, `\!`, `\*` and `\\` are the characters themselves.

mod parse;
mod subject;

use crate::Error;
use model::{Time, nearest};
use parse::{
    closed, escape, join, parse_range, parse_severity, parse_sort, parse_states, parse_time, patterns, split,
};
use std::collections::{BTreeMap, BTreeSet};
use subject::SOURCES;
pub(crate) use subject::{Pattern, Subject, any_none, source_name, team};

/// Every key, in the order of the reference page.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Key {
    Severity,
    State,
    Account,
    Region,
    Type,
    Rule,
    Resource,
    Source,
    Tag,
    Team,
    Id,
    Principal,
    PrincipalKind,
    ResourceType,
    Unit,
    Action,
    Level,
    Condition,
    Public,
    Confidence,
    Assignee,
    Drill,
    Q,
    From,
    To,
    Range,
    Sort,
    Group,
    Columns,
    Limit,
    Cursor,
}

pub const KEYS: [Key; 31] = [
    Key::Severity,
    Key::State,
    Key::Account,
    Key::Region,
    Key::Type,
    Key::Rule,
    Key::Resource,
    Key::Source,
    Key::Tag,
    Key::Team,
    Key::Id,
    Key::Principal,
    Key::PrincipalKind,
    Key::ResourceType,
    Key::Unit,
    Key::Action,
    Key::Level,
    Key::Condition,
    Key::Public,
    Key::Confidence,
    Key::Assignee,
    Key::Drill,
    Key::Q,
    Key::From,
    Key::To,
    Key::Range,
    Key::Sort,
    Key::Group,
    Key::Columns,
    Key::Limit,
    Key::Cursor,
];

/// Answered from [`model::Attributes`]: only producers that fill them have findings that fit.
pub(crate) const ATTRIBUTES: [Key; 9] = [
    Key::Principal,
    Key::PrincipalKind,
    Key::ResourceType,
    Key::Unit,
    Key::Action,
    Key::Level,
    Key::Condition,
    Key::Public,
    Key::Confidence,
];

/// What a list can be grouped by; also the keys that have facets.
pub const GROUP_KEYS: [Key; 8] =
    [Key::Severity, Key::State, Key::Account, Key::Region, Key::Type, Key::Rule, Key::Source, Key::Team];

impl Key {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Key::Severity => "severity",
            Key::State => "state",
            Key::Account => "account",
            Key::Region => "region",
            Key::Type => "type",
            Key::Rule => "rule",
            Key::Resource => "resource",
            Key::Source => "source",
            Key::Tag => "tag",
            Key::Team => "team",
            Key::Id => "id",
            Key::Principal => "principal",
            Key::PrincipalKind => "principal-kind",
            Key::ResourceType => "resource-type",
            Key::Unit => "unit",
            Key::Action => "action",
            Key::Level => "level",
            Key::Condition => "condition",
            Key::Public => "public",
            Key::Confidence => "confidence",
            Key::Assignee => "assignee",
            Key::Drill => "drill",
            Key::Q => "q",
            Key::From => "from",
            Key::To => "to",
            Key::Range => "range",
            Key::Sort => "sort",
            Key::Group => "group",
            Key::Columns => "columns",
            Key::Limit => "limit",
            Key::Cursor => "cursor",
        }
    }
    #[must_use]
    pub fn from_name(name: &str) -> Option<Key> {
        KEYS.into_iter().find(|k| k.name() == name)
    }
    /// Whether it is about the finding itself and so may stand in a suppression.
    pub(crate) fn is_subject(self) -> bool {
        use Key::{Account, Id, Region, Resource, Rule, Severity, Source, Tag, Team, Type};
        matches!(self, Severity | Account | Region | Type | Rule | Resource | Source | Tag | Team | Id)
            || ATTRIBUTES.contains(&self)
    }
}

/// What a list says about a finding: stored workflow, or what lies over it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Shown {
    New,
    Notified,
    Suppressed,
    Resolved,
    Archived,
}

impl Shown {
    pub const ALL: [Shown; 5] =
        [Shown::New, Shown::Notified, Shown::Suppressed, Shown::Resolved, Shown::Archived];
    /// The exact term.
    #[must_use]
    pub fn term(self) -> &'static str {
        match self {
            Shown::New => "NEW",
            Shown::Notified => "NOTIFIED",
            Shown::Suppressed => "SUPPRESSED",
            Shown::Resolved => "RESOLVED",
            Shown::Archived => "ARCHIVED",
        }
    }
    /// As in a filter.
    #[must_use]
    pub fn value(self) -> &'static str {
        match self {
            Shown::New => "new",
            Shown::Notified => "notified",
            Shown::Suppressed => "suppressed",
            Shown::Resolved => "resolved",
            Shown::Archived => "archived",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Drills {
    Exclude,
    Include,
    Only,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum SortKey {
    Severity,
    LastSeen,
    FirstSeen,
    Count,
    Type,
    Rule,
    Account,
    Resource,
    State,
    Title,
}

impl SortKey {
    pub const ALL: [SortKey; 10] = [
        SortKey::Severity,
        SortKey::LastSeen,
        SortKey::FirstSeen,
        SortKey::Count,
        SortKey::Type,
        SortKey::Rule,
        SortKey::Account,
        SortKey::Resource,
        SortKey::State,
        SortKey::Title,
    ];
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            SortKey::Severity => "severity",
            SortKey::LastSeen => "last_seen",
            SortKey::FirstSeen => "first_seen",
            SortKey::Count => "count",
            SortKey::Type => "type",
            SortKey::Rule => "rule",
            SortKey::Account => "account",
            SortKey::Resource => "resource",
            SortKey::State => "state",
            SortKey::Title => "title",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sort {
    pub key: SortKey,
    pub is_descending: bool,
}

const DEFAULT_SORT: [Sort; 2] = [
    Sort { key: SortKey::Severity, is_descending: true },
    Sort { key: SortKey::LastSeen, is_descending: true },
];

/// A parsed view. `Filter::default()` is what the Findings page opens with: open findings, no drills, worst and newest first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filter {
    pub(crate) subject: Subject,
    pub(crate) assignee: Vec<Pattern>,
    pub(crate) states: BTreeSet<Shown>,
    pub(crate) drills: Drills,
    /// Lower case.
    pub(crate) words: Vec<String>,
    pub(crate) from: Option<Time>,
    pub(crate) to: Option<Time>,
    /// Microseconds back from now, and the text it was.
    pub(crate) range: Option<(i64, String)>,
    pub sort: Vec<Sort>,
    pub group: Option<Key>,
    /// Columns to show, for the caller; empty = its default.
    pub columns: Vec<String>,
    pub limit: Option<usize>,
    /// Id of the last row of the page before.
    pub cursor: Option<String>,
}

impl Default for Filter {
    fn default() -> Filter {
        Filter {
            subject: Subject::default(),
            assignee: Vec::new(),
            states: default_states(),
            drills: Drills::Exclude,
            words: Vec::new(),
            from: None,
            to: None,
            range: None,
            sort: DEFAULT_SORT.to_vec(),
            group: None,
            columns: Vec::new(),
            limit: None,
            cursor: None,
        }
    }
}

fn default_states() -> BTreeSet<Shown> {
    BTreeSet::from([Shown::New, Shown::Notified])
}

impl Filter {
    /// # Errors
    /// Unknown keys and values, with the nearest valid one.
    pub fn parse<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Filter, Error> {
        let mut filter = Filter::default();
        let mut seen = BTreeSet::new();
        for (name, value) in pairs {
            let key = Key::from_name(name).ok_or_else(|| Error::UnknownKey {
                key: name.to_owned(),
                nearest: nearest(name, KEYS.map(Key::name)).into_iter().map(str::to_owned).collect(),
            })?;
            if !seen.insert(key) {
                return Err(Error::Twice { key: name.to_owned() });
            }
            filter.set(key, value)?;
        }
        Ok(filter)
    }

    fn set(&mut self, key: Key, value: &str) -> Result<(), Error> {
        match key {
            Key::Severity => self.subject.severity = parse_severity(value)?,
            Key::State => self.states = parse_states(value)?,
            Key::Assignee => self.assignee = patterns(key, value)?,
            Key::Drill => {
                let all = [("no", Drills::Exclude), ("yes", Drills::Include), ("only", Drills::Only)];
                self.drills = closed(key, value, &all)?;
            }
            Key::Q => self.words = value.split_whitespace().map(str::to_lowercase).collect(),
            Key::From => self.from = Some(parse_time(key, value)?),
            Key::To => self.to = Some(parse_time(key, value)?),
            Key::Range => self.range = Some((parse_range(value)?, value.to_owned())),
            Key::Sort => self.sort = parse_sort(value)?,
            Key::Group => self.group = Some(closed(key, value, &GROUP_KEYS.map(|k| (k.name(), k)))?),
            Key::Columns => {
                self.columns = split(key, value)?.into_iter().map(|p| p.text).collect();
            }
            Key::Limit => {
                let n = value.parse().ok().filter(|n| (1..=crate::LIST_MAX).contains(n));
                self.limit = Some(n.ok_or_else(|| Error::UnknownValue {
                    key: key.name().to_owned(),
                    value: value.to_owned(),
                    nearest: Vec::new(),
                    allowed: format!("a number from 1 to {}", crate::LIST_MAX),
                })?);
            }
            Key::Cursor => self.cursor = Some(value.to_owned()),
            Key::Source => {
                let sources = patterns(key, value)?;
                for s in sources.iter().filter(|s| !s.is_glob) {
                    closed(key, &s.text, &SOURCES.map(|s| (source_name(s), ())))?;
                }
                self.subject.terms.insert(key, sources);
            }
            _ => {
                self.subject.terms.insert(key, patterns(key, value)?);
            }
        }
        Ok(())
    }

    /// Canonical: sorted by key, defaults left out, so that one view has one address (O1).
    #[must_use]
    pub fn pairs(&self) -> Vec<(String, String)> {
        let mut out: BTreeMap<&str, String> = BTreeMap::new();
        let subject = self.subject.pairs();
        out.extend(subject.iter().map(|(k, v)| (k.as_str(), v.clone())));
        let mut put = |key: Key, value: String| {
            out.insert(key.name(), value);
        };
        if self.states != default_states() {
            let is_all = self.states.len() == Shown::ALL.len();
            let named: Vec<&str> = self.states.iter().map(|s| s.value()).collect();
            put(Key::State, if is_all { "all".to_owned() } else { named.join(",") });
        }
        if !self.assignee.is_empty() {
            put(Key::Assignee, join(&self.assignee));
        }
        match self.drills {
            Drills::Exclude => {}
            Drills::Include => put(Key::Drill, "yes".to_owned()),
            Drills::Only => put(Key::Drill, "only".to_owned()),
        }
        if !self.words.is_empty() {
            put(Key::Q, self.words.join(" "));
        }
        for (key, time) in [(Key::From, self.from), (Key::To, self.to)] {
            if let Some(t) = time {
                put(key, t.to_string());
            }
        }
        if let Some((_, text)) = &self.range {
            put(Key::Range, text.clone());
        }
        if self.sort != DEFAULT_SORT {
            let one = |s: &Sort| format!("{}{}", if s.is_descending { "-" } else { "" }, s.key.name());
            put(Key::Sort, self.sort.iter().map(one).collect::<Vec<_>>().join(","));
        }
        if let Some(g) = self.group {
            put(Key::Group, g.name().to_owned());
        }
        if !self.columns.is_empty() {
            put(Key::Columns, self.columns.iter().map(|c| escape(c, false)).collect::<Vec<_>>().join(","));
        }
        if let Some(n) = self.limit {
            put(Key::Limit, n.to_string());
        }
        if let Some(c) = &self.cursor {
            put(Key::Cursor, c.clone());
        }
        out.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
    }

    /// Bounds of `last_seen` (from) and `first_seen` (to) at `now`.
    pub(crate) fn window(&self, now: Time) -> (Option<Time>, Option<Time>) {
        let range = self.range.as_ref().map(|(micros, _)| now.plus(-micros));
        (self.from.max(range), self.to)
    }
}
