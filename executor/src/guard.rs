//! Stops the work of a cancelled task: Ballista runs a task's plan in spawned work that outlives the task.

use std::fmt;
use std::sync::Arc;

use ballista_core::error::BallistaError;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::StreamExt;
use pulse_engine::sink::SinkExec;
use tokio::sync::watch;

/// Passes rows on until its task is cancelled; then it drops the plan below and returns an error to the plan above.
#[derive(Debug)]
pub(crate) struct GuardExec {
    input: Arc<dyn ExecutionPlan>,
    cancelled: watch::Receiver<bool>,
}

impl GuardExec {
    /// Guards the plan below the shuffle writer at the root of a task's plan. A sink stays above the guard: it aborts
    /// its uploads when its input fails.
    pub(crate) fn below_writer(
        plan: Arc<dyn ExecutionPlan>,
        cancelled: watch::Receiver<bool>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [root] = plan.children()[..] else { return Ok(plan) };
        let guarded = match root.downcast_ref::<SinkExec>().map(|_| root.children()).as_deref() {
            Some([input]) => Arc::clone(root).replace_children(vec![Self::over(input, cancelled)], same_rows())?,
            _ => Self::over(root, cancelled),
        };
        plan.replace_children(vec![guarded], same_rows())
    }

    fn over(input: &Arc<dyn ExecutionPlan>, cancelled: watch::Receiver<bool>) -> Arc<dyn ExecutionPlan> {
        Arc::new(Self { input: Arc::clone(input), cancelled })
    }
}

impl DisplayAs for GuardExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "GuardExec")
    }
}

impl ExecutionPlan for GuardExec {
    fn name(&self) -> &'static str {
        "GuardExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Self::over(&children.remove(0), self.cancelled.clone()))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, same_rows())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = self.input.execute(partition, context)?;
        let schema = rows.schema();
        let mut cancelled = self.cancelled.clone();
        let rows = rows.take_until(Box::pin(async move {
            // If the sender is dropped, the task has ended.
            if cancelled.wait_for(|cancelled| *cancelled).await.is_err() {
                std::future::pending::<()>().await;
            }
        }));
        let guarded = futures::stream::unfold(Some(rows), |rows| async move {
            let mut rows = rows?;
            match rows.next().await {
                Some(batch) => Some((batch, Some(rows))),
                None => rows.take_result().map(|()| (Err(cancelled_error()), None)),
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, guarded)))
    }
}

/// A guard does not change rows.
fn same_rows() -> ReplaceChildrenOptions {
    ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep)
}

fn cancelled_error() -> DataFusionError {
    DataFusionError::External(Box::new(BallistaError::Cancelled))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use datafusion::arrow::datatypes::Schema;
    use datafusion::datasource::memory::MemorySourceConfig;
    use datafusion::physical_plan::empty::EmptyExec;
    use datafusion::physical_plan::test::exec::BlockingExec;

    use super::*;

    fn guarded(input: Arc<dyn ExecutionPlan>) -> (watch::Sender<bool>, SendableRecordBatchStream) {
        let (cancel, cancelled) = watch::channel(false);
        let plan = GuardExec::over(&input, cancelled);
        (cancel, plan.execute(0, Arc::new(TaskContext::default())).unwrap())
    }

    #[tokio::test]
    async fn what_waits_forever_ends_when_its_task_is_cancelled() {
        let blocking = Arc::new(BlockingExec::new(Arc::new(Schema::empty()), 1));
        let held = blocking.refs();
        let (cancel, mut rows) = guarded(blocking);
        assert!(tokio::time::timeout(Duration::from_millis(20), rows.next()).await.is_err(), "it does not wait");
        cancel.send(true).unwrap();
        let end = tokio::time::timeout(Duration::from_secs(5), rows.next()).await.unwrap();
        let error = end.unwrap().unwrap_err();
        assert!(matches!(
            error,
            DataFusionError::External(inner) if matches!(inner.downcast_ref(), Some(BallistaError::Cancelled))
        ));
        assert!(rows.next().await.is_none());
        assert_eq!(held.strong_count(), 0, "what lies below is let go");
    }

    #[tokio::test]
    async fn what_ends_by_itself_ends_without_an_error() {
        let (cancel, mut rows) = guarded(Arc::new(EmptyExec::new(Arc::new(Schema::empty()))));
        drop(cancel);
        while let Some(batch) = rows.next().await {
            batch.unwrap();
        }
    }

    #[test]
    fn the_writer_stays_on_top() {
        let rows = MemorySourceConfig::try_new_exec(&[vec![]], Arc::new(Schema::empty()), None).unwrap();
        let writer = ballista_core::execution_plans::ShuffleWriterExec::try_new(
            ballista_core::JobId::new("job"),
            1,
            rows,
            "unused".to_owned(),
        )
        .unwrap();
        let plan = GuardExec::below_writer(Arc::new(writer), watch::channel(false).1).unwrap();
        assert_eq!(plan.name(), "ShuffleWriterExec");
        assert_eq!(plan.children()[0].name(), "GuardExec");
    }
}
