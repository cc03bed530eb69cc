variable "name" {
  description = "Prefix of everything, `<project>-<environment>`."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9]*-[a-z][a-z0-9]*$", var.name))
    error_message = "name must be <project>-<environment> in lower case, such as pulse-dev."
  }
}

variable "key" {
  description = "Days between rotations, and days that a deleted key can still be restored."
  type = object({
    rotation_days = optional(number, 365)
    deletion_days = optional(number, 30)
  })
  default = {}
  validation {
    condition     = var.key.rotation_days >= 90 && var.key.rotation_days <= 2560
    error_message = "key.rotation_days must lie between 90 and 2560."
  }
  validation {
    condition     = var.key.deletion_days >= 7 && var.key.deletion_days <= 30
    error_message = "key.deletion_days must lie between 7 and 30."
  }
}

variable "cluster_role_arns" {
  description = "ARNs of the roles that make encrypted volumes: EMR's service role."
  type        = list(string)
  validation {
    condition     = length(var.cluster_role_arns) > 0 && alltrue([for arn in var.cluster_role_arns : strcontains(arn, ":role/")])
    error_message = "cluster_role_arns must name at least one role by its ARN."
  }
}
