# One environment, from the network to the services, which have no tasks before the first release.

locals {
  services = toset(["axon", "orbit"])
  port     = 80

  log_groups = { for name in local.services : name => "/ecs/${var.project}-${name}" }

  # Names and not references, which would be a cycle: the key's policy names the log groups, and
  # the log groups name the key.
  function_log_group = "/aws/lambda/${var.project}-governance"
  flow_log_group     = "/vpc/${var.project}"
}

module "network" {
  source = "./modules/network"

  project             = var.project
  region              = var.region
  cidr                = var.vpc_cidr
  port                = local.port
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

  project    = var.project
  services   = local.services
  key_arn    = module.security.key_arn
  disposable = var.disposable
}

module "governance" {
  source = "./modules/governance"

  project            = var.project
  region             = var.region
  account_id         = var.account_id
  architecture       = var.architecture
  log_group          = local.function_log_group
  log_retention_days = var.log_retention_days
  key_arn            = module.security.key_arn
  alarms             = var.alarms
}

module "security" {
  source = "./modules/security"

  project            = var.project
  environment        = var.environment
  region             = var.region
  account_id         = var.account_id
  services           = local.services
  repository_arns    = values(module.registry.arns)
  task_log_groups    = values(local.log_groups)
  other_log_groups   = [local.function_log_group, local.flow_log_group]
  function_alias_arn = module.governance.alias_arn
  disposable         = var.disposable
}

module "cluster" {
  source = "./modules/cluster"

  project            = var.project
  environment        = var.environment
  region             = var.region
  account_id         = var.account_id
  services           = local.services
  port               = local.port
  expose_axon        = var.expose_axon
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

  name               = each.key
  project            = var.project
  architecture       = var.architecture
  port               = local.port
  cluster_name       = module.cluster.name
  namespace_id       = module.cluster.namespace_id
  target_group       = module.cluster.target_groups[each.key]
  subnet_ids         = module.network.private_subnet_ids
  security_group_id  = module.network.service_security_group_ids[each.key]
  log_group          = local.log_groups[each.key]
  log_retention_days = var.log_retention_days
  key_arn            = module.security.key_arn
  tasks_min          = var.desired_counts[each.key]
  autoscaling        = var.autoscaling
  alarms             = var.alarms
}
