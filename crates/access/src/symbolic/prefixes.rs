//! The classes of strings where every pattern is a text or the beginning of one, as nearly all are: no automaton is needed. Such
//! strings differ only in the longest beginning that they have, and in being one of the texts.

use super::hash::Set;
use super::strings::{Class, Shapes, Token};

enum Simple {
    /// `*`
    Any,
    Text(String),
    /// With anything behind it.
    Beginning(String),
}

impl Simple {
    fn read(pattern: &[Token]) -> Option<Simple> {
        let chars = |tokens: &[Token]| {
            tokens
                .iter()
                .map(|t| if let Token::Char(c) = t { Some(*c) } else { None })
                .collect::<Option<String>>()
        };
        match pattern {
            [Token::Any] => Some(Simple::Any),
            [before @ .., Token::Any] => chars(before).map(Simple::Beginning),
            all => chars(all).map(Simple::Text),
        }
    }

    fn text(&self) -> &str {
        match self {
            Simple::Any => "",
            Simple::Text(text) | Simple::Beginning(text) => text,
        }
    }

    fn matches(&self, string: &str) -> bool {
        match self {
            Simple::Any => true,
            Simple::Text(text) => text == string,
            Simple::Beginning(text) => string.starts_with(text.as_str()),
        }
    }
}

/// As [`super::strings::Cache::classes`]; `None` where it takes an automaton.
pub(super) fn classes(
    patterns: &[&[Token]],
    groups: &[usize],
    shapes: Shapes<'_>,
    usual: &str,
) -> Option<Vec<Class>> {
    let patterns: Vec<Simple> = patterns.iter().map(|p| Simple::read(p)).collect::<Option<_>>()?;
    let class =
        |witness: String| Class { matched: patterns.iter().map(|p| p.matches(&witness)).collect(), witness };
    let may_be_empty = match shapes {
        Shapes::Only(text) => return Some(vec![class(text.to_owned())]),
        Shapes::Callers => return None,
        Shapes::All => true,
        // Colons are another matter: some services have them in their resources. All have resources without.
        Shapes::Part | Shapes::PartOrEmpty | Shapes::Resource(_)
            if patterns.iter().any(|p| p.text().contains(':')) =>
        {
            return None;
        }
        Shapes::PartOrEmpty => true,
        Shapes::Part | Shapes::Resource(_) => false,
    };
    // Of a group that matches already, nothing more is asked.
    let is_new = |at: usize, text: &str| {
        let group = groups.get(at);
        !patterns.iter().zip(groups).any(|(other, of)| match other {
            Simple::Any => Some(of) == group,
            Simple::Beginning(before) => {
                Some(of) == group && before.len() < text.len() && text.starts_with(before.as_str())
            }
            Simple::Text(_) => false,
        })
    };
    let is_known = |string: &str| patterns.iter().any(|p| matches!(p, Simple::Text(text) if text == string));
    let (mut texts, mut beginnings) = (Vec::new(), vec![""]);
    for (at, pattern) in patterns.iter().enumerate() {
        match pattern {
            Simple::Any => {}
            Simple::Text(text) => {
                if (may_be_empty || !text.is_empty()) && is_new(at, text) {
                    texts.push(text.as_str());
                }
            }
            Simple::Beginning(text) => {
                if is_new(at, text) {
                    beginnings.push(text);
                }
            }
        }
    }
    beginnings.sort_unstable_by_key(|text| (text.len(), *text));
    beginnings.dedup();
    // A character of no pattern: behind a beginning it makes a string that has no longer one and is no text.
    let is_used = |c: &char| patterns.iter().any(|p| p.text().contains(*c));
    let fresh = "zxqwvjky0987654321".chars().chain('\u{e000}'..='\u{f8ff}').find(|c| !is_used(c))?;
    let mut out = Vec::with_capacity(texts.len() + beginnings.len());
    let mut usual_of = None;
    if !is_known(usual) {
        usual_of = beginnings.iter().rfind(|text| usual.starts_with(**text)).copied();
        out.push(class(usual.to_owned()));
    }
    for text in beginnings {
        if usual_of == Some(text) {
            continue;
        }
        let is_string = (may_be_empty || !text.is_empty()) && !is_known(text);
        let string = if is_string { text.to_owned() } else { format!("{text}{fresh}") };
        out.push(class(string));
    }
    let mut seen = Set::default();
    out.extend(texts.into_iter().filter(|text| seen.insert(*text)).map(|text| class(text.to_owned())));
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::super::strings::classes_by_automaton;
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn tokens(text: &str) -> Vec<Token> {
        text.chars().map(|c| if c == '*' { Token::Any } else { Token::Char(c) }).collect()
    }

    proptest! {
        /// The automaton finds the same classes, in every shape; with groups, the same sets of groups.
        #[test]
        fn as_the_automaton_has_it(
            texts in prop::collection::btree_set("[ab:]{0,3}[*]?", 0..6),
            groups in prop::collection::vec(0usize..3, 6),
            has_groups in any::<bool>(),
            shape in 0usize..5,
            usual in "[abz]{1,3}",
        ) {
            let patterns: Vec<Vec<Token>> = texts.iter().map(|t| tokens(t)).collect();
            let slices: Vec<&[Token]> = patterns.iter().map(Vec::as_slice).collect();
            let groups: Vec<usize> =
                if has_groups { groups.into_iter().take(patterns.len()).collect() } else { (0..patterns.len()).collect() };
            let shapes =
                [Shapes::All, Shapes::Part, Shapes::PartOrEmpty, Shapes::Only(&usual), Shapes::Resource("s3")][shape];
            let asked = |found: Vec<Class>| -> BTreeSet<BTreeSet<usize>> {
                let of = |c: Class| c.matched.iter().zip(&groups).filter(|(m, _)| **m).map(|(_, g)| *g).collect();
                found.into_iter().map(of).collect()
            };
            if let Some(found) = classes(&slices, &groups, shapes, &usual) {
                for c in &found {
                    let real: Vec<bool> =
                        patterns.iter().map(|p| super::super::strings::matches(p, &c.witness)).collect();
                    prop_assert_eq!(&real, &c.matched, "{}", c.witness);
                    prop_assert!(shape == 0 || shape == 2 || !c.witness.is_empty());
                }
                prop_assert_eq!(asked(found), asked(classes_by_automaton(&patterns, &groups, shapes, &usual)));
            } else {
                prop_assert!(texts.iter().any(|t| t.contains(':')));
            }
        }
    }
}
