//! The life of an executor process.

use std::sync::Arc;
use std::time::Duration;

use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::error::BallistaError;
use ballista_core::serde::protobuf::executor_grpc_client::ExecutorGrpcClient;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::protobuf::{ExecutorStoppedParams, StopExecutorParams};
use ballista_executor::execution_engine::DefaultExecutionEngine;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use futures::FutureExt;
use futures::future::{Either, select};
use pulse_core::settings::Settings;
use pulse_core::{Error, Result};
use pulse_engine::cluster::{cluster_config, cluster_state, function_registry, grpc_bytes};
use pulse_engine::codec::PhysicalCodec;
use pulse_engine::session::{RuntimeOptions, runtime};
use pulse_engine::store::{StoreOptions, Stores};
use uuid::Uuid;

use crate::attempt::Attempts;
use crate::connections::Connections;
use crate::place::{Place, wipe};

/// An executor may start before its scheduler does.
const SCHEDULER_WAIT_SECONDS: u16 = 60;
/// From one look for old shuffle files to the next.
const CLEAN_UP_EVERY_SECONDS: u64 = 600;
/// With `memory_mib = 0`; the rest is for what no operator accounts for.
const MEMORY_FRACTION: f64 = 0.6;
/// What is left to do after the scheduler was told that the executor goes.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// Runs tasks of the scheduler at `scheduler_host` until `shutdown`, SIGTERM or ctrl-c. The signals let running tasks end;
/// `shutdown` does not wait for them, others run them again.
///
/// # Errors
/// `Invalid` for a port or folder that cannot be used, `Unavailable` when the scheduler does not answer.
pub async fn serve(settings: &Settings, shutdown: impl Future<Output = ()>) -> Result<()> {
    // A new identity every time: the scheduler still remembers a process that died.
    let executor_id = Uuid::new_v4().to_string();
    let place = Place::find(settings, &executor_id)?;
    log::info!("executor {executor_id} at {}:{}, shuffles in {}", place.host, place.port, place.folder.display());
    let config = Arc::new(config(settings, &place, &executor_id)?);
    let process = start_executor_process(config).boxed();
    let ended = match select(process, Box::pin(shutdown)).await {
        Either::Left((ended, _)) => ended,
        Either::Right(((), process)) => {
            stop(settings, &place, &executor_id).await;
            // Whether it says goodbye in time or not, the scheduler no longer counts on it.
            tokio::time::timeout(STOP_GRACE, process).await.unwrap_or(Ok(()))
        }
    };
    wipe(&place.folder)?;
    ended.map_err(|error| failed(settings, &error))
}

fn config(settings: &Settings, place: &Place, executor_id: &str) -> Result<ExecutorProcessConfig> {
    let stores = Arc::new(Stores::new(StoreOptions {
        retries: usize::try_from(settings.store_retries).unwrap_or(usize::MAX),
        timeout: settings.store_timeout(),
    }));
    let options = RuntimeOptions {
        // Every task gets a share of `memory_pool_size` instead.
        memory_bytes: usize::MAX,
        spill_dir: (!settings.spill_dir.is_empty()).then(|| settings.spill_dir.clone().into()),
        spill_limit_bytes: settings.spill_limit_mib << 20,
    };
    let runtime = runtime(&options, &stores)?;
    let registry = function_registry(&cluster_state(settings, 1, Arc::clone(&runtime)));
    let grpc = u32::try_from(grpc_bytes(settings)).unwrap_or(u32::MAX);
    let producer_settings = settings.clone();
    let engine = DefaultExecutionEngine::with_client_pool(Arc::new(Connections::default()));
    Ok(ExecutorProcessConfig {
        executor_id: executor_id.to_owned(),
        bind_host: place.bind_host(),
        external_host: Some(place.host.to_string()),
        port: place.port,
        grpc_port: place.grpc_port,
        scheduler_host: settings.scheduler_host.clone(),
        scheduler_port: settings.scheduler_port,
        scheduler_connect_timeout_seconds: SCHEDULER_WAIT_SECONDS,
        vcores: vcores(settings),
        task_scheduling_policy: TaskSchedulingPolicy::PushStaged,
        work_dir: Some(place.folder.display().to_string()),
        job_data_ttl_seconds: settings.shuffle_ttl_s,
        job_data_clean_up_interval_seconds: CLEAN_UP_EVERY_SECONDS.min(settings.shuffle_ttl_s),
        grpc_max_decoding_message_size: grpc,
        grpc_max_encoding_message_size: grpc,
        executor_heartbeat_interval_seconds: settings.heartbeat_s,
        memory_pool_size: (settings.memory_mib > 0).then_some(settings.memory_mib << 20),
        memory_pool_fraction: MEMORY_FRACTION,
        override_execution_engine: Some(Arc::new(Attempts { inner: engine })),
        override_function_registry: Some(Arc::new(registry)),
        override_runtime_producer: Some(Arc::new(move |_| Ok(Arc::clone(&runtime)))),
        override_config_producer: Some(Arc::new(move || cluster_config(&producer_settings, 1))),
        override_physical_codec: Some(Arc::new(PhysicalCodec::default())),
        ..ExecutorProcessConfig::default()
    })
}

fn vcores(settings: &Settings) -> usize {
    match usize::try_from(settings.vcores).unwrap_or(usize::MAX) {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        vcores => vcores,
    }
}

/// Tells the scheduler first, so that it gives the tasks to others at once, then Ballista's loops.
async fn stop(settings: &Settings, place: &Place, executor_id: &str) {
    let reason = "the executor was asked to stop".to_owned();
    let scheduler = format!("http://{}:{}", settings.scheduler_host, settings.scheduler_port);
    let told = async {
        let mut client = SchedulerGrpcClient::connect(scheduler).await.map_err(|e| e.to_string())?;
        let params = ExecutorStoppedParams { executor_id: executor_id.to_owned(), reason: reason.clone() };
        client.executor_stopped(params).await.map_err(|e| e.to_string())
    };
    match tokio::time::timeout(STOP_GRACE, told).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => log::warn!("the scheduler does not know that the executor stops: {error}"),
        Err(_) => log::warn!("the scheduler does not know that the executor stops: it does not answer"),
    }
    let own = format!("http://{}:{}", place.host, place.grpc_port);
    let stopped = async {
        let mut client = ExecutorGrpcClient::connect(own).await.map_err(|e| e.to_string())?;
        let params = StopExecutorParams { executor_id: executor_id.to_owned(), reason: reason.clone(), force: true };
        client.stop_executor(params).await.map_err(|e| e.to_string())
    };
    if let Ok(Err(error)) = tokio::time::timeout(STOP_GRACE, stopped).await {
        log::warn!("the executor's loops do not stop by themselves: {error}");
    }
}

fn failed(settings: &Settings, error: &BallistaError) -> Error {
    let scheduler = format!("{}:{}", settings.scheduler_host, settings.scheduler_port);
    match error {
        BallistaError::Configuration(text) => Error::invalid(format!("the executor cannot start: {text}")),
        other => Error::unavailable(format!(
            "the executor stopped ({other}); is there a scheduler at {scheduler}? start one with `pulse serve scheduler`"
        )),
    }
}
