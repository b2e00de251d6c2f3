//! Condition keys: which conditions a value, a set of values, or a missing key meets.

use super::dimensions::{Dimension, Value};
use super::mask::Mask;
use super::patterns::{Pattern, Patterns, Variables, distinct, filled};
use super::strings::{Cache, Capped, Shapes, Token, arn_tokens};
use super::take::Asked;
use super::values::{Point, representatives};
use crate::pattern::Syntax;
use crate::policy::{Base, Condition, Quantifier};
use crate::reading::{Switch, is_set};
use std::collections::BTreeSet;

/// Masks of multivalued keys in one dimension.
const SETS_MAX: usize = 4_096;

/// Whether a condition holds for a key with one value that matches one of its values, or none.
pub(super) fn present(condition: &Condition, is_hit: bool) -> bool {
    match condition.operator.base {
        Base::Null => condition.values.iter().any(|w| w.text.eq_ignore_ascii_case("false")),
        _ => is_hit != condition.operator.negated,
    }
}

/// Whether a condition holds for a key that is not there.
pub(super) fn missing(condition: &Condition) -> bool {
    let operator = condition.operator;
    match (operator.quantifier, operator.base) {
        (_, Base::Null) => condition.values.iter().any(|w| w.text.eq_ignore_ascii_case("true")),
        (Quantifier::ForAllValues, _) => true,
        (Quantifier::ForAnyValue, _) => false,
        (Quantifier::Plain, _) => operator.negated || operator.if_exists,
    }
}

/// Whether a condition holds for a key that is there, with no value.
fn empty(asked: &Asked<'_>) -> bool {
    let operator = asked.condition.operator;
    if !asked.reading.has(Switch::EmptySetIsMissing) {
        return missing(asked.condition);
    }
    match (operator.quantifier, operator.base) {
        (Quantifier::Plain, Base::Null) => present(asked.condition, false),
        (Quantifier::Plain, _) => operator.negated,
        _ => missing(asked.condition),
    }
}

/// Whether values that are no values of its kind count as if they matched: so a negated condition is not met.
pub(super) fn is_met_by_odd(asked: &Asked<'_>) -> bool {
    asked.condition.operator.negated && asked.reading.has(Switch::UnparsableValue)
}

/// The patterns of a condition on a text; `None` for operators on other things.
pub(super) fn string_patterns(asked: &Asked<'_>, variables: &Variables<'_>) -> Option<Vec<Pattern>> {
    let Asked { document, condition, reading, .. } = asked;
    let operator = condition.operator;
    let syntax = document.syntax(operator.has_wildcards());
    let syntax = Syntax { variables: syntax.variables && operator.has_variables(), ..syntax };
    let texts = || {
        condition
            .values
            .iter()
            .filter_map(|w| filled(&w.text, syntax, Some(operator.base), *reading, variables))
    };
    match operator.base {
        Base::StringEquals | Base::StringEqualsIgnoreCase | Base::StringLike | Base::Bool | Base::Binary => {
            Some(texts().collect())
        }
        Base::Arn => {
            // A free variable may hold colons: its text is not cut into parts, which only lets it match more.
            let arn = |p: Pattern| match p.free {
                Some(_) => Some(p),
                None if reading.has(Switch::ArnPartial) && colons(&p.tokens) < 5 => None,
                None => Some(Pattern { tokens: arn_tokens(&p.tokens)?, free: None }),
            };
            Some(texts().filter_map(arn).collect())
        }
        Base::Null => Some(Vec::new()),
        Base::Numeric(_) | Base::Date(_) | Base::IpAddress => None,
    }
}

fn colons(tokens: &[Token]) -> usize {
    tokens.iter().filter(|token| **token == Token::Char(':')).count()
}

/// Which kind of value an operator reads.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Text,
    Number,
    Date,
    Address,
}

fn kind(base: Base) -> Kind {
    match base {
        Base::Numeric(_) => Kind::Number,
        Base::Date(_) => Kind::Date,
        Base::IpAddress => Kind::Address,
        _ => Kind::Text,
    }
}

/// By condition: whether the value meets one of its values. And the value.
type Hits = (Vec<bool>, String);

pub(super) fn key_dimension<const W: usize>(
    key: &str,
    conditions: &[Asked<'_>],
    variables: &Variables<'_>,
    cache: &mut Cache,
) -> Result<Dimension<W>, Capped> {
    let (classes, widened) = key_classes(key, conditions, &[], variables, cache)?;
    let classes = classes.into_iter().map(|(mask, values)| (mask, Value::Key(key.to_owned(), values)));
    Ok(Dimension { classes: distinct(classes), widened })
}

/// Classes of a key: what they meet, and values (`None`: missing).
type Classes<const W: usize> = Vec<(Mask<W>, Option<Vec<String>>)>;

/// Values of a key that stand for all that its conditions tell apart, and these as they are.
pub(super) fn values_of_key(
    key: &str,
    conditions: &[Asked<'_>],
    apart: &[String],
    variables: &Variables<'_>,
    cache: &mut Cache,
) -> Result<BTreeSet<String>, Capped> {
    let (singles, _) = single_values(key, conditions, apart, variables, cache)?;
    Ok(singles.into_iter().map(|(_, value)| value).chain(apart.iter().cloned()).collect())
}

/// All classes of a key, and why there may be more of them than real ones. `apart`: values that are a class each, and stand in a set of
/// each kind that they can stand in.
pub(super) fn key_classes<const W: usize>(
    key: &str,
    conditions: &[Asked<'_>],
    apart: &[String],
    variables: &Variables<'_>,
    cache: &mut Cache,
) -> Result<(Classes<W>, Option<String>), Capped> {
    let (mut singles, widened) = single_values(key, conditions, apart, variables, cache)?;
    let is_known = is_set(key);
    let is_many = is_known || conditions.iter().any(|c| c.condition.operator.quantifier != Quantifier::Plain);
    let fixed_value = variables.value(key);
    if let Some(value) = fixed_value {
        singles.retain(|(_, v)| Some(v) == value.as_ref());
    }
    let mask = |holds: &dyn Fn(usize, &Asked<'_>) -> bool| {
        let mut mask: Mask<W> = Mask::ALL;
        let mut is_met = false;
        for (at, asked) in conditions.iter().enumerate() {
            is_met |= holds(at, asked);
            if asked.is_either {
                continue;
            }
            if !std::mem::take(&mut is_met) {
                mask.remove(asked.bit);
            }
        }
        mask
    };
    let has = |switch: Switch| conditions.iter().any(|c| c.reading.has(switch));
    let mut out = Vec::new();
    if fixed_value.is_none_or(Option::is_none) {
        out.push((mask(&|_, asked| missing(asked.condition)), None));
    }
    if is_many && fixed_value.is_none() && has(Switch::EmptySetIsMissing) {
        out.push((mask(&|_, asked| empty(asked)), Some(Vec::new())));
    }
    let mut sets = if is_many && fixed_value.is_none() {
        sets_of(&singles, apart)?
    } else {
        singles
            .into_iter()
            .map(|(hits, value)| (hits.clone(), hits.iter().map(|h| !h).collect(), vec![value]))
            .collect()
    };
    // Two values that no condition tells apart are two all the same.
    if is_many && !is_known && fixed_value.is_none() && has(Switch::PlainOnMultivalue) {
        let pair = |(some, others, values): &Set| match values.as_slice() {
            [one] => Some((some.clone(), others.clone(), vec![one.clone(), one.clone()])),
            _ => None,
        };
        let pairs: Vec<Set> = sets.iter().filter_map(pair).collect();
        sets.extend(pairs);
    }
    for (some, others, values) in sets {
        let holds = |at: usize, asked: &Asked<'_>| {
            let condition = asked.condition;
            let is_refused = asked.reading.has(Switch::PlainOnMultivalue) && (is_known || values.len() > 1);
            let (hit, miss) = (some.get(at) == Some(&true), others.get(at) == Some(&true));
            let operator = condition.operator;
            match (operator.quantifier, operator.base) {
                (_, Base::Null) => present(condition, false),
                (Quantifier::ForAllValues, _) => {
                    if operator.negated {
                        !hit
                    } else {
                        !miss
                    }
                }
                (Quantifier::ForAnyValue, _) => {
                    if operator.negated {
                        miss
                    } else {
                        hit
                    }
                }
                (Quantifier::Plain, _) => !is_refused && hit != operator.negated,
            }
        };
        out.push((mask(&holds), Some(values)));
    }
    Ok((out, widened))
}

/// A set of values: by condition, whether one of them meets it, whether one of them does not; and the values.
type Set = (Vec<bool>, Vec<bool>, Vec<String>);

/// All that finite sets of values can be: unions of what single values are, until nothing new comes. And all that those can be which have
/// one of `apart` in them.
fn sets_of(singles: &[Hits], apart: &[String]) -> Result<Vec<Set>, Capped> {
    // What is met and what is not, one behind the other; and which single values it is made of.
    let mut out: Vec<(Vec<bool>, Vec<usize>)> = Vec::new();
    let mut seen = super::hash::Set::default();
    for (at, (hits, _)) in singles.iter().enumerate() {
        let both: Vec<bool> = hits.iter().copied().chain(hits.iter().map(|h| !h)).collect();
        if seen.insert(both.clone()) {
            out.push((both, vec![at]));
        }
    }
    let first: Vec<(Vec<bool>, usize)> =
        out.iter().filter_map(|(both, of)| Some((both.clone(), *of.first()?))).collect();
    let mut union = Vec::new();
    let mut at = 0;
    while at < out.len() {
        for (more, single) in &first {
            let Some((both, of)) = out.get(at) else { break };
            union.clear();
            union.extend(both.iter().zip(more).map(|(a, b)| *a || *b));
            if seen.contains(&union) {
                continue;
            }
            if out.len() >= SETS_MAX {
                return Err(Capped);
            }
            seen.insert(union.clone());
            let of = of.iter().chain([single]).copied().collect();
            out.push((union.clone(), of));
        }
        at += 1;
    }
    let all = out.len();
    for (single, (hits, value)) in singles.iter().enumerate() {
        if !apart.contains(value) {
            continue;
        }
        let own: Vec<bool> = hits.iter().copied().chain(hits.iter().map(|h| !h)).collect();
        let mut seen = super::hash::Set::default();
        seen.insert(own.clone());
        let mut with_it = vec![(own.clone(), vec![single])];
        for (both, of) in out.iter().take(all) {
            let both: Vec<bool> = both.iter().zip(&own).map(|(a, b)| *a || *b).collect();
            if seen.insert(both.clone()) {
                with_it.push((both, of.iter().copied().chain([single]).collect()));
            }
        }
        out.extend(with_it);
        if out.len() > SETS_MAX {
            return Err(Capped);
        }
    }
    let text = |at: usize| singles.get(at).map(|(_, value)| value.clone());
    Ok(out
        .into_iter()
        .map(|(mut both, of)| {
            let misses = both.split_off(both.len() / 2);
            (both, misses, of.into_iter().filter_map(text).collect())
        })
        .collect())
}

/// Values that stand for all single values of a key, with what they meet.
fn single_values(
    key: &str,
    conditions: &[Asked<'_>],
    apart: &[String],
    variables: &Variables<'_>,
    cache: &mut Cache,
) -> Result<(Vec<Hits>, Option<String>), Capped> {
    let kinds: BTreeSet<Kind> = conditions
        .iter()
        .map(|c| c.condition.operator.base)
        .filter(|base| *base != Base::Null)
        .map(kind)
        .collect();
    let mut out: Option<Vec<Hits>> = None;
    for of in &kinds {
        let is_of = |c: &Condition| c.operator.base != Base::Null && kind(c.operator.base) == *of;
        let mut hits: Vec<Hits> = if *of == Kind::Text {
            texts(conditions, apart, variables, cache)?
        } else {
            let words: Vec<&str> = conditions
                .iter()
                .map(|c| c.condition)
                .filter(|c| is_of(c))
                .flat_map(|c| c.values.iter().map(|w| w.text.as_str()))
                .collect();
            let base = conditions.iter().map(|c| c.condition).find(|c| is_of(c)).map(|c| c.operator.base);
            let values = base.map(|base| representatives(base, &words)).unwrap_or_default();
            // Each text is read once, not once for each value.
            let read = |c: &Condition| {
                let texts = c.values.iter().filter(|_| is_of(c));
                (c.operator.base, texts.filter_map(|w| Point::read(c.operator.base, &w.text)).collect())
            };
            let asked: Vec<(Base, Vec<Point>)> = conditions.iter().map(|c| read(c.condition)).collect();
            let is_odd = |(at, (_, texts)): (usize, &(Base, Vec<Point>))| {
                let of = conditions.get(at).filter(|c| is_of(c.condition) && is_met_by_odd(c));
                of.is_some_and(|c| texts.len() < c.condition.values.len())
            };
            let odd: Vec<bool> = asked.iter().enumerate().map(is_odd).collect();
            let hits_of = |value: &str| -> Vec<bool> {
                let value = base.and_then(|base| Point::read(base, value));
                let hit = |((base, texts), odd): (&(Base, Vec<Point>), &bool)| {
                    *odd || value.is_some_and(|value| texts.iter().any(|text| value.meets(*base, text)))
                };
                asked.iter().zip(&odd).map(hit).collect()
            };
            values.into_iter().chain(apart.iter().cloned()).map(|v| (hits_of(&v), v)).collect()
        };
        let odd: Vec<bool> = conditions.iter().map(|c| is_of(c.condition) && is_met_by_odd(c)).collect();
        if kinds.len() > 1 || (*of != Kind::Text && odd.contains(&true)) {
            // A value of the one kind need not be one of the other.
            let hit = |odd: &bool| *odd && *of != Kind::Text;
            hits.push((odd.iter().map(hit).collect(), "z".to_owned()));
        }
        // A key that is read as two kinds of values: any of the one with any of the other.
        out = Some(match out {
            None => hits,
            Some(before) => before
                .iter()
                .flat_map(|(a, value)| {
                    hits.iter()
                        .map(move |(b, _)| (a.iter().zip(b).map(|(a, b)| *a || *b).collect(), value.clone()))
                })
                .collect(),
        });
    }
    let widened = (kinds.len() > 1).then(|| format!("`{key}` is read as two kinds of values"));
    let none = |value: &str| (vec![false; conditions.len()], value.to_owned());
    Ok((
        out.unwrap_or_else(|| ["z"].into_iter().chain(apart.iter().map(String::as_str)).map(none).collect()),
        widened,
    ))
}

fn texts(
    conditions: &[Asked<'_>],
    apart: &[String],
    variables: &Variables<'_>,
    cache: &mut Cache,
) -> Result<Vec<Hits>, Capped> {
    let mut patterns = Patterns::default();
    let mut of = Vec::with_capacity(conditions.len());
    // By condition, the pattern of all ARNs where another text counts as if it matched.
    let mut arns: Vec<Option<usize>> = Vec::with_capacity(conditions.len());
    for asked in conditions {
        let texts = string_patterns(asked, variables).unwrap_or_default();
        of.push(texts.into_iter().map(|t| patterns.add(t)).collect::<Vec<usize>>());
        let is_arn = asked.condition.operator.base == Base::Arn && is_met_by_odd(asked);
        arns.push(is_arn.then(|| patterns.add(arn_tokens(&[Token::Any]).unwrap_or_default())));
    }
    // A fixed value is a class of its own.
    let is_bool = |c: &Condition| c.operator.base == Base::Bool;
    if conditions.iter().any(|c| is_bool(c.condition)) {
        for word in ["true", "false"] {
            patterns.add(word.chars().map(Token::Char).collect::<Vec<_>>());
        }
    }
    if let Variables::Fixed(fixed) = variables {
        for value in fixed.values().flatten() {
            patterns.add(value.chars().map(Token::Char).collect::<Vec<_>>());
        }
    }
    for value in apart {
        patterns.add(value.chars().map(Token::Char).collect::<Vec<_>>());
    }
    let mut found = patterns.classes(Shapes::All, "z", cache)?;
    if conditions.iter().all(|c| is_bool(c.condition) || c.condition.operator.base == Base::Null) {
        found.retain(|c| c.witness == "true" || c.witness == "false" || apart.contains(&c.witness));
    }
    let hits = |matched: &[bool]| {
        let is_hit = |of: &Vec<usize>| of.iter().any(|p| matched.get(*p) == Some(&true));
        let is_odd = |arn: &Option<usize>| arn.is_some_and(|p| matched.get(p) != Some(&true));
        of.iter().zip(&arns).map(|(of, arn)| is_hit(of) || is_odd(arn)).collect::<Vec<bool>>()
    };
    Ok(found.into_iter().map(|c| (hits(&c.matched), c.witness)).collect())
}
