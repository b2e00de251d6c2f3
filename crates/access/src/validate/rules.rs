//! The table of checks: `data/validate.txt`, one row each.

use super::Level;
use std::collections::HashMap;
use std::sync::LazyLock;

const TEXT: &str = include_str!("../../data/validate.txt");

/// What can be said of a document.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rule {
    pub code: &'static str,
    /// AWS's issue code.
    pub aws: Option<&'static str>,
    pub level: Level,
    pub why: &'static str,
    pub fix: &'static str,
}

static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let rows = TEXT.lines().filter(|l| !l.starts_with('#') && !l.is_empty());
    rows.filter_map(|row| {
        let mut columns = row.split('\t');
        let (code, level, aws) = (columns.next()?, columns.next()?, columns.next()?);
        let level = match level {
            "E" => Level::Error,
            "S" => Level::SecurityWarning,
            "W" => Level::Warning,
            _ => Level::Suggestion,
        };
        let aws = (aws != "-").then_some(aws);
        Some(Rule { code, aws, level, why: columns.next()?, fix: columns.next()? })
    })
    .collect()
});

static BY_CODE: LazyLock<HashMap<&'static str, Rule>> =
    LazyLock::new(|| RULES.iter().map(|r| (r.code, *r)).collect());

/// All checks, in the order of the table.
#[must_use]
pub fn rules() -> &'static [Rule] {
    &RULES
}

/// A check by its code. One without a row is still reported: a test holds that there is none.
pub(super) fn rule(code: &'static str) -> Rule {
    let without = Rule { code, aws: None, level: Level::Error, why: "", fix: "" };
    BY_CODE.get(code).copied().unwrap_or(without)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_whole_and_stands_once() {
        let rows = TEXT.lines().filter(|l| !l.starts_with('#') && !l.is_empty()).count();
        assert_eq!((RULES.len(), BY_CODE.len()), (rows, rows));
        for r in rules() {
            assert!(!r.why.is_empty() && !r.fix.is_empty(), "{}", r.code);
            assert!(
                r.code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
                "{}",
                r.code
            );
            assert!(
                r.aws
                    .is_none_or(|a| !a
                        .contains(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'))),
                "{}",
                r.code
            );
        }
    }
}
