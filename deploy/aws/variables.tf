variable "name" {
  description = "Begins the names of roles and aliases, as audit-payments."
  type        = string
}

variable "origin" {
  description = "The log's origin, as in [[log]]: secrets are issued and recovered for it alone."
  type        = string
}

variable "administrators" {
  description = "ARNs of who manages the keys. They can use neither, but they could change the policies: none of them on a host that seals."
  type        = list(string)
}

variable "agent_principals" {
  description = "ARNs that may take the agent's role: the instance or task role of the hosts that seal."
  type        = list(string)
}

variable "verifier_principals" {
  description = "ARNs that may take the verifier's role: never one of a host that seals."
  type        = list(string)
}

variable "auditor_principals" {
  description = "ARNs that may take the auditor's role."
  type        = list(string)
}

variable "trail_bucket" {
  description = "An S3 bucket for a CloudTrail of its own, in an account that none of the roles reaches; empty: there is one already."
  type        = string
  default     = ""
}
