//! The life cycle of an executor process.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::error::BallistaError;
use ballista_executor::execution_engine::DefaultExecutionEngine;
use ballista_executor::executor_process::ExecutorProcessConfig;
use futures::FutureExt;
use futures::future::{Either, select};
use pulse_core::settings::Settings;
use pulse_core::{Error, Result};
use pulse_engine::build::build;
use pulse_engine::cluster::{cluster_config, cluster_state, executor_id, function_registry, grpc_bytes};
use pulse_engine::codec::PhysicalCodec;
use pulse_engine::machine;
use pulse_engine::session::{RuntimeOptions, runtime};
use pulse_engine::store::{Places, StoreOptions, Stores};
use pulse_metrics::Process;
use pulse_transport::{Door, Role};
use uuid::Uuid;

use crate::attempt::Attempts;
use crate::connections::Connections;
use crate::drain::notice;
use crate::file_place::FilePlaces;
use crate::metrics::{Endpoint, Metrics};
use crate::owner::Owner;
use crate::place::Place;
use crate::process::{Ended, Engine, Limits, live};

/// How long an executor waits for its scheduler to start.
const SCHEDULER_WAIT_SECONDS: u16 = 60;
/// Interval between deletions of old shuffle files.
const CLEAN_UP_EVERY: Duration = Duration::from_secs(60);
/// Share of the machine's memory with `memory_mib = 0`, in tenths; the rest is for memory that no operator accounts
/// for.
const MEMORY_TENTHS: u64 = 6;

/// Runs tasks of the scheduler at `scheduler_host` until `shutdown`, SIGTERM, Ctrl-C, or a Spot interruption notice.
/// Then it accepts no new tasks and waits, at most `drain_timeout_s`, for running tasks to end and its shuffle files to
/// be read. If the scheduler declares it lost or restarts, it registers again under a new id.
///
/// # Errors
/// `Invalid` for a port or folder that cannot be used, or for a scheduler of another build; `Unavailable` when the scheduler does not
/// answer.
pub async fn serve(settings: &Settings, shutdown: impl Future<Output = ()>) -> Result<()> {
    let door = Door::of(settings, Role::Executor)?;
    let process = Process::new(build(), machine::memory_bytes());
    let metrics = Arc::new(Metrics::new(vcores(settings), memory_bytes(settings), process)?);
    let _endpoint = Endpoint::start(settings, &metrics)?;
    let leave = leave(settings, shutdown).shared();
    loop {
        // A new id every time: the scheduler still remembers a process that died.
        let executor_id = executor_id(&build(), &Uuid::new_v4().to_string());
        let mut place = Place::find(settings)?;
        log::info!("executor {executor_id} at {}:{}, shuffles in {}", place.host, place.port, place.folder().display());
        let owner = Arc::new(Owner::default());
        let config = config(settings, &place, &executor_id)?;
        let limits = Limits {
            memory_bytes: memory_bytes(settings),
            drain: settings.drain_timeout(),
            metrics: Arc::clone(&metrics),
        };
        let listeners = place.listeners().ok_or_else(|| Error::internal("the executor's ports were taken before"))?;
        let engine = engine(&executor_id, &owner, &door, &metrics);
        let living = live(config, engine, (&door, listeners), place.folder(), &limits, leave.clone());
        let cleaning = place.remove_older(Duration::from_secs(settings.shuffle_ttl_s), CLEAN_UP_EVERY);
        let ended = match select(pin!(living), pin!(cleaning)).await {
            Either::Left((ended, _)) => ended,
            Either::Right((never, _)) => match never {},
        };
        // Their folder is about to be deleted.
        owner.end().await;
        match ended.map_err(|error| failed(settings, &error))? {
            Ended::Asked => return Ok(()),
            Ended::Lost => {
                log::warn!("the scheduler gave this executor up, or does not answer; it comes back as a new one")
            }
        }
    }
}

async fn leave(settings: &Settings, shutdown: impl Future<Output = ()>) {
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    let interrupt = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = shutdown => {}
        () = terminate => {}
        () = interrupt => {}
        () = notice(&settings.spot_notice_url) => log::warn!("the instance is about to be taken away"),
    }
}

fn engine(executor_id: &str, owner: &Arc<Owner>, door: &Door, metrics: &Arc<Metrics>) -> Engine {
    Arc::new(Attempts {
        inner: DefaultExecutionEngine::with_client_pool(Arc::new(Connections::through(door.clone()))),
        executor_id: executor_id.to_owned(),
        owner: Arc::clone(owner),
        places: FilePlaces::default(),
        metrics: Arc::clone(metrics),
    })
}

fn config(settings: &Settings, place: &Place, executor_id: &str) -> Result<ExecutorProcessConfig> {
    let options = StoreOptions {
        retries: usize::try_from(settings.store_retries).unwrap_or(usize::MAX),
        timeout: settings.store_timeout(),
    };
    let stores = Arc::new(Stores::new(options).within(places(settings)?));
    let options = RuntimeOptions {
        // Instead, every task gets a share of `memory_pool_size`.
        memory_bytes: usize::MAX,
        spill_dir: (!settings.spill_dir.is_empty()).then(|| settings.spill_dir.clone().into()),
        spill_limit_bytes: settings.spill_limit_mib << 20,
    };
    let runtime = runtime(&options, &stores)?;
    let registry = function_registry(&cluster_state(settings, 1, Arc::clone(&runtime)));
    let grpc = u32::try_from(grpc_bytes(settings)).unwrap_or(u32::MAX);
    let producer_settings = settings.clone();
    Ok(ExecutorProcessConfig {
        executor_id: executor_id.to_owned(),
        external_host: Some(place.host.to_string()),
        port: place.port,
        grpc_port: place.grpc_port,
        scheduler_host: settings.scheduler_host.clone(),
        scheduler_port: settings.scheduler_port,
        scheduler_connect_timeout_seconds: SCHEDULER_WAIT_SECONDS,
        vcores: vcores(settings),
        task_scheduling_policy: TaskSchedulingPolicy::PushStaged,
        work_dir: Some(place.folder().display().to_string()),
        grpc_max_decoding_message_size: grpc,
        grpc_max_encoding_message_size: grpc,
        executor_heartbeat_interval_seconds: settings.heartbeat_s,
        override_function_registry: Some(Arc::new(registry)),
        override_runtime_producer: Some(Arc::new(move |_| Ok(Arc::clone(&runtime)))),
        override_config_producer: Some(Arc::new(move || cluster_config(&producer_settings, 1))),
        override_physical_codec: Some(Arc::new(PhysicalCodec::default())),
        ..ExecutorProcessConfig::default()
    })
}

/// Where tasks may read and write. Without the setting, wherever the account may: the scheduler has checked a submission's places.
fn places(settings: &Settings) -> Result<Places> {
    match settings.task_places.as_str() {
        "" => Ok(Places::Any),
        places => Places::parse("task_places", places),
    }
}

fn vcores(settings: &Settings) -> usize {
    match usize::try_from(settings.vcores).unwrap_or(usize::MAX) {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        vcores => vcores,
    }
}

/// The setting, or a share of the machine's memory.
fn memory_bytes(settings: &Settings) -> u64 {
    match settings.memory_mib {
        0 => machine::memory_bytes() / 10 * MEMORY_TENTHS,
        mib => mib << 20,
    }
}

fn failed(settings: &Settings, error: &BallistaError) -> Error {
    let scheduler = format!("{}:{}", settings.scheduler_host, settings.scheduler_port);
    match error {
        BallistaError::Configuration(text) => Error::invalid(format!("the executor cannot start: {text}")),
        // The scheduler's answer to a registration of another build.
        BallistaError::GrpcError(status) if status.message().contains("same binary") => {
            Error::invalid(format!("the scheduler at {scheduler} refuses this executor: {}", status.message()))
        }
        // As TLS says it, on this side or on the other.
        other if ["certificate", "alert"].iter().any(|word| other.to_string().contains(word)) => {
            Error::unavailable(format!(
                "the executor stopped ({other}); the scheduler at {scheduler} and this executor do not trust each other: give both \
                 certificates of one authority (`cluster_certificates`), or on one machine let one account run both"
            ))
        }
        other => Error::unavailable(format!(
            "the executor stopped ({other}); is there a scheduler at {scheduler}? start one with `pulse serve scheduler`"
        )),
    }
}
