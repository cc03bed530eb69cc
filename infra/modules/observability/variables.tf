variable "name" {
  description = "Prefix of everything, `<project>-<environment>`; also the namespace of the figures."
  type        = string
}

variable "logs" {
  description = "Key of log groups and of the alarms' topic, and days that log groups keep lines."
  type = object({
    kms_key_arn    = string
    retention_days = optional(number, 180)
  })
  validation {
    condition     = contains([90, 120, 150, 180, 365, 400, 545, 731], var.logs.retention_days)
    error_message = "logs.retention_days must be 90, 120, 150, 180, 365, 400, 545 or 731."
  }
}

variable "limits" {
  description = "Seconds that a run may take and may wait, USD that a month may cost."
  type = object({
    run_seconds   = optional(number, 21600)
    queue_seconds = optional(number, 900)
    month_usd     = optional(number, 200)
  })
  default = {}
  validation {
    condition     = var.limits.run_seconds > 0 && var.limits.queue_seconds > 0 && var.limits.month_usd > 0
    error_message = "limits must be more than 0."
  }
}

variable "notify" {
  description = "Addresses that alarms and the budget write to; each must confirm the first mail."
  type = object({
    emails = optional(list(string), [])
  })
  default = {}
  validation {
    condition     = alltrue([for address in var.notify.emails : can(regex("^[^@ ]+@[^@ ]+$", address))])
    error_message = "notify.emails must be mail addresses."
  }
}
