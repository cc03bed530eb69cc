//! Steps of a run after which everything already done must be safe to find: tests kill the process there.

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Set to a step's name, the process dies when a run gets there, as from `kill -9`; `name:3` lets it pass twice before.
const KILL_AT: &str = "PULSE_KILL_AT";

/// As [`KILL_AT`], but the process stops there as from `kill -STOP`, until somebody lets it go on.
const STOP_AT: &str = "PULSE_STOP_AT";

/// Far beyond what it takes until a process stops.
const TAKEN_WITHIN: Duration = Duration::from_secs(1);

/// How often the step that [`KILL_AT`] or [`STOP_AT`] names was reached.
static REACHED: AtomicU64 = AtomicU64::new(0);

#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// Rows of a database lie in files, and no manifest lists them.
    RowsRead,
    /// A manifest lists them.
    Landed,
    /// Inputs are pinned and the query is planned, nothing is written.
    Planned,
    /// Data files are written, nothing is committed.
    Staged,
    /// Rejected rows are committed, the table is not.
    QuarantineCommitted,
    /// The table is committed, the ledger does not know.
    TableCommitted,
    /// On an executor: a partition's files are written, nobody knows.
    FilesWritten,
    /// On an executor: a task has ended, the scheduler does not know.
    TaskEnded,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::RowsRead => "rows_read",
            Self::Landed => "landed",
            Self::Planned => "planned",
            Self::Staged => "staged",
            Self::QuarantineCommitted => "quarantine_committed",
            Self::TableCommitted => "table_committed",
            Self::FilesWritten => "files_written",
            Self::TaskEnded => "task_ended",
        }
    }
}

/// Does nothing unless a test asked for this step.
pub fn reached(step: Step) {
    if is_wanted(KILL_AT, step) {
        std::process::abort();
    }
    if is_wanted(STOP_AT, step) {
        let stopped = Command::new("kill").args(["-STOP", &std::process::id().to_string()]).status();
        // Any thread may be the one that takes the signal, and until it does the others run.
        std::thread::sleep(TAKEN_WITHIN);
        log::info!("stopped and went on: {stopped:?}");
    }
}

fn is_wanted(variable: &str, step: Step) -> bool {
    let Ok(wanted) = std::env::var(variable) else { return false };
    let (name, times) = wanted.split_once(':').unwrap_or((&wanted, "1"));
    name == step.name() && REACHED.fetch_add(1, Ordering::Relaxed) + 1 == times.parse().unwrap_or(1)
}
