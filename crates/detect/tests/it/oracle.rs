//! The oracle: a plain full scan over a parsed tree. It shares the rule AST with the engine and nothing else: no index, no
//! dictionary, no bitmap, no trie, no folding table of ours.

use detect::sigma::condition::Condition;
use detect::sigma::rule::{Compare, Detection, Field, Item, Rule, Test};
use detect::sigma::value::{Matcher, Number, Part, Pattern};
use detect::{Engine, Rules, Settings};
use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// JSON with the order of its keys, all repeats, and the digits of its numbers.
#[derive(Clone, Debug)]
pub enum Json {
    Null,
    Scalar { text: String, is_number: bool, is_string: bool },
    List(Vec<Json>, String),
    Map(Vec<(String, Json)>, String),
}

struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Members, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Members;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut m: A) -> Result<Members, A::Error> {
                let mut out = Vec::new();
                while let Some(e) = m.next_entry()? {
                    out.push(e);
                }
                Ok(Members(out))
            }
        }
        d.deserialize_map(V)
    }
}

pub fn parse(text: &str) -> Option<Json> {
    let text = text.trim();
    let minified = |t: &str| {
        // Another way than the engine's: a state machine over characters.
        let (mut out, mut quoted, mut escaped) = (String::new(), false, false);
        for c in t.chars() {
            if quoted || !matches!(c, ' ' | '\n' | '\r' | '\t') {
                out.push(c);
            }
            match c {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                _ => {}
            }
        }
        out
    };
    Some(match text.as_bytes().first()? {
        b'{' => {
            let m: Members = serde_json::from_str(text).ok()?;
            Json::Map(
                m.0.into_iter().map(|(k, v)| Some((k, parse(v.get())?))).collect::<Option<_>>()?,
                minified(text),
            )
        }
        b'[' => {
            let l: Vec<Box<RawValue>> = serde_json::from_str(text).ok()?;
            Json::List(l.iter().map(|v| parse(v.get())).collect::<Option<_>>()?, minified(text))
        }
        b'"' => Json::Scalar { text: serde_json::from_str(text).ok()?, is_number: false, is_string: true },
        b'n' => Json::Null,
        b't' | b'f' => Json::Scalar { text: text.to_owned(), is_number: false, is_string: false },
        _ => Json::Scalar { text: text.to_owned(), is_number: true, is_string: false },
    })
}

/// Section 2.1: what a dotted path leads to.
pub fn resolve(v: &Json, steps: &[&str], may_enter: bool, out: &mut Vec<Json>) {
    match v {
        Json::List(items, _) => {
            if steps.is_empty() {
                out.push(v.clone());
            }
            items.iter().for_each(|i| resolve(i, steps, may_enter, out));
        }
        _ if steps.is_empty() => out.push(v.clone()),
        Json::Map(members, _) => {
            let last = |key: &str| members.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v);
            if let Some(v) = last(&steps.join(".")).filter(|_| steps.len() > 1) {
                resolve(v, &[], may_enter, out);
            } else if let Some(v) = last(steps[0]) {
                resolve(v, &steps[1..], may_enter, out);
            }
        }
        Json::Scalar { text, is_string: true, .. } if may_enter && text.trim_start().starts_with('{') => {
            if let Some(inner) = parse(text) {
                resolve(&inner, steps, false, out);
            }
        }
        _ => {}
    }
}

fn scalars(v: &Json, out: &mut Vec<String>) {
    match v {
        Json::Null => {}
        Json::Scalar { text, .. } => out.push(text.clone()),
        Json::List(l, _) => l.iter().for_each(|v| scalars(v, out)),
        Json::Map(m, _) => m.iter().for_each(|(_, v)| scalars(v, out)),
    }
}

fn number_text(t: &str) -> String {
    if t.contains(['e', 'E']) {
        t.parse::<f64>().unwrap().to_string()
    } else if t.contains('.') {
        let t = t.trim_end_matches('0').trim_end_matches('.');
        if t == "-0" { "0".into() } else { t.into() }
    } else if t == "-0" {
        "0".into()
    } else {
        t.into()
    }
}

fn same(a: char, b: char, is_cased: bool) -> bool {
    let one = |s: String, c: char| if s.chars().count() == 1 { s.chars().next().unwrap() } else { c };
    let fold = |c: char| {
        if c == 'ı' || c == 'İ' {
            return c;
        }
        let up = one(c.to_uppercase().collect(), c);
        one(up.to_lowercase().collect(), up)
    };
    a == b || (!is_cased && fold(a) == fold(b))
}

fn glob(parts: &[Part], text: &[char], is_cased: bool) -> bool {
    match parts.split_first() {
        None => text.is_empty(),
        Some((Part::Any, rest)) => (0..=text.len()).any(|i| glob(rest, &text[i..], is_cased)),
        Some((Part::One, rest)) => !text.is_empty() && glob(rest, &text[1..], is_cased),
        Some((Part::Literal(l), rest)) => {
            let l: Vec<char> = l.chars().collect();
            text.len() >= l.len()
                && l.iter().zip(text).all(|(a, b)| same(*a, *b, is_cased))
                && glob(rest, &text[l.len()..], is_cased)
        }
    }
}

fn pattern(p: &Pattern, text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    // The usual shapes without backtracking, or the corpus takes minutes.
    if let [Part::Any, Part::Literal(l), Part::Any] = p.parts.as_slice() {
        let l: Vec<char> = l.chars().collect();
        return (0..=text.len().saturating_sub(l.len())).any(|i| {
            text.len() >= i + l.len() && l.iter().zip(&text[i..]).all(|(a, b)| same(*a, *b, p.is_cased))
        });
    }
    glob(&p.parts, &text, p.is_cased)
}

fn matcher(m: &Matcher, text: &str) -> bool {
    match m {
        Matcher::Text(p) => pattern(p, text),
        Matcher::Regex(e) => e.regex.is_match(text),
        Matcher::Cidr(c) => {
            let plain: Vec<String> = text.split('.').map(|o| o.trim_start_matches('0').to_owned()).collect();
            let plain: Vec<&str> = plain.iter().map(|o| if o.is_empty() { "0" } else { o }).collect();
            let is_v4 = text.split('.').all(|o| !o.is_empty() && o.len() <= 3) && text.len() <= 15;
            let ip: Option<IpAddr> = if is_v4 { plain.join(".").parse().ok() } else { text.parse().ok() };
            ip.is_some_and(|ip| {
                let bits = match ip {
                    IpAddr::V4(v) => u128::from(v.to_ipv6_mapped()),
                    IpAddr::V6(v) => u128::from(v),
                };
                (0..c.length).all(|i| (bits >> (127 - i)) & 1 == (c.network >> (127 - i)) & 1)
            })
        }
        Matcher::Number { op, value } => {
            let b: f64 = match value {
                Number::Whole(n) => *n as f64,
                Number::Float(f) => *f,
            };
            let is_number = text.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit())
                && text.chars().all(|c| c.is_ascii_digit() || "+-.eE".contains(c));
            match (text.parse::<i128>(), value) {
                (Ok(a), Number::Whole(b)) if is_number => op.holds(a.cmp(b)),
                _ => {
                    is_number
                        && text.parse::<f64>().is_ok_and(|a| a.partial_cmp(&b).is_some_and(|o| op.holds(o)))
                }
            }
        }
        Matcher::Part { part, op, value } => part.of(text).is_some_and(|n| op.holds(n.cmp(value))),
    }
}

fn value_meets(m: &Matcher, v: &Json) -> bool {
    match v {
        Json::Null => false,
        Json::Scalar { text, is_number: true, .. } => matcher(m, &number_text(text)),
        Json::Scalar { text, .. } => matcher(m, text),
        Json::List(_, text) | Json::Map(_, text) => {
            let mut inner = Vec::new();
            scalars(v, &mut inner);
            m.is_text() && (matcher(m, text) || inner.iter().any(|t| matcher(m, t)))
        }
    }
}

fn values(event: &Json, path: &str) -> Vec<Json> {
    let mut out = Vec::new();
    resolve(event, &path.split('.').collect::<Vec<_>>(), true, &mut out);
    out
}

fn item(i: &Item, event: &Json) -> bool {
    let held = match (&i.field, &i.test) {
        (Field::Keywords, Test::Values(m)) => {
            let mut all = Vec::new();
            scalars(event, &mut all);
            let one = |m: &Matcher| all.iter().any(|t| matcher(m, t));
            if i.is_all { m.iter().all(one) } else { m.iter().any(one) }
        }
        (Field::Keywords, _) => false,
        (Field::Path(p), test) => {
            let v = values(event, p.as_str());
            match test {
                Test::Values(m) => {
                    let one = |m: &Matcher| v.iter().any(|v| value_meets(m, v));
                    if i.is_all { m.iter().all(one) } else { m.iter().any(one) }
                }
                Test::Exists(b) => *b != v.is_empty(),
                Test::Null => v.is_empty() || v.iter().any(|v| matches!(v, Json::Null)),
                Test::FieldRef { others, compare, is_cased } => {
                    let text = |v: &Json| match v {
                        Json::Scalar { text, is_number: true, .. } => Some(number_text(text)),
                        Json::Scalar { text, .. } => Some(text.clone()),
                        _ => None,
                    };
                    let mine: Vec<String> = v.iter().filter_map(text).collect();
                    let theirs: Vec<String> = others
                        .iter()
                        .flat_map(|o| values(event, o.as_str()))
                        .filter_map(|v| text(&v))
                        .collect();
                    let pair = |a: &String, b: &String| {
                        let mut parts = vec![Part::Literal(b.clone())];
                        if matches!(compare, Compare::Contains | Compare::EndsWith) {
                            parts.insert(0, Part::Any);
                        }
                        if matches!(compare, Compare::Contains | Compare::StartsWith) {
                            parts.push(Part::Any);
                        }
                        glob(&parts, &a.chars().collect::<Vec<_>>(), *is_cased)
                    };
                    let held = mine.iter().any(|a| theirs.iter().any(|b| pair(a, b)));
                    return !mine.is_empty() && !theirs.is_empty() && held != i.is_negated;
                }
            }
        }
    };
    held != i.is_negated
}

fn detection(d: &Detection, event: &Json) -> bool {
    match d {
        Detection::All(v) => v.iter().all(|d| detection(d, event)),
        Detection::Any(v) => v.iter().any(|d| detection(d, event)),
        Detection::Item(i) => item(i, event),
    }
}

fn condition(c: &Condition, r: &Rule, event: &Json) -> bool {
    match c {
        Condition::All(v) => v.iter().all(|c| condition(c, r, event)),
        Condition::Any(v) => v.iter().any(|c| condition(c, r, event)),
        Condition::Not(c) => !condition(c, r, event),
        Condition::Selection(i) => detection(&r.selections[*i].detection, event),
    }
}

/// Every (row, rule) that holds.
pub fn full_scan(rules: &Rules, events: &[String]) -> BTreeSet<(usize, u32)> {
    let mut out = BTreeSet::new();
    for (row, e) in events.iter().enumerate() {
        let event = parse(e).unwrap();
        for (i, r) in rules.rules.iter().enumerate() {
            if condition(&r.condition, r, &event) {
                out.insert((row, u32::try_from(i).unwrap()));
            }
        }
    }
    out
}

fn engine_hits(rules: &Rules, events: &[String]) -> BTreeSet<(usize, u32)> {
    let settings = Settings { routing: false, ..Settings::default() };
    let mut engine = Engine::new(rules.clone(), settings).unwrap();
    let batch = super::support::batch("aws.cloudtrail", events);
    let first: BTreeSet<_> = engine.hits(&batch, None).into_iter().map(|h| (h.row, h.rule)).collect();
    // The second time every value comes from the caches.
    let second: BTreeSet<_> = engine.hits(&batch, None).into_iter().map(|h| (h.row, h.rule)).collect();
    assert_eq!(first, second, "a cached answer differs from a fresh one");
    first
}

#[track_caller]
fn agree(rules: &Rules, events: &[String]) -> usize {
    let (ours, truth) = (engine_hits(rules, events), full_scan(rules, events));
    let name =
        |(row, rule): &(usize, u32)| format!("{} on {}", rules.rules[*rule as usize].head.name, events[*row]);
    let missed: Vec<String> = truth.difference(&ours).take(3).map(name).collect();
    let invented: Vec<String> = ours.difference(&truth).take(3).map(name).collect();
    assert!(missed.is_empty() && invented.is_empty(), "missed {missed:#?}\ninvented {invented:#?}");
    truth.len()
}

#[test]
fn agrees_on_every_public_rule_and_shared_log() {
    let Some(root) = super::support::shared("agrees_on_every_public_rule_and_shared_log") else { return };
    let events = super::support::logs(&root);
    assert_eq!(
        events.len(),
        74 + 443,
        "12 recorded attacks and the logs of 443 tests: all logs that there are"
    );
    let (all, _) = Rules::load(super::support::corpus(&root));
    let (aws, refused) =
        Rules::load(super::support::corpus(&root).into_iter().filter(|(p, _)| p.contains("/cloudtrail/")));
    assert_eq!((aws.rules.len(), refused.len()), (57, 0));
    let n = agree(&aws, &events);
    let m = agree(&all, &events);
    println!(
        "{} pairs, {n} matches with 57 rules, {m} with {}",
        events.len() * all.rules.len(),
        all.rules.len()
    );
    assert!(n > 50 && m > n);
}

/// Text that a rule of the public corpus asks about, turned into events that just miss or just hit it.
#[test]
fn agrees_on_near_misses_of_the_public_rules() {
    let Some(root) = super::support::shared("agrees_on_near_misses_of_the_public_rules") else { return };
    let (all, _) = Rules::load(super::support::corpus(&root));
    let mut events = Vec::new();
    for r in all.rules.iter().step_by(3) {
        let mut hit = serde_json::Map::new();
        for i in r.selections.iter().take(2).flat_map(|s| s.detection.items()) {
            let (Field::Path(p), Test::Values(m)) = (&i.field, &i.test) else { continue };
            let texts: Vec<String> = m.iter().take(if i.is_all { 9 } else { 1 }).map(sample).collect();
            hit.insert(p.as_str().to_owned(), texts.join(" ").into());
        }
        let near: serde_json::Map<String, serde_json::Value> = hit
            .iter()
            .map(|(k, v)| {
                let t = v.as_str().unwrap();
                let cut: String = t.chars().skip(1).collect();
                (k.clone(), if t.len() % 2 == 0 { cut.into() } else { t.to_uppercase().into() })
            })
            .collect();
        events.push(serde_json::Value::Object(hit).to_string());
        events.push(serde_json::Value::Object(near).to_string());
    }
    events.truncate(1_200);
    let n = agree(&all, &events);
    println!("{} pairs, {n} matches", events.len() * all.rules.len());
    assert!(n > 500);
}

/// A text that meets the matcher, roughly.
fn sample(m: &Matcher) -> String {
    match m {
        Matcher::Text(p) => p
            .parts
            .iter()
            .map(|p| match p {
                Part::Literal(l) => l.clone(),
                Part::Any => "x y".into(),
                Part::One => "q".into(),
            })
            .collect(),
        other => other.to_string(),
    }
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec!["alpha", "Alpha", "beta", "alphabet", "bet", "-a", "/a", "7045", "10.0.0.7", "", "null", "true", "Σας", "σασ", "ſ", "K", "ß", r"C:\x", r"x\", "a b"]).prop_map(String::from),
        1 => "[ab*?\\\\]{0,5}",
    ]
}

fn rule_value() -> impl Strategy<Value = serde_json::Value> {
    prop_oneof![
        6 => word().prop_map(serde_json::Value::from),
        2 => (word(), word()).prop_map(|(a, b)| format!("{a}*{b}").into()),
        1 => word().prop_map(|a| format!("*{a}*").into()),
        1 => word().prop_map(|a| format!("?{a}").into()),
        1 => prop::sample::select(vec![7045_i64, 0, -1, 9_007_199_254_740_993]).prop_map(serde_json::Value::from),
        1 => any::<bool>().prop_map(serde_json::Value::from),
    ]
}

fn entry() -> impl Strategy<Value = (String, serde_json::Value)> {
    let field = || prop::sample::select(vec!["a", "b", "a.c", "d.e.f", "d.e", "l"]);
    let values = || {
        prop_oneof![rule_value(), prop::collection::vec(rule_value(), 2..4).prop_map(serde_json::Value::from)]
    };
    prop_oneof![
        4 => (field(), values()).prop_map(|(f, v)| (f.to_owned(), v)),
        4 => (field(), prop::sample::select(vec!["contains", "startswith", "endswith", "cased", "contains|cased", "neq", "windash", "contains|windash"]), values())
            .prop_map(|(f, m, v)| (format!("{f}|{m}"), v)),
        1 => (field(), prop::collection::vec(rule_value(), 2..4)).prop_map(|(f, v)| (format!("{f}|contains|all"), v.into())),
        1 => (field(), prop::sample::select(vec!["a+", "^alpha$", "(?i)BET", "b.t|7", "[0-9]{3}", "alp(ha)?bet"])).prop_map(|(f, v)| (format!("{f}|re"), v.into())),
        1 => (field(), prop::sample::select(vec!["gt", "gte", "lt", "lte"]), -2_i64..8_000).prop_map(|(f, m, v)| (format!("{f}|{m}"), v.into())),
        1 => (field(), prop::sample::select(vec!["10.0.0.0/8", "10.0.0.7/32", "::/0"])).prop_map(|(f, v)| (format!("{f}|cidr"), v.into())),
        1 => (field(), any::<bool>()).prop_map(|(f, v)| (format!("{f}|exists"), v.into())),
        1 => field().prop_map(|f| (f.to_owned(), serde_json::Value::Null)),
        1 => (field(), field(), prop::sample::select(vec!["", "|contains", "|startswith", "|endswith", "|neq", "|cased"])).prop_map(|(f, g, m)| (format!("{f}|fieldref{m}"), g.into())),
    ]
}

fn selection() -> impl Strategy<Value = serde_json::Value> {
    let map = || {
        prop::collection::vec(entry(), 1..4).prop_map(|e| serde_json::Value::Object(e.into_iter().collect()))
    };
    prop_oneof![
        5 => map(),
        1 => prop::collection::vec(map(), 1..3).prop_map(serde_json::Value::from),
        1 => prop::collection::vec(word().prop_filter("an empty keyword is in everything", |w| !w.is_empty()), 1..3).prop_map(serde_json::Value::from),
    ]
}

fn a_rule() -> impl Strategy<Value = String> {
    let c = prop::sample::select(vec![
        "s1",
        "s1 and s2",
        "s1 or s2",
        "s1 and not s2",
        "not s1",
        "1 of s*",
        "all of them",
        "not (s1 or s2) and s3",
        "(s1 and s2) or s3",
        "s1 and not 1 of s*",
        "not s1 or not all of s*",
    ]);
    (prop::collection::vec(selection(), 3), c).prop_map(|(s, c)| {
        serde_json::json!({
            "title": "t", "logsource": {"product": "x"},
            "detection": {"s1": s[0], "s2": s[1], "s3": s[2], "condition": c}
        })
        .to_string()
    })
}

fn event_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        6 => word().prop_map(serde_json::Value::from),
        2 => (word(), word()).prop_map(|(a, b)| format!("{a}{b}").into()),
        1 => word().prop_map(|w| w.to_uppercase().into()),
        1 => prop::sample::select(vec![7045_i64, 0, 7, 9_007_199_254_740_993]).prop_map(serde_json::Value::from),
        1 => any::<bool>().prop_map(serde_json::Value::from),
        1 => Just(serde_json::Value::Null),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(serde_json::Value::from),
            prop::collection::btree_map(
                prop::sample::select(vec!["c", "e", "f", "e.f"]).prop_map(String::from),
                inner,
                0..3
            )
            .prop_map(|m| serde_json::Value::Object(m.into_iter().collect())),
        ]
    })
}

/// Members are written by hand, so that keys may repeat.
fn an_event() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec!["a", "b", "a.c", "d", "d.e", "d.e.f", "l", "other"]);
    let value = prop_oneof![
        6 => event_value().prop_map(|v| v.to_string()),
        1 => event_value().prop_map(|v| serde_json::Value::from(serde_json::json!({"c": v, "e": {"f": "alpha"}}).to_string()).to_string()),
    ];
    prop::collection::vec((key, value), 0..7).prop_map(|members| {
        let members: Vec<String> = members.into_iter().map(|(k, v)| format!("\"{k}\": {v}")).collect();
        format!("{{{}}}", members.join(","))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]
    #[test]
    fn agrees_on_generated_rules_and_events(rules in prop::collection::vec(a_rule(), 1..8), events in prop::collection::vec(an_event(), 1..12)) {
        let files: Vec<(String, String)> = rules.into_iter().enumerate().map(|(i, r)| (format!("r{i}.yml"), r)).collect();
        let (loaded, _) = Rules::load(files.iter().map(|(a, b)| (a.as_str(), b.as_str())));
        let (ours, truth) = (engine_hits(&loaded, &events), full_scan(&loaded, &events));
        let show = |s: Vec<&(usize, u32)>| s.first().map(|(row, rule)| format!("{}\n{}", events[*row], files.iter().find(|(n, _)| n.starts_with(&loaded.rules[*rule as usize].head.name)).unwrap().1));
        prop_assert_eq!(&ours, &truth, "missed {:?}\ninvented {:?}", show(truth.difference(&ours).collect()), show(ours.difference(&truth).collect()));
    }
}
