//! Starts, describes, resizes and terminates clusters.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use aws_sdk_emr::Client;
use aws_sdk_emr::error::ProvideErrorMetadata as _;
use aws_sdk_emr::types::{Cluster, ClusterState, InstanceGroupModifyConfig, StepState};
use pulse_core::{Error, Result};
use serde::Serialize;

use super::groups::{GroupView, Role, grown, shrunk};
use super::request::{group, run_job_flow};
use super::spec::ClusterSpec;
use super::state::{ended, lacks_machines, state_of};
use crate::clients::Clients;
use crate::error::from_sdk;

/// Tag with the digest of the specification that a cluster was started from.
const SPEC_TAG: &str = "pulse-spec";
/// Polling interval for a cluster: short at first, then longer, because EMR limits calls.
const LOOK_FIRST: Duration = Duration::from_millis(500);
const LOOK_LAST: Duration = Duration::from_secs(15);
/// Delay until a cluster that another process started appears in EMR's list.
const LISTED_WITHIN: Duration = Duration::from_secs(3);
/// A zone that has machines lends the first ones within a few minutes. EMR itself waits for ever.
const ZONE_LIMIT: Duration = Duration::from_secs(15 * 60);
/// EMR takes 6 to 12 minutes to start a cluster.
const START_LIMIT: Duration = Duration::from_secs(45 * 60);
/// Maximum number of steps shown.
const STEPS_SHOWN: usize = 10;

const LIVE: [ClusterState; 4] =
    [ClusterState::Starting, ClusterState::Bootstrapping, ClusterState::Running, ClusterState::Waiting];

/// EMR in one account and region.
#[derive(Debug, Clone)]
pub struct Clusters {
    pub(super) client: Client,
    region: String,
    listed_within: Duration,
    zone_limit: Duration,
    start_limit: Duration,
}

/// Outcome of `up`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Started {
    New {
        id: String,
    },
    /// A live cluster of the same specification.
    Reused {
        id: String,
        state: String,
    },
}

/// Outcome of waiting for a cluster.
#[derive(Debug)]
pub enum Waited {
    /// It accepts steps.
    Ready,
    /// EC2 has no capacity for these machines in its zone; another zone may.
    NoMachines(Error),
}

impl Started {
    pub fn id(&self) -> &str {
        match self {
            Self::New { id } | Self::Reused { id, .. } => id,
        }
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct ClusterView {
    pub id: String,
    pub name: String,
    pub state: String,
    /// EMR's reason for the state, if it gives one.
    pub reason: String,
    pub log_uri: String,
    /// Milliseconds since 1970.
    pub created: Option<i64>,
    /// Idle seconds after which EMR terminates it.
    pub idle_timeout: Option<i64>,
    pub groups: Vec<GroupView>,
    /// Newest first.
    pub steps: Vec<StepView>,
}

#[derive(Debug, Clone, Serialize)]
pub struct StepView {
    pub id: String,
    pub name: String,
    pub state: String,
}

impl StepView {
    pub fn is_open(&self) -> bool {
        matches!(self.state.as_str(), "PENDING" | "RUNNING" | "CANCEL_PENDING")
    }
}

impl ClusterView {
    /// Requested machines with executors.
    pub fn units(&self) -> usize {
        let with_executor = self.groups.iter().filter(|group| matches!(group.role, Role::Core | Role::Task));
        with_executor.map(|group| group.requested).sum()
    }
}

impl Clusters {
    pub fn new(clients: &Clients) -> Self {
        Self {
            client: clients.emr(),
            region: clients.region().to_owned(),
            listed_within: LISTED_WITHIN,
            zone_limit: ZONE_LIMIT,
            start_limit: START_LIMIT,
        }
    }

    /// Starts a cluster, or returns the live one of the same specification. `subnet` overrides the specification's. If
    /// two are started at the same time, the older one stays.
    ///
    /// # Errors
    /// `Conflict` when a live cluster of this name was started from another specification; other errors by kind.
    pub async fn up(&self, spec: &ClusterSpec, subnet: Option<&str>) -> Result<Started> {
        if let Some(found) = self.taken(spec).await? {
            return Ok(found);
        }
        let id = self.start(spec, subnet).await?;
        // EMR's call has no idempotency token.
        tokio::time::sleep(self.listed_within).await;
        if self.live(spec.name()).await?.first().is_none_or(|(oldest, _)| *oldest == id) {
            return Ok(Started::New { id });
        }
        self.down(&id).await?;
        self.taken(spec).await?.ok_or_else(|| {
            Error::unavailable(format!(
                "another cluster of the name {} was started and has ended: try again",
                spec.name()
            ))
        })
    }

    /// The live cluster of the same specification.
    async fn taken(&self, spec: &ClusterSpec) -> Result<Option<Started>> {
        let mut other = None;
        for (id, state) in self.live(spec.name()).await? {
            let cluster = self.describe(&id).await?;
            let digest = cluster.tags().iter().find(|tag| tag.key() == Some(SPEC_TAG)).and_then(|tag| tag.value());
            if digest == Some(spec.digest.as_str()) {
                return Ok(Some(Started::Reused { id, state }));
            }
            other = Some((id, state));
        }
        match other {
            None => Ok(None),
            Some((id, state)) => Err(Error::conflict(format!(
                "cluster {id} of the name {} is {state} and was started from another specification: end it with `pulse \
                 cluster down {id}` first",
                spec.name()
            ))),
        }
    }

    async fn start(&self, spec: &ClusterSpec, subnet: Option<&str>) -> Result<String> {
        let request = run_job_flow(self.client.run_job_flow(), &spec.run_job_flow, subnet, &[(SPEC_TAG, &spec.digest)]);
        let answer = request.send().await.map_err(|e| from_sdk("start a cluster", "elasticmapreduce:RunJobFlow", e))?;
        answer
            .job_flow_id
            .ok_or_else(|| Error::unavailable("start a cluster: EMR told no id; look with `pulse cluster status`"))
    }

    /// Waits until it takes steps, and adds the groups that EMR does not start with. `tell` hears each new state. What does not come
    /// up is ended: EMR ends no cluster of groups for want of machines, and a cluster that starts has no idle time.
    ///
    /// # Errors
    /// `Unavailable` when it terminates instead or takes too long, with EMR's reason and the location of its logs.
    pub async fn wait(&self, id: &str, spec: &ClusterSpec, tell: impl Fn(&str)) -> Result<Waited> {
        let began = Instant::now();
        let mut told = String::new();
        let mut look = LOOK_FIRST;
        loop {
            let cluster = self.describe(id).await?;
            let state = state_of(&cluster);
            if state != told {
                tell(&state);
                told.clone_from(&state);
            }
            match state.as_str() {
                "RUNNING" | "WAITING" => {
                    self.add_groups(id, spec).await?;
                    return Ok(Waited::Ready);
                }
                "TERMINATING" | "TERMINATED" | "TERMINATED_WITH_ERRORS" if lacks_machines(&cluster) => {
                    return Ok(Waited::NoMachines(ended(id, &cluster)));
                }
                "TERMINATING" | "TERMINATED" | "TERMINATED_WITH_ERRORS" => return Err(ended(id, &cluster)),
                "STARTING" if began.elapsed() >= self.zone_limit && self.lacks_machines(id).await? => {
                    self.down(id).await?;
                    return Ok(Waited::NoMachines(Error::unavailable(format!(
                        "cluster {id} got no machines in its zone within {} minutes and is ended",
                        self.zone_limit.as_secs() / 60
                    ))));
                }
                _ if began.elapsed() >= self.start_limit => {
                    self.down(id).await?;
                    return Err(Error::unavailable(format!(
                        "cluster {id} was still {state} after {} minutes and is ended; its logs, if any, are below {}/{id}/",
                        self.start_limit.as_secs() / 60,
                        cluster.log_uri().unwrap_or_default().trim_end_matches('/')
                    )));
                }
                _ => tokio::time::sleep(look).await,
            }
            look = (look * 3 / 2).min(LOOK_LAST);
        }
    }

    /// Whether a group without which it does not start has not a single machine.
    async fn lacks_machines(&self, id: &str) -> Result<bool> {
        let groups = self.groups(id).await?;
        Ok(groups.iter().any(|group| matches!(group.role, Role::Primary | Role::Core) && group.running == 0))
    }

    /// Those of the specification that are not there yet; a second call adds nothing.
    async fn add_groups(&self, id: &str, spec: &ClusterSpec) -> Result<()> {
        let present = self.groups(id).await?;
        let wanted = &spec.add_instance_groups.instance_groups;
        let missing: Vec<_> =
            wanted.iter().filter(|wanted| !present.iter().any(|group| group.name == wanted.name)).map(group).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let request = self.client.add_instance_groups().job_flow_id(id).set_instance_groups(Some(missing));
        let doing = format!("add task groups to cluster {id}");
        request.send().await.map_err(|e| from_sdk(&doing, "elasticmapreduce:AddInstanceGroups", e))?;
        Ok(())
    }

    /// Live clusters of a name, oldest first, with their states.
    ///
    /// # Errors
    /// By kind.
    pub async fn live(&self, name: &str) -> Result<Vec<(String, String)>> {
        let mut pages = self.client.list_clusters().set_cluster_states(Some(LIVE.to_vec())).into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| from_sdk("list clusters", "elasticmapreduce:ListClusters", e))?;
            for cluster in page.clusters().iter().filter(|cluster| cluster.name() == Some(name)) {
                let status = cluster.status();
                let created = status.and_then(|status| status.timeline()).and_then(|times| times.creation_date_time());
                let state = status.and_then(|status| status.state()).map_or("", ClusterState::as_str);
                let id = cluster.id().unwrap_or_default();
                found.push((created.and_then(|at| at.to_millis().ok()), id.to_owned(), state.to_owned()));
            }
        }
        found.sort();
        Ok(found.into_iter().map(|(_, id, state)| (id, state)).collect())
    }

    /// The cluster named, or the live one of the specification.
    ///
    /// # Errors
    /// `Invalid` when none lives.
    pub async fn find(&self, id: Option<&str>, name: &str) -> Result<String> {
        match id {
            Some(id) => Ok(id.to_owned()),
            None => match self.live(name).await?.into_iter().next() {
                Some((id, _)) => Ok(id),
                None => Err(Error::invalid(format!(
                    "no cluster of the name {name} is up in {}: start one with `pulse cluster up`",
                    self.region
                ))),
            },
        }
    }

    /// # Errors
    /// `Invalid` for an unknown cluster; by kind otherwise.
    pub async fn view(&self, id: &str) -> Result<ClusterView> {
        let cluster = self.describe(id).await?;
        let status = cluster.status();
        let reason = status.and_then(|status| status.state_change_reason()).and_then(|reason| reason.message());
        let created = status.and_then(|status| status.timeline()).and_then(|timeline| timeline.creation_date_time());
        Ok(ClusterView {
            id: id.to_owned(),
            name: cluster.name().unwrap_or_default().to_owned(),
            state: state_of(&cluster),
            reason: reason.unwrap_or_default().to_owned(),
            log_uri: cluster.log_uri().unwrap_or_default().to_owned(),
            created: created.and_then(|at| at.to_millis().ok()),
            idle_timeout: self.idle_timeout(id).await?,
            groups: self.groups(id).await?,
            steps: self.steps(id).await?,
        })
    }

    /// Sets the number of machines with executors by resizing task groups only. `spec` bounds it.
    ///
    /// # Errors
    /// `Invalid` beyond the bounds; by kind otherwise.
    pub async fn scale(&self, id: &str, units: usize, spec: &ClusterSpec) -> Result<()> {
        let (least, most) = (spec.scaling.min_units, spec.scaling.max_units);
        if !(least..=most).contains(&units) {
            return Err(Error::invalid(format!(
                "{units} machines are not between {least} and {most}, which the cluster's specification says"
            )));
        }
        let view = self.view(id).await?;
        let present = view.units();
        let counts = match units.checked_sub(present) {
            Some(more) => grown(&view.groups, more, &BTreeSet::new()),
            None => shrunk(&view.groups, present - units),
        };
        let changed = |(id, count): (String, usize)| {
            InstanceGroupModifyConfig::builder()
                .instance_group_id(id)
                .instance_count(i32::try_from(count).unwrap_or(i32::MAX))
                .build()
        };
        self.modify(id, counts.into_iter().map(changed).collect()).await
    }

    /// Terminates it, and with it everything that runs there.
    ///
    /// # Errors
    /// By kind.
    pub async fn down(&self, id: &str) -> Result<()> {
        let doing = format!("end cluster {id}");
        let request = self.client.terminate_job_flows().job_flow_ids(id);
        request.send().await.map_err(|e| from_sdk(&doing, "elasticmapreduce:TerminateJobFlows", e))?;
        Ok(())
    }

    pub(super) async fn modify(&self, id: &str, groups: Vec<InstanceGroupModifyConfig>) -> Result<()> {
        if groups.is_empty() {
            return Ok(());
        }
        let request = self.client.modify_instance_groups().cluster_id(id).set_instance_groups(Some(groups));
        let doing = format!("resize cluster {id}");
        request.send().await.map_err(|e| from_sdk(&doing, "elasticmapreduce:ModifyInstanceGroups", e))?;
        Ok(())
    }

    pub(super) async fn describe(&self, id: &str) -> Result<Cluster> {
        let answer = self.client.describe_cluster().cluster_id(id).send().await.map_err(|e| {
            match matches!(e.code(), Some("InvalidRequestException" | "ValidationException")) {
                true => Error::invalid(format!(
                    "there is no cluster {id} in {}: check its id, AWS_REGION and AWS_PROFILE; `pulse cluster status` shows \
                     the live one",
                    self.region
                )),
                false => from_sdk(&format!("look at cluster {id}"), "elasticmapreduce:DescribeCluster", e),
            }
        })?;
        answer.cluster.ok_or_else(|| Error::unavailable(format!("look at cluster {id}: EMR told nothing; try again")))
    }

    pub(super) async fn groups(&self, id: &str) -> Result<Vec<GroupView>> {
        let doing = format!("list the groups of cluster {id}");
        let mut pages = self.client.list_instance_groups().cluster_id(id).into_paginator().send();
        let mut groups = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| from_sdk(&doing, "elasticmapreduce:ListInstanceGroups", e))?;
            groups.extend(page.instance_groups().iter().map(GroupView::of));
        }
        Ok(groups)
    }

    async fn steps(&self, id: &str) -> Result<Vec<StepView>> {
        let doing = format!("list the steps of cluster {id}");
        let answer = self.client.list_steps().cluster_id(id).send().await;
        let answer = answer.map_err(|e| from_sdk(&doing, "elasticmapreduce:ListSteps", e))?;
        let step = |step: &aws_sdk_emr::types::StepSummary| StepView {
            id: step.id().unwrap_or_default().to_owned(),
            name: step.name().unwrap_or_default().to_owned(),
            state: step.status().and_then(|status| status.state()).map_or("", StepState::as_str).to_owned(),
        };
        Ok(answer.steps().iter().take(STEPS_SHOWN).map(step).collect())
    }

    async fn idle_timeout(&self, id: &str) -> Result<Option<i64>> {
        let doing = format!("look up when cluster {id} ends by itself");
        let answer = self.client.get_auto_termination_policy().cluster_id(id).send().await;
        let answer = answer.map_err(|e| from_sdk(&doing, "elasticmapreduce:GetAutoTerminationPolicy", e))?;
        Ok(answer.auto_termination_policy.and_then(|policy| policy.idle_timeout))
    }
}

#[cfg(test)]
mod tests;
