terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}
provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "x"
  secret_key                  = "x"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
}
resource "aws_s3_bucket" "logs" { bucket = "acme-logs" }
resource "aws_s3_bucket" "gen" { bucket_prefix = "gen-" }
data "aws_iam_policy_document" "logs" {
  statement {
    sid       = "Read"
    actions   = ["s3:GetObject"]
    resources = ["${aws_s3_bucket.logs.arn}/*"]
    principals {
      type        = "AWS"
      identifiers = ["*"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:PrincipalOrgID"
      values   = ["o-abcde12345"]
    }
  }
}
resource "aws_s3_bucket_policy" "logs" {
  bucket = aws_s3_bucket.logs.id
  policy = data.aws_iam_policy_document.logs.json
}
resource "aws_s3_bucket_policy" "gen" {
  bucket = aws_s3_bucket.gen.id
  policy = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Principal = "*", Action = "s3:GetObject", Resource = "arn:aws:s3:::acme-*/*" }] })
}
resource "aws_s3_bucket_public_access_block" "logs" {
  bucket              = aws_s3_bucket.logs.id
  block_public_acls   = true
  block_public_policy = false
}
resource "aws_s3_bucket_ownership_controls" "logs" {
  bucket = aws_s3_bucket.logs.id
  rule { object_ownership = "ObjectWriter" }
}
resource "aws_s3_bucket_acl" "logs" {
  bucket = aws_s3_bucket.logs.id
  acl    = "public-read"
}
resource "aws_s3_account_public_access_block" "a" { block_public_acls = true }
resource "aws_s3_access_point" "ap" {
  bucket = aws_s3_bucket.logs.id
  name   = "readers"
  public_access_block_configuration { block_public_policy = false }
}
resource "aws_s3control_access_point_policy" "ap" {
  access_point_arn = aws_s3_access_point.ap.arn
  policy           = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Principal = { AWS = "arn:aws:iam::444455556666:root" }, Action = "s3:GetObject", Resource = "*" }] })
}
resource "aws_iam_role" "deploy" {
  name               = "deploy"
  path               = "/ci/"
  assume_role_policy = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Principal = { AWS = "444455556666" }, Action = "sts:AssumeRole" }] })
}
resource "aws_iam_role_policy" "deploy" {
  name   = "inline"
  role   = aws_iam_role.deploy.id
  policy = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Action = "s3:*", Resource = "*" }] })
}
resource "aws_iam_role_policy_attachment" "deploy" {
  role       = aws_iam_role.deploy.name
  policy_arn = "arn:aws:iam::aws:policy/ReadOnlyAccess"
}
resource "aws_kms_key" "k" { description = "k" }
resource "aws_kms_key" "p" { description = "p" }
resource "aws_kms_key_policy" "p" {
  key_id = aws_kms_key.p.id
  policy = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Principal = { AWS = "*" }, Action = "kms:*", Resource = "*" }] })
}
resource "aws_kms_grant" "g" {
  name              = "g"
  key_id            = aws_kms_key.k.key_id
  grantee_principal = aws_iam_role.deploy.arn
  operations        = ["Decrypt", "Encrypt"]
  constraints { encryption_context_equals = { Team = "a" } }
}
resource "aws_lambda_function" "f" {
  function_name = "hook"
  role          = aws_iam_role.deploy.arn
  package_type  = "Image"
  image_uri     = "1.dkr/x:1"
  environment { variables = { SECRET = "hunter2" } }
}
resource "aws_lambda_alias" "live" {
  name             = "live"
  function_name    = aws_lambda_function.f.function_name
  function_version = "1"
}
resource "aws_lambda_permission" "events" {
  statement_id   = "events"
  action         = "lambda:InvokeFunction"
  function_name  = aws_lambda_function.f.function_name
  principal      = "events.amazonaws.com"
  source_account = "111122223333"
}
resource "aws_lambda_permission" "alias" {
  statement_id  = "acct"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.f.arn
  qualifier     = aws_lambda_alias.live.name
  principal     = "444455556666"
}
resource "aws_lambda_function_url" "u" {
  function_name      = aws_lambda_function.f.function_name
  authorization_type = "NONE"
}
resource "aws_lambda_layer_version" "l" {
  layer_name = "common"
  s3_bucket  = "b"
  s3_key     = "k"
}
resource "aws_lambda_layer_version_permission" "l" {
  layer_name      = aws_lambda_layer_version.l.layer_name
  version_number  = aws_lambda_layer_version.l.version
  statement_id    = "all"
  action          = "lambda:GetLayerVersion"
  principal       = "*"
  organization_id = "o-abcde12345"
}
resource "aws_sqs_queue" "q" { name = "jobs" }
resource "aws_sqs_queue_policy" "q" {
  queue_url = aws_sqs_queue.q.id
  policy    = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Principal = "*", Action = "sqs:SendMessage", Resource = "*" }] })
}
resource "aws_sqs_queue" "inline" {
  name_prefix = "inline"
  policy      = jsonencode({ Version = "2012-10-17", Statement = [] })
}
resource "aws_sns_topic" "t" { name = "alarms" }
resource "aws_sns_topic" "u" { name = "other" }
resource "aws_sns_topic_policy" "t" {
  arn    = aws_sns_topic.t.arn
  policy = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Principal = "*", Action = "sns:Publish", Resource = aws_sns_topic.t.arn }] })
}
resource "aws_secretsmanager_secret" "s" { name = "prod/db" }
resource "aws_secretsmanager_secret_policy" "s" {
  secret_arn = aws_secretsmanager_secret.s.arn
  policy     = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Principal = { AWS = "444455556666" }, Action = "secretsmanager:GetSecretValue", Resource = "*" }] })
}
resource "aws_ebs_snapshot" "s" { volume_id = "vol-1234" }
resource "aws_snapshot_create_volume_permission" "s" {
  snapshot_id = aws_ebs_snapshot.s.id
  account_id  = "444455556666"
}
resource "aws_ami_launch_permission" "a" {
  image_id = "ami-12345678"
  group    = "all"
}
resource "aws_ecr_repository" "r" { name = "team/app" }
resource "aws_ecr_repository_policy" "r" {
  repository = aws_ecr_repository.r.name
  policy     = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Principal = "*", Action = "ecr:BatchGetImage" }] })
}
resource "aws_efs_file_system" "fs" {}
resource "aws_efs_file_system_policy" "fs" {
  file_system_id = aws_efs_file_system.fs.id
  policy         = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Principal = { AWS = "*" }, Action = "elasticfilesystem:ClientMount" }] })
}
resource "aws_dynamodb_table" "t" {
  name         = "orders"
  hash_key     = "id"
  billing_mode = "PAY_PER_REQUEST"
  attribute {
    name = "id"
    type = "S"
  }
}
resource "aws_dynamodb_resource_policy" "t" {
  resource_arn = aws_dynamodb_table.t.arn
  policy       = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Principal = { AWS = "444455556666" }, Action = "dynamodb:GetItem", Resource = "*" }] })
}
resource "aws_ebs_snapshot_block_public_access" "x" { state = "block-new-sharing" }
resource "aws_ec2_image_block_public_access" "x" { state = "unblocked" }
resource "aws_db_snapshot" "d" {
  db_instance_identifier = "db"
  db_snapshot_identifier = "before"
  shared_accounts        = ["all"]
}
resource "aws_db_cluster_snapshot" "d" {
  db_cluster_identifier          = "db"
  db_cluster_snapshot_identifier = "beforec"
  shared_accounts                = ["444455556666"]
}
resource "aws_cloudwatch_event_bus" "b" { name = "orders" }
resource "aws_cloudwatch_event_bus_policy" "b" {
  event_bus_name = aws_cloudwatch_event_bus.b.name
  policy         = jsonencode({ Version = "2012-10-17", Statement = [{ Sid = "a", Effect = "Allow", Principal = "*", Action = "events:PutEvents", Resource = "*" }] })
}
resource "aws_backup_vault" "v" { name = "main" }
resource "aws_backup_vault_policy" "v" {
  backup_vault_name = aws_backup_vault.v.name
  policy            = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Principal = "*", Action = "backup:CopyIntoBackupVault", Resource = "*" }] })
}
resource "aws_cloudwatch_log_resource_policy" "l" {
  policy_name     = "es"
  policy_document = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Principal = { Service = "es.amazonaws.com" }, Action = "logs:PutLogEvents", Resource = "*" }] })
}
resource "aws_api_gateway_rest_api" "a" { name = "api" }
resource "aws_api_gateway_rest_api_policy" "a" {
  rest_api_id = aws_api_gateway_rest_api.a.id
  policy      = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Principal = "*", Action = "execute-api:Invoke", Resource = "*" }] })
}
resource "aws_opensearch_domain" "o" { domain_name = "search" }
resource "aws_opensearch_domain_policy" "o" {
  domain_name     = aws_opensearch_domain.o.domain_name
  access_policies = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Principal = { AWS = "*" }, Action = "es:*", Resource = "*" }] })
}
module "team" {
  source   = "./team"
  for_each = toset(["red", "blue"])
  name     = each.key
  role     = aws_iam_role.deploy.arn
}
resource "aws_s3_bucket_policy" "team" {
  for_each = toset(["red", "blue"])
  bucket   = module.team[each.key].bucket_id
  policy   = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Principal = "*", Action = "s3:GetObject", Resource = "arn:aws:s3:::${each.key}/*" }] })
}
