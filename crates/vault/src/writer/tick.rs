//! The rhythm: heartbeats, sealing by age, expiry.

use super::core::Shared;
use super::retain;
use crate::error::VaultError;
use model::Time;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// How often the background thread looks at the clock.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often segments are looked at for expiry.
const EXPIRE_EVERY: i64 = Time::MINUTE;

/// Does whatever is due now.
pub(crate) fn tick(shared: &Shared, last_expiry: &AtomicI64) -> Result<(), VaultError> {
    let now = shared.now();
    let since = shared.facts.wal_since.load(Ordering::Acquire);
    let age = i64::try_from(shared.settings.seal_age.as_micros()).unwrap_or(i64::MAX);
    if since != 0
        && now.since(Time(since)) >= age
        && shared.facts.wal_since.compare_exchange(since, 0, Ordering::AcqRel, Ordering::Acquire).is_ok()
    {
        shared.queue.push_seal(None);
    }
    if shared.beat_is_due(now) {
        shared.heartbeat()?;
    }
    let last = last_expiry.load(Ordering::Acquire);
    if now.since(Time(last)) >= EXPIRE_EVERY {
        last_expiry.store(now.0, Ordering::Release);
        retain::expire(shared, now)?;
    }
    Ok(())
}

/// The background thread.
pub(crate) fn run(shared: &Shared) {
    let last_expiry = AtomicI64::new(0);
    let mut failed = false;
    while !shared.facts.stopping() {
        match tick(shared, &last_expiry) {
            Ok(()) => failed = false,
            // Once per trouble, not five times a second.
            Err(error) if !failed => {
                failed = true;
                tracing::error!(error = %error, "heartbeat or expiry failed");
            }
            Err(_) => {}
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
}
