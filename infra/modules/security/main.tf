# The key and the secrets that it encrypts. Secrets are made without a value:
# `cargo xtask secrets init` gives them one, so none is ever in Terraform's state.

resource "aws_kms_key" "main" {
  description             = "Secrets, images and settings of ${var.project}"
  enable_key_rotation     = true
  deletion_window_in_days = var.disposable ? 7 : 30
}

resource "aws_kms_alias" "main" {
  name          = "alias/${var.project}-${var.environment}"
  target_key_id = aws_kms_key.main.key_id
}

resource "aws_secretsmanager_secret" "service" {
  for_each = var.services

  name                    = "${var.project}/${var.environment}/${each.key}"
  description             = "Settings of ${each.key} that must not be read by others."
  kms_key_id              = aws_kms_key.main.arn
  recovery_window_in_days = var.disposable ? 0 : 30
}
