//! One run of one job: pin its sources, plan, execute, check, commit.

mod calls;
mod changes;
mod check;
mod conform;
mod distinct;
mod evidence;
mod external;
mod fixture;
mod fresh;
mod grain;
mod growth;
mod history;
mod increment;
mod interval_scope;
mod limit;
pub(crate) mod meant;
mod optimize;
mod partitions;
mod pin;
mod pointing;
mod query;
mod question;
mod refers;
mod register;
mod rejects;
mod repeatable;
mod repeats;
mod replace;
mod report;
mod restore;
mod roots;
mod run;
mod sample;
mod schema;
mod spec;
mod subqueries;
mod tidy;
mod used;
mod vacuum;
mod wall_clock;

use std::sync::Arc;

use datafusion::execution::SessionState;
use pulse_core::project::Project;

use crate::catalog::Catalog;
use crate::execute::Execute;
use crate::landing::Databases;
use crate::source::file::ReadOptions;
use crate::table::{CommitOptions, Lake};

pub use conform::{Stamps, normalized};
pub use external::{ExternalSchemas, external_schemas};
pub use fixture::run_fixture;
pub use optimize::{Optimized, optimize};
pub use pin::{Mode, Pinned, PinnedFiles, PinnedTable, bookmarks, computed_intervals, mark_of, pin};
pub use query::{JobQuery, Sources, plan_query};
pub use question::{Answer, Named, ask};
pub use refers::Referred;
pub use register::registered;
pub use report::{Outcome, Report};
pub use restore::{Restored, restore};
pub use roots::{check_roots, empty_sources};
pub use run::{Entering, Forgettable, RunOptions, committed, forget, forgettable, preview, run};
pub use sample::{Rejected, Sample, SampleSize, sample};
pub use schema::{Inferred, check_each, check_tables, infer_each, infer_schemas, unproven_increments};
pub use vacuum::unneeded;
pub(crate) use wall_clock::holds_wall_clock;

/// State that all runs of a process share.
#[derive(Clone)]
pub struct Workbench {
    pub project: Arc<Project>,
    pub lake: Lake,
    /// Cloned for every query; has options, functions, memory and stores.
    pub state: SessionState,
    pub execute: Arc<dyn Execute>,
    pub options: JobOptions,
    /// Catalog in which tables are registered after a commit.
    pub catalog: Arc<dyn Catalog>,
    /// Access to the databases that jobs read.
    pub databases: Databases,
}

/// Limits and sizes that apply to every job.
#[derive(Debug, Clone)]
pub struct JobOptions {
    /// Bytes of input that one partition of a scan reads.
    pub target_partition_bytes: u64,
    pub read: ReadOptions,
    pub commit: CommitOptions,
    /// Attempts of a run whose commit conflicts.
    pub attempts: u32,
    /// Small files in a table, or in one of its partitions, from which a run optimizes; 0 for never.
    pub optimize_files: usize,
}

#[cfg(test)]
mod tests;
