# The two keys of one log, and a role for each of agent, verifier and auditor.
#
# Order: roles, then keys (a key policy may only name principals that exist), then what the roles may do.

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

locals {
  roles = {
    agent    = var.agent_principals
    verifier = var.verifier_principals
    auditor  = var.auditor_principals
  }
  role_arns = {
    for role in keys(local.roles) : role =>
    "arn:${data.aws_partition.current.partition}:iam::${data.aws_caller_identity.current.account_id}:role/${var.name}-${role}"
  }
  key_policy_values = {
    administrators = jsonencode(var.administrators)
    agent          = local.role_arns["agent"]
    verifier       = local.role_arns["verifier"]
    auditor        = local.role_arns["auditor"]
    origin         = var.origin
  }
  role_policy_values = {
    epoch_key      = aws_kms_key.epoch.arn
    checkpoint_key = aws_kms_key.checkpoint.arn
    origin         = var.origin
  }
}

resource "aws_iam_role" "role" {
  for_each = local.roles

  name               = "${var.name}-${each.key}"
  assume_role_policy = templatefile("${path.module}/policies/trust.json.tftpl", { principals = jsonencode(each.value) })
}

resource "aws_kms_key" "epoch" {
  description              = "epochseal: epoch key of ${var.origin}"
  customer_master_key_spec = "SYMMETRIC_DEFAULT"
  enable_key_rotation      = true
  deletion_window_in_days  = 30
  policy                   = templatefile("${path.module}/policies/epoch-key.json.tftpl", local.key_policy_values)

  depends_on = [aws_iam_role.role]
}

resource "aws_kms_key" "checkpoint" {
  description              = "epochseal: checkpoint key of ${var.origin}"
  customer_master_key_spec = "ECC_NIST_P256"
  key_usage                = "SIGN_VERIFY"
  deletion_window_in_days  = 30
  policy                   = templatefile("${path.module}/policies/checkpoint-key.json.tftpl", local.key_policy_values)

  depends_on = [aws_iam_role.role]
}

resource "aws_kms_alias" "epoch" {
  name          = "alias/${var.name}-epoch"
  target_key_id = aws_kms_key.epoch.key_id
}

resource "aws_kms_alias" "checkpoint" {
  name          = "alias/${var.name}-checkpoint"
  target_key_id = aws_kms_key.checkpoint.key_id
}

resource "aws_iam_role_policy" "role" {
  for_each = local.roles

  name   = "epochseal"
  role   = aws_iam_role.role[each.key].id
  policy = templatefile("${path.module}/policies/${each.key}.json.tftpl", local.role_policy_values)
}
