//! The conformance corpus in `tests/sigma/*.yml`: rules, events, expected matches, and where the case comes from.

use detect::sigma::yaml::{Node, documents};
use detect::{Engine, Rules, Settings};
use model::{Batch, EventId, Provenance, Time};

#[test]
fn every_case_of_the_corpus() {
    let folder = std::path::Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("tests/sigma");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    let (mut n, mut wrong) = (0, Vec::new());
    for f in files {
        let name = f.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&f).unwrap();
        for case in documents(&text) {
            let case = case.unwrap_or_else(|p| panic!("{name}:{}: {}", p.at.line, p.reason));
            n += 1;
            if let Err(e) = run(&case) {
                wrong.push(format!("{name}:{} {}: {e}", case.at.line, text_of(&case, "case")));
            }
        }
    }
    println!("{n} cases");
    assert!(n >= 60, "the corpus shrank to {n} cases");
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
}

fn text_of(n: &Node, key: &str) -> String {
    n.get(key).and_then(Node::scalar).unwrap_or_default()
}

fn json(n: &Node) -> String {
    let mut out = Vec::new();
    n.write_json(&mut out);
    String::from_utf8(out).unwrap()
}

/// The rules of a case: `detection` alone, or whole `documents`.
fn rules(case: &Node) -> Vec<String> {
    match (case.get("detection"), case.get("documents")) {
        (Some(d), _) => {
            vec![format!(r#"{{"title":"t","logsource":{{"product":"x"}},"detection":{}}}"#, json(d))]
        }
        (None, Some(l)) => l.list().unwrap().iter().map(json).collect(),
        _ => panic!("a case needs detection or documents"),
    }
}

fn run(case: &Node) -> Result<(), String> {
    assert!(!text_of(case, "case").is_empty() && !text_of(case, "source").is_empty());
    let documents = rules(case);
    let files: Vec<(String, &String)> =
        documents.iter().enumerate().map(|(i, d)| (format!("r{i}.yml"), d)).collect();
    let (rules, refused) = Rules::load(files);
    let reasons: Vec<String> = refused.iter().map(|r| format!("{} {}", r.construct, r.reason)).collect();
    if let Some(expected) = case.get("refused") {
        let expected = expected.scalar().unwrap();
        return if reasons.iter().any(|r| r.contains(&expected)) {
            Ok(())
        } else {
            Err(format!("not refused for `{expected}`: {reasons:?}"))
        };
    }
    if !reasons.is_empty() {
        return Err(format!("refused: {reasons:?}"));
    }
    if let Some(lint) = case.get("lint") {
        let lint = lint.scalar().unwrap();
        if !rules.lints.iter().any(|l| l.message.contains(&lint)) {
            return Err(format!("no lint says `{lint}`: {:?}", rules.lints));
        }
    }
    let mut engine = Engine::new(rules, Settings { routing: false, ..Settings::default() }).unwrap();
    let mut b = Batch::builder();
    let (p, d) = (b.provenance(Provenance::new("t")), b.dataset("x"));
    for (i, e) in case.get("events").and_then(Node::list).unwrap_or_default().iter().enumerate() {
        // Text is taken as the raw line, so that a case can hold JSON that YAML cannot (repeated keys, escapes).
        let raw = e.text().map_or_else(|| json(e), str::to_owned);
        let row = b.push(raw.as_bytes(), p, d);
        row.event_time = e
            .get("time")
            .and_then(Node::scalar)
            .and_then(|t| Time::parse_rfc3339(t.as_bytes()))
            .unwrap_or(Time::NONE);
        row.id = EventId::of(&[&i.to_le_bytes()]);
    }
    let batch = b.finish();
    if let Some(expected) = case.get("alerts") {
        let mut found = engine.events(&batch, None);
        found.extend(engine.end());
        let got: Vec<String> = found
            .iter()
            .filter(|o| o.is_settled)
            .map(|o| {
                let key: Vec<&str> = o.subject.key.iter().map(|(_, v)| v.as_str()).collect();
                format!("{}:{}", key.join("/"), o.evidence_total)
            })
            .collect();
        let expected: Vec<String> = expected.list().unwrap().iter().map(|n| n.scalar().unwrap()).collect();
        return if got == expected { Ok(()) } else { Err(format!("alerts {got:?}, expected {expected:?}")) };
    }
    let mut got: Vec<String> = engine.hits(&batch, None).iter().map(|h| h.row.to_string()).collect();
    got.dedup();
    let expected: Vec<String> =
        case.get("matches").and_then(Node::list).unwrap().iter().map(|n| n.scalar().unwrap()).collect();
    if got == expected { Ok(()) } else { Err(format!("matches {got:?}, expected {expected:?}")) }
}
