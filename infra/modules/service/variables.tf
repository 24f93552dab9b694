variable "name" {
  description = "Name of the service and of its container."
  type        = string
}

variable "prefix" {
  type = string
}

variable "architecture" {
  description = "CPU architecture as ECS spells it: X86_64 or ARM64."
  type        = string
}

variable "port" {
  description = "The port that the service listens on."
  type        = number
}

variable "cluster_name" {
  type = string
}

variable "namespace_id" {
  description = "DNS namespace in which the service is registered."
  type        = string
}

variable "target_group" {
  description = "Target group of the service; a listener must use it already."
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
  description = "Security group of the tasks."
  type        = string
}

variable "grace_period" {
  description = "For how many seconds ECS ignores failed health checks of a new task."
  type        = number
}

variable "tasks_min" {
  description = "Minimum number of tasks of autoscaling."
  type        = number
}

variable "autoscaling" {
  description = "Maximum number of tasks, and the target CPU utilization in percent; null turns autoscaling off."
  type = object({
    tasks_max   = number
    cpu_percent = number
  })
}

variable "alarms" {
  description = "SNS topics of the alarms, and whether alarms stop a deployment; null creates no alarm."
  type = object({
    topic_arns       = list(string)
    stop_deployments = bool
  })
}

variable "alarm_figures" {
  description = "The longest that one of a hundred requests may take, and the highest percentage of requests that may be answered with 5xx."
  type = object({
    p99_ms               = number
    server_error_percent = number
  })
}

variable "alarm_outcomes" {
  description = "By called service or function, the outcomes of calls that set off an alarm."
  type        = map(list(string))
}
