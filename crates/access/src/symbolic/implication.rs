//! Whether one document allows nothing that another does not.

use super::dimensions::{Dimension, Part, Value, actions, dimensions, variables};
use super::mask::Mask;
use super::patterns::{Fixed, Variables};
use super::strings::{Cache, Capped};
use crate::eval::{Doubt, outcome};
use crate::pattern::{Piece, pieces};
use crate::policy::{Document, Effect};
use crate::request::{Context, Request};
use std::collections::{BTreeSet, HashSet};

/// Masks of requests that are kept at a time.
const MASKS_MAX: usize = 4_000_000;
/// Witnesses that are replayed before an answer is called unconfirmed.
const WITNESSES_MAX: usize = 16;
/// Combinations of values of keys that patterns refer to.
const FIXED_MAX: usize = 64;

/// The answer to an implication.
#[derive(Clone, PartialEq, Debug)]
pub enum Verdict {
    /// No request is allowed by the candidate and not by the reference.
    Holds,
    /// This one is. The evaluator agrees.
    Fails(Box<Request>),
    /// Not decided; with a request that might be allowed where one was found.
    Undecided(String, Option<Box<Request>>),
}

/// Whether everything that `candidate` allows is allowed by `reference`. Statements that cannot be read for certain are taken to
/// allow in the candidate and to forbid in the reference.
#[must_use]
pub fn implies(candidate: &Document, reference: &Document) -> Verdict {
    let mut parts = parts_of(candidate, Doubt::Allows, 0);
    let split = parts.len();
    parts.extend(parts_of(reference, Doubt::Forbids, split));
    let question = Question { candidate, reference, parts, split };
    match question.parts.len() {
        0..=64 => question.decide::<1>(),
        65..=128 => question.decide::<2>(),
        129..=256 => question.decide::<4>(),
        257..=1024 => question.decide::<16>(),
        _ => question.decide::<128>(),
    }
}

/// The statements that may apply.
fn parts_of(document: &Document, doubt: Doubt, first: usize) -> Vec<Part<'_>> {
    let is_counted = |effect: Effect| (effect == Effect::Allow) == (doubt == Doubt::Allows);
    let statements = document.statements.iter().filter(|s| s.is_certain || is_counted(s.effect));
    statements.zip(first..).map(|(statement, bit)| Part { bit, document, statement }).collect()
}

struct Question<'d> {
    candidate: &'d Document,
    reference: &'d Document,
    /// Statements of the candidate, then those of the reference.
    parts: Vec<Part<'d>>,
    /// How many are the candidate's.
    split: usize,
}

/// The statements by what they do.
struct Sides<const W: usize> {
    allow: Mask<W>,
    deny: Mask<W>,
    reference_allow: Mask<W>,
    reference_deny: Mask<W>,
}

impl<const W: usize> Sides<W> {
    /// Allowed by the candidate, not by the reference.
    fn differ(&self, mask: &Mask<W>) -> bool {
        let is_allowed = mask.meets(&self.allow) && !mask.meets(&self.deny);
        let is_refused = !mask.meets(&self.reference_allow) || mask.meets(&self.reference_deny);
        is_allowed && is_refused
    }
}

impl Question<'_> {
    fn decide<const W: usize>(&self) -> Verdict {
        let mut sides: Sides<W> = Sides {
            allow: Mask::NONE,
            deny: Mask::NONE,
            reference_allow: Mask::NONE,
            reference_deny: Mask::NONE,
        };
        for part in &self.parts {
            let side = match (part.bit < self.split, part.statement.effect) {
                (true, Effect::Allow) => &mut sides.allow,
                (true, Effect::Deny) => &mut sides.deny,
                (false, Effect::Allow) => &mut sides.reference_allow,
                (false, Effect::Deny) => &mut sides.reference_deny,
            };
            side.insert(part.bit);
        }
        let mut cache = Cache::default();
        let Ok(actions) = actions::<W>(&self.parts, &mut cache) else {
            return Verdict::Undecided("the actions have too many patterns".to_owned(), None);
        };
        let actions: Vec<(Mask<W>, Value)> =
            actions.classes.into_iter().filter(|(mask, _)| mask.meets(&sides.allow)).collect();
        // With free variables first: if there is no request even then, there is none.
        let all = self.fixed();
        let no_values = Fixed::new();
        let variables = if all.len() > 1 { Variables::Free } else { Variables::Fixed(&no_values) };
        let mut unconfirmed = None;
        match self.witnesses(&actions, &variables, &sides, &mut cache) {
            Err(Capped) => {
                unconfirmed = Some(("the documents are too large for this analysis".to_owned(), None))
            }
            Ok((witnesses, widened)) => {
                for values in witnesses {
                    let request = self.plain(request_of(&values, &no_values));
                    if self.differs(&request) {
                        return Verdict::Fails(Box::new(request));
                    }
                    let why = match &variables {
                        Variables::Free => {
                            "it depends on values of variables that the documents do not tell apart"
                        }
                        Variables::Fixed(_) => "the evaluator does not confirm the request",
                    };
                    let why = widened.clone().unwrap_or_else(|| why.to_owned());
                    unconfirmed.get_or_insert((why, Some(Box::new(request))));
                }
            }
        }
        let Some((why, request)) = unconfirmed else { return Verdict::Holds };
        // Then with values that the documents name, one after the other, to find one that the evaluator confirms.
        for fixed in all.iter().filter(|_| all.len() > 1) {
            let Ok((found, _)) = self.witnesses(&actions, &Variables::Fixed(fixed), &sides, &mut cache)
            else {
                break;
            };
            for values in found {
                let request = self.plain(request_of(&values, fixed));
                if self.differs(&request) {
                    return Verdict::Fails(Box::new(request));
                }
            }
        }
        Verdict::Undecided(why, request)
    }

    /// Requests that the two documents judge differently, the first few, and why there may be more of them than real ones.
    fn witnesses<const W: usize>(
        &self,
        actions: &[(Mask<W>, Value)],
        variables: &Variables<'_>,
        sides: &Sides<W>,
        cache: &mut Cache,
    ) -> Result<Found, Capped> {
        let mut widened = None;
        let mut out = Vec::new();
        for (mask, action) in actions {
            let parts: Vec<Part<'_>> = self.parts.iter().filter(|p| mask.has(p.bit)).copied().collect();
            let dimensions = dimensions::<W>(&parts, variables, cache)?;
            for values in differing(*mask, &dimensions, sides)? {
                widened = widened.or_else(|| dimensions.iter().find_map(|d| d.widened.clone()));
                out.push(std::iter::once(action.clone()).chain(values).collect());
                if out.len() >= WITNESSES_MAX {
                    return Ok((out, widened));
                }
            }
        }
        Ok((out, widened))
    }

    /// What the evaluator says.
    fn differs(&self, request: &Request) -> bool {
        outcome(self.candidate, request, Doubt::Allows).is_allowed()
            && !outcome(self.reference, request, Doubt::Forbids).is_allowed()
    }

    /// The same request with ordinary words, as far as that changes nothing.
    fn plain(&self, mut request: Request) -> Request {
        if !self.differs(&request) {
            return request;
        }
        // Actions were compared in lower case: as a document writes it, if one does.
        let written = self.parts.iter().flat_map(|p| &p.statement.action.values).map(|w| &w.text);
        if let Some(written) = written.clone().find(|text| text.eq_ignore_ascii_case(&request.action)) {
            request.action.clone_from(written);
        }
        if request.resource == "*" {
            return request;
        }
        let service = request.action.split(':').next().unwrap_or_default().to_owned();
        for (part, word) in
            [(1, "aws"), (2, service.as_str()), (3, "eu-central-1"), (3, ""), (4, "111122223333"), (4, "")]
        {
            let mut parts: Vec<&str> = request.resource.splitn(6, ':').collect();
            // Colons in the last part are those of its service: what another has is no such resource.
            if part == 2 && parts.last().is_some_and(|last| last.contains(':')) {
                continue;
            }
            if let Some(slot) = parts.get_mut(part) {
                *slot = word;
            }
            let plainer = Request { resource: parts.join(":"), ..request.clone() };
            if self.differs(&plainer) {
                request = plainer;
            }
        }
        request
    }

    /// Values of the keys that patterns refer to, in all combinations that are likely to tell the documents apart.
    fn fixed(&self) -> Vec<Fixed> {
        let mut out = vec![Fixed::new()];
        for key in variables(&self.parts) {
            let values = self.values_of(&key);
            let with = |fixed: &Fixed, value: Option<&String>| {
                let mut fixed = fixed.clone();
                fixed.insert(key.clone(), value.cloned());
                fixed
            };
            let options = || values.iter().map(Some).chain([None]);
            out =
                out.iter().flat_map(|fixed| options().map(|v| with(fixed, v)).collect::<Vec<_>>()).collect();
            out.truncate(FIXED_MAX);
        }
        out
    }

    /// What the documents say of a key, what other patterns have in its place, and a value of which nobody speaks.
    fn values_of(&self, key: &str) -> BTreeSet<String> {
        let mut out = BTreeSet::from(["zz".to_owned()]);
        let mut texts: Vec<Vec<Piece>> = Vec::new();
        for Part { document, statement, .. } in &self.parts {
            let words = statement.resource.iter().flat_map(|r| &r.values);
            texts.extend(words.map(|w| pieces(&w.text, document.syntax(true))));
            for condition in &statement.conditions {
                let syntax = document.syntax(condition.operator.has_wildcards());
                let of = condition.values.iter().map(|w| pieces(&w.text, syntax));
                if condition.name() == key {
                    out.extend(of.clone().filter_map(|p| as_text(&p)));
                }
                texts.extend(of);
            }
        }
        let is_key = |p: &Piece| matches!(p, Piece::Variable { key: k, .. } if k == key);
        for text in &texts {
            let Some(place) = text.iter().position(is_key) else { continue };
            let behind = text.get(place + 1);
            for other in &texts {
                if text.iter().zip(other).take(place).all(|(a, b)| a == b) {
                    let taken: Vec<Piece> =
                        other.iter().skip(place).take_while(|p| Some(*p) != behind).cloned().collect();
                    out.extend(as_text(&taken).filter(|_| !taken.iter().any(is_key)));
                }
            }
        }
        out
    }
}

/// The characters of pieces, wildcards left out.
fn as_text(pieces: &[Piece]) -> Option<String> {
    let text: String =
        pieces.iter().filter_map(|p| if let Piece::Char(c) = p { Some(*c) } else { None }).collect();
    (!text.is_empty()).then_some(text)
}

fn request_of(values: &[Value], fixed: &Fixed) -> Request {
    let mut out = Request {
        principal: None,
        action: "z:z".to_owned(),
        resource: "*".to_owned(),
        context: Context::new(),
    };
    for (key, value) in fixed {
        if let Some(value) = value {
            out.context.insert(key.clone(), vec![value.clone()]);
        }
    }
    for value in values {
        match value {
            Value::Action(action) => out.action.clone_from(action),
            Value::Resource(resource) => out.resource.clone_from(resource),
            Value::Principal(principal) => {
                for (key, of) in
                    [("aws:principalarn", principal.arn()), ("aws:principalaccount", principal.account())]
                {
                    if let Some(of) = of {
                        out.context.insert(key.to_owned(), vec![of.to_owned()]);
                    }
                }
                out.principal = Some(principal.clone());
            }
            Value::Key(key, Some(values)) => drop(out.context.insert(key.clone(), values.clone())),
            Value::Key(_, None) => {}
        }
    }
    out
}

/// Values of requests, and why they may be none of real ones.
type Found = (Vec<Vec<Value>>, Option<String>);

/// A mask of requests so far, the one before it, and the class that made it.
type Step<const W: usize> = (Mask<W>, usize, usize);

/// Requests whose masks differ between the two sides, in a fixed order, the first few. `start` is the mask of their action.
fn differing<const W: usize>(
    start: Mask<W>,
    dimensions: &[Dimension<W>],
    sides: &Sides<W>,
) -> Result<Vec<Vec<Value>>, Capped> {
    let mut levels: Vec<Vec<Step<W>>> = vec![vec![(start, 0, 0)]];
    let mut total = 0;
    for dimension in dimensions {
        let mut next: Vec<Step<W>> = Vec::new();
        let mut seen: HashSet<Mask<W>> = HashSet::new();
        let last = levels.last().map(Vec::as_slice).unwrap_or_default();
        for (before, (mask, _, _)) in last.iter().enumerate() {
            for (class, (of, _)) in dimension.classes.iter().enumerate() {
                let mask = mask.and(*of);
                // What no Allow of the candidate can reach is of no interest.
                if mask.meets(&sides.allow) && seen.insert(mask) {
                    next.push((mask, before, class));
                }
            }
        }
        total += next.len();
        if total > MASKS_MAX {
            return Err(Capped);
        }
        levels.push(next);
    }
    let last = levels.last().map(Vec::as_slice).unwrap_or_default();
    let found = last.iter().enumerate().filter(|(_, (mask, _, _))| sides.differ(mask)).take(WITNESSES_MAX);
    Ok(found.map(|(at, _)| values_of(&levels, dimensions, at)).collect())
}

/// The values that lead to a mask of the last level.
fn values_of<const W: usize>(
    levels: &[Vec<Step<W>>],
    dimensions: &[Dimension<W>],
    mut at: usize,
) -> Vec<Value> {
    let mut out = Vec::with_capacity(dimensions.len());
    for (level, dimension) in levels.iter().skip(1).zip(dimensions).rev() {
        let Some((_, before, class)) = level.get(at) else { break };
        out.extend(dimension.classes.get(*class).map(|(_, value)| value.clone()));
        at = *before;
    }
    out
}
