//! Events and actions of a trigger.

use chrono::{DateTime, Utc};

use crate::error::ErrorKind;
use crate::manifest::OnFail;
use crate::name::TableName;
use crate::run::{ExpectationOutcome, RunRecord, RunState};

/// Input of a trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TriggerEvent {
    Started,
    /// A task of the run ended.
    Progressed {
        job: TableName,
    },
    RunFinished {
        job: TableName,
        outcome: RunOutcome,
    },
    CancelRequested,
    /// One more run may start; see [`Trigger::wants_admission`](super::Trigger::wants_admission).
    Admitted,
    /// Time has passed; see [`Trigger::wake_at`].
    Tick,
}

/// How a run, or an attempt of it, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunOutcome {
    Succeeded,
    Unchanged,
    /// The kind decides whether it is retried.
    Failed {
        kind: ErrorKind,
    },
    /// A `fail` expectation did not hold; the table is unchanged.
    ExpectationFailed,
    Cancelled,
}

impl RunOutcome {
    /// The outcome in a run's record; `None` if it has not ended.
    pub fn of(record: &RunRecord) -> Option<Self> {
        let refused = |outcome: &ExpectationOutcome| outcome.on_fail == OnFail::Fail && outcome.failed > 0;
        match record.state {
            RunState::Queued | RunState::Planning | RunState::Running | RunState::Committing | RunState::Lost => None,
            RunState::Succeeded => Some(Self::Succeeded),
            RunState::Unchanged => Some(Self::Unchanged),
            RunState::Failed if record.expectations.iter().any(refused) => Some(Self::ExpectationFailed),
            RunState::Failed => {
                Some(Self::Failed { kind: record.error.as_ref().map_or(ErrorKind::Internal, |error| error.kind) })
            }
            RunState::Cancelled => Some(Self::Cancelled),
            // Its upstream did not succeed either, so a resumed trigger skips it again.
            RunState::Skipped => None,
        }
    }
}

/// Why a run is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StopReason {
    /// A user requested it.
    Requested,
    /// None of its tasks finished for too long. It is retried.
    NoProgress,
    /// It exceeded its time limit, all attempts included.
    TimedOut,
}

/// Output of a trigger, to be carried out in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TriggerAction {
    StartRun {
        job: TableName,
        /// From 1.
        attempt: u32,
    },
    /// Its end is reported by [`TriggerEvent::RunFinished`], like that of any run.
    StopRun { job: TableName, why: StopReason },
    /// An attempt failed, `stopped` by the watchdog or by itself; the next one starts at `until`.
    Postpone { job: TableName, attempt: u32, stopped: Option<StopReason>, until: DateTime<Utc> },
    /// The run ended. `reason` says why it was skipped or cancelled, `stopped` whether the watchdog ended it.
    Record { job: TableName, state: RunState, at: DateTime<Utc>, reason: Option<String>, stopped: Option<StopReason> },
    /// The last action: all runs have ended.
    Finish { exit: TriggerExit },
}

/// The result of a trigger, which is that of its worst run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TriggerExit {
    Done,
    ExpectationFailed,
    RunFailed,
    Cancelled,
}

impl TriggerExit {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::RunFailed => 1,
            Self::ExpectationFailed => 3,
            Self::Cancelled => 130,
        }
    }
}
