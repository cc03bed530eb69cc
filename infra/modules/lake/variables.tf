variable "name" {
  description = "Prefix of everything, `<project>-<environment>`; buckets are `<name>-<account>-<kind>`."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9]*-[a-z][a-z0-9]*$", var.name)) && length(var.name) <= 40
    error_message = "name must be <project>-<environment> in lower case, at most 40 letters, such as pulse-dev."
  }
}

variable "kms_key_arn" {
  description = "ARN of the key that encrypts the buckets, except logs."
  type        = string
  validation {
    condition     = can(regex(":key/", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a key."
  }
}

variable "lifecycle_days" {
  description = "Days until: incomplete uploads go, old versions and raw files become infrequent access, old versions and `archive/` become deep archive, old versions go, old versions of tables that can be computed again go, old versions of the run ledger go, results of queries go, logs go."
  type = object({
    incomplete_upload = optional(number, 7)
    infrequent        = optional(number, 30)
    archive           = optional(number, 180)
    replaced          = optional(number, 365)
    derived           = optional(number, 60)
    ledger            = optional(number, 7)
    results           = optional(number, 7)
    logs              = optional(number, 180)
  })
  default = {}
  validation {
    condition     = var.lifecycle_days.infrequent >= 30
    error_message = "lifecycle_days.infrequent must be at least 30: infrequent access is paid for 30 days in any case."
  }
  validation {
    condition     = var.lifecycle_days.archive >= var.lifecycle_days.infrequent + 30 && var.lifecycle_days.replaced > var.lifecycle_days.archive
    error_message = "lifecycle_days must be in order: archive at least 30 after infrequent, replaced after archive."
  }
  validation {
    condition     = var.lifecycle_days.derived >= 30 && var.lifecycle_days.ledger >= 1 && var.lifecycle_days.results >= 1
    error_message = "lifecycle_days.derived must be at least 30: until then a table that was overwritten or dropped by mistake can be had back; ledger and results at least 1."
  }
}
