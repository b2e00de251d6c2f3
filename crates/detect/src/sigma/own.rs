//! The two custom keys of Avouch in a Sigma file: `avouch:` (what a finding says) and `tests:` (events that must and must not
//! match). Other tools ignore them, as the specification asks of unknown keys.

use super::rule::Path;
use super::yaml::{Node, Position, Problem};
use model::Severity;

const KEYS: [&str; 10] =
    ["budget", "false_positives", "fix", "key", "needs", "resource", "severity", "signal", "type", "why"];

/// Contents of `avouch:`. Everything is optional, so that a public rule runs as it is.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Own {
    /// Whether the file has the key at all: it is then a rule of the house, not of a third party.
    pub is_present: bool,
    pub finding_type: Option<String>,
    pub severity: Option<Severity>,
    /// Fields that name the resource; the first one that has a value counts.
    pub resource: Vec<Path>,
    /// Fields whose values separate two findings of this rule. `None`: the default of the dataset.
    pub key: Option<Vec<Path>>,
    pub needs: Vec<String>,
    pub why: String,
    pub fix: String,
    pub false_positives: Vec<String>,
    pub budget: Option<Budget>,
    /// Feeds attack sequences and does not alert alone.
    pub is_signal: bool,
}

/// Expected findings, `5/day` or `5/day/account`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    pub findings: u32,
}

/// One entry of `tests:`.
#[derive(Clone, PartialEq, Debug)]
pub struct TestCase {
    pub at: Position,
    pub name: String,
    pub fires: bool,
    /// JSON text of each event, or the raw line where the test gives text.
    pub events: Vec<String>,
}

pub fn own(root: &Node) -> Result<Own, Problem> {
    let Some(node) = root.get("avouch") else { return Ok(Own::default()) };
    let entries = node.map().ok_or_else(|| {
        Problem::new(node.at, "rule.invalid", "avouch", format!("is {}, not a map", node.kind()))
    })?;
    let mut out = Own { is_present: true, ..Own::default() };
    for e in entries {
        let bad =
            |reason: String| Problem::new(e.node.at, "rule.invalid", format!("avouch.{}", e.key), reason);
        let text = || e.node.scalar().ok_or_else(|| bad(format!("is {}, not text", e.node.kind())));
        match e.key.as_str() {
            "type" => out.finding_type = Some(text()?),
            "severity" => out.severity = Some(text()?.parse().map_err(bad)?),
            "resource" => out.resource = texts(&e.node).map_err(bad)?.iter().map(|s| Path::new(s)).collect(),
            "key" => out.key = Some(texts(&e.node).map_err(bad)?.iter().map(|s| Path::new(s)).collect()),
            "needs" => out.needs = texts(&e.node).map_err(bad)?,
            "why" => out.why = text()?,
            "fix" => out.fix = text()?,
            "false_positives" => out.false_positives = texts(&e.node).map_err(bad)?,
            "budget" => out.budget = Some(budget(&text()?).ok_or_else(|| bad("write it as `5/day`".into()))?),
            "signal" => out.is_signal = e.node.bool().ok_or_else(|| bad("takes true or false".into()))?,
            unknown => {
                let hint = model::nearest(unknown, KEYS).first().map(|n| format!("did you mean `{n}`?"));
                let p = Problem::new(
                    e.at,
                    "rule.unknown_key",
                    format!("avouch.{unknown}"),
                    "there is no such key",
                );
                return Err(p.hint(hint.unwrap_or_default()));
            }
        }
    }
    Ok(out)
}

fn budget(text: &str) -> Option<Budget> {
    let text = text.strip_suffix("/account").unwrap_or(text);
    let findings = text.strip_suffix("/day")?.trim().parse().ok()?;
    Some(Budget { findings })
}

/// A text, or a list of texts.
pub fn texts(node: &Node) -> Result<Vec<String>, String> {
    let one = |n: &Node| n.scalar().ok_or_else(|| format!("holds {}, not text", n.kind()));
    match node.list() {
        Some(l) => l.iter().map(one).collect(),
        None => Ok(vec![one(node)?]),
    }
}

pub fn tests(root: &Node) -> Result<Vec<TestCase>, Problem> {
    let Some(node) = root.get("tests") else { return Ok(Vec::new()) };
    let list = node.list().ok_or_else(|| {
        Problem::new(node.at, "rule.invalid", "tests", format!("is {}, not a list", node.kind()))
    })?;
    list.iter().map(test).collect()
}

fn test(node: &Node) -> Result<TestCase, Problem> {
    let bad = |at: Position, reason: &str| Problem::new(at, "rule.invalid", "tests", reason);
    let entries = node.map().ok_or_else(|| bad(node.at, "each test is a map of name, fires and events"))?;
    let mut out = TestCase { at: node.at, name: String::new(), fires: false, events: Vec::new() };
    let mut has_fires = false;
    for e in entries {
        match e.key.as_str() {
            "name" => out.name = e.node.scalar().unwrap_or_default(),
            "fires" => {
                out.fires = e.node.bool().ok_or_else(|| bad(e.node.at, "`fires` takes true or false"))?;
                has_fires = true;
            }
            "events" => {
                let list = e.node.list().ok_or_else(|| bad(e.node.at, "`events` is a list"))?;
                out.events = list.iter().map(event).collect();
            }
            unknown => {
                let hint = model::nearest(unknown, ["name", "fires", "events"])
                    .first()
                    .map(|n| format!("did you mean `{n}`?"));
                let p = Problem::new(
                    e.at,
                    "rule.unknown_key",
                    format!("tests.{unknown}"),
                    "there is no such key",
                );
                return Err(p.hint(hint.unwrap_or_default()));
            }
        }
    }
    if !has_fires || out.events.is_empty() {
        return Err(bad(node.at, "a test needs `fires` and at least one event"));
    }
    Ok(out)
}

fn event(node: &Node) -> String {
    if let Some(t) = node.text() {
        return t.to_owned();
    }
    let mut out = Vec::new();
    node.write_json(&mut out);
    String::from_utf8(out).unwrap_or_default()
}
