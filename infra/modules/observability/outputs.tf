output "log_groups" {
  description = "Name of each log group: scheduler, executor, node."
  value       = { for key, group in aws_cloudwatch_log_group.this : key => group.name }
}

output "topic_arn" {
  description = "Topic on which alarms and the budget speak."
  value       = aws_sns_topic.alarms.arn
}

output "alarms" {
  description = "Names of the alarms."
  value       = sort(concat([for alarm in aws_cloudwatch_metric_alarm.this : alarm.alarm_name], aws_cloudwatch_metric_alarm.cost[*].alarm_name))
}
