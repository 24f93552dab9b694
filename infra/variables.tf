# Everything that may differ between environments. The values are in
# environments/<name>.tfvars.json, which xtask reads as well.

variable "project" {
  description = "Prefix of every name."
  type        = string

  # Each service of AWS has rules of its own for the names that begin with this.
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
  description = "Name of the environment, and of its files in environments/."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9]*(-[a-z0-9]+)*$", var.environment)) && length(var.environment) >= 2 && length(var.environment) <= 16
    error_message = "2 to 16 of a-z, 0-9 and single hyphens inside, beginning with a letter: it is a part of domain names."
  }
}

variable "region" {
  description = "AWS region that everything is in."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}-[a-z]+-[0-9]$", var.region))
    error_message = "A region of the standard partition, such as us-east-1."
  }
}

variable "account_id" {
  description = "The only account that this environment may be applied to."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "12 digits."
  }
}

variable "emulated" {
  description = "Whether this environment is the local AWS: addresses take the emulator's forms."
  type        = bool
}

variable "endpoint" {
  description = "Where the AWS API answers, if not at AWS's own addresses."
  type        = string
  default     = null

  validation {
    condition     = var.endpoint == null || can(regex("^https?://[^/]+$", var.endpoint))
    error_message = "A URL without a path, or null."
  }
}

variable "architecture" {
  description = "Processor of the services and the function, as ECS spells it."
  type        = string

  validation {
    condition     = contains(["X86_64", "ARM64"], var.architecture)
    error_message = "X86_64 or ARM64."
  }
}

variable "infra_sha256" {
  description = "Hash of these sources and variables, by which xtask knows what was applied; the default is nobody's."
  type        = string
  default     = "0000000000000000000000000000000000000000000000000000000000000000"

  validation {
    condition     = can(regex("^[0-9a-f]{64}$", var.infra_sha256))
    error_message = "64 hexadecimal digits."
  }
}

variable "desired_counts" {
  description = "For each service, how many tasks its first release starts."
  type = object({
    axon  = number
    orbit = number
  })

  validation {
    condition     = alltrue([for count in values(var.desired_counts) : count >= 1 && floor(count) == count])
    error_message = "Whole numbers from 1."
  }
}

variable "service_environment" {
  description = "For each service, settings that its template does not have, or has with another value."
  type = object({
    axon  = map(string)
    orbit = map(string)
  })
}

variable "expose_axon" {
  description = "Whether the load balancer forwards /reason and axon's /health from outside."
  type        = bool
}

variable "vpc_cidr" {
  description = "Addresses of the network; a /16 makes subnets of 4096."
  type        = string

  validation {
    condition     = can(cidrsubnet(var.vpc_cidr, 4, 15))
    error_message = "An IPv4 range that can be divided by 16."
  }
}

variable "nat_gateway" {
  description = "Whether tasks reach the AWS APIs through one NAT gateway."
  type        = bool
}

variable "interface_endpoints" {
  description = "Whether tasks reach the AWS APIs through endpoints inside the network."
  type        = bool
}

variable "https" {
  description = "Certificate of the load balancer and the name that it is for; null, which only the local AWS may have, serves plain HTTP."
  type = object({
    certificate_arn = string
    domain_name     = string
  })
  default = null

  validation {
    condition     = var.emulated || var.https != null
    error_message = "An AWS environment serves HTTPS: give https a certificate_arn and a domain_name."
  }

  validation {
    condition     = var.https == null || startswith(try(var.https.certificate_arn, ""), "arn:aws:acm:${var.region}:${var.account_id}:certificate/")
    error_message = "The certificate is one of ACM, of this account and in this region: a load balancer takes no other."
  }

  validation {
    condition     = var.https == null || can(regex("^([a-z0-9-]+\\.)+[a-z]+$", var.https.domain_name))
    error_message = "A domain name such as staging.example.com."
  }
}

variable "autoscaling" {
  description = "Upper bound of tasks, and the CPU use in percent to hold; null until the first release has succeeded."
  type = object({
    tasks_max   = number
    cpu_percent = number
  })
  default = null
}

variable "alarms" {
  description = "Where alarms are sent to, and whether those of a service make ECS roll back a deployment during which they go off; null makes none."
  type = object({
    topic_arns       = list(string)
    stop_deployments = optional(bool, false)
  })
  default = null
}

variable "audit_logs" {
  description = "Whether the network's flows and the load balancer's requests are logged."
  type        = bool
}

variable "log_retention_days" {
  description = "How long logs are kept."
  type        = number

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365], var.log_retention_days)
    error_message = "One of the periods that CloudWatch Logs knows."
  }
}

variable "disposable" {
  description = "Whether a destroy takes images and secret values with it, at once and for good."
  type        = bool
}
