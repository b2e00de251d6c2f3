//! One adapter for each kind of resource: which documents, lists, switches and grants decide about it, and how (access.md 5).
//! Whatever a kind has beside policies becomes a policy here, so that one analysis serves all.

mod kms;
mod lambda;
mod role;
pub mod s3;
mod shared;

use crate::bundle::{Bundle, Callers, Form, Kind, Part, Unread};
use crate::estate::Surroundings;
use crate::external::Issuer;
use model::Resource;
use serde_json::Value;

/// A kind of resource whose one policy says all.
struct Plain {
    kind: &'static str,
    /// Where the policy's text stands: operation of the API, JSON pointer in its answer.
    operation: &'static str,
    pointer: &'static str,
    /// IAM action behind the operation.
    permission: &'static str,
    actions: &'static [&'static str],
    /// What stands behind the ARN in the resources that the policy can name, with the resource type's name.
    forms: &'static [(&'static str, &'static str)],
    /// It answers unsigned requests.
    anonymous: bool,
}

const fn plain(
    kind: &'static str,
    operation: &'static str,
    pointer: &'static str,
    permission: &'static str,
    actions: &'static [&'static str],
    forms: &'static [(&'static str, &'static str)],
    anonymous: bool,
) -> Plain {
    Plain { kind, operation, pointer, permission, actions, forms, anonymous }
}

const ITSELF: &[(&str, &str)] = &[("", "")];

/// Sources: the guides of the services, and IAM reference_aws-services-that-work-with-iam.
const PLAIN: &[Plain] = &[
    plain("AWS::SQS::Queue", "GetQueueAttributes", "/Attributes/Policy", "sqs:GetQueueAttributes", &["sqs:*"], ITSELF, true),
    plain("AWS::SNS::Topic", "GetTopicAttributes", "/Attributes/Policy", "sns:GetTopicAttributes", &["sns:*"], ITSELF, true),
    plain("AWS::SecretsManager::Secret", "GetResourcePolicy", "/ResourcePolicy", "secretsmanager:GetResourcePolicy", &["secretsmanager:*"], ITSELF, false),
    plain("AWS::ECR::Repository", "GetRepositoryPolicy", "/policyText", "ecr:GetRepositoryPolicy", &["ecr:*"], ITSELF, false),
    plain("AWS::EFS::FileSystem", "DescribeFileSystemPolicy", "/Policy", "elasticfilesystem:DescribeFileSystemPolicy", &["elasticfilesystem:*"], ITSELF, true),
    plain("AWS::DynamoDB::Table", "GetResourcePolicy", "/Policy", "dynamodb:GetResourcePolicy", &["dynamodb:*"], &[("", "table"), ("/index/*", "index"), ("/stream/*", "stream")], false),
    plain("AWS::OpenSearchService::Domain", "DescribeDomain", "/DomainStatus/AccessPolicies", "es:DescribeDomain", &["es:*"], &[("", "domain"), ("/*", "")], true),
    plain("AWS::ApiGateway::RestApi", "GetRestApi", "/policy", "apigateway:GET", &["execute-api:*"], &[("", ""), ("/*", "")], true),
    plain("AWS::Events::EventBus", "DescribeEventBus", "/Policy", "events:DescribeEventBus", &["events:*"], ITSELF, false),
    plain("AWS::Backup::BackupVault", "GetBackupVaultAccessPolicy", "/Policy", "backup:GetBackupVaultAccessPolicy", &["backup:*"], ITSELF, false),
    plain("AWS::Kinesis::Stream", "GetResourcePolicy", "/Policy", "kinesis:GetResourcePolicy", &["kinesis:*"], ITSELF, false),
    plain("AWS::Lambda::LayerVersion", "GetLayerVersionPolicy", "/Policy", "lambda:GetLayerVersionPolicy", &["lambda:GetLayerVersion"], ITSELF, false),
    plain("AWS::MediaStore::Container", "GetContainerPolicy", "/Policy", "mediastore:GetContainerPolicy", &["mediastore:*"], &[("", ""), ("/*", "")], true),
    plain("AWS::CodeArtifact::Repository", "GetRepositoryPermissionsPolicy", "/policy/document", "codeartifact:GetRepositoryPermissionsPolicy", &["codeartifact:*"], ITSELF, false),
    plain("AWS::CodeArtifact::Domain", "GetDomainPermissionsPolicy", "/policy/document", "codeartifact:GetDomainPermissionsPolicy", &["codeartifact:*"], ITSELF, false),
    plain("AWS::ACMPCA::CertificateAuthority", "GetPolicy", "/Policy", "acm-pca:GetPolicy", &["acm-pca:*"], ITSELF, false),
    plain("AWS::SES::EmailIdentity", "GetEmailIdentityPolicies", "/Policies/*", "ses:GetEmailIdentityPolicies", &["ses:*"], ITSELF, false),
    plain("AWS::Logs::Destination", "DescribeDestinations", "/accessPolicy", "logs:DescribeDestinations", &["logs:*"], ITSELF, false),
    plain("AWS::Glacier::Vault", "GetVaultAccessPolicy", "/policy/Policy", "glacier:GetVaultAccessPolicy", &["glacier:*"], ITSELF, false),
];

/// Prefixes of services that resource control policies bind (ORG orgs_manage_policies_rcps, "List of AWS services that support RCPs").
const RCP_SERVICES: [&str; 8] =
    ["s3", "sts", "kms", "sqs", "secretsmanager", "cognito-identity", "ecr", "dynamodb"];

/// The documents that decide about a resource; `None` for a type that has none.
#[must_use]
pub fn bundle(resource: &Resource, around: &Surroundings<'_>) -> Option<Bundle> {
    let mut out = match resource.kind.as_str() {
        "AWS::S3::Bucket" => s3::bucket(resource, around),
        "AWS::S3::AccessPoint" => s3::access_point(resource, around),
        "AWS::IAM::Role" => role::role(resource),
        "AWS::KMS::Key" => kms::key(resource)?,
        "AWS::Lambda::Function" => lambda::function(resource),
        "AWS::EC2::Snapshot" => shared::ebs_snapshot(resource, around),
        "AWS::EC2::Image" => shared::image(resource, around),
        "AWS::RDS::DBSnapshot" | "AWS::RDS::DBClusterSnapshot" => shared::rds_snapshot(resource),
        kind => one_policy(resource, PLAIN.iter().find(|p| p.kind == kind)?),
    };
    let service = out.actions.first().and_then(|a| a.split(':').next()).unwrap_or_default();
    let has_organization = around.estate.organization.is_some();
    let rcp = if RCP_SERVICES.contains(&service) {
        out.levels = around.levels(&resource.account);
        match (has_organization, out.levels.is_empty()) {
            (false, _) => "unknown",
            (true, true) => "absent",
            (true, false) => "applied",
        }
    } else {
        "absent"
    };
    out.layers.push(("rcp", rcp));
    Some(out)
}

fn one_policy(resource: &Resource, of: &Plain) -> Bundle {
    let mut out = blank(resource, of.actions, of.anonymous);
    out.forms = of
        .forms
        .iter()
        .map(|(behind, name)| Form { name: (*name).to_owned(), pattern: format!("{}{behind}", resource.arn) })
        .collect();
    out.policy(resource, of.operation, of.pointer, of.permission);
    out
}

/// A bundle without documents.
fn blank(resource: &Resource, actions: &[&str], anonymous: bool) -> Bundle {
    Bundle {
        arn: resource.arn.clone(),
        kind: resource.kind.clone(),
        account: resource.account.clone(),
        region: resource.region.clone(),
        parts: Vec::new(),
        levels: Vec::new(),
        actions: actions.iter().map(|a| (*a).to_owned()).collect(),
        forms: vec![Form { name: String::new(), pattern: resource.arn.clone() }],
        callers: Callers { anonymous, canonical: false, services: true, federated: false },
        canonical: Vec::new(),
        unknown: Vec::new(),
        aws_public: None,
        layers: Vec::new(),
        notes: Vec::new(),
    }
}

impl Bundle {
    /// Takes over an answer, or notes that it could not be had.
    fn answer<'r>(&mut self, resource: &'r Resource, operation: &str, permission: &str) -> Option<&'r Value> {
        let (permission, why) = match resource.answer(operation) {
            Ok(Some(answer)) => return Some(answer),
            Ok(None) => (None, "it was not collected".to_owned()),
            Err(error) if ["AccessDenied", "AccessDeniedException", "UnauthorizedOperation"].contains(&error.code.as_str()) => {
                (Some(permission.to_owned()), error.code)
            }
            Err(error) => (None, format!("{} {}", error.code, error.message)),
        };
        self.unknown.push(Unread { operation: operation.to_owned(), permission, why });
        None
    }

    /// Takes over the policy that stands in an answer: as text, or as an object.
    fn policy(&mut self, resource: &Resource, operation: &str, pointer: &str, permission: &str) {
        let Some(answer) = self.answer(resource, operation, permission) else { return };
        let found: Vec<(String, &Value)> = match pointer.strip_suffix("/*") {
            None => answer.pointer(pointer).map(|v| (operation.to_owned(), v)).into_iter().collect(),
            Some(pointer) => {
                let all = answer.pointer(pointer).and_then(Value::as_object);
                all.into_iter().flatten().map(|(name, v)| (format!("{operation}/{name}"), v)).collect()
            }
        };
        for (name, value) in found {
            let text = match value {
                Value::Null => continue,
                Value::String(text) if text.trim().is_empty() => continue,
                Value::String(text) => text.clone(),
                value => serde_json::to_string_pretty(value).unwrap_or_default(),
            };
            match Part::read(Kind::Policy, &name, &text) {
                Ok(part) => self.parts.push(part),
                Err(e) => self.unknown.push(Unread { operation: name, permission: None, why: e.to_string() }),
            }
        }
    }

    /// Adds what a setting comes to.
    fn made(&mut self, kind: Kind, name: &str, statements: &[Value]) {
        if !statements.is_empty() {
            self.parts.extend(Part::made(kind, name, statements));
        }
    }
}

/// Providers of tokens that many tenants share (access.md 7).
#[must_use]
pub fn issuers() -> Vec<Issuer> {
    role::issuers()
}

/// Services that nobody outside can make act on a kind of resource.
#[must_use]
pub fn harmless(kind: &str) -> Vec<&'static str> {
    match kind {
        "AWS::IAM::Role" => role::harmless(),
        _ => Vec::new(),
    }
}
