//! What is different about access from outside: it is not an event that happened, it stands open. So a suppression of it says that
//! the access is *intended*, and must not grow into hiding what nobody intended (`access.md` 12).
//!
//! - A rule hides public or possibly open access only where it says so (`public=true`, `confidence=possible`) and names each
//!   resource, or names the finding by its id. A bare `public=true` is what an attacker would write.
//! - Whoever looked at a read access has not looked at a write access: a finding that comes to allow more shows again.

use crate::filter::Subject;
use crate::{Entry, Key, State};
use model::{Attributes, FindingSource};

/// What a suppression has to say to hide `entry`; `None` where any selector may.
fn guards(entry: &Entry) -> impl Iterator<Item = (Key, &'static str)> + '_ {
    let f = entry.finding();
    let is = |key: Key, value: &str| {
        f.attributes.get(key.name()).is_some_and(|values| values.iter().any(|v| v == value))
    };
    let guards = [(Key::Public, "true"), (Key::Confidence, "possible")];
    guards.into_iter().filter(move |(key, value)| f.source == FindingSource::Access && is(*key, value))
}

/// Whether a selector that matches `entry` may hide it.
pub(crate) fn may_hide(selector: &Subject, entry: &Entry) -> bool {
    selector.names_exactly(&[Key::Id])
        || guards(entry).all(|(key, value)| {
            selector.names_exactly(&[Key::Resource]) && selector.exact_values(key).any(|v| v == value)
        })
}

/// In what `now` allows more than `before` did.
pub(crate) fn gained(before: &Attributes, now: &Attributes) -> Option<String> {
    let values = |of: &Attributes, key: Key| of.get(key.name()).cloned().unwrap_or_default();
    let had = values(before, Key::Level);
    let more: Vec<String> = values(now, Key::Level).into_iter().filter(|l| !had.contains(l)).collect();
    if !more.is_empty() {
        return Some(format!("it gained access level {}", more.join(", ")));
    }
    let has = values(now, Key::Condition);
    let less: Vec<String> = values(before, Key::Condition).into_iter().filter(|k| !has.contains(k)).collect();
    (!less.is_empty()).then(|| format!("it lost the condition on {}", less.join(", ")))
}

/// Why a new finding is one that was looked at, and widened: its condition is part of its identity, so a lost key makes a new one.
pub(crate) fn widened_from(state: &State, new: &Entry) -> Option<String> {
    let f = new.finding();
    if f.source != FindingSource::Access {
        return None;
    }
    let principal = |e: &Entry| e.finding().attributes.get(Key::Principal.name()).cloned();
    let is_same = |e: &&Entry| {
        let other = e.finding();
        other.source == f.source && other.resource == f.resource && principal(e) == principal(new)
    };
    let was_looked_at = |e: &&Entry| state.suppressions().any(|s| s.hits(e));
    state
        .entries()
        .filter(is_same)
        .filter(was_looked_at)
        .find_map(|e| gained(&e.finding().attributes, &f.attributes))
}
