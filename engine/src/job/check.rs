//! Evaluates expectations: from the sink's counts, and by checks of the table on the staged files.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::LogicalPlanBuilder;
use pulse_core::manifest::{OnFail, Rows, Unique};
use pulse_core::project::Job;
use pulse_core::run::ExpectationOutcome;
use pulse_core::{Error, Result};

use super::refers::Referred;
use super::repeats::Groups;
use super::replace::{counted, overlapping};
use super::report::Staged;
use super::{Workbench, evidence, fresh, refers};
use crate::source::delta::DeltaScan;
use crate::table::DataFile;

/// The data that a run is about to commit.
pub(super) struct Written<'a> {
    pub(super) staged: &'a Staged,
    /// The new rows.
    pub(super) scan: &'a DeltaScan,
    /// Rows that remain in the table.
    pub(super) kept: &'a DeltaScan,
    pub(super) referred: &'a Referred,
    /// Remaining rows may have the key of a new one, although the sink replaces rows by keys.
    pub(super) keys_may_meet: bool,
}

/// One outcome per expectation, in the manifest's order.
pub(super) async fn outcomes(
    bench: &Workbench,
    job: &Job,
    written: &Written<'_>,
    now: DateTime<Utc>,
) -> Result<Vec<ExpectationOutcome>> {
    let Written { staged, kept, .. } = written;
    let mut outcomes = Vec::new();
    let mut row_checks = staged.total.failed.iter();
    for (place, expectation) in job.manifest.expect.iter().enumerate() {
        let (checked, failed) = if expectation.check.is_some() {
            let judged = staged.total.rows_in - staged.total.rows_rejected;
            (judged, row_checks.next().copied().unwrap_or_default())
        } else if let Some(unique) = &expectation.unique {
            let repeated = repeated(bench, job, place, unique, written).await?;
            // Other repeated rows are among the written ones.
            let left_out = if expectation.removes_rows() { repeated } else { 0 };
            (staged.total.rows_written + left_out, repeated)
        } else if let Some(refers) = &expectation.refers {
            let missing = refers::missing(bench, job, refers, written).await?;
            let stay: u64 = kept.files().iter().filter_map(|file| file.rows()).sum();
            (staged.total.rows_written + stay, missing)
        } else if let Some(fresh) = &expectation.fresh {
            (1, u64::from(!fresh::holds(bench, job, fresh, written, now).await?))
        } else {
            let rows = rows_after(bench, job, written).await?;
            (1, u64::from(!expectation.rows.as_ref().is_none_or(|bounds| enough(bounds, rows))))
        };
        let evidence = match failed {
            0 => Vec::new(),
            _ => evidence::of(bench, job, expectation, written, now).await,
        };
        outcomes.push(ExpectationOutcome {
            name: expectation.name.clone(),
            on_fail: expectation.on_fail,
            checked,
            failed,
            evidence,
        });
    }
    Ok(outcomes)
}

/// Rows that repeat another in the unique columns, as counted by the sink or found in the written files.
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
    let may_meet = written.keys_may_meet || job.manifest.keeps_rows_beside(columns);
    if !may_meet || written.kept.files().is_empty() {
        return Ok(within);
    }
    let name = format!("{}: rows that are in the table already", job.name);
    let kept = written.kept.with_files(overlapping(written.kept.files(), written.scan, columns));
    Ok(within + Groups::met_again(name, written.scan, &kept, columns)?.count(bench).await?)
}

/// The message when an expectation forbids the commit.
pub(super) fn refusal(job: &Job, outcomes: &[ExpectationOutcome]) -> Option<String> {
    let failed = || outcomes.iter().filter(|outcome| outcome.on_fail == OnFail::Fail && outcome.failed > 0);
    let counts: Vec<String> = failed()
        .map(|outcome| format!("\"{}\" failed {} of {}", outcome.name, outcome.failed, outcome.checked))
        .collect();
    if counts.is_empty() {
        return None;
    }
    let mut message = format!("{}: expectation {}; the table stays as it was", job.manifest_path(), counts.join(", "));
    for outcome in failed() {
        for line in &outcome.evidence {
            message.push_str(&format!("\n  \"{}\": {line}", outcome.name));
        }
    }
    Some(message)
}

/// Rows of the table as it would be committed.
pub(super) async fn rows_after(bench: &Workbench, job: &Job, written: &Written<'_>) -> Result<u64> {
    let (counted, open): (Vec<DataFile>, Vec<DataFile>) =
        written.kept.files().iter().cloned().partition(|file| file.rows().is_some());
    let known: u64 = counted.iter().filter_map(DataFile::rows).sum();
    Ok(known
        + count(bench, &job.name.to_string(), &written.kept.with_files(open)).await?
        + written.staged.total.rows_written)
}

/// Reads the rows of files whose statistics do not count them.
async fn count(bench: &Workbench, name: &str, scan: &DeltaScan) -> Result<u64> {
    if scan.files().is_empty() {
        return Ok(0);
    }
    let doing = format!("{name}: count the rows of the table");
    counted(bench, &doing, LogicalPlanBuilder::scan("kept", provider_as_source(Arc::new(scan.clone())), None)).await
}

fn enough(bounds: &Rows, rows: u64) -> bool {
    bounds.at_least.is_none_or(|least| rows >= least) && bounds.at_most.is_none_or(|most| rows <= most)
}
