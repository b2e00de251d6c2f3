//! Which sets of patterns an action or an ARN can match: part by part.
//!
//! The parts are independent, so their classes are found one by one and their masks intersected, which is far smaller than one
//! automaton over the whole text. A `*` of a pattern may stand for a colon as well; such a pattern is one of several ways to cut it
//! into parts.

use super::hash::{Few, Map, Set};
use super::strings::{Cache, Capped, Class, Shapes, Token};
use std::collections::BTreeSet;

/// Ways to cut one pattern.
const CUTS_MAX: usize = 64;
/// Ways up to which a list of them is searched.
const WAYS_FEW: usize = 24;
/// Combinations of parts that are kept.
const COMBINATIONS_MAX: usize = 100_000;

/// A pattern cut into parts: each is a piece of it.
type Cut<'p> = Vec<&'p [Token]>;

/// All ways to cut a pattern into `count` parts at colons, such that a text with colons between its parts matches it if and only if it
/// matches all parts of one of them. The last part may have colons of its own.
fn cuts(pattern: &[Token], count: usize) -> Result<Vec<Cut<'_>>, Capped> {
    if let Some(only) = only_cut(pattern, count) {
        return Ok(vec![only]);
    }
    let mut out: BTreeSet<Cut<'_>> = BTreeSet::new();
    let mut open: Vec<(Cut<'_>, usize)> = vec![(Vec::with_capacity(count), 0)];
    while let Some((parts, from)) = open.pop() {
        let rest = pattern.get(from..).unwrap_or_default();
        if parts.len() + 1 == count {
            out.insert(parts.into_iter().chain([rest]).collect());
            if out.len() > CUTS_MAX {
                return Err(Capped);
            }
            continue;
        }
        for (at, token) in rest.iter().enumerate() {
            // The part ends here: with a colon of the pattern, or with one that a wildcard stands for.
            let (part, next) = match token {
                Token::Char(':') | Token::One => (rest.get(..at), from + at + 1),
                Token::Any => (rest.get(..=at), from + at),
                _ => continue,
            };
            // Nothing else can end it: most parts end so, and the list goes on without a copy.
            if *token == Token::Char(':') {
                let mut parts = parts;
                parts.push(part.unwrap_or_default());
                open.push((parts, next));
                break;
            }
            let mut parts = parts.clone();
            parts.push(part.unwrap_or_default());
            open.push((parts, next));
        }
    }
    Ok(out.into_iter().collect())
}

/// The cut of a pattern that has no wildcard before its last part, as most have none.
fn only_cut(pattern: &[Token], count: usize) -> Option<Cut<'_>> {
    let mut out = Vec::with_capacity(count);
    let mut rest = pattern;
    while out.len() + 1 < count {
        let end = rest.iter().position(|t| matches!(t, Token::Char(':') | Token::One | Token::Any))?;
        if rest.get(end) != Some(&Token::Char(':')) {
            return None;
        }
        out.push(rest.get(..end)?);
        rest = rest.get(end + 1..)?;
    }
    out.push(rest);
    Some(out)
}

/// A cut and the pattern that it is of.
struct Way<'p> {
    pattern: usize,
    cut: Cut<'p>,
}

fn ways(patterns: &[Vec<Token>], count: usize) -> Result<Vec<Way<'_>>, Capped> {
    let mut out = Vec::new();
    for (pattern, tokens) in patterns.iter().enumerate() {
        out.extend(cuts(tokens, count)?.into_iter().map(|cut| Way { pattern, cut }));
    }
    Ok(out)
}

/// The patterns that have one of these ways.
fn matched(ways: &[&Way<'_>], patterns: usize) -> Vec<bool> {
    let mut out = vec![false; patterns];
    for way in ways {
        if let Some(slot) = out.get_mut(way.pattern) {
            *slot = true;
        }
    }
    out
}

/// The classes of actions, `service:name`, with a witness each. Of patterns with the same owner it is only right whether one of them
/// matches.
pub(super) fn actions(
    patterns: &[Vec<Token>],
    owners: &[usize],
    cache: &mut Cache,
) -> Result<Vec<Class>, Capped> {
    let ways = ways(patterns, 2)?;
    let all: Vec<&Way<'_>> = ways.iter().collect();
    let (mut out, mut seen) = (Vec::new(), Few::default());
    for (hit, service) in part_classes(&all, 0, Shapes::Part, "z", None, cache)? {
        let of_service = kept(&all, &hit);
        if of_service.is_empty() {
            let matched = vec![false; patterns.len()];
            if seen.insert(matched.clone()) {
                out.push(Class { matched, witness: format!("{service}:z") });
            }
            continue;
        }
        for (hit, name) in part_classes(&of_service, 1, Shapes::Part, "z", Some(owners), cache)? {
            let matched = matched(&kept(&of_service, &hit), patterns.len());
            if seen.insert(matched.clone()) {
                out.push(Class { matched, witness: format!("{service}:{name}") });
            }
        }
    }
    Ok(out)
}

/// The classes of ARNs, with a witness each.
pub(super) fn arns(patterns: &[Vec<Token>], cache: &mut Cache) -> Result<Vec<Class>, Capped> {
    // Every resource, the most frequent list.
    if patterns.iter().all(|p| p.as_slice() == [Token::Any]) {
        let witness = "arn:aws:z:eu-central-1:111122223333:z".to_owned();
        return Ok(vec![Class { matched: vec![true; patterns.len()], witness }]);
    }
    if let Some(known) = cache.arns.get(patterns) {
        return Ok(known.clone());
    }
    let found = arn_classes(patterns, cache)?;
    cache.arns.insert(patterns.to_vec(), found.clone());
    Ok(found)
}

fn arn_classes(patterns: &[Vec<Token>], cache: &mut Cache) -> Result<Vec<Class>, Capped> {
    let ways = ways(patterns, 6)?;
    let all: Vec<&Way<'_>> = ways.iter().collect();
    let arn = part_classes(&all, 0, Shapes::Only("arn"), "arn", None, cache)?;
    let begins = kept(&all, arn.first().map(|(hit, _)| hit.as_slice()).unwrap_or_default());
    let (mut out, mut seen) = (Vec::new(), Few::default());
    // What a resource looks like depends on its service.
    for (hit, service) in part_classes(&begins, 2, Shapes::Part, "z", None, cache)? {
        let of_service = kept(&begins, &hit);
        if of_service.is_empty() {
            let matched = vec![false; patterns.len()];
            if seen.insert(matched.clone()) {
                let [partition, region, account, resource] = PARTS.map(|(_, _, usual)| usual);
                let witness = format!("arn:{partition}:{service}:{region}:{account}:{resource}");
                out.push(Class { matched, witness });
            }
            continue;
        }
        let mut parts = Vec::with_capacity(PARTS.len());
        for (part, shapes, usual) in PARTS {
            let shapes = if part == 5 { Shapes::Resource(&service) } else { shapes };
            parts.push(part_classes(&of_service, part, shapes, usual, None, cache)?);
        }
        // By way, whether all parts match; and by part, the class.
        let mut found: Vec<(Vec<bool>, [usize; PARTS.len()])> =
            vec![(vec![true; of_service.len()], Default::default())];
        for (at, of_part) in parts.iter().enumerate().filter(|(_, of_part)| of_part.len() != 1) {
            let mut next = Vec::new();
            let mut known = Set::default();
            for (hit, words) in &found {
                for (class, (more, _)) in of_part.iter().enumerate() {
                    let both: Vec<bool> = hit.iter().zip(more).map(|(a, b)| *a && *b).collect();
                    if known.contains(&both) {
                        continue;
                    }
                    known.insert(both.clone());
                    let mut words = *words;
                    if let Some(slot) = words.get_mut(at) {
                        *slot = class;
                    }
                    next.push((both, words));
                }
            }
            if next.len() > COMBINATIONS_MAX {
                return Err(Capped);
            }
            found = next;
        }
        // Where a part has one class, all strings have it.
        for (more, _) in
            parts.iter().filter_map(|of_part| if let [one] = of_part.as_slice() { Some(one) } else { None })
        {
            for (hit, _) in &mut found {
                hit.iter_mut().zip(more).for_each(|(a, b)| *a &= *b);
            }
        }
        for (hit, words) in found {
            let matched = matched(&kept(&of_service, &hit), patterns.len());
            if seen.insert(matched.clone()) {
                let mut texts = parts.iter().zip(words).map(|(of_part, class)| {
                    of_part.get(class).map(|(_, word)| word.as_str()).unwrap_or_default()
                });
                let mut next = || texts.next().unwrap_or_default();
                let (partition, region, account, resource) = (next(), next(), next(), next());
                let witness = format!("arn:{partition}:{service}:{region}:{account}:{resource}");
                out.push(Class { matched, witness });
            }
        }
    }
    Ok(out)
}

/// The parts of an ARN beside its service, and a usual text of each.
const PARTS: [(usize, Shapes<'static>, &str); 4] = [
    (1, Shapes::Part, "aws"),
    (3, Shapes::PartOrEmpty, "eu-central-1"),
    (4, Shapes::PartOrEmpty, "111122223333"),
    // Of the service.
    (5, Shapes::Part, "z"),
];

fn kept<'w, 'p>(ways: &[&'w Way<'p>], hit: &[bool]) -> Vec<&'w Way<'p>> {
    ways.iter().zip(hit).filter(|(_, hit)| **hit).map(|(way, _)| *way).collect()
}

/// The classes of one part: by way, whether its part matches; and a witness. With owners of the patterns, it is only right whether
/// one of the ways of an owner matches.
fn part_classes(
    ways: &[&Way<'_>],
    part: usize,
    shapes: Shapes<'_>,
    usual: &str,
    owners: Option<&[usize]>,
    cache: &mut Cache,
) -> Result<Vec<(Vec<bool>, String)>, Capped> {
    let mut patterns: Vec<&[Token]> = Vec::new();
    let mut groups: Vec<usize> = Vec::new();
    let mut index: Map<(&[Token], Option<usize>), usize> = Map::default();
    // A list of few is searched faster than a map of them is made.
    let is_few = ways.len() <= WAYS_FEW;
    let mut of: Vec<usize> = Vec::with_capacity(ways.len());
    for way in ways {
        let tokens = way.cut.get(part).copied().unwrap_or_default();
        let owner = owners.and_then(|o| o.get(way.pattern)).copied();
        let group = owner.unwrap_or_default();
        let known = match is_few {
            true => patterns.iter().zip(&groups).position(|(p, g)| *g == group && *p == tokens),
            false => index.get(&(tokens, owner)).copied(),
        };
        of.push(known.unwrap_or_else(|| {
            if !is_few {
                index.insert((tokens, owner), patterns.len());
            }
            patterns.push(tokens);
            groups.push(group);
            patterns.len() - 1
        }));
    }
    if owners.is_none() {
        groups = (0..patterns.len()).collect();
    }
    let found = cache.classes(&patterns, &groups, shapes, usual)?;
    let hit = |class: &Class| of.iter().map(|p| class.matched.get(*p) == Some(&true)).collect();
    Ok(found.into_iter().map(|class| (hit(&class), class.witness)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::{Syntax, pieces};
    use crate::symbolic::strings::tokens;

    fn pattern(text: &str) -> Vec<Token> {
        tokens(&pieces(text, Syntax { wildcards: true, variables: false }), false).unwrap()
    }

    #[test]
    fn ways_to_cut() {
        let cuts = |text: &str| cuts(&pattern(text), 6).unwrap().len();
        assert_eq!(cuts("arn:aws:s3:::bucket/*"), 1);
        assert_eq!(cuts("*"), 1);
        assert_eq!(cuts("no-arn"), 0);
        assert_eq!(cuts("arn:aws:ec2:*"), 1);
        assert!(cuts("arn:aws:ec2:*:*:instance/*") <= 3);
    }

    /// Two stacks are two stacks: no ARN has both in it.
    #[test]
    fn no_resource_is_two() {
        let both = |a: &str, b: &str| {
            arns(&[pattern(a), pattern(b)], &mut Cache::default())
                .unwrap()
                .iter()
                .any(|c| c.matched == [true, true])
        };
        assert!(!both("arn:aws:cloudformation:*:*:stack/A/*", "arn:aws:cloudformation:*:*:stack/B/*"));
        assert!(both("arn:aws:cloudformation:*:*:stack/A*", "arn:aws:cloudformation:*:*:stack/*B"));
        assert!(!both("arn:aws:ecs:*:*:task-definition/a:*", "arn:aws:ecs:*:*:task-definition/b:*"));
        // A key of an object may be anything, and so may what we know nothing of.
        assert!(both("arn:aws:s3:*:*:x/*", "arn:aws:s3:*:*:y/*"));
        assert!(both("arn:aws:unheard-of:*:*:x/*", "arn:aws:unheard-of:*:*:*/y/*"));
    }
}
