# One ECS service. xtask owns the task definition that it runs, and its desired count.

locals {
  full_name = "${var.prefix}-${var.name}"
}

resource "aws_service_discovery_service" "service" {
  name        = var.name
  description = "Tasks of ${local.full_name}"

  # The local AWS reads this one, and not that of `dns_config`.
  namespace_id = var.namespace_id

  dns_config {
    namespace_id   = var.namespace_id
    routing_policy = "MULTIVALUE"

    dns_records {
      type = "A"
      ttl  = 10
    }
  }

  # ECS reports the health of each task.
  health_check_custom_config {
    failure_threshold = 1
  }
}

# ECS can't create a service without a task definition. This one is never started, and its image
# can't be pulled. A destroy leaves it registered, like every other revision.
resource "aws_ecs_task_definition" "placeholder" {
  family                   = "${local.full_name}-placeholder"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 512
  skip_destroy             = true

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.architecture
  }

  container_definitions = jsonencode([{
    name         = var.name
    image        = "scratch"
    essential    = true
    portMappings = [{ containerPort = var.port, hostPort = var.port, protocol = "tcp" }]

    readonlyRootFilesystem = true
  }])
}

resource "aws_ecs_service" "service" {
  name            = local.full_name
  cluster         = var.cluster_name
  launch_type     = "FARGATE"
  task_definition = aws_ecs_task_definition.placeholder.arn
  desired_count   = 0

  enable_ecs_managed_tags            = true
  propagate_tags                     = "SERVICE"
  health_check_grace_period_seconds  = var.grace_period
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  # The circuit breaker sees tasks that fail to start, alarms see those that fail later. The block
  # is also there when turned off: without it the provider sends nothing, and ECS keeps its alarms.
  dynamic "alarms" {
    for_each = var.alarms[*]

    content {
      enable      = alarms.value.stop_deployments
      rollback    = true
      alarm_names = local.deployment_alarm_names
    }
  }

  network_configuration {
    subnets          = var.subnet_ids
    security_groups  = [var.security_group_id]
    assign_public_ip = false
  }

  load_balancer {
    target_group_arn = var.target_group.arn
    container_name   = var.name
    container_port   = var.port
  }

  service_registries {
    registry_arn = aws_service_discovery_service.service.arn
  }

  lifecycle {
    ignore_changes = [task_definition, desired_count, availability_zone_rebalancing]
  }
}
