//! All problems of a configuration at once: the JSON Schema generated from the config structs is laid over the tree, and each
//! violation is shown at its place with the nearest valid word.

use super::tree::{Tree, dotted};
use crate::problem::Problem;
use jsonschema::error::ValidationErrorKind as Kind;
use serde_json::Value;

/// Problems of `tree` against `schema`, in the order of the paths.
pub fn against_schema(tree: &Tree, schema: &Value) -> Vec<Problem> {
    let validator = match jsonschema::draft202012::new(schema) {
        Ok(v) => v,
        Err(e) => {
            return vec![
                Problem::new("internal.schema", format!("the configuration schema is broken: {e}")).defect(),
            ];
        }
    };
    let mut found: Vec<(String, Problem)> = Vec::new();
    for error in validator.iter_errors(&tree.value) {
        explain(tree, schema, &error, &mut found);
    }
    found.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.message.cmp(&b.1.message)));
    found.dedup();
    found.into_iter().map(|(_, p)| p).collect()
}

fn explain(
    tree: &Tree,
    schema: &Value,
    error: &jsonschema::ValidationError<'_>,
    out: &mut Vec<(String, Problem)>,
) {
    let path = error.instance_path().to_string();
    let name = |p: &str| if p.is_empty() { "the top level".to_owned() } else { dotted(p) };
    match error.kind() {
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            let known = known_keys(schema, &error.schema_path().to_string());
            for key in unexpected {
                let at = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
                let near = model::nearest(key, known.iter().map(String::as_str));
                let hint = match (near.first(), known.is_empty()) {
                    (Some(n), _) => format!("did you mean `{n}`? `avouch config schema` lists all keys"),
                    (None, false) => format!("keys here are {}", known.join(", ")),
                    (None, true) => "`avouch config schema` lists all keys".to_owned(),
                };
                let p = Problem::new("config.unknown_key", format!("unknown key `{key}` in {}", name(&path)))
                    .hint(hint)
                    .at(tree.place(&at, &format!("not a key of {}", name(&path))));
                out.push((at, p));
            }
        }
        Kind::Required { property } => {
            let key = property.as_str().unwrap_or_default();
            let p = Problem::new("config.missing_key", format!("`{key}` is missing in {}", name(&path)))
                .hint(format!("add `{key}: …`"))
                .at(tree.place(&path, "needs it"));
            out.push((path, p));
        }
        // One of several forms: the form whose key was written is the one that was meant, so its inner errors are the real ones.
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
            let meant = context.iter().min_by_key(|errors| {
                let shallow = errors.iter().filter(|e| e.instance_path().to_string() == path).count();
                (shallow, errors.len())
            });
            match meant {
                Some(errors) if errors.iter().any(|e| e.instance_path().to_string() != path) => {
                    for e in errors.iter().filter(|e| e.instance_path().to_string() != path) {
                        explain(tree, schema, e, out);
                    }
                }
                _ => {
                    let value = error.instance().to_string();
                    let short: String = value.chars().take(60).collect();
                    let forms = alternatives(schema, &error.schema_path().to_string());
                    let hint = if forms.is_empty() {
                        "`avouch config schema` shows the forms that fit".to_owned()
                    } else {
                        format!("one of: {}", forms.join(", "))
                    };
                    let p =
                        Problem::new("config.bad_value", format!("cannot read `{short}` as {}", name(&path)))
                            .hint(hint)
                            .at(tree.place(&path, "does not fit"));
                    out.push((path, p));
                }
            }
        }
        Kind::Enum { options } => {
            let options: Vec<String> = options
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|o| o.as_str().map(str::to_owned))
                .collect();
            let got = error.instance().as_str().map_or_else(|| error.instance().to_string(), str::to_owned);
            let near = model::nearest(&got, options.iter().map(String::as_str));
            let hint = near
                .first()
                .map_or_else(|| format!("one of {}", options.join(", ")), |n| format!("did you mean `{n}`?"));
            let p = Problem::new("config.bad_value", format!("`{got}` is no value for {}", name(&path)))
                .hint(hint)
                .at(tree.place(&path, "not one of the words"));
            out.push((path, p));
        }
        _ => {
            let p = Problem::new("config.bad_value", format!("{}: {error}", name(&path)))
                .hint("`avouch config schema` describes every key")
                .at(tree.place(&path, "does not fit"));
            out.push((path, p));
        }
    }
}

/// Keys that the object schema at `schema_path` (a pointer to its failed keyword) allows.
fn known_keys(schema: &Value, schema_path: &str) -> Vec<String> {
    let parent = schema_path.rsplit_once('/').map_or("", |(p, _)| p);
    let object = follow(schema, parent);
    let mut keys: Vec<String> = object
        .and_then(|o| o.get("properties"))
        .and_then(Value::as_object)
        .map(|m| m.keys().cloned().collect())
        .unwrap_or_default();
    keys.sort();
    keys
}

/// The keys or constants by which the alternatives at `schema_path` differ.
fn alternatives(schema: &Value, schema_path: &str) -> Vec<String> {
    let list = follow(schema, schema_path).and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(|a| {
            let a = a
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|r| schema.pointer(r.trim_start_matches('#')))
                .unwrap_or(a);
            if let Some(c) = a.get("const") {
                return Some(format!("`{}`", c.as_str().map_or_else(|| c.to_string(), str::to_owned)));
            }
            let required = a.get("required").and_then(Value::as_array)?;
            required.first().and_then(Value::as_str).map(|k| format!("`{k}: …`"))
        })
        .collect()
}

/// Walks a schema pointer; evaluation paths contain `$ref` steps, which are followed.
fn follow<'a>(schema: &'a Value, path: &str) -> Option<&'a Value> {
    let mut at = schema;
    for step in path.split('/').filter(|s| !s.is_empty()) {
        let step = step.replace("~1", "/").replace("~0", "~");
        if step == "$ref" {
            at = schema.pointer(at.get("$ref")?.as_str()?.trim_start_matches('#'))?;
            continue;
        }
        at = match at {
            Value::Array(items) => items.get(step.parse::<usize>().ok()?)?,
            other => other.get(&step)?,
        };
    }
    Some(at)
}
