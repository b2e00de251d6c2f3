//! Condition keys: their types, and whether a request has one value or many (IAM reference_policies_condition-keys).

use super::services::{kind, service_keys, with_keys};
use std::sync::LazyLock;

const GLOBAL: &str = include_str!("../../data/global-keys.txt");

/// What the values of a key are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum KeyKind {
    String,
    Arn,
    Bool,
    Numeric,
    Date,
    IpAddress,
    Binary,
}

impl KeyKind {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            KeyKind::String => "String",
            KeyKind::Arn => "ARN",
            KeyKind::Bool => "Bool",
            KeyKind::Numeric => "Numeric",
            KeyKind::Date => "Date",
            KeyKind::IpAddress => "IPAddress",
            KeyKind::Binary => "Binary",
        }
    }
}

/// What a key of all services is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mark {
    /// Who asks.
    Identity,
    /// Where the request comes from.
    Network,
    /// The resource: says nothing about who asks.
    Resource,
    /// Present only when an AWS service calls by itself for a resource.
    Service,
    /// A wildcard in its value has no use, and may match what nobody meant.
    Sensitive,
}

/// `aws:SourceArn`, or with a part that policies choose: `aws:RequestTag/${TagKey}`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    pub name: &'static str,
    pub kind: KeyKind,
    /// A request may have several values of it (`ArrayOf…` in AWS's reference).
    pub multivalued: bool,
    marks: &'static str,
}

impl Key {
    pub(super) fn new(name: &'static str, of: &str, marks: &'static str) -> Key {
        let (kind, multivalued) = kind(of);
        Key { name, kind, multivalued, marks }
    }

    #[must_use]
    pub fn is(&self, mark: Mark) -> bool {
        let name = match mark {
            Mark::Identity => "identity",
            Mark::Network => "network",
            Mark::Resource => "resource",
            Mark::Service => "service",
            Mark::Sensitive => "sensitive",
        };
        self.marks.split(',').any(|m| m == name)
    }

    /// The key that AWS names in its place.
    #[must_use]
    pub fn replaced_by(&self) -> Option<&'static str> {
        self.marks.split(',').find_map(|m| m.strip_prefix("old="))
    }

    /// Whether a policy that writes `name`, in any case, means this key.
    #[must_use]
    pub fn names(&self, name: &str) -> bool {
        let Some((before, rest)) = self.name.split_once("${") else {
            return self.name.eq_ignore_ascii_case(name);
        };
        let after = rest.split_once('}').map(|(_, after)| after).unwrap_or_default();
        let has_start = name.get(..before.len()).is_some_and(|start| start.eq_ignore_ascii_case(before));
        let end = name.len().checked_sub(after.len()).filter(|end| *end > before.len());
        has_start && end.and_then(|end| name.get(end..)).is_some_and(|end| end.eq_ignore_ascii_case(after))
    }
}

static GLOBAL_KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let rows = GLOBAL.lines().filter(|l| !l.starts_with('#'));
    let read = |row: &'static str| {
        let mut columns = row.split('\t');
        Some(Key::new(columns.next()?, columns.next()?, columns.next().unwrap_or_default()))
    };
    rows.filter_map(read).collect()
});

/// The keys that requests of every service may have.
#[must_use]
pub fn global_keys() -> &'static [Key] {
    &GLOBAL_KEYS
}

/// Whether requests of every service may have it.
#[must_use]
pub fn is_global(key: &Key) -> bool {
    GLOBAL_KEYS.iter().any(|k| k.name == key.name)
}

/// A key by its name, in any case; a tag key or the like may stand in it. `None`: it is not known, and may exist.
#[must_use]
pub fn key(name: &str) -> Option<Key> {
    let (prefix, _) = name.split_once(':')?;
    // A few keys of services are filled for all of them.
    let global = find(&GLOBAL_KEYS, name);
    if global.is_some() || prefix.eq_ignore_ascii_case("aws") {
        return global;
    }
    with_keys(&prefix.to_ascii_lowercase()).find_map(|service| find(service_keys(service), name))
}

/// The key itself before one with a part that could be it.
fn find(keys: &[Key], name: &str) -> Option<Key> {
    let whole = keys.iter().find(|k| k.name.eq_ignore_ascii_case(name));
    whole.or_else(|| keys.iter().find(|k| k.names(name))).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::services;

    #[test]
    fn keys_by_name() {
        let of = |name: &str| key(name).map(|k| (k.name, k.kind.name(), k.multivalued));
        assert_eq!(of("AWS:sourcearn"), Some(("aws:SourceArn", "ARN", false)));
        assert_eq!(of("aws:tagkeys"), Some(("aws:TagKeys", "String", true)));
        assert_eq!(of("aws:RequestTag/Team"), Some(("aws:RequestTag/${TagKey}", "String", false)));
        assert_eq!(of("s3:ExistingObjectTag/a"), Some(("s3:ExistingObjectTag/${key}", "String", false)));
        assert_eq!(of("saml:sub"), Some(("saml:sub", "String", false)));
        assert_eq!(
            of("kms:EncryptionContext:app"),
            Some(("kms:EncryptionContext:${EncryptionContextKey}", "String", false))
        );
        assert_eq!(of("s3:max-keys"), Some(("s3:max-keys", "Numeric", false)));
        for unknown in ["aws:RequestTag/", "aws:Sourcearns", "nobody:x", "sub", "", "example.com:aud"] {
            assert_eq!(of(unknown), None, "{unknown}");
        }
        assert!(key("aws:sourcearn").unwrap().is(Mark::Service));
        assert!(key("aws:SourceVpc").unwrap().is(Mark::Sensitive));
        assert_eq!(key("aws:arn").unwrap().replaced_by(), Some("aws:PrincipalArn"));
    }

    /// The global keys that services list too have the same types here and there.
    #[test]
    fn global_keys_agree_with_services() {
        assert_eq!(GLOBAL_KEYS.len(), 63);
        for service in services() {
            for k in service_keys(service).iter().filter(|k| k.name.starts_with("aws:")) {
                let ours = key(k.name).unwrap();
                assert_eq!((ours.kind, ours.multivalued), (k.kind, k.multivalued), "{service} {}", k.name);
            }
        }
    }
}
