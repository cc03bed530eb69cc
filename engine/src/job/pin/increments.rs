//! What is proven of a run that reads only what changed, over the sources as they are pinned.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pulse_core::Result;
use pulse_core::decide::{Observed, ObservedTable, Since};
use pulse_core::manifest::Read;
use pulse_core::name::TableName;
use pulse_core::project::Job;

use super::files::ListedFiles;
use super::{PinnedTable, raw_files};
use crate::job::Workbench;
use crate::job::increment::{Increment, increment};
use crate::job::query::{Sources, plan_query};
use crate::source::delta::DeltaScan;

/// What is proven of an increment over the sources that changed.
pub(super) async fn increment_of(
    bench: &Workbench,
    job: &Job,
    observed: &Observed,
    listings: &BTreeMap<String, ListedFiles>,
    tables: &BTreeMap<TableName, PinnedTable>,
) -> Result<std::result::Result<Increment, String>> {
    let is_changed = |table: &ObservedTable| table.read == Read::Changed && matches!(table.since, Since::Changed(_));
    let changed = observed.tables.iter().filter(|(_, table)| is_changed(table)).map(|(name, _)| name.to_string());
    let changed: BTreeSet<String> = changed.collect();
    if changed.is_empty() {
        return Ok(Ok(Increment::default()));
    }
    let query = plan_query(&bench.state, job, &whole_sources(bench, listings, tables)?, &[]).await?;
    Ok(increment(job, &query, &changed))
}

/// Sources to plan over, and not to read: of files, none is listed.
pub(super) fn whole_sources(
    bench: &Workbench,
    listings: &BTreeMap<String, ListedFiles>,
    tables: &BTreeMap<TableName, PinnedTable>,
) -> Result<Sources> {
    let mut sources = Sources::new();
    for (name, listing) in listings {
        sources.insert(format!("raw.{name}"), Arc::new(raw_files(bench, name, &listing.root, Vec::new())?));
    }
    for (name, pinned) in tables {
        let target = bench.options.target_partition_bytes;
        sources.insert(name.to_string(), Arc::new(DeltaScan::new(pinned.table.clone(), &pinned.now, target)));
    }
    Ok(sources)
}
