variable "project" {
  description = "First part of every name."
  type        = string
}

variable "region" {
  description = "Region; catalog and EMR's setting belong to one, roles to all."
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

variable "encrypt_catalog" {
  description = "Whether the account's Glue Data Catalog is encrypted with a key of this state. false where the owner of the account sets it in another way."
  type        = bool
  default     = true
}

variable "existing_roles" {
  description = "Services whose role the account has already; scripts/deploy looks and fills it in."
  type        = list(string)
  default     = []
  validation {
    condition     = length(setsubtract(var.existing_roles, ["spot.amazonaws.com", "elasticmapreduce.amazonaws.com"])) == 0
    error_message = "existing_roles may name spot.amazonaws.com and elasticmapreduce.amazonaws.com."
  }
}
