//! Jobs of a trigger that cannot run, as planning knows before the trigger begins.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{RunError, RunId, RunRecord, RunState, TriggerId};
use crate::name::TableName;

/// Why a job cannot run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotRun {
    /// Its own mistake, or one of a source that it reads.
    Mistake(RunError),
    /// It reads the table of this job, which cannot run either.
    Needs(TableName),
}

/// Jobs that cannot run, each with the reason.
pub type NotRunJobs = BTreeMap<TableName, NotRun>;

impl NotRun {
    /// Its record in the ledger; `at` is in milliseconds since 1970 in UTC.
    pub fn record(&self, trigger: &TriggerId, job: &TableName, at: i64) -> RunRecord {
        let queued = RunRecord::queued(RunId::new(trigger.clone(), job.clone()));
        let ended = RunRecord { ended: Some(at), ..queued };
        match self {
            Self::Mistake(error) => RunRecord { state: RunState::Failed, error: Some(error.clone()), ..ended },
            Self::Needs(upstream) => RunRecord {
                state: RunState::Skipped,
                reason: Some(format!("it reads {upstream}, which has a mistake or needs a job that has one")),
                ..ended
            },
        }
    }
}
