//! An edit of the policy that closes a finding, checked before it is shown (access.md 11). Made on demand: it costs an analysis of the
//! resource for each way that is tried.
//!
//! Three things must hold of an edit. It grants nothing new: what the edited document allows, the document allowed ([`implies`]). The
//! finding is gone when the resource is analysed again with it. And nothing else appears, but for what was there all along: a
//! grant of another statement that the wider one covered, and the one tenant that the edit names. Both are said.
//!
//! The resource is asked, not its bundle alone: some settings follow from the policy (RestrictPublicBuckets bites only while AWS calls
//! the policy public), so an edit of one statement can open another.
//!
//! Rejected: a search for the smallest edit of any kind. It finds edits that nobody would make, such as a condition on a request
//! header. The ways in [`ways`] are the ones that AWS's own documentation recommends, in the order of what they leave intact.

mod apply;
mod commands;
mod edits;
mod print;
mod ways;

use super::{Analysis, external};
use crate::bundle::{Bundle, Kind, Part};
use crate::estate::{Surroundings, analyse_one, world_of};
use crate::finding::{Finding, Recommendation, Rule};
use crate::json::{self, Node};
use crate::policy::{Document, Duplicates, Level, parse};
use crate::services;
use crate::symbolic::{Verdict, implies};
use crate::world::World;
pub use apply::{Operation, PatchError, apply};
use edits::Site;
use model::Resource;
use serde::Serialize;
use std::collections::BTreeSet;
use ways::{Way, ways};

/// An edit that was checked.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Patch {
    /// Name of the document among those of the resource.
    pub document: String,
    /// Pointers are those of the document as it was read.
    pub operations: Vec<Operation>,
    pub text: String,
    /// The statements before and after, printed alike, as unified diffs.
    pub diff: String,
    /// The whole document with the edit.
    pub patched: String,
    /// What others can do afterwards and could do before, but this finding covered: class and principal.
    pub leaves: Vec<(Rule, String)>,
}

/// What to do about a finding: the checked edit of [`patch`] where there is one; else words, with the command where there is one.
#[must_use]
pub fn recommend(resource: &Resource, finding: &Finding, patch: Option<&Patch>) -> Recommendation {
    let command = commands::command(resource, finding);
    if let Some(patch) = patch {
        let left: Vec<String> =
            patch.leaves.iter().map(|(rule, who)| format!("{} for `{who}`", rule.name())).collect();
        let left = if left.is_empty() { String::new() } else { format!(" It leaves {}.", left.join(", ")) };
        // Whose policy cannot be put as a whole.
        let command =
            command.map(|c| format!(" Its statements are removed one by one: {c}")).unwrap_or_default();
        let text = format!("{}{left}{command}", patch.text);
        return Recommendation { text, patch: serde_json::to_value(&patch.operations).ok() };
    }
    let mut out = finding.recommendation.clone();
    if let Some(command) = command {
        out.text = format!("{} Command: {command}", out.text);
    }
    out
}

/// The first way that closes a finding and nothing else; `None` where there is none, or where no policy of the resource makes it.
#[must_use]
pub fn patch(around: &Surroundings<'_>, resource: &Resource, finding: &Finding) -> Option<Patch> {
    first_of(around, resource, finding, ways)
}

/// Ways to close a finding of a bundle.
type Ways = for<'t> fn(&'t Bundle, &'t World<'_>, &'t Finding) -> Vec<Way<'t>>;

fn first_of(around: &Surroundings<'_>, resource: &Resource, finding: &Finding, ways: Ways) -> Option<Patch> {
    let bundle = services::bundle(resource, around)?;
    let estate = around.estate;
    let world = world_of(estate, &bundle);
    let part = part_of(&bundle, finding)?;
    // What stands twice has no place that a pointer could name.
    let original = parse(&part.document.text, Duplicates::LastWins).ok().filter(|d| d.touches.is_empty())?;
    let tree = json::read(&original.text).ok()?;
    let before = external(&bundle, &world, &estate.zone);
    before.findings.iter().find(|f| is_same(f, finding))?;
    let touched: BTreeSet<usize> = finding.sources.iter().map(|s| s.statement).collect();
    let case = Case { around, resource, finding, part, original, tree, before, touched };
    let sites = case.sites()?;
    ways(&bundle, &world, finding).iter().find_map(|way| case.checked(way, &sites))
}

/// The one policy of the resource that makes a finding.
fn part_of<'b>(bundle: &'b Bundle, finding: &Finding) -> Option<&'b Part> {
    let first = finding.sources.first()?;
    let part = bundle.parts.iter().find(|p| p.name == first.document)?;
    let is_here = |kind: Kind| matches!(kind, Kind::Policy | Kind::AccessPoint);
    let is_one = finding.sources.iter().all(|s| s.document == part.name && s.kind == part.kind.name());
    (is_here(part.kind) && is_one && bundle.doubt.is_none()).then_some(part)
}

/// Two findings about the same: class, principal, conditions.
fn is_same(a: &Finding, b: &Finding) -> bool {
    a.rule == b.rule && is_about(a, b)
}

fn is_about(a: &Finding, b: &Finding) -> bool {
    let who = |f: &Finding| (f.principal.kind.clone(), f.principal.value.clone());
    who(a) == who(b) && a.condition == b.condition
}

/// A finding with all that its edits are checked against.
struct Case<'c> {
    around: &'c Surroundings<'c>,
    resource: &'c Resource,
    finding: &'c Finding,
    part: &'c Part,
    /// The document as it was read: what settings say is not filled in.
    original: Document,
    tree: Node,
    before: Analysis,
    /// Statements that make the finding.
    touched: BTreeSet<usize>,
}

impl Case<'_> {
    /// The statements that make the finding, the last first: an edit of one leaves the places of those before it.
    fn sites(&self) -> Option<Vec<Site<'_>>> {
        let root = edits::members(&self.tree).iter().find(|m| m.key == "Statement").map(|m| &m.value)?;
        let site = |index: &usize| {
            let statement = self.original.statements.iter().find(|s| s.index == *index)?;
            let (at, list, node) = match &root.value {
                json::Value::Array(all) => {
                    (format!("/Statement/{index}"), Some("/Statement".to_owned()), all.get(*index)?)
                }
                _ => ("/Statement".to_owned(), None, root),
            };
            Some(Site { at, list, node, statement })
        };
        self.touched.iter().rev().map(site).collect()
    }

    /// A way as a patch, if all that must hold of it does.
    fn checked(&self, way: &Way<'_>, sites: &[Site<'_>]) -> Option<Patch> {
        let operations: Vec<Operation> =
            sites.iter().map(|s| (way.edit)(s)).collect::<Option<Vec<_>>>()?.into_iter().flatten().collect();
        let tree = apply(&self.tree, &operations).ok()?;
        let patched = print::pretty(&tree);
        let document = parse(&patched, Duplicates::LastWins).ok()?;
        let errors = |d: &Document| d.problems.iter().filter(|p| p.level == Level::Error).count();
        if document.statements.is_empty() || errors(&document) > errors(&self.original) {
            return None;
        }
        if implies(&document, &self.original) != Verdict::Holds {
            return None;
        }
        let resource = with_policy(self.resource, self.part, &patched)?;
        let after = analyse_one(self.around, &resource)?;
        let leaves = self.leaves(way, &after)?;
        let diff = self.diff(way, &tree);
        let text = format!("In {} {}.", self.place(), way.text);
        Some(Patch { document: self.part.name.clone(), operations, text, diff, patched, leaves })
    }

    /// What is there after an edit and was not before; `None` if the finding is still there, or if something may not be there.
    fn leaves(&self, way: &Way<'_>, after: &Analysis) -> Option<Vec<(Rule, String)>> {
        let was_there = |f: &Finding| {
            let others = self.before.findings.iter().filter(|b| !is_same(b, self.finding));
            others.into_iter().any(|b| is_about(b, f) && b.rule <= f.rule)
        };
        let mut out = Vec::new();
        for new in after.findings.iter().filter(|f| !was_there(f)) {
            let is_lesser = new.rule > self.finding.rule && new.rule != Rule::Unknown;
            let is_tenant = way.names_tenant && new.rule == Rule::Federated;
            if !is_lesser || is_about(new, self.finding) || !(is_tenant || self.is_of_others(way, new)) {
                return None;
            }
            out.push((new.rule, new.principal.value.clone()));
        }
        Some(out)
    }

    /// Whether a finding after an edit comes from statements that the edit leaves as they are.
    fn is_of_others(&self, way: &Way<'_>, finding: &Finding) -> bool {
        let mut kept: Vec<usize> = self.original.statements.iter().map(|s| s.index).collect();
        if way.removes {
            kept.retain(|index| !self.touched.contains(index));
        }
        finding.sources.iter().all(|s| {
            // What the edit adds stands behind all others.
            let was = kept.get(s.statement);
            s.document != self.part.name || was.is_some_and(|index| !self.touched.contains(index))
        })
    }

    fn place(&self) -> String {
        let name = |index: &usize| {
            let of = self.original.statements.iter().find(|s| s.index == *index);
            of.and_then(|s| s.sid.as_ref()).map_or_else(|| index.to_string(), |sid| format!("`{sid}`"))
        };
        let names: Vec<String> = self.touched.iter().map(name).collect();
        let what = if names.len() == 1 { "statement" } else { "statements" };
        format!("{what} {} of {}", names.join(", "), self.part.name)
    }

    fn diff(&self, way: &Way<'_>, tree: &Node) -> String {
        let all = |tree: &Node| -> Vec<Node> {
            let of = edits::members(tree).iter().find(|m| m.key == "Statement").map(|m| &m.value);
            match of.map(|node| (&node.value, node)) {
                Some((json::Value::Array(items), _)) => items.clone(),
                Some((_, node)) => vec![node.clone()],
                None => Vec::new(),
            }
        };
        let (before, after) = (all(&self.tree), all(tree));
        let name = |index: usize| format!("{} statement {index}", self.part.name);
        let mut out = String::new();
        for index in &self.touched {
            let old = before.get(*index).map(print::pretty);
            let new = after.get(*index).filter(|_| !way.removes).map(print::pretty);
            out += &print::unified(&name(*index), old.as_deref(), new.as_deref());
        }
        for (index, new) in after.iter().enumerate().skip(before.len()) {
            out += &print::unified(&name(index), None, Some(&print::pretty(new)));
        }
        out
    }
}

/// The resource with another text for one of its policies.
fn with_policy(resource: &Resource, part: &Part, text: &str) -> Option<Resource> {
    let mut out = resource.clone();
    let operation = part.name.split('/').next()?;
    let answer = out.config.get_mut(operation)?;
    replace(answer, &part.document.text, text).then_some(out)
}

/// Puts a text in the place of a policy: of a text that reads like that, or of an object that prints like that.
fn replace(at: &mut serde_json::Value, old: &str, new: &str) -> bool {
    let is_it = match at {
        serde_json::Value::String(text) => {
            text == old || parse(text, Duplicates::LastWins).is_ok_and(|d| d.text == old)
        }
        serde_json::Value::Object(_) => serde_json::to_string_pretty(at).is_ok_and(|text| text == old),
        _ => false,
    };
    if is_it {
        *at = serde_json::Value::String(new.to_owned());
        return true;
    }
    match at {
        serde_json::Value::Object(members) => members.values_mut().any(|v| replace(v, old, new)),
        serde_json::Value::Array(items) => items.iter_mut().any(|v| replace(v, old, new)),
        _ => false,
    }
}

/// A tree as a value; `None` for what serde_json does not read, as numbers with leading zeros.
fn value_of(node: &Node) -> Option<serde_json::Value> {
    serde_json::from_str(&print::pretty(node)).ok()
}

#[cfg(test)]
mod tests {
    use super::ways::way;
    use super::*;
    use crate::estate::Estate;
    use serde_json::json;

    /// What comes of ways that nobody would recommend, for a bucket that a foreign account reads.
    fn tried(ways: Ways) -> Option<Patch> {
        let statement = json!({"Effect": "Allow", "Principal": {"AWS": "999988887777"}, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"});
        let text = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
        let mut resource = services::resource_of("AWS::S3::Bucket", &text, "111122223333", None)
            .expect("a bucket has a policy");
        resource.arn = "arn:aws:s3:::b".to_owned();
        let estate = Estate { resources: vec![resource.clone()], ..Estate::default() };
        let around = Surroundings::of(&estate);
        let finding =
            analyse_one(&around, &resource)?.findings.into_iter().find(|f| f.rule == Rule::Account)?;
        first_of(&around, &resource, &finding, ways)
    }

    fn renamed(s: &Site<'_>) -> Option<Vec<Operation>> {
        Some(vec![Operation::Add { path: format!("{}/Sid", s.at), value: json!("x") }])
    }

    fn nowhere(s: &Site<'_>) -> Option<Vec<Operation>> {
        Some(vec![Operation::Remove { path: format!("{}/Sid", s.at) }])
    }

    /// An edit that closes the finding and lets others in, one that leaves it, one that applies nowhere, one that leaves no policy.
    #[test]
    fn what_fails_a_check_is_not_shown() {
        assert_eq!(tried(|_, _, _| vec![way("", |s| s.for_account("111122223333"))]), None);
        assert_eq!(tried(|_, _, _| vec![way("", renamed)]), None);
        assert_eq!(tried(|_, _, _| vec![way("", nowhere)]), None);
        assert_eq!(tried(|_, _, _| vec![way("", |s| s.removed())]), None);
        let first =
            tried(|_, _, _| vec![way("a", |s| s.for_account("111122223333")), way("b", |s| s.forbid())]);
        assert_eq!(first.map(|p| p.text), Some("In statement 0 of GetBucketPolicy b.".to_owned()));
    }
}
