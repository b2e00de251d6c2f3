//! The requests that documents could tell apart: of every text the text itself, one character more and one less, its wildcards filled in
//! several ways; the ends of intervals and what lies beside them; each key with one value, with two, and missing (access.md 20). It
//! knows nothing of how the engine or the evaluator match.

use crate::generate::Dice;
use access::catalog::{Shape, resource_shapes};
use access::policy::{Base, Condition, Document, Quantifier, Word};
use access::{Context, Principal, Request};
use std::collections::{BTreeMap, BTreeSet};

/// Who asks, with the keys that follow from it.
pub type Who = (Option<Principal>, Context);

/// Values of a key that a request may have; `None`: it does not have the key.
type Values = Vec<Option<Vec<String>>>;

/// All that requests are made of, each part free of the others.
pub struct Space {
    pub actions: Vec<String>,
    pub resources: Vec<String>,
    pub people: Vec<Who>,
    pub keys: Vec<(String, Values)>,
    /// Keys that follow from who asks.
    decided: Vec<String>,
}

/// Keys that hold several values whatever the operator says.
const MANY: [&str; 4] =
    ["aws:principalorgpaths", "aws:sourceorgpaths", "aws:tagkeys", "aws:principalservicenameslist"];

impl Space {
    /// `more`: further values of a key. `people`: who asks, and the keys that this decides, which are no parts of their own.
    pub fn of(documents: &[&Document], people: Vec<Who>, more: &dyn Fn(&str) -> Vec<String>) -> Space {
        let statements = || documents.iter().flat_map(|d| &d.statements);
        let actions = statements().flat_map(|s| &s.action.values);
        let mut actions: BTreeSet<String> = actions.flat_map(|w| around(&w.text)).collect();
        actions.extend(more("action"));
        actions.retain(|a| is_action(a));
        let resources = statements().filter_map(|s| s.resource.as_ref()).flat_map(|r| &r.values);
        let mut resources: BTreeSet<String> = resources.flat_map(|w| around(&w.text)).collect();
        resources.extend(more("resource"));
        resources.retain(|r| is_resource(r));
        let decided: BTreeSet<String> = people.iter().flat_map(|(_, keys)| keys.keys().cloned()).collect();
        let mut keys: BTreeMap<String, Vec<&Condition>> = BTreeMap::new();
        for condition in statements().flat_map(|s| &s.conditions) {
            let name = condition.name();
            if !decided.contains(&name) {
                keys.entry(name).or_default().push(condition);
            }
        }
        for key in variables(documents).into_iter().filter(|key| !decided.contains(key)) {
            keys.entry(key).or_default();
        }
        let keys = keys.into_iter().map(|(key, of)| {
            let mut more = more(&key);
            if of.is_empty() {
                more.extend(["a", "zz"].map(str::to_owned));
            }
            let values = values(&key, &of, more);
            (key, values)
        });
        Space {
            actions: actions.into_iter().collect(),
            resources: resources.into_iter().collect(),
            people,
            keys: keys.collect(),
            decided: decided.into_iter().collect(),
        }
    }

    /// How many requests there are.
    pub fn size(&self) -> u64 {
        let keys = self.keys.iter().map(|(_, values)| values.len());
        let all = [self.actions.len(), self.resources.len(), self.people.len()].into_iter().chain(keys);
        all.fold(1, |size, n| size.saturating_mul(n as u64))
    }

    fn lengths(&self) -> Vec<usize> {
        let keys = self.keys.iter().map(|(_, values)| values.len());
        [self.actions.len(), self.resources.len(), self.people.len()].into_iter().chain(keys).collect()
    }

    /// Puts one part of a request to one of its values.
    fn set(&self, request: &mut Request, part: usize, at: usize) {
        match part {
            0 => request.action.clone_from(&self.actions[at]),
            1 => request.resource.clone_from(&self.resources[at]),
            2 => {
                self.decided.iter().for_each(|key| drop(request.context.remove(key)));
                let (who, keys) = &self.people[at];
                request.principal.clone_from(who);
                request.context.extend(keys.iter().map(|(key, values)| (key.clone(), values.clone())));
            }
            _ => {
                let (key, values) = &self.keys[part - 3];
                match &values[at] {
                    None => drop(request.context.remove(key)),
                    Some(values) => match request.context.get_mut(key) {
                        Some(slot) => slot.clone_from(values),
                        None => drop(request.context.insert(key.clone(), values.clone())),
                    },
                }
            }
        }
    }

    fn first(&self) -> Request {
        let mut out = Request {
            principal: None,
            action: String::new(),
            resource: String::new(),
            context: Context::new(),
        };
        (0..self.lengths().len()).for_each(|part| self.set(&mut out, part, 0));
        out
    }

    /// Every request, until `visit` says that it has seen enough.
    pub fn each(&self, mut visit: impl FnMut(&Request) -> bool) {
        let lengths = self.lengths();
        if lengths.contains(&0) {
            return;
        }
        let mut at = vec![0; lengths.len()];
        let mut request = self.first();
        loop {
            if !visit(&request) {
                return;
            }
            let mut part = 0;
            loop {
                let Some(slot) = at.get_mut(part) else { return };
                *slot = (*slot + 1) % lengths[part];
                self.set(&mut request, part, *slot);
                if *slot > 0 {
                    break;
                }
                part += 1;
            }
        }
    }

    /// Some of the requests: each differs from the one before it in one part or two, which costs less than making it anew. `visit` says
    /// whether a request is near what is looked for; from one that is not, most ways lead back to the last that was.
    pub fn some(&self, dice: &mut Dice, count: usize, mut visit: impl FnMut(&Request) -> bool) {
        let lengths = self.lengths();
        if lengths.contains(&0) {
            return;
        }
        let mut request = self.first();
        let mut at: Vec<usize> = lengths.iter().map(|n| dice.below(*n)).collect();
        (0..lengths.len()).for_each(|part| self.set(&mut request, part, at[part]));
        let mut home = at.clone();
        for _ in 0..count {
            for _ in 0..1 + dice.below(2) {
                let part = dice.below(lengths.len());
                at[part] = dice.below(lengths[part]);
                self.set(&mut request, part, at[part]);
            }
            if visit(&request) {
                home.clone_from(&at);
            } else if dice.below(4) > 0 {
                for part in (0..lengths.len()).filter(|part| at[*part] != home[*part]) {
                    self.set(&mut request, part, home[part]);
                }
                at.clone_from(&home);
            }
        }
    }

    /// Requests beside one that is near what is looked for: each differs in a few parts from the last that was.
    pub fn beside(
        &self,
        dice: &mut Dice,
        start: &Request,
        count: usize,
        mut visit: impl FnMut(&Request) -> bool,
    ) {
        let lengths = self.lengths();
        if lengths.contains(&0) {
            return;
        }
        let mut home = start.clone();
        for _ in 0..count {
            let mut request = home.clone();
            for _ in 0..1 + dice.below(3) {
                let part = dice.below(lengths.len());
                self.set(&mut request, part, dice.below(lengths[part]));
            }
            if visit(&request) {
                home = request;
            }
        }
    }
}

/// Keys that texts of the documents refer to.
fn variables(documents: &[&Document]) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for text in documents.iter().map(|d| d.text.as_str()) {
        for behind in text.split("${").skip(1) {
            let key = behind.split(['}', ',']).next().unwrap_or_default().trim();
            if key.contains(':') {
                out.insert(key.to_ascii_lowercase());
            }
        }
    }
    out
}

/// Who may ask a document that names principals: those it names, others of their accounts, and strangers of each kind.
pub fn callers(documents: &[&Document]) -> Vec<Who> {
    let mut out = vec![
        Principal::Anonymous,
        Principal::Iam("arn:aws:iam::555566667777:user/z".to_owned()),
        Principal::Service("other.amazonaws.com".to_owned()),
        Principal::Federated("other.example.com".to_owned()),
        Principal::Canonical("0000".to_owned()),
    ];
    let words = documents.iter().flat_map(|d| &d.statements).filter_map(|s| s.principal.as_ref());
    for (kind, word) in words.flat_map(|p| &p.values) {
        out.extend(named(*kind, word));
    }
    // The conditions on an ARN tell apart whose it is.
    let conditions = documents.iter().flat_map(|d| &d.statements).flat_map(|s| &s.conditions);
    for word in conditions.filter(|c| c.name() == "aws:principalarn").flat_map(|c| &c.values) {
        out.extend(around(&word.text).into_iter().filter(|a| is_caller(a)).map(Principal::Iam));
    }
    out.sort();
    out.dedup();
    out.into_iter().map(|who| (Some(who.clone()), keys_of(&who))).collect()
}

/// Callers that a principal of a policy may mean.
pub fn named(kind: access::policy::PrincipalKind, word: &Word) -> Vec<Principal> {
    use access::policy::PrincipalKind as Kind;
    let text = word.text.as_str();
    let parts: Vec<&str> = text.split(':').collect();
    match kind {
        Kind::Everyone => Vec::new(),
        Kind::Service => vec![Principal::Service(text.to_owned())],
        Kind::Federated if text == "*" => Vec::new(),
        Kind::Federated => vec![Principal::Federated(text.to_owned())],
        Kind::CanonicalUser => vec![Principal::Canonical(text.to_owned())],
        Kind::Aws => {
            let account = if parts.len() == 6 { parts[4] } else { text };
            if account.len() != 12 {
                return Vec::new();
            }
            let mut out = vec![
                Principal::Iam(format!("arn:aws:iam::{account}:root")),
                Principal::Iam(format!("arn:aws:iam::{account}:user/other")),
            ];
            if is_caller(text) {
                out.push(Principal::Iam(text.to_owned()));
                out.push(Principal::Iam(format!("{text}x")));
            }
            if let Some(rest) = parts.get(5).and_then(|p| p.strip_prefix("assumed-role/"))
                && let Some((role, name)) = rest.split_once('/')
            {
                // Of the same names in another account as well.
                for (account, name) in [(account, "other"), (account, name), ("222222222222", name)] {
                    let role = format!("arn:aws:iam::{account}:role/{role}");
                    out.push(Principal::Session { role, name: name.to_owned() });
                }
            }
            out
        }
    }
}

/// The keys that follow from who asks without any knowledge of the world.
fn keys_of(who: &Principal) -> Context {
    let one = |key: &str, value: &str| (key.to_owned(), vec![value.to_owned()]);
    let arn = who.arn().map(|arn| one("aws:principalarn", arn));
    let account = who.account().map(|account| one("aws:principalaccount", account));
    arn.into_iter().chain(account).collect()
}

/// ARNs of principals: users, roles and the root user are IAM's, federated users STS's.
fn is_caller(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    matches!(parts.as_slice(), ["arn", partition, "iam" | "sts", "", account, rest]
        if !partition.is_empty() && !account.is_empty() && !rest.is_empty() && !rest.starts_with("assumed-role/")
            && !text.contains(['*', '?', '$']))
}

/// The text, more of it and less, and its wildcards and variables filled in.
fn around(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let plain = without_variables(text);
    for filled in if plain.contains(['*', '?']) { &["", "x", ":", "/", "b"][..] } else { &[""] } {
        let one = if filled.is_empty() { "y" } else { filled };
        let text = plain.replace('*', filled).replace('?', one);
        out.push(format!("{text}x"));
        if filled.is_empty() {
            let mut cut = text.clone();
            cut.pop();
            out.push(cut);
        }
        out.push(text);
    }
    out
}

fn without_variables(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("${") {
        let Some((_, behind)) = behind.split_once('}') else { break };
        out = out + before + "a";
        rest = behind;
    }
    out + rest
}

fn is_action(text: &str) -> bool {
    let mut parts = text.split(':');
    let is_there = |part: Option<&str>| part.is_some_and(|p| !p.is_empty());
    is_there(parts.next()) && is_there(parts.next()) && parts.next().is_none() && !text.contains(['*', '?'])
}

/// An ARN that some resource of its service can have; or `*`, what actions are asked for that know no resource.
fn is_resource(text: &str) -> bool {
    if text == "*" {
        return true;
    }
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let ["arn", partition, service, _, _, rest] = parts.as_slice() else { return false };
    let rest: Vec<char> = rest.chars().collect();
    !partition.is_empty()
        && !service.is_empty()
        && resource_shapes(service).iter().any(|shape| has_shape(shape, &rest))
}

fn has_shape(shape: &[Shape], text: &[char]) -> bool {
    let Some((first, more)) = shape.split_first() else { return text.is_empty() };
    let next =
        |is: &dyn Fn(char) -> bool| text.first().is_some_and(|c| is(*c)) && has_shape(more, &text[1..]);
    let any = |is: &dyn Fn(char) -> bool| {
        (0..=text.len()).any(|at| text[..at].iter().all(|c| is(*c)) && has_shape(more, &text[at..]))
    };
    match first {
        Shape::Char(c) => next(&|of| of == *c),
        Shape::Some => next(&|of| of != ':'),
        Shape::SomeWithColons => next(&|_| true),
        Shape::More => any(&|of| of != ':'),
        Shape::MoreWithColons => any(&|_| true),
    }
}

/// Values of a key: what its conditions could tell apart, missing, and two at a time where it can have several.
fn values(key: &str, conditions: &[&Condition], more: Vec<String>) -> Values {
    let is_bool = |c: &&Condition| c.operator.base == Base::Bool;
    let is_null = |c: &&Condition| c.operator.base == Base::Null;
    let mut singles: BTreeSet<String> = more.into_iter().collect();
    for condition in conditions {
        for word in &condition.values {
            singles.extend(match condition.operator.base {
                Base::Null => vec!["z".to_owned()],
                Base::Bool => vec!["true".to_owned(), "false".to_owned()],
                Base::Numeric(_) => numbers(&word.text),
                Base::Date(_) => dates(&word.text),
                Base::IpAddress => addresses(&word.text),
                // Also as it stands: not every operator has wildcards.
                _ => {
                    let own = [word.text.clone(), word.text.to_ascii_uppercase(), "z".to_owned()];
                    [around(&word.text), own.to_vec()].concat()
                }
            });
        }
    }
    if conditions.iter().all(|c| is_bool(c) || is_null(c)) && conditions.iter().any(is_bool) {
        singles.retain(|v| v == "true" || v == "false");
    }
    // Other keys hold one value, unless nothing but sets of them is asked about.
    let mut asked = conditions.iter().filter(|c| !is_null(c)).peekable();
    let are_sets = asked.peek().is_some() && asked.all(|c| c.operator.quantifier != Quantifier::Plain);
    let is_many = MANY.contains(&key) || are_sets;
    let mut out: Values = vec![None];
    out.extend(singles.iter().map(|v| Some(vec![v.clone()])));
    if is_many {
        for (at, one) in singles.iter().enumerate() {
            out.extend(singles.iter().skip(at + 1).map(|two| Some(vec![one.clone(), two.clone()])));
        }
    }
    out
}

fn numbers(text: &str) -> Vec<String> {
    let Ok(n) = text.parse::<f64>() else { return vec!["0".to_owned()] };
    [n - 1.0, n - 0.25, n, n + 0.25, n + 1.0].map(|n| n.to_string()).to_vec()
}

fn dates(text: &str) -> Vec<String> {
    let full = if text.contains('T') { text.to_owned() } else { format!("{text}T00:00:00Z") };
    let time = model::Time::parse_rfc3339(full.as_bytes()).map(|t| t.0 / 1_000_000);
    let Some(seconds) = time.or_else(|| text.parse::<i64>().ok()) else { return vec!["0".to_owned()] };
    [seconds - 1, seconds, seconds + 1].map(|s| s.to_string()).to_vec()
}

/// The ends of a network, what lies beside them, and an address of the other family.
fn addresses(text: &str) -> Vec<String> {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    let (base, prefix) = text.split_once('/').map_or((text, None), |(b, p)| (b, p.parse::<u32>().ok()));
    match base.parse() {
        Ok(IpAddr::V4(a)) => {
            let span = 1u64.checked_shl(32 - prefix.unwrap_or(32).min(32)).unwrap_or(1);
            let first = u64::from(u32::from(a)) / span * span;
            let near = [first.wrapping_sub(1), first, first + span - 1, first + span];
            let text = |n: u64| u32::try_from(n).ok().map(|n| Ipv4Addr::from(n).to_string());
            near.into_iter().filter_map(text).chain(["2001:db8::1".to_owned()]).collect()
        }
        Ok(IpAddr::V6(a)) => {
            let free = 128 - prefix.unwrap_or(128).min(128);
            let mask = 1u128.checked_shl(free).map_or(u128::MAX, |bit| bit - 1);
            let (first, last) = (u128::from(a) & !mask, u128::from(a) | mask);
            let near = [Some(first), Some(last), first.checked_sub(1), last.checked_add(1)];
            let text = |n: u128| Ipv6Addr::from(n).to_string();
            near.into_iter().flatten().map(text).chain(["192.0.2.1".to_owned()]).collect()
        }
        Err(_) => vec!["192.0.2.1".to_owned()],
    }
}
