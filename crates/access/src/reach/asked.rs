//! What people ask for, before it is answered: words that name nothing get the nearest that do.

use super::{owner_of, target_for};
use crate::catalog;
use crate::estate::{Estate, Surroundings};
use crate::holder::{holder, holders};

/// A word that cannot be answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unasked {
    /// What is wrong with it.
    pub why: String,
    /// What may have been meant, the nearest first.
    pub near: Vec<String>,
}

fn unasked<T>(why: String, near: Vec<&str>) -> Result<T, Unasked> {
    Err(Unasked { why, near: near.into_iter().map(str::to_owned).collect() })
}

/// Whether an action can be asked about: `service:Name`, wildcards in the name only. One that is not known is possible, unless it is
/// nearly one that is.
///
/// # Errors
/// It is no action, or misspelt.
pub fn check_action(action: &str) -> Result<(), Unasked> {
    let Some((service, name)) = action.split_once(':').filter(|(s, n)| !s.is_empty() && !n.is_empty()) else {
        return unasked(format!("`{action}` is no action"), Vec::new());
    };
    let lower = service.to_ascii_lowercase();
    if lower.contains(['*', '?']) {
        return unasked(format!("`{action}` names no service"), Vec::new());
    }
    if !catalog::is_service(&lower) {
        let near = model::nearest(&lower, catalog::services());
        return if near.is_empty() { Ok(()) } else { unasked(format!("`{service}` is no service"), near) };
    }
    if name.contains(['*', '?']) {
        if !catalog::matching(action).is_empty() || catalog::actions(&lower).is_empty() {
            return Ok(());
        }
        return unasked(format!("no action of {lower} is like `{name}`"), Vec::new());
    }
    if catalog::action(action).is_some() {
        return Ok(());
    }
    let near = model::nearest(name, catalog::actions(&lower).iter().map(|a| a.name));
    if near.is_empty() {
        return Ok(());
    }
    let near: Vec<String> = near.into_iter().map(|n| format!("{lower}:{n}")).collect();
    Err(Unasked { why: format!("{lower} has no action `{name}`"), near })
}

/// What is to be said about a resource that is asked for. An ARN that the estate does not have is answered as far as it can be.
///
/// # Errors
/// It is neither an ARN nor `*`.
pub fn check_resource(estate: &Estate, action: &str, resource: &str) -> Result<Vec<String>, Unasked> {
    let arns = || estate.resources.iter().map(|r| r.arn.as_str());
    if resource != "*" && resource.split(':').count() < 6 {
        let called = estate.resources.iter().filter(|r| r.name == resource).map(|r| r.arn.as_str());
        let mut near: Vec<&str> = called.take(3).collect();
        if near.is_empty() {
            near = model::nearest(resource, arns());
        }
        return unasked(format!("`{resource}` is no ARN"), near);
    }
    let around = Surroundings::of(estate);
    let mut notes = Vec::new();
    if owner_of(&around, resource).is_none() && resource != "*" {
        let near = model::nearest(resource, arns());
        let meant = near.first().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
        notes.push(format!("nothing in the estate is `{resource}`{meant}"));
    }
    let target = target_for(&around, action, resource);
    if !target.takes(action, resource) {
        let other = target.forms.iter().map(|f| f.pattern.as_str()).filter(|p| target.takes(action, p));
        let other: Vec<&str> = other.collect();
        let hint = if other.is_empty() { String::new() } else { format!(", but of {}", other.join(" or ")) };
        notes.push(format!("{action} is not asked of `{resource}`{hint}"));
    }
    Ok(notes)
}

/// The ARN of a user or role of the estate by its ARN or, where one alone is called so, by its name.
///
/// # Errors
/// Nobody is called so, or several are.
pub fn check_principal(estate: &Estate, principal: &str) -> Result<String, Unasked> {
    let around = Surroundings::of(estate);
    if let Some(resource) = estate.resources.iter().find(|r| r.arn == principal)
        && holder(resource, &around).is_some()
    {
        return Ok(principal.to_owned());
    }
    let all: Vec<String> = holders(&around).map(|h| h.arn).collect();
    let is_called = |arn: &&String| arn.rsplit(['/', ':']).next() == Some(principal);
    let called: Vec<&str> = all.iter().filter(is_called).map(String::as_str).collect();
    match called.as_slice() {
        [one] => Ok((*one).to_owned()),
        [] => {
            let names = all.iter().filter_map(|arn| arn.rsplit(['/', ':']).next());
            let mut near = model::nearest(principal, all.iter().map(String::as_str));
            near.extend(model::nearest(principal, names));
            unasked(format!("no user or role of the estate is `{principal}`"), near)
        }
        several => {
            unasked(format!("{} users or roles are called `{principal}`", several.len()), several.to_vec())
        }
    }
}
