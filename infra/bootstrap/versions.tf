terraform {
  required_version = ">= 1.10"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }

  # Empty: the first apply creates the bucket for this state. ../README.md has the commands.
  backend "s3" {}
}

provider "aws" {
  region = var.region

  # A plan with credentials of another account fails before it starts.
  allowed_account_ids = [var.account_id]

  default_tags {
    tags = {
      Project   = var.project
      ManagedBy = "terraform"
    }
  }
}
