output "key_arn" {
  value = local.key_arn
}

output "execution_role_arn" {
  value = aws_iam_role.execution.arn
}

output "task_role_arns" {
  value = { for name, role in aws_iam_role.task : name => role.arn }
}

output "secret_arns" {
  value = local.secret_arns
}
