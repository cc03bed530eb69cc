//! A driver's records of its runs in the ledger.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use pulse_core::graph::Graph;
use pulse_core::name::TableName;
use pulse_core::run::{AttemptFailure, NotRunJobs, RunError, RunId, RunRecord, RunState};
use pulse_core::trigger::{Resumed, RunOutcome, StopReason};
use pulse_core::{Error, ErrorKind, Result};
use pulse_engine::job::{Outcome, Report};

use super::{Driver, Notice, Step, stopped_error};

impl Driver {
    pub(super) fn record_of(&mut self, job: &TableName) -> &mut RunRecord {
        let id = &self.id;
        self.records.entry(job.clone()).or_insert_with(|| RunRecord::queued(RunId::new(id.clone(), job.clone())))
    }

    /// Reads the records of an earlier driver and claims every run that has not ended. `None` if the lease is lost.
    pub(super) async fn take_up(&mut self, graph: &Graph) -> Result<Option<BTreeMap<TableName, Resumed>>> {
        let mut known = BTreeMap::new();
        for record in self.ledger.records(&self.id).await? {
            self.records.insert(record.job.clone(), record);
        }
        for job in graph.order() {
            if let Some(outcome) = RunOutcome::of(self.record_of(job)) {
                known.insert(job.clone(), Resumed::Ended(outcome));
                continue;
            }
            // One that was skipped: it is skipped again, and counts then.
            if self.record_of(job).state.is_final() {
                let Some(epoch) = self.lease.epoch().await else { return Ok(None) };
                let record = self.record_of(job).clone();
                self.ledger.put_again(&record, epoch).await?;
                continue;
            }
            let begun = self.record_of(job).started.and_then(DateTime::from_timestamp_millis);
            if let Some(begun) = begun {
                known.insert(job.clone(), self.cut_off(job, begun).await?);
            }
            if !self.put(job).await? {
                return Ok(None);
            }
        }
        Ok(Some(known))
    }

    /// Records jobs that cannot run, unless an earlier driver has. Returns false if another driver has taken over.
    pub(super) async fn record_not_run(&mut self, not_run: &NotRunJobs) -> Result<bool> {
        if not_run.is_empty() {
            return Ok(true);
        }
        let known: Vec<TableName> = self.ledger.records(&self.id).await?.into_iter().map(|record| record.job).collect();
        let now = self.ledger.clock().now().timestamp_millis();
        for (job, why) in not_run.iter().filter(|(job, _)| !known.contains(job)) {
            let record = why.record(&self.id, job, now);
            let Some(epoch) = self.lease.epoch().await else { return Ok(false) };
            self.ledger.put(&record, epoch).await?;
            let _ = self.notices.send(Notice::NotRun { record: Box::new(record) });
        }
        Ok(true)
    }

    /// Examines a run that an earlier driver began: it may have committed before it could record that.
    async fn cut_off(&mut self, job: &TableName, begun: DateTime<Utc>) -> Result<Resumed> {
        let found = self.runs.committed(&RunId::new(self.id.clone(), job.clone()), begun).await?;
        let now = self.ledger.clock().now();
        let found = match found {
            Some(report) => Some(self.runs.registered(report).await),
            None => None,
        };
        let record = self.record_of(job);
        if let Some(report) = found {
            let outcome = fill(record, &report);
            record.state = RunState::Succeeded;
            end(record, now);
            record.reason = Some("committed by a driver that ended before it could tell".to_owned());
            return Ok(Resumed::Ended(outcome));
        }
        if record.state == RunState::Running {
            let error = RunError::new(ErrorKind::Unavailable, "its driver ended while it ran");
            let at = now.timestamp_millis();
            let attempt = record.attempt;
            record.failures.push(AttemptFailure { attempt, at, place: record.place, error, retried_after: Some(0) });
            record.state = RunState::Queued;
        }
        Ok(Resumed::Attempted(record.attempt))
    }

    /// Writes a job's record; returns false if another driver has taken over.
    pub(super) async fn put(&mut self, job: &TableName) -> Result<bool> {
        let Some(epoch) = self.lease.epoch().await else { return Ok(false) };
        let record = self.record_of(job).clone();
        self.ledger.put(&record, epoch).await?;
        Ok(true)
    }

    pub(super) async fn postpone(
        &mut self,
        job: &TableName,
        stopped: Option<StopReason>,
        until: DateTime<Utc>,
    ) -> Result<Step> {
        let error = self.failure(job, stopped, None);
        let now = self.ledger.clock().now();
        let after = until - now;
        let record = self.record_of(job);
        record.state = RunState::Queued;
        let attempt = record.attempt;
        fail(record, &error, now, Some(after.num_milliseconds()));
        if !self.put(job).await? {
            return Ok(Step::Lost);
        }
        let after = after.to_std().unwrap_or_default();
        let _ = self.notices.send(Notice::Retried { job: job.clone(), attempt: attempt + 1, after, error });
        Ok(Step::Next)
    }

    pub(super) async fn record(
        &mut self,
        job: &TableName,
        (state, at, reason): (RunState, DateTime<Utc>, Option<String>),
        stopped: Option<StopReason>,
    ) -> Result<Step> {
        let refused = self.record_of(job).error.is_some();
        let error = (state == RunState::Failed && !refused).then(|| self.failure(job, stopped, reason.as_deref()));
        let version = match state.is_success() {
            true => None,
            false => self.committed_after_all(job).await?,
        };
        let record = self.record_of(job);
        record.state = state;
        record.reason = reason;
        if let Some(version) = version {
            record.version = Some(version);
            record.reason = Some(format!("version {version} was committed all the same, without an answer"));
        }
        end(record, at);
        if let Some(error) = &error {
            record.error = Some(RunError::from(error.as_ref()));
            fail(record, error, at, None);
        }
        let record = record.clone();
        if !self.put(job).await? {
            return Ok(Step::Lost);
        }
        if state == RunState::Succeeded {
            self.remember(&record).await;
        }
        let _ = self.notices.send(Notice::Ended { record: Box::new(record), error });
        Ok(Step::Next)
    }

    /// The version that a failed run committed, if the store's answer came too late.
    async fn committed_after_all(&self, job: &TableName) -> Result<Option<u64>> {
        if !self.resumed && !self.doubtful.contains(job) {
            return Ok(None);
        }
        let found = self.runs.committed(&RunId::new(self.id.clone(), job.clone()), self.id.time()).await?;
        Ok(found.and_then(|report| match report.outcome {
            Outcome::Committed { version } => Some(version),
            Outcome::Unchanged | Outcome::ExpectationFailed { .. } => None,
        }))
    }

    /// Why the last attempt failed.
    fn failure(&mut self, job: &TableName, stopped: Option<StopReason>, reason: Option<&str>) -> Arc<Error> {
        let told = self.failures.remove(job);
        match (stopped, told, reason) {
            (Some(why), _, _) => Arc::new(stopped_error(job, why, &self.options)),
            (None, Some(error), _) => error,
            (None, None, Some(reason)) => Arc::new(Error::unavailable(format!("job {job}: {reason}"))),
            (None, None, None) => Arc::new(Error::internal(format!("job {job} failed without an error"))),
        }
    }

    /// Stores the duration for the time limit of later runs. Errors are logged only: the limit works without it.
    async fn remember(&self, record: &RunRecord) {
        let mut history = self.ledger.history(&record.job).await;
        history.push(record.seconds);
        if let Err(error) = self.ledger.put_history(&record.job, &history).await {
            log::warn!("the run ledger does not tell how long {} took: {error}", record.run);
        }
    }
}

fn fail(record: &mut RunRecord, error: &Error, at: DateTime<Utc>, retried_after: Option<i64>) {
    record.failures.push(AttemptFailure {
        attempt: record.attempt,
        at: at.timestamp_millis(),
        place: record.place,
        error: RunError::from(error),
        retried_after,
    });
}

fn end(record: &mut RunRecord, at: DateTime<Utc>) {
    record.ended = Some(at.timestamp_millis());
    #[allow(clippy::cast_precision_loss, reason = "milliseconds of a run")]
    let seconds = record.started.map_or(0.0, |started| (at.timestamp_millis() - started).max(0) as f64 / 1000.0);
    record.seconds = seconds;
}

/// Fills in the report; the trigger sets the state.
pub(super) fn fill(record: &mut RunRecord, report: &Report) -> RunOutcome {
    record.place = Some(report.place);
    record.interval = report.intervals.hull();
    record.inputs.clone_from(&report.inputs);
    record.counts = report.counts.clone();
    record.expectations.clone_from(&report.expectations);
    record.rejected.clone_from(&report.rejected);
    record.notes.clone_from(&report.notes);
    record.warnings.clone_from(&report.warnings);
    match &report.outcome {
        Outcome::Unchanged => RunOutcome::Unchanged,
        Outcome::Committed { version } => {
            record.version = Some(*version);
            RunOutcome::Succeeded
        }
        Outcome::ExpectationFailed { message } => {
            record.error = Some(RunError::new(ErrorKind::Data, message.clone()));
            RunOutcome::ExpectationFailed
        }
    }
}
