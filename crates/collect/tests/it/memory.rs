//! An intake that remembers everything, for tests. A double for failure injection and inspection, never proof that the vault works.

use async_trait::async_trait;
use collect::{
    Access, AccessLog, DeadLetter, DeadLetters, Intake, IntakeError, KeyRing, Keys, Receipt, Window,
};
use model::{Batch, EventId, Flags, Time};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// One stored event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub raw: Vec<u8>,
    pub id: EventId,
    pub dataset: String,
    pub source: String,
    pub sender: String,
    pub account: String,
    pub origin: String,
    pub flags: Flags,
    pub event_time: Time,
}

#[derive(Default)]
struct Inner {
    events: Vec<Event>,
    batches: usize,
    positions: BTreeMap<String, String>,
    window: Window,
    letters: Vec<DeadLetter>,
    access: Vec<Access>,
    lose_receipts: usize,
}

pub struct Memory {
    inner: Mutex<Inner>,
    /// Appends fail while set.
    full: watch::Sender<bool>,
    /// Appends do not resolve while set.
    held: watch::Sender<bool>,
    /// Changes whenever something was stored.
    changed: watch::Sender<u64>,
}

impl Memory {
    pub fn new() -> Arc<Memory> {
        Arc::new(Memory {
            inner: Mutex::default(),
            full: watch::Sender::new(false),
            held: watch::Sender::new(false),
            changed: watch::Sender::new(0),
        })
    }
    pub fn fill(&self, full: bool) {
        self.full.send_replace(full);
    }
    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }
    pub fn lose_receipts(&self, n: usize) {
        self.inner.lock().unwrap().lose_receipts = n;
    }
    pub fn events(&self) -> Vec<Event> {
        self.inner.lock().unwrap().events.clone()
    }
    pub fn batches(&self) -> usize {
        self.inner.lock().unwrap().batches
    }
    pub fn lines(&self) -> Vec<String> {
        self.events().iter().map(|e| e.raw.escape_ascii().to_string()).collect()
    }
    pub fn letters(&self) -> Vec<DeadLetter> {
        self.inner.lock().unwrap().letters.clone()
    }
    pub fn access(&self) -> Vec<Access> {
        self.inner.lock().unwrap().access.clone()
    }
    pub fn positions(&self) -> BTreeMap<String, String> {
        self.inner.lock().unwrap().positions.clone()
    }
    /// What a crash leaves: the stored events and positions, not the window.
    pub fn forget_window(&self) {
        self.inner.lock().unwrap().window = Window::default();
    }
    /// Waits until `enough` holds; fails after 20 s with what is there.
    #[track_caller]
    pub fn wait(self: &Arc<Self>, enough: impl Fn(&Memory) -> bool) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        let this = Arc::clone(self);
        async move {
            let mut changed = this.changed.subscribe();
            let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
            while !enough(&this) {
                if !matches!(tokio::time::timeout_at(deadline, changed.changed()).await, Ok(Ok(()))) {
                    let lines: String = this.lines().join("\n").chars().take(2_000).collect();
                    panic!("waited in vain at {caller}, {} events: {lines}", this.events().len());
                }
            }
        }
    }
    #[track_caller]
    pub fn wait_for(self: &Arc<Self>, n: usize) -> impl Future<Output = ()> {
        self.wait(move |m| m.inner.lock().unwrap().events.len() >= n)
    }
    fn tell(&self) {
        self.changed.send_modify(|n| *n += 1);
    }
}

#[async_trait]
impl Intake for Memory {
    async fn append(&self, batch: Batch) -> Result<Vec<Receipt>, IntakeError> {
        let mut held = self.held.subscribe();
        held.wait_for(|h| !*h).await.unwrap();
        if *self.full.borrow() {
            self.tell();
            return Err(IntakeError::Unavailable { why: "full".into(), retry_after: Duration::from_secs(7) });
        }
        let mut inner = self.inner.lock().unwrap();
        inner.batches += 1;
        let mut receipts = Vec::new();
        for (i, row) in batch.rows.iter().enumerate() {
            if inner.window.contains(row.id) {
                receipts.push(Receipt::Duplicate { of: row.id });
                continue;
            }
            inner.window.insert(row.id);
            let p = batch.provenance_of(i);
            let text = |o: &Option<Arc<str>>| o.as_deref().unwrap_or("").to_owned();
            let event = Event {
                raw: batch.raw(i).to_vec(),
                id: row.id,
                dataset: batch.dataset_of(i).to_owned(),
                source: p.source.to_string(),
                sender: text(&p.sender),
                account: text(&p.account),
                origin: text(&p.origin),
                flags: row.flags,
                event_time: row.event_time,
            };
            inner.events.push(event);
            receipts.push(Receipt::Durable { shard: 0, seq: inner.events.len() as u64 });
        }
        for p in batch.positions.iter() {
            inner.positions.insert(p.key.to_string(), p.value.to_string());
        }
        if inner.lose_receipts > 0 {
            inner.lose_receipts -= 1;
            receipts.pop();
        }
        drop(inner);
        self.tell();
        Ok(receipts)
    }
    fn position(&self, key: &str) -> Option<String> {
        self.inner.lock().unwrap().positions.get(key).cloned()
    }
}

#[async_trait]
impl DeadLetters for Memory {
    async fn write(&self, letter: DeadLetter) -> Result<(), IntakeError> {
        self.inner.lock().unwrap().letters.push(letter);
        self.tell();
        Ok(())
    }
}

impl AccessLog for Memory {
    fn record(&self, _source: &str, access: Access) {
        self.inner.lock().unwrap().access.push(access);
        self.tell();
    }
}

pub fn host(memory: &Arc<Memory>, keys: Keys) -> collect::Host {
    let keys: Arc<dyn KeyRing> = Arc::new(keys);
    collect::Host {
        intake: memory.clone(),
        dead_letters: memory.clone(),
        keys,
        access_log: memory.clone(),
        host_id: "host-1".into(),
    }
}
