//! Correlations: how often something happens. `event_count` and `value_count` run; the other types are refused by name.

use super::own::texts;
use super::rule::{Head, Path};
use super::yaml::{Node, Problem, Value};
use std::collections::BTreeMap;

/// Longest window (90 days). State is kept for every window; a longer memory is a baseline, not a correlation.
pub const TIMESPAN_MAX_MICROS: i64 = 90 * model::Time::DAY;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Counted {
    Events,
    /// Distinct values of a field.
    Values(Path),
}

#[derive(Clone, PartialEq, Debug)]
pub struct Correlation {
    pub head: Head,
    /// Rules as written: ids or names.
    pub references: Vec<String>,
    /// Index of each referenced rule in [`super::Rules::rules`]; filled when everything is loaded.
    pub rules: Vec<usize>,
    pub counted: Counted,
    pub group_by: Vec<Path>,
    /// Alias → rule as written → field.
    pub aliases: BTreeMap<String, BTreeMap<String, Path>>,
    pub timespan_micros: i64,
    /// The condition holds from this count on.
    pub at_least: u64,
    /// The base rules alert on their own as well.
    pub generate: bool,
}

impl Correlation {
    /// The field that stands for `path` in events of base rule `rule` (its id, name or title as written).
    #[must_use]
    pub fn field_in<'a>(&'a self, path: &'a Path, reference: &str) -> &'a Path {
        self.aliases.get(path.as_str()).and_then(|m| m.get(reference)).unwrap_or(path)
    }
}

/// Reads a document that has `correlation`.
pub fn parse(root: &Node, head: Head) -> Result<Correlation, Problem> {
    let node = root.get("correlation").unwrap_or(root);
    let bad = |n: &Node, key: &str, reason: &str| {
        Problem::new(n.at, "rule.invalid", format!("correlation.{key}"), reason)
    };
    let need = |key: &'static str| {
        node.get(key)
            .ok_or_else(|| Problem::new(node.at, "rule.missing", format!("correlation.{key}"), "is missing"))
    };
    for e in node.map().unwrap_or_default() {
        const KEYS: [&str; 7] = ["type", "rules", "group-by", "timespan", "condition", "aliases", "generate"];
        if !KEYS.contains(&e.key.as_str()) {
            let hint = model::nearest(&e.key, KEYS).first().map(|n| format!("did you mean `{n}`?"));
            let p = Problem::new(
                e.at,
                "rule.unknown_key",
                format!("correlation.{}", e.key),
                "there is no such key",
            );
            return Err(p.hint(hint.unwrap_or_default()));
        }
    }
    let kind_node = need("type")?;
    let kind = kind_node.scalar().unwrap_or_default();
    match kind.as_str() {
        "event_count" | "value_count" => {}
        "temporal"
        | "temporal_ordered"
        | "temporal_extended"
        | "temporal_ordered_extended"
        | "value_sum"
        | "value_avg"
        | "value_percentile"
        | "value_median" => {
            let p = Problem::new(
                kind_node.at,
                "rule.unsupported",
                kind,
                "this type of correlation is not built yet",
            );
            return Err(p.hint("event_count and value_count run"));
        }
        _ => {
            return Err(Problem::new(
                kind_node.at,
                "rule.invalid",
                kind,
                "there is no such type of correlation",
            ));
        }
    }
    let rules_node = need("rules")?;
    let references = texts(rules_node).map_err(|r| bad(rules_node, "rules", &r))?;
    if references.is_empty() {
        return Err(bad(rules_node, "rules", "names no rule"));
    }
    let group_by = match node.get("group-by") {
        Some(n) => texts(n).map_err(|r| bad(n, "group-by", &r))?.iter().map(|s| Path::new(s)).collect(),
        None => Vec::new(),
    };
    let span_node = need("timespan")?;
    let timespan_micros = span_node
        .scalar()
        .and_then(|s| timespan(&s))
        .ok_or_else(|| bad(span_node, "timespan", "is a number and s, m, h or d, up to 90d"))?;
    let (at_least, field) = threshold(need("condition")?)?;
    let counted = match (kind.as_str(), field) {
        ("event_count", None) => Counted::Events,
        ("event_count", Some(_)) => {
            return Err(bad(kind_node, "condition", "`field` belongs to value_count"));
        }
        (_, Some(f)) => Counted::Values(f),
        (_, None) => return Err(bad(kind_node, "condition", "value_count needs `field`")),
    };
    Ok(Correlation {
        head,
        references,
        rules: Vec::new(),
        counted,
        group_by,
        aliases: aliases(node)?,
        timespan_micros,
        at_least,
        generate: match node.get("generate") {
            Some(n) => n.bool().ok_or_else(|| bad(n, "generate", "takes true or false"))?,
            None => false,
        },
    })
}

fn timespan(text: &str) -> Option<i64> {
    let split = text.len().checked_sub(1)?;
    let (number, unit) = (text.get(..split)?, text.get(split..)?);
    let unit = match unit {
        "s" => model::Time::SECOND,
        "m" => model::Time::MINUTE,
        "h" => model::Time::HOUR,
        "d" => model::Time::DAY,
        _ => return None,
    };
    if !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    number.parse::<i64>().ok()?.checked_mul(unit).filter(|v| (1..=TIMESPAN_MAX_MICROS).contains(v))
}

/// `gte` and `gt` only: the count of a sliding window that must stay low, or hit a number, is settled differently.
fn threshold(node: &Node) -> Result<(u64, Option<Path>), Problem> {
    let mut at_least = None;
    let mut field = None;
    for e in node.map().unwrap_or_default() {
        let construct = || format!("correlation.condition.{}", e.key);
        match e.key.as_str() {
            "gte" | "gt" => {
                let n: u64 = match &e.node.value {
                    Value::Number(t) | Value::Text { text: t, .. } => t.parse().ok(),
                    _ => None,
                }
                .ok_or_else(|| {
                    Problem::new(e.node.at, "rule.invalid", construct(), "is not a whole number")
                })?;
                let n = if e.key == "gt" { n.saturating_add(1) } else { n };
                // Two keys are joined by `and`: the higher bound decides.
                at_least = Some(at_least.map_or(n, |m: u64| m.max(n)));
            }
            "field" => {
                field = match &e.node.value {
                    Value::List(_) => {
                        return Err(Problem::new(
                            e.node.at,
                            "rule.unsupported",
                            construct(),
                            "a tuple of fields is not built yet",
                        ));
                    }
                    _ => e.node.scalar().map(|s| Path::new(&s)),
                }
            }
            "lt" | "lte" | "eq" | "neq" => {
                let p =
                    Problem::new(e.at, "rule.unsupported", construct(), "this comparison is not built yet");
                return Err(p.hint("gte and gt run"));
            }
            _ => return Err(Problem::new(e.at, "rule.unknown_key", construct(), "there is no such key")),
        }
    }
    match at_least {
        Some(n) if n > 0 => Ok((n, field)),
        Some(_) => {
            Err(Problem::new(node.at, "rule.invalid", "correlation.condition", "holds for every event"))
        }
        None => Err(Problem::new(node.at, "rule.missing", "correlation.condition", "needs `gte` or `gt`")),
    }
}

fn aliases(node: &Node) -> Result<BTreeMap<String, BTreeMap<String, Path>>, Problem> {
    let mut out = BTreeMap::new();
    for alias in node.get("aliases").and_then(Node::map).unwrap_or_default() {
        let mut per_rule = BTreeMap::new();
        for e in alias.node.map().unwrap_or_default() {
            let field = e.node.scalar().ok_or_else(|| {
                Problem::new(
                    e.node.at,
                    "rule.invalid",
                    "correlation.aliases",
                    "maps a rule to the name of a field",
                )
            })?;
            per_rule.insert(e.key.clone(), Path::new(&field));
        }
        out.insert(alias.key.clone(), per_rule);
    }
    Ok(out)
}
