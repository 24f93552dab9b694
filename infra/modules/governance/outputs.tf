output "name" {
  value = aws_lambda_function.governance.function_name
}

output "alias" {
  value = aws_lambda_alias.live.name
}

output "alias_arn" {
  value = aws_lambda_alias.live.arn
}

output "log_group" {
  value = aws_cloudwatch_log_group.function.name
}
