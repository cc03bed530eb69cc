//! The executors of a cluster: which may join, which get tasks, and how many.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use ballista_core::JobId;
use ballista_core::error::{BallistaError, Result};
use ballista_core::serde::protobuf::executor_status::Status;
use ballista_core::serde::protobuf::{ExecutorHeartbeat, ExecutorStatus, task_status};
use ballista_core::serde::scheduler::{ExecutorData, ExecutorMetadata};
use ballista_scheduler::cluster::memory::InMemoryClusterState;
use ballista_scheduler::cluster::{BoundTask, ClusterState, ClusterStateEventStream, ExecutorSlot};
use ballista_scheduler::config::TaskDistributionPolicy;
use ballista_scheduler::state::execution_stage::ExecutionStage;
use ballista_scheduler::state::task_manager::JobInfoCache;
use pulse_engine::cluster::build_of;

use super::shuffles::read_once;
use super::speculation::{Slots, second_attempts};

/// Polling interval for lost executors.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Wraps Ballista's in-memory cluster state. Refuses executors of other builds, gives no new tasks to executors that leave, and counts
/// free slots from running tasks. Ballista adds up returned slots instead, and forgets tasks of a restarted stage: after the loss of
/// one executor, the others would have fewer and fewer slots.
pub(super) struct Members {
    inner: InMemoryClusterState,
    build: String,
    leaving: Mutex<HashSet<String>>,
    /// Maximum age of the last heartbeat of a live executor.
    timeout: Duration,
    /// Tasks that take this many times as long as others get a second attempt; 0 for never.
    speculation_factor: u64,
}

impl Members {
    pub(super) fn new(build: String, timeout: Duration, speculation_factor: u64) -> Self {
        Self { inner: InMemoryClusterState::default(), build, leaving: Mutex::default(), timeout, speculation_factor }
    }

    /// Executors that get tasks.
    pub(super) fn count(&self) -> usize {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let oldest = now.saturating_sub(self.timeout.as_secs());
        let leaving = self.leaving();
        let beats = self.inner.executor_heartbeats();
        beats.values().filter(|beat| beat.timestamp >= oldest && !leaving.contains(&beat.executor_id)).count()
    }

    /// Gives no new tasks to this executor. Others can still read its shuffles.
    pub(super) fn drain(&self, executor: &str) {
        self.leaving().insert(executor.to_owned());
    }

    /// Returns when the executor is no longer a member.
    pub(super) async fn lost(&self, executor_id: &str) {
        while self.inner.get_executor_heartbeat(executor_id).is_some() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn leaving(&self) -> MutexGuard<'_, HashSet<String>> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ClusterState for Members {
    async fn bind_schedulable_tasks(
        &self,
        distribution: TaskDistributionPolicy,
        active_jobs: Arc<HashMap<JobId, JobInfoCache>>,
        executors: Option<HashSet<String>>,
    ) -> Result<Vec<BoundTask>> {
        read_once(&active_jobs).await.map_err(BallistaError::from)?;
        let leaving = self.leaving().clone();
        let wanted = |id: &String| executors.as_ref().is_none_or(|executors| executors.contains(id));
        let members = self.inner.registered_executor_metadata().await;
        let (members, others): (Vec<_>, Vec<_>) =
            members.into_iter().partition(|member| wanted(&member.id) && !leaving.contains(&member.id));
        let offers = InMemoryClusterState::default();
        for (executor_id, available_vcores) in free_slots(&members, &active_jobs).await {
            let Some(member) = members.iter().find(|member| member.id == executor_id) else { continue };
            let data = ExecutorData { executor_id, total_vcores: member.specification.vcores, available_vcores };
            offers.register_executor(member.clone(), data).await?;
        }
        let mut bound = offers.bind_schedulable_tasks(distribution, Arc::clone(&active_jobs), None).await?;
        if self.speculation_factor > 0 {
            let free = free_slots(&members, &active_jobs).await;
            let all: Vec<ExecutorMetadata> = members.into_iter().chain(others).collect();
            bound.extend(second_attempts(&active_jobs, &all, free, self.speculation_factor).await?);
        }
        Ok(bound)
    }

    /// Does nothing: slots are counted from running tasks.
    async fn unbind_tasks(&self, _: Vec<ExecutorSlot>) -> Result<()> {
        Ok(())
    }

    async fn register_executor(&self, metadata: ExecutorMetadata, data: ExecutorData) -> Result<()> {
        if build_of(&metadata.id) != self.build {
            // Which build this is concerns nobody who does not have it.
            return Err(BallistaError::Configuration(
                "the executor is of another build than the scheduler: start both from the same binary".to_owned(),
            ));
        }
        self.inner.register_executor(metadata, data).await
    }

    async fn save_executor_metadata(&self, metadata: ExecutorMetadata) -> Result<()> {
        self.inner.save_executor_metadata(metadata).await
    }

    async fn get_executor_metadata(&self, executor_id: &str) -> Result<ExecutorMetadata> {
        self.inner.get_executor_metadata(executor_id).await
    }

    async fn registered_executor_metadata(&self) -> Vec<ExecutorMetadata> {
        self.inner.registered_executor_metadata().await
    }

    /// Includes executors that leave: others read their shuffles, and they receive requests to delete files.
    async fn save_executor_heartbeat(&self, heartbeat: ExecutorHeartbeat) -> Result<()> {
        let status = heartbeat.status.as_ref().and_then(|status| status.status.as_ref());
        if !matches!(status, Some(Status::Terminating(_))) {
            return self.inner.save_executor_heartbeat(heartbeat).await;
        }
        self.leaving().insert(heartbeat.executor_id.clone());
        let status = Some(ExecutorStatus { status: Some(Status::Active(String::new())) });
        self.inner.save_executor_heartbeat(ExecutorHeartbeat { status, ..heartbeat }).await
    }

    async fn remove_executor(&self, executor_id: &str) -> Result<()> {
        self.leaving().remove(executor_id);
        self.inner.remove_executor(executor_id).await
    }

    fn executor_heartbeats(&self) -> HashMap<String, ExecutorHeartbeat> {
        self.inner.executor_heartbeats()
    }

    fn get_executor_heartbeat(&self, executor_id: &str) -> Option<ExecutorHeartbeat> {
        self.inner.get_executor_heartbeat(executor_id)
    }

    async fn cluster_state_events(&self) -> Result<ClusterStateEventStream> {
        self.inner.cluster_state_events().await
    }
}

async fn free_slots(members: &[ExecutorMetadata], jobs: &HashMap<JobId, JobInfoCache>) -> Slots {
    let used = used_slots(jobs).await;
    let free = |member: &ExecutorMetadata| {
        let used = used.get(&member.id).copied().unwrap_or_default();
        (member.id.clone(), member.specification.vcores.saturating_sub(used))
    };
    members.iter().map(free).collect()
}

/// Slots of running tasks, by executor.
async fn used_slots(jobs: &HashMap<JobId, JobInfoCache>) -> Slots {
    let mut used = Slots::new();
    for job in jobs.values() {
        let graph = job.execution_graph.read().await;
        for stage in graph.stages().values() {
            let ExecutionStage::Running(stage) = stage else { continue };
            for task in &stage.task_infos {
                if let task_status::Status::Running(running) = &task.task_status {
                    *used.entry(running.executor_id.clone()).or_default() += task.vcores_consumed;
                }
            }
        }
    }
    used
}

#[cfg(test)]
mod tests {
    use ballista_core::serde::scheduler::{ExecutorOperatingSystemSpecification, ExecutorSpecification};

    use super::*;

    fn member(id: &str) -> (ExecutorMetadata, ExecutorData) {
        let metadata = ExecutorMetadata {
            id: id.to_owned(),
            host: "127.0.0.1".to_owned(),
            port: 1,
            grpc_port: 2,
            specification: ExecutorSpecification::default().with_vcores(2),
            os_info: ExecutorOperatingSystemSpecification::default(),
        };
        (metadata, ExecutorData { executor_id: id.to_owned(), total_vcores: 2, available_vcores: 2 })
    }

    fn beat(id: &str, status: Status) -> ExecutorHeartbeat {
        let timestamp = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let status = Some(ExecutorStatus { status: Some(status) });
        ExecutorHeartbeat { executor_id: id.to_owned(), timestamp, status, ..ExecutorHeartbeat::default() }
    }

    #[tokio::test]
    async fn another_build_is_refused_and_this_one_is_not_named() {
        let members = Members::new("b1".to_owned(), Duration::from_secs(10), 0);
        let (metadata, data) = member("b2.x");
        let error = members.register_executor(metadata, data).await.unwrap_err().to_string();
        assert!(error.contains("same binary") && !error.contains("b1"), "{error}");
        let (metadata, data) = member("b1.x");
        members.register_executor(metadata, data).await.unwrap();
        assert_eq!(members.count(), 1);
    }

    #[tokio::test]
    async fn one_that_leaves_is_alive_and_counts_no_more() {
        let members = Members::new("b".to_owned(), Duration::from_secs(10), 0);
        let (metadata, data) = member("b.x");
        members.register_executor(metadata, data).await.unwrap();
        members.save_executor_heartbeat(beat("b.x", Status::Terminating(String::new()))).await.unwrap();
        assert_eq!(members.count(), 0);
        let kept = members.get_executor_heartbeat("b.x").unwrap();
        assert!(matches!(kept.status.unwrap().status, Some(Status::Active(_))));
        let lost = members.lost("b.x");
        assert!(tokio::time::timeout(LOOK_EVERY * 2, lost).await.is_err(), "it is there");
        members.remove_executor("b.x").await.unwrap();
        tokio::time::timeout(LOOK_EVERY, members.lost("b.x")).await.unwrap();
        assert!(members.executor_heartbeats().is_empty());
    }
}
