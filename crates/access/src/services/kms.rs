//! KMS keys: policy and grants (access.md 5; KMS key-policy-modifying-external-accounts, grants).

use super::blank;
use crate::bundle::{Bundle, Form, Kind};
use model::Resource;
use serde_json::{Map, Value, json};

/// `None` for a key that AWS manages: nobody can share it.
pub(super) fn key(resource: &Resource) -> Option<Bundle> {
    let facts = resource.answer("DescribeKey").ok().flatten();
    if facts.and_then(|a| a.pointer("/KeyMetadata/KeyManager")).and_then(Value::as_str) == Some("AWS") {
        return None;
    }
    let mut out = blank(resource, &super::tables::KMS_OPERATIONS, false);
    out.forms = vec![Form { name: String::new(), pattern: resource.arn.clone() }];
    out.policy(resource, "GetKeyPolicy", "/Policy", "kms:GetKeyPolicy");
    let grants = out.answer(resource, "ListGrants", "kms:ListGrants");
    let statements: Vec<Value> = grants
        .and_then(|a| a.get("Grants"))
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .flat_map(grant)
        .collect();
    out.made(Kind::Grant, "ListGrants", &statements, Vec::new());
    Some(out)
}

/// A grant allows its operations to its grantee, under constraints on the encryption context.
fn grant(grant: &Value) -> Vec<Value> {
    let text = |name: &str| grant.get(name).and_then(Value::as_str);
    let grantee = text("GranteePrincipal").unwrap_or_default();
    let operations = grant.get("Operations").and_then(Value::as_array);
    let actions: Vec<String> =
        operations.into_iter().flatten().filter_map(Value::as_str).map(|o| format!("kms:{o}")).collect();
    let principal = |who: &str| {
        if who.ends_with(".amazonaws.com") { json!({"Service": who}) } else { json!({"AWS": who}) }
    };
    let mut condition = Map::new();
    for name in ["EncryptionContextEquals", "EncryptionContextSubset"] {
        let of = grant.get("Constraints").and_then(|c| c.get(name)).and_then(Value::as_object);
        for (key, value) in of.into_iter().flatten() {
            condition.insert(format!("kms:EncryptionContext:{key}"), value.clone());
        }
    }
    let mut out =
        json!({"Effect": "Allow", "Principal": principal(grantee), "Action": actions, "Resource": "*"});
    if let (Some(members), Some(id)) = (out.as_object_mut(), text("GrantId")) {
        members.insert("Sid".to_owned(), json!(id));
        if !condition.is_empty() {
            members.insert("Condition".to_owned(), json!({"StringEquals": condition}));
        }
    }
    // Whoever may retire a grant can end it (KMS grants, "Retiring principal").
    let retire = text("RetiringPrincipal")
        .map(|who| json!({"Effect": "Allow", "Principal": principal(who), "Action": "kms:RetireGrant", "Resource": "*"}));
    let grants = (!grantee.is_empty() && !actions.is_empty()).then_some(out);
    grants.into_iter().chain(retire).collect()
}
