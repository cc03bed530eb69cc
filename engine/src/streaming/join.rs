//! Joins whose collected side would not fit into memory.

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

/// A hash join may collect one part in this many of the memory of queries. It holds what it collects until it ends, and its
/// tables beside the rows; sorts and aggregates need the rest.
const SHARE: u64 = 8;
/// Of a row in a hash table: hash, index and chain.
const HASH_BYTES: u64 = 24;
/// Of a value without a fixed width: its offset and a short text.
const TEXT_BYTES: u64 = 24;
/// Of a file's bytes when read; Parquet packs market data about this well.
const UNPACKED: u64 = 4;

/// Joins large inputs by sorting both, which spills, where DataFusion would collect one of them in a hash table, which does
/// not. An input of unknown size is taken for a small one: then the join may fail for want of memory.
///
/// Runs before orders are seen to, so that sorts come where they are missing only.
#[derive(Debug)]
pub(crate) struct SpillableJoins {
    /// Of all queries of the process.
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
        // As sinks and sources order rows, so that a side that is in order already stays so.
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

/// The keys as a merge can compare them; none when it cannot. DataFusion's merge knows no stamps with a zone, for which their
/// numbers stand, and fails on NaN.
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

/// Bytes of a plan's rows in a hash table; none when nothing is known.
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
