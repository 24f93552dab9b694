output "names" {
  description = "For each service, the name of its repository."
  value       = { for name, repository in aws_ecr_repository.service : name => repository.name }
}

output "arns" {
  value = { for name, repository in aws_ecr_repository.service : name => repository.arn }
}
