//! The classes of strings where every pattern is an ARN whose wildcards stay within its six sections, as accounts, roles and sources
//! are written: section by section, which is far less than one automaton over whole texts. It finds the same classes in the same
//! order with the same witnesses.

use super::automaton::Automaton;
use super::hash::{Map, Set};
use super::strings::{Capped, Token};
use std::cmp::Ordering;

/// Patterns that are told apart here: one bit each.
const PATTERNS_MAX: usize = 64;
/// Combinations of sections that are kept.
const COMBINATIONS_MAX: usize = 4_096;
/// Parts of an ARN between its first five colons and behind them.
const SECTIONS: usize = 6;

/// What a section of the strings is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    /// One of these.
    Only(&'static [&'static str]),
    /// No colon in it, save in the last section.
    Any,
    NotEmpty,
}

/// What strings are asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    All,
    /// ARNs of principals.
    Callers,
}

impl Asked {
    fn sections(self) -> [Section; SECTIONS] {
        match self {
            Asked::All => [Section::Any; SECTIONS],
            Asked::Callers => [
                Section::Only(&["arn"]),
                Section::NotEmpty,
                Section::Only(&["iam", "sts"]),
                Section::Only(&[""]),
                Section::NotEmpty,
                Section::NotEmpty,
            ],
        }
    }
}

impl Section {
    fn has(self, text: &str) -> bool {
        match self {
            Section::Only(texts) => texts.contains(&text),
            Section::Any => true,
            Section::NotEmpty => !text.is_empty(),
        }
    }
}

/// By pattern, whether it matches; and a string for which it is so.
pub(super) type Hit = (Vec<bool>, String);

/// Patterns, cut at their first five colons.
pub(super) struct Sections<'p> {
    asked: Asked,
    patterns: Vec<[&'p [Token]; SECTIONS]>,
    fresh: char,
}

/// By pattern, a bit: whether it matches. And the first such string.
type Found = (u64, String);

impl<'p> Sections<'p> {
    /// `None` where a wildcard may stand for one of these colons, or a pattern has fewer.
    pub(super) fn read(asked: Asked, patterns: impl Iterator<Item = &'p [Token]>) -> Option<Sections<'p>> {
        let patterns: Vec<[&[Token]; SECTIONS]> = patterns.map(cut).collect::<Option<_>>()?;
        if patterns.len() > PATTERNS_MAX {
            return None;
        }
        let used = patterns.iter().flatten().copied().flatten().filter_map(|token| match token {
            Token::Char(c) => Some([*c; 2]),
            Token::Fold(c) => Some([*c, c.to_ascii_uppercase()]),
            _ => None,
        });
        let used: Set<char> = used.flatten().collect();
        Some(Sections { asked, patterns, fresh: Automaton::fresh_of(&used)? })
    }

    /// The patterns that one string matches, if it is asked for.
    pub(super) fn run(&self, text: &str) -> Option<Vec<bool>> {
        let mut parts = text.splitn(SECTIONS, ':');
        let mut of = [""; SECTIONS];
        let is_arn = of.iter_mut().all(|slot| parts.next().map(|part| *slot = part).is_some());
        if !is_arn {
            return (self.asked == Asked::All).then(|| vec![false; self.patterns.len()]);
        }
        if !self.asked.sections().iter().zip(of).all(|(section, part)| section.has(part)) {
            return None;
        }
        let is_hit = |pattern: &[&[Token]; SECTIONS]| pattern.iter().zip(of).all(|(p, part)| fits(p, part));
        Some(self.patterns.iter().map(is_hit).collect())
    }

    /// As [`Automaton::classes`]; `None` where that has to look closer.
    pub(super) fn classes(&self, known: &Set<&str>, usual: &str) -> Result<Option<Vec<Hit>>, Capped> {
        let Some(mut found) = self.found()? else { return Ok(None) };
        if found.iter().any(|(_, witness)| known.contains(witness.as_str())) {
            return Ok(None);
        }
        found.sort_by(|(_, a), (_, b)| self.order(a, b));
        let hits = |bits: u64| (0..self.patterns.len()).map(|at| bits >> at & 1 == 1).collect::<Vec<bool>>();
        let mut out: Vec<Hit> = found.into_iter().map(|(bits, witness)| (hits(bits), witness)).collect();
        if !known.contains(usual)
            && let Some(hit) = self.run(usual)
        {
            out.retain(|(of, _)| *of != hit);
            out.insert(0, (hit, usual.to_owned()));
        }
        Ok(Some(out))
    }

    /// Every class with its first string.
    fn found(&self) -> Result<Option<Vec<Found>>, Capped> {
        let all = if self.patterns.len() == PATTERNS_MAX { u64::MAX } else { (1 << self.patterns.len()) - 1 };
        let mut found: Vec<Found> = vec![(all, String::new())];
        for (at, section) in self.asked.sections().into_iter().enumerate() {
            let of = self.section(at, section)?;
            let mut next: Vec<Found> = Vec::with_capacity(found.len() * of.len());
            let mut index: Map<u64, usize> = Map::default();
            for (before, text) in &found {
                for (bits, part) in &of {
                    let bits = before & bits;
                    let text = if at == 0 { part.clone() } else { format!("{text}:{part}") };
                    match index.get(&bits).and_then(|at| next.get_mut(*at)) {
                        Some((_, first)) if self.order(&text, first).is_lt() => *first = text,
                        Some(_) => {}
                        None => {
                            index.insert(bits, next.len());
                            next.push((bits, text));
                        }
                    }
                }
            }
            if next.len() > COMBINATIONS_MAX {
                return Ok(None);
            }
            found = next;
        }
        if self.asked == Asked::All {
            // What is no ARN matches nothing.
            found.retain(|(bits, _)| *bits != 0);
            found.push((0, String::new()));
        }
        Ok(Some(found))
    }

    /// The classes of one section, each with its first string.
    fn section(&self, at: usize, section: Section) -> Result<Vec<Found>, Capped> {
        let mut distinct: Vec<(&[Token], u64)> = Vec::new();
        for (pattern, sections) in self.patterns.iter().enumerate() {
            let tokens = sections.get(at).copied().unwrap_or_default();
            match distinct.iter_mut().find(|(of, _)| *of == tokens) {
                Some((_, bits)) => *bits |= 1 << pattern,
                None => distinct.push((tokens, 1 << pattern)),
            }
        }
        let mut out: Vec<Found> = Vec::new();
        let mut add = |bits: u64, text: String| match out.iter_mut().find(|(of, _)| *of == bits) {
            Some((_, first)) if self.order(&text, first).is_lt() => *first = text,
            Some(_) => {}
            None => out.push((bits, text)),
        };
        let bits = |text: &str| {
            distinct.iter().filter(|(tokens, _)| fits(tokens, text)).fold(0, |all, (_, bits)| all | bits)
        };
        if let Section::Only(texts) = section {
            texts.iter().for_each(|text| add(bits(text), (*text).to_owned()));
            return Ok(out);
        }
        let simple: Option<Vec<String>> = distinct.iter().map(|(tokens, _)| beginning(tokens)).collect();
        if let Some(beginnings) = simple {
            // Strings differ in the longest of these that they begin with, and in being one of them. With a fresh character behind
            // it nothing is one any more.
            for before in beginnings.iter().map(String::as_str).chain([""]) {
                let with_fresh = format!("{before}{}", self.fresh);
                [before.to_owned(), with_fresh]
                    .into_iter()
                    .filter(|text| section.has(text))
                    .for_each(|text| add(bits(&text), text));
            }
            return Ok(out);
        }
        let (one, any) =
            if at + 1 == SECTIONS { (Token::One, Token::Any) } else { (Token::OneInPart, Token::AnyInPart) };
        let shape = if section == Section::NotEmpty { vec![one, any] } else { vec![any] };
        let patterns = distinct.iter().map(|(tokens, _)| *tokens);
        for (hit, text) in Automaton::new(patterns.zip(0..), &[shape]).firsts(self.fresh)? {
            let of = distinct.iter().zip(hit).filter(|(_, hit)| *hit);
            add(of.fold(0, |all, ((_, bits), _)| all | bits), text);
        }
        Ok(out)
    }

    /// Shorter strings first, and of one length in the order of their characters, a fresh one before all others.
    fn order(&self, a: &str, b: &str) -> Ordering {
        let rank = |c: char| if c == self.fresh { 0 } else { u32::from(c) + 1 };
        let length = |text: &str| text.chars().count();
        length(a).cmp(&length(b)).then_with(|| a.chars().map(rank).cmp(b.chars().map(rank)))
    }
}

fn cut(pattern: &[Token]) -> Option<[&[Token]; SECTIONS]> {
    let mut out: [&[Token]; SECTIONS] = Default::default();
    let mut rest = pattern;
    for (at, slot) in out.iter_mut().enumerate() {
        if at + 1 == SECTIONS {
            if rest.iter().any(|t| matches!(t, Token::OneInPart | Token::AnyInPart)) {
                return None;
            }
            *slot = rest;
            break;
        }
        let end = rest.iter().position(|t| *t == Token::Char(':'))?;
        *slot = rest.get(..end)?;
        if slot.iter().any(|t| matches!(t, Token::One | Token::Any)) {
            return None;
        }
        rest = rest.get(end + 1..)?;
    }
    Some(out)
}

fn is_any(token: &Token) -> bool {
    matches!(token, Token::Any | Token::AnyInPart)
}

fn is_one(token: &Token) -> bool {
    matches!(token, Token::One | Token::OneInPart)
}

/// The text before the wildcards of a pattern that is a text, the beginning of one, or anything that is not empty; `None` for others.
fn beginning(tokens: &[Token]) -> Option<String> {
    let before = match tokens {
        [one, any] if is_one(one) && is_any(any) => &[],
        [before @ .., any] if is_any(any) => before,
        all => all,
    };
    before.iter().map(|t| if let Token::Char(c) = t { Some(*c) } else { None }).collect()
}

/// Whether a section of a pattern matches one of a string. The last `*` is the only one worth going back to.
fn fits(tokens: &[Token], text: &str) -> bool {
    let (mut at, mut rest) = (0, text.chars());
    let mut back = None;
    loop {
        let before = rest.clone();
        let next = match (tokens.get(at), rest.next()) {
            (None, None) => return true,
            (Some(token), _) if is_any(token) => {
                rest = before.clone();
                back = Some((at + 1, before));
                true
            }
            (Some(token), Some(_)) if is_one(token) => true,
            (Some(Token::Char(a)), Some(b)) => *a == b,
            (Some(Token::Fold(a)), Some(b)) => *a == b || a.to_ascii_uppercase() == b,
            _ => false,
        };
        if next {
            at += 1;
            continue;
        }
        let Some((after, from)) = &mut back else { return false };
        if from.next().is_none() {
            return false;
        }
        (at, rest) = (*after, from.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::super::strings::{Shapes, classes_by_automaton, classes_by_sections};
    use super::*;
    use proptest::prelude::*;

    fn tokens(text: &str) -> Vec<Token> {
        let mut colons = 0;
        let token = |c| {
            colons += usize::from(c == ':');
            match c {
                '*' if colons < 5 => Token::AnyInPart,
                '?' if colons < 5 => Token::OneInPart,
                '*' => Token::Any,
                '?' => Token::One,
                // Letters of which the case does not matter.
                'F' => Token::Fold('a'),
                c => Token::Char(c),
            }
        };
        text.chars().map(token).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        /// The same classes as the automaton's, in the same order, with the same witnesses.
        #[test]
        fn as_the_automaton_has_it(
            texts in prop::collection::btree_set(
                "(arn|[*]|a[*]):([*]|aws|[?][*]):(iam|s[*]|[*]):([*]|):([*]|11|12|1[*]|F2):([?]?[*]|a/[*]|a/b|[*]b|F:[ab]?[*])",
                0..5,
            ),
            is_all in any::<bool>(),
            usual in "(z|arn:aws:iam::(11|9):(a/b|u))",
        ) {
            let patterns: Vec<Vec<Token>> = texts.iter().map(|t| tokens(t)).collect();
            let shapes = if is_all { Shapes::All } else { Shapes::Callers };
            let groups: Vec<usize> = (0..patterns.len()).collect();
            let found = classes_by_sections(&patterns, shapes, &usual);
            let expected = classes_by_automaton(&patterns, &groups, shapes, &usual);
            if let Some(found) = found {
                prop_assert_eq!(found, expected);
            } else {
                // Only where the first string of a class is a pattern itself.
                let is_known = |t: &Vec<Token>| t.iter().all(|t| matches!(t, Token::Char(_)));
                prop_assert!(patterns.iter().any(is_known));
            }
        }
    }
}
