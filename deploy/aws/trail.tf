# KMS calls are management events: nothing may be excluded, or reconcile finds the trail silent.
resource "aws_cloudtrail" "audit" {
  count = var.trail_bucket == "" ? 0 : 1

  name                          = "${var.name}-keys"
  s3_bucket_name                = var.trail_bucket
  enable_log_file_validation    = true
  include_global_service_events = true
  is_multi_region_trail         = true

  event_selector {
    include_management_events = true
    read_write_type           = "All"
  }
}
