# Databases of the Glue Data Catalog, one per layer, and the workgroup in which Athena queries them. Tables are registered by pulse
# after each commit, not by Terraform.

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
  # Who may use a table is said by IAM. Where Lake Formation's defaults were switched off, tables would be nobody's without this.
  create_table_default_permission {
    permissions = ["ALL"]
    principal {
      data_lake_principal_identifier = "IAM_ALLOWED_PRINCIPALS"
    }
  }
}

# The same of the databases themselves, which have no such default. Only an administrator of Lake Formation may grant it.
resource "aws_lakeformation_permissions" "databases" {
  for_each    = var.lake_formation.grant_to_iam ? aws_glue_catalog_database.this : {}
  principal   = "IAM_ALLOWED_PRINCIPALS"
  permissions = ["ALL"]
  database {
    name = each.value.name
  }
}

# The encryption of the catalog is a setting of the account (infra/account). An environment that once owned it lets go of it.
removed {
  from = aws_glue_data_catalog_encryption_settings.this
  lifecycle {
    destroy = false
  }
}

# ---- queries

# Results are copies of rows: they lie encrypted in the environment's own bucket, and go by age (modules/lake).
resource "aws_athena_workgroup" "this" {
  name          = var.name
  description   = "Queries over the tables of ${var.name}"
  force_destroy = true # its history of queries
  configuration {
    enforce_workgroup_configuration    = true
    publish_cloudwatch_metrics_enabled = true
    bytes_scanned_cutoff_per_query     = var.queries.most_gb * 1024 * 1024 * 1024
    engine_version {
      selected_engine_version = "Athena engine version 3"
    }
    result_configuration {
      output_location = "s3://${var.queries.results_bucket}/athena/"
      encryption_configuration {
        encryption_option = "SSE_KMS"
        kms_key_arn       = var.queries.kms_key_arn
      }
    }
  }
}
