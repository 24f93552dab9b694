# Those of ../variables.tf that an account needs before its environment: they come from the same
# file. What the pipeline is, repository.auto.tfvars.json says for all accounts.

variable "project" {
  description = "Prefix of every name."
  type        = string

  # As in ../variables.tf: a bucket that was made can't be given another name.
  validation {
    condition     = can(regex("^[a-z][a-z0-9]*(-[a-z0-9]+)*$", var.project)) && length(var.project) >= 2 && length(var.project) <= 16
    error_message = "2 to 16 of a-z, 0-9 and single hyphens inside, beginning with a letter: names of load balancers end at 32, and ECR takes a hyphen only between letters and digits."
  }

  validation {
    condition     = !can(regex("^(aws|ssm)", var.project)) && !can(regex("^(internal|sg|sthree|amzn)(-|$)", var.project))
    error_message = "AWS keeps such names for itself: SSM's begin with aws and ssm, load balancers' with internal-, security groups' with sg-, and S3's with sthree- and amzn-."
  }
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
