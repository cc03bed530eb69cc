//! Notices for a user who follows a trigger.

use std::sync::Arc;
use std::time::Duration;

use pulse_core::Error;
use pulse_core::name::TableName;
use pulse_core::run::RunRecord;
use pulse_engine::execute::Reached;
use pulse_engine::job::Mode;

#[derive(Debug, Clone)]
pub enum Notice {
    Started {
        job: TableName,
    },
    Progress {
        job: TableName,
        reached: Reached,
    },
    /// Sent by a run before its end.
    Reported {
        job: TableName,
        warnings: Vec<String>,
        mode: Mode,
    },
    /// An attempt failed; another one follows.
    Retried {
        job: TableName,
        attempt: u32,
        after: Duration,
        error: Arc<Error>,
    },
    /// A job that cannot run; it never starts.
    NotRun {
        record: Box<RunRecord>,
    },
    Ended {
        record: Box<RunRecord>,
        error: Option<Arc<Error>>,
    },
}
