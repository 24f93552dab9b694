# The key, and the secrets that it encrypts. Secrets are created without a value:
# `cargo xtask secrets init` gives them one, so no value is ever in Terraform's state.

# In a key policy `*` means the key that the policy is attached to.
data "aws_iam_policy_document" "key" {
  #checkov:skip=CKV_AWS_109:without the account's root in its policy, a key can't be managed
  #checkov:skip=CKV_AWS_111:without the account's root in its policy, a key can't be managed
  #checkov:skip=CKV_AWS_356:in a key policy * is this key

  # Lets the account's IAM policies decide who may use the key.
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
        for group in var.log_groups :
        "arn:aws:logs:${var.region}:${var.account_id}:log-group:${group}"
      ]
    }
  }
}

resource "aws_kms_key" "main" {
  description             = "Secrets, images, logs and settings of ${var.prefix}"
  policy                  = data.aws_iam_policy_document.key.json
  enable_key_rotation     = true
  deletion_window_in_days = var.disposable ? 7 : 30
}

resource "aws_kms_alias" "main" {
  name          = "alias/${var.prefix}-${var.environment}"
  target_key_id = aws_kms_key.main.key_id
}

resource "aws_secretsmanager_secret" "service" {
  #checkov:skip=CKV2_AWS_57:`cargo xtask secrets rotate` rotates them, so that the old pair stays valid meanwhile

  for_each = var.secrets

  name                    = "${var.prefix}/${var.environment}/${each.key}"
  description             = "Secret settings of ${each.key}."
  kms_key_id              = aws_kms_key.main.arn
  recovery_window_in_days = var.disposable ? 0 : 30
}
