//! One attempt of a task: Ballista's, with errors that say whether another attempt may help.

use std::fmt::{self, Debug, Display};
use std::sync::Arc;

use async_trait::async_trait;
use ballista_core::JobId;
use ballista_core::error::BallistaError;
use ballista_core::serde::protobuf::{RuntimeStatsReport, ShuffleWritePartition, TaskColumnStats, WindowStateReport};
use ballista_executor::execution_engine::{ExecutionEngine, QueryStageExecutor};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::prelude::SessionConfig;
use pulse_core::ErrorKind;
use pulse_engine::error::from_datafusion;
use pulse_engine::streaming::streaming;
use pulse_engine::wire::to_wire;

/// Ballista's engine; what fails is told by kind.
pub(crate) struct Attempts<E> {
    pub(crate) inner: E,
}

impl<E: ExecutionEngine> ExecutionEngine for Attempts<E> {
    fn create_query_stage_exec(
        &self,
        job_id: JobId,
        stage_id: usize,
        task_id: usize,
        global_output_partition_ids: Vec<usize>,
        plan: Arc<dyn ExecutionPlan>,
        work_dir: &str,
        config: &SessionConfig,
    ) -> Result<Arc<dyn QueryStageExecutor>> {
        // Here and not on the scheduler: what is sent are DataFusion's own operators.
        let plan = streaming(plan)?;
        self.inner
            .create_query_stage_exec(job_id, stage_id, task_id, global_output_partition_ids, plan, work_dir, config)
            .map(|inner| Arc::new(Attempt { inner }) as _)
    }
}

struct Attempt {
    inner: Arc<dyn QueryStageExecutor>,
}

#[async_trait]
impl QueryStageExecutor for Attempt {
    async fn execute_query_stage(
        &self,
        task_id: usize,
        context: Arc<TaskContext>,
    ) -> Result<Vec<ShuffleWritePartition>> {
        self.inner.execute_query_stage(task_id, context).await.map_err(for_scheduler)
    }

    /// Of the root only: where tasks of one stage have unlike plans, as below a union, Ballista cannot add up their metrics,
    /// drops the report that the task has ended, and waits for it forever.
    fn collect_plan_metrics(&self) -> Vec<MetricsSet> {
        self.inner.collect_plan_metrics().into_iter().take(1).collect()
    }

    fn collect_runtime_stats_reports(&self) -> Vec<RuntimeStatsReport> {
        self.inner.collect_runtime_stats_reports()
    }

    fn collect_window_state_reports(&self) -> Result<Vec<WindowStateReport>> {
        self.inner.collect_window_state_reports()
    }

    fn collect_column_stats(&self) -> Vec<TaskColumnStats> {
        self.inner.collect_column_stats()
    }
}

impl Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.inner, f)
    }
}

impl Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Debug::fmt(&self.inner, f)
    }
}

/// Ballista tries a task again after an I/O error only, so what may pass by itself becomes one. Its own errors stay what they
/// are: by them it knows whose shuffle files are lost.
fn for_scheduler(error: DataFusionError) -> DataFusionError {
    if is_ballistas(&error) {
        return error;
    }
    let ours = from_datafusion("on an executor", error);
    match ours.kind() {
        ErrorKind::Unavailable => DataFusionError::IoError(std::io::Error::other(to_wire(&ours))),
        ErrorKind::Invalid
        | ErrorKind::Conflict
        | ErrorKind::Data
        | ErrorKind::Exhausted
        | ErrorKind::Cancelled
        | ErrorKind::Internal => DataFusionError::Execution(to_wire(&ours)),
    }
}

fn is_ballistas(error: &DataFusionError) -> bool {
    let DataFusionError::External(inner) = error.find_root() else { return false };
    match inner.downcast_ref::<BallistaError>() {
        Some(BallistaError::FetchFailed(..) | BallistaError::Cancelled | BallistaError::IoError(_)) => true,
        Some(BallistaError::DataFusionError(inner)) => is_ballistas(inner),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use ballista_core::serde::protobuf::FailedTask;
    use ballista_core::serde::protobuf::failed_task::FailedReason;
    use pulse_core::Error;
    use pulse_engine::error::into_datafusion;
    use pulse_engine::wire::from_wire;

    use super::*;

    fn reported(error: DataFusionError) -> FailedTask {
        FailedTask::from(BallistaError::from(for_scheduler(error)))
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        let wrapped = into_datafusion(Error::unavailable("bucket `lake` does not answer")).context("while scanning");
        let failed = reported(wrapped);
        assert!(failed.retryable && failed.count_to_failures, "{failed:?}");
        let error = from_wire(&failed.error).unwrap();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.message().ends_with("bucket `lake` does not answer"), "{}", error.message());
    }

    #[test]
    fn what_will_not_pass_fails_at_once_with_its_kind() {
        let failed = reported(into_datafusion(Error::data("file `a.csv` is cut off")));
        assert!(!failed.retryable, "{failed:?}");
        assert_eq!(from_wire(&failed.error).unwrap().kind(), ErrorKind::Data);
        let failed = reported(DataFusionError::ResourcesExhausted("no memory".to_owned()));
        assert_eq!(from_wire(&failed.error).unwrap().kind(), ErrorKind::Exhausted);
    }

    #[test]
    fn a_lost_shuffle_file_stays_one() {
        let lost = BallistaError::FetchFailed("executor-1".to_owned(), 2, 3, "gone".to_owned()).into_datafusion();
        let failed = reported(lost.context("while joining"));
        assert!(matches!(failed.failed_reason, Some(FailedReason::FetchPartitionError(_))), "{failed:?}");
    }
}
