output "specification" {
  description = "How a cluster is started: EMR's requests RunJobFlow and AddInstanceGroups, scaling, storage, step."
  value       = local.specification
}

output "specification_parameter" {
  description = "Name of the parameter that holds the specification as JSON; null while there is no release."
  value       = one(aws_ssm_parameter.specification[*].name)
}

output "release_url" {
  description = "Where the binary must lie; null while there is no release."
  value       = var.release_sha256 == null ? null : "s3://${local.bucket}/${local.release_key}"
}

output "cluster_id" {
  description = "Id of the cluster that Terraform owns; null if none."
  value       = one(aws_emr_cluster.this[*].id)
}

output "instances" {
  description = "Instance types with counts, at start and at most, for prices."
  value = {
    on_demand = [{ type = var.nodes.primary_type, count = 1 }, { type = var.nodes.core_type, count = var.nodes.core_count }]
    spot      = { type = var.nodes.task_types[0], count = var.nodes.task_count, most = var.scaling.max_units - var.nodes.core_count }
    volume_gb = var.nodes.volume_gb
  }
}
