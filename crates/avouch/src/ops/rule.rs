//! `rule`: detection rules.

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};

#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Rule {
    #[command(subcommand)]
    pub what: What,
}

#[derive(Subcommand, Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Rules in force, with source and what each needs
    List(List),
    /// One rule's text
    Show { name: String },
    /// Run the tests inside the rule files
    Test(Test),
    /// Why a rule does or does not hold for an event
    Explain(Explain),
}

#[derive(Args, Clone, Debug, Serialize, Deserialize, Default)]
pub struct List {
    /// Only rules that were refused, with the reason
    #[arg(long)]
    pub refused: bool,
    /// Rule files or folders instead of the shipped and configured ones
    pub paths: Vec<std::path::PathBuf>,
}

#[derive(Args, Clone, Debug, Serialize, Deserialize, Default)]
pub struct Test {
    /// Rule files or folders; the shipped rules when left out
    pub paths: Vec<std::path::PathBuf>,
}

#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Explain {
    pub rule: String,
    /// Event id, <shard>:<seq>, or a file with one JSON record
    pub event: String,
}

use crate::answer::{Answer, Reply};
use crate::daemon::rules;
use crate::node::Node;
use crate::problem::Problem;
use serde_json::json;

pub async fn rule(args: &Rule, node: &Node) -> Reply {
    match &args.what {
        What::Explain(e) => explain(e, node).await,
        other => offline(other, &node.rules.files),
    }
}

/// Everything that needs no vault.
pub fn offline(what: &What, in_force: &[(String, String)]) -> Reply {
    match what {
        What::List(l) => {
            let files = files(&l.paths, in_force)?;
            let (rules, refused) = rules::rules(&files);
            let mut answer = Answer::new("avouch.rule.list/1").query(l);
            if l.refused {
                answer = answer.table(&["file", "line", "construct", "reason"]);
                for r in &refused {
                    answer.item(json!({ "file": r.file, "line": r.line, "column": r.column, "construct": r.construct, "reason": r.reason, "code": r.code() }), vec![r.file.clone(), r.line.to_string(), r.construct.clone(), r.reason.clone()]);
                }
                answer.after.push(format!(
                    "{} rules in force, {} refused, 0 skipped",
                    rules.rules.len() + rules.correlations.len(),
                    refused.len()
                ));
                return Ok(answer);
            }
            answer = answer.table(&["rule", "severity", "title", "type"]);
            for r in rules::rows(&rules) {
                answer.item(json!({ "name": r.name, "title": r.title, "type": r.finding_type, "severity": r.severity, "needs": r.needs, "file": r.file }), vec![r.name.clone(), r.severity.clone(), r.title.clone(), r.finding_type.clone()]);
            }
            answer.after.push(format!(
                "{} rules in force, {} refused{}",
                rules.rules.len() + rules.correlations.len(),
                refused.len(),
                if refused.is_empty() { "" } else { ": avouch rule list --refused" }
            ));
            Ok(answer)
        }
        What::Show { name } => {
            let found = in_force.iter().find(|(n, _)| {
                n.rsplit('/').next().and_then(|b| b.strip_suffix(".yml")) == Some(name.as_str())
            });
            let Some((file, text)) = found else {
                let names: Vec<&str> =
                    in_force.iter().filter_map(|(n, _)| n.rsplit('/').next()?.strip_suffix(".yml")).collect();
                return Err(crate::daemon::pipeline::unknown("rule", name, &names));
            };
            let mut answer = Answer::new("avouch.rule.show/1").query(json!({ "name": name }));
            answer.line(text.clone());
            answer.items.push(json!({ "file": file, "text": text }));
            Ok(answer)
        }
        What::Test(t) => test(t, in_force),
        What::Explain(_) => Err(Problem::new("rule.needs_vault", "explaining needs the event's vault")),
    }
}

fn files(
    paths: &[std::path::PathBuf],
    in_force: &[(String, String)],
) -> Result<Vec<(String, String)>, Problem> {
    if paths.is_empty() {
        return Ok(in_force.to_vec());
    }
    let mut out = Vec::new();
    for p in paths {
        out.extend(rules::read(p)?);
    }
    Ok(out)
}

fn test(args: &Test, in_force: &[(String, String)]) -> Reply {
    let files = files(&args.paths, in_force)?;
    let (rules, refused) = rules::rules(&files);
    let report = detect::run_tests(&rules);
    let mut answer =
        Answer::new("avouch.rule.test/1").query(args).table(&["rule", "test", "expected", "result"]);
    let word = |fired: bool| if fired { "fires" } else { "stays quiet" };
    for r in &report.results {
        let item = json!({ "rule": r.rule, "test": r.test, "file": r.file, "line": r.line, "expected": r.expected, "fired": r.fired, "passed": r.passed() });
        if r.passed() {
            answer.items.push(item);
        } else {
            answer.item(
                item,
                vec![
                    r.rule.clone(),
                    r.test.clone(),
                    word(r.expected).to_owned(),
                    format!("{} ({}:{})", word(r.fired), r.file, r.line),
                ],
            );
        }
    }
    for (rule, why) in &report.failed {
        answer.item(
            json!({ "rule": rule, "error": why }),
            vec![rule.clone(), "-".into(), "-".into(), why.clone()],
        );
    }
    for r in &refused {
        answer.item(
            json!({ "file": r.file, "line": r.line, "refused": r.reason }),
            vec![
                r.file.clone(),
                r.construct.clone(),
                "-".into(),
                format!("refused: {} ({}:{})", r.reason, r.line, r.column),
            ],
        );
    }
    for name in &report.untested {
        answer.item(
            json!({ "rule": name, "untested": true }),
            vec![name.clone(), "-".into(), "-".into(), "needs a test that fires and a near miss".into()],
        );
    }
    if answer.rows.is_empty() {
        answer.headings.clear();
    }
    let passed = report.results.iter().filter(|r| r.passed()).count();
    answer.after.push(format!(
        "{passed} of {} tests passed over {} rules, {} refused",
        report.results.len(),
        rules.rules.len() + rules.correlations.len(),
        refused.len()
    ));
    if !report.is_good() || !report.untested.is_empty() || !refused.is_empty() {
        answer.worse(1);
    }
    Ok(answer)
}

async fn explain(args: &Explain, node: &Node) -> Reply {
    let (rules, _) = rules::rules(&node.rules.files);
    let Some(detect::Known::Rule(index)) = rules.find(&args.rule) else {
        let names: Vec<&str> = rules.rules.iter().map(|r| r.head.name.as_str()).collect();
        return Err(crate::daemon::pipeline::unknown("rule", &args.rule, &names));
    };
    let Some(rule) = rules.rules.get(index) else { return Err(Problem::new("rule.unknown", "no such rule")) };
    let stored = super::event::find(node, &args.event).await?;
    let dataset = stored.batch.dataset_of(0).to_owned();
    let columns = shape::derive(&dataset, &stored.batch);
    let e = detect::explain(rule, &[], &stored.batch, 0, Some(&columns))
        .map_err(|e| Problem::new("rule.limit", e.to_string()))?;
    let mut answer = Answer::new("avouch.rule.explain/1").query(args);
    let mark = |held: bool| if held { "yes" } else { "no " };
    answer.line(format!(
        "{}: {} for {} ({})",
        e.rule,
        if e.held { "holds" } else { "does not hold" },
        args.event,
        e.dataset
    ));
    if !e.is_routed {
        answer.line(format!("its logsource does not lead to dataset {}", e.dataset));
    }
    for s in &e.selections {
        answer.line(format!("{} {}", mark(s.held), s.name));
        for i in &s.items {
            answer.line(format!(
                "   {} {} wants {} and saw {}",
                mark(i.held),
                i.label,
                i.wanted.join(" or "),
                if i.seen.is_empty() {
                    "nothing".to_owned()
                } else {
                    model::escape_controls(&i.seen.join(", "))
                }
            ));
        }
    }
    answer.items.push(serde_json::to_value(&e).unwrap_or_default());
    Ok(answer)
}
