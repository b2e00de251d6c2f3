//! What a user or role can do.

use super::caller::{Caller, named_sessions};
use super::names::Names;
use super::question::{Layer, Made, Scope};
use super::who::{action_row, too_large};
use super::{Ask, Except, Group, Row, groups, widest, world_of};
use crate::catalog;
use crate::estate::{Estate, Surroundings};
use crate::finding::{ActionRow, Exactness};
use crate::holder::{Holder, holder};
use crate::policy::Effect;
use crate::symbolic::{Cell, Cells};
use crate::target::Target;
use crate::world::Zone;
use std::collections::{BTreeMap, BTreeSet};

/// What the user or role with this ARN can do: by its own policies in its account, and by the documents of resources that name it, here
/// and in other accounts of the estate. `None`: the estate has no such user or role.
#[must_use]
pub fn what_can(estate: &Estate, principal: &str) -> Option<Vec<Row>> {
    let around = Surroundings::of(estate);
    let resource = estate.resources.iter().find(|r| r.arn == principal)?;
    let holder = holder(resource, &around)?;
    let mut own = by_itself(&around, &holder);
    own.extend(elsewhere(&around, &holder));
    let mut out = Vec::new();
    for resource in &estate.resources {
        let Some(target) = Target::of(resource, &around) else { continue };
        if has_a_say(&holder, &target) {
            out.extend(of_target(estate, &holder, &target, &mut own));
        }
    }
    out.splice(0..0, own);
    Some(out)
}

/// Whether the documents of a resource may change what the holder's own policies say.
fn has_a_say(holder: &Holder, target: &Target) -> bool {
    let is_foreign = target.owner.as_ref() != Some(&holder.account);
    let of_levels = target.levels.iter().flat_map(|l| &l.parts).flat_map(|p| &p.document.statements);
    let is_bound = !is_foreign && of_levels.into_iter().any(|s| s.effect == Effect::Deny);
    !target.parts.is_empty() || target.is_strict || is_bound
}

/// What its own policies allow in its own account, resources with documents of their own left aside.
fn by_itself(around: &Surroundings<'_>, holder: &Holder) -> Vec<Row> {
    let target = Target::bare("*", Some(&holder.account), around.estate.organization.as_ref());
    // A request is for something of the account, for what names no account, or for nothing that has a name.
    let own = format!("arn:*:*:*:{}:*", holder.account);
    let scope = Scope {
        actions: vec!["*".to_owned()],
        resources: vec![own, "arn:*:*:*::*".to_owned(), "${*}".to_owned()],
    };
    by_grants(around, holder, &target, &scope, false)
}

/// What its own policies allow in accounts that the estate knows nothing of: whether they allow it too is not known.
fn elsewhere(around: &Surroundings<'_>, holder: &Holder) -> Vec<Row> {
    let known: BTreeSet<&str> = around.estate.resources.iter().map(|r| r.account.as_str()).collect();
    let statements = holder.identity.iter().flat_map(|p| &p.document.statements);
    let words = statements.filter_map(|s| s.resource.as_ref()).filter(|r| !r.negated).flat_map(|r| &r.values);
    let accounts: BTreeSet<&str> = words
        .filter_map(|w| w.text.split(':').nth(4))
        .filter(|a| a.len() == 12 && a.bytes().all(|b| b.is_ascii_digit()) && !known.contains(a))
        .collect();
    let mut out = Vec::new();
    for account in accounts {
        let pattern = format!("arn:*:*:*:{account}:*");
        let target = Target::unheard_of(&pattern, "", around).in_foreign_hands();
        let scope = Scope { actions: vec!["*".to_owned()], resources: vec![pattern] };
        out.extend(by_grants(around, holder, &target, &scope, true));
    }
    out
}

/// A row for each grant of the holder's own policies.
fn by_grants(
    around: &Surroundings<'_>,
    holder: &Holder,
    target: &Target,
    scope: &Scope,
    decides: bool,
) -> Vec<Row> {
    let zone = Zone::default();
    let world = world_of(around.estate, target.owner.as_deref().unwrap_or(&holder.account), &zone);
    let caller = Caller { holder, target, session: None, world: &world };
    let Some(mut made) = Made::of(caller, scope, decides) else { return Vec::new() };
    let are_apart = made.tell_words_apart();
    let Ok(cells) = made.cells() else { return vec![too_large(&caller)] };
    let all = groups(&made, &cells);
    let ask = Ask { made: &made, cells: &cells, around: Some(around) };
    let names = Names::of(&made, &cells);
    let rows = widest(&made, &all).into_iter().map(|(way, group)| {
        let mut row = ask.row(way, group, &|cell| names.spoken(cell));
        let grant = way.first().copied();
        words(&made, &cells, &names, grant, group, are_apart, &mut row);
        row
    });
    rows.collect()
}

/// What the documents of a resource add; what they take away is noted at the rows of the holder's own policies.
fn of_target(estate: &Estate, holder: &Holder, target: &Target, own: &mut [Row]) -> Vec<Row> {
    let zone = Zone::default();
    let world = world_of(estate, target.owner.as_deref().unwrap_or(&holder.account), &zone);
    let scope = Scope {
        actions: target.services.iter().map(|s| format!("{s}:*")).collect(),
        resources: target.forms.iter().map(|f| f.pattern.clone()).collect(),
    };
    let caller = Caller { holder, target, session: None, world: &world };
    let sessions = named_sessions(holder, target);
    let mut out: Vec<Row> = Vec::new();
    for session in std::iter::once(None).chain(sessions.iter().map(|s| Some(s.as_str()))) {
        let caller = Caller { session, ..caller };
        let Some(mut made) = Made::of(caller, &scope, true) else { continue };
        let are_apart = made.tell_words_apart();
        let Ok(cells) = made.cells() else {
            out.push(Row { resources: scope.resources.clone(), ..too_large(&caller) });
            continue;
        };
        let all = groups(&made, &cells);
        let ask = Ask { made: &made, cells: &cells, around: None };
        // What the holder's own policies give is told once, for all resources of its account.
        let is_by_resource = |way: &[usize]| {
            way.iter().filter_map(|at| made.pieces.get(*at)).any(|p| p.layer == Layer::Resource)
        };
        let mut names = None;
        for (way, group) in widest(&made, &all).into_iter().filter(|(way, _)| is_by_resource(way)) {
            let names: &Names = names.get_or_insert_with(|| Names::of(&made, &cells));
            let mut row = ask.row(way, group, &|cell| names.spoken(cell));
            words(&made, &cells, names, way.last().copied(), group, are_apart, &mut row);
            let is_told = session.is_some()
                && out.iter().any(|o| o.decided_by == row.decided_by && o.kind != "session");
            if !is_told {
                out.push(row);
            }
        }
        if session.is_none() && made.is_own {
            except(&made, &cells, &all, target, own);
        }
    }
    out
}

/// Notes at the rows of a holder's own policies where the documents of a resource take something away.
fn except(
    made: &Made<'_>,
    cells: &Cells,
    all: &BTreeMap<Vec<usize>, Group>,
    target: &Target,
    own: &mut [Row],
) {
    let is_identity =
        |at: &usize| made.pieces.get(*at).is_some_and(|p| p.layer == Layer::Identity && p.is_allow());
    // By grant: whether there is a cell in which it applies and that nothing lets through, and what forbids it.
    let mut lost: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    let open: BTreeSet<usize> = all.values().flat_map(|g| g.open.iter().copied()).collect();
    let is_lost = |(at, cell): &(usize, &Cell)| !open.contains(at) && made.is_open_by_holder(cell);
    for (_, cell) in cells.all.iter().enumerate().filter(is_lost) {
        let by_resource = |p: &super::question::Piece<'_>| {
            !p.is_allow() && matches!(p.layer, Layer::Resource | Layer::Rcp(_))
        };
        let denying = made.pieces.iter().enumerate().filter(|(n, p)| cell.has(*n) && by_resource(p));
        let denying: BTreeSet<usize> = denying.map(|(n, _)| n).collect();
        // That a policy is silent is told where it leaves nothing at all of a grant: of several calls it may well name one.
        let is_silent =
            |grant: &usize| !open.iter().filter_map(|at| cells.all.get(*at)).any(|c| c.has(*grant));
        for grant in (0..made.pieces.len()).filter(|n| cell.has(*n)).filter(is_identity) {
            if !denying.is_empty() || (target.is_strict && is_silent(&grant)) {
                lost.entry(grant).or_default().extend(&denying);
            }
        }
    }
    for (grant, denying) in lost {
        let Some(source) = made.pieces.get(grant).map(|p| p.source()) else { continue };
        for row in own.iter_mut().filter(|row| row.decided_by.contains(&source)) {
            let of = |piece: Option<&super::question::Piece<'_>>| Except {
                resource: target.arn.clone(),
                by: piece.map(|p| p.source()),
                condition: piece.map(|p| p.conditions()).unwrap_or_default(),
            };
            if denying.is_empty() {
                row.except.push(of(None));
            }
            row.except.extend(denying.iter().map(|n| of(made.pieces.get(*n))));
        }
    }
}

/// Actions and resources of a row: the words of its grant that some request of it meets.
fn words(
    made: &Made<'_>,
    cells: &Cells,
    names: &Names,
    grant: Option<usize>,
    group: &Group,
    are_apart: bool,
    row: &mut Row,
) {
    const EXCEPT_MAX: usize = 2_000;
    let open: Vec<_> = group.open.iter().filter_map(|at| cells.all.get(*at)).collect();
    let classes: BTreeSet<usize> = open.iter().map(|cell| cell.action).collect();
    // Of two grants that must both hold the resource's names what it is about.
    let Some((at, piece)) = grant.and_then(|at| Some((at, made.pieces.get(at)?))) else { return };
    let is_met = |text: &str, is_action: bool| {
        let word = made.words.iter().enumerate().find(|(_, (of, a, s))| {
            let listed = if *a { Some(&s.action) } else { s.resource.as_ref() };
            *of == at && *a == is_action && listed.is_some_and(|l| l.values.iter().any(|w| w.text == text))
        });
        word.is_none_or(|(n, _)| open.iter().any(|cell| cell.has(made.word_row(n))))
    };
    let action = &piece.original.action;
    let told: Vec<&str> = if action.negated {
        vec!["*"]
    } else {
        action.values.iter().map(|w| w.text.as_str()).filter(|w| is_met(w, true)).collect()
    };
    let mut without = BTreeSet::new();
    for word in told {
        let known = catalog::matching(word);
        let is_open = |name: &str| names.class(name).is_some_and(|class| classes.contains(&class));
        let (can, cannot): (Vec<&catalog::Action>, Vec<&catalog::Action>) =
            known.into_iter().partition(|a| is_open(a.full_name()));
        let level = can.iter().map(|a| a.level).max().map(|l| l.name().to_owned()).unwrap_or_default();
        let row_of = ActionRow { access_level: level, ..action_row_named(word) };
        if word.contains(['*', '?']) && !action.negated {
            without.extend(cannot.iter().map(|a| a.full_name()));
        }
        row.actions.push(row_of);
    }
    if action.negated {
        without.extend(action.values.iter().map(|w| w.text.as_str()));
    }
    // A service at a time is more than anybody reads: what is not in the scope at all was never granted.
    row.except_actions = without.into_iter().take(EXCEPT_MAX).map(str::to_owned).collect();
    // In a resource's own policy `*` is this resource.
    let here: Vec<String> = match (piece.layer, made.caller.target.forms.as_slice()) {
        (Layer::Resource, [_, ..]) => made.caller.target.forms.iter().map(|f| f.pattern.clone()).collect(),
        _ => vec!["*".to_owned()],
    };
    row.resources = match piece.original.resource.as_ref().filter(|r| !r.negated) {
        None => here,
        Some(listed) => {
            let met = listed.values.iter().filter(|w| is_met(&w.text, false));
            met.flat_map(|w| if w.text == "*" { here.clone() } else { vec![w.text.clone()] }).collect()
        }
    };
    if row.actions.is_empty() {
        row.actions.push(action_row("*"));
    }
    if row.resources.is_empty() {
        row.resources.push("*".to_owned());
    }
    if !are_apart && row.exactness == Exactness::Exact {
        let why = "its policies have too many words for each to be looked at".to_owned();
        row.exactness = Exactness::OverApproximate(why);
    }
}

fn action_row_named(word: &str) -> ActionRow {
    ActionRow { name: word.to_owned(), access_level: String::new(), unlisted: word.contains(['*', '?']) }
}
