mock_provider "aws" {
  mock_data "aws_region" { defaults = { name = "us-east-1" } }
}

variables {
  name           = "pulse-dev"
  release_sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
  network        = { subnet_ids = ["subnet-1", "subnet-2"], security_group_ids = { primary = "sg-1", workers = "sg-2", service = "sg-3", endpoints = "sg-4" } }
  roles          = { service_arn = "arn:aws:iam::111122223333:role/pulse-dev-service", node_profile = "pulse-dev-node" }
  storage = {
    artifacts_bucket = "artifacts"
    logs_bucket      = "logs"
    lake_url         = "s3://silver/lake"
    raw_url          = "s3://raw/files"
    kms_key_arn      = "arn:aws:kms:us-east-1:111122223333:key/0"
  }
  prices = { ec2_hour = { "m6i.xlarge" = 0.192, "m6a.xlarge" = 0.1728, "m7i.xlarge" = 0.2016 } }
}

run "who_is_on_demand_and_who_on_spot" {
  command = plan
  assert {
    condition     = length(aws_emr_cluster.this) == 0 && length(aws_emr_instance_group.task) == 0
    error_message = "Terraform must own no cluster unless asked to"
  }
  assert {
    condition = { for g in local.specification.run_job_flow.Instances.InstanceGroups : g.InstanceRole => g.Market... } == {
      MASTER = ["ON_DEMAND"], CORE = ["ON_DEMAND"], TASK = ["SPOT"],
    }
    error_message = "primary and core on demand, task on Spot"
  }
  assert {
    condition     = length(distinct([for g in local.spot_groups : g.InstanceType])) >= 3 && alltrue([for g in local.spot_groups : tonumber(g.BidPrice) <= var.prices.ec2_hour[g.InstanceType] + 0.0005])
    error_message = "task capacity needs three types, none paid above its on-demand price"
  }
  assert {
    condition     = alltrue([for g in local.specification.run_job_flow.Instances.InstanceGroups : g.InstanceCount > 0])
    error_message = "EMR starts no cluster with an empty group"
  }
  assert {
    condition     = length(local.specification.add_instance_groups.InstanceGroups) == 3 && !can(local.specification.run_job_flow.Instances.InstanceFleets)
    error_message = "the other types are added as empty groups, and there are no fleets"
  }
  assert {
    condition = one([for g in local.specification.add_instance_groups.InstanceGroups : g if g.Market == "ON_DEMAND"]) == local.reserve_group && local.reserve_group.InstanceCount == 0 && (
      !can(local.reserve_group.BidPrice)
    )
    error_message = "where no type is to be had on Spot, the scaler needs an empty group on demand"
  }
  assert {
    condition     = [for a in local.specification.run_job_flow.Applications : a.Name] == ["Hadoop"]
    error_message = "only Hadoop is installed"
  }
}

run "ends_when_idle_lies_private_is_encrypted" {
  command = plan
  assert {
    condition     = local.specification.run_job_flow.AutoTerminationPolicy.IdleTimeout == 1800
    error_message = "a cluster must end after 1800 idle seconds"
  }
  assert {
    condition     = local.specification.run_job_flow.Instances.Ec2SubnetId == "subnet-1" && local.specification.run_job_flow.Instances.ServiceAccessSecurityGroup == "sg-3"
    error_message = "it must lie in the private subnet, reached by EMR through the service's group"
  }
  assert {
    condition     = jsondecode(aws_emr_security_configuration.this.configuration).InstanceMetadataServiceConfiguration == { MinimumInstanceMetadataServiceVersion = 2, HttpPutResponseHopLimit = 1 }
    error_message = "instance metadata: version 2 only, one hop"
  }
  assert {
    condition     = jsondecode(aws_emr_security_configuration.this.configuration).EncryptionConfiguration.AtRestEncryptionConfiguration.LocalDiskEncryptionConfiguration == { EncryptionKeyProviderType = "AwsKms", AwsKmsKey = var.storage.kms_key_arn, EnableEbsEncryption = true }
    error_message = "volumes must be encrypted with the key"
  }
  assert {
    condition     = anytrue([for t in local.specification.run_job_flow.Tags : t.Key == "name" && t.Value == "pulse-dev"]) && anytrue([for t in local.specification.run_job_flow.Tags : t.Key == "for-use-with-amazon-emr-managed-policies"])
    error_message = "roles find their clusters by tag name, EMR's managed policy by its own"
  }
}

# YARN calls a node with a nearly full volume unhealthy, and EMR then replaces a core node under an executor at work.
run "a_full_volume_costs_no_node" {
  command = apply
  assert {
    condition     = local.specification.run_job_flow.Instances.UnhealthyNodeReplacement == false
    error_message = "EMR must not replace nodes that YARN calls unhealthy"
  }
  assert {
    condition     = local.specification.run_job_flow.Configurations[0].Properties["yarn.nodemanager.disk-health-checker.max-disk-utilization-per-disk-percentage"] == "99.0"
    error_message = "YARN must not call a node unhealthy whose volume is in use"
  }
  assert {
    condition     = strcontains(aws_s3_object.node["settings"].content, "PULSE_SPILL_LIMIT_MIB=51200\n")
    error_message = "spills must leave half of the volume to shuffles"
  }
}

run "types_between_which_nothing_encrypts_are_refused" {
  command = plan
  variables {
    nodes  = { core_type = "m5.xlarge" }
    prices = { ec2_hour = { "m5.xlarge" = 0.192, "m6i.xlarge" = 0.192, "m6a.xlarge" = 0.1728, "m7i.xlarge" = 0.2016 } }
  }
  expect_failures = [var.nodes]
}

run "nodes_install_one_binary_by_checksum" {
  command = apply
  assert {
    condition     = length(local.bootstrap.ScriptBootstrapAction.Args) == 8 && local.bootstrap.ScriptBootstrapAction.Args[1] == "s3://artifacts/releases/${var.release_sha256}/pulse" && local.bootstrap.ScriptBootstrapAction.Args[3] == var.release_sha256
    error_message = "the bootstrap action must get the binary's address and checksum"
  }
  assert {
    condition     = alltrue([for o in aws_s3_object.node : strcontains(o.key, sha256(o.content)) && o.server_side_encryption == "aws:kms"])
    error_message = "what nodes fetch lies under its checksum, encrypted"
  }
  assert {
    condition     = strcontains(aws_s3_object.node["settings"].content, "PULSE_LAKE=s3://silver/lake\n") && strcontains(aws_s3_object.node["settings"].content, "PULSE_VAR=raw=s3://raw/files\n")
    error_message = "nodes must know lake and raw files"
  }
  assert {
    condition     = alltrue([for line in ["PULSE_CATALOG=glue", "PULSE_SCALER=emr", "PULSE_SCALE_LEAST_NODES=2", "PULSE_SCALE_MOST_NODES=10"] : strcontains(aws_s3_object.node["settings"].content, "${line}\n")])
    error_message = "nodes must register tables, and scale between the bounds"
  }
  assert {
    condition     = jsondecode(aws_ssm_parameter.specification[0].value).run_job_flow.Name == "pulse-dev" && aws_ssm_parameter.specification[0].name == "/pulse/dev/cluster"
    error_message = "the specification must be kept for pulse"
  }
  assert {
    condition     = length(aws_ssm_parameter.specification[0].value) < 8192
    error_message = "a parameter holds 8 KB at most"
  }
}

run "without_a_release_there_is_nothing_to_start" {
  command = plan
  variables { release_sha256 = null }
  assert {
    condition     = length(aws_ssm_parameter.specification) == 0 && output.release_url == null
    error_message = "no specification without a binary"
  }
}

run "parked_there_is_nothing_to_start" {
  command = plan
  variables { parked = true }
  assert {
    condition     = length(aws_ssm_parameter.specification) == 0 && output.release_url != null
    error_message = "no specification while nodes could not work; the release stays known"
  }
}

run "terraforms_own_cluster_is_the_same" {
  command = apply
  variables { terraform_owned = true }
  assert {
    condition     = aws_emr_cluster.this[0].auto_termination_policy[0].idle_timeout == 1800 && aws_emr_cluster.this[0].release_label == local.specification.run_job_flow.ReleaseLabel
    error_message = "it must end when idle, on the same release"
  }
  assert {
    condition     = aws_emr_cluster.this[0].core_instance_group[0].bid_price == null && length([for g in aws_emr_instance_group.task : g if g.bid_price != null]) == 3 && length(aws_emr_instance_group.task) == 4
    error_message = "core on demand, three task groups on Spot and one on demand"
  }
  assert {
    condition     = aws_emr_cluster.this[0].security_configuration == aws_emr_security_configuration.this.name && one([for b in aws_emr_cluster.this[0].bootstrap_action : b.args]) == tolist(local.bootstrap.ScriptBootstrapAction.Args)
    error_message = "it must carry the security configuration and the bootstrap action"
  }
}

run "a_cluster_of_terraform_without_release_is_refused" {
  command = plan
  variables {
    terraform_owned = true
    release_sha256  = null
  }
  expect_failures = [aws_emr_cluster.this]
}

run "what_is_wrong_is_refused" {
  command = plan
  variables {
    release_label        = "emr-6.15.0"
    release_sha256       = "latest"
    nodes                = { task_types = ["m6i.xlarge", "m6a.xlarge"], core_count = 0 }
    scaling              = { min_units = 0 }
    idle_timeout_seconds = 10
    settings             = { PULSE_API_TOKEN = "x", PATH = "y" }
    network              = { subnet_ids = ["subnet-1", "subnet-2"], security_group_ids = {} }
  }
  expect_failures = [var.release_label, var.release_sha256, var.nodes, var.scaling, var.idle_timeout_seconds, var.settings, var.network]
}

run "a_setting_may_name_the_token_s_parameter" {
  command = plan
  variables { settings = { PULSE_API_TOKEN_SOURCE = "ssm:/pulse/test/api-token" } }
}

run "a_setting_may_not_be_the_token" {
  command = plan
  variables { settings = { PULSE_API_TOKEN_SOURCE = "0123456789abcdef" } }
  expect_failures = [var.settings]
}

run "a_type_without_price_is_refused" {
  command = plan
  variables { prices = { ec2_hour = { "m6i.xlarge" = 0.192 } } }
  expect_failures = [var.prices]
}
