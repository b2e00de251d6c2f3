//! Ways to close a finding, from the smallest edit that keeps what was meant to the removal of the grant.

use super::apply::Operation;
use super::edits::{Site, Written, texts};
use crate::bundle::Bundle;
use crate::external::class::accounts;
use crate::finding::{Finding, Rule};
use crate::policy::{Base, Operator, Quantifier};
use crate::services::tables;
use crate::world::World;
use serde_json::json;
use std::collections::BTreeSet;

/// What would be done to a statement; `None`: nothing can be.
type Edit<'t> = Box<dyn Fn(&Site<'_>) -> Option<Vec<Operation>> + 't>;

/// What an edit does, in words that follow "In statement …", and the edit of each statement.
pub(super) struct Way<'t> {
    pub text: String,
    pub edit: Edit<'t>,
    /// What it leaves is access of a named tenant.
    pub names_tenant: bool,
    /// The statements are gone afterwards.
    pub removes: bool,
}

pub(super) fn way<'t>(
    text: impl Into<String>,
    edit: impl Fn(&Site<'_>) -> Option<Vec<Operation>> + 't,
) -> Way<'t> {
    Way { text: text.into(), edit: Box::new(edit), names_tenant: false, removes: false }
}

/// Claims out of which a claim that binds can be guessed: the tenant is what stands before the separator.
const GUESSES: [(&str, &str, char, &str, &str, &str); 1] =
    [("token.actions.githubusercontent.com", "job_workflow_ref", '/', "sub", "repo:", "/*")];

/// The ways for a finding, the best first.
pub(super) fn ways<'t>(bundle: &'t Bundle, world: &'t World<'_>, finding: &'t Finding) -> Vec<Way<'t>> {
    let who = finding.principal.value.as_str();
    let mut out: Vec<Way<'t>> = Vec::new();
    match (finding.rule, finding.principal.kind.as_str()) {
        (Rule::DeadGrant | Rule::DanglingPrincipal, _) => {
            out.push(way(format!("remove `{who}`"), move |s| s.without_principal(None, who)));
        }
        (Rule::Unknown, _) => return out,
        (rule, "federated") => {
            if rule != Rule::Federated {
                out.extend(tenants(bundle, who));
            }
            out.push(way(format!("remove `{who}`"), move |s| s.without_principal(Some("Federated"), who)));
        }
        (_, "service") => {
            out.extend(deputies(bundle, world, Some(who)));
            out.push(way(format!("remove `{who}`"), move |s| s.without_principal(Some("Service"), who)));
        }
        (_, "everyone") => out.extend(everyone(bundle, world, finding)),
        (_, kind) => {
            let kind = if kind == "canonical" { "CanonicalUser" } else { "AWS" };
            out.push(way(format!("remove `{who}`"), move |s| s.without_principal(Some(kind), who)));
        }
    }
    out.push(Way { removes: true, ..way("remove it", |s| s.removed()) });
    // A policy without statements is none: the only one stays, and allows nobody outside.
    if finding.principal.kind == "everyone" {
        out.push(own(bundle));
    } else {
        out.push(way("write `Deny` for `Allow`: it is the only statement", |s| s.forbid()));
    }
    out
}

fn own(bundle: &Bundle) -> Way<'_> {
    let account = &bundle.account;
    way(format!("name account {account} instead of everybody"), move |s| s.for_account(account))
}

fn weak_operators<'t>() -> [Way<'t>; 2] {
    [
        way("use the plain operator, which a missing key does not meet", |s| s.plain()),
        way("let `Null` require the keys that `ForAllValues` does not", |s| s.present()),
    ]
}

fn everyone<'t>(bundle: &'t Bundle, world: &'t World<'_>, finding: &'t Finding) -> Vec<Way<'t>> {
    let mut out: Vec<Way<'t>> = weak_operators().into();
    let mut guards = Vec::new();
    if let Some(organization) =
        world.organization.filter(|o| o.accounts.iter().any(|a| a.id == bundle.account))
    {
        let id = &organization.id;
        guards.push(way(format!("require `aws:PrincipalOrgID` `{id}`, the own organisation"), move |s| {
            s.require(&[("StringEquals", "aws:PrincipalOrgID", json!(id))])
        }));
    }
    let account = &bundle.account;
    guards.push(way(format!("require `aws:PrincipalAccount` `{account}`, the own account"), move |s| {
        s.require(&[("StringEquals", "aws:PrincipalAccount", json!(account))])
    }));
    match finding.rule {
        Rule::ConfusedDeputy => {
            // A key that only calls of services have says that only services are meant.
            let is_of_services = |key: &String| {
                key.starts_with("aws:source") && key != "aws:sourceip"
                    || key.starts_with("aws:principalservicename")
            };
            let sources = deputies(bundle, world, None);
            match finding.condition.keys().any(is_of_services) {
                true => out.extend(sources),
                false => out.extend(guards.into_iter().chain(sources)),
            }
        }
        Rule::Account | Rule::Organization | Rule::Canonical | Rule::Federated => {
            out.push(way("remove the values that name others", move |s| s.without_values(finding)));
        }
        _ => {
            out.push(way("remove the values that name others", move |s| s.without_values(finding)));
            out.extend(guards);
        }
    }
    out
}

/// Calls of services are bound to whose behalf they are on.
fn deputies<'t>(bundle: &'t Bundle, world: &'t World<'_>, who: Option<&'t str>) -> Vec<Way<'t>> {
    let context = if bundle.kind == "AWS::IAM::Role" { "trust" } else { "resource" };
    let stays = move |kind: &str, text: &str| {
        who.is_some() && (kind != "Service" || tables::is_inside(text, context))
    };
    let guard = move |s: &Site<'_>, key: &str, value: serde_json::Value| {
        s.narrow(("Service", who.unwrap_or("*")), &stays, ("StringEquals", key, value))
    };
    let own = &bundle.account;
    let mut out: Vec<Way<'t>> = weak_operators().into();
    out.push(way(
        format!("require `aws:SourceAccount` `{own}`, or the trusted accounts that it names"),
        move |s| {
            // Who collects for several accounts names them.
            let values = s.statement.conditions.iter().flat_map(|c| &c.values);
            let named: BTreeSet<String> = values
                .chain(s.statement.resource.iter().flat_map(|r| &r.values))
                .flat_map(|w| accounts(&w.text))
                .filter(|a| world.trusted.contains(a.as_str()))
                .collect();
            let value = if named.is_empty() { json!(own) } else { json!(named) };
            guard(s, "aws:SourceAccount", value)
        },
    ));
    if let Some(organization) = world.organization {
        let id = &organization.id;
        out.push(way(format!("require `aws:SourceOrgID` `{id}`, the own organisation"), move |s| {
            guard(s, "aws:SourceOrgID", json!(id))
        }));
    }
    out
}

/// A claim that tells the tenants of a shared issuer apart is tested.
fn tenants<'t>(bundle: &'t Bundle, provider: &'t str) -> Vec<Way<'t>> {
    let host = provider.rsplit("oidc-provider/").next().unwrap_or(provider).trim_end_matches('/');
    let mut out = vec![Way {
        names_tenant: true,
        ..way("test the tenant's claim with a value that is one tenant's alone", move |s| pinned(s, host))
    }];
    out.extend(GUESSES.iter().filter(|(issuer, ..)| *issuer == host).map(
        |(_, claim, separator, key, before, behind)| {
            let text = format!(
                "test `{host}:{key}` for the owner that `{claim}` names; check that he is the caller"
            );
            let edit = move |s: &Site<'_>| {
                let named =
                    s.conditions().into_iter().find(|w| claim_of(w, host).as_deref() == Some(*claim))?;
                let owners: BTreeSet<String> = texts(named.values)
                    .iter()
                    .map(|v| v.split_once(*separator).map(|(owner, _)| owner.to_owned()))
                    .collect::<Option<_>>()?;
                let is_plain = |o: &String| !o.is_empty() && !o.contains(['*', '?', '$']);
                let values: Vec<String> = owners.iter().map(|o| format!("{before}{o}{behind}")).collect();
                let test = ("StringLike", format!("{host}:{key}"), json!(values));
                if owners.iter().all(is_plain) { s.require(&[(test.0, &test.1, test.2)]) } else { None }
            };
            Way { names_tenant: true, ..way(text, edit) }
        },
    ));
    if host == "cognito-identity.amazonaws.com" && bundle.guests {
        out.push(Way {
            names_tenant: true,
            ..way("let nobody in who has not signed in", move |s| {
                s.require(&[(
                    "ForAnyValue:StringLike",
                    "cognito-identity.amazonaws.com:amr",
                    json!("authenticated"),
                )])
            })
        });
    }
    out.extend(weak_operators().map(|w| Way { names_tenant: true, ..w }));
    out
}

/// The claim that a condition tests.
fn claim_of(written: &Written<'_>, host: &str) -> Option<String> {
    let key = written.names.1.to_ascii_lowercase();
    key.strip_prefix(&host.to_ascii_lowercase())?.strip_prefix(':').map(str::to_owned)
}

/// A claim that can bind, with the values that do: those that stand there, completed where what is missing is clear.
fn pinned(site: &Site<'_>, host: &str) -> Option<Vec<Operation>> {
    site.conditions().iter().find_map(|w| {
        let claim = claim_of(w, host)?;
        let operator = w.operator;
        let is_text =
            matches!(operator.base, Base::StringEquals | Base::StringEqualsIgnoreCase | Base::StringLike);
        if operator.negated || !is_text {
            return None;
        }
        let before = texts(w.values);
        let after: Vec<String> =
            before.iter().filter_map(|v| bound(host, &claim, v, operator.has_wildcards())).collect();
        if after.is_empty() {
            return None;
        }
        if operator.quantifier == Quantifier::ForAllValues {
            let mut out = site.require(&[("Null", w.names.1, json!("false"))])?;
            if after != before {
                out.extend(site.rewrite(w, w.names.0, after)?);
            }
            return Some(out);
        }
        let plain = Operator { if_exists: false, ..operator };
        if plain == operator && after == before {
            return None;
        }
        site.rewrite(w, &plain.to_string(), after)
    })
}

/// The value as one of a single tenant, no wider than it was: `repo:org*` is meant for `org`, and says `repo:org/*`.
fn bound(host: &str, claim: &str, value: &str, has_wildcards: bool) -> Option<String> {
    if tables::binds(host, claim, value, has_wildcards) {
        return Some(value.to_owned());
    }
    let (before, behind) =
        value.split_once('*').filter(|(before, _)| has_wildcards && !before.contains('?'))?;
    // A name that is cut short (`repo:team-*`) is that of several tenants, not of one.
    if !before.ends_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let behind = behind.trim_start_matches('*');
    ["/", ":", "@", "|"].into_iter().find_map(|end| {
        let whole = if behind.starts_with(end) {
            format!("{before}{behind}")
        } else {
            format!("{before}{end}*{behind}")
        };
        tables::binds(host, claim, &whole, true).then_some(whole)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_out_of_a_pattern() {
        let github = "token.actions.githubusercontent.com";
        for (host, claim, value, expect) in [
            (github, "sub", "repo:org*", Some("repo:org/*")),
            (github, "sub", "repo:org/*", Some("repo:org/*")),
            (github, "sub", "repo:org**", Some("repo:org/*")),
            (github, "sub", "repo:org*:ref:refs/heads/main", Some("repo:org/*:ref:refs/heads/main")),
            (github, "sub", "repo:org*/app:*", Some("repo:org/app:*")),
            (github, "sub", "repo:org-*", None),
            (github, "sub", "repo:*", None),
            (github, "sub", "*", None),
            (github, "sub", "repo:or?/app:*", None),
            (github, "aud", "sts*", None),
            ("gitlab.com", "sub", "project_path:group*", Some("project_path:group/*")),
            ("app.terraform.io", "sub", "organization:acme*", Some("organization:acme:*")),
        ] {
            assert_eq!(bound(host, claim, value, true).as_deref(), expect, "{value}");
        }
        assert_eq!(bound(github, "sub", "repo:org*", false), None, "a `*` that is no wildcard");
    }
}
