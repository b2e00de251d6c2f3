//! The engine against the evaluator, on random policies and requests.

use crate::generate::{Dice, policy, policy_about, request, twins};
use access::check::readings;
use access::eval::{Doubt, outcome, outcome_in};
use access::reading::{Reading, touched};
use access::symbolic::{Verdict, implies};

/// Requests in all. `AVOUCH_PAIRS` sets another number, `AVOUCH_REQUESTS_EACH` how many of them a pair of policies gets,
/// `AVOUCH_SEED` another seed; the seed of a run is printed.
fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(otherwise)
}

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

/// No request that the candidate allows and the reference does not, where the engine says there is none; and a request that the
/// evaluator confirms, where it says there is one.
#[test]
fn engine_and_evaluator_agree() {
    let (pairs, seed) = (setting("AVOUCH_PAIRS", 1_000_000), setting("AVOUCH_SEED", 7));
    let requests = setting("AVOUCH_REQUESTS_EACH", 250);
    println!("{pairs} pairs of policies and requests, seed {seed}");
    let mut dice = Dice::new(seed);
    let (mut holds, mut fails, mut undecided, mut open) = (0, 0, 0, 0);
    for n in 0..pairs.div_ceil(requests) {
        let principals = n % 2 == 1;
        // Of six, two are about the key that holds several values, two about another.
        let key = match n / 2 % 3 {
            0 => Some(3),
            1 => Some(n as usize / 6),
            _ => None,
        };
        let (p, q) = if let Some(key) = key.filter(|_| n % 4 < 2) {
            twins(&mut dice, principals, key)
        } else {
            let mut policy = || policy_about(&mut dice, principals, key);
            let (p, q) = (policy(), policy());
            // Many of the questions are about a policy and the same with more statements: those often hold.
            let more = statements(&q);
            let q = if n % 8 < 4 { q.clone() } else { p.replacen("[{", &format!("[{more},{{"), 1) };
            (p, q)
        };
        // What two documents share word for word is not analysed: other words for the same.
        let q = if n % 3 == 0 { reworded(&q) } else { q };
        let (Ok(p), Ok(q)) = (readings(&p), readings(&q)) else { continue };
        let (p, q) = (&p[0], &q[0]);
        let verdict = implies(p, q);
        match &verdict {
            Verdict::Holds => holds += 1,
            Verdict::Fails(request) => {
                fails += 1;
                assert!(
                    outcome(p, request, Doubt::Allows).is_allowed(),
                    "{}\n{}\n{request:?}",
                    p.text,
                    q.text
                );
                assert!(
                    !outcome(q, request, Doubt::Forbids).is_allowed(),
                    "{}\n{}\n{request:?}",
                    p.text,
                    q.text
                );
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
                // Without variables and without widening the engine is exact: what it finds, the evaluator confirms.
                assert_ne!(why, "the evaluator does not confirm the request", "{}\n{}", p.text, q.text);
                undecided += 1;
            }
        }
        for _ in 0..requests {
            let request = request(&mut dice, principals);
            let differs = outcome(p, &request, Doubt::Allows).is_allowed()
                && !outcome(q, &request, Doubt::Forbids).is_allowed();
            assert!(!differs || verdict != Verdict::Holds, "{}\n{}\n{request:?}", p.text, q.text);
        }
    }
    println!("{holds} hold, {fails} fail, {undecided} undecided, {open} depend on a reading");
    assert!(open * 10 < holds + fails, "{open} depend on a reading");
    assert!(holds * 20 > holds + fails, "too few implications hold for the test to mean much");
    assert!(undecided * 50 < holds + fails, "{undecided} undecided");
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
