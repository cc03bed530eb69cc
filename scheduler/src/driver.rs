//! The driver: carries out the actions of a trigger's state machine. On a cluster it runs in the scheduler's process,
//! otherwise in that of the command line.

mod admission;
mod notice;
mod records;
mod runs;
mod task;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use pulse_core::decide::Asked;
use pulse_core::graph::Graph;
use pulse_core::lease::LeaseOptions;
use pulse_core::name::TableName;
use pulse_core::queue::QueueName;
use pulse_core::retry::{RetryPolicy, seed_of};
use pulse_core::run::{NotRunJobs, RunId, RunRecord, RunState, TriggerId};
use pulse_core::settings::Settings;
use pulse_core::timeout::{JobHistory, run_timeout};
use pulse_core::trigger::{
    RunLimits, RunOutcome, StopReason, Trigger, TriggerAction, TriggerEvent, TriggerExit, TriggerOptions,
};
use pulse_core::{Error, ErrorKind, Result};
use pulse_engine::job::Report;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::ledger::{LeaseKeeper, Origin, RunStore};
use admission::Admission;
use task::{RunTask, TaskEvent};

pub use admission::Permits;
pub use notice::Notice;
pub use runs::{Placement, Runs};

/// Polling interval for cancel requests in the ledger.
const CANCEL_POLL: Duration = Duration::from_secs(1);

/// Limits of a driver, from the settings.
#[derive(Debug, Clone, Copy)]
pub struct DriveOptions {
    pub concurrent_runs: NonZeroUsize,
    pub retry: RetryPolicy,
    pub progress_timeout: TimeDelta,
    /// `None` derives it from the job's history.
    pub run_timeout: Option<TimeDelta>,
    pub longest_run: TimeDelta,
    pub lease: LeaseOptions,
    /// Drivers of a submission that may die.
    pub driver_attempts: usize,
}

impl DriveOptions {
    pub fn new(settings: &Settings) -> Self {
        let concurrent = usize::try_from(settings.concurrent_runs).ok().and_then(NonZeroUsize::new);
        Self {
            concurrent_runs: concurrent.unwrap_or(NonZeroUsize::MIN),
            retry: settings.retry(),
            progress_timeout: settings.progress_timeout(),
            run_timeout: settings.run_timeout(),
            longest_run: settings.longest_run(),
            lease: settings.lease(),
            driver_attempts: usize::try_from(settings.driver_attempts).unwrap_or(usize::MAX),
        }
    }
}

/// One submission.
pub struct Submission {
    pub trigger: TriggerId,
    pub origin: Origin,
    pub graph: Graph,
    /// Further jobs, which are recorded and do not run.
    pub not_run: NotRunJobs,
    pub asked: Asked,
    pub options: DriveOptions,
    /// Of jobs that set limits themselves.
    pub limits: BTreeMap<TableName, RunLimits>,
    /// Threads for the runs; those of the driver when none.
    pub work: Option<Handle>,
    /// One permit for each run, shared with other triggers; no limit when none.
    pub permits: Option<Permits>,
    /// Where its runs wait for their permits.
    pub queue: QueueName,
}

/// The outcome of an attempt to drive a trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driven {
    Ended(TriggerExit),
    /// Another driver holds it.
    Elsewhere,
    /// Left as requested by [`Interruption::Leave`].
    Left,
}

/// A request of this process to its driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    Cancel,
    /// Stop without finishing; another driver resumes.
    Leave,
}

/// Runs a trigger to its end, from its beginning or from where another driver left it.
///
/// # Errors
/// `Unavailable` or `Invalid` when the ledger cannot be written; failures of runs are only in their records.
pub async fn drive(
    ledger: RunStore,
    runs: Arc<dyn Runs>,
    submission: Submission,
    notices: mpsc::UnboundedSender<Notice>,
    asked: impl Future<Output = Interruption> + Send,
) -> Result<Driven> {
    if submission.origin == Origin::Submitted {
        refuse_deadly(&ledger, &submission.trigger, submission.options.driver_attempts).await?;
    }
    let Some(lease) =
        LeaseKeeper::claim(&ledger, &submission.trigger, submission.origin, submission.options.lease).await?
    else {
        return Ok(Driven::Elsewhere);
    };
    let (events, received) = mpsc::unbounded_channel();
    let Submission { trigger: id, origin, graph, not_run, asked: wanted, options, limits, work, permits, queue } =
        submission;
    let first_epoch = lease.first_epoch();
    if origin == Origin::Submitted {
        ledger.begin_driving(&id, first_epoch).await?;
    }
    let mut driver = Driver {
        id,
        ledger,
        resumed: lease.first_epoch() > 1,
        lease: Arc::new(lease),
        runs,
        wanted,
        options,
        limits,
        notices,
        events,
        records: HashMap::new(),
        failures: HashMap::new(),
        doubtful: HashSet::new(),
        work,
        admission: Admission::new(permits, queue),
        running: JoinSet::new(),
        stops: HashMap::new(),
    };
    let driven = driver.take_up_and_run(&graph, &not_run, received, asked).await;
    // First, because a process that is asked to stop waits only so long for its runs.
    if origin == Origin::Submitted {
        driver.ledger.stop_driving(&driver.id, first_epoch).await;
    }
    // The remaining runs are no longer needed.
    driver.running.shutdown().await;
    // Others need not wait until the lease of a trigger that was left, or could not be driven, runs out.
    if let (Ok(Driven::Left) | Err(_), Some(lease)) = (&driven, Arc::into_inner(driver.lease)) {
        lease.release().await;
    }
    driven
}

struct Driver {
    id: TriggerId,
    ledger: RunStore,
    lease: Arc<LeaseKeeper>,
    /// Another driver ran it before.
    resumed: bool,
    runs: Arc<dyn Runs>,
    wanted: Asked,
    options: DriveOptions,
    limits: BTreeMap<TableName, RunLimits>,
    notices: mpsc::UnboundedSender<Notice>,
    events: mpsc::UnboundedSender<TaskEvent>,
    /// Records as in the ledger, or as they will be written next.
    records: HashMap<TableName, RunRecord>,
    /// Failures of last attempts, until the trigger has decided on them.
    failures: HashMap<TableName, Arc<Error>>,
    /// Runs with an attempt that began to commit.
    doubtful: HashSet<TableName>,
    work: Option<Handle>,
    admission: Admission,
    running: JoinSet<()>,
    /// Stop signals of running runs.
    stops: HashMap<TableName, watch::Sender<bool>>,
}

/// The result of a trigger's action.
enum Step {
    Next,
    End(TriggerExit),
    /// Another driver has taken over.
    Lost,
}

/// # Errors
/// `Invalid` for a trigger whose drivers died too often: it may be what they died of.
async fn refuse_deadly(ledger: &RunStore, trigger: &TriggerId, attempts: usize) -> Result<()> {
    match ledger.deaths(trigger).await? {
        deaths if deaths >= attempts => Err(Error::invalid(format!(
            "{trigger}: {deaths} schedulers died while they drove it, and `driver_attempts` is {attempts}; their logs say of what, such as a \
             query that takes all memory"
        ))),
        _ => Ok(()),
    }
}

impl Driver {
    async fn take_up_and_run(
        &mut self,
        graph: &Graph,
        not_run: &NotRunJobs,
        received: mpsc::UnboundedReceiver<TaskEvent>,
        asked: impl Future<Output = Interruption> + Send,
    ) -> Result<Driven> {
        if !self.record_not_run(not_run).await? {
            return Ok(Driven::Elsewhere);
        }
        let Some(known) = self.take_up(graph).await? else { return Ok(Driven::Elsewhere) };
        let timeouts = run_timeouts(&self.ledger, graph, &self.options, &self.limits).await;
        let trigger = Trigger::resume(graph.clone(), self.trigger_options(timeouts), &known);
        self.run(trigger, received, asked).await
    }

    async fn run(
        &mut self,
        mut trigger: Trigger,
        mut received: mpsc::UnboundedReceiver<TaskEvent>,
        asked: impl Future<Output = Interruption> + Send,
    ) -> Result<Driven> {
        // A trigger that was cancelled while it was queued starts nothing.
        let mut cancelled = cancel_requested(&self.ledger, &self.id).await;
        let first = if cancelled { TriggerEvent::CancelRequested } else { TriggerEvent::Started };
        let clock = Arc::clone(self.ledger.clock());
        let mut actions = trigger.apply(first, clock.now());
        let lease = Arc::clone(&self.lease);
        tokio::pin!(asked);
        let mut is_asked = false;
        // Kept across iterations, so that frequent events cannot postpone the poll of the ledger forever.
        let mut look = clock.sleep(CANCEL_POLL);
        loop {
            for action in actions {
                match self.carry_out(action).await? {
                    Step::Next => {}
                    Step::End(exit) => return Ok(Driven::Ended(exit)),
                    Step::Lost => return Ok(Driven::Elsewhere),
                }
            }
            self.admission.want(trigger.wants_admission(clock.now()));
            let wake = trigger.wake_at().and_then(|at| (at - clock.now()).to_std().ok()).unwrap_or(CANCEL_POLL);
            let event = tokio::select! {
                // Runs that report without a pause must not keep the driver from a cancel or a time limit.
                biased;
                asked = &mut asked, if !is_asked => match asked {
                    Interruption::Cancel => { is_asked = true; cancelled = true; TriggerEvent::CancelRequested }
                    Interruption::Leave => return Ok(Driven::Left),
                },
                () = lease.lost() => return Ok(Driven::Elsewhere),
                () = &mut look => TriggerEvent::Tick,
                () = clock.sleep(wake) => TriggerEvent::Tick,
                Some(event) = received.recv() => self.happened(event),
                () = self.admission.granted() => TriggerEvent::Admitted,
            };
            let is_tick = event == TriggerEvent::Tick;
            actions = trigger.apply(event, clock.now());
            if !is_tick {
                continue;
            }
            look = clock.sleep(CANCEL_POLL);
            if !cancelled && cancel_requested(&self.ledger, &self.id).await {
                cancelled = true;
                actions.extend(trigger.apply(TriggerEvent::CancelRequested, clock.now()));
            }
        }
    }

    fn happened(&mut self, event: TaskEvent) -> TriggerEvent {
        match event {
            TaskEvent::Placed { job, place } => {
                self.record_of(&job).place = Some(place);
                TriggerEvent::Progressed { job }
            }
            TaskEvent::Progressed { job } => TriggerEvent::Progressed { job },
            TaskEvent::Ended { job, report, doubtful } => {
                if doubtful {
                    self.doubtful.insert(job.clone());
                }
                let outcome = self.ended(&job, report);
                TriggerEvent::RunFinished { job, outcome }
            }
        }
    }

    async fn carry_out(&mut self, action: TriggerAction) -> Result<Step> {
        match action {
            TriggerAction::StartRun { job, attempt } => return self.start(job, attempt).await,
            TriggerAction::StopRun { job, .. } => {
                if let Some(stop) = self.stops.get(&job) {
                    stop.send_replace(true);
                }
            }
            TriggerAction::Postpone { job, stopped, until, .. } => return self.postpone(&job, stopped, until).await,
            TriggerAction::Record { job, state, at, reason, stopped } => {
                return self.record(&job, (state, at, reason), stopped).await;
            }
            TriggerAction::Finish { exit } => {
                let Some(epoch) = self.lease.epoch().await else { return Ok(Step::Lost) };
                self.ledger.end(&self.id, epoch, exit.code(), self.ledger.clock().now()).await?;
                return Ok(Step::End(exit));
            }
        }
        Ok(Step::Next)
    }

    async fn start(&mut self, job: TableName, attempt: u32) -> Result<Step> {
        let now = self.ledger.clock().now();
        let (resumed, begun) = (self.resumed, self.id.time());
        let record = self.record_of(&job);
        record.state = RunState::Running;
        record.attempt = attempt;
        record.started.get_or_insert(now.timestamp_millis());
        // Only a run that was begun before can have committed before. An earlier driver that is still alive may also
        // begin one that is not recorded yet.
        let begun = (attempt > 1 || resumed).then_some(begun);
        if !self.put(&job).await? {
            return Ok(Step::Lost);
        }
        let (stop, stopped) = watch::channel(false);
        self.stops.insert(job.clone(), stop);
        self.admission.begin(&job);
        let _ = self.notices.send(Notice::Started { job: job.clone() });
        let task = RunTask {
            run: RunId::new(self.id.clone(), job),
            runs: Arc::clone(&self.runs),
            clock: Arc::clone(self.ledger.clock()),
            wanted: self.wanted,
            begun,
            lease: Arc::clone(&self.lease),
            stopped,
            events: self.events.clone(),
            notices: self.notices.clone(),
        };
        drop(match &self.work {
            Some(work) => self.running.spawn_on(task.run(), work),
            None => self.running.spawn(task.run()),
        });
        Ok(Step::Next)
    }

    /// Records the outcome of an attempt; the trigger decides how to continue.
    fn ended(&mut self, job: &TableName, report: Result<Box<Report>>) -> RunOutcome {
        self.stops.remove(job);
        self.admission.end(job);
        // Reaps finished tasks.
        while self.running.try_join_next().is_some() {}
        match report {
            Ok(report) => {
                let _ = self.notices.send(Notice::Reported {
                    job: job.clone(),
                    warnings: report.warnings.clone(),
                    mode: report.mode.clone(),
                });
                records::fill(self.record_of(job), &report)
            }
            Err(error) => {
                self.record_of(job).warnings = error.warnings().to_vec();
                let outcome = match error.kind() {
                    ErrorKind::Cancelled => RunOutcome::Cancelled,
                    kind => RunOutcome::Failed { kind },
                };
                self.failures.insert(job.clone(), Arc::new(error));
                outcome
            }
        }
    }

    fn trigger_options(&self, run_timeouts: BTreeMap<TableName, TimeDelta>) -> TriggerOptions {
        TriggerOptions {
            concurrent_runs: self.options.concurrent_runs,
            waits_for_admission: self.admission.is_limited(),
            retry: self.options.retry,
            run_attempts: self.limits.iter().filter_map(|(job, of)| Some((job.clone(), of.attempts?))).collect(),
            progress_timeout: self.options.progress_timeout,
            run_timeouts,
            seed: seed_of(0, self.id.as_str()),
        }
    }
}

/// If the ledger is temporarily unreadable, nothing is cancelled.
async fn cancel_requested(ledger: &RunStore, trigger: &TriggerId) -> bool {
    ledger.cancel_requested(trigger).await.unwrap_or(false)
}

async fn run_timeouts(
    ledger: &RunStore,
    graph: &Graph,
    options: &DriveOptions,
    limits: &BTreeMap<TableName, RunLimits>,
) -> BTreeMap<TableName, TimeDelta> {
    let mut timeouts = BTreeMap::new();
    for job in graph.order() {
        let own = limits.get(job).and_then(|limits| limits.timeout).map(|own| own.min(options.longest_run));
        let asked = own.or(options.run_timeout);
        let history = match asked {
            Some(_) => JobHistory::default(),
            None => ledger.history(job).await,
        };
        timeouts.insert(job.clone(), run_timeout(asked, &history, options.longest_run));
    }
    timeouts
}

/// The error of a run that the watchdog stopped.
fn stopped_error(job: &TableName, why: StopReason, options: &DriveOptions) -> Error {
    match why {
        StopReason::Requested => Error::cancelled(format!("job {job}: somebody asked to stop it")),
        StopReason::NoProgress => Error::unavailable(format!(
            "job {job}: none of its tasks ended for {} s; raise `progress_timeout_s` if they may take that long",
            options.progress_timeout.num_seconds()
        )),
        StopReason::TimedOut => {
            Error::exhausted(format!("job {job} took too long; raise `run_timeout_s` if it may take that long"))
        }
    }
}
