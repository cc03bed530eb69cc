//! The scheduler's scaler, with machines of EMR.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::TimeDelta;
use pulse_aws::clients::Clients;
use pulse_aws::emr::EmrPool;
use pulse_core::Result;
use pulse_core::scaling::{NodeId, ScalingPolicy};
use pulse_core::settings::Settings;
use pulse_scheduler::cluster::Cluster;
use pulse_scheduler::scaler::{Machine, NodePool, Scaler};

/// EMR shrinks no machine that is younger.
const SETTLING: TimeDelta = TimeDelta::minutes(10);

pub(crate) async fn scaler(settings: &Settings, cluster: &Arc<Cluster>) -> Result<Scaler> {
    let pool = EmrMachines(EmrPool::new(&Clients::load().await?, settings.cluster_id.clone()));
    Ok(Scaler::new(policy(settings), Arc::new(pool), Arc::clone(cluster) as _))
}

fn policy(settings: &Settings) -> ScalingPolicy {
    let seconds = |count: u64| TimeDelta::seconds(i64::try_from(count).unwrap_or(i64::MAX / 1000));
    let machines = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    ScalingPolicy {
        least: machines(settings.scale_least_nodes),
        most: machines(settings.scale_most_nodes),
        out_after: seconds(settings.scale_out_after_s),
        in_after: seconds(settings.scale_in_after_s),
        cooldown: seconds(settings.scale_cooldown_s),
        settling: SETTLING,
    }
}

/// The scheduler knows no EMR, and EMR's part knows no scheduler.
struct EmrMachines(EmrPool);

#[async_trait]
impl NodePool for EmrMachines {
    async fn machines(&self) -> Result<(Vec<Machine>, usize)> {
        let (machines, coming) = self.0.machines().await?;
        let machine = |machine: pulse_aws::emr::Machine| Machine {
            id: NodeId(machine.id),
            address: machine.address,
            since: machine.since,
            removable: machine.removable,
        };
        Ok((machines.into_iter().map(machine).collect(), coming))
    }

    async fn grow(&self, count: usize) -> Result<()> {
        self.0.grow(count).await
    }

    async fn remove(&self, ids: &[NodeId]) -> Result<()> {
        let ids: Vec<String> = ids.iter().map(|NodeId(id)| id.clone()).collect();
        self.0.remove(&ids).await
    }
}
