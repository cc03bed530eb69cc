//! The cluster from the point of view of the process that plans and commits: Ballista's scheduler, and executors that run plans.

mod attempts;
mod execute;
mod failure;
mod fetch;
mod load;
mod members;
mod registration;
mod rows_read;
mod service;
mod shuffles;
mod speculation;
mod stages;
mod validate;

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::error::BallistaError;
use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpcServer;
use ballista_core::utils::{GrpcServerConfig, create_grpc_server};
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::{SchedulerConfig, TaskDistributionPolicy};
use ballista_scheduler::scheduler_process::create_scheduler;
use ballista_scheduler::scheduler_server::{JobIdGenerator, SchedulerServer};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use pulse_core::settings::Settings;
use pulse_core::{Error, Result};
use pulse_engine::build::build;
use pulse_engine::cluster::{cluster_config, cluster_state, grpc_bytes, job_id};
use pulse_engine::codec::PhysicalCodec;
use pulse_transport::{Door, Role};
use tokio::net::{TcpListener, lookup_host};

use members::Members;
use rows_read::RowsRead;
use service::Service;

pub use execute::OnCluster;
pub use validate::validate;

type Server = SchedulerServer<LogicalPlanNode, PhysicalPlanNode>;

/// Polling interval for silent executors.
const EXPIRY_CHECK_SECONDS: u64 = 1;
/// Time for which executors keep the rows of a finished plan, unless they are deleted before.
const RESULT_KEPT_SECONDS: u64 = 60;
/// Attempts at one task before its plan fails; an attempt that ended with its executor does not count.
const TASK_ATTEMPTS: usize = 4;
/// Attempts at one stage if its input is lost with executors.
const STAGE_ATTEMPTS: usize = 8;
/// Time for which running plans wait for another executor when the last one is lost.
const NO_EXECUTOR_SECONDS: u64 = 30;
/// Time for which the state of a finished plan is kept. Executors delete the files of plans that the scheduler does not know.
const PLAN_KEPT_SECONDS: u64 = 2 * RESULT_KEPT_SECONDS;
/// Time limit of a call to an executor; decoding a plan of many files takes a while.
const CALL_LIMIT: Duration = Duration::from_secs(60);
/// Maximum number of concurrent calls of one executor, and of waiting ones.
const CALLS: usize = 128;
const STREAMS: u32 = 256;
/// Polling interval for registered executors.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The scheduler of one cluster, in this process. It stops when this is dropped.
pub struct Cluster {
    on_cluster: OnCluster,
    address: SocketAddr,
    listening: tokio::task::JoinHandle<()>,
    speculating: Option<tokio::task::JoinHandle<()>>,
}

impl Cluster {
    /// Listens for executors at `scheduler_port`. `runtime` knows the stores, for plans that are made here.
    ///
    /// # Errors
    /// `Invalid` when the port cannot be used, or when others could reach it and nothing would keep them out.
    pub async fn start(settings: &Settings, runtime: Arc<RuntimeEnv>) -> Result<Self> {
        let door = Door::of(settings, Role::Scheduler)?;
        let listener = listen(settings).await?;
        let address = listener.local_addr().map_err(|e| failed("look up the scheduler's port", e.into()))?;
        let key = format!("{:032x}", rand::random::<u128>());
        let config = Arc::new(config(settings, address, &key, &door, runtime));
        config.validate().map_err(|e| failed("set up the scheduler", e))?;
        let memory = BallistaCluster::new_from_config(&config).await.map_err(|e| failed("set up the scheduler", e))?;
        let members = Arc::new(Members::new(build(), settings.executor_timeout(), settings.speculation_factor));
        let cluster = BallistaCluster::new(Arc::clone(&members) as _, memory.job_state());
        let server: Server = create_scheduler(cluster, config).await.map_err(|e| failed("start the scheduler", e))?;
        let read = RowsRead::default();
        let service = Service::new(server.clone(), read.clone(), &key).map_err(|e| failed("start the scheduler", e))?;
        let service = SchedulerGrpcServer::new(service)
            .max_decoding_message_size(grpc_bytes(settings))
            .max_encoding_message_size(grpc_bytes(settings));
        let router = create_grpc_server(&GrpcServerConfig::default())
            .timeout(CALL_LIMIT)
            .concurrency_limit_per_connection(CALLS)
            .max_concurrent_streams(Some(STREAMS))
            .add_service(service);
        let incoming = door.listen(listener, &[Role::Executor]);
        let listening = tokio::spawn(async move {
            if let Err(error) = router.serve_with_incoming(incoming).await {
                log::error!("the scheduler no longer listens for executors: {error}");
            }
        });
        let factor = settings.speculation_factor;
        let watch = || tokio::spawn(speculation::watch(server.clone(), Arc::clone(&members) as _, factor));
        let speculating = (factor > 0).then(watch);
        log::info!("scheduler at {address}");
        Ok(Self {
            on_cluster: OnCluster::new(server, members, read, settings.clone(), &door),
            address,
            listening,
            speculating,
        })
    }

    /// The address at which executors reach it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Number of executors that accept tasks: their last heartbeat is not older than `executor_timeout_s`, and they are not leaving.
    pub fn executors(&self) -> usize {
        self.on_cluster.executors()
    }

    /// Waits until `count` executors are registered.
    ///
    /// # Errors
    /// `Unavailable` when there are fewer after `limit`.
    pub async fn wait_for_executors(&self, count: usize, limit: Duration) -> Result<()> {
        let start = Instant::now();
        while self.executors() < count {
            if start.elapsed() > limit {
                return Err(Error::unavailable(format!(
                    "{} of {count} executors are registered after {} s: start more with `pulse serve executor`",
                    self.executors(),
                    limit.as_secs()
                )));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Runs plans on this cluster; plans come from a session of `pulse_engine::cluster`.
    pub fn on_cluster(&self) -> OnCluster {
        self.on_cluster.clone()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.listening.abort();
        self.speculating.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// Binds to the address of the configured name; to all addresses of the machine only if the name belongs to another network.
async fn listen(settings: &Settings) -> Result<TcpListener> {
    let host = &settings.scheduler_host;
    let named = lookup_host((host.as_str(), settings.scheduler_port)).await;
    let named: Vec<SocketAddr> = named.into_iter().flatten().collect();
    let addresses: Vec<SocketAddr> = named.iter().copied().filter(SocketAddr::is_ipv4).collect();
    if addresses.is_empty() && !named.is_empty() {
        return Err(Error::invalid(format!(
            "`scheduler_host` is {host}, which has no IPv4 address, and executors need one: use another, such as 127.0.0.1"
        )));
    }
    let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, settings.scheduler_port));
    let bound = match TcpListener::bind(addresses.as_slice()).await {
        Err(error) if addresses.is_empty() || error.kind() == ErrorKind::AddrNotAvailable => {
            TcpListener::bind(everywhere).await
        }
        bound => bound,
    };
    bound.map_err(|e| {
        Error::invalid(format!("port {} (`scheduler_port`) cannot be used; choose another", settings.scheduler_port))
            .with_source(e)
    })
}

fn config(
    settings: &Settings,
    address: SocketAddr,
    key: &str,
    door: &Door,
    runtime: Arc<RuntimeEnv>,
) -> SchedulerConfig {
    let door = door.clone();
    let grpc = u32::try_from(grpc_bytes(settings)).unwrap_or(u32::MAX);
    let producer_settings = settings.clone();
    let builder_settings = settings.clone();
    SchedulerConfig {
        // Goes with every task; executors report to the scheduler that they know, and take tasks from nobody else.
        external_host: key.to_owned(),
        bind_host: address.ip().to_string(),
        bind_port: address.port(),
        scheduling_policy: TaskSchedulingPolicy::PushStaged,
        // Tasks of one stage spread over machines, so that their memory and network do too.
        task_distribution: TaskDistributionPolicy::RoundRobin,
        executor_timeout_seconds: settings.executor_timeout_s,
        expire_dead_executor_interval_seconds: EXPIRY_CHECK_SECONDS.min(settings.executor_timeout_s),
        no_executors_grace_period_seconds: NO_EXECUTOR_SECONDS,
        task_max_failures: TASK_ATTEMPTS,
        stage_max_failures: STAGE_ATTEMPTS,
        // One that leaves says so when its tasks have ended and its shuffles were read.
        executor_termination_grace_period: 0,
        finished_job_data_clean_up_interval_seconds: RESULT_KEPT_SECONDS,
        finished_job_state_clean_up_interval_seconds: PLAN_KEPT_SECONDS,
        grpc_server_max_decoding_message_size: grpc,
        grpc_server_max_encoding_message_size: grpc,
        grpc_client_max_message_size: grpc,
        override_config_producer: Some(Arc::new(move || cluster_config(&producer_settings, 1))),
        override_session_builder: Some(Arc::new(move |config| {
            let mut state = cluster_state(&builder_settings, 1, Arc::clone(&runtime));
            *state.config_mut() = config;
            Ok(state)
        })),
        job_id_generator: Some(Arc::new(JobIds::new())),
        override_physical_codec: Some(Arc::new(PhysicalCodec::default())),
        override_create_grpc_client_endpoint: Some(Arc::new(move |endpoint| {
            door.way(endpoint, Role::Executor, Some(CALL_LIMIT)).map_err(Into::into)
        })),
        ..SchedulerConfig::default()
    }
}

/// Generates names by which executors recognize the plans of this process.
#[derive(Debug)]
struct JobIds {
    scheduler: String,
    next: AtomicU64,
}

impl JobIds {
    fn new() -> Self {
        Self { scheduler: format!("{:08x}", rand::random::<u32>()), next: AtomicU64::new(1) }
    }
}

#[async_trait]
impl JobIdGenerator for JobIds {
    async fn next_id(&self) -> String {
        job_id(&self.scheduler, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

fn failed(doing: &str, error: BallistaError) -> Error {
    Error::invalid(format!("{doing}: {error}"))
}
