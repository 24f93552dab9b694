# The governance function, which orbit invokes before each dispatch: the function itself, its role,
# its log and the alias that callers use. xtask owns its code and versions.

locals {
  name = "${var.project}-governance"
}

resource "aws_cloudwatch_log_group" "function" {
  name              = var.log_group
  retention_in_days = var.log_retention_days
  kms_key_id        = var.key_arn
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
    resources = ["${aws_cloudwatch_log_group.function.arn}:*"]
  }
}

resource "aws_iam_role" "function" {
  name               = local.name
  description        = "What the governance function may do: write its log."
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_role_policy" "logs" {
  name   = "logs"
  role   = aws_iam_role.function.id
  policy = data.aws_iam_policy_document.logs.json
}

resource "aws_lambda_function" "governance" {
  #checkov:skip=CKV_AWS_50:a dispatch is traced by its correlation id in the logs of both services and the function
  #checkov:skip=CKV_AWS_115:only orbit invokes it, and each of its tasks limits its concurrency
  #checkov:skip=CKV_AWS_116:it is invoked synchronously; no event is queued that could be lost
  #checkov:skip=CKV_AWS_117:it calls nothing; in a VPC it would only start more slowly
  #checkov:skip=CKV_AWS_272:a version is published only if its code has the hash of the zip that was built, and is tested before it goes live

  function_name = local.name
  description   = "Says whether a dispatch is allowed."
  role          = aws_iam_role.function.arn
  runtime       = "provided.al2023"
  handler       = "bootstrap"
  architectures = [var.architecture == "ARM64" ? "arm64" : "x86_64"]
  memory_size   = 256
  timeout       = 5

  # Denies every dispatch until the first release.
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
  function_name    = aws_lambda_function.governance.function_name
  function_version = aws_lambda_function.governance.version

  lifecycle {
    ignore_changes = [function_version]
  }
}

resource "aws_cloudwatch_metric_alarm" "errors" {
  count = var.alarms == null ? 0 : 1

  alarm_name          = "${local.name}-function-errors"
  alarm_description   = "Dispatches are refused because the governance function fails."
  namespace           = "AWS/Lambda"
  metric_name         = "Errors"
  dimensions          = { FunctionName = aws_lambda_function.governance.function_name }
  statistic           = "Sum"
  period              = 60
  evaluation_periods  = 2
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarms.topic_arns
}
