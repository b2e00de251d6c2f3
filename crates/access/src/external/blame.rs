//! What holds a request back, and what a finding does not cover (access.md 10.4, 11).

use super::group::{Group, Key};
use super::{Actions, Question};
use crate::eval::decide::{Blocker, Decision};
use crate::finding::{Confidence, Finding, Rule, Source, Test};
use crate::policy::{Statement, Words};
use crate::symbolic::{Cell, Cells};
use std::collections::{BTreeMap, BTreeSet};

impl Question<'_> {
    /// Everything that refuses what a cell's requests are granted.
    pub(super) fn blockers(&self, cell: &Cell) -> BTreeSet<Blocker> {
        let mut out = BTreeSet::new();
        let denies = self.own.iter().chain(self.levels.iter().flatten());
        let denies = denies.filter(|(row, _)| !self.is_allow(*row) && cell.has(*row));
        out.extend(denies.map(|(_, at)| Blocker::Denied(*at)));
        for (level, rows) in self.levels.iter().enumerate() {
            if !rows.iter().any(|(row, _)| self.is_allow(*row) && cell.has(*row)) {
                out.insert(Blocker::Level(level));
            }
        }
        let stops: Vec<Option<crate::bundle::Stop>> = self.granting(cell).map(|at| self.stop(at)).collect();
        if stops.iter().all(Option::is_some) {
            out.extend(stops.into_iter().flatten().map(Blocker::Stop));
        }
        out
    }

    /// Whether something can be no other way.
    fn is_final(&self, blocker: &Blocker) -> bool {
        match blocker {
            Blocker::Denied(_) => false,
            Blocker::Level(at) => self.bundle.levels.get(*at).is_some_and(|l| l.is_final),
            Blocker::Stop(stop) => stop.is_final,
        }
    }

    pub(super) fn blocker_source(&self, blocker: &Blocker) -> Option<Source> {
        match blocker {
            Blocker::Denied(at) => self.source(*at),
            Blocker::Level(level) => Some(Source {
                kind: "rcp".to_owned(),
                document: format!("level {}: no policy allows it", level + 1),
                statement: 0,
                sid: None,
                span: (0, 0),
                line: 0,
            }),
            Blocker::Stop(stop) => Some(Source {
                kind: "switch".to_owned(),
                document: stop.name.to_owned(),
                statement: 0,
                sid: None,
                span: (0, 0),
                line: 0,
            }),
        }
    }

    /// A grant that would be open, but for what holds all of it back.
    pub(super) fn held(
        &self,
        cells: &Cells,
        names: &[Actions<'_>],
        key: &Key,
        group: &Group,
    ) -> Option<Finding> {
        let of: Vec<&Cell> = group.held.iter().filter_map(|at| cells.all.get(*at)).collect();
        let mut sets: Vec<BTreeSet<Blocker>> = of.iter().map(|cell| self.blockers(cell)).collect();
        sets.sort_by_key(BTreeSet::len);
        sets.dedup();
        let mut minimal: Vec<BTreeSet<Blocker>> = Vec::new();
        for set in sets {
            if !minimal.iter().any(|m| m.is_subset(&set)) {
                minimal.push(set);
            }
        }
        let mut out = self.blank(Rule::HeldBack);
        out.principal = key.who.clone();
        out.condition.clone_from(&key.condition);
        out.actions = super::action_rows(self.bundle, names, &of);
        out.sources = group.statements.iter().filter_map(|at| self.source(*at)).collect();
        out.exactness = self.exactness(cells);
        out.held_back_by =
            minimal.iter().map(|set| set.iter().filter_map(|b| self.blocker_source(b)).collect()).collect();
        // The request that would be allowed.
        let mut first = None;
        let mut spoken = of.iter().map(|cell| self.spoken(cell, key, names));
        let would = spoken.find_map(|told| {
            let is_granted = |decision: &Decision| !decision.allowing.is_empty();
            let is_grant = is_granted(&told.decision)
                && (self.touched.is_empty() || self.in_all(&told.request, is_granted))
                && self.world.objection(&told.request).is_none();
            if is_grant {
                return Some(told.request);
            }
            first.get_or_insert(told.request);
            None
        });
        out.confidence = if would.is_some() { Confidence::Confirmed } else { Confidence::Possible };
        out.witness = would.or(first);
        if minimal.iter().all(|set| set.iter().any(|b| self.is_final(b))) {
            out.rule = Rule::DeadGrant;
            super::risk::rate_dead(&mut out);
            return Some(out);
        }
        let is_small = self.are_networks_small(of.iter().copied());
        let class = of.iter().map(|cell| self.class(&cell.request, is_small)).min()?;
        super::risk::rate_held(&mut out, class);
        Some(out)
    }

    /// What Deny statements and control policies cut out of a group, in their words.
    pub(super) fn residue(&self, cells: &Cells, group: &Group) -> Vec<BTreeMap<String, Vec<Test>>> {
        let cut: BTreeSet<Blocker> = group
            .held
            .iter()
            .filter_map(|at| cells.all.get(*at))
            .flat_map(|cell| self.blockers(cell))
            .collect();
        let mut out: Vec<BTreeMap<String, Vec<Test>>> = Vec::new();
        for blocker in cut {
            let words = match &blocker {
                Blocker::Denied(at) => self.statement(*at).map(in_words).unwrap_or_default(),
                Blocker::Level(level) => {
                    let tests =
                        vec![Test { operator: "allows it".to_owned(), values: vec!["no policy".to_owned()] }];
                    BTreeMap::from([(format!("control policies of level {}", level + 1), tests)])
                }
                Blocker::Stop(stop) => {
                    let tests = vec![Test { operator: "is".to_owned(), values: vec!["on".to_owned()] }];
                    BTreeMap::from([(stop.name.to_owned(), tests)])
                }
            };
            if !out.contains(&words) {
                out.push(words);
            }
        }
        out
    }
}

/// A statement as a conjunction.
fn in_words(statement: &Statement) -> BTreeMap<String, Vec<Test>> {
    let mut out: BTreeMap<String, Vec<Test>> = BTreeMap::new();
    let mut put = |key: &str, operator: &str, values: Vec<String>| {
        out.entry(key.to_owned()).or_default().push(Test { operator: operator.to_owned(), values });
    };
    let of = |negated: bool| if negated { "not in" } else { "in" };
    if let Some(listed) = &statement.principal {
        put("Principal", of(listed.negated), listed.values.iter().map(|(_, w)| w.text.clone()).collect());
    }
    let texts = |words: &Words| words.values.iter().map(|w| w.text.clone()).collect::<Vec<_>>();
    put("Action", of(statement.action.negated), texts(&statement.action));
    if let Some(resource) = &statement.resource {
        put("Resource", of(resource.negated), texts(resource));
    }
    for condition in &statement.conditions {
        let values = condition.values.iter().map(|w| w.text.clone()).collect();
        put(&condition.name(), &condition.operator.to_string(), values);
    }
    out
}
