//! Who asks: a dimension of its own, with the keys that follow from it. As free keys they would give requests that nobody can make
//! (our organisation, their account).

use super::dimensions::{Dimension, Part, Value};
use super::keys::{is_met_by_odd, missing, present, string_patterns};
use super::mask::Mask;
use super::patterns::{Atom, Pattern, Patterns, Variables, distinct, mask_of};
use super::strings::{Cache, Capped, Shapes, Token, matches, tokens};
use super::take::{Asked, asked};
use crate::pattern::{Syntax, pieces};
use crate::policy::{Base, Effect, PrincipalKind, Principals};
use crate::reading::Switch;
use crate::request::Principal;
use std::collections::{BTreeMap, BTreeSet};

/// Keys that follow from who asks, as far as the principals of the documents decide them.
pub(super) const DERIVED: [&str; 2] = ["aws:principalarn", "aws:principalaccount"];

/// ARNs of the principals of an account, in any partition: users, roles and the root user are IAM's, federated users STS's.
fn of_account(service: &str, account: &[Token]) -> Vec<Token> {
    let text = |text: &str| text.chars().map(Token::Char).collect::<Vec<_>>();
    let any = [Token::OneInPart, Token::AnyInPart];
    let service = if service.is_empty() { any.to_vec() } else { text(service) };
    [
        &text("arn:"),
        &any[..],
        &text(":"),
        &service,
        &text("::"),
        account,
        &text(":"),
        &[Token::One, Token::Any],
    ]
    .concat()
}

pub(super) fn principal_shapes() -> [Vec<Token>; 2] {
    ["iam", "sts"].map(|service| of_account(service, &[Token::OneInPart, Token::AnyInPart]))
}

/// Who asks, with the keys that follow from it.
pub(super) fn principals<const W: usize>(
    parts: &[Part<'_>],
    variables: &Variables<'_>,
    cache: &mut Cache,
) -> Result<Dimension<W>, Capped> {
    let classes = principal_classes(parts, &DERIVED, &[], variables, cache)?;
    let classes = classes.into_iter().map(|(mask, principal)| (mask, Value::Principal(principal)));
    Ok(Dimension { classes: distinct(classes), widened: None })
}

/// Services that the documents name, and one that they do not.
pub(super) fn hosts(parts: &[Part<'_>]) -> BTreeSet<String> {
    let named = parts.iter().filter_map(|part| part.statement.principal.as_ref()).flat_map(|of| &of.values);
    let named = named.filter(|(kind, _)| *kind == PrincipalKind::Service).map(|(_, word)| word.text.clone());
    named.chain(["z.amazonaws.com".to_owned()]).collect()
}

/// All classes of callers, also those that no statement tells apart. `derived`: keys that are what a caller is. `services`: more of them
/// than the principals of the documents name.
pub(super) fn principal_classes<const W: usize>(
    parts: &[Part<'_>],
    derived: &[&str],
    services: &[String],
    variables: &Variables<'_>,
    cache: &mut Cache,
) -> Result<Vec<(Mask<W>, Principal)>, Capped> {
    let mut patterns = Patterns::default();
    let mut atoms = Vec::new();
    let chars = |text: &str| text.chars().map(Token::Char).collect::<Vec<Token>>();
    let services: BTreeSet<String> = hosts(parts).into_iter().chain(services.iter().cloned()).collect();
    let (mut providers, mut canonical) = (BTreeSet::new(), BTreeSet::new());
    let mut sessions = BTreeSet::new();
    let mut chains: Vec<Chain> = Vec::new();
    for part in parts {
        let Some(listed) = &part.statement.principal else { continue };
        let mut chain = is_chain(part).then(|| Chain { statement: part.bit, ..Chain::default() });
        let is_wide = part.statement.effect == Effect::Allow && !listed.negated;
        let mut of = Vec::new();
        for (kind, word) in &listed.values {
            match kind {
                PrincipalKind::Everyone => of.push(patterns.add(vec![Token::Any])),
                PrincipalKind::Aws if word.text == "*" => of.push(patterns.add(vec![Token::Any])),
                // Ids of what was deleted match nobody.
                PrincipalKind::Aws if is_unique_id(&word.text) => {}
                PrincipalKind::Aws => {
                    let account = word.text.strip_suffix(":root").and_then(|t| t.rsplit(':').next());
                    let account = account.or((!word.text.contains(':')).then_some(word.text.as_str()));
                    let tokens = match account {
                        Some(account) => of_account("", &chars(account)),
                        // Wildcards are forbidden here; where they stand in a grant they may name anybody.
                        None if is_wide => {
                            let syntax = Syntax { wildcards: true, variables: false };
                            tokens(&pieces(&word.text, syntax), false).unwrap_or_default()
                        }
                        None => chars(&word.text),
                    };
                    if let Some(session) = session_of(&word.text) {
                        sessions.insert(session);
                    }
                    let at = patterns.add(tokens);
                    of.push(at);
                    if let Some(chain) = &mut chain {
                        if account.is_some() { &mut chain.accounts } else { &mut chain.own }.push(at);
                        // A session that nobody lists, of a role that is listed.
                        if word.text.contains(":role/") {
                            sessions
                                .insert(Principal::Session { role: word.text.clone(), name: "z".to_owned() });
                        }
                    }
                }
                PrincipalKind::Service => {}
                PrincipalKind::Federated => drop(providers.insert(word.text.clone())),
                PrincipalKind::CanonicalUser => drop(canonical.insert(word.text.clone())),
            }
        }
        let everybody = |(kind, w): &(PrincipalKind, crate::policy::Word)| {
            w.text == "*" && matches!(kind, PrincipalKind::Aws | PrincipalKind::Everyone)
        };
        match chain.filter(|_| !listed.values.iter().any(everybody)) {
            Some(chain) => chains.push(chain),
            None => atoms.push(Atom { statement: part.bit, patterns: of, negated: listed.negated }),
        }
    }
    // A root user is his account.
    let roots = (!chains.is_empty()).then(|| {
        let root = [Token::AnyInPart, Token::Char(':')].repeat(5);
        patterns.add([root, chars("root")].concat())
    });
    let mut conditions: BTreeMap<&str, Vec<Asked<'_>>> = BTreeMap::new();
    for (key, condition) in parts.iter().flat_map(asked) {
        if let Some(key) = derived.iter().find(|of| key == **of) {
            conditions.entry(key).or_default().push(condition);
        }
    }
    // Of the ARN, all conditions on it are patterns; of the account, patterns on the fifth part.
    let mut key_atoms = Vec::new();
    for (key, conditions) in &conditions {
        for asked in conditions {
            let is_account = *key == "aws:principalaccount";
            let operator = asked.condition.operator;
            let patterns_of = match string_patterns(asked, variables) {
                Some(patterns_of) => patterns_of,
                // An ARN is no number, date or address. An account may be read as one, which is not followed.
                None if *key == "aws:principalarn" => Vec::new(),
                None => return Err(Capped),
            };
            let has_name = is_account && asked.reading.has(Switch::AnonymousAccountValue);
            // Whether a text with free variables is that name is not followed.
            if has_name && patterns_of.iter().any(|p| p.free.is_some()) {
                return Err(Capped);
            }
            let anonymous = has_name.then(|| patterns_of.iter().any(|p| matches(&p.tokens, "anonymous")));
            // No account is an ARN, no ARN a number: what is compared with them negated is odd.
            let is_odd = is_met_by_odd(asked) && (*key != "aws:principalarn" || operator.base != Base::Arn);
            let of = patterns_of.into_iter().map(|p| {
                let tokens = if *key != "aws:principalarn" { in_account(&p.tokens) } else { p.tokens };
                patterns.add(Pattern { tokens, free: p.free })
            });
            let atom = Atom { statement: asked.bit, patterns: of.collect(), negated: operator.negated };
            key_atoms.push(KeyAtom { atom, asked: *asked, anonymous, is_odd });
        }
    }
    let found = patterns.classes(Shapes::Callers, "arn:aws:iam::999999999999:user/z", cache)?;
    let mut out = Vec::new();
    for class in found {
        let mut mask: Mask<W> = mask_of(&atoms, &class.matched);
        met(&key_atoms, &mut mask, |of| {
            present(of.asked.condition, of.is_odd || of.atom.is_hit(&class.matched))
        });
        let hit = |of: &[usize]| of.iter().any(|p| class.matched.get(*p) == Some(&true));
        for chain in &chains {
            if hit(&chain.accounts) && (hit(&chain.own) || hit(roots.as_slice())) {
                mask.remove(chain.statement);
            }
        }
        out.push((mask, Principal::Iam(class.witness)));
    }
    // Everybody else has no ARN and no account: conditions on those see a missing key.
    let mut others = vec![Principal::Anonymous];
    others.extend(sessions);
    // Nor is everybody without an ARN unsigned: keys that only the signed have tell them apart.
    canonical.insert("z".to_owned());
    others.extend(services.into_iter().map(Principal::Service));
    // Of both kinds one that no document names: a role is assumed in another way with each.
    providers.extend(["z.example.com", "arn:aws:iam::999999999999:saml-provider/z"].map(str::to_owned));
    providers.remove("*");
    others.extend(providers.into_iter().map(Principal::Federated));
    others.extend(canonical.into_iter().map(Principal::Canonical));
    for principal in others {
        let mut mask: Mask<W> = Mask::ALL;
        for part in parts {
            let Some(listed) = &part.statement.principal else { continue };
            if let (true, Principal::Session { .. }) = (is_chain(part), &principal) {
                if is_wholly_listed(listed, &principal) {
                    mask.remove(part.bit);
                }
                continue;
            }
            let is_named = listed.values.iter().any(|(kind, word)| match (kind, &principal) {
                (PrincipalKind::Everyone, _) => true,
                (PrincipalKind::Aws, Principal::Session { role, .. }) => {
                    let account = principal.account().unwrap_or_default();
                    word.text == "*"
                        || word.text == account
                        || word.text == *role
                        || word.text == format!("arn:aws:iam::{account}:root")
                        || session_of(&word.text).as_ref() == Some(&principal)
                }
                (PrincipalKind::Aws, _) => word.text == "*",
                (PrincipalKind::Service, Principal::Service(host)) => *host == word.text,
                (PrincipalKind::Federated, Principal::Federated(provider)) => {
                    word.text == "*" || *provider == word.text
                }
                (PrincipalKind::CanonicalUser, Principal::Canonical(id)) => *id == word.text,
                _ => false,
            });
            if is_named == listed.negated {
                mask.remove(part.bit);
            }
        }
        let arn = principal.arn().map(str::to_owned);
        met(&key_atoms, &mut mask, |of| match (&arn, of.anonymous) {
            (None, Some(hit)) if principal == Principal::Anonymous => {
                present(of.asked.condition, hit || of.is_odd)
            }
            (None, _) => missing(of.asked.condition),
            (Some(arn), _) => {
                let hit =
                    of.atom.patterns.iter().filter_map(|p| patterns.all.get(*p)).any(|p| matches(p, arn));
                present(of.asked.condition, hit || of.is_odd)
            }
        });
        out.push((mask, principal));
    }
    Ok(out)
}

/// What a condition asks of a key that follows from who asks.
struct KeyAtom<'d> {
    atom: Atom,
    asked: Asked<'d>,
    /// Where the account of somebody who did not sign has a name: whether a text matches it.
    anonymous: Option<bool>,
    is_odd: bool,
}

/// Takes out the statements of which a condition is not met; of one in several readings all, or where one is enough none.
fn met<const W: usize>(all: &[KeyAtom<'_>], mask: &mut Mask<W>, holds: impl Fn(&KeyAtom<'_>) -> bool) {
    let mut is_met = false;
    for of in all {
        is_met |= holds(of);
        if !of.asked.is_either && !std::mem::take(&mut is_met) {
            mask.remove(of.atom.statement);
        }
    }
}

/// A Deny that leaves out only who is listed by all that he is.
#[derive(Default)]
struct Chain {
    statement: usize,
    accounts: Vec<usize>,
    own: Vec<usize>,
}

fn is_chain(part: &Part<'_>) -> bool {
    part.statement.effect == Effect::Deny
        && part.statement.principal.as_ref().is_some_and(|p| p.negated)
        && part.take.second(Switch::NotPrincipalChain, true)
}

/// Whether a session is listed by itself, by its role, and by its account.
fn is_wholly_listed(listed: &Principals, session: &Principal) -> bool {
    let Principal::Session { role, .. } = session else { return false };
    let account = session.account().unwrap_or_default();
    let is_any = |is: &dyn Fn(&str) -> bool| {
        listed.values.iter().any(|(kind, word)| match kind {
            PrincipalKind::Everyone => true,
            PrincipalKind::Aws => word.text == "*" || is(&word.text),
            _ => false,
        })
    };
    is_any(&|text| text == account || text.ends_with(&format!("::{account}:root")))
        && is_any(&|text| text == role)
        && is_any(&|text| session_of(text).as_ref() == Some(session))
}

/// `AROA…`, `AIDA…` (IAM reference_identifiers).
fn is_unique_id(text: &str) -> bool {
    matches!(text.get(..4), Some("AROA" | "AIDA")) && !text.contains(':')
}

/// `arn:aws:sts::111122223333:assumed-role/Name/session` as a session of a role without a path.
fn session_of(text: &str) -> Option<Principal> {
    let mut parts = text.splitn(6, ':');
    let account = match (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?) {
        ("arn", _, "sts", "", account) => account,
        _ => return None,
    };
    let (role, name) = parts.next()?.strip_prefix("assumed-role/")?.split_once('/')?;
    Some(Principal::Session { role: format!("arn:aws:iam::{account}:role/{role}"), name: name.to_owned() })
}

/// A pattern for an account as one for ARNs of principals of that account.
fn in_account(tokens: &[Token]) -> Vec<Token> {
    let in_part = |token: &Token| match token {
        Token::Any => Token::AnyInPart,
        Token::One => Token::OneInPart,
        token => *token,
    };
    of_account("", &tokens.iter().map(in_part).collect::<Vec<_>>())
}
