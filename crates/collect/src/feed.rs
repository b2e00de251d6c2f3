//! One source's way to the intake: its share of memory in flight, its retries, its counting.

use crate::counters::{Counters, Discard, now};
use crate::intake::{DEAD_LETTER_BYTES_MAX, DeadLetter, DeadLetters, Intake, IntakeError, Receipt};
use model::{Batch, Flags};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// Bytes of one source that may wait for the vault (64 MiB): a flood on one source must not take the memory of the others.
pub const SHARE_BYTES: usize = 64 << 20;

/// How long a stopping source goes on trying to hand over what it has read (20 s, the daemon's own grace).
pub const STOP_GRACE: Duration = Duration::from_secs(20);

/// First and longest wait between two tries of one batch.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LONGEST: Duration = Duration::from_secs(5);

/// What a source should be doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    Run,
    /// Reads nothing; connections stay open. An incident kill switch, so it reads `unknown`, never quiet.
    Pause,
    Stop,
}

/// Handle of one source to the world behind it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Feed {
    pub source: Arc<str>,
    pub counters: Arc<Counters>,
    pub mode: watch::Receiver<Mode>,
    intake: Arc<dyn Intake>,
    dead_letters: Arc<dyn DeadLetters>,
    share: Arc<Semaphore>,
    grace: Duration,
}

/// Receipts of one batch, counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally {
    pub accepted: u64,
    pub duplicates: u64,
    pub refused: u64,
    /// Accepted with flag `parse_error`.
    pub unparsed: u64,
}

impl Feed {
    pub fn new(
        source: &str,
        intake: Arc<dyn Intake>,
        dead_letters: Arc<dyn DeadLetters>,
        mode: watch::Receiver<Mode>,
    ) -> Feed {
        Feed {
            source: source.into(),
            counters: Arc::new(Counters::default()),
            mode,
            intake,
            dead_letters,
            share: Arc::new(Semaphore::new(SHARE_BYTES)),
            grace: STOP_GRACE,
        }
    }

    pub fn position(&self, key: &str) -> Option<String> {
        self.intake.position(key)
    }

    pub fn mode(&self) -> Mode {
        // A dropped sender means that the handle is gone: nobody can stop or resume us any more.
        if self.mode.has_changed().is_err() { Mode::Stop } else { *self.mode.borrow() }
    }

    /// Resolves when the mode is no longer `Pause` and returns it.
    pub async fn unpaused(&self) -> Mode {
        let mut mode = self.mode.clone();
        mode.wait_for(|m| *m != Mode::Pause).await.map_or(Mode::Stop, |m| *m)
    }

    /// Resolves when the mode is `Stop`.
    pub async fn stopped(&self) {
        let mut mode = self.mode.clone();
        let _ = mode.wait_for(|m| *m == Mode::Stop).await;
    }

    /// Resolves when the mode is not `Run`.
    pub async fn interrupted(&self) {
        let mut mode = self.mode.clone();
        let _ = mode.wait_for(|m| *m != Mode::Run).await;
    }

    /// One try. V2: what this returns is the only ground for an acknowledgement.
    pub async fn offer(&self, batch: Batch) -> Result<Tally, IntakeError> {
        // At least one byte, so that a batch that only carries positions waits its turn; at most the whole share, so that a
        // batch larger than it passes alone instead of never.
        let bytes = u32::try_from(batch.arena.len().clamp(1, SHARE_BYTES)).unwrap_or(1);
        let _share = self.share.acquire_many(bytes).await.map_err(|_| IntakeError::Closed)?;
        let result = self.intake.append(batch.clone()).await;
        match result {
            Ok(receipts) if receipts.len() == batch.len() => Ok(self.count(&batch, &receipts)),
            Ok(receipts) => Err(IntakeError::ReceiptsMissing { want: batch.len(), got: receipts.len() }),
            Err(e) => Err(e),
        }
        .inspect_err(|_| self.counters.add_append_failures(1))
    }

    /// Tries until the batch is durable. `None` only when the source was told to stop and the grace is over: the caller
    /// acknowledges nothing then.
    pub async fn deliver(&self, batch: Batch) -> Option<Tally> {
        let deadline = async {
            self.stopped().await;
            tokio::time::sleep(self.grace).await;
        };
        let tries = async {
            let mut wait = RETRY_FIRST;
            loop {
                match self.offer(batch.clone()).await {
                    Ok(tally) => return tally,
                    Err(e) => {
                        tracing::warn!(source = &*self.source, code = e.code(), error = %e, "batch not taken, trying again");
                        tokio::time::sleep(wait).await;
                        wait = wait.saturating_mul(2).min(RETRY_LONGEST);
                    }
                }
            }
        };
        // Dropping `tries` may leave an append whose outcome is unknown. That is safe here and only here: the process is
        // stopping and nothing will be acknowledged from it.
        tokio::select! {
            biased;
            tally = tries => Some(tally),
            () = deadline => None,
        }
    }

    /// Like [`Feed::deliver`] for sources that acknowledge nothing: what could not be handed over is counted.
    pub async fn deliver_or_count(self, batch: Batch) {
        let events = batch.len() as u64;
        if self.deliver(batch).await.is_none() {
            self.counters.add_discarded(Discard::Stopping, events);
        }
    }

    /// Writes a dead letter, trying until it is durable. `false` when stopping cut it short.
    pub async fn bury(&self, mut letter: DeadLetter) -> bool {
        letter.bytes.truncate(DEAD_LETTER_BYTES_MAX);
        let mut wait = RETRY_FIRST;
        loop {
            match self.dead_letters.write(letter.clone()).await {
                Ok(()) => {
                    self.counters.add_dead_letters(1);
                    return true;
                }
                Err(_) if self.mode() == Mode::Stop => return false,
                Err(e) => {
                    tracing::warn!(source = &*self.source, code = e.code(), error = %e, "dead letter not taken, trying again");
                    tokio::time::sleep(wait).await;
                    wait = wait.saturating_mul(2).min(RETRY_LONGEST);
                }
            }
        }
    }

    fn count(&self, batch: &Batch, receipts: &[Receipt]) -> Tally {
        let mut tally = Tally::default();
        let (mut bytes, mut truncated) = (0, 0);
        for (row, receipt) in batch.rows.iter().zip(receipts) {
            match receipt {
                Receipt::Durable { .. } => {
                    tally.accepted += 1;
                    bytes += row.raw.len() as u64;
                    tally.unparsed += u64::from(row.flags.has(Flags::PARSE_ERROR));
                    truncated += u64::from(row.flags.has(Flags::TRUNCATED));
                }
                Receipt::Duplicate { .. } => tally.duplicates += 1,
                Receipt::Refused { .. } => tally.refused += 1,
            }
        }
        let c = &self.counters;
        c.add_events(tally.accepted);
        c.add_bytes(bytes);
        c.add_parse_errors(tally.unparsed);
        c.add_truncated(truncated);
        c.add_duplicates(tally.duplicates);
        c.add_refused(tally.refused);
        if tally.accepted > 0 {
            c.touched(now());
        }
        tally
    }
}

type Sending = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A few batches of one reader on their way at once, so that reading goes on while the vault syncs. Futures are stored, never
/// dropped half-way: `progress` may stand in a `select!`.
pub(crate) struct Pipeline {
    on_the_way: VecDeque<Sending>,
    depth: usize,
}

impl Pipeline {
    pub fn new(depth: usize) -> Pipeline {
        Pipeline { on_the_way: VecDeque::with_capacity(depth), depth }
    }
    pub fn has_room(&self) -> bool {
        self.on_the_way.len() < self.depth
    }
    pub fn is_empty(&self) -> bool {
        self.on_the_way.is_empty()
    }
    /// Takes a delivery and polls it once, which fixes its place in the order of the log.
    pub async fn push(&mut self, sending: impl Future<Output = ()> + Send + 'static) {
        let mut sending: Option<Sending> = Some(Box::pin(sending));
        poll_fn(|cx| {
            if let Some(mut s) = sending.take()
                && s.as_mut().poll(cx).is_pending()
            {
                self.on_the_way.push_back(s);
            }
            Poll::Ready(())
        })
        .await;
    }
    /// Resolves when at least one delivery has ended; never, when there is none.
    pub async fn progress(&mut self) {
        poll_fn(|cx| {
            let before = self.on_the_way.len();
            self.on_the_way.retain_mut(|s| s.as_mut().poll(cx).is_pending());
            if self.on_the_way.len() < before { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
    pub async fn drain(&mut self) {
        while !self.is_empty() {
            self.progress().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Memory, feed};
    use model::Provenance;

    fn batch(text: &str) -> Batch {
        let mut b = Batch::builder();
        let p = b.provenance(Provenance::new("t"));
        b.push(text.as_bytes(), p, 0);
        b.finish()
    }

    #[tokio::test]
    async fn a_dropped_receipt_is_a_failure_and_is_tried_again() {
        let memory = Memory::new();
        memory.lose_receipts(1);
        let (feed, _mode) = feed("t", &memory);
        assert_eq!(feed.deliver(batch("x")).await.unwrap().accepted, 1);
        assert_eq!(memory.lines(), ["x", "x"], "stored twice: a duplicate is countable, a loss is not");
        assert_eq!(feed.counters.snapshot().append_failures, 1);
    }

    #[tokio::test]
    async fn what_cannot_be_handed_over_while_stopping_is_counted() {
        let memory = Memory::new();
        let (mut feed, mode) = feed("t", &memory);
        feed.grace = Duration::from_millis(1);
        memory.hold(true);
        mode.send_replace(Mode::Stop);
        feed.clone().deliver_or_count(batch("x")).await;
        assert_eq!(feed.counters.snapshot().discarded["stopping"], 1);
        memory.hold(false);
        feed.clone().deliver_or_count(batch("y")).await;
        assert_eq!(memory.lines(), ["y"], "a vault that takes it still gets it");
    }

    #[tokio::test]
    async fn a_source_has_its_share_and_no_more() {
        let memory = Memory::new();
        let (feed, _mode) = feed("t", &memory);
        memory.hold(true);
        let big = batch(&"x".repeat(40 << 20));
        let mut p = Pipeline::new(4);
        for _ in 0..3 {
            p.push(feed.clone().deliver_or_count(big.clone())).await;
        }
        assert_eq!(feed.share.available_permits(), 0, "the second waits for the rest of its share");
        memory.hold(false);
        p.drain().await;
        assert_eq!((memory.batches(), feed.share.available_permits()), (3, SHARE_BYTES));
        // A batch above the whole share passes alone instead of never.
        assert!(feed.deliver(batch(&"x".repeat(SHARE_BYTES + 1))).await.is_some());
    }

    #[tokio::test]
    async fn pipelined_batches_keep_their_order() {
        let memory = Memory::new();
        let (feed, _mode) = feed("t", &memory);
        let mut p = Pipeline::new(4);
        for i in 0..20 {
            if !p.has_room() {
                p.progress().await;
            }
            p.push(feed.clone().deliver_or_count(batch(&i.to_string()))).await;
        }
        p.drain().await;
        assert_eq!(memory.lines(), (0..20).map(|i| i.to_string()).collect::<Vec<_>>());
    }
}
