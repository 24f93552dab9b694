output "ecs_service" {
  value = aws_ecs_service.service.name
}
