//! The driver: carries out what a trigger's state machine decides. It lives in the scheduler's process on a cluster and in
//! the command line's otherwise.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use pulse_core::graph::Graph;
use pulse_core::interval::Interval;
use pulse_core::name::TableName;
use pulse_core::run::{RunError, RunId, RunRecord, RunState, TriggerId};
use pulse_core::trigger::{RunOutcome, Trigger, TriggerAction, TriggerEvent, TriggerExit};
use pulse_core::{Error, ErrorKind, Result};
use pulse_engine::job::{Mode, Outcome, Report, Workbench, pin, run};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::ledger::RunStore;

/// How often a driver looks whether somebody asked to cancel in the ledger.
const CANCEL_POLL: Duration = Duration::from_secs(1);

/// What a person following a trigger wants to know.
#[derive(Debug, Clone)]
pub enum Notice {
    Started { job: TableName },
    Progress { job: TableName, done: usize, tasks: usize },
    Ended { record: Box<RunRecord>, warnings: Vec<String>, mode: Option<Mode>, error: Option<Arc<Error>> },
}

/// Where runs are carried out.
#[derive(Clone)]
pub enum Placement {
    /// All in one place.
    Fixed(Box<Workbench>),
    /// In process up to a number of bytes to read, on the cluster beyond.
    BySize { local: Box<Workbench>, cluster: Box<Workbench>, local_limit_bytes: u64 },
}

impl Placement {
    fn any(&self) -> &Workbench {
        match self {
            Self::Fixed(bench) | Self::BySize { local: bench, .. } => bench,
        }
    }

    async fn choose(&self, job: &TableName, asked: Option<Interval>) -> Result<Workbench> {
        match self {
            Self::Fixed(bench) => Ok(bench.as_ref().clone()),
            Self::BySize { local, cluster, local_limit_bytes } => {
                let pinned = pin(local, local.project.job(job)?, asked, Utc::now()).await?;
                Ok(if pinned.bytes() > *local_limit_bytes { cluster.as_ref() } else { local.as_ref() }.clone())
            }
        }
    }
}

/// One submission.
pub struct Submission {
    pub trigger: TriggerId,
    pub graph: Graph,
    pub interval: Option<Interval>,
    pub concurrent_runs: NonZeroUsize,
    pub run_timeout: Duration,
}

/// Runs a trigger to its end. `cancel` resolves when somebody here wants it to stop.
///
/// # Errors
/// `Unavailable` or `Invalid` when the ledger cannot be written; failures of runs are in their records instead.
pub async fn drive(
    placement: Placement,
    submission: Submission,
    notices: mpsc::UnboundedSender<Notice>,
    cancel: impl Future<Output = ()> + Send,
) -> Result<TriggerExit> {
    let ledger = RunStore::new(&placement.any().lake)?;
    let Submission { trigger: id, graph, interval, concurrent_runs, run_timeout } = submission;
    for job in graph.order() {
        ledger.put(&RunRecord::queued(RunId::new(id.clone(), job.clone()))).await?;
    }
    let (ended, mut endings) = mpsc::unbounded_channel();
    let mut driver = Driver { id, ledger, placement, interval, run_timeout, notices, ended, running: HashMap::new() };
    let mut trigger = Trigger::new(graph, concurrent_runs);
    let mut actions = trigger.apply(TriggerEvent::Started, Utc::now());
    tokio::pin!(cancel);
    let mut cancelled = false;
    loop {
        for action in actions {
            if let Some(exit) = driver.carry_out(action).await? {
                return Ok(exit);
            }
        }
        let event = tokio::select! {
            Some((job, outcome)) = endings.recv() => TriggerEvent::RunFinished { job, outcome },
            () = &mut cancel, if !cancelled => { cancelled = true; TriggerEvent::CancelRequested }
            () = tokio::time::sleep(CANCEL_POLL), if !cancelled => {
                match driver.ledger.cancel_requested(&driver.id).await {
                    Ok(true) => { cancelled = true; TriggerEvent::CancelRequested }
                    // A ledger that cannot be read for a moment cancels nothing.
                    Ok(false) | Err(_) => { actions = Vec::new(); continue; }
                }
            }
        };
        actions = trigger.apply(event, Utc::now());
    }
}

struct Driver {
    id: TriggerId,
    ledger: RunStore,
    placement: Placement,
    interval: Option<Interval>,
    run_timeout: Duration,
    notices: mpsc::UnboundedSender<Notice>,
    ended: mpsc::UnboundedSender<(TableName, RunOutcome)>,
    running: HashMap<TableName, JoinHandle<()>>,
}

impl Driver {
    async fn carry_out(&mut self, action: TriggerAction) -> Result<Option<TriggerExit>> {
        match action {
            TriggerAction::StartRun { job } => self.start(job),
            TriggerAction::CancelRun { job } => self.cancel(&job).await?,
            TriggerAction::Record { job, state, at, reason } => self.record(job, state, at, reason).await?,
            TriggerAction::Finish { exit } => return Ok(Some(exit)),
        }
        Ok(None)
    }

    fn start(&mut self, job: TableName) {
        let task = RunTask {
            run: RunId::new(self.id.clone(), job.clone()),
            ledger: self.ledger.clone(),
            placement: self.placement.clone(),
            interval: self.interval,
            timeout: self.run_timeout,
            notices: self.notices.clone(),
        };
        let ended = self.ended.clone();
        let name = job.clone();
        let handle = tokio::spawn(async move {
            let outcome = task.run().await;
            // The driver is gone only when its whole process ends.
            let _ = ended.send((name, outcome));
        });
        self.running.insert(job, handle);
    }

    /// A run that is stopped before its commit leaves nothing that a reader sees.
    async fn cancel(&mut self, job: &TableName) -> Result<()> {
        if let Some(handle) = self.running.remove(job) {
            handle.abort();
        }
        let mut record = RunRecord::queued(RunId::new(self.id.clone(), job.clone()));
        record.state = RunState::Cancelled;
        record.ended = Some(Utc::now().timestamp_millis());
        record.reason = Some("cancelled while it ran".to_owned());
        self.ledger.put(&record).await?;
        self.tell(record);
        let _ = self.ended.send((job.clone(), RunOutcome::Cancelled));
        Ok(())
    }

    /// Runs that were started write their own records; these never did.
    async fn record(&self, job: TableName, state: RunState, at: DateTime<Utc>, reason: Option<String>) -> Result<()> {
        if !matches!(state, RunState::Skipped) && reason.is_none() {
            return Ok(());
        }
        let mut record = RunRecord::queued(RunId::new(self.id.clone(), job));
        record.state = state;
        record.ended = Some(at.timestamp_millis());
        record.reason = reason;
        self.ledger.put(&record).await?;
        self.tell(record);
        Ok(())
    }

    fn tell(&self, record: RunRecord) {
        let _ = self.notices.send(Notice::Ended {
            record: Box::new(record),
            warnings: Vec::new(),
            mode: None,
            error: None,
        });
    }
}

/// One run, from its first record to its last.
struct RunTask {
    run: RunId,
    ledger: RunStore,
    placement: Placement,
    interval: Option<Interval>,
    timeout: Duration,
    notices: mpsc::UnboundedSender<Notice>,
}

impl RunTask {
    async fn run(self) -> RunOutcome {
        let began = Instant::now();
        let mut record = RunRecord::queued(self.run.clone());
        record.state = RunState::Running;
        record.started = Some(Utc::now().timestamp_millis());
        let _ = self.notices.send(Notice::Started { job: self.run.job().clone() });
        let result = match self.ledger.put(&record).await {
            Ok(()) => self.attempt().await,
            Err(error) => Err(error),
        };
        record.seconds = began.elapsed().as_secs_f64();
        record.ended = Some(Utc::now().timestamp_millis());
        self.end(record, result).await
    }

    async fn attempt(&self) -> Result<Report> {
        let bench = self.placement.choose(self.run.job(), self.interval).await?;
        let job = bench.project.job(self.run.job())?;
        let progress = |done, tasks, _rows| {
            let _ = self.notices.send(Notice::Progress { job: self.run.job().clone(), done, tasks });
        };
        let id = self.run.to_string();
        let running = run(&bench, job, &id, self.interval, Utc::now(), &progress);
        tokio::time::timeout(self.timeout, running).await.unwrap_or_else(|_| {
            Err(Error::exhausted(format!(
                "job {} took longer than {} s; raise `run_timeout_s`",
                self.run.job(),
                self.timeout.as_secs()
            )))
        })
    }

    async fn end(&self, mut record: RunRecord, result: Result<Report>) -> RunOutcome {
        let (outcome, warnings, mode, error) = match result {
            Ok(report) => {
                let outcome = fill(&mut record, &report);
                (outcome, report.warnings, Some(report.mode), None)
            }
            Err(error) => {
                record.state =
                    if error.kind() == ErrorKind::Cancelled { RunState::Cancelled } else { RunState::Failed };
                record.error = Some(RunError { kind: error.kind(), message: error.to_string() });
                (RunOutcome::Failed, Vec::new(), None, Some(Arc::new(error)))
            }
        };
        if let Err(error) = self.ledger.put(&record).await {
            log::warn!("the run ledger does not tell the end of {}: {error}", self.run);
        }
        let _ = self.notices.send(Notice::Ended { record: Box::new(record), warnings, mode, error });
        outcome
    }
}

fn fill(record: &mut RunRecord, report: &Report) -> RunOutcome {
    record.place = Some(report.place);
    record.interval = report.interval;
    record.inputs.clone_from(&report.inputs);
    record.counts = report.counts.clone();
    record.expectations.clone_from(&report.expectations);
    record.attempt = report.attempt;
    match &report.outcome {
        Outcome::Unchanged => {
            record.state = RunState::Unchanged;
            RunOutcome::Unchanged
        }
        Outcome::Committed { version } => {
            record.state = RunState::Succeeded;
            record.version = Some(*version);
            RunOutcome::Succeeded
        }
        Outcome::ExpectationFailed { message } => {
            record.state = RunState::Failed;
            record.error = Some(RunError { kind: ErrorKind::Data, message: message.clone() });
            RunOutcome::ExpectationFailed
        }
    }
}
