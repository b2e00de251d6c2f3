//! `access`: the engine for policies beside serde_json, which only reads the same documents into values.
//!
//! No other program answers the same questions, so the peer is a yardstick: how many times as long as reading the two documents does
//! it take to answer? Each question is taken from its texts, and nothing is kept between two. The bars are those of the design
//! (access.md 19) as ratios: 10 times as long is 0.1.

use crate::machine;
use crate::report::{Report, Round, Row, Unit};
use crate::rounds::{pairs, peak_mb};
use crate::{Ctx, say};
use access::check::readings;
use access::estate::{Estate, Surroundings, analyse, analyse_one};
use access::incremental::{Change, State, in_turn};
use access::policy::Document;
use access::symbolic::{Verdict, implies};
use access::validate::{PolicyKind, validate};
use anyhow::{Context as _, Result};
use model::Resource;
use serde_json::Value;
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[path = "../../../crates/access/tests/it/workloads.rs"]
mod workloads;

const PEER: &str = "serde_json, reading only";

pub fn run(ctx: &Ctx, report: &mut Report) -> Result<()> {
    let folder = ctx.shared.join("access");
    if folder.is_dir() {
        implications(ctx, report, &folder)?;
        managed(ctx, report, &folder)?;
    } else {
        report.missing("access", "public policies", "put them where AVOUCH_SHARED/access points");
    }
    families(ctx, report)?;
    estates(ctx, report)
}

fn read(text: &str) -> Result<Document> {
    Ok(readings(text)?.remove(0))
}

/// Both documents read, and the answer.
fn answer(candidate: &str, reference: &str) -> Result<Verdict> {
    Ok(implies(&read(candidate)?, &read(reference)?))
}

fn micros(f: impl FnOnce() -> Result<()>) -> Result<f64> {
    let started = Instant::now();
    f()?;
    Ok(started.elapsed().as_secs_f64() * 1e6)
}

fn at(times: &mut [f64], per_mille: usize) -> f64 {
    times.sort_by(f64::total_cmp);
    times
        .get((times.len() * per_mille / 1_000).min(times.len().saturating_sub(1)))
        .copied()
        .unwrap_or(f64::NAN)
}

/// Pairs of policies with known answers, both ways.
fn implications(ctx: &Ctx, report: &mut Report, folder: &Path) -> Result<()> {
    let text = std::fs::read_to_string(folder.join("implication.json")).context("implication.json")?;
    let pairs_of: Vec<Value> = serde_json::from_str(&text)?;
    let mut questions = Vec::new();
    let mut differ = 0;
    for pair in &pairs_of {
        let (one, two) = (pair["p1"].to_string(), pair["p2"].to_string());
        for (p, q, label) in [(&one, &two, "p1_implies_p2"), (&two, &one, "p2_implies_p1")] {
            let verdict = answer(p, q)?;
            anyhow::ensure!(!matches!(verdict, Verdict::Undecided(..)), "undecided: {p} {q}");
            differ += usize::from((verdict == Verdict::Holds) != (pair[label] == true));
            questions.push((p.clone(), q.clone()));
        }
    }
    // docs/access-differences.md: the six labels that are wrong.
    anyhow::ensure!(differ == 6, "{differ} answers differ from the labels");
    say(format!("{} implications", questions.len()));
    let ours = |(p, q): &(String, String)| {
        micros(|| {
            black_box(answer(p, q)?);
            Ok(())
        })
    };
    let theirs = |(p, q): &(String, String)| {
        micros(|| {
            for text in [p, q] {
                black_box(serde_json::from_str::<Value>(text)?);
            }
            Ok(())
        })
    };
    // Of each question the best of the rounds: it takes microseconds, and a neighbour on the machine a thousand times that.
    let rounds = ctx.pick(3, 21);
    let (mut fast, mut slow) = (Vec::new(), Vec::new());
    for _ in 0..ctx.pick(1, 5) {
        let mut best = vec![(f64::INFINITY, f64::INFINITY); questions.len()];
        for _ in 0..rounds {
            for (question, (a, b)) in questions.iter().zip(&mut best) {
                *a = a.min(ours(question)?);
                *b = b.min(theirs(question)?);
            }
        }
        let (mut a, mut b): (Vec<f64>, Vec<f64>) = best.into_iter().unzip();
        let parse = at(&mut b, 500);
        fast.push(Round { ours: at(&mut a, 500), theirs: parse });
        slow.push(Round { ours: at(&mut a, 990), theirs: parse });
    }
    let checked = format!("{} questions answered as labelled, or better", questions.len());
    for (case, of, bar) in
        [("implication, median", fast, 1.0 / 10.0), ("implication, 99th of 100", slow, 1.0 / 400.0)]
    {
        report.add(Row::new("access", case, PEER, Unit::Micros).bar(bar).rounds(of).checked(checked.clone()));
    }
    Ok(())
}

/// Policies that AWS maintains, all of them.
fn managed(ctx: &Ctx, report: &mut Report, folder: &Path) -> Result<()> {
    let text =
        std::fs::read_to_string(folder.join("managed-policies.jsonl")).context("managed-policies.jsonl")?;
    let documents: Vec<String> = text
        .lines()
        .map(|line| Ok(serde_json::from_str::<Value>(line)?["document"].to_string()))
        .collect::<Result<_>>()?;
    for document in &documents {
        anyhow::ensure!(read(document)?.problems.is_empty(), "a problem in {document}");
    }
    say(format!("{} managed policies", documents.len()));
    let rounds = pairs(
        ctx.pick(3, 11),
        |_| {
            micros(|| {
                for document in &documents {
                    black_box(read(document)?);
                }
                Ok(())
            })
        },
        |_| {
            micros(|| {
                for document in &documents {
                    black_box(serde_json::from_str::<Value>(document)?);
                }
                Ok(())
            })
        },
    )?;
    let checked = format!("{} documents, no problem in any", documents.len());
    let row = Row::new("access", "managed policies, parse", PEER, Unit::Micros);
    report.add(row.bar(1.0 / 20.0).rounds(rounds).checked(checked));
    // Validation is beside our own reading of the same documents.
    let read_all: Vec<Document> = documents.iter().map(|d| read(d)).collect::<Result<_>>()?;
    let issues: usize = read_all.iter().map(|d| validate(d, PolicyKind::Identity, None).len()).sum();
    let rounds = pairs(
        ctx.pick(3, 7),
        |_| {
            micros(|| {
                for document in &read_all {
                    black_box(validate(document, PolicyKind::Identity, None));
                }
                Ok(())
            })
        },
        |_| {
            micros(|| {
                for document in &documents {
                    black_box(read(document)?);
                }
                Ok(())
            })
        },
    )?;
    let row = Row::new("access", "managed policies, validate", "our own reading of them", Unit::Micros);
    let checked = format!("{} documents, {issues} remarks", documents.len());
    report.add(row.bar(1.0 / 20.0).rounds(rounds).checked(checked));
    Ok(())
}

/// 15 statements beside 3: how the time grows. Ours is the larger family, theirs the smaller; both are our engine.
fn families(ctx: &Ctx, report: &mut Report) -> Result<()> {
    let seeds = ctx.pick(5, 20);
    for keys in [5, 6] {
        let family = |n: usize| -> Result<Vec<(String, String)>> {
            let all: Vec<_> = (0..seeds).map(|seed| workloads::family(n, keys, seed)).collect();
            for (wide, narrow) in &all {
                anyhow::ensure!(answer(narrow, wide)? == Verdict::Holds, "{n} statements: {narrow}");
                anyhow::ensure!(matches!(answer(wide, narrow)?, Verdict::Fails(_)), "{n} statements: {wide}");
            }
            Ok(all)
        };
        let (small, large) = (family(3)?, family(15)?);
        let time = |family: &[(String, String)]| {
            let mut times = Vec::with_capacity(family.len());
            for (wide, narrow) in family {
                let took = (0..3).map(|_| micros(|| answer(narrow, wide).map(drop)));
                times.push(took.collect::<Result<Vec<f64>>>()?.into_iter().fold(f64::INFINITY, f64::min));
            }
            Ok(at(&mut times, 500))
        };
        let rounds = pairs(ctx.pick(3, 7), |_| time(&large), |_| time(&small))?;
        let row = Row::new("access", format!("15 statements of {keys} keys"), "3 statements", Unit::Micros);
        report.add(
            row.bar(0.0167)
                .rounds(rounds)
                .checked(format!("{seeds} families; narrower implies wider, and not the other way")),
        );
    }
    Ok(())
}

/// A whole estate from its files to findings, beside reading the same files; and one changed policy beside the whole.
fn estates(ctx: &Ctx, report: &mut Report) -> Result<()> {
    let count = ctx.pick(1_000, 10_000);
    let texts: Vec<String> =
        workloads::estate(count, 7).iter().map(|r| Ok(serde_json::to_string(r)?)).collect::<Result<_>>()?;
    let read = || -> Result<Vec<Resource>> {
        texts.iter().map(|text| serde_json::from_str(text).context("an estate's own file")).collect()
    };
    let whole = || -> Result<Estate> { Ok(Estate { resources: read()?, ..Estate::default() }) };
    let estate = whole()?;
    let findings: usize = analyse(&estate).iter().map(|(_, analysis)| analysis.findings.len()).sum();
    anyhow::ensure!(findings > count / 20, "{findings} findings in {count} resources");
    say(format!("{count} resources, {findings} findings"));
    // The peer reads what we read: the files, and the policies that stand in them as texts.
    let policies = |value: &Value| -> Result<usize> {
        let mut open = vec![value];
        let mut n = 0;
        while let Some(value) = open.pop() {
            match value {
                Value::Object(members) => open.extend(members.values()),
                Value::Array(items) => open.extend(items),
                Value::String(text) if text.starts_with('{') => {
                    black_box(serde_json::from_str::<Value>(text)?);
                    n += 1;
                }
                _ => {}
            }
        }
        Ok(n)
    };
    let rounds = pairs(
        ctx.pick(3, 7),
        |_| {
            micros(|| {
                black_box(halves(&whole()?));
                Ok(())
            })
        },
        |_| {
            micros(|| {
                for text in &texts {
                    black_box(policies(&serde_json::from_str::<Value>(text)?)?);
                }
                Ok(())
            })
        },
    )?;
    let checked = format!("{count} resources, {findings} findings");
    let row = Row::new("access", format!("{count} resources, whole estate"), PEER, Unit::Micros);
    let row = row.more("the command on a folder of files", command(ctx, &texts)?);
    report.add(row.bar(1.0 / 20.0).rounds(rounds).checked(checked.clone()));
    // One policy changes: what looked at it is done again.
    let mut state = State::of(estate, &in_turn);
    let mut redone = 0;
    let rounds = pairs(
        ctx.pick(3, 7),
        |round| {
            let changed = workloads::resource(round, 1_000 + round as u64);
            micros(|| {
                redone += state.reanalyse(Change::Put(Box::new(changed)), &in_turn).len();
                Ok(())
            })
        },
        |_| {
            micros(|| {
                black_box(halves(&whole()?));
                Ok(())
            })
        },
    )?;
    let row = Row::new("access", "one changed policy", "the whole estate again", Unit::Micros);
    let checked = format!("{checked}; {redone} answers changed; {}", machine::peak_memory());
    report.add(row.bar(100.0).rounds(rounds).checked(checked));
    Ok(())
}

/// `avouch access external` over a folder with these files: how long it takes as a process, and its memory (access.md 19: below 1 GiB).
fn command(ctx: &Ctx, texts: &[String]) -> Result<String> {
    let folder = ctx.scratch.join("estate");
    std::fs::create_dir_all(&folder)?;
    for (at, text) in texts.iter().enumerate() {
        std::fs::write(folder.join(format!("{at}.json")), text)?;
    }
    let started = Instant::now();
    let mut child = Command::new(&ctx.avouch)
        .args(["access", "external", "--json", "--quiet", "--allow-incomplete", "--estate"])
        .arg(&folder)
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(ctx.scratch.join("estate.out"))?)
        .spawn()
        .context("cannot start the command")?;
    let mut peak = 0;
    let status = loop {
        // A process that has ended says nothing of its memory any more: the last look before counts.
        peak = peak_mb(child.id()).unwrap_or(0).max(peak);
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let took = started.elapsed().as_secs_f64();
    anyhow::ensure!(
        status.success(),
        "`avouch access external` over {} ended with {status}",
        folder.display()
    );
    std::fs::remove_dir_all(folder)?;
    Ok(format!("{took:.2} s from start to end, peak memory {peak} MB (aim below 1,024)"))
}

/// Every other resource on a core of its own, as the command line spreads them.
fn halves(estate: &Estate) -> usize {
    let around = Surroundings::of(estate);
    let half = |first: usize| {
        let of = estate.resources.iter().skip(first).step_by(2);
        of.filter_map(|resource| analyse_one(&around, resource)).count()
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| half(1));
        half(0) + other.join().unwrap_or(0)
    })
}
