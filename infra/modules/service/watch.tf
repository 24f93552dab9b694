# What reacts by itself: the number of tasks follows the load, and somebody is told.

resource "aws_appautoscaling_target" "tasks" {
  count = var.autoscaling == null ? 0 : 1

  service_namespace  = "ecs"
  resource_id        = "service/${var.cluster_name}/${aws_ecs_service.service.name}"
  scalable_dimension = "ecs:service:DesiredCount"
  min_capacity       = var.tasks_min
  max_capacity       = var.autoscaling.tasks_max
}

resource "aws_appautoscaling_policy" "cpu" {
  count = var.autoscaling == null ? 0 : 1

  name               = "${local.full_name}-cpu"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.tasks[0].service_namespace
  resource_id        = aws_appautoscaling_target.tasks[0].resource_id
  scalable_dimension = aws_appautoscaling_target.tasks[0].scalable_dimension

  target_tracking_scaling_policy_configuration {
    target_value = var.autoscaling.cpu_percent

    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}

locals {
  # What is wrong where the maximum or the sum of a minute is above none.
  target_metrics = {
    "unhealthy" = { metric = "UnHealthyHostCount", statistic = "Maximum", minutes = 3, text = "Tasks of ${var.name} fail the load balancer's health check." }
    "errors"    = { metric = "HTTPCode_Target_5XX_Count", statistic = "Sum", minutes = 2, text = "${var.name} answers with 5xx." }
  }
}

resource "aws_cloudwatch_metric_alarm" "target" {
  for_each = { for name, alarm in local.target_metrics : name => alarm if var.alarms != null }

  alarm_name        = "${local.full_name}-${each.key}"
  alarm_description = each.value.text
  namespace         = "AWS/ApplicationELB"
  metric_name       = each.value.metric
  dimensions = {
    LoadBalancer = var.target_group.load_balancer_arn_suffix
    TargetGroup  = var.target_group.arn_suffix
  }
  statistic           = each.value.statistic
  period              = 60
  evaluation_periods  = each.value.minutes
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarms.topic_arns
}

# What the service says of itself (the kit's README has the names). A deployment during
# which one of these alarms goes off is rolled back by ECS.
locals {
  # A minute with fewer requests says nothing about a share.
  requests_min = 20

  # Ways in which a call ends that are an alarm, by the one who is called.
  calls = {
    axon = {}
    orbit = {
      axon       = { outcomes = ["breaker_open"], text = "Orbit has given up calling axon for now." }
      governance = { outcomes = ["failed", "timeout", "throttled", "breaker_open"], text = "Dispatches are refused because governance cannot answer." }
    }
  }

  deployment_alarm_names = concat(
    aws_cloudwatch_metric_alarm.server_errors[*].alarm_name,
    aws_cloudwatch_metric_alarm.latency[*].alarm_name,
    [for alarm in aws_cloudwatch_metric_alarm.calls : alarm.alarm_name],
  )
}

resource "aws_cloudwatch_metric_alarm" "server_errors" {
  count = var.alarms == null ? 0 : 1

  alarm_name          = "${local.full_name}-server-errors"
  alarm_description   = "${var.name} answers more than 5 % of its requests with 5xx."
  evaluation_periods  = 2
  comparison_operator = "GreaterThanThreshold"
  threshold           = 5
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarms.topic_arns

  metric_query {
    id          = "percent"
    label       = "5xx in percent"
    expression  = "IF(requests >= ${local.requests_min}, 100 * errors / requests, 0)"
    return_data = true
  }

  metric_query {
    id = "errors"

    metric {
      namespace   = var.project
      metric_name = "server_errors"
      dimensions  = { service = var.name }
      stat        = "Sum"
      period      = 60
    }
  }

  metric_query {
    id = "requests"

    metric {
      namespace   = var.project
      metric_name = "requests"
      dimensions  = { service = var.name }
      stat        = "Sum"
      period      = 60
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "latency" {
  count = var.alarms == null ? 0 : 1

  alarm_name          = "${local.full_name}-latency"
  alarm_description   = "One of a hundred requests to ${var.name} takes longer than a second."
  namespace           = var.project
  metric_name         = "request_duration"
  dimensions          = { service = var.name }
  extended_statistic  = "p99"
  period              = 60
  evaluation_periods  = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = 1000
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarms.topic_arns

  evaluate_low_sample_count_percentiles = "ignore"
}

resource "aws_cloudwatch_metric_alarm" "calls" {
  for_each = var.alarms == null ? {} : local.calls[var.name]

  alarm_name          = "${local.full_name}-calls-${each.key}"
  alarm_description   = each.value.text
  evaluation_periods  = 2
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarms.topic_arns

  metric_query {
    id          = "failures"
    label       = "Calls that failed"
    expression  = "SUM(METRICS())"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = each.value.outcomes

    content {
      id = metric_query.value

      metric {
        namespace   = var.project
        metric_name = "calls"
        dimensions  = { service = var.name, target = each.key, outcome = metric_query.value }
        stat        = "Sum"
        period      = 60
      }
    }
  }
}
