//! YAML as a tree in which every node knows its line and column. A serde mapping would lose the positions that a refusal must
//! name, and silently keep the last of two equal keys.

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, Tag};
use std::collections::{BTreeMap, HashSet};

/// Longest document (1 MiB). The longest public rule has 40 kB; beyond this a file is not a rule.
pub const DOCUMENT_BYTES_MAX: usize = 1 << 20;
/// Deepest nesting of a document. Public rules reach 5; recursion over the tree stays far from the end of the stack.
pub const DEPTH_MAX: usize = 64;
/// Nodes of one document after aliases are expanded. An alias bomb grows by doubling; this stops it at a few MiB.
pub const NODES_MAX: usize = 100_000;

/// Line and column, both counted from 1, column in characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Position {
    pub line: u32,
    pub column: u32,
}

impl Position {
    fn of(m: &Marker) -> Position {
        let n = |v: usize| u32::try_from(v).unwrap_or(u32::MAX);
        Position { line: n(m.line()).max(1), column: n(m.col()).saturating_add(1) }
    }
    /// The place `chars` characters further on the same line.
    #[must_use]
    pub fn right(self, chars: usize) -> Position {
        Position {
            line: self.line,
            column: self.column.saturating_add(u32::try_from(chars).unwrap_or(u32::MAX)),
        }
    }
}

/// Why a document cannot be honoured. The file name is added by the loader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    pub at: Position,
    pub code: &'static str,
    pub construct: String,
    pub reason: String,
    pub hint: String,
}

impl Problem {
    pub fn new(
        at: Position,
        code: &'static str,
        construct: impl Into<String>,
        reason: impl Into<String>,
    ) -> Problem {
        Problem { at, code, construct: construct.into(), reason: reason.into(), hint: String::new() }
    }
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = hint.into();
        self
    }
}

#[derive(Clone, PartialEq, Debug)]
pub struct Node {
    pub at: Position,
    pub value: Value,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    Null,
    Bool(bool),
    /// An unquoted number, as it was written: no rounding.
    Number(String),
    Text {
        text: String,
        /// Written without quotes and on one line, so that a column inside it can be named.
        is_plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    pub key: String,
    pub at: Position,
    pub node: Node,
}

impl Node {
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Text { .. } => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text { text, .. } => Some(text),
            _ => None,
        }
    }
    /// The text of any scalar except null.
    #[must_use]
    pub fn scalar(&self) -> Option<String> {
        match &self.value {
            Value::Text { text, .. } | Value::Number(text) => Some(text.clone()),
            Value::Bool(b) => Some(b.to_string()),
            _ => None,
        }
    }
    #[must_use]
    pub fn bool(&self) -> Option<bool> {
        match &self.value {
            Value::Bool(b) => Some(*b),
            // YAML 1.1 words that people still write where the specification wants a boolean.
            Value::Text { text, .. } if text.eq_ignore_ascii_case("yes") => Some(true),
            Value::Text { text, .. } if text.eq_ignore_ascii_case("no") => Some(false),
            Value::Text { text, .. } => text.parse().ok(),
            _ => None,
        }
    }
    #[must_use]
    pub fn map(&self) -> Option<&[Entry]> {
        match &self.value {
            Value::Map(m) => Some(m),
            _ => None,
        }
    }
    #[must_use]
    pub fn list(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(l) => Some(l),
            _ => None,
        }
    }
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.map()?.iter().find(|e| e.key == key).map(|e| &e.node)
    }
    /// As JSON, map order kept; numbers keep their digits.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        match &self.value {
            Value::Null => out.extend_from_slice(b"null"),
            Value::Bool(b) => out.extend_from_slice(b.to_string().as_bytes()),
            Value::Number(n) if serde_json::from_str::<serde_json::Number>(n).is_ok() => {
                out.extend_from_slice(n.as_bytes());
            }
            Value::Number(t) | Value::Text { text: t, .. } => model::canonical::write_string(t, out),
            Value::List(items) => {
                out.push(b'[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    item.write_json(out);
                }
                out.push(b']');
            }
            Value::Map(entries) => {
                out.push(b'{');
                for (i, e) in entries.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    model::canonical::write_string(&e.key, out);
                    out.push(b':');
                    e.node.write_json(out);
                }
                out.push(b'}');
            }
        }
    }
}

/// Every document of `text`; a document with a problem is a problem, and reading goes on behind it where the syntax allows.
#[must_use]
pub fn documents(text: &str) -> Vec<Result<Node, Problem>> {
    let mut out = Vec::new();
    let mut parser = Parser::new_from_str(text);
    let mut builder = Builder::default();
    let mut start = 0;
    loop {
        match parser.next_event() {
            None => break,
            Some(Err(e)) => {
                let reason = e.info().to_owned();
                out.push(Err(Problem::new(Position::of(e.marker()), "rule.yaml", "YAML", reason)));
                break;
            }
            Some(Ok((Event::StreamEnd, _))) => break,
            Some(Ok((Event::DocumentStart(_), span))) => {
                builder = Builder::default();
                start = span.start.index();
            }
            Some(Ok((Event::DocumentEnd, span))) => {
                let b = std::mem::take(&mut builder);
                if span.end.index().saturating_sub(start) > DOCUMENT_BYTES_MAX {
                    let reason = format!("longer than {DOCUMENT_BYTES_MAX} bytes");
                    out.push(Err(Problem::new(
                        Position::of(&span.start),
                        "rule.too_large",
                        "document",
                        reason,
                    )));
                } else if let Some(done) = b.finish() {
                    out.push(done);
                }
            }
            Some(Ok((event, span))) => builder.event(event, &span),
        }
        if builder.is_hopeless {
            // Deep nesting or a bomb: what follows is not worth reading, and reading it is what the attacker wants.
            if let Some(Err(p)) = std::mem::take(&mut builder).finish() {
                out.push(Err(p));
            }
            break;
        }
    }
    out
}

/// An open collection.
enum Frame {
    List {
        at: Position,
        anchor: usize,
        items: Vec<Node>,
    },
    Map {
        at: Position,
        anchor: usize,
        entries: Vec<Entry>,
        keys: HashSet<String>,
        key: Option<(String, Position)>,
    },
}

#[derive(Default)]
struct Builder {
    stack: Vec<Frame>,
    root: Option<Node>,
    anchors: BTreeMap<usize, (Node, usize)>,
    n_nodes: usize,
    problem: Option<Problem>,
    is_hopeless: bool,
}

impl Builder {
    fn finish(self) -> Option<Result<Node, Problem>> {
        match (self.problem, self.root) {
            (Some(p), _) => Some(Err(p)),
            (None, Some(Node { value: Value::Null, .. })) | (None, None) => None,
            (None, Some(n)) => Some(Ok(n)),
        }
    }

    fn fail(&mut self, p: Problem) {
        self.problem.get_or_insert(p);
    }

    fn event(&mut self, event: Event<'_>, span: &Span) {
        let at = Position::of(&span.start);
        if self.problem.is_some() {
            return;
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                if let Some(value) = self.scalar(&text, style, tag.as_deref(), at) {
                    self.add(Node { at, value }, anchor, 1);
                }
            }
            Event::SequenceStart(anchor, tag) => {
                self.tag(tag.as_deref(), at);
                self.open(Frame::List { at, anchor, items: Vec::new() }, at);
            }
            Event::MappingStart(anchor, tag) => {
                self.tag(tag.as_deref(), at);
                self.open(
                    Frame::Map { at, anchor, entries: Vec::new(), keys: HashSet::new(), key: None },
                    at,
                );
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(at),
            Event::Alias(id) => match self.anchors.get(&id).cloned() {
                Some((node, size)) => self.add(Node { at, value: node.value }, 0, size),
                None => {
                    self.fail(Problem::new(at, "rule.yaml", "alias", "names an anchor that is not complete"))
                }
            },
            _ => {}
        }
    }

    fn open(&mut self, frame: Frame, at: Position) {
        if self.stack.len() >= DEPTH_MAX {
            self.is_hopeless = true;
            self.fail(Problem::new(
                at,
                "rule.too_deep",
                "nesting",
                format!("deeper than {DEPTH_MAX} levels"),
            ));
        }
        self.stack.push(frame);
    }

    fn close(&mut self, at: Position) {
        let (node, anchor) = match self.stack.pop() {
            Some(Frame::List { at, anchor, items }) => (Node { at, value: Value::List(items) }, anchor),
            Some(Frame::Map { at, anchor, entries, .. }) => (Node { at, value: Value::Map(entries) }, anchor),
            None => return self.fail(Problem::new(at, "rule.yaml", "YAML", "an end without a start")),
        };
        self.add(node, anchor, 1);
    }

    /// Puts a finished node into the open collection. `n` counts the nodes it brings (an alias brings a whole tree).
    fn add(&mut self, node: Node, anchor: usize, n: usize) {
        self.n_nodes = self.n_nodes.saturating_add(n);
        if self.n_nodes > NODES_MAX {
            self.is_hopeless = true;
            let reason = format!("more than {NODES_MAX} nodes after aliases are expanded");
            return self.fail(Problem::new(node.at, "rule.too_large", "document", reason));
        }
        if anchor > 0 {
            let size = if matches!(node.value, Value::List(_) | Value::Map(_)) { count(&node) } else { 1 };
            self.anchors.insert(anchor, (node.clone(), size));
        }
        let node = match self.stack.last_mut() {
            None => {
                self.root = Some(node);
                return;
            }
            Some(Frame::List { items, .. }) => {
                items.push(node);
                return;
            }
            Some(Frame::Map { key: slot @ Some(_), entries, .. }) => {
                if let Some((key, at)) = slot.take() {
                    entries.push(Entry { key, at, node });
                }
                return;
            }
            Some(Frame::Map { .. }) => node,
        };
        self.key(&node);
    }

    /// Takes `node` as the next key of the open map.
    fn key(&mut self, node: &Node) {
        let Some(text) = node.scalar().or_else(|| matches!(node.value, Value::Null).then(String::new)) else {
            return self.fail(Problem::new(
                node.at,
                "rule.yaml",
                "key",
                format!("{} cannot be a key", node.kind()),
            ));
        };
        if text == "<<" {
            let p = Problem::new(node.at, "rule.unsupported", "<<", "merge keys are not part of YAML 1.2");
            return self.fail(p.hint("write the merged keys out"));
        }
        let is_new = match self.stack.last_mut() {
            Some(Frame::Map { keys, key, .. }) => {
                *key = Some((text.clone(), node.at));
                keys.insert(text.clone())
            }
            _ => true,
        };
        if !is_new {
            let p = Problem::new(node.at, "rule.duplicate_key", text, "this key stands twice in one map");
            self.fail(p.hint("keep one of the two; other tools silently take the last"));
        }
    }

    fn tag(&mut self, tag: Option<&Tag>, at: Position) {
        if let Some(t) = tag {
            let known = t.is_yaml_core_schema() && matches!(t.suffix.as_str(), "map" | "seq");
            if !known {
                self.fail(Problem::new(
                    at,
                    "rule.unsupported",
                    t.to_string(),
                    "this YAML tag has no meaning in a rule",
                ));
            }
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, at: Position) -> Option<Value> {
        let is_plain = matches!(style, ScalarStyle::Plain) && !text.contains('\n');
        let quoted = || Value::Text { text: text.to_owned(), is_plain };
        match tag {
            None if matches!(style, ScalarStyle::Plain) => Some(resolve(text).unwrap_or_else(quoted)),
            None => Some(quoted()),
            Some(t) if t.is_yaml_core_schema() && t.suffix == "str" => Some(quoted()),
            Some(t)
                if t.is_yaml_core_schema()
                    && matches!(t.suffix.as_str(), "int" | "float" | "bool" | "null") =>
            {
                Some(resolve(text).unwrap_or_else(quoted))
            }
            Some(t) => {
                self.fail(Problem::new(
                    at,
                    "rule.unsupported",
                    t.to_string(),
                    "this YAML tag has no meaning in a rule",
                ));
                None
            }
        }
    }
}

/// An unquoted scalar by the core schema of YAML 1.2, with one deviation: digits with a leading zero stay text, because a rule
/// that names account 012345678901 means all twelve digits.
fn resolve(text: &str) -> Option<Value> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Value::Null),
        "true" | "True" | "TRUE" => return Some(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Some(Value::Bool(false)),
        _ => {}
    }
    if let Some(hex) = text.strip_prefix("0x") {
        return i64::from_str_radix(hex, 16).ok().map(|v| Value::Number(v.to_string()));
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let has_leading_zero = digits.len() > 1
        && digits.starts_with('0')
        && digits.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
    let is_number = digits.as_bytes().first().is_some_and(u8::is_ascii_digit)
        && digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'))
        && digits.parse::<f64>().is_ok();
    (is_number && !has_leading_zero).then(|| Value::Number(text.strip_prefix('+').unwrap_or(text).to_owned()))
}

fn count(node: &Node) -> usize {
    1 + match &node.value {
        Value::List(l) => l.iter().map(count).sum(),
        Value::Map(m) => m.iter().map(|e| count(&e.node)).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let got: Vec<String> = documents(text)
            .into_iter()
            .map(|d| match d {
                Ok(n) => {
                    let mut out = Vec::new();
                    n.write_json(&mut out);
                    String::from_utf8(out).unwrap()
                }
                Err(p) => format!("{}:{} {} {}", p.at.line, p.at.column, p.code, p.construct),
            })
            .collect();
        assert_eq!(got.join(" | "), expect);
    }

    #[test]
    fn scalars_keep_their_digits() {
        check(
            "a: [7045, 012, '7', 1.50, 0x1f, true, yes, ~, 2021-06-29]",
            r#"{"a":[7045,"012","7",1.50,31,true,"yes",null,"2021-06-29"]}"#,
        );
        check("a: 9007199254740993", r#"{"a":9007199254740993}"#);
    }

    #[test]
    fn documents_and_positions() {
        check("a: 1\n---\nb: 2\n", r#"{"a":1} | {"b":2}"#);
        check("a: 1\nb: 2\na: 3\n", "3:1 rule.duplicate_key a");
        check("x:\n  a: 1\n  a: 3\n---\nb: 2", r#"3:3 rule.duplicate_key a | {"b":2}"#);
        check("a: 1\n---\nb: [", r#"{"a":1} | 4:1 rule.yaml YAML"#);
        check("a: !!binary x", "1:13 rule.unsupported tag:yaml.org,2002:!binary");
        check("b: &b {k: 1}\na:\n  <<: *b", "3:3 rule.unsupported <<");
        check("", "");
    }

    #[test]
    fn anchors_are_expanded_and_bombs_refused() {
        check("a: &x [1, 2]\nb: *x", r#"{"a":[1,2],"b":[1,2]}"#);
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for i in 1..12 {
            bomb.push_str(&format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(", ")));
        }
        let got = documents(&bomb);
        assert_eq!(got.len(), 1);
        assert_eq!(got[0].as_ref().unwrap_err().code, "rule.too_large");
        let deep = format!("a: {}{}", "[".repeat(100), "]".repeat(100));
        assert_eq!(documents(&deep)[0].as_ref().unwrap_err().code, "rule.too_deep");
        let long = format!("a: '{}'", "x".repeat(DOCUMENT_BYTES_MAX));
        assert_eq!(documents(&long)[0].as_ref().unwrap_err().code, "rule.too_large");
    }

    proptest! {
        #[test]
        fn any_text_never_panics(s in "[ -~\n\t]{0,80}|\\PC{0,60}") {
            let _ = documents(&s);
        }
        #[test]
        fn yaml_like_text_never_panics(s in proptest::collection::vec(
            prop_oneof![Just("a: "), Just("- "), Just("\n"), Just("  "), Just("["), Just("]"), Just("{"), Just("}"),
                Just("&x "), Just("*x"), Just("'"), Just("\""), Just("|\n"), Just("---\n"), Just("!!str "), Just("? "), Just(","), Just("k"), Just("#")], 0..40)) {
            let _ = documents(&s.concat());
        }
    }
}
