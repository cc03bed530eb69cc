//! The load of a cluster: pending and running tasks, and the executors that hold rows.

use std::collections::HashSet;

use async_trait::async_trait;
use ballista_core::serde::protobuf::task_status;
use ballista_scheduler::cluster::ClusterState as _;
use ballista_scheduler::state::execution_stage::ExecutionStage;

use super::Cluster;
use crate::scaler::{ExecutorLoad, Load, Workload};

#[async_trait]
impl Workload for Cluster {
    async fn load(&self) -> Load {
        let mut load = Load::default();
        let mut needed: HashSet<String> = HashSet::new();
        let jobs = self.on_cluster.server.state.task_manager.get_running_job_cache();
        for job in jobs.values() {
            let graph = job.execution_graph.read().await;
            for stage in graph.stages().values() {
                match stage {
                    ExecutionStage::Running(running) => load.pending_tasks += running.pending.remaining(),
                    ExecutionStage::Resolved(resolved) => load.pending_tasks += resolved.partitions,
                    ExecutionStage::UnResolved(_) | ExecutionStage::Successful(_) | ExecutionStage::Failed(_) => {}
                }
                for task in stage.task_infos().into_iter().flatten() {
                    match &task.task_status {
                        task_status::Status::Running(running) => {
                            load.running_tasks += 1;
                            needed.insert(running.executor_id.clone());
                        }
                        // Later stages, or the driver, still read what it wrote.
                        task_status::Status::Successful(done) => {
                            needed.insert(done.executor_id.clone());
                        }
                        task_status::Status::Failed(_) => {}
                    }
                }
            }
        }
        let members = &self.on_cluster.members;
        for member in members.registered_executor_metadata().await {
            load.executors.push(ExecutorLoad {
                is_needed: needed.contains(&member.id),
                slots: usize::try_from(member.specification.vcores).unwrap_or(usize::MAX),
                host: member.host,
                id: member.id,
            });
        }
        load
    }

    fn drain(&self, executor: &str) {
        self.on_cluster.members.drain(executor);
    }
}
