output "roles" {
  value = { for name, role in aws_iam_role.job : name => role.arn }
}
