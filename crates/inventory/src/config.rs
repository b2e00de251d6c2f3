//! What others have written down already: snapshots of AWS Config, and IAM's `GetAccountAuthorizationDetails`.
//!
//! Both become resources in the shape of an estate folder. Config keeps answers under names of its own and some of them as text
//! inside JSON; IAM's documents are URL-encoded where no tool has decoded them. A part that the input does not have stays absent.

use crate::arn::{Arn, is_account};
use crate::error::Problem;
use model::{Resource, Time};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Read {
    /// By ARN.
    pub resources: Vec<Resource>,
    /// Types that are not read, and how many of each.
    pub not_read: BTreeMap<String, usize>,
}

/// Reads a snapshot or a history file of AWS Config: the newest item of each resource, without those that are gone.
///
/// # Errors
/// Not JSON, no `configurationItems`, an item without ARN, account or time.
pub fn snapshot(file: &str, bytes: &[u8]) -> Result<Read, Problem> {
    let document = parse(file, bytes)?;
    let items = document.as_array().or_else(|| document.get("configurationItems").and_then(Value::as_array));
    let Some(items) = items else {
        let hint = "give the snapshot that AWS Config delivers to its bucket, unpacked";
        return Err(Problem::new("config.not_a_snapshot", file, "no `configurationItems`", hint));
    };
    let mut read = Read::default();
    let mut newest: BTreeMap<String, (Time, Option<Resource>)> = BTreeMap::new();
    for (n, item) in items.iter().enumerate() {
        let text = |keys: [&str; 2]| keys.iter().find_map(|k| item.get(k)).and_then(Value::as_str);
        let need = |keys: [&str; 2]| {
            text(keys).ok_or_else(|| {
                let message = format!("item {n} has no `{}`", keys.first().unwrap_or(&""));
                let hint = "give the file as AWS Config wrote it";
                Problem::new("config.bad_item", file, message, hint)
            })
        };
        let kind = need(["resourceType", "resourceType"])?;
        let arn = match text(["ARN", "arn"]) {
            Some(arn) => arn,
            // Results of rules and the like are no resources.
            None => {
                *read.not_read.entry(kind.to_owned()).or_default() += 1;
                continue;
            }
        };
        let account = need(["awsAccountId", "accountId"])?;
        let captured = need(["configurationItemCaptureTime", "configurationItemCaptureTime"])?;
        let Some(captured_at) = Time::parse_rfc3339(captured.as_bytes()) else {
            let message = format!("item {n}: cannot read `{}` as a time", model::escape_controls(captured));
            return Err(Problem::new(
                "config.bad_item",
                file,
                message,
                "give the file as AWS Config wrote it",
            ));
        };
        if newest.get(arn).is_some_and(|(time, _)| *time > captured_at) {
            continue;
        }
        let status = text(["configurationItemStatus", "configurationItemStatus"]).unwrap_or_default();
        if status.starts_with("ResourceDeleted") || status.starts_with("ResourceNotRecorded") {
            newest.insert(arn.to_owned(), (captured_at, None));
            continue;
        }
        let Some(config) = answers(kind, item) else {
            *read.not_read.entry(kind.to_owned()).or_default() += 1;
            continue;
        };
        let region = text(["awsRegion", "region"]).filter(|r| *r != "global").unwrap_or_default();
        let resource = Resource {
            kind: kind.to_owned(),
            arn: arn.to_owned(),
            account: account.to_owned(),
            region: region.to_owned(),
            name: name_in(arn),
            tags: tags(item.get("tags"), ["key", "value"]),
            config,
            captured_at,
        };
        newest.insert(arn.to_owned(), (captured_at, Some(resource)));
    }
    read.resources = newest.into_values().filter_map(|(_, r)| r).collect();
    Ok(read)
}

/// Reads the answer of `aws iam get-account-authorization-details`: roles, users, groups and managed policies.
///
/// # Errors
/// Not JSON, not that answer, an entry without an ARN.
pub fn authorization_details(file: &str, bytes: &[u8], captured_at: Time) -> Result<Read, Problem> {
    let document = parse(file, bytes)?;
    let lists = [
        ("RoleDetailList", "Role", "RoleName"),
        ("UserDetailList", "User", "UserName"),
        ("GroupDetailList", "Group", "GroupName"),
        ("Policies", "Policy", "PolicyName"),
    ];
    if !lists.iter().any(|(list, _, _)| document.get(list).is_some_and(Value::is_array)) {
        let hint = "write it with `aws iam get-account-authorization-details --output json`";
        return Err(Problem::new(
            "config.not_details",
            file,
            "no list of roles, users, groups or policies",
            hint,
        ));
    }
    let mut read = Read::default();
    for (list, what, name_key) in lists {
        for (n, detail) in document.get(list).and_then(Value::as_array).into_iter().flatten().enumerate() {
            let text = |key: &str| detail.get(key).and_then(Value::as_str);
            let (Some(arn), Some(name)) = (text("Arn").filter(|a| Arn::parse(a).is_some()), text(name_key))
            else {
                let message = format!("entry {n} of `{list}` has no ARN or no `{name_key}`");
                return Err(Problem::new(
                    "config.bad_item",
                    file,
                    message,
                    "give the file as the CLI wrote it",
                ));
            };
            let kind = if what == "Policy" { "ManagedPolicy" } else { what };
            read.resources.push(Resource {
                kind: format!("AWS::IAM::{kind}"),
                arn: arn.to_owned(),
                account: Arn::parse(arn).map(|a| a.account.to_owned()).unwrap_or_default(),
                region: String::new(),
                name: name.to_owned(),
                tags: tags(detail.get("Tags"), ["Key", "Value"]),
                config: details(what, name_key, name, detail),
                captured_at,
            });
        }
    }
    // Policies of AWS belong to no account; they are kept with the one whose answer this is.
    let own = read.resources.iter().find(|r| is_account(&r.account)).map(|r| r.account.clone());
    for resource in read.resources.iter_mut().filter(|r| !is_account(&r.account)) {
        resource.account = own.clone().unwrap_or_else(|| "000000000000".to_owned());
    }
    read.resources.sort_by(|a, b| a.arn.cmp(&b.arn));
    Ok(read)
}

/// One entry as the calls that it stands for.
fn details(what: &str, name_key: &str, name: &str, detail: &Value) -> BTreeMap<String, Value> {
    let mut config = BTreeMap::new();
    let lists = [
        "RolePolicyList",
        "UserPolicyList",
        "GroupPolicyList",
        "AttachedManagedPolicies",
        "PolicyVersionList",
        "InstanceProfileList",
        "GroupList",
    ];
    let mut about: Map<String, Value> = detail.as_object().cloned().unwrap_or_default();
    about.retain(|key, _| !lists.contains(&key.as_str()));
    if let Some(document) = about.get_mut("AssumeRolePolicyDocument") {
        *document = decoded(document);
    }
    config.insert(format!("Get{what}"), json!({what: about}));
    if let Some(attached) = detail.get("AttachedManagedPolicies") {
        config.insert(format!("ListAttached{what}Policies"), json!({"AttachedPolicies": attached}));
    }
    if let Some(inline) = detail.get(format!("{what}PolicyList")).and_then(Value::as_array) {
        let each = inline.iter().filter_map(|p| {
            let policy = p.get("PolicyName")?.as_str()?;
            let document = decoded(p.get("PolicyDocument")?);
            Some((
                policy.to_owned(),
                json!({"PolicyDocument": document, "PolicyName": policy, name_key: name}),
            ))
        });
        config.insert(format!("Get{what}Policy"), Value::Object(each.collect()));
    }
    if let Some(groups) = detail.get("GroupList").and_then(Value::as_array) {
        let groups: Vec<Value> = groups.iter().map(|g| json!({"GroupName": g})).collect();
        config.insert("ListGroupsForUser".to_owned(), json!({"Groups": groups}));
    }
    let versions = detail.get("PolicyVersionList").and_then(Value::as_array);
    let is_default = |v: &&Value| v.get("IsDefaultVersion").and_then(Value::as_bool) == Some(true);
    if let Some(version) = versions.into_iter().flatten().find(is_default) {
        let mut version = version.clone();
        if let Some(document) = version.get_mut("Document") {
            *document = decoded(document);
        }
        config.insert("GetPolicyVersion".to_owned(), json!({"PolicyVersion": version}));
    }
    config
}

/// The answers that a configuration item stands for; `None`: a type that is not read.
fn answers(kind: &str, item: &Value) -> Option<BTreeMap<String, Value>> {
    let mut config = BTreeMap::new();
    let configuration = unpacked(item.get("configuration"));
    let more = |key: &str| {
        let value = item.get("supplementaryConfiguration").and_then(|s| s.get(key))?;
        Some(unpacked(Some(value)))
    };
    let mut put = |operation: &str, answer: Value| config.insert(operation.to_owned(), answer);
    match kind {
        "AWS::S3::Bucket" => {
            if let Some(policy) = more("BucketPolicy") {
                put(
                    "GetBucketPolicy",
                    policy_text(&policy).map_or_else(|| json!({}), |p| json!({"Policy": p})),
                );
            }
            if let Some(block) = more("PublicAccessBlockConfiguration") {
                put("GetPublicAccessBlock", public_access_block(&block));
            }
            if let Some(acl) = more("AccessControlList").filter(Value::is_object) {
                put("GetBucketAcl", bucket_acl(&acl));
            }
        }
        "AWS::IAM::Role" => {
            let text = |key: &str| configuration.get(key).cloned().unwrap_or(Value::Null);
            let document = decoded(&text("assumeRolePolicyDocument"));
            let mut role = json!({"Arn": text("arn"), "AssumeRolePolicyDocument": document, "Path": text("path"), "RoleName": text("roleName")});
            if let Some(boundary) = configuration.get("permissionsBoundary").filter(|b| b.is_object())
                && let Value::Object(role) = &mut role
            {
                let of = |key| boundary.get(key).cloned().unwrap_or(Value::Null);
                let boundary = json!({"PermissionsBoundaryArn": of("permissionsBoundaryArn"), "PermissionsBoundaryType": of("permissionsBoundaryType")});
                role.insert("PermissionsBoundary".to_owned(), boundary);
            }
            put("GetRole", json!({"Role": role}));
            if let Some(inline) = configuration.get("rolePolicyList").and_then(Value::as_array) {
                let each = inline.iter().filter_map(|p| {
                    let name = p.get("policyName")?.as_str()?;
                    let document = decoded(p.get("policyDocument")?);
                    Some((
                        name.to_owned(),
                        json!({"PolicyDocument": document, "PolicyName": name, "RoleName": text("roleName")}),
                    ))
                });
                put("GetRolePolicy", Value::Object(each.collect()));
            }
            if let Some(attached) = configuration.get("attachedManagedPolicies").and_then(Value::as_array) {
                let each: Vec<Value> = attached
                    .iter()
                    .map(|p| json!({"PolicyArn": p.get("policyArn"), "PolicyName": p.get("policyName")}))
                    .collect();
                put("ListAttachedRolePolicies", json!({"AttachedPolicies": each}));
            }
        }
        "AWS::KMS::Key" => {
            if let Some(policy) = more("Policy").as_ref().and_then(policy_text) {
                put("GetKeyPolicy", json!({"Policy": policy}));
            }
        }
        "AWS::Lambda::Function" => {
            if let Some(policy) = more("Policy") {
                put("GetPolicy", policy_text(&policy).map_or_else(|| json!({}), |p| json!({"Policy": p})));
            }
            let of = |key| configuration.get(key).cloned().unwrap_or(Value::Null);
            let about = json!({"FunctionArn": of("functionArn"), "FunctionName": of("functionName"), "Role": of("role")});
            put("GetFunction", json!({"Configuration": about}));
        }
        "AWS::SQS::Queue" | "AWS::SNS::Topic" => {
            let operation =
                if kind == "AWS::SQS::Queue" { "GetQueueAttributes" } else { "GetTopicAttributes" };
            let mut attributes = configuration.as_object()?.clone();
            // The API has every attribute as text.
            for value in attributes.values_mut().filter(|v| !v.is_string()) {
                *value = Value::String(value.to_string());
            }
            put(operation, json!({"Attributes": attributes}));
        }
        _ => return None,
    }
    Some(config)
}

fn public_access_block(block: &Value) -> Value {
    if !block.is_object() {
        return json!({});
    }
    let of = |key: &str| block.get(key).cloned().unwrap_or(Value::Bool(false));
    json!({"PublicAccessBlockConfiguration": {"BlockPublicAcls": of("blockPublicAcls"), "BlockPublicPolicy": of("blockPublicPolicy"),
        "IgnorePublicAcls": of("ignorePublicAcls"), "RestrictPublicBuckets": of("restrictPublicBuckets")}})
}

fn bucket_acl(acl: &Value) -> Value {
    let grants = acl.get("grantList").and_then(Value::as_array).into_iter().flatten().map(|grant| {
        let grantee = match grant.get("grantee") {
            Some(Value::String(group)) => {
                let at = if group == "LogDelivery" { "s3" } else { "global" };
                json!({"Type": "Group", "URI": format!("http://acs.amazonaws.com/groups/{at}/{group}")})
            }
            Some(who) => json!({"ID": who.get("id"), "Type": "CanonicalUser"}),
            None => Value::Null,
        };
        let permission = match grant.get("permission").and_then(Value::as_str) {
            Some("FullControl") => "FULL_CONTROL",
            Some("ReadAcp") => "READ_ACP",
            Some("WriteAcp") => "WRITE_ACP",
            Some("Read") => "READ",
            Some("Write") => "WRITE",
            other => other.unwrap_or("UNKNOWN"),
        };
        json!({"Grantee": grantee, "Permission": permission})
    });
    json!({"Grants": grants.collect::<Vec<Value>>(), "Owner": {"ID": acl.pointer("/owner/id")}})
}

/// A value that may stand as text inside JSON, once or twice.
fn unpacked(value: Option<&Value>) -> Value {
    let mut value = value.cloned().unwrap_or(Value::Null);
    for _ in 0..2 {
        let Value::String(text) = &value else { break };
        match serde_json::from_str::<Value>(text) {
            Ok(inner @ (Value::Object(_) | Value::Array(_) | Value::String(_))) => value = inner,
            _ => break,
        }
    }
    value
}

/// A policy's text, out of an object around it.
fn policy_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()).filter(|t| !t.is_empty()),
        Value::Object(map) => {
            let inner = ["policyText", "policy", "Policy"].iter().find_map(|k| map.get(*k));
            match inner {
                Some(inner) => policy_text(inner),
                None => map.contains_key("Statement").then(|| value.to_string()),
            }
        }
        _ => None,
    }
}

/// A document that is an object already, or its URL-encoded text.
fn decoded(value: &Value) -> Value {
    let Value::String(text) = value else { return value.clone() };
    let plain = percent_decoded(text);
    serde_json::from_str(&plain).ok().filter(Value::is_object).unwrap_or(Value::String(plain))
}

/// RFC 3986; what is no escape stays as it is.
fn percent_decoded(text: &str) -> String {
    let digit =
        |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(at) {
        match (byte, digit(bytes.get(at + 1)), digit(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push(high << 4 | low);
                at += 3;
            }
            _ => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

fn name_in(arn: &str) -> String {
    arn.rsplit(['/', ':']).next().unwrap_or(arn).to_owned()
}

fn tags(value: Option<&Value>, [key, val]: [&str; 2]) -> BTreeMap<String, String> {
    let text = |v: &Value| v.as_str().map(str::to_owned);
    match value {
        Some(Value::Object(map)) => map.iter().filter_map(|(k, v)| Some((k.clone(), text(v)?))).collect(),
        Some(Value::Array(list)) => {
            list.iter().filter_map(|t| Some((text(t.get(key)?)?, text(t.get(val)?)?))).collect()
        }
        _ => BTreeMap::new(),
    }
}

fn parse(file: &str, bytes: &[u8]) -> Result<Value, Problem> {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    serde_json::from_slice(text).map_err(|e| {
        let said = e.to_string();
        let what = said.rsplit_once(" at line ").map_or(said.as_str(), |(before, _)| before);
        let (message, hint) = if bytes.starts_with(&[0x1f, 0x8b]) {
            ("this is packed with gzip".to_owned(), "unpack it: `gunzip FILE`")
        } else {
            (format!("not JSON: {what}"), "give the file as AWS wrote it")
        };
        let place = Some((e.line().max(1), e.column().max(1)));
        Problem { file: file.to_owned(), place, code: "config.bad_json", message, hint: hint.to_owned() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_escapes() {
        for (text, expect) in [
            ("%7B%22a%22%3A1%7D", "{\"a\":1}"),
            ("a%2", "a%2"),
            ("%zz+", "%zz+"),
            ("%C3%A9", "é"),
            ("%FF", "\u{fffd}"),
            ("%", "%"),
            ("", ""),
        ] {
            assert_eq!(percent_decoded(text), expect);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_decoded(text in "(%|[0-9a-fA-F]|é|\"){0,20}") {
            percent_decoded(&text);
            decoded(&Value::String(text));
        }
    }

    #[test]
    fn values_inside_text() {
        assert_eq!(unpacked(Some(&json!("\"{\\\"a\\\":1}\""))), json!({"a": 1}));
        assert_eq!(unpacked(Some(&json!("{\"a\":1}"))), json!({"a": 1}));
        assert_eq!(unpacked(Some(&json!("plain"))), json!("plain"));
        assert_eq!(unpacked(None), Value::Null);
        assert_eq!(policy_text(&json!({"policyText": null})), None);
        assert_eq!(policy_text(&json!({"Statement": []})), Some("{\"Statement\":[]}".to_owned()));
    }
}
