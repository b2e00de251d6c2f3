//! What is allowed by the language and dangerous all the same.

use super::actions::{Held, Reach, holds};
use super::{Case, PolicyKind, Report, has_wildcard};
use crate::catalog::{self, AccessLevel, Mark};
use crate::policy::{Base, Condition, Effect, PrincipalKind, Quantifier, Statement, Word, Words};

pub(super) fn check(case: &Case<'_>, statement: &Statement, reach: &Reach<'_>, out: &mut Report) {
    if statement.action.span == statement.span {
        // There is no `Action`, which was said; the reader takes it for every action.
        return;
    }
    if statement.effect == Effect::Deny {
        deny(case, statement, out);
        return;
    }
    conditions(case, statement, out);
    match case.kind {
        PolicyKind::Identity => identity(case, statement, out),
        PolicyKind::Resource => resource(case, statement, reach, out),
        PolicyKind::Trust => trust(case, statement, out),
        // They give nothing to anybody.
        PolicyKind::Scp | PolicyKind::Rcp => {}
    }
}

fn identity(case: &Case<'_>, statement: &Statement, out: &mut Report) {
    let Some(resource) = &statement.resource else { return };
    let span = statement.action.span;
    if resource.negated {
        let at = case.name_of(statement, "NotResource");
        out.add(
            "allow_not_resource",
            at,
            "`NotResource` allows every resource but these, those of tomorrow included",
        );
    }
    if statement.action.negated && is_everything(resource) {
        let at = case.name_of(statement, "NotAction");
        out.add(
            "allow_not_action",
            at,
            "`NotAction` on `*` allows every action but these, those of tomorrow included",
        );
    }
    let all = !statement.action.negated
        && statement.action.values.iter().any(|w| matches!(w.text.as_str(), "*" | "*:*"));
    if all && is_everything(resource) && statement.conditions.is_empty() {
        out.add("everything", span, "every action on every resource");
    }
    for (action, guard, codes) in TARGETS {
        let is_guarded = statement.conditions.iter().any(|c| c.name() == guard && binds(c));
        if let Some(held) = holds(statement, action)
            && !is_guarded
            && (resource.negated || names_every_role(resource))
        {
            let code = match (held, resource.negated) {
                (Held::Name, false) => codes[0],
                (Held::Pattern, false) => codes[1],
                (Held::Not, false) => codes[2],
                (Held::Name, true) => codes[3],
                (Held::Pattern, true) => codes[4],
                (Held::Not, true) => codes[5],
            };
            out.add(code, span, format!("`{action}` on every role, for every service"));
        }
    }
}

/// An action that hands a role to a service, the key that says which service, and the codes: by its name, by a pattern, by `NotAction`,
/// each with `Resource` and with `NotResource`.
const TARGETS: [(&str, &str, [&str; 6]); 2] = [
    (
        "iam:PassRole",
        "iam:passedtoservice",
        [
            "pass_role",
            "pass_role_pattern",
            "pass_role_not_action",
            "pass_role_not_resource",
            "pass_role_pattern_not_resource",
            "pass_role_not_action_not_resource",
        ],
    ),
    (
        "iam:CreateServiceLinkedRole",
        "iam:awsservicename",
        [
            "linked_role",
            "linked_role_pattern",
            "linked_role_not_action",
            "linked_role_not_resource",
            "linked_role_pattern_not_resource",
            "linked_role_not_action_not_resource",
        ],
    ),
];

fn is_everything(resource: &Words) -> bool {
    !resource.negated
        && resource.values.iter().any(|w| !w.text.is_empty() && w.text.bytes().all(|b| b == b'*'))
}

fn names_every_role(resource: &Words) -> bool {
    let every = ["*", "role/*", "role*", "role/aws-service-role/*"];
    let is_every = |text: &str| {
        text.starts_with("arn:") && text.splitn(6, ':').nth(5).is_some_and(|r| every.contains(&r))
    };
    is_everything(resource) || resource.values.iter().any(|w| is_every(&w.text))
}

/// Guards of an Allow that let through what they do not see.
fn conditions(case: &Case<'_>, statement: &Statement, out: &mut Report) {
    for c in &statement.conditions {
        let is_many = catalog::key(&c.key).is_none_or(|k| k.multivalued);
        if c.operator.quantifier == Quantifier::ForAllValues && is_many && !is_present(statement, &c.name()) {
            let what = format!(
                "`ForAllValues` on `{}` is met by requests without it, and no `Null` asks for it",
                c.key
            );
            out.add("for_all_open", case.key_before(statement, c.span), what);
        }
        if c.name() == "aws:multifactorauthpresent" && c.operator.if_exists && says(c, "true") {
            let what = "met by requests of long-term keys, which do not say whether MFA was used";
            out.add("mfa_absent", case.key_before(statement, c.span), what);
        }
    }
    let weak = |c: &Condition| {
        let any = c.operator.quantifier == Quantifier::ForAnyValue;
        (c.operator.negated || c.operator.if_exists) && !any && !is_present(statement, &c.name())
    };
    if let Some(first) = statement.conditions.first()
        && statement.conditions.iter().all(weak)
    {
        let what = "every condition is met by requests that do not have its key";
        out.add("negated_only", case.key_before(statement, first.span), what);
    }
}

/// `Null: {key: false}`.
fn is_present(statement: &Statement, key: &str) -> bool {
    statement.conditions.iter().any(|c| c.operator.base == Base::Null && c.name() == key && says(c, "false"))
}

fn says(condition: &Condition, value: &str) -> bool {
    condition.values.iter().any(|w| w.text.eq_ignore_ascii_case(value))
}

fn is_everyone(statement: &Statement) -> bool {
    let everyone = |p: &(PrincipalKind, Word)| {
        matches!(p.0, PrincipalKind::Everyone | PrincipalKind::Aws) && p.1.text == "*"
    };
    statement.principal.as_ref().is_some_and(|p| !p.negated && p.values.iter().any(everyone))
}

/// Keys whose values whoever asks may choose, or that any caller meets (access.md 4.5).
const CHOSEN: [&str; 22] = [
    "aws:referer",
    "aws:useragent",
    "aws:tagkeys",
    "aws:requestedregion",
    "aws:securetransport",
    "aws:multifactorauthpresent",
    "aws:multifactorauthage",
    "aws:currenttime",
    "aws:epochtime",
    "aws:tokenissuetime",
    "aws:sourceidentity",
    "aws:viaawsservice",
    "aws:calledvia",
    "aws:calledviafirst",
    "aws:calledvialast",
    "aws:principaltype",
    "kms:viaservice",
    "s3:prefix",
    "s3:delimiter",
    "sts:externalid",
    "sts:rolesessionname",
    "sts:sourceidentity",
];

/// Whether a condition keeps somebody out, for all that is known of its key.
fn binds(c: &Condition) -> bool {
    let name = c.name();
    let chosen = CHOSEN.contains(&name.as_str())
        || ["aws:requesttag/", "aws:principaltag/", "s3:x-amz-"].iter().any(|p| name.starts_with(p))
        || catalog::key(&name).is_some_and(|k| k.is(Mark::Resource));
    let operator = c.operator;
    let is_positive = !operator.negated
        && !operator.if_exists
        && operator.quantifier != Quantifier::ForAllValues
        && operator.base != Base::Null;
    let is_all = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b == b'*') && operator.has_wildcards()
            || text.ends_with("/0") && operator.base == Base::IpAddress
    };
    !chosen && is_positive && !c.values.iter().any(|w| is_all(&w.text))
}

fn resource(case: &Case<'_>, statement: &Statement, reach: &Reach<'_>, out: &mut Report) {
    let Some(principals) = &statement.principal else { return };
    if principals.negated {
        let at = case.name_of(statement, "NotPrincipal");
        out.add("allow_not_principal", at, "everybody but these, callers without a signature included");
        return;
    }
    if is_everyone(statement) && !statement.conditions.iter().any(binds) {
        let writes = |level: AccessLevel| !matches!(level, AccessLevel::List | AccessLevel::Read);
        let is_write = reach.open || reach.actions().any(|a| writes(a.level));
        if is_write {
            out.add("public_write", principals.span, "anybody may change things");
        } else if statement.conditions.is_empty() {
            out.add("public", principals.span, "anybody may read, without an account and from anywhere");
        }
        if !statement.conditions.is_empty() {
            let keys: Vec<&str> = statement.conditions.iter().map(|c| c.key.as_str()).collect();
            let what = format!("{} keep nobody out: anybody can meet them", keys.join(", "));
            out.add("condition_for_nobody", principals.span, what);
        }
    }
    let by_service = |c: &Condition| {
        let from = catalog::key(&c.key).is_some_and(|k| k.is(Mark::Service));
        from && !c.operator.negated && !c.operator.if_exists && !c.values.iter().any(|w| w.text == "*")
    };
    for (kind, word) in &principals.values {
        if *kind == PrincipalKind::Service && !statement.conditions.iter().any(by_service) {
            let what = format!("`{}` may call on behalf of anybody who uses it", word.text);
            out.add("open_deputy", word.span, what);
        }
    }
}

/// Providers of identities that hand tokens to everybody, and the keys that tell their users apart (IAM
/// id_roles_create_for-idp_oidc, "shared" providers; GitHub, "OpenID Connect reference").
const SHARED: [(&str, &[&str]); 10] = [
    (
        "token.actions.githubusercontent.com",
        &[
            "sub",
            "job_workflow_ref",
            "repository",
            "repository_id",
            "repository_owner",
            "repository_owner_id",
            "environment",
        ],
    ),
    ("oidc.vercel.com", &["sub", "aud"]),
    ("gitlab.com", &["sub", "namespace_id", "namespace_path", "project_id", "project_path"]),
    ("app.terraform.io", &["sub", "terraform_organization_id", "terraform_organization_name"]),
    ("agent.buildkite.com", &["sub"]),
    ("oidc.circleci.com", &["sub", "aud"]),
    ("accounts.google.com", &["aud", "sub", "oaud"]),
    ("cognito-identity.amazonaws.com", &["aud"]),
    ("graph.facebook.com", &["app_id"]),
    ("www.amazon.com", &["app_id", "aud"]),
];

fn trust(case: &Case<'_>, statement: &Statement, out: &mut Report) {
    let Some(principals) = &statement.principal else { return };
    if is_everyone(statement) && !statement.conditions.iter().any(binds) {
        out.add("trust_anyone", principals.span, "any AWS account may take the role");
    }
    for (kind, word) in &principals.values {
        match kind {
            PrincipalKind::Federated => provider(case, statement, word, out),
            PrincipalKind::Aws if !principals.negated && is_whole_account(&word.text) => {
                let named = [
                    "sts:externalid",
                    "aws:principalarn",
                    "aws:principalorgid",
                    "aws:principalorgpaths",
                    "aws:userid",
                    "aws:sourceip",
                    "aws:sourcevpc",
                    "aws:sourcevpce",
                ];
                let is_named = |c: &Condition| {
                    named.contains(&c.name().as_str()) || c.name().starts_with("aws:principaltag/")
                };
                if holds(statement, "sts:AssumeRole").is_some() && !statement.conditions.iter().any(is_named)
                {
                    let what = format!(
                        "anybody in `{}` to whom it gives `sts:AssumeRole` may take the role",
                        word.text
                    );
                    out.add("external_id", case.key_before(statement, word.span), what);
                }
            }
            _ => {}
        }
    }
}

fn provider(case: &Case<'_>, statement: &Statement, word: &Word, out: &mut Report) {
    if word.text.contains(":saml-provider/") {
        return;
    }
    let host = word.text.rsplit("oidc-provider/").next().unwrap_or_default().to_ascii_lowercase();
    let of_host = |c: &&Condition| c.name().rsplit_once(':').is_some_and(|(of, _)| of == host);
    let shared = SHARED.iter().find(|(name, _)| host == *name || host.starts_with(&format!("{name}/")));
    let Some((name, claims)) = shared else {
        if !statement.conditions.iter().any(|c| of_host(&c)) {
            out.add("oidc_unbound", word.span, format!("no condition on a claim of `{host}`"));
        }
        return;
    };
    let is_claim = |c: &&Condition| {
        c.name().rsplit_once(':').is_some_and(|(of, claim)| of.starts_with(name) && claims.contains(&claim))
    };
    let is_bound =
        |c: &Condition| binds(c) && c.values.iter().all(|w| names_owner(&w.text, c.operator.has_wildcards()));
    let is_github = name.starts_with("token.actions");
    if !statement.conditions.iter().filter(is_claim).any(is_bound) {
        let code = if is_github { "github_unbound" } else { "shared_issuer" };
        let what = format!(
            "`{name}` gives tokens to everybody, and no condition names whose: {}",
            claims.join(", ")
        );
        out.add(code, word.span, what);
        return;
    }
    let sub = statement.conditions.iter().find(|c| is_github && c.name().ends_with(":sub"));
    if let Some(c) = sub
        && let Some(open) = c.values.iter().find(|w| has_wildcard(&w.text))
    {
        let what = format!("`{}` is more than one branch of one repository", open.text);
        out.add("github_branch", case.key_before(statement, c.span), what);
    }
}

/// A claim that a stranger cannot have: not `*`, not `repo:*`, not a name that is still open in its first part.
fn names_owner(text: &str, wildcards: bool) -> bool {
    if !wildcards {
        return true;
    }
    let fixed: String = text.chars().take_while(|c| *c != '*' && *c != '?').collect();
    let owner = fixed.strip_prefix("repo:").unwrap_or(&fixed);
    if text.starts_with("repo:") {
        owner.contains('/')
    } else {
        !has_wildcard(text) || owner.contains(['/', ':'])
    }
}

fn is_whole_account(text: &str) -> bool {
    super::is_account(text) || text.starts_with("arn:") && text.ends_with(":root") && text.contains(":iam::")
}

/// Guards that deny less, or more, than they seem to.
fn deny(case: &Case<'_>, statement: &Statement, out: &mut Report) {
    if statement.principal.as_ref().is_some_and(|p| p.negated) && case.kind == PolicyKind::Resource {
        let at = case.name_of(statement, "NotPrincipal");
        out.add("deny_not_principal", at, "role, session and account must all be listed to be exempt");
    }
    let has = |name: &str| statement.conditions.iter().any(|c| c.name() == name);
    for c in &statement.conditions {
        let span = case.key_before(statement, c.span);
        let operator = c.operator;
        if operator.quantifier == Quantifier::ForAnyValue && operator.negated {
            let what = format!("requests without `{}` are not denied: `ForAnyValue` needs a value", c.key);
            out.add("deny_any_value", span, what);
            continue;
        }
        if c.name() == "aws:multifactorauthpresent"
            && operator.base == Base::Bool
            && !operator.if_exists
            && says(c, "false")
        {
            out.add("mfa_absent", span, "requests of long-term keys do not have the key, and are not denied");
        }
        let name = c.name();
        let is_network =
            ["aws:sourceip", "aws:sourcevpc", "aws:sourcevpce", "aws:vpcsourceip", "aws:sourcevpcarn"]
                .contains(&name.as_str());
        let is_organization =
            ["aws:principalorgid", "aws:principalaccount", "aws:principalorgpaths"].contains(&name.as_str());
        let is_owned = matches!(case.kind, PolicyKind::Resource | PolicyKind::Rcp);
        let is_exempt = has("aws:viaawsservice")
            || has("aws:principalisawsservice")
            || has("aws:calledvia")
            || has("aws:principalservicename")
            || has("aws:principalarn");
        if operator.negated && !is_exempt && (is_network || is_organization && is_owned) {
            let what =
                format!("calls that AWS services make are denied too: they do not have your `{}`", c.key);
            let code = if case.kind == PolicyKind::Rcp && is_organization {
                "rcp_services"
            } else {
                "perimeter_services"
            };
            out.add(code, span, what);
        }
        let of_services = catalog::key(&c.key).is_some_and(|k| k.is(Mark::Service));
        if case.kind == PolicyKind::Rcp && of_services && operator.negated {
            if !has("aws:principalisawsservice") {
                let what = format!("calls that are not of services do not have `{}`", c.key);
                out.add("rcp_principals", span, what);
            }
            if !is_present(statement, "aws:sourceaccount") && !is_present(statement, "aws:sourcearn") {
                out.add("rcp_null", span, format!("some calls of services do not have `{}`", c.key));
            }
        }
    }
}
