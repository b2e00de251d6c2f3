//! What exists after a Terraform plan, as resources.
//!
//! Read is what `terraform show -json` prints of a plan or of a state. Three parts of it are put together: `planned_values` says what
//! there will be, `resource_changes` which of it is not known yet, `configuration` what refers to what.
//!
//! - A value that is only known after the apply stands as the text `${unknown:ADDRESS.ATTRIBUTE}`; [`Plan::unknown`] lists them. The
//!   text looks like a policy variable, and is to be read as "anything".
//! - A policy goes to the resource that it names: by the name where that is known, else by the reference in the configuration. One
//!   whose resource cannot be told becomes a resource of its own, and no resource of that type is then said to have none.
//! - For what the plan creates, what nobody configures is what AWS sets: no policy, or the service's default one.
//!
//! Sources: developer.hashicorp.com "JSON Output Format"; the documentation of the AWS provider for each type.

mod document;
mod lambda;
mod map;
mod policies;
mod read;
mod s3;
mod special;
mod tables;

pub use self::policies::{Attached, PlannedPolicies, PlannedPolicy, policies};

use crate::error::Problem;
use model::{Resource, Time};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What a plan does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Used where the provider's configuration names no account.
    pub account: Option<String>,
    /// Used where it names no region.
    pub region: Option<String>,
    /// The time that the resources carry.
    pub captured_at: Time,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// By ARN, then address.
    pub resources: Vec<Planned>,
    /// `ADDRESS.ATTRIBUTE` of each placeholder that stands in a resource.
    pub unknown: Vec<String>,
    /// Addresses that the plan deletes, of types that are read.
    pub deleted: Vec<String>,
    /// Types of the plan that are not read, and how many of each.
    pub not_read: BTreeMap<String, usize>,
    /// What was taken for granted, for people.
    pub notes: Vec<String>,
}

/// A resource as it is after the plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// Terraform's address of what creates it; of the first that speaks of it, when the resource itself is not in the plan.
    pub address: String,
    /// `create`, `update`, `no-op`, `delete` and `create`; empty for a state.
    pub actions: Vec<String>,
    /// JSON pointer into `config` → `ADDRESS.ATTRIBUTE` it came from, or `default` with the reason.
    pub sources: BTreeMap<String, String>,
    pub resource: Resource,
}

/// Reads a plan or a state.
///
/// # Errors
/// Not JSON, neither plan nor state, a major format version that is not known.
pub fn plan(file: &str, bytes: &[u8], options: &Options) -> Result<Plan, Problem> {
    let document = document_of(file, bytes)?;
    let tree = read::Tree::of(&document);
    let mut mapped = map::Mapper::of(&tree, options).finish();
    mapped.resources.sort_by(|a, b| (&a.resource.arn, &a.address).cmp(&(&b.resource.arn, &b.address)));
    let mut unknown = BTreeSet::new();
    for planned in &mapped.resources {
        let resource = &planned.resource;
        [&resource.arn, &resource.name].into_iter().for_each(|t| placeholders(t, &mut unknown));
        resource.config.values().for_each(|v| placeholders_in(v, &mut unknown));
    }
    mapped.unknown = unknown.into_iter().collect();
    Ok(mapped)
}

/// A plan or a state as JSON.
fn document_of(file: &str, bytes: &[u8]) -> Result<Value, Problem> {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let document: Value = serde_json::from_slice(text).map_err(|e| not_json(file, bytes, &e))?;
    check(file, &document)?;
    Ok(document)
}

const HOW: &str = "write it with `terraform show -json plan.out > plan.json`";

fn not_json(file: &str, bytes: &[u8], error: &serde_json::Error) -> Problem {
    let place = Some((error.line().max(1), error.column().max(1)));
    let (message, hint) = if bytes.starts_with(b"PK\x03\x04") {
        ("this is the plan file itself, not its JSON".to_owned(), HOW)
    } else if bytes.starts_with(b"{\"@level\"") {
        let message = "this is the log of a run with `-json`, not a plan".to_owned();
        (message, "plan with `-out plan.out`, then `terraform show -json plan.out > plan.json`")
    } else {
        let text = error.to_string();
        let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(before, _)| before);
        (format!("not JSON: {what}"), HOW)
    };
    Problem { file: file.to_owned(), place, code: "plan.bad_json", message, hint: hint.to_owned() }
}

fn check(file: &str, document: &Value) -> Result<(), Problem> {
    let wrong = |code, message: String, hint: &str| Err(Problem::new(code, file, message, hint));
    if document.get("lineage").is_some() && document.get("serial").is_some() {
        let hint = "write it with `terraform show -json > state.json`";
        return wrong(
            "plan.not_a_plan",
            "this is a state file, not what `terraform show` prints".into(),
            hint,
        );
    }
    if document.get("@level").is_some() {
        let hint = "plan with `-out plan.out`, then `terraform show -json plan.out > plan.json`";
        return wrong("plan.not_a_plan", "this is the log of a run with `-json`, not a plan".into(), hint);
    }
    let Some(version) = document.get("format_version").and_then(Value::as_str) else {
        return wrong("plan.not_a_plan", "no `format_version`: neither a plan nor a state".into(), HOW);
    };
    if version.split('.').next() != Some("1") {
        let message = format!("format version `{}`; known is 1", model::escape_controls(version));
        return wrong("plan.version", message, "write it with Terraform 1.1 or later, or a later avouch");
    }
    let root = ["planned_values", "values"].into_iter().find_map(|key| document.get(key));
    match root {
        Some(values) if values.is_object() => Ok(()),
        // An empty state has no values at all.
        None if document.get("terraform_version").is_some() && document.get("resource_changes").is_none() => {
            Ok(())
        }
        _ => wrong("plan.not_a_plan", "no `planned_values`: not a plan".into(), HOW),
    }
}

/// How a text begins that stands for a value which is not known yet; its address and a `}` follow.
pub const MARK: &str = "${unknown:";

/// The text that stands for a value which is not known yet.
pub(crate) fn placeholder(address: &str, attribute: &str) -> String {
    format!("{MARK}{address}.{attribute}}}")
}

fn placeholders(text: &str, into: &mut BTreeSet<String>) {
    for part in text.split(MARK).skip(1) {
        // An address may have a brace inside an index in quotes, which stand as `\"` inside a policy's text.
        let mut is_quoted = false;
        let end = part.find(|c| {
            is_quoted ^= c == '"';
            c == '}' && !is_quoted
        });
        if let Some(found) = end.and_then(|end| part.get(..end)) {
            into.insert(found.replace("\\\"", "\""));
        }
    }
}

fn placeholders_in(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => placeholders(text, into),
        Value::Array(list) => list.iter().for_each(|v| placeholders_in(v, into)),
        Value::Object(map) => map.iter().for_each(|(k, v)| {
            placeholders(k, into);
            placeholders_in(v, into);
        }),
        _ => {}
    }
}
