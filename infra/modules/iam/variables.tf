variable "name" {
  description = "Prefix of everything, `<project>-<environment>`."
  type        = string
}

variable "kms_key_arn" {
  description = "ARN of the key."
  type        = string
  validation {
    condition     = can(regex(":key/", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a key."
  }
}

variable "buckets" {
  description = "ARNs of the buckets by kind."
  type = object({
    raw       = string
    silver    = string
    gold      = string
    logs      = string
    artifacts = string
  })
  validation {
    condition     = alltrue([for arn in values(var.buckets) : can(regex(":s3:::[^*/]+$", arn))])
    error_message = "buckets must be ARNs of single buckets, without *."
  }
}

variable "databases" {
  description = "Names of the catalog's databases."
  type        = list(string)
  validation {
    condition     = length(var.databases) > 0 && alltrue([for name in var.databases : can(regex("^[a-z0-9_]+$", name))])
    error_message = "databases must be names, without *."
  }
}

variable "vpc_id" {
  description = "Network outside which the nodes' credentials are worth nothing; null leaves them valid everywhere."
  type        = string
  default     = null
}

variable "permissions_boundary_arn" {
  description = "Policy that bounds all roles, where the account asks for one."
  type        = string
  default     = null
  validation {
    condition     = var.permissions_boundary_arn == null || can(regex(":policy/", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn must be the ARN of a policy."
  }
}

variable "principals" {
  description = "ARNs of those who may take the submitter's and the reader's role. Nobody named: people of the account whose policies let them and who signed in with a second factor, or, where they must be named, an error."
  type = object({
    submitters    = optional(list(string), [])
    readers       = optional(list(string), [])
    must_be_named = optional(bool, false)
  })
  default = {}
  validation {
    condition     = alltrue([for arn in concat(var.principals.submitters, var.principals.readers) : can(regex("^arn:[a-z-]+:(iam|sts)::[0-9]{12}:", arn))])
    error_message = "principals must be ARNs of users or roles of an account."
  }
  validation {
    condition     = !var.principals.must_be_named || (length(var.principals.submitters) > 0 && length(var.principals.readers) > 0)
    error_message = "principals.submitters and principals.readers must name who may take these roles: set principals = { submitters = [\"arn:..\"], readers = [\"arn:..\"] } in values.auto.tfvars."
  }
}
