# What an account gets once: the bucket for states, and what the pipeline may do. Run with the
# variables of an environment: `terraform test -var-file=../environments/staging.tfvars.json`.

mock_provider "aws" {
  source = "../tests/mocks"
}

run "state" {
  # The bucket can't be destroyed, not even where it was never made: nothing is applied.
  command = plan

  assert {
    condition     = aws_s3_bucket.state.bucket == "${var.project}-terraform-${var.account_id}" && aws_kms_alias.state.name == "alias/${var.project}-terraform"
    error_message = "bucket and key have the names that environments/*.s3.tfbackend have"
  }
  assert {
    condition     = aws_s3_bucket_versioning.state.versioning_configuration[0].status == "Enabled"
    error_message = "every state can be had back"
  }
  assert {
    condition = jsonencode([
      for rule in aws_s3_bucket_server_side_encryption_configuration.state.rule :
      rule.apply_server_side_encryption_by_default[*].sse_algorithm
    ]) == jsonencode([["aws:kms"]])
    error_message = "states are encrypted by a key"
  }
  assert {
    condition     = aws_s3_bucket_public_access_block.state.block_public_acls && aws_s3_bucket_public_access_block.state.block_public_policy && aws_s3_bucket_public_access_block.state.ignore_public_acls && aws_s3_bucket_public_access_block.state.restrict_public_buckets
    error_message = "the bucket is not public"
  }
  assert {
    condition = jsonencode([
      for statement in data.aws_iam_policy_document.state.statement :
      [statement.effect, sort(statement.actions), sort(statement.resources), [for condition in statement.condition : [condition.variable, condition.values]]]
      ]) == jsonencode([
      ["Deny", ["s3:*"], ["arn:aws:s3:::${aws_s3_bucket.state.bucket}", "arn:aws:s3:::${aws_s3_bucket.state.bucket}/*"], [["aws:SecureTransport", ["false"]]]]
    ])
    error_message = "nobody reads a state without TLS"
  }
}

run "project_that_aws_refuses" {
  command = plan

  variables {
    project = "ssm-demo"
  }

  expect_failures = [var.project]
}

run "pipeline" {
  module {
    source = "./pipeline"
  }

  variables {
    repository = "example/demo"
    services   = ["axon", "orbit"]
  }

  assert {
    condition = jsonencode({
      for job, document in data.aws_iam_policy_document.trust : job => {
        for condition in flatten(document.statement[*].condition) : "${condition.test} ${condition.variable}" => condition.values
      }
      }) == jsonencode({
      for job, environment in { deploy                         = var.environment, plan = "${var.environment}-plan" } : job => {
        "StringEquals token.actions.githubusercontent.com:aud" = ["sts.amazonaws.com"]
        "StringEquals token.actions.githubusercontent.com:sub" = ["repo:example/demo:environment:${environment}"]
      }
    })
    error_message = "only jobs of this repository, in this environment, become a role"
  }
  assert {
    condition     = alltrue([for statement in flatten(values(data.aws_iam_policy_document.trust)[*].statement) : length(statement.condition) == 2])
    error_message = "both conditions are of one statement"
  }
  assert {
    condition     = jsonencode({ for job, role in aws_iam_role.job : job => role.max_session_duration }) == jsonencode({ deploy = 7200, plan = 3600 })
    error_message = "a session to deploy outlasts a release and its rolling back"
  }
  assert {
    condition     = jsonencode(aws_iam_openid_connect_provider.github.client_id_list) == jsonencode(["sts.amazonaws.com"])
    error_message = "tokens for somebody else are not taken"
  }
  assert {
    condition = jsonencode(sort(flatten([
      for statement in concat(data.aws_iam_policy_document.look.statement, data.aws_iam_policy_document.release.statement) :
      tolist(statement.actions) if contains(statement.resources, "*")
      ]))) == jsonencode([
      "ecr:GetAuthorizationToken",
      "ecs:DeregisterTaskDefinition",
      "ecs:DescribeTaskDefinition",
      "ecs:ListTasks",
      "elasticloadbalancing:DescribeTargetHealth",
    ])
    error_message = "for every resource are only the actions that AWS knows none for"
  }
  assert {
    condition = jsonencode([
      for statement in data.aws_iam_policy_document.release.statement : sort(statement.resources) if contains(statement.actions, "ecs:RegisterTaskDefinition")
    ]) == jsonencode([[for name in ["axon", "orbit"] : "arn:aws:ecs:${var.region}:${var.account_id}:task-definition/${var.project}-${name}:*"]])
    error_message = "a release registers revisions of the services, and of no other family"
  }
  assert {
    condition = alltrue([
      for statement in concat(data.aws_iam_policy_document.look.statement, data.aws_iam_policy_document.release.statement) :
      alltrue([for action in statement.actions : !strcontains(action, "*")])
    ])
    error_message = "each action is named"
  }
  assert {
    condition     = alltrue([for statement in data.aws_iam_policy_document.look.statement : alltrue([for action in statement.actions : can(regex(":(Describe|Filter|Get|List)", action))])])
    error_message = "who plans changes nothing"
  }
  assert {
    condition = jsonencode([
      for statement in data.aws_iam_policy_document.release.statement : [
        sort(statement.resources), [for condition in statement.condition : [condition.test, condition.variable, condition.values]]
      ] if contains(statement.actions, "iam:PassRole")
      ]) == jsonencode([[
        [for name in ["axon", "execution", "orbit"] : "arn:aws:iam::${var.account_id}:role/${var.project}-${name}"],
        [["StringEquals", "iam:PassedToService", ["ecs-tasks.amazonaws.com"]]],
    ]])
    error_message = "a release gives ECS the tasks' roles, and nobody any other"
  }
}
