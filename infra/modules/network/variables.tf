variable "prefix" {
  type = string
}

variable "region" {
  type = string
}

variable "cidr" {
  description = "Address range of the network."
  type        = string
}

variable "account_id" {
  type = string
}

variable "ports" {
  description = "By service, the port that it listens on."
  type        = map(number)
}

variable "calls" {
  description = "By service, the services that it calls."
  type        = map(list(string))
}

variable "https" {
  description = "Whether the load balancer has a certificate."
  type        = bool
}

variable "nat_gateway" {
  description = "Whether tasks reach the AWS APIs through one NAT gateway."
  type        = bool
}

variable "interface_endpoints" {
  description = "Whether tasks reach the AWS APIs through interface endpoints in the network."
  type        = bool
}

variable "audit_logs" {
  description = "Whether the VPC's flows are logged."
  type        = bool
}

variable "flow_log_group" {
  type = string
}

variable "log_retention_days" {
  type = number
}

variable "key_arn" {
  description = "Encrypts the log at rest."
  type        = string
}
