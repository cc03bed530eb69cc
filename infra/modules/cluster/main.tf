# The cluster: what every node gets, and one specification from which Terraform (if asked) and pulse start the same thing.

terraform {
  required_version = ">= 1.11"
  required_providers {
    aws = { source = "hashicorp/aws", version = ">= 5.100, < 7.0" }
  }
}

data "aws_region" "this" {}

locals {
  path   = "/${replace(var.name, "-", "/")}"
  files  = "${path.module}/files"
  bucket = var.storage.artifacts_bucket
  # Keys carry the content's checksum: a running cluster goes on booting nodes from what it was started with.
  objects = {
    bootstrap = { name = "bootstrap.sh", content = file("${local.files}/bootstrap.sh") }
    agent     = { name = "pulse-node", content = file("${local.files}/pulse-node") }
    settings  = { name = "pulse.env", content = local.settings }
  }
  urls = { for key, object in aws_s3_object.node : key => "s3://${object.bucket}/${object.key}" }
  settings = join("", [for key, value in merge({
    AWS_REGION              = data.aws_region.this.name
    PULSE_NAME              = var.name
    PULSE_LAKE              = var.storage.lake_url
    PULSE_VAR               = "raw=${var.storage.raw_url}"
    PULSE_ALLOWED_LAKES     = join(",", var.storage.layer_urls)
    PULSE_ALLOWED_ROOTS     = var.storage.raw_url
    PULSE_LOG_GROUP         = local.path
    PULSE_LOG_URL           = local.log_url
    PULSE_CATALOG           = "glue"
    PULSE_SCALER            = "emr"
    PULSE_SCALE_LEAST_NODES = var.scaling.min_units
    PULSE_SCALE_MOST_NODES  = var.scaling.max_units
    # Spills share the volume with shuffles, and a full volume stops both.
    PULSE_SPILL_LIMIT_MIB = floor(var.nodes.volume_gb * 1024 / 2)
    # The instance's own metadata: a notice two minutes before a Spot node is taken away lets its executor drain.
    PULSE_SPOT_NOTICE_URL = "http://169.254.169.254"
  }, var.settings) : "${key}=${value}\n"])
  log_url = "s3://${var.storage.logs_bucket}/emr"
}

resource "aws_s3_object" "node" {
  #checkov:skip=CKV_AWS_186:the bucket encrypts with the key by default
  for_each               = local.objects
  bucket                 = local.bucket
  key                    = "node/${sha256(each.value.content)}/${each.value.name}"
  content                = each.value.content
  server_side_encryption = "aws:kms"
  kms_key_id             = var.storage.kms_key_arn
}

resource "aws_emr_security_configuration" "this" {
  #checkov:skip=CKV_AWS_351:EMR's encryption in transit covers Hadoop and Spark, none of which carries our rows
  name = "${var.name}-${substr(sha256(local.security), 0, 8)}"
  # A configuration cannot be changed, only replaced; clusters that run keep the old one.
  lifecycle {
    create_before_destroy = true
  }
  configuration = local.security
}

locals {
  security = jsonencode({
    EncryptionConfiguration = {
      # EMR's encryption in transit covers Hadoop and Spark, none of which carries our rows; see docs/decisions/0022.
      EnableInTransitEncryption = false
      EnableAtRestEncryption    = true
      AtRestEncryptionConfiguration = {
        S3EncryptionConfiguration = { EncryptionMode = "SSE-KMS", AwsKmsKey = var.storage.kms_key_arn }
        LocalDiskEncryptionConfiguration = {
          EncryptionKeyProviderType = "AwsKms"
          AwsKmsKey                 = var.storage.kms_key_arn
          EnableEbsEncryption       = true
        }
      }
    }
    # Version 2 only, and not from containers.
    InstanceMetadataServiceConfiguration = { MinimumInstanceMetadataServiceVersion = 2, HttpPutResponseHopLimit = 1 }
  })
}

# A setting of the account (infra/account). An environment that once owned it lets go of it.
removed {
  from = aws_emr_block_public_access_configuration.this
  lifecycle {
    destroy = false
  }
}

# ---- the specification

locals {
  # Groups, not fleets: of a group one can end a chosen, drained instance (docs/decisions/0020). A group has one type, so task
  # capacity on Spot is one group per type. EMR refuses to start a cluster with an empty group, but adds one to a cluster.
  task_names = [for type in var.nodes.task_types : "task-${replace(type, ".", "-")}"]
  volumes = { EbsBlockDeviceConfigs = [{
    VolumeSpecification = { VolumeType = "gp3", SizeInGB = var.nodes.volume_gb, Iops = 3000, Throughput = 125 }
    VolumesPerInstance  = 1
  }] }
  spot_groups = [for index, type in var.nodes.task_types : {
    Name             = local.task_names[index]
    InstanceRole     = "TASK"
    Market           = "SPOT"
    BidPrice         = format("%.3f", var.prices.ec2_hour[type])
    InstanceType     = type
    InstanceCount    = index == 0 ? var.nodes.task_count : 0
    EbsConfiguration = local.volumes
  }]
  # When no type is to be had on Spot: groups know no switch to on demand, so the scaler needs a group to go to.
  reserve_group = {
    Name             = "task-ondemand"
    InstanceRole     = "TASK"
    Market           = "ON_DEMAND"
    InstanceType     = var.nodes.core_type
    InstanceCount    = 0
    EbsConfiguration = local.volumes
  }
  # Nothing of ours runs on YARN. Its checker would call a node unhealthy whose volume is nine tenths full of shuffles, and EMR
  # would put another machine in the place of a core node at work.
  configurations = [{
    Classification = "yarn-site"
    Properties     = { "yarn.nodemanager.disk-health-checker.max-disk-utilization-per-disk-percentage" = "99.0" }
  }]
  bootstrap = {
    Name = "pulse"
    ScriptBootstrapAction = {
      Path = local.urls["bootstrap"]
      Args = [
        "--release", "s3://${local.bucket}/${local.release_key}", "--sha256", coalesce(var.release_sha256, "none"),
        "--agent", local.urls["agent"], "--settings", local.urls["settings"],
      ]
    }
  }
  release_key = "releases/${coalesce(var.release_sha256, "none")}/pulse"

  # `run_job_flow` is a request of EMR's API RunJobFlow as it stands: any client can start the cluster from it.
  # `add_instance_groups` is one of AddInstanceGroups, without the cluster's id: the empty groups that the scaler fills.
  specification = {
    version = 1
    run_job_flow = {
      Name         = var.name
      ReleaseLabel = var.release_label
      Applications = [{ Name = "Hadoop" }]
      LogUri       = "${local.log_url}/"
      ServiceRole  = var.roles.service_arn
      JobFlowRole  = var.roles.node_profile
      Instances = {
        InstanceGroups = concat([
          { Name = "primary", InstanceRole = "MASTER", Market = "ON_DEMAND", InstanceType = var.nodes.primary_type, InstanceCount = 1, EbsConfiguration = local.volumes },
          { Name = "core", InstanceRole = "CORE", Market = "ON_DEMAND", InstanceType = var.nodes.core_type, InstanceCount = var.nodes.core_count, EbsConfiguration = local.volumes },
        ], [for group in local.spot_groups : group if group.InstanceCount > 0])
        Ec2SubnetId                   = var.network.subnet_ids[0]
        EmrManagedMasterSecurityGroup = var.network.security_group_ids["primary"]
        EmrManagedSlaveSecurityGroup  = var.network.security_group_ids["workers"]
        ServiceAccessSecurityGroup    = var.network.security_group_ids["service"]
        KeepJobFlowAliveWhenNoSteps   = true
        TerminationProtected          = false
        UnhealthyNodeReplacement      = false
      }
      SecurityConfiguration = aws_emr_security_configuration.this.name
      AutoTerminationPolicy = { IdleTimeout = var.idle_timeout_seconds }
      StepConcurrencyLevel  = var.step_concurrency
      ScaleDownBehavior     = "TERMINATE_AT_TASK_COMPLETION"
      VisibleToAllUsers     = true
      BootstrapActions      = [local.bootstrap]
      Configurations        = local.configurations
      Tags                  = [for key, value in local.tags : { Key = key, Value = value }]
    }
    # A cluster lies in one zone; where it does not come up there, the next subnet is another zone.
    subnets             = var.network.subnet_ids
    add_instance_groups = { InstanceGroups = concat([for group in local.spot_groups : group if group.InstanceCount == 0], [local.reserve_group]) }
    scaling             = { min_units = var.scaling.min_units, max_units = var.scaling.max_units, task_groups = concat(local.task_names, [local.reserve_group.Name]) }
    storage             = { lake = var.storage.lake_url, raw = var.storage.raw_url, projects = "s3://${local.bucket}/projects" }
    step                = { jar = "command-runner.jar", prefix = ["/opt/pulse/bin/pulse-node", "step"] }
  }
  tags = merge(var.tags, { name = var.name, for-use-with-amazon-emr-managed-policies = "true" })
}

# Without a release there is nothing to install, and without endpoints nothing works: so nothing to start.
resource "aws_ssm_parameter" "specification" {
  #checkov:skip=CKV2_AWS_34:no secret: roles, subnets and sizes that whoever may describe a cluster sees anyway
  count       = var.release_sha256 == null || var.parked ? 0 : 1
  name        = "${local.path}/cluster"
  description = "How pulse starts a cluster of ${var.name}"
  type        = "String"
  tier        = "Advanced" # more than 4 KB
  value       = jsonencode(local.specification)
}

# ---- the same as a cluster of Terraform's own, off by default: EMR ends it when it is idle, and the next apply starts it again

resource "aws_emr_cluster" "this" {
  #checkov:skip=CKV2_AWS_7:its groups come from modules/network, where tests and validate-m0 see that no address range may come in
  count                             = var.terraform_owned ? 1 : 0
  name                              = local.specification.run_job_flow.Name
  release_label                     = local.specification.run_job_flow.ReleaseLabel
  applications                      = [for application in local.specification.run_job_flow.Applications : application.Name]
  log_uri                           = local.specification.run_job_flow.LogUri
  service_role                      = local.specification.run_job_flow.ServiceRole
  security_configuration            = local.specification.run_job_flow.SecurityConfiguration
  step_concurrency_level            = local.specification.run_job_flow.StepConcurrencyLevel
  scale_down_behavior               = local.specification.run_job_flow.ScaleDownBehavior
  keep_job_flow_alive_when_no_steps = true
  termination_protection            = false
  unhealthy_node_replacement        = false
  configurations_json               = jsonencode(local.configurations)
  visible_to_all_users              = true
  tags                              = local.tags

  ec2_attributes {
    instance_profile                  = local.specification.run_job_flow.JobFlowRole
    subnet_id                         = local.specification.run_job_flow.Instances.Ec2SubnetId
    emr_managed_master_security_group = local.specification.run_job_flow.Instances.EmrManagedMasterSecurityGroup
    emr_managed_slave_security_group  = local.specification.run_job_flow.Instances.EmrManagedSlaveSecurityGroup
    service_access_security_group     = local.specification.run_job_flow.Instances.ServiceAccessSecurityGroup
  }

  master_instance_group {
    name           = "primary"
    instance_type  = var.nodes.primary_type
    instance_count = 1
    ebs_config {
      type                 = "gp3"
      iops                 = 3000
      throughput           = 125
      size                 = var.nodes.volume_gb
      volumes_per_instance = 1
    }
  }

  core_instance_group {
    name           = "core"
    instance_type  = var.nodes.core_type
    instance_count = var.nodes.core_count
    ebs_config {
      type                 = "gp3"
      iops                 = 3000
      throughput           = 125
      size                 = var.nodes.volume_gb
      volumes_per_instance = 1
    }
  }

  bootstrap_action {
    name = local.bootstrap.Name
    path = local.bootstrap.ScriptBootstrapAction.Path
    args = local.bootstrap.ScriptBootstrapAction.Args
  }

  auto_termination_policy {
    idle_timeout = local.specification.run_job_flow.AutoTerminationPolicy.IdleTimeout
  }

  lifecycle {
    precondition {
      condition     = var.release_sha256 != null
      error_message = "a cluster needs a release: run scripts/build-release first and deploy with its checksum."
    }
  }
}

resource "aws_emr_instance_group" "task" {
  for_each       = var.terraform_owned ? { for group in concat(local.spot_groups, [merge(local.reserve_group, { BidPrice = null })]) : group.Name => group } : {}
  cluster_id     = aws_emr_cluster.this[0].id
  name           = each.key
  instance_type  = each.value.InstanceType
  instance_count = each.value.InstanceCount
  bid_price      = each.value.BidPrice
  ebs_config {
    type                 = "gp3"
    iops                 = 3000
    size                 = var.nodes.volume_gb
    volumes_per_instance = 1
  }
  lifecycle {
    # The scaler changes it while work waits.
    ignore_changes = [instance_count]
  }
}
