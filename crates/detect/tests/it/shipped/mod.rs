//! The rules that ship with the product (`rules/`): they load, their own tests pass, they see recorded attacks, and they leave
//! ordinary work alone.

mod attacks;
mod hosts;
mod ordinary;
mod techniques;

use detect::sigma::rule::Head;
use detect::{Engine, Rules, Settings, run_tests};
use model::{Batch, Columns, EventId, Occurrence, Provenance, Time};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub fn folder() -> PathBuf {
    Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../../rules")
}

/// Every rule file as (path below `rules/`, text), sorted.
pub fn files() -> Vec<(String, String)> {
    fn walk(dir: &Path, out: &mut Vec<PathBuf>) {
        for e in std::fs::read_dir(dir).unwrap() {
            let p = e.unwrap().path();
            if p.is_dir() {
                walk(&p, out);
            } else if p.extension().is_some_and(|e| e == "yml") {
                out.push(p);
            }
        }
    }
    let (root, mut paths) = (folder(), Vec::new());
    walk(&root, &mut paths);
    paths.sort();
    let name = |p: &Path| p.strip_prefix(&root).unwrap().display().to_string();
    paths.iter().map(|p| (name(p), std::fs::read_to_string(p).unwrap())).collect()
}

pub fn rules() -> Rules {
    let (rules, refused) = Rules::load(files());
    assert!(refused.is_empty(), "{}", lines(&refused));
    rules
}

pub fn lines<T: std::fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|i| i.to_string()).collect::<Vec<_>>().join("\n")
}

pub fn heads(rules: &Rules) -> Vec<&Head> {
    rules.rules.iter().map(|r| &r.head).chain(rules.correlations.iter().map(|c| &c.head)).collect()
}

/// A batch of CloudTrail records, each at its own time.
pub fn trail(records: &[Value]) -> Batch {
    let mut b = Batch::builder();
    let (p, d) = (b.provenance(Provenance::new("trail")), b.dataset("aws.cloudtrail"));
    for (i, r) in records.iter().enumerate() {
        let row = b.push(r.to_string().as_bytes(), p, d);
        row.event_time =
            r["eventTime"].as_str().and_then(|t| Time::parse_rfc3339(t.as_bytes())).unwrap_or(Time::NONE);
        row.id = EventId::of(&[b"trail", &i.to_le_bytes()]);
    }
    b.finish()
}

/// Settled findings of the whole rule set.
pub fn findings(batch: &Batch, columns: Option<&Columns>) -> Vec<Occurrence> {
    let mut engine = Engine::new(rules(), Settings::default()).unwrap();
    let mut found = engine.events(batch, columns);
    found.extend(engine.end());
    found.retain(|o| o.is_settled);
    found
}

pub fn types(found: &[Occurrence]) -> BTreeSet<&str> {
    found.iter().map(|o| o.about.finding_type.as_str()).collect()
}

#[test]
fn every_rule_loads_and_passes_its_own_tests() {
    let rules = rules();
    let report = run_tests(&rules);
    let wrong = report.results.iter().filter(|r| !r.passed()).map(|r| {
        let want = if r.expected { "does not fire" } else { "fires" };
        format!("{}:{}: {} {want}: {}", r.file, r.line, r.rule, r.test)
    });
    let failed = report.failed.iter().map(|(rule, why)| format!("{rule}: {why}"));
    let untested = report.untested.iter().map(|r| format!("{r}: has no firing test, or no near miss"));
    let all: Vec<String> = wrong.chain(failed).chain(untested).collect();
    println!(
        "{} rules, {} correlations, {} tests",
        rules.rules.len(),
        rules.correlations.len(),
        report.results.len()
    );
    assert!(all.is_empty(), "{}", lines(all));
    assert!(rules.rules.len() >= 100 && rules.correlations.len() >= 20, "the set shrank");
    assert!(rules.lints.is_empty(), "{}", lines(&rules.lints));
}

/// A finding of a shipped rule says what it is, what it means and what to do; its name is the name of its file.
#[test]
fn every_rule_explains_itself() {
    let rules = rules();
    let mut names = BTreeSet::new();
    let mut ids = BTreeSet::new();
    let base: BTreeSet<usize> = rules.correlations.iter().flat_map(|c| c.rules.clone()).collect();
    let mut wrong = Vec::new();
    for (i, h) in heads(&rules).into_iter().enumerate() {
        let mut need = |ok: bool, what: &str| {
            if !ok {
                wrong.push(format!("{}: {what}", h.file));
            }
        };
        let stem = Path::new(&h.file).file_stem().unwrap().to_str().unwrap();
        let is_first = !h.name.contains('#');
        need(!is_first || (h.name == stem && h.alias.as_deref() == Some(stem)), "name is not the file's");
        need(names.insert(h.alias.clone()), "the name stands twice");
        need(!h.id.is_empty() && ids.insert(h.id.clone()), "the id is missing or stands twice");
        need(h.own.is_present && !h.own.needs.is_empty() && !h.own.why.is_empty(), "no `needs` or `why`");
        if h.own.is_signal {
            need(i < rules.rules.len() && base.contains(&i), "a signal that nothing counts");
            continue;
        }
        let form = h.own.finding_type.as_deref().and_then(|t| t.split_once(':')?.1.split_once('/'));
        need(
            form.is_some_and(|(a, b)| !a.is_empty() && !b.is_empty()),
            "type is not Purpose:Resource/Family",
        );
        need(!h.own.fix.is_empty() && !h.false_positives.is_empty(), "no `fix` or `false_positives`");
        need(h.own.budget.is_some() && !h.tags.is_empty(), "no `budget` or tags");
    }
    assert!(wrong.is_empty(), "{}", lines(wrong));
    let unrouted = Engine::new(rules, Settings::default()).unwrap().health().unrouted;
    assert!(unrouted.is_empty(), "{unrouted:?}");
}

/// Rules are about behaviour: none may know the simulator whose logs judge it, nor a tool by the name it gives itself.
#[test]
fn no_rule_knows_a_simulator() {
    for (file, text) in files() {
        let lower = text.to_ascii_lowercase();
        for word in ["stratus", "red-team", "redteam", "pacu", "cloudgoat", "malicious-", "backdoor"] {
            assert!(!lower.contains(word), "{file} says `{word}`");
        }
    }
    for r in &rules().rules {
        let agent = r.fields().iter().any(|p| p.as_str().eq_ignore_ascii_case("userAgent"));
        assert!(!agent, "{} asks for the user agent", r.head.name);
    }
}
