//! YAML as a tree that remembers where each key and value stands, so that every problem of a file can be shown at once with its
//! place. Typed deserialisation alone stops at the first.

use crate::problem::{Place, Problem};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::{Location, Spanned};
use std::collections::BTreeMap;
use std::fmt;

/// A configuration file is read whole; a megabyte is a hundred times the largest sensible one.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

enum Node {
    Scalar(Value),
    List(Vec<Spanned<Node>>),
    Map(Vec<(Spanned<String>, Spanned<Node>)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Node, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Node;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a YAML value")
            }
            fn visit_bool<E>(self, v: bool) -> Result<Node, E> {
                Ok(Node::Scalar(Value::Bool(v)))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Node, E> {
                Ok(Node::Scalar(v.into()))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Node, E> {
                Ok(Node::Scalar(v.into()))
            }
            fn visit_f64<E>(self, v: f64) -> Result<Node, E> {
                Ok(Node::Scalar(v.into()))
            }
            fn visit_str<E>(self, v: &str) -> Result<Node, E> {
                Ok(Node::Scalar(v.into()))
            }
            fn visit_unit<E>(self) -> Result<Node, E> {
                Ok(Node::Scalar(Value::Null))
            }
            fn visit_none<E>(self) -> Result<Node, E> {
                Ok(Node::Scalar(Value::Null))
            }
            fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Node, D::Error> {
                Node::deserialize(d)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Node::List(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = map.next_entry()? {
                    items.push(item);
                }
                Ok(Node::Map(items))
            }
        }
        d.deserialize_any(V)
    }
}

/// Where a key and its value stand.
#[derive(Clone, Debug)]
pub struct Spot {
    file: String,
    line: usize,
    column: usize,
}

/// A configuration put together from one or more files: plain JSON plus the place of everything in it, by JSON pointer.
#[derive(Debug, Default)]
pub struct Tree {
    pub value: Value,
    keys: BTreeMap<String, Spot>,
    texts: BTreeMap<String, String>,
}

impl Tree {
    pub fn new() -> Tree {
        Tree { value: Value::Object(serde_json::Map::new()), ..Tree::default() }
    }

    /// Adds one file's text. Keys that another file set already are problems that name both places.
    pub fn add(&mut self, file: &str, text: &str) -> Vec<Problem> {
        self.texts.insert(file.to_owned(), text.to_owned());
        let options =
            serde_saphyr::options! { duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::Error };
        let node: Option<Spanned<Node>> = match serde_saphyr::from_str_with_options(text, options) {
            Ok(node) => node,
            Err(e) => return vec![self.unreadable(file, &e)],
        };
        let Some(node) = node else { return Vec::new() };
        let mut problems = Vec::new();
        let mut value = std::mem::take(&mut self.value);
        match node.value {
            Node::Map(entries) => self.merge(file, "", &mut value, entries, &mut problems),
            Node::Scalar(Value::Null) => {}
            _ => problems.push(
                Problem::new("config.not_a_map", format!("{file} is not a map of settings"))
                    .hint("write `key: value` lines; `avouch init log-proxy` prints a commented example"),
            ),
        }
        self.value = value;
        problems
    }

    fn unreadable(&self, file: &str, e: &serde_saphyr::Error) -> Problem {
        let full = e.without_snippet().to_string();
        let message = full.lines().next().unwrap_or("not YAML").to_owned();
        let code = if message.contains("duplicate") { "config.duplicate_key" } else { "config.not_yaml" };
        let problem = Problem::new(code, format!("{file}: {message}"))
            .hint("YAML 1.2: two spaces of indent, no tabs, quote text that begins with a special character");
        problem.at(e.location().map(|l| self.place_of(&spot(file, l), 1, "here")))
    }

    fn merge(
        &mut self,
        file: &str,
        path: &str,
        into: &mut Value,
        entries: Vec<(Spanned<String>, Spanned<Node>)>,
        problems: &mut Vec<Problem>,
    ) {
        if !into.is_object() {
            *into = Value::Object(serde_json::Map::new());
        }
        for (key, node) in entries {
            let at = format!("{path}/{}", escape(&key.value));
            let here = spot(file, key.referenced);
            let Some(map) = into.as_object_mut() else { return };
            let had = map.get(&key.value).is_some();
            match node.value {
                Node::Map(inner) => {
                    let slot = map.entry(key.value).or_insert(Value::Null);
                    self.keys.entry(at.clone()).or_insert(here);
                    self.merge(file, &at, slot, inner, problems);
                }
                other if had => {
                    drop(other);
                    let first = self
                        .keys
                        .get(&at)
                        .map_or_else(String::new, |s| format!(" (first in {}:{})", s.file, s.line));
                    problems.push(
                        Problem::new(
                            "config.duplicate_key",
                            format!("`{}` is set twice{first}", dotted(&at)),
                        )
                        .hint("remove one of the two")
                        .at(self.place_of(&here, key_len(&at), "set again here")),
                    );
                }
                other => {
                    self.keys.insert(at.clone(), here);
                    let value = self.plain(file, &at, other);
                    map.insert(key.value, value);
                }
            }
        }
    }

    fn plain(&mut self, file: &str, path: &str, node: Node) -> Value {
        match node {
            Node::Scalar(v) => v,
            Node::List(items) => Value::Array(
                items
                    .into_iter()
                    .enumerate()
                    .map(|(i, item)| {
                        let at = format!("{path}/{i}");
                        self.keys.insert(at.clone(), spot(file, item.referenced));
                        self.plain(file, &at, item.value)
                    })
                    .collect(),
            ),
            Node::Map(entries) => Value::Object(
                entries
                    .into_iter()
                    .map(|(k, v)| {
                        let at = format!("{path}/{}", escape(&k.value));
                        self.keys.insert(at.clone(), spot(file, k.referenced));
                        (k.value, self.plain(file, &at, v.value))
                    })
                    .collect(),
            ),
        }
    }

    /// The place of the key (or list item) at JSON pointer `path`, or of the nearest parent that has one.
    pub fn place(&self, path: &str, label: &str) -> Option<Place> {
        let mut path = path;
        loop {
            if let Some(s) = self.keys.get(path) {
                return Some(self.place_of(s, key_len(path), label));
            }
            path = path.rsplit_once('/')?.0;
        }
    }

    /// `file:line` of the key at `path`, for `config show`.
    pub fn origin(&self, path: &str) -> Option<String> {
        self.keys.get(path).map(|s| format!("{}:{}", s.file, s.line))
    }

    /// Sets one scalar from the environment: `AVOUCH__SERVER__LISTEN` → `/server/listen`.
    pub fn set(&mut self, path: &[String], text: &str, from: &str) {
        let parsed = match text {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            t => t.parse::<i64>().map_or_else(|_| Value::String(t.to_owned()), Value::from),
        };
        let mut at = &mut self.value;
        for key in path {
            if !at.is_object() {
                *at = Value::Object(serde_json::Map::new());
            }
            let Some(map) = at.as_object_mut() else { return };
            at = map.entry(key.clone()).or_insert(Value::Null);
        }
        *at = parsed;
        let pointer: String = path.iter().map(|k| format!("/{}", escape(k))).collect();
        self.keys.insert(pointer, Spot { file: from.to_owned(), line: 1, column: 1 });
    }

    fn place_of(&self, s: &Spot, length: usize, label: &str) -> Place {
        let text =
            self.texts.get(&s.file).and_then(|t| t.lines().nth(s.line.saturating_sub(1))).unwrap_or_default();
        Place {
            file: s.file.clone(),
            line: s.line,
            column: s.column.max(1),
            length,
            text: text.to_owned(),
            label: label.to_owned(),
        }
    }
}

/// `/datasets/aws.cloudtrail/retention` → `datasets.aws.cloudtrail.retention`.
pub fn dotted(path: &str) -> String {
    path.split('/').skip(1).map(|p| p.replace("~1", "/").replace("~0", "~")).collect::<Vec<_>>().join(".")
}

fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn key_len(path: &str) -> usize {
    path.rsplit('/').next().map_or(1, |k| if k.parse::<usize>().is_ok() { 1 } else { k.chars().count() })
}

fn spot(file: &str, l: Location) -> Spot {
    let n = |v: u64| usize::try_from(v).unwrap_or(usize::MAX);
    Spot { file: file.to_owned(), line: n(l.line()), column: n(l.column()) }
}
