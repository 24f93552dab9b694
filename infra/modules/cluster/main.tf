# The ECS cluster, and the DNS namespace by which services find each other.

resource "aws_ecs_cluster" "main" {
  name = "${var.prefix}-${var.environment}"

  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

resource "aws_service_discovery_private_dns_namespace" "main" {
  name        = "${var.prefix}.${var.environment}"
  description = "Services by name"
  vpc         = var.vpc_id
}
