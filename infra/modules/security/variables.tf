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
  description = "What ECS may pull."
  type        = list(string)
}

variable "task_log_groups" {
  description = "Names of the groups that ECS may write to."
  type        = list(string)
}

variable "other_log_groups" {
  description = "Names of all other groups that the key encrypts."
  type        = list(string)
}

variable "function_alias_arn" {
  description = "The only component that orbit may invoke."
  type        = string
}

variable "disposable" {
  description = "Whether a destroy takes secret values with it, at once."
  type        = bool
}
