mock_provider "aws" {
  mock_data "aws_caller_identity" { defaults = { account_id = "111122223333" } }
  mock_data "aws_partition" { defaults = { partition = "aws", dns_suffix = "amazonaws.com" } }
  mock_data "aws_iam_policy_document" { defaults = { json = "{}" } }
  mock_resource "aws_kms_key" { defaults = { arn = "arn:aws:kms:us-east-1:111122223333:key/0" } }
}

run "roles_without_which_no_cluster_starts" {
  command = plan
  assert {
    condition     = toset([for r in aws_iam_service_linked_role.this : r.aws_service_name]) == toset(["spot.amazonaws.com", "elasticmapreduce.amazonaws.com"])
    error_message = "EC2's role for Spot and EMR's for ending clusters must be made"
  }
  assert {
    condition     = aws_emr_block_public_access_configuration.this.block_public_security_group_rules && length(aws_emr_block_public_access_configuration.this.permitted_public_security_group_rule_range) == 0
    error_message = "no cluster may be open to the world, on any port"
  }
}

run "the_catalog_s_key_admits_the_whole_account_through_glue" {
  command = plan
  assert {
    condition     = aws_kms_key.catalog[0].deletion_window_in_days == 30 && aws_kms_key.catalog[0].enable_key_rotation
    error_message = "the key must rotate, and be restorable for 30 days"
  }
  assert {
    condition = anytrue([for s in data.aws_iam_policy_document.catalog.statement :
      anytrue([for p in s.principals : p.identifiers == toset(["*"])])
      && { for c in s.condition : c.variable => one(c.values) } == { "kms:CallerAccount" = "111122223333", "kms:ViaService" = "glue.us-east-1.amazonaws.com" }
    ])
    error_message = "other teams' principals must get through the catalog's key without a right of their own"
  }
  assert {
    condition     = aws_glue_data_catalog_encryption_settings.this[0].data_catalog_encryption_settings[0].encryption_at_rest[0].catalog_encryption_mode == "SSE-KMS"
    error_message = "the catalog must be encrypted with the key"
  }
}

run "somebody_else_s_catalog_is_left_alone" {
  command = plan
  variables { encrypt_catalog = false }
  assert {
    condition     = length(aws_glue_data_catalog_encryption_settings.this) + length(aws_kms_key.catalog) == 0
    error_message = "neither key nor setting"
  }
}

run "what_is_wrong_is_refused" {
  command = plan
  variables { existing_roles = ["lambda.amazonaws.com"] }
  expect_failures = [var.existing_roles]
}
