//! The parts of a plan, put together: instances with what is unknown of them, and what refers to what.

use super::placeholder;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// References go through modules; no real configuration nests or forwards deeper.
const DEPTH_MAX: usize = 20;

/// One instance of a resource or of a data source.
pub(super) struct Instance<'a> {
    pub address: &'a str,
    pub kind: &'a str,
    pub name: &'a str,
    pub index: Option<&'a Value>,
    pub is_data: bool,
    pub values: &'a Value,
    pub unknown: &'a Value,
    pub actions: Vec<&'a str>,
    /// What the configuration says of it; a state has none.
    pub config: Option<&'a Value>,
    scope: usize,
}

/// One instance of a module.
struct Scope<'a> {
    name: &'a str,
    address: &'a str,
    config: Option<&'a Value>,
    /// How its parent calls it.
    call: Option<&'a Value>,
    parent: Option<usize>,
}

/// What following references has found, and been through: a plan that refers to itself ends, too.
#[derive(Default)]
struct Trail {
    found: BTreeSet<usize>,
    seen: BTreeSet<(usize, String)>,
    /// Something was met that a plan does not explain.
    is_blind: bool,
}

pub(super) struct Tree<'a> {
    pub document: &'a Value,
    pub instances: Vec<Instance<'a>>,
    scopes: Vec<Scope<'a>>,
    changes: BTreeMap<&'a str, &'a Value>,
}

impl<'a> Tree<'a> {
    pub fn of(document: &'a Value) -> Tree<'a> {
        let changes = list(document.get("resource_changes"))
            .filter(|c| c.get("deposed").is_none())
            .filter_map(|c| Some((c.get("address")?.as_str()?, c.get("change")?)))
            .collect();
        let mut tree = Tree { document, instances: Vec::new(), scopes: Vec::new(), changes };
        let values = document.get("planned_values").or_else(|| document.get("values"));
        let config = document.pointer("/configuration/root_module");
        if let Some(root) = values.and_then(|v| v.get("root_module")) {
            tree.module(root, Scope { name: "", address: "", config, call: None, parent: None });
        }
        tree
    }

    fn module(&mut self, module: &'a Value, scope: Scope<'a>) {
        let at = self.scopes.len();
        let (config, parent_address) = (scope.config, scope.address);
        self.scopes.push(scope);
        for resource in list(module.get("resources")) {
            let text = |key| resource.get(key).and_then(Value::as_str);
            let (Some(address), Some(kind), Some(name)) = (text("address"), text("type"), text("name"))
            else {
                continue;
            };
            let mode = text("mode").unwrap_or("managed");
            let is_this = |c: &&Value| {
                let text = |key| c.get(key).and_then(Value::as_str);
                text("type") == Some(kind) && text("name") == Some(name) && text("mode") == Some(mode)
            };
            let change = self.changes.get(address).copied();
            self.instances.push(Instance {
                address,
                kind,
                name,
                index: resource.get("index"),
                is_data: mode == "data",
                values: resource.get("values").unwrap_or(&Value::Null),
                unknown: change.and_then(|c| c.get("after_unknown")).unwrap_or(&Value::Null),
                actions: list(change.and_then(|c| c.get("actions"))).filter_map(Value::as_str).collect(),
                config: list(config.and_then(|c| c.get("resources"))).find(is_this),
                scope: at,
            });
        }
        for child in list(module.get("child_modules")) {
            let address = child.get("address").and_then(Value::as_str).unwrap_or_default();
            let own = address.strip_prefix(parent_address).unwrap_or(address);
            let own = own.trim_start_matches('.').strip_prefix("module.").unwrap_or(own);
            let name = own.split('[').next().unwrap_or(own);
            let call = config.and_then(|c| c.get("module_calls")).and_then(|c| c.get(name));
            let config = call.and_then(|c| c.get("module"));
            self.module(child, Scope { name, address, config, call, parent: Some(at) });
        }
    }

    /// What an attribute refers to, through variables, outputs and `for_each`, among the instances that are wanted. `None` when
    /// that is none, or more than one that nothing tells apart.
    pub fn target(&self, from: usize, attribute: &str, wanted: impl Fn(&Instance) -> bool) -> Option<usize> {
        let instance = self.instances.get(from)?;
        let mut found = self.trail(instance, attribute).found;
        found.retain(|i| self.instances.get(*i).is_some_and(&wanted));
        self.one(instance, found)
    }

    /// As [`Tree::target`], when the attribute refers to nothing else.
    pub fn only_target(&self, from: usize, attribute: &str) -> Option<usize> {
        let instance = self.instances.get(from)?;
        let trail = self.trail(instance, attribute);
        if trail.is_blind { None } else { self.one(instance, trail.found) }
    }

    fn trail(&self, instance: &Instance, attribute: &str) -> Trail {
        let mut trail = Trail::default();
        self.follow(instance.scope, &instance.references(attribute), instance.config, 0, &mut trail);
        trail
    }

    /// The one of several that has the same index, in itself or in its modules.
    fn one(&self, instance: &Instance, found: BTreeSet<usize>) -> Option<usize> {
        if found.len() < 2 {
            return found.first().copied();
        }
        let index = instance.index?;
        let key = format!("[{index}]");
        let same = |is_same: &dyn Fn(&Instance) -> bool| {
            let mut same = found.iter().filter(|i| self.instances.get(**i).is_some_and(is_same));
            same.next().filter(|_| same.next().is_none()).copied()
        };
        same(&|i| i.index == Some(index)).or_else(|| same(&|i| i.address.contains(&key)))
    }

    fn follow(
        &self,
        scope: usize,
        references: &[&str],
        config: Option<&Value>,
        depth: usize,
        trail: &mut Trail,
    ) {
        let Some(here) = self.scopes.get(scope).filter(|_| depth < DEPTH_MAX) else { return };
        for reference in longest(references) {
            if !trail.seen.insert((scope, reference.to_owned())) {
                continue;
            }
            let steps = steps(reference);
            let step = |n: usize| steps.get(n).map(|(name, index)| (name.as_str(), index.as_deref()));
            match (step(0), step(1), step(2)) {
                (Some(("var", _)), Some((name, _)), _) => {
                    let Some(parent) = here.parent else { continue };
                    let given = here.call.and_then(|c| c.get("expressions")).and_then(|e| e.get(name));
                    self.follow(parent, &referred(given), here.call, depth + 1, trail);
                }
                // A key is a text of its own, whatever the values are.
                (Some(("each", _)), Some(("key", _)), _)
                | (Some(("count" | "path" | "terraform", _)), _, _) => {}
                (Some(("local" | "self", _)), _, _) => trail.is_blind = true,
                (Some(("each", _)), _, _) => {
                    let over = referred(config.and_then(|c| c.get("for_each_expression")));
                    self.follow(scope, &over, None, depth + 1, trail);
                }
                (Some(("module", _)), Some((name, index)), output) => {
                    for (at, child) in self.scopes.iter().enumerate() {
                        let is_index =
                            index.is_none_or(|i| child.address.ends_with(&format!("module.{name}[{i}]")));
                        if child.parent != Some(scope) || child.name != name || !is_index {
                            continue;
                        }
                        let outputs = child.config.and_then(|c| c.get("outputs")).and_then(Value::as_object);
                        for (_, value) in outputs
                            .into_iter()
                            .flatten()
                            .filter(|(key, _)| output.is_none_or(|(o, _)| o == key.as_str()))
                        {
                            self.follow(at, &referred(value.get("expression")), None, depth + 1, trail);
                        }
                    }
                }
                (Some(("data", _)), Some((kind, _)), Some((name, index))) => {
                    self.named(scope, true, kind, name, index, &mut trail.found);
                }
                (Some((kind, _)), Some((name, index)), _) => {
                    self.named(scope, false, kind, name, index, &mut trail.found)
                }
                _ => {}
            }
        }
    }

    fn named(
        &self,
        scope: usize,
        is_data: bool,
        kind: &str,
        name: &str,
        index: Option<&str>,
        found: &mut BTreeSet<usize>,
    ) {
        found.extend(self.instances.iter().enumerate().filter_map(|(at, i)| {
            let is_index =
                index.is_none_or(|wanted| i.index.map(Value::to_string).as_deref() == Some(wanted));
            (i.scope == scope && i.is_data == is_data && i.kind == kind && i.name == name && is_index)
                .then_some(at)
        }));
    }

    /// The configuration of the provider that an instance uses.
    pub fn provider(&self, instance: &Instance) -> Option<&'a Value> {
        let key = instance.config?.get("provider_config_key")?.as_str()?;
        let providers = self.document.pointer("/configuration/provider_config")?;
        // A module without a provider of its own inherits its parent's, named by the part behind the colon.
        let found = providers.get(key).or_else(|| providers.get(key.rsplit(':').next()?))?;
        found.get("expressions")
    }

    /// A text that the configuration has as a constant or as a variable of the root module.
    pub fn constant(&self, expression: Option<&'a Value>) -> Option<&'a Value> {
        let expression = expression?;
        if let Some(value) = expression.get("constant_value") {
            return Some(value);
        }
        match longest(&referred(Some(expression))).as_slice() {
            [one] => {
                let name = one.strip_prefix("var.")?;
                self.document.get("variables")?.get(name)?.get("value")
            }
            _ => None,
        }
    }

    /// The attributes that an address has today. A state has no changes: there nothing was before.
    pub fn before(&self, address: &str) -> Option<&'a Value> {
        self.changes.get(address)?.get("before").filter(|b| b.is_object())
    }

    /// The account that a data source read before the plan was made.
    pub fn caller(&self) -> Option<String> {
        let root = self.document.pointer("/prior_state/values/root_module")?;
        let callers: BTreeSet<&str> = list(root.get("resources"))
            .filter(|r| r.get("type").and_then(Value::as_str) == Some("aws_caller_identity"))
            .filter_map(|r| r.pointer("/values/account_id").and_then(Value::as_str))
            .collect();
        // Two providers may read two accounts; then it is not said which is whose.
        callers.first().filter(|_| callers.len() == 1).map(|a| (*a).to_owned())
    }
}

impl Instance<'_> {
    /// An attribute, with placeholders for what is not known. `None`: not set, or only AWS sets it.
    pub fn get(&self, attribute: &str) -> Option<Value> {
        let value = self.values.get(attribute).unwrap_or(&Value::Null);
        let unknown = self.unknown.get(attribute).unwrap_or(&Value::Null);
        if unknown == &Value::Bool(true) && !self.is_configured(attribute) {
            return None;
        }
        let path = format!("{}.{attribute}", self.address);
        Some(merged(value, unknown, &path)).filter(|v| !v.is_null())
    }

    /// As [`Instance::get`], as text; numbers and switches as JSON writes them, an empty text as not set.
    pub fn text(&self, attribute: &str) -> Option<String> {
        match self.get(attribute)? {
            Value::String(text) => Some(text).filter(|t| !t.is_empty()),
            value @ (Value::Bool(_) | Value::Number(_)) => Some(value.to_string()),
            _ => None,
        }
    }

    pub fn is_unknown(&self, attribute: &str) -> bool {
        self.unknown.get(attribute) == Some(&Value::Bool(true))
    }

    /// Whether the configuration sets it. Without a configuration that cannot be told, and unknown has to stay unknown.
    pub fn is_configured(&self, attribute: &str) -> bool {
        self.config.is_none_or(|c| c.get("expressions").and_then(|e| e.get(attribute)).is_some())
    }

    pub fn references(&self, attribute: &str) -> Vec<&str> {
        referred(self.config.and_then(|c| c.get("expressions")).and_then(|e| e.get(attribute)))
    }

    /// The blocks of a name.
    pub fn blocks(&self, attribute: &str) -> Vec<Value> {
        match self.get(attribute) {
            Some(Value::Array(list)) => list,
            Some(value) if !value.is_null() => vec![value],
            _ => Vec::new(),
        }
    }

    pub fn is_created(&self) -> bool {
        self.actions.contains(&"create")
    }
}

pub(super) fn list(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

fn referred(expression: Option<&Value>) -> Vec<&str> {
    list(expression.and_then(|e| e.get("references"))).filter_map(Value::as_str).collect()
}

/// Terraform lists `a.b.c` and its beginnings `a.b`; only the longest says what is meant.
fn longest<'r>(references: &[&'r str]) -> Vec<&'r str> {
    let begins =
        |short: &str, long: &str| long.strip_prefix(short).is_some_and(|rest| rest.starts_with(['.', '[']));
    references.iter().filter(|r| !references.iter().any(|other| begins(r, other))).copied().collect()
}

/// `a.b["x.y"].c` as names with their indices, these as JSON writes them.
fn steps(reference: &str) -> Vec<(String, Option<String>)> {
    let mut steps: Vec<(String, Option<String>)> = vec![(String::new(), None)];
    let (mut depth, mut is_quoted) = (0_usize, false);
    for c in reference.chars() {
        let Some((name, index)) = steps.last_mut() else { break };
        is_quoted ^= c == '"';
        match c {
            '[' if !is_quoted && depth == 0 => (depth, *index) = (1, Some(String::new())),
            ']' if !is_quoted && depth == 1 => depth = 0,
            '.' if depth == 0 => steps.push((String::new(), None)),
            c if depth == 1 => index.get_or_insert_default().push(c),
            c => name.push(c),
        }
    }
    steps
}

/// A value with what is unknown of it as placeholders.
fn merged(value: &Value, unknown: &Value, path: &str) -> Value {
    match (value, unknown) {
        (_, Value::Bool(true)) => {
            let (address, attribute) = path.rsplit_once('.').unwrap_or((path, ""));
            Value::String(placeholder(address, attribute))
        }
        (Value::Object(_) | Value::Null, Value::Object(parts))
            if value.is_object() || has_unknown(unknown) =>
        {
            let mut map: Map<String, Value> = value.as_object().cloned().unwrap_or_default();
            for (key, part) in parts {
                let old = map.get(key).unwrap_or(&Value::Null);
                let new = merged(old, part, &format!("{path}.{key}"));
                if !new.is_null() {
                    map.insert(key.clone(), new);
                }
            }
            Value::Object(map)
        }
        (Value::Array(_) | Value::Null, Value::Array(parts)) if value.is_array() || has_unknown(unknown) => {
            let old = value.as_array().map(Vec::as_slice).unwrap_or_default();
            let both = (0..old.len().max(parts.len())).map(|n| {
                let [old, part] = [old.get(n), parts.get(n)].map(|v| v.unwrap_or(&Value::Null));
                merged(old, part, &format!("{path}.{n}"))
            });
            Value::Array(both.collect())
        }
        (value, _) => value.clone(),
    }
}

/// Sets a value at a path, making objects and lists on the way.
pub(super) fn set(target: &mut Value, path: &str, value: Value) {
    let Some((step, rest)) = path.split_once('.').or_else(|| Some((path, "")).filter(|(p, _)| !p.is_empty()))
    else {
        *target = value;
        return;
    };
    if step.bytes().all(|b| b.is_ascii_digit()) {
        if !target.is_array() {
            *target = json!([]);
        }
        // Only the first element is ever written so.
        if let Value::Array(items) = target {
            if items.is_empty() {
                items.push(Value::Null);
            }
            if let Some(first) = items.first_mut() {
                set(first, rest, value);
            }
        }
        return;
    }
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    if let Value::Object(map) = target {
        set(map.entry(step.to_owned()).or_insert(Value::Null), rest, value);
    }
}

fn has_unknown(unknown: &Value) -> bool {
    match unknown {
        Value::Bool(is) => *is,
        Value::Array(list) => list.iter().any(has_unknown),
        Value::Object(map) => map.values().any(has_unknown),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(reference: &str, expect: &[(&str, Option<&str>)]) {
        let got = steps(reference);
        let got: Vec<(&str, Option<&str>)> = got.iter().map(|(n, i)| (n.as_str(), i.as_deref())).collect();
        assert_eq!(got, expect);
    }

    proptest::proptest! {
        #[test]
        fn any_reference_has_steps(text in "([a-z.\"é]|\\[|\\]){0,20}") {
            steps(&text);
        }
    }

    #[test]
    fn references_in_steps() {
        check("aws_s3_bucket.x.id", &[("aws_s3_bucket", None), ("x", None), ("id", None)]);
        check("a.b[\"x.y]\"].c", &[("a", None), ("b", Some("\"x.y]\"")), ("c", None)]);
        check("module.m[0].o", &[("module", None), ("m", Some("0")), ("o", None)]);
        check("", &[("", None)]);
        check("a.b[", &[("a", None), ("b", Some(""))]);
    }

    #[test]
    fn beginnings_of_references_go() {
        assert_eq!(longest(&["a.b.id", "a.b", "a.bc", "each.key"]), ["a.b.id", "a.bc", "each.key"]);
        assert_eq!(longest(&["a.b[\"k\"].id", "a.b[\"k\"]", "a.b"]), ["a.b[\"k\"].id"]);
    }

    #[test]
    fn unknown_parts_become_placeholders() {
        let value = json!({"a": ["x", null], "b": {"c": 1}});
        let unknown = json!({"a": [false, true], "b": {"d": true}, "e": true, "f": [], "g": [{"h": true}]});
        assert_eq!(
            merged(&value, &unknown, "t.n"),
            json!({"a": ["x", "${unknown:t.n.a.1}"], "b": {"c": 1, "d": "${unknown:t.n.b.d}"}, "e": "${unknown:t.n.e}",
                "g": [{"h": "${unknown:t.n.g.0.h}"}]})
        );
    }
}
