//! T7: generated files are fresh, every page under docs/ is linked from another, and relative links resolve.

use super::{Breach, Verdict, files, read, relative};
use crate::generate;
use anyhow::Result;
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

pub fn check(root: &Path) -> Result<Verdict> {
    let mut breaches = Vec::new();
    let mut linked: BTreeSet<PathBuf> = BTreeSet::new();
    let pages: Vec<PathBuf> = files(&root.join("docs"), &[".md"])?
        .into_iter()
        .chain(
            ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "SECURITY.md"]
                .iter()
                .map(|f| root.join(f))
                .filter(|p| p.is_file()),
        )
        .collect();
    for page in &pages {
        for (line, target) in links(&read(page)?) {
            let path =
                normal(&page.parent().unwrap_or(root).join(target.split('#').next().unwrap_or_default()));
            if !path.exists() {
                breaches.push(Breach {
                    rule: "T7",
                    place: format!("{}:{line}", relative(root, page)),
                    what: format!("link to `{target}` leads nowhere"),
                    way_out: "correct the path".into(),
                });
            }
            linked.insert(path);
        }
    }
    for page in pages.iter().filter(|p| p.starts_with(root.join("docs")) && !linked.contains(*p)) {
        breaches.push(Breach {
            rule: "T7",
            place: relative(root, page),
            what: "no other page links here".into(),
            way_out: "link it from docs/README.md or from the page it belongs to".into(),
        });
    }
    for (path, fresh) in generate::documents(root)? {
        let have = std::fs::read_to_string(root.join(&path)).unwrap_or_default();
        if have != fresh {
            breaches.push(Breach {
                rule: "T7",
                place: path,
                what: "generated file is stale".into(),
                way_out: "run `cargo xtask gen` and commit".into(),
            });
        }
    }
    Ok(Verdict {
        rule: "T7",
        proved: format!("{} pages, links resolve, generated files fresh", pages.len()),
        breaches,
    })
}

/// (line, target) of relative Markdown links outside code fences.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut out = Vec::new();
    let mut fenced = false;
    for (i, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        let mut rest = line;
        while let Some((_, after)) = rest.split_once("](") {
            let Some((target, tail)) = after.split_once(')') else { break };
            if !target.contains("://") && !target.starts_with('#') && !target.starts_with("mailto:") {
                out.push((i + 1, target.to_owned()));
            }
            rest = tail;
        }
    }
    out
}

fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for c in path.components() {
        match c {
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir => {}
            c => out.push(c),
        }
    }
    out
}
