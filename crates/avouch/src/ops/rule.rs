//! `rule`: detection rules.

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};

#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Rule {
    #[command(subcommand)]
    pub what: What,
    /// Further rules beside the shipped and configured ones: Sigma files or folders
    #[arg(long, global = true, value_name = "PATH")]
    #[serde(default)]
    pub rules: Vec<std::path::PathBuf>,
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
    /// Event id, <shard>:<seq>, or a file with CloudTrail records
    #[arg(allow_hyphen_values = true)]
    pub event: String,
}

use crate::answer::{Answer, Reply};
use crate::config::Config;
use crate::daemon::rules;
use crate::node::Node;
use crate::problem::Problem;
use serde_json::json;

pub async fn rule(args: &Rule, node: &Node) -> Reply {
    if let Some(reply) = alone(args, &node.config) {
        return reply;
    }
    let What::Explain(e) = &args.what else {
        return Err(Problem::new("internal.rule", "this part of `rule` needs no vault").defect());
    };
    let (rules, _) = rules::rules(&in_force(args, &node.config)?);
    let rule = named(&rules, &e.rule)?;
    let stored = super::event::find(node, &e.event).await?;
    let mut answer = Answer::new("avouch.rule.explain/1").query(e);
    explained(&mut answer, rule, &stored.batch, 0, &e.event)?;
    Ok(answer)
}

/// Everything that needs no vault: rules come from the binary, the configuration and the command line. Nothing when the event to
/// explain is in a vault.
pub fn alone(args: &Rule, config: &Config) -> Option<Reply> {
    if let What::Explain(e) = &args.what {
        let path = std::path::Path::new(&e.event);
        return path.is_file().then(|| explain_file(args, e, path, config));
    }
    Some(in_force(args, config).and_then(|files| offline(&args.what, &files)))
}

/// Texts of the rules in force: shipped, configured, and those that the command names.
fn in_force(args: &Rule, config: &Config) -> Result<Vec<(String, String)>, Problem> {
    let mut files = rules::load(config)?.files;
    for path in &args.rules {
        files.extend(rules::read(path)?);
    }
    Ok(files)
}

fn offline(what: &What, in_force: &[(String, String)]) -> Reply {
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
        What::Explain(_) => {
            Err(Problem::new("rule.needs_vault", "explaining an event needs its vault, or a file")
                .hint("name a file of records, or the folder that holds the event: `--data-dir DIR`"))
        }
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

fn named<'a>(rules: &'a detect::Rules, name: &str) -> Result<&'a detect::sigma::rule::Rule, Problem> {
    if let Some(detect::Known::Rule(index)) = rules.find(name)
        && let Some(rule) = rules.rules.get(index)
    {
        return Ok(rule);
    }
    if rules.correlations.iter().any(|c| c.head.name == name) {
        return Err(Problem::new(
            "rule.is_correlation",
            format!("`{name}` counts what other rules hold for"),
        )
        .hint(format!("`avouch rule show {name}` names them; explain one of those")));
    }
    let names: Vec<&str> = rules.rules.iter().map(|r| r.head.name.as_str()).collect();
    Err(crate::daemon::pipeline::unknown("rule", name, &names))
}

/// Records of a file explained at once: enough to see which one a rule meant.
const RECORDS_EXPLAINED: usize = 20;

/// Explains a rule over the records of a file, read as `scan` reads it. Records for which it holds come first to be told.
fn explain_file(args: &Rule, e: &Explain, path: &std::path::Path, config: &Config) -> Reply {
    let (rules, _) = rules::rules(&in_force(args, config)?);
    let rule = named(&rules, &e.rule)?;
    let mut answer = Answer::new("avouch.rule.explain/1").query(e);
    let (plan, mut failed, mut n, mut held) = (shape::Plan::default(), None, 0_usize, 0_usize);
    let report = collect::read_path(path, &mut |batch| {
        let shaped = shape::intake(&batch, &plan, model::Time(0), &[]).batch;
        for (dataset, rows) in shaped.rows_by_dataset() {
            let part = crate::cmd::scan::one_dataset(&shaped, &dataset, &rows);
            for row in 0..part.len() {
                n += 1;
                if n > RECORDS_EXPLAINED || failed.is_some() {
                    continue;
                }
                match explained(&mut answer, rule, &part, row, &format!("record {n}")) {
                    Ok(holds) => held += usize::from(holds),
                    Err(p) => failed = Some(p),
                }
            }
        }
    });
    if let Some(p) = failed {
        return Err(p);
    }
    if n == 0 && report.problems.is_empty() {
        return Err(Problem::new("rule.no_record", format!("no record in `{}`", path.display()))
            .hint("name a CloudTrail file: {\"Records\":[…]} or one record a line, gzip or plain"));
    }
    answer.after.push(format!("{} holds for {held} of {} records", rule.head.name, n.min(RECORDS_EXPLAINED)));
    if n > RECORDS_EXPLAINED {
        answer.unknown.push(format!(
            "{} further records: only the first {RECORDS_EXPLAINED} are explained",
            n - RECORDS_EXPLAINED
        ));
    }
    answer.unknown.extend(
        report.problems.iter().map(|p| format!("{}: {} (at byte {})", p.path.display(), p.reason, p.offset)),
    );
    Ok(answer)
}

/// Adds what the rule saw in one event; whether it holds.
fn explained(
    answer: &mut Answer,
    rule: &detect::sigma::rule::Rule,
    batch: &model::Batch,
    row: usize,
    shown: &str,
) -> Result<bool, Problem> {
    let dataset = batch.dataset_of(row).to_owned();
    let columns = shape::derive(&dataset, batch);
    let e = detect::explain(rule, &[], batch, row, Some(&columns)).map_err(|e| {
        Problem::new("rule.limit", e.to_string())
            .hint("shorten the rule: fewer values and patterns in one selection")
    })?;
    let mark = |held: bool| if held { "yes" } else { "no " };
    answer.line(format!(
        "{}: {} for {shown} ({})",
        e.rule,
        if e.held { "holds" } else { "does not hold" },
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
    Ok(e.held)
}
