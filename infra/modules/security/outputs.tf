output "key_arn" {
  value = aws_kms_key.main.arn
}

output "execution_role_arn" {
  value = aws_iam_role.execution.arn
}

output "task_role_arns" {
  value = { for name, role in aws_iam_role.task : name => role.arn }
}

output "secret_arns" {
  value = { for name, secret in aws_secretsmanager_secret.service : name => secret.arn }
}
