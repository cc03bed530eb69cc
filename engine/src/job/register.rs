//! Registers tables in the catalog at the end of a run.

use std::time::Duration;

use pulse_core::name::TableName;
use pulse_core::{Error, Result};

use super::{Outcome, Report, Workbench};
use crate::catalog::describe;

/// Time budget for registering one table, retries included. The data is committed; a slow catalog must not delay the
/// run.
const LIMIT: Duration = Duration::from_secs(60);

/// Registers a run's tables and returns its report. The rows are committed, so a failure is only a warning, and the
/// next run of the job retries, even if it is a no-op.
pub async fn registered(bench: &Workbench, mut report: Report) -> Report {
    if !bench.catalog.keeps_entries() || matches!(report.outcome, Outcome::ExpectationFailed { .. }) {
        return report;
    }
    for name in [report.job.clone(), report.job.quarantine()] {
        let done = tokio::time::timeout(LIMIT, register(bench, &name)).await;
        let done = done.unwrap_or_else(|_| {
            Err(Error::unavailable(format!("the catalog did not answer within {} s", LIMIT.as_secs())))
        });
        if let Err(error) = done {
            log::warn!("table {name} is not registered: {error}");
            report.warnings.push(warning(&name, &error));
        }
    }
    report
}

async fn register(bench: &Workbench, name: &TableName) -> Result<()> {
    let Some(description) = describe(&bench.lake.table(name)?).await? else { return Ok(()) };
    let became = bench.catalog.register(&description).await?;
    log::debug!("table {name} at version {}: {became:?}", description.version);
    Ok(())
}

fn warning(name: &TableName, error: &Error) -> String {
    format!(
        "{name} is committed and not registered in the catalog: {error}; the next run or `pulse catalog sync` registers it"
    )
}
