//! The rsigma engine behind a pipe, for `bench detect`: `bench-rsigma RULES EVENTS` loads a JSON list of rule texts and a file of
//! one event a line, says what it loaded, then answers one line of JSON to each line of its input:
//!
//! - `hits ENGINE`: every (event, rule id) that holds, sorted
//! - `run ENGINE`: parses and evaluates every event once; CPU and wall seconds of this thread, and the number of hits
//!
//! ENGINE is `plain`, `bloom` or `index`: the engine as it is, with its Bloom prefilter, with its cross-rule Aho-Corasick index.
//! The bench takes the fastest of the three as the peer.

use rsigma_eval::Engine;
use rsigma_eval::event::JsonEvent;
use rsigma_parser::parse_sigma_yaml;
use serde_json::{Value, json};
use std::io::{BufRead, Write};
use std::time::Instant;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let (rules, events) = (args.next().ok_or("no rules")?, args.next().ok_or("no events")?);
    let texts: Vec<String> = serde_json::from_str(&std::fs::read_to_string(rules)?)?;
    let text = std::fs::read_to_string(events)?;
    let events: Vec<&str> = text.lines().collect();
    let (mut parsed, mut refused) = (Vec::new(), Vec::new());
    for t in &texts {
        match parse_sigma_yaml(t) {
            Ok(c) if c.errors.is_empty() => parsed.extend(c.rules),
            Ok(c) => refused.push(format!("{:?}", c.errors)),
            Err(e) => refused.push(e.to_string()),
        }
    }
    let engine = |set: fn(&mut Engine)| {
        let mut e = Engine::new();
        set(&mut e);
        let failed = e.add_rules(&parsed);
        (e, failed)
    };
    let (plain, failed) = engine(|_| {});
    refused.extend(failed.into_iter().map(|(i, e)| format!("{}: {e}", parsed[i].title)));
    let (bloom, _) = engine(|e| e.set_bloom_prefilter(true));
    let (index, _) = engine(|e| e.set_cross_rule_ac(true));
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", json!({ "rules": plain.rule_count(), "refused": refused, "events": events.len() }))?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (order, which) = line.split_once(' ').ok_or("an order is two words")?;
        let engine = match which {
            "bloom" => &bloom,
            "index" => &index,
            _ => &plain,
        };
        let answer = match order {
            "hits" => hits(engine, &events)?,
            _ => run(engine, &events)?,
        };
        writeln!(out, "{answer}")?;
    }
    Ok(())
}

fn hits(engine: &Engine, events: &[&str]) -> Result<Value, Failure> {
    let mut all = Vec::new();
    for (row, e) in events.iter().enumerate() {
        let value: Value = serde_json::from_str(e)?;
        let found = engine.evaluate(&JsonEvent::borrow(&value));
        all.extend(found.into_iter().map(|r| (row, r.header.rule_id.unwrap_or(r.header.rule_title))));
    }
    all.sort();
    Ok(json!(all))
}

fn run(engine: &Engine, events: &[&str]) -> Result<Value, Failure> {
    let (wall, cpu) = (Instant::now(), cpu_seconds()?);
    let mut n = 0;
    for e in events {
        let value: Value = serde_json::from_str(e)?;
        n += engine.evaluate(&JsonEvent::borrow(&value)).len();
    }
    Ok(json!({ "cpu": cpu_seconds()? - cpu, "wall": wall.elapsed().as_secs_f64(), "hits": n }))
}

/// Seconds that this thread was on a processor.
fn cpu_seconds() -> Result<f64, Failure> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split_whitespace().next().ok_or("no schedstat")?.parse::<f64>()? / 1e9)
}
