mock_provider "aws" {
  mock_data "aws_caller_identity" { defaults = { account_id = "111122223333" } }
  mock_data "aws_partition" { defaults = { partition = "aws" } }
  mock_data "aws_region" { defaults = { name = "us-east-1" } }
  mock_data "aws_iam_policy_document" { defaults = { json = "{}" } }
  mock_resource "aws_sns_topic" { defaults = { arn = "arn:aws:sns:us-east-1:111122223333:pulse-dev-alarms" } }
}

variables {
  name = "pulse-dev"
  logs = { kms_key_arn = "arn:aws:kms:us-east-1:111122223333:key/0" }
}

run "logs_are_kept_and_encrypted" {
  command = apply
  assert {
    condition     = toset([for g in aws_cloudwatch_log_group.this : g.name]) == toset(["/pulse/dev/scheduler", "/pulse/dev/executor", "/pulse/dev/node"])
    error_message = "a log group per role"
  }
  assert {
    condition     = alltrue([for g in aws_cloudwatch_log_group.this : g.retention_in_days == 180 && g.kms_key_id == var.logs.kms_key_arn])
    error_message = "log groups must keep 180 days, encrypted with the key"
  }
  assert {
    condition     = aws_sns_topic.alarms.kms_master_key_id == var.logs.kms_key_arn && alltrue([for s in data.aws_iam_policy_document.alarms.statement : length(s.condition) == 1 || one(s.principals).identifiers == toset(["events.amazonaws.com"])])
    error_message = "the topic must be encrypted and bound to the account"
  }
}

run "alarms_speak_of_what_is_measured" {
  command = apply
  assert {
    condition     = toset(output.alarms) == toset([for a in ["failed-run", "stuck-run", "queue-age", "heartbeat-failed", "scheduler-down", "cost"] : "pulse-dev-${a}"])
    error_message = "an alarm is missing"
  }
  assert {
    condition     = alltrue([for a in aws_cloudwatch_metric_alarm.this : contains(keys(local.filters), a.metric_name) || strcontains(file("../cluster/files/pulse-node"), "${a.metric_name}=")])
    error_message = "an alarm watches a figure that nobody reports"
  }
  assert {
    condition = alltrue([for f in aws_cloudwatch_log_metric_filter.this : f.pattern == "ERROR" || strcontains(
      file(f.log_group_name == "/pulse/dev/scheduler" ? "../../../scheduler/src/api/triggers/failures.rs" : "../cluster/files/pulse-node"), trim(f.pattern, "\"")
    )])
    error_message = "a filter looks for words that nobody says in its log group"
  }
  assert {
    condition     = alltrue([for a in aws_cloudwatch_metric_alarm.this : a.treat_missing_data == "notBreaching" && a.alarm_actions == toset([aws_sns_topic.alarms.arn])])
    error_message = "no cluster is no alarm, and alarms must be heard"
  }
  assert {
    condition     = aws_budgets_budget.month.limit_amount == "200" && length(aws_budgets_budget.month.notification) == 2
    error_message = "the budget must warn before and when it is passed"
  }
}

# Figures come from the primary node: what ends it must be heard of from elsewhere.
run "a_cluster_that_is_gone_is_heard_of" {
  command = apply
  assert {
    condition = anytrue([for r in aws_cloudwatch_event_rule.this : jsondecode(r.event_pattern) == {
      source = ["aws.emr"], "detail-type" = ["EMR Cluster State Change"], detail = { name = ["pulse-dev"], state = ["TERMINATED_WITH_ERRORS"] }
    }])
    error_message = "a cluster of this name that ended with errors must be heard of"
  }
  assert {
    condition     = alltrue([for type in ["EMR Step Status Change", "EC2 provisioning - Insufficient Instance Capacity"] : anytrue([for r in aws_cloudwatch_event_rule.this : contains(jsondecode(r.event_pattern)["detail-type"], type)])])
    error_message = "failed steps and missing capacity must be heard of"
  }
  assert {
    condition     = strcontains(file("../../../cli/src/aws/step.rs"), "\"pulse: all jobs\"") && jsondecode(aws_cloudwatch_event_rule.this["step-failed"].event_pattern).detail.name == [{ prefix = "pulse: " }]
    error_message = "steps are known by the names that pulse gives them"
  }
  assert {
    condition     = toset(keys(aws_cloudwatch_event_target.topic)) == toset(keys(aws_cloudwatch_event_rule.this)) && alltrue([for t in aws_cloudwatch_event_target.topic : t.arn == aws_sns_topic.alarms.arn])
    error_message = "every rule must write to the topic"
  }
  assert {
    condition     = anytrue([for s in data.aws_iam_policy_document.alarms.statement : anytrue([for p in s.principals : contains(p.identifiers, "events.amazonaws.com")])])
    error_message = "the topic must admit events"
  }
}

run "charges_are_published_in_one_region" {
  command = plan
  override_data {
    target = data.aws_region.this
    values = { name = "eu-west-1" }
  }
  assert {
    condition     = length(aws_cloudwatch_metric_alarm.cost) == 0
    error_message = "an alarm on charges elsewhere never speaks"
  }
}

run "what_is_wrong_is_refused" {
  command = plan
  variables {
    logs   = { kms_key_arn = "arn:aws:kms:us-east-1:111122223333:key/0", retention_days = 1 }
    limits = { month_usd = 0 }
    notify = { emails = ["nobody"] }
  }
  expect_failures = [var.logs, var.limits, var.notify]
}
