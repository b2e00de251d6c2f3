//! All requests to a set of statements, as cells: what a request can be, with one that is so.
//!
//! Unlike an implication this keeps every combination, and it knows the world: who belongs to which account and organisation, and which
//! keys follow from that. What depends on each other is one dimension here, made of what can go together.

use super::dimensions::{Dimension, Part, Value, actions, resources, variables};
use super::implication::request_of;
use super::keys::key_classes;
use super::mask::Mask;
use super::patterns::{Fixed, Variables, distinct};
use super::principals::principal_classes;
use super::strings::{Cache, Capped, matches, tokens};
use crate::pattern::{Syntax, pieces};
use crate::policy::{Condition, Document, Statement};
use crate::request::{Principal, Request};
use crate::world::{OF_CALLER, World};
use std::collections::{BTreeMap, HashSet};

/// Masks of cells that are kept at a time.
const MASKS_MAX: usize = 1_000_000;

/// Keys that a caller is.
const IS: [&str; 3] = ["aws:principalarn", "aws:principalaccount", "kms:calleraccount"];
/// Where a request comes from: over the internet or through an endpoint, not both.
const NETWORK: [&str; 4] = ["aws:sourceip", "aws:sourcevpc", "aws:sourcevpce", "aws:vpcsourceip"];

/// A statement, with its place among those that are asked about.
#[derive(Clone, Copy, Debug)]
pub struct Row<'d> {
    pub document: &'d Document,
    pub statement: &'d Statement,
}

/// What some requests have in common.
#[derive(Clone, Debug)]
pub struct Cell {
    /// By row: whether its statement applies.
    applies: Vec<u64>,
    /// Place of its class of actions in [`Cells::actions`].
    pub action: usize,
    /// One of these requests.
    pub request: Request,
}

impl Cell {
    #[must_use]
    pub fn has(&self, row: usize) -> bool {
        self.applies.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }
}

/// Cells, and why they may be more than the real ones.
#[derive(Clone, Debug, Default)]
pub struct Cells {
    pub all: Vec<Cell>,
    /// Classes of actions: by row, whether its actions are met. And one of these actions.
    pub actions: Vec<(Vec<u64>, String)>,
    pub widened: Option<String>,
}

/// The question is too large; nothing can be said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooLarge;

/// All cells in which one of `any` applies and all of `must`.
///
/// # Errors
/// There are too many.
pub fn cells(rows: &[Row<'_>], any: &[usize], must: &[usize], world: &World<'_>) -> Result<Cells, TooLarge> {
    let found = match rows.len() {
        0..=64 => cells_of::<1>(rows, any, must, world),
        65..=128 => cells_of::<2>(rows, any, must, world),
        129..=256 => cells_of::<4>(rows, any, must, world),
        257..=1024 => cells_of::<16>(rows, any, must, world),
        1025..=8192 => cells_of::<128>(rows, any, must, world),
        _ => Err(Capped),
    };
    found.map_err(|Capped| TooLarge)
}

fn cells_of<const W: usize>(
    rows: &[Row<'_>],
    any: &[usize],
    must: &[usize],
    world: &World<'_>,
) -> Result<Cells, Capped> {
    let parts: Vec<Part<'_>> = rows
        .iter()
        .enumerate()
        .map(|(bit, row)| Part { bit, document: row.document, statement: row.statement })
        .collect();
    let mut wanted = Mask::<W>::NONE;
    any.iter().for_each(|bit| wanted.insert(*bit));
    let is_wanted = |mask: &Mask<W>| mask.meets(&wanted) && must.iter().all(|bit| mask.has(*bit));
    let mut cache = Cache::default();
    let no_values = Fixed::new();
    let has_variables = !variables(&parts).is_empty();
    let variables = if has_variables { Variables::Free } else { Variables::Fixed(&no_values) };
    let mut out = Cells::default();
    if has_variables {
        out.widened = Some("it depends on variables in the policy's texts".to_owned());
    }
    for (action_mask, action) in actions::<W>(&parts, &mut cache)?.classes {
        if !is_wanted(&action_mask) {
            continue;
        }
        let of_action: Vec<Part<'_>> = parts.iter().filter(|p| action_mask.has(p.bit)).copied().collect();
        let (dimensions, widened) = dimensions(&of_action, &variables, world, &mut cache)?;
        out.widened = out.widened.or(widened);
        let mut level: Vec<(Mask<W>, Vec<Value>)> = vec![(action_mask, vec![action.clone()])];
        for dimension in &dimensions {
            let mut next = Vec::new();
            let mut known: HashSet<Mask<W>> = HashSet::new();
            for (mask, values) in &level {
                for (of, value) in &dimension.classes {
                    let mask = mask.and(*of);
                    if is_wanted(&mask) && known.insert(mask) {
                        next.push((mask, [values.as_slice(), std::slice::from_ref(value)].concat()));
                    }
                }
            }
            if next.len() > MASKS_MAX {
                return Err(Capped);
            }
            level = next;
        }
        let class = out.actions.len();
        out.all.extend(level.into_iter().map(|(mask, values)| {
            let mut request = request_of(&values, &no_values);
            world.complete(&mut request);
            Cell { applies: words(&mask, rows.len()), action: class, request }
        }));
        if let Value::Action(action) = action {
            out.actions.push((words(&action_mask, rows.len()), action));
        }
        if out.all.len() > MASKS_MAX {
            return Err(Capped);
        }
    }
    Ok(out)
}

fn words<const W: usize>(mask: &Mask<W>, rows: usize) -> Vec<u64> {
    let last = if rows.is_multiple_of(64) { u64::MAX } else { (1 << (rows % 64)) - 1 };
    let count = rows.div_ceil(64);
    (0..count).map(|at| if at + 1 == count { mask.word(at) & last } else { mask.word(at) }).collect()
}

/// Which rows' actions an action meets, as in [`Cells::actions`].
#[must_use]
pub fn action_class(rows: &[Row<'_>], action: &str) -> Vec<u64> {
    let action = action.to_ascii_lowercase();
    let mut out = vec![0; rows.len().div_ceil(64)];
    let syntax = Syntax { wildcards: true, variables: false };
    for (at, row) in rows.iter().enumerate() {
        let listed = &row.statement.action;
        let is_hit = listed.values.iter().any(|w| {
            let text = w.text.to_ascii_lowercase();
            tokens(&pieces(&text, syntax), false).is_some_and(|t| matches(&t, &action))
        });
        if let Some(word) = out.get_mut(at / 64).filter(|_| is_hit != listed.negated) {
            *word |= 1 << (at % 64);
        }
    }
    out
}

type ByKey<'d> = BTreeMap<String, Vec<(usize, &'d Document, &'d Condition)>>;

fn dimensions<const W: usize>(
    parts: &[Part<'_>],
    variables: &Variables<'_>,
    world: &World<'_>,
    cache: &mut Cache,
) -> Result<(Vec<Dimension<W>>, Option<String>), Capped> {
    let mut keys: ByKey<'_> = BTreeMap::new();
    for part in parts.iter().filter(|p| p.statement.is_certain) {
        for condition in &part.statement.conditions {
            keys.entry(condition.name()).or_default().push((part.bit, part.document, condition));
        }
    }
    let mut widened = None;
    let mut out = vec![resources(parts, variables, cache)?];
    let callers = principal_classes::<W>(parts, &IS, variables, cache)?;
    let mut who: Vec<(Mask<W>, Vec<Value>)> =
        callers.into_iter().map(|(mask, caller)| (mask, vec![Value::Principal(caller)])).collect();
    let mut network: Vec<(Mask<W>, Vec<Value>)> = vec![(Mask::ALL, Vec::new())];
    for (key, conditions) in &keys {
        if IS.contains(&key.as_str()) {
            continue;
        }
        let (classes, why) = key_classes::<W>(key, conditions, variables, cache)?;
        widened = widened.or(why);
        if OF_CALLER.contains(&key.as_str()) {
            who = joined(&who, key, &classes, |values, of| {
                caller(values).is_none_or(|caller| world.can_have(caller, key, of))
            })?;
        } else if NETWORK.contains(&key.as_str()) {
            network = joined(&network, key, &classes, |values, of| {
                let is_internet = key == "aws:sourceip";
                let differs = |v: &Value| matches!(v, Value::Key(k, Some(_)) if (k == "aws:sourceip") != is_internet);
                of.is_none() || !values.iter().any(differs)
            })?;
        } else {
            let classes = classes.into_iter().map(|(mask, v)| (mask, Value::Key(key.clone(), v)));
            out.push(Dimension { classes: distinct(classes), widened: None });
        }
    }
    for joint in [who, network] {
        let classes = joint.into_iter().map(|(mask, values)| (mask, Value::Several(values)));
        out.push(Dimension { classes: distinct(classes), widened: None });
    }
    out.sort_by_key(|d| d.classes.len());
    Ok((out, widened))
}

fn caller(values: &[Value]) -> Option<&Principal> {
    values.iter().find_map(|v| if let Value::Principal(p) = v { Some(p) } else { None })
}

/// What can go together.
fn joined<const W: usize>(
    before: &[(Mask<W>, Vec<Value>)],
    key: &str,
    classes: &[(Mask<W>, Option<Vec<String>>)],
    can_be: impl Fn(&[Value], Option<&[String]>) -> bool,
) -> Result<Vec<(Mask<W>, Vec<Value>)>, Capped> {
    let mut out = Vec::new();
    for (mask, values) in before {
        for (of, value) in classes {
            if can_be(values, value.as_deref()) {
                let value = Value::Key(key.to_owned(), value.clone());
                out.push((mask.and(*of), [values.as_slice(), &[value]].concat()));
            }
        }
    }
    if out.len() > MASKS_MAX { Err(Capped) } else { Ok(out) }
}
