//! What findings promise as a set (access.md 10.4, 11): each says something that no other says, its residue is what is cut out of it,
//! and what is blamed for holding a request back is all that does, and nothing more.

use crate::generate::Dice;
use crate::outside::{Kind, estate};
use crate::outsiders::{Case, Covering, bundle_of, is_of};
use crate::run::{Run, setting};
use access::Request;
use access::bundle::{Bundle, Part};
use access::estate::world_of;
use access::eval::decide::decide;
use access::eval::{Doubt, outcome};
use access::external::external;
use access::finding::{Exactness, Finding, Rule, Source};
use access::policy::{Document, Duplicates, parse};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Requests of which findings are judged, beside their witnesses.
const SAMPLE: usize = 1_500;

/// Requests that somebody outside can make and a grant of a resource applies to. With `few` or less in all: every one.
fn sample(dice: &mut Dice, case: &Case<'_>, kind: Kind, few: u64) -> (Vec<Request>, bool) {
    let mut out: Vec<Request> = case.analysis.findings.iter().filter_map(|f| f.witness.clone()).collect();
    let mut take = |request: &Request| {
        let is_granted = !decide(case.bundle, request).allowing.is_empty() && case.is_outsiders(request);
        if is_granted {
            out.push(request.clone());
        }
        is_granted
    };
    let space = case.space(kind);
    let is_whole = space.size() < few;
    if is_whole {
        space.each(|request| {
            take(request);
            true
        });
    } else {
        space.some(dice, SAMPLE, take);
    }
    (out, is_whole)
}

/// What a finding excepts, as denials in its own words; and whether it excepts something that is no statement.
pub fn residue(finding: &Finding) -> (Vec<Document>, bool) {
    let mut is_special = false;
    let mut out = Vec::new();
    for conjunction in &finding.residue {
        let mut statement = json!({"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {}});
        let mut is_statement = false;
        for (key, tests) in conjunction {
            for test in tests {
                let not = if test.operator == "not in" { "Not" } else { "" };
                match key.as_str() {
                    "Principal" => {
                        let of = statement.as_object_mut().unwrap();
                        of.insert(format!("{not}Principal"), principals(&test.values));
                    }
                    "Action" | "Resource" => {
                        is_statement = true;
                        let of = statement.as_object_mut().unwrap();
                        of.remove(key);
                        of.insert(format!("{not}{key}"), json!(test.values));
                    }
                    key => {
                        let of = &mut statement["Condition"][test.operator.as_str()];
                        if of.is_null() {
                            *of = json!({});
                        }
                        of[key] = json!(test.values);
                    }
                }
            }
        }
        is_special |= !is_statement;
        if is_statement {
            // Where a text has a variable the finding is not exact, and not looked at.
            let text = json!({"Version": "2008-10-17", "Statement": [statement]}).to_string();
            out.push(parse(&text, Duplicates::LastWins).unwrap());
        }
    }
    (out, is_special)
}

/// A residue names principals without saying of which kind.
fn principals(texts: &[String]) -> Value {
    let mut out = json!({"AWS": [], "Service": [], "CanonicalUser": [], "Federated": []});
    for text in texts {
        let kind = match text.as_str() {
            "*" => return json!("*"),
            t if t.contains("-provider/") || t == "accounts.google.com" => "Federated",
            t if t.starts_with("arn:") || t.starts_with("A") || t.len() == 12 => "AWS",
            t if t.contains(".amazonaws.com") => "Service",
            _ => "CanonicalUser",
        };
        out[kind].as_array_mut().unwrap().push(json!(text));
    }
    out.as_object_mut().unwrap().retain(|_, of| of != &json!([]));
    out
}

/// Coverage, precision, minimality and residue, over `AVOUCH_POLICIES` random resources.
#[test]
fn findings_as_a_set() {
    let (policies, few) = (setting("AVOUCH_POLICIES", 400), setting("AVOUCH_PRODUCT", 3_000).min(100_000));
    let mut run = Run::new("findings", 19);
    let mut dice = Dice::new(run.seed);
    let (mut findings, mut told_apart, mut not_seen, mut unions) = (0u64, 0u64, 0u64, 0u64);
    while run.policies < policies {
        let kind = Kind::ALL[run.policies as usize % 4];
        let estate = estate(&mut dice, kind);
        let bundle = bundle_of(&estate);
        let case = Case::of(&estate, &bundle);
        run.policies += 1;
        let (sample, is_whole) = sample(&mut dice, &case, kind, few);
        run.pairs += sample.len() as u64;
        findings += case.open.len() as u64;
        let outsiders: Vec<&Request> = sample.iter().filter(|r| case.is_outsiders(r)).collect();
        let allowed: Vec<&Request> = outsiders.iter().copied().filter(|r| case.is_allowed(r)).collect();
        // By finding, which of the allowed requests it is about.
        let about: Vec<Vec<bool>> =
            case.open.iter().map(|c| allowed.iter().map(|r| case.covers(c, r)).collect()).collect();
        for (at, request) in allowed.iter().enumerate() {
            if !about.iter().any(|of| of[at]) {
                run.contradiction(&|| format!("in no finding: {request:?}\n{}", case.told()));
            }
        }
        for (one, covering) in case.open.iter().enumerate() {
            let finding = &case.analysis.findings[covering.at];
            let is_exact = finding.exactness == Exactness::Exact;
            if is_exact && !about[one].iter().any(|is| *is) && is_whole {
                run.contradiction(&|| format!("nobody is in {finding:?}\n{}", case.told()));
            }
            let mut narrower = vec![false; allowed.len()];
            for two in (0..about.len()).filter(|two| *two != one) {
                let is_inside = |a: usize, b: usize| about[a].iter().zip(&about[b]).all(|(a, b)| !*a || *b);
                let is_wider = is_inside(one, two);
                match (is_wider, is_whole && is_exact) {
                    (false, _) => told_apart += 1,
                    (true, true) if has_all_actions(&case, finding, two) => run.contradiction(&|| {
                        format!("within another: {finding:?}\n{:?}\n{}", case.open[two].at, case.told())
                    }),
                    (true, _) => not_seen += 1,
                }
                if !is_wider && is_inside(two, one) {
                    narrower.iter_mut().zip(&about[two]).for_each(|(slot, is)| *slot |= is);
                }
            }
            let has_own = about[one].iter().zip(&narrower).any(|(is, narrow)| *is && !*narrow);
            unions += u64::from(is_whole && is_exact && !has_own);
            if is_exact {
                holds_its_residue(&mut run, &case, covering, finding, &outsiders);
            }
        }
    }
    run.end(&format!(
        "{findings} findings, {told_apart} two told apart, {not_seen} not seen to be, {unions} unions of narrower ones"
    ));
    assert!(told_apart > 10 * not_seen, "{told_apart} {not_seen}");
}

/// Whether another finding has every action of one: else the sample may lack the action that tells them apart.
fn has_all_actions(case: &Case<'_>, finding: &Finding, two: usize) -> bool {
    let other = &case.analysis.findings[case.open[two].at];
    finding.actions.iter().all(|action| other.actions.iter().any(|a| a.name == action.name))
}

/// Of the requests that a finding is about, those that its residue names are refused, and no others are.
fn holds_its_residue(
    run: &mut Run,
    case: &Case<'_>,
    covering: &Covering,
    finding: &Finding,
    requests: &[&Request],
) {
    let (excepted, is_special) = residue(finding);
    for request in requests.iter().filter(|r| case.covers(covering, r)) {
        let is_excepted = excepted.iter().any(|d| outcome(d, request, Doubt::Allows).is_allowed());
        let is_allowed = case.is_allowed(request);
        if is_excepted == is_allowed && (is_excepted || !is_special) {
            let word = if is_allowed { "allowed, and excepted" } else { "refused, and not excepted" };
            run.contradiction(&|| format!("{word}: {request:?}\n{finding:?}\n{}", case.told()));
        }
    }
}

/// A bundle without what some sources name.
fn without(bundle: &Bundle, sources: &[&Source]) -> Bundle {
    let mut out = bundle.clone();
    let strip = |part: &mut Part| {
        let name = part.name.clone();
        let is_kept: Vec<bool> = part
            .document
            .statements
            .iter()
            .map(|s| !sources.iter().any(|source| is_of(source, &name, s)))
            .collect();
        let mut kept = is_kept.iter();
        part.document.statements.retain(|_| *kept.next().unwrap());
        let mut kept = is_kept.iter();
        part.stopped_by.retain(|_| *kept.next().unwrap());
        // A switch that takes grants' effects away.
        for stop in &mut part.stopped_by {
            if stop.is_some_and(|stop| sources.iter().any(|s| s.document == stop.name)) {
                *stop = None;
            }
        }
    };
    out.parts.iter_mut().for_each(strip);
    out.levels.iter_mut().flat_map(|l| l.parts.iter_mut()).for_each(strip);
    out
}

/// Every set that a finding blames opens it to somebody when it is taken away; a part of the set opens it to nobody. Over
/// `AVOUCH_POLICIES` random resources.
#[test]
fn what_is_blamed_is_what_holds_back() {
    let policies = setting("AVOUCH_POLICIES", 2_000);
    let mut run = Run::new("blame", 23);
    let mut dice = Dice::new(run.seed);
    let (mut sets, mut several, mut not_seen) = (0u64, 0u64, 0u64);
    while run.policies < policies {
        let kind = Kind::ALL[run.policies as usize % 4];
        let estate = estate(&mut dice, kind);
        let bundle = bundle_of(&estate);
        let case = Case::of(&estate, &bundle);
        run.policies += 1;
        let is_held = |f: &&Finding| f.rule == Rule::HeldBack && f.exactness == Exactness::Exact;
        let held: Vec<&Finding> = case.analysis.findings.iter().filter(is_held).collect();
        if held.is_empty() {
            continue;
        }
        let (sample, _) = sample(&mut dice, &case, kind, 20_000);
        let refused: Vec<&Request> =
            sample.iter().filter(|r| case.is_outsiders(r) && !case.is_allowed(r)).collect();
        for finding in held {
            let covering = Covering::of(&bundle, finding);
            let of: Vec<&Request> = refused.iter().copied().filter(|r| case.covers(&covering, r)).collect();
            run.pairs += of.len() as u64;
            for set in &finding.held_back_by {
                sets += 1;
                several += u64::from(set.len() > 1);
                let all: Vec<&Source> = set.iter().collect();
                let opened = without(&bundle, &all);
                let is_opened = |r: &&&Request| decide(&opened, r).is_allowed;
                if !of.iter().any(|r| is_opened(&r)) {
                    not_seen += 1;
                    // What the analysis would show of it, if the evaluator agrees, else a longer search.
                    let is_shown = external(&opened, &world_of(&estate, &opened), &estate.zone);
                    let is_shown = is_shown.findings.iter().filter_map(|f| f.witness.as_ref()).any(|r| {
                        case.is_outsiders(r)
                            && !case.is_allowed(r)
                            && case.covers(&covering, r)
                            && decide(&opened, r).is_allowed
                    });
                    if !is_shown && !search_opens(&mut dice, &case, kind, &opened, &covering, finding) {
                        run.contradiction(&|| format!("{set:?} opens nothing: {finding:?}\n{}", case.told()));
                    }
                }
                for left in 0..set.len() {
                    let mut part = all.clone();
                    part.remove(left);
                    let opened = without(&bundle, &part);
                    if let Some(request) = of.iter().find(|r| decide(&opened, r).is_allowed) {
                        run.contradiction(&|| {
                            format!("{part:?} is enough: {request:?}\n{finding:?}\n{}", case.told())
                        });
                    }
                }
            }
        }
    }
    run.end(&format!("{sets} sets, {several} of them of several, {not_seen} after a longer search"));
    assert!(sets > policies / 20 && several > 0, "{sets} sets, {several} of several");
}

/// Whether a longer search finds a request of a finding that was refused and is allowed by what is left.
fn search_opens(
    dice: &mut Dice,
    case: &Case<'_>,
    kind: Kind,
    opened: &Bundle,
    covering: &Covering,
    finding: &Finding,
) -> bool {
    let mut is_found = false;
    let mut space = case.space(kind);
    // Also actions that begin as one text and end as another: two patterns may share no action that is known.
    let documents = case.facts.documents();
    let texts = || documents.iter().flat_map(|d| &d.statements).flat_map(|s| &s.action.values);
    let begins = || texts().filter_map(|w| w.text.split_once('*')).map(|(before, _)| before);
    let ends = || texts().filter_map(|w| w.text.rsplit_once('*')).map(|(_, behind)| behind);
    let both = begins().filter(|before| before.contains(':'));
    let both: BTreeSet<String> = both.flat_map(|b| ends().map(move |e| format!("{b}x{e}"))).collect();
    space.actions.extend(both);
    let mut visit = |request: &Request| {
        let is_near = !is_found && case.is_outsiders(request) && case.covers(covering, request);
        is_found |= is_near && !case.is_allowed(request) && decide(opened, request).is_allowed;
        is_near
    };
    for start in finding.witness.iter().cycle().take(20) {
        space.beside(dice, start, 2_000, &mut visit);
    }
    for _ in 0..20 {
        space.some(dice, 5_000, &mut visit);
    }
    is_found
}
