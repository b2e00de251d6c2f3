//! Vaults made by the writer half.

use super::Dice;
use model::{Batch, Provenance, Time};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use vault::format::MaxAge;
use vault::format::leaf::Encryption;
use vault::merkle::Vkey;
use vault::verify::{KnownCheckpoint, Level, Options, Report, verify};
use vault::{
    Clock, DatasetSettings, Dek, Derive, Host, KeyError, KeyProvider, LocalDisk, LocalKeys, Random, Settings,
    Vault,
};

/// Events of a built vault, those of the vault's own doings not counted.
pub const EVENTS: u64 = 3_600;
/// More than one full tile of leaves.
pub const LEAVES_MIN: u64 = 290;
const START: i64 = 1_741_946_400_000_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    Pme,
    Sse,
}

/// Kinds of evidence files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Data,
    Side,
    Tile,
    Entries,
    Checkpoint,
    Kept,
    Wal,
    Key,
}

/// A number that no other call in this process gets.
pub fn unique() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

pub struct Now(pub AtomicI64);

impl Clock for Now {
    fn now(&self) -> Time {
        Time(self.0.load(Ordering::Relaxed))
    }
}

/// The same bytes in every run.
pub struct Counted(AtomicU64);

impl Random for Counted {
    fn fill(&self, out: &mut [u8]) -> Result<(), KeyError> {
        for chunk in out.chunks_mut(32) {
            let n = self.0.fetch_add(1, Ordering::Relaxed);
            let bytes = model::sha256(&[b"test", &n.to_le_bytes()]);
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        Ok(())
    }
}

pub fn keys() -> Arc<dyn KeyProvider> {
    Arc::new(LocalKeys::new(&Dek::new([9; 32]), Arc::new(Counted(AtomicU64::new(1 << 40)))))
}

/// Columns with something in them.
pub struct Words(pub &'static str);

impl Derive for Words {
    fn specs(&self, _: &str) -> Vec<model::ColumnSpec> {
        vec![
            model::ColumnSpec { name: "actor", kind: model::ColumnKind::Text },
            model::ColumnSpec { name: "bytes", kind: model::ColumnKind::Int },
        ]
    }
    fn parser(&self, dataset: &str) -> String {
        format!("{dataset}@1")
    }
    fn derive(&self, dataset: &str, batch: &Batch) -> model::Columns {
        let mut columns = model::Columns::new(&self.specs(dataset));
        for i in 0..batch.len() {
            if let Some(model::Column::Text(t)) = columns.data.get_mut(0) {
                t.push(Some(&format!("{}{}", self.0, batch.raw(i).first().copied().unwrap_or(0) % 7)));
            }
            if let Some(model::Column::Int(t)) = columns.data.get_mut(1) {
                t.push(Some(batch.raw(i).len() as i64));
            }
            columns.end_row();
        }
        columns
    }
}

/// A vault that is open for writing, with the clock in the test's hand.
pub struct Open {
    pub vault: Vault,
    pub clock: Arc<Now>,
    runtime: tokio::runtime::Runtime,
}

impl Open {
    /// `at`: microseconds after the beginning of the tests' time.
    pub fn new(dir: &Path, mode: Mode, at: i64, change: impl FnOnce(&mut Settings)) -> Open {
        let encryption = Some(if mode == Mode::Pme { Encryption::Pme } else { Encryption::Sse });
        let mut settings = Settings::new(dir);
        settings.background = false;
        settings.origin = Some("log.example/vault-1".into());
        let keep = |max_age| DatasetSettings { max_age: Some(max_age), encryption };
        settings.datasets = BTreeMap::from([
            ("*".into(), keep(MaxAge::Days(90))),
            ("avouch.*".into(), keep(MaxAge::Forever)),
            ("short.*".into(), keep(MaxAge::Days(7))),
        ]);
        change(&mut settings);
        let clock = Arc::new(Now(AtomicI64::new(START + at)));
        let host = Host {
            clock: clock.clone(),
            // The same vault in every run and whatever ran before; another one for another mode or beginning.
            random: Arc::new(Counted(AtomicU64::new((at as u64) << 32 | (mode as u64) << 24))),
            keys: keys(),
            derive: Arc::new(Words("user")),
            disk: Arc::new(LocalDisk),
        };
        let (vault, _) = Vault::open(dir, settings, host).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        Open { vault, clock, runtime }
    }

    pub fn pass(&self, time: Duration) {
        self.clock.0.fetch_add(i64::try_from(time.as_micros()).unwrap(), Ordering::Relaxed);
    }

    /// `n` events of `bytes` bytes each that do not compress.
    pub fn append(&self, dataset: &str, n: u64, bytes: usize) {
        let mut b = Batch::builder();
        let d = b.dataset(dataset);
        let p = b.provenance(Provenance::new("edge").sender("10.0.0.7:514").account("111122223333"));
        for i in 0..n {
            let mut raw = Vec::with_capacity(bytes);
            let mut block =
                model::sha256(&[dataset.as_bytes(), &i.to_le_bytes(), &self.vault.end_seq().to_le_bytes()]);
            while raw.len() < bytes {
                raw.extend_from_slice(&block);
                block = model::sha256(&[&block]);
            }
            raw.truncate(bytes);
            b.push(&raw, p, d).event_time = Time(START + i as i64);
        }
        b.position("src/1", "42");
        self.vault.append_blocking(b.finish()).unwrap();
    }

    pub fn beat(&self) {
        self.pass(Duration::from_secs(5));
        self.runtime.block_on(self.vault.checkpoint_now()).unwrap();
    }

    pub fn seal(&self) {
        self.runtime.block_on(self.vault.seal_now()).unwrap();
    }

    pub fn expire(&self) -> usize {
        let now = self.clock.now();
        self.runtime.block_on(self.vault.expire(now)).unwrap().segments.len()
    }

    /// A legal hold, or its release.
    pub fn hold(&self, dataset: &str, held: bool) {
        let hold =
            vault::format::leaf::Hold { id: "case-7".into(), held, why: "court order".into(), range: None };
        let hold = self.vault.hold(dataset.into(), hold, "alice".into(), vec!["bob".into()]);
        self.runtime.block_on(hold).unwrap();
    }
}

/// The vault that most tests start from: four sealed WALs with three datasets, one of which crosses midnight; a fifth that is
/// open, with heartbeats over most of it and a commit after the last.
fn build(dir: &Path, mode: Mode) {
    let open = Open::new(dir, mode, 0, |_| {});
    for round in 0..4u64 {
        for _ in 0..64 {
            open.beat();
        }
        open.append("syslog", 100, 60);
        open.append("aws.cloudtrail", 600, 300);
        open.append("short.flow", 50, 40);
        open.beat();
        if round == 2 {
            // Past midnight: two files of one dataset in one WAL.
            open.pass(Duration::from_secs(14 * 3600));
            open.beat();
            open.append("syslog", 40, 60);
        } else {
            open.append("syslog", 40, 60);
        }
        open.beat();
        open.seal();
        open.pass(Duration::from_secs(600));
        open.beat();
    }
    for _ in 0..10 {
        open.append("syslog", 20, 60);
        open.append("aws.cloudtrail", 20, 900);
        open.beat();
    }
    // Newer than the last heartbeat.
    open.append("syslog", 40, 60);
}

/// The folder of a built vault, made once per process.
fn original(mode: Mode) -> PathBuf {
    static BUILT: OnceLock<[Mutex<Option<Temp>>; 2]> = OnceLock::new();
    let built = BUILT.get_or_init(Default::default);
    let mut slot = built[mode as usize].lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let temp = slot.get_or_insert_with(|| {
        let temp = Temp::new();
        build(&temp.0.join("vault"), mode);
        temp
    });
    temp.0.clone()
}

/// A folder that goes with the value.
pub struct Temp(pub PathBuf);

impl Temp {
    pub fn new() -> Temp {
        static SWEPT: std::sync::Once = std::sync::Once::new();
        SWEPT.call_once(sweep);
        let path = std::env::temp_dir().join(format!("avouch-verify-{}-{}", std::process::id(), unique()));
        fs::create_dir_all(&path).unwrap();
        Temp(path)
    }
}

/// Removes what earlier runs left: the built vaults live until their process ends.
fn sweep() {
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|n| n.strip_prefix("avouch-verify-")?.split_once('-'));
        if pid.is_some_and(|(pid, _)| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            // The copy is sparse where the original is preallocated: only what was written is copied.
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

pub fn known(name: &str, bytes: &[u8]) -> KnownCheckpoint {
    KnownCheckpoint { name: name.into(), bytes: bytes.to_vec() }
}

/// A vault folder that a test may damage.
pub struct Copy {
    temp: Temp,
}

impl Copy {
    pub fn of(mode: Mode) -> Copy {
        Copy::from(&original(mode))
    }
    /// A copy of the data folder `folder`.
    pub fn from(folder: &Path) -> Copy {
        let temp = Temp::new();
        copy_tree(folder, &temp.0);
        Copy { temp }
    }
    /// An empty data folder in which the test builds itself.
    pub fn empty() -> Copy {
        Copy { temp: Temp::new() }
    }
    pub fn folder(&self) -> &Path {
        &self.temp.0
    }
    pub fn root(&self) -> PathBuf {
        self.temp.0.join("vault")
    }
    pub fn vkey(&self) -> Vkey {
        self.signer().vkey().clone()
    }
    pub fn signer(&self) -> vault::merkle::Signer {
        let seed = fs::read_to_string(self.temp.0.join("secret/log.key")).unwrap();
        let seed = vault::merkle::parse_hex(seed.trim()).unwrap();
        vault::merkle::Signer::new("log.example/vault-1", &seed).unwrap()
    }
    pub fn options(&self, level: &str) -> Options {
        Options {
            vkey: Some(self.vkey()),
            keys: Some(keys()),
            derive: Some(Arc::new(Words("user"))),
            level: match level {
                "log" => Level::Log,
                "files" => Level::Files,
                _ => Level::Events,
            },
            ..Options::default()
        }
    }
    pub fn verify(&self, level: &str) -> Report {
        self.verify_with(level, |_| {})
    }
    pub fn verify_with(&self, level: &str, change: impl FnOnce(&mut Options)) -> Report {
        let mut options = self.options(level);
        change(&mut options);
        verify(&self.root(), &options).unwrap()
    }
    pub fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.root().join(path)).unwrap()
    }
    pub fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    pub fn remove(&self, path: &str) {
        fs::remove_file(self.root().join(path)).unwrap();
    }

    /// Files of one kind, sorted.
    pub fn files(&self, kind: Kind) -> Vec<String> {
        let (folder, filter): (&str, fn(&str) -> bool) = match kind {
            Kind::Data => ("data", |_| true),
            Kind::Side => ("side", |_| true),
            Kind::Tile => ("log/tile", |p| !p.contains("/entries/")),
            Kind::Entries => ("log/tile/entries", |_| true),
            Kind::Checkpoint => ("log", |p| p == "log/checkpoint"),
            Kind::Kept => ("log/checkpoints", |_| true),
            Kind::Wal => ("wal", |_| true),
            Kind::Key => ("keys", |_| true),
        };
        let (mut out, mut open) = (Vec::new(), vec![folder.to_owned()]);
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(self.root().join(&folder)).unwrap() {
                let entry = entry.unwrap();
                let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
                if entry.file_type().unwrap().is_dir() {
                    open.push(path);
                } else if filter(&path) {
                    out.push(path);
                }
            }
        }
        out.sort();
        out
    }
    pub fn pick(&self, kind: Kind, dice: &mut Dice) -> String {
        let files = self.files(kind);
        files[dice.below(files.len() as u64) as usize].clone()
    }
    /// A data file of `dataset`: the first.
    pub fn data_of(&self, dataset: &str) -> String {
        let part = format!("dataset={dataset}/");
        self.files(Kind::Data).into_iter().find(|p| p.contains(&part)).unwrap()
    }
    /// Changes one byte and says which.
    pub fn flip(&self, path: &str, dice: &mut Dice) -> u64 {
        let mut bytes = self.read(path);
        let at = dice.below(bytes.len() as u64);
        bytes[at as usize] ^= 1 << dice.below(8);
        self.write(path, &bytes);
        at
    }
}
