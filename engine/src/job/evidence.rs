//! Explains a failed expectation whose rows are in no quarantine: values, limits, sample rows.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{LogicalPlanBuilder, ident};
use pulse_core::Result;
use pulse_core::manifest::{Expectation, Fresh, OnFail, Rows};
use pulse_core::project::Job;

use super::check::{Written, rows_after};
use super::repeats::{Groups, shown};
use super::replace::collect;
use super::{Workbench, fresh};
use crate::error::from_datafusion;

/// Number of rows or keys shown.
const EXAMPLES: usize = 3;

/// Lines for a failed expectation. Empty if its rows are in the quarantine table, or were dropped as requested.
pub(super) async fn of(
    bench: &Workbench,
    job: &Job,
    expectation: &Expectation,
    written: &Written<'_>,
    now: DateTime<Utc>,
) -> Vec<String> {
    if matches!(expectation.on_fail, OnFail::Drop | OnFail::Quarantine) {
        return Vec::new();
    }
    let found = match expectation {
        Expectation { check: Some(check), .. } => rows(bench, job, check, written).await,
        Expectation { unique: Some(unique), .. } => repeated(bench, job, &unique.columns, written).await,
        Expectation { fresh: Some(fresh), .. } => newest(bench, job, fresh, written, now).await,
        Expectation { rows: Some(rows), .. } => {
            rows_after(bench, job, written).await.map(|count| vec![bounds(rows, count)])
        }
        _ => Ok(Vec::new()),
    };
    // The expectation failed, even if its rows cannot be shown.
    found.unwrap_or_else(|error| {
        log::info!("{}: \"{}\": no examples: {error}", job.name, expectation.name);
        Vec::new()
    })
}

/// Written rows for which the condition does not hold.
async fn rows(bench: &Workbench, job: &Job, check: &str, written: &Written<'_>) -> Result<Vec<String>> {
    let name = format!("{}: rows that fail", job.name);
    let failed = |e| from_datafusion(&name, e);
    let scan =
        LogicalPlanBuilder::scan("rows", provider_as_source(Arc::new(written.scan.clone())), None).map_err(failed)?;
    let condition = bench.state.create_logical_expr(check, scan.schema()).map_err(failed)?;
    let mut columns: Vec<String> = job.manifest.grain.clone();
    let mut named: Vec<String> = condition.column_refs().iter().map(|column| column.name.clone()).collect();
    named.sort();
    columns.extend(named.into_iter().filter(|column| !job.manifest.grain.contains(column)));
    let order: Vec<_> = job.manifest.grain.iter().map(|column| ident(column).sort(true, false)).collect();
    let plan = scan
        .filter(condition.is_not_true())
        .and_then(|plan| plan.project(columns.iter().map(ident)))
        .and_then(|plan| plan.sort_with_limit(order, Some(EXAMPLES)))
        .and_then(LogicalPlanBuilder::build)
        .map_err(failed)?;
    let mut examples = Vec::new();
    for batch in collect(bench, &name, &plan).await? {
        examples.extend(shown(&batch).map_err(|e| pulse_core::Error::internal("rows have no text").with_source(e))?);
    }
    examples.truncate(EXAMPLES);
    Ok(examples)
}

async fn repeated(bench: &Workbench, job: &Job, columns: &[String], written: &Written<'_>) -> Result<Vec<String>> {
    let name = format!("{}: repeated rows", job.name);
    Groups::repeated(name, written.scan, columns)?.examples(bench, EXAMPLES).await
}

async fn newest(
    bench: &Workbench,
    job: &Job,
    fresh: &Fresh,
    written: &Written<'_>,
    now: DateTime<Utc>,
) -> Result<Vec<String>> {
    let newest = fresh::newest_of(bench, job, fresh, written).await?;
    Ok(vec![age(newest, &fresh.column, fresh.hours, now)])
}

fn age(newest: Option<DateTime<Utc>>, column: &str, hours: u32, now: DateTime<Utc>) -> String {
    let Some(newest) = newest else { return format!("no row has a value of `{column}`") };
    let old = now - newest;
    let old = match old.num_hours() {
        ..48 => format!("{} h", old.num_hours()),
        48.. => format!("{} days", old.num_days()),
    };
    format!("the newest `{column}` is {}, {old} old; {hours} h are allowed", newest.format("%Y-%m-%dT%H:%M:%SZ"))
}

fn bounds(bounds: &Rows, rows: u64) -> String {
    let allowed = match (bounds.at_least, bounds.at_most) {
        (Some(least), Some(most)) => format!("{least} to {most}"),
        (Some(least), None) => format!("at least {least}"),
        (None, Some(most)) => format!("at most {most}"),
        (None, None) => "any number".to_owned(),
    };
    format!("{rows} rows; {allowed} are allowed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_bounds_are_said_with_their_limits() {
        let at = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().to_utc();
        let now = at("2026-01-31T12:00:00Z");
        assert_eq!(
            age(Some(at("2024-01-01T12:00:00Z")), "ts", 24, now),
            "the newest `ts` is 2024-01-01T12:00:00Z, 761 days old; 24 h are allowed"
        );
        assert_eq!(
            age(Some(at("2026-01-30T06:00:00Z")), "ts", 24, now),
            "the newest `ts` is 2026-01-30T06:00:00Z, 30 h old; 24 h are allowed"
        );
        assert_eq!(age(None, "ts", 24, now), "no row has a value of `ts`");
        assert_eq!(bounds(&Rows { at_least: Some(5), at_most: None }, 3), "3 rows; at least 5 are allowed");
    }
}
