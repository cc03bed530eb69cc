//! Expectations: outcomes from what the sink counted, and checks of the table on the staged files.

use chrono::{DateTime, Utc};
use datafusion::common::JoinType;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{LogicalPlanBuilder, ident};
use datafusion::scalar::ScalarValue;
use pulse_core::manifest::{Expectation, OnFail, Refers};
use pulse_core::project::Job;
use pulse_core::run::ExpectationOutcome;
use pulse_core::{Error, Result};
use std::sync::Arc;

use super::Workbench;
use super::replace::collect;
use super::report::Staged;
use crate::error::from_datafusion;
use crate::source::delta::DeltaScan;
use crate::table::DataFile;

/// One outcome an expectation, in the manifest's order.
pub(super) async fn outcomes(
    bench: &Workbench,
    job: &Job,
    staged: &Staged,
    scan: &DeltaScan,
    now: DateTime<Utc>,
) -> Result<Vec<ExpectationOutcome>> {
    let mut outcomes = Vec::new();
    let mut row_checks = staged.total.failed.iter();
    for expectation in &job.manifest.expect {
        let (checked, failed) = if expectation.check.is_some() {
            let judged = staged.total.rows_in - staged.total.rows_rejected;
            (judged, row_checks.next().copied().unwrap_or_default())
        } else if expectation.unique.is_some() {
            let repeated = staged.total.repeated;
            let left_out = match expectation.on_fail {
                OnFail::Drop | OnFail::Quarantine => repeated,
                // These are among the written rows.
                OnFail::Warn | OnFail::Fail => 0,
            };
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
    let key = |name: &str| vec![datafusion::common::Column::from_name(name)];
    let missing = LogicalPlanBuilder::scan("staged", provider_as_source(Arc::new(scan.clone())), None)
        .and_then(|plan| plan.project([ident(&refers.column)]))
        .and_then(|plan| plan.join(known, JoinType::LeftAnti, (key(&refers.column), key(column)), None))
        .and_then(LogicalPlanBuilder::build)
        .map_err(failed)?;
    let batches = collect(bench, &format!("{}: references", job.name), &missing).await?;
    Ok(batches.iter().map(|batch| batch.num_rows() as u64).sum())
}
