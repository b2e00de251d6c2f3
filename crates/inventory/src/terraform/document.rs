//! The data source `aws_iam_policy_document`, when it is only read during the apply.

use super::read::Instance;
use serde_json::{Map, Value, json};

/// The text of an `aws_iam_policy_document`, from its blocks. `None`: it takes other documents in, or its statements are not known.
pub(super) fn text(data: &Instance) -> Option<String> {
    let others = ["source_policy_documents", "override_policy_documents", "source_json", "override_json"];
    let is_set = |v: Value| v.as_array().is_none_or(|l| !l.is_empty()) && v.as_str() != Some("");
    if others.iter().any(|o| data.get(o).is_some_and(is_set)) {
        return None;
    }
    let Some(Value::Array(statements)) = data.get("statement") else { return None };
    let version = data.text("version").unwrap_or_else(|| "2012-10-17".to_owned());
    // `&{key}` is how a policy variable is written there.
    let variables = |v: &Value| match v {
        Value::String(text) if version != "2008-10-17" => Value::String(text.replace("&{", "${")),
        v => v.clone(),
    };
    let mut written = Vec::new();
    for statement in &statements {
        let mut out = Map::new();
        let list = |key: &str| statement.get(key).filter(|v| !v.is_null());
        let filled = |v: &&Value| v.as_array().is_none_or(|l| !l.is_empty());
        for (key, name) in [("actions", "Action"), ("not_actions", "NotAction")] {
            if let Some(found) = list(key).filter(filled) {
                out.insert(name.to_owned(), found.clone());
            }
        }
        if let Some(conditions) = list("condition").filter(filled) {
            out.insert("Condition".to_owned(), condition(conditions, variables)?);
        }
        let effect = statement.get("effect").and_then(Value::as_str).unwrap_or("Allow");
        out.insert("Effect".to_owned(), effect.into());
        for (key, name) in [("not_principals", "NotPrincipal"), ("principals", "Principal")] {
            if let Some(found) = list(key).filter(filled) {
                out.insert(name.to_owned(), principals(found, variables)?);
            }
        }
        for (key, name) in [("not_resources", "NotResource"), ("resources", "Resource")] {
            if let Some(found) = list(key).filter(filled) {
                let found = match found {
                    Value::Array(list) => Value::Array(list.iter().map(variables).collect()),
                    other => other.clone(),
                };
                out.insert(name.to_owned(), found);
            }
        }
        if let Some(sid) = statement.get("sid").and_then(Value::as_str).filter(|s| !s.is_empty()) {
            out.insert("Sid".to_owned(), sid.into());
        }
        written.push(Value::Object(out));
    }
    let mut document = Map::new();
    if let Some(id) = data.text("policy_id") {
        document.insert("Id".to_owned(), id.into());
    }
    document.insert("Statement".to_owned(), Value::Array(written));
    document.insert("Version".to_owned(), version.into());
    Some(Value::Object(document).to_string())
}

fn condition(blocks: &Value, variables: impl Fn(&Value) -> Value) -> Option<Value> {
    let mut operators: Map<String, Value> = Map::new();
    for block in blocks.as_array()? {
        let [test, key] = ["test", "variable"].map(|k| block.get(k).and_then(Value::as_str));
        let values = block.get("values")?.as_array()?.iter().map(&variables);
        let keys = operators.entry(test?.to_owned()).or_insert_with(|| json!({}));
        if let Value::Object(keys) = keys
            && let Value::Array(all) = keys.entry(key?.to_owned()).or_insert_with(|| json!([]))
        {
            all.extend(values);
        }
    }
    Some(Value::Object(operators))
}

fn principals(blocks: &Value, variables: impl Fn(&Value) -> Value) -> Option<Value> {
    let mut types: Map<String, Value> = Map::new();
    for block in blocks.as_array()? {
        let kind = block.get("type")?.as_str()?;
        let who = block.get("identifiers")?.as_array()?;
        if kind == "*" {
            return Some("*".into());
        }
        if let Value::Array(all) = types.entry(kind.to_owned()).or_insert_with(|| json!([])) {
            all.extend(who.iter().map(&variables));
        }
    }
    Some(Value::Object(types))
}
