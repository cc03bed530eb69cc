# Who may do what: EMR's service, the nodes, people and programs that submit, people who read. Each statement has its reason.

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
  account   = data.aws_caller_identity.this.account_id
  region    = data.aws_region.this.name
  arn       = "arn:${data.aws_partition.this.partition}"
  path      = "/${replace(var.name, "-", "/")}/"
  clusters  = "${local.arn}:elasticmapreduce:${local.region}:${local.account}:cluster/*"
  logs      = "${local.arn}:logs:${local.region}:${local.account}:log-group:${local.path}*"
  parameter = "${local.arn}:ssm:${local.region}:${local.account}:parameter${local.path}*"
  databases = [for database in var.databases : "${local.arn}:glue:${local.region}:${local.account}:database/${database}"]
  tables    = [for database in var.databases : "${local.arn}:glue:${local.region}:${local.account}:table/${database}/*"]
  catalog   = "${local.arn}:glue:${local.region}:${local.account}:catalog"
}

# ---- roles

resource "aws_iam_role" "this" {
  for_each             = data.aws_iam_policy_document.trust
  name                 = "${var.name}-${each.key}"
  description          = local.roles[each.key]
  assume_role_policy   = each.value.json
  max_session_duration = 3600
}

locals {
  roles = {
    service   = "EMR starts and ends instances of ${var.name}"
    node      = "Nodes of ${var.name}: scheduler, executors, agents of AWS"
    submitter = "Starts clusters of ${var.name}, hands jobs to them, ends them"
    reader    = "Reads silver and gold tables of ${var.name}"
  }
  people = { submitter = var.principals.submitters, reader = var.principals.readers }
}

data "aws_iam_policy_document" "trust" {
  for_each = local.roles
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type = each.key == "service" || each.key == "node" ? "Service" : "AWS"
      identifiers = (
        each.key == "service" ? ["elasticmapreduce.amazonaws.com"] :
        each.key == "node" ? ["ec2.amazonaws.com"] :
        # Nobody named: the account decides by its own policies who may take the role.
        length(local.people[each.key]) > 0 ? local.people[each.key] : ["${local.arn}:iam::${local.account}:root"]
      )
    }
    # Nobody else's cluster may borrow the role through the service.
    dynamic "condition" {
      for_each = each.key == "service" ? { StringEquals = ["aws:SourceAccount", local.account], ArnLike = ["aws:SourceArn", "${local.arn}:elasticmapreduce:${local.region}:${local.account}:*"] } : {}
      content {
        test     = condition.key
        variable = condition.value[0]
        values   = [condition.value[1]]
      }
    }
  }
}

resource "aws_iam_instance_profile" "node" {
  name = aws_iam_role.this["node"].name
  role = aws_iam_role.this["node"].name
}

resource "aws_iam_role_policy" "this" {
  for_each = {
    service   = data.aws_iam_policy_document.service.json
    node      = data.aws_iam_policy_document.node.json
    submitter = data.aws_iam_policy_document.submitter.json
    reader    = data.aws_iam_policy_document.reader.json
  }
  name   = "${var.name}-${each.key}"
  role   = aws_iam_role.this[each.key].id
  policy = each.value
}

# Written and kept by AWS: it admits only instances, subnets and groups that carry EMR's tag.
resource "aws_iam_role_policy_attachment" "service" {
  role       = aws_iam_role.this["service"].name
  policy_arn = "${local.arn}:iam::aws:policy/service-role/AmazonEMRServicePolicy_v2"
}

# A shell on a node without SSH, keys or open ports.
resource "aws_iam_role_policy_attachment" "node" {
  role       = aws_iam_role.this["node"].name
  policy_arn = "${local.arn}:iam::aws:policy/AmazonSSMManagedInstanceCore"
}

# ---- EMR's service

data "aws_iam_policy_document" "service" {
  # Instances get the nodes' role, and no other.
  statement {
    sid       = "GiveInstancesTheirRole"
    actions   = ["iam:PassRole"]
    resources = [aws_iam_role.this["node"].arn]
    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ec2.amazonaws.com"]
    }
  }
  # Their volumes are encrypted with the key.
  statement {
    sid       = "EncryptVolumes"
    actions   = ["kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo"]
    resources = [var.kms_key_arn]
  }
}

# ---- nodes

data "aws_iam_policy_document" "node" {
  #checkov:skip=CKV_AWS_356:ec2:Describe* and cloudwatch:PutMetricData know no resources; the namespace is the bound of the latter
  #checkov:skip=CKV_AWS_111:cloudwatch:PutMetricData knows no resources; its namespace is the bound

  # Files are read where they arrived, binaries and projects where they were uploaded.
  statement {
    sid       = "ReadRawAndArtifacts"
    actions   = ["s3:GetObject", "s3:GetObjectVersion"]
    resources = ["${var.buckets.raw}/*", "${var.buckets.artifacts}/*"]
  }
  # Executors write files of tables, the scheduler commits them, vacuum deletes what no version needs.
  statement {
    sid       = "ReadAndWriteTables"
    actions   = ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject"]
    resources = ["${var.buckets.silver}/*", "${var.buckets.gold}/*"]
  }
  # EMR's agent and ours put logs there; nobody reads or deletes them from a node.
  statement {
    sid       = "WriteLogs"
    actions   = ["s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:PutObject"]
    resources = ["${var.buckets.logs}/emr/*"]
  }
  # New files and tables are found by listing.
  statement {
    sid       = "List"
    actions   = ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"]
    resources = values(var.buckets)
  }
  statement {
    sid       = "UseTheKey"
    actions   = ["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"]
    resources = [var.kms_key_arn]
  }
  # Tables are registered after each commit.
  statement {
    sid = "RegisterTables"
    actions = [
      "glue:BatchCreatePartition", "glue:BatchGetPartition", "glue:CreateTable", "glue:DeleteTable", "glue:GetDatabase", "glue:GetPartition", "glue:GetPartitions", "glue:GetTable",
      "glue:GetTables", "glue:GetTableVersions", "glue:UpdateTable",
    ]
    resources = concat([local.catalog], local.databases, local.tables)
  }
  # The scheduler adds nodes when work waits, and takes away those that it has drained.
  statement {
    sid = "ScaleItsOwnCluster"
    actions = [
      "elasticmapreduce:AddInstanceGroups", "elasticmapreduce:DescribeCluster", "elasticmapreduce:ListInstanceGroups", "elasticmapreduce:ListInstances", "elasticmapreduce:ListSteps",
      "elasticmapreduce:ModifyInstanceGroups", "elasticmapreduce:TerminateJobFlows",
    ]
    resources = [local.clusters]
    condition {
      test     = "StringEquals"
      variable = "elasticmapreduce:ResourceTag/name"
      values   = [var.name]
    }
  }
  # The token of the submit API.
  statement {
    sid       = "ReadParameters"
    actions   = ["ssm:GetParameter", "ssm:GetParameters"]
    resources = [local.parameter]
  }
  # What a cluster's certificates are issued from: its primary node writes it, the others read it, and nobody else does.
  statement {
    sid       = "ShareTheClustersAuthority"
    actions   = ["ssm:GetParameter", "ssm:PutParameter"]
    resources = ["${local.arn}:ssm:${local.region}:${local.account}:parameter/pulse-nodes/${var.name}/*"]
  }
  statement {
    sid       = "ShipLogs"
    actions   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    resources = [local.logs]
  }
  # This action knows no resources; the namespace is the bound.
  statement {
    sid       = "ReportFigures"
    actions   = ["cloudwatch:PutMetricData"]
    resources = ["*"]
    condition {
      test     = "StringEquals"
      variable = "cloudwatch:namespace"
      values   = [var.name]
    }
  }
  # Agents of EMR look their own instance up; these actions know no resources.
  statement {
    sid       = "LookInstancesUp"
    actions   = ["ec2:DescribeInstances", "ec2:DescribeTags", "ec2:DescribeVolumes"]
    resources = ["*"]
  }
}

# ---- submitters

data "aws_iam_policy_document" "submitter" {
  #checkov:skip=CKV_AWS_356:elasticmapreduce:RunJobFlow and ListClusters know no resources; the tag is the bound of the former
  #checkov:skip=CKV_AWS_111:elasticmapreduce:RunJobFlow knows no resources; the tag is the bound

  # A new cluster has no ARN yet: it must carry our name instead.
  statement {
    sid       = "StartClusters"
    actions   = ["elasticmapreduce:AddTags", "elasticmapreduce:RunJobFlow"]
    resources = ["*"]
    condition {
      test     = "StringEquals"
      variable = "elasticmapreduce:RequestTag/name"
      values   = [var.name]
    }
  }
  statement {
    sid       = "FindClusters"
    actions   = ["elasticmapreduce:ListClusters"]
    resources = ["*"]
  }
  statement {
    sid = "UseAndEndClusters"
    actions = [
      "elasticmapreduce:AddInstanceGroups", "elasticmapreduce:AddJobFlowSteps", "elasticmapreduce:CancelSteps", "elasticmapreduce:DescribeCluster", "elasticmapreduce:DescribeStep",
      "elasticmapreduce:GetAutoTerminationPolicy", "elasticmapreduce:ListBootstrapActions", "elasticmapreduce:ListInstanceGroups", "elasticmapreduce:ListInstances",
      "elasticmapreduce:ListSteps", "elasticmapreduce:ModifyInstanceGroups", "elasticmapreduce:PutAutoTerminationPolicy", "elasticmapreduce:TerminateJobFlows",
    ]
    resources = [local.clusters]
    condition {
      test     = "StringEquals"
      variable = "elasticmapreduce:ResourceTag/name"
      values   = [var.name]
    }
  }
  # A cluster starts with these two roles; nobody can hand it others.
  statement {
    sid       = "GiveClustersTheirRoles"
    actions   = ["iam:PassRole"]
    resources = [aws_iam_role.this["service"].arn, aws_iam_role.this["node"].arn]
    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ec2.amazonaws.com", "elasticmapreduce.amazonaws.com"]
    }
  }
  # The cluster's specification, and the token of the submit API.
  statement {
    sid       = "ReadParameters"
    actions   = ["ssm:GetParameter", "ssm:GetParameters"]
    resources = [local.parameter]
  }
  # Projects are uploaded for steps; runs are followed in the ledger, steps in their logs.
  statement {
    sid       = "UploadProjects"
    actions   = ["s3:GetObject", "s3:PutObject"]
    resources = ["${var.buckets.artifacts}/projects/*"]
  }
  statement {
    sid       = "FollowRuns"
    actions   = ["s3:GetObject"]
    resources = ["${var.buckets.silver}/*/_pulse/*", "${var.buckets.logs}/emr/*"]
  }
  # `pulse runs cancel` leaves its request in the ledger.
  statement {
    sid       = "CancelRuns"
    actions   = ["s3:PutObject"]
    resources = ["${var.buckets.silver}/*/_pulse/runs/*/cancel"]
  }
  statement {
    sid       = "List"
    actions   = ["s3:GetBucketLocation", "s3:ListBucket"]
    resources = [var.buckets.artifacts, var.buckets.silver, var.buckets.logs]
  }
  statement {
    sid       = "UseTheKey"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.kms_key_arn]
  }
}

# ---- readers

data "aws_iam_policy_document" "reader" {
  statement {
    sid       = "ReadTables"
    actions   = ["s3:GetObject"]
    resources = ["${var.buckets.silver}/*", "${var.buckets.gold}/*"]
  }
  statement {
    sid       = "List"
    actions   = ["s3:GetBucketLocation", "s3:ListBucket"]
    resources = [var.buckets.silver, var.buckets.gold]
  }
  statement {
    sid       = "FindTables"
    actions   = ["glue:GetDatabase", "glue:GetDatabases", "glue:GetPartition", "glue:GetPartitions", "glue:GetTable", "glue:GetTables"]
    resources = concat([local.catalog], local.databases, local.tables)
  }
  statement {
    sid       = "UseTheKey"
    actions   = ["kms:Decrypt"]
    resources = [var.kms_key_arn]
  }
}
