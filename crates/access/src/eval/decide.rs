//! One request to one resource with all its documents: literal, as the specification has it.

use super::{Doubt, misses_in};
use crate::bundle::{Bundle, Kind, Part, Stop};
use crate::policy::Effect;
use crate::reading::Reading;
use crate::request::{Principal, Request};

/// A statement of a bundle: its level (`None`: the resource's own documents), its document there, its place in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct At {
    pub level: Option<usize>,
    pub part: usize,
    pub statement: usize,
}

/// Why a request is not allowed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Blocker {
    Denied(At),
    /// No control policy of this level allows it.
    Level(usize),
    /// What took the grant's effect away.
    Stop(Stop),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    pub is_allowed: bool,
    /// Statements that allow it, those without effect included.
    pub allowing: Vec<At>,
    pub blockers: Vec<Blocker>,
}

/// The action that no resource control policy binds (ORG orgs_manage_policies_rcps).
pub const UNBOUND: &str = "kms:RetireGrant";

/// What a resource says to a request of somebody whose own side allows it, in the usual reading.
#[must_use]
pub fn decide(bundle: &Bundle, request: &Request) -> Decision {
    decide_in(bundle, request, Reading::NONE)
}

/// The same in any reading.
#[must_use]
pub fn decide_in(bundle: &Bundle, request: &Request, reading: Reading) -> Decision {
    let mut out = Decision { is_allowed: false, allowing: Vec::new(), blockers: Vec::new() };
    let is_fixed = |(key, value): (&String, &String)| {
        request.context.get(key).is_some_and(|values| values.iter().eq([value]))
    };
    let can_call = |who: &Principal| can_call(bundle, who, &request.action);
    if !request.principal.as_ref().is_none_or(can_call)
        || !in_scope(bundle, request)
        || !bundle.fixed.iter().all(is_fixed)
    {
        return out;
    }
    let applying = |parts: &[Part], level: Option<usize>, effect: Effect| -> Vec<At> {
        let mut found = Vec::new();
        for (part, of) in parts.iter().enumerate() {
            for (statement, s) in of.document.statements.iter().enumerate() {
                if s.effect == effect && misses_in(&of.document, s, request, Doubt::Allows, reading).is_none()
                {
                    found.push(At { level, part, statement });
                }
            }
        }
        found
    };
    out.allowing = applying(&bundle.parts, None, Effect::Allow);
    out.blockers.extend(applying(&bundle.parts, None, Effect::Deny).into_iter().map(Blocker::Denied));
    let is_unbound = request.action.eq_ignore_ascii_case(UNBOUND);
    let levels = bundle.levels.iter().enumerate();
    for (at, level) in levels.filter(|(_, l)| !(is_unbound && l.parts.iter().any(|p| p.kind == Kind::Rcp))) {
        out.blockers.extend(applying(&level.parts, Some(at), Effect::Deny).into_iter().map(Blocker::Denied));
        if applying(&level.parts, Some(at), Effect::Allow).is_empty() {
            out.blockers.push(Blocker::Level(at));
        }
    }
    let stop = |at: &At| bundle.parts.get(at.part)?.stopped_by.get(at.statement).copied().flatten();
    let stops: Vec<Option<Stop>> = out.allowing.iter().map(stop).collect();
    if !stops.is_empty() && stops.iter().all(Option::is_some) {
        out.blockers.extend(stops.into_iter().flatten().map(Blocker::Stop));
    }
    out.blockers.sort();
    out.blockers.dedup();
    out.is_allowed = !out.allowing.is_empty() && out.blockers.is_empty();
    out
}

/// Whether the resource can have that caller for that action at all. A role is assumed in three ways, each by its own kind of caller.
pub(crate) fn can_call(bundle: &Bundle, caller: &Principal, action: &str) -> bool {
    if bundle.kind == "AWS::IAM::Role" {
        let is = |name: &str| action.eq_ignore_ascii_case(name);
        return match caller {
            Principal::Federated(provider) if provider.contains(":saml-provider/") => {
                is("sts:AssumeRoleWithSAML")
            }
            Principal::Federated(_) => is("sts:AssumeRoleWithWebIdentity"),
            Principal::Iam(_) | Principal::Session { .. } | Principal::Service(_) => is("sts:AssumeRole"),
            Principal::Anonymous | Principal::Canonical(_) => false,
        };
    }
    match caller {
        Principal::Iam(_) | Principal::Session { .. } => true,
        Principal::Anonymous => bundle.callers.anonymous,
        Principal::Canonical(_) => bundle.callers.canonical,
        Principal::Service(_) => bundle.callers.services,
        Principal::Federated(_) => bundle.callers.federated,
    }
}

/// Whether the request is one that this resource can be asked at all.
fn in_scope(bundle: &Bundle, request: &Request) -> bool {
    bundle.actions.iter().any(|p| super::matching::wild(p, &request.action))
        && bundle.forms.iter().any(|f| super::matching::like(&f.pattern, &request.resource))
}
