//! `scan PATH`: a folder of CloudTrail files in, findings and who-did-what out. No daemon, no vault, nothing kept.

use super::finish;
use crate::answer::{Answer, Form};
use crate::cli::Global;
use crate::config;
use crate::daemon::rules;
use crate::problem::Problem;
use clap::Args;
use findings::{By, Command, Filter, State};
use model::{Batch, Flags, Severity, Time};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub struct Scan {
    /// CloudTrail log files: a folder or one file, gzip or plain
    #[arg(value_name = "PATH", group = "what")]
    pub path: Option<PathBuf>,
    /// The same, named: CloudTrail log files
    #[arg(long, value_name = "PATH", group = "what")]
    pub logs: Option<PathBuf>,
    /// Further rules: Sigma files or folders
    #[arg(long, value_name = "PATH")]
    pub rules: Vec<PathBuf>,
    /// Exit 1 when a finding at or above this severity exists
    #[arg(long, value_name = "SEVERITY")]
    pub fail_on: Option<String>,
}

/// A scan answers for files, not for a moment, so nothing in it may depend on when it runs (O1). Shaping needs a received time;
/// records without a readable time of their own get this one and are counted.
const RECEIVED: Time = Time(0);
/// How often long work says how far it is (`interface.md` 1.4).
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// Findings shown; far more than a person reads, and a scan that finds more has a rule that is wrong.
const FINDINGS_MAX: &str = "10000";

/// (account, who, what) to how often, and how often it did not succeed.
type Acts = BTreeMap<(String, String, String), (u64, u64)>;

/// What is counted while the files go by.
#[derive(Default)]
struct Seen {
    acts: Acts,
    range: Option<(Time, Time)>,
    /// Records that are no CloudTrail records, by file.
    foreign: BTreeMap<String, u64>,
    /// Records whose own time cannot be read.
    timeless: u64,
    records: u64,
    files: BTreeSet<String>,
}

pub fn run(args: &Scan, global: &Global) -> Result<u8, Problem> {
    let path = args.path.as_ref().or(args.logs.as_ref()).ok_or_else(|| {
        Problem::new("usage.no_path", "nothing to look at was named").hint("avouch scan FOLDER")
    })?;
    let foot = args.fail_on.as_deref().map(threshold).transpose()?;
    if !path.exists() {
        return Err(Problem::new("scan.no_logs", format!("there is nothing at `{}`", path.display())).hint(
            "name a folder of CloudTrail files, e.g. one that `aws s3 sync s3://BUCKET/AWSLogs .` wrote",
        ));
    }
    let mut files: Vec<(String, String)> = rules::load(&config::Config::default())?.files;
    for p in &args.rules {
        files.extend(rules::read(p)?);
    }
    let (set, refused) = rules::rules(&files);
    let n_rules = set.rules.len() + set.correlations.len();
    let mut engine = detect::Engine::new(set, detect::Settings::default()).map_err(|e| {
        Problem::new("rule.limit", e.to_string()).hint("name fewer rule files with `--rules`")
    })?;
    let (report, seen, occurrences) = read(path, &mut engine, global.quiet);
    if report.records == 0 && report.problems.is_empty() {
        return Err(nothing(path, &report));
    }
    // The run's own clock must not reach a finding: it is made at the time of the newest event.
    let by = By { who: "scan".to_owned(), at: seen.range.map_or(RECEIVED, |r| r.1), why: String::new() };
    let mut state = State::default();
    let changes = findings::decide(&state, &Command::Ingest { occurrences }, &by)
        .map_err(|e| crate::daemon::hub::problem(&e))?;
    state.apply(&changes);
    let filter =
        Filter::parse([("state", "open"), ("sort", "-severity,first_seen"), ("limit", FINDINGS_MAX)])
            .map_err(|e| crate::daemon::hub::problem(&e))?;
    let list = state.list(&filter, by.at).map_err(|e| crate::daemon::hub::problem(&e))?;
    let mut answer = answer(path, &report, &seen, &list, n_rules);
    for r in &refused {
        answer.unknown.push(format!("rule refused: {}:{}: {}", r.file, r.line, r.reason));
    }
    if foot.is_some_and(|f| list.rows.iter().any(|r| r.entry.severity() >= f)) {
        answer.worse(1);
    }
    if global.form() == Form::Html {
        answer.document = Some(crate::demo::summary::of_scan(&answer, &list));
    }
    finish(&answer, global)
}

fn threshold(text: &str) -> Result<Severity, Problem> {
    Severity::threshold(text).ok_or_else(|| {
        Problem::new("usage.bad_severity", format!("`{text}` is no severity"))
            .hint("info, low, medium, high, critical")
    })
}

/// F1: a folder without logs is not a clean bill of health; there is no answer to give.
fn nothing(path: &Path, report: &collect::Report) -> Problem {
    let looked = match (report.files, report.skipped) {
        (0, 0) => "it is empty".to_owned(),
        (0, n) => format!("its {n} files have other names than CloudTrail files (.json, .json.gz)"),
        (n, _) => format!("its {n} log files hold no record"),
    };
    Problem::new("scan.no_records", format!("no CloudTrail record in `{}`: {looked}", path.display())).hint(
        "CloudTrail writes gzip files below AWSLogs/ACCOUNT/CloudTrail/ in its bucket; `aws s3 sync s3://BUCKET/AWSLogs .` fetches them",
    )
}

/// Reads everything below `path` once.
fn read(
    path: &Path,
    engine: &mut detect::Engine,
    is_quiet: bool,
) -> (collect::Report, Seen, Vec<model::Occurrence>) {
    let (plan, mut seen, mut occurrences) = (shape::Plan::default(), Seen::default(), Vec::new());
    let started = std::time::Instant::now();
    let mut told = started;
    let report = collect::read_path(path, &mut |batch: Batch| {
        let shaped = shape::intake(&batch, &plan, RECEIVED, &[]).batch;
        for (dataset, rows) in shaped.rows_by_dataset() {
            let part = one_dataset(&shaped, &dataset, &rows);
            seen.count(&part, &dataset);
            occurrences.extend(crate::daemon::watch::judge(engine, &part));
        }
        if !is_quiet && told.elapsed() >= TOLD_EVERY {
            told = std::time::Instant::now();
            let rate = seen.records as f64 / started.elapsed().as_secs_f64();
            let n = seen.files.len();
            crate::cli::say(&format!(
                "scanned {} records in {n} files, {rate:.0} a second, now in {}",
                seen.records,
                seen.files.last().map_or("", String::as_str)
            ));
        }
    });
    occurrences.extend(engine.end());
    (report, seen, occurrences)
}

fn answer(
    path: &Path,
    report: &collect::Report,
    seen: &Seen,
    list: &findings::List<'_>,
    n_rules: usize,
) -> Answer {
    let mut answer = Answer::new("avouch.scan/1").query(json!({ "logs": path.display().to_string() }));
    answer.line(format!(
        "looked at {} in {}{}; {n_rules} rules",
        many(report.records, "record"),
        many(report.files, "file"),
        seen.range.map_or_else(String::new, |(a, b)| format!(", {a} to {b}")),
    ));
    answer = answer.table(&["severity", "what is wrong", "who", "resource", "times", "first", "type"]);
    for row in &list.rows {
        let f = row.entry.finding();
        let who = who(f);
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
        let foreign: u64 = seen.foreign.values().sum();
        answer.line(match report.records > foreign {
            true => "nothing in them that the rules know as an attack or a weakening",
            false => "no CloudTrail record among them, so nothing can be said about an account",
        });
    }
    who_did_what(&mut answer, &seen.acts);
    not_seen(&mut answer, report, seen);
    if report.records > seen.foreign.values().sum() {
        next(&mut answer, path, list);
    }
    answer
}

/// Who did it: part of the finding's identity, or as the newest event under it says.
fn who(f: &model::Finding) -> String {
    const WHO: &str = "avouch.principal";
    let named = f.key.iter().find(|(k, _)| *k == WHO).map(|(_, v)| v.clone());
    named.or_else(|| f.evidence.first()?.fields.get(WHO).map(str::to_owned)).unwrap_or_default()
}

/// F1: everything that was there and was not looked at.
fn not_seen(answer: &mut Answer, report: &collect::Report, seen: &Seen) {
    for p in &report.problems {
        answer.unknown.push(format!("{}: {} (at byte {})", p.path.display(), p.reason, p.offset));
    }
    for (file, n) in &seen.foreign {
        answer.unknown.push(format!(
            "{file}: {}",
            match n {
                1 => "1 record is no CloudTrail record".to_owned(),
                n => format!("{n} records are no CloudTrail records"),
            }
        ));
    }
    if seen.timeless > 0 {
        answer.unknown.push(format!("{} without a readable time", many(seen.timeless, "record")));
    }
}

fn next(answer: &mut Answer, path: &Path, list: &findings::List<'_>) {
    let p = crate::cli::program();
    answer.after.push(String::new());
    if let Some(row) = list.rows.first() {
        answer.after.push(format!(
            "why the first one is a finding   {p} rule show {}",
            row.entry.finding().rule.name
        ));
    }
    let shown = path.display();
    answer.after.push(format!("this as a page to hand on        {p} scan {shown} -o html -O report.html"));
    answer.after.push(format!("watch this account from now on   {p} init account-audit"));
}

fn many(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
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

impl Seen {
    fn count(&mut self, part: &Batch, dataset: &str) {
        let columns = shape::derive(dataset, part);
        for (i, row) in part.rows.iter().enumerate() {
            self.records += 1;
            let file = || file_of(part, i);
            if i == 0 {
                self.files.insert(file());
            }
            if row.flags.has(Flags::PARSE_ERROR) || columns.text("action", i).is_none() {
                *self.foreign.entry(file()).or_default() += 1;
                continue;
            }
            if row.flags.has(Flags::TIME_FROM_PAYLOAD) {
                let t = row.event_time;
                let (a, b) = self.range.unwrap_or((t, t));
                self.range = Some((a.min(t), b.max(t)));
            } else {
                self.timeless += 1;
            }
            let text = |name: &str| columns.text(name, i).unwrap_or("-").to_owned();
            let slot =
                self.acts.entry((text("recipient_account"), text("actor"), text("action"))).or_default();
            slot.0 += 1;
            slot.1 += u64::from(columns.text("outcome", i).is_some_and(|o| o != "success"));
        }
    }
}

/// The file that a row came from, as its envelope says.
fn file_of(part: &Batch, i: usize) -> String {
    let origin = part.provenance_of(i).origin.as_deref().and_then(|o| serde_json::from_str::<Value>(o).ok());
    let file = origin.as_ref().and_then(|o| o.get("file")).and_then(Value::as_str);
    file.unwrap_or("-").to_owned()
}

/// The twenty most active pairs of who and what that change something or were refused; reads are counted in the total.
fn who_did_what(answer: &mut Answer, acts: &Acts) {
    const SHOWN: usize = 20;
    let is_read =
        |what: &str| ["Describe", "List", "Get", "Lookup", "Head"].iter().any(|p| what.starts_with(p));
    let mut rows: Vec<_> =
        acts.iter().filter(|((_, _, what), (_, refused))| !is_read(what) || *refused > 0).collect();
    rows.sort_by(|a, b| b.1.0.cmp(&a.1.0).then_with(|| a.0.cmp(b.0)));
    if rows.is_empty() {
        return;
    }
    answer.after.push(String::new());
    answer.after.push("who did what (changes, and what was refused)".to_owned());
    for ((account, who, what), (n, refused)) in rows.iter().take(SHOWN) {
        let refused = if *refused > 0 { format!(", {refused} refused") } else { String::new() };
        answer.after.push(format!(
            "  {:<12}  {:<40} {:<32} {n}{refused}",
            model::escape_controls(account),
            model::escape_controls(who),
            model::escape_controls(what)
        ));
    }
    if rows.len() > SHOWN {
        answer.after.push(format!("  … {} more in -o json", rows.len() - SHOWN));
    }
    let item = |((account, who, what), (n, refused)): &(&(String, String, String), &(u64, u64))| json!({ "account": account, "who": who, "what": what, "n": n, "refused": refused });
    answer.run.insert("who_did_what".into(), rows.iter().map(item).collect());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::estate::{self, ATTACKER, Estate};

    /// What the shipped rules say about an estate, each thing that was collected told apart by `keep`.
    fn judged(estate: &Estate, keep: impl Fn(&str) -> bool) -> Vec<model::Occurrence> {
        let files = rules::load(&config::Config::default()).unwrap().files;
        let mut engine = detect::Engine::new(rules::rules(&files).0, detect::Settings::default()).unwrap();
        let mut out = Vec::new();
        let mut take = |dataset: &str, events: &[String]| {
            let mut batch = Batch::builder();
            let (who, name) = (batch.provenance(model::Provenance::new("test")), batch.dataset(dataset));
            for e in events.iter().filter(|e| keep(e)) {
                batch.push(e.as_bytes(), who, name);
            }
            let plan = shape::Plan::default();
            let shaped = shape::intake(&batch.finish(), &plan, estate.attack.1, &[]).batch;
            for (dataset, rows) in shaped.rows_by_dataset() {
                out.extend(crate::daemon::watch::judge(&mut engine, &one_dataset(&shaped, &dataset, &rows)));
            }
        };
        let mut records = Vec::new();
        for (_, bytes) in &estate.cloudtrail_files {
            let mut text = String::new();
            std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(bytes.as_slice()), &mut text)
                .unwrap();
            let file: Value = serde_json::from_str(&text).unwrap();
            records.extend(file["Records"].as_array().unwrap().iter().map(Value::to_string));
        }
        assert!(records.len() > 1_000);
        take("aws.cloudtrail", &records);
        take("syslog", &estate.syslog);
        take("app.firewall", &estate.firewall);
        out.extend(engine.end());
        out
    }

    /// A demo whose normal day raises findings would teach people to look away.
    #[test]
    fn only_the_staged_attack_raises_findings() {
        for seed in [2_026, 1, 77] {
            let end = Time::parse_rfc3339(b"2026-03-14T12:00:00Z").unwrap();
            let estate = estate::make(seed, end, 6_000);
            let calm = judged(&estate, |e| !e.contains(ATTACKER));
            let said: Vec<String> =
                calm.iter().map(|o| format!("{} at {}", o.about.rule.name, o.time)).collect();
            assert_eq!(said, Vec::<String>::new(), "seed {seed}: normal traffic");
            let all = judged(&estate, |_| true);
            let found: BTreeSet<&str> = all.iter().map(|o| o.about.rule.name.as_str()).collect();
            for rule in ["root_console_login", "trail_stopped", "admin_policy_attached", "ssh_guessing"] {
                assert!(found.contains(rule), "seed {seed}: {rule} is not among {found:?}");
            }
            let from = estate.attack.0.plus(-30 * Time::MINUTE);
            assert!(all.iter().all(|o| from <= o.time && o.time <= estate.attack.1), "seed {seed}");
        }
    }
}
