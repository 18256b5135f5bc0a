output "epoch_key" {
  description = "For `epoch_key` in the configuration."
  value       = "awskms:///${aws_kms_key.epoch.arn}"
}

output "checkpoint_key" {
  description = "For `checkpoint_key` in the configuration."
  value       = "awskms:///${aws_kms_key.checkpoint.arn}"
}

output "role_arns" {
  description = "For `role_arn` in `[aws]`, by role."
  value       = { for role in keys(local.roles) : role => aws_iam_role.role[role].arn }
}
