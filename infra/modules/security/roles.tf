# The IAM roles: ECS starts tasks with the execution role, and the program in a task has the task
# role of its service.

locals {
  # Not named directly: a document that names a resource is read only after every change of that
  # resource, so with one more service the plan would show changes of all roles.
  key_arn     = aws_kms_key.main.arn
  secret_arns = { for name, secret in aws_secretsmanager_secret.service : name => secret.arn }

  # Not those of retired services.
  used_secret_arns = [for name in sort(var.services) : local.secret_arns[name]]

  invocations = { for name, arns in var.invocations : name => arns if length(arns) > 0 }
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["arn:aws:ecs:${var.region}:${var.account_id}:*"]
    }
  }
}

# -- execution

resource "aws_iam_role" "execution" {
  name               = "${var.prefix}-execution"
  description        = "What ECS needs to start a task: image, log, secret values."
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

data "aws_iam_policy_document" "execution" {
  # No resource-level permissions: a token is valid for the whole registry, and the next statement
  # limits what can be pulled with it.
  statement {
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = var.repository_arns
  }

  statement {
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = [for group in var.task_log_groups : "arn:aws:logs:${var.region}:${var.account_id}:log-group:${group}:*"]
  }

  statement {
    actions   = ["secretsmanager:GetSecretValue"]
    resources = local.used_secret_arns
  }

  statement {
    actions   = ["kms:Decrypt"]
    resources = [local.key_arn]

    condition {
      test     = "StringEquals"
      variable = "kms:EncryptionContext:SecretARN"
      values   = local.used_secret_arns
    }
  }
}

resource "aws_iam_role_policy" "execution" {
  name   = "start-tasks"
  role   = aws_iam_role.execution.id
  policy = data.aws_iam_policy_document.execution.json
}

# -- tasks

resource "aws_iam_role" "task" {
  for_each = var.services

  name               = "${var.prefix}-${each.key}"
  description        = "What ${each.key} may do."
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

data "aws_iam_policy_document" "task" {
  for_each = var.services

  statement {
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [local.secret_arns[each.key]]
  }

  # Secrets Manager decrypts with this encryption context.
  statement {
    actions   = ["kms:Decrypt"]
    resources = [local.key_arn]

    condition {
      test     = "StringEquals"
      variable = "kms:EncryptionContext:SecretARN"
      values   = [local.secret_arns[each.key]]
    }
  }

  # Settings that begin with `kms:` are encrypted for one service, by this encryption context.
  statement {
    actions   = ["kms:Decrypt"]
    resources = [local.key_arn]

    condition {
      test     = "StringEquals"
      variable = "kms:EncryptionContext:service"
      values   = [each.key]
    }
  }
}

resource "aws_iam_role_policy" "task" {
  for_each = var.services

  name   = "own-secret"
  role   = aws_iam_role.task[each.key].id
  policy = data.aws_iam_policy_document.task[each.key].json
}

data "aws_iam_policy_document" "invoke" {
  for_each = local.invocations

  statement {
    actions   = ["lambda:InvokeFunction"]
    resources = each.value
  }
}

resource "aws_iam_role_policy" "invoke" {
  for_each = local.invocations

  name   = "invoke-functions"
  role   = aws_iam_role.task[each.key].id
  policy = data.aws_iam_policy_document.invoke[each.key].json
}
