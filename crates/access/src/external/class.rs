//! What kind of outsider a request comes from (access.md 7 to 9).

use super::Question;
use crate::finding::Rule;
use crate::policy::{Base, Condition};
use crate::request::{Principal, Request};
use crate::services::tables;
use crate::symbolic::Cell;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Addresses of the internet that still count as named networks: a /8 of v4, a /32 of v6 (S3 access-control-block-public-access).
const V4_MAX: u128 = 1 << 24;
const V6_MAX: u128 = 1 << 96;

/// Account ids in a text: twelve digits that stand alone.
pub(super) fn accounts(text: &str) -> BTreeSet<String> {
    ids(text).map(str::to_owned).collect()
}

fn ids(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_digit()).filter(|run| run.len() == 12)
}

impl Question<'_> {
    /// Class of a request that somebody outside makes. `is_small`: the networks that nobody is bound in are, all together, few addresses.
    pub(super) fn class(&self, request: &Request, is_small: bool) -> Rule {
        match self.bound(request) {
            Some(rule) => rule,
            None if self.is_from_endpoint(request) || (is_small && address(request).is_some()) => {
                Rule::Network
            }
            None => Rule::Public,
        }
    }

    /// To whom a caller is bound; `None`: to nobody.
    fn bound(&self, request: &Request) -> Option<Rule> {
        let value = |key: &str| request.context.get(key).and_then(|v| v.first()).map(String::as_str);
        // Through an access point of a named account: its policy decides, and it is not seen from here.
        let is_bucket = !self.bundle.fixed.contains_key("s3:dataaccesspointaccount");
        let through = value("s3:dataaccesspointaccount")
            .is_some_and(|v| self.is_written("s3:dataaccesspointaccount", v))
            || value("s3:dataaccesspointarn")
                .and_then(|v| v.split(':').nth(4))
                .is_some_and(|a| self.is_named(a));
        if is_bucket && through {
            return Some(Rule::Account);
        }
        match request.principal.as_ref()? {
            Principal::Anonymous => None,
            Principal::Canonical(_) => Some(Rule::Canonical),
            Principal::Federated(provider) => self.bound_tenant(provider, request),
            Principal::Service(_) => {
                // Bound to somebody, but not to us: it stays a deputy. Who owns a topic is an account that is named.
                let owner = value("aws:sourceowner").filter(|v| self.is_written("aws:sourceowner", v));
                Some(if owner.is_some() { Rule::Account } else { Rule::ConfusedDeputy })
            }
            principal @ (Principal::Iam(_) | Principal::Session { .. }) => {
                if principal.account().is_some_and(|account| self.is_named(account)) {
                    return Some(Rule::Account);
                }
                // CloudFront's own users: whose distribution it is cannot be seen (S3 private-content-restricting-access-to-s3-oai).
                if principal.account() == Some("cloudfront") {
                    return Some(Rule::Canonical);
                }
                if ["aws:principalorgid", "aws:principalorgpaths"]
                    .iter()
                    .any(|key| value(key).is_some_and(|v| self.is_organization(key, v)))
                {
                    return Some(Rule::Organization);
                }
                // The unique id of somebody: nobody else can have it (IAM reference_identifiers, unique identifiers).
                value("aws:userid").filter(|v| self.is_id(v)).map(|_| Rule::Account)
            }
        }
    }

    /// Whether a document names an account: then it is told apart from every other.
    fn is_named(&self, account: &str) -> bool {
        self.bundle.parts.iter().chain(self.bundle.levels.iter().flat_map(|l| &l.parts)).any(|p| {
            p.document.statements.iter().any(|s| {
                let principals = s.principal.iter().flat_map(|p| &p.values).map(|(_, w)| w);
                let values = s.conditions.iter().flat_map(|c| &c.values);
                principals.chain(values).any(|w| w.text == account || ids(&w.text).any(|id| id == account))
            })
        })
    }

    fn conditions(&self, key: &str) -> impl Iterator<Item = &Condition> {
        let of = self.bundle.parts.iter().flat_map(|p| &p.document.statements).flat_map(|s| &s.conditions);
        of.filter(move |c| c.key.eq_ignore_ascii_case(key))
    }

    /// Whether a value stands in a document as it is: the only one that fits.
    fn is_written(&self, key: &str, value: &str) -> bool {
        self.conditions(key).any(|c| {
            c.values
                .iter()
                .any(|w| w.text == value && !(c.operator.has_wildcards() && w.text.contains(['*', '?'])))
        })
    }

    /// `o-…`, or a path in a named organisation, wildcards behind it or not.
    fn is_organization(&self, key: &str, value: &str) -> bool {
        let first = value.split('/').next().unwrap_or_default();
        self.conditions(key).any(|c| {
            c.values.iter().any(|w| {
                let named = w.text.split('/').next().unwrap_or_default();
                named == first && !(c.operator.has_wildcards() && named.contains(['*', '?']))
            })
        })
    }

    /// `AROA…:name`, `AIDA…`: some id is written before any wildcard.
    fn is_id(&self, value: &str) -> bool {
        self.conditions("aws:userid").any(|c| {
            c.values.iter().any(|w| {
                let named = w.text.split(':').next().unwrap_or_default();
                named.len() >= 16 && !named.contains(['*', '?']) && value.starts_with(named)
            })
        })
    }

    /// A provider that many share binds only with a claim that tells its tenants apart.
    fn bound_tenant(&self, provider: &str, request: &Request) -> Option<Rule> {
        let host = provider.rsplit("oidc-provider/").next().unwrap_or(provider);
        let host = host.strip_suffix('/').unwrap_or(host);
        let named = self
            .bundle
            .parts
            .iter()
            .flat_map(|p| &p.document.statements)
            .filter_map(|s| s.principal.as_ref());
        // Whatever provider there is, or will be.
        if !named.flat_map(|p| &p.values).any(|(_, w)| w.text == provider) {
            return None;
        }
        if !tables::is_shared(host) {
            return Some(Rule::Federated);
        }
        let prefix = format!("{}:", host.to_ascii_lowercase());
        if host == "cognito-identity.amazonaws.com" && self.bundle.guests {
            let how = request.context.get("cognito-identity.amazonaws.com:amr");
            let has = |values: &[String], word: &str| values.iter().any(|v| v == word);
            if how.is_none_or(|values| has(values, "unauthenticated") && !has(values, "authenticated")) {
                return None;
            }
        }
        let claims = request
            .context
            .iter()
            .filter_map(|(key, values)| Some((key, key.strip_prefix(&prefix)?, values)));
        claims
            .into_iter()
            .any(|(key, claim, values)| {
                values.iter().any(|value| self.is_bound_claim(host, key, claim, value))
            })
            .then_some(Rule::Federated)
    }

    /// Whether a value of a claim is one that a document writes out far enough to be of one tenant. Tests that keep others out count
    /// as those that let some in: what is asked is only where this value stands.
    fn is_bound_claim(&self, host: &str, key: &str, claim: &str, value: &str) -> bool {
        self.conditions(key).any(|c| {
            let operator = c.operator;
            c.values.iter().any(|w| {
                tables::binds(host, claim, &w.text, operator.has_wildcards())
                    && match operator.base {
                        Base::StringEqualsIgnoreCase => w.text.eq_ignore_ascii_case(value),
                        _ if operator.has_wildcards() => crate::eval::like(&w.text, value),
                        _ => w.text == value,
                    }
            })
        })
    }

    /// Whether a request comes through a named endpoint or from a named private network.
    fn is_from_endpoint(&self, request: &Request) -> bool {
        const KEYS: [&str; 6] = [
            "aws:sourcevpc",
            "aws:sourcevpce",
            "aws:sourcevpcarn",
            "aws:vpceaccount",
            "aws:vpceorgid",
            // Over the mount target: whoever can reach it in the private network (EFS access-control-block-public-access).
            "elasticfilesystem:accessedviamounttarget",
        ];
        KEYS.iter().any(|key| {
            let value = request.context.get(*key).and_then(|v| v.first());
            value.is_some_and(|v| v != "false" && self.is_written(key, v))
        })
    }

    /// Whether the networks that nobody is bound in are few addresses, all together.
    pub(super) fn are_networks_small<'c>(&self, cells: impl Iterator<Item = &'c Cell>) -> bool {
        let networks: Vec<Network> = self
            .conditions("aws:sourceip")
            .filter(|c| c.operator.base == Base::IpAddress)
            .flat_map(|c| c.values.iter().filter_map(|w| Network::read(&w.text)))
            .collect();
        let hits = |of: &Network| -> Vec<bool> { networks.iter().map(|n| n.has(of)).collect() };
        let mut allowed: BTreeSet<(bool, Vec<bool>)> = BTreeSet::new();
        for cell in cells {
            if let Some(one) = address(&cell.request).map(Network::one)
                && self.bound(&cell.request).is_none()
            {
                allowed.insert((one.is_v6, hits(&one)));
            }
        }
        let total = |is_v6: bool| -> u128 {
            let mut ends: BTreeSet<u128> = BTreeSet::from([0]);
            for n in networks.iter().filter(|n| n.is_v6 == is_v6) {
                ends.insert(n.first);
                ends.extend(n.last.checked_add(1));
            }
            let max = if is_v6 { u128::MAX } else { u128::from(u32::MAX) };
            ends.retain(|e| *e <= max);
            let ends: Vec<u128> = ends.into_iter().collect();
            let mut sum = 0u128;
            for (at, first) in ends.iter().enumerate() {
                let last = ends.get(at + 1).map_or(max, |next| next - 1);
                let segment = Network { is_v6, first: *first, last: *first };
                if allowed.contains(&(is_v6, hits(&segment))) {
                    sum = sum.saturating_add((last - first).saturating_add(1));
                }
            }
            sum
        };
        total(false) <= V4_MAX && total(true) <= V6_MAX
    }
}

fn address(request: &Request) -> Option<IpAddr> {
    request.context.get("aws:sourceip")?.first()?.parse().ok()
}

struct Network {
    is_v6: bool,
    first: u128,
    last: u128,
}

impl Network {
    fn one(address: IpAddr) -> Network {
        let (is_v6, value) = match address {
            IpAddr::V4(a) => (false, u128::from(u32::from(a))),
            IpAddr::V6(a) => (true, u128::from(a)),
        };
        Network { is_v6, first: value, last: value }
    }

    fn read(text: &str) -> Option<Network> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let one = Network::one(address.trim().parse().ok()?);
        let bits: u32 = if one.is_v6 { 128 } else { 32 };
        let prefix: u32 = prefix.map_or(Some(bits), |p| p.parse().ok()).filter(|p| *p <= bits)?;
        let free = bits - prefix;
        let mask = if free == 128 { u128::MAX } else { (1u128 << free) - 1 };
        Some(Network { is_v6: one.is_v6, first: one.first & !mask, last: one.first | mask })
    }

    fn has(&self, other: &Network) -> bool {
        self.is_v6 == other.is_v6 && self.first <= other.first && other.last <= self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_in_texts() {
        assert_eq!(
            accounts("arn:aws:iam::111122223333:role/444455556666x"),
            BTreeSet::from(["111122223333".to_owned(), "444455556666".to_owned()])
        );
        assert!(accounts("1111222233334").is_empty());
    }

    #[test]
    fn networks() {
        let n = Network::read("10.0.0.7/8").unwrap();
        assert_eq!((n.first, n.last), (10 << 24, (11 << 24) - 1));
        assert!(n.has(&Network::read("10.1.2.3").unwrap()) && !n.has(&Network::read("::/0").unwrap()));
        assert!(Network::read("10.0.0.0/33").is_none() && Network::read("x").is_none());
    }
}
