# Autoscaling, and the service's alarms.

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
  # ECS rolls back a deployment during which one of these goes off, so no client may be able to
  # trigger one. The others are left out: a slow request may have been sent slowly, a failed call
  # may be the called service's fault, and a panic may come from a task of the release before. The
  # last two are answered with 5xx, which the alarm of server errors counts.
  deployment_alarm_names = concat(
    aws_cloudwatch_metric_alarm.unhealthy_targets[*].alarm_name,
    aws_cloudwatch_metric_alarm.server_errors[*].alarm_name,
  )

  # Below this many requests a minute a percentage means nothing.
  requests_min = 20

  # Alarms of one metric that the service writes.
  metrics = {
    p99-duration = {
      text      = "One of a hundred requests to ${var.name} takes longer than ${var.alarm_figures.p99_ms} ms."
      metric    = "request_duration"
      sum       = false
      minutes   = 3
      threshold = var.alarm_figures.p99_ms
    }
    panics = {
      text      = "${var.name} has a bug: a request ended in a panic, and its log has the place."
      metric    = "panics"
      sum       = true
      minutes   = 1
      threshold = 0
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "unhealthy_targets" {
  count = var.alarms == null ? 0 : 1

  alarm_name        = "${local.full_name}-unhealthy-targets"
  alarm_description = "Tasks of ${var.name} fail the load balancer's health check."
  namespace         = "AWS/ApplicationELB"
  metric_name       = "UnHealthyHostCount"
  dimensions = {
    LoadBalancer = var.target_group.load_balancer_arn_suffix
    TargetGroup  = var.target_group.arn_suffix
  }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 3
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarms.topic_arns
}

# From here on the metrics are those that the services write (the kit's README lists them). A
# client's fault is answered with 4xx and is no server error. Requests that are shed under load are
# not counted at all: one client alone can send that many.
resource "aws_cloudwatch_metric_alarm" "server_errors" {
  count = var.alarms == null ? 0 : 1

  alarm_name          = "${local.full_name}-server-error-percent"
  alarm_description   = "${var.name} answers more than ${var.alarm_figures.server_error_percent} % of the requests that it lets in with 5xx."
  evaluation_periods  = 2
  comparison_operator = "GreaterThanThreshold"
  threshold           = var.alarm_figures.server_error_percent
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarms.topic_arns

  metric_query {
    id          = "percent"
    label       = "5xx in percent"
    expression  = "IF(requests - shed >= ${local.requests_min}, 100 * (errors - shed) / (requests - shed), 0)"
    return_data = true
  }

  metric_query {
    id = "errors"

    metric {
      namespace   = var.prefix
      metric_name = "server_errors"
      dimensions  = { service = var.name }
      stat        = "Sum"
      period      = 60
    }
  }

  metric_query {
    id = "requests"

    metric {
      namespace   = var.prefix
      metric_name = "requests"
      dimensions  = { service = var.name }
      stat        = "Sum"
      period      = 60
    }
  }

  metric_query {
    id = "shed"

    metric {
      namespace   = var.prefix
      metric_name = "shed"
      dimensions  = { service = var.name }
      stat        = "Sum"
      period      = 60
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "metric" {
  for_each = { for name, metric in local.metrics : name => metric if var.alarms != null }

  alarm_name          = "${local.full_name}-${each.key}"
  alarm_description   = each.value.text
  namespace           = var.prefix
  metric_name         = each.value.metric
  dimensions          = { service = var.name }
  statistic           = each.value.sum ? "Sum" : null
  extended_statistic  = each.value.sum ? null : "p99"
  period              = 60
  evaluation_periods  = each.value.minutes
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.threshold
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarms.topic_arns

  # For percentiles only.
  evaluate_low_sample_count_percentiles = each.value.sum ? null : "ignore"
}

# Moved and not recreated: both addresses have the same alarm's name, so destroying the old one
# would delete the new one.
moved {
  from = aws_cloudwatch_metric_alarm.duration[0]
  to   = aws_cloudwatch_metric_alarm.metric["p99-duration"]
}

moved {
  from = aws_cloudwatch_metric_alarm.panics[0]
  to   = aws_cloudwatch_metric_alarm.metric["panics"]
}

resource "aws_cloudwatch_metric_alarm" "calls" {
  for_each = { for called, outcomes in var.alarm_outcomes : called => outcomes if var.alarms != null }

  alarm_name          = "${local.full_name}-failed-calls-${each.key}"
  alarm_description   = "Calls of ${each.key} by ${var.name} end with one of: ${join(", ", each.value)}."
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
    for_each = each.value

    content {
      id = metric_query.value

      metric {
        namespace   = var.prefix
        metric_name = "calls"
        dimensions  = { service = var.name, target = each.key, outcome = metric_query.value }
        stat        = "Sum"
        period      = 60
      }
    }
  }
}
