//! The specification of a cluster, as `infra/modules/cluster` writes it. It contains EMR's requests in EMR's own field
//! names. An unknown field is refused, because ignoring it would start a different cluster.

use object_store::ObjectStoreExt as _;
use pulse_core::{Error, Result};
use pulse_engine::error::from_store;
use pulse_engine::store::{Stores, store_path};
use serde::Deserialize;
use url::Url;

use crate::clients::Clients;
use crate::parameter::parameter;

/// Version of the specification's format.
const VERSION: u32 = 1;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterSpec {
    pub version: u32,
    pub run_job_flow: RunJobFlow,
    /// A cluster is in one zone; each subnet is in a different one. The first is that of the request.
    #[serde(default)]
    pub subnets: Vec<String>,
    /// Groups that are added once the cluster is up: EMR does not start with empty groups.
    #[serde(default)]
    pub add_instance_groups: AddInstanceGroups,
    pub scaling: Scaling,
    pub storage: Storage,
    pub step: StepSpec,
    /// Digest of the text, which identifies the specification.
    #[serde(skip)]
    pub digest: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct RunJobFlow {
    pub name: String,
    pub release_label: String,
    pub applications: Vec<Named>,
    pub log_uri: String,
    pub log_encryption_kms_key_id: Option<String>,
    pub service_role: String,
    pub job_flow_role: String,
    pub instances: Instances,
    pub security_configuration: Option<String>,
    pub auto_termination_policy: Option<AutoTermination>,
    pub step_concurrency_level: Option<i32>,
    pub scale_down_behavior: Option<String>,
    pub visible_to_all_users: Option<bool>,
    pub custom_ami_id: Option<String>,
    pub ebs_root_volume_size: Option<i32>,
    pub os_release_label: Option<String>,
    #[serde(default)]
    pub bootstrap_actions: Vec<Bootstrap>,
    #[serde(default)]
    pub configurations: Vec<Configuration>,
    #[serde(default)]
    pub tags: Vec<Tag>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Named {
    pub name: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct AutoTermination {
    /// Seconds.
    pub idle_timeout: i64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Instances {
    pub instance_groups: Vec<Group>,
    pub ec2_subnet_id: Option<String>,
    pub ec2_key_name: Option<String>,
    pub emr_managed_master_security_group: Option<String>,
    pub emr_managed_slave_security_group: Option<String>,
    pub service_access_security_group: Option<String>,
    #[serde(default)]
    pub additional_master_security_groups: Vec<String>,
    #[serde(default)]
    pub additional_slave_security_groups: Vec<String>,
    pub keep_job_flow_alive_when_no_steps: bool,
    pub termination_protected: Option<bool>,
    pub unhealthy_node_replacement: Option<bool>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Group {
    pub name: String,
    pub instance_role: String,
    pub market: String,
    pub bid_price: Option<String>,
    pub instance_type: String,
    pub instance_count: i32,
    pub ebs_configuration: Option<Ebs>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Ebs {
    pub ebs_block_device_configs: Vec<EbsDevice>,
    pub ebs_optimized: Option<bool>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct EbsDevice {
    pub volume_specification: Volume,
    pub volumes_per_instance: Option<i32>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Volume {
    pub volume_type: String,
    #[serde(rename = "SizeInGB")]
    pub size_in_gb: i32,
    pub iops: Option<i32>,
    pub throughput: Option<i32>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Bootstrap {
    pub name: String,
    pub script_bootstrap_action: Script,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Script {
    pub path: String,
    #[serde(default)]
    pub args: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Configuration {
    pub classification: String,
    #[serde(default)]
    pub properties: std::collections::BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Tag {
    pub key: String,
    pub value: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct AddInstanceGroups {
    #[serde(default)]
    pub instance_groups: Vec<Group>,
}

/// Bounds of the number of machines with executors, core and task nodes together.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scaling {
    pub min_units: usize,
    pub max_units: usize,
    pub task_groups: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storage {
    pub lake: String,
    pub raw: String,
    /// URL to which projects are uploaded for steps.
    pub projects: String,
}

/// The fixed first arguments of a step; the project's URL and the arguments of pulse follow.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepSpec {
    pub jar: String,
    pub prefix: Vec<String>,
}

impl ClusterSpec {
    /// # Errors
    /// `Invalid` for text that is not a specification, or has another format version.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let broken = |e: serde_json::Error| {
            Error::invalid(format!(
                "{origin} is not a cluster's specification ({e}): deploy again, or name another in `cluster_spec`"
            ))
        };
        let head: Head = serde_json::from_str(text).map_err(broken)?;
        if head.version != VERSION {
            return Err(Error::invalid(format!(
                "{origin} has version {}, this pulse reads {VERSION}: deploy with the same release as this pulse",
                head.version
            )));
        }
        let value: serde_json::Value = serde_json::from_str(text).map_err(broken)?;
        let spec: Self = serde_json::from_value(value.clone()).map_err(broken)?;
        Ok(Self { digest: digest(&value.to_string()), ..spec })
    }

    pub fn name(&self) -> &str {
        &self.run_job_flow.name
    }

    /// Subnets to try, in this order; `None` uses that of the request.
    pub fn zones(&self) -> Vec<Option<&str>> {
        match self.subnets.as_slice() {
            [] => vec![None],
            subnets => subnets.iter().map(|subnet| Some(subnet.as_str())).collect(),
        }
    }

    /// Machines with executors that exist from the start and are never removed.
    pub fn core_units(&self) -> usize {
        let groups = self.run_job_flow.instances.instance_groups.iter();
        groups
            .filter(|group| group.instance_role == "CORE")
            .map(|group| usize::try_from(group.instance_count).unwrap_or(0))
            .sum()
    }
}

/// FNV-1a: the same in every build and on every machine.
fn digest(text: &str) -> String {
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}

/// Loads it from `ssm:/path`, `s3://bucket/key` or a file.
///
/// # Errors
/// `Invalid` when it is missing or cannot be parsed, `Unavailable` when AWS does not answer.
pub async fn load(source: &str, clients: &Clients, stores: &Stores) -> Result<ClusterSpec> {
    if source.is_empty() {
        return Err(Error::invalid(
            "`cluster_spec` says no cluster: set it to the parameter that `scripts/deploy` prints, such as `ssm:/pulse/dev/cluster`",
        ));
    }
    let text = if let Some(name) = source.strip_prefix("ssm:") {
        parameter(clients, name).await?
    } else if source.starts_with("s3://") {
        object(source, stores).await?
    } else {
        std::fs::read_to_string(source)
            .map_err(|e| Error::invalid(format!("`cluster_spec` {source} cannot be read: {e}")).with_source(e))?
    };
    ClusterSpec::parse(&text, source)
}

async fn object(url: &str, stores: &Stores) -> Result<String> {
    let doing = format!("read {url} (`cluster_spec`)");
    let url = Url::parse(url).map_err(|e| Error::invalid(format!("{doing}: it is no URL")).with_source(e))?;
    let got = stores.client(&url)?.get(&store_path(&url)?).await.map_err(|e| from_store(&doing, &e))?;
    let bytes = got.bytes().await.map_err(|e| from_store(&doing, &e))?;
    String::from_utf8(bytes.to_vec()).map_err(|e| Error::invalid(format!("{doing}: it is not text")).with_source(e))
}
