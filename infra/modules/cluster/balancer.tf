# The load balancer and its routes: orbit by default, and axon by two rules where the environment
# exposes it.

locals {
  # The listener that forwards; where there is a certificate, plain HTTP only redirects.
  listener_arn = var.https == null ? aws_lb_listener.http.arn : aws_lb_listener.https[0].arn

  axon_rules = {
    reason = { priority = 10, path = "/reason", headers = {} }
    health = { priority = 20, path = "/health", headers = { "X-Service" = "axon" } }
  }
}

resource "aws_lb" "main" {
  #checkov:skip=CKV_AWS_150:protected unless disposable, which tests/aws.tftest.hcl checks
  #checkov:skip=CKV2_AWS_28:the rules of a web application firewall are the account's decision; one can be associated from outside

  name                       = "${var.project}-lb"
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
  #checkov:skip=CKV_AWS_378:TLS ends at the load balancer; only its security group reaches the tasks, and orbit signs its requests to axon

  for_each = var.services

  name        = "${var.project}-${each.key}"
  target_type = "ip"
  protocol    = "HTTP"
  port        = var.port
  vpc_id      = var.vpc_id

  # A task drains by itself after SIGTERM; the default of 300 s would only slow releases down.
  deregistration_delay = 15

  health_check {
    path                = "/health"
    matcher             = "200"
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }
}

resource "aws_lb_listener" "http" {
  load_balancer_arn = aws_lb.main.arn
  protocol          = "HTTP"
  port              = 80

  default_action {
    type             = var.https == null ? "forward" : "redirect"
    target_group_arn = var.https == null ? aws_lb_target_group.service["orbit"].arn : null

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
    target_group_arn = aws_lb_target_group.service["orbit"].arn
  }
}

resource "aws_lb_listener_rule" "axon" {
  for_each = { for name, rule in local.axon_rules : name => rule if var.expose_axon }

  listener_arn = local.listener_arn
  priority     = each.value.priority

  action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.service["axon"].arn
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

  tags = { Name = "${var.project}-axon-${each.key}" }
}

# ECS accepts only target groups that a load balancer uses, and axon's target health is needed even
# where no request is forwarded to it. A weight of 0 makes the group used; orbit answers 404.
resource "aws_lb_listener_rule" "axon_unexposed" {
  count = var.expose_axon ? 0 : 1

  listener_arn = local.listener_arn
  priority     = local.axon_rules.reason.priority

  action {
    type = "forward"

    forward {
      target_group {
        arn    = aws_lb_target_group.service["orbit"].arn
        weight = 1
      }

      target_group {
        arn    = aws_lb_target_group.service["axon"].arn
        weight = 0
      }
    }
  }

  condition {
    path_pattern {
      values = [local.axon_rules.reason.path]
    }
  }

  tags = { Name = "${var.project}-axon-unexposed" }
}
