//! What is wrong, dangerous, pointless or awkward in one policy document (IAM access-analyzer-reference-policy-checks).
//!
//! The ground is that of AWS's own validation; codes, words and reasons are ours (`data/validate.txt`, one row a check), AWS's issue
//! code stands beside as an alias. Three rules:
//!
//! - An error is something that the language refuses or that cannot do what it says. What rests on the table of services alone is a
//!   warning, since the table may be older than the service, unless a name one letter away exists.
//! - A warning that a statement does nothing is proved by the engine, not guessed from its words.
//! - Nothing is said of other documents: an Allow that an SCP takes back, or a Deny that guards against another policy, is not seen here.

mod actions;
mod conditions;
mod document;
mod principals;
mod proofs;
mod resources;
mod risks;
mod rules;
mod style;
mod values;
mod variables;

pub use rules::{Rule, rules};

use crate::json::{self, Member, Node, Span, Value};
use crate::policy::{Document, Statement};

/// What a document is attached to: each kind takes other elements (IAM access_policies).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PolicyKind {
    /// Of users, groups, roles; permissions boundaries and session policies too.
    Identity,
    /// Of a bucket, a key, a queue.
    Resource,
    /// Who may take a role.
    Trust,
    /// Service control policy.
    Scp,
    /// Resource control policy.
    Rcp,
}

/// As AWS has them (API `ValidatePolicyFinding`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Level {
    Error,
    SecurityWarning,
    Warning,
    Suggestion,
}

impl Level {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::SecurityWarning => "security_warning",
            Level::Warning => "warning",
            Level::Suggestion => "suggestion",
        }
    }
}

/// Something found in a document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Issue {
    pub code: &'static str,
    /// AWS's code for the same.
    pub aws: Option<&'static str>,
    pub level: Level,
    /// What it is here, with the words of the document.
    pub message: String,
    /// Why it matters.
    pub why: &'static str,
    /// What to do.
    pub fix: &'static str,
    /// Bytes of [`Document::text`].
    pub span: Span,
    /// JSON pointer (RFC 6901) to the value or member.
    pub pointer: String,
}

/// Everything that is found in a document, in the order of its text. `resource_type` is CloudFormation's name of what the policy is
/// attached to (`AWS::S3::Bucket`), where that is known.
#[must_use]
pub fn validate(document: &Document, kind: PolicyKind, resource_type: Option<&str>) -> Vec<Issue> {
    // What was a document once reads again; one made by hand has no text, and no places.
    let nothing = Node { span: Span::default(), value: Value::Null };
    let root = json::read(&document.text).unwrap_or(nothing);
    let case = Case { document, kind, resource_type, root: &root };
    let mut out = Report { found: Vec::new() };
    document::check(&case, &mut out);
    for statement in &document.statements {
        let reach = actions::Reach::of(statement);
        document::statement(&case, statement, &mut out);
        actions::check(&case, statement, &mut out);
        resources::check(&case, statement, &reach, &mut out);
        principals::check(&case, statement, &mut out);
        conditions::check(&case, statement, &reach, &mut out);
        values::check(&case, statement, &mut out);
        variables::check(&case, statement, &mut out);
        risks::check(&case, statement, &reach, &mut out);
        style::check(&case, statement, &mut out);
    }
    proofs::check(&case, &mut out);
    let mut issues: Vec<Issue> = out.found.into_iter().map(|f| issue(&case, f)).collect();
    issues.sort_by(|a, b| (a.span, a.level, a.code, &a.message).cmp(&(b.span, b.level, b.code, &b.message)));
    issues.dedup();
    issues
}

/// What the checks look at.
struct Case<'d> {
    document: &'d Document,
    kind: PolicyKind,
    resource_type: Option<&'d str>,
    /// The same document as JSON, for what the model does not keep.
    root: &'d Node,
}

impl<'d> Case<'d> {
    /// The JSON of a statement.
    fn node(&self, statement: &Statement) -> Option<&'d Node> {
        let list = last(self.root, "Statement")?;
        match &list.value.value {
            Value::Array(items) => items.get(statement.index),
            _ => Some(&list.value),
        }
    }

    /// Where an element of a statement has its name; the whole statement when it has none.
    fn name_of(&self, statement: &Statement, element: &str) -> Span {
        let member = self.node(statement).and_then(|n| last(n, element));
        member.map_or(statement.span, |m| m.key_span)
    }

    /// The name that stands before a value: a condition key before its values.
    fn key_before(&self, statement: &Statement, value: Span) -> Span {
        self.node(statement).and_then(|n| member_with(n, value)).map_or(value, |m| m.key_span)
    }

    /// The policy hangs on what it speaks of, so it says who may come.
    fn has_principals(&self) -> bool {
        matches!(self.kind, PolicyKind::Resource | PolicyKind::Trust | PolicyKind::Rcp)
    }
}

fn last<'n>(node: &'n Node, key: &str) -> Option<&'n Member> {
    match &node.value {
        Value::Object(members) => members.iter().rev().find(|m| m.key == key),
        _ => None,
    }
}

fn member_with(node: &Node, value: Span) -> Option<&Member> {
    let Value::Object(members) = &node.value else { return None };
    let holds = |m: &&Member| m.value.span.start <= value.start && value.end <= m.value.span.end;
    let member = members.iter().find(holds)?;
    if member.value.span == value { Some(member) } else { member_with(&member.value, value) }
}

struct Found {
    code: &'static str,
    span: Span,
    message: String,
}

struct Report {
    found: Vec<Found>,
}

impl Report {
    fn add(&mut self, code: &'static str, span: Span, message: impl Into<String>) {
        self.found.push(Found { code, span, message: message.into() });
    }
}

fn issue(case: &Case<'_>, found: Found) -> Issue {
    let rule = rules::rule(found.code);
    let mut pointer = String::new();
    point(case.root, found.span, &mut pointer);
    Issue {
        code: rule.code,
        aws: rule.aws,
        level: rule.level,
        message: found.message,
        why: rule.why,
        fix: rule.fix,
        span: found.span,
        pointer,
    }
}

/// Writes the way to the smallest value that holds a place.
fn point(node: &Node, span: Span, out: &mut String) {
    let holds = |s: Span| s.start <= span.start && span.end <= s.end;
    if node.span == span {
        return;
    }
    match &node.value {
        Value::Object(members) => {
            let Some(m) = members.iter().find(|m| holds(m.value.span) || holds(m.key_span)) else { return };
            out.push('/');
            out.push_str(&m.key.replace('~', "~0").replace('/', "~1"));
            if holds(m.value.span) {
                point(&m.value, span, out);
            }
        }
        Value::Array(items) => {
            // They stand in their order, and lists are long.
            let i = items.partition_point(|n| n.span.end < span.end);
            let Some(item) = items.get(i).filter(|n| holds(n.span)) else { return };
            out.push('/');
            out.push_str(&i.to_string());
            point(item, span, out);
        }
        _ => {}
    }
}

/// Texts with variables, as patterns: whatever a variable holds.
fn opened(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("${") {
        out.push_str(before);
        match behind.split_once('}') {
            Some(("*" | "?" | "$", behind)) => {
                // The character itself; a place for one is as near as a pattern gets.
                out.push('?');
                rest = behind;
            }
            Some((_, behind)) => {
                out.push('*');
                rest = behind;
            }
            None => {
                out.push_str("${");
                rest = behind;
            }
        }
    }
    out.push_str(rest);
    out
}

fn has_wildcard(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// Twelve digits (IAM reference_iam-quotas, account ids).
fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

/// Edits between two short names, up to three.
fn distance(one: &str, other: &str) -> usize {
    const FAR: usize = 3;
    if one.len().abs_diff(other.len()) >= FAR {
        return FAR;
    }
    let (one, other) = (one.to_ascii_lowercase(), other.to_ascii_lowercase());
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut next = Vec::with_capacity(row.len());
        next.push(i + 1);
        for (j, b) in other.bytes().enumerate() {
            let at = |j: usize| row.get(j).copied().unwrap_or(FAR);
            let before = next.get(j).copied().unwrap_or(FAR);
            next.push((at(j) + usize::from(a != b)).min(at(j + 1) + 1).min(before + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(FAR).min(FAR)
}

/// The nearest of some names that a slip of the finger explains.
fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    // One edit in a short name is another name.
    let most = if name.len() < 5 { 0 } else { 1 };
    names.map(|n| (distance(name, n), n)).filter(|(d, _)| (1..=most).contains(d)).min().map(|(_, n)| n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_near_each_other() {
        assert_eq!(distance("GetObject", "getobjct"), 1);
        assert_eq!(distance("abc", "abc"), 0);
        assert_eq!(distance("abc", "xyz"), 3);
        assert_eq!(distance("short", "much longer"), 3);
        assert_eq!(nearest("PutObjet", ["GetObject", "PutObject"].into_iter()), Some("PutObject"));
        assert_eq!(nearest("s4", ["s3"].into_iter()), None);
    }

    #[test]
    fn variables_as_patterns() {
        assert_eq!(opened("a/${aws:username}/${*}b"), "a/*/?b");
        assert_eq!(opened("a${b"), "a${b");
    }
}
