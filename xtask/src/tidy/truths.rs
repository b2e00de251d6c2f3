//! T5: every truth that ARCHITECTURE.md lists as built is cited in code and in at least one test; no unknown id is cited; one
//! listed as not built is not claimed.

use super::{Breach, Verdict, between, files, read, relative};
use anyhow::Result;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const KNOWN: [&str; 12] = ["E1", "V1", "V2", "V3", "V4", "D1", "A1", "F1", "F2", "F3", "C1", "O1"];

pub fn check(root: &Path) -> Result<Verdict> {
    let text = read(&root.join("ARCHITECTURE.md"))?;
    let table = between(&text, "truths")?;
    let mut built = BTreeMap::new();
    for row in table.lines().filter(|l| l.starts_with("| ")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        if let (Some(id), Some(state)) = (cells.get(1), cells.get(2))
            && id.len() == 2
            && id.as_bytes().first().is_some_and(u8::is_ascii_uppercase)
        {
            built.insert((*id).to_owned(), *state == "built");
        }
    }
    let (mut in_code, mut in_tests) = (BTreeSet::new(), BTreeSet::new());
    let mut breaches = Vec::new();
    for file in
        files(&root.join("crates"), &[".rs"])?.into_iter().chain(files(&root.join("tests"), &[".rs"])?)
    {
        let text = read(&file)?;
        let whole_test = file.file_stem().is_some_and(|s| s == "tests")
            || file.components().any(|c| c.as_os_str() == "tests");
        let mut in_test = whole_test;
        for (i, line) in text.lines().enumerate() {
            in_test |= line.contains("#[cfg(test)]");
            let Some((_, comment)) = line.split_once("//") else { continue };
            for id in ids(comment) {
                if !KNOWN.contains(&id.as_str()) && !id.starts_with('O') {
                    continue;
                }
                if id == "O2" || KNOWN.contains(&id.as_str()) {
                    if in_test {
                        in_tests.insert(id)
                    } else {
                        in_code.insert(id)
                    };
                } else {
                    breaches.push(Breach {
                        rule: "T5",
                        place: format!("{}:{}", relative(root, &file), i + 1),
                        what: format!("`{id}` is no truth of the house"),
                        way_out: "cite one that ARCHITECTURE.md lists".into(),
                    });
                }
            }
        }
    }
    for (id, is_built) in &built {
        if *is_built && !in_code.contains(id) {
            breaches.push(missing(id, "code"));
        }
        if *is_built && !in_tests.contains(id) {
            breaches.push(missing(id, "a test"));
        }
    }
    for id in KNOWN.iter().filter(|k| !built.contains_key(**k)) {
        breaches.push(Breach {
            rule: "T5",
            place: "ARCHITECTURE.md".into(),
            what: format!("truth {id} has no row"),
            way_out: "add `| ID | built | where |` or `| ID | not yet | … |` between the `truths` marks"
                .into(),
        });
    }
    let n = built.values().filter(|b| **b).count();
    Ok(Verdict {
        rule: "T5",
        proved: format!("{n} truths built, each cited in code and in a test; {} not yet", built.len() - n),
        breaches,
    })
}

fn missing(id: &str, place: &str) -> Breach {
    Breach {
        rule: "T5",
        place: "ARCHITECTURE.md".into(),
        what: format!("{id} is listed as built but no {place} cites it"),
        way_out: format!("write `// {id}: …` where it is upheld, or list it as not yet"),
    }
}

/// Ids such as `V2` in a comment: a capital letter and a digit standing alone.
fn ids(comment: &str) -> Vec<String> {
    comment
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|w| {
            w.len() == 2
                && w.as_bytes().first().is_some_and(u8::is_ascii_uppercase)
                && w.as_bytes().get(1).is_some_and(u8::is_ascii_digit)
        })
        .filter(|w| "EVDAFCO".contains(w.chars().next().unwrap_or(' ')))
        .map(str::to_owned)
        .collect()
}
