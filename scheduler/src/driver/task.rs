//! Runs one attempt of a run in its own task.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use pulse_core::decide::Asked;
use pulse_core::name::TableName;
use pulse_core::run::{Place, RunId, RunState};
use pulse_core::{Error, Result};
use pulse_engine::execute::Reached;
use pulse_engine::job::{Report, RunOptions};
use tokio::sync::{mpsc, watch};

use super::{Notice, Runs};
use crate::clock::Clock;
use crate::ledger::LeaseKeeper;

/// Events from a task to its driver.
pub(super) enum TaskEvent {
    Placed {
        job: TableName,
        place: Place,
    },
    Progressed {
        job: TableName,
    },
    /// `doubtful` if it began to commit: even if it failed, it may have committed.
    Ended {
        job: TableName,
        report: Result<Box<Report>>,
        doubtful: bool,
    },
}

pub(super) struct RunTask {
    pub(super) run: RunId,
    pub(super) runs: Arc<dyn Runs>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) wanted: Asked,
    pub(super) begun: Option<DateTime<Utc>>,
    pub(super) lease: Arc<LeaseKeeper>,
    pub(super) stopped: watch::Receiver<bool>,
    pub(super) events: mpsc::UnboundedSender<TaskEvent>,
    pub(super) notices: mpsc::UnboundedSender<Notice>,
}

impl RunTask {
    pub(super) async fn run(self) {
        let job = self.run.job().clone();
        let doubtful = AtomicBool::new(false);
        let report = AssertUnwindSafe(self.attempt(&doubtful)).catch_unwind().await.unwrap_or_else(|_| {
            Err(Error::internal(format!("job {job}: a task of it panicked; the log of this process says where")))
        });
        // The receiver is dropped only when the driver has stopped.
        let _ =
            self.events.send(TaskEvent::Ended { job, report: report.map(Box::new), doubtful: doubtful.into_inner() });
    }

    /// Stops within one batch of a cancel, except during a commit, which is awaited so that its result can be reported.
    async fn attempt(&self, doubtful: &AtomicBool) -> Result<Report> {
        let committing = AtomicBool::new(false);
        let mut stopped = self.stopped.clone();
        let work = self.work(&committing, doubtful);
        tokio::pin!(work);
        tokio::select! {
            biased;
            report = &mut work => return report,
            _ = stopped.wait_for(|stop| *stop) => {}
        }
        match committing.load(Ordering::Relaxed) {
            true => work.await,
            false => Err(self.cancelled()),
        }
    }

    async fn work(&self, committing: &AtomicBool, doubtful: &AtomicBool) -> Result<Report> {
        let job = self.run.job();
        let placed = |place| {
            let _ = self.events.send(TaskEvent::Placed { job: job.clone(), place });
        };
        let ended = AtomicUsize::new(0);
        let progress = |reached: Reached| {
            // Read rows do not count as progress: an endless query would read forever.
            if ended.swap(reached.done, Ordering::Relaxed) != reached.done {
                let _ = self.events.send(TaskEvent::Progressed { job: job.clone() });
            }
            let _ = self.notices.send(Notice::Progress { job: job.clone(), reached });
        };
        let entering = |state| {
            committing.store(state == RunState::Committing, Ordering::Relaxed);
            doubtful.fetch_or(state == RunState::Committing, Ordering::Relaxed);
            if *self.stopped.borrow() {
                return Err(self.cancelled());
            }
            if !self.lease.holds() {
                return Err(Error::unavailable(format!(
                    "job {job}: the lease on {} could not be renewed",
                    self.run.trigger()
                )));
            }
            let _ = self.events.send(TaskEvent::Progressed { job: job.clone() });
            Ok(())
        };
        let id = self.run.to_string();
        let options = RunOptions {
            run_id: &id,
            asked: &self.wanted,
            now: self.clock.now(),
            begun: self.begun,
            progress: &progress,
            entering: &entering,
        };
        let report = self.runs.run(job, &placed, options).await?;
        Ok(self.runs.registered(report).await)
    }

    fn cancelled(&self) -> Error {
        Error::cancelled(format!("job {}: cancelled while it ran", self.run.job()))
    }
}
