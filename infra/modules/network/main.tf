# A private network for a cluster of EMR: no way to or from the internet, and endpoints for the services it calls.

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
  zones   = { for index, zone in var.network.zones : zone => index }
  # EMR's managed policy for the service role only touches networks that carry this tag.
  emr_tag = { for-use-with-amazon-emr-managed-policies = "true" }
}

# ---- addresses and routes

resource "aws_vpc" "this" {
  cidr_block = var.network.cidr
  # Private names of endpoints need both.
  enable_dns_support   = true
  enable_dns_hostnames = true
  tags                 = merge(local.emr_tag, { Name = var.name })
}

# Nobody uses the group that every network is born with: it stays without rules.
resource "aws_default_security_group" "this" {
  vpc_id = aws_vpc.this.id
}

# Nor the table: a subnet that somebody adds gets no way out by itself.
resource "aws_default_route_table" "this" {
  default_route_table_id = aws_vpc.this.default_route_table_id
  tags                   = { Name = "${var.name}-unused" }
}

resource "aws_subnet" "private" {
  for_each          = local.zones
  vpc_id            = aws_vpc.this.id
  availability_zone = each.key
  cidr_block        = cidrsubnet(var.network.cidr, 4, each.value)
  tags              = merge(local.emr_tag, { Name = "${var.name}-private-${each.key}" })
}

# It has no route but the local one and those of the gateway endpoints.
resource "aws_route_table" "private" {
  vpc_id = aws_vpc.this.id
  tags   = { Name = "${var.name}-private" }
}

resource "aws_route_table_association" "private" {
  for_each       = aws_subnet.private
  subnet_id      = each.value.id
  route_table_id = aws_route_table.private.id
}

resource "aws_subnet" "public" {
  for_each                = var.network.public_subnets ? local.zones : {}
  vpc_id                  = aws_vpc.this.id
  availability_zone       = each.key
  cidr_block              = cidrsubnet(var.network.cidr, 4, 8 + each.value)
  map_public_ip_on_launch = false
  tags                    = { Name = "${var.name}-public-${each.key}" }
}

resource "aws_internet_gateway" "public" {
  count  = var.network.public_subnets ? 1 : 0
  vpc_id = aws_vpc.this.id
  tags   = { Name = "${var.name}-public" }
}

resource "aws_route_table" "public" {
  count  = var.network.public_subnets ? 1 : 0
  vpc_id = aws_vpc.this.id
  tags   = { Name = "${var.name}-public" }
  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.public[0].id
  }
}

resource "aws_route_table_association" "public" {
  for_each       = aws_subnet.public
  subnet_id      = each.value.id
  route_table_id = aws_route_table.public[0].id
}

resource "aws_flow_log" "this" {
  vpc_id                   = aws_vpc.this.id
  traffic_type             = "ALL"
  log_destination_type     = "s3"
  log_destination          = var.flow_logs.bucket_arn
  max_aggregation_interval = var.flow_logs.interval_seconds
  # The default leaves out who sent a packet through an endpoint, and which way it went.
  log_format = join(" ", [for field in local.flow_fields : "$${${field}}"])
  tags       = { Name = var.name }
}

locals {
  flow_fields = [
    "version", "account-id", "interface-id", "srcaddr", "dstaddr", "srcport", "dstport", "protocol", "packets", "bytes", "start", "end", "action", "log-status",
    "instance-id", "pkt-srcaddr", "pkt-dstaddr", "flow-direction", "tcp-flags",
  ]
}

# ---- endpoints

resource "aws_vpc_endpoint" "gateway" {
  for_each          = toset(["s3", "dynamodb"])
  vpc_id            = aws_vpc.this.id
  service_name      = "com.amazonaws.${local.region}.${each.key}"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = [aws_route_table.private.id]
  policy            = each.key == "s3" ? data.aws_iam_policy_document.s3.json : data.aws_iam_policy_document.dynamodb.json
  tags              = { Name = "${var.name}-${each.key}" }
}

resource "aws_vpc_endpoint" "interface" {
  for_each            = var.parked ? {} : local.interfaces
  vpc_id              = aws_vpc.this.id
  service_name        = "com.amazonaws.${local.region}.${each.key}"
  vpc_endpoint_type   = "Interface"
  private_dns_enabled = true
  # A cluster of EMR lies in one zone; each further zone doubles the price of all endpoints.
  subnet_ids         = [for zone in slice(var.network.zones, 0, var.network.endpoint_zones) : aws_subnet.private[zone].id]
  security_group_ids = [aws_security_group.this["endpoints"].id]
  policy             = data.aws_iam_policy_document.interface[each.key].json
  tags               = { Name = "${var.name}-${each.key}" }
}

locals {
  # What may be called through an endpoint, by service. Anything else ends at the endpoint, whatever a role admits.
  interface_actions = {
    glue = [
      "glue:BatchCreatePartition", "glue:BatchGetPartition", "glue:CreateTable", "glue:DeleteTable", "glue:GetDatabase", "glue:GetDatabases",
      "glue:GetPartition", "glue:GetPartitions", "glue:GetTable", "glue:GetTables", "glue:GetTableVersions", "glue:UpdateTable",
    ]
    sts        = ["sts:AssumeRole", "sts:GetCallerIdentity"]
    ec2        = ["ec2:DescribeInstances", "ec2:DescribeTags", "ec2:DescribeVolumes"]
    logs       = ["logs:CreateLogStream", "logs:DescribeLogGroups", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    kms        = ["kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo"]
    monitoring = ["cloudwatch:PutMetricData"]
    # What a host in the network needs to start and use clusters as well.
    elasticmapreduce = [
      "elasticmapreduce:AddInstanceGroups", "elasticmapreduce:AddJobFlowSteps", "elasticmapreduce:AddTags", "elasticmapreduce:CancelSteps", "elasticmapreduce:DescribeCluster",
      "elasticmapreduce:DescribeStep", "elasticmapreduce:GetAutoTerminationPolicy", "elasticmapreduce:ListBootstrapActions", "elasticmapreduce:ListClusters",
      "elasticmapreduce:ListInstanceGroups", "elasticmapreduce:ListInstances", "elasticmapreduce:ListSteps", "elasticmapreduce:ModifyInstanceGroups",
      "elasticmapreduce:PutAutoTerminationPolicy", "elasticmapreduce:RunJobFlow", "elasticmapreduce:TerminateJobFlows",
    ]
    ssm         = ["ssm:UpdateInstanceInformation"]
    ssmmessages = ["ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel", "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel"]
  }
  # A shell of Session Manager needs two services; the rest is for what a cluster is given beyond pulse.
  wanted     = setunion(["elasticmapreduce", "glue", "logs"], var.network.shell ? ["ssm", "ssmmessages"] : [], var.network.further_endpoints)
  interfaces = { for service in local.wanted : service => local.interface_actions[service] }
  # Buckets of AWS without which a node does not boot. They are read without credentials, so no condition on who asks.
  emr_read_buckets = [
    "al2023-repos-${local.region}-de612dc2",  # packages of Amazon Linux 2023
    "repo.${local.region}.emr.amazonaws.com", # packages of EMR
    "${local.region}.elasticmapreduce",       # what steps and bootstrap actions are started with
  ]
  # EMR's agents put logs and states of applications there.
  emr_write_buckets = [
    local.region == "us-east-1" ? "aws157-logs-prod" : "aws157-logs-prod-${local.region}", # logs for AWS's support
    "prod.${local.region}.appinfo.src",                                                    # states of applications
  ]
}

data "aws_iam_policy_document" "s3" {
  statement {
    sid = "OwnBuckets"
    actions = [
      "s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetBucketLocation", "s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "s3:ListBucketMultipartUploads",
      "s3:ListMultipartUploadParts", "s3:PutObject", "s3:PutObjectAcl",
    ]
    resources = flatten([for arn in var.bucket_arns : [arn, "${arn}/*"]])
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:PrincipalAccount"
      values   = [local.account]
    }
  }

  statement {
    sid       = "NodesBoot"
    actions   = ["s3:GetObject", "s3:ListBucket"]
    resources = flatten([for bucket in local.emr_read_buckets : ["${local.arn}:s3:::${bucket}", "${local.arn}:s3:::${bucket}/*"]])
    principals {
      type        = "*"
      identifiers = ["*"]
    }
  }

  statement {
    sid       = "AgentsReport"
    actions   = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:ListBucket", "s3:ListMultipartUploadParts", "s3:Put*"]
    resources = flatten([for bucket in local.emr_write_buckets : ["${local.arn}:s3:::${bucket}", "${local.arn}:s3:::${bucket}/*"]])
    principals {
      type        = "*"
      identifiers = ["*"]
    }
  }
}

# Nothing of ours lies in DynamoDB today. The endpoint is free, and keeps such a table off the internet from its first day.
data "aws_iam_policy_document" "dynamodb" {
  statement {
    sid       = "OwnTables"
    actions   = ["dynamodb:DeleteItem", "dynamodb:DescribeTable", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem"]
    resources = ["${local.arn}:dynamodb:${local.region}:${local.account}:table/${var.name}-*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:PrincipalAccount"
      values   = [local.account]
    }
  }
}

data "aws_iam_policy_document" "interface" {
  #checkov:skip=CKV_AWS_111:an endpoint's policy grants nothing; what may be written is said by the roles
  #checkov:skip=CKV_AWS_356:an endpoint's policy grants nothing; its actions and the account are the bounds, resources are said by the roles
  #checkov:skip=CKV_AWS_109:an endpoint's policy grants nothing
  for_each = local.interface_actions
  statement {
    sid       = "OwnAccount"
    actions   = each.value
    resources = ["*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:PrincipalAccount"
      values   = [local.account]
    }
  }
  # Parameters of others in the account are nobody's business here.
  dynamic "statement" {
    for_each = each.key == "ssm" ? ["${local.arn}:ssm:${local.region}:${local.account}:parameter/${replace(var.name, "-", "/")}/*"] : []
    content {
      sid       = "OwnParameters"
      actions   = ["ssm:GetParameter"]
      resources = [statement.value]
      principals {
        type        = "*"
        identifiers = ["*"]
      }
      condition {
        test     = "StringEquals"
        variable = "aws:PrincipalAccount"
        values   = [local.account]
      }
    }
  }
}

# ---- who may talk to whom

locals {
  groups = {
    primary   = "Primary node: EMR's control plane and the scheduler"
    workers   = "Core and task nodes: executors"
    service   = "EMR's service, which reaches nodes in private subnets through it"
    endpoints = "Interface endpoints"
  }
  nodes = ["primary", "workers"]
  # EMR adds these by itself where they are missing; written here so that they are known, and not removed by the next apply.
  between_nodes = merge([
    for pair in setproduct(local.nodes, local.nodes) : {
      for protocol in ["tcp", "udp", "icmp"] : "${pair[1]}-${pair[0]}-${protocol}" => {
        from = pair[0], to = pair[1], protocol = protocol, first = protocol == "icmp" ? -1 : 0, last = protocol == "icmp" ? -1 : 65535
        why  = "Hadoop, and Ballista's scheduler and executors, from ${pair[0]} to ${pair[1]}"
      }
    }
  ]...)
  to_service = {
    service-primary   = { from = "service", to = "primary", protocol = "tcp", first = 8443, last = 8443, why = "EMR's service commands the primary node" }
    service-workers   = { from = "service", to = "workers", protocol = "tcp", first = 8443, last = 8443, why = "EMR's service commands core and task nodes" }
    primary-service   = { from = "primary", to = "service", protocol = "tcp", first = 9443, last = 9443, why = "The primary node answers EMR's service" }
    primary-endpoints = { from = "primary", to = "endpoints", protocol = "tcp", first = 443, last = 443, why = "Services of AWS, from the primary node" }
    workers-endpoints = { from = "workers", to = "endpoints", protocol = "tcp", first = 443, last = 443, why = "Services of AWS, from core and task nodes" }
  }
  conversations = merge(local.between_nodes, local.to_service)
  # Port 80: EMR's package repository has a dotted bucket name, which no certificate covers.
  to_gateways = merge([
    for pair in setproduct(local.nodes, ["s3", "dynamodb"]) : {
      for port in pair[1] == "s3" ? [443, 80] : [443] : "${pair[0]}-${pair[1]}-${port}" => { from = pair[0], service = pair[1], port = port }
    }
  ]...)
}

resource "aws_security_group" "this" {
  #checkov:skip=CKV2_AWS_5:attached by EMR to instances, and to the endpoints below
  for_each               = local.groups
  name                   = "${var.name}-${each.key}"
  description            = each.value
  vpc_id                 = aws_vpc.this.id
  revoke_rules_on_delete = true # groups that refer to each other cannot be deleted otherwise
  tags                   = merge(local.emr_tag, { Name = "${var.name}-${each.key}" })
}

resource "aws_vpc_security_group_ingress_rule" "this" {
  for_each                     = local.conversations
  security_group_id            = aws_security_group.this[each.value.to].id
  referenced_security_group_id = aws_security_group.this[each.value.from].id
  ip_protocol                  = each.value.protocol
  from_port                    = each.value.first
  to_port                      = each.value.last
  description                  = each.value.why
}

resource "aws_vpc_security_group_egress_rule" "this" {
  for_each                     = local.conversations
  security_group_id            = aws_security_group.this[each.value.from].id
  referenced_security_group_id = aws_security_group.this[each.value.to].id
  ip_protocol                  = each.value.protocol
  from_port                    = each.value.first
  to_port                      = each.value.last
  description                  = each.value.why
}

resource "aws_vpc_security_group_egress_rule" "gateway" {
  for_each          = local.to_gateways
  security_group_id = aws_security_group.this[each.value.from].id
  prefix_list_id    = aws_vpc_endpoint.gateway[each.value.service].prefix_list_id
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
  description       = "${each.value.service} through its gateway endpoint"
}
