//! T6: rules and controls: ids unique, file name = id, each rule carries a case that fires and one that does not.

use super::{Breach, Verdict, files, read, relative};
use anyhow::Result;
use std::collections::BTreeMap;
use std::path::Path;

pub fn check(root: &Path) -> Result<Verdict> {
    let mut breaches = Vec::new();
    let mut ids: BTreeMap<String, String> = BTreeMap::new();
    let rules = files(&root.join("rules"), &[".yml"])?;
    for file in &rules {
        let text = read(file)?;
        let place = relative(root, file);
        let stem = file.file_stem().and_then(|s| s.to_str()).unwrap_or_default().to_owned();
        let mut breach = |what: String, way_out: &str| {
            breaches.push(Breach { rule: "T6", place: place.clone(), what, way_out: way_out.into() });
        };
        match top_level(&text, "id") {
            Some(id) => {
                if let Some(other) = ids.insert(id.clone(), place.clone()) {
                    breach(format!("id {id} stands in {other} as well"), "give the newer rule a fresh UUID");
                }
            }
            None => breach("no id".into(), "add `id: <uuid>`"),
        }
        if top_level(&text, "name").is_none_or(|n| n != stem) {
            breach(format!("`name` must be the file name `{stem}`"), "rename one of the two");
        }
        if !text.contains("fires: true") || !text.contains("fires: false") {
            breach("needs a test that fires and a near miss that does not".into(), "add both under `tests:`");
        }
    }
    let mut controls = 0;
    let mut control_ids: BTreeMap<String, String> = BTreeMap::new();
    for file in files(&root.join("controls"), &[".yaml"])? {
        let place = relative(root, &file);
        for line in read(&file)?.lines().filter(|l| l.starts_with("- id:") || l.starts_with("  - id:")) {
            if line.contains("needs") || place.ends_with("needs.yaml") || place.ends_with("coverage.yaml") {
                continue;
            }
            controls += 1;
            let id = line.split_once("id:").map(|(_, i)| i.trim().to_owned()).unwrap_or_default();
            if let Some(other) = control_ids.insert(id.clone(), place.clone()) {
                breaches.push(Breach {
                    rule: "T6",
                    place: place.clone(),
                    what: format!("control {id} stands in {other} as well"),
                    way_out: "ids are unique over all packs and stable for ever".into(),
                });
            }
        }
    }
    Ok(Verdict {
        rule: "T6",
        proved: format!("{} rules and {controls} controls, ids unique, tests inside", rules.len()),
        breaches,
    })
}

fn top_level(text: &str, key: &str) -> Option<String> {
    text.lines()
        .find_map(|l| l.strip_prefix(key)?.strip_prefix(':').map(|v| v.trim().trim_matches('"').to_owned()))
}
