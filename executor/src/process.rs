//! One life of an executor: Ballista's servers and loops, from registration to the last word to the scheduler. Put together
//! here because Ballista's own process takes the signals and leaves before others have read its shuffles.

use std::error::Error as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arrow_flight::flight_service_server::FlightServiceServer;
use ballista_core::error::BallistaError;
use ballista_core::extension::SessionConfigExt;
use ballista_core::serde::protobuf::executor_status::Status;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::protobuf::{ExecutorStatus, ExecutorStoppedParams, HeartBeatParams};
use ballista_core::serde::{BallistaCodec, BallistaLogicalExtensionCodec};
use ballista_core::utils::{GrpcClientConfig, create_grpc_client_endpoint, create_grpc_server};
use ballista_executor::executor::Executor;
use ballista_executor::executor_process::{ExecutorProcessConfig, structure_executor_metadata};
use ballista_executor::executor_server::{TERMINATING, startup};
use ballista_executor::flight_service::BallistaFlightService;
use ballista_executor::metrics::LoggingMetricsCollector;
use ballista_executor::runtime_cache::DefaultSessionRuntimeCache;
use ballista_executor::shutdown::{Shutdown, ShutdownNotifier};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::transport::Channel;

use crate::drain::drain;
use crate::forgotten::remove_forgotten;
use crate::report::Reports;

/// Requests to stop that may wait to be taken; one is enough.
const STOP_REQUESTS: usize = 4;
/// What is left to do after the scheduler was told that the executor goes.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// From one attempt to reach the scheduler to the next.
const CONNECT_EVERY: Duration = Duration::from_millis(500);

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
}

/// Runs tasks until `leave` or until the scheduler is lost. Ends drained: no new tasks, the running ones finished and its shuffles
/// read, as far as `limits.drain` allows.
///
/// # Errors
/// Ballista's, when the scheduler is not reached, does not take this executor, or a port cannot be used.
pub(crate) async fn live(
    mut config: ExecutorProcessConfig,
    folder: &Path,
    limits: &Limits,
    leave: impl Future<Output = ()>,
) -> Outcome<Ended> {
    let channel = connect(&config).await?;
    let reports = Reports::listen(channel.clone(), config.grpc_max_decoding_message_size as usize).await?;
    config.override_create_grpc_client_endpoint = Some(reports.instead());
    let config = Arc::new(config);
    let executor = Arc::new(executor(&config, folder, limits)?);
    let mut scheduler = SchedulerGrpcClient::new(channel);
    let notifier = ShutdownNotifier::new();
    let (stop, mut stop_requests) = mpsc::channel(STOP_REQUESTS);
    let mut flight = flight(&config, folder, notifier.subscribe_for_shutdown())?;
    let mut lost = notifier.subscribe_for_shutdown();
    let started = startup(
        scheduler.clone(),
        Arc::clone(&config),
        Arc::clone(&executor),
        codec(&config),
        stop,
        &notifier,
        config.health.clone(),
    );
    let mut server = match started.await {
        Ok(server) => server,
        Err(error) => {
            shut_down(notifier, [flight]).await;
            return not_taken(error).await;
        }
    };
    let ended = tokio::select! {
        () = leave => Ok(Ended::Asked),
        _ = stop_requests.recv() => Ok(Ended::Lost),
        () = lost.recv() => Ok(Ended::Lost),
        failed = &mut server => Err(broken(failed)),
        failed = &mut flight => Err(broken(failed)),
        never = remove_forgotten(scheduler.clone(), folder) => match never {},
    };
    if let Ok(Ended::Asked) = ended {
        TERMINATING.store(true, Ordering::Release);
        let status = Some(ExecutorStatus { status: Some(Status::Terminating(String::new())) });
        let metadata = Some(executor.metadata.clone());
        let executor_id = config.executor_id.clone();
        let params = HeartBeatParams { executor_id: executor_id.clone(), metrics: Vec::new(), status, metadata };
        told(scheduler.heart_beat_from_executor(params)).await;
        drain(&executor, folder, limits.drain).await;
        told(
            scheduler
                .executor_stopped(ExecutorStoppedParams { executor_id, reason: "it was asked to stop".to_owned() }),
        )
        .await;
    }
    shut_down(notifier, [server, flight]).await;
    ended
}

/// A scheduler that dies while it takes an executor in is lost, as one that dies later is; one that answers has refused.
async fn not_taken(error: BallistaError) -> Outcome<Ended> {
    if !is_unanswered(&error) {
        return Err(error);
    }
    log::warn!("the scheduler did not answer the registration: {error}");
    tokio::time::sleep(CONNECT_EVERY).await;
    Ok(Ended::Lost)
}

/// What a scheduler answers has no source: there the status itself is what went wrong.
fn is_unanswered(error: &BallistaError) -> bool {
    matches!(error, BallistaError::GrpcError(status) if status.source().is_some())
}

async fn connect(config: &ExecutorProcessConfig) -> Outcome<Channel> {
    let sessions = config.override_config_producer.as_ref().ok_or_else(missing("the session's config"))?;
    let grpc = GrpcClientConfig::from(&sessions().ballista_config());
    let url = format!("http://{}:{}", config.scheduler_host, config.scheduler_port);
    let endpoint = create_grpc_client_endpoint(url, Some(&grpc))
        .map_err(|e| BallistaError::Configuration(format!("the scheduler's address: {e}")))?;
    let began = Instant::now();
    let limit = Duration::from_secs(config.scheduler_connect_timeout_seconds.into());
    loop {
        match endpoint.connect().await {
            Ok(channel) => return Ok(channel),
            Err(error) if began.elapsed() > limit => return Err(error.into()),
            Err(_) => tokio::time::sleep(CONNECT_EVERY).await,
        }
    }
}

fn missing(what: &str) -> impl Fn() -> BallistaError {
    move || BallistaError::Configuration(format!("{what} is missing"))
}

fn executor(config: &Arc<ExecutorProcessConfig>, folder: &Path, limits: &Limits) -> Outcome<Executor> {
    let base = config.override_runtime_producer.clone().ok_or_else(missing("the runtime"))?;
    let sessions = config.override_config_producer.clone().ok_or_else(missing("the session's config"))?;
    let engine = config.override_execution_engine.clone().ok_or_else(missing("the engine"))?;
    let share = usize::try_from(limits.memory_bytes).unwrap_or(usize::MAX) / config.vcores.max(1);
    // Each task gets a share as large as the slots it takes.
    let pool = Arc::new(move |base: Arc<_>, _: &_, slots: u32| {
        let bytes = share.saturating_mul(slots.max(1) as usize);
        RuntimeEnvBuilder::from_runtime_env(&base).with_memory_pool(Arc::new(FairSpillPool::new(bytes))).build_arc()
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

fn codec(config: &ExecutorProcessConfig) -> BallistaCodec<LogicalPlanNode, PhysicalPlanNode> {
    match &config.override_physical_codec {
        Some(physical) => BallistaCodec::new(Arc::new(BallistaLogicalExtensionCodec::default()), Arc::clone(physical)),
        None => BallistaCodec::default(),
    }
}

/// Hands shuffled rows out.
fn flight(config: &ExecutorProcessConfig, folder: &Path, mut shutdown: Shutdown) -> Outcome<JoinHandle<Outcome<()>>> {
    let address = format!("{}:{}", config.bind_host, config.port);
    let address: SocketAddr =
        address.parse().map_err(|e| BallistaError::Configuration(format!("address {address}: {e}")))?;
    let service = FlightServiceServer::new(BallistaFlightService::new(folder.display().to_string()))
        .max_decoding_message_size(config.grpc_max_decoding_message_size as usize)
        .max_encoding_message_size(config.grpc_max_encoding_message_size as usize);
    let mut server = create_grpc_server(&config.grpc_server_config);
    Ok(tokio::spawn(async move {
        server
            .add_service(service)
            .serve_with_shutdown(address, shutdown.recv())
            .await
            .map_err(BallistaError::TonicError)
    }))
}

async fn shut_down<const SERVERS: usize>(notifier: ShutdownNotifier, servers: [JoinHandle<Outcome<()>>; SERVERS]) {
    let ShutdownNotifier { mut shutdown_complete_rx, shutdown_complete_tx, notify_shutdown } = notifier;
    // Nobody listens when the loops have already ended.
    let _ = notify_shutdown.send(());
    drop(notify_shutdown);
    drop(shutdown_complete_tx);
    if tokio::time::timeout(STOP_GRACE, shutdown_complete_rx.recv()).await.is_err() {
        log::warn!("the executor's loops do not end by themselves");
    }
    for server in servers {
        server.abort();
        // Its port is free when it is gone.
        let _ = server.await;
    }
}

/// The scheduler finds out by itself, only later.
async fn told<T, E: std::fmt::Display>(call: impl Future<Output = std::result::Result<T, E>>) {
    match tokio::time::timeout(STOP_GRACE, call).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => log::warn!("the scheduler does not know that the executor stops: {error}"),
        Err(_) => log::warn!("the scheduler does not know that the executor stops: it does not answer"),
    }
}

fn broken(ended: std::result::Result<Outcome<()>, tokio::task::JoinError>) -> BallistaError {
    match ended {
        Ok(Ok(())) => BallistaError::General("a server of the executor ended".to_owned()),
        Ok(Err(error)) => error,
        Err(error) => BallistaError::TokioError(error),
    }
}

#[cfg(test)]
mod tests {
    use ballista_core::serde::protobuf::RegisterExecutorParams;
    use tokio::net::TcpListener;
    use tonic::Status;

    use super::*;

    #[tokio::test]
    async fn a_connection_that_breaks_is_no_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let dies = tokio::spawn(async move { drop(listener.accept().await.unwrap()) });
        let channel = create_grpc_client_endpoint(url, None).unwrap().connect().await.unwrap();
        let registration = SchedulerGrpcClient::new(channel).register_executor(RegisterExecutorParams::default()).await;
        dies.await.unwrap();
        assert!(is_unanswered(&registration.unwrap_err().into()));
    }

    #[test]
    fn a_refusal_is_an_answer() {
        assert!(!is_unanswered(&Status::invalid_argument("not the same binary").into()));
    }
}
