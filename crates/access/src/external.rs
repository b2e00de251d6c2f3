//! Who outside can reach a resource: findings out of cells (access.md 8 to 11).
//!
//! Every combination of statements that a request can meet is one cell ([`crate::symbolic::cells`]). A cell in which a grant applies
//! and whose caller nobody trusts belongs to a finding: one for each grant, each of the principals it names, and each value of the
//! conditions that say who that is. What the analysis says of a finding it reads off its cells, and every witness is replayed by
//! the evaluator.
//!
//! Rejected: a lattice over all values of all keys, one value each (the published method). Values of a list that do not say who
//! somebody is (networks, prefixes) would each become a finding, and values of different statements would be combined into
//! summaries that no statement has. One finding per grant and principal covers the same requests in the documents' own words.

mod blame;
mod class;
mod group;
pub mod patch;
mod risk;
mod rows;
mod unbound;
mod witness;

use crate::bundle::{Bundle, Part, Unread};
use crate::catalog;
use crate::eval::decide::{At, can_call};
use crate::finding::{ActionRow, Confidence, Exactness, Finding, Public, Recommendation, Rule, Source, Who};
use crate::policy::{Document, Effect, PrincipalKind, Statement, Word};
use crate::reading::{Reading, Switches, depends_on};
use crate::request::Principal;
use crate::services::tables;
use crate::symbolic::{ActionClasses, Cell, Cells, Row, TooLarge, cells};
use crate::world::{World, Zone};
use group::{Group, Key, groups};
use rows::Made;
pub use rows::TRUST;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use witness::Told;

/// What the analysis of one resource says.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Analysis {
    pub findings: Vec<Finding>,
    pub public: Public,
}

/// All that the documents of a bundle say, as rows for the engine.
struct Question<'b> {
    bundle: &'b Bundle,
    world: &'b World<'b>,
    zone: &'b Document,
    rows: Vec<Row<'b>>,
    /// Rows of the resource's own documents, in their order.
    own: Vec<(usize, At)>,
    levels: Vec<Vec<(usize, At)>>,
    trusted: Vec<usize>,
    scope: usize,
    atoms: Vec<Atom>,
    /// What the documents leave open, and all readings of it; `None` where those are too many.
    touched: Switches,
    readings: Option<Vec<Reading>>,
}

/// A row that asks one thing only.
enum Atom {
    Principal { row: usize, kind: PrincipalKind, text: String },
    Value { row: usize, key: String, operator: String, text: String },
}

/// Keys whose values say who somebody is: a finding each.
const IDENTITY: [&str; 13] = [
    "aws:principalaccount",
    "aws:principalarn",
    "aws:principalorgid",
    "aws:principalorgpaths",
    "aws:principalservicename",
    "aws:sourceaccount",
    "aws:sourcearn",
    "aws:sourceorgid",
    "aws:sourceorgpaths",
    "aws:sourceowner",
    "aws:userid",
    "aws:username",
    "kms:calleraccount",
];

/// Who outside can reach a resource, and what holds others back.
#[must_use]
pub fn external(bundle: &Bundle, world: &World<'_>, zone: &Zone) -> Analysis {
    match unbound::split(bundle) {
        None => whole(bundle, world, zone),
        Some((bound, free)) => unbound::joined(whole(&bound, world, zone), whole(&free, world, zone)),
    }
}

fn whole(bundle: &Bundle, world: &World<'_>, zone: &Zone) -> Analysis {
    let mut own_zone = zone.clone();
    own_zone.canonical.extend(bundle.canonical.iter().cloned());
    let mut findings = Vec::new();
    let zone_text = world.zone(&own_zone, &harmless(bundle), &trust(bundle, world));
    // Nobody is trusted then: too much is reported, never too little.
    let nobody = Document::empty();
    let trusted = zone_text.as_ref().unwrap_or(&nobody);
    let made = Made::of(bundle, world);
    let question = Question::new(bundle, world, trusted, &made);
    let any: Vec<usize> =
        question.own.iter().filter(|(row, _)| question.is_allow(*row)).map(|(row, _)| *row).collect();
    let can_call = |caller: &Principal, action: &str| can_call(bundle, caller, action);
    match cells(&question.rows, &any, &[question.scope], &question.trusted, world, &can_call) {
        Ok(cells) => findings.extend(question.findings(&cells)),
        Err(TooLarge) => findings.extend(question.too_large()),
    }
    findings.extend(bundle.unknown.iter().map(|unread| question.unknown(unread)));
    if let Err(why) = &zone_text {
        let operation = "the zone of trust".to_owned();
        findings.push(question.unknown(&Unread { operation, permission: None, why: why.to_string() }));
    }
    findings.extend(question.dangling());
    let semantic = findings.iter().any(|f| f.rule == Rule::Public);
    let public = Public {
        semantic,
        aws_rule: bundle.aws_public.as_ref().map(|(is_public, _)| *is_public),
        reason: bundle.aws_public.as_ref().map(|(_, why)| why.clone()).unwrap_or_default(),
    };
    for finding in &mut findings {
        finding.public = Public { semantic: finding.rule == Rule::Public, ..public.clone() };
    }
    findings.sort_by(|a, b| (a.rule, &a.principal, &a.condition).cmp(&(b.rule, &b.principal, &b.condition)));
    Analysis { findings, public }
}

/// Services that a bundle names, which nobody outside can make act on it.
fn harmless(bundle: &Bundle) -> Vec<&str> {
    let context = if bundle.kind == "AWS::IAM::Role" { "trust" } else { "resource" };
    let named = bundle.parts.iter().flat_map(|p| &p.document.statements).filter_map(|s| s.principal.as_ref());
    let hosts: BTreeSet<&str> = named
        .flat_map(|p| &p.values)
        .filter(|(kind, w)| *kind == PrincipalKind::Service && tables::is_inside(&w.text, context))
        .map(|(_, w)| w.text.as_str())
        .collect();
    hosts.into_iter().collect()
}

/// What else the owner trusts: providers of SAML in trusted accounts, and what the kind of resource adds.
fn trust(bundle: &Bundle, world: &World<'_>) -> Vec<serde_json::Value> {
    let named = bundle.parts.iter().flat_map(|p| &p.document.statements).filter_map(|s| s.principal.as_ref());
    let own: BTreeSet<&str> = named
        .flat_map(|p| &p.values)
        .map(|(_, w)| w.text.as_str())
        .filter(|t| {
            t.contains(":saml-provider/") && t.split(':').nth(4).is_some_and(|a| world.trusted.contains(a))
        })
        .collect();
    let saml = (!own.is_empty())
        .then(|| serde_json::json!({"Effect": "Allow", "Principal": {"Federated": own}, "Action": "*", "Resource": "*"}));
    bundle.trust.iter().cloned().chain(saml).collect()
}

impl<'b> Question<'b> {
    fn is_allow(&self, row: usize) -> bool {
        self.rows.get(row).is_some_and(|r| r.statement.effect == Effect::Allow)
    }

    fn part(&self, at: At) -> Option<&'b Part> {
        match at.level {
            None => self.bundle.parts.get(at.part),
            Some(level) => self.bundle.levels.get(level)?.parts.get(at.part),
        }
    }

    fn statement(&self, at: At) -> Option<&'b Statement> {
        self.part(at)?.document.statements.get(at.statement)
    }

    fn source(&self, at: At) -> Option<Source> {
        let part = self.part(at)?;
        let statement = part.document.statements.get(at.statement)?;
        Some(Source {
            kind: part.kind.name().to_owned(),
            document: part.name.clone(),
            statement: statement.index,
            sid: statement.sid.clone(),
            span: (statement.span.start, statement.span.end),
            line: part.line(statement),
        })
    }

    /// The resource's own grants that apply to a cell.
    fn granting(&self, cell: &Cell) -> impl Iterator<Item = At> {
        self.own.iter().filter(|(row, _)| self.is_allow(*row) && cell.has(*row)).map(|(_, at)| *at)
    }

    /// Why a finding may cover more than is allowed.
    fn exactness(&self, cells: &Cells) -> Exactness {
        let open = (!self.touched.is_empty()).then(|| depends_on(self.touched));
        let why: Vec<String> = cells.widened.iter().cloned().chain(open).collect();
        if why.is_empty() { Exactness::Exact } else { Exactness::OverApproximate(why.join("; ")) }
    }

    fn findings(&self, cells: &Cells) -> Vec<Finding> {
        if cells.all.is_empty() {
            return self.dead(cells);
        }
        let names = self.names(cells);
        let (open, held) = groups(self, cells, &names);
        let all: BTreeSet<usize> = open.values().flat_map(|group| group.open.iter().copied()).collect();
        let is_small = self.are_networks_small(all.iter().filter_map(|at| cells.all.get(*at)));
        let mut out: Vec<Finding> =
            open.iter().map(|(key, group)| self.open(cells, &names, key, group, is_small)).collect();
        out.extend(held.iter().filter_map(|(key, group)| self.held(cells, &names, key, group)));
        out.extend(self.dead(cells));
        out
    }

    /// By class of actions: names of actions in it, and whether it has others.
    fn names(&self, cells: &Cells) -> Vec<Actions<'b>> {
        let written = self.rows.iter().flat_map(|row| &row.statement.action.values).map(|w| w.text.as_str());
        let written: BTreeSet<&str> = written.filter(|text| !text.contains(['*', '?'])).collect();
        let literals: BTreeSet<String> = written.iter().map(|n| n.to_ascii_lowercase()).collect();
        let of = self.bundle.actions.iter().flat_map(|p| catalog::matching(p));
        let mut known: Vec<&str> = of.map(catalog::Action::full_name).collect();
        known.sort_unstable();
        known.dedup();
        // Of one action in several cases the first, so that a list does not say it twice.
        for text in written {
            match known.iter_mut().find(|name| name.eq_ignore_ascii_case(text)) {
                Some(name) => *name = text.min(name),
                None => known.push(text),
            }
        }
        known.sort_unstable();
        let mut out: Vec<Actions<'b>> = cells
            .actions
            .iter()
            .map(|(_, witness)| Actions {
                names: Vec::new(),
                has_others: !literals.contains(&witness.to_ascii_lowercase()),
            })
            .collect();
        let classes: BTreeMap<&[u64], usize> =
            cells.actions.iter().enumerate().map(|(at, (mask, _))| (mask.as_slice(), at)).collect();
        ActionClasses::of(&self.rows).classes(known, |name, class| {
            if let Some(slot) = classes.get(class).and_then(|at| out.get_mut(*at)) {
                slot.names.push(name);
            }
        });
        out
    }

    fn blank(&self, rule: Rule) -> Finding {
        Finding {
            rule,
            resource: self.bundle.arn.clone(),
            resource_type: self.bundle.kind.clone(),
            account: self.bundle.account.clone(),
            region: self.bundle.region.clone(),
            principal: Who {
                kind: String::new(),
                value: String::new(),
                account: None,
                assumed_other_side: false,
            },
            actions: Vec::new(),
            condition: BTreeMap::new(),
            residue: Vec::new(),
            witness: None,
            sources: Vec::new(),
            decided_by: Vec::new(),
            held_back_by: Vec::new(),
            public: Public { semantic: false, aws_rule: None, reason: String::new() },
            layers: self.bundle.layers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            exactness: Exactness::Exact,
            confidence: Confidence::Confirmed,
            severity: 0,
            risk: Vec::new(),
            recommendation: Recommendation { text: String::new(), patch: None },
        }
    }

    /// A finding that somebody can use.
    fn open(
        &self,
        cells: &Cells,
        names: &[Actions<'_>],
        key: &Key,
        group: &Group,
        is_small: bool,
    ) -> Finding {
        let of: Vec<&Cell> = group.open.iter().filter_map(|at| cells.all.get(*at)).collect();
        let classes: Vec<Rule> = of.iter().map(|cell| self.class(&cell.request, is_small)).collect();
        let rule = classes.iter().min().copied().unwrap_or(Rule::Account);
        let mut out = self.blank(rule);
        out.principal = key.who.clone();
        out.principal.assumed_other_side = matches!(rule, Rule::Account | Rule::Organization);
        out.condition.clone_from(&key.condition);
        out.actions = action_rows(self.bundle, names, &of);
        out.sources = group.statements.iter().filter_map(|at| self.source(*at)).collect();
        out.exactness = self.exactness(cells);
        let worst = of.iter().zip(&classes).filter(|(_, class)| **class == rule).map(|(cell, _)| *cell);
        // One after the other: the first is nearly always confirmed. Allowed, and by this grant: another one may allow it as well.
        let is_by = |told: &Told| told.decision.allowing.iter().any(|at| group.statements.contains(at));
        let mut other: Option<Told> = None;
        let mut spoken = worst.take(16).map(|cell| self.spoken(cell, key, names));
        let confirmed = spoken.find_map(|told| match told.is_confirmed && is_by(&told) {
            true => Some(told),
            false => {
                // Rather one that some reading allows.
                if other.as_ref().is_none_or(|o| told.decision.is_allowed && !o.decision.is_allowed) {
                    other = Some(told);
                }
                None
            }
        });
        if confirmed.is_none() {
            out.confidence = Confidence::Possible;
        }
        let told = confirmed.or(other);
        if self.bundle.doubt.is_some() {
            out.confidence = Confidence::Possible;
        }
        if let Some(told) = told {
            out.decided_by = told.decision.allowing.iter().filter_map(|at| self.source(*at)).collect();
            out.witness = Some(told.request);
        }
        out.residue = self.residue(cells, group);
        risk::rate(&mut out);
        out.risk.extend(self.bundle.doubt.clone());
        out.risk.extend(self.bundle.notes.iter().cloned());
        out.recommendation = risk::advice(&out, self.bundle);
        out
    }

    /// Everything that is too large to be taken apart: each grant counts as open.
    fn too_large(&self) -> Vec<Finding> {
        let grants = self.own.iter().filter(|(row, _)| self.is_allow(*row));
        grants
            .map(|(_, at)| {
                let mut out = self.blank(Rule::Unknown);
                out.exactness =
                    Exactness::OverApproximate("the documents are too large for this analysis".to_owned());
                out.confidence = Confidence::Possible;
                out.sources = self.source(*at).into_iter().collect();
                out.severity = 50;
                out.risk = vec!["not analysed: may be external".to_owned()];
                out.recommendation.text =
                    "Split the policy, or replace lists of patterns by fewer ones.".to_owned();
                out
            })
            .collect()
    }

    fn unknown(&self, unread: &Unread) -> Finding {
        let mut out = self.blank(Rule::Unknown);
        out.principal.value.clone_from(&unread.operation);
        out.confidence = Confidence::Possible;
        out.severity = 40;
        out.risk =
            vec![format!("{} could not be read ({}): it may be external", unread.operation, unread.why)];
        out.recommendation.text = match &unread.permission {
            Some(permission) => format!("Give the collecting role `{permission}` and collect again."),
            None => "Collect again, or mend the document.".to_owned(),
        };
        out
    }

    /// Ids of deleted users and roles: they match nobody, and whoever reads the policy does not know who was meant.
    fn dangling(&self) -> Vec<Finding> {
        let mut out = Vec::new();
        for (_, at) in &self.own {
            let Some(statement) = self.statement(*at) else { continue };
            for (_, w) in statement.principal.iter().flat_map(|p| &p.values) {
                let is_id = ["AROA", "AIDA"].iter().any(|p| w.text.starts_with(p))
                    && w.text.len() >= 16
                    && w.text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
                if is_id {
                    let mut finding = self.blank(Rule::DanglingPrincipal);
                    finding.principal = Who {
                        kind: "aws".to_owned(),
                        value: w.text.clone(),
                        account: None,
                        assumed_other_side: false,
                    };
                    finding.sources = self.source(*at).into_iter().collect();
                    finding.severity = 10;
                    finding.risk = vec!["the principal was deleted: it matches nobody".to_owned()];
                    finding.recommendation.text = format!("Remove `{}` from the statement.", w.text);
                    out.push(finding);
                }
            }
        }
        out
    }

    /// Grants that no request can use.
    fn dead(&self, cells: &Cells) -> Vec<Finding> {
        let mut out = Vec::new();
        for (row, at) in self.own.iter().filter(|(row, _)| self.is_allow(*row)) {
            let is_used = cells.was_passed(*row) || cells.all.iter().any(|cell| cell.has(*row));
            let is_dangling = self.statement(*at).and_then(|s| s.principal.as_ref()).is_some_and(|p| {
                !p.values.is_empty()
                    && p.values.iter().all(|(_, w)| w.text.starts_with("AROA") || w.text.starts_with("AIDA"))
            });
            if is_used || is_dangling {
                continue;
            }
            let listed = self.statement(*at).and_then(|s| s.principal.as_ref()).filter(|p| !p.negated);
            let values: Vec<&(PrincipalKind, Word)> = listed.iter().flat_map(|p| &p.values).collect();
            let is_own = |(kind, w): &&(PrincipalKind, Word)| {
                *kind == PrincipalKind::Aws
                    && class::accounts(&w.text).iter().any(|a| self.world.trusted.contains(a.as_str()))
            };
            let outside =
                values.iter().filter(|v| !is_own(v)).map(|(_, w)| w.text.as_str()).collect::<Vec<_>>();
            if outside.is_empty() && !values.is_empty() {
                continue;
            }
            let who = if values.is_empty() { vec!["*"] } else { outside };
            out.extend(who.into_iter().map(|who| {
                let mut finding = self.blank(Rule::DeadGrant);
                finding.principal.value = who.to_owned();
                finding.sources = self.source(*at).into_iter().collect();
                risk::rate_dead(&mut finding);
                finding
            }));
        }
        out
    }
}

/// Actions of one class.
struct Actions<'n> {
    names: Vec<&'n str>,
    /// It has actions that no list names.
    has_others: bool,
}

/// What the requests of some cells ask for: of a class of actions those that know the resource that a cell is about.
fn action_rows(bundle: &Bundle, names: &[Actions<'_>], cells: &[&Cell]) -> Vec<ActionRow> {
    let (mut seen, mut out) = (BTreeSet::new(), BTreeSet::new());
    for cell in cells {
        let resource = &cell.request.resource;
        // Resources of the same forms are known to the same actions.
        if !seen.insert((cell.action, bundle.forms_of(resource))) {
            continue;
        }
        let Some(actions) = names.get(cell.action) else { continue };
        for name in actions.names.iter().filter(|name| bundle.takes(name, resource)) {
            let access_level = catalog::action(name).map_or("", |a| a.level.name()).to_owned();
            out.insert(ActionRow { name: (*name).to_owned(), access_level, unlisted: false });
        }
        if actions.has_others {
            out.insert(ActionRow {
                name: "any other".to_owned(),
                access_level: String::new(),
                unlisted: true,
            });
        }
    }
    out.into_iter().collect()
}
