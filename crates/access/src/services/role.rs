//! IAM roles: who may assume them (access.md 7).

use super::blank;
use crate::bundle::{Bundle, Form};
use crate::estate::Surroundings;
use crate::external::TRUST;
use model::Resource;

/// `None` for a role that only its service can use (IAM using-service-linked-roles).
pub(super) fn role(resource: &Resource, around: &Surroundings<'_>) -> Option<Bundle> {
    if resource.arn.contains(":role/aws-service-role/") {
        return None;
    }
    let mut out = blank(resource, &TRUST, false);
    out.callers.federated = true;
    out.forms = vec![Form { name: String::new(), pattern: resource.arn.clone() }];
    out.policy(resource, "GetRole", "/Role/AssumeRolePolicyDocument", "iam:GetRole");
    out.guests = lets_guests_in(&out, around);
    Some(out)
}

/// Whether a pool that the trust policy names lets in guests. A pool that is not known may do so.
fn lets_guests_in(bundle: &Bundle, around: &Surroundings<'_>) -> bool {
    let conditions = bundle.parts.iter().flat_map(|p| &p.document.statements).flat_map(|s| &s.conditions);
    let mut pools =
        conditions.filter(|c| c.name() == "cognito-identity.amazonaws.com:aud").flat_map(|c| &c.values);
    pools.any(|pool| {
        let region = pool.text.split(':').next().unwrap_or_default();
        let arn = format!("arn:aws:cognito-identity:{region}:{}:identitypool/{}", bundle.account, pool.text);
        let known = around
            .find("AWS::Cognito::IdentityPool", &arn)
            .and_then(|r| r.answer("DescribeIdentityPool").ok().flatten());
        known
            .and_then(|a| a.get("AllowUnauthenticatedIdentities"))
            .and_then(serde_json::Value::as_bool)
            .unwrap_or(true)
    })
}
