//! A Sigma rule as a tree: what the engine compiles and what the oracle of the tests walks.

use super::condition::{self, Condition};
use super::modifier;
use super::own::{Own, TestCase};
use super::value::Matcher;
use super::yaml::{Entry, Node, Position, Problem, Value};
use model::Severity;
use std::collections::BTreeMap;
use std::fmt;

/// Placeholder name → values, for the modifier `expand`.
pub type Placeholders = BTreeMap<String, Vec<String>>;

/// A dotted field path. A key that contains the dots itself wins over the nested path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    text: String,
}

impl Path {
    #[must_use]
    pub fn new(text: &str) -> Path {
        Path { text: text.to_owned() }
    }
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
    /// Steps of the path.
    pub fn steps(&self) -> impl Iterator<Item = &str> {
        self.text.split('.')
    }
    /// Computed by us; nothing in a payload can shadow it (E1).
    #[must_use]
    pub fn is_derived(&self) -> bool {
        self.text.starts_with("avouch.")
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Path({:?})", self.text)
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Field {
    /// The whole event.
    Keywords,
    Path(Path),
}

impl Field {
    #[must_use]
    pub fn path(text: &str) -> Field {
        Field::Path(Path::new(text))
    }
}

/// How a field is compared with another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Compare {
    Equals,
    StartsWith,
    EndsWith,
    Contains,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Test {
    Values(Vec<Matcher>),
    /// The key is there, even if its value is null.
    Exists(bool),
    /// Absent, or null.
    Null,
    FieldRef {
        others: Vec<Path>,
        compare: Compare,
        is_cased: bool,
    },
}

/// One entry of a selection.
#[derive(Clone, PartialEq, Debug)]
pub struct Item {
    pub at: Position,
    /// The key as written, `field|modifier|…`.
    pub label: String,
    pub field: Field,
    /// Every value must be found (`all`), not one of them.
    pub is_all: bool,
    /// `neq`: the whole positive form must not hold.
    pub is_negated: bool,
    pub test: Test,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Detection {
    All(Vec<Detection>),
    Any(Vec<Detection>),
    Item(Item),
}

impl Detection {
    /// Every item, in order.
    pub fn items(&self) -> Vec<&Item> {
        match self {
            Detection::All(v) | Detection::Any(v) => v.iter().flat_map(Detection::items).collect(),
            Detection::Item(i) => vec![i],
        }
    }
}

#[derive(Clone, PartialEq, Debug)]
pub struct Selection {
    pub name: String,
    pub detection: Detection,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct LogSource {
    pub product: Option<String>,
    pub category: Option<String>,
    pub service: Option<String>,
}

/// What rules and correlations have in common.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Head {
    /// File name without its ending; `#2` and so on for later documents of one file.
    pub name: String,
    pub file: String,
    pub at: Position,
    pub title: String,
    pub id: String,
    /// Sigma's own `name`, by which correlations refer to a rule.
    pub alias: Option<String>,
    pub status: String,
    pub description: String,
    pub author: String,
    pub license: String,
    pub severity: Severity,
    pub tags: Vec<String>,
    pub false_positives: Vec<String>,
    /// SHA-256 over the normalised document, tests left out, placeholders included.
    pub hash: String,
    pub own: Own,
    pub tests: Vec<TestCase>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Rule {
    pub head: Head,
    pub logsource: LogSource,
    pub selections: Vec<Selection>,
    pub condition: Condition,
}

impl Rule {
    /// Every field that the rule reads, once, in alphabetical order.
    #[must_use]
    pub fn fields(&self) -> Vec<&Path> {
        let mut out: Vec<&Path> = Vec::new();
        for item in self.selections.iter().flat_map(|s| s.detection.items()) {
            if let Field::Path(p) = &item.field {
                out.push(p);
            }
            if let Test::FieldRef { others, .. } = &item.test {
                out.extend(others);
            }
        }
        out.sort();
        out.dedup();
        out
    }
}

/// Reads a document that has `detection`.
pub fn parse(root: &Node, head: Head, placeholders: &Placeholders) -> Result<Rule, Problem> {
    let logsource = logsource(root)?;
    let detection = root.get("detection").ok_or_else(|| missing(root, "detection"))?;
    let entries = detection.map().ok_or_else(|| {
        Problem::new(
            detection.at,
            "rule.invalid",
            "detection",
            format!("is {}, not a map of selections", detection.kind()),
        )
    })?;
    let mut selections = Vec::new();
    let mut written = None;
    for e in entries {
        match e.key.as_str() {
            "condition" => written = Some(e),
            "timeframe" => {
                let p = Problem::new(
                    e.at,
                    "rule.unsupported",
                    "timeframe",
                    "left the specification in version 2",
                );
                return Err(p.hint("write a correlation with `timespan`"));
            }
            _ => selections.push(Selection { name: e.key.clone(), detection: selection(e, placeholders)? }),
        }
    }
    let written = written.ok_or_else(|| missing(detection, "condition"))?;
    let names: Vec<String> = selections.iter().map(|s| s.name.clone()).collect();
    let condition = conditions(written, &names)?;
    Ok(Rule { head, logsource, selections, condition })
}

fn missing(at: &Node, key: &str) -> Problem {
    Problem::new(at.at, "rule.missing", key, "is missing")
}

fn conditions(e: &Entry, names: &[String]) -> Result<Condition, Problem> {
    let one = |n: &Node| match &n.value {
        Value::Text { text, is_plain } => condition::parse(text, n.at, *is_plain, names),
        _ => Err(Problem::new(n.at, "rule.condition", "condition", format!("is {}, not text", n.kind()))),
    };
    match &e.node.value {
        Value::List(l) if !l.is_empty() => Ok(Condition::Any(l.iter().map(one).collect::<Result<_, _>>()?)),
        _ => one(&e.node),
    }
}

fn selection(e: &Entry, placeholders: &Placeholders) -> Result<Detection, Problem> {
    let keywords = |n: &Node| {
        modifier::item("", n.at, n, placeholders).map(|mut i| {
            i.label = "keywords".into();
            Detection::Item(i)
        })
    };
    match &e.node.value {
        Value::Map(m) => map(&e.key, e.at, m, placeholders),
        Value::List(l) if l.is_empty() => {
            Err(Problem::new(e.at, "rule.invalid", e.key.as_str(), "is an empty list"))
        }
        Value::List(l) if l.iter().all(|n| n.scalar().is_some()) => keywords(&e.node),
        Value::List(l) => {
            let mut any = Vec::with_capacity(l.len());
            for n in l {
                any.push(match &n.value {
                    Value::Map(m) => map(&e.key, n.at, m, placeholders)?,
                    Value::List(_) | Value::Null => {
                        let reason = format!("{} cannot stand in a list of alternatives", n.kind());
                        return Err(Problem::new(n.at, "rule.unsupported", e.key.as_str(), reason));
                    }
                    _ => keywords(n)?,
                });
            }
            Ok(Detection::Any(any))
        }
        Value::Null => Err(Problem::new(e.at, "rule.invalid", e.key.as_str(), "is empty")),
        _ => keywords(&e.node),
    }
}

fn map(
    name: &str,
    at: Position,
    entries: &[Entry],
    placeholders: &Placeholders,
) -> Result<Detection, Problem> {
    if entries.is_empty() {
        return Err(Problem::new(at, "rule.invalid", name, "is an empty map"));
    }
    let items =
        entries.iter().map(|e| modifier::item(&e.key, e.at, &e.node, placeholders).map(Detection::Item));
    let mut items: Vec<Detection> = items.collect::<Result<_, _>>()?;
    Ok(match items.pop() {
        Some(one) if items.is_empty() => one,
        Some(last) => {
            items.push(last);
            Detection::All(items)
        }
        None => Detection::All(items),
    })
}

fn logsource(root: &Node) -> Result<LogSource, Problem> {
    let node = root.get("logsource").ok_or_else(|| missing(root, "logsource"))?;
    let entries = node.map().ok_or_else(|| {
        Problem::new(node.at, "rule.invalid", "logsource", format!("is {}, not a map", node.kind()))
    })?;
    let mut out = LogSource::default();
    for e in entries {
        let slot = match e.key.as_str() {
            "product" => &mut out.product,
            "category" => &mut out.category,
            "service" => &mut out.service,
            // `definition` and custom keys tell people how to turn the log on.
            _ => continue,
        };
        *slot = e.node.scalar().map(|s| s.to_ascii_lowercase());
    }
    Ok(out)
}
