//! What says the same with more words.

use super::{Case, Report, has_wildcard, last};
use crate::json::{Node, Span, Value};
use crate::policy::{Base, Compare, Condition, Statement, Word};
use std::collections::HashMap;

/// A list this long is read by nobody unless it is in order.
const SORTED_FROM: usize = 20;

pub(super) fn check(case: &Case<'_>, statement: &Statement, out: &mut Report) {
    let mut by_service: HashMap<String, Vec<(String, &Word)>> = HashMap::new();
    for word in &statement.action.values {
        let lower = word.text.to_ascii_lowercase();
        let service = lower.split(':').next().unwrap_or_default().to_owned();
        by_service.entry(service).or_default().push((lower, word));
    }
    let all = by_service.remove("*");
    for (_, words) in by_service {
        redundant("redundant_action", &words, out);
        if let Some((_, star)) = all.iter().flatten().find(|(text, _)| text == "*") {
            for (_, word) in &words {
                out.add("redundant_action", word.span, format!("`{}` is in `{}`", word.text, star.text));
            }
        }
    }
    if let Some(resource) = &statement.resource {
        redundant("redundant_resource", &plain(&resource.values), out);
    }
    if let Some(principals) = &statement.principal {
        let mut seen = Vec::new();
        for (kind, word) in &principals.values {
            if seen.contains(&(kind, &word.text)) {
                out.add("redundant_principal", word.span, format!("`{}` is listed twice", word.text));
            }
            seen.push((kind, &word.text));
        }
    }
    for condition in &statement.conditions {
        match condition.operator.base {
            Base::Numeric(compare) => numbers(compare, condition, out),
            _ if condition.operator.has_wildcards() => {
                redundant("redundant_value", &plain(&condition.values), out)
            }
            _ => twice(condition, out),
        }
    }
    if let Some(node) = case.node(statement) {
        lists(node, out);
        arn_equals(node, statement, out);
    }
}

fn plain(words: &[Word]) -> Vec<(String, &Word)> {
    words.iter().map(|w| (w.text.clone(), w)).collect()
}

/// Words that another one of the list stands for as well.
fn redundant(code: &'static str, words: &[(String, &Word)], out: &mut Report) {
    if words.len() < 2 {
        return;
    }
    let wide: Vec<(usize, &(String, &Word))> =
        words.iter().enumerate().filter(|(_, (t, _))| has_wildcard(t)).collect();
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for (at, (text, word)) in words.iter().enumerate() {
        if seen.insert(text, at).is_some() {
            out.add(code, word.span, format!("`{}` is listed twice", word.text));
            continue;
        }
        let over = wide.iter().find(|(i, (pattern, _))| {
            *i != at && pattern != text && covers(pattern.as_bytes(), text.as_bytes())
        });
        if let Some((_, (_, over))) = over {
            out.add(code, word.span, format!("`{}` is in `{}`", word.text, over.text));
        }
    }
}

/// Whether a pattern stands for everything that another one stands for, seen from their letters alone.
fn covers(wide: &[u8], narrow: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(c) = narrow.get(n) {
        let is_match = match wide.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
                continue;
            }
            // One place does not stand for any number of them.
            Some(b'?') => *c != b'*',
            Some(x) => x == c && *c != b'*',
            None => false,
        };
        if is_match {
            p += 1;
            n += 1;
            continue;
        }
        let Some((at, reached)) = star else { return false };
        star = Some((at, reached + 1));
        p = at + 1;
        n = reached + 1;
    }
    wide.get(p..).is_some_and(|rest| rest.iter().all(|b| *b == b'*'))
}

fn twice(condition: &Condition, out: &mut Report) {
    let mut seen: Vec<&str> = Vec::new();
    // Long lists of names are compared once each.
    for word in condition.values.iter().take(1_000) {
        if seen.contains(&word.text.as_str()) {
            out.add("redundant_value", word.span, format!("`{}` is listed twice", word.text));
        }
        seen.push(&word.text);
    }
}

/// Of several bounds one counts.
fn numbers(compare: Compare, condition: &Condition, out: &mut Report) {
    let is_bound = compare != Compare::Equals && !condition.operator.negated;
    if is_bound && condition.values.len() > 1 {
        let what =
            format!("{} bounds for `{}`: the widest alone counts", condition.values.len(), condition.key);
        out.add("redundant_number", condition.span, what);
    } else {
        twice(condition, out);
    }
}

/// Lists of one, and long lists without an order.
fn lists(statement: &Node, out: &mut Report) {
    for element in ["Action", "NotAction", "Resource", "NotResource"] {
        let Some(m) = last(statement, element) else { continue };
        let Value::Array(items) = &m.value.value else { continue };
        one(items, m.value.span, element, out);
        if items.len() >= SORTED_FROM {
            let texts: Vec<String> =
                items.iter().filter_map(Node::scalar).map(|t| t.to_ascii_lowercase()).collect();
            if !texts.is_sorted() {
                let what = format!("{} values of `{element}` in no order", items.len());
                out.add("unsorted", m.value.span, what);
            }
        }
    }
    let conditions = last(statement, "Condition").map(|m| &m.value.value);
    let Some(Value::Object(operators)) = conditions else { return };
    for operator in operators {
        let Value::Object(keys) = &operator.value.value else { continue };
        for key in keys {
            if let Value::Array(items) = &key.value.value {
                one(items, key.value.span, &key.key, out);
            }
        }
    }
}

fn one(items: &[Node], span: Span, of: &str, out: &mut Report) {
    if items.len() == 1 {
        out.add("single_value_list", span, format!("`{of}` is a list of one"));
    }
}

/// `ArnEquals` with wildcards does what `ArnLike` does, and says otherwise.
fn arn_equals(node: &Node, statement: &Statement, out: &mut Report) {
    let conditions = last(node, "Condition").map(|m| &m.value.value);
    let Some(Value::Object(operators)) = conditions else { return };
    for operator in operators {
        let name = operator.key.to_ascii_lowercase();
        if !name.contains("arnequals") && !name.contains("arnnotequals") {
            continue;
        }
        let within = |s: Span| operator.value.span.start <= s.start && s.end <= operator.value.span.end;
        for condition in statement.conditions.iter().filter(|c| within(c.span)) {
            for word in condition.values.iter().filter(|w| has_wildcard(&w.text)) {
                let what = format!("`{}` under `{}`", word.text, operator.key);
                out.add("arn_equals_wildcard", word.span, what);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_that_hold_others() {
        for (wide, narrow, is_held) in [
            ("s3:get*", "s3:getobject", true),
            ("s3:get*", "s3:get*acl", true),
            ("s3:*acl", "s3:get*", false),
            ("s3:?et", "s3:*et", false),
            ("s3:?et", "s3:?et", true),
            ("a*b", "a*", false),
            ("*", "**", true),
            ("a*c*", "abcd", true),
        ] {
            assert_eq!(covers(wide.as_bytes(), narrow.as_bytes()), is_held, "{wide} {narrow}");
        }
    }
}
