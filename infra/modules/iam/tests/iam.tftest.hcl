mock_provider "aws" {
  mock_data "aws_caller_identity" { defaults = { account_id = "111122223333" } }
  mock_data "aws_partition" { defaults = { partition = "aws", dns_suffix = "amazonaws.com" } }
  mock_data "aws_region" { defaults = { name = "us-east-1" } }
  mock_data "aws_iam_policy_document" { defaults = { json = "{}" } }
  mock_resource "aws_iam_role" { defaults = { arn = "arn:aws:iam::111122223333:role/mock" } }
}

variables {
  name        = "pulse-dev"
  kms_key_arn = "arn:aws:kms:us-east-1:111122223333:key/0"
  buckets     = { raw = "arn:aws:s3:::raw", silver = "arn:aws:s3:::silver", gold = "arn:aws:s3:::gold", logs = "arn:aws:s3:::logs", artifacts = "arn:aws:s3:::artifacts" }
  databases   = ["bronze", "silver", "gold"]
}

run "stars_only_where_no_arn_exists" {
  command = apply
  assert {
    condition = alltrue(flatten([
      for p in [data.aws_iam_policy_document.service, data.aws_iam_policy_document.node, data.aws_iam_policy_document.submitter, data.aws_iam_policy_document.reader] : [
        for s in p.statement : s.effect == "Deny" || !contains(s.resources, "*") || length(s.condition) > 0 || alltrue([
          for a in s.actions : can(regex("^(ec2:Describe|ssmmessages:|ssm:UpdateInstanceInformation$|elasticmapreduce:ListClusters$)", a))
        ])
      ]
    ]))
    error_message = "* as a resource needs a condition, or an action that knows no resources"
  }
  assert {
    condition = alltrue(flatten([
      for p in [data.aws_iam_policy_document.service, data.aws_iam_policy_document.node, data.aws_iam_policy_document.submitter, data.aws_iam_policy_document.reader] : [
        for s in p.statement : s.effect == "Deny" || alltrue([for a in s.actions : !strcontains(a, "*")])
      ]
    ]))
    error_message = "actions must be named one by one"
  }
  assert {
    condition = alltrue(flatten([
      for p in [data.aws_iam_policy_document.node, data.aws_iam_policy_document.submitter, data.aws_iam_policy_document.reader] : [
        for s in p.statement : anytrue([for c in s.condition : c.variable == "kms:ViaService"]) if anytrue([for a in s.actions : startswith(a, "kms:")])
      ]
    ]))
    error_message = "the key may be used through services only"
  }
}

run "roles_are_handed_to_clusters_only" {
  command = apply
  assert {
    condition = alltrue(flatten([
      for p in [data.aws_iam_policy_document.service, data.aws_iam_policy_document.submitter] : [
        for s in p.statement : anytrue([for c in s.condition : c.variable == "iam:PassedToService"]) && !contains(s.resources, "*") if contains(s.actions, "iam:PassRole")
      ]
    ]))
    error_message = "roles may be passed by ARN, to EMR and EC2 only"
  }
  assert {
    condition     = toset([for c in data.aws_iam_policy_document.trust_service.statement[0].condition : c.variable]) == toset(["aws:SourceAccount", "aws:SourceArn"])
    error_message = "EMR's role may be taken for this account's clusters only"
  }
  assert {
    condition     = alltrue([for t in data.aws_iam_policy_document.trust_people : alltrue([for p in t.statement[0].principals : !contains(p.identifiers, "*")])])
    error_message = "no role may be taken by anybody"
  }
  assert {
    condition     = alltrue([for t in data.aws_iam_policy_document.trust_people : [for c in t.statement[0].condition : "${c.test} ${c.variable}"] == ["Bool aws:MultiFactorAuthPresent"]])
    error_message = "where nobody is named, a second factor is needed"
  }
}

run "each_writes_only_where_it_must" {
  command = apply
  assert {
    condition = alltrue([
      for s in data.aws_iam_policy_document.node.statement : length(setintersection(s.resources, ["arn:aws:s3:::raw/*", "arn:aws:s3:::artifacts/*"])) == 0
      if contains(s.actions, "s3:PutObject") || contains(s.actions, "s3:DeleteObject")
    ])
    error_message = "nodes must not write raw files or artifacts"
  }
  assert {
    condition = alltrue([
      for s in data.aws_iam_policy_document.node.statement : !contains(s.resources, "arn:aws:s3:::logs/emr/*") if contains(s.actions, "s3:DeleteObject") || contains(s.actions, "s3:GetObject")
    ])
    error_message = "nodes must not read or delete logs"
  }
  assert {
    condition = alltrue(flatten([for s in data.aws_iam_policy_document.reader.statement : [
      for a in s.actions : can(regex("^(s3:(Get|List)|glue:Get|kms:|athena:)", a)) || s.resources == toset(["arn:aws:s3:::artifacts/athena/*"])
    ]]))
    error_message = "readers must only read, and keep results of queries"
  }
  assert {
    condition = alltrue([
      for s in data.aws_iam_policy_document.submitter.statement : anytrue([for c in s.condition : contains(c.values, "pulse-dev")])
      if contains(s.actions, "elasticmapreduce:TerminateJobFlows") || contains(s.actions, "elasticmapreduce:RunJobFlow")
    ])
    error_message = "only clusters that carry our name may be started or ended"
  }
}

run "named_people_take_their_roles" {
  command = plan
  variables { principals = { submitters = ["arn:aws:iam::111122223333:role/deployers"] } }
  assert {
    condition     = one(data.aws_iam_policy_document.trust_people["submitter"].statement[0].principals).identifiers == toset(["arn:aws:iam::111122223333:role/deployers"])
    error_message = "who is named, and no one else, may submit"
  }
  assert {
    condition     = length(data.aws_iam_policy_document.trust_people["submitter"].statement[0].condition) == 0
    error_message = "a role that is named, such as one of CI, signs in without a second factor"
  }
}

run "who_must_be_named_is_missed" {
  command = plan
  variables { principals = { must_be_named = true, submitters = ["arn:aws:iam::111122223333:role/deployers"] } }
  expect_failures = [var.principals]
}

run "credentials_stay_in_the_network" {
  command = plan
  variables { vpc_id = "vpc-1" }
  assert {
    condition = anytrue([for s in data.aws_iam_policy_document.node.statement :
      s.effect == "Deny" && s.actions == toset(["*"]) && { for c in s.condition : c.variable => c.test } == { "aws:SourceVpc" = "StringNotEqualsIfExists", "aws:ViaAWSService" = "BoolIfExists" }
    ])
    error_message = "nodes' credentials must be worth nothing outside the network"
  }
}

run "what_is_wrong_is_refused" {
  command = plan
  variables {
    kms_key_arn              = "alias/x"
    buckets                  = { raw = "arn:aws:s3:::*", silver = "arn:aws:s3:::silver", gold = "arn:aws:s3:::gold", logs = "arn:aws:s3:::logs", artifacts = "arn:aws:s3:::artifacts" }
    databases                = ["*"]
    principals               = { readers = ["*"] }
    permissions_boundary_arn = "x"
  }
  expect_failures = [var.kms_key_arn, var.buckets, var.databases, var.principals, var.permissions_boundary_arn]
}
