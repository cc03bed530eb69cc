use pulse_scheduler::api::QueueReport;
use schemars::JsonSchema;
use serde::Serialize;

use super::stamp;

/// A queue of the scheduler.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Queue {
    pub(crate) name: String,
    pub(crate) weight: u32,
    /// A queue with a higher one goes first.
    pub(crate) priority: u8,
    /// Its own limit of runs at once; null without one.
    pub(crate) runs_limit: Option<usize>,
    /// Runs that run now.
    pub(crate) runs: usize,
    /// Triggers that the scheduler drives now; their jobs run, or wait for others.
    pub(crate) triggers: usize,
    /// Triggers that wait to be driven.
    pub(crate) waiting: usize,
    /// The trigger that waits longest; null when none waits.
    pub(crate) oldest: Option<String>,
    /// When it was submitted.
    pub(crate) oldest_submitted: Option<String>,
}

impl From<&QueueReport> for Queue {
    fn from(queue: &QueueReport) -> Self {
        Self {
            name: queue.name.to_string(),
            weight: queue.weight,
            priority: queue.priority,
            runs_limit: queue.runs_limit,
            runs: queue.runs,
            triggers: queue.triggers,
            waiting: queue.waiting,
            oldest: queue.oldest.as_ref().map(ToString::to_string),
            oldest_submitted: queue.oldest.as_ref().map(|oldest| stamp(oldest.time())),
        }
    }
}
