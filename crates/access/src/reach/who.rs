//! Who can do something to a resource.

use super::caller::{Caller, named_sessions};
use super::names::Names;
use super::question::{Made, Scope};
use super::{Ask, Certainty, Row, groups, layers_of, uncollected, widest, world_of};
use crate::bundle::Form;
use crate::catalog;
use crate::estate::{Estate, Surroundings};
use crate::eval::decide::decide;
use crate::eval::like;
use crate::external::external;
use crate::finding::{ActionRow, Confidence, Exactness, Rule};
use crate::holder::{Holder, holders};
use crate::request::{Principal, Request};
use crate::services::{self, tables};
use crate::symbolic::Cell;
use crate::target::Target;
use crate::world::{World, Zone};
use std::collections::{BTreeMap, BTreeSet};

/// Everybody who can use `action` (`service:Name`, wildcards in the name only) on `resource` (an ARN; with a `*`, on any that it stands
/// for): users, roles and root users of the estate, and outsiders.
#[must_use]
pub fn who_can(estate: &Estate, action: &str, resource: &str) -> Vec<Row> {
    let around = Surroundings::of(estate);
    let target = target_for(&around, action, resource);
    let decides = target.decides(action);
    let mut out = Vec::new();
    for holder in holders(&around) {
        out.extend(of_holder(estate, &holder, &target, action, resource, decides));
    }
    let missing = uncollected(&around);
    let missing =
        missing.into_iter().filter(|(account, _)| target.owner.as_ref().is_none_or(|o| o == account));
    out.extend(missing.map(|(account, why)| Row {
        principal: "*".to_owned(),
        kind: "account".to_owned(),
        account,
        certainty: Certainty::Unknown,
        unread: vec![why],
        ..blank(action, resource)
    }));
    if decides {
        out.extend(outsiders(&around, &target, action, resource));
    }
    out.sort_by(|a, b| {
        (&a.account, &a.kind, &a.principal, &a.decided_by).cmp(&(
            &b.account,
            &b.kind,
            &b.principal,
            &b.decided_by,
        ))
    });
    out
}

/// The resource of the estate that is asked for, with its documents; else what is known of its ARN.
#[must_use]
pub fn target_for(around: &Surroundings<'_>, action: &str, resource: &str) -> Target {
    let service = action.split(':').next().unwrap_or_default().to_ascii_lowercase();
    let owner = owner_of(around, resource);
    let Some(found) = owner.map(|r| (r, Target::of(r, around))) else {
        return Target::unheard_of(resource, &service, around);
    };
    match found {
        (_, Some(target)) if target.decides(action) => target,
        (owner, known) => {
            // Its documents are about other actions: what is known of it remains.
            let tags = known.map(|k| k.tags).unwrap_or_default();
            Target {
                tags,
                ..Target::bare(resource, Some(&owner.account), around.estate.organization.as_ref())
            }
        }
    }
}

/// The resource of the estate that an ARN names, or a part of which it names (an object of a bucket).
#[must_use]
pub fn owner_of<'e>(around: &Surroundings<'e>, arn: &str) -> Option<&'e model::Resource> {
    let resources = &around.estate.resources;
    if let Some(same) = resources.iter().find(|r| r.arn == arn) {
        return Some(same);
    }
    let fits = |f: &Form| match f.pattern.strip_suffix('*') {
        Some(before) => f.pattern != "*" && arn.starts_with(before),
        None => f.pattern == arn,
    };
    // Documents are read for the few that may have it: an estate has many.
    let may_have = |r: &&model::Resource| arn.starts_with(r.arn.as_str()) || tables::has_other_arns(&r.kind);
    let has = |r: &&model::Resource| services::bundle(r, around).is_some_and(|b| b.forms.iter().any(fits));
    resources.iter().filter(may_have).find(has)
}

fn blank(action: &str, resource: &str) -> Row {
    Row {
        principal: String::new(),
        kind: String::new(),
        account: String::new(),
        actions: vec![action_row(action)],
        except_actions: Vec::new(),
        resources: vec![resource.to_owned()],
        except: Vec::new(),
        condition: BTreeMap::new(),
        certainty: Certainty::Confirmed,
        exactness: Exactness::Exact,
        witness: None,
        decided_by: Vec::new(),
        layers: BTreeMap::new(),
        unread: Vec::new(),
    }
}

pub(super) fn action_row(action: &str) -> ActionRow {
    let level = catalog::matching(action).iter().map(|a| a.level).max();
    ActionRow {
        name: action.to_owned(),
        access_level: level.map(|l| l.name().to_owned()).unwrap_or_default(),
        unlisted: action.contains(['*', '?']),
    }
}

fn of_holder(
    estate: &Estate,
    holder: &Holder,
    target: &Target,
    action: &str,
    resource: &str,
    decides: bool,
) -> Vec<Row> {
    let zone = Zone::default();
    let world = world_of(estate, target.owner.as_deref().unwrap_or(&holder.account), &zone);
    let scope = Scope { actions: vec![action.to_owned()], resources: vec![resource.to_owned()] };
    let caller = Caller { holder, target, session: None, world: &world };
    let mut out = of_caller(caller, &scope, decides, action);
    let is_told: BTreeSet<_> = out.iter().map(|row| row.decided_by.clone()).collect();
    for session in named_sessions(holder, target) {
        // A session is told of where it can do what not every session of its role can.
        let rows = of_caller(Caller { session: Some(&session), ..caller }, &scope, decides, action);
        out.extend(rows.into_iter().filter(|row| !is_told.contains(&row.decided_by)));
    }
    for row in &mut out {
        row.actions = vec![action_row(action)];
        row.resources = vec![resource.to_owned()];
    }
    out
}

fn of_caller(caller: Caller<'_>, scope: &Scope, decides: bool, action: &str) -> Vec<Row> {
    let Some(made) = Made::of(caller, scope, decides) else { return Vec::new() };
    let Ok(cells) = made.cells() else { return vec![too_large(&caller)] };
    let all = groups(&made, &cells);
    let ask = Ask { made: &made, cells: &cells, around: None };
    let asked = Some(action.to_owned()).filter(|a| !a.contains(['*', '?']));
    let names = asked.is_none().then(|| Names::of(&made, &cells));
    let spoken = |cell: &Cell| asked.clone().or_else(|| names.as_ref()?.spoken(cell));
    widest(&made, &all).into_iter().map(|(way, group)| ask.row(way, group, &spoken)).collect()
}

/// What cannot be taken apart counts as allowed.
pub(super) fn too_large(caller: &Caller<'_>) -> Row {
    let why = "its documents distinguish too many cases to be taken apart".to_owned();
    Row {
        principal: caller.holder.arn.clone(),
        kind: caller.holder.kind.name().to_owned(),
        account: caller.holder.account.clone(),
        certainty: Certainty::Possible,
        exactness: Exactness::OverApproximate(why),
        layers: layers_of(caller.holder, caller.target),
        ..blank("*", "*")
    }
}

/// Whoever is in none of the accounts whose users and roles are known, by the analysis of the resource.
fn outsiders(around: &Surroundings<'_>, target: &Target, action: &str, resource: &str) -> Vec<Row> {
    let estate = around.estate;
    let Some(of) = estate.resources.iter().find(|r| r.arn == target.arn) else { return Vec::new() };
    let Some(bundle) = services::bundle(of, around) else { return Vec::new() };
    let missing = uncollected(around);
    let accounts = estate.resources.iter().map(|r| r.account.clone());
    let known = accounts.filter(|a| !missing.contains_key(a)).collect();
    let zone = Zone { accounts: known, ..Zone::default() };
    let mut world = World::new(&bundle.account, estate.organization.as_ref(), &zone);
    world.as_of = estate.as_of.known();
    world.fixed = Some(&bundle.fixed);
    let findings = external(&bundle, &world, &zone).findings;
    let is_open = |rule: Rule| rule < Rule::HeldBack;
    let does = |row: &ActionRow| {
        let (name, asked) = (row.name.to_ascii_lowercase(), action.to_ascii_lowercase());
        row.unlisted || catalog::glob(&asked, &name) || catalog::glob(&name, &asked)
    };
    let findings = findings.into_iter().filter(|f| is_open(f.rule) && f.actions.iter().any(does));
    findings
        .map(|finding| {
            // The finding's own request, for what is asked.
            let asked = finding.witness.iter().filter(|_| !action.contains(['*', '?'])).flat_map(|w| {
                let of = |resource: &str| Request {
                    action: action.to_owned(),
                    resource: resource.to_owned(),
                    ..w.clone()
                };
                [of(&resource.replace(['*', '?'], "any-key")), of(&w.resource)]
            });
            let mut asked = asked.filter(|r| like(resource, &r.resource));
            let asked = asked.find(|r| world.objection(r).is_none() && decide(&bundle, r).is_allowed);
            let is_confirmed = asked.is_some() && finding.confidence == Confidence::Confirmed;
            let account = match asked.as_ref().or(finding.witness.as_ref()).and_then(|w| w.principal.as_ref())
            {
                Some(Principal::Iam(_) | Principal::Session { .. }) => finding.principal.account.clone(),
                _ => None,
            };
            Row {
                principal: finding.principal.value,
                kind: "outsider".to_owned(),
                account: account.unwrap_or_default(),
                condition: finding.condition,
                certainty: if is_confirmed { Certainty::Confirmed } else { Certainty::Possible },
                exactness: match finding.exactness {
                    Exactness::Exact if !is_confirmed => Exactness::OverApproximate(
                        "the analysis of the resource tells who, not for which part of it".to_owned(),
                    ),
                    exactness => exactness,
                },
                witness: asked.or(finding.witness),
                decided_by: finding.sources,
                layers: finding.layers,
                ..blank(action, resource)
            }
        })
        .collect()
}
