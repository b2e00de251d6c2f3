//! What the tests share.

pub use async_trait::async_trait;
pub use forward::{
    Cursors, DeadLetter, DeadLetters, DeliveryReceipt, Document, Expired, Handle, Host, Parts, Read,
    Receipts, Secret, SecretRef, Secrets, Sink, SinkConfig, SinkEvent, SinkStatus, Source, StoreError,
    StoredCursor, open_sink, start,
};
pub use model::{Batch, EventId, Provenance, Time};
pub use std::collections::{BTreeMap, BTreeSet};
pub use std::path::PathBuf;
pub use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
pub use std::sync::{Arc, Mutex};
pub use std::time::{Duration, SystemTime};
pub use tokio::task::JoinHandle;

/// Everything that must happen happens within this, or the test fails.
pub const DEADLINE: Duration = Duration::from_secs(60);

pub fn id(seq: u64) -> EventId {
    EventId::of(&[b"test", &seq.to_le_bytes()])
}

/// Dataset of event `seq`: one of ours among them, which no `*` may reach.
pub fn dataset(seq: u64) -> &'static str {
    match seq % 7 {
        3 => "avouch.vault",
        0..3 => "syslog",
        _ => "aws.cloudtrail",
    }
}

pub fn selected(n: u64) -> BTreeSet<u64> {
    (0..n).filter(|s| dataset(*s) != "avouch.vault").collect()
}

/// A log in memory: `n` events, batches of one dataset that interleave in seq, as a vault gives them.
pub struct Log {
    pub n: AtomicU64,
    pub received: Time,
    pub gaps: Mutex<Vec<(u64, u64)>>,
    /// Event `seq` is this large.
    pub large: BTreeMap<u64, usize>,
}

impl Log {
    pub fn new(n: u64) -> Log {
        Log { n: AtomicU64::new(n), received: now(), gaps: Mutex::default(), large: BTreeMap::new() }
    }

    pub fn raw(&self, seq: u64) -> Vec<u8> {
        if let Some(len) = self.large.get(&seq) {
            return vec![b'x'; *len];
        }
        match dataset(seq) {
            "syslog" => format!("<13>line {seq} with \"quotes\"\nand a break").into_bytes(),
            _ => format!("{{\"n\": {seq},\n \"eventName\": \"GetObject\"}}").into_bytes(),
        }
    }

    pub fn batch(&self, name: &str, seqs: impl Iterator<Item = u64>) -> Batch {
        let mut b = Batch::builder();
        let p = b.provenance(Provenance::new("test").sender("127.0.0.1:514"));
        let d = b.dataset(name);
        for seq in seqs.filter(|s| dataset(*s) == name) {
            let row = b.push(&self.raw(seq), p, d);
            row.seq = seq;
            row.id = id(seq);
            row.received = self.received;
        }
        b.finish()
    }
}

#[async_trait]
impl Source for Log {
    async fn next(&self, from: u64, max_bytes: usize, wait: Duration) -> Result<Read, StoreError> {
        let n = self.n.load(Ordering::SeqCst);
        if from >= n {
            tokio::time::sleep(wait.min(Duration::from_millis(20))).await;
            return Ok(Read { next: from, ..Read::default() });
        }
        let gaps: Vec<(u64, u64)> =
            self.gaps.lock().unwrap().iter().copied().filter(|g| g.1 > from).collect();
        let from = gaps.iter().map(|g| g.1).max().unwrap_or(from).max(from);
        let to = n.min(from + 500.min(max_bytes as u64 / 64).max(1));
        let batches = ["aws.cloudtrail", "avouch.vault", "syslog"].map(|d| self.batch(d, from..to));
        Ok(Read { batches: batches.into_iter().filter(|b| !b.is_empty()).collect(), next: to, gaps })
    }
    fn head(&self) -> u64 {
        self.n.load(Ordering::SeqCst)
    }
}

pub fn now() -> Time {
    let d = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Time(d.as_micros() as i64)
}

/// Everything that the engine writes, kept in memory; failures on demand.
#[derive(Default)]
pub struct Kept {
    pub cursor: Mutex<Option<StoredCursor>>,
    pub letters: Mutex<Vec<DeadLetter>>,
    pub receipts: Mutex<Vec<DeliveryReceipt>>,
    pub expired: Mutex<Vec<Expired>>,
    pub events: Mutex<Vec<SinkEvent>>,
    /// So many writes of dead letters fail first.
    pub fail_letters: AtomicU32,
    pub fail_expired: AtomicU32,
    seed: AtomicU64,
}

fn fails(left: &AtomicU32) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok()
}

#[async_trait]
impl Cursors for Kept {
    async fn load(&self, _: &str, _: u32) -> Result<Option<StoredCursor>, StoreError> {
        Ok(*self.cursor.lock().unwrap())
    }
    async fn store(&self, _: &str, _: u32, cursor: StoredCursor) -> Result<(), StoreError> {
        *self.cursor.lock().unwrap() = Some(cursor);
        Ok(())
    }
}

#[async_trait]
impl DeadLetters for Kept {
    async fn write(&self, letters: Vec<DeadLetter>) -> Result<(), StoreError> {
        if fails(&self.fail_letters) {
            return Err(StoreError("disk full".into()));
        }
        self.letters.lock().unwrap().extend(letters);
        Ok(())
    }
}

#[async_trait]
impl Receipts for Kept {
    async fn delivered(&self, receipt: DeliveryReceipt) -> Result<(), StoreError> {
        self.receipts.lock().unwrap().push(receipt);
        Ok(())
    }
    async fn expired(&self, expired: Expired) -> Result<(), StoreError> {
        if fails(&self.fail_expired) {
            return Err(StoreError("disk full".into()));
        }
        self.expired.lock().unwrap().push(expired);
        Ok(())
    }
}

impl Host for Kept {
    fn now(&self) -> Time {
        now()
    }
    fn random(&self, max: i64) -> i64 {
        let x = self.seed.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        ((x ^ (x >> 29)) % (max as u64 + 1)) as i64
    }
    fn notify(&self, event: SinkEvent) {
        self.events.lock().unwrap().push(event);
    }
}

impl Kept {
    pub fn dead_seqs(&self) -> BTreeSet<u64> {
        self.letters.lock().unwrap().iter().map(|l| l.seq).collect()
    }
    /// done + duplicate + dead over all receipts.
    pub fn receipted(&self) -> u64 {
        self.receipts.lock().unwrap().iter().map(|r| r.done + r.duplicate + r.dead).sum()
    }
}

pub fn secrets() -> Secrets {
    Arc::new(|r: &SecretRef| match r.0.strip_prefix("file:") {
        Some(path) => std::fs::read(path).map(Secret::new).map_err(|e| e.to_string()),
        None => Err("not set".into()),
    })
}

pub fn config(json: &str) -> SinkConfig {
    let mut c: SinkConfig = serde_json::from_str(json).unwrap();
    // Quick, so that nothing has to wait; the numbers themselves are tested in `pace`.
    c.retry = serde_json::from_str(r#"{ "base": "1ms", "cap": "4ms", "probe": "5ms" }"#).unwrap();
    c.batch = serde_json::from_str(r#"{ "events": 100, "age": "20ms" }"#).unwrap();
    c
}

pub struct Running {
    pub handle: Handle,
    pub task: JoinHandle<()>,
}

pub fn run(config: &SinkConfig, log: &Arc<Log>, kept: &Arc<Kept>) -> Running {
    let sink = open_sink("siem", config, Arc::new(Document::default()), &secrets()).unwrap();
    run_with(config, sink, log, kept)
}

pub fn run_with(config: &SinkConfig, sink: Arc<dyn Sink>, log: &Arc<Log>, kept: &Arc<Kept>) -> Running {
    let (handle, engine) = start(Parts {
        name: "siem".into(),
        shard: 0,
        config: config.clone(),
        sink,
        source: log.clone(),
        cursors: kept.clone(),
        dead_letters: kept.clone(),
        receipts: kept.clone(),
        host: kept.clone(),
    });
    Running { handle, task: tokio::spawn(engine) }
}

impl Running {
    /// Waits until `holds` does, or fails with the status.
    pub async fn until(&self, what: &str, holds: impl FnMut(&SinkStatus) -> bool) -> SinkStatus {
        let mut watch = self.handle.watch();
        match tokio::time::timeout(DEADLINE, watch.wait_for(holds)).await {
            Ok(Ok(s)) => s.clone(),
            _ => panic!("not in time: {what}: {:#?}", self.handle.status()),
        }
    }
    pub async fn until_done(&self, n: u64) -> SinkStatus {
        self.until("cursor at the end", |s| s.cursor == n).await
    }
    pub async fn stop(self) {
        self.handle.stop(DEADLINE).await;
        self.task.await.unwrap();
    }
}

pub fn folder(name: &str) -> PathBuf {
    let p = std::env::temp_dir().join(format!("avouch-forward-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&p);
    std::fs::create_dir_all(&p).unwrap();
    p
}

/// A switch that a server reads.
pub type Switch = Arc<AtomicBool>;
