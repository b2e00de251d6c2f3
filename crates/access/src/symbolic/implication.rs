//! Whether one document allows nothing that another does not.

use super::covers::covers;
use super::differences::{Sides, differences};
use super::dimensions::{Dimension, Part, Value, actions, dimensions, variables};
use super::mask::Mask;
use super::patterns::{Fixed, Variables};
use super::strings::{Cache, Capped};
use super::take::{Take, named};
use crate::eval::{Doubt, outcome_in};
use crate::pattern::{Piece, pieces};
use crate::policy::{Document, Effect};
use crate::reading::{READINGS_MAX, Reading, Switches, depends_on, touched};
use crate::request::{Context, Request};
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// Witnesses that are replayed before an answer is called unconfirmed.
const WITNESSES_MAX: usize = 16;
/// Actions whose dimensions are kept for other actions.
const BUILT_MAX: usize = 8;
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
    let touched = touched([candidate, reference].into_iter());
    let Some(readings) = touched.readings() else {
        // Too many to go through: all of them at once, which can only say that nothing is allowed in any.
        let verdict = judged(candidate, reference, touched, &[], &|is_wide| Take::any(touched, is_wide));
        return match verdict {
            Verdict::Undecided(why, request) => {
                let many =
                    format!("{why}; of its switches there are more than {READINGS_MAX} readings ({touched})");
                Verdict::Undecided(many, request)
            }
            verdict => verdict,
        };
    };
    let mut undecided = None;
    for reading in &readings {
        match judged(candidate, reference, touched, &readings, &|_| Take::fixed(*reading)) {
            Verdict::Holds => {}
            Verdict::Undecided(why, request) => {
                let is_too_large = request.is_none();
                if undecided.is_none() || why == depends_on(touched) {
                    undecided = Some((why, request));
                }
                // It will be in the other readings as well.
                if is_too_large {
                    break;
                }
            }
            fails @ Verdict::Fails(_) => return fails,
        }
    }
    undecided.map_or(Verdict::Holds, |(why, request)| Verdict::Undecided(why, request))
}

/// The answer where the statements are taken like that. `take`: by whether a statement is to be as wide as possible. What fails, fails
/// in all of `readings`.
fn judged(
    candidate: &Document,
    reference: &Document,
    touched: Switches,
    readings: &[Reading],
    take: &dyn Fn(bool) -> Take,
) -> Verdict {
    let mut parts = parts_of(candidate, Doubt::Allows, 0, take);
    let split = parts.len();
    parts.extend(parts_of(reference, Doubt::Forbids, split, take));
    let question = Question { candidate, reference, parts, split, touched, readings };
    match question.parts.len() {
        0..=64 => question.decide::<1>(),
        65..=128 => question.decide::<2>(),
        129..=256 => question.decide::<4>(),
        257..=1024 => question.decide::<16>(),
        _ => question.decide::<128>(),
    }
}

/// The statements that may apply.
fn parts_of<'d>(
    document: &'d Document,
    doubt: Doubt,
    first: usize,
    take: &dyn Fn(bool) -> Take,
) -> Vec<Part<'d>> {
    let is_counted = |effect: Effect| (effect == Effect::Allow) == (doubt == Doubt::Allows);
    let statements = document.statements.iter().filter(|s| s.is_certain || is_counted(s.effect));
    let part = |(statement, bit): (&'d crate::policy::Statement, usize)| Part {
        bit,
        document,
        statement,
        take: take(is_counted(statement.effect)),
    };
    statements.zip(first..).map(part).collect()
}

struct Question<'d> {
    candidate: &'d Document,
    reference: &'d Document,
    /// Statements of the candidate, then those of the reference.
    parts: Vec<Part<'d>>,
    /// How many are the candidate's.
    split: usize,
    /// Switches that the two documents touch, and the readings in all of which a request must be judged so.
    touched: Switches,
    readings: &'d [Reading],
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
        let open = self.open(actions.classes, &sides);
        if open.is_empty() {
            return Verdict::Holds;
        }
        // With free variables first: if there is no request even then, there is none.
        let all = self.fixed();
        let no_values = Fixed::new();
        let variables = if all.len() > 1 { Variables::Free } else { Variables::Fixed(&no_values) };
        let (mut why, mut request) = match self.search(&open, &variables, &sides, &mut cache) {
            Err(Capped) => ("the documents are too large for this analysis".to_owned(), None),
            Ok(Found::None) => return Verdict::Holds,
            Ok(Found::Confirmed(request)) => return Verdict::Fails(request),
            Ok(Found::Possible(_, request)) if self.differs_somewhere(&request) => {
                (depends_on(self.touched), Some(request))
            }
            Ok(Found::Possible(why, request)) => {
                let why = why.unwrap_or_else(|| {
                    match &variables {
                        Variables::Free => {
                            "it depends on values of variables that the documents do not tell apart"
                        }
                        Variables::Fixed(_) => "the evaluator does not confirm the request",
                    }
                    .to_owned()
                });
                (why, Some(request))
            }
        };
        // Then with values that the documents name, one after the other, to find one that the evaluator confirms.
        for fixed in all.iter().filter(|_| all.len() > 1) {
            match self.search(&open, &Variables::Fixed(fixed), &sides, &mut cache) {
                Err(Capped) => break,
                Ok(Found::Confirmed(request)) => return Verdict::Fails(request),
                Ok(Found::Possible(_, found)) if self.differs_somewhere(&found) => {
                    (why, request) = (depends_on(self.touched), Some(found));
                }
                Ok(_) => {}
            }
        }
        Verdict::Undecided(why, request)
    }

    /// The actions for which the texts alone do not show that nothing new is allowed, each with the statements that matter: not those
    /// that cannot make a difference, because another one applies wherever they do.
    fn open<const W: usize>(
        &self,
        actions: Vec<(Mask<W>, Value)>,
        sides: &Sides<W>,
    ) -> Vec<(Mask<W>, Value)> {
        // By statement, what makes it harmless: a Deny of the candidate for all of them, an Allow of the reference for an Allow.
        let harmless: Vec<(&Part<'_>, Mask<W>)> = self
            .parts
            .iter()
            .filter(|part| sides.allow.has(part.bit) || sides.reference_deny.has(part.bit))
            .map(|part| {
                let mut by = Mask::NONE;
                for other in &self.parts {
                    let counts = sides.deny.has(other.bit)
                        || (sides.allow.has(part.bit) && sides.reference_allow.has(other.bit));
                    if counts && covers(other, part) {
                        by.insert(other.bit);
                    }
                }
                (part, by)
            })
            .collect();
        let mut out = Vec::new();
        for (mut mask, action) in actions {
            if !mask.meets(&sides.allow) {
                continue;
            }
            let all = mask;
            let drop = |mask: &mut Mask<W>, side: &Mask<W>, by_only: &Mask<W>| {
                for (part, by) in harmless.iter().filter(|(part, _)| side.has(part.bit)) {
                    if by.and(*by_only).meets(&all) {
                        mask.remove(part.bit);
                    }
                }
            };
            drop(&mut mask, &sides.reference_deny, &sides.deny);
            // An Allow that the reference has as well makes a difference where the reference denies.
            let is_denied = mask.meets(&sides.reference_deny);
            drop(&mut mask, &sides.allow, if is_denied { &sides.deny } else { &Mask::ALL });
            if mask.meets(&sides.allow) {
                out.push((mask, action));
            }
        }
        // Those with most statements first: what is built for them serves for the others.
        out.sort_by_key(|(mask, _)| std::cmp::Reverse(mask.count()));
        out
    }

    /// The first request that the two documents judge differently and the evaluator confirms, of the first few.
    fn search<const W: usize>(
        &self,
        actions: &[(Mask<W>, Value)],
        variables: &Variables<'_>,
        sides: &Sides<W>,
        cache: &mut Cache,
    ) -> Result<Found, Capped> {
        let no_values = Fixed::new();
        let fixed = if let Variables::Fixed(fixed) = variables { fixed } else { &no_values };
        let mut out = Found::None;
        let mut tried = 0;
        // Dimensions of more statements serve for fewer: the bits of the others are never asked about. Not so where the others bring
        // principals in, since keys that follow from who asks are then no longer free.
        let mut built: Vec<(Mask<W>, bool, Vec<Dimension<W>>)> = Vec::new();
        for (mask, action) in actions {
            let parts: Vec<Part<'_>> = self.parts.iter().filter(|p| mask.has(p.bit)).copied().collect();
            let has_principals = parts.iter().any(|p| p.statement.principal.is_some());
            let serves = |(of, with_principals, _): &(Mask<W>, bool, _)| {
                mask.and(*of) == *mask && *with_principals == has_principals
            };
            if !built.iter().any(serves) {
                if built.len() >= BUILT_MAX {
                    built.remove(0);
                }
                built.push((*mask, has_principals, dimensions::<W>(&parts, variables, cache)?));
            }
            let Some((_, _, dimensions)) = built.iter().find(|b| serves(b)) else { continue };
            let found = &mut |mut values: Vec<Value>| {
                values.push(action.clone());
                let request = match self.confirmed(request_of(&values, fixed)) {
                    Ok(request) => {
                        out = Found::Confirmed(Box::new(request));
                        return ControlFlow::Break(());
                    }
                    Err(request) => Box::new(request),
                };
                // Rather one that is so in some reading.
                let is_better = match &out {
                    Found::None => true,
                    Found::Possible(_, known) => {
                        !self.differs_somewhere(known) && self.differs_somewhere(&request)
                    }
                    Found::Confirmed(_) => false,
                };
                if is_better {
                    let widened = dimensions.iter().find_map(|d| d.widened.clone());
                    out = Found::Possible(widened, request);
                }
                tried += 1;
                if tried < WITNESSES_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            };
            if differences(*mask, dimensions, sides, found)?.is_break() {
                break;
            }
        }
        Ok(out)
    }

    /// What the evaluator says, whatever the reading.
    fn differs(&self, request: &Request) -> bool {
        !self.readings.is_empty() && self.readings.iter().all(|reading| self.differs_in(request, *reading))
    }

    fn differs_in(&self, request: &Request, reading: Reading) -> bool {
        outcome_in(self.candidate, request, Doubt::Allows, reading).is_allowed()
            && !outcome_in(self.reference, request, Doubt::Forbids, reading).is_allowed()
    }

    fn differs_somewhere(&self, request: &Request) -> bool {
        self.readings.len() > 1 && self.readings.iter().any(|reading| self.differs_in(request, *reading))
    }

    /// The request with ordinary words as far as that changes nothing, if the evaluator judges it as the engine does; else as it was.
    fn confirmed(&self, mut request: Request) -> Result<Request, Request> {
        // Actions were compared in lower case: as a document writes it, if one does.
        let written = self.parts.iter().flat_map(|p| &p.statement.action.values).map(|w| &w.text);
        if let Some(written) = written.clone().find(|text| text.eq_ignore_ascii_case(&request.action)) {
            request.action.clone_from(written);
        }
        if !self.differs(&request) {
            return Err(request);
        }
        if request.resource == "*" {
            return Ok(request);
        }
        let service = request.action.split(':').next().unwrap_or_default().to_owned();
        let with = |request: &Request, words: &[(usize, &str)]| {
            let mut parts: Vec<&str> = request.resource.splitn(6, ':').collect();
            // Colons in the last part are those of its service: what another has is no such resource.
            let has_colons = parts.last().is_some_and(|last| last.contains(':'));
            for (part, word) in words.iter().filter(|(part, _)| *part != 2 || !has_colons) {
                if let Some(slot) = parts.get_mut(*part) {
                    *slot = word;
                }
            }
            let resource = parts.join(":");
            if resource == request.resource {
                return None;
            }
            let plainer = Request { resource, ..request.clone() };
            self.differs(&plainer).then_some(plainer)
        };
        // All at once, which is nearly always right; else one by one.
        let plainest = [(1, "aws"), (2, service.as_str()), (3, ""), (4, "")];
        if let Some(plainer) = with(&request, &plainest) {
            return Ok(plainer);
        }
        for word in
            [(1, "aws"), (2, service.as_str()), (3, "eu-central-1"), (3, ""), (4, "111122223333"), (4, "")]
        {
            if let Some(plainer) = with(&request, &[word]) {
                request = plainer;
            }
        }
        Ok(request)
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
        for Part { document, statement, take, .. } in &self.parts {
            let words = statement.resource.iter().flat_map(|r| &r.values);
            texts.extend(words.map(|w| pieces(&w.text, document.syntax(true))));
            for condition in &statement.conditions {
                let syntax = document.syntax(condition.operator.has_wildcards());
                let of = condition.values.iter().map(|w| pieces(&w.text, syntax));
                if take.key(&condition.key) == key {
                    out.extend(of.clone().filter_map(|p| as_text(&p)));
                }
                texts.extend(of);
            }
        }
        let reading = self.parts.first().map(|p| p.take.reading).unwrap_or_default();
        let is_key = |p: &Piece| matches!(p, Piece::Variable { key: k, .. } if named(k, reading) == key);
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

pub(super) fn request_of<'v>(values: impl IntoIterator<Item = &'v Value>, fixed: &Fixed) -> Request {
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
    values.into_iter().for_each(|value| set(&mut out, value));
    out
}

fn set(out: &mut Request, value: &Value) {
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
        Value::Several(values) => values.iter().for_each(|value| set(out, value)),
    }
}

/// What a search came to.
enum Found {
    None,
    /// The evaluator agrees.
    Confirmed(Box<Request>),
    /// It does not; with the reason, if the search itself may have gone too far.
    Possible(Option<String>, Box<Request>),
}
