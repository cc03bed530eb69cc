//! One attempt of a task: wraps Ballista's, classifies errors as retryable or not, and stops when cancelled.

use std::fmt::{self, Debug, Display};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ballista_core::JobId;
use ballista_core::error::BallistaError;
use ballista_core::execution_plans::{RangeShuffleReaderExec, ShuffleReaderExec};
use ballista_core::serde::protobuf::{RuntimeStatsReport, ShuffleWritePartition, TaskColumnStats, WindowStateReport};
use ballista_executor::execution_engine::{ExecutionEngine, QueryStageExecutor};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::{Count, Metric, MetricValue, MetricsSet};
use datafusion::prelude::SessionConfig;
use pulse_core::ErrorKind;
use pulse_engine::cluster::ROWS_READ;
use pulse_engine::error::{from_datafusion, is_storage_full};
use pulse_engine::execute::read_so_far;
use pulse_engine::step::{Step, reached};
use pulse_engine::streaming::streaming;
use pulse_engine::wire::to_wire;
use tokio::sync::watch;

use crate::file_place::{FilePlace, FilePlaces};
use crate::guard::GuardExec;
use crate::metrics::Metrics;
use crate::owner::Owner;
use crate::stale::remove_stale;

/// Delay before a first retryable failure is reported; the scheduler reassigns the task at once. Doubles each time.
const BACKOFF: Duration = Duration::from_millis(200);
/// Maximum number of doublings.
const BACKOFFS: u32 = 5;

/// Ballista's engine, with errors by kind. Drops the work of a scheduler that is gone.
pub(crate) struct Attempts<E> {
    pub(crate) inner: E,
    pub(crate) executor_id: String,
    pub(crate) owner: Arc<Owner>,
    pub(crate) places: FilePlaces,
    pub(crate) metrics: Arc<Metrics>,
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
        // Done here, because plans are sent with DataFusion's own operators.
        let plan = streaming(plan)?;
        let (cancel, cancelled) = watch::channel(false);
        remove_stale(&plan, &self.executor_id, work_dir)?;
        let plan = GuardExec::below_writer(plan, cancelled)?;
        self.owner.take(job_id.as_str(), &cancel, Path::new(work_dir));
        let place = self.places.of(job_id.as_str(), stage_id, task_id);
        // Scans stay the same nodes in the plan that is executed.
        let scans = scans(&plan);
        let metrics = Arc::clone(&self.metrics);
        self.inner
            .create_query_stage_exec(job_id, stage_id, task_id, global_output_partition_ids, plan, work_dir, config)
            .map(|inner| Arc::new(Attempt { inner, scans, cancel, place, metrics }) as _)
    }
}

struct Attempt {
    inner: Arc<dyn QueryStageExecutor>,
    scans: Vec<Arc<dyn ExecutionPlan>>,
    cancel: watch::Sender<bool>,
    place: FilePlace,
    metrics: Arc<Metrics>,
}

/// The leaves of a plan that read no shuffle of an earlier stage.
fn scans(plan: &Arc<dyn ExecutionPlan>) -> Vec<Arc<dyn ExecutionPlan>> {
    let children = plan.children();
    if !children.is_empty() {
        return children.into_iter().flat_map(scans).collect();
    }
    let reads_shuffle = plan.is::<ShuffleReaderExec>() || plan.is::<RangeShuffleReaderExec>();
    if reads_shuffle { Vec::new() } else { vec![Arc::clone(plan)] }
}

/// Cancels the task's work when it has ended or nothing waits for it any more.
struct CancelOnDrop<'a>(&'a watch::Sender<bool>);

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

#[async_trait]
impl QueryStageExecutor for Attempt {
    async fn execute_query_stage(
        &self,
        task_id: usize,
        context: Arc<TaskContext>,
    ) -> Result<Vec<ShuffleWritePartition>> {
        let _cancel = CancelOnDrop(&self.cancel);
        // Another attempt of the stage assigns the same number, and so the same file, to another task.
        self.place.take(&self.cancel).await;
        let failures = context.task_id().map_or(0, |id| failures(&id));
        let result = self.inner.execute_query_stage(task_id, context).await.map_err(for_scheduler);
        let spilled = self.inner.collect_plan_metrics().iter().filter_map(MetricsSet::spilled_bytes).sum::<usize>();
        self.metrics.spilled(u64::try_from(spilled).unwrap_or(u64::MAX));
        match &result {
            Ok(_) => reached(Step::TaskEnded),
            Err(DataFusionError::IoError(_)) => tokio::time::sleep(backoff(failures)).await,
            Err(_) => {}
        }
        result
    }

    /// Returns only the root's metrics: if tasks of one stage have different plans, as below a union, Ballista cannot
    /// aggregate their metrics, drops the report of the finished task, and waits for it forever. With them go the rows that were read.
    fn collect_plan_metrics(&self) -> Vec<MetricsSet> {
        let read: u64 = self.scans.iter().map(|scan| read_so_far(scan.as_ref()).0).sum();
        let rows = Count::new();
        rows.add(usize::try_from(read).unwrap_or(usize::MAX));
        let mut root: Vec<MetricsSet> = self.inner.collect_plan_metrics().into_iter().take(1).collect();
        if let Some(metrics) = root.first_mut() {
            // Of a partition: Ballista then puts it in the place of that of a former attempt.
            metrics.push(Arc::new(Metric::new(MetricValue::Count { name: ROWS_READ.into(), count: rows }, Some(0))));
        }
        root
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

/// Previous failures of the task, from Ballista's task id, such as `TID job/2.0/7.1`.
fn failures(task: &str) -> u32 {
    task.rsplit_once('.').and_then(|(_, attempt)| attempt.parse().ok()).unwrap_or_default()
}

/// Half of it is random, so that tasks that failed together are not retried together.
fn backoff(failures: u32) -> Duration {
    let longest = BACKOFF * 2_u32.pow(failures.min(BACKOFFS));
    longest.mul_f64(rand::random_range(0.5..=1.0))
}

/// Ballista retries a task only after an I/O error, so retryable errors become one. Ballista's own errors are not
/// changed: from them it knows whose shuffle files are lost.
fn for_scheduler(error: DataFusionError) -> DataFusionError {
    if is_ballistas(&error) {
        return error;
    }
    let disk_is_full = is_storage_full(&error);
    let ours = from_datafusion("on an executor", error);
    match ours.kind() {
        ErrorKind::Unavailable => again(&ours),
        // Another executor's disk may have room.
        ErrorKind::Exhausted if disk_is_full => again(&ours),
        ErrorKind::Invalid
        | ErrorKind::Conflict
        | ErrorKind::Data
        | ErrorKind::Exhausted
        | ErrorKind::Cancelled
        | ErrorKind::Internal => DataFusionError::Execution(to_wire(&ours)),
    }
}

fn again(error: &pulse_core::Error) -> DataFusionError {
    DataFusionError::IoError(std::io::Error::other(to_wire(error)))
}

fn is_ballistas(error: &DataFusionError) -> bool {
    let DataFusionError::External(inner) = error.find_root() else { return false };
    match inner.downcast_ref::<BallistaError>() {
        Some(BallistaError::FetchFailed(..) | BallistaError::Cancelled) => true,
        Some(BallistaError::IoError(io)) => io.kind() != std::io::ErrorKind::StorageFull,
        Some(BallistaError::DataFusionError(inner)) => is_ballistas(inner),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use ballista_core::serde::protobuf::FailedTask;
    use ballista_core::serde::protobuf::failed_task::FailedReason;
    use datafusion::arrow::error::ArrowError;
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
    fn a_connection_that_breaks_within_a_shuffle_is_tried_again() {
        let broken = || ArrowError::IpcError("h2 protocol error: error reading a body from connection".to_owned());
        for error in [
            DataFusionError::ArrowError(Box::new(broken()), None),
            DataFusionError::External(Box::new(broken())),
            BallistaError::ArrowError(Box::new(broken())).into_datafusion(),
        ] {
            let failed = reported(error);
            assert!(failed.retryable && failed.count_to_failures, "{failed:?}");
        }
    }

    #[test]
    fn a_full_disk_is_tried_elsewhere_and_says_what_to_do() {
        let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
        let arrow = || ArrowError::IoError("writing".to_owned(), full());
        for error in [
            DataFusionError::IoError(full()),
            DataFusionError::ArrowError(Box::new(arrow()), None),
            BallistaError::IoError(full()).into_datafusion(),
            BallistaError::ArrowError(Box::new(arrow())).into_datafusion(),
        ] {
            let failed = reported(error.context("while shuffling"));
            assert!(failed.retryable && failed.count_to_failures, "{failed:?}");
            let error = from_wire(&failed.error).unwrap();
            assert_eq!(error.kind(), ErrorKind::Exhausted);
            assert!(error.message().contains("work_dir"), "{}", error.message());
        }
    }

    #[test]
    fn waits_grow_with_the_failures_up_to_a_limit() {
        assert_eq!(failures("TID job/2.0/7.3"), 3);
        assert_eq!(failures("anything"), 0);
        for (count, most) in [(0, 200), (1, 400), (5, 6_400), (50, 6_400)] {
            let wait = backoff(count);
            assert!(wait <= Duration::from_millis(most) && wait >= Duration::from_millis(most / 2), "{wait:?}");
        }
    }

    #[test]
    fn a_lost_shuffle_file_stays_one() {
        let lost = BallistaError::FetchFailed("executor-1".to_owned(), 2, 3, "gone".to_owned()).into_datafusion();
        let failed = reported(lost.context("while joining"));
        assert!(matches!(failed.failed_reason, Some(FailedReason::FetchPartitionError(_))), "{failed:?}");
    }
}
