# One customer-managed key for everything that rests: buckets, volumes, logs, the catalog, parameters.

terraform {
  required_version = ">= 1.11"
  required_providers {
    aws = { source = "hashicorp/aws", version = ">= 5.100, < 7.0" }
  }
}

data "aws_caller_identity" "this" {}
data "aws_partition" "this" {}
data "aws_region" "this" {}

locals {
  account = data.aws_caller_identity.this.account_id
  region  = data.aws_region.this.name
  arn     = "arn:${data.aws_partition.this.partition}"
}

resource "aws_kms_key" "this" {
  description             = "Everything at rest of ${var.name}"
  enable_key_rotation     = true
  rotation_period_in_days = var.key.rotation_days
  deletion_window_in_days = var.key.deletion_days
  policy                  = data.aws_iam_policy_document.key.json
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.this.key_id
}

data "aws_iam_policy_document" "key" {
  #checkov:skip=CKV_AWS_109:a key policy speaks of its own key only; "*" is that key
  #checkov:skip=CKV_AWS_111:a key policy speaks of its own key only; "*" is that key
  #checkov:skip=CKV_AWS_356:a key policy speaks of its own key only; "*" is that key

  # Without it a key that no policy admits any more could never be managed again; roles get their use of the key by IAM.
  statement {
    sid       = "AccountAdministersTheKey"
    actions   = ["kms:*"]
    resources = ["*"]
    principals {
      type        = "AWS"
      identifiers = ["${local.arn}:iam::${local.account}:root"]
    }
  }

  # EMR's service role makes encrypted volumes and starts instances with them. Nodes need nothing of it: EC2 decrypts for them.
  statement {
    sid       = "ClusterUsesVolumes"
    actions   = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
    resources = ["*"]
    principals {
      type        = "AWS"
      identifiers = var.cluster_role_arns
    }
  }

  statement {
    sid       = "ClusterGrantsVolumesToServices"
    actions   = ["kms:CreateGrant", "kms:ListGrants", "kms:RevokeGrant"]
    resources = ["*"]
    principals {
      type        = "AWS"
      identifiers = var.cluster_role_arns
    }
    condition {
      test     = "Bool"
      variable = "kms:GrantIsForAWSResource"
      values   = ["true"]
    }
  }

  # EC2 starts Spot instances as a role of its own, to which no policy can be attached: only the key can admit it. The account as
  # principal would admit nobody, as it leaves the decision to policies of the role. A principal that is missing is refused, and
  # the role may be made later: so everybody is named, and the two conditions leave this one role of this account.
  dynamic "statement" {
    for_each = {
      SpotUsesVolumes              = { actions = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"], grants = false }
      SpotGrantsVolumesToInstances = { actions = ["kms:CreateGrant"], grants = true }
    }
    content {
      sid       = statement.key
      actions   = statement.value.actions
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
        test     = "ArnEquals"
        variable = "aws:PrincipalArn"
        values   = ["${local.arn}:iam::${local.account}:role/aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot"]
      }
      dynamic "condition" {
        for_each = statement.value.grants ? ["kms:GrantIsForAWSResource"] : []
        content {
          test     = "Bool"
          variable = condition.value
          values   = ["true"]
        }
      }
    }
  }

  # Log groups are encrypted by the service itself; the context pins it to ours.
  statement {
    sid       = "LogGroups"
    actions   = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
    resources = ["*"]
    principals {
      type        = "Service"
      identifiers = ["logs.${local.region}.amazonaws.com"]
    }
    condition {
      test     = "ArnLike"
      variable = "kms:EncryptionContext:aws:logs:arn"
      values   = ["${local.arn}:logs:${local.region}:${local.account}:log-group:/${replace(var.name, "-", "/")}/*"]
    }
  }

  # Alarms and budgets write to an encrypted topic.
  statement {
    sid       = "AlarmsAndBudgets"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey*"]
    resources = ["*"]
    principals {
      type        = "Service"
      identifiers = ["budgets.amazonaws.com", "cloudwatch.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
  # Events of EMR write to it as well. SNS documents that conditions on the source are not supported in a key's policy where
  # EventBridge writes to an encrypted topic: nothing would arrive, without an error. The topic is the bound.
  statement {
    sid       = "EventsOfClusters"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey*"]
    resources = ["*"]
    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "kms:EncryptionContext:aws:sns:topicArn"
      values   = ["${local.arn}:sns:${local.region}:${local.account}:${var.name}-alarms"]
    }
  }
}
