output "role_arns" {
  description = "ARN of each role: service, node, submitter, reader."
  value       = { for name, role in aws_iam_role.this : name => role.arn }
}

output "node_profile" {
  description = "Instance profile of the nodes; known once its role's policies are there."
  value       = { name = aws_iam_instance_profile.node.name, arn = aws_iam_instance_profile.node.arn }
  depends_on  = [aws_iam_role_policy.this]
}

output "service_role_arn" {
  description = "EMR's service role; known once its policies are there."
  value       = aws_iam_role.this["service"].arn
  depends_on  = [aws_iam_role_policy.this, aws_iam_role_policy_attachment.service]
}
