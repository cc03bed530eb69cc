//! Carrying out a physical plan: in this process here, on executors in the scheduler's crate.

use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use datafusion::execution::SessionState;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, displayable};
use futures::{StreamExt, TryStreamExt};
use pulse_core::run::Place;
use pulse_core::{Error, Result};

use crate::error::from_datafusion;
use crate::streaming::streaming;

/// Told as tasks end: tasks done and in all, rows so far.
pub type Progress<'a> = &'a (dyn Fn(usize, usize, u64) + Sync);

/// One way to carry out a plan. Exactly one attempt of each partition is in the answer, in the partitions' order.
#[async_trait]
pub trait Execute: Send + Sync {
    fn place(&self) -> Place;

    /// # Errors
    /// By what went wrong below; `Internal` when a partition's answer is missing.
    async fn execute(
        &self,
        name: &str,
        state: &SessionState,
        plan: Arc<dyn ExecutionPlan>,
        progress: Progress<'_>,
    ) -> Result<Vec<Vec<RecordBatch>>>;
}

/// In this process, at most `slots` partitions at once.
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
        // Behind a repartition all partitions feed each other: those that wait would pile up what is sent to them.
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
        let (mut done, mut rows) = (0, 0);
        while let Some((partition, batches)) = running.next().await {
            let batches = batches
                .map_err(|e| Error::internal(format!("{name}: a task stopped")).with_source(e))?
                .map_err(|e| from_datafusion(name, e))?;
            done += 1;
            rows += batches.iter().map(|batch| batch.num_rows() as u64).sum::<u64>();
            progress(done, partitions, rows);
            results[partition] = batches;
        }
        Ok(results)
    }
}

/// A task that ends with whoever waits for it.
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
