# The outputs: all that xtask needs to know of this environment, in one document.

locals {
  # A missing endpoint is the precondition's to tell.
  emulator      = var.emulated ? coalesce(var.endpoint, "missing") : null
  emulator_port = var.emulated ? try(regex("[0-9]+$", local.emulator), "missing") : null

  # Docker takes registries on localhost, and only there, without TLS.
  registry = var.emulated ? "localhost:${local.emulator_port}" : "${var.account_id}.dkr.ecr.${var.region}.amazonaws.com"

  base_url = (
    var.emulated ? "${local.emulator}/_alb/${module.cluster.load_balancer_name}" :
    var.https != null ? "https://${var.https.domain_name}" :
    "http://${module.cluster.load_balancer_dns_name}"
  )

  # The local AWS has no DNS for service discovery: orbit asks the load balancer by a
  # name that leaves host and path alone, at the address where a container finds it.
  discovery = var.emulated ? {
    AXON_SERVICE_URL = "http://${module.cluster.load_balancer_name}.alb.localhost/reason"
    AXON_CONNECT_TO  = "host.docker.internal:${local.emulator_port}"
  } : {}

  extra_environment = {
    axon  = var.service_environment.axon
    orbit = merge(local.discovery, var.service_environment.orbit)
  }

  # How each service's /health is asked through the load balancer.
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
  #checkov:skip=CKV2_AWS_34:names and addresses, which are no secret

  name        = "/${var.project}/${var.environment}/outputs"
  description = "What Terraform built for this environment, as xtask reads it."
  type        = "String"
  value       = jsonencode(local.outputs)

  lifecycle {
    precondition {
      condition     = length(jsonencode(local.outputs)) <= 4096
      error_message = "The outputs are longer than the 4096 bytes of a standard parameter."
    }
    precondition {
      condition     = !var.emulated || can(regex("^http://127\\.0\\.0\\.1:[0-9]+$", var.endpoint))
      error_message = "The endpoint of an emulated environment is http://127.0.0.1:PORT."
    }
    precondition {
      condition     = var.emulated || var.nat_gateway || var.interface_endpoints
      error_message = "Without a NAT gateway or interface endpoints no task can pull its image."
    }
  }
}

output "outputs" {
  description = "The same document as the parameter `/<project>/<environment>/outputs`."
  value       = local.outputs
}
