# What an account has once, whatever environments lie in it: roles of services, encryption of the Glue Data Catalog, and EMR's refusal
# of groups that are open to the world. It has its own state, and teardown of an environment leaves it alone.

terraform {
  required_version = ">= 1.11"
  required_providers {
    aws = { source = "hashicorp/aws", version = "~> 5.100" } # what it was tested with
  }
  # Bucket and region come from scripts/deploy. The lock is an object beside the state: no table.
  backend "s3" {
    key          = "terraform.tfstate"
    encrypt      = true
    use_lockfile = true
  }
}

provider "aws" {
  region            = var.region
  s3_use_path_style = var.s3_use_path_style
  default_tags {
    tags = merge(var.tags, { project = var.project, environment = "account" })
  }
}

data "aws_caller_identity" "this" {}
data "aws_partition" "this" {}

locals {
  account = data.aws_caller_identity.this.account_id
  arn     = "arn:${data.aws_partition.this.partition}"
}

# ---- roles of services

locals {
  # EC2 starts Spot instances as the first one. EMR ends clusters as the second one, and starts none while it is missing and its caller
  # may not make it. A console makes them in passing; an API does not.
  roles = {
    "spot.amazonaws.com"             = "AWSServiceRoleForEC2Spot"
    "elasticmapreduce.amazonaws.com" = "AWSServiceRoleForEMRCleanup"
  }
}

resource "aws_iam_service_linked_role" "this" {
  for_each         = local.roles
  aws_service_name = each.key
  # Other teams' Spot instances and clusters need them as well.
  lifecycle {
    prevent_destroy = true
    ignore_changes  = [description, tags, tags_all]
  }
}

import {
  for_each = toset(var.existing_roles)
  to       = aws_iam_service_linked_role.this[each.key]
  id       = "${local.arn}:iam::${local.account}:role/aws-service-role/${each.key}/${local.roles[each.key]}"
}

# ---- the Glue Data Catalog

# A key of its own that no teardown deletes: without it, nobody in the account could read the metadata written with it.
resource "aws_kms_key" "catalog" {
  count                   = var.encrypt_catalog ? 1 : 0
  description             = "Glue Data Catalog of the account in ${var.region}"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.catalog.json
  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_kms_alias" "catalog" {
  count         = var.encrypt_catalog ? 1 : 0
  name          = "alias/${var.project}-account-catalog"
  target_key_id = aws_kms_key.catalog[0].key_id
}

data "aws_iam_policy_document" "catalog" {
  #checkov:skip=CKV_AWS_109:a key policy speaks of its own key only; "*" is that key
  #checkov:skip=CKV_AWS_111:a key policy speaks of its own key only; "*" is that key
  #checkov:skip=CKV_AWS_356:a key policy speaks of its own key only; "*" is that key
  statement {
    sid       = "AccountAdministersTheKey"
    actions   = ["kms:*"]
    resources = ["*"]
    principals {
      type        = "AWS"
      identifiers = ["${local.arn}:iam::${local.account}:root"]
    }
  }
  # As AWS's own key for Glue does: who in the account may use the catalog needs no right to its key. The setting is the account's,
  # so other teams, who know nothing of this key, must go on working.
  statement {
    sid       = "EverybodyInTheAccountThroughGlue"
    actions   = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
    resources = ["*"]
    principals {
      type        = "AWS"
      identifiers = ["*"]
    }
    condition {
      test     = "StringEquals"
      variable = "kms:CallerAccount"
      values   = [local.account]
    }
    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["glue.${var.region}.${data.aws_partition.this.dns_suffix}"]
    }
  }
}

resource "aws_glue_data_catalog_encryption_settings" "this" {
  count = var.encrypt_catalog ? 1 : 0
  data_catalog_encryption_settings {
    connection_password_encryption {
      return_connection_password_encrypted = true
      aws_kms_key_id                       = aws_kms_key.catalog[0].arn
    }
    encryption_at_rest {
      catalog_encryption_mode = "SSE-KMS"
      sse_aws_kms_key_id      = aws_kms_key.catalog[0].arn
    }
  }
  lifecycle {
    prevent_destroy = true
  }
}

# ---- EMR

# No cluster starts with a group that is open to the world.
resource "aws_emr_block_public_access_configuration" "this" {
  block_public_security_group_rules = true
}
