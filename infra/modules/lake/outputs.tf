output "buckets" {
  description = "Name and ARN of each bucket by kind: raw, silver, gold, logs, artifacts."
  value       = { for kind in local.kinds : kind => { name = aws_s3_bucket.this[kind].id, arn = aws_s3_bucket.this[kind].arn } }
}

output "logs_ready" {
  description = "ARN of the logs bucket once services of AWS may write to it."
  value       = aws_s3_bucket.this["logs"].arn
  depends_on  = [aws_s3_bucket_policy.this]
}

output "lake" {
  description = "Root of the tables, and the folder of each layer; tables lie at `<folder>/<table>`."
  value       = { root = local.root, layers = local.layers }
}
