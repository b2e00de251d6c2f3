//! Rules that bind (`style.md` 8). Each prints what it proved, or file, line, reason and the way out.

mod crates;
mod data;
mod docs;
mod style;
mod truths;

use anyhow::{Context, Result, anyhow};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// One broken rule.
pub struct Breach {
    pub rule: &'static str,
    /// `file:line`, or the file or folder.
    pub place: String,
    pub what: String,
    pub way_out: String,
}

/// What one rule answered: a line on what it proved, and its breaches.
pub struct Verdict {
    pub rule: &'static str,
    pub proved: String,
    pub breaches: Vec<Breach>,
}

pub fn run(root: &Path, todo: bool) -> Result<ExitCode> {
    if todo {
        for line in style::marks(root)? {
            println!("{line}");
        }
        return Ok(ExitCode::SUCCESS);
    }
    let breaches = check(root, true)?;
    for b in &breaches {
        eprintln!("{} {}: {}\n    way out: {}", b.rule, b.place, b.what, b.way_out);
    }
    if breaches.is_empty() {
        println!("tidy: all rules hold");
        Ok(ExitCode::SUCCESS)
    } else {
        eprintln!("tidy: {} breach(es)", breaches.len());
        Ok(ExitCode::FAILURE)
    }
}

/// All rules over the workspace at `root`.
pub fn check(root: &Path, talk: bool) -> Result<Vec<Breach>> {
    let graph = crates::Graph::read(root)?;
    let verdicts = vec![
        crates::table(root, &graph)?,
        crates::edges(root, &graph)?,
        crates::forbidden(&graph),
        crates::paths(root)?,
        crates::pure(root)?,
        truths::check(root)?,
        data::check(root)?,
        docs::check(root)?,
        style::web(root)?,
        style::exceptions(root)?,
        crates::dependencies(root, &graph)?,
    ];
    let mut all = Vec::new();
    for v in verdicts {
        if talk {
            println!("{:4} {}{}", v.rule, v.proved, if v.breaches.is_empty() { "" } else { "  BROKEN" });
        }
        all.extend(v.breaches);
    }
    Ok(all)
}

/// Files below `dir` with one of the endings, sorted; hidden folders and build output are left out.
pub fn files(dir: &Path, endings: &[&str]) -> Result<Vec<PathBuf>> {
    let mut out = Vec::new();
    let mut open = vec![dir.to_path_buf()];
    while let Some(d) = open.pop() {
        if !d.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&d).with_context(|| format!("cannot list {}", d.display()))? {
            let path = entry?.path();
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            if path.is_dir() {
                if !name.starts_with('.') && name != "target" {
                    open.push(path);
                }
            } else if endings.iter().any(|e| name.ends_with(e)) {
                out.push(path);
            }
        }
    }
    out.sort();
    Ok(out)
}

pub fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

pub fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

/// Lines between `<!-- NAME -->` and `<!-- /NAME -->`.
pub fn between(text: &str, name: &str) -> Result<String> {
    let (open, close) = (format!("<!-- {name} -->"), format!("<!-- /{name} -->"));
    let rest = text.split_once(&open).ok_or_else(|| anyhow!("no `{open}`"))?.1;
    Ok(rest.split_once(&close).ok_or_else(|| anyhow!("no `{close}`"))?.0.trim().to_owned())
}
