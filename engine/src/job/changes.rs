//! Plans for the rows of a source that a run must see. Reads no data.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::{Column, JoinType, NullEquality};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, ident, lit};
use datafusion::scalar::ScalarValue;
use pulse_core::interval_set::IntervalSet;
use pulse_core::manifest::Read;
use pulse_core::{Error, Result};

use super::interval_scope::times;
use super::pin::{Mode, Pinned, PinnedTable, same_columns};
use crate::error::from_datafusion;
use crate::source::delta::DeltaScan;
use crate::table::{DataFile, Snapshot};

/// How many more times a row was added than removed.
const NET_COUNT: &str = "_pulse_net_count";

/// The state of a source that a plan reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The pinned version.
    Now,
    /// The version that the last run read.
    Before,
}

/// The source as the query sees it: whole, or restricted to changed groups.
pub(super) fn visible(
    all: &Pinned,
    pinned: &PinnedTable,
    state: State,
    target_bytes: u64,
) -> Result<Arc<dyn TableProvider>> {
    let scan = |files: Vec<DataFile>| of_files(pinned, files, target_bytes);
    let snapshot = snapshot(pinned, state)?;
    let changed = restricting(all, pinned);
    if changed.is_empty() {
        return Ok(Arc::new(scan(snapshot.files.clone())));
    }
    if pinned.reads_added_only() {
        if !pinned.removed().is_empty() {
            return Err(Error::data(format!(
                "table {} was rewritten since the last run, and this job reads only what is added to it; \
                 set `by` in its source, or read = \"all\"",
                pinned.table.name()
            )));
        }
        return Ok(Arc::new(scan(pinned.added())));
    }
    let (added, removed) = (pinned.added(), pinned.removed());
    let bounds = bounds(pinned, &changed);
    let candidates = candidates(&snapshot.files, &bounds);
    let alone = changed.len() == 1 && removed.is_empty() && pinned.read.lookback.is_none();
    let only_added = candidates.iter().all(|file| added.iter().any(|added| added.key() == file.key()));
    if state == State::Now && alone && candidates.len() == added.len() && only_added {
        // No other file can have a row of the changed groups.
        return Ok(Arc::new(scan(added)));
    }
    let rows = LogicalPlanBuilder::scan("source", provider_as_source(Arc::new(scan(candidates))), None);
    let failed = |e| from_datafusion(&format!("plan the changes of table {}", pinned.table.name()), e);
    let mut rows = rows.map_err(failed)?;
    for filter in filters(&bounds) {
        rows = rows.filter(filter).map_err(failed)?;
    }
    if !pinned.read.by.is_empty() {
        let groups = groups_of(&changed, &pinned.read.by, target_bytes)?;
        let keys: Vec<Column> = pinned.read.by.iter().map(Column::from_name).collect();
        let keys = (keys.clone(), keys);
        rows =
            rows.join_detailed(groups, JoinType::LeftSemi, keys, None, NullEquality::NullEqualsNull).map_err(failed)?;
    }
    let plan = rows.build().map_err(failed)?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}

/// The files of a source of which a run reads rows. Filters of the query may exclude some of them once it runs.
pub(super) fn files_read(all: &Pinned, pinned: &PinnedTable) -> Vec<DataFile> {
    let intervals = all.plan.intervals();
    let changed = restricting(all, pinned);
    match all.mode {
        Mode::Unchanged => Vec::new(),
        Mode::Incremental | Mode::Full { .. } if !intervals.is_empty() => within(pinned, &intervals),
        Mode::Incremental | Mode::Full { .. } if changed.is_empty() => pinned.now.files.clone(),
        Mode::Incremental | Mode::Full { .. } if pinned.reads_added_only() => pinned.added(),
        Mode::Incremental | Mode::Full { .. } => {
            let mut files = candidates(&pinned.now.files, &bounds(pinned, &changed));
            files.extend(pinned.removed());
            files
        }
    }
}

/// The files that may have rows of these intervals.
fn within(pinned: &PinnedTable, intervals: &IntervalSet) -> Vec<DataFile> {
    let of_column = pinned.interval_column.as_ref().and_then(|name| pinned.now.schema.field_with_name(name).ok());
    let may_overlap = |file: &&DataFile| {
        of_column
            .and_then(|field| times(&[file], field.name(), field.data_type()))
            .is_none_or(|times| !times.intersection(intervals).is_empty())
    };
    pinned.now.files.iter().filter(may_overlap).cloned().collect()
}

/// The changed sources to whose groups the rows of this one are restricted; none where the run sees all its rows.
fn restricting<'a>(all: &'a Pinned, pinned: &'a PinnedTable) -> Vec<&'a PinnedTable> {
    // A query with intervals sees all rows and filters by interval itself.
    match all.mode == Mode::Incremental && all.plan.intervals().is_empty() {
        true => changed_together(all, pinned),
        false => Vec::new(),
    }
}

/// Changed sources that share this source's `by` columns, or the source itself. They must expose the same groups, or
/// joins would miss matches.
fn changed_together<'a>(all: &'a Pinned, pinned: &'a PinnedTable) -> Vec<&'a PinnedTable> {
    if pinned.read.read == Read::All {
        return Vec::new();
    }
    let is_same = |other: &&PinnedTable| match pinned.read.by.is_empty() {
        true => other.table.name() == pinned.table.name(),
        false => other.read.read == Read::Changed && same_columns(&other.read.by, &pinned.read.by),
    };
    all.tables.values().filter(is_same).filter(|other| other.changed()).collect()
}

/// Distinct values of the `by` columns in all rows added to or removed from these sources.
fn groups_of(changed: &[&PinnedTable], by: &[String], target_bytes: u64) -> Result<LogicalPlan> {
    let failed = |e| from_datafusion("plan the changed groups", e);
    let mut plans = changed.iter().map(|pinned| changed_groups(pinned, target_bytes));
    let first = plans.next().ok_or_else(|| Error::internal("no source changed, and its groups are asked for"))??;
    let Some(second) = plans.next() else { return Ok(first) };
    let columns = || by.iter().map(ident);
    let named = |plan: LogicalPlan| LogicalPlanBuilder::from(plan).project(columns());
    let mut groups = named(first).map_err(failed)?;
    for plan in std::iter::once(second).chain(plans) {
        let plan = named(plan?).and_then(LogicalPlanBuilder::build).map_err(failed)?;
        groups = groups.union(plan).map_err(failed)?;
    }
    groups.distinct().and_then(|groups| groups.alias("changed")).and_then(LogicalPlanBuilder::build).map_err(failed)
}

fn of_files(pinned: &PinnedTable, files: Vec<DataFile>, target_bytes: u64) -> DeltaScan {
    DeltaScan::new(pinned.table.clone(), &pinned.now, target_bytes).with_files(files)
}

fn snapshot(pinned: &PinnedTable, state: State) -> Result<&Snapshot> {
    match state {
        State::Now => Ok(&pinned.now),
        State::Before => pinned.before.as_ref().ok_or_else(|| {
            Error::internal(format!("table {} has no earlier version to compare with", pinned.table.name()))
        }),
    }
}

/// Distinct values of the `by` columns in added or removed rows; rows that only moved to another file do not count.
pub(super) fn changed_groups(pinned: &PinnedTable, target_bytes: u64) -> Result<LogicalPlan> {
    let failed = |e| from_datafusion(&format!("plan the changes of table {}", pinned.table.name()), e);
    let scan = |name: &str, files: Vec<DataFile>| {
        LogicalPlanBuilder::scan(name, provider_as_source(Arc::new(of_files(pinned, files, target_bytes))), None)
            .and_then(|rows| match &pinned.compared {
                Some(columns) => rows.project(columns.iter().map(ident)),
                None => Ok(rows),
            })
            .and_then(LogicalPlanBuilder::build)
            .map_err(failed)
    };
    let added = scan("added", pinned.added())?;
    let changed = if pinned.removed().is_empty() {
        added
    } else {
        difference(added, scan("removed", pinned.removed())?).map_err(failed)?
    };
    LogicalPlanBuilder::from(changed)
        .project(pinned.read.by.iter().map(ident))
        .and_then(LogicalPlanBuilder::distinct)
        .and_then(|groups| groups.alias("changed"))
        .and_then(LogicalPlanBuilder::build)
        .map_err(failed)
}

/// Rows whose counts in the two plans differ. Counts instead of joining: counting can spill, and treats NaN as equal to
/// itself.
fn difference(added: LogicalPlan, removed: LogicalPlan) -> datafusion::error::Result<LogicalPlan> {
    let columns: Vec<String> = added.schema().fields().iter().map(|field| field.name().clone()).collect();
    let columns = || columns.iter().map(ident);
    let counted = |plan: LogicalPlan, count: i64| {
        LogicalPlanBuilder::from(plan).alias("rows")?.project(columns().chain([lit(count).alias(NET_COUNT)]))?.build()
    };
    LogicalPlanBuilder::from(counted(added, 1)?)
        .union(counted(removed, -1)?)?
        .aggregate(columns(), [sum(ident(NET_COUNT)).alias(NET_COUNT)])?
        .filter(ident(NET_COUNT).not_eq(lit(0_i64)))?
        .build()
}

/// Value range of a `by` column over the changed files. Columns without statistics or with nulls have none.
type Bounds = Vec<(String, ScalarValue, Option<ScalarValue>)>;

fn bounds(pinned: &PinnedTable, changed: &[&PinnedTable]) -> Bounds {
    let files_of = |pinned: &PinnedTable| pinned.added().into_iter().chain(pinned.removed()).collect::<Vec<_>>();
    let range = |name: &String, changed: &[DataFile]| {
        if changed.iter().any(|file| file.null_count(name) != Some(0)) {
            return None;
        }
        let data_type = pinned.now.schema.field_with_name(name).ok()?.data_type().clone();
        let min = extreme(changed.iter().map(|file| file.min(name, &data_type)), std::cmp::Ordering::Less)?;
        let max = extreme(changed.iter().map(|file| file.max(name, &data_type)), std::cmp::Ordering::Greater)?;
        Some((name.clone(), min, Some(max)))
    };
    let together: Vec<DataFile> = changed.iter().flat_map(|pinned| files_of(pinned)).collect();
    let mut bounds: Bounds = pinned.read.by.iter().filter_map(|name| range(name, &together)).collect();
    if let Some(lookback) = &pinned.read.lookback
        && let Some((name, min, _)) = range(&lookback.column, &files_of(pinned))
        && let Some(earlier) = minus_days(&min, lookback.days)
    {
        bounds.retain(|(column, ..)| *column != name);
        bounds.push((name, earlier, None));
    }
    bounds
}

fn minus_days(value: &ScalarValue, days: u32) -> Option<ScalarValue> {
    const MICROS_A_DAY: i64 = 86_400_000_000;
    match value {
        ScalarValue::Date32(Some(day)) => Some(ScalarValue::Date32(Some(day - i32::try_from(days).ok()?))),
        ScalarValue::TimestampMicrosecond(Some(micros), zone) => {
            Some(ScalarValue::TimestampMicrosecond(Some(micros - i64::from(days) * MICROS_A_DAY), zone.clone()))
        }
        _ => None,
    }
}

/// `None` if any file's bound is unknown.
fn extreme(mut values: impl Iterator<Item = Option<ScalarValue>>, wanted: std::cmp::Ordering) -> Option<ScalarValue> {
    values.try_fold(None, |best: Option<ScalarValue>, value| {
        let value = value?;
        Some(match best {
            Some(best) if value.partial_cmp(&best)? != wanted => Some(best),
            _ => Some(value),
        })
    })?
}

fn candidates(files: &[DataFile], bounds: &Bounds) -> Vec<DataFile> {
    let overlaps = |file: &&DataFile| {
        bounds.iter().all(|(name, min, max)| {
            let data_type = min.data_type();
            let below = file.max(name, &data_type).is_some_and(|file_max| file_max < *min);
            let above = match (file.min(name, &data_type), max) {
                (Some(file_min), Some(max)) => file_min > *max,
                _ => false,
            };
            !below && !above
        })
    };
    files.iter().filter(overlaps).cloned().collect()
}

fn filters(bounds: &Bounds) -> impl Iterator<Item = Expr> {
    bounds.iter().map(|(name, min, max)| {
        let from = ident(name).gt_eq(lit(min.clone()));
        match max {
            Some(max) => from.and(ident(name).lt_eq(lit(max.clone()))),
            None => from,
        }
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray as _;
    use datafusion::prelude::SessionContext;

    use super::*;

    #[tokio::test]
    async fn rows_that_were_only_moved_do_not_differ_and_counts_do() {
        let context = SessionContext::new();
        let rows = async |query: &str| context.sql(query).await.unwrap().into_unoptimized_plan();
        let added = rows(
            "select * from (values ('moved', 'NaN'::double), ('nulls', null), ('came', 1.0), ('twice', 2.0), ('twice', 2.0)) t(k, v)",
        );
        let removed = rows(
            "select * from (values ('nulls', null), ('moved', 'NaN'::double), ('went', 1.0), ('twice', 2.0)) t(k, v)",
        );
        let plan = difference(added.await, removed.await).unwrap();
        let batches = context.execute_logical_plan(plan).await.unwrap().collect().await.unwrap();
        let keys = batches.iter().flat_map(|batch| batch.column(0).as_string::<i32>().iter().flatten());
        let mut keys: Vec<&str> = keys.collect();
        keys.sort_unstable();
        assert_eq!(keys, ["came", "twice", "went"]);
    }
}
