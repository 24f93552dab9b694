output "state_bucket" {
  description = "The bucket that ../environments/<name>.s3.tfbackend names."
  value       = aws_s3_bucket.state.id
}

output "roles" {
  description = "By environment, the roles that jobs of the pipeline assume: `deploy` in GitHub's environment `<environment>`, `plan` in `<environment>-plan`."
  value       = { for environment, pipeline in module.pipeline : environment => pipeline.roles }
}
