# Objects are checked where they are used, in the modules.

variable "project" {
  description = "First part of every name."
  type        = string
}

variable "environment" {
  description = "Second part of every name."
  type        = string
}

variable "region" {
  description = "Region; prices.json holds the prices of one."
  type        = string
}

variable "s3_use_path_style" {
  description = "Address buckets by path instead of by host name, as an emulator needs; scripts set it where an endpoint is given."
  type        = bool
  default     = false
}

variable "tags" {
  description = "Further tags of everything."
  type        = map(string)
  default     = {}
}

variable "account" {
  description = "How the environment fits into its account: a prefix of databases where several environments share one, whether IAM's decision must be granted to hold where Lake Formation's defaults were switched off, and the boundary of roles where one is asked for. What an account has once is in infra/account."
  type = object({
    database_prefix              = optional(string, "")
    lake_formation_grants_to_iam = optional(bool, false)
    permissions_boundary_arn     = optional(string)
  })
  default = {}
}

variable "key" {
  description = "See modules/kms."
  type = object({
    rotation_days = optional(number, 365)
    deletion_days = optional(number, 30)
  })
  default = {}
}

variable "network" {
  description = "See modules/network."
  type = object({
    cidr              = string
    zones             = list(string)
    endpoint_zones    = optional(number, 1)
    shell             = optional(bool, false)
    further_endpoints = optional(set(string), [])
    public_subnets    = optional(bool, false)
  })
}

variable "parked" {
  description = "Without interface endpoints, and so without clusters, until the next deployment; scripts/deploy --park sets it."
  type        = bool
  default     = false
}

variable "lifecycle_days" {
  description = "See modules/lake; log_groups are the days of CloudWatch's log groups, see modules/observability."
  type = object({
    incomplete_upload = optional(number, 7)
    infrequent        = optional(number, 30)
    archive           = optional(number, 180)
    replaced          = optional(number, 365)
    derived           = optional(number, 60)
    ledger            = optional(number, 7)
    results           = optional(number, 7)
    logs              = optional(number, 180)
    log_groups        = optional(number, 180)
  })
  default = {}
}

variable "principals" {
  description = "See modules/iam."
  type = object({
    submitters    = optional(list(string), [])
    readers       = optional(list(string), [])
    must_be_named = optional(bool, false)
  })
  default = {}
}

variable "release_label" {
  description = "Release of EMR."
  type        = string
  default     = "emr-7.12.0"
}

variable "release_sha256" {
  description = "Checksum of the binary; scripts/deploy takes it from scripts/build-release."
  type        = string
  default     = null
}

variable "nodes" {
  description = "See modules/cluster."
  type = object({
    primary_type = optional(string, "m6i.xlarge")
    core_type    = optional(string, "m6i.xlarge")
    core_count   = optional(number, 1)
    task_types   = optional(list(string), ["m6i.xlarge", "m6a.xlarge", "m7i.xlarge"])
    task_count   = optional(number, 1)
    volume_gb    = optional(number, 100)
  })
  default = {}
}

variable "scaling" {
  description = "See modules/cluster."
  type = object({
    min_units = optional(number, 2)
    max_units = optional(number, 10)
  })
  default = {}
}

variable "idle_timeout_seconds" {
  description = "See modules/cluster."
  type        = number
  default     = 1800
}

variable "step_concurrency" {
  description = "See modules/cluster."
  type        = number
  default     = 4
}

variable "settings" {
  description = "See modules/cluster."
  type        = map(string)
  default     = {}
}

variable "terraform_owned_cluster" {
  description = "See modules/cluster."
  type        = bool
  default     = false
}

variable "limits" {
  description = "See modules/observability; query_gb is what one query of Athena may read, see modules/catalog."
  type = object({
    run_seconds   = optional(number, 21600)
    queue_seconds = optional(number, 900)
    month_usd     = optional(number, 200)
    query_gb      = optional(number, 100)
  })
  default = {}
}

variable "notify" {
  description = "See modules/observability."
  type = object({
    emails = optional(list(string), [])
  })
  default = {}
}
