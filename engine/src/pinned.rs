//! Keeps joins as they were planned.
//!
//! Ballista checks the sizes of a join's inputs when it splits a plan into stages and again when a stage starts. It may
//! swap the inputs, and shuffle one that should be broadcast, or the reverse. It does not replan the operators above,
//! so an order or partitioning that the join preserves is silently lost. Joins whose input sizes are unknown are not
//! changed.
//!
//! Rows from another stage are not ordered either. DataFusion preserves an order in two cases that Ballista breaks: the
//! rows of one partition are distributed over several, or a join collects them and yields the matches of a row in their
//! order. Both occur with tables of one file.

use std::fmt;
use std::sync::Arc;

use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{JoinType, Statistics};
use datafusion::config::ConfigOptions;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::ensure_requirements::EnsureRequirements;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PartitionMode};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties, StatisticsArgs,
    replace_children_if_necessary,
};
use serde::{Deserialize, Serialize};

/// The declared property of a join's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Size {
    Unknown,
    /// Small enough to broadcast to every task, which loses the order.
    Small,
    /// Rows are distributed over tasks, which loses the order.
    Spread,
}

/// Passes its input through with unknown size, and without the order if that is lost.
#[derive(Debug)]
pub struct PinnedExec {
    input: Arc<dyn ExecutionPlan>,
    size: Size,
    properties: Arc<PlanProperties>,
}

impl PinnedExec {
    pub fn new(input: Arc<dyn ExecutionPlan>, size: Size) -> Self {
        let properties = match size {
            Size::Unknown => Arc::clone(input.properties()),
            Size::Small | Size::Spread => unordered(input.properties()),
        };
        Self { input, size, properties }
    }

    pub fn size(&self) -> Size {
        self.size
    }
}

fn unordered(properties: &PlanProperties) -> Arc<PlanProperties> {
    let mut equivalences = properties.equivalence_properties().clone();
    equivalences.clear_orderings();
    Arc::new(properties.clone().with_eq_properties(equivalences))
}

/// Pins every join, and adds sorts where an order would be lost between stages.
///
/// # Errors
/// DataFusion's, when a part of the plan cannot be rebuilt.
pub fn pin_joins(plan: Arc<dyn ExecutionPlan>, options: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
    let shuffled = plan.transform_up(without_unsafe_broadcast)?;
    let plan = match shuffled.transformed {
        true => EnsureRequirements::default().optimize(shuffled.data, options)?,
        false => shuffled.data,
    };
    let plan = plan.transform_up(pin).data()?;
    match plan.exists(lacks_order)? {
        true => EnsureRequirements::default().optimize(plan, options),
        false => Ok(plan),
    }
}

/// Whether the operator requires an order that its input lacks.
fn lacks_order(plan: &Arc<dyn ExecutionPlan>) -> Result<bool> {
    for (required, child) in plan.required_input_ordering().into_iter().zip(plan.children()) {
        if let Some(order) = required
            && !child.equivalence_properties().ordering_satisfy_requirement(order.into_single())?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Replaces broadcasts where each task sees only a part of the probe side and thus cannot know which collected rows
/// have no match. Ballista would shuffle both sides too, but too late for the operators above.
fn without_unsafe_broadcast(plan: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    let Some(join) = plan.downcast_ref::<HashJoinExec>() else { return Ok(Transformed::no(plan)) };
    let collected = *join.partition_mode() == PartitionMode::CollectLeft;
    if !collected || join.null_aware || is_broadcast_safe(*join.join_type()) {
        return Ok(Transformed::no(plan));
    }
    Ok(Transformed::yes(join.builder().with_partition_mode(PartitionMode::Partitioned).build_exec()?))
}

fn is_broadcast_safe(join_type: JoinType) -> bool {
    match join_type {
        JoinType::Inner | JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => true,
        JoinType::Left | JoinType::Full | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => false,
    }
}

fn pin(plan: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    if let Some(repartition) = plan.downcast_ref::<RepartitionExec>()
        && plan.output_ordering().is_some()
    {
        let input = pinned(Arc::clone(repartition.input()), Size::Spread);
        return Ok(Transformed::yes(replace_children_if_necessary(plan, vec![input])?));
    }
    let collected = match plan.downcast_ref::<HashJoinExec>() {
        // Ballista collects both sides of these in one task.
        Some(join) if join.null_aware => return Ok(Transformed::no(plan)),
        Some(join) => *join.partition_mode() == PartitionMode::CollectLeft,
        None if plan.is::<NestedLoopJoinExec>() || plan.is::<CrossJoinExec>() => false,
        None => return Ok(Transformed::no(plan)),
    };
    let children = plan.children();
    let [left, right] = children[..] else { return Ok(Transformed::no(plan)) };
    let (left, right) = (Arc::clone(left), Arc::clone(right));
    let left = if collected { pin_collected(left)? } else { pinned(left, Size::Unknown) };
    let children = vec![left, pinned(right, Size::Unknown)];
    Ok(Transformed::yes(replace_children_if_necessary(plan, children)?))
}

fn pinned(input: Arc<dyn ExecutionPlan>, size: Size) -> Arc<dyn ExecutionPlan> {
    Arc::new(PinnedExec::new(input, size))
}

/// Pins below the coalescing operator, which Ballista must find as the join's input.
fn pin_collected(left: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    match left.downcast_ref::<CoalescePartitionsExec>() {
        Some(gathered) => {
            let input = pinned(Arc::clone(gathered.input()), Size::Small);
            replace_children_if_necessary(Arc::clone(&left), vec![input])
        }
        None => Ok(pinned(left, Size::Small)),
    }
}

impl DisplayAs for PinnedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "PinnedExec: {:?}", self.size)
    }
}

impl ExecutionPlan for PinnedExec {
    fn name(&self) -> &'static str {
        "PinnedExec"
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

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![self.size == Size::Unknown]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(Self::new(input, self.size))),
            _ => Err(DataFusionError::Internal("a pinned input has one child".to_owned())),
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.input.execute(partition, context)
    }

    fn statistics_from_inputs(&self, _: &[Arc<Statistics>], _: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema());
        if self.size == Size::Small {
            // Inexact, so that no rule computes with it; not zero, which Ballista ignores.
            statistics.total_byte_size = Precision::Inexact(1);
        }
        Ok(Arc::new(statistics))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::compute::SortOptions;
    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    use datafusion::datasource::memory::MemorySourceConfig;
    use datafusion::datasource::source::DataSourceExec;
    use datafusion::physical_expr::expressions::Column;
    use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
    use datafusion::physical_optimizer::output_requirements::OutputRequirementExec;
    use datafusion::physical_plan::sorts::sort::SortExec;
    use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
    use datafusion::physical_plan::{Distribution, Partitioning};

    use super::*;

    fn by_symbol() -> (Arc<Column>, LexOrdering) {
        let symbol = Arc::new(Column::new("symbol", 0));
        let order = PhysicalSortExpr::new(Arc::clone(&symbol) as _, SortOptions::default());
        (symbol, LexOrdering::new([order]).unwrap())
    }

    /// Rows of one sorted file, distributed over two tasks and merged again.
    fn spread_and_merged(partitions: usize) -> Arc<dyn ExecutionPlan> {
        let (symbol, order) = by_symbol();
        let schema = Arc::new(Schema::new(vec![Field::new("symbol", DataType::Utf8, false)]));
        let rows = MemorySourceConfig::try_new(&vec![Vec::new(); partitions], schema, None).unwrap();
        let rows = rows.try_with_sort_information(vec![order.clone(); 1]).unwrap();
        let file = Arc::new(DataSourceExec::new(Arc::new(rows)));
        let spread = RepartitionExec::try_new(file, Partitioning::Hash(vec![symbol], 2)).unwrap();
        let spread = if partitions == 1 { spread } else { spread.with_preserve_order() };
        wanted_in(order, Arc::new(spread))
    }

    fn wanted_in(order: LexOrdering, rows: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        let merged = Arc::new(SortPreservingMergeExec::new(order.clone(), rows));
        Arc::new(OutputRequirementExec::new(merged, Some(order.into()), Distribution::SinglePartition, None))
    }

    fn sorts(plan: &Arc<dyn ExecutionPlan>) -> usize {
        let below: usize = plan.children().into_iter().map(sorts).sum();
        below + usize::from(plan.is::<SortExec>())
    }

    #[test]
    fn an_order_that_a_shuffle_loses_is_made_anew() {
        for partitions in [1, 2] {
            let plan = spread_and_merged(partitions);
            assert!(!plan.exists(lacks_order).unwrap(), "in one process nothing is lost");
            assert_eq!(sorts(&plan), 0);
            let pinned = pin_joins(plan, &ConfigOptions::default()).unwrap();
            assert!(!pinned.exists(lacks_order).unwrap());
            assert_eq!(sorts(&pinned), 1, "{partitions} partitions");
        }
    }

    #[test]
    fn what_is_sorted_above_a_shuffle_is_not_sorted_twice() {
        let (symbol, order) = by_symbol();
        let spread = Arc::clone(spread_and_merged(1).children()[0].children()[0]);
        let hashed = RepartitionExec::try_new(spread, Partitioning::Hash(vec![symbol], 2)).unwrap();
        let sorted = SortExec::new(order.clone(), Arc::new(hashed)).with_preserve_partitioning(true);
        let plan = wanted_in(order, Arc::new(sorted));
        assert_eq!(sorts(&pin_joins(plan, &ConfigOptions::default()).unwrap()), 1);
    }
}
