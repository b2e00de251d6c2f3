variable "name" {}
variable "role" {}
resource "aws_s3_bucket" "b" { bucket = "team-${var.name}" }
resource "aws_sqs_queue" "q" {
  count = 2
  name  = "q-${var.name}-${count.index}"
}
resource "aws_sqs_queue_policy" "q" {
  count     = 2
  queue_url = aws_sqs_queue.q[count.index].id
  policy    = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Principal = "*", Action = "sqs:SendMessage", Resource = "n${count.index}" }] })
}
module "inner" {
  source = "./inner"
  bucket = aws_s3_bucket.b.id
}
output "bucket_id" { value = aws_s3_bucket.b.id }
