output "state_bucket" {
  description = "The bucket that ../environments/<name>.s3.tfbackend names."
  value       = aws_s3_bucket.state.id
}

output "roles" {
  description = "The roles that jobs of the pipeline assume: `deploy` in GitHub's environment `<environment>`, `plan` in `<environment>-plan`."
  value       = module.pipeline.roles
}
