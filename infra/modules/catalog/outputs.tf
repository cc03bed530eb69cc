output "databases" {
  description = "Name of the database of each layer."
  value       = { for layer, database in aws_glue_catalog_database.this : layer => database.name }
}

output "workgroup" {
  description = "Workgroup of Athena."
  value       = aws_athena_workgroup.this.name
}
