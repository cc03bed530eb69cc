//! The calls of the scheduler's service that executors may make. All other calls of Ballista's service are refused: only the driver,
//! which knows who may submit, submits plans.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use ballista_core::JobId;
use ballista_core::error::BallistaError;
use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpc;
use ballista_core::serde::protobuf::{
    CancelJobParams, CancelJobResult, CleanJobDataParams, CleanJobDataResult, CreateUpdateSessionParams,
    CreateUpdateSessionResult, ExecuteQueryParams, ExecuteQueryResult, ExecutorStoppedParams, ExecutorStoppedResult,
    GetJobMetricsParams, GetJobMetricsResult, GetJobStatusParams, GetJobStatusResult, HeartBeatParams, HeartBeatResult,
    PollWorkParams, PollWorkResult, RegisterExecutorParams, RegisterExecutorResult, RemoveSessionParams,
    RemoveSessionResult, TaskStatus, UpdateTaskStatusParams, UpdateTaskStatusResult,
};
use ballista_scheduler::state::execution_stage::ExecutionStage;
use futures::stream::BoxStream;
use pulse_engine::cluster::SCHEDULER_KEY;
use tokio::sync::Mutex;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Request, Response, Status};

use super::Server;
use super::registration::{judge_heartbeat, judge_registration, judge_report};
use super::rows_read::RowsRead;

type Answer<T> = Result<Response<T>, Status>;

pub(super) struct Service {
    server: Server,
    read: RowsRead,
    /// Generated at each start. Executors accept only tasks with this key.
    key: MetadataValue<Ascii>,
    taken: Mutex<Taken>,
}

impl Service {
    /// # Errors
    /// If `key` is not a valid header value.
    pub(super) fn new(server: Server, read: RowsRead, key: &str) -> Result<Self, BallistaError> {
        let mut key: MetadataValue<Ascii> =
            key.parse().map_err(|_| BallistaError::Configuration("the scheduler's key is no header".to_owned()))?;
        key.set_sensitive(true);
        Ok(Self { server, read, key, taken: Mutex::default() })
    }

    fn with_key<T>(&self, mut answer: Response<T>) -> Response<T> {
        answer.metadata_mut().insert(SCHEDULER_KEY, self.key.clone());
        answer
    }

    /// Leaves out reports at which Ballista would panic. They are not refused, because executors send refused reports again.
    async fn of_known_tasks(&self, reports: Vec<TaskStatus>) -> Vec<TaskStatus> {
        let mut known = Vec::with_capacity(reports.len());
        for report in reports {
            match judge_report(&report, self.tasks_beside(&report).await) {
                Ok(()) => known.push(report),
                Err(why) => log::warn!("the report of task {} of a plan is left out: {why}", report.task_id),
            }
        }
        known
    }

    /// Number of tasks in the stage of a report; `None` if Ballista does not look among them.
    async fn tasks_beside(&self, report: &TaskStatus) -> Option<usize> {
        let (stage, attempt) =
            (usize::try_from(report.stage_id).ok()?, usize::try_from(report.stage_attempt_num).ok()?);
        let running = self.server.state.task_manager.get_running_job_cache();
        let graph = running.get(&JobId::from(report.job_id.clone()))?.execution_graph.read().await;
        match graph.stages().get(&stage)? {
            ExecutionStage::Running(stage) if attempt >= stage.stage_attempt_num => Some(stage.task_infos.len()),
            _ => None,
        }
    }
}

#[async_trait]
impl SchedulerGrpc for Service {
    async fn register_executor(&self, request: Request<RegisterExecutorParams>) -> Answer<RegisterExecutorResult> {
        judge_registration(request.get_ref().metadata.as_ref()).map_err(Status::invalid_argument)?;
        SchedulerGrpc::register_executor(&self.server, request).await.map(|answer| self.with_key(answer))
    }

    async fn heart_beat_from_executor(&self, request: Request<HeartBeatParams>) -> Answer<HeartBeatResult> {
        judge_heartbeat(request.get_ref()).map_err(Status::invalid_argument)?;
        SchedulerGrpc::heart_beat_from_executor(&self.server, request).await.map(|answer| self.with_key(answer))
    }

    async fn executor_stopped(&self, request: Request<ExecutorStoppedParams>) -> Answer<ExecutorStoppedResult> {
        SchedulerGrpc::executor_stopped(&self.server, request).await
    }

    async fn get_job_status(&self, request: Request<GetJobStatusParams>) -> Answer<GetJobStatusResult> {
        SchedulerGrpc::get_job_status(&self.server, request).await
    }

    /// Executors send a report again if its answer was lost; Ballista would count the task's output twice.
    async fn update_task_status(&self, request: Request<UpdateTaskStatusParams>) -> Answer<UpdateTaskStatusResult> {
        let UpdateTaskStatusParams { executor_id, task_status } = request.into_inner();
        let mut taken = self.taken.lock().await;
        let task_status = self.of_known_tasks(task_status).await;
        let (news, reports) = taken.news(&executor_id, task_status);
        let running = self.server.state.task_manager.get_running_job_cache();
        let is_running = |job: &str| running.keys().any(|running| running.as_str() == job);
        // Before Ballista knows that the plan has ended.
        self.read.note(&news, is_running);
        let report = UpdateTaskStatusParams { executor_id, task_status: news };
        // Nothing waits between Ballista's word and the note of it: a connection that breaks meanwhile leaves neither or both.
        let answer = SchedulerGrpc::update_task_status(&self.server, Request::new(report)).await?;
        let running = self.server.state.task_manager.get_running_job_cache();
        taken.note(reports, |job| running.keys().any(|running| running.as_str() == job));
        Ok(answer)
    }

    type ExecuteQueryPushStream = BoxStream<'static, Result<GetJobStatusResult, Status>>;

    async fn execute_query_push(&self, _: Request<ExecuteQueryParams>) -> Answer<Self::ExecuteQueryPushStream> {
        Err(refused())
    }

    async fn execute_query(&self, _: Request<ExecuteQueryParams>) -> Answer<ExecuteQueryResult> {
        Err(refused())
    }

    async fn create_update_session(&self, _: Request<CreateUpdateSessionParams>) -> Answer<CreateUpdateSessionResult> {
        Err(refused())
    }

    async fn remove_session(&self, _: Request<RemoveSessionParams>) -> Answer<RemoveSessionResult> {
        Err(refused())
    }

    async fn get_job_metrics(&self, _: Request<GetJobMetricsParams>) -> Answer<GetJobMetricsResult> {
        Err(refused())
    }

    async fn cancel_job(&self, _: Request<CancelJobParams>) -> Answer<CancelJobResult> {
        Err(refused())
    }

    async fn clean_job_data(&self, _: Request<CleanJobDataParams>) -> Answer<CleanJobDataResult> {
        Err(refused())
    }

    async fn poll_work(&self, _: Request<PollWorkParams>) -> Answer<PollWorkResult> {
        Err(refused())
    }
}

fn refused() -> Status {
    Status::unimplemented("this port is for executors: submit jobs to the API (`pulse submit`)")
}

/// Reports of tasks of running plans.
#[derive(Default)]
struct Taken {
    by_job: HashMap<String, HashSet<Report>>,
}

/// Identifies the report of one attempt at one task. A restarted stage uses the same task numbers again, so the time is part of it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Report {
    executor: String,
    stage: u32,
    stage_attempt: u32,
    task: u32,
    launched_ms: u64,
    ended_ms: u64,
}

impl Taken {
    /// The reports that were not accepted before, and the keys to store once they are.
    fn news(&self, executor: &str, statuses: Vec<TaskStatus>) -> (Vec<TaskStatus>, Vec<(String, Report)>) {
        let named = statuses.into_iter().map(|status| {
            let report = Report {
                executor: executor.to_owned(),
                stage: status.stage_id,
                stage_attempt: status.stage_attempt_num,
                task: status.task_id,
                launched_ms: status.launch_time,
                ended_ms: status.end_exec_time,
            };
            (status, report)
        });
        let new = named.filter(|(status, report)| {
            let repeated = self.by_job.get(&status.job_id).is_some_and(|reports| reports.contains(report));
            if repeated {
                log::info!("plan {}: {report:?} came again and counts once", status.job_id);
            }
            !repeated
        });
        let noted = |(status, report): (TaskStatus, Report)| (status.clone(), (status.job_id, report));
        new.map(noted).unzip()
    }

    /// Forgets ended plans.
    fn note(&mut self, reports: Vec<(String, Report)>, is_running: impl Fn(&str) -> bool) {
        for (job, report) in reports {
            self.by_job.entry(job).or_default().insert(report);
        }
        self.by_job.retain(|job, _| is_running(job));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ballista_core::BALLISTA_PROTOCOL_VERSION;
    use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
    use ballista_core::serde::protobuf::{
        ExecutorOperatingSystemSpecification, ExecutorRegistration, ExecutorSpecification,
    };
    use pulse_core::settings::Settings;
    use pulse_engine::build::build;
    use pulse_transport::{Authority, Door, Keyring, Keys, Role};
    use tonic::Code;
    use tonic::transport::{Channel, Endpoint};

    use super::super::Cluster;
    use super::*;

    async fn client(cluster: &Cluster, door: &Door) -> Result<SchedulerGrpcClient<Channel>, tonic::transport::Error> {
        let plain = Endpoint::from_shared(format!("http://{}", cluster.address()))?;
        Ok(SchedulerGrpcClient::new(door.way(plain, Role::Scheduler, None)?.connect().await?))
    }

    /// The scheduler checks whether something listens at `port`.
    fn registration(build: &str, port: u16) -> RegisterExecutorParams {
        let metadata = ExecutorRegistration {
            id: format!("{build}.x"),
            host: Some("127.0.0.1".to_owned()),
            grpc_port: port.into(),
            specification: Some(ExecutorSpecification::default()),
            os_info: Some(ExecutorOperatingSystemSpecification::default()),
            ballista_protocol_version: BALLISTA_PROTOCOL_VERSION,
            ..ExecutorRegistration::default()
        };
        RegisterExecutorParams { metadata: Some(metadata) }
    }

    #[tokio::test]
    async fn a_stranger_cannot_join() {
        let settings = Settings { scheduler_port: 0, ..Settings::default() };
        let cluster = Cluster::start(&settings, Arc::default()).await.unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let strangers = Authority::new(1).unwrap();
        let of = |role| Door::Locked(Arc::new(Keyring::fixed(Keys::issued(&strangers, role, 1).unwrap())));
        let scheduler = Door::of(&settings, Role::Scheduler).unwrap();
        for door in [Door::Open, of(Role::Executor), of(Role::Scheduler), scheduler] {
            let joined = async {
                client(&cluster, &door).await.ok()?.register_executor(registration(&build(), port)).await.ok()
            };
            assert!(joined.await.is_none(), "{door:?}");
        }
        assert_eq!(cluster.executors(), 0);
        let own = Door::of(&settings, Role::Executor).unwrap();
        let other_build = client(&cluster, &own).await.unwrap().register_executor(registration("other", port)).await;
        let refusal = other_build.unwrap_err().to_string();
        assert!(refusal.contains("same binary") && !refusal.contains(&build()), "{refusal}");
    }

    #[tokio::test]
    async fn what_is_not_whole_is_refused_and_ends_no_task() {
        let settings = Settings { scheduler_port: 0, ..Settings::default() };
        let cluster = Cluster::start(&settings, Arc::default()).await.unwrap();
        let mut client = client(&cluster, &Door::of(&settings, Role::Executor).unwrap()).await.unwrap();
        let RegisterExecutorParams { metadata } = registration(&build(), 1);
        let without = ExecutorRegistration { specification: None, ..metadata.unwrap() };
        let registered = RegisterExecutorParams { metadata: Some(without.clone()) };
        assert_eq!(client.register_executor(registered).await.unwrap_err().code(), Code::InvalidArgument);
        let beat =
            HeartBeatParams { executor_id: without.id.clone(), metadata: Some(without), ..HeartBeatParams::default() };
        assert_eq!(client.heart_beat_from_executor(beat).await.unwrap_err().code(), Code::InvalidArgument);
        assert_eq!(cluster.executors(), 0);
    }

    #[tokio::test]
    async fn executors_are_answered_and_plans_of_others_refused() {
        let settings = Settings { scheduler_port: 0, ..Settings::default() };
        let cluster = Cluster::start(&settings, Arc::default()).await.unwrap();
        let mut client = client(&cluster, &Door::of(&settings, Role::Executor).unwrap()).await.unwrap();
        let question = GetJobStatusParams { job_id: "unknown".to_owned() };
        assert_eq!(client.get_job_status(question).await.unwrap().get_ref().status, None);
        let refused = client.execute_query(ExecuteQueryParams::default()).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unimplemented);
        assert!(refused.message().contains("pulse submit"), "{refused}");
    }

    fn ended(job: &str, task: u32, ended_ms: u64) -> TaskStatus {
        TaskStatus { job_id: job.to_owned(), task_id: task, end_exec_time: ended_ms, ..TaskStatus::default() }
    }

    fn take(taken: &mut Taken, executor: &str, statuses: Vec<TaskStatus>) -> Vec<(String, u32)> {
        let (news, reports) = taken.news(executor, statuses);
        taken.note(reports, |job| job != "over");
        news.into_iter().map(|status| (status.job_id, status.task_id)).collect()
    }

    #[test]
    fn a_report_that_comes_again_is_no_news() {
        let mut taken = Taken::default();
        let reports = || vec![ended("a", 0, 10), ended("b", 0, 10)];
        assert_eq!(take(&mut taken, "x", reports()), [("a".to_owned(), 0), ("b".to_owned(), 0)]);
        assert_eq!(take(&mut taken, "x", reports()), []);
        let more = vec![ended("a", 0, 10), ended("a", 1, 10)];
        assert_eq!(take(&mut taken, "x", more), [("a".to_owned(), 1)]);
    }

    #[test]
    fn another_attempt_under_the_same_number_is_news() {
        let mut taken = Taken::default();
        take(&mut taken, "x", vec![ended("a", 0, 10)]);
        assert_eq!(take(&mut taken, "y", vec![ended("a", 0, 10)]).len(), 1);
        assert_eq!(take(&mut taken, "x", vec![ended("a", 0, 11)]).len(), 1);
        let stage_anew = TaskStatus { stage_attempt_num: 1, ..ended("a", 0, 10) };
        assert_eq!(take(&mut taken, "x", vec![stage_anew]).len(), 1);
    }

    #[test]
    fn what_was_not_noted_is_news_again() {
        let taken = Taken::default();
        assert_eq!(taken.news("x", vec![ended("a", 0, 10)]).0.len(), 1);
        assert_eq!(taken.news("x", vec![ended("a", 0, 10)]).0.len(), 1);
    }

    #[test]
    fn plans_that_ended_take_no_memory() {
        let mut taken = Taken::default();
        take(&mut taken, "x", vec![ended("a", 0, 10), ended("over", 0, 10)]);
        assert_eq!(taken.by_job.keys().collect::<Vec<_>>(), ["a"]);
    }
}
