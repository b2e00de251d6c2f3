//! What kind of outsider a request comes from (access.md 7 to 9).

use super::Question;
use crate::finding::Rule;
use crate::policy::{Base, Condition, Quantifier};
use crate::services::tables;
use crate::request::{Principal, Request};
use crate::symbolic::Cell;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Addresses of the internet that still count as named networks: a /8 of v4, a /32 of v6 (S3 access-control-block-public-access).
const V4_MAX: u128 = 1 << 24;
const V6_MAX: u128 = 1 << 96;

/// Account ids in a text: twelve digits that stand alone.
pub(super) fn accounts(text: &str) -> BTreeSet<String> {
    let is_digit = |c: char| c.is_ascii_digit();
    text.split(|c: char| !is_digit(c)).filter(|run| run.len() == 12).map(str::to_owned).collect()
}

impl Question<'_> {
    /// Class of a request that somebody outside makes. `all`: the requests it is judged with, since networks count together.
    pub(super) fn class(&self, request: &Request, all: &[&Cell]) -> Rule {
        match self.bound(request) {
            Some(rule) => rule,
            None if self.is_from_named_networks(request, all) => Rule::Network,
            None => Rule::Public,
        }
    }

    /// To whom a caller is bound; `None`: to nobody.
    fn bound(&self, request: &Request) -> Option<Rule> {
        let value = |key: &str| request.context.get(key).and_then(|v| v.first()).map(String::as_str);
        match request.principal.as_ref()? {
            Principal::Anonymous => None,
            Principal::Canonical(_) => Some(Rule::Canonical),
            Principal::Federated(provider) => self.bound_tenant(provider, request),
            Principal::Service(_) => {
                let named = |key: &str| value(key).filter(|v| self.is_written(key, v));
                let of_account = named("aws:sourceaccount").is_some()
                    || named("aws:sourceowner").is_some()
                    || value("aws:sourcearn").is_some_and(|arn| {
                        accounts(arn.split(':').nth(4).unwrap_or_default()).iter().any(|a| self.is_named(a))
                    });
                Some(if of_account {
                    Rule::Account
                } else if named("aws:sourceorgid").is_some() || named("aws:sourceorgpaths").is_some() {
                    Rule::Organization
                } else {
                    Rule::ConfusedDeputy
                })
            }
            principal @ (Principal::Iam(_) | Principal::Session { .. }) => {
                if principal.account().is_some_and(|account| self.is_named(account)) {
                    return Some(Rule::Account);
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
        self.bundle.parts.iter().chain(self.bundle.levels.iter().flatten()).any(|p| {
            p.document.statements.iter().any(|s| {
                let principals = s.principal.iter().flat_map(|p| &p.values).map(|(_, w)| w);
                let values = s.conditions.iter().flat_map(|c| &c.values);
                principals.chain(values).any(|w| accounts(&w.text).contains(account) || w.text == account)
            })
        })
    }

    fn conditions(&self, key: &str) -> impl Iterator<Item = &Condition> {
        let of = self.bundle.parts.iter().flat_map(|p| &p.document.statements).flat_map(|s| &s.conditions);
        of.filter(move |c| c.name() == key)
    }

    /// Whether a value stands in a document as it is: the only one that fits.
    fn is_written(&self, key: &str, value: &str) -> bool {
        self.conditions(key).any(|c| {
            c.values.iter().any(|w| w.text == value && !(c.operator.has_wildcards() && w.text.contains(['*', '?'])))
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
        if !tables::is_shared(host) {
            return Some(Rule::Federated);
        }
        let prefix = format!("{}:", host.to_ascii_lowercase());
        request
            .context
            .iter()
            .any(|(key, values)| {
                let (Some(claim), [value]) = (key.strip_prefix(&prefix), values.as_slice()) else { return false };
                self.is_bound_claim(host, key, claim, value)
            })
            .then_some(Rule::Federated)
    }

    /// Whether a test of the claim that this value meets admits one tenant only, whichever of its values is met.
    fn is_bound_claim(&self, host: &str, key: &str, claim: &str, value: &str) -> bool {
        self.conditions(key).any(|c| {
            let operator = c.operator;
            !operator.negated
                && !operator.if_exists
                && operator.quantifier != Quantifier::ForAllValues
                && c.values.iter().all(|w| tables::binds(host, claim, &w.text, operator.has_wildcards()))
                && c.values.iter().any(|w| match operator.has_wildcards() {
                    true => crate::eval::wild(&w.text, value),
                    false => w.text == value || operator.base == Base::StringEqualsIgnoreCase,
                })
        })
    }

    /// Whether everything that nobody is bound in comes from networks that are written out, and few addresses.
    fn is_from_named_networks(&self, request: &Request, all: &[&Cell]) -> bool {
        let endpoint = |r: &Request| {
            ["aws:sourcevpc", "aws:sourcevpce", "aws:sourcevpcarn", "aws:vpceaccount", "aws:vpceorgid"].iter().any(|key| {
                r.context.get(*key).and_then(|v| v.first()).is_some_and(|v| self.is_written(key, v))
            })
        };
        if endpoint(request) {
            return true;
        }
        let address = |r: &Request| r.context.get("aws:sourceip").and_then(|v| v.first()).and_then(|v| v.parse::<IpAddr>().ok());
        if address(request).is_none() {
            return false;
        }
        let networks: Vec<Network> = self
            .conditions("aws:sourceip")
            .filter(|c| c.operator.base == Base::IpAddress)
            .flat_map(|c| c.values.iter().filter_map(|w| Network::read(&w.text)))
            .collect();
        let hits = |of: &Network| -> Vec<bool> { networks.iter().map(|n| n.has(of)).collect() };
        let mut allowed: BTreeSet<(bool, Vec<bool>)> = BTreeSet::new();
        for cell in all {
            if self.bound(&cell.request).is_some() || endpoint(&cell.request) {
                continue;
            }
            let Some(one) = address(&cell.request).map(Network::one) else { return false };
            allowed.insert((one.is_v6, hits(&one)));
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
        assert_eq!(accounts("arn:aws:iam::111122223333:role/444455556666x"), BTreeSet::from(["111122223333".to_owned(), "444455556666".to_owned()]));
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
