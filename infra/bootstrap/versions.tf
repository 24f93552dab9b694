terraform {
  required_version = ">= 1.10"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }

  # Empty: the first apply makes the bucket that later ones keep their state in. README.md has
  # the commands.
  backend "s3" {}
}

provider "aws" {
  region = var.region

  # Credentials of another account stop every plan before it starts.
  allowed_account_ids = [var.account_id]

  default_tags {
    tags = {
      Project     = var.project
      Environment = var.environment
      ManagedBy   = "terraform"
    }
  }
}
