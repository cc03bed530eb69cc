//! Finds the unneeded files of a table.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use pulse_core::Result;
use pulse_core::commit::pair::Named;

use super::pin::{named, named_version};
use crate::table::{Lake, Table, Unneeded};

/// As [`Table::unneeded`], but keeps quarantine files that belong to their table, even if a run that did not commit
/// removed them.
///
/// # Errors
/// As [`Table::unneeded`].
pub async fn unneeded(lake: &Lake, table: &Table, since: DateTime<Utc>) -> Result<Vec<Unneeded>> {
    let mut files = table.unneeded(since).await?;
    let Some(owner) = table.name().quarantined() else { return Ok(files) };
    let target = lake.table(&owner)?.snapshot(None).await?;
    if let (Named::Version(version), Some(newest)) = (named(target.as_ref()), table.snapshot(None).await?) {
        let own = named_version(table, &newest, version).await?;
        let own: HashSet<&str> = own.iter().flat_map(|own| &own.files).map(|file| file.path.as_str()).collect();
        files.retain(|file| !own.contains(file.path.as_str()));
    }
    Ok(files)
}
