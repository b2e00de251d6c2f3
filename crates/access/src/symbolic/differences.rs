//! Requests that two documents judge differently, from the masks of their dimensions.
//!
//! Such a request is allowed by one Allow of the candidate; no Deny of the candidate applies; and either no Allow of the reference
//! applies, or one of its Denies does. So we ask for each Allow (and each Deny of the reference) alone: can these statements apply
//! while none of those does? Of a dimension only the values count that meet the asked statements, and of a mask only the bits
//! that must go. That is a small part of all masks, and where one statement is as wide as the asked one in every dimension the
//! answer is found without trying anything.

use super::dimensions::{Dimension, Value};
use super::hash::Few;
use super::mask::Mask;
use super::strings::Capped;
use std::ops::ControlFlow;

/// Masks that are looked at for one action, seen before or not, times their words: a second or two.
const STEPS_MAX: usize = 256_000_000;
/// Masks that are kept at a time, times their words: a few hundred megabytes.
const KEPT_MAX: usize = 4_000_000;

/// The statements by what they do.
pub(super) struct Sides<const W: usize> {
    pub allow: Mask<W>,
    pub deny: Mask<W>,
    pub reference_allow: Mask<W>,
    pub reference_deny: Mask<W>,
}

/// Calls `found` with the values of each such request, in a fixed order, until it breaks. `start` is the mask of their action.
pub(super) fn differences<const W: usize>(
    start: Mask<W>,
    dimensions: &[Dimension<W>],
    sides: &Sides<W>,
    found: &mut dyn FnMut(Vec<Value>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, Capped> {
    let mut steps = 0;
    let unless = sides.deny.or(sides.reference_allow);
    for allow in start.and(sides.allow).bits() {
        let asked = Mask::of(allow);
        if apart(start, asked, unless, dimensions, &mut steps, found)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    for deny in start.and(sides.reference_deny).bits() {
        for allow in start.and(sides.allow).bits() {
            let asked = Mask::of(allow).or(Mask::of(deny));
            if apart(start, asked, sides.deny, dimensions, &mut steps, found)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// What is left of the unwanted bits, the one before it, and the class that made it.
type Step<const W: usize> = (Mask<W>, usize, usize);

/// Requests to which all of `asked` and none of `unless` apply.
fn apart<const W: usize>(
    start: Mask<W>,
    asked: Mask<W>,
    unless: Mask<W>,
    dimensions: &[Dimension<W>],
    steps: &mut usize,
    found: &mut dyn FnMut(Vec<Value>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, Capped> {
    let none = Ok(ControlFlow::Continue(()));
    let unless = start.and(unless);
    let mut rows: Vec<Vec<(Mask<W>, usize)>> = Vec::with_capacity(dimensions.len());
    for dimension in dimensions {
        *steps += dimension.classes.len() * W;
        let mut seen = Few::default();
        let of = dimension.classes.iter().enumerate().filter(|(_, (mask, _))| mask.and(asked) == asked);
        let row: Vec<_> =
            of.map(|(at, (mask, _))| (mask.and(unless), at)).filter(|(mask, _)| seen.insert(*mask)).collect();
        if row.is_empty() {
            return none;
        }
        rows.push(row);
    }
    // By dimension, the bits that no value of it or of a later one takes away; behind the last one, all.
    let mut stay = vec![Mask::ALL];
    for row in rows.iter().rev() {
        let behind = stay.last().copied().unwrap_or(Mask::ALL);
        stay.push(row.iter().fold(behind, |all, (mask, _)| all.and(*mask)));
    }
    stay.reverse();
    let mut kept = 0;
    let mut levels: Vec<Vec<Step<W>>> = vec![vec![(unless, 0, 0)]];
    if unless == Mask::NONE {
        return Ok(found(path(&levels, 0, None, &rows, dimensions)));
    }
    if stay.first().is_some_and(|stay| unless.meets(stay)) {
        return none;
    }
    for (row, stay) in rows.iter().zip(stay.iter().skip(1)) {
        let mut next: Vec<Step<W>> = Vec::new();
        let mut seen: Few<Mask<W>> = Few::default();
        let last = levels.last().map(Vec::as_slice).unwrap_or_default();
        for (before, (mask, _, _)) in last.iter().enumerate() {
            *steps += row.len() * W;
            if *steps > STEPS_MAX || kept > KEPT_MAX {
                return Err(Capped);
            }
            for (of, class) in row {
                let mask = mask.and(*of);
                if mask == Mask::NONE {
                    if found(path(&levels, before, Some(*class), &rows, dimensions)).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                } else if !mask.meets(stay) && seen.insert(mask) {
                    next.push((mask, before, *class));
                    kept += W;
                }
            }
        }
        levels.push(next);
    }
    none
}

/// The values that lead to a mask of the last level, the class of the next dimension, and the first ones of those behind.
fn path<const W: usize>(
    levels: &[Vec<Step<W>>],
    mut at: usize,
    class: Option<usize>,
    rows: &[Vec<(Mask<W>, usize)>],
    dimensions: &[Dimension<W>],
) -> Vec<Value> {
    let mut classes: Vec<usize> = class.into_iter().collect();
    for level in levels.iter().skip(1).rev() {
        let Some((_, before, class)) = level.get(at) else { break };
        classes.push(*class);
        at = *before;
    }
    classes.reverse();
    let rest = rows.iter().skip(classes.len()).filter_map(|row| Some(row.first()?.1));
    let classes: Vec<usize> = classes.iter().copied().chain(rest).collect();
    dimensions
        .iter()
        .zip(classes)
        .filter_map(|(dimension, class)| Some(dimension.classes.get(class)?.1.clone()))
        .collect()
}
