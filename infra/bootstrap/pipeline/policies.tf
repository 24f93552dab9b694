# The calls that `xtask/src/adapters` makes, and no others. Resources are named as `infra/` names
# them, because the roles exist before the resources do. Applying `infra/` is not allowed: who may
# create roles can gain every permission, so that is left to people.

locals {
  here    = "${var.region}:${var.account_id}"
  table   = "${var.project}-${var.environment}-releases"
  cluster = "arn:aws:ecs:${local.here}:cluster/${var.prefix}-${var.environment}"

  # What is below the environment's own cluster or path is not named one by one: the policies of a
  # role have at most 10,240 characters together, and twenty components have to fit.
  services            = ["arn:aws:ecs:${local.here}:service/${var.prefix}-${var.environment}/*"]
  service_deployments = ["arn:aws:ecs:${local.here}:service-deployment/${var.prefix}-${var.environment}/*"]
  service_revisions   = ["arn:aws:ecs:${local.here}:service-revision/${var.prefix}-${var.environment}/*"]
  repositories        = ["arn:aws:ecr:${local.here}:repository/${var.prefix}/*"]
  secrets             = ["arn:aws:secretsmanager:${local.here}:secret:${var.prefix}/${var.environment}/*"]

  # These names have no separator after the prefix, and another environment's prefix may continue
  # it.
  functions  = [for name in var.functions : "arn:aws:lambda:${local.here}:function:${var.prefix}-${name}"]
  log_groups = concat([for name in var.services : "/ecs/${var.prefix}-${name}"], [for name in var.functions : "/aws/lambda/${var.prefix}-${name}"])

  # The services' own revisions, not those of the placeholders.
  revisions = [for name in var.services : "arn:aws:ecs:${local.here}:task-definition/${var.prefix}-${name}:*"]

  task_roles = [for name in concat(["execution"], sort(var.services)) : "arn:aws:iam::${var.account_id}:role/${var.prefix}-${name}"]
}

data "aws_iam_policy_document" "look" {
  statement {
    sid       = "OutputsAndLedger"
    actions   = ["dynamodb:GetItem", "dynamodb:Query"]
    resources = ["arn:aws:dynamodb:${local.here}:table/${local.table}"]

    condition {
      test     = "ForAllValues:StringEquals"
      variable = "dynamodb:LeadingKeys"
      values   = ["hold", "lock", "outputs", "release"]
    }
  }

  # DynamoDB decrypts the table on behalf of who reads or writes it. The key does not exist yet, so it is
  # named by what DynamoDB decrypts with it ("Encryption at rest" in the DynamoDB developer guide).
  statement {
    sid       = "TableKey"
    actions   = ["kms:Decrypt"]
    resources = ["arn:aws:kms:${local.here}:key/*"]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["dynamodb.${var.region}.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "kms:EncryptionContext:aws:dynamodb:tableName"
      values   = [local.table]
    }
  }

  statement {
    sid       = "Images"
    actions   = ["ecr:DescribeImages"]
    resources = local.repositories
  }

  statement {
    sid       = "Services"
    actions   = ["ecs:DescribeServices"]
    resources = local.services
  }

  # These actions have no resource-level permissions (Service Authorization Reference).
  statement {
    sid       = "RevisionsAndTargets"
    actions   = ["ecs:DescribeTaskDefinition", "ecs:ListTaskDefinitions", "elasticloadbalancing:DescribeTargetHealth"]
    resources = ["*"]
  }

  statement {
    sid       = "DescribeTasks"
    actions   = ["ecs:DescribeTasks"]
    resources = ["arn:aws:ecs:${local.here}:task/${var.prefix}-${var.environment}/*"]
  }

  # The only resource type of this action is a container instance, which Fargate has none of. The
  # condition limits it to the cluster.
  statement {
    sid       = "ListTasks"
    actions   = ["ecs:ListTasks"]
    resources = ["*"]

    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [local.cluster]
    }
  }

  statement {
    sid       = "Functions"
    actions   = ["lambda:GetAlias", "lambda:GetFunctionConfiguration", "lambda:ListVersionsByFunction"]
    resources = concat(local.functions, [for arn in local.functions : "${arn}:*"])
  }

  # Returns whether a secret has a value, and not the value.
  statement {
    sid       = "Secrets"
    actions   = ["secretsmanager:DescribeSecret"]
    resources = local.secrets
  }

  statement {
    sid     = "Logs"
    actions = ["logs:FilterLogEvents", "logs:GetLogEvents"]
    # With `:*` it is the group and its streams (LogGroup in the CloudWatch Logs API Reference).
    resources = [for group in local.log_groups : "arn:aws:logs:${local.here}:log-group:${group}:*"]
  }
}

data "aws_iam_policy_document" "release" {
  statement {
    sid       = "Ledger"
    actions   = ["dynamodb:PutItem"]
    resources = ["arn:aws:dynamodb:${local.here}:table/${local.table}"]

    # The outputs are Terraform's.
    condition {
      test     = "ForAllValues:StringEquals"
      variable = "dynamodb:LeadingKeys"
      values   = ["hold", "lock", "release"]
    }
  }

  # A transaction needs the permission of each of its parts ("Amazon DynamoDB Transactions: How it
  # works").
  statement {
    sid       = "Lock"
    actions   = ["dynamodb:ConditionCheckItem", "dynamodb:DeleteItem", "dynamodb:UpdateItem"]
    resources = ["arn:aws:dynamodb:${local.here}:table/${local.table}"]

    condition {
      test     = "ForAllValues:StringEquals"
      variable = "dynamodb:LeadingKeys"
      values   = ["hold", "lock"]
    }
  }

  # No resource-level permissions: a token is valid for the whole registry, and the next statement
  # limits what can be pushed with it.
  statement {
    sid       = "RegistryToken"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    sid = "Push"
    actions = [
      "ecr:BatchCheckLayerAvailability",
      "ecr:BatchGetImage",
      "ecr:CompleteLayerUpload",
      "ecr:GetDownloadUrlForLayer",
      "ecr:InitiateLayerUpload",
      "ecr:PutImage",
      "ecr:UploadLayerPart",
    ]
    resources = local.repositories
  }

  # The statement TaskRoles below limits the roles that a revision may name.
  statement {
    sid       = "Revisions"
    actions   = ["ecs:RegisterTaskDefinition"]
    resources = local.revisions
  }

  # A revision is tagged with its hash when it is registered, and only then: the statement Revisions
  # limits the families.
  statement {
    sid       = "RevisionTags"
    actions   = ["ecs:TagResource"]
    resources = ["arn:aws:ecs:${local.here}:task-definition/${var.prefix}-*:*"]

    condition {
      test     = "StringEquals"
      variable = "ecs:CreateAction"
      values   = ["RegisterTaskDefinition"]
    }
  }

  statement {
    sid       = "RollOut"
    actions   = ["ecs:UpdateService"]
    resources = local.services
  }

  # What becomes of an update. Whoever lists them needs the service, whoever reads or stops one its
  # own resource.
  statement {
    sid       = "ServiceDeployments"
    actions   = ["ecs:ListServiceDeployments", "ecs:DescribeServiceDeployments", "ecs:DescribeServiceRevisions"]
    resources = concat(local.services, local.service_deployments, local.service_revisions)
  }

  statement {
    sid       = "StopServiceDeployments"
    actions   = ["ecs:StopServiceDeployment"]
    resources = local.service_deployments
  }

  statement {
    sid       = "TaskRoles"
    actions   = ["iam:PassRole"]
    resources = local.task_roles

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs-tasks.amazonaws.com"]
    }
  }

  statement {
    sid       = "FunctionVersions"
    actions   = ["lambda:InvokeFunction", "lambda:PublishVersion", "lambda:UpdateAlias", "lambda:UpdateFunctionCode"]
    resources = concat(local.functions, [for arn in local.functions : "${arn}:*"])
  }
}

# What `cargo xtask cleanup` removes.
data "aws_iam_policy_document" "cleanup" {
  statement {
    sid       = "Records"
    actions   = ["dynamodb:DeleteItem"]
    resources = ["arn:aws:dynamodb:${local.here}:table/${local.table}"]

    condition {
      test     = "ForAllValues:StringEquals"
      variable = "dynamodb:LeadingKeys"
      values   = ["release"]
    }
  }

  statement {
    sid       = "Images"
    actions   = ["ecr:BatchDeleteImage"]
    resources = local.repositories
  }

  # No resource-level permissions (Service Authorization Reference, Amazon ECS).
  statement {
    sid       = "Revisions"
    actions   = ["ecs:DeregisterTaskDefinition"]
    resources = ["*"]
  }

  # Of a version alone: without a qualifier it is the function itself that is deleted.
  statement {
    sid       = "FunctionVersions"
    actions   = ["lambda:DeleteFunction"]
    resources = [for arn in local.functions : "${arn}:*"]
  }
}
