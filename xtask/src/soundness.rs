//! `cargo xtask soundness`: the policy engine's two halves against each other, on as many random policies and requests as there is time
//! for (access.md 20). The tests of `access` do it; this starts them with larger numbers and adds up what they say.

use crate::cargo;
use anyhow::{Context, Result};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::time::Instant;

#[derive(clap::Args)]
pub struct Soundness {
    /// Pairs of a policy and a request
    #[arg(long, default_value_t = 100_000_000)]
    pairs: u64,
    /// Requests to each policy
    #[arg(long, default_value_t = 1_000)]
    each: u64,
    /// Policies of which every request that could matter is asked, where these are below a million
    #[arg(long, default_value_t = 1_000)]
    whole: u64,
    /// Resources whose findings are held against each request: coverage, precision, minimality, residue, blame
    #[arg(long, default_value_t = 10_000)]
    policies: u64,
    /// Seed of the generators
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Inputs to the readers and the matchers, instead of all that
    #[arg(long)]
    fuzz: Option<u64>,
}

/// Requests below which all are asked.
const PRODUCT_MAX: u64 = 1_000_000;

/// Tests that count what they hold against each other.
const TESTS: [&str; 6] = [
    "differential::engine_and_evaluator_agree",
    "outsiders::nobody_untrusted_is_allowed_outside_a_finding",
    "differential::every_request_that_could_tell_them_apart",
    "outsiders::no_finding_means_nobody",
    "properties::findings_as_a_set",
    "properties::what_is_blamed_is_what_holds_back",
];
const FUZZ: &str = "fuzz::";

pub fn run(root: &Path, args: &Soundness) -> Result<ExitCode> {
    let started = Instant::now();
    let mut command = cargo(root);
    command.args(["test", "--release", "--quiet", "-p", "access", "--test", "it", "--"]);
    command.args(["--nocapture", "--test-threads=1"]);
    let names: &[&str] = if args.fuzz.is_some() { &[FUZZ] } else { &TESTS };
    command.args(names);
    for (name, value) in [
        // Three of five are implications, which are asked about two policies at a time.
        ("AVOUCH_PAIRS", args.pairs.div_ceil(5) * 3),
        ("AVOUCH_OUTSIDERS", args.pairs.div_ceil(5) * 2),
        ("AVOUCH_REQUESTS_EACH", args.each),
        ("AVOUCH_WHOLE", args.whole),
        ("AVOUCH_PRODUCT", PRODUCT_MAX),
        ("AVOUCH_POLICIES", args.policies),
        ("AVOUCH_SEED", args.seed),
        ("AVOUCH_FUZZ", args.fuzz.unwrap_or_default()),
    ] {
        command.env(name, value.to_string());
    }
    if std::env::var_os("AVOUCH_SHARED").is_none() {
        command.env("AVOUCH_SHARED", root.join("../shared/data"));
    }
    println!("seed {}", args.seed);
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot run cargo")?;
    let (mut sums, mut runs) = ([0; 3], 0);
    for line in child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines()) {
        let line = line?;
        println!("{line}");
        if let Some(counts) = line.split_once("soundness: ").and_then(|(_, of)| counts(of)) {
            sums.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
            runs += 1;
        }
    }
    let passed = child.wait()?.success();
    let [policies, pairs, contradictions] = sums;
    println!(
        "seed {}: {policies} policies, {pairs} pairs, {contradictions} contradictions in {runs} runs ({} s)",
        args.seed,
        started.elapsed().as_secs()
    );
    Ok(if passed && contradictions == 0 && runs > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `<name>: <n> policies, <n> pairs, <n> contradictions (…`, where the name may have colons of its own.
fn counts(line: &str) -> Option<[u64; 3]> {
    let (named, pairs) = line.split_once(" policies, ")?;
    let (_, policies) = named.rsplit_once(": ")?;
    let mut numbers = [policies]
        .into_iter()
        .chain(pairs.split(", "))
        .map(|part| part.split(' ').next().and_then(|n| n.parse().ok()));
    Some([numbers.next()??, numbers.next()??, numbers.next()??])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_run() {
        let line = "outsiders: 3 policies, 40 pairs, 1 contradictions (seed 7, 2 s; more)";
        assert_eq!(counts(line), Some([3, 40, 1]));
        assert_eq!(counts("fuzz: JSON: 0 policies, 5 pairs, 2 contradictions (x)"), Some([0, 5, 2]));
        assert_eq!(counts("no line"), None);
    }
}
