//! All requests to a set of statements, as cells: what a request can be, with one that is so.
//!
//! Unlike an implication this keeps every combination, and it knows the world: who belongs to which account and organisation, and which
//! keys follow from that. What depends on each other is one dimension here, made of what can go together.

use super::dimensions::{Dimension, Part, Value, actions, resources, valueless, variables};
use super::hash::{Few, Map};
use super::implication::request_of;
use super::keys::{key_classes, values_of_key};
use super::mask::Mask;
use super::patterns::{Fixed, Variables, distinct};
use super::principals::{hosts, principal_classes};
use super::strings::{Cache, Capped, Token, plain};
use super::take::{Asked, Take, asked};
use crate::policy::{Document, Statement};
use crate::request::{Principal, Request};
use crate::world::{OF_CALLER, World, is_plain};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Masks of cells that are kept at a time.
const MASKS_MAX: usize = 1_000_000;

/// Keys that a caller is.
const IS: [&str; 3] = ["aws:principalarn", "aws:principalaccount", "kms:calleraccount"];
/// What a service that calls is called, and a set with that in it.
const NAMES: [&str; 2] = ["aws:principalservicename", "aws:principalservicenameslist"];
/// The clock.
const TIME: [&str; 2] = ["aws:currenttime", "aws:epochtime"];
/// Where a request comes from: over the internet or through an endpoint, not both.
const NETWORK: [&str; 4] = ["aws:sourceip", "aws:sourcevpc", "aws:sourcevpce", "aws:vpcsourceip"];

/// A statement, with its place among those that are asked about.
#[derive(Clone, Copy, Debug)]
pub struct Row<'d> {
    pub document: &'d Document,
    pub statement: &'d Statement,
    pub take: Take,
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
    /// By row: whether its statement applies in one of the cells that were passed over.
    pub passed: Vec<u64>,
}

impl Cells {
    /// Whether a statement applies to somebody who was passed over.
    #[must_use]
    pub fn was_passed(&self, row: usize) -> bool {
        self.passed.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }
}

/// The question is too large; nothing can be said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooLarge;

/// All cells in which one of `any` applies and all of `must`. Of those in which one of `pass` does, it is only kept what applies there.
/// `can_call`: whether such a caller can ask for such an action at all; right for all callers of one kind.
///
/// # Errors
/// There are too many.
pub fn cells(
    rows: &[Row<'_>],
    any: &[usize],
    must: &[usize],
    pass: &[usize],
    world: &World<'_>,
    can_call: &dyn Fn(&Principal, &str) -> bool,
) -> Result<Cells, TooLarge> {
    let found = match rows.len() {
        0..=64 => cells_of::<1>(rows, any, must, pass, world, can_call),
        65..=128 => cells_of::<2>(rows, any, must, pass, world, can_call),
        129..=256 => cells_of::<4>(rows, any, must, pass, world, can_call),
        257..=1024 => cells_of::<16>(rows, any, must, pass, world, can_call),
        1025..=8192 => cells_of::<128>(rows, any, must, pass, world, can_call),
        _ => Err(Capped),
    };
    found.map_err(|Capped| TooLarge)
}

fn cells_of<const W: usize>(
    rows: &[Row<'_>],
    any: &[usize],
    must: &[usize],
    pass: &[usize],
    world: &World<'_>,
    can_call: &dyn Fn(&Principal, &str) -> bool,
) -> Result<Cells, Capped> {
    let parts: Vec<Part<'_>> = rows
        .iter()
        .enumerate()
        .map(|(bit, row)| Part { bit, document: row.document, statement: row.statement, take: row.take })
        .collect();
    let mut wanted = Mask::<W>::NONE;
    any.iter().for_each(|bit| wanted.insert(*bit));
    let mut passing = Mask::<W>::NONE;
    pass.iter().for_each(|bit| passing.insert(*bit));
    let mut passed = Mask::<W>::NONE;
    let is_wanted = |mask: &Mask<W>| mask.meets(&wanted) && must.iter().all(|bit| mask.has(*bit));
    let mut cache = Cache::default();
    let no_values = Fixed::new();
    let has_variables = !variables(&parts).is_empty();
    let variables = if has_variables { Variables::Free } else { Variables::Fixed(&no_values) };
    let mut out = Cells::default();
    if has_variables {
        out.widened = Some("it depends on variables in the policy's texts".to_owned());
    }
    let mut dimensions: Option<Vec<Dimension<W>>> = None;
    for (action_mask, action) in actions::<W>(&parts, &mut cache)?.classes {
        if !is_wanted(&action_mask) {
            continue;
        }
        // Once for all actions: most rows (zone, scope, what is told apart) ask nothing of the action.
        if dimensions.is_none() {
            let (all, widened) = all_dimensions(&parts, &variables, world, &mut cache)?;
            out.widened = out.widened.or(widened);
            dimensions = Some(all);
        }
        let Value::Action(action_name) = &action else { continue };
        let mut levels: Vec<Vec<Step<'_, W>>> = vec![vec![(action_mask, 0, &action)]];
        for dimension in dimensions.iter().flatten() {
            let mut met: Few<Mask<W>> = Few::default();
            // Classes that these actions do not tell apart.
            let classes: Vec<(Mask<W>, &Value)> = dimension
                .classes
                .iter()
                .filter(|(_, value)| caller(value).is_none_or(|caller| can_call(caller, action_name)))
                .map(|(mask, value)| (mask.and(action_mask), value))
                .filter(|(mask, _)| is_wanted(mask) && met.insert(*mask))
                .collect();
            let mut known: Few<Mask<W>> = Few::default();
            let mut next = Vec::new();
            for (before, (mask, _, _)) in levels.last().into_iter().flatten().enumerate() {
                for (of, value) in &classes {
                    let mask = mask.and(*of);
                    if is_wanted(&mask) && known.insert(mask) {
                        next.push((mask, before, *value));
                    }
                }
            }
            if next.len() > MASKS_MAX {
                return Err(Capped);
            }
            levels.push(next);
        }
        let class = out.actions.len();
        for (at, (mask, _, _)) in levels.last().into_iter().flatten().enumerate() {
            if mask.meets(&passing) {
                passed = passed.or(*mask);
                continue;
            }
            let mut request = request_of(values_of(&levels, at), &no_values);
            world.complete(&mut request);
            out.all.push(Cell { applies: words(mask, rows.len()), action: class, request });
        }
        out.actions.push((words(&action_mask, rows.len()), action_name.clone()));
        if out.all.len() > MASKS_MAX {
            return Err(Capped);
        }
    }
    out.passed = words(&passed, rows.len());
    Ok(out)
}

/// A mask, the place of the one before it, and the value that made it.
type Step<'v, const W: usize> = (Mask<W>, usize, &'v Value);

/// The values that lead to a mask of the last level.
fn values_of<'v, const W: usize>(levels: &[Vec<Step<'v, W>>], mut at: usize) -> Vec<&'v Value> {
    let mut values = Vec::with_capacity(levels.len());
    for level in levels.iter().rev() {
        let Some((_, before, value)) = level.get(at) else { break };
        values.push(*value);
        at = *before;
    }
    values
}

fn words<const W: usize>(mask: &Mask<W>, rows: usize) -> Vec<u64> {
    let last = if rows.is_multiple_of(64) { u64::MAX } else { (1 << (rows % 64)) - 1 };
    let count = rows.div_ceil(64);
    (0..count).map(|at| if at + 1 == count { mask.word(at) & last } else { mask.word(at) }).collect()
}

/// Which rows' actions an action meets, as in [`Cells::actions`]: made once for the rows, asked for many actions.
#[derive(Debug)]
pub struct ActionClasses {
    /// Each text once, in lower case: those without wildcards by their place, the others as patterns.
    literals: Map<String, usize>,
    patterns: Vec<(usize, Vec<Token>)>,
    texts: usize,
    /// Rows with one list of actions: whether it is negated, which texts it has, and the rows.
    lists: Vec<(bool, Vec<usize>, Vec<u64>)>,
}

impl ActionClasses {
    #[must_use]
    pub fn of(rows: &[Row<'_>]) -> ActionClasses {
        let (mut index, mut literals): (Map<String, usize>, Map<String, usize>) = Default::default();
        let mut patterns = Vec::new();
        let mut known: Map<(bool, Vec<usize>), usize> = Map::default();
        let mut lists: Vec<(bool, Vec<usize>, Vec<u64>)> = Vec::new();
        for (row, Row { statement, .. }) in rows.iter().enumerate() {
            let listed = &statement.action;
            let mut of = Vec::with_capacity(listed.values.len());
            for w in &listed.values {
                let text = w.text.to_ascii_lowercase();
                let at = index.get(&text).copied().unwrap_or_else(|| {
                    let at = index.len();
                    match text.contains(['*', '?']) {
                        true => patterns.push((at, plain(&text, true, false))),
                        false => drop(literals.insert(text.clone(), at)),
                    }
                    index.insert(text, at);
                    at
                });
                of.push(at);
            }
            let list = *known.entry((listed.negated, of)).or_insert_with_key(|(negated, of)| {
                lists.push((*negated, of.clone(), vec![0; rows.len().div_ceil(64)]));
                lists.len() - 1
            });
            if let Some(word) = lists.get_mut(list).and_then(|(_, _, mask)| mask.get_mut(row / 64)) {
                *word |= 1 << (row % 64);
            }
        }
        ActionClasses { literals, patterns, texts: index.len(), lists }
    }

    /// By action, the rows that it meets, as words of bits.
    pub fn classes<'n>(
        &self,
        actions: impl IntoIterator<Item = &'n str>,
        mut found: impl FnMut(&'n str, &[u64]),
    ) {
        // Made once for all of them.
        let (mut lower, mut chars, mut hits) = (String::new(), Vec::new(), vec![false; self.texts]);
        let mut out = vec![0; self.lists.first().map_or(0, |(_, _, rows)| rows.len())];
        for action in actions {
            lower.clear();
            lower.push_str(action);
            lower.make_ascii_lowercase();
            chars.clear();
            chars.extend(lower.chars());
            hits.fill(false);
            let literal = self.literals.get(&lower).copied();
            let patterns =
                self.patterns.iter().filter(|(_, pattern)| fits(pattern, &chars)).map(|(at, _)| *at);
            for at in literal.into_iter().chain(patterns) {
                if let Some(slot) = hits.get_mut(at) {
                    *slot = true;
                }
            }
            out.fill(0);
            for (negated, of, rows) in &self.lists {
                if of.iter().any(|text| hits.get(*text) == Some(&true)) != *negated {
                    out.iter_mut().zip(rows).for_each(|(word, more)| *word |= more);
                }
            }
            found(action, &out);
        }
    }
}

/// Whether a pattern of an action matches one; where a `*` stands, every length is tried from the end of the text.
fn fits(pattern: &[Token], text: &[char]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((Token::Any, [])), _) => true,
        (Some((Token::Any, rest)), _) => {
            (0..=text.len()).rev().any(|at| fits(rest, text.get(at..).unwrap_or_default()))
        }
        (Some((Token::One, rest)), Some((_, behind))) => fits(rest, behind),
        (Some((Token::Char(a), rest)), Some((b, behind))) => a == b && fits(rest, behind),
        _ => false,
    }
}

type ByKey<'d> = BTreeMap<String, Vec<Asked<'d>>>;

fn all_dimensions<const W: usize>(
    parts: &[Part<'_>],
    variables: &Variables<'_>,
    world: &World<'_>,
    cache: &mut Cache,
) -> Result<(Vec<Dimension<W>>, Option<String>), Capped> {
    let mut keys: ByKey<'_> = BTreeMap::new();
    for (key, condition) in parts.iter().flat_map(asked) {
        keys.entry(key).or_default().push(condition);
    }
    let mut widened = is_loose(&keys, world)
        .then(|| "the id of an organisation and its paths are read each by itself".to_owned());
    let mut out = vec![resources(parts, variables, cache)?];
    // Whatever conditions tell apart in a service's name is a service of its own.
    let named: Vec<Asked<'_>> = NAMES.iter().filter_map(|key| keys.get(*key)).flatten().copied().collect();
    let apart: Vec<String> = match named.as_slice() {
        [] => Vec::new(),
        named => {
            let known: Vec<String> = hosts(parts).into_iter().collect();
            values_of_key(NAMES[0], named, &known, variables, cache)?.into_iter().collect()
        }
    };
    let mut callers = principal_classes::<W>(parts, &IS, &apart, variables, cache)?;
    callers.retain(|(_, caller)| caller.account().is_none_or(is_plain));
    let mut who: Vec<Joint<W>> = callers
        .iter()
        .enumerate()
        .map(|(kind, (mask, _))| Joint { mask: *mask, kind, values: None })
        .collect();
    // Of a request it is known whether it came over the internet (1), through an endpoint (2), or neither (0).
    let mut network: Vec<Joint<W>> = vec![Joint { mask: Mask::ALL, kind: 0, values: None }];
    for (key, conditions) in &keys {
        if IS.contains(&key.as_str()) {
            continue;
        }
        let apart = if NAMES.contains(&key.as_str()) { apart.as_slice() } else { &[] };
        let (mut classes, why) = key_classes::<W>(key, conditions, apart, variables, cache)?;
        widened = widened.or(why);
        classes.retain(|(_, values)| world.is_possible(key, values.as_deref()));
        if TIME.contains(&key.as_str()) {
            // There is one clock, and it does not go back.
            classes
                .retain(|(_, values)| values.as_ref().is_some_and(|v| v.iter().all(|v| world.is_to_come(v))));
        }
        if OF_CALLER.contains(&key.as_str()) {
            who = joined(&who, key, classes, |kind, of| {
                let is_possible = callers.get(kind).is_none_or(|(_, caller)| world.can_have(caller, key, of));
                is_possible.then_some(kind)
            })?;
        } else if NETWORK.contains(&key.as_str()) {
            let way = if key == "aws:sourceip" { 1 } else { 2 };
            network = joined(&network, key, classes, |kind, of| match (of, kind) {
                (None, _) => Some(kind),
                (Some(_), kind) => (kind == 0 || kind == way).then_some(way),
            })?;
        } else {
            let classes = classes.into_iter().map(|(mask, v)| (mask, Value::Key(key.clone(), v)));
            out.push(Dimension { classes: distinct(classes), widened: None });
        }
    }
    // One of each kind: some resources have callers of some kinds only, for some actions.
    let mut met: Few<(u8, Mask<W>)> = Few::default();
    let kind = |joint: &&Joint<W>| callers.get(joint.kind).map_or(0, |(_, caller)| kind_of(caller));
    let who = who.iter().filter(|joint| met.insert((kind(joint), joint.mask))).map(|joint| {
        let caller = callers.get(joint.kind).map(|(_, caller)| Value::Principal(caller.clone()));
        (joint.mask, Value::Several(caller.into_iter().chain(listed(joint.values.as_ref())).collect()))
    });
    out.push(Dimension { classes: who.collect(), widened: None });
    let mut met: Few<Mask<W>> = Few::default();
    let network = network.iter().filter(|joint| met.insert(joint.mask));
    let network = network.map(|joint| (joint.mask, Value::Several(listed(joint.values.as_ref()).collect())));
    out.push(Dimension { classes: network.collect(), widened: None });
    out.extend(valueless(parts, variables));
    out.sort_by_key(|d| d.classes.len());
    Ok((out, widened))
}

/// Whether an organisation's id may meet paths of another one: which belong together is known of the own one only.
fn is_loose(keys: &ByKey<'_>, world: &World<'_>) -> bool {
    let own = world.organization.filter(|of| of.partial.is_none()).map(|of| of.id.as_str());
    let is_own = |key: &str| {
        let mut words = keys.get(key).into_iter().flatten().flat_map(|asked| &asked.condition.values);
        words.all(|word| word.text.split('/').next() == own)
    };
    let pairs = [["aws:principalorgid", "aws:principalorgpaths"], ["aws:sourceorgid", "aws:sourceorgpaths"]];
    pairs
        .iter()
        .any(|pair| pair.iter().all(|key| keys.contains_key(*key)) && !pair.iter().all(|key| is_own(key)))
}

/// The caller among the values of a class.
fn caller(value: &Value) -> Option<&Principal> {
    match value {
        Value::Several(values) => values.iter().find_map(caller),
        Value::Principal(caller) => Some(caller),
        _ => None,
    }
}

fn kind_of(caller: &Principal) -> u8 {
    match caller {
        Principal::Anonymous => 1,
        Principal::Iam(_) | Principal::Session { .. } => 2,
        Principal::Service(_) => 3,
        Principal::Federated(provider) if provider.contains(":saml-provider/") => 4,
        Principal::Federated(_) => 5,
        Principal::Canonical(_) => 6,
    }
}

/// Classes of keys that go together.
struct Joint<const W: usize> {
    mask: Mask<W>,
    /// What decides with which others they go together.
    kind: usize,
    values: Option<Rc<Link>>,
}

/// Values, the last first: most of them are shared.
struct Link {
    value: Rc<Value>,
    before: Option<Rc<Link>>,
}

fn listed(mut at: Option<&Rc<Link>>) -> impl Iterator<Item = Value> + use<'_> {
    std::iter::from_fn(move || {
        let link = at?;
        at = link.before.as_ref();
        Some(Value::clone(&link.value))
    })
}

/// What can go together. `goes`: the kind that comes of a kind and a value, `None` where the two exclude each other. Since only the
/// kind counts for what follows, one of each kind and mask is kept.
fn joined<const W: usize>(
    before: &[Joint<W>],
    key: &str,
    classes: Vec<(Mask<W>, Option<Vec<String>>)>,
    goes: impl Fn(usize, Option<&[String]>) -> Option<usize>,
) -> Result<Vec<Joint<W>>, Capped> {
    let classes: Vec<(Mask<W>, Rc<Value>, Option<Vec<String>>)> = classes
        .into_iter()
        .map(|(mask, values)| (mask, Rc::new(Value::Key(key.to_owned(), values.clone())), values))
        .collect();
    let mut out = Vec::new();
    let mut known: Few<(usize, Mask<W>)> = Few::default();
    for joint in before {
        for (of, value, values) in &classes {
            let Some(kind) = goes(joint.kind, values.as_deref()) else { continue };
            let mask = joint.mask.and(*of);
            if known.insert((kind, mask)) {
                let link = Link { value: Rc::clone(value), before: joint.values.clone() };
                out.push(Joint { mask, kind, values: Some(Rc::new(link)) });
            }
        }
    }
    if out.len() > MASKS_MAX { Err(Capped) } else { Ok(out) }
}
