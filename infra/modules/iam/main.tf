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
  account  = data.aws_caller_identity.this.account_id
  region   = data.aws_region.this.name
  arn      = "arn:${data.aws_partition.this.partition}"
  path     = "/${replace(var.name, "-", "/")}/"
  clusters = "${local.arn}:elasticmapreduce:${local.region}:${local.account}:cluster/*"
  # In a policy ${*} is a star that stands for itself (&{*} here, as $ belongs to Terraform).
  new_cluster = replace(local.clusters, "cluster/*", "cluster/&{*}")
  logs        = "${local.arn}:logs:${local.region}:${local.account}:log-group:${local.path}*"
  parameter   = "${local.arn}:ssm:${local.region}:${local.account}:parameter${local.path}*"
  databases   = [for database in var.databases : "${local.arn}:glue:${local.region}:${local.account}:database/${database}"]
  # What is decrypted for us by services, and never by a call of our own.
  through   = { store = "s3.${local.region}.${local.suffix}", parameters = "ssm.${local.region}.${local.suffix}" }
  suffix    = data.aws_partition.this.dns_suffix
  tables    = [for database in var.databases : "${local.arn}:glue:${local.region}:${local.account}:table/${database}/*"]
  workgroup = "${local.arn}:athena:${local.region}:${local.account}:workgroup/${var.name}"
  catalog   = "${local.arn}:glue:${local.region}:${local.account}:catalog"
}

# ---- roles

resource "aws_iam_role" "this" {
  for_each             = local.roles
  name                 = "${var.name}-${each.key}"
  description          = each.value
  assume_role_policy   = local.trust[each.key]
  permissions_boundary = var.permissions_boundary_arn
  max_session_duration = 3600
}

locals {
  roles = {
    service   = "EMR starts and ends instances of ${var.name}"
    node      = "Nodes of ${var.name}: scheduler, executors, agents of AWS"
    submitter = "Starts clusters of ${var.name}, hands jobs to them, ends them"
    reader    = "Reads silver and gold tables of ${var.name}"
  }
  trust = {
    service   = data.aws_iam_policy_document.trust_service.json
    node      = data.aws_iam_policy_document.trust_node.json
    submitter = data.aws_iam_policy_document.trust_people["submitter"].json
    reader    = data.aws_iam_policy_document.trust_people["reader"].json
  }
}

data "aws_iam_policy_document" "trust_service" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["elasticmapreduce.amazonaws.com"]
    }
    # Nobody else's cluster may borrow the role through the service.
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["${local.arn}:elasticmapreduce:${local.region}:${local.account}:*"]
    }
  }
}

data "aws_iam_policy_document" "trust_node" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "trust_people" {
  for_each = { submitter = var.principals.submitters, reader = var.principals.readers }
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "AWS"
      identifiers = length(each.value) > 0 ? each.value : ["${local.arn}:iam::${local.account}:root"]
    }
    # Nobody named: people of the account whose policies let them, if they signed in with a second factor.
    dynamic "condition" {
      for_each = length(each.value) > 0 ? [] : ["aws:MultiFactorAuthPresent"]
      content {
        test     = "Bool"
        variable = condition.value
        values   = ["true"]
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
  #checkov:skip=CKV_AWS_356:ec2:Describe*, ssmmessages and ssm:UpdateInstanceInformation know no resources
  #checkov:skip=CKV_AWS_111:ssmmessages knows no resources; a session is bound by who may start it

  # Files are read where they arrived, binaries and projects where they were uploaded.
  statement {
    sid       = "ReadRawAndArtifacts"
    actions   = ["s3:GetObject", "s3:GetObjectVersion"]
    resources = ["${var.buckets.raw}/*", "${var.buckets.artifacts}/*"]
  }
  # What a cluster's certificates are issued from, and the token of its API: primary nodes write them, nodes alone read them.
  statement {
    sid       = "ShareSecretsOfClusters"
    actions   = ["s3:PutObject"]
    resources = ["${var.buckets.artifacts}/nodes/*"]
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
    actions   = ["s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:PutObject", "s3:PutObjectAcl"]
    resources = ["${var.buckets.logs}/emr/*"]
  }
  # New files and tables are found by listing, projects are copied as folders.
  statement {
    sid       = "List"
    actions   = ["s3:GetBucketLocation", "s3:ListBucket"]
    resources = [var.buckets.raw, var.buckets.silver, var.buckets.gold, var.buckets.artifacts]
  }
  # Objects are encrypted and decrypted by S3, the API's token by Parameter Store: a key that is stolen with a node's credentials
  # decrypts nothing by itself.
  statement {
    sid       = "UseTheKey"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.kms_key_arn]
    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = values(local.through)
    }
  }
  # Tables are registered after each commit: the actions of aws/src/glue.
  statement {
    sid       = "RegisterTables"
    actions   = ["glue:CreateTable", "glue:DeleteTable", "glue:GetTable", "glue:GetTables", "glue:UpdateTable"]
    resources = concat([local.catalog], local.databases, local.tables)
  }
  # The scheduler adds nodes when work waits, and takes away those that it has drained: the actions of aws/src/emr/pool.rs.
  statement {
    sid       = "ScaleItsOwnCluster"
    actions   = ["elasticmapreduce:ListInstanceGroups", "elasticmapreduce:ListInstances", "elasticmapreduce:ModifyInstanceGroups"]
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
    actions   = ["ssm:GetParameter"]
    resources = [local.parameter]
  }
  # A shell on a node without SSH, keys or open ports. AWS's own AmazonSSMManagedInstanceCore would also admit every parameter
  # of the account.
  statement {
    sid       = "Shell"
    actions   = ["ssm:UpdateInstanceInformation", "ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel", "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel"]
    resources = ["*"]
  }
  # Figures are lines of logs as well.
  statement {
    sid       = "ShipLogs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = [local.logs]
  }
  # Agents of EMR look their own instance up; these actions know no resources.
  statement {
    sid       = "LookInstancesUp"
    actions   = ["ec2:DescribeInstances", "ec2:DescribeTags", "ec2:DescribeVolumes"]
    resources = ["*"]
  }
  # Credentials that left their node are worth nothing: all calls go through the network's endpoints, or are made by a service.
  dynamic "statement" {
    for_each = var.vpc_id == null ? [] : [var.vpc_id]
    content {
      sid       = "OnlyFromTheNetwork"
      effect    = "Deny"
      actions   = ["*"]
      resources = ["*"]
      condition {
        test     = "StringNotEqualsIfExists"
        variable = "aws:SourceVpc"
        values   = [statement.value]
      }
      condition {
        test     = "BoolIfExists"
        variable = "aws:ViaAWSService"
        values   = ["false"]
      }
    }
  }
}

# ---- submitters

data "aws_iam_policy_document" "submitter" {
  #checkov:skip=CKV_AWS_356:elasticmapreduce:RunJobFlow and ListClusters know no resources; the tag is the bound of the former
  #checkov:skip=CKV_AWS_111:elasticmapreduce:RunJobFlow knows no resources; the tag is the bound

  # A new cluster must carry our name.
  statement {
    sid       = "StartClusters"
    actions   = ["elasticmapreduce:RunJobFlow"]
    resources = ["*"]
    condition {
      test     = "StringEquals"
      variable = "elasticmapreduce:RequestTag/name"
      values   = [var.name]
    }
  }
  # While a cluster is started, EMR asks for these on the ARN cluster/*, as there is no id yet. ${*} is that star and nothing
  # else: with an id, nobody tags a cluster that is there, and so makes it ours.
  statement {
    sid       = "TagNewClusters"
    actions   = ["elasticmapreduce:AddTags"]
    resources = [local.new_cluster]
    condition {
      test     = "StringEquals"
      variable = "elasticmapreduce:RequestTag/name"
      values   = [var.name]
    }
  }
  statement {
    sid       = "NewClustersEndWhenIdle"
    actions   = ["elasticmapreduce:PutAutoTerminationPolicy"]
    resources = [local.new_cluster]
  }
  statement {
    sid       = "NobodyTagsClustersThatAreThere"
    effect    = "Deny"
    actions   = ["elasticmapreduce:AddTags", "elasticmapreduce:RemoveTags"]
    resources = [replace(local.clusters, "cluster/*", "cluster/j-*")]
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
      "elasticmapreduce:ListSteps", "elasticmapreduce:ModifyInstanceGroups", "elasticmapreduce:TerminateJobFlows",
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
    actions   = ["ssm:GetParameter"]
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
    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = values(local.through)
    }
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
  # Queries of Athena, in the environment's workgroup alone: it bounds what one may read, and says where results go.
  statement {
    sid = "Query"
    actions = [
      "athena:BatchGetQueryExecution", "athena:GetQueryExecution", "athena:GetQueryResults", "athena:GetQueryRuntimeStatistics", "athena:GetWorkGroup", "athena:ListQueryExecutions",
      "athena:StartQueryExecution", "athena:StopQueryExecution",
    ]
    resources = [local.workgroup]
  }
  statement {
    sid       = "NameTheCatalog"
    actions   = ["athena:GetDataCatalog", "athena:GetDatabase", "athena:GetTableMetadata", "athena:ListDatabases", "athena:ListTableMetadata"]
    resources = ["${local.arn}:athena:${local.region}:${local.account}:datacatalog/AwsDataCatalog"]
  }
  statement {
    sid       = "KeepResults"
    actions   = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject"]
    resources = ["${var.buckets.artifacts}/athena/*"]
  }
  statement {
    sid       = "FindResults"
    actions   = ["s3:GetBucketLocation", "s3:ListBucket"]
    resources = [var.buckets.artifacts]
    condition {
      test     = "StringLikeIfExists"
      variable = "s3:prefix"
      values   = ["athena/*"]
    }
  }
  statement {
    sid       = "UseTheKey"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.kms_key_arn]
    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = [local.through.store]
    }
  }
}
