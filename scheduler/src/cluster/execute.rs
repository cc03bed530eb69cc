//! Runs one plan on the cluster: submits it, watches it and fetches its result. Cancels it when its caller stops waiting.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use ballista_core::JobId;
use ballista_core::error::BallistaError;
use ballista_core::extension::SessionConfigExt;
use ballista_core::serde::protobuf::PartitionLocation;
use ballista_core::serde::protobuf::job_status::Status;
use ballista_scheduler::state::execution_stage::ExecutionStage;
use datafusion::execution::SessionState;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion::prelude::SessionContext;
use pulse_core::run::Place;
use pulse_core::settings::Settings;
use pulse_core::{Error, Result};
use pulse_engine::cluster::with_ballista;
use pulse_engine::execute::{Execute, Progress, Reached};
use pulse_transport::Door;

use super::Server;
use super::attempts::done;
use super::failure::{failure, no_executor};
use super::fetch::{By, fetch};
use super::members::Members;
use super::rows_read::RowsRead;
use super::stages::{Prepared, prepare};

/// Polling interval of a plan's state; short against the duration of a task.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Time limit for Ballista to take a plan from its queue.
const QUEUE_LIMIT: Duration = Duration::from_secs(60);
/// Interval between cancels of a plan that nobody waits for, until it has ended.
const CANCEL_EVERY: Duration = Duration::from_millis(100);

/// Delays before each request to delete a plan's files on executors. A cancelled task writes until its batch ends, which takes longer on a
/// busy machine.
const LATE_TASKS: [Duration; 3] = [Duration::ZERO, Duration::from_secs(2), Duration::from_secs(4)];
/// Attempts at one plan if the executor that held its result was lost.
const PLAN_ATTEMPTS: usize = 3;

/// Runs plans on the executors of one cluster. Plans must come from a session of `pulse_engine::cluster`.
#[derive(Clone)]
pub struct OnCluster {
    pub(super) server: Server,
    pub(super) members: Arc<Members>,
    read: RowsRead,
    settings: Settings,
    by: By,
}

impl OnCluster {
    pub(super) fn new(server: Server, members: Arc<Members>, read: RowsRead, settings: Settings, door: &Door) -> Self {
        let by = By::new(&settings, door);
        Self { server, members, read, settings, by }
    }

    /// Number of executors that accept tasks.
    pub fn executors(&self) -> usize {
        self.members.count()
    }

    /// Submits a plan, waits for its end and fetches the result.
    async fn carry_out(
        &self,
        name: &str,
        context: Arc<SessionContext>,
        prepared: &Prepared,
        progress: Progress<'_>,
    ) -> std::result::Result<Vec<Vec<RecordBatch>>, Failed> {
        let mut job = self.submit(name, context, Arc::clone(&prepared.plan)).await?;
        let locations = self.wait(name, &job.id, progress).await?;
        job.ended = true;
        fetch(name, locations, prepared.partitions, &self.by, &self.members).await.map_err(Failed::Fetch)
    }

    /// Submits a plan in a task of its own, so that the plan is also cancelled if the caller stops waiting during the call.
    async fn submit(&self, name: &str, context: Arc<SessionContext>, plan: Arc<dyn ExecutionPlan>) -> Result<Job> {
        let (server, read, of) = (self.server.clone(), self.read.clone(), name.to_owned());
        let submitting = tokio::spawn(async move {
            let id = server.submit_physical_plan(&of, context, plan, None).await?;
            Ok::<_, BallistaError>(Job { server, read, id, ended: false })
        });
        let refused = |why: &dyn Display| Error::internal(format!("{name}: Ballista does not take the plan: {why}"));
        submitting.await.map_err(|e| refused(&e))?.map_err(|e| refused(&e))
    }

    async fn wait(&self, name: &str, job: &JobId, progress: Progress<'_>) -> Result<Vec<PartitionLocation>> {
        let mut unseen = Duration::ZERO;
        let mut reported = (0, 0);
        loop {
            let status = self.server.state.task_manager.get_job_status(job).await;
            let status = status.map_err(|e| Error::internal(format!("{name}: its state is unknown: {e}")))?;
            match status.and_then(|status| status.status) {
                Some(Status::Successful(done)) => {
                    let rows = self.read.of(job.as_str());
                    progress(Reached { done: reported.1, tasks: reported.1, rows, bytes: 0 });
                    return Ok(done.partition_location);
                }
                Some(Status::Failed(failed)) => return Err(failure(name, &failed.error, self.executors())),
                Some(Status::Running(_)) => {
                    let now = self.tasks(job).await.unwrap_or(reported);
                    if now != reported {
                        reported = now;
                        let rows = self.read.of(job.as_str());
                        progress(Reached { done: reported.0, tasks: reported.1, rows, bytes: 0 });
                    }
                }
                Some(Status::Queued(_)) => {}
                None if unseen > QUEUE_LIMIT => return Err(Error::internal(format!("{name}: Ballista lost the plan"))),
                None => unseen += LOOK_EVERY,
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Ended partitions and total partitions of all stages.
    async fn tasks(&self, job: &JobId) -> Option<(usize, usize)> {
        let running = self.server.state.task_manager.get_running_job_cache();
        let graph = running.get(job)?.execution_graph.read().await;
        let mut tasks = (0, 0);
        for stage in graph.stages().values() {
            let (done, all) = match stage {
                ExecutionStage::UnResolved(stage) => (0, inputs(&stage.plan)),
                ExecutionStage::Resolved(stage) => (0, stage.partitions),
                ExecutionStage::Running(stage) => (done(&stage.task_infos), stage.partitions),
                ExecutionStage::Successful(stage) => (stage.partitions, stage.partitions),
                ExecutionStage::Failed(stage) => (0, stage.partitions),
            };
            tasks = (tasks.0 + done, tasks.1 + all);
        }
        Some(tasks)
    }
}

#[async_trait]
impl Execute for OnCluster {
    fn place(&self) -> Place {
        Place::Cluster
    }

    async fn execute(
        &self,
        name: &str,
        state: &SessionState,
        plan: Arc<dyn ExecutionPlan>,
        progress: Progress<'_>,
    ) -> Result<Vec<Vec<RecordBatch>>> {
        let config = with_ballista(state.config().clone(), &self.settings).with_ballista_job_name(name);
        let prepared = prepare(plan, config.options())?;
        if self.executors() == 0 {
            return Err(no_executor(name));
        }
        // A builder would replace the catalog that all clones share with an empty one.
        let mut state = state.clone();
        *state.config_mut() = config;
        let context = Arc::new(SessionContext::new_with_state(state));
        for _ in 1..PLAN_ATTEMPTS {
            match self.carry_out(name, Arc::clone(&context), &prepared, progress).await {
                Ok(answer) => return Ok(answer),
                Err(Failed::Plan(error)) => return Err(error),
                Err(Failed::Fetch(error)) => log::warn!("{error}; the plan is carried out again"),
            }
        }
        self.carry_out(name, context, &prepared, progress).await.map_err(Failed::into_error)
    }
}

/// The failed part. Another attempt at the plan helps only if its result was lost.
enum Failed {
    Plan(Error),
    Fetch(Error),
}

impl Failed {
    fn into_error(self) -> Error {
        match self {
            Self::Plan(error) | Self::Fetch(error) => error,
        }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Plan(error)
    }
}

/// A submitted plan. When it is dropped, its files on executors are deleted; if it has not ended, it is cancelled first.
struct Job {
    server: Server,
    read: RowsRead,
    id: JobId,
    ended: bool,
}

impl Drop for Job {
    fn drop(&mut self) {
        self.read.forget(self.id.as_str());
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (server, id, ended) = (self.server.clone(), self.id.clone(), self.ended);
        runtime.spawn(async move {
            if !ended && let Err(error) = cancel(&server, &id).await {
                log::warn!("Ballista job {id} cannot be cancelled: {error}");
            }
            // The result was fetched or is not wanted. Ballista would keep it for a while, and ignores tasks that end after
            // their job.
            for wait in LATE_TASKS {
                tokio::time::sleep(wait).await;
                server.state.executor_manager.clean_up_job_data(id.clone());
            }
        });
    }
}

/// Cancels a plan and returns when it no longer runs. Ballista plans outside its event queue: a cancel that arrives before planning
/// has ended has no effect, and the plan would run although nobody waits for it.
async fn cancel(server: &Server, id: &JobId) -> std::result::Result<(), BallistaError> {
    for _ in 0..QUEUE_LIMIT.as_millis() / CANCEL_EVERY.as_millis() {
        let status = server.state.task_manager.get_job_status(id).await?;
        match status.and_then(|status| status.status) {
            Some(Status::Failed(_) | Status::Successful(_)) => return Ok(()),
            Some(Status::Running(_)) => server.cancel_job(id.clone()).await?,
            Some(Status::Queued(_)) | None => {}
        }
        tokio::time::sleep(CANCEL_EVERY).await;
    }
    Err(BallistaError::Internal(format!("it has not ended after {} s", QUEUE_LIMIT.as_secs())))
}

fn inputs(plan: &Arc<dyn ExecutionPlan>) -> usize {
    plan.children().first().map_or(0, |root| root.output_partitioning().partition_count())
}
