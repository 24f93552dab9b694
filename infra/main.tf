# One environment, from the network to the services, which have no tasks before the first release.
# What it consists of is in services/catalog.json.

locals {
  prefix = coalesce(var.name_prefix, var.project)

  # The local AWS has no service discovery, so there every service is reached by the load balancer.
  services = {
    for name, service in module.catalog.services : name => merge(service, {
      routes = [
        for route in service.routes :
        merge(route, { exposed = var.emulated || lookup(var.expose, name, route.exposed) })
      ]
    })
  }
  functions = module.catalog.functions

  ports           = { for name, service in local.services : name => service.port }
  default_service = one([for name, service in local.services : name if service.default_route])

  # Before a service's first release autoscaling would start its placeholder, up to the minimum.
  autoscaling = {
    for name in keys(local.services) : name => contains(var.released_services, name) ? var.autoscaling : null
  }

  log_groups = merge(
    { for name in module.catalog.all_services : name => "/ecs/${local.prefix}-${name}" },
    { for name in module.catalog.all_functions : name => "/aws/lambda/${local.prefix}-${name}" },
  )

  # A name and not a reference, which would be a cycle: the key's policy names the log group, and
  # the log group names the key.
  flow_log_group = "/vpc/${local.prefix}"
}

module "catalog" {
  source = "./modules/catalog"

  document = coalesce(var.catalog, file("${path.module}/../services/catalog.json"))
}

module "network" {
  source = "./modules/network"

  prefix              = local.prefix
  region              = var.region
  cidr                = var.vpc_cidr
  ports               = local.ports
  calls               = { for name, service in local.services : name => keys(service.calls) }
  https               = var.https != null
  nat_gateway         = var.nat_gateway
  interface_endpoints = var.interface_endpoints
  account_id          = var.account_id
  audit_logs          = var.audit_logs
  flow_log_group      = local.flow_log_group
  log_retention_days  = var.log_retention_days
  key_arn             = module.security.key_arn
}

module "registry" {
  source = "./modules/registry"

  prefix     = local.prefix
  services   = module.catalog.all_services
  key_arn    = module.security.key_arn
  disposable = var.disposable
}

# Not in the modules of services and functions: the log of a retired component stays.
resource "aws_cloudwatch_log_group" "component" {
  for_each = local.log_groups

  name              = each.value
  retention_in_days = var.log_retention_days
  kms_key_id        = module.security.key_arn
}

module "function" {
  source   = "./modules/function"
  for_each = local.functions

  name          = each.key
  prefix        = local.prefix
  account_id    = var.account_id
  architecture  = var.architecture
  log_group_arn = aws_cloudwatch_log_group.component[each.key].arn
  alarms        = var.alarms
}

module "security" {
  source = "./modules/security"

  prefix          = local.prefix
  environment     = var.environment
  region          = var.region
  account_id      = var.account_id
  services        = toset(keys(local.services))
  secrets         = module.catalog.all_services
  repository_arns = [for name in keys(local.services) : module.registry.arns[name]]
  task_log_groups = [for name in keys(local.services) : local.log_groups[name]]
  log_groups      = concat(values(local.log_groups), [local.flow_log_group])
  invocations = {
    for name, service in local.services :
    name => [for function in service.invocations : module.function[function].alias_arn]
  }
  disposable = var.disposable
}

module "cluster" {
  source = "./modules/cluster"

  prefix             = local.prefix
  environment        = var.environment
  region             = var.region
  account_id         = var.account_id
  ports              = local.ports
  health             = var.health
  routes             = { for name, service in local.services : name => service.routes }
  default_service    = local.default_service
  https              = var.https
  vpc_id             = module.network.vpc_id
  subnet_ids         = module.network.public_subnet_ids
  security_group_id  = module.network.load_balancer_security_group_id
  audit_logs         = var.audit_logs
  log_retention_days = var.log_retention_days
  disposable         = var.disposable
}

module "service" {
  source   = "./modules/service"
  for_each = local.services

  name              = each.key
  prefix            = local.prefix
  architecture      = var.architecture
  port              = each.value.port
  cluster_name      = module.cluster.name
  namespace_id      = module.cluster.namespace_id
  target_group      = module.cluster.target_groups[each.key]
  subnet_ids        = module.network.private_subnet_ids
  security_group_id = module.network.service_security_group_ids[each.key]
  grace_period      = var.health.grace_period
  tasks_min         = lookup(var.desired_counts, each.key, 2)
  alarms            = var.alarms
  alarm_figures     = each.value.alarms
  alarm_outcomes    = each.value.alarm_outcomes

  autoscaling = local.autoscaling[each.key]
}
