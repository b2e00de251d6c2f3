//! Statements that do nothing, proved by the engine: it is asked whether there is a request that the statement decides. It is asked only
//! where the words of the document leave that open, since most statements differ at a glance.

use super::resources::meet;
use super::{Case, Report, opened};
use crate::eval::{Doubt, outcome};
use crate::policy::{Base, Condition, Document, Effect, PrincipalKind, Statement, Word, Words};
use crate::reading::{Reading, Switches};
use crate::request::{Context, Principal, Request};
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
        // Statements of one effect that may decide for this one, if they can at all. One of two equal statements stays.
        let with = |effect: Effect| -> Option<Vec<&Statement>> {
            let others = || {
                pairs().filter(|(o, _)| o.effect == effect && o.index != s.index && !gone.contains(&o.index))
            };
            let sketches: Vec<&Sketch> = others().map(|(_, k)| k).collect();
            let is_open = sketch.is_covered(&sketches);
            is_open.then(|| others().filter(|(_, k)| sketch.overlaps(k)).map(|(o, _)| *o).collect())
        };
        let proved = |effect: Effect| with(effect).filter(|others| holds(document, &[s], others));
        let by = |others: &[&Statement]| {
            let numbers: Vec<String> = others.iter().map(|o| o.index.to_string()).collect();
            numbers.join(", ")
        };
        if let Some(same) = proved(s.effect) {
            let (code, what) = match s.effect {
                Effect::Allow => ("shadowed_allow", "allows nothing that is not allowed already"),
                Effect::Deny => ("shadowed_deny", "denies nothing that is not denied already"),
            };
            out.add(code, s.span, format!("the statement {what}, by statement {}", by(&same)));
            gone.push(s.index);
        } else if s.effect == Effect::Allow
            && let Some(denying) = proved(Effect::Deny)
        {
            let what = format!("everything the statement allows is denied by statement {}", by(&denying));
            out.add("denied_allow", s.span, what);
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
        touches: Switches::NONE,
        reading: Reading::NONE,
    };
    let (one, others) = (with(one), with(others));
    !is_refuted(&one, &others) && implies(&one, &others) == Verdict::Holds
}

/// Whether a sample request of the first document is none of the second. It spares the engine most questions.
fn is_refuted(one: &Document, others: &Document) -> bool {
    let Some(s) = one.statements.first() else { return false };
    let sketch = Sketch::of(s);
    let allowed = |d: &Document, r: &Request| outcome(d, r, Doubt::Allows).is_allowed();
    let contexts: Vec<Context> = (0..CONTEXTS).map(|n| context(s, n)).collect();
    let principals = principals(s);
    for action in samples(&sketch.actions).into_iter().take(ACTIONS) {
        // Without a service an action is none.
        let action = if action.contains(':') { action } else { format!("{FILL}:{FILL}") };
        for resource in samples(&sketch.resources).into_iter().take(RESOURCES) {
            for (context, principal) in contexts.iter().flat_map(|c| principals.iter().map(move |p| (c, p))) {
                let request = Request {
                    principal: principal.clone(),
                    action: action.clone(),
                    resource: resource.clone(),
                    context: context.clone(),
                };
                if allowed(one, &request) && !allowed(others, &request) {
                    return true;
                }
            }
        }
    }
    false
}

/// Samples that are tried before the engine is asked.
const CONTEXTS: usize = 3;
const ACTIONS: usize = 6;
const RESOURCES: usize = 12;

/// What stands for a wildcard or a variable.
const FILL: &str = "qzq";

/// Keys with the values that a statement asks for: the first of each list, the second, …
fn context(s: &Statement, n: usize) -> Context {
    let mut out = Context::new();
    let resources = s.resource.iter().flat_map(|r| &r.values);
    let values = s.conditions.iter().flat_map(|c| &c.values);
    for word in resources.chain(values) {
        for part in word.text.split("${").skip(1) {
            let key = part.split(['}', ',']).next().unwrap_or_default().trim().to_ascii_lowercase();
            out.insert(key, vec![FILL.to_owned()]);
        }
    }
    for c in &s.conditions {
        if c.operator.base == Base::Null {
            let wants_absent = c.values.iter().any(|w| w.text == "true");
            if wants_absent {
                out.remove(&c.name());
            } else {
                out.entry(c.name()).or_insert_with(|| vec![FILL.to_owned()]);
            }
        } else if !c.operator.negated
            && let Some(word) = c.values.get(n).or(c.values.last())
        {
            let text = opened(&word.text);
            let text = if c.operator.has_wildcards() { filled(&text) } else { text.replace('*', FILL) };
            out.insert(c.name(), vec![text]);
        }
    }
    out
}

fn principals(s: &Statement) -> Vec<Option<Principal>> {
    let Some(p) = &s.principal else { return vec![None] };
    let of = |(kind, word): &(PrincipalKind, Word)| match kind {
        PrincipalKind::Service => Principal::Service(word.text.clone()),
        PrincipalKind::Federated => Principal::Federated(word.text.clone()),
        PrincipalKind::CanonicalUser => Principal::Canonical(word.text.clone()),
        PrincipalKind::Aws if word.text.starts_with("arn:") && !word.text.ends_with(":root") => {
            Principal::Iam(word.text.clone())
        }
        PrincipalKind::Aws | PrincipalKind::Everyone => {
            let account = word.text.split(':').nth(4).unwrap_or(&word.text);
            let account = if super::is_account(account) { account } else { "999988887777" };
            Principal::Iam(format!("arn:aws:iam::{account}:role/{FILL}"))
        }
    };
    p.values.iter().take(ACTIONS).map(|v| Some(of(v))).collect()
}

fn filled(pattern: &str) -> String {
    pattern.replace('*', FILL).replace('?', "q")
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

    /// Whether a sample of it, an action and a resource of each of its patterns with letters for the wildcards, meets one of the others
    /// that ask for nothing that this one does not ask for. If not, it is not covered.
    fn is_covered(&self, others: &[&Sketch]) -> bool {
        let able: Vec<&&Sketch> =
            others.iter().filter(|o| o.keys.iter().all(|k| self.keys.contains(k))).collect();
        let actions = samples(&self.actions);
        let resources = samples(&self.resources);
        if actions.len() * resources.len() > SAMPLES_MAX {
            return false;
        }
        actions.iter().all(|a| {
            let with: Vec<&&&Sketch> = able.iter().filter(|o| takes(&o.actions, a)).collect();
            !with.is_empty() && resources.iter().all(|r| with.iter().any(|o| takes(&o.resources, r)))
        })
    }
}

/// Samples of one statement that are looked at.
const SAMPLES_MAX: usize = 100_000;

/// A text for each pattern; one that only `*` holds for a list of exceptions.
fn samples(patterns: &Option<Vec<String>>) -> Vec<String> {
    match patterns {
        Some(patterns) => patterns.iter().map(|p| filled(p)).collect(),
        None => vec![FILL.to_owned()],
    }
}

/// Exceptions may take anything.
fn takes(patterns: &Option<Vec<String>>, sample: &str) -> bool {
    patterns.as_ref().is_none_or(|list| list.iter().any(|p| meet(p, sample)))
}
