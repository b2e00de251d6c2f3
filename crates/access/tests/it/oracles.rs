//! Cases for oracles outside of this project, and the replay of what they found (`cargo xtask oracles`, access.md 20).
//!
//! Nothing is judged here: these "tests" write files that other programs answer, and are ignored unless asked for by name.

use crate::corpora::shared;
use crate::generate::{self, Dice};
use crate::reasons::REASONS;
use crate::workloads;
use access::catalog::{Shape, resource_shapes};
use access::check::readings;
use access::eval::{Doubt, Outcome, outcome};
use access::policy::Document;
use access::symbolic::{Verdict, implies};
use access::{Context, Request};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Requests to one policy.
const REQUESTS: usize = 20;
/// A policy longer than this is left out of questions about all requests: a solver would only run into its timeout.
const QUESTION_MAX: usize = 2_000;

fn folder() -> PathBuf {
    PathBuf::from(std::env::var("AVOUCH_ORACLES").expect("AVOUCH_ORACLES names a folder"))
}

fn setting(name: &str, otherwise: usize) -> usize {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(otherwise)
}

/// A policy with where it is from.
struct Policy {
    from: &'static str,
    text: String,
}

fn read(text: &str) -> Option<Document> {
    let mut all = readings(text).ok()?;
    // What has two readings, or none for certain, is a question to us and not to others.
    (all.len() == 1 && all[0].statements.iter().all(|s| s.is_certain)).then(|| all.remove(0))
}

/// Policies of others, and the pairs of them that come with a question.
fn corpora() -> (Vec<Policy>, Vec<[Policy; 2]>) {
    let Some(folder) = shared("oracles") else { return (Vec::new(), Vec::new()) };
    let file = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let policy = |from: &'static str, value: &Value| Policy {
        from,
        text: value.to_string().replace("<ACCOUNT ID>", "111111111111"),
    };
    let managed = file("managed-policies.jsonl")
        .lines()
        .map(|l| policy("managed", &serde_json::from_str::<Value>(l).unwrap()["document"]))
        .collect();
    let mut pairs = Vec::new();
    for (from, name, [one, two]) in [
        ("quacky", "implication.json", ["p1", "p2"]),
        ("aws", "check-no-new-access.json", ["candidate", "reference"]),
    ] {
        for pair in serde_json::from_str::<Vec<Value>>(&file(name)).unwrap() {
            pairs.push([policy(from, &pair[one]), policy(from, &pair[two])]);
            pairs.push([policy(from, &pair[two]), policy(from, &pair[one])]);
        }
    }
    (managed, pairs)
}

#[test]
#[ignore = "writes the cases of `cargo xtask oracles`"]
fn write_cases() {
    let seed = setting("AVOUCH_SEED", 7) as u64;
    let (managed, pairs) = corpora();
    write_requests(&mut Dice::new(seed), &managed, &pairs, setting("AVOUCH_REQUESTS", 100_000));
    write_implications(&mut Dice::new(seed + 1), &managed, pairs, setting("AVOUCH_IMPLICATIONS", 2_000));
    write_families();
}

/// Keys of the families that are timed, and how many of each.
const FAMILIES: [usize; 2] = [5, 6];
const FAMILIES_EACH: u64 = 3;

/// Questions over 15 statements, both ways round, with the time of our answer: reading both documents included, the best of three.
fn write_families() {
    let mut out = BufWriter::new(std::fs::File::create(folder().join("families.ndjson")).unwrap());
    let mut n = 0;
    for (keys, seed) in FAMILIES.iter().flat_map(|keys| (0..FAMILIES_EACH).map(move |seed| (*keys, seed))) {
        let (wide, narrow) = workloads::family(15, keys, seed);
        for (candidate, reference) in [(&narrow, &wide), (&wide, &narrow)] {
            let mut best = Duration::MAX;
            let mut word = "";
            for _ in 0..3 {
                let started = Instant::now();
                let (one, two) = (read(candidate).unwrap(), read(reference).unwrap());
                word = match implies(&one, &two) {
                    Verdict::Holds => "holds",
                    Verdict::Fails(_) => "fails",
                    Verdict::Undecided(..) => "undecided",
                };
                best = best.min(started.elapsed());
            }
            let services = services(&[&read(candidate).unwrap(), &read(reference).unwrap()]);
            n += 1;
            let line = json!({
                "n": n, "keys": keys, "candidate": candidate, "reference": reference, "services": services,
                "answer": word, "ours": best.as_secs_f64(),
            });
            writeln!(out, "{line}").unwrap();
        }
    }
    println!("{n} questions of 15 statements");
}

/// One line per policy, with requests near its boundaries and what the evaluator says to each.
fn write_requests(dice: &mut Dice, managed: &[Policy], pairs: &[[Policy; 2]], count: usize) {
    let mut out = BufWriter::new(std::fs::File::create(folder().join("requests.ndjson")).unwrap());
    let (mut n, mut written) = (0, 0);
    let mut theirs = managed.iter().chain(pairs.iter().flatten());
    while written < count {
        // Every second policy is one that somebody wrote, as long as there are any.
        let theirs = if n % 2 == 0 { theirs.next() } else { None };
        let principals = theirs.is_none() && dice.below(2) == 1;
        let generated = Policy { from: "generator", text: generate::policy(dice, principals) };
        let Policy { from, text } = theirs.unwrap_or(&generated);
        n += 1;
        let Some(document) = read(text) else { continue };
        let mut requests = Vec::new();
        for at in 0..REQUESTS.min(count - written) {
            let request = if theirs.is_none() && at % 2 == 0 {
                generate::request(dice, principals)
            } else {
                near(dice, &document, principals)
            };
            let word = word(&outcome(&document, &request, Doubt::Allows));
            requests.push(json!({"request": request, "outcome": word}));
        }
        written += requests.len();
        let line = json!({"n": n, "from": from, "policy": text, "requests": requests});
        writeln!(out, "{line}").unwrap();
    }
    println!("{written} requests to {n} policies");
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Allowed(_) => "allowed",
        Outcome::Denied(_) => "denied",
        Outcome::NotAllowed => "not_allowed",
    }
}

/// One line per question, with our answer.
fn write_implications(dice: &mut Dice, managed: &[Policy], pairs: Vec<[Policy; 2]>, count: usize) {
    let mut out = BufWriter::new(std::fs::File::create(folder().join("implications.ndjson")).unwrap());
    let small = |p: &&Policy| p.text.len() < QUESTION_MAX;
    let mut others: Vec<String> = managed.iter().filter(small).map(|p| p.text.clone()).collect();
    others.extend(pairs.iter().flatten().filter(small).map(|p| p.text.clone()));
    let mut pairs = pairs.into_iter();
    let mut n = 0;
    while n < count {
        let (from, candidate, reference) = match pairs.next() {
            Some([one, two]) => (one.from, one.text, two.text),
            // A policy of others beside what a small change makes of it, either way round.
            None if !others.is_empty() && dice.below(3) == 0 => {
                let one = others[dice.below(others.len())].clone();
                let two = mutated(dice, &one);
                if dice.below(2) == 0 { ("mutated", one, two) } else { ("mutated", two, one) }
            }
            None => {
                let principals = dice.below(2) == 1;
                let (p, q) = (generate::policy(dice, principals), generate::policy(dice, principals));
                match dice.below(4) {
                    0 => ("generator", p, q),
                    1 => ("generator", mutated(dice, &p), p),
                    2 => ("generator", p.clone(), mutated(dice, &p)),
                    _ => {
                        let more = q.split_once("\"Statement\":[").unwrap().1.strip_suffix("]}").unwrap();
                        let q = p.replacen("[{", &format!("[{more},{{"), 1);
                        ("generator", p, q)
                    }
                }
            }
        };
        let (Some(one), Some(two)) = (read(&candidate), read(&reference)) else { continue };
        n += 1;
        let (word, witness) = match implies(&one, &two) {
            Verdict::Holds => ("holds", None),
            Verdict::Fails(request) => ("fails", Some(request)),
            Verdict::Undecided(..) => ("undecided", None),
        };
        let services = services(&[&one, &two]);
        let line = json!({
            "n": n, "from": from, "candidate": candidate, "reference": reference,
            "answer": word, "witness": witness, "services": services,
        });
        writeln!(out, "{line}").unwrap();
    }
    println!("{n} implications");
}

/// The domain of requests, as far as these documents name services: what the last part of their ARNs may be (access.md 4.3).
fn services(documents: &[&Document]) -> BTreeMap<String, Vec<Value>> {
    let mut out = BTreeMap::new();
    let resources = documents.iter().flat_map(|d| &d.statements).filter_map(|s| s.resource.as_ref());
    for word in resources.flat_map(|r| &r.values) {
        let Some(service) = word.text.split(':').nth(2).filter(|s| !s.contains(['*', '?', '$'])) else {
            continue;
        };
        let shapes = resource_shapes(service);
        out.entry(service.to_owned()).or_insert_with(|| shapes.iter().map(|s| shape(s)).collect());
    }
    out.remove("");
    out
}

fn shape(of: &[Shape]) -> Value {
    of.iter()
        .map(|s| match s {
            Shape::Char(c) => json!({"text": c}),
            Shape::Some => json!({"is": "S"}),
            Shape::More => json!({"is": "M"}),
            Shape::SomeWithColons => json!({"is": "s"}),
            Shape::MoreWithColons => json!({"is": "m"}),
        })
        .collect()
}

/// Whether a resource is one of those that requests can have.
pub fn is_in_domain(resource: &str) -> bool {
    let parts: Vec<&str> = resource.splitn(6, ':').collect();
    let ["arn", partition, service, _, _, last] = parts.as_slice() else { return resource == "*" };
    fn fits(shape: &[Shape], text: &[char]) -> bool {
        match (shape, text) {
            ([], []) => true,
            ([Shape::More | Shape::MoreWithColons, rest @ ..], _) if fits(rest, text) => true,
            ([Shape::More, ..], [c, behind @ ..]) => *c != ':' && fits(shape, behind),
            ([Shape::MoreWithColons, ..], [_, behind @ ..]) => fits(shape, behind),
            ([Shape::Char(a), rest @ ..], [b, behind @ ..]) => a == b && fits(rest, behind),
            ([Shape::Some, rest @ ..], [c, behind @ ..]) => *c != ':' && fits(rest, behind),
            ([Shape::SomeWithColons, rest @ ..], [_, behind @ ..]) => fits(rest, behind),
            _ => false,
        }
    }
    let last: Vec<char> = last.chars().collect();
    !partition.is_empty() && resource_shapes(service).iter().any(|s| fits(s, &last))
}

/// Lines of a file of the folder, in order; none when it is missing.
fn lines(name: &str) -> impl Iterator<Item = Value> {
    let file = std::fs::File::open(folder().join(name)).ok();
    file.into_iter()
        .flat_map(|f| BufReader::new(f).lines())
        .map(|l| serde_json::from_str(&l.unwrap()).unwrap())
}

/// Holds the oracles' answers against ours, and writes what came of it: `judged.json` with the counts by oracle, `unexplained.ndjson`
/// with the differences that have no reason.
#[test]
#[ignore = "judges the answers in `cargo xtask oracles`"]
fn judge() {
    let mut unexplained = BufWriter::new(std::fs::File::create(folder().join("unexplained.ndjson")).unwrap());
    let mut all = Map::new();
    for (oracle, answers) in [("iam-simulate", "simulate.ndjson"), ("z3, requests", "z3-requests.ndjson")] {
        let counts = judge_requests(answers, &mut |case| writeln!(unexplained, "{case}").unwrap());
        all.insert(oracle.to_owned(), counts.value());
    }
    let counts = judge_implications(&mut |case| writeln!(unexplained, "{case}").unwrap());
    all.insert("z3, implications".to_owned(), counts.value());
    all.insert("z3, families".to_owned(), times());
    std::fs::write(folder().join("judged.json"), Value::Object(all).to_string()).unwrap();
}

/// By number of keys: the medians of our time and of z3's, in seconds, how often z3 gave up (it counts with the time until then), and
/// where the two disagree.
fn times() -> Value {
    let answers: HashMap<u64, Value> =
        lines("z3-families.ndjson").map(|a| (a["n"].as_u64().unwrap(), a)).collect();
    let mut by_keys: BTreeMap<u64, (Vec<f64>, Vec<f64>, u64, u64)> = BTreeMap::new();
    for case in lines("families.ndjson") {
        let Some(answer) = answers.get(&case["n"].as_u64().unwrap()) else { continue };
        let of = by_keys.entry(case["keys"].as_u64().unwrap()).or_default();
        of.0.push(case["ours"].as_f64().unwrap());
        of.1.push(answer["seconds"].as_f64().unwrap());
        match answer["answer"].as_str().unwrap() {
            said @ ("holds" | "fails") => of.3 += u64::from(case["answer"] != *said),
            _ => of.2 += 1,
        }
    }
    let median = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    by_keys
        .into_iter()
        .map(|(keys, (ours, theirs, gave_up, differ))| {
            let n = ours.len();
            json!({"keys": keys, "questions": n, "ours": median(ours), "z3": median(theirs), "gave up": gave_up, "differ": differ})
        })
        .collect()
}

#[derive(Default)]
struct Counts {
    agree: usize,
    /// By what was not asked or not answered.
    open: BTreeMap<String, usize>,
    /// By reason.
    known: BTreeMap<String, usize>,
    unexplained: usize,
}

impl Counts {
    fn value(&self) -> Value {
        json!({"agree": self.agree, "open": self.open, "known": self.known, "unexplained": self.unexplained})
    }
}

fn judge_requests(answers: &str, report: &mut dyn FnMut(Value)) -> Counts {
    let mut counts = Counts::default();
    let answers: HashMap<u64, Value> = lines(answers).map(|a| (a["n"].as_u64().unwrap(), a)).collect();
    for case in lines("requests.ndjson") {
        let Some(answer) = answers.get(&case["n"].as_u64().unwrap()) else { continue };
        let Some(said) = answer["outcomes"].as_array() else {
            let why = answer["why"].as_str().unwrap_or("no answer").to_owned();
            *counts.open.entry(why).or_default() += case["requests"].as_array().unwrap().len();
            continue;
        };
        for (asked, said) in case["requests"].as_array().unwrap().iter().zip(said) {
            let (ours, said) = (asked["outcome"].as_str().unwrap(), said.as_str().unwrap());
            if ours == said {
                counts.agree += 1;
            } else if !["allowed", "denied", "not_allowed"].contains(&said) && !said.starts_with("error") {
                *counts.open.entry(said.to_owned()).or_default() += 1;
            } else if let Some(reason) = reason(&case["policy"], &asked["request"], said) {
                *counts.known.entry(reason).or_default() += 1;
            } else {
                counts.unexplained += 1;
                report(
                    json!({"oracle": answers_name(said), "policy": case["policy"], "request": asked["request"], "ours": ours, "oracle says": said}),
                );
            }
        }
    }
    counts
}

fn answers_name(said: &str) -> &str {
    if said.starts_with("error") { "failed" } else { "differs" }
}

/// The fewest reasons under which our evaluator says what the oracle says: one, two or three.
fn reason(policy: &Value, request: &Value, said: &str) -> Option<String> {
    let policy: Value = serde_json::from_str(policy.as_str().unwrap()).unwrap();
    let request: Request = serde_json::from_value(request.clone()).unwrap();
    let mut sets: Vec<u32> = (1..1 << REASONS.len()).filter(|s: &u32| s.count_ones() <= 3).collect();
    sets.sort_by_key(|s| s.count_ones());
    sets.into_iter().find_map(|set| {
        let chosen = || REASONS.iter().enumerate().filter(move |(i, _)| set >> i & 1 == 1).map(|(_, r)| r);
        let (mut policy, mut request) = (policy.clone(), request.clone());
        chosen().for_each(|(_, change)| change(&mut policy, &mut request));
        let document = read(&policy.to_string())?;
        let is_said = word(&outcome(&document, &request, Doubt::Allows)) == said;
        is_said.then(|| chosen().map(|(name, _)| *name).collect::<Vec<_>>().join(" + "))
    })
}

fn judge_implications(report: &mut dyn FnMut(Value)) -> Counts {
    let mut counts = Counts::default();
    let answers: HashMap<u64, Value> = lines("z3.ndjson").map(|a| (a["n"].as_u64().unwrap(), a)).collect();
    for case in lines("implications.ndjson") {
        let Some(answer) = answers.get(&case["n"].as_u64().unwrap()) else { continue };
        let (ours, said) = (case["answer"].as_str().unwrap(), answer["answer"].as_str().unwrap());
        let ours_is_possible =
            case["answer"] != "fails" || is_in_domain(case["witness"]["resource"].as_str().unwrap());
        if !ours_is_possible || said == "refused" {
            counts.unexplained += 1;
            report(
                json!({"oracle": "z3", "case": case, "z3": answer, "witness is in the domain": ours_is_possible}),
            );
        } else if !["holds", "fails"].contains(&said) {
            // Why a solver gave up is its own affair; what was not encoded is named.
            let why = answer["why"].as_str().filter(|_| said != "unknown").unwrap_or("timeout");
            *counts.open.entry(format!("{said}: {why}")).or_default() += 1;
        } else if ours == said {
            counts.agree += 1;
        } else if ours == "undecided" {
            *counts.open.entry(format!("undecided by us, z3: {said}")).or_default() += 1;
        } else if let Some(reason) = known_difference(&case, answer) {
            *counts.known.entry(reason.to_owned()).or_default() += 1;
        } else {
            counts.unexplained += 1;
            report(json!({"oracle": "z3", "case": case, "z3": answer}));
        }
    }
    counts
}

/// Narrow reasons only: a request of z3's that nobody can make, or one of ours that z3's bounds leave out.
fn known_difference(case: &Value, answer: &Value) -> Option<&'static str> {
    if case["answer"] == "holds" {
        let request: Request = serde_json::from_value(answer["request"].clone()).unwrap();
        // What the evaluator allows and the engine did not see is unsound, wherever the resource lies in the domain.
        return (!is_in_domain(&request.resource)).then_some("outside-the-domain");
    }
    let witness: Request = serde_json::from_value(case["witness"].clone()).unwrap();
    witness.context.values().any(|v| v.len() > 3).then_some("set-of-more-than-three")
}

/// A request made of the words of a document: as they stand, with their wildcards filled in, a character longer or shorter.
fn near(dice: &mut Dice, document: &Document, principals: bool) -> Request {
    let mut request = generate::request(dice, principals);
    let statement = &document.statements[dice.below(document.statements.len())];
    let word = |dice: &mut Dice, words: &[access::policy::Word]| {
        (!words.is_empty()).then(|| {
            let at = dice.below(words.len());
            varied(dice, &words[at].text)
        })
    };
    if let Some(action) = word(dice, &statement.action.values)
        && action.split(':').count() == 2
        && !action.starts_with(':')
        && !action.ends_with(':')
    {
        request.action = action;
    }
    if let Some(resource) = statement.resource.as_ref().and_then(|r| word(dice, &r.values))
        && is_in_domain(&resource)
    {
        request.resource = resource;
    }
    let conditions = document.statements.iter().flat_map(|s| &s.conditions);
    let mut keys: BTreeMap<String, (BTreeSet<&str>, bool)> = BTreeMap::new();
    for c in conditions {
        let (words, is_many) = keys.entry(c.name()).or_default();
        words.extend(c.values.iter().map(|w| w.text.as_str()));
        *is_many |= c.operator.quantifier != access::policy::Quantifier::Plain;
    }
    let derived: Context = request
        .context
        .iter()
        .filter(|(k, _)| principals && k.starts_with("aws:principal"))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    for (key, (words, is_many)) in keys {
        let words: Vec<&str> = words.into_iter().collect();
        let n = if is_many { dice.below(4) } else { usize::from(dice.below(5) > 0) };
        if n == 0 || words.is_empty() {
            request.context.remove(&key);
        } else {
            let mut values = Vec::new();
            for _ in 0..n {
                let at = dice.below(words.len());
                values.push(value_near(dice, &key, words[at]));
            }
            request.context.insert(key, values);
        }
    }
    if principals {
        request.context.retain(|k, _| !k.starts_with("aws:principal"));
        request.context.extend(derived);
    }
    request
}

/// A value for a key: numbers, dates and addresses as they stand, other words varied.
fn value_near(dice: &mut Dice, key: &str, word: &str) -> String {
    let looks_typed = word.chars().all(|c| c.is_ascii_hexdigit() || ".:-/TZ".contains(c))
        && word.contains(|c: char| c.is_ascii_digit());
    if key.ends_with("ip") {
        let address = word.split('/').next().unwrap_or(word);
        return if dice.below(3) == 0 { "10.1.2.3".to_owned() } else { address.to_owned() };
    }
    if looks_typed || matches!(word, "true" | "false") {
        return if dice.below(4) > 0 {
            word.to_owned()
        } else {
            (*dice.one(&["true", "false", "5", "2026-06-01T00:00:00Z"])).to_owned()
        };
    }
    varied(dice, word)
}

fn varied(dice: &mut Dice, word: &str) -> String {
    let mut out = String::new();
    let mut rest = word;
    while let Some(c) = rest.chars().next() {
        if let Some((_, behind)) = rest.strip_prefix("${").and_then(|r| r.split_once('}')) {
            out += dice.one(&["a", "ab", "zz", "x"]);
            rest = behind;
            continue;
        }
        match c {
            '*' => out += dice.one(&["", "x", "a/b", "Aa1", "b"]),
            '?' => out += dice.one(&["x", "b", ""]),
            c => out.push(c),
        }
        rest = rest.get(c.len_utf8()..).unwrap();
    }
    match dice.below(8) {
        0 => out.push('x'),
        1 => drop(out.pop()),
        2 => out = out.to_ascii_uppercase(),
        _ => {}
    }
    out
}

/// The policy with one thing changed: an effect turned over, an element negated, a list shortened, a text widened, an operator weakened
/// or turned over.
fn mutated(dice: &mut Dice, text: &str) -> String {
    let mut root: Value = serde_json::from_str(text).unwrap();
    let statements = match &mut root["Statement"] {
        Value::Array(all) => all.iter_mut().collect::<Vec<_>>(),
        one => vec![one],
    };
    let n = statements.len();
    let Some(Value::Object(statement)) = statements.into_iter().nth(dice.below(n.max(1))) else {
        return text.to_owned();
    };
    match dice.below(7) {
        0 => {
            let turned = if statement["Effect"] == "Allow" { "Deny" } else { "Allow" };
            statement.insert("Effect".to_owned(), json!(turned));
        }
        1 => negate(statement, dice.one(&["Action", "Resource", "Principal"])),
        2 | 3 => {
            if let Some(words) = statement.get_mut(dice.one(&["Action", "Resource"])) {
                change(dice, words);
            }
        }
        _ => {
            let Some(Value::Object(operators)) = statement.get_mut("Condition") else {
                return root.to_string();
            };
            let name = operators.keys().nth(dice.below(operators.len().max(1))).cloned().unwrap_or_default();
            match dice.below(4) {
                0 => drop(operators.remove(&name)),
                1 if !name.ends_with("IfExists") && name != "Null" => {
                    let of = operators.remove(&name).unwrap_or_default();
                    operators.insert(format!("{name}IfExists"), of);
                }
                2 => {
                    for (one, other) in [
                        ("StringEquals", "StringNotEquals"),
                        ("StringLike", "StringNotLike"),
                        ("Bool", "BoolIfExists"),
                    ] {
                        if name == one || name == other {
                            let of = operators.remove(&name).unwrap_or_default();
                            operators.insert(if name == one { other } else { one }.to_owned(), of);
                        }
                    }
                }
                _ => {
                    if let Some(Value::Object(keys)) = operators.get_mut(&name) {
                        keys.values_mut().for_each(|words| change(dice, words));
                    }
                }
            }
        }
    }
    root.to_string()
}

fn negate(statement: &mut serde_json::Map<String, Value>, of: &str) {
    let not = format!("Not{of}");
    if let Some(value) = statement.remove(of) {
        statement.insert(not, value);
    } else if let Some(value) = statement.remove(&not) {
        statement.insert(of.to_owned(), value);
    }
}

/// A list without one of its texts, or a text cut and widened.
fn change(dice: &mut Dice, words: &mut Value) {
    match words {
        Value::Array(all) if all.len() > 1 && dice.below(2) == 0 => drop(all.remove(dice.below(all.len()))),
        Value::Array(all) if !all.is_empty() => {
            let at = dice.below(all.len());
            change(dice, &mut all[at]);
        }
        Value::String(text) if text.is_ascii() && text.len() > 2 && !text.contains("${") => {
            let keep = text.len() - 1 - dice.below(2);
            *text = format!("{}{}", text.get(..keep).unwrap(), dice.one::<str>(&["*", "?", ""]));
        }
        _ => {}
    }
}
