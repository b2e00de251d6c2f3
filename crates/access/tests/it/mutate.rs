//! Small changes to policies, as people make them by mistake: another effect, another operator, a wider pattern (access.md 20).

use crate::generate::Dice;
use serde_json::{Map, Value};

/// A policy with one to three changes.
pub fn mutated(dice: &mut Dice, policy: &Value) -> Value {
    let mut out = policy.clone();
    for _ in 0..1 + dice.below(3) {
        change(dice, &mut out);
    }
    out
}

fn change(dice: &mut Dice, policy: &mut Value) {
    if let Some(one) = policy.get_mut("Statement").filter(|s| s.is_object()) {
        *one = Value::Array(vec![one.take()]);
    }
    let Some(Value::Array(all)) = policy.get_mut("Statement") else { return };
    if all.is_empty() {
        return;
    }
    let at = dice.below(all.len());
    match dice.below(12) {
        0 if all.len() > 1 => drop(all.remove(at)),
        1 if all.len() < 8 => {
            let mut twin = all[at].clone();
            in_statement(dice, &mut twin);
            all.push(twin);
        }
        _ => in_statement(dice, &mut all[at]),
    }
}

fn in_statement(dice: &mut Dice, statement: &mut Value) {
    let Some(members) = statement.as_object_mut() else { return };
    match dice.below(10) {
        0 => {
            let other = if members.get("Effect") == Some(&"Allow".into()) { "Deny" } else { "Allow" };
            members.insert("Effect".to_owned(), other.into());
        }
        1 => {
            let name = dice.one(&["Action", "Resource", "Principal"]);
            let not = format!("Not{name}");
            if let Some(value) = members.remove(name) {
                members.insert(not, value);
            } else if let Some(value) = members.remove(&not) {
                members.insert(name.to_owned(), value);
            }
        }
        2..=4 => {
            let name = dice.one(&["Action", "NotAction", "Resource", "NotResource"]);
            if let Some(value) = members.get_mut(name) {
                in_texts(dice, value);
            }
        }
        5 => drop(members.remove("Condition")),
        _ => {
            if let Some(Value::Object(conditions)) = members.get_mut("Condition") {
                in_conditions(dice, conditions);
            }
        }
    }
}

fn in_conditions(dice: &mut Dice, conditions: &mut Map<String, Value>) {
    let names: Vec<String> = conditions.keys().cloned().collect();
    let Some(name) = (!names.is_empty()).then(|| names[dice.below(names.len())].clone()) else { return };
    if dice.below(2) == 0 {
        if let Some(of) = conditions.get_mut(&name).and_then(Value::as_object_mut)
            && let Some(value) = of.values_mut().next()
        {
            in_texts(dice, value);
        }
        return;
    }
    let other = operator(dice, &name);
    if let Some(of) = conditions.remove(&name).filter(|_| !names.contains(&other)) {
        conditions.insert(other, of);
    }
}

/// Another operator of the same family.
fn operator(dice: &mut Dice, name: &str) -> String {
    let (set, rest) = name.split_once(':').map_or((None, name), |(set, rest)| (Some(set), rest));
    let (rest, if_exists) = rest.strip_suffix("IfExists").map_or((rest, ""), |rest| (rest, "IfExists"));
    let pairs = [
        ("StringEquals", "StringNotEquals"),
        ("StringLike", "StringNotLike"),
        ("StringEquals", "StringLike"),
        ("StringEquals", "StringEqualsIgnoreCase"),
        ("StringNotEquals", "StringNotLike"),
        ("ArnLike", "ArnNotLike"),
        ("ArnEquals", "ArnNotEquals"),
        ("IpAddress", "NotIpAddress"),
        ("NumericLessThan", "NumericLessThanEquals"),
        ("NumericEquals", "NumericNotEquals"),
        ("DateLessThan", "DateGreaterThan"),
        ("Bool", "Null"),
    ];
    let other = |rest: &str, dice: &mut Dice| {
        let fits: Vec<&str> = pairs
            .iter()
            .filter_map(|(a, b)| if *a == rest { Some(*b) } else { (*b == rest).then_some(*a) })
            .collect();
        if fits.is_empty() { rest.to_owned() } else { dice.one(&fits).to_owned() }
    };
    match (dice.below(4), set) {
        (0, _) if rest != "Null" && if_exists.is_empty() => format!("{name}IfExists"),
        (0, _) => name.trim_end_matches("IfExists").to_owned(),
        (1, Some(_)) => format!("{rest}{if_exists}"),
        (1, None) if rest != "Null" => {
            let set = dice.one(&["ForAllValues", "ForAnyValue"]);
            format!("{set}:{rest}{if_exists}")
        }
        (_, Some(set)) => format!("{set}:{}{if_exists}", other(rest, dice)),
        (_, None) => match other(rest, dice) {
            rest if rest == "Null" => rest,
            rest => format!("{rest}{if_exists}"),
        },
    }
}

/// One text of a list wider, narrower, or otherwise written; or gone.
fn in_texts(dice: &mut Dice, value: &mut Value) {
    match value {
        Value::Array(all) if all.len() > 1 && dice.below(3) == 0 => {
            let at = dice.below(all.len());
            all.remove(at);
        }
        Value::Array(all) if !all.is_empty() => {
            let at = dice.below(all.len());
            in_texts(dice, &mut all[at]);
        }
        Value::String(text) => *text = in_text(dice, text),
        _ => {}
    }
}

fn in_text(dice: &mut Dice, text: &str) -> String {
    let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    let Some(at) = (!places.is_empty()).then(|| places[dice.below(places.len())]) else {
        return "*".to_owned();
    };
    let (before, behind) = text.split_at(at);
    let rest = behind.get(1..).unwrap_or_default();
    match dice.below(6) {
        0 => format!("{before}*"),
        1 => format!("{before}*{rest}"),
        2 => format!("{before}?{rest}"),
        3 => format!("{text}x"),
        4 => before.to_owned(),
        _ => text.to_ascii_uppercase(),
    }
}
