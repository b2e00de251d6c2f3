//! The filter grammar of lists, addresses and suppressions (`interface.md` 2.5): `key=v1,v2` (any of), `key=!v` (not),
//! `severity=high+` (at or above), `q=` words, `from`, `to`, `range=24h`, `sort=-severity,last_seen`. An unknown key or value is an
//! error with the nearest valid one: a filter that is dropped would show more than was asked for.
//!
//! `*` in a value stands for any run of characters; `\,`, `\!`, `\*` and `\\` are the characters themselves.

use crate::{Entry, Error};
use model::{FindingId, FindingSource, Severity, Time, glob, nearest};
use std::collections::{BTreeMap, BTreeSet};

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

pub const KEYS: [Key; 22] = [
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

/// The part of a filter that is about the finding itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Subject {
    terms: BTreeMap<Key, Vec<Pattern>>,
    severity: Vec<SeverityTerm>,
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
        self.terms.get(&key).into_iter().flatten().filter(|p| !p.is_not && !p.is_glob).map(|p| p.text.as_str())
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

const SOURCES: [FindingSource; 5] = [
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
struct SeverityTerm {
    is_not: bool,
    what: SeverityIs,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum SeverityIs {
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
    fn text(&self) -> String {
        let not = if self.is_not { "!" } else { "" };
        match &self.what {
            SeverityIs::Band(b) => format!("{not}{b}"),
            SeverityIs::Exactly(t) => format!("{not}{t}"),
            SeverityIs::AtLeast(_, text) => format!("{not}{text}+"),
        }
    }
}

const BANDS: [&str; 5] = ["info", "low", "medium", "high", "critical"];

fn parse_severity(value: &str) -> Result<Vec<SeverityTerm>, Error> {
    let mut out = Vec::new();
    for p in split(Key::Severity, value)? {
        let lower = p.text.to_lowercase();
        let (word, is_floor) = lower.strip_suffix('+').map_or((lower.as_str(), false), |w| (w, true));
        let word = if word == "informational" { "info" } else { word };
        let band = BANDS.into_iter().find(|b| *b == word);
        let bad = || Error::UnknownValue {
            key: "severity".to_owned(),
            value: p.text.clone(),
            nearest: nearest(word, BANDS).into_iter().map(|b| format!("{b}{}", if is_floor { "+" } else { "" })).collect(),
            allowed: "info, low, medium, high, critical or 0.0 to 10.0, with `+` for \"and above\"".to_owned(),
        };
        let what = match (band, is_floor) {
            (Some(b), false) => SeverityIs::Band(b),
            (_, true) => {
                let floor = Severity::threshold(word).ok_or_else(bad)?;
                SeverityIs::AtLeast(floor, band.map_or_else(|| floor.to_string(), str::to_owned))
            }
            (None, false) => SeverityIs::Exactly(word.parse().map_err(|_| bad())?),
        };
        out.push(SeverityTerm { is_not: p.is_not, what });
    }
    out.sort_by_key(SeverityTerm::text);
    out.dedup();
    Ok(out)
}

fn parse_states(value: &str) -> Result<BTreeSet<Shown>, Error> {
    let mut wanted = BTreeSet::new();
    let mut unwanted = BTreeSet::new();
    let mut names: Vec<(&str, Vec<Shown>)> = Shown::ALL.iter().map(|s| (s.value(), vec![*s])).collect();
    names.push(("open", default_states().into_iter().collect()));
    names.push(("active", vec![Shown::New, Shown::Notified, Shown::Suppressed, Shown::Resolved]));
    names.push(("all", Shown::ALL.to_vec()));
    for p in split(Key::State, value)? {
        let states = closed(Key::State, &p.text.to_lowercase(), &names)?;
        if p.is_not { unwanted.extend(states) } else { wanted.extend(states) }
    }
    if wanted.is_empty() {
        wanted.extend(Shown::ALL);
    }
    Ok(wanted.difference(&unwanted).copied().collect())
}

fn parse_sort(value: &str) -> Result<Vec<Sort>, Error> {
    let mut out: Vec<Sort> = Vec::new();
    for p in split(Key::Sort, value)? {
        let (name, is_descending) = p.text.strip_prefix('-').map_or((p.text.as_str(), false), |n| (n, true));
        let key = closed(Key::Sort, name, &SortKey::ALL.map(|k| (k.name(), k)))?;
        if !out.iter().any(|s| s.key == key) {
            out.push(Sort { key, is_descending });
        }
    }
    Ok(out)
}

fn parse_time(key: Key, value: &str) -> Result<Time, Error> {
    let midnight = format!("{value}T00:00:00Z");
    Time::parse_rfc3339(value.as_bytes())
        .or_else(|| Time::parse_rfc3339(midnight.as_bytes()))
        .ok_or_else(|| Error::BadTime { key: key.name().to_owned(), value: value.to_owned() })
}

fn parse_range(value: &str) -> Result<i64, Error> {
    let bad = || Error::BadTime { key: "range".to_owned(), value: value.to_owned() };
    let digits = value.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = value.split_at_checked(digits).ok_or_else(bad)?;
    let scale = match unit {
        "m" => Time::MINUTE,
        "h" => Time::HOUR,
        "d" => Time::DAY,
        "w" => 7 * Time::DAY,
        _ => return Err(bad()),
    };
    number.parse::<i64>().ok().and_then(|n| n.checked_mul(scale)).filter(|n| *n > 0).ok_or_else(bad)
}

/// One of a closed set of values.
fn closed<T: Clone>(key: Key, value: &str, all: &[(&str, T)]) -> Result<T, Error> {
    all.iter().find(|(n, _)| *n == value).map(|(_, v)| v.clone()).ok_or_else(|| Error::UnknownValue {
        key: key.name().to_owned(),
        value: value.to_owned(),
        nearest: nearest(value, all.iter().map(|(n, _)| *n)).into_iter().map(str::to_owned).collect(),
        allowed: all.iter().map(|(n, _)| *n).collect::<Vec<_>>().join(", "),
    })
}

fn patterns(key: Key, value: &str) -> Result<Vec<Pattern>, Error> {
    let mut out = split(key, value)?;
    out.sort();
    out.dedup();
    Ok(out)
}

/// Values between commas, with `!`, `*` and `\` read.
fn split(key: Key, value: &str) -> Result<Vec<Pattern>, Error> {
    let mut out = Vec::new();
    let mut now = Pattern { is_not: false, is_glob: false, text: String::new() };
    let mut is_first = true;
    let mut chars = value.chars();
    let empty = || Error::EmptyValue { key: key.name().to_owned() };
    loop {
        match chars.next() {
            None | Some(',') if now.text.is_empty() => return Err(empty()),
            None => {
                out.push(now);
                return Ok(out);
            }
            Some(',') => {
                out.push(std::mem::replace(&mut now, Pattern { is_not: false, is_glob: false, text: String::new() }));
                is_first = true;
                continue;
            }
            Some('!') if is_first && !now.is_not => {
                now.is_not = true;
                continue;
            }
            Some('\\') => now.text.push(chars.next().unwrap_or('\\')),
            Some('*') => {
                now.is_glob = true;
                now.text.push('*');
            }
            Some(c) => now.text.push(c),
        }
        is_first = false;
    }
}

fn join(patterns: &[Pattern]) -> String {
    let one = |p: &Pattern| format!("{}{}", if p.is_not { "!" } else { "" }, escape(&p.text, p.is_glob));
    patterns.iter().map(one).collect::<Vec<_>>().join(",")
}

fn escape(text: &str, is_glob: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for (i, c) in text.chars().enumerate() {
        if matches!(c, ',' | '\\') || (c == '*' && !is_glob) || (c == '!' && i == 0) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
