//! Which Terraform type is which resource, and where its policy's text stands.

/// A Terraform type that is a resource of its own.
pub(super) struct Base {
    pub tf: &'static str,
    pub kind: &'static str,
    /// Attribute that names it; unknown until it exists where AWS chooses the name.
    pub name: &'static str,
    pub arn: &'static str,
}

const fn base(tf: &'static str, kind: &'static str, name: &'static str, arn: &'static str) -> Base {
    Base { tf, kind, name, arn }
}

#[rustfmt::skip]
pub(super) const BASES: &[Base] = &[
    base("aws_s3_bucket", "AWS::S3::Bucket", "bucket", "s3:::{name}"),
    base("aws_s3_directory_bucket", "AWS::S3Express::DirectoryBucket", "bucket", "s3express:{region}:{account}:bucket/{name}"),
    base("aws_s3_access_point", "AWS::S3::AccessPoint", "name", "s3:{region}:{account}:accesspoint/{name}"),
    base("aws_iam_role", "AWS::IAM::Role", "name", "iam::{account}:role{path}{name}"),
    base("aws_kms_key", "AWS::KMS::Key", "key_id", "kms:{region}:{account}:key/{name}"),
    base("aws_kms_external_key", "AWS::KMS::Key", "id", "kms:{region}:{account}:key/{name}"),
    base("aws_kms_replica_key", "AWS::KMS::Key", "key_id", "kms:{region}:{account}:key/{name}"),
    base("aws_lambda_function", "AWS::Lambda::Function", "function_name", "lambda:{region}:{account}:function:{name}"),
    base("aws_lambda_layer_version", "AWS::Lambda::LayerVersion", "layer_name", "lambda:{region}:{account}:layer:{name}"),
    base("aws_sqs_queue", "AWS::SQS::Queue", "name", "sqs:{region}:{account}:{name}"),
    base("aws_sns_topic", "AWS::SNS::Topic", "name", "sns:{region}:{account}:{name}"),
    base("aws_secretsmanager_secret", "AWS::SecretsManager::Secret", "name", "secretsmanager:{region}:{account}:secret:{name}"),
    base("aws_ebs_snapshot", "AWS::EC2::Snapshot", "id", "ec2:{region}::snapshot/{name}"),
    base("aws_ebs_snapshot_copy", "AWS::EC2::Snapshot", "id", "ec2:{region}::snapshot/{name}"),
    base("aws_ebs_snapshot_import", "AWS::EC2::Snapshot", "id", "ec2:{region}::snapshot/{name}"),
    base("aws_ami", "AWS::EC2::Image", "id", "ec2:{region}::image/{name}"),
    base("aws_ami_copy", "AWS::EC2::Image", "id", "ec2:{region}::image/{name}"),
    base("aws_ami_from_instance", "AWS::EC2::Image", "id", "ec2:{region}::image/{name}"),
    base("aws_db_snapshot", "AWS::RDS::DBSnapshot", "db_snapshot_identifier", "rds:{region}:{account}:snapshot:{name}"),
    base("aws_db_snapshot_copy", "AWS::RDS::DBSnapshot", "target_db_snapshot_identifier", "rds:{region}:{account}:snapshot:{name}"),
    base("aws_db_cluster_snapshot", "AWS::RDS::DBClusterSnapshot", "db_cluster_snapshot_identifier", "rds:{region}:{account}:cluster-snapshot:{name}"),
    base("aws_rds_cluster_snapshot_copy", "AWS::RDS::DBClusterSnapshot", "target_db_cluster_snapshot_identifier", "rds:{region}:{account}:cluster-snapshot:{name}"),
    base("aws_ecr_repository", "AWS::ECR::Repository", "name", "ecr:{region}:{account}:repository/{name}"),
    base("aws_efs_file_system", "AWS::EFS::FileSystem", "id", "elasticfilesystem:{region}:{account}:file-system/{name}"),
    base("aws_dynamodb_table", "AWS::DynamoDB::Table", "name", "dynamodb:{region}:{account}:table/{name}"),
    base("aws_opensearch_domain", "AWS::OpenSearchService::Domain", "domain_name", "es:{region}:{account}:domain/{name}"),
    base("aws_elasticsearch_domain", "AWS::OpenSearchService::Domain", "domain_name", "es:{region}:{account}:domain/{name}"),
    base("aws_api_gateway_rest_api", "AWS::ApiGateway::RestApi", "id", "apigateway:{region}::/restapis/{name}"),
    base("aws_cloudwatch_event_bus", "AWS::Events::EventBus", "name", "events:{region}:{account}:event-bus/{name}"),
    base("aws_backup_vault", "AWS::Backup::BackupVault", "name", "backup:{region}:{account}:backup-vault:{name}"),
    base("aws_cloudwatch_log_resource_policy", "AWS::Logs::ResourcePolicy", "policy_name", "logs:{region}:{account}:resource-policy:{name}"),
    base("aws_cloudwatch_log_destination", "AWS::Logs::Destination", "name", "logs:{region}:{account}:destination:{name}"),
    base("aws_kinesis_stream", "AWS::Kinesis::Stream", "name", "kinesis:{region}:{account}:stream/{name}"),
    base("aws_codeartifact_domain", "AWS::CodeArtifact::Domain", "domain", "codeartifact:{region}:{account}:domain/{name}"),
];

/// A policy's text in an attribute: of the resource itself, or of one that names the resource in `link`.
pub(super) struct Document {
    pub tf: &'static str,
    pub attribute: &'static str,
    pub link: Option<&'static str>,
    pub kind: &'static str,
    pub operation: &'static str,
    /// Steps to the text in the answer; a number is an index.
    pub path: &'static str,
}

const fn own(
    tf: &'static str,
    attribute: &'static str,
    kind: &'static str,
    operation: &'static str,
    path: &'static str,
) -> Document {
    Document { tf, attribute, link: None, kind, operation, path }
}

const fn linked(
    tf: &'static str,
    link: &'static str,
    attribute: &'static str,
    kind: &'static str,
    operation: &'static str,
    path: &'static str,
) -> Document {
    Document { tf, attribute, link: Some(link), kind, operation, path }
}

#[rustfmt::skip]
pub(super) const DOCUMENTS: &[Document] = &[
    own("aws_s3_bucket", "policy", "AWS::S3::Bucket", "GetBucketPolicy", "Policy"),
    linked("aws_s3_bucket_policy", "bucket", "policy", "AWS::S3::Bucket", "GetBucketPolicy", "Policy"),
    own("aws_s3_access_point", "policy", "AWS::S3::AccessPoint", "GetAccessPointPolicy", "Policy"),
    linked("aws_s3control_access_point_policy", "access_point_arn", "policy", "AWS::S3::AccessPoint", "GetAccessPointPolicy", "Policy"),
    own("aws_kms_key", "policy", "AWS::KMS::Key", "GetKeyPolicy", "Policy"),
    own("aws_kms_external_key", "policy", "AWS::KMS::Key", "GetKeyPolicy", "Policy"),
    own("aws_kms_replica_key", "policy", "AWS::KMS::Key", "GetKeyPolicy", "Policy"),
    linked("aws_kms_key_policy", "key_id", "policy", "AWS::KMS::Key", "GetKeyPolicy", "Policy"),
    own("aws_sqs_queue", "policy", "AWS::SQS::Queue", "GetQueueAttributes", "Attributes.Policy"),
    linked("aws_sqs_queue_policy", "queue_url", "policy", "AWS::SQS::Queue", "GetQueueAttributes", "Attributes.Policy"),
    own("aws_sns_topic", "policy", "AWS::SNS::Topic", "GetTopicAttributes", "Attributes.Policy"),
    linked("aws_sns_topic_policy", "arn", "policy", "AWS::SNS::Topic", "GetTopicAttributes", "Attributes.Policy"),
    own("aws_secretsmanager_secret", "policy", "AWS::SecretsManager::Secret", "GetResourcePolicy", "ResourcePolicy"),
    linked("aws_secretsmanager_secret_policy", "secret_arn", "policy", "AWS::SecretsManager::Secret", "GetResourcePolicy", "ResourcePolicy"),
    linked("aws_ecr_repository_policy", "repository", "policy", "AWS::ECR::Repository", "GetRepositoryPolicy", "policyText"),
    linked("aws_efs_file_system_policy", "file_system_id", "policy", "AWS::EFS::FileSystem", "DescribeFileSystemPolicy", "Policy"),
    linked("aws_dynamodb_resource_policy", "resource_arn", "policy", "AWS::DynamoDB::Table", "GetResourcePolicy", "Policy"),
    own("aws_opensearch_domain", "access_policies", "AWS::OpenSearchService::Domain", "DescribeDomain", "DomainStatus.AccessPolicies"),
    own("aws_elasticsearch_domain", "access_policies", "AWS::OpenSearchService::Domain", "DescribeDomain", "DomainStatus.AccessPolicies"),
    linked("aws_opensearch_domain_policy", "domain_name", "access_policies", "AWS::OpenSearchService::Domain", "DescribeDomain", "DomainStatus.AccessPolicies"),
    linked("aws_elasticsearch_domain_policy", "domain_name", "access_policies", "AWS::OpenSearchService::Domain", "DescribeDomain", "DomainStatus.AccessPolicies"),
    own("aws_api_gateway_rest_api", "policy", "AWS::ApiGateway::RestApi", "GetRestApi", "policy"),
    linked("aws_api_gateway_rest_api_policy", "rest_api_id", "policy", "AWS::ApiGateway::RestApi", "GetRestApi", "policy"),
    linked("aws_cloudwatch_event_bus_policy", "event_bus_name", "policy", "AWS::Events::EventBus", "DescribeEventBus", "Policy"),
    linked("aws_backup_vault_policy", "backup_vault_name", "policy", "AWS::Backup::BackupVault", "GetBackupVaultAccessPolicy", "Policy"),
    own("aws_cloudwatch_log_resource_policy", "policy_document", "AWS::Logs::ResourcePolicy", "DescribeResourcePolicies", "resourcePolicies.0.policyDocument"),
    linked("aws_cloudwatch_log_destination_policy", "destination_name", "access_policy", "AWS::Logs::Destination", "DescribeDestinations", "destinations.0.accessPolicy"),
    linked("aws_kinesis_resource_policy", "resource_arn", "policy", "AWS::Kinesis::Stream", "GetResourcePolicy", "Policy"),
    linked("aws_codeartifact_domain_permissions_policy", "domain", "policy_document", "AWS::CodeArtifact::Domain", "GetDomainPermissionsPolicy", "policy.document"),
];

pub(super) fn is_read(kind: &str) -> bool {
    BASES.iter().any(|b| b.tf == kind) || DOCUMENTS.iter().any(|d| d.tf == kind)
}
