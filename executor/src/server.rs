//! What a scheduler asks of this executor. Ballista's own server takes any plan from anybody, so this one stands in its place.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use ballista_core::serde::BallistaCodec;
use ballista_core::serde::protobuf::executor_grpc_server::ExecutorGrpc;
use ballista_core::serde::protobuf::{
    CancelTasksParams, CancelTasksResult, LaunchMultiTaskParams, LaunchMultiTaskResult, LaunchTaskParams,
    LaunchTaskResult, MultiTaskDefinition, RemoveJobDataParams, RemoveJobDataResult, StopExecutorParams,
    StopExecutorResult,
};
use ballista_core::serde::scheduler::TaskDefinition;
use ballista_core::serde::scheduler::from_proto::get_task_definition_vec;
use ballista_executor::executor::Executor;
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use tokio::sync::mpsc;
use tonic::{Request, Response, Status};

use crate::allowed::check;
use crate::job::{is_name, named, without_links};
use crate::place::wipe;
use crate::scheduler::Scheduler;
use crate::tasks::Tasks;

type Answer<T> = Result<Response<T>, Status>;
pub(crate) type Codec = BallistaCodec<LogicalPlanNode, PhysicalPlanNode>;

pub(crate) struct Server {
    pub(crate) executor: Arc<Executor>,
    pub(crate) codec: Codec,
    pub(crate) tasks: Arc<Tasks>,
    pub(crate) scheduler: Arc<Scheduler>,
    pub(crate) folder: PathBuf,
    pub(crate) stop: mpsc::Sender<()>,
}

impl Server {
    /// Decoders of plans panic at some that nobody makes.
    fn decode(&self, tasks: MultiTaskDefinition) -> Result<Vec<TaskDefinition>, String> {
        let decoded = catch_unwind(AssertUnwindSafe(|| self.decode_plan(tasks)));
        decoded.unwrap_or_else(|_| Err("its plan cannot be decoded".to_owned()))
    }

    fn decode_plan(&self, tasks: MultiTaskDefinition) -> Result<Vec<TaskDefinition>, String> {
        let job = tasks.job_id.clone();
        if !is_name(&job) {
            return Err("no job has such a name".to_owned());
        }
        let functions = &self.executor.function_registry;
        let tasks = get_task_definition_vec(
            tasks,
            Arc::clone(&self.executor.runtime_producer),
            self.executor.produce_config(),
            functions.scalar_functions.clone(),
            functions.aggregate_functions.clone(),
            functions.window_functions.clone(),
            functions.higher_order_functions.clone(),
            self.codec.clone(),
        )
        .map_err(|error| error.to_string())?;
        // All tasks have the same plan.
        tasks.first().map_or(Ok(()), |task| check(&task.plan, &job))?;
        Ok(tasks)
    }
}

#[async_trait]
impl ExecutorGrpc for Server {
    async fn launch_multi_task(&self, request: Request<LaunchMultiTaskParams>) -> Answer<LaunchMultiTaskResult> {
        let LaunchMultiTaskParams { multi_tasks, scheduler_endpoint } = request.into_inner();
        // Before anything is decoded.
        let key = scheduler_endpoint.split(':').next().unwrap_or_default();
        if !self.scheduler.is_known_by(key).await {
            log::warn!("tasks of a scheduler that this executor is not registered with are refused");
            return Err(Status::permission_denied("this executor is not yours"));
        }
        let mut failed_jobs = Vec::new();
        for tasks in multi_tasks {
            let job = tasks.job_id.clone();
            match self.decode(tasks) {
                Ok(tasks) => tasks.into_iter().for_each(|task| self.tasks.run(task)),
                Err(error) => {
                    log::error!("tasks of plan {job:?} are not taken: {error}");
                    failed_jobs.push(job);
                }
            }
        }
        failed_jobs.sort_unstable();
        failed_jobs.dedup();
        Ok(Response::new(LaunchMultiTaskResult { failed_jobs }))
    }

    /// No scheduler asks for it.
    async fn launch_task(&self, _: Request<LaunchTaskParams>) -> Answer<LaunchTaskResult> {
        Err(Status::unimplemented("tasks of one stage come together"))
    }

    async fn stop_executor(&self, request: Request<StopExecutorParams>) -> Answer<StopExecutorResult> {
        let StopExecutorParams { executor_id, reason, .. } = request.into_inner();
        if executor_id == self.scheduler.executor_id() {
            log::info!("the scheduler wants this executor to stop: {reason}");
            // A full queue holds the same wish.
            let _ = self.stop.try_send(());
        }
        Ok(Response::new(StopExecutorResult {}))
    }

    async fn cancel_tasks(&self, request: Request<CancelTasksParams>) -> Answer<CancelTasksResult> {
        let mut cancelled = true;
        for task in request.into_inner().task_infos {
            let (stage, number) = (task.stage_id as usize, task.task_id as usize);
            if let Err(error) = self.executor.cancel_task(task.job_id.into(), stage, number).await {
                log::error!("a task is not cancelled: {error}");
                cancelled = false;
            }
        }
        Ok(Response::new(CancelTasksResult { cancelled }))
    }

    /// Without stages, all of the job goes.
    async fn remove_job_data(&self, request: Request<RemoveJobDataParams>) -> Answer<RemoveJobDataResult> {
        let RemoveJobDataParams { job_id, remove_stage_ids } = request.into_inner();
        named(&job_id)?;
        let stages = remove_stage_ids.iter().map(|stage| vec![job_id.clone(), stage.to_string()]);
        let folders: Vec<Vec<String>> =
            if remove_stage_ids.is_empty() { vec![vec![job_id.clone()]] } else { stages.collect() };
        for parts in folders {
            without_links(&self.folder, &parts)?;
            wipe(&self.folder.join(parts.join("/"))).map_err(|e| Status::internal(e.message().to_owned()))?;
        }
        Ok(Response::new(RemoveJobDataResult {}))
    }
}

#[cfg(test)]
mod tests;
