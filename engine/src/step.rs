//! Steps of a run at which a crash must be recoverable; tests kill the process there.

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// If set to a step's name, the process dies at that step, as from `kill -9`; with `name:3` it dies the third time.
const KILL_AT: &str = "PULSE_KILL_AT";

/// As [`KILL_AT`], but the process stops, as from `kill -STOP`, until it is continued.
const STOP_AT: &str = "PULSE_STOP_AT";

/// Much longer than a process takes to stop.
const TAKEN_WITHIN: Duration = Duration::from_secs(1);

/// How often the step that [`KILL_AT`] or [`STOP_AT`] names was reached.
static REACHED: AtomicU64 = AtomicU64::new(0);

#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// Rows of a database are in files, but no manifest lists them.
    RowsRead,
    /// A manifest lists them.
    Landed,
    /// Inputs are pinned and the query is planned; nothing is written.
    Planned,
    /// Data files are written; nothing is committed.
    Staged,
    /// The quarantine is committed, the table is not.
    QuarantineCommitted,
    /// The table is committed, the ledger is not updated.
    TableCommitted,
    /// On an executor: a partition's files are written but not reported.
    FilesWritten,
    /// On an executor: a task has finished but is not reported.
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

/// A no-op unless a test requested this step.
pub fn reached(step: Step) {
    if is_wanted(KILL_AT, step) {
        std::process::abort();
    }
    if is_wanted(STOP_AT, step) {
        let stopped = Command::new("kill").args(["-STOP", &std::process::id().to_string()]).status();
        // Any thread may receive the signal, and the others run until then.
        std::thread::sleep(TAKEN_WITHIN);
        log::info!("stopped and went on: {stopped:?}");
    }
}

fn is_wanted(variable: &str, step: Step) -> bool {
    let Ok(wanted) = std::env::var(variable) else { return false };
    let (name, times) = wanted.split_once(':').unwrap_or((&wanted, "1"));
    name == step.name() && REACHED.fetch_add(1, Ordering::Relaxed) + 1 == times.parse().unwrap_or(1)
}
