//! Lines of the log about runs that failed.

use pulse_core::run::{RunRecord, RunState, TriggerId};

use crate::ledger::RunStore;

/// An alarm listens for these lines.
pub(super) async fn tell_failures(id: &TriggerId, ledger: &RunStore) {
    match ledger.records(id).await {
        Ok(records) => failures(&records).iter().for_each(|line| log::error!("{line}")),
        Err(error) => log::error!("run failed: of {id}; which one cannot be read: {error}"),
    }
}

/// Which run and what kind of error come first, on a line of their own: an error may be long, and what ships lines may cut it.
pub(super) fn failures(records: &[RunRecord]) -> Vec<String> {
    let failed = records.iter().filter(|record| record.state == RunState::Failed);
    failed
        .map(|record| match &record.error {
            Some(error) => format!("run failed: {} ({:?})\n{}", record.run, error.kind, error.root()),
            None => format!("run failed: {}", record.run),
        })
        .collect()
}
