variable "name" {
  description = "Prefix of everything, `<project>-<environment>`; clusters carry it as their name and as tag `name`."
  type        = string
}

variable "release_label" {
  description = "Release of EMR. 7.12 and newer 7.x: Amazon Linux 2023 and standard support."
  type        = string
  default     = "emr-7.12.0"
  validation {
    condition     = can(regex("^emr-7\\.(1[2-9]|[2-9][0-9])\\.[0-9]+$", var.release_label))
    error_message = "release_label must be emr-7.12.0 or a newer 7.x; 8.x boots from other buckets, which the S3 endpoint's policy would have to admit."
  }
}

variable "release_sha256" {
  description = "Checksum of the binary that nodes install, as scripts/build-release prints it; null while there is none."
  type        = string
  default     = null
  validation {
    condition     = var.release_sha256 == null || can(regex("^[0-9a-f]{64}$", var.release_sha256))
    error_message = "release_sha256 must be 64 hexadecimal digits."
  }
}

variable "nodes" {
  description = "Instance types and counts, and GB of the volume for shuffles and spills. Task nodes run on Spot, in one group per type. The network encrypts what goes between the default types (between m5 and m5a it does not)."
  type = object({
    primary_type = optional(string, "m6i.xlarge")
    core_type    = optional(string, "m6i.xlarge")
    core_count   = optional(number, 1)
    task_types   = optional(list(string), ["m6i.xlarge", "m6a.xlarge", "m7i.xlarge"])
    task_count   = optional(number, 1)
    volume_gb    = optional(number, 100)
  })
  default = {}
  validation {
    condition     = length(distinct(var.nodes.task_types)) >= 3 && length(distinct(var.nodes.task_types)) == length(var.nodes.task_types)
    error_message = "nodes.task_types needs at least three different types: one type alone is often not to be had on Spot."
  }
  validation {
    condition     = alltrue([for type in concat([var.nodes.primary_type, var.nodes.core_type], var.nodes.task_types) : !can(regex("^(m[1-5]|c[1-5]|r[1-5]|t[1-4])[a-d]*\\.", type))])
    error_message = "nodes must be of types between which the network encrypts, such as m6i, m6a or m7i: nothing else encrypts what executors send each other unless you give them certificates."
  }
  validation {
    condition     = var.nodes.core_count >= 1 && var.nodes.task_count >= 1
    error_message = "nodes.core_count and nodes.task_count must be at least 1: EMR starts no cluster with an empty group."
  }
  validation {
    condition     = var.nodes.volume_gb >= 32
    error_message = "nodes.volume_gb must be at least 32."
  }
}

variable "scaling" {
  description = "Least and most executors (core and task nodes) between which pulse scales."
  type = object({
    min_units = optional(number, 2)
    max_units = optional(number, 10)
  })
  default = {}
  validation {
    condition     = var.scaling.min_units >= 2 && var.scaling.max_units >= var.scaling.min_units && var.scaling.max_units <= 100
    error_message = "scaling must have 2 <= min_units <= max_units <= 100."
  }
}

variable "idle_timeout_seconds" {
  description = "Idle seconds after which EMR ends the cluster."
  type        = number
  default     = 1800
  validation {
    condition     = var.idle_timeout_seconds >= 60 && var.idle_timeout_seconds <= 604800
    error_message = "idle_timeout_seconds must lie between 60 and 604800, as EMR asks."
  }
}

variable "step_concurrency" {
  description = "Steps at once; each costs a JVM on the primary node."
  type        = number
  default     = 4
  validation {
    condition     = var.step_concurrency >= 1 && var.step_concurrency <= 16
    error_message = "step_concurrency must lie between 1 and 16."
  }
}

variable "network" {
  description = "Private subnets, the preferred one first, and the security groups primary, workers and service."
  type = object({
    subnet_ids         = list(string)
    security_group_ids = map(string)
  })
  validation {
    condition     = length(var.network.subnet_ids) > 0
    error_message = "network.subnet_ids must name at least one subnet."
  }
  validation {
    condition     = length(setsubtract(["primary", "workers", "service"], keys(var.network.security_group_ids))) == 0
    error_message = "network.security_group_ids must have primary, workers and service."
  }
}

variable "roles" {
  description = "ARN of EMR's service role and name of the nodes' instance profile."
  type = object({
    service_arn  = string
    node_profile = string
  })
}

variable "storage" {
  description = "Buckets of artifacts and logs, root of the lake, layers that may lie elsewhere, root of the raw files, and the key."
  type = object({
    artifacts_bucket = string
    logs_bucket      = string
    lake_url         = string
    layer_urls       = optional(list(string), [])
    raw_url          = string
    kms_key_arn      = string
  })
  validation {
    condition     = alltrue([for url in [var.storage.lake_url, var.storage.raw_url] : can(regex("^s3://[^/]+/.*[^/]$", url))])
    error_message = "storage.lake_url and storage.raw_url must be s3://<bucket>/<prefix> without a slash at the end."
  }
}

variable "settings" {
  description = "Further settings of scheduler and executors, as docs/reference/settings.md lists them."
  type        = map(string)
  default     = {}
  validation {
    condition     = alltrue([for key, value in var.settings : can(regex("^PULSE_[A-Z_]+$", key)) && !can(regex("[\n\"'\\\\]", value))])
    error_message = "settings must be PULSE_* variables, with values on one line and without quotes."
  }
  validation {
    condition     = alltrue([for key, value in var.settings : !can(regex("TOKEN|SECRET|PASSWORD", key)) || (key == "PULSE_API_TOKEN_SOURCE" && startswith(value, "ssm:/"))])
    error_message = "settings lie readable in the artifacts bucket: secrets belong in a SecureString parameter, such as PULSE_API_TOKEN_SOURCE = \"ssm:/..\" names."
  }
}

variable "prices" {
  description = "infra/prices.json; the on-demand price of a type is the most that is paid for it on Spot."
  type = object({
    ec2_hour = map(number)
  })
  validation {
    condition     = alltrue([for type in concat([var.nodes.primary_type, var.nodes.core_type], var.nodes.task_types) : contains(keys(var.prices.ec2_hour), type)])
    error_message = "prices.ec2_hour must have every type of nodes: add it to infra/prices.json."
  }
}

variable "parked" {
  description = "Whether the network has no endpoints now, so that no cluster may be started."
  type        = bool
  default     = false
}

variable "terraform_owned" {
  description = "Whether Terraform itself starts a cluster; off, because EMR ends it when idle and the next apply would start it again."
  type        = bool
  default     = false
}

variable "tags" {
  description = "Tags of clusters; EMR does not take the provider's default tags to instances."
  type        = map(string)
  default     = {}
}
