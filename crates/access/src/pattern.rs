//! Texts with wildcards and variables, as pieces. What a piece matches is decided twice, by `eval` and by `symbolic`, which share
//! nothing but this.

/// A piece of a pattern.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Piece {
    Char(char),
    /// `*`
    Any,
    /// `?`
    One,
    /// `${key}` or `${key, 'default'}`; the key in lower case, but for a tag in it.
    Variable {
        key: String,
        default: Option<String>,
    },
}

/// What a text may contain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Syntax {
    /// `*` and `?` are wildcards, else they stand for themselves.
    pub wildcards: bool,
    /// `${…}` is read; only in version 2012-10-17 of the language (IAM reference_policies_variables).
    pub variables: bool,
}

/// The pieces of a text. `${*}`, `${?}` and `${$}` are the characters themselves; a `${` without an end is text.
#[must_use]
pub fn pieces(text: &str, syntax: Syntax) -> Vec<Piece> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if syntax.variables
            && let Some((inside, behind)) = rest.strip_prefix("${").and_then(|r| r.split_once('}'))
        {
            out.push(match inside {
                "*" => Piece::Char('*'),
                "?" => Piece::Char('?'),
                "$" => Piece::Char('$'),
                _ => variable(inside),
            });
            rest = behind;
            continue;
        }
        out.push(match c {
            // Two in a row match what one matches.
            '*' if syntax.wildcards && out.last() == Some(&Piece::Any) => {
                rest = rest.get(1..).unwrap_or_default();
                continue;
            }
            '*' if syntax.wildcards => Piece::Any,
            '?' if syntax.wildcards => Piece::One,
            _ => Piece::Char(c),
        });
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
    }
    out
}

fn variable(inside: &str) -> Piece {
    let (key, default) = match inside.split_once(',') {
        Some((key, default)) => (key, Some(default.trim().trim_matches('\'').to_owned())),
        None => (inside, None),
    };
    Piece::Variable { key: crate::request::spelled(key.trim()), default }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_variables_and_escapes() {
        let all = Syntax { wildcards: true, variables: true };
        let none = Syntax { wildcards: false, variables: false };
        let c = Piece::Char;
        assert_eq!(pieces("a**?", all), [c('a'), Piece::Any, Piece::One]);
        assert_eq!(pieces("a*?", none), [c('a'), c('*'), c('?')]);
        assert_eq!(pieces("${*}${$}", all), [c('*'), c('$')]);
        assert_eq!(pieces("${*}", none), "${*}".chars().map(c).collect::<Vec<_>>());
        assert_eq!(pieces("${x", all), "${x".chars().map(c).collect::<Vec<_>>());
        let variable = |key: &str, default: Option<&str>| Piece::Variable {
            key: key.to_owned(),
            default: default.map(str::to_owned),
        };
        assert_eq!(pieces("${aws:UserName}", all), [variable("aws:username", None)]);
        assert_eq!(
            pieces("${aws:PrincipalTag/Team, 'none'}", all),
            [variable("aws:principaltag/Team", Some("none"))]
        );
    }
}
