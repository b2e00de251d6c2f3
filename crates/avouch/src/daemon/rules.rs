//! The detection rules in force: those in the binary, then those that the configuration names.

use crate::config::Config;
use crate::files;
use crate::problem::Problem;
use detect::{Engine, Refusal, Rules, Settings};
use std::path::Path;

include!(concat!(env!("OUT_DIR"), "/shipped_rules.rs"));

/// Texts of all rules, for the engine, `rule list` and `rule explain`.
pub struct RuleBook {
    pub files: Vec<(String, String)>,
    pub refused: Vec<Refusal>,
}

/// One row of the reference page.
pub struct Row {
    pub name: String,
    pub title: String,
    pub finding_type: String,
    pub severity: String,
    pub why: String,
    pub needs: Vec<String>,
    pub file: String,
}

pub fn load(config: &Config) -> Result<RuleBook, Problem> {
    let mut files: Vec<(String, String)> =
        SHIPPED.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned())).collect();
    for path in &config.rules.paths {
        files.extend(read(path)?);
    }
    let disabled: Vec<String> = config.rules.disabled.keys().cloned().collect();
    files.retain(|(name, _)| !disabled.iter().any(|d| stem(name) == d));
    let (_, refused) = rules(&files);
    Ok(RuleBook { files, refused })
}

/// Sigma files below a path, by name.
pub fn read(path: &Path) -> Result<Vec<(String, String)>, Problem> {
    let bad = |e: &std::io::Error| {
        Problem::new("rule.unreadable", format!("cannot read rules from `{}`", path.display()))
            .because(e)
            .hint("name a Sigma file or a folder of them")
    };
    let mut out = Vec::new();
    let mut open = vec![path.to_path_buf()];
    while let Some(at) = open.pop() {
        let meta = std::fs::metadata(&at).map_err(|e| bad(&e))?;
        if meta.is_dir() {
            for entry in std::fs::read_dir(&at).map_err(|e| bad(&e))? {
                open.push(entry.map_err(|e| bad(&e))?.path());
            }
        } else if at.extension().is_some_and(|e| e == "yml" || e == "yaml") {
            let bytes = files::read(&at, files::RULES_BYTES_MAX).map_err(|e| bad(&e))?;
            out.push((at.display().to_string(), String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
    out.sort();
    Ok(out)
}

pub fn rules(files: &[(String, String)]) -> (Rules, Vec<Refusal>) {
    Rules::load(files.iter().map(|(n, t)| (n.as_str(), t.as_str())))
}

impl RuleBook {
    /// # Errors
    /// The rules together exceed a limit of the engine.
    pub fn engine(&self) -> Result<Engine, Problem> {
        Engine::new(rules(&self.files).0, Settings::default()).map_err(|e| {
            Problem::new("rule.limit", e.to_string())
                .hint("load fewer rules: `rules.paths` in the configuration")
        })
    }
}

fn stem(name: &str) -> &str {
    let base = name.rsplit('/').next().unwrap_or(name);
    base.strip_suffix(".yml").or_else(|| base.strip_suffix(".yaml")).unwrap_or(base)
}

/// Rules of a set as rows, by name.
pub fn rows(rules: &Rules) -> Vec<Row> {
    let mut out: Vec<Row> = rules
        .rules
        .iter()
        .map(|r| &r.head)
        .chain(rules.correlations.iter().map(|c| &c.head))
        .map(|h| Row {
            name: h.name.clone(),
            title: h.title.clone(),
            finding_type: h.own.finding_type.clone().unwrap_or_default(),
            severity: h.severity.to_string(),
            why: h.own.why.clone(),
            needs: h.own.needs.clone(),
            file: h.file.clone(),
        })
        .collect();
    out.sort_by(|a, b| a.name.cmp(&b.name));
    out
}

/// Rules by name with how many of their own tests fire: what a control may name and take a sample of.
pub fn firing_tests(files: &[(String, String)]) -> std::collections::BTreeMap<String, usize> {
    let (rules, _) = rules(files);
    let heads = rules.rules.iter().map(|r| &r.head).chain(rules.correlations.iter().map(|c| &c.head));
    heads.map(|h| (h.name.clone(), h.tests.iter().filter(|t| t.fires).count())).collect()
}

/// The shipped rules, for the reference page.
pub fn shipped() -> (Vec<Row>, Vec<String>) {
    let files: Vec<(String, String)> =
        SHIPPED.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned())).collect();
    let (rules, refused) = rules(&files);
    (rows(&rules), refused.iter().map(|r| format!("{}:{}: {}", r.file, r.line, r.reason)).collect())
}
