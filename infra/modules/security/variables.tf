variable "project" {
  type = string
}

variable "environment" {
  type = string
}

variable "region" {
  type = string
}

variable "account_id" {
  type = string
}

variable "services" {
  type = set(string)
}

variable "repository_arns" {
  description = "Repositories that ECS may pull from."
  type        = list(string)
}

variable "task_log_groups" {
  description = "Names of the log groups that ECS may write to."
  type        = list(string)
}

variable "other_log_groups" {
  description = "Names of all other log groups that the key encrypts."
  type        = list(string)
}

variable "function_alias_arn" {
  description = "The only alias that orbit may invoke."
  type        = string
}

variable "disposable" {
  description = "Whether a destroy deletes secret values at once."
  type        = bool
}
