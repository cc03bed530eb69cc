mock_provider "aws" {}

variables {
  name       = "pulse-dev"
  layers     = { bronze = "s3://silver/lake/bronze", silver = "s3://silver/lake/silver", gold = "s3://gold/lake/gold" }
  encryption = { kms_key_arn = "arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-000000000000" }
}

run "a_database_per_layer_where_its_tables_lie" {
  command = plan
  assert {
    condition     = tomap({ for layer, d in aws_glue_catalog_database.this : d.name => d.location_uri }) == var.layers
    error_message = "every layer's database must point at its folder"
  }
  assert {
    condition     = aws_glue_data_catalog_encryption_settings.this[0].data_catalog_encryption_settings[0].encryption_at_rest[0].catalog_encryption_mode == "SSE-KMS"
    error_message = "the catalog must be encrypted with the key"
  }
}

run "a_second_environment_of_the_account" {
  command = plan
  variables {
    databases  = { prefix = "test_" }
    encryption = { kms_key_arn = "arn:aws:kms:us-east-1:111122223333:key/0", manage = false }
  }
  assert {
    condition     = length(aws_glue_data_catalog_encryption_settings.this) == 0 && aws_glue_catalog_database.this["gold"].name == "test_gold"
    error_message = "it must leave the account's setting alone and prefix its databases"
  }
}

run "what_is_wrong_is_refused" {
  command = plan
  variables {
    layers     = { gold = "/tmp/lake" }
    databases  = { prefix = "Test-" }
    encryption = { kms_key_arn = "alias/aws/glue" }
  }
  expect_failures = [var.layers, var.databases, var.encryption]
}
