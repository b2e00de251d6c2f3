//! One request by one user or role to one resource, with everything that decides about it on both sides: literal, as the
//! specification has it (access.md 4.1; IAM reference_policies_evaluation-logic, access_policies_boundaries,
//! reference_policies_elements_principal; ORG orgs_manage_policies_scps, orgs_manage_policies_rcps).

use super::{Doubt, like, misses_in, names_aws};
use crate::bundle::{Kind, Level, Part};
use crate::finding::Source;
use crate::holder::{Fact, Holder, HolderKind};
use crate::policy::{Effect, PrincipalKind, Statement};
use crate::reading::Reading;
use crate::request::{Principal, Request};
use crate::target::Target;
use crate::world::World;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Who asks, and for what.
#[derive(Clone, Copy, Debug)]
pub struct View<'v> {
    pub holder: &'v Holder,
    pub target: &'v Target,
}

/// What one layer says to the request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Says {
    Allows,
    Denies,
    /// No statement applies.
    Nothing,
}

/// A layer that has a say, in the order of the decision.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Layer {
    /// `scp`, `rcp`, `resource`, `bucket`, `identity`, `boundary`, `session`.
    pub name: String,
    pub says: Says,
    /// The statements that make it say so.
    pub statements: Vec<Source>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Decision {
    pub is_allowed: bool,
    pub layers: Vec<Layer>,
    /// In a sentence.
    pub why: String,
}

/// How a statement of a resource's policy names a caller: what else must allow depends on it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Grip {
    /// By the account: its own policies must allow as well.
    Account,
    /// By the ARN of its role: the boundary and the session's policies limit it.
    Role,
    /// By itself, or as one of everybody.
    Itself,
}

/// Whether a request is allowed, and what each layer says to it, in the usual reading of what AWS leaves open.
#[must_use]
pub fn allowed(request: &Request, view: View<'_>) -> Decision {
    allowed_in(request, view, Reading::NONE)
}

/// Whether a request is allowed, and what each layer says to it.
#[must_use]
pub fn allowed_in(request: &Request, view: View<'_>, reading: Reading) -> Decision {
    let layer = |name: &str, parts: &[Part], request: &Request| layer(name, parts, request, reading);
    let View { holder, target } = view;
    let is_linked = holder.kind == HolderKind::ServiceLinked;
    let mut layers = Vec::new();
    for level in &holder.levels {
        layers.push(layer("scp", &level.parts, request));
    }
    let decides = target.decides(&request.action);
    let is_own = target.owner.as_deref().is_none_or(|owner| owner == holder.account);
    // Resource control policies bind neither service-linked roles nor the retiring of a grant.
    let is_bound = !is_linked && !request.action.eq_ignore_ascii_case("kms:RetireGrant");
    let is_rcp = |level: &Level| level.parts.iter().any(|p| p.kind == Kind::Rcp);
    for level in target.levels.iter().filter(|l| is_rcp(l)).filter(|_| is_bound && decides) {
        layers.push(layer("rcp", &level.parts, request));
    }
    for level in target.levels.iter().filter(|l| !is_rcp(l)).filter(|_| decides && !is_own) {
        layers.push(layer("bucket", &level.parts, request));
    }
    let must = layers.len();
    let own: &[Part] = if decides { &target.parts } else { &[] };
    layers.push(layer("resource", own, request));
    layers.push(layer("identity", &holder.identity, request));
    let boundary = holder.boundary.as_ref().map(|parts| layer("boundary", parts, request));
    let session = holder.session.as_ref().map(|parts| layer("session", parts, request));
    let is_open = |l: &Option<Layer>| l.as_ref().is_none_or(|l| l.says == Says::Allows);
    let is_limited = !(is_open(&boundary) && is_open(&session));
    layers.extend(boundary.into_iter().chain(session));
    let says = |name: &str| layers.iter().find(|l| l.name == name).map(|l| l.says);
    let grip = grip(own, request, reading);
    let (is_allowed, why) = if let Some(denying) = layers.iter().find(|l| l.says == Says::Denies) {
        (false, format!("a Deny of the layer {} applies", denying.name))
    } else if let Some(silent) = layers.iter().take(must).find(|l| l.says != Says::Allows) {
        (false, format!("a level of the layer {} does not allow it", silent.name))
    } else if decides && !can_call(holder, target, &request.action) {
        (false, "nobody of this kind can make this call".to_owned())
    } else if !is_own {
        let is_usable = target.foreign_actions.as_ref().is_none_or(|patterns| {
            !decides || patterns.iter().any(|p| super::matching::wild(p, &request.action))
        });
        match (grip, says("identity") == Some(Says::Allows), is_limited) {
            _ if !is_usable => (false, "other accounts cannot use this action".to_owned()),
            (None, ..) => (false, "the resource of another account does not allow it".to_owned()),
            (_, false, _) => (false, "no policy of the caller allows it in another account".to_owned()),
            (.., true) => (false, "the boundary or the session's policies do not allow it".to_owned()),
            (Some(_), true, false) => (true, "both accounts allow it".to_owned()),
        }
    } else {
        match (grip, says("identity") == Some(Says::Allows), is_limited) {
            (Some(Grip::Itself), ..) => (true, "the resource allows it to the caller itself".to_owned()),
            (_, _, true) => (false, "the boundary or the session's policies do not allow it".to_owned()),
            (Some(Grip::Role), ..) => (true, "the resource allows it to the role".to_owned()),
            (Some(Grip::Account), true, _) => {
                (true, "the account and the caller's policies allow it".to_owned())
            }
            (None, true, _) if !(decides && target.is_strict) => {
                (true, "the caller's policies allow it".to_owned())
            }
            (None, true, _) => (
                false,
                "the resource's policy neither names the caller nor leaves it to the account".to_owned(),
            ),
            (_, false, _) => (false, "no policy allows it".to_owned()),
        }
    };
    Decision { is_allowed, layers, why }
}

/// A role is assumed by signed calls of users and of other sessions; the root user cannot (STS API_AssumeRole). The other two calls are
/// made with a token, not by a user or a role.
fn can_call(holder: &Holder, target: &Target, action: &str) -> bool {
    let is = |name: &str| action.eq_ignore_ascii_case(name);
    target.kind != "AWS::IAM::Role"
        || !(is("sts:AssumeRoleWithSAML")
            || is("sts:AssumeRoleWithWebIdentity")
            || (is("sts:AssumeRole") && holder.kind == HolderKind::Root))
}

fn applying<'p>(
    parts: &'p [Part],
    request: &Request,
    effect: Effect,
    reading: Reading,
) -> Vec<(&'p Part, &'p Statement)> {
    let mut out = Vec::new();
    for part in parts {
        for (at, statement) in part.document.statements.iter().enumerate() {
            let is_stopped = part.stopped_by.get(at).is_some_and(Option::is_some);
            if statement.effect == effect
                && !is_stopped
                && misses_in(&part.document, statement, request, Doubt::Allows, reading).is_none()
            {
                out.push((part, statement));
            }
        }
    }
    out
}

fn layer(name: &str, parts: &[Part], request: &Request, reading: Reading) -> Layer {
    let of = |effect| applying(parts, request, effect, reading);
    let (denying, allowing) = (of(Effect::Deny), of(Effect::Allow));
    let (says, by) = match (denying.is_empty(), allowing.is_empty()) {
        (false, _) => (Says::Denies, denying),
        (true, false) => (Says::Allows, allowing),
        (true, true) => (Says::Nothing, Vec::new()),
    };
    let statements = by.into_iter().map(|(part, statement)| part.source(statement)).collect();
    Layer { name: name.to_owned(), says, statements }
}

/// The strongest way in which the statements that allow a request name its caller; `None`: none allows it.
fn grip(parts: &[Part], request: &Request, reading: Reading) -> Option<Grip> {
    let principal = request.principal.as_ref()?;
    let of = |part: &Part, statement: &Statement| {
        // Whether a boundary limits what a grant of KMS gives is not documented: it is taken not to.
        if part.kind == Kind::Grant {
            return Some(Grip::Itself);
        }
        let Some(listed) = statement.principal.as_ref().filter(|p| !p.negated) else {
            return Some(Grip::Itself);
        };
        let by = |(kind, text): (PrincipalKind, &str)| match kind {
            PrincipalKind::Everyone => Some(Grip::Itself),
            PrincipalKind::Aws if text == "*" => Some(Grip::Itself),
            PrincipalKind::Aws if text.ends_with(":root") || !text.contains(':') => {
                names_aws(text, principal).then_some(Grip::Account)
            }
            PrincipalKind::Aws => match principal {
                Principal::Session { role, .. } if role == text => Some(Grip::Role),
                // Wildcards are forbidden here; where they stand they name whoever they might.
                _ => (names_aws(text, principal) || principal.arn().is_some_and(|arn| like(text, arn)))
                    .then_some(Grip::Itself),
            },
            PrincipalKind::Service | PrincipalKind::Federated | PrincipalKind::CanonicalUser => None,
        };
        listed.values.iter().filter_map(|(kind, word)| by((*kind, &word.text))).max()
    };
    applying(parts, request, Effect::Allow, reading)
        .into_iter()
        .filter_map(|(part, statement)| of(part, statement))
        .max()
}

/// Fills in what follows from who asks and from what is asked for, where the request does not say it.
pub fn complete(request: &mut Request, view: View<'_>, world: &World<'_>) {
    view.holder.complete(request);
    for (key, value) in &view.target.fixed {
        request.context.insert(key.clone(), vec![value.clone()]);
    }
    world.complete(request);
}

/// Why the holder cannot make this request at all; `None` where it can.
#[must_use]
pub fn objection(request: &Request, view: View<'_>, world: &World<'_>) -> Option<String> {
    let View { holder, target } = view;
    let session = match &request.principal {
        Some(Principal::Session { role, name }) if holder.has_sessions() && *role == holder.arn => Some(name),
        Some(Principal::Iam(arn)) if !holder.has_sessions() && *arn == holder.arn => None,
        _ => return Some(format!("it is not a request of {}", holder.arn)),
    };
    let of_tags = |prefix: &str, tags: Option<&std::collections::BTreeMap<String, BTreeSet<String>>>| {
        tags.into_iter().flat_map(|t| t.keys()).map(|tag| format!("{prefix}{tag}")).collect::<Vec<_>>()
    };
    let mut keys: BTreeSet<String> = request.context.keys().cloned().collect();
    keys.extend(["aws:username", "aws:userid", "aws:principaltype"].map(str::to_owned));
    keys.extend(of_tags("aws:principaltag/", holder.tags.as_ref()));
    keys.extend(target.fixed.keys().cloned());
    for key in &keys {
        let values = request.context.get(key);
        for fact in [holder.fact(key, session.map(String::as_str)), target.fact(key)].into_iter().flatten() {
            let one = values.filter(|v| v.len() == 1).and_then(|v| v.first());
            let is_so = match &fact {
                Fact::Is(of) => one.is_some_and(|value| of.contains(value)),
                Fact::Absent => values.is_none(),
                Fact::Perhaps(of) => values.is_none() || one.is_some_and(|value| of.contains(value)),
                Fact::Starts(prefix) => one.is_some_and(|value| value.starts_with(prefix)),
            };
            if !is_so {
                let what = values.map_or("is missing".to_owned(), |v| format!("is {}", v.join(" and ")));
                return Some(format!("`{key}` {what} for {}", holder.arn));
            }
        }
    }
    world.objection(request)
}
