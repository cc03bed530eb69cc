//! One submission of jobs as a state machine: events in, actions out. Others start the runs and write the ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use chrono::{DateTime, Utc};

use crate::graph::Graph;
use crate::name::TableName;
use crate::run::RunState;

/// What came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TriggerEvent {
    Started,
    RunFinished { job: TableName, outcome: RunOutcome },
    CancelRequested,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunOutcome {
    Succeeded,
    Unchanged,
    Failed,
    /// A `fail` expectation did not hold; the table is as it was.
    ExpectationFailed,
    Cancelled,
}

/// What should go out, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TriggerAction {
    StartRun {
        job: TableName,
    },
    CancelRun {
        job: TableName,
    },
    /// A run came to a state without having been started, or ended; `reason` says why it was skipped or cancelled.
    Record {
        job: TableName,
        state: RunState,
        at: DateTime<Utc>,
        reason: Option<String>,
    },
    /// The last action: no run is left.
    Finish {
        exit: TriggerExit,
    },
}

/// How a trigger ended; the worst of its runs decides.
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    Running,
    Ended(RunState),
}

/// Runs of a graph's jobs, each at most once and after its upstream.
#[derive(Debug, Clone)]
pub struct Trigger {
    graph: Graph,
    concurrent_runs: NonZeroUsize,
    stages: BTreeMap<TableName, Stage>,
    exit: TriggerExit,
    started: bool,
    cancelled: bool,
    finished: bool,
}

impl Trigger {
    /// `concurrent_runs` limits the runs at a time.
    pub fn new(graph: Graph, concurrent_runs: NonZeroUsize) -> Self {
        let stages = graph.order().iter().map(|job| (job.clone(), Stage::Waiting)).collect();
        Self {
            graph,
            concurrent_runs,
            stages,
            exit: TriggerExit::Done,
            started: false,
            cancelled: false,
            finished: false,
        }
    }

    /// A trigger that another process began: runs that had ended stay as they were, others start again.
    pub fn resume(graph: Graph, concurrent_runs: NonZeroUsize, ended: &BTreeMap<TableName, RunOutcome>) -> Self {
        let mut trigger = Self::new(graph, concurrent_runs);
        for (job, outcome) in ended {
            if trigger.stages.contains_key(job) {
                trigger.end(job, *outcome);
            }
        }
        trigger
    }

    /// The answer to one event. An event that comes twice, too late or about a run that is not running changes nothing.
    pub fn apply(&mut self, event: TriggerEvent, now: DateTime<Utc>) -> Vec<TriggerAction> {
        let mut actions = Vec::new();
        if self.finished {
            return actions;
        }
        match event {
            TriggerEvent::Started => self.started = true,
            TriggerEvent::RunFinished { job, outcome } => {
                if self.stages.get(&job) != Some(&Stage::Running) {
                    return actions;
                }
                let state = self.end(&job, outcome);
                actions.push(TriggerAction::Record { job, state, at: now, reason: None });
            }
            TriggerEvent::CancelRequested => self.cancel(now, &mut actions),
        }
        self.skip_blocked(now, &mut actions);
        self.start_ready(&mut actions);
        self.finish(&mut actions);
        actions
    }

    /// State of a job's run; none for a job that is not of this trigger.
    pub fn state(&self, job: &TableName) -> Option<RunState> {
        self.stages.get(job).map(|stage| match stage {
            Stage::Waiting => RunState::Queued,
            Stage::Running => RunState::Running,
            Stage::Ended(state) => *state,
        })
    }

    /// In the order in which they may start.
    pub fn jobs(&self) -> &[TableName] {
        self.graph.order()
    }

    pub fn exit(&self) -> Option<TriggerExit> {
        self.finished.then_some(self.exit)
    }

    fn end(&mut self, job: &TableName, outcome: RunOutcome) -> RunState {
        let (state, exit) = match outcome {
            RunOutcome::Succeeded => (RunState::Succeeded, TriggerExit::Done),
            RunOutcome::Unchanged => (RunState::Unchanged, TriggerExit::Done),
            RunOutcome::Failed => (RunState::Failed, TriggerExit::RunFailed),
            RunOutcome::ExpectationFailed => (RunState::Failed, TriggerExit::ExpectationFailed),
            RunOutcome::Cancelled => (RunState::Cancelled, TriggerExit::Cancelled),
        };
        self.exit = self.exit.max(exit);
        self.stages.insert(job.clone(), Stage::Ended(state));
        state
    }

    /// Runs that run are asked to stop and may still succeed; those that wait never start.
    fn cancel(&mut self, now: DateTime<Utc>, actions: &mut Vec<TriggerAction>) {
        if self.cancelled {
            return;
        }
        self.cancelled = true;
        for job in self.graph.order() {
            match self.stages.get_mut(job) {
                Some(Stage::Running) => actions.push(TriggerAction::CancelRun { job: job.clone() }),
                Some(stage @ Stage::Waiting) => {
                    *stage = Stage::Ended(RunState::Cancelled);
                    self.exit = TriggerExit::Cancelled;
                    let reason = Some("cancelled before it started".to_owned());
                    actions.push(TriggerAction::Record {
                        job: job.clone(),
                        state: RunState::Cancelled,
                        at: now,
                        reason,
                    });
                }
                Some(Stage::Ended(_)) | None => {}
            }
        }
    }

    fn skip_blocked(&mut self, now: DateTime<Utc>, actions: &mut Vec<TriggerAction>) {
        let failed = self.jobs_where(|stage| matches!(stage, Stage::Ended(state) if !state.is_success()));
        let blocked = self.graph.ready(&self.succeeded(), &failed).blocked;
        for job in self.graph.order() {
            let (Some(cause), Some(stage @ Stage::Waiting)) = (blocked.get(job), self.stages.get_mut(job)) else {
                continue;
            };
            *stage = Stage::Ended(RunState::Skipped);
            let cause_state = match self.stages.get(cause) {
                Some(Stage::Ended(state)) => state.to_string(),
                Some(Stage::Waiting | Stage::Running) | None => "failed".to_owned(),
            };
            let reason = Some(format!("`{cause}`, which it reads from, is {cause_state}"));
            actions.push(TriggerAction::Record { job: job.clone(), state: RunState::Skipped, at: now, reason });
        }
    }

    fn start_ready(&mut self, actions: &mut Vec<TriggerAction>) {
        // After a cancel nothing waits any more, so nothing is ready.
        if !self.started {
            return;
        }
        let running = self.jobs_where(|stage| stage == Stage::Running);
        let free = self.concurrent_runs.get().saturating_sub(running.len());
        let failed = self.jobs_where(|stage| matches!(stage, Stage::Ended(state) if !state.is_success()));
        let ready = self.graph.ready(&self.succeeded(), &failed).ready;
        for job in ready.into_iter().filter(|job| !running.contains(job)).take(free) {
            self.stages.insert(job.clone(), Stage::Running);
            actions.push(TriggerAction::StartRun { job });
        }
    }

    fn finish(&mut self, actions: &mut Vec<TriggerAction>) {
        let all_ended = self.stages.values().all(|stage| matches!(stage, Stage::Ended(_)));
        if (self.started || self.cancelled) && all_ended {
            self.finished = true;
            actions.push(TriggerAction::Finish { exit: self.exit });
        }
    }

    fn succeeded(&self) -> BTreeSet<TableName> {
        self.jobs_where(|stage| matches!(stage, Stage::Ended(state) if state.is_success()))
    }

    fn jobs_where(&self, holds: impl Fn(Stage) -> bool) -> BTreeSet<TableName> {
        self.stages.iter().filter(|(_, stage)| holds(**stage)).map(|(job, _)| job.clone()).collect()
    }
}

#[cfg(test)]
mod tests;
