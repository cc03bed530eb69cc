//! The DataFusion session: the same options, functions and stores in every process.

use std::path::PathBuf;
use std::sync::Arc;

use datafusion::common::Result as DataFusionResult;
use datafusion::execution::disk_manager::{DiskManager, DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::MemoryLimit;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SessionState, SessionStateBuilder, SpillFile, TempFileFactory};
use datafusion::optimizer::Analyzer;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::prelude::SessionConfig;
use pulse_core::Result;

use crate::bounded::{BoundedConstants, BoundedFunctions};
use crate::checked::CheckedIntegers;
use crate::decimals::DecimalLiterals;
use crate::error::{from_datafusion, from_io};
use crate::function::{SparkValues, register_all};
use crate::guarded::{GuardedConditions, GuardedProjections};
use crate::microseconds::{MicrosecondLiterals, MicrosecondTypes};
use crate::scratch::Scratch;
use crate::sink::SinkPlanner;
use crate::source::NanSafeScans;
use crate::store::Stores;
use crate::streaming::{SharedPool, SpillableJoins};

/// Limits of one process.
#[derive(Debug, Clone)]
pub struct RuntimeOptions {
    /// Bytes that sorts, joins and aggregates may hold before they spill.
    pub memory_bytes: usize,
    /// Where they spill to; the system's temporary folder when none.
    pub spill_dir: Option<PathBuf>,
    pub spill_limit_bytes: u64,
}

/// Memory, spill and stores.
///
/// # Errors
/// `Invalid` when the spill folder cannot be used.
pub fn runtime(options: &RuntimeOptions, stores: &Arc<Stores>) -> Result<Arc<RuntimeEnv>> {
    let disk = DiskManagerBuilder::default().with_temp_file_factory(Arc::new(Spills::new(options)?));
    RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(SharedPool::new(options.memory_bytes)))
        .with_disk_manager_builder(disk)
        .with_object_store_registry(Arc::clone(stores) as _)
        .build_arc()
        .map_err(|e| from_datafusion("set up memory and spill folder", e))
}

/// DataFusion's files for spilled rows, in a folder that the next process removes if this one is killed.
struct Spills {
    files: Arc<DiskManager>,
    _folder: Scratch,
}

impl Spills {
    fn new(options: &RuntimeOptions) -> Result<Self> {
        let parent = options.spill_dir.clone().unwrap_or_else(std::env::temp_dir);
        let folder = Scratch::make(&parent, "pulse-spill-")
            .map_err(|e| from_io(&format!("make a folder in {} (`spill_dir`)", parent.display()), &e))?;
        let files = DiskManagerBuilder::default()
            .with_mode(DiskManagerMode::Directories(vec![folder.path().to_owned()]))
            .with_max_temp_directory_size(options.spill_limit_bytes)
            .build()
            .map_err(|e| from_datafusion("set up the spill folder", e))?;
        Ok(Self { files: Arc::new(files), _folder: folder })
    }
}

impl TempFileFactory for Spills {
    fn create_temp_file(&self, description: &str) -> DataFusionResult<Arc<dyn SpillFile>> {
        self.files.create_tmp_file(description)
    }
}

/// Options that decide how a query is planned, on top of `base`: DataFusion's defaults in one process, Ballista's on a
/// cluster.
#[must_use]
pub fn session_config(base: SessionConfig, target_partitions: usize, batch_rows: usize) -> SessionConfig {
    let mut config = base
        .with_target_partitions(target_partitions)
        .with_batch_size(batch_rows)
        .with_create_default_catalog_and_schema(true)
        .with_information_schema(false)
        // Sources declare ranges of their leading column; spreading rows round robin would throw that away.
        .with_round_robin_repartition(false)
        .with_repartition_file_scans(false);
    let options = config.options_mut();
    // Rows that meet by symbol meet by (symbol, ts) as well, however few partitions there are.
    options.optimizer.subset_repartition_threshold = 1;
    options.optimizer.prefer_hash_join = true;
    // Filled at run time by another operator: it has no meaning once a plan is cut into stages, and a join that fills one waits
    // for all of its partitions, of which we run only so many at once. The first key stands for the others only when it is set
    // by its name.
    options.optimizer.enable_dynamic_filter_pushdown = false;
    options.optimizer.enable_join_dynamic_filter_pushdown = false;
    options.optimizer.enable_topk_dynamic_filter_pushdown = false;
    options.optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    options.execution.parquet.schema_force_view_types = false;
    options.execution.collect_statistics = true;
    // Spark's functions fail where Spark's default makes them fail, as `mod(a, 0)` does.
    options.execution.enable_ansi_mode = true;
    options.sql_parser.enable_ident_normalization = true;
    config
}

/// A session that knows our sink and functions.
#[must_use]
pub fn session_state(mut config: SessionConfig, runtime: Arc<RuntimeEnv>) -> SessionState {
    let memory_bytes = match runtime.memory_pool.memory_limit() {
        MemoryLimit::Finite(bytes) => bytes,
        MemoryLimit::Infinite | MemoryLimit::Unknown => usize::MAX,
    };
    let reservation = sort_reservation(memory_bytes, config.target_partitions());
    let rows = fitting_batch_rows(config.batch_size(), memory_bytes, config.target_partitions());
    config.options_mut().execution.sort_spill_reservation_bytes = reservation;
    config = config.with_batch_size(rows);
    let builder = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_default_features()
        .with_optimizer_rule(Arc::new(BoundedConstants))
        .with_physical_optimizer_rules(rules(memory_bytes))
        .with_query_planner(Arc::new(SinkPlanner))
        .with_type_planner(Arc::new(MicrosecondTypes))
        .with_analyzer_rules(
            [Arc::new(MicrosecondLiterals) as _, Arc::new(DecimalLiterals) as _]
                .into_iter()
                .chain(Analyzer::new().rules)
                // Once both sides of an operator have one type.
                .chain([
                    Arc::new(SparkValues) as _,
                    Arc::new(CheckedIntegers) as _,
                    Arc::new(BoundedFunctions::default()) as _,
                ])
                .collect(),
        );
    register_all(builder).build()
}

/// Bytes that a sort sets aside to merge what it has spilled: DataFusion's 10 MiB, or less where all sorts of a plan
/// together would set aside more than a quarter of the memory and not run at all.
fn sort_reservation(memory_bytes: usize, target_partitions: usize) -> usize {
    const MOST: usize = 10 << 20;
    /// Sorts that run side by side in one partition: both sides of a join, and one above it.
    const SORTS: usize = 3;
    MOST.min(memory_bytes / 4 / SORTS / target_partitions.max(1))
}

/// Rows of a batch: as many as asked for, or fewer where exchanges that keep rows in order would take more than a quarter of the memory.
/// Of each of the partitions that they read they hold a batch for each that they write, and cannot spill them.
fn fitting_batch_rows(batch_rows: usize, memory_bytes: usize, target_partitions: usize) -> usize {
    const LEAST: usize = 512;
    /// Exchanges that run side by side in one plan, and branches of a union below one.
    const EXCHANGES: usize = 4;
    /// Of market data.
    const ROW_BYTES: usize = 128;
    let batches = EXCHANGES * target_partitions.max(1).pow(2);
    batch_rows.min((memory_bytes / 4 / batches / ROW_BYTES).max(LEAST))
}

/// DataFusion's rules, and ours between the one that chooses joins and the one that adds sorts.
fn rules(memory_bytes: usize) -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let memory_bytes = u64::try_from(memory_bytes).unwrap_or(u64::MAX);
    let mut rules = PhysicalOptimizer::new().rules;
    let after = rules.iter().position(|rule| rule.name() == "join_selection").map_or(0, |place| place + 1);
    rules.insert(after, Arc::new(SpillableJoins { memory_bytes }));
    for rule in rules.iter_mut().filter(|rule| rule.name() == "ProjectionPushdown") {
        *rule = Arc::new(GuardedProjections);
    }
    // Once conditions have reached the scans.
    rules.push(Arc::new(NanSafeScans));
    rules.push(Arc::new(GuardedConditions));
    rules
}
