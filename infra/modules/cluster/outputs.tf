output "name" {
  value = aws_ecs_cluster.main.name
}

output "namespace" {
  value = aws_service_discovery_private_dns_namespace.main.name
}

output "namespace_id" {
  value = aws_service_discovery_private_dns_namespace.main.id
}

output "load_balancer_name" {
  value = aws_lb.main.name
}

output "load_balancer_dns_name" {
  value = aws_lb.main.dns_name
}

output "target_groups" {
  description = "For each service, its target group; the ARN suffixes are dimensions of CloudWatch's metrics."
  value = {
    for name, group in aws_lb_target_group.service : name => {
      arn                      = group.arn
      arn_suffix               = group.arn_suffix
      load_balancer_arn_suffix = aws_lb.main.arn_suffix
    }
  }

  # ECS refuses a target group that no listener uses.
  depends_on = [
    aws_lb_listener.http,
    aws_lb_listener.https,
    aws_lb_listener_rule.route,
  ]
}
