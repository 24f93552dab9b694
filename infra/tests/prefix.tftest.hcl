# Names where `name_prefix` is set, for two environments of one account: every name that is unique
# in an account begins with it. `project` is in none of them but the table's, which has the
# environment.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  project     = "shop"
  environment = "second"
  prefix      = "other"
}

run "project_is_the_default" {
  assert {
    condition = jsonencode([
      output.environment.name_prefix, output.environment.cluster, output.environment.namespace,
      output.environment.services.axon.repository, output.environment.services.axon.ecs_service,
      output.environment.services.axon.log_group, output.environment.functions.governance.name,
      output.environment.functions.governance.log_group, module.cluster.load_balancer_name,
      ]) == jsonencode([
      "shop", "shop-second", "shop.second", "shop/axon", "shop-axon", "/ecs/shop-axon", "shop-governance",
      "/aws/lambda/shop-governance", "shop-lb",
    ])
    error_message = "without a prefix names begin with the project"
  }
}

run "environment" {
  variables {
    name_prefix = "other"
  }

  assert {
    condition = jsonencode([
      output.environment.name_prefix, output.environment.cluster, output.environment.namespace,
      output.environment.services.axon.repository, output.environment.services.axon.ecs_service,
      output.environment.services.axon.log_group, output.environment.functions.governance.name,
      output.environment.functions.governance.log_group, module.cluster.load_balancer_name,
      local.flow_log_group, aws_cloudwatch_dashboard.main[0].dashboard_name,
      aws_cloudwatch_log_group.component["axon"].name, aws_cloudwatch_log_group.component["governance"].name,
      ]) == jsonencode([
      "other", "other-second", "other.second", "other/axon", "other-axon", "/ecs/other-axon", "other-governance",
      "/aws/lambda/other-governance", "other-lb", "/vpc/other", "other-second", "/ecs/other-axon",
      "/aws/lambda/other-governance",
    ])
    error_message = "names begin with the prefix"
  }
  assert {
    condition     = alltrue([for widget in local.widgets : strcontains(widget.properties.metrics[0][0].expression, "{\"other\",")])
    error_message = "the dashboard shows the metrics of this environment"
  }
  assert {
    condition     = output.environment.project == "shop" && aws_dynamodb_table.releases.name == "shop-second-releases"
    error_message = "xtask finds the table by project and environment"
  }
}

run "network" {
  module {
    source = "./modules/network"
  }

  variables {
    cidr           = var.vpc_cidr
    ports          = { axon = 80 }
    calls          = { axon = [] }
    https          = true
    flow_log_group = "/vpc/other"
    key_arn        = "arn:aws:kms:us-east-1:111122223333:key/1"
  }

  assert {
    condition = jsonencode([
      aws_security_group.load_balancer.name, aws_security_group.service["axon"].name, aws_iam_role.flows[0].name,
      aws_cloudwatch_log_group.flows[0].name, aws_vpc.main.tags.Name,
    ]) == jsonencode(["other-load-balancer", "other-axon", "other-flows", "/vpc/other", "other-vpc"])
    error_message = "names begin with the prefix"
  }
}

run "security" {
  module {
    source = "./modules/security"
  }

  variables {
    services        = ["axon"]
    secrets         = ["axon"]
    repository_arns = []
    task_log_groups = []
    log_groups      = []
    invocations     = {}
  }

  assert {
    condition = jsonencode([
      aws_kms_alias.main.name, aws_secretsmanager_secret.service["axon"].name, aws_iam_role.execution.name, aws_iam_role.task["axon"].name,
    ]) == jsonencode(["alias/other-second", "other/second/axon", "other-execution", "other-axon"])
    error_message = "names begin with the prefix"
  }
}

run "cluster" {
  module {
    source = "./modules/cluster"
  }

  variables {
    health = {
      interval             = 10
      timeout              = 5
      healthy_threshold    = 2
      unhealthy_threshold  = 3
      deregistration_delay = 15
    }
    default_service   = "orbit"
    ports             = { orbit = 80 }
    routes            = { orbit = [] }
    vpc_id            = "vpc-1"
    subnet_ids        = ["subnet-1", "subnet-2"]
    security_group_id = "sg-1"
  }

  assert {
    condition = jsonencode([
      aws_ecs_cluster.main.name, aws_service_discovery_private_dns_namespace.main.name, aws_lb.main.name,
      aws_lb_target_group.service["orbit"].name, aws_s3_bucket.access_logs[0].bucket,
    ]) == jsonencode(["other-second", "other.second", "other-lb", "other-orbit", "other-second-access-logs-${var.account_id}"])
    error_message = "names begin with the prefix"
  }
  assert {
    condition = strcontains(
      jsonencode([for condition in flatten(data.aws_iam_policy_document.access_logs[0].statement[*].condition) : condition.values]), "app/other-lb/*",
    )
    error_message = "only this environment's load balancer writes the log"
  }
}

run "service" {
  module {
    source = "./modules/service"
  }

  variables {
    grace_period      = 30
    name              = "orbit"
    port              = 80
    cluster_name      = "other-second"
    namespace_id      = "ns-1"
    subnet_ids        = ["subnet-1", "subnet-2"]
    security_group_id = "sg-1"
    tasks_min         = 2
    autoscaling       = { tasks_max = 4, cpu_percent = 60 }
    alarm_figures     = { p99_ms = 1000, server_error_percent = 5 }
    alarm_outcomes    = { axon = ["failed"] }
    target_group = {
      arn                      = "arn:aws:elasticloadbalancing:us-east-1:111122223333:targetgroup/other-orbit/1"
      arn_suffix               = "targetgroup/other-orbit/1"
      load_balancer_arn_suffix = "app/other-lb/1"
    }
  }

  assert {
    condition = alltrue([
      for name in concat(
        [aws_ecs_service.service.name, aws_ecs_task_definition.placeholder.family, aws_appautoscaling_policy.cpu[0].name],
        aws_cloudwatch_metric_alarm.unhealthy_targets[*].alarm_name, aws_cloudwatch_metric_alarm.server_errors[*].alarm_name,
        values(aws_cloudwatch_metric_alarm.metric)[*].alarm_name, values(aws_cloudwatch_metric_alarm.calls)[*].alarm_name,
      ) : startswith(name, "other-orbit")
    ])
    error_message = "names begin with the prefix"
  }
  assert {
    condition = toset(concat(
      flatten([
        for alarm in concat(aws_cloudwatch_metric_alarm.server_errors, values(aws_cloudwatch_metric_alarm.calls)) :
        [for query in alarm.metric_query : query.metric[*].namespace]
      ]),
      values(aws_cloudwatch_metric_alarm.metric)[*].namespace,
    )) == toset(["other"])
    error_message = "alarms are about the metrics of this environment"
  }
}

run "function" {
  module {
    source = "./modules/function"
  }

  variables {
    name          = "governance"
    log_group_arn = "arn:aws:logs:us-east-1:111122223333:log-group:/aws/lambda/other-governance"
  }

  assert {
    condition = jsonencode([
      aws_lambda_function.function.function_name, aws_iam_role.function.name, aws_cloudwatch_metric_alarm.errors[0].alarm_name,
    ]) == jsonencode(["other-governance", "other-governance", "other-governance-function-errors"])
    error_message = "names begin with the prefix"
  }
}

run "registry" {
  module {
    source = "./modules/registry"
  }

  variables {
    services = ["axon"]
    key_arn  = "arn:aws:kms:us-east-1:111122223333:key/1"
  }

  assert {
    condition     = aws_ecr_repository.service["axon"].name == "other/axon"
    error_message = "names begin with the prefix"
  }
}

run "prefix_too_long_for_a_service" {
  command = plan

  variables {
    name_prefix = "a-prefix-of-27-characters-x"
    environment = "second"
  }

  expect_failures = [var.name_prefix]
}

run "prefix_too_long_for_the_bucket" {
  command = plan

  variables {
    name_prefix = "a-prefix-of-22-charact"
    environment = "sixteen-characte"
  }

  expect_failures = [var.name_prefix]
}

run "prefix_that_aws_refuses" {
  command = plan

  variables {
    name_prefix = "internal-shop"
  }

  expect_failures = [var.name_prefix]
}
