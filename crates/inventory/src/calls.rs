//! What is asked of AWS for each type of resource (`data/calls.txt`), as a table.

use model::{CallError, Resource};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// A type of resource: how all of them are found, what is asked of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    pub name: &'static str,
    pub scope: Scope,
    /// With `{partition}`, `{region}`, `{account}`, `{id}`, `{second}`, `{name}`.
    pub arn: &'static str,
    /// `id`, `second`, `account`, or `id after TEXT`.
    pub called: &'static str,
    /// None for what exists once; a second one is asked for each row of the first.
    pub lists: Vec<Call>,
    pub calls: Vec<Call>,
    /// Answer and key in which the region stands.
    pub region: Option<(&'static str, &'static str)>,
    pub tags: Option<Tags>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Global,
    Regional,
    /// Asked in one region only.
    In(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Once,
    /// For each row that the call before it gives.
    PerKey,
    PerRegion,
    /// To find what there is.
    List,
    /// As `List`, page by page: the CLI does not do that by itself there.
    Pages,
    /// To find the keys of the next call.
    Keys,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    pub asked: Asked,
    /// As the API names it: `GetBucketPolicy`.
    pub operation: &'static str,
    /// Words for the AWS CLI.
    pub command: &'static str,
    /// Codes that say "there is none".
    pub none: &'static str,
    pub permission: &'static str,
    /// Path of the policy text in the answer.
    pub document: Option<&'static str>,
    /// JMESPath: the rows of a list, or the part of an answer that is kept.
    pub query: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tags {
    pub operation: &'static str,
    pub path: &'static str,
    /// Keys of name and value in each element; `None`: a map.
    pub pair: Option<(&'static str, &'static str)>,
}

/// All types, in the order of the table.
#[must_use]
pub fn kinds() -> &'static [Kind] {
    // A unit test holds that the table is read to its end.
    static KINDS: LazyLock<Vec<Kind>> =
        LazyLock::new(|| parse(include_str!("../data/calls.txt")).unwrap_or_default());
    &KINDS
}

#[must_use]
pub fn kind(name: &str) -> Option<&'static Kind> {
    kinds().iter().find(|k| k.name == name)
}

/// What could not be read, and the permission that is missing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gap {
    pub arn: String,
    pub operation: String,
    /// The key of `many`, the region of `each` and of a failed listing.
    pub key: Option<String>,
    /// `None`: the table does not know the call.
    pub permission: Option<&'static str>,
    pub code: String,
    pub message: String,
}

/// The failed calls of a resource. A listing that failed stands in the resource of the account (`AWS::Account`), under its operation.
#[must_use]
pub fn gaps(resource: &Resource) -> Vec<Gap> {
    let mut gaps = Vec::new();
    for (operation, answer) in &resource.config {
        let mut add = |key: Option<&String>, answer: &Value| {
            let Some(error) = failure(answer) else { return };
            gaps.push(Gap {
                arn: resource.arn.clone(),
                operation: operation.clone(),
                key: key.cloned(),
                permission: permission(&resource.kind, operation),
                code: error.code,
                message: error.message,
            });
        };
        add(None, answer);
        if let Some(map) = answer.as_object().filter(|m| !m.contains_key("error")) {
            map.iter().for_each(|(key, answer)| add(Some(key), answer));
        }
    }
    gaps
}

/// Puts `{}` where a file has kept the error by which AWS says that there is none: that is an answer, not a gap.
pub(crate) fn settle(resource: &mut Resource) {
    let Some(kind) = kind(&resource.kind) else { return };
    for call in kind.calls.iter().filter(|c| !c.none.is_empty()) {
        let Some(answer) = resource.config.get_mut(call.operation) else { continue };
        let says_none =
            failure(answer).is_some_and(|e| call.none.split([' ', ',', '|']).any(|code| code == e.code));
        if says_none {
            *answer = Value::Object(serde_json::Map::new());
        }
    }
}

/// The error that stands in an answer's place.
fn failure(answer: &Value) -> Option<CallError> {
    let error = answer.as_object()?.get("error")?;
    let text = |key| error.get(key).and_then(Value::as_str).map(str::to_owned);
    Some(CallError {
        code: text("code").unwrap_or_else(|| "Unknown".to_owned()),
        message: text("message").unwrap_or_default(),
    })
}

/// The permission that a call needs. Listings are looked up among all types, as their failures stand in the account.
#[must_use]
pub fn permission(of: &str, operation: &str) -> Option<&'static str> {
    let named = |c: &&Call| c.operation == operation;
    let organization = [
        ("DescribeOrganization", "organizations:DescribeOrganization"),
        ("ListRoots", "organizations:ListRoots"),
    ];
    kind(of)
        .and_then(|k| k.calls.iter().find(named))
        .or_else(|| {
            let any = of == "AWS::Account";
            kinds().iter().filter(|_| any).flat_map(|k| &k.lists).find(named)
        })
        .map(|c| c.permission)
        .or_else(|| organization.iter().find(|(o, _)| *o == operation).map(|(_, p)| *p))
}

/// Tags as the answers of a resource have them.
#[must_use]
pub fn tags(of: &str, config: &BTreeMap<String, Value>) -> BTreeMap<String, String> {
    let Some(tags) = kind(of).and_then(|k| k.tags) else { return BTreeMap::new() };
    let found = config.get(tags.operation).and_then(|answer| at(answer, tags.path));
    let text = |v: &Value| v.as_str().map(str::to_owned);
    match (found, tags.pair) {
        (Some(Value::Object(map)), None) => {
            map.iter().filter_map(|(k, v)| Some((k.clone(), text(v)?))).collect()
        }
        (Some(Value::Array(list)), Some((key, value))) => {
            list.iter().filter_map(|t| Some((text(t.get(key)?)?, text(t.get(value)?)?))).collect()
        }
        _ => BTreeMap::new(),
    }
}

/// The value at a path of keys and indices with dots between.
#[must_use]
pub fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, step| match value {
        Value::Array(list) => list.get(step.parse::<usize>().ok()?),
        value => value.get(step),
    })
}

/// # Errors
/// The line that is not understood.
fn parse(text: &'static str) -> Result<Vec<Kind>, String> {
    let mut kinds: Vec<Kind> = Vec::new();
    for line in text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
        let bad = || format!("`{line}`");
        let (word, rest) = line.split_once(' ').ok_or_else(bad)?;
        let fields: Vec<&'static str> = rest.split(" | ").collect();
        if word == "type" {
            kinds.push(kind_row(&fields).ok_or_else(bad)?);
            continue;
        }
        let kind = kinds.last_mut().ok_or_else(bad)?;
        match (word, fields.as_slice()) {
            ("list" | "within" | "paged", [operation, command, query, permission]) => {
                let asked = if word == "paged" { Asked::Pages } else { Asked::List };
                kind.lists.push(listing(asked, operation, command, query, permission));
            }
            ("keys", [operation, command, query, permission]) => {
                kind.calls.push(listing(Asked::Keys, operation, command, query, permission));
            }
            ("call" | "many" | "each", [operation, command, none, permission, document, query]) => {
                let asked = match word {
                    "many" => Asked::PerKey,
                    "each" => Asked::PerRegion,
                    _ => Asked::Once,
                };
                let none = some(none).unwrap_or_default();
                let (document, query) = (some(document), some(query));
                kind.calls.push(Call { asked, operation, command, none, permission, document, query });
            }
            ("region", [operation, key]) => kind.region = Some((operation, key)),
            ("tags", [operation, path, key, value]) => {
                kind.tags = Some(Tags { operation, path, pair: some(key).zip(some(value)) });
            }
            _ => return Err(bad()),
        }
    }
    Ok(kinds)
}

fn kind_row(fields: &[&'static str]) -> Option<Kind> {
    let &[name, scope, arn, called] = fields else { return None };
    let scope = match scope {
        "global" => Scope::Global,
        "regional" => Scope::Regional,
        region => Scope::In(region),
    };
    Some(Kind { name, scope, arn, called, lists: Vec::new(), calls: Vec::new(), region: None, tags: None })
}

fn listing(
    asked: Asked,
    operation: &'static str,
    command: &'static str,
    query: &'static str,
    permission: &'static str,
) -> Call {
    Call { asked, operation, command, none: "", permission, document: None, query: Some(query) }
}

fn some(field: &'static str) -> Option<&'static str> {
    (field != "-").then_some(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_to_its_end() {
        let kinds = parse(include_str!("../data/calls.txt")).unwrap();
        assert!(kinds.len() > 25);
        for kind in &kinds {
            assert!(!kind.calls.is_empty(), "{}", kind.name);
            let asked = |operation| kind.calls.iter().any(|c| c.operation == operation);
            assert!(kind.tags.is_none_or(|t| asked(t.operation)), "{}", kind.name);
            assert!(kind.region.is_none_or(|r| asked(r.0)), "{}", kind.name);
        }
        let mut names: Vec<&str> = kinds.iter().map(|k| k.name).collect();
        names.dedup();
        assert_eq!(names.len(), kinds.len());
    }

    #[test]
    fn every_command_only_reads() {
        for call in kinds().iter().flat_map(|k| k.lists.iter().chain(&k.calls)) {
            let verb = call.command.split(' ').nth(1).unwrap();
            assert!(["get-", "list-", "describe-"].iter().any(|v| verb.starts_with(v)), "{}", call.command);
        }
    }

    #[test]
    fn failures_become_gaps_with_the_permission() {
        let text = r#"{"type": "AWS::Account", "arn": "arn:aws:iam::111122223333:root", "account": "111122223333", "name": "111122223333",
            "config": {"ListBuckets": {"error": {"code": "AccessDenied", "message": "no"}}, "GetPublicAccessBlock": {},
                "ListKeys": {"eu-west-1": {"error": {"code": "AccessDenied"}}}}, "captured_at": "2026-11-21T10:00:00Z"}"#;
        let account: Resource = serde_json::from_str(text).unwrap();
        let told: Vec<_> = gaps(&account).into_iter().map(|g| (g.operation, g.key, g.permission)).collect();
        assert_eq!(
            told,
            [
                ("ListBuckets".to_owned(), None, Some("s3:ListAllMyBuckets")),
                ("ListKeys".to_owned(), Some("eu-west-1".to_owned()), Some("kms:ListKeys")),
            ]
        );
    }
}
