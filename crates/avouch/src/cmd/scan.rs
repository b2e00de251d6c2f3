//! `scan --logs PATH`: a folder of CloudTrail files in, findings and who-did-what out. No daemon, no vault, nothing kept.

use super::finish;
use crate::answer::{Answer, Form};
use crate::cli::Global;
use crate::config;
use crate::daemon::rules;
use crate::node::now;
use crate::problem::Problem;
use clap::Args;
use findings::{By, Command, Filter, State};
use model::{Batch, Severity};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;

#[derive(Args)]
pub struct Scan {
    /// CloudTrail log files: a folder or one file, gzip or plain
    #[arg(long, value_name = "PATH", required = true)]
    pub logs: PathBuf,
    /// Further rules: Sigma files or folders
    #[arg(long, value_name = "PATH")]
    pub rules: Vec<PathBuf>,
    /// Exit 1 when a finding at or above this severity exists
    #[arg(long, value_name = "SEVERITY")]
    pub fail_on: Option<String>,
}

pub fn run(args: &Scan, global: &Global) -> Result<u8, Problem> {
    if !args.logs.exists() {
        return Err(Problem::new("scan.no_logs", format!("there is nothing at `{}`", args.logs.display()))
            .hint(
                "name a folder of CloudTrail files, e.g. one that `aws s3 sync s3://BUCKET/AWSLogs .` wrote",
            ));
    }
    let mut files: Vec<(String, String)> = rules::load(&config::Config::default())?.files;
    for p in &args.rules {
        files.extend(rules::read(p)?);
    }
    let (set, refused) = rules::rules(&files);
    let mut engine = detect::Engine::new(set, detect::Settings::default())
        .map_err(|e| Problem::new("rule.limit", e.to_string()))?;
    let mut occurrences = Vec::new();
    let mut acts: BTreeMap<(String, String), (u64, u64)> = BTreeMap::new();
    let mut range: Option<(model::Time, model::Time)> = None;
    let plan = shape::Plan::default();
    let started = std::time::Instant::now();
    let mut told = started;
    let mut events = 0u64;
    let report = collect::read_path(&args.logs, &mut |batch: Batch| {
        let shaped = shape::intake(&batch, &plan, now(), &[]).batch;
        events += shaped.len() as u64;
        for (dataset, rows) in shaped.rows_by_dataset() {
            let part = one_dataset(&shaped, &dataset, &rows);
            count(&part, &dataset, &mut acts, &mut range);
            occurrences.extend(crate::daemon::watch::judge(&mut engine, &part));
        }
        if !global.quiet && told.elapsed().as_secs() >= 10 {
            told = std::time::Instant::now();
            crate::cli::say(&format!(
                "scanned {events} records, {:.0} a second",
                events as f64 / started.elapsed().as_secs_f64()
            ));
        }
    });
    occurrences.extend(engine.end());
    let mut state = State::default();
    let by = By { who: "scan".to_owned(), at: now(), why: String::new() };
    let changes = findings::decide(&state, &Command::Ingest { occurrences }, &by)
        .map_err(|e| crate::daemon::hub::problem(&e))?;
    state.apply(&changes);
    let mut answer = Answer::new("avouch.scan/1").query(json!({ "logs": args.logs.display().to_string() }));
    let filter = Filter::parse([("state", "open"), ("sort", "-severity,first_seen"), ("limit", "10000")])
        .map_err(|e| crate::daemon::hub::problem(&e))?;
    let list = state.list(&filter, by.at).map_err(|e| crate::daemon::hub::problem(&e))?;
    answer.line(format!(
        "looked at {} records in {} files{}; {} rules",
        report.records,
        report.files,
        range.map_or_else(String::new, |(a, b)| format!(", {a} to {b}")),
        files.len()
    ));
    answer = answer.table(&["severity", "what is wrong", "who", "resource", "times", "first", "type"]);
    for row in &list.rows {
        let f = row.entry.finding();
        let who =
            f.key.iter().find(|(k, _)| k == "avouch.principal").map(|(_, v)| v.clone()).unwrap_or_default();
        answer.item(
            row.full(),
            vec![
                format!("{} {}", row.entry.severity(), row.entry.severity().band()),
                f.title.clone(),
                who,
                f.resource.clone().unwrap_or_default(),
                f.count.to_string(),
                f.first_seen.to_string(),
                f.finding_type.clone(),
            ],
        );
    }
    if list.rows.is_empty() {
        answer.headings.clear();
        answer.line("nothing that the rules know as an attack or a weakening");
    }
    who_did_what(&mut answer, &acts);
    for p in &report.problems {
        answer.unknown.push(format!("{}: {} (at byte {})", p.path.display(), p.reason, p.offset));
    }
    for r in &refused {
        answer.unknown.push(format!("rule refused: {}:{}: {}", r.file, r.line, r.reason));
    }
    if report.records == 0 && report.problems.is_empty() {
        answer.unknown.push(format!("`{}` holds no CloudTrail record", args.logs.display()));
    }
    if let Some(t) = &args.fail_on {
        let foot = Severity::threshold(t).ok_or_else(|| {
            Problem::new("usage.bad_severity", format!("`{t}` is no severity"))
                .hint("info, low, medium, high, critical")
        })?;
        if list.rows.iter().any(|r| r.entry.severity() >= foot) {
            answer.worse(1);
        }
    }
    if global.form() == Form::Html {
        answer.document = Some(crate::demo::summary::of_scan(&answer, &list));
    }
    finish(&answer, global)
}

/// The rows of one dataset as a batch of their own.
pub fn one_dataset(batch: &Batch, dataset: &str, rows: &[usize]) -> Batch {
    let picked =
        rows.iter().filter_map(|i| batch.rows.get(*i)).map(|r| model::Row { dataset: 0, ..*r }).collect();
    Batch {
        rows: std::sync::Arc::new(picked),
        datasets: std::sync::Arc::new(vec![dataset.into()]),
        ..batch.clone()
    }
}

fn count(
    part: &Batch,
    dataset: &str,
    acts: &mut BTreeMap<(String, String), (u64, u64)>,
    range: &mut Option<(model::Time, model::Time)>,
) {
    let columns = shape::derive(dataset, part);
    for (i, row) in part.rows.iter().enumerate() {
        if let Some(t) = row.event_time.known() {
            let (a, b) = range.unwrap_or((t, t));
            *range = Some((a.min(t), b.max(t)));
        }
        let who = columns.text("actor", i).unwrap_or("-").to_owned();
        let what = columns.text("action", i).unwrap_or("-").to_owned();
        let slot = acts.entry((who, what)).or_default();
        slot.0 += 1;
        slot.1 += u64::from(columns.text("outcome", i).is_some_and(|o| o != "success"));
    }
}

/// The twenty most active pairs of who and what that change something or were refused; reads are counted in the total.
fn who_did_what(answer: &mut Answer, acts: &BTreeMap<(String, String), (u64, u64)>) {
    const SHOWN: usize = 20;
    let is_read =
        |what: &str| ["Describe", "List", "Get", "Lookup", "Head"].iter().any(|p| what.starts_with(p));
    let mut rows: Vec<(&(String, String), &(u64, u64))> =
        acts.iter().filter(|((_, what), (_, refused))| !is_read(what) || *refused > 0).collect();
    rows.sort_by(|a, b| b.1.0.cmp(&a.1.0).then_with(|| a.0.cmp(b.0)));
    if rows.is_empty() {
        return;
    }
    answer.after.push(String::new());
    answer.after.push("who did what (changes, and what was refused)".to_owned());
    for ((who, what), (n, refused)) in rows.iter().take(SHOWN) {
        let refused = if *refused > 0 { format!(", {refused} refused") } else { String::new() };
        answer.after.push(format!(
            "  {:<40} {:<32} {n}{refused}",
            model::escape_controls(who),
            model::escape_controls(what)
        ));
    }
    if rows.len() > SHOWN {
        answer.after.push(format!("  … {} more in -o json", rows.len() - SHOWN));
    }
    answer.run.insert(
        "who_did_what".into(),
        rows.iter()
            .map(
                |((who, what), (n, refused))| json!({ "who": who, "what": what, "n": n, "refused": refused }),
            )
            .collect(),
    );
}
