//! One submission of jobs as a state machine: events in, actions out. The caller starts the runs and writes the ledger.

mod event;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use chrono::{DateTime, TimeDelta, Utc};

use crate::error::ErrorKind;
use crate::graph::Graph;
use crate::name::TableName;
use crate::retry::{RetryPolicy, seed_of};
use crate::run::RunState;

pub use event::{RunOutcome, StopReason, TriggerAction, TriggerEvent, TriggerExit};

/// Limits of a trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TriggerOptions {
    /// Maximum concurrent runs.
    pub concurrent_runs: NonZeroUsize,
    /// Each run waits for a [`TriggerEvent::Admitted`], because triggers share a limit of runs.
    pub waits_for_admission: bool,
    pub retry: RetryPolicy,
    /// A run in which no task finishes for this long is stopped and retried.
    pub progress_timeout: TimeDelta,
    /// Attempts of jobs that set their number themselves.
    pub run_attempts: BTreeMap<TableName, u32>,
    /// Time limit of a run, all attempts included.
    pub run_timeouts: BTreeMap<TableName, TimeDelta>,
    /// Seed for the jitter between attempts.
    pub seed: u64,
}

/// Limits of a job's runs in the place of those of all runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunLimits {
    pub attempts: Option<u32>,
    pub timeout: Option<TimeDelta>,
}

/// State of a run that another process began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resumed {
    Ended(RunOutcome),
    /// This many attempts have begun; the last one failed or its outcome is unknown.
    Attempted(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Attempts made by another process.
    Waiting {
        attempts: u32,
    },
    Running(Running),
    /// Failed; waits for its next attempt.
    Postponed {
        attempts: u32,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    },
    Ended(RunState),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Running {
    attempt: u32,
    /// When its first attempt started.
    since: DateTime<Utc>,
    progress: DateTime<Utc>,
    stopping: Option<StopReason>,
}

/// Runs the jobs of a graph, each after its upstream, retrying until each has ended for good.
#[derive(Debug, Clone)]
pub struct Trigger {
    graph: Graph,
    options: TriggerOptions,
    stages: BTreeMap<TableName, Stage>,
    exit: TriggerExit,
    started: bool,
    cancelled: bool,
    finished: bool,
}

impl Trigger {
    pub fn new(graph: Graph, options: TriggerOptions) -> Self {
        Self::resume(graph, options, &BTreeMap::new())
    }

    /// Resumes a trigger that another process began: ended runs keep their state, others start again. Attempts continue
    /// to count, so that a run that crashes its driver does not repeat forever.
    pub fn resume(graph: Graph, options: TriggerOptions, known: &BTreeMap<TableName, Resumed>) -> Self {
        let stages = graph.order().iter().map(|job| (job.clone(), Stage::Waiting { attempts: 0 })).collect();
        let mut trigger =
            Self { graph, options, stages, exit: TriggerExit::Done, started: false, cancelled: false, finished: false };
        for (job, known) in known {
            match (known, trigger.stages.get_mut(job)) {
                (_, None) => {}
                (Resumed::Ended(outcome), Some(_)) => {
                    trigger.end(job, *outcome);
                }
                (Resumed::Attempted(attempts), Some(stage)) => *stage = Stage::Waiting { attempts: *attempts },
            }
        }
        trigger
    }

    /// The actions after an event. A duplicate or late event, or one about a run that is not running, is ignored.
    pub fn apply(&mut self, event: TriggerEvent, now: DateTime<Utc>) -> Vec<TriggerAction> {
        let mut actions = Vec::new();
        if self.finished {
            return actions;
        }
        match event {
            TriggerEvent::Started => self.start(now, &mut actions),
            TriggerEvent::Progressed { job } => {
                if let Some(Stage::Running(running)) = self.stages.get_mut(&job) {
                    running.progress = now;
                }
                return actions;
            }
            TriggerEvent::RunFinished { job, outcome } => {
                let Some(Stage::Running(running)) = self.stages.get(&job).copied() else { return actions };
                self.finish_attempt(&job, running, outcome, now, &mut actions);
            }
            TriggerEvent::CancelRequested => self.cancel(now, &mut actions),
            TriggerEvent::Tick => self.watch(now, &mut actions),
            TriggerEvent::Admitted => self.start_ready(1, now, &mut actions),
        }
        self.skip_blocked(now, &mut actions);
        if !self.options.waits_for_admission {
            self.start_ready(usize::MAX, now, &mut actions);
        }
        self.finish(&mut actions);
        actions
    }

    /// When the next [`TriggerEvent::Tick`] may have an effect; `None` while nothing waits for time.
    pub fn wake_at(&self) -> Option<DateTime<Utc>> {
        let wake = |(job, stage): (&TableName, &Stage)| match stage {
            Stage::Running(running) if running.stopping.is_none() => {
                Some(self.deadline(job, running.since).min(self.quiet_until(running)))
            }
            Stage::Postponed { until, .. } => Some(*until),
            Stage::Running(_) | Stage::Waiting { .. } | Stage::Ended(_) => None,
        };
        self.stages.iter().filter_map(wake).min()
    }

    /// Whether a [`TriggerEvent::Admitted`] would start a run.
    pub fn wants_admission(&self, now: DateTime<Utc>) -> bool {
        self.options.waits_for_admission && self.free() > 0 && self.ready(now).next().is_some()
    }

    /// State of a job's run; `None` for a job outside this trigger.
    pub fn state(&self, job: &TableName) -> Option<RunState> {
        self.stages.get(job).map(|stage| match stage {
            Stage::Waiting { .. } | Stage::Postponed { .. } => RunState::Queued,
            Stage::Running(_) => RunState::Running,
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

    /// Starts a run, unless it has used all its attempts because each of its drivers died.
    fn start(&mut self, now: DateTime<Utc>, actions: &mut Vec<TriggerAction>) {
        self.started = true;
        for job in self.jobs_where(|stage| matches!(stage, Stage::Waiting { attempts } if attempts > 0)) {
            let most = self.retry(&job).attempts;
            if !matches!(self.stages.get(&job), Some(Stage::Waiting { attempts }) if *attempts >= most) {
                continue;
            }
            let state = self.end(&job, RunOutcome::Failed { kind: ErrorKind::Unavailable });
            let reason = Some(format!("its driver ended during the last of {most} attempts"));
            actions.push(TriggerAction::Record { job, state, at: now, reason, stopped: None });
        }
    }

    fn finish_attempt(
        &mut self,
        job: &TableName,
        running: Running,
        outcome: RunOutcome,
        now: DateTime<Utc>,
        actions: &mut Vec<TriggerAction>,
    ) {
        // A run that the watchdog stopped has failed; only a user's request cancels it.
        let (outcome, stopped) = match (outcome, running.stopping) {
            (RunOutcome::Cancelled, Some(why @ StopReason::NoProgress)) => {
                (RunOutcome::Failed { kind: ErrorKind::Unavailable }, Some(why))
            }
            (RunOutcome::Cancelled, Some(why @ StopReason::TimedOut)) => {
                (RunOutcome::Failed { kind: ErrorKind::Exhausted }, Some(why))
            }
            (outcome, _) => (outcome, None),
        };
        if let Some(until) = self.next_attempt(job, running, outcome, now) {
            let (attempts, since) = (running.attempt, running.since);
            self.stages.insert(job.clone(), Stage::Postponed { attempts, since, until });
            actions.push(TriggerAction::Postpone { job: job.clone(), attempt: attempts + 1, stopped, until });
            return;
        }
        // A run that fails after a cancel request counts as cancelled.
        let outcome = match (outcome, running.stopping) {
            (RunOutcome::Failed { .. }, Some(StopReason::Requested)) => RunOutcome::Cancelled,
            (outcome, _) => outcome,
        };
        let state = self.end(job, outcome);
        let reason = (outcome == RunOutcome::Cancelled).then(|| "cancelled while it ran".to_owned());
        actions.push(TriggerAction::Record { job: job.clone(), state, at: now, reason, stopped });
    }

    /// `None` if there is no further attempt, or none within the run's time limit.
    fn next_attempt(
        &self,
        job: &TableName,
        running: Running,
        outcome: RunOutcome,
        now: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let RunOutcome::Failed { kind } = outcome else { return None };
        if self.cancelled {
            return None;
        }
        let seed = seed_of(self.options.seed, &job.to_string());
        let until = now + self.retry(job).wait(kind, running.attempt, seed)?;
        (until < self.deadline(job, running.since)).then_some(until)
    }

    fn retry(&self, job: &TableName) -> RetryPolicy {
        let retry = self.options.retry;
        RetryPolicy { attempts: self.options.run_attempts.get(job).copied().unwrap_or(retry.attempts), ..retry }
    }

    /// Stops runs without progress or beyond their time limit.
    fn watch(&mut self, now: DateTime<Utc>, actions: &mut Vec<TriggerAction>) {
        for job in self.graph.order() {
            let Some(Stage::Running(running)) = self.stages.get(job).copied() else { continue };
            let why = match running.stopping {
                Some(_) => continue,
                None if now >= self.deadline(job, running.since) => StopReason::TimedOut,
                None if now >= self.quiet_until(&running) => StopReason::NoProgress,
                None => continue,
            };
            self.stages.insert(job.clone(), Stage::Running(Running { stopping: Some(why), ..running }));
            actions.push(TriggerAction::StopRun { job: job.clone(), why });
        }
    }

    fn deadline(&self, job: &TableName, since: DateTime<Utc>) -> DateTime<Utc> {
        let limit = self.options.run_timeouts.get(job).copied();
        limit.and_then(|limit| since.checked_add_signed(limit)).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    fn quiet_until(&self, running: &Running) -> DateTime<Utc> {
        running.progress.checked_add_signed(self.options.progress_timeout).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    fn end(&mut self, job: &TableName, outcome: RunOutcome) -> RunState {
        let (state, exit) = match outcome {
            RunOutcome::Succeeded => (RunState::Succeeded, TriggerExit::Done),
            RunOutcome::Unchanged => (RunState::Unchanged, TriggerExit::Done),
            RunOutcome::Failed { .. } => (RunState::Failed, TriggerExit::RunFailed),
            RunOutcome::ExpectationFailed => (RunState::Failed, TriggerExit::ExpectationFailed),
            RunOutcome::Cancelled => (RunState::Cancelled, TriggerExit::Cancelled),
        };
        self.exit = self.exit.max(exit);
        self.stages.insert(job.clone(), Stage::Ended(state));
        state
    }

    /// Requests running runs to stop, which may still succeed; waiting ones never start.
    fn cancel(&mut self, now: DateTime<Utc>, actions: &mut Vec<TriggerAction>) {
        if self.cancelled {
            return;
        }
        self.cancelled = true;
        for job in self.graph.order() {
            let reason = match self.stages.get_mut(job) {
                Some(Stage::Running(running)) => {
                    if running.stopping.is_none() {
                        actions.push(TriggerAction::StopRun { job: job.clone(), why: StopReason::Requested });
                    }
                    running.stopping = Some(StopReason::Requested);
                    continue;
                }
                Some(Stage::Waiting { attempts: 0 }) => "cancelled before it started",
                Some(Stage::Waiting { .. } | Stage::Postponed { .. }) => "cancelled before it was tried again",
                Some(Stage::Ended(_)) | None => continue,
            };
            self.stages.insert(job.clone(), Stage::Ended(RunState::Cancelled));
            self.exit = TriggerExit::Cancelled;
            actions.push(TriggerAction::Record {
                job: job.clone(),
                state: RunState::Cancelled,
                at: now,
                reason: Some(reason.to_owned()),
                stopped: None,
            });
        }
    }

    fn skip_blocked(&mut self, now: DateTime<Utc>, actions: &mut Vec<TriggerAction>) {
        let failed = self.jobs_where(|stage| matches!(stage, Stage::Ended(state) if !state.is_success()));
        let blocked = self.graph.ready(&self.succeeded(), &failed).blocked;
        for job in self.graph.order() {
            let (Some(cause), Some(stage @ Stage::Waiting { .. })) = (blocked.get(job), self.stages.get_mut(job))
            else {
                continue;
            };
            *stage = Stage::Ended(RunState::Skipped);
            let cause_state = match self.stages.get(cause) {
                Some(Stage::Ended(state)) => state.to_string(),
                Some(Stage::Waiting { .. } | Stage::Running(_) | Stage::Postponed { .. }) | None => "failed".to_owned(),
            };
            actions.push(TriggerAction::Record {
                job: job.clone(),
                state: RunState::Skipped,
                at: now,
                reason: Some(format!("`{cause}`, which it reads from, is {cause_state}")),
                stopped: None,
            });
        }
    }

    fn start_ready(&mut self, most: usize, now: DateTime<Utc>, actions: &mut Vec<TriggerAction>) {
        let starting: Vec<_> = self.ready(now).take(most.min(self.free())).collect();
        for (job, attempts, since) in starting {
            let attempt = attempts + 1;
            let stage = Stage::Running(Running { attempt, since, progress: now, stopping: None });
            self.stages.insert(job.clone(), stage);
            actions.push(TriggerAction::StartRun { job, attempt });
        }
    }

    /// Runs that may start besides those that run.
    fn free(&self) -> usize {
        let running = self.stages.values().filter(|stage| matches!(stage, Stage::Running(_))).count();
        self.options.concurrent_runs.get().saturating_sub(running)
    }

    /// Jobs that may start, with the attempts made and the start of the first one. After a cancel nothing waits, so nothing is ready.
    fn ready(&self, now: DateTime<Utc>) -> impl Iterator<Item = (TableName, u32, DateTime<Utc>)> {
        let failed = self.jobs_where(|stage| matches!(stage, Stage::Ended(state) if !state.is_success()));
        let ready = if self.started { self.graph.ready(&self.succeeded(), &failed).ready } else { Vec::new() };
        ready.into_iter().filter_map(move |job| match self.stages.get(&job)? {
            Stage::Waiting { attempts } => Some((job, *attempts, now)),
            Stage::Postponed { attempts, since, until } if *until <= now => Some((job, *attempts, *since)),
            Stage::Running(_) | Stage::Postponed { .. } | Stage::Ended(_) => None,
        })
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
