//! Statements that do nothing, proved by the engine: it is asked whether there is a request that the statement decides. It is asked only
//! where the words of the document leave that open, since most statements differ at a glance.

use super::resources::meet;
use super::{Case, Report, opened};
use crate::policy::{Base, Condition, Document, Effect, Statement, Words};
use crate::symbolic::{Verdict, implies};

/// Statements up to which pairs are looked at.
const PAIRS_MAX: usize = 256;

pub(super) fn check(case: &Case<'_>, out: &mut Report) {
    let document = case.document;
    let certain: Vec<&Statement> = document.statements.iter().filter(|s| s.is_certain).collect();
    let mut dead = vec![false; document.statements.len()];
    for s in &certain {
        if may_be_dead(s) && holds(document, &[s], &[]) {
            if let Some(slot) = dead.get_mut(s.index) {
                *slot = true;
            }
            let (code, what) = match s.effect {
                Effect::Allow => ("dead_allow", "no request meets this Allow"),
                Effect::Deny => ("dead_deny", "no request meets this Deny"),
            };
            out.add(code, s.span, what);
        }
    }
    if certain.len() > PAIRS_MAX {
        return;
    }
    let is_dead = |s: &Statement| dead.get(s.index).copied().unwrap_or(false);
    let live: Vec<&Statement> = certain.into_iter().filter(|s| !is_dead(s)).collect();
    let sketches: Vec<Sketch> = live.iter().map(|s| Sketch::of(s)).collect();
    let pairs = || live.iter().zip(&sketches);
    let mut gone: Vec<usize> = Vec::new();
    for (s, sketch) in pairs() {
        // One of two equal statements stays.
        let others: Vec<(&Statement, &Sketch)> = pairs()
            .filter(|(o, _)| o.index != s.index && !gone.contains(&o.index))
            .map(|(o, k)| (*o, k))
            .filter(|(_, k)| sketch.overlaps(k))
            .collect();
        let with = |effect: Effect| {
            others.iter().filter(|(o, _)| o.effect == effect).map(|(o, _)| *o).collect::<Vec<_>>()
        };
        let same = with(s.effect);
        let sketches_of =
            |effect: Effect| others.iter().filter(move |(o, _)| o.effect == effect).map(|(_, k)| *k);
        if sketch.is_covered(&sketches_of(s.effect).collect::<Vec<_>>()) && holds(document, &[s], &same) {
            gone.push(s.index);
            let by: Vec<String> = same.iter().map(|o| o.index.to_string()).collect();
            let (code, what) = match s.effect {
                Effect::Allow => ("shadowed_allow", "allows nothing that is not allowed already"),
                Effect::Deny => ("shadowed_deny", "denies nothing that is not denied already"),
            };
            out.add(code, s.span, format!("the statement {what}, by statement {}", by.join(", ")));
        } else if s.effect == Effect::Allow {
            let denying = with(Effect::Deny);
            if sketch.is_covered(&sketches_of(Effect::Deny).collect::<Vec<_>>())
                && holds(document, &[s], &denying)
            {
                let by: Vec<String> = denying.iter().map(|o| o.index.to_string()).collect();
                let what =
                    format!("everything the statement allows is denied by statement {}", by.join(", "));
                out.add("denied_allow", s.span, what);
            }
        }
    }
}

/// Whether every request that meets `one` meets one of `others`.
fn holds(document: &Document, one: &[&Statement], others: &[&Statement]) -> bool {
    let with = |statements: &[&Statement]| Document {
        text: String::new(),
        version: document.version,
        id: None,
        statements: statements
            .iter()
            .enumerate()
            .map(|(index, s)| Statement { index, effect: Effect::Allow, ..(*s).clone() })
            .collect(),
        problems: Vec::new(),
        has_duplicates: false,
    };
    implies(&with(one), &with(others)) == Verdict::Holds
}

/// A single test can always be met; to meet none takes two on one key, nothing to choose from, everything excluded, or a value that
/// does not compare.
fn may_be_dead(s: &Statement) -> bool {
    let excluded =
        |w: &Words| w.values.is_empty() || w.negated && w.values.iter().any(|w| w.text.contains('*'));
    let lists = excluded(&s.action) || s.resource.as_ref().is_some_and(excluded);
    let nobody = s
        .principal
        .as_ref()
        .is_some_and(|p| p.values.is_empty() || p.negated && p.values.iter().any(|(_, w)| w.text == "*"));
    let is_odd = |c: &Condition| {
        c.values.is_empty()
            || matches!(
                c.operator.base,
                Base::Bool
                    | Base::Numeric(_)
                    | Base::Date(_)
                    | Base::IpAddress
                    | Base::Binary
                    | Base::Null
                    | Base::Arn
            )
            || c.operator.negated && c.values.iter().any(|w| w.text.contains('*'))
    };
    let names: Vec<String> = s.conditions.iter().map(Condition::name).collect();
    let pairs = names.iter().enumerate().any(|(i, n)| names.iter().take(i).any(|o| o == n));
    lists || nobody || pairs || s.conditions.iter().any(is_odd)
}

/// What a statement is about, in patterns, wider than what it is.
struct Sketch {
    actions: Option<Vec<String>>,
    resources: Option<Vec<String>>,
    keys: Vec<String>,
}

impl Sketch {
    fn of(s: &Statement) -> Sketch {
        let texts = |w: &Words, lower: bool| {
            let text = |t: &str| if lower { t.to_ascii_lowercase() } else { opened(t) };
            (!w.negated).then(|| w.values.iter().map(|v| text(&v.text)).collect::<Vec<_>>())
        };
        Sketch {
            actions: texts(&s.action, true),
            resources: s.resource.as_ref().and_then(|r| texts(r, false)),
            keys: s.conditions.iter().map(Condition::name).collect(),
        }
    }

    fn overlaps(&self, other: &Sketch) -> bool {
        let meets = |a: &Option<Vec<String>>, b: &Option<Vec<String>>| match (a, b) {
            (Some(a), Some(b)) => a.iter().any(|x| b.iter().any(|y| meet(x, y))),
            _ => true,
        };
        meets(&self.actions, &other.actions) && meets(&self.resources, &other.resources)
    }

    /// Each of its patterns meets one of the others, and one of them at least asks for nothing that this one does not ask for.
    fn is_covered(&self, others: &[&Sketch]) -> bool {
        let asks_less = |o: &&&Sketch| o.keys.iter().all(|k| self.keys.contains(k));
        let able: Vec<&&Sketch> = others.iter().filter(asks_less).collect();
        if able.is_empty() {
            return false;
        }
        let each = |of: fn(&Sketch) -> &Option<Vec<String>>| {
            let Some(mine) = of(self) else { return able.iter().any(|o| of(o).is_none() || is_all(of(o))) };
            mine.iter().all(|x| {
                able.iter().any(|o| of(o).as_ref().is_none_or(|theirs| theirs.iter().any(|y| meet(x, y))))
            })
        };
        each(|k| &k.actions) && each(|k| &k.resources)
    }
}

fn is_all(list: &Option<Vec<String>>) -> bool {
    list.as_ref().is_some_and(|l| l.iter().any(|t| t == "*"))
}
