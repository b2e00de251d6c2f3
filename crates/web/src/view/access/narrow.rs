//! All rows of an analysis in; the page that an address asks for out.

use super::{AccessCount, AccessGroup, AccessPage, AccessRow, AccessType};
use crate::problem::ConsoleError;
use crate::url::View;
use crate::view::{Facet, FacetValue};
use model::{FindingId, Severity};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Rows of one page: each carries its request, its diff and a form, about four kilobytes.
const ROWS_PER_PAGE: usize = 20;
/// Values of one facet; those beyond are counted.
const FACET_VALUES_MAX: usize = 20;

/// (key, title) of the facets, in their order.
const FACETS: [(&str, &str); 6] = [
    ("class", "What"),
    ("severity", "Severity"),
    ("type", "Type"),
    ("account", "Account"),
    ("intended", "Intended"),
    ("confirmed", "Shown by a request"),
];

impl AccessPage {
    /// Counts over all rows; facets, total and order over those that the view chooses; and one page of them. The rows are borrowed,
    /// because the host keeps those of its last analysis: only the page's are copied.
    ///
    /// # Errors
    /// A cursor that no page of this list gave.
    pub fn narrowed(mut self, rows: &[AccessRow], view: &View) -> Result<AccessPage, ConsoleError> {
        let after = view.one("cursor").map(|c| read_cursor(c).ok_or_else(|| bad_cursor(c))).transpose()?;
        let limit = view.one("limit").and_then(|l| l.parse().ok()).unwrap_or(ROWS_PER_PAGE);
        self.counts = counts(rows);
        self.types = types(rows);
        let worded: Vec<&AccessRow> = rows.iter().filter(|r| holds_words(view.one("q"), r)).collect();
        self.facets = facets(&worded, view);
        let mut chosen: Vec<&AccessRow> = worded.into_iter().filter(|r| chooses(view, r, "")).collect();
        chosen.sort_by_key(|r| place(r));
        self.total = chosen.len() as u64;
        self.hidden = chosen.iter().filter(|r| r.is_hidden()).count() as u64;
        if let Some(after) = after {
            chosen.retain(|r| place(r) > after);
        }
        let is_more = chosen.len() > limit;
        chosen.truncate(limit);
        self.next = chosen.last().filter(|_| is_more).map(|r| cursor(&place(r)));
        self.rows = chosen.into_iter().cloned().collect();
        Ok(self)
    }
}

/// Where a row stands: what nobody hid first, the worst of it first. The id makes the order total.
type Place = (bool, Reverse<u8>, usize, FindingId);

fn place(r: &AccessRow) -> Place {
    (r.is_hidden(), Reverse(r.severity.tenths()), r.class as usize, r.id)
}

fn cursor((is_hidden, severity, class, id): &Place) -> String {
    format!("{}.{}.{class}.{id}", u8::from(*is_hidden), severity.0)
}

fn read_cursor(text: &str) -> Option<Place> {
    let mut parts = text.splitn(4, '.');
    let is_hidden = match parts.next()? {
        "0" => false,
        "1" => true,
        _ => return None,
    };
    let severity = parts.next()?.parse().ok()?;
    Some((is_hidden, Reverse(severity), parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn bad_cursor(text: &str) -> ConsoleError {
    ConsoleError::Bad {
        code: "web.bad_cursor".to_owned(),
        message: format!("`{text}` is not a place in this list"),
        hint: "start again from the first page".to_owned(),
    }
}

fn counts(rows: &[AccessRow]) -> Vec<AccessCount> {
    let n = |group, is_hidden| {
        rows.iter().filter(|r| r.class.group() == group && r.is_hidden() == is_hidden).count() as u64
    };
    AccessGroup::ALL
        .into_iter()
        .map(|g| AccessCount { class: g, label: g.word(), count: n(g, false), hidden: n(g, true) })
        .collect()
}

fn types(rows: &[AccessRow]) -> Vec<AccessType> {
    let mut by_type: BTreeMap<&str, AccessType> = BTreeMap::new();
    for r in rows {
        let t = by_type.entry(&r.resource_type).or_default();
        let n = match r.class.group() {
            _ if r.is_hidden() => &mut t.hidden,
            AccessGroup::Public => &mut t.public,
            AccessGroup::External => &mut t.external,
            AccessGroup::ConfusedDeputy => &mut t.confused_deputy,
            AccessGroup::Unknown => &mut t.unknown,
            AccessGroup::HeldBack | AccessGroup::DanglingPrincipal | AccessGroup::DeadGrant => &mut t.other,
        };
        *n = n.saturating_add(1);
    }
    let mut list: Vec<AccessType> =
        by_type.into_iter().map(|(name, t)| AccessType { resource_type: name.to_owned(), ..t }).collect();
    let open = |t: &AccessType| Reverse((t.public, t.external, t.confused_deputy, t.unknown, t.other));
    list.sort_by_key(open);
    list
}

/// Each facet counts the rows that all the other filters leave.
fn facets(rows: &[&AccessRow], view: &View) -> Vec<Facet> {
    FACETS
        .into_iter()
        .map(|(key, title)| {
            let mut n: BTreeMap<String, u64> = BTreeMap::new();
            for r in rows.iter().filter(|r| chooses(view, r, key)) {
                let count = n.entry(facet_value(key, r)).or_default();
                *count = count.saturating_add(1);
            }
            let mut values: Vec<FacetValue> =
                n.into_iter().map(|(value, count)| FacetValue { value, count }).collect();
            values.sort_by_key(|v| (rank(key, &v.value), Reverse(v.count)));
            let more = values.len().saturating_sub(FACET_VALUES_MAX) as u64;
            values.truncate(FACET_VALUES_MAX);
            Facet { key, title: title.to_owned(), values, more }
        })
        .filter(|f| !f.values.is_empty())
        .collect()
}

/// Closed lists keep their order; open ones are ordered by count.
fn rank(key: &str, value: &str) -> usize {
    let at = |list: &[&str]| list.iter().position(|v| *v == value).unwrap_or(list.len());
    match key {
        "class" => at(&AccessGroup::ALL.map(AccessGroup::term)),
        "severity" => at(&["critical", "high", "medium", "low", "info"]),
        "intended" | "confirmed" => at(&["no", "yes"]),
        _ => 0,
    }
}

fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

fn facet_value(key: &str, r: &AccessRow) -> String {
    match key {
        "class" => r.class.group().term(),
        "severity" => r.severity.band(),
        "type" => &r.resource_type,
        "account" => &r.account,
        "intended" => yes(r.intended),
        _ => yes(r.confirmed),
    }
    .to_owned()
}

/// Whether the filters of the view let this row through, as if it did not filter by `except`.
fn chooses(view: &View, r: &AccessRow, except: &str) -> bool {
    let keys = ["account", "class", "confirmed", "intended", "region", "resource", "severity", "type"];
    let is_chosen = |key: &str| {
        let mut is_wanted = view.terms(key).all(|t| t.is_excluded);
        for t in view.terms(key).filter(|t| has(key, t.value, r)) {
            if t.is_excluded {
                return false;
            }
            is_wanted = true;
        }
        is_wanted
    };
    keys.into_iter().all(|key| key == except || is_chosen(key))
}

fn has(key: &str, value: &str, r: &AccessRow) -> bool {
    match key {
        "account" => r.account == value,
        // `external` stands for all its kinds.
        "class" => r.class.term() == value || r.class.group().term() == value,
        "confirmed" => yes(r.confirmed) == value,
        "intended" => yes(r.intended) == value,
        "region" => r.region.as_deref() == Some(value),
        "resource" => r.resource == value,
        "severity" => match value.strip_suffix('+') {
            Some(from) => {
                Severity::threshold(from).or_else(|| from.parse().ok()).is_some_and(|s| r.severity >= s)
            }
            None => r.severity.band() == value || value.parse() == Ok(r.severity),
        },
        _ => r.resource_type == value,
    }
}

/// Every word stands somewhere in what the row says.
fn holds_words(q: Option<&str>, r: &AccessRow) -> bool {
    let Some(q) = q else { return true };
    let mut text =
        [&r.sentence, &r.resource, &r.who, &r.resource_type, &r.account].map(String::as_str).to_vec();
    text.extend(
        [&r.actions, &r.conditions, &r.decided_by, &r.held_back_by].into_iter().flatten().map(String::as_str),
    );
    let text = text.join("\n").to_lowercase();
    q.to_lowercase().split_whitespace().all(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::url::ACCESS;
    use crate::view::{AccessClass, FindingState};

    fn row(name: &str, class: AccessClass, tenths: u8) -> AccessRow {
        AccessRow {
            id: FindingId::of(&[name.as_bytes()]),
            version: 1,
            sentence: format!("Somebody can reach {name}"),
            class,
            severity: Severity::from_tenths(tenths),
            resource: name.to_owned(),
            resource_type: if name.starts_with('k') { "AWS::KMS::Key" } else { "AWS::S3::Bucket" }.to_owned(),
            account: "111122223333".to_owned(),
            region: Some("eu-west-2".to_owned()),
            who: "*".to_owned(),
            actions: vec!["s3:GetObject".to_owned()],
            conditions: vec![],
            witness: None,
            replay: None,
            decided_by: vec![],
            held_back_by: vec![],
            public_note: None,
            exactness: None,
            confirmed: class != AccessClass::Unknown,
            risk: vec![],
            fix: String::new(),
            patch: None,
            state: FindingState::New,
            suppression: None,
            intended: name.ends_with('!'),
        }
    }

    fn rows() -> Vec<AccessRow> {
        vec![
            row("held", AccessClass::HeldBack, 5),
            row("open!", AccessClass::Public, 95),
            row("key", AccessClass::Account, 70),
            row("dark", AccessClass::Unknown, 50),
            row("open", AccessClass::Public, 90),
            row("deputy", AccessClass::ConfusedDeputy, 70),
        ]
    }

    fn page(query: &str) -> AccessPage {
        let view = View::parse(ACCESS, query).unwrap();
        AccessPage::default().narrowed(&rows(), &view).unwrap()
    }

    fn names(p: &AccessPage) -> String {
        p.rows.iter().map(|r| r.resource.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[track_caller]
    fn check(query: &str, expect: &str) {
        assert_eq!(names(&page(query)), expect, "{query}");
    }

    #[test]
    fn worst_first_and_what_somebody_answers_for_last() {
        check("", "open key deputy dark held open!");
        assert_eq!((page("").total, page("").hidden), (6, 1));
    }

    #[test]
    fn each_filter_chooses() {
        check("class=public", "open open!");
        check("class=external", "key");
        check("class=external.account", "key");
        check("class=external.federated", "");
        check("class=!public,!held-back", "key deputy dark");
        check("class=public,unknown&intended=no", "open dark");
        check("intended=yes", "open!");
        check("confirmed=no", "dark");
        check("type=AWS::KMS::Key", "key");
        check("type=!AWS::KMS::Key&severity=medium%2B", "open deputy dark open!");
        check("severity=high", "key deputy");
        check("severity=9.0%2B", "open open!");
        check("severity=9.5", "open!");
        check("account=1", "");
        check("region=eu-west-2&resource=dark", "dark");
        check("q=GETOBJECT+reach+op", "open open!");
        check("q=nobody", "");
    }

    #[test]
    fn counts_are_of_the_whole_estate_and_hidden_rows_are_apart() {
        for query in ["", "class=unknown", "q=nobody"] {
            let p = page(query);
            let said: Vec<String> = p
                .counts
                .iter()
                .filter(|c| c.count + c.hidden > 0)
                .map(|c| format!("{} {}+{}", c.class.term(), c.count, c.hidden))
                .collect();
            assert_eq!(
                said.join(", "),
                "public 1+1, external 1+0, confused-deputy 1+0, unknown 1+0, held-back 1+0",
                "{query}"
            );
            let bucket = p.types.first().unwrap();
            assert_eq!(bucket.resource_type, "AWS::S3::Bucket");
            assert_eq!(
                (
                    bucket.public,
                    bucket.external,
                    bucket.confused_deputy,
                    bucket.unknown,
                    bucket.other,
                    bucket.hidden
                ),
                (1, 0, 1, 1, 1, 1)
            );
            assert_eq!(p.types.len(), 2);
        }
    }

    #[test]
    fn a_facet_ignores_its_own_choice() {
        let p = page("class=unknown&severity=medium");
        let facet = |key: &str| {
            let f = p.facets.iter().find(|f| f.key == key).unwrap();
            f.values.iter().map(|v| format!("{} {}", v.value, v.count)).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(facet("class"), "unknown 1");
        assert_eq!(facet("severity"), "medium 1");
        let p = page("class=unknown,public");
        let f = p.facets.iter().find(|f| f.key == "class").unwrap();
        let said: Vec<String> = f.values.iter().map(|v| format!("{} {}", v.value, v.count)).collect();
        assert_eq!(said.join(", "), "public 2, external 1, confused-deputy 1, unknown 1, held-back 1");
        let f = p.facets.iter().find(|f| f.key == "severity").unwrap();
        assert_eq!(f.values.iter().map(|v| v.count).sum::<u64>(), 3);
    }

    #[test]
    fn pages_hold_every_row_once() {
        for limit in 1..=7 {
            let (mut got, mut at) = (Vec::new(), String::new());
            // Bounded, so that a cursor that stands still fails and does not hang.
            for _ in 0..10 {
                let p = page(&format!("limit={limit}{at}"));
                assert_eq!(p.total, 6);
                got.extend(p.rows.iter().map(|r| r.resource.clone()));
                match p.next {
                    Some(c) => at = format!("&cursor={c}"),
                    None => break,
                }
            }
            assert_eq!(got.join(" "), "open key deputy dark held open!", "limit {limit}");
        }
        let view = View::parse(ACCESS, "cursor=nonsense").unwrap();
        assert!(AccessPage::default().narrowed(&rows(), &view).is_err());
    }

    #[test]
    fn every_class_has_its_rule_and_its_group() {
        for (at, c) in AccessClass::ALL.into_iter().enumerate() {
            assert_eq!(c as usize, at, "the order of the list is the order of the rows");
            assert_eq!(AccessClass::of_rule(&format!("access.{}", c.term())), Some(c));
            assert!(c.term().starts_with(c.group().term()), "{}", c.term());
        }
        assert_eq!(AccessClass::of_rule("access.nothing"), None);
        assert_eq!(AccessClass::of_rule("public"), None);
    }
}
