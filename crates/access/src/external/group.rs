//! Cells put together: one group for each grant, each principal it names, and each value that says who that is.

use super::{Actions, Atom, Question};
use crate::bundle::{Kind, Stop};
use crate::eval::decide::At;
use crate::finding::{Rule, Test, Who};
use crate::policy::{PrincipalKind, Quantifier, Statement};
use crate::reading::Switch;
use crate::request::spelled;
use crate::symbolic::{Cell, Cells, may_differ};
use std::collections::{BTreeMap, BTreeSet};

/// What a group's requests have in common, in the documents' words.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Key {
    pub who: Who,
    pub condition: BTreeMap<String, Vec<Test>>,
}

#[derive(Clone, Default, Debug)]
pub(super) struct Group {
    /// Cells that are allowed, by their place.
    pub open: BTreeSet<usize>,
    /// Cells that something holds back.
    pub held: BTreeSet<usize>,
    pub statements: BTreeSet<At>,
}

type Groups = BTreeMap<Key, Group>;

/// Groups that somebody outside can use, and those that are held back as a whole.
pub(super) fn groups(question: &Question<'_>, cells: &Cells, names: &[Actions<'_>]) -> (Groups, Groups) {
    let mut all: Groups = BTreeMap::new();
    for (at, cell) in cells.all.iter().enumerate() {
        if !question.is_real(cell, names) {
            continue;
        }
        let blockers = question.blockers(cell);
        for statement in question.granting(cell) {
            let is_stopped = question.stop(statement).is_some();
            for key in question.keys(cell, statement) {
                let group = all.entry(key).or_default();
                if blockers.is_empty() && !is_stopped {
                    group.open.insert(at);
                    group.statements.insert(statement);
                } else if !blockers.is_empty() {
                    group.held.insert(at);
                    group.statements.insert(statement);
                }
            }
        }
    }
    let (open, mut held): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, group)| !group.open.is_empty());
    // What stays open may be the lesser part of a grant: services, where everybody else is held back.
    held.extend(open.iter().filter(|(_, group)| question.holds_worse_back(cells, group)).cloned());
    // Who is in a wider group with every request needs no finding of his own: in every reading, or he stays.
    let is_sure = |group: &Group| {
        let mut grants = group.statements.iter().filter_map(|at| question.statement(*at));
        !grants.any(|grant| may_differ(grant, question.touched))
    };
    let kept: Groups = open
        .iter()
        .filter(|(key, group)| {
            !open.iter().any(|(other, wider)| {
                key != other
                    && group.open.is_subset(&wider.open)
                    && (group.open != wider.open || is_plainer(other, key))
                    && is_sure(wider)
            })
        })
        .cloned()
        .collect();
    let held = held
        .iter()
        .filter(|(key, group)| {
            !held.iter().any(|(other, wider)| {
                key != other
                    && group.held.is_subset(&wider.held)
                    && (group.held != wider.held || is_plainer(other, key))
            })
        })
        .cloned()
        .collect();
    (kept, held)
}

/// Of two groups with the same requests the one that says it in fewer words; else the first.
fn is_plainer(a: &Key, b: &Key) -> bool {
    (a.condition.len(), a) < (b.condition.len(), b)
}

impl Question<'_> {
    /// The setting that took a grant's effect away.
    pub(super) fn stop(&self, at: At) -> Option<Stop> {
        if at.level.is_some() {
            return None;
        }
        self.part(at)?.stopped_by.get(at.statement).copied().flatten()
    }

    /// Whether what is held back of a group is of a worse class than what is open.
    fn holds_worse_back(&self, cells: &Cells, group: &Group) -> bool {
        let worst = |of: &BTreeSet<usize>| {
            let of = || of.iter().filter_map(|at| cells.all.get(*at));
            let is_small = self.are_networks_small(of());
            of().map(|cell| self.class(&cell.request, is_small)).min()
        };
        worst(&group.held) == Some(Rule::Public) && worst(&group.open) > Some(Rule::Network)
    }

    /// Whether the resource that a cell asks for is one that its actions know.
    pub(super) fn is_real(&self, cell: &Cell, names: &[Actions<'_>]) -> bool {
        let Some(of) = names.get(cell.action) else { return true };
        of.has_others
            || of.names.is_empty()
            || of.names.iter().any(|n| self.bundle.takes(n, &cell.request.resource))
    }

    /// The groups that a cell is in by one grant.
    fn keys(&self, cell: &Cell, at: At) -> Vec<Key> {
        let Some(statement) = self.statement(at) else { return Vec::new() };
        let mut who = self.who(cell, statement);
        // A list of a share names whole organisations, for which policies have no principal.
        if let (Some(sid), Some(Kind::Share)) = (&statement.sid, self.part(at).map(|p| p.kind)) {
            let kind = "organization".to_owned();
            who = vec![Who { kind, value: sid.clone(), account: None, assumed_other_side: false }];
        }
        let mut out: Vec<BTreeMap<String, Vec<Test>>> = vec![BTreeMap::new()];
        for condition in &statement.conditions {
            let has_tags = self.touched.has(Switch::TagKeyCase);
            let key = if has_tags { spelled(&condition.key) } else { condition.name() };
            let operator = condition.operator.to_string();
            let chosen: Vec<&str> = self
                .atoms
                .iter()
                .filter_map(|atom| match atom {
                    Atom::Value { row, key: k, operator: o, text }
                        if *k == key && *o == operator && cell.has(*row) =>
                    {
                        condition.values.iter().any(|w| w.text == *text).then_some(text.as_str())
                    }
                    _ => None,
                })
                .collect();
            let is_split = condition.values.len() > 1
                && super::IDENTITY.contains(&key.as_str())
                && !condition.operator.negated
                && condition.operator.quantifier != Quantifier::ForAllValues
                && !chosen.is_empty();
            let options: Vec<Vec<String>> = if is_split {
                chosen.into_iter().map(|text| vec![text.to_owned()]).collect()
            } else {
                vec![condition.values.iter().map(|w| w.text.clone()).collect()]
            };
            let with = |base: &BTreeMap<String, Vec<Test>>, values: &Vec<String>| {
                let mut out = base.clone();
                let test = Test { operator: operator.clone(), values: values.clone() };
                out.entry(key.clone()).or_default().push(test);
                out
            };
            out = out
                .iter()
                .flat_map(|base| options.iter().map(|v| with(base, v)).collect::<Vec<_>>())
                .collect();
        }
        who.into_iter()
            .flat_map(|who| {
                out.iter()
                    .map(move |condition| Key { who: who.clone(), condition: condition.clone() })
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    /// Principals of a grant that a cell's caller is.
    fn who(&self, cell: &Cell, statement: &Statement) -> Vec<Who> {
        let everyone = || Who {
            kind: "everyone".to_owned(),
            value: "*".to_owned(),
            account: None,
            assumed_other_side: false,
        };
        let Some(listed) = statement.principal.as_ref().filter(|p| !p.negated) else {
            return vec![everyone()];
        };
        if listed
            .values
            .iter()
            .any(|(kind, w)| w.text == "*" && matches!(kind, PrincipalKind::Everyone | PrincipalKind::Aws))
        {
            return vec![everyone()];
        }
        let mut out = BTreeSet::new();
        for atom in &self.atoms {
            let Atom::Principal { row, kind, text } = atom else { continue };
            if cell.has(*row) && listed.values.iter().any(|(k, w)| k == kind && w.text == *text) {
                let account = super::class::accounts(text).into_iter().next();
                let kind = match kind {
                    PrincipalKind::Everyone => "everyone",
                    PrincipalKind::Aws => "aws",
                    PrincipalKind::Service => "service",
                    PrincipalKind::Federated => "federated",
                    PrincipalKind::CanonicalUser => "canonical",
                };
                let account = account.filter(|_| kind == "aws");
                out.insert(Who {
                    kind: kind.to_owned(),
                    value: text.clone(),
                    account,
                    assumed_other_side: false,
                });
            }
        }
        out.into_iter().collect()
    }
}
