# The load balancer and its routes: those that the environment exposes, and by default one service.

locals {
  # The listener that forwards; where there is a certificate, plain HTTP only redirects.
  listener_arn = var.https == null ? aws_lb_listener.http.arn : aws_lb_listener.https[0].arn

  # ECS accepts only target groups that a listener uses, and a service's target health is needed
  # even where no request is forwarded to it. So the first route of a service without any exposed
  # one is a rule too: a weight of 0 makes the group used, and the default service answers.
  rules = merge([
    for service, routes in var.routes : {
      for index, route in routes : "${service}-${route.priority}" => merge(route, { service = service })
      if route.exposed || index == 0 && service != var.default_service && !anytrue(routes[*].exposed)
    }
  ]...)
}

resource "aws_lb" "main" {
  #checkov:skip=CKV_AWS_150:protected unless disposable, which tests/aws.tftest.hcl checks
  #checkov:skip=CKV2_AWS_28:the rules of a web application firewall are the account's decision; one can be associated from outside

  name                       = "${var.prefix}-lb"
  load_balancer_type         = "application"
  subnets                    = var.subnet_ids
  security_groups            = [var.security_group_id]
  drop_invalid_header_fields = true
  enable_deletion_protection = !var.disposable

  dynamic "access_logs" {
    for_each = aws_s3_bucket.access_logs

    content {
      enabled = true
      bucket  = access_logs.value.id
    }
  }

  # AWS tests the write permission when access logs are turned on.
  depends_on = [aws_s3_bucket_policy.access_logs]
}

resource "aws_lb_target_group" "service" {
  #checkov:skip=CKV_AWS_378:TLS ends at the load balancer; only its security group reaches the tasks, and services sign their requests to each other

  for_each = var.ports

  name        = "${var.prefix}-${each.key}"
  target_type = "ip"
  protocol    = "HTTP"
  port        = each.value
  vpc_id      = var.vpc_id

  deregistration_delay = var.health.deregistration_delay

  health_check {
    path                = "/health"
    matcher             = "200"
    interval            = var.health.interval
    timeout             = var.health.timeout
    healthy_threshold   = var.health.healthy_threshold
    unhealthy_threshold = var.health.unhealthy_threshold
  }
}

resource "aws_lb_listener" "http" {
  load_balancer_arn = aws_lb.main.arn
  protocol          = "HTTP"
  port              = 80

  default_action {
    type             = var.https == null ? "forward" : "redirect"
    target_group_arn = var.https == null ? aws_lb_target_group.service[var.default_service].arn : null

    dynamic "redirect" {
      for_each = var.https == null ? [] : ["https"]

      content {
        protocol    = "HTTPS"
        port        = "443"
        status_code = "HTTP_301"
      }
    }
  }
}

resource "aws_lb_listener" "https" {
  count = var.https == null ? 0 : 1

  load_balancer_arn = aws_lb.main.arn
  protocol          = "HTTPS"
  port              = 443
  certificate_arn   = var.https.certificate_arn

  # TLS 1.2 and 1.3 with forward secrecy and post-quantum key exchange: AWS's recommendation since
  # November 2025.
  ssl_policy = "ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09"

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.service[var.default_service].arn
  }
}

resource "aws_lb_listener_rule" "route" {
  for_each = local.rules

  listener_arn = local.listener_arn
  priority     = each.value.priority

  action {
    type             = "forward"
    target_group_arn = each.value.exposed ? aws_lb_target_group.service[each.value.service].arn : null

    dynamic "forward" {
      for_each = each.value.exposed ? [] : ["unexposed"]

      content {
        target_group {
          arn    = aws_lb_target_group.service[var.default_service].arn
          weight = 1
        }

        target_group {
          arn    = aws_lb_target_group.service[each.value.service].arn
          weight = 0
        }
      }
    }
  }

  condition {
    path_pattern {
      values = [each.value.path]
    }
  }

  dynamic "condition" {
    for_each = each.value.headers

    content {
      http_header {
        http_header_name = condition.key
        values           = [condition.value]
      }
    }
  }

  tags = { Name = "${var.prefix}-${each.key}" }
}
