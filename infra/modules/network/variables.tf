variable "name" {
  description = "Prefix of everything, `<project>-<environment>`."
  type        = string
}

variable "network" {
  description = "Addresses; two zones for private subnets; how many of them hold interface endpoints (each zone is paid for); whether nodes have a shell of Session Manager; endpoints beyond those that pulse needs; whether there are public subnets, which the cluster never uses."
  type = object({
    cidr              = string
    zones             = list(string)
    endpoint_zones    = optional(number, 1)
    shell             = optional(bool, false)
    further_endpoints = optional(set(string), [])
    public_subnets    = optional(bool, false)
  })
  validation {
    condition     = length(setsubtract(var.network.further_endpoints, ["ec2", "kms", "monitoring", "ssm", "ssmmessages", "sts"])) == 0
    error_message = "network.further_endpoints may name ec2, kms, monitoring, ssm, ssmmessages and sts."
  }
  validation {
    condition     = can(cidrhost(var.network.cidr, 0)) && try(tonumber(split("/", var.network.cidr)[1]), 99) <= 16
    error_message = "network.cidr must be a block of /16 or larger: private subnets get a sixteenth each (/20), as a group of nodes without free addresses stops growing."
  }
  validation {
    condition     = length(var.network.zones) == 2 && length(distinct(var.network.zones)) == 2
    error_message = "network.zones must be two different zones."
  }
  validation {
    condition     = contains([1, 2], var.network.endpoint_zones)
    error_message = "network.endpoint_zones must be 1 or 2."
  }
}

variable "parked" {
  description = "Whether there are no interface endpoints, which are nearly all that costs while nothing runs. Nodes cannot work then."
  type        = bool
  default     = false
}

variable "bucket_arns" {
  description = "ARNs of the buckets that nodes reach."
  type        = list(string)
  validation {
    condition     = length(var.bucket_arns) > 0 && alltrue([for arn in var.bucket_arns : can(regex(":s3:::[^*/]+$", arn))])
    error_message = "bucket_arns must be ARNs of single buckets, without *."
  }
}

variable "flow_logs" {
  description = "Bucket of the flow logs and seconds that one record covers, 60 or 600."
  type = object({
    bucket_arn       = string
    interval_seconds = optional(number, 600)
  })
  validation {
    condition     = contains([60, 600], var.flow_logs.interval_seconds)
    error_message = "flow_logs.interval_seconds must be 60 or 600."
  }
}
