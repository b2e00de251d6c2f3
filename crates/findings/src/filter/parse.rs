//! Values of filters as people write them.

use super::subject::{Pattern, SeverityIs, SeverityTerm};
use super::{Key, Shown, Sort, SortKey, default_states};
use crate::Error;
use model::{Severity, Time, nearest};
use std::collections::BTreeSet;

const BANDS: [&str; 5] = ["info", "low", "medium", "high", "critical"];

pub(super) fn parse_severity(value: &str) -> Result<Vec<SeverityTerm>, Error> {
    let mut out = Vec::new();
    for p in split(Key::Severity, value)? {
        let lower = p.text.to_lowercase();
        let (word, is_floor) = lower.strip_suffix('+').map_or((lower.as_str(), false), |w| (w, true));
        let word = if word == "informational" { "info" } else { word };
        let band = BANDS.into_iter().find(|b| *b == word);
        let bad = || Error::UnknownValue {
            key: "severity".to_owned(),
            value: p.text.clone(),
            nearest: nearest(word, BANDS)
                .into_iter()
                .map(|b| format!("{b}{}", if is_floor { "+" } else { "" }))
                .collect(),
            allowed: "info, low, medium, high, critical or 0.0 to 10.0, with `+` for \"and above\""
                .to_owned(),
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

pub(super) fn parse_states(value: &str) -> Result<BTreeSet<Shown>, Error> {
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

pub(super) fn parse_sort(value: &str) -> Result<Vec<Sort>, Error> {
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

pub(super) fn parse_time(key: Key, value: &str) -> Result<Time, Error> {
    let midnight = format!("{value}T00:00:00Z");
    Time::parse_rfc3339(value.as_bytes())
        .or_else(|| Time::parse_rfc3339(midnight.as_bytes()))
        .ok_or_else(|| Error::BadTime { key: key.name().to_owned(), value: value.to_owned() })
}

pub(super) fn parse_range(value: &str) -> Result<i64, Error> {
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
pub(super) fn closed<T: Clone>(key: Key, value: &str, all: &[(&str, T)]) -> Result<T, Error> {
    all.iter().find(|(n, _)| *n == value).map(|(_, v)| v.clone()).ok_or_else(|| Error::UnknownValue {
        key: key.name().to_owned(),
        value: value.to_owned(),
        nearest: nearest(value, all.iter().map(|(n, _)| *n)).into_iter().map(str::to_owned).collect(),
        allowed: all.iter().map(|(n, _)| *n).collect::<Vec<_>>().join(", "),
    })
}

pub(super) fn patterns(key: Key, value: &str) -> Result<Vec<Pattern>, Error> {
    let mut out = split(key, value)?;
    out.sort();
    out.dedup();
    Ok(out)
}

/// Values between commas, with `!`, `*` and `\` read.
pub(super) fn split(key: Key, value: &str) -> Result<Vec<Pattern>, Error> {
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
                out.push(std::mem::replace(
                    &mut now,
                    Pattern { is_not: false, is_glob: false, text: String::new() },
                ));
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

pub(super) fn join(patterns: &[Pattern]) -> String {
    let one = |p: &Pattern| format!("{}{}", if p.is_not { "!" } else { "" }, escape(&p.text, p.is_glob));
    patterns.iter().map(one).collect::<Vec<_>>().join(",")
}

pub(super) fn escape(text: &str, is_glob: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for (i, c) in text.chars().enumerate() {
        if matches!(c, ',' | '\\') || (c == '*' && !is_glob) || (c == '!' && i == 0) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
