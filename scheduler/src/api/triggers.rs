//! Triggers of a scheduler: those that it takes in, and those that it takes up from the ledgers of its lakes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::Utc;
use pulse_core::decide::Asked;
use pulse_core::graph::Graph;
use pulse_core::project::Project;
use pulse_core::run::{RunError, RunRecord, RunState, TriggerId};
use pulse_core::settings::Settings;
use pulse_core::trigger::TriggerExit;
use pulse_core::{Error, ErrorKind, Result};
use pulse_engine::job::check_roots;
use pulse_engine::table::Lake;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Places, SubmitRequest};
use crate::driver::{DriveOptions, Driven, Interruption, Placement, Submission, drive};
use crate::ledger::{LeaseKeeper, Limits, Origin, RunStore, SubmissionRecord};

/// Times in a lease's length that a scheduler looks for triggers that nobody drives.
const LOOKS_PER_LEASE: u32 = 2;
/// How long a scheduler that stops waits for its drivers to let go of their triggers.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);

/// What the API needs to drive triggers.
pub struct Api {
    places: Arc<dyn Places>,
    settings: Settings,
    /// The ledger that remembers the other lakes.
    home: RunStore,
    leave: watch::Sender<bool>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// By URL; the scheduler's own among them.
    lakes: BTreeMap<String, RunStore>,
    /// Being driven in this process.
    driven: BTreeSet<TriggerId>,
    drivers: JoinSet<()>,
    /// A trigger was begun since [`Api::was_busy`] was last asked.
    worked: bool,
}

impl Api {
    /// `home` is the lake that the scheduler was started with.
    ///
    /// # Errors
    /// `Invalid` when the lake cannot be opened.
    pub fn new(places: Arc<dyn Places>, home: &Lake, settings: Settings) -> Result<Arc<Self>> {
        let ledger = RunStore::new(home)?;
        let known = Known { lakes: [(home.root().to_string(), ledger.clone())].into(), ..Known::default() };
        let (leave, _) = watch::channel(false);
        Ok(Arc::new(Self { places, settings, home: ledger, leave, known: Mutex::new(known) }))
    }

    /// Whether a trigger was driven here since this was last asked, be its runs running or queued.
    pub fn was_busy(&self) -> bool {
        let mut known = self.lock();
        std::mem::take(&mut known.worked) || !known.driven.is_empty()
    }

    pub(super) fn executors(&self) -> usize {
        self.places.executors()
    }

    /// Takes a trigger in; it runs on when whoever asked is gone, and when this process is.
    pub(super) async fn submit(self: &Arc<Self>, request: SubmitRequest) -> Result<TriggerId> {
        let lake = self.places.lake(&request.lake).await?;
        // What cannot be driven is refused before it is written.
        let (project, graph) = asked(&request)?;
        check_roots(&project, graph.order())?;
        let prepared = self.prepare(&request, &lake)?;
        let ledger = self.know(&lake).await?;
        let id = TriggerId::new(Utc::now(), rand::random());
        let id = ledger.submit(id, request, Limits::of(&self.settings)).await?;
        if ledger.exit(&id).await?.is_none() {
            self.spawn(id.clone(), ledger, prepared);
        }
        Ok(id)
    }

    /// The ledger that a trigger was submitted to.
    pub(super) async fn ledger_of(&self, trigger: &TriggerId) -> Result<Option<RunStore>> {
        let mut looked_at = 0;
        loop {
            let ledgers: Vec<RunStore> = self.lock().lakes.values().cloned().collect();
            for ledger in &ledgers {
                if ledger.submission(trigger).await?.is_some() {
                    return Ok(Some(ledger.clone()));
                }
            }
            // Just started, or submitted to another scheduler.
            if looked_at == ledgers.len() {
                return Ok(None);
            }
            looked_at = ledgers.len();
            self.remember().await?;
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
        for id in ledger.open().await? {
            if self.lock().driven.contains(&id) {
                continue;
            }
            if ledger.is_driven(&id, Utc::now(), self.settings.lease()).await? {
                continue;
            }
            // A mark without a submission: its maker has not come that far, or never will.
            let Some(submission) = ledger.submission(&id).await? else { continue };
            let SubmissionRecord { request, limits, .. } = submission;
            let lake = self.places.lake(&request.lake).await?;
            let prepared = self
                .prepare(&request, &lake)
                .map(|prepared| Prepared { options: DriveOptions::new(&limits.within(&self.settings)), ..prepared });
            match prepared {
                Ok(prepared) => self.spawn(id, ledger.clone(), prepared),
                Err(error) => self.refuse(&id, ledger, &error).await?,
            }
        }
        Ok(())
    }

    /// A trigger that was accepted once and cannot be driven by this build: told, and not tried for ever.
    async fn refuse(&self, id: &TriggerId, ledger: &RunStore, error: &Error) -> Result<()> {
        let options = self.settings.lease();
        let Some(lease) = LeaseKeeper::claim(ledger, id, Origin::Submitted, options).await? else { return Ok(()) };
        log::error!("trigger {id}: {error}");
        let now = Utc::now();
        for mut record in ledger.records(id).await?.into_iter().filter(|record| !record.state.is_final()) {
            record.state = RunState::Failed;
            record.ended = Some(now.timestamp_millis());
            record.error = Some(RunError::from(error));
            let Some(epoch) = lease.epoch().await else { return Ok(()) };
            ledger.put(&record, epoch).await?;
        }
        match lease.epoch().await {
            Some(epoch) => ledger.end(id, epoch, TriggerExit::RunFailed.code(), now).await,
            None => Ok(()),
        }
    }

    fn prepare(&self, request: &SubmitRequest, lake: &Lake) -> Result<Prepared> {
        let (project, graph) = asked(request)?;
        let placement = self.places.placement(project, lake, request.on)?;
        let options = DriveOptions::new(&self.settings);
        Ok(Prepared { placement, graph, asked: request.asked, options })
    }

    /// The ledger of a lake, whose triggers are looked after from now on.
    async fn know(&self, lake: &Lake) -> Result<RunStore> {
        let url = lake.root().to_string();
        if let Some(ledger) = self.lock().lakes.get(&url) {
            return Ok(ledger.clone());
        }
        let ledger = RunStore::new(lake)?;
        if let Err(error) = self.home.remember_lake(lake).await {
            log::warn!("after a restart, triggers of {url} are not taken up: {error}");
        }
        self.lock().lakes.insert(url, ledger.clone());
        Ok(ledger)
    }

    async fn remember(&self) -> Result<()> {
        for url in self.home.lakes().await? {
            let lake = self.places.lake(&url).await?;
            let ledger = RunStore::new(&lake)?;
            self.lock().lakes.entry(lake.root().to_string()).or_insert(ledger);
        }
        Ok(())
    }

    fn spawn(self: &Arc<Self>, id: TriggerId, ledger: RunStore, prepared: Prepared) {
        let mut leave = self.leave.subscribe();
        let mut known = self.lock();
        if *leave.borrow() || !known.driven.insert(id.clone()) {
            return;
        }
        known.worked = true;
        while known.drivers.try_join_next().is_some() {}
        let api = Arc::clone(self);
        known.drivers.spawn(async move {
            let Prepared { placement, graph, asked: wanted, options } = prepared;
            let origin = Origin::Submitted;
            let submission = Submission { trigger: id.clone(), origin, graph, asked: wanted, options };
            let (notices, _) = tokio::sync::mpsc::unbounded_channel();
            let asked = async {
                if leave.wait_for(|leave| *leave).await.is_err() {
                    std::future::pending::<()>().await;
                }
                Interruption::Leave
            };
            match drive(placement, submission, notices, asked).await {
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
            api.lock().driven.remove(&id);
        });
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An alarm listens for these lines.
async fn tell_failures(id: &TriggerId, ledger: &RunStore) {
    match ledger.records(id).await {
        Ok(records) => failures(&records).iter().for_each(|line| log::error!("{line}")),
        Err(error) => log::error!("run failed: of {id}; which one cannot be read: {error}"),
    }
}

/// Which run and what kind of error come first, on a line of their own: an error may be long, and what ships lines may cut it.
fn failures(records: &[RunRecord]) -> Vec<String> {
    let failed = records.iter().filter(|record| record.state == RunState::Failed);
    failed
        .map(|record| match &record.error {
            Some(error) => format!("run failed: {} ({:?})\n{}", record.run, error.kind, error.root()),
            None => format!("run failed: {}", record.run),
        })
        .collect()
}

fn asked(request: &SubmitRequest) -> Result<(Project, Graph)> {
    let project = Project::parse(&request.files)?;
    project.check_names(&request.variables)?;
    let project = project.with_variables(&request.variables);
    project.check_asked(&request.jobs, request.asked.interval)?;
    let graph = Graph::new(&project)?;
    let graph = if request.jobs.is_empty() { graph } else { graph.select(&request.jobs)? };
    project.check_values(graph.order())?;
    Ok((project, graph))
}

/// All that a driver needs.
struct Prepared {
    placement: Placement,
    graph: Graph,
    asked: Asked,
    options: DriveOptions,
}

#[cfg(test)]
mod tests {
    use pulse_core::run::RunId;

    use super::*;

    /// `infra/modules/observability` counts lines with these words.
    #[test]
    fn a_failed_run_is_told_by_a_short_line_before_its_error() {
        let trigger: TriggerId = "20260101T000000-0000000a".parse().unwrap();
        let run = |job: &str, state: RunState| RunRecord {
            state,
            ..RunRecord::queued(RunId::new(trigger.clone(), job.parse().unwrap()))
        };
        let long = "x".repeat(10_000);
        let failed = RunRecord {
            error: Some(RunError::new(ErrorKind::Data, long.clone())),
            ..run("silver.bars", RunState::Failed)
        };
        let lines = failures(&[run("silver.a", RunState::Succeeded), failed, run("silver.c", RunState::Skipped)]);
        assert_eq!(lines, [format!("run failed: 20260101T000000-0000000a-silver.bars (Data)\n{long}")]);
    }
}
