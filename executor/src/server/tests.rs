//! Rogue schedulers, with Ballista's own client.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use ballista_core::execution_plans::ShuffleWriterExec;
use ballista_core::extension::SessionConfigExt as _;
use ballista_core::serde::BallistaLogicalExtensionCodec;
use ballista_core::serde::protobuf::executor_grpc_client::ExecutorGrpcClient;
use ballista_core::serde::protobuf::executor_grpc_server::ExecutorGrpcServer;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::protobuf::{ExecutorRegistration, TaskId, TaskStatus, task_status};
use ballista_executor::execution_engine::DefaultExecutionEngine;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::prelude::{CsvReadOptions, SessionConfig, SessionContext};
use datafusion_proto::physical_plan::AsExecutionPlan as _;
use pulse_engine::cluster::SCHEDULER_KEY;
use pulse_engine::codec::PhysicalCodec;
use pulse_metrics::Process;
use pulse_transport::{Authority, Door, Keyring, Keys, Role};
use tokio::net::TcpListener;
use tonic::Code;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};

use super::*;
use crate::metrics::Metrics;

mod fuzz;

const KEY: &str = "00112233445566778899aabbccddeeff";
const JOB: &str = "00aa00aa-1";

struct Running {
    address: SocketAddr,
    authority: Authority,
    ended: mpsc::UnboundedReceiver<TaskStatus>,
    work: tempfile::TempDir,
}

fn door(authority: &Authority, role: Role) -> Door {
    Door::Locked(Arc::new(Keyring::fixed(Keys::issued(authority, role, 1).unwrap())))
}

/// With the reports of its tasks.
fn server(work: &Path) -> (Server, mpsc::UnboundedReceiver<TaskStatus>) {
    let registration = ExecutorRegistration { id: "b.x".to_owned(), ..ExecutorRegistration::default() };
    // Nobody answers there: what is not known at once stays unknown.
    let client = SchedulerGrpcClient::new(Endpoint::from_static("http://127.0.0.1:1").connect_lazy());
    let scheduler = Scheduler::new(client, registration.clone());
    let mut metadata = MetadataMap::new();
    metadata.insert(SCHEDULER_KEY, KEY.parse().unwrap());
    scheduler.note(&metadata);
    let executor = Arc::new(Executor::new_basic(
        registration,
        &work.display().to_string(),
        Arc::new(|_: &SessionConfig| Ok(Arc::new(RuntimeEnv::default()))),
        Arc::new(SessionConfig::new_with_ballista),
        1,
    ));
    let (reports, ended) = mpsc::unbounded_channel();
    let metrics = Arc::new(Metrics::new(1, 1, Process::new("b".to_owned(), 1)).unwrap());
    let tasks = Tasks::new(Arc::clone(&executor), Arc::new(DefaultExecutionEngine::new()), reports, metrics).unwrap();
    let codec = Codec::new(Arc::new(BallistaLogicalExtensionCodec::default()), Arc::new(PhysicalCodec::default()));
    let (stop, _) = mpsc::channel(1);
    let (scheduler, folder) = (Arc::new(scheduler), work.to_owned());
    (Server { executor, codec, tasks: Arc::new(tasks), scheduler, folder, stop }, ended)
}

async fn executor() -> Running {
    let work = tempfile::tempdir().unwrap();
    let authority = Authority::new(1).unwrap();
    let (server, ended) = server(work.path());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = door(&authority, Role::Executor).listen(listener, &[Role::Scheduler]);
    let serving = tonic::transport::Server::builder().add_service(ExecutorGrpcServer::new(server));
    tokio::spawn(serving.serve_with_incoming(incoming));
    Running { address, authority, ended, work }
}

impl Running {
    async fn client(&self, door: &Door) -> Result<ExecutorGrpcClient<Channel>, tonic::transport::Error> {
        let plain = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        Ok(ExecutorGrpcClient::new(door.way(plain, Role::Executor, None)?.connect().await?))
    }

    async fn scheduler(&self) -> ExecutorGrpcClient<Channel> {
        self.client(&door(&self.authority, Role::Scheduler)).await.unwrap()
    }
}

/// A task of `sql`, which may read `secret`, a file of CSV.
async fn launch(sql: &str, secret: &Path, key: &str) -> LaunchMultiTaskParams {
    let context = SessionContext::new();
    let options = CsvReadOptions::new().has_header(false).file_extension("");
    context.register_csv("secret", secret.display().to_string(), options).await.unwrap();
    let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    let plan = ShuffleWriterExec::try_new(JOB.to_owned().into(), 1, plan, String::new()).unwrap();
    let codec = PhysicalCodec::default();
    let node = PhysicalPlanNode::try_from_physical_plan(Arc::new(plan), &codec).unwrap();
    let mut bytes = Vec::new();
    node.try_encode(&mut bytes).unwrap();
    let task = TaskId { global_output_partition_ids: vec![0], vcores_consumed: 1, ..TaskId::default() };
    let multi_tasks = vec![MultiTaskDefinition {
        task_ids: vec![task],
        job_id: JOB.to_owned(),
        stage_id: 1,
        plan: bytes,
        session_id: "s".to_owned(),
        ..MultiTaskDefinition::default()
    }];
    LaunchMultiTaskParams { multi_tasks, scheduler_endpoint: format!("{key}:50050") }
}

fn secret(parent: &Path) -> std::path::PathBuf {
    let file = parent.join("secret");
    std::fs::write(&file, "CANARY\n").unwrap();
    file
}

#[tokio::test]
async fn its_scheduler_may_hand_out_tasks_and_only_plans_of_pulse_run() {
    let mut executor = executor().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let secret = secret(elsewhere.path());
    let mut client = executor.scheduler().await;
    let answer = client.launch_multi_task(launch("select 7 as x", &secret, KEY).await).await.unwrap();
    assert_eq!(answer.get_ref().failed_jobs, [""; 0]);
    let ended = executor.ended.recv().await.unwrap();
    assert!(matches!(ended.status, Some(task_status::Status::Successful(_))), "{ended:?}");
    assert!(executor.work.path().join(JOB).is_dir());
    let target = elsewhere.path().join("written");
    for sql in ["select * from secret".to_owned(), format!("copy (select 1) to '{}' stored as csv", target.display())] {
        let answer = client.launch_multi_task(launch(&sql, &secret, KEY).await).await.unwrap();
        assert_eq!(answer.get_ref().failed_jobs, [JOB], "{sql}");
    }
    assert!(executor.ended.try_recv().is_err(), "nothing ran");
    assert!(!target.exists());
}

#[tokio::test]
async fn another_scheduler_of_the_cluster_may_not() {
    let mut executor = executor().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let secret = secret(elsewhere.path());
    let mut client = executor.scheduler().await;
    for key in ["", "127.0.0.1", "ffffffffffffffffffffffffffffffff"] {
        let refused = client.launch_multi_task(launch("select 7 as x", &secret, key).await).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{key}");
    }
    let one = launch("select 7 as x", &secret, KEY).await;
    let task = LaunchTaskParams { tasks: Vec::new(), scheduler_endpoint: one.scheduler_endpoint };
    assert_eq!(client.launch_task(task).await.unwrap_err().code(), Code::Unimplemented);
    assert!(executor.ended.try_recv().is_err(), "nothing ran");
}

#[tokio::test]
async fn strangers_and_other_roles_do_not_get_in() {
    let mut executor = executor().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let secret = secret(elsewhere.path());
    let strangers = Authority::new(1).unwrap();
    let doors = [
        ("no TLS", Door::Open),
        ("another authority", door(&strangers, Role::Scheduler)),
        ("an executor", door(&executor.authority, Role::Executor)),
        ("a client", door(&executor.authority, Role::Client)),
    ];
    for (who, door) in doors {
        let called = async {
            let mut client = executor.client(&door).await.ok()?;
            client.launch_multi_task(launch("select 7 as x", &secret, KEY).await).await.ok()
        };
        assert!(called.await.is_none(), "{who}");
        let removed = async {
            let params = RemoveJobDataParams { job_id: JOB.to_owned(), remove_stage_ids: Vec::new() };
            executor.client(&door).await.ok()?.remove_job_data(params).await.ok()
        };
        assert!(removed.await.is_none(), "{who}");
    }
    assert!(executor.ended.try_recv().is_err(), "nothing ran");
}

#[tokio::test]
async fn only_folders_of_jobs_are_removed() {
    let executor = executor().await;
    let outside = tempfile::tempdir_in(executor.work.path().parent().unwrap()).unwrap();
    let kept = outside.path().join("kept");
    std::fs::write(&kept, "").unwrap();
    let stage = executor.work.path().join(JOB).join("1");
    std::fs::create_dir_all(&stage).unwrap();
    std::os::unix::fs::symlink(outside.path(), executor.work.path().join("00aa00aa-2")).unwrap();
    let mut client = executor.scheduler().await;
    let name = outside.path().file_name().unwrap().to_string_lossy().into_owned();
    for job in [format!("../{name}"), outside.path().display().to_string(), "..".to_owned(), "00aa00aa-2".to_owned()] {
        let params = RemoveJobDataParams { job_id: job.clone(), remove_stage_ids: Vec::new() };
        client.remove_job_data(params).await.expect_err(&job);
    }
    assert!(kept.exists());
    client.remove_job_data(RemoveJobDataParams { job_id: JOB.to_owned(), remove_stage_ids: vec![1] }).await.unwrap();
    assert!(!stage.exists());
    client.remove_job_data(RemoveJobDataParams { job_id: JOB.to_owned(), remove_stage_ids: Vec::new() }).await.unwrap();
    assert!(!executor.work.path().join(JOB).exists());
}
