# The services' images, one ECR repository each.

resource "aws_ecr_repository" "service" {
  for_each = var.services

  name                 = "${var.prefix}/${each.key}"
  image_tag_mutability = "IMMUTABLE"
  force_delete         = var.disposable

  encryption_configuration {
    encryption_type = "KMS"
    kms_key         = var.key_arn
  }

  image_scanning_configuration {
    scan_on_push = true
  }
}

# Every released image has a tag and may be needed by a rollback, so no rule expires tagged images.
# Untagged are interrupted pushes, and the SBOMs and provenance that are attached to images: these
# are kept for a year, for investigations.
resource "aws_ecr_lifecycle_policy" "service" {
  for_each = aws_ecr_repository.service

  repository = each.value.name
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "Interrupted pushes, and documents attached to images, after a year"
      selection = {
        tagStatus   = "untagged"
        countType   = "sinceImagePushed"
        countUnit   = "days"
        countNumber = 365
      }
      action = { type = "expire" }
    }]
  })
}
