# What holds in every AWS environment. Run with the variables of one of them:
# `terraform test -var-file=environments/staging.tfvars.json -filter=tests/aws.tftest.hcl`.

mock_provider "aws" {
  source = "./tests/mocks"
}

run "outputs" {
  assert {
    condition     = output.environment.base_url == "https://${var.https.domain_name}"
    error_message = "an AWS environment is reached by HTTPS"
  }
  assert {
    condition     = output.environment.registry == "${var.account_id}.dkr.ecr.${var.region}.amazonaws.com"
    error_message = "images come from the account's own registry"
  }
  assert {
    condition     = jsondecode(jsondecode(aws_dynamodb_table_item.outputs.item).document.S) == jsondecode(jsonencode(output.environment))
    error_message = "the table has the document that is an output"
  }
  assert {
    condition     = aws_dynamodb_table.releases.name == "${var.project}-${var.environment}-releases" && aws_dynamodb_table.releases.deletion_protection_enabled && aws_dynamodb_table.releases.point_in_time_recovery[0].enabled && aws_dynamodb_table.releases.server_side_encryption[0].kms_key_arn == module.security.key_arn
    error_message = "the table is protected, can be restored and is encrypted by the environment's key"
  }
  assert {
    condition     = (output.environment.services.axon.probe == null) == !lookup(var.expose, "axon", true)
    error_message = "axon is probed from outside only where it is exposed"
  }
  assert {
    condition     = jsonencode(output.environment.services.orbit.probe) == jsonencode({ headers = {}, url = "https://${var.https.domain_name}/health" })
    error_message = "the default service is probed without headers"
  }
}

run "plain_http" {
  command = plan

  variables {
    https = null
  }

  expect_failures = [var.https]
}

run "foreign_certificate" {
  command = plan

  variables {
    https = {
      certificate_arn = "arn:aws:acm:${var.region}:999999999999:certificate/1"
      domain_name     = "staging.example.com"
    }
  }

  expect_failures = [var.https]
}

run "no_route_to_aws" {
  command = plan

  variables {
    nat_gateway         = false
    interface_endpoints = false
  }

  expect_failures = [aws_dynamodb_table_item.outputs]
}

run "project_reserved_by_aws" {
  command = plan

  variables {
    project = "aws-demo"
  }

  expect_failures = [var.project]
}

run "project_reserved_by_ssm" {
  command = plan

  variables {
    project = "ssmdemo"
  }

  expect_failures = [var.project]
}

run "project_with_a_hyphen_at_its_end" {
  command = plan

  variables {
    project = "demo-"
  }

  expect_failures = [var.project]
}

run "project_with_two_hyphens" {
  command = plan

  variables {
    project = "de--mo"
  }

  expect_failures = [var.project]
}

run "project_reserved_for_load_balancers" {
  command = plan

  variables {
    project = "internal"
  }

  expect_failures = [var.project]
}

run "project_reserved_for_security_groups" {
  command = plan

  variables {
    project = "sg-demo"
  }

  expect_failures = [var.project]
}

run "zones_with_fargate" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    prefix         = "demo"
    region         = "us-west-1"
    cidr           = var.vpc_cidr
    ports          = {}
    calls          = {}
    https          = true
    flow_log_group = "/vpc/demo"
    key_arn        = "arn:aws:kms:us-east-1:111122223333:key/1"
  }

  assert {
    condition = jsonencode([
      for filter in data.aws_availability_zones.available.filter : sort(filter.values) if filter.name == "zone-id"
    ]) == jsonencode([["usw1-az1", "usw1-az3"]])
    error_message = "only zones with Fargate are used"
  }
}

run "balancer" {
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
    prefix          = "demo"
    default_service = "orbit"
    ports           = { axon = 80, orbit = 81 }
    routes = {
      axon = [
        { priority = 10, path = "/reason", headers = {}, exposed = true },
        { priority = 20, path = "/health", headers = { "X-Service" = "axon" }, exposed = true },
      ]
      orbit = []
    }
    vpc_id            = "vpc-1"
    subnet_ids        = ["subnet-1", "subnet-2"]
    security_group_id = "sg-1"
  }

  assert {
    condition = jsonencode(aws_lb_listener.http.default_action[*].type) == jsonencode(["redirect"]) && alltrue([
      for redirect in flatten(aws_lb_listener.http.default_action[*].redirect) :
      "${redirect.protocol} ${redirect.port} ${redirect.status_code}" == "HTTPS 443 HTTP_301"
    ])
    error_message = "plain HTTP only redirects"
  }
  assert {
    condition     = [aws_lb_listener.https[0].protocol, aws_lb_listener.https[0].port, aws_lb_listener.https[0].certificate_arn] == ["HTTPS", 443, var.https.certificate_arn]
    error_message = "HTTPS uses the environment's certificate"
  }
  assert {
    condition     = aws_lb_listener.https[0].ssl_policy == "ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09"
    error_message = "the TLS policy is AWS's recommended one"
  }
  assert {
    condition     = alltrue([for rule in values(aws_lb_listener_rule.route) : rule.listener_arn == aws_lb_listener.https[0].arn])
    error_message = "routes are exposed by HTTPS only"
  }
  assert {
    condition = jsonencode({
      for key, rule in aws_lb_listener_rule.route : key => [rule.priority, sort(flatten([
        for condition in rule.condition : [condition.path_pattern[*].values, condition.http_header[*].values]
      ]))]
      }) == jsonencode({
      axon-10 = [10, ["/reason"]]
      axon-20 = [20, ["/health", "axon"]]
    })
    error_message = "each route is a rule of its written priority"
  }
  assert {
    condition     = jsonencode({ for name, group in aws_lb_target_group.service : name => group.port }) == jsonencode({ axon = 80, orbit = 81 })
    error_message = "each service has its own port"
  }
  assert {
    condition     = aws_lb.main.enable_deletion_protection && !aws_s3_bucket.access_logs[0].force_destroy
    error_message = "no apply deletes the load balancer or its log"
  }
  assert {
    condition     = aws_lb.main.access_logs[0].enabled && aws_lb.main.access_logs[0].bucket == aws_s3_bucket.access_logs[0].id
    error_message = "requests are logged"
  }
  assert {
    condition = alltrue([
      for block in aws_s3_bucket_public_access_block.access_logs : block.block_public_acls && block.block_public_policy && block.ignore_public_acls && block.restrict_public_buckets
    ])
    error_message = "the log is not public"
  }
  assert {
    condition = jsonencode([
      for statement in data.aws_iam_policy_document.access_logs[0].statement : [statement.sid, sort(statement.actions), sort(statement.resources)]
      ]) == jsonencode([
      ["LoadBalancer", ["s3:PutObject"], ["${aws_s3_bucket.access_logs[0].arn}/AWSLogs/${var.account_id}/*"]],
      ["DenyInsecureTransport", ["s3:*"], [aws_s3_bucket.access_logs[0].arn, "${aws_s3_bucket.access_logs[0].arn}/*"]],
    ])
    error_message = "only the load balancer writes, to its own folder, and every request needs TLS"
  }
}

run "unexposed_routes" {
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
    prefix          = "demo"
    default_service = "orbit"
    ports           = { axon = 80, half = 80, orbit = 80 }
    routes = {
      axon = [
        { priority = 10, path = "/health", headers = { "X-Service" = "axon" }, exposed = false },
        { priority = 20, path = "/reason", headers = {}, exposed = false },
      ]
      half = [
        { priority = 40, path = "/unexposed", headers = {}, exposed = false },
        { priority = 50, path = "/exposed", headers = {}, exposed = true },
      ]
      orbit = [{ priority = 30, path = "/dispatch", headers = {}, exposed = false }]
    }
    vpc_id            = "vpc-1"
    subnet_ids        = ["subnet-1", "subnet-2"]
    security_group_id = "sg-1"
  }

  assert {
    condition     = jsonencode(keys(aws_lb_listener_rule.route)) == jsonencode(["axon-10", "half-50"])
    error_message = "a service without an exposed route has one rule, because ECS accepts only a target group that a listener uses"
  }
  assert {
    condition = jsonencode([
      for group in aws_lb_listener_rule.route["axon-10"].action[0].forward[0].target_group : group.weight if group.weight != 0
    ]) == "[1]" && length(aws_lb_listener_rule.route["axon-10"].action[0].forward[0].target_group) == 2
    error_message = "that rule forwards no request to it"
  }
  assert {
    condition     = length(aws_lb_listener_rule.route["axon-10"].condition) == 2
    error_message = "that rule takes no request from another route with the same path"
  }
}

run "axon" {
  module {
    source = "./modules/service"
  }

  variables {
    grace_period      = 30
    name              = "axon"
    prefix            = "demo"
    port              = 80
    cluster_name      = "demo-staging"
    namespace_id      = "ns-1"
    subnet_ids        = ["subnet-1", "subnet-2"]
    security_group_id = "sg-1"
    tasks_min         = 2
    alarm_figures     = { p99_ms = 1000, server_error_percent = 5 }
    alarm_outcomes    = {}
    target_group = {
      arn                      = "arn:aws:elasticloadbalancing:us-east-1:111122223333:targetgroup/demo-axon/1"
      arn_suffix               = "targetgroup/demo-axon/1"
      load_balancer_arn_suffix = "app/demo-lb/1"
    }
  }

  assert {
    condition     = aws_ecs_service.service.desired_count == 0
    error_message = "nothing runs before the first release"
  }
  assert {
    condition     = aws_ecs_service.service.task_definition == aws_ecs_task_definition.placeholder.arn && aws_ecs_task_definition.placeholder.family == "${var.prefix}-axon-placeholder" && aws_ecs_task_definition.placeholder.skip_destroy
    error_message = "a service is created with the placeholder's revision"
  }
  assert {
    condition     = alltrue([for network in aws_ecs_service.service.network_configuration : !network.assign_public_ip])
    error_message = "tasks have no public address"
  }
  assert {
    condition     = jsonencode([for breaker in aws_ecs_service.service.deployment_circuit_breaker : [breaker.enable, breaker.rollback]]) == jsonencode([[true, true]])
    error_message = "ECS rolls back a deployment whose tasks do not start"
  }
  assert {
    condition = jsonencode([for alarms in aws_ecs_service.service.alarms : [alarms.enable, alarms.rollback, sort(alarms.alarm_names)]]) == jsonencode([
      [true, true, ["${var.prefix}-axon-server-error-percent", "${var.prefix}-axon-unhealthy-targets"]]
    ])
    error_message = "ECS rolls back a deployment during which these alarms go off, and no others"
  }
}

# Orbit has all kinds of alarms.
run "alarms" {
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
    tasks_min         = 2
    alarm_figures     = { p99_ms = 800, server_error_percent = 3 }
    alarm_outcomes    = { axon = ["breaker_open"], governance = ["failed", "timeout"] }
    target_group = {
      arn                      = "arn:aws:elasticloadbalancing:us-east-1:111122223333:targetgroup/demo-orbit/1"
      arn_suffix               = "targetgroup/demo-orbit/1"
      load_balancer_arn_suffix = "app/demo-lb/1"
    }
    alarms = {
      topic_arns       = []
      stop_deployments = false
    }
  }

  assert {
    condition = jsonencode([for alarms in aws_ecs_service.service.alarms : [alarms.enable, sort(alarms.alarm_names)]]) == jsonencode([
      [false, ["${var.prefix}-orbit-server-error-percent", "${var.prefix}-orbit-unhealthy-targets"]]
    ])
    error_message = "alarms that must not stop a deployment are turned off explicitly: ECS keeps a list that is not sent"
  }
  assert {
    condition = jsonencode(sort(concat(
      aws_cloudwatch_metric_alarm.unhealthy_targets[*].alarm_name,
      aws_cloudwatch_metric_alarm.server_errors[*].alarm_name,
      values(aws_cloudwatch_metric_alarm.metric)[*].alarm_name,
      values(aws_cloudwatch_metric_alarm.calls)[*].alarm_name,
      ))) == jsonencode([for name in [
      "failed-calls-axon", "failed-calls-governance", "p99-duration", "panics", "server-error-percent", "unhealthy-targets",
    ] : "${var.prefix}-orbit-${name}"])
    error_message = "alarms are named after what they measure"
  }
  assert {
    condition = alltrue([
      for alarm in concat(
        aws_cloudwatch_metric_alarm.unhealthy_targets, aws_cloudwatch_metric_alarm.server_errors,
        values(aws_cloudwatch_metric_alarm.metric), values(aws_cloudwatch_metric_alarm.calls),
      ) : alarm.treat_missing_data == "notBreaching" && alarm.comparison_operator == "GreaterThanThreshold"
    ])
    error_message = "missing data is not breaching: a service without requests sets off no alarm"
  }
  assert {
    condition = jsonencode([
      for query in aws_cloudwatch_metric_alarm.server_errors[0].metric_query : query.expression if query.return_data == true
    ]) == jsonencode(["IF(requests - shed >= 20, 100 * (errors - shed) / (requests - shed), 0)"]) && aws_cloudwatch_metric_alarm.server_errors[0].threshold == 3
    error_message = "errors are a percentage of at least 20 requests a minute: a single request sets off no alarm"
  }
  assert {
    condition = jsonencode({
      for metric in flatten(aws_cloudwatch_metric_alarm.server_errors[0].metric_query[*].metric) :
      metric.metric_name => [metric.namespace, metric.dimensions, metric.stat, metric.period]
      }) == jsonencode({
      for name in ["requests", "server_errors", "shed"] : name => [var.prefix, { service = "orbit" }, "Sum", 60]
    })
    error_message = "all three are the service's own metrics, which do not count a client's faults"
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.metric["p99-duration"].threshold == 800
    error_message = "the figures are those of the catalog"
  }
  assert {
    condition = jsonencode({
      for called, alarm in aws_cloudwatch_metric_alarm.calls :
      called => sort([for query in alarm.metric_query : query.id if query.return_data != true])
    }) == jsonencode({ axon = ["breaker_open"], governance = ["failed", "timeout"] })
    error_message = "a call's alarm counts the outcomes of the catalog"
  }
}

run "roles" {
  module {
    source = "./modules/security"
  }

  variables {
    prefix          = "demo"
    services        = ["axon", "orbit"]
    secrets         = ["axon", "orbit", "retired"]
    repository_arns = ["arn:aws:ecr:us-east-1:111122223333:repository/demo/axon"]
    task_log_groups = ["/ecs/demo-axon", "/ecs/demo-orbit"]
    log_groups      = ["/aws/lambda/demo-governance", "/ecs/demo-axon", "/ecs/demo-orbit", "/ecs/demo-retired", "/vpc/demo"]
    invocations     = { axon = [], orbit = ["arn:aws:lambda:us-east-1:111122223333:function:demo-governance:live"] }
  }

  assert {
    condition = jsonencode(flatten([
      for statement in concat(
        data.aws_iam_policy_document.execution.statement,
        data.aws_iam_policy_document.task["axon"].statement,
        data.aws_iam_policy_document.task["orbit"].statement,
        data.aws_iam_policy_document.invoke["orbit"].statement,
      ) : sort(statement.actions) if contains(statement.resources, "*")
    ])) == jsonencode(["ecr:GetAuthorizationToken"])
    error_message = "only the registry's token, which has no resource-level permissions, is allowed on every resource"
  }
  assert {
    condition = jsonencode({
      for name, document in data.aws_iam_policy_document.invoke : name => [for statement in document.statement : sort(statement.resources)]
    }) == jsonencode({ orbit = [var.invocations.orbit] })
    error_message = "a task role invokes the aliases of the functions that its service calls, and nothing else"
  }
  assert {
    condition     = jsonencode(keys(aws_iam_role.task)) == jsonencode(["axon", "orbit"]) && length(aws_secretsmanager_secret.service) == 3 && length(local.used_secret_arns) == 2
    error_message = "of a retired service there is the secret, which no role reads"
  }
  assert {
    condition     = aws_kms_key.main.enable_key_rotation && aws_kms_key.main.deletion_window_in_days == 30
    error_message = "the key is rotated, and its deletion can be undone for 30 days"
  }
  assert {
    condition     = alltrue([for secret in aws_secretsmanager_secret.service : secret.kms_key_id == aws_kms_key.main.arn && secret.recovery_window_in_days == 30])
    error_message = "secrets are encrypted by the key and can be restored for 30 days"
  }
  assert {
    condition = jsonencode(flatten([
      for statement in data.aws_iam_policy_document.key.statement : [for condition in statement.condition : sort(condition.values)]
      ])) == jsonencode(sort([
      for group in var.log_groups : "arn:aws:logs:${var.region}:${var.account_id}:log-group:${group}"
    ]))
    error_message = "CloudWatch Logs uses the key for the environment's log groups only"
  }
}

run "one_more_role" {
  command = plan

  module {
    source = "./modules/security"
  }

  variables {
    prefix          = "demo"
    services        = ["axon", "orbit", "third"]
    secrets         = ["axon", "orbit", "retired", "third"]
    repository_arns = ["arn:aws:ecr:us-east-1:111122223333:repository/demo/axon"]
    task_log_groups = ["/ecs/demo-axon", "/ecs/demo-orbit", "/ecs/demo-third"]
    log_groups      = ["/aws/lambda/demo-governance", "/ecs/demo-axon", "/ecs/demo-orbit", "/ecs/demo-third", "/vpc/demo"]
    invocations     = { axon = [], orbit = ["arn:aws:lambda:us-east-1:111122223333:function:demo-governance:live"], third = [] }

    # A change of the key and of the secrets, as a new log group changes the key's policy, which
    # has no content in tests.
    disposable = true
  }

  # An unknown value would be an error here.
  assert {
    condition     = alltrue([for name in ["axon", "orbit"] : aws_iam_role_policy.task[name].policy != ""]) && aws_iam_role_policy.invoke["orbit"].policy != ""
    error_message = "the policies of the other roles are known in the plan, so that it shows no change of them"
  }
}

run "function" {
  module {
    source = "./modules/function"
  }

  variables {
    name          = "governance"
    prefix        = "demo"
    log_group_arn = "arn:aws:logs:us-east-1:111122223333:log-group:/aws/lambda/demo-governance"
  }

  assert {
    condition     = jsonencode([for statement in data.aws_iam_policy_document.logs.statement : sort(statement.resources)]) == jsonencode([["${var.log_group_arn}:*"]])
    error_message = "the function writes its own log and nothing else"
  }
}

run "registry" {
  module {
    source = "./modules/registry"
  }

  variables {
    prefix   = "demo"
    services = ["axon", "orbit"]
    key_arn  = "arn:aws:kms:us-east-1:111122223333:key/1"
  }

  assert {
    condition = alltrue([
      for repository in aws_ecr_repository.service :
      repository.image_tag_mutability == "IMMUTABLE" && !repository.force_delete && repository.encryption_configuration[0].encryption_type == "KMS" && repository.encryption_configuration[0].kms_key == var.key_arn
    ])
    error_message = "tags are immutable, and images are encrypted and survive a destroy"
  }
  assert {
    condition = alltrue([
      for policy in aws_ecr_lifecycle_policy.service : alltrue([
        for rule in jsondecode(policy.policy).rules : rule.selection.tagStatus == "untagged"
      ])
    ])
    error_message = "no released image expires, as a rollback may need it"
  }
}
