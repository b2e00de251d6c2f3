//! A folder of a test's own, gone when the test ends.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, process};

pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new() -> Scratch {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = env::temp_dir().join(format!("inventory-{}-{n}", process::id()));
        fs::create_dir_all(&dir).unwrap();
        Scratch(dir)
    }
    pub fn path(&self) -> &Path {
        &self.0
    }
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let file = self.0.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    /// A text without the folder's own name, which is another one in each run.
    pub fn told(&self, text: &str) -> String {
        text.replace(&*self.0.to_string_lossy(), "DIR")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The same text whether or not some other crate makes JSON objects keep their order.
pub fn sorted(value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::Object(map) => {
            let sorted: std::collections::BTreeMap<_, _> = map.iter().collect();
            let parts: Vec<String> =
                sorted.iter().map(|(k, v)| format!("{k:?}: {}", sorted_text(v))).collect();
            format!("{{{}}}", parts.join(", "))
        }
        other => sorted_text(other),
    }
}

fn sorted_text(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Array(list) => {
            format!("[{}]", list.iter().map(sorted).collect::<Vec<_>>().join(", "))
        }
        serde_json::Value::Object(_) => sorted(value),
        other => other.to_string(),
    }
}
