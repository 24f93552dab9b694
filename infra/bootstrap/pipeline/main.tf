# Who the pipeline is in this account: GitHub vouches for a job, and by the job's environment it
# becomes one of two roles. No key of any of them is stored anywhere.

locals {
  issuer = "token.actions.githubusercontent.com"

  # A job of `<environment>-plan` may look, one of `<environment>` may also release. Who may start
  # which is set on GitHub, where an environment has reviewers and branches.
  jobs = {
    plan   = "${var.environment}-plan"
    deploy = var.environment
  }

  # In seconds. One release with its rolling back takes an hour and more: two services that roll out
  # and back, 15 minutes at most each time. What ends before leaves the environment half changed. To
  # plan takes minutes; an hour is the shortest that AWS takes.
  sessions = { plan = 3600, deploy = 7200 }
}

resource "aws_iam_openid_connect_provider" "github" {
  url            = "https://${local.issuer}"
  client_id_list = ["sts.amazonaws.com"]
}

data "aws_iam_policy_document" "trust" {
  for_each = local.jobs

  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = [aws_iam_openid_connect_provider.github.arn]
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

  name               = "${var.project}-${each.key}"
  description        = "Jobs of GitHub's environment ${each.value}."
  assume_role_policy = data.aws_iam_policy_document.trust[each.key].json

  max_session_duration = local.sessions[each.key]
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
