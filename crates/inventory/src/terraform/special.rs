//! Types whose attributes are more than a policy's text: each becomes what the API would answer.

use super::map::{Draft, Mapper};
use super::placeholder;
use super::read::Instance;
use super::{lambda, s3};
use crate::arn::is_account;
use serde_json::{Map, Value, json};

/// Types that [`read`] knows beside those of the tables.
pub(super) const TYPES: &[&str] = &[
    "aws_ami_launch_permission",
    "aws_cloudwatch_event_permission",
    "aws_ebs_snapshot_block_public_access",
    "aws_ec2_image_block_public_access",
    "aws_efs_mount_target",
    "aws_iam_role_policy",
    "aws_iam_role_policy_attachment",
    "aws_kms_grant",
    "aws_lambda_alias",
    "aws_lambda_function_url",
    "aws_lambda_layer_version_permission",
    "aws_lambda_permission",
    "aws_s3_account_public_access_block",
    "aws_s3_bucket_acl",
    "aws_s3_bucket_ownership_controls",
    "aws_s3_bucket_public_access_block",
    "aws_snapshot_create_volume_permission",
];

/// Reads an instance of such a type; false: not one of them.
pub(super) fn read(m: &mut Mapper, at: usize, i: &Instance) -> bool {
    match i.kind {
        "aws_s3_bucket" => s3::bucket(m, at, i),
        "aws_s3_bucket_acl" => s3::bucket_acl(m, at, i),
        "aws_s3_bucket_ownership_controls" => {
            let to = m.link(at, i, "bucket", "AWS::S3::Bucket", "GetBucketOwnershipControls");
            for rule in i.blocks("rule") {
                let rule = json!({"ObjectOwnership": field(&rule, "object_ownership", i, "rule")});
                m.push(to, "GetBucketOwnershipControls", "OwnershipControls.Rules", rule, from(i, "rule"));
            }
        }
        "aws_s3_bucket_public_access_block" => {
            let to = m.link(at, i, "bucket", "AWS::S3::Bucket", "GetPublicAccessBlock");
            m.put(to, "GetPublicAccessBlock", "PublicAccessBlockConfiguration", block(&all(i)), i.address);
        }
        "aws_s3_account_public_access_block" => {
            let to = m.account(i);
            m.put(to, "GetPublicAccessBlock", "PublicAccessBlockConfiguration", block(&all(i)), i.address);
        }
        "aws_s3_access_point" => s3::access_point(m, at, i),
        "aws_ebs_snapshot_block_public_access" => {
            let (to, region) = (m.account(i), m.region_of(i));
            let state = json!({"State": value(i, "state")});
            m.put(to, "GetSnapshotBlockPublicAccessState", &region, state, from(i, "state"));
        }
        "aws_ec2_image_block_public_access" => {
            let (to, region) = (m.account(i), m.region_of(i));
            let state = json!({"ImageBlockPublicAccessState": value(i, "state")});
            m.put(to, "GetImageBlockPublicAccessState", &region, state, from(i, "state"));
        }
        "aws_iam_role" => role(m, at, i),
        "aws_iam_role_policy" => {
            let to = m.link(at, i, "role", "AWS::IAM::Role", "GetRolePolicy");
            let name = i.text("name").unwrap_or_else(|| placeholder(i.address, "name"));
            if let Some((text, source)) = m.policy_text(at, i, "policy") {
                role_policy(m, to, &name, &text, source);
            }
        }
        "aws_iam_role_policy_attachment" => {
            let to = m.link(at, i, "role", "AWS::IAM::Role", "ListAttachedRolePolicies");
            attached(m, to, &value(i, "policy_arn"), from(i, "policy_arn"));
        }
        "aws_kms_grant" => grant(m, at, i),
        "aws_lambda_function" => lambda::function(m, at, i),
        "aws_lambda_alias" => {}
        "aws_lambda_permission" => lambda::function_permission(m, at, i),
        "aws_lambda_function_url" => lambda::function_url(m, at, i),
        "aws_lambda_layer_version_permission" => lambda::layer_permission(m, at, i),
        "aws_snapshot_create_volume_permission" => {
            let to = m.link(at, i, "snapshot_id", "AWS::EC2::Snapshot", "DescribeSnapshotAttribute");
            let who = json!({"UserId": value(i, "account_id")});
            m.push(to, "DescribeSnapshotAttribute", "CreateVolumePermissions", who, from(i, "account_id"));
        }
        "aws_ami_launch_permission" => launch_permission(m, at, i),
        "aws_db_snapshot" | "aws_db_snapshot_copy" => {
            shared(
                m,
                at,
                i,
                "DescribeDBSnapshotAttributes",
                ["DBSnapshotAttributesResult", "DBSnapshotAttributes"],
            );
        }
        "aws_db_cluster_snapshot" | "aws_rds_cluster_snapshot_copy" => shared(
            m,
            at,
            i,
            "DescribeDBClusterSnapshotAttributes",
            ["DBClusterSnapshotAttributesResult", "DBClusterSnapshotAttributes"],
        ),
        "aws_efs_mount_target" => {
            let to = m.link(at, i, "file_system_id", "AWS::EFS::FileSystem", "DescribeMountTargets");
            let target = json!({"SubnetId": value(i, "subnet_id")});
            m.push(to, "DescribeMountTargets", "MountTargets", target, from(i, "subnet_id"));
        }
        "aws_cloudwatch_event_permission" => event_permission(m, at, i),
        _ => return false,
    }
    true
}

/// What AWS sets on a new resource: S3 blocks public access and ACLs since 2023-04 (S3 "default-s3-bucket-settings"), KMS and SNS
/// write a policy of their own (KMS "key-policy-default", SNS "sns-access-policy-language-key-concepts").
pub(super) fn defaults(draft: &Draft) -> Vec<(&'static str, &'static str, Value)> {
    let r = &draft.resource;
    let blocked = || {
        block(
            &json!({"block_public_acls": true, "block_public_policy": true, "ignore_public_acls": true, "restrict_public_buckets": true}),
        )
    };
    match r.kind.as_str() {
        "AWS::S3::Bucket" => vec![
            ("GetPublicAccessBlock", "PublicAccessBlockConfiguration", blocked()),
            (
                "GetBucketOwnershipControls",
                "OwnershipControls.Rules",
                json!([{"ObjectOwnership": "BucketOwnerEnforced"}]),
            ),
            ("GetBucketAcl", "Grants", json!([])),
        ],
        "AWS::KMS::Key" => {
            let root = format!("arn:{}:iam::{}:root", draft.partition, r.account);
            let statement = json!({"Action": "kms:*", "Effect": "Allow", "Principal": {"AWS": root}, "Resource": "*", "Sid": "Enable IAM User Permissions"});
            let policy = json!({"Id": "key-default-1", "Statement": [statement], "Version": "2012-10-17"});
            vec![("GetKeyPolicy", "Policy", policy.to_string().into()), ("ListGrants", "Grants", json!([]))]
        }
        "AWS::SNS::Topic" => {
            let actions = [
                "SNS:GetTopicAttributes",
                "SNS:SetTopicAttributes",
                "SNS:AddPermission",
                "SNS:RemovePermission",
                "SNS:DeleteTopic",
                "SNS:Subscribe",
                "SNS:ListSubscriptionsByTopic",
                "SNS:Publish",
            ];
            let condition = json!({"StringEquals": {"AWS:SourceOwner": r.account}});
            let statement = json!({"Action": actions, "Condition": condition, "Effect": "Allow", "Principal": {"AWS": "*"}, "Resource": r.arn, "Sid": "__default_statement_ID"});
            let policy =
                json!({"Id": "__default_policy_ID", "Statement": [statement], "Version": "2008-10-17"});
            vec![("GetTopicAttributes", "Attributes.Policy", policy.to_string().into())]
        }
        "AWS::IAM::Role" => {
            vec![
                ("ListAttachedRolePolicies", "AttachedPolicies", json!([])),
                ("GetRolePolicy", "", json!({})),
            ]
        }
        "AWS::Lambda::Function" | "AWS::Lambda::Alias" => {
            vec![("GetPolicy", "", json!({})), ("GetFunctionUrlConfig", "", json!({}))]
        }
        "AWS::Lambda::LayerVersion" => vec![("GetLayerVersionPolicy", "", json!({}))],
        "AWS::EC2::Snapshot" => vec![("DescribeSnapshotAttribute", "CreateVolumePermissions", json!([]))],
        "AWS::EC2::Image" => vec![("DescribeImageAttribute", "LaunchPermissions", json!([]))],
        "AWS::EFS::FileSystem" => vec![("DescribeMountTargets", "MountTargets", json!([]))],
        _ => Vec::new(),
    }
}

pub(super) fn from(i: &Instance, attribute: &str) -> String {
    format!("{}.{attribute}", i.address)
}

/// An attribute that the type always has; a placeholder where it is missing.
pub(super) fn value(i: &Instance, attribute: &str) -> Value {
    i.get(attribute).unwrap_or_else(|| placeholder(i.address, attribute).into())
}

pub(super) fn field(block: &Value, key: &str, i: &Instance, attribute: &str) -> Value {
    block
        .get(key)
        .filter(|v| !v.is_null())
        .cloned()
        .unwrap_or_else(|| placeholder(i.address, attribute).into())
}

/// The four switches of an instance.
fn all(i: &Instance) -> Value {
    let keys = ["block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets"];
    Value::Object(keys.iter().filter_map(|k| Some(((*k).to_owned(), i.get(k)?))).collect())
}

/// As the API answers; what is not set is off.
pub(super) fn block(switches: &Value) -> Value {
    let of = |key: &str| switches.get(key).filter(|v| !v.is_null()).cloned().unwrap_or(Value::Bool(false));
    json!({"BlockPublicAcls": of("block_public_acls"), "BlockPublicPolicy": of("block_public_policy"),
        "IgnorePublicAcls": of("ignore_public_acls"), "RestrictPublicBuckets": of("restrict_public_buckets")})
}

fn role(m: &mut Mapper, at: usize, i: &Instance) {
    let Some(to) = m.drafts.iter().position(|d| d.instance == Some(at)) else { return };
    let Some(draft) = m.drafts.get(to) else { return };
    let about = json!({"Arn": draft.resource.arn, "Path": i.text("path").unwrap_or_else(|| "/".to_owned()), "RoleName": draft.resource.name});
    m.put(to, "GetRole", "Role", about, i.address);
    if let Some((text, source)) = m.policy_text(at, i, "assume_role_policy") {
        m.put(to, "GetRole", "Role.AssumeRolePolicyDocument", as_object(&text), source);
    }
    if let Some(boundary) = i.text("permissions_boundary") {
        let boundary = json!({"PermissionsBoundaryArn": boundary, "PermissionsBoundaryType": "Policy"});
        m.put(to, "GetRole", "Role.PermissionsBoundary", boundary, from(i, "permissions_boundary"));
    }
    for policy in i.blocks("inline_policy") {
        let text = |key: &str| policy.get(key).and_then(Value::as_str).filter(|t| !t.is_empty());
        if let (Some(name), Some(text)) = (text("name"), text("policy")) {
            role_policy(m, to, name, text, from(i, "inline_policy"));
        }
    }
    for arn in i.blocks("managed_policy_arns") {
        attached(m, to, &arn, from(i, "managed_policy_arns"));
    }
}

/// IAM's answers have documents as objects, the CLI decodes them; a text that is no JSON stays as it is.
fn as_object(text: &str) -> Value {
    serde_json::from_str(text).ok().filter(Value::is_object).unwrap_or_else(|| text.into())
}

fn role_policy(m: &mut Mapper, to: usize, name: &str, text: &str, source: String) {
    let Some(draft) = m.drafts.get(to) else { return };
    let answer =
        json!({"PolicyDocument": as_object(text), "PolicyName": name, "RoleName": draft.resource.name});
    let mut all =
        draft.resource.config.get("GetRolePolicy").and_then(Value::as_object).cloned().unwrap_or_default();
    all.insert(name.to_owned(), answer);
    m.put(to, "GetRolePolicy", "", Value::Object(all), source);
}

fn attached(m: &mut Mapper, to: usize, arn: &Value, source: String) {
    let name = arn.as_str().and_then(|a| a.rsplit('/').next()).unwrap_or_default();
    let policy = json!({"PolicyArn": arn, "PolicyName": name});
    let (operation, list) = ("ListAttachedRolePolicies", "AttachedPolicies");
    let is_there = m
        .drafts
        .get(to)
        .and_then(|d| d.resource.config.get(operation))
        .is_some_and(|a| a.get(list).and_then(Value::as_array).is_some_and(|all| all.contains(&policy)));
    if !is_there {
        m.push(to, operation, list, policy, source);
    }
}

fn grant(m: &mut Mapper, at: usize, i: &Instance) {
    let to = m.link(at, i, "key_id", "AWS::KMS::Key", "ListGrants");
    let mut grant = Map::new();
    for (key, attribute) in [
        ("Name", "name"),
        ("GranteePrincipal", "grantee_principal"),
        ("RetiringPrincipal", "retiring_principal"),
        ("Operations", "operations"),
    ] {
        if let Some(value) = i.get(attribute) {
            grant.insert(key.to_owned(), value);
        }
    }
    if let Some(block) = i.blocks("constraints").first() {
        let mut constraints = Map::new();
        for (key, attribute) in [
            ("EncryptionContextEquals", "encryption_context_equals"),
            ("EncryptionContextSubset", "encryption_context_subset"),
        ] {
            if let Some(value) = block.get(attribute).filter(|v| v.as_object().is_some_and(|m| !m.is_empty()))
            {
                constraints.insert(key.to_owned(), value.clone());
            }
        }
        grant.insert("Constraints".to_owned(), Value::Object(constraints));
    }
    m.push(to, "ListGrants", "Grants", Value::Object(grant), i.address);
}

/// How Lambda and EventBridge write who is allowed: everybody, an account, an ARN, a service.
pub(super) fn principal(text: &str, partition: &str) -> Value {
    match text {
        "*" => "*".into(),
        account if is_account(account) => json!({"AWS": format!("arn:{partition}:iam::{account}:root")}),
        arn if arn.starts_with("arn:") || arn.starts_with("${") => json!({"AWS": arn}),
        service => json!({"Service": service}),
    }
}

/// Adds a statement to the policy that an API keeps by statements.
#[expect(clippy::too_many_arguments, reason = "the parts of one statement, and where it goes")]
pub(super) fn statement(
    m: &mut Mapper,
    to: usize,
    operation: &str,
    sid: &str,
    who: Value,
    action: &Value,
    condition: Map<String, Value>,
    source: &str,
) {
    let Some(draft) = m.drafts.get(to) else { return };
    let text = draft.resource.config.get(operation).and_then(|a| a.get("Policy"));
    let old: Option<Value> = text.and_then(Value::as_str).and_then(|t| serde_json::from_str(t).ok());
    let mut statements =
        old.as_ref().and_then(|p| p.get("Statement")).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut new = Map::new();
    new.insert("Action".to_owned(), action.clone());
    if !condition.is_empty() {
        new.insert("Condition".to_owned(), Value::Object(condition));
    }
    new.insert("Effect".to_owned(), "Allow".into());
    new.insert("Principal".to_owned(), who);
    new.insert("Resource".to_owned(), draft.resource.arn.clone().into());
    new.insert("Sid".to_owned(), sid.into());
    let at = statements.len();
    statements.push(Value::Object(new));
    let mut policy = Map::new();
    policy.insert("Id".to_owned(), "default".into());
    policy.insert("Statement".to_owned(), Value::Array(statements));
    policy.insert("Version".to_owned(), "2012-10-17".into());
    m.put(to, operation, "Policy", Value::Object(policy).to_string().into(), "");
    if let Some(draft) = m.drafts.get_mut(to) {
        draft.sources.remove(&format!("/{operation}/Policy"));
        draft.sources.insert(format!("/{operation}/Policy#/Statement/{at}"), source.to_owned());
    }
}

fn launch_permission(m: &mut Mapper, at: usize, i: &Instance) {
    let to = m.link(at, i, "image_id", "AWS::EC2::Image", "DescribeImageAttribute");
    let keys = [
        ("UserId", "account_id"),
        ("Group", "group"),
        ("OrganizationArn", "organization_arn"),
        ("OrganizationalUnitArn", "organizational_unit_arn"),
    ];
    for (key, attribute) in keys {
        if let Some(who) = i.text(attribute) {
            let who = json!({key: who});
            m.push(to, "DescribeImageAttribute", "LaunchPermissions", who, from(i, attribute));
        }
    }
}

/// The accounts that a database snapshot is shared with.
fn shared(m: &mut Mapper, at: usize, i: &Instance, operation: &'static str, path: [&str; 2]) {
    let Some(to) = m.drafts.iter().position(|d| d.instance == Some(at)) else { return };
    // Not set on a new snapshot: shared with nobody. On an old one somebody else may have shared it.
    let accounts = match i.get("shared_accounts") {
        Some(Value::Array(list)) => Value::Array(list),
        Some(unknown) => json!([unknown]),
        None if i.is_created() => json!([]),
        None => return,
    };
    let attributes = json!([{"AttributeName": "restore", "AttributeValues": accounts}]);
    m.put(to, operation, &path.join("."), attributes, from(i, "shared_accounts"));
}

fn event_permission(m: &mut Mapper, at: usize, i: &Instance) {
    // Without a name it is the bus that every account has.
    let to = if i.get("event_bus_name").is_some() {
        m.link(at, i, "event_bus_name", "AWS::Events::EventBus", "DescribeEventBus")
    } else {
        let is_default =
            |d: &Draft| d.resource.kind == "AWS::Events::EventBus" && d.resource.name == "default";
        m.drafts.iter().position(is_default).unwrap_or_else(|| {
            let new = m.draft(
                at,
                i,
                "AWS::Events::EventBus",
                "default",
                "events:{region}:{account}:event-bus/{name}",
            );
            if let Some(draft) = m.drafts.get_mut(new) {
                draft.instance = None;
            }
            new
        })
    };
    let mut condition = Map::new();
    for block in i.blocks("condition") {
        let text = |key: &str| block.get(key).and_then(Value::as_str).map(str::to_owned);
        if let (Some(operator), Some(key)) = (text("type"), text("key")) {
            condition.insert(operator, json!({key: block.get("value")}));
        }
    }
    let partition = m.drafts.get(to).map(|d| d.partition.clone()).unwrap_or_default();
    let who =
        principal(&i.text("principal").unwrap_or_else(|| placeholder(i.address, "principal")), &partition);
    let sid = i.text("statement_id").unwrap_or_else(|| placeholder(i.address, "statement_id"));
    let action = i.get("action").unwrap_or_else(|| "events:PutEvents".into());
    statement(m, to, "DescribeEventBus", &sid, who, &action, condition, i.address);
}
