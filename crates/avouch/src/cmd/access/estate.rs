//! Who outside can reach what, over an estate folder or a plan.

use super::unreadable;
use crate::answer::Answer;
use crate::files::read_text;
use crate::outsiders::{findings, id};
use crate::problem::Problem;
use access::estate::{Estate, Surroundings, world_of};
use access::eval::decide::{Blocker, decide};
use access::finding::Finding;
use access::services;
use access::world::Zone;
use clap::Args;
use model::FindingId;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Where the resources are described.
#[derive(Args, Clone, Debug)]
pub struct Source {
    /// Folder with one JSON file a resource; `avouch access collect-commands` prints a script that writes one
    #[arg(long, value_name = "DIR", conflicts_with = "plan", required_unless_present = "plan")]
    pub estate: Option<PathBuf>,
    /// What `terraform show -json` prints of a plan or a state
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
    /// Whom you trust beside your own account or organisation, JSON: `{"accounts": ["111122223333"]}`
    #[arg(long, value_name = "FILE")]
    pub zone: Option<PathBuf>,
}

/// An estate, and where each resource was described.
pub struct Loaded {
    pub estate: Estate,
    /// By ARN.
    pub files: BTreeMap<String, String>,
    /// What was taken for granted, for people.
    pub notes: Vec<String>,
}

pub fn told(problems: &inventory::Problems, what: &Path) -> Problem {
    let first = problems.problems.first();
    let more: Vec<String> = problems.problems.iter().skip(1).map(ToString::to_string).collect();
    let mut text = first.map(ToString::to_string).unwrap_or_else(|| what.display().to_string());
    if !more.is_empty() {
        text = format!("{text}\n{}", more.join("\n"));
    }
    if problems.more > 0 {
        text = format!("{text}\nand {} more", problems.more);
    }
    let code = first.map_or("access.estate", |p| p.code);
    Problem::new(code, text).hint(first.map(|p| p.hint.clone()).unwrap_or_default())
}

pub fn load(source: &Source) -> Result<Loaded, Problem> {
    let mut loaded = described(source)?;
    loaded.estate.zone = zone(source.zone.as_deref(), loaded.estate.organization.is_some())?;
    Ok(loaded)
}

/// What there is, without whom is trusted.
pub fn described(source: &Source) -> Result<Loaded, Problem> {
    let mut estate = Estate { as_of: crate::node::now(), ..Estate::default() };
    let (mut files, mut notes) = (BTreeMap::new(), Vec::new());
    if let Some(dir) = &source.estate {
        let folder = inventory::folder::read(dir).map_err(|e| told(&e, dir))?;
        for item in folder.resources {
            files.insert(item.resource.arn.clone(), item.file.display().to_string());
            estate.resources.push(item.resource);
        }
        estate.organization = folder.organization;
        estate.rcps = folder.rcps;
        estate.scps = folder.scps;
    }
    if let Some(path) = &source.plan {
        let text = read_text(path, super::subjects::PLAN_BYTES_MAX).map_err(|e| unreadable(path, &e))?;
        let file = path.display().to_string();
        let options =
            inventory::terraform::Options { account: None, region: None, captured_at: estate.as_of };
        let plan = inventory::terraform::plan(&file, text.as_bytes(), &options)
            .map_err(|e| told(&inventory::Problems::from(e), path))?;
        for planned in plan.resources {
            files.insert(planned.resource.arn.clone(), format!("{file}#{}", planned.address));
            estate.resources.push(planned.resource);
        }
        notes.extend(plan.notes);
        let passed: Vec<String> = plan.not_read.iter().map(|(kind, n)| format!("{kind} ({n})")).collect();
        if !passed.is_empty() {
            notes.push(format!("not read: {}", passed.join(", ")));
        }
    }
    Ok(Loaded { estate, files, notes })
}

/// The organisation where there is one, else the account of each resource; and whom a file adds.
fn zone(path: Option<&Path>, has_organization: bool) -> Result<Zone, Problem> {
    let Some(path) = path else { return Ok(Zone { organization: has_organization, ..Zone::default() }) };
    let text = read_text(path, crate::files::TEXT_BYTES_MAX).map_err(|e| unreadable(path, &e))?;
    serde_json::from_str(&text).map_err(|e| {
        Problem::new("access.zone", format!("`{}` is no zone of trust", path.display()))
            .because(&e)
            .hint(r#"write `{"organization": true, "accounts": ["111122223333"], "principals": [], "services": [], "federated": []}`"#)
    })
}

/// What an estate says to one request.
pub fn explained(source: &Source, request: &access::Request) -> Result<Answer, Problem> {
    let loaded = load(source)?;
    let around = Surroundings::of(&loaded.estate);
    let mut answer =
        Answer::new("avouch.access.explain/2").query(json!({"request": request, "estate": source.estate}));
    answer = answer.table(&["document", "statement", "effect", "line"]);
    let owner = loaded.estate.resources.iter().filter_map(|r| services::bundle(r, &around)).find(|bundle| {
        bundle.forms.iter().any(|f| {
            f.pattern == request.resource
                || f.pattern.strip_suffix('*').is_some_and(|before| request.resource.starts_with(before))
        })
    });
    let Some(bundle) = owner else {
        return Err(Problem::new(
            "access.no_resource",
            format!("nothing in the estate is `{}`", request.resource),
        )
        .hint(
            "the request names a resource by its ARN, as a witness of `avouch access external -o json` does",
        ));
    };
    let world = world_of(&loaded.estate, &bundle);
    let mut request = request.clone();
    world.complete(&mut request);
    let decision = decide(&bundle, &request);
    let mut row = |at: access::eval::decide::At, effect: &str| {
        let part = match at.level {
            None => bundle.parts.get(at.part),
            Some(level) => bundle.levels.get(level).and_then(|l| l.parts.get(at.part)),
        };
        let Some((part, statement)) = part.and_then(|p| Some((p, p.document.statements.get(at.statement)?)))
        else {
            return;
        };
        let (line, label) = (part.line(statement), super::label(statement));
        answer.item(
            json!({"document": part.name, "kind": part.kind.name(), "statement": at.statement, "sid": statement.sid, "effect": effect, "line": line}),
            vec![part.name.clone(), label, effect.to_owned(), line.to_string()],
        );
    };
    decision.allowing.iter().for_each(|at| row(*at, "Allow"));
    for blocker in &decision.blockers {
        if let Blocker::Denied(at) = blocker {
            row(*at, "Deny");
        }
    }
    for blocker in &decision.blockers {
        match blocker {
            Blocker::Denied(_) => {}
            Blocker::Level(level) => {
                answer.after.push(format!("level {} of what must allow as well does not", level + 1))
            }
            Blocker::Stop(stop) => answer.after.push(format!("{} takes the grant's effect away", stop.name)),
        }
    }
    if let Some(why) = world.objection(&request) {
        answer.after.push(format!("nobody can make this request: {why}"));
    }
    let verdict = if decision.is_allowed { "allowed" } else { "not allowed" };
    answer.after.push(format!(
        "{request}: {verdict} by {}; the caller's own policies are taken to allow",
        bundle.arn
    ));
    Ok(answer)
}

/// What changed between two estates, as findings.
pub fn diff(old: &Source, new: &Source) -> Result<Answer, Problem> {
    let by_id = |source: &Source| -> Result<BTreeMap<FindingId, Finding>, Problem> {
        let loaded = load(source)?;
        Ok(findings(&loaded.estate, &[]).0.into_iter().map(|f| (id(&f), f)).collect())
    };
    let (before, after) = (by_id(old)?, by_id(new)?);
    let mut answer = Answer::new("avouch.access.diff/1").query(json!({"old": old.estate, "new": new.estate}));
    answer = answer.table(&["change", "class", "resource", "who"]);
    let mut told = |change: &str, finding: &Finding| {
        answer.item(
            json!({"change": change, "id": id(finding).to_string(), "finding": finding}),
            vec![
                change.to_owned(),
                finding.rule.name().trim_start_matches("access.").to_owned(),
                finding.resource.clone(),
                finding.principal.value.clone(),
            ],
        );
    };
    for (id, finding) in &after {
        match before.get(id) {
            None => told("added", finding),
            Some(was) if was.actions != finding.actions => {
                let (old, new): (BTreeSet<_>, BTreeSet<_>) =
                    (was.actions.iter().collect(), finding.actions.iter().collect());
                told(
                    if old.is_subset(&new) {
                        "widened"
                    } else if new.is_subset(&old) {
                        "narrowed"
                    } else {
                        "changed"
                    },
                    finding,
                );
            }
            Some(_) => {}
        }
    }
    before.iter().filter(|(id, _)| !after.contains_key(id)).for_each(|(_, finding)| told("gone", finding));
    if answer.items.is_empty() {
        answer.after.push("no finding was added, went, or changed".to_owned());
    }
    Ok(answer)
}
