//! One life of an executor: Ballista's servers and loops, from registration to the last word to the scheduler. Put together
//! here because Ballista's own process takes the signals and leaves before others have read its shuffles.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_flight::flight_service_server::FlightServiceServer;
use ballista_core::error::BallistaError;
use ballista_core::extension::SessionConfigExt;
use ballista_core::serde::protobuf::executor_grpc_server::ExecutorGrpcServer;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::{BallistaCodec, BallistaLogicalExtensionCodec};
use ballista_core::utils::{GrpcClientConfig, create_grpc_client_endpoint, create_grpc_server};
use ballista_executor::execution_engine::ExecutionEngine;
use ballista_executor::executor::Executor;
use ballista_executor::executor_process::{ExecutorProcessConfig, structure_executor_metadata};
use ballista_executor::metrics::LoggingMetricsCollector;
use ballista_executor::runtime_cache::DefaultSessionRuntimeCache;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use pulse_transport::{Door, Incoming, Role};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tonic::transport::Channel;
use tonic::transport::server::Router;

use crate::drain::drain;
use crate::flight::Shuffles;
use crate::forgotten::remove_forgotten;
use crate::metrics::Metrics;
use crate::place::Listeners;
use crate::scheduler::{Scheduler, is_unanswered};
use crate::server::{Codec, Server};
use crate::tasks::Tasks;

/// Requests to stop that may wait to be taken; one is enough.
const STOP_REQUESTS: usize = 4;
/// For a last word to the scheduler.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// From one attempt to reach the scheduler to the next.
const CONNECT_EVERY: Duration = Duration::from_millis(500);

/// Calls of one connection that are answered at once, and those that may wait.
const CALLS: usize = 128;
const STREAMS: u32 = 256;

pub(crate) type Engine = Arc<dyn ExecutionEngine>;
type Outcome<T> = std::result::Result<T, BallistaError>;

/// How a life ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Somebody wanted it to.
    Asked,
    /// The scheduler gave it up, or did not answer any more.
    Lost,
}

/// What Ballista's config does not hold.
pub(crate) struct Limits {
    pub(crate) memory_bytes: u64,
    pub(crate) drain: Duration,
    pub(crate) metrics: Arc<Metrics>,
}

/// Runs tasks until `leave` or until the scheduler is lost. Ends drained: no new tasks, the running ones finished and its shuffles
/// read, as far as `limits.drain` allows.
///
/// # Errors
/// Ballista's, when the scheduler is not reached, does not take this executor, or a port cannot be used.
pub(crate) async fn live(
    config: ExecutorProcessConfig,
    engine: Engine,
    (door, listeners): (&Door, Listeners),
    folder: &Path,
    limits: &Limits,
    leave: impl Future<Output = ()>,
) -> Outcome<Ended> {
    let channel = connect(&config, door).await?;
    let config = Arc::new(config);
    let executor = Arc::new(executor(&config, Arc::clone(&engine), folder, limits)?);
    let bytes = config.grpc_max_decoding_message_size as usize;
    let client = SchedulerGrpcClient::new(channel).max_decoding_message_size(bytes).max_encoding_message_size(bytes);
    let scheduler = Arc::new(Scheduler::new(client, executor.metadata.clone()));
    let (ended, reports) = mpsc::unbounded_channel();
    let (stop, mut stop_requests) = mpsc::channel(STOP_REQUESTS);
    let server = Server {
        executor: Arc::clone(&executor),
        codec: codec(&config),
        tasks: Arc::new(Tasks::new(Arc::clone(&executor), engine, ended, Arc::clone(&limits.metrics))?),
        scheduler: Arc::clone(&scheduler),
        folder: folder.to_owned(),
        stop,
    };
    // Dropped with all that is below, which ends all of it.
    let mut servers =
        servers(&config, door, listeners, server, Shuffles::new(folder.to_owned(), Arc::clone(&limits.metrics)))?;
    // The scheduler calls back while it takes this executor in.
    if let Err(error) = scheduler.register().await {
        // Their ports are free for the next life.
        servers.shutdown().await;
        return not_taken(error.into()).await;
    }
    let mut loops = JoinSet::new();
    loops.spawn({
        let scheduler = Arc::clone(&scheduler);
        async move { scheduler.reports(reports).await }
    });
    let outcome = tokio::select! {
        () = leave => Ok(Ended::Asked),
        _ = stop_requests.recv() => Ok(Ended::Lost),
        () = scheduler.beats(Duration::from_secs(config.executor_heartbeat_interval_seconds)) => Ok(Ended::Lost),
        failed = servers.join_next() => Err(broken(failed)),
        never = remove_forgotten(scheduler.client(), folder) => match never {},
    };
    if let Ok(Ended::Asked) = outcome {
        scheduler.leave();
        notify(scheduler.beat()).await;
        let beats = scheduler.beats(Duration::from_secs(config.executor_heartbeat_interval_seconds));
        tokio::select! {
            () = drain(&executor, folder, limits.drain) => {}
            // Nobody is left to read its shuffles.
            () = beats => {}
        }
        notify(scheduler.stopped()).await;
    }
    servers.shutdown().await;
    outcome
}

/// A scheduler that dies while it takes an executor in is lost, as one that dies later is; one that answers has refused.
async fn not_taken(error: BallistaError) -> Outcome<Ended> {
    if !matches!(&error, BallistaError::GrpcError(status) if is_unanswered(status)) {
        return Err(error);
    }
    log::warn!("the scheduler did not answer the registration: {error}");
    tokio::time::sleep(CONNECT_EVERY).await;
    Ok(Ended::Lost)
}

async fn connect(config: &ExecutorProcessConfig, door: &Door) -> Outcome<Channel> {
    let sessions = config.override_config_producer.as_ref().ok_or_else(missing("the session's config"))?;
    let grpc = GrpcClientConfig::from(&sessions().ballista_config());
    let url = format!("http://{}:{}", config.scheduler_host, config.scheduler_port);
    let wrong = |e: &dyn std::fmt::Display| BallistaError::Configuration(format!("the scheduler's address: {e}"));
    let endpoint = || {
        let plain = create_grpc_client_endpoint(url.clone(), Some(&grpc)).map_err(|e| wrong(&e))?;
        let limit = Duration::from_secs(grpc.timeout_seconds);
        door.way(plain, Role::Scheduler, Some(limit)).map_err(|e| wrong(&e))
    };
    let began = Instant::now();
    let limit = Duration::from_secs(config.scheduler_connect_timeout_seconds.into());
    loop {
        // With the certificates as they are now.
        match endpoint()?.connect().await {
            Ok(channel) => return Ok(channel),
            Err(error) if began.elapsed() > limit => return Err(BallistaError::General(causes(&error))),
            Err(error) => {
                log::debug!("the scheduler is not reached: {}", causes(&error));
                tokio::time::sleep(CONNECT_EVERY).await;
            }
        }
    }
}

fn missing(what: &str) -> impl Fn() -> BallistaError {
    move || BallistaError::Configuration(format!("{what} is missing"))
}

/// With what lies below it: tonic's own words are "transport error".
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(cause) = below {
        text = format!("{text}: {cause}");
        below = cause.source();
    }
    text
}

fn executor(config: &Arc<ExecutorProcessConfig>, engine: Engine, folder: &Path, limits: &Limits) -> Outcome<Executor> {
    let base = config.override_runtime_producer.clone().ok_or_else(missing("the runtime"))?;
    let sessions = config.override_config_producer.clone().ok_or_else(missing("the session's config"))?;
    let share = usize::try_from(limits.memory_bytes).unwrap_or(usize::MAX) / config.vcores.max(1);
    // Each task gets a share as large as the slots it takes.
    let metrics = Arc::clone(&limits.metrics);
    let pool = Arc::new(move |base: Arc<_>, _: &_, slots: u32| {
        let bytes = share.saturating_mul(slots.max(1) as usize);
        RuntimeEnvBuilder::from_runtime_env(&base).with_memory_pool(metrics.pool(bytes)).build_arc()
    });
    let runtimes = DefaultSessionRuntimeCache::new(Arc::clone(&base), pool, config.session_runtime_cache_capacity);
    let vcores = u32::try_from(config.vcores).unwrap_or(u32::MAX);
    let executor = Executor::new(
        structure_executor_metadata(config, vcores),
        &folder.display().to_string(),
        base,
        sessions,
        config.override_function_registry.clone().unwrap_or_default(),
        Arc::new(LoggingMetricsCollector::default()),
        config.vcores,
        engine,
    );
    Ok(executor.with_session_runtime_cache(Some(Arc::new(runtimes))))
}

fn codec(config: &ExecutorProcessConfig) -> Codec {
    match &config.override_physical_codec {
        Some(physical) => BallistaCodec::new(Arc::new(BallistaLogicalExtensionCodec::default()), Arc::clone(physical)),
        None => BallistaCodec::default(),
    }
}

/// For tasks, from the scheduler; and for shuffled rows, from executors and the scheduler.
fn servers(
    config: &ExecutorProcessConfig,
    door: &Door,
    listeners: Listeners,
    server: Server,
    shuffles: Shuffles,
) -> Outcome<JoinSet<Outcome<()>>> {
    let (decoding, encoding) =
        (config.grpc_max_decoding_message_size as usize, config.grpc_max_encoding_message_size as usize);
    let tasks = ExecutorGrpcServer::new(server).max_decoding_message_size(decoding).max_encoding_message_size(encoding);
    let flight =
        FlightServiceServer::new(shuffles).max_decoding_message_size(decoding).max_encoding_message_size(encoding);
    let grpc = || {
        create_grpc_server(&config.grpc_server_config)
            .concurrency_limit_per_connection(CALLS)
            .max_concurrent_streams(Some(STREAMS))
    };
    let mut servers = JoinSet::new();
    servers.spawn(serve(grpc().add_service(tasks), incoming(door, listeners.grpc, &[Role::Scheduler])?));
    servers.spawn(serve(
        grpc().add_service(flight),
        incoming(door, listeners.flight, &[Role::Executor, Role::Scheduler])?,
    ));
    Ok(servers)
}

fn incoming(door: &Door, listener: std::net::TcpListener, roles: &'static [Role]) -> Outcome<Incoming> {
    Ok(door.listen(TcpListener::from_std(listener)?, roles))
}

async fn serve(router: Router, incoming: Incoming) -> Outcome<()> {
    router.serve_with_incoming(incoming).await.map_err(BallistaError::TonicError)
}

/// The scheduler finds out by itself, only later.
async fn notify<T, E: std::fmt::Display>(call: impl Future<Output = std::result::Result<T, E>>) {
    match tokio::time::timeout(STOP_GRACE, call).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => log::warn!("the scheduler does not know that the executor stops: {error}"),
        Err(_) => log::warn!("the scheduler does not know that the executor stops: it does not answer"),
    }
}

fn broken(ended: Option<std::result::Result<Outcome<()>, JoinError>>) -> BallistaError {
    match ended {
        None | Some(Ok(Ok(()))) => BallistaError::General("a server of the executor ended".to_owned()),
        Some(Ok(Err(error))) => error,
        Some(Err(error)) => BallistaError::TokioError(error),
    }
}
