//! Edits of one statement, as JSON Patch operations. Each says what it would do to the statement as it stands, or that it has nothing to
//! do there; whether an edit helps is not decided here.

use super::apply::{Operation, escaped};
use crate::finding::Finding;
use crate::json::{Member, Node, Value};
use crate::policy::{Operator, Quantifier, Statement};
use std::collections::{BTreeMap, BTreeSet};

/// A statement and where it stands.
pub(super) struct Site<'t> {
    /// Pointer of the statement.
    pub at: String,
    /// Pointer of the list that it is in; `None`: it is the only one, without a list.
    pub list: Option<String>,
    pub node: &'t Node,
    pub statement: &'t Statement,
}

/// A key of a condition as it is written.
pub(super) struct Written<'t> {
    pub operator: Operator,
    /// Of the operator, and of the key below it.
    pub names: (&'t str, &'t str),
    pub values: &'t Node,
}

pub(super) fn members(node: &Node) -> &[Member] {
    match &node.value {
        Value::Object(members) => members,
        _ => &[],
    }
}

fn member<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    members(node).iter().find(|m| m.key == name).map(|m| &m.value)
}

/// The entries of a list; what is no list is its only entry.
fn entries(node: &Node) -> &[Node] {
    match &node.value {
        Value::Array(items) => items,
        _ => std::slice::from_ref(node),
    }
}

pub(super) fn texts(node: &Node) -> Vec<String> {
    entries(node).iter().filter_map(Node::scalar).collect()
}

impl<'t> Site<'t> {
    fn path(&self, parts: &[&str]) -> String {
        parts.iter().fold(self.at.clone(), |path, part| format!("{path}/{}", escaped(part)))
    }

    pub fn conditions(&self) -> Vec<Written<'t>> {
        let all = member(self.node, "Condition").map(members).unwrap_or_default();
        all.iter()
            .filter_map(|o| Some((Operator::read(&o.key)?, o)))
            .flat_map(|(operator, o)| {
                members(&o.value).iter().map(move |k| Written {
                    operator,
                    names: (o.key.as_str(), k.key.as_str()),
                    values: &k.value,
                })
            })
            .collect()
    }

    /// A condition more.
    pub fn require(&self, tests: &[(&str, &str, serde_json::Value)]) -> Option<Vec<Operation>> {
        let mut draft = Draft::of(self);
        for (operator, key, values) in tests {
            draft.require(operator, key, values.clone())?;
        }
        Some(draft.operations)
    }

    /// Other values for a key, under another operator where that changes.
    pub fn rewrite(
        &self,
        written: &Written<'_>,
        operator: &str,
        values: Vec<String>,
    ) -> Option<Vec<Operation>> {
        let is_list = matches!(written.values.value, Value::Array(_)) || values.len() != 1;
        let value = if is_list { serde_json::json!(values) } else { serde_json::json!(values.first()) };
        let (name, key) = written.names;
        if operator.eq_ignore_ascii_case(name) {
            return Some(vec![Operation::Replace { path: self.path(&["Condition", name, key]), value }]);
        }
        let is_alone = self.conditions().iter().filter(|w| w.names.0 == name).count() == 1;
        let old: &[&str] = if is_alone { &["Condition", name] } else { &["Condition", name, key] };
        let mut draft = Draft::of(self);
        draft.operations.push(Operation::Remove { path: self.path(old) });
        draft.require(operator, key, value)?;
        Some(draft.operations)
    }

    /// `…IfExists` becomes the plain operator. `ForAllValues:` does not: of several values the plain operator takes any one, so it would
    /// allow what was not allowed.
    pub fn plain(&self) -> Option<Vec<Operation>> {
        let is_weak = |o: &Operator| !o.negated && o.if_exists && o.quantifier == Quantifier::Plain;
        let of: Vec<Written<'_>> = self.conditions().into_iter().filter(|w| is_weak(&w.operator)).collect();
        let mut draft = Draft::of(self);
        let names: BTreeSet<&str> = of.iter().map(|w| w.names.0).collect();
        for name in names {
            draft.operations.push(Operation::Remove { path: self.path(&["Condition", name]) });
        }
        for w in &of {
            let plain = Operator { if_exists: false, ..w.operator };
            draft.require(&plain.to_string(), w.names.1, super::value_of(w.values)?)?;
        }
        (!of.is_empty()).then_some(draft.operations)
    }

    /// Keys under `ForAllValues:` must be there.
    pub fn present(&self) -> Option<Vec<Operation>> {
        let of = self.conditions();
        let keys: BTreeSet<&str> = of
            .iter()
            .filter(|w| w.operator.quantifier == Quantifier::ForAllValues)
            .map(|w| w.names.1)
            .collect();
        let tests: Vec<_> = keys.iter().map(|key| ("Null", *key, serde_json::json!("false"))).collect();
        if tests.is_empty() { None } else { self.require(&tests) }
    }

    /// Values of a condition that a finding is about, where the condition has others.
    pub fn without_values(&self, finding: &Finding) -> Option<Vec<Operation>> {
        let mut out = Vec::new();
        for w in self.conditions() {
            let key = w.names.1.to_ascii_lowercase();
            if w.operator.negated || !super::super::IDENTITY.contains(&key.as_str()) {
                continue;
            }
            let operator = w.operator.to_string();
            let tests = finding.condition.get(&key).map(Vec::as_slice).unwrap_or_default();
            let named: Vec<&String> =
                tests.iter().filter(|t| t.operator == operator).flat_map(|t| &t.values).collect();
            let is_named = |node: &Node| node.scalar().is_some_and(|text| named.contains(&&text));
            if !matches!(w.values.value, Value::Array(_)) || entries(w.values).iter().all(is_named) {
                continue;
            }
            let path = self.path(&["Condition", w.names.0, w.names.1]);
            out.extend(removals(&path, entries(w.values), is_named));
        }
        (!out.is_empty()).then_some(out)
    }

    /// The members of `Principal` and their values.
    fn listed(&self) -> &'t [Member] {
        member(self.node, "Principal").map(members).unwrap_or_default()
    }

    /// Takes a principal off the list; `None`: nobody else is on it.
    pub fn without_principal(&self, kind: Option<&str>, who: &str) -> Option<Vec<Operation>> {
        let is_who = |node: &Node| node.scalar().as_deref() == Some(who);
        let is_kind = |m: &Member| kind.is_none_or(|k| m.key == k);
        let (mut out, mut others) = (Vec::new(), 0_usize);
        for m in self.listed() {
            let of = entries(&m.value);
            let gone = if is_kind(m) { of.iter().filter(|n| is_who(n)).count() } else { 0 };
            others += of.len() - gone;
            let path = self.path(&["Principal", &m.key]);
            if gone == of.len() {
                out.push(Operation::Remove { path });
            } else if gone > 0 {
                out.extend(removals(&path, of, is_who));
            }
        }
        (others > 0 && !out.is_empty()).then_some(out)
    }

    /// A condition more for one principal. Others on its list that could not meet it stay as they are, in a statement of their own.
    pub fn narrow(
        &self,
        who: (&str, &str),
        stays: &dyn Fn(&str, &str) -> bool,
        test: (&str, &str, serde_json::Value),
    ) -> Option<Vec<Operation>> {
        let mut all =
            self.listed().iter().flat_map(|m| entries(&m.value).iter().map(|n| (m.key.as_str(), n)));
        let is_mixed = all.any(|(kind, node)| node.scalar().is_some_and(|text| stays(kind, &text)));
        if !is_mixed {
            return self.require(&[test]);
        }
        let list = self.list.as_ref()?;
        let mut out = self.without_principal(Some(who.0), who.1)?;
        let mut copy = super::value_of(self.node)?;
        let members = copy.as_object_mut()?;
        // A label stands once in a document.
        members.remove("Sid");
        members.insert("Principal".to_owned(), serde_json::json!({who.0: who.1}));
        let condition = members.entry("Condition").or_insert_with(|| serde_json::json!({}));
        let of = condition.as_object_mut()?.entry(test.0).or_insert_with(|| serde_json::json!({}));
        if of.as_object_mut()?.insert(test.1.to_owned(), test.2).is_some() {
            return None;
        }
        out.push(Operation::Add { path: format!("{list}/-"), value: copy });
        Some(out)
    }

    /// An account instead of whoever is named.
    pub fn for_account(&self, account: &str) -> Option<Vec<Operation>> {
        let value = serde_json::json!({"AWS": account});
        let path = self.path(&["Principal"]);
        if member(self.node, "Principal").is_some() {
            return Some(vec![Operation::Replace { path, value }]);
        }
        member(self.node, "NotPrincipal")?;
        let old = Operation::Remove { path: self.path(&["NotPrincipal"]) };
        Some(vec![old, Operation::Add { path, value }])
    }

    /// The statement forbids what it allowed.
    pub fn forbid(&self) -> Option<Vec<Operation>> {
        member(self.node, "Effect")?;
        Some(vec![Operation::Replace { path: self.path(&["Effect"]), value: serde_json::json!("Deny") }])
    }

    pub fn removed(&self) -> Option<Vec<Operation>> {
        self.list.as_ref()?;
        Some(vec![Operation::Remove { path: self.at.clone() }])
    }
}

/// From the last on, so that each place is that of the original.
fn removals(path: &str, of: &[Node], is_gone: impl Fn(&Node) -> bool) -> Vec<Operation> {
    let gone = of.iter().enumerate().rev().filter(|(_, node)| is_gone(node));
    gone.map(|(at, _)| Operation::Remove { path: format!("{path}/{at}") }).collect()
}

/// Conditions that are added to a statement, one after the other.
struct Draft<'s> {
    site: &'s Site<'s>,
    operations: Vec<Operation>,
    /// Operators and keys that were added.
    made: BTreeMap<String, BTreeSet<String>>,
}

impl<'s> Draft<'s> {
    fn of(site: &'s Site<'s>) -> Draft<'s> {
        Draft { site, operations: Vec::new(), made: BTreeMap::new() }
    }

    /// `None` where the operator tests that key already: both tests cannot stand there.
    fn require(&mut self, operator: &str, key: &str, value: serde_json::Value) -> Option<()> {
        let condition = member(self.site.node, "Condition");
        let of = condition.map(members).unwrap_or_default();
        let stands = of.iter().find(|m| m.key.eq_ignore_ascii_case(operator));
        let name = stands.map_or(operator, |m| m.key.as_str());
        let keys = stands.map(|m| members(&m.value)).unwrap_or_default();
        let is_first = self.made.is_empty();
        let made = self.made.entry(name.to_owned()).or_default();
        if keys.iter().any(|k| k.key.eq_ignore_ascii_case(key)) || made.contains(&key.to_ascii_lowercase()) {
            return None;
        }
        let is_there = stands.is_some() || !made.is_empty();
        let (parts, value): (&[&str], _) = match (condition.is_none() && is_first, is_there) {
            (true, _) => (&["Condition"], serde_json::json!({name: {key: value}})),
            (_, true) => (&["Condition", name, key], value),
            (_, false) => (&["Condition", name], serde_json::json!({key: value})),
        };
        made.insert(key.to_ascii_lowercase());
        self.operations.push(Operation::Add { path: self.site.path(parts), value });
        Some(())
    }
}
