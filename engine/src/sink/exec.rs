//! The sink's physical operator. It has as many output as input partitions, so that a cluster never collapses it into
//! one task.

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
        let grain = spec.grain.iter().flat_map(|grain| &grain.columns);
        for column in spec.columns.iter().chain(spec.meeting_columns()).chain(grain) {
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

    /// Whether the plan below sends all rows with equal grain to one task.
    pub fn gathers_grain(&self) -> bool {
        let Some(grain) = &self.spec.grain else { return false };
        let schema = self.input.schema();
        let Ok(keys) = grain.columns.iter().map(|name| col(name, &schema)).collect::<Result<Vec<_>>>() else {
            return false;
        };
        let properties = self.input.properties();
        let wanted = Distribution::KeyPartitioned(keys);
        properties.output_partitioning().satisfaction(&wanted, properties.equivalence_properties(), true).is_satisfied()
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
            let options = SortOptions { descending: key.descending, nulls_first: key.nulls_first };
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

/// Writes all rows; aborts open uploads after an error, so that no parts leak.
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

#[cfg(test)]
mod tests {
    use datafusion::datasource::MemTable;
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;
    use crate::session::{RuntimeOptions, runtime, session_config, session_state};
    use crate::sink::{Adjacency, FailAction, SinkNode, UniqueCheck};
    use crate::store::Stores;

    fn spec(grain: &[&str]) -> SinkSpec {
        let grain: Vec<String> = grain.iter().map(|name| (*name).to_owned()).collect();
        SinkSpec {
            run_id: String::new(),
            table: "file:///t".to_owned(),
            columns: grain.clone(),
            partition_by: Vec::new(),
            order: grain.clone(),
            target_file_bytes: 1 << 20,
            quarantine: "file:///q".to_owned(),
            checks: Vec::new(),
            unique: None,
            grain: Some(UniqueCheck {
                name: "grain".to_owned(),
                columns: grain,
                adjacency: Adjacency::Proven,
                on_fail: FailAction::Count,
                keep_first_by: Vec::new(),
            }),
        }
    }

    /// Whether rows with equal grain of a table with several partitions reach one task.
    async fn gathered(sql: &str, grain: &[&str]) -> bool {
        let limits = RuntimeOptions { memory_bytes: 64 << 20, spill_dir: None, spill_limit_bytes: 1 << 20 };
        let runtime = runtime(&limits, &Arc::new(Stores::default())).unwrap();
        let context =
            SessionContext::new_with_state(session_state(session_config(SessionConfig::new(), 4, 8192), runtime));
        let rows = context.sql("select value as k, value % 7 as v from generate_series(1, 100000)").await.unwrap();
        let batches = rows.collect().await.unwrap();
        let parts = batches.chunks(3).map(<[RecordBatch]>::to_vec).collect();
        context.register_table("t", Arc::new(MemTable::try_new(batches[0].schema(), parts).unwrap())).unwrap();
        let plan = context.state().create_logical_plan(sql).await.unwrap();
        let plan = SinkNode::plan(plan, Arc::new(spec(grain))).unwrap();
        let plan = context.state().create_physical_plan(&plan).await.unwrap();
        plan.downcast_ref::<SinkExec>().unwrap().gathers_grain()
    }

    #[tokio::test]
    async fn rows_that_a_window_has_gathered_are_not_compared_between_files() {
        assert!(gathered("select k, sum(v) over (partition by k order by v) as v from t", &["k", "v"]).await);
        assert!(!gathered("select k, sum(v) over (partition by v order by k) as n from t", &["k"]).await);
        assert!(!gathered("select k, v from t", &["k", "v"]).await);
        assert!(gathered("select k, v from t order by v limit 10", &["k", "v"]).await);
    }
}
