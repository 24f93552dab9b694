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

variable "ports" {
  description = "By service, the port that it listens on."
  type        = map(number)
}

variable "health" {
  description = "How targets are checked, in seconds and numbers of checks."
  type = object({
    interval             = number
    timeout              = number
    healthy_threshold    = number
    unhealthy_threshold  = number
    deregistration_delay = number
  })
}

variable "routes" {
  description = "By service, the requests that the load balancer forwards to it where they are exposed, by ascending priority."
  type = map(list(object({
    priority = number
    path     = string
    headers  = map(string)
    exposed  = bool
  })))
}

variable "default_service" {
  description = "The service that gets what no route matches."
  type        = string
}

variable "https" {
  description = "Certificate of the load balancer; null serves plain HTTP."
  type = object({
    certificate_arn = string
    domain_name     = string
  })
}

variable "vpc_id" {
  type = string
}

variable "subnet_ids" {
  description = "Public subnets, for the load balancer."
  type        = list(string)
}

variable "security_group_id" {
  description = "Security group of the load balancer."
  type        = string
}

variable "disposable" {
  description = "Whether the load balancer and its log can be deleted without further steps."
  type        = bool
}

variable "audit_logs" {
  description = "Whether requests are logged."
  type        = bool
}

variable "log_retention_days" {
  type = number
}
