//! `query`: the engine behind `avouch search` and `avouch sql` over sealed, encrypted segments, against DuckDB over the same rows in
//! the same Parquet layout without encryption. Both in a process that is warm: vault opened here, metadata cached there, the files
//! in the page cache. Both use as many threads as they like.
//!
//! A needle asks for whole rows (the 17 columns that a search shows), newest first. The sets of sequence numbers are equal before a
//! time counts.

use crate::fixture::{self, DATASET, Fixture, ShapeColumns};
use crate::peer;
use crate::report::{Report, Row, Unit};
use crate::rounds::pairs;
use crate::{Ctx, say};
use anyhow::{Context as _, Result};
use model::TimeRange;
use query::{Engine, Limits, Request};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

const SCRIPT: &str = include_str!("../duckdb.py");

/// What a search shows, as DuckDB is asked for it.
const SHOWN: &str = "av_seq, av_id, event_time, av_received, av_dataset, av_source, av_sender, av_account, av_region, actor, action, service, resources, src_ip, outcome, error, null as message";

struct Ours<'a> {
    runtime: &'a tokio::runtime::Runtime,
    engine: Engine,
    snapshot: vault::Snapshot,
}

impl Ours<'_> {
    fn search(&self, query: &str) -> Result<(f64, Vec<Value>)> {
        let request = Request { query: query.to_owned(), range: TimeRange::ALL, limit: 100 };
        let start = Instant::now();
        let answer = self.runtime.block_on(self.engine.search(&self.snapshot, &request))?;
        let ms = start.elapsed().as_secs_f64() * 1e3;
        anyhow::ensure!(
            answer.facts.unknown.is_empty() && !answer.is_cut_by_time,
            "not whole: {:?}",
            answer.facts
        );
        Ok((ms, answer.rows.into_iter().map(Value::Object).collect()))
    }
    fn sql(&self, text: &str) -> Result<(f64, Vec<Value>)> {
        let start = Instant::now();
        let answer = self.runtime.block_on(self.engine.sql(&self.snapshot, text, 100_000))?;
        let ms = start.elapsed().as_secs_f64() * 1e3;
        anyhow::ensure!(!answer.is_cut_by_time, "cut by time");
        Ok((ms, answer.rows.into_iter().map(Value::Object).collect()))
    }
}

pub fn run(ctx: &Ctx, report: &mut Report) -> Result<()> {
    let Some(python) = peer::python(ctx, report, "query") else { return Ok(()) };
    let f = fixture::get(ctx)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let snapshot =
        vault::read::open(&f.data.join("vault"), Some(fixture::keys(&f.data)?), Arc::new(ShapeColumns))?;
    let ours = Ours { runtime: &runtime, engine: Engine::new(Limits::default())?, snapshot };
    let mut duck = Duck::start(&python, f)?;
    needles(ctx, report, f, &ours, &mut duck)?;
    word(ctx, report, f, &ours, &mut duck)?;
    counts(ctx, report, f, &ours, &mut duck)
}

fn needles(ctx: &Ctx, report: &mut Report, f: &Fixture, ours: &Ours<'_>, duck: &mut Duck) -> Result<()> {
    for (case, column, field) in [
        ("one user", "actor", "user"),
        ("one address", "src_ip", "ip"),
        ("one request id", "request_id", "request_id"),
    ] {
        let (value, n) = f.rare.get(column).with_context(|| format!("no rare {column}"))?;
        let query = format!("{field} = '{value}'");
        let sql = format!(
            "select {SHOWN} from read_parquet(getvariable('files')) where {column} = ? order by coalesce(event_time, av_received) desc, av_seq limit 100"
        );
        let name = format!("needle: {case}, {n} of {} events", f.events);
        compare(
            ctx,
            report,
            f,
            name,
            0.5,
            Some(2.0),
            || ours.search(&query),
            |d| d.ask(&sql, &[value.as_str()]),
            duck,
        )?;
    }
    Ok(())
}

/// A word somewhere in the record: nothing can be skipped.
fn word(ctx: &Ctx, report: &mut Report, f: &Fixture, ours: &Ours<'_>, duck: &mut Duck) -> Result<()> {
    let (value, n) = f.rare.get("request_id").context("no rare request_id")?;
    let sql = format!(
        "select {SHOWN} from read_parquet(getvariable('files')) where contains(decode(raw), ?) order by coalesce(event_time, av_received) desc, av_seq limit 100"
    );
    let query = format!("'{value}'");
    let name = format!("word in raw, {n} of {} events", f.events);
    compare(
        ctx,
        report,
        f,
        name,
        0.5,
        Some(1.0),
        || ours.search(&query),
        |d| d.ask(&sql, &[value.as_str()]),
        duck,
    )
}

#[expect(clippy::too_many_arguments, reason = "the two sides, their names and bars")]
fn compare(
    ctx: &Ctx,
    report: &mut Report,
    f: &Fixture,
    name: String,
    bar: f64,
    aim: Option<f64>,
    ours: impl Fn() -> Result<(f64, Vec<Value>)>,
    theirs: impl Fn(&mut Duck) -> Result<(f64, Vec<Vec<String>>)>,
    duck: &mut Duck,
) -> Result<()> {
    // The first answers warm both sides.
    let a: BTreeSet<String> = ours()?.1.iter().map(|r| r["av_seq"].to_string()).collect();
    let b: BTreeSet<String> = theirs(duck)?.1.iter().filter_map(|r| r.first().cloned()).collect();
    anyhow::ensure!(a == b && !a.is_empty(), "{name}: the answers differ: ours {a:?}, DuckDB's {b:?}");
    say(format!("{name}: {} rows, the same on both sides", a.len()));
    let rounds = pairs(ctx.pick(3, 9), |_| Ok(ours()?.0), |_| Ok(theirs(duck)?.0))?;
    let row = Row::new("query", name, duck.name.clone(), Unit::Millis).bar(bar);
    let row = if let Some(aim) = aim { row.aim(aim) } else { row };
    report.add(row.rounds(rounds).checked(format!("{} rows, the same on both sides; {}", a.len(), f.about)));
    Ok(())
}

fn counts(ctx: &Ctx, report: &mut Report, f: &Fixture, ours: &Ours<'_>, duck: &mut Duck) -> Result<()> {
    let mine =
        format!("select action, count(*) as n from \"{DATASET}\" group by action order by n desc, action");
    let sql = "select action, count(*) as n from read_parquet(getvariable('files')) group by action order by n desc, action";
    let a: Vec<(String, String)> = ours
        .sql(&mine)?
        .1
        .iter()
        .map(|r| (r["action"].as_str().unwrap_or_default().to_owned(), r["n"].to_string()))
        .collect();
    let b: Vec<(String, String)> = duck
        .ask(sql, &[])?
        .1
        .into_iter()
        .filter_map(|r| Some((r.first()?.clone(), r.get(1)?.clone())))
        .collect();
    anyhow::ensure!(a == b && !a.is_empty(), "the counts differ: {:?} {:?}", a.first(), b.first());
    let rounds = pairs(ctx.pick(3, 9), |_| Ok(ours.sql(&mine)?.0), |_| Ok(duck.ask(sql, &[])?.0))?;
    let row = Row::new("query", "count by action, all events", duck.name.clone(), Unit::Millis)
        .bar(0.5)
        .aim(0.67)
        .rounds(rounds)
        .checked(format!("{} groups, the same on both sides; {}", a.len(), f.about));
    report.add(row);
    Ok(())
}

struct Duck {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    name: String,
}

impl Duck {
    fn start(python: &Path, f: &Fixture) -> Result<Duck> {
        let mut child = Command::new(python)
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("python does not start")?;
        let (input, output) =
            (child.stdin.take().context("no pipe")?, child.stdout.take().context("no pipe")?);
        let mut duck = Duck { child, input, output: BufReader::new(output), name: String::new() };
        writeln!(duck.input, "{}", json!(f.plain))?;
        let hello = duck.line()?;
        duck.name = format!(
            "DuckDB {}, {} threads, plain Parquet",
            hello["version"].as_str().unwrap_or("?"),
            hello["threads"]
        );
        Ok(duck)
    }

    fn line(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        serde_json::from_str(&line).context("DuckDB's answer is not JSON")
    }

    fn ask(&mut self, sql: &str, params: &[&str]) -> Result<(f64, Vec<Vec<String>>)> {
        writeln!(self.input, "{}", json!({ "sql": sql, "params": params }))?;
        let a = self.line()?;
        Ok((a["ms"].as_f64().context("no time")?, serde_json::from_value(a["rows"].clone())?))
    }
}

impl Drop for Duck {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
