//! IAM roles: who may assume them (access.md 7).

use super::blank;
use crate::bundle::{Bundle, Form};
use crate::external::TRUST;
use model::Resource;

pub(super) fn role(resource: &Resource) -> Bundle {
    let mut out = blank(resource, &TRUST, false);
    out.callers.federated = true;
    out.forms = vec![Form { name: String::new(), pattern: resource.arn.clone() }];
    out.policy(resource, "GetRole", "/Role/AssumeRolePolicyDocument", "iam:GetRole");
    out
}
