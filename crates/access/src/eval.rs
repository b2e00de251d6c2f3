//! The concrete evaluator: the specification of what a policy says to one request. Small and literal; it enumerates nothing and
//! guesses nothing. `symbolic` asks it to confirm whatever it claims, and shares no matching code with it.
//!
//! Sources: IAM reference_policies_evaluation-logic, reference_policies_elements_condition_operators,
//! reference_policies_elements_principal, reference_policies_elements_notprincipal.

pub mod decide;
mod matching;
pub mod permissions;

pub(crate) use matching::like;

use crate::policy::{
    Base, Condition, Document, Effect, PrincipalKind, Principals, Quantifier, Statement, Word, Words,
};
use crate::reading::{Reading, Switch, is_set};
use crate::request::{Principal, Request};
use matching::Asked;

/// What one document says to a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// By these statements.
    Allowed(Vec<usize>),
    /// By these statements, whatever others allow.
    Denied(Vec<usize>),
    /// No statement applies.
    NotAllowed,
}

impl Outcome {
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        matches!(self, Outcome::Allowed(_))
    }
}

/// How statements that could not be read for certain are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Doubt {
    /// An uncertain Allow applies to everything it might, an uncertain Deny to nothing.
    Allows,
    /// The other way round.
    Forbids,
}

/// The first part of a statement that a request does not meet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    Doubt,
    Principal,
    Action,
    Resource,
    /// By its place in the statement.
    Condition(usize),
}

/// What `document` says to `request` in the usual reading.
#[must_use]
pub fn outcome(document: &Document, request: &Request, doubt: Doubt) -> Outcome {
    outcome_in(document, request, doubt, Reading::NONE)
}

/// What `document` says to `request`.
#[must_use]
pub fn outcome_in(document: &Document, request: &Request, doubt: Doubt, reading: Reading) -> Outcome {
    let asked = Asked::new(request, reading);
    let applies = |s: &&Statement| missed(document, s, &asked, doubt).is_none();
    let by = |effect: Effect| -> Vec<usize> {
        document.statements.iter().filter(|s| s.effect == effect).filter(applies).map(|s| s.index).collect()
    };
    let denying = by(Effect::Deny);
    if !denying.is_empty() {
        return Outcome::Denied(denying);
    }
    let allowing = by(Effect::Allow);
    if allowing.is_empty() { Outcome::NotAllowed } else { Outcome::Allowed(allowing) }
}

/// The first part of `statement` that `request` does not meet in the usual reading; `None` when it applies.
#[must_use]
pub fn misses(document: &Document, statement: &Statement, request: &Request, doubt: Doubt) -> Option<Part> {
    misses_in(document, statement, request, doubt, Reading::NONE)
}

/// The first part of `statement` that `request` does not meet; `None` when it applies.
#[must_use]
pub fn misses_in(
    document: &Document,
    statement: &Statement,
    request: &Request,
    doubt: Doubt,
    reading: Reading,
) -> Option<Part> {
    missed(document, statement, &Asked::new(request, reading), doubt)
}

fn missed(document: &Document, statement: &Statement, asked: &Asked<'_>, doubt: Doubt) -> Option<Part> {
    if !statement.is_certain && (statement.effect == Effect::Allow) != (doubt == Doubt::Allows) {
        return Some(Part::Doubt);
    }
    let request = asked.request;
    if let (Some(listed), Some(principal)) = (&statement.principal, &request.principal) {
        let is_chain = statement.effect == Effect::Deny
            && listed.negated
            && asked.reading.has(Switch::NotPrincipalChain);
        let is_named = if is_chain {
            names_all(listed, principal)
        } else {
            names(listed, principal, statement.effect == Effect::Allow && !listed.negated)
        };
        if is_named == listed.negated {
            return Some(Part::Principal);
        }
    }
    let is_action = |w: &Word| matching::wild(&w.text, &request.action);
    if statement.action.values.iter().any(is_action) == statement.action.negated {
        return Some(Part::Action);
    }
    if let Some(Words { negated, values, .. }) = &statement.resource {
        let syntax = document.syntax(true);
        let is_resource = |w: &Word| matching::resource(&w.text, syntax, &request.resource, asked);
        let is_invalid = asked.reading.has(Switch::VariableWithoutValue)
            && values.iter().any(|w| asked.lacks(&w.text, syntax));
        if is_invalid || values.iter().any(is_resource) == *negated {
            return Some(Part::Resource);
        }
    }
    // An uncertain statement has conditions that may not have been read: none of them counts as a restriction, or all do.
    if !statement.is_certain {
        return None;
    }
    statement.conditions.iter().position(|c| !holds(document, c, asked)).map(Part::Condition)
}

/// Whether a list names a principal by everything that he is: himself, the role of his session, his account.
fn names_all(listed: &Principals, principal: &Principal) -> bool {
    let Some(account) = principal.account() else { return names(listed, principal, false) };
    let is_listed = |texts: &[&str]| {
        let aws = |kind: &PrincipalKind| matches!(kind, PrincipalKind::Aws | PrincipalKind::Everyone);
        listed.values.iter().any(|(kind, w)| aws(kind) && (w.text == "*" || texts.contains(&w.text.as_str())))
    };
    let arn = principal.arn().unwrap_or_default();
    let is_root =
        |text: &str| text.strip_suffix(":root").is_some_and(|t| t.rsplit(':').next() == Some(account));
    let is_account = is_listed(&[account]) || listed.values.iter().any(|(_, w)| is_root(&w.text));
    let is_self = arn.ends_with(":root") || is_listed(&[arn]);
    let is_session = match principal {
        Principal::Session { role, name } => {
            let role_name = role.rsplit('/').next().unwrap_or_default();
            let partition = role.split(':').nth(1).unwrap_or_default();
            is_listed(&[&format!("arn:{partition}:sts::{account}:assumed-role/{role_name}/{name}")])
        }
        _ => true,
    };
    is_account && is_self && is_session
}

/// Whether a list names a principal. `is_wide`: an ARN with wildcards, which the grammar forbids, names whoever it might.
fn names(listed: &Principals, principal: &Principal, is_wide: bool) -> bool {
    listed.values.iter().any(|(kind, word)| match (kind, principal) {
        (PrincipalKind::Everyone, _) => true,
        (PrincipalKind::Aws, Principal::Service(_) | Principal::Federated(_)) => word.text == "*",
        (PrincipalKind::Aws, _) if word.text == "*" => true,
        (PrincipalKind::Aws, Principal::Iam(_) | Principal::Session { .. }) => {
            names_aws(&word.text, principal)
                || (is_wide && principal.arn().is_some_and(|arn| like(&word.text, arn)))
        }
        (PrincipalKind::Service, Principal::Service(host)) => word.text == *host,
        (PrincipalKind::Federated, Principal::Federated(provider)) => {
            word.text == "*" || word.text == *provider
        }
        (PrincipalKind::CanonicalUser, Principal::Canonical(id)) => word.text == *id,
        _ => false,
    })
}

/// An account names everybody in it; a role names its sessions. The unique id of a deleted user or role names nobody (IAM
/// reference_policies_elements_principal).
fn names_aws(text: &str, principal: &Principal) -> bool {
    if (text.starts_with("AROA") || text.starts_with("AIDA")) && !text.contains(':') {
        return false;
    }
    let account = text.strip_suffix(":root").and_then(|t| t.rsplit(':').next()).unwrap_or(text);
    if principal.account() == Some(account) {
        return true;
    }
    if principal.arn() == Some(text) {
        return true;
    }
    // arn:aws:sts::111122223333:assumed-role/Name/session
    let Principal::Session { role, name } = principal else { return false };
    let (Some((before, role_name)), parts) = (role.split_once(":role/"), text.split(':').collect::<Vec<_>>())
    else {
        return false;
    };
    let role_name = role_name.rsplit('/').next().unwrap_or_default();
    let account = before.rsplit(':').next().unwrap_or_default();
    matches!(parts.as_slice(), ["arn", _, "sts", "", a, rest] if *a == account && *rest == format!("assumed-role/{role_name}/{name}"))
}

/// Whether a condition holds. A key that is not there: a negated operator holds, any other does not.
fn holds(document: &Document, condition: &Condition, asked: &Asked<'_>) -> bool {
    let (operator, reading) = (condition.operator, asked.reading);
    let found = asked.values(&condition.key);
    let values = found.unwrap_or_default();
    let is_missing = if reading.has(Switch::EmptySetIsMissing) { found.is_none() } else { values.is_empty() };
    if operator.base == Base::Null {
        return condition.values.iter().any(|w| matching::boolean(&w.text) == Some(is_missing));
    }
    if reading.has(Switch::VariableWithoutValue) && operator.has_variables() {
        let syntax = document.syntax(operator.has_wildcards());
        if condition.values.iter().any(|w| asked.lacks(&w.text, syntax)) {
            return false;
        }
    }
    let is_met = |value: &String| {
        // What is not met though negated is what matches.
        let is_odd = operator.negated
            && reading.has(Switch::UnparsableValue)
            && matching::is_odd(operator.base, value, &condition.values);
        is_odd || condition.values.iter().any(|w| matches(document, condition, w, value, asked))
    };
    let is_many = || values.len() > 1 || is_set(&condition.key);
    match operator.quantifier {
        Quantifier::ForAllValues => values.iter().all(|v| is_met(v) != operator.negated),
        Quantifier::ForAnyValue => values.iter().any(|v| is_met(v) != operator.negated),
        Quantifier::Plain if is_missing => operator.negated || operator.if_exists,
        Quantifier::Plain if values.is_empty() => operator.negated,
        Quantifier::Plain if reading.has(Switch::PlainOnMultivalue) && is_many() => false,
        Quantifier::Plain => values.iter().any(is_met) != operator.negated,
    }
}

/// One value of the policy against one of the request, without negation.
fn matches(document: &Document, condition: &Condition, word: &Word, value: &str, asked: &Asked<'_>) -> bool {
    let operator = condition.operator;
    let syntax = document.syntax(operator.has_wildcards());
    match operator.base {
        Base::StringEquals | Base::StringLike => matching::text(&word.text, syntax, value, asked),
        Base::StringEqualsIgnoreCase => {
            let word = matching::substituted(&word.text, syntax, asked);
            word.is_some_and(|word| matching::is_alike(&word, value, asked.reading))
        }
        Base::Arn => matching::arn(&word.text, syntax, value, asked),
        Base::Numeric(compare) => {
            let (value, word) = (matching::decimal(value), matching::decimal(&word.text));
            value.zip(word).is_some_and(|(value, word)| matching::compares(compare, &value, &word))
        }
        Base::Date(compare) => {
            let (value, word) = (matching::date(value), matching::date(&word.text));
            value.zip(word).is_some_and(|(value, word)| matching::compares(compare, &value, &word))
        }
        Base::Bool => {
            let word = matching::substituted(&word.text, syntax, asked);
            word.is_some_and(|word| word.eq_ignore_ascii_case(value))
        }
        Base::Binary => word.text == value,
        Base::IpAddress => matching::is_in_network(value, &word.text),
        Base::Null => false,
    }
}
