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

variable "repository" {
  description = "As the subject claim has it."
  type        = string
}

variable "services" {
  type = set(string)
}
