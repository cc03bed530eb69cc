//! The sink in a physical plan: as many partitions out as in, so that a cluster never folds it into one task.

use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use arrow::compute::SortOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::col;
use datafusion::physical_expr::{
    Distribution, EquivalenceProperties, LexRequirement, OrderingRequirements, Partitioning, PhysicalExpr,
    PhysicalSortRequirement,
};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, ReplaceChildrenOptions};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, InputDistributionRequirements, PlanProperties,
};
use futures::StreamExt;

use super::node::result_schema;
use super::task::SinkTask;
use super::{PartitionResult, SinkSpec};
use crate::error::into_datafusion;
use crate::step::{Step, reached};

#[derive(Debug)]
pub struct SinkExec {
    input: Arc<dyn ExecutionPlan>,
    spec: Arc<SinkSpec>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl SinkExec {
    /// # Errors
    /// When the input lacks a column that the spec names.
    pub fn try_new(input: Arc<dyn ExecutionPlan>, spec: Arc<SinkSpec>) -> Result<Self> {
        let schema = input.schema();
        for key in spec.input_order() {
            col(&key.column, &schema)?;
        }
        for column in spec.columns.iter().chain(spec.meeting_columns()) {
            col(column, &schema)?;
        }
        let partitions = input.properties().output_partitioning().partition_count();
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(result_schema()),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Final,
            Boundedness::Bounded,
        ));
        Ok(Self { input, spec, properties, metrics: ExecutionPlanMetricsSet::new() })
    }

    pub fn spec(&self) -> &Arc<SinkSpec> {
        &self.spec
    }
}

impl DisplayAs for SinkExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(
            f,
            "SinkExec: order=[{}], partition_by=[{}]",
            self.spec.order.join(", "),
            self.spec.partition_by.join(", ")
        )
    }
}

impl ExecutionPlan for SinkExec {
    fn name(&self) -> &'static str {
        "SinkExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
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

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        let schema = self.input.schema();
        let keys: Vec<_> = self.spec.meeting_columns().iter().filter_map(|name| col(name, &schema).ok()).collect();
        let distribution =
            if keys.is_empty() { Distribution::UnspecifiedDistribution } else { Distribution::KeyPartitioned(keys) };
        InputDistributionRequirements::new(vec![distribution])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        let schema = self.input.schema();
        let requirements = self.spec.input_order().into_iter().filter_map(|key| {
            let options = SortOptions { descending: key.descending, nulls_first: key.descending };
            Some(PhysicalSortRequirement::new(col(&key.column, &schema).ok()?, Some(options)))
        });
        vec![LexRequirement::new(requirements).map(OrderingRequirements::new)]
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
        Ok(Arc::new(Self::try_new(children.remove(0), Arc::clone(&self.spec))?))
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self::try_new(children.remove(0), Arc::clone(&self.spec))?))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let task = SinkTask::new(Arc::clone(&self.spec), &self.input.schema(), context.runtime_env().as_ref())
            .map_err(into_datafusion)?;
        let input = self.input.execute(partition, context)?;
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let result = futures::stream::once(async move {
            let result = drain(task, input).await?;
            metrics.record_output(usize::try_from(result.rows_written).unwrap_or(usize::MAX));
            to_batch(&result)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(result_schema(), result)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// Writes all rows; after an error the open uploads are aborted, so that no parts leak.
async fn drain(mut task: SinkTask, mut input: SendableRecordBatchStream) -> Result<PartitionResult> {
    while let Some(batch) = input.next().await {
        let written = match batch {
            Ok(batch) => task.write(&batch).await.map_err(into_datafusion),
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            task.abort().await;
            return Err(error);
        }
    }
    let result = task.finish().await.map_err(into_datafusion)?;
    reached(Step::FilesWritten);
    Ok(result)
}

fn to_batch(result: &PartitionResult) -> Result<RecordBatch> {
    let json = serde_json::to_string(result).map_err(|e| DataFusionError::External(Box::new(e)))?;
    Ok(RecordBatch::try_new(result_schema(), vec![Arc::new(StringArray::from(vec![json]))])?)
}
