//! What the tests share.

use crate::memory::{self, Memory};
use collect::{ApiKey, Keys, Running, SourceConfig};
use model::Time;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub const KEY: &str = "avouch_test_key";

#[track_caller]
pub fn start(name: &str, memory: &Arc<Memory>, config: serde_json::Value) -> Running {
    let config: SourceConfig = serde_json::from_value(config).unwrap();
    collect::start(name, &config, &memory::host(memory, Keys(vec![key("key-1", KEY)]))).unwrap()
}

pub fn key(id: &str, secret: &str) -> ApiKey {
    ApiKey {
        id: id.into(),
        sha256: model::sha256(&[secret.as_bytes()]),
        sources: Vec::new(),
        datasets: Vec::new(),
        peers: Vec::new(),
        rate: None,
        expires: Time::NONE,
        is_revoked: false,
    }
}

/// Waits for a condition that no notification tells of; fails after 20 s.
#[track_caller]
pub fn wait_until(condition: impl Fn() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !condition() {
            assert!(Instant::now() < deadline, "waited in vain at {caller}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// A folder that goes away with the test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static N: AtomicU32 = AtomicU32::new(0);
        let n = N.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("collect-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
    pub fn root(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn gzip(data: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut w = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    w.write_all(data).unwrap();
    w.finish().unwrap()
}

pub fn tls_file(name: &str) -> String {
    format!("file:{}/tests/data/tls/{name}", std::env::var("CARGO_MANIFEST_DIR").unwrap())
}
