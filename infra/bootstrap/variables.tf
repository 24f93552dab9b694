# The variables of ../variables.tf that the account's own resources need; their values come from
# the environment's file. `repository` is the same for all accounts: repository.auto.tfvars.json.

variable "project" {
  description = "Prefix of every name."
  type        = string

  # The same rules as in ../variables.tf: a bucket can't be renamed once it exists.
  validation {
    condition     = can(regex("^[a-z][a-z0-9]*(-[a-z0-9]+)*$", var.project)) && length(var.project) >= 2 && length(var.project) <= 16
    error_message = "Use 2 to 16 characters of a-z, 0-9 and single inner hyphens, beginning with a letter: a load balancer's name has at most 32 characters, and ECR allows a hyphen only between letters and digits."
  }

  validation {
    condition     = !can(regex("^(aws|ssm)", var.project)) && !can(regex("^(internal|sg|sthree|amzn)(-|$)", var.project))
    error_message = "AWS reserves these prefixes: aws and ssm (SSM), internal- (load balancers), sg- (security groups), sthree- and amzn- (S3)."
  }
}

variable "region" {
  description = "AWS region of all resources."
  type        = string
}

variable "account_id" {
  description = "The only account that this may be applied to."
  type        = string
}

variable "environments" {
  description = "The folder of the environments' files, below or beside this one."
  type        = string
  default     = "../environments"
}

variable "repository" {
  description = "The repository on GitHub, as the subject claim of its tokens spells it after `repo:`; for a repository created after June 2026 that includes numeric ids."
  type        = string

  validation {
    # The claim is compared literally: a wildcard would match nothing.
    condition     = can(regex("^[A-Za-z0-9._@-]+/[A-Za-z0-9._@-]+$", var.repository))
    error_message = "Use OWNER/REPOSITORY, as `gh api repos/OWNER/REPOSITORY/actions/oidc/customization/sub` shows it."
  }
}
