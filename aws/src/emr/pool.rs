//! The machines of the scheduler's own cluster, managed through its task groups.

use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_sdk_emr::types::{Instance, InstanceGroupModifyConfig, InstanceState};
use chrono::{DateTime, TimeDelta, Utc};
use pulse_core::Result;

use super::cluster::Clusters;
use super::groups::{Role, Shortage, grown};
use crate::clients::Clients;
use crate::error::from_sdk;

/// Spot lends within a minute or two what it has.
const PATIENCE: TimeDelta = TimeDelta::minutes(10);

/// A machine of the cluster, as EMR knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// EC2 instance id.
    pub id: String,
    /// Private address.
    pub address: String,
    pub since: DateTime<Utc>,
    /// False for core nodes.
    pub removable: bool,
}

/// The machines of one cluster that run executors.
#[derive(Debug)]
pub struct EmrPool {
    clusters: Clusters,
    id: String,
    shortage: Mutex<Shortage>,
    patience: TimeDelta,
}

impl EmrPool {
    pub fn new(clients: &Clients, cluster: String) -> Self {
        Self { clusters: Clusters::new(clients), id: cluster, shortage: Mutex::default(), patience: PATIENCE }
    }

    /// Machines that are there or boot, and how many more were asked for. What Spot does not lend is asked for no longer, so that the
    /// next call of [`Self::grow`] asks for another type.
    ///
    /// # Errors
    /// By kind, when the call to EMR fails.
    pub async fn machines(&self) -> Result<(Vec<Machine>, usize)> {
        let mut groups = self.clusters.groups(&self.id).await?;
        let given_up = self.shortage().given_up(&groups, Utc::now(), self.patience);
        for group in &mut groups {
            if let Some((_, count)) = given_up.iter().find(|(id, _)| *id == group.id) {
                log::warn!("cluster {}: {} of {} did not come on Spot", self.id, group.coming(), group.instance_type);
                group.requested = *count;
            }
        }
        self.resize(given_up).await?;
        let units = groups.iter().filter(|group| matches!(group.role, Role::Core | Role::Task));
        let requested: usize = units.clone().map(|group| group.requested).sum();
        let mut machines = Vec::new();
        for instance in self.instances().await? {
            let group = units.clone().find(|group| Some(group.id.as_str()) == instance.instance_group_id());
            let Some(group) = group else { continue };
            let timeline = instance.status().and_then(|status| status.timeline());
            let since = timeline.and_then(|timeline| timeline.ready_date_time().or(timeline.creation_date_time()));
            machines.push(Machine {
                id: instance.ec2_instance_id().unwrap_or_default().to_owned(),
                address: instance.private_ip_address().unwrap_or_default().to_owned(),
                since: since.and_then(|at| DateTime::from_timestamp(at.secs(), 0)).unwrap_or_default(),
                removable: group.role == Role::Task,
            });
        }
        let coming = requested.saturating_sub(machines.len());
        Ok((machines, coming))
    }

    async fn instances(&self) -> Result<Vec<Instance>> {
        let doing = format!("list the machines of cluster {}", self.id);
        let states = [InstanceState::Provisioning, InstanceState::Bootstrapping, InstanceState::Running];
        let request =
            self.clusters.client.list_instances().cluster_id(&self.id).set_instance_states(Some(states.to_vec()));
        let mut pages = request.into_paginator().send();
        let mut instances = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| from_sdk(&doing, "elasticmapreduce:ListInstances", e))?;
            instances.extend(page.instances().iter().cloned());
        }
        Ok(instances)
    }

    /// Requests more machines, distributed over the task groups.
    ///
    /// # Errors
    /// By kind.
    pub async fn grow(&self, count: usize) -> Result<()> {
        let groups = self.clusters.groups(&self.id).await?;
        let counts = grown(&groups, count, &self.shortage().dry());
        if counts.is_empty() {
            log::warn!("cluster {}: no task group can take {count} more machines", self.id);
        }
        self.resize(counts).await
    }

    async fn resize(&self, counts: Vec<(String, usize)>) -> Result<()> {
        let changed = |(id, count): (String, usize)| {
            InstanceGroupModifyConfig::builder()
                .instance_group_id(id)
                .instance_count(i32::try_from(count).unwrap_or(i32::MAX))
                .build()
        };
        self.clusters.modify(&self.id, counts.into_iter().map(changed).collect()).await
    }

    fn shortage(&self) -> MutexGuard<'_, Shortage> {
        self.shortage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends these machines, and no others: whoever calls has drained them.
    ///
    /// # Errors
    /// By kind.
    pub async fn remove(&self, ids: &[String]) -> Result<()> {
        let groups = self.clusters.groups(&self.id).await?;
        let instances = self.instances().await?;
        let mut changes = Vec::new();
        for group in groups.iter().filter(|group| group.role == Role::Task) {
            let ending: Vec<String> = instances
                .iter()
                .filter(|instance| instance.instance_group_id() == Some(group.id.as_str()))
                .filter_map(|instance| instance.ec2_instance_id().map(str::to_owned))
                .filter(|id| ids.contains(id))
                .collect();
            if ending.is_empty() {
                continue;
            }
            let left = group.requested.saturating_sub(ending.len());
            changes.push(
                InstanceGroupModifyConfig::builder()
                    .instance_group_id(&group.id)
                    .instance_count(i32::try_from(left).unwrap_or(i32::MAX))
                    .set_ec2_instance_ids_to_terminate(Some(ending))
                    .build(),
            );
        }
        self.clusters.modify(&self.id, changes).await
    }
}

#[cfg(test)]
mod tests;
