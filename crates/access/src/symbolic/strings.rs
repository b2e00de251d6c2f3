//! Which sets of patterns a string can match, each with a shortest string that does: the joint subset construction over the
//! patterns' automata, with one bit per position of each pattern.
//!
//! Patterns without wildcards are run through the automaton of the others, and only a class that some *other* string is in as
//! well counts without them.

use super::automaton::Automaton;
use super::hash::{Map, Set};
use super::principals::principal_shapes;
use super::sections::{Asked, Sections};
use crate::catalog;
use crate::pattern::Piece;

/// What a place of a pattern matches.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Token {
    Char(char),
    /// In either case; given in lower case.
    Fold(char),
    One,
    Any,
    /// One character that is no colon.
    OneInPart,
    /// Any number of characters that are no colons.
    AnyInPart,
}

// One word for the hash, where the derived one is two.
impl std::hash::Hash for Token {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        let (kind, c) = match self {
            Token::Char(c) => (0, *c),
            Token::Fold(c) => (1, *c),
            Token::One => (2, '\0'),
            Token::Any => (3, '\0'),
            Token::OneInPart => (4, '\0'),
            Token::AnyInPart => (5, '\0'),
        };
        state.write_u32(kind << 24 | u32::from(c));
    }
}

/// A set of patterns that strings match, and one of those strings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Class {
    /// By pattern.
    pub matched: Vec<bool>,
    pub witness: String,
}

/// More states than the budget allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Capped;

/// The tokens of pieces whose variables are filled in; `None` when one is left.
pub(super) fn tokens(pieces: &[Piece], fold: bool) -> Option<Vec<Token>> {
    let token = |piece: &Piece| match piece {
        Piece::Char(c) if fold && c.is_ascii_alphabetic() => Some(Token::Fold(c.to_ascii_lowercase())),
        Piece::Char(c) => Some(Token::Char(*c)),
        Piece::Any => Some(Token::Any),
        Piece::One => Some(Token::One),
        Piece::Variable { .. } => None,
    };
    pieces.iter().map(token).collect()
}

/// The tokens of a text without variables.
pub(super) fn plain(text: &str, wildcards: bool, fold: bool) -> Vec<Token> {
    let mut out = Vec::with_capacity(text.len());
    for c in text.chars() {
        out.push(match c {
            // Two in a row match what one matches.
            '*' if wildcards && out.last() == Some(&Token::Any) => continue,
            '*' if wildcards => Token::Any,
            '?' if wildcards => Token::One,
            c if fold && c.is_ascii_alphabetic() => Token::Fold(c.to_ascii_lowercase()),
            c => Token::Char(c),
        });
    }
    out
}

/// A letter beyond ASCII that has another case, without regard to it.
pub(super) fn beyond_ascii(token: Token) -> Token {
    let Token::Char(c) = token else { return token };
    let lower = other_case(c.to_lowercase(), c).unwrap_or(c);
    let upper = upper(lower);
    let is_pair = upper != lower && (c == lower || c == upper);
    if is_pair && !c.is_ascii() { Token::Fold(lower) } else { token }
}

/// What a letter of two cases is in upper case, each the other of the other; a letter without such another is itself.
pub(super) fn upper(c: char) -> char {
    if c.is_ascii() {
        return c.to_ascii_uppercase();
    }
    other_case(c.to_uppercase(), c)
        .filter(|upper| other_case(upper.to_lowercase(), *upper) == Some(c))
        .unwrap_or(c)
}

/// The one character that a case mapping gives, where it is another one.
fn other_case(mut mapped: impl Iterator<Item = char>, c: char) -> Option<char> {
    mapped.next().filter(|other| mapped.next().is_none() && *other != c)
}

/// The tokens of an ARN pattern: wildcards stay within the first five parts. `None` for one that no ARN matches.
pub(super) fn arn_tokens(tokens: &[Token]) -> Option<Vec<Token>> {
    let mut out = Vec::with_capacity(tokens.len() + 8);
    let mut colons = 0;
    for token in tokens {
        out.push(match token {
            Token::Any if colons < 5 => Token::AnyInPart,
            Token::One if colons < 5 => Token::OneInPart,
            token => *token,
        });
        colons += usize::from(*token == Token::Char(':'));
    }
    if colons < 5 {
        if tokens.last() != Some(&Token::Any) {
            return None;
        }
        for part in colons + 1..6 {
            out.push(Token::Char(':'));
            out.push(if part == 5 { Token::Any } else { Token::AnyInPart });
        }
    }
    Some(out)
}

/// The only string that tokens match, if there is but one.
fn literal(tokens: &[Token]) -> Option<String> {
    tokens.iter().map(|t| if let Token::Char(c) = t { Some(*c) } else { None }).collect()
}

/// What strings are asked for.
#[derive(Clone, Copy)]
pub(super) enum Shapes<'s> {
    /// All.
    All,
    /// Part of an ARN or of an action: without a colon, not empty.
    Part,
    /// The same, or empty.
    PartOrEmpty,
    /// This one.
    Only(&'s str),
    /// The last part of ARNs of a service.
    Resource(&'s str),
    /// ARNs of principals.
    Callers,
}

impl Shapes<'_> {
    fn tokens(&self) -> Vec<Vec<Token>> {
        match self {
            Shapes::All => Vec::new(),
            Shapes::Part => vec![vec![Token::OneInPart, Token::AnyInPart]],
            Shapes::PartOrEmpty => vec![vec![Token::AnyInPart]],
            Shapes::Only(text) => vec![text.chars().map(Token::Char).collect()],
            Shapes::Resource(service) => {
                let shapes = catalog::resource_shapes(service);
                shapes.iter().map(|shape| shape.iter().map(token).collect()).collect()
            }
            Shapes::Callers => principal_shapes().to_vec(),
        }
    }

    /// What can be asked for section by section.
    fn asked(&self) -> Option<Asked> {
        match self {
            Shapes::All => Some(Asked::All),
            Shapes::Callers => Some(Asked::Callers),
            _ => None,
        }
    }
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

/// Patterns, their groups, and shapes.
type Question = (Vec<Vec<Token>>, Vec<usize>, Vec<Vec<Token>>);

/// Answers of [`classes`] that were found already: the statements of a policy name the same resources again and again.
#[derive(Default)]
pub(super) struct Cache {
    known: Map<Question, Vec<Class>>,
    /// Of whole ARNs, by their patterns.
    pub arns: Map<Vec<Vec<Token>>, Vec<Class>>,
}

impl Cache {
    /// All classes of strings of these shapes, in a fixed order. `usual` is such a string, always the same for the same patterns and
    /// shapes, to show for the class that it is in. Of patterns in one group it is only right whether one of them matches: once one
    /// is sure to match, the others are not followed any further.
    pub(super) fn classes(
        &mut self,
        patterns: &[&[Token]],
        groups: &[usize],
        shapes: Shapes<'_>,
        usual: &str,
    ) -> Result<Vec<Class>, Capped> {
        if let Some(found) = super::prefixes::classes(patterns, groups, shapes, usual) {
            return Ok(found);
        }
        if let Some(asked) = shapes.asked()
            && let Some(found) = Split::of(patterns).by_sections(asked, usual)?
        {
            return Ok(found);
        }
        let asked: Question =
            (patterns.iter().map(|p| p.to_vec()).collect(), groups.to_vec(), shapes.tokens());
        if let Some(known) = self.known.get(&asked) {
            return Ok(known.clone());
        }
        let found = classes(patterns, groups, &asked.2, usual)?;
        self.known.insert(asked, found.clone());
        Ok(found)
    }
}

/// Whether one string matches one pattern.
pub(super) fn matches(pattern: &Vec<Token>, text: &str) -> bool {
    match (pattern.as_slice(), text.chars().next()) {
        ([Token::Any], _) => true,
        ([Token::Char(first), ..], c) if c != Some(*first) => false,
        _ => {
            let automaton = Automaton::new(std::iter::once((pattern.as_slice(), 0)), &[]);
            automaton.run(text).is_some_and(|found| found == [true])
        }
    }
}

/// Patterns by what has to be asked about them.
struct Split<'p> {
    patterns: &'p [&'p [Token]],
    /// By pattern, whether every string matches it.
    always: Vec<bool>,
    /// By pattern, the only string that matches it.
    literals: Vec<Option<String>>,
    /// Places of all others.
    open: Vec<usize>,
}

impl<'p> Split<'p> {
    fn of(patterns: &'p [&'p [Token]]) -> Split<'p> {
        let always: Vec<bool> = patterns.iter().map(|p| matches!(p, [Token::Any])).collect();
        let literals: Vec<Option<String>> = patterns.iter().map(|p| literal(p)).collect();
        let open = (0..patterns.len())
            .filter(|i| always.get(*i) == Some(&false) && literals.get(*i) == Some(&None))
            .collect();
        Split { patterns, always, literals, open }
    }

    /// The open patterns.
    fn rest(&self) -> impl Iterator<Item = &'p [Token]> {
        self.open.iter().filter_map(|i| self.patterns.get(*i).copied())
    }

    fn known(&self) -> Set<&str> {
        self.literals.iter().flatten().map(String::as_str).collect()
    }

    /// All classes, from those of the open patterns and what a string comes to in those.
    fn classes(
        &self,
        found: Vec<(Vec<bool>, String)>,
        run: impl Fn(&str) -> Option<Vec<bool>>,
    ) -> Vec<Class> {
        let matched = |found: &[bool], also: Option<&str>| -> Vec<bool> {
            let mut out = self.always.clone();
            for (at, hit) in self.open.iter().zip(found) {
                if let Some(slot) = out.get_mut(*at) {
                    *slot = *hit;
                }
            }
            for (slot, literal) in out.iter_mut().zip(&self.literals) {
                *slot |= also.is_some() && literal.as_deref() == also;
            }
            out
        };
        let mut out: Vec<Class> = found
            .into_iter()
            .map(|(found, witness)| Class { matched: matched(&found, None), witness })
            .collect();
        let mut seen = Set::default();
        for text in self.literals.iter().flatten().filter(|text| seen.insert(text.as_str())) {
            if let Some(found) = run(text) {
                out.push(Class { matched: matched(&found, Some(text)), witness: text.clone() });
            }
        }
        out
    }

    fn by_sections(&self, asked: Asked, usual: &str) -> Result<Option<Vec<Class>>, Capped> {
        let Some(sections) = Sections::read(asked, self.rest()) else { return Ok(None) };
        let found = sections.classes(&self.known(), usual)?;
        Ok(found.map(|found| self.classes(found, |text| sections.run(text))))
    }
}

/// The answer to [`Cache::classes`] for any patterns.
fn classes(
    patterns: &[&[Token]],
    groups: &[usize],
    shapes: &[Vec<Token>],
    usual: &str,
) -> Result<Vec<Class>, Capped> {
    let split = Split::of(patterns);
    let of = split.rest().zip(split.open.iter().map(|i| groups.get(*i).copied().unwrap_or_default()));
    let automaton = Automaton::new(of, shapes);
    let found = automaton.classes(&split.known(), usual)?;
    Ok(split.classes(found, |text| automaton.run(text)))
}

#[cfg(test)]
pub(super) fn classes_by_sections(
    patterns: &[Vec<Token>],
    shapes: Shapes<'_>,
    usual: &str,
) -> Option<Vec<Class>> {
    let patterns: Vec<&[Token]> = patterns.iter().map(Vec::as_slice).collect();
    Split::of(&patterns).by_sections(shapes.asked()?, usual).unwrap()
}

#[cfg(test)]
pub(super) fn classes_by_automaton(
    patterns: &[Vec<Token>],
    groups: &[usize],
    shapes: Shapes<'_>,
    usual: &str,
) -> Vec<Class> {
    let patterns: Vec<&[Token]> = patterns.iter().map(Vec::as_slice).collect();
    classes(&patterns, groups, &shapes.tokens(), usual).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::{Syntax, pieces};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn pattern(text: &str) -> Vec<Token> {
        tokens(&pieces(text, Syntax { wildcards: true, variables: false }), false).unwrap()
    }

    fn all_classes(patterns: &[Vec<Token>]) -> Vec<Class> {
        let patterns: Vec<&[Token]> = patterns.iter().map(Vec::as_slice).collect();
        classes(&patterns, &(0..patterns.len()).collect::<Vec<_>>(), &[], "usual").unwrap()
    }

    fn masks(texts: &[&str]) -> BTreeSet<String> {
        let patterns: Vec<Vec<Token>> = texts.iter().map(|t| pattern(t)).collect();
        let found = all_classes(&patterns);
        found.iter().map(|c| c.matched.iter().map(|m| if *m { '1' } else { '0' }).collect()).collect()
    }

    #[test]
    fn classes_of_small_sets() {
        let set = |items: &[&str]| items.iter().map(|s| (*s).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(masks(&[]), set(&[""]));
        assert_eq!(masks(&["*"]), set(&["1"]));
        assert_eq!(masks(&["a"]), set(&["0", "1"]));
        assert_eq!(masks(&["a*", "ab*"]), set(&["00", "10", "11"]));
        assert_eq!(masks(&["a*", "*b"]), set(&["00", "10", "01", "11"]));
        // Only "ab" is in both, and it is a pattern of its own.
        assert_eq!(masks(&["a?", "?b", "ab"]), set(&["000", "100", "010", "111"]));
        assert_eq!(masks(&["a?", "?b"]), set(&["00", "10", "01", "11"]));
        assert_eq!(masks(&["??", "*x*", "*y"]).len(), 8);
    }

    /// A letter whose case does not matter, beside the same letter where it does.
    #[test]
    fn both_cases_of_a_letter() {
        let fold =
            |text: &str| tokens(&pieces(text, Syntax { wildcards: false, variables: false }), true).unwrap();
        let found = |patterns: &[Vec<Token>]| {
            let mut out: Vec<String> = all_classes(patterns)
                .iter()
                .map(|c| c.matched.iter().map(|m| if *m { '1' } else { '0' }).collect())
                .collect();
            out.sort();
            out
        };
        assert_eq!(found(&[fold("a"), pattern("a")]), ["00", "10", "11"]);
        assert_eq!(found(&[fold("a"), pattern("A")]), ["00", "10", "11"]);
        assert_eq!(found(&[fold("a"), pattern("A"), pattern("a")]), ["000", "101", "110"]);
        assert_eq!(found(&[fold("ab"), pattern("A*")]), ["00", "01", "10", "11"]);
    }

    fn glob(pattern: &[Token], text: &[char]) -> bool {
        match (pattern.first(), text.first()) {
            (None, None) => true,
            (Some(Token::Any), _) => {
                glob(&pattern[1..], text) || (!text.is_empty() && glob(pattern, &text[1..]))
            }
            (Some(Token::One), Some(_)) => glob(&pattern[1..], &text[1..]),
            (Some(Token::Char(c)), Some(d)) => c == d && glob(&pattern[1..], &text[1..]),
            _ => false,
        }
    }

    proptest! {
        /// Exactly the masks that strings have: every string's mask is a class, and every class's witness has its mask.
        #[test]
        fn exactly_the_masks_of_strings(texts in prop::collection::vec("[ab*?]{0,4}", 0..5)) {
            let patterns: Vec<Vec<Token>> = texts.iter().map(|t| pattern(t)).collect();
            let found = all_classes(&patterns);
            let mask = |text: &str| -> Vec<bool> {
                let chars: Vec<char> = text.chars().collect();
                patterns.iter().map(|p| glob(p, &chars)).collect()
            };
            for c in &found {
                prop_assert_eq!(&mask(&c.witness), &c.matched, "{}", c.witness);
            }
            let known: BTreeSet<&Vec<bool>> = found.iter().map(|c| &c.matched).collect();
            let mut level = vec![String::new()];
            for _ in 0..6 {
                for text in &level {
                    prop_assert!(known.contains(&mask(text)), "{}", text);
                }
                level = level.iter().flat_map(|t| ["a", "b", "c"].map(|c| format!("{t}{c}"))).collect();
            }
        }
    }

    #[test]
    fn parts_of_an_arn() {
        let arn = arn_tokens(&pattern("arn:aws:iam::*:role/*")).unwrap();
        let found = all_classes(&[arn]);
        let yes = found.iter().find(|c| c.matched == [true]).unwrap();
        assert_eq!(yes.witness, "arn:aws:iam:::role/");
        assert_eq!(arn_tokens(&pattern("arn:aws:s3")), None);
        assert!(arn_tokens(&pattern("*")).is_some());
    }
}
