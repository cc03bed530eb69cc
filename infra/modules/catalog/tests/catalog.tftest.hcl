mock_provider "aws" {}

variables {
  name    = "pulse-dev"
  layers  = { bronze = "s3://silver/lake/bronze", silver = "s3://silver/lake/silver", gold = "s3://gold/lake/gold" }
  queries = { results_bucket = "artifacts", kms_key_arn = "arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-000000000000" }
}

run "a_database_per_layer_where_its_tables_lie" {
  command = plan
  assert {
    condition     = tomap({ for layer, d in aws_glue_catalog_database.this : d.name => d.location_uri }) == var.layers
    error_message = "every layer's database must point at its folder"
  }
  assert {
    condition     = alltrue([for d in aws_glue_catalog_database.this : one(one(d.create_table_default_permission).principal).data_lake_principal_identifier == "IAM_ALLOWED_PRINCIPALS"])
    error_message = "IAM must decide on tables, also where Lake Formation's defaults were switched off"
  }
  assert {
    condition     = length(aws_lakeformation_permissions.databases) == 0
    error_message = "permissions of Lake Formation only where asked for: only its administrators may grant them"
  }
}

run "results_of_queries_are_ours_and_bounded" {
  command = plan
  assert {
    condition     = aws_athena_workgroup.this.configuration[0].enforce_workgroup_configuration && aws_athena_workgroup.this.configuration[0].bytes_scanned_cutoff_per_query == 107374182400
    error_message = "nobody may choose another place for results, or read without bound"
  }
  assert {
    condition     = aws_athena_workgroup.this.configuration[0].result_configuration[0].encryption_configuration[0].encryption_option == "SSE_KMS"
    error_message = "results must be encrypted with the key"
  }
}

run "an_account_with_lake_formation" {
  command = plan
  variables { lake_formation = { grant_to_iam = true } }
  assert {
    condition     = length(aws_lakeformation_permissions.databases) == 3 && alltrue([for p in aws_lakeformation_permissions.databases : p.principal == "IAM_ALLOWED_PRINCIPALS"])
    error_message = "each database must be granted to IAM's decision"
  }
}

run "a_second_environment_of_the_account" {
  command = plan
  variables {
    databases = { prefix = "test_" }
  }
  assert {
    condition     = aws_glue_catalog_database.this["gold"].name == "test_gold"
    error_message = "it must prefix its databases"
  }
}

run "what_is_wrong_is_refused" {
  command = plan
  variables {
    layers    = { gold = "/tmp/lake" }
    databases = { prefix = "Test-" }
    queries   = { results_bucket = "artifacts", kms_key_arn = "alias/aws/s3", most_gb = 0 }
  }
  expect_failures = [var.layers, var.databases, var.queries]
}
