# The outputs: all that xtask needs to know about this environment, in one document.

locals {
  # A precondition of the parameter below reports a missing endpoint.
  emulator      = var.emulated ? coalesce(var.endpoint, "missing") : null
  emulator_port = var.emulated ? try(regex("[0-9]+$", local.emulator), "missing") : null

  # Docker accepts a registry without TLS on localhost only.
  registry = var.emulated ? "localhost:${local.emulator_port}" : "${var.account_id}.dkr.ecr.${var.region}.amazonaws.com"

  base_url = (
    var.emulated ? "${local.emulator}/_alb/${module.cluster.load_balancer_name}" :
    var.https != null ? "https://${var.https.domain_name}" :
    "http://${module.cluster.load_balancer_dns_name}"
  )

  # The local AWS has no DNS for service discovery: orbit calls axon through the load balancer, by
  # a host name that leaves the path as it is, at the address of this host inside a container.
  discovery = var.emulated ? {
    AXON_SERVICE_URL = "http://${module.cluster.load_balancer_name}.alb.localhost/reason"
    AXON_CONNECT_TO  = "host.docker.internal:${local.emulator_port}"
  } : {}

  extra_environment = {
    axon  = var.service_environment.axon
    orbit = merge(local.discovery, var.service_environment.orbit)
  }

  # The headers by which the load balancer routes /health to each service.
  probe_headers = merge(
    { orbit = {} },
    var.expose_axon ? { axon = { "X-Service" = "axon" } } : {},
  )

  outputs = {
    version            = 2
    project            = var.project
    environment        = var.environment
    region             = var.region
    account_id         = var.account_id
    architecture       = var.architecture
    cluster            = module.cluster.name
    namespace          = module.cluster.namespace
    registry           = local.registry
    execution_role_arn = module.security.execution_role_arn
    base_url           = local.base_url
    infra_sha256       = var.infra_sha256

    services = {
      for name in local.services : name => {
        ecs_service      = module.service[name].ecs_service
        repository       = module.registry.names[name]
        task_role_arn    = module.security.task_role_arns[name]
        secret_arn       = module.security.secret_arns[name]
        log_group        = local.log_groups[name]
        target_group_arn = module.cluster.target_groups[name].arn
        desired_count    = var.desired_counts[name]
        port             = local.port
        environment      = local.extra_environment[name]
        probe = contains(keys(local.probe_headers), name) ? {
          url     = "${local.base_url}/health"
          headers = local.probe_headers[name]
        } : null
      }
    }

    functions = {
      governance = {
        name      = module.governance.name
        alias     = module.governance.alias
        log_group = module.governance.log_group
      }
    }
  }
}

resource "aws_ssm_parameter" "outputs" {
  #checkov:skip=CKV2_AWS_34:holds names and addresses, no secrets

  name        = "/${var.project}/${var.environment}/outputs"
  description = "What Terraform created for this environment, as xtask reads it."
  type        = "String"
  value       = jsonencode(local.outputs)

  lifecycle {
    precondition {
      condition     = length(jsonencode(local.outputs)) <= 4096
      error_message = "The outputs exceed the 4096 bytes of a standard parameter."
    }
    precondition {
      condition     = !var.emulated || can(regex("^http://127\\.0\\.0\\.1:[0-9]+$", var.endpoint))
      error_message = "The endpoint of an emulated environment must be http://127.0.0.1:PORT."
    }
    precondition {
      condition     = var.emulated || var.nat_gateway || var.interface_endpoints
      error_message = "Tasks can't pull their image without a NAT gateway or interface endpoints."
    }
  }
}

output "environment" {
  description = "The same document as the parameter `/<project>/<environment>/outputs`."
  value       = local.outputs
}
