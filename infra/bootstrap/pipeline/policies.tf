# The calls that `xtask/src/adapters` makes, and no others. Resources are named as `infra/` names
# them, because the roles exist before the resources do. Applying `infra/` is not allowed: who may
# create roles can gain every permission, so that is left to people.

locals {
  here       = "${var.region}:${var.account_id}"
  parameters = "arn:aws:ssm:${local.here}:parameter/${var.project}/${var.environment}"
  cluster    = "arn:aws:ecs:${local.here}:cluster/${var.project}-${var.environment}"
  function   = "arn:aws:lambda:${local.here}:function:${var.project}-governance"

  services     = [for name in var.services : "arn:aws:ecs:${local.here}:service/${var.project}-${var.environment}/${var.project}-${name}"]
  repositories = [for name in var.services : "arn:aws:ecr:${local.here}:repository/${var.project}/${name}"]
  # Secrets Manager appends six random characters to a secret's name.
  secrets    = [for name in var.services : "arn:aws:secretsmanager:${local.here}:secret:${var.project}/${var.environment}/${name}-??????"]
  log_groups = concat([for name in var.services : "/ecs/${var.project}-${name}"], ["/aws/lambda/${var.project}-governance"])

  # The services' own revisions, not those of the placeholders.
  revisions = [for name in var.services : "arn:aws:ecs:${local.here}:task-definition/${var.project}-${name}:*"]

  task_roles = [for name in concat(["execution"], sort(var.services)) : "arn:aws:iam::${var.account_id}:role/${var.project}-${name}"]
}

data "aws_iam_policy_document" "look" {
  statement {
    sid       = "OutputsAndLedger"
    actions   = ["ssm:GetParameter", "ssm:GetParameters"]
    resources = ["${local.parameters}/outputs", "${local.parameters}/releases/*"]
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
    actions   = ["ecs:DescribeTaskDefinition", "elasticloadbalancing:DescribeTargetHealth"]
    resources = ["*"]
  }

  statement {
    sid       = "DescribeTasks"
    actions   = ["ecs:DescribeTasks"]
    resources = ["arn:aws:ecs:${local.here}:task/${var.project}-${var.environment}/*"]
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
    sid       = "Function"
    actions   = ["lambda:GetAlias", "lambda:GetFunctionConfiguration", "lambda:ListVersionsByFunction"]
    resources = [local.function, "${local.function}:*"]
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
    resources = flatten([
      for group in local.log_groups : [
        "arn:aws:logs:${local.here}:log-group:${group}",
        "arn:aws:logs:${local.here}:log-group:${group}:log-stream:*",
      ]
    ])
  }
}

data "aws_iam_policy_document" "release" {
  statement {
    sid       = "Ledger"
    actions   = ["ssm:PutParameter"]
    resources = ["${local.parameters}/releases/*"]
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

  # No resource-level permissions (Service Authorization Reference, Amazon ECS).
  statement {
    sid       = "Deregister"
    actions   = ["ecs:DeregisterTaskDefinition"]
    resources = ["*"]
  }

  # A revision is tagged with its hash when it is registered, and only then.
  statement {
    sid       = "RevisionTags"
    actions   = ["ecs:TagResource"]
    resources = local.revisions

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
    resources = [local.function, "${local.function}:*"]
  }
}
