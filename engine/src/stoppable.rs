//! Ends a query soon after its reader is gone. A join compares all pairs of rows that its keys allow before it yields, which may take hours
//! if its filter rejects all of them. So the filter asks whether it may go on.

use std::fmt::{self, Display, Formatter};
use std::hash::{Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder, SortMergeJoinExec,
};
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::{Stream, StreamExt as _};

/// Batches that wait to be shown.
const WAITING: usize = 2;

/// The rows of `plan`, computed in tasks of their own: the reader is never held up, and the work ends with the reader.
///
/// # Errors
/// Those of the plan.
pub(crate) fn stream(plan: Arc<dyn ExecutionPlan>, task: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
    let stop = Stop::default();
    let mut rows = execute_stream(stoppable(plan, &stop)?, task)?;
    let mut beside = RecordBatchReceiverStream::builder(rows.schema(), WAITING);
    let sender = beside.tx();
    beside.spawn(async move {
        while let Some(batch) = rows.next().await {
            // Nobody reads them any more when it cannot be sent.
            if sender.send(batch).await.is_err() {
                break;
            }
        }
        Ok(())
    });
    Ok(Box::pin(Watched { rows: beside.build(), stop }))
}

/// Set once nobody reads the rows.
#[derive(Debug, Clone, Default)]
struct Stop(Arc<AtomicBool>);

struct Watched {
    rows: SendableRecordBatchStream,
    stop: Stop,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.stop.0.store(true, Ordering::Relaxed);
    }
}

impl Stream for Watched {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.rows.poll_next_unpin(cx)
    }
}

impl RecordBatchStream for Watched {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }
}

fn stoppable(plan: Arc<dyn ExecutionPlan>, stop: &Stop) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|plan| {
        if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() {
            let filter = join.filter().map(|filter| asking(filter, stop));
            let (left, right) = (Arc::clone(join.left()), Arc::clone(join.right()));
            let asking = NestedLoopJoinExecBuilder::new(left, right, *join.join_type())
                .with_projection(join.projection().as_ref().map(|columns| columns.to_vec()))
                .with_filter(filter)
                .build()?;
            return Ok(Transformed::yes(Arc::new(CooperativeExec::new(Arc::new(asking)))));
        }
        if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
            let filter = join.filter().map(|filter| asking(filter, stop));
            let asking = join.builder().with_filter(filter).build()?;
            return Ok(Transformed::yes(Arc::new(CooperativeExec::new(Arc::new(asking)))));
        }
        let joins = plan.is::<SortMergeJoinExec>() || plan.is::<CrossJoinExec>();
        Ok(if joins { Transformed::yes(Arc::new(CooperativeExec::new(plan))) } else { Transformed::no(plan) })
    })
    .data()
}

fn asking(filter: &JoinFilter, stop: &Stop) -> JoinFilter {
    let expression = Asking { inner: Arc::clone(filter.expression()), stop: stop.clone() };
    JoinFilter::new(Arc::new(expression), filter.column_indices().to_vec(), Arc::clone(filter.schema()))
}

/// `inner`, until the query is stopped.
#[derive(Debug)]
struct Asking {
    inner: Arc<dyn PhysicalExpr>,
    stop: Stop,
}

impl PartialEq for Asking {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for Asking {}

impl Hash for Asking {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl Display for Asking {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl PhysicalExpr for Asking {
    fn return_field(&self, input: &Schema) -> Result<FieldRef> {
        self.inner.return_field(input)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        match self.stop.0.load(Ordering::Relaxed) {
            true => Err(DataFusionError::Execution("the query was stopped".to_owned())),
            false => self.inner.evaluate(batch),
        }
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let inner = children.into_iter().next().unwrap_or_else(|| Arc::clone(&self.inner));
        Ok(Arc::new(Self { inner, stop: self.stop.clone() }))
    }

    fn fmt_sql(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;
    use crate::session::{session_config, session_state};

    const PATIENCE: Duration = Duration::from_secs(20);

    async fn planned(sql: &str) -> (Arc<dyn ExecutionPlan>, Arc<TaskContext>) {
        let state = session_state(session_config(SessionConfig::new(), 2, 8192), Arc::default());
        let rows = SessionContext::new_with_state(state).sql(sql).await.unwrap();
        let task = Arc::new(rows.task_ctx());
        (rows.create_physical_plan().await.unwrap(), task)
    }

    fn series(name: &str, rows: u32) -> String {
        format!("(select cast(value as bigint) as v from generate_series(1, {rows})) {name}")
    }

    /// Nothing here waits for the runtime's clock: it stands still while all threads compute.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn joins_end_with_their_reader() {
        let (a, b) = (series("a", 300_000), series("b", 300_000));
        let queries = [
            // No pair matches, so no batch is yielded.
            format!("select count(*) from {a} join {b} on a.v * 2 > b.v + 100000000"),
            format!("select count(*) from {a} join {b} on a.v % 7 > b.v % 11"),
            format!("select count(*) from {a} left join {b} on a.v + b.v < 0"),
            format!("select max(a.v * b.v) from {a}, {b}"),
            format!("select count(*) from {a} join {b} on a.v % 3 = b.v % 3 and a.v + b.v < 0"),
            format!("select a.v from {a} where not exists (select 1 from {b} where a.v + b.v < 0)"),
        ];
        for (sql, delay) in queries.iter().flat_map(|sql| [(sql, 100), (sql, 1_500)]) {
            let (plan, task) = planned(sql).await;
            let mut rows = stream(plan, Arc::clone(&task)).unwrap();
            let (sender, waited) = tokio::sync::oneshot::channel();
            std::thread::spawn(move || {
                // Some stop while they read their inputs, others while they compare.
                std::thread::sleep(Duration::from_millis(delay));
                let _ = sender.send(());
            });
            tokio::select! {
                _ = rows.next() => panic!("{sql}: it ended"),
                _ = waited => {}
            }
            drop(rows);
            let began = Instant::now();
            while tokio::runtime::Handle::current().metrics().num_alive_tasks() > 0 {
                assert!(began.elapsed() < PATIENCE, "{sql}: it goes on");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }

    #[tokio::test]
    async fn rows_are_as_ever() {
        let (a, b) = (series("a", 40), series("b", 40));
        for (sql, expected) in [
            (format!("select count(*) from {a} join {b} on a.v > b.v"), 780),
            (format!("select count(*) from {a} left join {b} on a.v > b.v + 38"), 40),
            (format!("select count(*) from {a} join {b} on a.v = b.v"), 40),
            (format!("select count(*) from {a}, {b}"), 1600),
        ] {
            let (plan, task) = planned(&sql).await;
            let batch = stream(plan, task).unwrap().next().await.unwrap().unwrap();
            let counts: &arrow::array::Int64Array = batch.column(0).as_any().downcast_ref().unwrap();
            assert_eq!(counts.value(0), expected, "{sql}");
        }
    }
}
