//! What the engine is asked about: the statements of all documents, and further ones that tell apart what a document does not.

use super::{Atom, IDENTITY, Question, class};
use crate::bundle::{Bundle, Part};
use crate::eval::decide::At;
use crate::policy::made::{blank, word, words};
use crate::policy::{
    Base, Condition, Document, Effect, Operator, PrincipalKind, Principals, Quantifier, Statement,
};
use crate::reading::touched;
use crate::symbolic::{Row, Take};
use crate::world::World;
use std::collections::BTreeSet;

/// Keys of which every value that a document writes is told apart: what a request is classed by.
fn is_told_apart(key: &str) -> bool {
    const KEYS: [&str; 8] = [
        "aws:sourceip",
        "aws:sourcevpc",
        "aws:sourcevpcarn",
        "aws:sourcevpce",
        "aws:vpceaccount",
        "aws:vpceorgid",
        "s3:dataaccesspointaccount",
        "s3:dataaccesspointarn",
    ];
    KEYS.contains(&key) || IDENTITY.contains(&key) || crate::world::is_claim(key)
}

/// Statements that stand in no document: what is told apart, and nothing else.
pub(super) struct Made {
    document: Document,
    scope: Statement,
    /// What is asked for, one each; and what the world knows.
    constants: Vec<Statement>,
    principals: Vec<(PrincipalKind, Statement)>,
    values: Vec<(String, String, Statement)>,
}

fn of_principal(kind: PrincipalKind, text: &str) -> Statement {
    let listed = Principals { negated: false, values: vec![(kind, word(text))], span: Default::default() };
    Statement { principal: Some(listed), ..blank() }
}

/// Calls that a role's trust policy is asked about: each has its own kind of caller.
pub const TRUST: [&str; 3] = ["sts:AssumeRole", "sts:AssumeRoleWithSAML", "sts:AssumeRoleWithWebIdentity"];

impl Made {
    pub(super) fn of(bundle: &Bundle, world: &World<'_>) -> Made {
        let document = Document::empty();
        let scope = Statement {
            action: words(&bundle.actions),
            resource: Some(words(bundle.forms.iter().map(|f| &f.pattern))),
            ..blank()
        };
        let mut constants: Vec<Statement> = bundle
            .forms
            .iter()
            .map(|f| Statement { resource: Some(words([&f.pattern])), ..blank() })
            .collect();
        if bundle.kind == "AWS::IAM::Role" {
            constants.extend(TRUST.iter().map(|action| Statement { action: words([action]), ..blank() }));
        }
        let (mut principals, mut values, mut keys) = (Vec::new(), Vec::new(), BTreeSet::new());
        let mut seen = BTreeSet::new();
        let mut accounts = BTreeSet::new();
        let mut lower: BTreeSet<(String, String)> = BTreeSet::new();
        let all = bundle.parts.iter().chain(bundle.levels.iter().flat_map(|l| &l.parts));
        for statement in all.flat_map(|p| &p.document.statements) {
            for (kind, w) in statement.principal.iter().flat_map(|p| &p.values) {
                if seen.insert((*kind, w.text.clone())) {
                    principals.push((*kind, of_principal(*kind, &w.text)));
                }
                accounts.extend(class::accounts(&w.text));
            }
            for condition in &statement.conditions {
                let key = condition.name();
                condition.values.iter().for_each(|w| accounts.extend(class::accounts(&w.text)));
                if condition.values.len() > 1 && is_told_apart(&key) {
                    for value in &condition.values {
                        let operator = condition.operator;
                        let quantifier = match operator.quantifier {
                            Quantifier::ForAllValues => Quantifier::ForAnyValue,
                            quantifier => quantifier,
                        };
                        let operator = Operator { quantifier, negated: false, if_exists: false, ..operator };
                        let one = Condition { operator, values: vec![value.clone()], ..condition.clone() };
                        constants.push(Statement { conditions: vec![one], ..blank() });
                    }
                }
                // Of ids in any case of letters only the one in lower case exists.
                if matches!(key.as_str(), "aws:principalorgid" | "aws:sourceorgid") {
                    lower.extend(condition.values.iter().map(|w| (key.clone(), w.text.to_ascii_lowercase())));
                }
                let is_split = IDENTITY.contains(&key.as_str())
                    && condition.values.len() > 1
                    && !condition.operator.negated
                    && condition.operator.quantifier != Quantifier::ForAllValues;
                for value in condition.values.iter().filter(|_| is_split) {
                    let one = Condition { values: vec![value.clone()], ..condition.clone() };
                    let operator = condition.operator.to_string();
                    values.push((key.clone(), operator, Statement { conditions: vec![one], ..blank() }));
                }
                keys.insert(key);
            }
        }
        // Members of the organisation are told apart from others, and from each other where paths count.
        for accounts in world.groups(keys.contains("aws:principalorgpaths")) {
            let values = accounts.into_iter().map(|a| (PrincipalKind::Aws, word(a))).collect();
            let listed = Principals { negated: false, values, span: Default::default() };
            constants.push(Statement { principal: Some(listed), ..blank() });
        }
        // Only users have a name.
        if keys.contains("aws:username") {
            let condition = Condition {
                operator: Operator {
                    quantifier: Quantifier::Plain,
                    base: Base::Arn,
                    negated: false,
                    if_exists: false,
                },
                key: "aws:principalarn".to_owned(),
                values: vec![word("arn:*:iam::*:user/*")],
                span: Default::default(),
            };
            constants.push(Statement { conditions: vec![condition], ..blank() });
        }
        // Somebody of an account that is named is told apart from anybody else.
        constants.extend(accounts.iter().map(|a| of_principal(PrincipalKind::Aws, a)));
        for key in &keys {
            let known = lower
                .iter()
                .filter(|(of, v)| of == key && !v.contains(['*', '?', '$']))
                .map(|(_, v)| v.clone());
            for value in world.constants(key).into_iter().chain(known) {
                let operator = match key.as_str() {
                    "aws:currenttime" | "aws:epochtime" => "DateGreaterThanEquals",
                    _ if value.ends_with('*') => "ForAnyValue:StringLike",
                    _ => "ForAnyValue:StringEquals",
                };
                let Some(operator) = Operator::read(operator) else { continue };
                let operator = match key.as_str() {
                    "aws:principalorgpaths" | "cognito-identity.amazonaws.com:amr" => operator,
                    _ => Operator { quantifier: Quantifier::Plain, ..operator },
                };
                let condition = Condition {
                    operator,
                    key: key.clone(),
                    values: vec![word(&value)],
                    span: Default::default(),
                };
                constants.push(Statement { conditions: vec![condition], ..blank() });
            }
        }
        Made { document, scope, constants, principals, values }
    }
}

impl<'b> Question<'b> {
    pub(super) fn new(
        bundle: &'b Bundle,
        world: &'b World<'b>,
        zone: &'b Document,
        made: &'b Made,
    ) -> Question<'b> {
        let mut rows: Vec<Row<'b>> = Vec::new();
        let all = || bundle.parts.iter().chain(bundle.levels.iter().flat_map(|l| &l.parts));
        let touched = touched(all().map(|p| &p.document));
        let (grants, denies) = (Take::any(touched, true), Take::any(touched, false));
        // Ours are read in one way, but for keys that are told apart.
        let ours = Take::fixed(grants.reading);
        let mut add = |document: &'b Document, statement: &'b Statement, take: Take| {
            rows.push(Row { document, statement, take });
            rows.len() - 1
        };
        let mut of = |parts: &'b [Part], level: Option<usize>| {
            let mut out = Vec::new();
            for (part, p) in parts.iter().enumerate() {
                for (statement, s) in p.document.statements.iter().enumerate() {
                    // What cannot be read for certain may allow, and forbids nothing.
                    if s.is_certain || s.effect == Effect::Allow {
                        let take = if s.effect == Effect::Allow { grants } else { denies };
                        out.push((add(&p.document, s, take), At { level, part, statement }));
                    }
                }
            }
            out
        };
        let own = of(&bundle.parts, None);
        let levels = bundle.levels.iter().enumerate().map(|(at, level)| of(&level.parts, Some(at))).collect();
        let trusted = zone.statements.iter().map(|s| add(zone, s, ours)).collect();
        let scope = add(&made.document, &made.scope, ours);
        for statement in &made.constants {
            add(&made.document, statement, ours);
        }
        let mut atoms = Vec::new();
        for (kind, statement) in &made.principals {
            let text =
                statement.principal.iter().flat_map(|p| &p.values).map(|(_, w)| w.text.clone()).collect();
            atoms.push(Atom::Principal { row: add(&made.document, statement, ours), kind: *kind, text });
        }
        for (key, operator, statement) in &made.values {
            let text = statement.conditions.iter().flat_map(|c| &c.values).map(|w| w.text.clone()).collect();
            let row = add(&made.document, statement, ours);
            atoms.push(Atom::Value { row, key: key.clone(), operator: operator.clone(), text });
        }
        let readings = touched.readings();
        Question { bundle, world, zone, rows, own, levels, trusted, scope, atoms, touched, readings }
    }
}
