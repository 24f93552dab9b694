# What an account needs before Terraform and the pipeline can work in it: applied by a person, with
# the variables of any of its environments. `destroy` keeps the bucket, because it holds every other
# state of the account.

locals {
  name   = "${var.project}-terraform"
  bucket = "${local.name}-${var.account_id}"

  # The environments of this account are those whose file names it.
  folder = "${path.module}/${var.environments}"
  files  = [for name in fileset(local.folder, "*.tfvars.json") : jsondecode(file("${local.folder}/${name}"))]
  environments = {
    for file in local.files : file.environment => {
      prefix = coalesce(try(file.name_prefix, null), file.project)
      region = file.region
    } if file.account_id == var.account_id && file.project == var.project
  }
}

# In a key policy `*` means the key that the policy is attached to.
data "aws_iam_policy_document" "key" {
  #checkov:skip=CKV_AWS_109:without the account's root in its policy, a key can't be managed
  #checkov:skip=CKV_AWS_111:without the account's root in its policy, a key can't be managed
  #checkov:skip=CKV_AWS_356:in a key policy * is this key

  statement {
    sid       = "Account"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:aws:iam::${var.account_id}:root"]
    }
  }
}

resource "aws_kms_key" "state" {
  description             = "Terraform's states of ${var.project}"
  policy                  = data.aws_iam_policy_document.key.json
  enable_key_rotation     = true
  deletion_window_in_days = 30

  lifecycle {
    prevent_destroy = true
  }
}

# ../environments/<name>.s3.tfbackend names the key by this alias.
resource "aws_kms_alias" "state" {
  name          = "alias/${local.name}"
  target_key_id = aws_kms_key.state.key_id
}

resource "aws_s3_bucket" "state" {
  #checkov:skip=CKV_AWS_18:CloudTrail records who reads a state; an access log would need another bucket
  #checkov:skip=CKV_AWS_144:a lost state is restored from an old version or by import; a replica would have to be paid for and protected as well
  #checkov:skip=CKV2_AWS_62:nothing reacts to a change of a state

  bucket = local.bucket

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_public_access_block" "state" {
  bucket                  = aws_s3_bucket.state.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "state" {
  bucket = aws_s3_bucket.state.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "state" {
  bucket = aws_s3_bucket.state.id

  rule {
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.state.arn
    }
  }
}

resource "aws_s3_bucket_versioning" "state" {
  bucket = aws_s3_bucket.state.id

  versioning_configuration {
    status = "Enabled"
  }
}

# Old versions allow a recovery from a failed apply; after a year they have no use.
resource "aws_s3_bucket_lifecycle_configuration" "state" {
  bucket = aws_s3_bucket.state.id

  rule {
    id     = "old-versions"
    status = "Enabled"

    filter {}

    noncurrent_version_expiration {
      noncurrent_days           = 365
      newer_noncurrent_versions = 20
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }

  # The rule is about versions: versioning has to be on first.
  depends_on = [aws_s3_bucket_versioning.state]
}

data "aws_iam_policy_document" "state" {
  statement {
    sid       = "DenyInsecureTransport"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = ["arn:aws:s3:::${local.bucket}", "arn:aws:s3:::${local.bucket}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "state" {
  bucket = aws_s3_bucket.state.id
  policy = data.aws_iam_policy_document.state.json

  # S3 refuses concurrent changes of a bucket's access settings.
  depends_on = [aws_s3_bucket_public_access_block.state]
}

module "catalog" {
  source = "../modules/catalog"

  document = file("${path.module}/../../services/catalog.json")
}

# An account has one of an issuer.
resource "aws_iam_openid_connect_provider" "github" {
  url            = "https://token.actions.githubusercontent.com"
  client_id_list = ["sts.amazonaws.com"]
}

module "pipeline" {
  source   = "./pipeline"
  for_each = local.environments

  project      = var.project
  prefix       = each.value.prefix
  environment  = each.key
  region       = each.value.region
  account_id   = var.account_id
  repository   = var.repository
  provider_arn = aws_iam_openid_connect_provider.github.arn

  # With retired components: what of them is left is released to when they come back.
  services  = module.catalog.all_services
  functions = module.catalog.all_functions
}
