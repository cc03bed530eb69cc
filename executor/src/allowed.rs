//! What a task's plan may consist of: the nodes that a scheduler of pulse makes. All others decode too, among them readers and
//! writers of any file, and are refused before anything runs.

use std::sync::Arc;

use ballista_core::execution_plans::{ShuffleReaderExec, ShuffleWriterExec, SortShuffleWriterExec};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::{FileScanConfig, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;
use pulse_engine::codec::is_own_source;

use crate::job::is_name;

/// Nodes that only work on rows of their inputs, or make rows from nothing.
const ROWS: &[&str] = &[
    "AggregateExec",
    "AsyncFuncExec",
    "BoundedWindowAggExec",
    "BufferExec",
    "ChunkExec",
    "ChunkedSortExec",
    "CoalesceBatchesExec",
    "CoalescePartitionsExec",
    "CooperativeExec",
    "CrossJoinExec",
    "EmptyExec",
    "FilterExec",
    "GlobalLimitExec",
    "HashJoinExec",
    "InterleaveExec",
    "LazyMemoryExec",
    "LocalLimitExec",
    "NestedLoopJoinExec",
    "PartialSortExec",
    "PartitionedTopKExec",
    "PiecewiseMergeJoinExec",
    "PinnedExec",
    "PlaceholderRowExec",
    "ProjectionExec",
    "RepartitionExec",
    "ScalarSubqueryExec",
    "SortExec",
    "SortMergeJoinExec",
    "SortPreservingMergeExec",
    "StreamingWindowExec",
    "SymmetricHashJoinExec",
    "UnionExec",
    "UnnestExec",
    "WindowAggExec",
];
/// Pulse's own, which writes files of tables.
const SINK: &str = "SinkExec";

/// # Errors
/// The first node that a scheduler of pulse does not make, or another job's shuffle.
pub(crate) fn check(plan: &Arc<dyn ExecutionPlan>, job: &str) -> Result<(), String> {
    let mut nodes = vec![Arc::clone(plan)];
    while let Some(node) = nodes.pop() {
        check_node(&node, job)?;
        nodes.extend(node.children().into_iter().cloned());
    }
    Ok(())
}

fn check_node(node: &Arc<dyn ExecutionPlan>, job: &str) -> Result<(), String> {
    if let Some(reader) = node.downcast_ref::<ShuffleReaderExec>() {
        let jobs = reader.partition.iter().flatten().map(|place| place.partition_id.job_id.as_str());
        return of_job(jobs, job);
    }
    if let Some(writer) = node.downcast_ref::<ShuffleWriterExec>() {
        return of_job([writer.job_id().as_str()], job);
    }
    if let Some(writer) = node.downcast_ref::<SortShuffleWriterExec>() {
        return of_job([writer.job_id().as_str()], job);
    }
    if let Some(source) = node.downcast_ref::<DataSourceExec>() {
        return match is_allowed_source(source) {
            true => Ok(()),
            false => Err("it reads what no plan of pulse reads".to_owned()),
        };
    }
    // Such as `SortExec(TopK)`.
    match node.name().split('(').next().unwrap_or_default() {
        name if name == SINK || ROWS.contains(&name) => Ok(()),
        name => Err(format!("no plan of pulse has the node {name}")),
    }
}

fn is_allowed_source(source: &DataSourceExec) -> bool {
    let source = source.data_source();
    match source.downcast_ref::<FileScanConfig>() {
        Some(files) => is_own_source(files) || files.file_source.downcast_ref::<ParquetSource>().is_some(),
        None => source.downcast_ref::<MemorySourceConfig>().is_some(),
    }
}

/// Their names become names of folders here.
fn of_job<'a>(named: impl IntoIterator<Item = &'a str>, job: &str) -> Result<(), String> {
    match named.into_iter().all(|name| name == job && is_name(name)) {
        true => Ok(()),
        false => Err("it reads or writes shuffles of another job".to_owned()),
    }
}

#[cfg(test)]
mod tests;
