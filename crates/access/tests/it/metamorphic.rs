//! Findings under changes of the documents whose effect is known (access.md 20). What findings cover is compared as a set of requests:
//! their summaries without their residues.

use crate::external::FOREIGN;
use crate::generate::Dice;
use crate::outside::{Kind, estate, more, policy_text, rcp, set_policy};
use crate::outsiders::{Case, bundle_of};
use crate::properties::residue;
use crate::run::{Run, setting};
use access::Request;
use access::bundle::Bundle;
use access::estate::Estate;
use access::eval::{Doubt, outcome};
use access::finding::{Finding, Rule};
use access::policy::Document;
use serde_json::{Value, json};

/// Requests that each change is judged by.
const SAMPLE: usize = 600;

/// What an estate's findings cover.
struct Covered<'c, 'e> {
    case: &'c Case<'e>,
    /// By open finding.
    residues: Vec<Vec<Document>>,
}

impl<'c, 'e> Covered<'c, 'e> {
    fn of(case: &'c Case<'e>) -> Covered<'c, 'e> {
        let of = |at: usize| residue(&case.analysis.findings[at]).0;
        Covered { case, residues: case.open.iter().map(|c| of(c.at)).collect() }
    }

    fn has(&self, request: &Request) -> bool {
        let is_excepted =
            |of: &Vec<Document>| of.iter().any(|d| outcome(d, request, Doubt::Allows).is_allowed());
        self.case
            .open
            .iter()
            .zip(&self.residues)
            .any(|(covering, residue)| self.case.covers(covering, request) && !is_excepted(residue))
    }
}

/// How what is covered after a change stands to what was before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Change {
    MoreAllow,
    MoreDeny,
    Rcp,
    TrustedAccount,
    /// An Allow of some actions is an Allow of all, and a Deny of all others.
    Complement,
}

const CHANGES: [Change; 5] =
    [Change::MoreAllow, Change::MoreDeny, Change::Rcp, Change::TrustedAccount, Change::Complement];

/// The estate with a change; `None` where it means nothing there.
fn changed(dice: &mut Dice, kind: Kind, estate: &Estate, change: Change) -> Option<Estate> {
    let mut out = estate.clone();
    let mut policy: Value = serde_json::from_str(&policy_text(&estate.resources[0], kind)).unwrap();
    let all = policy["Statement"].as_array_mut().unwrap();
    match change {
        Change::MoreAllow => all.push(more(dice, kind, "Allow")),
        Change::MoreDeny => all.push(more(dice, kind, "Deny")),
        Change::Rcp => {
            out.organization.as_ref()?;
            out.rcps.push(rcp(dice, kind));
            if let [_, second] = out.rcps.as_mut_slice() {
                second.id = "p-2".to_owned();
            }
        }
        Change::TrustedAccount => drop(out.zone.accounts.insert(FOREIGN.to_owned())),
        Change::Complement => {
            let allows = all.iter().filter(|s| s["Effect"] == "Allow").count();
            let at = all.iter().position(|s| s["Effect"] == "Allow" && s.get("Action").is_some())?;
            // Grants that stand elsewhere would be denied as well.
            let config = &estate.resources[0].config;
            let elsewhere = [("GetBucketAcl", "/Grants"), ("ListGrants", "/Grants")]
                .iter()
                .filter_map(|(operation, pointer)| config.get(*operation)?.pointer(pointer)?.as_array())
                .any(|grants| !grants.is_empty());
            if allows != 1 || elsewhere {
                return None;
            }
            let actions = all[at]["Action"].take();
            all[at]["Action"] = json!("*");
            let mut deny = json!({"Effect": "Deny", "Principal": "*", "NotAction": actions, "Resource": "*"});
            if all[at].get("Resource").is_none() && all[at].get("NotResource").is_none() {
                deny.as_object_mut().unwrap().remove("Resource");
            }
            all.push(deny);
        }
    }
    set_policy(&mut out.resources[0], kind, &policy.to_string());
    Some(out)
}

/// `AVOUCH_POLICIES` random resources, each under every change.
#[test]
fn what_is_covered_grows_and_shrinks() {
    let policies = setting("AVOUCH_POLICIES", 240);
    let mut run = Run::new("changes", 29);
    let mut dice = Dice::new(run.seed);
    let (mut made, mut grown) = ([0u64; 5], [0u64; 5]);
    while run.policies < policies {
        let kind = Kind::ALL[run.policies as usize % 4];
        let before = estate(&mut dice, kind);
        run.policies += 1;
        for change in CHANGES {
            let Some(after) = changed(&mut dice, kind, &before, change) else { continue };
            let bundles = (bundle_of(&before), bundle_of(&after));
            // A grant that makes a policy public by AWS's rule takes others away, where a switch says so.
            let is_restricted = |b: &Bundle| b.parts.iter().any(|p| p.name == "RestrictPublicBuckets");
            if change == Change::MoreAllow && is_restricted(&bundles.1) && !is_restricted(&bundles.0) {
                continue;
            }
            let (one, two) = (Case::of(&before, &bundles.0), Case::of(&after, &bundles.1));
            let (old, new) = (Covered::of(&one), Covered::of(&two));
            made[change as usize] += 1;
            let mut shown: Option<Request> = None;
            let mut is_other = false;
            // Texts of the longer documents, and who is no outsider any more.
            let space = two.space(kind);
            space.some(&mut dice, SAMPLE, |request| {
                if !one.is_outsiders(request) {
                    return false;
                }
                run.pairs += 1;
                let (was, is) = (old.has(request), new.has(request) && two.is_outsiders(request));
                is_other |= was != is;
                let is_right = match change {
                    // A service that acts for nobody else is trusted once it is named.
                    Change::MoreAllow => !was || is || !two.is_outsiders(request),
                    Change::MoreDeny | Change::Rcp | Change::TrustedAccount => was || !is,
                    Change::Complement => was == is,
                };
                if !is_right && shown.is_none() {
                    shown = Some(request.clone());
                }
                was || is
            });
            grown[change as usize] += u64::from(is_other);
            if let Some(request) = shown {
                run.contradiction(&|| {
                    format!("{change:?}: {request:?}\nbefore {}\nafter {}", one.told(), two.told())
                });
            }
        }
    }
    run.end(&format!("{CHANGES:?}: made {made:?}, different {grown:?}"));
    assert!(grown[..4].iter().all(|n| *n > policies / 100), "{grown:?}");
}

/// What a finding says, but for where its grants stand and which request shows it.
fn said(finding: &Finding) -> Value {
    let mut out = serde_json::to_value(finding).unwrap();
    let members = out.as_object_mut().unwrap();
    for name in ["witness", "sources", "decided_by", "recommendation", "public"] {
        members.remove(name);
    }
    for set in members["held_back_by"].as_array_mut().unwrap() {
        for source in set.as_array_mut().unwrap() {
            for name in ["statement", "sid", "span", "line"] {
                source.as_object_mut().unwrap().remove(name);
            }
        }
    }
    members["held_back_by"].as_array_mut().unwrap().sort_by_key(Value::to_string);
    members["residue"].as_array_mut().unwrap().sort_by_key(Value::to_string);
    out
}

fn listed(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_else(|| vec![value.clone()])
}

/// The same grants in other words: lists of an Allow as a statement for each text, statements in another order, other labels.
fn reworded(dice: &mut Dice, policy: &Value) -> Value {
    let mut all = Vec::new();
    for statement in policy["Statement"].as_array().unwrap() {
        let mut parts = vec![statement.clone()];
        if statement["Effect"] == "Allow" {
            for name in ["Action", "Resource"] {
                let values = statement.get(name).map(listed).unwrap_or_default();
                if values.len() > 1 {
                    let of =
                        |part: &Value| values.iter().map(|v| with(part, name, v.clone())).collect::<Vec<_>>();
                    parts = parts.iter().flat_map(of).collect();
                }
            }
            if let Some(Value::Object(of)) = statement.get("Principal") {
                let values: Vec<Value> = of
                    .iter()
                    .flat_map(|(kind, v)| listed(v).into_iter().map(move |v| json!({kind.as_str(): v})))
                    .collect();
                let of = |part: &Value| {
                    values.iter().map(|v| with(part, "Principal", v.clone())).collect::<Vec<_>>()
                };
                parts = parts.iter().flat_map(of).collect();
            }
        }
        all.extend(parts);
    }
    for at in (1..all.len()).rev() {
        all.swap(at, dice.below(at + 1));
    }
    for (at, statement) in all.iter_mut().enumerate() {
        statement["Sid"] = json!(format!("S{at}"));
    }
    let mut out = policy.clone();
    out["Statement"] = Value::Array(all);
    out
}

fn with(statement: &Value, name: &str, value: Value) -> Value {
    let mut out = statement.clone();
    out[name] = value;
    out
}

/// The same policy in other words has the same findings.
#[test]
fn other_words_for_the_same() {
    let policies = setting("AVOUCH_POLICIES", 240);
    let mut run = Run::new("other words", 31);
    let mut dice = Dice::new(run.seed);
    let mut findings = 0;
    while run.policies < policies {
        let kind = Kind::ALL[run.policies as usize % 4];
        let before = estate(&mut dice, kind);
        let mut after = before.clone();
        let policy: Value = serde_json::from_str(&policy_text(&before.resources[0], kind)).unwrap();
        set_policy(&mut after.resources[0], kind, &reworded(&mut dice, &policy).to_string());
        run.policies += 1;
        let bundles = (bundle_of(&before), bundle_of(&after));
        let (one, two) = (Case::of(&before, &bundles.0), Case::of(&after, &bundles.1));
        let of = |case: &Case<'_>| {
            // A part of a list may be dead where the list is not.
            let is_said = |f: &&Finding| f.rule < Rule::DanglingPrincipal;
            case.analysis.findings.iter().filter(is_said).map(said).collect::<Vec<_>>()
        };
        let (old, new) = (of(&one), of(&two));
        findings += old.len();
        run.pairs += old.len() as u64;
        if old != new {
            run.contradiction(&|| format!("{old:#?}\n{new:#?}\n{}\n{}", one.told(), two.told()));
        }
    }
    run.end(&format!("{findings} findings"));
}
