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
  description = "The repository on GitHub, as the subject claim of its tokens spells it."
  type        = string
}

variable "services" {
  type = set(string)
}
