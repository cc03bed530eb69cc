mock_provider "aws" {
  mock_data "aws_caller_identity" { defaults = { account_id = "111122223333" } }
  mock_data "aws_partition" { defaults = { partition = "aws" } }
  mock_data "aws_region" { defaults = { name = "us-east-1" } }
  mock_data "aws_iam_policy_document" { defaults = { json = "{}" } }
}

variables {
  name        = "pulse-dev"
  network     = { cidr = "10.20.0.0/16", zones = ["us-east-1a", "us-east-1b"] }
  bucket_arns = ["arn:aws:s3:::raw", "arn:aws:s3:::silver"]
  flow_logs   = { bucket_arn = "arn:aws:s3:::logs" }
}

run "private_subnets_have_no_way_out" {
  command = plan
  assert {
    condition     = length(aws_subnet.private) == 2 && alltrue([for s in aws_subnet.private : s.map_public_ip_on_launch != true])
    error_message = "there must be private subnets in two zones, without public addresses"
  }
  assert {
    condition     = length(aws_subnet.public) + length(aws_internet_gateway.public) + length(aws_route_table.public) == 0
    error_message = "nothing public unless asked for"
  }
  assert {
    condition     = aws_vpc.this.enable_dns_support && aws_vpc.this.enable_dns_hostnames
    error_message = "private names of endpoints need DNS support and host names"
  }
  assert {
    condition     = aws_flow_log.this.traffic_type == "ALL" && aws_flow_log.this.log_destination == "arn:aws:s3:::logs"
    error_message = "all traffic must be logged"
  }
  assert {
    condition     = alltrue([for field in ["pkt-srcaddr", "flow-direction"] : strcontains(aws_flow_log.this.log_format, "$${${field}}")])
    error_message = "flow logs must say who sent a packet through an endpoint, and which way it went"
  }
  assert {
    condition     = alltrue([for s in aws_subnet.private : s.tags["for-use-with-amazon-emr-managed-policies"] == "true"])
    error_message = "EMR's managed policy needs its tag on subnets"
  }
}

run "no_address_range_may_come_in_or_be_reached" {
  command = plan
  assert {
    condition     = alltrue([for r in aws_vpc_security_group_ingress_rule.this : r.cidr_ipv4 == null && r.cidr_ipv6 == null && r.prefix_list_id == null])
    error_message = "ingress must come from groups only"
  }
  assert {
    condition = alltrue(concat(
      [for r in aws_vpc_security_group_egress_rule.this : r.cidr_ipv4 == null && r.cidr_ipv6 == null],
      [for r in aws_vpc_security_group_egress_rule.gateway : r.cidr_ipv4 == null && r.cidr_ipv6 == null],
    ))
    error_message = "egress must go to groups and prefix lists only"
  }
  assert {
    condition     = aws_vpc_security_group_ingress_rule.this["service-primary"].from_port == 8443 && aws_vpc_security_group_ingress_rule.this["service-workers"].from_port == 8443 && aws_vpc_security_group_ingress_rule.this["primary-service"].from_port == 9443
    error_message = "EMR's service needs 8443 to the nodes and 9443 back"
  }
  assert {
    condition     = toset([for k, r in aws_vpc_security_group_ingress_rule.this : k if endswith(k, "-endpoints")]) == toset(["primary-endpoints", "workers-endpoints"])
    error_message = "only nodes may reach the endpoints"
  }
}

run "endpoints_admit_what_the_cluster_needs_and_no_more" {
  command = plan
  assert {
    condition     = toset(keys(aws_vpc_endpoint.gateway)) == toset(["s3", "dynamodb"])
    error_message = "gateway endpoints for S3 and DynamoDB"
  }
  assert {
    condition     = toset(keys(aws_vpc_endpoint.interface)) == toset(["glue", "logs", "elasticmapreduce"])
    error_message = "interface endpoints for what the cluster calls, and no more: each costs more in a month than all the rest"
  }
  assert {
    condition     = alltrue([for e in aws_vpc_endpoint.interface : e.private_dns_enabled])
    error_message = "endpoints must answer under the services' own names"
  }
  assert {
    condition = alltrue([for bucket in ["al2023-repos-us-east-1-de612dc2", "repo.us-east-1.emr.amazonaws.com", "us-east-1.elasticmapreduce"] : anytrue([
      for s in data.aws_iam_policy_document.s3.statement : contains(s.resources, "arn:aws:s3:::${bucket}/*") && contains(s.actions, "s3:GetObject") && length(s.condition) == 0
    ])])
    error_message = "nodes boot from EMR's buckets without credentials: they must be admitted without condition"
  }
  # AWS names the bucket so in this region, and aws157-logs-prod-<region> in all others.
  assert {
    condition = anytrue([
      for s in data.aws_iam_policy_document.s3.statement : contains(s.resources, "arn:aws:s3:::aws157-logs-prod/*") && contains(s.actions, "s3:Put*") && length(s.condition) == 0
    ])
    error_message = "EMR's agents must reach the bucket of logs for AWS's support"
  }
  assert {
    condition = alltrue([for e in data.aws_iam_policy_document.interface : alltrue([
      for s in e.statement : s.resources == toset(["arn:aws:ssm:us-east-1:111122223333:parameter/pulse/dev/*"]) if contains(s.actions, "ssm:GetParameter")
    ])])
    error_message = "no parameter of others may be read through the endpoint"
  }
  assert {
    condition = alltrue([for action in ["RunJobFlow", "AddTags", "ListClusters", "GetAutoTerminationPolicy", "PutAutoTerminationPolicy"] : contains(
      data.aws_iam_policy_document.interface["elasticmapreduce"].statement[0].actions, "elasticmapreduce:${action}"
    )])
    error_message = "who may start clusters must be able to from a host in the network"
  }
  assert {
    condition = alltrue([for s in data.aws_iam_policy_document.s3.statement : alltrue([
      !contains(s.resources, "*"), !contains(s.actions, "s3:*"),
      length(s.condition) > 0 || length(setintersection(s.resources, ["arn:aws:s3:::raw/*", "arn:aws:s3:::silver/*"])) == 0,
    ])])
    error_message = "own buckets only for this account, others by name"
  }
  assert {
    condition = alltrue(flatten([for e in data.aws_iam_policy_document.interface : [for s in e.statement : concat(
      [for c in s.condition : c.variable == "aws:PrincipalAccount" && contains(c.values, "111122223333")],
      [length(s.condition) == 1],
      [for a in s.actions : !strcontains(a, "*")],
    )]]))
    error_message = "interface endpoints admit named actions of this account"
  }
}

run "a_shell_and_more_only_when_asked_for" {
  command = plan
  variables {
    network = { cidr = "10.20.0.0/16", zones = ["us-east-1a", "us-east-1b"], shell = true, further_endpoints = ["kms"] }
  }
  assert {
    condition     = toset(keys(aws_vpc_endpoint.interface)) == toset(["glue", "logs", "elasticmapreduce", "ssm", "ssmmessages", "kms"])
    error_message = "endpoints of Session Manager, and those that were named"
  }
}

run "parked_it_costs_nothing" {
  command = plan
  variables { parked = true }
  assert {
    condition     = length(aws_vpc_endpoint.interface) == 0 && length(aws_vpc_endpoint.gateway) == 2 && length(output.interface_endpoints.services) == 0
    error_message = "what is parked has no endpoint that costs"
  }
}

run "other_regions_have_a_bucket_of_their_own" {
  command = plan
  override_data {
    target = data.aws_region.this
    values = { name = "us-east-2" }
  }
  assert {
    condition     = anytrue([for s in data.aws_iam_policy_document.s3.statement : contains(s.resources, "arn:aws:s3:::aws157-logs-prod-us-east-2/*") && contains(s.actions, "s3:Put*")])
    error_message = "EMR's agents must reach the bucket of logs for AWS's support"
  }
}

run "public_subnets_only_when_asked_for" {
  command = plan
  variables {
    network = { cidr = "10.20.0.0/16", zones = ["us-east-1a", "us-east-1b"], public_subnets = true }
  }
  assert {
    condition     = length(aws_subnet.public) == 2 && alltrue([for s in aws_subnet.public : !s.map_public_ip_on_launch])
    error_message = "public subnets must not hand out addresses by themselves"
  }
  assert {
    condition     = length(setintersection([for s in aws_subnet.public : s.cidr_block], [for s in aws_subnet.private : s.cidr_block])) == 0
    error_message = "public and private subnets must not overlap"
  }
}

run "what_is_wrong_is_refused" {
  command = plan
  variables {
    network     = { cidr = "10.20.0.0/24", zones = ["us-east-1a"], endpoint_zones = 3, further_endpoints = ["sqs"] }
    bucket_arns = ["arn:aws:s3:::*"]
    flow_logs   = { bucket_arn = "arn:aws:s3:::logs", interval_seconds = 5 }
  }
  expect_failures = [var.network, var.bucket_arns, var.flow_logs]
}
