//! The engine against the evaluator, on random policies and requests.

use crate::boundaries::{Space, Who, callers};
use crate::corpora;
use crate::generate::{Dice, policy, policy_about, request, twins};
use crate::mutate::mutated;
use crate::run::{Run, setting};
use access::Request;
use access::check::readings;
use access::eval::{Doubt, outcome, outcome_in};
use access::policy::Document;
use access::reading::{Reading, touched};
use access::symbolic::{Verdict, implies};
use serde_json::Value;

/// What stands in the list of statements of a generated policy.
fn statements(policy: &str) -> &str {
    policy
        .split_once("\"Statement\":[")
        .and_then(|(_, rest)| rest.rsplit_once(']'))
        .map(|(inside, _)| inside)
        .unwrap()
}

/// The same policy in other words: two `*` in a row are one. What two documents have in common word by word is never analysed, so
/// this is what brings policies that allow the same to the engine.
fn reworded(policy: &str) -> String {
    let mut parts = policy.split("Resource\":");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let ends = [",\"Condition\"", "\"}", "]}"];
        let end = ends.iter().filter_map(|end| part.find(end)).min().unwrap();
        let (resources, rest) = part.split_at(end);
        out += &format!("Resource\":{}{rest}", resources.replace('*', "**"));
    }
    out
}

/// Two policies, in words that the other does not use.
struct Pair {
    one: String,
    two: String,
    /// Whether requests of the generator mean anything to them: they are made of its words.
    is_ours: bool,
    principals: bool,
}

/// One pair of policies. Of eight, five are of the generator, two of them changed, one is a changed policy of others.
fn drawn(dice: &mut Dice, n: u64, others: &[Value]) -> Pair {
    let principals = n % 2 == 1;
    // Of six, two are about the key that holds several values, two about another.
    let key = match n / 2 % 3 {
        0 => Some(3),
        1 => Some(n as usize / 6),
        _ => None,
    };
    let text = |value: &Value| value.to_string();
    if n % 8 == 5 && !others.is_empty() {
        let one = &others[dice.below(others.len())];
        let (a, b) = (mutated(dice, one), if dice.below(2) == 0 { one.clone() } else { mutated(dice, one) });
        let principals = text(one).contains("Principal\":");
        return Pair { one: text(&a), two: text(&b), is_ours: false, principals };
    }
    if n % 8 == 6 || n % 8 == 7 {
        let one: Value = serde_json::from_str(&policy_about(dice, principals, key)).unwrap();
        let (a, b) =
            (mutated(dice, &one), if dice.below(2) == 0 { one.clone() } else { mutated(dice, &one) });
        return Pair { one: text(&a), two: text(&b), is_ours: true, principals };
    }
    let (one, two) = if let Some(key) = key.filter(|_| n % 4 < 2) {
        twins(dice, principals, key)
    } else {
        let (p, q) = (policy_about(dice, principals, key), policy_about(dice, principals, key));
        // Many of the questions are about a policy and the same with more statements: those often hold.
        let more = statements(&q);
        let q = if n % 8 < 4 { q.clone() } else { p.replacen("[{", &format!("[{more},{{"), 1) };
        (p, q)
    };
    // What two documents share word for word is not analysed: other words for the same.
    let two = if n.is_multiple_of(3) { reworded(&two) } else { two };
    Pair { one, two, is_ours: true, principals }
}

/// Whether a request shows that the one document allows what the other does not.
fn differs(p: &Document, q: &Document, request: &Request) -> bool {
    outcome(p, request, Doubt::Allows).is_allowed() && !outcome(q, request, Doubt::Forbids).is_allowed()
}

/// The requests that two documents could tell apart.
fn space(p: &Document, q: &Document, principals: bool) -> Space {
    let people: Vec<Who> = if principals { callers(&[p, q]) } else { vec![(None, access::Context::new())] };
    let more = |part: &str| -> Vec<String> {
        let words: &[&str] = match part {
            "action" => &["s3:GetObject", "s3:PutObject", "iam:PassRole", "zz:Zz"],
            "resource" => &["*", "arn:aws:s3:::a/b", "arn:aws:s3:::a/cb", "arn:aws:iam::111111111111:role/x"],
            _ => &[],
        };
        words.iter().map(|w| (*w).to_owned()).collect()
    };
    Space::of(&[p, q], people, &more)
}

/// No request that the candidate allows and the reference does not, where the engine says there is none; and a request that the
/// evaluator confirms, where it says there is one. `AVOUCH_PAIRS` requests in all, `AVOUCH_REQUESTS_EACH` of them to each two policies.
#[test]
fn engine_and_evaluator_agree() {
    let (pairs, requests) = (setting("AVOUCH_PAIRS", 600_000), setting("AVOUCH_REQUESTS_EACH", 100));
    let mut run = Run::new("implications", 7);
    let mut dice = Dice::new(run.seed);
    let others = corpora::small();
    let (mut holds, mut fails, mut undecided, mut open) = (0u64, 0u64, 0u64, 0u64);
    let mut n = 0u64;
    // Requests in the generator's words serve many policies, and are made anew from time to time.
    let mut pools: [Vec<Request>; 2] = [Vec::new(), Vec::new()];
    while run.pairs < pairs {
        if n.is_multiple_of(2_000) {
            pools = [false, true].map(|who| (0..1_024).map(|_| request(&mut dice, who)).collect());
        }
        let drawn = drawn(&mut dice, n, &others);
        n += 1;
        let (Ok(p), Ok(q)) = (readings(&drawn.one), readings(&drawn.two)) else { continue };
        let (p, q) = (&p[0], &q[0]);
        run.policies += 2;
        let verdict = implies(p, q);
        let told = || format!("{}\n{}", p.text, q.text);
        match &verdict {
            Verdict::Holds => holds += 1,
            Verdict::Fails(request) => {
                fails += 1;
                if !differs(p, q, request) {
                    run.contradiction(&|| format!("not confirmed: {request}\n{}", told()));
                }
            }
            // What not all readings say (tests/it/readings.rs): the request is so in some of them.
            Verdict::Undecided(why, Some(request)) if why.contains("leaves open") => {
                let all: Vec<Reading> = touched([p, q].into_iter()).combinations().collect();
                let differs = |reading: &&Reading| {
                    outcome_in(p, request, Doubt::Allows, **reading).is_allowed()
                        && !outcome_in(q, request, Doubt::Forbids, **reading).is_allowed()
                };
                let count = all.iter().filter(differs).count();
                assert!(0 < count && count < all.len(), "{}\n{}\n{request:?}", p.text, q.text);
                open += 1;
            }
            Verdict::Undecided(why, _) => {
                undecided += 1;
                // Without variables and without widening the engine is exact: what it finds, the evaluator confirms.
                if why == "the evaluator does not confirm the request" {
                    run.contradiction(&|| format!("{why}: {}", told()));
                }
            }
        }
        let is_held = verdict == Verdict::Holds;
        let mut shown: Option<Request> = None;
        let mut look = |request: &Request| {
            let is_allowed = outcome(p, request, Doubt::Allows).is_allowed();
            if is_allowed && is_held && differs(p, q, request) {
                shown.get_or_insert_with(|| request.clone());
            }
            is_allowed
        };
        let pool = &pools[usize::from(drawn.principals)];
        let of_pool = if drawn.is_ours { requests as usize / 4 } else { 0 };
        for _ in 0..of_pool {
            look(&pool[dice.below(pool.len())]);
        }
        space(p, q, drawn.principals).some(&mut dice, requests as usize - of_pool, &mut look);
        run.add(requests);
        if let Some(request) = shown {
            run.contradiction(&|| format!("said to hold, but {request}\n{request:?}\n{}", told()));
        }
    }
    run.end(&format!("{holds} hold, {fails} fail, {undecided} undecided, {open} depend on a reading"));
    assert!(open * 10 < holds + fails, "{open} depend on a reading");
    assert!(holds * 20 > holds + fails, "too few implications hold for the test to mean much");
    assert!(undecided * 50 < holds + fails, "{undecided} undecided");
}

/// Where there are few enough requests that two documents could tell apart, all of them: none contradicts "nothing new".
/// `AVOUCH_PRODUCT` is how many are few, `AVOUCH_WHOLE` how many implications that hold are looked at.
#[test]
fn every_request_that_could_tell_them_apart() {
    let (few, wanted) = (setting("AVOUCH_PRODUCT", 30_000), setting("AVOUCH_WHOLE", 300));
    let mut run = Run::new("implications, each request", 13);
    let mut dice = Dice::new(run.seed);
    let others = corpora::small();
    let (mut whole, mut larger) = (0u64, 0u64);
    let mut n = 0u64;
    while whole < wanted {
        let drawn = drawn(&mut dice, n, &others);
        n += 1;
        let (Ok(p), Ok(q)) = (readings(&drawn.one), readings(&drawn.two)) else { continue };
        let (p, q) = (&p[0], &q[0]);
        if implies(p, q) != Verdict::Holds {
            continue;
        }
        run.policies += 2;
        let space = space(p, q, drawn.principals);
        if space.size() >= few {
            larger += 1;
            continue;
        }
        whole += 1;
        space.each(|request| {
            run.add(1);
            let is_wrong = differs(p, q, request);
            if is_wrong {
                run.contradiction(&|| format!("said to hold, but {request}\n{}\n{}", p.text, q.text));
            }
            !is_wrong
        });
    }
    run.end(&format!("{whole} enumerated, {larger} have {few} requests or more"));
}

/// Everything implies itself, and more statements of either kind only make it so one way.
#[test]
fn metamorphic() {
    let mut dice = Dice::new(setting("AVOUCH_SEED", 11));
    for n in 0..1_500 {
        let principals = n % 2 == 1;
        let (one, two) = (policy(&mut dice, principals), policy(&mut dice, principals));
        let read = |statements: &str| {
            readings(&format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#)).unwrap().remove(0)
        };
        let (one, two) = (statements(&one), statements(&two));
        let base = read(one);
        let same = read(&reworded(one));
        for (a, b) in [(&base, &base), (&base, &same), (&same, &base)] {
            assert_ne!(fails(&implies(a, b)), Some(true), "{one}");
        }
        let allow = read(&format!("{one},{}", two.replace("\"Deny\"", "\"Allow\"")));
        let deny = read(&format!("{one},{}", two.replace("\"Allow\"", "\"Deny\"")));
        for base in [&base, &same] {
            assert_ne!(fails(&implies(base, &allow)), Some(true), "more is allowed: {one}\n{two}");
            assert_ne!(fails(&implies(&deny, base)), Some(true), "less is allowed: {one}\n{two}");
        }
        // Order and labels mean nothing.
        let mut turned: Vec<&str> = one.split("},{").collect();
        turned.reverse();
        let turned = format!("{{{}}}", turned.join("},{").trim_matches(['{', '}']));
        if let Ok(other) = readings(&format!(r#"{{"Version":"2012-10-17","Statement":[{turned}]}}"#)) {
            assert_ne!(fails(&implies(&base, &other[0])), Some(true), "{one}\n{turned}");
            assert_ne!(fails(&implies(&other[0], &base)), Some(true), "{one}\n{turned}");
        }
    }
}

fn fails(verdict: &Verdict) -> Option<bool> {
    match verdict {
        Verdict::Holds => Some(false),
        Verdict::Fails(_) => Some(true),
        Verdict::Undecided(..) => None,
    }
}

/// Questions that were once answered with "nothing new": each has a request.
#[test]
fn answers_that_were_wrong_once() {
    let policy = |body: &str| {
        let text = format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"s3:GetObject",{body}}}]}}"#
        );
        readings(&text).unwrap().remove(0)
    };
    let nothing = readings(r#"{"Statement":[]}"#).unwrap().remove(0);
    let all = policy(r#""Principal":"*","Resource":"*""#);
    let only =
        |condition: &str| policy(&format!(r#""Principal":"*","Resource":"*","Condition":{{{condition}}}"#));
    let user = |operator: &str| {
        policy(&format!(r#""Resource":"*","Condition":{{"{operator}":{{"aws:x":"${{aws:username}}"}}}}"#))
    };
    for (new, existing) in [
        // Principals of other partitions, and of STS.
        (policy(r#""Principal":{"AWS":"arn:aws-cn:iam::111111111111:role/x"},"Resource":"*""#), &nothing),
        (
            policy(r#""Principal":{"AWS":"arn:aws:sts::111111111111:federated-user/f"},"Resource":"*""#),
            &nothing,
        ),
        // An ARN is no address: the condition never holds.
        (all.clone(), &only(r#""IpAddress":{"aws:PrincipalArn":"0.0.0.0/0"}"#)),
        // The same variable under another operator is another question.
        (user("StringEqualsIgnoreCase"), &user("StringEquals")),
        (user("StringNotEquals"), &user("StringNotEqualsIgnoreCase")),
        // `*`, the resource of actions that know none, has one character.
        (policy(r#""Resource":"*?""#), &policy(r#""Resource":"arn:*""#)),
        // More digits than are read: no number.
        (
            policy(r#""Resource":"*","Condition":{"NumericLessThan":{"s3:max-keys":"5"}}"#),
            &policy(
                r#""Resource":"*","Condition":{"NumericLessThan":{"s3:max-keys":"999999999999999999999999"}}"#,
            ),
        ),
    ] {
        let verdict = implies(&new, existing);
        assert_ne!(verdict, Verdict::Holds, "{}\n{}", new.text, existing.text);
    }
}
