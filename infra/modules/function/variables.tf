variable "name" {
  type = string
}

variable "prefix" {
  type = string
}

variable "account_id" {
  type = string
}

variable "architecture" {
  description = "CPU architecture as ECS spells it: X86_64 or ARM64."
  type        = string
}

variable "log_group_arn" {
  type = string
}

variable "alarms" {
  description = "SNS topics of the alarm; null creates none."
  type = object({
    topic_arns = list(string)
  })
}
