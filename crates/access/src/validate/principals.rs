//! Principals: can they be anybody (IAM reference_policies_elements_principal).

use super::resources::PARTITIONS;
use super::{Case, PolicyKind, Report, has_wildcard, is_account};
use crate::policy::{Base, Effect, PrincipalKind, Quantifier, Statement, Word};

pub(super) fn check(case: &Case<'_>, statement: &Statement, out: &mut Report) {
    let Some(principals) = &statement.principal else { return };
    if !case.has_principals() {
        return;
    }
    for (kind, word) in &principals.values {
        match kind {
            PrincipalKind::Everyone => {
                // An RCP must name everybody; a role that everybody may take is asked for by `{"AWS": "*"}` at least.
                if case.kind == PolicyKind::Trust && !principals.negated {
                    out.add("trust_everyone", word.span, "`*` as the principal of a trust policy");
                }
            }
            PrincipalKind::Aws => aws(word, out),
            PrincipalKind::Service => service(word, out),
            PrincipalKind::Federated => {
                federated(word, out);
                if case.kind == PolicyKind::Resource {
                    let what = format!("the provider `{}` in a policy that is no trust policy", word.text);
                    out.add("federated_elsewhere", word.span, what);
                }
            }
            PrincipalKind::CanonicalUser => {
                if word.text.len() != 64 || !word.text.bytes().all(|b| b.is_ascii_hexdigit()) {
                    let what = format!("`{}` is no canonical id of 64 hex digits", word.text);
                    out.add("principal_canonical", word.span, what);
                }
            }
        }
    }
    if statement.effect == Effect::Allow && !principals.negated {
        services_only(case, statement, out);
        if case.kind == PolicyKind::Trust {
            trust_calls(statement, out);
            trust_keys(case, statement, out);
            sessions(statement, out);
        }
    }
}

/// Tests that a service cannot meet, where services alone are named.
fn services_only(case: &Case<'_>, statement: &Statement, out: &mut Report) {
    let values = statement.principal.as_ref().map(|p| p.values.as_slice()).unwrap_or_default();
    if values.is_empty() || values.iter().any(|(kind, _)| *kind != PrincipalKind::Service) {
        return;
    }
    for c in &statement.conditions {
        let name = c.name();
        let is_of_users = ["aws:principalorgid", "aws:principalorgpaths"].contains(&name.as_str())
            || name.starts_with("aws:principaltag/");
        let needs_value = !c.operator.negated
            && !c.operator.if_exists
            && c.operator.quantifier != Quantifier::ForAllValues
            && c.operator.base != Base::Null;
        if is_of_users && needs_value {
            let what = format!("`{}` is in no request that a service makes by its own name", c.key);
            out.add("service_key", case.key_before(statement, c.span), what);
        }
    }
}

/// Keys that come with an action of their own (IAM id_session-tags, id_credentials_temp_control-access_monitor), and IAM Roles Anywhere.
fn trust_keys(case: &Case<'_>, statement: &Statement, out: &mut Report) {
    let held = |action: &str| super::actions::holds(statement, action).is_some();
    for c in &statement.conditions {
        let name = c.name();
        let is_tag =
            name.starts_with("aws:requesttag/") || name == "aws:tagkeys" || name == "sts:transitivetagkeys";
        let needs = if is_tag {
            "sts:TagSession"
        } else if name == "sts:sourceidentity" {
            "sts:SetSourceIdentity"
        } else {
            continue;
        };
        if !held(needs) {
            let what = format!("`{}` comes with `{needs}`, which the statement does not have", c.key);
            out.add("missing_action", case.key_before(statement, c.span), what);
        }
    }
    let principals = statement.principal.iter().flat_map(|p| &p.values);
    for (_, word) in principals.filter(|(_, w)| w.text == "rolesanywhere.amazonaws.com") {
        let missing: Vec<&str> = ["sts:AssumeRole", "sts:SetSourceIdentity", "sts:TagSession"]
            .into_iter()
            .filter(|a| !held(a))
            .collect();
        if !missing.is_empty() {
            out.add(
                "roles_anywhere",
                word.span,
                format!("`{}` without {}", word.text, missing.join(" and ")),
            );
        }
    }
}

/// A session beside its role.
fn sessions(statement: &Statement, out: &mut Report) {
    let values = statement.principal.as_ref().map(|p| p.values.as_slice()).unwrap_or_default();
    for (_, word) in values {
        let Some((before, session)) = word.text.split_once(":assumed-role/") else { continue };
        let name = session.split('/').next().unwrap_or_default();
        let account = before.rsplit(':').next().unwrap_or_default();
        let is_role = |text: &str| {
            text.split(':').nth(4) == Some(account)
                && text.contains(":role/")
                && text.rsplit('/').next() == Some(name)
        };
        if let Some((_, role)) = values.iter().find(|(_, w)| is_role(&w.text)) {
            out.add(
                "session_with_role",
                word.span,
                format!("`{}` beside its role `{}`", word.text, role.text),
            );
        }
    }
}

fn aws(word: &Word, out: &mut Report) {
    let text = word.text.as_str();
    if text == "*" || is_account(text) || text.contains("${") {
        return;
    }
    if has_wildcard(text) {
        let what = format!("a wildcard in `{text}`: only `*` alone stands for more than one");
        out.add("principal_wildcard", word.span, what);
        return;
    }
    // Ids that stay when the user or role is deleted (IAM reference_identifiers, unique ids).
    if ["AIDA", "AROA"].iter().any(|p| text.starts_with(p)) && text.len() >= 16 && !text.contains(':') {
        out.add(
            "principal_deleted",
            word.span,
            format!("`{text}` is the id of a user or role that was deleted"),
        );
        return;
    }
    if text.starts_with("AIDA") || text.starts_with("AROA") || is_canonical(text) {
        return;
    }
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let part = |n: usize| parts.get(n).copied().unwrap_or_default();
    let is_arn = part(0) == "arn" && PARTITIONS.contains(&part(1)) && part(3).is_empty() && parts.len() == 6;
    let is_owner = is_account(part(4)) || part(4) == "cloudfront";
    let name = part(5);
    let kinds: &[&str] = match part(2) {
        "iam" => &["user/", "role/"],
        "sts" => &["assumed-role/", "federated-user/", "self"],
        _ => &[],
    };
    if is_arn && part(2) == "iam" && name.starts_with("group/") {
        out.add("principal_group", word.span, format!("`{text}` is a group, and groups ask for nothing"));
    } else if is_arn
        && is_owner
        && (name == "root" && part(2) == "iam"
            || kinds.iter().any(|k| name.len() > k.len() && name.starts_with(k)))
    {
        if name.starts_with("assumed-role/") && name.matches('/').count() != 2 {
            out.add("principal_session", word.span, format!("`{text}` names a role or a session, not both"));
        }
    } else if is_arn
        && is_owner
        && kinds.iter().any(|k| k.trim_end_matches('/') == name.trim_end_matches('/'))
    {
        out.add("principal_nameless", word.span, format!("`{text}` does not say which"));
    } else {
        out.add(
            "principal_form",
            word.span,
            format!("`{text}` is no account, user, role, session or federated user"),
        );
    }
}

fn is_canonical(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn service(word: &Word, out: &mut Report) {
    if has_wildcard(&word.text) {
        out.add("principal_wildcard", word.span, format!("a wildcard in the service `{}`", word.text));
    } else if !is_service_host(&word.text) {
        out.add("principal_service", word.span, format!("`{}` is no service's host name", word.text));
    }
}

/// `ec2.amazonaws.com`, `logs.eu-west-1.amazonaws.com`.
pub(super) fn is_service_host(text: &str) -> bool {
    let suffixes = [
        ".amazonaws.com",
        ".amazonaws.com.cn",
        ".amazon.com",
        ".api.aws",
        ".amazonaws.eu",
        ".aws.internal",
        ".aws.dev",
        ".aws.a2z.com",
    ];
    let is_label =
        |l: &str| !l.is_empty() && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    suffixes.iter().any(|s| text.strip_suffix(s).is_some_and(|name| name.split('.').all(is_label)))
}

fn federated(word: &Word, out: &mut Report) {
    let text = word.text.as_str();
    if has_wildcard(text) {
        out.add("principal_wildcard", word.span, format!("a wildcard in the provider `{text}`"));
        return;
    }
    let provider = text.splitn(6, ':').nth(5).unwrap_or_default();
    let is_arn = text.starts_with("arn:")
        && text.split(':').nth(2) == Some("iam")
        && ["saml-provider/", "oidc-provider/"]
            .iter()
            .any(|k| provider.len() > k.len() && provider.starts_with(k));
    let is_host = !text.starts_with("arn:")
        && text.contains('.')
        && !text.contains("://")
        && !text.contains(char::is_whitespace);
    if !is_arn && !is_host {
        out.add("principal_federated", word.span, format!("`{text}` is no provider: its ARN or host name"));
    }
}

/// The calls by which a kind of principal takes a role (STS API; IAM id_roles_create_for-idp).
fn trust_calls(statement: &Statement, out: &mut Report) {
    let Some(principals) = &statement.principal else { return };
    let held = |action: &str| super::actions::holds(statement, action).is_some();
    for (kind, word) in &principals.values {
        let call = match kind {
            PrincipalKind::Federated if word.text.contains(":saml-provider/") => "sts:AssumeRoleWithSAML",
            PrincipalKind::Federated => "sts:AssumeRoleWithWebIdentity",
            _ => "sts:AssumeRole",
        };
        let other = ["sts:AssumeRole", "sts:AssumeRoleWithSAML", "sts:AssumeRoleWithWebIdentity"]
            .into_iter()
            .find(|a| *a != call && held(a));
        if let Some(other) = other
            && !held(call)
        {
            let what = format!("`{}` takes roles by `{call}`, and the statement has `{other}`", word.text);
            out.add("trust_call", word.span, what);
        }
    }
}
