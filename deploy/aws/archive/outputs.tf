output "archiver_roles" {
  description = "The role of each host's archiver."
  value       = { for host, role in aws_iam_role.archiver : host => role.arn }
}

output "reader_role" {
  description = "The role of verifiers."
  value       = aws_iam_role.reader.arn
}

output "archives" {
  description = "What `archive` of each host's logs begins with."
  value       = { for host in keys(var.hosts) : host => "s3://${var.bucket}/${host}" }
}
