//! Lists, counts and facets over the state at a time.

use crate::entry::shown;
use crate::filter::{ATTRIBUTES, Drills, any_none, source_name, team};
use crate::{Entry, Error, Filter, GROUP_KEYS, Key, Shown, Sort, SortKey, State, Suppression};
use model::{FindingId, Time};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Rows of one page. More are never cut silently: `matching` counts them and `next` continues.
pub const LIST_MAX: usize = 10_000;

/// One finding in a list.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    pub entry: &'a Entry,
    pub shown: Shown,
    /// What hides it, while something does.
    pub suppression: Option<&'a Suppression>,
}

/// Values of one key with how many findings have each, most first, then by value.
pub type Facets = Vec<(&'static str, Vec<(String, usize)>)>;

#[derive(Debug)]
pub struct List<'a> {
    pub rows: Vec<Row<'a>>,
    /// All that match, on this page or not.
    pub matching: usize,
    /// Would be here too, but for a suppression.
    pub suppressed: usize,
    /// Each count ignores the filter of its own key.
    pub facets: Facets,
    /// `cursor` of the next page.
    pub next: Option<String>,
}

/// Counts for an overview. Drills stand apart and are in no other number.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct Totals {
    /// Open findings by band: `critical`, `high`, …; every band is there.
    pub open: BTreeMap<&'static str, usize>,
    /// When the first open finding of a band was first seen.
    pub oldest: BTreeMap<&'static str, Time>,
    /// Findings by shown state.
    pub states: BTreeMap<&'static str, usize>,
    pub drills: usize,
}

impl State {
    /// One finding as a list would show it at `now`.
    #[must_use]
    pub fn row(&self, id: FindingId, now: Time) -> Option<Row<'_>> {
        let entry = self.get(id)?;
        let suppression = self.hidden_by(entry, now);
        Some(Row { entry, shown: shown(entry, suppression.is_some()), suppression })
    }

    /// # Errors
    /// `filter.stale_cursor`.
    pub fn list(&self, filter: &Filter, now: Time) -> Result<List<'_>, Error> {
        let mut rows = Vec::new();
        let mut facets: BTreeMap<Key, BTreeMap<String, usize>> = BTreeMap::new();
        let mut suppressed = 0;
        for entry in self.entries() {
            let suppression = self.hidden_by(entry, now);
            let shown = shown(entry, suppression.is_some());
            let row = Row { entry, shown, suppression };
            let failed = failed_keys(filter, &row, now);
            for key in GROUP_KEYS {
                if failed.is_some_and(|f| f & !bit(key) == 0) {
                    *facets.entry(key).or_default().entry(facet_value(key, &row)).or_default() += 1;
                }
            }
            match failed {
                Some(0) => rows.push(row),
                Some(f) if f == bit(Key::State) && shown == Shown::Suppressed => suppressed += 1,
                _ => {}
            }
        }
        rows.sort_by(|a, b| order(&filter.sort, a, b));
        let matching = rows.len();
        if let Some(cursor) = &filter.cursor {
            let stale = || Error::StaleCursor(cursor.clone());
            let id: FindingId = cursor.parse().map_err(|_| stale())?;
            let at = rows.iter().position(|r| r.entry.id() == id).ok_or_else(stale)?;
            rows.drain(..=at);
        }
        let limit = filter.limit.unwrap_or(LIST_MAX);
        let next = (rows.len() > limit)
            .then(|| limit.checked_sub(1).and_then(|i| rows.get(i)).map(|r| r.entry.id().to_string()))
            .flatten();
        rows.truncate(limit);
        Ok(List { rows, matching, suppressed, facets: in_order(facets), next })
    }

    #[must_use]
    pub fn totals(&self, now: Time) -> Totals {
        let mut t = Totals::default();
        for band in ["critical", "high", "medium", "low", "info"] {
            t.open.insert(band, 0);
        }
        for s in Shown::ALL {
            t.states.insert(s.term(), 0);
        }
        for e in self.entries() {
            if e.is_drill() {
                t.drills += 1;
                continue;
            }
            let shown = self.shown(e, now);
            *t.states.entry(shown.term()).or_default() += 1;
            if matches!(shown, Shown::New | Shown::Notified) {
                *t.open.entry(e.severity().band()).or_default() += 1;
                let first = e.finding().first_seen;
                t.oldest.entry(e.severity().band()).and_modify(|o| *o = first.min(*o)).or_insert(first);
            }
        }
        t
    }

    /// Values in `filter` that no finding has, with the nearest that one has: an empty list should say why it is empty.
    #[must_use]
    pub fn unmatched(&self, filter: &Filter) -> Vec<(Key, String, Option<String>)> {
        let mut out = Vec::new();
        for key in [Key::Account, Key::Region, Key::Type, Key::Rule, Key::Team] {
            let known: std::collections::BTreeSet<String> = self
                .entries()
                .map(|entry| facet_value(key, &Row { entry, shown: Shown::New, suppression: None }))
                .filter(|v| !v.is_empty())
                .collect();
            for value in filter.subject.exact_values(key) {
                if !known.contains(value) {
                    let near = model::nearest(value, known.iter().map(String::as_str));
                    out.push((key, value.to_owned(), near.first().map(|n| (*n).to_owned())));
                }
            }
        }
        out
    }
}

fn bit(key: Key) -> u32 {
    GROUP_KEYS.iter().position(|k| *k == key).map_or(1 << 31, |i| 1 << i)
}

/// Which filters of facet keys a row fails, as bits; `None` when it fails another one and counts nowhere.
fn failed_keys(filter: &Filter, row: &Row<'_>, now: Time) -> Option<u32> {
    let e = row.entry;
    let drill = match filter.drills {
        Drills::Exclude => !e.is_drill(),
        Drills::Include => true,
        Drills::Only => e.is_drill(),
    };
    let (from, to) = filter.window(now);
    let f = e.finding();
    let in_time = from.is_none_or(|t| f.last_seen >= t) && to.is_none_or(|t| f.first_seen < t);
    let assignee = e.people.assignee.as_deref();
    let assigned = any_none(&filter.assignee, |p| p.is_not, |p| assignee.is_some_and(|a| p.holds(a)));
    let mut others = [Key::Resource, Key::Tag, Key::Id].into_iter().chain(ATTRIBUTES);
    let others = others.all(|k| filter.subject.matches_key(k, e));
    if !(drill && in_time && assigned && others && has_words(e, &filter.words)) {
        return None;
    }
    let mut failed = 0;
    for key in GROUP_KEYS {
        let holds = match key {
            Key::Severity => filter.subject.matches_severity(e),
            Key::State => filter.states.contains(&row.shown),
            key => filter.subject.matches_key(key, e),
        };
        failed |= if holds { 0 } else { bit(key) };
    }
    Some(failed)
}

/// Whether every word occurs somewhere in what a person reads about the finding.
fn has_words(e: &Entry, words: &[String]) -> bool {
    if words.is_empty() {
        return true;
    }
    let f = e.finding();
    let mut text =
        format!("{}\n{}\n{}\n{}\n{}", f.id, f.title, f.finding_type, f.rule.name, f.why).to_lowercase();
    for part in [&f.account, &f.region, &f.resource]
        .into_iter()
        .flatten()
        .chain(f.key.iter().map(|(_, v)| v))
        .chain(&f.tags)
    {
        text.push('\n');
        text.push_str(&part.to_lowercase());
    }
    words.iter().all(|w| text.contains(w.as_str()))
}

fn facet_value(key: Key, row: &Row<'_>) -> String {
    let f = row.entry.finding();
    match key {
        Key::Severity => row.entry.severity().band().to_owned(),
        Key::State => row.shown.value().to_owned(),
        Key::Account => f.account.clone().unwrap_or_default(),
        Key::Region => f.region.clone().unwrap_or_default(),
        Key::Type => f.finding_type.clone(),
        Key::Rule => f.rule.name.clone(),
        Key::Source => source_name(f.source).to_owned(),
        Key::Team => team(row.entry).unwrap_or_default().to_owned(),
        _ => String::new(),
    }
}

fn in_order(facets: BTreeMap<Key, BTreeMap<String, usize>>) -> Facets {
    GROUP_KEYS
        .into_iter()
        .map(|key| {
            let mut values: Vec<(String, usize)> =
                facets.get(&key).cloned().unwrap_or_default().into_iter().collect();
            values.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            (key.name(), values)
        })
        .collect()
}

/// O1: whatever the keys, the id decides last.
fn order(sort: &[Sort], a: &Row<'_>, b: &Row<'_>) -> Ordering {
    let (fa, fb) = (a.entry.finding(), b.entry.finding());
    for s in sort {
        let by_key = match s.key {
            SortKey::Severity => a.entry.severity().cmp(&b.entry.severity()),
            SortKey::LastSeen => fa.last_seen.cmp(&fb.last_seen),
            SortKey::FirstSeen => fa.first_seen.cmp(&fb.first_seen),
            SortKey::Count => fa.count.cmp(&fb.count),
            SortKey::Type => fa.finding_type.cmp(&fb.finding_type),
            SortKey::Rule => fa.rule.name.cmp(&fb.rule.name),
            SortKey::Account => fa.account.cmp(&fb.account),
            SortKey::Resource => fa.resource.cmp(&fb.resource),
            SortKey::State => a.shown.cmp(&b.shown),
            SortKey::Title => fa.title.cmp(&fb.title),
        };
        let by_key = if s.is_descending { by_key.reverse() } else { by_key };
        if by_key != Ordering::Equal {
            return by_key;
        }
    }
    fa.id.cmp(&fb.id)
}
