mock_provider "aws" {
  mock_data "aws_caller_identity" { defaults = { account_id = "111122223333" } }
  mock_data "aws_partition" { defaults = { partition = "aws" } }
  mock_data "aws_region" { defaults = { name = "us-east-1" } }
  mock_data "aws_iam_policy_document" { defaults = { json = "{}" } }
}

variables {
  name              = "pulse-dev"
  cluster_role_arns = ["arn:aws:iam::111122223333:role/pulse-dev-service"]
}

run "the_key_rotates_and_can_be_restored" {
  command = plan
  assert {
    condition     = aws_kms_key.this.enable_key_rotation && aws_kms_key.this.rotation_period_in_days == 365
    error_message = "the key must rotate once a year"
  }
  assert {
    condition     = aws_kms_key.this.deletion_window_in_days == 30
    error_message = "a deleted key must be restorable for 30 days"
  }
  assert {
    condition     = aws_kms_alias.this.name == "alias/pulse-dev"
    error_message = "the alias must be the name"
  }
}

run "grants_are_for_services_only" {
  command = plan
  assert {
    condition = alltrue([
      for s in data.aws_iam_policy_document.key.statement : anytrue([for c in s.condition : c.variable == "kms:GrantIsForAWSResource" && c.values == tolist(["true"])])
      if contains(s.actions, "kms:CreateGrant")
    ])
    error_message = "grants may be made for resources of AWS only"
  }
}

# The account as a principal leaves the decision to policies of the role, and nobody can attach one to a role of a service.
run "spot_is_admitted_by_the_key_itself" {
  command = plan
  assert {
    condition = alltrue([for action in ["kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey*", "kms:ReEncrypt*"] : anytrue([
      for s in data.aws_iam_policy_document.key.statement : contains(s.actions, action)
      && anytrue([for p in s.principals : p.type == "AWS" && p.identifiers == toset(["*"])])
      && anytrue([for c in s.condition : c.variable == "aws:PrincipalArn" && one(c.values) == "arn:aws:iam::111122223333:role/aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot"])
    ])])
    error_message = "EC2's role for Spot must be admitted by the key's policy, not through the account"
  }
  assert {
    condition = alltrue([for s in data.aws_iam_policy_document.key.statement :
      toset(["ArnEquals aws:PrincipalArn", "StringEquals kms:CallerAccount"]) == setsubtract([for c in s.condition : "${c.test} ${c.variable}"], ["Bool kms:GrantIsForAWSResource"])
      if anytrue([for p in s.principals : contains(p.identifiers, "*")])
    ])
    error_message = "* may be a principal only where account and role are conditions"
  }
}

run "services_are_bound_to_the_account_or_its_log_groups" {
  command = plan
  assert {
    condition = alltrue([
      for s in data.aws_iam_policy_document.key.statement : length(s.condition) > 0
      if anytrue([for p in s.principals : p.type == "Service"])
    ])
    error_message = "a statement for a service must carry a condition"
  }
  assert {
    condition     = one([for s in data.aws_iam_policy_document.key.statement : [for c in s.condition : c.variable] if anytrue([for p in s.principals : contains(p.identifiers, "events.amazonaws.com")])]) == ["kms:EncryptionContext:aws:sns:topicArn"]
    error_message = "events of EMR must be able to write to the encrypted topic, where conditions on the source are not supported"
  }
}

run "a_name_without_environment_is_refused" {
  command = plan
  variables { name = "Pulse" }
  expect_failures = [var.name]
}

run "too_rare_a_rotation_is_refused" {
  command = plan
  variables { key = { rotation_days = 5000 } }
  expect_failures = [var.key]
}

run "too_short_a_deletion_window_is_refused" {
  command = plan
  variables { key = { deletion_days = 1 } }
  expect_failures = [var.key]
}

run "something_else_than_a_role_is_refused" {
  command = plan
  variables { cluster_role_arns = ["arn:aws:iam::111122223333:user/someone"] }
  expect_failures = [var.cluster_role_arns]
}
