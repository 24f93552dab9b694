# The VPC's flow log: all connections, accepted and rejected.

resource "aws_cloudwatch_log_group" "flows" {
  count = var.audit_logs ? 1 : 0

  name              = var.flow_log_group
  retention_in_days = var.log_retention_days
  kms_key_id        = var.key_arn
}

resource "aws_flow_log" "main" {
  count = var.audit_logs ? 1 : 0

  vpc_id               = aws_vpc.main.id
  traffic_type         = "ALL"
  log_destination_type = "cloud-watch-logs"
  log_destination      = aws_cloudwatch_log_group.flows[0].arn
  iam_role_arn         = aws_iam_role.flows[0].arn

  tags = { Name = "${var.prefix}-flows" }
}

data "aws_iam_policy_document" "flows_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["vpc-flow-logs.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["arn:aws:ec2:${var.region}:${var.account_id}:vpc-flow-log/*"]
    }
  }
}

resource "aws_iam_role" "flows" {
  count = var.audit_logs ? 1 : 0

  name               = "${var.prefix}-flows"
  description        = "What the network's flow logs may do: write their log."
  assume_role_policy = data.aws_iam_policy_document.flows_trust.json
}

data "aws_iam_policy_document" "flows" {
  # AWS requires this action for all log groups; it returns only their names and settings.
  statement {
    actions   = ["logs:DescribeLogGroups"]
    resources = ["arn:aws:logs:${var.region}:${var.account_id}:log-group:*"]
  }

  statement {
    actions = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    resources = [
      "arn:aws:logs:${var.region}:${var.account_id}:log-group:${var.flow_log_group}",
      "arn:aws:logs:${var.region}:${var.account_id}:log-group:${var.flow_log_group}:*",
    ]
  }
}

resource "aws_iam_role_policy" "flows" {
  count = var.audit_logs ? 1 : 0

  name   = "write-log"
  role   = aws_iam_role.flows[0].id
  policy = data.aws_iam_policy_document.flows.json
}
