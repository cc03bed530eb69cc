//! Checks a plan, cut into stages as Ballista will cut it, before it is submitted.

use std::sync::Arc;

use ballista_core::JobId;
use ballista_core::execution_plans::UnresolvedShuffleExec;
use ballista_scheduler::planner::{DefaultDistributedPlanner, DistributedPlanner};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result as DataFusionResult;
use datafusion::physical_expr::OrderingRequirements;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PartitionMode};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{
    ChildSatisfactionOptions, ExecutionPlan, ExecutionPlanProperties, Partitioning, displayable,
};
use pulse_core::{Error, Result};
use pulse_engine::error::from_datafusion;
use pulse_engine::pinned::pin_joins;

use super::validate::validate;

/// A plan that may be submitted.
pub(super) struct Prepared {
    pub(super) plan: Arc<dyn ExecutionPlan>,
    /// Number of partitions of the result.
    pub(super) partitions: usize,
}

/// # Errors
/// `Internal` if executors would compute another result than this process. Nothing later would notice it.
pub(super) fn prepare(plan: Arc<dyn ExecutionPlan>, options: &ConfigOptions) -> Result<Prepared> {
    let failed = |e| from_datafusion("prepare a plan for executors", e);
    let plan = plan.transform_up(runnable).data().map_err(failed)?;
    // This optimizes again, and would remove the sorts that the next step adds.
    let plan = pin_joins(plan, options).map_err(failed)?;
    let plan = sort_after_shuffles(plan).map_err(failed)?;
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

/// Replaces a scan without partitions, which has no task, so that its stage would never end. Removes round-robin repartitioning, as
/// Ballista does, so that the operators above are planned without it.
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

/// Adds sorts after shuffles, wherever an operator requires an order that only facts from before the shuffle prove.
///
/// The optimizer leaves constants out of a sort, and takes one of two equal columns for the other. It does not know these facts after
/// a shuffle: the rows would have another order than the operator requires.
fn sort_after_shuffles(plan: Arc<dyn ExecutionPlan>) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
    let mut hidden = Vec::new();
    let plan = plan
        .transform_up(|node| {
            let node = with_required_orders(node)?;
            if matches!(node.downcast_ref::<RepartitionExec>(), Some(moved) if matches!(moved.partitioning(), Partitioning::Hash(..)))
            {
                return Ok(Transformed::yes(hide(&mut hidden, node)));
            }
            if node.is::<CoalescePartitionsExec>() || node.is::<SortPreservingMergeExec>() {
                let input = hide(&mut hidden, Arc::clone(node.children()[0]));
                return Ok(Transformed::yes(replace_children_if_necessary(node, vec![input])?));
            }
            // Ballista puts some inputs of a union into a stage of their own.
            if node.is::<UnionExec>() {
                let inputs = node.children().into_iter().map(|input| hide(&mut hidden, Arc::clone(input))).collect();
                return Ok(Transformed::yes(replace_children_if_necessary(node, inputs)?));
            }
            // The collected side of a join is a stage of its own, whose rows every task reads.
            if collects_left(node.as_ref()) {
                let mut inputs: Vec<_> = node.children().into_iter().map(Arc::clone).collect();
                if let Some(left) = inputs.first_mut() {
                    *left = hide(&mut hidden, Arc::clone(left));
                }
                return Ok(Transformed::yes(replace_children_if_necessary(node, inputs)?));
            }
            Ok(Transformed::yes(node))
        })
        .data()?;
    plan.transform_down(|node| {
        let shown = node.downcast_ref::<UnresolvedShuffleExec>().map(|leaf| Arc::clone(&hidden[leaf.stage_id]));
        Ok(shown.map_or(Transformed::no(node), Transformed::yes))
    })
    .data()
}

fn collects_left(node: &dyn ExecutionPlan) -> bool {
    let hashes =
        node.downcast_ref::<HashJoinExec>().is_some_and(|join| *join.partition_mode() == PartitionMode::CollectLeft);
    hashes || node.is::<NestedLoopJoinExec>() || node.is::<CrossJoinExec>()
}

/// Stores `node` in `hidden` and returns a leaf with no more known properties than a shuffle has.
fn hide(hidden: &mut Vec<Arc<dyn ExecutionPlan>>, node: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    let partitioning = node.output_partitioning().clone();
    let leaf = UnresolvedShuffleExec::new(hidden.len(), node.schema(), partitioning);
    hidden.push(node);
    Arc::new(leaf)
}

/// Sorts the inputs of an operator that are not known to have the required order.
fn with_required_orders(node: Arc<dyn ExecutionPlan>) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
    let orders = node.required_input_ordering();
    let mut inputs: Vec<_> = node.children().into_iter().map(Arc::clone).collect();
    for (input, required) in inputs.iter_mut().zip(orders) {
        let Some(required) = required.map(OrderingRequirements::into_single) else { continue };
        if input.equivalence_properties().ordering_satisfy_requirement(required.clone())? {
            continue;
        }
        let replaced = input.downcast_ref::<SortExec>().filter(|sort| sort.fetch().is_none());
        let preserves = replaced.is_none_or(SortExec::preserve_partitioning);
        let unsorted = Arc::clone(replaced.map_or(&*input, SortExec::input));
        *input = Arc::new(SortExec::new(required.into(), unsorted).with_preserve_partitioning(preserves));
    }
    replace_children_if_necessary(node, inputs)
}

/// Checks that every operator of a stage gets its rows in the required order and distribution.
fn check(node: &Arc<dyn ExecutionPlan>) -> Result<()> {
    if node.is::<RepartitionExec>() {
        // A task holds only some partitions, and would redistribute rows among these.
        return Err(broken(node, "moves rows otherwise"));
    }
    let failed = |e| from_datafusion("check a stage", e);
    let distributions = node.input_distribution_requirements();
    let orders = node.required_input_ordering();
    for (index, child) in node.children().into_iter().enumerate() {
        let shuffle = child.downcast_ref::<UnresolvedShuffleExec>();
        // Every task reads a whole broadcast.
        if shuffle.is_none_or(|shuffle| !shuffle.broadcast) {
            let allowed = ChildSatisfactionOptions::new().with_allow_subset(true);
            let together = distributions.child_satisfaction(index, child.as_ref(), allowed).map_err(failed)?;
            if !together.is_satisfied() {
                return Err(broken(node, "needs other rows together"));
            }
        }
        // The stage before sorted the merged rows; the properties of a shuffle do not contain that.
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

#[cfg(test)]
mod tests {
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;

    /// Windows whose partitions or orders have keys that are constant, or equal to each other, before the last shuffle.
    const WINDOWS: [&str; 5] = [
        "select k, row_number() over (partition by c, k order by n) from (select k, n, 'a' as c from t)",
        "select k, row_number() over (partition by k order by c, n) from (select k, n, 1 as c from t union all select k, n, 1 from t)",
        "select k, lead(n) over (partition by k order by m, n) from t where m = 3",
        "select a.k, rank() over (partition by a.k, b.k order by a.n) from t a join t b on a.k = b.k",
        "select k, sum(n) over (partition by c, k order by n), row_number() over (partition by k, c, z order by n, m) \
         from (select k, n, m, z, c from (select k, n, m, false as c, m > 2 as z from t) order by n)",
    ];

    async fn prepared(query: &str) -> Result<Prepared> {
        prepared_in(query, 3).await
    }

    async fn prepared_in(query: &str, partitions: usize) -> Result<Prepared> {
        let config = SessionConfig::new().with_target_partitions(partitions);
        let context = SessionContext::new_with_config(config);
        let rows = "create table t as select v % 5 as k, v as n, v % 4 as m from generate_series(1, 40000) g(v)";
        context.sql(rows).await.unwrap().collect().await.unwrap();
        let plan = context.sql(query).await.unwrap().create_physical_plan().await.unwrap();
        prepare(plan, context.copied_config().options())
    }

    /// Windows above a join whose inputs have keys that are constant or equal to each other.
    const JOINS: [&str; 6] = [
        "select b.k, row_number() over (partition by b.k order by b.n) from t b join (select distinct k from t where n < 9) a \
         on a.k = b.k",
        "select a.k, row_number() over (partition by a.k, a.c order by b.n) from (select k, 1 as c, count(*) as m from t where k = 3 \
         group by k) a join t b on a.k = b.k",
        "select b.k, lead(b.n) over (partition by b.k order by b.n, a.m) from (select k, m from t where m = 3 and k = 1) a \
         join t b on a.k = b.k and a.m = b.m",
        "select b.k, lead(b.n) over (partition by b.k order by b.n) from t b where b.k in (select k from t where n = 7)",
        "select k, row_number() over (partition by k order by n) from (select b.k, b.n from t b join (select distinct k from t \
         where n < 9) a on a.k = b.k union all select k, n from t where k = 2)",
        "select b.k, sum(b.n) over (partition by a.m, b.k order by b.n) from t b left join (select k, max(m) as m from t group by k) a \
         on a.k = b.k where b.m = 1",
    ];

    #[tokio::test]
    async fn orders_are_spelled_out_above_a_join() {
        for partitions in [1, 2, 3] {
            for query in JOINS {
                prepared_in(query, partitions).await.unwrap_or_else(|error| panic!("{partitions}: {query}: {error}"));
            }
        }
    }

    /// Sorted inputs of a union, of which Ballista makes stages.
    const UNIONS: [&str; 3] = [
        "select k, row_number() over (order by k) from (select k from t where n < 9 union all select 0)",
        "select k, row_number() over (partition by k order by c) from (select k, count(*) as c from t group by k union all select 0, 0)",
        "select d, k, row_number() over (order by d, k) from (select 1 as d, k, count(*) as c from t group by k \
         union all select 2 as d, k, count(*) as c from t group by k)",
    ];

    #[tokio::test]
    async fn orders_are_spelled_out_behind_a_union() {
        for partitions in [1, 3] {
            for query in UNIONS {
                prepared_in(query, partitions).await.unwrap_or_else(|error| panic!("{query}: {error}"));
            }
        }
    }

    #[tokio::test]
    async fn orders_are_spelled_out_after_a_shuffle() {
        for query in WINDOWS {
            let plan = prepared(query).await.unwrap_or_else(|error| panic!("{query}: {error}")).plan;
            assert!(
                displayable(plan.as_ref()).indent(false).to_string().contains("RepartitionExec: partitioning=Hash"),
                "{query}"
            );
        }
    }
}
