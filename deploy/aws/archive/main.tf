# A bucket for archives: write-once for the hosts, readable by verifiers, deletable by nobody within the period.
#
# A host puts objects under its own prefix and can do nothing else with them; Object Lock keeps each of them for
# `retention_days`, also from whoever administers the account, if `lock_mode` is COMPLIANCE.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  objects = "${aws_s3_bucket.archive.arn}/*"
}

resource "aws_kms_key" "archive" {
  description             = "epochseal: objects of the archive ${var.bucket}"
  enable_key_rotation     = true
  deletion_window_in_days = 30
}

resource "aws_s3_bucket" "archive" {
  bucket              = var.bucket
  object_lock_enabled = true
}

resource "aws_s3_bucket_versioning" "archive" {
  bucket = aws_s3_bucket.archive.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_object_lock_configuration" "archive" {
  bucket = aws_s3_bucket.archive.id
  rule {
    default_retention {
      mode = var.lock_mode
      days = var.retention_days
    }
  }
  depends_on = [aws_s3_bucket_versioning.archive]
}

resource "aws_s3_bucket_server_side_encryption_configuration" "archive" {
  bucket = aws_s3_bucket.archive.id
  rule {
    bucket_key_enabled = true
    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.archive.arn
    }
  }
}

resource "aws_s3_bucket_public_access_block" "archive" {
  bucket                  = aws_s3_bucket.archive.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_lifecycle_configuration" "archive" {
  bucket = aws_s3_bucket.archive.id
  rule {
    id     = "unfinished-uploads"
    status = "Enabled"
    filter {}
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }
  rule {
    id     = "colder"
    status = "Enabled"
    filter {}
    # A class that is read within milliseconds: verifiers read everything again within their scrub period.
    transition {
      days          = var.colder_after_days
      storage_class = "GLACIER_IR"
    }
    noncurrent_version_expiration {
      noncurrent_days = var.retention_days
    }
  }
  depends_on = [aws_s3_bucket_versioning.archive]
}

# What the roles may do is said in their own policies; here stands what nobody may do.
resource "aws_s3_bucket_policy" "archive" {
  bucket = aws_s3_bucket.archive.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "OnlyOverTls"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [aws_s3_bucket.archive.arn, local.objects]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
      {
        # Without If-None-Match a put would make a new version in front of the one that is there. Parts of an
        # upload create no object: the condition stands at its end.
        Sid       = "NeverWrittenTwice"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:PutObject"
        Resource  = local.objects
        Condition = {
          Null = { "s3:if-none-match" = "true" }
          Bool = { "s3:ObjectCreationOperation" = "true" }
        }
      },
    ]
  })
}

resource "aws_iam_role" "archiver" {
  for_each = var.hosts

  name               = "${var.bucket}-archiver-${each.key}"
  assume_role_policy = templatefile("${path.module}/../policies/trust.json.tftpl", { principals = jsonencode(each.value) })
}

resource "aws_iam_role_policy" "archiver" {
  for_each = var.hosts

  name = "put"
  role = aws_iam_role.archiver[each.key].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = ["s3:PutObject", "s3:AbortMultipartUpload"]
        Resource = "${aws_s3_bucket.archive.arn}/${each.key}/*"
      },
      {
        # Parts of an upload are encrypted under one data key, which S3 opens again for each. Objects it opens
        # for nobody who may not get them.
        Effect    = "Allow"
        Action    = ["kms:GenerateDataKey", "kms:Decrypt"]
        Resource  = aws_kms_key.archive.arn
        Condition = { StringEquals = { "kms:ViaService" = "s3.${data.aws_region.current.name}.amazonaws.com" } }
      },
      {
        Effect   = "Deny"
        Action   = ["s3:GetObject*", "s3:List*", "s3:Delete*", "s3:PutObjectRetention", "s3:PutObjectLegalHold", "s3:BypassGovernanceRetention"]
        Resource = [aws_s3_bucket.archive.arn, local.objects]
      },
    ]
  })
}

resource "aws_iam_role" "reader" {
  name               = "${var.bucket}-reader"
  assume_role_policy = templatefile("${path.module}/../policies/trust.json.tftpl", { principals = jsonencode(var.reader_principals) })
}

resource "aws_iam_role_policy" "reader" {
  name = "get"
  role = aws_iam_role.reader.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      { Effect = "Allow", Action = ["s3:ListBucket"], Resource = aws_s3_bucket.archive.arn },
      { Effect = "Allow", Action = ["s3:GetObject"], Resource = local.objects },
      {
        Effect    = "Allow"
        Action    = ["kms:Decrypt"]
        Resource  = aws_kms_key.archive.arn
        Condition = { StringEquals = { "kms:ViaService" = "s3.${data.aws_region.current.name}.amazonaws.com" } }
      },
      { Effect = "Deny", Action = ["s3:Put*", "s3:Delete*", "s3:BypassGovernanceRetention"], Resource = [aws_s3_bucket.archive.arn, local.objects] },
    ]
  })
}
