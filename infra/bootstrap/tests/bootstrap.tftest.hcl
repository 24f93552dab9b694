# What an account gets once: the bucket for states, and the pipeline's permissions. Run with the
# variables of an environment: `terraform test -var-file=../environments/staging.tfvars.json`.

mock_provider "aws" {
  source = "../tests/mocks"
}

run "state" {
  # An apply could not be cleaned up: the bucket refuses to be destroyed.
  command = plan

  assert {
    condition     = aws_s3_bucket.state.bucket == "${var.project}-terraform-${var.account_id}" && aws_kms_alias.state.name == "alias/${var.project}-terraform"
    error_message = "bucket and key have the names that environments/*.s3.tfbackend use"
  }
  assert {
    condition     = aws_s3_bucket_versioning.state.versioning_configuration[0].status == "Enabled"
    error_message = "earlier versions of a state can be restored"
  }
  assert {
    condition = jsonencode([
      for rule in aws_s3_bucket_server_side_encryption_configuration.state.rule :
      rule.apply_server_side_encryption_by_default[*].sse_algorithm
    ]) == jsonencode([["aws:kms"]])
    error_message = "states are encrypted with a KMS key"
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
    error_message = "states can't be read without TLS"
  }
}

run "project_that_aws_refuses" {
  command = plan

  variables {
    project = "ssm-demo"
  }

  expect_failures = [var.project]
}

run "one_environment" {
  command = plan

  assert {
    condition     = length(module.pipeline) == 1
    error_message = "the account of an environment's file has that environment"
  }
  assert {
    condition     = aws_iam_openid_connect_provider.github.client_id_list == toset(["sts.amazonaws.com"])
    error_message = "tokens for another audience are refused"
  }
}

run "two_environments_in_one_account" {
  command = plan

  variables {
    account_id   = "555566667777"
    project      = "shop"
    environments = "tests/environments"
  }

  assert {
    condition = jsonencode(local.environments) == jsonencode({
      first  = { prefix = "shop", region = "us-east-1" }
      second = { prefix = "shop-second", region = "eu-west-1" }
    })
    error_message = "an account has the environments of this project whose files name it"
  }
  assert {
    condition     = jsonencode(keys(module.pipeline)) == jsonencode(["first", "second"]) && aws_s3_bucket.state.bucket == "shop-terraform-555566667777"
    error_message = "each environment has roles of its own, and the bucket is shared"
  }
}

run "pipeline" {
  module {
    source = "./pipeline"
  }

  variables {
    prefix       = "other"
    repository   = "example/demo"
    provider_arn = "arn:aws:iam::${var.account_id}:oidc-provider/token.actions.githubusercontent.com"
    services     = ["axon", "orbit"]
    functions    = ["governance"]
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
    error_message = "only jobs of this repository, in this environment, assume a role"
  }
  assert {
    condition     = alltrue([for statement in flatten(values(data.aws_iam_policy_document.trust)[*].statement) : length(statement.condition) == 2])
    error_message = "both conditions are in one statement"
  }
  assert {
    condition     = jsonencode({ for job, role in aws_iam_role.job : job => role.max_session_duration }) == jsonencode({ deploy = 7200, plan = 3600 })
    error_message = "a session to deploy outlasts a release and its rollback"
  }
  assert {
    condition = jsonencode(sort(flatten([
      for statement in concat(data.aws_iam_policy_document.look.statement, data.aws_iam_policy_document.release.statement, data.aws_iam_policy_document.cleanup.statement) :
      tolist(statement.actions) if contains(statement.resources, "*")
      ]))) == jsonencode([
      "ecr:GetAuthorizationToken",
      "ecs:DeregisterTaskDefinition",
      "ecs:DescribeTaskDefinition",
      "ecs:ListTaskDefinitions",
      "ecs:ListTasks",
      "elasticloadbalancing:DescribeTargetHealth",
    ])
    error_message = "only actions without resource-level permissions are allowed on every resource"
  }
  assert {
    condition = jsonencode([
      for statement in data.aws_iam_policy_document.release.statement : sort(statement.resources) if contains(statement.actions, "ecs:RegisterTaskDefinition")
    ]) == jsonencode([[for name in ["axon", "orbit"] : "arn:aws:ecs:${var.region}:${var.account_id}:task-definition/${var.prefix}-${name}:*"]])
    error_message = "a release registers revisions of the services' families only"
  }
  assert {
    condition = jsonencode([
      for statement in data.aws_iam_policy_document.release.statement : sort(statement.resources) if contains(statement.actions, "ecs:StopServiceDeployment")
    ]) == jsonencode([["arn:aws:ecs:${var.region}:${var.account_id}:service-deployment/${var.prefix}-${var.environment}/*"]])
    error_message = "a release stops service deployments of its own cluster only"
  }
  assert {
    condition = jsonencode([
      for statement in data.aws_iam_policy_document.cleanup.statement : statement.resources if contains(statement.actions, "lambda:DeleteFunction")
    ]) == jsonencode([["arn:aws:lambda:${var.region}:${var.account_id}:function:${var.prefix}-governance:*"]])
    error_message = "versions of a function can be deleted, and the function not"
  }
  assert {
    condition = alltrue([
      for statement in concat(data.aws_iam_policy_document.look.statement, data.aws_iam_policy_document.release.statement, data.aws_iam_policy_document.cleanup.statement) :
      alltrue([for action in statement.actions : !strcontains(action, "*")])
    ])
    error_message = "no action has a wildcard"
  }
  assert {
    condition     = alltrue([for statement in data.aws_iam_policy_document.look.statement : alltrue([for action in statement.actions : can(regex(":(Decrypt|Describe|Filter|Get|List|Query)", action))])])
    error_message = "the plan role can only read"
  }
  assert {
    condition = jsonencode([
      for statement in data.aws_iam_policy_document.look.statement : [
        sort(statement.resources), sort([for condition in statement.condition : "${condition.variable} ${join(",", condition.values)}"])
      ] if contains(statement.actions, "dynamodb:GetItem") || contains(statement.actions, "kms:Decrypt")
      ]) == jsonencode([
      [["arn:aws:dynamodb:${var.region}:${var.account_id}:table/${var.project}-${var.environment}-releases"], ["dynamodb:LeadingKeys hold,lock,outputs,release"]],
      [["arn:aws:kms:${var.region}:${var.account_id}:key/*"], [
        "kms:EncryptionContext:aws:dynamodb:tableName ${var.project}-${var.environment}-releases",
        "kms:ViaService dynamodb.${var.region}.amazonaws.com",
      ]],
    ])
    error_message = "of the table the outputs and the ledger can be read, and only the table can be decrypted"
  }
  assert {
    condition = jsonencode([
      for statement in concat(data.aws_iam_policy_document.release.statement, data.aws_iam_policy_document.cleanup.statement) : [
        statement.actions, statement.resources, [for condition in statement.condition : "${condition.test} ${condition.variable} ${join(",", condition.values)}"]
      ] if anytrue([for action in statement.actions : startswith(action, "dynamodb:")])
      ]) == jsonencode([
      [
        ["dynamodb:PutItem"],
        ["arn:aws:dynamodb:${var.region}:${var.account_id}:table/${var.project}-${var.environment}-releases"],
        ["ForAllValues:StringEquals dynamodb:LeadingKeys hold,lock,release"],
      ],
      [
        ["dynamodb:ConditionCheckItem", "dynamodb:DeleteItem", "dynamodb:UpdateItem"],
        ["arn:aws:dynamodb:${var.region}:${var.account_id}:table/${var.project}-${var.environment}-releases"],
        ["ForAllValues:StringEquals dynamodb:LeadingKeys hold,lock"],
      ],
      [
        ["dynamodb:DeleteItem"],
        ["arn:aws:dynamodb:${var.region}:${var.account_id}:table/${var.project}-${var.environment}-releases"],
        ["ForAllValues:StringEquals dynamodb:LeadingKeys release"],
      ],
    ])
    error_message = "of the table only the ledger, the lock and the hold can be written"
  }
  assert {
    condition = alltrue([
      for arn in flatten(concat(data.aws_iam_policy_document.look.statement, data.aws_iam_policy_document.release.statement, data.aws_iam_policy_document.cleanup.statement)[*].resources) :
      arn == "*" || strcontains(arn, "other") || strcontains(arn, "/${var.project}-${var.environment}-releases") || endswith(arn, ":key/*")
    ]) && alltrue([for job, role in aws_iam_role.job : role.name == "other-${job}"])
    error_message = "names have the prefix of the environment, but for those that xtask finds it by"
  }
  assert {
    condition = jsonencode([
      for statement in data.aws_iam_policy_document.release.statement : [
        sort(statement.resources), [for condition in statement.condition : [condition.test, condition.variable, condition.values]]
      ] if contains(statement.actions, "iam:PassRole")
      ]) == jsonencode([[
        [for name in ["axon", "execution", "orbit"] : "arn:aws:iam::${var.account_id}:role/${var.prefix}-${name}"],
        [["StringEquals", "iam:PassedToService", ["ecs-tasks.amazonaws.com"]]],
    ]])
    error_message = "a release passes the tasks' roles, and only to ECS"
  }
}

run "pipeline_of_twenty_components" {
  module {
    source = "./pipeline"
  }

  variables {
    prefix       = "demo-${var.environment}"
    repository   = "example/demo"
    provider_arn = "arn:aws:iam::${var.account_id}:oidc-provider/token.actions.githubusercontent.com"
    services     = [for number in range(15) : format("service-%02d", number)]
    functions    = [for number in range(5) : format("function-%02d", number)]
  }

  # Without white space, as IAM counts them.
  assert {
    condition = length(jsonencode([
      for statement in concat(data.aws_iam_policy_document.look.statement, data.aws_iam_policy_document.release.statement) : {
        Sid       = statement.sid
        Effect    = "Allow"
        Action    = statement.actions
        Resource  = statement.resources
        Condition = { for condition in statement.condition : condition.test => { (condition.variable) = condition.values } if condition.test != "StringEquals" }
        Equals    = { for condition in statement.condition : condition.variable => condition.values if condition.test == "StringEquals" }
      }
    ])) <= 10240
    error_message = "the inline policies of a role have at most 10,240 characters together"
  }
  assert {
    condition = length(jsonencode([
      for statement in data.aws_iam_policy_document.cleanup.statement : {
        Sid       = statement.sid
        Effect    = "Allow"
        Action    = statement.actions
        Resource  = statement.resources
        Condition = { for condition in statement.condition : condition.test => { (condition.variable) = condition.values } }
      }
    ])) <= 6144
    error_message = "a managed policy has at most 6,144 characters"
  }
}
