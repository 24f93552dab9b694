# The key and the secrets that it encrypts. Secrets are made without a value:
# `cargo xtask secrets init` gives them one, so none is ever in Terraform's state.

# A key's policy is attached to the key: `*` is this key and nothing else.
data "aws_iam_policy_document" "key" {
  #checkov:skip=CKV_AWS_109:the policy of a key: the account itself, or nobody could change it
  #checkov:skip=CKV_AWS_111:the policy of a key: the account itself, or nobody could change it
  #checkov:skip=CKV_AWS_356:the policy of a key: * is this key

  # Whoever else may use the key, policies of the account's roles say.
  statement {
    sid       = "Account"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:aws:iam::${var.account_id}:root"]
    }
  }

  statement {
    sid       = "Logs"
    actions   = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["logs.${var.region}.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "kms:EncryptionContext:aws:logs:arn"
      values = [
        for group in concat(var.task_log_groups, var.other_log_groups) :
        "arn:aws:logs:${var.region}:${var.account_id}:log-group:${group}"
      ]
    }
  }
}

resource "aws_kms_key" "main" {
  description             = "Secrets, images, logs and settings of ${var.project}"
  policy                  = data.aws_iam_policy_document.key.json
  enable_key_rotation     = true
  deletion_window_in_days = var.disposable ? 7 : 30
}

resource "aws_kms_alias" "main" {
  name          = "alias/${var.project}-${var.environment}"
  target_key_id = aws_kms_key.main.key_id
}

resource "aws_secretsmanager_secret" "service" {
  #checkov:skip=CKV2_AWS_57:people rotate them, and the old pair stays valid for a while: sigv4_previous_* in the document

  for_each = var.services

  name                    = "${var.project}/${var.environment}/${each.key}"
  description             = "Settings of ${each.key} that must not be read by others."
  kms_key_id              = aws_kms_key.main.arn
  recovery_window_in_days = var.disposable ? 0 : 30
}
