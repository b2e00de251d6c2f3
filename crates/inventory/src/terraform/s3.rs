//! Buckets and access points: ACLs and switches.

use super::map::Mapper;
use super::placeholder;
use super::read::Instance;
use super::special::{block, field, from, value};
use serde_json::{Map, Value, json};

/// ACLs that older configurations set on the bucket itself.
pub(super) fn bucket(m: &mut Mapper, at: usize, i: &Instance) {
    let Some(to) = m.drafts.iter().position(|d| d.instance == Some(at)) else { return };
    if let Some(acl) = i.text("acl") {
        for grant in canned(&acl) {
            m.push(to, "GetBucketAcl", "Grants", grant, from(i, "acl"));
        }
    }
    for grant in i.blocks("grant") {
        let permissions = grant.get("permissions").and_then(Value::as_array).cloned().unwrap_or_default();
        for permission in permissions {
            let grantee = grantee(&grant, "uri", "id");
            m.push(
                to,
                "GetBucketAcl",
                "Grants",
                json!({"Grantee": grantee, "Permission": permission}),
                from(i, "grant"),
            );
        }
    }
}

pub(super) fn bucket_acl(m: &mut Mapper, at: usize, i: &Instance) {
    let to = m.link(at, i, "bucket", "AWS::S3::Bucket", "GetBucketAcl");
    // The bucket itself repeats what it was before; what is set here counts.
    m.put(to, "GetBucketAcl", "Grants", json!([]), i.address);
    if let Some(acl) = i.text("acl") {
        for grant in canned(&acl) {
            m.push(to, "GetBucketAcl", "Grants", grant, from(i, "acl"));
        }
        return;
    }
    for policy in i.blocks("access_control_policy") {
        if let Some(owner) = policy.pointer("/owner/0/id") {
            m.put(to, "GetBucketAcl", "Owner.ID", owner.clone(), from(i, "access_control_policy"));
        }
        let grants = match policy.get("grant") {
            Some(Value::Array(grants)) => grants.clone(),
            _ => canned(&placeholder(i.address, "access_control_policy")),
        };
        for grant in grants {
            let who = grant.pointer("/grantee/0").or_else(|| grant.get("grantee"));
            let grant = match who {
                Some(who) => {
                    json!({"Grantee": grantee(who, "uri", "id"), "Permission": grant.get("permission")})
                }
                None => grant,
            };
            m.push(to, "GetBucketAcl", "Grants", grant, from(i, "access_control_policy"));
        }
    }
}

fn grantee(who: &Value, uri: &str, id: &str) -> Value {
    let of = |key: &str| who.get(key).and_then(Value::as_str).filter(|t| !t.is_empty());
    match (of(uri), of(id), of("email_address")) {
        (Some(uri), _, _) => json!({"Type": "Group", "URI": uri}),
        (_, Some(id), _) => json!({"ID": id, "Type": "CanonicalUser"}),
        (_, _, Some(email)) => json!({"EmailAddress": email, "Type": "AmazonCustomerByEmail"}),
        _ => json!({"Type": who.get("type")}),
    }
}

/// The grants of a canned ACL beside the owner's (S3 "acl-overview"). Those to the bucket's owner are the owner's.
fn canned(acl: &str) -> Vec<Value> {
    let group = |uri: &str, permission: &str| json!({"Grantee": {"Type": "Group", "URI": uri}, "Permission": permission});
    let everyone = "http://acs.amazonaws.com/groups/global/AllUsers";
    let anyone = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers";
    let logs = "http://acs.amazonaws.com/groups/s3/LogDelivery";
    match acl {
        "private" | "bucket-owner-read" | "bucket-owner-full-control" => Vec::new(),
        "public-read" => vec![group(everyone, "READ")],
        "public-read-write" => vec![group(everyone, "READ"), group(everyone, "WRITE")],
        "authenticated-read" => vec![group(anyone, "READ")],
        "log-delivery-write" => vec![group(logs, "WRITE"), group(logs, "READ_ACP")],
        // `aws-exec-read` names an account of AWS; what is not known may be anything.
        other => vec![group(other, "READ")],
    }
}

pub(super) fn access_point(m: &mut Mapper, at: usize, i: &Instance) {
    let Some(to) = m.drafts.iter().position(|d| d.instance == Some(at)) else { return };
    let mut answer = Map::new();
    answer.insert("Name".to_owned(), value(i, "name"));
    answer.insert("Bucket".to_owned(), bucket_of(m, at, i));
    let vpc = i.blocks("vpc_configuration");
    let origin = if vpc.is_empty() { "Internet" } else { "VPC" };
    answer.insert("NetworkOrigin".to_owned(), origin.into());
    if let Some(vpc) = vpc.first() {
        let id = field(vpc, "vpc_id", i, "vpc_configuration");
        answer.insert("VpcConfiguration".to_owned(), json!({"VpcId": id}));
    }
    // Without the block, and without a switch inside it, AWS turns each on.
    let switches =
        i.blocks("public_access_block_configuration").into_iter().next().unwrap_or_else(|| json!({}));
    let on = |key: &str| switches.get(key).filter(|v| !v.is_null()).cloned().unwrap_or(Value::Bool(true));
    let keys = ["block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets"];
    let switches: Map<String, Value> = keys.iter().map(|k| ((*k).to_owned(), on(k))).collect();
    answer.insert("PublicAccessBlockConfiguration".to_owned(), block(&Value::Object(switches)));
    if let Some(account) = i.text("bucket_account_id") {
        answer.insert("BucketAccountId".to_owned(), account.into());
    }
    m.put(to, "GetAccessPoint", "", Value::Object(answer), i.address);
}

/// The name of an access point's bucket, by reference where it is not known.
fn bucket_of(m: &Mapper, at: usize, i: &Instance) -> Value {
    if !i.is_unknown("bucket") {
        return value(i, "bucket");
    }
    let found = m.tree.target(at, "bucket", |t| t.kind == "aws_s3_bucket");
    let draft = found.and_then(|f| m.drafts.iter().find(|d| d.instance == Some(f)));
    draft.map_or_else(|| value(i, "bucket"), |d| d.resource.name.clone().into())
}
