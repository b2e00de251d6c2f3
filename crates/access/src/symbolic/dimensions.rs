//! The dimensions of requests to a set of statements, and the masks that their values have.

use super::keys::key_dimension;
use super::mask::Mask;
use super::patterns::{Atom, Patterns, Variables, distinct, filled, mask_of, owners};
use super::principals::{DERIVED, principals};
use super::strings::{Cache, Capped, Class, matches, plain};
use crate::pattern::{Piece, Syntax, pieces};
use crate::policy::{Condition, Document, Statement, Words};
use crate::request::Principal;
use std::collections::{BTreeMap, BTreeSet};

/// A statement that may apply, and the document that it is in.
#[derive(Clone, Copy)]
pub(super) struct Part<'d> {
    /// Its place in masks.
    pub bit: usize,
    pub document: &'d Document,
    pub statement: &'d Statement,
}

/// A value of a dimension.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Action(String),
    Resource(String),
    /// With the keys that follow from who it is.
    Principal(Principal),
    /// `None`: the request does not have the key.
    Key(String, Option<Vec<String>>),
    /// What depends on each other.
    Several(Vec<Value>),
}

/// One of the independent parts of a request.
pub(super) struct Dimension<const W: usize> {
    pub classes: Vec<(Mask<W>, Value)>,
    /// Why its masks may be more than those of real values.
    pub widened: Option<String>,
}

/// The variables in the texts of a set of statements.
pub(super) fn variables(parts: &[Part<'_>]) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for Part { document, statement, .. } in parts {
        let mut look = |text: &str, syntax: Syntax| {
            if !syntax.variables || !text.contains("${") {
                return;
            }
            out.extend(pieces(text, syntax).into_iter().filter_map(|piece| match piece {
                Piece::Variable { key, .. } => Some(key),
                _ => None,
            }));
        };
        for word in statement.resource.iter().flat_map(|r| &r.values) {
            look(&word.text, document.syntax(true));
        }
        for condition in &statement.conditions {
            let syntax = document.syntax(condition.operator.has_wildcards());
            let syntax =
                Syntax { variables: syntax.variables && condition.operator.has_variables(), ..syntax };
            condition.values.iter().for_each(|w| look(&w.text, syntax));
        }
    }
    out
}

/// All dimensions but the action that these statements tell apart, those with few classes first.
pub(super) fn dimensions<const W: usize>(
    parts: &[Part<'_>],
    variables: &Variables<'_>,
    cache: &mut Cache,
) -> Result<Vec<Dimension<W>>, Capped> {
    let mut out = Vec::new();
    if parts.iter().any(|p| p.statement.resource.is_some()) {
        out.push(resources(parts, variables, cache)?);
    }
    let has_principals = parts.iter().any(|p| p.statement.principal.is_some());
    if has_principals {
        out.push(principals(parts, variables, cache)?);
    }
    let mut keys: BTreeMap<String, Vec<(usize, &Document, &Condition)>> = BTreeMap::new();
    for part in parts.iter().filter(|p| p.statement.is_certain) {
        for condition in &part.statement.conditions {
            keys.entry(condition.name()).or_default().push((part.bit, part.document, condition));
        }
    }
    for (key, conditions) in keys {
        if !(has_principals && DERIVED.contains(&key.as_str())) {
            out.push(key_dimension(&key, &conditions, variables, cache)?);
        }
    }
    out.sort_by_key(|d| d.classes.len());
    Ok(out)
}

/// What can be asked for. The first dimension: which statements an action meets decides which others matter.
pub(super) fn actions<const W: usize>(parts: &[Part<'_>], cache: &mut Cache) -> Result<Dimension<W>, Capped> {
    let mut patterns = Patterns::default();
    let atom = |part: &Part<'_>| {
        let Words { negated, values, .. } = &part.statement.action;
        let texts = values.iter().map(|w| plain(&w.text.to_ascii_lowercase(), true, false));
        Atom { statement: part.bit, patterns: texts.map(|t| patterns.add(t)).collect(), negated: *negated }
    };
    let atoms: Vec<Atom> =
        parts.iter().filter(|part| !is_everything(&part.statement.action)).map(atom).collect();
    let found = super::parts::actions(&patterns.all, &owners(&atoms, patterns.all.len()), cache)?;
    let classes = found.into_iter().map(|c| (mask_of(&atoms, &c.matched), Value::Action(c.witness)));
    Ok(Dimension { classes: distinct(classes), widened: None })
}

/// Whether a list asks nothing: every action or resource is in it.
fn is_everything(listed: &Words) -> bool {
    !listed.negated && !listed.values.is_empty() && listed.values.iter().all(|w| w.text == "*")
}

pub(super) fn resources<const W: usize>(
    parts: &[Part<'_>],
    variables: &Variables<'_>,
    cache: &mut Cache,
) -> Result<Dimension<W>, Capped> {
    let mut patterns = Patterns::default();
    let mut atoms = Vec::new();
    for part in parts {
        let Some(listed @ Words { negated, values, .. }) = &part.statement.resource else { continue };
        if is_everything(listed) {
            continue;
        }
        let syntax = part.document.syntax(true);
        let of =
            values.iter().filter_map(|w| filled(&w.text, syntax, None, variables)).map(|t| patterns.add(t));
        atoms.push(Atom { statement: part.bit, patterns: of.collect(), negated: *negated });
    }
    let mut found = super::parts::arns(&patterns.all, cache)?;
    // Actions that know no resource are asked about `*`.
    let matched = patterns.all.iter().map(|p| matches(p, "*")).collect();
    found.push(Class { matched, witness: "*".to_owned() });
    let found = patterns.either(found)?;
    let classes = found.into_iter().map(|c| (mask_of(&atoms, &c.matched), Value::Resource(c.witness)));
    Ok(Dimension { classes: distinct(classes), widened: None })
}
