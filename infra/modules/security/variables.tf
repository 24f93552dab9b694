variable "prefix" {
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
  description = "Services that have tasks."
  type        = set(string)
}

variable "secrets" {
  description = "Services that have a secret, retired ones included."
  type        = set(string)
}

variable "repository_arns" {
  description = "Repositories that ECS may pull from."
  type        = list(string)
}

variable "task_log_groups" {
  description = "Names of the log groups that ECS may write to."
  type        = list(string)
}

variable "log_groups" {
  description = "Names of all log groups, which the key encrypts."
  type        = list(string)
}

variable "invocations" {
  description = "By service, the aliases of functions that it may invoke."
  type        = map(list(string))
}

variable "disposable" {
  description = "Whether a destroy deletes secret values at once."
  type        = bool
}
