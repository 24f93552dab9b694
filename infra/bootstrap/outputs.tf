output "state_bucket" {
  description = "As ../environments/<name>.s3.tfbackend names it."
  value       = aws_s3_bucket.state.id
}

output "roles" {
  description = "What jobs of the pipeline become: `deploy` those of the environment, `plan` those of `<environment>-plan`."
  value       = module.pipeline.roles
}
