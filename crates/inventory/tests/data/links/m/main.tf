terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}
variable "topic" {}
variable "queue" {}
data "aws_iam_policy_document" "q" {
  statement {
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [var.queue]
    not_principals {
      type        = "AWS"
      identifiers = ["111122223333", "444455556666"]
    }
  }
}
resource "aws_secretsmanager_secret" "s" { name = "far/secret" }
output "queue_policy" { value = data.aws_iam_policy_document.q.json }
output "topic" { value = var.topic }
