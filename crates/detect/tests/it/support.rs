//! What the tests share.

use std::path::PathBuf;

/// The folder of test data that nobody here wrote; `None`, with a line that says so, when it is not there.
pub fn shared(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("AVOUCH_SHARED").map_or_else(
        || PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../../../shared/data"),
        PathBuf::from,
    );
    if folder.join("README.md").is_file() {
        return Some(folder);
    }
    println!("skipped: {test}: ../shared/data missing");
    None
}

/// Every rule file of the public corpus as (path, text), sorted by path.
pub fn corpus(root: &std::path::Path) -> Vec<(String, String)> {
    fn walk(dir: &std::path::Path, out: &mut Vec<PathBuf>) {
        for e in std::fs::read_dir(dir).unwrap() {
            let p = e.unwrap().path();
            if p.is_dir() {
                walk(&p, out);
            } else if p.extension().is_some_and(|e| e == "yml") {
                out.push(p);
            }
        }
    }
    let mut files = Vec::new();
    walk(&root.join("sigma/rules"), &mut files);
    files.sort();
    files
        .into_iter()
        .map(|p| (p.strip_prefix(root).unwrap().display().to_string(), std::fs::read_to_string(&p).unwrap()))
        .collect()
}

/// Logs of the shared folder as JSON texts: recorded attacks and the logs of a public rule set's tests.
pub fn logs(root: &std::path::Path) -> Vec<String> {
    let mut out = Vec::new();
    let mut files: Vec<PathBuf> = std::fs::read_dir(root.join("cloudtrail-attacks"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "json"))
        .collect();
    files.sort();
    for f in files {
        let text = std::fs::read_to_string(f).unwrap();
        let records: Vec<Box<serde_json::value::RawValue>> = serde_json::from_str(&text).unwrap();
        out.extend(records.iter().map(|r| r.get().to_owned()));
    }
    #[derive(serde::Deserialize)]
    struct Test<'a> {
        #[serde(borrow)]
        log: &'a serde_json::value::RawValue,
    }
    for line in std::fs::read_to_string(root.join("rule-tests/tests.jsonl")).unwrap().lines() {
        let t: Test<'_> = serde_json::from_str(line).unwrap();
        out.push(t.log.get().to_owned());
    }
    out
}

/// A batch of one dataset from texts.
pub fn batch<T: AsRef<[u8]>>(dataset: &str, events: impl IntoIterator<Item = T>) -> model::Batch {
    let mut b = model::Batch::builder();
    let (p, d) = (b.provenance(model::Provenance::new("test")), b.dataset(dataset));
    for e in events {
        b.push(e.as_ref(), p, d);
    }
    b.finish()
}
