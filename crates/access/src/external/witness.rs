//! The request that shows a finding, in ordinary words, and what the evaluator says of it.

use super::group::Key;
use super::{Actions, Atom, Question};
use crate::eval::decide::{Decision, decide, decide_in};
use crate::eval::{Doubt, misses_in, outcome};
use crate::finding::Test;
use crate::request::{Principal, Request};
use crate::symbolic::{Cell, Row};

/// A request and what the evaluator says of it.
pub(super) struct Told {
    pub request: Request,
    pub decision: Decision,
    /// Somebody can make it, is not trusted, and is allowed.
    pub is_confirmed: bool,
}

impl Question<'_> {
    /// A witness in ordinary words: the same cell, an action that exists, and what the group is about.
    pub(super) fn spoken(&self, cell: &Cell, key: &Key, names: &[Actions<'_>]) -> Told {
        let mut request = cell.request.clone();
        if let Some(of) = names.get(cell.action) {
            let at_form = of.names.iter().find(|name| self.bundle.takes(name, &request.resource));
            // Rather one that nobody lists than one that such a resource does not know.
            let any = of.names.first().filter(|_| !of.has_others);
            if let Some(name) = at_form.or(any) {
                (*name).clone_into(&mut request.action);
            }
        }
        self.plainer(request, &self.singled_out(cell, key))
    }

    /// What tells a group of cells from others by the same grant: rows of the one principal, and of the one value of a list.
    fn singled_out(&self, cell: &Cell, key: &Key) -> Vec<&Row<'_>> {
        let row = |atom: &Atom| match atom {
            Atom::Principal { row, text, .. } => (*text == key.who.value).then_some(*row),
            Atom::Value { row, key: of, operator, text } => {
                let is_it = |test: &Test| test.operator == *operator && test.values == [text.as_str()];
                key.condition.get(of).is_some_and(|tests| tests.iter().any(is_it)).then_some(*row)
            }
        };
        let rows = self.atoms.iter().filter_map(row).filter(|row| cell.has(*row));
        rows.filter_map(|row| self.rows.get(row)).collect()
    }

    /// What the evaluator says of a request, and whether somebody can make it, is not trusted, and is allowed.
    fn told(&self, request: Request) -> Told {
        let decision = self.decision(&request);
        let is_confirmed = decision.is_allowed
            && self.world.objection(&request).is_none()
            && !outcome(self.zone, &request, Doubt::Allows).is_allowed()
            && (self.touched.is_empty() || self.in_all(&request, |decision| decision.is_allowed));
        Told { request, decision, is_confirmed }
    }

    /// The same request by somebody with an ordinary ARN, for an ordinary object, as far as that changes nothing.
    fn plainer(&self, request: Request, of: &[&Row<'_>]) -> Told {
        let mut out = self.told(request);
        let by = |of: &Request, who: Principal| {
            let is_of_caller = |key: &str| key.starts_with("aws:principal") || key == "kms:calleraccount";
            let context = of.context.iter().filter(|(key, _)| !is_of_caller(key));
            let mut plain = Request {
                principal: Some(who),
                action: of.action.clone(),
                resource: of.resource.clone(),
                context: context.map(|(key, values)| (key.clone(), values.clone())).collect(),
            };
            self.world.complete(&mut plain);
            self.told(plain)
        };
        let is_in = |row: &&Row<'_>, request: &Request| {
            misses_in(row.document, row.statement, request, Doubt::Allows, row.take.reading).is_none()
        };
        let is_same = |a: &Told, b: &Told| {
            a.is_confirmed == b.is_confirmed
                && a.decision == b.decision
                && of.iter().all(|row| is_in(row, &a.request))
        };
        let account = out.request.principal.as_ref().and_then(|p| p.account()).filter(|a| a.len() == 12);
        if let Some(account) = account {
            // Nobody at all is the worst that can ask.
            let mut better =
                [Principal::Anonymous, Principal::Iam(format!("arn:aws:iam::{account}:root"))].into_iter();
            if let Some(better) =
                better.find_map(|who| Some(by(&out.request, who)).filter(|b| is_same(b, &out)))
            {
                out = better;
            }
        }
        if out.request.resource.ends_with('/') {
            let resource = format!("{}any-key", out.request.resource);
            let plain = self.told(Request { resource, ..out.request.clone() });
            if is_same(&plain, &out) {
                out = plain;
            }
        }
        out
    }

    /// Whether something is so of a request in all readings of what the documents leave open.
    pub(super) fn in_all(&self, request: &Request, is_so: impl Fn(&Decision) -> bool) -> bool {
        self.readings.as_ref().is_some_and(|readings| {
            readings.iter().all(|reading| is_so(&decide_in(self.bundle, request, *reading)))
        })
    }

    /// The decision of a reading that allows a request, if one does; else the usual one.
    fn decision(&self, request: &Request) -> Decision {
        let others = self.readings.iter().flatten().skip(1);
        let usual = decide(self.bundle, request);
        if usual.is_allowed {
            return usual;
        }
        let mut others = others.map(|reading| decide_in(self.bundle, request, *reading));
        others.find(|decision| decision.is_allowed).unwrap_or(usual)
    }
}
