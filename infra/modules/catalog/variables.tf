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

variable "lake_formation" {
  description = "Whether IAM's decision is granted to hold for the databases, where Lake Formation's defaults were switched off."
  type = object({
    grant_to_iam = optional(bool, false)
  })
  default = {}
}

variable "queries" {
  description = "Bucket and key of results, and GB that one query of Athena may read."
  type = object({
    results_bucket = string
    kms_key_arn    = string
    most_gb        = optional(number, 100)
  })
  validation {
    condition     = can(regex(":key/", var.queries.kms_key_arn))
    error_message = "queries.kms_key_arn must be the ARN of a key."
  }
  validation {
    condition     = var.queries.most_gb >= 1
    error_message = "queries.most_gb must be at least 1."
  }
}
