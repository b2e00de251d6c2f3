//! Which sets of patterns an action or an ARN can match: part by part.
//!
//! The parts are independent, so their classes are found one by one and their masks intersected, which is far smaller than one
//! automaton over the whole text. A `*` of a pattern may stand for a colon as well; such a pattern is one of several ways to cut it
//! into parts.

use super::hash::{Map, Set};
use super::strings::{Cache, Capped, Class, Token};
use crate::catalog;
use std::collections::BTreeSet;

/// Ways to cut one pattern.
const CUTS_MAX: usize = 64;
/// Combinations of parts that are kept.
const COMBINATIONS_MAX: usize = 100_000;

/// A pattern cut into parts.
type Cut = Vec<Vec<Token>>;

/// All ways to cut a pattern into `count` parts at colons, such that a text with colons between its parts matches it if and only if it
/// matches all parts of one of them. The last part may have colons of its own.
fn cuts(pattern: &[Token], count: usize) -> Result<Vec<Cut>, Capped> {
    let mut out: BTreeSet<Cut> = BTreeSet::new();
    let mut open: Vec<(Cut, usize)> = vec![(Vec::new(), 0)];
    while let Some((parts, from)) = open.pop() {
        let rest = pattern.get(from..).unwrap_or_default();
        if parts.len() + 1 == count {
            out.insert(parts.into_iter().chain([rest.to_vec()]).collect());
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
            let mut parts = parts.clone();
            parts.push(part.unwrap_or_default().to_vec());
            open.push((parts, next));
            if *token == Token::Char(':') {
                break;
            }
        }
    }
    Ok(out.into_iter().collect())
}

/// A cut and the pattern that it is of.
struct Way {
    pattern: usize,
    cut: Cut,
}

fn ways(patterns: &[Vec<Token>], count: usize) -> Result<Vec<Way>, Capped> {
    let mut out = Vec::new();
    for (pattern, tokens) in patterns.iter().enumerate() {
        out.extend(cuts(tokens, count)?.into_iter().map(|cut| Way { pattern, cut }));
    }
    Ok(out)
}

/// The patterns that have one of these ways.
fn matched(ways: &[&Way], patterns: usize) -> Vec<bool> {
    let mut out = vec![false; patterns];
    for way in ways {
        if let Some(slot) = out.get_mut(way.pattern) {
            *slot = true;
        }
    }
    out
}

fn some() -> Vec<Token> {
    vec![Token::OneInPart, Token::AnyInPart]
}

/// The classes of actions, `service:name`, with a witness each. Of patterns with the same owner it is only right whether one of them
/// matches.
pub(super) fn actions(
    patterns: &[Vec<Token>],
    owners: &[usize],
    cache: &mut Cache,
) -> Result<Vec<Class>, Capped> {
    let ways = ways(patterns, 2)?;
    let all: Vec<&Way> = ways.iter().collect();
    let (mut out, mut seen) = (Vec::new(), Set::default());
    for (hit, service) in part_classes(&all, 0, &[some()], "z", None, cache)? {
        let of_service = kept(&all, &hit);
        for (hit, name) in part_classes(&of_service, 1, &[some()], "z", Some(owners), cache)? {
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
    if let Some(known) = cache.arns.get(patterns) {
        return Ok(known.clone());
    }
    let found = arn_classes(patterns, cache)?;
    cache.arns.insert(patterns.to_vec(), found.clone());
    Ok(found)
}

fn arn_classes(patterns: &[Vec<Token>], cache: &mut Cache) -> Result<Vec<Class>, Capped> {
    let ways = ways(patterns, 6)?;
    let all: Vec<&Way> = ways.iter().collect();
    let literal = "arn".chars().map(Token::Char).collect();
    let arn = part_classes(&all, 0, &[literal], "arn", None, cache)?;
    let begins = kept(&all, arn.first().map(|(hit, _)| hit.as_slice()).unwrap_or_default());
    let (mut out, mut seen) = (Vec::new(), Set::default());
    // What a resource looks like depends on its service.
    for (hit, service) in part_classes(&begins, 2, &[some()], "z", None, cache)? {
        let of_service = kept(&begins, &hit);
        let shapes: Vec<Vec<Token>> =
            catalog::resource_shapes(&service).iter().map(|s| s.iter().map(token).collect()).collect();
        let mut found: Vec<(Vec<bool>, Vec<String>)> = vec![(vec![true; of_service.len()], Vec::new())];
        let any = [vec![Token::AnyInPart]];
        for (part, shapes, usual) in [
            (1, &[some()][..], "aws"),
            (3, &any[..], "eu-central-1"),
            (4, &any[..], "111122223333"),
            (5, &shapes[..], "z"),
        ] {
            let of_part = part_classes(&of_service, part, shapes, usual, None, cache)?;
            let mut next: Vec<(Vec<bool>, Vec<String>)> = Vec::new();
            let mut known = Set::default();
            for (hit, words) in &found {
                for (more, word) in &of_part {
                    let both: Vec<bool> = hit.iter().zip(more).map(|(a, b)| *a && *b).collect();
                    if known.insert(both.clone()) {
                        next.push((both, words.iter().chain([word]).cloned().collect()));
                    }
                }
            }
            if next.len() > COMBINATIONS_MAX {
                return Err(Capped);
            }
            found = next;
        }
        for (hit, words) in found {
            let matched = matched(&kept(&of_service, &hit), patterns.len());
            if seen.insert(matched.clone()) {
                let [partition, region, account, resource] = words.as_slice() else { continue };
                let witness = format!("arn:{partition}:{service}:{region}:{account}:{resource}");
                out.push(Class { matched, witness });
            }
        }
    }
    Ok(out)
}

fn token(shape: &catalog::Shape) -> Token {
    match shape {
        catalog::Shape::Char(c) => Token::Char(*c),
        catalog::Shape::Some => Token::OneInPart,
        catalog::Shape::More => Token::AnyInPart,
        catalog::Shape::SomeWithColons => Token::One,
        catalog::Shape::MoreWithColons => Token::Any,
    }
}

fn kept<'w>(ways: &[&'w Way], hit: &[bool]) -> Vec<&'w Way> {
    ways.iter().zip(hit).filter(|(_, hit)| **hit).map(|(way, _)| *way).collect()
}

/// The classes of one part: by way, whether its part matches; and a witness. With owners of the patterns, it is only right whether
/// one of the ways of an owner matches.
fn part_classes(
    ways: &[&Way],
    part: usize,
    shapes: &[Vec<Token>],
    usual: &str,
    owners: Option<&[usize]>,
    cache: &mut Cache,
) -> Result<Vec<(Vec<bool>, String)>, Capped> {
    let mut patterns: Vec<Vec<Token>> = Vec::new();
    let mut groups: Vec<usize> = Vec::new();
    let mut index: Map<(&[Token], Option<usize>), usize> = Map::default();
    let of: Vec<usize> = ways
        .iter()
        .map(|way| {
            let tokens = way.cut.get(part).map(Vec::as_slice).unwrap_or_default();
            let owner = owners.and_then(|o| o.get(way.pattern)).copied();
            *index.entry((tokens, owner)).or_insert_with(|| {
                patterns.push(tokens.to_vec());
                groups.push(owner.unwrap_or_default());
                patterns.len() - 1
            })
        })
        .collect();
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
