# One function: the function itself, its role and the alias that callers use. xtask owns its code
# and versions.

locals {
  full_name = "${var.prefix}-${var.name}"
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }
  }
}

data "aws_iam_policy_document" "logs" {
  statement {
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${var.log_group_arn}:*"]
  }
}

resource "aws_iam_role" "function" {
  name               = local.full_name
  description        = "What the function ${var.name} may do: write its log."
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_role_policy" "logs" {
  name   = "logs"
  role   = aws_iam_role.function.id
  policy = data.aws_iam_policy_document.logs.json
}

resource "aws_lambda_function" "function" {
  #checkov:skip=CKV_AWS_50:a request is traced by its correlation id in the logs of the services and the function
  #checkov:skip=CKV_AWS_115:only services invoke it, and each of their tasks limits its concurrency
  #checkov:skip=CKV_AWS_116:it is invoked synchronously; no event is queued that could be lost
  #checkov:skip=CKV_AWS_117:it calls nothing; in a VPC it would only start more slowly
  #checkov:skip=CKV_AWS_272:a version is published only if its code has the hash of the zip that was built, and is tested before it goes live

  function_name = local.full_name
  description   = "The function ${var.name} of ${var.prefix}."
  role          = aws_iam_role.function.arn
  runtime       = "provided.al2023"
  handler       = "bootstrap"
  architectures = [var.architecture == "ARM64" ? "arm64" : "x86_64"]
  memory_size   = 256
  timeout       = 5

  # Fails every invocation until the first release.
  filename = "${path.module}/placeholder.zip"
  publish  = true

  lifecycle {
    ignore_changes = [filename, source_code_hash]
  }

  depends_on = [aws_iam_role_policy.logs]
}

resource "aws_lambda_alias" "live" {
  name             = "live"
  description      = "The released version."
  function_name    = aws_lambda_function.function.function_name
  function_version = aws_lambda_function.function.version

  lifecycle {
    ignore_changes = [function_version]
  }
}

resource "aws_cloudwatch_metric_alarm" "errors" {
  count = var.alarms == null ? 0 : 1

  alarm_name          = "${local.full_name}-function-errors"
  alarm_description   = "Invocations of the function ${var.name} fail."
  namespace           = "AWS/Lambda"
  metric_name         = "Errors"
  dimensions          = { FunctionName = aws_lambda_function.function.function_name }
  statistic           = "Sum"
  period              = 60
  evaluation_periods  = 2
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarms.topic_arns
}
