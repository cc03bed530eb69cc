mock_provider "aws" {
  mock_data "aws_caller_identity" { defaults = { account_id = "111122223333" } }
  mock_data "aws_partition" { defaults = { partition = "aws" } }
  mock_data "aws_region" { defaults = { name = "us-east-1" } }
  mock_data "aws_iam_policy_document" { defaults = { json = "{}" } }
}

variables {
  name        = "pulse-dev"
  kms_key_arn = "arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-000000000000"
}

run "buckets_are_private_versioned_encrypted" {
  command = plan
  assert {
    condition     = toset([for b in aws_s3_bucket.this : b.bucket]) == toset([for k in ["raw", "silver", "gold", "logs", "artifacts"] : "pulse-dev-111122223333-${k}"])
    error_message = "there must be five buckets named <name>-<account>-<kind>"
  }
  assert {
    condition     = alltrue([for b in aws_s3_bucket.this : !b.force_destroy])
    error_message = "terraform must never delete data"
  }
  assert {
    condition = length(aws_s3_bucket_public_access_block.this) == 5 && alltrue([
      for b in aws_s3_bucket_public_access_block.this : b.block_public_acls && b.block_public_policy && b.ignore_public_acls && b.restrict_public_buckets
    ])
    error_message = "every bucket must be closed to the public"
  }
  assert {
    condition     = length(aws_s3_bucket_versioning.this) == 5 && alltrue([for v in aws_s3_bucket_versioning.this : v.versioning_configuration[0].status == "Enabled"])
    error_message = "every bucket must be versioned"
  }
  assert {
    condition = alltrue([
      for kind, e in aws_s3_bucket_server_side_encryption_configuration.this : alltrue([
        for r in e.rule : r.bucket_key_enabled && r.apply_server_side_encryption_by_default[0].sse_algorithm == "aws:kms" && r.apply_server_side_encryption_by_default[0].kms_master_key_id == var.kms_key_arn
      ]) if kind != "logs"
    ])
    error_message = "buckets must use the key, with bucket keys"
  }
  assert {
    condition     = alltrue([for r in aws_s3_bucket_server_side_encryption_configuration.this["logs"].rule : r.apply_server_side_encryption_by_default[0].sse_algorithm == "AES256"])
    error_message = "access logs are not delivered to a bucket with SSE-KMS"
  }
}

run "plain_http_is_refused_and_accesses_are_logged" {
  command = plan
  assert {
    condition = length(aws_s3_bucket_policy.this) == 5 && alltrue([
      for p in data.aws_iam_policy_document.bucket : anytrue([
        for s in p.statement : s.effect == "Deny" && contains(s.actions, "s3:*") && length(s.resources) == 2 && anytrue([for c in s.condition : c.variable == "aws:SecureTransport" && contains(c.values, "false")])
      ])
    ])
    error_message = "every bucket's policy must deny plain HTTP, for the bucket and its objects"
  }
  assert {
    condition = alltrue([
      for p in data.aws_iam_policy_document.bucket : alltrue([for s in p.statement : length(s.condition) > 0])
    ])
    error_message = "no statement of a bucket's policy may be without condition"
  }
  assert {
    condition     = toset(keys(aws_s3_bucket_logging.this)) == toset(["raw", "silver", "gold", "artifacts"])
    error_message = "all but the log bucket must log their accesses"
  }
}

run "age_never_touches_what_tables_use" {
  command = plan
  assert {
    condition = alltrue([
      for kind, l in aws_s3_bucket_lifecycle_configuration.this : alltrue([for r in l.rule : length(r.transition) == 0 && alltrue([for e in r.expiration : e.expired_object_delete_marker == true]) if r.id != "results-of-queries"])
      if contains(["silver", "gold", "artifacts"], kind)
    ])
    error_message = "no rule may move or delete current objects of tables"
  }
  assert {
    condition = alltrue([
      for r in aws_s3_bucket_lifecycle_configuration.this["raw"].rule : alltrue([for t in r.transition : t.storage_class == "STANDARD_IA" || r.filter[0].prefix == "archive/"]) && alltrue([for e in r.expiration : e.expired_object_delete_marker == true])
    ])
    error_message = "raw files must stay readable at once; only archive/ may be frozen, nothing may expire"
  }
  assert {
    condition = anytrue([
      for r in aws_s3_bucket_lifecycle_configuration.this["raw"].rule : alltrue([
        r.filter[0].prefix == "archive/",
        anytrue([for t in r.transition : t.storage_class == "STANDARD_IA" && t.days == 30]),
        anytrue([for t in r.transition : t.storage_class == "DEEP_ARCHIVE" && t.days == 180]),
      ])
    ])
    error_message = "archive/ must become infrequent access after 30 days and deep archive after 180"
  }
  assert {
    condition = alltrue([
      for kind, l in aws_s3_bucket_lifecycle_configuration.this : anytrue([for r in l.rule : length(r.abort_incomplete_multipart_upload) == 1])
    ])
    error_message = "incomplete uploads must be aborted everywhere"
  }
  assert {
    condition     = anytrue([for r in aws_s3_bucket_lifecycle_configuration.this["logs"].rule : one(r.expiration).days == 180 if r.id == "logs"])
    error_message = "logs must be kept 180 days"
  }
}

run "what_was_replaced_goes" {
  command = plan
  assert {
    condition = alltrue([
      for l in aws_s3_bucket_lifecycle_configuration.this : anytrue([for r in l.rule : one(r.expiration).expired_object_delete_marker == true if r.id == "markers-without-versions"])
    ])
    error_message = "markers without versions must go: listings of tables' logs slow down"
  }
  assert {
    condition = anytrue([
      for r in aws_s3_bucket_lifecycle_configuration.this["silver"].rule : r.filter[0].prefix == "lake/_pulse/" && anytrue([for e in r.noncurrent_version_expiration : e.noncurrent_days == 7])
    ])
    error_message = "earlier leases must go soon"
  }
  assert {
    condition = alltrue([for kind, days in { silver = 60, gold = 60, raw = 365, artifacts = 365 } : anytrue([
      for r in aws_s3_bucket_lifecycle_configuration.this[kind].rule : r.id == "replaced-versions" && anytrue([for e in r.noncurrent_version_expiration : e.noncurrent_days == days])
    ])])
    error_message = "what can be computed again is kept shorter than what cannot"
  }
}

run "others_encryption_is_refused" {
  command = plan
  assert {
    condition = alltrue([
      for p in data.aws_iam_policy_document.bucket : anytrue([for s in p.statement : s.effect == "Deny" && anytrue([for c in s.condition : "${c.test} ${c.variable} ${one(c.values)}" == "NumericLessThan s3:TlsVersion 1.2"])])
    ])
    error_message = "every bucket must refuse TLS older than 1.2"
  }
  assert {
    condition = alltrue([
      for kind, p in data.aws_iam_policy_document.bucket : toset(flatten([for s in p.statement : [for c in s.condition : one(c.values) if c.test == "StringNotEquals"]])) == toset(["aws:kms", var.kms_key_arn]) if kind != "logs"
    ])
    error_message = "objects may be encrypted with the key only"
  }
  assert {
    condition = alltrue(flatten([
      for p in data.aws_iam_policy_document.bucket : [
        for s in p.statement : anytrue([for c in s.condition : c.test == "Null" && one(c.values) == "false"]) if anytrue([for c in s.condition : c.test == "StringNotEquals"])
      ]
    ]))
    error_message = "who names no encryption must get the bucket's"
  }
}

run "what_is_wrong_is_refused" {
  command = plan
  variables {
    name           = "pulse"
    kms_key_arn    = "alias/aws/s3"
    lifecycle_days = { infrequent = 7, archive = 20, derived = 1 }
  }
  expect_failures = [var.name, var.kms_key_arn, var.lifecycle_days]
}

run "one_lake_over_two_buckets" {
  command = plan
  assert {
    condition     = aws_s3_object.layers.bucket == aws_s3_bucket.this["silver"].bucket && "s3://${aws_s3_object.layers.bucket}/${trimsuffix(aws_s3_object.layers.key, "/_pulse/layers.json")}" == output.lake.root
    error_message = "what says where layers are must lie at the lake's root"
  }
  assert {
    condition     = jsondecode(aws_s3_object.layers.content) == { gold = output.lake.layers.gold } && startswith(output.lake.layers.gold, "s3://${aws_s3_bucket.this["gold"].bucket}/")
    error_message = "gold must lie in its own bucket"
  }
  assert {
    condition     = alltrue([for layer in ["bronze", "silver"] : output.lake.layers[layer] == "${output.lake.root}/${layer}"])
    error_message = "the other layers must lie below the root"
  }
}
