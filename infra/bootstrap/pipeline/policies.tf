# The calls that `xtask/src/adapters` makes, and no others. Names are those that `infra/` gives, as
# the roles are there before what they act on. An apply of `infra/` is not among them: whoever
# may make roles may become anything, so that stays with people.

locals {
  here       = "${var.region}:${var.account_id}"
  parameters = "arn:aws:ssm:${local.here}:parameter/${var.project}/${var.environment}"
  cluster    = "arn:aws:ecs:${local.here}:cluster/${var.project}-${var.environment}"
  function   = "arn:aws:lambda:${local.here}:function:${var.project}-governance"

  services     = [for name in var.services : "arn:aws:ecs:${local.here}:service/${var.project}-${var.environment}/${var.project}-${name}"]
  repositories = [for name in var.services : "arn:aws:ecr:${local.here}:repository/${var.project}/${name}"]
  # Secrets Manager adds six characters of its own to a name.
  secrets    = [for name in var.services : "arn:aws:secretsmanager:${local.here}:secret:${var.project}/${var.environment}/${name}-??????"]
  log_groups = concat([for name in var.services : "/ecs/${var.project}-${name}"], ["/aws/lambda/${var.project}-governance"])

  # The revisions of the services, which are numbered; not those that never run.
  revisions = [for name in var.services : "arn:aws:ecs:${local.here}:task-definition/${var.project}-${name}:*"]

  task_roles = [for name in concat(["execution"], sort(var.services)) : "arn:aws:iam::${var.account_id}:role/${var.project}-${name}"]
}

data "aws_iam_policy_document" "look" {
  statement {
    sid       = "SiteAndLedger"
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

  # AWS knows no resource for these: a revision is read by whoever may read any, and a target
  # group's health likewise.
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

  # AWS knows a resource for this only where tasks run on instances; what limits it is the cluster.
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

  # Whether there is a value, not which.
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

  # AWS knows no resource for this action: a token is for the whole registry, and what may be
  # pushed with it is the next statement's.
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

  # Which roles a revision may name is limited below.
  statement {
    sid       = "Revisions"
    actions   = ["ecs:RegisterTaskDefinition"]
    resources = local.revisions
  }

  # AWS knows no resource for this one (Service Authorization Reference, Amazon ECS).
  statement {
    sid       = "Deregister"
    actions   = ["ecs:DeregisterTaskDefinition"]
    resources = ["*"]
  }

  # A revision is given its hash as a tag when it is registered, and only then.
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
