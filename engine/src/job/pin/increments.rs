//! Proves increments over the pinned sources.

use std::collections::BTreeSet;

use pulse_core::Result;
use pulse_core::decide::{Observed, ObservedTable, Since};
use pulse_core::manifest::Read;
use pulse_core::project::Job;

use super::inputs::Inputs;
use crate::job::Workbench;
use crate::job::increment::{Increment, increment};
use crate::job::query::plan_query;

/// Proves the increment over the changed sources.
pub(super) async fn increment_of(
    bench: &Workbench,
    job: &Job,
    observed: &Observed,
    inputs: &Inputs,
) -> Result<std::result::Result<Increment, String>> {
    let is_changed = |table: &ObservedTable| table.read == Read::Changed && matches!(table.since, Since::Changed(_));
    let changed = observed.tables.iter().filter(|(_, table)| is_changed(table)).map(|(name, _)| name.to_string());
    let changed: BTreeSet<String> = changed.collect();
    if changed.is_empty() {
        return Ok(Ok(Increment::default()));
    }
    let query = plan_query(&bench.state, job, &inputs.sources(bench)?, &[]).await?;
    Ok(increment(job, &query, &changed))
}
