//! JSON Patch (RFC 6902) over JSON Pointers (RFC 6901): the three operations that edits of policies need. On trees that keep the order
//! of members and the text of numbers, so that what was not edited prints as it was.

use crate::json::{self, Node, Value};
use serde::{Deserialize, Serialize};

/// One step of a patch.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Operation {
    /// A member, new or in place of the one with that key; an entry of a list before the one at that place, `-` for the end.
    Add {
        path: String,
        value: serde_json::Value,
    },
    /// What is there becomes another value.
    Replace {
        path: String,
        value: serde_json::Value,
    },
    Remove {
        path: String,
    },
}

/// Why a patch does not apply. Nothing of it has an effect then.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PatchError {
    #[error("`{0}` is no JSON pointer")]
    Pointer(String),
    #[error("nothing stands at `{0}`")]
    Absent(String),
    #[error("`{0}` names a key that stands twice")]
    Twice(String),
    #[error("the whole document cannot be removed")]
    Root,
}

/// Applies the operations in their order.
///
/// # Errors
/// One of them does not apply.
pub fn apply(root: &Node, operations: &[Operation]) -> Result<Node, PatchError> {
    let mut out = root.clone();
    for operation in operations {
        match operation {
            Operation::Add { path, value } => put(&mut out, path, node_of(value), false)?,
            Operation::Replace { path, value } => put(&mut out, path, node_of(value), true)?,
            Operation::Remove { path } => remove(&mut out, path)?,
        }
    }
    Ok(out)
}

/// A value as a tree.
pub(super) fn node_of(value: &serde_json::Value) -> Node {
    // What serde_json writes is JSON; only a value beyond the reader's limits is none for it.
    let null = Node { span: json::Span::default(), value: Value::Null };
    json::read(&value.to_string()).unwrap_or(null)
}

/// A key as part of a pointer.
pub(super) fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn tokens(path: &str) -> Result<Vec<String>, PatchError> {
    if path.is_empty() {
        return Ok(Vec::new());
    }
    let bad = || PatchError::Pointer(path.to_owned());
    let rest = path.strip_prefix('/').ok_or_else(bad)?;
    let plain = |token: &str| {
        // Every `~` belongs to `~0` or `~1`; `~01` is the key `~1`.
        let is_right = token.split('~').skip(1).all(|behind| behind.starts_with(['0', '1']));
        is_right.then(|| token.replace("~1", "/").replace("~0", "~")).ok_or_else(bad)
    };
    rest.split('/').map(plain).collect()
}

/// A place in a list: digits without a leading zero.
fn index(token: &str) -> Option<usize> {
    let is_number = token.bytes().all(|b| b.is_ascii_digit()) && (token == "0" || !token.starts_with('0'));
    token.parse().ok().filter(|_| is_number)
}

/// Where a member stands, if it stands once.
fn member(members: &[json::Member], key: &str, path: &str) -> Result<Option<usize>, PatchError> {
    let mut of = members.iter().enumerate().filter(|(_, m)| m.key == key).map(|(at, _)| at);
    match (of.next(), of.next()) {
        (at, None) => Ok(at),
        _ => Err(PatchError::Twice(path.to_owned())),
    }
}

fn child<'n>(node: &'n mut Node, token: &str, path: &str) -> Result<&'n mut Node, PatchError> {
    let absent = || PatchError::Absent(path.to_owned());
    match &mut node.value {
        Value::Object(members) => {
            let at = member(members, token, path)?.ok_or_else(absent)?;
            members.get_mut(at).map(|m| &mut m.value).ok_or_else(absent)
        }
        Value::Array(items) => index(token).and_then(|at| items.get_mut(at)).ok_or_else(absent),
        _ => Err(absent()),
    }
}

/// What holds the place that a pointer names, and the last part of the pointer; `None` for the whole document.
fn holder<'n>(root: &'n mut Node, path: &str) -> Result<Option<(&'n mut Node, String)>, PatchError> {
    let mut tokens = tokens(path)?;
    let Some(last) = tokens.pop() else { return Ok(None) };
    let mut node = root;
    for token in &tokens {
        node = child(node, token, path)?;
    }
    Ok(Some((node, last)))
}

/// The node at a pointer.
///
/// # Errors
/// Nothing stands there.
pub fn find<'n>(root: &'n mut Node, path: &str) -> Result<&'n mut Node, PatchError> {
    let mut node = root;
    for token in tokens(path)? {
        node = child(node, &token, path)?;
    }
    Ok(node)
}

fn put(root: &mut Node, path: &str, value: Node, must_exist: bool) -> Result<(), PatchError> {
    if must_exist {
        *find(root, path)? = value;
        return Ok(());
    }
    let absent = || PatchError::Absent(path.to_owned());
    let Some((holder, last)) = holder(root, path)? else {
        *root = value;
        return Ok(());
    };
    match &mut holder.value {
        Value::Object(members) => match member(members, &last, path)? {
            Some(at) => members.get_mut(at).ok_or_else(absent)?.value = value,
            None => members.push(json::Member { key: last, key_span: json::Span::default(), value }),
        },
        Value::Array(items) => {
            let at = if last == "-" { Some(items.len()) } else { index(&last) };
            items.insert(at.filter(|at| *at <= items.len()).ok_or_else(absent)?, value);
        }
        _ => return Err(absent()),
    }
    Ok(())
}

fn remove(root: &mut Node, path: &str) -> Result<(), PatchError> {
    let absent = || PatchError::Absent(path.to_owned());
    let (holder, last) = holder(root, path)?.ok_or(PatchError::Root)?;
    match &mut holder.value {
        Value::Object(members) => {
            let at = member(members, &last, path)?.ok_or_else(absent)?;
            members.remove(at);
        }
        Value::Array(items) => {
            let at = index(&last).filter(|at| *at < items.len()).ok_or_else(absent)?;
            items.remove(at);
        }
        _ => return Err(absent()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::print::pretty;
    use super::*;

    /// `Ok` with the document that comes out, or the error's text.
    #[track_caller]
    fn check(document: &str, patch: &str, expect: Result<&str, &str>) {
        let operations: Vec<Operation> = serde_json::from_str(patch).unwrap();
        assert_eq!(
            serde_json::from_str::<Vec<Operation>>(&serde_json::to_string(&operations).unwrap()).unwrap(),
            operations
        );
        let compact = |node: Node| {
            pretty(&node).split('\n').map(str::trim_start).collect::<String>().replace("\": ", "\":")
        };
        let is = apply(&json::read(document).unwrap(), &operations).map(compact).map_err(|e| e.to_string());
        assert_eq!(is, expect.map(str::to_owned).map_err(str::to_owned));
    }

    #[test]
    fn members() {
        check(r#"{"b":1}"#, r#"[{"op":"add","path":"/a","value":[2]}]"#, Ok(r#"{"b":1,"a":[2]}"#));
        check(r#"{"b":1,"c":2}"#, r#"[{"op":"add","path":"/b","value":3}]"#, Ok(r#"{"b":3,"c":2}"#));
        check(r#"{"b":1,"c":2}"#, r#"[{"op":"remove","path":"/b"}]"#, Ok(r#"{"c":2}"#));
        check(
            r#"{"b":1,"c":2}"#,
            r#"[{"op":"replace","path":"/b","value":null}]"#,
            Ok(r#"{"b":null,"c":2}"#),
        );
        check(
            r#"{"a":{"b":1}}"#,
            r#"[{"op":"add","path":"/a/c","value":{"d":true}}]"#,
            Ok(r#"{"a":{"b":1,"c":{"d":true}}}"#),
        );
        check(r#"{"b":1}"#, r#"[{"op":"replace","path":"/a","value":2}]"#, Err("nothing stands at `/a`"));
        check(r#"{"b":1}"#, r#"[{"op":"remove","path":"/a"}]"#, Err("nothing stands at `/a`"));
        check(r#"{"b":1}"#, r#"[{"op":"add","path":"/a/c","value":2}]"#, Err("nothing stands at `/a/c`"));
        check(r#"{"b":1}"#, r#"[{"op":"add","path":"/b/c","value":2}]"#, Err("nothing stands at `/b/c`"));
        check(
            r#"{"b":1,"b":2}"#,
            r#"[{"op":"remove","path":"/b"}]"#,
            Err("`/b` names a key that stands twice"),
        );
        check(r#"{"":1}"#, r#"[{"op":"remove","path":"/"}]"#, Ok("{}"));
    }

    #[test]
    fn lists() {
        check("[1,2]", r#"[{"op":"add","path":"/1","value":9}]"#, Ok("[1,9,2]"));
        check("[1,2]", r#"[{"op":"add","path":"/2","value":9}]"#, Ok("[1,2,9]"));
        check("[1,2]", r#"[{"op":"add","path":"/-","value":[9]}]"#, Ok("[1,2,[9]]"));
        check("[1,2]", r#"[{"op":"add","path":"/3","value":9}]"#, Err("nothing stands at `/3`"));
        check("[1,2]", r#"[{"op":"add","path":"/01","value":9}]"#, Err("nothing stands at `/01`"));
        check("[1,2]", r#"[{"op":"add","path":"/+1","value":9}]"#, Err("nothing stands at `/+1`"));
        check("[1,2]", r#"[{"op":"add","path":"/a","value":9}]"#, Err("nothing stands at `/a`"));
        check("[1,2,3]", r#"[{"op":"remove","path":"/1"}]"#, Ok("[1,3]"));
        check("[1,2]", r#"[{"op":"remove","path":"/-"}]"#, Err("nothing stands at `/-`"));
        check("[1,2]", r#"[{"op":"remove","path":"/2"}]"#, Err("nothing stands at `/2`"));
        check("[1,2]", r#"[{"op":"replace","path":"/1","value":"x"}]"#, Ok(r#"[1,"x"]"#));
        check("[1,2]", r#"[{"op":"replace","path":"/-","value":"x"}]"#, Err("nothing stands at `/-`"));
        // Each operation sees what the ones before it left.
        check("[1,2,3]", r#"[{"op":"remove","path":"/0"},{"op":"remove","path":"/0"}]"#, Ok("[3]"));
        check(
            "[1]",
            r#"[{"op":"remove","path":"/0"},{"op":"remove","path":"/0"}]"#,
            Err("nothing stands at `/0`"),
        );
    }

    #[test]
    fn pointers() {
        check(
            r#"{"a/b":1,"m~n":2,"~1":3}"#,
            r#"[{"op":"remove","path":"/a~1b"}]"#,
            Ok(r#"{"m~n":2,"~1":3}"#),
        );
        check(
            r#"{"a/b":1,"m~n":2,"~1":3}"#,
            r#"[{"op":"remove","path":"/m~0n"}]"#,
            Ok(r#"{"a/b":1,"~1":3}"#),
        );
        check(
            r#"{"a/b":1,"m~n":2,"~1":3}"#,
            r#"[{"op":"remove","path":"/~01"}]"#,
            Ok(r#"{"a/b":1,"m~n":2}"#),
        );
        check(r#"{"a":1}"#, r#"[{"op":"remove","path":"/~a"}]"#, Err("`/~a` is no JSON pointer"));
        check(r#"{"a":1}"#, r#"[{"op":"remove","path":"/a~"}]"#, Err("`/a~` is no JSON pointer"));
        check(r#"{"a":1}"#, r#"[{"op":"remove","path":"a"}]"#, Err("`a` is no JSON pointer"));
        check(r#"{"a":1}"#, r#"[{"op":"replace","path":"","value":[]}]"#, Ok("[]"));
        check(r#"{"a":1}"#, r#"[{"op":"add","path":"","value":[]}]"#, Ok("[]"));
        check(r#"{"a":1}"#, r#"[{"op":"remove","path":""}]"#, Err("the whole document cannot be removed"));
        for key in ["a/b", "~", "~1/~0", ""] {
            let mut document = json::read(&serde_json::json!({key: 7}).to_string()).unwrap();
            assert_eq!(
                find(&mut document, &format!("/{}", escaped(key))).unwrap().value,
                Value::Number("7".to_owned())
            );
        }
    }

    /// What is not edited stays as it is written.
    #[test]
    fn order_and_numbers_stay() {
        check(
            r#"{"z":012345678901,"a":1.50,"m":"\u00e9"}"#,
            r#"[{"op":"add","path":"/b","value":0}]"#,
            Ok(r#"{"z":012345678901,"a":1.50,"m":"é","b":0}"#),
        );
    }
}
