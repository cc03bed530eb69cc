//! Replaces joins whose collected side would not fit into memory.

use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Schema};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::physical_expr::expressions::cast;
use datafusion::physical_expr_common::physical_expr::PhysicalExprRef;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::{HashJoinExec, JoinOn, PartitionMode, SortMergeJoinExec};
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};

/// A hash join may collect this fraction of the query memory. It holds the collected rows and its hash table until it
/// ends; sorts and aggregates need the rest.
const SHARE: u64 = 8;
/// Bytes per row in a hash table: hash, index and chain.
const HASH_BYTES: u64 = 24;
/// Estimated bytes of a value without a fixed width: its offset and a short text.
const TEXT_BYTES: u64 = 24;
/// Estimated decompression factor of files; typical for market data in Parquet.
const UNPACKED: u64 = 4;

/// Replaces a hash join of large inputs, which cannot spill, by a sort-merge join, whose sorts can. An input of unknown
/// size counts as small: then the join may run out of memory.
///
/// Runs before sort requirements are enforced, so that sorts are added only where they are missing.
#[derive(Debug)]
pub(crate) struct SpillableJoins {
    /// Memory of all queries of the process.
    pub(crate) memory_bytes: u64,
}

impl PhysicalOptimizerRule for SpillableJoins {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| {
            let sorted = plan.downcast_ref::<HashJoinExec>().map(|join| self.sorted(join)).transpose()?.flatten();
            Ok(sorted.map_or(Transformed::no(plan), |join| Transformed::yes(Arc::new(join))))
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "spillable_joins"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

impl SpillableJoins {
    fn sorted(&self, join: &HashJoinExec) -> Result<Option<SortMergeJoinExec>> {
        let collected = *join.partition_mode() == PartitionMode::CollectLeft;
        if collected || join.null_aware || join.contains_projection() || join.on().is_empty() {
            return Ok(None);
        }
        let too_large = size(join.left())?.is_some_and(|bytes| bytes > self.memory_bytes / SHARE);
        if !too_large {
            return Ok(None);
        }
        let Some(on) = comparable(join)? else { return Ok(None) };
        // The order of sinks and sources, so that a sorted side needs no sort.
        let options = vec![SortOptions { descending: false, nulls_first: false }; join.on().len()];
        SortMergeJoinExec::try_new(
            Arc::clone(join.left()),
            Arc::clone(join.right()),
            on,
            join.filter().cloned(),
            *join.join_type(),
            options,
            join.null_equality(),
        )
        .map(Some)
    }
}

/// The keys in a form that a merge join can compare; `None` if there is none. DataFusion's merge join does not support
/// timestamps with a zone, which are compared as integers, and fails on NaN.
fn comparable(join: &HashJoinExec) -> Result<Option<JoinOn>> {
    let side = |key: &PhysicalExprRef, schema: &Schema| match key.data_type(schema)? {
        DataType::Timestamp(_, Some(_)) => cast(Arc::clone(key), schema, DataType::Int64).map(Some),
        DataType::Boolean | DataType::Utf8 | DataType::Date32 | DataType::Timestamp(_, None) => {
            Ok(Some(Arc::clone(key)))
        }
        data_type if data_type.is_integer() => Ok(Some(Arc::clone(key))),
        _ => Ok(None),
    };
    let (left_schema, right_schema) = (join.left().schema(), join.right().schema());
    let mut on = Vec::with_capacity(join.on().len());
    for (left, right) in join.on() {
        match (side(left, &left_schema)?, side(right, &right_schema)?) {
            (Some(left), Some(right)) => on.push((left, right)),
            _ => return Ok(None),
        }
    }
    Ok(Some(on))
}

/// Estimated bytes of a plan's rows in a hash table; `None` if unknown.
fn size(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<u64>> {
    let statistics = StatisticsContext::new().compute(plan.as_ref(), &StatisticsArgs::new())?;
    let known = |value: &Precision<usize>| value.get_value().map(|value| u64::try_from(*value).unwrap_or(u64::MAX));
    Ok(match known(&statistics.num_rows) {
        Some(rows) => Some(rows.saturating_mul(row_bytes(&plan.schema()))),
        None => known(&statistics.total_byte_size).map(|bytes| bytes.saturating_mul(UNPACKED)),
    })
}

fn row_bytes(schema: &Schema) -> u64 {
    let width = |data_type: &DataType| data_type.primitive_width().map_or(TEXT_BYTES, |width| width as u64);
    HASH_BYTES + schema.fields().iter().map(|field| width(field.data_type())).sum::<u64>()
}
