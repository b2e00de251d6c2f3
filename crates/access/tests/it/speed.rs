//! The workloads give the answers they were made for; and, when asked for, how long those take. No test here judges a time.

use crate::workloads::{estate, family, resource};
use access::check::readings;
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
        let text = match r.kind.as_str() {
            "AWS::S3::Bucket" => r.config["GetBucketPolicy"]["Policy"].as_str().map(str::to_owned),
            "AWS::SQS::Queue" => {
                r.config["GetQueueAttributes"]["Attributes"]["Policy"].as_str().map(str::to_owned)
            }
            "AWS::KMS::Key" => r.config["GetKeyPolicy"]["Policy"].as_str().map(str::to_owned),
            _ => Some(r.config["GetRole"]["Role"]["AssumeRolePolicyDocument"].to_string()),
        };
        let document = readings(&text.unwrap()).unwrap().remove(0);
        assert_eq!(document.problems, [], "{}", document.text);
        assert!((1..=8).contains(&document.statements.len()));
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
