//! JSON trees for people, and what differs between two of them as a unified diff.

use crate::json::{Node, Value};
use std::fmt::Write;

/// Lines around a difference.
const CONTEXT: usize = 3;
/// Pairs of lines that are compared; beyond it a difference is shown as a block.
const PAIRS_MAX: usize = 1 << 20;

/// Two spaces for each level, one value to a line; members in their order, numbers as written.
pub(super) fn pretty(node: &Node) -> String {
    let mut out = String::new();
    write_node(&mut out, node, 0);
    out
}

fn write_node(out: &mut String, node: &Node, depth: usize) {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    match &node.value {
        Value::Null => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Number(text) => out.push_str(text),
        Value::String(text) => out.push_str(&quoted(text)),
        Value::Array(items) => {
            write_list(out, ('[', ']'), items, depth, |out, item| write_node(out, item, depth + 1));
        }
        Value::Object(members) => write_list(out, ('{', '}'), members, depth, |out, member| {
            out.push_str(&quoted(&member.key));
            out.push_str(": ");
            write_node(out, &member.value, depth + 1);
        }),
    }
}

fn write_list<T>(
    out: &mut String,
    (open, close): (char, char),
    of: &[T],
    depth: usize,
    one: impl Fn(&mut String, &T),
) {
    out.push(open);
    for (at, item) in of.iter().enumerate() {
        out.push_str(if at == 0 { "\n" } else { ",\n" });
        out.push_str(&"  ".repeat(depth + 1));
        one(out, item);
    }
    if !of.is_empty() {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    }
    out.push(close);
}

/// What leads from one text to another, with the names that stand for them; `None`: there is no such text. Empty where nothing differs.
pub(super) fn unified(name: &str, before: Option<&str>, after: Option<&str>) -> String {
    if before == after {
        return String::new();
    }
    let lines = |text: Option<&'_ str>| -> Vec<String> {
        text.map(|t| t.lines().map(str::to_owned).collect()).unwrap_or_default()
    };
    let (old, new) = (lines(before), lines(after));
    let same_before = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let most = old.len().min(new.len()) - same_before;
    let same_behind = old.iter().rev().zip(new.iter().rev()).take(most).take_while(|(a, b)| a == b).count();
    let middle = |of: &[String]| of.get(same_before..of.len() - same_behind).unwrap_or_default().to_vec();
    let first = same_before.saturating_sub(CONTEXT);
    let behind = same_behind.min(CONTEXT);
    let (removed, added) = (middle(&old), middle(&new));
    let count = |middle: usize| same_before - first + middle + behind;
    // An empty side starts at line 0.
    let start = |of: &[String]| if of.is_empty() { 0 } else { first + 1 };
    let named = |text: Option<&str>| if text.is_some() { name } else { "/dev/null" };
    let mut out = String::new();
    let _ = writeln!(out, "--- {}\n+++ {}", named(before), named(after));
    let (n_old, n_new) = (count(removed.len()), count(added.len()));
    let _ = writeln!(out, "@@ -{},{n_old} +{},{n_new} @@", start(&old), start(&new));
    let mut line = |mark: char, text: &String| {
        let _ = writeln!(out, "{mark}{text}");
    };
    old.iter().take(same_before).skip(first).for_each(|l| line(' ', l));
    steps(&removed, &added).into_iter().for_each(|(mark, l)| line(mark, l));
    old.iter().skip(old.len() - same_behind).take(behind).for_each(|l| line(' ', l));
    out
}

/// Lines kept, removed and added, by a longest common subsequence.
fn steps<'l>(old: &'l [String], new: &'l [String]) -> Vec<(char, &'l String)> {
    if old.len().saturating_mul(new.len()) > PAIRS_MAX {
        return old.iter().map(|l| ('-', l)).chain(new.iter().map(|l| ('+', l))).collect();
    }
    let width = new.len() + 1;
    // Length of the longest common subsequence of what stands behind each pair of places.
    let mut common = vec![0_usize; (old.len() + 1) * width];
    let at = |common: &[usize], i: usize, j: usize| common.get(i * width + j).copied().unwrap_or(0);
    for (i, a) in old.iter().enumerate().rev() {
        for (j, b) in new.iter().enumerate().rev() {
            let longest = if a == b {
                at(&common, i + 1, j + 1) + 1
            } else {
                at(&common, i + 1, j).max(at(&common, i, j + 1))
            };
            if let Some(slot) = common.get_mut(i * width + j) {
                *slot = longest;
            }
        }
    }
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    loop {
        match (old.get(i), new.get(j)) {
            (None, None) => return out,
            (Some(a), Some(b)) if a == b => {
                out.push((' ', a));
                (i, j) = (i + 1, j + 1);
            }
            (Some(a), b) if b.is_none() || at(&common, i + 1, j) >= at(&common, i, j + 1) => {
                out.push(('-', a));
                i += 1;
            }
            (_, Some(b)) => {
                out.push(('+', b));
                j += 1;
            }
            (Some(_), None) => return out,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::read;

    #[test]
    fn a_tree_on_lines() {
        let text = r#"{"b":[1,{}],"a":[],"c":{"d":"x\"","e":null,"f":true}}"#;
        let is = pretty(&read(text).unwrap());
        let expect = "{\n  \"b\": [\n    1,\n    {}\n  ],\n  \"a\": [],\n  \"c\": {\n    \"d\": \"x\\\"\",\n    \"e\": null,\n    \"f\": true\n  }\n}";
        assert_eq!(is, expect);
        assert_eq!(pretty(&read(&is).unwrap()), is);
    }

    #[test]
    fn differences() {
        let text = |of: &str| of.chars().map(|c| format!("{c}\n")).collect::<String>();
        let (old, new) = (text("abcdefghij"), text("abcdXfhYij"));
        let expect = "--- x\n+++ x\n@@ -2,9 +2,9 @@\n b\n c\n d\n-e\n+X\n f\n-g\n h\n+Y\n i\n j\n";
        assert_eq!(unified("x", Some(&old), Some(&new)), expect);
        assert_eq!(unified("x", Some(&old), Some(&old)), "");
        assert_eq!(unified("x", Some("a\nb"), None), "--- x\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-a\n-b\n");
        assert_eq!(unified("x", None, Some("a")), "--- /dev/null\n+++ x\n@@ -0,0 +1,1 @@\n+a\n");
        // A line more of what there is already.
        assert_eq!(
            unified("x", Some("a\na"), Some("a\na\na")),
            "--- x\n+++ x\n@@ -1,2 +1,3 @@\n a\n a\n+a\n"
        );
    }
}
