# The lake's buckets: what arrives (raw), tables (silver, gold), logs, and what the cluster installs (artifacts).
# One lake over two buckets: its root, with bronze and silver, is in silver; a file at the root says where gold is.

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
  kinds   = toset(["raw", "silver", "gold", "logs", "artifacts"])
  names   = { for kind in local.kinds : kind => "${var.name}-${local.account}-${kind}" }
  root    = "s3://${local.names["silver"]}/lake"
  layers  = { bronze = "${local.root}/bronze", silver = "${local.root}/silver", gold = "s3://${local.names["gold"]}/lake/gold" }
}

# Read by pulse whenever it opens the lake. Who changes it after tables were made has them made again elsewhere.
resource "aws_s3_object" "layers" {
  bucket       = aws_s3_bucket.this["silver"].bucket
  key          = "lake/_pulse/layers.json"
  content      = jsonencode({ gold = local.layers.gold })
  content_type = "application/json"
  kms_key_id   = var.kms_key_arn
  depends_on   = [aws_s3_bucket_versioning.this, aws_s3_bucket_server_side_encryption_configuration.this, aws_s3_bucket_policy.this]
}

resource "aws_s3_bucket" "this" {
  #checkov:skip=CKV_AWS_144:no second region: raw files can be delivered again, and tables can be computed again from them
  #checkov:skip=CKV2_AWS_62:nothing listens: runs find new files by listing
  #checkov:skip=CKV_AWS_145:a log bucket must use SSE-S3, as S3's own access logs are not delivered to a bucket with SSE-KMS; all others use the key
  #checkov:skip=CKV_AWS_18:four buckets log to the fifth; a log bucket that logs its own writes never ends
  for_each = local.kinds
  bucket   = local.names[each.key]
  # Terraform never deletes data: scripts/teardown --delete-data empties the buckets first.
  force_destroy = false
  tags          = { holds = each.key }
}

resource "aws_s3_bucket_ownership_controls" "this" {
  for_each = local.kinds
  bucket   = aws_s3_bucket.this[each.key].id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "this" {
  for_each                = local.kinds
  bucket                  = aws_s3_bucket.this[each.key].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_versioning" "this" {
  for_each = local.kinds
  bucket   = aws_s3_bucket.this[each.key].id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  for_each = local.kinds
  bucket   = aws_s3_bucket.this[each.key].id
  rule {
    # One data key per bucket for a while instead of one per object: fewer calls to KMS, on which S3 would be throttled.
    bucket_key_enabled = each.key != "logs"
    apply_server_side_encryption_by_default {
      sse_algorithm     = each.key == "logs" ? "AES256" : "aws:kms"
      kms_master_key_id = each.key == "logs" ? null : var.kms_key_arn
    }
  }
}

resource "aws_s3_bucket_logging" "this" {
  for_each      = setsubtract(local.kinds, ["logs"])
  bucket        = aws_s3_bucket.this[each.key].id
  target_bucket = aws_s3_bucket.this["logs"].id
  target_prefix = "s3-access/${each.key}/"
  depends_on    = [aws_s3_bucket_policy.this]
}

resource "aws_s3_bucket_policy" "this" {
  for_each   = local.kinds
  bucket     = aws_s3_bucket.this[each.key].id
  policy     = data.aws_iam_policy_document.bucket[each.key].json
  depends_on = [aws_s3_bucket_public_access_block.this]
}

data "aws_iam_policy_document" "bucket" {
  for_each = local.kinds

  statement {
    sid       = "OnlyEncryptedTransport"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = ["${local.arn}:s3:::${local.names[each.key]}", "${local.arn}:s3:::${local.names[each.key]}/*"]
    principals {
      type        = "AWS"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }

  statement {
    sid       = "OnlyRecentTls"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = ["${local.arn}:s3:::${local.names[each.key]}", "${local.arn}:s3:::${local.names[each.key]}/*"]
    principals {
      type        = "AWS"
      identifiers = ["*"]
    }
    condition {
      test     = "NumericLessThan"
      variable = "s3:TlsVersion"
      values   = ["1.2"]
    }
  }

  # Who names no encryption gets the bucket's; who names one must name the same. Null: a header that is missing is not "another".
  dynamic "statement" {
    for_each = each.key == "logs" ? {} : {
      OnlyTheKindOfEncryption = { header = "s3:x-amz-server-side-encryption", value = "aws:kms" }
      OnlyTheKey              = { header = "s3:x-amz-server-side-encryption-aws-kms-key-id", value = var.kms_key_arn }
    }
    content {
      sid       = statement.key
      effect    = "Deny"
      actions   = ["s3:PutObject"]
      resources = ["${local.arn}:s3:::${local.names[each.key]}/*"]
      principals {
        type        = "AWS"
        identifiers = ["*"]
      }
      condition {
        test     = "StringNotEquals"
        variable = statement.value.header
        values   = [statement.value.value]
      }
      condition {
        test     = "Null"
        variable = statement.value.header
        values   = ["false"]
      }
    }
  }

  # Access logs are written by S3 itself, each bucket's below its own prefix.
  dynamic "statement" {
    for_each = each.key == "logs" ? setsubtract(local.kinds, ["logs"]) : []
    content {
      sid       = "AccessLogsOf${title(statement.value)}"
      actions   = ["s3:PutObject"]
      resources = ["${local.arn}:s3:::${local.names["logs"]}/s3-access/${statement.value}/*"]
      principals {
        type        = "Service"
        identifiers = ["logging.s3.amazonaws.com"]
      }
      condition {
        test     = "StringEquals"
        variable = "aws:SourceAccount"
        values   = [local.account]
      }
      condition {
        test     = "ArnEquals"
        variable = "aws:SourceArn"
        values   = ["${local.arn}:s3:::${local.names[statement.value]}"]
      }
    }
  }

  # Flow logs of the network are delivered by a service of AWS.
  dynamic "statement" {
    for_each = each.key == "logs" ? {
      FlowLogsArrive   = { action = "s3:PutObject", resource = "${local.names["logs"]}/AWSLogs/${local.account}/*" }
      FlowLogsLookOnce = { action = "s3:GetBucketAcl", resource = local.names["logs"] }
    } : {}
    content {
      sid       = statement.key
      actions   = [statement.value.action]
      resources = ["${local.arn}:s3:::${statement.value.resource}"]
      principals {
        type        = "Service"
        identifiers = ["delivery.logs.amazonaws.com"]
      }
      condition {
        test     = "StringEquals"
        variable = "aws:SourceAccount"
        values   = [local.account]
      }
      condition {
        test     = "ArnLike"
        variable = "aws:SourceArn"
        values   = ["${local.arn}:logs:${local.region}:${local.account}:*"]
      }
    }
  }
}

# What is current in a table is never moved or deleted by age: an old file may be as alive as a new one, and a query cannot
# wait twelve hours for it. Only versions that something else has replaced or deleted grow old, files that were put under
# `archive/`, and logs. Raw files become cheaper after a while, but stay readable at once: a rebuild reads them all.
resource "aws_s3_bucket_lifecycle_configuration" "this" {
  for_each   = local.kinds
  bucket     = aws_s3_bucket.this[each.key].id
  depends_on = [aws_s3_bucket_versioning.this]

  rule {
    id     = "incomplete-uploads"
    status = "Enabled"
    filter {}
    abort_incomplete_multipart_upload {
      days_after_initiation = var.lifecycle_days.incomplete_upload
    }
  }

  rule {
    id     = "replaced-versions"
    status = "Enabled"
    filter {}
    dynamic "noncurrent_version_transition" {
      for_each = contains(["raw", "artifacts"], each.key) ? { STANDARD_IA = var.lifecycle_days.infrequent, DEEP_ARCHIVE = var.lifecycle_days.archive } : {}
      content {
        storage_class   = noncurrent_version_transition.key
        noncurrent_days = noncurrent_version_transition.value
      }
    }
    noncurrent_version_expiration {
      noncurrent_days = lookup({ logs = var.lifecycle_days.infrequent, silver = var.lifecycle_days.derived, gold = var.lifecycle_days.derived }, each.key, var.lifecycle_days.replaced)
    }
  }

  # What vacuum and the ledger delete leaves a marker. When no version is behind it any more, it only makes listings of logs slow.
  rule {
    id     = "markers-without-versions"
    status = "Enabled"
    filter {}
    expiration {
      expired_object_delete_marker = true
    }
  }

  # Leases of the ledger are written again every few seconds; nobody ever looks at an earlier one.
  dynamic "rule" {
    for_each = each.key == "silver" ? { run-ledger = "lake/_pulse/" } : {}
    content {
      id     = rule.key
      status = "Enabled"
      filter {
        prefix = rule.value
      }
      noncurrent_version_expiration {
        noncurrent_days = var.lifecycle_days.ledger
      }
    }
  }

  # Results of queries are copies.
  dynamic "rule" {
    for_each = each.key == "artifacts" ? { results-of-queries = "athena/" } : {}
    content {
      id     = rule.key
      status = "Enabled"
      filter {
        prefix = rule.value
      }
      expiration {
        days = var.lifecycle_days.results
      }
    }
  }

  dynamic "rule" {
    for_each = each.key == "raw" ? {
      raw-files = { prefix = "files/", classes = { STANDARD_IA = var.lifecycle_days.infrequent } }
      archive   = { prefix = "archive/", classes = { STANDARD_IA = var.lifecycle_days.infrequent, DEEP_ARCHIVE = var.lifecycle_days.archive } }
    } : {}
    content {
      id     = rule.key
      status = "Enabled"
      filter {
        prefix = rule.value.prefix
      }
      dynamic "transition" {
        for_each = rule.value.classes
        content {
          storage_class = transition.key
          days          = transition.value
        }
      }
    }
  }

  dynamic "rule" {
    for_each = each.key == "logs" ? { logs = var.lifecycle_days.logs } : {}
    content {
      id     = rule.key
      status = "Enabled"
      filter {}
      expiration {
        days = rule.value
      }
    }
  }
}
