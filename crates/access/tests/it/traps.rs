//! The estate of traps: every one that another tool fell into, each beside a harmless twin. `traps.expected.json` is the answer key;
//! tests/estates/README.md says how it is read.

use access::estate::{Estate, analyse};
use access::finding::Rule;
use access::world::Zone;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

fn folder(name: &str) -> Vec<Value> {
    let root =
        Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("tests/estates/traps").join(name);
    let mut files: Vec<_> =
        std::fs::read_dir(root).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_file()).collect();
    files.sort();
    files.iter().map(|p| serde_json::from_slice(&std::fs::read(p).unwrap()).unwrap()).collect()
}

pub fn estate() -> Estate {
    let mut out = Estate {
        zone: Zone { organization: true, ..Zone::default() },
        as_of: model::Time::parse_rfc3339(b"2026-11-21T00:00:00Z").unwrap(),
        ..Estate::default()
    };
    for value in folder("") {
        match value.get("management_account") {
            Some(_) => out.organization = Some(serde_json::from_value(value).unwrap()),
            None => out.resources.push(serde_json::from_value(value).unwrap()),
        }
    }
    for mut value in folder("rcps") {
        if !value["document"].is_string() {
            value["document"] = Value::String(value["document"].to_string());
        }
        out.rcps.push(serde_json::from_value(value).unwrap());
    }
    out.resources.sort_by(|a, b| a.arn.cmp(&b.arn));
    out
}

type Row = (String, String, bool);

#[test]
fn nothing_missed_and_nothing_invented() {
    let estate = estate();
    let path =
        Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("tests/estates/traps.expected.json");
    let key: BTreeMap<String, Vec<Value>> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut found: BTreeMap<&str, BTreeSet<Row>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (at, analysis) in analyse(&estate) {
        let arn = estate.resources[at].arn.as_str();
        let of = found.entry(arn).or_default();
        for f in &analysis.findings {
            let rule = serde_json::to_value(f.rule).unwrap().as_str().unwrap().to_owned();
            let principal = match f.rule {
                Rule::Unknown => "*".to_owned(),
                _ => f.principal.value.clone(),
            };
            of.insert((rule, principal, f.public.semantic));
            for denied in
                key.get(arn).into_iter().flatten().filter_map(|e| e["denied_actions"].as_array()).flatten()
            {
                if f.rule < Rule::HeldBack
                    && f.actions.iter().any(|a| a.name.eq_ignore_ascii_case(denied.as_str().unwrap()))
                {
                    wrong.push(format!("{arn}: {denied} is listed"));
                }
            }
        }
    }
    for (arn, entries) in &key {
        let row = |e: &Value| {
            (
                e["rule"].as_str().unwrap().to_owned(),
                e["principal"].as_str().unwrap().to_owned(),
                e["is_public"].as_bool().unwrap(),
            )
        };
        let is_optional = |e: &&Value| e["optional"] == true;
        let must: BTreeSet<Row> = entries.iter().filter(|e| !is_optional(e)).map(row).collect();
        let may: BTreeSet<Row> = entries.iter().map(row).collect();
        let is = found.remove(arn.as_str()).unwrap_or_default();
        let why: Vec<&str> = entries.iter().filter_map(|e| e["trap"].as_str()).collect();
        for missed in must.difference(&is) {
            wrong.push(format!("{arn}: missed {missed:?}   {why:?} found {is:?}"));
        }
        for invented in is.difference(&may) {
            wrong.push(format!("{arn}: invented {invented:?}   expected {must:?} {why:?}"));
        }
    }
    for (arn, of) in found.iter().filter(|(_, of)| !of.is_empty()) {
        wrong.push(format!("{arn}: not in the key: {of:?}"));
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), key.len(), wrong.join("\n"));
}
