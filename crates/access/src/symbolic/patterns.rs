//! The texts of statements as patterns, and what statements ask of them.

use super::dimensions::Value;
use super::hash::{Few, Map};
use super::mask::Mask;
use super::strings::{Cache, Capped, Class, Shapes, Token, beyond_ascii, plain, tokens};
use super::take::named;
use crate::pattern::{Piece, Syntax, pieces};
use crate::policy::Base;
use crate::reading::{Reading, Switch, Switches};
use std::collections::BTreeMap;

/// Values of keys that are fixed while dimensions are built, because patterns refer to them: `None` for a key that is missing.
pub(super) type Fixed = BTreeMap<String, Option<String>>;

/// What is done about variables in patterns.
pub(super) enum Variables<'f> {
    /// They have these values. Exact for these, and silent about all others.
    Fixed(&'f Fixed),
    /// They have any value: a text with variables matches nothing that it would not match with `*` in their place, and within that
    /// it may match or not. The same text always matches the same. More requests than there are, never fewer.
    Free,
}

impl Variables<'_> {
    pub(super) fn value(&self, key: &str) -> Option<&Option<String>> {
        match self {
            Variables::Fixed(fixed) => fixed.get(key),
            Variables::Free => None,
        }
    }
}

/// Classes of one dimension once texts with free variables turn out both ways.
const FREE_CLASSES_MAX: usize = 65_536;

/// A text of a policy as the engine sees it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Pattern {
    pub tokens: Vec<Token>,
    /// The text, when it has variables that are free, and what reads it: the same text means the same to the same operator only, in the
    /// same reading.
    pub free: Option<(Vec<Piece>, Option<Base>, Reading)>,
}

impl From<Vec<Token>> for Pattern {
    fn from(tokens: Vec<Token>) -> Pattern {
        Pattern { tokens, free: None }
    }
}

/// Patterns of one dimension, each once.
#[derive(Default)]
pub(super) struct Patterns {
    pub all: Vec<Vec<Token>>,
    free: Vec<usize>,
    /// Empty while there are few.
    index: Map<Pattern, usize>,
}

/// Patterns up to which a list is searched.
const FEW: usize = 16;

impl Patterns {
    pub(super) fn add(&mut self, pattern: impl Into<Pattern>) -> usize {
        let pattern = pattern.into();
        let at = self.all.len();
        if pattern.free.is_none() && at < FEW && self.free.is_empty() {
            return self.all.iter().position(|known| *known == pattern.tokens).unwrap_or_else(|| {
                self.all.push(pattern.tokens);
                at
            });
        }
        if self.index.is_empty() {
            let known = self.all.iter().cloned().map(Pattern::from);
            self.index = known.zip(0..).collect();
        }
        if let Some(at) = self.index.get(&pattern) {
            return *at;
        }
        self.all.push(pattern.tokens.clone());
        self.free.extend(pattern.free.is_some().then_some(at));
        self.index.insert(pattern, at);
        at
    }

    /// The classes of strings of these shapes, with free variables turned out every way.
    pub(super) fn classes(
        &self,
        shapes: Shapes<'_>,
        usual: &str,
        cache: &mut Cache,
    ) -> Result<Vec<Class>, Capped> {
        let groups: Vec<usize> = (0..self.all.len()).collect();
        let patterns: Vec<&[Token]> = self.all.iter().map(Vec::as_slice).collect();
        self.either(cache.classes(&patterns, &groups, shapes, usual)?)
    }

    /// Classes, and those where texts with free variables do not match what they might.
    pub(super) fn either(&self, mut out: Vec<Class>) -> Result<Vec<Class>, Capped> {
        for at in &self.free {
            let hit: Vec<Class> = out.iter().filter(|c| c.matched.get(*at) == Some(&true)).cloned().collect();
            if out.len() + hit.len() > FREE_CLASSES_MAX {
                return Err(Capped);
            }
            out.extend(hit.into_iter().map(|mut class| {
                if let Some(slot) = class.matched.get_mut(*at) {
                    *slot = false;
                }
                class
            }));
        }
        Ok(out)
    }
}

/// Something that a statement asks of a dimension: that one of its patterns matches, or none.
pub(super) struct Atom {
    pub statement: usize,
    pub patterns: Vec<usize>,
    pub negated: bool,
}

impl Atom {
    pub(super) fn is_hit(&self, matched: &[bool]) -> bool {
        self.patterns.iter().any(|p| matched.get(*p) == Some(&true))
    }
}

/// By pattern, a number that patterns in the same atoms share: whatever is asked of one of them is asked of all.
pub(super) fn owners(atoms: &[Atom], patterns: usize) -> Vec<usize> {
    let mut of: Vec<Vec<usize>> = vec![Vec::new(); patterns];
    for (at, atom) in atoms.iter().enumerate() {
        for pattern in &atom.patterns {
            if let Some(slot) = of.get_mut(*pattern) {
                slot.push(at);
            }
        }
    }
    let mut known: Map<Vec<usize>, usize> = Map::default();
    of.into_iter()
        .map(|atoms| {
            let next = known.len();
            *known.entry(atoms).or_insert(next)
        })
        .collect()
}

pub(super) fn mask_of<const W: usize>(atoms: &[Atom], matched: &[bool]) -> Mask<W> {
    let mut mask = Mask::ALL;
    for atom in atoms.iter().filter(|a| a.is_hit(matched) == a.negated) {
        mask.remove(atom.statement);
    }
    mask
}

/// The first class of each mask.
pub(super) fn distinct<const W: usize>(
    all: impl IntoIterator<Item = (Mask<W>, Value)>,
) -> Vec<(Mask<W>, Value)> {
    let mut seen = Few::default();
    all.into_iter().filter(|(mask, _)| seen.insert(*mask)).collect()
}

/// The pattern of a text; `None` when it matches nothing.
pub(super) fn filled(
    text: &str,
    syntax: Syntax,
    base: Option<Base>,
    reading: Reading,
    variables: &Variables<'_>,
) -> Option<Pattern> {
    let of_texts = [Switch::ArnPartial, Switch::FoldBeyondAscii, Switch::ResourceStarCrossesColon];
    let of_texts = of_texts.map(Switches::of).into_iter().fold(Switches::NONE, Switches::or);
    let fold = matches!(base, Some(Base::StringEqualsIgnoreCase | Base::Bool));
    if !(syntax.variables && text.contains("${")) && reading.and(of_texts).is_empty() {
        return Some(plain(text, syntax.wildcards, fold).into());
    }
    let read = pieces(text, syntax);
    let mut out = Vec::with_capacity(read.len());
    let mut is_free = false;
    let is_within = base.is_none() && reading.has(Switch::ResourceStarCrossesColon);
    let bound = if is_within { bound(&read) } else { Vec::new() };
    let mut within = Vec::new();
    for (at, piece) in read.iter().enumerate() {
        if bound.get(at) == Some(&true) {
            within.push(out.len());
        }
        match piece {
            Piece::Variable { key, default } => match variables {
                Variables::Fixed(fixed) => {
                    let value = fixed.get(&named(key, reading)).cloned().flatten();
                    let value = value.or_else(|| default.clone())?;
                    out.extend(value.chars().map(Piece::Char));
                }
                Variables::Free => {
                    is_free = true;
                    if out.last() != Some(&Piece::Any) {
                        out.push(Piece::Any);
                    }
                }
            },
            Piece::Any if out.last() == Some(&Piece::Any) && !is_within => {}
            piece => out.push(piece.clone()),
        }
    }
    let mut tokens = tokens(&out, fold)?;
    for at in within {
        if let Some(token) = tokens.get_mut(at) {
            *token = if *token == Token::One { Token::OneInPart } else { Token::AnyInPart };
        }
    }
    if base == Some(Base::StringEqualsIgnoreCase) && reading.has(Switch::FoldBeyondAscii) {
        tokens.iter_mut().for_each(|token| *token = beyond_ascii(*token));
    }
    Some(Pattern { tokens, free: is_free.then(|| (read, base, reading.and(of_texts))) })
}

/// Which wildcards stay in their part of an ARN: all in a part with another behind it, but for a `*` at its end.
fn bound(read: &[Piece]) -> Vec<bool> {
    let is_colon = |piece: &Piece| *piece == Piece::Char(':');
    let last = read.iter().rposition(is_colon).unwrap_or_default();
    let is_bound = |(at, piece): (usize, &Piece)| match piece {
        Piece::One => at < last,
        Piece::Any => at < last && !read.get(at + 1).is_some_and(is_colon),
        _ => false,
    };
    read.iter().enumerate().map(is_bound).collect()
}
