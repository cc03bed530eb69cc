//! `fresh`: the newest value of a column, over the table as it would be committed. Uses file statistics where possible.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::catalog::TableProvider;
use datafusion::datasource::provider_as_source;
use datafusion::functions_aggregate::min_max::max;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, ident};
use datafusion::scalar::ScalarValue;
use pulse_core::Result;
use pulse_core::manifest::Fresh;
use pulse_core::project::Job;

use super::Workbench;
use super::check::Written;
use super::replace::collect;
use crate::error::from_datafusion;
use crate::source::delta::DeltaScan;
use crate::table::DataFile;

/// Whether the column's newest value is recent enough; a table without a value is not fresh.
pub(super) async fn holds(
    bench: &Workbench,
    job: &Job,
    fresh: &Fresh,
    written: &Written<'_>,
    now: DateTime<Utc>,
) -> Result<bool> {
    let is_young = |newest: DateTime<Utc>| (now - newest).num_hours() < i64::from(fresh.hours);
    let scans = [written.scan, written.kept];
    if scans.iter().any(|scan| scan.files().iter().filter_map(|file| newest(file, scan, &fresh.column)).any(is_young)) {
        return Ok(true);
    }
    for scan in scans {
        let silent = scan.files().iter().filter(|file| tells_nothing(file, scan, &fresh.column));
        let files: Vec<DataFile> = silent.cloned().collect();
        if !files.is_empty() && read(bench, job, &scan.with_files(files), &fresh.column).await?.is_some_and(is_young) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The newest value of all rows.
pub(super) async fn newest_of(
    bench: &Workbench,
    job: &Job,
    fresh: &Fresh,
    written: &Written<'_>,
) -> Result<Option<DateTime<Utc>>> {
    let mut found = None;
    for scan in [written.scan, written.kept] {
        if !scan.files().is_empty() {
            found = found.max(read(bench, job, scan, &fresh.column).await?);
        }
    }
    Ok(found)
}

fn newest(file: &DataFile, scan: &DeltaScan, column: &str) -> Option<DateTime<Utc>> {
    let schema = scan.schema();
    file.max(column, schema.field_with_name(column).ok()?.data_type()).as_ref().and_then(instant)
}

/// Whether the file may have a value that its statistics do not cover.
fn tells_nothing(file: &DataFile, scan: &DeltaScan, column: &str) -> bool {
    let is_empty = file.rows().is_some_and(|rows| file.null_count(column) == Some(rows));
    newest(file, scan, column).is_none() && !is_empty
}

fn instant(value: &ScalarValue) -> Option<DateTime<Utc>> {
    match value {
        ScalarValue::TimestampMicrosecond(Some(micros), _) => DateTime::from_timestamp_micros(*micros),
        ScalarValue::Date32(Some(day)) => DateTime::from_timestamp(i64::from(*day) * 86_400, 0),
        _ => None,
    }
}

async fn read(bench: &Workbench, job: &Job, rows: &DeltaScan, column: &str) -> Result<Option<DateTime<Utc>>> {
    let name = format!("{}: newest {column}", job.name);
    let failed = |e| from_datafusion(&name, e);
    let plan = LogicalPlanBuilder::scan("rows", provider_as_source(Arc::new(rows.clone())), None)
        .and_then(|plan| plan.aggregate(Vec::<Expr>::new(), [max(ident(column))]))
        .and_then(LogicalPlanBuilder::build)
        .map_err(failed)?;
    let mut newest = None;
    for batch in collect(bench, &name, &plan).await?.iter().filter(|batch| batch.num_rows() > 0) {
        let value = ScalarValue::try_from_array(batch.column(0), 0).map_err(failed)?;
        newest = newest.max(instant(&value));
    }
    Ok(newest)
}
