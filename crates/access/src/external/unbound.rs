//! What resource control policies do not bind (ORG orgs_manage_policies_rcps): retiring a grant of a KMS key. It is analysed by itself,
//! without them.

use super::Analysis;
use crate::bundle::Bundle;
use crate::eval::decide::UNBOUND;
use crate::finding::{Rule, Source};

/// The bundle without that action, and with nothing else; `None` where no control policy stands above it anyway.
pub(super) fn split(bundle: &Bundle) -> Option<(Bundle, Bundle)> {
    let is_unbound = |action: &&String| action.eq_ignore_ascii_case(UNBOUND);
    if bundle.levels.is_empty() || bundle.actions.len() < 2 || !bundle.actions.iter().any(|a| is_unbound(&a))
    {
        return None;
    }
    let (mut bound, mut free) = (bundle.clone(), bundle.clone());
    bound.actions.retain(|a| !is_unbound(&a));
    free.actions.retain(|a| is_unbound(&a));
    free.levels.clear();
    // Said once.
    free.unknown.clear();
    Some((bound, free))
}

/// Both as one: a finding about the same people under the same condition is one finding.
pub(super) fn joined(mut bound: Analysis, free: Analysis) -> Analysis {
    // A grant of one of the two alone is dead to the other.
    let dead = |of: &Analysis| -> Vec<Vec<Source>> {
        of.findings.iter().filter(|f| f.rule == Rule::DeadGrant).map(|f| f.sources.clone()).collect()
    };
    let in_both = dead(&free);
    bound.findings.retain(|f| f.rule != Rule::DeadGrant || in_both.contains(&f.sources));
    // The rest is said by the other.
    for finding in free.findings.into_iter().filter(|f| f.rule <= Rule::HeldBack) {
        let is_same = |f: &&mut super::Finding| {
            (f.rule, &f.principal, &f.condition) == (finding.rule, &finding.principal, &finding.condition)
        };
        match bound.findings.iter_mut().find(is_same) {
            Some(known) => {
                known.actions.extend(finding.actions);
                known.actions.sort();
                known.actions.dedup();
            }
            None => bound.findings.push(finding),
        }
    }
    let key = |f: &super::Finding| (f.rule, f.principal.clone(), f.condition.clone());
    bound.findings.sort_by_key(key);
    bound
}
