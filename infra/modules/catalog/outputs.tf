output "databases" {
  description = "Name of the database of each layer."
  value       = { for layer, database in aws_glue_catalog_database.this : layer => database.name }
}
