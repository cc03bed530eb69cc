//! Executes a physical plan in this process. The scheduler crate does so on executors.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use datafusion::execution::SessionState;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, displayable};
use futures::{StreamExt, TryStreamExt};
use pulse_core::run::Place;
use pulse_core::{Error, Result};
use tokio::time::MissedTickBehavior;

use crate::error::from_datafusion;
use crate::streaming::streaming;

/// Progress of a plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reached {
    /// Finished tasks.
    pub done: usize,
    pub tasks: usize,
    /// Rows read by the scans; of tasks that run elsewhere, once they have ended.
    pub rows: u64,
    /// Bytes read by the scans; 0 if tasks run elsewhere.
    pub bytes: u64,
}

/// Called when tasks finish and while scans read.
pub type Progress<'a> = &'a (dyn Fn(Reached) + Sync);

/// Polling interval for scan metrics.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Executes plans. The result has exactly one attempt of each partition, in partition order.
#[async_trait]
pub trait Execute: Send + Sync {
    fn place(&self) -> Place;

    /// # Errors
    /// Those of the plan; `Internal` when a partition's result is missing.
    async fn execute(
        &self,
        name: &str,
        state: &SessionState,
        plan: Arc<dyn ExecutionPlan>,
        progress: Progress<'_>,
    ) -> Result<Vec<Vec<RecordBatch>>>;
}

/// Executes in this process, at most `slots` partitions at once.
#[derive(Debug, Clone, Copy)]
pub struct InProcess {
    pub slots: usize,
}

#[async_trait]
impl Execute for InProcess {
    fn place(&self) -> Place {
        Place::Local
    }

    async fn execute(
        &self,
        name: &str,
        state: &SessionState,
        plan: Arc<dyn ExecutionPlan>,
        progress: Progress<'_>,
    ) -> Result<Vec<Vec<RecordBatch>>> {
        let plan = streaming(plan).map_err(|e| from_datafusion(name, e))?;
        log::debug!("{name}, as executed:\n{}", displayable(plan.as_ref()).indent(false));
        let partitions = plan.output_partitioning().partition_count();
        // Below a repartition all partitions feed each other: rows sent to waiting ones would pile up.
        let at_once = if repartitions(&plan) { partitions } else { self.slots };
        let task = state.task_ctx();
        let mut running = futures::stream::iter(0..partitions)
            .map(|partition| {
                let (plan, task) = (Arc::clone(&plan), Arc::clone(&task));
                let handle =
                    AbortOnDrop(tokio::spawn(
                        async move { plan.execute(partition, task)?.try_collect::<Vec<_>>().await },
                    ));
                async move { (partition, handle.join().await) }
            })
            .buffer_unordered(at_once.max(1));
        let mut results = vec![Vec::new(); partitions];
        let mut reported = Reached { tasks: partitions, ..Reached::default() };
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut done = 0;
        while done < partitions {
            tokio::select! {
                _ = looks.tick() => {}
                ended = running.next() => {
                    let Some((partition, batches)) = ended else { break };
                    results[partition] = batches
                        .map_err(|e| Error::internal(format!("{name}: a task stopped")).with_source(e))?
                        .map_err(|e| from_datafusion(name, e))?;
                    done += 1;
                }
            }
            let (rows, bytes) = read_so_far(plan.as_ref());
            let now = Reached { done, tasks: partitions, rows, bytes };
            if now != reported {
                reported = now;
                progress(now);
            }
        }
        Ok(results)
    }
}

/// Rows and bytes read so far by the scans of a plan. A task of a cluster asks it of its own part, whose other leaves read shuffles.
pub fn read_so_far(plan: &dyn ExecutionPlan) -> (u64, u64) {
    let children = plan.children();
    if !children.is_empty() {
        let read = children.into_iter().map(|child| read_so_far(child.as_ref()));
        return read.fold((0, 0), |(rows, bytes), (more_rows, more_bytes)| (rows + more_rows, bytes + more_bytes));
    }
    let Some(metrics) = plan.metrics() else { return (0, 0) };
    let bytes = metrics.sum_by_name("bytes_scanned").map_or(0, |value| value.as_usize());
    (metrics.output_rows().unwrap_or_default() as u64, bytes as u64)
}

/// A task that is aborted when its handle is dropped.
struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> AbortOnDrop<T> {
    async fn join(mut self) -> std::result::Result<T, tokio::task::JoinError> {
        (&mut self.0).await
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn repartitions(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<RepartitionExec>() || plan.children().into_iter().any(repartitions)
}
