variable "bucket" {
  description = "Name of the bucket."
  type        = string
}

variable "hosts" {
  description = "For each host, which is its prefix in the bucket: the principals that its archiver runs as."
  type        = map(list(string))
}

variable "reader_principals" {
  description = "Who verifies: monitors, workers of a cluster, auditors."
  type        = list(string)
}

variable "retention_days" {
  description = "For so long nobody can delete or change an object. At least as long as the logs promise."
  type        = number
}

variable "lock_mode" {
  description = "COMPLIANCE: not even the account's root deletes. GOVERNANCE: whoever may bypass it does."
  type        = string
  default     = "COMPLIANCE"

  validation {
    condition     = contains(["COMPLIANCE", "GOVERNANCE"], var.lock_mode)
    error_message = "lock_mode is COMPLIANCE or GOVERNANCE."
  }
}

variable "colder_after_days" {
  description = "After so many days objects go to the class for what is read once in a while."
  type        = number
  default     = 90
}
