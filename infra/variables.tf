# Everything that can differ between environments. The values are in
# environments/<name>.tfvars.json, which xtask reads as well.

variable "project" {
  description = "Prefix of every name."
  type        = string

  # Each AWS service has its own rules for names, and every name begins with this prefix.
  validation {
    condition     = can(regex("^[a-z][a-z0-9]*(-[a-z0-9]+)*$", var.project)) && length(var.project) >= 2 && length(var.project) <= 16
    error_message = "Use 2 to 16 characters of a-z, 0-9 and single inner hyphens, beginning with a letter: a load balancer's name has at most 32 characters, and ECR allows a hyphen only between letters and digits."
  }

  validation {
    condition     = !can(regex("^(aws|ssm)", var.project)) && !can(regex("^(internal|sg|sthree|amzn)(-|$)", var.project))
    error_message = "AWS reserves these prefixes: aws and ssm (SSM), internal- (load balancers), sg- (security groups), sthree- and amzn- (S3)."
  }
}

variable "name_prefix" {
  description = "Prefix of every name instead of `project`, for an account that holds more than one environment; null is `project`."
  type        = string
  default     = null

  validation {
    condition     = var.name_prefix == null || can(regex("^[a-z][a-z0-9]*(-[a-z0-9]+)*$", var.name_prefix)) && !can(regex("^aws", var.name_prefix)) && !can(regex("^(internal|sg|sthree|amzn)(-|$)", var.name_prefix))
    error_message = "Use a-z, 0-9 and single inner hyphens, beginning with a letter, but not with aws, internal-, sg-, sthree- or amzn-: AWS reserves these."
  }

  validation {
    condition     = alltrue([for name in concat(["lb"], keys(module.catalog.services)) : length("${coalesce(var.name_prefix, var.project)}-${name}") <= 32])
    error_message = "Use a shorter prefix: ${coalesce(var.name_prefix, var.project)}-<name> has at most 32 characters, the limit of load balancers and target groups, for lb and for each service of the catalog: ${join(", ", keys(module.catalog.services))}."
  }

  validation {
    condition     = length(coalesce(var.name_prefix, var.project)) + length(var.environment) <= 37
    error_message = "Use a shorter prefix: with the environment's name it has at most 37 characters, as a bucket's name has at most 63."
  }
}

variable "environment" {
  description = "Name of the environment, and of its files in environments/."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9]*(-[a-z0-9]+)*$", var.environment)) && length(var.environment) >= 2 && length(var.environment) <= 16
    error_message = "Use 2 to 16 characters of a-z, 0-9 and single inner hyphens, beginning with a letter: the name is part of domain names."
  }
}

variable "region" {
  description = "AWS region of all resources."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}-[a-z]+-[0-9]$", var.region))
    error_message = "Use a region of the standard partition, such as us-east-1."
  }
}

variable "account_id" {
  description = "The only account that this environment may be applied to."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "Use 12 digits."
  }
}

variable "emulated" {
  description = "Whether this environment is the local AWS, whose addresses have the emulator's form."
  type        = bool
}

variable "endpoint" {
  description = "URL of the AWS API, if it is not AWS's own."
  type        = string
  default     = null

  validation {
    condition     = var.endpoint == null || can(regex("^https?://[^/]+$", var.endpoint))
    error_message = "Use a URL without a path, or null."
  }
}

variable "architecture" {
  description = "CPU architecture of the services and the function, as ECS spells it."
  type        = string

  validation {
    condition     = contains(["X86_64", "ARM64"], var.architecture)
    error_message = "Use X86_64 or ARM64."
  }
}

variable "infra_sha256" {
  description = "Hash of these sources and variables, by which xtask knows what was applied; the default matches none."
  type        = string
  default     = "0000000000000000000000000000000000000000000000000000000000000000"

  validation {
    condition     = can(regex("^[0-9a-f]{64}$", var.infra_sha256))
    error_message = "Use 64 lower-case hexadecimal digits."
  }
}

variable "catalog" {
  description = "Text of a catalog, for tests; null reads services/catalog.json."
  type        = string
  default     = null
}

variable "released_services" {
  description = "Services that have been released once, which xtask knows; only these are scaled automatically."
  type        = set(string)
  default     = []
}

variable "desired_counts" {
  description = "By service, the number of tasks that its first release starts, and the minimum of autoscaling; 2 where it is missing."
  type        = map(number)
  default     = {}

  validation {
    condition     = alltrue([for count in values(var.desired_counts) : count >= 1 && floor(count) == count])
    error_message = "Use whole numbers from 1."
  }

  validation {
    condition     = length(setsubtract(keys(var.desired_counts), module.catalog.all_services)) == 0
    error_message = "Not a service of the catalog: ${join(", ", setsubtract(keys(var.desired_counts), module.catalog.all_services))}."
  }
}

variable "shared_environment" {
  description = "Settings that are added to the template of every service, or replace its own."
  type        = map(string)
  default     = {}
}

variable "service_environment" {
  description = "By service, settings that are added to its template, or replace its own and the shared ones."
  type        = map(map(string))
  default     = {}

  validation {
    condition     = length(setsubtract(keys(var.service_environment), module.catalog.all_services)) == 0
    error_message = "Not a service of the catalog: ${join(", ", setsubtract(keys(var.service_environment), module.catalog.all_services))}."
  }
}

variable "health" {
  description = "How the load balancer checks targets and lets go of them, in seconds and numbers of checks, and for how long ECS ignores failed checks of a new task."
  type = object({
    interval             = number
    timeout              = number
    healthy_threshold    = number
    unhealthy_threshold  = number
    deregistration_delay = number
    grace_period         = number
  })
  # A task drains by itself after SIGTERM; the default delay of 300 s would only slow releases down.
  default = {
    interval             = 10
    timeout              = 5
    healthy_threshold    = 2
    unhealthy_threshold  = 3
    deregistration_delay = 15
    grace_period         = 30
  }

  validation {
    condition     = var.health.interval >= 5 && var.health.timeout < var.health.interval
    error_message = "The interval is at least 5 seconds, and longer than the timeout."
  }
}

variable "expose" {
  description = "By service, whether the load balancer forwards its routes, where this environment differs from the catalog."
  type        = map(bool)
  default     = {}

  validation {
    condition     = length(setsubtract(keys(var.expose), module.catalog.all_services)) == 0
    error_message = "Not a service of the catalog: ${join(", ", setsubtract(keys(var.expose), module.catalog.all_services))}."
  }
}

variable "vpc_cidr" {
  description = "Address range of the network; a /16 gives subnets of 4096 addresses."
  type        = string

  validation {
    condition     = can(cidrsubnet(var.vpc_cidr, 4, 15))
    error_message = "Use an IPv4 range that can be divided into 16 subnets."
  }
}

variable "nat_gateway" {
  description = "Whether tasks reach the AWS APIs through one NAT gateway."
  type        = bool
}

variable "interface_endpoints" {
  description = "Whether tasks reach the AWS APIs through interface endpoints in the network."
  type        = bool
}

variable "https" {
  description = "Certificate of the load balancer and its domain name; null serves plain HTTP, and is allowed for the local AWS only."
  type = object({
    certificate_arn = string
    domain_name     = string
  })
  default = null

  validation {
    condition     = var.emulated || var.https != null
    error_message = "An AWS environment serves HTTPS: set certificate_arn and domain_name of https."
  }

  validation {
    condition     = var.https == null || startswith(try(var.https.certificate_arn, ""), "arn:aws:acm:${var.region}:${var.account_id}:certificate/")
    error_message = "Use a certificate of ACM in this account and region: a load balancer accepts no other."
  }

  validation {
    condition     = var.https == null || can(regex("^([a-z0-9-]+\\.)+[a-z]+$", var.https.domain_name))
    error_message = "Use a domain name such as staging.example.com."
  }
}

variable "autoscaling" {
  description = "Maximum number of tasks of each service, and the target CPU utilization in percent; null turns autoscaling off."
  type = object({
    tasks_max   = number
    cpu_percent = number
  })
  default = null
}

variable "alarms" {
  description = "SNS topics of the alarms, and whether ECS rolls back a deployment during which a service's alarms go off; null creates no alarm."
  type = object({
    topic_arns       = list(string)
    stop_deployments = optional(bool, false)
  })
  default = null
}

variable "audit_logs" {
  description = "Whether the VPC's flows and the load balancer's requests are logged."
  type        = bool
}

variable "log_retention_days" {
  description = "How long logs are kept."
  type        = number

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365], var.log_retention_days)
    error_message = "Use one of the periods that CloudWatch Logs supports."
  }
}

variable "disposable" {
  description = "Whether a destroy deletes images, secret values and request logs at once."
  type        = bool
}
