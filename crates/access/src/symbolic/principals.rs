//! Who asks: a dimension of its own, with the keys that follow from it. As free keys they would give requests that nobody can make
//! (our organisation, their account).

use super::dimensions::{Dimension, Part, Value};
use super::keys::{missing, present, string_patterns};
use super::mask::Mask;
use super::patterns::{Atom, Pattern, Patterns, Variables, distinct, mask_of};
use super::strings::{Cache, Capped, Shapes, Token, matches, tokens};
use crate::pattern::{Syntax, pieces};
use crate::policy::{Condition, Document, Effect, PrincipalKind};
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

fn principal_shapes() -> [Vec<Token>; 2] {
    ["iam", "sts"].map(|service| of_account(service, &[Token::OneInPart, Token::AnyInPart]))
}

/// Who asks, with the keys that follow from it.
pub(super) fn principals<const W: usize>(
    parts: &[Part<'_>],
    variables: &Variables<'_>,
    cache: &mut Cache,
) -> Result<Dimension<W>, Capped> {
    let classes = principal_classes(parts, &DERIVED, variables, cache)?;
    let classes = classes.into_iter().map(|(mask, principal)| (mask, Value::Principal(principal)));
    Ok(Dimension { classes: distinct(classes), widened: None })
}

/// All classes of callers, also those that no statement tells apart. `derived`: keys that are what a caller is.
pub(super) fn principal_classes<const W: usize>(
    parts: &[Part<'_>],
    derived: &[&str],
    variables: &Variables<'_>,
    cache: &mut Cache,
) -> Result<Vec<(Mask<W>, Principal)>, Capped> {
    let mut patterns = Patterns::default();
    let mut atoms = Vec::new();
    let chars = |text: &str| text.chars().map(Token::Char).collect::<Vec<Token>>();
    let (mut services, mut providers, mut canonical) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut sessions = BTreeSet::new();
    for part in parts {
        let Some(listed) = &part.statement.principal else { continue };
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
                    of.push(patterns.add(tokens));
                }
                PrincipalKind::Service => drop(services.insert(word.text.clone())),
                PrincipalKind::Federated => drop(providers.insert(word.text.clone())),
                PrincipalKind::CanonicalUser => drop(canonical.insert(word.text.clone())),
            }
        }
        atoms.push(Atom { statement: part.bit, patterns: of, negated: listed.negated });
    }
    let mut conditions: BTreeMap<&str, Vec<(usize, &Document, &Condition)>> = BTreeMap::new();
    for part in parts.iter().filter(|p| p.statement.is_certain) {
        for condition in &part.statement.conditions {
            if let Some(key) = derived.iter().find(|key| condition.name() == **key) {
                conditions.entry(key).or_default().push((part.bit, part.document, condition));
            }
        }
    }
    // Of the ARN, all conditions on it are patterns; of the account, patterns on the fifth part.
    let mut key_atoms = Vec::new();
    for (key, conditions) in &conditions {
        for (statement, document, condition) in conditions {
            let patterns_of = match string_patterns(document, condition, variables) {
                Some(patterns_of) => patterns_of,
                // An ARN is no number, date or address. An account may be read as one, which is not followed.
                None if *key == "aws:principalarn" => Vec::new(),
                None => return Err(Capped),
            };
            let of = patterns_of.into_iter().map(|p| {
                let tokens = if *key != "aws:principalarn" { in_account(&p.tokens) } else { p.tokens };
                patterns.add(Pattern { tokens, free: p.free })
            });
            key_atoms.push((
                Atom { statement: *statement, patterns: of.collect(), negated: condition.operator.negated },
                condition,
            ));
        }
    }
    let found =
        patterns.classes(Shapes::Of(&principal_shapes()), "arn:aws:iam::999999999999:user/z", cache)?;
    let mut out = Vec::new();
    for class in found {
        let mut mask: Mask<W> = mask_of(&atoms, &class.matched);
        for (atom, condition) in &key_atoms {
            if !present(condition, atom.is_hit(&class.matched)) {
                mask.remove(atom.statement);
            }
        }
        out.push((mask, Principal::Iam(class.witness)));
    }
    // Everybody else has no ARN and no account: conditions on those see a missing key.
    let mut others = vec![Principal::Anonymous];
    others.extend(sessions);
    services.insert("z.amazonaws.com".to_owned());
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
        for (atom, condition) in &key_atoms {
            let holds = match &arn {
                None => missing(condition),
                Some(arn) => {
                    let of = atom.patterns.iter().filter_map(|p| patterns.all.get(*p));
                    let hit = of.into_iter().any(|p| matches(p, arn));
                    present(condition, hit)
                }
            };
            if !holds {
                mask.remove(atom.statement);
            }
        }
        out.push((mask, principal));
    }
    Ok(out)
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
