//! Configuration that the scheduler and its executors must share: options, functions, plan serialization.

use std::sync::Arc;

use ballista_core::config::{
    BALLISTA_CLIENT_GRPC_TIMEOUT_SECONDS, BALLISTA_CLIENT_IO_RETRY_WAIT_TIME_MS,
    BALLISTA_SHUFFLE_SORT_BASED_MEMORY_LIMIT_PER_TASK_BYTES, BallistaConfig,
};
use ballista_core::extension::SessionConfigExt;
use ballista_core::registry::BallistaFunctionRegistry;
use datafusion::execution::SessionState;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::prelude::SessionConfig;
use pulse_core::settings::Settings;

use crate::codec::PhysicalCodec;
use crate::session::{session_config, session_state};

/// Timeout of a call between processes of a cluster: decoding a plan with many files takes a while.
const GRPC_TIMEOUT_SECONDS: usize = 60;

/// Delay between Ballista's three attempts to fetch a shuffle partition; then its executor counts as lost and the
/// partition is recomputed.
const FETCH_WAIT_MS: usize = 500;

/// Metadata of a scheduler's answers to registrations and heartbeats: the key that its tasks carry.
pub const SCHEDULER_KEY: &str = "pulse-scheduler-key";

/// Name of a task's count of the rows that it read from sources.
pub const ROWS_READ: &str = "pulse_rows_read";

/// An executor's id: its build and a globally unique part.
#[must_use]
pub fn executor_id(build: &str, unique: &str) -> String {
    format!("{build}.{unique}")
}

/// The build in an [`executor_id`].
#[must_use]
pub fn build_of(executor_id: &str) -> &str {
    executor_id.split_once('.').map_or("", |(build, _)| build)
}

/// A plan's id: the globally unique id of its scheduler, and a number.
#[must_use]
pub fn job_id(scheduler: &str, number: u64) -> String {
    format!("{scheduler}-{number}")
}

/// The scheduler in a [`job_id`].
#[must_use]
pub fn scheduler_of(job_id: &str) -> &str {
    job_id.split_once('-').map_or("", |(scheduler, _)| scheduler)
}

/// Options of every session on a cluster, with `target_partitions` tasks per shuffle.
#[must_use]
pub fn cluster_config(settings: &Settings, target_partitions: usize) -> SessionConfig {
    let rows = usize::try_from(settings.batch_rows).unwrap_or(usize::MAX);
    with_ballista(session_config(SessionConfig::new_with_ballista(), target_partitions, rows), settings)
}

/// A session whose plans run on a cluster.
#[must_use]
pub fn cluster_state(settings: &Settings, target_partitions: usize, runtime: Arc<RuntimeEnv>) -> SessionState {
    session_state(cluster_config(settings, target_partitions), runtime)
}

/// Adds Ballista's options; keeps the session's options about queries.
#[must_use]
pub fn with_ballista(config: SessionConfig, settings: &Settings) -> SessionConfig {
    let config = match config.options().extensions.get::<BallistaConfig>() {
        Some(_) => config,
        None => config.with_option_extension(BallistaConfig::default()),
    };
    config
        .with_ballista_physical_extension_codec(Arc::new(PhysicalCodec::default()))
        // The adaptive planner never ends a query whose executor died with a finished stage's output.
        .with_ballista_adaptive_query_planner(false)
        .with_ballista_grpc_client_max_message_size(grpc_bytes(settings))
        .set_usize(BALLISTA_CLIENT_GRPC_TIMEOUT_SECONDS, GRPC_TIMEOUT_SECONDS)
        .set_usize(BALLISTA_CLIENT_IO_RETRY_WAIT_TIME_MS, FETCH_WAIT_MS)
        // Shuffles spill when the task's memory is exhausted, not at a separate limit.
        .set_usize(BALLISTA_SHUFFLE_SORT_BASED_MEMORY_LIMIT_PER_TASK_BYTES, 0)
}

/// `grpc_mib` in bytes.
#[must_use]
pub fn grpc_bytes(settings: &Settings) -> usize {
    usize::try_from(settings.grpc_mib << 20).unwrap_or(usize::MAX)
}

/// The functions that an executor needs to decode a plan.
#[must_use]
pub fn function_registry(state: &SessionState) -> BallistaFunctionRegistry {
    BallistaFunctionRegistry::from(state)
}
