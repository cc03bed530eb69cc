# Logs, figures, alarms and a budget. What is measured comes from the node agent (modules/cluster/files/pulse-node).

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
  path    = "/${replace(var.name, "-", "/")}"
}

resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_338:180 days, like the logs in S3; runs themselves are kept in the lake's ledger
  for_each          = toset(["scheduler", "executor", "node"])
  name              = "${local.path}/${each.key}"
  retention_in_days = var.logs.retention_days
  kms_key_id        = var.logs.kms_key_arn
}

# ---- figures out of lines

locals {
  filters = {
    FailedRuns      = { group = "scheduler", pattern = "\"run failed\"" }
    LostHeartbeats  = { group = "node", pattern = "\"heartbeat failed\"" }
    SchedulerErrors = { group = "scheduler", pattern = "ERROR" }
    ExecutorErrors  = { group = "executor", pattern = "ERROR" }
  }
}

resource "aws_cloudwatch_log_metric_filter" "this" {
  for_each       = local.filters
  name           = "${var.name}-${each.key}"
  log_group_name = aws_cloudwatch_log_group.this[each.value.group].name
  pattern        = each.value.pattern
  metric_transformation {
    namespace = var.name
    name      = each.key
    value     = "1"
    unit      = "Count"
  }
}

# ---- alarms

locals {
  # No cluster is the normal state: no figures are no alarm.
  alarms = {
    failed-run       = { metric = "FailedRuns", above = 0, minutes = 5, statistic = "Sum", say = "A run failed: `pulse runs list`, then `pulse runs show ID`." }
    stuck-run        = { metric = "OldestRunSeconds", above = var.limits.run_seconds, minutes = 5, statistic = "Maximum", say = "A run takes longer than it may: `pulse runs show ID`, `pulse runs cancel ID`." }
    queue-age        = { metric = "QueueAgeSeconds", above = var.limits.queue_seconds, minutes = 5, statistic = "Maximum", say = "Submitted runs do not start: are there executors, is Spot capacity to be had?" }
    heartbeat-failed = { metric = "HeartbeatFailed", above = 0, minutes = 5, statistic = "Maximum", say = "EMR cannot see that the cluster works, and will end it after its idle time." }
    scheduler-down   = { metric = "SchedulerDown", above = 0, minutes = 10, statistic = "Minimum", say = "The scheduler does not answer: its log group says why; systemd starts it again." }
  }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each            = local.alarms
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.say
  namespace           = var.name
  metric_name         = each.value.metric
  statistic           = each.value.statistic
  period              = each.value.minutes * 60
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.above
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

# ---- what a cluster cannot say of itself

# All figures above come from the primary node. That it is gone, was never set up, or waits for machines that EC2 does not have,
# is said by EMR.
locals {
  events = {
    cluster-failed = { types = ["EMR Cluster State Change"], detail = { name = [var.name], state = ["TERMINATED_WITH_ERRORS"] } }
    # A step's event does not name its cluster: steps are known by their names (cli/src/aws/step.rs).
    step-failed = { types = ["EMR Step Status Change"], detail = { state = ["FAILED"], name = [{ prefix = "pulse: " }] } }
    no-capacity = {
      types  = ["EC2 provisioning - Insufficient Instance Capacity", "EMR Instance Group Status Notification", "EMR Instance Group State Change"]
      detail = { severity = ["WARN", "ERROR"] }
    }
  }
}

resource "aws_cloudwatch_event_rule" "this" {
  for_each    = local.events
  name        = "${var.name}-${each.key}"
  description = "EMR says of a cluster of ${var.name}: ${each.key}"
  event_pattern = jsonencode({
    source        = ["aws.emr"]
    "detail-type" = each.value.types
    detail        = each.value.detail
  })
}

resource "aws_cloudwatch_event_target" "topic" {
  for_each = local.events
  rule     = aws_cloudwatch_event_rule.this[each.key].name
  arn      = aws_sns_topic.alarms.arn
}

# AWS publishes the account's charges in this region only, and only if billing alerts are switched on in the account.
resource "aws_cloudwatch_metric_alarm" "cost" {
  count               = local.region == "us-east-1" ? 1 : 0
  alarm_name          = "${var.name}-cost"
  alarm_description   = "The account's charges of this month passed the limit: is a cluster still running?"
  namespace           = "AWS/Billing"
  metric_name         = "EstimatedCharges"
  dimensions          = { Currency = "USD" }
  statistic           = "Maximum"
  period              = 21600
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.limits.month_usd
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
}

resource "aws_sns_topic" "alarms" {
  name              = "${var.name}-alarms"
  kms_master_key_id = var.logs.kms_key_arn
}

resource "aws_sns_topic_policy" "alarms" {
  arn    = aws_sns_topic.alarms.arn
  policy = data.aws_iam_policy_document.alarms.json
}

data "aws_iam_policy_document" "alarms" {
  # EventBridge knows no condition on the source where it writes to a topic: without a condition its rules are admitted, and what
  # somebody else's rule could do is write a line that nobody asked for.
  statement {
    sid       = "EventsOfClustersSpeak"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alarms.arn]
    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }
  }
  statement {
    sid       = "AlarmsAndBudgetsSpeak"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alarms.arn]
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
}

resource "aws_sns_topic_subscription" "email" {
  for_each  = toset(var.notify.emails)
  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.value
}

resource "aws_budgets_budget" "month" {
  name         = "${var.name}-month"
  budget_type  = "COST"
  limit_amount = tostring(var.limits.month_usd)
  limit_unit   = "USD"
  time_unit    = "MONTHLY"

  dynamic "notification" {
    for_each = { ACTUAL = 80, FORECASTED = 100 }
    content {
      notification_type         = notification.key
      threshold                 = notification.value
      threshold_type            = "PERCENTAGE"
      comparison_operator       = "GREATER_THAN"
      subscriber_sns_topic_arns = [aws_sns_topic.alarms.arn]
    }
  }
}

# ---- dashboard

locals {
  charts = [
    { title = "Runs", metrics = ["RunningRuns", "FailedRuns"] },
    { title = "Oldest run and queue, seconds", metrics = ["OldestRunSeconds", "QueueAgeSeconds"] },
    { title = "Executors", metrics = ["Executors"] },
    { title = "Health", metrics = ["Busy", "HeartbeatFailed", "SchedulerDown", "SchedulerErrors", "ExecutorErrors"] },
  ]
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name
  dashboard_body = jsonencode({
    widgets = [for index, chart in local.charts : {
      type   = "metric"
      x      = index % 2 * 12
      y      = floor(index / 2) * 6
      width  = 12
      height = 6
      properties = {
        title   = chart.title
        region  = local.region
        stat    = "Maximum"
        period  = 60
        metrics = [for metric in chart.metrics : [var.name, metric]]
      }
    }]
  })
}
