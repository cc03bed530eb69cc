//! Builds the SDK's requests from a specification.

use aws_sdk_emr::operation::run_job_flow::builders::RunJobFlowFluentBuilder;
use aws_sdk_emr::types::{
    Application, AutoTerminationPolicy, BootstrapActionConfig, Configuration, EbsBlockDeviceConfig, EbsConfiguration,
    InstanceGroupConfig, InstanceRoleType, JobFlowInstancesConfig, MarketType, ScaleDownBehavior,
    ScriptBootstrapActionConfig, Tag, VolumeSpecification,
};

use super::spec::{Bootstrap, Ebs, Group, Instances, RunJobFlow};

/// `subnet` overrides the specification's; `tags` are added to those of the specification.
pub(super) fn run_job_flow(
    request: RunJobFlowFluentBuilder,
    spec: &RunJobFlow,
    subnet: Option<&str>,
    tags: &[(&str, &str)],
) -> RunJobFlowFluentBuilder {
    let of_spec = spec.tags.iter().map(|tag| (tag.key.as_str(), tag.value.as_str()));
    let tags = of_spec.chain(tags.iter().copied()).map(|(key, value)| Tag::builder().key(key).value(value).build());
    let idle = spec.auto_termination_policy.as_ref();
    request
        .name(&spec.name)
        .release_label(&spec.release_label)
        .set_applications(Some(
            spec.applications
                .iter()
                .map(|application| Application::builder().name(&application.name).build())
                .collect(),
        ))
        .log_uri(&spec.log_uri)
        .set_log_encryption_kms_key_id(spec.log_encryption_kms_key_id.clone())
        .service_role(&spec.service_role)
        .job_flow_role(&spec.job_flow_role)
        .instances(instances(&spec.instances, subnet))
        .set_security_configuration(spec.security_configuration.clone())
        .set_auto_termination_policy(
            idle.map(|idle| AutoTerminationPolicy::builder().idle_timeout(idle.idle_timeout).build()),
        )
        .set_step_concurrency_level(spec.step_concurrency_level)
        .set_scale_down_behavior(spec.scale_down_behavior.as_deref().map(ScaleDownBehavior::from))
        .set_visible_to_all_users(spec.visible_to_all_users)
        .set_custom_ami_id(spec.custom_ami_id.clone())
        .set_ebs_root_volume_size(spec.ebs_root_volume_size)
        .set_os_release_label(spec.os_release_label.clone())
        .set_bootstrap_actions(Some(spec.bootstrap_actions.iter().map(bootstrap).collect()))
        .set_configurations(Some(configurations(spec)).filter(|list| !list.is_empty()))
        .set_tags(Some(tags.collect()))
}

fn configurations(spec: &RunJobFlow) -> Vec<Configuration> {
    spec.configurations
        .iter()
        .map(|configuration| {
            let properties = configuration.properties.clone().into_iter().collect();
            Configuration::builder()
                .classification(&configuration.classification)
                .set_properties(Some(properties))
                .build()
        })
        .collect()
}

fn bootstrap(action: &Bootstrap) -> BootstrapActionConfig {
    let script = ScriptBootstrapActionConfig::builder()
        .path(&action.script_bootstrap_action.path)
        .set_args(Some(action.script_bootstrap_action.args.clone()))
        .build();
    BootstrapActionConfig::builder().name(&action.name).script_bootstrap_action(script).build()
}

fn instances(spec: &Instances, subnet: Option<&str>) -> JobFlowInstancesConfig {
    let some = |list: &[String]| Some(list.to_vec()).filter(|list| !list.is_empty());
    JobFlowInstancesConfig::builder()
        .set_instance_groups(Some(spec.instance_groups.iter().map(group).collect()))
        .set_ec2_subnet_id(subnet.map(str::to_owned).or_else(|| spec.ec2_subnet_id.clone()))
        .set_ec2_key_name(spec.ec2_key_name.clone())
        .set_emr_managed_master_security_group(spec.emr_managed_master_security_group.clone())
        .set_emr_managed_slave_security_group(spec.emr_managed_slave_security_group.clone())
        .set_service_access_security_group(spec.service_access_security_group.clone())
        .set_additional_master_security_groups(some(&spec.additional_master_security_groups))
        .set_additional_slave_security_groups(some(&spec.additional_slave_security_groups))
        .keep_job_flow_alive_when_no_steps(spec.keep_job_flow_alive_when_no_steps)
        .set_termination_protected(spec.termination_protected)
        .set_unhealthy_node_replacement(spec.unhealthy_node_replacement)
        .build()
}

pub(super) fn group(spec: &Group) -> InstanceGroupConfig {
    InstanceGroupConfig::builder()
        .name(&spec.name)
        .instance_role(InstanceRoleType::from(spec.instance_role.as_str()))
        .market(MarketType::from(spec.market.as_str()))
        .set_bid_price(spec.bid_price.clone())
        .instance_type(&spec.instance_type)
        .instance_count(spec.instance_count)
        .set_ebs_configuration(spec.ebs_configuration.as_ref().map(ebs))
        .build()
}

fn ebs(spec: &Ebs) -> EbsConfiguration {
    let devices = spec.ebs_block_device_configs.iter().map(|device| {
        let volume = VolumeSpecification::builder()
            .volume_type(&device.volume_specification.volume_type)
            .size_in_gb(device.volume_specification.size_in_gb)
            .set_iops(device.volume_specification.iops)
            .set_throughput(device.volume_specification.throughput)
            .build();
        EbsBlockDeviceConfig::builder()
            .volume_specification(volume)
            .set_volumes_per_instance(device.volumes_per_instance)
            .build()
    });
    EbsConfiguration::builder()
        .set_ebs_block_device_configs(Some(devices.collect()))
        .set_ebs_optimized(spec.ebs_optimized)
        .build()
}
