output "service_linked_roles" {
  description = "ARN of each service's role."
  value       = { for service, role in aws_iam_service_linked_role.this : service => role.arn }
}

output "catalog_key_arn" {
  description = "ARN of the key that encrypts the catalog; null if it is left alone."
  value       = one(aws_kms_key.catalog[*].arn)
}

output "priced" {
  description = "What costs money, known before anything is there; scripts/deploy prices it with prices.json."
  value = {
    region              = var.region
    interface_endpoints = 0
    keys                = var.encrypt_catalog ? 1 : 0
    alarms              = 0
    dashboards          = 0
    advanced_parameters = 0
  }
}
