//! Variables: `${key}` and `${key, 'default'}` (IAM reference_policies_variables).

use super::{Case, Report};
use crate::catalog;
use crate::policy::{Statement, Version, Word};

pub(super) fn check(case: &Case<'_>, statement: &Statement, out: &mut Report) {
    let principals = statement.principal.iter().flat_map(|p| p.values.iter().map(|(_, w)| w));
    for word in statement.action.values.iter().chain(principals) {
        if word.text.contains("${") {
            out.add(
                "variable_element",
                word.span,
                format!("a variable in `{}`, where none is filled in", word.text),
            );
        }
    }
    let resources = statement.resource.iter().flat_map(|r| &r.values);
    for word in resources {
        each(case, word, out);
    }
    for condition in &statement.conditions {
        for word in condition.values.iter().filter(|w| w.text.contains("${")) {
            if !condition.operator.has_variables() {
                let what = format!("a variable in `{}` under an operator that fills none in", word.text);
                out.add("variable_operator", word.span, what);
            }
            each(case, word, out);
        }
    }
}

fn each(case: &Case<'_>, word: &Word, out: &mut Report) {
    let mut rest = word.text.as_str();
    while let Some((_, behind)) = rest.split_once("${") {
        if case.document.version == Version::V2008 {
            let what = format!("`{}` stands for itself: variables came with version 2012-10-17", word.text);
            out.add("variable_version", word.span, what);
            return;
        }
        let Some((inside, behind)) = behind.split_once('}') else {
            out.add("variable_brace", word.span, format!("a variable in `{}` has no `}}`", word.text));
            return;
        };
        rest = behind;
        if !matches!(inside, "*" | "?" | "$") {
            one(word, inside, out);
        }
    }
}

fn one(word: &Word, inside: &str, out: &mut Report) {
    let (key, default) = inside.split_once(',').map_or((inside, None), |(k, d)| (k, Some(d.trim())));
    if key.trim().is_empty() {
        out.add("variable_empty", word.span, "a variable without a key");
        return;
    }
    if key.contains("::") || !key.contains(':') {
        let what =
            format!("`${{{inside}}}` names no condition key: a place that some template should have filled?");
        out.add("variable_placeholder", word.span, what);
        return;
    }
    if key.contains(char::is_whitespace) && !key.contains('/') {
        out.add("variable_space", word.span, format!("white space in the variable `{key}`"));
    } else if let Some(c) = key.chars().find(|c| "{$\"'*?<>()[]|\\;!#%&".contains(*c)) {
        out.add("variable_symbol", word.span, format!("`{c}` in the variable `{key}`"));
    }
    if let Some(default) = default
        && (default.len() < 2 || !default.starts_with('\'') || !default.ends_with('\''))
    {
        out.add("variable_quote", word.span, format!("the default `{default}` is not in single quotes"));
    }
    match catalog::key(key.trim()) {
        Some(k) if k.multivalued => {
            out.add("variable_many", word.span, format!("`{key}` has many values, and a variable holds one"));
        }
        None if key.to_ascii_lowercase().starts_with("aws:") => {
            out.add("variable_unknown", word.span, format!("the table of global keys has no `{key}`"));
        }
        _ => {}
    }
}
