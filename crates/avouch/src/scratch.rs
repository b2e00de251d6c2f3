//! A data folder for tests: made under the system's folder for temporary files, removed at the end.

use crate::config;
use crate::node::Node;
use std::path::PathBuf;
use std::sync::Arc;

pub struct Scratch {
    pub data: PathBuf,
}

impl Scratch {
    /// `name` tells the tests of this binary apart.
    pub fn new(name: &str) -> Scratch {
        let data = std::env::temp_dir().join(format!("avouch-unit-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&data);
        std::fs::create_dir_all(&data).unwrap();
        Scratch { data }
    }

    /// Opens the node with this configuration; again after the one before was dropped, as a restart does.
    pub async fn open(&self, yaml: &str) -> Arc<Node> {
        let path = self.data.join("avouch.yaml");
        std::fs::write(&path, yaml).unwrap();
        let loaded = config::load(Some(&path), &[]).unwrap();
        Arc::new(Node::open(&self.data, loaded, false).await.unwrap())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.data);
    }
}
