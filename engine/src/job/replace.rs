//! Deletes rows from a table: finds the files with dead rows, rewrites their living rows, and removes the files.

mod append;
mod history;
mod merge;
mod overwrite;
mod overwrite_partitions;

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use datafusion::catalog::TableProvider;
use datafusion::common::{Column, JoinType, NullEquality};
use datafusion::datasource::provider_as_source;
use datafusion::functions_aggregate::count::count_all;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, ident, lit};
use deltalake_core::kernel::Add;
use pulse_core::manifest::{History, Sink};
use pulse_core::project::Job;
use pulse_core::{Error, Result};

use super::Workbench;
use super::history::system_time;
use super::report::Staged;
use crate::error::from_datafusion;
use crate::sink::{PartitionResult, SinkExec, SinkNode, SinkSpec};
use crate::source::delta::{DeltaScan, FILE_COLUMN};
use crate::table::{DataFile, Removal, RowChange, Snapshot, Table};

/// How a sink treats the table's existing rows. What it must read is decided in `core/src/decide/sinks.rs`.
pub(super) trait SinkRules {
    /// Rows deleted by a run that computed only changes.
    fn goes(&self) -> Goes;

    /// Changes by a commit since the run's pin that conflict with it.
    fn conflicts(&self) -> Removal {
        Removal::FromRows
    }
}

/// Rows of a table that a run deletes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Goes {
    All,
    /// Those of source files that the run read again.
    OfFiles,
    /// Those that match a row of the query in `columns`.
    Agreeing {
        columns: Vec<String>,
        with: With,
        rest: Rest,
    },
}

/// Query rows that select the rows to delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum With {
    NewRows,
    /// Also those that the query yielded from the changed groups before the change.
    NewAndEarlierRows,
}

/// Treatment of other rows in the same files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    Stays,
    /// There are none.
    Goes,
}

pub(super) fn rules(job: &Job) -> Box<dyn SinkRules + Send + Sync + '_> {
    match &job.manifest.sink {
        Sink::Append {} => Box::new(append::Append),
        Sink::Overwrite {} => Box::new(overwrite::Overwrite),
        Sink::OverwritePartitions { by } => Box::new(overwrite_partitions::OverwritePartitions { by }),
        Sink::Merge { keys, .. } => Box::new(merge::Merge { keys }),
        Sink::Scd2(History { keys, .. }) | Sink::Bitemporal(History { keys, .. }) => {
            Box::new(history::Versions { keys, time: system_time(job) })
        }
    }
}

/// Rows to delete: those that match a row of `rows` in `columns`.
#[derive(Debug, Clone)]
pub(super) struct Dead {
    pub(super) rows: LogicalPlan,
    pub(super) columns: Vec<String>,
}

/// Files to remove, and new files with their living rows.
#[derive(Debug, Default)]
pub(super) struct Replacement {
    pub(super) removes: Vec<DataFile>,
    pub(super) adds: Vec<Add>,
    /// Bytes of the removed files whose living rows were read for `adds`.
    pub(super) reread_bytes: u64,
}

/// Files among `candidates` with any of the `dead` rows, to be removed from the table.
///
/// # Errors
/// `Invalid` when there are some and the table does not allow deletions; also the errors of a query.
pub(super) async fn touched(
    bench: &Workbench,
    table: &Table,
    snapshot: &Snapshot,
    candidates: Vec<DataFile>,
    dead: &[Dead],
) -> Result<Vec<DataFile>> {
    let mut paths = HashSet::new();
    for dead in dead {
        paths.extend(paths_with(bench, table, snapshot, &candidates, dead).await?);
    }
    if !paths.is_empty() {
        table.refuse_unwritable(snapshot, RowChange::Replaced)?;
    }
    Ok(candidates.into_iter().filter(|file| paths.contains(&file.path)).collect())
}

async fn paths_with(
    bench: &Workbench,
    table: &Table,
    snapshot: &Snapshot,
    candidates: &[DataFile],
    dead: &Dead,
) -> Result<Vec<String>> {
    if candidates.is_empty() {
        return Ok(Vec::new());
    }
    let failed = |e| from_datafusion(&format!("find replaced rows of table {}", table.name()), e);
    let scan = scan(bench, table, snapshot, candidates.to_vec()).with_file_column();
    let plan = LogicalPlanBuilder::scan("target", provider_as_source(Arc::new(scan)), None)
        .and_then(|plan| join(plan, dead, JoinType::LeftSemi))
        .and_then(|plan| plan.project([ident(FILE_COLUMN)]))
        .and_then(LogicalPlanBuilder::distinct)
        .and_then(LogicalPlanBuilder::build)
        .map_err(failed)?;
    let batches = collect(bench, &format!("{}: find replaced rows", table.name()), &plan).await?;
    let paths = batches.iter().filter_map(|batch| batch.column(0).as_string_opt::<i32>());
    Ok(paths.flat_map(|paths| paths.iter().flatten().map(str::to_owned)).collect())
}

/// Rewrites the living rows of the touched files. `spec` says how; it has no checks.
pub(super) async fn rewrite(
    bench: &Workbench,
    table: &Table,
    snapshot: &Snapshot,
    files: Vec<DataFile>,
    dead: &[Dead],
    spec: SinkSpec,
) -> Result<Replacement> {
    if files.is_empty() {
        return Ok(Replacement::default());
    }
    let failed = |e| from_datafusion(&format!("rewrite files of table {}", table.name()), e);
    // A new column is null in existing rows, as it is in files that lack it.
    let known = |column: &String| snapshot.schema.field_with_name(column).is_ok();
    let spec = SinkSpec { columns: spec.columns.iter().filter(|column| known(column)).cloned().collect(), ..spec };
    let living = LogicalPlanBuilder::scan(
        "target",
        provider_as_source(Arc::new(scan(bench, table, snapshot, files.clone()))),
        None,
    )
    .and_then(|plan| dead.iter().try_fold(plan, |plan, dead| join(plan, dead, JoinType::LeftAnti)))
    .and_then(|plan| plan.project(spec.columns.iter().map(ident)))
    .and_then(LogicalPlanBuilder::build)
    .map_err(failed)?;
    let name = format!("{}: rewrite", table.name());
    let staged = write(bench, &name, living, spec, &|_| ()).await?;
    let reread_bytes = files.iter().map(|file| file.bytes).sum();
    Ok(Replacement { removes: files, adds: staged.total.files, reread_bytes })
}

/// Nulls are equal here: a row whose key is null replaces one whose key is null.
fn join(plan: LogicalPlanBuilder, dead: &Dead, join_type: JoinType) -> datafusion::error::Result<LogicalPlanBuilder> {
    let keys: Vec<Column> = dead.columns.iter().map(Column::from_name).collect();
    let rows = LogicalPlanBuilder::from(dead.rows.clone()).alias("dead")?.build()?;
    plan.join_detailed(rows, join_type, (keys.clone(), keys), None, NullEquality::NullEqualsNull)
}

fn scan(bench: &Workbench, table: &Table, snapshot: &Snapshot, files: Vec<DataFile>) -> DeltaScan {
    let target = bench.options.target_partition_bytes;
    DeltaScan::of_files(table.clone(), &snapshot.schema, &snapshot.partition_by, files, target)
}

/// Rows with one text column.
pub(super) fn text_rows(column: &str, values: &[String]) -> Result<LogicalPlan> {
    let rows = values.iter().map(|value| vec![lit(value.as_str())]).collect();
    LogicalPlanBuilder::values(rows)
        .and_then(|plan| plan.project([ident("column1").alias(column)]))
        .and_then(LogicalPlanBuilder::build)
        .map_err(|e| from_datafusion("list replaced files", e))
}

/// Runs a plan through a sink and adds up the results of its partitions.
pub(super) async fn write(
    bench: &Workbench,
    name: &str,
    rows: LogicalPlan,
    spec: SinkSpec,
    progress: crate::execute::Progress<'_>,
) -> Result<Staged> {
    let checks = spec.checks.len();
    let plan = SinkNode::plan(rows, Arc::new(spec)).map_err(|e| from_datafusion(name, e))?;
    let physical = bench.state.create_physical_plan(&plan).await.map_err(|e| from_datafusion(name, e))?;
    log::debug!("{name}:\n{}", datafusion::physical_plan::displayable(physical.as_ref()).indent(false));
    let grain_gathered = physical.downcast_ref::<SinkExec>().is_some_and(SinkExec::gathers_grain);
    let partitions = bench.execute.execute(name, &bench.state, physical, progress).await?;
    let results = partitions.iter().map(|batches| parse(name, batches)).collect::<Result<Vec<_>>>()?;
    Ok(Staged::new(results, checks, grain_gathered))
}

/// Requires exactly one result per partition: a lost or repeated one would lose or duplicate rows.
fn parse(name: &str, batches: &[RecordBatch]) -> Result<PartitionResult> {
    let texts: Vec<&str> = batches
        .iter()
        .filter_map(|batch| batch.column(0).as_string_opt::<i32>())
        .flat_map(|column| column.iter().flatten())
        .collect();
    let [text] = texts[..] else {
        return Err(Error::internal(format!("{name}: a partition has {} results instead of one", texts.len())));
    };
    serde_json::from_str(text).map_err(|e| Error::internal(format!("{name}: a result cannot be read")).with_source(e))
}

/// Collects the rows of a plan with a small result.
pub(super) async fn collect(bench: &Workbench, name: &str, plan: &LogicalPlan) -> Result<Vec<RecordBatch>> {
    let physical = bench.state.create_physical_plan(&optimized(bench, plan)?).await;
    let physical = physical.map_err(|e| from_datafusion(name, e))?;
    let partitions = bench.execute.execute(name, &bench.state, physical, &|_| ()).await?;
    Ok(partitions.into_iter().flatten().collect())
}

/// The number of rows that a plan yields.
pub(super) async fn counted(
    bench: &Workbench,
    name: &str,
    rows: datafusion::error::Result<LogicalPlanBuilder>,
) -> Result<u64> {
    let plan = rows
        .and_then(|rows| rows.aggregate(Vec::<Expr>::new(), [count_all().alias("rows")]))
        .and_then(LogicalPlanBuilder::build)
        .map_err(|e| from_datafusion(name, e))?;
    let batches = collect(bench, name, &plan).await?;
    let counts = batches.iter().filter_map(|batch| batch.column(0).as_primitive_opt::<Int64Type>());
    Ok(counts.flat_map(|counts| counts.iter().flatten()).map(|count| u64::try_from(count).unwrap_or_default()).sum())
}

fn optimized(bench: &Workbench, plan: &LogicalPlan) -> Result<LogicalPlan> {
    bench.state.optimize(plan).map_err(|e| from_datafusion("optimize a plan", e))
}

/// Files whose key ranges overlap those of the staged files; nulls are in no range, so they always overlap.
pub(super) fn overlapping(files: &[DataFile], staged: &DeltaScan, keys: &[String]) -> Vec<DataFile> {
    let schema = staged.schema();
    let has_nulls = |file: &DataFile, key: &str| file.null_count(key) != Some(0);
    let meets = |file: &&DataFile| {
        staged.files().iter().any(|new| {
            keys.iter().all(|key| {
                let Ok(field) = schema.field_with_name(key) else { return true };
                // The bounds of a file do not cover NaN.
                if (has_nulls(file, key) && has_nulls(new, key)) || field.data_type().is_floating() {
                    return true;
                }
                let bound =
                    |file: &DataFile| Some((file.min(key, field.data_type())?, file.max(key, field.data_type())?));
                match (bound(file), bound(new)) {
                    (Some((min, max)), Some((new_min, new_max))) => !(max < new_min || min > new_max),
                    _ => true,
                }
            })
        })
    };
    files.iter().filter(meets).cloned().collect()
}
