//! Requests per caller (`interface.md` 4): a bucket that refills 60 times a second.

use model::Time;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Requests a second that one caller may make for long.
const RATE_PER_S: i64 = 60;
/// Requests at once: a page with its assets in several tabs.
const BURST: i64 = 120;
/// Callers remembered. Beyond it the idle ones are forgotten, then all, which only ever gives them a full one again.
const CALLERS_MAX: usize = 10_000;

pub(crate) struct Limiter {
    buckets: Mutex<BTreeMap<String, Bucket>>,
    /// A clock that cannot be set back.
    started: Instant,
}

struct Bucket {
    /// Micro-requests left, so that refilling needs no floats.
    left: i64,
    at: Time,
}

impl Limiter {
    pub(crate) fn new() -> Limiter {
        Limiter { buckets: Mutex::default(), started: Instant::now() }
    }

    /// Takes one request from the caller's bucket; `Err` says after how many seconds there is one again.
    pub(crate) fn take(&self, who: &str) -> Result<(), u64> {
        let micros = self.started.elapsed().as_micros();
        self.take_at(who, Time(i64::try_from(micros).unwrap_or(i64::MAX)))
    }

    fn take_at(&self, who: &str, now: Time) -> Result<(), u64> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let full = BURST.saturating_mul(Time::SECOND);
        if buckets.len() >= CALLERS_MAX && !buckets.contains_key(who) {
            buckets.retain(|_, b| now.since(b.at) < Time::SECOND);
            if buckets.len() >= CALLERS_MAX {
                buckets.clear();
            }
        }
        let bucket = buckets.entry(who.to_owned()).or_insert(Bucket { left: full, at: now });
        let refill = now.since(bucket.at).max(0).saturating_mul(RATE_PER_S);
        bucket.left = bucket.left.saturating_add(refill).min(full);
        bucket.at = now;
        if bucket.left < Time::SECOND {
            return Err(1);
        }
        bucket.left -= Time::SECOND;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let l = Limiter::new();
        let t = Time::from_secs(1_000);
        assert_eq!((0..200).filter(|_| l.take_at("ana", t).is_ok()).count(), 120);
        assert_eq!(l.take_at("ana", t), Err(1));
        assert!(l.take_at("bob", t).is_ok(), "one caller does not starve another");
        let later = t.plus(Time::SECOND);
        assert_eq!((0..200).filter(|_| l.take_at("ana", later).is_ok()).count(), 60);
        assert!(l.take_at("ana", t).is_err(), "a clock that goes back gives nothing");
    }
}
