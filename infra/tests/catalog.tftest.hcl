# What follows from the entries of the catalog, and what does not: their order. A function and a
# service are added to the repository's own.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  repository = jsondecode(file("../services/catalog.json")).components
  oracle     = { name = "oracle", kind = "function", crate = "services/oracle" }
  new_service = {
    name   = "a-new-service"
    kind   = "service"
    crate  = "services/a-new-service"
    port   = 8080
    routes = [{ priority = 100, path = "/a" }, { priority = 9, path = "/b", headers = { "X-B" = "b" } }]
    calls = [
      { service = "axon", path = "/reason", alarm_outcomes = ["timeout", "failed"] },
      { function = "oracle" },
      { function = "governance" },
    ]
    alarms = { p99_ms = 300 }
  }
}

run "repository" {
  module {
    source = "./modules/catalog"
  }

  variables {
    document = file("../services/catalog.json")
  }
}

run "environment" {}

run "one_more_at_the_end" {
  variables {
    catalog = jsonencode({ components = concat(var.repository, [var.oracle, var.new_service]) })
  }

  assert {
    condition     = jsonencode({ for name, service in module.catalog.services : name => service if name != "a-new-service" }) == jsonencode(run.repository.services)
    error_message = "what the modules get for the other services is the same"
  }
  assert {
    condition     = jsonencode({ for name, service in output.environment.services : name => service if name != "a-new-service" }) == jsonencode(run.environment.environment.services)
    error_message = "the other services have the same resources: with another one an ARN would differ"
  }
  assert {
    condition     = jsonencode({ for name, function in output.environment.functions : name => function if name != "oracle" }) == jsonencode(run.environment.environment.functions)
    error_message = "the other functions are the same"
  }
  assert {
    condition = jsonencode(module.catalog.services["a-new-service"]) == jsonencode({
      alarm_outcomes = { axon = ["failed", "timeout"] }
      alarms         = { p99_ms = 300, server_error_percent = 5 }
      calls          = { axon = "/reason" }
      default_route  = false
      invocations    = ["governance", "oracle"]
      port           = 8080
      routes = [
        { exposed = true, headers = { "X-B" = "b" }, path = "/b", priority = 9 },
        { exposed = true, headers = {}, path = "/a", priority = 100 },
      ]
    })
    error_message = "what is missing in an entry has its default, and routes are sorted by priority"
  }
  assert {
    condition     = output.environment.services["a-new-service"].port == 8080 && output.environment.services["a-new-service"].probe == null && output.environment.services["a-new-service"].desired_count == 2
    error_message = "a service without a route for /health is not probed"
  }
  assert {
    condition     = jsonencode(output.environment.services["a-new-service"].environment) == "{}"
    error_message = "on AWS services find each other by service discovery"
  }
  assert {
    condition     = contains(local.called, "axon") && jsonencode(local.callers) == jsonencode(["a-new-service", "orbit"]) && length([for widget in local.widgets : widget if startswith(widget.properties.title, "a-new-service: ")]) == 15
    error_message = "the dashboard has a caller's graphs"
  }
}

run "one_more_in_another_order" {
  variables {
    catalog = jsonencode({ components = reverse(concat(var.repository, [var.oracle, var.new_service])) })
  }

  assert {
    condition     = jsonencode(output.environment) == jsonencode(run.one_more_at_the_end.environment)
    error_message = "the outputs are the same"
  }
  assert {
    condition     = jsonencode({ for name, service in module.catalog.services : name => service if name != "a-new-service" }) == jsonencode(run.repository.services)
    error_message = "what the modules get is the same"
  }
}

run "retired" {
  variables {
    catalog = jsonencode({
      components = concat([for entry in [var.oracle, var.new_service] : merge(entry, { retired = true })], var.repository)
    })
  }

  assert {
    condition     = jsonencode(output.environment.retired) == jsonencode(["a-new-service", "oracle"])
    error_message = "retired components are named"
  }
  assert {
    condition     = jsonencode([output.environment.services, output.environment.functions]) == jsonencode([run.environment.environment.services, run.environment.environment.functions])
    error_message = "they are no components, and the others are the same"
  }
  assert {
    condition = jsonencode([for resources in [
      keys(module.service), keys(module.cluster.target_groups), keys(module.security.task_role_arns),
      keys(module.network.service_security_group_ids), keys(local.autoscaling), keys(module.function),
    ] : resources]) == jsonencode(concat([for _ in range(5) : ["axon", "orbit"]], [["governance"]]))
    error_message = "of a retired component there is no service, target group, role, security group or function"
  }
  assert {
    condition     = module.registry.names["a-new-service"] == run.one_more_at_the_end.environment.services["a-new-service"].repository && module.security.secret_arns["a-new-service"] == run.one_more_at_the_end.environment.services["a-new-service"].secret_arn
    error_message = "its repository and its secret stay"
  }
  assert {
    condition = jsonencode({ for name, group in aws_cloudwatch_log_group.component : name => [group.name, group.kms_key_id] }) == jsonencode({
      for name, log in {
        a-new-service = "/ecs/${var.project}-a-new-service"
        axon          = "/ecs/${var.project}-axon"
        governance    = "/aws/lambda/${var.project}-governance"
        oracle        = "/aws/lambda/${var.project}-oracle"
        orbit         = "/ecs/${var.project}-orbit"
      } : name => [log, module.security.key_arn]
    })
    error_message = "its log stays, and every log is encrypted"
  }
}

run "back_again" {
  variables {
    catalog = jsonencode({ components = concat(var.repository, [var.oracle, var.new_service]) })
  }

  assert {
    condition     = output.environment.services["a-new-service"].secret_arn == run.one_more_at_the_end.environment.services["a-new-service"].secret_arn
    error_message = "what was retired can come back, to the same secret"
  }
}

run "local_discovery" {
  variables {
    catalog            = jsonencode({ components = concat(var.repository, [var.oracle, var.new_service]) })
    emulated           = true
    endpoint           = "http://127.0.0.1:4577"
    expose             = { "a-new-service" = false }
    shared_environment = { AXON_CONNECT_TO = "other", DRAIN_MS = "1", DEADLINE_MS = "2" }
    service_environment = {
      "a-new-service" = { DRAIN_MS = "3" }
    }
  }

  assert {
    condition = jsonencode(output.environment.services["a-new-service"].environment) == jsonencode({
      AXON_CONNECT_TO  = "other"
      AXON_SERVICE_URL = "http://${var.project}-lb.alb.localhost/reason"
      DEADLINE_MS      = "2"
      DRAIN_MS         = "3"
    })
    error_message = "a caller gets a URL for each service that it calls; shared settings replace it, its own settings replace both"
  }
  assert {
    condition     = output.environment.services.orbit.environment.AXON_SERVICE_URL == "http://${var.project}-lb.alb.localhost/reason" && jsonencode(output.environment.services.axon.environment) == jsonencode(var.shared_environment)
    error_message = "only callers get URLs"
  }
  assert {
    condition     = alltrue(flatten([for service in output.environment.services : service.routes[*].exposed]))
    error_message = "the local AWS exposes every route, as services call each other through the load balancer"
  }
}

run "before_the_first_release" {
  command = plan

  variables {
    autoscaling       = { tasks_max = 4, cpu_percent = 60 }
    released_services = ["orbit", "deleted-long-ago"]
  }

  assert {
    condition     = jsonencode(local.autoscaling) == jsonencode({ axon = null, orbit = var.autoscaling })
    error_message = "only a released service is scaled"
  }
}

run "scaled" {
  command = plan

  module {
    source = "./modules/service"
  }

  variables {
    grace_period      = 30
    name              = "orbit"
    prefix            = "demo"
    port              = 80
    cluster_name      = "demo-staging"
    namespace_id      = "ns-1"
    subnet_ids        = ["subnet-1", "subnet-2"]
    security_group_id = "sg-1"
    tasks_min         = 3
    autoscaling       = { tasks_max = 4, cpu_percent = 60 }
    alarm_figures     = { p99_ms = 1000, server_error_percent = 5 }
    alarm_outcomes    = {}
    target_group = {
      arn                      = "arn:aws:elasticloadbalancing:us-east-1:111122223333:targetgroup/demo-orbit/1"
      arn_suffix               = "targetgroup/demo-orbit/1"
      load_balancer_arn_suffix = "app/demo-lb/1"
    }
  }

  assert {
    condition     = [aws_appautoscaling_target.tasks[0].min_capacity, aws_appautoscaling_target.tasks[0].max_capacity] == [3, 4] && length(aws_appautoscaling_policy.cpu) == 1
    error_message = "from its desired count to the maximum"
  }
}

run "not_scaled" {
  command = plan

  module {
    source = "./modules/service"
  }

  variables {
    grace_period      = 30
    name              = "orbit"
    prefix            = "demo"
    port              = 80
    cluster_name      = "demo-staging"
    namespace_id      = "ns-1"
    subnet_ids        = ["subnet-1", "subnet-2"]
    security_group_id = "sg-1"
    tasks_min         = 3
    autoscaling       = null
    alarm_figures     = { p99_ms = 1000, server_error_percent = 5 }
    alarm_outcomes    = {}
    target_group = {
      arn                      = "arn:aws:elasticloadbalancing:us-east-1:111122223333:targetgroup/demo-orbit/1"
      arn_suffix               = "targetgroup/demo-orbit/1"
      load_balancer_arn_suffix = "app/demo-lb/1"
    }
  }

  assert {
    condition     = length(aws_appautoscaling_target.tasks) == 0 && length(aws_appautoscaling_policy.cpu) == 0
    error_message = "without autoscaling nothing changes the desired count"
  }
}

run "desired_count_of_an_unknown_service" {
  command = plan

  variables {
    desired_counts = { axon = 3, neutron = 2 }
  }

  expect_failures = [var.desired_counts]
}

run "settings_of_an_unknown_service" {
  command = plan

  variables {
    service_environment = { governance = { DRAIN_MS = "1" } }
  }

  expect_failures = [var.service_environment]
}

run "exposed_unknown_service" {
  command = plan

  variables {
    expose = { neutron = true }
  }

  expect_failures = [var.expose]
}

run "settings_of_a_retired_service" {
  command = plan

  variables {
    catalog        = jsonencode({ components = concat(var.repository, [merge(var.new_service, { retired = true })]) })
    desired_counts = { "a-new-service" = 3 }
  }
}

run "retired_function_that_is_called" {
  command = plan

  module {
    source = "./modules/catalog"
  }

  variables {
    document = jsonencode({ components = concat(var.repository, [merge(var.oracle, { retired = true }), var.new_service]) })
  }

  expect_failures = [output.services]
}

run "unknown_service_that_is_called" {
  command = plan

  module {
    source = "./modules/catalog"
  }

  variables {
    document = jsonencode({ components = [for entry in var.repository : entry if entry.name != "axon"] })
  }

  expect_failures = [output.services]
}

run "two_default_routes" {
  command = plan

  module {
    source = "./modules/catalog"
  }

  variables {
    document = jsonencode({ components = concat(var.repository, [var.oracle, merge(var.new_service, { default_route = true })]) })
  }

  expect_failures = [output.services]
}

run "no_route" {
  command = plan

  module {
    source = "./modules/catalog"
  }

  variables {
    document = jsonencode({ components = concat(var.repository, [var.oracle, merge(var.new_service, { routes = [] })]) })
  }

  expect_failures = [output.services]
}

run "priority_twice" {
  command = plan

  module {
    source = "./modules/catalog"
  }

  variables {
    document = jsonencode({ components = concat(var.repository, [var.oracle, merge(var.new_service, { routes = [{ priority = 10, path = "/a" }] })]) })
  }

  expect_failures = [output.services]
}

run "name_twice" {
  command = plan

  module {
    source = "./modules/catalog"
  }

  variables {
    document = jsonencode({ components = concat(var.repository, [merge(var.oracle, { name = "axon" })]) })
  }

  expect_failures = [output.services]
}

run "name_of_another_resource" {
  command = plan

  module {
    source = "./modules/catalog"
  }

  variables {
    document = jsonencode({ components = concat(var.repository, [merge(var.oracle, { name = "execution" })]) })
  }

  expect_failures = [output.services]
}

run "name_of_16_characters" {
  command = plan

  module {
    source = "./modules/catalog"
  }

  variables {
    document = jsonencode({ components = concat(var.repository, [merge(var.oracle, { name = "a123456789012345" })]) })
  }

  expect_failures = [output.services]
}
