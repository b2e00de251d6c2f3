//! IAM roles: who may assume them (access.md 7).

use super::blank;
use crate::bundle::{Bundle, Form};
use crate::external::{Issuer, TRUST};
use model::Resource;

pub(super) fn role(resource: &Resource) -> Bundle {
    let mut out = blank(resource, &TRUST, false);
    out.callers.federated = true;
    out.forms = vec![Form { name: String::new(), pattern: resource.arn.clone() }];
    out.policy(resource, "GetRole", "/Role/AssumeRolePolicyDocument", "iam:GetRole");
    out
}

/// Provider, and claims that tell its tenants apart with the number of parts that must be written out.
pub(super) fn issuers() -> Vec<Issuer> {
    let of = |host: &str, binding: &[(&str, usize)]| Issuer {
        host: host.to_owned(),
        binding: binding.iter().map(|(claim, parts)| ((*claim).to_owned(), *parts)).collect(),
    };
    vec![
        of(
            "token.actions.githubusercontent.com",
            &[("sub", 2), ("repository_id", 1), ("repository", 1), ("repository_owner", 1), ("repository_owner_id", 1), ("enterprise_id", 1), ("enterprise", 1)],
        ),
        of("gitlab.com", &[("sub", 2), ("project_id", 1), ("namespace_id", 1)]),
        of("app.terraform.io", &[("sub", 2)]),
        of("agent.buildkite.com", &[("sub", 2), ("organization_slug", 1)]),
        of("accounts.google.com", &[("aud", 1), ("oaud", 1), ("sub", 1)]),
        of("graph.facebook.com", &[("app_id", 1)]),
        of("www.amazon.com", &[("app_id", 1)]),
        of("cognito-identity.amazonaws.com", &[("aud", 1)]),
        of("oidc.circleci.com", &[("aud", 1)]),
        of("api.bitbucket.org", &[("aud", 1)]),
    ]
}

/// Services that assume roles only in the account that passed them (IAM id_roles_use_passrole: a role can be passed only within its
/// account).
pub(super) fn harmless() -> Vec<&'static str> {
    vec!["ec2.amazonaws.com", "ecs-tasks.amazonaws.com", "lambda.amazonaws.com"]
}
