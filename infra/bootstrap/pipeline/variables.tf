variable "project" {
  type = string
}

variable "prefix" {
  description = "Prefix of the environment's names."
  type        = string
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

variable "provider_arn" {
  description = "The identity provider of GitHub Actions."
  type        = string
}

variable "services" {
  type = set(string)
}

variable "functions" {
  type = set(string)
}
