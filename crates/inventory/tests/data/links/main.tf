terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}
variable "far" { default = "ap-southeast-2" }
provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "x"
  secret_key                  = "x"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
}
provider "aws" {
  alias                       = "far"
  region                      = var.far
  access_key                  = "x"
  secret_key                  = "x"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
}
locals {
  policies = { a = "x", b = "y" }
  bucket   = aws_s3_bucket.by_local.id
}
resource "aws_s3_bucket" "each" {
  for_each = local.policies
  bucket   = "each-${each.key}"
}
resource "aws_s3_bucket_public_access_block" "each" {
  for_each = aws_s3_bucket.each
  bucket   = each.value.id
}
resource "aws_s3_bucket" "by_local" { bucket = "by-local" }
resource "aws_s3_bucket_policy" "by_local" {
  bucket = local.bucket
  policy = jsonencode({ Statement = [{ Effect = "Allow", Principal = "*", Action = "*", Resource = "*" }] })
}
resource "aws_sqs_queue" "far" {
  provider = aws.far
  name     = "far"
}
resource "aws_sqs_queue_policy" "far" {
  provider  = aws.far
  queue_url = aws_sqs_queue.far.url
  policy    = module.m.queue_policy
}
resource "aws_sqs_queue_policy" "one_of_two" {
  queue_url = length(local.policies) > 1 ? aws_sqs_queue.p.url : aws_sqs_queue.q.url
  policy    = jsonencode({ Statement = [{ Effect = "Allow", Principal = "*", Action = "*", Resource = "*" }] })
}
resource "aws_sqs_queue" "p" { name = "p" }
resource "aws_sqs_queue" "q" { name = "q" }
module "m" {
  source    = "./m"
  providers = { aws = aws.far }
  topic     = aws_sns_topic.t.arn
  queue     = aws_sqs_queue.far.arn
}
resource "aws_sns_topic" "t" { name = "t" }
data "aws_iam_policy_document" "merged" {
  source_policy_documents = [module.m.queue_policy]
  statement {
    actions   = ["sns:Publish"]
    resources = ["*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
  }
}
resource "aws_sns_topic_policy" "t" {
  arn    = module.m.topic
  policy = data.aws_iam_policy_document.merged.json
}
resource "aws_s3_bucket_policy" "each_a" {
  bucket = aws_s3_bucket.each["a"].id
  policy = replace(jsonencode({ Statement = [] }), "x", aws_sns_topic.t.arn)
}
resource "aws_iam_role" "r" {
  name_prefix        = "gh-"
  assume_role_policy = data.aws_iam_policy_document.trust.json
  inline_policy {
    name   = "in"
    policy = jsonencode({ Statement = [{ Resource = aws_sns_topic.t.arn }] })
  }
}
data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = ["arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com"]
    }
    condition {
      test     = "StringLike"
      variable = "token.actions.githubusercontent.com:sub"
      values   = ["repo:acme/*"]
    }
    condition {
      test     = "StringLike"
      variable = "aws:RequestTag/x"
      values   = ["&{aws:username}", aws_sns_topic.t.arn]
    }
  }
}
resource "aws_kms_key" "n" {
  count = 2
}
resource "aws_kms_grant" "n" {
  count             = 2
  key_id            = aws_kms_key.n[count.index].id
  grantee_principal = "arn:aws:iam::444455556666:root"
  operations        = ["Decrypt"]
}
