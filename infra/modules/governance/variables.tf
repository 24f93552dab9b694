variable "project" {
  type = string
}

variable "region" {
  type = string
}

variable "account_id" {
  type = string
}

variable "architecture" {
  description = "As ECS spells it: X86_64 or ARM64."
  type        = string
}

variable "log_group" {
  type = string
}

variable "log_retention_days" {
  type = number
}

variable "key_arn" {
  description = "Encrypts the log at rest."
  type        = string
}

variable "alarms" {
  description = "Where alarms are sent to; null makes none."
  type = object({
    topic_arns = list(string)
  })
}
