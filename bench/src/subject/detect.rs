//! `detect`: our engine and rsigma, one thread each, over the same events and the same rules, JSON parsing included. CPU time of the
//! two threads is compared, so neighbours on the machine do not count; wall time stands beside it.
//!
//! The hit sets (event, rule) are compared first; every difference is an error. The engine of a round is new: what it learnt about
//! values in one round must not flatter the next. The peer is asked in its three settings and the fastest is taken.

use crate::generate::{Trail, recorded};
use crate::report::{Report, Round, Row, Unit};
use crate::rounds::{pairs, time};
use crate::{Ctx, say};
use anyhow::{Context as _, Result};
use detect::{Engine, Rules, Settings};
use model::{Batch, Provenance};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const BATCH: usize = 4_096;

type Files = Vec<(String, String)>;
type Hits = BTreeSet<(usize, String)>;

pub fn run(ctx: &Ctx, report: &mut Report) -> Result<()> {
    if !ctx.rsigma.is_file() {
        report.missing(
            "detect",
            "rsigma",
            "build it: cargo build --release --manifest-path bench/rsigma/Cargo.toml",
        );
        return Ok(());
    }
    let sigma = ctx.shared.join("sigma/rules");
    if !sigma.is_dir() {
        report.missing("detect", "public Sigma rules", "put them where AVOUCH_SHARED/sigma points");
        return Ok(());
    }
    let all = files(&sigma)?;
    let aws: Files = all.iter().filter(|(p, _)| p.contains("/aws/cloudtrail/")).cloned().collect();
    let real = recorded(&ctx.shared)?;
    say(format!(
        "{} rule files, {} of them for CloudTrail; {} recorded events",
        all.len(),
        aws.len(),
        real.len()
    ));

    let n = ctx.pick(20_480, 204_800);
    let mut trail = Trail::new(7, real.clone(), false);
    let usual: Vec<String> = (0..n).map(|_| trail.record()).collect();
    let mean = usual.iter().map(String::len).sum::<usize>() / n;
    let about = format!("{n} events, mean {mean} bytes, 1 in 50 recorded; {}", trail.text());
    let rounds = ctx.pick(3, 7);

    let name = |n: usize| format!("{n} CloudTrail rules");
    let lane = Lane {
        ctx,
        name: name(aws.len()),
        files: &aws,
        events: &usual,
        routing: true,
        rounds,
        bar: 3.0,
        aim: Some(5.0),
    };
    lane.run(report, &about)?;

    let mut trail = Trail::new(11, Vec::new(), true);
    let hostile: Vec<String> = (0..n / 2).map(|_| trail.record()).collect();
    let about = format!("{} events, every value that a rule reads is new", n / 2);
    let lane = Lane {
        name: format!("{}, hostile values", name(aws.len())),
        events: &hostile,
        bar: 1.0,
        aim: Some(2.0),
        ..lane
    };
    lane.run(report, &about)?;

    let few = &usual[..ctx.pick(4_096, 24_576)];
    let about = format!("{} events, every rule meets every event", few.len());
    let lane = Lane {
        ctx,
        name: "all public rules, no routing".to_owned(),
        files: &all,
        events: few,
        routing: false,
        rounds: ctx.pick(1, 5),
        bar: 3.0,
        aim: Some(20.0),
    };
    lane.run(report, &about)?;
    shipped(ctx, report, &aws, &usual, rounds)
}

/// What our own rules cost on top: our time only, no peer knows their fields.
fn shipped(ctx: &Ctx, report: &mut Report, aws: &Files, events: &[String], rounds: usize) -> Result<()> {
    let mut both = aws.clone();
    both.extend(files(&ctx.root.join("rules"))?);
    let batches = batches(events);
    let (few, many) = (load(aws), load(&both));
    let (mut few_hits, mut many_hits) = (0, 0);
    let lane = pairs(
        rounds,
        |_| rate(&many, true, &batches, events.len(), &mut many_hits),
        |_| rate(&few, true, &batches, events.len(), &mut few_hits),
    )?;
    anyhow::ensure!(many_hits >= few_hits, "more rules found less");
    let case = format!("{} rules with those we ship", many.rules.len());
    let row = Row::new("detect", case, format!("ourselves with {}", few.rules.len()), Unit::Events)
        .cpu()
        .rounds(lane)
        .checked(format!("{many_hits} hits against {few_hits}"));
    report.add(row);
    Ok(())
}

struct Lane<'a> {
    ctx: &'a Ctx,
    name: String,
    files: &'a Files,
    events: &'a [String],
    routing: bool,
    rounds: usize,
    bar: f64,
    aim: Option<f64>,
}

impl Lane<'_> {
    fn run(&self, report: &mut Report, about: &str) -> Result<()> {
        let n = self.events.len();
        let rules = load(self.files);
        let batches = batches(self.events);
        let ours = hits(&rules, self.routing, &batches)?;
        // The peer gets the rules that both sides take; which ones one side refuses is told.
        let loaded: BTreeSet<&str> = rules.rules.iter().map(|r| r.head.file.as_str()).collect();
        let texts: Vec<&str> =
            self.files.iter().filter(|(p, _)| loaded.contains(p.as_str())).map(|(_, t)| t.as_str()).collect();
        let mut peer = Peer::start(self.ctx, &texts, self.events)?;
        let theirs: Hits = serde_json::from_value(peer.ask("hits plain")?)?;
        let verdict = same(&ours, &theirs)?;
        let which = peer.fastest()?;
        say(format!("{}: {}; peer fastest as `{which}`", self.name, verdict));
        let (mut n_ours, mut walls, mut whole) = (0, Vec::new(), Vec::new());
        let rounds: Vec<Round> = pairs(
            self.rounds,
            |_| {
                whole.push(occurrences(&rules, self.routing, &batches, n)?);
                rate(&rules, self.routing, &batches, n, &mut n_ours)
            },
            |_| {
                let a = peer.ask(&format!("run {which}"))?;
                anyhow::ensure!(a["hits"] == theirs.len(), "the peer's hits changed: {a}");
                walls.push(n as f64 / a["wall"].as_f64().context("no wall")?);
                Ok(n as f64 / a["cpu"].as_f64().context("no cpu")?)
            },
        )?;
        anyhow::ensure!(n_ours == ours.len(), "our hits changed: {n_ours}, {}", ours.len());
        let refused = self.files.len().saturating_sub(texts.len());
        let row = Row::new("detect", &self.name, format!("rsigma 0.23.0 ({which})"), Unit::Events)
            .cpu()
            .bar(self.bar);
        let row = if let Some(aim) = self.aim { row.aim(aim) } else { row };
        let found = whole.into_iter().zip(&rounds).map(|(ours, r)| Round { ours, theirs: r.theirs });
        let found = Row::new("detect", format!("{}, whole occurrences", self.name), "the same", Unit::Events)
            .cpu()
            .bar(self.bar)
            .rounds(found.collect())
            .checked(
                "the same hits, each as what a finding is made of: identity, subject, decisive fields, words"
                    .to_owned(),
            );
        let row = row
            .rounds(rounds)
            .checked(format!("{verdict} over {about}"))
            .more(
                "rules",
                format!("ours {}, rsigma {}, files we refuse {refused}", rules.rules.len(), peer.rules),
            )
            .more("rsigma refused", peer.refused.len().to_string())
            .more("rsigma wall", format!("{:.0} events/s", crate::report::Spread::of(walls).median));
        report.add(row);
        report.add(found);
        Ok(())
    }
}

/// Rules that hold for more events here than there, by intention, with the reason; they are counted and shown.
const EXPLAINED: [(&str, &str); 1] = [(
    "a136ac98-b2bc-4189-a14d-f0d0388e57a7",
    "`requestParameters|contains` on a JSON object: here text questions look into it, rsigma answers no",
)];

/// Both sides agree but for the explained rules, or the differences are the error.
fn same(ours: &Hits, theirs: &Hits) -> Result<String> {
    let mut by_rule: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (_, id) in ours.difference(theirs) {
        by_rule.entry(id).or_default().0 += 1;
    }
    for (_, id) in theirs.difference(ours) {
        by_rule.entry(id).or_default().1 += 1;
    }
    let explained = |id: &str, n: &(usize, usize)| n.1 == 0 && EXPLAINED.iter().any(|(e, _)| *e == id);
    let open: Vec<String> = by_rule
        .iter()
        .filter(|(id, n)| !explained(id, n))
        .map(|(id, n)| format!("{id}: {} hits only ours, {} only rsigma's", n.0, n.1))
        .collect();
    anyhow::ensure!(open.is_empty(), "the engines differ without an explanation:\n{}", open.join("\n"));
    let rules: BTreeSet<&str> = ours.iter().map(|h| h.1.as_str()).collect();
    let mut out =
        format!("{} hits of {} rules, equal on both sides", ours.intersection(theirs).count(), rules.len());
    for (id, n) in by_rule {
        let reason = EXPLAINED.iter().find(|(e, _)| *e == id).map_or("", |(_, r)| r);
        out += &format!("; {} more by {id} ({reason})", n.0);
    }
    Ok(out)
}

fn load(files: &Files) -> Rules {
    Rules::load(files.iter().map(|(a, b)| (a.as_str(), b.as_str()))).0
}

fn batches(events: &[String]) -> Vec<Batch> {
    events
        .chunks(BATCH)
        .map(|chunk| {
            let mut b = Batch::builder();
            let (p, d) = (b.provenance(Provenance::new("bench")), b.dataset("aws.cloudtrail"));
            for e in chunk {
                b.push(e.as_bytes(), p, d);
            }
            b.finish()
        })
        .collect()
}

fn engine(rules: &Rules, routing: bool) -> Result<Engine> {
    let mut engine = Engine::new(rules.clone(), Settings { routing, ..Settings::default() })?;
    // Rules are compiled for a dataset when it is first seen: loading is not the subject.
    engine.hits(&batches(&["{}".to_owned()])[0], None);
    Ok(engine)
}

fn rate(rules: &Rules, routing: bool, batches: &[Batch], n: usize, hits: &mut usize) -> Result<f64> {
    let mut engine = engine(rules, routing)?;
    let (found, cpu) = time(|| Ok(batches.iter().map(|b| engine.hits(b, None).len()).sum::<usize>()))?;
    *hits = found;
    Ok(n as f64 / cpu)
}

/// Events a second with everything that a finding is made of: identity, subject, evidence. Correlations included.
fn occurrences(rules: &Rules, routing: bool, batches: &[Batch], n: usize) -> Result<f64> {
    let mut engine = engine(rules, routing)?;
    let (_, cpu) = time(|| Ok(batches.iter().map(|b| engine.events(b, None).len()).sum::<usize>()))?;
    Ok(n as f64 / cpu)
}

fn hits(rules: &Rules, routing: bool, batches: &[Batch]) -> Result<Hits> {
    let mut engine = engine(rules, routing)?;
    let mut out = Hits::new();
    for (i, b) in batches.iter().enumerate() {
        for h in engine.hits(b, None) {
            out.insert((i * BATCH + h.row, rules.rules[h.rule as usize].head.id.clone()));
        }
    }
    Ok(out)
}

/// Every rule file below `folder` as (path, text), by path.
fn files(folder: &Path) -> Result<Files> {
    fn walk(dir: &Path, out: &mut Vec<std::path::PathBuf>) -> Result<()> {
        for e in std::fs::read_dir(dir)? {
            let p = e?.path();
            if p.is_dir() {
                walk(&p, out)?;
            } else if p.extension().is_some_and(|e| e == "yml") {
                out.push(p);
            }
        }
        Ok(())
    }
    let mut paths = Vec::new();
    walk(folder, &mut paths)?;
    paths.sort();
    paths.into_iter().map(|p| Ok((p.display().to_string(), std::fs::read_to_string(&p)?))).collect()
}

/// The peer behind its pipe.
struct Peer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    rules: u64,
    refused: Vec<String>,
}

impl Peer {
    fn start(ctx: &Ctx, rules: &[&str], events: &[String]) -> Result<Peer> {
        let (r, e) = (ctx.scratch.join("rules.json"), ctx.scratch.join("events.ndjson"));
        std::fs::write(&r, serde_json::to_vec(rules)?)?;
        std::fs::write(&e, events.join("\n"))?;
        let mut child = Command::new(&ctx.rsigma)
            .args([&r, &e])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("the peer does not start")?;
        let (input, output) =
            (child.stdin.take().context("no pipe")?, child.stdout.take().context("no pipe")?);
        let mut peer = Peer { child, input, output: BufReader::new(output), rules: 0, refused: Vec::new() };
        let loaded = peer.line()?;
        anyhow::ensure!(loaded["events"] == events.len(), "the peer reads other events: {loaded}");
        peer.rules = loaded["rules"].as_u64().context("no rules")?;
        peer.refused = serde_json::from_value(loaded["refused"].clone())?;
        for r in peer.refused.iter().take(5) {
            say(format!("rsigma refuses {r}"));
        }
        Ok(peer)
    }

    fn line(&mut self) -> Result<serde_json::Value> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        serde_json::from_str(&line).context("the peer's answer is not JSON")
    }

    fn ask(&mut self, order: &str) -> Result<serde_json::Value> {
        writeln!(self.input, "{order}")?;
        self.line()
    }

    fn fastest(&mut self) -> Result<&'static str> {
        let mut best = ("plain", f64::MAX);
        for which in ["plain", "bloom", "index"] {
            let cpu = self.ask(&format!("run {which}"))?["cpu"].as_f64().context("no cpu")?;
            if cpu < best.1 {
                best = (which, cpu);
            }
        }
        Ok(best.0)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
