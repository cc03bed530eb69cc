//! Triggers of a scheduler: those that it takes in, and those that it takes up from the ledgers of its lakes.

mod failures;
mod prepared;
mod shown;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::Utc;
use futures::StreamExt as _;
use pulse_core::graph::Graph;
use pulse_core::project::Project;
use pulse_core::queue::{QueueName, Queues};
use pulse_core::run::TriggerId;
use pulse_core::settings::Settings;
use pulse_core::trigger::TriggerExit;
use pulse_core::{Error, ErrorKind, Result};
use pulse_engine::build::build;
use pulse_engine::job::check_roots;
use pulse_engine::machine;
use pulse_engine::table::Lake;
use pulse_metrics::Process;
use tokio::sync::watch;
use tokio::task::JoinSet;

use failures::tell_failures;
use prepared::{Prepared, Taken};

use super::allowed::Allowed;
use super::queue::Queue;
use super::work::Work;
use super::{Places, SubmitRequest, Token};
use crate::driver::{Driven, Interruption, Permits, Submission, drive};
use crate::ledger::{Limits, Origin, RunStore, Seal};
use crate::metrics::Metrics;

/// Times in a lease's length that a scheduler looks for triggers that nobody drives.
const LOOKS_PER_LEASE: u32 = 2;
/// Submissions that are read at once.
const READS: usize = 16;
/// How long a scheduler that stops waits for its drivers to let go of their triggers.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);

/// What the API needs to drive triggers.
pub struct Api {
    places: Arc<dyn Places>,
    settings: Settings,
    /// The ledger that remembers the other lakes.
    home: RunStore,
    allowed: Allowed,
    seal: Seal,
    work: Work,
    /// One permit for each run.
    permits: Permits,
    queues: Queues,
    leave: watch::Sender<bool>,
    metrics: Arc<Metrics>,
    known: Mutex<Known>,
}

struct Known {
    /// By URL; the scheduler's own among them.
    lakes: BTreeMap<String, RunStore>,
    queue: Queue<RunStore>,
    /// Driven triggers with a driver that died before.
    suspects: BTreeSet<TriggerId>,
    /// Further suspects, which wait for it.
    suspicious: BTreeMap<TriggerId, (QueueName, RunStore)>,
    drivers: JoinSet<()>,
    /// A trigger was begun since [`Api::was_busy`] was last asked.
    worked: bool,
}

impl Known {
    /// The trigger is not driven here any more. After a suspect, the next one may be.
    fn ended(&mut self, id: &TriggerId) {
        self.queue.forget(id);
        if self.suspects.remove(id) {
            for (id, (queue, ledger)) in std::mem::take(&mut self.suspicious) {
                self.queue.wait(&queue, id, ledger);
            }
        }
    }
}

impl Api {
    /// `home` is the lake that the scheduler was started with, `token` what submissions in ledgers are sealed with.
    ///
    /// # Errors
    /// `Invalid` when the lake cannot be opened or a setting of places is wrong, `Unavailable` when threads cannot be made.
    pub fn new(places: Arc<dyn Places>, home: &Lake, settings: Settings, token: Option<&Token>) -> Result<Arc<Self>> {
        let seal = match token {
            Some(token) if settings.ledger_seal == "auto" => Seal::of(token.reveal()),
            Some(_) | None => Seal::default(),
        };
        let allowed = Allowed::new(&settings, home.root())?;
        let metrics = Arc::new(Metrics::new(&settings, Process::new(build(), machine::memory_bytes()))?);
        let ledger = RunStore::new(home)?.sealed(seal.clone()).measured(Arc::clone(&metrics));
        let work = Work::new()?;
        let queues = Queues::parse(&settings.queues)?;
        let known = Known {
            lakes: [(home.root().to_string(), ledger.clone())].into(),
            queue: Queue::new(&queues, as_size(settings.driven_triggers), as_size(settings.queued_triggers)),
            suspects: BTreeSet::new(),
            suspicious: BTreeMap::new(),
            drivers: JoinSet::new(),
            worked: false,
        };
        let permits = Permits::new(queues.clone(), as_size(settings.scheduler_runs));
        let (leave, _) = watch::channel(false);
        let known = Mutex::new(known);
        Ok(Arc::new(Self {
            places,
            settings,
            home: ledger,
            allowed,
            seal,
            work,
            permits,
            queues,
            leave,
            metrics,
            known,
        }))
    }

    /// Whether a trigger was driven here since this was last asked, be its runs running or queued.
    pub fn was_busy(&self) -> bool {
        let mut known = self.lock();
        std::mem::take(&mut known.worked) || !known.queue.is_idle()
    }

    pub(super) fn executors(&self) -> usize {
        self.places.executors()
    }

    pub(super) fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// Takes a trigger in; it continues after the client has left, and after this process has ended.
    pub(super) async fn submit(self: &Arc<Self>, request: SubmitRequest) -> Result<TriggerId> {
        if self.lock().queue.is_full() {
            self.metrics.refused_by_queue();
            return Err(Error::unavailable(format!(
                "{} triggers wait for this scheduler (`queued_triggers`), and it takes no more until one starts; submit again later",
                self.settings.queued_triggers
            )));
        }
        self.take_in(request).await.inspect_err(|error| self.metrics.refused(error.kind()))
    }

    async fn take_in(self: &Arc<Self>, request: SubmitRequest) -> Result<TriggerId> {
        self.queues.check(&request.queue)?;
        self.allowed.check_url(&request.lake)?;
        let lake = self.places.lake(&request.lake).await?;
        // What cannot be driven is refused before it is written.
        let (request, prepared) = self.prepare(request, &lake).await?;
        let ledger = self.know(&lake).await?;
        let new = TriggerId::new(Utc::now(), rand::random());
        let id = ledger.submit(new.clone(), request, Limits::of(&self.settings)).await?;
        if id == new {
            self.metrics.submitted();
        }
        if ledger.exit(&id).await?.is_none() {
            self.begin(&id, ledger, prepared);
        }
        Ok(id)
    }

    /// Requests that a trigger stops. One that waits is ended at once, whatever is driven.
    pub(super) async fn cancel(self: &Arc<Self>, id: &TriggerId, ledger: &RunStore) -> Result<()> {
        ledger.request_cancel(id).await?;
        let waiting = self.lock().queue.at_once(id);
        if let Some(ledger) = waiting {
            self.start(id, &ledger).await;
        }
        Ok(())
    }

    /// The ledger that a trigger was submitted to.
    pub(super) async fn ledger_of(&self, trigger: &TriggerId) -> Result<Option<RunStore>> {
        let (mut looked_at, mut silent) = (0, None);
        loop {
            let ledgers: Vec<RunStore> = self.lock().lakes.values().cloned().collect();
            for ledger in &ledgers {
                match ledger.submission(trigger).await {
                    Ok(Some(_)) => return Ok(Some(ledger.clone())),
                    Ok(None) => {}
                    // One ledger that is not in order says nothing of the others. One that does not answer may hold it.
                    Err(error) if error.kind() == ErrorKind::Unavailable => silent = Some(error),
                    Err(error) => log::warn!("{trigger}: {error}"),
                }
            }
            if let Some(error) = silent.take_if(|_| looked_at == ledgers.len()) {
                return Err(error);
            }
            // Just started, or submitted to another scheduler.
            if looked_at == ledgers.len() {
                return Ok(None);
            }
            looked_at = ledgers.len();
            silent = self.remember().await.err();
        }
    }

    /// Takes up what nobody drives, now and again and again.
    pub async fn take_up_forever(self: Arc<Self>) {
        let every = self.settings.lease().length.to_std().unwrap_or_default() / LOOKS_PER_LEASE;
        let mut remembered = false;
        loop {
            if !remembered {
                remembered = self.remember().await.map_err(|error| log::warn!("other lakes: {error}")).is_ok();
            }
            let lakes: Vec<(String, RunStore)> =
                self.lock().lakes.iter().map(|(url, ledger)| (url.clone(), ledger.clone())).collect();
            for (url, ledger) in lakes {
                if let Err(error) = self.take_up(&ledger).await {
                    log::warn!("triggers of {url}: {error}");
                }
            }
            tokio::time::sleep(every).await;
        }
    }

    /// Lets go of all triggers, so that another scheduler takes them up at once.
    pub async fn leave(&self) {
        self.leave.send_replace(true);
        let mut drivers = std::mem::take(&mut self.lock().drivers);
        let all = async { while drivers.join_next().await.is_some() {} };
        if tokio::time::timeout(LEAVE_LIMIT, all).await.is_err() {
            log::warn!("triggers are left without notice; they are taken up when their leases are over");
        }
    }

    async fn take_up(self: &Arc<Self>, ledger: &RunStore) -> Result<()> {
        let open = ledger.open().await?;
        let unknown: Vec<TriggerId> = open.into_iter().filter(|id| !self.lock().queue.knows(id)).collect();
        let queued = unknown.into_iter().map(|id| async {
            let is_cancelled = ledger.cancel_requested(&id).await.unwrap_or(false);
            (self.queue_of(&id, ledger).await, id, is_cancelled)
        });
        let mut queued = futures::stream::iter(queued).buffered(READS);
        while let Some((queue, id, is_cancelled)) = queued.next().await {
            self.lock().queue.wait(&queue, id.clone(), ledger.clone());
            // It only records its end.
            let at_once = if is_cancelled { self.lock().queue.at_once(&id) } else { None };
            if let Some(ledger) = at_once {
                self.start(&id, &ledger).await;
            }
        }
        self.start_waiting().await;
        Ok(())
    }

    /// Drives triggers that wait, as many as may be driven at once.
    async fn start_waiting(self: &Arc<Self>) {
        loop {
            let next = self.lock().queue.next();
            let Some((id, ledger)) = next else { return };
            self.start(&id, &ledger).await;
        }
    }

    /// A trigger that cannot be started is found again at the next look, and holds up no other.
    async fn start(self: &Arc<Self>, id: &TriggerId, ledger: &RunStore) {
        match self.take_up_one(id, ledger).await {
            Ok(Taken::Here(prepared)) => self.spawn(id.clone(), ledger.clone(), *prepared),
            Ok(Taken::Later(queue)) => {
                let mut known = self.lock();
                known.queue.forget(id);
                known.suspicious.insert(id.clone(), (queue, ledger.clone()));
            }
            Ok(Taken::Elsewhere) => self.lock().queue.forget(id),
            Err(error) => {
                log::warn!("trigger {id}: {error}");
                self.lock().queue.forget(id);
            }
        }
    }

    /// Drives a trigger that was just submitted, or queues it behind those that wait.
    fn begin(self: &Arc<Self>, id: &TriggerId, ledger: RunStore, prepared: Prepared) {
        let is_next = {
            let mut known = self.lock();
            let waits = known.queue.is_waiting();
            known.queue.wait(&prepared.queue, id.clone(), ledger.clone());
            !waits && known.queue.next().is_some()
        };
        if is_next {
            self.spawn(id.clone(), ledger, prepared);
        }
    }

    fn ledger(&self, lake: &Lake) -> Result<RunStore> {
        Ok(RunStore::new(lake)?.sealed(self.seal.clone()).measured(self.metrics()))
    }

    /// The ledger of a lake, whose triggers are looked after from now on.
    async fn know(&self, lake: &Lake) -> Result<RunStore> {
        let url = lake.root().to_string();
        if let Some(ledger) = self.lock().lakes.get(&url) {
            return Ok(ledger.clone());
        }
        let ledger = self.ledger(lake)?;
        if let Err(error) = self.home.remember_lake(lake).await {
            log::warn!("after a restart, triggers of {url} are not taken up: {error}");
        }
        self.lock().lakes.insert(url, ledger.clone());
        Ok(ledger)
    }

    /// # Errors
    /// `Unavailable` when a lake does not answer; all others are known then. What is no lake, or may not be used any more, is logged.
    async fn remember(&self) -> Result<()> {
        let mut silent = None;
        for url in self.home.lakes().await? {
            let remembered = async {
                self.allowed.check_url(&url)?;
                let lake = self.places.lake(&url).await?;
                self.allowed.check_lake(&lake)?;
                Ok::<_, Error>((self.ledger(&lake)?, lake))
            };
            match remembered.await {
                Ok((ledger, lake)) => {
                    self.lock().lakes.entry(lake.root().to_string()).or_insert(ledger);
                }
                Err(error) if error.kind() == ErrorKind::Unavailable => silent = Some(error),
                Err(error) => log::warn!("lake {url}: {error}"),
            }
        }
        silent.map_or(Ok(()), Err)
    }

    fn spawn(self: &Arc<Self>, id: TriggerId, ledger: RunStore, prepared: Prepared) {
        let mut leave = self.leave.subscribe();
        let mut known = self.lock();
        if *leave.borrow() || !known.queue.started(&id) {
            return;
        }
        known.worked = true;
        while known.drivers.try_join_next().is_some() {}
        let api = Arc::clone(self);
        known.drivers.spawn(async move {
            let Prepared { placement, graph, not_run, asked: wanted, options, limits, alerts, queue } = prepared;
            let work = api.work.handle();
            let origin = Origin::Submitted;
            let permits = Some(api.permits.clone());
            let submission = Submission {
                trigger: id.clone(),
                origin,
                graph,
                not_run,
                asked: wanted,
                options,
                limits,
                work,
                permits,
                queue,
            };
            let (notices, _) = tokio::sync::mpsc::unbounded_channel();
            let asked = async {
                if leave.wait_for(|leave| *leave).await.is_err() {
                    std::future::pending::<()>().await;
                }
                Interruption::Leave
            };
            let driven = drive(ledger.clone(), placement.runs(), submission, notices, asked).await;
            let has_ended = matches!(driven, Ok(Driven::Ended(_)));
            match driven {
                Ok(Driven::Ended(exit)) => {
                    log::info!("trigger {id} ended: {exit:?}");
                    if exit != TriggerExit::Done {
                        tell_failures(&id, &ledger).await;
                    }
                }
                Ok(Driven::Elsewhere | Driven::Left) => log::debug!("trigger {id} is not driven here"),
                Err(error) if error.kind() == ErrorKind::Invalid => {
                    if let Err(error) = api.refuse(&id, &ledger, &error).await {
                        log::error!("trigger {id}: {error}");
                    }
                }
                // Its lease runs out, and then it is taken up again.
                Err(error) => log::error!("trigger {id}: {error}"),
            }
            api.lock().ended(&id);
            api.start_waiting().await;
            // Last: a webhook that does not answer holds up nothing.
            if has_ended {
                api.metrics.undelivered(alerts.send_after(&ledger, &id).await);
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn as_size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

pub(crate) fn asked(request: &SubmitRequest) -> Result<(Project, Graph)> {
    let project = Project::parse(&request.files)?;
    project.check_names(&request.variables)?;
    let project = project.with_variables(&request.variables);
    project.check_asked(&request.jobs, request.asked.interval)?;
    let graph = Graph::new(&project)?;
    let graph = if request.jobs.is_empty() { graph } else { graph.select(&request.jobs)? };
    project.check_values(graph.order())?;
    check_roots(&project, graph.order())?;
    Ok((project, graph))
}

#[cfg(test)]
mod tests;
