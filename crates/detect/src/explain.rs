//! Why a rule holds for an event, or why it does not: every question with the values it saw. The answers come from the engine's own
//! program for that rule; there is no second evaluator.

use crate::compile::fields::{Fields, Source, lossy};
use crate::compile::run::Runner;
use crate::compile::{CompileError, Program};
use crate::engine::is_cloudtrail;
use crate::occurrence::{cut, values};
use crate::route::{Route, target};
use crate::sigma::rule::{Field, Item, Path, Rule, Test};
use model::{Batch, Columns};
use serde::Serialize;
use std::fmt;

/// Most values listed per question.
const SEEN_MAX: usize = 20;
/// Most wanted values listed per question.
const WANTED_MAX: usize = 50;

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Explanation {
    pub rule: String,
    pub title: String,
    pub held: bool,
    /// Whether the rule's `logsource` sends it to this event's dataset at all.
    pub is_routed: bool,
    pub dataset: String,
    pub selections: Vec<ExplainedSelection>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ExplainedSelection {
    pub name: String,
    pub held: bool,
    pub items: Vec<ExplainedItem>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ExplainedItem {
    /// The key as written in the rule.
    pub label: String,
    pub held: bool,
    pub wanted: Vec<String>,
    /// Values of the field in the event; empty when it is absent.
    pub seen: Vec<String>,
    pub line: u32,
}

/// Explains `rule` for the event in `row`.
///
/// # Errors
/// The rule does not compile (a limit).
pub fn explain(
    rule: &Rule,
    routes: &[Route],
    batch: &Batch,
    row: usize,
    columns: Option<&Columns>,
) -> Result<Explanation, CompileError> {
    let dataset = batch.dataset_of(row).to_owned();
    let route = target(&rule.logsource, routes);
    let (program, parts, root) = Program::explained(rule, route.guard.as_ref(), is_cloudtrail(&dataset))?;
    let nodes: Vec<u32> = parts.iter().copied().chain([root]).collect();
    let mut answers = Runner::new(&program).one(&program, batch, columns, row, &nodes);
    let held = answers.pop() == Some(true);
    let raw = lossy(batch.raw(row));
    let mut parts = answers.into_iter();
    let mut selections = Vec::new();
    for s in &rule.selections {
        let selection_held = parts.next() == Some(true);
        let items = s.detection.items();
        let items = items.iter().map(|item| ExplainedItem {
            label: item.label.clone(),
            held: parts.next() == Some(true),
            wanted: wanted(item),
            seen: seen(item, &raw, row, columns, is_cloudtrail(&dataset)),
            line: item.at.line,
        });
        selections.push(ExplainedSelection {
            name: s.name.clone(),
            held: selection_held,
            items: items.collect(),
        });
    }
    Ok(Explanation {
        rule: rule.head.name.clone(),
        title: rule.head.title.clone(),
        held,
        is_routed: route.takes(&dataset),
        dataset,
        selections,
    })
}

fn wanted(item: &Item) -> Vec<String> {
    let mut out: Vec<String> = match &item.test {
        Test::Values(m) => m.iter().take(WANTED_MAX).map(ToString::to_string).collect(),
        Test::Exists(b) => vec![if *b { "present".into() } else { "absent".into() }],
        Test::Null => vec!["absent or null".into()],
        Test::FieldRef { others, .. } => {
            others.iter().map(|o| format!("the value of {}", o.as_str())).collect()
        }
    };
    if let Test::Values(m) = &item.test
        && m.len() > WANTED_MAX
    {
        out.push(format!("and {} more", m.len() - WANTED_MAX));
    }
    out
}

fn seen(item: &Item, raw: &str, row: usize, columns: Option<&Columns>, can_derive: bool) -> Vec<String> {
    let mut paths: Vec<Path> = match &item.field {
        Field::Keywords => return vec![cut(raw)],
        Field::Path(p) => vec![p.clone()],
    };
    if let Test::FieldRef { others, .. } = &item.test {
        paths.extend(others.iter().cloned());
    }
    let fields = Fields::new(paths, can_derive);
    let bound = fields.bind(columns);
    let facts = values(&fields, Source::new(raw, &bound, row));
    facts.iter().flat_map(|v| v.iter().take(SEEN_MAX).map(|v| cut(v))).collect()
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = |held: bool| if held { "yes" } else { "no " };
        writeln!(f, "{} {} ({})", verdict(self.held), self.title, self.rule)?;
        if !self.is_routed {
            writeln!(f, "    its logsource does not lead to dataset `{}`", self.dataset)?;
        }
        for s in &self.selections {
            writeln!(f, "  {} {}", verdict(s.held), s.name)?;
            for i in &s.items {
                let seen = if i.seen.is_empty() { "absent".to_owned() } else { i.seen.join(" | ") };
                let seen = model::escape_controls(&seen);
                writeln!(f, "    {} {}: {} — saw {seen}", verdict(i.held), i.label, i.wanted.join(" | "))?;
            }
        }
        Ok(())
    }
}
