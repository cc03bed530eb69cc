//! Tasks that this executor was given: each runs on threads of its own pool, and its end is reported.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ballista_core::error::BallistaError;
use ballista_core::serde::protobuf::{FailedTask, ShuffleWritePartition, SuccessfulTask, TaskStatus, task_status};
use ballista_core::serde::scheduler::{TaskDefinition, TaskKey};
use ballista_executor::execution_engine::{ExecutionEngine, QueryStageExecutor};
use ballista_executor::executor::Executor;
use datafusion::execution::TaskContext;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

use crate::metrics::Metrics;

type Outcome<T> = std::result::Result<T, BallistaError>;

pub(crate) struct Tasks {
    executor: Arc<Executor>,
    engine: Arc<dyn ExecutionEngine>,
    ended: mpsc::UnboundedSender<TaskStatus>,
    metrics: Arc<Metrics>,
    /// Apart from what answers heartbeats and hands out shuffles.
    pool: Option<Runtime>,
}

impl Tasks {
    /// # Errors
    /// When threads cannot be made.
    pub(crate) fn new(
        executor: Arc<Executor>,
        engine: Arc<dyn ExecutionEngine>,
        ended: mpsc::UnboundedSender<TaskStatus>,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<Self> {
        let pool = Builder::new_multi_thread()
            .enable_all()
            .thread_name("task_runner")
            .worker_threads(executor.vcores.max(1))
            .build()?;
        Ok(Self { executor, engine, ended, metrics, pool: Some(pool) })
    }

    /// Runs it at some time; how it ended is reported.
    pub(crate) fn run(&self, task: TaskDefinition) {
        let Some(pool) = &self.pool else { return };
        let (executor, engine, ended) = (Arc::clone(&self.executor), Arc::clone(&self.engine), self.ended.clone());
        let metrics = Arc::clone(&self.metrics);
        pool.spawn(async move {
            let running = metrics.running();
            let status = run(&executor, engine.as_ref(), task).await;
            metrics.ended(&status);
            drop(running);
            // Nobody listens when the executor has ended.
            let _ = ended.send(status);
        });
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        // Tasks were cancelled before. The last owner may be a task itself, which must not wait.
        if let Some(pool) = self.pool.take() {
            pool.shutdown_background();
        }
    }
}

async fn run(executor: &Executor, engine: &dyn ExecutionEngine, task: TaskDefinition) -> TaskStatus {
    let mut status = TaskStatus {
        task_id: number(task.task_id),
        job_id: task.job_id.to_string(),
        stage_id: number(task.stage_id),
        stage_attempt_num: number(task.stage_attempt_num),
        launch_time: task.launch_time,
        start_exec_time: now_ms(),
        ..TaskStatus::default()
    };
    let ended = match begin(executor, engine, &task) {
        Ok((stage, context)) => finish(executor, task, stage, context, &mut status).await,
        Err(error) => Err(error),
    };
    status.end_exec_time = now_ms();
    status.status = Some(match ended {
        Ok(done) => task_status::Status::Successful(done),
        Err(error) => {
            log::info!("task {} of {} failed: {error}", status.task_id, status.job_id);
            task_status::Status::Failed(FailedTask::from(error))
        }
    });
    status
}

type Begun = (Arc<dyn QueryStageExecutor>, Arc<TaskContext>);

fn begin(executor: &Executor, engine: &dyn ExecutionEngine, task: &TaskDefinition) -> Outcome<Begun> {
    let stage = engine.create_query_stage_exec(
        task.job_id.clone(),
        task.stage_id,
        task.task_id,
        task.global_output_partition_ids.clone(),
        Arc::clone(&task.plan),
        executor.work_dir(),
        &task.session_config,
    )?;
    let runtime = executor.produce_runtime_for_session(&task.session_id, &task.session_config, task.vcores_consumed)?;
    let functions = &task.function_registry;
    let name = format!(
        "TID {}/{}.{}/{}.{}",
        task.job_id, task.stage_id, task.stage_attempt_num, task.task_id, task.task_attempt_num
    );
    let context = TaskContext::new(
        Some(name),
        task.session_id.clone(),
        task.session_config.clone(),
        functions.scalar_functions.clone(),
        functions.higher_order_functions.clone(),
        functions.aggregate_functions.clone(),
        functions.window_functions.clone(),
        runtime,
    );
    Ok((stage, Arc::new(context)))
}

async fn finish(
    executor: &Executor,
    task: TaskDefinition,
    stage: Arc<dyn QueryStageExecutor>,
    context: Arc<TaskContext>,
    status: &mut TaskStatus,
) -> Outcome<SuccessfulTask> {
    let key = TaskKey { job_id: task.job_id, stage_id: task.stage_id, task_id: task.task_id };
    let written: Outcome<Vec<ShuffleWritePartition>> =
        executor.execute_query_stage(key, Arc::clone(&stage), context).await;
    let metrics = stage.collect_plan_metrics().into_iter().map(TryInto::try_into);
    status.metrics = metrics.collect::<Outcome<_>>().unwrap_or_default();
    Ok(SuccessfulTask {
        executor_id: executor.metadata.id.clone(),
        partitions: written?,
        runtime_stats: stage.collect_runtime_stats_reports(),
        task_column_stats: stage.collect_column_stats(),
        window_state: stage.collect_window_state_reports()?,
    })
}

fn number(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
