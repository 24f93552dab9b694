output "name" {
  value = aws_lambda_function.function.function_name
}

output "alias" {
  value = aws_lambda_alias.live.name
}

output "alias_arn" {
  value = aws_lambda_alias.live.arn
}
