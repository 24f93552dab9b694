# Where images are pushed to and pulled from, one repository a service.

resource "aws_ecr_repository" "service" {
  for_each = var.services

  name                 = "${var.project}/${each.key}"
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

# Every image that was ever released carries a tag, so no rule here may touch tagged
# ones: whatever a rollback needs stays. Untagged are pushes that were cut short, and
# what is attached to an image (its bill of materials): that can be made again, but not
# in the middle of an investigation.
resource "aws_ecr_lifecycle_policy" "service" {
  for_each = aws_ecr_repository.service

  repository = each.value.name
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "Pushes that were cut short, and what was attached to images of a year ago"
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
