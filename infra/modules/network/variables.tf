variable "project" {
  type = string
}

variable "region" {
  type = string
}

variable "cidr" {
  description = "Addresses of the network."
  type        = string
}

variable "port" {
  description = "Where services listen."
  type        = number
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
  description = "Whether tasks reach the AWS APIs through endpoints inside the network."
  type        = bool
}
