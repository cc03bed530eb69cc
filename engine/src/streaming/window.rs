//! Evaluates window functions over sorted rows, batch by batch.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{concat, partition};
use arrow::datatypes::SchemaRef;
use datafusion::common::Statistics;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::PartitionEvaluator;
use datafusion::physical_expr::window::{StandardWindowExpr, StandardWindowFunctionExpr};
use datafusion::physical_expr::{OrderingRequirements, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{
    CardinalityEffect, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions,
};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::windows::WindowAggExec;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, InputDistributionRequirements, PlanProperties, StatisticsArgs,
};
use futures::StreamExt;

/// Equivalent of a [`WindowAggExec`] whose functions all accept a window partition in pieces. Holds one batch and the
/// state of each function, however long the window partition is.
#[derive(Debug)]
pub struct StreamingWindowExec {
    window: Arc<WindowAggExec>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl StreamingWindowExec {
    /// # Errors
    /// When a function of `window` does not accept its rows in pieces.
    pub fn try_new(window: WindowAggExec) -> Result<Self> {
        if window.window_expr().iter().any(|expression| super::call(expression).is_none()) {
            return Err(DataFusionError::Internal("a window function needs its partition whole".to_owned()));
        }
        let properties = window.properties().as_ref().clone().with_emission_type(EmissionType::Incremental);
        Ok(Self { window: Arc::new(window), properties: Arc::new(properties), metrics: ExecutionPlanMetricsSet::new() })
    }

    fn window(&self, input: Arc<dyn ExecutionPlan>) -> Result<WindowAggExec> {
        let can_repartition = !self.window.partition_keys().is_empty();
        WindowAggExec::try_new(self.window.window_expr().to_vec(), input, can_repartition)
    }
}

impl DisplayAs for StreamingWindowExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let names: Vec<&str> = self.window.window_expr().iter().map(|expression| expression.name()).collect();
        write!(f, "StreamingWindowExec: [{}]", names.join(", "))
    }
}

impl ExecutionPlan for StreamingWindowExec {
    fn name(&self) -> &'static str {
        "StreamingWindowExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![self.window.input()]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.window.apply_expressions(f)
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        self.window.required_input_ordering()
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        self.window.input_distribution_requirements()
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(Self::try_new(self.window(input)?)?)),
            _ => Err(DataFusionError::Internal("a window has one input".to_owned())),
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.window.input().execute(partition, context)?;
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let schema = self.schema();
        let mut series = Series::try_new(&self.window)?;
        let output = input.map(move |batch| {
            let batch = batch?;
            let _timer = metrics.elapsed_compute().timer();
            series.extend(&batch).record_output(&metrics)
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
        self.window.statistics_from_inputs(inputs, arguments)
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }
}

/// The functions of one plan partition, with their state for the current window partition.
struct Series {
    schema: SchemaRef,
    partition_by: Vec<Arc<dyn PhysicalExpr>>,
    calls: Vec<Call>,
    /// Partition keys of the last row; arrays of length one.
    last: Option<Vec<ArrayRef>>,
}

struct Call {
    function: Arc<dyn StandardWindowFunctionExpr>,
    evaluator: Box<dyn PartitionEvaluator>,
}

impl Series {
    fn try_new(window: &WindowAggExec) -> Result<Self> {
        let calls = window.window_expr().iter().filter_map(|expression| {
            let expression = expression.as_any().downcast_ref::<StandardWindowExpr>()?;
            let function = Arc::clone(expression.get_standard_func_expr());
            Some(function.create_evaluator().map(|evaluator| Call { function, evaluator }))
        });
        Ok(Self {
            schema: window.schema(),
            partition_by: window.window_expr().first().map(|first| first.partition_by().to_vec()).unwrap_or_default(),
            calls: calls.collect::<Result<_>>()?,
            last: None,
        })
    }

    /// Appends a column for each call to the next rows.
    fn extend(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        if batch.num_rows() == 0 {
            return Ok(RecordBatch::new_empty(Arc::clone(&self.schema)));
        }
        let keys = keys(&self.partition_by, batch)?;
        let continues = match &self.last {
            Some(last) => is_same(last, &keys)?,
            None => true,
        };
        let ranges = ranges(&keys, batch.num_rows())?;
        let mut columns = batch.columns().to_vec();
        for call in &mut self.calls {
            columns.push(call.extend(batch, &ranges, continues)?);
        }
        self.last = Some(keys.iter().map(|key| key.slice(batch.num_rows() - 1, 1)).collect());
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

impl Call {
    fn extend(&mut self, batch: &RecordBatch, ranges: &[Range<usize>], continues: bool) -> Result<ArrayRef> {
        let arguments = self.function.evaluate_args(batch)?;
        let mut pieces = Vec::with_capacity(ranges.len());
        for (index, range) in ranges.iter().enumerate() {
            if index > 0 || !continues {
                self.evaluator = self.function.create_evaluator()?;
            }
            let arguments: Vec<ArrayRef> =
                arguments.iter().map(|argument| argument.slice(range.start, range.len())).collect();
            pieces.push(self.evaluator.evaluate_all(&arguments, range.len())?);
        }
        match &pieces[..] {
            [piece] => Ok(Arc::clone(piece)),
            _ => Ok(concat(&pieces.iter().map(AsRef::as_ref).collect::<Vec<_>>())?),
        }
    }
}

/// Values of the expressions that define groups of rows.
pub(super) fn keys(expressions: &[Arc<dyn PhysicalExpr>], batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
    expressions.iter().map(|key| key.evaluate(batch)?.into_array(batch.num_rows())).collect()
}

/// Ranges of rows with equal keys; one range if there are no keys.
pub(super) fn ranges(keys: &[ArrayRef], rows: usize) -> Result<Vec<Range<usize>>> {
    match keys {
        [] => Ok(std::iter::once(0..rows).collect()),
        _ => Ok(partition(keys)?.ranges()),
    }
}

/// Whether the first row of `keys` equals the single row `last`, by the same equality as within a batch.
pub(super) fn is_same(last: &[ArrayRef], keys: &[ArrayRef]) -> Result<bool> {
    let pairs: Vec<ArrayRef> = last
        .iter()
        .zip(keys)
        .map(|(last, key)| concat(&[last.as_ref(), key.slice(0, 1).as_ref()]))
        .collect::<Result<_, _>>()?;
    Ok(ranges(&pairs, 2)?.len() == 1)
}
