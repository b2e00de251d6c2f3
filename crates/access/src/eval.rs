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
use crate::request::{Context, Principal, Request};

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

/// What `document` says to `request`.
#[must_use]
pub fn outcome(document: &Document, request: &Request, doubt: Doubt) -> Outcome {
    let applies = |s: &&Statement| misses(document, s, request, doubt).is_none();
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

/// The first part of `statement` that `request` does not meet; `None` when it applies.
#[must_use]
pub fn misses(document: &Document, statement: &Statement, request: &Request, doubt: Doubt) -> Option<Part> {
    if !statement.is_certain && (statement.effect == Effect::Allow) != (doubt == Doubt::Allows) {
        return Some(Part::Doubt);
    }
    let context = &request.context;
    if let (Some(listed), Some(principal)) = (&statement.principal, &request.principal)
        && names(listed, principal, statement.effect == Effect::Allow && !listed.negated) == listed.negated
    {
        return Some(Part::Principal);
    }
    let is_action = |w: &Word| matching::wild(&w.text, &request.action);
    if statement.action.values.iter().any(is_action) == statement.action.negated {
        return Some(Part::Action);
    }
    if let Some(Words { negated, values, .. }) = &statement.resource {
        let is_resource =
            |w: &Word| matching::text(&w.text, document.syntax(true), &request.resource, context);
        if values.iter().any(is_resource) == *negated {
            return Some(Part::Resource);
        }
    }
    // An uncertain statement has conditions that may not have been read: none of them counts as a restriction, or all do.
    if !statement.is_certain {
        return None;
    }
    statement.conditions.iter().position(|c| !holds(document, c, context)).map(Part::Condition)
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
fn holds(document: &Document, condition: &Condition, context: &Context) -> bool {
    let operator = condition.operator;
    let values = context.get(&condition.name()).map(Vec::as_slice).unwrap_or_default();
    if operator.base == Base::Null {
        return condition.values.iter().any(|w| matching::boolean(&w.text) == Some(values.is_empty()));
    }
    let is_met =
        |value: &String| condition.values.iter().any(|w| matches(document, condition, w, value, context));
    match operator.quantifier {
        Quantifier::ForAllValues => values.iter().all(|v| is_met(v) != operator.negated),
        Quantifier::ForAnyValue => values.iter().any(|v| is_met(v) != operator.negated),
        Quantifier::Plain if values.is_empty() => operator.negated || operator.if_exists,
        Quantifier::Plain => values.iter().any(is_met) != operator.negated,
    }
}

/// One value of the policy against one of the request, without negation.
fn matches(document: &Document, condition: &Condition, word: &Word, value: &str, context: &Context) -> bool {
    let operator = condition.operator;
    let syntax = document.syntax(operator.has_wildcards());
    match operator.base {
        Base::StringEquals | Base::StringLike => matching::text(&word.text, syntax, value, context),
        Base::StringEqualsIgnoreCase => {
            let fold = |t: &str| t.to_ascii_lowercase();
            matching::substituted(&word.text, syntax, context).is_some_and(|text| fold(&text) == fold(value))
        }
        Base::Arn => matching::arn(&word.text, syntax, value, context),
        Base::Numeric(compare) => {
            let (value, word) = (matching::decimal(value), matching::decimal(&word.text));
            value.zip(word).is_some_and(|(value, word)| matching::compares(compare, &value, &word))
        }
        Base::Date(compare) => {
            let (value, word) = (matching::date(value), matching::date(&word.text));
            value.zip(word).is_some_and(|(value, word)| matching::compares(compare, &value, &word))
        }
        Base::Bool => {
            let word = matching::substituted(&word.text, syntax, context);
            word.is_some_and(|word| word.eq_ignore_ascii_case(value))
        }
        Base::Binary => word.text == value,
        Base::IpAddress => matching::is_in_network(value, &word.text),
        Base::Null => false,
    }
}
