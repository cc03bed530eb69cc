output "name" {
  description = "Prefix of everything."
  value       = local.name
}

output "vpc_id" {
  description = "Id of the network."
  value       = module.network.vpc_id
}

output "buckets" {
  description = "Name of each bucket by kind."
  value       = { for kind, bucket in module.lake.buckets : kind => bucket.name }
}

output "kms_key_arn" {
  description = "ARN of the key."
  value       = module.kms.key_arn
}

output "role_arns" {
  description = "ARN of each role."
  value       = module.iam.role_arns
}

output "databases" {
  description = "Database of each layer."
  value       = module.catalog.databases
}

output "lake_url" {
  description = "Root of the tables, for `pulse --lake`."
  value       = module.lake.lake.root
}

output "raw_url" {
  description = "Root of the raw files, for `pulse --var raw=`."
  value       = local.raw_url
}

output "release_url" {
  description = "Where scripts/build-release --upload puts the binary."
  value       = module.cluster.release_url
}

output "cluster_parameter" {
  description = "Parameter with the specification of clusters."
  value       = module.cluster.specification_parameter
}

output "cluster_id" {
  description = "Id of the cluster that Terraform owns, if any."
  value       = module.cluster.cluster_id
}

output "log_groups" {
  description = "Log group of each role."
  value       = module.observability.log_groups
}

output "alarms" {
  description = "Names of the alarms."
  value       = module.observability.alarms
}

output "priced" {
  description = "What costs money, known before anything is there; scripts/deploy prices it with prices.json."
  value = {
    region              = var.region
    instances           = module.cluster.instances
    interface_endpoints = length(module.network.interface_endpoints.services) * module.network.interface_endpoints.zones
    keys                = 1
    alarms              = length(module.observability.alarms)
    dashboards          = 1
    advanced_parameters = module.cluster.specification_parameter == null ? 0 : 1
    month_usd           = var.limits.month_usd
  }
}
