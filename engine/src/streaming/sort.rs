//! Sorts rows that are already sorted by the leading keys.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, RecordBatch};
use datafusion::common::Statistics;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, LexOrdering, OrderingRequirements, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{
    Boundedness, CardinalityEffect, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions,
};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, InputDistributionRequirements,
    PlanProperties, StatisticsArgs,
};
use futures::{StreamExt, TryStreamExt};
use tokio::sync::Mutex as AsyncMutex;

use super::window::{is_same, keys, ranges};

/// Minimum rows per sorted chunk: large enough to amortize a sort's start, small compared with a task.
const CHUNK_ROWS: usize = 128 * 1024;

/// Equivalent of a [`SortExec`] whose input is already sorted by its first keys: sorts chunks of whole groups of these
/// keys one after another. A group of any length is sorted as in DataFusion, and can spill.
#[derive(Debug)]
pub struct ChunkedSortExec {
    sort: Arc<SortExec>,
    /// The keys by which the input is already sorted.
    prefix: LexOrdering,
    chunk_rows: usize,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl ChunkedSortExec {
    /// `None` if the input is not sorted by any key, or if only the first rows are wanted.
    ///
    /// # Errors
    /// DataFusion's, when the input's order cannot be determined.
    pub fn try_new(sort: &SortExec) -> Result<Option<Self>> {
        let input = sort.input();
        let (prefix, whole) = input.equivalence_properties().extract_common_sort_prefix(sort.expr().clone())?;
        let one_by_one = sort.preserve_partitioning() || input.output_partitioning().partition_count() == 1;
        let Some(prefix) = LexOrdering::new(prefix) else { return Ok(None) };
        if whole || sort.fetch().is_some() || !one_by_one {
            return Ok(None);
        }
        let properties = sort.properties().as_ref().clone().with_emission_type(EmissionType::Incremental);
        Ok(Some(Self {
            sort: Arc::new(sort.clone()),
            prefix,
            chunk_rows: CHUNK_ROWS,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }))
    }

    #[cfg(test)]
    pub(super) fn with_chunk_rows(mut self, chunk_rows: usize) -> Self {
        self.chunk_rows = chunk_rows;
        self
    }
}

impl DisplayAs for ChunkedSortExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "ChunkedSortExec: [{}], sorted by [{}]", self.sort.expr(), self.prefix)
    }
}

impl ExecutionPlan for ChunkedSortExec {
    fn name(&self) -> &'static str {
        "ChunkedSortExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![self.sort.input()]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.sort.apply_expressions(f)
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        vec![Some(OrderingRequirements::from(self.prefix.clone()))]
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        self.sort.input_distribution_requirements()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![false]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let sort = Arc::new(self.sort.as_ref().clone()).replace_children(children, options)?;
        match sort.downcast_ref::<SortExec>().map(Self::try_new).transpose()?.flatten() {
            Some(chunked) => Ok(Arc::new(Self { chunk_rows: self.chunk_rows, ..chunked })),
            None => Ok(sort),
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.sort.input().execute(partition, Arc::clone(&context))?;
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let source = Arc::new(AsyncMutex::new(Source {
            input,
            prefix: self.prefix.iter().map(|key| Arc::clone(&key.expr)).collect(),
            chunk_rows: self.chunk_rows,
            next: None,
            last: None,
        }));
        let order = self.sort.expr().clone();
        let schema = self.schema();
        let chunks = futures::stream::try_unfold(source, move |source| {
            let (order, context) = (order.clone(), Arc::clone(&context));
            async move {
                if !source.lock().await.has_more().await? {
                    return Ok(None);
                }
                Ok::<_, DataFusionError>(Some((sorted(&source, order, context).await?, source)))
            }
        });
        let output = chunks.try_flatten().inspect_ok(move |batch: &RecordBatch| {
            metrics.record_output(batch.num_rows());
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, output)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(
        &self,
        inputs: &[Arc<Statistics>],
        arguments: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        self.sort.statistics_from_inputs(inputs, arguments)
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }
}

/// The input, split into chunks.
struct Source {
    input: SendableRecordBatchStream,
    prefix: Vec<Arc<dyn PhysicalExpr>>,
    chunk_rows: usize,
    /// Rows that were read and are not yet part of a chunk.
    next: Option<RecordBatch>,
    /// Keys of the last returned row.
    last: Option<Vec<ArrayRef>>,
}

impl Source {
    async fn has_more(&mut self) -> Result<bool> {
        while self.next.is_none() {
            match self.input.next().await.transpose()? {
                Some(batch) if batch.num_rows() == 0 => {}
                Some(batch) => self.next = Some(batch),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// The next rows of the chunk, which has `rows` already; `None` if it is complete.
    async fn take(&mut self, rows: usize) -> Result<Option<RecordBatch>> {
        if !self.has_more().await? {
            return Ok(None);
        }
        let Some(batch) = self.next.take() else { return Ok(None) };
        let keys = keys(&self.prefix, &batch)?;
        let end = match &self.last {
            Some(last) if rows >= self.chunk_rows => match is_same(last, &keys)? {
                true => ranges(&keys, batch.num_rows())?.first().map_or(0, |range| range.end),
                false => 0,
            },
            _ => batch.num_rows(),
        };
        if end < batch.num_rows() {
            self.next = Some(batch.slice(end, batch.num_rows() - end));
        }
        if end == 0 {
            return Ok(None);
        }
        self.last = Some(keys.iter().map(|key| key.slice(end - 1, 1)).collect());
        Ok(Some(batch.slice(0, end)))
    }
}

/// The next chunk, sorted.
async fn sorted(
    source: &Arc<AsyncMutex<Source>>,
    order: LexOrdering,
    context: Arc<TaskContext>,
) -> Result<SendableRecordBatchStream> {
    let schema = source.lock().await.input.schema();
    let rows = futures::stream::try_unfold((Arc::clone(source), 0), |(source, rows)| async move {
        let batch = source.lock().await.take(rows).await?;
        Ok(batch.map(|batch| {
            let rows = rows + batch.num_rows();
            (batch, (source, rows))
        }))
    });
    let chunk = ChunkExec::new(Box::pin(RecordBatchStreamAdapter::new(schema, rows)));
    SortExec::new(order, Arc::new(chunk)).execute(0, context)
}

/// Wraps a stream as a plan for one execution.
struct ChunkExec {
    rows: Mutex<Option<SendableRecordBatchStream>>,
    properties: Arc<PlanProperties>,
}

impl ChunkExec {
    fn new(rows: SendableRecordBatchStream) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(rows.schema()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { rows: Mutex::new(Some(rows)), properties: Arc::new(properties) }
    }
}

impl fmt::Debug for ChunkExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChunkExec")
    }
}

impl DisplayAs for ChunkExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("ChunkExec")
    }
}

impl ExecutionPlan for ChunkExec {
    fn name(&self) -> &'static str {
        "ChunkExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.rows
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .ok_or_else(|| DataFusionError::Internal("a chunk is sorted once".to_owned()))
    }
}
