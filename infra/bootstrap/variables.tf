# Those of ../variables.tf that an account needs before its environment: they come from the same
# file. What the pipeline is, repository.auto.tfvars.json says for all accounts.

variable "project" {
  description = "Prefix of every name."
  type        = string
}

variable "environment" {
  description = "Name of the environment that the account is for."
  type        = string
}

variable "region" {
  description = "AWS region that everything is in."
  type        = string
}

variable "account_id" {
  description = "The only account that this may be applied to."
  type        = string
}

variable "repository" {
  description = "The repository on GitHub, as the subject claim of its tokens has it behind `repo:`; with numbers in it where the repository is of after June 2026."
  type        = string

  validation {
    # The claim is compared as it is: a wildcard would match nothing, and look as if it did.
    condition     = can(regex("^[A-Za-z0-9._@-]+/[A-Za-z0-9._@-]+$", var.repository))
    error_message = "OWNER/REPOSITORY, as `gh api repos/OWNER/REPOSITORY/actions/oidc/customization/sub` shows it."
  }
}
