//! The loop of one sink: read on, send, take answers, move the cursor.
//!
//! One task owns the [`Window`]; requests and reads run in tasks of their own and report back, so nothing that is not cancel-safe is
//! ever dropped half-way. What must be durable before the cursor may pass (dead letters, expiry records) is awaited in the loop
//! itself: order is then plain to see.

mod handle;
mod outcome;

pub use handle::Handle;

use crate::pace::{Limits, Pace};
use crate::record::{DeliveryReceipt, Expired};
use crate::sink::{Item, Sent, Sink};
use crate::status::{Held, RunState, SinkStatus};
use crate::traits::{
    Cursors, DeadLetters, Host, Read, Receipts, SinkEvent, Source, StoreError, StoredCursor,
};
use crate::{SinkConfig, Start, Ticket, Window};
use handle::Order;
use model::Time;
use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// One read asks for this much raw, so that a slow sink does not hold the whole window in memory twice.
const READ_BYTES: usize = 4 << 20;
/// One read waits so long for the first event; only the end of the process waits for it.
const READ_WAIT: Duration = Duration::from_secs(1);
/// Pause after the source or a store failed: both lie on our own disk, so this is seldom and a person is being told elsewhere.
const STORE_PAUSE: i64 = Time::SECOND;
/// Cursors and receipts are written at most this often (`transport.md` 5.1, 5.3).
const WRITE_EVERY: i64 = Time::SECOND;
/// A learned byte limit (413) never falls below this.
const BATCH_BYTES_MIN: usize = 64 << 10;
/// A window item's own cost in memory.
const ITEM_BYTES: usize = 64;

/// What a sink's loop is made of.
pub struct Parts {
    pub name: String,
    pub shard: u32,
    pub config: SinkConfig,
    pub sink: Arc<dyn Sink>,
    pub source: Arc<dyn Source>,
    pub cursors: Arc<dyn Cursors>,
    pub dead_letters: Arc<dyn DeadLetters>,
    pub receipts: Arc<dyn Receipts>,
    pub host: Arc<dyn Host>,
}

/// Makes the loop of a sink. The caller spawns the future; it ends when the handle stops it.
pub fn start(parts: Parts) -> (Handle, impl Future<Output = ()> + Send + use<>) {
    /// Orders are few; a full queue only makes the caller wait.
    const ORDERS: usize = 16;
    let (orders, inbox) = mpsc::channel(ORDERS);
    let first = SinkStatus {
        name: parts.name.clone(),
        kind: parts.sink.kind().to_owned(),
        shard: parts.shard,
        ..SinkStatus::default()
    };
    let (tell, status) = watch::channel(first);
    let handle = Handle { name: parts.name.clone(), orders, status };
    (handle, async move { Engine::new(parts, inbox, tell).run().await })
}

enum Done {
    Read { from: u64, got: Result<Read, StoreError> },
    Sent { tickets: Vec<Ticket>, sent: Sent, began: Time, bytes: usize },
}

/// State of the loop; see [`start`].
pub struct Engine {
    p: Parts,
    inbox: mpsc::Receiver<Order>,
    tell: watch::Sender<SinkStatus>,
    status: SinkStatus,
    window: Window<Item>,
    pace: Pace,
    limits: Limits,
    tasks: JoinSet<Done>,
    /// The read that is under way.
    reading: Option<tokio::task::Id>,
    read_pause: Option<Time>,
    requests: usize,
    /// Groups to be sent as they are: halves of a batch that was too large. Their items stay in flight in the window.
    splits: VecDeque<Vec<Ticket>>,
    batch_bytes: usize,
    pending_since: Option<Time>,
    held: Option<Held>,
    is_paused: bool,
    stored: StoredCursor,
    stored_at: Time,
    receipt: Option<DeliveryReceipt>,
    receipt_since: Time,
}

impl Engine {
    fn new(p: Parts, inbox: mpsc::Receiver<Order>, tell: watch::Sender<SinkStatus>) -> Engine {
        let now = p.host.now();
        let concurrency =
            if p.config.ordered { 1 } else { p.config.concurrency.min(p.sink.concurrency_max()) };
        let status = tell.borrow().clone();
        Engine {
            status,
            window: Window::new(0),
            pace: Pace::new(concurrency),
            limits: Limits::new(&p.config.limit, now),
            tasks: JoinSet::new(),
            reading: None,
            read_pause: None,
            requests: 0,
            splits: VecDeque::new(),
            batch_bytes: p.config.batch.bytes.bytes(),
            pending_since: None,
            held: None,
            is_paused: false,
            stored: StoredCursor::default(),
            stored_at: now,
            receipt: None,
            receipt_since: now,
            p,
            inbox,
            tell,
        }
    }

    async fn run(mut self) {
        self.load_cursor().await;
        loop {
            self.read_on();
            self.dispatch();
            self.publish(RunState::Running);
            let wake = self.next_wake();
            tokio::select! {
                Some(done) = self.tasks.join_next() => {
                    match done {
                        Ok(done) => self.take(done).await,
                        // A task that panicked took its items' answer with it; they are in flight for ever, so start over from the
                        // cursor, which nothing unfinished has passed.
                        Err(e) => {
                            tracing::error!(sink = %self.p.name, error = %e, "a task broke off; starting over at the cursor");
                            if self.reading == Some(e.id()) {
                                self.reading = None;
                            }
                            self.reset(self.window.cursor());
                        }
                    }
                }
                order = self.inbox.recv() => match order {
                    Some(Order::Stop(grace)) => return self.finish(grace).await,
                    // All handles are gone: nobody could stop it any more.
                    None => return self.finish(Duration::ZERO).await,
                    Some(order) => self.obey(order).await,
                },
                () = tokio::time::sleep(wake) => {}
            }
            self.write_down(false).await;
        }
    }

    async fn load_cursor(&mut self) {
        loop {
            match self.p.cursors.load(&self.p.name, self.p.shard).await {
                Ok(found) => {
                    let fresh = StoredCursor {
                        next: if self.p.config.from == Start::Now { self.p.source.head() } else { 0 },
                        is_paused: false,
                    };
                    self.stored = found.unwrap_or(fresh);
                    self.is_paused = self.stored.is_paused;
                    self.window = Window::new(self.stored.next);
                    return;
                }
                Err(e) => {
                    // Guessing a position would send everything again, or leave something out.
                    self.fail(format!("the cursor cannot be read: {e}"));
                    self.publish(RunState::Running);
                    tokio::time::sleep(Duration::from_micros(STORE_PAUSE.unsigned_abs())).await;
                }
            }
        }
    }

    fn now(&self) -> Time {
        self.p.host.now()
    }

    fn fail(&mut self, why: String) {
        tracing::warn!(sink = %self.p.name, reason = %why, "sink: will try again");
        self.status.last_error = Some(why);
    }

    // Reading.

    fn read_on(&mut self) {
        let c = &self.p.config.window;
        let is_full = self.window.width() >= c.events || self.window.bytes() >= c.bytes.bytes();
        let is_early = self.read_pause.is_some_and(|t| self.now() < t);
        if self.reading.is_some() || is_full || is_early || self.is_paused {
            return;
        }
        let (source, from) = (Arc::clone(&self.p.source), self.window.read_to());
        let task = self.tasks.spawn(async move {
            let got = source.next(from, READ_BYTES, READ_WAIT).await;
            Done::Read { from, got }
        });
        self.reading = Some(task.id());
    }

    async fn take_read(&mut self, from: u64, got: Result<Read, StoreError>) {
        self.reading = None;
        // Somebody moved the cursor meanwhile: what was read belongs to another place.
        if from != self.window.read_to() {
            return;
        }
        let read = match got {
            Ok(read) => read,
            Err(e) => {
                self.read_pause = Some(self.now().plus(STORE_PAUSE));
                return self.fail(format!("the vault cannot be read: {e}"));
            }
        };
        self.read_pause = None;
        for (gap_from, gap_to) in &read.gaps {
            let expired = Expired {
                schema: "avouch.expired_undelivered/1".to_owned(),
                sink: self.p.name.clone(),
                shard: self.p.shard,
                from: *gap_from,
                to: *gap_to,
                at: self.now(),
            };
            // Only a durable record lets us move on; else the same range is read again.
            if let Err(e) = self.p.receipts.expired(expired).await {
                self.read_pause = Some(self.now().plus(STORE_PAUSE));
                return self.fail(format!("the loss of {gap_from}..{gap_to} cannot be recorded: {e}"));
            }
            self.status.expired = self.status.expired.saturating_add(gap_to.saturating_sub(*gap_from));
            self.p.host.notify(SinkEvent::Expired {
                sink: self.p.name.clone(),
                from: *gap_from,
                to: *gap_to,
            });
        }
        // Batches of one read may interleave; the window wants the order of the log (O1).
        let mut items: Vec<Item> = Vec::new();
        for batch in read.batches {
            let batch = Arc::new(batch);
            for (row, r) in batch.rows.iter().enumerate() {
                if self.p.config.selects(batch.dataset_of(row)) {
                    items.push(Item { batch: Arc::clone(&batch), row, seq: r.seq });
                }
            }
        }
        items.sort_by_key(|i| i.seq);
        for item in items {
            let bytes = item.raw_len() + ITEM_BYTES;
            if !self.window.push(item.seq, bytes, item) {
                tracing::error!(sink = %self.p.name, "the vault gave an event twice; it is sent once");
            }
        }
        self.window.advance(read.next);
        if self.window.pending().0 > 0 && self.pending_since.is_none() {
            self.pending_since = Some(self.now());
        }
    }

    // Sending.

    fn dispatch(&mut self) {
        while let Some((tickets, items, bytes)) = self.next_batch() {
            let now = self.now();
            self.limits.take(items.len(), bytes, now);
            self.requests += 1;
            let sink = Arc::clone(&self.p.sink);
            self.tasks.spawn(async move {
                let sent = sink.send(&items).await;
                Done::Sent { tickets, sent, began: now, bytes }
            });
            if self.held.is_some() {
                return;
            }
        }
    }

    /// What may leave now, or nothing.
    fn next_batch(&mut self) -> Option<(Vec<Ticket>, Vec<Item>, usize)> {
        let now = self.now();
        if self.is_paused || self.requests >= self.pace.allowed() || !self.pace.is_open(now) {
            return None;
        }
        if self.limits.ready_at(now) > now {
            return None;
        }
        let tickets = match &mut self.held {
            // A held sink is tried with one real event: it goes on exactly when sending works.
            Some(held) => {
                if self.requests > 0 || now < held.next_probe {
                    return None;
                }
                held.next_probe = now.plus(self.p.config.retry.probe.0);
                self.splits_back(now);
                self.window.take(now, 1, usize::MAX, self.p.config.ordered)
            }
            None => match self.splits.pop_front() {
                Some(group) => group,
                None if self.is_batch_due(now) => {
                    let events = self.p.config.batch.events;
                    self.pending_since = None;
                    self.window.take(now, events, self.batch_bytes, self.p.config.ordered)
                }
                None => return None,
            },
        };
        if self.window.pending().0 > 0 && self.pending_since.is_none() {
            self.pending_since = Some(now);
        }
        // Skipped meanwhile: nothing left of the group.
        let tickets: Vec<Ticket> = tickets.into_iter().filter(|t| self.window.get(*t).is_some()).collect();
        if tickets.is_empty() {
            return None;
        }
        let items: Vec<Item> =
            tickets.iter().filter_map(|t| self.window.get(*t).map(|(_, i)| i.clone())).collect();
        let bytes = tickets.iter().map(|t| self.window.bytes_of(*t)).sum();
        Some((tickets, items, bytes))
    }

    /// Full, old enough, or nothing else is under way (then waiting would only add delay).
    fn is_batch_due(&self, now: Time) -> bool {
        let c = &self.p.config.batch;
        let (n, bytes) = self.window.pending();
        let is_old = self.pending_since.is_some_and(|t| now.since(t) >= c.age.0);
        self.window.due().is_some_and(|t| t <= now)
            || (n > 0 && (self.requests == 0 || n >= c.events || bytes >= self.batch_bytes || is_old))
    }

    /// Groups that wait to be sent as halves go back to being single items.
    fn splits_back(&mut self, now: Time) {
        for t in self.splits.drain(..).flatten() {
            self.window.retry(t, now);
        }
    }

    async fn take(&mut self, done: Done) {
        match done {
            Done::Read { from, got } => self.take_read(from, got).await,
            Done::Sent { tickets, sent, began, bytes } => {
                self.requests = self.requests.saturating_sub(1);
                self.status.bytes = self.status.bytes.saturating_add(sent.bytes as u64);
                self.take_sent(tickets, sent, began, bytes).await;
            }
        }
    }

    // Orders.

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Pause(is_paused, tell) => {
                let before = std::mem::replace(&mut self.is_paused, is_paused);
                let done = self.store(StoredCursor { next: self.window.cursor(), is_paused }).await;
                if done.is_err() {
                    self.is_paused = before;
                }
                let _ = tell.send(done);
            }
            Order::Skip(to, tell) => {
                let target = to.min(self.p.source.head());
                let next = self.window.cursor().max(target);
                let done = self.store(StoredCursor { next, is_paused: self.is_paused }).await;
                let done = done.map(|()| self.window.skip(target));
                let _ = tell.send(done);
            }
            Order::Seek(to, tell) => {
                let next = to.min(self.p.source.head());
                let done = self.store(StoredCursor { next, is_paused: self.is_paused }).await;
                if done.is_ok() {
                    self.reset(next);
                }
                let _ = tell.send(done);
            }
            Order::Probe => {
                let now = self.now();
                if let Some(held) = &mut self.held {
                    held.next_probe = now;
                }
            }
            // Handled where it is received.
            Order::Stop(_) => {}
        }
    }

    fn reset(&mut self, cursor: u64) {
        self.window.reset(cursor);
        self.splits.clear();
        self.pending_since = None;
        // Requests that are under way still report; their tickets name nothing any more.
        self.requests = self.tasks.len().saturating_sub(usize::from(self.reading.is_some()));
    }

    // Writing down.

    async fn store(&mut self, cursor: StoredCursor) -> Result<(), StoreError> {
        self.stored_at = self.now();
        self.p.cursors.store(&self.p.name, self.p.shard, cursor).await?;
        self.stored = cursor;
        Ok(())
    }

    /// Cursor and receipt, when they moved and it is time (or `is_last`). A sink whose resends duplicate writes its cursor after
    /// every batch.
    async fn write_down(&mut self, is_last: bool) {
        let now = self.now();
        let cursor = StoredCursor { next: self.window.cursor(), is_paused: self.is_paused };
        let is_time = now.since(self.stored_at) >= WRITE_EVERY || !self.p.sink.is_idempotent();
        if cursor != self.stored
            && (is_last || is_time)
            && let Err(e) = self.store(cursor).await
        {
            self.fail(format!("the cursor cannot be written: {e}"));
        }
        if (is_last || now.since(self.receipt_since) >= WRITE_EVERY)
            && let Some(receipt) = self.receipt.take()
            && let Err(e) = self.p.receipts.delivered(receipt.clone()).await
        {
            // Kept and merged with what follows.
            self.receipt = Some(receipt);
            self.receipt_since = now;
            self.fail(format!("the delivery receipt cannot be written: {e}"));
        }
    }

    async fn finish(mut self, grace: Duration) {
        let deadline = tokio::time::Instant::now() + grace;
        while self.requests > 0 {
            match tokio::time::timeout_at(deadline, self.tasks.join_next()).await {
                Ok(Some(Ok(done))) => self.take(done).await,
                Ok(Some(Err(_))) => self.requests = self.requests.saturating_sub(1),
                Ok(None) | Err(_) => break,
            }
        }
        self.write_down(true).await;
        self.p.sink.close().await;
        self.publish(RunState::Stopped);
    }

    fn next_wake(&self) -> Duration {
        let now = self.now();
        let mut wake = now.plus(Time::SECOND);
        let mut at = |t: Option<Time>| {
            // What is due already waits for something else (an answer, a gate) that wakes us by itself.
            if let Some(t) = t.filter(|t| now < *t) {
                wake = wake.min(t);
            }
        };
        at(self.window.due());
        at(self.pace.gate);
        at(self.read_pause);
        at(self.held.as_ref().map(|h| h.next_probe));
        at(self.pending_since.map(|t| t.plus(self.p.config.batch.age.0)));
        at(self.limits.clone().ready_at(now).known());
        Duration::from_micros(u64::try_from(wake.since(now)).unwrap_or(0).max(500))
    }

    fn publish(&mut self, state: RunState) {
        let now = self.now();
        let s = &mut self.status;
        s.state = match state {
            RunState::Running if self.held.is_some() => RunState::Held,
            RunState::Running if self.is_paused => RunState::Paused,
            other => other,
        };
        s.held.clone_from(&self.held);
        s.cursor = self.window.cursor();
        s.read_to = self.window.read_to();
        s.head = self.p.source.head();
        s.lag_events = s.head.saturating_sub(s.cursor);
        s.oldest_received =
            self.window.oldest().and_then(|i| i.batch.rows.get(i.row)).and_then(|r| r.received.known());
        s.lag_seconds =
            s.oldest_received.map_or(0, |t| u64::try_from(now.since(t) / Time::SECOND).unwrap_or(0));
        s.unfinished = self.window.unfinished() as u64;
        s.in_flight = self.window.in_flight() as u64;
        s.requests = self.requests as u64;
        s.concurrency = self.pace.allowed() as u64;
        if *self.tell.borrow() != *s {
            self.tell.send_replace(s.clone());
        }
    }
}
