//! Inputs that nobody wrote: to the reader of JSON, the parser of policies, and the matchers of both halves (access.md 20). None may
//! panic, every error has its place, and the matchers agree with a regular expression.
//!
//! `AVOUCH_FUZZ` inputs to each (`cargo xtask soundness --fuzz N`).

use crate::corpora;
use crate::generate::{Dice, policy};
use crate::run::{Run, setting};
use access::check::readings;
use access::eval::{Doubt, misses, outcome, outcome_in};
use access::json;
use access::policy::{Document, Duplicates, parse};
use access::reading::{Reading, Switch};
use access::symbolic::{ActionClasses, Row, Take, Verdict, implies};
use access::{Context, Request};

fn inputs() -> u64 {
    setting("AVOUCH_FUZZ", 100_000)
}

/// Pieces that mean something to a reader of JSON or of policies.
const PIECES: [&str; 28] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\u",
    "\\ud800",
    "\\u0041",
    "é",
    "\u{feff}",
    "\u{0}",
    "1e9",
    "-0",
    "true",
    "null",
    "/*",
    "'",
    " ",
    "\n",
    "${",
    "%7B",
    "\"Effect\"",
    "\"Statement\":",
    "\"*\"",
    "💥",
];

/// A text with a few changes: cut, doubled, or with a piece in the middle.
fn changed(dice: &mut Dice, text: &str) -> String {
    let mut out: Vec<char> = text.chars().collect();
    for _ in 0..1 + dice.below(4) {
        let at = dice.below(out.len() + 1);
        match dice.below(6) {
            0 => out.truncate(at),
            1 => drop(out.drain(at..(at + 1 + dice.below(8)).min(out.len()))),
            2 => {
                let again: Vec<char> = out[at..(at + dice.below(40)).min(out.len())].to_vec();
                out.splice(at..at, again);
            }
            3 if at < out.len() => out[at] = char::from_u32(dice.below(0x250) as u32).unwrap_or('x'),
            _ => drop(out.splice(at..at, dice.one(&PIECES).chars())),
        }
    }
    out.into_iter().collect()
}

fn samples() -> Vec<String> {
    let mut dice = Dice::new(3);
    let own: Vec<String> = (0..200).map(|n| policy(&mut dice, n % 2 == 0)).collect();
    let others = corpora::small().into_iter().map(|p| p.to_string()).filter(|t| t.len() < 1_200).take(200);
    let encoded: Vec<String> =
        own.iter().take(20).map(|t| t.bytes().map(|b| format!("%{b:02X}")).collect()).collect();
    let odd = ["", "[]", "{}", "1", "\"\"", "{\"Statement\":{}}", "{\"Statement\":[[]]}"].map(str::to_owned);
    own.into_iter().chain(others).chain(encoded).chain(odd).collect()
}

/// Every span of a node lies in the text, on whole characters.
fn places(node: &json::Node, text: &str) {
    assert!(text.get(node.span.start as usize..node.span.end as usize).is_some(), "{text}");
    match &node.value {
        json::Value::Array(all) => all.iter().for_each(|n| places(n, text)),
        json::Value::Object(all) => all.iter().for_each(|m| places(&m.value, text)),
        _ => {}
    }
}

#[test]
fn json_reader() {
    let (samples, wanted) = (samples(), inputs());
    let mut run = Run::new("fuzz: JSON", 37);
    let mut dice = Dice::new(run.seed);
    let mut read = 0;
    while run.pairs < wanted {
        let text = changed(&mut dice, &samples[run.pairs as usize % samples.len()]);
        run.add(1);
        match json::read(&text) {
            Ok(node) => {
                places(&node, &text);
                read += 1;
            }
            Err(error) => {
                let lines = text.split('\n').count();
                if error.line == 0 || error.line > lines || error.column == 0 {
                    run.contradiction(&|| format!("{error}: {text}"));
                }
            }
        }
    }
    run.end(&format!("{read} read"));
}

#[test]
fn policy_parser() {
    let (samples, wanted) = (samples(), inputs());
    let mut run = Run::new("fuzz: policies", 41);
    let mut dice = Dice::new(run.seed);
    let request = Request {
        principal: None,
        action: "s3:GetObject".to_owned(),
        resource: "arn:aws:s3:::a/b".to_owned(),
        context: Context::new(),
    };
    let (mut read, mut odd) = (0, 0);
    while run.pairs < wanted {
        let text = changed(&mut dice, &samples[run.pairs as usize % samples.len()]);
        run.add(1);
        match parse(&text, Duplicates::LastWins) {
            Ok(document) => {
                read += 1;
                odd += u64::from(!document.problems.is_empty());
                let has_place =
                    |span: json::Span| document.text.get(span.start as usize..span.end as usize).is_some();
                let is_placed = document.problems.iter().all(|p| has_place(p.span))
                    && document.statements.iter().all(|s| has_place(s.span));
                // What is doubtful may only ever add to what is allowed where that is asked.
                let (most, least) = (
                    outcome(&document, &request, Doubt::Allows).is_allowed(),
                    outcome(&document, &request, Doubt::Forbids).is_allowed(),
                );
                if !is_placed || (least && !most) {
                    run.contradiction(&|| text.clone());
                }
            }
            Err(error) => {
                let told = error.to_string();
                if !told.contains("line ") && !told.contains("statements") {
                    run.contradiction(&|| format!("{told}: {text}"));
                }
            }
        }
    }
    run.end(&format!("{read} read, {odd} of them with problems"));
    assert!(read > wanted / 20 && odd > wanted / 50, "{read} read, {odd} odd of {wanted}");
}

/// A few characters that meet, with or without wildcards among them.
fn word(dice: &mut Dice, of: &[&str], most: usize) -> String {
    (0..1 + dice.below(most)).map(|_| dice.one(of)).collect()
}

/// The pattern as a regular expression.
fn regular(pattern: &str, is_any_case: bool) -> regex::Regex {
    let mut out = String::from(if is_any_case { "(?is)^" } else { "(?s)^" });
    for c in pattern.chars() {
        match c {
            '*' => out += ".*",
            '?' => out += ".",
            c => out += &regex::escape(&c.to_string()),
        }
    }
    regex::Regex::new(&(out + "$")).unwrap()
}

fn document(action: &str, resource: &str) -> Document {
    let text = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"{action}","Resource":"{resource}"}}]}}"#
    );
    readings(&text).unwrap().remove(0)
}

/// Texts that each pattern is held against.
const TEXTS: u64 = 20;

/// Resources: the evaluator's matcher, and whether the engine says that a text is within a pattern.
#[test]
fn matchers_of_resources() {
    let wanted = inputs();
    let mut run = Run::new("fuzz: resources", 43);
    let mut dice = Dice::new(run.seed);
    let (mut matched, mut open) = (0u64, 0u64);
    while run.pairs < wanted {
        let pattern = word(&mut dice, &["a", "b", "/", "*", "*", "?", ":", "é", "ab"], 8);
        let pattern = format!("arn:aws:s3:::a{pattern}");
        let wide = document("s3:GetObject", &pattern);
        let expected = regular(&pattern, false);
        run.policies += 1;
        for n in 0..TEXTS {
            let text = format!("arn:aws:s3:::a{}", word(&mut dice, &["a", "b", "/", ":", "é", "ab"], 8));
            let is_match = expected.is_match(&text);
            matched += u64::from(is_match);
            run.add(1);
            let request = Request {
                principal: None,
                action: "s3:GetObject".to_owned(),
                resource: text.clone(),
                context: Context::new(),
            };
            let evaluated = outcome(&wide, &request, Doubt::Allows).is_allowed();
            // The engine is slower: each fourth text. A colon in a bucket's name, before any slash, is in no resource.
            let is_resource = text.split('/').next().is_some_and(|bucket| bucket.matches(':').count() == 5);
            let engine =
                (n % 4 == 0 && is_resource).then(|| implies(&document("s3:GetObject", &text), &wide));
            // Whether a wildcard in the midst of an ARN goes beyond a colon is open: then what only some say is not decided.
            let within = Reading::of(Switch::ResourceStarCrossesColon);
            let in_all = is_match && outcome_in(&wide, &request, Doubt::Allows, within).is_allowed();
            let is_right = match &engine {
                None => true,
                Some(Verdict::Holds) => in_all,
                Some(Verdict::Fails(_)) => !is_match,
                Some(Verdict::Undecided(..)) => is_match && !in_all,
            };
            open += u64::from(is_match && !in_all);
            if evaluated != is_match || !is_right {
                run.contradiction(&|| {
                    format!("{pattern} {text}: expected {is_match}, evaluator {evaluated}, engine {engine:?}")
                });
            }
        }
    }
    run.end(&format!("{matched} match, {open} of them in one reading"));
    assert!(matched > wanted / 50, "{matched} of {wanted} match");
}

/// Actions: the evaluator's matcher, and the engine's.
#[test]
fn matchers_of_actions() {
    let wanted = inputs();
    let mut run = Run::new("fuzz: actions", 47);
    let mut dice = Dice::new(run.seed);
    let mut matched = 0u64;
    while run.pairs < wanted {
        let pattern = format!("s{}", word(&mut dice, &["a", "B", "*", "*", "?", "3:", "ab"], 8));
        let wide = document(&pattern, "*");
        let expected = regular(&pattern, true);
        let rows = [Row { document: &wide, statement: &wide.statements[0], take: Take::default() }];
        let classes = ActionClasses::of(&rows);
        run.policies += 1;
        for _ in 0..TEXTS {
            let text = format!("S{}", word(&mut dice, &["A", "b", "3:", "ab", "aB"], 8));
            let is_match = expected.is_match(&text);
            matched += u64::from(is_match);
            run.add(1);
            let request = Request {
                principal: None,
                action: text.clone(),
                resource: "*".to_owned(),
                context: Context::new(),
            };
            let evaluated = misses(&wide, &wide.statements[0], &request, Doubt::Allows).is_none();
            let mut engine = false;
            classes.classes([text.as_str()], |_, class| engine = class == [1]);
            if evaluated != is_match || engine != is_match {
                run.contradiction(&|| {
                    format!("{pattern} {text}: expected {is_match}, evaluator {evaluated}, engine {engine}")
                });
            }
        }
    }
    run.end(&format!("{matched} match"));
    assert!(matched > wanted / 50, "{matched} of {wanted} match");
}
