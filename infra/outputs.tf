# The outputs: all that xtask needs to know about this environment, in one document.

locals {
  # A precondition of the item below reports a missing endpoint.
  emulator      = var.emulated ? coalesce(var.endpoint, "missing") : null
  emulator_port = var.emulated ? try(regex("[0-9]+$", local.emulator), "missing") : null

  # Docker accepts a registry without TLS on localhost only.
  registry = var.emulated ? "localhost:${local.emulator_port}" : "${var.account_id}.dkr.ecr.${var.region}.amazonaws.com"

  base_url = (
    var.emulated ? "${local.emulator}/_alb/${module.cluster.load_balancer_name}" :
    var.https != null ? "https://${var.https.domain_name}" :
    "http://${module.cluster.load_balancer_dns_name}"
  )

  # The local AWS has no DNS for service discovery: a service calls another through the load
  # balancer, by a host name that leaves the path as it is, at the address of this host inside a
  # container.
  discovery = {
    for name, service in local.services : name => merge([
      for called, path in service.calls : {
        "${upper(replace(called, "-", "_"))}_SERVICE_URL" = "http://${module.cluster.load_balancer_name}.alb.localhost${path}"
        "${upper(replace(called, "-", "_"))}_CONNECT_TO"  = "host.docker.internal:${local.emulator_port}"
      } if var.emulated
    ]...)
  }

  # The headers by which the load balancer routes /health to each service: none to the default one.
  probe_headers = {
    for name, service in local.services : name => concat(
      [for route in service.routes : route.headers if route.exposed && route.path == "/health"],
      service.default_route ? [{}] : [],
    )
  }

  outputs = {
    version            = 3
    project            = var.project
    name_prefix        = local.prefix
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
    retired            = module.catalog.retired

    target_check_seconds = var.health.interval * var.health.unhealthy_threshold + var.health.timeout

    services = {
      for name, service in local.services : name => {
        ecs_service      = module.service[name].ecs_service
        repository       = module.registry.names[name]
        task_role_arn    = module.security.task_role_arns[name]
        secret_arn       = module.security.secret_arns[name]
        log_group        = local.log_groups[name]
        target_group_arn = module.cluster.target_groups[name].arn
        desired_count    = lookup(var.desired_counts, name, 2)
        port             = service.port
        routes           = service.routes
        environment = merge(
          local.discovery[name], var.shared_environment, lookup(var.service_environment, name, {}),
        )
        probe = length(local.probe_headers[name]) == 0 ? null : {
          url     = "${local.base_url}/health"
          headers = local.probe_headers[name][0]
        }
      }
    }

    functions = {
      for name in local.functions : name => {
        name      = module.function[name].name
        alias     = module.function[name].alias
        log_group = local.log_groups[name]
      }
    }
  }
}

# What xtask keeps about an environment. It finds the table by project and environment, so its name
# does not have the prefix.
resource "aws_dynamodb_table" "releases" {
  name                        = "${var.project}-${var.environment}-releases"
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "kind"
  range_key                   = "number"
  deletion_protection_enabled = !var.disposable

  attribute {
    name = "kind"
    type = "S"
  }

  attribute {
    name = "number"
    type = "N"
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = module.security.key_arn
  }

  point_in_time_recovery {
    enabled = true
  }
}

resource "aws_dynamodb_table_item" "outputs" {
  table_name = aws_dynamodb_table.releases.name
  hash_key   = aws_dynamodb_table.releases.hash_key
  range_key  = aws_dynamodb_table.releases.range_key

  item = jsonencode({
    kind     = { S = "outputs" }
    number   = { N = "0" }
    document = { S = jsonencode(local.outputs) }
  })

  lifecycle {
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
  description = "The same document as the item `outputs` of the table `<project>-<environment>-releases`."
  value       = local.outputs
}
