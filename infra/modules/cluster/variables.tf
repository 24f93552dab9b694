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

variable "port" {
  description = "The port that services listen on."
  type        = number
}

variable "expose_axon" {
  description = "Whether the load balancer forwards requests to axon."
  type        = bool
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
