//! How fast: pure, with time and chance as data.

use crate::{LimitConfig, RetryConfig};
use model::Time;

/// Most requests of one sink at a time.
pub const CONCURRENCY_MAX: usize = 32;
/// A target may ask us to wait, but not for longer than this.
const RETRY_AFTER_MAX: i64 = 10 * Time::MINUTE;

/// Full jitter: anywhere in 0..=min(cap, base × 2^(n-1)) for the nth failure, but not before the target's own `after`.
pub fn backoff(c: &RetryConfig, failures: u32, after: Option<i64>, random: &dyn Fn(i64) -> i64) -> i64 {
    let factor = 1_i64.checked_shl(failures.saturating_sub(1).min(40)).unwrap_or(i64::MAX);
    let ceiling = c.base.0.saturating_mul(factor).min(c.cap.0).max(0);
    random(ceiling).max(after.unwrap_or(0).clamp(0, RETRY_AFTER_MAX))
}

/// Concurrency that follows the target: one more while answers stay near their usual time, half on a throttle or timeout
/// (additive increase, multiplicative decrease: Chiu and Jain 1989).
#[derive(Clone, Debug)]
pub struct Pace {
    limit: f64,
    max: usize,
    /// Usual round trip in µs, slowly moving.
    usual: Option<f64>,
    pub failures: u32,
    /// No request before this.
    pub gate: Option<Time>,
}

impl Pace {
    #[must_use]
    pub fn new(max: usize) -> Pace {
        Pace { limit: 2.0, max: max.clamp(1, CONCURRENCY_MAX), usual: None, failures: 0, gate: None }
    }

    #[must_use]
    pub fn allowed(&self) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "limit is kept between 1 and 32"
        )]
        let n = self.limit as usize;
        n.clamp(1, self.max)
    }

    #[must_use]
    pub fn is_open(&self, now: Time) -> bool {
        self.gate.is_none_or(|g| g <= now)
    }

    /// A request was answered after `micros`.
    pub fn answered(&mut self, micros: i64) {
        #[expect(clippy::cast_precision_loss, reason = "a round trip of centuries may lose microseconds")]
        let trip = micros.max(1) as f64;
        let usual = *self.usual.get_or_insert(trip);
        if trip <= usual * 2.0 {
            #[expect(clippy::cast_precision_loss, reason = "at most 32")]
            let max = self.max as f64;
            self.limit = (self.limit + 1.0 / self.limit).min(max);
        }
        // Falls fast to a better time, rises slowly, so that a slow minute does not become the norm.
        let weight = if trip < usual { 0.3 } else { 0.02 };
        self.usual = Some(usual + (trip - usual) * weight);
        self.failures = 0;
        self.gate = None;
    }

    /// A request failed as a whole: half as many at a time, and none before the gate.
    pub fn failed(
        &mut self,
        now: Time,
        c: &RetryConfig,
        after: Option<i64>,
        random: &dyn Fn(i64) -> i64,
    ) -> Time {
        // Requests that were under way together fail together: one failure, not eight.
        if self.is_open(now) {
            self.failures = self.failures.saturating_add(1);
            self.limit = (self.limit / 2.0).max(1.0);
        }
        let until = now.plus(backoff(c, self.failures, after, random));
        let gate = self.gate.map_or(until, |g| g.max(until));
        self.gate = Some(gate);
        gate
    }

    /// The target said "too many" for part of a request.
    pub fn throttled(&mut self) {
        self.limit = (self.limit / 2.0).max(1.0);
    }
}

/// So much per second, with one second's worth to spare. May go into debt by one batch, which keeps the average right without
/// cutting batches.
#[derive(Clone, Debug)]
pub struct Bucket {
    per_second: i128,
    /// In millionths.
    level: i128,
    at: Time,
}

impl Bucket {
    #[must_use]
    pub fn new(per_second: u64, now: Time) -> Bucket {
        let rate = i128::from(per_second);
        Bucket { per_second: rate, level: rate * 1_000_000, at: now }
    }

    fn refill(&mut self, now: Time) {
        let passed = i128::from(now.since(self.at).max(0));
        self.level = (self.level + passed * self.per_second).min(self.per_second * 1_000_000);
        self.at = self.at.max(now);
    }

    /// When the next request may go: now, or later.
    pub fn ready_at(&mut self, now: Time) -> Time {
        self.refill(now);
        if self.level > 0 {
            return now;
        }
        let micros = (-self.level) / self.per_second + 1;
        now.plus(i64::try_from(micros).unwrap_or(i64::MAX))
    }

    pub fn take(&mut self, n: u64, now: Time) {
        self.refill(now);
        self.level -= i128::from(n) * 1_000_000;
    }
}

/// The three ceilings of a sink.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    events: Option<Bucket>,
    bytes: Option<Bucket>,
    requests: Option<Bucket>,
}

impl Limits {
    pub fn new(c: &LimitConfig, now: Time) -> Limits {
        let bucket = |r: &Option<crate::Rate>| r.map(|r| Bucket::new(r.0, now));
        Limits { events: bucket(&c.events), bytes: bucket(&c.bytes), requests: bucket(&c.requests) }
    }
    pub fn ready_at(&mut self, now: Time) -> Time {
        let all = [&mut self.events, &mut self.bytes, &mut self.requests];
        all.into_iter().flatten().map(|b| b.ready_at(now)).max().unwrap_or(now)
    }
    pub fn take(&mut self, events: usize, bytes: usize, now: Time) {
        for (bucket, n) in [(&mut self.events, events), (&mut self.bytes, bytes), (&mut self.requests, 1)] {
            if let Some(b) = bucket {
                b.take(n as u64, now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Time = Time(1_772_355_600_000_000);

    #[test]
    fn waits_double_up_to_the_cap_and_honour_the_target() {
        let c = RetryConfig::default();
        let most = |n, after| backoff(&c, n, after, &|max| max) / 1_000;
        assert_eq!([1, 2, 3, 9, 10, 99].map(|n| most(n, None)), [200, 400, 800, 51_200, 60_000, 60_000]);
        assert_eq!(most(1, Some(5_000_000)), 5_000);
        assert_eq!(most(1, Some(i64::MAX)), 600_000);
        assert_eq!(backoff(&c, 9, None, &|_| 0), 0, "full jitter reaches down to nothing");
    }

    #[test]
    fn concurrency_grows_with_good_answers_and_halves_on_failure() {
        let mut p = Pace::new(8);
        for _ in 0..200 {
            p.answered(1_000);
        }
        assert_eq!(p.allowed(), 8);
        let c = RetryConfig::default();
        p.failed(NOW, &c, None, &|m| m);
        assert_eq!((p.allowed(), p.is_open(NOW), p.is_open(NOW.plus(200_000))), (4, false, true));
        p.failed(NOW, &c, None, &|m| m);
        assert_eq!((p.allowed(), p.failures), (4, 1), "those that were under way together count once");
        for _ in 0..20 {
            p.answered(50_000);
        }
        assert_eq!(p.allowed(), 4, "slow answers are no reason to send more");
    }

    proptest! {
        #[test]
        fn a_bucket_keeps_its_average(rate in 1u64..10_000, takes in proptest::collection::vec(1u64..5_000, 1..60)) {
            let mut b = Bucket::new(rate, NOW);
            let mut now = NOW;
            let mut sent = 0;
            for n in &takes {
                now = b.ready_at(now);
                b.take(*n, now);
                sent += n;
            }
            let seconds = now.since(NOW) as f64 / 1e6;
            let last = *takes.last().unwrap();
            prop_assert!((sent - last) as f64 <= rate as f64 * (seconds + 1.0) + 1.0 + takes.iter().max().copied().unwrap_or(0) as f64);
        }
    }
}
