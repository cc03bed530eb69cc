//! Expectations: outcomes from what the sink counted, and checks of the table on the staged files.

use chrono::{DateTime, Utc};
use datafusion::common::{Column, JoinType};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{LogicalPlanBuilder, ident};
use datafusion::scalar::ScalarValue;
use pulse_core::manifest::{Expectation, OnFail, Refers, Unique};
use pulse_core::project::Job;
use pulse_core::run::ExpectationOutcome;
use pulse_core::{Error, Result};
use std::sync::Arc;

use super::Workbench;
use super::repeats::Groups;
use super::replace::{collect, overlapping};
use super::report::Staged;
use crate::error::from_datafusion;
use crate::source::delta::DeltaScan;
use crate::table::DataFile;

/// What a run is about to commit.
pub(super) struct Written<'a> {
    pub(super) staged: &'a Staged,
    /// The new rows.
    pub(super) scan: &'a DeltaScan,
    /// Rows that stay in the table beside them.
    pub(super) kept: &'a DeltaScan,
}

/// One outcome an expectation, in the manifest's order.
pub(super) async fn outcomes(
    bench: &Workbench,
    job: &Job,
    written: &Written<'_>,
    now: DateTime<Utc>,
) -> Result<Vec<ExpectationOutcome>> {
    let Written { staged, scan, .. } = written;
    let mut outcomes = Vec::new();
    let mut row_checks = staged.total.failed.iter();
    for (place, expectation) in job.manifest.expect.iter().enumerate() {
        let (checked, failed) = if expectation.check.is_some() {
            let judged = staged.total.rows_in - staged.total.rows_rejected;
            (judged, row_checks.next().copied().unwrap_or_default())
        } else if let Some(unique) = &expectation.unique {
            let repeated = repeated(bench, job, place, unique, written).await?;
            // Others are among the written rows.
            let left_out = if expectation.removes_rows() { repeated } else { 0 };
            (staged.total.rows_written + left_out, repeated)
        } else if let Some(refers) = &expectation.refers {
            let missing = missing_references(bench, job, refers, scan).await?;
            (staged.total.rows_written, missing)
        } else {
            (1, u64::from(!table_holds(expectation, staged, scan, now)))
        };
        outcomes.push(ExpectationOutcome {
            name: expectation.name.clone(),
            on_fail: expectation.on_fail,
            checked,
            failed,
        });
    }
    Ok(outcomes)
}

/// Rows that repeat another in the unique columns: as the sink counted them, or as the written files show.
async fn repeated(bench: &Workbench, job: &Job, place: usize, unique: &Unique, written: &Written<'_>) -> Result<u64> {
    let expectation = &job.manifest.expect[place];
    let total = &written.staged.total;
    if expectation.removes_rows() {
        if total.disordered {
            return Err(Error::data(format!(
                "{}: \"{}\": rows that agree in {} need not lie side by side in the order by {}, so some may have been \
                 missed; let `order` begin with the unique columns",
                job.manifest_path(),
                expectation.name,
                unique.columns.join(", "),
                job.manifest.order().join(", ")
            )));
        }
        return Ok(total.repeated);
    }
    let columns = &unique.columns;
    let within = match job.manifest.unique_in_sink() == Some(place) && !total.disordered {
        true => total.repeated,
        false => {
            let name = format!("{}: repeated rows", job.name);
            Groups::repeated(name, written.scan, columns)?.surplus(bench).await?
        }
    };
    if !job.manifest.keeps_rows_beside(columns) || written.kept.files().is_empty() {
        return Ok(within);
    }
    let name = format!("{}: rows that are in the table already", job.name);
    let kept = written.kept.with_files(overlapping(written.kept.files(), written.scan, columns));
    Ok(within + Groups::met_again(name, written.scan, &kept, columns)?.count(bench).await?)
}

/// What to say when an expectation forbids the commit.
pub(super) fn refusal(job: &Job, outcomes: &[ExpectationOutcome]) -> Option<String> {
    let failed: Vec<String> = outcomes
        .iter()
        .filter(|outcome| outcome.on_fail == OnFail::Fail && outcome.failed > 0)
        .map(|outcome| format!("\"{}\" failed {} of {}", outcome.name, outcome.failed, outcome.checked))
        .collect();
    (!failed.is_empty())
        .then(|| format!("{}: expectation {}; the table stays as it was", job.manifest_path(), failed.join(", ")))
}

fn table_holds(expectation: &Expectation, staged: &Staged, scan: &DeltaScan, now: DateTime<Utc>) -> bool {
    let rows = staged.total.rows_written;
    let enough = expectation.rows.as_ref().is_none_or(|bounds| {
        bounds.at_least.is_none_or(|least| rows >= least) && bounds.at_most.is_none_or(|most| rows <= most)
    });
    let fresh = expectation.fresh.as_ref().is_none_or(|fresh| {
        let newest = scan.files().iter().filter_map(|file| newest(file, scan, &fresh.column)).max();
        newest.is_some_and(|newest| (now - newest).num_hours() < i64::from(fresh.hours))
    });
    enough && fresh
}

fn newest(file: &DataFile, scan: &DeltaScan, column: &str) -> Option<DateTime<Utc>> {
    use datafusion::catalog::TableProvider;
    let schema = scan.schema();
    match file.max(column, schema.field_with_name(column).ok()?.data_type())? {
        ScalarValue::TimestampMicrosecond(Some(micros), _) => DateTime::from_timestamp_micros(micros),
        ScalarValue::Date32(Some(day)) => DateTime::from_timestamp(i64::from(day) * 86_400, 0),
        _ => None,
    }
}

/// Rows of the staged files whose value does not occur in the other table.
async fn missing_references(bench: &Workbench, job: &Job, refers: &Refers, scan: &DeltaScan) -> Result<u64> {
    let (table, column) = refers.target().map_err(Error::invalid)?;
    let other = bench.lake.table(&table)?;
    let Some(snapshot) = other.snapshot(None).await? else {
        return Err(Error::invalid(format!(
            "{}: table {table} does not exist; run its job first",
            job.manifest_path()
        )));
    };
    let known = DeltaScan::new(other, &snapshot, bench.options.target_partition_bytes);
    let failed = |e| from_datafusion(&format!("{}: refers to {}", job.manifest_path(), refers.to), e);
    let known = LogicalPlanBuilder::scan("known", provider_as_source(Arc::new(known)), None)
        .and_then(|plan| plan.project([ident(column)]))
        .and_then(LogicalPlanBuilder::build)
        .map_err(failed)?;
    let key = |name: &str| vec![Column::from_name(name)];
    let missing = LogicalPlanBuilder::scan("staged", provider_as_source(Arc::new(scan.clone())), None)
        .and_then(|plan| plan.project([ident(&refers.column)]))
        .and_then(|plan| plan.join(known, JoinType::LeftAnti, (key(&refers.column), key(column)), None))
        .and_then(LogicalPlanBuilder::build)
        .map_err(failed)?;
    let batches = collect(bench, &format!("{}: references", job.name), &missing).await?;
    Ok(batches.iter().map(|batch| batch.num_rows() as u64).sum())
}
