//! Runs over many random cases: how many, from which seed, and what came of them.

use std::time::Instant;

/// A number from the environment, which `cargo xtask soundness` sets.
pub fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(otherwise)
}

/// Contradictions that are shown; all are counted.
const SHOWN_MAX: usize = 5;

/// Pairs after which a run says how far it is.
const TOLD_EACH: u64 = 10_000_000;

/// What a run has come to so far.
pub struct Run {
    name: &'static str,
    pub seed: u64,
    pub policies: u64,
    /// Requests that a policy was asked about, and the evaluator as well.
    pub pairs: u64,
    /// What was told of a long run so far.
    told: u64,
    contradictions: u64,
    started: Instant,
}

impl Run {
    /// `AVOUCH_SEED` sets another seed than the usual one.
    pub fn new(name: &'static str, seed: u64) -> Run {
        let seed = setting("AVOUCH_SEED", seed);
        Run { name, seed, policies: 0, pairs: 0, told: 0, contradictions: 0, started: Instant::now() }
    }

    /// So many pairs more. A long run says now and then how far it is.
    pub fn add(&mut self, pairs: u64) {
        self.pairs += pairs;
        if self.pairs / TOLD_EACH > self.told {
            self.told = self.pairs / TOLD_EACH;
            let Run { name, policies, pairs, contradictions, started, .. } = self;
            let seconds = started.elapsed().as_secs();
            println!(
                "so far: {name}: {policies} policies, {pairs} pairs, {contradictions} contradictions ({seconds} s)"
            );
        }
    }

    /// Engine and evaluator disagree. With `AVOUCH_FAIL_FAST` that is the end.
    pub fn contradiction(&mut self, told: &dyn Fn() -> String) {
        self.contradictions += 1;
        assert!(std::env::var_os("AVOUCH_FAIL_FAST").is_none(), "{}", told());
        if self.contradictions <= SHOWN_MAX as u64 {
            println!("contradiction (seed {}, policy {}): {}", self.seed, self.policies, told());
        }
    }

    /// The last line of a run, which `cargo xtask soundness` adds up. Fails where there was a contradiction.
    #[track_caller]
    pub fn end(&self, more: &str) {
        let Run { name, seed, policies, pairs, contradictions, started, .. } = self;
        println!(
            "soundness: {name}: {policies} policies, {pairs} pairs, {contradictions} contradictions (seed {seed}, {} s; {more})",
            started.elapsed().as_secs()
        );
        assert_eq!(*contradictions, 0, "{name}");
    }
}
