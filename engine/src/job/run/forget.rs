//! Removes the rows of deleted files from a table, with their bookmarks, in one commit: a run that reads nothing.

use chrono::{DateTime, Utc};
use pulse_core::decide::Asked;
use pulse_core::manifest::Sink;
use pulse_core::project::Job;
use pulse_core::{Error, Result};
use uuid::Uuid;

use super::{RunOptions, run_for};
use crate::job::Workbench;
use crate::job::pin::{RowsOfFiles, Wanted, count_rows, pin_for};
use crate::job::report::{Outcome, Report};
use crate::source::file::SOURCE_FILE;

/// The rows that [`forget`] would remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forgettable {
    /// As `raw.source/path`.
    pub files: Vec<String>,
    /// Rows of the table; its quarantine may have more.
    pub rows: u64,
}

/// Finds the files by their names, `raw.source/path` or the path alone, and counts their rows.
///
/// # Errors
/// `Invalid` when the table has not read a file, it still exists, or its rows cannot be identified.
pub async fn forgettable(bench: &Workbench, job: &Job, names: &[String], now: DateTime<Utc>) -> Result<Forgettable> {
    refuse_mixed(job)?;
    let pinned = pin_for(bench, job, Wanted::Forget(names), now).await?;
    let files = pinned.files.iter();
    let files = files.flat_map(|(name, files)| files.removed.iter().map(move |path| format!("raw.{name}/{path}")));
    let files: Vec<String> = files.collect();
    let paths: Vec<String> = pinned.files.values().flat_map(|files| files.removed.clone()).collect();
    match count_rows(bench, &pinned.table, pinned.target.as_ref(), &paths, u64::MAX).await? {
        RowsOfFiles::Counted(rows) | RowsOfFiles::AtLeast(rows) => Ok(Forgettable { files, rows }),
        RowsOfFiles::Unknown => Err(Error::invalid(format!(
            "job {}: its table has no column `{SOURCE_FILE}` to find rows of a file by; {REBUILD}",
            job.name
        ))),
    }
}

const REBUILD: &str = "`pulse run --rebuild --allow-loss` computes it from the files that are there";

/// Removes what [`forgettable`] finds at this moment.
///
/// # Errors
/// As [`forgettable`] and [`super::run`]; `Data` also when an expectation refuses the table without the rows.
pub async fn forget(bench: &Workbench, job: &Job, names: &[String], now: DateTime<Utc>) -> Result<Report> {
    refuse_mixed(job)?;
    let run_id = format!("forget-{}", Uuid::new_v4());
    let options = RunOptions {
        run_id: &run_id,
        asked: &Asked::default(),
        now,
        begun: None,
        progress: &|_| (),
        entering: &|_| Ok(()),
    };
    let report = run_for(bench, job, Wanted::Forget(names), options).await?;
    match &report.outcome {
        Outcome::ExpectationFailed { message } => Err(Error::data(format!("{message}; nothing was removed"))),
        Outcome::Unchanged | Outcome::Committed { .. } => Ok(report),
    }
}

/// Rows can be attributed to a file only if a job appends rows of files.
fn refuse_mixed(job: &Job) -> Result<()> {
    let is_plain = matches!(job.manifest.sink, Sink::Append {}) && !job.query.uses_interval();
    if is_plain && job.query.tables().is_empty() {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "job {}: files can be forgotten only where a job appends the rows of files; {REBUILD}",
        job.name
    )))
}
