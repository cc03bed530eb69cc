//! Decides which sources of a history are read by their changes.

use pulse_core::Result;
use pulse_core::decide::Observed;
use pulse_core::manifest::Read;
use pulse_core::project::Job;

use super::inputs::Inputs;
use crate::job::Workbench;
use crate::job::history::covers;

/// A history is computed from all rows of its key. If the query does not prove that the changed groups of each source
/// contain them, sources count as read whole.
pub(super) async fn read_whole_histories(
    bench: &Workbench,
    job: &Job,
    inputs: &Inputs,
    observed: &mut Observed,
) -> Result<()> {
    let Some(history) = job.manifest.sink.history() else { return Ok(()) };
    if !observed.tables.values().any(|table| table.read == Read::Changed) {
        return Ok(());
    }
    let all_by_changes =
        inputs.listings.is_empty() && observed.tables.values().all(|table| table.read == Read::Changed);
    let sources: Vec<(String, Vec<String>)> =
        observed.tables.iter().map(|(name, table)| (name.to_string(), table.by.clone())).collect();
    if !all_by_changes || !covers(&inputs.plan(bench, job).await?, &history.keys, &sources) {
        observed.tables.values_mut().for_each(|table| table.read = Read::All);
    }
    Ok(())
}
