//! Second attempts at slow tasks on other executors. Whichever ends first counts; the other is cancelled.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ballista_core::JobId;
use ballista_core::error::Result;
use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpc;
use ballista_core::serde::protobuf::task_status::Status;
use ballista_core::serde::protobuf::{TaskStatus, UpdateTaskStatusParams};
use ballista_core::serde::scheduler::{ExecutorMetadata, TaskKey};
use ballista_scheduler::cluster::{BoundTask, ClusterState};
use ballista_scheduler::state::execution_graph::{
    ExecutionGraphBox, RunningTaskInfo, TaskDescription, create_task_info,
};
use ballista_scheduler::state::execution_stage::{ExecutionStage, RunningStage};
use ballista_scheduler::state::task_manager::JobInfoCache;

use super::Server;
use super::attempts::{killed, racing, slow};

/// Polling interval for slow tasks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Free slots of executors, by name.
pub(super) type Slots = HashMap<String, u32>;

/// Starts second attempts at the slow tasks of all jobs, on executors with free slots.
///
/// # Errors
/// If Ballista does not accept a report.
pub(super) async fn second_attempts(
    jobs: &HashMap<JobId, JobInfoCache>,
    members: &[ExecutorMetadata],
    mut free: Slots,
    factor: u64,
) -> Result<Vec<BoundTask>> {
    let mut bound = Vec::new();
    for (job, info) in jobs {
        let mut graph = info.execution_graph.write().await;
        for (stage, first) in slow_tasks(&graph, factor) {
            let Some(ExecutionStage::Running(running)) = graph.stages().get(&stage) else { continue };
            let Some(of_first) = executor(running, first) else { continue };
            let vcores = running.task_infos[first].vcores_consumed;
            let Some(slot) = slot(&mut free, &of_first, vcores) else { continue };
            let Some(member) = members.iter().find(|member| member.id == of_first) else { continue };
            let session = graph.session_id().to_owned();
            let Some(stage) = reopened(&mut graph, stage, first, member)? else { continue };
            log::warn!("job {job}, stage {}: task {first} is slow on {of_first}; {slot} tries it too", stage.stage_id);
            bound.push((slot.clone(), second_attempt(job, session, stage, first, slot)));
        }
    }
    Ok(bound)
}

/// Stages and tasks.
fn slow_tasks(graph: &ExecutionGraphBox, factor: u64) -> Vec<(usize, usize)> {
    let running = graph.stages().values().filter_map(|stage| match stage {
        ExecutionStage::Running(stage) => Some(stage),
        _ => None,
    });
    let slow = |stage: &RunningStage| slow(&stage.task_infos, stage.partitions, now_ms(), factor);
    running.flat_map(|stage| slow(stage).into_iter().map(|task| (stage.stage_id, task))).collect()
}

/// Takes slots of the executor with the most free slots, other than the first attempt's, if it has enough.
fn slot(free: &mut Slots, of_first: &str, vcores: u32) -> Option<String> {
    let others = free.iter_mut().filter(|(id, slots)| *id != of_first && **slots >= vcores);
    let (executor, slots) = others.max_by_key(|(_, slots)| **slots)?;
    *slots -= vcores;
    Some(executor.clone())
}

/// Returns a running stage for writing. Ballista returns only stages with pending partitions: a report makes the task's partitions pending,
/// and they are taken again while the graph is locked.
fn reopened<'a>(
    graph: &'a mut ExecutionGraphBox,
    stage_id: usize,
    task: usize,
    member: &ExecutorMetadata,
) -> Result<Option<&'a mut RunningStage>> {
    let Some(ExecutionStage::Running(before)) = graph.stages().get(&stage_id) else { return Ok(None) };
    let (info, failures) = (before.task_infos[task].clone(), before.task_failure_numbers.clone());
    let report = report(graph, before, task, killed(true));
    graph.update_task_status(member, vec![report], usize::MAX, usize::MAX)?;
    let others: Vec<usize> = graph.stages().keys().copied().filter(|id| *id != stage_id).collect();
    let Some(stage) = graph.fetch_running_stage(&others) else { return Ok(None) };
    // Given back partitions are the first to be given out.
    stage.pending.next_slice(info.global_input_partition_ids.len());
    stage.task_infos[task] = info;
    stage.task_failure_numbers = failures;
    Ok(Some(stage))
}

fn report(graph: &ExecutionGraphBox, stage: &RunningStage, task: usize, status: Status) -> TaskStatus {
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    TaskStatus {
        task_id: number(task),
        job_id: graph.job_id().to_string(),
        stage_id: number(stage.stage_id),
        stage_attempt_num: number(stage.stage_attempt_num),
        status: Some(status),
        ..TaskStatus::default()
    }
}

fn second_attempt(
    job: &JobId,
    session_id: String,
    stage: &mut RunningStage,
    first: usize,
    executor: String,
) -> TaskDescription {
    let task = stage.task_infos.len();
    let partitions = stage.task_infos[first].global_input_partition_ids.clone();
    let vcores = stage.task_infos[first].vcores_consumed;
    let mut info = create_task_info(executor, task);
    info.global_input_partition_ids.clone_from(&partitions);
    info.vcores_consumed = vcores;
    stage.task_infos.push(info);
    TaskDescription {
        session_id,
        key: TaskKey { job_id: job.clone(), stage_id: stage.stage_id, task_id: task },
        stage_attempt_num: stage.stage_attempt_num,
        task_attempt: 0,
        global_input_partition_ids: partitions,
        vcores_consumed: vcores,
        plan: Arc::clone(&stage.plan),
        session_config: Arc::clone(&stage.session_config),
    }
}

fn executor(stage: &RunningStage, task: usize) -> Option<String> {
    match &stage.task_infos[task].task_status {
        Status::Running(running) => Some(running.executor_id.clone()),
        _ => None,
    }
}

fn now_ms() -> u128 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis()
}

/// Looks for slow tasks and cancels those whose other attempt has ended, until it is dropped.
pub(super) async fn watch(server: Server, members: Arc<dyn ClusterState>, factor: u64) {
    let mut raced: Vec<RunningTaskInfo> = Vec::new();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let members = members.registered_executor_metadata().await;
        let Some(member) = members.first() else { continue };
        match look(&server.state.task_manager.get_running_job_cache(), member, factor).await {
            Ok(look) => {
                // A plan that ended while they raced is not among the running ones any more.
                let over = raced.into_iter().filter(|task| !look.running.contains(&task.job_id));
                cancel(&server, over.chain(look.beaten).collect()).await;
                raced = look.racing;
                if look.slow {
                    offer(&server, &member.id).await;
                }
            }
            Err(error) => {
                log::warn!("slow tasks are not looked at: {error}");
                raced = Vec::new();
            }
        }
    }
}

async fn cancel(server: &Server, beaten: Vec<RunningTaskInfo>) {
    if beaten.is_empty() {
        return;
    }
    log::info!("{} tasks were beaten by another attempt and are cancelled", beaten.len());
    if let Err(error) = server.state.executor_manager.cancel_running_tasks(beaten).await {
        log::warn!("beaten tasks cannot be cancelled, and go on to no use: {error}");
    }
}

/// Makes Ballista start tasks, which it otherwise does only after a report.
async fn offer(server: &Server, executor: &str) {
    let nothing = UpdateTaskStatusParams { executor_id: executor.to_owned(), task_status: Vec::new() };
    if let Err(error) = SchedulerGrpc::update_task_status(server, tonic::Request::new(nothing)).await {
        log::warn!("slow tasks are not given out again: {error}");
    }
}

#[derive(Default)]
struct Look {
    running: Vec<JobId>,
    slow: bool,
    racing: Vec<RunningTaskInfo>,
    beaten: Vec<RunningTaskInfo>,
}

/// Makes Ballista ignore reports of tasks whose other attempt has ended.
async fn look(jobs: &HashMap<JobId, JobInfoCache>, member: &ExecutorMetadata, factor: u64) -> Result<Look> {
    let mut look = Look::default();
    for (id, job) in jobs {
        look.running.push(id.clone());
        let mut graph = job.execution_graph.write().await;
        look.slow |= !slow_tasks(&graph, factor).is_empty();
        let mut reports = Vec::new();
        for stage in graph.stages().values() {
            let ExecutionStage::Running(stage) = stage else { continue };
            let (racing, beaten) = racing(&stage.task_infos);
            let told = |task: &usize| {
                let executor_id = executor(stage, *task)?;
                Some(RunningTaskInfo { task_id: *task, job_id: id.clone(), stage_id: stage.stage_id, executor_id })
            };
            look.racing.extend(racing.iter().filter_map(told));
            look.beaten.extend(beaten.iter().filter_map(told));
            reports.extend(beaten.into_iter().map(|task| report(&graph, stage, task, killed(false))));
        }
        if !reports.is_empty() {
            graph.update_task_status(member, reports, usize::MAX, usize::MAX)?;
        }
    }
    Ok(look)
}
