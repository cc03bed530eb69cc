# Databases of the Glue Data Catalog, one per layer. Tables are registered by pulse after each commit, not by Terraform.

terraform {
  required_version = ">= 1.11"
  required_providers {
    aws = { source = "hashicorp/aws", version = ">= 5.100, < 7.0" }
  }
}

resource "aws_glue_catalog_database" "this" {
  for_each     = var.layers
  name         = "${var.databases.prefix}${each.key}"
  description  = "Tables of the ${each.key} layer of ${var.name}"
  location_uri = each.value
}

# A setting of the whole account and region: at most one environment of an account may own it.
resource "aws_glue_data_catalog_encryption_settings" "this" {
  count = var.encryption.manage ? 1 : 0
  data_catalog_encryption_settings {
    connection_password_encryption {
      return_connection_password_encrypted = true
      aws_kms_key_id                       = var.encryption.kms_key_arn
    }
    encryption_at_rest {
      catalog_encryption_mode = "SSE-KMS"
      sse_aws_kms_key_id      = var.encryption.kms_key_arn
    }
  }
}
