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
  # ECS rolls back a deployment during which one of these goes off: nobody outside may be able to
  # set one off. A slow request may be one that is sent slowly. A failed call may be the fault of
  # the one who is called, and a panic that of the release before, whose tasks count as well; both
  # are answered with 5xx, of which a share counts.
  deployment_alarm_names = concat(
    aws_cloudwatch_metric_alarm.unhealthy_targets[*].alarm_name,
    aws_cloudwatch_metric_alarm.server_errors[*].alarm_name,
  )

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

# What the services say of themselves from here on (the kit's README has the names). What a caller
# does wrong is answered with 4xx and is no server error. A request that is turned away because too
# many are in counts as none at all: one caller alone can send that many.
resource "aws_cloudwatch_metric_alarm" "server_errors" {
  count = var.alarms == null ? 0 : 1

  alarm_name          = "${local.full_name}-server-error-percent"
  alarm_description   = "${var.name} answers more than 5 % of the requests that it lets in with 5xx."
  evaluation_periods  = 2
  comparison_operator = "GreaterThanThreshold"
  threshold           = 5
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

  metric_query {
    id = "shed"

    metric {
      namespace   = var.project
      metric_name = "shed"
      dimensions  = { service = var.name }
      stat        = "Sum"
      period      = 60
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "duration" {
  count = var.alarms == null ? 0 : 1

  alarm_name          = "${local.full_name}-p99-duration"
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

resource "aws_cloudwatch_metric_alarm" "panics" {
  count = var.alarms == null ? 0 : 1

  alarm_name          = "${local.full_name}-panics"
  alarm_description   = "${var.name} has a bug: a request ended in a panic, and its log has the place."
  namespace           = var.project
  metric_name         = "panics"
  dimensions          = { service = var.name }
  statistic           = "Sum"
  period              = 60
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarms.topic_arns
}

resource "aws_cloudwatch_metric_alarm" "calls" {
  for_each = var.alarms == null ? {} : local.calls[var.name]

  alarm_name          = "${local.full_name}-failed-calls-${each.key}"
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
