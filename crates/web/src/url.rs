//! URL = view (`interface.md` 2.5): one grammar for every list, one canonical address for every view.
//!
//! A filter that would be dropped shows more than was asked, so an unknown key or value is an error with the nearest valid one.

use crate::{cli, problem::Problem};
use model::{Severity, Time, nearest};
use serde::Serialize;
use std::collections::BTreeMap;

/// Longest query string read; the design stores longer ones as saved views, which this build does not have.
pub const QUERY_BYTES_MAX: usize = 4 << 10;
/// Rows of one page of a list.
pub const PAGE_SIZES: [u64; 3] = [50, 100, 500];
/// Most rows that one answer of the API holds.
pub const LIMIT_MAX: u64 = 1_000;

/// Percent-decodes, with `+` as a space. Bytes that are not UTF-8 become U+FFFD: they can match nothing and are shown as such.
#[must_use]
pub fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        match b {
            b'+' => out.push(b' '),
            b'%' => {
                let mut rest = bytes.clone();
                let hex = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
                if let (Some(high), Some(low)) = (hex(rest.next()), hex(rest.next())) {
                    out.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                    bytes = rest;
                } else {
                    out.push(b'%');
                }
            }
            b => out.push(b),
        }
    }
    String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

/// Percent-encodes everything that is not plain in a query value or a path segment.
#[must_use]
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || b"-_.~:!".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

/// Pairs of `application/x-www-form-urlencoded`, decoded, in order.
#[must_use]
pub fn pairs(text: &str) -> Vec<(String, String)> {
    raw_pairs(text).map(|(k, v)| (decode(k), decode(v))).collect()
}

fn raw_pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split('&').filter(|p| !p.is_empty()).map(|p| p.split_once('=').unwrap_or((p, "")))
}

/// Whether `path` leads back into this site: an absolute path, without a second slash or backslash that a browser would read as
/// another host, and without controls.
#[must_use]
pub fn is_local(path: &str) -> bool {
    let mut chars = path.chars();
    chars.next() == Some('/')
        && !matches!(chars.next(), Some('/' | '\\'))
        && !path.chars().any(|c| c.is_control() || c == '\\')
}

/// What a key accepts.
#[derive(Clone, Copy, Debug)]
pub enum Accepts {
    /// Any text; commas separate alternatives.
    Any,
    /// One of these.
    Words(&'static [&'static str]),
    /// A severity word or number, with `+` for "at or above".
    Severity,
    /// Free text, commas included; not split.
    Text,
    /// An RFC 3339 time.
    Moment,
    /// A length back from now: `15m`, `24h`, `7d`.
    Range,
    /// Names of columns, `-` for descending.
    Sort(&'static [&'static str]),
    /// A number of rows.
    Limit,
}

#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub name: &'static str,
    pub accepts: Accepts,
    /// Says what one looks at rather than which rows: kept out of filter chips.
    pub is_view: bool,
}

const fn filter(name: &'static str, accepts: Accepts) -> Key {
    Key { name, accepts, is_view: false }
}

const fn view(name: &'static str, accepts: Accepts) -> Key {
    Key { name, accepts, is_view: true }
}

pub const ACCESS: &[Key] = &[
    filter("account", Accepts::Any),
    view("can", Accepts::Text),
    filter(
        "class",
        Accepts::Words(&[
            "public",
            "external",
            "external.network",
            "external.account",
            "external.organization",
            "external.federated",
            "external.canonical",
            "confused-deputy",
            "unknown",
            "held-back",
            "dangling-principal",
            "dead-grant",
        ]),
    ),
    filter("confirmed", Accepts::Words(&["yes", "no"])),
    view("cursor", Accepts::Text),
    filter("intended", Accepts::Words(&["yes", "no"])),
    view("limit", Accepts::Limit),
    view("notice", Accepts::Text),
    view("on", Accepts::Text),
    filter("q", Accepts::Text),
    filter("region", Accepts::Any),
    filter("resource", Accepts::Any),
    filter("severity", Accepts::Severity),
    filter("type", Accepts::Any),
];

pub const FINDINGS: &[Key] = &[
    filter("account", Accepts::Any),
    view("cursor", Accepts::Text),
    filter("drill", Accepts::Words(&["yes", "no"])),
    filter("from", Accepts::Moment),
    view("limit", Accepts::Limit),
    view("open", Accepts::Text),
    filter("q", Accepts::Text),
    filter("range", Accepts::Range),
    filter("region", Accepts::Any),
    filter("resource", Accepts::Any),
    filter("rule", Accepts::Any),
    filter("severity", Accepts::Severity),
    view("sort", Accepts::Sort(&["severity", "last_seen", "first_seen", "count", "rule"])),
    filter("source", Accepts::Words(&["detect", "assess", "access", "prove", "avouch"])),
    filter("state", Accepts::Words(&["new", "notified", "resolved", "suppressed"])),
    filter("to", Accepts::Moment),
    filter("type", Accepts::Any),
];

pub const CONTROLS: &[Key] = &[
    filter("kind", Accepts::Words(&["technical", "attested"])),
    filter("owner", Accepts::Any),
    filter("q", Accepts::Text),
    filter(
        "state",
        Accepts::Words(&["failed", "unknown", "stale", "planned", "configured", "effective", "proven"]),
    ),
    filter("system", Accepts::Any),
];

pub const SEARCH: &[Key] = &[
    view("cursor", Accepts::Text),
    filter("dataset", Accepts::Any),
    filter("from", Accepts::Moment),
    view("limit", Accepts::Limit),
    filter("q", Accepts::Text),
    filter("range", Accepts::Range),
    filter("to", Accepts::Moment),
];

/// Pages whose address takes nothing but the notice of a write that just happened.
pub const PLAIN: &[Key] = &[view("notice", Accepts::Text)];

/// A view as its address says it: keys in order, values as given, nothing dropped.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct View {
    terms: BTreeMap<&'static str, Vec<String>>,
}

/// One alternative of a key; `!v` excludes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Term<'a> {
    pub is_excluded: bool,
    pub value: &'a str,
}

impl View {
    /// Reads a query string. A key given twice adds alternatives, as the checkboxes of a form send it; an empty value is left out,
    /// as an untouched field of a form sends it.
    ///
    /// # Errors
    /// Unknown keys and values, each with the nearest valid one, and queries over [`QUERY_BYTES_MAX`].
    pub fn parse(keys: &'static [Key], query: &str) -> Result<View, Problem> {
        if query.len() > QUERY_BYTES_MAX {
            return Err(Problem::query_too_long());
        }
        let mut terms: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
        for (name, value) in raw_pairs(query) {
            let name = decode(name);
            let Some(key) = keys.iter().find(|k| k.name == name) else {
                return Err(unknown("key", &name, keys.iter().map(|k| k.name)));
            };
            let values: Vec<String> = match key.accepts {
                Accepts::Any | Accepts::Words(_) | Accepts::Severity | Accepts::Sort(_) => {
                    value.split(',').map(decode).filter(|v| !v.is_empty()).collect()
                }
                Accepts::Text | Accepts::Moment | Accepts::Range | Accepts::Limit => {
                    Some(decode(value)).filter(|v| !v.trim().is_empty()).into_iter().collect()
                }
            };
            for v in values {
                check(key, &v)?;
                let list = terms.entry(key.name).or_default();
                if !list.contains(&v) {
                    list.push(v);
                }
            }
        }
        for list in terms.values_mut() {
            list.sort();
        }
        // A sort order is a list whose order means something.
        if let Some((_, value)) = raw_pairs(query).find(|(k, _)| *k == "sort") {
            terms.insert("sort", value.split(',').map(decode).filter(|v| !v.is_empty()).collect());
            terms.retain(|_, v| !v.is_empty());
        }
        Ok(View { terms })
    }

    #[must_use]
    pub fn values(&self, key: &str) -> &[String] {
        self.terms.get(key).map_or(&[], Vec::as_slice)
    }

    /// The first value of a key that takes one.
    #[must_use]
    pub fn one(&self, key: &str) -> Option<&str> {
        self.values(key).first().map(String::as_str)
    }

    pub fn terms(&self, key: &str) -> impl Iterator<Item = Term<'_>> {
        self.values(key).iter().map(|v| match v.strip_prefix('!') {
            Some(value) => Term { is_excluded: true, value },
            None => Term { is_excluded: false, value: v },
        })
    }

    /// Every (key, value) that chooses rows, in order.
    pub fn filters(&self, keys: &'static [Key]) -> impl Iterator<Item = (&'static str, &str)> {
        keys.iter()
            .filter(|k| !k.is_view)
            .flat_map(|k| self.values(k.name).iter().map(|v| (k.name, v.as_str())))
    }

    #[must_use]
    pub fn has(&self, key: &str, value: &str) -> bool {
        self.values(key).iter().any(|v| v == value)
    }

    /// The view with exactly these values of a key; none removes it. Paging starts anew.
    #[must_use]
    pub fn with<'a>(&self, key: &'static str, values: impl IntoIterator<Item = &'a str>) -> View {
        let mut view = self.clone();
        view.terms.remove("cursor");
        // What just happened is said once.
        view.terms.remove("notice");
        if key != "open" {
            view.terms.remove("open");
        }
        let mut list: Vec<String> = values.into_iter().map(str::to_owned).collect();
        if key != "sort" {
            list.sort();
        }
        if list.is_empty() {
            view.terms.remove(key);
        } else {
            view.terms.insert(key, list);
        }
        view
    }

    /// The view with a value added when absent and removed when present.
    #[must_use]
    pub fn toggled(&self, key: &'static str, value: &str) -> View {
        let mut values: Vec<&str> = self.values(key).iter().map(String::as_str).collect();
        if self.has(key, value) {
            values.retain(|v| *v != value);
        } else {
            values.push(value);
        }
        self.with(key, values)
    }

    /// The canonical query string: keys and alternatives sorted, nothing that was not asked for.
    #[must_use]
    pub fn canonical(&self) -> String {
        let list = |v: &Vec<String>| v.iter().map(|v| encode(v)).collect::<Vec<_>>().join(",");
        self.terms.iter().map(|(k, v)| format!("{k}={}", list(v))).collect::<Vec<_>>().join("&")
    }

    #[must_use]
    pub fn href(&self, path: &str) -> String {
        match self.canonical() {
            q if q.is_empty() => path.to_owned(),
            q => format!("{path}?{q}"),
        }
    }

    /// The command that prints the same rows: each key is a flag, the free text comes last.
    #[must_use]
    pub fn command(&self, program: &str, noun: &[&str]) -> String {
        let mut words: Vec<&str> = vec![program];
        words.extend_from_slice(noun);
        let flags: Vec<(String, String)> = self
            .terms
            .iter()
            .filter(|(k, _)| !matches!(**k, "q" | "open" | "cursor" | "notice"))
            .map(|(k, v)| (format!("--{k}"), v.join(",")))
            .collect();
        for (k, v) in &flags {
            words.push(k);
            words.push(v);
        }
        words.extend(self.one("q"));
        cli::line(words)
    }
}

impl Serialize for View {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.canonical())
    }
}

fn check(key: &Key, value: &str) -> Result<(), Problem> {
    let bare = value.strip_prefix('!').unwrap_or(value);
    match key.accepts {
        Accepts::Any | Accepts::Text => Ok(()),
        Accepts::Words(words) if words.contains(&bare) => Ok(()),
        Accepts::Words(words) => Err(unknown(key.name, bare, words.iter().copied())),
        Accepts::Severity => {
            let word = bare.strip_suffix('+').unwrap_or(bare);
            let bands = ["critical", "high", "medium", "low", "info"];
            if bands.contains(&word) || word.parse::<Severity>().is_ok() {
                Ok(())
            } else {
                Err(unknown(key.name, bare, bands))
            }
        }
        Accepts::Moment => match Time::parse_rfc3339(value.as_bytes()) {
            Some(_) => Ok(()),
            None => Err(Problem::bad_value(key.name, value, "write a time as `2025-03-14T09:14:00Z`")),
        },
        Accepts::Range => range_micros(value).map(|_| ()).ok_or_else(|| {
            Problem::bad_value(key.name, value, "write a length back from now as `15m`, `24h` or `7d`")
        }),
        Accepts::Sort(columns) => {
            let column = value.strip_prefix('-').unwrap_or(value);
            if columns.contains(&column) {
                Ok(())
            } else {
                Err(unknown(key.name, column, columns.iter().copied()))
            }
        }
        Accepts::Limit => match value.parse::<u64>() {
            Ok(1..=LIMIT_MAX) => Ok(()),
            _ => Err(Problem::bad_value(key.name, value, "write a number of rows from 1 to 1000")),
        },
    }
}

/// `15m`, `24h`, `7d`, `2w` in microseconds.
#[must_use]
pub fn range_micros(text: &str) -> Option<i64> {
    let unit = text.chars().next_back()?;
    let n: i64 = text.strip_suffix(unit)?.parse().ok().filter(|n| *n > 0)?;
    let each = match unit {
        's' => Time::SECOND,
        'm' => Time::MINUTE,
        'h' => Time::HOUR,
        'd' => Time::DAY,
        'w' => Time::DAY.checked_mul(7)?,
        _ => return None,
    };
    n.checked_mul(each)
}

fn unknown<'a>(what: &str, given: &str, valid: impl IntoIterator<Item = &'a str>) -> Problem {
    let valid: Vec<&str> = valid.into_iter().collect();
    let near = nearest(given, valid.iter().copied());
    let hint = match near.as_slice() {
        [] => format!("valid are {}", valid.join(", ")),
        near => format!(
            "did you mean {}?",
            near.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(" or ")
        ),
    };
    if what == "key" { Problem::unknown_key(given, &hint) } else { Problem::bad_value(what, given, &hint) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: &str, expect: &str) {
        let got = View::parse(FINDINGS, query)
            .map_or_else(|p| format!("{}: {} ({})", p.status, p.detail, p.hint), |v| v.canonical());
        assert_eq!(got, expect, "{query}");
    }

    #[test]
    fn one_view_has_one_address() {
        check("severity=high%2B&account=1111,2222", "account=1111,2222&severity=high%2B");
        check("account=2222&account=1111&q=", "account=1111,2222");
        check("sort=-severity,last_seen&state=!resolved", "sort=-severity,last_seen&state=!resolved");
        check("resource=a%2Cb", "resource=a%2Cb");
        check("q=root+login%21", "q=root%20login!");
        check("", "");
        let view = View::parse(FINDINGS, "sort=-severity,last_seen&rule=b,a&q=x%26y").unwrap();
        assert_eq!(View::parse(FINDINGS, &view.canonical()).unwrap(), view);
    }

    #[test]
    fn nothing_is_dropped_silently() {
        check("sverity=high", "400: `sverity` is not a filter of this page (did you mean `severity`?)");
        check("severity=hgh", "400: `hgh` is not a value of `severity` (did you mean `high`?)");
        check(
            "state=opne",
            "400: `opne` is not a value of `state` (valid are new, notified, resolved, suppressed)",
        );
        check(
            "range=week",
            "400: `week` is not a value of `range` (write a length back from now as `15m`, `24h` or `7d`)",
        );
        check("limit=1001", "400: `1001` is not a value of `limit` (write a number of rows from 1 to 1000)");
        check(
            "from=yesterday",
            "400: `yesterday` is not a value of `from` (write a time as `2025-03-14T09:14:00Z`)",
        );
        assert_eq!(View::parse(FINDINGS, &"q=x".repeat(2_000)).unwrap_err().status, 414);
    }

    #[test]
    fn links_change_one_thing_and_start_paging_anew() {
        let view = View::parse(FINDINGS, "severity=high&cursor=abc&rule=r").unwrap();
        assert_eq!(view.toggled("severity", "low").canonical(), "rule=r&severity=high,low");
        assert_eq!(view.toggled("severity", "high").canonical(), "rule=r");
        assert_eq!(
            view.with("q", ["it's"]).command("avouch", &["findings", "list"]),
            r"avouch findings list --rule r --severity high 'it'\''s'"
        );
    }

    #[test]
    fn decoding_never_panics_and_loses_nothing_valid() {
        for (text, expect) in [
            ("%", "%"),
            ("%4", "%4"),
            ("%zz", "%zz"),
            ("%41%", "A%"),
            ("a+b", "a b"),
            ("%ff", "\u{fffd}"),
            ("%C3%A9", "é"),
        ] {
            assert_eq!(decode(text), expect);
        }
        for text in ["a b&c=d", "é\n\u{202e}", "100%", ""] {
            assert_eq!(decode(&encode(text)), text);
        }
    }

    #[test]
    fn only_local_addresses_are_followed() {
        for (path, expect) in [
            ("/findings?q=x", true),
            ("/", true),
            ("//evil.example", false),
            ("/\\evil.example", false),
            ("https://evil.example", false),
            ("", false),
            ("/a\r\nSet-Cookie: x", false),
        ] {
            assert_eq!(is_local(path), expect, "{path}");
        }
    }
}
