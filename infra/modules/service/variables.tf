variable "name" {
  description = "The service: axon or orbit. Its container has the same name."
  type        = string
}

variable "project" {
  type = string
}

variable "architecture" {
  description = "X86_64 or ARM64."
  type        = string
}

variable "port" {
  description = "Where the service listens."
  type        = number
}

variable "cluster_name" {
  type = string
}

variable "namespace_id" {
  description = "Where the service is found by name."
  type        = string
}

variable "target_group" {
  description = "Of this service; in use by a listener."
  type = object({
    arn                      = string
    arn_suffix               = string
    load_balancer_arn_suffix = string
  })
}

variable "subnet_ids" {
  description = "Private subnets, for the tasks."
  type        = list(string)
}

variable "security_group_id" {
  description = "Of the tasks."
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

variable "tasks_min" {
  description = "Autoscaling never goes below."
  type        = number
}

variable "autoscaling" {
  description = "Upper bound of tasks, and the CPU use in percent to hold; null leaves the number alone."
  type = object({
    tasks_max   = number
    cpu_percent = number
  })
}

variable "alarms" {
  description = "Where alarms are sent to, and whether they stop a deployment; null makes none."
  type = object({
    topic_arns       = list(string)
    stop_deployments = bool
  })
}
