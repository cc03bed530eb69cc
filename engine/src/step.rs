//! Steps of a run after which everything already done must be safe to find: tests kill the process there.

/// Set to a step's name, the process dies when a run gets there, as from `kill -9`.
const KILL_AT: &str = "PULSE_KILL_AT";

#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// Data files are written, nothing is committed.
    Staged,
    /// Rejected rows are committed, the table is not.
    QuarantineCommitted,
    /// The table is committed, the ledger does not know.
    TableCommitted,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Staged => "staged",
            Self::QuarantineCommitted => "quarantine_committed",
            Self::TableCommitted => "table_committed",
        }
    }
}

pub(crate) fn reached(step: Step) {
    if std::env::var(KILL_AT).is_ok_and(|wanted| wanted == step.name()) {
        std::process::abort();
    }
}
