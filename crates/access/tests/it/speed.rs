//! The workloads give the answers they were made for; and, when asked for, how long those take. No test here judges a time.

use crate::workloads::{estate, family, resource};
use access::check::readings;
use access::estate::{Estate, analyse};
use access::symbolic::{Verdict, implies};
use std::time::{Duration, Instant};

/// The narrower twin allows nothing new, the wider one does.
#[test]
fn a_family_has_its_answers() {
    for n in [1, 3, 6] {
        for k in [4, 5, 6] {
            let (wide, narrow) = family(n, k, 7);
            let (wide, narrow) = (readings(&wide).unwrap().remove(0), readings(&narrow).unwrap().remove(0));
            assert_eq!((wide.problems.len(), narrow.problems.len()), (0, 0));
            assert_eq!(implies(&narrow, &wide), Verdict::Holds, "{n} statements, {k} keys");
            assert!(matches!(implies(&wide, &narrow), Verdict::Fails(_)), "{n} statements, {k} keys");
        }
    }
}

#[test]
fn an_estate_is_the_same_every_time_and_reads_without_a_problem() {
    let resources = estate(400, 7);
    assert_eq!(resources, estate(400, 7));
    assert_ne!(resources[8].config, resource(8, 1_000_000).config);
    assert_eq!(resources[8].arn, resource(8, 1_000_000).arn);
    for r in &resources {
        let document = readings(&policy_of(r)).unwrap().remove(0);
        assert_eq!(document.problems, [], "{}", document.text);
        assert!((1..=8).contains(&document.statements.len()));
    }
}

fn policy_of(r: &model::Resource) -> String {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    match r.kind.as_str() {
        "AWS::S3::Bucket" => text(&r.config["GetBucketPolicy"]["Policy"]),
        "AWS::SQS::Queue" => text(&r.config["GetQueueAttributes"]["Attributes"]["Policy"]),
        "AWS::KMS::Key" => text(&r.config["GetKeyPolicy"]["Policy"]),
        _ => r.config["GetRole"]["Role"]["AssumeRolePolicyDocument"].to_string(),
    }
}

/// The median and the slowest.
fn median(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort();
    (times[times.len() / 2], times[times.len() - 1])
}

#[test]
#[ignore = "a measurement; run with --ignored --nocapture"]
fn measure_families() {
    for k in [5, 6] {
        let mut first = None;
        for n in [3, 6, 9, 12, 15] {
            let (mut down, mut up) = (Vec::new(), Vec::new());
            for seed in 0..20 {
                let (wide, narrow) = family(n, k, seed);
                for (p, q, times) in [(&narrow, &wide, &mut down), (&wide, &narrow, &mut up)] {
                    // The best of a few: neighbours on a shared machine only ever add.
                    let took = (0..5).map(|_| {
                        let started = Instant::now();
                        let (p, q) = (readings(p).unwrap().remove(0), readings(q).unwrap().remove(0));
                        let verdict = implies(&p, &q);
                        let took = started.elapsed();
                        assert!(!matches!(verdict, Verdict::Undecided(..)), "{verdict:?}");
                        took
                    });
                    times.push(took.min().unwrap());
                }
            }
            let (holds, fails) = (median(down), median(up));
            let base = *first.get_or_insert(holds.0);
            println!(
                "k {k} n {n:2}: holds {:?} (slowest {:?}, {:.0} x n = 3), fails {:?} (slowest {:?})",
                holds.0,
                holds.1,
                holds.0.as_secs_f64() / base.as_secs_f64(),
                fails.0,
                fails.1
            );
        }
    }
}

/// Whether policies of resources allow anything, and whether anything beyond a policy that allows their own account: the sort of
/// question that an analysis of an estate asks of each.
#[test]
#[ignore = "a measurement; run with --ignored --nocapture"]
fn measure_policies_of_resources() {
    let own =
        r#"{"Statement":{"Effect":"Allow","Principal":{"AWS":"111111111111"},"Action":"*","Resource":"*"}}"#;
    for (what, reference) in [("nothing", r#"{"Statement":[]}"#), ("their account", own)] {
        let reference = readings(reference).unwrap().remove(0);
        let (mut times, mut undecided) = (Vec::new(), 0);
        for r in estate(2_000, 7) {
            let text = policy_of(&r);
            let took = (0..3).map(|_| {
                let started = Instant::now();
                let verdict = implies(&readings(&text).unwrap().remove(0), &reference);
                let took = started.elapsed();
                undecided += usize::from(matches!(verdict, Verdict::Undecided(..)));
                took
            });
            times.push(took.min().unwrap());
        }
        let sum: Duration = times.iter().sum();
        let n = times.len();
        let (middle, slowest) = median(times);
        println!(
            "{n} policies against {what}: {sum:?}; median {middle:?}, slowest {slowest:?}; {undecided} undecided"
        );
    }
}

/// A whole estate from its files to findings, beside reading the same files and the policies in them. CPU time of one core: the
/// command line and the bench spread the resources over two.
#[test]
#[ignore = "a measurement; run with --ignored --nocapture"]
fn measure_estate() {
    let count = 10_000;
    let texts: Vec<String> = estate(count, 7).iter().map(|r| serde_json::to_string(r).unwrap()).collect();
    let policies = |value: &serde_json::Value| {
        let mut open = vec![value];
        while let Some(value) = open.pop() {
            match value {
                serde_json::Value::Object(members) => open.extend(members.values()),
                serde_json::Value::Array(items) => open.extend(items),
                serde_json::Value::String(text) if text.starts_with('{') => {
                    drop(std::hint::black_box(serde_json::from_str::<serde_json::Value>(text).unwrap()));
                }
                _ => {}
            }
        }
    };
    // In small pieces, of each the best of the rounds: a neighbour on a shared machine only ever adds.
    let pieces: Vec<&[String]> = texts.chunks(4).collect();
    let mut best = vec![(Duration::MAX, Duration::MAX); pieces.len()];
    let mut findings = 0;
    for _ in 0..6 {
        for (piece, (ours, theirs)) in pieces.iter().zip(&mut best) {
            let started = Instant::now();
            let resources = piece.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
            let whole = Estate { resources, ..Estate::default() };
            findings += analyse(&whole).iter().map(|(_, analysis)| analysis.findings.len()).sum::<usize>();
            *ours = started.elapsed().min(*ours);
            let started = Instant::now();
            piece.iter().for_each(|text| policies(&serde_json::from_str(text).unwrap()));
            *theirs = started.elapsed().min(*theirs);
        }
    }
    assert!(findings > count / 4);
    let (ours, theirs) =
        best.iter().fold((Duration::ZERO, Duration::ZERO), |(a, b), (c, d)| (a + *c, b + *d));
    println!(
        "{count} resources on one core: {ours:?}, reading {theirs:?}: {:.1} x",
        ours.as_secs_f64() / theirs.as_secs_f64()
    );
}
