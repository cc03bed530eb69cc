//! A plan as Ballista will cut it, looked through before it is sent.

use std::sync::Arc;

use ballista_core::JobId;
use ballista_core::execution_plans::UnresolvedShuffleExec;
use ballista_scheduler::planner::{DefaultDistributedPlanner, DistributedPlanner};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result as DataFusionResult;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{
    ChildSatisfactionOptions, ExecutionPlan, ExecutionPlanProperties, Partitioning, displayable,
};
use pulse_core::{Error, Result};
use pulse_engine::error::from_datafusion;
use pulse_engine::pinned::pin_joins;

use super::validate::validate;

/// A plan that may be sent.
pub(super) struct Prepared {
    pub(super) plan: Arc<dyn ExecutionPlan>,
    /// Of the answer.
    pub(super) partitions: usize,
}

/// # Errors
/// `Internal` when executors would answer otherwise than this process: that is seen here or never.
pub(super) fn prepare(plan: Arc<dyn ExecutionPlan>, options: &ConfigOptions) -> Result<Prepared> {
    let failed = |e| from_datafusion("prepare a plan for executors", e);
    let plan = plan.transform_up(runnable).data().map_err(failed)?;
    let plan = pin_joins(plan, options).map_err(failed)?;
    validate(plan.as_ref())?;
    // Planned only to be looked at: Ballista plans again, the same way.
    let stages = DefaultDistributedPlanner::new()
        .plan_query_stages(&JobId::new("preview"), Arc::clone(&plan), options)
        .map_err(|e| Error::internal(format!("a plan cannot be cut into stages: {e}")))?;
    let mut partitions = 0;
    for stage in &stages {
        let [root] = stage.children()[..] else {
            return Err(Error::internal("a stage has several roots"));
        };
        check(root)?;
        partitions = root.output_partitioning().partition_count();
    }
    Ok(Prepared { plan, partitions })
}

/// A scan of nothing has no task, and its stage would never end. Rows that are only spread evenly stay where they are, as
/// Ballista would leave them; said here, so that what lies above is planned for it.
fn runnable(plan: Arc<dyn ExecutionPlan>) -> DataFusionResult<Transformed<Arc<dyn ExecutionPlan>>> {
    if plan.is::<DataSourceExec>() && plan.output_partitioning().partition_count() == 0 {
        return Ok(Transformed::yes(Arc::new(EmptyExec::new(plan.schema()))));
    }
    if let Some(repartition) = plan.downcast_ref::<RepartitionExec>()
        && matches!(repartition.partitioning(), Partitioning::RoundRobinBatch(_))
    {
        return Ok(Transformed::yes(Arc::clone(repartition.input())));
    }
    Ok(Transformed::no(plan))
}

/// Whether every operator of a stage gets its rows in the order and together with those that it relies on.
fn check(node: &Arc<dyn ExecutionPlan>) -> Result<()> {
    if node.is::<RepartitionExec>() {
        // A task holds some partitions only and would redistribute among those.
        return Err(broken(node, "moves rows otherwise"));
    }
    let failed = |e| from_datafusion("check a stage", e);
    let distributions = node.input_distribution_requirements();
    let orders = node.required_input_ordering();
    for (index, child) in node.children().into_iter().enumerate() {
        let shuffle = child.downcast_ref::<UnresolvedShuffleExec>();
        // Every task reads all of a broadcast.
        if shuffle.is_none_or(|shuffle| !shuffle.broadcast) {
            let allowed = ChildSatisfactionOptions::new().with_allow_subset(true);
            let together = distributions.child_satisfaction(index, child.as_ref(), allowed).map_err(failed)?;
            if !together.is_satisfied() {
                return Err(broken(node, "needs other rows together"));
            }
        }
        // What is merged was sorted by the stage before, which a shuffle does not say.
        let merged = shuffle.is_some() && node.is::<SortPreservingMergeExec>();
        if let Some(Some(order)) = orders.get(index)
            && !merged
            && !child
                .equivalence_properties()
                .ordering_satisfy_requirement(order.clone().into_single())
                .map_err(failed)?
        {
            return Err(broken(node, "needs another order"));
        }
        check(child)?;
    }
    Ok(())
}

fn broken(node: &Arc<dyn ExecutionPlan>, why: &str) -> Error {
    log::debug!("refused: {}", displayable(node.as_ref()).indent(true));
    Error::internal(format!(
        "operator {} {why} than the cluster's stages give it: run the job with `--on local`",
        node.name()
    ))
}
