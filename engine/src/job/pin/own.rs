//! A job's own tables at the time of pinning: its target and its quarantine.

use std::cmp::Ordering;
use std::collections::HashMap;

use chrono::{DateTime, Utc};
use pulse_core::commit::pair::{NAMED_ID, Named, SETTLES_ID};
use pulse_core::decide::Bookmarks;
use pulse_core::project::Job;
use pulse_core::{ErrorKind, Result};

use crate::job::Workbench;
use crate::table::{Snapshot, Table};

/// The same fields as in [`super::Pinned`].
pub(super) struct OwnTables {
    pub(super) table: Table,
    pub(super) target: Option<Snapshot>,
    pub(super) quarantine_table: Table,
    pub(super) quarantine: Option<Snapshot>,
    pub(super) own_quarantine: Option<Snapshot>,
}

impl OwnTables {
    pub(super) async fn pinned(bench: &Workbench, job: &Job) -> Result<Self> {
        let table = bench.lake.table(&job.name)?;
        let quarantine_table = bench.lake.table(&job.name.quarantine())?;
        let target = table.snapshot(None).await?;
        let quarantine = quarantine_table.snapshot(None).await?;
        for (table, found) in [(&table, &target), (&quarantine_table, &quarantine)] {
            if found.is_none() {
                table.refuse_half_dropped().await?;
            }
        }
        let own_quarantine = own_quarantine(&quarantine_table, target.as_ref(), quarantine.as_ref()).await?;
        Ok(Self { table, target, quarantine_table, quarantine, own_quarantine })
    }

    /// The bookmarks in the table's log. `start` is that of a job with intervals.
    ///
    /// # Errors
    /// As [`Table::bookmarks`].
    pub(super) async fn bookmarks(&self, start: Option<DateTime<Utc>>) -> Result<Bookmarks> {
        let numbers = match &self.target {
            Some(target) => self.table.bookmarks(target).await?,
            None => HashMap::new(),
        };
        let mut bookmarks = Bookmarks::new(numbers, start);
        bookmarks.rows = self.target.as_ref().and_then(Snapshot::rows);
        Ok(bookmarks)
    }

    pub(super) fn has_quarantine(&self) -> bool {
        self.own_quarantine.as_ref().is_some_and(|quarantine| !quarantine.files.is_empty())
    }
}

/// The version that belongs to the target, if it names one; else, or if the quarantine was recreated, the newest
/// version.
async fn own_quarantine(
    table: &Table,
    target: Option<&Snapshot>,
    newest: Option<&Snapshot>,
) -> Result<Option<Snapshot>> {
    Ok(match (named(target), newest) {
        (Named::Nothing, _) | (_, None) => None,
        (Named::Unknown, Some(newest)) => Some(newest.clone()),
        (Named::Version(version), Some(newest)) => {
            Some(named_version(table, newest, version).await?.unwrap_or_else(|| newest.clone()))
        }
    })
}

/// Which version of its quarantine belongs to a table.
pub(in crate::job) fn named(target: Option<&Snapshot>) -> Named {
    Named::from_number(target.and_then(|target| target.transactions.get(NAMED_ID)).copied())
}

/// Whether runs committed other rows since `version`. Changes by other tools, such as compaction or deleting handled
/// rows, are kept.
async fn written_by_runs(table: &Table, newest: &Snapshot, version: u64) -> Result<bool> {
    for later in (version + 1..=newest.version).rev() {
        if let Some(transactions) = table.run_transactions(later).await? {
            let settles = transactions.get(SETTLES_ID).copied();
            return Ok(Named::from_number(settles) != Named::Version(version));
        }
    }
    Ok(false)
}

/// The quarantine at `version` plus later commits not made by pulse. `None` if the table was recreated or its log no
/// longer reaches back.
///
/// # Errors
/// Returns object-store errors. Logs an unreadable log and returns `None`.
pub(in crate::job) async fn named_version(table: &Table, newest: &Snapshot, version: u64) -> Result<Option<Snapshot>> {
    match version.cmp(&newest.version) {
        Ordering::Equal => Ok(Some(newest.clone())),
        Ordering::Greater => Ok(None),
        Ordering::Less if !written_by_runs(table, newest, version).await? => Ok(Some(newest.clone())),
        Ordering::Less => match table.snapshot(Some(version)).await {
            Err(error) if error.kind() == ErrorKind::Data => {
                log::warn!("what belongs in table {} is not known any more: {error}", table.name());
                Ok(None)
            }
            other => other,
        },
    }
}
