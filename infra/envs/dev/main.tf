# Wiring only, and the same in every environment; values are in values.auto.tfvars.

terraform {
  required_version = ">= 1.11"
  required_providers {
    aws = { source = "hashicorp/aws", version = "~> 5.100" } # what it was tested with
  }
  # Bucket and region come from scripts/deploy. The lock is an object beside the state: no table.
  backend "s3" {
    key          = "terraform.tfstate"
    encrypt      = true
    use_lockfile = true
  }
}

provider "aws" {
  region            = var.region
  s3_use_path_style = var.s3_use_path_style
  default_tags {
    tags = local.tags
  }
}

locals {
  name   = "${var.project}-${var.environment}"
  tags   = merge(var.tags, { project = var.project, environment = var.environment })
  prices = jsondecode(file("${path.module}/../../prices.json"))
  # The token of the submit API, say.
  reads_parameters = anytrue([for value in values(var.settings) : startswith(value, "ssm:")])
  raw_url          = "s3://${module.lake.buckets["raw"].name}/files"
}

module "kms" {
  source            = "../../modules/kms"
  name              = local.name
  key               = var.key
  cluster_role_arns = [module.iam.role_arns["service"]]
}

module "lake" {
  source         = "../../modules/lake"
  name           = local.name
  kms_key_arn    = module.kms.key_arn
  lifecycle_days = var.lifecycle_days
}

module "network" {
  source      = "../../modules/network"
  name        = local.name
  network     = merge(var.network, { further_endpoints = setunion(var.network.further_endpoints, local.reads_parameters ? ["ssm"] : []) })
  parked      = var.parked
  bucket_arns = [for bucket in module.lake.buckets : bucket.arn]
  flow_logs   = { bucket_arn = module.lake.logs_ready }
}

module "catalog" {
  source         = "../../modules/catalog"
  name           = local.name
  layers         = module.lake.lake.layers
  databases      = { prefix = var.account.database_prefix }
  lake_formation = { grant_to_iam = var.account.lake_formation_grants_to_iam }
  queries        = { results_bucket = module.lake.buckets["artifacts"].name, kms_key_arn = module.kms.key_arn, most_gb = var.limits.query_gb }
}

module "iam" {
  source                   = "../../modules/iam"
  name                     = local.name
  kms_key_arn              = module.kms.key_arn
  buckets                  = { for kind, bucket in module.lake.buckets : kind => bucket.arn }
  databases                = values(module.catalog.databases)
  vpc_id                   = module.network.vpc_id
  principals               = var.principals
  permissions_boundary_arn = var.account.permissions_boundary_arn
}

module "cluster" {
  source         = "../../modules/cluster"
  name           = local.name
  release_label  = var.release_label
  release_sha256 = var.release_sha256
  nodes          = var.nodes
  scaling        = var.scaling
  settings       = merge(var.account.database_prefix == "" ? {} : { PULSE_CATALOG_PREFIX = var.account.database_prefix }, var.settings)
  prices         = local.prices
  parked         = var.parked
  network        = { subnet_ids = module.network.private_subnet_ids, security_group_ids = module.network.security_group_ids }
  roles          = { service_arn = module.iam.service_role_arn, node_profile = module.iam.node_profile.name }
  storage = {
    artifacts_bucket = module.lake.buckets["artifacts"].name
    logs_bucket      = module.lake.buckets["logs"].name
    lake_url         = module.lake.lake.root
    layer_urls       = values(module.lake.lake.layers)
    raw_url          = local.raw_url
    kms_key_arn      = module.kms.key_arn
  }
  idle_timeout_seconds = var.idle_timeout_seconds
  step_concurrency     = var.step_concurrency
  terraform_owned      = var.terraform_owned_cluster
  tags                 = local.tags
}

module "observability" {
  source = "../../modules/observability"
  name   = local.name
  logs   = { kms_key_arn = module.kms.key_arn, retention_days = var.lifecycle_days.log_groups }
  limits = { run_seconds = var.limits.run_seconds, queue_seconds = var.limits.queue_seconds, month_usd = var.limits.month_usd }
  notify = var.notify
}
