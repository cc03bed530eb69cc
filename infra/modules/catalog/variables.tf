variable "name" {
  description = "Prefix of everything, `<project>-<environment>`."
  type        = string
}

variable "layers" {
  description = "Folder of each layer's tables, such as s3://bucket/lake/silver."
  type        = map(string)
  validation {
    condition     = alltrue([for folder in var.layers : can(regex("^s3://[^/]+/.*[^/]$", folder))])
    error_message = "layers must be folders s3://<bucket>/<prefix> without a slash at their ends."
  }
}

variable "databases" {
  description = "Prefix of the databases' names; empty where an account holds one environment, so that SQL reads `silver.bars_1m` everywhere."
  type = object({
    prefix = optional(string, "")
  })
  default = {}
  validation {
    condition     = can(regex("^([a-z][a-z0-9_]*_)?$", var.databases.prefix))
    error_message = "databases.prefix must be empty, or lower case with an underscore at its end."
  }
}

variable "encryption" {
  description = "Key of the catalog, and whether this environment owns the account's setting."
  type = object({
    kms_key_arn = string
    manage      = optional(bool, true)
  })
  validation {
    condition     = can(regex(":key/", var.encryption.kms_key_arn))
    error_message = "encryption.kms_key_arn must be the ARN of a key."
  }
}
