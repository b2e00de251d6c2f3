//! A vault in a folder of its own, with a clock, randomness and disk that the test holds in its hands.

use model::{Batch, Column, ColumnKind, ColumnSpec, Columns, EventId, Flags, Provenance, Row, Span, Time};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use vault::format::MaxAge;
use vault::format::leaf::Encryption;
use vault::{
    Clock, DatasetSettings, Dek, Derive, Disk, Host, KeyError, LocalDisk, LocalKeys, Opened, Random,
    Selection, Settings, Vault, VaultError,
};

/// 2025-03-14T10:00:00Z
pub const START: Time = Time(1_741_946_400_000_000);

/// A folder below the target's scratch folder, removed when dropped.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}-{n}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
    pub fn vault(&self) -> PathBuf {
        self.0.join("vault")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Advances one microsecond per reading, and as far as the test says.
pub struct TestClock(pub AtomicI64);

impl TestClock {
    pub fn new() -> Arc<TestClock> {
        Arc::new(TestClock(AtomicI64::new(START.0)))
    }
    pub fn advance(&self, micros: i64) {
        self.0.fetch_add(micros, Ordering::SeqCst);
    }
    pub fn read(&self) -> Time {
        Time(self.0.load(Ordering::SeqCst))
    }
}

impl Clock for TestClock {
    fn now(&self) -> Time {
        Time(self.0.load(Ordering::SeqCst))
    }
}

/// The same bytes in every run: SHA-256 of a counter.
pub struct TestRandom(AtomicU64);

impl TestRandom {
    pub fn new(seed: u64) -> Arc<TestRandom> {
        Arc::new(TestRandom(AtomicU64::new(seed << 32)))
    }
}

impl Random for TestRandom {
    fn fill(&self, out: &mut [u8]) -> Result<(), KeyError> {
        for chunk in out.chunks_mut(32) {
            let n = self.0.fetch_add(1, Ordering::SeqCst);
            let bytes = model::sha256(&[&n.to_le_bytes()]);
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        Ok(())
    }
}

/// Two columns that anybody can check: the raw as text, and its length.
pub struct TestDerive;

const SPECS: [ColumnSpec; 3] = [
    ColumnSpec { name: "message", kind: ColumnKind::Text },
    ColumnSpec { name: "length", kind: ColumnKind::Int },
    ColumnSpec { name: "resources", kind: ColumnKind::TextList },
];

impl Derive for TestDerive {
    fn specs(&self, _: &str) -> Vec<ColumnSpec> {
        SPECS.to_vec()
    }
    fn parser(&self, dataset: &str) -> String {
        format!("{dataset}@1")
    }
    fn derive(&self, _: &str, batch: &Batch) -> Columns {
        let mut c = Columns::new(&SPECS);
        for i in 0..batch.len() {
            let text = std::str::from_utf8(batch.raw(i)).ok();
            for column in &mut c.data {
                match column {
                    Column::Text(t) => t.push(text),
                    Column::Int(v) => v.push(Some(batch.raw(i).len() as i64)),
                    Column::TextList(l) => l.push(text.map(|t| t.split(' ').take(2))),
                    _ => {}
                }
            }
            c.end_row();
        }
        c
    }
}

/// Everything that is put into a vault from outside.
#[derive(Clone)]
pub struct World {
    pub clock: Arc<TestClock>,
    pub random: Arc<TestRandom>,
    pub disk: Arc<dyn Disk>,
    pub keys: Arc<LocalKeys>,
}

impl World {
    pub fn new() -> World {
        World::on(Arc::new(LocalDisk))
    }
    pub fn on(disk: Arc<dyn Disk>) -> World {
        let random = TestRandom::new(1);
        let keys = LocalKeys::new(&Dek::new([9; 32]), random.clone());
        World { clock: TestClock::new(), random, disk, keys: Arc::new(keys) }
    }
    pub fn host(&self) -> Host {
        Host {
            clock: self.clock.clone(),
            random: self.random.clone(),
            keys: self.keys.clone(),
            derive: Arc::new(TestDerive),
            disk: self.disk.clone(),
        }
    }
    pub fn open(&self, folder: &Folder) -> (Vault, Opened) {
        self.try_open(&folder.vault(), settings(&folder.vault())).unwrap()
    }
    pub fn try_open(&self, dir: &Path, settings: Settings) -> Result<(Vault, Opened), VaultError> {
        Vault::open(dir, settings, self.host())
    }
}

/// Nothing by itself, no reserve: tests say when and how much. `plain*` is stored without encryption.
pub fn settings(dir: &Path) -> Settings {
    let mut s = Settings::new(dir);
    s.background = false;
    s.reserve_bytes = 0;
    s.reserve_percent = 0;
    s.origin = Some("example.org/vault-1".into());
    let plain = DatasetSettings { max_age: Some(MaxAge::Days(7)), encryption: Some(Encryption::Sse) };
    s.datasets.insert("plain*".into(), plain);
    s
}

/// A batch of rows given as (dataset, raw).
pub fn batch(rows: &[(&str, &[u8])]) -> Batch {
    let mut b = Batch::builder();
    let mut p = Provenance::new("edge").sender("10.0.0.7:514").account("111122223333").region("eu-west-2");
    p = p.origin(&serde_json::json!({"file": "a\"b", "n": 7}));
    p.tags = vec!["t1".into(), "t2".into()];
    let rich = b.provenance(p);
    let plain = b.provenance(Provenance::new("other"));
    for (i, (dataset, raw)) in rows.iter().enumerate() {
        let d = b.dataset(dataset);
        let key = if i % 3 == 0 { b.store(format!("key-{i}").as_bytes()) } else { Span::EMPTY };
        let row = b.push(raw, if i % 2 == 0 { rich } else { plain }, d);
        row.event_time = if i % 5 == 4 { Time::NONE } else { START.plus(i as i64 * Time::SECOND) };
        row.natural_key = key;
        row.flags = Flags::TIME_FROM_PAYLOAD;
        row.id = if i % 2 == 0 { EventId::of(&[b"origin", raw]) } else { EventId::NONE };
    }
    b.finish()
}

/// Like [`batch`] with numbered raws, spread over three datasets.
pub fn numbered(from: usize, n: usize) -> Batch {
    let raws: Vec<(String, Vec<u8>)> = (from..from + n)
        .map(|i| {
            let dataset = ["syslog", "plain.a", "aws.cloudtrail"][i % 3];
            let mut raw = format!("event {i} ").into_bytes();
            raw.extend(std::iter::repeat_n(b'a' + (i % 26) as u8, i % 97));
            if i % 11 == 0 {
                raw.extend_from_slice(b"\0\xff\r\n");
            }
            (dataset.to_owned(), raw)
        })
        .collect();
    batch(&raws.iter().map(|(d, r)| (d.as_str(), r.as_slice())).collect::<Vec<_>>())
}

/// What a consumer can see of an event.
pub type Seen = (Row, Vec<u8>, Vec<u8>, Provenance, String);

pub fn seen(b: &Batch) -> Vec<Seen> {
    (0..b.len())
        .map(|i| {
            let row =
                Row { raw: Span::EMPTY, natural_key: Span::EMPTY, provenance: 0, dataset: 0, ..b.rows[i] };
            (
                row,
                b.raw(i).to_vec(),
                b.natural_key(i).to_vec(),
                b.provenance_of(i).clone(),
                b.dataset_of(i).to_owned(),
            )
        })
        .collect()
}

/// Everything a reader from `selection` gets until the end, by seq. Checks the promises of every answer on the way.
pub async fn read_all(vault: &Vault, selection: Selection, bytes_max: usize) -> Vec<Seen> {
    let mut reader = vault.reader(selection);
    let mut out: Vec<Seen> = Vec::new();
    loop {
        let before = reader.position();
        let got = reader.next(bytes_max, std::time::Duration::ZERO).await.unwrap();
        if got.is_empty() {
            break;
        }
        let mut window: Vec<Seen> = Vec::new();
        for b in &got {
            assert_eq!(b.datasets.len(), 1, "a batch holds one dataset");
            assert!(b.rows.windows(2).all(|w| w[0].seq < w[1].seq), "rows in seq order");
            window.extend(seen(b));
        }
        window.sort_by_key(|s| s.0.seq);
        assert!(window.iter().all(|s| s.0.seq >= before && s.0.seq < reader.position()), "inside the window");
        out.extend(window);
    }
    assert!(out.windows(2).all(|w| w[0].0.seq < w[1].0.seq), "windows follow each other");
    out
}

/// Without the vault's own events.
/// [`numbered`] events, the last of which has more bytes than a small commit, none of which compresses.
pub fn large(from: usize, n: usize) -> Batch {
    let small = numbered(from, n - 1);
    let mut x = from as u64 + 1;
    let mut noise = || {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 56) as u8
    };
    let mut raws: Vec<Vec<u8>> = (0..n - 1).map(|i| small.raw(i).to_vec()).collect();
    raws.push((0..(260 << 10) + from * 4_099 % (500 << 10)).map(|_| noise()).collect());
    batch(&raws.iter().map(|r| ("syslog", r.as_slice())).collect::<Vec<_>>())
}

pub async fn read_foreign(vault: &Vault) -> Vec<Seen> {
    read_all(vault, Selection { datasets: vec!["!avouch.*".into()], from: 0 }, 1 << 20).await
}

/// Waits for a condition with a deadline, without a fixed sleep.
pub async fn until(what: &str, mut f: impl FnMut() -> bool) {
    for _ in 0..20_000 {
        if f() {
            return;
        }
        tokio::task::yield_now().await;
        std::thread::sleep(std::time::Duration::from_micros(500));
    }
    panic!("never happened: {what}");
}
