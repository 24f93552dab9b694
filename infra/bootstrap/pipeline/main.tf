# The pipeline's identity in one environment: a job of GitHub Actions assumes one of two roles by
# OpenID Connect, chosen by the job's GitHub environment. No access key is stored.

locals {
  issuer = "token.actions.githubusercontent.com"

  # Jobs of GitHub's environment `<environment>-plan` may read; those of `<environment>` may also
  # release. GitHub's environments have the reviewers and branches that decide who starts them.
  jobs = {
    plan   = "${var.environment}-plan"
    deploy = var.environment
  }

  # In seconds. A release with its rollback can take more than an hour: two services roll out and
  # back, at most 15 minutes each time. Credentials that expire earlier leave the environment half
  # changed. A plan takes minutes; an hour is the shortest session that AWS allows here.
  sessions = { plan = 3600, deploy = 7200 }
}

data "aws_iam_policy_document" "trust" {
  for_each = local.jobs

  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = [var.provider_arn]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.issuer}:aud"
      values   = ["sts.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.issuer}:sub"
      values   = ["repo:${var.repository}:environment:${each.value}"]
    }
  }
}

resource "aws_iam_role" "job" {
  for_each = local.jobs

  name               = "${var.prefix}-${each.key}"
  description        = "For jobs of GitHub's environment ${each.value}."
  assume_role_policy = data.aws_iam_policy_document.trust[each.key].json

  max_session_duration = local.sessions[each.key]

  tags = { Environment = var.environment }
}

resource "aws_iam_role_policy" "look" {
  for_each = local.jobs

  name   = "look"
  role   = aws_iam_role.job[each.key].id
  policy = data.aws_iam_policy_document.look.json
}

resource "aws_iam_role_policy" "release" {
  name   = "release"
  role   = aws_iam_role.job["deploy"].id
  policy = data.aws_iam_policy_document.release.json
}

# A managed policy, since with twenty components it finds no room among the inline ones.
resource "aws_iam_policy" "cleanup" {
  name        = "${var.prefix}-cleanup"
  description = "What cargo xtask cleanup removes from ${var.environment}."
  policy      = data.aws_iam_policy_document.cleanup.json

  tags = { Environment = var.environment }
}

resource "aws_iam_role_policy_attachment" "cleanup" {
  role       = aws_iam_role.job["deploy"].name
  policy_arn = aws_iam_policy.cleanup.arn
}
